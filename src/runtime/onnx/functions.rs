//! Functions of the model's own, written out where they are called.
//!
//! A call becomes the function's nodes with names of their own; what it hands in and takes out keeps the caller's names.
//! So nothing behind this knows functions. A function that calls itself, calls that nest too deep and calls that grow
//! into too many nodes or bytes are refused. Must not know any operator. Next: `graph.rs`.

use std::collections::{HashMap, HashSet};

use prost::Message;

use super::proto;
use crate::error::{Error, Result};
use crate::names::shown;

/// The deepest call in a call.
const DEPTH_MAX: usize = 32;
/// The most nodes after writing out, and about how many bytes they may take.
const NODES_MAX: usize = 100_000;
const BYTES_MAX: usize = 128 << 20;
/// The most functions of a model.
const FUNCTIONS_MAX: usize = 4096;
/// The attribute by which a node says that its operator set is not the model's.
pub(super) const OPSET: &str = "rookery_opset";

type Key<'m> = (&'m str, &'m str, &'m str);

fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

fn key(node: &proto::Node) -> Key<'_> {
    (domain(&node.domain), &node.op_type, &node.overload)
}

fn grown() -> Error {
    Error::invalid("its functions, written out where they are called, grow too large to be served")
}

/// What a node takes in memory beside its bytes, as when a file is weighed.
fn size(node: &proto::Node, longest: usize) -> usize {
    let each = proto::STRING + longest;
    let mut size = proto::MESSAGE * (2 + node.attribute.len()) + each * (1 + node.input.len() + node.output.len());
    for attribute in &node.attribute {
        size = size.saturating_add(proto::STRING * attribute.strings.len());
        if let Some(body) = &attribute.g {
            let names = body.input.len() + body.output.len() + body.initializer.len();
            size = size.saturating_add((proto::MESSAGE + each).saturating_mul(names));
            size = body.node.iter().fold(size, |size, node| size.saturating_add(self::size(node, longest)));
        }
    }
    size
}

struct Writer<'m> {
    functions: &'m [proto::Function],
    /// Places among them.
    names: HashMap<Key<'m>, usize>,
    calls: usize,
    nodes: usize,
    bytes: usize,
}

/// What names within a call become.
struct Scope<'s> {
    /// Names that the caller gave.
    given: HashMap<&'s str, String>,
    prefix: String,
    /// The caller's attributes and, behind them, what the function says they are otherwise.
    attributes: Vec<&'s proto::Attribute>,
    /// The operator sets that the function imports.
    opsets: &'s [proto::OperatorSet],
    /// For messages.
    caller: String,
}

impl Scope<'_> {
    fn name(&self, name: &str) -> String {
        match self.given.get(name) {
            Some(given) => given.clone(),
            None if name.is_empty() => String::new(),
            None => format!("{}{name}", self.prefix),
        }
    }
}

/// Writes out every call in the model's graph; the model holds no functions afterwards.
///
/// # Errors
/// Naming the function that calls itself, is there twice, or grows too large.
pub(super) fn write_out(model: &mut proto::Model) -> Result<()> {
    let functions = std::mem::take(&mut model.functions);
    if functions.is_empty() {
        return Ok(());
    }
    if functions.len() > FUNCTIONS_MAX {
        return Err(Error::invalid(format!("the model has more than {FUNCTIONS_MAX} functions")));
    }
    let mut known = HashMap::new();
    for (at, function) in functions.iter().enumerate() {
        if known.insert((domain(&function.domain), function.name.as_str(), function.overload.as_str()), at).is_some() {
            return Err(Error::invalid(format!("two functions are called `{}`", shown(&function.name))));
        }
    }
    let mut writer = Writer { functions: &functions, names: known, calls: 0, nodes: 0, bytes: 0 };
    if let Some(graph) = &mut model.graph {
        let nodes = std::mem::take(&mut graph.node);
        graph.node = writer.nodes(nodes, &mut Vec::new())?;
    }
    Ok(())
}

