//! XGBoost models, as JSON, UBJSON, binary or pickled: every booster, every objective, bit-equal margins.
//!
//! `document.rs` reads JSON and UBJSON, `categories.rs` the data frame's categories in it, `legacy.rs` the binary form,
//! `pickle.rs` finds any of them in a pickle; `objective.rs` knows what objectives do to numbers; here they become a
//! model. What decides the bits: sums start from the base margin (before 1.3 they end with it) and add trees in order
//! in `f32`; dart weights are multiplied into the leaves first; gblinear starts from bias + base; `average.rs` lets
//! several answer as one. Next: `document.rs`.

pub(super) mod average;
mod categories;
mod document;
mod legacy;
mod objective;
mod pickle;

use std::io::Read;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::categories::Lists;
use self::document::{Booster, Document, Learner as Found, RawTree, read_model_file};
use self::objective::Objective;
use super::pipeline::CELLS_MAX;
use super::prepared::{Reader, Writer};
use super::trees::{Builder, Ensemble, Split, TreeNode, affordable};
use super::{CATEGORIES_BYTES, Format, Model, Output, Prepared, Schema, Summary, f32s};
use crate::codec::columns::{Categories, Columns};
use crate::codec::pull::Json;
use crate::codec::ubjson::Ubjson;
use crate::error::{Error, Kind, Result};
use crate::names::counted;
use crate::tensor::{Block, Tensor, ValueKind};

pub(super) const FORMAT: Format = Format { name: "xgboost", recognises, prepare, load };

/// The most columns and the most outputs; each row of a request allocates as many numbers.
const FEATURES_MAX: usize = 1 << 24;
const OUTPUTS_MAX: usize = 1 << 16;

/// What the prepared form says before its arrays.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    objective: Objective,
    features: usize,
    groups: usize,
    names: Vec<Box<str>>,
    /// Margin every sum starts from, per output.
    base: Vec<f32>,
    /// Trees are added up first and the base margin last, as older versions did.
    base_last: bool,
    linear: bool,
    /// The texts that codes stand for, by column.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    categories: Lists,
}

#[derive(Debug)]
struct XgBoost {
    objective: Objective,
    groups: usize,
    schema: Schema,
    base: Vec<f32>,
    base_last: bool,
    learner: Learner,
}

#[derive(Debug)]
enum Learner {
    Trees(Ensemble),
    /// gblinear: `(features + 1) × groups` weights, the bias last.
    Linear(Vec<f32>),
}

fn recognises(bytes: &[u8]) -> bool {
    is_document(bytes) || legacy::recognises(bytes) || pickle::recognises(bytes)
}

/// Whether bytes that begin like this format say nowhere what all of its files say: a pickle of another library, which a
/// pickle's first bytes do not tell, or text that begins like UBJSON.
pub(super) fn is_foreign(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    match start.first() {
        _ if legacy::recognises(bytes) => false,
        Some(b'{') => !start.get(..4096).unwrap_or(start).windows(7).any(|word| word == b"learner"),
        _ => !pickle::names_booster(bytes),
    }
}

fn is_document(bytes: &[u8]) -> bool {
    let start = bytes.trim_ascii_start();
    start.first() == Some(&b'{') && (is_ubjson(start) || start.get(..4096).unwrap_or(start).windows(9).any(|w| w == b"\"learner\""))
}

/// UBJSON objects go on with a length's marker, JSON ones with a quote or space.
fn is_ubjson(bytes: &[u8]) -> bool {
    matches!(bytes.get(1), Some(b'i' | b'U' | b'I' | b'l' | b'L' | b'$' | b'#'))
}

/// Reads a model that is no pickle.
fn read_learner(bytes: &[u8]) -> Result<Found> {
    if legacy::recognises(bytes) {
        return legacy::read(bytes);
    }
    let start = bytes.trim_ascii_start();
    if is_ubjson(start) { read_model_file(&mut Ubjson::new(start)) } else { read_model_file(&mut Json::new(bytes)) }
}

