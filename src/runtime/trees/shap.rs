//! How much each column adds to a tree ensemble's sum: exact SHAP values that depend on the trees' paths.
//!
//! The values are those of Lundberg, Erion and Lee, "Consistent Individualized Feature Attribution for Tree Ensembles"
//! (2018): a column outside the coalition is replaced by both branches, weighed by the share of training rows (the cover)
//! that went each way. They are computed another way than its algorithm 2. A leaf's weight in the Shapley value of
//! column i is the integral over t from 0 to 1 of the product, over the path's other columns j, of `t·o + (1-t)·z`, where
//! z is the product of the shares of j's branches on the path and o is 1 if the row follows all of them, else 0. That is a
//! polynomial in t, so Gauss-Legendre points integrate it exactly; products go down the tree, sums of leaves come up,
//! and every node costs a few operations a point instead of the square of its depth. Eight rows go together.
//!
//! Knows no format: [`Explain`] is what a tree must tell. Next: `mod.rs`, whose ensemble implements it.
#![expect(clippy::indexing_slicing, clippy::needless_range_loop, reason = "arrays of a fixed size indexed by their own lane counter")]

use std::time::{Duration, Instant};

use super::{affordable, too_much};
use crate::error::{Error, Kind, Result};

/// Rows that go together.
const LANES: usize = 8;
/// The most points. 64 integrate paths of 128 different columns exactly; longer ones to far less than an `f32` shows,
/// because points crowd where the integrand is steep.
const POINTS_MAX: usize = 64;

/// What SHAP values need to know of trees. Nodes are numbered across all trees; the children of a node are other nodes,
/// and no node is reached twice (builders refuse cycles).
pub trait Explain {
    /// The type of a row's values.
    type Value;

    /// How many nodes all trees have together; a walk that meets more is in a damaged store and ends with an error.
    fn nodes(&self) -> usize;

    /// The split at `node`; `None` for a leaf.
    fn branch(&self, node: u32) -> Option<Branch>;
    /// Whether `row` goes left at the split `node`, missing values and categories included.
    fn goes_left(&self, node: u32, row: &[Self::Value]) -> bool;
    /// What the leaf `node` adds to output `group`, weights of trees included.
    fn leaf(&self, node: u32, group: u32) -> f64;
}

/// A split, as SHAP sees it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Branch {
    /// The column it looks at.
    pub feature: u32,
    /// The node to the left.
    pub left: u32,
    /// The node to the right.
    pub right: u32,
    /// The share of training rows that went left, by cover, 0 to 1.
    pub left_share: f64,
    /// The share that went right; both add up to 1. Apart, because a tiny share would drown in `1 - share`.
    pub right_share: f64,
}

/// A tree to explain, for one output; a tree with vector leaves is one for each.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Root {
    /// Its first node.
    pub node: u32,
    /// The most splits on a way down.
    pub depth: u32,
    /// The output it adds to.
    pub group: u32,
    /// How many nodes it has.
    pub nodes: u32,
}

impl Root {
    /// How many points integrate its paths.
    fn points(&self, features: usize) -> usize {
        (self.depth as usize).min(features).div_ceil(2).clamp(1, POINTS_MAX)
    }

    /// About how many nanoseconds it takes for `blocks` times [`LANES`] rows: at each node every point for every row, and
    /// a look up the path for the column's edge before.
    fn cost(&self, features: usize, blocks: u64) -> u64 {
        // Steps of about four nanoseconds, memory included.
        let node = 4 * (LANES * self.points(features) + self.depth as usize);
        u64::from(self.nodes).saturating_mul(node as u64).saturating_mul(blocks)
    }
}

