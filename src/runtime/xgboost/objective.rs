//! What each XGBoost objective does to numbers: base score to margin, margin to answer, answer to label.
//!
//! The formulas are the library's, in its precision: sigmoid as `1 / (exp(min(-x, 88.7)) + 1 + 1e-16)` in `f32`,
//! softmax with `f32` exponentials and an `f64` sum, `exp` and `log` from the C library. Where versions of the library
//! differ, the one that wrote the model is followed. Knows no trees.

use serde::{Deserialize, Serialize};

use super::super::{Classes, Output};
use crate::error::{Error, Kind, Result};
use crate::names::shown;
use crate::tensor::{Block, Tensor};

/// Objectives that treat numbers alike are one here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Objective {
    /// The margin is the answer.
    Identity,
    /// A probability.
    Logistic,
    /// As logistic, with base scores first kept off 0 and 1, as 3.2 began to.
    LogisticClamped,
    /// Each row's margins in ascending order: quantiles since 3.4.
    Sorted,
    /// Each margin a step above the one before it.
    Expectile,
    /// 1 above 0, else 0.
    Hinge,
    /// The exponential of the margin.
    Exponential,
    /// A probability per class.
    SoftMax,
    /// The class with the largest margin.
    ArgMax,
    /// The margin, of the second class above 0.
    Logit,
    /// As that, with base scores that are probabilities: `binary:logitraw` before 1.3.
    LogitOfShare,
}

impl Objective {
    /// The objective the model names, as `version` of the library has it.
    pub(super) fn named(name: &str, version: (i32, i32)) -> Result<Self> {
        Ok(match name {
            "reg:quantileerror" if version >= (3, 4) => Self::Sorted,
            "binary:logitraw" if version < (1, 3) => Self::LogitOfShare,
            "binary:logitraw" => Self::Logit,
            "reg:squarederror"
            | "reg:linear"
            | "reg:squaredlogerror"
            | "reg:pseudohubererror"
            | "reg:absoluteerror"
            | "reg:quantileerror"
            | "rank:pairwise"
            | "rank:ndcg"
            | "rank:map" => Self::Identity,
            "reg:expectileerror" => Self::Expectile,
            "reg:logistic" | "binary:logistic" if version >= (3, 2) => Self::LogisticClamped,
            "reg:logistic" | "binary:logistic" => Self::Logistic,
            "binary:hinge" => Self::Hinge,
            "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => Self::Exponential,
            "multi:softprob" => Self::SoftMax,
            "multi:softmax" => Self::ArgMax,
            other => return Err(Error::invalid(format!("the XGBoost objective `{}` is not known", shown(other)))),
        })
    }

    /// Numbers answered per row of `groups` margins.
    pub(super) fn outputs(self, groups: usize) -> usize {
        if self == Self::ArgMax { 1 } else { groups }
    }

    /// The margins of base scores, one per output; the file holds them in the answer's space.
    pub(super) fn margins(self, scores: &mut [f32]) {
        match self {
            Self::Logistic | Self::LogitOfShare => scores.iter_mut().for_each(|x| *x = -(1.0 / *x - 1.0).ln()),
            Self::LogisticClamped => scores.iter_mut().for_each(|x| *x = -(1.0 / x.clamp(1e-6, 1.0 - 1e-6) - 1.0).ln()),
            Self::Exponential => scores.iter_mut().for_each(|x| *x = x.ln()),
            Self::Expectile => {
                // Each but the first is written as its distance from the one before.
                let mut before = scores.first().copied().unwrap_or_default();
                for score in scores.iter_mut().skip(1) {
                    let step = ((*score - before) - 1e-6).max(1e-6);
                    before = *score;
                    *score = step + (-(-step).exp_m1()).ln();
                }
            }
            Self::Identity | Self::Logit | Self::Sorted | Self::Hinge | Self::SoftMax | Self::ArgMax => {}
        }
    }

    /// Margins, `groups` per row, to the answer.
    #[expect(clippy::cast_precision_loss, reason = "class numbers are far below 2^24")]
    pub(super) fn answer(self, mut margins: Vec<f32>, groups: usize) -> Result<Output> {
        let (mut labels, mut probabilities) = (None::<Vec<i64>>, false);
        let mut width = groups;
        let mut list = groups > 1;
        match self {
            Self::Identity => {}
            Self::Logit | Self::LogitOfShare => labels = (groups == 1).then(|| margins.iter().map(|&x| i64::from(x > 0.0)).collect()),
            Self::Sorted => margins.chunks_exact_mut(groups).for_each(|row| row.sort_by(f32::total_cmp)),
            Self::Expectile => margins.chunks_exact_mut(groups).for_each(climb),
            Self::Logistic | Self::LogisticClamped => {
                margins.iter_mut().for_each(|x| *x = sigmoid(*x));
                labels = (groups == 1).then(|| margins.iter().map(|&p| i64::from(p > 0.5)).collect());
                probabilities = true;
            }
            Self::Hinge => {
                margins.iter_mut().for_each(|x| *x = f32::from(u8::from(*x > 0.0)));
                labels = (groups == 1).then(|| margins.iter().map(|&x| i64::from(x > 0.0)).collect());
            }
            Self::Exponential => margins.iter_mut().for_each(|x| *x = x.exp()),
            Self::SoftMax => {
                labels = Some(margins.chunks_exact(groups).map(arg_max).collect());
                margins.chunks_exact_mut(groups).for_each(softmax);
                (list, probabilities) = (true, true);
            }
            Self::ArgMax => {
                let classes: Vec<i64> = margins.chunks_exact(groups).map(arg_max).collect();
                margins = classes.iter().map(|&class| class as f32).collect();
                labels = Some(classes);
                (width, list) = (1, false);
            }
        }
        let rows = || Error::new(Kind::Internal, "margins are no whole rows");
        let scores = Tensor::new(width, margins).ok_or_else(rows)?;
        let labels = labels.map(|labels| Tensor::new(1, labels).ok_or_else(rows)).transpose()?.map(Block::I64);
        let classes = labels.is_some().then_some(Classes::Counted(groups.max(2)));
        Ok(Output { labels, classes, probabilities, ..Output::scores(scores, list) })
    }
}

/// Expectiles: every value after the first is a positive step above the one before.
fn climb(row: &mut [f32]) {
    let mut sum = row.first().copied().unwrap_or_default();
    for value in row.iter_mut().skip(1) {
        let softplus = if *value > 0.0 { *value + (-*value).exp().ln_1p() } else { value.exp().ln_1p() };
        sum += 1e-6 + softplus;
        *value = sum;
    }
}

fn sigmoid(x: f32) -> f32 {
    let denominator = (-x).min(88.7).exp() + 1.0 + 1e-16;
    1.0 / denominator
}

#[expect(clippy::cast_possible_truncation, reason = "the library sums in f64 and divides in f32")]
fn softmax(row: &mut [f32]) {
    let largest = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0f64;
    for value in row.iter_mut() {
        *value = (*value - largest).exp();
        sum += f64::from(*value);
    }
    for value in row {
        *value /= sum as f32;
    }
}

fn arg_max(row: &[f32]) -> i64 {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, &value) in (0..).zip(row) {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}