fn prepare(bytes: Bytes) -> Result<Prepared> {
    let document = Document::assemble(if pickle::recognises(&bytes) { pickle::read(&bytes)? } else { read_learner(&bytes)? })?;
    drop(bytes);
    let objective = Objective::named(&document.objective, document.release())?;
    let (features, groups) = (document.features, document.groups());
    if features == 0 || features > FEATURES_MAX {
        return Err(Error::invalid(format!("the model has {features} features; 1 to {FEATURES_MAX} can be served")));
    }
    if groups > OUTPUTS_MAX {
        return Err(Error::invalid(format!("the model has {groups} outputs; at most {OUTPUTS_MAX} can be served")));
    }
    if !document.names.is_empty() && document.names.len() != features {
        return Err(Error::invalid(format!("the model names {} of its {}", document.names.len(), counted(features, "feature"))));
    }
    let base = document.base_margins(groups, |scores| objective.margins(scores))?;
    let base_last = document.adds_base_last();
    let learner = match &document.booster {
        Booster::Trees(trees) => Learner::Trees(ensemble(trees, features, groups)?),
        // Saved before its first round, a linear model holds no weights at all.
        Booster::Linear(weights) if weights.is_empty() => Learner::Linear(Vec::new()),
        Booster::Linear(weights) => {
            if weights.len() != (features + 1) * groups || weights.iter().any(|weight| !weight.is_finite()) {
                return Err(Error::invalid(format!("the linear booster does not hold {} finite weights", (features + 1) * groups)));
            }
            Learner::Linear(weights.clone())
        }
    };
    let categories = categories::believed(document.categories.clone(), features, document.release());
    let linear = matches!(learner, Learner::Linear(_));
    let head = Head { objective, features, groups, names: document.names.clone(), base, base_last, linear, categories };
    let mut writer = Writer::new(&head)?;
    match &learner {
        Learner::Trees(trees) => trees.write(&mut writer),
        Learner::Linear(weights) => writer.array(weights),
    }
    let (trees, core) = match &learner {
        Learner::Trees(trees) => (Some(trees.trees()), trees.node_bytes()),
        Learner::Linear(weights) => (None, weights.len() * 4),
    };
    let model = XgBoost::new(head, learner);
    let summary = Summary {
        format: FORMAT.name.to_owned(),
        kind: format!("{} {}", document.booster_name, document.objective),
        library: (!document.version.is_empty()).then(|| document.version.iter().map(i32::to_string).collect::<Vec<_>>().join(".")),
        features,
        outputs: objective.outputs(groups),
        inputs: Vec::new(),
        answers: Vec::new(),
        names: document.names,
        trees,
        categories: told(model.schema()),
        weight: model.weight(),
        core,
    };
    Ok(Prepared { summary, bytes: writer.finish() })
}

/// The categories that are told of a model, column by column, as far as they fit.
fn told(schema: &Schema) -> Vec<(String, Vec<Box<str>>)> {
    let mut bytes = 0;
    let fits = |(_, texts): &(String, &Categories)| {
        bytes += texts.iter().map(|text| text.len() + 4).sum::<usize>();
        bytes <= CATEGORIES_BYTES
    };
    schema.names.categories_by_name().take_while(fits).map(|(name, texts)| (name, texts.to_vec())).collect()
}

/// Hands the document's trees, as many as the best iteration asks for, to the builder.
fn ensemble(trees: &document::Trees, features: usize, groups: usize) -> Result<Ensemble> {
    let mut builder = Builder::new(features, groups);
    for (index, tree) in trees.kept().iter().enumerate() {
        let weight = trees.weight(index)?;
        let group = trees.group(index)?;
        let scaled = tree.scaled_vectors(groups, weight)?;
        let cover = |number: u32| tree.covers.get(number as usize).copied().unwrap_or(f32::NAN);
        let mut categories = tree.categories.len();
        let node = |number: u32| node(tree, number as usize, weight, &scaled, groups, &mut categories);
        builder.tree_with_covers(group, tree.len(), node, cover)?;
    }
    builder.finish()
}

