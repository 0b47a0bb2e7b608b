//! Products of matrices: `MatMul` with NumPy's stacking, `Gemm`, and the kernel that all others use.
//!
//! Few rows go through loops that read each weight once; more go to the `matrixmultiply` crate, which packs both sides
//! for the processor at hand. Next: `neural.rs`, whose convolutions end here.
#![expect(
    unsafe_code,
    reason = "the crate takes pointers and newer instructions must be asked for; every call checks lengths or the processor first"
)]
#![expect(clippy::indexing_slicing, reason = "offsets follow from shapes that were checked against the lists' lengths")]

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Arg, Data, Shape, Value, View, broadcast, stretched, wrong_shapes, wrong_type};
use super::{Op, Values, boxed, one};
use crate::error::Result;

/// Where the values of a matrix lie: from row to row, from column to column.
pub(crate) type Steps = (usize, usize);

/// A number that matrices hold.
pub(crate) trait Number: Copy + Default + std::ops::AddAssign + std::ops::Mul<Output = Self> {
    /// `out += a · b` for more than a few rows.
    fn many(size: (usize, usize, usize), a: &[Self], a_steps: Steps, b: &[Self], b_steps: Steps, out: &mut [Self]);
    /// `out += Σ factors[i] · rows[i]`, rows lying one behind the other.
    fn rows(factors: &[Self], rows: &[Self], out: &mut [Self]);
}

fn last(size: (usize, usize), steps: Steps) -> usize {
    (size.0 - 1).saturating_mul(steps.0).saturating_add((size.1 - 1).saturating_mul(steps.1))
}

macro_rules! number {
    ($type:ty, $gemm:path, $rows:ident) => {
        #[inline(always)]
        fn $rows(factors: &[$type], rows: &[$type], out: &mut [$type]) {
            let width = out.len();
            let (mut factors, mut rows) = (factors.chunks_exact(4), rows.chunks_exact(width * 4));
            for (f, r) in factors.by_ref().zip(rows.by_ref()) {
                let (a, r) = r.split_at(width);
                let (b, r) = r.split_at(width);
                let (c, d) = r.split_at(width);
                for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                    *out += f[0] * a + f[1] * b + (f[2] * c + f[3] * d);
                }
            }
            for (f, r) in factors.remainder().iter().zip(rows.remainder().chunks_exact(width)) {
                for (out, r) in out.iter_mut().zip(r) {
                    *out += f * r;
                }
            }
        }

        impl Number for $type {
            fn many((m, k, n): (usize, usize, usize), a: &[Self], a_steps: Steps, b: &[Self], b_steps: Steps, out: &mut [Self]) {
                if last((m, k), a_steps) >= a.len() || last((k, n), b_steps) >= b.len() || out.len() < m * n {
                    return;
                }
                // SAFETY: the farthest place that the three matrices reach was checked to be inside each list, and
                // `out` is borrowed alone.
                unsafe {
                    $gemm(
                        m,
                        k,
                        n,
                        1.0,
                        a.as_ptr(),
                        a_steps.0 as isize,
                        a_steps.1 as isize,
                        b.as_ptr(),
                        b_steps.0 as isize,
                        b_steps.1 as isize,
                        1.0,
                        out.as_mut_ptr(),
                        n as isize,
                        1,
                    );
                }
            }

            fn rows(factors: &[Self], rows: &[Self], out: &mut [Self]) {
                if out.is_empty() {
                    return;
                }
                #[cfg(target_arch = "x86_64")]
                {
                    #[target_feature(enable = "avx2,fma")]
                    fn wide(factors: &[$type], rows: &[$type], out: &mut [$type]) {
                        $rows(factors, rows, out);
                    }
                    if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                        // SAFETY: the processor was asked for both features the line before.
                        return unsafe { wide(factors, rows, out) };
                    }
                }
                $rows(factors, rows, out);
            }
        }
    };
}

number!(f32, matrixmultiply::sgemm, rows_f32);
number!(f64, matrixmultiply::dgemm, rows_f64);

#[inline(always)]
fn distances_plain(row: &[f32], columns: &[f32], out: &mut [f32]) {
    let count = out.len();
    for (&x, column) in row.iter().zip(columns.chunks_exact(count)) {
        for (out, y) in out.iter_mut().zip(column) {
            let apart = x - y;
            *out += apart * apart;
        }
    }
}

/// Adds to `out` the squared distance of `row` to each of as many points as `out` is long; `columns` holds the points'
/// values column after column.
pub(crate) fn distances(row: &[f32], columns: &[f32], out: &mut [f32]) {
    if out.is_empty() {
        return;
    }
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn wide(row: &[f32], columns: &[f32], out: &mut [f32]) {
            distances_plain(row, columns, out);
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the processor was asked for both features the line before.
            return unsafe { wide(row, columns, out) };
        }
    }
    distances_plain(row, columns, out);
}

/// `out += a · b`, `out` row after row of `n`.
pub(crate) fn multiply<T: Number>(size: (usize, usize, usize), a: &[T], a_steps: Steps, b: &[T], b_steps: Steps, out: &mut [T]) {
    let (m, k, n) = size;
    if m == 0 || k == 0 || n == 0 {
        return;
    }
    if m <= 3 && b_steps == (n, 1) && a_steps.1 == 1 {
        for (row, out) in out.chunks_exact_mut(n).take(m).enumerate() {
            T::rows(&a[row * a_steps.0..row * a_steps.0 + k], b, out);
        }
    } else if n == 1 && b_steps.0 == 1 && a_steps.1 == 1 {
        for (row, out) in out.iter_mut().take(m).enumerate() {
            let mut sums = [T::default(); 8];
            let (a, b) = (&a[row * a_steps.0..row * a_steps.0 + k], &b[..k]);
            let (heads, rest) = (a.chunks_exact(8).zip(b.chunks_exact(8)), a.len() / 8 * 8);
            for (a, b) in heads {
                for ((sum, &a), &b) in sums.iter_mut().zip(a).zip(b) {
                    *sum += a * b;
                }
            }
            for (&a, &b) in a[rest..].iter().zip(&b[rest..]) {
                sums[0] += a * b;
            }
            for sum in sums {
                *out += sum;
            }
        }
    } else {
        T::many(size, a, a_steps, b, b_steps, out);
    }
}

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
        let (x, y) = (&x[place(&a_steps) * m * k..], &y[place(&b_steps) * k * n..]);
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
            other => Err(node.refuse("metric", format_args!("is `{}`; euclidean and sqeuclidean are served", crate::names::shown(other)))),
        },
        _ => return Ok(None),
    }
    .map(Some)
}
