//! Model paths, their versions and history.
//!
//! A path is a pointer to a version; publishing is one small transaction that moves it. Versions nobody points at go
//! with the write that let them go. Next: `blobs.rs` below it, `service/models.rs` above.

use std::collections::HashMap;

use rusqlite::{Row, params};

use super::blobs::{self, BlobId};
use super::{Epoch, Read, Tx};
use crate::error::{Error, Kind, Result};
use crate::names::{ModelPath, Version};

/// What is needed to load what a path points at.
#[derive(Debug, Clone)]
pub struct Pointer {
    /// The content.
    pub version: Version,
    /// The model format.
    pub format: String,
    /// Bytes when loaded.
    pub weight: usize,
    /// The prepared form.
    pub prepared: BlobId,
    /// The format number it was written with.
    pub prepared_format: u32,
    /// The artifact it was made from.
    pub artifact: BlobId,
}

/// A model as it is listed.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its path.
    pub path: String,
    /// The current version.
    pub version: Version,
    /// The artifact's bytes.
    pub bytes: u64,
    /// [`Summary`](crate::runtime::Summary) as JSON.
    pub summary: String,
    /// When the path first was published.
    pub created_at: i64,
    /// When it last was.
    pub updated_at: i64,
}

/// One entry of a path's history.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Counts up per path.
    pub seq: i64,
    /// What was published.
    pub version: Version,
    /// When.
    pub published_at: i64,
    /// By whom.
    pub published_by: String,
    /// Whether the path points at it now.
    pub current: bool,
}

/// A version to be made, its blobs staged.
#[derive(Debug, Clone, Copy)]
pub struct NewVersion<'a> {
    /// Its name: the artifact's SHA-256.
    pub version: Version,
    /// Staged artifact.
    pub artifact: BlobId,
    /// Staged prepared form.
    pub prepared: BlobId,
    /// The format number of the prepared form.
    pub prepared_format: u32,
    /// The model format.
    pub format: &'a str,
    /// [`Summary`](crate::runtime::Summary) as JSON.
    pub summary: &'a str,
    /// Bytes when loaded.
    pub weight: usize,
}

/// What must hold of the current version for a write to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// `If-None-Match: *`: the path must be new.
    Absent,
    /// `If-Match: *`: the path must exist.
    Present,
    /// `If-Match: "…"`: it must be this one.
    Is(Version),
}

fn version(row: &Row<'_>, column: usize) -> rusqlite::Result<Version> {
    row.get(column).map(Version)
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|value| u64::try_from(value).unwrap_or_default())
}

fn pointer_row(row: &Row<'_>) -> rusqlite::Result<Pointer> {
    Ok(Pointer {
        version: version(row, 0)?,
        format: row.get(1)?,
        weight: usize::try_from(unsigned(row, 2)?).unwrap_or(usize::MAX),
        prepared: BlobId(row.get(3)?),
        prepared_format: row.get(4)?,
        artifact: BlobId(row.get(5)?),
    })
}

/// What `path` points at.
///
/// # Errors
/// When the file cannot be read.
pub fn pointer(read: &Read<'_>, path: &ModelPath) -> Result<Option<Pointer>> {
    read.one(
        "SELECT v.sha256, v.format, v.weight, v.prepared, v.prepared_format, v.artifact
         FROM model m JOIN version v ON v.sha256 = m.sha256 WHERE m.path = ?1",
        params![path.as_str()],
        pointer_row,
    )
}

/// A version by its content, if it is kept.
///
/// # Errors
/// When the file cannot be read.
pub fn version_pointer(read: &Read<'_>, wanted: Version) -> Result<Option<Pointer>> {
    read.one(
        "SELECT sha256, format, weight, prepared, prepared_format, artifact FROM version WHERE sha256 = ?1",
        params![wanted.0],
        pointer_row,
    )
}

/// The paths that point at each of `versions` now, at most ten of each.
///
/// # Errors
/// When the file cannot be read.
pub fn paths_of(read: &Read<'_>, versions: &[Version]) -> Result<HashMap<Version, Vec<String>>> {
    let list = serde_json::to_string(&versions.iter().map(ToString::to_string).collect::<Vec<_>>()).map_err(Error::internal)?;
    let rows = read.all(
        "SELECT m.sha256, m.path FROM json_each(?1) wanted JOIN model m
           ON m.path IN (SELECT path FROM model WHERE sha256 = unhex(wanted.value) ORDER BY path LIMIT 10) ORDER BY m.path",
        params![list],
        |row| Ok((version(row, 0)?, row.get(1)?)),
    )?;
    let mut paths: HashMap<Version, Vec<String>> = HashMap::new();
    for (version, path) in rows {
        paths.entry(version).or_default().push(path);
    }
    Ok(paths)
}