fn node<'a>(
    tree: &'a RawTree,
    number: usize,
    weight: f32,
    vectors: &'a [f32],
    groups: usize,
    categories: &mut usize,
) -> Result<TreeNode<'a>> {
    let short = || Error::invalid(format!("node {number} is outside its arrays"));
    let at = |values: &[i32]| values.get(number).copied().ok_or_else(short);
    let (left, right) = (at(&tree.left)?, at(&tree.right)?);
    let condition = tree.conditions.get(number).copied().ok_or_else(short)?;
    if left == -1 {
        if tree.vector_width > 1 {
            let row = if tree.leaf_rows { usize::try_from(right).map_err(|_| short())? } else { number };
            let start = row.checked_mul(groups).ok_or_else(short)?;
            return Ok(TreeNode::VectorLeaf(vectors.get(start..start.saturating_add(groups)).ok_or_else(short)?));
        }
        // Multiplied here, the leaf is the same f32 that the library adds: it multiplies, then adds, unfused.
        return Ok(TreeNode::Leaf(if weight == 1.0 { condition } else { condition * weight }));
    }
    // The library steps from the left child to the one beside it and never looks at the right one's number.
    if !tree.apart && left.checked_add(1) != Some(right) {
        return Err(Error::invalid(format!("node {number} has children {left} and {right}; they must be neighbours")));
    }
    let child = |child: i32| u32::try_from(child).map_err(|_| Error::invalid(format!("node {number} has child {child}")));
    let feature = at(&tree.features)?;
    let feature = u32::try_from(feature).map_err(|_| Error::invalid(format!("node {number} splits on feature {feature}")))?;
    let split = match tree.categories_of(number, categories)? {
        Some(categories) => Split::Among(categories),
        None => Split::Below(condition),
    };
    Ok(TreeNode::Split { feature, split, missing_left: at(&tree.default_left)? != 0, left: child(left)?, right: child(right)? })
}

/// An answer for one row, of the shape that all answers of the model have; made without it, so its numbers are none.
/// How many classes there are is not told of a model that answers the class alone.
pub(super) fn sample(summary: &Summary) -> Option<Output> {
    let mut release = summary.library.iter().flat_map(|version| version.split('.')).map(|part| part.parse().unwrap_or_default());
    let release = (release.next().unwrap_or_default(), release.next().unwrap_or_default());
    let objective = Objective::named(summary.kind.rsplit(' ').next()?, release).ok()?;
    objective.answer(vec![0.0; summary.outputs], summary.outputs).ok()
}

fn load(source: &mut dyn Read, length: u64) -> Result<Box<dyn Model>> {
    let (head, mut reader) = Reader::new::<Head>(source, length)?;
    let learner = if head.linear {
        let weights: Vec<f32> = reader.array()?;
        if !weights.is_empty() && weights.len() != (head.features + 1) * head.groups {
            return Err(Error::new(Kind::Internal, "a prepared form is damaged (its weights); run `rookery verify` on the database"));
        }
        Learner::Linear(weights)
    } else {
        Learner::Trees(Ensemble::read(&mut reader, head.features, head.groups)?)
    };
    Ok(Box::new(XgBoost::new(head, learner)))
}

impl XgBoost {
    fn new(head: Head, learner: Learner) -> Self {
        let Head { objective, features, groups, names, base, base_last, linear: _, categories } = head;
        let outputs = objective.outputs(groups);
        let schema = Schema {
            spread: groups,
            names: Columns::from(names).with_categories(categories),
            ..Schema::matrix(ValueKind::F32, features, outputs)
        };
        Self { objective, groups, schema, base, base_last, learner }
    }

    fn margins(&self, input: &Tensor) -> Result<Vec<f32>> {
        affordable(input.rows(), self.cost(input.rows()))?;
        let mut out = Vec::with_capacity(input.rows() * self.groups);
        for _ in 0..input.rows() {
            out.extend_from_slice(&self.base);
        }
        match &self.learner {
            Learner::Trees(trees) if self.base_last => {
                out.fill(0.0);
                trees.add_to(input, &mut out)?;
                for row in out.chunks_exact_mut(self.groups) {
                    row.iter_mut().zip(&self.base).for_each(|(sum, base)| *sum += base);
                }
            }
            Learner::Trees(trees) => trees.add_to(input, &mut out)?,
            Learner::Linear(weights) => linear(weights, self.groups, input, &mut out),
        }
        Ok(out)
    }
}

