//! Graphs and requests that ask for more than they are: texts copied a million times, loops that hoard, loops over
//! nothing, classes against classes. Each is refused before it takes what it asks for, and its small twin is not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rookery::error::Kind;
use rookery::runtime::Model;
use rookery::tensor::{Block, Tensor};
use serde_json::json;

use crate::support::Server;

use super::{Graph, Wire, answer, dense, floats, info, int, ints, node, read, refused, tensor, text, texts};

const TEXTS: &str = "texts on the way";

fn strings(name: &str, dims: &[i64], values: &[&str]) -> Wire {
    let wire = dims.iter().fold(Wire::default(), |wire, &dim| wire.int(1, dim)).int(2, 8).bytes(8, name);
    values.iter().fold(wire, |wire, value| wire.bytes(6, value))
}

fn wholes(name: &str, dims: &[i64], values: &[i64]) -> Wire {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    dims.iter().fold(Wire::default(), |wire, &dim| wire.int(1, dim)).int(2, 7).bytes(8, name).bytes(9, raw)
}

fn truths(name: &str, count: usize) -> Wire {
    Wire::default().int(1, count as i64).int(2, 9).bytes(8, name).bytes(9, vec![1; count])
}

fn attribute(name: &str, tensor: Wire) -> Wire {
    Wire::default().bytes(1, name).int(20, 4).put(5, tensor)
}

fn body(name: &str, graph: &Graph) -> Wire {
    Wire::default().bytes(1, name).int(20, 5).put(6, graph.wire())
}

/// A graph of these nodes and tensors that answers `Y`, a text each row.
fn of_text(nodes: Vec<Wire>, weights: Vec<Wire>) -> Graph {
    Graph { nodes, weights, inputs: vec![info("X", 1, &[-1, 1])], outputs: vec![info("Y", 8, &[-1, 1])] }
}

/// The message that the graph is refused with; empty when it is served.
fn message(graph: &Graph) -> String {
    read(&graph.file()).err().map(|error| error.message().to_owned()).unwrap_or_default()
}

