//! Models in a row: each stage's scores are the next one's columns, handed over in memory.
//!
//! Knows nothing of endpoints or caches; `service/invoke.rs` brings the loaded models.

use smallvec::{SmallVec, smallvec};

use super::{Model, Output, Schema};
use crate::error::{Error, Kind, Result};
use crate::tensor::{Block, Part};

/// The most numbers one request may spread into at any stage, 64 MiB of them. A short sparse body may announce many.
pub const CELLS_MAX: usize = 1 << 24;

/// Runs `input` through `stages`, each with the name its errors carry.
///
/// # Errors
/// [`Kind::Model`] naming stage and model when one cannot answer or does not take what the one before it gives,
/// [`Kind::TooLarge`] when the answer would not fit.
pub fn run(stages: &[(&str, &dyn Model)], input: Blocks) -> Result<Output> {
    let mut input = input;
    let mut last = None;
    for (index, (name, model)) in stages.iter().enumerate() {
        let place = || format!("stage {} (`{name}`)", index + 1);
        let schema = model.schema();
        let rows = input.first().map_or(0, Block::rows);
        if rows.checked_mul(schema.spread).is_none_or(|cells| cells > CELLS_MAX) {
            let text = format!("{rows} rows of {} values are too many for one answer; send fewer rows", schema.spread);
            return Err(Error::new(Kind::TooLarge, text).within(place()));
        }
        let output = model.predict(&input).map_err(|error| error.within(place()))?;
        if let Some(at) = output.scores.not_finite() {
            let row = at / output.scores.columns().max(1) + 1;
            let text = format!("the model's answer for row {row} is not a finite number");
            return Err(Error::new(Kind::Model, text).within(place()));
        }
        match stages.get(index + 1) {
            None => last = Some(output),
            Some((name, next)) => {
                input = fit(output.scores, next.schema()).map_err(|error| error.within(format_args!("stage {} (`{name}`)", index + 2)))?;
            }
        }
    }
    last.ok_or_else(|| Error::new(Kind::Internal, "a pipeline has no stage"))
}

/// What a model takes for its parts, in order.
pub type Blocks = SmallVec<[Block; 1]>;

/// A stage's scores as the parts that the next one takes: cut into its columns, each in its type.
fn fit(scores: Block, schema: &Schema) -> Result<Blocks> {
    if scores.columns() != schema.features {
        let text = format!("the stage before gives {} values per row, the model takes {}", scores.columns(), schema.features);
        return Err(Error::new(Kind::Model, text));
    }
    if let [part] = schema.parts.as_slice()
        && part.kind == scores.kind()
    {
        return Ok(smallvec![scores]);
    }
    let mut start = 0;
    let one = |part: &Part| {
        let columns = scores.slice(start, part.columns);
        start += part.columns;
        let given = scores.kind().word();
        columns.and_then(|columns| columns.to(part.kind)).ok_or_else(|| {
            Error::new(Kind::Model, format!("the stage before gives {given} where `{}` takes {}", part.name, part.kind.word()))
        })
    };
    schema.parts.iter().map(one).collect()
}