/// gblinear's contributions: each present value times its weight, then bias + base.
fn explain_linear(weights: &[f32], base: &[f32], input: &Tensor, out: &mut [f64]) {
    let (groups, features) = (base.len(), input.columns());
    for (row, out) in input.iter().zip(out.chunks_exact_mut(groups * (features + 1))) {
        for (group, out) in out.chunks_exact_mut(features + 1).enumerate() {
            let weight = |column: usize| weights.get(column * groups + group).copied().unwrap_or_default();
            for (column, (out, value)) in out.iter_mut().zip(row.iter().copied().chain([1.0])).enumerate() {
                // The library multiplies in f32.
                *out += if value.is_nan() { 0.0 } else { f64::from(value * weight(column)) };
            }
        }
    }
}

/// gblinear: per output, bias + base, then each present value times its weight in column order, all in `f32`.
fn linear(weights: &[f32], groups: usize, input: &Tensor, out: &mut [f32]) {
    if weights.is_empty() {
        // Not boosted yet: every weight is 0.
        out.iter_mut().for_each(|out| *out += 0.0);
        return;
    }
    let (slopes, biases) = weights.split_at(weights.len() - groups);
    for (row, out) in input.iter().zip(out.chunks_exact_mut(groups)) {
        for (group, out) in out.iter_mut().enumerate() {
            let mut sum = biases.get(group).copied().unwrap_or_default() + *out;
            for (value, slopes) in row.iter().zip(slopes.chunks_exact(groups)) {
                if !value.is_nan() {
                    sum += value * slopes.get(group).copied().unwrap_or_default();
                }
            }
            *out = sum;
        }
    }
}

impl Model for XgBoost {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn raw(&self, input: &[Block]) -> Result<Block> {
        let margins = self.margins(f32s(input)?)?;
        let margins = Tensor::new(self.groups, margins).ok_or_else(|| Error::new(Kind::Internal, "margins are no whole rows"))?;
        Ok(margins.into())
    }

    #[expect(clippy::cast_possible_truncation, reason = "contributions are answered as f32, as the library does")]
    fn explain(&self, input: &[Block]) -> Result<Block> {
        let input = f32s(input)?;
        let (rows, width) = (input.rows(), self.groups * (self.schema.features + 1));
        if rows.checked_mul(width).is_none_or(|cells| cells > CELLS_MAX) {
            return Err(Error::new(
                Kind::TooLarge,
                format!("{} of {width} contributions would be too many for one answer; send fewer rows", counted(rows, "row")),
            ));
        }
        let mut out = vec![0.0; rows * width];
        for row in out.chunks_exact_mut(width) {
            for (output, base) in row.chunks_exact_mut(self.schema.features + 1).zip(&self.base) {
                if let Some(bias) = output.last_mut() {
                    *bias = f64::from(*base);
                }
            }
        }
        match &self.learner {
            Learner::Trees(trees) => trees.explain_to(input, &mut out)?,
            Learner::Linear(weights) => explain_linear(weights, &self.base, input, &mut out),
        }
        let out = out.into_iter().map(|value| value as f32).collect();
        Ok(Tensor::new(width, out).ok_or_else(|| Error::new(Kind::Internal, "contributions are no whole rows"))?.into())
    }

    fn predict(&self, input: &[Block]) -> Result<Output> {
        let margins = self.margins(f32s(input)?)?;
        self.objective.answer(margins, self.groups)
    }

    fn weight(&self) -> usize {
        let learner = match &self.learner {
            Learner::Trees(trees) => trees.weight(),
            Learner::Linear(weights) => weights.len() * 4,
        };
        size_of::<Self>() + self.schema.names.weight() + self.base.len() * 4 + learner
    }

    fn cost(&self, rows: usize) -> u64 {
        let row = match &self.learner {
            // About 1.5 ns a level for one row, 0.9 for many.
            Learner::Trees(trees) => trees.levels() * 3 / 2,
            Learner::Linear(weights) => weights.len() as u64,
        };
        row.saturating_mul(rows as u64)
    }
}
