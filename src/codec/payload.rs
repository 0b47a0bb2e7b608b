//! The rows of a prediction: which format by content type, every value checked as it comes.
//!
//! [`Rows`] is where every format puts its values, so width, missing values and sizes are checked and named (row and
//! column, from 1) in one place. Knows no model; `service/invoke.rs` says what is expected. Next: `csv.rs`,
//! `answer.rs` for the way back.

use std::cell::OnceCell;
use std::collections::HashMap;

use smallvec::{SmallVec, smallvec};

use super::columns::{Categories, Columns};
use super::number::{read_f32, read_f64};
use super::parts::{One, Parts};
use super::{csv, json, jsonlines, libsvm, recordio};
use crate::error::{Error, Kind, Result};
use crate::names::{counted, shown};
use crate::tensor::{Block, Part, Tensor, ValueKind};

pub(super) const RECORDIO: &str = "application/x-recordio-protobuf";

/// How many categories a refusal names.
const CATEGORIES_SHOWN: usize = 5;

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
    expect: &'a Expect<'a>,
    filling: Filling,
    row: usize,
    column: usize,
    /// Whether it is a sparse row's value that is read: places are named by feature then.
    sparse: bool,
    /// How the format writes a missing value.
    empty: &'static str,
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

    /// A cell as a column of `kind` takes it.
    fn one(&self, kind: Option<ValueKind>, cell: Cell<'_>) -> Result<One> {
        Ok(match kind {
            Some(ValueKind::F32) => One::F32(self.finite(cell, self.number(cell, read_f32, |wide| wide as f32)?)?),
            Some(ValueKind::F64) => One::F64(self.finite(cell, self.number(cell, read_f64, |wide| wide)?)?),
            Some(ValueKind::I64) => One::I64(self.whole(cell)?),
            Some(ValueKind::Bool) => One::Bool(self.truth(cell)?),
            Some(ValueKind::Text) => One::Text(self.text(cell)?),
            None => return Err(Error::new(Kind::Internal, "a column belongs to no part")),
        })
    }

    fn number<T: From<f32>>(&self, cell: Cell<'_>, read: impl Fn(&[u8]) -> Option<(T, usize)>, narrow: impl Fn(f64) -> T) -> Result<T> {
        let text = match cell {
            Cell::F64(value) if value.is_nan() => "",
            Cell::F64(value) => return Ok(narrow(value)),
            Cell::Missing => "",
            Cell::Bare(text) => match self.expect.names.categories(self.column) {
                Some(categories) => match self.plain_or_code(text, categories)? {
                    Ok(plain) => plain,
                    Err(code) => return Ok(T::from(code)),
                },
                None => text,
            },
            Cell::Bool(_) => return Err(self.refuse("is true or false, no number")),
            Cell::Text(text) => match self.expect.names.categories(self.column) {
                Some(categories) => return self.code(text, categories).map(T::from),
                None => return Err(self.refuse("is text, no number")),
            },
        };
        if is_missing(text.as_bytes()) {
            let what = if text.is_empty() { "empty" } else { "no number" };
            return if self.expect.missing {
                Ok(T::from(if self.expect.optional { 0.0 } else { f32::NAN }))
            } else {
                Err(self.refuse(format_args!("is {what}; this model takes no missing values")))
            };
        }
        match read(text.as_bytes()) {
            Some((value, used)) if used == text.len() => Ok(value),
            _ if is_infinite(text.as_bytes()) => Err(self.infinite(text)),
            _ => Err(self.refuse(format_args!("is `{}`, no number", shown(text)))),
        }
    }

    /// The code of a category.
    #[expect(clippy::cast_precision_loss, reason = "codes are below 2^24")]
    fn code(&self, text: &str, categories: &Categories) -> Result<f32> {
        if let Some(code) = categories.code(text) {
            return Ok(code as f32);
        }
        let some: Vec<String> = categories.iter().take(CATEGORIES_SHOWN).map(|text| format!("`{}`", shown(text))).collect();
        let more = categories.len().saturating_sub(CATEGORIES_SHOWN);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        Err(self.refuse(format_args!(
            "is `{}`, none of the categories the model was trained on, which are {}{more}; send one of them or its code",
            shown(text),
            some.join(", ")
        )))
    }

    /// What is written without saying whether it is a number: a code or a missing value as it is, else a category's code.
    /// Numbers go first, so that codes stay codes where categories are written in digits.
    fn plain_or_code<'t>(&self, text: &'t str, categories: &Categories) -> Result<std::result::Result<&'t str, f32>> {
        let plain = text.trim().trim_matches('"').trim();
        let is_number = read_f32(plain.as_bytes()).is_some_and(|(_, used)| used == plain.len());
        let is_plain =
            is_number || plain.is_empty() && text.trim().is_empty() || is_missing(plain.as_bytes()) && categories.code(text).is_none();
        if is_plain { Ok(Ok(plain)) } else { self.code(text, categories).map(Err) }
    }

    fn finite<T: Copy + Into<f64>>(&self, cell: Cell<'_>, value: T) -> Result<T> {
        if !value.into().is_infinite() {
            return Ok(value);
        }
        Err(match cell {
            Cell::F64(wide) if wide.is_infinite() => self.infinite(if wide > 0.0 { "infinity" } else { "-infinity" }),
            _ => self.too_large(8 * size_of::<T>()),
        })
    }

    /// Refuses what stands for infinity: the libraries refuse it too, or answer what nobody asked.
    pub fn infinite(&self, written: &str) -> Error {
        self.refuse(format_args!("is `{}`, and no model takes an infinite value; send {}", shown(written), self.instead("a finite number")))
    }

    fn too_large(&self, bits: usize) -> Error {
        self.refuse(format_args!("is too large for the model's {bits}-bit numbers; send {}", self.instead("a smaller one")))
    }

    fn instead(&self, number: &str) -> String {
        if self.expect.missing { format!("{number}, or {} for a missing value", self.empty) } else { number.to_owned() }
    }

    #[expect(clippy::cast_possible_truncation, reason = "whole and in range as checked")]
    fn whole(&self, cell: Cell<'_>) -> Result<i64> {
        let no = |text: &str| self.refuse(format_args!("is `{}`, no whole number", shown(text)));
        match cell {
            Cell::Bare(text) if self.expect.optional && is_missing(text.as_bytes()) => Ok(0),
            Cell::Bare(text) => text.parse().or_else(|_| match read_f64(text.as_bytes()) {
                Some((value, used)) if used == text.len() && value.fract() == 0.0 && value.abs() < 9e15 => Ok(value as i64),
                Some((_, used))
                    if used == text.len()
                        && let Some(value) = written_whole(text) =>
                {
                    Ok(value)
                }
                Some((value, used)) if used == text.len() && value.abs() >= 9.2e18 => {
                    Err(self.refuse("is too large for the model's whole numbers; send a smaller one"))
                }
                _ => Err(no(text)),
            }),
            Cell::F64(value) if value.fract() == 0.0 && value.abs() < 9e15 => Ok(value as i64),
            Cell::F64(value) => Err(no(&value.to_string())),
            Cell::Bool(value) => Ok(i64::from(value)),
            Cell::Text(text) => Err(no(text)),
            Cell::Missing if self.expect.optional => Ok(0),
            Cell::Missing => Err(self.refuse("is empty; this column takes whole numbers")),
        }
    }

    fn truth(&self, cell: Cell<'_>) -> Result<bool> {
        match cell {
            Cell::Bool(value) => Ok(value),
            Cell::F64(value) if value == 1.0 || value == 0.0 => Ok(value == 1.0),
            Cell::Bare(text) if text == "1" || text.eq_ignore_ascii_case("true") => Ok(true),
            Cell::Bare(text) if text == "0" || text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(self.refuse("is neither true nor false")),
        }
    }

    fn text(&self, cell: Cell<'_>) -> Result<Box<str>> {
        match cell {
            Cell::Bare(text) | Cell::Text(text) => Ok(text.into()),
            // What scikit-learn's encoders and imputers take a missing text for.
            Cell::Missing => Ok("".into()),
            Cell::Bool(_) | Cell::F64(_) => Err(self.refuse("is no text; this column takes text")),
        }
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

/// A whole number written with a fraction of zeros or an exponent, without a detour through an `f64`.
fn written_whole(text: &str) -> Option<i64> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let fraction = fraction.trim_end_matches('0');
    let zeros = exponent.parse::<i32>().ok()?.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let digits: i64 = format!("{whole}{fraction}").parse().ok()?;
    digits.checked_mul(10i64.checked_pow(u32::try_from(zeros).ok()?)?)
}

/// Whether a written value stands for an infinite number.
pub(super) fn is_infinite(text: &[u8]) -> bool {
    let word = text.strip_prefix(b"-").or_else(|| text.strip_prefix(b"+")).unwrap_or(text);
    [&b"inf"[..], b"infinity"].iter().any(|infinity| word.eq_ignore_ascii_case(infinity))
}

/// Whether a written value stands for a missing number.
pub(super) fn is_missing(text: &[u8]) -> bool {
    text.is_empty() || [&b"nan"[..], b"na", b"null"].iter().any(|word| text.eq_ignore_ascii_case(word))
}
