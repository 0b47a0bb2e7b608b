//! Pipelines that no call could be answered by are refused when they are made, and no others.
//!
//! What is told ahead is compared with what a call finds, for every fixture, every output and what may follow it.

use std::path::PathBuf;

use rookery::artifact::{Artifact, Limits};
use rookery::runtime::pipeline::ahead::{self, Told};
use rookery::runtime::pipeline::{Step, run};
use rookery::runtime::postprocess::Postprocess;
use rookery::runtime::select::Selected;
use rookery::runtime::{self, Model, Summary};
use rookery::tensor::{Block, Tensor, ValueKind};
use serde_json::json;

use super::*;
use crate::support::rookery;

const WORDS: [&str; 8] =
    ["score", "predicted_label", "labels", "probability", "probabilities", "raw_score", "raw_scores", "predicted_score"];

fn prepared(bytes: &[u8]) -> (Summary, Box<dyn Model>) {
    let made = runtime::prepare(Artifact::read(bytes, Limits::default()).unwrap()).unwrap();
    let model = runtime::load(&made.summary.format, &mut made.bytes.as_slice(), made.bytes.len() as u64).unwrap();
    (made.summary, model)
}

/// The models of a folder of fixtures.
fn fixtures(folder: &str, endings: &[&str]) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let mut models: Vec<_> = paths
        .filter(|path| endings.iter().any(|ending| name(path).ends_with(ending)) && !name(path).ends_with(".expected.json"))
        .map(|path| (name(&path), std::fs::read(&path).unwrap()))
        .collect();
    models.sort();
    models
}

/// What follows a model.
enum Next {
    Nothing,
    Linear,
    Done(Postprocess),
}

#[test]
fn what_is_told_ahead_is_what_every_call_would_say() {
    let (linear_summary, linear) = prepared(&linear());
    let done = |written: Value| Next::Done(serde_json::from_value(written).unwrap());
    let followers = [
        vec![Next::Nothing],
        vec![Next::Linear],
        vec![done(json!({ "labels": ["a", "b"] }))],
        vec![done(json!({ "labels": ["a", "b", "c"], "topK": 2 })), done(json!({ "labels": ["x", "y"] }))],
        vec![done(json!({ "topK": 9, "round": 2 })), Next::Linear],
        vec![done(json!({ "topK": 2 })), Next::Linear],
    ];
    let mut models = fixtures("xgboost", &[".json", ".ubj"]);
    models.extend(fixtures("lightgbm", &[".txt"]));
    models.extend(fixtures("linear_learner", &[".tar.gz"]));
    let (mut compared, mut refused) = (0, 0);
    for (name, bytes) in models {
        let (summary, model) = prepared(&bytes);
        let cells = vec![0.0f32; summary.features];
        let input: Block = Tensor::new(summary.features, cells).unwrap().into();
        let wide = model.schema().parts[0].kind == ValueKind::F64;
        let input = if wide { input.to(ValueKind::F64).unwrap() } else { input };
        for word in [None].into_iter().chain(WORDS.map(Some)) {
            let selected = word.map_or_else(Vec::new, |word| Selected::parse_list([word].into_iter()).unwrap());
            for follower in &followers {
                let mut told = vec![Told::Model { name: "m", summary: &summary, selected: &selected }];
                let mut steps = vec![Step::Model { name: "m", model: &*model, selected: &selected }];
                for next in follower {
                    match next {
                        Next::Nothing => {}
                        Next::Linear => {
                            told.push(Told::Model { name: "next", summary: &linear_summary, selected: &[] });
                            steps.push(Step::model("next", &*linear));
                        }
                        Next::Done(postprocess) => {
                            told.push(Told::Postprocess(postprocess));
                            steps.push(Step::Postprocess(postprocess));
                        }
                    }
                }
                let ahead = ahead::check(&told);
                let called = run(&steps, [input.clone()].into_iter().collect(), false);
                // How many labels there are to be listed is not told ahead, nor whether a linear learner's are probabilities.
                let open =
                    word == Some("labels") || (summary.format == "linear-learner" && word.is_some_and(|word| word.starts_with("prob")));
                let same = if open { ahead.is_ok() || called.is_err() } else { ahead.is_ok() == called.is_ok() };
                assert!(same, "{name}, {word:?}: {ahead:?} ahead, {called:?} when called");
                compared += 1;
                refused += usize::from(ahead.is_err());
            }
        }
    }
    assert!(compared > 5000 && refused > 1000, "{compared} pipelines were compared, {refused} of them refused");
}

impl Pipes {
    /// The refusal of `stages`, by the API and by the command line alike.
    fn told(&self, stages: &Value) -> String {
        let message = self.refused(stages.clone());
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("endpoint.json");
        std::fs::write(&file, json!({ "stages": stages }).to_string()).unwrap();
        let arguments = ["endpoint", "create", "refused", "--url", &self.place.url, "--token", &self.place.admin, "--file"];
        let (code, _, said) = rookery(&[&arguments[..], &[file.to_str().unwrap()]].concat(), "");
        assert!(code == 1 && said.contains(&message), "{said} for {message}");
        message.strip_prefix("variant `AllTraffic`: ").unwrap().to_owned()
    }
}