#[test]
fn no_operator_copies_a_long_text_many_times() {
    const COUNT: i64 = 10_000;
    let zeros = vec![0i64; COUNT as usize];
    let sides = [COUNT, 1];
    let pads = [0, 0, COUNT - 1, 0];
    let many = |word: &str| -> Vec<(&'static str, Graph)> {
        let plain = |name: &'static str, inputs: &[&str], attributes: Vec<Wire>, weights: Vec<Wire>| {
            let op = attributes.into_iter().fold(node(name, "", inputs, &["Y"]), |node, attribute| node.put(5, attribute));
            let mut weights = weights;
            weights.push(strings("t", &[1, 1], &[word]));
            (name, of_text(vec![op], weights))
        };
        let ml = node("ArrayFeatureExtractor", "ai.onnx.ml", &["t", "at"], &["Y"]);
        let long = vec!["t"; COUNT as usize];
        let scan_body = Graph {
            nodes: vec![node("Identity", "", &["t"], &["out"])],
            inputs: vec![info("i", 7, &[])],
            outputs: vec![info("out", 8, &[1, 1])],
            ..Graph::default()
        };
        let loop_body = Graph {
            nodes: vec![node("Identity", "", &["c"], &["d"])],
            inputs: vec![info("i", 7, &[]), info("c", 9, &[])],
            outputs: vec![info("d", 9, &[]), info("t", 8, &[1, 1])],
            ..Graph::default()
        };
        // Twenty copies at a time, as many as fit, are not given up before the loop ends.
        let tiles = || wholes("tiles", &[2], &[500, 1]);
        let state_body = Graph {
            nodes: vec![node("Identity", "", &["c"], &["d"]), node("Concat", "", &["s", "s"], &["twice"]).put(5, int("axis", 0))],
            inputs: vec![info("i", 7, &[]), info("c", 9, &[]), info("s", 8, &[-1, 1])],
            outputs: vec![info("d", 9, &[]), info("twice", 8, &[-1, 1])],
            ..Graph::default()
        };
        let branch = |name: &str| {
            let graph = Graph {
                nodes: vec![node("Expand", "", &["t", "sides"], &["out"])],
                outputs: vec![info("out", 8, &[-1, 1])],
                ..Graph::default()
            };
            body(name, &graph)
        };
        vec![
            plain("Expand", &["t", "sides"], vec![], vec![wholes("sides", &[2], &sides)]),
            plain("Tile", &["t", "sides"], vec![], vec![wholes("sides", &[2], &sides)]),
            plain("Gather", &["t", "at"], vec![], vec![wholes("at", &[COUNT], &zeros)]),
            plain("GatherElements", &["t", "at"], vec![], vec![wholes("at", &[COUNT, 1], &zeros)]),
            plain("GatherND", &["t", "at"], vec![], vec![wholes("at", &[COUNT, 1], &zeros)]),
            plain("Where", &["yes", "t", "t"], vec![], vec![truths("yes", COUNT as usize)]),
            plain("Concat", &long, vec![int("axis", 0)], vec![]),
            plain("Pad", &["t", "pads"], vec![text("mode", "edge")], vec![wholes("pads", &[4], &pads)]),
            plain("Pad", &["t", "pads", "t"], vec![], vec![wholes("pads", &[4], &pads)]),
            plain("OneHot", &["at", "one", "pair"], vec![], {
                vec![wholes("at", &[COUNT], &zeros), wholes("one", &[], &[1]), strings("pair", &[2], &[word, word])]
            }),
            plain("Scan", &["at"], vec![int("num_scan_inputs", 1), body("body", &scan_body)], vec![wholes("at", &[COUNT], &zeros)]),
            plain("Loop", &["count", ""], vec![body("body", &loop_body)], vec![wholes("count", &[], &[COUNT])]),
            plain("Loop", &["count", "", "t"], vec![body("body", &state_body)], vec![wholes("count", &[], &[14])]),
            plain("If", &["yes"], vec![branch("then_branch"), branch("else_branch")], {
                vec![truths("yes", 1), wholes("sides", &[2], &sides)]
            }),
            ("ArrayFeatureExtractor", of_text(vec![ml], vec![strings("t", &[1, 1], &[word]), wholes("at", &[COUNT], &zeros)])),
            // Copies of copies: no single operator asks for much.
            ("Transpose", {
                let turn = |from: &str, to: &str| node("Transpose", "", &[from], &[to]);
                let tile = node("Tile", "", &["t", "tiles"], &["a0"]);
                let wide = node("Concat", "", &["a0", "a0"], &["a"]).put(5, int("axis", 1));
                let names: Vec<String> = (0..10).map(|n| format!("b{n}")).collect();
                let all: Vec<&str> = names.iter().map(String::as_str).collect();
                let mut nodes = vec![tile, wide];
                nodes.extend(all.iter().map(|name| turn("a", name)));
                nodes.push(node("Concat", "", &all, &["Y"]).put(5, int("axis", 0)));
                of_text(nodes, vec![strings("t", &[1, 1], &[word]), tiles()])
            }),
            ("Slice", {
                let tile = node("Tile", "", &["t", "tiles"], &["a"]);
                let names: Vec<String> = (0..20).map(|n| format!("b{n}")).collect();
                let all: Vec<&str> = names.iter().map(String::as_str).collect();
                let mut nodes = vec![tile];
                nodes.extend(all.iter().map(|name| node("Slice", "", &["a", "start", "end"], &[name])));
                nodes.push(node("Concat", "", &all, &["Y"]).put(5, int("axis", 0)));
                let bounds = vec![wholes("start", &[1], &[0]), wholes("end", &[1], &[400])];
                of_text(nodes, [vec![strings("t", &[1, 1], &[word]), tiles()], bounds].concat())
            }),
            ("Split", {
                let nodes = vec![
                    node("Tile", "", &["t", "tiles"], &["a"]),
                    node("Expand", "", &["a", "wide"], &["w"]),
                    node("Split", "", &["w"], &["b", "c"]).put(5, int("axis", 0)),
                    node("Concat", "", &["w", "b", "c"], &["Y"]).put(5, int("axis", 0)),
                ];
                of_text(nodes, vec![strings("t", &[1, 1], &[word]), tiles(), wholes("wide", &[2], &[500, 3])])
            }),
            ("Compress", {
                let nodes = vec![
                    node("Tile", "", &["t", "tiles"], &["a"]),
                    node("Expand", "", &["a", "wide"], &["w"]),
                    node("Compress", "", &["w", "yes"], &["b"]).put(5, int("axis", 0)),
                    node("Compress", "", &["w", "yes"], &["c"]).put(5, int("axis", 0)),
                    node("Concat", "", &["b", "c"], &["Y"]).put(5, int("axis", 0)),
                ];
                of_text(nodes, vec![strings("t", &[1, 1], &[word]), tiles(), wholes("wide", &[2], &[500, 3]), truths("yes", 500)])
            }),
            ("ScatterElements", {
                let nodes = vec![
                    node("ConstantOfShape", "", &["sides"], &["at"]).put(5, attribute("value", wholes("", &[1], &[0]))),
                    node("Tile", "", &["t", "tiles"], &["a"]),
                    node("Tile", "", &["a", "wide"], &["w"]),
                    node("Tile", "", &["empty", "sides"], &["e"]),
                    node("ScatterElements", "", &["e", "at", "w"], &["Y"]),
                ];
                let weights = vec![
                    strings("t", &[1, 1], &[word]),
                    strings("empty", &[1, 1], &[""]),
                    tiles(),
                    wholes("wide", &[2], &[5, 1]),
                    wholes("sides", &[2], &[2500, 1]),
                ];
                of_text(nodes, weights)
            }),
        ]
    };
    // 256 MiB of texts are taken: each graph asks for more, none of them file has more than one of them.
    let long = "x".repeat(65_536);
    let words = many("ox");
    for ((name, hostile), (_, harmless)) in many(&long).iter().zip(&words) {
        let found = message(hostile);
        assert!(found.contains(TEXTS), "{name}: `{found}`");
        let found = message(harmless);
        // What it gives is no row, or no scores; but it was made.
        assert!(found.is_empty() || found.contains("first dimension") || found.contains("its outputs"), "{name}: `{found}`");
    }
    // The value of a constant shape is an attribute, whose texts are short.
    for (length, copies, words) in [(4_096, 100_000, TEXTS), (4_097, 1, "`value` holds a text of 4097 bytes")] {
        let value = attribute("value", strings("", &[1], &["x".repeat(length).as_str()]));
        let op = node("ConstantOfShape", "", &["sides"], &["Y"]).put(5, value);
        refused(&of_text(vec![op], vec![wholes("sides", &[2], &[copies, 1])]), words);
    }
    // Numbers become texts too.
    let printed = node("Cast", "", &["many"], &["Y"]).put(5, int("to", 8));
    let many = node("ConstantOfShape", "", &["sides"], &["many"]);
    refused(&of_text(vec![many, printed], vec![wholes("sides", &[2], &[8_000_000, 1])]), TEXTS);
}