const LISTED: &str = "SELECT m.path, m.sha256, b.bytes, v.summary, m.created_at, m.updated_at
     FROM model m JOIN version v ON v.sha256 = m.sha256 JOIN blob b ON b.id = v.artifact";

fn listed_row(row: &Row<'_>) -> rusqlite::Result<Listed> {
    Ok(Listed {
        path: row.get(0)?,
        version: version(row, 1)?,
        bytes: unsigned(row, 2)?,
        summary: row.get(3)?,
        created_at: row.get(4)?,
        updated_at: row.get(5)?,
    })
}

/// One model.
///
/// # Errors
/// When the file cannot be read.
pub fn show(read: &Read<'_>, path: &ModelPath) -> Result<Option<Listed>> {
    read.one(&format!("{LISTED} WHERE m.path = ?1"), params![path.as_str()], listed_row)
}

/// Up to `count` models under `prefix`, in path order, after the path `after`.
///
/// # Errors
/// When the file cannot be read.
pub fn list(read: &Read<'_>, prefix: &str, after: &str, count: usize) -> Result<Vec<Listed>> {
    // `~` is the last printable character, so every path under the prefix sorts before prefix + 0x7f.
    let end = format!("{prefix}\u{7f}");
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let sql = format!("{LISTED} WHERE m.path > ?1 AND m.path >= ?2 AND m.path < ?3 ORDER BY m.path LIMIT ?4");
    read.all(&sql, params![after, prefix, end, count], listed_row)
}

/// Up to `count` paths under `prefix`, in order, after the path `after`.
///
/// # Errors
/// When the file cannot be read.
pub fn paths(read: &Read<'_>, prefix: &str, after: &str, count: u32) -> Result<Vec<String>> {
    let end = format!("{prefix}\u{7f}");
    read.all(
        "SELECT path FROM model WHERE path > ?1 AND path >= ?2 AND path < ?3 ORDER BY path LIMIT ?4",
        params![after, prefix, end, count],
        |row| row.get(0),
    )
}

/// How many models there are.
///
/// # Errors
/// When the file cannot be read.
pub fn count(read: &Read<'_>) -> Result<i64> {
    Ok(read.one("SELECT count(*) FROM model", [], |row| row.get(0))?.unwrap_or_default())
}

/// What `path` has pointed at, latest first.
///
/// # Errors
/// When the file cannot be read.
pub fn history(read: &Read<'_>, path: &ModelPath) -> Result<Vec<Entry>> {
    read.all(
        "SELECT h.seq, h.sha256, h.published_at, h.published_by, h.seq = m.seq
         FROM model_history h JOIN model m ON m.path = h.path WHERE h.path = ?1 ORDER BY h.seq DESC",
        params![path.as_str()],
        |row| {
            Ok(Entry {
                seq: row.get(0)?,
                version: version(row, 1)?,
                published_at: row.get(2)?,
                published_by: row.get(3)?,
                current: row.get(4)?,
            })
        },
    )
}

fn check(read: &Read<'_>, path: &ModelPath, precondition: Precondition) -> Result<Option<Version>> {
    let current = read.one("SELECT sha256 FROM model WHERE path = ?1", params![path.as_str()], |row| version(row, 0))?;
    let refuse = |message: String| Err(Error::new(Kind::Precondition, message));
    match (precondition, current) {
        (Precondition::Absent, Some(_)) => refuse(format!("`{path}` exists already")),
        (Precondition::Present | Precondition::Is(_), None) => refuse(format!("`{path}` does not exist")),
        (Precondition::Is(wanted), Some(is)) if wanted != is => refuse(format!("`{path}` is not at version {wanted} any more")),
        (_, current) => Ok(current),
    }
}

/// Makes the version unless its content is kept already; then its staged blobs are dropped.
///
/// # Errors
/// When the file cannot be written.
pub fn create_version(tx: &Tx<'_>, new: &NewVersion<'_>) -> Result<()> {
    if version_pointer(tx, new.version)?.is_some() {
        blobs::discard(tx, new.artifact)?;
        return blobs::discard(tx, new.prepared);
    }
    blobs::ready(tx, new.artifact)?;
    blobs::ready(tx, new.prepared)?;
    let weight = i64::try_from(new.weight).map_err(Error::internal)?;
    tx.run(
        "INSERT INTO version (sha256, artifact, prepared, prepared_format, format, summary, weight, created_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![new.version.0, new.artifact.0, new.prepared.0, new.prepared_format, new.format, new.summary, weight, tx.now],
    )
    .map(drop)
}

