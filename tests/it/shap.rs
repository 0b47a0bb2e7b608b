//! What each column adds, against XGBoost's own `pred_contribs`, and that it all adds up.
//!
//! `tests/fixtures/make_shap.py` asked the library about models and rows of `tests/fixtures/xgboost`.

use std::path::Path;

use rookery::artifact::{Artifact, Limits};
use rookery::runtime::{self, Model};
use rookery::tensor::Tensor;
use serde_json::{Value as Json, json};

use crate::support::Server;
use crate::xgboost::{fixture_folder, numbers};

/// How far a contribution may be off, relative to the largest of its row: the library sums in `f32`.
const RELATIVE: f64 = 1e-5;

fn model(path: &Path) -> Box<dyn Model> {
    let artifact = Artifact::read(std::fs::File::open(path).unwrap(), Limits::default()).unwrap();
    let prepared = runtime::prepare(artifact).unwrap();
    // Explaining takes no memory beside the nodes; tiny models are mostly names and heads.
    if prepared.summary.core > 100_000 {
        assert!(prepared.summary.weight * 4 <= prepared.summary.core * 5, "{}", path.display());
    }
    runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap()
}

#[test]
fn contributions_are_the_library_s_own() {
    let folder = fixture_folder().with_file_name("shap");
    let mut compared = 0;
    let mut failures = Vec::new();
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let wanted = numbers(&serde_json::from_str::<Json>(&std::fs::read_to_string(&path).unwrap()).unwrap()["contributions"]);
        let expected = fixture_folder().join(format!("{name}.expected.json"));
        let expected: Json = serde_json::from_str(&std::fs::read_to_string(expected).unwrap()).unwrap();
        let columns = expected["features"].as_u64().unwrap() as usize;
        let input = [Tensor::new(columns, numbers(&expected["rows"])).unwrap().into()];
        let form = ["json", "ubj"].map(|form| fixture_folder().join(format!("{name}.{form}"))).into_iter().find(|path| path.exists());
        let model = model(&form.unwrap());
        let found = match model.explain(&input) {
            Ok(found) => found,
            Err(error) => {
                failures.push(format!("{name}: {error}"));
                continue;
            }
        };
        let found = found.f32s().unwrap();
        assert_eq!(found.values().len(), wanted.len(), "{name}");
        let margins = model.raw(&input).unwrap();
        for (row, wanted) in wanted.chunks(found.columns()).enumerate() {
            let found = found.row(row);
            let scale = wanted.iter().fold(1.0f64, |scale, &value| scale.max(f64::from(value).abs()));
            let off = found.iter().zip(wanted).map(|(&a, &b)| (f64::from(a) - f64::from(b)).abs()).fold(0.0, f64::max);
            if off > RELATIVE * scale {
                failures.push(format!("{name} row {row}: off by {:e}, {found:?} for {wanted:?}", off / scale));
                break;
            }
            for (sum, margin) in found.chunks(columns + 1).zip(margins.f32s().unwrap().row(row)) {
                let sum: f64 = sum.iter().map(|&value| f64::from(value)).sum();
                assert!((sum - f64::from(*margin)).abs() <= RELATIVE * scale, "{name} row {row}: adds up to {sum}, the margin is {margin}");
            }
        }
        compared += 1;
    }
    println!("{compared} models explained");
    assert!(compared >= 55, "only {compared} fixtures were found");
    assert!(failures.is_empty(), "{} of {compared} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn a_row_is_explained_alike_alone_and_among_others() {
    for name in ["v3_2_0-multi_softprob", "v3_2_0-cat_many", "v3_4_1-vector_reg"] {
        let path = ["json", "ubj"].map(|form| fixture_folder().join(format!("{name}.{form}"))).into_iter().find(|path| path.exists());
        let model = model(&path.unwrap());
        let columns = model.schema().features;
        let values: Vec<f32> = (0..columns * 19).map(|at| if at % 11 == 0 { f32::NAN } else { (at * 7 % 23) as f32 - 9.0 }).collect();
        let all = model.explain(&[Tensor::new(columns, values.clone()).unwrap().into()]).unwrap();
        for (row, wanted) in values.chunks(columns).zip(all.f32s().unwrap().iter()) {
            let one = model.explain(&[Tensor::new(columns, row.to_vec()).unwrap().into()]).unwrap();
            assert_eq!(one.f32s().unwrap().values(), wanted);
        }
    }
}

#[test]
fn an_answer_too_large_and_a_model_without_covers_are_refused() {
    let path = fixture_folder().join("v3_2_0-binary_logistic.json");
    let text = std::fs::read_to_string(&path).unwrap().replace("\"sum_hessian\"", "\"sum_of_nothing\"");
    let prepared = runtime::prepare(Artifact::read(text.as_bytes(), Limits::default()).unwrap()).unwrap();
    let bare = runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap();
    let one = [Tensor::new(6, vec![0.0f32; 6]).unwrap().into()];
    bare.predict(&one).unwrap();
    assert!(bare.explain(&one).unwrap_err().message().contains("cover"));
    let many = [Tensor::new(6, vec![0.0f32; 6 * 2_500_000]).unwrap().into()];
    assert!(model(&path).explain(&many).unwrap_err().message().contains("too many"));
}

#[test]
fn contributions_of_several_outputs_are_a_list_each_in_every_format() {
    let server = Server::start();
    let bytes = std::fs::read(fixture_folder().join("v3_2_0-multi_softprob.json")).unwrap();
    server.put_model("s/m", &bytes).expect(201);
    server.put_endpoint("plain", &json!([{ "model": "s/m" }]));
    server.put_endpoint("selected", &json!([{ "model": "s/m", "output": ["predicted_label", "probabilities"] }]));
    let row = b"0.1,0.2,0.3,0.4,0.5,0.6";
    for endpoint in ["plain", "selected"] {
        let ask = |accept: &str| {
            let path = format!("/endpoints/{endpoint}/invocations?explain=true");
            server.send("POST", &path, &server.admin, &[("content-type", "text/csv"), ("accept", accept)], row).expect(200)
        };
        let json = ask("application/json").json()["predictions"][0]["contributions"].clone();
        let lists = json.as_array().unwrap();
        assert!(lists.len() == 3 && lists.iter().all(|list| list.as_array().unwrap().len() == 7), "{json}");
        assert_eq!(serde_json::from_str::<Json>(&ask("application/jsonlines").text()).unwrap()["contributions"], json);
        // CSV has them in the last cell.
        let csv = ask("text/csv").text();
        let cells: Vec<String> =
            csv::ReaderBuilder::new().has_headers(false).from_reader(csv.as_bytes()).deserialize().next().unwrap().unwrap();
        assert_eq!(serde_json::from_str::<Json>(cells.last().unwrap()).unwrap(), json, "{csv}");
    }
}
