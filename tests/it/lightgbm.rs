//! LightGBM fixtures: raw scores to the bit, answers to a billionth, explanations, in the files of every version kept.
//!
//! `tests/fixtures/make_lightgbm.py` made models and expectations with the library itself.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rookery::artifact::{Artifact, Limits};
use rookery::runtime::{self, Model};
use rookery::tensor::{Block, Tensor};
use serde_json::value::RawValue;

use crate::support::own_time;

/// Transformed answers may differ by this much, relative.
const RELATIVE: f64 = 1e-9;
/// Explanations may differ by this much, relative to the largest of the row.
const EXPLAINED: f64 = 1e-5;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/lightgbm")
}

/// What the library answered; numbers stay text until they are read, since `serde_json` reads to about a bit.
#[derive(serde::Deserialize)]
struct Expected {
    features: usize,
    rows: Box<RawValue>,
    raw: Box<RawValue>,
    predict: Box<RawValue>,
    contrib: Box<RawValue>,
}

/// The numbers of lists in lists, flat.
fn numbers(value: &RawValue) -> Vec<f64> {
    let texts = value.get().split(['[', ']', ',']).filter(|text| !text.is_empty());
    texts.map(|text| if text == "null" { f64::NAN } else { text.parse().unwrap() }).collect()
}

fn read(bytes: &[u8]) -> rookery::error::Result<runtime::Prepared> {
    runtime::prepare(Artifact::read(bytes, Limits::default())?)
}

fn loaded(prepared: &runtime::Prepared) -> Box<dyn Model> {
    runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap()
}

fn wide(block: &Block) -> &[f64] {
    block.f64s().unwrap().values()
}

fn fixtures() -> Vec<(String, Vec<u8>, Expected)> {
    let mut paths: Vec<_> = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    paths.sort();
    let one = |path: PathBuf| {
        let expected = std::fs::read_to_string(path.with_extension("expected.json")).unwrap();
        (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap(), serde_json::from_str(&expected).unwrap())
    };
    paths.into_iter().map(one).collect()
}

#[test]
fn every_fixture_answers_as_the_library_did() {
    let (mut models, mut explained, mut transformed, mut equal) = (0, 0, 0, 0);
    let mut failures = Vec::new();
    for (name, bytes, expected) in fixtures() {
        models += 1;
        let prepared = match read(&bytes) {
            Ok(prepared) => prepared,
            Err(error) => {
                failures.push(format!("{name}: refused: {error}"));
                continue;
            }
        };
        assert_eq!(prepared.summary.format, "lightgbm");
        let model = loaded(&prepared);
        assert_eq!(model.weight(), prepared.summary.weight, "{name}: the weight announced is not the weight");
        let columns = expected.features;
        assert_eq!((prepared.summary.features, model.schema().features), (columns, columns), "{name}");
        let rows = Tensor::new(columns, numbers(&expected.rows)).unwrap();
        let input = [rows.clone().into()];
        let raw = model.raw(&input).unwrap();
        let wanted = numbers(&expected.raw);
        let off = wide(&raw).iter().zip(&wanted).filter(|(found, wanted)| found != wanted).count();
        if off > 0 || wide(&raw).len() != wanted.len() {
            let at = wide(&raw).iter().zip(&wanted).position(|(found, wanted)| found != wanted).unwrap_or_default();
            let row = rows.row(at / raw.columns());
            failures.push(format!(
                "{name}: {off} of {} raw scores differ, {:?} for {:?} at {row:?}",
                wanted.len(),
                wide(&raw)[at],
                wanted[at]
            ));
            continue;
        }
        let answer = model.predict(&input).unwrap();
        let wanted = numbers(&expected.predict);
        assert_eq!(wide(&answer.scores).len(), wanted.len(), "{name}");
        for (found, wanted) in wide(&answer.scores).iter().zip(&wanted) {
            transformed += 1;
            equal += usize::from(found.to_bits() == wanted.to_bits());
            if (found - wanted).abs() > RELATIVE * wanted.abs() {
                failures.push(format!("{name}: answers {found:?} for {wanted:?}"));
                break;
            }
        }
        // One row at a time takes the other walk and must give the same bits.
        for (row, batch) in rows.iter().zip(answer.scores.f64s().unwrap().iter()) {
            let one = model.predict(&[Tensor::new(columns, row.to_vec()).unwrap().into()]).unwrap();
            assert!(wide(&one.scores).iter().zip(batch).all(|(a, b)| a.to_bits() == b.to_bits()), "{name}: single and batch differ");
        }
        let explanation = model.explain(&input);
        if expected.contrib.get() == "null" {
            assert!(explanation.unwrap_err().message().contains("linear trees"), "{name}");
            continue;
        }
        explained += 1;
        let (explanation, wanted) = (explanation.unwrap(), numbers(&expected.contrib));
        assert_eq!(wide(&explanation).len(), wanted.len(), "{name}");
        for ((found, wanted), raw) in wide(&explanation).chunks(columns + 1).zip(wanted.chunks(columns + 1)).zip(wide(&raw)) {
            let scale = wanted.iter().fold(1e-3_f64, |most, value| most.max(value.abs()));
            if found.iter().zip(wanted).any(|(found, wanted)| (found - wanted).abs() > EXPLAINED * scale) {
                failures.push(format!("{name}: explains {found:?} for {wanted:?}"));
                break;
            }
            assert!(
                (found.iter().sum::<f64>() - raw).abs() <= 1e-9 * raw.abs().max(1.0),
                "{name}: an explanation does not sum to the raw score"
            );
        }
    }
    println!("{models} LightGBM models compared, {explained} explained, {equal} of {transformed} transformed answers equal to the bit");
    assert!(failures.is_empty(), "{} of {models} differ:\n{}", failures.len(), failures.join("\n"));
    assert!(models >= 70, "only {models} fixtures were found");
}

