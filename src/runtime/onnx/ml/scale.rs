//! Changing columns one by one: scale, fill what is missing, cut at a threshold, norm a row, pick columns.
//!
//! Next: `encode.rs` for categories.

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::ops::gather::place;
use super::super::ops::{Op, Values, boxed, one};
use super::super::value::{Data, Value, fault, same, wrong_type};
use crate::error::{Error, Result};

/// `(x − offset) · scale`, each one for all columns or one a column.
#[derive(Debug)]
struct Scaler {
    offset: Vec<f32>,
    scale: Vec<f32>,
}

impl Op for Scaler {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut value = inputs.take(0)?;
        let columns = value.shape.last().copied().unwrap_or(1).max(1);
        if [&self.offset, &self.scale].iter().any(|list| list.len() != 1 && list.len() != columns) {
            return Err(fault(format!("it scales {} columns, not {columns}", self.offset.len().max(self.scale.len()))));
        }
        let mut list = match value.data {
            Data::F32(list) => list,
            other => Value { shape: value.shape.clone(), data: other }.arg().f32s()?.into_owned(),
        };
        for row in list.chunks_exact_mut(columns) {
            match (self.offset.as_slice(), self.scale.as_slice()) {
                ([offset], [scale]) => row.iter_mut().for_each(|x| *x = (*x - offset) * scale),
                (offsets, [scale]) => row.iter_mut().zip(offsets).for_each(|(x, offset)| *x = (*x - offset) * scale),
                ([offset], scales) => row.iter_mut().zip(scales).for_each(|(x, scale)| *x = (*x - offset) * scale),
                (offsets, scales) => row.iter_mut().zip(offsets).zip(scales).for_each(|((x, offset), scale)| *x = (*x - offset) * scale),
            }
        }
        value.data = Data::F32(list);
        one(value)
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + (self.offset.len() + self.scale.len()) * 4
    }
}

/// Another value for each that is missing.
#[derive(Debug)]
enum Imputer {
    Floats { missing: f32, fill: Vec<f32> },
    Ints { missing: i64, fill: Vec<i64> },
}

impl Op for Imputer {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut value = inputs.take(0)?;
        let columns = value.shape.last().copied().unwrap_or(1).max(1);
        let count = match self {
            Self::Floats { fill, .. } => fill.len(),
            Self::Ints { fill, .. } => fill.len(),
        };
        if count != 1 && count != columns {
            return Err(fault(format!("it fills {count} columns, not {columns}")));
        }
        match (self, &mut value.data) {
            (Self::Floats { missing, fill }, Data::F32(list)) => {
                for row in list.chunks_exact_mut(columns) {
                    for (x, fill) in row.iter_mut().zip(fill.iter().cycle()) {
                        if *x == *missing || (missing.is_nan() && x.is_nan()) {
                            *x = *fill;
                        }
                    }
                }
            }
            (Self::Floats { missing, fill }, Data::F64(list)) => {
                for row in list.chunks_exact_mut(columns) {
                    for (x, fill) in row.iter_mut().zip(fill.iter().cycle()) {
                        if *x == f64::from(*missing) || (missing.is_nan() && x.is_nan()) {
                            *x = f64::from(*fill);
                        }
                    }
                }
            }
            (Self::Ints { missing, fill }, Data::I64(list)) => {
                for row in list.chunks_exact_mut(columns) {
                    for (x, fill) in row.iter_mut().zip(fill.iter().cycle()) {
                        if x == missing {
                            *x = *fill;
                        }
                    }
                }
            }
            (_, other) => return Err(wrong_type(other.view())),
        }
        one(value)
    }
}

#[derive(Debug)]
struct Binarizer(f32);

impl Op for Binarizer {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let mut value = inputs.take(0)?;
        match &mut value.data {
            Data::F32(list) => list.iter_mut().for_each(|x| *x = f32::from(u8::from(*x > self.0))),
            Data::F64(list) => list.iter_mut().for_each(|x| *x = f64::from(u8::from(*x > f64::from(self.0)))),
            Data::I64(list) => list.iter_mut().for_each(|x| *x = i64::from(*x as f32 > self.0)),
            Data::I32(list) => list.iter_mut().for_each(|x| *x = i32::from(*x as f32 > self.0)),
            other => return Err(wrong_type(other.view())),
        }
        one(value)
    }
}

#[derive(Debug, Clone, Copy)]
enum Norm {
    Max,
    L1,
    L2,
}

/// Each row divided by its norm; a row of zeros stays.
#[derive(Debug)]
struct Normalizer(Norm);