#[test]
fn labels_are_short() {
    let long = "x".repeat(4_097);
    let classifier = |label: &str| {
        let op = node("LinearClassifier", "ai.onnx.ml", &["X"], &["label", "scores"])
            .put(5, floats("coefficients", &[1.0, -1.0]))
            .put(5, floats("intercepts", &[0.0, 0.25]))
            .put(5, texts("classlabels_strings", &["a", label]));
        Graph { nodes: vec![op], outputs: vec![info("label", 8, &[-1]), info("scores", 1, &[-1, 2])], ..of_text(vec![], vec![]) }
    };
    refused(&classifier(&long), "`classlabels_strings` holds a text of 4097 bytes");
    assert_eq!(message(&classifier(&long[1..])), "");
    let encoder = |attribute: Wire| of_text(vec![node("LabelEncoder", "ai.onnx.ml", &["X"], &["Y"]).put(5, attribute)], vec![]);
    refused(&encoder(texts("keys_strings", &[&long])), "`keys_strings` holds");
    refused(&encoder(attribute("keys_tensor", strings("", &[1], &[&long]))), "`keys_tensor` holds");
    let graph = Graph {
        nodes: vec![node("OneHotEncoder", "ai.onnx.ml", &["X"], &["Y"]).put(5, texts("cats_strings", &[&long]))],
        ..of_text(vec![], vec![])
    };
    refused(&graph, "`cats_strings` holds");
}

/// Asks the model for so many rows that its labels together would be too long, and for a few.
fn labels_are_bounded(name: &str, graph: &Graph) {
    let model = read(&graph.file()).unwrap_or_else(|error| panic!("{name}: {}", error.message()));
    assert!(ask(&*model, 10).is_ok(), "{name}");
    let error = ask(&*model, 70_000).expect_err(name);
    assert!(error.kind() == Kind::TooLarge && error.message().contains(TEXTS), "{name}: {}", error.message());
}

fn ask(model: &dyn Model, rows: usize) -> rookery::error::Result<rookery::runtime::Output> {
    model.predict(&[Tensor::new(1, vec![1.0f32; rows]).unwrap().into()])
}

