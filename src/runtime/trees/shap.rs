//! Exact SHAP values of one tree that follow its own paths, in time `leaves × depth²` (Lundberg, Erion and Lee,
//! "Consistent Individualized Feature Attribution for Tree Ensembles", 2018, algorithm 2).
//!
//! The tree comes as two functions, what a node is for the row at hand and how many training rows it saw, so any
//! layout can be explained. Must not know layouts. Next: `wide/mod.rs`, which calls it.

/// What a node is for the row that is explained.
#[derive(Debug, Clone, Copy)]
pub enum Visit {
    /// Two children.
    Split {
        /// The child that the row goes to.
        hot: u32,
        /// The other one.
        cold: u32,
        /// The column looked at.
        feature: u32,
    },
    /// An output.
    Leaf(f64),
}

/// A feature on the way from the root.
#[derive(Debug, Clone, Copy)]
struct Step {
    /// No feature at the root.
    feature: Option<u32>,
    /// The share of training rows that come this way when the feature is not known.
    zero: f64,
    /// 1 when the row comes this way, else 0.
    one: f64,
    /// The weight of all orders in which as many features as lie before this one are known.
    weight: f64,
}

/// The features met on the way to a node, each once; room that is used again from tree to tree.
#[derive(Debug, Default)]
pub struct Path {
    steps: Vec<Step>,
}

/// Adds to `out`, one number per column, what each column adds to the tree's answer over its mean.
pub fn add(root: u32, visit: &impl Fn(u32) -> Visit, cover: &impl Fn(u32) -> f64, path: &mut Path, out: &mut [f64]) {
    path.steps.clear();
    Walk { visit, cover, out, path }.descend(root, 0, Step { feature: None, zero: 1.0, one: 1.0, weight: 0.0 });
}

struct Walk<'a, V, C> {
    visit: &'a V,
    cover: &'a C,
    out: &'a mut [f64],
    path: &'a mut Path,
}

impl<V: Fn(u32) -> Visit, C: Fn(u32) -> f64> Walk<'_, V, C> {
    /// Visits `node`, whose path is the steps from `start` to the end, with one step more.
    fn descend(&mut self, node: u32, start: usize, step: Step) {
        extend(&mut self.path.steps, start, step);
        match (self.visit)(node) {
            Visit::Leaf(value) => {
                let steps = self.path.steps.get(start..).unwrap_or_default();
                for (index, step) in steps.iter().enumerate().skip(1) {
                    let place = step.feature.and_then(|feature| self.out.get_mut(feature as usize));
                    if let Some(place) = place {
                        *place += unwound_sum(steps, index) * (step.one - step.zero) * value;
                    }
                }
            }
            Visit::Split { hot, cold, feature } => {
                let rows = (self.cover)(node);
                let (mut zero, mut one) = (1.0, 1.0);
                // A feature met before counts once: its earlier step is undone and goes into this one.
                let before = self.path.steps.get(start..).and_then(|steps| steps.iter().position(|step| step.feature == Some(feature)));
                if let Some(index) = before {
                    (zero, one) = unwind(&mut self.path.steps, start, index);
                }
                let end = self.path.steps.len();
                for (child, one) in [(hot, one), (cold, 0.0)] {
                    let share = (self.cover)(child) / rows * zero;
                    // No row comes this way, known or not.
                    if share == 0.0 && one == 0.0 {
                        continue;
                    }
                    self.path.steps.extend_from_within(start..end);
                    self.descend(child, end, Step { feature: Some(feature), zero: share, one, weight: 0.0 });
                    self.path.steps.truncate(end);
                }
            }
        }
    }
}

/// Appends a step to the path that begins at `start`.
#[expect(clippy::cast_precision_loss, reason = "paths are short")]
fn extend(steps: &mut Vec<Step>, start: usize, step: Step) {
    let depth = steps.len() - start;
    steps.push(Step { weight: if depth == 0 { 1.0 } else { 0.0 }, ..step });
    let Some(path) = steps.get_mut(start..) else { return };
    let all = (depth + 1) as f64;
    for index in (0..depth).rev() {
        if let Some([here, next]) = path.get_mut(index..index + 2) {
            next.weight += step.one * here.weight * (index + 1) as f64 / all;
            here.weight = step.zero * here.weight * (depth - index) as f64 / all;
        }
    }
}

