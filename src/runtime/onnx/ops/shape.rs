//! Operators that move values or say how they lie, and change none: reshape, transpose, concat, slice, pad.
//!
//! They work on every type alike. Next: `gather.rs` for picking by index.
#![expect(clippy::indexing_slicing, reason = "axes were checked against the rank, offsets follow from shapes that were multiplied out")]

use smallvec::{SmallVec, smallvec};

use super::super::graph::Inputs;
use super::super::meter::Meter;
use super::super::node::Node;
use super::super::value::{
    Arg, Data, Ints, RANK_MAX, Shape, Value, View, around, axis, each, fault, same, stretched, strides, wrong_shapes,
};
use super::{Op, Values, boxed, one};
use crate::error::{Error, Result};
use crate::runtime::pipeline::CELLS_MAX;

/// Whole numbers known while planning, or read from an input.
#[derive(Debug)]
pub(super) enum Given {
    Fixed(Ints),
    Input(usize),
    Missing,
}

impl Given {
    pub(super) fn new(node: &Node<'_>, name: &str, input: usize) -> Result<Self> {
        Ok(match node.ints_or_input(name, input)? {
            Some(ints) => Self::Fixed(ints),
            None if node.has_input(input) => Self::Input(input),
            None => Self::Missing,
        })
    }

    pub(super) fn get(&self, inputs: &Inputs<'_, '_>) -> Result<Option<Ints>> {
        match self {
            Self::Fixed(ints) => Ok(Some(ints.clone())),
            Self::Input(at) => inputs.get(*at)?.ints().map(Some),
            Self::Missing => Ok(None),
        }
    }
}

/// Sorted, distinct axes; without any, `None`.
pub(super) fn axes(list: &[i64], rank: usize) -> Result<SmallVec<[usize; 6]>> {
    let mut found = list.iter().map(|&at| axis(at, rank)).collect::<Result<SmallVec<[usize; 6]>>>()?;
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn side(number: i64) -> Result<usize> {
    usize::try_from(number).map_err(|_| fault(format!("a dimension of {number} was asked for")))
}

#[derive(Debug)]
struct Reshape {
    shape: Given,
    allow_zero: bool,
}

impl Op for Reshape {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let asked = self.shape.get(inputs)?.ok_or_else(|| fault("it has no shape"))?;
        let mut value = inputs.take(0)?;
        if asked.len() > RANK_MAX {
            return Err(fault(format!("{} dimensions were asked for; at most {RANK_MAX} are taken", asked.len())));
        }
        let mut shape = Shape::new();
        let (mut open, mut known) = (None, 1usize);
        for (at, &number) in asked.iter().enumerate() {
            let found = match number {
                -1 if open.is_some() => return Err(fault("two dimensions are left open")),
                -1 => {
                    open = Some(at);
                    1
                }
                0 if !self.allow_zero => *value.shape.get(at).ok_or_else(|| fault("a dimension is to be kept that is not there"))?,
                number => side(number)?,
            };
            known = known.checked_mul(found).ok_or_else(|| fault("the shape asked for is too large"))?;
            shape.push(found);
        }
        let size = value.data.len();
        if let Some(at) = open {
            shape[at] = size.checked_div(known).unwrap_or(0);
            known *= shape[at];
        }
        if known != size {
            return Err(fault(format!("{size} values do not fit shape {:?}", asked.as_slice())));
        }
        value.shape = shape;
        one(value)
    }
}

#[derive(Debug)]
struct Flatten(i64);

impl Op for Flatten {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut value = inputs.take(0)?;
        let rank = value.shape.len();
        let at = if self.0 == rank as i64 { rank } else { axis(self.0, rank.max(1))? };
        let (before, after) = value.shape.split_at(at.min(rank));
        value.shape = smallvec![before.iter().product(), after.iter().product()];
        one(value)
    }
}

/// The values of `arg` with its axes in another order.
///
/// # Errors
/// When a request may not take as much.
pub(super) fn transpose(arg: Arg<'_>, order: &[usize], meter: &Meter) -> Result<Value> {
    meter.size(arg.shape)?;
    let own = strides(arg.shape);
    let shape: Shape = order.iter().map(|&at| arg.shape[at]).collect();
    let steps: Shape = order.iter().map(|&at| own[at]).collect();
    Ok(Value { data: same!(meter, arg.data, list => walk(list, &shape, &steps))?, shape })
}

