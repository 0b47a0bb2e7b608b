//! The payload of a prediction: which format by content type, rows checked as they come, answers by Accept.
//!
//! [`Rows`] is where every format puts its values, so width, missing values and sizes are checked and named (row and
//! column, from 1) in one place. Knows no model; `service/invoke.rs` says what is expected. Next: `csv.rs`.

use super::{csv, json, jsonlines, libsvm};
use crate::error::{Error, Kind, Result};
use crate::names::shown;
use crate::tensor::Tensor;

/// What rows are expected.
#[derive(Debug, Clone, Copy)]
pub struct Expect<'a> {
    /// Columns.
    pub features: usize,
    /// Their names, or empty.
    pub names: &'a [Box<str>],
    /// What a value left out of a sparse row stands for.
    pub absent: f32,
    /// Whether a missing value is taken.
    pub missing: bool,
    /// The most values (rows × columns) a request may spread into.
    pub cells: usize,
}

/// Decodes `body` by its content type. Without one, a body that begins like JSON is JSON and any other is CSV.
///
/// # Errors
/// [`Kind::Unsupported`] naming the types taken, [`Kind::Validation`] naming row and column, [`Kind::TooLarge`].
pub fn decode(content_type: Option<&str>, body: &[u8], expect: &Expect<'_>) -> Result<Tensor> {
    let (media, parameters) = split(content_type.unwrap_or_default());
    let mut rows = Rows::new(expect);
    if media.is_empty() {
        match body.trim_ascii_start().first() {
            Some(b'[' | b'{') => json::read(body, &mut rows)?,
            _ => csv::read(body, &mut rows)?,
        }
    } else if is(media, &["text/csv", "csv"]) {
        csv::read(body, &mut rows)?;
    } else if is(media, &["application/json", "json"]) {
        json::read(body, &mut rows)?;
    } else if is(media, &["application/jsonlines", "application/x-ndjson", "application/x-jsonlines"]) {
        jsonlines::read(body, &mut rows)?;
    } else if is(media, &["text/libsvm", "text/x-libsvm", "libsvm"]) {
        libsvm::read(body, libsvm::Indexing::from_parameters(parameters)?, &mut rows)?;
    } else {
        return Err(Error::new(
            Kind::Unsupported,
            format!(
                "content type `{}` cannot be read; send Content-Type text/csv, application/json, application/jsonlines or text/libsvm",
                shown(media)
            ),
        ));
    }
    rows.finish()
}

/// The media type and its parameters.
fn split(value: &str) -> (&str, &str) {
    let (media, parameters) = value.split_once(';').unwrap_or((value, ""));
    (media.trim(), parameters)
}

fn is(media: &str, names: &[&str]) -> bool {
    names.iter().any(|name| media.eq_ignore_ascii_case(name))
}

/// Collects rows and refuses what does not fit.
#[derive(Debug)]
pub struct Rows<'a> {
    expect: &'a Expect<'a>,
    values: Vec<f32>,
    row: usize,
    column: usize,
}

impl<'a> Rows<'a> {
    fn new(expect: &'a Expect<'a>) -> Self {
        Self { expect, values: Vec::with_capacity(expect.features.min(expect.cells)), row: 0, column: 0 }
    }

    /// The columns of every row.
    pub fn features(&self) -> usize {
        self.expect.features
    }

    /// Adds the next value of the row.
    ///
    /// # Errors
    /// When the request grows over its limit.
    pub fn push(&mut self, value: f32) -> Result<()> {
        if value.is_finite() {
            return self.place(value);
        }
        if value.is_nan() { self.push_missing() } else { Err(self.refuse("is too large for the model's 32-bit numbers")) }
    }

    /// Adds a missing value.
    ///
    /// # Errors
    /// When the model takes none.
    pub fn push_missing(&mut self) -> Result<()> {
        if !self.expect.missing {
            return Err(self.refuse("is empty; this model takes no missing values"));
        }
        self.place(f32::NAN)
    }

    fn place(&mut self, value: f32) -> Result<()> {
        // Too many values in a row are counted and named at its end, not kept.
        if self.column < self.expect.features {
            if self.values.len() >= self.expect.cells {
                return Err(self.too_many());
            }
            self.values.push(value);
        }
        self.column += 1;
        Ok(())
    }

    fn too_many(&self) -> Error {
        let Expect { features, cells, .. } = self.expect;
        Error::new(Kind::TooLarge, format!("the request holds more than {cells} values ({features} a row); send fewer rows at once"))
    }

    /// Ends the row.
    ///
    /// # Errors
    /// When it is not as wide as the model.
    pub fn end_row(&mut self) -> Result<()> {
        let (got, features) = (self.column, self.expect.features);
        if got != features {
            return Err(Error::invalid(format!("row {} has {got} values; the model takes {features}", self.row + 1)));
        }
        self.row += 1;
        self.column = 0;
        Ok(())
    }

