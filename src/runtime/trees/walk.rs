//! The inner loop: rows or trees in lock-step, a fixed number of steps, no branches.
//!
//! Eight rows walk one tree together (or, for few rows, eight trees one row together), so that their loads overlap;
//! sums are then added in tree order. This is the one file with unchecked indexing; each use rests on what
//! `Ensemble::checked` proved when the ensemble was made: `feature < features`, `left + 1 < nodes` for splits,
//! `left < nodes` for leaves, roots and leaf rows inside. Must not know anything else.
#![expect(unsafe_code, reason = "bounds were proven for the whole ensemble once, by Ensemble::checked")]
#![expect(clippy::indexing_slicing, clippy::needless_range_loop, reason = "arrays of a fixed size indexed by their own lane counter")]

use super::{CATEGORICAL, Ensemble, MISSING_LEFT, Node, SPLIT};

/// Walks in lock-step.
const LANES: usize = 8;
/// Rows that share a tree while it is in the nearest cache.
const BLOCK: usize = 64;

/// Adds every tree's leaf for every row to `out`. The caller checked: `values` is whole rows of `features` columns and
/// `out` is as many rows of `groups`.
pub(super) fn add(ensemble: &Ensemble, values: &[f32], out: &mut [f32]) {
    let missing = values.iter().any(|value| value.is_nan());
    let categorical = !ensemble.categories.is_empty();
    match (categorical, missing) {
        (true, _) => blocks::<true, true>(ensemble, values, out),
        (false, true) => blocks::<false, true>(ensemble, values, out),
        (false, false) => blocks::<false, false>(ensemble, values, out),
    }
}

fn blocks<const CATEGORIES: bool, const MISSING: bool>(ensemble: &Ensemble, values: &[f32], out: &mut [f32]) {
    let (features, groups) = (ensemble.features, ensemble.groups);
    for (rows, out) in values.chunks(features * BLOCK).zip(out.chunks_mut(groups * BLOCK)) {
        let whole = rows.len() / features / LANES * LANES;
        let (together, apart) = rows.split_at(whole * features);
        let (out_together, out_apart) = out.split_at_mut(whole * groups);
        if !together.is_empty() {
            rows_together::<CATEGORIES, MISSING>(ensemble, together, out_together);
        }
        for (row, out) in apart.chunks_exact(features).zip(out_apart.chunks_exact_mut(groups)) {
            trees_together::<CATEGORIES, MISSING>(ensemble, row, out);
        }
    }
}

/// One step from `node` with value `x` of its feature.
#[inline(always)]
pub(super) fn step<const CATEGORIES: bool, const MISSING: bool>(node: &Node, x: f32, categories: &[u32]) -> u32 {
    // Not `x >= threshold`: a missing value must go right here when nothing else is said, as in the library.
    #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN has to compare as not below")]
    let mut right = u32::from(!(x < node.threshold));
    if CATEGORIES && node.flags & CATEGORICAL != 0 {
        right = u32::from(among(categories, node.threshold.to_bits() as usize, x));
    }
    if MISSING {
        right &= !(u32::from(x.is_nan()) & (node.flags / MISSING_LEFT));
        if CATEGORIES && x.is_nan() {
            right = u32::from(node.flags & MISSING_LEFT == 0);
        }
    }
    node.left + (right & node.flags & SPLIT)
}

/// Whether `x`, cut to a whole number, is in the set at `offset`. Negative and unknown ones are not.
#[inline]
fn among(categories: &[u32], offset: usize, x: f32) -> bool {
    if !(0.0..16_777_216.0).contains(&x) {
        return false;
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked above")]
    let category = x as u32;
    let words = categories.get(offset).map_or(0, |&words| words as usize);
    let word = category as usize / 32;
    word < words && categories.get(offset + 1 + word).is_some_and(|bits| bits >> (category % 32) & 1 == 1)
}

fn rows_together<const CATEGORIES: bool, const MISSING: bool>(ensemble: &Ensemble, values: &[f32], out: &mut [f32]) {
    let (features, groups) = (ensemble.features, ensemble.groups);
    let nodes = ensemble.nodes.as_slice();
    for tree in &ensemble.trees {
        let group = tree.group as usize;
        for (rows, out) in values.chunks_exact(features * LANES).zip(out.chunks_exact_mut(groups * LANES)) {
            let mut at = [tree.root; LANES];
            for _ in 0..tree.depth {
                for lane in 0..LANES {
                    // SAFETY: `at` holds the root or a child of a node, all proven inside `nodes`; `rows` is
                    // LANES × features long and every node's feature is below `features`.
                    let (node, x) = unsafe {
                        let node = nodes.get_unchecked(at[lane] as usize);
                        (node, *rows.get_unchecked(lane * features + node.feature as usize))
                    };
                    at[lane] = step::<CATEGORIES, MISSING>(node, x, &ensemble.categories);
                }
            }
            for lane in 0..LANES {
                // SAFETY: as above.
                let leaf = unsafe { nodes.get_unchecked(at[lane] as usize) };
                give(ensemble, leaf, group, &mut out[lane * groups..(lane + 1) * groups]);
            }
        }
    }
}

fn trees_together<const CATEGORIES: bool, const MISSING: bool>(ensemble: &Ensemble, row: &[f32], out: &mut [f32]) {
    let nodes = ensemble.nodes.as_slice();
    for trees in ensemble.trees.chunks(LANES) {
        // Where fewer are left, the first one is walked again beside them and not counted: alone they would take longer.
        let mut at = [trees[0].root; LANES];
        let mut depth = 0;
        for (at, tree) in at.iter_mut().zip(trees) {
            *at = tree.root;
            depth = depth.max(tree.depth);
        }
        for _ in 0..depth {
            for lane in 0..LANES {
                // SAFETY: as in `rows_together`; `row` is `features` long.
                let (node, x) = unsafe {
                    let node = nodes.get_unchecked(at[lane] as usize);
                    (node, *row.get_unchecked(node.feature as usize))
                };
                at[lane] = step::<CATEGORIES, MISSING>(node, x, &ensemble.categories);
            }
        }
        for (tree, at) in trees.iter().zip(at) {
            // SAFETY: as in `rows_together`.
            let leaf = unsafe { nodes.get_unchecked(at as usize) };
            give(ensemble, leaf, tree.group as usize, out);
        }
    }
}

#[inline(always)]
fn give(ensemble: &Ensemble, leaf: &Node, group: usize, out: &mut [f32]) {
    if ensemble.leaves.is_empty() {
        out[group] += leaf.threshold;
    } else {
        let start = leaf.threshold.to_bits() as usize * ensemble.groups;
        for (out, value) in out.iter_mut().zip(&ensemble.leaves[start..start + ensemble.groups]) {
            *out += value;
        }
    }
}
