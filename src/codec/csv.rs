//! `text/csv`: a row a line, no header, an empty cell is a missing value, quotes allowed.
//!
//! A column of text is read as Python's `csv` and pandas read the file a model was trained on: a cell is in quotes only
//! if the quote is its first character, and blanks belong to the text. Of `a, "b"` the second cell is the four
//! characters ` "b"`. Where numbers, true or false are taken, blanks around a cell and its quotes say nothing.
//!
//! Knows nothing of models. Next: `payload.rs`, whose rows it fills.

use super::answer::{Answer, CONTRIBUTIONS, Extra, Form, write_number, write_value};
use super::cells::{is_infinite, is_missing};
use super::json::write_extra;
use super::number::read_f32;
use super::payload::{Cell, Rows, is};
use crate::error::{Error, Result};
use crate::names::shown;
use crate::tensor::Block;

/// Refuses rows that are said to begin with a header line (RFC 4180, 3): their order would have to be read from it.
///
/// # Errors
/// Saying what to send.
pub(super) fn without_header(parameters: &str) -> Result<()> {
    let mut said = parameters.split(';').filter_map(|one| one.split_once('='));
    if said.any(|(name, value)| is(name.trim(), &["header"]) && is(value.trim().trim_matches('"'), &["present"])) {
        return Err(Error::invalid(
            "the content type says `header=present`; send the rows alone, each with its values in the order of the model's columns",
        ));
    }
    Ok(())
}

/// Reads every line of `body`.
///
/// # Errors
/// Naming row and column.
pub(super) fn read(body: &[u8], rows: &mut Rows<'_>) -> Result<()> {
    rows.empty_is("an empty cell");
    let mut rest = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    while !rest.is_empty() {
        rest = line(rest, rows)?;
    }
    Ok(())
}

/// Reads one line and returns what follows it.
fn line<'a>(mut rest: &'a [u8], rows: &mut Rows<'_>) -> Result<&'a [u8]> {
    // A blank line is no row, except as the one missing value of a one-column model between other lines.
    if let Some(after) = rest.strip_prefix(b"\r\n").or_else(|| rest.strip_prefix(b"\n"))
        && (rows.features() != 1 || after.is_empty())
    {
        return Ok(after);
    }
    loop {
        rest = cell(rest, rows)?;
        match rest {
            [] | [b'\r'] => {
                rows.end_row()?;
                return Ok(&[]);
            }
            [b',', after @ ..] => {
                rest = after;
                // A comma at the very end leaves one more empty cell.
                if rest.is_empty() {
                    rows.push_missing()?;
                    rows.end_row()?;
                    return Ok(rest);
                }
            }
            [b'\r', b'\n', after @ ..] | [b'\n', after @ ..] => {
                rows.end_row()?;
                return Ok(after);
            }
            _ => return Err(not_a_number(rest, rows)),
        }
    }
}

/// Reads one cell and returns what follows it: a separator, a line's end or nothing.
#[inline]
fn cell<'a>(rest: &'a [u8], rows: &mut Rows<'_>) -> Result<&'a [u8]> {
    // The usual case first: a bare number up to its separator.
    if rows.dense()
        && let Some((value, length)) = read_f32(rest)
        && let Some(after) = rest.get(length..)
        && matches!(after, [] | [b',' | b'\n', ..])
    {
        rows.push(value)?;
        return Ok(after);
    }
    if rows.takes_text() {
        return text_cell(rest, rows, |text| Cell::Text(text));
    }
    // A number is a code as before; what else stands there is read as the data frame's file was.
    if rows.takes_category() {
        return text_cell(rest, rows, |text| Cell::Bare(text));
    }
    let text = skip_blanks(rest);
    let (inner, after) = match text {
        [b'"', quoted @ ..] => match quoted.iter().position(|&b| b == b'"') {
            Some(end) => (quoted.get(..end).unwrap_or_default(), quoted.get(end + 1..).unwrap_or_default()),
            None => return Err(rows.refuse("opens a quote that is never closed")),
        },
        _ => bare(text),
    };
    let inner = inner.trim_ascii();
    let after = skip_blanks(after);
    if text.starts_with(b"\"") && !matches!(after, [] | [b',' | b'\n', ..] | [b'\r', b'\n', ..]) {
        return Err(rows.refuse("goes on after its closing quote"));
    }
    if !rows.dense() {
        let written = std::str::from_utf8(inner).map_err(|_| rows.refuse("is not UTF-8"))?;
        rows.push_cell(Cell::Bare(written))?;
        return Ok(after);
    }
    if is_missing(inner) {
        rows.push_missing()?;
        return Ok(after);
    }
    match read_f32(inner) {
        Some((value, length)) if length == inner.len() => rows.push(value)?,
        _ => return Err(not_a_number(inner, rows)),
    }
    Ok(after)
}

