//! Nearest neighbours: exact search through all points, a majority vote or a mean of the nearest ones' labels.
//!
//! A model is a safetensors file (`safetensors.rs`) of this layout, version 1:
//!
//! | | |
//! |---|---|
//! | metadata `format`, `version` | `rookery-knn`, `1` |
//! | metadata `predictor_type` | `classifier` or `regressor` |
//! | metadata `metric` | `L2`, `COSINE` or `INNER_PRODUCT` |
//! | metadata `k` | how many neighbours are asked, at least 1 and at most as many as there are points |
//! | metadata `feature_names` | optional: a JSON list of the columns' names |
//! | `points` F32 `[n, d]` | the points |
//! | `labels` F32 or I64 `[n]` | their labels |
//!
//! Distances are true Euclidean ones for `L2` (not squared), `1 - cosine` for `COSINE` (1 where a vector is zero) and
//! the negated product for `INNER_PRODUCT`, so that the nearest is always the smallest. Equal distances go by the
//! lower index and equal votes to the smallest label, as scikit-learn's brute force has it. Next: `scan.rs`, which
//! finds the neighbours.

mod scan;

use std::cmp::Ordering;
use std::io::Read;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::scan::Points;
use super::prepared::{Reader, Writer};
use super::safetensors::{File, names_format};
use super::{Extra, Format, Model, Output, Prepared, Schema, Summary, f32s};
use crate::codec::answer::Form;
use crate::error::{Error, Kind, Result};
use crate::names::{counted, shown};
use crate::tensor::{Block, Tensor, ValueKind};

pub(super) const FORMAT: Format = Format { name: "knn", recognises, prepare, load };

/// What metadata `format` says.
pub(crate) const MARK: &str = "rookery-knn";
/// The version of the layout.
pub(crate) const VERSION: &str = "1";
/// The most neighbours asked; each row answers with as many distances and labels.
pub(crate) const K_MAX: usize = 1 << 16;
/// The most multiplications of one request, about a minute's.
const WORK_MAX: usize = 1 << 37;

/// How far two points are from each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Metric {
    L2,
    Cosine,
    InnerProduct,
}

impl Metric {
    /// As SageMaker writes it.
    pub(crate) const WORDS: [(&str, Self); 3] = [("L2", Self::L2), ("COSINE", Self::Cosine), ("INNER_PRODUCT", Self::InnerProduct)];
}

/// What is made of the neighbours' labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Predictor {
    Classifier,
    Regressor,
}

impl Predictor {
    /// As SageMaker writes it.
    pub(crate) const WORDS: [(&str, Self); 2] = [("classifier", Self::Classifier), ("regressor", Self::Regressor)];
}

/// The value that goes by `word`.
pub(crate) fn named<T: Copy>(key: &str, word: &str, words: &[(&str, T)]) -> Result<T> {
    let found = words.iter().find(|(known, _)| *known == word).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let known: Vec<String> = words.iter().map(|(known, _)| format!("`{known}`")).collect();
        Error::invalid(format!("`{key}` is `{}`; it takes {}", shown(word), known.join(", ")))
    })
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    predictor: Predictor,
    metric: Metric,
    k: usize,
    features: usize,
    names: Vec<Box<str>>,
    /// Whether the labels are 64-bit whole numbers.
    whole: bool,
}

#[derive(Debug)]
enum Labels {
    F32(Vec<f32>),
    I64(Vec<i64>),
}

#[derive(Debug)]
struct Knn {
    predictor: Predictor,
    k: usize,
    schema: Schema,
    points: Points,
    labels: Labels,
}

fn recognises(bytes: &[u8]) -> bool {
    names_format(bytes, MARK)
}

