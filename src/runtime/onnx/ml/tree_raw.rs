//! Tree ensembles as files of operator sets 1 to 3 have them: equally long lists, a node or a leaf's number in each place.
//!
//! What comes out is checked: children and leaves are places that are there, numbers are finite. Knows nothing of how
//! trees are run. Next: `tree.rs`, which runs them; `tree_newest.rs`, the other way to write them.

use std::collections::HashMap;

use super::super::node::Node;
use super::super::value::Data;
use crate::error::{Error, Result};

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
pub(super) enum Numbers<'a> {
    Narrow(&'a [f32]),
    Tensor { list: Vec<f64>, wide: bool },
}

impl<'a> Numbers<'a> {
    /// The same attribute as 32-bit numbers or, beside it, as a tensor.
    pub(super) fn new(node: &Node<'a>, name: &str) -> Result<Self> {
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

    pub(super) fn iter(&self) -> impl Iterator<Item = f64> {
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
    pub(super) fn read(node: &Node<'_>, target: &str, targets: usize) -> Result<Self> {
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
}
