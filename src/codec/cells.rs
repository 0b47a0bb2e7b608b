//! What a written value is to the column it stands in: a number, a category's code, a whole number, a truth, a text, or
//! refused by its place and what to send instead.
//!
//! It must not know formats, nor where values go. Next: `payload.rs`, whose rows ask; `number.rs`, which reads digits.

use super::columns::Categories;
use super::number::{read_f32, read_f64};
use super::parts::One;
use super::payload::{Cell, Rows};
use crate::error::{Error, Kind, Result};
use crate::names::shown;
use crate::tensor::ValueKind;

/// How many categories a refusal names.
const CATEGORIES_SHOWN: usize = 5;

impl Rows<'_> {
    /// A cell as a column of `kind` takes it.
    pub(super) fn one(&self, kind: Option<ValueKind>, cell: Cell<'_>) -> Result<One> {
        Ok(match kind {
            Some(ValueKind::F32) => One::F32(self.finite(cell, self.number(cell, read_f32, |wide| wide as f32)?)?),
            Some(ValueKind::F64) => One::F64(self.finite(cell, self.number(cell, read_f64, |wide| wide)?)?),
            Some(ValueKind::I64) => One::I64(self.whole(cell)?),
            Some(ValueKind::Bool) => One::Bool(self.truth(cell)?),
            Some(ValueKind::Text) => One::Text(self.text(cell)?),
            None => return Err(Error::new(Kind::Internal, "a column belongs to no part")),
        })
    }

    pub(super) fn number<T: From<f32>>(
        &self,
        cell: Cell<'_>,
        read: impl Fn(&[u8]) -> Option<(T, usize)>,
        narrow: impl Fn(f64) -> T,
    ) -> Result<T> {
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

    pub(super) fn finite<T: Copy + Into<f64>>(&self, cell: Cell<'_>, value: T) -> Result<T> {
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

    pub(super) fn too_large(&self, bits: usize) -> Error {
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