#[test]
fn labels_are_class_numbers() {
    for (name, label) in [("v4_7_0-binary", true), ("v4_7_0-multiclass", true), ("v4_7_0-ova", true), ("v4_7_0-cross_entropy", false)] {
        let (_, bytes, expected) = fixtures().into_iter().find(|(found, ..)| found == name).unwrap();
        let model = loaded(&read(&bytes).unwrap());
        let answer = model.predict(&[Tensor::new(6, numbers(&expected.rows)).unwrap().into()]).unwrap();
        let Some(Block::I64(labels)) = answer.labels else {
            assert!(!label, "{name}");
            continue;
        };
        assert!(label && labels.rows() == answer.scores.rows(), "{name}");
        for (label, scores) in labels.values().iter().zip(answer.scores.f64s().unwrap().iter()) {
            let best = (0..scores.len()).rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap() as i64;
            assert_eq!(*label, if scores.len() == 1 { i64::from(scores[0] > 0.5) } else { best }, "{name}");
        }
    }
}

#[test]
fn every_cut_of_a_model_is_refused() {
    for name in ["v4_7_0-categories", "v4_7_0-linear", "v4_7_0-single_leaf", "v2_3_1-binary"] {
        let bytes = std::fs::read(folder().join(format!("{name}.txt"))).unwrap();
        let end = bytes.windows(12).position(|word| word == b"end of trees").unwrap();
        assert!(read(&bytes).is_ok());
        for cut in 0..bytes.len() {
            match read(&bytes[..cut]) {
                // What follows the trees is not asked for an answer; parameters that end too soon are refused all the same.
                Ok(_) => assert!(cut >= end + 12, "{name} cut at {cut} was taken"),
                Err(error) => assert!(!error.message().is_empty(), "{name} cut at {cut}"),
            }
        }
    }
}

