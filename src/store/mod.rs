//! The one SQLite file: connections, transactions and the noun modules that hold the SQL.
//!
//! Outer code owns a transaction ([`Store::write`], [`Store::read`]) and hands it to the functions of the noun modules,
//! which never begin one; [`Tx`] carries the time, so a write has one `now`. Every entry asks for a [`Permit`], except
//! `housekeeping`, whose callers a test lists. Nothing above this folder knows SQLite. A write that returned is on disk.
//! Next: `open.rs` for what is checked before a file is used, `models.rs` as the example of a noun.

pub mod audit;
mod backup;
pub mod blobs;
pub mod endpoints;
pub mod keys;
pub mod loaded;
pub mod models;
mod open;
pub mod policies;
pub mod principals;
pub mod sessions;

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::ffi::{SQLITE_IOERR_SHMSIZE, SQLITE_READONLY_DBMOVED};
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior, params};

pub use backup::{Progress, Verified, backup, restore, verify};
pub use open::SCHEMA_VERSION;

use crate::error::{Error, Kind, Result};
use crate::policy::Permit;

/// An open file.
#[derive(Debug)]
pub struct Store {
    /// Writes go through one connection, one at a time; SQLite has one writer anyway.
    writer: Mutex<Connection>,
    readers: Pool<SqliteConnectionManager>,
    path: PathBuf,
}

/// A reading connection of its own.
#[derive(Debug)]
pub struct Watch {
    connection: Connection,
}

/// A consistent view for reading.
#[derive(Debug)]
pub struct Read<'a> {
    connection: &'a Connection,
}

/// A write transaction, with the time it happens at.
#[derive(Debug)]
pub struct Tx<'a> {
    read: Read<'a>,
    /// Seconds since 1970.
    pub now: i64,
}

impl<'a> Deref for Tx<'a> {
    type Target = Read<'a>;

    fn deref(&self) -> &Read<'a> {
        &self.read
    }
}

/// What in memory a write makes old.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Epoch {
    /// Principals, policies, keys, endpoints.
    Access,
    /// Model pointers.
    Models,
}

/// The counts of both, as of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Epochs {
    /// Of [`Epoch::Access`].
    pub access: i64,
    /// Of [`Epoch::Models`].
    pub models: i64,
}

/// Seconds since 1970.
pub fn now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |elapsed| i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX))
}

impl Store {
    /// Opens the file at `path`, creating and migrating it as needed.
    ///
    /// # Errors
    /// A sentence for the operator: not a database, another program's, made by a newer Rookery (the file is then left
    /// untouched), an SQLite too old.
    pub fn open(path: &Path) -> Result<Self> {
        open::open(path)
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in a write transaction and commits it; on an error nothing of it stays. When this returns `Ok`, the
    /// write is on disk.
    ///
    /// # Errors
    /// What `work` returns; [`Kind::Unavailable`] when the file is busy or the disk full.
    pub fn write<T>(&self, _permit: &Permit, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        self.housekeeping(work)
    }

    /// As [`Store::write`], for what the server does on its own account: sweeping, remembering what is loaded. A test
    /// holds the list of callers.
    ///
    /// # Errors
    /// As [`Store::write`].
    pub fn housekeeping<T>(&self, work: impl FnOnce(&Tx<'_>) -> Result<T>) -> Result<T> {
        // A panic in another write rolled its transaction back; the connection is sound.
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let done = work(&Tx { read: Read { connection: &transaction }, now: now() })?;
        transaction.commit().map_err(failed)?;
        Ok(done)
    }

    /// Runs `work` on one consistent view.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn read<T>(&self, _permit: &Permit, work: impl FnOnce(&Read<'_>) -> Result<T>) -> Result<T> {
        self.snapshot(work)
    }

    /// As [`Store::read`], for what the server keeps in memory and for identifying callers, before there is a permit.
    ///
    /// # Errors
    /// What `work` returns.
    pub fn snapshot<T>(&self, work: impl FnOnce(&Read<'_>) -> Result<T>) -> Result<T> {
        let mut reader = self.readers.get().map_err(|error| busy().because(error))?;
        let transaction = reader.transaction().map_err(failed)?;
        work(&Read { connection: &transaction })
    }

    /// Folds the log beside the file into it: then all that was written is in the file alone, for whoever copies that.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when another process still reads what the log holds.
    pub fn fold(&self) -> Result<()> {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let held: bool = writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).map_err(failed)?;
        if held { Err(busy()) } else { Ok(()) }
    }

    /// A connection to see other processes' writes by, which waits for neither a write of this one nor a free reader.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn watch(&self) -> Result<Watch> {
        open::reader(&self.path).map(|connection| Watch { connection })
    }
}

