//! From a format's own tree arrays to the flat layout, with every check a hostile file calls for.
//!
//! Only what can be reached from the root is taken, so nodes a trainer pruned away cost nothing. Knows no file
//! format: the readers hand over one [`TreeNode`] at a time. Next: `mod.rs`, whose layout this fills.

use super::{CATEGORICAL, Ensemble, MISSING_LEFT, Node, SPLIT, Tree, share};
use crate::error::{Error, Result};

/// The most numbers in vector leaves, 256 MiB of them.
const LEAVES_MAX: usize = 1 << 26;
/// The deepest tree. A walk takes one step a level for every row, so depth is time.
const DEPTH_MAX: u32 = 4096;
/// The most nodes in an ensemble; places are 32 bits wide.
const NODES_MAX: usize = 1 << 30;
/// The most words of all category sets together, 64 MiB of them.
const CATEGORY_WORDS_MAX: usize = 1 << 24;
/// The largest category; one bit is kept for each.
const CATEGORY_MAX: u32 = 1 << 24;

/// A node as a format's reader sees it.
#[derive(Debug)]
pub enum TreeNode<'a> {
    /// Two children.
    Split {
        /// The column looked at.
        feature: u32,
        /// How it decides.
        split: Split<'a>,
        /// Where a missing value goes.
        missing_left: bool,
        /// The reader's own number of the left child.
        left: u32,
        /// The reader's own number of the right child.
        right: u32,
    },
    /// A single number.
    Leaf(f32),
    /// One number a group.
    VectorLeaf(&'a [f32]),
}

/// How a split decides.
#[derive(Debug)]
pub enum Split<'a> {
    /// Left when the value is below.
    Below(f32),
    /// Right when the value, cut to a whole number, is one of these.
    Among(&'a [i32]),
}

/// Collects trees in order.
#[derive(Debug)]
pub struct Builder {
    features: usize,
    groups: usize,
    nodes: Vec<Node>,
    trees: Vec<Tree>,
    categories: Vec<u32>,
    leaves: Vec<f32>,
    vector: Option<bool>,
}

impl Builder {
    /// An ensemble over `features` columns with `groups` outputs.
    pub fn new(features: usize, groups: usize) -> Self {
        Self { features, groups, nodes: Vec::new(), trees: Vec::new(), categories: Vec::new(), leaves: Vec::new(), vector: None }
    }

