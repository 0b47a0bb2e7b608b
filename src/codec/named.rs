//! JSON rows that are objects of names: every column by its own, or a graph's inputs, each as the list of its columns.
//!
//! `features` and `data` are words of the format (`json.rs`): with the list or object that they stand for there, they mean
//! all columns, also where a column is called so. Next: `columns.rs`, `payload.rs`.

use super::json::value;
use super::payload::{Cell, Place, Rows};
use super::pull::{Json, Next, Pull};
use crate::error::Result;
use crate::names::shown;
use crate::tensor::Part;

/// How an object that is a row is read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meant {
    /// One value after the other: every column is named, in the model's order.
    InOrder,
    /// By names, in any order.
    ByName,
    /// By `features` or `data`.
    Words,
}

/// Looks ahead over the row.
pub(super) fn meant(json: &Json<'_>, rows: &Rows<'_>) -> Result<Meant> {
    let names = rows.names();
    let (mut words, mut in_order, mut next) = (false, true, 0);
    json.clone().object(|json, key| {
        words |= is_word(key);
        in_order &= names.get(next).is_some_and(|name| **name == *key) && json.peek()? != Next::Array;
        next += 1;
        json.skip()
    })?;
    if !words {
        let in_order = in_order && next == names.len() && next > 0 && names.distinct();
        return Ok(match () {
            () if in_order => Meant::InOrder,
            () if rows.has_names() => Meant::ByName,
            () => Meant::Words,
        });
    }
    // A word that is no name is meant as the word. One that is a name too is, when it holds what the word stands for and
    // nothing else in the row is a name.
    let (mut words, mut held, mut others) = (false, false, false);
    json.clone().object(|json, key| {
        let known = rows.place(key).is_some();
        let meets = matches!((key, json.peek()?), ("features", Next::Array) | ("data", Next::Object));
        words |= is_word(key) && !known;
        held |= meets;
        others |= known && !meets;
        json.skip()
    })?;
    Ok(if words || (held && !others) { Meant::Words } else { Meant::ByName })
}

fn is_word(key: &str) -> bool {
    matches!(key, "features" | "data")
}

/// Reads the row, by names in any order.
pub(super) fn read(json: &mut Json<'_>, rows: &mut Rows<'_>) -> Result<()> {
    let (names, parts) = (rows.names(), rows.parts());
    // Where each value stands; wide rows are made room for only by names of that kind.
    let (mut columns, mut inputs): (Vec<Option<Json<'_>>>, Vec<Option<Json<'_>>>) = (Vec::new(), Vec::new());
    let mut next = 0;
    json.object(|json, key| {
        // Most stand behind the one before, as in the model.
        let guessed = names.distinct() && names.get(next).is_some_and(|name| **name == *key);
        let Some(place) = guessed.then_some(Place::Column(next)).or_else(|| rows.place(key)) else {
            // What was not there when the words were gathered is left out, as the library does.
            if rows.optional() && matches!(json.peek()?, Next::Number | Next::Null) {
                return json.skip();
            }
            return Err(json.fail(format_args!("a row has neither `features` nor `data`, and `{}` is no {}", shown(key), rows.called())));
        };
        let (list, at, count) = match place {
            Place::Column(at) => (&mut columns, at, rows.features()),
            Place::Input(at) => (&mut inputs, at, parts.len()),
        };
        next = if let Place::Column(at) = place { at + 1 } else { next };
        if list.is_empty() {
            list.resize(count, None);
        }
        if list.get_mut(at).is_some_and(|place| place.replace(json.clone()).is_some()) {
            return Err(json.fail(format_args!("`{}` stands twice", shown(key))));
        }
        json.skip()
    })?;
    let mut first = 0;
    for (at, part) in parts.iter().enumerate() {
        let end = first + part.columns;
        let own = columns.get_mut(first..end).unwrap_or_default();
        let one_by_one = own.iter().any(Option::is_some);
        match inputs.get_mut(at).and_then(Option::take) {
            Some(_) if one_by_one => return Err(rows.refuse_input(part, "stands there twice, as a list and by its columns")),
            Some(mut json) => list(&mut json, part, rows)?,
            None if !one_by_one && !rows.optional() && part.columns > 1 && !part.name.is_empty() => {
                return Err(rows.refuse_input(part, format_args!("is not in the row; send it as a list of {} values", part.columns)));
            }
            None => {
                for column in first..end {
                    match columns.get_mut(column).and_then(Option::take) {
                        Some(mut json) => {
                            let is_list = part.columns == 1 && !part.name.is_empty() && json.peek()? == Next::Array;
                            if is_list { list(&mut json, part, rows)? } else { value(&mut json, rows)? }
                        }
                        None if rows.optional() => rows.push_cell(Cell::Missing)?,
                        None => return Err(rows.refuse("is not in the row; send every column by its name")),
                    }
                }
            }
        }
        first = end;
    }
    rows.end_row()
}

/// All of an input.
fn list(json: &mut Json<'_>, part: &Part, rows: &mut Rows<'_>) -> Result<()> {
    if json.peek()? != Next::Array {
        return Err(rows.refuse_input(part, format_args!("is no list; it takes {} values", part.columns)));
    }
    let mut count = 0;
    json.array(|json, index| {
        count = index + 1;
        // What is too much belongs to no column, and is counted only.
        if index < part.columns { value(json, rows) } else { json.skip() }
    })?;
    if count == part.columns {
        return Ok(());
    }
    Err(rows.refuse_input(part, format_args!("has {count} values; it takes {}", part.columns)))
}
