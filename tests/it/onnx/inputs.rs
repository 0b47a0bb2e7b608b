//! Rows that name a graph's inputs, each as a list, and dictionaries whose words are columns.

use serde_json::json;

use super::answers::{ask, serving};
use super::*;
use crate::support::Server;

fn joined(inputs: &[(&str, i64)]) -> Graph {
    let names: Vec<&str> = inputs.iter().map(|(name, _)| *name).collect();
    Graph {
        nodes: vec![node("Concat", "", &names, &["Y"]).put(5, int("axis", 1))],
        weights: vec![],
        inputs: inputs.iter().map(|(name, columns)| info(name, 1, &[-1, *columns])).collect(),
        outputs: vec![info("Y", 1, &[-1, inputs.iter().map(|(_, columns)| columns).sum()])],
    }
}

/// Every row, in a list and as a line, gives the numbers from 1 on; what is no row is refused in these words.
fn told(server: &Server, model: &str, columns: usize, rows: &[&str], refused: &[(&str, &str)]) {
    let wanted: Vec<f64> = (1..=columns).map(|at| at as f64).collect();
    for row in rows {
        let reply = ask(server, model, "application/json", format!(r#"{{"instances":[{row},{row}]}}"#)).expect(200).json();
        assert_eq!(reply, json!({ "predictions": [{ "score": wanted }, { "score": wanted }] }), "{model}: {row}");
        let reply = ask(server, model, "application/jsonlines", row).expect(200).json();
        assert_eq!(reply["predictions"][0]["score"], json!(wanted), "{model}: {row}");
    }
    for (row, why) in refused {
        let list: Vec<usize> = (1..=columns).collect();
        let message = ask(server, model, "application/json", format!("[{},{row}]", json!(list))).expect(400).message();
        assert!(message.contains(why), "{model}: {row}\n{message}");
    }
}

#[test]
fn inputs_come_by_name_as_lists() {
    let server = serving(&[
        ("two", joined(&[("A", 3), ("B", 2)])),
        ("one", joined(&[("X", 3)])),
        ("mixed", joined(&[("A", 2), ("b", 1)])),
        ("words", joined(&[("features", 2), ("data", 1)])),
        ("features", joined(&[("features", 3)])),
    ]);
    let rows = [
        r#"{"A":[1,2,3],"B":[4,5]}"#,
        r#"{"B":[4,5],"A":[1,2,3]}"#,
        r#"{"A_0":1,"A_1":2,"A_2":3,"B_0":4,"B_1":5}"#,
        r#"{"A_2":3,"A_0":1,"A_1":2,"B":[4,5]}"#,
        r#"{"features":[1,2,3,4,5]}"#,
        r#"{"features":[1,2,3,4,5],"id":7}"#,
        r#"{"data":{"features":{"values":[1,2,3,4,5]}}}"#,
        "[1,2,3,4,5]",
    ];
    let refused = [
        (r#"{"A":[1,2],"B":[4,5]}"#, "row 2, input `A` has 2 values; it takes 3"),
        (r#"{"A":[1,2,3],"B":[4,5,6]}"#, "row 2, input `B` has 3 values; it takes 2"),
        (r#"{"A":[1,2,3]}"#, "row 2, input `B` is not in the row; send it as a list of 2 values"),
        (r#"{"A":1,"B":[4,5]}"#, "row 2, input `A` is no list; it takes 3 values"),
        (r#"{"A":[1,"x",3],"B":[4,5]}"#, "row 2, column 2 (`A_1`) is text, no number"),
        (r#"{"A":[1,2,3],"A_0":1,"B":[4,5]}"#, "row 2, input `A` stands there twice, as a list and by its columns"),
        (r#"{"A":[1,2,3],"A":[1,2,3],"B":[4,5]}"#, "`A` stands twice"),
        (r#"{"A":[1,2,3],"C":[4,5]}"#, "`C` is no column or input of the model"),
        (r#"{"A_0":1,"A_2":3,"B":[4,5]}"#, "row 2, column 2 (`A_1`) is not in the row; send every column by its name"),
        (r#"{"A":[[1,2,3]],"B":[4,5]}"#, "row 2, column 1 (`A_0`) is a list or an object"),
    ];
    told(&server, "two", 5, &rows, &refused);
    let rows = [r#"{"X":[1,2,3]}"#, r#"{"X_0":1,"X_1":2,"X_2":3}"#, r#"{"X_2":3,"X_1":2,"X_0":1}"#, r#"{"features":[1,2,3],"id":7}"#];
    let refused = [
        (r#"{"X":[1,2,3,4]}"#, "row 2, input `X` has 4 values; it takes 3"),
        (r#"{"X_0":1,"X_1":2}"#, "row 2, column 3 is not in the row"),
        (r#"{"X_0":1,"X_1":2,"X_02":3}"#, "`X_02` is no column or input of the model"),
        (r#"{"X_0":1,"X_1":2,"X_3":3}"#, "`X_3` is no column or input of the model"),
        ("{}", "row 2, input `X` is not in the row; send it as a list of 3 values"),
    ];
    told(&server, "one", 3, &rows, &refused);
    let rows = [r#"{"A":[1,2],"b":3}"#, r#"{"b":[3],"A":[1,2]}"#, r#"{"A_0":1,"A_1":2,"b":3}"#, r#"{"A_0":1,"A_1":2,"b":[3]}"#];
    let refused = [
        (r#"{"A":[1,2],"b":[3,4]}"#, "row 2, input `b` has 2 values; it takes 1"),
        (r#"{"A":[1,2]}"#, "row 2, column 3 (`b`) is not in the row"),
    ];
    told(&server, "mixed", 3, &rows, &refused);
    // Called as the format's own words: alone, what holds what the word stands for is all columns.
    let rows = [r#"{"features":[1,2],"data":3}"#, r#"{"data":[3],"features":[1,2]}"#, r#"{"features":[1,2,3]}"#];
    let refused =
        [(r#"{"features":[1,2]}"#, "row 2 has 2 values; the model takes 3"), (r#"{"data":3}"#, "input `features` is not in the row")];
    told(&server, "words", 3, &rows, &refused);
    told(&server, "words", 3, &[r#"{"data":{"features":{"values":[1,2,3]}}}"#], &[]);
    told(&server, "features", 3, &[r#"{"features":[1,2,3]}"#, r#"{"features_1":2,"features_0":1,"features_2":3}"#], &[]);
}

/// The input's type: keys and values by ONNX's numbers.
fn map(key: i64, value: i64) -> Wire {
    let value = Wire::default().put(1, Wire::default().int(1, value));
    Wire::default().bytes(1, "X").put(2, Wire::default().put(5, Wire::default().int(1, key).put(2, value)))
}

fn dictionary(input: Wire, vocabulary: Wire, element: i64) -> Graph {
    Graph {
        nodes: vec![node("DictVectorizer", "ai.onnx.ml", &["X"], &["Y"]).put(5, vocabulary)],
        weights: vec![],
        inputs: vec![input],
        outputs: vec![info("Y", element, &[-1, 3])],
    }
}

#[test]
fn words_of_a_dictionary_are_columns_and_left_out_ones_nought() {
    let words = texts("string_vocabulary", &["rooms", "city=Oslo", "age"]);
    let server = serving(&[
        ("words", dictionary(map(8, 1), words.clone(), 1)),
        ("whole", dictionary(map(8, 7), words.clone(), 7)),
        ("same", dictionary(map(8, 1), texts("string_vocabulary", &["a", "X", "features"]), 1)),
        ("numbers", dictionary(map(7, 11), ints("int64_vocabulary", &[7, -2, 30]), 11)),
    ]);
    let scores = |model: &str, media: &str, body: &str| {
        let reply = ask(&server, model, media, body).expect(200).json();
        reply["predictions"].as_array().unwrap().iter().map(|one| one["score"].clone()).collect::<Vec<_>>()
    };
    let body = r#"[{"age":3,"rooms":1},{"city=Oslo":2},{},{"rooms":1,"city=Oslo":2,"age":3},{"pool":9,"age":null},[1,null,3]]"#;
    for model in ["words", "whole"] {
        let wanted = [[1, 0, 3], [0, 2, 0], [0, 0, 0], [1, 2, 3], [0, 0, 0], [1, 0, 3]].map(|row| json!(row.map(f64::from)));
        let found = scores(model, "application/json", body);
        let found: Vec<_> = found.iter().map(|row| json!(row.as_array().unwrap().iter().map(|x| x.as_f64()).collect::<Vec<_>>())).collect();
        assert_eq!(found, wanted, "{model}");
        let empty = scores(model, "text/csv", "1,,3\n");
        assert_eq!(empty[0].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect::<Vec<_>>(), [1.0, 0.0, 3.0], "{model}");
    }
    assert_eq!(scores("numbers", "application/jsonlines", r#"{"30":0.1,"7":2}"#), [json!([2.0, 0.0, 0.1])]);
    let found = scores("same", "application/json", r#"[{"X":2},{"features":3,"X":2},{"features":[1,2,3]}]"#);
    assert_eq!(found, [[0.0, 2.0, 0.0], [0.0, 2.0, 3.0], [1.0, 2.0, 3.0]].map(|row| json!(row)));
    let told = server.admin("GET", "/api/v1/models/g/words", b"").expect(200).json();
    assert_eq!((&told["featureNames"], &told["features"]), (&json!(["rooms", "city=Oslo", "age"]), &json!(3)));
    assert_eq!(told["inputs"], json!([{ "name": "X", "kind": "f32", "columns": 3 }]));
    // A word's text would have to be part of the word.
    let message = ask(&server, "words", "application/json", r#"[{"rooms":1,"city":"Oslo"}]"#).expect(400).message();
    assert!(message.contains("`city` is no column or input of the model"), "{message}");
}

#[test]
fn dictionaries_that_are_no_columns_are_refused_by_name() {
    let words = |list: &[&str]| texts("string_vocabulary", list);
    refused(&dictionary(map(8, 1), words(&["a", "b", "a"]), 1), "`a` stands twice in its vocabulary");
    refused(&dictionary(map(8, 1), words(&[]), 1), "its vocabulary holds 0 words");
    refused(&dictionary(map(7, 1), words(&["a"]), 1), "its vocabulary is not of the type of the keys");
    refused(&dictionary(map(8, 8), words(&["a", "b", "c"]), 8), "map");
    // Read by something else too, or beside another input, it is more than a row's columns.
    let mut both = dictionary(map(8, 1), words(&["a", "b", "c"]), 1);
    both.nodes.push(node("Identity", "", &["X"], &["Z"]));
    both.outputs.push(info("Z", 1, &[-1, 3]));
    refused(&both, "map");
    let mut beside = dictionary(map(8, 1), words(&["a", "b", "c"]), 1);
    beside.inputs.push(info("W", 1, &[-1, 3]));
    refused(&beside, "map");
}
