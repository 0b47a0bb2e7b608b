//! Products of matrices: `MatMul` with NumPy's stacking, `Gemm`, and distances between rows.
//!
//! Where the right side is a constant, `dense.rs` packs it once and takes over. Next: `product.rs` for the arithmetic,
//! `neural.rs`, whose convolutions end there too.
#![expect(clippy::indexing_slicing, reason = "offsets follow from shapes that were checked against the lists' lengths")]

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Arg, Data, Shape, Value, View, broadcast, stretched, unserved, wrong_shapes, wrong_type};
use super::kernel::Number;
use super::product::multiply;
use super::{Op, Values, boxed, dense, one};
use crate::error::Result;

#[derive(Debug)]
struct MatMul;

impl Op for MatMul {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        if a.shape.is_empty() || b.shape.is_empty() {
            return Err(wrong_shapes(a.shape, b.shape));
        }
        // One axis is a row on the left and a column on the right.
        let left: Shape = if a.shape.len() == 1 { [1, a.shape[0]].as_slice().into() } else { a.shape.into() };
        let right: Shape = if b.shape.len() == 1 { [b.shape[0], 1].as_slice().into() } else { b.shape.into() };
        let (a_lead, a_tail) = left.split_at(left.len() - 2);
        let (b_lead, b_tail) = right.split_at(right.len() - 2);
        let (m, k, n) = (a_tail[0], a_tail[1], b_tail[1]);
        if b_tail[0] != k {
            return Err(wrong_shapes(a.shape, b.shape));
        }
        let lead = broadcast(a_lead, b_lead)?;
        let mut shape = lead.clone();
        if a.shape.len() > 1 {
            shape.push(m);
        }
        if b.shape.len() > 1 {
            shape.push(n);
        }
        let size = inputs.meter.size(&shape)?;
        inputs.meter.work((size as u64).saturating_mul(k as u64))?;
        let stacks: usize = lead.iter().product();
        let data = match (a.data, b.data) {
            (View::F32(x), View::F32(y)) => Data::F32(stacked(x, y, (m, k, n), stacks, (a_lead, b_lead, &lead), size)),
            (View::F64(x), View::F64(y)) => Data::F64(stacked(x, y, (m, k, n), stacks, (a_lead, b_lead, &lead), size)),
            (_, other) => return Err(wrong_type(other)),
        };
        one(Value { shape, data })
    }
}

fn stacked<T: Number>(
    x: &[T],
    y: &[T],
    (m, k, n): (usize, usize, usize),
    stacks: usize,
    lead: (&[usize], &[usize], &[usize]),
    size: usize,
) -> Vec<T> {
    let (a_lead, b_lead, lead) = lead;
    let mut out = vec![T::default(); size];
    if m * n == 0 {
        return out;
    }
    // One matrix on the right for all on the left: a single, taller product.
    if b_lead.iter().all(|&side| side == 1) {
        multiply((stacks * m, k, n), x, (k, 1), y, (n, 1), &mut out);
        return out;
    }
    let (a_steps, b_steps, own) = (stretched(a_lead, lead), stretched(b_lead, lead), super::super::value::strides(lead));
    for (stack, out) in out.chunks_exact_mut(m * n).enumerate() {
        let place = |steps: &[usize]| (0..lead.len()).map(|axis| stack / own[axis] % lead[axis].max(1) * steps[axis]).sum::<usize>();
        let (x, y) = (&x[place(&a_steps) * m * k..][..m * k], &y[place(&b_steps) * k * n..][..k * n]);
        multiply((m, k, n), x, (k, 1), y, (n, 1), out);
    }
    out
}

#[derive(Debug)]
struct Gemm {
    alpha: f32,
    beta: f32,
    turn_a: bool,
    turn_b: bool,
}

