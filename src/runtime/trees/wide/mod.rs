//! Tree ensembles in 64-bit numbers: what LightGBM's trees become, and what any format that splits on `f64` can.
//!
//! The same plan as the 32-bit ensemble next to it (breadth-first, siblings side by side, walked without branches,
//! checked once so that `walk.rs` may index unchecked), kept apart because the nodes mean other things: a zero may
//! count as missing, members of a category set go left, a leaf may hold a linear function. Row counts lie in an array
//! of their own, one number per leaf, and cost the walk nothing. Must not know file formats or objectives.
//! Next: `build.rs`, then `walk.rs` and, for many rows, `cuts.rs`; `../shap.rs` for what the counts are for.

mod build;
mod cuts;
mod walk;

use bytemuck::{Pod, Zeroable};

pub use build::{Builder, Linear, Missing, Split, TreeNode};

use super::LONGEST;
use super::shap::{self, Branch, Explain, Root};
use crate::error::{Error, Kind, Result};
use crate::runtime::prepared::{Reader, Writer};
use crate::tensor::Tensor;

/// The most columns: a node has 24 bits for its feature.
pub const FEATURES_MAX: usize = 1 << 24;

/// One node, 16 bytes. A leaf points at itself with no step, so a walk may go on past it.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Node {
    /// Goes left when the value is below it. A leaf's output, or the bits of its place among the linear leaves; at a
    /// categorical split the bits of its place among the category words.
    threshold: f64,
    /// The left child; the right one is next to it.
    left: u32,
    /// The feature above eight bits of flags. The two highest of these stand so that, with the feature, they are the
    /// place of a value in a row where each stands several times, see `walk.rs`.
    word: u32,
}

/// Has children.
const SPLIT: u32 = 1;
/// Members of a category set go left, all else right.
const CATEGORICAL: u32 = 2;
/// A leaf that holds a linear function.
const LINEAR: u32 = 4;
/// Zero counts as missing.
const ZERO_MISSING: u32 = 1 << 6;
/// A missing value goes left.
const MISSING_LEFT: u32 = 1 << 7;

/// Numbers as near to zero as this are zero: `1e-35` as a 32-bit number, the library's constant.
const ZERO: f64 = 1e-35_f32 as f64;

impl Node {
    fn feature(&self) -> usize {
        (self.word >> 8) as usize
    }

    fn is(&self, flag: u32) -> bool {
        self.word & flag != 0
    }
}

/// One tree, 12 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Tree {
    root: u32,
    depth: u32,
    /// The output it adds to.
    group: u32,
}

/// A leaf that answers `constant + Σ coefficient × value`, or `value` when one of its columns is missing. 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct LinearLeaf {
    value: f64,
    constant: f64,
    start: u32,
    terms: u32,
}

/// The arrays of an ensemble, as they are written and read.
#[derive(Debug, Default)]
struct Arrays {
    nodes: Vec<Node>,
    trees: Vec<Tree>,
    /// For each categorical split: its count of words, then a bit per category that goes left.
    categories: Vec<u32>,
    linear: Vec<LinearLeaf>,
    coefficients: Vec<f64>,
    /// The column of each coefficient.
    columns: Vec<u32>,
    /// Training rows: per leaf in the order of nodes where every split counts what its leaves do, else per node; empty
    /// where the file has none.
    covers: Vec<u32>,
}

/// A checked ensemble. Its output for a row is, per group, the sum of the leaves in tree order, added in `f64` onto a
/// start value: that order is what makes the bits equal to the library's.
#[derive(Debug)]
pub struct Ensemble {
    features: usize,
    groups: usize,
    arrays: Arrays,
    levels: u64,
    zero_missing: bool,
    /// Whether all it has are small trees that answer numbers and split on numbers.
    small: bool,
}

impl Ensemble {
    /// Reads what [`Ensemble::write`] wrote.
    ///
    /// # Errors
    /// When the bytes are short or any index leaves its array: a damaged store, never a fault of the caller.
    pub fn read(reader: &mut Reader<'_>, features: usize, groups: usize) -> Result<Self> {
        let arrays = Arrays {
            nodes: reader.array()?,
            trees: reader.array()?,
            categories: reader.array()?,
            linear: reader.array()?,
            coefficients: reader.array()?,
            columns: reader.array()?,
            covers: reader.array()?,
        };
        Self::checked(features, groups, arrays)
    }

