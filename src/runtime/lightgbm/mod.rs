//! LightGBM models saved as text: every objective and boosting, bit-equal raw scores in `f64`.
//!
//! `document.rs` reads the file, `objective.rs` knows what objectives do to numbers; here the two become a model. What
//! decides the bits: sums start from 0 and add trees in order; dart's weights are in the leaves already; a random
//! forest's answer is the mean over its iterations, its raw score the sum. Next: `document.rs`.

mod document;
mod objective;

use std::io::Read;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::document::{Document, RawTree};
use self::objective::Objective;
use super::prepared::{Reader, Writer};
use super::trees::affordable;
use super::trees::wide::{Builder, Ensemble, Linear, Missing, Split, TreeNode};
use super::{Format, Model, Output, Prepared, Schema, Summary, f64s};
use crate::error::{Error, Kind, Result};
use crate::names::counted;
use crate::tensor::{Block, Tensor, ValueKind};

pub(super) const FORMAT: Format = Format { name: "lightgbm", recognises, prepare, load };

/// What a random forest's kind begins with.
const FOREST: &str = "random forest ";
/// The most outputs; each row of a request allocates as many numbers.
const OUTPUTS_MAX: usize = 1 << 16;

/// What the prepared form says before its arrays.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    objective: Objective,
    features: usize,
    groups: usize,
    /// What the sum is divided by: 1, or the iterations of a random forest.
    divisor: f64,
    names: Vec<Box<str>>,
}

#[derive(Debug)]
struct LightGbm {
    objective: Objective,
    groups: usize,
    divisor: f64,
    schema: Schema,
    trees: Ensemble,
}

/// The first line is `tree`; the head's other lines follow in an order that versions change.
fn recognises(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    let start = start.get(..4096).unwrap_or(start);
    let has = |word: &[u8]| start.windows(word.len()).any(|found| found == word);
    (start.starts_with(b"tree\n") || start.starts_with(b"tree\r\n")) && (has(b"\nnum_class=") || has(b"\nversion="))
}

fn prepare(bytes: Bytes) -> Result<Prepared> {
    let (file, mut document) = Document::open(&bytes)?;
    let (features, groups) = (file.features, file.groups);
    if groups == 0 || groups > OUTPUTS_MAX {
        return Err(Error::invalid(format!("the model has {groups} outputs; 1 to {OUTPUTS_MAX} can be served")));
    }
    let objective = Objective::parse(file.objective.as_deref(), groups)?;
    let mut builder = Builder::new(features, groups);
    let mut count = 0;
    while let Some(tree) = document.tree(&file)? {
        let nodes = 2 * tree.leaves - 1;
        let mut words = tree.set_words.len();
        builder
            .tree(count % groups, nodes, |number| node(&tree, number as usize, &mut words))
            .map_err(|error| error.within(format_args!("tree {count}")))?;
        count += 1;
    }
    if count % groups != 0 {
        return Err(Error::invalid(format!(
            "the model has {}, which is no whole number of iterations of {groups}",
            counted(count, "tree")
        )));
    }
    if file.average && count == 0 {
        return Err(Error::invalid("the model is the mean of no trees at all; train it for at least one iteration"));
    }
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let divisor = if file.average { (count / groups) as f64 } else { 1.0 };
    let trees = builder.finish()?;
    let head = Head { objective, features, groups, divisor, names: file.names.clone() };
    let mut writer = Writer::new(&head)?;
    trees.write(&mut writer);
    let core = trees.node_bytes();
    let model = LightGbm::new(head, trees);
    let forest = if file.average { FOREST } else { "" };
    let summary = Summary {
        inputs: Vec::new(),
        answers: Vec::new(),
        format: FORMAT.name.to_owned(),
        kind: format!("{forest}{}", file.objective.as_deref().unwrap_or("custom")),
        library: file.version,
        features,
        outputs: groups,
        names: file.names,
        trees: Some(count),
        categories: Vec::new(),
        weight: model.weight(),
        core,
    };
    Ok(Prepared { summary, bytes: writer.finish() })
}

/// Node `number` of a tree: its inner nodes first, then its leaves.
fn node<'a>(tree: &'a RawTree, number: usize, words: &mut usize) -> Result<TreeNode<'a>> {
    let outside = || Error::invalid(format!("node {number} is outside its lists"));
    let inner = tree.leaves - 1;
    let Some(leaf) = number.checked_sub(inner) else {
        let at = |list: &[i32]| list.get(number).copied().ok_or_else(outside);
        let child = |child: i32| {
            let (at, count, first) = if child < 0 { (!child, tree.leaves, inner) } else { (child, inner, 0) };
            let place = usize::try_from(at).ok().filter(|&at| at < count).and_then(|at| u32::try_from(first + at).ok());
            place.ok_or_else(|| Error::invalid(format!("node {number} has child {child}, which the tree has not")))
        };
        let (left, right) = (child(at(&tree.left)?)?, child(at(&tree.right)?)?);
        let feature = tree.features.get(number).copied().ok_or_else(outside)?;
        let cover = tree.inner_counts.get(number).copied();
        return Ok(TreeNode::Split { feature, split: split(tree, number, words)?, left, right, cover });
    };
    let value = tree.leaf_values.get(leaf).copied().ok_or_else(outside)?;
    let linear = tree.linear.as_ref().map(|linear| {
        let terms = linear.starts.get(leaf).copied().zip(linear.starts.get(leaf + 1).copied());
        let (start, end) = terms.ok_or_else(outside)?;
        Ok(Linear {
            constant: linear.constants.get(leaf).copied().ok_or_else(outside)?,
            coefficients: linear.coefficients.get(start..end).ok_or_else(outside)?,
            columns: linear.features.get(start..end).ok_or_else(outside)?,
        })
    });
    // A tree of one leaf needs no count, and older versions write none.
    let cover = tree.leaf_counts.get(leaf).copied().or((inner == 0).then_some(0));
    Ok(TreeNode::Leaf { value, linear: linear.transpose()?, cover })
}

