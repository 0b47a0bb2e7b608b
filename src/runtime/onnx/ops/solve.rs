//! `Solve`: what a matrix must be multiplied by to give another.
//!
//! skl2onnx writes it for Gaussian processes, after `scipy.linalg.solve`. Triangles are put in row by row; else rows are
//! taken off one another, the largest pivot first. In 64 bits whatever comes. Next: `gemm.rs`.
#![expect(clippy::indexing_slicing, reason = "the matrix is square and the other as high, which was checked")]

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::value::{Data, Value, View, fault, wrong_shapes, wrong_type};
use super::{Op, Values, boxed, one};
use crate::error::Result;

#[derive(Debug)]
struct Solve {
    transposed: bool,
}

fn singular() -> crate::error::Error {
    fault("its matrix has no inverse")
}

/// Takes `factor` times one row of `width` values off another.
fn take_off(list: &mut [f64], width: usize, from: usize, what: usize, factor: f64) {
    if factor == 0.0 {
        return;
    }
    let (from, what) = (from * width, what * width);
    for step in 0..width {
        list[from + step] -= factor * list[what + step];
    }
}

/// Puts in rows of a triangle: `rows` from the one that is known first.
fn put_in(a: &[f64], n: usize, b: &mut [f64], width: usize, rows: impl Iterator<Item = usize>, upper: bool) -> Result<()> {
    for row in rows {
        let known = if upper { row + 1..n } else { 0..row };
        for other in known {
            take_off(b, width, row, other, a[row * n + other]);
        }
        let pivot = a[row * n + row];
        if pivot == 0.0 {
            return Err(singular());
        }
        b[row * width..(row + 1) * width].iter_mut().for_each(|x| *x /= pivot);
    }
    Ok(())
}

/// `x` of `a · x = b`, left in `b`.
fn solve(a: &mut [f64], n: usize, b: &mut [f64], width: usize) -> Result<()> {
    let is = |place: fn(usize, usize) -> bool| (0..n * n).all(|at| a[at] == 0.0 || place(at / n, at % n));
    if is(|row, column| column <= row) {
        return put_in(a, n, b, width, 0..n, false);
    }
    if !is(|row, column| column >= row) {
        for step in 0..n {
            let size = |row: &usize| a[row * n + step].abs();
            let pivot = (step..n).max_by(|x, y| size(x).total_cmp(&size(y))).unwrap_or(step);
            if a[pivot * n + step] == 0.0 {
                return Err(singular());
            }
            if pivot != step {
                (0..n).for_each(|at| a.swap(pivot * n + at, step * n + at));
                (0..width).for_each(|at| b.swap(pivot * width + at, step * width + at));
            }
            for row in step + 1..n {
                let factor = a[row * n + step] / a[step * n + step];
                take_off(a, n, row, step, factor);
                take_off(b, width, row, step, factor);
            }
        }
    }
    put_in(a, n, b, width, (0..n).rev(), true)
}

impl Op for Solve {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (x, y) = (inputs.get(0)?, inputs.get(1)?);
        let (n, width) = match (x.shape, y.shape) {
            (&[n, other], &[high, width]) if n == other && n == high => (n, width),
            (&[n, other], &[high]) if n == other && n == high => (n, 1),
            _ => return Err(wrong_shapes(x.shape, y.shape)),
        };
        // Twice as many: 64 bits beside those that are there.
        inputs.meter.size(&[2, n, n])?;
        inputs.meter.size(&[2, n, width])?;
        inputs.meter.work((n as u64 * n as u64).saturating_mul(n.max(width) as u64))?;
        let (mut a, mut b) = (x.f64s()?.into_owned(), y.f64s()?.into_owned());
        if self.transposed {
            for row in 0..n {
                (0..row).for_each(|column| a.swap(row * n + column, column * n + row));
            }
        }
        solve(&mut a, n, &mut b, width)?;
        let data = match (x.data, y.data) {
            (View::F32(_), View::F32(_)) => Data::F32(b.iter().map(|&x| x as f32).collect()),
            (View::F64(_), View::F64(_)) => Data::F64(b),
            (_, other) => return Err(wrong_type(other)),
        };
        one(Value { shape: y.shape.into(), data })
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    if name != "Solve" {
        return Ok(None);
    }
    boxed(Solve { transposed: node.int("transposed", 0) != 0 }).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_give_back_what_was_solved() {
        for a in [
            [2.0, 0.0, 0.0, 1.0, 3.0, 0.0, -1.0, 4.0, 5.0],
            [2.0, 7.0, 1.0, 0.0, 3.0, 2.0, 0.0, 0.0, 5.0],
            [0.0, 2.0, 1.0, 3.0, -1.0, 2.0, 4.0, 4.0, -5.0],
        ] {
            let x = [1.0, -2.0, 0.5, 3.0, 2.0, -1.0];
            let mut b: Vec<f64> = (0..6).map(|at| (0..3).map(|k| a[at / 2 * 3 + k] * x[k * 2 + at % 2]).sum()).collect();
            solve(&mut a.to_vec(), 3, &mut b, 2).unwrap();
            assert!(b.iter().zip(x).all(|(b, x)| (b - x).abs() < 1e-12), "{b:?}");
        }
        assert!(solve(&mut [1.0, 2.0, 2.0, 4.0], 2, &mut [1.0, 2.0], 1).is_err());
    }
}
