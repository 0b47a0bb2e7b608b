//! `Unique`: what is there once of what is there often, where, and how often.
//!
//! Single values, or whole slices along an axis. Next: `select.rs`.
#![expect(clippy::indexing_slicing, reason = "places come from the lists they point into")]

use std::cmp::Ordering;

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Shape, Value, View, around, axis, fault, same};
use super::{Op, Values, boxed};
use crate::error::Result;

#[derive(Debug)]
struct Unique {
    axis: Option<i64>,
    sorted: bool,
}

/// Numbers in order, all that are none behind and alike.
fn order<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    let is_none = |x: &T| x.partial_cmp(x).is_none();
    a.partial_cmp(b).unwrap_or_else(|| is_none(a).cmp(&is_none(b)))
}

impl Op for Unique {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        let size = inputs.meter.size(x.shape)?;
        // Slice `n` holds, for each `outer`, `after` values from `(outer · count + n) · after`.
        let (before, count, after) = match self.axis {
            Some(at) => around(x.shape, axis(at, x.shape.len())?),
            None => (1, size, 1),
        };
        if size == 0 && count > 0 {
            return Err(fault(format!("it was handed an array of shape {:?}", x.shape)));
        }
        inputs.meter.size(&[count, 4])?;
        inputs.meter.work((size as u64).saturating_mul(u64::from(usize::BITS - count.leading_zeros())))?;
        macro_rules! compare {
            ($list:expr) => {{
                let list = $list;
                let slice = |n: usize| (0..before).flat_map(move |outer| list[(outer * count + n) * after..][..after].iter());
                let compare = |a: usize, b: usize| {
                    slice(a).zip(slice(b)).map(|(a, b)| order(a, b)).find(|order| order.is_ne()).unwrap_or(Ordering::Equal)
                };
                let mut sorted: Vec<usize> = (0..count).collect();
                sorted.sort_by(|&a, &b| compare(a, b));
                let new: Vec<bool> = (0..count).map(|at| at == 0 || compare(sorted[at - 1], sorted[at]).is_ne()).collect();
                (sorted, new)
            }};
        }
        let (sorted, new) = match x.data {
            View::F32(list) => compare!(list),
            View::F64(list) => compare!(list),
            View::I64(list) => compare!(list),
            View::I32(list) => compare!(list),
            View::Bool(list) => compare!(list),
            View::Text(list) => compare!(list),
        };
        // The sort keeps equals in the order they came, so the first of each run came first.
        let mut groups: Vec<(usize, usize)> = Vec::new();
        let mut group = vec![0usize; count];
        for (&place, &new) in sorted.iter().zip(&new) {
            if new {
                groups.push((place, 0));
            }
            if let Some(last) = groups.last_mut() {
                last.1 += 1;
            }
            group[place] = groups.len() - 1;
        }
        let mut ranks: Vec<usize> = (0..groups.len()).collect();
        if !self.sorted {
            ranks.sort_by_key(|&at| groups[at].0);
        }
        let mut rank_of = vec![0usize; groups.len()];
        ranks.iter().enumerate().for_each(|(rank, &at)| rank_of[at] = rank);
        let firsts: Vec<usize> = ranks.iter().map(|&at| groups[at].0).collect();
        let mut shape: Shape = x.shape.into();
        match self.axis {
            Some(at) => shape[axis(at, x.shape.len())?] = firsts.len(),
            None => shape = [firsts.len()].as_slice().into(),
        }
        let data = same!(inputs.meter, x.data, list => (0..before)
            .flat_map(|outer| firsts.iter().flat_map(move |&n| list[(outer * count + n) * after..][..after].iter().cloned()))
            .collect())?;
        let longs = |list: Vec<i64>| Value::new([list.len()].as_slice(), list);
        let indices = longs(firsts.iter().map(|&place| place as i64).collect());
        let inverse = longs(group.iter().map(|&at| rank_of[at] as i64).collect());
        let counts = longs(ranks.iter().map(|&at| groups[at].1 as i64).collect());
        Ok([Value { shape, data }, indices, inverse, counts].into_iter().collect())
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    if name != "Unique" {
        return Ok(None);
    }
    boxed(Unique { axis: node.attribute("axis").map(|axis| axis.i), sorted: node.int("sorted", 1) != 0 }).map(Some)
}
