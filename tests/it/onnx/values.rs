//! What operators make of values at the edges: matrices in stacks, missing numbers, blocks, wrapped ends, and outputs that
//! are not what they are declared as. `tests/fidelity/onnx_hand.py` compares the same with onnxruntime.

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
