//! What operators make of values at the edges: matrices in stacks, missing numbers, blocks, wrapped ends, and outputs that
//! are not what they are declared as. `tests/fidelity/onnx_hand.py` compares the same with onnxruntime.

use super::answers::{ask, serving};
use super::*;

/// The one output for arrays of 32-bit numbers, each so many columns wide.
fn output(graph: &Graph, inputs: &[(usize, &[f32])]) -> Vec<f64> {
    let model = read(&graph.file()).unwrap();
    let blocks: Vec<Block> = inputs.iter().map(|&(columns, list)| Tensor::new(columns, list.to_vec()).unwrap().into()).collect();
    let scores = model.predict(&blocks).unwrap().scores.to(ValueKind::F64).unwrap();
    scores.f64s().unwrap().values().to_vec()
}

/// Small whole numbers, whose sums are exact in any order.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|at| ((at * 7919 + seed * 104_729) % 17) as f32 - 8.0).collect()
}

/// `rows` products of a matrix of `m` and `k` with one of `k` and `n`, each row its own unless there is one left for all.
fn products((rows, m, k, n): (usize, usize, usize, usize), a: &[f32], b: &[f32]) -> Vec<f64> {
    let mut out = Vec::new();
    for row in 0..rows {
        let (a, b) = (&a[if a.len() == m * k { 0 } else { row * m * k }..], &b[row * k * n..]);
        for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
            out.push((0..k).map(|at| f64::from(a[i * k + at] * b[at * n + j])).sum());
        }
    }
    out
}

#[test]
fn each_matrix_of_a_stack_is_multiplied_with_its_own() {
    let side = |side: usize| i64::try_from(side).unwrap();
    for (rows, m, k, n) in [(2, 1, 3, 2), (3, 1, 5, 4), (3, 2, 6, 4), (2, 3, 7, 4), (3, 1, 8, 3), (2, 4, 5, 3), (2, 1, 259, 2)] {
        let graph = Graph {
            nodes: vec![node("MatMul", "", &["A", "B"], &["Y"])],
            weights: vec![],
            inputs: vec![info("A", 1, &[-1, side(m), side(k)]), info("B", 1, &[-1, side(k), side(n)])],
            outputs: vec![info("Y", 1, &[-1, side(m), side(n)])],
        };
        let (a, b) = (numbers(rows * m * k, 1), numbers(rows * k * n, 2));
        assert_eq!(output(&graph, &[(m * k, &a), (k * n, &b)]), products((rows, m, k, n), &a, &b), "{m} {k} {n}");
    }
}

#[test]
fn a_matrix_is_multiplied_with_itself_turned_and_with_a_constant() {
    let x = numbers(3 * 3 * 5, 4);
    let turned: Vec<f32> =
        x.chunks(15).flat_map(|one| (0..5).flat_map(move |column| (0..3).map(move |row| one[row * 5 + column]))).collect();
    let graph = Graph {
        nodes: vec![node("Transpose", "", &["X"], &["t"]).put(5, ints("perm", &[0, 2, 1])), node("MatMul", "", &["X", "t"], &["Y"])],
        weights: vec![],
        inputs: vec![info("X", 1, &[-1, 3, 5])],
        outputs: vec![info("Y", 1, &[-1, 3, 3])],
    };
    assert_eq!(output(&graph, &[(15, &x)]), products((3, 3, 5, 3), &x, &turned));
    let w = numbers(6, 5);
    let graph = Graph {
        nodes: vec![node("MatMul", "", &["W", "X"], &["Y"])],
        weights: vec![tensor("W", &[2, 3], &w)],
        outputs: vec![info("Y", 1, &[-1, 2, 5])],
        ..graph
    };
    assert_eq!(output(&graph, &[(15, &x)]), products((3, 2, 3, 5), &w, &x));
}

#[test]
fn a_missing_number_is_no_category() {
    let encoder = node("OneHotEncoder", "ai.onnx.ml", &["X"], &["hot"]).put(5, ints("cats_int64s", &[0, 1])).put(5, int("zeros", 1));
    let graph = Graph {
        nodes: vec![encoder, node("Flatten", "", &["hot"], &["Y"])],
        weights: vec![],
        inputs: vec![info("X", 1, &[-1, 1])],
        outputs: vec![info("Y", 1, &[-1, 2])],
    };
    let found = output(&graph, &[(1, &[0.0, f32::NAN, 1.0, 1e20, -0.5])]);
    assert_eq!(found, [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0]);
    for (element, smallest, fits) in [(7, i64::MIN, 3_000_000_000), (6, i64::from(i32::MIN), i64::from(i32::MIN)), (5, 0, 0)] {
        let graph = Graph {
            nodes: vec![node("Cast", "", &["X"], &["Y"]).put(5, int("to", element))],
            outputs: vec![info("Y", element, &[-1, 1])],
            ..graph.clone()
        };
        let model = read(&graph.file()).unwrap();
        let rows = Tensor::new(1, vec![f32::NAN, 1e20, -1e20, 3e9, 2.9, -2.9]).unwrap().into();
        let wanted = vec![smallest, smallest, smallest, fits, 2, -2];
        assert_eq!(model.predict(&[rows]).unwrap().scores, Tensor::new(1, wanted).unwrap().into(), "{element}");
    }
}

