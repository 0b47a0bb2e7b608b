//! The rows of a prediction: which format by content type, every value checked as it comes.
//!
//! [`Rows`] is where every format puts its values, so width, missing values and sizes are checked and named (row and
//! column, from 1) in one place. Knows no model; `service/invoke.rs` says what is expected. Next: `cells.rs` for what a
//! value is to its column, `csv.rs`, `answer.rs` for the way back.

use std::cell::OnceCell;
use std::collections::HashMap;

use smallvec::{SmallVec, smallvec};

use super::columns::Columns;
use super::number::read_f32;
use super::parts::{One, Parts};
use super::{csv, json, jsonlines, libsvm, recordio};
use crate::error::{Error, Kind, Result};
use crate::names::{counted, shown};
use crate::tensor::{Block, Part, Tensor, ValueKind};

pub(super) const RECORDIO: &str = "application/x-recordio-protobuf";

/// What rows are expected.
#[derive(Debug, Clone, Copy)]
pub struct Expect<'a> {
    /// The blocks that the columns of a row fill, in order.
    pub parts: &'a [Part],
    /// Columns of all parts together.
    pub features: usize,
    /// Their names, or empty.
    pub names: &'a Columns,
    /// What a value left out of a sparse row stands for.
    pub absent: f32,
    /// Whether a missing number is taken.
    pub missing: bool,
    /// Whether a column that is missing, or not named, is 0.
    pub optional: bool,
    /// The most values (rows × columns) a request may spread into.
    pub cells: usize,
    /// How deep JSON may nest.
    pub depth: usize,
}

/// What a name in a row stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Place {
    /// This column of the row.
    Column(usize),
    /// All columns of this input.
    Input(usize),
}

/// A value as it is written, before it is known what column it fills.
#[derive(Debug, Clone, Copy)]
pub enum Cell<'a> {
    /// Nothing: an empty cell, `null`.
    Missing,
    /// Characters that are a number where one is taken, or else text.
    Bare(&'a str),
    /// Text, and nothing else.
    Text(&'a str),
    /// True or false.
    Bool(bool),
    /// A number that was never written.
    F64(f64),
}

/// Decodes `body` by its content type. Without one, a body that begins like JSON is JSON and any other is CSV.
///
/// # Errors
/// [`Kind::Unsupported`] naming the types taken, [`Kind::Validation`] naming row and column, [`Kind::TooLarge`].
pub fn decode(content_type: Option<&str>, body: &[u8], expect: &Expect<'_>) -> Result<SmallVec<[Block; 1]>> {
    let (media, parameters) = split(content_type.unwrap_or_default());
    let mut rows = Rows::new(expect);
    if media.is_empty() {
        match body.trim_ascii_start().first() {
            Some(b'[' | b'{') => json::read(body, &mut rows)?,
            _ => csv::read(body, &mut rows)?,
        }
    } else if is(media, &["text/csv", "csv"]) {
        csv::without_header(parameters)?;
        csv::read(body, &mut rows)?;
    } else if is(media, &["application/json", "json"]) {
        json::read(body, &mut rows)?;
    } else if is(media, &["application/jsonlines", "application/x-ndjson", "application/x-jsonlines"]) {
        jsonlines::read(body, &mut rows)?;
    } else if is(media, &["text/libsvm", "text/x-libsvm", "libsvm"]) {
        libsvm::read(body, libsvm::Indexing::from_parameters(parameters)?, &mut rows)?;
    } else if is(media, &[RECORDIO]) {
        recordio::read(body, &mut rows)?;
    } else {
        return Err(Error::new(
            Kind::Unsupported,
            format!(
                "content type `{}` cannot be read; send Content-Type text/csv, application/json, application/jsonlines, text/libsvm or \
                 application/x-recordio-protobuf",
                shown(media)
            ),
        ));
    }
    rows.finish()
}

/// The media type and its parameters.
pub(super) fn split(value: &str) -> (&str, &str) {
    let (media, parameters) = value.split_once(';').unwrap_or((value, ""));
    (media.trim(), parameters)
}

pub(super) fn is(media: &str, names: &[&str]) -> bool {
    names.iter().any(|name| media.eq_ignore_ascii_case(name))
}

/// Collects rows and refuses what does not fit.
#[derive(Debug)]
pub struct Rows<'a> {
    pub(super) expect: &'a Expect<'a>,
    filling: Filling,
    row: usize,
    pub(super) column: usize,
    /// Whether it is a sparse row's value that is read: places are named by feature then.
    sparse: bool,
    /// How the format writes a missing value.
    pub(super) empty: &'static str,
    /// The columns that the latest sparse row has set, and whether each stood behind the one before.
    set: Vec<usize>,
    ascending: bool,
    /// Inputs and the column that each begins with, by their names; made by the first row that asks.
    inputs: OnceCell<HashMap<&'a str, (usize, usize), foldhash::fast::RandomState>>,
}

