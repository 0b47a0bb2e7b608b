//! A declarative last stage: what is done to scores after the model, without a model of its own.
//!
//! In this order: `clip` keeps every score between two bounds; `labels` names the label by the largest score or, of one
//! score, by whether it is above `threshold`; `topK` keeps the largest scores of a row with the labels they belong to, of
//! `labels` or else the model's own; `round` keeps so many decimals. Knows no models. Next: `pipeline.rs`.

use serde::{Deserialize, Serialize};

use super::{Classes, Extra, Output};
use crate::error::{Error, Kind, Result};
use crate::names::counted;
use crate::tensor::{Block, Tensor, ValueKind};

/// Decimals beyond these change nothing in an `f64`.
const DECIMALS_MAX: u32 = 15;
const LABELS_MAX: usize = 100_000;

/// The settings as written.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Postprocess {
    /// The least and the greatest score.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clip: Option<[f64; 2]>,
    /// The names of the classes, in the order of the scores.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Box<str>>,
    /// Above it, one score is the second label; 0.5 when not written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f64>,
    /// How many of a row's scores to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
    /// How many decimals to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub round: Option<u32>,
}

impl Postprocess {
    /// Checks what is written.
    ///
    /// # Errors
    /// Naming the setting and what it takes.
    pub fn check(&self) -> Result<()> {
        if *self == Self::default() {
            return Err(Error::invalid("`postprocess` is empty; set `clip`, `labels`, `threshold`, `topK` or `round`"));
        }
        if let Some([low, high]) = self.clip
            && !(low.is_finite() && high.is_finite() && low <= high)
        {
            return Err(Error::invalid("`clip` takes two numbers, the lower first"));
        }
        if self.labels.len() == 1 || self.labels.len() > LABELS_MAX {
            return Err(Error::invalid(format!("`labels` takes 2 to {LABELS_MAX} names")));
        }
        if self.threshold.is_some_and(|threshold| !threshold.is_finite()) || (self.threshold.is_some() && self.labels.len() != 2) {
            return Err(Error::invalid("`threshold` takes a number and belongs to two `labels`"));
        }
        if self.top_k == Some(0) {
            return Err(Error::invalid("`topK` takes 1 or more"));
        }
        if self.round.is_some_and(|decimals| decimals > DECIMALS_MAX) {
            return Err(Error::invalid(format!("`round` takes 0 to {DECIMALS_MAX} decimals")));
        }
        Ok(())
    }

    /// Applies it to an answer.
    ///
    /// # Errors
    /// [`Kind::Model`] when the scores are no numbers or not as many as labels.
    pub fn apply(&self, mut output: Output) -> Result<Output> {
        let kind = output.scores.kind();
        let Some(Block::F64(mut scores)) = output.scores.to(ValueKind::F64) else {
            return Err(Error::new(Kind::Model, "the stage before gives text; `postprocess` takes numbers"));
        };
        if let Some([low, high]) = self.clip {
            scores.values_mut().iter_mut().for_each(|value| *value = value.clamp(low, high));
        }
        let width = scores.columns();
        if !self.labels.is_empty() {
            let expected = if width == 1 { 2 } else { width };
            if self.labels.len() != expected {
                let text = format!(
                    "`postprocess` has {} labels; the stage before gives {} per row, which takes {expected}",
                    self.labels.len(),
                    counted(width, "score")
                );
                return Err(Error::new(Kind::Model, text));
            }
            let threshold = self.threshold.unwrap_or(0.5);
            let name = |row: &[f64]| {
                let at = if let [score] = row { usize::from(*score > threshold) } else { largest_first(row).first().copied().unwrap_or(0) };
                self.labels.get(at).cloned().unwrap_or_default()
            };
            output.labels = Tensor::new(1, scores.iter().map(name).collect()).map(Block::Text);
        }
        if let Some(count) = self.top_k
            && width > 1
        {
            scores = self.keep(&scores, count.min(width), &mut output)?;
        }
        if let Some(decimals) = self.round {
            let factor = 10f64.powi(i32::try_from(decimals).unwrap_or_default());
            scores.values_mut().iter_mut().for_each(|value| {
                let rounded = (*value * factor).round_ties_even() / factor;
                *value = if rounded.is_finite() { rounded } else { *value };
            });
        }
        output.scores = Block::F64(scores).to(kind).ok_or_else(|| Error::new(Kind::Internal, "numbers became other than numbers"))?;
        Ok(output)
    }

