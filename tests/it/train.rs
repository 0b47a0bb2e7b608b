//! `rookery train` through the real binary: trained from a file, uploaded through the door, asked; and hostile models.
//!
//! `tests/fidelity/train.py` compares the same models with scikit-learn.

use std::path::Path;

use rookery::artifact::{Artifact, Limits};
use rookery::runtime::{self, Model, pipeline};
use rookery::tensor::Tensor;
use serde_json::{Value, json};

use crate::support::{Reply, Server, rookery};

/// Two clouds of points and their class; the first line names the columns.
fn clouds() -> String {
    let mut text = "class,width,height\n".to_owned();
    for at in 0..40 {
        let (class, step) = (at % 2, at as f32 / 20.0);
        text.push_str(&format!("{class},{},{}\n", class as f32 * 10.0 + step, class as f32 * -5.0 + (step * 7.0).sin()));
    }
    text
}

/// Trains in `folder` and returns the artifact.
fn trained(folder: &Path, kind: &str, table: &str, flags: &[&str]) -> (Vec<u8>, Value) {
    let (data, out) = (folder.join("data.csv"), folder.join("model.tar.gz"));
    std::fs::write(&data, table).unwrap();
    let mut words = vec!["train", kind, data.to_str().unwrap(), "-o", out.to_str().unwrap(), "--json"];
    words.extend(flags);
    let (code, told, error) = rookery(&words, "");
    assert_eq!(code, 0, "{error}");
    assert_eq!(error, "");
    (std::fs::read(&out).unwrap(), serde_json::from_str(&told).unwrap())
}

fn ask(server: &Server, model: &str, accept: &str, body: &str) -> Reply {
    let media = if body.starts_with('{') { "application/json" } else { "text/csv" };
    let headers = [("content-type", media), ("accept", accept), ("x-amzn-sagemaker-target-model", model)];
    server.send("POST", "/endpoints/trained/invocations", &server.admin, &headers, body.as_bytes())
}

