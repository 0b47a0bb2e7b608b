//! Endpoints: a name and its configuration as JSON.
//!
//! What the configuration says is `service/endpoints.rs`'s business.

use rusqlite::params;

use super::{Epoch, Read, Tx};
use crate::error::{Error, Result};
use crate::names::EndpointName;

/// An endpoint as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// As created; names do not differ by case alone.
    pub name: String,
    /// JSON.
    pub config: String,
    /// When it was made.
    pub created_at: i64,
}

/// Every endpoint.
///
/// # Errors
/// When the file cannot be read.
pub fn all(read: &Read<'_>) -> Result<Vec<Kept>> {
    read.all("SELECT name, config, created_at FROM endpoint ORDER BY name", [], |row| {
        Ok(Kept { name: row.get(0)?, config: row.get(1)?, created_at: row.get(2)? })
    })
}

/// Makes an endpoint.
///
/// # Errors
/// [`Kind::Conflict`](crate::error::Kind::Conflict) when the name is taken.
pub fn create(tx: &Tx<'_>, name: &EndpointName, config: &str) -> Result<()> {
    let made =
        tx.run("INSERT OR IGNORE INTO endpoint (name, config, created_at) VALUES (?1, ?2, ?3)", params![name.as_str(), config, tx.now])?;
    if made == 0 {
        return Err(Error::conflict(format!("there is an endpoint `{name}` already; delete it first or take another name")));
    }
    tx.bump(Epoch::Access)
}

/// Removes an endpoint.
///
/// # Errors
/// `NotFound`.
pub fn delete(tx: &Tx<'_>, name: &EndpointName) -> Result<()> {
    if tx.run("DELETE FROM endpoint WHERE name = ?1", params![name.as_str()])? == 0 {
        return Err(Error::not_found(format!("there is no endpoint `{name}`")));
    }
    tx.bump(Epoch::Access)
}