    /// Writes the arrays in the order [`Ensemble::read`] takes them.
    pub fn write(&self, writer: &mut Writer) {
        let Arrays { nodes, trees, categories, linear, coefficients, columns, covers } = &self.arrays;
        writer.array(nodes);
        writer.array(trees);
        writer.array(categories);
        writer.array(linear);
        writer.array(coefficients);
        writer.array(columns);
        writer.array(covers);
    }

    /// The only way to an ensemble: every index it holds is inside its array, and children lie behind their parent.
    fn checked(features: usize, groups: usize, arrays: Arrays) -> Result<Self> {
        let Arrays { nodes, trees, categories, linear, coefficients, columns, covers } = &arrays;
        let count = nodes.len();
        let broken = |what: &str| Err(Error::invalid(format!("the tree ensemble is damaged: {what}")));
        if features == 0 || features > FEATURES_MAX || groups == 0 {
            return broken("its shape is empty or too large");
        }
        let (mut leaves, mut zero_missing) = (0, false);
        for (index, node) in nodes.iter().enumerate() {
            let left = node.left as usize;
            let fits = if node.is(SPLIT) { left > index && left + 1 < count } else { left == index };
            if node.feature() >= features || !fits {
                return broken("a node points outside");
            }
            leaves += usize::from(!node.is(SPLIT));
            zero_missing |= node.is(ZERO_MISSING);
            let place = usize::try_from(node.threshold.to_bits()).unwrap_or(usize::MAX);
            if node.is(CATEGORICAL) {
                let words = categories.get(place).map_or(usize::MAX, |&words| words as usize);
                if place.saturating_add(1).saturating_add(words) > categories.len() {
                    return broken("a category set points outside");
                }
            } else if node.is(LINEAR) && place >= linear.len() {
                return broken("a linear leaf points outside");
            }
        }
        if columns.len() != coefficients.len() || columns.iter().any(|&column| column as usize >= features) {
            return broken("a linear leaf looks outside");
        }
        if linear.iter().any(|leaf| (leaf.start as usize).saturating_add(leaf.terms as usize) > columns.len()) {
            return broken("a linear leaf holds too much");
        }
        if trees.iter().any(|tree| tree.root as usize >= count || tree.group as usize >= groups || tree.depth as usize >= count) {
            return broken("a tree points outside");
        }
        if !covers.is_empty() && covers.len() != leaves && covers.len() != count {
            return broken("its row counts are not one per leaf");
        }
        let terms = if linear.is_empty() { 0 } else { linear_terms(&arrays) };
        let levels = trees.iter().map(|tree| u64::from(tree.depth) + 1).sum::<u64>() + terms;
        let small = categories.is_empty() && linear.is_empty() && cuts::are_small(ends(trees, count).zip(trees));
        Ok(Self { features, groups, arrays, levels, zero_missing, small })
    }

    /// Bytes in memory.
    pub fn weight(&self) -> usize {
        let Arrays { nodes, trees, categories, linear, coefficients, columns, covers } = &self.arrays;
        size_of::<Self>()
            + size_of_val(nodes.as_slice())
            + size_of_val(trees.as_slice())
            + size_of_val(categories.as_slice())
            + size_of_val(linear.as_slice())
            + size_of_val(coefficients.as_slice())
            + size_of_val(columns.as_slice())
            + size_of_val(covers.as_slice())
    }

    /// Bytes of the nodes alone.
    pub fn node_bytes(&self) -> usize {
        size_of_val(self.arrays.nodes.as_slice())
    }

    /// How many trees.
    pub fn trees(&self) -> usize {
        self.arrays.trees.len()
    }

    /// Levels visited for one row, and the terms of its longest linear leaves: the measure of its cost.
    pub fn levels(&self) -> u64 {
        self.levels
    }

    /// Adds every tree's leaf to `out`, which holds `rows × groups` start values, row after row.
    ///
    /// # Errors
    /// When `input` is not as wide as the ensemble or `out` not as long: a mistake of the caller in this crate.
    pub fn add_to(&self, input: &Tensor<f64>, out: &mut [f64]) -> Result<()> {
        if input.columns() != self.features || out.len() != input.rows() * self.groups {
            return Err(Error::new(Kind::Internal, "an ensemble was handed a matrix of another shape"));
        }
        walk::add(self, input.values(), out);
        Ok(())
    }

