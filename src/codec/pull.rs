//! A pull reader of JSON: members and elements are handed out in order, straight into the caller's arrays.
//!
//! [`Pull`] is the face that `ubjson.rs` has too, so a model reader is written once for both. No tree is built, the
//! depth is bounded, every error says where. Knows no document's meaning. Next: `runtime/xgboost/document.rs`,
//! `policy/document.rs` and `json.rs` (payloads), which use it.

use std::borrow::Cow;

use super::number::{read_f32, read_f64};
use crate::error::{Error, Result};
use crate::names::shown;

/// How deep objects and arrays may nest where nothing else is said.
pub const DEPTH_MAX: usize = 64;

/// A document read by asking for what is expected next. A clone remembers a place to read again from.
pub trait Pull<'a>: Sized + Clone {
    /// Reads an object; `member` is called at each value and must read it.
    ///
    /// # Errors
    /// When no object stands here, when it is cut off, and whatever `member` returns.
    fn object(&mut self, member: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()>;
    /// Reads an array; `element` is called at each value with its index and must read it.
    ///
    /// # Errors
    /// As [`Pull::object`].
    fn array(&mut self, element: impl FnMut(&mut Self, usize) -> Result<()>) -> Result<()>;
    /// Reads a string.
    ///
    /// # Errors
    /// When no string stands here.
    fn string(&mut self) -> Result<Cow<'a, str>>;
    /// Reads a number as `f32`, rounded once.
    ///
    /// # Errors
    /// When no number stands here.
    fn number(&mut self) -> Result<f32>;
    /// Reads a whole number that fits `i64`.
    ///
    /// # Errors
    /// When no such number stands here.
    fn integer(&mut self) -> Result<i64>;
    /// Reads an array of numbers.
    ///
    /// # Errors
    /// When an element is no number.
    fn numbers(&mut self) -> Result<Vec<f32>>;
    /// Reads an array of whole numbers; `true` and `false` count as 1 and 0.
    ///
    /// # Errors
    /// When an element is no whole number that fits `i32`.
    fn integers(&mut self) -> Result<Vec<i32>>;
    /// Passes over one value.
    ///
    /// # Errors
    /// When the value is malformed.
    fn skip(&mut self) -> Result<()>;
    /// Refuses anything after the document.
    ///
    /// # Errors
    /// When something follows.
    fn end(&mut self) -> Result<()>;
    /// `message` with the place in the document.
    fn fail(&self, message: impl std::fmt::Display) -> Error;
}

/// What comes next in a JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// A digit, sign, or one of the bare words `NaN` and `Infinity` that some writers emit.
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

/// The JSON reader.
#[derive(Debug, Clone)]
pub struct Json<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
    deepest: usize,
}

impl<'a> Json<'a> {
    /// Reads `text` from its start.
    pub fn new(text: &'a [u8]) -> Self {
        Self::within(text, DEPTH_MAX)
    }

    /// Reads `text`, in which objects and arrays may nest `deepest` levels.
    pub fn within(text: &'a [u8], deepest: usize) -> Self {
        Self { text, at: 0, depth: 0, deepest }
    }

    /// The byte the reader stands at.
    pub fn position(&self) -> usize {
        self.at
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
    }

    fn peek_byte(&mut self) -> Option<u8> {
        self.space();
        self.text.get(self.at).copied()
    }

    /// What kind of value stands here.
    ///
    /// # Errors
    /// When none does.
    pub fn peek(&mut self) -> Result<Next> {
        match self.peek_byte() {
            Some(b'{') => Ok(Next::Object),
            Some(b'[') => Ok(Next::Array),
            Some(b'"') => Ok(Next::String),
            Some(b'-' | b'0'..=b'9' | b'N' | b'I') => Ok(Next::Number),
            Some(b't' | b'f') => Ok(Next::Bool),
            Some(b'n') => Ok(Next::Null),
            _ => Err(self.expected("a value")),
        }
    }

    fn expected(&self, what: &str) -> Error {
        match self.text.get(self.at..) {
            None | Some([]) => self.fail(format_args!("the JSON ends where {what} is expected")),
            Some(rest) => {
                let found = String::from_utf8_lossy(rest.get(..12).unwrap_or(rest)).into_owned();
                self.fail(format_args!("the JSON has `{}` where {what} is expected", shown(&found)))
            }
        }
    }

