//! Picking and placing by index; every index is checked when it is used.
//!
//! A trial row's own indices mean nothing, so one outside is then the first. Next: `select.rs` for operators that make indices.
#![expect(clippy::indexing_slicing, reason = "axes were checked against the rank, indices against their axis")]

use super::super::graph::Inputs;
use super::super::meter::Meter;
use super::super::node::Node;
use super::super::value::{Data, Shape, Value, View, around, axis, fault, same, strides, wrong_shapes, wrong_type};
use super::{Op, Values, boxed, one};
use crate::error::Result;

/// An index, from the end where negative, as a place on an axis.
pub(crate) fn place(index: i64, length: usize) -> Result<usize> {
    let found = if index < 0 { index.saturating_add(length as i64) } else { index };
    usize::try_from(found)
        .ok()
        .filter(|&found| found < length)
        .ok_or_else(|| fault(format!("index {index} is outside an axis of {length}")))
}

/// As [`place`]; an index outside that is `forgiven` is the first.
fn found(index: i64, length: usize, forgiven: bool) -> Result<usize> {
    place(index, length).or_else(|error| if forgiven && length > 0 { Ok(0) } else { Err(error) })
}

#[derive(Debug)]
struct Gather(i64);

impl Op for Gather {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (x, picks) = (inputs.get(0)?, inputs.get(1)?);
        let at = axis(self.0, x.shape.len())?;
        let (before, middle, after) = around(x.shape, at);
        let forgiven = inputs.forgives(1);
        let places = picks.ints()?.iter().map(|&index| found(index, middle, forgiven)).collect::<Result<Vec<usize>>>()?;
        let mut shape: Shape = x.shape[..at].into();
        shape.extend_from_slice(picks.shape);
        shape.extend_from_slice(&x.shape[at + 1..]);
        let size = inputs.meter.size(&shape)?;
        let data = same!(inputs.meter, x.data, list => {
            let mut made = Vec::with_capacity(size);
            for outer in 0..before {
                for place in &places {
                    let from = (outer * middle + place) * after;
                    made.extend_from_slice(&list[from..from + after]);
                }
            }
            made
        })?;
        one(Value { shape, data })
    }
}

#[derive(Debug)]
struct GatherElements(i64);

impl Op for GatherElements {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (x, picks) = (inputs.get(0)?, inputs.get(1)?);
        let at = axis(self.0, x.shape.len())?;
        let fits = x.shape.len() == picks.shape.len() && (0..x.shape.len()).all(|axis| axis == at || picks.shape[axis] <= x.shape[axis]);
        if !fits {
            return Err(wrong_shapes(x.shape, picks.shape));
        }
        inputs.meter.size(picks.shape)?;
        let places = elements(&picks.ints()?, picks.shape, x.shape, at, inputs.forgives(1))?;
        one(Value {
            data: same!(inputs.meter, x.data, list => places.iter().filter_map(|&place| list.get(place).cloned()).collect())?,
            shape: picks.shape.into(),
        })
    }
}

/// For each index of an array of `shape`, the place in an array of `into` whose axis `at` it names.
fn elements(indices: &[i64], shape: &[usize], into: &[usize], at: usize, forgiven: bool) -> Result<Vec<usize>> {
    let (own, other) = (strides(shape), strides(into));
    let one = |(number, &index): (usize, &i64)| {
        let mut place = found(index, into[at], forgiven)? * other[at];
        for axis in (0..shape.len()).filter(|&axis| axis != at) {
            place += number / own[axis] % shape[axis].max(1) * other[axis];
        }
        Ok(place)
    };
    indices.iter().enumerate().map(one).collect()
}

#[derive(Debug)]
struct GatherNd(i64);

impl Op for GatherNd {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (x, picks) = (inputs.get(0)?, inputs.get(1)?);
        let batch = usize::try_from(self.0).map_err(|_| fault("its batch axes are negative"))?;
        let (Some(&depth), true) = (picks.shape.last(), batch < picks.shape.len()) else { return Err(wrong_shapes(x.shape, picks.shape)) };
        if batch + depth > x.shape.len() || x.shape.get(..batch) != picks.shape.get(..batch) || depth == 0 {
            return Err(wrong_shapes(x.shape, picks.shape));
        }
        let mut shape: Shape = picks.shape[..picks.shape.len() - 1].into();
        shape.extend_from_slice(&x.shape[batch + depth..]);
        let size = inputs.meter.size(&shape)?;
        let own = strides(x.shape);
        let run: usize = x.shape[batch + depth..].iter().product();
        let batches: usize = x.shape[..batch].iter().product();
        let whole: usize = x.shape[batch..].iter().product();
        let (indices, forgiven) = (picks.ints()?, inputs.forgives(1));
        let tuples = indices.len() / depth;
        let each = tuples.checked_div(batches).unwrap_or(0).max(1);
        let mut starts = Vec::with_capacity(tuples);
        for (number, tuple) in indices.chunks_exact(depth).enumerate() {
            let mut start = number / each * whole;
            for (step, &index) in tuple.iter().enumerate() {
                start += found(index, x.shape[batch + step], forgiven)? * own[batch + step];
            }
            starts.push(start);
        }
        let data = same!(inputs.meter, x.data, list => {
            let mut made = Vec::with_capacity(size);
            for &start in &starts {
                made.extend_from_slice(&list[start..start + run]);
            }
            made
        })?;
        one(Value { shape, data })
    }
}

