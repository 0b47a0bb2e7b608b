//! The places of the largest and smallest, running sums, one-hot rows.
//!
//! Next: `gather.rs` for what is done with places.
#![expect(clippy::indexing_slicing, reason = "offsets follow from shapes that were multiplied out")]

use std::cmp::Ordering;

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Data, Shape, Value, View, around, axis, fault, same, wrong_type};
use super::{Op, Values, boxed, one};
use crate::error::Result;

#[derive(Debug)]
struct Arg {
    axis: i64,
    keep: bool,
    largest: bool,
    last: bool,
}

/// The place of the best of each run along an axis; of equals, the first or the last.
pub(crate) fn best<T: PartialOrd + Copy>(
    list: &[T],
    (before, middle, after): (usize, usize, usize),
    largest: bool,
    last: bool,
) -> Vec<i64> {
    let mut made = Vec::with_capacity(before * after);
    for outer in 0..before {
        for inner in 0..after {
            let at = |step: usize| list[(outer * middle + step) * after + inner];
            let (mut found, mut old) = (0, at(0));
            for step in 1..middle {
                let new = at(step);
                let better = if largest { new > old } else { new < old };
                if better || (last && new == old) {
                    (found, old) = (step, new);
                }
            }
            made.push(found as i64);
        }
    }
    made
}

impl Op for Arg {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        let at = axis(self.axis, x.shape.len())?;
        let form = around(x.shape, at);
        inputs.meter.size(x.shape)?;
        if form.1 == 0 {
            return Err(fault("the best of nothing was asked for"));
        }
        let list = match x.data {
            View::F32(list) => best(list, form, self.largest, self.last),
            View::F64(list) => best(list, form, self.largest, self.last),
            View::I64(list) => best(list, form, self.largest, self.last),
            View::I32(list) => best(list, form, self.largest, self.last),
            other => return Err(wrong_type(other)),
        };
        let mut shape: Shape = x.shape.into();
        if self.keep {
            shape[at] = 1;
        } else {
            shape.remove(at);
        }
        one(Value::new(shape, list))
    }
}

/// A total order, which sorting relies on: what is no number stands above all numbers, as in onnxruntime.
fn ranked<T: PartialOrd>(x: T, y: T) -> Ordering {
    let missing = |x: &T| x.partial_cmp(x).is_none();
    x.partial_cmp(&y).unwrap_or_else(|| missing(&x).cmp(&missing(&y)))
}

#[derive(Debug)]
struct TopK {
    axis: i64,
    largest: bool,
    /// The count, where an attribute gives it.
    own: Option<i64>,
}

impl Op for TopK {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        let count = match self.own {
            Some(own) => own,
            None => inputs.get(1)?.ints()?.first().copied().unwrap_or_default(),
        };
        let at = axis(self.axis, x.shape.len())?;
        let (before, middle, after) = around(x.shape, at);
        let count = usize::try_from(count)
            .ok()
            .filter(|&count| count <= middle)
            .ok_or_else(|| fault(format!("the best {count} of {middle} were asked for")))?;
        let mut shape: Shape = x.shape.into();
        shape[at] = count;
        inputs.meter.size(&shape)?;
        inputs.meter.size(&[middle])?;
        inputs.meter.work((x.data.len() as u64).saturating_mul(u64::from(count.max(2).ilog2()) + 4))?;
        let mut places = Vec::with_capacity(before * count * after);
        let mut order: Vec<u32> = Vec::with_capacity(middle);
        macro_rules! top {
            ($list:expr) => {{
                let list = $list;
                let mut values = Vec::with_capacity(before * count * after);
                let mut found = vec![0u32; count * after];
                for outer in 0..before {
                    for inner in 0..after {
                        let value = |step: u32| list[(outer * middle + step as usize) * after + inner];
                        order.clear();
                        order.extend(0..middle as u32);
                        let compare = |a: &u32, b: &u32| {
                            let order = ranked(value(*a), value(*b));
                            if self.largest { order.reverse() } else { order }.then(a.cmp(b))
                        };
                        if count > 0 && count < middle {
                            order.select_nth_unstable_by(count - 1, compare);
                        }
                        order.truncate(count);
                        order.sort_unstable_by(compare);
                        for (step, &place) in order.iter().enumerate() {
                            found[step * after + inner] = place;
                        }
                    }
                    for step in 0..count {
                        for inner in 0..after {
                            let place = found[step * after + inner];
                            values.push(list[(outer * middle + place as usize) * after + inner]);
                            places.push(i64::from(place));
                        }
                    }
                }
                values
            }};
        }
        let data = match x.data {
            View::F32(list) => Data::F32(top!(list)),
            View::F64(list) => Data::F64(top!(list)),
            View::I64(list) => Data::I64(top!(list)),
            View::I32(list) => Data::I32(top!(list)),
            other => return Err(wrong_type(other)),
        };
        let mut values = Values::new();
        values.push(Value { shape: shape.clone(), data });
        values.push(Value::new(shape, places));
        Ok(values)
    }
}