#[test]
fn no_request_is_answered_with_gigabytes_of_labels() {
    let label = "x".repeat(4_096);
    let outputs = || vec![info("label", 8, &[-1]), info("scores", 1, &[-1, 2])];
    let classifier = |name: &str, attributes: Vec<Wire>| {
        let op = node(name, "ai.onnx.ml", &["X"], &["label", "scores"]).put(5, texts("classlabels_strings", &[&label, &label]));
        let op = attributes.into_iter().fold(op, |op, attribute| op.put(5, attribute));
        Graph { nodes: vec![op], outputs: outputs(), ..of_text(vec![], vec![]) }
    };
    let linear = vec![floats("coefficients", &[1.0, -1.0]), floats("intercepts", &[0.0, 0.25])];
    labels_are_bounded("LinearClassifier", &classifier("LinearClassifier", linear));
    let svm = vec![
        floats("coefficients", &[1.0, -1.0]),
        floats("rho", &[0.5]),
        floats("support_vectors", &[1.0, 2.0]),
        ints("vectors_per_class", &[1, 1]),
    ];
    labels_are_bounded("SVMClassifier", &classifier("SVMClassifier", svm));
    let trees = vec![
        ints("class_ids", &[0]),
        ints("class_nodeids", &[0]),
        ints("class_treeids", &[0]),
        floats("class_weights", &[1.0]),
        ints("nodes_featureids", &[0]),
        ints("nodes_truenodeids", &[0]),
        ints("nodes_falsenodeids", &[0]),
        ints("nodes_nodeids", &[0]),
        ints("nodes_treeids", &[0]),
        floats("nodes_values", &[0.0]),
        texts("nodes_modes", &["LEAF"]),
    ];
    labels_are_bounded("TreeEnsembleClassifier", &classifier("TreeEnsembleClassifier", trees));
    // What is no key, in both of the encoder's forms.
    let encoded = |attributes: Vec<Wire>| {
        let op = node("LabelEncoder", "ai.onnx.ml", &["whole"], &["label"]).put(5, text("default_string", &label));
        let op = attributes.into_iter().fold(op, |op, attribute| op.put(5, attribute));
        let whole = node("Cast", "", &["X"], &["whole"]).put(5, int("to", 7));
        let scores = node("Identity", "", &["X"], &["scores"]);
        let outputs = vec![info("label", 8, &[-1, 1]), info("scores", 1, &[-1, 1])];
        Graph { nodes: vec![whole, op, scores], outputs, ..of_text(vec![], vec![]) }
    };
    labels_are_bounded("LabelEncoder", &encoded(vec![ints("keys_int64s", &[7]), texts("values_strings", &["seven"])]));
    labels_are_bounded("LabelEncoder of the first version", &encoded(vec![texts("classes_strings", &["zero"])]));
    // Rows that a graph can only answer one by one add up as well: a label that the count of rows decides.
    let mut graph = encoded(vec![ints("keys_int64s", &[7]), texts("values_strings", &["seven"])]);
    graph.inputs = vec![info("X", 1, &[1, 1])];
    labels_are_bounded("rows one by one", &graph);
}

/// A loop of some steps over states, all of which begin as one number; `body` makes the next ones.
fn looped(steps: i64, states: usize, stacks: usize, nodes: Vec<Wire>, next: &[&str]) -> Graph {
    let names: Vec<String> = (0..states).map(|n| format!("s{n}")).collect();
    let mut inputs = vec![info("i", 7, &[]), info("c", 9, &[])];
    inputs.extend(names.iter().map(|name| info(name, 1, &[])));
    let mut outputs = vec![info("d", 9, &[])];
    outputs.extend(next.iter().map(|name| info(name, 1, &[])));
    let mut all = vec![node("Identity", "", &["c"], &["d"])];
    all.extend(nodes);
    let inner = Graph { nodes: all, weights: vec![], inputs, outputs };
    let mut handed = vec!["steps", ""];
    handed.extend((0..states).map(|_| "zero"));
    let made: Vec<String> = (0..states + stacks).map(|n| format!("o{n}")).collect();
    let names: Vec<&str> = made.iter().map(String::as_str).collect();
    let mut nodes = vec![node("Loop", "", &handed, &names).put(5, body("body", &inner))];
    let tops: Vec<String> = (0..names.len()).map(|n| format!("m{n}")).collect();
    nodes.extend(names.iter().zip(&tops).map(|(from, to)| node("ReduceMax", "", &[from], &[to]).put(5, int("keepdims", 0))));
    let mut sum = vec!["X"];
    sum.extend(tops.iter().map(String::as_str));
    nodes.push(node("Sum", "", &sum, &["Y"]));
    let weights = vec![
        wholes("steps", &[], &[steps]),
        Wire::default().int(2, 1).bytes(8, "zero").bytes(9, 0.0f32.to_le_bytes()),
        wholes("side", &[1], &[1 << 23]),
        wholes("short", &[1], &[1 << 20]),
    ];
    Graph { nodes, weights, ..dense() }
}

