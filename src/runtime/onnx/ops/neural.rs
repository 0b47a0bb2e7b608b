//! Layers of image networks and norms: convolution, pooling, batch and layer normalisation.
//!
//! Windows over one or two axes; a single axis is a picture of height 1. A convolution gathers its windows as columns
//! and ends in one matrix product a group. Next: `recurrent.rs`.
#![expect(clippy::indexing_slicing, reason = "offsets follow from shapes that were checked against the lists' lengths")]

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Arg, Data, Shape, Value, around, axis, fault, unserved, wrong_shapes, wrong_type};
use super::norm::{self, power, root};
use super::product::multiply;
use super::{Op, Values, boxed, one};
use crate::error::Result;

/// The largest kernel side, stride, dilation or pad.
const SIDE_MAX: i64 = 1 << 16;

#[derive(Debug, Clone, Copy, PartialEq)]
enum AutoPad {
    None,
    Valid,
    SameUpper,
    SameLower,
}

/// How windows lie over the last one or two axes.
#[derive(Debug)]
struct Window {
    /// Axes it covers; `None` before the weight says so.
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    /// Before each axis, then behind each.
    pads: Vec<usize>,
    auto: AutoPad,
    ceil: bool,
}

/// A window's sides made out for one picture: height first.
#[derive(Debug, Clone, Copy)]
struct Laid {
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
    before: [usize; 2],
    behind: [usize; 2],
    out: [usize; 2],
}

impl Window {
    fn new(node: &Node<'_>) -> Result<Self> {
        let list = |name: &str, least: i64| -> Result<Vec<usize>> {
            let one = |&side: &i64| usize::try_from(side).ok().filter(|_| (least..=SIDE_MAX).contains(&side));
            node.ints(name)
                .iter()
                .map(one)
                .collect::<Option<Vec<usize>>>()
                .ok_or_else(|| node.refuse(name, "holds a negative or huge number"))
        };
        let auto = match node.text("auto_pad", "NOTSET")? {
            "NOTSET" => AutoPad::None,
            "VALID" => AutoPad::Valid,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            other => return Err(node.refuse("auto_pad", format_args!("is `{}`, which is not known", crate::names::shown(other)))),
        };
        Ok(Self {
            kernel: list("kernel_shape", 1)?,
            strides: list("strides", 1)?,
            dilations: list("dilations", 1)?,
            pads: list("pads", 0)?,
            auto,
            ceil: node.int("ceil_mode", 0) != 0,
        })
    }

    /// Lays the window over a picture with `sides`; `kernel` is the weight's where there is one.
    fn lay(&self, sides: &[usize], kernel: Option<&[usize]>) -> Result<Laid> {
        let rank = sides.len();
        let kernel = kernel.unwrap_or(&self.kernel);
        let fits = |list: &[usize], count: usize| list.is_empty() || list.len() == count;
        if !(1..=2).contains(&rank) {
            return Err(fault(format!("it covers {rank} axes; windows over 1 or 2 are served")));
        }
        if kernel.len() != rank || !fits(&self.strides, rank) || !fits(&self.dilations, rank) || !fits(&self.pads, 2 * rank) {
            return Err(fault("its kernel, strides, dilations or pads are not one for each axis"));
        }
        let mut laid = Laid { size: [1; 2], kernel: [1; 2], stride: [1; 2], dilation: [1; 2], before: [0; 2], behind: [0; 2], out: [1; 2] };
        for at in 0..rank {
            let to = at + 2 - rank;
            let get = |list: &[usize], default: usize| list.get(at).copied().unwrap_or(default);
            laid.size[to] = sides[at];
            laid.kernel[to] = kernel[at];
            laid.stride[to] = get(&self.strides, 1);
            laid.dilation[to] = get(&self.dilations, 1);
            let reach = (laid.kernel[to] - 1) * laid.dilation[to] + 1;
            match self.auto {
                AutoPad::None => {
                    laid.before[to] = get(&self.pads, 0);
                    laid.behind[to] = self.pads.get(at + rank).copied().unwrap_or(0);
                }
                AutoPad::Valid => {}
                same => {
                    let out = sides[at].div_ceil(laid.stride[to]);
                    let total = (out.saturating_sub(1) * laid.stride[to] + reach).saturating_sub(sides[at]);
                    laid.before[to] = if same == AutoPad::SameUpper { total / 2 } else { total.div_ceil(2) };
                    laid.behind[to] = total - laid.before[to];
                }
            }
            let room = sides[at] + laid.before[to] + laid.behind[to];
            let Some(room) = room.checked_sub(reach) else { return Err(fault(format!("a window of {reach} does not fit {room} values"))) };
            let mut out = if self.ceil { room.div_ceil(laid.stride[to]) } else { room / laid.stride[to] } + 1;
            // A last window that begins in the pad behind is none.
            if self.ceil && (out - 1) * laid.stride[to] >= sides[at] + laid.before[to] {
                out -= 1;
            }
            laid.out[to] = out;
        }
        Ok(laid)
    }
}

