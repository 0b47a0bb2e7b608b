//! Managed policies: named documents that several principals share.
//!
//! The documents were parsed by the caller; here they are text. Next: `principals.rs`, which attaches them.

use rusqlite::params;

use super::{Epoch, Read, Tx};
use crate::error::{Error, Result};
use crate::names::Name;

/// A managed policy as it is kept.
#[derive(Debug, Clone)]
pub struct Managed {
    /// Its name.
    pub name: String,
    /// Its document.
    pub document: String,
    /// Counts the documents it has had.
    pub version: i64,
    /// When it last changed.
    pub updated_at: i64,
}

/// Every managed policy.
///
/// # Errors
/// When the file cannot be read.
pub fn all(read: &Read<'_>) -> Result<Vec<Managed>> {
    read.all("SELECT name, document, version, updated_at FROM policy ORDER BY name", [], |row| {
        Ok(Managed { name: row.get(0)?, document: row.get(1)?, version: row.get(2)?, updated_at: row.get(3)? })
    })
}

/// Makes a managed policy or gives it a new document. Returns whether it is new.
///
/// # Errors
/// When the file cannot be written.
pub fn put(tx: &Tx<'_>, name: &Name, document: &str) -> Result<bool> {
    let changed = tx.run(
        "UPDATE policy SET document = ?2, version = version + 1, updated_at = ?3 WHERE name = ?1",
        params![name.as_str(), document, tx.now],
    )?;
    if changed == 0 {
        tx.run(
            "INSERT INTO policy (name, document, created_at, updated_at) VALUES (?1, ?2, ?3, ?3)",
            params![name.as_str(), document, tx.now],
        )?;
    }
    tx.bump(Epoch::Access)?;
    Ok(changed == 0)
}

/// Removes a managed policy nobody has.
///
/// # Errors
/// `NotFound`, and [`Kind::Conflict`](crate::error::Kind::Conflict) while someone has it.
pub fn delete(tx: &Tx<'_>, name: &Name) -> Result<()> {
    let holder = tx.one(
        "SELECT p.id FROM principal p JOIN policy m ON m.name = ?1
         WHERE p.boundary = m.id OR EXISTS (SELECT 1 FROM attachment a WHERE a.principal = p.id AND a.policy = m.id) LIMIT 1",
        params![name.as_str()],
        |row| row.get::<_, i64>(0),
    )?;
    if holder.is_some() {
        return Err(Error::conflict(format!("policy `{name}` is in use; detach it wherever it is attached or a boundary first")));
    }
    if tx.run("DELETE FROM policy WHERE name = ?1", params![name.as_str()])? == 0 {
        return Err(Error::not_found(format!("there is no policy `{name}`")));
    }
    tx.bump(Epoch::Access)
}
