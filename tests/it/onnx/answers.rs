//! Graphs through the door: text as it is written, rows that leave columns out, labels there are, what is shown of a
//! graph, and how much text an answer may hold.

use std::fmt::Write as _;

use rookery::runtime::pipeline::{Step, run};
use rookery::runtime::select::Selected;
use serde_json::{Value, json};

use super::*;
use crate::payloads::recordio::{Numbers, record};
use crate::support::{Reply, Server, rookery};

/// A server where `g` serves each graph under its name.
pub(super) fn serving(graphs: &[(&str, Graph)]) -> Server {
    let server = Server::start();
    for (name, graph) in graphs {
        server.put_model(&format!("g/{name}"), &graph.file()).expect(201);
    }
    server.put_endpoint("g", &json!([{ "prefix": "g/" }]));
    server
}

pub(super) fn ask(server: &Server, model: &str, media: &str, body: impl AsRef<[u8]>) -> Reply {
    let headers = [("content-type", media), ("x-amzn-sagemaker-target-model", model)];
    server.send("POST", "/endpoints/g/invocations", &server.admin, &headers, body.as_ref())
}

/// Asks for what a stage shows of its answer.
fn shown(server: &Server, name: &str, model: &str, output: &[&str], row: &str) -> Reply {
    server.put_endpoint(name, &json!([{ "model": model, "output": output }]));
    server.invoke(name, None, &server.admin, row)
}

fn whole_tensor(name: &str, values: &[i64]) -> Wire {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Wire::default().int(1, values.len() as i64).int(2, 7).bytes(8, name).bytes(9, raw)
}

/// A number, and a text as one column for each of `categories`.
fn one_hot(categories: &[&str]) -> Graph {
    let encoder =
        node("OneHotEncoder", "ai.onnx.ml", &["work"], &["hot"]).put(5, texts("cats_strings", categories)).put(5, int("zeros", 1));
    Graph {
        nodes: vec![
            encoder,
            node("Reshape", "", &["hot", "shape"], &["flat"]),
            node("Concat", "", &["age", "flat"], &["Y"]).put(5, int("axis", 1)),
        ],
        weights: vec![whole_tensor("shape", &[-1, categories.len() as i64])],
        inputs: vec![info("age", 1, &[-1, 1]), info("work", 8, &[-1, 1])],
        outputs: vec![info("Y", 1, &[-1, 1 + categories.len() as i64])],
    }
}

#[test]
fn text_cells_are_taken_as_pythons_csv_reads_them() {
    let categories = [" Private", "Private", "Private ", "", " ", " \"State\"", "a,b", "say \"x\"", "\tx", "NA"];
    let server = serving(&[("census", one_hot(&categories))]);
    let cells = [
        (" Private", 0),
        ("Private", 1),
        ("Private ", 2),
        ("", 3),
        (" ", 4),
        (" \"State\"", 5),
        ("\"a,b\"", 6),
        ("\"say \"\"x\"\"\"", 7),
        ("\tx", 8),
        ("NA", 9),
        ("\" Private\"", 0),
        ("\"Private\"", 1),
        ("\"Private \"", 2),
        ("\"Private\" ", 2),
        ("\"\"", 3),
        ("\" \"\"State\"\"\"", 5),
    ];
    // Blanks and quotes around a number say nothing, in a table with text as in one without.
    for (number, end) in [("39", "\n"), (" 39 ", "\r\n"), ("\"39\"", ""), (" \" 39\" ", "\r"), ("39", "\r\n40,Private\n")] {
        for (cell, place) in cells {
            let mut wanted = vec![0.0; categories.len() + 1];
            (wanted[0], wanted[place + 1]) = (39.0, 1.0);
            let line = format!("{number},{cell}{end}");
            let reply = ask(&server, "census", "text/csv", &line).expect(200).json();
            assert_eq!(reply["predictions"][0]["score"], json!(wanted), "{line:?}");
            let same = json!([[39, categories[place]]]).to_string();
            assert_eq!(ask(&server, "census", "application/json", &same).expect(200).json()["predictions"][0], reply["predictions"][0]);
        }
    }
    for (line, why) in [
        ("39,\"a\"b", "row 1, column 2 (`work`) goes on after its closing quote"),
        ("39,\"a", "row 1, column 2 (`work`) opens a quote that is never closed"),
        ("39,a\rb", "row 1, column 2 (`work`) holds a carriage return"),
        ("39, \"a,b\"", "row 1 has 3 values; the model takes 2"),
        ("x,a", "row 1, column 1 (`age`) is `x`, no number"),
    ] {
        let message = ask(&server, "census", "text/csv", line).expect(400).message();
        assert!(message.starts_with(why), "{message} for {line:?}");
    }
}

