//! The one tree ensemble that every tree format becomes: flat nodes, evaluated without branches.
//!
//! A format's reader hands over its trees node by node to a [`Builder`], which checks them (indices, cycles, depth,
//! finite leaves) and lays them out breadth-first with siblings side by side; [`Ensemble`] is read back from the
//! prepared form without per-node parsing and checked again in one linear pass, which is what `walk.rs` rests its
//! unchecked indexing on. Must not know objectives, base scores or file formats. Next: `walk.rs`.

mod build;
pub mod shap;
mod share;
mod walk;
pub mod wide;

use std::time::Duration;

use bytemuck::{Pod, Zeroable};

pub use build::{Builder, Split, TreeNode};

use self::build::place;
use self::shap::{Branch, Explain, Root};
use super::prepared::{Reader, Writer};
use crate::error::{Error, Kind, Result};
use crate::tensor::Tensor;

/// The longest that the rows of one request may take: as long as SageMaker waits for an answer.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether `rows` rows, which take about `nanos` nanoseconds, are few enough for one request.
///
/// # Errors
/// [`Kind::TooLarge`] when they are not.
pub fn affordable(rows: usize, nanos: u64) -> Result<()> {
    if u128::from(nanos) > LONGEST.as_nanos() {
        return Err(too_much(rows));
    }
    Ok(())
}

fn too_much(rows: usize) -> Error {
    Error::new(Kind::TooLarge, format!("{rows} rows are too much work for this model; send fewer rows at once"))
}

/// One node, 16 bytes. A leaf points at itself with no step, so a walk may go on past it.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Node {
    /// Goes left when the value is below it. A leaf's output, or the bits of its row among the vector leaves; at a
    /// categorical split the bits of its place among the category words.
    threshold: f32,
    feature: u32,
    /// The left child; the right one is next to it.
    left: u32,
    /// Bit 0: has children. Bit 1: a missing value goes left. Bit 2: categorical. The rest: the share of training rows
    /// that went each way, see [`share`], 0 where the file does not say.
    flags: u32,
}

const SPLIT: u32 = 1;
const MISSING_LEFT: u32 = 2;
const CATEGORICAL: u32 = 4;

/// One tree, 12 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Pod, Zeroable)]
#[repr(C)]
struct Tree {
    root: u32,
    depth: u32,
    /// The output it adds to; with vector leaves, 0.
    group: u32,
}

/// A checked ensemble. Its output for a row is, per group, the sum of the leaves in tree order, added in `f32` onto a
/// start value: that order is what makes the bits equal to the library's.
#[derive(Debug)]
pub struct Ensemble {
    features: usize,
    groups: usize,
    nodes: Vec<Node>,
    trees: Vec<Tree>,
    /// For each categorical split: its count of words, then a bit per category that goes right.
    categories: Vec<u32>,
    /// Vector leaves, `groups` wide; empty when leaves are single numbers.
    leaves: Vec<f32>,
    levels: u64,
    /// Whether every split says how its training rows were shared.
    shared: bool,
}

impl Ensemble {
    /// Reads what [`Ensemble::write`] wrote.
    ///
    /// # Errors
    /// When the bytes are short or any index leaves its array: a damaged store, never a fault of the caller.
    pub fn read(reader: &mut Reader<'_>, features: usize, groups: usize) -> Result<Self> {
        let nodes = reader.array()?;
        let trees = reader.array()?;
        let categories = reader.array()?;
        let leaves = reader.array()?;
        Self::checked(features, groups, nodes, trees, categories, leaves)
    }

    /// Writes the arrays in the order [`Ensemble::read`] takes them.
    pub fn write(&self, writer: &mut Writer) {
        writer.array(&self.nodes);
        writer.array(&self.trees);
        writer.array(&self.categories);
        writer.array(&self.leaves);
    }

    /// The only way to an ensemble: every index it holds is inside its array.
    fn checked(features: usize, groups: usize, nodes: Vec<Node>, trees: Vec<Tree>, categories: Vec<u32>, leaves: Vec<f32>) -> Result<Self> {
        let count = nodes.len();
        let vector = !leaves.is_empty();
        let rows = leaves.len().checked_div(groups).unwrap_or_default();
        let broken = |what: &str| Err(Error::invalid(format!("the tree ensemble is damaged: {what}")));
        if features == 0 || groups == 0 || rows * groups != leaves.len() {
            return broken("its shape is empty");
        }
        let mut shared = true;
        for node in &nodes {
            shared &= node.flags & SPLIT == 0 || node.flags >> share::SHIFT != 0;
            if node.feature as usize >= features || (node.left as usize) + ((node.flags & SPLIT) as usize) >= count {
                return broken("a node points outside");
            }
            let offset = node.threshold.to_bits() as usize;
            if node.flags & CATEGORICAL != 0 {
                let words = categories.get(offset).map_or(usize::MAX, |&words| words as usize);
                if offset.saturating_add(1).saturating_add(words) > categories.len() {
                    return broken("a category set points outside");
                }
            } else if node.flags & SPLIT == 0 && vector && offset >= rows {
                return broken("a leaf points outside");
            }
        }
        if trees.iter().any(|tree| tree.root as usize >= count || tree.group as usize >= groups || tree.depth as usize >= count) {
            return broken("a tree points outside");
        }
        // A vector leaf is added number by number.
        let leaf = if vector { groups as u64 } else { 1 };
        let levels = trees.iter().map(|tree| u64::from(tree.depth) + leaf).sum();
        Ok(Self { features, groups, nodes, trees, categories, leaves, levels, shared })
    }