    /// Adds one tree of `count` nodes that adds to output `group`; `node` gives the node of a number, 0 being the root.
    ///
    /// # Errors
    /// Naming the node: a child outside the tree, a node with two parents (a cycle), a feature outside the model, a
    /// leaf or threshold that is no number, too deep, too large. And whatever `node` returns.
    pub fn tree<'a>(&mut self, group: usize, count: usize, node: impl FnMut(u32) -> Result<TreeNode<'a>>) -> Result<()> {
        self.tree_with_covers(group, count, node, |_| f32::NAN)
    }

    /// As [`Builder::tree`], and `cover` gives the weight of the training rows that came to a node, NaN where that is not
    /// known; without it the ensemble cannot be explained.
    ///
    /// # Errors
    /// As [`Builder::tree`].
    pub fn tree_with_covers<'a>(
        &mut self,
        group: usize,
        count: usize,
        mut node: impl FnMut(u32) -> Result<TreeNode<'a>>,
        cover: impl Fn(u32) -> f32,
    ) -> Result<()> {
        let index = self.trees.len();
        self.add(group, count, &mut node, &cover).map_err(|error| error.within(format_args!("tree {index}")))
    }

    fn add<'a>(
        &mut self,
        group: usize,
        count: usize,
        node: &mut impl FnMut(u32) -> Result<TreeNode<'a>>,
        cover: &impl Fn(u32) -> f32,
    ) -> Result<()> {
        if group >= self.groups {
            return Err(Error::invalid(format!("it adds to output {group}; the model has {}", self.groups)));
        }
        if count == 0 {
            return Err(Error::invalid("it has no node"));
        }
        let root = self.nodes.len();
        if root + count > NODES_MAX {
            return Err(Error::invalid(format!("the model has more than {NODES_MAX} nodes")));
        }
        let mut seen = vec![false; count];
        let mut level = vec![0u32];
        let mut below = Vec::new();
        let mut next = root + 1;
        let mut depth = 0;
        loop {
            for &number in &level {
                match seen.get_mut(number as usize) {
                    Some(seen) if !*seen => *seen = true,
                    Some(_) => {
                        return Err(Error::invalid(format!("node {number} is reached twice: the tree has a cycle or branches that meet")));
                    }
                    None => return Err(Error::invalid(format!("node {number} is outside the tree of {count} nodes"))),
                }
                let mut flat = self.flat(node(number)?, number, &mut next, &mut below)?;
                if let (true, [.., left, right]) = (flat.flags & SPLIT != 0, below.as_slice()) {
                    flat.flags |= share::pack(cover(*left), cover(*right)) << share::SHIFT;
                }
                self.nodes.push(flat);
            }
            if below.is_empty() {
                break;
            }
            depth += 1;
            if depth > DEPTH_MAX {
                return Err(Error::invalid(format!("it is deeper than {DEPTH_MAX} levels")));
            }
            level.clear();
            std::mem::swap(&mut level, &mut below);
        }
        self.trees.push(Tree { root: place(root), depth, group: place(group) });
        Ok(())
    }

    fn flat(&mut self, node: TreeNode<'_>, number: u32, next: &mut usize, below: &mut Vec<u32>) -> Result<Node> {
        let here = self.nodes.len();
        let leaf = |threshold: f32| Node { threshold, feature: 0, left: place(here), flags: 0 };
        match node {
            TreeNode::Split { feature, split, missing_left, left, right } => {
                if feature as usize >= self.features {
                    return Err(Error::invalid(format!("node {number} splits on feature {feature}; the model has {}", self.features)));
                }
                let (threshold, kind) = match split {
                    Split::Below(threshold) if threshold.is_nan() => {
                        return Err(Error::invalid(format!("node {number} splits at a threshold that is no number")));
                    }
                    Split::Below(threshold) => (threshold, 0),
                    Split::Among(categories) => (self.category_set(categories, number)?, CATEGORICAL),
                };
                below.extend([left, right]);
                let flags = SPLIT | kind | if missing_left { MISSING_LEFT } else { 0 };
                let node = Node { threshold, feature, left: place(*next), flags };
                *next += 2;
                Ok(node)
            }
            TreeNode::Leaf(value) => {
                self.leaf_kind(false)?;
                if !value.is_finite() {
                    return Err(Error::invalid(format!("leaf {number} is no finite number")));
                }
                Ok(leaf(value))
            }
            TreeNode::VectorLeaf(values) => {
                self.leaf_kind(true)?;
                if values.len() != self.groups || values.iter().any(|value| !value.is_finite()) {
                    return Err(Error::invalid(format!("leaf {number} does not hold {} finite numbers", self.groups)));
                }
                if self.leaves.len() + values.len() > LEAVES_MAX {
                    return Err(Error::invalid(format!("its vector leaves hold more than {LEAVES_MAX} numbers")));
                }
                let row = self.leaves.len() / self.groups;
                self.leaves.extend_from_slice(values);
                Ok(leaf(f32::from_bits(place(row))))
            }
        }
    }

    fn leaf_kind(&mut self, vector: bool) -> Result<()> {
        if *self.vector.get_or_insert(vector) != vector {
            return Err(Error::invalid("single and vector leaves are mixed"));
        }
        Ok(())
    }

    fn category_set(&mut self, categories: &[i32], number: u32) -> Result<f32> {
        let offset = self.categories.len();
        self.categories.push(0);
        // A bit for every category up to the largest, so one number can ask for megabytes: the sum is bounded first.
        let largest = categories.iter().copied().max().and_then(|largest| usize::try_from(largest).ok()).unwrap_or_default();
        if offset + largest / 32 > CATEGORY_WORDS_MAX {
            return Err(Error::invalid("its category sets are too large"));
        }
        for &category in categories {
            let Some(category) = u32::try_from(category).ok().filter(|&category| category < CATEGORY_MAX) else {
                return Err(Error::invalid(format!("node {number} has category {category}; categories are 0 to {}", CATEGORY_MAX - 1)));
            };
            let word = offset + 1 + category as usize / 32;
            if word >= self.categories.len() {
                self.categories.resize(word + 1, 0);
            }
            if let Some(word) = self.categories.get_mut(word) {
                *word |= 1 << (category % 32);
            }
        }
        let words = place(self.categories.len() - offset - 1);
        if let Some(count) = self.categories.get_mut(offset) {
            *count = words;
        }
        Ok(f32::from_bits(place(offset)))
    }

    /// The ensemble of all trees added.
    ///
    /// # Errors
    /// When the shape is empty.
    pub fn finish(mut self) -> Result<Ensemble> {
        self.nodes.shrink_to_fit();
        self.categories.shrink_to_fit();
        self.leaves.shrink_to_fit();
        self.trees.shrink_to_fit();
        Ensemble::checked(self.features, self.groups, self.nodes, self.trees, self.categories, self.leaves)
    }
}

