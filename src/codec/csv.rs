//! `text/csv`: a row a line, no header, an empty cell is a missing value, quotes allowed.
//!
//! Knows nothing of models. Next: `payload.rs`, whose rows it fills.

use super::number::read_f32;
use super::payload::{Answer, Rows, write_number};
use crate::error::Result;
use crate::names::shown;

/// Reads every line of `body`.
///
/// # Errors
/// Naming row and column.
pub(super) fn read(body: &[u8], rows: &mut Rows<'_>) -> Result<()> {
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
            [] => {
                rows.end_row()?;
                return Ok(rest);
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
    if let Some((value, length)) = read_f32(rest)
        && let Some(after) = rest.get(length..)
        && matches!(after, [] | [b',' | b'\n', ..])
    {
        rows.push(value)?;
        return Ok(after);
    }
    let text = skip_blanks(rest);
    let (inner, after) = match text {
        [b'"', quoted @ ..] => match quoted.iter().position(|&b| b == b'"') {
            Some(end) => (quoted.get(..end).unwrap_or_default(), quoted.get(end + 1..).unwrap_or_default()),
            None => return Err(rows.refuse("opens a quote that is never closed")),
        },
        _ => {
            let end = text.iter().position(|&b| matches!(b, b',' | b'\n')).unwrap_or(text.len());
            let end = if end > 0 && text.get(end - 1) == Some(&b'\r') { end - 1 } else { end };
            (text.get(..end).unwrap_or_default(), text.get(end..).unwrap_or_default())
        }
    };
    let inner = inner.trim_ascii();
    let after = skip_blanks(after);
    if text.starts_with(b"\"") && !matches!(after, [] | [b',' | b'\n', ..] | [b'\r', b'\n', ..]) {
        return Err(rows.refuse("goes on after its closing quote"));
    }
    if inner.is_empty() || [&b"nan"[..], b"na", b"null"].iter().any(|word| inner.eq_ignore_ascii_case(word)) {
        rows.push_missing()?;
        return Ok(after);
    }
    match read_f32(inner) {
        Some((value, length)) if length == inner.len() => rows.push(value)?,
        _ => return Err(not_a_number(inner, rows)),
    }
    Ok(after)
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
    rows.refuse(format_args!("is `{}`, no number; send numbers only, without a header line", shown(found.trim())))
}

/// One line per row: its scores.
pub(super) fn write(answer: &Answer<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(answer.scores.values().len() * 12);
    for row in answer.scores.iter() {
        for (at, value) in row.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_number(&mut out, *value);
        }
        out.push(b'\n');
    }
    out
}
