//! From a graph of named nodes to a plan: values by index, nodes in an order that works, constants worked out.
//!
//! A [`Plan`] holds each operator as a typed struct, so a run looks nothing up by name; an array is given up as soon as
//! its last reader ran, and an operator that is that reader may change it in place. Bodies of `Scan`, `Loop` and `If`
//! are plans too, which get what they capture as further inputs. Must not know any operator. Next: `ops/mod.rs`.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use smallvec::SmallVec;

use super::functions::OPSET;
use super::fuse::fuse;
use super::meter::{Folds, Meter};
use super::node::Node;
use super::ops::{self, Op, Values};
use super::proto;
use super::value::{Arg, Shape, Value, View, fault};
use crate::error::{Error, Kind, Result};
use crate::names::shown;
use crate::runtime::trees::Ensemble;

/// The most nodes, bodies included.
const NODES_MAX: usize = 100_000;
/// An input or output that is left out.
const NONE: u32 = u32::MAX;

/// The operator sets a model imports: domain and version.
#[derive(Debug, Clone)]
pub(crate) struct Opsets(pub(crate) Vec<(String, i64)>);

impl Opsets {
    /// The version of a domain's set; `None` when the model does not import it.
    pub(crate) fn version(&self, domain: &str) -> Option<i64> {
        let domain = if domain == "ai.onnx" { "" } else { domain };
        self.0.iter().find(|(name, _)| if name == "ai.onnx" { domain.is_empty() } else { name == domain }).map(|&(_, version)| version)
    }
}

/// A graph ready to run.
#[derive(Debug)]
pub(crate) struct Plan {
    constants: Vec<Value>,
    slots: usize,
    inputs: usize,
    steps: Vec<Step>,
    outputs: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Step {
    pub(super) op: Box<dyn Op>,
    /// Below the count of constants a constant, else a slot behind them, or `NONE`.
    inputs: SmallVec<[u32; 4]>,
    outputs: SmallVec<[u32; 2]>,
    /// Slots nobody reads afterwards.
    ends: SmallVec<[u32; 2]>,
    /// For messages.
    place: Box<str>,
}

impl Step {
    /// Hands the array on where the operator would give it unchanged and nobody else reads it.
    fn passes(&self, slots: &mut [Slot<'_>], first: usize) -> bool {
        let (Some(&from), &[to]) = (self.inputs.first(), self.outputs.as_slice()) else { return false };
        let at = |id: u32| (id as usize).wrapping_sub(first);
        let same = || slots.get(at(from))?.arg().map(|arg| self.op.passes(arg.data));
        if self.ends.as_slice() != [from] || same() != Some(true) {
            return false;
        }
        let array = slots.get_mut(at(from)).map(std::mem::take);
        if let (Some(array), Some(slot)) = (array, slots.get_mut(at(to))) {
            *slot = array;
        }
        true
    }
}

/// An array on the way through a run.
#[derive(Debug, Default)]
pub(crate) enum Slot<'a> {
    #[default]
    Empty,
    Lent(Shape, View<'a>),
    Owned(Value),
}

impl Slot<'_> {
    pub(crate) fn arg(&self) -> Option<Arg<'_>> {
        match self {
            Self::Empty => None,
            Self::Lent(shape, view) => Some(Arg { shape, data: *view }),
            Self::Owned(value) => Some(value.arg()),
        }
    }
}

/// What an operator is handed.
pub(crate) struct Inputs<'r, 'a> {
    constants: &'a [Value],
    slots: &'r mut [Slot<'a>],
    ids: &'r [u32],
    ends: &'r [u32],
    /// Asked before every allocation.
    pub(crate) meter: &'r Meter,
}

