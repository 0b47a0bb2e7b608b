//! Operators with bodies: `Scan` along rows, `If` one of two, `Loop` while true.
//!
//! A body is a plan whose inputs are its own, then what it captures; the node's inputs end with the same captures. What
//! a loop keeps beside its body's arrays is held in the meter, so that all of it together is bounded. Next:
//! `../graph.rs` for plans.
#![expect(clippy::indexing_slicing, reason = "counts were checked when the node was planned or the step before")]

use smallvec::SmallVec;

use super::super::graph::{Inputs, Plan, Slot};
use super::super::meter::Meter;
use super::super::node::Node;
use super::super::value::{Arg, Data, Shape, Value, View, axis, fault, same, unserved};
use super::shape::transpose;
use super::{Op, Values, boxed};
use crate::error::{Error, Result};

fn lend<'a>(arg: Arg<'a>) -> Slot<'a> {
    Slot::Lent(arg.shape.into(), arg.data)
}

/// Values that a loop keeps while its body runs: copies it was begun with, arrays it walks, stacks.
struct Held<'m> {
    meter: &'m Meter,
    count: usize,
}

impl<'m> Held<'m> {
    fn new(meter: &'m Meter) -> Self {
        Self { meter, count: 0 }
    }

    fn add(&mut self, count: usize) -> Result<()> {
        self.meter.hold(count)?;
        self.count += count;
        Ok(())
    }

    /// They are handed on, or given up.
    fn release(&mut self) {
        self.meter.unhold(std::mem::take(&mut self.count));
    }
}

/// Copies of inputs to begin with.
fn copies(inputs: &Inputs<'_, '_>, places: std::ops::Range<usize>, held: &mut Held<'_>) -> Result<SmallVec<[Value; 4]>> {
    let one = |at: usize| {
        let value = inputs.get(at)?.to_value(inputs.meter)?;
        held.add(value.data.len())?;
        Ok(value)
    };
    places.map(one).collect()
}

/// Arrays of one shape and type, put behind one another along a new first axis.
#[derive(Default)]
struct Stack {
    shape: Option<Shape>,
    data: Option<Data>,
    count: usize,
}

impl Stack {
    fn push(&mut self, value: Value, held: &mut Held<'_>) -> Result<()> {
        if self.shape.get_or_insert_with(|| value.shape.clone()) != &value.shape {
            return Err(fault("its body gives arrays of different shapes"));
        }
        self.count += 1;
        held.meter.size(&[self.count, value.data.len()])?;
        held.add(value.data.len())?;
        match (&mut self.data, value.data) {
            (None, data) => self.data = Some(data),
            (Some(Data::F32(list)), Data::F32(more)) => list.extend(more),
            (Some(Data::F64(list)), Data::F64(more)) => list.extend(more),
            (Some(Data::I64(list)), Data::I64(more)) => list.extend(more),
            (Some(Data::I32(list)), Data::I32(more)) => list.extend(more),
            (Some(Data::Bool(list)), Data::Bool(more)) => list.extend(more),
            (Some(Data::Text(list)), Data::Text(more)) => list.extend(more),
            _ => return Err(fault("its body gives arrays of different types")),
        }
        Ok(())
    }

    fn finish(self, reverse: bool, meter: &Meter) -> Result<Value> {
        let mut shape = self.shape.unwrap_or_default();
        let each: usize = shape.iter().product();
        shape.insert(0, self.count);
        let data = self.data.unwrap_or(Data::F32(Vec::new()));
        if !reverse || each == 0 {
            return Ok(Value { shape, data });
        }
        let data = same!(meter, data.view(), list => list.chunks_exact(each).rev().flatten().cloned().collect())?;
        Ok(Value { shape, data })
    }
}

#[derive(Debug)]
struct Scan {
    body: Plan,
    /// Inputs of the node before captures, and how many of them, the last, are walked.
    own: usize,
    walked: usize,
    axes: Vec<i64>,
    backward: Vec<bool>,
    out_axes: Vec<i64>,
    out_backward: Vec<bool>,
}

impl Op for Scan {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let states = self.own - self.walked;
        let (mut begun, mut held) = (Held::new(inputs.meter), Held::new(inputs.meter));
        let mut state = copies(inputs, 0..states, &mut begun)?;
        // Each walked array with its axis in front.
        let mut walked: SmallVec<[(Value, bool); 2]> = SmallVec::new();
        let mut length = None;
        for n in 0..self.walked {
            let arg = inputs.get(states + n)?;
            let at = axis(self.axes.get(n).copied().unwrap_or(0), arg.shape.len())?;
            if *length.get_or_insert(arg.shape[at]) != arg.shape[at] {
                return Err(fault("it walks arrays of different lengths"));
            }
            let order: SmallVec<[usize; 6]> = std::iter::once(at).chain((0..arg.shape.len()).filter(|&other| other != at)).collect();
            held.add(arg.data.len())?;
            walked.push((transpose(arg, &order, inputs.meter)?, self.backward.get(n).copied().unwrap_or(false)));
        }
        let length = length.unwrap_or(0);
        let mut stacks: SmallVec<[Stack; 2]> = SmallVec::new();
        for step in 0..length {
            inputs.meter.work(100)?;
            // From here on the body's run counts its state.
            begun.release();
            let mut handed: SmallVec<[Slot<'_>; 6]> = state.drain(..).map(Slot::Owned).collect();
            for (value, backward) in &walked {
                let each: usize = value.shape[1..].iter().product();
                let step = if *backward { length - 1 - step } else { step };
                let view = match value.data.view() {
                    View::F32(list) => View::F32(&list[step * each..(step + 1) * each]),
                    View::F64(list) => View::F64(&list[step * each..(step + 1) * each]),
                    View::I64(list) => View::I64(&list[step * each..(step + 1) * each]),
                    View::I32(list) => View::I32(&list[step * each..(step + 1) * each]),
                    View::Bool(list) => View::Bool(&list[step * each..(step + 1) * each]),
                    View::Text(list) => View::Text(&list[step * each..(step + 1) * each]),
                };
                handed.push(Slot::Lent(value.shape[1..].into(), view));
            }
            for at in self.own..inputs.len() {
                handed.push(lend(inputs.get(at)?));
            }
            let mut made = self.body.run(handed, inputs.meter)?.into_iter();
            state.extend(made.by_ref().take(states));
            for (n, value) in made.enumerate() {
                if stacks.len() == n {
                    stacks.push(Stack::default());
                }
                stacks[n].push(value, &mut held)?;
            }
        }
        begun.release();
        let mut values: Values = state.into_iter().collect();
        for (n, stack) in stacks.into_iter().enumerate() {
            let value = stack.finish(self.out_backward.get(n).copied().unwrap_or(false), inputs.meter)?;
            let at = axis(self.out_axes.get(n).copied().unwrap_or(0), value.shape.len())?;
            if at == 0 {
                values.push(value);
                continue;
            }
            let mut order: SmallVec<[usize; 6]> = (1..value.shape.len()).collect();
            order.insert(at, 0);
            values.push(transpose(value.arg(), &order, inputs.meter)?);
        }
        held.release();
        Ok(values)
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.body.weight()
    }
}

