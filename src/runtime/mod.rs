//! Models: what a format must offer, which formats there are, and how bytes become one.
//!
//! [`prepare`] turns an uploaded artifact into its prepared form, with every check; [`load`] turns a prepared form
//! into a [`Model`] in microseconds. A format is one file here and one line in `FORMATS`; it is recognised by its
//! content. Must not know where bytes are kept or who asks. Next: `xgboost/mod.rs` as the example of a format,
//! `trees/mod.rs` for what tree formats become, `pipeline.rs` for models in a row.

pub(crate) mod knn;
mod lightgbm;
mod linear_learner;
mod onnx;
pub mod pipeline;
pub mod postprocess;
pub mod prepared;
pub(crate) mod random_cut_forest;
pub(crate) mod safetensors;
pub mod select;
pub mod trees;
mod xgboost;

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use smallvec::{SmallVec, smallvec};

pub use self::onnx::start_onnxruntime;
use crate::artifact::{Artifact, Member};
pub use crate::codec::answer::Extra;
use crate::codec::answer::{Answer, Form};
use crate::codec::columns::Columns;
use crate::codec::payload::Expect;
use crate::codec::pull::DEPTH_MAX;
use crate::error::{Error, Kind, Result};
use crate::names::shown;
use crate::tensor::{Block, Part, Tensor, ValueKind};

/// Every format, in the order they are tried.
const FORMATS: &[Format] = &[
    xgboost::FORMAT,
    xgboost::average::FORMAT,
    lightgbm::FORMAT,
    linear_learner::FORMAT,
    knn::FORMAT,
    random_cut_forest::FORMAT,
    onnx::FORMAT,
    onnx::HANDED_OVER,
];

/// All of them in a sentence for whoever is about to upload one.
pub const TAKEN: &str = "XGBoost and LightGBM models saved with `save_model`, pickled Boosters, ONNX models, SageMaker linear-learner artifacts, and what `rookery train` writes, bare or in a .tar.gz";

/// A model that answers. One instance serves all callers at once.
pub trait Model: Send + Sync + std::fmt::Debug {
    /// What rows it takes.
    fn schema(&self) -> &Schema;
    /// Answers every row of `input`: one block for each of the schema's parts, of its kind and width, all equally long.
    ///
    /// # Errors
    /// [`Kind::Model`] when it cannot answer.
    fn predict(&self, input: &[Block]) -> Result<Output>;
    /// As [`Model::predict`], but `None` once it takes longer than about `nanos`. A model for which [`Model::cost`] holds
    /// whatever the rows are need not look at the time.
    ///
    /// # Errors
    /// As [`Model::predict`].
    fn predict_within(&self, input: &[Block], nanos: u64) -> Result<Option<Output>> {
        let _ = nanos;
        self.predict(input).map(Some)
    }
    /// The numbers before the last transform: margins, linear scores.
    ///
    /// # Errors
    /// As [`Model::predict`], and [`Kind::Validation`] for a model that has no such numbers.
    fn raw(&self, input: &[Block]) -> Result<Block> {
        let _ = input;
        Err(Error::invalid("this model has no raw score"))
    }
    /// How much each column and, last, the bias adds to each raw score (exact SHAP values): per row, for each output
    /// `features + 1` numbers.
    ///
    /// # Errors
    /// As [`Model::raw`].
    fn explain(&self, input: &[Block]) -> Result<Block> {
        let _ = input;
        Err(Error::invalid("this model cannot explain its answers; tree models can"))
    }
    /// Bytes it holds in memory, all included.
    fn weight(&self) -> usize;
    /// About how long `rows` rows take, in nanoseconds, so that long work leaves the thread that accepts requests.
    fn cost(&self, rows: usize) -> u64;
}

/// What rows a model takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// The blocks it takes, in order; nearly every model takes one.
    pub parts: SmallVec<[Part; 1]>,
    /// Columns of all parts together.
    pub features: usize,
    /// Numbers answered per row.
    pub outputs: usize,
    /// Numbers held per row on the way, which may be more than are answered.
    pub spread: usize,
    /// The columns' names, in order; empty when the model carries none.
    pub names: Columns,
    /// What a value that a sparse row leaves out stands for: NaN where the model knows missing values, else 0.
    pub absent: f32,
    /// Whether a missing value (an empty cell, `null`) can be answered.
    pub missing: bool,
    /// Whether rows are dictionaries of numbers: a column that is missing, or not named, is 0.
    pub optional: bool,
}

impl Schema {
    /// What a payload must hold, at most `cells` values of it; JSON nests [`DEPTH_MAX`] levels at most unless the caller
    /// says otherwise.
    pub fn expect(&self, cells: usize) -> Expect<'_> {
        let Self { parts, features, names, absent, missing, optional, .. } = self;
        let (features, absent, missing, optional) = (*features, *absent, *missing, *optional);
        Expect { parts, features, names, absent, missing, optional, cells, depth: DEPTH_MAX }
    }

    /// The schema of a model that takes one matrix of `kind` and answers `outputs` numbers, where a missing value and
    /// what a sparse row leaves out are NaN.
    pub fn matrix(kind: ValueKind, features: usize, outputs: usize) -> Self {
        let part = Part { name: Box::default(), kind, columns: features };
        Self {
            parts: smallvec![part],
            features,
            outputs,
            spread: outputs,
            names: Columns::default(),
            absent: f32::NAN,
            missing: true,
            optional: false,
        }
    }
}