impl Inputs<'_, '_> {
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// An input that may be left out.
    pub(crate) fn optional(&self, at: usize) -> Option<Arg<'_>> {
        let id = *self.ids.get(at)? as usize;
        match self.constants.get(id) {
            Some(value) => Some(value.arg()),
            None => self.slots.get(id - self.constants.len())?.arg(),
        }
    }

    /// An input.
    ///
    /// # Errors
    /// When it is left out.
    pub(crate) fn get(&self, at: usize) -> Result<Arg<'_>> {
        self.optional(at).ok_or_else(|| fault(format!("input {at} is missing")))
    }

    /// Whether a value of this input that cannot be used is no fault: what a trial row holds means nothing, a constant does.
    pub(crate) fn forgives(&self, at: usize) -> bool {
        self.meter.trial && self.ids.get(at).is_some_and(|&id| id as usize >= self.constants.len())
    }

    /// An input to change in place: moved where nobody reads it later, else copied.
    ///
    /// # Errors
    /// As [`Inputs::get`].
    pub(crate) fn take(&mut self, at: usize) -> Result<Value> {
        let id = self.ids.get(at).copied().unwrap_or(NONE);
        // An operator that is handed the same array twice must find it again.
        if self.ends.contains(&id)
            && self.ids.iter().filter(|&&other| other == id).count() == 1
            && let Some(slot) = self.slots.get_mut((id as usize).wrapping_sub(self.constants.len()))
            && matches!(slot, Slot::Owned(_))
            && let Slot::Owned(value) = std::mem::take(slot)
        {
            self.meter.takes(&value)?;
            return Ok(value);
        }
        self.get(at)?.to_value(self.meter)
    }
}

impl Plan {
    /// Runs the graph on one array for each input, then captures.
    ///
    /// # Errors
    /// Naming the node that could not answer.
    pub(crate) fn run<'a>(&'a self, inputs: impl IntoIterator<Item = Slot<'a>>, meter: &Meter) -> Result<SmallVec<[Value; 2]>> {
        let mut slots: SmallVec<[Slot<'a>; 24]> = SmallVec::with_capacity(self.slots);
        slots.extend(inputs);
        if slots.len() != self.inputs {
            return Err(fault(format!("a graph of {} inputs was handed {}", self.inputs, slots.len())));
        }
        let before = meter.mark();
        meter.work(8 * self.slots as u64)?;
        for slot in &slots {
            if let Slot::Owned(value) = slot {
                meter.hands(value);
            }
        }
        slots.resize_with(self.slots, Slot::default);
        let first = self.constants.len();
        for step in &self.steps {
            meter.work(64)?;
            if step.passes(&mut slots, first) {
                continue;
            }
            let mark = meter.mark();
            let mut inputs = Inputs { constants: &self.constants, slots: &mut slots, ids: &step.inputs, ends: &step.ends, meter };
            let values = step.op.run(&mut inputs).map_err(|error| error.within(&step.place))?;
            for &id in &step.ends {
                if let Some(slot) = slots.get_mut(id as usize - first)
                    && let Slot::Owned(value) = std::mem::take(slot)
                {
                    meter.leaves(&value);
                }
            }
            meter.ends_step(mark, &values).map_err(|error| error.within(&step.place))?;
            // Whoever reads an array trusts its shape.
            if let Some(value) = values.iter().find(|value| value.shape.iter().product::<usize>() != value.data.len()) {
                let text = format!("it gave {} values in shape {:?}", value.data.len(), value.shape.as_slice());
                return Err(fault(text).within(&step.place));
            }
            let mut values = values.into_iter();
            for &id in &step.outputs {
                let value = values.next();
                if id == NONE {
                    continue;
                }
                let value = value.ok_or_else(|| fault("it has fewer outputs than the graph reads").within(&step.place))?;
                if let Some(slot) = slots.get_mut(id as usize - first) {
                    meter.enters(&value);
                    *slot = Slot::Owned(value);
                }
            }
        }
        // What cannot be moved out is copied, which is counted like a step.
        let copy = |arg: Option<Arg<'_>>| -> Result<Value> {
            let mark = meter.mark();
            let value = arg.ok_or_else(|| fault("an output was never made"))?.to_value(meter)?;
            meter.ends_step(mark, std::slice::from_ref(&value))?;
            meter.enters(&value);
            Ok(value)
        };
        let mut outputs: SmallVec<[Value; 2]> = SmallVec::new();
        for (at, &id) in self.outputs.iter().enumerate() {
            let again = self.outputs.iter().skip(at + 1).any(|&other| other == id);
            let value = match self.constants.get(id as usize) {
                Some(value) => copy(Some(value.arg()))?,
                None => match (id as usize).checked_sub(first).and_then(|at| slots.get_mut(at)) {
                    Some(slot) if again => copy(slot.arg())?,
                    Some(slot) => match std::mem::take(slot) {
                        Slot::Owned(value) => value,
                        other => copy(other.arg())?,
                    },
                    None => return Err(fault("an output was never made")),
                },
            };
            outputs.push(value);
        }
        meter.ends_run(before, &outputs);
        Ok(outputs)
    }

    /// For each output whether it depends on what comes in.
    pub(crate) fn varying(&self) -> Vec<bool> {
        self.outputs.iter().map(|&id| id as usize >= self.constants.len()).collect()
    }

    /// Leaves out the outputs that are not marked.
    pub(crate) fn keep_outputs(&mut self, marked: &[bool]) {
        let mut marks = marked.iter();
        self.outputs.retain(|_| marks.next() == Some(&true));
    }

    /// Bytes in memory.
    pub(crate) fn weight(&self) -> usize {
        let steps: usize = self.steps.iter().map(|step| size_of::<Step>() + step.op.weight() + step.place.len()).sum();
        size_of::<Self>() + self.constants.iter().map(Value::weight).sum::<usize>() + steps
    }

    /// How many operators run.
    pub(crate) fn steps(&self) -> usize {
        self.steps.len()
    }

    /// The tree ensembles in the order of their steps.
    pub(crate) fn ensembles(&self) -> impl Iterator<Item = (&Ensemble, Vec<i64>, &str)> {
        self.steps.iter().filter_map(|step| step.op.ensemble().map(|(ensemble, marks)| (ensemble, marks, &*step.place)))
    }
}

