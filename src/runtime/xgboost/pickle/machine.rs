//! The pickle machine's opcodes that describe data, over values that refer to each other by place.
//!
//! Facts about opcodes are from Python's `pickletools`. A "call" makes a value only for the names in `globals.rs`;
//! nothing is imported, called or looked up. Must not know what a Booster's members mean. Next: `values.rs`, what they
//! leave.

use std::collections::HashMap;

use super::globals::{Known, TAKES, find, refused};
use super::values::{Place, Value, Values};
use crate::error::{Error, Result};
use crate::names::counted;

/// The most steps; a Booster's pickle takes a few dozen, and two for each feature's name.
const STEPS_MAX: usize = 1 << 22;

struct Machine<'a> {
    rest: &'a [u8],
    all: Values<'a>,
    stack: Vec<Place>,
    memo: HashMap<u64, Place>,
}

/// Reads a pickle to its end: all its values, and which one it stands for.
pub(super) fn run(bytes: &[u8]) -> Result<(Values<'_>, Place)> {
    let mut machine = Machine { rest: bytes, all: Values::new(bytes.len()), stack: Vec::new(), memo: HashMap::new() };
    for _ in 0..STEPS_MAX {
        let opcode = machine.byte()?;
        if opcode == b'.' {
            let top = machine.pop()?;
            return match machine.rest {
                [] => Ok((machine.all, top)),
                rest => Err(Error::invalid(format!("the pickle is followed by {}; {TAKES}", counted(rest.len(), "byte")))),
            };
        }
        machine.step(opcode)?;
    }
    Err(Error::invalid(format!("the pickle takes more than {STEPS_MAX} steps")))
}

fn broken(what: &str) -> Error {
    Error::invalid(format!("the pickle is damaged: {what}"))
}

impl<'a> Machine<'a> {
    fn take(&mut self, count: u64) -> Result<&'a [u8]> {
        let taken = usize::try_from(count).ok().and_then(|count| self.rest.split_at_checked(count));
        let (taken, rest) = taken.ok_or_else(|| broken(&format!("{count} more bytes are announced, {} are left", self.rest.len())))?;
        self.rest = rest;
        Ok(taken)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    /// An unsigned little-endian number of `width` bytes.
    fn number(&mut self, width: u64) -> Result<u64> {
        Ok(self.take(width)?.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
    }

    /// As many bytes as a number of `width` bytes says.
    fn counted(&mut self, width: u64) -> Result<&'a [u8]> {
        let count = self.number(width)?;
        self.take(count)
    }

