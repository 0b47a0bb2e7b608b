//! Norms of image networks beside those of `neural.rs`: over an axis, over neighbouring
//! channels, over groups of them, over given axes.
//!
//! Sums are taken in 64 bits. Next: `neural.rs`.
#![expect(clippy::indexing_slicing, reason = "offsets follow from shapes that were multiplied out")]

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Data, Shape, Value, around, axis, fault, strides, wrong_type};
use super::shape::axes;
use super::{Op, Values, boxed, one};
use crate::error::Result;

/// The most neighbouring channels.
const NEIGHBOURS_MAX: i64 = 1 << 16;

/// Divides by the sum of sizes along an axis, or by the root of the sum of squares.
#[derive(Debug)]
struct LpNormalization {
    axis: i64,
    squares: bool,
}

impl Op for LpNormalization {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut value = inputs.take(0)?;
        let (before, middle, after) = around(&value.shape, axis(self.axis, value.shape.len())?);
        macro_rules! divide {
            ($list:expr, $type:ty) => {
                for run in (0..before).flat_map(|outer| (0..after).map(move |inner| outer * middle * after + inner)) {
                    let at = |step: usize| run + step * after;
                    let sizes = (0..middle).map(|step| f64::from($list[at(step)]));
                    let norm = if self.squares { sizes.map(|x| x * x).sum::<f64>().sqrt() } else { sizes.map(f64::abs).sum() };
                    for step in 0..middle {
                        let x = &mut $list[at(step)];
                        *x = if norm == 0.0 { 0.0 } else { (f64::from(*x) / norm) as $type };
                    }
                }
            };
        }
        match &mut value.data {
            Data::F32(list) => divide!(list, f32),
            Data::F64(list) => divide!(list, f64),
            other => return Err(wrong_type(other.view())),
        }
        one(value)
    }
}

/// Divides by what neighbouring channels have at the same place.
#[derive(Debug)]
struct Lrn {
    alpha: f32,
    beta: f32,
    bias: f32,
    size: usize,
}

impl Op for Lrn {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        if x.shape.len() < 3 {
            return Err(fault(format!("it was handed an array of shape {:?}", x.shape)));
        }
        let (count, channels, plane) = around(x.shape, 1);
        let size = inputs.meter.size(x.shape)?;
        inputs.meter.work((size as u64).saturating_mul(self.size.min(channels) as u64))?;
        let list = x.list::<f32>()?;
        let mut out = Vec::with_capacity(size);
        let (back, on) = ((self.size - 1) / 2, self.size / 2);
        for picture in 0..count {
            for channel in 0..channels {
                let near = channel.saturating_sub(back)..(channel + on + 1).min(channels);
                for place in 0..plane {
                    let at = |channel: usize| list[(picture * channels + channel) * plane + place];
                    let sum: f64 = near.clone().map(|channel| f64::from(at(channel))).map(|x| x * x).sum();
                    let base = f64::from(self.bias) + f64::from(self.alpha) / self.size as f64 * sum;
                    out.push((f64::from(at(channel)) / base.powf(f64::from(self.beta))) as f32);
                }
            }
        }
        one(Value::new(x.shape, out))
    }
}

/// Moves to mean 0 and variance 1 over given axes together.
#[derive(Debug)]
struct MeanVarianceNormalization(Vec<i64>);

impl Op for MeanVarianceNormalization {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut value = inputs.take(0)?;
        let shape = value.shape.clone();
        let over = axes(&self.0, shape.len())?;
        // Where each value's sums stand: axes that are summed over do not move.
        let kept: Shape = shape.iter().enumerate().map(|(at, &side)| if over.contains(&at) { 1 } else { side }).collect();
        let sums = inputs.meter.size(&kept)?;
        inputs.meter.work((value.data.len() as u64).saturating_mul(shape.len() as u64 * 2))?;
        let (own, steps) = (strides(&shape), strides(&kept));
        let place = |at: usize| -> usize {
            (0..shape.len()).filter(|&axis| kept[axis] > 1).map(|axis| at / own[axis] % shape[axis] * steps[axis]).sum()
        };
        let Data::F32(list) = &mut value.data else { return Err(wrong_type(value.data.view())) };
        let count = (list.len() / sums.max(1)).max(1) as f64;
        let (mut mean, mut square) = (vec![0.0f64; sums], vec![0.0f64; sums]);
        list.iter().enumerate().for_each(|(at, &x)| mean[place(at)] += f64::from(x) / count);
        list.iter().enumerate().for_each(|(at, &x)| {
            let off = f64::from(x) - mean[place(at)];
            square[place(at)] += off * off / count;
        });
        list.iter_mut().enumerate().for_each(|(at, x)| *x = ((f64::from(*x) - mean[place(at)]) / (square[place(at)].sqrt() + 1e-9)) as f32);
        one(value)
    }
}

