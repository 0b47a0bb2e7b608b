//! The pickle machine's opcodes that describe data, over values that refer to each other by place.
//!
//! Facts about opcodes are from Python's `pickletools`. A "call" makes a value only for the names in [`Known`]; nothing
//! is imported, called or looked up. Must not know what a Booster's members mean. Next: `../pickle.rs`.

use std::borrow::Cow;
use std::collections::HashMap;

use super::latin1;
use crate::error::{Error, Result};
use crate::names::shown;

/// The most steps; a Booster's pickle takes a few dozen, and two for each feature's name.
const STEPS_MAX: usize = 1 << 22;

/// The most bytes of all feature names together.
const TEXTS_MAX: usize = 1 << 26;

/// What pickles are read for, said in refusals.
pub(super) const TAKES: &str = "of pickles only XGBoost's Booster and its scikit-learn wrappers are read, and nothing in them is run; save the Booster with `save_model`";

/// A value's place in the list of values.
pub(super) type Place = u32;

/// Names that a pickle may mention, by what they make when called.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Known {
    /// `copyreg._reconstructor(class, object, None)`, `copyreg.__newobj__(class)`.
    Reconstructor,
    NewObject,
    /// `bytearray(text, "latin-1")`, `bytearray(bytes)`, `bytes()`.
    ByteArray,
    /// `_codecs.encode(text, "latin1")`.
    Encode,
    /// `object`.
    Object,
    /// A class whose members are of use: a Booster, a wrapper.
    Class,
    /// A class beside the Booster in a wrapper: what it makes is passed over.
    Aside,
}

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
    Global {
        module: Cow<'a, str>,
        name: Cow<'a, str>,
        known: Known,
    },
    Object {
        class: Place,
        state: Option<Place>,
    },
    Aside,
    Mark,
}

/// All values of a pickle.
#[derive(Debug)]
pub(super) struct Values<'a> {
    values: Vec<Value<'a>>,
}