/// Adds the contributions of `roots` to `out`: for each row of `rows` (whole rows of `features` values), for each of
/// `groups` outputs, `features + 1` numbers, the last being what the trees answer on average (the bias).
///
/// # Errors
/// [`Kind::TooLarge`] when that is too much work for one request, by the guess made beforehand or, since that may be wrong,
/// when it takes longer than `longest`. When the shapes do not fit each other: a mistake of the
/// caller in this crate.
pub fn add<T: Explain>(
    trees: &T,
    roots: impl IntoIterator<Item = Root> + Clone,
    rows: &[T::Value],
    features: usize,
    groups: usize,
    out: &mut [f64],
    longest: Duration,
) -> Result<()> {
    let began = Instant::now();
    let width = groups * (features + 1);
    if features == 0 || rows.len() % features != 0 || out.len() != rows.len() / features * width {
        return Err(Error::new(Kind::Internal, "contributions were asked for with a matrix of another shape"));
    }
    let (count, blocks) = (rows.len() / features, (rows.len() / features).div_ceil(LANES) as u64);
    affordable(count, roots.clone().into_iter().map(|root| root.cost(features, blocks)).fold(0, u64::saturating_add))?;
    let mut rules: Vec<Option<Rule>> = Vec::new();
    let mut scratch = Scratch::default();
    for root in roots {
        let points = root.points(features);
        if rules.len() <= points {
            rules.resize_with(points + 1, || None);
        }
        let rule = rules[points].get_or_insert_with(|| Rule::new(points));
        for (rows, out) in rows.chunks(features * LANES).zip(out.chunks_mut(width * LANES)) {
            if began.elapsed() > longest {
                return Err(too_much(count));
            }
            let mut block = Block { rows, features, out, width, start: root.group as usize * (features + 1) };
            // The usual depths get loops of a known length.
            match points {
                1 => tree::<T, 1>(trees, root, rule, &mut scratch, &mut block)?,
                2 => tree::<T, 2>(trees, root, rule, &mut scratch, &mut block)?,
                3 => tree::<T, 3>(trees, root, rule, &mut scratch, &mut block)?,
                4 => tree::<T, 4>(trees, root, rule, &mut scratch, &mut block)?,
                _ => tree::<T, 0>(trees, root, rule, &mut scratch, &mut block)?,
            }
        }
    }
    Ok(())
}

/// Up to [`LANES`] rows and where their contributions go.
struct Block<'a, V> {
    rows: &'a [V],
    features: usize,
    out: &'a mut [f64],
    /// Numbers of a row in `out`, and where the tree's output starts in them.
    width: usize,
    start: usize,
}

/// Gauss-Legendre points on 0 to 1.
struct Rule {
    points: Vec<f64>,
    weights: Vec<f64>,
}

impl Rule {
    /// Newton's method on the Legendre polynomial, from the usual cosine estimate of its roots.
    #[expect(clippy::cast_precision_loss, reason = "at most 64 points")]
    fn new(count: usize) -> Self {
        let n = count as f64;
        let (mut points, mut weights) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for index in 0..count {
            let mut x = (std::f64::consts::PI * (index as f64 + 0.75) / (n + 0.5)).cos();
            let mut slope = 1.0;
            for _ in 0..100 {
                let (mut value, mut before) = (1.0, 0.0);
                for k in 0..count {
                    let k = k as f64;
                    (value, before) = (((2.0 * k + 1.0) * x * value - k * before) / (k + 1.0), value);
                }
                slope = n * (x * value - before) / (x * x - 1.0);
                let step = value / slope;
                x -= step;
                if step.abs() < 1e-16 {
                    break;
                }
            }
            points.push(f64::midpoint(x, 1.0));
            weights.push(1.0 / ((1.0 - x * x) * slope * slope));
        }
        Self { points, weights }
    }
}

type Lanes = [f64; LANES];

/// A node on the way down, with what its edge from above says.
struct Frame {
    node: u32,
    branch: Option<Branch>,
    /// How many of its children were visited.
    visited: u8,
    /// The column its edge belongs to, and the product of the shares of all that column's edges down to here.
    feature: u32,
    share: f64,
    /// The place on the path of the edge before of the same column, 0 if this is the first.
    before: usize,
    /// Product of all shares down to here.
    reach: f64,
    /// 1 for rows that follow all edges of the column down to here, else 0.
    follows: Lanes,
    /// 1 for rows that go left here, else 0.
    left: Lanes,
}