#[test]
fn a_loop_does_not_hoard() {
    // A register of states: each step makes one new array and moves the others along, so none is ever large alone.
    let fresh = |side: &str| vec![node("ConstantOfShape", "", &[side], &["new"])];
    let next = ["new", "s0", "s1", "s2", "s3", "s4"];
    refused(&looped(8, 6, 0, fresh("side"), &next), "too many values");
    assert_eq!(message(&looped(8, 6, 0, fresh("short"), &next)), "");
    // Six stacks that are each half as long as one may be.
    refused(&looped(8, 0, 6, fresh("short"), &["new"; 6]), "too many values");
    assert_eq!(message(&looped(2, 0, 6, fresh("short"), &["new"; 6])), "");
    // The same array handed out many times over: to begin with, and by a body that only names it.
    let mut graph = looped(1, 6, 0, vec![], &["s0", "s1", "s2", "s3", "s4", "s5"]);
    graph.nodes.insert(0, node("ConstantOfShape", "", &["side"], &["big"]));
    let inner = Graph {
        nodes: vec![node("Identity", "", &["c"], &["d"])],
        inputs: vec![info("i", 7, &[]), info("c", 9, &[])],
        outputs: [vec![info("d", 9, &[])], vec![info("big", 1, &[]); 6]].concat(),
        ..Graph::default()
    };
    let names = ["o0", "o1", "o2", "o3", "o4", "o5"];
    let mut captured = graph.clone();
    captured.nodes[1] = node("Loop", "", &["steps", ""], &names).put(5, body("body", &inner));
    refused(&captured, "too many values");
    let states = ["s0", "s1", "s2", "s3", "s4", "s5"];
    let inner = Graph {
        nodes: vec![node("Identity", "", &["c"], &["d"])],
        inputs: [vec![info("i", 7, &[]), info("c", 9, &[])], states.map(|name| info(name, 1, &[])).to_vec()].concat(),
        outputs: [vec![info("d", 9, &[])], states.map(|name| info(name, 1, &[])).to_vec()].concat(),
        ..Graph::default()
    };
    graph.nodes[1] = node("Loop", "", &["steps", "", "big", "big", "big", "big", "big", "big"], &names).put(5, body("body", &inner));
    refused(&graph, "too many values");
}

#[test]
fn steps_over_nothing_are_counted() {
    // No values at all, but as many rows of none as an array may have: each input is walked row by row.
    let empty = |name: &str| Wire::default().int(1, 1 << 24).int(1, 0).int(2, 1).bytes(8, name);
    let mut graph = dense();
    graph.weights = vec![empty("e")];
    let sum = node("ReduceSum", "", &["all"], &["s"]).put(5, int("keepdims", 0));
    graph.nodes = vec![node("Concat", "", &["e"; 2000], &["all"]).put(5, int("axis", 1)), sum, node("Add", "", &["X", "s"], &["Y"])];
    refused(&graph, "too many steps");
    let parts: Vec<String> = (0..2000).map(|n| format!("p{n}")).collect();
    let mut outputs: Vec<&str> = parts.iter().map(String::as_str).collect();
    outputs[0] = "all";
    graph.nodes[0] = node("Split", "", &["e"], &outputs).put(5, int("axis", 1));
    refused(&graph, "too many steps");
}

#[test]
fn steps_in_place_are_part_of_the_cost() {
    let side = || vec![wholes("side", &[2], &[1 << 16, 2]), wholes("axes", &[1], &[0])];
    let cost = |nodes: Vec<Wire>| {
        let mut all = vec![node("ConstantOfShape", "", &["side"], &["big"])];
        all.extend(nodes);
        all.push(node("ReduceMax", "", &["r"], &["Y"]).put(5, ints("axes", &[0])));
        read(&Graph { nodes: all, weights: side(), ..dense() }.file()).unwrap().cost(1)
    };
    // A hundred times over 131,072 values, two steps counted as one nanosecond.
    let least = (2 << 16) * 100 / 2;
    let mut many = vec!["big"];
    many.extend(["X"; 100]);
    assert!(cost(vec![node("Sum", "", &many, &["r"])]) > least);
    let names: Vec<String> = (0..100).map(|n| format!("r{n}")).collect();
    let mut nodes = vec![node("Add", "", &["big", "X"], &["r0"])];
    nodes.extend(names.windows(2).map(|pair| node("Relu", "", &[&pair[0]], &[&pair[1]])));
    nodes.push(node("Relu", "", &["r99"], &["r"]));
    assert!(cost(nodes) > least);
}

