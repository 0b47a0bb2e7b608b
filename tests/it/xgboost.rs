//! XGBoost fixtures: margins to the bit, answers to a millionth, in both file forms, for every version kept.
//!
//! `tests/fixtures/make_xgboost.py` made models and expectations with the library itself.

use std::path::{Path, PathBuf};

use rookery::artifact::{Artifact, Limits};
use rookery::runtime::{self, Model};
use rookery::tensor::Tensor;
use serde_json::{Value as Json, json};

use crate::support::{Reply, Server, rookery};

/// Transformed answers may differ by this much, relative.
const RELATIVE: f32 = 1e-6;

pub(crate) fn fixture_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xgboost")
}

pub(crate) fn numbers(value: &Json) -> Vec<f32> {
    match value {
        Json::Array(values) => values.iter().flat_map(numbers).collect(),
        Json::Null => vec![f32::NAN],
        // Written with the digits that identify an f32, which survive the way through f64.
        number => vec![number.as_f64().unwrap() as f32],
    }
}

fn read(path: &Path) -> rookery::error::Result<runtime::Prepared> {
    runtime::prepare(Artifact::read(std::fs::File::open(path).unwrap(), Limits::default())?)
}

fn loaded(prepared: &runtime::Prepared) -> Box<dyn Model> {
    runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap()
}

#[test]
fn every_fixture_answers_as_the_library_did() {
    let mut models = 0;
    let mut failures = Vec::new();
    let mut entries: Vec<_> = std::fs::read_dir(fixture_folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for expected_path in entries.iter().filter(|path| path.to_string_lossy().ends_with(".expected.json")) {
        let expected: Json = serde_json::from_str(&std::fs::read_to_string(expected_path).unwrap()).unwrap();
        let stem = expected_path.to_string_lossy().trim_end_matches(".expected.json").to_owned();
        for form in ["json", "ubj"] {
            let path = PathBuf::from(format!("{stem}.{form}"));
            if !path.exists() {
                continue;
            }
            models += 1;
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let prepared = match read(&path) {
                Ok(prepared) => prepared,
                Err(error) => {
                    failures.push(format!("{name}: refused: {error}"));
                    continue;
                }
            };
            let model = loaded(&prepared);
            assert_eq!(model.weight(), prepared.summary.weight, "{name}: the weight announced is not the weight");
            let rows = Tensor::new(expected["features"].as_u64().unwrap() as usize, numbers(&expected["rows"])).unwrap();
            let input = [rows.clone().into()];
            let margins = model.raw(&input).unwrap();
            let margins = margins.f32s().unwrap();
            let wanted = numbers(&expected["margin"]);
            let off = margins.values().iter().zip(&wanted).filter(|(found, wanted)| found.to_bits() != wanted.to_bits()).count();
            if off > 0 || margins.values().len() != wanted.len() {
                let (found, wanted) = (&margins.values()[..3.min(margins.values().len())], &wanted[..3.min(wanted.len())]);
                failures.push(format!("{name}: {off} of {} margins differ, {found:?} for {wanted:?}", margins.values().len()));
                continue;
            }
            let answer = model.predict(&input).unwrap();
            let wanted = numbers(&expected["predict"]);
            assert_eq!(answer.scores.f32s().unwrap().values().len(), wanted.len(), "{name}");
            for (found, wanted) in answer.scores.f32s().unwrap().values().iter().zip(&wanted) {
                if (found - wanted).abs() > RELATIVE * wanted.abs() {
                    failures.push(format!("{name}: answers {found:?} for {wanted:?}"));
                    break;
                }
            }
            // One row at a time takes the other walk and must give the same bits.
            for (row, batch) in rows.iter().zip(answer.scores.f32s().unwrap().iter()) {
                let one = model.predict(&[Tensor::new(rows.columns(), row.to_vec()).unwrap().into()]).unwrap();
                assert!(
                    one.scores.f32s().unwrap().values().iter().zip(batch).all(|(a, b)| a.to_bits() == b.to_bits()),
                    "{name}: single and batch differ"
                );
            }
        }
    }
    println!("{models} XGBoost models compared");
    assert!(models >= 40, "only {models} fixtures were found");
    assert!(failures.is_empty(), "{} of {models} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn every_cut_of_a_model_is_refused() {
    for name in ["v3_2_0-multi_softprob", "v3_2_0-binary_logistic"] {
        for form in ["json", "ubj"] {
            let path = fixture_folder().join(format!("{name}.{form}"));
            let Ok(bytes) = std::fs::read(&path) else { continue };
            assert!(read(&path).is_ok());
            for end in 0..bytes.len() {
                let cut = Artifact::read(&bytes[..end], Limits::default()).and_then(runtime::prepare);
                assert!(cut.is_err(), "{name}.{form} cut at {end} was taken");
            }
        }
    }
}

#[test]
fn every_flipped_byte_is_refused_or_answers_finite_numbers() {
    // The smallest of each form: every byte, several flips.
    let mut paths: Vec<_> = std::fs::read_dir(fixture_folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| !path.to_string_lossy().ends_with(".expected.json"));
    paths.sort_by_key(|path| std::fs::metadata(path).unwrap().len());
    let mut answered = 0;
    for form in ["json", "ubj"] {
        let path = paths
            .iter()
            .find(|path| path.extension().is_some_and(|e| e == form) && std::fs::metadata(path).unwrap().len() > 2_000)
            .unwrap();
        let bytes = std::fs::read(path).unwrap();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut hostile = bytes.clone();
                hostile[at] ^= flip;
                let Ok(prepared) = Artifact::read(hostile.as_slice(), Limits::default()).and_then(runtime::prepare) else {
                    continue;
                };
                if prepared.summary.features > 1_000 {
                    continue;
                }
                let model = loaded(&prepared);
                let columns = prepared.summary.features;
                for value in [f32::NAN, -1e30, 0.0, 0.7, 1e30] {
                    let input = [Tensor::new(columns, vec![value; columns]).unwrap().into()];
                    // The pipeline is what callers reach; it lets no NaN out.
                    if let Ok(output) =
                        runtime::pipeline::run(&[runtime::pipeline::Step::model("flipped", model.as_ref())], input.into(), false)
                    {
                        assert!(output.scores.not_finite().is_none());
                        answered += 1;
                    }
                }
            }
        }
    }
    assert!(answered > 0, "no flip left a model that answers; the test shows nothing");
}

