//! `TreeEnsemble` of operator set 5: splits and leaves in lists of their own, roots by place, nodes that ask about sets.
//!
//! Read into the same form as the older ones. Next: `tree_wide.rs`, where sets are looked into.

use std::collections::{HashMap, VecDeque};

use super::super::node::Node;
use super::super::value::Data;
use super::tree_raw::{FEATURE_MAX, Mode, Raw, RawNode};
use crate::error::{Error, Result};

/// The number of the mode that asks about a set.
const MEMBER: f64 = 6.0;

/// Which set each node asks about. The sets lie one behind the other, each ended by what is no number, in the order of
/// the nodes that ask.
fn sets(node: &Node<'_>, modes: &[f64], raw: &mut Raw) -> Result<Vec<Option<u32>>> {
    let ask = modes.iter().filter(|&&mode| mode == MEMBER).count();
    if ask == 0 {
        return Ok(Vec::new());
    }
    let tensor = node.tensor("membership_values")?.ok_or_else(|| node.refuse("membership_values", "is missing"))?;
    let values = tensor.arg().f64s()?;
    // What stands behind the last end is nothing, or a last set without one.
    let mut list: Vec<&[f64]> = values.split(|value| value.is_nan()).collect();
    if list.len() == ask + 1 && list.last().is_some_and(|last| last.is_empty()) {
        list.pop();
    }
    if list.len() != ask {
        return Err(node.refuse("membership_values", format_args!("holds {} sets for {ask} nodes that ask about one", list.len())));
    }
    for set in list {
        let mut set = set.to_vec();
        set.sort_by(f64::total_cmp);
        raw.sets.push(set);
    }
    let mut next = 0..u32::MAX;
    Ok(modes.iter().map(|&mode| if mode == MEMBER { next.next() } else { None }).collect())
}

/// The newest operator's lists: splits and leaves apart, roots by place.
pub(super) fn newest(node: &Node<'_>, targets: usize) -> Result<Raw> {
    let tensor = |name: &str| node.tensor(name)?.ok_or_else(|| node.refuse(name, "is missing"));
    let (splits, modes, weights) = (tensor("nodes_splits")?, tensor("nodes_modes")?, tensor("leaf_weights")?);
    let doubles = matches!(splits.data, Data::F64(_));
    let (splits, modes, weights) =
        (splits.arg().f64s()?.into_owned(), modes.arg().f64s()?.into_owned(), weights.arg().f64s()?.into_owned());
    let (features, yes, no) = (node.ints("nodes_featureids"), node.ints("nodes_truenodeids"), node.ints("nodes_falsenodeids"));
    let (yes_leaf, no_leaf) = (node.ints("nodes_trueleafs"), node.ints("nodes_falseleafs"));
    let (missing, outputs) = (node.ints("nodes_missing_value_tracks_true"), node.ints("leaf_targetids"));
    let count = splits.len();
    if [modes.len(), features.len(), yes.len(), no.len(), yes_leaf.len(), no_leaf.len()].iter().any(|&len| len != count)
        || weights.len() != outputs.len()
    {
        return Err(Error::invalid("its lists of nodes or leaves are not equally long"));
    }
    let mut raw = Raw { doubles, features: 1, ..Raw::default() };
    let set_of = sets(node, &modes, &mut raw)?;
    for (&output, &weight) in outputs.iter().zip(&weights) {
        let output = u32::try_from(output).ok().filter(|&output| (output as usize) < targets);
        let output = output.ok_or_else(|| Error::invalid(format!("a leaf adds to an output that is not there; there are {targets}")))?;
        if !weight.is_finite() {
            return Err(Error::invalid("a leaf is no finite number"));
        }
        raw.weights.push((output, weight));
    }
    let limit = 2 * (count + weights.len()) + 2;
    for &root in node.ints("tree_roots") {
        let first = raw.nodes.len();
        // Places still to be filled: which node or leaf, and in which slot of whom it goes.
        let mut queue = VecDeque::from([(root, false, usize::MAX, false)]);
        // Where each split of this tree went: branches may meet again.
        let mut placed: HashMap<i64, usize, foldhash::fast::RandomState> = HashMap::default();
        while let Some((id, leaf, parent, is_yes)) = queue.pop_front() {
            let known = if leaf { None } else { placed.get(&id).copied() };
            let place = known.unwrap_or(raw.nodes.len());
            if place >= limit {
                return Err(Error::invalid("its trees share too many nodes"));
            }
            let local = u32::try_from(place - first).unwrap_or(u32::MAX);
            if let Some(parent) = raw.nodes.get_mut(parent) {
                if is_yes {
                    parent.yes = local;
                } else {
                    parent.no = local;
                }
            }
            if known.is_some() {
                continue;
            }
            let outside = || Error::invalid(format!("a tree names node {id}, which is not there"));
            let at = usize::try_from(id).map_err(|_| outside())?;
            let mut made = RawNode { mode: Mode::Leaf, feature: 0, value: 0.0, yes: 0, no: 0, missing_yes: false };
            if leaf {
                if at >= raw.weights.len() {
                    return Err(outside());
                }
                (made.yes, made.no) = (u32::try_from(at).map_err(|_| outside())?, 1);
                raw.nodes.push(made);
                continue;
            }
            let get = |list: &[i64]| list.get(at).copied().ok_or_else(outside);
            const MODES: [Mode; 6] = [Mode::LessOrEqual, Mode::Less, Mode::GreaterOrEqual, Mode::Greater, Mode::Equal, Mode::NotEqual];
            let mode = *modes.get(at).ok_or_else(outside)?;
            made.mode = match set_of.get(at).copied().flatten() {
                Some(set) => Some(Mode::Member(set)),
                None if (0.0..6.0).contains(&mode) => MODES.get(mode as usize).copied(),
                None => None,
            }
            .ok_or_else(|| node.refuse("nodes_modes", format_args!("holds {mode}, which is not known")))?;
            let feature = usize::try_from(get(features)?).ok().filter(|&feature| feature < FEATURE_MAX);
            let feature = feature.ok_or_else(|| Error::invalid("a node splits on a feature that no row has"))?;
            raw.features = raw.features.max(feature + 1);
            made.feature = u32::try_from(feature).unwrap_or_default();
            made.value = splits.get(at).copied().ok_or_else(outside)?;
            made.missing_yes = missing.get(at) == Some(&1);
            raw.nodes.push(made);
            placed.insert(id, place);
            queue.push_back((get(yes)?, get(yes_leaf)? != 0, place, true));
            queue.push_back((get(no)?, get(no_leaf)? != 0, place, false));
        }
        raw.trees.push((first, raw.nodes.len() - first));
    }
    if raw.trees.is_empty() { Err(Error::invalid("it has no tree")) } else { Ok(raw) }
}
