//! Support vector machines: kernels against every support vector, then votes, sums or probabilities.
//!
//! Probabilities follow libsvm's pairwise coupling (Wu, Lin and Weng), stopping where onnxruntime stops. Next: `mod.rs`.
#![expect(clippy::indexing_slicing, reason = "lengths were checked when the operator was made")]

use super::super::graph::Inputs;
use super::super::meter::Meter;
use super::super::node::{Node, finite};
use super::super::ops::product::{distances, multiply};
use super::super::ops::{Op, Values, boxed, one, vector};
use super::super::value::{Arg, Value, fault};
use super::{Labels, Post, Second, logistic, pair};
use crate::error::{Error, Result};

/// The most values between rows and support vectors that are held at once.
const BLOCK: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Linear,
    Poly,
    Rbf,
    Sigmoid,
}

/// Support vectors, or coefficients in their place, column after column.
#[derive(Debug)]
struct Kernel {
    kind: Kind,
    gamma: f32,
    coef0: f32,
    degree: f32,
    features: usize,
    count: usize,
    columns: Vec<f32>,
}

impl Kernel {
    fn new(node: &Node<'_>, vectors: &[f32], count: usize, linear: bool) -> Result<Self> {
        let kind = match node.text("kernel_type", "LINEAR")? {
            _ if linear => Kind::Linear,
            "LINEAR" => Kind::Linear,
            "POLY" => Kind::Poly,
            "RBF" => Kind::Rbf,
            "SIGMOID" => Kind::Sigmoid,
            other => return Err(node.refuse("kernel_type", format_args!("is `{}`, which is not known", crate::names::shown(other)))),
        };
        let (gamma, coef0, degree) = match node.floats("kernel_params") {
            [] => (0.0, 0.0, 0.0),
            [gamma, coef0, degree, ..] => (*gamma, *coef0, *degree),
            _ => return Err(node.refuse("kernel_params", "holds fewer than three numbers")),
        };
        finite("support_vectors", vectors)?;
        if count == 0 || vectors.is_empty() || !vectors.len().is_multiple_of(count) {
            return Err(Error::invalid(format!("its {} values are not {count} support vectors", vectors.len())));
        }
        let features = vectors.len() / count;
        let mut columns = vec![0.0; vectors.len()];
        for (at, row) in vectors.chunks_exact(features).enumerate() {
            for (feature, &value) in row.iter().enumerate() {
                columns[feature * count + at] = value;
            }
        }
        Ok(Self { kind, gamma, coef0, degree, features, count, columns })
    }

    /// The kernel of each row with each vector; `plus` is added in the linear case.
    fn values(&self, rows: &[f32], plus: f32) -> Vec<f32> {
        let count = rows.len() / self.features;
        if self.kind == Kind::Rbf {
            let mut out = vec![0.0; count * self.count];
            for (row, out) in rows.chunks_exact(self.features).zip(out.chunks_exact_mut(self.count)) {
                distances(row, &self.columns, out);
            }
            out.iter_mut().for_each(|x| *x *= -self.gamma);
            vector::exp_all(&mut out);
            return out;
        }
        let (factor, start) = if self.kind == Kind::Linear { (1.0, plus) } else { (self.gamma, self.coef0) };
        let mut out = vec![0.0; count * self.count];
        multiply((count, self.features, self.count), rows, (self.features, 1), &self.columns, (self.count, 1), &mut out);
        out.iter_mut().for_each(|x| *x = *x * factor + start);
        match self.kind {
            Kind::Poly if self.degree == 2.0 => out.iter_mut().for_each(|x| *x *= *x),
            Kind::Poly if self.degree == 3.0 => out.iter_mut().for_each(|x| *x = *x * *x * *x),
            Kind::Poly => out.iter_mut().for_each(|x| *x = x.powf(self.degree)),
            Kind::Sigmoid => out.iter_mut().for_each(|x| *x = vector::tanh(*x)),
            _ => {}
        }
        out
    }