#[test]
fn blocks_become_channels_in_either_order() {
    let graph = |mode: &str| Graph {
        nodes: vec![node("SpaceToDepth", "", &["X"], &["Y"]).put(5, int("blocksize", 2)).put(5, text("mode", mode))],
        weights: vec![],
        inputs: vec![info("X", 1, &[-1, 2, 2, 4])],
        outputs: vec![info("Y", 1, &[-1, 8, 1, 2])],
    };
    let x: Vec<f32> = (0..16u8).map(f32::from).collect();
    let found = |mode: &str| output(&graph(mode), &[(16, &x)]);
    assert_eq!(found("DCR"), [0, 2, 8, 10, 1, 3, 9, 11, 4, 6, 12, 14, 5, 7, 13, 15].map(f64::from));
    assert_eq!(found("CRD"), [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15].map(f64::from));
    refused(&graph("RDC"), "attribute `mode` is `RDC`; DCR and CRD are known");
}

#[test]
fn what_is_left_of_a_cut_row_comes_again() {
    let pads = |list: [i64; 4]| Graph {
        nodes: vec![node("Pad", "", &["X"], &["Y"]).put(5, text("mode", "wrap")).put(5, ints("pads", &list))],
        weights: vec![],
        inputs: vec![info("X", 1, &[-1, 5])],
        outputs: vec![info("Y", 1, &[-1, -1])],
    };
    for (list, wanted) in [
        ([0, -2, 0, 3], &[2.0, 3.0, 4.0, 2.0, 3.0, 4.0][..]),
        ([0, 3, 0, -2], &[0.0, 1.0, 2.0, 0.0, 1.0, 2.0]),
        ([0, 7, 0, -2], &[2.0, 0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 0.0, 1.0, 2.0]),
        ([0, -1, 0, -1], &[1.0, 2.0, 3.0]),
        ([0, 2, 0, 1], &[3.0, 4.0, 0.0, 1.0, 2.0, 3.0, 4.0, 0.0]),
    ] {
        assert_eq!(output(&pads(list), &[(5, &[0.0, 1.0, 2.0, 3.0, 4.0])]), wanted, "{list:?}");
    }
}

#[test]
fn dropout_is_served_for_inference_alone() {
    let graph = |mode: Option<u8>| {
        let mut graph = dense();
        graph.nodes[2] = node("Dropout", "", &["a", "", if mode.is_some() { "mode" } else { "" }], &["Y"]);
        graph.weights.extend(mode.map(|mode| Wire::default().int(2, 9).bytes(8, "mode").bytes(9, [mode])));
        graph
    };
    for mode in [None, Some(0)] {
        assert_eq!(output(&graph(mode), &[(2, &[1.0, 1.0])]), [4.5, -94.0]);
    }
    refused(&graph(Some(1)), "`Dropout` (node `Dropout-node`): input `training_mode` is set; export the model for inference");
    let mut asked = graph(None);
    asked.nodes[2] = node("Dropout", "", &["a", "", "mode"], &["Y"]);
    asked.inputs.push(info("mode", 9, &[-1, 1]));
    refused(&asked, "input `training_mode` is set");
}

#[test]
fn outputs_are_what_they_are_declared_as() {
    let declared = |element: i64| Graph {
        nodes: vec![
            node("ArgMax", "", &["X"], &["label"]).put(5, int("axis", 1)).put(5, int("keepdims", 0)),
            node("Identity", "", &["X"], &["scores"]),
        ],
        weights: vec![],
        inputs: vec![info("X", 1, &[-1, 3])],
        outputs: vec![info("label", element, &[-1]), info("scores", 1, &[-1, 3])],
    };
    assert!(read(&declared(7).file()).is_ok());
    refused(&declared(8), "output `label` is declared as string, and the graph makes int64");
    refused(&declared(9), "output `label` is declared as bool, and the graph makes int64");
    refused(&declared(1), "output `label` is declared as float, and the graph makes int64");
    let mut scores = declared(7);
    scores.outputs[1] = info("scores", 7, &[-1, 3]);
    refused(&scores, "output `scores` is declared as int64, and the graph makes float");
}

fn wholes(name: &str, dims: &[i64], values: &[i64]) -> Wire {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    dims.iter().fold(Wire::default(), |wire, &dim| wire.int(1, dim)).int(2, 7).bytes(8, name).bytes(9, raw)
}

