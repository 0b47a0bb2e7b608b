//! ONNX models: the graphs of skl2onnx, onnxmltools and small neural networks, run by an interpreter of typed operators.
//!
//! `proto.rs` reads the file, `graph.rs` turns it into a plan, `ops/`, `ml/` and `text/` hold the operators. Here a graph becomes
//! a [`Model`]: its inputs are the schema's parts, its outputs are told apart into labels, scores and extras by a trial
//! run on one and two rows, which also tells what a row costs. The prepared form is the graph without what is not
//! needed, with its tree ensembles laid out flat beside it. Next: `graph.rs`.

mod classes;
mod functions;
mod fuse;
mod graph;
mod meter;
mod ml;
mod node;
mod ops;
mod proto;
mod text;
mod value;

use std::cell::RefCell;
use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use self::graph::{Opsets, Plan, Planner, Slot};
use self::meter::{Meter, STEPS_PER_NANO};
pub(super) use self::proto::may_begin;
use self::value::{Data, Shape, Value, View, fault};
use super::pipeline::CELLS_MAX;
use super::prepared::{Reader, Writer};
use super::trees::Ensemble;
use super::{Answered, Classes, Extra, Format, Model, Output, Prepared, Schema, Summary};
use crate::error::{Error, Kind, Result};
use crate::names::shown;
use crate::tensor::{Block, Part, Tensor, ValueKind};

pub(super) const FORMAT: Format = Format { name: "onnx", recognises: proto::recognises, prepare, load };

/// The most inputs and outputs of a graph.
const PARTS_MAX: usize = 4096;
/// The most operator sets, which every node is looked up in.
const OPSETS_MAX: usize = 256;

/// What the prepared form says before the graph.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Head {
    /// Whether rows are worked on together; else one after the other.
    together: bool,
    /// Columns of each output.
    columns: Vec<usize>,
    /// Values held per row on the way.
    spread: usize,
    /// Nanoseconds of a run without rows, and of each row.
    fixed: u64,
    each: u64,
    /// Width and outputs of each tree ensemble behind the graph.
    ensembles: Vec<(usize, usize)>,
    /// The type of each output; only told when the model is prepared.
    #[serde(skip)]
    kinds: Vec<ValueKind>,
}

/// An input of the graph.
#[derive(Debug)]
struct Input {
    /// Axes behind the rows.
    tail: Shape,
    /// Whether whole numbers are 32 bits wide in the graph.
    narrow: bool,
    kind: ValueKind,
}

/// What an output is answered as.
#[derive(Debug, Clone, PartialEq)]
enum Role {
    Labels,
    Scores { list: bool },
    Extra(Box<str>),
}

#[derive(Debug)]
struct Onnx {
    plan: Plan,
    inputs: Vec<Input>,
    roles: Vec<Role>,
    /// The labels there are, of a classifier that says them.
    classes: Option<Arc<Block>>,
    schema: Schema,
    head: Head,
}

fn kind_of(element: i32) -> Option<ValueKind> {
    Some(match element {
        1 => ValueKind::F32,
        11 => ValueKind::F64,
        6 | 7 => ValueKind::I64,
        9 => ValueKind::Bool,
        8 => ValueKind::Text,
        _ => return None,
    })
}

