//! Where a graph leaves a choice: which outputs are answers, which label stands for a score, what a row is among others.

use super::*;

/// Two trees of which each leaf has a weight for both classes.
fn both_weighted(labels: &[i64]) -> Graph {
    let attributes = [
        ints("classlabels_int64s", labels),
        ints("class_ids", &[0, 1, 0, 1]),
        ints("class_nodeids", &[1, 1, 2, 2]),
        ints("class_treeids", &[0, 0, 0, 0]),
        floats("class_weights", &[0.9, 0.1, 0.2, 0.8]),
        ints("nodes_featureids", &[0, 0, 0]),
        ints("nodes_truenodeids", &[1, 0, 0]),
        ints("nodes_falsenodeids", &[2, 0, 0]),
        ints("nodes_nodeids", &[0, 1, 2]),
        ints("nodes_treeids", &[0, 0, 0]),
        floats("nodes_values", &[0.5, 0.0, 0.0]),
        texts("nodes_modes", &["BRANCH_LEQ", "LEAF", "LEAF"]),
    ];
    let node = node("TreeEnsembleClassifier", "ai.onnx.ml", &["X"], &["label", "scores"]);
    Graph {
        nodes: vec![attributes.into_iter().fold(node, |node, attribute| node.put(5, attribute))],
        weights: vec![],
        inputs: vec![info("X", 1, &[-1, 1])],
        outputs: vec![info("label", 7, &[-1]), info("scores", 1, &[-1, 2])],
    }
}

/// onnxruntime answers 1 and 0 here whatever the labels are; the specification says that a label is answered.
#[test]
fn two_weighted_classes_are_answered_by_their_labels() {
    let model = read(&both_weighted(&[3, -1]).file()).unwrap();
    let output = answer(&*model, 1, &[0.0, 1.0]).unwrap();
    // With weights of its own the second class wins as soon as it scores above nothing.
    assert_eq!(output.labels, Some(Tensor::new(1, vec![-1i64, -1]).unwrap().into()));
    assert_eq!(output.scores, Tensor::new(2, vec![0.9f32, 0.1, 0.2, 0.8]).unwrap().into());
}

#[test]
fn an_output_that_is_the_same_for_all_rows_is_left_out() {
    let labels = Wire::default().int(1, 3).int(2, 7).bytes(8, "labels").bytes(9, [0u8; 24]);
    let mut graph = dense();
    graph.weights.push(labels);
    graph.nodes.push(node("Identity", "", &["labels"], &["same"]));
    graph.outputs.insert(0, info("labels", 7, &[3]));
    graph.outputs.push(info("same", 7, &[3]));
    let model = read(&graph.file()).unwrap();
    let output = answer(&*model, 2, &[1.0, 1.0, 30.0, 20.0]).unwrap();
    assert_eq!(output.scores, Tensor::new(2, vec![4.5f32, 0.0, 90.5, 40.0]).unwrap().into());
    assert!(output.labels.is_none() && output.extras.is_empty());
    // Where nothing else is answered it is no answer to a row either.
    graph.outputs.retain(|output| output.0 == info("same", 7, &[3]).0);
    refused(&graph, "output `same` has shape [3] for one row");
}

#[test]
fn what_is_not_served_is_named_once() {
    let mut graph = dense();
    graph.nodes[2] = node("Resize", "", &["a"], &["Y"]);
    let message = read(&graph.file()).unwrap_err().message().to_owned();
    // A build that could hand it over says so behind that.
    let (refusal, hint) = message.split_once("; ").unwrap_or((&message, ""));
    assert_eq!(refusal, "operator `Resize` (node `Resize-node`): it is not served (domain `ai.onnx`)");
    assert_eq!(hint.starts_with("onnxruntime may have it"), cfg!(feature = "onnxruntime"), "{message}");
}

fn recurrent(attributes: &[Wire], inputs: &[&str]) -> Graph {
    let layer = node("LSTM", "", inputs, &["y"]).put(5, int("hidden_size", 1));
    Graph {
        nodes: vec![
            node("Transpose", "", &["X"], &["x"]).put(5, ints("perm", &[1, 0, 2])),
            attributes.iter().fold(layer, |layer, attribute| layer.put(5, attribute.clone())),
            node("Transpose", "", &["y"], &["Y"]).put(5, ints("perm", &[2, 0, 1, 3])),
        ],
        weights: vec![tensor("w", &[1, 4, 1], &[1.0; 4]), tensor("r", &[1, 4, 1], &[1.0; 4]), tensor("p", &[1, 3], &[1.0; 3])],
        inputs: vec![info("X", 1, &[-1, 2, 1])],
        outputs: vec![info("Y", 1, &[-1, 2, 1, 1])],
    }
}

#[test]
fn recurrent_layers_say_what_they_do_not_do() {
    let refused = |attribute: Wire, words: &str| super::refused(&recurrent(&[attribute], &["x", "w", "r"]), words);
    refused(texts("activations", &["Sigmoid", "Tanh"]), "`activations` names 2 functions for 3");
    refused(texts("activations", &["Sigmoid", "Affine", "Tanh"]), "asks for `Affine`; Sigmoid, Tanh and Relu are served");
    refused(floats("clip", &[]), "`clip` is 0");
    super::refused(&recurrent(&[], &["x", "w", "r", "", "", "", "", "p"]), "peepholes are not served");
}

#[test]
fn a_gates_sum_is_cut_off_at_clip() {
    let run = |attributes: &[Wire]| {
        let model = read(&recurrent(attributes, &["x", "w", "r"]).file()).unwrap();
        let Block::F32(scores) = answer(&*model, 2, &[9.0, 9.0]).unwrap().scores else { panic!("scores are no 32-bit numbers") };
        scores.values().to_vec()
    };
    let half = Wire::default().bytes(1, "clip").int(20, 1).float(2, 0.5);
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    // Every gate's sum is far above the bound, so each step sees the bound itself.
    let (gate, mut memory) = (sigmoid(0.5), 0.0);
    for found in run(&[half]) {
        memory = gate * memory + gate * 0.5f64.tanh();
        let wanted = gate * memory.tanh();
        assert!((f64::from(found) - wanted).abs() < 1e-6, "{found} for {wanted}");
    }
    assert!(run(&[])[0] > 0.7);
}
