//! The labels that a classifier's graph chooses among, in the order of its scores.
//!
//! A graph says them where it makes its label: in the attributes of a classifier, or in the list that a place is looked
//! up in; casts and reshapes on the way change none of it. Failing that, in the map of scores by label. Where a graph says
//! them nowhere they are not known, and none are made up. Knows no operator's work. Next: `mod.rs`, which asks.

use super::proto;
use super::value::Value;
use crate::tensor::{Block, Tensor, ValueKind};

/// The most nodes between a label and where it comes from.
const STEPS_MAX: usize = 16;

fn maker<'g>(graph: &'g proto::Graph, name: &str) -> Option<&'g proto::Node> {
    graph.node.iter().find(|node| node.output.iter().any(|output| output == name))
}

/// Whether a node hands on the values of its first input as they are, but for their type and shape.
fn hands_on(node: &proto::Node) -> bool {
    matches!(node.op_type.as_str(), "Cast" | "Identity" | "Reshape" | "Squeeze" | "Unsqueeze" | "Flatten")
}

/// A list that does not depend on rows.
fn constant(graph: &proto::Graph, name: &str) -> Option<Value> {
    let mut name = name;
    for _ in 0..STEPS_MAX {
        if let Some(tensor) = graph.initializer.iter().find(|tensor| tensor.name == name) {
            return Value::read(tensor).ok();
        }
        let node = maker(graph, name)?;
        if node.op_type == "Constant" {
            return Value::read(node.attribute.iter().find(|attribute| attribute.name == "value")?.t.as_ref()?).ok();
        }
        name = node.input.first().filter(|_| hands_on(node))?;
    }
    None
}

/// The class labels among a node's attributes.
fn attributes(node: &proto::Node) -> Option<Block> {
    let of = |name: &str| node.attribute.iter().find(|attribute| attribute.name == name);
    if let Some(texts) = of("classlabels_strings").filter(|attribute| !attribute.strings.is_empty()) {
        let texts = texts.strings.iter().map(|text| std::str::from_utf8(text).ok().map(Box::from)).collect::<Option<Vec<Box<str>>>>()?;
        return row(texts);
    }
    row([of("classlabels_ints"), of("classlabels_int64s")].into_iter().flatten().flat_map(|list| &list.ints).copied().collect::<Vec<i64>>())
}

fn row<T>(values: Vec<T>) -> Option<Block>
where
    Tensor<T>: Into<Block>,
{
    Some(Tensor::new(values.len(), values)?.into())
}

fn of_label(graph: &proto::Graph, label: &str) -> Option<Block> {
    let mut name = label;
    for _ in 0..STEPS_MAX {
        let node = maker(graph, name)?;
        match node.op_type.as_str() {
            "LinearClassifier" | "SVMClassifier" | "TreeEnsembleClassifier" => return attributes(node),
            "ArrayFeatureExtractor" | "Gather" => {
                let list = constant(graph, node.input.first()?)?.data;
                return super::block(list.len(), list).ok();
            }
            _ => name = node.input.first().filter(|_| hands_on(node))?,
        }
    }
    None
}

/// Whether the output `scores` is a support vector machine's own for pairs of labels, of which three make three. What a
/// graph makes of them, as one score a label, is not.
pub(super) fn are_paired(graph: &proto::Graph, scores: &str) -> bool {
    let mut name = scores;
    for _ in 0..STEPS_MAX {
        let Some(node) = maker(graph, name) else { return false };
        if node.op_type == "SVMClassifier" {
            let has = |name: &str| node.attribute.iter().any(|one| one.name == name && !(one.ints.is_empty() && one.floats.is_empty()));
            return has("vectors_per_class") && !has("prob_a");
        }
        let Some(next) = node.input.first().filter(|_| hands_on(node) || node.op_type == "ZipMap") else { return false };
        name = next;
    }
    false
}

/// The labels behind the outputs `label` and `scores`, as one row of `kind`.
pub(super) fn classes(graph: &proto::Graph, label: &str, scores: &str, kind: ValueKind) -> Option<Block> {
    let map = || maker(graph, scores).filter(|node| node.op_type == "ZipMap").and_then(attributes);
    of_label(graph, label).or_else(map)?.to(kind)
}

/// For each output that is a map of scores by label, where in the sorted labels those of the graph's own order stand: whoever
/// makes such maps sorts them.
#[cfg(feature = "onnxruntime")]
pub(super) fn orders(graph: &proto::Graph) -> Vec<Option<Vec<usize>>> {
    fn ranks<T: Ord>(labels: &[T]) -> Option<Vec<usize>> {
        let mut sorted: Vec<&T> = labels.iter().collect();
        sorted.sort_unstable();
        labels.iter().map(|label| sorted.binary_search(&label).ok()).collect()
    }
    let order = |info: &proto::ValueInfo| match attributes(maker(graph, &info.name).filter(|node| node.op_type == "ZipMap")?)? {
        Block::Text(labels) => ranks(labels.values()),
        Block::I64(labels) => ranks(labels.values()),
        _ => None,
    };
    graph.output.iter().map(order).collect()
}
