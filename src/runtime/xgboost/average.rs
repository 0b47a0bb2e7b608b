//! Several models in one archive, answering as one: SageMaker's ensemble of what k-fold training leaves.
//!
//! As the XGBoost container has it: the mean of the answers, in `f32` and in the order of the files' names; for objectives
//! that answer classes or hinges the answer most models give, the smallest of equally many. Knows no trees: the members
//! are models like any other. Next: `mod.rs`, which makes them.

use std::io::Read;

use serde::{Deserialize, Serialize};

use super::super::prepared::{Reader, Writer};
use super::super::trees::affordable;
use super::super::{Format, Model, Output, Prepared, Schema, Summary};
use crate::artifact::Member;
use crate::error::{Error, Kind, Result};
use crate::names::{counted, shown};
use crate::tensor::{Block, Tensor};

/// Members are prepared from several files at once by [`prepare`], so no single one is recognised.
pub(in super::super) const FORMAT: Format = Format {
    name: "xgboost-ensemble",
    recognises: |_| false,
    prepare: |_| Err(Error::invalid("an ensemble is made of several files")),
    load,
};

/// The most members. k-fold training leaves one for each fold and repetition, tens at most; each of them answers every row.
const MEMBERS_MAX: usize = 256;

/// What the prepared form says before its members, each an array of bytes.
#[derive(Debug, Serialize, Deserialize)]
struct Head {
    members: usize,
    vote: bool,
}

#[derive(Debug)]
struct Average {
    schema: Schema,
    vote: bool,
    members: Vec<Box<dyn Model>>,
}

/// Makes one model of several files.
///
/// # Errors
/// [`Kind::Validation`] naming the file that cannot be read, or that does not fit the first.
pub(in super::super) fn prepare(files: &[&Member]) -> Result<Prepared> {
    if files.len() > MEMBERS_MAX {
        return Err(Error::invalid(format!(
            "the archive holds {} models; at most {MEMBERS_MAX} can answer together, upload others under their own paths",
            files.len()
        )));
    }
    let mut files = files.to_vec();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let objective = |summary: &Summary| summary.kind.split_once(' ').map_or_else(String::new, |(_, objective)| objective.to_owned());
    let mut all: Vec<Prepared> = Vec::with_capacity(files.len());
    for file in &files {
        let within = |error: Error| error.within(format_args!("member `{}`", shown(&file.name)));
        let made = super::prepare(file.bytes.clone()).map_err(within)?;
        if let Some(first) = all.first().map(|first| &first.summary) {
            let told = |summary: &Summary| {
                format!("{}, {}, {}", counted(summary.features, "feature"), counted(summary.outputs, "output"), objective(summary))
            };
            if told(first) != told(&made.summary) {
                return Err(within(Error::invalid(format!(
                    "several models in one archive answer together, so they must be alike; this one has {}, the first {}",
                    told(&made.summary),
                    told(first)
                ))));
            }
            if first.names != made.summary.names {
                return Err(within(Error::invalid(
                    "several models in one archive answer together; this one names its features otherwise than the first",
                )));
            }
        }
        all.push(made);
    }
    let first = all.first().ok_or_else(|| Error::invalid("an ensemble without a model"))?.summary.clone();
    let vote = matches!(objective(&first).as_str(), "multi:softmax" | "binary:hinge");
    let mut writer = Writer::new(&Head { members: all.len(), vote })?;
    let mut models = Vec::with_capacity(all.len());
    for member in &all {
        writer.array(&member.bytes);
        models.push(super::load(&mut &*member.bytes, member.bytes.len() as u64)?);
    }
    let average = Average::new(models, vote)?;
    let summary = Summary {
        format: FORMAT.name.to_owned(),
        kind: format!("{} of {} {}", if vote { "vote" } else { "mean" }, all.len(), first.kind),
        trees: all.iter().map(|member| member.summary.trees).sum(),
        weight: average.weight(),
        core: all.iter().map(|member| member.summary.core).sum(),
        categories: super::told(average.schema()),
        ..first
    };
    Ok(Prepared { summary, bytes: writer.finish() })
}

fn load(source: &mut dyn Read, length: u64) -> Result<Box<dyn Model>> {
    let (head, mut reader) = Reader::new::<Head>(source, length)?;
    let mut members = Vec::new();
    for _ in 0..head.members {
        let bytes: Vec<u8> = reader.array()?;
        members.push(super::load(&mut bytes.as_slice(), bytes.len() as u64)?);
    }
    members.shrink_to_fit();
    Ok(Box::new(Average::new(members, head.vote)?))
}