/// The inputs that requests fill, and whether any is made for a single row.
fn inputs(graph: &proto::Graph) -> Result<(Vec<Input>, Vec<Part>, bool)> {
    let (mut inputs, mut parts, mut single) = (Vec::new(), Vec::new(), false);
    let constant: std::collections::HashSet<&str> = graph.initializer.iter().map(|tensor| tensor.name.as_str()).collect();
    for info in graph.input.iter().filter(|info| !constant.contains(info.name.as_str())) {
        let refuse = |why: &str| Error::invalid(format!("input `{}` {why}", shown(&info.name)));
        let Some(tensor) = info.r#type.as_ref().and_then(|r#type| r#type.tensor.as_ref()) else {
            return Err(refuse("is a map, a sequence or of no type; rows of numbers or text are taken"));
        };
        let kind = kind_of(tensor.element).ok_or_else(|| {
            refuse(&format!("is of ONNX type {}; float, double, int64, int32, bool and string are taken", tensor.element))
        })?;
        let shape = tensor.shape.as_ref().ok_or_else(|| refuse("has no shape; export the model with one"))?;
        let Some((rows, tail)) = shape.dim.split_first() else { return Err(refuse("is a single value, not rows")) };
        match rows.value {
            None | Some(-1 | 0) => {}
            Some(1) if !tail.is_empty() => single = true,
            Some(count) => return Err(refuse(&format!("is made for {count} rows at once; export the model with a free first dimension"))),
        }
        let mut sides = Shape::new();
        let mut columns = 1usize;
        for dim in tail {
            let side = dim.value.and_then(|side| usize::try_from(side).ok()).filter(|&side| side > 0).ok_or_else(|| {
                let name = dim.param.as_deref().map_or_else(|| "?".to_owned(), shown);
                refuse(&format!("has the free dimension `{name}` beside its rows; export the model with it fixed"))
            })?;
            columns = columns.checked_mul(side).filter(|&columns| columns <= CELLS_MAX).ok_or_else(|| refuse("is too large"))?;
            sides.push(side);
        }
        if inputs.len() == PARTS_MAX || sides.len() + 1 > value::RANK_MAX {
            return Err(refuse("is one too many or has too many dimensions"));
        }
        inputs.push(Input { tail: sides, narrow: tensor.element == 6, kind });
        parts.push(Part { name: info.name.as_str().into(), kind, columns });
    }
    if parts.is_empty() {
        return Err(Error::invalid("the graph has no input"));
    }
    if graph.output.is_empty() || graph.output.len() > PARTS_MAX {
        return Err(Error::invalid(format!("the graph has {} outputs; 1 to {PARTS_MAX} can be served", graph.output.len())));
    }
    Ok((inputs, parts, single))
}

fn opsets(model: &proto::Model) -> Opsets {
    let mut list: Vec<(String, i64)> = model.opset_import.iter().map(|set| (set.domain.clone(), set.version)).collect();
    // Graphs may use these without naming them.
    for (domain, version) in [("ai.onnx.ml", 1), ("com.microsoft", 1), ("", 1)] {
        if !list.iter().any(|(name, _)| name == domain || (domain.is_empty() && name == "ai.onnx")) {
            list.push((domain.to_owned(), version));
        }
    }
    Opsets(list)
}

fn plan(model: &proto::Model, ready: Vec<Ensemble>) -> Result<Plan> {
    let graph = model.graph.as_ref().ok_or_else(|| Error::invalid("the ONNX file holds no graph"))?;
    if model.opset_import.is_empty() {
        return Err(Error::invalid("the ONNX file does not say which operator sets it uses"));
    }
    if model.opset_import.len() > OPSETS_MAX {
        return Err(Error::invalid(format!("the ONNX file imports more than {OPSETS_MAX} operator sets")));
    }
    let opsets = opsets(model);
    let ready = RefCell::new(ready.into_iter().map(Some).collect());
    Planner { opsets: &opsets, ready, folds: RefCell::default(), nodes: RefCell::new(0) }.plan(graph, &[])
}

/// Leaves out what the plan keeps in flat form, and says where it is.
fn slim(graph: &mut proto::Graph, ensembles: &[(String, Vec<i64>)]) {
    let mut left: Vec<Option<&(String, Vec<i64>)>> = ensembles.iter().map(Some).collect();
    for node in &mut graph.node {
        node.attribute.retain(|attribute| attribute.name != ops::FLAT);
        if !node.op_type.starts_with("TreeEnsemble") {
            continue;
        }
        let place = graph::place(node);
        let found = left.iter().position(|entry| entry.is_some_and(|(name, _)| *name == place));
        let Some((at, (_, marks))) = found.and_then(|at| Some((at, left.get_mut(at)?.take()?))) else { continue };
        node.attribute.retain(|attribute| !ml::is_of_trees(&attribute.name));
        let flat = proto::Attribute {
            name: ops::FLAT.to_owned(),
            i: i64::try_from(at).unwrap_or(i64::MAX),
            ints: marks.clone(),
            ..proto::Attribute::default()
        };
        node.attribute.push(flat.into());
    }
}