    fn take(&mut self, byte: u8, what: &str) -> Result<()> {
        if self.peek_byte() == Some(byte) {
            self.at += 1;
            Ok(())
        } else {
            Err(self.expected(what))
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes()));
        if found {
            self.at += word.len();
        }
        found
    }

    fn deeper(&mut self) -> Result<()> {
        self.depth += 1;
        if self.depth > self.deepest {
            return Err(self.fail(format_args!("the JSON nests deeper than {}", self.deepest)));
        }
        Ok(())
    }

    /// Reads `true` or `false`.
    ///
    /// # Errors
    /// When neither stands here.
    pub fn boolean(&mut self) -> Result<bool> {
        self.space();
        if self.word("true") {
            Ok(true)
        } else if self.word("false") {
            Ok(false)
        } else {
            Err(self.expected("true or false"))
        }
    }

    /// Reads `null`.
    ///
    /// # Errors
    /// When it does not stand here.
    pub fn null(&mut self) -> Result<()> {
        self.space();
        if self.word("null") { Ok(()) } else { Err(self.expected("null")) }
    }

    /// The text of the number or bare word that stands here, as it is written.
    ///
    /// # Errors
    /// When no number stands here.
    pub fn number_text(&mut self) -> Result<&'a str> {
        self.space();
        let start = self.at;
        self.wide()?;
        self.text.get(start..self.at).and_then(|text| std::str::from_utf8(text).ok()).ok_or_else(|| self.expected("a number"))
    }

    /// The word for an infinite number, if one was just read.
    pub fn infinity(&self) -> Option<&'static str> {
        let read = self.text.get(..self.at)?;
        ["-Infinity", "Infinity"].into_iter().find(|word| read.ends_with(word.as_bytes()))
    }

    fn bare(&mut self) -> Option<f32> {
        if self.word("NaN") {
            Some(f32::NAN)
        } else if self.word("Infinity") {
            Some(f32::INFINITY)
        } else if self.word("-Infinity") {
            Some(f32::NEG_INFINITY)
        } else {
            None
        }
    }

    fn wide(&mut self) -> Result<f64> {
        self.space();
        if let Some(rest) = self.text.get(self.at..)
            && begins_number(rest)
            && let Some((value, length)) = read_f64(rest)
        {
            self.at += length;
            return Ok(value);
        }
        self.bare().map(f64::from).ok_or_else(|| self.expected("a number"))
    }

    fn quoted(&mut self) -> Result<Cow<'a, str>> {
        self.take(b'"', "a string")?;
        let start = self.at;
        loop {
            match self.text.get(self.at) {
                Some(b'"') => {
                    let raw = self.text.get(start..self.at).unwrap_or_default();
                    let text = std::str::from_utf8(raw).map_err(|_| self.fail("a string is not UTF-8"))?;
                    self.at += 1;
                    return Ok(Cow::Borrowed(text));
                }
                Some(b'\\') => return self.escaped(start),
                Some(0x20..) => self.at += 1,
                Some(_) => return Err(self.fail("a string holds a bare control character")),
                None => return Err(self.expected("the end of a string")),
            }
        }
    }

    fn escaped(&mut self, start: usize) -> Result<Cow<'a, str>> {
        let mut out = self.text.get(start..self.at).unwrap_or_default().to_vec();
        loop {
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return String::from_utf8(out).map(Cow::Owned).map_err(|_| self.fail("a string is not UTF-8"));
                }
                Some(b'\\') => {
                    let escape = self.text.get(self.at + 1).copied();
                    self.at += 2;
                    match escape {
                        Some(b'u') => {
                            let character = self.unicode()?;
                            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        Some(b'n') => out.push(b'\n'),
                        Some(b't') => out.push(b'\t'),
                        Some(b'r') => out.push(b'\r'),
                        Some(b'b') => out.push(8),
                        Some(b'f') => out.push(12),
                        Some(plain @ (b'"' | b'\\' | b'/')) => out.push(plain),
                        _ => return Err(self.fail("a string holds an unknown escape")),
                    }
                }
                Some(&byte @ 0x20..) => {
                    out.push(byte);
                    self.at += 1;
                }
                Some(_) => return Err(self.fail("a string holds a bare control character")),
                None => return Err(self.expected("the end of a string")),
            }
        }
    }

    fn unicode(&mut self) -> Result<char> {
        let high = self.four_digits()?;
        if (0xd800..0xdc00).contains(&high) && self.word("\\u") {
            let low = self.four_digits()?;
            if (0xdc00..0xe000).contains(&low) {
                let joined = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return char::from_u32(joined).ok_or_else(|| self.fail("a string holds an unpaired surrogate"));
            }
        }
        char::from_u32(high).ok_or_else(|| self.fail("a string holds an unpaired surrogate"))
    }

    fn four_digits(&mut self) -> Result<u32> {
        let digits = self.text.get(self.at..self.at + 4).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let value = digits.and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        value.ok_or_else(|| self.fail("a string holds a broken \\u escape"))
    }

    /// Steps over the separator before element or member `index`; `false` at `close`.
    fn more(&mut self, index: usize, close: u8, what: &str) -> Result<bool> {
        match self.peek_byte() {
            Some(byte) if byte == close => {
                self.at += 1;
                Ok(false)
            }
            Some(b',') if index > 0 => {
                self.at += 1;
                if self.peek_byte() == Some(close) { Err(self.expected(what)) } else { Ok(true) }
            }
            Some(_) if index == 0 => Ok(true),
            _ => Err(self.expected("`,` or the closing bracket")),
        }
    }
}

