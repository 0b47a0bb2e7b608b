//! One number from many along axes, and softmax, which divides by such a number.
//!
//! The axes are moved together first, so every reduction is over the middle of (before, middle, after). Next:
//! `select.rs` for the places of the largest.
#![expect(clippy::indexing_slicing, reason = "offsets follow from shapes that were multiplied out")]

use smallvec::SmallVec;

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Data, Shape, Value, View, around, axis, wrong_type};
use super::shape::{Given, axes, transpose};
use super::{Op, Values, boxed, one, vector};
use crate::error::Result;

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    L1,
    L2,
    SumSquare,
    LogSum,
    LogSumExp,
}

#[derive(Debug)]
struct Reduce {
    how: How,
    axes: Given,
    keep: bool,
    /// Without axes nothing is reduced, instead of everything.
    noop: bool,
}

/// Sums in lanes, which is quicker and closer than one running sum.
macro_rules! lanes {
    ($list:expr, $zero:expr, $f:expr) => {{
        let (list, f) = ($list, $f);
        let mut sums = [$zero; 8];
        let chunks = list.chunks_exact(8);
        let rest = chunks.remainder();
        for chunk in chunks {
            for (sum, &x) in sums.iter_mut().zip(chunk) {
                *sum += f(x);
            }
        }
        let mut sum = sums.iter().fold($zero, |sum, &x| sum + x);
        for &x in rest {
            sum += f(x);
        }
        sum
    }};
}

macro_rules! float_reduce {
    ($list:expr, $type:ty, $how:expr, $shape:expr) => {{
        let (before, middle, after) = $shape;
        let list: &[$type] = $list;
        let fold = |first: $type, f: &dyn Fn($type, $type) -> $type| -> Vec<$type> {
            let mut made = vec![first; before * after];
            for outer in 0..before {
                let out = &mut made[outer * after..(outer + 1) * after];
                for row in list[outer * middle * after..(outer + 1) * middle * after].chunks_exact(after.max(1)) {
                    for (out, &x) in out.iter_mut().zip(row) {
                        *out = f(*out, x);
                    }
                }
            }
            made
        };
        let sum = |f: fn($type) -> $type| -> Vec<$type> {
            if after == 1 {
                return (0..before).map(|outer| lanes!(&list[outer * middle..(outer + 1) * middle], 0.0, f)).collect();
            }
            fold(0.0, &|sum, x| sum + f(x))
        };
        let each = |mut list: Vec<$type>, f: &dyn Fn($type) -> $type| -> Vec<$type> {
            list.iter_mut().for_each(|x| *x = f(*x));
            list
        };
        match $how {
            How::Sum => sum(|x| x),
            How::Mean => each(sum(|x| x), &|x| x / middle as $type),
            How::Max => fold(<$type>::NEG_INFINITY, &|a, b| if a.is_nan() || a > b { a } else { b }),
            How::Min => fold(<$type>::INFINITY, &|a, b| if a.is_nan() || a < b { a } else { b }),
            How::Prod => fold(1.0, &|a, b| a * b),
            How::L1 => sum(|x| x.abs()),
            How::L2 => each(sum(|x| x * x), &|x| x.sqrt()),
            How::SumSquare => sum(|x| x * x),
            How::LogSum => each(sum(|x| x), &|x| x.ln()),
            How::LogSumExp => {
                let largest = fold(<$type>::NEG_INFINITY, &|a, b| if a.is_nan() || a > b { a } else { b });
                let mut made = vec![0.0; before * after];
                for outer in 0..before {
                    for step in 0..middle {
                        for inner in 0..after {
                            let shift = largest[outer * after + inner];
                            let shift = if shift.is_finite() { shift } else { 0.0 };
                            made[outer * after + inner] += (list[(outer * middle + step) * after + inner] - shift).exp();
                        }
                    }
                }
                made.iter().zip(&largest).map(|(sum, &shift)| sum.ln() + if shift.is_finite() { shift } else { 0.0 }).collect()
            }
        }
    }};
}

fn whole(list: &[i64], how: How, (before, middle, after): (usize, usize, usize)) -> Option<Vec<i64>> {
    let (first, f): (i64, fn(i64, i64) -> i64) = match how {
        How::Sum | How::Mean => (0, i64::wrapping_add),
        How::Max => (i64::MIN, i64::max),
        How::Min => (i64::MAX, i64::min),
        How::Prod => (1, i64::wrapping_mul),
        How::L1 => (0, |sum, x| sum.wrapping_add(x.wrapping_abs())),
        How::SumSquare => (0, |sum, x| sum.wrapping_add(x.wrapping_mul(x))),
        _ => return None,
    };
    let mut made = vec![first; before * after];
    for outer in 0..before {
        for step in 0..middle {
            for inner in 0..after {
                let out = &mut made[outer * after + inner];
                *out = f(*out, list[(outer * middle + step) * after + inner]);
            }
        }
    }
    if how == How::Mean {
        made.iter_mut().for_each(|x| *x /= (middle as i64).max(1));
    }
    Some(made)
}

