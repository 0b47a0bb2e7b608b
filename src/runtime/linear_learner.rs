//! SageMaker's linear learner: `model_algo-1`, a stored ZIP of a symbol graph, an NDArray file and parameters.
//!
//! Only the graphs the algorithm trains are taken: data · weight + bias (as `dot` and `broadcast_add`, or as one
//! `FullyConnected`), then an output operator; anything else is refused by the operator's name. The score is `x·w + b` in `f32`, through sigmoid or softmax where the graph has
//! it. The NDArray layout is MXNet's list format (magic 0x112). Next: `prepared.rs`.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::prepared::{Reader, Writer};
use super::{Classes, Format, Model, Output, Prepared, Schema, Summary, f32s};
use crate::artifact::{Limits, stored_zip};
use crate::codec::pull::{Json, Next, Pull};
use crate::error::{Error, Kind, Result};
use crate::names::{counted, following, shown};
use crate::tensor::{Block, Tensor, ValueKind};

pub(super) const FORMAT: Format = Format { name: "linear-learner", recognises, prepare, load };

/// The most columns times outputs.
const WEIGHTS_MAX: usize = 1 << 28;
const NODES_MAX: usize = 64;
/// The member that holds the graph.
const SYMBOL: &str = "mx-mod-symbol.json";

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Link {
    Identity,
    Logistic,
    Softmax,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    link: Link,
    features: usize,
    outputs: usize,
    /// Scores above it are label 1, for binary classifiers.
    threshold: f32,
    /// Whether answers carry a label.
    labels: bool,
}

#[derive(Debug)]
struct LinearLearner {
    link: Link,
    outputs: usize,
    threshold: f32,
    labels: bool,
    schema: Schema,
    /// `features × outputs`, then `outputs` biases.
    weights: Vec<f32>,
}

fn recognises(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04")
}

/// Whether a ZIP is of another kind: NumPy's and PyTorch's files are ZIPs too.
pub(super) fn is_foreign(bytes: &[u8]) -> bool {
    !bytes.windows(SYMBOL.len()).any(|name| name == SYMBOL.as_bytes())
}

fn prepare(bytes: bytes::Bytes) -> Result<Prepared> {
    let members = stored_zip(&bytes, Limits::default())?;
    let member = |suffix: &str| {
        let found = members.iter().find(|(name, _)| name == suffix).map(|(_, bytes)| *bytes);
        found.ok_or_else(|| Error::invalid(format!("the ZIP has no member `{suffix}`; a linear learner's `model_algo-1` does")))
    };
    let graph = Graph::read(member(SYMBOL)?).map_err(|error| error.within(format_args!("`{SYMBOL}`")))?;
    let arrays = Arrays::read(member("mx-mod-0000.params")?).map_err(|error| error.within("`mx-mod-0000.params`"))?;
    let parameters = Parameters::read(member("additional-params.json")?).map_err(|error| error.within("`additional-params.json`"))?;
    let (weight, bias) = (arrays.named(&graph.weight)?, arrays.named(&graph.bias)?);
    let [features, outputs] = match (weight.shape.as_slice(), graph.by_output) {
        (&[features, outputs], false) | (&[outputs, features], true) => [features, outputs],
        _ => {
            return Err(Error::invalid(format!(
                "array `{}` has {}; it takes 2",
                shown(&graph.weight),
                counted(weight.shape.len(), "dimension")
            )));
        }
    };
    if features == 0 || outputs == 0 || bias.values.len() != outputs {
        return Err(Error::invalid(format!("weight is {features} × {outputs} and bias {} long; they do not fit", bias.values.len())));
    }
    if features > super::pipeline::CELLS_MAX {
        return Err(Error::invalid(format!("the model has {features} features; at most {} can be served", super::pipeline::CELLS_MAX)));
    }
    let expected = match parameters.predictor.as_str() {
        "regressor" => Link::Identity,
        "binary_classifier" => Link::Logistic,
        "multiclass_classifier" => Link::Softmax,
        other => return Err(Error::invalid(format!("predictor_type `{}` is not known", shown(other)))),
    };
    // A hinge loss leaves the margin as it is, so a classifier's graph may end in the identity too.
    let fits = graph.link == expected || (graph.link == Link::Identity && expected != Link::Identity);
    if !fits || (expected == Link::Softmax) == (outputs == 1) {
        return Err(Error::invalid(format!("the graph does not fit predictor_type `{}`", shown(&parameters.predictor))));
    }
    let head = Head { link: graph.link, features, outputs, threshold: parameters.threshold, labels: expected != Link::Identity };
    let slopes: Vec<f32> = if graph.by_output {
        (0..features).flat_map(|feature| weight.values.iter().skip(feature).step_by(features).copied()).collect()
    } else {
        weight.values.clone()
    };
    let weights = [slopes.as_slice(), bias.values.as_slice()].concat();
    if weights.iter().any(|weight| !weight.is_finite()) || !parameters.threshold.is_finite() {
        return Err(Error::invalid("a weight, bias or threshold is no finite number"));
    }
    let mut writer = Writer::new(&head)?;
    writer.array(&weights);
    let core = weights.len() * 4;
    let model = LinearLearner::new(head, weights)?;
    let summary = Summary {
        format: FORMAT.name.to_owned(),
        kind: parameters.predictor,
        library: None,
        features,
        outputs,
        inputs: Vec::new(),
        answers: Vec::new(),
        names: Vec::new(),
        trees: None,
        categories: Vec::new(),
        weight: model.weight(),
        core,
    };
    Ok(Prepared { summary, bytes: writer.finish() })
}