/// Inputs of every type of number, and what they are side by side as 64-bit numbers.
fn numbers() -> Graph {
    let cast = |name: &str| node("Cast", "", &[name], &[&format!("{name}-wide")]).put(5, int("to", 11));
    let names = ["a", "b", "c", "d"];
    let wide: Vec<String> = names.iter().map(|name| format!("{name}-wide")).collect();
    let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
    Graph {
        nodes: names.map(cast).into_iter().chain([node("Concat", "", &wide, &["Y"]).put(5, int("axis", 1))]).collect(),
        weights: vec![],
        inputs: vec![info("a", 1, &[-1, 1]), info("b", 7, &[-1, 2]), info("c", 9, &[-1, 1]), info("d", 11, &[-1, 2])],
        outputs: vec![info("Y", 11, &[-1, 6])],
    }
}

/// One matrix of whole numbers.
fn whole() -> Graph {
    Graph {
        nodes: vec![node("Cast", "", &["X"], &["Y"]).put(5, int("to", 1))],
        weights: vec![],
        inputs: vec![info("X", 7, &[-1, 3])],
        outputs: vec![info("Y", 1, &[-1, 3])],
    }
}

#[test]
fn sparse_rows_fill_inputs_of_every_type_of_number() {
    let server = serving(&[("numbers", numbers()), ("whole", whole()), ("text", one_hot(&["x"]))]);
    let scores = |model: &str, media: &str, body: &[u8]| -> Value {
        let reply = ask(&server, model, media, body).expect(200).json();
        reply["predictions"].as_array().unwrap().iter().map(|one| one["score"].clone()).collect()
    };
    let wanted = json!([[1.5, -2.0, 0.0, 1.0, 0.0, 0.1], [0.0, 0.0, 9.0, 0.0, 4.0, 0.0]]);
    let keyed = |keys: &str, values: &str| format!(r#"{{"data":{{"features":{{"keys":[{keys}],"values":[{values}],"shape":[6]}}}}}}"#);
    let sparse = [keyed("5,0,1,3", "0.1,1.5,-2,1"), keyed("4,2", "4,9")];
    let rows = |keys: [&[u64]; 2], values: [&[f64]; 2]| {
        let one = |(keys, values): (&[u64], &[f64])| record(Numbers::F64(values), keys, &[6]);
        keys.into_iter().zip(values).map(one).collect::<Vec<_>>().concat()
    };
    for (media, body) in [
        ("text/csv", b"1.5,-2,0,true,0,0.1\n0,0,9,0,4,0\n".to_vec()),
        ("text/libsvm", b"0:1.5 1:-2 3:1 5:0.1\n2:9 4:4\n".to_vec()),
        ("text/libsvm; indexing=1", b"1 1:1.5 2:-2 4:1 6:0.1\n0 3:9 5:4\n".to_vec()),
        ("application/json", format!("[{}]", sparse.join(",")).into_bytes()),
        ("application/jsonlines", sparse.join("\n").into_bytes()),
        ("application/x-recordio-protobuf", rows([&[5, 0, 1, 3], &[4, 2]], [&[0.1, 1.5, -2.0, 1.0], &[4.0, 9.0]])),
        ("application/x-recordio-protobuf", rows([&[], &[]], [&[1.5, -2.0, 0.0, 1.0, 0.0, 0.1], &[0.0, 0.0, 9.0, 0.0, 4.0, 0.0]])),
    ] {
        assert_eq!(scores("numbers", media, &body), wanted, "{media}");
    }
    assert_eq!(scores("whole", "text/libsvm", b"1:7 3:-8\n"), json!([[7.0, 0.0, -8.0]]));
    assert_eq!(scores("whole", "application/json", br#"[{"data":{"features":{"keys":[2],"values":[5]}}},[1,2,3]]"#), {
        json!([[0.0, 0.0, 5.0], [1.0, 2.0, 3.0]])
    });
    for (model, body, why) in [
        ("numbers", "1:1\n2:0.5", "row 2, feature 2 (`b_1`) is `0.5`, no whole number"),
        ("numbers", "0:1 3:2", "row 1, feature 3 (`c`) is neither true nor false"),
        ("numbers", "0:1 6:2", "row 1 sets feature 6; the model's are 0 to 5"),
        ("numbers", "0:1 0:1e39", "row 1, feature 0 (`a`) is too large"),
        ("whole", "0:nan", "row 1, feature 0 is `nan`, no whole number"),
        ("text", "0:1", "input `work` takes text, which a sparse row cannot leave out; send every value of a row"),
    ] {
        let message = ask(&server, model, "text/libsvm; indexing=0", body);
        let message = message.expect(400).message();
        assert!(message.starts_with(why), "{message} for {body:?}");
    }
}

/// Three columns, of which the largest is answered by what stands at its place in `list`.
fn looked_up(list: Wire, element: i64, to: Option<i64>) -> Graph {
    let mut nodes = vec![
        node("ArgMax", "", &["X"], &["place"]).put(5, int("axis", 1)).put(5, int("keepdims", 0)),
        node("ArrayFeatureExtractor", "ai.onnx.ml", &["list", "place"], &["found"]),
        node("Reshape", "", &["found", "shape"], &["flat"]),
    ];
    nodes.push(match to {
        Some(to) => node("Cast", "", &["flat"], &["label"]).put(5, int("to", to)),
        None => node("Identity", "", &["flat"], &["label"]),
    });
    nodes.push(node("Identity", "", &["X"], &["scores"]));
    Graph {
        nodes,
        weights: vec![list, whole_tensor("shape", &[-1])],
        inputs: vec![info("X", 1, &[-1, 3])],
        outputs: vec![info("label", element, &[-1]), info("scores", 1, &[-1, 3])],
    }
}

#[test]
fn the_labels_there_are_are_those_the_graph_says() {
    let words = Wire::default().int(1, 3).int(2, 8).bytes(6, "low").bytes(6, "middle").bytes(6, "high").bytes(8, "list");
    let floats = tensor("list", &[3], &[30.0, 10.0, 20.0]);
    let mut unsaid = looked_up(floats.clone(), 7, Some(7));
    unsaid.nodes[1] = node("Identity", "", &["place"], &["found"]);
    let graphs = [
        ("trees", good_trees()),
        ("mixed", mixed()),
        ("words", looked_up(words, 8, None)),
        ("numbers", looked_up(floats, 7, Some(7))),
        ("unsaid", unsaid),
    ];
    let server = serving(&graphs);
    for (name, row, label, labels) in [
        ("trees", "0.6,-0.9", json!(7), json!([3, 7])),
        ("mixed", "1,Rome", json!("old"), json!(["old", "young"])),
        ("words", "1,2,3", json!("high"), json!(["low", "middle", "high"])),
        ("numbers", "1,2,0", json!(10), json!([30, 10, 20])),
    ] {
        let reply = shown(&server, name, &format!("g/{name}"), &["predicted_label", "labels"], &format!("{row}\n{row}\n"));
        let one = json!({ "predicted_label": label, "labels": labels });
        assert_eq!(reply.expect(200).json()["predictions"], json!([one, one]), "{name}");
    }
    // A place is a label whose list the graph does not say: none is made up.
    let message = shown(&server, "unsaid", "g/unsaid", &["labels"], "1,2,3").expect(400).message();
    assert_eq!(message, "stage 1 (`g/unsaid`): the model's answer has no `labels`; choose another output for the stage");
}

#[test]
fn inputs_and_outputs_of_a_graph_are_shown_by_name_and_type() {
    let server = serving(&[("mixed", mixed()), ("whole", whole())]);
    let part = |name: &str, kind: &str, columns: usize| json!({ "name": name, "kind": kind, "columns": columns });
    let answer = |name: &str, answered: &str, kind: &str, columns: usize| json!({ "name": name, "answered": answered, "kind": kind, "columns": columns });
    let inputs = [json!([part("age", "f32", 1), part("city", "text", 1)]), json!([part("X", "i64", 3)])];
    let answers = [json!([answer("label", "predicted_label", "text", 1), answer("map", "score", "f32", 2)]), {
        json!([answer("Y", "score", "f32", 3)])
    }];
    let folder = tempfile::tempdir().unwrap();
    for ((name, graph), (inputs, answers)) in [("mixed", mixed()), ("whole", whole())].into_iter().zip(inputs.iter().zip(&answers)) {
        let told = server.admin("GET", &format!("/api/v1/models/g/{name}"), b"").expect(200).json();
        assert_eq!((&told["inputs"], &told["answers"]), (inputs, answers), "HTTP");
        let (code, out, error) = rookery(&["model", "show", &format!("g/{name}"), "--url", &server.url, "--token", &server.admin], "");
        assert_eq!(code, 0, "{error}");
        let told: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&told["inputs"], &told["answers"]), (inputs, answers), "model show");
        let file = folder.path().join(name);
        std::fs::write(&file, graph.file()).unwrap();
        let (code, out, error) = rookery(&["model", "check", file.to_str().unwrap(), "--json"], "");
        assert_eq!(code, 0, "{error}");
        let told: Value = serde_json::from_str(&out).unwrap();
        assert_eq!((&told["inputs"], &told["answers"]), (inputs, answers), "model check");
        let (_, out, _) = rookery(&["model", "check", file.to_str().unwrap()], "");
        let mut lines = String::new();
        for part in inputs.as_array().unwrap() {
            let word = match part["kind"].as_str().unwrap() {
                "f32" => "32-bit number",
                "i64" => "whole number",
                _ => "text",
            };
            let _ = writeln!(lines, "`{}`: {} of {word}", part["name"].as_str().unwrap(), part["columns"]);
        }
        for line in lines.lines().chain([if name == "mixed" {
            "`label`: 1 of text, as `predicted_label`"
        } else {
            "`Y`: 3 of 32-bit number, as `score`"
        }]) {
            assert!(out.lines().any(|told| told.trim() == line), "{line} is not in\n{out}");
        }
    }
    // What was stored before is still read.
    let mut stored =
        serde_json::to_value(runtime::prepare(Artifact::read(mixed().file().as_slice(), Limits::default()).unwrap()).unwrap().summary)
            .unwrap();
    stored.as_object_mut().unwrap().retain(|key, _| !matches!(key.as_str(), "inputs" | "answers"));
    let read: runtime::Summary = serde_json::from_value(stored).unwrap();
    assert!(read.inputs.is_empty() && read.answers.is_empty() && read.features == 2);
}

