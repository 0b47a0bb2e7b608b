//! What the fuzzer starts from where no fixture is committed: `seeds graphs FOLDER` writes small ONNX graphs by hand;
//! anything else is the `rookery` command line, whose `train` writes the formats of our own.
//!
//! A graph holds one operator, and the fuzzer puts them together. Field numbers are those of `onnx.proto`.

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.as_slice() {
        [verb, folder] if verb == "graphs" => write(Path::new(folder)),
        _ => rookery::cli::main(),
    }
}

fn write(folder: &Path) -> ExitCode {
    for (name, bytes) in graphs() {
        if let Err(error) = std::fs::write(folder.join(name), bytes) {
            eprintln!("{name}: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

fn int(field: u64, value: i64) -> Vec<u8> {
    [varint(field << 3), varint(value as u64)].concat()
}

fn bytes(field: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    [varint(field << 3 | 2), varint(value.as_ref().len() as u64), value.as_ref().to_vec()].concat()
}

fn float(field: u64, value: f32) -> Vec<u8> {
    [varint(field << 3 | 5), value.to_le_bytes().to_vec()].concat()
}

/// An attribute, from what fits its kind.
enum Is<'a> {
    Int(i64),
    Float(f32),
    Text(&'a str),
    Ints(&'a [i64]),
    Floats(&'a [f32]),
    Texts(&'a [&'a str]),
}

fn attribute((name, value): &(&str, Is<'_>)) -> Vec<u8> {
    let (kind, inner) = match value {
        Is::Float(value) => (1, float(2, *value)),
        Is::Int(value) => (2, int(3, *value)),
        Is::Text(value) => (3, bytes(4, value)),
        Is::Floats(values) => (6, values.iter().flat_map(|&value| float(7, value)).collect()),
        Is::Ints(values) => (7, values.iter().flat_map(|&value| int(8, value)).collect()),
        Is::Texts(values) => (8, values.iter().flat_map(|value| bytes(9, value)).collect()),
    };
    bytes(5, [bytes(1, name), int(20, kind), inner].concat())
}

/// Weights by name; 1 is ONNX's number of 32-bit numbers, 7 of whole ones.
enum Weights<'a> {
    Numbers(&'a [i64], &'a [f32]),
    Whole(&'a [i64]),
}

fn weights((name, value): &(&str, Weights<'_>)) -> Vec<u8> {
    let (dims, kind, raw): (&[i64], i64, Vec<u8>) = match value {
        Weights::Numbers(dims, values) => (dims, 1, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        Weights::Whole(values) => (&[values.len() as i64], 7, values.iter().flat_map(|value| value.to_le_bytes()).collect()),
    };
    let dims = dims.iter().flat_map(|&dim| int(1, dim)).collect::<Vec<_>>();
    bytes(5, [dims, int(2, kind), bytes(8, name), bytes(9, raw)].concat())
}

/// One node from rows of four columns (`x`) and its weights to `y`.
fn graph(domain: &str, op: &str, element: i64, attributes: &[(&str, Is<'_>)], with: &[(&str, Weights<'_>)]) -> Vec<u8> {
    let info = |field, name: &str| {
        let shape = bytes(2, [bytes(1, bytes(2, "N")), bytes(1, int(1, 4))].concat());
        bytes(field, [bytes(1, name), bytes(2, bytes(1, [int(1, element), shape].concat()))].concat())
    };
    let inputs: Vec<u8> = with.iter().flat_map(|(name, _)| bytes(1, name)).collect();
    let attributes: Vec<u8> = attributes.iter().flat_map(attribute).collect();
    let node = [bytes(1, "x"), inputs, bytes(2, "y"), bytes(4, op), attributes, bytes(7, domain)].concat();
    let with: Vec<u8> = with.iter().flat_map(weights).collect();
    let graph = [bytes(1, node), bytes(2, "g"), with, info(11, "x"), info(12, "y")].concat();
    let opset = |domain: &str, version| bytes(8, [bytes(1, domain), int(2, version)].concat());
    [int(1, 8), bytes(7, graph), opset("", 15), opset("ai.onnx.ml", 3)].concat()
}

fn graphs() -> Vec<(&'static str, Vec<u8>)> {
    use Is::{Float, Floats, Int, Ints, Text, Texts};
    use Weights::{Numbers, Whole};
    const ML: &str = "ai.onnx.ml";
    let square = || Numbers(&[4, 4], &[0.5; 16]);
    let row = || Numbers(&[4], &[1.0, -2.0, 0.25, 3.0]);
    let nodes: [(&str, Is<'_>); 9] = [
        ("nodes_treeids", Ints(&[0, 0, 0])),
        ("nodes_nodeids", Ints(&[0, 1, 2])),
        ("nodes_featureids", Ints(&[2, 0, 0])),
        ("nodes_values", Floats(&[0.5, 0.0, 0.0])),
        ("nodes_modes", Texts(&["BRANCH_LEQ", "LEAF", "LEAF"])),
        ("nodes_truenodeids", Ints(&[1, 0, 0])),
        ("nodes_falsenodeids", Ints(&[2, 0, 0])),
        ("nodes_missing_value_tracks_true", Ints(&[1, 0, 0])),
        ("post_transform", Text("NONE")),
    ];
    let leaves = [
        ("n_targets", Int(1)),
        ("target_treeids", Ints(&[0, 0])),
        ("target_nodeids", Ints(&[1, 2])),
        ("target_ids", Ints(&[0, 0])),
        ("target_weights", Floats(&[-1.0, 1.5])),
    ];
    let trees: Vec<_> = nodes.into_iter().chain(leaves).collect();
    vec![
        ("add", graph("", "Add", 1, &[], &[("w", row())])),
        ("mul", graph("", "Mul", 1, &[], &[("w", row())])),
        ("matmul", graph("", "MatMul", 1, &[], &[("w", square())])),
        ("gemm", graph("", "Gemm", 1, &[("transB", Int(1)), ("alpha", Float(0.5))], &[("w", square()), ("b", row())])),
        ("relu", graph("", "Relu", 1, &[], &[])),
        ("sigmoid", graph("", "Sigmoid", 1, &[], &[])),
        ("softmax", graph("", "Softmax", 1, &[("axis", Int(1))], &[])),
        ("argmax", graph("", "ArgMax", 1, &[("axis", Int(1)), ("keepdims", Int(0))], &[])),
        ("reduce", graph("", "ReduceMean", 1, &[("axes", Ints(&[1])), ("keepdims", Int(1))], &[])),
        ("reshape", graph("", "Reshape", 1, &[], &[("s", Whole(&[-1, 2, 2]))])),
        ("transpose", graph("", "Transpose", 1, &[("perm", Ints(&[0, 1]))], &[])),
        ("slice", graph("", "Slice", 1, &[], &[("a", Whole(&[1])), ("b", Whole(&[3])), ("c", Whole(&[1]))])),
        ("gather", graph("", "Gather", 1, &[("axis", Int(1))], &[("i", Whole(&[3, 0]))])),
        ("unsqueeze", graph("", "Unsqueeze", 1, &[], &[("a", Whole(&[1]))])),
        ("cast", graph("", "Cast", 1, &[("to", Int(7))], &[])),
        ("clip", graph("", "Clip", 1, &[], &[("a", Numbers(&[], &[-1.0])), ("b", Numbers(&[], &[1.0]))])),
        ("scaler", graph(ML, "Scaler", 1, &[("offset", Floats(&[1.0; 4])), ("scale", Floats(&[0.5; 4]))], &[])),
        ("normalizer", graph(ML, "Normalizer", 1, &[("norm", Text("L2"))], &[])),
        ("labels", graph(ML, "LabelEncoder", 8, &[("keys_strings", Texts(&["a", "b"])), ("values_int64s", Ints(&[1, 2]))], &[])),
        ("onehot", graph(ML, "OneHotEncoder", 8, &[("cats_strings", Texts(&["a", "b"])), ("zeros", Int(1))], &[])),
        ("linear", graph(ML, "LinearRegressor", 1, &[("coefficients", Floats(&[0.5; 4])), ("intercepts", Floats(&[1.0]))], &[])),
        ("trees", graph(ML, "TreeEnsembleRegressor", 1, &trees, &[])),
    ]
}