fn prepare(bytes: Bytes) -> Result<Prepared> {
    let file = File::of(&bytes, MARK, VERSION)?;
    file.only(&["points", "labels"])?;
    let predictor = named("predictor_type", file.text("predictor_type")?, &Predictor::WORDS)?;
    let metric = named("metric", file.text("metric")?, &Metric::WORDS)?;
    let [rows, features] = file.shape("points")?;
    let [labelled] = file.shape("labels")?;
    if labelled != rows {
        return Err(Error::invalid(format!("it holds {} for {}", counted(labelled, "label"), counted(rows, "point"))));
    }
    if features > super::pipeline::CELLS_MAX || u32::try_from(rows).is_err() {
        return Err(Error::invalid(format!("{rows} points of {features} features are more than can be served")));
    }
    let k = file.text("k")?;
    let fits = k.parse().ok().filter(|k| (1..=rows.min(K_MAX)).contains(k));
    let k = fits.ok_or_else(|| {
        Error::invalid(format!("metadata `k` is `{}`; with {} it takes 1 to {}", shown(k), counted(rows, "point"), rows.min(K_MAX)))
    })?;
    let values = file.f32s("points", rows * features)?;
    let whole = file.holds("labels", "I64")?;
    let labels = if whole { Labels::I64(file.i64s("labels", rows)?) } else { Labels::F32(file.f32s("labels", rows)?) };
    let head = Head { predictor, metric, k, features, names: file.names(features)?, whole };
    let points = Points::new(metric, features, values);
    let mut writer = Writer::new(&head)?;
    points.write(&mut writer);
    match &labels {
        Labels::F32(labels) => writer.array(labels),
        Labels::I64(labels) => writer.array(labels),
    }
    let (names, core) = (head.names.clone(), rows * features * 4);
    let model = Knn::new(head, points, labels)?;
    let word = |words: &[(&'static str, bool)]| words.iter().find(|(_, is)| *is).map_or("", |(word, _)| word);
    let kind = word(&Predictor::WORDS.map(|(word, value)| (word, value == predictor)));
    let by = word(&Metric::WORDS.map(|(word, value)| (word, value == metric)));
    let summary = Summary {
        inputs: Vec::new(),
        answers: Vec::new(),
        format: FORMAT.name.to_owned(),
        kind: format!("{kind} {by} k={k}"),
        library: None,
        features,
        outputs: 1,
        names,
        trees: None,
        categories: Vec::new(),
        weight: model.weight(),
        core,
    };
    Ok(Prepared { summary, bytes: writer.finish() })
}

fn load(source: &mut dyn Read, length: u64) -> Result<Box<dyn Model>> {
    let (head, mut reader) = Reader::new::<Head>(source, length)?;
    let points = Points::read(&mut reader, head.metric, head.features)?;
    let labels = if head.whole { Labels::I64(reader.array()?) } else { Labels::F32(reader.array()?) };
    Ok(Box::new(Knn::new(head, points, labels)?))
}

impl Knn {
    fn new(head: Head, points: Points, labels: Labels) -> Result<Self> {
        let Head { predictor, k, features, names, .. } = head;
        let labelled = match &labels {
            Labels::F32(labels) => labels.len(),
            Labels::I64(labels) => labels.len(),
        };
        if points.count() != labelled || k == 0 || k > labelled {
            return Err(Error::new(Kind::Internal, "a prepared form is damaged (its points); run `rookery verify` on the database"));
        }
        // Each row may answer with its neighbours' distances and labels.
        let schema =
            Schema { absent: 0.0, missing: false, spread: 1 + 2 * k, names: names.into(), ..Schema::matrix(ValueKind::F32, features, 1) };
        Ok(Self { predictor, k, schema, points, labels })
    }
}

impl Model for Knn {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    fn predict(&self, input: &[Block]) -> Result<Output> {
        let input = f32s(input)?;
        let work = self.points.count().saturating_mul(input.values().len());
        if work > WORK_MAX {
            let text =
                format!("{} rows against {} points are too much work for one request; send fewer rows", input.rows(), self.points.count());
            return Err(Error::new(Kind::TooLarge, text));
        }
        let (mut distances, mut indices) = (Vec::new(), Vec::new());
        for row in input.iter() {
            for near in self.points.nearest(row, self.k) {
                distances.push(near.distance);
                indices.push(near.index as usize);
            }
        }
        if indices.len() != input.rows() * self.k {
            return Err(Error::new(Kind::Model, "a row holds a missing value; nearest neighbours take none"));
        }
        let whole = || Error::new(Kind::Internal, "neighbours are no whole rows");
        let (scores, neighbours): (Option<Block>, Option<Block>) = match &self.labels {
            Labels::F32(labels) => {
                let all: Vec<f32> = indices.iter().filter_map(|&at| labels.get(at).copied()).collect();
                let one = |labels: &[f32]| match self.predictor {
                    Predictor::Classifier => majority(labels, f32::total_cmp),
                    Predictor::Regressor => mean(labels, f64::from) as f32,
                };
                let scores = all.chunks_exact(self.k).map(one).collect();
                (Tensor::new(1, scores).map(Block::F32), Tensor::new(self.k, all).map(Block::F32))
            }
            Labels::I64(labels) => {
                let all: Vec<i64> = indices.iter().filter_map(|&at| labels.get(at).copied()).collect();
                let scores = match self.predictor {
                    Predictor::Classifier => {
                        Tensor::new(1, all.chunks_exact(self.k).map(|row| majority(row, i64::cmp)).collect()).map(Block::I64)
                    }
                    Predictor::Regressor => {
                        Tensor::new(1, all.chunks_exact(self.k).map(|row| mean(row, |label| label as f64)).collect()).map(Block::F64)
                    }
                };
                (scores, Tensor::new(self.k, all).map(Block::I64))
            }
        };
        let distances = Tensor::new(self.k, distances).ok_or_else(whole)?;
        let extra = |name: &str, block: Block| Extra { name: name.into(), block, list: true, inner: 0 };
        let extras = vec![extra("distances", distances.into()), extra("labels", neighbours.ok_or_else(whole)?)];
        let scores = scores.ok_or_else(whole)?;
        let labels = (self.predictor == Predictor::Classifier).then(|| scores.clone());
        Ok(Output { labels, extras, form: Form::Labels, ..Output::scores(scores, false) })
    }

    fn weight(&self) -> usize {
        let labels = match &self.labels {
            Labels::F32(labels) => labels.len() * 4,
            Labels::I64(labels) => labels.len() * 8,
        };
        size_of::<Self>() + self.schema.names.weight() + labels + self.points.weight()
    }

    fn cost(&self, rows: usize) -> u64 {
        // About a third of a nanosecond a value.
        (self.points.count() as u64 * self.schema.features as u64 / 3).saturating_mul(rows as u64)
    }
}

/// The most frequent label; the smallest of those equally frequent.
fn majority<T: Copy + Default>(labels: &[T], order: impl Fn(&T, &T) -> Ordering) -> T {
    let mut sorted = labels.to_vec();
    sorted.sort_unstable_by(&order);
    let mut best = (0, T::default());
    for run in sorted.chunk_by(|a, b| order(a, b).is_eq()) {
        if let [label, ..] = run
            && run.len() > best.0
        {
            best = (run.len(), *label);
        }
    }
    best.1
}

fn mean<T: Copy>(labels: &[T], wide: impl Fn(T) -> f64) -> f64 {
    labels.iter().map(|&label| wide(label)).sum::<f64>() / labels.len() as f64
}
