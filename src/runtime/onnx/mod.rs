//! ONNX models: the graphs of skl2onnx, onnxmltools and small neural networks, run by an interpreter of typed operators.
//!
//! `proto.rs` reads the file, `graph.rs` turns it into a plan, `ops/`, `ml/` and `text/` hold the operators. Here a graph becomes
//! a [`Model`]: its inputs are the schema's parts, its outputs are told apart into labels, scores and extras by a trial
//! run on one and two rows, which also tells what a row costs. The prepared form is the graph without what is not
//! needed, with its tree ensembles laid out flat beside it. Next: `rows.rs`, then `graph.rs`.

mod classes;
mod dictionary;
mod functions;
mod fuse;
mod graph;
mod meter;
mod ml;
mod node;
#[cfg(feature = "onnxruntime")]
mod onnxruntime;
#[cfg(not(feature = "onnxruntime"))]
#[path = "onnxruntime/absent.rs"]
mod onnxruntime;
mod ops;
mod proto;
mod rows;
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
use self::meter::Meter;
pub(super) use self::proto::may_begin;
use self::rows::{Input, Role, append, are_shares, block, inputs, kind_of, names, roles, trial};
use self::value::{Data, Value, fault};
use super::pipeline::CELLS_MAX;
use super::prepared::{Reader, Writer};
use super::trees::Ensemble;
use super::{Answered, Classes, Extra, Format, Model, Output, Prepared, Schema, Summary};
use crate::error::{Error, Kind, Result};
use crate::names::shown;
use crate::tensor::{Block, Part, ValueKind};

pub(super) const FORMAT: Format = Format { name: "onnx", recognises: proto::recognises, prepare, load };
/// What [`FORMAT`] hands over to onnxruntime; never recognised by itself.
pub(super) const HANDED_OVER: Format = Format { name: "onnxruntime", recognises: |_| false, prepare, load: onnxruntime::load };

pub use self::onnxruntime::start as start_onnxruntime;

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
    /// The words of a dictionary that is the input: the names of its columns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    words: Vec<Box<str>>,
    /// Width and outputs of each tree ensemble behind the graph.
    ensembles: Vec<(usize, usize)>,
    /// The type of each output; only told when the model is prepared.
    #[serde(skip)]
    kinds: Vec<ValueKind>,
}

/// What works a graph out.
#[derive(Debug)]
enum Engine {
    Own(Plan),
    /// What this interpreter does not have.
    #[cfg(feature = "onnxruntime")]
    Foreign(onnxruntime::Session),
}

impl Engine {
    fn run<'a>(&'a self, inputs: SmallVec<[Slot<'a>; 8]>, meter: &Meter) -> Result<SmallVec<[Value; 2]>> {
        match self {
            Self::Own(plan) => plan.run(inputs, meter),
            #[cfg(feature = "onnxruntime")]
            Self::Foreign(session) => session.run(inputs, meter),
        }
    }

    /// How many operators run, where that is known.
    fn steps(&self) -> usize {
        match self {
            Self::Own(plan) => plan.steps(),
            #[cfg(feature = "onnxruntime")]
            Self::Foreign(_) => 0,
        }
    }

    fn weight(&self) -> usize {
        match self {
            Self::Own(plan) => plan.weight(),
            #[cfg(feature = "onnxruntime")]
            Self::Foreign(session) => session.weight(),
        }
    }

    fn ensembles(&self) -> impl Iterator<Item = (&Ensemble, Vec<i64>, &str)> {
        let plan = match self {
            Self::Own(plan) => Some(plan),
            #[cfg(feature = "onnxruntime")]
            Self::Foreign(_) => None,
        };
        plan.into_iter().flat_map(Plan::ensembles)
    }
}

#[derive(Debug)]
struct Onnx {
    engine: Engine,
    inputs: Vec<Input>,
    roles: Vec<Role>,
    /// The labels there are, of a classifier that says them.
    classes: Option<Arc<Block>>,
    /// Whether its scores are those of pairs of labels.
    paired: bool,
    schema: Schema,
    head: Head,
}

