//! What of an answer is shown, by SageMaker's words: `predicted_label`, `labels`, `probability`, `probabilities`,
//! `raw_score`, `raw_scores`, `predicted_score`, and our own `score`.
//!
//! The words mean what AWS's XGBoost container means by them (environment variable `SAGEMAKER_INFERENCE_OUTPUT`): a raw
//! score is the library's answer itself, a binary classifier's list is `[1 - p, p]`. Where a model has no such thing the
//! request is refused: a missing number is never sent. Next: `pipeline.rs`, which applies it to a stage.

use serde::{Deserialize, Serialize};

use super::pipeline::{CELLS_MAX, TEXT_MAX};
use super::{Classes, Extra, Output};
use crate::codec::answer::{Form, text_bytes};
use crate::error::{Error, Kind, Result};
use crate::names::shown;
use crate::tensor::{Block, Tensor, ValueKind};

/// One thing that can be asked of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selected {
    /// What the model's own library answers.
    Score,
    /// The label, of classifiers.
    PredictedLabel,
    /// Every label there is, in the order of the probabilities.
    Labels,
    /// Of the label 1, or of the likeliest.
    Probability,
    /// Of every label.
    Probabilities,
    /// The number behind the label.
    RawScore,
    /// The number of every label.
    RawScores,
    /// The number a regression answers.
    PredictedScore,
}

const WORDS: [(&str, Selected); 8] = [
    ("score", Selected::Score),
    ("predicted_label", Selected::PredictedLabel),
    ("labels", Selected::Labels),
    ("probability", Selected::Probability),
    ("probabilities", Selected::Probabilities),
    ("raw_score", Selected::RawScore),
    ("raw_scores", Selected::RawScores),
    ("predicted_score", Selected::PredictedScore),
];

impl Selected {
    /// Reads the words of a list such as `predicted_label, probability`.
    ///
    /// # Errors
    /// An unknown word, one that stands twice, none at all.
    pub fn parse_list<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<Self>> {
        let mut list = Vec::new();
        for word in words {
            let lower = word.trim().to_ascii_lowercase();
            let Some((_, one)) = WORDS.iter().find(|(name, _)| *name == lower) else {
                let names: Vec<&str> = WORDS.iter().map(|(name, _)| *name).collect();
                return Err(Error::invalid(format!("`{}` is no output; choose of {}", shown(word), names.join(", "))));
            };
            if list.contains(one) {
                return Err(Error::invalid(format!("output `{lower}` stands twice")));
            }
            list.push(*one);
        }
        if list.is_empty() {
            return Err(Error::invalid("no output is chosen; name one, such as `predicted_label`"));
        }
        Ok(list)
    }

    /// All there are.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        WORDS.iter().map(|(_, one)| *one)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        WORDS.iter().find(|(_, one)| *one == self).map_or("", |(word, _)| word)
    }

    /// It, of `output`: one or more values per row, and whether they are a list.
    ///
    /// # Errors
    /// [`Kind::Validation`] when the model has no such thing, [`Kind::TooLarge`] when it is too much for every row.
    pub fn of(self, output: &Output) -> Result<(Block, bool)> {
        let none = || Error::invalid(format!("the model's answer has no `{}`; choose another output for the stage", self.word()));
        let classifier = output.labels.is_some();
        // Nearest neighbours answer a label and no number behind it.
        let labels_alone = output.form == Form::Labels;
        match self {
            Self::Score => Ok((output.scores.clone(), output.list)),
            Self::PredictedScore if !classifier && !output.list => Ok((output.scores.clone(), false)),
            Self::PredictedLabel if labels_alone => Ok((output.scores.clone(), false)),
            Self::PredictedLabel => output.labels.clone().map(|labels| (labels, false)).ok_or_else(none),
            Self::Probability if output.probabilities => largest(&output.scores).map(|block| (block, false)).ok_or_else(none),
            Self::Probabilities if output.probabilities => both(&output.scores).map(|block| (block, true)).ok_or_else(none),
            Self::RawScore if classifier && !labels_alone => largest(&output.scores).map(|block| (block, false)).ok_or_else(none),
            Self::RawScores if classifier && !labels_alone => both(&output.scores).map(|block| (block, true)).ok_or_else(none),
            Self::Labels => {
                let classes = output.classes.as_ref().filter(|_| classifier).ok_or_else(none)?;
                labels(classes, output.scores.rows()).map(|block| (block, true))
            }
            Self::PredictedScore | Self::Probability | Self::Probabilities | Self::RawScore | Self::RawScores => Err(none()),
        }
    }
}

/// Shows of `output` only what `selected` names, in its order.
///
/// # Errors
/// As [`Selected::of`].
pub(super) fn select(output: &Output, selected: &[Selected]) -> Result<Output> {
    let one = |selected: &Selected| {
        let (block, list) = selected.of(output)?;
        Ok(Extra { name: selected.word().into(), block, list, inner: 0 })
    };
    let extras = selected.iter().map(one).collect::<Result<Vec<_>>>()?;
    Ok(Output { extras, form: Form::Selected, ..output.clone() })
}

/// The largest number of each row; of one number, that.
fn largest(scores: &Block) -> Option<Block> {
    if scores.columns() == 1 {
        return Some(scores.clone());
    }
    let per_row =
        |values: std::slice::ChunksExact<'_, f64>| values.map(|row| row.iter().copied().fold(f64::NEG_INFINITY, f64::max)).collect();
    let kind = scores.kind();
    let wide = scores.to(ValueKind::F64)?;
    let wide = Block::F64(Tensor::new(1, per_row(wide.f64s()?.iter()))?);
    wide.to(kind)
}

/// Every label's number; of one number `p`, `[1 - p, p]`.
fn both(scores: &Block) -> Option<Block> {
    if scores.columns() != 1 {
        return Some(scores.clone());
    }
    Some(match scores {
        Block::F32(scores) => Tensor::new(2, scores.values().iter().flat_map(|&p| [1.0 - p, p]).collect())?.into(),
        Block::F64(scores) => Tensor::new(2, scores.values().iter().flat_map(|&p| [1.0 - p, p]).collect())?.into(),
        _ => return None,
    })
}

/// The labels there are, for each row.
fn labels(classes: &Classes, rows: usize) -> Result<Block> {
    let (count, text) = match classes {
        Classes::Counted(count) => (*count, 0),
        Classes::Listed(list) | Classes::Paired(list) => (list.columns(), text_bytes(list)),
    };
    // Written for every row, a long list is more than the model ever gave.
    if rows.saturating_mul(count) > CELLS_MAX || rows.saturating_mul(text) > TEXT_MAX {
        let text = format!("{rows} rows with {count} labels each are too much for one answer; send fewer rows");
        return Err(Error::new(Kind::TooLarge, text));
    }
    match classes {
        Classes::Counted(count) => {
            let numbers = (0i64..).take(*count).collect();
            let row = Tensor::new(*count, numbers).ok_or_else(|| Error::new(Kind::Internal, "a classifier has no class"))?;
            Ok(Block::I64(row).repeat(rows))
        }
        Classes::Listed(list) | Classes::Paired(list) => Ok(list.repeat(rows)),
    }
}
