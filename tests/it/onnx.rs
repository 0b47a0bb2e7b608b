//! ONNX graphs written byte by byte: what is served answers by hand-made sums, and what is hostile is refused by name.
//!
//! `tests/fidelity/onnx.py` compares real converters' models with onnxruntime; here the files are small enough to cut and
//! flip at every byte.

use rookery::artifact::{Artifact, Limits};
use rookery::error::{Error, Result};
use rookery::runtime::{self, Model, Output};
use rookery::tensor::{Block, Tensor, ValueKind};

/// Protocol buffers as they lie on the wire.
#[derive(Clone, Default)]
pub(crate) struct Wire(pub(crate) Vec<u8>);

impl Wire {
    fn varint(mut self, mut value: u64) -> Self {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
        self
    }

    pub(crate) fn int(self, field: u64, value: i64) -> Self {
        self.varint(field << 3).varint(value as u64)
    }

    pub(crate) fn bytes(self, field: u64, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        let mut wire = self.varint(field << 3 | 2).varint(value.len() as u64);
        wire.0.extend_from_slice(value);
        wire
    }

    fn float(self, field: u64, value: f32) -> Self {
        let mut wire = self.varint(field << 3 | 5);
        wire.0.extend_from_slice(&value.to_le_bytes());
        wire
    }

    pub(crate) fn put(self, field: u64, inner: Wire) -> Self {
        self.bytes(field, inner.0)
    }
}

pub(crate) fn tensor(name: &str, dims: &[i64], values: &[f32]) -> Wire {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let wire = dims.iter().fold(Wire::default(), |wire, &dim| wire.int(1, dim));
    wire.int(2, 1).bytes(8, name).bytes(9, raw)
}

pub(crate) fn node(op: &str, domain: &str, inputs: &[&str], outputs: &[&str]) -> Wire {
    let wire = inputs.iter().fold(Wire::default(), |wire, name| wire.bytes(1, name));
    let wire = outputs.iter().fold(wire, |wire, name| wire.bytes(2, name));
    wire.bytes(3, format!("{op}-node")).bytes(4, op).bytes(7, domain)
}

fn ints(name: &str, values: &[i64]) -> Wire {
    values.iter().fold(Wire::default().bytes(1, name).int(20, 7), |wire, &value| wire.int(8, value))
}

fn floats(name: &str, values: &[f32]) -> Wire {
    values.iter().fold(Wire::default().bytes(1, name).int(20, 6), |wire, &value| wire.float(7, value))
}

fn texts(name: &str, values: &[&str]) -> Wire {
    values.iter().fold(Wire::default().bytes(1, name).int(20, 8), |wire, value| wire.bytes(9, value))
}

fn text(name: &str, value: &str) -> Wire {
    Wire::default().bytes(1, name).int(20, 3).bytes(4, value)
}

fn int(name: &str, value: i64) -> Wire {
    Wire::default().bytes(1, name).int(20, 2).int(3, value)
}

/// An input or output: ONNX's number of its type, and its dimensions, -1 a free one.
pub(crate) fn info(name: &str, element: i64, dims: &[i64]) -> Wire {
    let shape = dims
        .iter()
        .fold(Wire::default(), |wire, &dim| wire.put(1, if dim < 0 { Wire::default().bytes(2, "N") } else { Wire::default().int(1, dim) }));
    Wire::default().bytes(1, name).put(2, Wire::default().put(1, Wire::default().int(1, element).put(2, shape)))
}

#[derive(Clone, Default)]
pub(crate) struct Graph {
    pub(crate) nodes: Vec<Wire>,
    pub(crate) weights: Vec<Wire>,
    pub(crate) inputs: Vec<Wire>,
    pub(crate) outputs: Vec<Wire>,
}

impl Graph {
    pub(crate) fn wire(&self) -> Wire {
        let wire = self.nodes.iter().fold(Wire::default(), |wire, node| wire.put(1, node.clone())).bytes(2, "graph");
        let wire = self.weights.iter().fold(wire, |wire, weight| wire.put(5, weight.clone()));
        let wire = self.inputs.iter().fold(wire, |wire, input| wire.put(11, input.clone()));
        self.outputs.iter().fold(wire, |wire, output| wire.put(12, output.clone()))
    }