#[test]
fn arrays_of_nothing_and_odd_numbers_do_not_bring_an_operator_down() {
    let empty = |name: &str, dims: &[i64]| dims.iter().fold(Wire::default(), |wire, &dim| wire.int(1, dim)).int(2, 1).bytes(8, name);
    let of = |nodes: Vec<Wire>, weights: Vec<Wire>| Graph { nodes, weights, ..dense() };
    let sum = |from: &str| vec![node("ReduceSum", "", &[from], &["s"]).put(5, int("keepdims", 0)), node("Add", "", &["X", "s"], &["Y"])];
    // Sums over nothing along axes that are no neighbours are zeros, as many as the other axes say.
    let reduce = node("ReduceSum", "", &["e", "axes"], &["r"]);
    let pick = node("Gather", "", &["r", "at"], &["g"]).put(5, int("axis", 1));
    let weights = vec![empty("e", &[0, 3, 2]), wholes("axes", &[2], &[0, 2]), wholes("at", &[1], &[2])];
    let graph = of([vec![reduce, pick], sum("g")].concat(), weights);
    let model = read(&graph.file()).unwrap();
    let output = answer(&*model, 2, &[1.0, 2.0]).unwrap();
    assert_eq!(output.scores, Tensor::new(2, vec![1.0f32, 2.0]).unwrap().into());
    // A window over nothing but its pads.
    let window = |op: &str, inputs: &[&str]| {
        let op = node(op, "", inputs, &["c"]).put(5, ints("kernel_shape", &[1])).put(5, ints("pads", &[0, 1])).put(5, int("ceil_mode", 1));
        let weights = vec![empty("e", &[1, 1, 0]), tensor("w", &[1, 1, 1], &[1.0]), tensor("b", &[1], &[1.0])];
        of([vec![op], sum("c")].concat(), weights)
    };
    assert_eq!(message(&window("Conv", &["e", "w", "b"])), "");
    let _ = message(&window("MaxPool", &["e"]));
    // Pads, slices, ranges and indices at the ends of whole numbers.
    let ends = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    for a in ends {
        for b in ends {
            for mode in ["constant", "edge", "reflect", "wrap"] {
                let pad = node("Pad", "", &["X", "pads"], &["Y"]).put(5, text("mode", mode));
                let _ = message(&of(vec![pad], vec![wholes("pads", &[4], &[0, a, 0, b])]));
            }
            let weights = vec![wholes("a", &[1], &[a]), wholes("b", &[1], &[b]), wholes("axis", &[1], &[1]), wholes("X2", &[2], &[a, b])];
            for (op, inputs) in [
                ("Slice", vec!["X", "a", "b"]),
                ("Slice", vec!["X", "a", "b", "axis", "b"]),
                ("Slice", vec!["X", "b", "a", "axis", "a"]),
                ("Range", vec!["a", "b", "axis"]),
                ("Range", vec!["axis", "a", "b"]),
                ("Div", vec!["X2", "a"]),
                ("Mod", vec!["X2", "b"]),
                ("Pow", vec!["X2", "b"]),
                ("Gather", vec!["X", "a"]),
                ("GatherND", vec!["X", "X2"]),
                ("TopK", vec!["X", "a"]),
                ("Reshape", vec!["X", "X2"]),
                ("Expand", vec!["X", "X2"]),
                ("Tile", vec!["X", "X2"]),
                ("ConstantOfShape", vec!["X2"]),
                ("CumSum", vec!["X", "a"]),
                ("Unsqueeze", vec!["X", "X2"]),
                ("Squeeze", vec!["X", "X2"]),
                ("Split", vec!["X", "X2"]),
                ("ReduceSum", vec!["X", "X2"]),
                ("OneHot", vec!["X2", "a", "X2"]),
                ("Abs", vec!["X2"]),
                ("Neg", vec!["X2"]),
            ] {
                for axis in [None, Some(a)] {
                    let op = node(op, "", &inputs, &["y"]);
                    let op = axis.map_or(op.clone(), |axis| op.put(5, int("axis", axis)));
                    let cast = node("Cast", "", &["y"], &["Y"]).put(5, int("to", 1));
                    let _ = message(&of(vec![op, cast], weights.clone()));
                }
            }
        }
    }
}

