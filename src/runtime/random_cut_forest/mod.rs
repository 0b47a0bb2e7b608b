//! Random cut forests: how surprising a row is, from how soon random cuts would set it apart from what was sampled.
//!
//! A model is a safetensors file (`safetensors.rs`) of this layout, version 1. Each tree halves its sample by cuts
//! until single points are left; the inner nodes of all trees stand in one list, the leaves in another.
//!
//! | | |
//! |---|---|
//! | metadata `format`, `version` | `rookery-random-cut-forest`, `1` |
//! | metadata `feature_names` | optional: a JSON list of the columns' names |
//! | `points` F32 `[p, d]` | the sampled points of all trees |
//! | `leaf_point`, `leaf_mass` I32 `[m]` | per leaf: its point, and how often it was sampled |
//! | `cut_dimension` I32, `cut_value` F32 `[n]` | per inner node: rows whose value there is at most the cut's go left |
//! | `left`, `right` I32 `[n]` | its children: inner node `i` as `i`, leaf `j` as `-1 - j`; an inner child stands after its parent |
//! | `root` I32 `[t]` | per tree: its root, written as a child is |
//!
//! A forest whose trees are single leaves has no inner node and leaves out the four arrays of them. Next: `score.rs`,
//! which has the formula.

mod score;

use std::io::Read;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::score::{Forest, Shape};
use super::prepared::{Reader, Writer};
use super::safetensors::{File, names_format};
use super::{Format, Model, Output, Prepared, Schema, Summary, f32s};
use crate::codec::answer::Form;
use crate::error::{Error, Kind, Result};
use crate::tensor::{Block, Tensor, ValueKind};

pub(super) const FORMAT: Format = Format { name: "random-cut-forest", recognises, prepare, load };

/// What metadata `format` says.
pub(crate) const MARK: &str = "rookery-random-cut-forest";
/// The version of the layout.
pub(crate) const VERSION: &str = "1";
/// The most trees.
pub(crate) const TREES_MAX: usize = 10_000;
/// The most values the boxes of all inner nodes may hold, 1 GiB of them.
const BOXES_MAX: usize = 1 << 28;
/// The most box sides looked at in one request, about a minute's.
const WORK_MAX: u64 = 1 << 36;

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    shape: Shape,
    names: Vec<Box<str>>,
}

#[derive(Debug)]
struct RandomCutForest {
    schema: Schema,
    forest: Forest,
}

fn recognises(bytes: &[u8]) -> bool {
    names_format(bytes, MARK)
}

fn prepare(bytes: Bytes) -> Result<Prepared> {
    let file = File::of(&bytes, MARK, VERSION)?;
    file.only(&["points", "leaf_point", "leaf_mass", "cut_dimension", "cut_value", "left", "right", "root"])?;
    let [points, features] = file.shape("points")?;
    let [leaves] = file.shape("leaf_point")?;
    let [trees] = file.shape("root")?;
    // Every tree has one leaf more than inner nodes.
    let inner = leaves.checked_sub(trees).ok_or_else(|| Error::invalid(format!("{trees} trees cannot share {leaves} leaves")))?;
    if features > super::pipeline::CELLS_MAX || trees > TREES_MAX || inner.checked_mul(features * 2).is_none_or(|cells| cells > BOXES_MAX) {
        return Err(Error::invalid(format!("{trees} trees of {inner} cuts over {features} features are more than can be served")));
    }
    let nodes = score::Nodes {
        points: file.f32s("points", points * features)?,
        leaf_point: file.i32s("leaf_point", leaves)?,
        leaf_mass: file.i32s("leaf_mass", leaves)?,
        cut_dimension: if inner > 0 { file.i32s("cut_dimension", inner)? } else { Vec::new() },
        cut_value: if inner > 0 { file.f32s("cut_value", inner)? } else { Vec::new() },
        left: if inner > 0 { file.i32s("left", inner)? } else { Vec::new() },
        right: if inner > 0 { file.i32s("right", inner)? } else { Vec::new() },
        root: file.i32s("root", trees)?,
    };
    let head = Head { shape: Shape { features, points }, names: file.names(features)? };
    let forest = Forest::new(head.shape, nodes)?;
    let mut writer = Writer::new(&head)?;
    forest.write(&mut writer);
    let names = head.names.clone();
    let core = forest.weight();
    let model = RandomCutForest::new(head, forest);
    let summary = Summary {
        inputs: Vec::new(),
        answers: Vec::new(),
        format: FORMAT.name.to_owned(),
        kind: "anomaly score".to_owned(),
        library: None,
        features,
        outputs: 1,
        names,
        trees: Some(trees),
        categories: Vec::new(),
        weight: model.weight(),
        core,
    };
    Ok(Prepared { summary, bytes: writer.finish() })
}

fn load(source: &mut dyn Read, length: u64) -> Result<Box<dyn Model>> {
    let (head, mut reader) = Reader::new::<Head>(source, length)?;
    let forest = Forest::read(&mut reader, head.shape)?;
    Ok(Box::new(RandomCutForest::new(head, forest)))
}

impl RandomCutForest {
    fn new(Head { shape, names }: Head, forest: Forest) -> Self {
        let schema = Schema { absent: 0.0, missing: false, names: names.into(), ..Schema::matrix(ValueKind::F32, shape.features, 1) };
        Self { schema, forest }
    }
}

impl Model for RandomCutForest {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn predict(&self, input: &[Block]) -> Result<Output> {
        let input = f32s(input)?;
        if self.forest.sides().saturating_mul(input.rows() as u64) > WORK_MAX {
            let text = format!("{} rows are too much work for one request to this forest; send fewer rows", input.rows());
            return Err(Error::new(Kind::TooLarge, text));
        }
        let mut path = Vec::new();
        let scores = input.iter().map(|row| self.forest.score(row, &mut path)).collect();
        let scores = Tensor::new(1, scores).ok_or_else(|| Error::new(Kind::Internal, "scores are no whole rows"))?;
        Ok(Output { form: Form::Scores, ..Output::scores(scores, false) })
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.schema.names.weight() + self.forest.weight()
    }

    fn cost(&self, rows: usize) -> u64 {
        // About a nanosecond a side; an ordinary row is inside its boxes after a third of its way up.
        (self.forest.sides() / 3).saturating_mul(rows as u64)
    }
}
