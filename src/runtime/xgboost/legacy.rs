//! The binary form of XGBoost 0.40 to 2.x, as `save_model` wrote it before JSON and UBJSON: fixed structs, no names.
//!
//! Little-endian throughout: a learner's head of 136 bytes, the names of objective and booster, the booster, then
//! attributes. What decides the answers goes into the same [`Learner`] that the other readers fill. A head without a
//! version was written before 1.0; its base score is a margin already. Every count is checked against the bytes that are
//! left before anything is allocated. Next: `document.rs`.

use super::document::{Learner, RawTree, Trees};
use crate::error::{Error, Result};
use crate::names::{counted, following};

/// Bytes of the learner's head.
const HEAD: usize = 136;
/// Bytes of a booster's head (trees), of a linear booster's, of a tree's, of a node and of what is known about it.
const FOREST_HEAD: usize = 160;
const LINEAR_HEAD: usize = 136;
const TREE_HEAD: usize = 148;
const NODE: usize = 20;
const STATISTICS: usize = 16;
/// The longest name of an objective or booster.
const NAME_MAX: u64 = 64;

/// A cursor over little-endian bytes.
struct Bytes<'a> {
    rest: &'a [u8],
}

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize, what: &str) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            let left = self.rest.len();
            return Err(Error::invalid(format!(
                "the binary XGBoost model is cut off: {what} takes {}, {left} are left",
                counted(count, "byte")
            )));
        };
        self.rest = rest;
        Ok(taken)
    }

    /// `count` elements of `size` bytes.
    fn elements(&mut self, count: u64, size: usize, what: &str) -> Result<std::slice::ChunksExact<'a, u8>> {
        let bytes = usize::try_from(count).ok().and_then(|count| count.checked_mul(size)).unwrap_or(usize::MAX);
        Ok(self.take(bytes, what)?.chunks_exact(size))
    }

    fn u64(&mut self, what: &str) -> Result<u64> {
        Ok(self.take(8, what)?.try_into().map_or(0, u64::from_le_bytes))
    }

    fn text(&mut self, what: &str) -> Result<&'a [u8]> {
        let length = self.u64(what)?;
        self.take(usize::try_from(length).unwrap_or(usize::MAX), what)
    }

    fn f32s(&mut self, what: &str) -> Result<Vec<f32>> {
        let count = self.u64(what)?;
        Ok(self.elements(count, 4, what)?.map(|word| f32::from_bits(at(word, 0))).collect())
    }
}

/// The 32-bit word at place `index` of `words`; 0 past its end, which callers took in full.
fn at(words: &[u8], index: usize) -> u32 {
    words.get(index * 4..index * 4 + 4).and_then(|word| word.try_into().ok()).map_or(0, u32::from_le_bytes)
}

fn signed(words: &[u8], index: usize) -> i32 {
    at(words, index).cast_signed()
}

fn count(words: &[u8], index: usize, what: &str) -> Result<usize> {
    let number = signed(words, index);
    usize::try_from(number).map_err(|_| Error::invalid(format!("the binary XGBoost model has {number} {what}")))
}

