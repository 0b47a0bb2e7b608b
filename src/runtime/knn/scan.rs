//! The nearest points of a row: every point is looked at roughly in `f32`, and those that may be near exactly in `f64`.
//!
//! A rough sum is off by at most a known share (Higham, *Accuracy and Stability of Numerical Algorithms*, §3.1: `n`
//! sums and products of relative error `u` are together off by at most about `n·u`), so a point whose rough distance is
//! beyond the worst kept neighbour by more than that cannot belong to the nearest, and what is kept is ordered as if
//! all had been computed in `f64`. Knows no labels. Next: `mod.rs`.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::Metric;
use crate::error::Result;
use crate::runtime::prepared::{Reader, Writer};

/// Numbers added side by side, so that the compiler keeps them in one register.
const LANES: usize = 8;

/// The points of a model.
#[derive(Debug)]
pub(super) struct Points {
    metric: Metric,
    features: usize,
    /// Point after point.
    values: Vec<f32>,
    /// Each point's length; empty for [`Metric::L2`], which needs none.
    lengths: Vec<f64>,
}

/// A neighbour. The greater one is the farther, and of those equally far the one of the higher index.
#[derive(Debug, Clone, Copy)]
pub(super) struct Near {
    pub(super) distance: f64,
    pub(super) index: u32,
}

