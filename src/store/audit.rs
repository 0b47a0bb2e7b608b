//! Who changed what: one row per write, in the write's own transaction.

use rusqlite::params;

use super::{Read, Tx};
use crate::error::Result;

/// One change.
#[derive(Debug, Clone)]
pub struct Change {
    /// Counts up.
    pub id: i64,
    /// When, in seconds since 1970.
    pub at: i64,
    /// Whose, as an ARN.
    pub principal: String,
    /// The action.
    pub action: String,
    /// Done to what, as an ARN.
    pub resource: String,
}

/// Notes a change.
///
/// # Errors
/// When the file cannot be written.
pub fn record(tx: &Tx<'_>, principal: &str, action: &str, resource: &str) -> Result<()> {
    tx.run("INSERT INTO audit (at, principal, action, resource) VALUES (?1, ?2, ?3, ?4)", params![tx.now, principal, action, resource])
        .map(drop)
}

/// Up to `count` changes before entry `before`, latest first.
///
/// # Errors
/// When the file cannot be read.
pub fn list(read: &Read<'_>, before: i64, count: usize) -> Result<Vec<Change>> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    read.all(
        "SELECT id, at, principal, action, resource FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2",
        params![before, count],
        |row| Ok(Change { id: row.get(0)?, at: row.get(1)?, principal: row.get(2)?, action: row.get(3)?, resource: row.get(4)? }),
    )
}
