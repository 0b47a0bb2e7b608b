//! Comparisons, truth tables and choices by them.
//!
//! Everything here gives true or false, or takes it. Next: `elementwise.rs`, whose walk over two shapes is used.

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Data, Value, View, broadcast, same, wrong_type};
use super::elementwise::zip;
use super::{Op, Values, boxed, one};
use crate::error::Result;

#[derive(Debug, Clone, Copy)]
enum Compare {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Compare {
    fn holds<T: PartialOrd>(self, a: &T, b: &T) -> bool {
        match self {
            Self::Equal => a == b,
            Self::Less => a < b,
            Self::LessOrEqual => a <= b,
            Self::Greater => a > b,
            Self::GreaterOrEqual => a >= b,
        }
    }
}

impl Op for Compare {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let out = broadcast(a.shape, b.shape)?;
        let size = inputs.meter.size(&out)?;
        macro_rules! run {
            ($x:expr, $y:expr) => {
                match self {
                    Self::Equal => zip($x, a.shape, $y, b.shape, &out, |a, b| Self::Equal.holds(a, b)),
                    Self::Less => zip($x, a.shape, $y, b.shape, &out, |a, b| Self::Less.holds(a, b)),
                    other => zip($x, a.shape, $y, b.shape, &out, |a, b| other.holds(a, b)),
                }
            };
        }
        let list = match (a.data, b.data) {
            (View::F32(x), View::F32(y)) => run!(x, y),
            (View::F64(x), View::F64(y)) => run!(x, y),
            (View::I64(x), View::I64(y)) => run!(x, y),
            (View::I32(x), View::I32(y)) => run!(x, y),
            (View::Bool(x), View::Bool(y)) => run!(x, y),
            (View::Text(x), View::Text(y)) => {
                // Two equal texts are read to the end.
                let longest = |list: &[Box<str>]| list.iter().map(|text| text.len()).max().unwrap_or_default();
                inputs.meter.work((size as u64).saturating_mul(longest(x).min(longest(y)) as u64 / 8))?;
                run!(x, y)
            }
            (_, other) => return Err(wrong_type(other)),
        };
        one(Value::new(out, list))
    }
}

#[derive(Debug, Clone, Copy)]
enum Logic {
    And,
    Or,
    Xor,
}

impl Op for Logic {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let out = broadcast(a.shape, b.shape)?;
        inputs.meter.size(&out)?;
        let (x, y) = (a.list::<bool>()?, b.list::<bool>()?);
        let list = match self {
            Self::And => zip(x, a.shape, y, b.shape, &out, |&a, &b| a && b),
            Self::Or => zip(x, a.shape, y, b.shape, &out, |&a, &b| a || b),
            Self::Xor => zip(x, a.shape, y, b.shape, &out, |&a, &b| a ^ b),
        };
        one(Value::new(out, list))
    }
}

#[derive(Debug, Clone, Copy)]
enum Test {
    Not,
    IsNan,
    /// Whether below and above zero count.
    IsInf(bool, bool),
}

impl Op for Test {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        inputs.meter.size(x.shape)?;
        let list: Vec<bool> = match (self, x.data) {
            (Self::Not, View::Bool(list)) => list.iter().map(|x| !x).collect(),
            (Self::IsNan, View::F32(list)) => list.iter().map(|x| x.is_nan()).collect(),
            (Self::IsNan, View::F64(list)) => list.iter().map(|x| x.is_nan()).collect(),
            (Self::IsInf(below, above), View::F32(list)) => {
                list.iter().map(|&x| (*below && x == f32::NEG_INFINITY) || (*above && x == f32::INFINITY)).collect()
            }
            (Self::IsInf(below, above), View::F64(list)) => {
                list.iter().map(|&x| (*below && x == f64::NEG_INFINITY) || (*above && x == f64::INFINITY)).collect()
            }
            (_, other) => return Err(wrong_type(other)),
        };
        one(Value::new(x.shape, list))
    }
}

/// The second where the first is true, else the third.
#[derive(Debug)]
struct Where;