impl Op for Reduce {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let asked = self.axes.get(inputs)?.filter(|asked| !asked.is_empty());
        let x = inputs.get(0)?;
        let rank = x.shape.len();
        inputs.meter.size(x.shape)?;
        let over = match asked {
            Some(asked) => axes(&asked, rank)?,
            // Over no axis each value is reduced by itself: its size, its square, its logarithm.
            None if self.noop => axes(&[], rank)?,
            None => (0..rank).collect(),
        };
        let moved;
        // Neighbouring axes are one; others are brought to the end first.
        let (arg, form) = match (over.first(), over.last()) {
            (Some(&first), Some(&last)) if last - first + 1 == over.len() => {
                let form =
                    (x.shape[..first].iter().product(), x.shape[first..=last].iter().product(), x.shape[last + 1..].iter().product());
                (x, form)
            }
            (None, _) => (x, (x.data.len(), 1, 1)),
            _ => {
                let order: SmallVec<[usize; 6]> = (0..rank).filter(|at| !over.contains(at)).chain(over.iter().copied()).collect();
                moved = transpose(x, &order, inputs.meter)?;
                let along = |reduced: bool| (0..rank).filter(|at| over.contains(at) == reduced).map(|at| x.shape[at]).product::<usize>();
                (moved.arg(), (along(false), along(true), 1))
            }
        };
        let data = match arg.data {
            View::F32(list) => Data::F32(float_reduce!(list, f32, self.how, form)),
            View::F64(list) => Data::F64(float_reduce!(list, f64, self.how, form)),
            View::I64(list) => Data::I64(whole(list, self.how, form).ok_or_else(|| wrong_type(arg.data))?),
            View::I32(list) => {
                let list: Vec<i64> = list.iter().map(|&x| i64::from(x)).collect();
                let made = whole(&list, self.how, form).ok_or_else(|| wrong_type(arg.data))?;
                // The largest or smallest of nothing is the end of what the type holds.
                let ends = i64::from(i32::MIN)..=i64::from(i32::MAX);
                let narrow = |x: i64| if matches!(self.how, How::Max | How::Min) { x.clamp(*ends.start(), *ends.end()) } else { x };
                Data::I32(made.iter().map(|&x| narrow(x) as i32).collect())
            }
            other => return Err(wrong_type(other)),
        };
        let side = |at: usize| match over.contains(&at) {
            true if self.keep => Some(1),
            true => None,
            false => Some(x.shape[at]),
        };
        let shape: Shape = (0..rank).filter_map(side).collect();
        one(Value { shape, data })
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Share {
    Plain,
    Log,
    /// All of it for the first of the largest.
    Hard,
}

#[derive(Debug)]
struct Softmax {
    axis: i64,
    share: Share,
    /// Before operator set 13, the axes from the chosen one on are one.
    joined: bool,
}

impl Op for Softmax {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut value = inputs.take(0)?;
        let at = axis(self.axis, value.shape.len())?;
        inputs.meter.work(8 * value.data.len() as u64)?;
        let (before, mut middle, mut after) = around(&value.shape, at);
        if self.joined {
            (middle, after) = (middle * after, 1);
        }
        if middle * after == 0 {
            return one(value);
        }
        match &mut value.data {
            Data::F32(list) if after == 1 && self.share == Share::Plain => vector::softmax(list, middle),
            Data::F32(list) => softmax(list, (before, middle, after), self.share, f32::NEG_INFINITY, f32::exp, f32::ln),
            Data::F64(list) => softmax(list, (before, middle, after), self.share, f64::NEG_INFINITY, f64::exp, f64::ln),
            other => return Err(wrong_type(other.view())),
        }
        one(value)
    }
}

fn softmax<T>(list: &mut [T], (before, middle, after): (usize, usize, usize), share: Share, least: T, exp: fn(T) -> T, ln: fn(T) -> T)
where
    T: Copy + PartialOrd + From<i8> + std::ops::Sub<Output = T> + std::ops::Div<Output = T> + std::iter::Sum,
{
    for outer in 0..before {
        for inner in 0..after {
            let place = |step: usize| (outer * middle + step) * after + inner;
            let largest = (0..middle).map(|step| list[place(step)]).fold(least, |a, b| if b > a { b } else { a });
            if share == Share::Hard {
                let first = (0..middle).find(|&step| list[place(step)] == largest);
                (0..middle).for_each(|step| list[place(step)] = T::from(i8::from(Some(step) == first)));
                continue;
            }
            let sum: T = (0..middle).map(|step| exp(list[place(step)] - largest)).sum();
            for step in 0..middle {
                let x = list[place(step)] - largest;
                list[place(step)] = if share == Share::Log { x - ln(sum) } else { exp(x) / sum };
            }
        }
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    let how = match name {
        "ReduceSum" => How::Sum,
        "ReduceMean" => How::Mean,
        "ReduceMax" => How::Max,
        "ReduceMin" => How::Min,
        "ReduceProd" => How::Prod,
        "ReduceL1" => How::L1,
        "ReduceL2" => How::L2,
        "ReduceSumSquare" => How::SumSquare,
        "ReduceLogSum" => How::LogSum,
        "ReduceLogSumExp" => How::LogSumExp,
        "Softmax" | "LogSoftmax" | "Hardmax" => {
            let share = match name {
                "LogSoftmax" => Share::Log,
                "Hardmax" => Share::Hard,
                _ => Share::Plain,
            };
            let joined = node.opset < 13;
            return boxed(Softmax { axis: node.int("axis", if joined { 1 } else { -1 }), share, joined }).map(Some);
        }
        _ => return Ok(None),
    };
    let keep = node.int("keepdims", 1) != 0;
    boxed(Reduce { how, axes: Given::new(node, "axes", 1)?, keep, noop: node.int("noop_with_empty_axes", 0) != 0 }).map(Some)
}
