//! The trees that the flat walk does not take: equality, sets, 64-bit thresholds, the smallest or largest leaf.
//!
//! Nodes of 64 bits, walked one row and tree at a time; every child was reached once from its root when this was made,
//! so a walk ends. Next: `tree.rs`, which decides who comes here.

use super::super::value::fault;
use super::tree::Aggregate;
use super::tree_raw::{Mode, Raw};
use crate::error::{Error, Result};

/// The deepest tree.
const DEPTH_MAX: u64 = 4096;

#[derive(Debug)]
struct Node {
    value: f64,
    feature: u32,
    mode: Mode,
    missing_yes: bool,
    /// Children, or a leaf's first weight and the one behind its last.
    yes: u32,
    no: u32,
}

#[derive(Debug)]
pub(super) struct Wide {
    features: usize,
    targets: usize,
    aggregate: Aggregate,
    nodes: Vec<Node>,
    roots: Vec<u32>,
    weights: Vec<(u32, f64)>,
    /// Each sorted.
    sets: Vec<Vec<f64>>,
    levels: u64,
}

fn place(at: usize) -> Result<u32> {
    u32::try_from(at).map_err(|_| Error::invalid("its trees are too many"))
}

impl Wide {
    /// Checks every tree on the way.
    pub(super) fn new(raw: &Raw, targets: usize, aggregate: Aggregate) -> Result<Self> {
        let mut levels = 0;
        let (mut nodes, mut roots) = (Vec::with_capacity(raw.nodes.len()), Vec::with_capacity(raw.trees.len()));
        for (tree, &(first, count)) in raw.trees.iter().enumerate() {
            roots.push(place(first)?);
            let mut seen = vec![false; count];
            let mut stack = vec![(0u32, 1u64)];
            let mut deepest = 0;
            while let Some((number, depth)) = stack.pop() {
                match seen.get_mut(number as usize) {
                    Some(seen) if !*seen => *seen = true,
                    _ => {
                        return Err(Error::invalid(format!("node {number} is reached twice or is outside: the tree has a cycle"))
                            .within(format_args!("tree {tree}")));
                    }
                }
                deepest = deepest.max(depth);
                if deepest > DEPTH_MAX {
                    return Err(Error::invalid(format!("it is deeper than {DEPTH_MAX} levels")).within(format_args!("tree {tree}")));
                }
                if let Some(node) = raw.nodes.get(first + number as usize).filter(|node| node.mode != Mode::Leaf) {
                    stack.push((node.yes, depth + 1));
                    stack.push((node.no, depth + 1));
                }
            }
            let leaves = raw.nodes.iter().skip(first).take(count).filter(|node| node.mode == Mode::Leaf);
            levels += deepest + u64::from(leaves.map(|leaf| leaf.no).max().unwrap_or_default());
            for node in raw.nodes.iter().skip(first).take(count) {
                let (yes, no) = if node.mode == Mode::Leaf {
                    (node.yes, place(node.yes as usize + node.no as usize)?)
                } else {
                    (place(first + node.yes as usize)?, place(first + node.no as usize)?)
                };
                nodes.push(Node { value: node.value, feature: node.feature, mode: node.mode, missing_yes: node.missing_yes, yes, no });
            }
        }
        Ok(Self { features: raw.features, targets, aggregate, nodes, roots, weights: raw.weights.clone(), sets: raw.sets.clone(), levels })
    }

    pub(super) fn levels(&self) -> u64 {
        self.levels
    }

    pub(super) fn weight(&self) -> usize {
        let sets: usize = self.sets.iter().map(|set| size_of::<Vec<f64>>() + set.capacity() * 8).sum();
        self.nodes.capacity() * size_of::<Node>() + self.roots.capacity() * 4 + self.weights.capacity() * 16 + sets
    }

    /// Each row's scores before base values, and which outputs any leaf named.
    pub(super) fn sums(&self, values: &[f64], rows: usize, columns: usize) -> Result<(Vec<f32>, Vec<bool>)> {
        if columns < self.features {
            return Err(fault(format!("its trees look at column {}, it was handed {columns}", self.features)));
        }
        let n = self.targets;
        let mut sums = vec![0.0f64; rows * n];
        let mut has = vec![false; rows * n];
        for ((row, sums), has) in values.chunks_exact(columns).zip(sums.chunks_exact_mut(n)).zip(has.chunks_exact_mut(n)) {
            for &root in &self.roots {
                for &(output, weight) in self.leaf(root, row) {
                    let (Some(sum), Some(has)) = (sums.get_mut(output as usize), has.get_mut(output as usize)) else { continue };
                    *sum = match self.aggregate {
                        Aggregate::Sum | Aggregate::Average => *sum + weight,
                        Aggregate::Min if *has && *sum <= weight => *sum,
                        Aggregate::Max if *has && *sum >= weight => *sum,
                        Aggregate::Min | Aggregate::Max => weight,
                    };
                    *has = true;
                }
            }
        }
        Ok((sums.iter().map(|&sum| sum as f32).collect(), has))
    }

    fn has(&self, set: u32, x: f64) -> bool {
        // Zeros are alike whatever their sign.
        let x = if x == 0.0 { 0.0 } else { x };
        self.sets.get(set as usize).is_some_and(|set| set.binary_search_by(|value| (value + 0.0).total_cmp(&x)).is_ok())
    }

    fn leaf(&self, root: u32, row: &[f64]) -> &[(u32, f64)] {
        let mut at = root;
        while let Some(node) = self.nodes.get(at as usize) {
            let x = row.get(node.feature as usize).copied().unwrap_or(f64::NAN);
            let yes = match node.mode {
                Mode::LessOrEqual => x <= node.value,
                Mode::Less => x < node.value,
                Mode::GreaterOrEqual => x >= node.value,
                Mode::Greater => x > node.value,
                Mode::Equal => x == node.value,
                Mode::NotEqual => x != node.value,
                Mode::Member(set) => self.has(set, x),
                Mode::Leaf => return self.weights.get(node.yes as usize..node.no as usize).unwrap_or_default(),
            };
            at = if yes || (node.missing_yes && x.is_nan()) { node.yes } else { node.no };
        }
        &[]
    }
}
