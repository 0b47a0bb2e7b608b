//! Models: what a format must offer, which formats there are, and how bytes become one.
//!
//! [`prepare`] turns an uploaded artifact into its prepared form, with every check; [`load`] turns a prepared form
//! into a [`Model`] in microseconds. A format is one file here and one line in `FORMATS`; it is recognised by its
//! content. Must not know where bytes are kept or who asks. Next: `xgboost/mod.rs` as the example of a format,
//! `trees/mod.rs` for what tree formats become, `pipeline.rs` for models in a row.

mod linear_learner;
pub mod pipeline;
pub mod prepared;
pub mod trees;
mod xgboost;

use std::io::Read;

use serde::{Deserialize, Serialize};

use crate::artifact::{Artifact, Member};
use crate::error::{Error, Result};
use crate::names::shown;
use crate::tensor::Tensor;

/// Every format, in the order they are tried.
const FORMATS: &[Format] = &[xgboost::FORMAT, linear_learner::FORMAT];

/// A model that answers. One instance serves all callers at once.
pub trait Model: Send + Sync + std::fmt::Debug {
    /// What rows it takes.
    fn schema(&self) -> &Schema;
    /// Answers every row of `input`, which has the schema's width.
    ///
    /// # Errors
    /// [`Kind::Model`](crate::error::Kind::Model) when it cannot answer.
    fn predict(&self, input: &Tensor) -> Result<Output>;
    /// The numbers before the last transform: margins, linear scores.
    ///
    /// # Errors
    /// As [`Model::predict`].
    fn raw(&self, input: &Tensor) -> Result<Tensor>;
    /// Bytes it holds in memory, all included.
    fn weight(&self) -> usize;
    /// About how long `rows` rows take, in nanoseconds, so that long work leaves the thread that accepts requests.
    fn cost(&self, rows: usize) -> u64;
}

/// What rows a model takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Schema {
    /// Columns.
    pub features: usize,
    /// Numbers answered per row.
    pub outputs: usize,
    /// Numbers held per row on the way, which may be more than are answered.
    pub spread: usize,
    /// The columns' names, in order; empty when the model carries none.
    pub names: Vec<Box<str>>,
    /// What a value that a sparse row leaves out stands for: NaN where the model knows missing values, else 0.
    pub absent: f32,
    /// Whether a missing value (an empty cell, `null`) can be answered.
    pub missing: bool,
}

/// What a model answers for rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Output {
    /// One row per input row.
    pub scores: Tensor,
    /// Whether a row's score is a list even if it holds one number.
    pub list: bool,
    /// The label of each row, for classifiers.
    pub labels: Option<Vec<f32>>,
}

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
    /// Trees, for ensembles.
    pub trees: Option<usize>,
    /// Bytes in memory when loaded.
    pub weight: usize,
    /// Bytes of its largest array alone (a tree ensemble's nodes), to judge the overhead by.
    pub core: usize,
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
    prepare: fn(&[u8]) -> Result<Prepared>,
    load: fn(&mut dyn Read, u64) -> Result<Box<dyn Model>>,
}

/// Checks an artifact and makes its prepared form.
///
/// # Errors
/// [`Kind::Validation`](crate::error::Kind::Validation) naming the member and the reason.
pub fn prepare(artifact: &Artifact) -> Result<Prepared> {
    let known: Vec<(&Member, &Format)> = artifact
        .members()
        .iter()
        .filter_map(|member| Some((member, FORMATS.iter().find(|format| (format.recognises)(&member.bytes))?)))
        .collect();
    match known.as_slice() {
        [(member, format)] => (format.prepare)(&member.bytes).map_err(|error| match member.name.as_str() {
            "" => error,
            name => error.within(format_args!("member `{}`", shown(name))),
        }),
        [] => Err(unknown(artifact)),
        [(first, _), (second, _), ..] => Err(Error::invalid(format!(
            "the archive holds several models (`{}`, `{}`); upload each under its own path",
            shown(&first.name),
            shown(&second.name)
        ))),
    }
}

fn unknown(artifact: &Artifact) -> Error {
    let takes = "Rookery takes XGBoost models saved with `save_model` as .json or .ubj, and SageMaker linear-learner artifacts, bare or in a .tar.gz";
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
/// When the form is damaged or of a format this build does not know.
pub fn load(format: &str, source: &mut dyn Read, length: u64) -> Result<Box<dyn Model>> {
    let known = FORMATS.iter().find(|known| known.name == format);
    let known =
        known.ok_or_else(|| Error::new(crate::error::Kind::Internal, format!("this build cannot load models of format `{format}`")))?;
    (known.load)(source, length)
}
