//! A node of a graph while it is planned: its attributes by name, its operator set, its constant inputs.
//!
//! Operators read everything they need from here once and keep it typed. Must not know how nodes are ordered or run.
//! Next: `graph.rs`.

use std::cell::RefCell;

use smallvec::SmallVec;

use super::proto;
use super::value::{Data, Ints, Value};
use crate::error::{Error, Result};
use crate::runtime::trees::Ensemble;

/// The most bytes of a label, a category or another text in an attribute. Answers repeat them row by row, so one that is
/// no word but a book would be sent a million times.
const TEXT_MAX: usize = 4096;

/// A node that is being planned.
pub(crate) struct Node<'a> {
    pub(crate) proto: &'a proto::Node,
    /// The version of the node's operator set that the model imports.
    pub(crate) opset: i64,
    /// For each input, its value if it is known while planning.
    pub(crate) constants: SmallVec<[Option<&'a Value>; 4]>,
    /// Names that nothing else reads.
    pub(crate) sole: &'a dyn Fn(&str) -> bool,
    /// A tree ensemble read back from a prepared form, for a node that says it left it there.
    pub(crate) ready: RefCell<Option<Ensemble>>,
}

impl<'a> Node<'a> {
    pub(crate) fn attribute(&self, name: &str) -> Option<&'a proto::Attribute> {
        self.proto.attribute.iter().map(|attribute| &**attribute).find(|attribute| attribute.name == name)
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.attribute(name).map_or(default, |attribute| attribute.i)
    }

    pub(crate) fn float(&self, name: &str, default: f32) -> f32 {
        self.attribute(name).map_or(default, |attribute| attribute.f)
    }

    pub(crate) fn ints(&self, name: &str) -> &'a [i64] {
        self.attribute(name).map_or(&[], |attribute| &attribute.ints)
    }

    pub(crate) fn floats(&self, name: &str) -> &'a [f32] {
        self.attribute(name).map_or(&[], |attribute| &attribute.floats)
    }

    /// A text attribute.
    ///
    /// # Errors
    /// When it is no UTF-8 or too long.
    pub(crate) fn text(&self, name: &str, default: &'a str) -> Result<&'a str> {
        let Some(attribute) = self.attribute(name) else { return Ok(default) };
        short(name, &attribute.s)
    }

    /// A list of texts; empty without the attribute.
    ///
    /// # Errors
    /// When one is no UTF-8 or too long.
    pub(crate) fn texts(&self, name: &str) -> Result<Vec<Box<str>>> {
        let Some(attribute) = self.attribute(name) else { return Ok(Vec::new()) };
        attribute.strings.iter().map(|text| short(name, text).map(Box::from)).collect()
    }

    /// A tensor attribute.
    ///
    /// # Errors
    /// As [`Value::read`], and when a text in it is too long.
    pub(crate) fn tensor(&self, name: &str) -> Result<Option<Value>> {
        let tensor = self.attribute(name).and_then(|attribute| attribute.t.as_ref());
        let value = tensor.map(Value::read).transpose().map_err(|error| error.within(format_args!("attribute `{name}`")))?;
        if let Some(Value { data: Data::Text(list), .. }) = &value {
            list.iter().try_for_each(|text| short(name, text.as_bytes()).map(|_| ()))?;
        }
        Ok(value)
    }

    /// Whole numbers from an attribute or, in newer operator sets, from a constant input. `None` when neither is there
    /// or the input is only known while running.
    ///
    /// # Errors
    /// When the input holds no whole numbers.
    pub(crate) fn ints_or_input(&self, name: &str, input: usize) -> Result<Option<Ints>> {
        if let Some(attribute) = self.attribute(name) {
            return Ok(Some(attribute.ints.as_slice().into()));
        }
        self.constants.get(input).copied().flatten().map(|value| value.arg().ints()).transpose()
    }

    /// Whether the input is there at all.
    pub(crate) fn has_input(&self, input: usize) -> bool {
        self.proto.input.get(input).is_some_and(|name| !name.is_empty())
    }

    /// The value of a constant input that no other node reads, so that keeping it in another form costs no more memory.
    pub(crate) fn own(&self, input: usize) -> Option<&'a Value> {
        let name = self.proto.input.get(input)?;
        self.constants.get(input).copied().flatten().filter(|_| (self.sole)(name))
    }

    /// An attribute's refusal.
    pub(crate) fn refuse(&self, attribute: &str, why: impl std::fmt::Display) -> Error {
        Error::invalid(format!("attribute `{attribute}` {why}"))
    }
}

fn short<'a>(name: &str, bytes: &'a [u8]) -> Result<&'a str> {
    if bytes.len() > TEXT_MAX {
        return Err(Error::invalid(format!("attribute `{name}` holds a text of {} bytes; at most {TEXT_MAX} are taken", bytes.len())));
    }
    std::str::from_utf8(bytes).map_err(|_| Error::invalid(format!("attribute `{name}` is not UTF-8")))
}

/// Every number of a list finite.
///
/// # Errors
/// Naming the attribute.
pub(crate) fn finite(name: &str, list: &[f32]) -> Result<()> {
    if list.iter().all(|value| value.is_finite()) {
        Ok(())
    } else {
        Err(Error::invalid(format!("attribute `{name}` holds a number that is not finite")))
    }
}
