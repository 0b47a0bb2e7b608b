//! Models in a row: each stage's scores are the next one's columns, handed over in memory.
//!
//! Knows nothing of endpoints or caches; `service/invoke.rs` brings the loaded models.

use smallvec::{SmallVec, smallvec};

use super::postprocess::Postprocess;
use super::select::{Selected, select};
use super::{Extra, Model, Output, Schema};
use crate::error::{Error, Kind, Result};
use crate::tensor::{Block, Part};

/// The most numbers one request may spread into at any stage, 64 MiB of them. A short sparse body may announce many.
pub const CELLS_MAX: usize = 1 << 24;

/// A stage with its model in hand.
#[derive(Debug, Clone, Copy)]
pub enum Step<'a> {
    /// A model.
    Model {
        /// What its errors call it.
        name: &'a str,
        /// It.
        model: &'a dyn Model,
        /// What of its answer is shown or handed on; all of it when empty.
        selected: &'a [Selected],
    },
    /// What is done to the scores of the stage before.
    Postprocess(&'a Postprocess),
}

impl<'a> Step<'a> {
    /// A stage that shows or hands on all of its model's answer.
    pub fn model(name: &'a str, model: &'a dyn Model) -> Self {
        Self::Model { name, model, selected: &[] }
    }

    fn named(&self, index: usize) -> String {
        match self {
            Self::Model { name, .. } => format!("stage {} (`{name}`)", index + 1),
            Self::Postprocess(_) => format!("stage {} (postprocess)", index + 1),
        }
    }
}

/// Runs `input` through `steps`; with `explain`, the last model's contributions stand beside its answer.
///
/// # Errors
/// [`Kind::Model`] naming stage and model when one cannot answer or does not take what the one before it gives,
/// [`Kind::TooLarge`] when the answer would not fit, [`Kind::Validation`] when what is selected or explained is not there.
pub fn run(steps: &[Step<'_>], input: Blocks, explain: bool) -> Result<Output> {
    let last_model = steps.iter().rposition(|step| matches!(step, Step::Model { .. }));
    let (mut input, mut output) = (input, None::<Output>);
    for (index, step) in steps.iter().enumerate() {
        let done = match step {
            Step::Model { model, selected, .. } => {
                if let Some(before) = output.take() {
                    input = fit(before.scores, model.schema()).map_err(|error| error.within(step.named(index)))?;
                }
                let explained = explain && last_model == Some(index);
                answer(*model, &input, explained).and_then(|output| pick(output, selected, index + 1 == steps.len()))
            }
            Step::Postprocess(postprocess) => match output.take() {
                Some(output) => postprocess.apply(output),
                None => Err(Error::new(Kind::Internal, "a pipeline begins with a postprocessor")),
            },
        };
        output = Some(done.map_err(|error| error.within(step.named(index)))?);
    }
    output.ok_or_else(|| Error::new(Kind::Internal, "a pipeline has no stage"))
}

/// One model's answer, checked.
fn answer(model: &dyn Model, input: &[Block], explain: bool) -> Result<Output> {
    let schema = model.schema();
    let rows = input.first().map_or(0, Block::rows);
    let spread = if explain { schema.spread.saturating_mul(schema.features.saturating_add(1)) } else { schema.spread };
    if rows.checked_mul(spread).is_none_or(|cells| cells > CELLS_MAX) {
        return Err(Error::new(Kind::TooLarge, format!("{rows} rows of {spread} values are too many for one answer; send fewer rows")));
    }
    let mut output = model.predict(input)?;
    if let Some(at) = output.scores.not_finite() {
        let row = at / output.scores.columns().max(1) + 1;
        return Err(Error::new(Kind::Model, format!("the model's answer for row {row} is not a finite number")));
    }
    if explain {
        let block = model.explain(input)?;
        let width = schema.features + 1;
        let inner = if block.columns() > width { width } else { 0 };
        output.extras.push(Extra { name: "contributions".into(), block, list: true, inner });
    }
    Ok(output)
}

/// What a stage's setting picks of its answer: the last stage shows all of it, one before hands on the one thing picked.
fn pick(output: Output, selected: &[Selected], last: bool) -> Result<Output> {
    match selected {
        [] => Ok(output),
        _ if last => {
            let contributions = output.extras.iter().filter(|extra| *extra.name == *"contributions").cloned().collect::<Vec<_>>();
            let mut shown = select(&output, selected)?;
            shown.extras.extend(contributions);
            Ok(shown)
        }
        [one, ..] => {
            let (scores, list) = one.of(&output)?;
            Ok(Output { scores, list, ..output })
        }
    }
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
