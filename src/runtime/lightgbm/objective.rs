//! What LightGBM's objectives do to raw scores, in `f64` and in the library's order of operations.
//!
//! Formulas and aliases are those of the library's `ConvertOutput` and `ParseObjectiveAlias`. Knows no trees.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Kind, Result};
use crate::names::shown;
use crate::runtime::{Classes, Output};
use crate::tensor::{Block, Tensor};

/// The last transform.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Objective {
    /// Regression, ranking, a trainer's own.
    Identity,
    /// Regression on square roots: `sign(x) · x²`.
    Square,
    /// `eˣ`: Poisson, gamma, Tweedie.
    Exponential,
    /// `1 / (1 + e^(-k·x))`, labelled 1 above a half.
    Binary(f64),
    /// `1 / (1 + e^-x)`.
    CrossEntropy,
    /// `ln(1 + eˣ)`.
    CrossEntropyLambda,
    /// Softmax over the classes.
    Softmax,
    /// A sigmoid a class, as for binary.
    OneVersusAll(f64),
}

impl Objective {
    /// Parses the head's `objective` line for a model of `groups` outputs.
    ///
    /// # Errors
    /// Naming an objective that is not known, or one that does not fit the outputs.
    pub(super) fn parse(text: Option<&str>, groups: usize) -> Result<Self> {
        let mut words = text.unwrap_or("custom").split_ascii_whitespace();
        let name = words.next().unwrap_or("custom");
        let mut sigmoid = 1.0;
        let mut square = false;
        for word in words {
            if let Some(value) = word.strip_prefix("sigmoid:") {
                sigmoid =
                    value.parse().ok().filter(|k: &f64| k.is_finite() && *k > 0.0).ok_or_else(|| {
                        Error::invalid(format!("the objective's sigmoid is `{}`; it must be a number above 0", shown(value)))
                    })?;
            } else if let Some(value) = word.strip_prefix("num_class:") {
                if value.parse() != Ok(groups) {
                    return Err(Error::invalid(format!("the objective has `{}` classes, the model {groups}", shown(value))));
                }
            } else if word == "sqrt" {
                square = true;
            }
        }
        let found = match name {
            "custom" | "none" | "null" | "na" => return Ok(Self::Identity),
            "multiclass" | "softmax" => return Ok(Self::Softmax),
            "multiclassova" | "multiclass_ova" | "ova" | "ovr" => return Ok(Self::OneVersusAll(sigmoid)),
            "regression"
            | "regression_l2"
            | "mean_squared_error"
            | "mse"
            | "l2"
            | "l2_root"
            | "root_mean_squared_error"
            | "rmse"
            | "regression_l1"
            | "mean_absolute_error"
            | "l1"
            | "mae"
            | "fair"
            | "quantile"
            | "mape"
            | "mean_absolute_percentage_error" => {
                if square {
                    Self::Square
                } else {
                    Self::Identity
                }
            }
            "huber" | "lambdarank" | "rank_xendcg" | "xendcg" | "xe_ndcg" | "xe_ndcg_mart" | "xendcg_mart" => Self::Identity,
            "poisson" | "gamma" | "tweedie" => Self::Exponential,
            "binary" => Self::Binary(sigmoid),
            "cross_entropy" | "xentropy" => Self::CrossEntropy,
            "cross_entropy_lambda" | "xentlambda" => Self::CrossEntropyLambda,
            other => {
                return Err(Error::invalid(format!(
                    "the objective `{}` is not one of LightGBM's; train with one of them or save with `objective=custom`",
                    shown(other)
                )));
            }
        };
        if groups != 1 {
            return Err(Error::invalid(format!("the objective `{name}` has one output, the model {groups}")));
        }
        Ok(found)
    }

    /// Raw scores, `groups` per row, to the answer.
    pub(super) fn answer(self, mut scores: Vec<f64>, groups: usize) -> Result<Output> {
        let mut labels = None;
        match self {
            Self::Identity => {}
            Self::Square => scores.iter_mut().for_each(|x| *x = sign(*x) * *x * *x),
            Self::Exponential => scores.iter_mut().for_each(|x| *x = x.exp()),
            Self::CrossEntropy => scores.iter_mut().for_each(|x| *x = sigmoid(*x, 1.0)),
            Self::CrossEntropyLambda => scores.iter_mut().for_each(|x| *x = x.exp().ln_1p()),
            Self::Binary(k) => {
                scores.iter_mut().for_each(|x| *x = sigmoid(*x, k));
                labels = Some(scores.iter().map(|&p| i64::from(p > 0.5)).collect());
            }
            Self::Softmax => {
                scores.chunks_exact_mut(groups).for_each(softmax);
                labels = Some(scores.chunks_exact(groups).map(arg_max).collect());
            }
            Self::OneVersusAll(k) => {
                scores.iter_mut().for_each(|x| *x = sigmoid(*x, k));
                labels = Some(scores.chunks_exact(groups).map(arg_max).collect());
            }
        }
        let rows = || Error::new(Kind::Internal, "scores are no whole rows");
        let scores = Tensor::new(groups, scores).ok_or_else(rows)?;
        let labels = labels.map(|labels| Tensor::new(1, labels).ok_or_else(rows)).transpose()?.map(Block::I64);
        let probabilities = labels.is_some();
        let classes = labels.is_some().then_some(Classes::Counted(groups.max(2)));
        Ok(Output { labels, classes, probabilities, ..Output::scores(scores, groups > 1) })
    }
}

/// 0 for 0, unlike [`f64::signum`].
fn sign(x: f64) -> f64 {
    f64::from(i8::from(x > 0.0) - i8::from(x < 0.0))
}

fn sigmoid(x: f64, k: f64) -> f64 {
    1.0 / (1.0 + (-k * x).exp())
}

fn softmax(row: &mut [f64]) {
    let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut sum = 0.0;
    for value in row.iter_mut() {
        *value = (*value - largest).exp();
        sum += *value;
    }
    for value in row {
        *value /= sum;
    }
}

/// The first of the largest.
fn arg_max(row: &[f64]) -> i64 {
    let mut best = (0, f64::NEG_INFINITY);
    for (index, &value) in (0..).zip(row) {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_are_known_by_every_name_and_refused_by_name() {
        assert_eq!(Objective::parse(Some("binary sigmoid:0.7"), 1).unwrap(), Objective::Binary(0.7));
        assert_eq!(Objective::parse(Some("regression sqrt"), 1).unwrap(), Objective::Square);
        assert_eq!(Objective::parse(Some("huber sqrt"), 1).unwrap(), Objective::Identity);
        assert_eq!(Objective::parse(Some("xentropy"), 1).unwrap(), Objective::CrossEntropy);
        assert_eq!(Objective::parse(None, 4).unwrap(), Objective::Identity);
        for (text, groups, word) in [
            ("binary sigmoid:0", 1, "above 0"),
            ("binary", 2, "one output"),
            ("multiclass num_class:3", 4, "`3` classes"),
            ("divination", 1, "`divination`"),
        ] {
            let error = Objective::parse(Some(text), groups).unwrap_err();
            assert!(error.message().contains(word), "{}", error.message());
        }
    }
}