    pub(crate) fn file(&self) -> Vec<u8> {
        let set = |domain: &str, version: i64| Wire::default().bytes(1, domain).int(2, version);
        let wire = Wire::default().int(1, 8).bytes(2, "by hand").put(7, self.wire());
        wire.put(8, set("", 15)).put(8, set("ai.onnx.ml", 2)).0
    }
}

fn read(bytes: &[u8]) -> Result<Box<dyn Model>> {
    let prepared = runtime::prepare(&Artifact::read(bytes, Limits::default())?)?;
    let model = runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), prepared.bytes.len() as u64)?;
    assert_eq!(model.weight(), prepared.summary.weight, "the weight announced is not the weight");
    Ok(model)
}

fn refused(graph: &Graph, words: &str) {
    let error: Error = read(&graph.file()).unwrap_err();
    assert!(error.message().contains(words), "`{}` does not say `{words}`", error.message());
}

fn answer(model: &dyn Model, columns: usize, rows: &[f32]) -> Result<Output> {
    runtime::pipeline::run(
        &[runtime::pipeline::Step::model("graph", model)],
        [Tensor::new(columns, rows.to_vec()).unwrap().into()].into(),
        false,
    )
}

/// `Y = X · W + b` over two columns, then a rectifier.
pub(crate) fn dense() -> Graph {
    Graph {
        nodes: vec![node("MatMul", "", &["X", "W"], &["m"]), node("Add", "", &["m", "b"], &["a"]), node("Relu", "", &["a"], &["Y"])],
        weights: vec![tensor("W", &[2, 2], &[1.0, 2.0, 3.0, 4.0]), tensor("b", &[2], &[0.5, -100.0])],
        inputs: vec![info("X", 1, &[-1, 2])],
        outputs: vec![info("Y", 1, &[-1, 2])],
    }
}

/// Two trees over two columns and two classes.
pub(crate) fn trees(features: &[i64], yes: &[i64], no: &[i64]) -> Graph {
    let modes = ["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"];
    let attributes = [
        ints("classlabels_int64s", &[3, 7]),
        ints("class_ids", &[0, 0, 0, 0]),
        ints("class_nodeids", &[1, 2, 1, 2]),
        ints("class_treeids", &[0, 0, 1, 1]),
        floats("class_weights", &[0.1, 0.4, 0.2, 0.5]),
        ints("nodes_featureids", features),
        ints("nodes_truenodeids", yes),
        ints("nodes_falsenodeids", no),
        ints("nodes_nodeids", &[0, 1, 2, 0, 1, 2]),
        ints("nodes_treeids", &[0, 0, 0, 1, 1, 1]),
        floats("nodes_values", &[0.5, 0.0, 0.0, -1.0, 0.0, 0.0]),
        texts("nodes_modes", &modes),
    ];
    let node = node("TreeEnsembleClassifier", "ai.onnx.ml", &["X"], &["label", "scores"]);
    Graph {
        nodes: vec![attributes.into_iter().fold(node, |node, attribute| node.put(5, attribute))],
        weights: vec![],
        inputs: vec![info("X", 1, &[-1, 2])],
        outputs: vec![info("label", 7, &[-1]), info("scores", 1, &[-1, 2])],
    }
}

fn good_trees() -> Graph {
    trees(&[0, 0, 0, 1, 0, 0], &[1, 0, 0, 1, 0, 0], &[2, 0, 0, 2, 0, 0])
}