/// How a value that is placed meets the one that is there.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meets {
    Replaces,
    Adds,
    Multiplies,
    Smallest,
    Largest,
}

fn put(into: &mut Data, places: &[usize], from: View<'_>, meets: Meets, meter: &Meter) -> Result<()> {
    macro_rules! numbers {
        ($into:expr, $from:expr) => {
            for (&place, &value) in places.iter().zip($from) {
                let old = &mut $into[place];
                *old = match meets {
                    Meets::Replaces => value,
                    Meets::Adds => *old + value,
                    Meets::Multiplies => *old * value,
                    Meets::Smallest => {
                        if value < *old {
                            value
                        } else {
                            *old
                        }
                    }
                    Meets::Largest => {
                        if value > *old {
                            value
                        } else {
                            *old
                        }
                    }
                };
            }
        };
    }
    match (into, from) {
        (Data::F32(into), View::F32(from)) => numbers!(into, from),
        (Data::F64(into), View::F64(from)) => numbers!(into, from),
        (Data::I64(into), View::I64(from)) if matches!(meets, Meets::Replaces | Meets::Smallest | Meets::Largest) => {
            for (&place, &value) in places.iter().zip(from) {
                into[place] = match meets {
                    Meets::Smallest => value.min(into[place]),
                    Meets::Largest => value.max(into[place]),
                    _ => value,
                };
            }
        }
        (Data::I64(into), View::I64(from)) => {
            for (&place, &value) in places.iter().zip(from) {
                into[place] = if meets == Meets::Adds { into[place].wrapping_add(value) } else { into[place].wrapping_mul(value) };
            }
        }
        (Data::I32(into), View::I32(from)) if meets == Meets::Replaces => {
            places.iter().zip(from).for_each(|(&place, &value)| into[place] = value)
        }
        (Data::Bool(into), View::Bool(from)) if meets == Meets::Replaces => {
            places.iter().zip(from).for_each(|(&place, &value)| into[place] = value)
        }
        (Data::Text(into), View::Text(from)) if meets == Meets::Replaces => {
            meter.texts(&meter.lengths(from)?)?;
            places.iter().zip(from).for_each(|(&place, value)| into[place] = value.clone());
        }
        (_, other) => return Err(wrong_type(other)),
    }
    Ok(())
}

#[derive(Debug)]
struct ScatterElements(i64, Meets);

impl Op for ScatterElements {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut into = inputs.take(0)?;
        let (picks, values) = (inputs.get(1)?, inputs.get(2)?);
        let at = axis(self.0, into.shape.len())?;
        let fits = picks.shape == values.shape
            && into.shape.len() == picks.shape.len()
            && (0..into.shape.len()).all(|axis| axis == at || picks.shape[axis] <= into.shape[axis]);
        if !fits {
            return Err(wrong_shapes(picks.shape, values.shape));
        }
        let places = elements(&picks.ints()?, picks.shape, &into.shape, at, inputs.forgives(1))?;
        put(&mut into.data, &places, values.data, self.1, inputs.meter)?;
        one(into)
    }
}

#[derive(Debug)]
struct ScatterNd(Meets);

impl Op for ScatterNd {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut into = inputs.take(0)?;
        let (picks, values) = (inputs.get(1)?, inputs.get(2)?);
        let depth = picks.shape.last().copied().filter(|&depth| depth <= into.shape.len() && depth > 0);
        let depth = depth.ok_or_else(|| wrong_shapes(&into.shape, picks.shape))?;
        let own = strides(&into.shape);
        let run: usize = into.shape[depth..].iter().product();
        let (indices, forgiven) = (picks.ints()?, inputs.forgives(1));
        if indices.len() / depth * run != values.data.len() {
            return Err(wrong_shapes(picks.shape, values.shape));
        }
        let mut places = Vec::with_capacity(inputs.meter.size(values.shape)?);
        for tuple in indices.chunks_exact(depth) {
            let mut start = 0;
            for (step, &index) in tuple.iter().enumerate() {
                start += found(index, into.shape[step], forgiven)? * own[step];
            }
            places.extend(start..start + run);
        }
        put(&mut into.data, &places, values.data, self.0, inputs.meter)?;
        one(into)
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    let meets = || {
        Ok(match node.text("reduction", "none")? {
            "none" => Meets::Replaces,
            "add" => Meets::Adds,
            "mul" => Meets::Multiplies,
            "min" => Meets::Smallest,
            "max" => Meets::Largest,
            other => return Err(node.refuse("reduction", format_args!("is `{}`, which is not known", crate::names::shown(other)))),
        })
    };
    match name {
        "Gather" => boxed(Gather(node.int("axis", 0))),
        "GatherElements" => boxed(GatherElements(node.int("axis", 0))),
        "GatherND" => boxed(GatherNd(node.int("batch_dims", 0))),
        "ScatterElements" | "Scatter" => boxed(ScatterElements(node.int("axis", 0), meets()?)),
        "ScatterND" => boxed(ScatterNd(meets()?)),
        _ => return Ok(None),
    }
    .map(Some)
}
