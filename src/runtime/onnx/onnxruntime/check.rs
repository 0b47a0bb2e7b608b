//! What is checked of a file before native code reads it.
//!
//! onnxruntime follows paths in a file, runs functions and reads parts of it that the interpreter never looks at. So
//! here everything must be where we look, all of it must be well-formed as far as we know its operators, and nothing may
//! grow past our limits. Knows no session. Next: `../graph.rs`, which plans.

use std::cell::RefCell;
use std::collections::HashMap;

use bytes::Bytes;
use prost::Message;

use super::super::graph::{NODES_MAX, Opsets, Planner};
use super::super::proto::{self, DEPTH_MAX, Fields};
use super::super::value::Value;
use super::super::{opsets, rows};
use crate::error::{Error, Kind, Result};
use crate::names::shown;

/// A function of the file's own: nodes that other nodes call by its name.
#[derive(Clone, PartialEq, Message)]
struct Function {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, repeated, tag = "4")]
    input: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    output: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    node: Vec<proto::Node>,
    #[prost(message, repeated, tag = "9")]
    opset_import: Vec<proto::OperatorSet>,
    #[prost(string, tag = "10")]
    domain: String,
    /// Attributes with what they are when a caller leaves them out.
    #[prost(message, repeated, tag = "11")]
    defaults: Vec<proto::Attribute>,
}

/// What the reader of graphs skips of a file.
#[derive(Clone, PartialEq, Message)]
struct Functions {
    #[prost(message, repeated, tag = "25")]
    list: Vec<Function>,
}

/// Reads a file that another runtime is to run; with it come the nodes that it becomes.
///
/// # Errors
/// Naming what is malformed, over a limit, or where it would not be checked.
pub(super) fn check(bytes: &[u8]) -> Result<(proto::Model, usize)> {
    if !is_all_seen(bytes, Inside::Model, 0) {
        return Err(Error::invalid("it holds sparse tensors, a training graph, or lists of tensors or graphs in an attribute"));
    }
    let bytes = Bytes::copy_from_slice(bytes);
    let file = proto::read(bytes.clone())?;
    let functions = Functions::decode(bytes).map_err(|error| Error::invalid("its functions are damaged").because(error))?.list;
    let graph = file.graph.as_ref().ok_or_else(|| Error::invalid("the ONNX file holds no graph"))?;
    rows::inputs(graph)?;
    tensors(&graph.node)?;
    // The nodes of all plans together are counted against the limit.
    let nodes = RefCell::new(0);
    let plan = |opsets: &Opsets, graph: &proto::Graph| -> Result<()> {
        let planner =
            Planner { opsets, ready: RefCell::default(), folded: RefCell::new(0), nodes: RefCell::new(*nodes.borrow()), check: true };
        planner.plan(graph, &[])?;
        *nodes.borrow_mut() = *planner.nodes.borrow();
        Ok(())
    };
    plan(&opsets(&file.opset_import), graph)?;
    for function in &functions {
        let name = |error: Error| error.within(format_args!("function `{}`", shown(&function.name)));
        let info = |name: &String| proto::ValueInfo { name: name.clone(), r#type: None };
        let body = proto::Graph {
            node: function.node.clone(),
            input: function.input.iter().map(info).collect(),
            output: function.output.iter().map(info).collect(),
            ..proto::Graph::default()
        };
        function.defaults.iter().try_for_each(attribute).and_then(|()| tensors(&body.node)).map_err(name)?;
        plan(&opsets(&function.opset_import), &body).map_err(name)?;
    }
    let count = Sizes::new(&functions).of(&graph.node, 0)?;
    Ok((file, count))
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

/// Reads the tensors in the attributes of nodes, also of those whose operator is not known and asks for none.
fn tensors(nodes: &[proto::Node]) -> Result<()> {
    nodes.iter().flat_map(|node| &node.attribute).try_for_each(attribute)
}

fn attribute(attribute: &proto::Attribute) -> Result<()> {
    if let Some(tensor) = &attribute.t {
        match Value::read(tensor) {
            Err(error) if error.kind() != Kind::Unsupported => return Err(error),
            _ => {}
        }
    }
    attribute.g.as_deref().map_or(Ok(()), |body| tensors(&body.node))
}

/// How many nodes a call of each function becomes, since functions call functions.
struct Sizes<'f> {
    /// Functions by domain and name, of which there may be several.
    functions: HashMap<(&'f str, &'f str), Vec<&'f Function>>,
    known: RefCell<HashMap<(&'f str, &'f str), usize>>,
}

impl<'f> Sizes<'f> {
    fn new(list: &'f [Function]) -> Self {
        let mut functions: HashMap<_, Vec<_>> = HashMap::new();
        for function in list {
            functions.entry((function.domain.as_str(), function.name.as_str())).or_default().push(function);
        }
        Self { functions, known: RefCell::default() }
    }

    /// The nodes that `nodes` and their bodies become.
    fn of(&self, nodes: &'f [proto::Node], depth: usize) -> Result<usize> {
        let too_many = || Error::invalid(format!("its functions call each other in a circle, or make more than {NODES_MAX} nodes"));
        if depth > DEPTH_MAX {
            return Err(too_many());
        }
        let mut total = 0usize;
        for node in nodes {
            total += 1;
            for body in node.attribute.iter().filter_map(|attribute| attribute.g.as_deref()) {
                total += self.of(&body.node, depth + 1)?;
            }
            if let Some((&key, called)) = self.functions.get_key_value(&(node.domain.as_str(), node.op_type.as_str())) {
                let known = self.known.borrow().get(&key).copied();
                total += match known {
                    Some(size) => size,
                    None => {
                        let mut size = 0usize;
                        for function in called {
                            size += self.of(&function.node, depth + 1)?;
                        }
                        self.known.borrow_mut().insert(key, size);
                        size
                    }
                };
            }
            if total > NODES_MAX {
                return Err(too_many());
            }
        }
        Ok(total)
    }
}