impl Average {
    fn new(members: Vec<Box<dyn Model>>, vote: bool) -> Result<Self> {
        let first = members.first().ok_or_else(|| Error::new(Kind::Internal, "an ensemble without a model"))?;
        let mut schema = first.schema().clone();
        // Trained on different tables, members have different codes for one text.
        if members.iter().any(|member| member.schema().names != schema.names) {
            schema.names = schema.names.with_categories(Vec::new());
        }
        if vote {
            // All votes for a row are held until they are counted.
            schema.spread = schema.spread.max(schema.outputs.saturating_mul(members.len()));
        }
        Ok(Self { schema, vote, members })
    }
}

/// The value that most have, the smallest of equally many. `values` comes back sorted.
fn mode(values: &mut [f32]) -> f32 {
    values.sort_by(f32::total_cmp);
    let (mut best, mut most) = (f32::NAN, 0);
    for run in values.chunk_by(|a, b| a == b) {
        if run.len() > most {
            (best, most) = (run.first().copied().unwrap_or(f32::NAN), run.len());
        }
    }
    best
}

fn largest(row: &[f32]) -> i64 {
    let mut best = (0, f32::NEG_INFINITY);
    for (index, &value) in (0..).zip(row) {
        if value > best.1 {
            best = (index, value);
        }
    }
    best.0
}

impl Model for Average {
    fn schema(&self) -> &Schema {
        &self.schema
    }

    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "members and classes are far below 2^24")]
    fn predict(&self, input: &[Block]) -> Result<Output> {
        let wrong = || Error::new(Kind::Internal, "members of an ensemble answer otherwise than they said");
        let rows = input.first().map_or(0, Block::rows);
        affordable(rows, self.cost(rows))?;
        let (one, others) = self.members.split_first().ok_or_else(wrong)?;
        let first = one.predict(input)?;
        let Block::F32(mut scores) = first.scores else { return Err(wrong()) };
        let (cells, count) = (scores.values().len(), self.members.len());
        let mut votes = vec![0.0; if self.vote { cells * count } else { 0 }];
        votes.iter_mut().step_by(count).zip(scores.values()).for_each(|(vote, value)| *vote = *value);
        // Each member's answer is let go before the next one is made.
        for (index, member) in (1..).zip(others) {
            let answer = member.predict(input)?;
            let values = answer.scores.f32s().map(Tensor::values).filter(|values| values.len() == cells).ok_or_else(wrong)?;
            if self.vote {
                votes.iter_mut().skip(index).step_by(count).zip(values).for_each(|(vote, value)| *vote = *value);
            } else {
                scores.values_mut().iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
        }
        if self.vote {
            scores.values_mut().iter_mut().zip(votes.chunks_exact_mut(count)).for_each(|(score, votes)| *score = mode(votes));
        } else {
            scores.values_mut().iter_mut().for_each(|sum| *sum /= count as f32);
        }
        let label = |row: &[f32]| match row {
            // Classes voted for are whole and far below 2^24.
            [one] if self.vote => *one as i64,
            [one] if first.probabilities => i64::from(*one > 0.5),
            [one] => i64::from(*one > 0.0),
            many => largest(many),
        };
        let labels = first.labels.is_some().then(|| Tensor::new(1, scores.iter().map(label).collect()).ok_or_else(wrong)).transpose()?;
        let (classes, probabilities) = (first.classes.clone(), first.probabilities);
        Ok(Output { labels: labels.map(Block::I64), classes, probabilities, ..Output::scores(scores, first.list) })
    }

    fn raw(&self, _: &[Block]) -> Result<Block> {
        Err(Error::invalid("several models that answer together have no raw score"))
    }

    fn explain(&self, _: &[Block]) -> Result<Block> {
        Err(Error::invalid("several models that answer together cannot be explained; upload one alone"))
    }

    fn weight(&self) -> usize {
        size_of::<Self>()
            + self.schema.names.weight()
            + self.members.iter().map(|member| size_of::<Box<dyn Model>>() + member.weight()).sum::<usize>()
    }

    fn cost(&self, rows: usize) -> u64 {
        self.members.iter().map(|member| member.cost(rows)).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    use super::mode;

    #[test]
    fn the_most_frequent_wins_and_the_smallest_of_equals() {
        assert_eq!(mode(&mut [2.0, 1.0, 2.0]), 2.0);
        assert_eq!(mode(&mut [2.0, 1.0, 0.0]), 0.0);
        assert_eq!(mode(&mut [2.0, 1.0, 2.0, 1.0]), 1.0);
        assert_eq!(mode(&mut [5.0]), 5.0);
    }
}