/// A cell without quotes, as written, and what follows it.
fn bare(text: &[u8]) -> (&[u8], &[u8]) {
    let end = text.iter().position(|&b| matches!(b, b',' | b'\n')).unwrap_or(text.len());
    let end = if end > 0 && text.get(end - 1) == Some(&b'\r') { end - 1 } else { end };
    text.split_at_checked(end).unwrap_or_default()
}

/// Reads a cell of a text column and returns what follows it: as written, or what its quotes hold, where a doubled quote
/// is one, and the blanks behind them.
fn text_cell<'a>(text: &'a [u8], rows: &mut Rows<'_>, cell: impl Fn(&str) -> Cell<'_>) -> Result<&'a [u8]> {
    let push = |rows: &mut Rows<'_>, text: &[u8]| {
        let text = std::str::from_utf8(text).map_err(|_| rows.refuse("is not UTF-8"))?;
        rows.push_cell(cell(text))
    };
    let [b'"', quoted @ ..] = text else {
        let (written, after) = bare(text);
        if written.contains(&b'\r') {
            return Err(rows.refuse("holds a carriage return; put it in quotes, or end lines with a line feed"));
        }
        return push(rows, written).map(|()| after);
    };
    let (mut inner, mut rest) = (Vec::new(), quoted);
    loop {
        let Some(end) = rest.iter().position(|&b| b == b'"') else { return Err(rows.refuse("opens a quote that is never closed")) };
        inner.extend_from_slice(rest.get(..end).unwrap_or_default());
        rest = rest.get(end + 1..).unwrap_or_default();
        let [b'"', after @ ..] = rest else { break };
        inner.push(b'"');
        rest = after;
    }
    let (blanks, after) = bare(rest);
    if !skip_blanks(blanks).is_empty() {
        return Err(rows.refuse("goes on after its closing quote"));
    }
    inner.extend_from_slice(blanks);
    push(rows, &inner).map(|()| after)
}

fn skip_blanks(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    text
}

fn not_a_number(text: &[u8], rows: &Rows<'_>) -> crate::error::Error {
    let end = text.iter().position(|&b| matches!(b, b',' | b'\n')).unwrap_or(text.len());
    let found = String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned();
    if is_infinite(found.trim().as_bytes()) {
        return rows.infinite(found.trim());
    }
    rows.refuse(format_args!("is `{}`, no number; send numbers only (a category as its code), without a header line", shown(found.trim())))
}

/// One line per row: its scores, or what was selected.
pub(super) fn write(answer: &Answer<'_>) -> Vec<u8> {
    let rows = answer.scores.rows();
    let mut out = Vec::with_capacity(rows * answer.scores.columns() * 12);
    for row in 0..rows {
        match answer.form {
            Form::Selected => {
                for (at, extra) in answer.extras.iter().enumerate() {
                    if at > 0 {
                        out.push(b',');
                    }
                    if extra.list {
                        write_list(&mut out, extra, row);
                    } else {
                        write_row(&mut out, &extra.block, row);
                    }
                }
            }
            _ => {
                write_row(&mut out, answer.scores, row);
                // Whoever asks why is not left without an answer; of further outputs JSON tells.
                for extra in answer.extras.iter().filter(|extra| *extra.name == *CONTRIBUTIONS) {
                    out.push(b',');
                    write_list(&mut out, extra, row);
                }
            }
        }
        out.push(b'\n');
    }
    out
}

/// One row of a list, or of lists, in one cell.
fn write_list(out: &mut Vec<u8>, extra: &Extra, row: usize) {
    let mut list = Vec::new();
    write_extra(&mut list, extra, row);
    write_text(out, &String::from_utf8_lossy(&list));
}

/// One row of a block, a cell a value.
fn write_row(out: &mut Vec<u8>, block: &Block, row: usize) {
    if let Block::F32(values) = block {
        for (at, value) in values.row(row).iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_number(out, *value);
        }
        return;
    }
    let columns = block.columns();
    for column in 0..columns {
        if column > 0 {
            out.push(b',');
        }
        match block {
            Block::Text(texts) => write_text(out, texts.row(row).get(column).map_or("", AsRef::as_ref)),
            numbers => write_value(out, numbers, row * columns + column),
        }
    }
}

/// A text, in quotes where it holds what ends a cell.
fn write_text(out: &mut Vec<u8>, text: &str) {
    if !text.contains([',', '"', '\n', '\r']) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}
