//! Artifacts as SageMaker packs them: a gzipped tar, and the ZIP of stored members inside a linear learner's.
//!
//! No time, user or compression setting of the machine gets in, so the same members give the same bytes. Knows no
//! model. Next: `artifact.rs`, which reads both.

use std::io::Write as _;

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::error::{Error, Result};

/// A `.tar.gz` of one file.
///
/// # Errors
/// When the member is larger than the format can say.
pub(crate) fn tar_gz(name: &str, bytes: &[u8]) -> Result<Vec<u8>> {
    let gzip = GzBuilder::new().mtime(0).operating_system(255).write(Vec::new(), Compression::default());
    let mut archive = Builder::new(gzip);
    let mut header = Header::new_ustar();
    header.set_entry_type(EntryType::Regular);
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    header.set_mtime(0);
    let packed = archive.append_data(&mut header, name, bytes).and_then(|()| archive.into_inner()).and_then(|mut gzip| {
        gzip.flush()?;
        gzip.finish()
    });
    packed.map_err(Error::internal)
}

/// A ZIP whose members are stored, dated 1980-01-01 as ZIP's time begins.
///
/// # Errors
/// When it would be larger than ZIP can say without its 64-bit extension.
pub(crate) fn stored_zip(members: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let large = |_| Error::invalid("the model is larger than the 4 GiB that its ZIP can hold; train on fewer columns");
    let long = |value: usize| u32::try_from(value).map(u32::to_le_bytes).map_err(large);
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let mut check = flate2::Crc::new();
        check.update(bytes);
        let start = out.len();
        // What the member's own head and the directory both say: version 2.0, no flags, stored, the date, checksum,
        // both sizes, the name's length, no extra field.
        let mut told = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        told.extend(check.sum().to_le_bytes());
        told.extend(long(bytes.len())?);
        told.extend(long(bytes.len())?);
        told.extend((name.len() as u16).to_le_bytes());
        told.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&told);
        out.extend(name.as_bytes());
        out.extend(*bytes);
        directory.extend(b"PK\x01\x02");
        directory.extend([20, 0]);
        directory.extend(&told);
        // No comment, first disk, no attributes; where the member starts.
        directory.extend([0; 10]);
        directory.extend(long(start)?);
        directory.extend(name.as_bytes());
    }
    let (start, length, count) = (long(out.len())?, long(directory.len())?, (members.len() as u16).to_le_bytes());
    out.extend(directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    for part in [&count[..], &count, &length, &start, &[0, 0]] {
        out.extend(part);
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::artifact::{Artifact, Limits, stored_zip as read_zip};

    #[test]
    fn what_is_packed_is_unpacked() {
        let zip = stored_zip(&[("a.json", b"{}"), ("b", b""), ("c", &[7; 1000])]).unwrap();
        let members = read_zip(&zip, Limits::default()).unwrap();
        assert_eq!(members, [("a.json".to_owned(), &b"{}"[..]), ("b".to_owned(), b""), ("c".to_owned(), &[7; 1000])]);
        let packed = tar_gz("model_algo-1", &zip).unwrap();
        assert_eq!(packed, tar_gz("model_algo-1", &zip).unwrap());
        let artifact = Artifact::read(packed.as_slice(), Limits::default()).unwrap();
        assert_eq!(artifact.members()[0].name, "model_algo-1");
        assert_eq!(artifact.members()[0].bytes, zip);
    }
}