fn load(source: &mut dyn Read, length: u64) -> Result<Box<dyn Model>> {
    let (head, mut reader) = Reader::new::<Head>(source, length)?;
    let weights = reader.array()?;
    Ok(Box::new(LinearLearner::new(head, weights)?))
}

impl LinearLearner {
    fn new(head: Head, weights: Vec<f32>) -> Result<Self> {
        let Head { link, features, outputs, threshold, labels } = head;
        if outputs == 0 || weights.len() != (features + 1) * outputs {
            return Err(Error::new(Kind::Internal, "a prepared form is damaged (its weights); run `rookery verify` on the database"));
        }
        let schema = Schema { absent: 0.0, missing: false, ..Schema::matrix(ValueKind::F32, features, outputs) };
        Ok(Self { link, outputs, threshold, labels, schema, weights })
    }
}

impl Model for LinearLearner {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn raw(&self, input: &[Block]) -> Result<Block> {
        self.linear(f32s(input)?).map(Block::F32)
    }

    fn predict(&self, input: &[Block]) -> Result<Output> {
        let mut scores = self.linear(f32s(input)?)?;
        for row in scores.values_mut().chunks_exact_mut(self.outputs) {
            match self.link {
                Link::Identity => {}
                Link::Logistic => row.iter_mut().for_each(|x| *x = 1.0 / (1.0 + (-*x).exp())),
                Link::Softmax => softmax(row),
            }
        }
        let labels = self.labels.then(|| scores.iter().map(|row| self.label(row)).collect());
        let labels = labels.and_then(|labels| Tensor::new(1, labels)).map(Block::I64);
        let classes = self.labels.then_some(Classes::Counted(self.outputs.max(2)));
        Ok(Output { labels, classes, probabilities: self.link != Link::Identity, ..Output::scores(scores, self.outputs > 1) })
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.weights.capacity() * 4
    }

    fn cost(&self, rows: usize) -> u64 {
        (self.weights.len() * rows) as u64
    }
}

impl LinearLearner {
    /// `x·w + b`, added in column order in `f32`.
    fn linear(&self, input: &Tensor) -> Result<Tensor> {
        let (slopes, biases) = self.weights.split_at(self.weights.len() - self.outputs);
        let mut scores = vec![0.0f32; input.rows() * self.outputs];
        for (row, out) in input.iter().zip(scores.chunks_exact_mut(self.outputs)) {
            for (value, slopes) in row.iter().zip(slopes.chunks_exact(self.outputs)) {
                for (out, slope) in out.iter_mut().zip(slopes) {
                    *out += value * slope;
                }
            }
            for (out, bias) in out.iter_mut().zip(biases) {
                *out += bias;
            }
        }
        Tensor::new(self.outputs, scores).ok_or_else(|| Error::new(Kind::Internal, "scores are no whole rows"))
    }

