//! Many rows through small trees, without walking them: each row strikes out the leaves that it cannot end in.
//!
//! A tree of at most 64 leaves is a list of cuts. Each is a split: what its value is compared with, and which leaves,
//! numbered from the left, are left when the row goes right there. The first leaf that no cut has struck out is the one a
//! walk ends in, whatever splits lie on its way (Lucchese et al., "QuickScorer", SIGIR 2015). Nothing depends on what came
//! before, so sixteen rows are compared at once where the processor can; elsewhere, and for few rows, `walk.rs` is as
//! fast. Trees are made into cuts for one call, at the price of some twenty walks, so that models take no more memory.
//! The sums are the same: one leaf of each tree, in tree order.
#![cfg_attr(target_arch = "x86_64", expect(unsafe_code, reason = "loads of sixteen values whose place Ensemble::checked has proven"))]

use super::{CATEGORICAL, Ensemble, Node, SPLIT, Tree};

/// Rows that are compared at once.
const ROWS: usize = 16;
/// The most leaves of a tree: each is a bit.
const LEAVES: usize = 64;
/// The fewest rows that are worth the cuts.
const FEW: usize = 128;
/// Rows that share a tree's cuts, as their values fit the second cache.
const CHUNK: usize = 1024;

/// One split.
#[derive(Debug, Clone, Copy)]
struct Cut {
    threshold: f64,
    /// Of the value in a row of the form.
    place: u32,
    /// The leaves that are left when the row goes right.
    right: u64,
}

/// A tree as cuts.
#[derive(Debug)]
pub(super) struct Cuts {
    cuts: Vec<Cut>,
    /// What each leaf adds.
    leaves: [f64; LEAVES],
    /// Nodes to be looked at, each with the cut whose right child it is.
    ahead: Vec<(u32, Option<usize>)>,
}

/// Whether trees, each with where its nodes end, are all small enough: they have one node less than twice their leaves.
pub(super) fn are_small<'a>(mut trees: impl Iterator<Item = (u32, &'a Tree)>) -> bool {
    trees.all(|(end, tree)| (end.saturating_sub(tree.root) as usize) < 2 * LEAVES)
}

/// How many of `rows` rows are to go through cuts, in chunks of how many; 0 where walks are as fast.
pub(super) fn worth(ensemble: &Ensemble, rows: usize, width: usize, most: usize) -> (usize, usize) {
    let chunk = CHUNK.min(most / width / ROWS * ROWS);
    // Turning a row's values costs about a nanosecond for each, which every tree gives back several times.
    let pays = rows >= FEW && chunk >= FEW && width <= ensemble.trees() * 4;
    if pays && ensemble.small && can() { (rows / ROWS * ROWS, chunk) } else { (0, chunk) }
}

#[cfg(target_arch = "x86_64")]
fn can() -> bool {
    std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("bmi1")
}

#[cfg(not(target_arch = "x86_64"))]
fn can() -> bool {
    false
}

/// The first `count` leaves.
fn first(count: usize) -> u64 {
    u64::MAX.checked_shr(u32::try_from(LEAVES - count).unwrap_or(u32::MAX)).unwrap_or(0)
}

impl Cuts {
    pub(super) fn new() -> Self {
        Self { cuts: Vec::with_capacity(LEAVES), leaves: [0.0; LEAVES], ahead: Vec::with_capacity(LEAVES) }
    }

    /// Becomes the tree at `root`, whose values are found in a row `shift` bits below the flags of a node's word. Says
    /// whether it can.
    pub(super) fn read(&mut self, nodes: &[Node], root: u32, shift: u32) -> bool {
        let Self { cuts, leaves, ahead } = self;
        cuts.clear();
        ahead.clear();
        ahead.push((root, None));
        let mut count = 0;
        while let Some((at, of)) = ahead.pop() {
            if let Some(cut) = of.and_then(|of| cuts.get_mut(of)) {
                // It held the leaves before it; by now those of its left side are counted too.
                cut.right = !(first(count) ^ cut.right);
            }
            let Some(node) = nodes.get(at as usize).filter(|node| !node.is(CATEGORICAL)) else { return false };
            if !node.is(SPLIT) {
                let Some(leaf) = leaves.get_mut(count) else { return false };
                *leaf = node.threshold;
                count += 1;
                continue;
            }
            if cuts.len() + 1 == LEAVES {
                return false;
            }
            ahead.extend([(node.left + 1, Some(cuts.len())), (node.left, None)]);
            cuts.push(Cut { threshold: node.threshold, place: node.word >> shift, right: first(count) });
        }
        true
    }

