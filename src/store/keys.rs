//! API keys and AWS access keys: their records, never their secrets.
//!
//! Next: `authn/token.rs`, which makes and recognises them.

use rusqlite::params;

use super::{Epoch, Read, Tx};
use crate::error::{Error, Result};
use crate::names::{Name, shown};

/// What a key is used with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// `Authorization: Bearer rk_…`
    Api,
    /// An AWS signature; the secret is derived from the master key.
    Aws,
}

impl KeyKind {
    /// The word in the store and in the API.
    pub fn word(self) -> &'static str {
        match self {
            Self::Api => "api",
            Self::Aws => "aws",
        }
    }
}

/// A key as it is kept.
#[derive(Debug, Clone)]
pub struct Key {
    /// Its public part.
    pub id: String,
    /// The row of its user.
    pub user: i64,
    /// What it is used with.
    pub kind: KeyKind,
    /// API keys: the SHA-256 of the secret part.
    pub secret_hash: Option<[u8; 32]>,
    /// A policy that narrows it.
    pub document: Option<String>,
    /// Not to be used.
    pub disabled: bool,
    /// From then on it is not to be used.
    pub expires_at: Option<i64>,
    /// When it was made.
    pub created_at: i64,
}

/// Every key.
///
/// # Errors
/// When the file cannot be read.
pub fn all(read: &Read<'_>) -> Result<Vec<Key>> {
    read.all(
        "SELECT id, user_id, kind, secret_hash, document, disabled, expires_at, created_at FROM key ORDER BY user_id, created_at, id",
        [],
        |row| {
            let kind: String = row.get(2)?;
            Ok(Key {
                id: row.get(0)?,
                user: row.get(1)?,
                kind: if kind == "api" { KeyKind::Api } else { KeyKind::Aws },
                secret_hash: row.get(3)?,
                document: row.get(4)?,
                disabled: row.get(5)?,
                expires_at: row.get(6)?,
                created_at: row.get(7)?,
            })
        },
    )
}

/// Makes a key of user `user`.
///
/// # Errors
/// `NotFound`.
pub fn create(
    tx: &Tx<'_>,
    user: &Name,
    kind: KeyKind,
    id: &str,
    secret_hash: Option<[u8; 32]>,
    document: Option<&str>,
    expires_at: Option<i64>,
) -> Result<()> {
    let made = tx.run(
        "INSERT INTO key (id, user_id, kind, secret_hash, document, expires_at, created_at)
         SELECT ?1, id, ?3, ?4, ?5, ?6, ?7 FROM principal WHERE kind = 'user' AND name = ?2",
        params![id, user.as_str(), kind.word(), secret_hash, document, expires_at, tx.now],
    )?;
    if made == 0 {
        return Err(Error::not_found(format!("there is no user `{user}`")));
    }
    tx.bump(Epoch::Access)
}

/// How many keys a user has.
///
/// # Errors
/// When the file cannot be read.
pub fn count(read: &Read<'_>, user: &Name) -> Result<usize> {
    let query =
        "SELECT count(*) FROM key JOIN principal ON principal.id = key.user_id WHERE principal.kind = 'user' AND principal.name = ?1";
    Ok(read
        .one(query, params![user.as_str()], |row| row.get::<_, i64>(0))?
        .and_then(|count| usize::try_from(count).ok())
        .unwrap_or_default())
}

/// Disables or enables a key.
///
/// # Errors
/// `NotFound`.
pub fn set_disabled(tx: &Tx<'_>, id: &str, disabled: bool) -> Result<()> {
    changed(tx.run("UPDATE key SET disabled = ?2 WHERE id = ?1", params![id, disabled])?, id)?;
    tx.bump(Epoch::Access)
}

/// Removes a key.
///
/// # Errors
/// `NotFound`.
pub fn delete(tx: &Tx<'_>, id: &str) -> Result<()> {
    changed(tx.run("DELETE FROM key WHERE id = ?1", params![id])?, id)?;
    tx.bump(Epoch::Access)
}

fn changed(rows: usize, id: &str) -> Result<()> {
    if rows == 0 { Err(Error::not_found(format!("there is no key `{}`", shown(id)))) } else { Ok(()) }
}
