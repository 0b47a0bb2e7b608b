//! Models in a row: each stage's scores are the next one's columns, handed over in memory.
//!
//! Knows nothing of endpoints or caches; `service/invoke.rs` brings the loaded models. Next: `pipeline/ahead.rs`, which
//! tells before any call what can never be answered.

pub mod ahead;

use smallvec::{SmallVec, smallvec};

use super::postprocess::Postprocess;
use super::select::{Selected, select};
use super::{Extra, Model, Output, Schema};
use crate::codec::answer::CONTRIBUTIONS;
use crate::error::{Error, Kind, Result};
use crate::names::{counted, shown};
use crate::tensor::{Block, Part, ValueKind};

/// The most numbers one request may spread into at any stage, 64 MiB of them. A short sparse body may announce many.
pub const CELLS_MAX: usize = 1 << 24;

/// The most bytes of text, and of names beside it, that one answer may hold. A label may be long and the rows many.
pub const TEXT_MAX: usize = 256 << 20;

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
    run_within(steps, input, explain, None)?
        .ok_or_else(|| Error::new(Kind::Internal, "a model gave up that was given all the time it needs"))
}

/// As [`run`], but `None` once a model takes longer than `nanos`, if that is said.
///
/// # Errors
/// As [`run`].
pub fn run_within(steps: &[Step<'_>], input: Blocks, explain: bool, nanos: Option<u64>) -> Result<Option<Output>> {
    let last_model = steps.iter().rposition(|step| matches!(step, Step::Model { .. }));
    let (mut input, mut output) = (input, None::<Output>);
    for (index, step) in steps.iter().enumerate() {
        let goes_on = matches!(steps.get(index + 1), Some(Step::Model { .. }));
        let done = match step {
            Step::Model { model, selected, .. } => {
                if let Some(before) = output.take() {
                    input = fit(before.scores, model.schema()).map_err(|error| error.within(step.named(index)))?;
                }
                let explained = explain && last_model == Some(index);
                // What is missing may stay so where scores go on to a model, which takes it or refuses it by its place.
                let may_miss = goes_on && matches!(selected.first(), None | Some(Selected::Score | Selected::PredictedScore));
                match answer(*model, &input, explained, may_miss, nanos) {
                    Ok(None) => return Ok(None),
                    Ok(Some(output)) => pick(output, selected, index + 1 == steps.len()),
                    // What a later model cannot hold is not what the caller sent.
                    Err(error) if index > 0 && !explained && error.kind() == Kind::Validation => Err(error.as_kind(Kind::Model)),
                    Err(error) => Err(error),
                }
            }
            Step::Postprocess(postprocess) => match output.take() {
                Some(output) => postprocess.apply(output),
                None => Err(Error::new(Kind::Internal, "a pipeline begins with a postprocessor")),
            },
        };
        output = Some(done.and_then(checked).map_err(|error| error.within(step.named(index)))?);
    }
    output.map(Some).ok_or_else(|| Error::new(Kind::Internal, "a pipeline has no stage"))
}

/// An answer whose texts fit into one.
fn checked(output: Output) -> Result<Output> {
    let bytes = output.verbose().text_bytes();
    if bytes > TEXT_MAX {
        let text = format!("its answer holds {bytes} bytes of text, of which at most {TEXT_MAX} fit into one; send fewer rows");
        return Err(Error::new(Kind::TooLarge, text));
    }
    Ok(output)
}

/// Every number of `block` is finite, or missing where that is taken.
fn finite(block: &Block, may_miss: bool) -> Result<()> {
    let Some(at) = block.find(|value| !(value.is_finite() || may_miss && value.is_nan())) else { return Ok(()) };
    let row = at / block.columns().max(1) + 1;
    Err(Error::new(Kind::Model, format!("the model's answer for row {row} is not a finite number")))
}

/// One model's answer, checked.
fn answer(model: &dyn Model, input: &[Block], explain: bool, may_miss: bool, nanos: Option<u64>) -> Result<Option<Output>> {
    let schema = model.schema();
    let rows = input.first().map_or(0, Block::rows);
    let spread = if explain { schema.spread.saturating_mul(schema.features.saturating_add(1)) } else { schema.spread };
    if rows.checked_mul(spread).is_none_or(|cells| cells > CELLS_MAX) {
        return Err(Error::new(
            Kind::TooLarge,
            format!("{} of {spread} values would be too many for one answer; send fewer rows", counted(rows, "row")),
        ));
    }
    let output = match nanos {
        None => Some(model.predict(input)?),
        Some(nanos) => model.predict_within(input, nanos)?,
    };
    let Some(mut output) = output else { return Ok(None) };
    finite(&output.scores, may_miss)?;
    if explain {
        let block = model.explain(input)?;
        finite(&block, false)?;
        let width = schema.features + 1;
        let inner = if block.columns() > width { width } else { 0 };
        output.extras.push(Extra { name: CONTRIBUTIONS.into(), block, list: true, inner });
    }
    Ok(Some(output))
}

/// What a stage's setting picks of its answer: the last stage shows all of it, one before hands on the one thing picked.
fn pick(output: Output, selected: &[Selected], last: bool) -> Result<Output> {
    match selected {
        [] => Ok(output),
        _ if last => {
            let contributions = output.extras.iter().filter(|extra| *extra.name == *CONTRIBUTIONS).cloned().collect::<Vec<_>>();
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

/// Missing values as the next model takes them: as they are, as 0 where its rows are dictionaries, or not at all.
fn missing(scores: Block, schema: &Schema) -> Result<Block> {
    let Some(first) = scores.find(f64::is_nan) else { return Ok(scores) };
    let refuse = |at: usize, why: &str| {
        let (row, column) = (at / schema.features, at % schema.features);
        let name = schema.names.get(column).map(|name| format!(" (`{}`)", shown(name))).unwrap_or_default();
        let text = format!("row {}, column {}{name} is missing in what the stage before gives; {why}", row + 1, column + 1);
        Err(Error::new(Kind::Model, text))
    };
    if !schema.missing {
        return refuse(first, "this model takes no missing values");
    }
    if schema.optional {
        return Ok(match scores {
            Block::F32(list) => list.map(|&x| if x.is_nan() { 0.0 } else { x }).into(),
            Block::F64(list) => list.map(|&x| if x.is_nan() { 0.0 } else { x }).into(),
            other => other,
        });
    }
    let mut start = 0;
    for part in &schema.parts {
        if matches!(part.kind, ValueKind::I64 | ValueKind::Bool)
            && let Some(at) = scores.slice(start, part.columns).and_then(|columns| columns.find(f64::is_nan))
        {
            return refuse(
                at / part.columns * schema.features + start + at % part.columns,
                &format!("this column takes {}", part.kind.word()),
            );
        }
        start += part.columns;
    }
    Ok(scores)
}

/// A stage's scores as the parts that the next one takes: cut into its columns, each in its type.
fn fit(scores: Block, schema: &Schema) -> Result<Blocks> {
    if scores.columns() != schema.features {
        let text = format!("the stage before gives {} per row, the model takes {}", counted(scores.columns(), "value"), schema.features);
        return Err(Error::new(Kind::Model, text));
    }
    let scores = missing(scores, schema)?;
    if let [part] = schema.parts.as_slice()
        && part.kind == scores.kind()
    {
        return Ok(smallvec![scores]);
    }
    let mut start = 0;
    let one = |part: &Part| -> Result<Block> {
        let columns = scores.slice(start, part.columns);
        start += part.columns;
        let given = scores.kind().word();
        let columns = columns.and_then(|columns| columns.to(part.kind)).ok_or_else(|| {
            Error::new(Kind::Model, format!("the stage before gives {given} where `{}` takes {}", part.name, part.kind.word()))
        })?;
        if let Some(at) = columns.find(f64::is_infinite) {
            let row = at / part.columns.max(1) + 1;
            let text = format!("row {row} of what the stage before gives is too large for the model's {}s", part.kind.exact());
            return Err(Error::new(Kind::Model, text));
        }
        Ok(columns)
    };
    schema.parts.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    /// Answers 1 for every row, and explains it by what it is told to.
    #[derive(Debug)]
    struct Told(Schema, f32);

    impl Model for Told {
        fn schema(&self) -> &Schema {
            &self.0
        }

        fn predict(&self, input: &[Block]) -> Result<Output> {
            Ok(Output::scores(Tensor::new(1, vec![1.0f32; input.first().map_or(0, Block::rows)]).unwrap(), false))
        }

        fn explain(&self, input: &[Block]) -> Result<Block> {
            let mut values = vec![0.5f32; input.first().map_or(0, Block::rows) * 3];
            *values.last_mut().unwrap() = self.1;
            Ok(Tensor::new(3, values).unwrap().into())
        }

        fn weight(&self) -> usize {
            0
        }

        fn cost(&self, _: usize) -> u64 {
            0
        }
    }

    #[test]
    fn contributions_that_are_no_finite_numbers_are_no_answer() {
        let explained = |value: f32| {
            let model = Told(Schema::matrix(ValueKind::F32, 2, 1), value);
            run(&[Step::model("m", &model)], smallvec![Tensor::new(2, vec![0.0f32; 4]).unwrap().into()], true)
        };
        assert_eq!(explained(0.25).unwrap().extras.len(), 1);
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = explained(value).unwrap_err();
            assert_eq!(error.kind(), Kind::Model);
            assert_eq!(error.message(), "stage 1 (`m`): the model's answer for row 2 is not a finite number");
        }
    }
}