#[test]
fn refusals_name_the_tree_and_the_line() {
    let text = std::fs::read_to_string(folder().join("v4_7_0-binary.txt")).unwrap();
    let change = |from: &str, to: &str| {
        // The head's sizes would be what is wrong first.
        let sizes = text.lines().find(|line| line.starts_with("tree_sizes=")).unwrap();
        let changed = text.replace(&format!("{sizes}\n"), "");
        assert!(changed.contains(from), "{from}");
        read(changed.replacen(from, to, 1).as_bytes()).unwrap_err().message().to_owned()
    };
    for (from, to, words) in [
        ("leaf_value=", "leaf_value=x ", &["tree 0", "line 2", "`leaf_value`", "`x`"][..]),
        ("leaf_value=", "leaf_value=1 ", &["tree 0", "`leaf_value`", "9 values where 8 belong"]),
        ("\nleft_child=", "\nleft_childs=", &["tree 0", "left_child"]),
        ("\nleft_child=", "\nleft_child=99 99 99 99 99 99 99\nleft_children=", &["tree 0", "child 99"]),
        ("\nright_child=", "\nright_child=0 0 0 0 0 0 0\nright_children=", &["tree 0", "cycle"]),
        ("split_feature=", "split_feature=77 77 77 77 77 77 77\nsplit_features=", &["tree 0", "feature 77"]),
        ("num_leaves=8", "num_leaves=-8", &["tree 0", "num_leaves", "`-8`"]),
        ("num_leaves=8", "num_leaves=99999999999", &["tree 0", "leaf_value"]),
        ("objective=binary", "objective=oracle", &["`oracle`"]),
        ("max_feature_idx=5", "max_feature_idx=6", &["`feature_names`", "6 features", "7"]),
        ("num_class=1", "num_class=2", &["2 classes", "1 tree an iteration"]),
        ("end of trees", "end of forest", &["end of forest"]),
        ("end of parameters", "end of it", &["parameters", "line"]),
    ] {
        let message = change(from, to);
        assert!(words.iter().all(|word| message.contains(word)), "`{to}`: {message}");
    }
    let cut = read(text.replacen("leaf_value=", "leaf_value=0", 1).as_bytes()).unwrap_err();
    assert!(cut.message().contains("tree 0 ends on line") && cut.message().contains("tree_sizes"), "{cut}");
    assert!(cut.message().contains("cut or changed"), "{cut}");
    let cut = read(text.replace('\n', "\r\n").as_bytes()).unwrap_err();
    assert!(cut.message().contains("its lines end in CR LF, which LightGBM itself does not read"), "{cut}");
}

/// A file of `trees` over one column, as version 4 writes it; `sized` says how long each is.
fn written(trees: &[String], sized: bool) -> Vec<u8> {
    let trees: Vec<String> = trees.iter().enumerate().map(|(index, tree)| format!("Tree={index}\n{tree}\n\n")).collect();
    let sizes = trees.iter().map(|tree| tree.len().to_string()).collect::<Vec<_>>().join(" ");
    let sizes = if sized { format!("tree_sizes={sizes}\n") } else { String::new() };
    let head = "tree\nversion=v4\nnum_class=1\nnum_tree_per_iteration=1\nmax_feature_idx=0\nobjective=regression\nfeature_names=a\nfeature_infos=[0:1]\n";
    format!("{head}{sizes}\n{}end of trees\n", trees.concat()).into_bytes()
}

const STUMP: &str = "num_leaves=2\nnum_cat=0\nsplit_feature=0\nthreshold=0.5\ndecision_type=0\nleft_child=-1\nright_child=-2\nleaf_value=1 2\nleaf_count=3 4\ninternal_count=7";

#[test]
fn many_trees_are_read_in_time_and_must_be_as_long_as_the_head_says() {
    let before = own_time();
    let leaf = "num_leaves=1\nnum_cat=0\nleaf_value=1".to_owned();
    let many = written(&vec![leaf; 100_000], true);
    assert_eq!(read(&many).unwrap().summary.trees, Some(100_000));
    // The square of so many would be minutes.
    let took = own_time() - before;
    assert!(took < Duration::from_secs(30), "{took:?}");
    // One byte more in any tree, also the last, is not where the head says.
    let three = String::from_utf8(written(&[STUMP; 3].map(str::to_owned), true)).unwrap();
    for tree in 0..3 {
        let longer = three.replacen(&format!("Tree={tree}\nnum"), &format!("Tree={tree}\nx=\nnum"), 1);
        let error = read(longer.as_bytes()).unwrap_err();
        assert!(error.message().contains(&format!("tree {tree} ends on line")), "{error}");
    }
}

