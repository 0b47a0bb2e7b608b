//! What is checked and set before a file is used: whose it is, which schema, which engine; then migrations.
//!
//! The header is read as plain bytes first, so a file that is refused has not been touched, not even by a log file
//! beside it. [`look`] opens a file without ever changing it. Next: `mod.rs`.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use r2d2::Pool;
use r2d2_sqlite::SqliteConnectionManager;
use rusqlite::{Connection, OpenFlags};

use super::{Store, failed};
use crate::error::{Error, Kind, Result};

/// "Rook" in ASCII: SQLite's header field for whose file it is.
const APPLICATION_ID: i32 = 0x526f_6f6b;
/// Each migration's SQL; its place is the schema version it leads to.
const MIGRATIONS: &[&str] = &[include_str!("../../migrations/0001_first.sql"), include_str!("../../migrations/0002_endpoint_maker.sql")];
/// The newest schema this build knows.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "a handful of migrations")]
pub const SCHEMA_VERSION: i32 = MIGRATIONS.len() as i32;
/// Older engines can lose a committed write when the log is reset.
const ENGINE_MIN: i32 = 3_051_003;
const BUSY: Duration = Duration::from_secs(10);
const READERS: u32 = 8;
/// How often a file that changes hands while it is looked at is looked at again.
const LOOKS: usize = 5;

pub(super) fn open(path: &Path) -> Result<Store> {
    let writer = writer(path)?;
    let manager = SqliteConnectionManager::file(path)
        .with_flags(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .with_init(|connection| for_reading(connection));
    let readers = Pool::builder().max_size(READERS).min_idle(Some(1)).test_on_check_out(false).build(manager);
    let readers = readers.map_err(|error| cannot_open(path).because(error))?;
    Ok(Store { writer: Mutex::new(writer), readers, path: path.to_owned() })
}

/// A reading connection outside of the pool.
pub(super) fn reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| cannot_open(path).because(error))?;
    for_reading(&connection).map_err(failed)?;
    Ok(connection)
}

fn for_reading(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY)?;
    settings(connection)?;
    connection.pragma_update(None, "query_only", true)
}

fn writer(path: &Path) -> Result<Connection> {
    check_engine(rusqlite::version_number())?;
    check_header(path)?;
    let fresh = std::fs::metadata(path).map_or(true, |file| file.len() == 0);
    if fresh {
        // Password hashes will be inside, so only the owner reads it; the log beside it takes the same mode.
        use std::os::unix::fs::OpenOptionsExt as _;
        let made = std::fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        made.map_err(|error| cannot_open(path).because(error))?;
    }
    let mut writer = Connection::open(path).map_err(|error| cannot_open(path).because(error))?;
    writer.busy_timeout(BUSY).map_err(failed)?;
    if fresh {
        // Must stand before the first table; 16 KiB pages read megabyte pieces about twice as fast as 4 KiB ones.
        writer.pragma_update(None, "page_size", 16_384).map_err(failed)?;
        writer.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
    }
    writer.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    settings(&writer).map_err(failed)?;
    writer.pragma_update(None, "journal_size_limit", 64 << 20).map_err(failed)?;
    migrate(&mut writer)?;
    Ok(writer)
}

/// Runs `work` on a file as it is: the file is neither made nor migrated nor written, nor its journal mode set. A
/// server may have it open meanwhile.
///
/// # Errors
/// [`Kind::NotFound`], [`Kind::Conflict`] when it is empty or no Rookery database, and what `work` returns.
pub(super) fn look<T>(path: &Path, work: impl Fn(&Connection) -> Result<T>) -> Result<T> {
    check_engine(rusqlite::version_number())?;
    // What a link points at is what a server opens, and the log is beside that.
    let resolved = std::fs::canonicalize(path);
    let path = resolved.as_deref().unwrap_or(path);
    let log = beside(path, "-wal");
    for _ in 0..LOOKS {
        let stamp =
            || std::fs::metadata(path).map(|file| (file.len(), file.modified().ok())).map_err(|error| cannot_read(path).because(error));
        if !path.exists() {
            return Err(Error::not_found(format!("there is no file `{}`", path.display())));
        }
        match check_header(path)? {
            Header::Schema(1..) => {}
            Header::Schema(_) | Header::Empty => {
                return Err(Error::conflict(format!("`{}` is empty: it holds no Rookery database", path.display())));
            }
        }
        let logs = || std::fs::metadata(&log).is_ok_and(|log| log.len() > 0);
        let (before, logged) = (stamp()?, logs());
        let connection = if logged {
            // The newest writes are in the log, which is read under the locks that a server respects.
            Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        } else {
            // All there is is in the file. Said to be immutable, no log is put beside it, so that the folder need not be
            // writable; in exchange no lock tells that a server writes meanwhile.
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(immutable(path), flags)
        };
        let connection = connection.map_err(|error| cannot_read(path).because(error))?;
        connection.busy_timeout(BUSY).map_err(failed)?;
        connection.pragma_update(None, "trusted_schema", false).map_err(|error| cannot_read(path).because(error))?;
        let done = work(&connection);
        if logged || (stamp()? == before && !logs()) {
            return done;
        }
    }
    Err(Error::new(Kind::Unavailable, format!("`{}` changes while it is read; try again", path.display())))
}

