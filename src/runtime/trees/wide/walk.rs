//! The inner loop in 64-bit numbers: rows or trees in lock-step, without branches on what is compared.
//!
//! What is missing costs the loop nothing: a row that may hold such values is first spread out, each value standing once
//! for every kind of node that may look at it, as itself or, where it is missing there, as an infinity that falls on the
//! side that missing values go to; a node's word holds the place. Eight rows walk one tree together (or, for few rows,
//! ten trees one row together), so that their loads overlap; sums are then added in tree order. Trees grown leaf by
//! leaf are lopsided, so a group stops as soon as none of its walks moved. The unchecked indexing rests on what
//! `Ensemble::checked` proved when the ensemble was made: `feature < features`, `left + 1 < nodes` for splits,
//! `left < nodes` for leaves, roots inside. Must not know anything else.
#![expect(unsafe_code, reason = "bounds were proven for the whole ensemble once, by Ensemble::checked")]
#![expect(clippy::indexing_slicing, clippy::needless_range_loop, reason = "arrays of a fixed size indexed by their own lane counter")]

use super::cuts::{self, Cuts};
use super::{CATEGORICAL, Ensemble, LINEAR, MISSING_LEFT, Node, SPLIT, Tree, ZERO, ZERO_MISSING};

/// Rows that walk a tree in lock-step.
const LANES: usize = 8;
/// Trees that a row walks in lock-step: as many as the processor has registers for beside what they share.
const TREES: usize = 10;
/// Rows that share a tree while it is in the nearest cache.
const BLOCK: usize = 64;
/// Levels between two looks at whether all walks have ended.
const STRIDE: u32 = 2;
/// The most values that rows are spread out into, 8 MiB of them.
const SPREAD_MAX: usize = 1 << 20;

/// Values stand once: nothing is missing.
const ONCE: u32 = 0;
/// Values stand twice: for nodes that send missing values right, then left.
const TWICE: u32 = 1;
/// Each of the two stands twice again: as above, then for nodes where zero is missing too.
const FOURFOLD: u32 = 2;
/// Values stand once and are judged at each node: rows too wide to be spread out.
const JUDGED: u32 = 3;

/// Adds every tree's leaf for every row to `out`. The caller checked: `values` is whole rows of `features` columns and
/// `out` is as many rows of `groups`.
pub(super) fn add(ensemble: &Ensemble, values: &[f64], out: &mut [f64]) {
    let sets = !ensemble.arrays.categories.is_empty();
    let form = match (ensemble.zero_missing, values.iter().any(|value| value.is_nan())) {
        (false, false) => ONCE,
        _ if ensemble.features * LANES * 4 > SPREAD_MAX => JUDGED,
        (false, true) => TWICE,
        (true, _) => FOURFOLD,
    };
    match (sets, form) {
        (true, ONCE) => blocks::<true, ONCE>(ensemble, values, out),
        (true, TWICE) => blocks::<true, TWICE>(ensemble, values, out),
        (true, FOURFOLD) => blocks::<true, FOURFOLD>(ensemble, values, out),
        (true, _) => blocks::<true, JUDGED>(ensemble, values, out),
        (false, ONCE) => blocks::<false, ONCE>(ensemble, values, out),
        (false, TWICE) => blocks::<false, TWICE>(ensemble, values, out),
        (false, FOURFOLD) => blocks::<false, FOURFOLD>(ensemble, values, out),
        (false, _) => blocks::<false, JUDGED>(ensemble, values, out),
    }
}

