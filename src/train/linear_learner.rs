//! Linear learners: weights that minimise a loss, packed as SageMaker's algorithm packs them.
//!
//! What is minimised is `mean loss + l1·Σ|w| + l2/2·Σw²` with every column (and for regressors the target) brought to
//! mean 0 and deviation 1, biases free; the scaling is folded back into weights and biases, so the model takes rows as
//! they are. Losses with a kink are rounded ever less, each time from where the last ended. The artifact is what
//! `runtime/linear_learner.rs` reads. Next: `solver.rs`.

use serde_json::json;

use super::archive::{stored_zip, tar_gz};
use super::loss::Loss;
use super::solver::{Stop, minimise};
use super::table::Table;
use crate::error::{Error, Result};

/// The most weights: the solver keeps forty copies of them.
const WEIGHTS_MAX: usize = 1 << 23;
/// Over how much kinks are rounded, one after the other, in deviations of the target.
const WIDTHS: [f64; 6] = [1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5];

/// What is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Predictor {
    Regressor,
    Binary,
    Multiclass,
}

impl Predictor {
    /// As SageMaker writes it.
    pub(crate) const WORDS: [(&str, Self); 3] =
        [("regressor", Self::Regressor), ("binary_classifier", Self::Binary), ("multiclass_classifier", Self::Multiclass)];
}

/// What to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) predictor: Predictor,
    pub(crate) loss: Loss,
    pub(crate) l1: f64,
    pub(crate) l2: f64,
    /// The most passes over the table.
    pub(crate) passes: usize,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Trained {
    /// The artifact.
    pub(crate) artifact: Vec<u8>,
    /// The mean loss of the rows, in the target's own units, nothing added.
    pub(crate) loss: f64,
    pub(crate) passes: usize,
    /// Whether it ended at a minimum, not for want of passes.
    pub(crate) converged: bool,
}

/// A column's mean and deviation; one that never changes has deviation 1 and so weight 0.
#[derive(Debug, Clone, Copy)]
struct Scale {
    mean: f64,
    deviation: f64,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64> + Clone, count: f64) -> Self {
        let mean = values.clone().sum::<f64>() / count;
        // The second sum takes off what rounding left of the mean.
        let (square, rest) = values.fold((0.0, 0.0), |(square, rest), value| (square + (value - mean).powi(2), rest + (value - mean)));
        let deviation = ((square - rest * rest / count).max(0.0) / count).sqrt();
        // What rounding alone leaves is no deviation.
        let steady = deviation <= mean.abs() * 1e-12 || !deviation.is_normal();
        Self { mean, deviation: if steady { 1.0 } else { deviation } }
    }
}

/// The weights of a table, `columns × outputs`, then the biases: `f64` while they are looked for.
struct Problem<'a> {
    table: &'a Table,
    outputs: usize,
    columns: Vec<Scale>,
    target: Scale,
    loss: Loss,
}

/// The artifact and how it was reached. `seen` is told after every pass over the table.
///
/// # Errors
/// When labels or settings do not fit the predictor, or the weights would not fit 32 bits.
pub(crate) fn train(table: &Table, settings: Settings, seen: &dyn Fn()) -> Result<Trained> {
    let Settings { predictor, loss, l1, l2, passes } = settings;
    check(settings)?;
    let outputs = outputs(predictor, &table.labels)?;
    let size = (table.columns + 1).checked_mul(outputs).filter(|&size| size <= WEIGHTS_MAX).ok_or_else(|| {
        Error::invalid(format!("{} columns and {outputs} outputs are more than {WEIGHTS_MAX} weights; train on fewer", table.columns))
    })?;
    let count = table.rows() as f64;
    let columns: Vec<Scale> = (0..table.columns)
        .map(|column| Scale::of(table.values.iter().skip(column).step_by(table.columns).map(|value| f64::from(*value)), count))
        .collect();
    let target = match predictor {
        Predictor::Regressor => Scale::of(table.labels.iter().copied(), count),
        Predictor::Binary | Predictor::Multiclass => Scale { mean: 0.0, deviation: 1.0 },
    };
    let problem = Problem { table, outputs, columns, target, loss };
    let biases = size - outputs;
    let penalties: Vec<f64> = (0..size).map(|at| if at < biases { l1 } else { 0.0 }).collect();
    let (mut weights, mut used, mut converged) = (vec![0.0; size], 0, false);
    let widths: &[f64] = if loss.kinked() { &WIDTHS } else { &[0.0] };
    for (round, &width) in widths.iter().enumerate() {
        let last = round + 1 == widths.len();
        let stop = Stop { passes: passes - used, slope: if last { 1e-9 } else { 1e-4 } };
        if stop.passes == 0 {
            converged = false;
            break;
        }
        let outcome = minimise(weights, &penalties, stop, |at, slope| problem.look(at, slope, l2, width), seen);
        (weights, converged) = (outcome.at, outcome.converged);
        used += outcome.passes;
    }
    let folded = problem.fold(&weights);
    if folded.iter().any(|weight| !weight.is_finite()) {
        return Err(Error::invalid(
            "a weight came out too large for the model's 32-bit numbers; bring the columns closer to each other's size",
        ));
    }
    Ok(Trained { artifact: artifact(predictor, loss, outputs, &folded)?, loss: problem.mean_loss(&folded), passes: used, converged })
}