impl Watch {
    /// As [`Store::snapshot`].
    ///
    /// # Errors
    /// What `work` returns.
    pub fn snapshot<T>(&self, work: impl FnOnce(&Read<'_>) -> Result<T>) -> Result<T> {
        let transaction = self.connection.unchecked_transaction().map_err(failed)?;
        work(&Read { connection: &transaction })
    }
}

impl Read<'_> {
    /// The current counts.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn epochs(&self) -> Result<Epochs> {
        let one = |noun: &str| {
            let mut statement = self.connection.prepare_cached("SELECT value FROM epoch WHERE noun = ?1").map_err(failed)?;
            statement.query_row([noun], |row| row.get(0)).map_err(failed)
        };
        Ok(Epochs { access: one("access")?, models: one("models")? })
    }

    /// A fact about the file.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn meta(&self, name: &str) -> Result<Option<Vec<u8>>> {
        let mut statement = self.connection.prepare_cached("SELECT value FROM meta WHERE name = ?1").map_err(failed)?;
        statement.query_row([name], |row| row.get(0)).optional().map_err(failed)
    }
}

impl Tx<'_> {
    /// Counts a write that makes what is in memory old. The transaction that changes a noun calls it once.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn bump(&self, epoch: Epoch) -> Result<()> {
        let noun = match epoch {
            Epoch::Access => "access",
            Epoch::Models => "models",
        };
        self.run("UPDATE epoch SET value = value + 1 WHERE noun = ?1", params![noun]).map(drop)
    }

    /// Sets a fact about the file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_meta(&self, name: &str, value: &[u8]) -> Result<()> {
        self.run("INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value", params![name, value])
            .map(drop)
    }

    fn run(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<usize> {
        self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(parameters)).map_err(failed)
    }

    fn last_id(&self) -> i64 {
        self.connection.last_insert_rowid()
    }
}

impl Read<'_> {
    /// The first row of a query, or `None`.
    fn one<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnOnce(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        statement.query_row(parameters, read).optional().map_err(failed)
    }

    /// All rows of a query.
    fn all<T>(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
        read: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        let mut statement = self.connection.prepare_cached(sql).map_err(failed)?;
        let rows = statement.query_map(parameters, read).map_err(failed)?;
        rows.collect::<rusqlite::Result<_>>().map_err(failed)
    }
}

fn busy() -> Error {
    Error::new(Kind::Unavailable, "the database is busy; send the request again")
}

/// SQLite's failure as one of ours; its own words go to the log.
fn failed(error: rusqlite::Error) -> Error {
    let full = "the disk of the database is full; make room";
    match error.sqlite_error().map(|error| error.extended_code) {
        // A restore put another file in its place between its opening and this.
        Some(SQLITE_READONLY_DBMOVED) => {
            return Error::new(Kind::Unavailable, "the database was replaced while it was opened; start again").because(error);
        }
        // What processes share about the log did not fit any more.
        Some(SQLITE_IOERR_SHMSIZE) => return Error::new(Kind::Unavailable, full).because(error),
        _ => {}
    }
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => busy().because(error),
        Some(ErrorCode::DiskFull) => {
            // Not this process's failure, and still what its operator must hear of.
            tracing::error!(%error, full);
            Error::new(Kind::Unavailable, full).because(error)
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            Error::new(Kind::Internal, "the database file is damaged; restore a backup with `rookery restore`").because(error)
        }
        _ => Error::internal(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_named_and_leaves_nothing_half_done() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("r.db")).unwrap();
        let staged = || store.snapshot(blobs::staged).unwrap();
        {
            let writer = store.writer.lock().unwrap();
            let pages: i64 = writer.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
            // The engine answers as it does when the disk takes no more.
            writer.pragma_update(None, "max_page_count", pages + 80).unwrap();
        }
        let piece = vec![7; blobs::CHUNK];
        let upload = || store.housekeeping(|tx| blobs::begin(tx).and_then(|blob| blobs::append(tx, blob, 0, &piece).map(|()| blob)));
        let first = upload().unwrap();
        let error = upload().unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable, "{error:?}");
        assert!(error.message().contains("disk") && error.message().contains("full"), "{error}");
        let more = store.housekeeping(|tx| blobs::append(tx, first, 1, &piece)).unwrap_err();
        assert!(more.message().contains("full"), "{more}");
        assert_eq!(staged(), 1, "what did not fit is not there");
        // Room that is made is room for the next.
        store.housekeeping(|tx| blobs::discard(tx, first)).unwrap();
        upload().unwrap();
        assert_eq!(staged(), 1);
    }
}
