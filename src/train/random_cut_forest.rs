//! Random cut forests: each tree halves its own sample by random cuts until single points are left.
//!
//! A cut takes a dimension with a chance in proportion to the side of the points' box there, and a place on that side
//! evenly (Guha et al. 2016, definition 1). The layout is `runtime/random_cut_forest/mod.rs`'s.

use super::Dice;
use super::archive::tar_gz;
use super::table::Table;
use crate::error::{Error, Result};
use crate::names::counted;
use crate::runtime::random_cut_forest::{MARK, TREES_MAX, VERSION};
use crate::runtime::safetensors::{Numbers, write};

/// The most rows a tree samples.
pub(crate) const SAMPLES_MAX: usize = 1 << 16;

/// What to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) trees: usize,
    /// Rows each tree draws, without putting back.
    pub(crate) samples: usize,
    pub(crate) seed: u64,
}

/// The arrays of the file.
#[derive(Debug, Default)]
struct Arrays {
    points: Vec<f32>,
    leaf_point: Vec<i32>,
    leaf_mass: Vec<i32>,
    cut_dimension: Vec<i32>,
    cut_value: Vec<f32>,
    left: Vec<i32>,
    right: Vec<i32>,
    root: Vec<i32>,
}

/// Where a node's number goes.
#[derive(Debug, Clone, Copy)]
enum Hook {
    Root,
    Left(usize),
    Right(usize),
}

/// The artifact. `done` is told the number of trees grown.
///
/// # Errors
/// When a setting is out of range or the forest too large.
pub(crate) fn train(table: &Table, settings: Settings, done: &dyn Fn(usize)) -> Result<Vec<u8>> {
    let Settings { trees, samples, seed } = settings;
    if !(1..=TREES_MAX).contains(&trees) || !(1..=SAMPLES_MAX).contains(&samples) {
        return Err(Error::invalid(format!(
            "{} of {}; it takes 1 to {TREES_MAX} trees of 1 to {SAMPLES_MAX}",
            counted(trees, "tree"),
            counted(samples, "row")
        )));
    }
    let count = samples.min(table.rows());
    if trees.saturating_mul(count) > i32::MAX as usize {
        return Err(Error::invalid(format!("{trees} trees of {count} rows are more than a model can hold; take fewer")));
    }
    let mut dice = Dice(seed);
    let mut arrays = Arrays::default();
    // Trees share the points of rows that several of them drew.
    let mut kept: Vec<Option<i32>> = vec![None; table.rows()];
    for tree in 0..trees {
        let mut rows = dice.sample(count, table.rows());
        arrays.grow(table, &mut rows, &mut dice, &mut kept);
        done(tree + 1);
    }
    let mut metadata = vec![("format", MARK.to_owned()), ("version", VERSION.to_owned())];
    metadata.extend(table.names_as_json()?.map(|names| ("feature_names", names)));
    let (points, leaves, cuts) = ([arrays.points.len() / table.columns, table.columns], [arrays.leaf_point.len()], [arrays.left.len()]);
    let mut all: Vec<(&str, &[usize], Numbers<'_>)> = vec![
        ("points", &points, Numbers::F32(&arrays.points)),
        ("leaf_point", &leaves, Numbers::I32(&arrays.leaf_point)),
        ("leaf_mass", &leaves, Numbers::I32(&arrays.leaf_mass)),
    ];
    if !arrays.left.is_empty() {
        all.push(("cut_dimension", &cuts, Numbers::I32(&arrays.cut_dimension)));
        all.push(("cut_value", &cuts, Numbers::F32(&arrays.cut_value)));
        all.push(("left", &cuts, Numbers::I32(&arrays.left)));
        all.push(("right", &cuts, Numbers::I32(&arrays.right)));
    }
    let roots = [trees];
    all.push(("root", &roots, Numbers::I32(&arrays.root)));
    tar_gz("model.safetensors", &write(&metadata, &all)?)
}

impl Arrays {
    /// Adds one tree over `rows`.
    fn grow(&mut self, table: &Table, rows: &mut [usize], dice: &mut Dice, kept: &mut [Option<i32>]) {
        let columns = table.columns;
        let row = |at: usize| table.values.get(at * columns..(at + 1) * columns).unwrap_or_default();
        let mut waiting: Vec<(&mut [usize], Hook)> = vec![(rows, Hook::Root)];
        let (mut low, mut high) = (vec![0.0f32; columns], vec![0.0f32; columns]);
        while let Some((rows, hook)) = waiting.pop() {
            low.fill(f32::INFINITY);
            high.fill(f32::NEG_INFINITY);
            for &at in rows.iter() {
                for ((low, high), value) in low.iter_mut().zip(&mut high).zip(row(at)) {
                    *low = low.min(*value);
                    *high = high.max(*value);
                }
            }
            let Some((dimension, value)) = cut(&low, &high, dice) else {
                // All its rows are equal: the first stands for them.
                let Some(&first) = rows.first() else { continue };
                let next = self.points.len() / columns;
                let point = kept.get_mut(first).map(|place| {
                    *place.get_or_insert_with(|| {
                        self.points.extend_from_slice(row(first));
                        next as i32
                    })
                });
                let leaf = self.leaf_point.len();
                self.leaf_point.push(point.unwrap_or_default());
                self.leaf_mass.push(rows.len() as i32);
                self.hang(hook, !(leaf as i32));
                continue;
            };
            let node = self.left.len();
            self.hang(hook, node as i32);
            self.cut_dimension.push(dimension as i32);
            self.cut_value.push(value);
            self.left.push(0);
            self.right.push(0);
            let goes_left = |at: usize| row(at).get(dimension).is_some_and(|found| *found <= value);
            // Both sides in their old order, so that the tree does not hang on how a sort moves equal rows.
            rows.sort_by_key(|&at| !goes_left(at));
            let (left, right) = rows.split_at_mut(rows.partition_point(|&at| goes_left(at)));
            waiting.push((right, Hook::Right(node)));
            waiting.push((left, Hook::Left(node)));
        }
    }

    fn hang(&mut self, hook: Hook, number: i32) {
        match hook {
            Hook::Root => self.root.push(number),
            Hook::Left(parent) => self.left.get_mut(parent).into_iter().for_each(|place| *place = number),
            Hook::Right(parent) => self.right.get_mut(parent).into_iter().for_each(|place| *place = number),
        }
    }
}

/// A random cut of a box: a dimension, and a value at or above its lowest and below its highest; `None` for a point.
fn cut(low: &[f32], high: &[f32], dice: &mut Dice) -> Option<(usize, f32)> {
    let side = |(low, high): (&f32, &f32)| f64::from(*high) - f64::from(*low);
    let total: f64 = low.iter().zip(high).map(side).sum();
    if total <= 0.0 {
        return None;
    }
    let mut left = dice.unit() * total;
    let mut chosen = None;
    for (dimension, (low, high)) in low.iter().zip(high).enumerate() {
        let side = side((low, high));
        if side > 0.0 {
            // Rounding may leave a little after the last side; it is cut then, near its end.
            chosen = Some((dimension, *low, *high, left.min(side)));
            if left < side {
                break;
            }
            left -= side;
        }
    }
    let (dimension, low, high, along) = chosen?;
    let value = (f64::from(low) + along) as f32;
    // Between neighbouring numbers the only cut is at the lower one.
    Some((dimension, if value >= high || value < low { low } else { value }))
}
