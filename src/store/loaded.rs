//! What is to be in memory: pinned models, and what was hot before the last stop.
//!
//! Next: `service/memory.rs`.

use rusqlite::params;

use super::{Epoch, Read, Tx};
use crate::error::{Error, Result};
use crate::names::{ModelPath, Version};

/// The pinned paths with the versions they point at.
///
/// # Errors
/// When the file cannot be read.
pub fn pins(read: &Read<'_>) -> Result<Vec<(String, Version)>> {
    let sql = "SELECT p.path, m.sha256 FROM pin p JOIN model m ON m.path = p.path ORDER BY p.path";
    read.all(sql, [], |row| Ok((row.get(0)?, Version(row.get(1)?))))
}

/// Pins a path (again, if it is).
///
/// # Errors
/// `NotFound`.
pub fn pin(tx: &Tx<'_>, path: &ModelPath) -> Result<()> {
    let sql =
        "INSERT INTO pin (path, created_at) SELECT path, ?2 FROM model WHERE path = ?1 ON CONFLICT DO UPDATE SET created_at = created_at";
    if tx.run(sql, params![path.as_str(), tx.now])? == 0 {
        return Err(Error::not_found(format!("there is no model `{path}`")));
    }
    tx.bump(Epoch::Models)
}

/// Unpins a path.
///
/// # Errors
/// `NotFound`.
pub fn unpin(tx: &Tx<'_>, path: &ModelPath) -> Result<()> {
    if tx.run("DELETE FROM pin WHERE path = ?1", params![path.as_str()])? == 0 {
        return Err(Error::not_found(format!("model `{path}` is not pinned")));
    }
    tx.bump(Epoch::Models)
}

/// What was hot, hottest first.
///
/// # Errors
/// When the file cannot be read.
pub fn hot(read: &Read<'_>) -> Result<Vec<Version>> {
    read.all("SELECT sha256 FROM hot ORDER BY place", [], |row| row.get(0).map(Version))
}

/// Remembers what is hot now.
///
/// # Errors
/// When the file cannot be written.
pub fn set_hot(tx: &Tx<'_>, versions: &[Version]) -> Result<()> {
    tx.run("DELETE FROM hot", [])?;
    for version in versions {
        // A version deleted since it was loaded is left out.
        tx.run("INSERT INTO hot (sha256) SELECT sha256 FROM version WHERE sha256 = ?1", params![version.0])?;
    }
    Ok(())
}