impl Op for Normalizer {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        let (_, columns) = x.matrix()?;
        inputs.meter.size(x.shape)?;
        let mut list = x.f32s()?.into_owned();
        for row in list.chunks_exact_mut(columns.max(1)) {
            match self.0 {
                Norm::Max => {
                    let most = row.iter().copied().fold(f32::MIN, f32::max);
                    if most != 0.0 {
                        row.iter_mut().for_each(|x| *x /= most);
                    }
                }
                Norm::L1 => {
                    let sum: f32 = row.iter().map(|x| x.abs()).sum();
                    if sum != 0.0 {
                        row.iter_mut().for_each(|x| *x /= sum);
                    }
                }
                Norm::L2 => {
                    let sum: f32 = row.iter().map(|x| x * x).sum();
                    // As onnxruntime: the root of each square's share, with the sign put back.
                    if sum != 0.0 {
                        let norm = sum.sqrt();
                        row.iter_mut().for_each(|x| *x /= norm);
                    }
                }
            }
        }
        one(Value::new(x.shape, list))
    }
}

/// The values at some places of the last axis.
#[derive(Debug)]
struct ArrayFeatureExtractor;

impl Op for ArrayFeatureExtractor {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (x, picks) = (inputs.get(0)?, inputs.get(1)?.ints()?);
        let columns = x.shape.last().copied().ok_or_else(|| fault("it picks from a single value"))?;
        if picks.is_empty() {
            return Err(fault("it picks nothing"));
        }
        let places =
            picks.iter().map(|&pick| if pick < 0 { Err(fault(format!("index {pick} is negative"))) } else { place(pick, columns) });
        let places = places.collect::<Result<Vec<_>>>()?;
        let rows = x.data.len().checked_div(columns).unwrap_or(0);
        let size = inputs.meter.size(&[rows, places.len()])?;
        let data = same!(inputs.meter, x.data, list => {
            let mut made = Vec::with_capacity(size);
            for row in list.chunks_exact(columns.max(1)) {
                made.extend(places.iter().filter_map(|&at| row.get(at).cloned()));
            }
            made
        })?;
        let mut shape: super::super::value::Shape = x.shape.into();
        match shape.as_mut_slice() {
            [_] => shape = [1, places.len()].as_slice().into(),
            [.., last] => *last = places.len(),
            [] => {}
        }
        one(Value { shape, data })
    }
}

/// Several matrices of numbers as one of 32-bit numbers, each cut or filled with zeros to its width.
#[derive(Debug)]
struct FeatureVectorizer(Vec<usize>);

impl Op for FeatureVectorizer {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (rows, _) = inputs.get(0)?.matrix()?;
        let total: usize = self.0.iter().sum();
        let mut out = vec![0.0f32; inputs.meter.size(&[rows, total])?];
        let mut start = 0;
        for (at, &width) in self.0.iter().enumerate() {
            let x = inputs.get(at)?;
            let (own_rows, columns) = x.matrix()?;
            if own_rows != rows {
                return Err(fault("its inputs are not equally many rows"));
            }
            let list = x.f32s()?;
            for (out, row) in out.chunks_exact_mut(total.max(1)).zip(list.chunks_exact(columns.max(1))) {
                out.iter_mut().skip(start).take(width).zip(row).for_each(|(out, x)| *out = *x);
            }
            start += width;
        }
        one(Value::new([rows, total].as_slice(), out))
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    match name {
        "Scaler" => {
            let list = |name: &str, default: f32| match node.floats(name) {
                [] => vec![default],
                list => list.to_vec(),
            };
            boxed(Scaler { offset: list("offset", 0.0), scale: list("scale", 1.0) })
        }
        "Imputer" => {
            let (floats, ints) = (node.floats("imputed_value_floats"), node.ints("imputed_value_int64s"));
            match (floats, ints) {
                ([], []) => Err(Error::invalid("it has nothing to fill with")),
                ([], ints) => boxed(Imputer::Ints { missing: node.int("replaced_value_int64", 0), fill: ints.to_vec() }),
                (floats, _) => boxed(Imputer::Floats { missing: node.float("replaced_value_float", 0.0), fill: floats.to_vec() }),
            }
        }
        "Binarizer" => boxed(Binarizer(node.float("threshold", 0.0))),
        "Normalizer" => boxed(Normalizer(match node.text("norm", "MAX")? {
            "MAX" => Norm::Max,
            "L1" => Norm::L1,
            "L2" => Norm::L2,
            other => return Err(node.refuse("norm", format_args!("is `{}`, which is not known", crate::names::shown(other)))),
        })),
        "ArrayFeatureExtractor" => boxed(ArrayFeatureExtractor),
        "FeatureVectorizer" => {
            let widths = node.ints("inputdimensions");
            let widths: Option<Vec<usize>> =
                widths.iter().map(|&width| usize::try_from(width).ok().filter(|&width| width < 1 << 24)).collect();
            let widths = widths.filter(|widths| widths.len() == node.proto.input.len() && widths.len() < 1 << 12);
            boxed(FeatureVectorizer(widths.ok_or_else(|| node.refuse("inputdimensions", "does not fit its inputs"))?))
        }
        _ => return Ok(None),
    }
    .map(Some)
}