/// What is used again from tree to tree.
#[derive(Default)]
struct Scratch {
    path: Vec<Frame>,
    /// Per node on the path, for each point: the product down to it, and the sum of what came up to it.
    down: Vec<Lanes>,
    up: Vec<Lanes>,
}

fn tree<T: Explain, const POINTS: usize>(
    trees: &T,
    root: Root,
    rule: &Rule,
    scratch: &mut Scratch,
    block: &mut Block<'_, T::Value>,
) -> Result<()> {
    let points = if POINTS == 0 { rule.points.len() } else { POINTS };
    let Scratch { path, down, up } = scratch;
    let room = (root.depth as usize + 2) * points;
    if down.len() < room {
        down.resize(room, [0.0; LANES]);
        up.resize(room, [0.0; LANES]);
    }
    for (down, weight) in down.iter_mut().zip(&rule.weights) {
        *down = [*weight; LANES];
    }
    let mut average = 0.0;
    let mut left_to_see = trees.nodes();
    path.clear();
    path.push(Frame {
        node: root.node,
        branch: trees.branch(root.node),
        visited: 0,
        feature: 0,
        share: 1.0,
        before: 0,
        reach: 1.0,
        follows: [1.0; LANES],
        left: [0.0; LANES],
    });
    loop {
        let depth = path.len() - 1;
        let frame = &mut path[depth];
        let here = depth * points;
        if frame.visited == 0 {
            match frame.branch {
                None => {
                    let value = trees.leaf(frame.node, root.group);
                    average += value * frame.reach;
                    for point in 0..points {
                        for lane in 0..LANES {
                            up[here + point][lane] = down[here + point][lane] * value;
                        }
                    }
                    frame.visited = 2;
                }
                Some(_) => {
                    up[here..here + points].fill([0.0; LANES]);
                    let count = block.rows.len() / block.features;
                    for (lane, row) in block.rows.chunks_exact(block.features).enumerate().take(count) {
                        frame.left[lane] = f64::from(u8::from(trees.goes_left(frame.node, row)));
                    }
                }
            }
        }
        match frame.branch {
            Some(branch) if frame.visited < 2 => {
                left_to_see = left_to_see.checked_sub(1).filter(|_| depth <= root.depth as usize).ok_or_else(damaged)?;
                let (node, share) = if frame.visited == 0 { (branch.left, branch.left_share) } else { (branch.right, branch.right_share) };
                let mut taken = frame.left;
                if frame.visited == 1 {
                    taken = taken.map(|left| 1.0 - left);
                }
                frame.visited += 1;
                let child = descend::<POINTS>(path, down, rule, (node, trees.branch(node)), branch.feature, share, taken);
                path.push(child);
            }
            _ => {
                if depth == 0 {
                    break;
                }
                ascend::<POINTS, T::Value>(path, up, rule, block);
                path.pop();
            }
        }
    }
    for row in block.out.chunks_exact_mut(block.width) {
        row[block.start + block.features] += average;
    }
    Ok(())
}

fn damaged() -> Error {
    Error::new(Kind::Internal, "a tree ensemble is damaged: a tree is no tree; run `rookery verify` on the database")
}