impl Ord for Near {
    fn cmp(&self, other: &Self) -> Ordering {
        self.distance.total_cmp(&other.distance).then(self.index.cmp(&other.index))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Near {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Near {}

/// The rows so far that are nearest, `k` at most.
struct Nearest {
    k: usize,
    heap: BinaryHeap<Near>,
}

impl Nearest {
    /// A point has to be nearer than this; those that come later lose a tie.
    fn bound(&self) -> f64 {
        if self.heap.len() < self.k { f64::INFINITY } else { self.heap.peek().map_or(f64::INFINITY, |worst| worst.distance) }
    }

    fn offer(&mut self, distance: f64, index: usize) {
        if distance < self.bound() {
            if self.heap.len() == self.k {
                self.heap.pop();
            }
            // Points are counted in 32 bits, as checked when they were read.
            self.heap.push(Near { distance, index: index as u32 });
        }
    }
}

impl Points {
    /// Points of `features` finite values each.
    pub(super) fn new(metric: Metric, features: usize, values: Vec<f32>) -> Self {
        let lengths = match metric {
            Metric::L2 => Vec::new(),
            Metric::Cosine | Metric::InnerProduct => values.chunks_exact(features.max(1)).map(|point| dot(point, point).sqrt()).collect(),
        };
        Self { metric, features, values, lengths }
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.array(&self.values);
        writer.array(&self.lengths);
    }

    pub(super) fn read(reader: &mut Reader<'_>, metric: Metric, features: usize) -> Result<Self> {
        Ok(Self { metric, features, values: reader.array()?, lengths: reader.array()? })
    }

    pub(super) fn count(&self) -> usize {
        self.values.len().checked_div(self.features).unwrap_or_default()
    }

    pub(super) fn weight(&self) -> usize {
        self.values.len() * 4 + self.lengths.len() * 8
    }

    /// The `k` points nearest to `row`, nearest first.
    pub(super) fn nearest(&self, row: &[f32], k: usize) -> Vec<Near> {
        let mut best = Nearest { k, heap: BinaryHeap::with_capacity(k) };
        match self.metric {
            Metric::L2 => self.by_difference(row, &mut best),
            Metric::Cosine | Metric::InnerProduct => self.by_product(row, &mut best),
        }
        let mut nearest = best.heap.into_sorted_vec();
        if self.metric == Metric::L2 {
            nearest.iter_mut().for_each(|near| near.distance = near.distance.sqrt());
        }
        nearest
    }

    /// How far off a rough sum of this many values is at most: as a share of what it adds up, and, where numbers are
    /// too small for their 24 digits, by itself.
    fn slack(&self) -> (f64, f64) {
        let terms = (self.features + LANES) as f64;
        (terms * f64::from(f32::EPSILON), terms * f64::from(f32::MIN_POSITIVE))
    }

    fn by_difference(&self, row: &[f32], best: &mut Nearest) {
        let (share, least) = self.slack();
        for (index, point) in self.values.chunks_exact(self.features).enumerate() {
            let rough = f64::from(rough_difference(row, point));
            // A sum that overflowed says nothing.
            if rough * (1.0 - share) - least < best.bound() || !rough.is_finite() {
                best.offer(difference(row, point), index);
            }
        }
    }

    fn by_product(&self, row: &[f32], best: &mut Nearest) {
        let (share, least) = self.slack();
        let length = dot(row, row).sqrt();
        let cosine = self.metric == Metric::Cosine;
        for ((index, point), own) in self.values.chunks_exact(self.features).enumerate().zip(&self.lengths) {
            let lengths = length * own;
            let distance = |product: f64| match (cosine, lengths > 0.0) {
                (false, _) => -product,
                (true, true) => (1.0 - product / lengths).clamp(0.0, 2.0),
                (true, false) => 1.0,
            };
            let rough = f64::from(rough_dot(row, point));
            // The products add up to at most the product of the lengths (Cauchy and Schwarz).
            if distance(rough + share * lengths + least) <= best.bound() || !rough.is_finite() {
                best.offer(distance(dot(row, point)), index);
            }
        }
    }
}

/// Folds two rows in lanes: `step` of each pair is added up.
fn fold<const N: usize, T: Copy + Default + std::ops::AddAssign>(a: &[f32], b: &[f32], step: impl Fn(f32, f32) -> T) -> T {
    let mut sums = [T::default(); N];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<N>(), b.as_chunks::<N>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += step(*a, *b);
        }
    }
    let mut total = T::default();
    for (a, b) in a_rest.iter().zip(b_rest) {
        total += step(*a, *b);
    }
    for sum in sums {
        total += sum;
    }
    total
}

fn rough_difference(a: &[f32], b: &[f32]) -> f32 {
    fold::<LANES, f32>(a, b, |a, b| (a - b) * (a - b))
}

fn rough_dot(a: &[f32], b: &[f32]) -> f32 {
    fold::<LANES, f32>(a, b, |a, b| a * b)
}

fn difference(a: &[f32], b: &[f32]) -> f64 {
    fold::<4, f64>(a, b, |a, b| (f64::from(a) - f64::from(b)) * (f64::from(a) - f64::from(b)))
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    fold::<4, f64>(a, b, |a, b| f64::from(a) * f64::from(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SplitMix64, for rows made up on the spot.
    fn unit(seed: &mut u64) -> f32 {
        *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = *seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / 16_777_216.0 - 0.5
    }

    #[test]
    fn what_is_passed_over_was_never_among_the_nearest() {
        let mut seed = 3;
        for features in [1, 3, 8, 21, 64] {
            // Scales at which squares underflow and overflow in 32 bits too.
            for scale in [1.0f32, 1e-25, 1e-38, 1e18, 1e30, 3e38] {
                for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
                    let mut values: Vec<f32> = (0..200 * features).map(|_| unit(&mut seed) * scale).collect();
                    // Points that differ in the last digit, and equal ones.
                    for at in 0..50 * features {
                        values[at] = f32::from_bits(values[100 * features + at].to_bits() + u32::from(at % 3 == 0));
                    }
                    let row: Vec<f32> = (0..features).map(|_| unit(&mut seed) * scale).collect();
                    let points = Points::new(metric, features, values.clone());
                    let length = dot(&row, &row).sqrt();
                    let mut all: Vec<Near> = values
                        .chunks_exact(features)
                        .enumerate()
                        .map(|(index, point)| {
                            let lengths = length * dot(point, point).sqrt();
                            let distance = match metric {
                                Metric::L2 => difference(&row, point),
                                Metric::InnerProduct => -dot(&row, point),
                                Metric::Cosine if lengths == 0.0 => 1.0,
                                Metric::Cosine => (1.0 - dot(&row, point) / lengths).clamp(0.0, 2.0),
                            };
                            Near { distance, index: index as u32 }
                        })
                        .collect();
                    all.sort_unstable();
                    if metric == Metric::L2 {
                        all.iter_mut().for_each(|near| near.distance = near.distance.sqrt());
                    }
                    let found = points.nearest(&row, 7);
                    assert_eq!(found, all[..7], "{features} features, {scale}, {metric:?}");
                    assert!(found.iter().all(|near| near.distance.is_finite()));
                }
            }
        }
    }
}