fn prepare(bytes: Bytes) -> Result<Prepared> {
    let mut model = proto::read(bytes)?;
    functions::write_out(&mut model)?;
    // Names are how flat trees find their node again; without one a node gets its place.
    if let Some(graph) = &mut model.graph {
        let mut seen = std::collections::HashSet::new();
        for (at, node) in graph.node.iter_mut().enumerate() {
            node.attribute.retain(|attribute| attribute.name != ops::FLAT && !ml::is_idle(attribute));
            if node.op_type.starts_with("TreeEnsemble") && (node.name.is_empty() || !seen.insert(node.name.clone())) {
                node.name = format!("{}#{at}", node.name);
            }
        }
    }
    let mut plan = plan(&model, Vec::new())?;
    let Some(graph) = &mut model.graph else { return Err(Error::invalid("the ONNX file holds no graph")) };
    // What is the same for all rows, a list of class labels say, is no answer to one.
    let varying = plan.varying();
    if varying.contains(&true) {
        plan.keep_outputs(&varying);
        let mut marks = varying.iter();
        graph.output.retain(|_| marks.next() == Some(&true));
    }
    let (inputs, parts, single) = inputs(graph)?;
    let mut head = trial(&plan, &inputs, &parts, graph, single)?;
    let kept: Vec<(&Ensemble, (String, Vec<i64>))> =
        plan.ensembles().map(|(ensemble, marks, place)| (ensemble, (place.to_owned(), marks))).collect();
    let trees = kept.iter().map(|(ensemble, _)| ensemble.trees()).sum::<usize>();
    let core = kept.iter().map(|(ensemble, _)| ensemble.node_bytes()).sum::<usize>();
    head.ensembles = kept.iter().map(|(ensemble, _)| (ensemble.features(), ensemble.groups())).collect();
    let names: Vec<(String, Vec<i64>)> = kept.iter().map(|(_, name)| name.clone()).collect();
    slim(graph, &names);
    let mut writer = Writer::new(&head)?;
    writer.array(&model.encode_to_vec());
    for (ensemble, _) in &kept {
        ensemble.write(&mut writer);
    }
    let (prepared, library) = (writer.finish(), library(&model));
    let outputs: Vec<Box<str>> = model.graph.iter().flat_map(|graph| &graph.output).map(|info| info.name.as_str().into()).collect();
    // Gone before the loaded form is there too.
    drop((kept, model));
    drop(plan);
    // Loaded once here, so that what was written is known to load and its weight is the weight.
    let loaded = read(&mut prepared.as_slice(), prepared.len() as u64)?;
    let kind = match (&loaded.roles, trees) {
        (roles, _) if roles.contains(&Role::Labels) => "classifier",
        (roles, _) if roles.contains(&Role::Scores { list: false }) => "regressor",
        _ => "transformer",
    };
    let answers = outputs.into_iter().zip(&loaded.roles).zip(head.columns.iter().zip(&head.kinds));
    let answers = answers.map(|((name, role), (&columns, &kind))| {
        let answered = match role {
            Role::Labels => "predicted_label",
            Role::Scores { .. } => "score",
            Role::Extra(own) => own,
        };
        Answered { name, answered: answered.into(), kind, columns }
    });
    let summary = Summary {
        answers: answers.collect(),
        format: FORMAT.name.to_owned(),
        kind: kind.to_owned(),
        library,
        features: loaded.schema.features,
        outputs: loaded.schema.outputs,
        names: loaded.schema.names.to_vec(),
        inputs: loaded.schema.parts.to_vec(),
        trees: (trees > 0).then_some(trees),
        weight: loaded.weight(),
        core: if core > 0 { core } else { loaded.plan.weight() },
    };
    Ok(Prepared { summary, bytes: prepared })
}

fn library(model: &proto::Model) -> Option<String> {
    let text = format!("{} {}", model.producer_name, model.producer_version);
    (!text.trim().is_empty()).then(|| text.trim().chars().filter(|c| !c.is_control()).take(80).collect())
}

fn load(source: &mut dyn Read, length: u64) -> Result<Box<dyn Model>> {
    Ok(Box::new(read(source, length)?))
}

fn read(source: &mut dyn Read, length: u64) -> Result<Onnx> {
    let (head, mut reader) = Reader::new::<Head>(source, length)?;
    let bytes: Vec<u8> = reader.array()?;
    let ensembles =
        head.ensembles.iter().map(|&(features, groups)| Ensemble::read(&mut reader, features, groups)).collect::<Result<_>>()?;
    let model = proto::read(bytes.into())?;
    let plan = plan(&model, ensembles)?;
    let Some(graph) = &model.graph else { return Err(Error::invalid("the ONNX file holds no graph")) };
    let (inputs, parts, _) = inputs(graph)?;
    Onnx::new(plan, inputs, parts, graph, head)
}

