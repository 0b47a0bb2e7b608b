//! Tree ensembles: read from their attributes, run by the flat walk where that gives the same answers.
//!
//! The flat walk knows `x < threshold` on 32-bit numbers. `x <= t` is `x < next_up(t)`; `>` and `>=` are those with the
//! children exchanged; a 64-bit value is rounded to the side that keeps the comparison. Equality, 64-bit thresholds and
//! the smallest or largest leaf go to `tree_wide.rs`. What happens to the sums is onnxruntime's, case by case. Next:
//! `tree_newest.rs`, `tree_wide.rs`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::ops::{FLAT, Op, Values, boxed};
use super::super::proto::Attribute;
use super::super::value::{Arg, Data, Value, View, fault};
use super::tree_newest::newest;
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
/// The largest column a tree may look at.
pub(super) const FEATURE_MAX: usize = 1 << 24;

/// How a node decides.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Mode {
    LessOrEqual,
    Less,
    GreaterOrEqual,
    Greater,
    Equal,
    NotEqual,
    /// Whether the value is one of a set, by the set's place.
    Member(u32),
    Leaf,
}

impl Mode {
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"BRANCH_LEQ" => Self::LessOrEqual,
            b"BRANCH_LT" => Self::Less,
            b"BRANCH_GTE" => Self::GreaterOrEqual,
            b"BRANCH_GT" => Self::Greater,
            b"BRANCH_EQ" => Self::Equal,
            b"BRANCH_NEQ" => Self::NotEqual,
            b"LEAF" => Self::Leaf,
            _ => return None,
        })
    }
}

/// How leaves become one score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Aggregate {
    Sum,
    Average,
    Min,
    Max,
}

/// A node with its children as places in its tree. As many as a forest has are held while it is prepared, so it is small.
#[derive(Debug, Clone)]
pub(super) struct RawNode {
    pub(super) mode: Mode,
    pub(super) feature: u32,
    pub(super) value: f64,
    /// Children; of a leaf the place of its first weight, and their count.
    pub(super) yes: u32,
    pub(super) no: u32,
    pub(super) missing_yes: bool,
}

/// All trees as the file has them.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) nodes: Vec<RawNode>,
    /// First node and count of each tree; the first is its root.
    pub(super) trees: Vec<(usize, usize)>,
    /// Output and number.
    pub(super) weights: Vec<(u32, f64)>,
    /// The sets that nodes ask about, each sorted.
    pub(super) sets: Vec<Vec<f64>>,
    pub(super) features: usize,
    /// Whether thresholds or weights are 64 bits wide.
    pub(super) doubles: bool,
}

/// Numbers as the file has them.
enum Numbers<'a> {
    Narrow(&'a [f32]),
    Tensor { list: Vec<f64>, wide: bool },
}

impl<'a> Numbers<'a> {
    /// The same attribute as 32-bit numbers or, beside it, as a tensor.
    fn new(node: &Node<'a>, name: &str) -> Result<Self> {
        let Some(tensor) = node.tensor(&format!("{name}_as_tensor"))? else { return Ok(Self::Narrow(node.floats(name))) };
        let wide = matches!(tensor.data, Data::F64(_));
        Ok(Self::Tensor { list: tensor.arg().f64s()?.into_owned(), wide })
    }

    fn len(&self) -> usize {
        match self {
            Self::Narrow(list) => list.len(),
            Self::Tensor { list, .. } => list.len(),
        }
    }

    /// Whether they are 64 bits wide.
    fn wide(&self) -> bool {
        matches!(self, Self::Tensor { wide: true, .. })
    }

    fn iter(&self) -> impl Iterator<Item = f64> {
        let (narrow, list): (&[f32], &[f64]) = match self {
            Self::Narrow(list) => (list, &[]),
            Self::Tensor { list, .. } => (&[], list),
        };
        narrow.iter().map(|&x| f64::from(x)).chain(list.iter().copied())
    }
}

/// Where nodes are by tree and number.
struct Places {
    /// First node and count of each tree.
    trees: HashMap<i64, (usize, usize), foldhash::fast::RandomState>,
    /// Left out where every tree numbers its nodes in their order, as nearly all files do.
    nodes: Option<HashMap<(i64, i64), usize, foldhash::fast::RandomState>>,
}

