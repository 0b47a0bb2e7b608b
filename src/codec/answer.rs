//! The answer to a prediction: its scores, labels and extras, in the shape and the format that were asked for.
//!
//! [`Accept`] picks the format by the Accept header; the formats write what [`Answer`] holds. Knows no model: what is
//! answered comes in as blocks. Next: `json.rs`, `csv.rs`, `recordio.rs`.

use super::payload::{RECORDIO, is, split};
use super::{csv, json, jsonlines, recordio};
use crate::error::{Error, Kind, Result};
use crate::names::shown;
use crate::tensor::Block;

/// An answer to be written.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// One row of scores per row asked.
    pub scores: &'a Block,
    /// Whether a score is a list even if it holds one number.
    pub list: bool,
    /// A label per row, for classifiers.
    pub labels: Option<&'a Block>,
    /// What else is answered, by name.
    pub extras: &'a [Extra],
    /// In which shape.
    pub form: Form,
}

impl Answer<'_> {
    /// About how many bytes its texts take when they are written, and the names that stand beside every row's values.
    /// The numbers are not counted: they are as many as values, each of a few bytes.
    pub fn text_bytes(&self) -> usize {
        let names: usize = self.extras.iter().map(|extra| extra.name.len()).sum();
        let blocks = [Some(self.scores), self.labels].into_iter().flatten().chain(self.extras.iter().map(|extra| &extra.block));
        blocks.map(text_bytes).fold(names.saturating_mul(self.scores.rows()), usize::saturating_add)
    }
}

/// About how many bytes the texts of `block` take when they are written: JSON has six for a control character.
pub fn text_bytes(block: &Block) -> usize {
    let Block::Text(texts) = block else { return 0 };
    let written = |byte: u8| -> usize {
        match byte {
            0..0x20 => 6,
            b'"' | b'\\' => 2,
            _ => 1,
        }
    };
    texts.values().iter().map(|text| text.bytes().map(written).sum::<usize>()).sum()
}

/// What the explanation of an answer is called in it.
pub const CONTRIBUTIONS: &str = "contributions";

/// Something answered beside the score.
#[derive(Debug, Clone, PartialEq)]
pub struct Extra {
    /// Its name in the answer.
    pub name: Box<str>,
    /// One row per row asked.
    pub block: Block,
    /// Whether a row is a list even if it holds one value.
    pub list: bool,
    /// How many values each inner list holds, where a row is a list of lists; else 0.
    pub inner: usize,
}

/// The shape of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// `{"predictions":[{"score":…,"predicted_label":…}]}`; CSV holds the scores, and contributions as one quoted cell.
    #[default]
    Predictions,
    /// `{"predictions":[{"predicted_label":…}]}`, as nearest neighbours answer: the scores are the labels.
    Labels,
    /// `{"scores":[{"score":…}]}`, as random cut forests answer.
    Scores,
    /// `{"predictions":[{…}]}` of what was selected; CSV holds all of it, lists as one quoted cell.
    Selected,
}

/// Every format, the one that is preferred first.
const ALL: [Accept; 4] = [Accept::Json, Accept::JsonLines, Accept::Csv, Accept::RecordIo];

/// A format for answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// `{"predictions":[{"score":…}]}`
    Json,
    /// One object a line.
    JsonLines,
    /// One row of scores a line.
    Csv,
    /// One protobuf record a row.
    RecordIo,
}

impl Accept {
    /// The format an Accept header asks for; JSON without one. Each format has the weight (`q=`) of what names it most
    /// closely, so one can be ruled out where all others are taken (RFC 9110, 12.5.1). The heaviest counts, of several the
    /// one whose range stands first, and of all in a range the first of those here.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] naming the types written.
    pub fn parse(header: Option<&str>) -> Result<Self> {
        let Some(header) = header.filter(|header| !header.trim().is_empty()) else { return Ok(Self::Json) };
        // How closely it is named, at which place, and its weight.
        let mut named: [Option<(usize, usize, f32)>; ALL.len()] = [None; ALL.len()];
        for (place, one) in header.split(',').enumerate() {
            let (media, parameters) = split(one);
            for (accept, named) in ALL.iter().zip(&mut named) {
                if let Some(closely) = accept.named(media)
                    && named.is_none_or(|(before, ..)| closely > before)
                {
                    *named = Some((closely, place, weight(parameters)));
                }
            }
        }
        let mut best: Option<(Self, usize, f32)> = None;
        for (accept, named) in ALL.iter().zip(named) {
            if let Some((_, place, weight)) = named
                && weight > 0.0
                && best.is_none_or(|(_, first, most)| weight > most || (weight == most && place < first))
            {
                best = Some((*accept, place, weight));
            }
        }
        best.map(|(accept, ..)| accept).ok_or_else(|| {
            let text = format!(
                "answers cannot be written as `{}`; accept application/json, application/jsonlines, text/csv or {RECORDIO}",
                shown(header)
            );
            Error::new(Kind::Unsupported, text)
        })
    }