/// Takes step `index` out of the path that begins at `start`: its zero and one fraction.
#[expect(clippy::cast_precision_loss, reason = "paths are short")]
fn unwind(steps: &mut Vec<Step>, start: usize, index: usize) -> (f64, f64) {
    let Some(path) = steps.get_mut(start..) else { return (1.0, 1.0) };
    let depth = path.len() - 1;
    let Some(&Step { zero, one, .. }) = path.get(index) else { return (1.0, 1.0) };
    let mut next = path.last().map_or(0.0, |step| step.weight);
    let all = (depth + 1) as f64;
    for (at, step) in path.iter_mut().enumerate().take(depth).rev() {
        if one == 0.0 {
            step.weight = step.weight * all / (zero * (depth - at) as f64);
        } else {
            let weight = step.weight;
            step.weight = next * all / ((at + 1) as f64 * one);
            next = weight - step.weight * zero * (depth - at) as f64 / all;
        }
    }
    // The weights stay where they are; the features behind move up.
    for at in index..depth {
        if let Some([here, next]) = path.get_mut(at..at + 2) {
            *here = Step { weight: here.weight, ..*next };
        }
    }
    steps.pop();
    (zero, one)
}

/// The sum of all weights once step `index` is taken out.
#[expect(clippy::cast_precision_loss, reason = "paths are short")]
fn unwound_sum(path: &[Step], index: usize) -> f64 {
    let depth = path.len() - 1;
    let Some(&Step { zero, one, .. }) = path.get(index) else { return 0.0 };
    let mut next = path.last().map_or(0.0, |step| step.weight);
    let all = (depth + 1) as f64;
    let mut total = 0.0;
    for (at, step) in path.iter().enumerate().take(depth).rev() {
        if one == 0.0 {
            total += step.weight * all / (zero * (depth - at) as f64);
        } else {
            let weight = next * all / ((at + 1) as f64 * one);
            total += weight;
            next = step.weight - weight * zero * (depth - at) as f64 / all;
        }
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tree over three columns, the first of which is met twice: node, feature, left (right is next), cover, value.
    const NODES: [(Option<u32>, u32, f64, f64); 9] = [
        (Some(0), 1, 100.0, 0.0),
        (Some(1), 3, 70.0, 0.0),
        (Some(2), 5, 30.0, 0.0),
        (Some(0), 7, 50.0, 0.0),
        (None, 0, 20.0, 3.5),
        (None, 0, 0.0, -2.0),
        (None, 0, 30.0, 7.0),
        (None, 0, 11.0, 1.25),
        (None, 0, 39.0, -4.0),
    ];

    /// The tree's answer when the columns in `known` (a bit each) are known: over the others, the mean of both ways.
    fn mean(node: usize, right: &[[bool; 2]; 3], known: u32) -> f64 {
        let (feature, left, cover, value) = NODES[node];
        let Some(feature) = feature else { return value };
        let left = left as usize;
        // The second time a column is met it may decide otherwise.
        let goes_right = right[feature as usize][usize::from(node != 0)];
        if known >> feature & 1 == 1 {
            return mean(left + usize::from(goes_right), right, known);
        }
        [left, left + 1].iter().map(|&child| NODES[child].2 / cover * mean(child, right, known)).sum()
    }

    #[test]
    fn values_are_those_of_the_definition() {
        for pattern in 0..64u32 {
            let right = [0, 1, 2].map(|feature| [0, 1].map(|time| pattern >> (feature * 2 + time) & 1 == 1));
            let visit = |at: u32| match NODES[at as usize] {
                (Some(feature), left, ..) => {
                    let step = u32::from(right[feature as usize][usize::from(at != 0)]);
                    Visit::Split { hot: left + step, cold: left + 1 - step, feature }
                }
                (None, _, _, value) => Visit::Leaf(value),
            };
            let mut found = [0.0; 3];
            add(0, &visit, &|at| NODES[at as usize].2, &mut Path::default(), &mut found);
            for (feature, found) in found.iter().enumerate() {
                let mut wanted = 0.0;
                for known in (0..8u32).filter(|known| known >> feature & 1 == 0) {
                    // How often `known` are the ones before in an order of three.
                    let share = [1.0 / 3.0, 1.0 / 6.0, 1.0 / 3.0][known.count_ones() as usize];
                    wanted += share * (mean(0, &right, known | 1 << feature) - mean(0, &right, known));
                }
                assert!((found - wanted).abs() < 1e-12, "pattern {pattern}, feature {feature}: {found} for {wanted}");
            }
        }
    }
}
