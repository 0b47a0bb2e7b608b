//! The inner loop in 64-bit numbers: rows or trees in lock-step, without branches on what is compared.
//!
//! Eight rows walk one tree together (or, for few rows, eight trees one row together), so that their loads overlap;
//! sums are then added in tree order. Trees grown leaf by leaf are lopsided, so a group stops as soon as none of its
//! walks moved. The unchecked indexing rests on what `Ensemble::checked` proved when the ensemble was made:
//! `feature < features`, `left + 1 < nodes` for splits, `left < nodes` for leaves, roots inside. Must not know anything
//! else.
#![expect(unsafe_code, reason = "bounds were proven for the whole ensemble once, by Ensemble::checked")]
#![expect(clippy::indexing_slicing, clippy::needless_range_loop, reason = "arrays of a fixed size indexed by their own lane counter")]

use super::{CATEGORICAL, Ensemble, LINEAR, MISSING_LEFT, Node, SPLIT, ZERO, ZERO_MISSING};

/// Walks in lock-step.
const LANES: usize = 8;
/// Rows that share a tree while it is in the nearest cache.
const BLOCK: usize = 64;
/// Levels between two looks at whether all walks have ended.
const STRIDE: u32 = 2;

/// Adds every tree's leaf for every row to `out`. The caller checked: `values` is whole rows of `features` columns and
/// `out` is as many rows of `groups`.
pub(super) fn add(ensemble: &Ensemble, values: &[f64], out: &mut [f64]) {
    let missing = values.iter().any(|value| value.is_nan());
    let categorical = !ensemble.arrays.categories.is_empty();
    match (categorical, missing, ensemble.zero_missing) {
        (true, _, _) => blocks::<true, true, true>(ensemble, values, out),
        (false, _, true) => blocks::<false, true, true>(ensemble, values, out),
        (false, true, false) => blocks::<false, true, false>(ensemble, values, out),
        (false, false, false) => blocks::<false, false, false>(ensemble, values, out),
    }
}

fn blocks<const SETS: bool, const NAN: bool, const ZEROS: bool>(ensemble: &Ensemble, values: &[f64], out: &mut [f64]) {
    let (features, groups) = (ensemble.features, ensemble.groups);
    for (rows, out) in values.chunks(features * BLOCK).zip(out.chunks_mut(groups * BLOCK)) {
        let whole = rows.len() / features / LANES * LANES;
        let (together, apart) = rows.split_at(whole * features);
        let (out_together, out_apart) = out.split_at_mut(whole * groups);
        if !together.is_empty() {
            rows_together::<SETS, NAN, ZEROS>(ensemble, together, out_together);
        }
        for (row, out) in apart.chunks_exact(features).zip(out_apart.chunks_exact_mut(groups)) {
            trees_together::<SETS, NAN, ZEROS>(ensemble, row, out);
        }
    }
}

/// One step from `node` with value `x` of its feature.
#[inline(always)]
pub(super) fn step<const SETS: bool, const NAN: bool, const ZEROS: bool>(node: &Node, x: f64, categories: &[u32]) -> u32 {
    #[expect(clippy::neg_cmp_op_on_partial_ord, reason = "NaN has to compare as not below")]
    let mut right = u32::from(!(x < node.threshold));
    let missing_right = u32::from(node.word & MISSING_LEFT == 0);
    if ZEROS {
        // NaN is zero too where zero is missing.
        let missing = u32::from(x.abs() <= ZERO || x.is_nan()) & u32::from(node.word & ZERO_MISSING != 0);
        right = (missing & missing_right) | ((1 - missing) & right);
    }
    if NAN {
        // NaN compares as right; it stays there unless missing values go left.
        right &= !(u32::from(x.is_nan()) & (1 - missing_right));
    }
    if SETS && node.word & CATEGORICAL != 0 {
        right = u32::from(!among(categories, node.threshold.to_bits(), x));
    }
    node.left + (right & node.word & SPLIT)
}

/// Whether `x`, cut to a whole number, is in the set at `offset`. Missing, negative and unknown ones are not.
#[inline]
fn among(categories: &[u32], offset: u64, x: f64) -> bool {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what does not fit saturates and is beyond any set")]
    let (category, offset) = (x as u32 as usize, offset as usize);
    let words = categories.get(offset).map_or(0, |&words| words as usize);
    let word = category / 32;
    x > -1.0 && word < words && categories.get(offset + 1 + word).is_some_and(|bits| bits >> (category % 32) & 1 == 1)
}

