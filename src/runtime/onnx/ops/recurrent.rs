//! Recurrent layers: LSTM, GRU and the plain one, forward, backward or both.
//!
//! Gates in ONNX's order (i o f c; z r h); each step is one product for the rows and one for the state. Next:
//! `neural.rs` for the layers without memory.
#![expect(clippy::indexing_slicing, reason = "every list's length was checked against the sizes before the first step")]

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Value, fault, unserved};
use super::product::multiply;
use super::vector::{sigmoid, tanh};
use super::{Op, Values, boxed};
use crate::error::Result;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Cell {
    Lstm,
    /// Whether the reset gate comes behind the product.
    Gru(bool),
    Plain,
}

impl Cell {
    fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru(_) => 3,
            Self::Plain => 1,
        }
    }
}

/// What is done to a gate's sum.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Function {
    Sigmoid,
    Tanh,
    Relu,
}

impl Function {
    fn of(self, x: f32) -> f32 {
        match self {
            Self::Sigmoid => sigmoid(x),
            Self::Tanh => tanh(x),
            Self::Relu => x.max(0.0),
        }
    }
}

#[derive(Debug)]
struct Way {
    backward: bool,
    /// Of the gates, of what is remembered and, of an LSTM, of what is told of it.
    functions: [Function; 3],
}

#[derive(Debug)]
struct Recurrent {
    cell: Cell,
    ways: Vec<Way>,
    /// How far from zero a gate's sum may be; what is farther is cut off. What is remembered is not, as in onnxruntime.
    clip: f32,
}

/// The sizes of a run: steps, rows, columns, and the state's width.
#[derive(Clone, Copy)]
struct Sizes {
    steps: usize,
    rows: usize,
    columns: usize,
    hidden: usize,
}

/// A direction's weights.
struct Weights<'a> {
    w: &'a [f32],
    r: &'a [f32],
    /// For the product of rows, then of the state.
    bias: &'a [f32],
}

impl Op for Recurrent {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (x, w, r) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        let ways = self.ways.len();
        let gates = self.cell.gates();
        let (&[steps, rows, columns], &[w_ways, w_gates, w_columns], &[r_ways, r_gates, hidden]) = (x.shape, w.shape, r.shape) else {
            return Err(fault("its input or weights are not arrays of three dimensions"));
        };
        let all = gates.checked_mul(hidden);
        if w_ways != ways || r_ways != ways || Some(w_gates) != all || Some(r_gates) != all || w_columns != columns {
            return Err(fault(format!("weights {:?} and {:?} do not fit rows of {columns}", w.shape, r.shape)));
        }
        let sizes = Sizes { steps, rows, columns, hidden };
        let gates = gates * hidden;
        let none = Vec::new();
        let bias: &[f32] = match inputs.optional(3) {
            Some(bias) if bias.data.len() == ways * 2 * gates => bias.list()?,
            Some(bias) => return Err(fault(format!("it was handed {} biases for {}", bias.data.len(), ways * 2 * gates))),
            None => &none,
        };
        if let Some(lengths) = inputs.optional(4)
            && lengths.ints()?.iter().any(|&length| length != steps as i64)
        {
            let text = format!("input `sequence_lens` makes some rows shorter than the {steps} steps there are, which is not served");
            return Err(fault(text));
        }
        let begin = |at: usize| -> Result<Vec<f32>> {
            match inputs.optional(at) {
                Some(state) if state.data.len() == ways * rows * hidden => Ok(state.list::<f32>()?.to_vec()),
                Some(state) => Err(fault(format!("it begins with a state of shape {:?}", state.shape))),
                None => Ok(vec![0.0; ways * rows * hidden]),
            }
        };
        inputs.meter.size(&[ways, rows, hidden])?;
        let (mut state, mut memory) = (begin(5)?, begin(6)?);
        let size = inputs.meter.size(&[steps, ways, rows, hidden])?;
        inputs.meter.size(&[steps, rows, gates])?;
        inputs.meter.work(((steps * rows) as u64).saturating_mul((gates * (columns + hidden) * ways) as u64))?;
        let mut out = vec![0.0f32; size];
        let (list, w, r) = (x.list::<f32>()?, w.list::<f32>()?, r.list::<f32>()?);
        for (way, own) in self.ways.iter().enumerate() {
            let weights = Weights {
                w: &w[way * gates * columns..][..gates * columns],
                r: &r[way * gates * hidden..][..gates * hidden],
                bias: bias.get(way * 2 * gates..(way + 1) * 2 * gates).unwrap_or_default(),
            };
            let width = rows * hidden;
            let (state, memory) = (&mut state[way * width..][..width], &mut memory[way * width..][..width]);
            let give = |step: usize, state: &[f32]| out[(step * ways + way) * width..][..width].copy_from_slice(state);
            let [first, second, third] = own.functions;
            // The usual functions are known to the loop, which is quicker.
            if first == Function::Sigmoid && second == Function::Tanh && third == Function::Tanh && self.clip == f32::INFINITY {
                self.one_way(list, &weights, sizes, own.backward, (sigmoid, tanh, tanh), state, memory, give);
            } else {
                let cut = |function: Function| move |x: f32| function.of(x.clamp(-self.clip, self.clip));
                self.one_way(list, &weights, sizes, own.backward, (cut(first), cut(second), |x| third.of(x)), state, memory, give);
            }
        }
        let mut values = Values::new();
        values.push(Value::new([steps, ways, rows, hidden].as_slice(), out));
        values.push(Value::new([ways, rows, hidden].as_slice(), state));
        if self.cell == Cell::Lstm {
            values.push(Value::new([ways, rows, hidden].as_slice(), memory));
        }
        Ok(values)
    }
}