#[derive(Debug)]
struct If {
    yes: Plan,
    no: Plan,
    yes_captures: Vec<usize>,
    no_captures: Vec<usize>,
}

impl Op for If {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let test = inputs.get(0)?.list::<bool>()?.first().copied().unwrap_or(false);
        let (body, captures) = if test { (&self.yes, &self.yes_captures) } else { (&self.no, &self.no_captures) };
        let handed: SmallVec<[Slot<'_>; 6]> = captures.iter().map(|&at| inputs.get(at).map(lend)).collect::<Result<_>>()?;
        Ok(body.run(handed, inputs.meter)?.into_iter().collect())
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.yes.weight() + self.no.weight()
    }
}

#[derive(Debug)]
struct Loop {
    body: Plan,
    own: usize,
}

impl Op for Loop {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let most = match inputs.optional(0) {
            Some(most) => most.ints()?.first().copied().unwrap_or(0),
            None => i64::MAX,
        };
        let mut go = match inputs.optional(1) {
            Some(go) => go.list::<bool>()?.first().copied().unwrap_or(true),
            None => true,
        };
        let (mut begun, mut held) = (Held::new(inputs.meter), Held::new(inputs.meter));
        let mut state = copies(inputs, 2..self.own, &mut begun)?;
        let states = state.len();
        let mut stacks: SmallVec<[Stack; 2]> = SmallVec::new();
        let mut step = 0;
        while go && step < most {
            inputs.meter.work(1000)?;
            // From here on the body's run counts its state.
            begun.release();
            let mut handed: SmallVec<[Slot<'_>; 6]> = SmallVec::new();
            handed.push(Slot::Owned(Value::new(Shape::new(), vec![step])));
            handed.push(Slot::Owned(Value::new(Shape::new(), vec![go])));
            handed.extend(state.drain(..).map(Slot::Owned));
            for at in self.own..inputs.len() {
                handed.push(lend(inputs.get(at)?));
            }
            let mut made = self.body.run(handed, inputs.meter)?.into_iter();
            go = made
                .next()
                .ok_or_else(|| fault("its body does not say whether to go on"))?
                .arg()
                .list::<bool>()?
                .first()
                .copied()
                .unwrap_or(false);
            state.extend(made.by_ref().take(states));
            for (n, value) in made.enumerate() {
                if stacks.len() == n {
                    stacks.push(Stack::default());
                }
                stacks[n].push(value, &mut held)?;
            }
            step += 1;
        }
        begun.release();
        held.release();
        state.into_iter().map(Ok).chain(stacks.into_iter().map(|stack| stack.finish(false, inputs.meter))).collect()
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.body.weight()
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>, bodies: Vec<(&str, Plan)>) -> Result<Box<dyn Op>> {
    let own = node.proto.input.len();
    let mut bodies = bodies;
    let mut body = |name: &str| {
        let at = bodies.iter().position(|(other, _)| *other == name);
        at.map(|at| bodies.swap_remove(at).1).ok_or_else(|| Error::invalid(format!("it has no `{name}`")))
    };
    match name {
        "Scan" => {
            if node.opset < 9 {
                return Err(unserved("its form before operator set 9 is not served"));
            }
            let walked = usize::try_from(node.int("num_scan_inputs", 0)).ok().filter(|&walked| walked <= own && walked > 0);
            let walked = walked.ok_or_else(|| node.refuse("num_scan_inputs", "does not fit its inputs"))?;
            let flags = |name: &str| node.ints(name).iter().map(|&flag| flag != 0).collect();
            boxed(Scan {
                body: body("body")?,
                own,
                walked,
                axes: node.ints("scan_input_axes").to_vec(),
                backward: flags("scan_input_directions"),
                out_axes: node.ints("scan_output_axes").to_vec(),
                out_backward: flags("scan_output_directions"),
            })
        }
        "If" => {
            // Both bodies were planned to take all that either captures.
            let captures: Vec<usize> = (own..node.constants.len()).collect();
            boxed(If { yes: body("then_branch")?, no: body("else_branch")?, yes_captures: captures.clone(), no_captures: captures })
        }
        _ => {
            if own < 2 {
                return Err(Error::invalid("it lacks inputs"));
            }
            boxed(Loop { body: body("body")?, own })
        }
    }
}
