//! Tree ensembles, run by the flat walk where that gives the same answers.
//!
//! The flat walk knows `x < threshold` on 32-bit numbers. `x <= t` is `x < next_up(t)`; `>` and `>=` are those with the
//! children exchanged; a 64-bit value is rounded to the side that keeps the comparison. Equality, 64-bit thresholds,
//! branches that meet again and the smallest or largest leaf go to `tree_wide.rs`. What happens to the sums is onnxruntime's, case by case. Next:
//! `tree_raw.rs` and `tree_newest.rs`, which read them; `tree_wide.rs`.

use std::borrow::Cow;

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::ops::{FLAT, Op, Values, boxed};
use super::super::proto::Attribute;
use super::super::value::{Arg, Value, View, fault};
use super::tree_newest::newest;
use super::tree_raw::{Mode, Numbers, Raw};
use super::tree_wide::Wide;
use super::{Labels, Post, Second, pair};
use crate::error::{Error, Result};
use crate::runtime::trees::{Builder, Ensemble, Split, TreeNode};

/// The most outputs of an ensemble.
const TARGETS_MAX: usize = 1 << 16;
/// The most numbers of all leaves, where each leaf holds one for every output: 256 MiB. A forest of few leaves over many
/// outputs names only some of them, so beyond a small amount no more are laid out than a few times what the file has.
const VECTORS_MAX: usize = 1 << 26;
const VECTORS_FREE: usize = 1 << 20;

/// How leaves become one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

impl Raw {
    fn leaves(&self, tree: (usize, usize)) -> impl Iterator<Item = &[(u32, f64)]> {
        let nodes = self.nodes.get(tree.0..tree.0 + tree.1).unwrap_or_default();
        nodes.iter().filter(|node| node.mode == Mode::Leaf).map(|node| self.weights_of(node))
    }

    /// How many numbers leaves hold that have one for every output.
    fn vectors(&self, targets: usize) -> usize {
        self.nodes.iter().filter(|node| node.mode == Mode::Leaf).count().saturating_mul(targets)
    }

    /// Whether a node has two parents, or a root has one: no tree for the flat walk.
    fn meets(&self) -> bool {
        self.trees.iter().any(|&(first, count)| {
            let mut below = vec![false; count];
            let splits = self.nodes.iter().skip(first).take(count).filter(|node| node.mode != Mode::Leaf);
            splits.flat_map(|node| [node.yes, node.no]).any(|child| match below.get_mut(child as usize) {
                Some(seen) => child == 0 || std::mem::replace(seen, true),
                None => false,
            })
        })
    }