/// Groups of channels of each picture moved to mean 0 and variance 1.
#[derive(Debug)]
struct GroupNormalization {
    groups: usize,
    epsilon: f64,
    /// Before operator set 21, factors are of groups instead of channels.
    of_groups: bool,
}

impl Op for GroupNormalization {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut value = inputs.take(0)?;
        if value.shape.len() < 2 || !value.shape[1].is_multiple_of(self.groups) {
            return Err(fault(format!("it was handed an array of shape {:?} for {} groups", value.shape.as_slice(), self.groups)));
        }
        let (_, channels, plane) = around(&value.shape, 1);
        let (scale, bias) = (inputs.get(1)?.list::<f32>()?, inputs.get(2)?.list::<f32>()?);
        let each = channels / self.groups;
        let (count, share) = if self.of_groups { (self.groups, each) } else { (channels, 1) };
        if scale.len() != count || bias.len() != count {
            return Err(fault(format!("it was handed {} factors for {count}", scale.len())));
        }
        inputs.meter.work(4 * value.data.len() as u64)?;
        let Data::F32(list) = &mut value.data else { return Err(wrong_type(value.data.view())) };
        for (at, group) in list.chunks_exact_mut((each * plane).max(1)).enumerate() {
            let size = group.len() as f64;
            let mean = group.iter().map(|&x| f64::from(x)).sum::<f64>() / size;
            let variance = group.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / size;
            let root = (variance + self.epsilon).sqrt();
            for (channel, list) in group.chunks_exact_mut(plane.max(1)).enumerate() {
                let own = (at % self.groups * each + channel) / share;
                list.iter_mut().for_each(|x| *x = ((f64::from(*x) - mean) / root) as f32 * scale[own] + bias[own]);
            }
        }
        one(value)
    }
}

/// For each channel the root of the sum of powers.
#[derive(Debug)]
struct GlobalLpPool(i32);

impl Op for GlobalLpPool {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        if x.shape.len() < 3 {
            return Err(fault(format!("it was handed an array of shape {:?}", x.shape)));
        }
        let plane: usize = x.shape[2..].iter().product();
        let shape: Shape = (0..x.shape.len()).map(|at| if at < 2 { x.shape[at] } else { 1 }).collect();
        inputs.meter.size(x.shape)?;
        let norm = |list: &[f32]| root(list.iter().map(|&x| power(x, self.0)).sum(), self.0);
        one(Value::new(shape, x.list::<f32>()?.chunks_exact(plane.max(1)).map(norm).collect::<Vec<_>>()))
    }
}

/// A size to a power, and the root of a sum of those.
pub(super) fn power(x: f32, p: i32) -> f64 {
    f64::from(x).abs().powi(p)
}

pub(super) fn root(sum: f64, p: i32) -> f32 {
    if p == 2 { sum.sqrt() as f32 } else { sum.powf(1.0 / f64::from(p)) as f32 }
}

/// The attribute that says which power.
pub(super) fn p(node: &Node<'_>) -> Result<i32> {
    let p = node.int("p", 2);
    i32::try_from(p).ok().filter(|p| (1..=64).contains(p)).ok_or_else(|| node.refuse("p", format_args!("is {p}; 1 to 64 can be served")))
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    match name {
        "LpNormalization" => match node.int("p", 2) {
            p @ (1 | 2) => boxed(LpNormalization { axis: node.int("axis", -1), squares: p == 2 }),
            p => return Err(node.refuse("p", format_args!("is {p}; 1 and 2 are known"))),
        },
        "LRN" => {
            let size = node.int("size", 0);
            let fits = usize::try_from(size).ok().filter(|_| (1..=NEIGHBOURS_MAX).contains(&size));
            let size = fits.ok_or_else(|| node.refuse("size", format_args!("is {size}; 1 to {NEIGHBOURS_MAX} can be served")))?;
            boxed(Lrn { alpha: node.float("alpha", 1e-4), beta: node.float("beta", 0.75), bias: node.float("bias", 1.0), size })
        }
        "MeanVarianceNormalization" => {
            let axes = node.attribute("axes").map_or_else(|| vec![0, 2, 3], |axes| axes.ints.clone());
            boxed(MeanVarianceNormalization(axes))
        }
        "GroupNormalization" => {
            let groups = usize::try_from(node.int("num_groups", 0)).ok().filter(|&groups| groups > 0);
            let groups = groups.ok_or_else(|| node.refuse("num_groups", "is not a positive number"))?;
            let epsilon = f64::from(node.float("epsilon", 1e-5));
            boxed(GroupNormalization { groups, epsilon, of_groups: node.opset < 21 })
        }
        "GlobalLpPool" => boxed(GlobalLpPool(p(node)?)),
        _ => return Ok(None),
    }
    .map(Some)
}