/// Plans graphs.
pub(crate) struct Planner<'p> {
    pub(crate) opsets: &'p Opsets,
    /// Ensembles read back from a prepared form, by the place among the marks of their nodes.
    pub(crate) ready: RefCell<Vec<Option<Ensemble>>>,
    pub(crate) folds: RefCell<Folds>,
    pub(crate) nodes: RefCell<usize>,
    /// Whether the plan is made only to check all of a graph that another runtime is to run: nodes that no output needs
    /// are read too, and what is not had here is taken for granted.
    pub(crate) check: bool,
}

/// Names that a graph reads and does not make.
fn captures(graph: &proto::Graph) -> BTreeSet<&str> {
    let mut own: HashSet<&str> = graph.input.iter().map(|input| input.name.as_str()).collect();
    own.extend(graph.initializer.iter().map(|tensor| tensor.name.as_str()));
    own.extend(graph.node.iter().flat_map(|node| node.output.iter().map(String::as_str)));
    let mut found = BTreeSet::new();
    for node in &graph.node {
        found.extend(node.input.iter().map(String::as_str));
        for body in node.attribute.iter().filter_map(|attribute| attribute.g.as_deref()) {
            found.extend(captures(body));
        }
    }
    found.extend(graph.output.iter().map(|output| output.name.as_str()));
    found.retain(|name| !name.is_empty() && !own.contains(name));
    found
}

/// How often each name is read.
pub(super) fn reads(graph: &proto::Graph) -> HashMap<&str, usize, foldhash::fast::RandomState> {
    let mut reads: HashMap<&str, usize, foldhash::fast::RandomState> = HashMap::default();
    let bodies = graph.node.iter().flat_map(|node| node.attribute.iter().filter_map(|attribute| attribute.g.as_deref()));
    let captured = bodies.flat_map(captures);
    let direct = graph.node.iter().flat_map(|node| node.input.iter().map(String::as_str));
    for name in direct.chain(captured).chain(graph.output.iter().map(|output| output.name.as_str())) {
        *reads.entry(name).or_default() += 1;
    }
    reads
}

/// Where a name's array is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Source {
    Constant(usize),
    Slot(usize),
}

/// For messages: the operator and its node.
pub(crate) fn place(node: &proto::Node) -> String {
    if node.name.is_empty() {
        format!("operator `{}`", shown(&node.op_type))
    } else {
        format!("operator `{}` (node `{}`)", shown(&node.op_type), shown(&node.name))
    }
}