    fn rows<'a>(&self, x: Arg<'a>, inputs: &Inputs<'_, '_>) -> Result<(usize, std::borrow::Cow<'a, [f32]>)> {
        let (rows, columns) = x.matrix()?;
        if columns != self.features {
            return Err(fault(format!("it takes {} columns, not {columns}", self.features)));
        }
        // Each kernel value may take an exponential or a power on top.
        inputs.meter.work((rows as u64).saturating_mul((self.columns.len() + 8 * self.count) as u64))?;
        inputs.meter.size(&[rows.min(self.block()), self.count])?;
        Ok((rows, x.f32s()?))
    }

    /// Rows worked on at once.
    fn block(&self) -> usize {
        (BLOCK / self.count).max(1)
    }
}

#[derive(Debug)]
struct Regressor {
    kernel: Kernel,
    /// One a support vector; empty where the kernel already is the answer.
    coefficients: Vec<f32>,
    rho: f32,
    one_class: bool,
}

impl Op for Regressor {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (rows, list) = self.kernel.rows(inputs.get(0)?, inputs)?;
        let mut out = Vec::with_capacity(inputs.meter.size(&[rows])?);
        for block in list.chunks(self.kernel.block() * self.kernel.features) {
            if self.coefficients.is_empty() {
                out.extend(self.kernel.values(block, self.rho));
            } else {
                let kernels = self.kernel.values(block, 0.0);
                // Large terms cancel here, so they are added in 64 bits.
                let sum = |row: &[f32]| row.iter().zip(&self.coefficients).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
                out.extend(kernels.chunks_exact(self.kernel.count).map(|row| (sum(row) + f64::from(self.rho)) as f32));
            }
        }
        if self.one_class {
            out.iter_mut().for_each(|x| *x = if *x > 0.0 { 1.0 } else { -1.0 });
        }
        one(Value::new([rows, 1].as_slice(), out))
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + (self.kernel.columns.len() + self.coefficients.len()) * 4
    }
}

#[derive(Debug)]
struct Classifier {
    kernel: Kernel,
    labels: Labels,
    post: Post,
    /// Whether support vectors vote in pairs; else each class has its line.
    votes: bool,
    /// The first support vector of each class, and one behind the last.
    starts: Vec<usize>,
    coefficients: Vec<f32>,
    rho: Vec<f32>,
    /// Sigmoid slopes and offsets of each pair; empty without probabilities.
    a: Vec<f32>,
    b: Vec<f32>,
    all_positive: bool,
}

impl Classifier {
    /// The score of each pair of classes, and each class's votes.
    fn pairs(&self, kernels: &[f32], scores: &mut Vec<f32>, votes: &mut [u32]) {
        let classes = self.labels.len();
        scores.clear();
        votes.fill(0);
        for i in 0..classes - 1 {
            for j in i + 1..classes {
                let side = |line: usize, class: usize| {
                    let range = self.starts[class]..self.starts[class + 1];
                    let line = &self.coefficients[line * self.kernel.count..];
                    line[range.clone()].iter().zip(&kernels[range]).map(|(a, b)| f64::from(a * b)).sum::<f64>()
                };
                let sum = side(j - 1, i) + side(i, j) + f64::from(self.rho[scores.len()]);
                scores.push(sum as f32);
                votes[if sum > 0.0 { i } else { j }] += 1;
            }
        }
    }
}

