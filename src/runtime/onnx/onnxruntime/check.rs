//! What is checked of a file before native code reads it.
//!
//! onnxruntime follows paths in a file, runs functions and reads parts of it that the interpreter never looks at. So
//! here everything must be where we look, all of it must be well-formed as far as we know its operators, and nothing may
//! grow past our limits. Knows no session. Next: `../graph.rs`, which plans; `../functions.rs`, which writes out calls.

use std::cell::RefCell;

use bytes::Bytes;
use prost::Message;

use super::super::graph::Planner;
use super::super::proto::{self, DEPTH_MAX, Fields};
use super::super::value::Value;
use super::super::{functions, graph_of, ops, opsets, rows};
use crate::error::{Error, Kind, Result};
use crate::names::shown;

/// Domains whose operators are known here. A function in one of them would stand for an operator of its name, or not,
/// as whoever reads the file decides.
const OWN: [&str; 4] = ["", "ai.onnx", "ai.onnx.ml", "com.microsoft"];

/// A file that may be handed over.
#[derive(Debug)]
pub(super) struct Checked {
    /// As it came.
    pub(super) file: proto::Model,
    /// What it becomes when the calls of its functions are written out: nodes, and bytes.
    pub(super) nodes: usize,
    pub(super) bytes: usize,
}

/// Reads a file that another runtime is to run.
///
/// # Errors
/// Naming what is malformed, over a limit, or where it would not be checked.
pub(super) fn check(bytes: &[u8]) -> Result<Checked> {
    if !is_all_seen(bytes, Inside::Model, 0) {
        return Err(Error::invalid("it holds sparse tensors, a training graph, or lists of tensors or graphs in an attribute"));
    }
    let file = proto::read(Bytes::copy_from_slice(bytes))?;
    rows::inputs(graph_of(&file)?)?;
    for function in &file.functions {
        let name = |error: Error| error.within(format_args!("function `{}`", shown(&function.name)));
        let words = [&function.domain, &function.name, &function.overload];
        // Told apart by these three in one text with colons between.
        if OWN.contains(&&*function.domain) || words.iter().any(|word| word.contains(':')) {
            return Err(name(Error::invalid("it may be taken for another; export the model with functions of a domain of their own")));
        }
        // Also of what nobody calls.
        tensors(&function.node).and_then(|()| function.attribute_proto.iter().try_for_each(|one| attribute(one))).map_err(name)?;
    }
    let mut written = file.clone();
    // Marks of our own say what a node is: a file that brings some would not be checked as it is run.
    if let Some(graph) = &mut written.graph {
        unmark(&mut graph.node);
    }
    for function in &mut written.functions {
        unmark(&mut function.node);
    }
    functions::write_out(&mut written)?;
    let graph = graph_of(&written)?;
    tensors(&graph.node)?;
    let nodes = RefCell::default();
    let opsets = opsets(&written)?;
    let planner = Planner { opsets: &opsets, ready: RefCell::default(), folds: RefCell::default(), nodes, check: true };
    planner.plan(graph, &[])?;
    let nodes = *planner.nodes.borrow();
    let bytes = written.encoded_len().max(bytes.len());
    Ok(Checked { file, nodes, bytes })
}

/// The messages that hold others.
#[derive(Clone, Copy)]
enum Inside {
    Model,
    Graph,
    Node,
    Attribute,
    Function,
}

/// Whether everything that may hold values or nodes is where the reader of graphs looks.
fn is_all_seen(bytes: &[u8], inside: Inside, depth: usize) -> bool {
    Fields(bytes).all(|field| {
        let Some((number, bytes)) = field else { return false };
        let next = match (inside, number) {
            (Inside::Model, 20) | (Inside::Graph, 15) | (Inside::Attribute, 10 | 11 | 22 | 23) => return false,
            (Inside::Model, 7) | (Inside::Attribute, 6) => Inside::Graph,
            (Inside::Model, 25) => Inside::Function,
            (Inside::Graph, 1) | (Inside::Function, 7) => Inside::Node,
            (Inside::Node, 5) | (Inside::Function, 11) => Inside::Attribute,
            _ => return true,
        };
        depth <= DEPTH_MAX && bytes.is_none_or(|bytes| is_all_seen(bytes, next, depth + 1))
    })
}

/// Takes away the attributes by which this crate marks nodes.
fn unmark(nodes: &mut [proto::Node]) {
    for node in nodes {
        node.attribute.retain(|attribute| ![ops::FLAT, functions::OPSET].contains(&&*attribute.name));
        for body in node.attribute.iter_mut().filter_map(|attribute| attribute.g.as_deref_mut()) {
            unmark(&mut body.node);
        }
    }
}

/// Reads the tensors in the attributes of nodes, also of those whose operator is not known and asks for none.
fn tensors(nodes: &[proto::Node]) -> Result<()> {
    nodes.iter().flat_map(|node| &node.attribute).try_for_each(|one| attribute(one))
}

fn attribute(attribute: &proto::Attribute) -> Result<()> {
    match attribute.t.as_ref().map(Value::read) {
        Some(Err(error)) if error.kind() != Kind::Unsupported => return Err(error),
        _ => {}
    }
    let Some(body) = attribute.g.as_deref() else { return Ok(()) };
    for tensor in &body.initializer {
        match Value::read(tensor) {
            Err(error) if error.kind() != Kind::Unsupported => return Err(error),
            _ => {}
        }
    }
    tensors(&body.node)
}
