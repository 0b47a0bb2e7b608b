//! `application/json`: SageMaker's request shapes in, `{"predictions":[…]}` out.
//!
//! In: `{"instances":[…]}` or a bare list; each row a list, `{"features":[…]}`, or the dense or sparse
//! `{"data":{"features":{"values":[…],"keys":[…],"shape":[…]}}}`. A flat list of numbers is one row. Next: `named.rs` for
//! rows that name their columns, `payload.rs`.

use super::answer::{Answer, Extra, Form, write_label, write_number, write_value};
use super::named::{self, Meant};
use super::payload::{Cell, Rows};
use super::pull::{Json, Next, Pull};
use crate::error::{Error, Result};
use crate::names::counted;
use crate::tensor::Block;

/// Reads the whole of `body`.
///
/// # Errors
/// Naming row and column, or the place in the JSON.
pub(super) fn read(body: &[u8], rows: &mut Rows<'_>) -> Result<()> {
    rows.empty_is("null");
    let mut json = Json::within(body, rows.depth());
    match json.peek()? {
        Next::Array => list(&mut json, rows)?,
        Next::Object => {
            let mut found = false;
            json.object(|json, key| {
                let read = match key {
                    "instances" => {
                        if json.peek()? != Next::Array {
                            return Err(json.fail("`instances` is no list of rows; send {\"instances\":[[1.5,2]]}"));
                        }
                        list
                    }
                    "features" => values,
                    "data" => {
                        if json.peek()? != Next::Object {
                            return Err(json.fail(
                                "`data` holds one row's {\"features\":{\"values\":[1.5,2]}}; send rows as {\"instances\":[[1.5,2]]}",
                            ));
                        }
                        data
                    }
                    _ => return json.skip(),
                };
                if std::mem::replace(&mut found, true) {
                    return Err(json.fail("the rows are there twice; send `instances` once"));
                }
                read(json, rows)
            })?;
            if !found {
                return Err(Error::invalid("the JSON has no `instances`; send {\"instances\":[[1.5,2]]} or [[1.5,2]]"));
            }
        }
        _ => return Err(Error::invalid("the JSON is neither a list nor an object; send {\"instances\":[[1.5,2]]} or [[1.5,2]]")),
    }
    json.end()
}

/// A list of rows, or of numbers: then it is the one row.
fn list(json: &mut Json<'_>, rows: &mut Rows<'_>) -> Result<()> {
    let mut flat = false;
    json.array(|json, index| match json.peek()? {
        Next::Array | Next::Object if !flat => row(json, rows),
        _ => {
            if index > 0 && !flat {
                return Err(rows.refuse("is a bare value where the rows before are lists"));
            }
            flat = true;
            value(json, rows)
        }
    })?;
    if flat { rows.end_row() } else { Ok(()) }
}

/// One row in any of its shapes.
pub(super) fn row(json: &mut Json<'_>, rows: &mut Rows<'_>) -> Result<()> {
    if json.peek()? == Next::Array {
        return values(json, rows);
    }
    match named::meant(json, rows)? {
        Meant::InOrder => {
            json.object(|json, _| value(json, rows))?;
            return rows.end_row();
        }
        Meant::ByName => return named::read(json, rows),
        Meant::Words => {}
    }
    let mut found = false;
    json.object(|json, key| {
        match key {
            "features" => values(json, rows)?,
            "data" => data(json, rows)?,
            _ => return json.skip(),
        }
        if std::mem::replace(&mut found, true) {
            return Err(json.fail("a row has both `features` and `data`"));
        }
        Ok(())
    })?;
    if found { Ok(()) } else { Err(json.fail("a row has neither `features` nor `data`")) }
}

fn values(json: &mut Json<'_>, rows: &mut Rows<'_>) -> Result<()> {
    if json.peek()? != Next::Array {
        return Err(json.fail("a row's values are no list"));
    }
    json.array(|json, _| value(json, rows))?;
    rows.end_row()
}

#[inline]
pub(super) fn value(json: &mut Json<'_>, rows: &mut Rows<'_>) -> Result<()> {
    if !rows.dense() {
        return cell(json, rows, |rows, cell| rows.push_cell(cell));
    }
    match json.peek()? {
        Next::Number => {
            let number = json.number()?;
            rows.push(number).map_err(|error| match json.infinity() {
                Some(word) if number.is_infinite() => rows.infinite(word),
                _ => error,
            })
        }
        Next::Null => {
            json.null()?;
            rows.push_missing()
        }
        Next::String if rows.takes_category() => rows.push_cell(Cell::Text(&json.string()?)),
        _ => Err(rows.refuse("is no number; send numbers, or null for a missing value")),
    }
}