fn blocks<const SETS: bool, const FORM: u32>(ensemble: &Ensemble, values: &[f64], out: &mut [f64]) {
    let (features, groups) = (ensemble.features, ensemble.groups);
    let (many, chunk) = cuts::worth(ensemble, values.len() / features, width::<FORM>(features), SPREAD_MAX);
    let (values, out) = if many > 0 && !SETS && FORM != JUDGED {
        let (cut, walked) = values.split_at(many * features);
        let (out_cut, out_walked) = out.split_at_mut(many * groups);
        for (rows, out) in cut.chunks(chunk * features).zip(out_cut.chunks_mut(chunk * groups)) {
            cut_down::<FORM>(ensemble, rows, out);
        }
        (walked, out_walked)
    } else {
        (values, out)
    };
    let block = if FORM == TWICE || FORM == FOURFOLD { BLOCK.min((SPREAD_MAX / (features << FORM)).max(1)) } else { BLOCK };
    let mut spread = Vec::new();
    for (rows, out) in values.chunks(features * block).zip(out.chunks_mut(groups * block)) {
        let wide = match FORM {
            TWICE | FOURFOLD => {
                spread.clear();
                spread_out::<FORM>(rows, &mut spread);
                spread.as_slice()
            }
            _ => rows,
        };
        let whole = rows.len() / features / LANES * LANES;
        let (rows_together, rows_apart) = rows.split_at(whole * features);
        let (wide_together, wide_apart) = wide.split_at(whole * width::<FORM>(features));
        let (out_together, out_apart) = out.split_at_mut(whole * groups);
        if whole > 0 {
            together::<SETS, FORM>(ensemble, rows_together, wide_together, out_together);
        }
        let apart = rows_apart.chunks_exact(features).zip(wide_apart.chunks_exact(width::<FORM>(features)));
        for ((row, wide), out) in apart.zip(out_apart.chunks_exact_mut(groups)) {
            trees_together::<SETS, FORM>(ensemble, row, wide, out);
        }
    }
}

/// Values of a row in the form.
const fn width<const FORM: u32>(features: usize) -> usize {
    if FORM == JUDGED { features } else { features << FORM }
}

/// Each value as every kind of node sees it, in the order of the two flags below the feature in a node's word.
fn spread_out<const FORM: u32>(rows: &[f64], spread: &mut Vec<f64>) {
    spread.reserve_exact(rows.len() << FORM);
    for &x in rows {
        let instead = |missing: bool, infinity: f64| if missing { infinity } else { x };
        let (nan, zero) = (x.is_nan(), x.is_nan() || x.abs() <= ZERO);
        if FORM == TWICE {
            spread.extend([instead(nan, f64::INFINITY), instead(nan, f64::NEG_INFINITY)]);
        } else {
            let (right, left) = (f64::INFINITY, f64::NEG_INFINITY);
            spread.extend([instead(nan, right), instead(zero, right), instead(nan, left), instead(zero, left)]);
        }
    }
}

/// The value `x` as `node` sees it.
#[inline]
pub(super) fn seen(node: &Node, x: f64) -> f64 {
    if x.is_nan() || (node.word & ZERO_MISSING != 0 && x.abs() <= ZERO) {
        if node.word & MISSING_LEFT == 0 { f64::INFINITY } else { f64::NEG_INFINITY }
    } else {
        x
    }
}

/// One step from `node`, which sees `x`.
#[inline(always)]
pub(super) fn step<const SETS: bool>(node: &Node, x: f64, categories: &[u32]) -> u32 {
    let mut right = u32::from(x >= node.threshold);
    if SETS && node.word & CATEGORICAL != 0 {
        right = u32::from(!among(categories, node.threshold.to_bits(), x));
    }
    node.left + (right & node.word & SPLIT)
}

/// The child of the node at `at` that the row goes to.
///
/// # Safety
/// `nodes` and `categories` are an ensemble's, `at` is inside the former and `row` is a row of its features in the form.
#[inline(always)]
unsafe fn child<const SETS: bool, const FORM: u32>(nodes: &[Node], categories: &[u32], at: u32, row: &[f64]) -> u32 {
    // SAFETY: a feature is below `features`, so with the flags below it, it is below the width of the form.
    let (node, x) = unsafe {
        let node = nodes.get_unchecked(at as usize);
        let place = if FORM == JUDGED { node.feature() } else { (node.word >> (8 - FORM)) as usize };
        (node, *row.get_unchecked(place))
    };
    let x = if FORM == JUDGED { seen(node, x) } else { x };
    step::<SETS>(node, x, categories)
}

/// Whether `x`, cut to a whole number, is in the set at `offset`. Infinite, negative and unknown ones are not.
#[inline]
fn among(categories: &[u32], offset: u64, x: f64) -> bool {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "what does not fit saturates and is beyond any set")]
    let (category, offset) = (x as u32 as usize, offset as usize);
    let words = categories.get(offset).map_or(0, |&words| words as usize);
    let word = category / 32;
    x > -1.0 && word < words && categories.get(offset + 1 + word).is_some_and(|bits| bits >> (category % 32) & 1 == 1)
}

