//! Pipelines: models in a row, what each stage shows or hands on, postprocessors, and refusals that name the stage.
//!
//! The first stage is a classifier of six columns and three classes whose answers the library itself gave; the second,
//! a linear model over three columns, is written here so that its answer can be worked out by hand. What is told before
//! any call is in `pipelines/ahead.rs`; here models that a caller names are judged by the call.

mod ahead;

use rookery::runtime;
use serde_json::{Value, json};

use crate::onnx::{Graph, info, node, tensor};
use crate::support::{Reply, Server};
use crate::xgboost::fixture_folder;

/// `0.5 + a + 10 b + 100 c`, as xgboost writes a linear model.
fn linear() -> Vec<u8> {
    json!({
        "learner": {
            "attributes": {}, "feature_names": [], "feature_types": [],
            "gradient_booster": { "name": "gblinear", "model": { "weights": [1.0, 10.0, 100.0, 0.0] } },
            "learner_model_param": { "base_score": "5E-1", "num_class": "0", "num_feature": "3", "num_target": "1" },
            "objective": { "name": "reg:squarederror" },
        },
        "version": [2, 1, 4],
    })
    .to_string()
    .into_bytes()
}

struct Pipes {
    place: Server,
    row: String,
    probabilities: Vec<f32>,
}

impl Pipes {
    fn start() -> Self {
        let place = Server::start();
        let file = |name: &str| std::fs::read(fixture_folder().join(name)).unwrap();
        place.put_model("p/classes.json", &file("v3_2_0-multi_softprob.json")).expect(201);
        place.put_model("p/binary.json", &file("v3_2_0-binary_logistic.json")).expect(201);
        place.put_model("p/cities/one", &linear()).expect(201);
        let expected: Value = serde_json::from_slice(&file("v3_2_0-multi_softprob.expected.json")).unwrap();
        let cells: Vec<String> = expected["rows"][0].as_array().unwrap().iter().map(|cell| cell.as_f64().unwrap().to_string()).collect();
        let probabilities = expected["predict"][0].as_array().unwrap().iter().map(|value| value.as_f64().unwrap() as f32).collect();
        Self { place, row: cells.join(","), probabilities }
    }

    fn ask(&self, name: &str, stages: Value, target: Option<&str>) -> Reply {
        self.place.put_endpoint(name, &stages);
        self.place.invoke(name, target, &self.place.admin, &self.row)
    }

    fn first(&self, name: &str, stages: Value) -> Value {
        self.ask(name, stages, None).expect(200).json()["predictions"][0].clone()
    }

    fn refused(&self, stages: Value) -> String {
        let body = json!({ "name": "refused", "stages": stages }).to_string();
        self.place.admin("POST", "/api/v1/endpoints", body.as_bytes()).expect(400).message()
    }
}

fn close(found: &Value, wanted: f32) {
    let found = found.as_f64().unwrap();
    assert!((found - f64::from(wanted)).abs() <= 1e-5 * f64::from(wanted.abs()), "{found} for {wanted}");
}

#[test]
fn the_example_of_the_readme_is_accepted_as_it_is() {
    let place = Server::start();
    place.put_model("churn/preprocess.onnx", include_bytes!("../../src/cli/demo/preprocess.onnx")).expect(201);
    let (_, section) = include_str!("../../README.md").split_once("with all settings of a stage:").unwrap();
    let example = section.split("```").nth(1).unwrap().strip_prefix("json\n").unwrap();
    place.admin("POST", "/api/v1/endpoints", example.as_bytes()).expect(201);
}

