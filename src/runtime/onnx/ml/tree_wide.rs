//! The trees that the flat walk does not take: equality, sets, 64-bit thresholds, the smallest or largest leaf, and those
//! whose branches meet again.
//!
//! Nodes of 64 bits, walked one row and tree at a time; no node lies below itself, which was checked when this was made,
//! so a walk ends. Next: `tree.rs`, which decides who comes here.

use super::super::value::fault;
use super::tree::Aggregate;
use super::tree_raw::{Mode, Raw};
use crate::error::{Error, Result};

/// The deepest tree. A set of categories may be written as a chain, a node for each.
const DEPTH_MAX: u32 = 1 << 16;
/// In place of a node's levels: it is being gone into.
const ON_PATH: u32 = u32::MAX;

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

/// The levels of one tree. Branches may meet again, as in exported sets of categories; what was gone into once is
/// remembered, so this takes no longer than the tree has nodes.
fn levels_of(raw: &Raw, first: usize, count: usize) -> Result<u32> {
    let mut levels = vec![0u32; count];
    let mut path = vec![0u32];
    while let Some(&number) = path.last() {
        let mut below = 0;
        if let Some(slot) = levels.get_mut(number as usize) {
            *slot = ON_PATH;
        }
        let node = raw.nodes.get(first + number as usize).filter(|node| node.mode != Mode::Leaf);
        let mut open = None;
        for child in node.iter().flat_map(|node| [node.yes, node.no]) {
            match levels.get(child as usize) {
                Some(0) => open = Some(child),
                Some(&ON_PATH) => return Err(Error::invalid(format!("node {child} is below itself: the tree has a cycle"))),
                Some(&levels) => below = below.max(levels),
                None => return Err(Error::invalid(format!("node {child} is outside the tree of {count} nodes"))),
            }
        }
        if let Some(child) = open {
            path.push(child);
            continue;
        }
        if below >= DEPTH_MAX {
            return Err(Error::invalid(format!("it is deeper than {DEPTH_MAX} levels")));
        }
        path.pop();
        if let Some(slot) = levels.get_mut(number as usize) {
            *slot = below + 1;
        }
    }
    Ok(levels.first().copied().unwrap_or_default())
}

impl Wide {
    /// Checks every tree on the way.
    pub(super) fn new(raw: &Raw, targets: usize, aggregate: Aggregate) -> Result<Self> {
        let mut levels = 0;
        let (mut nodes, mut roots) = (Vec::with_capacity(raw.nodes.len()), Vec::with_capacity(raw.trees.len()));
        for (tree, &(first, count)) in raw.trees.iter().enumerate() {
            roots.push(place(first)?);
            let deepest = levels_of(raw, first, count).map_err(|error| error.within(format_args!("tree {tree}")))?;
            let leaves = raw.nodes.iter().skip(first).take(count).filter(|node| node.mode == Mode::Leaf);
            levels += u64::from(deepest) + u64::from(leaves.map(|leaf| leaf.no).max().unwrap_or_default());
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

#[cfg(test)]
mod tests {
    use super::super::tree_raw::RawNode;
    use super::*;

    /// One tree by its children; of a leaf both are the same as itself.
    fn levels(children: &[(u32, u32)]) -> Result<u32> {
        let node = |(at, &(yes, no)): (usize, &(u32, u32))| {
            let mode = if yes as usize == at && no as usize == at { Mode::Leaf } else { Mode::Equal };
            RawNode { mode, feature: 0, value: 0.0, yes, no, missing_yes: false }
        };
        let raw = Raw { nodes: children.iter().enumerate().map(node).collect(), ..Raw::default() };
        levels_of(&raw, 0, children.len())
    }

    #[test]
    fn branches_may_meet_and_none_may_lead_back() {
        assert_eq!(levels(&[(0, 0)]).unwrap(), 1);
        assert_eq!(levels(&[(1, 2), (3, 2), (2, 2), (3, 3)]).unwrap(), 3);
        // The longer way to a shared node counts, whichever is gone first.
        assert_eq!(levels(&[(3, 1), (2, 3), (3, 4), (4, 4), (4, 4)]).unwrap(), 5);
        assert_eq!(levels(&[(1, 3), (2, 3), (3, 4), (4, 4), (4, 4)]).unwrap(), 5);
        for children in [&[(0, 1), (1, 1)][..], &[(1, 2), (2, 2), (1, 3), (3, 3)], &[(1, 3), (2, 3), (0, 3), (3, 3)]] {
            assert!(levels(children).unwrap_err().message().contains("cycle"), "{children:?}");
        }
        // Two to the power of a thousand ways.
        let chain: Vec<(u32, u32)> = (0..1000).map(|at| (at + 1, at + 1)).chain([(1000, 1000)]).collect();
        assert_eq!(levels(&chain).unwrap(), 1001);
        let deep: Vec<(u32, u32)> = (0..DEPTH_MAX).map(|at| (at + 1, at + 1)).chain([(DEPTH_MAX, DEPTH_MAX)]).collect();
        assert!(levels(&deep).unwrap_err().message().contains("deeper"));
    }
}
