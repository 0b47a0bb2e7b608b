//! ONNX graphs written byte by byte: what is served answers by hand-made sums, and what is hostile is refused by name.
//!
//! `tests/fidelity/onnx.py` compares real converters' models with onnxruntime; here the files are small enough to cut and
//! flip at every byte. Next: `onnx/choices.rs`, `onnx/values.rs`; `onnx/answers.rs` and `onnx/inputs.rs`, graphs through
//! the door.

mod answers;

mod bounds;

mod choices;

mod inputs;

mod values;

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
        self.with(&[]).0
    }

    /// The model's file with functions of its own.
    pub(crate) fn with(&self, functions: &[Wire]) -> Wire {
        let set = |domain: &str, version: i64| Wire::default().bytes(1, domain).int(2, version);
        let wire = Wire::default().int(1, 8).bytes(2, "by hand").put(7, self.wire());
        let wire = functions.iter().fold(wire, |wire, function| wire.put(25, function.clone()));
        wire.put(8, set("", 15)).put(8, set("ai.onnx.ml", 2))
    }
}

fn read(bytes: &[u8]) -> Result<Box<dyn Model>> {
    let prepared = runtime::prepare(Artifact::read(bytes, Limits::default())?)?;
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

/// A function of domain `own` from `x` to `y`.
pub(crate) fn function(name: &str, nodes: Vec<Wire>) -> Wire {
    let wire = Wire::default().bytes(1, name).bytes(4, "x").bytes(5, "y").bytes(10, "own");
    nodes.into_iter().fold(wire, |wire, node| wire.put(7, node)).put(9, Wire::default().bytes(1, "").int(2, 15))
}

/// Words counted: a text to tokens to how often two words and a pair occur.
fn counted() -> Graph {
    let tokens = node("Tokenizer", "com.microsoft", &["X"], &["tokens"])
        .put(5, text("tokenexp", "[a-z]+"))
        .put(5, text("pad_value", "#"))
        .put(5, int("mark", 0))
        .put(5, int("mincharnum", 1));
    let flatten = node("Flatten", "", &["tokens"], &["flat"]);
    let grams = node("TfIdfVectorizer", "", &["flat"], &["Y"])
        .put(5, text("mode", "TF"))
        .put(5, int("min_gram_length", 1))
        .put(5, int("max_gram_length", 2))
        .put(5, int("max_skip_count", 0))
        .put(5, ints("ngram_counts", &[0, 2]))
        .put(5, ints("ngram_indexes", &[1, 0, 2]))
        .put(5, texts("pool_strings", &["a", "b", "a", "b"]));
    Graph {
        nodes: vec![tokens, flatten, grams],
        weights: vec![],
        inputs: vec![info("X", 8, &[-1, 1])],
        outputs: vec![info("Y", 1, &[-1, 3])],
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
    let map = node("ZipMap", "ai.onnx.ml", &["scores"], &["map"]).put(5, texts("classlabels_strings", &["old", "young"]));
    let shape: Vec<u8> = [-1i64, 2].iter().flat_map(|side| side.to_le_bytes()).collect();
    Graph {
        nodes: vec![encoder, reshape, concat, linear, map],
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
fn words_are_counted() {
    let model = read(&counted().file()).unwrap();
    let rows: Vec<Box<str>> = ["a b, a c", "", "b a b", "B#"].map(Box::from).to_vec();
    let output = model.predict(&[Tensor::new(1, rows).unwrap().into()]).unwrap();
    assert_eq!(output.scores, Tensor::new(3, vec![1.0f32, 2.0, 1.0, 0.0, 0.0, 0.0, 2.0, 1.0, 1.0, 0.0, 0.0, 0.0]).unwrap().into());
}

#[test]
fn hostile_vectorisers_are_refused_by_name() {
    // Of two attributes of a name the first counts.
    let with = |at: usize, attribute: Wire| {
        let mut graph = counted();
        graph.nodes[at] = Wire::default().put(5, attribute);
        graph.nodes[at].0.extend(&counted().nodes[at].0);
        graph
    };
    let mut huge = counted();
    huge.nodes[2] = node("TfIdfVectorizer", "", &["flat"], &["Y"])
        .put(5, text("mode", "TF"))
        .put(5, int("min_gram_length", 1))
        .put(5, int("max_gram_length", 1))
        .put(5, int("max_skip_count", 0))
        .put(5, ints("ngram_counts", &[0]))
        .put(5, ints("ngram_indexes", &[1 << 40]))
        .put(5, texts("pool_strings", &["a"]));
    refused(&huge, "`ngram_indexes`");
    for (attribute, words) in [
        (text("tokenexp", "(?u)\\w+"), "`(?u`"),
        (text("tokenexp", "((((a{99}){99}){99}){99})"), "too large"),
        (text("tokenexp", &"(a".repeat(3000)), "at most 4096"),
        (text("pad_value", &"#".repeat(5000)), "`pad_value`"),
        (int("mincharnum", 0), "`mincharnum`"),
        (texts("separators", &["x*"]), "where nothing stands"),
        (texts("separators", &[" ", "\\b"]), "where nothing stands"),
    ] {
        refused(&with(0, attribute), words);
    }
    for (attribute, words) in [
        (int("max_gram_length", i64::MAX), "`max_gram_length`"),
        (int("max_skip_count", -1), "`max_skip_count`"),
        (ints("ngram_counts", &[0, 1]), "`ngram_counts`"),
        (ints("ngram_counts", &[0, -1]), "`ngram_counts`"),
        (ints("ngram_counts", &[0, 1 << 40]), "`ngram_counts`"),
        (ints("ngram_indexes", &[0, 1]), "`ngram_indexes`"),
        (ints("ngram_indexes", &[0, 1, -2]), "`ngram_indexes`"),
        (texts("pool_strings", &["a", "a", "a", "b"]), "twice"),
        (floats("weights", &[1.0]), "`weights`"),
    ] {
        refused(&with(2, attribute), words);
    }
}

#[test]
fn functions_are_written_out_where_they_are_called() {
    let double = function("double", vec![node("Add", "", &["x", "x"], &["y"])]);
    let fourfold = function("fourfold", vec![node("double", "own", &["x"], &["t"]), node("double", "own", &["t"], &["y"])]);
    let mut graph = dense();
    graph.nodes[2] = node("fourfold", "own", &["a"], &["Y"]);
    let model = read(&graph.with(&[fourfold, double]).0).unwrap();
    let output = answer(&*model, 2, &[1.0, 1.0]).unwrap();
    assert_eq!(output.scores, Tensor::new(2, vec![18.0f32, -376.0]).unwrap().into());
    // What is handed through is the caller's.
    graph.nodes[2] = node("same", "own", &["a"], &["Y"]);
    let same = Wire::default().bytes(1, "same").bytes(4, "x").bytes(5, "x").bytes(10, "own");
    let output = answer(&*read(&graph.with(&[same]).0).unwrap(), 2, &[1.0, 1.0]).unwrap();
    assert_eq!(output.scores, Tensor::new(2, vec![4.5f32, -94.0]).unwrap().into());
}

#[test]
fn functions_that_grow_without_end_are_refused() {
    let refused = |functions: &[Wire], words: &str| {
        let mut graph = dense();
        graph.nodes[2] = node("f0", "own", &["a"], &["Y"]);
        let error = read(&graph.with(functions).0).unwrap_err();
        assert!(error.message().contains(words), "`{}` does not say `{words}`", error.message());
    };
    let call = |name: &str| node(name, "own", &["x"], &["y"]);
    refused(&[function("f0", vec![call("f0")])], "calls itself");
    refused(&[function("f0", vec![call("f1")]), function("f1", vec![call("f0")])], "calls itself");
    refused(&[function("f0", vec![]), function("f0", vec![])], "two functions");
    refused(&[function("f0", vec![node("Bernoulli", "", &["x"], &["y"])])], "`f0-node/Bernoulli-node`");
    refused(&[function("f0", vec![node("Relu", "", &["nothing"], &["y"])])], "nothing makes");
    // Each calls the next two times ten.
    let many: Vec<Wire> = (0..12)
        .map(|at| {
            let next = format!("f{}", at + 1);
            let chain = (0..10).map(|step| {
                let (from, to) = (
                    if step == 0 { "x".to_owned() } else { format!("t{step}") },
                    if step == 9 { "y".to_owned() } else { format!("t{}", step + 1) },
                );
                node(if at == 11 { "Relu" } else { &next }, if at == 11 { "" } else { "own" }, &[&from], &[&to])
            });
            function(&format!("f{at}"), chain.collect())
        })
        .collect();
    refused(&many, "too large");
    let deep: Vec<Wire> = (0..50).map(|at| function(&format!("f{at}"), vec![call(&format!("f{}", at + 1))])).collect();
    refused(&deep, "deeper");
    // A long list, copied by each call.
    let list = node("Constant", "", &[], &["c"]).put(5, floats("value_floats", &vec![1.0; 1 << 20]));
    let long = function("f1", vec![list, node("Identity", "", &["x"], &["y"])]);
    let calls = (0..200).map(|at| node("f1", "own", &["x"], &[&if at == 0 { "y".to_owned() } else { format!("t{at}") }]));
    refused(&[function("f0", calls.collect()), long], "too large");
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
        (info("X", 10, &[-1, 2]), "is of float16; float, double"),
        (info("X", 99, &[-1, 2]), "ONNX type 99"),
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
        (Wire::default().int(2, 14).bytes(8, "W"), "holds values of complex64"),
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
    // Both branches may lead to one node.
    let met = read(&trees(&features, &[2, 0, 0, 1, 0, 0], &no).file()).unwrap();
    let labels = answer(&*met, 2, &[0.5, -1.0, 0.6, -0.9]).unwrap().labels;
    assert_eq!(labels, Some(Tensor::new(1, vec![7i64, 7]).unwrap().into()));
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

/// A recurrent layer over three steps, then attention of each step to the others.
fn recurrent() -> Graph {
    let shape: Vec<u8> = [-1i64, 3, 2].iter().flat_map(|side| side.to_le_bytes()).collect();
    let weight = |count: usize| (0..count).map(|n| (n % 7) as f32 * 0.1 - 0.3).collect::<Vec<_>>();
    Graph {
        nodes: vec![
            node("Reshape", "", &["X", "shape"], &["rows"]),
            node("Transpose", "", &["rows"], &["steps"]).put(5, ints("perm", &[1, 0, 2])),
            node("LSTM", "", &["steps", "W", "R", "B"], &["all", "last"]).put(5, int("hidden_size", 2)),
            node("Squeeze", "", &["all", "way"], &["seen"]),
            node("Transpose", "", &["seen"], &["q"]).put(5, ints("perm", &[1, 0, 2])),
            node("Transpose", "", &["seen"], &["k"]).put(5, ints("perm", &[1, 2, 0])),
            node("MatMul", "", &["q", "k"], &["qk"]),
            node("Softmax", "", &["qk"], &["share"]).put(5, int("axis", -1)),
            node("MatMul", "", &["share", "q"], &["mixed"]),
            node("ReduceMean", "", &["mixed"], &["Y"]).put(5, ints("axes", &[1])).put(5, int("keepdims", 0)),
        ],
        weights: vec![
            Wire::default().int(1, 3).int(2, 7).bytes(8, "shape").bytes(9, shape),
            Wire::default().int(1, 1).int(2, 7).bytes(8, "way").bytes(9, 1i64.to_le_bytes()),
            tensor("W", &[1, 8, 2], &weight(16)),
            tensor("R", &[1, 8, 2], &weight(16)),
            tensor("B", &[1, 16], &weight(16)),
        ],
        inputs: vec![info("X", 1, &[-1, 6])],
        outputs: vec![info("Y", 1, &[-1, 2])],
    }
}

/// Three classes with probabilities, words for labels.
fn machine() -> Graph {
    let attributes = [
        texts("classlabels_strings", &["a", "b", "c"]),
        floats("coefficients", &[0.5, -0.5, -1.0, 1.0, 0.25, -0.75]),
        floats("rho", &[0.1, -0.2, 0.3]),
        floats("support_vectors", &[1.0, 2.0, -1.0, 0.5, 0.0, -2.0]),
        floats("kernel_params", &[0.5, 0.0, 3.0]),
        ints("vectors_per_class", &[1, 1, 1]),
        floats("prob_a", &[-1.0, -0.5, -2.0]),
        floats("prob_b", &[0.0, 0.1, -0.1]),
        text("kernel_type", "RBF"),
    ];
    let node = node("SVMClassifier", "ai.onnx.ml", &["X"], &["label", "scores"]);
    Graph {
        nodes: vec![attributes.into_iter().fold(node, |node, attribute| node.put(5, attribute))],
        weights: vec![],
        inputs: vec![info("X", 1, &[-1, 2])],
        outputs: vec![info("label", 8, &[-1]), info("scores", 1, &[-1, 3])],
    }
}

/// Files to cut and flip, each with its name.
fn swept() -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("a dense layer", dense().file()),
        ("trees", good_trees().file()),
        ("text and numbers", mixed().file()),
        ("words that are counted", counted().file()),
        ("a recurrent layer", recurrent().file()),
        ("a support vector machine", machine().file()),
        ("columns made ready", include_bytes!("../../src/cli/demo/preprocess.onnx").to_vec()),
    ]
}

/// Answers one row for which every value is `value`; `false` when it is refused.
fn answers(model: &dyn Model, value: f32) -> bool {
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
    let Ok(output) = runtime::pipeline::run(&[runtime::pipeline::Step::model("swept", model)], input, false) else { return false };
    assert!(output.scores.not_finite().is_none());
    assert!(output.extras.iter().all(|extra| extra.block.not_finite().is_none()));
    true
}

#[test]
fn every_cut_of_a_graph_is_refused_or_served() {
    for (name, file) in swept() {
        assert!(read(&file).is_ok(), "{name}: {:?}", read(&file).err());
        let mut taken = Vec::new();
        for end in 0..file.len() {
            if let Ok(model) = read(&file[..end]) {
                answers(&*model, 0.7);
                taken.push(end);
            }
        }
        // Operator sets come last: a cut right behind the first leaves a whole, smaller file.
        assert!(taken.len() <= 1, "{name}: cuts at {taken:?} of {} were taken", file.len());
    }
}

#[test]
fn every_flipped_byte_is_refused_or_answers_finite_numbers() {
    for (name, file) in swept() {
        let mut answered = 0;
        for at in 0..file.len() {
            for flip in [0x01, 0x04, 0x10, 0x80, 0xff] {
                let mut hostile = file.clone();
                hostile[at] ^= flip;
                let Ok(model) = read(&hostile) else { continue };
                if model.schema().features <= 1_000 {
                    answered += [f32::NAN, -1e30, 0.0, 0.7, 1e30].into_iter().filter(|&value| answers(&*model, value)).count();
                }
            }
        }
        assert!(answered > 0, "{name}: no flip left a graph that answers; the sweep shows nothing");
    }
}