/// The file as a URI that says nobody writes to it.
fn immutable(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut uri = "file:".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            uri.push_str(&format!("%{byte:02X}"));
        }
    }
    uri.push_str("?immutable=1");
    uri
}

/// The path with something after its name, as SQLite names its log.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn cannot_read(path: &Path) -> Error {
    let path = path.display();
    Error::new(Kind::Unavailable, format!("cannot read `{path}`; if there is a `{path}-wal`, copy both to a folder that may be written"))
}

fn settings(connection: &Connection) -> rusqlite::Result<()> {
    connection.set_prepared_statement_cache_capacity(128);
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cache_size", -32_768)
}

fn cannot_open(path: &Path) -> Error {
    Error::new(Kind::Unavailable, format!("cannot open `{}`; check that its folder exists and may be written", path.display()))
}

fn check_engine(version: i32) -> Result<()> {
    if version < ENGINE_MIN {
        return Err(Error::new(Kind::Unavailable, format!("SQLite {version} can lose committed writes; build with 3.51.3 or newer")));
    }
    Ok(())
}

/// What the first bytes of a file say.
enum Header {
    /// There is none yet.
    Empty,
    /// It is ours, of this schema version.
    Schema(i32),
}

/// Refuses a file that is not ours or too new by its first 100 bytes alone.
fn check_header(path: &Path) -> Result<Header> {
    let mut head = [0u8; 100];
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Header::Empty),
        Err(error) => return Err(cannot_open(path).because(error)),
    };
    match file.read(&mut head).map_err(|error| cannot_open(path).because(error))? {
        0 => return Ok(Header::Empty),
        100 if head.starts_with(b"SQLite format 3\0") => {}
        _ => {
            return Err(Error::new(Kind::Conflict, format!("`{}` is not a Rookery database; give another path", path.display())));
        }
    }
    let field = |at: usize| head.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, i32::from_be_bytes);
    if field(68) != APPLICATION_ID {
        return Err(Error::new(Kind::Conflict, format!("`{}` is another program's SQLite database; give another path", path.display())));
    }
    check_version(field(60)).map(|()| Header::Schema(field(60)))
}

fn check_version(version: i32) -> Result<()> {
    if version > SCHEMA_VERSION {
        return Err(Error::new(
            Kind::Conflict,
            format!(
                "the database has schema {version} of a newer Rookery, this one knows up to {SCHEMA_VERSION}; upgrade Rookery (the file was left as it is)"
            ),
        ));
    }
    Ok(())
}

/// Brings the schema up to date, each step in a transaction of its own.
fn migrate(writer: &mut Connection) -> Result<()> {
    loop {
        let transaction = writer.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
        let version: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?;
        check_version(version)?;
        let Some(sql) = usize::try_from(version).ok().and_then(|at| MIGRATIONS.get(at)) else { return Ok(()) };
        transaction.execute_batch(sql).map_err(failed)?;
        transaction.pragma_update(None, "user_version", version + 1).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        // Into the file itself, where `check_header` looks.
        writer.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).map_err(failed)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header_after(path: &Path, change: impl FnOnce(&Connection)) -> Result<Store> {
        let connection = writer(path).unwrap();
        connection.pragma_update(None, "journal_mode", "DELETE").unwrap();
        change(&connection);
        drop(connection);
        let before = std::fs::read(path).unwrap();
        let opened = Store::open(path);
        if opened.is_err() {
            assert_eq!(before, std::fs::read(path).unwrap(), "a refused file was touched");
            let beside: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
            assert_eq!(beside.len(), 1, "a refused file got company");
        }
        opened
    }

    #[test]
    fn files_that_are_not_ours_are_refused_untouched() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.db");
        let newer = header_after(&path, |c| c.pragma_update(None, "user_version", SCHEMA_VERSION + 1).unwrap()).unwrap_err();
        assert!(newer.message().contains("newer Rookery"), "{newer}");
        std::fs::remove_file(&path).unwrap();
        let foreign = header_after(&path, |c| c.pragma_update(None, "application_id", 7).unwrap()).unwrap_err();
        assert!(foreign.message().contains("another program"), "{foreign}");
        std::fs::write(&path, "hello, this is no database at all").unwrap();
        assert!(Store::open(&path).unwrap_err().message().contains("not a Rookery database"));
    }

    #[test]
    fn an_engine_that_loses_writes_is_refused() {
        assert!(check_engine(3_051_002).is_err());
        assert!(check_engine(rusqlite::version_number()).is_ok());
    }

    #[test]
    fn a_file_opens_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.db");
        let store = Store::open(&path).unwrap();
        store.housekeeping(|tx| tx.set_meta("a", b"1")).unwrap();
        drop(store);
        assert_eq!(Store::open(&path).unwrap().snapshot(|read| read.meta("a")).unwrap().unwrap(), b"1");
    }
}
