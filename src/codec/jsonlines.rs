//! `application/jsonlines`: the rows and answers of `json.rs`, one a line.

use super::answer::Answer;
use super::json::{row, write_row};
use super::payload::Rows;
use super::pull::{Json, Pull};
use crate::error::Result;

/// Reads every line that is not blank.
///
/// # Errors
/// Naming the line and the place in it.
pub(super) fn read(body: &[u8], rows: &mut Rows<'_>) -> Result<()> {
    rows.empty_is("null");
    for (index, line) in body.split(|&b| b == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        let mut json = Json::within(line, rows.depth());
        row(&mut json, rows).and_then(|()| json.end()).map_err(|error| error.within(format_args!("line {}", index + 1)))?;
    }
    Ok(())
}

/// One object a line.
pub(super) fn write(answer: &Answer<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(answer.scores.rows() * answer.scores.columns() * 24);
    for row in 0..answer.scores.rows() {
        write_row(&mut out, answer, row);
        out.push(b'\n');
    }
    out
}
