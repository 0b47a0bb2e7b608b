//! XGBoost's binary form and pickled Boosters of 0.90 to 3.2: margins to the bit, answers to a millionth; and pickles that
//! mean harm.
//!
//! `tests/fixtures/make_xgboost_old.py` made models and expectations with the library itself, version by version.

use std::path::{Path, PathBuf};

use rookery::artifact::{Artifact, Limits};
use rookery::error::Result;
use rookery::runtime::{self, Model, Prepared};
use rookery::tensor::Tensor;
use serde_json::Value as Json;

use crate::xgboost::numbers;

/// Transformed answers may differ by this much, relative.
const RELATIVE: f32 = 1e-6;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/xgboost_old")
}

fn files() -> Vec<PathBuf> {
    let mut paths: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end != "json"));
    paths.sort();
    paths
}

fn prepare(bytes: &[u8]) -> Result<Prepared> {
    runtime::prepare(&Artifact::read(bytes, Limits::default())?)
}

fn loaded(prepared: &Prepared) -> Box<dyn Model> {
    runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap()
}

fn refused(bytes: &[u8]) -> String {
    prepare(bytes).unwrap_err().message().to_owned()
}

#[test]
fn every_old_file_answers_as_the_library_did() {
    let mut failures = Vec::new();
    let mut compared = 0;
    for path in files() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let expected = folder().join(format!("{}.expected.json", name.trim_end_matches(".pkl").rsplit_once('.').unwrap().0));
        let expected = if name.ends_with(".bin") { folder().join(name.replace(".bin", ".expected.json")) } else { expected };
        let expected: Json = serde_json::from_str(&std::fs::read_to_string(expected).unwrap()).unwrap();
        let prepared = match prepare(&std::fs::read(&path).unwrap()) {
            Ok(prepared) => prepared,
            Err(error) => {
                failures.push(format!("{name}: refused: {error}"));
                continue;
            }
        };
        let model = loaded(&prepared);
        assert_eq!(model.weight(), prepared.summary.weight, "{name}");
        let rows = Tensor::new(expected["features"].as_u64().unwrap() as usize, numbers(&expected["rows"])).unwrap();
        let input = [rows.into()];
        let margins = model.raw(&input).unwrap();
        let margins = margins.f32s().unwrap().values();
        let wanted = numbers(&expected["margin"]);
        let off = margins.iter().zip(&wanted).filter(|(found, wanted)| found.to_bits() != wanted.to_bits()).count();
        if off > 0 || margins.len() != wanted.len() {
            failures.push(format!("{name}: {off} of {} margins differ, {:?} for {:?}", margins.len(), &margins[..4], &wanted[..4]));
        }
        let answer = model.predict(&input).unwrap();
        let answer = answer.scores.f32s().unwrap().values();
        let wanted = numbers(&expected["predict"]);
        if answer.len() != wanted.len() || answer.iter().zip(&wanted).any(|(a, b)| (a - b).abs() > RELATIVE * b.abs()) {
            failures.push(format!("{name}: answers {:?} for {:?}", &answer[..4], &wanted[..4]));
        }
        compared += 1;
    }
    println!("{compared} old XGBoost files compared");
    assert!(failures.is_empty(), "{} of {compared} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(compared >= 250, "only {compared} fixtures were found");
}