/// One value of whatever type, handed to `take`.
fn cell(json: &mut Json<'_>, rows: &mut Rows<'_>, take: impl FnOnce(&mut Rows<'_>, Cell<'_>) -> Result<()>) -> Result<()> {
    match json.peek()? {
        Next::Number => take(rows, Cell::Bare(json.number_text()?)),
        Next::String => take(rows, Cell::Text(&json.string()?)),
        Next::Bool => take(rows, Cell::Bool(json.boolean()?)),
        Next::Null => {
            json.null()?;
            take(rows, Cell::Missing)
        }
        Next::Array | Next::Object => Err(rows.refuse("is a list or an object; send a number, text, true, false or null")),
    }
}

/// `{"features":{"values":[…]}}`, sparse when it has `keys`.
fn data(json: &mut Json<'_>, rows: &mut Rows<'_>) -> Result<()> {
    let mut found = false;
    json.object(|json, key| {
        if key != "features" {
            return json.skip();
        }
        if std::mem::replace(&mut found, true) {
            return Err(json.fail("`data` has `features` twice"));
        }
        let (mut numbers, mut keys, mut shape) = (None, None, None);
        json.object(|json, key| {
            match key {
                "values" => numbers = Some(json.clone()),
                "keys" => keys = Some(json.integers()?),
                "shape" => shape = Some(json.integers()?),
                _ => {}
            }
            if key == "keys" || key == "shape" { Ok(()) } else { json.skip() }
        })?;
        let Some(mut numbers) = numbers else { return Err(json.fail("`features` has no `values`")) };
        let Some(keys) = keys else { return values(&mut numbers, rows) };
        if let Some(&[width]) = shape.as_deref()
            && usize::try_from(width) != Ok(rows.features())
        {
            return Err(json.fail(format_args!("`shape` is {width}; the model takes {}", counted(rows.features(), "feature"))));
        }
        rows.sparse_row()?;
        let (mut left, mut count) = (keys.iter(), 0);
        numbers.array(|numbers, _| {
            count += 1;
            let Some(key) = left.next() else { return numbers.skip() };
            let key = usize::try_from(*key).map_err(|_| numbers.fail(format_args!("key {key} is negative")))?;
            cell(numbers, rows, |rows, cell| rows.set(key, cell))
        })?;
        if count != keys.len() {
            return Err(json.fail(format_args!("there are {} `keys` for {count} `values`", keys.len())));
        }
        Ok(())
    })?;
    if found { Ok(()) } else { Err(json.fail("`data` has no `features`")) }
}

/// `{"predictions":[{"score":…,"predicted_label":…}]}`, in the model's own words.
pub(super) fn write(answer: &Answer<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + answer.scores.rows() * answer.scores.columns() * 24);
    out.extend_from_slice(if answer.form == Form::Scores { b"{\"scores\":[" } else { b"{\"predictions\":[" });
    for row in 0..answer.scores.rows() {
        if row > 0 {
            out.push(b',');
        }
        write_row(&mut out, answer, row);
    }
    out.extend_from_slice(b"]}");
    out
}

/// One row's object.
pub(super) fn write_row(out: &mut Vec<u8>, answer: &Answer<'_>, row: usize) {
    out.push(b'{');
    if answer.form != Form::Selected {
        out.extend_from_slice(if answer.form == Form::Labels { b"\"predicted_label\":" } else { b"\"score\":" });
        write_values(out, answer.scores, row, answer.list);
        if let Some(labels) = answer.labels {
            out.extend_from_slice(b",\"predicted_label\":");
            write_label(out, labels, row);
        }
    }
    for extra in answer.extras {
        if out.last() != Some(&b'{') {
            out.push(b',');
        }
        // Writing text to a vector cannot fail.
        let _ = serde_json::to_writer(&mut *out, &extra.name);
        out.push(b':');
        write_extra(out, extra, row);
    }
    out.push(b'}');
}

/// One row of what is answered beside the score.
pub(super) fn write_extra(out: &mut Vec<u8>, extra: &Extra, row: usize) {
    if extra.inner > 0 {
        write_lists(out, &extra.block, row, extra.inner);
    } else {
        write_values(out, &extra.block, row, extra.list);
    }
}

/// One row of a block as a list of lists, each `inner` long.
fn write_lists(out: &mut Vec<u8>, block: &Block, row: usize, inner: usize) {
    let columns = block.columns();
    out.push(b'[');
    for column in 0..columns {
        if column > 0 {
            out.push(b',');
        }
        if column % inner == 0 {
            out.push(b'[');
        }
        write_value(out, block, row * columns + column);
        if column % inner == inner - 1 {
            out.push(b']');
        }
    }
    out.push(b']');
}

/// One row of a block: a list, or the one value.
fn write_values(out: &mut Vec<u8>, block: &Block, row: usize, list: bool) {
    if list {
        out.push(b'[');
    }
    if let Block::F32(tensor) = block {
        for (at, value) in tensor.row(row).iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            write_number(out, *value);
        }
    } else {
        let columns = block.columns();
        for column in 0..columns {
            if column > 0 {
                out.push(b',');
            }
            write_value(out, block, row * columns + column);
        }
    }
    if list {
        out.push(b']');
    }
}