    /// Adds a whole row of absent values; [`Rows::set`] then fills it.
    ///
    /// # Errors
    /// When the request grows over its limit.
    pub fn sparse_row(&mut self) -> Result<()> {
        if self.values.len() + self.expect.features > self.expect.cells {
            return Err(self.too_many());
        }
        self.values.resize(self.values.len() + self.expect.features, self.expect.absent);
        self.row += 1;
        Ok(())
    }

    /// Sets a value of the latest sparse row.
    ///
    /// # Errors
    /// When the column is outside the model, or the value missing where none is taken.
    pub fn set(&mut self, column: usize, value: f32) -> Result<()> {
        let features = self.expect.features;
        if column >= features {
            return Err(Error::invalid(format!("row {} sets feature {column}; the model's are 0 to {}", self.row, features - 1)));
        }
        if value.is_infinite() {
            let why = "is too large for the model's 32-bit numbers";
            return Err(Error::invalid(format!("row {}, feature {column} {why}", self.row)));
        }
        if value.is_nan() && !self.expect.missing {
            return Err(Error::invalid(format!("row {}, feature {column} is no number; this model takes no missing values", self.row)));
        }
        let at = (self.row - 1) * features + column;
        if let Some(place) = self.values.get_mut(at) {
            *place = value;
        }
        Ok(())
    }

    /// Refuses the value that comes next: "row 2, column 3 (`LOT_ACRES`) …".
    pub fn refuse(&self, why: impl std::fmt::Display) -> Error {
        let name = self.expect.names.get(self.column).map(|name| format!(" (`{}`)", shown(name))).unwrap_or_default();
        Error::invalid(format!("row {}, column {}{name} {why}", self.row + 1, self.column + 1))
    }

    fn finish(self) -> Result<Tensor> {
        if self.row == 0 {
            return Err(Error::invalid("the body holds no row; send at least one"));
        }
        Tensor::new(self.expect.features, self.values).ok_or_else(|| Error::new(Kind::Internal, "a payload became no whole rows"))
    }
}

/// An answer to be written.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    /// One row of scores per row asked.
    pub scores: &'a Tensor,
    /// Whether a score is a list even if it holds one number.
    pub list: bool,
    /// A label per row, for classifiers.
    pub labels: Option<&'a [f32]>,
}

/// A format for answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accept {
    /// `{"predictions":[{"score":…}]}`
    Json,
    /// One object a line.
    JsonLines,
    /// One row of scores a line.
    Csv,
}

impl Accept {
    /// The format an Accept header asks for; JSON without one. The first type in it that can be written counts.
    ///
    /// # Errors
    /// [`Kind::Unsupported`] naming the types written.
    pub fn parse(header: Option<&str>) -> Result<Self> {
        let Some(header) = header.filter(|header| !header.trim().is_empty()) else { return Ok(Self::Json) };
        for one in header.split(',') {
            let (media, _) = split(one);
            if is(media, &["application/json", "*/*", "application/*"]) {
                return Ok(Self::Json);
            }
            if is(media, &["application/jsonlines", "application/x-ndjson", "application/x-jsonlines"]) {
                return Ok(Self::JsonLines);
            }
            if is(media, &["text/csv", "text/*"]) {
                return Ok(Self::Csv);
            }
        }
        Err(Error::new(
            Kind::Unsupported,
            format!("answers cannot be written as `{}`; accept application/json, application/jsonlines or text/csv", shown(header)),
        ))
    }

    /// The content type of what [`Accept::encode`] writes.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::JsonLines => "application/jsonlines",
            Self::Csv => "text/csv; charset=utf-8",
        }
    }

    /// Writes an answer whose numbers are all finite.
    pub fn encode(self, answer: &Answer<'_>) -> Vec<u8> {
        match self {
            Self::Json => json::write(answer),
            Self::JsonLines => jsonlines::write(answer),
            Self::Csv => csv::write(answer),
        }
    }
}

/// Appends the shortest decimal that reads back as `value`.
pub(super) fn write_number(out: &mut Vec<u8>, value: f32) {
    // Writing a number to a vector cannot fail; a finite one is always legal JSON.
    let _ = serde_json::to_writer(out, &value);
}

/// Appends a label: whole numbers without a fraction.
pub(super) fn write_label(out: &mut Vec<u8>, value: f32) {
    #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^24 here")]
    if value.fract() == 0.0 && value.abs() < 16_777_216.0 {
        let _ = serde_json::to_writer(out, &(value as i32));
    } else {
        write_number(out, value);
    }
}