fn rows_together<const SETS: bool, const NAN: bool, const ZEROS: bool>(ensemble: &Ensemble, values: &[f64], out: &mut [f64]) {
    let (features, groups) = (ensemble.features, ensemble.groups);
    let nodes = ensemble.arrays.nodes.as_slice();
    for tree in &ensemble.arrays.trees {
        let group = tree.group as usize;
        for (rows, out) in values.chunks_exact(features * LANES).zip(out.chunks_exact_mut(groups * LANES)) {
            let mut at = [tree.root; LANES];
            let mut left = tree.depth;
            while left > 0 {
                let mut moved = 0;
                for last in (0..left.min(STRIDE)).rev() {
                    for lane in 0..LANES {
                        // SAFETY: `at` holds the root or a child of a node, all proven inside `nodes`; `rows` is
                        // LANES × features long and every node's feature is below `features`.
                        let (node, x) = unsafe {
                            let node = nodes.get_unchecked(at[lane] as usize);
                            (node, *rows.get_unchecked(lane * features + node.feature()))
                        };
                        let next = step::<SETS, NAN, ZEROS>(node, x, &ensemble.arrays.categories);
                        if last == 0 {
                            moved |= next ^ at[lane];
                        }
                        at[lane] = next;
                    }
                }
                if moved == 0 {
                    break;
                }
                left = left.saturating_sub(STRIDE);
            }
            for lane in 0..LANES {
                // SAFETY: as above.
                let leaf = unsafe { nodes.get_unchecked(at[lane] as usize) };
                out[lane * groups + group] += answer(ensemble, leaf, &rows[lane * features..(lane + 1) * features]);
            }
        }
    }
}

fn trees_together<const SETS: bool, const NAN: bool, const ZEROS: bool>(ensemble: &Ensemble, row: &[f64], out: &mut [f64]) {
    let nodes = ensemble.arrays.nodes.as_slice();
    for trees in ensemble.arrays.trees.chunks(LANES) {
        // Where fewer are left, the first one is walked again beside them and not counted: alone they would take longer.
        let mut at = [trees[0].root; LANES];
        let mut left = 0;
        for (at, tree) in at.iter_mut().zip(trees) {
            *at = tree.root;
            left = left.max(tree.depth);
        }
        while left > 0 {
            let mut moved = 0;
            for last in (0..left.min(STRIDE)).rev() {
                for lane in 0..LANES {
                    // SAFETY: as in `rows_together`; `row` is `features` long.
                    let (node, x) = unsafe {
                        let node = nodes.get_unchecked(at[lane] as usize);
                        (node, *row.get_unchecked(node.feature()))
                    };
                    let next = step::<SETS, NAN, ZEROS>(node, x, &ensemble.arrays.categories);
                    if last == 0 {
                        moved |= next ^ at[lane];
                    }
                    at[lane] = next;
                }
            }
            if moved == 0 {
                break;
            }
            left = left.saturating_sub(STRIDE);
        }
        for (tree, at) in trees.iter().zip(at) {
            // SAFETY: as in `rows_together`.
            let leaf = unsafe { nodes.get_unchecked(at as usize) };
            out[tree.group as usize] += answer(ensemble, leaf, row);
        }
    }
}

/// What a leaf adds.
#[inline(always)]
fn answer(ensemble: &Ensemble, leaf: &Node, row: &[f64]) -> f64 {
    if ensemble.arrays.linear.is_empty() || leaf.word & LINEAR == 0 { leaf.threshold } else { linear(ensemble, leaf, row) }
}

#[cold]
#[inline(never)]
fn linear(ensemble: &Ensemble, leaf: &Node, row: &[f64]) -> f64 {
    #[expect(clippy::cast_possible_truncation, reason = "checked to be a place among the linear leaves")]
    let leaf = ensemble.arrays.linear[leaf.threshold.to_bits() as usize];
    let terms = leaf.start as usize..(leaf.start + leaf.terms) as usize;
    let mut sum = leaf.constant;
    for (coefficient, &column) in ensemble.arrays.coefficients[terms.clone()].iter().zip(&ensemble.arrays.columns[terms]) {
        let x = row[column as usize];
        if x.is_nan() {
            return leaf.value;
        }
        // What is as near to zero as `ZERO` is zero, here too.
        sum += coefficient * if x.abs() > ZERO { x } else { 0.0 };
    }
    sum
}