    fn label(&self, row: &[f32]) -> i64 {
        if let [score] = row {
            return i64::from(*score > self.threshold);
        }
        (0..).zip(row).fold((0, f32::NEG_INFINITY), |best, (at, &value)| if value > best.1 { (at, value) } else { best }).0
    }
}

fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = (*value - largest).exp();
        sum += *value;
    }
    row.iter_mut().for_each(|value| *value /= sum);
}

/// The names of the two arrays and what happens to their sum.
struct Graph {
    weight: String,
    bias: String,
    /// Whether the weights stand output after output, as `FullyConnected` has them, and not feature after feature.
    by_output: bool,
    link: Link,
}

#[derive(Default)]
struct GraphNode {
    op: String,
    name: String,
    inputs: Vec<usize>,
}

impl Graph {
    fn read(text: &[u8]) -> Result<Self> {
        let mut json = Json::new(text);
        let mut nodes = Vec::new();
        json.object(|json, key| {
            if key != "nodes" {
                return json.skip();
            }
            json.array(|json, _| {
                // A trained graph has seven nodes.
                if nodes.len() == NODES_MAX {
                    return Err(json.fail(format_args!("the graph has more than {NODES_MAX} nodes")));
                }
                nodes.push(graph_node(json)?);
                Ok(())
            })
        })?;
        json.end()?;
        let last = nodes.last().ok_or_else(|| Error::invalid("the graph has no node"))?;
        let link = match last.op.as_str() {
            "LinearRegressionOutput" | "MAERegressionOutput" => Link::Identity,
            "LogisticRegressionOutput" => Link::Logistic,
            "SoftmaxOutput" => Link::Softmax,
            other => return Err(operator(other)),
        };
        let input = |node: &GraphNode, at: usize| {
            let found = node.inputs.get(at).and_then(|&at| nodes.get(at));
            found.ok_or_else(|| Error::invalid(format!("node `{}` lacks input {at}", shown(&node.name))))
        };
        let sum = input(last, 0)?;
        let by_output = sum.op == "FullyConnected";
        let (data, weight, bias) = if by_output {
            (input(sum, 0)?, input(sum, 1)?, input(sum, 2)?)
        } else {
            if !matches!(sum.op.as_str(), "broadcast_add" | "broadcast_plus") {
                return Err(operator(&sum.op));
            }
            let (dot, bias) = (input(sum, 0)?, input(sum, 1)?);
            if dot.op != "dot" {
                return Err(operator(&dot.op));
            }
            (input(dot, 0)?, input(dot, 1)?, bias)
        };
        for variable in [data, weight, bias] {
            if variable.op != "null" {
                return Err(operator(&variable.op));
            }
        }
        if data.name != "data" {
            return Err(Error::invalid(format!("the graph multiplies `{}` instead of `data`", shown(&data.name))));
        }
        Ok(Self { weight: weight.name.clone(), bias: bias.name.clone(), by_output, link })
    }
}

fn operator(name: &str) -> Error {
    Error::invalid(format!("the graph has operator `{}` where a linear learner has none; it cannot be served", shown(name)))
}

fn graph_node(json: &mut Json<'_>) -> Result<GraphNode> {
    let mut node = GraphNode::default();
    json.object(|json, key| {
        match key {
            "op" => node.op = json.string()?.into_owned(),
            "name" => node.name = json.string()?.into_owned(),
            "inputs" => json.array(|json, _| {
                // Each input is [node, output, version].
                let parts = json.integers()?;
                let from = parts.first().and_then(|&from| usize::try_from(from).ok());
                node.inputs.push(from.ok_or_else(|| json.fail("an input names no node"))?);
                Ok(())
            })?,
            _ => json.skip()?,
        }
        Ok(())
    })?;
    Ok(node)
}