/// Text, hashed to one-hot columns, beside a number, into a linear classifier with words for labels.
fn mixed() -> Graph {
    let encoder =
        node("OneHotEncoder", "ai.onnx.ml", &["city"], &["hot"]).put(5, texts("cats_strings", &["Rome", "Oslo"])).put(5, int("zeros", 1));
    let reshape = node("Reshape", "", &["hot", "shape"], &["flat"]);
    let concat = node("Concat", "", &["age", "flat"], &["all"]).put(5, int("axis", 1));
    let linear = node("LinearClassifier", "ai.onnx.ml", &["all"], &["label", "scores"])
        .put(5, floats("coefficients", &[1.0, 0.5, -0.5, -1.0, -0.5, 0.5]))
        .put(5, floats("intercepts", &[0.0, 0.25]))
        .put(5, texts("classlabels_strings", &["old", "young"]))
        .put(5, text("post_transform", "SOFTMAX"));
    let shape: Vec<u8> = [-1i64, 2].iter().flat_map(|side| side.to_le_bytes()).collect();
    Graph {
        nodes: vec![encoder, reshape, concat, linear, node("ZipMap", "ai.onnx.ml", &["scores"], &["map"])],
        weights: vec![Wire::default().int(1, 2).int(2, 7).bytes(8, "shape").bytes(9, shape)],
        inputs: vec![info("age", 1, &[-1, 1]), info("city", 8, &[-1, 1])],
        outputs: vec![info("label", 8, &[-1]), Wire::default().bytes(1, "map")],
    }
}

#[test]
fn a_dense_layer_is_a_transformer() {
    let model = read(&dense().file()).unwrap();
    let output = answer(&*model, 2, &[1.0, 1.0, 30.0, 20.0]).unwrap();
    assert_eq!(output.scores, Tensor::new(2, vec![4.5f32, 0.0, 90.5, 40.0]).unwrap().into());
    assert!(output.list && output.labels.is_none() && output.extras.is_empty());
}

#[test]
fn two_classes_share_one_score() {
    let model = read(&good_trees().file()).unwrap();
    let output = answer(&*model, 2, &[0.5, -1.0, 0.6, -0.9, f32::NAN, 0.0]).unwrap();
    // At the threshold is left, a missing value right; above a half is the second class.
    assert_eq!(output.labels, Some(Tensor::new(1, vec![3i64, 7, 7]).unwrap().into()));
    let Block::F32(scores) = output.scores else { panic!("scores are no 32-bit numbers") };
    for (found, wanted) in scores.values().iter().zip([0.7, 0.3, 0.1, 0.9, 0.1, 0.9]) {
        assert!((found - wanted).abs() < 1e-6, "{found} for {wanted}");
    }
}

#[test]
fn text_and_numbers_come_by_name_and_labels_are_words() {
    let model = read(&mixed().file()).unwrap();
    let schema = model.schema();
    assert_eq!(
        schema.parts.iter().map(|part| (&*part.name, part.kind)).collect::<Vec<_>>(),
        [("age", ValueKind::F32), ("city", ValueKind::Text)]
    );
    assert_eq!(schema.names.iter().map(|name| &**name).collect::<Vec<_>>(), ["age", "city"]);
    let cities: Vec<Box<str>> = vec!["Rome".into(), "Oslo".into(), "nowhere".into()];
    let input = [Tensor::new(1, vec![1.0f32, -1.0, 0.0]).unwrap().into(), Tensor::new(1, cities).unwrap().into()];
    let output = model.predict(&input).unwrap();
    let words: Vec<Box<str>> = vec!["old".into(), "young".into(), "young".into()];
    assert_eq!(output.labels, Some(Tensor::new(1, words).unwrap().into()));
    assert!(output.list && output.scores.columns() == 2);
}

#[test]
fn graphs_that_cannot_be_served_are_refused_by_name() {
    let mut graph = dense();
    graph.nodes[2] = node("Bernoulli", "", &["a"], &["Y"]);
    refused(&graph, "`Bernoulli`");
    refused(&graph, "Bernoulli-node");
    graph.nodes[2] = node("Relu", "somewhere", &["a"], &["Y"]);
    refused(&graph, "`somewhere`");
    graph.nodes[2] = node("Relu", "", &["nothing"], &["Y"]);
    refused(&graph, "`nothing`");

    let mut graph = dense();
    graph.nodes[0] = node("MatMul", "", &["Y", "W"], &["m"]);
    refused(&graph, "cycle");
    graph.nodes[0] = node("MatMul", "", &["m", "W"], &["m"]);
    refused(&graph, "cycle");
    graph.nodes[0] = node("MatMul", "", &["X", "W"], &["a"]);
    refused(&graph, "two things make");

    let mut graph = dense();
    graph.nodes[1] = node("Add", "", &["m", "X2"], &["a"]);
    graph.inputs.push(info("X2", 8, &[-1, 2]));
    refused(&graph, "string");
    let mut graph = dense();
    graph.outputs = vec![info("W", 1, &[2, 2])];
    refused(&graph, "first dimension");
    let map = node("DictVectorizer", "ai.onnx.ml", &["X"], &["Y"]);
    refused(&Graph { nodes: vec![map], ..dense() }, "map");
}

