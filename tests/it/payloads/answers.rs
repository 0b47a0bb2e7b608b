//! What comes out: the format Accept asks for, and scores whose text has the bits of the library's `f32`.
//!
//! Expectations are the fixtures that `make_xgboost.py` and `make_linear_learner.py` wrote.

use std::path::PathBuf;

use rookery::artifact::{Artifact, Limits};
use rookery::runtime;
use rookery::tensor::Tensor;
use serde_json::{Value, json};

use super::{all_answer, all_refused, ask, ask_as, house, serving};
use crate::support::{HOUSE, Server};
use crate::xgboost::fixture_folder;

#[test]
fn answers_are_written_as_accept_asks() {
    let server = house();
    let all = [("", "json"), ("*/*", "json"), ("application/*", "json"), ("application/json", "json"), ("APPLICATION/JSON;q=0.9", "json")];
    let lists = [
        ("application/json, text/csv", "json"),
        ("text/csv, application/json", "csv"),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", "json"),
        ("image/png,text/csv", "csv"),
        ("text/*", "csv"),
        ("text/csv; charset=utf-8", "csv"),
        ("application/jsonlines", "jsonl"),
        ("application/x-ndjson", "jsonl"),
        ("text/html, application/x-jsonlines", "jsonl"),
        ("text/csv;q=0.1, application/json", "json"),
        ("application/json;q=0, text/csv;q=0.5, application/jsonlines; Q=0.9", "jsonl"),
        ("application/json; q=0.2, text/csv; q=0.2", "json"),
        // What is named more closely counts, wherever it stands.
        ("application/json;q=0, */*", "jsonl"),
        ("*/*, application/json;q=0, application/jsonlines;q=0", "csv"),
        ("application/*;q=0, */*;q=0.1", "csv"),
        ("*/*;q=0.5, text/csv;q=0.1", "json"),
        ("*/*;q=0.1, text/*", "csv"),
        ("text/csv, */*", "csv"),
        ("*/*, text/csv", "json"),
    ];
    let plain = ask_as(&server, "house", "text/csv", HOUSE).expect(200);
    let score = plain.json()["predictions"][0]["score"].as_f64().unwrap() as f32;
    for (accept, form) in all.into_iter().chain(lists) {
        let reply = ask(&server, "house", &[("content-type", "text/csv"), ("accept", accept)], HOUSE).expect(200);
        let (media, body) = match form {
            "csv" => ("text/csv; charset=utf-8", format!("{score}\n")),
            "jsonl" => ("application/jsonlines", format!("{{\"score\":{score}}}\n")),
            _ => ("application/json", format!("{{\"predictions\":[{{\"score\":{score}}}]}}")),
        };
        assert_eq!(reply.header("content-type"), Some(media), "{accept:?}");
        assert_eq!(reply.text(), body, "{accept:?}");
    }
    assert_eq!(plain.header("content-type"), Some("application/json"));
    for accept in ["text/html", "image/png, application/x-npy", "nonsense", "application/jsonp", "application/json;q=0"] {
        let reply = ask(&server, "house", &[("content-type", "text/csv"), ("accept", accept)], HOUSE).expect(415);
        assert_eq!(reply.header("x-amzn-errortype"), Some("ValidationError"));
        let wanted = format!(
            "answers cannot be written as `{accept}`; accept application/json, application/jsonlines, text/csv or application/x-recordio-protobuf"
        );
        assert_eq!(reply.message(), wanted);
    }
}