/// Goes over the edge to `node`: what the products become.
fn descend<const POINTS: usize>(
    path: &[Frame],
    down: &mut [Lanes],
    rule: &Rule,
    (node, branch): (u32, Option<Branch>),
    feature: u32,
    share: f64,
    taken: Lanes,
) -> Frame {
    let points = if POINTS == 0 { rule.points.len() } else { POINTS };
    let depth = path.len() - 1;
    // The path's first frame has no edge; as the edge before it stands for: share 1, followed by all.
    let before = (1..=depth).rev().find(|&at| path[at].feature == feature).unwrap_or_default();
    let earlier = &path[before];
    let merged = earlier.share * share;
    let mut follows = taken;
    for lane in 0..LANES {
        follows[lane] *= earlier.follows[lane];
    }
    let (above, below) = down.split_at_mut((depth + 1) * points);
    for point in 0..points {
        let t = rule.points[point];
        let old = 1.0 / (t + (1.0 - t) * earlier.share);
        let on_on = (t + (1.0 - t) * merged) * old;
        let on_off = (1.0 - t) * merged * old;
        let (from, to) = (&above[depth * points + point], &mut below[point]);
        for lane in 0..LANES {
            let (was, is) = (earlier.follows[lane], follows[lane]);
            to[lane] = from[lane] * (is * on_on + (was - is) * on_off + (1.0 - was) * share);
        }
    }
    Frame { node, branch, visited: 0, feature, share: merged, before, reach: path[depth].reach * share, follows, left: [0.0; LANES] }
}

/// Leaves the last node of the path: its edge's column gets its due, its sums go up.
fn ascend<const POINTS: usize, V>(path: &[Frame], up: &mut [Lanes], rule: &Rule, block: &mut Block<'_, V>) {
    let points = if POINTS == 0 { rule.points.len() } else { POINTS };
    let depth = path.len() - 1;
    let frame = &path[depth];
    let earlier = &path[frame.before];
    let (above, below) = up.split_at_mut(depth * points);
    let above = &mut above[(depth - 1) * points..];
    let mut due = [0.0; LANES];
    for point in 0..points {
        let t = rule.points[point];
        let on = (1.0 - frame.share) / (t + (1.0 - t) * frame.share);
        let on_before = (1.0 - earlier.share) / (t + (1.0 - t) * earlier.share);
        let off = -1.0 / (1.0 - t);
        let (sums, to) = (&below[point], &mut above[point]);
        for lane in 0..LANES {
            let (was, is) = (earlier.follows[lane], frame.follows[lane]);
            due[lane] += sums[lane] * (is * on - was * on_before + (was - is) * off);
            to[lane] += sums[lane];
        }
    }
    for (row, due) in block.out.chunks_exact_mut(block.width).zip(due) {
        row[block.start + frame.feature as usize] += due;
    }
}

#[cfg(test)]
mod tests {
    use super::super::LONGEST;
    use super::*;

    /// A complete binary tree of random columns and shares; nodes as in a heap.
    struct Heap {
        depth: u32,
        features: u32,
    }