/// The categories of column 1 of the fixtures `cat_frame_text`, by code.
const TEXTS: [&str; 7] = ["zwei", "a", "röd", "", "naïve 名", "b c", "\"q\""];

/// A server with models that were trained on data frames, in `f/`.
fn framed(models: &[(&str, Vec<u8>)]) -> Server {
    let server = Server::start();
    for (name, bytes) in models {
        server.put_model(&format!("f/{name}"), bytes).expect(201);
    }
    server.put_endpoint("f", &json!([{ "prefix": "f/" }]));
    server
}

fn ask(server: &Server, model: &str, media: &str, body: &str) -> Reply {
    let headers = [("content-type", media), ("x-amzn-sagemaker-target-model", model)];
    server.send("POST", "/endpoints/f/invocations", &server.admin, &headers, body.as_bytes())
}

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(fixture_folder().join(name)).unwrap()
}

/// The rows of a fixture, and as the data frame has them: a category by its text.
fn rows_and_frame(name: &str) -> (Vec<Json>, Vec<Json>) {
    let expected: Json = serde_json::from_slice(&fixture(&format!("{name}.expected.json"))).unwrap();
    let rows = expected["rows"].as_array().unwrap().clone();
    let text = |row: &Json| {
        let mut row = row.clone();
        // Some rows hold codes that are no category's.
        let code = row[1].as_f64().filter(|code| code.fract() == 0.0 && *code >= 0.0);
        if let Some(text) = code.and_then(|code| TEXTS.get(code as usize)) {
            row[1] = (*text).into();
        }
        row
    };
    let frame = rows.iter().map(text).collect();
    (rows, frame)
}