impl Op for Gemm {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let (&[a_rows, a_columns], &[b_rows, b_columns]) = (a.shape, b.shape) else { return Err(wrong_shapes(a.shape, b.shape)) };
        let (m, k) = if self.turn_a { (a_columns, a_rows) } else { (a_rows, a_columns) };
        let (inner, n) = if self.turn_b { (b_columns, b_rows) } else { (b_rows, b_columns) };
        if inner != k {
            return Err(wrong_shapes(a.shape, b.shape));
        }
        let size = inputs.meter.size(&[m, n])?;
        inputs.meter.work((size as u64).saturating_mul(k as u64))?;
        let c = inputs.optional(2);
        let shape: Shape = [m, n].as_slice().into();
        if let Some(c) = c
            && broadcast(c.shape, &shape)? != shape
        {
            return Err(wrong_shapes(c.shape, &shape));
        }
        let a_steps = if self.turn_a { (1, a_columns) } else { (a_columns, 1) };
        let b_steps = if self.turn_b { (1, b_columns) } else { (b_columns, 1) };
        macro_rules! gemm {
            ($type:ty, $x:expr, $y:expr) => {{
                let mut out = vec![0.0; size];
                multiply((m, k, n), $x, a_steps, $y, b_steps, &mut out);
                if self.alpha != 1.0 {
                    out.iter_mut().for_each(|x| *x *= <$type>::from(self.alpha));
                }
                if let Some(c) = c {
                    add_c(&mut out, c, &shape, <$type>::from(self.beta))?;
                }
                out
            }};
        }
        let data = match (a.data, b.data) {
            (View::F32(x), View::F32(y)) => Data::F32(gemm!(f32, x, y)),
            (View::F64(x), View::F64(y)) => Data::F64(gemm!(f64, x, y)),
            (_, other) => return Err(wrong_type(other)),
        };
        one(Value { shape, data })
    }
}

fn add_c<T: super::super::value::Element + Number>(out: &mut [T], c: Arg<'_>, shape: &[usize], beta: T) -> Result<()> {
    let steps = stretched(c.shape, shape);
    let list = c.list::<T>()?;
    for (row, out) in out.chunks_exact_mut(shape[1].max(1)).enumerate() {
        for (column, out) in out.iter_mut().enumerate() {
            *out += list[row * steps[0] + column * steps[1]] * beta;
        }
    }
    Ok(())
}

/// The distance of each row of one matrix to each of another.
#[derive(Debug)]
struct CDist {
    root: bool,
}

impl Op for CDist {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (a, b) = (inputs.get(0)?, inputs.get(1)?);
        let (&[m, k], &[n, other]) = (a.shape, b.shape) else { return Err(wrong_shapes(a.shape, b.shape)) };
        if k != other || k == 0 {
            return Err(wrong_shapes(a.shape, b.shape));
        }
        let size = inputs.meter.size(&[m, n])?;
        inputs.meter.work((size as u64).saturating_mul(k as u64))?;
        let data = match (a.data, b.data) {
            (View::F32(x), View::F32(y)) => {
                let mut out = Vec::with_capacity(size);
                for x in x.chunks_exact(k) {
                    out.extend(y.chunks_exact(k).map(|y| super::vector::distance(x, y)));
                }
                if self.root {
                    out.iter_mut().for_each(|x| *x = x.sqrt());
                }
                Data::F32(out)
            }
            (View::F64(x), View::F64(y)) => {
                let mut out: Vec<f64> = Vec::with_capacity(size);
                for x in x.chunks_exact(k) {
                    out.extend(y.chunks_exact(k).map(|y| x.iter().zip(y).map(|(x, y)| (x - y) * (x - y)).sum::<f64>()));
                }
                if self.root {
                    out.iter_mut().for_each(|x| *x = x.sqrt());
                }
                Data::F64(out)
            }
            (_, other) => return Err(wrong_type(other)),
        };
        one(Value { shape: [m, n].as_slice().into(), data })
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    if let Some(op) = dense::parse(name, node)? {
        return Ok(Some(op));
    }
    match name {
        "MatMul" => boxed(MatMul),
        "Gemm" => boxed(Gemm {
            alpha: node.float("alpha", 1.0),
            beta: node.float("beta", 1.0),
            turn_a: node.int("transA", 0) != 0,
            turn_b: node.int("transB", 0) != 0,
        }),
        "CDist" => match node.text("metric", "sqeuclidean")? {
            "sqeuclidean" => boxed(CDist { root: false }),
            "euclidean" => boxed(CDist { root: true }),
            other => Err(unserved(format!("attribute `metric` is `{}`; euclidean and sqeuclidean are served", crate::names::shown(other)))),
        },
        _ => return Ok(None),
    }
    .map(Some)
}
