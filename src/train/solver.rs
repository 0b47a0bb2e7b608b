//! Minimises a smooth convex function, with or without absolute values of its arguments added.
//!
//! L-BFGS (Nocedal, *Updating quasi-Newton matrices with limited storage*, 1980), and for the absolute values the
//! orthant-wise steps of Andrew and Gao (*Scalable training of L1-regularized log-linear models*, ICML 2007): a step
//! follows the pseudo-gradient and never crosses zero, where the function has its kinks. Nothing has to be tuned. Knows
//! no model. Next: `loss.rs`, which has the functions.

use std::collections::VecDeque;

/// Steps remembered to guess the curvature from.
const MEMORY: usize = 20;
/// Halvings of a step before it is given up.
const HALVINGS: usize = 40;

/// When to stop.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stop {
    /// The most times the function is looked at.
    pub(super) passes: usize,
    /// The largest slope that counts as none.
    pub(super) slope: f64,
}

/// Where it ended.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) at: Vec<f64>,
    /// Times the function was looked at.
    pub(super) passes: usize,
    /// Whether it ended at a minimum, not for want of passes.
    pub(super) converged: bool,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// `a += share · b`
fn add(a: &mut [f64], share: f64, b: &[f64]) {
    a.iter_mut().zip(b).for_each(|(a, b)| *a += share * b);
}

/// The slope of `smooth + Σ weight·|x|`; at a kink the smallest of its slopes.
fn pseudo_gradient(at: &[f64], gradient: &[f64], weights: &[f64]) -> Vec<f64> {
    let one = |((x, slope), weight): ((&f64, &f64), &f64)| {
        if *x != 0.0 {
            slope + weight * x.signum()
        } else if slope + weight < 0.0 {
            slope + weight
        } else if slope - weight > 0.0 {
            slope - weight
        } else {
            0.0
        }
    };
    at.iter().zip(gradient).zip(weights).map(one).collect()
}

/// A step, and how the gradient changed over it.
struct Step {
    moved: Vec<f64>,
    turned: Vec<f64>,
    product: f64,
}

/// The two loops that multiply by the inverse of the guessed curvature.
fn direction(slope: &[f64], memory: &VecDeque<Step>) -> Vec<f64> {
    let mut way: Vec<f64> = slope.iter().map(|slope| -slope).collect();
    let mut shares = Vec::with_capacity(memory.len());
    for step in memory.iter().rev() {
        let share = dot(&step.moved, &way) / step.product;
        add(&mut way, -share, &step.turned);
        shares.push(share);
    }
    if let Some(last) = memory.back() {
        let scale = last.product / dot(&last.turned, &last.turned);
        way.iter_mut().for_each(|way| *way *= scale);
    }
    for (step, share) in memory.iter().zip(shares.into_iter().rev()) {
        let other = dot(&step.turned, &way) / step.product;
        add(&mut way, share - other, &step.moved);
    }
    way
}

/// Minimises `function(x) + Σ weights·|x|` from `start`. `function` fills in its gradient and returns its value; `seen`
/// is told after every look.
pub(super) fn minimise(
    start: Vec<f64>,
    weights: &[f64],
    stop: Stop,
    mut function: impl FnMut(&[f64], &mut [f64]) -> f64,
    seen: &dyn Fn(),
) -> Outcome {
    let penalty = |at: &[f64]| at.iter().zip(weights).map(|(x, weight)| x.abs() * weight).sum::<f64>();
    let mut at = start;
    let mut gradient = vec![0.0; at.len()];
    let mut value = function(&at, &mut gradient) + penalty(&at);
    seen();
    let (mut passes, mut memory) = (1, VecDeque::<Step>::with_capacity(MEMORY));
    loop {
        let slope = pseudo_gradient(&at, &gradient, weights);
        let steepest = slope.iter().fold(0.0, |most: f64, slope| most.max(slope.abs()));
        if steepest <= stop.slope {
            return Outcome { at, passes, converged: true };
        }
        let mut way = direction(&slope, &memory);
        // A coordinate that may meet a kink only moves downhill.
        for ((way, slope), weight) in way.iter_mut().zip(&slope).zip(weights) {
            if *weight > 0.0 && *way * slope >= 0.0 {
                *way = 0.0;
            }
        }
        if dot(&way, &slope) >= 0.0 {
            memory.clear();
            way = slope.iter().map(|slope| -slope).collect();
        }
        let mut length = if memory.is_empty() { 1.0 / dot(&slope, &slope).sqrt().max(1.0) } else { 1.0 };
        let mut turned = vec![0.0; at.len()];
        let mut taken = None;
        for _ in 0..HALVINGS {
            if passes >= stop.passes {
                return Outcome { at, passes, converged: false };
            }
            let mut next = at.clone();
            add(&mut next, length, &way);
            for (((next, x), slope), weight) in next.iter_mut().zip(&at).zip(&slope).zip(weights) {
                let side = if *x != 0.0 { x.signum() } else { -slope.signum() };
                if *weight > 0.0 && *next * side < 0.0 {
                    *next = 0.0;
                }
            }
            let reached = function(&next, &mut turned) + penalty(&next);
            passes += 1;
            seen();
            let foreseen: f64 = slope.iter().zip(next.iter().zip(&at)).map(|(slope, (next, x))| slope * (next - x)).sum();
            // A sum of many rows is only known to so many digits.
            if reached <= value + 1e-4 * foreseen + value.abs() * 1e-15 && foreseen < 0.0 {
                taken = Some((next, reached));
                break;
            }
            length /= 2.0;
        }
        let Some((next, reached)) = taken else {
            if memory.is_empty() {
                // Not even straight downhill is lower: this is the bottom, as far as numbers can tell.
                return Outcome { at, passes, converged: true };
            }
            memory.clear();
            continue;
        };
        let moved: Vec<f64> = next.iter().zip(&at).map(|(next, x)| next - x).collect();
        let change: Vec<f64> = turned.iter().zip(&gradient).map(|(new, old)| new - old).collect();
        let product = dot(&moved, &change);
        if product > f64::EPSILON * dot(&change, &change) {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            memory.push_back(Step { moved, turned: change, product });
        }
        (at, value, gradient) = (next, reached, turned);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quadratics_end_at_their_known_minimum() {
        // Σ c·(x - t)²/2 + w·|x| is least at t moved towards zero by w/c.
        let (curve, target) = ([1.0, 1e4, 1e-2, 3.0], [3.0, -2.0, 40.0, 0.2]);
        for weights in [[0.0; 4], [1.0, 5.0, 0.1, 1.0]] {
            let stop = Stop { passes: 500, slope: 1e-10 };
            let outcome = minimise(
                vec![0.0; 4],
                &weights,
                stop,
                |x, gradient| {
                    let mut value = 0.0;
                    for i in 0..4 {
                        gradient[i] = curve[i] * (x[i] - target[i]);
                        value += gradient[i] * (x[i] - target[i]) / 2.0;
                    }
                    value
                },
                &|| (),
            );
            assert!(outcome.converged && outcome.passes < 200, "{outcome:?}");
            for i in 0..4 {
                let shrunk = (f64::abs(target[i]) - weights[i] / curve[i]).max(0.0) * target[i].signum();
                assert!((outcome.at[i] - shrunk).abs() < 1e-6, "{outcome:?} for {shrunk} at {i}");
            }
        }
    }
}