/// Rows of nothing in particular: small numbers, the empty text.
fn nothing(kind: ValueKind, count: usize) -> Data {
    match kind {
        ValueKind::F32 => Data::F32(vec![0.5; count]),
        ValueKind::F64 => Data::F64(vec![0.5; count]),
        ValueKind::I64 => Data::I64(vec![0; count]),
        ValueKind::Bool => Data::Bool(vec![false; count]),
        ValueKind::Text => Data::Text(vec!["".into(); count]),
    }
}

/// Runs the graph on one row and on two, to see what its outputs look like and what a row costs.
fn trial(plan: &Plan, inputs: &[Input], parts: &[Part], graph: &proto::Graph, single: bool) -> Result<Head> {
    let run = |rows: usize, spent: u64| {
        let meter = Meter::trial(spent);
        let data: Vec<Data> = parts
            .iter()
            .zip(inputs)
            .map(|(part, input)| match nothing(part.kind, rows * part.columns) {
                Data::I64(list) if input.narrow => Data::I32(list.iter().map(|&x| x as i32).collect()),
                data => data,
            })
            .collect();
        let slots = data.iter().zip(inputs).map(|(data, input)| Slot::Lent(input.shape(rows), data.view()));
        plan.run(slots, &meter).map(|values| (values, meter))
    };
    let (one, first) = run(1, 0).map_err(|error| error.within("a trial row could not be answered").as_kind(Kind::Validation))?;
    let mut columns = Vec::with_capacity(one.len());
    for (value, info) in one.iter().zip(&graph.output) {
        let count = value.data.len();
        if count == 0 || value.shape.first().is_some_and(|&rows| rows != 1) {
            let text = format!(
                "output `{}` has shape {:?} for one row; its first dimension must be the rows, so that each row has its own \
                 answer: export the model without it, or each of its estimators by itself",
                shown(&info.name),
                value.shape.as_slice()
            );
            return Err(Error::invalid(text));
        }
        columns.push(count);
    }
    let second = if single { None } else { run(2, first.steps()).ok() };
    let second = second.filter(|(two, _)| {
        two.iter().zip(&columns).all(|(value, &columns)| value.shape.first() == Some(&2) && value.data.len() == 2 * columns)
    });
    let work = Meter::steps;
    let (each, spread) = match &second {
        Some((_, meter)) => (work(meter).saturating_sub(work(&first)), meter.peak().saturating_sub(first.peak())),
        None => (work(&first) + 50 * plan.steps() as u64, first.peak()),
    };
    let total: usize = columns.iter().sum();
    Ok(Head {
        together: second.is_some(),
        spread: spread.max(total).max(1),
        columns,
        fixed: 500 + 100 * plan.steps() as u64 + work(&first).saturating_sub(each) / STEPS_PER_NANO,
        each: each.div_ceil(STEPS_PER_NANO).max(1),
        ensembles: Vec::new(),
        kinds: one.iter().map(|value| value.data.kind()).collect(),
    })
}

impl Input {
    fn shape(&self, rows: usize) -> Shape {
        let mut shape: Shape = SmallVec::new();
        shape.push(rows);
        shape.extend_from_slice(&self.tail);
        shape
    }

    /// A block's values as the graph takes them: lent, or made narrow.
    fn slot<'a>(&self, block: &'a Block, first: usize, rows: usize) -> Result<Slot<'a>> {
        fn cut<T>(tensor: &Tensor<T>, first: usize, rows: usize) -> &[T] {
            let columns = tensor.columns();
            tensor.values().get(first * columns..(first + rows) * columns).unwrap_or_default()
        }
        let other = || Error::new(Kind::Internal, "a graph was handed a block of another type");
        let view = match block {
            _ if block.kind() != self.kind => return Err(other()),
            Block::F32(tensor) => View::F32(cut(tensor, first, rows)),
            Block::F64(tensor) => View::F64(cut(tensor, first, rows)),
            Block::I64(tensor) if self.narrow => {
                let narrow = |&x: &i64| i32::try_from(x).map_err(|_| fault(format!("{x} does not fit 32 bits, which the model takes")));
                let list = cut(tensor, first, rows).iter().map(narrow).collect::<Result<Vec<i32>>>()?;
                return Ok(Slot::Owned(Value::new(self.shape(rows), list)));
            }
            Block::I64(tensor) => View::I64(cut(tensor, first, rows)),
            Block::Bool(tensor) => View::Bool(cut(tensor, first, rows)),
            Block::Text(tensor) => View::Text(cut(tensor, first, rows)),
        };
        Ok(Slot::Lent(self.shape(rows), view))
    }
}

