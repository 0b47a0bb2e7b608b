//! `application/json`: SageMaker's request shapes in, `{"predictions":[…]}` out.
//!
//! In: `{"instances":[…]}` or a bare list; each row a list, `{"features":[…]}`, or the dense or sparse
//! `{"data":{"features":{"values":[…],"keys":[…],"shape":[…]}}}`. A flat list of numbers is one row. Next:
//! `payload.rs`.

use super::payload::{Answer, Rows, write_label, write_number};
use super::pull::{Json, Next, Pull};
use crate::error::{Error, Result};

/// Reads the whole of `body`.
///
/// # Errors
/// Naming row and column, or the place in the JSON.
pub(super) fn read(body: &[u8], rows: &mut Rows<'_>) -> Result<()> {
    let mut json = Json::new(body);
    match json.peek()? {
        Next::Array => list(&mut json, rows)?,
        Next::Object => {
            let mut found = false;
            json.object(|json, key| {
                let read = match key {
                    "instances" => list,
                    "features" => values,
                    "data" => data,
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
fn value(json: &mut Json<'_>, rows: &mut Rows<'_>) -> Result<()> {
    match json.peek()? {
        Next::Number => {
            let number = json.number()?;
            rows.push(number)
        }
        Next::Null => {
            json.null()?;
            rows.push_missing()
        }
        _ => Err(rows.refuse("is no number; send numbers, or null for a missing value")),
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
            return Err(json.fail(format_args!("`shape` is {width}; the model takes {} features", rows.features())));
        }
        let numbers = sparse(&mut numbers)?;
        if numbers.len() != keys.len() {
            return Err(json.fail(format_args!("there are {} `keys` for {} `values`", keys.len(), numbers.len())));
        }
        rows.sparse_row()?;
        for (key, value) in keys.iter().zip(numbers) {
            let key = usize::try_from(*key).map_err(|_| json.fail(format_args!("key {key} is negative")))?;
            rows.set(key, value)?;
        }
        Ok(())
    })?;
    if found { Ok(()) } else { Err(json.fail("`data` has no `features`")) }
}

/// The values of a sparse row; null is a missing one.
fn sparse(json: &mut Json<'_>) -> Result<Vec<f32>> {
    let mut out = Vec::new();
    json.array(|json, _| {
        out.push(if json.peek()? == Next::Null { json.null().map(|()| f32::NAN)? } else { json.number()? });
        Ok(())
    })?;
    Ok(out)
}

/// `{"predictions":[{"score":…,"predicted_label":…}]}`
pub(super) fn write(answer: &Answer<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + answer.scores.values().len() * 24);
    out.extend_from_slice(b"{\"predictions\":[");
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
    let width = answer.scores.columns();
    let scores = answer.scores.values().get(row * width..(row + 1) * width).unwrap_or_default();
    out.extend_from_slice(b"{\"score\":");
    if answer.list {
        out.push(b'[');
    }
    for (at, score) in scores.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write_number(out, *score);
    }
    if answer.list {
        out.push(b']');
    }
    if let Some(label) = answer.labels.and_then(|labels| labels.get(row)) {
        out.extend_from_slice(b",\"predicted_label\":");
        write_label(out, *label);
    }
    out.push(b'}');
}
