//! An uploaded artifact's members, read under limits: a gzipped tar, or one bare file.
//!
//! Nothing is ever unpacked to disk and no name is ever used as a path. Everything an archive can do besides hold
//! plain files is refused by name: links, devices, absolute or climbing names, duplicates, more bytes or entries than
//! allowed. Must not know model formats. Next: `runtime/mod.rs`, which recognises the members.

use std::collections::HashSet;
use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use crate::error::{Error, Kind, Result};
use crate::names::shown;

/// What an archive may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes when unpacked, all members together.
    pub unpacked: u64,
    /// Entries, directories included.
    pub entries: usize,
    /// Bytes of an entry's name.
    pub name: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { unpacked: 2 << 30, entries: 10_000, name: 255 }
    }
}

/// A file inside an artifact; a bare file has no name.
#[derive(Debug)]
pub struct Member {
    /// As the archive writes it, without a leading `./`.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

/// An artifact's members.
#[derive(Debug)]
pub struct Artifact {
    members: Vec<Member>,
}

impl Artifact {
    /// Reads all of `source`: a gzipped or plain tar's members, or one nameless member.
    ///
    /// # Errors
    /// [`Kind::Validation`] naming the entry and the reason, [`Kind::TooLarge`] naming the limit.
    pub fn read(mut source: impl Read, limits: Limits) -> Result<Self> {
        let mut head = [0; 512];
        let filled = fill(&mut source, &mut head)?;
        let head = head.get(..filled).unwrap_or_default();
        let whole = head.chain(source);
        if head.starts_with(&[0x1f, 0x8b]) {
            let mut unpacked = Capped { inner: MultiGzDecoder::new(whole), left: limits.unpacked };
            let mut block = [0; 512];
            let filled = fill(&mut unpacked, &mut block)?;
            let block = block.get(..filled).unwrap_or_default();
            let is_archive = is_tar(block);
            let inner = block.chain(unpacked);
            return if is_archive { Self::archive(inner, limits) } else { Self::bare(inner) };
        }
        let capped = Capped { inner: whole, left: limits.unpacked };
        if is_tar(head) { Self::archive(capped, limits) } else { Self::bare(capped) }
    }

    /// The members in the archive's order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    fn bare(mut source: impl Read) -> Result<Self> {
        let mut bytes = Vec::new();
        source.read_to_end(&mut bytes).map_err(unreadable)?;
        if bytes.is_empty() {
            return Err(Error::invalid("the file is empty"));
        }
        Ok(Self { members: vec![Member { name: String::new(), bytes }] })
    }

    fn archive(source: impl Read, limits: Limits) -> Result<Self> {
        let mut archive = Archive::new(source);
        let (mut members, mut seen, mut count) = (Vec::new(), HashSet::new(), 0);
        for entry in archive.entries().map_err(unreadable)? {
            let mut entry = entry.map_err(unreadable)?;
            count += 1;
            if count > limits.entries {
                return Err(Error::new(Kind::TooLarge, format!("the archive has more than {} entries", limits.entries)));
            }
            let kind = entry.header().entry_type();
            if kind == EntryType::XGlobalHeader {
                continue;
            }
            let name = name(&entry.path_bytes(), limits)?;
            match kind {
                EntryType::Directory => continue,
                EntryType::Regular | EntryType::Continuous => {}
                other => {
                    return Err(Error::invalid(format!(
                        "entry `{}` is {}; only plain files can be in a model archive",
                        shown(&name),
                        kind_word(other)
                    )));
                }
            }
            if !seen.insert(name.clone()) {
                return Err(Error::invalid(format!("entry `{}` is in the archive twice", shown(&name))));
            }
            // Hidden files are what tools leave behind (`._model` of a Mac); SageMaker skips them too.
            if name.rsplit('/').next().is_some_and(|file| file.starts_with('.')) {
                continue;
            }
            let announced = entry.size();
            // Announced sizes are not believed further than a first allocation.
            let mut bytes = Vec::with_capacity(usize::try_from(announced.min(1 << 20)).unwrap_or_default());
            entry.read_to_end(&mut bytes).map_err(unreadable)?;
            if bytes.len() as u64 != announced {
                return Err(Error::invalid(format!("entry `{}` is cut off: the archive is truncated", shown(&name))));
            }
            bytes.shrink_to_fit();
            members.push(Member { name, bytes });
        }
        // The rest is read too, so that a cut or damaged end (gzip's own checksum) is noticed.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(unreadable)?;
        Ok(Self { members })
    }
}

/// Fails past its limit instead of ending, so an oversized archive is never taken for a short one.
struct Capped<R> {
    inner: R,
    left: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("more than the allowed bytes")]
struct OverLimit;

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, place: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(place)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other(OverLimit))?;
        Ok(read)
    }
}

fn fill(source: &mut impl Read, place: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    loop {
        let Some(rest) = place.get_mut(filled..).filter(|rest| !rest.is_empty()) else { return Ok(filled) };
        match source.read(rest).map_err(unreadable)? {
            0 => return Ok(filled),
            read => filled += read,
        }
    }
}

fn unreadable(error: io::Error) -> Error {
    // A refusal that came up through the reader keeps its own words.
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<OverLimit>())
        || inner.and_then(|inner| inner.source()).is_some_and(|source| source.is::<OverLimit>())
    {
        return Error::new(Kind::TooLarge, "the archive unpacks to more bytes than allowed");
    }
    if let Some(refusal) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
        return refusal.clone();
    }
    if deep_source::<OverLimit>(&error) {
        return Error::new(Kind::TooLarge, "the archive unpacks to more bytes than allowed");
    }
    let what = match error.kind() {
        io::ErrorKind::UnexpectedEof => "is truncated",
        _ => "is damaged",
    };
    Error::invalid(format!("the archive {what}; make it again, for example with `tar czf model.tar.gz xgboost-model`")).because(error)
}