impl Recurrent {
    #[expect(clippy::too_many_arguments, reason = "one direction's arrays, all borrowed from the caller's")]
    fn one_way(
        &self,
        list: &[f32],
        weights: &Weights<'_>,
        sizes: Sizes,
        backward: bool,
        (first, second, third): (impl Fn(f32) -> f32, impl Fn(f32) -> f32, impl Fn(f32) -> f32),
        state: &mut [f32],
        memory: &mut [f32],
        mut give: impl FnMut(usize, &[f32]),
    ) {
        let Sizes { steps, rows, columns, hidden } = sizes;
        let gates = self.cell.gates() * hidden;
        if gates == 0 || rows == 0 {
            return;
        }
        let (w_bias, r_bias) = weights.bias.split_at(weights.bias.len() / 2);
        // The rows' share of all steps in one product.
        let mut given = if w_bias.is_empty() { vec![0.0; steps * rows * gates] } else { w_bias.repeat(steps * rows) };
        multiply((steps * rows, columns, gates), list, (columns, 1), weights.w, (1, columns), &mut given);
        let mut own = vec![0.0f32; rows * gates];
        let mut reset = vec![0.0f32; rows * hidden];
        for step in 0..steps {
            let step = if backward { steps - 1 - step } else { step };
            let given = &mut given[step * rows * gates..][..rows * gates];
            match r_bias {
                [] => own.fill(0.0),
                bias => own.chunks_exact_mut(gates).for_each(|own| own.copy_from_slice(bias)),
            }
            multiply((rows, hidden, gates), state, (hidden, 1), weights.r, (1, hidden), &mut own);
            match self.cell {
                Cell::Plain => state.iter_mut().zip(given.iter()).zip(&own).for_each(|((h, x), r)| *h = second(x + r)),
                Cell::Lstm => {
                    for row in 0..rows {
                        for at in 0..hidden {
                            let gate = |gate: usize| given[row * gates + gate * hidden + at] + own[row * gates + gate * hidden + at];
                            let (i, o, f, c) = (first(gate(0)), first(gate(1)), first(gate(2)), second(gate(3)));
                            let cell = &mut memory[row * hidden + at];
                            *cell = f * *cell + i * c;
                            state[row * hidden + at] = o * third(*cell);
                        }
                    }
                }
                Cell::Gru(behind) => {
                    for row in 0..rows {
                        for at in 0..hidden {
                            let gate = |gate: usize| first(given[row * gates + gate * hidden + at] + own[row * gates + gate * hidden + at]);
                            let (update, open) = (gate(0), gate(1));
                            given[row * gates + at] = update;
                            reset[row * hidden + at] = if behind { open } else { open * state[row * hidden + at] };
                        }
                    }
                    if !behind {
                        // The reset state goes through the last gate's weights once more.
                        let mut fresh = vec![0.0f32; rows * hidden];
                        if !r_bias.is_empty() {
                            fresh.chunks_exact_mut(hidden).for_each(|fresh| fresh.copy_from_slice(&r_bias[2 * hidden..]));
                        }
                        multiply((rows, hidden, hidden), &reset, (hidden, 1), &weights.r[2 * hidden * hidden..], (1, hidden), &mut fresh);
                        for row in 0..rows {
                            own[row * gates + 2 * hidden..][..hidden].copy_from_slice(&fresh[row * hidden..][..hidden]);
                        }
                    }
                    for row in 0..rows {
                        for at in 0..hidden {
                            let share = if behind { reset[row * hidden + at] } else { 1.0 };
                            let fresh = second(given[row * gates + 2 * hidden + at] + share * own[row * gates + 2 * hidden + at]);
                            let update = given[row * gates + at];
                            let h = &mut state[row * hidden + at];
                            *h = (1.0 - update) * fresh + update * *h;
                        }
                    }
                }
            }
            give(step, state);
        }
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    use Function as F;
    // The functions a direction may name, and those it has where it names none.
    let (cell, named, usual) = match name {
        "LSTM" => (Cell::Lstm, 0..3, [F::Sigmoid, F::Tanh, F::Tanh]),
        "GRU" => (Cell::Gru(node.int("linear_before_reset", 0) != 0), 0..2, [F::Sigmoid, F::Tanh, F::Tanh]),
        "RNN" => (Cell::Plain, 1..2, [F::Sigmoid, F::Tanh, F::Tanh]),
        _ => return Ok(None),
    };
    let backward: &[bool] = match node.text("direction", "forward")? {
        "forward" => &[false],
        "reverse" => &[true],
        "bidirectional" => &[false, true],
        other => return Err(node.refuse("direction", format_args!("is `{}`, which is not known", crate::names::shown(other)))),
    };
    let mut ways: Vec<Way> = backward.iter().map(|&backward| Way { backward, functions: usual }).collect();
    let asked = node.texts("activations")?;
    if !asked.is_empty() {
        if asked.len() != ways.len() * named.len() {
            return Err(node.refuse("activations", format_args!("names {} functions for {}", asked.len(), ways.len() * named.len())));
        }
        let places = ways.iter_mut().flat_map(|way| &mut way.functions[named.clone()]);
        for (place, name) in places.zip(&asked) {
            *place = match name.to_ascii_lowercase().as_str() {
                "sigmoid" => F::Sigmoid,
                "tanh" => F::Tanh,
                "relu" => F::Relu,
                _ => {
                    let text = format_args!("asks for `{}`; Sigmoid, Tanh and Relu are served", crate::names::shown(name));
                    return Err(unserved(node.refuse("activations", text).message().to_owned()));
                }
            };
        }
    }
    let asked = [
        (node.int("layout", 0) != 0, "attribute `layout` puts the rows first, which is"),
        (node.int("input_forget", 0) != 0, "attribute `input_forget` couples two gates, which is"),
        (node.has_input(7), "peepholes are"),
    ];
    if let Some((_, what)) = asked.iter().find(|(is, _)| *is) {
        return Err(unserved(format!("{what} not served")));
    }
    let clip = node.attribute("clip").map_or(f32::INFINITY, |attribute| attribute.f);
    if clip.is_nan() || clip <= 0.0 {
        return Err(node.refuse("clip", format_args!("is {clip}; it must be above 0")));
    }
    boxed(Recurrent { cell, ways, clip }).map(Some)
}
