//! `StringNormalizer`: one case for all letters, stop words left out.
//!
//! Letters change one by one as the C library's tables have it, so a letter never becomes two. Next: `tokens.rs`.

use std::collections::HashSet;

use super::super::graph::Inputs;
use super::super::node::Node;
use super::super::ops::{Op, Values, boxed, one};
use super::super::value::{Shape, Value, fault, unserved};
use crate::error::Result;
use crate::names::shown;

/// The most bytes that one character takes.
const WIDEST: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Case {
    Kept,
    Lower,
    Upper,
}

#[derive(Debug)]
struct StringNormalizer {
    case: Case,
    /// Only letters of ASCII have a case: the locale `C`.
    ascii: bool,
    /// Whether stop words are compared as they are; else both sides in small letters.
    exact: bool,
    stops: HashSet<Box<str>, foldhash::fast::RandomState>,
}

fn lower(c: char) -> char {
    // The one letter that has two small ones.
    if c == '\u{130}' { 'i' } else { c.to_lowercase().next().unwrap_or(c) }
}

fn upper(c: char) -> char {
    let mut list = c.to_uppercase();
    match (list.next(), list.next()) {
        (Some(one), None) => one,
        // Small Greek letters with an iota below have a title form of one letter.
        _ => match u32::from(c) {
            code @ 0x1f80..=0x1faf if code & 8 == 0 => char::from_u32(code + 8).unwrap_or(c),
            code @ (0x1fb3 | 0x1fc3 | 0x1ff3) => char::from_u32(code + 9).unwrap_or(c),
            _ => c,
        },
    }
}

impl StringNormalizer {
    fn turned(&self, text: &str, case: Case) -> Box<str> {
        match (case, self.ascii) {
            (Case::Kept, _) => text.into(),
            (Case::Lower, true) => text.to_ascii_lowercase().into(),
            (Case::Upper, true) => text.to_ascii_uppercase().into(),
            (Case::Lower, false) => text.chars().map(lower).collect::<String>().into(),
            (Case::Upper, false) => text.chars().map(upper).collect::<String>().into(),
        }
    }

    fn keeps(&self, text: &str) -> bool {
        if self.stops.is_empty() {
            true
        } else if self.exact {
            !self.stops.contains(text)
        } else {
            !self.stops.contains(&self.turned(text, Case::Lower))
        }
    }
}

impl Op for StringNormalizer {
    fn run(&self, inputs: &mut Inputs<'_, '_>) -> Result<Values> {
        let x = inputs.get(0)?;
        if !matches!(*x.shape, [count] | [1, count] if count > 0) {
            return Err(fault(format!("it was handed an array of shape {:?} where it takes a list of texts", x.shape)));
        }
        let list = x.list::<Box<str>>()?;
        inputs.meter.size(x.shape)?;
        inputs.meter.text(list.len(), list.iter().map(|text| text.len()).sum::<usize>().saturating_mul(WIDEST))?;
        let mut made: Vec<Box<str>> = list.iter().filter(|text| self.keeps(text)).map(|text| self.turned(text, self.case)).collect();
        if made.is_empty() {
            made.push(Box::default());
        }
        let mut shape: Shape = x.shape.into();
        if let Some(last) = shape.last_mut() {
            *last = made.len();
        }
        one(Value::new(shape, made))
    }

    fn weight(&self) -> usize {
        size_of::<Self>() + self.stops.capacity() * 17 + self.stops.iter().map(|text| text.len()).sum::<usize>()
    }
}

pub(super) fn parse(name: &str, node: &Node<'_>) -> Result<Option<Box<dyn Op>>> {
    if name != "StringNormalizer" {
        return Ok(None);
    }
    let case = match node.text("case_change_action", "NONE")? {
        "NONE" => Case::Kept,
        "LOWER" => Case::Lower,
        "UPPER" => Case::Upper,
        other => return Err(node.refuse("case_change_action", format_args!("is `{}`, which is not known", shown(other)))),
    };
    let locale = node.text("locale", "en_US.UTF-8")?;
    let language = locale.split(['_', '-', '.', '@']).next().unwrap_or_default();
    if matches!(language, "tr" | "az" | "tt" | "crh" | "ku") {
        return Err(unserved(format!("attribute `locale` is `{}`, whose i with and without a dot is not served", shown(locale))));
    }
    let ascii = matches!(locale, "C" | "POSIX");
    let exact = node.int("is_case_sensitive", 0) != 0;
    let mut op = StringNormalizer { case, ascii, exact, stops: HashSet::default() };
    let stops = node.texts("stopwords")?;
    op.stops = if exact { stops.into_iter().collect() } else { stops.iter().map(|text| op.turned(text, Case::Lower)).collect() };
    boxed(op).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_stays_one_letter() {
        for (from, small, large) in [('A', 'a', 'A'), ('İ', 'i', 'İ'), ('ß', 'ß', 'ß'), ('ẞ', 'ß', 'ẞ'), ('ᾳ', 'ᾳ', 'ᾼ'), ('ᾀ', 'ᾀ', 'ᾈ')]
        {
            assert_eq!((lower(from), upper(from)), (small, large), "{from}");
        }
        assert_eq!((upper('ᾈ'), upper('ﬁ'), lower('Σ'), upper('ς')), ('ᾈ', 'ﬁ', 'σ', 'Σ'));
    }
}