    /// The `count` largest scores of each row; their labels stand beside them as `labels`.
    fn keep(&self, scores: &Tensor<f64>, count: usize, output: &mut Output) -> Result<Tensor<f64>> {
        let (mut kept, mut places) = (Vec::new(), Vec::new());
        for row in scores.iter() {
            for at in largest_first(row).into_iter().take(count) {
                kept.extend(row.get(at));
                places.push(at);
            }
        }
        let block = match &output.classes {
            _ if !self.labels.is_empty() => {
                let names = places.iter().map(|&at| self.labels.get(at).cloned().unwrap_or_default()).collect();
                Tensor::new(count, names).map(Block::Text)
            }
            Some(Classes::Listed(classes)) if classes.columns() == scores.columns() => classes.pick(count, &places),
            _ => Tensor::new(count, places.iter().map(|&at| i64::try_from(at).unwrap_or(i64::MAX)).collect()).map(Block::I64),
        };
        let whole = || Error::new(Kind::Internal, "kept scores are no whole rows");
        output.extras.push(Extra { name: "labels".into(), block: block.ok_or_else(whole)?, list: true, inner: 0 });
        output.list = true;
        Tensor::new(count, kept).ok_or_else(whole)
    }
}

/// Places by falling score; of equal ones the earlier first.
fn largest_first(row: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|&a, &b| row.get(b).zip(row.get(a)).map_or(std::cmp::Ordering::Equal, |(b, a)| b.total_cmp(a)));
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(written: &str, columns: usize, scores: &[f32]) -> Output {
        let settings: Postprocess = serde_json::from_str(written).unwrap();
        settings.check().unwrap();
        settings.apply(Output::scores(Tensor::new(columns, scores.to_vec()).unwrap(), columns > 1)).unwrap()
    }

    fn texts(columns: usize, values: &[&str]) -> Block {
        Block::Text(Tensor::new(columns, values.iter().map(|&value| value.into()).collect()).unwrap())
    }

    #[test]
    fn scores_are_clipped_named_kept_and_rounded() {
        let output = apply(r#"{"clip":[0,1],"round":1,"labels":["no","yes"]}"#, 1, &[-3.0, 0.46, 7.0]);
        assert_eq!(output.scores, Tensor::new(1, vec![0.0f32, 0.5, 1.0]).unwrap().into());
        assert_eq!(output.labels, Some(texts(1, &["no", "no", "yes"])));
        let output = apply(r#"{"topK":2,"labels":["a","b","c"]}"#, 3, &[0.2, 0.5, 0.3, 0.4, 0.2, 0.4]);
        assert_eq!(output.scores, Tensor::new(2, vec![0.5f32, 0.3, 0.4, 0.4]).unwrap().into());
        assert_eq!(output.extras[0].block, texts(2, &["b", "c", "a", "c"]));
        assert_eq!(apply(r#"{"topK":1}"#, 2, &[1.0, 2.0]).extras[0].block, Tensor::new(1, vec![1i64]).unwrap().into());
    }

    #[test]
    fn kept_scores_are_told_by_the_labels_of_their_model() {
        let kept = |classes: Block| {
            let scores = Output::scores(Tensor::new(3, vec![0.2f32, 0.5, 0.3]).unwrap(), true);
            let settings = Postprocess { top_k: Some(2), ..Postprocess::default() };
            settings.apply(Output { classes: Some(Classes::Listed(classes.into())), ..scores }).unwrap().extras.remove(0).block
        };
        assert_eq!(kept(Tensor::new(3, vec![0i64, 3, 7]).unwrap().into()), Tensor::new(2, vec![3i64, 7]).unwrap().into());
        assert_eq!(kept(texts(3, &["a", "b", "c"])), texts(2, &["b", "c"]));
        // Scores that are not one a label, as those of pairs of classes, keep their places.
        assert_eq!(kept(texts(2, &["a", "b"])), Tensor::new(2, vec![1i64, 2]).unwrap().into());
        let scores = Output::scores(Tensor::new(3, vec![0.2f32, 0.5, 0.3]).unwrap(), true);
        let pairs = Output { classes: Some(Classes::Paired(texts(3, &["a", "b", "c"]).into())), ..scores };
        let settings = Postprocess { top_k: Some(2), ..Postprocess::default() };
        assert_eq!(settings.apply(pairs).unwrap().extras[0].block, Tensor::new(2, vec![1i64, 2]).unwrap().into());
    }

    #[test]
    fn settings_without_sense_are_refused() {
        for written in ["{}", r#"{"clip":[1,0]}"#, r#"{"labels":["one"]}"#, r#"{"threshold":0.3}"#, r#"{"topK":0}"#, r#"{"round":16}"#] {
            let settings: Postprocess = serde_json::from_str(written).unwrap();
            assert!(settings.check().is_err(), "{written}");
        }
        let settings: Postprocess = serde_json::from_str(r#"{"labels":["a","b","c"]}"#).unwrap();
        assert!(settings.apply(Output::scores(Tensor::new(2, vec![0.1f32, 0.9]).unwrap(), true)).is_err());
    }
}