#[derive(Debug)]
struct CumSum {
    exclusive: bool,
    reverse: bool,
}

impl Op for CumSum {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let at = inputs.get(1)?.ints()?.first().copied().unwrap_or_default();
        let mut value = inputs.take(0)?;
        let (before, middle, after) = around(&value.shape, axis(at, value.shape.len())?);
        macro_rules! sums {
            ($list:expr, $zero:expr, $add:expr) => {
                for outer in 0..before {
                    for inner in 0..after {
                        let mut sum = $zero;
                        for step in 0..middle {
                            let step = if self.reverse { middle - 1 - step } else { step };
                            let x = &mut $list[(outer * middle + step) * after + inner];
                            let next = $add(sum, *x);
                            *x = if self.exclusive { sum } else { next };
                            sum = next;
                        }
                    }
                }
            };
        }
        match &mut value.data {
            Data::F32(list) => sums!(list, 0.0f32, |a: f32, b: f32| a + b),
            Data::F64(list) => sums!(list, 0.0f64, |a: f64, b: f64| a + b),
            Data::I64(list) => sums!(list, 0i64, i64::wrapping_add),
            Data::I32(list) => sums!(list, 0i32, i32::wrapping_add),
            other => return Err(wrong_type(other.view())),
        }
        one(value)
    }
}

#[derive(Debug)]
struct OneHot(i64);

impl Op for OneHot {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (picks, depth, pair) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        let depth = depth.f64s()?.first().copied().unwrap_or_default();
        let rank = picks.shape.len() + 1;
        let at = axis(self.0, rank)?;
        let mut shape: Shape = picks.shape.into();
        shape.insert(at, if depth >= 0.0 { depth as usize } else { 0 });
        let size = inputs.meter.size(&shape)?;
        if pair.data.len() != 2 {
            return Err(fault("its values are not a pair"));
        }
        let (before, middle, after) = around(&shape, at);
        let picks = picks.f64s()?;
        let mut hot = vec![false; size];
        for outer in 0..before {
            for inner in 0..after {
                let pick = picks[outer * after + inner];
                let pick = if pick < 0.0 { pick + middle as f64 } else { pick };
                if pick >= 0.0 && pick < middle as f64 {
                    hot[(outer * middle + pick as usize) * after + inner] = true;
                }
            }
        }
        let hot = hot.iter().map(|&hot| usize::from(hot));
        one(Value { shape, data: same!(inputs.meter, pair.data, list => hot.clone().filter_map(|hot| list.get(hot).cloned()).collect())? })
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    match name {
        "ArgMax" | "ArgMin" => boxed(Arg {
            axis: node.int("axis", 0),
            keep: node.int("keepdims", 1) != 0,
            largest: name == "ArgMax",
            last: node.int("select_last_index", 0) != 0,
        }),
        "TopK" => boxed(TopK {
            axis: node.int("axis", -1),
            largest: node.int("largest", 1) != 0,
            own: node.attribute("k").map(|attribute| attribute.i),
        }),
        "CumSum" => boxed(CumSum { exclusive: node.int("exclusive", 0) != 0, reverse: node.int("reverse", 0) != 0 }),
        "OneHot" => boxed(OneHot(node.int("axis", -1))),
        _ => return Ok(None),
    }
    .map(Some)
}