    fn mix(seed: u64) -> u64 {
        let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    fn unit(seed: u64) -> f64 {
        (mix(seed) >> 11) as f64 / (1u64 << 53) as f64
    }

    impl Explain for Heap {
        type Value = f32;
        fn nodes(&self) -> usize {
            1 << (self.depth + 1)
        }
        fn branch(&self, node: u32) -> Option<Branch> {
            let level = (node + 1).ilog2();
            // One branch in eight was never taken in training.
            let share = if mix(u64::from(node) + 7).is_multiple_of(8) { 0.0 } else { unit(u64::from(node)) };
            let feature = (mix(u64::from(node) + 99) % u64::from(self.features)) as u32;
            let (left, right) = (2 * node + 1, 2 * node + 2);
            (level < self.depth).then_some(Branch { feature, left, right, left_share: share, right_share: 1.0 - share })
        }
        fn goes_left(&self, node: u32, row: &[f32]) -> bool {
            row[self.branch(node).unwrap().feature as usize] < unit(u64::from(node) + 1234) as f32
        }
        fn leaf(&self, node: u32, _: u32) -> f64 {
            unit(u64::from(node) + 5) - 0.5
        }
    }

    /// What the tree answers on average when only the columns in `known` are known.
    fn expected(tree: &Heap, node: u32, row: &[f32], known: u32) -> f64 {
        let Some(branch) = tree.branch(node) else { return tree.leaf(node, 0) };
        if known >> branch.feature & 1 == 1 {
            return expected(tree, if tree.goes_left(node, row) { branch.left } else { branch.right }, row, known);
        }
        branch.left_share * expected(tree, branch.left, row, known) + branch.right_share * expected(tree, branch.right, row, known)
    }

    #[test]
    fn work_that_takes_longer_than_it_may_is_broken_off() {
        let (heap, mut out) = (Heap { depth: 4, features: 3 }, vec![0.0; 4]);
        let root = Root { node: 0, depth: 4, group: 0, nodes: 31 };
        let error = add(&heap, [root], &[0.5, 0.5, 0.5], 3, 1, &mut out, Duration::ZERO).unwrap_err();
        assert_eq!((error.kind(), out), (Kind::TooLarge, vec![0.0; 4]));
    }

    #[test]
    fn contributions_are_shapley_values_by_their_definition() {
        for (depth, features) in [(0, 1), (1, 1), (2, 3), (4, 2), (5, 6), (7, 6), (9, 7)] {
            let tree = Heap { depth, features };
            let width = features as usize + 1;
            // Eleven rows: a whole block and a part of one.
            let rows: Vec<f32> = (0..11 * u64::from(features)).map(|at| unit(at + 77) as f32).collect();
            let mut found = vec![0.0; 11 * width];
            add(&tree, [Root { node: 0, depth, group: 0, nodes: 1 }], &rows, features as usize, 1, &mut found, LONGEST).unwrap();
            let factorial = |n: u32| (1..=n).map(f64::from).product::<f64>();
            for (row, found) in rows.chunks(features as usize).zip(found.chunks(width)) {
                assert!((found[width - 1] - expected(&tree, 0, row, 0)).abs() < 1e-12);
                for feature in 0..features {
                    let mut value = 0.0;
                    for set in (0..1u32 << features).filter(|set| set >> feature & 1 == 0) {
                        let size = set.count_ones();
                        let weight = factorial(size) * factorial(features - size - 1) / factorial(features);
                        value += weight * (expected(&tree, 0, row, set | 1 << feature) - expected(&tree, 0, row, set));
                    }
                    assert!((found[feature as usize] - value).abs() < 1e-12, "{depth} {features}: {} for {value}", found[feature as usize]);
                }
            }
        }
    }

    /// A chain: at every level one column of its own, half of all rows leave.
    struct Chain(u32);

    impl Explain for Chain {
        type Value = f32;
        fn nodes(&self) -> usize {
            2 * self.0 as usize + 1
        }
        fn branch(&self, node: u32) -> Option<Branch> {
            let inner = node.is_multiple_of(2) && node < 2 * self.0;
            inner.then_some(Branch { feature: node / 2, left: node + 1, right: node + 2, left_share: 0.01, right_share: 0.99 })
        }
        fn goes_left(&self, _: u32, row: &[f32]) -> bool {
            row[0] < 0.0
        }
        fn leaf(&self, node: u32, _: u32) -> f64 {
            f64::from(u8::from(node == 2 * self.0))
        }
    }

    #[test]
    fn columns_of_a_deep_path_share_alike() {
        // Past 128 columns the points are fewer than exactness asks for; each of n equal columns still gets its n-th.
        for depth in [10, 128, 500, 3000] {
            let tree = Chain(depth);
            let mut found = vec![0.0; depth as usize + 1];
            add(&tree, [Root { node: 0, depth, group: 0, nodes: 1 }], &vec![1.0; depth as usize], depth as usize, 1, &mut found, LONGEST)
                .unwrap();
            let average = 0.99f64.powi(depth as i32);
            for value in &found[..depth as usize] {
                let wanted = (1.0 - average) / f64::from(depth);
                assert!((value - wanted).abs() < 1e-7 * wanted, "{depth}: {value} for {wanted}");
            }
        }
    }
}