fn flat(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(values) => values.iter().flat_map(flat).collect(),
        Value::Null => vec![f32::NAN],
        // The digits that identify an f32 survive the way through f64.
        number => vec![number.as_f64().unwrap() as f32],
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// The rows of a fixture as CSV, JSON and JSON Lines.
fn encodings(rows: &[Value]) -> [(&'static str, String); 3] {
    let cell = |value: &Value| if value.is_null() { String::new() } else { value.to_string() };
    let line = |row: &Value| row.as_array().unwrap().iter().map(cell).collect::<Vec<_>>().join(",");
    [
        ("text/csv", rows.iter().map(line).collect::<Vec<_>>().join("\n")),
        ("application/json", json!({ "instances": rows }).to_string()),
        ("application/jsonlines", rows.iter().map(|row| json!({ "features": row }).to_string()).collect::<Vec<_>>().join("\n")),
    ]
}

/// What the objects of JSON and JSON Lines say: scores in order, how they are written, labels.
struct Said {
    scores: Vec<f32>,
    lists: bool,
    labels: Option<Vec<Value>>,
}

fn said(predictions: &[Value]) -> Said {
    let labels: Vec<Value> = predictions.iter().filter_map(|one| one.get("predicted_label").cloned()).collect();
    assert!(labels.is_empty() || labels.len() == predictions.len());
    let lists = predictions.iter().filter(|one| one["score"].is_array()).count();
    assert!(lists == 0 || lists == predictions.len());
    Said {
        scores: predictions.iter().flat_map(|one| flat(&one["score"])).collect(),
        lists: lists > 0,
        labels: (!labels.is_empty()).then_some(labels),
    }
}

/// Sends the fixture's rows in every form, asks for every form, and hands what came to `check`.
fn round_trips(server: &Server, model: &str, expected: &Value, check: impl Fn(&str, &Said)) {
    let rows = expected["rows"].as_array().unwrap();
    for (media, body) in encodings(rows) {
        let ask = |accept: &str| ask(server, model, &[("content-type", media), ("accept", accept)], &body).expect(200).text();
        let place = |accept: &str| format!("{model}, {media} to {accept}");
        let json: Value = serde_json::from_str(&ask("application/json")).unwrap();
        let predictions = json["predictions"].as_array().unwrap();
        assert_eq!(predictions.len(), rows.len());
        let whole = said(predictions);
        check(&place("JSON"), &whole);
        let lines = ask("application/jsonlines");
        assert!(lines.ends_with('\n'));
        check(&place("JSON Lines"), &said(&lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>()));
        // CSV has the scores alone, read here as a caller would: text to f32.
        let csv = ask("text/csv");
        assert_eq!(csv.lines().count(), rows.len());
        let scores: Vec<f32> = csv.lines().flat_map(|line| line.split(',')).map(|cell| cell.parse().unwrap()).collect();
        check(&place("CSV"), &Said { scores, lists: whole.lists, labels: whole.labels.clone() });
    }
}

fn fixture(folder: PathBuf, name: &str, form: &str) -> (Vec<u8>, Value) {
    let expected = std::fs::read_to_string(folder.join(format!("{name}.expected.json"))).unwrap();
    (std::fs::read(folder.join(format!("{name}.{form}"))).unwrap(), serde_json::from_str(&expected).unwrap())
}

#[test]
fn scores_arrive_with_the_bits_that_the_library_gives() {
    let server = serving(&[]);
    let largest = |row: &[f32]| (0..row.len()).rev().max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap();
    let over_half = |row: &[f32]| usize::from(row[0] > 0.5);
    let class = |row: &[f32]| row[0] as usize;
    let over_nought = |row: &[f32]| usize::from(row[0] > 0.0);
    // The fixture, whether a score is a list, and the label of a row of scores.
    type Label<'a> = Option<&'a dyn Fn(&[f32]) -> usize>;
    let models: [(&str, &str, bool, Label<'_>); 14] = [
        ("v3_2_0-binary_logistic", "json", false, Some(&over_half)),
        ("v1_7_6-binary_logistic", "ubj", false, Some(&over_half)),
        ("v3_2_0-binary_hinge", "json", false, Some(&class)),
        ("v3_2_0-binary_logitraw", "json", false, Some(&over_nought)),
        ("v3_2_0-multi_softprob", "ubj", true, Some(&largest)),
        ("v3_2_0-multi_softmax", "json", false, Some(&class)),
        ("v3_2_0-multi_softmax_missing", "ubj", false, Some(&class)),
        ("v3_2_0-targets_reg", "json", true, None),
        ("v3_2_0-vector_reg", "ubj", true, None),
        ("v3_2_0-reg_quantile_three", "json", true, None),
        ("v3_4_1-reg_quantile_three", "json", true, None),
        ("v3_2_0-missing_reg", "json", false, None),
        ("v3_2_0-count_poisson", "ubj", false, None),
        ("v3_2_0-reg_squarederror", "json", false, None),
    ];
    for (name, form, lists, label) in models {
        let (bytes, expected) = fixture(fixture_folder(), name, form);
        server.put_model(&format!("p/{name}"), &bytes).expect(201);
        let wanted = flat(&expected["predict"]);
        let width = wanted.len() / expected["rows"].as_array().unwrap().len();
        round_trips(&server, name, &expected, |place, said| {
            let off = said.scores.iter().zip(&wanted).filter(|(found, wanted)| found.to_bits() != wanted.to_bits()).count();
            assert_eq!((said.scores.len(), off), (wanted.len(), 0), "{place}: scores that differ");
            assert_eq!(said.lists, lists, "{place}");
            let labels = label.map(|label| wanted.chunks(width).map(|row| json!(label(row))).collect::<Vec<_>>());
            assert_eq!(said.labels, labels, "{place}");
        });
    }
}

#[test]
fn linear_learners_answer_as_their_weights_say() {
    let server = serving(&[]);
    let folder = || fixture_folder().join("../linear_learner");
    for (name, lists) in [("regressor", false), ("binary_classifier", false), ("multiclass_classifier", true)] {
        let (bytes, expected) = fixture(folder(), name, "tar.gz");
        let shown = server.put_model(&format!("p/{name}"), &bytes).expect(201).json();
        assert_eq!((&shown["format"], &shown["kind"]), (&json!("linear-learner"), &json!(name)));
        assert_eq!(shown["features"], expected["features"]);
        // The sums are f32, one column after the other: the same bits.
        let prepared = runtime::prepare(Artifact::read(bytes.as_slice(), Limits::default()).unwrap()).unwrap();
        let model = runtime::load("linear-learner", &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap();
        let rows = [Tensor::new(expected["features"].as_u64().unwrap() as usize, flat(&expected["rows"])).unwrap().into()];
        assert_eq!(bits(model.raw(&rows).unwrap().f32s().unwrap().values()), bits(&flat(&expected["raw"])), "{name}");
        assert_eq!(model.weight(), prepared.summary.weight, "{name}");
        let wanted = flat(&expected["predict"]);
        let here = model.predict(&rows).unwrap();
        round_trips(&server, name, &expected, |place, said| {
            assert_eq!(bits(&said.scores), bits(here.scores.f32s().unwrap().values()), "{place}: what was computed is not what was sent");
            for (found, wanted) in said.scores.iter().zip(&wanted) {
                assert!((found - wanted).abs() <= 1e-6 * wanted.abs(), "{place}: {found:?} for {wanted:?}");
            }
            assert_eq!(said.lists, lists, "{place}");
            assert_eq!(said.labels.clone().map(Value::from).unwrap_or_default(), expected["labels"], "{place}");
        });
        // What a sparse row leaves out is 0 to a linear model.
        let columns = rows[0].columns();
        let zeros = ask_as(&server, name, "text/csv", vec!["0"; columns].join(",")).expect(200).body;
        all_answer(&server, name, "text/libsvm", &zeros, &["1"]);
        all_answer(&server, name, "application/json", &zeros, &[r#"[{"data":{"features":{"keys":[],"values":[]}}}]"#]);
    }
    let why = "row 2, column 3 is empty; this model takes no missing values";
    all_refused(&server, "binary_classifier", "text/csv", &[("1,2,3,4,5\n1,2,,4,5", why), ("1,2,3,4,5\n1,2,nan,4,5", why)]);
    all_refused(
        &server,
        "binary_classifier",
        "application/json",
        &[("[[1,2,3,4,5],[1,2,null,4,5]]", why), ("[[1,2,3,4,5],[1,2,NaN,4,5]]", why)],
    );
    all_refused(&server, "binary_classifier", "application/jsonlines", &[("[1,2,3,4,5]\n[1,2,null,4,5]", why)]);
    let why = "row 1, feature 2 is no number; this model takes no missing values";
    all_refused(&server, "binary_classifier", "text/libsvm", &[("0:1 2:nan", why)]);
    all_refused(&server, "binary_classifier", "application/json", &[(r#"[{"data":{"features":{"keys":[2],"values":[NaN]}}}]"#, why)]);
    // A sum past f32 is no answer.
    let reply = ask_as(&server, "regressor", "text/csv", ["3e38"; 8].join(",")).expect(424);
    assert!(
        reply.message().contains("stage 1 (`p/regressor`): the model's answer for row 1 is not a finite number"),
        "{}",
        reply.message()
    );
}