/// How node `number` decides. Each categorical node has a set of its own; `left` is how many of the tree's words are not
/// yet in one, for if nodes could share a set, a short file could ask for the square of its length.
fn split<'a>(tree: &'a RawTree, number: usize, left: &mut usize) -> Result<Split<'a>> {
    let outside = || Error::invalid(format!("node {number} is outside its lists"));
    let threshold = tree.thresholds.get(number).copied().ok_or_else(outside)?;
    let decision = tree.decisions.get(number).copied().ok_or_else(outside)?;
    let missing = match decision >> 2 {
        0 => Missing::Never,
        1 => Missing::Zero,
        2 => Missing::Nan,
        _ => return Err(Error::invalid(format!("node {number} has decision type {decision}; 0 to 11 are known"))),
    };
    if decision & 1 == 0 {
        return Ok(Split::UpTo { threshold, missing, missing_left: decision & 2 != 0 });
    }
    // At a categorical split the threshold is the number of its set.
    let set = format!("{threshold}").parse::<usize>().ok();
    let words = set.and_then(|set| tree.set_words.get(*tree.set_starts.get(set)?..*tree.set_starts.get(set.checked_add(1)?)?));
    let words = words.ok_or_else(|| Error::invalid(format!("node {number} asks for category set {threshold}, which the tree has not")))?;
    let shared = || Error::invalid(format!("node {number} asks for category set {threshold}, which other nodes have; each has its own"));
    *left = left.checked_sub(words.len()).ok_or_else(shared)?;
    Ok(Split::Among(words))
}

/// An answer for one row, of the shape that all answers of the model have; made without it, so its numbers are none.
pub(super) fn sample(summary: &Summary) -> Option<Output> {
    let objective = summary.kind.strip_prefix(FOREST).unwrap_or(&summary.kind);
    Objective::parse(Some(objective), summary.outputs).ok()?.answer(vec![0.0; summary.outputs], summary.outputs).ok()
}

fn load(source: &mut dyn Read, length: u64) -> Result<Box<dyn Model>> {
    let (head, mut reader) = Reader::new::<Head>(source, length)?;
    let trees = Ensemble::read(&mut reader, head.features, head.groups)?;
    Ok(Box::new(LightGbm::new(head, trees)))
}

impl LightGbm {
    fn new(head: Head, trees: Ensemble) -> Self {
        let Head { objective, features, groups, divisor, names } = head;
        // The library takes every column that a sparse row leaves out for 0, not for missing.
        let schema = Schema { names: names.into(), absent: 0.0, ..Schema::matrix(ValueKind::F64, features, groups) };
        Self { objective, groups, divisor, schema, trees }
    }

    fn sums(&self, input: &Tensor<f64>) -> Result<Vec<f64>> {
        affordable(input.rows(), self.cost(input.rows()))?;
        let mut sums = vec![0.0; input.rows() * self.groups];
        self.trees.add_to(input, &mut sums)?;
        Ok(sums)
    }
}

fn rows(columns: usize, values: Vec<f64>) -> Result<Block> {
    Tensor::new(columns, values).map(Block::from).ok_or_else(|| Error::new(Kind::Internal, "scores are no whole rows"))
}

impl Model for LightGbm {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn raw(&self, input: &[Block]) -> Result<Block> {
        rows(self.groups, self.sums(f64s(input)?)?)
    }

    fn predict(&self, input: &[Block]) -> Result<Output> {
        let mut sums = self.sums(f64s(input)?)?;
        #[expect(clippy::float_cmp, reason = "exactly 1 means nothing to divide by")]
        if self.divisor != 1.0 {
            sums.iter_mut().for_each(|sum| *sum /= self.divisor);
        }
        self.objective.answer(sums, self.groups)
    }

    fn explain(&self, input: &[Block]) -> Result<Block> {
        rows(self.groups * (self.schema.features + 1), self.trees.explain(f64s(input)?)?)
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.schema.names.weight() + self.trees.weight()
    }

    fn cost(&self, rows: usize) -> u64 {
        // About 1.5 ns a level for one row, less for many.
        (self.trees.levels() * 3 / 2).saturating_mul(rows as u64)
    }
}