/// The operator sets that a model imports.
///
/// # Errors
/// When it imports none, or more than are looked through.
fn opsets(model: &proto::Model) -> Result<Opsets> {
    if model.opset_import.is_empty() {
        return Err(Error::invalid("the ONNX file does not say which operator sets it uses"));
    }
    if model.opset_import.len() > OPSETS_MAX {
        return Err(Error::invalid(format!("the ONNX file imports more than {OPSETS_MAX} operator sets")));
    }
    let mut list: Vec<(String, i64)> = model.opset_import.iter().map(|set| (set.domain.clone(), set.version)).collect();
    // Graphs may use these without naming them.
    for (domain, version) in [("ai.onnx.ml", 1), ("com.microsoft", 1), ("", 1)] {
        if !list.iter().any(|(name, _)| name == domain || (domain.is_empty() && name == "ai.onnx")) {
            list.push((domain.to_owned(), version));
        }
    }
    Ok(Opsets(list))
}

fn graph_of(model: &proto::Model) -> Result<&proto::Graph> {
    model.graph.as_ref().ok_or_else(|| Error::invalid("the ONNX file holds no graph"))
}

fn plan(model: &proto::Model, ready: Vec<Ensemble>) -> Result<Plan> {
    let graph = graph_of(model)?;
    let opsets = opsets(model)?;
    let ready = RefCell::new(ready.into_iter().map(Some).collect());
    Planner { opsets: &opsets, ready, folds: RefCell::default(), nodes: RefCell::new(0), check: false }.plan(graph, &[])
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
    // The file goes as soon as it is read, unless somebody else may be asked for it next.
    let kept = if onnxruntime::IS_BUILT { bytes.clone() } else { Bytes::new() };
    prepare_own(bytes).or_else(|refusal| match refusal.kind() {
        Kind::Unsupported | Kind::Model => onnxruntime::prepare(&kept, refusal),
        _ => Err(refusal),
    })
}

fn prepare_own(bytes: Bytes) -> Result<Prepared> {
    let mut model = proto::read(bytes)?;
    functions::write_out(&mut model)?;
    let words = model.graph.as_mut().map(dictionary::spread).transpose()?.flatten().unwrap_or_default();
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
    let engine = Engine::Own(plan);
    let (inputs, parts, single) = inputs(graph)?;
    let mut head = trial(&engine, &inputs, &parts, graph, single)?;
    let kept: Vec<(&Ensemble, (String, Vec<i64>))> =
        engine.ensembles().map(|(ensemble, marks, place)| (ensemble, (place.to_owned(), marks))).collect();
    let trees = kept.iter().map(|(ensemble, _)| ensemble.trees()).sum::<usize>();
    let core = kept.iter().map(|(ensemble, _)| ensemble.node_bytes()).sum::<usize>();
    head.words = words;
    head.ensembles = kept.iter().map(|(ensemble, _)| (ensemble.features(), ensemble.groups())).collect();
    let names: Vec<(String, Vec<i64>)> = kept.iter().map(|(_, name)| name.clone()).collect();
    slim(graph, &names);
    let mut writer = Writer::new(&head)?;
    writer.array(&model.encode_to_vec());
    for (ensemble, _) in &kept {
        ensemble.write(&mut writer);
    }
    let (prepared, told) = (writer.finish(), Told::of(&model));
    // Gone before the loaded form is there too.
    drop((kept, model));
    drop(engine);
    // Loaded once here, so that what was written is known to load and its weight is the weight.
    let mut loaded = read(&mut prepared.as_slice(), prepared.len() as u64)?;
    loaded.head.kinds = head.kinds;
    let mut summary = told.summary(&FORMAT, &loaded);
    summary.trees = (trees > 0).then_some(trees);
    if core > 0 {
        summary.core = core;
    }
    Ok(Prepared { summary, bytes: prepared })
}