    /// How closely a media range names this format, if at all: 2 by itself, 1 among others of its kind, 0 among all.
    fn named(self, media: &str) -> Option<usize> {
        let (own, kind): (&[&str], &str) = match self {
            Self::Json => (&["application/json"], "application/*"),
            Self::JsonLines => (&["application/jsonlines", "application/x-ndjson", "application/x-jsonlines"], "application/*"),
            Self::Csv => (&["text/csv"], "text/*"),
            Self::RecordIo => (&[RECORDIO], "application/*"),
        };
        [&["*/*"], &[kind], own].iter().rposition(|names: &&[&str]| is(media, names))
    }

    /// Whether an Accept header asks for all that a model can tell of its answer, by `verbose=true` after a type.
    pub fn verbose(header: Option<&str>) -> bool {
        let parameters = header.into_iter().flat_map(|header| header.split([',', ';']));
        parameters.filter_map(|one| one.split_once('=')).any(|(name, value)| is(name.trim(), &["verbose"]) && is(value.trim(), &["true"]))
    }

    /// The content type of what [`Accept::encode`] writes.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/jsonlines",
            Self::Csv => "text/csv; charset=utf-8",
            Self::RecordIo => RECORDIO,
        }
    }

    /// Writes an answer whose numbers are all finite.
    pub fn encode(self, answer: &Answer<'_>) -> Vec<u8> {
        match self {
            Self::Json => json::write(answer),
            Self::JsonLines => jsonlines::write(answer),
            Self::Csv => csv::write(answer),
            Self::RecordIo => recordio::write(answer),
        }
    }
}

/// The weight among a type's parameters; 1 when none is said or it cannot be read.
fn weight(parameters: &str) -> f32 {
    let said = parameters.split(';').filter_map(|one| one.split_once('=')).find(|(name, _)| is(name.trim(), &["q"]));
    said.and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(1.0)
}

/// Appends the shortest decimal that reads back as `value`.
pub(super) fn write_number(out: &mut Vec<u8>, value: impl serde::Serialize) {
    // Writing a number to a vector cannot fail; a finite one is always legal JSON.
    let _ = serde_json::to_writer(out, &value);
}

/// Appends one value of a block as JSON has it, by its place among all.
pub(super) fn write_value(out: &mut Vec<u8>, block: &Block, at: usize) {
    let written = match block {
        Block::F32(tensor) => tensor.values().get(at).map(|value| serde_json::to_writer(&mut *out, value)),
        Block::F64(tensor) => tensor.values().get(at).map(|value| serde_json::to_writer(&mut *out, value)),
        Block::I64(tensor) => tensor.values().get(at).map(|value| serde_json::to_writer(&mut *out, value)),
        Block::Bool(tensor) => tensor.values().get(at).map(|value| serde_json::to_writer(&mut *out, value)),
        Block::Text(tensor) => tensor.values().get(at).map(|value| serde_json::to_writer(&mut *out, value)),
    };
    // Writing to a vector cannot fail.
    let _ = written;
}

/// Appends a label: whole numbers without a fraction.
#[expect(clippy::cast_possible_truncation, reason = "whole and below 2^24 here")]
pub(super) fn write_label(out: &mut Vec<u8>, labels: &Block, row: usize) {
    match labels {
        Block::F32(tensor) => match tensor.values().get(row) {
            Some(&value) if value.fract() == 0.0 && value.abs() < 16_777_216.0 => write_number(out, value as i32),
            _ => write_value(out, labels, row),
        },
        _ => write_value(out, labels, row),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;

    #[test]
    fn texts_are_counted_as_they_are_written_and_names_for_every_row() {
        let scores: Block = Tensor::new(1, vec![0.5f32; 3]).unwrap().into();
        let labels: Block = Tensor::new(1, vec![Box::<str>::from("né"), "\u{1}".into(), "\"".into()]).unwrap().into();
        let lists: Block = Tensor::new(2, vec![Box::<str>::from("ab"); 6]).unwrap().into();
        let extras = [
            Extra { name: "lists".into(), block: lists, list: true, inner: 0 },
            Extra { name: "score".into(), block: scores.clone(), list: false, inner: 0 },
        ];
        let answer = Answer { scores: &scores, list: false, labels: Some(&labels), extras: &extras, form: Form::Predictions };
        assert_eq!(answer.text_bytes(), (3 + 6 + 2) + 6 * 2 + 3 * (5 + 5));
        assert_eq!(Answer { labels: None, extras: &[], ..answer }.text_bytes(), 0);
    }
}