/// The columns' names: an input's own where it is one column, else with a number behind it; none for one matrix.
fn names(parts: &[Part]) -> Vec<Box<str>> {
    match parts {
        [part] if part.columns > 1 => Vec::new(),
        parts if parts.iter().map(|part| part.columns).sum::<usize>() > 1 << 16 => Vec::new(),
        parts => parts
            .iter()
            .flat_map(|part| {
                (0..part.columns).map(|at| if part.columns == 1 { part.name.clone() } else { format!("{}_{at}", part.name).into() })
            })
            .collect(),
    }
}

impl Onnx {
    fn new(plan: Plan, inputs: Vec<Input>, parts: Vec<Part>, graph: &proto::Graph, head: Head) -> Result<Self> {
        let damaged = || Error::new(Kind::Internal, "a prepared form is damaged (its outputs); run `rookery verify` on the database");
        if head.columns.len() != graph.output.len() || head.columns.contains(&0) {
            return Err(damaged());
        }
        let elements: Vec<Option<i32>> = graph.output.iter().map(|info| Some(info.r#type.as_ref()?.tensor.as_ref()?.element)).collect();
        let roles = roles(graph, &elements, &head.columns);
        let at = roles.iter().position(|role| matches!(role, Role::Scores { .. })).ok_or_else(damaged)?;
        let outputs = head.columns.get(at).copied().ok_or_else(damaged)?;
        let features =
            parts.iter().map(|part| part.columns).try_fold(0usize, |sum, columns| sum.checked_add(columns).filter(|&sum| sum <= CELLS_MAX));
        let features = features.ok_or_else(|| Error::invalid("the graph takes too many columns"))?;
        let spread = head.spread.max(1);
        let name = |wanted: &dyn Fn(&Role) -> bool| Some(graph.output.get(roles.iter().position(wanted)?)?.name.as_str());
        let label = name(&|role| *role == Role::Labels).zip(name(&|role| matches!(role, Role::Scores { .. })));
        let kind = roles.iter().position(|role| *role == Role::Labels).and_then(|at| kind_of(elements.get(at).copied().flatten()?));
        let classes = label.zip(kind).and_then(|((label, scores), kind)| classes::classes(graph, label, scores, kind)).map(Arc::new);
        let schema = Schema { names: names(&parts).into(), parts: parts.into(), features, outputs, spread, absent: 0.0, missing: true };
        Ok(Self { plan, inputs, roles, classes, schema, head })
    }

    fn values(&self, input: &[Block], first: usize, rows: usize, meter: &Meter) -> Result<SmallVec<[Value; 2]>> {
        let slots = self.inputs.iter().zip(input).map(|(input, block)| input.slot(block, first, rows));
        let slots = slots.collect::<Result<SmallVec<[Slot<'_>; 8]>>>()?;
        let values = self.plan.run(slots, meter)?;
        for (value, columns) in values.iter().zip(&self.head.columns) {
            if value.data.len() != rows * columns {
                let text = format!("the graph gave an array of shape {:?} for {rows} rows of {columns} values", value.shape.as_slice());
                return Err(fault(text));
            }
        }
        Ok(values)
    }
}

/// Labels are whole numbers or text of one column before scores of numbers; what is left goes by its name.
fn roles(graph: &proto::Graph, elements: &[Option<i32>], columns: &[usize]) -> Vec<Role> {
    // A map or sequence, which has no element type, is what scores by label become.
    let is_label = |at: usize| matches!(elements.get(at), Some(Some(6..=9))) && columns.get(at) == Some(&1);
    let is_number = |at: usize| matches!(elements.get(at), Some(None | Some(1 | 11 | 0)));
    let scores = (0..columns.len()).find(|&at| is_number(at));
    let labels = scores.and_then(|_| (0..columns.len()).find(|&at| is_label(at)));
    let scores = scores.unwrap_or(0);
    graph
        .output
        .iter()
        .enumerate()
        .map(|(at, info)| {
            if Some(at) == labels {
                Role::Labels
            } else if at == scores {
                Role::Scores { list: labels.is_some() || columns.get(at) != Some(&1) }
            } else {
                Role::Extra(info.name.as_str().into())
            }
        })
        .collect()
}

fn block(columns: usize, data: Data) -> Result<Block> {
    let whole = || Error::new(Kind::Internal, "a graph's output is no whole rows");
    Ok(match data {
        Data::F32(list) => Tensor::new(columns, list).ok_or_else(whole)?.into(),
        Data::F64(list) => Tensor::new(columns, list).ok_or_else(whole)?.into(),
        Data::I64(list) => Tensor::new(columns, list).ok_or_else(whole)?.into(),
        Data::I32(list) => Tensor::new(columns, list.into_iter().map(i64::from).collect::<Vec<i64>>()).ok_or_else(whole)?.into(),
        Data::Bool(list) => Tensor::new(columns, list).ok_or_else(whole)?.into(),
        Data::Text(list) => Tensor::new(columns, list).ok_or_else(whole)?.into(),
    })
}

/// Whether every number could be a probability.
fn are_shares(scores: &Tensor) -> bool {
    scores.values().iter().all(|score| (-1e-6..=1.0 + 1e-6).contains(score))
}

fn append(all: &mut Data, more: Data) -> Result<()> {
    match (all, more) {
        (Data::F32(all), Data::F32(more)) => all.extend(more),
        (Data::F64(all), Data::F64(more)) => all.extend(more),
        (Data::I64(all), Data::I64(more)) => all.extend(more),
        (Data::I32(all), Data::I32(more)) => all.extend(more),
        (Data::Bool(all), Data::Bool(more)) => all.extend(more),
        (Data::Text(all), Data::Text(more)) => all.extend(more),
        _ => return Err(fault("the graph gives other types for other rows")),
    }
    Ok(())
}

impl Onnx {
    fn answer(&self, input: &[Block], meter: &Meter) -> Result<Output> {
        let rows = input.first().map_or(0, Block::rows);
        let fits = input.len() == self.inputs.len()
            && input.iter().zip(&self.schema.parts).all(|(block, part)| block.rows() == rows && block.columns() == part.columns);
        if !fits || rows == 0 {
            return Err(Error::new(Kind::Internal, "a graph was handed blocks of another shape"));
        }
        let values: SmallVec<[Data; 2]> = if self.head.together {
            self.values(input, 0, rows, meter)?.into_iter().map(|value| value.data).collect()
        } else {
            let mut all: SmallVec<[Data; 2]> = self.values(input, 0, 1, meter)?.into_iter().map(|value| value.data).collect();
            for row in 1..rows {
                for (all, more) in all.iter_mut().zip(self.values(input, row, 1, meter)?) {
                    meter.hold(more.data.len())?;
                    append(all, more.data)?;
                }
            }
            all
        };
        let (mut scores, mut list, mut labels, mut extras) = (None, false, None, Vec::new());
        for ((data, role), &columns) in values.into_iter().zip(&self.roles).zip(&self.head.columns) {
            let block = block(columns, data)?;
            match role {
                Role::Labels => labels = Some(block),
                Role::Scores { list: is_list } => (scores, list) = (Some(block), *is_list),
                Role::Extra(name) => {
                    if let Some(at) = block.not_finite() {
                        return Err(fault(format!("output `{}` is not a finite number for row {}", shown(name), at / columns + 1)));
                    }
                    extras.push(Extra { name: name.clone(), list: block.columns() != 1, block, inner: 0 });
                }
            }
        }
        let scores = scores.ok_or_else(|| Error::new(Kind::Internal, "a graph gave no scores"))?;
        // A support vector machine without calibration answers distances beside its label.
        let probabilities = labels.is_some() && scores.to(ValueKind::F32).is_some_and(|scores| scores.f32s().is_some_and(are_shares));
        let classes = self.classes.clone().filter(|_| labels.is_some()).map(Classes::Listed);
        Ok(Output { labels, classes, probabilities, extras, ..Output::scores(scores, list) })
    }
}

impl Model for Onnx {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn predict(&self, input: &[Block]) -> Result<Output> {
        self.answer(input, &Meter::default())
    }

    fn predict_within(&self, input: &[Block], nanos: u64) -> Result<Option<Output>> {
        let meter = Meter::short(nanos);
        match self.answer(input, &meter) {
            Err(_) if meter.ran_out() => Ok(None),
            answered => answered.map(Some),
        }
    }

    fn weight(&self) -> usize {
        let classes = self.classes.as_ref().map_or(0, |classes| size_of::<Block>() + classes.weight());
        let parts: usize = self.schema.parts.iter().map(|part| size_of::<Part>() + size_of::<Input>() + part.name.len()).sum();
        size_of::<Self>() + self.plan.weight() + self.schema.names.weight() + classes + parts + self.roles.len() * size_of::<Role>()
    }

    fn cost(&self, rows: usize) -> u64 {
        self.head.fixed.saturating_add(self.head.each.saturating_mul(rows as u64))
    }
}