    /// The flat ensemble, if it answers the same; `strict` says that it matters which outputs a leaf names.
    fn flat(&self, targets: usize, strict: bool) -> Result<Option<Flat>> {
        let (mut up, mut down, mut infinite) = (false, false, false);
        for node in &self.nodes {
            match node.mode {
                Mode::LessOrEqual | Mode::Greater => {
                    up = true;
                    infinite |= node.value == f64::INFINITY;
                }
                Mode::Less | Mode::GreaterOrEqual => down = true,
                Mode::Equal | Mode::NotEqual | Mode::Member(_) => return Ok(None),
                Mode::Leaf => {}
            }
        }
        if self.doubles || (up && down) || self.meets() {
            return Ok(None);
        }
        let (mut scalar, mut has) = (true, vec![false; targets]);
        let mut groups = Vec::with_capacity(self.trees.len());
        for &tree in &self.trees {
            let mut group = None;
            let mut first: Option<&[(u32, f64)]> = None;
            for leaf in self.leaves(tree) {
                let first = *first.get_or_insert(leaf);
                let same = leaf.len() == first.len() && leaf.iter().zip(first).all(|(a, b)| a.0 == b.0);
                if !same && strict {
                    return Ok(None);
                }
                match leaf {
                    [(output, _)] if *group.get_or_insert(*output) == *output => {}
                    _ => scalar = false,
                }
                for &(output, _) in leaf {
                    if let Some(has) = has.get_mut(output as usize) {
                        *has = true;
                    }
                }
            }
            groups.push(group.unwrap_or(0) as usize);
        }
        if !scalar && self.vectors(targets) > VECTORS_MAX.min(VECTORS_FREE + 8 * self.weights.len()) {
            return Ok(None);
        }
        let mut builder = Builder::new(self.features, targets);
        let mut vectors: Vec<f32> = Vec::new();
        for (&(first, count), &group) in self.trees.iter().zip(&groups) {
            // Where each leaf's numbers begin; of one tree at a time.
            let mut starts: Vec<usize> = Vec::new();
            if !scalar {
                vectors.clear();
                starts.resize(count, 0);
                for (start, node) in starts.iter_mut().zip(self.nodes.iter().skip(first)).filter(|(_, node)| node.mode == Mode::Leaf) {
                    *start = vectors.len();
                    vectors.resize(*start + targets, 0.0);
                    let vector = vectors.get_mut(*start..).unwrap_or_default();
                    for &(output, weight) in self.weights_of(node) {
                        if let Some(place) = vector.get_mut(output as usize) {
                            *place += weight as f32;
                        }
                    }
                }
            }
            builder.tree(if scalar { group } else { 0 }, count, |number| {
                let node = self.nodes.get(first + number as usize).ok_or_else(|| Error::invalid(format!("node {number} is not there")))?;
                if node.mode == Mode::Leaf {
                    return Ok(if scalar {
                        TreeNode::Leaf(self.weights_of(node).first().map_or(0.0, |leaf| leaf.1 as f32))
                    } else {
                        let start = starts.get(number as usize).copied().unwrap_or_default();
                        TreeNode::VectorLeaf(vectors.get(start..start + targets).unwrap_or_default())
                    });
                }
                let value = node.value as f32;
                let threshold = if matches!(node.mode, Mode::LessOrEqual | Mode::Greater) { value.next_up() } else { value };
                let turned = matches!(node.mode, Mode::Greater | Mode::GreaterOrEqual);
                let (left, right) = if turned { (node.no, node.yes) } else { (node.yes, node.no) };
                let missing_left = node.missing_yes != turned;
                Ok(TreeNode::Split { feature: node.feature, split: Split::Below(threshold), missing_left, left, right })
            })?;
        }
        Ok(Some(Flat { ensemble: builder.finish()?, has, infinite, down }))
    }
}

/// Trees for the flat walk and what must be known beside them.
#[derive(Debug)]
struct Flat {
    ensemble: Ensemble,
    /// Which outputs any leaf names.
    has: Vec<bool>,
    /// Whether a threshold is infinite, so that infinity must be told from what is above it.
    infinite: bool,
    /// Whether 64-bit values are rounded down: for `<` and `>=`.
    down: bool,
}

/// The nearest 32-bit number on one side.
fn toward(x: f64, down: bool) -> f32 {
    let near = x as f32;
    let off = f64::from(near);
    if down && off > x {
        near.next_down()
    } else if !down && off < x {
        near.next_up()
    } else {
        near
    }
}

impl Flat {
    fn sums(&self, x: Arg<'_>, rows: usize, columns: usize) -> Result<Vec<f32>> {
        let features = self.ensemble.features();
        if columns < features {
            return Err(fault(format!("its trees look at column {features}, it was handed {columns}")));
        }
        let mut values: Cow<'_, [f32]> = match x.data {
            View::F64(list) => Cow::Owned(list.iter().map(|&x| toward(x, self.down)).collect()),
            _ => x.f32s()?,
        };
        if columns > features {
            values = match values {
                Cow::Borrowed(list) if rows == 1 => Cow::Borrowed(list.get(..features).unwrap_or_default()),
                list => Cow::Owned(list.chunks_exact(columns).flat_map(|row| row.iter().take(features).copied()).collect()),
            };
        }
        if self.infinite && values.contains(&f32::INFINITY) {
            values.to_mut().iter_mut().filter(|x| **x == f32::INFINITY).for_each(|x| *x = f32::MAX);
        }
        let mut out = vec![0.0; rows * self.ensemble.groups()];
        self.ensemble.add_rows(&values, &mut out)?;
        Ok(out)
    }
}