#[test]
fn a_trial_row_need_not_be_one_that_the_model_answers() {
    // Text that is read as a number, and an index that is far from 0.
    let read_text = Graph {
        nodes: vec![node("Cast", "", &["X"], &["Y"]).put(5, int("to", 1))],
        weights: vec![],
        inputs: vec![info("X", 8, &[-1, 2])],
        outputs: vec![info("Y", 1, &[-1, 2])],
    };
    let shifted = Graph {
        nodes: vec![
            node("Sub", "", &["X", "hundred"], &["at"]),
            node("Gather", "", &["table", "at"], &["three"]),
            node("Squeeze", "", &["three", "second"], &["Y"]),
        ],
        weights: vec![wholes("hundred", &[], &[100]), wholes("second", &[1], &[1]), tensor("table", &[2, 2], &[1.0, 2.0, 3.0, 4.0])],
        inputs: vec![info("X", 7, &[-1, 1])],
        outputs: vec![info("Y", 1, &[-1, 2])],
    };
    let server = serving(&[("text", read_text), ("shifted", shifted.clone())]);
    for (model, row, wanted) in [("text", "1.5,-2", r#"[1.5,-2.0]"#), ("shifted", "101", "[3.0,4.0]"), ("shifted", "99", "[3.0,4.0]")] {
        let reply = ask(&server, model, "text/csv", row).expect(200).text();
        assert_eq!(reply, format!(r#"{{"predictions":[{{"score":{wanted}}}]}}"#));
    }
    for (model, row, why) in [("text", "1.5,x", "`x` is not a number"), ("shifted", "102", "index 2 is outside an axis of 2")] {
        let message = ask(&server, model, "text/csv", row).expect(424).message();
        assert!(message.contains(why), "{message}");
    }
    // An index that is part of the graph is one for every row.
    let mut fixed = shifted;
    fixed.nodes[0] = node("Add", "", &["hundred", "hundred"], &["at"]);
    fixed.nodes[1] = node("Gather", "", &["X", "at"], &["three"]).put(5, int("axis", 1));
    fixed.nodes[2] = node("Identity", "", &["three"], &["Y"]);
    refused(&fixed, "index 200 is outside an axis of 1");
}

#[test]
fn scores_by_label_are_as_many_as_the_labels() {
    let mut graph = mixed();
    graph.nodes[4] = node("ZipMap", "ai.onnx.ml", &["scores"], &["map"]).put(5, texts("classlabels_strings", &["old", "young", "dead"]));
    refused(&graph, "operator `ZipMap` (node `ZipMap-node`): it has 3 class labels, and its input has 2 scores for a row");
}

#[test]
fn a_number_too_large_for_a_graph_is_named_by_its_place() {
    let graph = Graph {
        nodes: vec![node("Concat", "", &["A", "B"], &["Y"]).put(5, int("axis", 1))],
        weights: vec![],
        inputs: vec![info("A", 6, &[-1, 1]), info("B", 6, &[-1, 2])],
        outputs: vec![info("Y", 6, &[-1, 3])],
    };
    let mut long = graph.clone();
    long.inputs = vec![info("A", 7, &[-1, 1]), info("B", 7, &[-1, 2])];
    long.outputs = vec![info("Y", 7, &[-1, 3])];
    let server = serving(&[("narrow", graph), ("long", long)]);
    let message = ask(&server, "narrow", "text/csv", "1,2,3\n1,2,3000000000").expect(400).message();
    assert_eq!(message, "stage 1 (`g/narrow`): row 2, column 3 is 3000000000, which does not fit the model's 32-bit whole numbers");
    let reply = ask(&server, "long", "application/json", "[[1e18,1.50e1,-9007199254740993.0]]").expect(200).text();
    assert_eq!(reply, r#"{"predictions":[{"score":[1000000000000000000,15,-9007199254740993]}]}"#);
    for (row, why) in [("[[1e19,1,1]]", "column 1 (`A`) is too large"), ("[[1.5,1,1]]", "is `1.5`, no whole number")] {
        let message = ask(&server, "long", "application/json", row).expect(400).message();
        assert!(message.contains(why), "{message}");
    }
}

#[test]
fn a_recurrent_layer_is_refused_by_what_it_asks_for() {
    let layer = |inputs: &[&str], attribute: Option<Wire>| {
        let mut graph = recurrent();
        let made = node("LSTM", "", inputs, &["all", "last"]).put(5, int("hidden_size", 2));
        graph.nodes[2] = attribute.into_iter().fold(made, |node, attribute| node.put(5, attribute));
        graph.weights.push(wholes("two", &[1], &[2]));
        graph
    };
    let plain = ["steps", "W", "R", "B"];
    assert!(read(&layer(&plain, None).file()).is_ok());
    refused(&layer(&plain, Some(int("layout", 1))), "attribute `layout` puts the rows first, which is not served");
    refused(&layer(&plain, Some(int("input_forget", 1))), "attribute `input_forget` couples two gates, which is not served");
    refused(&layer(&["steps", "W", "R", "B", "", "", "", "B"], None), "peepholes are not served");
    let shorter = layer(&["steps", "W", "R", "B", "two"], None);
    refused(&shorter, "input `sequence_lens` makes some rows shorter than the 3 steps there are, which is not served");
}