#[test]
fn what_is_trained_is_uploaded_and_answers_in_the_words_of_its_algorithm() {
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start();
    server.put_endpoint("trained", &json!([{ "prefix": "t/" }]));
    let put = |name: &str, bytes: &[u8]| server.put_model(&format!("t/{name}"), bytes).expect(201).json();

    let (knn, told) = trained(folder.path(), "knn", &clouds(), &["--label", "class", "--k", "3"]);
    assert_eq!((told["format"].as_str(), told["rows"].as_u64(), told["features"].as_u64()), (Some("knn"), Some(40), Some(2)));
    let made = put("knn", &knn);
    assert_eq!((made["format"].as_str(), made["kind"].as_str()), (Some("knn"), Some("classifier L2 k=3")));
    assert_eq!(
        ask(&server, "knn", "", "11,-5\n0,0").expect(200).text(),
        r#"{"predictions":[{"predicted_label":1.0},{"predicted_label":0.0}]}"#
    );
    assert_eq!(ask(&server, "knn", "application/jsonlines", "11,-5").expect(200).text(), "{\"predicted_label\":1.0}\n");
    assert_eq!(ask(&server, "knn", "text/csv", "11,-5\n0,0").expect(200).text(), "1.0\n0.0\n");
    // By column names, which came from the header.
    let named = r#"{"instances":[{"height":-5,"width":11}]}"#;
    let verbose = ask(&server, "knn", "application/json; verbose=true", named).expect(200).json();
    let one = &verbose["predictions"][0];
    let distances: Vec<f64> = one["distances"].as_array().unwrap().iter().map(|far| far.as_f64().unwrap()).collect();
    assert!(distances.len() == 3 && distances.is_sorted(), "{one}");
    assert_eq!((&one["labels"], &one["predicted_label"]), (&json!([1.0, 1.0, 1.0]), &json!(1.0)));
    assert!(ask(&server, "knn", "", "1,2,3").expect(400).message().contains("takes 2"));
    assert!(ask(&server, "knn", "", "1,").expect(400).message().contains("missing"));
    let (one, _) = trained(folder.path(), "knn", &clouds(), &["--k", "1", "--type", "regressor"]);
    put("one", &one);
    let verbose = ask(&server, "one", "application/json;verbose=true", "0,0").expect(200).text();
    assert_eq!(verbose, r#"{"predictions":[{"predicted_label":0.0,"distances":[0.0],"labels":[0.0]}]}"#);

    let (forest, told) = trained(folder.path(), "random-cut-forest", &clouds(), &["--label", "class", "--trees", "20", "--samples", "16"]);
    assert_eq!(told["trees"], 20);
    put("rcf", &forest);
    let scores = ask(&server, "rcf", "", "1,0\n100,100").expect(200).json();
    let score = |at: usize| scores["scores"][at]["score"].as_f64().unwrap();
    assert!(scores["scores"].as_array().unwrap().len() == 2 && score(1) > 2.0 * score(0), "{scores}");
    assert_eq!(ask(&server, "rcf", "text/csv", "1,0").expect(200).text(), format!("{}\n", score(0)));
    assert_eq!(ask(&server, "rcf", "application/jsonlines", "1,0").expect(200).text(), format!("{{\"score\":{}}}\n", score(0)));
    let (again, _) = trained(folder.path(), "random-cut-forest", &clouds(), &["--label", "class", "--trees", "20", "--samples", "16"]);
    let (other, _) =
        trained(folder.path(), "random-cut-forest", &clouds(), &["--label", "class", "--trees", "20", "--samples", "16", "--seed", "1"]);
    assert!(forest == again && forest != other);

    let line: String = (0..30).map(|at| format!("{},{}\n", 3 * at + 7, at)).collect();
    let (linear, told) = trained(folder.path(), "linear-learner", &line, &[]);
    assert!(told["converged"] == true && told["loss"].as_f64().unwrap() < 1e-6, "{told}");
    assert_eq!(put("line", &linear)["format"], "linear-learner");
    let score = ask(&server, "line", "", "100").expect(200).json()["predictions"][0]["score"].as_f64().unwrap();
    assert!((score - 307.0).abs() < 1e-3, "{score}");
    let (binary, _) = trained(folder.path(), "linear-learner", &clouds(), &["--type", "binary_classifier", "--l2", "0.01"]);
    put("binary", &binary);
    let said = ask(&server, "binary", "", "11,-5\n0,0").expect(200).json();
    assert_eq!((&said["predictions"][0]["predicted_label"], &said["predictions"][1]["predicted_label"]), (&json!(1), &json!(0)));
    let classes: String = (0..90).map(|at| format!("{},{}\n", at / 30, at)).collect();
    let (multi, _) = trained(folder.path(), "linear-learner", &classes, &["--type", "multiclass_classifier", "--l2", "0.0001"]);
    put("multi", &multi);
    let said = ask(&server, "multi", "", "3\n45\n88").expect(200).json();
    for (at, one) in said["predictions"].as_array().unwrap().iter().enumerate() {
        assert_eq!((one["predicted_label"].as_u64(), one["score"].as_array().unwrap().len()), (Some(at as u64), 3), "{one}");
    }
}

#[test]
fn what_cannot_be_trained_is_refused_with_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data.csv"), folder.path().join("model.tar.gz"));
    for (kind, table, flags, reason) in [
        ("knn", "1,2\n0,3\n", &["--k", "3"][..], "k is 3; with 2 rows it takes 1 to 2"),
        ("knn", "1,2\n0,x\n", &[], "line 2, column 2 is `x`, no number"),
        ("knn", "a,b\n1,2\n", &["--label", "c"], "no column `c`"),
        ("knn", "", &[], "no row"),
        ("knn", "1,nan\n0,3\n", &[], "line 1, column 2 is `nan`, no number"),
        ("knn", "1,2\n9007199254740993,3\n", &["--k", "1"], "label 9007199254740992 is too large"),
        ("knn", "1.5,2\n16777217,3\n", &["--k", "1"], "label 16777217 is too large beside fractions"),
        ("random-cut-forest", "1,2\n", &["--trees", "0"], "0 trees"),
        ("random-cut-forest", "1,2\n", &["--samples", "100000"], "100000 rows"),
        ("linear-learner", "1,2\n3,4\n", &["--loss", "logistic"], "does not fit the type"),
        ("linear-learner", "1,2\n3,4\n", &["--type", "binary_classifier"], "a label is `3`"),
        ("linear-learner", "0.5,2\n3,4\n", &["--type", "multiclass_classifier"], "a label is `0.5`"),
        ("linear-learner", "0,2\n1,4\n", &["--type", "multiclass_classifier"], "fewer than three"),
        ("linear-learner", "1,2\n3,4\n", &["--loss", "quantile", "--quantile", "1"], "above 0 and below 1"),
        ("linear-learner", "1,2\n3,4\n", &["--l1=-1"], "numbers from 0"),
        ("linear-learner", "1,2\n3,4\n", &["--l2", "NaN"], "numbers from 0"),
    ] {
        std::fs::write(&data, table).unwrap();
        let mut words = vec!["train", kind, data.to_str().unwrap(), "-o", out.to_str().unwrap()];
        words.extend(flags);
        let (code, said, error) = rookery(&words, "");
        assert!(code == 1 && said.is_empty() && error.contains(reason), "{kind} {flags:?}: {code} {error}");
        assert!(!out.exists());
    }
    let (code, _, error) = rookery(&["train", "knn", data.to_str().unwrap(), "-o", "x", "--metric", "L3"], "");
    assert!(code == 2 && error.contains("INNER_PRODUCT"), "{error}");
}