#[test]
fn inputs_that_are_no_rows_are_refused_by_name() {
    for (input, words) in [
        (info("X", 1, &[-1, -1]), "free dimension"),
        (info("X", 1, &[4, 2]), "4 rows at once"),
        (info("X", 1, &[]), "single value"),
        (info("X", 1, &[-1, 1 << 40]), "too large"),
        (info("X", 1, &[-1, 1 << 20, 1 << 20]), "too large"),
        (info("X", 14, &[-1, 2]), "type 14"),
        (Wire::default().bytes(1, "X").put(2, Wire::default().put(4, Wire::default())), "sequence"),
    ] {
        refused(&Graph { inputs: vec![input], ..dense() }, words);
    }
}

#[test]
fn hostile_tensors_are_refused_by_name() {
    let outside = tensor("W", &[2, 2], &[]).put(13, Wire::default().bytes(1, "location").bytes(2, "/etc/passwd"));
    let located = tensor("W", &[2, 2], &[1.0; 4]).int(14, 1);
    for (weight, words) in [
        (outside, "outside the file"),
        (located, "outside the file"),
        (tensor("W", &[-2, 2], &[1.0; 4]), "dimension of -2"),
        (tensor("W", &[1 << 40, 1 << 40], &[1.0; 4]), "too large"),
        (tensor("W", &[0, i64::MAX, i64::MAX], &[]), "too large"),
        (tensor("W", &[1; 30], &[1.0]), "30 dimensions"),
        (tensor("W", &[2, 2], &[1.0; 3]), "3 values"),
        (Wire::default().int(2, 14).bytes(8, "W"), "type 14"),
        (Wire::default().int(1, 1).int(2, 8).bytes(6, [0xff]).bytes(8, "W"), "UTF-8"),
    ] {
        let graph = Graph { weights: vec![weight, tensor("b", &[2], &[0.0; 2])], ..dense() };
        refused(&graph, words);
        refused(&graph, "`W`");
    }
}

#[test]
fn hostile_trees_are_refused() {
    let (features, yes, no) = ([0, 0, 0, 1, 0, 0], [1, 0, 0, 1, 0, 0], [2, 0, 0, 2, 0, 0]);
    assert!(read(&trees(&features, &yes, &no).file()).is_ok());
    refused(&trees(&features, &[0, 0, 0, 1, 0, 0], &no), "cycle");
    refused(&trees(&features, &[2, 0, 0, 1, 0, 0], &no), "cycle");
    refused(&trees(&features, &[9, 0, 0, 1, 0, 0], &no), "child 9");
    refused(&trees(&features, &[-1, 0, 0, 1, 0, 0], &no), "child -1");
    refused(&trees(&[-1, 0, 0, 1, 0, 0], &yes, &no), "feature -1");
    refused(&trees(&[1 << 40, 0, 0, 1, 0, 0], &yes, &no), "feature");
    refused(&trees(&features[..5], &yes, &no), "equally long");
    // A column that no row has shows when the graph is tried.
    refused(&trees(&[5, 0, 0, 1, 0, 0], &yes, &no), "column");
}