impl Planner<'_> {
    /// Plans a graph whose inputs, without those that are constants, then `captured`, become the plan's inputs.
    ///
    /// # Errors
    /// Naming the node: an operator that is not known, a cycle, a name nobody makes, attributes that do not fit.
    pub(crate) fn plan(&self, graph: &proto::Graph, captured: &[&str]) -> Result<Plan> {
        *self.nodes.borrow_mut() += graph.node.len();
        if *self.nodes.borrow() > NODES_MAX {
            return Err(Error::invalid(format!("the graph has more than {NODES_MAX} nodes")));
        }
        if !graph.sparse_initializer.is_empty() {
            return Err(Error::invalid("the graph holds sparse tensors; save it with dense ones"));
        }
        let mut names: HashMap<&str, Source, foldhash::fast::RandomState> = HashMap::default();
        let (mut constants, mut unread) = (Vec::new(), Vec::new());
        for tensor in &graph.initializer {
            let value = match Value::read(tensor) {
                Err(error) if self.passes(&error) => {
                    unread.push(tensor.name.as_str());
                    continue;
                }
                value => value?,
            };
            if names.insert(&tensor.name, Source::Constant(constants.len())).is_some() {
                return Err(Error::invalid(format!("two tensors are called `{}`", shown(&tensor.name))));
            }
            constants.push(value);
        }
        let mut slots = 0;
        for name in graph.input.iter().map(|input| input.name.as_str()).chain(captured.iter().copied()) {
            if matches!(names.get(name), Some(Source::Constant(_))) {
                continue;
            }
            if names.insert(name, Source::Slot(slots)).is_some() {
                return Err(Error::invalid(format!("two inputs are called `{}`", shown(name))));
            }
            slots += 1;
        }
        let inputs = slots;
        for name in unread {
            names.entry(name).or_insert(Source::Slot(slots));
            slots += 1;
        }
        let order = order(graph, &names, self.check)?;
        let reads = reads(graph);
        let mut steps: Drafts = Vec::with_capacity(order.len());
        for (node, captured) in order {
            let wrap = |error: Error| error.within(place(node));
            let find = |name: &str| if name.is_empty() { None } else { names.get(name).copied() };
            let sources: SmallVec<[Option<Source>; 4]> =
                node.input.iter().map(String::as_str).chain(captured.iter().copied()).map(find).collect();
            if node.op_type == "ZipMap" && node.domain == "ai.onnx.ml" {
                // A map of scores by label says no more than labels and scores; that they are as many, the trial row shows.
                let source = sources.first().copied().flatten().ok_or_else(|| wrap(Error::invalid("it has no input")))?;
                if let Some(output) = node.output.first() {
                    names.insert(output, source);
                }
                continue;
            }
            let own = node.attribute.iter().find(|attribute| attribute.name == OPSET).map(|attribute| attribute.i);
            let opset = own
                .or_else(|| self.opsets.version(&node.domain))
                .ok_or_else(|| wrap(Error::invalid(format!("the model imports no operator set of domain `{}`", shown(&node.domain)))))?;
            let known: SmallVec<[Option<&Value>; 4]> =
                sources.iter().map(|source| if let Some(Source::Constant(at)) = source { constants.get(*at) } else { None }).collect();
            let all_known = sources.iter().zip(&known).all(|(source, known)| source.is_none() || known.is_some());
            let sole = |name: &str| reads.get(name) == Some(&1);
            let context = Node { proto: node, opset, constants: known, sole: &sole, ready: RefCell::new(self.ready_for(node)) };
            let bodies = node.attribute.iter().filter_map(|attribute| Some((attribute.name.as_str(), attribute.g.as_deref()?)));
            let bodies: Vec<(&str, Plan)> =
                bodies.map(|(name, body)| Ok((name, self.plan(body, &captured)?))).collect::<Result<_>>().map_err(wrap)?;
            let op = match ops::parse(&context, bodies) {
                // Trees are walked, by whoever runs them, until a leaf comes: a cycle must not pass unread.
                Err(error) if self.passes(&error) && !node.op_type.starts_with("TreeEnsemble") => ops::boxed(ops::Assumed)?,
                op => op.map_err(wrap)?,
            };
            let folded = if all_known && captured.is_empty() { self.fold(&*op, &context.constants) } else { None };
            drop(context);
            if let Some(values) = folded {
                for (name, value) in node.output.iter().zip(values) {
                    if !name.is_empty() {
                        names.insert(name, Source::Constant(constants.len()));
                        constants.push(value);
                    }
                }
                continue;
            }
            let mut made = SmallVec::new();
            for name in &node.output {
                if name.is_empty() {
                    made.push(None);
                } else {
                    names.insert(name, Source::Slot(slots));
                    made.push(Some(Source::Slot(slots)));
                    slots += 1;
                }
            }
            let keep = |(at, source)| if matches!(source, Some(Source::Constant(_))) && op.keeps(at) { None } else { source };
            let sources = sources.into_iter().enumerate().map(keep).collect();
            let step = Step { op, inputs: SmallVec::new(), outputs: SmallVec::new(), ends: SmallVec::new(), place: place(node).into() };
            steps.push((step, sources, made));
        }
        let output = |output: &proto::ValueInfo| {
            names
                .get(output.name.as_str())
                .copied()
                .ok_or_else(|| Error::invalid(format!("nothing makes output `{}`", shown(&output.name))))
        };
        let outputs: Vec<Source> = graph.output.iter().map(output).collect::<Result<_>>()?;
        fuse(&mut steps, &constants, slots, &outputs);
        Ok(settle(constants, slots, inputs, steps, &outputs))
    }

    /// Whether a refusal is of what is not had here, and that is passed over.
    fn passes(&self, error: &Error) -> bool {
        self.check && error.kind() == Kind::Unsupported
    }

    fn ready_for(&self, node: &proto::Node) -> Option<Ensemble> {
        let mark = node.attribute.iter().find(|attribute| attribute.name == ops::FLAT)?;
        self.ready.borrow_mut().get_mut(usize::try_from(mark.i).ok()?)?.take()
    }

    /// What an operator on constants gives, if it is small and does not fail.
    fn fold(&self, op: &dyn Op, constants: &[Option<&Value>]) -> Option<Values> {
        let mut folds = self.folds.borrow_mut();
        let meter = folds.meter();
        let count = constants.len();
        let mut slots: SmallVec<[Slot<'_>; 4]> =
            constants.iter().map(|value| value.map_or(Slot::Empty, |value| Slot::Lent(value.shape.clone(), value.data.view()))).collect();
        let ids: SmallVec<[u32; 4]> = (0..u32::try_from(count).ok()?).collect();
        let mut inputs = Inputs { constants: &[], slots: &mut slots, ids: &ids, ends: &[], meter: &meter };
        let mark = meter.mark();
        let values = op.run(&mut inputs);
        folds.spent(&meter);
        let values = values.ok()?;
        // One that asked for too little or made a shape that does not fit is told so when it runs.
        let fits = |value: &Value| value.shape.iter().product::<usize>() == value.data.len();
        (meter.ends_step(mark, &values).is_ok() && values.iter().all(fits) && folds.keep(&values)).then_some(values)
    }
}