#[test]
fn stages_hand_on_numbers_in_memory_and_name_who_failed() {
    let pipes = Pipes::start();
    let [a, b, c] = pipes.probabilities[..] else { panic!("three classes") };
    let stages = json!([{ "model": "p/classes.json" }, { "prefix": "p/cities/" }]);
    let reply = pipes.ask("two", stages, Some("one")).expect(200);
    close(&reply.json()["predictions"][0]["score"], 0.5 + a + 10.0 * b + 100.0 * c);
    assert_eq!(reply.header("x-rookery-model-version").unwrap().split(", ").count(), 2);
    // The second model takes three columns, the first stage now hands on one.
    let stages = json!([{ "model": "p/classes.json", "output": ["probability"] }, { "prefix": "p/cities/" }]);
    let message = pipes.ask("narrow", stages, Some("one")).expect(424).message();
    assert_eq!(message, "stage 2 (`p/cities/one`): the stage before gives 1 value per row, the model takes 3");
    let message = pipes.place.invoke("two", Some("absent"), &pipes.place.admin, &pipes.row).expect(400).message();
    assert!(message.contains("p/cities/absent"), "{message}");
    let message = pipes.place.invoke("two", Some("one"), &pipes.place.admin, "1,2").expect(400).message();
    assert_eq!(message, "row 1 has 2 values; the model takes 6");
}