/// Probabilities of classes from those of pairs. How many rounds it takes shows only on the way, so each is counted.
fn couple(classes: usize, pairs: &[f32], q: &mut [f32], out: &mut [f32], meter: &Meter) -> Result<()> {
    q.fill(0.0);
    let mut qp = vec![0.0f32; classes];
    let eps = 0.005 / classes as f32;
    for i in 0..classes {
        out[i] = 1.0 / classes as f32;
        for j in (0..classes).filter(|&j| j != i) {
            let r = pairs[j * classes + i];
            q[i * classes + i] += r * r;
            q[i * classes + j] = if j < i { q[j * classes + i] } else { -r * pairs[i * classes + j] };
        }
    }
    for _ in 0..100 {
        meter.work((classes * classes * 3) as u64)?;
        let mut pqp = 0.0;
        for i in 0..classes {
            qp[i] = (0..classes).map(|j| q[i * classes + j] * out[j]).sum();
            pqp += out[i] * qp[i];
        }
        let error = qp.iter().map(|x| (x - pqp).abs()).fold(0.0, f32::max);
        if error < eps {
            break;
        }
        for i in 0..classes {
            let diff = (pqp - qp[i]) / q[i * classes + i];
            out[i] += diff;
            pqp = (pqp + diff * (diff * q[i * classes + i] + 2.0 * qp[i])) / (1.0 + diff) / (1.0 + diff);
            for j in 0..classes {
                qp[j] = (qp[j] + diff * q[i * classes + j]) / (1.0 + diff);
                out[j] /= 1.0 + diff;
            }
        }
    }
    Ok(())
}

fn first_most<T: PartialOrd + Copy>(list: &[T]) -> usize {
    (1..list.len()).fold(0, |best, at| if list[at] > list[best] { at } else { best })
}

impl Op for Classifier {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let (rows, list) = self.kernel.rows(inputs.get(0)?, inputs)?;
        let classes = self.labels.len();
        let pairs = classes * (classes - 1) / 2;
        let probability = !self.a.is_empty();
        let width = if self.votes && !probability { if classes > 2 { pairs } else { 2 } } else { classes };
        let mut out = vec![0.0f32; inputs.meter.size(&[rows, width])?];
        let each = |steps: usize| inputs.meter.work((rows as u64).saturating_mul(steps as u64));
        if self.votes {
            // Each pair of classes sums the support vectors of both.
            each(pairs + (classes - 1) * self.kernel.count)?;
        }
        let mut places = Vec::with_capacity(rows);
        let (mut scores, mut votes) = (Vec::with_capacity(pairs), vec![0u32; classes]);
        let (mut square, mut q) = (Vec::new(), Vec::new());
        if self.votes && probability {
            inputs.meter.size(&[2, classes, classes])?;
            each(classes * classes * 4)?;
            (square, q) = (vec![0.0f32; classes * classes], vec![0.0f32; classes * classes]);
        }
        let step = self.kernel.block();
        for (block, out) in list.chunks(step * self.kernel.features).zip(out.chunks_mut(step * width)) {
            // The sums of votes have their own rho.
            let kernels = self.kernel.values(block, if self.votes { 0.0 } else { self.rho[0] });
            for (kernels, out) in kernels.chunks_exact(self.kernel.count).zip(out.chunks_exact_mut(width)) {
                if !self.votes {
                    out.copy_from_slice(kernels);
                    let best = first_most(out);
                    let second = pairs == 1 && classes == 2 && (if self.all_positive { out[best] >= 0.5 } else { out[best] > 0.0 });
                    places.push(if second && !probability { 1 } else { best });
                    self.post.apply(out);
                    continue;
                }
                self.pairs(kernels, &mut scores, &mut votes);
                places.push(first_most(&votes));
                if probability {
                    let mut pair = 0;
                    for i in 0..classes {
                        for j in i + 1..classes {
                            let p = 1.0 - logistic(scores[pair] * self.a[pair] + self.b[pair]);
                            let p = p.clamp(1e-7, 1.0 - 1e-7);
                            square[i * classes + j] = p;
                            square[j * classes + i] = 1.0 - p;
                            pair += 1;
                        }
                    }
                    couple(classes, &square, &mut q, out, inputs.meter)?;
                    self.post.apply(out);
                } else if classes > 2 {
                    out.copy_from_slice(&scores);
                    self.post.apply(out);
                } else {
                    let second = if self.post == Post::None { Second::Opposite } else { Second::Complement };
                    out.copy_from_slice(&pair(scores[0], second, self.post));
                }
            }
        }
        let mut values = Values::new();
        values.push(self.labels.of(&places, inputs.meter)?);
        values.push(Value::new([rows, width].as_slice(), out));
        Ok(values)
    }

    fn weight(&self) -> usize {
        let numbers = self.kernel.columns.len() + self.coefficients.len() + self.rho.len() + self.a.len() + self.b.len();
        size_of::<Self>() + numbers * 4 + self.starts.len() * 8 + self.labels.weight()
    }
}