/// Values read from `list` by `steps` along each axis of `shape`.
fn walk<T: Clone>(list: &[T], shape: &[usize], steps: &[usize]) -> Vec<T> {
    let size: usize = shape.iter().product();
    let mut made = Vec::with_capacity(size);
    let Some((&side, outer)) = shape.split_last() else { return list.first().cloned().into_iter().collect() };
    let step = steps[outer.len()];
    if size == 0 {
        return made;
    }
    let mut at: Shape = smallvec![0; outer.len()];
    let mut start = 0;
    loop {
        if step == 1 {
            made.extend_from_slice(&list[start..start + side]);
        } else {
            made.extend((0..side).map(|n| list[start + n * step].clone()));
        }
        let mut axis = outer.len();
        loop {
            if axis == 0 {
                return made;
            }
            axis -= 1;
            at[axis] += 1;
            start += steps[axis];
            if at[axis] < outer[axis] {
                break;
            }
            start -= steps[axis] * outer[axis];
            at[axis] = 0;
        }
    }
}

#[derive(Debug)]
struct Transpose(Option<Ints>);

impl Op for Transpose {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        let rank = x.shape.len();
        let order: SmallVec<[usize; 6]> = match &self.0 {
            None => (0..rank).rev().collect(),
            Some(order) => order.iter().map(|&at| axis(at, rank)).collect::<Result<_>>()?,
        };
        let mut seen = order.clone();
        seen.sort_unstable();
        seen.dedup();
        if seen.len() != rank || order.len() != rank {
            return Err(fault(format!("its order does not name each of the {rank} axes once")));
        }
        // Axes of one move nothing: the values already lie right.
        let moved: SmallVec<[usize; 6]> = order.iter().copied().filter(|&at| x.shape[at] != 1).collect();
        if moved.windows(2).all(|pair| pair[0] < pair[1]) {
            let mut value = inputs.take(0)?;
            value.shape = order.iter().map(|&at| value.shape[at]).collect();
            return one(value);
        }
        one(transpose(x, &order, inputs.meter)?)
    }
}

#[derive(Debug)]
struct Concat(i64);

impl Op for Concat {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        if inputs.len() == 1 {
            return one(inputs.take(0)?);
        }
        let args: SmallVec<[Arg<'_>; 8]> = (0..inputs.len()).map(|at| inputs.get(at)).collect::<Result<_>>()?;
        let first = args.first().ok_or_else(|| fault("it has no input"))?;
        let at = axis(self.0, first.shape.len())?;
        let mut shape: Shape = first.shape.into();
        shape[at] = 0;
        for arg in &args {
            let fits = arg.shape.len() == shape.len() && (0..shape.len()).all(|axis| axis == at || arg.shape[axis] == shape[axis]);
            if !fits {
                return Err(wrong_shapes(first.shape, arg.shape));
            }
            shape[at] = shape[at].checked_add(arg.shape[at]).ok_or_else(|| fault("it is too long"))?;
        }
        let size = inputs.meter.size(&shape)?;
        let outer: usize = shape[..at].iter().product();
        inputs.meter.work((outer as u64).saturating_mul(args.len() as u64))?;
        macro_rules! join {
            ($type:ty) => {{
                let mut lists: SmallVec<[(std::slice::Chunks<'_, $type>, usize); 8]> = SmallVec::new();
                for arg in &args {
                    let width: usize = arg.shape[at..].iter().product();
                    lists.push((arg.list::<$type>()?.chunks(width.max(1)), width));
                }
                let mut made: Vec<$type> = Vec::with_capacity(size);
                for _ in 0..outer {
                    for (rows, _) in &mut lists {
                        made.extend_from_slice(rows.next().unwrap_or_default());
                    }
                }
                made
            }};
        }
        let data = match first.data {
            View::F32(_) => Data::F32(join!(f32)),
            View::F64(_) => Data::F64(join!(f64)),
            View::I64(_) => Data::I64(join!(i64)),
            View::I32(_) => Data::I32(join!(i32)),
            View::Bool(_) => Data::Bool(join!(bool)),
            View::Text(_) => {
                for arg in &args {
                    inputs.meter.texts(&inputs.meter.lengths(arg.list()?)?)?;
                }
                Data::Text(join!(Box<str>))
            }
        };
        one(Value { shape, data })
    }
}

#[derive(Debug)]
struct Slice {
    starts: Given,
    ends: Given,
    axes: Given,
    steps: Given,
}

impl Op for Slice {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let missing = || fault("it has no starts or ends");
        let (starts, ends) = (self.starts.get(inputs)?.ok_or_else(missing)?, self.ends.get(inputs)?.ok_or_else(missing)?);
        let x = inputs.get(0)?;
        let rank = x.shape.len();
        let axes = match self.axes.get(inputs)? {
            Some(axes) => axes,
            None => (0..starts.len() as i64).collect(),
        };
        let steps = self.steps.get(inputs)?.unwrap_or_else(|| smallvec![1; starts.len()]);
        if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
            return Err(fault("its starts, ends, axes and steps are not equally many"));
        }
        let mut picks: SmallVec<[(i64, i64, usize); 6]> = x.shape.iter().map(|&side| (0, 1, side)).collect();
        for at in 0..starts.len() {
            let axis = axis(axes[at], rank)?;
            let (length, step) = (x.shape[axis] as i64, steps[at]);
            if step == 0 {
                return Err(fault("it steps by 0"));
            }
            let wrap = |place: i64| if place < 0 { place.saturating_add(length) } else { place };
            let (start, end) = if step > 0 {
                (wrap(starts[at]).clamp(0, length), wrap(ends[at]).clamp(0, length))
            } else {
                (wrap(starts[at]).clamp(-1, length - 1), wrap(ends[at]).clamp(-1, length - 1))
            };
            let span = if step > 0 { end - start } else { start - end };
            let count = if span <= 0 { 0 } else { (span as u64).div_ceil(step.unsigned_abs()) };
            picks[axis] = (start, step, count as usize);
        }
        let shape: Shape = picks.iter().map(|pick| pick.2).collect();
        inputs.meter.size(&shape)?;
        let own = strides(x.shape);
        let data = same!(inputs.meter, x.data, list => {
            let mut made = Vec::with_capacity(shape.iter().product());
            if shape.iter().all(|&side| side > 0) {
                slice(list, &picks, &own, 0, &mut made);
            }
            made
        })?;
        one(Value { shape, data })
    }
}