struct Parameters {
    predictor: String,
    threshold: f32,
}

impl Parameters {
    fn read(text: &[u8]) -> Result<Self> {
        let (mut predictor, mut threshold) = (None, 0.5);
        let mut json = Json::new(text);
        json.object(|json, key| {
            match key {
                "predictor_type" => predictor = Some(json.string()?.into_owned()),
                "threshold" if json.peek()? == Next::Null => json.null()?,
                "threshold" => threshold = json.number().map_err(|error| error.within("`threshold`"))?,
                _ => json.skip()?,
            }
            Ok(())
        })?;
        json.end()?;
        let predictor = predictor.ok_or_else(|| Error::invalid("it has no `predictor_type`"))?;
        Ok(Self { predictor, threshold })
    }
}

/// The arrays of an MXNet NDArray list, with their names.
struct Arrays {
    arrays: Vec<Array>,
    names: Vec<String>,
}

struct Array {
    shape: Vec<usize>,
    values: Vec<f32>,
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or_else(|| Error::invalid("it is truncated"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| Error::invalid("it is truncated"))
    }

    fn long(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.fixed()?))
    }

    fn word(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.fixed()?))
    }
}

impl Arrays {
    fn read(bytes: &[u8]) -> Result<Self> {
        let mut bytes = Bytes(bytes);
        if bytes.long()? != 0x112 || bytes.long()? != 0 {
            return Err(Error::invalid("it is no list of arrays"));
        }
        let count = bytes.long()?;
        if count > 64 {
            return Err(Error::invalid(format!("it holds {count} arrays; a linear learner has two")));
        }
        let mut arrays = Vec::new();
        for _ in 0..count {
            arrays.push(Array::read(&mut bytes)?);
        }
        let named = bytes.long()?;
        if named != count {
            return Err(Error::invalid(format!("it names {named} of its {count} arrays")));
        }
        let mut names = Vec::new();
        for _ in 0..named {
            let length = usize::try_from(bytes.long()?).map_err(|_| Error::invalid("it is truncated"))?;
            names.push(String::from_utf8_lossy(bytes.take(length)?).into_owned());
        }
        if !bytes.0.is_empty() {
            return Err(Error::invalid(format!("{} its last array", following(bytes.0.len()))));
        }
        Ok(Self { arrays, names })
    }

    fn named(&self, name: &str) -> Result<&Array> {
        let at = self.names.iter().position(|other| other.strip_prefix("arg:") == Some(name));
        at.and_then(|at| self.arrays.get(at)).ok_or_else(|| Error::invalid(format!("there is no array `arg:{}`", shown(name))))
    }
}