    /// SHAP values that follow the trees' own paths: per row, for each group `features + 1` numbers, the last of them
    /// the mean of the training rows. They sum to what [`Ensemble::add_to`] adds.
    ///
    /// # Errors
    /// [`Kind::Validation`] when there are linear leaves or no row counts; [`Kind::TooLarge`] when it is too much work;
    /// [`Kind::Internal`] as [`Ensemble::add_to`].
    pub fn explain(&self, input: &Tensor<f64>) -> Result<Vec<f64>> {
        let Arrays { nodes, trees, linear, covers, .. } = &self.arrays;
        if input.columns() != self.features {
            return Err(Error::new(Kind::Internal, "an ensemble was handed a matrix of another shape"));
        }
        if !linear.is_empty() {
            return Err(Error::invalid("the answers of linear trees cannot be explained; the library cannot do it either"));
        }
        if covers.is_empty() && !nodes.is_empty() {
            return Err(Error::invalid(
                "the model's file does not count the training rows of its leaves, so it cannot explain its answers",
            ));
        }
        let root = |(tree, end): (&Tree, u32)| Root {
            node: tree.root,
            depth: tree.depth,
            group: tree.group,
            nodes: end.saturating_sub(tree.root),
        };
        let mut out = vec![0.0; input.rows() * self.groups * (self.features + 1)];
        let counted = Counted { ensemble: self, covers: self.covers() };
        shap::add(
            &counted,
            trees.iter().zip(ends(trees, nodes.len())).map(root),
            input.values(),
            self.features,
            self.groups,
            &mut out,
            LONGEST,
        )?;
        Ok(out)
    }

    /// Training rows per node.
    fn covers(&self) -> Vec<f64> {
        let Arrays { nodes, covers, .. } = &self.arrays;
        if covers.len() == nodes.len() {
            return covers.iter().map(|&count| f64::from(count)).collect();
        }
        let mut counts = vec![0.0; nodes.len()];
        let mut leaves = covers.iter().rev();
        // Children lie behind their parent, so from the end every sum is there when it is asked for.
        for (index, node) in nodes.iter().enumerate().rev() {
            let left = node.left as usize;
            let count = if node.is(SPLIT) {
                counts.get(left..left + 2).map_or(0.0, |pair| pair.iter().sum())
            } else {
                leaves.next().map_or(0.0, |&count| f64::from(count))
            };
            if let Some(place) = counts.get_mut(index) {
                *place = count;
            }
        }
        counts
    }
}

/// Where each tree's nodes end: where the next one's begin.
fn ends(trees: &[Tree], nodes: usize) -> impl Iterator<Item = u32> + Clone {
    let last = u32::try_from(nodes).unwrap_or(u32::MAX);
    trees.iter().skip(1).map(|tree| tree.root).chain([last])
}

/// The terms of each tree's longest linear leaf, all trees together.
fn linear_terms(arrays: &Arrays) -> u64 {
    let terms = |node: &Node| {
        let leaf = node.is(LINEAR).then(|| usize::try_from(node.threshold.to_bits()).ok().and_then(|place| arrays.linear.get(place)));
        leaf.flatten().map_or(0, |leaf| u64::from(leaf.terms))
    };
    let longest = |(tree, end): (&Tree, u32)| arrays.nodes.get(tree.root as usize..end as usize)?.iter().map(terms).max();
    arrays.trees.iter().zip(ends(&arrays.trees, arrays.nodes.len())).filter_map(longest).sum()
}

/// An ensemble with the training rows of each node, which are laid out for as long as something is explained.
struct Counted<'a> {
    ensemble: &'a Ensemble,
    covers: Vec<f64>,
}

impl Counted<'_> {
    fn split(&self, node: u32) -> Option<&Node> {
        self.ensemble.arrays.nodes.get(node as usize).filter(|node| node.is(SPLIT))
    }
}

impl Explain for Counted<'_> {
    type Value = f64;

    fn nodes(&self) -> usize {
        self.ensemble.arrays.nodes.len()
    }

    fn branch(&self, node: u32) -> Option<Branch> {
        let split = self.split(node)?;
        let (feature, left, right) = (split.word >> 8, split.left, split.left + 1);
        let cover = |node: u32| self.covers.get(node as usize).copied().unwrap_or_default();
        Some(Branch { feature, left, right, left_share: cover(left) / cover(node), right_share: cover(right) / cover(node) })
    }

    fn goes_left(&self, node: u32, row: &[f64]) -> bool {
        let Some(split) = self.split(node) else { return false };
        let value = row.get(split.feature()).copied().unwrap_or(f64::NAN);
        walk::step::<true>(split, walk::seen(split, value), &self.ensemble.arrays.categories) == split.left
    }

    fn leaf(&self, node: u32, _: u32) -> f64 {
        self.ensemble.arrays.nodes.get(node as usize).map_or(0.0, |leaf| leaf.threshold)
    }
}