#[test]
fn nodes_that_share_a_category_set_are_refused() {
    let tree = |second: &str, words: &str| {
        format!(
            "num_leaves=3\nnum_cat=2\nsplit_feature=0 0\nthreshold=0 {second}\ndecision_type=1 1\nleft_child=1 -1\nright_child=-3 -2\nleaf_value=1 2 3\ncat_boundaries=0 2 4\ncat_threshold={words}"
        )
    };
    assert!(read(&written(&[tree("1", "1 2 4 8")], false)).is_ok());
    // The first set is whole; a second node that asks for it too is one too many as soon as the words are used up.
    let shared = tree("0", "1 2 4 8").replace("0 2 4\n", "0 4 4\n");
    let error = read(&written(&[shared], false)).unwrap_err();
    assert!(error.message().contains("node 1 asks for category set 0, which other nodes have"), "{error}");
}

#[test]
fn more_rows_than_a_minute_takes_are_refused_before_any_is_answered() {
    let model = loaded(&read(&written(&vec![STUMP.to_owned(); 20_000], false)).unwrap());
    let rows = |count: usize| [Tensor::new(1, vec![0.0; count]).unwrap().into()];
    let many = rows(1_100_000);
    for refused in [model.predict(&many).map(drop), model.raw(&many).map(drop), model.explain(&many).map(drop)] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), rookery::error::Kind::TooLarge);
        assert!(error.message().contains("1100000 rows are too much work for this model; send fewer rows at once"), "{error}");
    }
    assert!(model.predict(&rows(20)).is_ok() && model.explain(&rows(20)).is_ok());
    // A leaf that adds up many terms is as much work as they are many.
    let terms = |word: &str| vec![word; 500].join(" ");
    let linear =
        format!("{STUMP}\nis_linear=1\nleaf_const=1 2\nnum_features=500 0\nleaf_features={}\nleaf_coeff={}", terms("0"), terms("0.5"));
    let model = loaded(&read(&written(&[linear], false)).unwrap());
    assert!(model.cost(1) >= 500, "{}", model.cost(1));
}

#[test]
fn every_flipped_byte_is_refused_or_answers_finite_numbers() {
    let mut answered = 0;
    for name in ["v4_7_0-categories", "v4_7_0-linear_missing", "v4_7_0-missing_zero"] {
        let text = std::fs::read_to_string(folder().join(format!("{name}.txt"))).unwrap();
        // Without its sizes, so that a changed length is not what refuses; and without the parameters.
        let sizes = text.lines().find(|line| line.starts_with("tree_sizes=")).unwrap();
        let text = text.replace(&format!("{sizes}\n"), "");
        let bytes = text.split("\nfeature_importances").next().unwrap().as_bytes();
        for at in 0..bytes.len() {
            for flip in [0x01, 0x10, 0x1d, 0x80] {
                let mut hostile = bytes.to_vec();
                hostile[at] ^= flip;
                let Ok(prepared) = read(&hostile) else { continue };
                if prepared.summary.features > 1_000 {
                    continue;
                }
                let model = loaded(&prepared);
                let columns = prepared.summary.features;
                for value in [f64::NAN, -1e30, 0.0, 3.0, 1e30] {
                    let input = [Tensor::new(columns, vec![value; columns]).unwrap().into()];
                    // The pipeline is what callers reach; it lets no NaN out.
                    if let Ok(output) =
                        runtime::pipeline::run(&[runtime::pipeline::Step::model("flipped", model.as_ref())], input.clone().into(), false)
                    {
                        assert!(output.scores.not_finite().is_none());
                        answered += 1;
                    }
                    if let Ok(explained) = model.explain(&input) {
                        assert!(explained.not_finite().is_none(), "{name}: byte {at} flipped by {flip} explains with no finite number");
                    }
                }
            }
        }
    }
    assert!(answered > 0, "no flip left a model that answers; the test shows nothing");
}

#[test]
fn a_flipped_prepared_form_never_panics() {
    let bytes = std::fs::read(folder().join("v4_7_0-categories.txt")).unwrap();
    let prepared = read(&bytes).unwrap();
    let rows = Tensor::new(6, vec![0.5; 6 * 9]).unwrap();
    for at in 0..prepared.bytes.len() {
        for flip in [0x01, 0x80] {
            let mut hostile = prepared.bytes.clone();
            hostile[at] ^= flip;
            if let Ok(model) = runtime::load("lightgbm", &mut hostile.as_slice(), hostile.len() as u64)
                && model.schema().features == 6
            {
                let _ = (model.predict(&[rows.clone().into()]), model.explain(&[rows.clone().into()]));
            }
        }
    }
}