#[derive(Debug)]
struct Conv {
    window: Window,
    groups: usize,
}

impl Op for Conv {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (x, w) = (inputs.get(0)?, inputs.get(1)?);
        if x.shape.len() < 3 || x.shape.len() != w.shape.len() {
            return Err(wrong_shapes(x.shape, w.shape));
        }
        let (count, channels, outputs, each) = (x.shape[0], x.shape[1], w.shape[0], w.shape[1]);
        let groups = self.groups;
        if each.checked_mul(groups) != Some(channels) || !outputs.is_multiple_of(groups) || outputs == 0 || w.shape[2..].contains(&0) {
            return Err(wrong_shapes(x.shape, w.shape));
        }
        let laid = self.window.lay(&x.shape[2..], Some(&w.shape[2..]))?;
        let (k, p) = (each * laid.kernel[0] * laid.kernel[1], laid.out[0] * laid.out[1]);
        let mut shape: Shape = [count, outputs].as_slice().into();
        shape.extend_from_slice(&laid.out[2 - (x.shape.len() - 2)..]);
        let size = inputs.meter.size(&shape)?;
        let gathered = inputs.meter.size(&[k, p])?;
        inputs.meter.work(
            (size as u64)
                .saturating_mul(k as u64)
                .saturating_add((gathered as u64).saturating_mul(groups as u64).saturating_mul(count as u64)),
        )?;
        let (list, weights) = (x.list::<f32>()?, w.list::<f32>()?);
        let mut out = vec![0.0f32; size];
        if let Some(bias) = inputs.optional(2) {
            let bias = bias.list::<f32>()?;
            if bias.len() != outputs {
                return Err(fault(format!("it has {} biases for {outputs} outputs", bias.len())));
            }
            for (at, plane) in out.chunks_exact_mut(p.max(1)).enumerate() {
                plane.fill(bias[at % outputs]);
            }
        }
        let plane = laid.size[0] * laid.size[1];
        let plain = laid.kernel == [1, 1] && laid.stride == [1, 1] && laid.before == [0, 0] && laid.behind == [0, 0];
        let mut columns = if plain { Vec::new() } else { vec![0.0f32; gathered] };
        let rows = outputs / groups;
        for picture in 0..count {
            for group in 0..groups {
                let from = &list[(picture * channels + group * each) * plane..][..each * plane];
                let to = &mut out[(picture * outputs + group * rows) * p..][..rows * p];
                let weights = &weights[group * rows * k..][..rows * k];
                if plain {
                    multiply((rows, k, p), weights, (k, 1), from, (p, 1), to);
                } else {
                    gather(from, plane, &laid, &mut columns);
                    multiply((rows, k, p), weights, (k, 1), &columns, (p, 1), to);
                }
            }
        }
        one(Value::new(shape, out))
    }
}

/// Every window's values as a column, zeros for what lies outside.
fn gather(from: &[f32], plane: usize, laid: &Laid, columns: &mut [f32]) {
    let [height, width] = laid.size;
    let mut rows = columns.chunks_exact_mut(laid.out[1].max(1));
    for picture in from.chunks_exact(plane.max(1)) {
        for ky in 0..laid.kernel[0] {
            for kx in 0..laid.kernel[1] {
                for oy in 0..laid.out[0] {
                    let Some(row) = rows.next() else { return };
                    let y = (oy * laid.stride[0] + ky * laid.dilation[0]).wrapping_sub(laid.before[0]);
                    if y >= height {
                        row.fill(0.0);
                        continue;
                    }
                    let line = &picture[y * width..][..width];
                    for (ox, out) in row.iter_mut().enumerate() {
                        let x = (ox * laid.stride[1] + kx * laid.dilation[1]).wrapping_sub(laid.before[1]);
                        *out = line.get(x).copied().unwrap_or(0.0);
                    }
                }
            }
        }
    }
}

/// What a window becomes.
#[derive(Debug, Clone, Copy)]
enum Take {
    Largest,
    Mean,
    /// The root of the sum of powers.
    Norm(i32),
}

/// One number for each window.
#[derive(Debug)]
struct Pool {
    window: Window,
    take: Take,
    /// Whether pads count in the mean.
    count_pads: bool,
}

