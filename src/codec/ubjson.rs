//! A pull reader of UBJSON draft 12 (universal binary JSON, <https://ubjson.org>): big-endian, typed arrays.
//!
//! The same face as the JSON reader, so a model reader is written once. Every count is checked against the bytes that
//! are left before anything is allocated. Knows no document's meaning. Next: `runtime/xgboost/document.rs`.

use std::borrow::Cow;

use super::pull::{DEPTH_MAX, Pull};
use crate::error::{Error, Result};
use crate::names::following;

/// The UBJSON reader.
#[derive(Debug, Clone)]
pub struct Ubjson<'a> {
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// Inside a typed container the elements carry no marker of their own; this is theirs.
    marker: Option<u8>,
}

/// How a container announces its elements.
struct Head {
    marker: Option<u8>,
    count: Option<usize>,
}

impl<'a> Ubjson<'a> {
    /// Reads `bytes` from their start.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, depth: 0, marker: None }
    }

    fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        match taken {
            Some(taken) => {
                self.at += count;
                Ok(taken)
            }
            None => Err(self.fail(format_args!("the UBJSON ends, {count} more bytes are announced"))),
        }
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.take(1)?.first().copied().unwrap_or_default())
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| self.fail("the UBJSON ends"))
    }

    /// The marker of the value that stands here: the container's, or its own.
    fn marker(&mut self) -> Result<u8> {
        match self.marker {
            Some(marker) => Ok(marker),
            None => loop {
                match self.byte()? {
                    b'N' => {}
                    marker => return Ok(marker),
                }
            },
        }
    }

    fn whole(&mut self, marker: u8) -> Result<i64> {
        Ok(match marker {
            b'i' => i64::from(i8::from_be_bytes(self.fixed()?)),
            b'U' => i64::from(u8::from_be_bytes(self.fixed()?)),
            b'I' => i64::from(i16::from_be_bytes(self.fixed()?)),
            b'l' => i64::from(i32::from_be_bytes(self.fixed()?)),
            b'L' => i64::from_be_bytes(self.fixed()?),
            b'T' => 1,
            b'F' => 0,
            other => {
                return Err(self.fail(format_args!("the UBJSON has marker `{}` where a whole number is expected", other.escape_ascii())));
            }
        })
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_precision_loss, reason = "the caller asked for f32")]
    fn real(&mut self, marker: u8) -> Result<f32> {
        Ok(match marker {
            b'd' => f32::from_be_bytes(self.fixed()?),
            b'D' => f64::from_be_bytes(self.fixed()?) as f32,
            other => self.whole(other)? as f32,
        })
    }

    fn length(&mut self) -> Result<usize> {
        let marker = self.byte()?;
        let length = self.whole(marker)?;
        usize::try_from(length).map_err(|_| self.fail(format_args!("the UBJSON announces a length of {length}")))
    }

    fn text(&mut self) -> Result<&'a str> {
        let length = self.length()?;
        let raw = self.take(length)?;
        std::str::from_utf8(raw).map_err(|_| self.fail("a string is not UTF-8"))
    }

    fn head(&mut self) -> Result<Head> {
        let mut head = Head { marker: None, count: None };
        if self.bytes.get(self.at) == Some(&b'$') {
            self.at += 1;
            head.marker = Some(self.byte()?);
            if self.bytes.get(self.at) != Some(&b'#') {
                return Err(self.fail("a typed UBJSON container has no count"));
            }
        }
        if self.bytes.get(self.at) == Some(&b'#') {
            self.at += 1;
            let count = self.length()?;
            // Elements of no bytes at all would make the count unbounded, so such types are not taken.
            let least = match head.marker {
                None | Some(b'i' | b'U' | b'C' | b'S' | b'[' | b'{') => 1,
                Some(b'I') => 2,
                Some(b'l' | b'd') => 4,
                Some(b'L' | b'D') => 8,
                Some(other) => return Err(self.fail(format_args!("a UBJSON container of type `{}` is not taken", other.escape_ascii()))),
            };
            if count.checked_mul(least).is_none_or(|bytes| bytes > self.left()) {
                return Err(self.fail(format_args!("the UBJSON announces {count} elements, more than the bytes left")));
            }
            head.count = Some(count);
        }
        Ok(head)
    }

    fn open(&mut self, bracket: u8, what: &str) -> Result<Head> {
        let marker = self.marker()?;
        if marker != bracket {
            return Err(self.fail(format_args!("the UBJSON has marker `{}` where {what} is expected", marker.escape_ascii())));
        }
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.fail(format_args!("the UBJSON nests deeper than {DEPTH_MAX}")));
        }
        self.head()
    }

    fn each(&mut self, head: &Head, close: u8, mut element: impl FnMut(&mut Self, usize) -> Result<()>) -> Result<()> {
        let outer = self.marker.take();
        let mut index = 0;
        loop {
            match head.count {
                Some(count) if index == count => break,
                Some(_) => {}
                None if self.bytes.get(self.at) == Some(&close) => {
                    self.at += 1;
                    break;
                }
                None => {}
            }
            self.marker = None;
            element(self, index)?;
            index += 1;
        }
        self.marker = outer;
        self.depth -= 1;
        Ok(())
    }

    fn skip_as(&mut self, marker: u8) -> Result<()> {
        match marker {
            b'{' => {
                self.marker = Some(b'{');
                let result = self.object(|reader, _| reader.skip());
                self.marker = None;
                result
            }
            b'[' => {
                self.marker = Some(b'[');
                let result = self.array(|reader, _| reader.skip());
                self.marker = None;
                result
            }
            b'S' | b'H' => self.text().map(drop),
            b'C' => self.byte().map(drop),
            b'Z' => Ok(()),
            other => self.real(other).map(drop),
        }
    }
}