#[test]
fn numbers_that_are_none_stand_above_all_numbers() {
    // As onnxruntime sorts: first of the largest, last of the smallest, of equals the one before first.
    let graph = |k: i64, largest: i64| Graph {
        nodes: vec![
            node("TopK", "", &["X", "k"], &["v", "i"]).put(5, int("largest", largest)),
            node("Cast", "", &["i"], &["Y"]).put(5, int("to", 1)),
        ],
        weights: vec![wholes("k", &[1], &[k])],
        inputs: vec![info("X", 1, &[-1, 64])],
        outputs: vec![info("Y", 1, &[-1, k])],
    };
    let mut seed = 7u32;
    let mut next = || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        seed >> 16
    };
    let row: Vec<f32> = (0..64 * 50).map(|_| if next() % 4 == 0 { f32::NAN } else { (next() % 40) as f32 - 20.0 }).collect();
    for (k, largest) in [(1, 1), (21, 1), (21, 0), (40, 1), (63, 0), (64, 1), (64, 0)] {
        let output = answer(&*read(&graph(k, largest).file()).unwrap(), 64, &row).unwrap();
        let Block::F32(places) = output.scores else { panic!("places are no numbers") };
        for (row, places) in row.chunks_exact(64).zip(places.values().chunks_exact(k as usize)) {
            let mut order: Vec<usize> = (0..64).collect();
            let rank = |at: usize| if row[at].is_nan() { i64::MAX } else { row[at] as i64 };
            order.sort_by_key(|&at| if largest == 1 { -rank(at) } else { rank(at) });
            let wanted: Vec<f32> = order.iter().take(k as usize).map(|&at| at as f32).collect();
            assert_eq!(places, wanted);
        }
    }
}

#[test]
fn votes_of_pairs_are_part_of_the_cost() {
    let machine = |classes: usize, rounds: bool| {
        let pairs = classes * (classes - 1) / 2;
        let labels: Vec<i64> = (0..classes as i64).collect();
        let op = node("SVMClassifier", "ai.onnx.ml", &["X"], &["label", "scores"])
            .put(5, ints("classlabels_ints", &labels))
            .put(5, floats("coefficients", &vec![0.5; (classes - 1) * classes]))
            .put(5, floats("rho", &vec![0.1; pairs]))
            .put(5, floats("support_vectors", &vec![1.0; classes]))
            .put(5, ints("vectors_per_class", &vec![1; classes]));
        let pair = |name| floats(name, &vec![-0.5; pairs]);
        let op = if rounds { op.put(5, pair("prob_a")).put(5, pair("prob_b")) } else { op };
        let width = if rounds { classes } else { pairs } as i64;
        let outputs = vec![info("label", 7, &[-1]), info("scores", 1, &[-1, width])];
        read(&Graph { nodes: vec![op], outputs, ..of_text(vec![], vec![]) }.file()).unwrap()
    };
    // One vector a class: kernels are next to nothing, the votes of a few classes against each other are the work.
    let each = |model: &dyn Model| model.cost(11) - model.cost(10);
    let (votes, rounds) = (each(&*machine(200, false)), each(&*machine(200, true)));
    assert!(votes >= 20_000, "{votes} for 199 · 200 coefficients and as many pairs");
    // Each round goes over all classes against all.
    assert!(rounds > votes + 200 * 200 * 5 / 2, "{rounds} with rounds, {votes} without");
}

#[test]
fn a_forest_of_many_outputs_is_walked_in_its_sparse_form() {
    // 1200 leaves that name one output of 60,000 each: dense they would be 72 million numbers.
    const TARGETS: i64 = 60_000;
    const SPLITS: i64 = 599;
    let (mut ids, mut owners, mut features, mut yes, mut no) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut values, mut modes, mut outputs, mut leaf_owners, mut leaf_ids, mut weights) = (vec![], vec![], vec![], vec![], vec![], vec![]);
    for tree in 0..2 {
        // A comb: split `n` has a leaf and the next split.
        for n in 0..2 * SPLITS + 1 {
            let leaf = n % 2 == 1 || n == 2 * SPLITS;
            ids.push(n);
            owners.push(tree);
            features.push(0);
            yes.push(if leaf { 0 } else { n + 1 });
            no.push(if leaf { 0 } else { n + 2 });
            values.push(n as f32);
            modes.push(if leaf { "LEAF" } else { "BRANCH_LEQ" });
            if leaf {
                outputs.push((n * 37 + tree) % TARGETS);
                leaf_owners.push(tree);
                leaf_ids.push(n);
                weights.push(1.0 + n as f32);
            }
        }
    }
    let op = node("TreeEnsembleRegressor", "ai.onnx.ml", &["X"], &["Y"])
        .put(5, int("n_targets", TARGETS))
        .put(5, ints("nodes_nodeids", &ids))
        .put(5, ints("nodes_treeids", &owners))
        .put(5, ints("nodes_featureids", &features))
        .put(5, ints("nodes_truenodeids", &yes))
        .put(5, ints("nodes_falsenodeids", &no))
        .put(5, floats("nodes_values", &values))
        .put(5, texts("nodes_modes", &modes))
        .put(5, ints("target_ids", &outputs))
        .put(5, ints("target_treeids", &leaf_owners))
        .put(5, ints("target_nodeids", &leaf_ids))
        .put(5, floats("target_weights", &weights));
    let graph =
        Graph { nodes: vec![op], weights: vec![], inputs: vec![info("X", 1, &[-1, 1])], outputs: vec![info("Y", 1, &[-1, TARGETS])] };
    let file = graph.file();
    let model = read(&file).unwrap();
    assert!(model.weight() < 8 * file.len(), "{} bytes for a file of {}", model.weight(), file.len());
    let Block::F32(scores) = answer(&*model, 1, &[9.0]).unwrap().scores else { panic!("scores are no 32-bit numbers") };
    let named: Vec<(usize, f32)> = scores.values().iter().copied().enumerate().filter(|(_, score)| *score != 0.0).collect();
    assert_eq!(named, [(11 * 37, 12.0), (11 * 37 + 1, 12.0)]);
}

