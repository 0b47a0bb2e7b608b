//! Linear models: rows times coefficients plus intercepts.
//!
//! Next: `mod.rs` for what happens to the scores.
#![expect(clippy::indexing_slicing, reason = "lengths were checked when the operator was made")]

use super::super::graph::Inputs;
use super::super::node::{Node, finite};
use super::super::ops::product::multiply;
use super::super::ops::{Op, Values, boxed, one};
use super::super::value::{Arg, Value, fault};
use super::{Labels, Post, Second, pair};
use crate::error::{Error, Result};

/// Coefficients turned so that each column belongs to one output.
#[derive(Debug)]
struct Linear {
    features: usize,
    outputs: usize,
    weights: Vec<f32>,
    intercepts: Vec<f32>,
}

impl Linear {
    fn new(node: &Node<'_>, outputs: usize) -> Result<Self> {
        let (coefficients, intercepts) = (node.floats("coefficients"), node.floats("intercepts"));
        finite("coefficients", coefficients)?;
        finite("intercepts", intercepts)?;
        if outputs == 0 || coefficients.is_empty() || !coefficients.len().is_multiple_of(outputs) {
            return Err(Error::invalid(format!("its {} coefficients do not fit {outputs} outputs", coefficients.len())));
        }
        if !intercepts.is_empty() && intercepts.len() != outputs {
            return Err(Error::invalid(format!("it has {} intercepts for {outputs} outputs", intercepts.len())));
        }
        let features = coefficients.len() / outputs;
        let mut weights = vec![0.0; coefficients.len()];
        for (output, row) in coefficients.chunks_exact(features).enumerate() {
            for (feature, &weight) in row.iter().enumerate() {
                weights[feature * outputs + output] = weight;
            }
        }
        let intercepts = if intercepts.is_empty() { vec![0.0; outputs] } else { intercepts.to_vec() };
        Ok(Self { features, outputs, weights, intercepts })
    }

    fn scores(&self, x: Arg<'_>, inputs: &Inputs<'_, '_>) -> Result<(usize, Vec<f32>)> {
        let (rows, columns) = x.matrix()?;
        if columns != self.features {
            return Err(fault(format!("it takes {} columns, not {columns}", self.features)));
        }
        inputs.meter.size(&[rows, self.outputs])?;
        inputs.meter.work((rows * self.weights.len()) as u64)?;
        let list = x.f32s()?;
        let mut out = self.intercepts.repeat(rows);
        multiply((rows, self.features, self.outputs), &list, (self.features, 1), &self.weights, (self.outputs, 1), &mut out);
        Ok((rows, out))
    }

    fn weight(&self) -> usize {
        (self.weights.capacity() + self.intercepts.capacity()) * 4
    }
}

#[derive(Debug)]
struct Regressor {
    linear: Linear,
    post: Post,
}

impl Op for Regressor {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (rows, mut out) = self.linear.scores(inputs.get(0)?, inputs)?;
        let outputs = self.linear.outputs;
        if outputs > 1 || self.post == Post::Probit {
            out.chunks_exact_mut(outputs).for_each(|row| self.post.apply(row));
        }
        one(Value::new([rows, outputs].as_slice(), out))
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.linear.weight()
    }
}

#[derive(Debug)]
struct Classifier {
    linear: Linear,
    labels: Labels,
    post: Post,
}

impl Op for Classifier {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (rows, mut out) = self.linear.scores(inputs.get(0)?, inputs)?;
        let outputs = self.linear.outputs;
        let mut values = Values::new();
        if outputs == 1 {
            let places: Vec<usize> = out.iter().map(|&score| usize::from(score > 0.0)).collect();
            values.push(self.labels.of(&places, inputs.meter)?);
            // Without a post-transform of its own, the one score is taken for a probability.
            let scores: Vec<f32> = out.iter().flat_map(|&score| pair(score, Second::Complement, self.post)).collect();
            values.push(Value::new([rows, 2].as_slice(), scores));
            return Ok(values);
        }
        let best = |row: &[f32]| (1..row.len()).fold(0, |best, at| if row[at] > row[best] { at } else { best });
        let places: Vec<usize> = out.chunks_exact(outputs).map(best).collect();
        values.push(self.labels.of(&places, inputs.meter)?);
        match self.post {
            Post::None => {}
            Post::Logistic => out.iter_mut().for_each(|x| *x = super::super::ops::vector::sigmoid(*x)),
            post => out.chunks_exact_mut(outputs).for_each(|row| post.apply(row)),
        }
        values.push(Value::new([rows, outputs].as_slice(), out));
        Ok(values)
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.linear.weight() + self.labels.weight()
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    match name {
        "LinearRegressor" => {
            let outputs = usize::try_from(node.int("targets", 1)).map_err(|_| node.refuse("targets", "is negative"))?;
            boxed(Regressor { linear: Linear::new(node, outputs)?, post: Post::new(node)? }).map(Some)
        }
        "LinearClassifier" => {
            let labels = Labels::new(node)?;
            let outputs = match node.floats("intercepts").len() {
                0 => labels.len(),
                count => count,
            };
            if outputs != labels.len() && !(outputs == 1 && labels.len() == 2) {
                return Err(Error::invalid(format!("it has {outputs} scores for {} labels", labels.len())));
            }
            boxed(Classifier { linear: Linear::new(node, outputs)?, labels, post: Post::new(node)? }).map(Some)
        }
        _ => Ok(None),
    }
}