/// A row as CSV has it; the empty text, which is a missing value there, by its code.
fn csv(row: &Json) -> String {
    let cell = |cell: &Json| match cell {
        Json::Null => String::new(),
        Json::String(text) if text.is_empty() => "3".to_owned(),
        Json::String(text) if text.contains(['"', ',']) => format!("\"{}\"", text.replace('"', "\"\"")),
        Json::String(text) => text.clone(),
        number => number.to_string(),
    };
    row.as_array().unwrap().iter().map(cell).collect::<Vec<_>>().join(",")
}

#[test]
fn categories_of_a_data_frame_are_sent_as_their_texts_or_codes() {
    let name = "v3_4_1-cat_frame_text";
    let (rows, frame) = rows_and_frame(name);
    assert!(TEXTS.iter().all(|text| frame.iter().any(|row| row[1] == **text)) && frame.iter().any(|row| row[1].is_null()), "{name}");
    let server = framed(&[("json", fixture(&format!("{name}.json"))), ("ubj", fixture(&format!("{name}.ubj")))]);
    for form in ["json", "ubj"] {
        let codes = ask(&server, form, "application/json", &json!(rows).to_string()).expect(200).body;
        let joined = |row: &dyn Fn(&Json) -> String| frame.iter().map(row).collect::<Vec<_>>().join("\n");
        let keys: Vec<usize> = (0..rows[0].as_array().unwrap().len()).collect();
        let data = |row: &Json| json!({ "data": { "features": { "values": row, "keys": keys } } });
        for (media, body) in [
            ("application/json", json!({ "instances": frame }).to_string()),
            ("application/json", json!(frame.iter().map(data).collect::<Vec<_>>()).to_string()),
            ("application/jsonlines", joined(&Json::to_string)),
            ("text/csv", joined(&csv)),
            ("text/csv; charset=utf-8", rows.iter().map(csv).collect::<Vec<_>>().join("\r\n")),
        ] {
            let reply = ask(&server, form, media, &body);
            assert!(reply.body == codes, "{name}.{form} as {media}: {}", reply.text());
        }
    }
}

#[test]
fn a_category_that_is_not_known_is_refused_with_some_that_are() {
    let mut digits: Json = serde_json::from_slice(&fixture("v3_4_1-cat_frame_text.json")).unwrap();
    // All ASCII, so that it is believed of every version.
    digits["version"] = json!([3, 1, 0]);
    digits["learner"]["gradient_booster"]["model"]["cats"]["enc"][1] =
        json!({ "offsets": [0, 1, 2, 3, 4, 5, 6, 8], "values": b"6543210x" });
    let server = framed(&[
        ("text", fixture("v3_4_1-cat_frame_text.json")),
        ("digits", digits.to_string().into_bytes()),
        ("numbers", fixture("v3_2_0-cat_frame_numbers.json")),
        ("old", fixture("v2_1_4-cat_frame_text.json")),
        // Before 3.4 the library wrote other texts for those behind one that is not ASCII.
        ("cut", fixture("v3_2_0-cat_frame_text.json")),
    ]);
    let width = rows_and_frame("v3_4_1-cat_frame_text").0[0].as_array().unwrap().len();
    let row = |cell: &str| format!("1,{cell}{}", ",1".repeat(width - 2));
    let some = "`zwei`, `a`, `röd`, ``, `naïve 名` and 2 more";
    let known = format!("none of the categories the model was trained on, which are {some}; send one of them or its code");
    for (media, body, shown) in [
        ("text/csv", row("Oslo"), "Oslo"),
        ("text/csv", row(" a"), " a"),
        ("text/csv", row("\"a,b\""), "a,b"),
        ("text/csv", row("inf"), "inf"),
        ("application/json", format!("[{}]", row("\"Oslo\"")), "Oslo"),
        ("application/json", format!("[{}]", row("\"0\"")), "0"),
    ] {
        let message = ask(&server, "text", media, &body).expect(400).message();
        assert_eq!(message, format!("row 1, column 2 (`col 1`) is `{shown}`, {known}"));
    }
    let second = format!("{}\n{}", row("a"), row("A"));
    let message = ask(&server, "text", "text/csv", &second).expect(400).message();
    assert!(message.starts_with("row 2, column 2 (`col 1`) is `A`, none of the categories"), "{message}");
    let sparse = r#"[{"data":{"features":{"keys":[1],"values":["Oslo"]}}}]"#;
    let message = ask(&server, "text", "application/json", sparse).expect(400).message();
    assert!(message.starts_with("row 1, feature 1 (`col 1`) is `Oslo`, none of the categories"), "{message}");
    // A number is a code, whatever the categories look like; text in quotes of JSON is text.
    let answer = |model: &str, body: &str| ask(&server, model, "application/json", &format!("[{}]", row(body))).expect(200).body;
    for code in 0..7 {
        let (number, text) = (code.to_string(), format!("\"{}\"", 6 - code));
        let by_csv = |cell: &str| ask(&server, "digits", "text/csv", &row(cell)).expect(200).body;
        assert_eq!(answer("digits", &number), answer("text", &number));
        assert_eq!(by_csv(&number), answer("text", &number));
        assert_eq!(by_csv(&format!(" \"{number}\" ")), answer("text", &number));
        if code < 6 {
            assert_eq!(answer("digits", &text), answer("text", &number));
        }
    }
    for missing in ["", " ", "\"\"", "NA", "nan"] {
        assert_eq!(ask(&server, "text", "text/csv", &row(missing)).expect(200).body, answer("text", "null"), "{missing:?}");
    }
    // Columns without texts, and models without the table, take codes as ever.
    for (model, body) in [("text", row("1").replacen('1', "x", 1)), ("numbers", row("x")), ("old", row("zwei")), ("cut", row("zwei"))] {
        let message = ask(&server, model, "text/csv", &body).expect(400).message();
        assert!(message.contains("no number; send numbers only (a category as its code)"), "{model}: {message}");
    }
}