impl Places {
    /// The nodes of a tree lie together; so the trees come out in order beside their places.
    fn new(owners: &[i64], ids: &[i64]) -> Result<(Self, Vec<(usize, usize)>)> {
        let mut trees: Vec<(usize, usize)> = Vec::new();
        let mut in_order = true;
        for (at, (owner, &id)) in owners.iter().zip(ids).enumerate() {
            match trees.last_mut() {
                Some(tree) if owners.get(tree.0) == Some(owner) => tree.1 += 1,
                _ => trees.push((at, 1)),
            }
            in_order &= usize::try_from(id).ok() == trees.last().map(|tree| at - tree.0);
        }
        let mut places = Self { trees: HashMap::with_capacity_and_hasher(trees.len(), Default::default()), nodes: None };
        for &tree in &trees {
            let owner = owners.get(tree.0).copied().unwrap_or_default();
            if places.trees.insert(owner, tree).is_some() {
                return Err(Error::invalid(format!("the nodes of tree {owner} do not lie together")));
            }
        }
        if !in_order {
            let mut nodes = HashMap::with_capacity_and_hasher(ids.len(), Default::default());
            for (at, (&owner, &id)) in owners.iter().zip(ids).enumerate() {
                if nodes.insert((owner, id), at).is_some() {
                    return Err(Error::invalid(format!("node {id} of tree {owner} is there twice")));
                }
            }
            places.nodes = Some(nodes);
        }
        Ok((places, trees))
    }

    fn get(&self, owner: i64, id: i64) -> Option<usize> {
        if let Some(nodes) = &self.nodes {
            return nodes.get(&(owner, id)).copied();
        }
        let &(first, count) = self.trees.get(&owner)?;
        usize::try_from(id).ok().filter(|&id| id < count).map(|id| first + id)
    }
}