#[derive(Debug)]
enum Walk {
    Flat(Flat),
    Wide(Wide),
}

/// What becomes of the sums.
#[derive(Debug)]
enum Finish {
    Regressor,
    Classifier {
        labels: Labels,
        /// Whether two classes share one score.
        binary: bool,
        all_positive: bool,
    },
}

#[derive(Debug)]
struct Trees {
    walk: Walk,
    targets: usize,
    /// Divides the sums.
    average: Option<f32>,
    base: Vec<f32>,
    post: Post,
    finish: Finish,
    /// Whether 64-bit rows give 64-bit scores, as with the newest operator.
    same_type: bool,
}

/// One row's two scores and label, as onnxruntime decides them for two classes.
fn two(scores: &mut [f32], has: &[bool], base: &[f32], binary: bool, all_positive: bool, post: Post) -> usize {
    let (mut second, mut single) = (Second::Untouched, false);
    let named = |at: usize| has.get(at).copied().unwrap_or(false);
    let (mut has_first, has_second) = (named(0), named(1));
    let [s0, s1] = scores else { return 0 };
    match base {
        [_, b1] if has_second => {
            *s1 = b1 + *s0;
            *s0 = -*s1;
        }
        [b0, b1] => {
            *s0 += b0;
            *s1 += b1;
            has_first = true;
        }
        [b0] => {
            *s0 += b0;
            single = !has_second;
        }
        [] => {
            second = Second::Opposite;
            single = !has_second;
        }
        _ => {}
    }
    // A class that no leaf named scores nothing, whatever its base value.
    if !has_first {
        *s0 = 0.0;
    }
    if !has_second {
        *s1 = 0.0;
    }
    let deciding = if has_second { *s1 } else { *s0 };
    let label = if binary && all_positive {
        second = Second::Complement;
        usize::from(deciding > 0.5)
    } else {
        if binary {
            second = Second::Opposite;
        }
        usize::from(deciding > 0.0)
    };
    if single {
        [*s0, *s1] = pair(*s0, second, post);
    } else {
        post.apply(scores);
    }
    label
}