/// What the values go to.
#[derive(Debug)]
enum Filling {
    /// One matrix of 32-bit numbers: what nearly every model takes.
    Dense(Vec<f32>),
    /// A list of values for each part.
    Parts(Parts),
}

impl<'a> Rows<'a> {
    fn new(expect: &'a Expect<'a>) -> Self {
        let filling = if let [Part { kind: ValueKind::F32, .. }] = expect.parts {
            Filling::Dense(Vec::with_capacity(expect.features.min(expect.cells)))
        } else {
            Filling::Parts(Parts::new(expect.parts))
        };
        Self { expect, filling, row: 0, column: 0, sparse: false, empty: "NaN", set: Vec::new(), ascending: true, inputs: OnceCell::new() }
    }

    /// Says how a missing value is written, for refusals.
    pub fn empty_is(&mut self, empty: &'static str) {
        self.empty = empty;
    }

    /// The columns of every row.
    pub fn features(&self) -> usize {
        self.expect.features
    }

    /// The columns' names, or nothing.
    pub fn names(&self) -> &'a Columns {
        self.expect.names
    }

    /// The inputs that a row's columns fill, in order.
    pub fn parts(&self) -> &'a [Part] {
        self.expect.parts
    }

    /// Whether a column that is missing, or not named, is 0.
    pub fn optional(&self) -> bool {
        self.expect.optional
    }

    /// Whether a row can say by name what is meant.
    pub(super) fn has_names(&self) -> bool {
        !self.names().is_empty() || self.parts().iter().any(|part| !part.name.is_empty())
    }

    /// What names in a row are.
    pub(super) fn called(&self) -> &'static str {
        if self.parts().iter().any(|part| part.columns > 1 && !part.name.is_empty()) {
            "column or input of the model"
        } else {
            "column of the model"
        }
    }

    /// What `name` stands for: an input, a column, or one by the name and number of the only input.
    pub(super) fn place(&self, name: &str) -> Option<Place> {
        let inputs = self.inputs.get_or_init(|| {
            let mut first = 0;
            let begin = |(at, part): (usize, &'a Part)| {
                let place = (&*part.name, (at, first));
                first += part.columns;
                place
            };
            self.parts().iter().enumerate().map(begin).filter(|(name, _)| !name.is_empty()).collect()
        });
        let named = self.names().place(name).map(Place::Column);
        // A dictionary's word may be called as the dictionary.
        if named.is_some() && self.expect.optional {
            return named;
        }
        if let Some(&(at, first)) = inputs.get(name) {
            let single = self.parts().get(at).is_some_and(|part| part.columns == 1);
            return Some(if single { Place::Column(first) } else { Place::Input(at) });
        }
        let ([part], None) = (self.parts(), named) else { return named };
        let number = name.strip_prefix(&*part.name).filter(|_| !part.name.is_empty())?.strip_prefix('_')?;
        let at: usize = number.parse().ok().filter(|&at| at < part.columns)?;
        // One column has one name.
        (self.names().is_empty() && at.to_string() == number).then_some(Place::Column(at))
    }

    /// How deep JSON may nest.
    pub fn depth(&self) -> usize {
        self.expect.depth
    }

    /// Whether every value is a 32-bit number, so that [`Rows::push`] takes them.
    pub fn dense(&self) -> bool {
        matches!(self.filling, Filling::Dense(_))
    }

    /// Whether the next value's column takes text.
    pub fn takes_text(&self) -> bool {
        matches!(&self.filling, Filling::Parts(parts) if parts.kind() == Some(ValueKind::Text))
    }

    /// Whether the next value may be a category's text where its code is taken.
    pub fn takes_category(&self) -> bool {
        self.dense() && self.expect.names.categories(self.column).is_some()
    }

    /// Adds the next value of a dense row.
    ///
    /// # Errors
    /// When the request grows over its limit.
    pub fn push(&mut self, value: f32) -> Result<()> {
        if value.is_finite() {
            return self.put(value);
        }
        if value.is_nan() { self.push_missing() } else { Err(self.too_large(32)) }
    }

    /// Adds a missing value.
    ///
    /// # Errors
    /// When the model takes none.
    pub fn push_missing(&mut self) -> Result<()> {
        if !self.dense() {
            return self.push_cell(Cell::Missing);
        }
        if !self.expect.missing {
            return Err(self.refuse("is empty; this model takes no missing values"));
        }
        self.put(if self.expect.optional { 0.0 } else { f32::NAN })
    }

    fn put(&mut self, value: f32) -> Result<()> {
        // Too many values in a row are counted and named at its end, not kept.
        if self.column < self.expect.features
            && let Filling::Dense(values) = &mut self.filling
        {
            if values.len() >= self.expect.cells {
                return Err(self.too_many());
            }
            values.push(value);
        }
        self.column += 1;
        Ok(())
    }

    /// Adds the next value of the row, whatever its column takes.
    ///
    /// # Errors
    /// When it is not what its column takes, or the request grows over its limit.
    pub fn push_cell(&mut self, cell: Cell<'_>) -> Result<()> {
        if self.column >= self.expect.features {
            self.column += 1;
            return Ok(());
        }
        if self.dense() {
            let value = self.number(cell, read_f32, |wide| wide as f32)?;
            return self.push(self.finite(cell, value)?);
        }
        if self.row * self.expect.features + self.column >= self.expect.cells {
            return Err(self.too_many());
        }
        let kind = if let Filling::Parts(parts) = &self.filling { parts.kind() } else { None };
        let value = self.one(kind, cell)?;
        if let Filling::Parts(parts) = &mut self.filling {
            parts.push(value, self.column)?;
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
            return Err(Error::invalid(format!("row {} has {}; the model takes {features}", self.row + 1, counted(got, "value"))));
        }
        self.row += 1;
        self.column = 0;
        if let Filling::Parts(parts) = &mut self.filling {
            parts.rewind();
        }
        Ok(())
    }

    /// Adds a whole row of absent values; [`Rows::set`] then fills it.
    ///
    /// # Errors
    /// When a column takes what cannot be left out, such as text, or the request grows over its limit.
    pub fn sparse_row(&mut self) -> Result<()> {
        self.set_once()?;
        let Expect { features, absent, cells, .. } = *self.expect;
        if self.row.saturating_mul(features).saturating_add(features) > cells {
            return Err(self.too_many());
        }
        match &mut self.filling {
            Filling::Dense(values) => values.resize(values.len() + features, absent),
            Filling::Parts(parts) => parts.absent_row(self.expect.parts, absent)?,
        }
        self.row += 1;
        Ok(())
    }

    /// Refuses a sparse row that set a column twice: which of the two was meant?
    fn set_once(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.ascending, true) {
            self.set.sort_unstable();
            if let Some([twice, _]) = self.set.array_windows().find(|[one, other]| one == other) {
                return Err(Error::invalid(format!("row {} sets feature {twice} twice", self.row)));
            }
        }
        self.set.clear();
        Ok(())
    }

    /// Sets a value of the latest sparse row.
    ///
    /// # Errors
    /// When the column is outside the model, or the value is not what it takes.
    pub fn set(&mut self, column: usize, cell: Cell<'_>) -> Result<()> {
        let features = self.expect.features;
        if column >= features {
            return Err(Error::invalid(format!("row {} sets feature {column}; the model's are 0 to {}", self.row, features - 1)));
        }
        self.ascending &= self.set.last().is_none_or(|last| *last < column);
        self.set.push(column);
        let kind = match &self.filling {
            Filling::Dense(_) => Some(ValueKind::F32),
            Filling::Parts(parts) => parts.kind_of(column),
        };
        // What is refused is a value of the row before the next one.
        let row = self.row - 1;
        let next = std::mem::replace(&mut self.row, row);
        (self.column, self.sparse) = (column, true);
        let value = self.one(kind, cell);
        (self.row, self.column, self.sparse) = (next, 0, false);
        match (&mut self.filling, value?) {
            (Filling::Dense(values), One::F32(value)) => {
                values.get_mut(row * features + column).map(|place| *place = value).ok_or_else(Parts::other)
            }
            (Filling::Parts(parts), value) => parts.set(row, column, value),
            (Filling::Dense(_), _) => Err(Parts::other()),
        }
    }

    /// Refuses the value that comes next: "row 2, column 3 (`LOT_ACRES`) …".
    pub fn refuse(&self, why: impl std::fmt::Display) -> Error {
        let name = self.expect.names.get(self.column).map(|name| format!(" (`{}`)", shown(name))).unwrap_or_default();
        if self.sparse {
            return Error::invalid(format!("row {}, feature {}{name} {why}", self.row + 1, self.column));
        }
        Error::invalid(format!("row {}, column {}{name} {why}", self.row + 1, self.column + 1))
    }

    /// Refuses an input of the row that is read: "row 2, input `A` …".
    pub(super) fn refuse_input(&self, part: &Part, why: impl std::fmt::Display) -> Error {
        Error::invalid(format!("row {}, input `{}` {why}", self.row + 1, shown(&part.name)))
    }

    fn finish(mut self) -> Result<SmallVec<[Block; 1]>> {
        self.set_once()?;
        if self.row == 0 {
            return Err(Error::invalid("the body holds no row; send at least one"));
        }
        let whole = || Error::new(Kind::Internal, "a payload became no whole rows");
        match self.filling {
            Filling::Dense(values) => Ok(smallvec![Tensor::new(self.expect.features, values).ok_or_else(whole)?.into()]),
            Filling::Parts(parts) => parts.finish().ok_or_else(whole),
        }
    }
}