impl<'a> Pull<'a> for Ubjson<'a> {
    fn object(&mut self, mut member: impl FnMut(&mut Self, &str) -> Result<()>) -> Result<()> {
        let head = self.open(b'{', "an object")?;
        let inner = head.marker;
        self.each(&head, b'}', |reader, _| {
            let key = reader.text()?;
            reader.marker = inner;
            member(reader, key)
        })
    }

    fn array(&mut self, mut element: impl FnMut(&mut Self, usize) -> Result<()>) -> Result<()> {
        let head = self.open(b'[', "an array")?;
        let inner = head.marker;
        self.each(&head, b']', |reader, index| {
            reader.marker = inner;
            element(reader, index)
        })
    }

    fn string(&mut self) -> Result<Cow<'a, str>> {
        match self.marker()? {
            b'S' => self.text().map(Cow::Borrowed),
            other => Err(self.fail(format_args!("the UBJSON has marker `{}` where a string is expected", other.escape_ascii()))),
        }
    }

    fn number(&mut self) -> Result<f32> {
        let marker = self.marker()?;
        self.real(marker)
    }

    fn integer(&mut self) -> Result<i64> {
        let marker = self.marker()?;
        self.whole(marker)
    }

    fn numbers(&mut self) -> Result<Vec<f32>> {
        let head = self.open(b'[', "an array")?;
        let mut out = Vec::with_capacity(head.count.unwrap_or_default());
        if let (Some(b'd'), Some(count)) = (head.marker, head.count) {
            let raw = self.take(count * 4)?;
            out.extend(raw.as_chunks::<4>().0.iter().map(|word| f32::from_be_bytes(*word)));
            self.depth -= 1;
            return Ok(out);
        }
        let inner = head.marker;
        self.each(&head, b']', |reader, _| {
            reader.marker = inner;
            out.push(reader.number()?);
            Ok(())
        })?;
        Ok(out)
    }

    fn integers(&mut self) -> Result<Vec<i32>> {
        let head = self.open(b'[', "an array")?;
        let mut out = Vec::with_capacity(head.count.unwrap_or_default());
        if let (Some(b'l'), Some(count)) = (head.marker, head.count) {
            let raw = self.take(count * 4)?;
            out.extend(raw.as_chunks::<4>().0.iter().map(|word| i32::from_be_bytes(*word)));
            self.depth -= 1;
            return Ok(out);
        }
        let inner = head.marker;
        self.each(&head, b']', |reader, _| {
            reader.marker = inner;
            let value = reader.integer()?;
            out.push(i32::try_from(value).map_err(|_| reader.fail(format_args!("`{value}` does not fit 32 bits")))?);
            Ok(())
        })?;
        Ok(out)
    }

    fn skip(&mut self) -> Result<()> {
        let marker = self.marker()?;
        self.skip_as(marker)
    }

    fn end(&mut self) -> Result<()> {
        if self.left() == 0 { Ok(()) } else { Err(self.fail(format_args!("{} the UBJSON document", following(self.left())))) }
    }

    fn fail(&self, message: impl std::fmt::Display) -> Error {
        Error::invalid(format!("{message}, at byte {}", self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typed_and_plain_arrays_give_the_same_numbers() {
        let typed = b"[$d#U\x02\x3f\x80\x00\x00\x40\x00\x00\x00";
        assert_eq!(Ubjson::new(typed).numbers().unwrap(), [1.0, 2.0]);
        let plain = b"[d\x3f\x80\x00\x00U\x02]";
        assert_eq!(Ubjson::new(plain).numbers().unwrap(), [1.0, 2.0]);
        assert_eq!(Ubjson::new(b"[$U#U\x03\x00\x01\xff").integers().unwrap(), [0, 1, 255]);
        assert_eq!(Ubjson::new(b"[TF]").integers().unwrap(), [1, 0]);
    }

    #[test]
    fn objects_nest_and_unknown_members_are_skipped() {
        let bytes = b"{U\x01aSU\x02hiU\x01b[{}[U\x01]]U\x01c{$U#U\x01U\x01x\x05}";
        let mut seen = Vec::new();
        let mut reader = Ubjson::new(bytes);
        reader
            .object(|reader, key| {
                seen.push(key.to_owned());
                if key == "a" {
                    assert_eq!(reader.string()?, "hi");
                    Ok(())
                } else {
                    reader.skip()
                }
            })
            .unwrap();
        reader.end().unwrap();
        assert_eq!(seen, ["a", "b", "c"]);
    }

    #[test]
    fn announced_counts_are_checked_before_allocation() {
        for bytes in [
            &b"[$d#L\x7f\xff\xff\xff\xff\xff\xff\xff"[..],
            b"[$Z#l\x7f\xff\xff\xff",
            b"[#l\x7f\xff\xff\xff",
            b"SL\xff\xff\xff\xff\xff\xff\xff\xff",
        ] {
            assert!(Ubjson::new(bytes).skip().is_err());
            assert!(Ubjson::new(bytes).numbers().is_err());
        }
        assert!(Ubjson::new(&b"[".repeat(1000)).skip().is_err());
    }
}