fn slice<T: Clone>(list: &[T], picks: &[(i64, i64, usize)], strides: &[usize], base: usize, made: &mut Vec<T>) {
    let (Some((&(start, step, count), picks)), Some((&stride, strides))) = (picks.split_first(), strides.split_first()) else {
        made.extend(list.get(base).cloned());
        return;
    };
    // All axes behind whole: one run of neighbours.
    if step == 1 && picks.iter().zip(strides).all(|(pick, _)| pick.0 == 0 && pick.1 == 1) {
        let whole: usize = picks.iter().map(|pick| pick.2).product();
        if whole == stride {
            made.extend_from_slice(&list[base + start as usize * stride..base + (start as usize + count) * stride]);
            return;
        }
    }
    for n in 0..count as i64 {
        slice(list, picks, strides, base + (start + n * step) as usize * stride, made);
    }
}

#[derive(Debug)]
struct Squeeze(Given);

impl Op for Squeeze {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let asked = self.0.get(inputs)?;
        let mut value = inputs.take(0)?;
        let drop = match asked {
            Some(asked) => axes(&asked, value.shape.len())?,
            None => (0..value.shape.len()).filter(|&at| value.shape[at] == 1).collect(),
        };
        if let Some(at) = drop.iter().find(|&&at| value.shape[at] != 1) {
            return Err(fault(format!("axis {at} of length {} cannot be squeezed", value.shape[*at])));
        }
        value.shape = (0..value.shape.len()).filter(|at| !drop.contains(at)).map(|at| value.shape[at]).collect();
        one(value)
    }
}

#[derive(Debug)]
struct Unsqueeze(Given);

impl Op for Unsqueeze {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let asked = self.0.get(inputs)?.ok_or_else(|| fault("it has no axes"))?;
        let mut value = inputs.take(0)?;
        let rank = value.shape.len() + asked.len();
        let added = axes(&asked, rank)?;
        if rank > RANK_MAX || added.len() != asked.len() {
            return Err(fault("its axes are too many or named twice"));
        }
        let mut own = value.shape.iter().copied();
        value.shape = (0..rank).map(|at| if added.contains(&at) { 1 } else { own.next().unwrap_or(1) }).collect();
        one(value)
    }
}

#[derive(Debug)]
struct ShapeOf {
    start: i64,
    end: Option<i64>,
}