impl Writer<'_> {
    /// Counts a node before it is copied; each name it holds may become as long as `longest` more.
    fn count(&mut self, node: &proto::Node, longest: usize) -> Result<()> {
        let size = node.encoded_len().saturating_add(size(node, longest));
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > BYTES_MAX { Err(grown()) } else { Ok(()) }
    }

    /// The nodes with calls written out, bodies included.
    fn nodes(&mut self, nodes: Vec<proto::Node>, open: &mut Vec<usize>) -> Result<Vec<proto::Node>> {
        let mut made = Vec::with_capacity(nodes.len());
        for mut node in nodes {
            let found = self.names.get(&key(&node)).copied();
            if let Some((at, function)) = found.and_then(|at| Some((at, self.functions.get(at)?))) {
                let wrap = |error: Error| error.within(super::graph::place(&node));
                if open.contains(&at) {
                    return Err(wrap(Error::invalid("it is a function that calls itself")));
                }
                if open.len() == DEPTH_MAX {
                    return Err(wrap(Error::invalid(format!("functions call functions deeper than {DEPTH_MAX} levels"))));
                }
                open.push(at);
                let body = self.call(&node, function).map_err(wrap)?;
                made.extend(self.nodes(body, open)?);
                open.pop();
                continue;
            }
            self.nodes += 1;
            if self.nodes > NODES_MAX {
                return Err(grown());
            }
            for attribute in &mut node.attribute {
                if let Some(body) = &mut attribute.g {
                    let nodes = std::mem::take(&mut body.node);
                    body.node = self.nodes(nodes, open)?;
                }
            }
            made.push(node);
        }
        Ok(made)
    }

    /// A function's nodes as a call has them.
    fn call(&mut self, node: &proto::Node, function: &proto::Function) -> Result<Vec<proto::Node>> {
        if node.input.len() > function.input.len() || node.output.len() > function.output.len() {
            return Err(Error::invalid(format!(
                "it hands in {} and takes out {} values; the function has {} and {}",
                node.input.len(),
                node.output.len(),
                function.input.len(),
                function.output.len()
            )));
        }
        self.calls += 1;
        let mut scope = Scope {
            given: HashMap::new(),
            prefix: format!("rookery.call{}.", self.calls),
            attributes: node.attribute.iter().chain(&function.attribute_proto).map(|attribute| &**attribute).collect(),
            opsets: &function.opset_import,
            caller: shown(if node.name.is_empty() { &node.op_type } else { &node.name }),
        };
        for (at, name) in function.input.iter().enumerate() {
            if scope.given.insert(name, node.input.get(at).cloned().unwrap_or_default()).is_some() {
                return Err(Error::invalid(format!("two inputs of the function are called `{}`", shown(name))));
            }
        }
        // What is handed through, or out twice, is copied; else the function's nodes make what the caller reads.
        let own: HashSet<&str> = function.node.iter().flat_map(|node| node.output.iter().map(String::as_str)).collect();
        let mut copies = Vec::new();
        for (from, to) in function.output.iter().zip(&node.output).filter(|(_, to)| !to.is_empty()) {
            if own.contains(from.as_str()) && !scope.given.contains_key(from.as_str()) {
                scope.given.insert(from, to.clone());
            } else {
                copies.push((scope.name(from), to.clone()));
            }
        }
        let longest = scope.given.values().map(String::len).max().unwrap_or(0) + scope.prefix.len() + scope.caller.len();
        let mut made = Vec::with_capacity(function.node.len() + copies.len());
        for inner in &function.node {
            self.count(inner, longest)?;
            made.push(scope.node(inner));
        }
        made.extend(copies.into_iter().map(|(from, to)| proto::Node {
            input: vec![from],
            output: vec![to],
            op_type: "Identity".to_owned(),
            ..proto::Node::default()
        }));
        Ok(made)
    }
}

impl Scope<'_> {
    fn node(&self, inner: &proto::Node) -> proto::Node {
        let names = |list: &[String]| list.iter().map(|name| self.name(name)).collect();
        let mut node = proto::Node {
            input: names(&inner.input),
            output: names(&inner.output),
            name: format!("{}/{}", self.caller, if inner.name.is_empty() { &inner.op_type } else { &inner.name }),
            op_type: inner.op_type.clone(),
            attribute: Vec::with_capacity(inner.attribute.len() + 1),
            domain: inner.domain.clone(),
            overload: inner.overload.clone(),
        };
        for attribute in &inner.attribute {
            if attribute.name == OPSET {
                continue;
            }
            if attribute.ref_attr_name.is_empty() {
                let body = attribute.g.as_deref().map(|body| self.body(body));
                node.attribute.push(proto::Attribute { g: body.map(Box::new), ..(**attribute).clone() }.into());
            } else if let Some(given) = self.attributes.iter().find(|given| given.name == attribute.ref_attr_name) {
                node.attribute.push(proto::Attribute { name: attribute.name.clone(), ..(*given).clone() }.into());
            }
        }
        if let Some(set) = self.opsets.iter().find(|set| domain(&set.domain) == domain(&inner.domain)) {
            node.attribute.push(proto::Attribute { name: OPSET.to_owned(), i: set.version, ..proto::Attribute::default() }.into());
        }
        node
    }

    fn body(&self, body: &proto::Graph) -> proto::Graph {
        let infos = |list: &[proto::ValueInfo]| {
            list.iter().map(|info| proto::ValueInfo { name: self.name(&info.name), r#type: info.r#type.clone() }).collect()
        };
        let weight = |tensor: &proto::Tensor| proto::Tensor { name: self.name(&tensor.name), ..tensor.clone() };
        proto::Graph {
            node: body.node.iter().map(|node| self.node(node)).collect(),
            initializer: body.initializer.iter().map(weight).collect(),
            input: infos(&body.input),
            output: infos(&body.output),
            sparse_initializer: body.sparse_initializer.clone(),
        }
    }
}
