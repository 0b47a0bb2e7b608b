//! Signed-in browsers, and tokens ended before their time.
//!
//! Cookies and tokens are never kept, only what recognises them. Next: `authn/`.

use rusqlite::params;

use super::{Epoch, Read, Tx};
use crate::error::Result;

/// A console session.
#[derive(Debug, Clone)]
pub struct Session {
    /// The row of its user.
    pub user: i64,
    /// The user's generation it was made under.
    pub generation: i64,
    /// What its forms carry.
    pub csrf: String,
    /// From then on it has ended.
    pub expires_at: i64,
}

/// The session whose cookie has this hash.
///
/// # Errors
/// When the file cannot be read.
pub fn find(read: &Read<'_>, hash: [u8; 32]) -> Result<Option<Session>> {
    read.one("SELECT user_id, generation, csrf, expires_at FROM session WHERE hash = ?1", params![hash], |row| {
        Ok(Session { user: row.get(0)?, generation: row.get(1)?, csrf: row.get(2)?, expires_at: row.get(3)? })
    })
}

/// Keeps a session, if its user is still of that generation, and forgets all that have ended. Returns whether it is kept.
///
/// # Errors
/// When the file cannot be written.
pub fn create(tx: &Tx<'_>, hash: [u8; 32], session: &Session) -> Result<bool> {
    tx.run("DELETE FROM session WHERE expires_at <= ?1", params![tx.now])?;
    let kept = tx.run(
        "INSERT INTO session (hash, user_id, generation, csrf, created_at, expires_at)
         SELECT ?1, id, generation, ?4, ?5, ?6 FROM user WHERE id = ?2 AND generation = ?3 AND disabled = 0",
        params![hash, session.user, session.generation, session.csrf, tx.now, session.expires_at],
    )?;
    Ok(kept == 1)
}

/// Ends a session.
///
/// # Errors
/// When the file cannot be written.
pub fn delete(tx: &Tx<'_>, hash: [u8; 32]) -> Result<()> {
    tx.run("DELETE FROM session WHERE hash = ?1", params![hash]).map(drop)
}

/// Ends a token that would live until `expires_at`, and forgets those that have expired anyway.
///
/// # Errors
/// When the file cannot be written.
pub fn revoke(tx: &Tx<'_>, token: &str, expires_at: i64) -> Result<()> {
    tx.run("DELETE FROM revoked_token WHERE expires_at <= ?1", params![tx.now])?;
    tx.run("INSERT OR IGNORE INTO revoked_token (id, expires_at) VALUES (?1, ?2)", params![token, expires_at])?;
    tx.bump(Epoch::Access)
}

/// The tokens ended before their time.
///
/// # Errors
/// When the file cannot be read.
pub fn revoked(read: &Read<'_>) -> Result<Vec<String>> {
    read.all("SELECT id FROM revoked_token", [], |row| row.get(0))
}