impl Op for ShapeOf {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        let rank = x.shape.len() as i64;
        let wrap = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank) as usize;
        let (start, end) = (wrap(self.start), self.end.map_or(rank as usize, wrap));
        let list: Vec<i64> = x.shape.get(start..end).unwrap_or_default().iter().map(|&side| side as i64).collect();
        one(Value::new([list.len()].as_slice(), list))
    }
}

#[derive(Debug)]
struct Size;

impl Op for Size {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        one(Value::new(Shape::new(), vec![inputs.get(0)?.data.len() as i64]))
    }
}

#[derive(Debug)]
struct Expand;

impl Op for Expand {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let asked = inputs.get(1)?.ints()?;
        let asked: Shape = asked.iter().map(|&number| side(number)).collect::<Result<_>>()?;
        let x = inputs.get(0)?;
        let shape = super::super::value::broadcast(x.shape, &asked)?;
        inputs.meter.size(&shape)?;
        let steps = stretched(x.shape, &shape);
        one(Value { data: same!(inputs.meter, x.data, list => walk(list, &shape, &steps))?, shape })
    }
}

#[derive(Debug)]
struct Tile;

impl Op for Tile {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (x, times) = (inputs.get(0)?, inputs.get(1)?.ints()?);
        if times.len() != x.shape.len() {
            return Err(fault("it repeats other axes than there are"));
        }
        let mut shape = Shape::new();
        for (&own, &times) in x.shape.iter().zip(&times) {
            shape.push(own.checked_mul(side(times)?).ok_or_else(|| fault("it is too long"))?);
        }
        let size = inputs.meter.size(&shape)?;
        let (own, out) = (strides(x.shape), strides(&shape));
        let from =
            |at: usize| (0..shape.len()).map(|axis| at / out[axis] % shape[axis].max(1) % x.shape[axis].max(1) * own[axis]).sum::<usize>();
        let data = same!(inputs.meter, x.data, list => (0..size).filter_map(|at| list.get(from(at)).cloned()).collect())?;
        one(Value { data, shape })
    }
}

#[derive(Debug)]
struct Split {
    axis: i64,
    lengths: Given,
    outputs: usize,
}

impl Op for Split {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let lengths = self.lengths.get(inputs)?;
        let x = inputs.get(0)?;
        let at = axis(self.axis, x.shape.len())?;
        let (before, middle, after) = around(x.shape, at);
        let lengths: Vec<usize> = match lengths {
            Some(lengths) => lengths.iter().map(|&number| side(number)).collect::<Result<_>>()?,
            None => {
                let each = middle.div_ceil(self.outputs.max(1));
                (0..self.outputs).map(|n| each.min(middle.saturating_sub(n * each))).collect()
            }
        };
        if lengths.iter().try_fold(0usize, |sum, &length| sum.checked_add(length)) != Some(middle) {
            return Err(fault(format!("its lengths do not add up to {middle}")));
        }
        inputs.meter.size(x.shape)?;
        inputs.meter.work((before as u64).saturating_mul(lengths.len() as u64))?;
        fn cut<T: Clone>(list: &[T], form: (usize, usize, usize), start: usize, length: usize) -> Vec<T> {
            let (before, middle, after) = form;
            let mut made = Vec::with_capacity(before * length * after);
            for outer in 0..before {
                let from = (outer * middle + start) * after;
                made.extend_from_slice(&list[from..from + length * after]);
            }
            made
        }
        if let View::Text(list) = x.data {
            // Every text goes into one part, so all are asked for at once.
            inputs.meter.texts(&inputs.meter.lengths(list)?)?;
        }
        let mut start = 0;
        let mut values = Values::new();
        for length in lengths {
            let mut shape: Shape = x.shape.into();
            shape[at] = length;
            let form = (before, middle, after);
            let data = match x.data {
                View::Text(list) => Data::Text(cut(list, form, start, length)),
                other => same!(inputs.meter, other, list => cut(list, form, start, length))?,
            };
            values.push(Value { shape, data });
            start += length;
        }
        Ok(values)
    }
}

/// A constant attribute as an operator: folded away while planning.
#[derive(Debug)]
struct Constant(Value);

impl Op for Constant {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        one(self.0.arg().to_value(inputs.meter)?)
    }

    fn weight(&self) -> usize {
        self.0.weight()
    }
}