    /// Adds what the tree answers for each row to its place in `out`, which are `groups` apart. `turned` holds the values of
    /// [`turn`] for as many rows.
    pub(super) fn add(&self, turned: &[f64], width: usize, out: &mut [f64], groups: usize) {
        #[cfg(target_arch = "x86_64")]
        if can() {
            // SAFETY: the processor has what the function asks for.
            unsafe { wide::add(self, turned, width, out, groups) }
        }
    }
}

/// The values of whole rows of `width`, sixteen rows at a time: for each place their sixteen values.
pub(super) fn turn(rows: &[f64], width: usize, turned: &mut Vec<f64>) {
    turned.clear();
    turned.reserve_exact(rows.len());
    for rows in rows.chunks_exact(width * ROWS) {
        for place in 0..width {
            turned.extend(rows.iter().skip(place).step_by(width));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(clippy::indexing_slicing, reason = "a place below 64 in an array of 64")]
mod wide {
    use std::arch::x86_64::{
        __m256d, _CMP_NGE_UQ, _mm256_and_pd, _mm256_castpd_si256, _mm256_castsi256_pd, _mm256_cmp_pd, _mm256_loadu_pd, _mm256_or_pd,
        _mm256_set1_epi64x, _mm256_set1_pd, _mm256_storeu_si256,
    };

    use super::{Cuts, LEAVES, ROWS};

    /// Values that are compared by one instruction.
    const LANES: usize = 4;

    #[target_feature(enable = "avx2,bmi1")]
    pub(super) fn add(cuts: &Cuts, turned: &[f64], width: usize, out: &mut [f64], groups: usize) {
        for (values, out) in turned.chunks_exact(width * ROWS).zip(out.chunks_mut(ROWS * groups)) {
            for (left, out) in left(cuts, values).into_iter().zip(out.iter_mut().step_by(groups)) {
                // The last leaf is never struck out.
                *out += cuts.leaves[left.trailing_zeros() as usize % LEAVES];
            }
        }
    }

    /// The leaves that are left to each of sixteen rows.
    #[target_feature(enable = "avx2,bmi1")]
    fn left(cuts: &Cuts, values: &[f64]) -> [u64; ROWS] {
        let mut left: [__m256d; ROWS / LANES] = [_mm256_castsi256_pd(_mm256_set1_epi64x(-1)); ROWS / LANES];
        for cut in &cuts.cuts {
            let threshold = _mm256_set1_pd(cut.threshold);
            let right = _mm256_castsi256_pd(_mm256_set1_epi64x(cut.right.cast_signed()));
            for (four, left) in left.iter_mut().enumerate() {
                // SAFETY: a feature is below `features`, so its place is below the width of the form, and `values` holds
                // sixteen for each place.
                let x = unsafe { _mm256_loadu_pd(values.as_ptr().add(cut.place as usize * ROWS + four * LANES)) };
                // As a walk has it, to the right only what is not below.
                let goes_left = _mm256_cmp_pd::<_CMP_NGE_UQ>(x, threshold);
                *left = _mm256_and_pd(*left, _mm256_or_pd(goes_left, right));
            }
        }
        let mut out = [0; ROWS];
        for (four, out) in left.into_iter().zip(out.chunks_exact_mut(LANES)) {
            // SAFETY: there is room for four.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), _mm256_castpd_si256(four)) };
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_leaves_are_the_lowest_bits() {
        assert_eq!([first(0), first(1), first(63), first(64)], [0, 1, u64::MAX >> 1, u64::MAX]);
    }

    #[test]
    fn sixteen_rows_are_turned_and_what_is_over_left_out() {
        let rows: Vec<f64> = (0..37_u8).map(f64::from).collect();
        let mut turned = Vec::new();
        turn(&rows, 2, &mut turned);
        assert_eq!(turned.len(), 32);
        assert_eq!((turned[0], turned[15], turned[16], turned[31]), (0.0, 30.0, 1.0, 31.0));
    }
}
