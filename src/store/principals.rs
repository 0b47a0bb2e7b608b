//! Users, groups and roles: one row each in `principal`, with their policies, members and tags.
//!
//! Reads hand out everything at once for the directory in memory; writes are one verb each. Next: `policies.rs`,
//! `authn/directory.rs` which compiles what is read here.

use rusqlite::params;

use super::{Epoch, Read, Tx};
use crate::error::{Error, Result};
use crate::names::{Name, Noun};

/// A principal as it is kept.
#[derive(Debug, Clone)]
pub struct Principal {
    /// Row.
    pub id: i64,
    /// User, group or role.
    pub noun: Noun,
    /// Its name.
    pub name: String,
    /// `aws:userid`.
    pub unique_id: String,
    /// A JSON object of text.
    pub tags: String,
    /// The managed policy that bounds it.
    pub boundary: Option<String>,
    /// Roles: the trust policy.
    pub trust: Option<String>,
    /// Users: the PHC string of the password, if there is one.
    pub password_hash: Option<String>,
    /// Users: may not sign in.
    pub disabled: bool,
    /// Users: tokens of earlier generations have ended.
    pub generation: i64,
    /// When it was made.
    pub created_at: i64,
}

/// A new principal.
#[derive(Debug, Clone, Copy)]
pub struct NewPrincipal<'a> {
    /// User, group or role.
    pub noun: Noun,
    /// Its name.
    pub name: &'a Name,
    /// `aws:userid`.
    pub unique_id: &'a str,
    /// A JSON object of text.
    pub tags: &'a str,
    /// The managed policy that bounds it.
    pub boundary: Option<&'a Name>,
    /// Roles: the trust policy.
    pub trust: Option<&'a str>,
    /// Users: PHC string.
    pub password_hash: Option<&'a str>,
}

/// Every principal.
///
/// # Errors
/// When the file cannot be read.
pub fn all(read: &Read<'_>) -> Result<Vec<Principal>> {
    read.all(
        "SELECT p.id, p.kind, p.name, p.unique_id, p.tags, b.name, p.trust, u.password_hash,
                coalesce(u.disabled, 0), coalesce(u.generation, 0), p.created_at
         FROM principal p LEFT JOIN user u ON u.id = p.id LEFT JOIN policy b ON b.id = p.boundary ORDER BY p.kind, p.name",
        [],
        |row| {
            let kind: String = row.get(1)?;
            Ok(Principal {
                id: row.get(0)?,
                noun: match kind.as_str() {
                    "user" => Noun::User,
                    "group" => Noun::Group,
                    _ => Noun::Role,
                },
                name: row.get(2)?,
                unique_id: row.get(3)?,
                tags: row.get(4)?,
                boundary: row.get(5)?,
                trust: row.get(6)?,
                password_hash: row.get(7)?,
                disabled: row.get(8)?,
                generation: row.get(9)?,
                created_at: row.get(10)?,
            })
        },
    )
}