fn constant(node: &Node<'_>) -> Result<Value> {
    if let Some(value) = node.tensor("value")? {
        return Ok(value);
    }
    let list = |length: usize| -> Shape { smallvec![length] };
    for attribute in &node.proto.attribute {
        return Ok(match attribute.name.as_str() {
            "value_float" => Value::new(Shape::new(), vec![attribute.f]),
            "value_int" => Value::new(Shape::new(), vec![attribute.i]),
            "value_floats" => Value::new(list(attribute.floats.len()), attribute.floats.clone()),
            "value_ints" => Value::new(list(attribute.ints.len()), attribute.ints.clone()),
            "value_string" => Value::new(Shape::new(), vec![Box::<str>::from(node.text("value_string", "")?)]),
            "value_strings" => Value::new(list(attribute.strings.len()), node.texts("value_strings")?),
            _ => continue,
        });
    }
    Err(Error::invalid("it has no value"))
}

#[derive(Debug)]
struct ConstantOfShape(Value);

impl Op for ConstantOfShape {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let shape: Shape = inputs.get(0)?.ints()?.iter().map(|&number| side(number)).collect::<Result<_>>()?;
        let size = inputs.meter.size(&shape)?;
        let data = same!(inputs.meter, self.0.data.view(), list => list.iter().cycle().take(size).cloned().collect())?;
        one(Value { data, shape })
    }
}

#[derive(Debug)]
struct Range;

impl Op for Range {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (start, end, step) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        let first = |arg: Arg<'_>| arg.f64s().map(|list| list.first().copied().unwrap_or_default());
        let (low, high, by) = (first(start)?, first(end)?, first(step)?);
        let count = ((high - low) / by).ceil();
        if by == 0.0 || !count.is_finite() {
            return Err(fault("it steps by 0 or without end"));
        }
        let count = inputs.meter.size(&[count.max(0.0) as usize])?;
        let shape: Shape = smallvec![count];
        one(match start.data {
            View::F32(_) => Value::new(shape, (0..count).map(|n| (low + n as f64 * by) as f32).collect::<Vec<_>>()),
            View::F64(_) => Value::new(shape, (0..count).map(|n| low + n as f64 * by).collect::<Vec<_>>()),
            View::I64(_) => {
                Value::new(shape, (0..count as i64).map(|n| (low as i64).wrapping_add(n.wrapping_mul(by as i64))).collect::<Vec<_>>())
            }
            View::I32(_) => {
                Value::new(shape, (0..count as i32).map(|n| (low as i32).wrapping_add(n.wrapping_mul(by as i32))).collect::<Vec<_>>())
            }
            other => return Err(super::super::value::wrong_type(other)),
        })
    }
}