type Ordered<'g> = Vec<(&'g proto::Node, Vec<&'g str>)>;

/// The nodes that the outputs need, or all, each behind those it reads from, with what their bodies capture.
fn order<'g, S: std::hash::BuildHasher>(graph: &'g proto::Graph, known: &HashMap<&'g str, Source, S>, all: bool) -> Result<Ordered<'g>> {
    let mut makers: HashMap<&str, usize, foldhash::fast::RandomState> = HashMap::default();
    for (at, node) in graph.node.iter().enumerate() {
        for name in node.output.iter().filter(|name| !name.is_empty()) {
            if known.contains_key(name.as_str()) || makers.insert(name, at).is_some() {
                return Err(Error::invalid(format!("two things make `{}`", shown(name))).within(place(node)));
            }
        }
    }
    let mut reads: Vec<(Vec<usize>, Vec<&str>)> = Vec::with_capacity(graph.node.len());
    for node in &graph.node {
        let mut captured = BTreeSet::new();
        for body in node.attribute.iter().filter_map(|attribute| attribute.g.as_deref()) {
            captured.extend(captures(body));
        }
        let captured: Vec<&str> = captured.into_iter().collect();
        let mut from = Vec::new();
        for name in node.input.iter().map(String::as_str).chain(captured.iter().copied()).filter(|name| !name.is_empty()) {
            match makers.get(name) {
                Some(&maker) => from.push(maker),
                None if known.contains_key(name) => {}
                None => return Err(Error::invalid(format!("it reads `{}`, which nothing makes", shown(name))).within(place(node))),
            }
        }
        reads.push((from, captured));
    }
    // Depth first from the outputs, without recursion: a node is done when all it reads from is.
    let (mut done, mut open) = (vec![false; reads.len()], vec![false; reads.len()]);
    let mut sorted = Vec::new();
    let roots = graph.output.iter().filter_map(|output| makers.get(output.name.as_str()).copied());
    for root in roots.chain(if all { 0..reads.len() } else { 0..0 }) {
        let mut stack = vec![(root, 0usize)];
        while let Some((at, next)) = stack.pop() {
            if done.get(at) != Some(&false) {
                continue;
            }
            match reads.get(at).and_then(|(from, _)| from.get(next)) {
                Some(&child) => {
                    if let Some(open) = open.get_mut(at) {
                        *open = true;
                    }
                    stack.push((at, next + 1));
                    if done.get(child) == Some(&false) {
                        if open.get(child) == Some(&true) {
                            let node = graph.node.get(at).map(place).unwrap_or_default();
                            return Err(Error::invalid("it reads, through others, what it makes: the graph has a cycle").within(node));
                        }
                        stack.push((child, 0));
                    }
                }
                None => {
                    if let Some(done) = done.get_mut(at) {
                        *done = true;
                    }
                    sorted.push(at);
                }
            }
        }
    }
    // A node that needs nothing open stays where the file has it, which keeps arrays short-lived.
    let mut ordered = Vec::with_capacity(sorted.len());
    for at in sorted {
        if let (Some(node), Some((_, captured))) = (graph.node.get(at), reads.get_mut(at)) {
            ordered.push((node, std::mem::take(captured)));
        }
    }
    Ok(ordered)
}