/// The file inside the prepared form of a graph that was handed over.
///
/// # Errors
/// When the form is damaged.
pub(super) fn handed_over(mut form: &[u8]) -> Result<Vec<u8>> {
    let length = form.len() as u64;
    let (_, mut reader) = Reader::new::<serde::de::IgnoredAny>(&mut form, length)?;
    reader.array()
}

/// Whether a file can be read as a graph, whoever runs it.
pub(super) fn is_graph(file: &Bytes) -> bool {
    (FORMAT.recognises)(file) && proto::read(file.clone()).is_ok_and(|file| graph_of(&file).is_ok())
}

/// What a file says of itself that is shown to users.
struct Told {
    library: Option<String>,
    outputs: Vec<Box<str>>,
}

impl Told {
    fn of(model: &proto::Model) -> Self {
        let outputs = model.graph.iter().flat_map(|graph| &graph.output).map(|info| info.name.as_str().into());
        Self { library: library(model), outputs: outputs.collect() }
    }

    fn summary(self, format: &Format, loaded: &Onnx) -> Summary {
        let kind = match &loaded.roles {
            roles if roles.contains(&Role::Labels) => "classifier",
            roles if roles.contains(&Role::Scores { list: false }) => "regressor",
            _ => "transformer",
        };
        let answers = self.outputs.into_iter().zip(&loaded.roles).zip(loaded.head.columns.iter().zip(&loaded.head.kinds));
        let answers = answers.map(|((name, role), (&columns, &kind))| {
            let answered = match role {
                Role::Labels => "predicted_label",
                Role::Scores { .. } => "score",
                Role::Extra(own) => own,
            };
            Answered { name, answered: answered.into(), kind, columns }
        });
        Summary {
            answers: answers.collect(),
            format: format.name.to_owned(),
            kind: kind.to_owned(),
            library: self.library,
            features: loaded.schema.features,
            outputs: loaded.schema.outputs,
            names: loaded.schema.names.to_vec(),
            inputs: loaded.schema.parts.to_vec(),
            trees: None,
            categories: Vec::new(),
            weight: loaded.weight(),
            core: loaded.engine.weight(),
        }
    }
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
    Onnx::new(Engine::Own(plan), inputs, parts, graph, head)
}

impl Onnx {
    fn new(engine: Engine, inputs: Vec<Input>, parts: Vec<Part>, graph: &proto::Graph, mut head: Head) -> Result<Self> {
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
        let paired = label.is_some_and(|(_, scores)| classes::are_paired(graph, scores));
        let classes = label.zip(kind).and_then(|((label, scores), kind)| classes::classes(graph, label, scores, kind)).map(Arc::new);
        let optional = !head.words.is_empty();
        if optional && head.words.len() != features {
            return Err(damaged());
        }
        let names = if optional { std::mem::take(&mut head.words) } else { names(&parts) };
        let parts = parts.into();
        let schema = Schema { names: names.into(), parts, features, outputs, spread, absent: 0.0, missing: true, optional };
        Ok(Self { engine, inputs, roles, classes, paired, schema, head })
    }

    fn values(&self, input: &[Block], first: usize, rows: usize, meter: &Meter) -> Result<SmallVec<[Value; 2]>> {
        let slots = self.inputs.iter().zip(input).map(|(input, block)| input.slot(block, first, rows));
        let slots = slots.collect::<Result<SmallVec<[Slot<'_>; 8]>>>()?;
        let values = self.engine.run(slots, meter)?;
        for (value, columns) in values.iter().zip(&self.head.columns) {
            if value.data.len() != rows * columns {
                let text = format!("the graph gave an array of shape {:?} for {rows} rows of {columns} values", value.shape.as_slice());
                return Err(fault(text));
            }
        }
        Ok(values)
    }
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
        let classes = self.classes.clone().filter(|_| labels.is_some()).map(if self.paired { Classes::Paired } else { Classes::Listed });
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
        size_of::<Self>() + self.engine.weight() + self.schema.names.weight() + classes + parts + self.roles.len() * size_of::<Role>()
    }

    fn cost(&self, rows: usize) -> u64 {
        self.head.fixed.saturating_add(self.head.each.saturating_mul(rows as u64))
    }
}