#[test]
fn packed_numbers_are_weighed_by_what_they_become() {
    // One byte each, eight in memory, in an attribute; and once more as an array.
    let packed = Wire::default().bytes(1, "axes").int(20, 7).bytes(8, vec![0; 40 << 20]);
    refused(&Graph { nodes: vec![node("Squeeze", "", &["X"], &["Y"]).put(5, packed)], ..dense() }, "small messages");
    let list = Wire::default().int(1, 8 << 20).int(2, 7).bytes(8, "W").bytes(7, vec![0; 8 << 20]);
    refused(&Graph { weights: vec![list, tensor("b", &[2], &[0.0; 2])], ..dense() }, "small messages");
    let sets = (0..300).fold(Wire::default().int(1, 8).put(7, dense().wire()), |wire, n| {
        wire.put(8, Wire::default().bytes(1, format!("domain {n}")).int(2, 1))
    });
    assert!(read(&sets.0).unwrap_err().message().contains("256 operator sets"));
}

/// Adds 0 to each number, counting up to the greatest of them first.
fn counting() -> Graph {
    let body_of = Graph {
        nodes: vec![node("Identity", "", &["c"], &["d"]), node("Add", "", &["v", "one"], &["w"])],
        inputs: vec![info("i", 7, &[]), info("c", 9, &[]), info("v", 1, &[1])],
        outputs: vec![info("d", 9, &[]), info("w", 1, &[1])],
        ..Graph::default()
    };
    Graph {
        nodes: vec![
            node("ReduceMax", "", &["X"], &["m"]).put(5, int("keepdims", 0)),
            node("Cast", "", &["m"], &["count"]).put(5, int("to", 7)),
            node("Loop", "", &["count", "", "zero"], &["sum"]).put(5, body("body", &body_of)),
            node("Mul", "", &["sum", "zero"], &["none"]),
            node("Add", "", &["X", "none"], &["Y"]),
        ],
        weights: vec![tensor("zero", &[1], &[0.0]), tensor("one", &[1], &[1.0])],
        inputs: vec![info("X", 1, &[-1, 1])],
        outputs: vec![info("Y", 1, &[-1, 1])],
    }
}

#[test]
fn work_that_hangs_on_the_values_gives_up_in_time() {
    let model = read(&counting().file()).unwrap();
    let ask = |value: f32| model.predict_within(&[Tensor::new(1, vec![value]).unwrap().into()], 100_000).unwrap();
    assert_eq!(ask(3.0).map(|output| output.scores), Some(Tensor::new(1, vec![3.0f32]).unwrap().into()));
    assert_eq!(ask(1e6), None, "its cost of {} ns is that of a trial row", model.cost(1));
    assert_eq!(answer(&*model, 1, &[1e5]).unwrap().scores, Tensor::new(1, vec![1e5f32]).unwrap().into());
}

#[test]
fn work_that_hangs_on_the_values_leaves_the_thread_that_takes_requests() {
    let server = Server::with(&["--workers", "1"]);
    server.put_model("p/counting", &counting().file()).expect(201);
    server.put_endpoint("p", &json!([{ "model": "p/counting" }]));
    server.invoke("p", None, &server.admin, "3").expect(200);
    // Another request must be taken up while this one is worked on.
    let met = (0..5).any(|_| {
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                server.invoke("p", None, &server.admin, "3000000").expect(200);
                done.store(true, Ordering::SeqCst);
            });
            while !done.load(Ordering::SeqCst) {
                let counted = server.admin("GET", "/metrics", b"").expect(200).text();
                if counted.lines().any(|line| line == "rookery_invocations_in_flight 1") {
                    return true;
                }
            }
            false
        })
    });
    assert!(met, "no request was answered while the graph was counting");
}