    /// Bytes in memory.
    pub fn weight(&self) -> usize {
        size_of::<Self>()
            + self.nodes.capacity() * size_of::<Node>()
            + self.trees.capacity() * size_of::<Tree>()
            + (self.categories.capacity() + self.leaves.capacity()) * 4
    }

    /// Bytes of the nodes alone.
    pub fn node_bytes(&self) -> usize {
        self.nodes.len() * size_of::<Node>()
    }

    /// How many trees.
    pub fn trees(&self) -> usize {
        self.trees.len()
    }

    /// How many nodes, leaves included.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Levels visited and numbers added for one row: the measure of its cost.
    pub fn levels(&self) -> u64 {
        self.levels
    }

    /// Adds every tree's leaf to `out`, which holds `rows × groups` start values, row after row.
    ///
    /// # Errors
    /// When `input` is not as wide as the ensemble or `out` not as long: a mistake of the caller in this crate.
    pub fn add_to(&self, input: &Tensor, out: &mut [f32]) -> Result<()> {
        if input.columns() != self.features {
            return Err(Error::new(Kind::Internal, "an ensemble was handed a matrix of another shape"));
        }
        self.add_rows(input.values(), out)
    }

    /// As [`Ensemble::add_to`], for values that lie row after row outside a tensor.
    ///
    /// # Errors
    /// As [`Ensemble::add_to`].
    pub fn add_rows(&self, values: &[f32], out: &mut [f32]) -> Result<()> {
        let rows = values.len() / self.features;
        if rows * self.features != values.len() || out.len() != rows * self.groups {
            return Err(Error::new(crate::error::Kind::Internal, "an ensemble was handed a matrix of another shape"));
        }
        walk::add(self, values, out);
        Ok(())
    }

    /// Columns it looks at.
    pub fn features(&self) -> usize {
        self.features
    }

    /// Outputs per row.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Adds to `out` what each column and, last, the trees' average contribute to each output: `rows × groups ×
    /// (features + 1)` numbers.
    ///
    /// # Errors
    /// [`Kind::Validation`] when the file did not say how training rows were shared among branches; [`Kind::TooLarge`] when
    /// it is too much work. As [`Ensemble::add_to`] for shapes.
    pub fn explain_to(&self, input: &Tensor, out: &mut [f64]) -> Result<()> {
        if !self.shared {
            return Err(Error::invalid("the model file does not hold the cover of its nodes, so its answers cannot be explained"));
        }
        if input.columns() != self.features {
            return Err(Error::new(Kind::Internal, "an ensemble was handed a matrix of another shape"));
        }
        // A tree with vector leaves is one for each output, whichever it says it adds to.
        let vector = !self.leaves.is_empty();
        let outputs = if vector { place(self.groups) } else { 1 };
        let ends = self.trees.iter().skip(1).map(|tree| tree.root).chain([place(self.nodes.len())]);
        let roots = self.trees.iter().zip(ends).flat_map(|(tree, end)| {
            let root = Root { node: tree.root, depth: tree.depth, group: tree.group, nodes: end.saturating_sub(tree.root) };
            (0..outputs).map(move |output| if vector { Root { group: output, ..root } } else { root })
        });
        shap::add(self, roots, input.values(), self.features, self.groups, out, LONGEST)
    }
}

impl Explain for Ensemble {
    type Value = f32;

    fn nodes(&self) -> usize {
        self.nodes.len()
    }

    fn branch(&self, node: u32) -> Option<Branch> {
        let node = self.nodes.get(node as usize).filter(|node| node.flags & SPLIT != 0)?;
        let (left_share, right_share) = share::unpack(node.flags >> share::SHIFT);
        Some(Branch { feature: node.feature, left: node.left, right: node.left + 1, left_share, right_share })
    }

    fn goes_left(&self, node: u32, row: &[f32]) -> bool {
        let Some(node) = self.nodes.get(node as usize) else { return false };
        let value = row.get(node.feature as usize).copied().unwrap_or(f32::NAN);
        walk::step::<true, true>(node, value, &self.categories) == node.left
    }

    fn leaf(&self, node: u32, group: u32) -> f64 {
        let Some(node) = self.nodes.get(node as usize) else { return 0.0 };
        if self.leaves.is_empty() {
            return f64::from(node.threshold);
        }
        let place = node.threshold.to_bits() as usize * self.groups + group as usize;
        self.leaves.get(place).map_or(0.0, |&value| f64::from(value))
    }
}
