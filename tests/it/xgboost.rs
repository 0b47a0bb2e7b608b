//! XGBoost fixtures: margins to the bit, answers to a millionth, in both file forms, for every version kept.
//!
//! `tests/fixtures/make_xgboost.py` made models and expectations with the library itself.

use std::path::{Path, PathBuf};

use rookery::artifact::{Artifact, Limits};
use rookery::runtime::{self, Model};
use rookery::tensor::Tensor;
use serde_json::Value as Json;

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
