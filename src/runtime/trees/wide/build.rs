//! From a format's own tree arrays to the flat 64-bit layout, with every check a hostile file calls for.
//!
//! Here the library's rules become what `walk.rs` can do without a branch: `x <= t` becomes "below the next number
//! after `t`", and "NaN is taken for 0" becomes the side on which 0 falls. Knows no file format. Next: `mod.rs`.

use super::{Arrays, CATEGORICAL, Ensemble, LINEAR, LinearLeaf, MISSING_LEFT, Node, SPLIT, Tree, ZERO, ZERO_MISSING};
use crate::error::{Error, Result};

/// The deepest tree. A walk takes one step a level for every row, so depth is time.
const DEPTH_MAX: u32 = 4096;
/// The most nodes in an ensemble; places are 32 bits wide.
const NODES_MAX: usize = 1 << 30;
/// The most words of all category sets together, and the most coefficients of all linear leaves.
const WORDS_MAX: usize = 1 << 26;

/// A node as a format's reader sees it.
#[derive(Debug)]
pub enum TreeNode<'a> {
    /// Two children.
    Split {
        /// The column looked at.
        feature: u32,
        /// How it decides.
        split: Split<'a>,
        /// The reader's own number of the left child.
        left: u32,
        /// The reader's own number of the right child.
        right: u32,
        /// How many training rows came by, where the file says.
        cover: Option<u32>,
    },
    /// A number.
    Leaf {
        /// The output; with `linear` the output when one of its columns is missing.
        value: f64,
        /// The function that answers instead.
        linear: Option<Linear<'a>>,
        /// How many training rows ended here, where the file says.
        cover: Option<u32>,
    },
}

/// `constant + Σ coefficient × value`, added in order.
#[derive(Debug)]
pub struct Linear<'a> {
    /// What the sum starts from.
    pub constant: f64,
    /// One for each of `columns`.
    pub coefficients: &'a [f64],
    /// The columns looked at.
    pub columns: &'a [u32],
}

/// What counts as missing at a numeric split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Nothing: NaN is 0.
    Never,
    /// Zero, and NaN too.
    Zero,
    /// NaN.
    Nan,
}

/// How a split decides.
#[derive(Debug)]
pub enum Split<'a> {
    /// Left when the value is at most the threshold.
    UpTo {
        /// The threshold.
        threshold: f64,
        /// What counts as missing.
        missing: Missing,
        /// Where what is missing goes.
        missing_left: bool,
    },
    /// Left when the bit of the value, cut to a whole number, is set in these words.
    Among(&'a [u32]),
}

/// Collects trees in order.
#[derive(Debug)]
pub struct Builder {
    features: usize,
    groups: usize,
    arrays: Arrays,
    counted: bool,
}

impl Builder {
    /// An ensemble over `features` columns with `groups` outputs.
    pub fn new(features: usize, groups: usize) -> Self {
        Self { features, groups, arrays: Arrays::default(), counted: true }
    }