fn prepared(bytes: &[u8]) -> rookery::error::Result<runtime::Prepared> {
    runtime::prepare(Artifact::read(bytes, Limits::default())?)
}

fn loaded(prepared: &runtime::Prepared) -> Box<dyn Model> {
    runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap()
}

/// Small models bare, as they are inside their archives.
fn small() -> Vec<(&'static str, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let bare = |kind: &str, flags: &[&str]| {
        let table: String = clouds().lines().take(9).map(|line| format!("{line}\n")).collect();
        let (packed, _) = trained(folder.path(), kind, &table, flags);
        let artifact = Artifact::read(packed.as_slice(), Limits::default()).unwrap();
        artifact.members()[0].bytes.to_vec()
    };
    vec![
        ("L2", bare("knn", &["--k", "2"])),
        ("COSINE", bare("knn", &["--k", "2", "--metric", "COSINE", "--type", "regressor"])),
        ("forest", bare("random-cut-forest", &["--trees", "3", "--samples", "6"])),
        ("linear", bare("linear-learner", &[])),
    ]
}

#[test]
fn every_cut_of_a_trained_model_is_refused() {
    for (name, bytes) in small() {
        let whole = prepared(&bytes).unwrap();
        assert_eq!(loaded(&whole).weight(), whole.summary.weight, "{name}");
        for end in 0..bytes.len() {
            assert!(prepared(&bytes[..end]).is_err(), "{name} cut at {end} was taken");
        }
        for end in 0..whole.bytes.len() {
            let cut = runtime::load(&whole.summary.format, &mut &whole.bytes[..end], end as u64);
            assert!(cut.is_err(), "the prepared form of {name} cut at {end} was taken");
        }
    }
}

#[test]
fn every_flipped_byte_of_a_trained_model_is_refused_or_answers_finite_numbers() {
    let mut answered = 0;
    for (name, bytes) in small() {
        for at in 0..bytes.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut hostile = bytes.clone();
                hostile[at] ^= flip;
                let Ok(prepared) = prepared(&hostile) else { continue };
                let columns = prepared.summary.features;
                assert!(columns <= 3, "{name} has {columns} columns after a flip at {at}");
                let model = loaded(&prepared);
                for value in [f32::NAN, -3e38, 0.0, 0.7, 3e38] {
                    let input = [Tensor::new(columns, vec![value; columns]).unwrap().into()];
                    if let Ok(output) = pipeline::run(&[pipeline::Step::model("flipped", model.as_ref())], input.into(), false) {
                        assert!(output.scores.not_finite().is_none());
                        assert!(output.extras.iter().all(|extra| extra.block.not_finite().is_none()), "{name}");
                        answered += 1;
                    }
                }
            }
        }
    }
    assert!(answered > 100, "{answered}");
}