impl Op for Pool {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        if x.shape.len() < 3 {
            return Err(fault(format!("it was handed an array of shape {:?}", x.shape)));
        }
        let laid = self.window.lay(&x.shape[2..], None)?;
        let mut shape: Shape = x.shape[..2].into();
        shape.extend_from_slice(&laid.out[2 - (x.shape.len() - 2)..]);
        let size = inputs.meter.size(&shape)?;
        inputs.meter.work((size as u64).saturating_mul((laid.kernel[0] * laid.kernel[1]) as u64))?;
        let plane = (laid.size[0] * laid.size[1]).max(1);
        let mut out = Vec::with_capacity(size);
        for picture in x.list::<f32>()?.chunks_exact(plane) {
            for oy in 0..laid.out[0] {
                for ox in 0..laid.out[1] {
                    out.push(self.one(picture, &laid, oy, ox));
                }
            }
        }
        one(Value::new(shape, out))
    }
}

impl Pool {
    fn one(&self, picture: &[f32], laid: &Laid, oy: usize, ox: usize) -> f32 {
        let [height, width] = laid.size;
        let (mut most, mut sum, mut powers, mut inside, mut all) = (f32::NEG_INFINITY, 0.0, 0.0, 0usize, 0usize);
        for ky in 0..laid.kernel[0] {
            let padded_y = oy * laid.stride[0] + ky * laid.dilation[0];
            for kx in 0..laid.kernel[1] {
                let padded_x = ox * laid.stride[1] + kx * laid.dilation[1];
                // Beyond the pad behind lies nothing that counts.
                if padded_y >= height + laid.before[0] + laid.behind[0] || padded_x >= width + laid.before[1] + laid.behind[1] {
                    continue;
                }
                all += 1;
                let (y, x) = (padded_y.wrapping_sub(laid.before[0]), padded_x.wrapping_sub(laid.before[1]));
                if y < height && x < width {
                    let value = picture[y * width + x];
                    most = if value > most { value } else { most };
                    sum += value;
                    if let Take::Norm(p) = self.take {
                        powers += power(value, p);
                    }
                    inside += 1;
                }
            }
        }
        match self.take {
            Take::Largest => most,
            Take::Mean => sum / (if self.count_pads { all } else { inside }).max(1) as f32,
            Take::Norm(p) => root(powers, p),
        }
    }
}

/// One number for each channel.
#[derive(Debug)]
struct GlobalPool {
    largest: bool,
}

impl Op for GlobalPool {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        if x.shape.len() < 3 {
            return Err(fault(format!("it was handed an array of shape {:?}", x.shape)));
        }
        let plane: usize = x.shape[2..].iter().product();
        let shape: Shape = (0..x.shape.len()).map(|at| if at < 2 { x.shape[at] } else { 1 }).collect();
        inputs.meter.size(x.shape)?;
        let pool = |list: &[f32]| {
            if self.largest { list.iter().copied().fold(f32::NEG_INFINITY, f32::max) } else { list.iter().sum::<f32>() / plane as f32 }
        };
        one(Value::new(shape, x.list::<f32>()?.chunks_exact(plane.max(1)).map(pool).collect::<Vec<_>>()))
    }
}

/// `(x − mean) / √(variance + ε) · scale + bias` with each channel's known mean and variance.
#[derive(Debug)]
struct BatchNormalization {
    epsilon: f32,
}

impl Op for BatchNormalization {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut value = inputs.take(0)?;
        if value.shape.len() < 2 {
            return Err(fault(format!("it was handed an array of shape {:?}", value.shape.as_slice())));
        }
        let (_, channels, plane) = around(&value.shape, 1);
        let mut lists = Vec::with_capacity(4);
        for at in 1..5 {
            let list = inputs.get(at)?.f64s()?.into_owned();
            if list.len() != channels {
                return Err(fault(format!("it was handed {} numbers for {channels} channels", list.len())));
            }
            lists.push(list);
        }
        let factors: Vec<(f64, f64)> = (0..channels)
            .map(|at| {
                let factor = lists[0][at] / (lists[3][at] + f64::from(self.epsilon)).sqrt();
                (factor, lists[1][at] - lists[2][at] * factor)
            })
            .collect();
        match &mut value.data {
            Data::F32(list) => {
                for (at, plane) in list.chunks_exact_mut(plane.max(1)).enumerate() {
                    let (factor, offset) = factors[at % channels];
                    plane.iter_mut().for_each(|x| *x = *x * factor as f32 + offset as f32);
                }
            }
            Data::F64(list) => {
                for (at, plane) in list.chunks_exact_mut(plane.max(1)).enumerate() {
                    let (factor, offset) = factors[at % channels];
                    plane.iter_mut().for_each(|x| *x = *x * factor + offset);
                }
            }
            other => return Err(wrong_type(other.view())),
        }
        one(value)
    }
}