impl Op for Trees {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        let (rows, columns) = x.matrix()?;
        let n = self.targets;
        inputs.meter.size(&[rows, columns.max(n)])?;
        let levels = match &self.walk {
            Walk::Flat(flat) => flat.ensemble.levels(),
            Walk::Wide(wide) => wide.levels(),
        };
        inputs.meter.work((rows as u64).saturating_mul(levels))?;
        let (mut out, has) = match &self.walk {
            Walk::Flat(flat) => (flat.sums(x, rows, columns)?, None),
            Walk::Wide(wide) => {
                let (sums, has) = wide.sums(&x.f64s()?, rows, columns)?;
                (sums, Some(has))
            }
        };
        if let Some(trees) = self.average {
            out.iter_mut().for_each(|x| *x /= trees);
        }
        // Which outputs the leaves of a row named.
        let whole: &[bool] = if let Walk::Flat(flat) = &self.walk { &flat.has } else { &[] };
        let has = |row: usize| match &has {
            Some(has) => has.get(row * n..(row + 1) * n).unwrap_or_default(),
            None => whole,
        };
        let mut values = Values::new();
        match &self.finish {
            Finish::Regressor => {
                if n == 1 {
                    let base = if let [base] = self.base.as_slice() { *base } else { 0.0 };
                    out.iter_mut().for_each(|x| *x += base);
                    if self.post == Post::Probit {
                        self.post.apply(&mut out);
                    }
                } else {
                    for (at, row) in out.chunks_exact_mut(n).enumerate() {
                        if self.base.len() == n {
                            // What no leaf named stays nothing, as in onnxruntime.
                            let named = row.iter_mut().zip(&self.base).zip(has(at)).filter(|(_, has)| **has);
                            named.for_each(|((x, base), _)| *x += base);
                        }
                        self.post.apply(row);
                    }
                }
            }
            Finish::Classifier { labels, binary, all_positive } => {
                let mut places = Vec::with_capacity(rows);
                for (at, row) in out.chunks_exact_mut(n).enumerate() {
                    let has = has(at);
                    if n == 2 {
                        // Where both classes have weights of their own onnxruntime answers 0 or 1 whatever the labels are;
                        // the specification, and this, say the label.
                        places.push(two(row, has, &self.base, *binary, *all_positive, self.post));
                        continue;
                    }
                    row.iter_mut().zip(&self.base).for_each(|(x, base)| *x += base);
                    let mut best: Option<(usize, f32)> = None;
                    for (at, (&x, &has)) in row.iter().zip(has).enumerate() {
                        if (has || at < self.base.len()) && best.is_none_or(|(_, most)| x > most) {
                            best = Some((at, x));
                        }
                    }
                    places.push(best.map_or(0, |(at, _)| at));
                    self.post.apply(row);
                }
                values.push(labels.of(&places, inputs.meter)?);
            }
        }
        let shape = [rows, n];
        if self.same_type && matches!(x.data, View::F64(_)) {
            values.push(Value::new(shape.as_slice(), out.iter().map(|&x| f64::from(x)).collect::<Vec<_>>()));
            return Ok(values);
        }
        values.push(Value::new(shape.as_slice(), out));
        Ok(values)
    }

    fn weight(&self) -> usize {
        let walk = match &self.walk {
            Walk::Flat(flat) => flat.ensemble.weight() + flat.has.len(),
            Walk::Wide(wide) => wide.weight(),
        };
        size_of::<Self>() + walk + self.base.len() * 4
    }

    fn ensemble(&self) -> Option<(&Ensemble, Vec<i64>)> {
        let Walk::Flat(flat) = &self.walk else { return None };
        let (binary, positive) = match &self.finish {
            Finish::Regressor => (false, false),
            Finish::Classifier { binary, all_positive, .. } => (*binary, *all_positive),
        };
        let mut marks: Vec<i64> = [flat.infinite, flat.down, binary, positive].map(i64::from).to_vec();
        marks.extend(flat.has.iter().map(|&has| i64::from(has)));
        Some((&flat.ensemble, marks))
    }
}

/// The attributes that a prepared graph no longer needs once its trees lie beside it.
pub(in super::super) fn is_of_trees(name: &str) -> bool {
    ["nodes_", "class_", "target_", "leaf_", "tree_roots", "membership_"].iter().any(|start| name.starts_with(start))
}

/// The attributes of trees that say nothing, a number for each node: shares of training rows, and no missing value that
/// goes left.
pub(in super::super) fn is_idle(attribute: &Attribute) -> bool {
    match attribute.name.as_str() {
        "nodes_hitrates" => true,
        "nodes_missing_value_tracks_true" => attribute.ints.iter().all(|&tracks| tracks == 0),
        _ => false,
    }
}