fn deep_source<T: std::error::Error + 'static>(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut at = Some(error);
    while let Some(error) = at {
        if error.is::<T>() {
            return true;
        }
        at = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    false
}

fn is_tar(block: &[u8]) -> bool {
    if block.get(257..262) == Some(b"ustar") {
        return true;
    }
    if block.len() == 512 && block.iter().all(|&b| b == 0) {
        return true;
    }
    // Archives of before 1988 have no magic; their header checksum still holds.
    let Some(block) = block.first_chunk::<512>() else { return false };
    let field = block.get(148..156).unwrap_or_default();
    let digits: String = field.iter().map(|&b| char::from(b)).filter(|c| c.is_digit(8)).collect();
    let sum: u32 = block.iter().enumerate().map(|(at, &b)| if (148..156).contains(&at) { 32 } else { u32::from(b) }).sum();
    block.first() != Some(&0) && u32::from_str_radix(&digits, 8) == Ok(sum)
}

fn kind_word(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "a hard link",
        EntryType::Symlink => "a symbolic link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a pipe",
        EntryType::GNUSparse => "a sparse file",
        _ => "of an unknown kind",
    }
}

fn name(raw: &[u8], limits: Limits) -> Result<String> {
    let lossy = String::from_utf8_lossy(raw);
    let refuse = |why: &str| Err(Error::invalid(format!("entry `{}` {why}", shown(&lossy))));
    if raw.len() > limits.name {
        return refuse(&format!("has a name of {} bytes; at most {} are allowed", raw.len(), limits.name));
    }
    let Ok(text) = std::str::from_utf8(raw) else { return refuse("has a name that is not UTF-8") };
    if text.starts_with('/') || text.contains('\\') || text.chars().any(char::is_control) {
        return refuse("has an absolute name or one with a backslash or control character");
    }
    if text.split('/').any(|part| part == "..") {
        return refuse("climbs out of the archive with `..`");
    }
    let mut name = text;
    while let Some(rest) = name.strip_prefix("./") {
        name = rest;
    }
    Ok(name.to_owned())
}

/// The members of a ZIP whose members are all stored, as SageMaker's `model_algo-1` is; the bytes are not copied.
///
/// # Errors
/// [`Kind::Validation`] naming the member and the reason: compressed, encrypted, overlapping, twice, a wrong checksum.
pub fn stored_zip(bytes: &[u8], limits: Limits) -> Result<Vec<(String, &[u8])>> {
    let bad = |what: &str| Error::invalid(format!("the ZIP {what}"));
    let word = |at: usize| Some(usize::from(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?)));
    let long = |at: usize| usize::try_from(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok();
    let tail = bytes.len().saturating_sub(22 + 65_535);
    let end = (tail..=bytes.len().saturating_sub(22)).rev().find(|&at| bytes.get(at..at + 4) == Some(b"PK\x05\x06"));
    let end = end.ok_or_else(|| bad("is truncated: it has no end record"))?;
    let field = |value: Option<usize>| value.ok_or_else(|| bad("is truncated"));
    let (count, mut at) = (field(word(end + 10))?, field(long(end + 16))?);
    if count > limits.entries || count == 0xffff {
        return Err(bad("has too many members"));
    }
    let mut members: Vec<(String, &[u8])> = Vec::new();
    let mut spans = Vec::new();
    let mut total = 0usize;
    for _ in 0..count {
        if bytes.get(at..at + 4) != Some(b"PK\x01\x02") {
            return Err(bad("has a broken directory"));
        }
        let (flags, method) = (field(word(at + 8))?, field(word(at + 10))?);
        let (crc, packed, size) = (field(long(at + 16))?, field(long(at + 20))?, field(long(at + 24))?);
        let (name_length, extra, comment) = (field(word(at + 28))?, field(word(at + 30))?, field(word(at + 32))?);
        let local = field(long(at + 42))?;
        let raw = bytes.get(at + 46..at + 46 + name_length).ok_or_else(|| bad("is truncated"))?;
        let name = name(raw, limits)?;
        let refuse = |why: &str| Err(Error::invalid(format!("ZIP member `{}` {why}", shown(&name))));
        if flags & 1 != 0 {
            return refuse("is encrypted");
        }
        if method != 0 || packed != size {
            return refuse("is compressed; a linear learner's members are stored (`zip -0`)");
        }
        if bytes.get(local..local.saturating_add(4)) != Some(b"PK\x03\x04") {
            return refuse("is not where the directory says");
        }
        let start = local + 30 + field(word(local + 26))? + field(word(local + 28))?;
        let Some(data) = bytes.get(start..start.saturating_add(size)) else { return refuse("is cut off") };
        // Spans may not overlap, so they cannot add up to more than the file; checked before all are summed.
        total += size;
        if total > bytes.len() {
            return Err(bad("has members that overlap"));
        }
        let mut check = flate2::Crc::new();
        check.update(data);
        if check.sum() as usize != crc {
            return refuse("does not have its checksum");
        }
        if members.iter().any(|(other, _)| *other == name) {
            return refuse("is there twice");
        }
        spans.push((local, start + size));
        members.push((name, data));
        at += 46 + name_length + extra + comment;
    }
    spans.sort_unstable();
    if spans.array_windows().any(|[(_, end), (start, _)]| end > start) {
        return Err(bad("has members that overlap"));
    }
    Ok(members)
}
