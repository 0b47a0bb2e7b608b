//! An uploaded artifact's members, read under limits: a gzipped tar, or one bare file.
//!
//! Nothing is ever unpacked to disk and no name is ever used as a path. Everything an archive can do besides hold
//! plain files is refused by name: links, devices, absolute or climbing names, duplicates, more bytes or entries than
//! allowed. Must not know model formats. Next: `runtime/mod.rs`, which recognises the members.

use std::collections::HashSet;
use std::io::{self, Read};

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

use crate::error::{Error, Kind, Result};
use crate::names::shown;

/// So much of a member is looked at before it is taken into memory.
pub const HEAD: usize = 64 << 10;

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
#[derive(Debug, Clone)]
pub struct Member {
    /// As the archive writes it, without a leading `./`.
    pub name: String,
    /// Its content.
    pub bytes: Bytes,
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
    pub fn read(source: impl Read, limits: Limits) -> Result<Self> {
        Self::read_if(source, 0, limits, |_| true)
    }

    /// As [`Artifact::read`], but only members whose first [`HEAD`] bytes are `wanted` are taken into memory; of the
    /// others there is the name alone. An archive is still read to its end under every limit; a bare file that is not
    /// wanted is left where that shows. `length` is what `source` holds, as far as it is known: room for a bare file is
    /// made once.
    ///
    /// # Errors
    /// As [`Artifact::read`].
    pub fn read_if(mut source: impl Read, length: u64, limits: Limits, wanted: impl Fn(&[u8]) -> bool) -> Result<Self> {
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
            return if is_archive { Self::archive(inner, limits, wanted) } else { Self::bare(inner, 0, wanted) };
        }
        let capped = Capped { inner: whole, left: limits.unpacked };
        if is_tar(head) { Self::archive(capped, limits, wanted) } else { Self::bare(capped, length.min(limits.unpacked), wanted) }
    }

    /// The members in the archive's order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    fn bare(mut source: impl Read, length: u64, wanted: impl Fn(&[u8]) -> bool) -> Result<Self> {
        let bytes = content(&mut source, length, wanted)?;
        if bytes.as_ref().is_some_and(Bytes::is_empty) {
            return Err(Error::invalid("the file is empty"));
        }
        Ok(Self { members: vec![Member { name: String::new(), bytes: bytes.unwrap_or_default() }] })
    }

    fn archive(source: impl Read, limits: Limits, wanted: impl Fn(&[u8]) -> bool) -> Result<Self> {
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
            let Some(bytes) = content(&mut entry, announced.min(limits.unpacked), &wanted)? else {
                // What is not wanted is not kept, but counts, and must be there.
                let skipped = io::copy(&mut entry, &mut io::sink()).map_err(unreadable)?;
                if skipped + HEAD as u64 != announced {
                    return Err(cut_off(&name));
                }
                members.push(Member { name, bytes: Bytes::new() });
                continue;
            };
            if bytes.len() as u64 != announced {
                return Err(cut_off(&name));
            }
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

/// All of `source`, or `None` when its first [`HEAD`] bytes are not `wanted`; then no more than those were read. What is
/// shorter is taken in any case. `room` is how much is likely to come.
fn content(source: &mut impl Read, room: u64, wanted: impl Fn(&[u8]) -> bool) -> Result<Option<Bytes>> {
    let mut bytes = Vec::new();
    source.by_ref().take(HEAD as u64).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() == HEAD && !wanted(&bytes) {
        return Ok(None);
    }
    // Room that is not written to costs nothing, so what is announced may be asked for at once: growing piece by piece
    // would hold a long member nearly twice. Where the system gives no such room, it grows as far as it can.
    let more = usize::try_from(room).unwrap_or(usize::MAX).saturating_sub(bytes.len());
    let _ = bytes.try_reserve_exact(more);
    source.read_to_end(&mut bytes).map_err(unreadable)?;
    bytes.shrink_to_fit();
    Ok(Some(bytes.into()))
}

fn cut_off(name: &str) -> Error {
    Error::invalid(format!("entry `{}` is cut off: the archive is truncated", shown(name)))
}

fn over_limit() -> Error {
    Error::new(Kind::TooLarge, "the archive unpacks to more bytes than allowed; a server takes more with --unpacked")
}

fn unreadable(error: io::Error) -> Error {
    // A refusal that came up through the reader keeps its own words.
    let inner = error.get_ref();
    if inner.is_some_and(|inner| inner.is::<OverLimit>())
        || inner.and_then(|inner| inner.source()).is_some_and(|source| source.is::<OverLimit>())
    {
        return over_limit();
    }
    if let Some(refusal) = inner.and_then(|inner| inner.downcast_ref::<Error>()) {
        return refusal.clone();
    }
    if deep_source::<OverLimit>(&error) {
        return over_limit();
    }
    let what = match error.kind() {
        io::ErrorKind::OutOfMemory => return over_limit().because(error),
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
            // Any other ZIP would be no model when stored either.
            const MEMBER: &[u8] = b"mx-mod-symbol.json";
            return refuse(if bytes.windows(MEMBER.len()).any(|found| found == MEMBER) {
                "is compressed; a linear learner's members are stored (`zip -0`)"
            } else {
                "is compressed; of ZIPs only the stored ones of linear learners are taken"
            });
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts what is read of it.
    struct Counting<'a, R>(R, &'a mut u64);

    impl<R: Read> Read for Counting<'_, R> {
        fn read(&mut self, place: &mut [u8]) -> io::Result<usize> {
            let read = self.0.read(place)?;
            *self.1 += read as u64;
            Ok(read)
        }
    }

    fn limits(unpacked: u64) -> Limits {
        Limits { unpacked, ..Limits::default() }
    }

    fn tar(files: &[(&str, u64, &[u8])]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, announced, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_path(name).unwrap();
            header.set_size(*announced);
            header.set_mode(0o644);
            header.set_cksum();
            tar.extend_from_slice(header.as_bytes());
            tar.extend_from_slice(bytes);
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar.resize(tar.len() + 1024, 0);
        tar
    }

    fn starts_with_m(head: &[u8]) -> bool {
        head.first() == Some(&b'm')
    }

    #[test]
    fn a_bare_file_that_is_not_wanted_is_left_where_that_shows() {
        let mut read = 0;
        let endless = Counting(io::repeat(b'n').take(1 << 40), &mut read);
        let artifact = Artifact::read_if(endless, 1 << 40, limits(1 << 50), starts_with_m).unwrap();
        assert!(artifact.members()[0].bytes.is_empty());
        assert!(read <= (HEAD + 512) as u64, "{read} bytes were read");
    }

    #[test]
    fn members_that_are_not_wanted_are_named_and_not_kept() {
        let (other, model) = (vec![b'n'; 3 << 20], vec![b'm'; (2 << 20) + 7]);
        let packed = tar(&[("other", other.len() as u64, &other), ("model", model.len() as u64, &model)]);
        let artifact = Artifact::read_if(packed.as_slice(), 0, limits(1 << 30), starts_with_m).unwrap();
        // With no room to spare: what is held is what counts.
        let kept = artifact.members.into_iter().map(|Member { name, bytes }| (name, Vec::from(bytes)));
        let [(other, none), (second, bytes)] = <[_; 2]>::try_from(kept.collect::<Vec<_>>()).unwrap();
        assert_eq!((other.as_str(), none.capacity()), ("other", 0));
        assert_eq!((second.as_str(), &bytes, bytes.capacity()), ("model", &model, model.len()));
        // They count all the same, and must be there.
        let error = Artifact::read_if(packed.as_slice(), 0, limits(4 << 20), starts_with_m).unwrap_err();
        assert_eq!(error.kind(), Kind::TooLarge, "{error:?}");
        let cut = &packed[..1 << 20];
        assert!(Artifact::read_if(cut, 0, limits(1 << 30), starts_with_m).unwrap_err().message().contains("truncated"));
    }

    #[test]
    fn what_is_announced_and_does_not_come_is_missed() {
        for (announced, limit) in [(2 << 30, 1 << 20), (2 << 30, 4 << 30), (1 << 40, u64::MAX)] {
            let packed = tar(&[("model", announced, &[b'm'; 1000])]);
            let error = Artifact::read_if(packed.as_slice(), 0, limits(limit), starts_with_m).unwrap_err();
            assert!(error.message().contains("entry `model` is cut off"), "{error:?}");
        }
        let packed = tar(&[("model", 2 << 30, &vec![b'm'; 2 << 20])]);
        let error = Artifact::read_if(packed.as_slice(), 0, limits(1 << 20), starts_with_m).unwrap_err();
        assert!(error.kind() == Kind::TooLarge && error.message().contains("--unpacked"), "{error:?}");
    }
}