/// A place in an array as 32 bits; [`NODES_MAX`] keeps all of them below.
pub(super) fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    fn split(left: u32, right: u32) -> TreeNode<'static> {
        TreeNode::Split { feature: 0, split: Split::Below(0.5), missing_left: false, left, right }
    }

    #[test]
    fn trees_that_are_no_trees_are_refused_by_node() {
        let refuse = |count: usize, make: &dyn Fn(u32) -> TreeNode<'static>| {
            let error = Builder::new(1, 1).tree(0, count, |number| Ok(make(number))).unwrap_err();
            error.message().to_owned()
        };
        assert!(refuse(3, &|number| if number == 0 { split(0, 1) } else { TreeNode::Leaf(0.0) }).contains("cycle"));
        assert!(refuse(3, &|number| if number == 0 { split(1, 1) } else { TreeNode::Leaf(0.0) }).contains("cycle"));
        assert!(refuse(3, &|number| if number == 0 { split(1, 7) } else { TreeNode::Leaf(0.0) }).contains("outside the tree"));
        assert!(refuse(1, &|_| TreeNode::Leaf(f32::NAN)).contains("finite"));
        assert!(refuse(0, &|_| TreeNode::Leaf(0.0)).contains("no node"));
        let wide = |number| {
            if number == 0 {
                TreeNode::Split { feature: 9, split: Split::Below(0.0), missing_left: true, left: 1, right: 2 }
            } else {
                TreeNode::Leaf(0.0)
            }
        };
        assert!(refuse(3, &wide).contains("feature 9"));
        let deep = |number: u32| if number.is_multiple_of(2) { split(number + 1, number + 2) } else { TreeNode::Leaf(0.0) };
        assert!(refuse(10_001, &deep).contains("deeper"));
    }

    #[test]
    fn single_rows_and_batches_give_the_same_sums() {
        let mut builder = Builder::new(2, 1);
        for tree in 0..21u32 {
            builder
                .tree(0, 5, |number| {
                    Ok(match number {
                        0 => TreeNode::Split {
                            feature: 0,
                            split: Split::Below(0.1 * tree as f32),
                            missing_left: tree % 2 == 0,
                            left: 1,
                            right: 2,
                        },
                        2 => TreeNode::Split { feature: 1, split: Split::Among(&[1, 33]), missing_left: false, left: 3, right: 4 },
                        other => TreeNode::Leaf(other as f32 * 0.3 + tree as f32 * 0.01),
                    })
                })
                .unwrap();
        }
        let ensemble = builder.finish().unwrap();
        let values: Vec<f32> =
            (0..77).flat_map(|row| [if row % 7 == 0 { f32::NAN } else { row as f32 * 0.03 }, (row % 40) as f32 - 2.0]).collect();
        let mut all = vec![0.5; 77];
        ensemble.add_to(&Tensor::new(2, values.clone()).unwrap(), &mut all).unwrap();
        for (row, expected) in values.chunks(2).zip(&all) {
            let mut one = [0.5];
            ensemble.add_to(&Tensor::new(2, row.to_vec()).unwrap(), &mut one).unwrap();
            let mut slow = 0.5f32;
            for tree in 0..21u32 {
                let left = if row[0].is_nan() { tree % 2 == 0 } else { row[0] < 0.1 * tree as f32 };
                let leaf = if left {
                    1
                } else if row[1] == 1.0 || row[1] == 33.0 {
                    4
                } else {
                    3
                };
                slow += leaf as f32 * 0.3 + tree as f32 * 0.01;
            }
            assert_eq!((one[0].to_bits(), expected.to_bits()), (slow.to_bits(), slow.to_bits()));
        }
    }
}