impl<'a> Values<'a> {
    pub(super) fn get(&self, place: Place) -> &Value<'a> {
        self.values.get(place as usize).unwrap_or(&Value::Aside)
    }

    /// The dotted class of an object.
    pub(super) fn class(&self, place: Place) -> Option<String> {
        let Value::Object { class, .. } = self.get(place) else { return None };
        let Value::Global { module, name, .. } = self.get(*class) else { return None };
        Some(format!("{module}.{name}"))
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

    /// The texts of a list, [`TEXTS_MAX`] bytes at most: one text may be named many times.
    pub(super) fn texts(&self, place: Place) -> Option<Vec<Box<str>>> {
        let Value::List(items) = self.get(place) else { return None };
        let length = |&item: &Place| if let Value::Text { raw, .. } = self.get(item) { raw.len() } else { 0 };
        if items.iter().map(length).sum::<usize>() > TEXTS_MAX {
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
            Value::Global { .. } => "a class, not an object of it",
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

/// What a mentioned name is good for; refused when for nothing.
fn known(module: &str, name: &str) -> Option<Known> {
    Some(match (module, name) {
        ("copy_reg" | "copyreg", "_reconstructor") => Known::Reconstructor,
        ("copy_reg" | "copyreg", "__newobj__") => Known::NewObject,
        ("__builtin__" | "builtins", "bytearray" | "bytes") => Known::ByteArray,
        ("_codecs", "encode") => Known::Encode,
        ("__builtin__" | "builtins", "object") => Known::Object,
        ("xgboost.core", "Booster") => Known::Class,
        ("xgboost.sklearn", name) if name.starts_with("XGB") => Known::Class,
        // What a wrapper holds beside its Booster: labels, scores, names of columns.
        ("xgboost.compat", "XGBoostLabelEncoder")
        | ("sklearn.preprocessing.label" | "sklearn.preprocessing._label", "LabelEncoder")
        | ("numpy", "ndarray" | "dtype" | "float32" | "float64" | "int64")
        | ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct" | "scalar")
        | ("numpy.core.numeric" | "numpy._core.numeric", "_frombuffer")
        | ("collections", "OrderedDict" | "defaultdict")
        | ("__builtin__" | "builtins", "list" | "dict" | "tuple" | "set") => Known::Aside,
        _ => return None,
    })
}

struct Machine<'a> {
    rest: &'a [u8],
    all: Values<'a>,
    stack: Vec<Place>,
    memo: HashMap<u64, Place>,
}

/// Reads a pickle to its end: all its values, and which one it stands for.
pub(super) fn run(bytes: &[u8]) -> Result<(Values<'_>, Place)> {
    let mut machine = Machine { rest: bytes, all: Values { values: Vec::new() }, stack: Vec::new(), memo: HashMap::new() };
    for _ in 0..STEPS_MAX {
        let opcode = machine.byte()?;
        if opcode == b'.' {
            let top = machine.pop()?;
            return match machine.rest {
                [] => Ok((machine.all, top)),
                rest => Err(Error::invalid(format!("the pickle is followed by {} bytes; {TAKES}", rest.len()))),
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
        let place = Place::try_from(self.all.values.len()).unwrap_or(Place::MAX);
        self.all.values.push(value);
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
                let (module, name) = (self.word()?, self.word()?);
                self.global(Cow::Borrowed(module), Cow::Borrowed(name))?;
            }
            0x93 => {
                let name = self.pop()?;
                let module = self.pop()?;
                let text = |place| self.all.text(place).ok_or_else(|| broken("a global's name is no text"));
                let (module, name) = (text(module)?, text(name)?);
                self.global(module, name)?;
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
                let (module, name) = (self.word()?, self.word()?);
                return Err(refused(module, name));
            }
            other => return Err(Error::invalid(format!("the pickle uses the opcode {}; {TAKES}", opcode_name(other)))),
        }
        Ok(())
    }

    fn global(&mut self, module: Cow<'a, str>, name: Cow<'a, str>) -> Result<()> {
        let known = known(&module, &name).ok_or_else(|| refused(&module, &name))?;
        self.push(Value::Global { module, name, known });
        Ok(())
    }

    fn is(&self, place: Place, wanted: Known) -> bool {
        matches!(self.all.get(place), Value::Global { known, .. } if *known == wanted)
    }

    /// An object of a class, its members still to come.
    fn object(&mut self, class: Place) -> Result<()> {
        if self.is(class, Known::Class) {
            self.push(Value::Object { class, state: None });
        } else if self.is(class, Known::Aside) {
            self.push(Value::Aside);
        } else {
            return Err(self.not_callable(class));
        }
        Ok(())
    }

    /// What a call makes, for the few names whose result is known without calling.
    fn call(&mut self, callable: Place, arguments: Place) -> Result<()> {
        if self.is(callable, Known::Aside) {
            self.push(Value::Aside);
            return Ok(());
        }
        let arguments = match self.all.get(arguments) {
            // No name that is known takes more than three.
            Value::Tuple(arguments) if arguments.len() <= 3 => arguments.clone(),
            _ => return Err(self.not_callable(callable)),
        };
        let reconstructor = self.is(callable, Known::Reconstructor);
        match arguments.as_slice() {
            [class, base, none] if reconstructor => {
                if !self.is(*base, Known::Object) || !matches!(self.all.get(*none), Value::None) {
                    return Err(broken("an object is made from something else than `object`"));
                }
                self.object(*class)
            }
            [class] if self.is(callable, Known::NewObject) => self.object(*class),
            [] if self.is(callable, Known::ByteArray) => {
                self.push(Value::Bytes(&[]));
                Ok(())
            }
            [bytes] if self.is(callable, Known::ByteArray) && matches!(self.all.get(*bytes), Value::Bytes(_) | Value::Encoded(_)) => {
                self.stack.push(*bytes);
                Ok(())
            }
            [text, code] if self.is(callable, Known::ByteArray) || self.is(callable, Known::Encode) => {
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
            Value::Global { module, name, .. } => {
                Error::invalid(format!("the pickle calls `{}.{}` in another way than XGBoost does; {TAKES}", shown(module), shown(name)))
            }
            _ => Error::invalid(format!("the pickle calls {}; {TAKES}", self.all.word(place))),
        }
    }

    fn append(&mut self, items: &[Place]) -> Result<()> {
        let list = self.top()?;
        match self.all.values.get_mut(list as usize) {
            Some(Value::List(list)) => list.extend_from_slice(items),
            Some(Value::Aside) => {}
            _ => return Err(broken("it appends to what is no list")),
        }
        Ok(())
    }

    fn set(&mut self, items: &[Place]) -> Result<()> {
        let dict = self.top()?;
        let pairs = pairs(items)?;
        match self.all.values.get_mut(dict as usize) {
            Some(Value::Dict(dict)) => dict.extend(pairs),
            Some(Value::Aside) => {}
            _ => return Err(broken("it sets members of what is no dict")),
        }
        Ok(())
    }

    fn build(&mut self) -> Result<()> {
        let given = self.pop()?;
        let object = self.top()?;
        match self.all.values.get_mut(object as usize) {
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

fn refused(module: &str, name: &str) -> Error {
    Error::invalid(format!("the pickle names `{}.{}`; {TAKES}", shown(module), shown(name)))
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