#[test]
fn stages_that_cannot_fit_are_refused_with_their_models_and_numbers() {
    let pipes = Pipes::start();
    let classes = |output: &str| json!({ "model": "p/classes.json", "output": [output] });
    let (one, all) = (json!({ "model": "p/cities/one" }), json!({ "model": "p/classes.json" }));
    for (stages, why) in [
        (
            json!([classes("probability"), one]),
            "stage 2 (`p/cities/one`) takes 3 columns, and stage 1 (`p/classes.json`) hands on 1 value per row, its `probability`; choose \
             `score` as the `output` of stage 1",
        ),
        (
            json!([all, all]),
            "stage 2 (`p/classes.json`) takes 6 columns, and stage 1 (`p/classes.json`) hands on 3 values per row; choose models that fit \
             each other",
        ),
        (
            json!([all, { "postprocess": { "topK": 2 } }, one]),
            "stage 3 (`p/cities/one`) takes 3 columns, and stage 1 (`p/classes.json`), through the postprocessor of stage 2, hands on 2 \
             values per row; choose models that fit each other",
        ),
        (
            json!([{ "model": "p/cities/one", "output": ["score", "predicted_label"] }]),
            "stage 1 (`p/cities/one`) answers no `predicted_label`: it is a model of xgboost gblinear reg:squarederror with 1 output; \
             choose its `output` of `score`, `predicted_score`",
        ),
        (
            json!([classes("predicted_score"), { "postprocess": { "round": 1 } }]),
            "stage 1 (`p/classes.json`) answers no `predicted_score`: it is a model of xgboost gbtree multi:softprob with 3 outputs; \
             choose its `output` of `score`, `predicted_label`, `labels`, `probability`, `probabilities`, `raw_score`, `raw_scores`",
        ),
        (
            json!([all, { "postprocess": { "labels": ["no", "yes"] } }]),
            "stage 2 (postprocess) has 2 names in `labels`, and stage 1 (`p/classes.json`) hands on 3 values per row, each of which takes \
             one; name 3, in the order of the values",
        ),
        (
            json!([classes("probability"), { "postprocess": { "labels": ["low", "middle", "high"] } }]),
            "stage 2 (postprocess) has 3 names in `labels`, and stage 1 (`p/classes.json`) hands on 1 value per row, its `probability`, \
             which takes 2; name two, for what is not above the threshold and what is",
        ),
    ] {
        assert_eq!(pipes.told(&stages), why);
    }
    pipes.place.admin("GET", "/api/v1/endpoints/refused", b"").expect(404);
    let variants = json!({ "name": "e", "variants": [{ "name": "good", "stages": [all] }, { "name": "bad", "stages": [all, all] }] });
    let message = pipes.place.admin("POST", "/api/v1/endpoints", variants.to_string().as_bytes()).expect(400).message();
    assert!(message.starts_with("variant `bad`: stage 2 (`p/classes.json`) takes 6 columns"), "{message}");
}

#[test]
fn what_only_a_call_can_tell_is_left_to_it() {
    let pipes = Pipes::start();
    let place = &pipes.place;
    // Fixed models that fit, until one is replaced.
    place.put_endpoint("fits", &json!([{ "model": "p/classes.json" }, { "model": "p/cities/one" }]));
    place.invoke("fits", None, &place.admin, &pipes.row).expect(200);
    place.put_model("p/cities/one", &std::fs::read(fixture_folder().join("v3_2_0-multi_softprob.json")).unwrap()).expect(200);
    let message = place.invoke("fits", None, &place.admin, &pipes.row).expect(424).message();
    assert_eq!(message, "stage 2 (`p/cities/one`): the stage before gives 3 values per row, the model takes 6");
    // A prefix may hold a model that fits, before a fixed one and behind it.
    for stages in [json!([{ "prefix": "p/" }, { "model": "p/classes.json" }]), json!([{ "model": "p/classes.json" }, { "prefix": "p/" }])] {
        pipes.ask(if stages[0]["prefix"].is_null() { "behind" } else { "before" }, stages, Some("classes.json")).expect(424);
    }
    // More than there are are all there are.
    let kept = pipes.first("all", json!([{ "model": "p/classes.json" }, { "postprocess": { "topK": 9 } }]));
    assert_eq!(kept["score"].as_array().unwrap().len(), 3, "{kept}");
}

#[test]
fn who_may_not_read_a_model_is_told_nothing_of_it() {
    let pipes = Pipes::start();
    let allow = |action: &str, resource: &str| json!({ "Effect": "Allow", "Action": action, "Resource": resource });
    let may =
        json!({ "Version": "2012-10-17", "Statement": [allow("sagemaker:*", "*"), allow("s3:GetObject", "arn:aws:s3:::p/cities/*")] });
    let ana = pipes.place.put_user("ana", &may);
    for hidden in ["p/classes.json", "p/binary.json", "p/none"] {
        for stages in [json!([{ "model": hidden }, { "model": "p/cities/one" }]), json!([{ "model": "p/cities/one" }, { "model": hidden }])]
        {
            let body = json!({ "name": "e", "stages": stages }).to_string();
            let message = pipes.place.send("POST", "/api/v1/endpoints", &ana, &[], body.as_bytes()).expect(403).message();
            assert!(!message.contains("column") && !message.contains("value"), "{message}");
        }
    }
}
