//! The trees laid out flat with the boxes around their points, and the score of a row.
//!
//! The score is the one of Guha, Mishra, Roy and Schrijvers, *Robust Random Cut Forest Based Anomaly Detection on
//! Streams* (ICML 2016), in the form that Amazon's open `random-cut-forest-by-aws` computes by default. In a tree of
//! mass `M` (points sampled) a row `x` walks down to a leaf of mass `m` at depth `D`, the root's being 0:
//!
//! - it starts with `(1 - m / 2M) / (D + log2(1 + m))` if the leaf's point is `x`, and ends there;
//! - it starts with `1 / (D + 1)` otherwise, and goes back up: at each node of depth `h`, whose points lie in a box of
//!   side lengths that add up to `r` and which `x` is outside of by `g` (its distances to the box, added up), a random
//!   cut of the box stretched to hold `x` would set `x` apart with `p = g / (r + g)`, so the score becomes
//!   `p / (h + 1) + (1 - p) · score`; it ends at the first box that holds `x`;
//! - times `log2(1 + M)`.
//!
//! A row's score is the mean over the trees. All of it in `f64`, rounded once. Knows neither files nor JSON.

use bytemuck::{Pod, Zeroable};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::runtime::prepared::{Reader, Writer};

/// The forest's sizes that its arrays do not tell.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Shape {
    pub(super) features: usize,
    pub(super) points: usize,
}

/// The arrays of the file, of fitting lengths: every tree has one leaf more than inner nodes.
#[derive(Debug)]
pub(super) struct Nodes {
    pub(super) points: Vec<f32>,
    pub(super) leaf_point: Vec<i32>,
    pub(super) leaf_mass: Vec<i32>,
    pub(super) cut_dimension: Vec<i32>,
    pub(super) cut_value: Vec<f32>,
    pub(super) left: Vec<i32>,
    pub(super) right: Vec<i32>,
    pub(super) root: Vec<i32>,
}