/// A safetensors file with these metadata and arrays (`dtype`, shape, raw words).
fn file(metadata: &Value, arrays: &[(&str, &str, Value, Vec<u8>)]) -> Vec<u8> {
    let mut header = json!({ "__metadata__": metadata });
    let mut data = Vec::new();
    for (name, dtype, shape, raw) in arrays {
        header[*name] = json!({ "dtype": dtype, "shape": shape, "data_offsets": [data.len(), data.len() + raw.len()] });
        data.extend_from_slice(raw);
    }
    let text = header.to_string();
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &data].concat()
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn i32s(values: &[i32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn refused(what: &str, bytes: &[u8], reason: &str) {
    match prepared(bytes) {
        Err(error) => assert!(error.message().contains(reason), "{what}: {error}"),
        Ok(_) => panic!("{what} was taken"),
    }
}

#[test]
fn hostile_nearest_neighbours_are_refused_with_the_reason() {
    let metadata = |changes: Value| {
        let mut base = json!({ "format": "rookery-knn", "version": "1", "predictor_type": "classifier", "metric": "L2", "k": "2" });
        for (key, value) in changes.as_object().unwrap() {
            base[key] = value.clone();
        }
        base
    };
    let points = |values: &[f32], shape: Value| ("points", "F32", shape, f32s(values));
    let labels = |values: &[f32]| ("labels", "F32", json!([values.len()]), f32s(values));
    let square = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0];
    let good = [points(&square, json!([3, 2])), labels(&[1.0, 2.0, 2.0])];
    assert_eq!(prepared(&file(&metadata(json!({})), &good)).unwrap().summary.features, 2);
    for (changes, reason) in [
        (json!({ "version": "2" }), "version `2`"),
        (json!({ "predictor_type": "oracle" }), "`oracle`"),
        (json!({ "metric": "L1" }), "`L1`"),
        (json!({ "k": "0" }), "takes 1 to 3"),
        (json!({ "k": "4" }), "takes 1 to 3"),
        (json!({ "k": "-1" }), "takes 1 to 3"),
        (json!({ "k": "99999999999999999999" }), "takes 1 to 3"),
        (json!({ "feature_names": "[\"a\"]" }), "2 different names"),
        (json!({ "feature_names": "[\"a\",\"a\"]" }), "2 different names"),
        (json!({ "feature_names": "a,b" }), "no JSON list"),
        (json!({ "k": 2 }), "metadata `k`"),
        (json!({ "note": "rookery-knn", "format": "pt" }), "`pt`"),
    ] {
        refused(&changes.to_string(), &file(&metadata(changes.clone()), &good), reason);
    }
    let extra = ("more", "F32", json!([1]), f32s(&[0.0]));
    let long = ("labels", "I32", json!([3]), i32s(&[1, 2, 3]));
    for (arrays, reason) in [
        (vec![good[0].clone()], "no array `labels`"),
        (vec![good[1].clone()], "no array `points`"),
        (vec![good[0].clone(), good[1].clone(), extra], "`more`"),
        (vec![good[0].clone(), long], "holds `I32`"),
        (vec![good[0].clone(), labels(&[1.0, 2.0])], "2 labels for 3 points"),
        (vec![good[0].clone(), labels(&[1.0, 2.0, f32::NAN])], "value 2 of array `labels`"),
        (vec![points(&[0.0, 0.0, 1.0, 0.0, f32::INFINITY, 1.0], json!([3, 2])), good[1].clone()], "value 4 of array `points`"),
        (vec![points(&square, json!([6])), good[1].clone()], "2 dimensions"),
        (vec![points(&square, json!([3, 1, 2])), good[1].clone()], "2 dimensions"),
        (vec![points(&[], json!([3, 0])), good[1].clone()], "none empty"),
    ] {
        refused(reason, &file(&metadata(json!({})), &arrays), reason);
    }
}

#[test]
fn hostile_forests_are_refused_with_the_reason() {
    let metadata = json!({ "format": "rookery-random-cut-forest", "version": "1" });
    // One tree over the points 0, 1 and 2: the root cuts at 0.5, its right child at 1.5.
    let forest =
        |points: &[f32], leaf: &[i32], mass: &[i32], dimension: &[i32], value: &[f32], left: &[i32], right: &[i32], root: &[i32]| {
            let whole = |name: &'static str, values: &[i32]| (name, "I32", json!([values.len()]), i32s(values));
            file(
                &metadata,
                &[
                    ("points", "F32", json!([points.len(), 1]), f32s(points)),
                    whole("leaf_point", leaf),
                    whole("leaf_mass", mass),
                    whole("cut_dimension", dimension),
                    ("cut_value", "F32", json!([value.len()]), f32s(value)),
                    whole("left", left),
                    whole("right", right),
                    whole("root", root),
                ],
            )
        };
    let (p, l, m, d, v) = ([0.0, 1.0, 2.0], [0, 1, 2], [1, 1, 1], [0, 0], [0.5, 1.5]);
    let (left, right, root) = ([-1, -2], [1, -3], [0]);
    assert_eq!(prepared(&forest(&p, &l, &m, &d, &v, &left, &right, &root)).unwrap().summary.trees, Some(1));
    refused("a point outside", &forest(&p, &[0, 1, 3], &m, &d, &v, &left, &right, &root), "leaf 2 has point 3");
    refused("a point below", &forest(&p, &[0, -1, 2], &m, &d, &v, &left, &right, &root), "leaf 1 has point -1");
    refused("no mass", &forest(&p, &l, &[1, 0, 1], &d, &v, &left, &right, &root), "leaf 1 has mass 0");
    refused("a feature outside", &forest(&p, &l, &m, &[0, 1], &v, &left, &right, &root), "node 1 cuts feature 1");
    refused("a cut outside", &forest(&p, &l, &m, &d, &[0.5, 2.0], &left, &right, &root), "outside its points");
    refused("a cut that is no number", &forest(&p, &l, &m, &d, &[0.5, f32::NAN], &left, &right, &root), "value 1 of array `cut_value`");
    refused("a circle", &forest(&p, &l, &m, &d, &v, &[-1, 0], &right, &root), "node 1 leads to 0");
    refused("itself", &forest(&p, &l, &m, &d, &v, &[-1, 1], &right, &root), "node 1 leads to 1");
    refused("two parents", &forest(&p, &l, &m, &d, &v, &[-2, -2], &right, &root), "node 1 leads to -2");
    refused("a child outside", &forest(&p, &l, &m, &d, &v, &[-1, -9], &right, &root), "node 1 leads to -9");
    refused("a root outside", &forest(&p, &l, &m, &d, &v, &left, &right, &[7]), "a root leads to 7");
    refused("a root that is a leaf elsewhere", &forest(&p, &l, &m, &d, &v, &left, &right, &[-3]), "node 0 hangs on no node");
    refused("too many trees", &forest(&p, &l, &m, &d, &v, &left, &right, &[0, 1, -1, -2]), "4 trees cannot share 3 leaves");
    refused("too few cuts", &forest(&p, &l, &m, &[0], &v, &left, &right, &root), "array `cut_dimension`");
    // A forest of lone leaves has no cut at all, and answers.
    let whole = |name: &'static str, values: &[i32]| (name, "I32", json!([values.len()]), i32s(values));
    let lone = [
        ("points", "F32", json!([1, 2]), f32s(&[1.0, 2.0])),
        whole("leaf_point", &[0, 0]),
        whole("leaf_mass", &[3, 1]),
        whole("root", &[-1, -2]),
    ];
    let prepared = prepared(&file(&metadata, &lone)).unwrap();
    let output = loaded(&prepared).predict(&[Tensor::new(2, vec![1.0f32, 2.0, 5.0, 5.0]).unwrap().into()]).unwrap();
    // Seen: half of (1 - 1/2) / 1 for either; unseen: 1. Times log2(1 + mass), averaged.
    assert_eq!(output.scores.f32s().unwrap().values(), [(0.5 / 2.0 * 2.0 + 0.5) / 2.0, (2.0 + 1.0) / 2.0]);
}