#[test]
fn what_a_stage_shows_can_be_chosen() {
    let pipes = Pipes::start();
    let [a, b, c] = pipes.probabilities[..] else { panic!("three classes") };
    let best = a.max(b).max(c);
    let label = [a, b, c].iter().position(|&p| p == best).unwrap();
    let shown =
        pipes.first("many", json!([{ "model": "p/classes.json", "output": ["predicted_label", "probability", "labels", "raw_scores"] }]));
    let names: Vec<&String> = shown.as_object().unwrap().keys().collect();
    assert_eq!(names.len(), 4, "{shown}");
    assert_eq!((&shown["predicted_label"], &shown["labels"]), (&json!(label), &json!([0, 1, 2])));
    close(&shown["probability"], best);
    close(&shown["raw_scores"][1], b);
    // A binary classifier's lists are [1 - p, p]; the container's variable says the same as `output`.
    let environment =
        json!({ "SAGEMAKER_INFERENCE_OUTPUT": "predicted_label, probabilities", "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv" });
    let reply = pipes.ask("binary", json!([{ "model": "p/binary.json", "environment": environment }]), None).expect(200);
    assert!(reply.header("content-type").unwrap().starts_with("text/csv"));
    let text = reply.text();
    let (label, list) = text.trim_end().split_once(',').unwrap();
    let list: Vec<f32> = serde_json::from_str(list.trim_matches('"')).unwrap();
    assert_eq!((list.len(), label), (2, if list[1] > 0.5 { "1" } else { "0" }));
    assert!((list[0] + list[1] - 1.0).abs() < 1e-6);
    // What is done to the scores afterwards changes nothing about that.
    let environment = json!({ "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv" });
    let rounded = json!([{ "model": "p/binary.json", "environment": environment }, { "postprocess": { "round": 1 } }]);
    let reply = pipes.ask("rounded", rounded, None).expect(200);
    assert!(reply.header("content-type").unwrap().starts_with("text/csv"), "{}", reply.text());
    // An earlier model's is about what it hands on, as with AWS's containers.
    let first = json!({ "model": "p/classes.json", "environment": { "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "text/csv" } });
    let reply = pipes.ask("earlier", json!([first, { "model": "p/cities/one" }]), None).expect(200);
    assert!(reply.header("content-type").unwrap().starts_with("application/json"), "{}", reply.text());
    // A regression has no label.
    pipes.place.put_endpoint("none", &json!([{ "prefix": "p/cities/", "output": ["predicted_label"] }]));
    let message = pipes.place.invoke("none", Some("one"), &pipes.place.admin, "1,2,3").expect(400).message();
    assert_eq!(message, "stage 1 (`p/cities/one`): the model's answer has no `predicted_label`; choose another output for the stage");
    pipes.place.put_endpoint("score", &json!([{ "model": "p/cities/one", "output": ["predicted_score"] }]));
    let reply = pipes.place.invoke("score", None, &pipes.place.admin, "1,2,3").expect(200);
    assert_eq!(reply.text(), r#"{"predictions":[{"predicted_score":321.5}]}"#);
}

#[test]
fn the_classes_of_a_model_that_answers_one_are_all_labels() {
    let pipes = Pipes::start();
    let file = std::fs::read(fixture_folder().join("v3_2_0-multi_softmax.json")).unwrap();
    pipes.place.put_model("p/one-of-three.json", &file).expect(201);
    let shown = pipes.first("classes", json!([{ "model": "p/one-of-three.json", "output": ["labels", "predicted_label"] }]));
    assert_eq!(shown["labels"], json!([0, 1, 2]));
    assert!((0..3).contains(&shown["predicted_label"].as_i64().unwrap()), "{shown}");
    let shown = pipes.first("two", json!([{ "model": "p/binary.json", "output": ["labels"] }]));
    assert_eq!(shown["labels"], json!([0, 1]));
}

#[test]
fn a_raw_logit_is_a_class_and_no_probability() {
    let pipes = Pipes::start();
    let file = std::fs::read(fixture_folder().join("v3_2_0-binary_logitraw.json")).unwrap();
    pipes.place.put_model("p/raw.json", &file).expect(201);
    let words = ["predicted_label", "labels", "raw_score", "raw_scores", "score"];
    let shown = pipes.first("raw", json!([{ "model": "p/raw.json", "output": words }]));
    let score = shown["score"].as_f64().unwrap() as f32;
    assert_eq!((&shown["labels"], &shown["predicted_label"]), (&json!([0, 1]), &json!(i64::from(score > 0.0))));
    close(&shown["raw_score"], score);
    close(&shown["raw_scores"][1], score);
    for word in ["predicted_score", "probability", "probabilities"] {
        let message = pipes.refused(json!([{ "model": "p/raw.json", "output": [word] }]));
        assert!(message.contains(&format!("answers no `{word}`")), "{message}");
    }
}

#[test]
fn nearest_neighbours_show_their_label() {
    let pipes = Pipes::start();
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("points.csv"), "7,0,0\n7,0,1\n3,9,9\n3,9,8\n").unwrap();
    for kind in ["classifier", "regressor"] {
        let file = path(kind);
        let (code, _, error) = crate::support::rookery(&["train", "knn", &path("points.csv"), "-o", &file, "--type", kind, "--k", "2"], "");
        assert_eq!(code, 0, "{error}");
        pipes.place.put_model(&format!("p/{kind}"), &std::fs::read(&file).unwrap()).expect(201);
        let model = format!("p/{kind}");
        pipes.place.put_endpoint(&format!("{kind}-plain"), &json!([{ "model": model }]));
        let plain = pipes.place.invoke(&format!("{kind}-plain"), None, &pipes.place.admin, "8,8").expect(200);
        assert_eq!(plain.json(), json!({ "predictions": [{ "predicted_label": 3.0 }] }), "{}", plain.text());
        pipes.place.put_endpoint(kind, &json!([{ "model": model, "output": ["predicted_label"] }]));
        let shown = pipes.place.invoke(kind, None, &pipes.place.admin, "8,8").expect(200);
        assert_eq!(shown.body, plain.body);
        // It hands the label on, and has no probabilities or list of labels to show.
        let post = json!({ "postprocess": { "clip": [0, 1] } });
        pipes.place.put_endpoint(&format!("{kind}-on"), &json!([{ "model": model, "output": ["predicted_label"] }, post]));
        let on = pipes.place.invoke(&format!("{kind}-on"), None, &pipes.place.admin, "8,8").expect(200).json();
        assert_eq!(on["predictions"][0]["predicted_label"].as_f64(), Some(1.0), "{on}");
        for word in ["labels", "probability", "raw_score", "raw_scores"] {
            let name = format!("{kind}-{}", word.replace('_', "-"));
            pipes.place.put_endpoint(&name, &json!([{ "prefix": "p/", "output": [word] }]));
            let message = pipes.place.invoke(&name, Some(kind), &pipes.place.admin, "8,8").expect(400).message();
            assert!(message.contains(&format!("the model's answer has no `{word}`")), "{message}");
        }
    }
}

#[test]
fn postprocessors_name_clip_round_and_keep() {
    let pipes = Pipes::start();
    let [a, b, c] = pipes.probabilities[..] else { panic!("three classes") };
    let best = [a, b, c].iter().enumerate().max_by(|x, y| x.1.total_cmp(y.1)).unwrap().0;
    let post = json!({ "labels": ["low", "middle", "high"], "topK": 2, "round": 3 });
    let shown = pipes.first("named", json!([{ "model": "p/classes.json" }, { "postprocess": post }]));
    let name = ["low", "middle", "high"][best];
    assert_eq!((&shown["predicted_label"], &shown["labels"][0], shown["score"].as_array().unwrap().len()), (&json!(name), &json!(name), 2));
    let written = shown["score"][0].to_string();
    assert!(written.len() <= 5, "{written} has more than three decimals");
    let stages = json!([{ "model": "p/cities/one" }, { "postprocess": { "clip": [0.0, 100.0] } }]);
    pipes.place.put_endpoint("clipped", &stages);
    assert_eq!(
        pipes.place.invoke("clipped", None, &pipes.place.admin, "1,2,3\n-5,0,0").text(),
        r#"{"predictions":[{"score":100.0},{"score":0.0}]}"#
    );
    let kept = pipes.place.admin("GET", "/api/v1/endpoints/clipped", b"").json();
    assert_eq!(kept["variants"][0]["stages"], stages, "an endpoint is shown as it was written");
    pipes.place.put_endpoint("wrong", &json!([{ "prefix": "p/" }, { "postprocess": { "labels": ["no", "yes"] } }]));
    let message = pipes.place.invoke("wrong", Some("classes.json"), &pipes.place.admin, &pipes.row).expect(424).message();
    assert!(message.starts_with("stage 2 (postprocess): `postprocess` has 2 labels"), "{message}");
}

#[test]
fn pipelines_without_sense_are_refused_when_they_are_made() {
    let pipes = Pipes::start();
    let model = json!({ "model": "p/cities/one" });
    for (stages, why) in [
        (json!([{ "postprocess": { "round": 1 } }]), "stage 1: a pipeline begins with a model"),
        (json!([model, { "postprocess": {} }]), "stage 2: `postprocess` is empty"),
        (json!([model, { "postprocess": { "round": 1 }, "output": ["score"] }]), "stage 2: `output` and `modelCacheSetting` belong"),
        (json!([{ "model": "p/cities/one", "output": ["score", "probability"] }, model]), "stage 1: only the last stage shows several"),
        (json!([{ "model": "p/cities/one", "output": ["likelihood"] }]), "`likelihood` is no output; choose of score"),
        (json!([{ "model": "p/cities/one", "output": ["score", "Score"] }]), "output `score` stands twice"),
        (json!([{ "model": "p/cities/one", "environment": { "SAGEMAKER_INFERENCE_OUTPUT": "" } }]), "is no output"),
        (json!([{ "model": "p/cities/one", "environment": { "SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT": "image/png" } }]), "image/png"),
        (json!([{ "model": "p/cities/one", "prefix": "p/cities/" }]), "a stage has one of"),
        (json!([{ "prefix": "p/" }, { "prefix": "p/cities/" }]), "more than one multi-model stage"),
        (Value::Array(vec![model.clone(); 16]), "1 to 15 stages"),
    ] {
        let message = pipes.refused(stages);
        assert!(message.contains(why), "{message:?} for {why:?}");
    }
}

#[test]
fn explanations_are_asked_for_by_header_or_query() {
    let pipes = Pipes::start();
    pipes.place.put_endpoint("one", &json!([{ "model": "p/cities/one" }]));
    let send = |path: &str, headers: &[(&str, &str)]| pipes.place.send("POST", path, &pipes.place.admin, headers, b"1,2,3");
    let header = |value| [("x-amzn-sagemaker-enable-explanations", value), ("content-type", "text/csv")];
    let plain = send("/endpoints/one/invocations", &header("`false`")).expect(200);
    assert_eq!(plain.text(), r#"{"predictions":[{"score":321.5}]}"#);
    let message = send("/endpoints/one/invocations", &header("predictions[0] > `1`")).expect(400).message();
    assert!(message.contains("only `true` and `false`"), "{message}");
    for reply in [send("/endpoints/one/invocations", &header("`true`")), send("/endpoints/one/invocations?explain=true", &[])] {
        let answer = reply.expect(200).json();
        assert_eq!(answer["predictions"][0]["contributions"], json!([1.0, 20.0, 300.0, 0.5]));
    }
    let csv = send("/endpoints/one/invocations?explain=true", &[("accept", "text/csv")]).expect(200);
    assert_eq!(csv.text(), "321.5,\"[1.0,20.0,300.0,0.5]\"\n");
}

#[test]
fn a_model_file_is_checked_without_a_server() {
    let folder = fixture_folder();
    let (code, out, _) =
        crate::support::rookery(&["model", "check", folder.join("v3_2_0-multi_softprob.json").to_str().unwrap(), "--json"], "");
    let said: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &said["format"], &said["features"], &said["outputs"]), (0, &json!("xgboost"), &json!(6), &json!(3)));
    assert!(said["memoryBytes"].as_u64().unwrap() > 1000 && said["loadMillis"].is_number(), "{said}");
    let (code, _, error) =
        crate::support::rookery(&["model", "check", folder.join("v3_2_0-multi_softprob.expected.json").to_str().unwrap()], "");
    assert_eq!(code, 1);
    assert!(error.contains("not a known model format"), "{error}");
    assert!(
        runtime::prepare(rookery::artifact::Artifact::read(linear().as_slice(), rookery::artifact::Limits::default()).unwrap()).is_ok()
    );
}

#[test]
fn what_is_missing_goes_on_to_models_that_take_it() {
    let pipes = Pipes::start();
    let scaler = |columns: usize| {
        let graph = Graph {
            nodes: vec![node("Mul", "", &["X", "scale"], &["Y"])],
            weights: vec![tensor("scale", &[i64::try_from(columns).unwrap()], &vec![1.0; columns])],
            inputs: vec![info("X", 1, &[-1, i64::try_from(columns).unwrap()])],
            outputs: vec![info("Y", 1, &[-1, i64::try_from(columns).unwrap()])],
        };
        graph.file()
    };
    pipes.place.put_model("p/scale6", &scaler(6)).expect(201);
    pipes.place.put_model("p/scale2", &scaler(2)).expect(201);
    let row = format!("{0}\n,{1}\n", pipes.row, pipes.row.split_once(',').unwrap().1);
    let ask = |name: &str, stages: Value, rows: &str| {
        pipes.place.put_endpoint(name, &stages);
        pipes.place.invoke(name, None, &pipes.place.admin, rows)
    };
    let alone = ask("alone", json!([{ "model": "p/classes.json" }]), &row).expect(200);
    let (first, second) = (&alone.json()["predictions"][0], &alone.json()["predictions"][1]);
    assert_ne!(first, second, "the missing value says nothing");
    for (name, stages) in [
        ("scaled", json!([{ "model": "p/scale6" }, { "model": "p/classes.json" }])),
        ("twice", json!([{ "model": "p/scale6", "output": ["score"] }, { "model": "p/scale6" }, { "model": "p/classes.json" }])),
    ] {
        assert_eq!(ask(name, stages, &row).expect(200).body, alone.body, "{name}");
    }
    // Nearest neighbours take none; nor is what is missing an answer.
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("points.csv"), "y,a,b\n7,0,0\n3,9,9\n").unwrap();
    let (code, _, error) = crate::support::rookery(&["train", "knn", &path("points.csv"), "-o", &path("knn"), "--k", "1"], "");
    assert_eq!(code, 0, "{error}");
    pipes.place.put_model("p/knn", &std::fs::read(path("knn")).unwrap()).expect(201);
    for (name, last, why) in [
        (
            "neighbours",
            json!({ "model": "p/knn" }),
            "stage 2 (`p/knn`): row 2, column 2 (`b`) is missing in what the stage before gives; this model takes no missing values",
        ),
        (
            "clips",
            json!({ "postprocess": { "clip": [0, 1] } }),
            "stage 1 (`p/scale2`): the model's answer for row 2 is not a finite number",
        ),
        ("last", json!({ "model": "p/scale2" }), "stage 2 (`p/scale2`): the model's answer for row 2 is not a finite number"),
    ] {
        let message = ask(name, json!([{ "model": "p/scale2" }, last]), "1,2\n3,\n").expect(424).message();
        assert_eq!(message, why);
    }
}