/// The one matrix of 32-bit numbers that `input` is.
///
/// # Errors
/// When it is something else: a mistake of the caller in this crate.
pub fn f32s(input: &[Block]) -> Result<&Tensor> {
    match input {
        [Block::F32(tensor)] => Ok(tensor),
        _ => Err(Error::new(Kind::Internal, "a model of 32-bit numbers was handed something else")),
    }
}

/// The one matrix of 64-bit numbers that `input` is.
///
/// # Errors
/// As [`f32s`].
pub fn f64s(input: &[Block]) -> Result<&Tensor<f64>> {
    match input {
        [Block::F64(tensor)] => Ok(tensor),
        _ => Err(Error::new(Kind::Internal, "a model of 64-bit numbers was handed something else")),
    }
}

/// What a model answers for rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// One row per input row.
    pub scores: Block,
    /// Whether a row's score is a list even if it holds one number.
    pub list: bool,
    /// The label of each row, for classifiers: one column.
    pub labels: Option<Block>,
    /// The labels there are, where they are known.
    pub classes: Option<Classes>,
    /// Whether the scores are probabilities of the labels.
    pub probabilities: bool,
    /// What else is answered, by name. Under [`Form::Labels`] only who asks for it is told.
    pub extras: Vec<Extra>,
    /// In which shape it is written.
    pub form: Form,
}

/// The labels a classifier chooses among, in the order of its scores.
#[derive(Debug, Clone, PartialEq)]
pub enum Classes {
    /// 0 up to this number, without it.
    Counted(usize),
    /// One row of them, as the model has them.
    Listed(Arc<Block>),
    /// The same where a score is not one label's but that of a pair of them.
    Paired(Arc<Block>),
}

impl Output {
    /// As it is encoded.
    pub fn answer(&self) -> Answer<'_> {
        let extras = if self.form == Form::Labels { &[][..] } else { &self.extras };
        Answer { extras, ..self.verbose() }
    }

    /// As it is encoded for who asks for all of it.
    pub fn verbose(&self) -> Answer<'_> {
        // Scores that are the labels are written once.
        let labels = self.labels.as_ref().filter(|_| self.form != Form::Labels);
        Answer { scores: &self.scores, list: self.list, labels, extras: &self.extras, form: self.form }
    }

    /// An answer of scores alone.
    pub fn scores(scores: impl Into<Block>, list: bool) -> Self {
        Self { scores: scores.into(), list, labels: None, classes: None, probabilities: false, extras: Vec::new(), form: Form::Predictions }
    }
}

/// The most bytes of categories that are told of a model that is not loaded. Of all its columns the file itself tells.
pub const CATEGORIES_BYTES: usize = 16 << 10;

/// What is known of a model without loading it; shown to users and kept beside its version.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The format's name, such as `xgboost`.
    pub format: String,
    /// What kind inside the format: an objective, a predictor type.
    pub kind: String,
    /// The version of the library that wrote it, where it says.
    pub library: Option<String>,
    /// Columns it takes.
    pub features: usize,
    /// Numbers it answers per row.
    pub outputs: usize,
    /// The names of the columns, where it has them.
    pub names: Vec<Box<str>>,
    /// What it takes, part by part, where its inputs have types and names of their own.
    #[serde(default)]
    pub inputs: Vec<Part>,
    /// What it answers, one by one, where its outputs have types and names of their own.
    #[serde(default)]
    pub answers: Vec<Answered>,
    /// Trees, for ensembles.
    pub trees: Option<usize>,
    /// Of columns whose categories may be sent as texts, these, by the column's name or number: as many columns as fit
    /// [`CATEGORIES_BYTES`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub categories: Vec<(String, Vec<Box<str>>)>,
    /// Bytes in memory when loaded.
    pub weight: usize,
    /// Bytes of its largest array alone (a tree ensemble's nodes), to judge the overhead by.
    pub core: usize,
}

/// Something a model answers for each row.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// What the model calls it.
    pub name: Box<str>,
    /// What an answer calls it: `score`, `predicted_label` or the model's own word.
    pub answered: Box<str>,
    /// The type of its values.
    pub kind: ValueKind,
    /// How many values.
    pub columns: usize,
}

/// An artifact made ready.
#[derive(Debug)]
pub struct Prepared {
    /// What it is.
    pub summary: Summary,
    /// The prepared form.
    pub bytes: Vec<u8>,
}

/// A format's entry.
struct Format {
    name: &'static str,
    /// Whether the bytes begin like this format.
    recognises: fn(&[u8]) -> bool,
    /// Takes the file, so that it goes as soon as it is read.
    prepare: fn(Bytes) -> Result<Prepared>,
    load: fn(&mut dyn Read, u64) -> Result<Box<dyn Model>>,
}