    fn line(&mut self) -> Result<&'a [u8]> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or_else(|| broken("a line does not end"))?;
        let line = self.take(end as u64)?;
        self.byte()?;
        Ok(line)
    }

    fn word(&mut self) -> Result<&'a str> {
        str::from_utf8(self.line()?).map_err(|_| broken("a line is no text"))
    }

    fn push(&mut self, value: Value<'a>) {
        let place = self.all.push(value);
        self.stack.push(place);
    }

    fn pop(&mut self) -> Result<Place> {
        let place = self.stack.pop().ok_or_else(|| broken("it takes a value that is not there"))?;
        if matches!(self.all.get(place), Value::Mark) { Err(broken("it takes a mark for a value")) } else { Ok(place) }
    }

    fn top(&self) -> Result<Place> {
        self.stack.last().copied().ok_or_else(|| broken("it takes a value that is not there"))
    }

    /// What stands above the last mark, which goes too.
    fn since_mark(&mut self) -> Result<Vec<Place>> {
        let mark = self.stack.iter().rposition(|&place| matches!(self.all.get(place), Value::Mark));
        let mark = mark.ok_or_else(|| broken("it takes values up to a mark that is not there"))?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Ok(items)
    }

    fn last(&mut self, count: usize) -> Result<Vec<Place>> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        items.reverse();
        Ok(items)
    }

    fn remember(&mut self, key: u64) -> Result<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<()> {
        let place = self.memo.get(&key).copied().ok_or_else(|| broken(&format!("it refers to memo {key}, which is not there")))?;
        self.stack.push(place);
        Ok(())
    }

    fn key(&mut self) -> Result<u64> {
        self.word()?.parse().map_err(|_| broken("a memo's number is no number"))
    }

    fn step(&mut self, opcode: u8) -> Result<()> {
        match opcode {
            0x80 => {
                let protocol = self.byte()?;
                if protocol > 5 {
                    return Err(Error::invalid(format!("the pickle is of protocol {protocol}; 0 to 5 can be read")));
                }
            }
            // A frame's length says where to read on, no more.
            0x95 => {
                let length = self.number(8)?;
                if length > self.rest.len() as u64 {
                    return Err(broken(&format!("a frame of {length} bytes is announced, {} are left", self.rest.len())));
                }
            }
            b'(' => self.push(Value::Mark),
            b'0' => {
                self.stack.pop().ok_or_else(|| broken("it drops a value that is not there"))?;
            }
            b'1' => {
                self.since_mark()?;
            }
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Value::None),
            0x88 | 0x89 => self.push(Value::Bool),
            b'J' => {
                let number = self.number(4)? as u32;
                self.push(Value::Whole(i64::from(number.cast_signed())));
            }
            b'K' | b'M' => {
                let number = self.number(if opcode == b'K' { 1 } else { 2 })?;
                self.push(Value::Whole(number.cast_signed()));
            }
            b'I' | b'L' => {
                let line = self.word()?;
                let value = match line {
                    "00" | "01" => Value::Bool,
                    _ => Value::Whole(line.trim_end_matches('L').parse().map_err(|_| broken("a whole number is none"))?),
                };
                self.push(value);
            }
            0x8a | 0x8b => {
                let digits = self.counted(if opcode == 0x8a { 1 } else { 4 })?;
                self.push(long(digits));
            }
            b'F' => {
                let number = self.word()?.parse().map_err(|_| broken("a number is none"))?;
                self.push(Value::Float(number));
            }
            b'G' => {
                let bits = self.take(8)?.iter().fold(0, |bits, &byte| bits << 8 | u64::from(byte));
                self.push(Value::Float(f64::from_bits(bits)));
            }
            b'B' | b'C' | 0x8e | 0x96 => {
                let width = match opcode {
                    b'C' => 1,
                    b'B' => 4,
                    _ => 8,
                };
                let bytes = self.counted(width)?;
                self.push(Value::Bytes(bytes));
            }
            b'V' => {
                let raw = self.line()?;
                self.push(Value::Text { raw, escaped: true });
            }
            b'X' | 0x8c | 0x8d => {
                let width = match opcode {
                    0x8c => 1,
                    b'X' => 4,
                    _ => 8,
                };
                let raw = self.counted(width)?;
                self.push(Value::Text { raw, escaped: false });
            }
            // Python 2's `str`, which is both: names and the word `latin-1` are written so.
            b'U' | b'T' => {
                let raw = self.counted(if opcode == b'U' { 1 } else { 4 })?;
                self.push(Value::Text { raw, escaped: false });
            }
            b'S' => {
                let line = self.line()?;
                let inner = match line {
                    [b'\'', inner @ .., b'\''] | [b'"', inner @ .., b'"'] => inner,
                    _ => return Err(broken("a string is not in quotes")),
                };
                self.push(Value::Text { raw: inner, escaped: false });
            }
            b')' => self.push(Value::Tuple(Vec::new())),
            0x85..=0x87 => {
                let items = self.last(usize::from(opcode - 0x84))?;
                self.push(Value::Tuple(items));
            }
            b't' => {
                let items = self.since_mark()?;
                self.push(Value::Tuple(items));
            }
            b']' => self.push(Value::List(Vec::new())),
            b'l' => {
                let items = self.since_mark()?;
                self.push(Value::List(items));
            }
            0x8f => self.push(Value::Aside),
            b'}' => self.push(Value::Dict(Vec::new())),
            b'd' => {
                let items = self.since_mark()?;
                self.push(Value::Dict(pairs(&items)?));
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.since_mark()?;
                self.append(&items)?;
            }
            b's' => {
                let items = self.last(2)?;
                self.set(&items)?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.set(&items)?;
            }
            b'p' => {
                let key = self.key()?;
                self.remember(key)?;
            }
            b'q' | b'r' => {
                let key = self.number(if opcode == b'q' { 1 } else { 4 })?;
                self.remember(key)?;
            }
            0x94 => self.remember(self.memo.len() as u64)?,
            b'g' => {
                let key = self.key()?;
                self.recall(key)?;
            }
            b'h' | b'j' => {
                let key = self.number(if opcode == b'h' { 1 } else { 4 })?;
                self.recall(key)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Value::Global(find(module, name)?));
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                let (Value::Text { raw: module, .. }, Value::Text { raw: name, .. }) = (self.all.get(module), self.all.get(name)) else {
                    return Err(broken("a global's name is no text"));
                };
                let global = find(module, name)?;
                self.push(Value::Global(global));
            }
            b'R' => {
                let arguments = self.pop()?;
                let callable = self.pop()?;
                self.call(callable, arguments)?;
            }
            0x81 => {
                let _arguments = self.pop()?;
                let class = self.pop()?;
                self.object(class)?;
            }
            b'b' => self.build()?,
            b'i' => {
                let (module, name) = (self.line()?, self.line()?);
                return Err(refused(module, name));
            }
            other => return Err(Error::invalid(format!("the pickle uses the opcode {}; {TAKES}", opcode_name(other)))),
        }
        Ok(())
    }

    /// What a value would be called as.
    fn known(&self, place: Place) -> Option<Known> {
        if let Value::Global(global) = self.all.get(place) { Some(global.known) } else { None }
    }

    /// An object of a class, its members still to come.
    fn object(&mut self, class: Place) -> Result<()> {
        let value = match self.all.get(class) {
            Value::Global(class) if matches!(class.known, Known::Booster | Known::Wrapper) => Value::Object { class, state: None },
            Value::Global(class) if class.known == Known::Aside => Value::Aside,
            _ => return Err(self.not_callable(class)),
        };
        self.push(value);
        Ok(())
    }

    /// What a call makes, for the few names whose result is known without calling.
    fn call(&mut self, callable: Place, arguments: Place) -> Result<()> {
        let known = self.known(callable);
        if known == Some(Known::Aside) {
            self.push(Value::Aside);
            return Ok(());
        }
        let arguments = match self.all.get(arguments) {
            // No name that is known takes more than three.
            Value::Tuple(arguments) if arguments.len() <= 3 => arguments.clone(),
            _ => return Err(self.not_callable(callable)),
        };
        match (known, arguments.as_slice()) {
            (Some(Known::Reconstructor), [class, base, none]) => {
                if self.known(*base) != Some(Known::Object) || !matches!(self.all.get(*none), Value::None) {
                    return Err(broken("an object is made from something else than `object`"));
                }
                self.object(*class)
            }
            (Some(Known::NewObject), [class]) => self.object(*class),
            (Some(Known::ByteArray), []) => {
                self.push(Value::Bytes(&[]));
                Ok(())
            }
            (Some(Known::ByteArray), [bytes]) if matches!(self.all.get(*bytes), Value::Bytes(_) | Value::Encoded(_)) => {
                self.stack.push(*bytes);
                Ok(())
            }
            (Some(Known::ByteArray | Known::Encode), [text, code]) => {
                let latin = matches!(self.all.get(*code), Value::Text { raw: b"latin-1" | b"latin1", .. });
                if !latin || !matches!(self.all.get(*text), Value::Text { .. }) {
                    return Err(broken("bytes are made from something else than Latin-1 text"));
                }
                self.push(Value::Encoded(*text));
                Ok(())
            }
            _ => Err(self.not_callable(callable)),
        }
    }

    fn not_callable(&self, place: Place) -> Error {
        match self.all.get(place) {
            Value::Global(global) => Error::invalid(format!("the pickle calls `{global}` in another way than XGBoost does; {TAKES}")),
            _ => Error::invalid(format!("the pickle calls {}; {TAKES}", self.all.word(place))),
        }
    }

    fn append(&mut self, items: &[Place]) -> Result<()> {
        let list = self.top()?;
        match self.all.get_mut(list) {
            Some(Value::List(list)) => list.extend_from_slice(items),
            Some(Value::Aside) => {}
            _ => return Err(broken("it appends to what is no list")),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Place]) -> Result<()> {
        let dict = self.top()?;
        let pairs = pairs(items)?;
        match self.all.get_mut(dict) {
            Some(Value::Dict(dict)) => dict.extend(pairs),
            Some(Value::Aside) => {}
            _ => return Err(broken("it sets members of what is no dict")),
        }
        Ok(())
    }

    fn build(&mut self) -> Result<()> {
        let given = self.pop()?;
        let object = self.top()?;
        match self.all.get_mut(object) {
            Some(Value::Object { state, .. }) => *state = Some(given),
            Some(Value::Aside) => {}
            _ => return Err(broken("it gives members to what is no object")),
        }
        Ok(())
    }
}

fn pairs(items: &[Place]) -> Result<Vec<(Place, Place)>> {
    let (pairs, []) = items.as_chunks::<2>() else { return Err(broken("a dict's key has no value")) };
    Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
}

/// A whole number of any length: those past 64 bits count for nothing here.
fn long(digits: &[u8]) -> Value<'static> {
    if digits.len() > 8 {
        return Value::Aside;
    }
    let negative = digits.last().is_some_and(|byte| byte & 0x80 != 0);
    let fill = if negative { u64::MAX } else { 0 };
    Value::Whole(digits.iter().rev().fold(fill, |number, &byte| number << 8 | u64::from(byte)).cast_signed())
}

/// The opcodes that are refused, by the names Python gives them.
fn opcode_name(opcode: u8) -> String {
    match opcode {
        b'o' => "`OBJ`".to_owned(),
        0x92 => "`NEWOBJ_EX`".to_owned(),
        b'P' | b'Q' => "`PERSID`".to_owned(),
        0x82..=0x84 => "`EXT`".to_owned(),
        0x91 => "`FROZENSET`".to_owned(),
        0x97 | 0x98 => "`NEXT_BUFFER`".to_owned(),
        other => format!("{other:#04x}, which Python does not know"),
    }
}
