//! Nearest neighbours: the table itself, or a sample of it, in the layout that `runtime/knn/mod.rs` describes.

use super::Dice;
use super::archive::tar_gz;
use super::table::Table;
use crate::error::{Error, Result};
use crate::names::counted;
use crate::runtime::knn::{K_MAX, MARK, Metric, Predictor, VERSION};
use crate::runtime::safetensors::{Numbers, write};

/// Up to here every whole number is held by 32 bits.
const NARROW_END: f64 = 16_777_216.0;
/// From here on a whole number may be another one than was written.
const WIDE_END: f64 = 9_007_199_254_740_992.0;

/// What to make.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Settings {
    pub(crate) predictor: Predictor,
    pub(crate) metric: Metric,
    /// How many neighbours are asked.
    pub(crate) k: usize,
    /// How many rows to keep, drawn by `seed`; all of them without.
    pub(crate) sample: Option<usize>,
    pub(crate) seed: u64,
}

/// The artifact.
///
/// # Errors
/// When there are fewer rows than neighbours, or a label is too large.
pub(crate) fn train(table: &Table, settings: Settings) -> Result<Vec<u8>> {
    let kept = match settings.sample {
        Some(count) if count < table.rows() => Dice(settings.seed).sample(count, table.rows()),
        _ => (0..table.rows()).collect(),
    };
    let most = kept.len().min(K_MAX);
    if !(1..=most).contains(&settings.k) {
        return Err(Error::invalid(format!("k is {}; with {} it takes 1 to {most}", settings.k, counted(kept.len(), "row"))));
    }
    let mut points = Vec::with_capacity(kept.len() * table.columns);
    let mut labels = Vec::with_capacity(kept.len());
    let mut next = kept.iter().peekable();
    for (at, (row, label)) in table.iter().zip(&table.labels).enumerate() {
        if next.next_if_eq(&&at).is_some() {
            points.extend_from_slice(row);
            labels.push(*label);
        }
    }
    let word = |words: &[(&str, bool)]| words.iter().find(|(_, is)| *is).map_or_else(String::new, |(word, _)| (*word).to_owned());
    let mut metadata = vec![
        ("format", MARK.to_owned()),
        ("version", VERSION.to_owned()),
        ("predictor_type", word(&Predictor::WORDS.map(|(word, value)| (word, value == settings.predictor)))),
        ("metric", word(&Metric::WORDS.map(|(word, value)| (word, value == settings.metric)))),
        ("k", settings.k.to_string()),
    ];
    metadata.extend(table.names_as_json()?.map(|names| ("feature_names", names)));
    // Labels are 32-bit numbers as SageMaker's are; whole ones that those cannot hold, such as identifiers, stay whole. What
    // a classifier answers is one of its labels, so none may become another.
    let narrow: Vec<f32> = labels.iter().map(|label| *label as f32).collect();
    let wide: Vec<i64> = labels.iter().map(|label| *label as i64).collect();
    let exact = labels.iter().all(|label| label.fract() == 0.0 && label.abs() < WIDE_END);
    let whole = if settings.predictor == Predictor::Classifier {
        if let Some(label) = labels.iter().find(|label| label.abs() >= WIDE_END) {
            return Err(Error::invalid(format!("label {label} is too large: from {WIDE_END} on labels become others; number the classes")));
        }
        let large = labels.iter().find(|label| label.abs() > NARROW_END);
        if let Some(label) = large.filter(|_| !exact) {
            return Err(Error::invalid(format!(
                "label {label} is too large beside fractions, which are held by 32 bits; number the classes"
            )));
        }
        large.is_some()
    } else {
        exact && labels.iter().zip(&narrow).any(|(label, narrow)| f64::from(*narrow) != *label)
    };
    let numbers = if whole { Numbers::I64(&wide) } else { Numbers::F32(&narrow) };
    if !whole && narrow.iter().any(|label| !label.is_finite()) {
        return Err(Error::invalid("a label is too large for the model's 32-bit numbers"));
    }
    let (rows, columns) = (labels.len(), table.columns);
    let file = write(&metadata, &[("points", &[rows, columns], Numbers::F32(&points)), ("labels", &[rows], numbers)])?;
    tar_gz("model.safetensors", &file)
}