    /// Adds one tree of `count` nodes that adds to output `group`; `node` gives the node of a number, 0 being the root.
    ///
    /// # Errors
    /// Naming the node: a child outside the tree, a node with two parents (a cycle), a feature outside the model, a
    /// leaf or threshold that is no number, too deep, too large. And whatever `node` returns.
    pub fn tree<'a>(&mut self, group: usize, count: usize, mut node: impl FnMut(u32) -> Result<TreeNode<'a>>) -> Result<()> {
        if group >= self.groups || count == 0 {
            return Err(Error::invalid("it has no node or adds to an output that the model has not"));
        }
        let root = self.arrays.nodes.len();
        if root + count > NODES_MAX {
            return Err(Error::invalid(format!("the model has more than {NODES_MAX} nodes")));
        }
        let mut seen = vec![false; count];
        let (mut level, mut below) = (vec![0u32], Vec::new());
        let (mut next, mut depth) = (root + 1, 0);
        loop {
            for &number in &level {
                match seen.get_mut(number as usize) {
                    Some(seen) if !*seen => *seen = true,
                    Some(_) => {
                        return Err(Error::invalid(format!("node {number} is reached twice: the tree has a cycle or branches that meet")));
                    }
                    None => return Err(Error::invalid(format!("node {number} is outside the tree of {count} nodes"))),
                }
                let flat = self.flat(node(number)?, number, &mut next, &mut below)?;
                self.arrays.nodes.push(flat);
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
        self.arrays.trees.push(Tree { root: place(root), depth, group: place(group) });
        Ok(())
    }

    fn flat(&mut self, node: TreeNode<'_>, number: u32, next: &mut usize, below: &mut Vec<u32>) -> Result<Node> {
        let here = self.arrays.nodes.len();
        match node {
            TreeNode::Split { feature, split, left, right, cover } => {
                if feature as usize >= self.features {
                    return Err(Error::invalid(format!("node {number} splits on feature {feature}; the model has {}", self.features)));
                }
                self.count(cover.filter(|&cover| cover > 0));
                let (threshold, flags) = self.decision(split, number)?;
                below.extend([left, right]);
                let node = Node { threshold, left: place(*next), word: feature << 8 | SPLIT | flags };
                *next += 2;
                Ok(node)
            }
            TreeNode::Leaf { value, linear, cover } => {
                if !value.is_finite() {
                    return Err(Error::invalid(format!("leaf {number} is no finite number")));
                }
                self.count(cover);
                let (threshold, flags) = match linear {
                    None => (value, 0),
                    Some(linear) => (self.linear(value, &linear, number)?, LINEAR),
                };
                Ok(Node { threshold, left: place(here), word: flags })
            }
        }
    }

    fn decision(&mut self, split: Split<'_>, number: u32) -> Result<(f64, u32)> {
        match split {
            Split::UpTo { threshold, .. } if threshold.is_nan() => {
                Err(Error::invalid(format!("node {number} splits at a threshold that is no number")))
            }
            Split::UpTo { threshold, missing, missing_left } => {
                // Values as near to zero as `ZERO` are zero before they are compared: a threshold that near is moved
                // to the edge of those numbers that they all lie on the side of 0.
                // An infinite threshold parts what is missing from all else: no value is infinite, payloads hold none.
                let below = match threshold {
                    t if t.abs() > ZERO => t.next_up(),
                    t if t >= 0.0 => ZERO.next_up(),
                    _ => -ZERO,
                };
                let left = if missing == Missing::Never { threshold >= 0.0 } else { missing_left };
                let zero = if missing == Missing::Zero { ZERO_MISSING } else { 0 };
                Ok((below, zero | if left { MISSING_LEFT } else { 0 }))
            }
            Split::Among(words) => {
                let categories = &mut self.arrays.categories;
                let offset = categories.len();
                if offset + words.len() >= WORDS_MAX {
                    return Err(Error::invalid("its category sets are too large"));
                }
                categories.push(place(words.len()));
                categories.extend_from_slice(words);
                Ok((f64::from_bits(offset as u64), CATEGORICAL))
            }
        }
    }

    fn linear(&mut self, value: f64, linear: &Linear<'_>, number: u32) -> Result<f64> {
        let Linear { constant, coefficients, columns } = *linear;
        let Arrays { linear, coefficients: all, columns: all_columns, .. } = &mut self.arrays;
        if coefficients.len() != columns.len() || all.len() + columns.len() > WORDS_MAX {
            return Err(Error::invalid(format!("leaf {number} has not one coefficient for each of its features, or too many")));
        }
        if !constant.is_finite() || coefficients.iter().any(|value| !value.is_finite()) {
            return Err(Error::invalid(format!("leaf {number} has a coefficient that is no finite number")));
        }
        if let Some(column) = columns.iter().find(|&&column| column as usize >= self.features) {
            return Err(Error::invalid(format!("leaf {number} looks at feature {column}; the model has {}", self.features)));
        }
        let at = linear.len();
        linear.push(LinearLeaf { value, constant, start: place(all.len()), terms: place(columns.len()) });
        all.extend_from_slice(coefficients);
        all_columns.extend_from_slice(columns);
        Ok(f64::from_bits(at as u64))
    }

    /// Keeps a node's count of rows; one that is not there makes all of them useless.
    fn count(&mut self, cover: Option<u32>) {
        match cover {
            Some(cover) if self.counted => self.arrays.covers.push(cover),
            _ => {
                self.counted = false;
                self.arrays.covers = Vec::new();
            }
        }
    }

    /// The ensemble of all trees added.
    ///
    /// # Errors
    /// When the shape is empty.
    pub fn finish(mut self) -> Result<Ensemble> {
        let Arrays { nodes, trees, categories, linear, coefficients, columns, covers } = &mut self.arrays;
        // Linear leaves are never explained.
        if !linear.is_empty() {
            *covers = Vec::new();
        }
        let count = |at: usize| covers.get(at).copied().map_or(0, u64::from);
        let sums = |(at, node): (usize, &Node)| !node.is(SPLIT) || count(at) == count(node.left as usize) + count(node.left as usize + 1);
        if covers.len() == nodes.len() && nodes.iter().enumerate().all(sums) {
            *covers = nodes.iter().zip(covers.iter()).filter(|(node, _)| !node.is(SPLIT)).map(|(_, &cover)| cover).collect();
        }
        nodes.shrink_to_fit();
        trees.shrink_to_fit();
        categories.shrink_to_fit();
        linear.shrink_to_fit();
        coefficients.shrink_to_fit();
        columns.shrink_to_fit();
        covers.shrink_to_fit();
        Ensemble::checked(self.features, self.groups, self.arrays)
    }
}

/// A place in an array as 32 bits; the limits above keep all of them below.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    fn leaf(value: f64) -> TreeNode<'static> {
        TreeNode::Leaf { value, linear: None, cover: None }
    }

    fn up_to(threshold: f64, missing: Missing, missing_left: bool) -> TreeNode<'static> {
        TreeNode::Split { feature: 0, split: Split::UpTo { threshold, missing, missing_left }, left: 1, right: 2, cover: None }
    }

    /// The library's rule, word for word.
    fn goes_left(mut x: f64, threshold: f64, missing: Missing, missing_left: bool) -> bool {
        // Values that near to zero are dropped on the way in, and what is not there is zero.
        if x.abs() <= ZERO || (x.is_nan() && missing != Missing::Nan) {
            x = 0.0;
        }
        if (missing == Missing::Zero && x == 0.0) || (missing == Missing::Nan && x.is_nan()) {
            return missing_left;
        }
        x <= threshold
    }

    #[test]
    fn every_kind_of_missing_goes_where_the_library_sends_it() {
        let edges = [0.0, ZERO, 1e-36, 2e-35, 0.5, 1e300, f64::MAX, f64::MIN_POSITIVE, f64::INFINITY];
        let values: Vec<f64> = edges.iter().flat_map(|&x| [x, -x, x.next_up(), x.next_down(), -x.next_up(), -x.next_down()]).collect();
        for &threshold in &values {
            for (missing, missing_left) in
                [Missing::Never, Missing::Zero, Missing::Nan].into_iter().flat_map(|missing| [(missing, false), (missing, true)])
            {
                let mut builder = Builder::new(1, 1);
                builder
                    .tree(0, 3, |number| {
                        Ok(match number {
                            0 => up_to(threshold, missing, missing_left),
                            1 => leaf(1.0),
                            _ => leaf(2.0),
                        })
                    })
                    .unwrap();
                let ensemble = builder.finish().unwrap();
                let rows: Vec<f64> = values.iter().copied().filter(|x| x.is_finite()).chain([f64::NAN]).collect();
                let mut many = vec![0.0; rows.len()];
                ensemble.add_to(&Tensor::new(1, rows.clone()).unwrap(), &mut many).unwrap();
                for (&x, &found) in rows.iter().zip(&many) {
                    let wanted = if goes_left(x, threshold, missing, missing_left) { 1.0 } else { 2.0 };
                    let mut one = [0.0];
                    ensemble.add_to(&Tensor::new(1, vec![x]).unwrap(), &mut one).unwrap();
                    assert_eq!((found, one[0]), (wanted, wanted), "{x:e} at {threshold:e}, {missing:?}, left {missing_left}");
                }
            }
        }
    }

    #[test]
    fn rows_too_wide_to_be_spread_out_are_answered_alike() {
        let features = 40_000u32;
        let mut builder = Builder::new(features as usize, 1);
        let kinds: Vec<_> =
            [Missing::Never, Missing::Zero, Missing::Nan].into_iter().flat_map(|missing| [(missing, false), (missing, true)]).collect();
        for (&(missing, missing_left), feature) in kinds.iter().zip((0..features).step_by(6_000)) {
            let split = |number| match number {
                0 => TreeNode::Split {
                    feature,
                    split: Split::UpTo { threshold: 0.5, missing, missing_left },
                    left: 1,
                    right: 2,
                    cover: None,
                },
                1 => leaf(f64::from(feature) + 1.0),
                _ => leaf(0.0),
            };
            builder.tree(0, 3, |number| Ok(split(number))).unwrap();
        }
        let ensemble = builder.finish().unwrap();
        let values = [f64::NAN, 0.0, 1e-36, 0.5, 0.6, -3.0, 1e300, -1e300, 0.1];
        let rows: Vec<f64> = values.iter().flat_map(|&x| vec![x; features as usize]).collect();
        let mut found = vec![0.0; values.len()];
        ensemble.add_to(&Tensor::new(features as usize, rows).unwrap(), &mut found).unwrap();
        for (&x, &found) in values.iter().zip(&found) {
            let left = kinds.iter().zip((0..features).step_by(6_000)).filter(|((missing, side), _)| goes_left(x, 0.5, *missing, *side));
            let wanted: f64 = left.map(|(_, feature)| f64::from(feature) + 1.0).sum();
            assert_eq!(found, wanted, "{x:e}");
        }
    }

    #[test]
    fn trees_that_are_no_trees_are_refused_by_node() {
        let refuse = |count: usize, make: &dyn Fn(u32) -> TreeNode<'static>| {
            let error = Builder::new(1, 1).tree(0, count, |number| Ok(make(number))).unwrap_err();
            error.message().to_owned()
        };
        let split = |left, right| match up_to(0.0, Missing::Nan, true) {
            TreeNode::Split { feature, split, cover, .. } => TreeNode::Split { feature, split, left, right, cover },
            leaf @ TreeNode::Leaf { .. } => leaf,
        };
        assert!(refuse(3, &|_| split(0, 1)).contains("cycle"));
        assert!(refuse(3, &|number| if number == 0 { split(1, 7) } else { leaf(0.0) }).contains("outside the tree"));
        assert!(refuse(1, &|_| leaf(f64::INFINITY)).contains("finite"));
        assert!(refuse(3, &|_| up_to(f64::NAN, Missing::Never, false)).contains("no number"));
        let deep = |number: u32| if number.is_multiple_of(2) { split(number + 1, number + 2) } else { leaf(0.0) };
        assert!(refuse(10_001, &deep).contains("deeper"));
    }
}