#[test]
fn bombs_are_refused_before_they_take_memory() {
    // Two bytes each, hundreds in memory.
    let mut graph = Wire::default();
    for _ in 0..3_000_000 {
        graph.0.extend_from_slice(&[0x0a, 0x00]);
    }
    let file = Wire::default().int(1, 8).put(8, Wire::default().int(2, 15)).put(7, graph).0;
    assert!(read(&file).unwrap_err().message().contains("small messages"));
    let mut names = Wire::default().bytes(1, "cats_strings");
    for _ in 0..30_000_000 {
        names.0.extend_from_slice(&[0x4a, 0x00]);
    }
    let bomb = node("OneHotEncoder", "ai.onnx.ml", &["X"], &["Y"]).put(5, names);
    assert!(read(&Graph { nodes: vec![bomb], ..dense() }.file()).is_err());
    // A graph in a graph in a graph.
    let mut inner = dense().wire();
    for _ in 0..200 {
        let body = Wire::default().bytes(1, "body").put(6, inner);
        inner = Wire::default().put(1, node("Loop", "", &["", ""], &["Y"]).put(5, body));
    }
    let file = Wire::default().int(1, 8).put(8, Wire::default().int(2, 15)).put(7, inner).0;
    assert!(read(&file).unwrap_err().message().contains("deeper"));
    // An array far larger than its file: known while planning, and asked for by each request.
    let shape: Vec<u8> = [1i64 << 30, 2].iter().flat_map(|side| side.to_le_bytes()).collect();
    let mut graph = dense();
    graph.weights.push(Wire::default().int(1, 2).int(2, 7).bytes(8, "huge").bytes(9, shape));
    graph.nodes =
        vec![node("Expand", "", &["b", "huge"], &["e"]), node("ReduceMax", "", &["e"], &["m"]), node("Add", "", &["X", "m"], &["Y"])];
    refused(&graph, "too many values");
    // A loop without end.
    let yes = Wire::default().int(2, 9).bytes(8, "go").bytes(9, [1]);
    let body = Graph {
        nodes: vec![node("Identity", "", &["c"], &["d"])],
        weights: vec![],
        inputs: vec![info("i", 7, &[]), info("c", 9, &[]), info("x", 1, &[])],
        outputs: vec![info("d", 9, &[]), info("x", 1, &[])],
    };
    let endless = node("Loop", "", &["", "go", "X"], &["Y"]).put(5, Wire::default().bytes(1, "body").put(6, body.wire()));
    let graph = Graph { nodes: vec![endless], weights: vec![yes], ..dense() };
    refused(&graph, "too many");
}

#[test]
fn every_cut_of_a_graph_is_refused_or_served() {
    for graph in [dense(), good_trees(), mixed()] {
        let file = graph.file();
        assert!(read(&file).is_ok());
        let mut taken = Vec::new();
        for end in 0..file.len() {
            if read(&file[..end]).is_ok() {
                taken.push(end);
            }
        }
        // Operator sets come last: a cut right behind the first leaves a whole, smaller file.
        assert!(taken.len() <= 1, "cuts at {taken:?} of {} were taken", file.len());
    }
}

#[test]
fn every_flipped_byte_is_refused_or_answers_finite_numbers() {
    let mut answered = 0;
    for graph in [dense(), good_trees(), mixed()] {
        let file = graph.file();
        for at in 0..file.len() {
            for flip in [0x01, 0x04, 0x10, 0x80, 0xff] {
                let mut hostile = file.clone();
                hostile[at] ^= flip;
                let Ok(model) = read(&hostile) else { continue };
                if model.schema().features > 1_000 {
                    continue;
                }
                for value in [f32::NAN, -1e30, 0.0, 0.7, 1e30] {
                    let block = |part: &rookery::tensor::Part| -> Block {
                        let numbers = Tensor::new(part.columns, vec![value; part.columns]).unwrap();
                        match part.kind {
                            ValueKind::Text => numbers.map(|_| Box::<str>::from("Rome")).into(),
                            ValueKind::F32 => numbers.into(),
                            ValueKind::F64 => numbers.map(|&x| f64::from(x)).into(),
                            ValueKind::I64 => numbers.map(|&x| x as i64).into(),
                            ValueKind::Bool => numbers.map(|&x| x > 0.0).into(),
                        }
                    };
                    let input = model.schema().parts.iter().map(block).collect();
                    if let Ok(output) = runtime::pipeline::run(&[runtime::pipeline::Step::model("flipped", &*model)], input, false) {
                        assert!(output.scores.not_finite().is_none());
                        answered += 1;
                    }
                }
            }
        }
    }
    assert!(answered > 0, "no flip left a graph that answers; the test shows nothing");
}