fn check(settings: Settings) -> Result<()> {
    let Settings { predictor, loss, l1, l2, passes } = settings;
    let fits = match loss {
        Loss::Squared | Loss::Absolute | Loss::Huber(_) | Loss::Quantile(_) => predictor == Predictor::Regressor,
        Loss::Logistic => predictor == Predictor::Binary,
        Loss::Softmax => predictor == Predictor::Multiclass,
    };
    let refuse = |text: &'static str| Err(Error::invalid(text));
    match loss {
        _ if !fits => refuse(
            "the loss does not fit the type: a regressor takes squared, absolute, huber or quantile, a binary classifier logistic, a multiclass classifier softmax",
        ),
        Loss::Quantile(quantile) if !(quantile > 0.0 && quantile < 1.0) => refuse("the quantile is a number above 0 and below 1"),
        Loss::Huber(bend) if !(bend > 0.0 && bend.is_finite()) => refuse("the huber delta is a number above 0"),
        _ if !(l1 >= 0.0 && l1.is_finite() && l2 >= 0.0 && l2.is_finite()) => refuse("l1 and l2 are numbers from 0"),
        _ if passes == 0 => refuse("at least one epoch is needed"),
        _ => Ok(()),
    }
}

/// How many scores the labels ask for.
fn outputs(predictor: Predictor, labels: &[f64]) -> Result<usize> {
    let whole = |label: &f64| label.fract() == 0.0 && (0.0..WEIGHTS_MAX as f64).contains(label);
    match predictor {
        Predictor::Regressor => Ok(1),
        Predictor::Binary => match labels.iter().find(|label| **label != 0.0 && **label != 1.0) {
            Some(other) => Err(Error::invalid(format!("a label is `{other}`; a binary classifier's are 0 and 1"))),
            None => Ok(1),
        },
        Predictor::Multiclass => {
            if let Some(other) = labels.iter().find(|label| !whole(label)) {
                return Err(Error::invalid(format!("a label is `{other}`; a multiclass classifier's are whole numbers from 0")));
            }
            let classes = labels.iter().fold(0.0, |most: f64, label| most.max(*label)) as usize + 1;
            if classes < 3 {
                return Err(Error::invalid("the labels are of fewer than three classes; train a binary_classifier"));
            }
            Ok(classes)
        }
    }
}

impl Problem<'_> {
    fn split<'w, T>(&self, weights: &'w [T]) -> (&'w [T], &'w [T]) {
        weights.split_at(weights.len().saturating_sub(self.outputs))
    }

    /// The mean loss at `weights`, with `l2` added, and its slope.
    fn look(&self, weights: &[f64], slope: &mut [f64], l2: f64, width: f64) -> f64 {
        let (slopes, biases) = self.split(weights);
        slope.fill(0.0);
        let mut scores = vec![0.0; self.outputs];
        let mut row = vec![0.0; self.columns.len()];
        let mut sum = 0.0;
        let (weight_slope, bias_slope) = slope.split_at_mut(slopes.len());
        for (values, label) in self.table.iter().zip(&self.table.labels) {
            for ((place, value), scale) in row.iter_mut().zip(values).zip(&self.columns) {
                *place = (f64::from(*value) - scale.mean) / scale.deviation;
            }
            scores.copy_from_slice(biases);
            for (value, slopes) in row.iter().zip(slopes.chunks_exact(self.outputs)) {
                scores.iter_mut().zip(slopes).for_each(|(score, slope)| *score += value * slope);
            }
            sum += self.loss.row(&mut scores, (label - self.target.mean) / self.target.deviation, width);
            for (value, slopes) in row.iter().zip(weight_slope.chunks_exact_mut(self.outputs)) {
                slopes.iter_mut().zip(&scores).for_each(|(slope, score)| *slope += value * score);
            }
            bias_slope.iter_mut().zip(&scores).for_each(|(slope, score)| *slope += score);
        }
        let count = self.table.rows() as f64;
        slope.iter_mut().for_each(|slope| *slope /= count);
        for (slope, weight) in slope.iter_mut().zip(slopes) {
            *slope += l2 * weight;
        }
        sum / count + l2 / 2.0 * slopes.iter().map(|weight| weight * weight).sum::<f64>()
    }

    /// The weights for rows and targets as they are.
    fn fold(&self, weights: &[f64]) -> Vec<f32> {
        let (slopes, biases) = self.split(weights);
        let mut biases: Vec<f64> = biases.to_vec();
        let mut folded = Vec::with_capacity(weights.len());
        for (slopes, scale) in slopes.chunks_exact(self.outputs).zip(&self.columns) {
            for (slope, bias) in slopes.iter().zip(&mut biases) {
                *bias -= slope / scale.deviation * scale.mean;
                folded.push((slope / scale.deviation * self.target.deviation) as f32);
            }
        }
        folded.extend(biases.iter().map(|bias| (bias * self.target.deviation + self.target.mean) as f32));
        folded
    }

    fn mean_loss(&self, folded: &[f32]) -> f64 {
        let (slopes, biases) = self.split(folded);
        // The bend of a huber loss is in deviations of the target, as the loss was minimised.
        let loss = if let Loss::Huber(bend) = self.loss { Loss::Huber(bend * self.target.deviation) } else { self.loss };
        let one = |(values, label): (&[f32], &f64)| {
            let mut scores: Vec<f64> = biases.iter().map(|bias| f64::from(*bias)).collect();
            for (value, slopes) in values.iter().zip(slopes.chunks_exact(self.outputs)) {
                scores.iter_mut().zip(slopes).for_each(|(score, slope)| *score += f64::from(*value) * f64::from(*slope));
            }
            loss.row(&mut scores, *label, 0.0)
        };
        self.table.iter().zip(&self.table.labels).map(one).sum::<f64>() / self.table.rows() as f64
    }
}