/// Every membership as (group, user) rows.
///
/// # Errors
/// When the file cannot be read.
pub fn memberships(read: &Read<'_>) -> Result<Vec<(i64, i64)>> {
    read.all("SELECT group_id, user_id FROM group_member", [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Every managed policy attached: (principal row, policy name).
///
/// # Errors
/// When the file cannot be read.
pub fn attachments(read: &Read<'_>) -> Result<Vec<(i64, String)>> {
    let sql = "SELECT a.principal, p.name FROM attachment a JOIN policy p ON p.id = a.policy ORDER BY p.name";
    read.all(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))
}

/// Every inline policy: (principal row, name, document).
///
/// # Errors
/// When the file cannot be read.
pub fn inline_policies(read: &Read<'_>) -> Result<Vec<(i64, String, String)>> {
    let sql = "SELECT principal, name, document FROM inline_policy ORDER BY principal, name";
    read.all(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
}

fn find(read: &Read<'_>, noun: Noun, name: &Name) -> Result<i64> {
    let found =
        read.one("SELECT id FROM principal WHERE kind = ?1 AND name = ?2", params![noun.word(), name.as_str()], |row| row.get(0))?;
    found.ok_or_else(|| Error::not_found(format!("there is no {} `{name}`", noun.word())))
}

fn policy_id(read: &Read<'_>, name: &Name) -> Result<i64> {
    let found = read.one("SELECT id FROM policy WHERE name = ?1", params![name.as_str()], |row| row.get(0))?;
    found.ok_or_else(|| Error::not_found(format!("there is no policy `{name}`")))
}

/// Makes a principal.
///
/// # Errors
/// [`Kind::Conflict`](crate::error::Kind::Conflict) when the name is taken, `NotFound` for an unknown boundary.
pub fn create(tx: &Tx<'_>, new: &NewPrincipal<'_>) -> Result<()> {
    if find(tx, new.noun, new.name).is_ok() {
        return Err(Error::conflict(format!("there is a {} `{}` already; names do not differ by case alone", new.noun.word(), new.name)));
    }
    let boundary = new.boundary.map(|name| policy_id(tx, name)).transpose()?;
    tx.run(
        "INSERT INTO principal (kind, name, unique_id, tags, boundary, trust, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![new.noun.word(), new.name.as_str(), new.unique_id, new.tags, boundary, new.trust, tx.now],
    )?;
    if new.noun == Noun::User {
        tx.run("INSERT INTO user (id, password_hash) VALUES (?1, ?2)", params![tx.last_id(), new.password_hash])?;
    }
    tx.bump(Epoch::Access)
}

/// Removes a principal with everything that is its own.
///
/// # Errors
/// `NotFound`.
pub fn delete(tx: &Tx<'_>, noun: Noun, name: &Name) -> Result<()> {
    let id = find(tx, noun, name)?;
    tx.run("DELETE FROM principal WHERE id = ?1", params![id])?;
    tx.bump(Epoch::Access)
}

/// Sets a password (or none), ending every token and session of the user.
///
/// # Errors
/// `NotFound`.
pub fn set_password(tx: &Tx<'_>, name: &Name, hash: Option<&str>) -> Result<()> {
    let id = find(tx, Noun::User, name)?;
    tx.run("UPDATE user SET password_hash = ?2, generation = generation + 1 WHERE id = ?1", params![id, hash])?;
    tx.run("DELETE FROM session WHERE user_id = ?1", params![id])?;
    tx.bump(Epoch::Access)
}

/// Disables or enables a user; either ends every token and session made before.
///
/// # Errors
/// `NotFound`.
pub fn set_disabled(tx: &Tx<'_>, name: &Name, disabled: bool) -> Result<()> {
    let id = find(tx, Noun::User, name)?;
    tx.run("UPDATE user SET disabled = ?2, generation = generation + 1 WHERE id = ?1", params![id, disabled])?;
    tx.run("DELETE FROM session WHERE user_id = ?1", params![id])?;
    tx.bump(Epoch::Access)
}

/// Sets or removes a boundary.
///
/// # Errors
/// `NotFound` for either.
pub fn set_boundary(tx: &Tx<'_>, noun: Noun, name: &Name, boundary: Option<&Name>) -> Result<()> {
    let id = find(tx, noun, name)?;
    let boundary = boundary.map(|name| policy_id(tx, name)).transpose()?;
    tx.run("UPDATE principal SET boundary = ?2 WHERE id = ?1", params![id, boundary])?;
    tx.bump(Epoch::Access)
}

/// Replaces a principal's tags.
///
/// # Errors
/// `NotFound`.
pub fn set_tags(tx: &Tx<'_>, noun: Noun, name: &Name, tags: &str) -> Result<()> {
    let id = find(tx, noun, name)?;
    tx.run("UPDATE principal SET tags = ?2 WHERE id = ?1", params![id, tags])?;
    tx.bump(Epoch::Access)
}

/// Sets who may assume a role.
///
/// # Errors
/// `NotFound`.
pub fn set_trust(tx: &Tx<'_>, name: &Name, trust: &str) -> Result<()> {
    let id = find(tx, Noun::Role, name)?;
    tx.run("UPDATE principal SET trust = ?2 WHERE id = ?1", params![id, trust])?;
    tx.bump(Epoch::Access)
}

/// Puts a user into a group (again, if it is there).
///
/// # Errors
/// `NotFound` for either.
pub fn add_member(tx: &Tx<'_>, group: &Name, user: &Name) -> Result<()> {
    let (group, user) = (find(tx, Noun::Group, group)?, find(tx, Noun::User, user)?);
    tx.run("INSERT OR IGNORE INTO group_member (group_id, user_id) VALUES (?1, ?2)", params![group, user])?;
    tx.bump(Epoch::Access)
}

/// Takes a user out of a group.
///
/// # Errors
/// `NotFound` for either, and when the user is not in it.
pub fn remove_member(tx: &Tx<'_>, group: &Name, user: &Name) -> Result<()> {
    let ids = (find(tx, Noun::Group, group)?, find(tx, Noun::User, user)?);
    if tx.run("DELETE FROM group_member WHERE group_id = ?1 AND user_id = ?2", params![ids.0, ids.1])? == 0 {
        return Err(Error::not_found(format!("user `{user}` is not in group `{group}`")));
    }
    tx.bump(Epoch::Access)
}

/// Attaches a managed policy (again, if it is).
///
/// # Errors
/// `NotFound` for either.
pub fn attach(tx: &Tx<'_>, noun: Noun, name: &Name, policy: &Name) -> Result<()> {
    let ids = (find(tx, noun, name)?, policy_id(tx, policy)?);
    tx.run("INSERT OR IGNORE INTO attachment (principal, policy) VALUES (?1, ?2)", params![ids.0, ids.1])?;
    tx.bump(Epoch::Access)
}

/// Detaches a managed policy.
///
/// # Errors
/// `NotFound` for either, and when it is not attached.
pub fn detach(tx: &Tx<'_>, noun: Noun, name: &Name, policy: &Name) -> Result<()> {
    let ids = (find(tx, noun, name)?, policy_id(tx, policy)?);
    if tx.run("DELETE FROM attachment WHERE principal = ?1 AND policy = ?2", params![ids.0, ids.1])? == 0 {
        return Err(Error::not_found(format!("policy `{policy}` is not attached to {} `{name}`", noun.word())));
    }
    tx.bump(Epoch::Access)
}

/// Sets an inline policy.
///
/// # Errors
/// `NotFound`.
pub fn put_inline(tx: &Tx<'_>, noun: Noun, name: &Name, policy: &Name, document: &str) -> Result<()> {
    let id = find(tx, noun, name)?;
    tx.run(
        "INSERT INTO inline_policy (principal, name, document) VALUES (?1, ?2, ?3)
         ON CONFLICT DO UPDATE SET document = excluded.document",
        params![id, policy.as_str(), document],
    )?;
    tx.bump(Epoch::Access)
}

/// Removes an inline policy.
///
/// # Errors
/// `NotFound`.
pub fn delete_inline(tx: &Tx<'_>, noun: Noun, name: &Name, policy: &Name) -> Result<()> {
    let id = find(tx, noun, name)?;
    if tx.run("DELETE FROM inline_policy WHERE principal = ?1 AND name = ?2", params![id, policy.as_str()])? == 0 {
        return Err(Error::not_found(format!("{} `{name}` has no policy `{policy}`", noun.word())));
    }
    tx.bump(Epoch::Access)
}