/// Steps with where they read from and what they make, before arrays are numbered.
pub(super) type Drafts = Vec<Draft>;
pub(super) type Draft = (Step, SmallVec<[Option<Source>; 4]>, SmallVec<[Option<Source>; 2]>);

/// Numbers every array and says which steps are the last to read one.
fn settle(constants: Vec<Value>, slots: usize, inputs: usize, drafts: Drafts, outputs: &[Source]) -> Plan {
    let mut last: Vec<Option<usize>> = vec![None; slots];
    for (at, (_, sources, _)) in drafts.iter().enumerate() {
        for source in sources.iter().flatten() {
            if let Source::Slot(slot) = source
                && let Some(last) = last.get_mut(*slot)
            {
                *last = Some(at);
            }
        }
    }
    for source in outputs {
        if let Source::Slot(slot) = source
            && let Some(last) = last.get_mut(*slot)
        {
            *last = None;
        }
    }
    // Constants that are only read by what was worked out are given up.
    let mut kept: Vec<Option<u32>> = vec![None; constants.len()];
    let read = drafts.iter().flat_map(|(_, sources, _)| sources.iter().flatten()).chain(outputs);
    for source in read {
        if let Source::Constant(at) = source
            && let Some(kept) = kept.get_mut(*at)
        {
            *kept = Some(0);
        }
    }
    for (next, kept) in (0..NONE).zip(kept.iter_mut().flatten()) {
        *kept = next;
    }
    let constants: Vec<Value> = constants.into_iter().zip(&kept).filter_map(|(value, kept)| kept.map(|_| value)).collect();
    let count = constants.len();
    let number = |slot: usize| u32::try_from(count + slot).unwrap_or(NONE);
    let id = |source: &Option<Source>| match source {
        None => NONE,
        Some(Source::Constant(at)) => kept.get(*at).copied().flatten().unwrap_or(NONE),
        Some(Source::Slot(slot)) => number(*slot),
    };
    let mut ends: Vec<SmallVec<[u32; 2]>> = vec![SmallVec::new(); drafts.len()];
    for (slot, last) in last.iter().enumerate() {
        if let Some(ends) = last.and_then(|at| ends.get_mut(at)) {
            ends.push(number(slot));
        }
    }
    let steps = drafts.into_iter().zip(ends);
    let steps = steps
        .map(|((step, sources, made), ends)| Step {
            inputs: sources.iter().map(id).collect(),
            outputs: made.iter().map(id).collect(),
            ends,
            ..step
        })
        .collect();
    Plan { constants, slots, inputs, steps, outputs: outputs.iter().map(|source| id(&Some(*source))).collect() }
}
