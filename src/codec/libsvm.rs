//! `text/libsvm`: `[label] [qid:group] index:value …` a line; what is left out is the model's absent value.
//!
//! A label and a ranking file's group are for training, and passed over. Indices start at 0 or 1. As SageMaker's container
//! does, a body whose smallest index is 1 or more counts from 1; `Content-Type: text/libsvm; indexing=0` (or 1) says it
//! outright. Next: `payload.rs`.

use super::cells::is_infinite;
use super::number::read_f32;
use super::payload::{Cell, Rows};
use crate::error::{Error, Result};
use crate::names::shown;

/// Where indices start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Indexing {
    Guess,
    From(usize),
}

impl Indexing {
    /// Reads `indexing=0|1` among a content type's parameters.
    pub(super) fn from_parameters(parameters: &str) -> Result<Self> {
        for parameter in parameters.split(';') {
            let Some((name, value)) = parameter.split_once('=') else { continue };
            if name.trim().eq_ignore_ascii_case("indexing") {
                return match value.trim() {
                    "0" => Ok(Self::From(0)),
                    "1" => Ok(Self::From(1)),
                    other => Err(Error::invalid(format!("indexing `{}` is neither 0 nor 1", shown(other)))),
                };
            }
        }
        Ok(Self::Guess)
    }
}

/// Reads every line of `body`.
///
/// # Errors
/// Naming the row and the entry.
pub(super) fn read(body: &[u8], indexing: Indexing, rows: &mut Rows<'_>) -> Result<()> {
    rows.empty_is("nan");
    let text = std::str::from_utf8(body).map_err(|_| Error::invalid("the body is not UTF-8"))?;
    let lines = || text.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|line| !line.is_empty());
    let start = match indexing {
        Indexing::From(start) => start,
        Indexing::Guess => {
            let smallest =
                lines().flat_map(str::split_ascii_whitespace).filter_map(|entry| entry.split_once(':')?.0.parse::<usize>().ok()).min();
            usize::from(smallest.is_some_and(|smallest| smallest >= 1))
        }
    };
    for (row, line) in lines().enumerate() {
        rows.sparse_row()?;
        for (at, entry) in line.split_ascii_whitespace().enumerate() {
            let bad = || Error::invalid(format!("row {}: `{}` is no `index:value`", row + 1, shown(entry)));
            let Some((index, value)) = entry.split_once(':') else {
                // A label may stand first; a prediction has no use for it.
                if at == 0 && read_f32(entry.as_bytes()).is_some_and(|(_, length)| length == entry.len()) {
                    continue;
                }
                return Err(bad());
            };
            if index == "qid" && at <= 1 && !value.is_empty() && value.bytes().all(|digit| digit.is_ascii_digit()) {
                continue;
            }
            let index: usize = index.parse().map_err(|_| bad())?;
            let index = index.checked_sub(start).ok_or_else(bad)?;
            let is_number = read_f32(value.as_bytes()).is_some_and(|(_, length)| length == value.len());
            // What stands for infinity is refused where all values are, in words of its own.
            if !is_number && !value.eq_ignore_ascii_case("nan") && !is_infinite(value.as_bytes()) {
                return Err(bad());
            }
            rows.set(index, Cell::Bare(value))?;
        }
    }
    Ok(())
}