fn classifier(node: &Node<'_>) -> Result<Classifier> {
    let labels = Labels::new(node)?;
    let classes = labels.len();
    let (coefficients, rho) = (node.floats("coefficients"), node.floats("rho"));
    finite("coefficients", coefficients)?;
    finite("rho", rho)?;
    if !(2..=4096).contains(&classes) {
        return Err(Error::invalid(format!("it has {classes} labels; 2 to 4096 are served")));
    }
    let pairs = classes * (classes - 1) / 2;
    let (a, b) = (node.floats("prob_a").to_vec(), node.floats("prob_b").to_vec());
    finite("prob_a", &a)?;
    finite("prob_b", &b)?;
    let mut starts = vec![0usize];
    let mut total = 0usize;
    for &count in node.ints("vectors_per_class") {
        let count = usize::try_from(count).ok().filter(|&count| count < 1 << 28);
        total += count.ok_or_else(|| node.refuse("vectors_per_class", "holds a negative or huge number"))?;
        starts.push(total);
        if starts.len() > classes + 1 {
            return Err(node.refuse("vectors_per_class", "does not fit the labels"));
        }
    }
    let votes = total > 0;
    let kernel = if votes {
        let enough = starts.len() == classes + 1
            && coefficients.len() >= (classes - 1) * total
            && rho.len() >= pairs
            && (a.is_empty() || (a.len() >= pairs && b.len() >= pairs));
        if !enough {
            return Err(Error::invalid("its coefficients, rho or probabilities are fewer than its classes need"));
        }
        Kernel::new(node, node.floats("support_vectors"), total, false)?
    } else {
        if rho.is_empty() {
            return Err(Error::invalid("it has no rho"));
        }
        Kernel::new(node, coefficients, classes, true)?
    };
    let all_positive = coefficients.iter().all(|&x| x >= 0.0);
    Ok(Classifier {
        kernel,
        labels,
        post: Post::new(node)?,
        votes,
        starts,
        coefficients: coefficients.to_vec(),
        rho: rho.to_vec(),
        a,
        b,
        all_positive,
    })
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    match name {
        "SVMClassifier" => boxed(classifier(node)?).map(Some),
        "SVMRegressor" => {
            let (coefficients, rho) = (node.floats("coefficients"), node.floats("rho"));
            finite("coefficients", coefficients)?;
            finite("rho", rho)?;
            let count = usize::try_from(node.int("n_supports", 0)).map_err(|_| node.refuse("n_supports", "is negative"))?;
            let rho = *rho.first().ok_or_else(|| Error::invalid("it has no rho"))?;
            let (kernel, coefficients) = if count > 0 {
                if coefficients.len() != count {
                    return Err(Error::invalid(format!("it has {} coefficients for {count} support vectors", coefficients.len())));
                }
                (Kernel::new(node, node.floats("support_vectors"), count, false)?, coefficients.to_vec())
            } else {
                (Kernel::new(node, coefficients, 1, true)?, Vec::new())
            };
            boxed(Regressor { kernel, coefficients, rho, one_class: node.int("one_class", 0) != 0 }).map(Some)
        }
        _ => Ok(None),
    }
}