/// SageMaker's own layout: the graph, the arrays of weights, and what the answers need to know.
fn artifact(predictor: Predictor, loss: Loss, outputs: usize, folded: &[f32]) -> Result<Vec<u8>> {
    let features = (folded.len() - outputs) / outputs;
    let (output, kind) = match predictor {
        Predictor::Regressor => ("LinearRegressionOutput", "regressor"),
        Predictor::Binary => ("LogisticRegressionOutput", "binary_classifier"),
        Predictor::Multiclass => ("SoftmaxOutput", "multiclass_classifier"),
    };
    let loss = match loss {
        Loss::Squared => "squared_loss",
        Loss::Absolute => "absolute_loss",
        Loss::Huber(_) => "huber_loss",
        Loss::Quantile(_) => "quantile_loss",
        Loss::Logistic => "logistic",
        Loss::Softmax => "softmax_loss",
    };
    let graph = json!({
        "nodes": [
            { "op": "null", "name": "data", "inputs": [] },
            { "op": "null", "name": "fc0_weight", "attrs": { "__shape__": format!("({features}, {outputs})") }, "inputs": [] },
            { "op": "dot", "name": "dot0", "inputs": [[0, 0, 0], [1, 0, 0]] },
            { "op": "null", "name": "fc0_bias", "attrs": { "__lr_mult__": "10", "__shape__": format!("(1, {outputs})") }, "inputs": [] },
            { "op": "broadcast_add", "name": "broadcast_add0", "inputs": [[2, 0, 0], [3, 0, 0]] },
            { "op": "null", "name": "out_label", "inputs": [] },
            { "op": output, "name": "out", "inputs": [[4, 0, 0], [5, 0, 0]] },
        ],
        "arg_nodes": [0, 1, 3, 5],
        "node_row_ptr": [0, 1, 2, 3, 4, 5, 6, 7],
        "heads": [[6, 0, 0]],
        "attrs": { "mxnet_version": ["int", 10300] },
    });
    let manifest = json!({ "additional-params.json": "json", "mx-mod": "mxnet_module", "version": 1 });
    let parameters = json!({ "loss_type": loss, "metrics_params": {}, "predictor_type": kind, "threshold": 0.5 });
    let text = |value: &serde_json::Value| serde_json::to_vec(value).map_err(Error::internal);
    let (slopes, biases) = folded.split_at(features * outputs);
    let zip = stored_zip(&[
        ("mx-mod-symbol.json", &text(&graph)?),
        ("mx-mod-0000.params", &arrays(&[("arg:fc0_bias", [1, outputs], biases), ("arg:fc0_weight", [features, outputs], slopes)])),
        ("manifest.json", &text(&manifest)?),
        ("additional-params.json", &text(&parameters)?),
    ])?;
    tar_gz("model_algo-1", &zip)
}

/// MXNet's list of arrays: a mark, the arrays, their names, all little-endian.
pub(crate) fn arrays(named: &[(&str, [usize; 2], &[f32])]) -> Vec<u8> {
    let long = |value: usize| (value as u64).to_le_bytes();
    let mut out = [long(0x112), long(0), long(named.len())].concat();
    for (_, shape, values) in named {
        // The array's own mark, dense, its dimensions; then the device it was on (a CPU's first) and 32-bit numbers.
        for word in [0xf993_fac9, 0, 2u32] {
            out.extend(word.to_le_bytes());
        }
        shape.iter().for_each(|side| out.extend(long(*side)));
        for word in [1u32, 0, 0] {
            out.extend(word.to_le_bytes());
        }
        values.iter().for_each(|value| out.extend(value.to_le_bytes()));
    }
    out.extend(long(named.len()));
    for (name, _, _) in named {
        out.extend(long(name.len()));
        out.extend(name.as_bytes());
    }
    out
}