impl Array {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self> {
        if bytes.word()? != 0xF993_FAC9 {
            return Err(Error::invalid("an array does not begin like one"));
        }
        if bytes.word()? != 0 {
            return Err(Error::invalid("an array is sparse; a linear learner's are dense"));
        }
        let dimensions = bytes.word()?;
        if dimensions > 8 {
            return Err(Error::invalid(format!("an array has {dimensions} dimensions")));
        }
        let (mut shape, mut size) = (Vec::new(), 1usize);
        for _ in 0..dimensions {
            let side = usize::try_from(bytes.long()?).map_err(|_| Error::invalid("an array is too large"))?;
            size = size.checked_mul(side).filter(|&size| size <= WEIGHTS_MAX).ok_or_else(|| Error::invalid("an array is too large"))?;
            shape.push(side);
        }
        let (_device, _id, kind) = (bytes.word()?, bytes.word()?, bytes.word()?);
        if kind != 0 {
            return Err(Error::invalid("an array does not hold 32-bit floats"));
        }
        let raw = bytes.take(size * 4)?;
        Ok(Self { shape, values: raw.as_chunks::<4>().0.iter().map(|word| f32::from_le_bytes(*word)).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::archive::stored_zip;
    use crate::train::linear_learner::arrays;

    fn artifact(nodes: &str, predictor: &str, shape: [usize; 2], weights: &[f32], biases: &[f32]) -> Vec<u8> {
        let params = arrays(&[("arg:b", [1, biases.len()], biases), ("arg:w", shape, weights)]);
        let parameters = format!(r#"{{"predictor_type":"{predictor}"}}"#);
        let graph = format!(r#"{{"nodes":[{nodes}]}}"#);
        let members: [(&str, &[u8]); 3] =
            [("mx-mod-symbol.json", graph.as_bytes()), ("mx-mod-0000.params", &params), ("additional-params.json", parameters.as_bytes())];
        stored_zip(&members).unwrap()
    }

    fn node(op: &str, name: &str, inputs: &[usize]) -> String {
        let inputs: Vec<String> = inputs.iter().map(|from| format!("[{from},0,0]")).collect();
        format!(r#"{{"op":"{op}","name":"{name}","inputs":[{}]}}"#, inputs.join(","))
    }

    fn variables() -> String {
        [node("null", "data", &[]), node("null", "w", &[]), node("null", "b", &[])].join(",")
    }

    fn dot(times: &str, plus: &str, output: &str) -> String {
        format!("{},{},{},{}", variables(), node(times, "t", &[0, 1]), node(plus, "p", &[3, 2]), node(output, "o", &[4]))
    }

    fn answer(bytes: &[u8]) -> Output {
        let prepared = prepare(bytes.to_vec().into()).unwrap();
        let model = load(&mut prepared.bytes.as_slice(), prepared.bytes.len() as u64).unwrap();
        assert_eq!(model.weight(), prepared.summary.weight);
        model.predict(&[Tensor::new(2, vec![1.0f32, 10.0]).unwrap().into()]).unwrap()
    }

    #[test]
    fn classes_are_scored_with_weights_by_feature_and_by_output() {
        let by_feature = dot("dot", "broadcast_add", "SoftmaxOutput");
        let by_output = format!("{},{},{}", variables(), node("FullyConnected", "f", &[0, 1, 2]), node("SoftmaxOutput", "o", &[3]));
        let biases = [0.5, 0.0, -0.5];
        let one = answer(&artifact(&by_feature, "multiclass_classifier", [2, 3], &[1.0, 2.0, 3.0, 0.1, 0.2, 0.0], &biases));
        let other = answer(&artifact(&by_output, "multiclass_classifier", [3, 2], &[1.0, 0.1, 2.0, 0.2, 3.0, 0.0], &biases));
        assert_eq!(one, other);
        // Linear scores are 2.5, 4 and 2.5.
        let chances = one.scores.f32s().unwrap().values();
        let wanted = [(-1.5f32).exp(), 1.0, (-1.5f32).exp()].map(|power| power / (1.0 + 2.0 * (-1.5f32).exp()));
        assert!(one.list && chances.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-6), "{chances:?}");
        assert_eq!(one.labels, Some(Block::I64(Tensor::new(1, vec![1]).unwrap())));
    }

    #[test]
    fn other_graphs_are_refused_by_their_operator() {
        for (nodes, name) in [
            (dot("elemwise_mul", "broadcast_add", "LinearRegressionOutput"), "elemwise_mul"),
            (dot("dot", "elemwise_sub", "LinearRegressionOutput"), "elemwise_sub"),
            (dot("dot", "broadcast_add", "SVMOutput"), "SVMOutput"),
            (dot("dot", "broadcast_add", "Custom"), "Custom"),
            (format!("{},{}", variables(), node("Activation", "o", &[0])), "Activation"),
        ] {
            let refused = prepare(artifact(&nodes, "regressor", [2, 1], &[1.0, 2.0], &[0.0]).into()).unwrap_err();
            assert!(refused.message().contains(&format!("operator `{name}`")), "{refused}");
        }
        let alone = format!("{},{},{}", variables(), node("FullyConnected", "f", &[0, 1]), node("LinearRegressionOutput", "o", &[3]));
        let refused = prepare(artifact(&alone, "regressor", [1, 2], &[1.0, 2.0], &[0.0]).into()).unwrap_err();
        assert!(refused.message().contains("lacks input 2"), "{refused}");
    }
}