/// Points `path` at `version`, which exists, and keeps the latest `keep` entries of its history. Returns whether the
/// path is new.
///
/// # Errors
/// [`Kind::Precondition`] when the current version is not as asked.
pub fn publish(tx: &Tx<'_>, path: &ModelPath, version: Version, by: &str, precondition: Precondition, keep: usize) -> Result<bool> {
    let current = check(tx, path, precondition)?;
    if current == Some(version) {
        // The same bytes again are no new version, and cost none to go back to.
        return Ok(false);
    }
    tx.run(
        "INSERT INTO model (path, sha256, seq, created_at, updated_at) VALUES (?1, ?2, 1, ?3, ?3)
         ON CONFLICT (path) DO UPDATE SET sha256 = excluded.sha256, updated_at = excluded.updated_at,
           seq = (SELECT max(seq) + 1 FROM model_history WHERE path = ?1)",
        params![path.as_str(), version.0, tx.now],
    )?;
    tx.run(
        "INSERT INTO model_history (path, seq, sha256, published_at, published_by)
         SELECT path, seq, sha256, ?2, ?3 FROM model WHERE path = ?1",
        params![path.as_str(), tx.now, by],
    )?;
    let keep = i64::try_from(keep).map_err(Error::internal)?;
    let pruned = tx.all(
        "DELETE FROM model_history WHERE path = ?1
           AND seq <= (SELECT seq FROM model WHERE path = ?1) - ?2 RETURNING sha256",
        params![path.as_str(), keep],
        |row| super::models::version(row, 0),
    )?;
    release(tx, &pruned)?;
    tx.bump(Epoch::Models)?;
    Ok(current.is_none())
}

/// Removes `path` and the versions only it had.
///
/// # Errors
/// [`Kind::NotFound`] and [`Kind::Precondition`].
pub fn delete(tx: &Tx<'_>, path: &ModelPath, precondition: Precondition) -> Result<()> {
    if check(tx, path, precondition)?.is_none() {
        return Err(Error::not_found(format!("there is no model `{path}`")));
    }
    let mut had = tx.all("SELECT DISTINCT sha256 FROM model_history WHERE path = ?1", params![path.as_str()], |row| version(row, 0))?;
    had.sort_unstable();
    tx.run("DELETE FROM model WHERE path = ?1", params![path.as_str()])?;
    release(tx, &had)?;
    tx.bump(Epoch::Models)
}

/// Removes those of `versions` that no path points at any more, with their bytes.
fn release(tx: &Tx<'_>, versions: &[Version]) -> Result<()> {
    for version in versions {
        let gone = tx.one(
            "DELETE FROM version WHERE sha256 = ?1
               AND NOT EXISTS (SELECT 1 FROM model WHERE sha256 = ?1)
               AND NOT EXISTS (SELECT 1 FROM model_history WHERE sha256 = ?1) RETURNING artifact, prepared",
            params![version.0],
            |row| Ok([BlobId(row.get(0)?), BlobId(row.get(1)?)]),
        )?;
        for blob in gone.into_iter().flatten() {
            blobs::remove(tx, blob)?;
        }
    }
    Ok(())
}

/// Replaces a version's prepared form by one of the current layout, which may be of another format: what one runtime
/// answered another may now.
///
/// # Errors
/// [`Kind::NotFound`] when the version is gone meanwhile.
pub fn replace_prepared(tx: &Tx<'_>, new: &NewVersion<'_>) -> Result<()> {
    let gone = || Error::not_found("the version was deleted meanwhile");
    let old = version_pointer(tx, new.version)?.ok_or_else(gone)?.prepared;
    blobs::ready(tx, new.prepared)?;
    let weight = i64::try_from(new.weight).map_err(Error::internal)?;
    tx.run(
        "UPDATE version SET prepared = ?2, prepared_format = ?3, format = ?4, summary = ?5, weight = ?6 WHERE sha256 = ?1",
        params![new.version.0, new.prepared.0, new.prepared_format, new.format, new.summary, weight],
    )?;
    blobs::remove(tx, old)?;
    tx.bump(Epoch::Models)
}