#[test]
fn an_answer_holds_so_much_text_and_no_more() {
    // Labels for every row: the short one is answered, the long one stands in the list.
    let long = "y".repeat(1 << 20);
    let list = Wire::default().int(1, 3).int(2, 8).bytes(6, "a").bytes(6, "b").bytes(6, &long).bytes(8, "list");
    let model = read(&looked_up(list, 8, None).file()).unwrap();
    let ask = |model: &dyn Model, rows: usize, selected: &[Selected]| {
        let input = [Tensor::new(3, [3.0f32, 2.0, 1.0].repeat(rows)).unwrap().into()].into();
        run(&[Step::Model { name: "g", model, selected }], input, false)
    };
    let three = ask(&*model, 3, &[Selected::Labels]).unwrap();
    assert_eq!(three.extras[0].block.rows(), 3);
    let error = ask(&*model, 300, &[Selected::Labels]).unwrap_err();
    assert_eq!(error.kind(), rookery::error::Kind::TooLarge);
    assert_eq!(error.message(), "stage 1 (`g`): 300 rows with 3 labels each are too much for one answer; send fewer rows");
    assert!(ask(&*model, 300, &[Selected::PredictedLabel]).is_ok());
    // Names stand beside the values of every row.
    let mut graph = dense();
    graph.nodes.push(node("Identity", "", &["X"], &[&long]));
    graph.outputs.push(info(&long, 1, &[-1, 2]));
    let model = read(&graph.file()).unwrap();
    let ask = |rows: usize| answer(&*model, 2, &[1.0, 2.0].repeat(rows));
    assert!(ask(200).is_ok());
    let error = ask(300).unwrap_err();
    assert_eq!(error.kind(), rookery::error::Kind::TooLarge);
    let wanted = "stage 1 (`graph`): its answer holds 314572800 bytes of text, of which at most 268435456 fit into one; send fewer rows";
    assert_eq!(error.message(), wanted);
}