/// Values around an array: constant, the edge repeated, or the inside mirrored.
#[derive(Debug)]
struct Pad {
    pads: Given,
    mode: PadMode,
    own: f32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum PadMode {
    Constant,
    Edge,
    Reflect,
    Wrap,
}

impl Op for Pad {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let pads = self.pads.get(inputs)?.ok_or_else(|| fault("it has no pads"))?;
        let x = inputs.get(0)?;
        let rank = x.shape.len();
        let chosen = match inputs.optional(3) {
            Some(chosen) => chosen.ints()?.iter().map(|&at| axis(at, rank)).collect::<Result<SmallVec<[usize; 6]>>>()?,
            None => (0..rank).collect(),
        };
        if pads.len() != 2 * chosen.len() {
            return Err(fault(format!("it has {} pads for {} axes", pads.len(), chosen.len())));
        }
        // A pad before may be as negative as one behind is large; neither may run over on its own.
        if pads.iter().any(|pad| pad.unsigned_abs() > CELLS_MAX as u64) {
            return Err(fault("its pads are too large"));
        }
        let (mut before, mut behind, mut shape): (Ints, Ints, Shape) = (smallvec![0; rank], smallvec![0; rank], x.shape.into());
        for (n, &at) in chosen.iter().enumerate() {
            (before[at], behind[at]) = (pads[n], pads[n + chosen.len()]);
            let length = (x.shape[at] as i64).checked_add(pads[n]).and_then(|length| length.checked_add(pads[n + chosen.len()]));
            shape[at] = side(length.ok_or_else(|| fault("its pads are too large"))?)?;
        }
        let size = inputs.meter.size(&shape)?;
        let (own, out) = (strides(x.shape), strides(&shape));
        let from = |at: usize| -> Option<usize> {
            let mut place = 0;
            for axis in 0..rank {
                let length = x.shape[axis] as i64;
                let wanted = (at / out[axis] % shape[axis].max(1)) as i64 - before[axis];
                // Where an end is cut off, what is left is what comes again.
                let (first, last) = ((-before[axis]).max(0), length + behind[axis].min(0));
                let found = match self.mode {
                    _ if (0..length).contains(&wanted) => wanted,
                    PadMode::Constant => return None,
                    _ if length == 0 => return None,
                    PadMode::Edge => wanted.clamp(0, length - 1),
                    PadMode::Wrap if first >= last => return None,
                    PadMode::Wrap => first + (wanted - first).rem_euclid(last - first),
                    PadMode::Reflect => {
                        let period = (2 * (length - 1)).max(1);
                        let folded = wanted.rem_euclid(period);
                        if folded >= length { period - folded } else { folded }
                    }
                };
                place += found as usize * own[axis];
            }
            Some(place)
        };
        let fill = inputs.optional(2);
        macro_rules! pad {
            ($list:expr, $type:ty, $own:expr) => {{
                let fill: $type = match fill {
                    Some(fill) => fill.list::<$type>()?.first().cloned().unwrap_or($own),
                    None => $own,
                };
                (0..size).map(|at| from(at).and_then(|at| $list.get(at)).cloned().unwrap_or_else(|| fill.clone())).collect()
            }};
        }
        let data = match x.data {
            View::F32(list) => Data::F32(pad!(list, f32, self.own)),
            View::F64(list) => Data::F64(pad!(list, f64, f64::from(self.own))),
            View::I64(list) => Data::I64(pad!(list, i64, self.own as i64)),
            View::I32(list) => Data::I32(pad!(list, i32, self.own as i32)),
            View::Bool(list) => Data::Bool(pad!(list, bool, false)),
            View::Text(list) => {
                let fill = match fill {
                    Some(fill) => fill.list::<Box<str>>()?.first().map(|text| &**text).unwrap_or_default(),
                    None => "",
                };
                let text = |at: usize| from(at).and_then(|at| list.get(at)).map_or(fill, |text| &**text);
                inputs.meter.text(size, (0..size).map(|at| text(at).len()).sum())?;
                Data::Text((0..size).map(|at| text(at).into()).collect())
            }
        };
        one(Value { shape, data })
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    match name {
        "Reshape" => boxed(Reshape { shape: Given::new(node, "shape", 1)?, allow_zero: node.int("allowzero", 0) != 0 }),
        "Flatten" => boxed(Flatten(node.int("axis", 1))),
        "Transpose" => boxed(Transpose(node.attribute("perm").map(|attribute| attribute.ints.as_slice().into()))),
        "Concat" => boxed(Concat(node.int("axis", 1))),
        // Arrays of rows that a graph gives as a sequence are answered as the columns of one.
        "SequenceConstruct" => boxed(Concat(1)),
        "Slice" => boxed(Slice {
            starts: Given::new(node, "starts", 1)?,
            ends: Given::new(node, "ends", 2)?,
            axes: Given::new(node, "axes", 3)?,
            steps: Given::new(node, "steps", 4)?,
        }),
        "Squeeze" => boxed(Squeeze(Given::new(node, "axes", 1)?)),
        "Unsqueeze" => boxed(Unsqueeze(Given::new(node, "axes", 1)?)),
        "Shape" => boxed(ShapeOf { start: node.int("start", 0), end: node.attribute("end").map(|attribute| attribute.i) }),
        "Size" => boxed(Size),
        "Expand" => boxed(Expand),
        "Tile" => boxed(Tile),
        "Split" => boxed(Split { axis: node.int("axis", 0), lengths: Given::new(node, "split", 1)?, outputs: node.proto.output.len() }),
        "Constant" => boxed(Constant(constant(node)?)),
        "ConstantOfShape" => {
            let value = node.tensor("value")?.unwrap_or_else(|| Value::new([1].as_slice(), vec![0.0f32]));
            if each!(Data, &value.data, list => list.len()) != 1 {
                return Err(node.refuse("value", "holds other than one value"));
            }
            boxed(ConstantOfShape(value))
        }
        "Range" => boxed(Range),
        "Pad" => {
            let mode = match node.text("mode", "constant")? {
                "constant" => PadMode::Constant,
                "edge" => PadMode::Edge,
                "reflect" => PadMode::Reflect,
                "wrap" => PadMode::Wrap,
                other => return Err(node.refuse("mode", format_args!("is `{}`, which is not known", crate::names::shown(other)))),
            };
            boxed(Pad { pads: Given::new(node, "pads", 1)?, mode, own: node.float("value", 0.0) })
        }
        _ => return Ok(None),
    }
    .map(Some)
}