/// Each row, from an axis on, moved to mean 0 and variance 1, then scaled and shifted value by value. With `skip`, a
/// second array is added before.
#[derive(Debug)]
struct LayerNormalization {
    axis: i64,
    epsilon: f32,
    /// No mean is taken off: root mean square alone.
    root_mean_square: bool,
}

impl Op for LayerNormalization {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut value = inputs.take(0)?;
        let at = axis(self.axis, value.shape.len())?;
        let width: usize = value.shape[at..].iter().product();
        let scale = inputs.get(1)?;
        let bias = inputs.optional(2).map(Arg::list::<f32>).transpose()?;
        let scale = scale.list::<f32>()?;
        if scale.len() != width || bias.is_some_and(|bias| bias.len() != width) {
            return Err(fault(format!("it was handed {} factors for rows of {width}", scale.len())));
        }
        let Data::F32(list) = &mut value.data else { return Err(wrong_type(value.data.view())) };
        for row in list.chunks_exact_mut(width.max(1)) {
            let mean = if self.root_mean_square { 0.0 } else { row.iter().sum::<f32>() / width as f32 };
            let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / width as f32;
            let factor = 1.0 / (variance + self.epsilon).sqrt();
            match bias {
                Some(bias) => row.iter_mut().zip(scale).zip(bias).for_each(|((x, scale), bias)| *x = (*x - mean) * factor * scale + bias),
                None => row.iter_mut().zip(scale).for_each(|(x, scale)| *x = (*x - mean) * factor * scale),
            }
        }
        one(value)
    }
}

/// Each channel of each picture moved to mean 0 and variance 1.
#[derive(Debug)]
struct InstanceNormalization {
    epsilon: f32,
}

impl Op for InstanceNormalization {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut value = inputs.take(0)?;
        if value.shape.len() < 3 {
            return Err(fault(format!("it was handed an array of shape {:?}", value.shape.as_slice())));
        }
        let (_, channels, plane) = around(&value.shape, 1);
        let (scale, bias) = (inputs.get(1)?.list::<f32>()?, inputs.get(2)?.list::<f32>()?);
        if scale.len() != channels || bias.len() != channels {
            return Err(fault(format!("it was handed {} factors for {channels} channels", scale.len())));
        }
        let Data::F32(list) = &mut value.data else { return Err(wrong_type(value.data.view())) };
        for (at, row) in list.chunks_exact_mut(plane.max(1)).enumerate() {
            let mean = row.iter().sum::<f32>() / plane as f32;
            let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / plane as f32;
            let factor = scale[at % channels] / (variance + self.epsilon).sqrt();
            row.iter_mut().for_each(|x| *x = (*x - mean) * factor + bias[at % channels]);
        }
        one(value)
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    let epsilon = node.float("epsilon", 1e-5);
    match name {
        "Conv" => {
            let groups = usize::try_from(node.int("group", 1)).ok().filter(|&groups| groups > 0 && groups < 1 << 20);
            boxed(Conv { window: Window::new(node)?, groups: groups.ok_or_else(|| node.refuse("group", "is not a positive number"))? })
        }
        "MaxPool" | "AveragePool" | "LpPool" => {
            if node.proto.output.len() > 1 {
                return Err(unserved("its places of the largest are not served"));
            }
            let take = match name {
                "MaxPool" => Take::Largest,
                "AveragePool" => Take::Mean,
                _ => Take::Norm(norm::p(node)?),
            };
            boxed(Pool { window: Window::new(node)?, take, count_pads: node.int("count_include_pad", 0) != 0 })
        }
        "GlobalAveragePool" => boxed(GlobalPool { largest: false }),
        "GlobalMaxPool" => boxed(GlobalPool { largest: true }),
        "BatchNormalization" => {
            if node.int("training_mode", 0) != 0 {
                return Err(node.refuse("training_mode", "is set; export the model for inference"));
            }
            boxed(BatchNormalization { epsilon })
        }
        "LayerNormalization" => boxed(LayerNormalization { axis: node.int("axis", -1), epsilon, root_mean_square: false }),
        "SimplifiedLayerNormalization" | "RMSNormalization" => {
            boxed(LayerNormalization { axis: node.int("axis", -1), epsilon, root_mean_square: true })
        }
        "InstanceNormalization" => boxed(InstanceNormalization { epsilon }),
        _ => return Ok(None),
    }
    .map(Some)
}