/// Rows in sixteens through trees as cuts.
fn cut_down<const FORM: u32>(ensemble: &Ensemble, rows: &[f64], out: &mut [f64]) {
    let (mut spread, mut turned, mut cuts) = (Vec::new(), Vec::new(), Cuts::new());
    let width = width::<FORM>(ensemble.features);
    let wide = match FORM {
        ONCE => rows,
        _ => {
            spread_out::<FORM>(rows, &mut spread);
            spread.as_slice()
        }
    };
    cuts::turn(wide, width, &mut turned);
    for tree in &ensemble.arrays.trees {
        if cuts.read(&ensemble.arrays.nodes, tree.root, 8 - FORM) {
            cuts.add(&turned, width, out.get_mut(tree.group as usize..).unwrap_or_default(), ensemble.groups);
        } else {
            lock_step::<false, FORM>(ensemble, tree, rows, wide, out);
        }
    }
}

fn together<const SETS: bool, const FORM: u32>(ensemble: &Ensemble, rows: &[f64], wide: &[f64], out: &mut [f64]) {
    for tree in &ensemble.arrays.trees {
        lock_step::<SETS, FORM>(ensemble, tree, rows, wide, out);
    }
}

/// Rows in eights through one tree.
#[inline(always)]
fn lock_step<const SETS: bool, const FORM: u32>(ensemble: &Ensemble, tree: &Tree, rows: &[f64], wide: &[f64], out: &mut [f64]) {
    let (features, groups) = (ensemble.features, ensemble.groups);
    let width = width::<FORM>(features);
    let group = tree.group as usize;
    let eights = rows.chunks_exact(features * LANES).zip(wide.chunks_exact(width * LANES));
    for ((rows, wide), out) in eights.zip(out.chunks_exact_mut(groups * LANES)) {
        let mut at = [tree.root; LANES];
        let mut left = tree.depth;
        while left > 0 {
            let mut moved = 0;
            for last in (0..left.min(STRIDE)).rev() {
                for lane in 0..LANES {
                    // SAFETY: `at` holds the root or a child of a node, all proven inside the nodes; `wide` is
                    // LANES × width long.
                    let next = unsafe {
                        let row = wide.get_unchecked(lane * width..(lane + 1) * width);
                        child::<SETS, FORM>(&ensemble.arrays.nodes, &ensemble.arrays.categories, at[lane], row)
                    };
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
            let leaf = unsafe { ensemble.arrays.nodes.get_unchecked(at[lane] as usize) };
            out[lane * groups + group] += answer(ensemble, leaf, &rows[lane * features..(lane + 1) * features]);
        }
    }
}

/// A function of its own, and what it looks at in variables of its own: else they do not stay in registers.
#[inline(never)]
fn trees_together<const SETS: bool, const FORM: u32>(ensemble: &Ensemble, row: &[f64], wide: &[f64], out: &mut [f64]) {
    let (nodes, categories) = (ensemble.arrays.nodes.as_slice(), ensemble.arrays.categories.as_slice());
    // One output is summed here: in memory each addition would wait for the last one to arrive there.
    let sole = out.len() == 1 && ensemble.arrays.linear.is_empty();
    let mut sum = out[0];
    for trees in ensemble.arrays.trees.chunks(TREES) {
        // Where fewer are left, the first one is walked again beside them and not counted: alone they would take longer.
        let mut at = [trees[0].root; TREES];
        let mut depth = 0;
        for (at, tree) in at.iter_mut().zip(trees) {
            *at = tree.root;
            depth = depth.max(tree.depth);
        }
        // Of so many walks one mostly goes three quarters of the way down: only from there on is it worth a look.
        let sure = depth - depth / 4;
        for _ in 0..sure {
            for lane in 0..TREES {
                // SAFETY: as in `together`.
                at[lane] = unsafe { child::<SETS, FORM>(nodes, categories, at[lane], wide) };
            }
        }
        for _ in sure..depth {
            let mut moved = 0;
            for lane in 0..TREES {
                // SAFETY: as in `together`.
                let next = unsafe { child::<SETS, FORM>(nodes, categories, at[lane], wide) };
                moved |= next ^ at[lane];
                at[lane] = next;
            }
            if moved == 0 {
                break;
            }
        }
        // SAFETY: as in `together`.
        let leaves = trees.iter().zip(at).map(|(tree, at)| (tree.group as usize, unsafe { nodes.get_unchecked(at as usize) }));
        if !ensemble.arrays.linear.is_empty() {
            leaves.for_each(|(group, leaf)| out[group] += answer(ensemble, leaf, row));
        } else if sole {
            leaves.for_each(|(_, leaf)| sum += leaf.threshold);
        } else {
            leaves.for_each(|(group, leaf)| out[group] += leaf.threshold);
        }
    }
    if sole {
        out[0] = sum;
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