impl Raw {
    /// From the attributes of operator sets 1 to 3; `target` is how those of leaves begin.
    fn read(node: &Node<'_>, target: &str, targets: usize) -> Result<Self> {
        let values = Numbers::new(node, "nodes_values")?;
        let (ids, owners) = (node.ints("nodes_nodeids"), node.ints("nodes_treeids"));
        let (yes, no, features) = (node.ints("nodes_truenodeids"), node.ints("nodes_falsenodeids"), node.ints("nodes_featureids"));
        let modes = node.attribute("nodes_modes").map(|attribute| attribute.strings.as_slice()).unwrap_or_default();
        let missing = node.ints("nodes_missing_value_tracks_true");
        let count = ids.len();
        if [owners.len(), yes.len(), no.len(), features.len(), modes.len(), values.len()].iter().any(|&len| len != count) || count == 0 {
            return Err(Error::invalid("its lists of nodes are empty or not equally long"));
        }
        if !missing.is_empty() && missing.len() != count {
            return Err(node.refuse("nodes_missing_value_tracks_true", "is not as long as the other lists of nodes"));
        }
        let (places, trees) = Places::new(owners, ids)?;
        let mut raw = Self { doubles: values.wide(), trees, nodes: Vec::with_capacity(count), ..Self::default() };
        let mut tree = 0;
        for (at, value) in values.iter().enumerate() {
            while raw.trees.get(tree).is_some_and(|&(first, count)| at >= first + count) {
                tree += 1;
            }
            let first = raw.trees.get(tree).map_or(0, |tree| tree.0);
            let get = |list: &[i64]| list.get(at).copied().unwrap_or_default();
            let name = modes.get(at).map(|name| &**name).unwrap_or_default();
            let mode = Mode::named(name).ok_or_else(|| {
                node.refuse(
                    "nodes_modes",
                    format_args!("holds `{}`, which is not known", crate::names::shown(&String::from_utf8_lossy(name))),
                )
            })?;
            let child = |id: i64| {
                let place = places.get(get(owners), id).and_then(|place| u32::try_from(place.checked_sub(first)?).ok());
                place.ok_or_else(|| Error::invalid(format!("node {} of tree {} has child {id}, which is not there", get(ids), get(owners))))
            };
            let mut made = RawNode { mode, feature: 0, value: 0.0, yes: 0, no: 0, missing_yes: false };
            if mode != Mode::Leaf {
                let feature = usize::try_from(get(features)).ok().filter(|&feature| feature < FEATURE_MAX);
                let feature = feature.ok_or_else(|| {
                    Error::invalid(format!("a node splits on feature {}; 0 to {FEATURE_MAX} can be served", get(features)))
                })?;
                raw.features = raw.features.max(feature + 1);
                made.feature = u32::try_from(feature).unwrap_or_default();
                made.value = value;
                (made.yes, made.no) = (child(get(yes))?, child(get(no))?);
                made.missing_yes = get(missing) == 1;
            }
            raw.nodes.push(made);
        }
        let weights = Numbers::new(node, &format!("{target}_weights"))?;
        let list = |name: &str| node.ints(&format!("{target}_{name}"));
        let (outputs, owners, ids) = (list("ids"), list("treeids"), list("nodeids"));
        if [outputs.len(), owners.len(), ids.len()].iter().any(|&len| len != weights.len()) {
            return Err(Error::invalid("its lists of leaves are not equally long"));
        }
        raw.doubles |= weights.wide();
        if u32::try_from(weights.len()).is_err() {
            return Err(Error::invalid("its leaves are too many"));
        }
        let place = |owner: i64, id: i64| {
            places.get(owner, id).ok_or_else(|| Error::invalid(format!("a leaf of tree {owner} names node {id}, which is not there")))
        };
        // By node, and among those of one node in the file's order: counted first, then laid where they belong. What
        // stands at a node that splits counts for nothing; nor, with one output, does what a leaf has beyond its first
        // number, as in onnxruntime.
        let mut count = 0;
        for (((&output, &owner), &id), weight) in outputs.iter().zip(owners).zip(ids).zip(weights.iter()) {
            let place = place(owner, id)?;
            if usize::try_from(output).ok().is_none_or(|output| output >= targets) {
                return Err(Error::invalid(format!("a leaf adds to an output that is not there; there are {targets}")));
            }
            if !weight.is_finite() {
                return Err(Error::invalid("a leaf is no finite number"));
            }
            if let Some(leaf) = raw.leaf_mut(place)
                && (targets > 1 || leaf.no == 0)
            {
                leaf.no += 1;
                count += 1;
            }
        }
        let mut start = 0;
        for leaf in raw.nodes.iter_mut().filter(|node| node.mode == Mode::Leaf) {
            leaf.yes = start;
            start += std::mem::take(&mut leaf.no);
        }
        raw.weights = vec![(0, 0.0); count];
        for (((&output, &owner), &id), weight) in outputs.iter().zip(owners).zip(ids).zip(weights.iter()) {
            let Some(leaf) = raw.leaf_mut(place(owner, id)?).filter(|leaf| targets > 1 || leaf.no == 0) else { continue };
            let at = leaf.yes + leaf.no;
            leaf.no += 1;
            if let Some(slot) = raw.weights.get_mut(at as usize) {
                *slot = (u32::try_from(output).unwrap_or_default(), weight);
            }
        }
        raw.features = raw.features.max(1);
        Ok(raw)
    }

    /// Those of a leaf.
    pub(super) fn weights_of(&self, node: &RawNode) -> &[(u32, f64)] {
        let first = node.yes as usize;
        self.weights.get(first..first + node.no as usize).unwrap_or_default()
    }

    fn leaf_mut(&mut self, place: usize) -> Option<&mut RawNode> {
        self.nodes.get_mut(place).filter(|node| node.mode == Mode::Leaf)
    }

    fn leaves(&self, tree: (usize, usize)) -> impl Iterator<Item = &[(u32, f64)]> {
        let nodes = self.nodes.get(tree.0..tree.0 + tree.1).unwrap_or_default();
        nodes.iter().filter(|node| node.mode == Mode::Leaf).map(|node| self.weights_of(node))
    }

    /// How many numbers leaves hold that have one for every output.
    fn vectors(&self, targets: usize) -> usize {
        self.nodes.iter().filter(|node| node.mode == Mode::Leaf).count().saturating_mul(targets)
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
        if self.doubles || (up && down) {
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
            if count < 2 {
                return Err(Error::invalid("it has one class; two or more can be served"));
            }
            boxed(trees(node, Some(labels), count, Aggregate::Sum, Post::new(node)?, || Raw::read(node, "class", count))?).map(Some)
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