/// Whether `rest` begins as JSON lets a number begin: no plus, no point first, no leading zero.
#[inline]
fn begins_number(rest: &[u8]) -> bool {
    let digits = rest.strip_prefix(b"-").unwrap_or(rest);
    matches!(digits, [b'0'] | [b'1'..=b'9', ..]) || matches!(digits, [b'0', next, ..] if !next.is_ascii_digit())
}

impl<'a> Pull<'a> for Json<'a> {
    fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        self.take(b'{', "an object")?;
        self.deeper()?;
        let mut index = 0;
        while self.more(index, b'}', "a member")? {
            self.space();
            let key = self.quoted()?;
            self.take(b':', "`:`")?;
            member(self, &key)?;
            index += 1;
        }
        self.depth -= 1;
        Ok(())
    }

    fn array(&mut self, mut element: impl FnMut(&mut Self, usize) -> Result<()>) -> Result<()> {
        self.take(b'[', "an array")?;
        self.deeper()?;
        let mut index = 0;
        while self.more(index, b']', "an element")? {
            element(self, index)?;
            index += 1;
        }
        self.depth -= 1;
        Ok(())
    }

    fn string(&mut self) -> Result<Cow<'a, str>> {
        self.space();
        self.quoted()
    }

    fn number(&mut self) -> Result<f32> {
        self.space();
        if let Some(rest) = self.text.get(self.at..)
            && begins_number(rest)
            && let Some((value, length)) = read_f32(rest)
        {
            self.at += length;
            return Ok(value);
        }
        self.bare().ok_or_else(|| self.expected("a number"))
    }

    fn integer(&mut self) -> Result<i64> {
        let value = self.wide()?;
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked on the line")]
        if value.fract() == 0.0 && value.abs() <= 9_007_199_254_740_992.0 {
            return Ok(value as i64);
        }
        Err(self.fail(format_args!("`{value}` is no whole number")))
    }

    fn numbers(&mut self) -> Result<Vec<f32>> {
        let mut out = Vec::new();
        self.array(|json, _| {
            out.push(json.number()?);
            Ok(())
        })?;
        Ok(out)
    }

    fn integers(&mut self) -> Result<Vec<i32>> {
        let mut out = Vec::new();
        self.array(|json, _| {
            let value = if json.peek()? == Next::Bool { i64::from(json.boolean()?) } else { json.integer()? };
            out.push(i32::try_from(value).map_err(|_| json.fail(format_args!("`{value}` does not fit 32 bits")))?);
            Ok(())
        })?;
        Ok(out)
    }

    fn skip(&mut self) -> Result<()> {
        match self.peek()? {
            Next::Object => self.object(|json, _| json.skip()),
            Next::Array => self.array(|json, _| json.skip()),
            Next::String => self.string().map(drop),
            Next::Number => self.wide().map(drop),
            Next::Bool => self.boolean().map(drop),
            Next::Null => self.null(),
        }
    }

    fn end(&mut self) -> Result<()> {
        match self.peek_byte() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end")),
        }
    }

    fn fail(&self, message: impl std::fmt::Display) -> Error {
        Error::invalid(format!("{message}, at byte {}", self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skips(text: &str) -> Result<()> {
        let mut json = Json::new(text.as_bytes());
        json.skip()?;
        json.end()
    }

    #[test]
    fn well_formed_documents_are_read_and_others_refused_with_a_place() {
        for good in ["{}", "[]", " [1, -2.5e3, \"a\\u00e9\\ud83d\\ude00\", true, null, {\"a\": [NaN, -Infinity]}] ", "\"\\n\""] {
            skips(good).unwrap();
        }
        for bad in [
            "",
            "{",
            "[1,]",
            "[,1]",
            "{\"a\"}",
            "{\"a\":1,}",
            "[1 2]",
            "\"\\x\"",
            "\"\n\"",
            "tru",
            "[1]]",
            "\"\\ud800\"",
            "+1",
            "\"",
            "01",
            "-",
            ".5",
        ] {
            let error = skips(bad).unwrap_err();
            assert!(error.message().contains("at byte"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        assert!(skips(&("[".repeat(64) + &"]".repeat(64))).is_ok());
        assert!(skips(&("[".repeat(65) + &"]".repeat(65))).is_err());
        assert!(skips(&"[".repeat(1_000_000)).is_err());
    }

    #[test]
    fn strings_are_decoded() {
        assert_eq!(Json::new(br#""a\u00e9\ud83d\ude00\/""#).string().unwrap(), "a\u{e9}\u{1f600}/");
    }
}