/// An inner node, 16 bytes.
#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Cut {
    value: f32,
    dimension: u32,
    left: i32,
    right: i32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Leaf {
    point: u32,
    mass: u32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Tree {
    mass: f64,
    root: i32,
    /// Inner nodes on its longest way down.
    depth: u32,
}

/// A checked forest. Every child comes after its parent, so every walk ends.
#[derive(Debug)]
pub(super) struct Forest {
    features: usize,
    points: Vec<f32>,
    leaves: Vec<Leaf>,
    cuts: Vec<Cut>,
    /// Per cut: the lowest value of each feature among its points, then the highest.
    boxes: Vec<f32>,
    /// Per cut: the sides of its box, added up.
    ranges: Vec<f64>,
    trees: Vec<Tree>,
    sides: u64,
}

/// What a child's number means.
enum Child {
    Cut(usize),
    Leaf(usize),
}

fn child(number: i32) -> Child {
    if number < 0 { Child::Leaf(!number as usize) } else { Child::Cut(number as usize) }
}

fn damaged() -> Error {
    Error::new(Kind::Internal, "a prepared form is damaged (its trees); run `rookery verify` on the database")
}

impl Forest {
    /// Checks the trees and puts boxes around their points.
    ///
    /// # Errors
    /// Naming the node: a child or point that is not there, one with two parents or none, a cut that is not inside its
    /// box, a mass below 1.
    pub(super) fn new(shape: Shape, nodes: Nodes) -> Result<Self> {
        let Nodes { points, leaf_point, leaf_mass, cut_dimension, cut_value, left, right, root } = nodes;
        let Shape { features, points: count } = shape;
        let mut leaves = Vec::with_capacity(leaf_point.len());
        for (at, (point, mass)) in leaf_point.iter().zip(&leaf_mass).enumerate() {
            let found = u32::try_from(*point).ok().filter(|&point| (point as usize) < count);
            let point = found.ok_or_else(|| Error::invalid(format!("leaf {at} has point {point}; there are {count}")))?;
            let found = u32::try_from(*mass).ok().filter(|&mass| mass > 0);
            let mass = found.ok_or_else(|| Error::invalid(format!("leaf {at} has mass {mass}; it takes 1 or more")))?;
            leaves.push(Leaf { point, mass });
        }
        let mut cuts = Vec::with_capacity(left.len());
        for (at, (((dimension, value), left), right)) in cut_dimension.iter().zip(&cut_value).zip(&left).zip(&right).enumerate() {
            let found = u32::try_from(*dimension).ok().filter(|&dimension| (dimension as usize) < features);
            let dimension = found.ok_or_else(|| Error::invalid(format!("node {at} cuts feature {dimension}; there are {features}")))?;
            cuts.push(Cut { value: *value, dimension, left: *left, right: *right });
        }
        let trees = root.iter().map(|&root| Tree { mass: 0.0, root, depth: 0 }).collect();
        let mut forest = Self { features, points, leaves, cuts, boxes: Vec::new(), ranges: Vec::new(), trees, sides: 0 };
        let depths = forest.one_parent_each()?;
        forest.measure(&depths)?;
        forest.enclose()?;
        Ok(forest)
    }

    /// Checks that every node hangs on one root or parent that stands before it; returns the cuts' depths.
    fn one_parent_each(&self) -> Result<Vec<u32>> {
        let mut depths = vec![None; self.cuts.len()];
        let mut hung = vec![false; self.leaves.len()];
        let mut hang = |number: i32, depth: u32, after: Option<usize>, depths: &mut Vec<Option<u32>>| {
            let free = match child(number) {
                Child::Cut(at) if after.is_some_and(|parent| at <= parent) => false,
                Child::Cut(at) => depths.get_mut(at).is_some_and(|place| place.replace(depth).is_none()),
                Child::Leaf(at) => hung.get_mut(at).is_some_and(|place| !std::mem::replace(place, true)),
            };
            if free {
                return Ok(());
            }
            let from = after.map_or("a root".to_owned(), |parent| format!("node {parent}"));
            Err(Error::invalid(format!("{from} leads to {number}, which is not there, stands before it, or hangs elsewhere too")))
        };
        for tree in &self.trees {
            hang(tree.root, 0, None, &mut depths)?;
        }
        for (at, cut) in self.cuts.iter().enumerate() {
            let depth = depths.get(at).copied().flatten();
            let depth = depth.ok_or_else(|| Error::invalid(format!("node {at} hangs on no node before it")))?;
            hang(cut.left, depth + 1, Some(at), &mut depths)?;
            hang(cut.right, depth + 1, Some(at), &mut depths)?;
        }
        if let Some(at) = hung.iter().position(|hung| !hung) {
            return Err(Error::invalid(format!("leaf {at} hangs on no node")));
        }
        Ok(depths.into_iter().flatten().collect())
    }

    /// Notes each tree's mass and depth.
    fn measure(&mut self, depths: &[u32]) -> Result<()> {
        // From the last node to the first, what hangs below each is known before it.
        let mut below: Vec<(f64, u32)> = vec![(0.0, 0); self.cuts.len()];
        let weigh = |number: i32, below: &[(f64, u32)]| match child(number) {
            Child::Cut(at) => below.get(at).copied(),
            Child::Leaf(at) => self.leaves.get(at).map(|leaf| (f64::from(leaf.mass), 0)),
        };
        for (at, (cut, depth)) in self.cuts.iter().zip(depths).enumerate().rev() {
            let (left, right) = (weigh(cut.left, &below).ok_or_else(damaged)?, weigh(cut.right, &below).ok_or_else(damaged)?);
            if let Some(place) = below.get_mut(at) {
                *place = (left.0 + right.0, left.1.max(right.1).max(depth + 1));
            }
        }
        for tree in &mut self.trees {
            (tree.mass, tree.depth) = weigh(tree.root, &below).ok_or_else(damaged)?;
        }
        self.sides = self.count_sides();
        Ok(())
    }

    /// Box sides on the longest ways through all trees.
    fn count_sides(&self) -> u64 {
        self.trees.iter().map(|tree| (u64::from(tree.depth) + 1) * self.features as u64).sum()
    }

    /// Puts a box around the points below each cut.
    fn enclose(&mut self) -> Result<()> {
        let features = self.features;
        let mut boxes = vec![0.0f32; self.cuts.len() * features * 2];
        let mut ranges = vec![0.0; self.cuts.len()];
        for (at, cut) in self.cuts.iter().enumerate().rev() {
            let (before, after) = boxes.split_at_mut((at + 1) * features * 2);
            let own = before.get_mut(at * features * 2..).ok_or_else(damaged)?;
            let (low, high) = own.split_at_mut(features);
            low.fill(f32::INFINITY);
            high.fill(f32::NEG_INFINITY);
            for number in [cut.left, cut.right] {
                let (lows, highs) = match child(number) {
                    Child::Leaf(leaf) => {
                        let point = self.leaves.get(leaf).and_then(|leaf| self.point(*leaf)).ok_or_else(damaged)?;
                        (point, point)
                    }
                    // It stands after its parent, so its box is made.
                    Child::Cut(child) => {
                        let start = (child - at - 1) * features * 2;
                        after.get(start..start + features * 2).ok_or_else(damaged)?.split_at(features)
                    }
                };
                low.iter_mut().zip(lows).for_each(|(low, value)| *low = low.min(*value));
                high.iter_mut().zip(highs).for_each(|(high, value)| *high = high.max(*value));
            }
            let dimension = cut.dimension as usize;
            let inside = low.get(dimension).zip(high.get(dimension)).is_some_and(|(low, high)| *low <= cut.value && cut.value < *high);
            if !inside {
                return Err(Error::invalid(format!("node {at} cuts feature {dimension} at {}, outside its points", cut.value)));
            }
            if let Some(range) = ranges.get_mut(at) {
                *range = low.iter().zip(high.iter()).map(|(low, high)| f64::from(*high) - f64::from(*low)).sum();
            }
        }
        self.boxes = boxes;
        self.ranges = ranges;
        Ok(())
    }

    fn point(&self, leaf: Leaf) -> Option<&[f32]> {
        let start = leaf.point as usize * self.features;
        self.points.get(start..start + self.features)
    }

    pub(super) fn write(&self, writer: &mut Writer) {
        writer.array(&self.points);
        writer.array(&self.leaves);
        writer.array(&self.cuts);
        writer.array(&self.boxes);
        writer.array(&self.ranges);
        writer.array(&self.trees);
    }

    pub(super) fn read(reader: &mut Reader<'_>, shape: Shape) -> Result<Self> {
        let Shape { features, points: count } = shape;
        let points: Vec<f32> = reader.array()?;
        let (leaves, cuts): (Vec<Leaf>, Vec<Cut>) = (reader.array()?, reader.array()?);
        let (boxes, ranges, trees): (Vec<f32>, Vec<f64>, Vec<Tree>) = (reader.array()?, reader.array()?, reader.array()?);
        let hangs = |parent: Option<usize>, number: i32| match child(number) {
            Child::Cut(at) => at < cuts.len() && parent.is_none_or(|parent| at > parent),
            Child::Leaf(at) => at < leaves.len(),
        };
        let whole = features > 0
            && points.len() == features * count
            && boxes.len() == cuts.len() * features * 2
            && ranges.len() == cuts.len()
            && !trees.is_empty()
            && leaves.iter().all(|leaf| (leaf.point as usize) < count)
            && trees.iter().all(|tree| hangs(None, tree.root))
            && cuts
                .iter()
                .enumerate()
                .all(|(at, cut)| (cut.dimension as usize) < features && hangs(Some(at), cut.left) && hangs(Some(at), cut.right));
        if !whole {
            return Err(damaged());
        }
        let mut forest = Self { features, points, leaves, cuts, boxes, ranges, trees, sides: 0 };
        forest.sides = forest.count_sides();
        Ok(forest)
    }

    pub(super) fn weight(&self) -> usize {
        self.points.len() * 4
            + self.leaves.len() * size_of::<Leaf>()
            + self.cuts.len() * size_of::<Cut>()
            + self.boxes.len() * 4
            + self.ranges.len() * 8
            + self.trees.len() * size_of::<Tree>()
    }

    /// How many sides of boxes a row meets at most.
    pub(super) fn sides(&self) -> u64 {
        self.sides
    }

    /// The score of a row; `path` is room to work in.
    pub(super) fn score(&self, row: &[f32], path: &mut Vec<u32>) -> f32 {
        let sum: f64 = self.trees.iter().map(|tree| self.in_tree(tree, row, path)).sum();
        (sum / self.trees.len() as f64) as f32
    }

    #[expect(clippy::indexing_slicing, reason = "children, points and dimensions were checked to be inside when the forest was made")]
    fn in_tree(&self, tree: &Tree, row: &[f32], path: &mut Vec<u32>) -> f64 {
        path.clear();
        let mut at = tree.root;
        let leaf = loop {
            match child(at) {
                Child::Leaf(leaf) => break self.leaves[leaf],
                Child::Cut(cut) => {
                    path.push(cut as u32);
                    let cut = &self.cuts[cut];
                    at = if row[cut.dimension as usize] <= cut.value { cut.left } else { cut.right };
                }
            }
        };
        let (depth, mass) = (path.len() as f64, f64::from(leaf.mass));
        let scale = (1.0 + tree.mass).log2();
        if self.point(leaf) == Some(row) {
            return scale * (1.0 - mass / (2.0 * tree.mass)) / (depth + (1.0 + mass).log2());
        }
        let mut score = 1.0 / (depth + 1.0);
        for (height, &cut) in path.iter().enumerate().rev() {
            let cut = cut as usize;
            let (low, high) = self.boxes[cut * self.features * 2..(cut + 1) * self.features * 2].split_at(self.features);
            let outside = outside(row, low, high);
            if outside <= 0.0 {
                break;
            }
            let apart = outside / (self.ranges[cut] + outside);
            score = apart / (height as f64 + 1.0) + (1.0 - apart) * score;
        }
        scale * score
    }
}

/// How far `row` is outside a box, its sides added up.
fn outside(row: &[f32], low: &[f32], high: &[f32]) -> f64 {
    const LANES: usize = 4;
    let one = |value: f32, low: f32, high: f32| (f64::from(low) - f64::from(value)).max(f64::from(value) - f64::from(high)).max(0.0);
    let mut sums = [0.0; LANES];
    let ((rows, row), (lows, low), (highs, high)) = (row.as_chunks::<LANES>(), low.as_chunks::<LANES>(), high.as_chunks::<LANES>());
    for ((row, low), high) in rows.iter().zip(lows).zip(highs) {
        for (((sum, row), low), high) in sums.iter_mut().zip(row).zip(low).zip(high) {
            *sum += one(*row, *low, *high);
        }
    }
    let rest: f64 = row.iter().zip(low).zip(high).map(|((row, low), high)| one(*row, *low, *high)).sum();
    sums.iter().sum::<f64>() + rest
}
