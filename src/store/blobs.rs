//! Bytes in pieces: staged while they arrive, marked ready by whoever points at them, swept when they never are.
//!
//! Knows nothing of models. Next: `models.rs`, which publishes blobs as versions.

use std::io;

use rusqlite::blob::Blob;
use rusqlite::{MAIN_DB, params};

use super::{Read, Tx, failed};
use crate::error::{Error, Kind, Result};

/// Bytes in a piece.
pub const CHUNK: usize = 1 << 20;
/// What was staged and has been silent this long, in seconds, belongs to nobody: a server touches what its own uploads
/// staged far more often.
pub const SILENT: i64 = 900;

/// A blob's id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobId(pub(super) i64);

/// Starts a blob.
///
/// # Errors
/// When the file cannot be written.
pub fn begin(tx: &Tx<'_>) -> Result<BlobId> {
    tx.run("INSERT INTO blob (touched_at) VALUES (?1)", params![tx.now])?;
    Ok(BlobId(tx.last_id()))
}

/// Appends bytes; `first` is the number of the first piece. Every piece but the last of a blob is [`CHUNK`] long.
///
/// # Errors
/// [`swept`] when the blob is gone; when the file cannot be written.
pub fn append(tx: &Tx<'_>, blob: BlobId, first: usize, bytes: &[u8]) -> Result<()> {
    let length = i64::try_from(bytes.len()).map_err(Error::internal)?;
    if tx.run("UPDATE blob SET bytes = bytes + ?2, touched_at = ?3 WHERE id = ?1", params![blob.0, length, tx.now])? == 0 {
        return Err(swept());
    }
    for (index, piece) in bytes.chunks(CHUNK).enumerate() {
        let seq = i64::try_from(first + index).map_err(Error::internal)?;
        tx.run("INSERT INTO chunk (blob, seq, data) VALUES (?1, ?2, ?3)", params![blob.0, seq, piece])?;
    }
    Ok(())
}

/// The refusal of an upload whose pieces the sweep took for dead, as when the machine slept or its clock was set.
pub fn swept() -> Error {
    Error::new(Kind::Unavailable, "the upload took too long and was swept; send it again")
}

/// Removes a blob that was never marked ready.
///
/// # Errors
/// When the file cannot be written.
pub fn discard(tx: &Tx<'_>, blob: BlobId) -> Result<()> {
    tx.run("DELETE FROM blob WHERE id = ?1 AND ready = 0", params![blob.0]).map(drop)
}

/// Marks a blob as pointed at.
pub(super) fn ready(tx: &Tx<'_>, blob: BlobId) -> Result<()> {
    if tx.run("UPDATE blob SET ready = 1 WHERE id = ?1 AND ready = 0", params![blob.0])? == 1 {
        return Ok(());
    }
    Err(swept())
}

/// Removes a ready blob nothing points at any more.
pub(super) fn remove(tx: &Tx<'_>, blob: BlobId) -> Result<()> {
    tx.run("DELETE FROM blob WHERE id = ?1", params![blob.0]).map(drop)
}

/// Removes the remains of dead uploads: staged blobs that have been silent for [`SILENT`] seconds. Those of `live` uploads,
/// which may come slowly or wait long for their turn, count as touched now. Returns how many are gone.
///
/// # Errors
/// When the file cannot be written.
pub fn sweep(tx: &Tx<'_>, live: &[BlobId]) -> Result<usize> {
    for blob in live {
        tx.run("UPDATE blob SET touched_at = ?2 WHERE id = ?1 AND ready = 0", params![blob.0, tx.now])?;
    }
    tx.run("DELETE FROM blob WHERE ready = 0 AND touched_at < ?1", params![tx.now - SILENT])
}

/// Bytes of all artifacts that versions point at.
///
/// # Errors
/// When the file cannot be read.
pub fn stored(read: &Read<'_>) -> Result<u64> {
    let sum =
        read.one("SELECT coalesce(sum(b.bytes), 0) FROM version v JOIN blob b ON b.id = v.artifact", [], |row| row.get::<_, i64>(0))?;
    u64::try_from(sum.unwrap_or_default()).map_err(Error::internal)
}

/// How many uploads are under way or dead.
///
/// # Errors
/// When the file cannot be read.
pub fn staged(read: &Read<'_>) -> Result<i64> {
    Ok(read.one("SELECT count(*) FROM blob WHERE ready = 0", [], |row| row.get(0))?.unwrap_or_default())
}

/// A blob's bytes, read piece by piece without a copy in between.
pub struct BlobReader<'a> {
    read: &'a Read<'a>,
    pieces: std::vec::IntoIter<i64>,
    current: Option<Blob<'a>>,
    length: u64,
}

impl std::fmt::Debug for BlobReader<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "BlobReader({} bytes)", self.length)
    }
}

impl<'a> BlobReader<'a> {
    /// Reads `blob` from its start.
    ///
    /// # Errors
    /// `NotFound` when it was removed meanwhile; when the file cannot be read or a piece is missing.
    pub fn open(read: &'a Read<'a>, blob: BlobId) -> Result<Self> {
        let length: Option<i64> = read.one("SELECT bytes FROM blob WHERE id = ?1", params![blob.0], |row| row.get(0))?;
        let length = length.ok_or_else(|| Error::not_found("the version was deleted a moment ago"))?;
        let length = u64::try_from(length).map_err(Error::internal)?;
        let pieces: Vec<i64> = read.all("SELECT rowid FROM chunk WHERE blob = ?1 ORDER BY seq", params![blob.0], |row| row.get(0))?;
        if pieces.len() as u64 != length.div_ceil(CHUNK as u64) {
            return Err(Error::new(Kind::Internal, "stored bytes are missing; run `rookery verify` on the database"));
        }
        Ok(Self { read, pieces: pieces.into_iter(), current: None, length })
    }

    /// Bytes in all.
    pub fn length(&self) -> u64 {
        self.length
    }
}

impl io::Read for BlobReader<'_> {
    fn read(&mut self, place: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(current) = &mut self.current {
                let read = io::Read::read(current, place)?;
                if read > 0 || place.is_empty() {
                    return Ok(read);
                }
            }
            let Some(piece) = self.pieces.next() else { return Ok(0) };
            match &mut self.current {
                Some(current) => current.reopen(piece).map_err(io::Error::other)?,
                None => {
                    let blob = self.read.connection.blob_open(MAIN_DB, "chunk", "data", piece, true);
                    self.current = Some(blob.map_err(failed).map_err(io::Error::other)?);
                }
            }
        }
    }
}