impl Op for Where {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (test, yes, no) = (inputs.get(0)?, inputs.get(1)?, inputs.get(2)?);
        let both = broadcast(yes.shape, no.shape)?;
        let out = broadcast(test.shape, &both)?;
        inputs.meter.size(&both)?;
        inputs.meter.size(&out)?;
        let test_list = test.list::<bool>()?;
        macro_rules! choose {
            ($x:expr, $y:expr) => {{
                let pairs = zip($x, yes.shape, $y, no.shape, &both, |a, b| (a, b));
                zip(test_list, test.shape, &pairs, &both, &out, |&test, &(yes, no)| if test { yes.clone() } else { no.clone() })
            }};
        }
        let data = match (yes.data, no.data) {
            (View::F32(x), View::F32(y)) => Data::F32(choose!(x, y)),
            (View::F64(x), View::F64(y)) => Data::F64(choose!(x, y)),
            (View::I64(x), View::I64(y)) => Data::I64(choose!(x, y)),
            (View::I32(x), View::I32(y)) => Data::I32(choose!(x, y)),
            (View::Bool(x), View::Bool(y)) => Data::Bool(choose!(x, y)),
            (View::Text(x), View::Text(y)) => {
                // On the lengths first: they say what the copies take.
                let (x_lengths, y_lengths) = (inputs.meter.lengths(x)?, inputs.meter.lengths(y)?);
                inputs.meter.texts(&choose!(x_lengths.as_slice(), y_lengths.as_slice()))?;
                Data::Text(choose!(x, y))
            }
            (_, other) => return Err(wrong_type(other)),
        };
        one(Value { shape: out, data })
    }
}

/// The places of all values that are not 0, as one column of coordinates each.
#[derive(Debug)]
struct NonZero;

impl Op for NonZero {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        inputs.meter.size(x.shape)?;
        let found: Vec<usize> = match x.data {
            View::Bool(list) => places(list, |&x| x),
            View::F32(list) => places(list, |&x| x != 0.0),
            View::F64(list) => places(list, |&x| x != 0.0),
            View::I64(list) => places(list, |&x| x != 0),
            View::I32(list) => places(list, |&x| x != 0),
            View::Text(_) => return Err(wrong_type(x.data)),
        };
        let rank = x.shape.len();
        inputs.meter.size(&[rank.max(1), found.len()])?;
        let strides = super::super::value::strides(x.shape);
        let mut list = Vec::with_capacity(rank * found.len());
        for (&stride, &side) in strides.iter().zip(x.shape) {
            list.extend(found.iter().map(|at| (at / stride.max(1) % side.max(1)) as i64));
        }
        one(Value::new([rank, found.len()].as_slice(), list))
    }
}

fn places<T>(list: &[T], holds: impl Fn(&T) -> bool) -> Vec<usize> {
    list.iter().enumerate().filter(|(_, x)| holds(x)).map(|(at, _)| at).collect()
}

/// The slices along an axis, or values of the flat array, for which a list says true.
#[derive(Debug)]
struct Compress {
    axis: Option<i64>,
}

impl Op for Compress {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (x, test) = (inputs.get(0)?, inputs.get(1)?.list::<bool>()?);
        inputs.meter.size(x.shape)?;
        let flat = [x.data.len()];
        let (shape, axis) = match self.axis {
            Some(axis) => (x.shape, super::super::value::axis(axis, x.shape.len())?),
            None => (flat.as_slice(), 0),
        };
        let (before, middle, after) = super::super::value::around(shape, axis);
        let kept: Vec<usize> = places(test, |&x| x).into_iter().filter(|&at| at < middle).collect();
        let data = same!(inputs.meter, x.data, list => {
            let mut made = Vec::with_capacity(before * kept.len() * after);
            for outer in 0..before {
                for at in &kept {
                    let start = (outer * middle + at) * after;
                    made.extend_from_slice(list.get(start..start + after).unwrap_or_default());
                }
            }
            made
        })?;
        let mut out: super::super::value::Shape = shape.into();
        if let Some(side) = out.get_mut(axis) {
            *side = kept.len();
        }
        one(Value { shape: out, data })
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    match name {
        "Equal" => boxed(Compare::Equal),
        "Less" => boxed(Compare::Less),
        "LessOrEqual" => boxed(Compare::LessOrEqual),
        "Greater" => boxed(Compare::Greater),
        "GreaterOrEqual" => boxed(Compare::GreaterOrEqual),
        "And" => boxed(Logic::And),
        "Or" => boxed(Logic::Or),
        "Xor" => boxed(Logic::Xor),
        "Not" => boxed(Test::Not),
        "IsNaN" => boxed(Test::IsNan),
        "IsInf" => boxed(Test::IsInf(node.int("detect_negative", 1) != 0, node.int("detect_positive", 1) != 0)),
        "Where" => boxed(Where),
        "NonZero" => boxed(NonZero),
        "Compress" => boxed(Compress { axis: node.attribute("axis").map(|attribute| attribute.i) }),
        _ => return Ok(None),
    }
    .map(Some)
}