#[test]
fn the_table_of_categories_is_shown_and_a_damaged_one_is_not() {
    let file = fixture_folder().join("v3_4_1-cat_frame_text.ubj");
    let (code, out, error) = rookery(&["model", "check", file.to_str().unwrap(), "--json"], "");
    assert_eq!(code, 0, "{error}");
    let said: Json = serde_json::from_str(&out).unwrap();
    assert_eq!(said["categories"], json!({ "col 1": TEXTS }));
    let (_, out, _) = rookery(&["model", "check", file.to_str().unwrap()], "");
    assert!(out.contains("col 1: a code or one of") && out.contains("`zwei`, `a`, `röd`"), "{out}");
    // A server tells it of one model, and loads none for that.
    let server = Server::start();
    server.put_model("c/frame", &fixture("v3_4_1-cat_frame_text.ubj")).expect(201);
    server.put_model("c/plain", &crate::support::city(1, 100.0)).expect(201);
    let shown = |path: &str| server.admin("GET", &format!("/api/v1/models/{path}"), b"").expect(200).json();
    assert_eq!(shown("c/frame")["categories"], json!({ "col 1": TEXTS }));
    assert_eq!((&shown("c/frame")["loaded"], &shown("c/plain")["categories"]), (&json!(false), &Json::Null));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.json");
    let mut good: Json = serde_json::from_slice(&fixture("v3_4_1-cat_frame_text.json")).unwrap();
    let mut listed = |enc: Json| {
        good["learner"]["gradient_booster"]["model"]["cats"]["enc"] = enc;
        std::fs::write(&path, good.to_string()).unwrap();
        let (code, out, error) = rookery(&["model", "check", path.to_str().unwrap(), "--json"], "");
        assert_eq!(code, 0, "{error}");
        serde_json::from_str::<Json>(&out).unwrap()["categories"].clone()
    };
    // The model is served by codes without them.
    let one = |offsets: Json, values: Json| json!([{ "offsets": offsets, "values": values }]);
    assert_eq!(listed(one(json!([0, 1]), json!([97]))), json!({ "col 0": ["a"] }));
    for (offsets, values) in [([0, 9], 97), ([1, 0], 97), ([-1, 1], 97), ([0, 1], -61), ([0, 1], 700)] {
        assert_eq!(listed(one(json!(offsets), json!([values]))), json!({}), "{offsets:?}");
    }
    let nowhere = [vec![json!({ "offsets": [], "values": [] }); 600], vec![json!({ "offsets": [0, 1], "values": [97] })]].concat();
    assert_eq!(listed(Json::Array(nowhere)), json!({}));
}