/// Whether the bytes begin like a binary model: they carry no mark of their own before 1.2 (`binf` after), but names of
/// an objective and a booster stand at fixed places.
pub(super) fn recognises(bytes: &[u8]) -> bool {
    let bytes = bytes.strip_prefix(b"binf").unwrap_or(bytes);
    let mut bytes = Bytes { rest: bytes.get(HEAD..).unwrap_or_default() };
    let objective = bytes.text("").unwrap_or_default();
    let named = (1..=NAME_MAX).contains(&(objective.len() as u64))
        && objective.iter().all(|&byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-'));
    named && bytes.text("").is_ok_and(|booster| matches!(booster, b"gbtree" | b"dart" | b"gblinear"))
}

/// Reads a binary model, with or without its mark.
pub(super) fn read(bytes: &[u8]) -> Result<Learner> {
    let mut bytes = Bytes { rest: bytes.strip_prefix(b"binf").unwrap_or(bytes) };
    let head = bytes.take(HEAD, "its head")?;
    let (major, minor) = (signed(head, 5), signed(head, 6));
    if !(0..100).contains(&major) || !(0..1000).contains(&minor) {
        return Err(Error::invalid(format!("the binary XGBoost model says it is of version {major}.{minor}")));
    }
    let objective = name(&mut bytes, "objective")?;
    let booster = name(&mut bytes, "booster")?;
    let mut learner = Learner {
        base_scores: Some(vec![f32::from_bits(at(head, 0))]),
        margin_base: major == 0,
        features: at(head, 1) as usize,
        classes: count(head, 2, "classes")?,
        targets: if (major, minor) >= (1, 6) { count(head, 7, "targets")? } else { 0 },
        version: if major == 0 { Vec::new() } else { vec![major, minor] },
        // 0.72 to 0.90 had a name of its own for what is computed on a GPU.
        objective: Some(objective.strip_prefix("gpu:").unwrap_or(&objective).to_owned()),
        ..Learner::default()
    };
    if booster == "gblinear" {
        bytes.take(LINEAR_HEAD, "the linear booster's head")?;
        learner.linear = Some(bytes.f32s("the weights")?);
    } else {
        let (trees, any) = forest(&mut bytes, (major, minor))?;
        learner.trees = Some(trees);
        if booster == "dart" && any {
            learner.weights = Some(bytes.f32s("the trees' weights")?);
        }
    }
    learner.booster_name = Some(booster);
    if at(head, 3) != 0 {
        let pairs = bytes.u64("the attributes")?;
        for _ in 0..pairs {
            let key = bytes.text("an attribute")?;
            let value = bytes.text("an attribute")?;
            if let (Ok(key), Ok(value)) = (str::from_utf8(key), str::from_utf8(value)) {
                learner.best.note(key, value)?;
            }
        }
    }
    // Before 1.0 a parameter of count:poisson and the names of metrics follow; neither changes an answer.
    if major == 0 && learner.objective.as_deref() == Some("count:poisson") && !bytes.rest.is_empty() {
        bytes.text("max_delta_step")?;
    }
    if major == 0 && at(head, 4) != 0 {
        for _ in 0..bytes.u64("the metrics")? {
            bytes.text("a metric")?;
        }
    }
    if !bytes.rest.is_empty() {
        return Err(Error::invalid(format!("{} the binary XGBoost model", following(bytes.rest.len()))));
    }
    Ok(learner)
}

fn name(bytes: &mut Bytes<'_>, what: &str) -> Result<String> {
    let text = bytes.text(what)?;
    match str::from_utf8(text) {
        Ok(text) if text.len() as u64 <= NAME_MAX => Ok(text.to_owned()),
        _ => Err(Error::invalid(format!("the binary XGBoost model's {what} is no name"))),
    }
}

/// The trees, and whether there are any.
fn forest(bytes: &mut Bytes<'_>, release: (i32, i32)) -> Result<(Trees, bool)> {
    let head = bytes.take(FOREST_HEAD, "the booster's head")?;
    let total = count(head, 0, "trees")?;
    if total > bytes.rest.len() / (TREE_HEAD + NODE + STATISTICS) {
        return Err(Error::invalid(format!(
            "the binary XGBoost model is cut off: {total} trees do not fit the {} bytes left",
            bytes.rest.len()
        )));
    }
    let mut trees = Vec::with_capacity(total);
    for index in 0..total {
        trees.push(tree(bytes, release).map_err(|error| error.within(format_args!("tree {index}")))?);
    }
    let groups = bytes.elements(total as u64, 4, "the trees' outputs")?.map(|word| signed(word, 0)).collect();
    // The place held a number of roots before; 0 leaves the question to what attributes say.
    let parallel = if release >= (1, 6) { count(head, 1, "parallel trees")? } else { 0 };
    Ok((Trees::new(trees, groups, parallel), total > 0))
}

fn tree(bytes: &mut Bytes<'_>, release: (i32, i32)) -> Result<RawTree> {
    let head = bytes.take(TREE_HEAD, "its head")?;
    let (roots, nodes) = (signed(head, 0), count(head, 1, "nodes")? as u64);
    if roots != 1 {
        return Err(Error::invalid(format!("it has {roots} roots; trees with one root can be served")));
    }
    if nodes == 0 {
        return Err(Error::invalid("it has no node"));
    }
    let mut tree = RawTree { vector_width: 1, apart: true, ..RawTree::default() };
    for node in bytes.elements(nodes, NODE, "its nodes")? {
        let split = at(node, 3);
        tree.left.push(signed(node, 1));
        tree.right.push(signed(node, 2));
        tree.features.push((split & 0x7fff_ffff).cast_signed());
        tree.default_left.push((split >> 31).cast_signed());
        tree.conditions.push(f32::from_bits(at(node, 4)));
    }
    tree.covers = bytes.elements(nodes, STATISTICS, "its statistics")?.map(|statistics| f32::from_bits(at(statistics, 1))).collect();
    if release < (1, 0) && at(head, 5) != 0 {
        // Vectors beside the leaves that no version ever answered with.
        bytes.f32s("its leaf vectors")?;
    }
    Ok(tree)
}