fn trees(
    node: &Node<'_>,
    finish: Option<Labels>,
    targets: usize,
    aggregate: Aggregate,
    post: Post,
    raw: impl FnOnce() -> Result<Raw>,
) -> Result<Trees> {
    if targets == 0 || targets > TARGETS_MAX {
        return Err(Error::invalid(format!("it has {targets} outputs; 1 to {TARGETS_MAX} can be served")));
    }
    let base = Numbers::new(node, "base_values")?;
    if base.iter().any(|x| !x.is_finite()) {
        return Err(node.refuse("base_values", "holds a number that is not finite"));
    }
    let base: Vec<f32> = base.iter().map(|x| x as f32).collect();
    if finish.is_some() && base.len() > targets {
        return Err(node.refuse("base_values", "is longer than the classes are many"));
    }
    let same_type = node.proto.op_type == "TreeEnsemble";
    if let Some(ensemble) = node.ready.borrow_mut().take() {
        let marks = node.ints(FLAT);
        let flag = |at: usize| marks.get(at) == Some(&1);
        if marks.len() != 4 + targets || ensemble.groups() != targets {
            return Err(Error::invalid("its trees do not fit it"));
        }
        let count = ensemble.trees();
        let has = marks.iter().skip(4).map(|&mark| mark == 1).collect();
        let finish = match finish {
            None => Finish::Regressor,
            Some(labels) => Finish::Classifier { labels, binary: flag(2), all_positive: flag(3) },
        };
        let walk = Walk::Flat(Flat { ensemble, has, infinite: flag(0), down: flag(1) });
        let average = (aggregate == Aggregate::Average).then_some(count as f32);
        return Ok(Trees { walk, targets, average, base, post, finish, same_type });
    }
    let raw = raw()?;
    let all_positive = raw.weights.iter().all(|weight| weight.1 >= 0.0);
    let average = (aggregate == Aggregate::Average).then_some(raw.trees.len() as f32);
    let sums = matches!(aggregate, Aggregate::Sum | Aggregate::Average);
    // Which outputs a row's leaves name matters to classes that may score less than nothing, and where base values are
    // added to what is named.
    let strict = if finish.is_some() { targets == 2 || !all_positive } else { targets > 1 && base.len() == targets };
    let flat = if sums { raw.flat(targets, strict)? } else { None };
    let walk = match flat {
        Some(flat) => Walk::Flat(flat),
        None => Walk::Wide(Wide::new(&raw, targets, aggregate)?),
    };
    let lone = raw.weights.first().is_some_and(|first| raw.weights.iter().all(|weight| weight.0 == first.0));
    let finish = match finish {
        None => Finish::Regressor,
        Some(labels) => Finish::Classifier { binary: labels.len() == 2 && lone, all_positive, labels },
    };
    Ok(Trees { walk, targets, average, base, post, finish, same_type })
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    let aggregate = || {
        Ok(match node.text("aggregate_function", "SUM")? {
            "SUM" => Aggregate::Sum,
            "AVERAGE" => Aggregate::Average,
            "MIN" => Aggregate::Min,
            "MAX" => Aggregate::Max,
            other => return Err(node.refuse("aggregate_function", format_args!("is `{}`, which is not known", crate::names::shown(other)))),
        })
    };
    let targets = || usize::try_from(node.int("n_targets", 1)).map_err(|_| node.refuse("n_targets", "is negative"));
    match name {
        "TreeEnsembleClassifier" => {
            let labels = Labels::new(node)?;
            let count = labels.len();
            let post = Post::new(node)?;
            let made = trees(node, Some(labels), count, Aggregate::Sum, post, || Raw::read(node, "class", count))?;
            // A forest of one class answers it with its share. Of boosted trees that score is none of what libraries answer.
            let shares = post == Post::None && matches!(made.finish, Finish::Classifier { all_positive: true, .. });
            if count == 1 && !shares {
                return Err(Error::invalid("it has one class whose scores are no shares; two or more classes can be served"));
            }
            boxed(made).map(Some)
        }
        "TreeEnsembleRegressor" => {
            let count = targets()?;
            boxed(trees(node, None, count, aggregate()?, Post::new(node)?, || Raw::read(node, "target", count))?).map(Some)
        }
        "TreeEnsemble" => {
            let count = targets()?;
            let aggregate = match node.int("aggregate_function", 1) {
                0 => Aggregate::Average,
                1 => Aggregate::Sum,
                2 => Aggregate::Min,
                3 => Aggregate::Max,
                other => return Err(node.refuse("aggregate_function", format_args!("is {other}, which is not known"))),
            };
            let post = Post::numbered(node.int("post_transform", 0)).ok_or_else(|| node.refuse("post_transform", "is not known"))?;
            boxed(trees(node, None, count, aggregate, post, || newest(node, count))?).map(Some)
        }
        _ => Ok(None),
    }
}
