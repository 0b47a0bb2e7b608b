//! Models in a row: each stage's scores are the next one's columns, handed over in memory.
//!
//! Knows nothing of endpoints or caches; `service/invoke.rs` brings the loaded models.

use super::{Model, Output};
use crate::error::{Error, Kind, Result};
use crate::tensor::Tensor;

/// The most numbers one request may spread into at any stage, 64 MiB of them. A short sparse body may announce many.
pub const CELLS_MAX: usize = 1 << 24;

/// Runs `input` through `stages`, each with the name its errors carry.
///
/// # Errors
/// [`Kind::Model`] naming stage and model when one cannot answer or does not take what the one before it gives,
/// [`Kind::TooLarge`] when the answer would not fit.
pub fn run(stages: &[(&str, &dyn Model)], input: Tensor) -> Result<Output> {
    let mut input = input;
    let mut last = None;
    for (index, (name, model)) in stages.iter().enumerate() {
        let place = || format!("stage {} (`{name}`)", index + 1);
        let schema = model.schema();
        if input.columns() != schema.features {
            let text = format!("the stage before gives {} values per row, the model takes {}", input.columns(), schema.features);
            return Err(Error::new(Kind::Model, text).within(place()));
        }
        if input.rows().checked_mul(schema.spread).is_none_or(|cells| cells > CELLS_MAX) {
            let text = format!("{} rows of {} values are too many for one answer; send fewer rows", input.rows(), schema.spread);
            return Err(Error::new(Kind::TooLarge, text).within(place()));
        }
        let output = model.predict(&input).map_err(|error| error.within(place()))?;
        if let Some(at) = output.scores.values().iter().position(|value| !value.is_finite()) {
            let row = at / output.scores.columns().max(1) + 1;
            let text = format!("the model's answer for row {row} is not a finite number");
            return Err(Error::new(Kind::Model, text).within(place()));
        }
        if index + 1 == stages.len() {
            last = Some(output);
        } else {
            input = output.scores;
        }
    }
    last.ok_or_else(|| Error::new(Kind::Internal, "a pipeline has no stage"))
}
