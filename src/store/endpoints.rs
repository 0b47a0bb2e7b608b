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
    /// The unique id of the principal by whose rights it reads models; `None` for one made before these were kept.
    pub maker: Option<String>,
}

/// Every endpoint.
///
/// # Errors
/// When the file cannot be read.
pub fn all(read: &Read<'_>) -> Result<Vec<Kept>> {
    read.all("SELECT name, config, created_at, maker FROM endpoint ORDER BY name", [], |row| {
        Ok(Kept { name: row.get(0)?, config: row.get(1)?, created_at: row.get(2)?, maker: row.get(3)? })
    })
}

/// Makes an endpoint.
///
/// # Errors
/// [`Kind::Conflict`](crate::error::Kind::Conflict) when the name is taken.
pub fn create(tx: &Tx<'_>, name: &EndpointName, config: &str, maker: &str) -> Result<()> {
    let made = tx.run(
        "INSERT OR IGNORE INTO endpoint (name, config, created_at, maker) VALUES (?1, ?2, ?3, ?4)",
        params![name.as_str(), config, tx.now, maker],
    )?;
    if made == 0 {
        return Err(Error::conflict(format!("there is an endpoint `{name}` already; delete it first or take another name")));
    }
    tx.bump(Epoch::Access)
}

/// Gives an endpoint of just this configuration another maker. Returns whether there was one to give.
///
/// # Errors
/// When the file cannot be written.
pub fn take_over(tx: &Tx<'_>, name: &EndpointName, config: &str, maker: &str) -> Result<bool> {
    let sql = "UPDATE endpoint SET maker = ?3 WHERE name = ?1 AND config = ?2 AND maker IS NOT ?3";
    let taken = tx.run(sql, params![name.as_str(), config, maker])? == 1;
    if taken {
        tx.bump(Epoch::Access)?;
    }
    Ok(taken)
}

/// The name of an endpoint that `maker` made, if there is one.
///
/// # Errors
/// When the file cannot be read.
pub fn made_by(read: &Read<'_>, maker: &str) -> Result<Option<String>> {
    read.one("SELECT name FROM endpoint WHERE maker = ?1 ORDER BY name LIMIT 1", params![maker], |row| row.get(0))
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