/// Whether a file that begins with `head`, [`HEAD`](crate::artifact::HEAD) bytes of it, may be of a known format. What is
/// refused here need not be read: no format recognises it whatever follows.
pub fn may_be_known(head: &[u8]) -> bool {
    // What names a graph, and an array file's format, may stand behind longer things.
    FORMATS.iter().any(|format| (format.recognises)(head)) || onnx::may_begin(head) || safetensors::may_begin(head)
}

/// Checks an artifact and makes its prepared form.
///
/// # Errors
/// [`Kind::Validation`] naming the member and the reason.
pub fn prepare(artifact: Artifact) -> Result<Prepared> {
    let known: Vec<(&Member, &Format)> = artifact
        .members()
        .iter()
        .filter_map(|member| Some((member, FORMATS.iter().find(|format| (format.recognises)(&member.bytes))?)))
        .collect();
    // What was trained beside a model is often kept beside it: a pickled preprocessor, NumPy's arrays. Alone such a file is
    // refused by its own format's words, which say more.
    let own: Vec<_> = known.iter().copied().filter(|(member, format)| !is_foreign(&member.bytes, format)).collect();
    let known = if own.is_empty() { known } else { own };
    // SageMaker's containers read what lies at the top of the archive: checkpoints and code in folders beside it are no
    // members of the ensemble.
    let boosters = known.len() > 1 && known.iter().all(|(_, format)| format.name == xgboost::FORMAT.name);
    let at_top = |member: &Member| !member.name.strip_prefix("./").unwrap_or(&member.name).contains('/');
    let top: Vec<_> = known.iter().copied().filter(|(member, _)| boosters && at_top(member)).collect();
    let known = if top.is_empty() { known } else { top };
    match known.as_slice() {
        [(member, format)] => {
            let (Member { name, bytes }, format) = ((*member).clone(), *format);
            drop(artifact);
            (format.prepare)(bytes).map_err(|error| match name.as_str() {
                "" => error,
                name => error.within(format_args!("member `{}`", shown(name))),
            })
        }
        [] => Err(unknown(&artifact)),
        several if several.iter().all(|(_, format)| format.name == xgboost::FORMAT.name) => {
            let files: Vec<&Member> = several.iter().map(|(member, _)| *member).collect();
            xgboost::average::prepare(&files)
        }
        [(first, _), (second, _), ..] => Err(Error::invalid(format!(
            "the archive holds several models (`{}`, `{}`); upload each under its own path",
            shown(&first.name),
            shown(&second.name)
        ))),
    }
}

/// Whether a member only begins like `format`: any pickle may be a Booster by its first bytes, any ZIP a linear learner.
fn is_foreign(bytes: &[u8], format: &Format) -> bool {
    match format.name {
        name if name == xgboost::FORMAT.name => xgboost::is_foreign(bytes),
        name if name == linear_learner::FORMAT.name => linear_learner::is_foreign(bytes),
        _ => false,
    }
}

/// Whether a kept prepared form of `format` is what the artifact gives; one of another layout passes where the artifact
/// can still be prepared, or, of a graph that was handed over, be read.
///
/// # Errors
/// When the artifact can be prepared no more, or the form is damaged.
pub fn agrees(format: &str, artifact: Artifact, kept: &[u8]) -> Result<bool> {
    let is_current = prepared::is_current(kept);
    if format == onnx::HANDED_OVER.name {
        // Only the other runtime can make it again, and that may not be here; the form is a head and the file itself.
        let mut files = artifact.members().iter().map(|member| &member.bytes);
        if is_current {
            let kept = onnx::handed_over(kept)?;
            return Ok(files.any(|file| **file == *kept));
        }
        return if files.any(onnx::is_graph) { Ok(true) } else { Err(unknown(&artifact)) };
    }
    let made = prepare(artifact)?;
    Ok(!is_current || made.bytes == kept)
}

fn unknown(artifact: &Artifact) -> Error {
    let takes = format!("Rookery takes {TAKEN}");
    match artifact.members() {
        [] => Error::invalid(format!("the archive holds no file; {takes}")),
        [one] if one.name.is_empty() => Error::invalid(format!("the file is not a known model format; {takes}")),
        members => {
            let names: Vec<String> = members.iter().take(5).map(|member| format!("`{}`", shown(&member.name))).collect();
            Error::invalid(format!("no member of the archive is a known model format (it holds {}); {takes}", names.join(", ")))
        }
    }
}

/// Reads a prepared form of `format` back into a model.
///
/// # Errors
/// When the form is damaged or of a format this build does not know; [`Kind::Unavailable`] when it was made for a runtime
/// that was not started.
pub fn load(format: &str, source: &mut dyn Read, length: u64) -> Result<Box<dyn Model>> {
    let known = FORMATS.iter().find(|known| known.name == format);
    let known = known.ok_or_else(|| Error::new(Kind::Internal, format!("this build cannot load models of format `{format}`")))?;
    (known.load)(source, length)
}

/// Whether loading a model of `format` may take seconds, so that nothing that others wait for should be held meanwhile.
pub fn loads_slowly(format: &str) -> bool {
    format == onnx::HANDED_OVER.name
}
