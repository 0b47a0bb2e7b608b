//! What a pickle's opcodes left: values in one list that refer to each other by place, over the pickle's own bytes.
//!
//! Nothing here recurses, and a text is decoded only when the Booster's members are asked for. Must not know opcodes or
//! what the members mean. Next: `machine.rs`, which makes them; `../pickle.rs`, which asks.

use std::borrow::Cow;

use super::globals::{Global, Known};
use super::latin1;
use crate::error::{Error, Result};

/// A value's place in the list of values.
pub(super) type Place = u32;

/// What an opcode left.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    None,
    Bool,
    Whole(i64),
    Float(f64),
    Bytes(&'a [u8]),
    /// UTF-8, or with escapes as protocol 0 writes them.
    Text {
        raw: &'a [u8],
        escaped: bool,
    },
    /// The bytes that a text's Latin-1 characters stand for.
    Encoded(Place),
    Tuple(Vec<Place>),
    List(Vec<Place>),
    Dict(Vec<(Place, Place)>),
    Global(&'static Global),
    Object {
        class: &'static Global,
        state: Option<Place>,
    },
    Aside,
    Mark,
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Values<'a> {
    values: Vec<Value<'a>>,
    /// Bytes of the whole pickle.
    length: usize,
}

impl<'a> Values<'a> {
    /// None yet, of a pickle of `length` bytes.
    pub(super) fn new(length: usize) -> Self {
        Self { values: Vec::new(), length }
    }

    pub(super) fn push(&mut self, value: Value<'a>) -> Place {
        let place = Place::try_from(self.values.len()).unwrap_or(Place::MAX);
        self.values.push(value);
        place
    }

    pub(super) fn get_mut(&mut self, place: Place) -> Option<&mut Value<'a>> {
        self.values.get_mut(place as usize)
    }

    pub(super) fn get(&self, place: Place) -> &Value<'a> {
        self.values.get(place as usize).unwrap_or(&Value::Aside)
    }

    pub(super) fn is_booster(&self, place: Place) -> bool {
        matches!(self.get(place), Value::Object { class, .. } if class.known == Known::Booster)
    }

    /// The class of a wrapper.
    pub(super) fn wrapper(&self, place: Place) -> Option<&'static Global> {
        let Value::Object { class, .. } = self.get(place) else { return None };
        (class.known == Known::Wrapper).then_some(*class)
    }

    /// A member of an object's state; the last one of a name counts.
    pub(super) fn member(&self, place: Place, key: &str) -> Option<Place> {
        let Value::Object { state: Some(state), .. } = self.get(place) else { return None };
        let Value::Dict(members) = self.get(*state) else { return None };
        let is = |&&(name, _): &&(Place, Place)| matches!(self.get(name), Value::Text { raw, .. } if *raw == key.as_bytes());
        members.iter().rev().find(is).map(|&(_, value)| value)
    }

    pub(super) fn whole(&self, place: Place) -> Option<i64> {
        if let Value::Whole(number) = self.get(place) { Some(*number) } else { None }
    }

    /// The texts of a list. One text may be named many times, but names of features differ, so those of an honest list
    /// are together no longer than the pickle.
    pub(super) fn texts(&self, place: Place) -> Option<Vec<Box<str>>> {
        let Value::List(items) = self.get(place) else { return None };
        let length = |&item: &Place| if let Value::Text { raw, .. } = self.get(item) { raw.len() } else { 0 };
        if items.iter().map(length).sum::<usize>() > self.length {
            return None;
        }
        items.iter().map(|&item| self.text(item).map(|text| text.into_owned().into())).collect()
    }

    fn text(&self, place: Place) -> Option<Cow<'a, str>> {
        match *self.get(place) {
            Value::Text { raw, escaped: false } => str::from_utf8(raw).ok().map(Cow::Borrowed),
            Value::Text { raw, escaped: true } => unescape(raw).map(Cow::Owned),
            _ => None,
        }
    }

    /// The bytes of a `bytes`, a `bytearray`, or of a Latin-1 text where an older Python wrote one.
    pub(super) fn bytes(&self, place: Place) -> Result<Cow<'a, [u8]>> {
        let place = if let Value::Encoded(text) = self.get(place) { *text } else { place };
        if let Value::Bytes(bytes) = self.get(place) {
            return Ok(Cow::Borrowed(bytes));
        }
        let text = self.text(place).ok_or_else(|| Error::invalid(format!("the pickled model is {}, not bytes", self.word(place))))?;
        latin1(&text).map(Cow::Owned)
    }

    /// What a value is, for a person.
    pub(super) fn word(&self, place: Place) -> &'static str {
        match self.get(place) {
            Value::None => "nothing",
            Value::Bool | Value::Whole(_) | Value::Float(_) => "a number",
            Value::Bytes(_) | Value::Encoded(_) => "bytes",
            Value::Text { .. } => "text",
            Value::Tuple(_) => "a tuple",
            Value::List(_) => "a list",
            Value::Dict(_) => "a dict",
            Value::Global(_) => "a class, not an object of it",
            Value::Object { .. } | Value::Aside | Value::Mark => "an object",
        }
    }
}

/// Python's `raw-unicode-escape`: `\uXXXX`, `\UXXXXXXXX`, every other byte is Latin-1.
fn unescape(raw: &[u8]) -> Option<String> {
    let mut text = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        let digits = match (byte, after.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                text.push(char::from(byte));
                continue;
            }
        };
        let code = after.get(1..=digits)?;
        let code = u32::from_str_radix(str::from_utf8(code).ok()?, 16).ok()?;
        text.push(char::from_u32(code)?);
        rest = after.get(1 + digits..)?;
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::Value;

    #[test]
    fn a_value_stays_small() {
        // One byte of a pickle can make one.
        assert!(size_of::<Value<'_>>() <= 32);
    }
}
