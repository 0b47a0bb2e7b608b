//! What a linear learner minimises: the loss of one row by its linear scores, and the slope of it.
//!
//! Knows neither tables nor weights. Next: `linear_learner.rs`.

/// A loss, with what it takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Loss {
    /// `(score - label)² / 2`
    Squared,
    /// `|score - label|`
    Absolute,
    /// `r²/2` up to this distance, from there on straight.
    Huber(f64),
    /// The pinball loss whose minimum is this quantile, above 0 and below 1.
    Quantile(f64),
    /// `log(1 + exp(-score))` for label 1, `log(1 + exp(score))` for label 0.
    Logistic,
    /// The cross-entropy of the softmax of the scores.
    Softmax,
}

impl Loss {
    /// Whether it has a kink, so that it is minimised by way of rounded versions of itself.
    pub(super) fn kinked(self) -> bool {
        matches!(self, Self::Absolute | Self::Quantile(_))
    }

    /// The loss of a row; `scores` become its slopes. A kink is rounded over `width` (Moreau's envelope); at 0 it stays.
    pub(super) fn row(self, scores: &mut [f64], label: f64, width: f64) -> f64 {
        if self == Self::Softmax {
            return softmax(scores, label);
        }
        let [score] = scores else { return 0.0 };
        let past = *score - label;
        let (loss, slope) = match self {
            Self::Squared => (past * past / 2.0, past),
            Self::Huber(bend) if past.abs() <= bend => (past * past / 2.0, past),
            Self::Huber(bend) => (bend * past.abs() - bend * bend / 2.0, bend * past.signum()),
            Self::Absolute => {
                let (loss, slope) = pinball(past, 0.5, width / 2.0);
                (2.0 * loss, 2.0 * slope)
            }
            Self::Quantile(quantile) => pinball(past, quantile, width),
            Self::Logistic | Self::Softmax => {
                // log(1 + e^s) - label·s, without overflow.
                let chance = 1.0 / (1.0 + (-*score).exp());
                (score.max(0.0) + (-score.abs()).exp().ln_1p() - label * *score, chance - label)
            }
        };
        *score = slope;
        loss
    }
}

/// The pinball loss of a score `past` its label, rounded over `width`, and its slope.
fn pinball(past: f64, quantile: f64, width: f64) -> (f64, f64) {
    let (above, below) = (1.0 - quantile, quantile);
    if past > above * width {
        (above * past - above * above * width / 2.0, above)
    } else if past < -below * width {
        (-below * past - below * below * width / 2.0, -below)
    } else if width > 0.0 {
        (past * past / (2.0 * width), past / width)
    } else {
        (0.0, 0.0)
    }
}

fn softmax(scores: &mut [f64], label: f64) -> f64 {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let own = scores.get(label as usize).copied().unwrap_or_default();
    let mut sum = 0.0;
    for score in scores.iter_mut() {
        *score = (*score - largest).exp();
        sum += *score;
    }
    scores.iter_mut().for_each(|score| *score /= sum);
    if let Some(score) = scores.get_mut(label as usize) {
        *score -= 1.0;
    }
    largest + sum.ln() - own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_the_slopes_of_the_losses() {
        let step = 1e-6;
        for loss in [Loss::Squared, Loss::Absolute, Loss::Huber(0.7), Loss::Quantile(0.9), Loss::Logistic] {
            for score in [-30.0, -0.6, 0.05, 0.4, 2.0, 800.0] {
                for width in [0.3, 1e-3] {
                    let at = |score: f64| loss.row(&mut [score], 1.0, width);
                    let mut slope = [score];
                    loss.row(&mut slope, 1.0, width);
                    let found = (at(score + step) - at(score - step)) / (2.0 * step);
                    assert!((found - slope[0]).abs() < 1e-4 * slope[0].abs().max(1.0), "{loss:?} at {score}: {found} for {slope:?}");
                }
            }
        }
        let (mut slopes, base) = ([0.3, -1.0, 900.0], [0.3, -1.0, 900.0]);
        let loss = Loss::Softmax.row(&mut slopes, 0.0, 0.0);
        assert!(
            (loss - 899.7).abs() < 1e-9 && (slopes[0] + 1.0).abs() < 1e-9 && (slopes[2] - 1.0).abs() < 1e-9,
            "{base:?}: {loss} {slopes:?}"
        );
    }
}
