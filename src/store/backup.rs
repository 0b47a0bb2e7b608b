//! A copy of the file while it serves, its way back, and the proof that every byte is what it was.
//!
//! A backup is one statement on one consistent view (`VACUUM INTO`), so writers go on meanwhile and the copy is as
//! small as it can be. The key file is not part of it. Next: `cli/admin.rs`, which offers the three.

use std::fs::{self, File, TryLockError};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};
use sha2::{Digest, Sha256};

use super::blobs::{BlobId, BlobReader};
use super::open::{beside, look};
use super::{Read, SCHEMA_VERSION, failed};
use crate::artifact::{Artifact, Limits};
use crate::error::{Error, Kind, Result};
use crate::names::Version;

/// Is told what is done and all there is, in bytes, now and then.
pub type Progress<'a> = &'a (dyn Fn(u64, u64) + Sync);

/// How often a copy under way is measured.
const MEASURE: Duration = Duration::from_millis(100);
/// How often a file that dead copies left may come back while it is taken.
const TRIES: usize = 3;

/// What [`verify`] found in order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Model paths.
    pub models: u64,
    /// Artifacts whose bytes have their SHA-256.
    pub artifacts: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Uploads under way or dead.
    pub staged: u64,
    /// The schema the file has. An older one than this build's is brought up to date when the file is next served.
    pub schema: i32,
}

impl Verified {
    /// Whether the file is of an older schema than this build's.
    pub fn is_older(&self) -> bool {
        self.schema < SCHEMA_VERSION
    }
}

fn io_error(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Unavailable, format!("cannot {what} `{}`: {error}", path.display())).because(error)
}

/// Writes a consistent copy of `source`, which a server may serve meanwhile, to `target`, which must not exist. The source
/// stays as it is and so does its schema: the copy of an older file is as old.
///
/// # Errors
/// [`Kind::Conflict`] when `target` exists, or `source` is no Rookery database or a newer one; when files cannot be read or
/// written.
pub fn backup(source: &Path, target: &Path, progress: Progress<'_>) -> Result<()> {
    let copied = look(source, |connection| {
        let partial = Partial::beside(target)?;
        if target.exists() {
            return Err(Error::conflict(format!("`{}` exists; give another path", target.display())));
        }
        copy(connection, source, partial.name()?, progress).map(|()| partial)
    });
    copied?.put(target)
}

/// Puts the backup at `source` to `target` after verifying it. An existing `target` is replaced only with `force`, and
/// never while anyone has it open: from before the copy until the new file is in place nobody else gets in, so that no
/// write is acknowledged that the new file does not have.
///
/// # Errors
/// When the backup does not verify, `target` exists or is in use, or files cannot be written.
pub fn restore(source: &Path, target: &Path, force: bool, progress: Progress<'_>) -> Result<Verified> {
    let verified = verify(source, progress)?;
    // What a link points at is what a server opens, and the log is beside that.
    let resolved = fs::canonicalize(target);
    let target = resolved.as_deref().unwrap_or(target);
    let place = Place::take(source, target, force)?;
    // By the engine, so that what is still in the log beside the source comes along.
    let put = look(source, |connection| {
        let partial = Partial::beside(target)?;
        copy(connection, source, partial.name()?, progress).map(|()| partial)
    })
    .and_then(|partial| place.put(partial, target));
    if put.is_err() {
        place.give_up(target);
    }
    put.map(|()| verified)
}

/// The file that is about to be replaced, kept from everyone else.
struct Place {
    /// Holds SQLite's own exclusive lock. Whoever opens the file meanwhile waits; and when that ends because the file was
    /// replaced, the engine refuses their first write, since the file they opened has lost its name. There is none for
    /// a file too damaged for a lock, which nobody else can open either.
    held: Option<Connection>,
    /// Nothing was there before.
    fresh: bool,
}

impl Place {
    fn take(source: &Path, target: &Path, force: bool) -> Result<Self> {
        // Nothing is lost with a file that holds nothing: the one an interrupted restore left.
        let fresh = fs::metadata(target).map_or(true, |file| file.len() == 0);
        if !fresh && !force {
            return Err(Error::conflict(format!("`{}` exists; stop its server and say --force to replace it", target.display())));
        }
        let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino()));
        if identity(source).is_ok_and(|source| identity(target).is_ok_and(|target| source == target)) {
            return Err(Error::conflict(format!("`{}` is the backup itself; give another path with --db", target.display())));
        }
        if fresh {
            // A name with nothing behind it cannot be locked.
            let made = fs::OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(target);
            made.map_err(|error| io_error("write", target, error))?;
        }
        Ok(Self { held: hold(target)?, fresh })
    }

    /// Gives the name to the finished copy.
    fn put(&self, copy: Partial, target: &Path) -> Result<()> {
        if self.held.is_none() && hold(target)?.is_some() {
            return Err(Error::conflict(format!("`{}` was changed meanwhile; try again", target.display())));
        }
        // A log of what was there before would be taken for the new file's own.
        for suffix in ["-wal", "-shm", "-journal"] {
            let _ = fs::remove_file(beside(target, suffix));
        }
        copy.put(target)
    }

    fn give_up(&self, target: &Path) {
        if self.fresh && fs::metadata(target).is_ok_and(|file| file.len() == 0) {
            let _ = fs::remove_file(target);
        }
    }
}

/// Locks the database at `target` for as long as the connection lives. `None` when it is damaged, which is what a restore
/// is for.
fn hold(target: &Path) -> Result<Option<Connection>> {
    let held = Connection::open_with_flags(target, OpenFlags::SQLITE_OPEN_READ_WRITE).and_then(|connection| {
        connection.busy_timeout(Duration::ZERO)?;
        let mode = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0));
        // Succeeds only when no other process has the file open. Without a log, a lock on the file keeps readers out too;
        // with one it would keep out writers alone, so it counts only if nobody brought the log back before it.
        mode("PRAGMA journal_mode=DELETE")?;
        connection.execute_batch("BEGIN EXCLUSIVE")?;
        let locked = mode("PRAGMA journal_mode")? == "delete";
        Ok((connection, locked))
    });
    let in_use = || Err(Error::conflict(format!("`{}` is in use; stop its server first", target.display())));
    match held {
        Ok((connection, true)) => Ok(Some(connection)),
        Ok((_, false)) => in_use(),
        Err(error) if matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)) => in_use(),
        Err(error)
            if matches!(
                error.sqlite_error_code(),
                Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure)
            ) =>
        {
            Ok(None)
        }
        Err(error) => {
            Err(Error::new(Kind::Unavailable, format!("cannot lock `{}`; check that it may be written", target.display())).because(error))
        }
    }
}

/// Copies all of `path`, open as `source`, into the empty file `name`. The copy is one statement, so how far it is shows
/// in the file's length alone.
fn copy(source: &Connection, path: &Path, name: &str, progress: Progress<'_>) -> Result<()> {
    let length = |path: &Path| fs::metadata(path).map_or(0, |file| file.len());
    let (all, over) = (length(path) + length(&beside(path, "-wal")), AtomicBool::new(false));
    thread::scope(|scope| {
        let measure = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                progress(length(Path::new(name)), all);
                thread::park_timeout(MEASURE);
            }
        });
        let copied = source.execute("VACUUM INTO ?1", [name]).map(drop).map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => {
                Error::new(Kind::Unavailable, format!("the disk is full with `{name}`; make room or give another path")).because(error)
            }
            _ => failed(error),
        });
        over.store(true, Ordering::Relaxed);
        measure.thread().unpark();
        copied
    })
}

/// The file that becomes the copy, empty at first and gone again if it does not. Password hashes will be inside, so only
/// the owner may read it from the start; and it is locked, so that of two copies to one place the second is refused.
struct Partial {
    path: PathBuf,
    held: File,
    /// Whether it has another name now.
    put: bool,
}

impl Partial {
    fn beside(target: &Path) -> Result<Self> {
        let path = beside(target, ".partial");
        let failed = |error| io_error("write", &path, error);
        let others = || Error::conflict(format!("another backup or restore writes `{}`; wait for it to end", target.display()));
        let lock = |file: &File| match file.try_lock() {
            Ok(()) => Ok(()),
            Err(TryLockError::WouldBlock) => Err(others()),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        };
        let identity = |file: fs::Metadata| (file.dev(), file.ino());
        let names = |path: &Path, file: &File| {
            let own = file.metadata().map(identity).map_err(failed)?;
            Ok::<_, Error>(fs::symlink_metadata(path).map(identity).is_ok_and(|named| named == own))
        };
        for _ in 0..TRIES {
            match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(held) => {
                    lock(&held)?;
                    // Whoever took it for a dead one before it was locked has removed it.
                    if names(&path, &held)? {
                        return Ok(Self { path, held, put: false });
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    // What an interrupted copy left has no lock.
                    let dead = match fs::OpenOptions::new().write(true).open(&path) {
                        Ok(dead) => dead,
                        Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                        Err(error) => return Err(failed(error)),
                    };
                    lock(&dead)?;
                    // It may have been removed before it was locked, and what has the name now be somebody's.
                    if names(&path, &dead)? {
                        fs::remove_file(&path).map_err(failed)?;
                    }
                }
                Err(error) => return Err(failed(error)),
            }
        }
        Err(others())
    }

    fn name(&self) -> Result<&str> {
        self.path.to_str().ok_or_else(|| Error::invalid(format!("the path `{}` is not UTF-8; give another", self.path.display())))
    }

    /// Gives it the name, when all of it is on disk.
    fn put(mut self, target: &Path) -> Result<()> {
        self.held.sync_all().and_then(|()| fs::rename(&self.path, target)).map_err(|error| io_error("write", target, error))?;
        self.put = true;
        sync_folder(target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        // Once it was put, somebody else's may be there.
        if !self.put {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A rename is on disk once its folder is.
fn sync_folder(path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| io_error("write", folder, error))
}

/// Checks the file at `path`: SQLite's own integrity, foreign keys, and every artifact's bytes against its name. The
/// file is only read, and stays as it is.
///
/// # Errors
/// The first thing that does not hold.
pub fn verify(path: &Path, progress: Progress<'_>) -> Result<Verified> {
    look(path, |connection| {
        let transaction = connection.unchecked_transaction().map_err(failed)?;
        let read = &Read { connection: &transaction };
        let problems: Vec<String> = read.all("PRAGMA integrity_check(5)", [], |row| row.get(0))?;
        if problems.iter().any(|problem| problem != "ok") {
            return Err(damaged(&problems.join("; ")));
        }
        let dangling: Vec<String> = read.all("PRAGMA foreign_key_check", [], |row| row.get(0))?;
        if let Some(table) = dangling.first() {
            return Err(damaged(&format!("a row of `{table}` points at nothing")));
        }
        let mut verified = Verified {
            models: u64::try_from(super::models::count(read)?).unwrap_or_default(),
            staged: u64::try_from(super::blobs::staged(read)?).unwrap_or_default(),
            schema: connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(failed)?,
            ..Verified::default()
        };
        let artifacts = read.all("SELECT sha256, artifact, prepared, format FROM version", [], |row| {
            Ok((Version(row.get(0)?), BlobId(row.get(1)?), BlobId(row.get(2)?), row.get::<_, String>(3)?))
        })?;
        let all = super::blobs::stored(read)?;
        for (version, artifact, prepared, format) in artifacts {
            progress(verified.bytes, all);
            let (digest, bytes) = digest(read, artifact)?;
            if digest != version {
                return Err(damaged(&format!("the artifact of version {version} has other bytes ({digest})")));
            }
            check_prepared(read, artifact, prepared, &format)
                .map_err(|error| damaged(&format!("the prepared form of version {version}: {error}")))?;
            verified.artifacts += 1;
            verified.bytes += bytes;
        }
        Ok(verified)
    })
}

/// Whether the prepared form is what the artifact gives, where this build writes the same layout.
fn check_prepared(read: &Read<'_>, artifact: BlobId, prepared: BlobId, format: &str) -> Result<()> {
    let limits = Limits { unpacked: u64::MAX, entries: usize::MAX, name: usize::MAX };
    let source = BlobReader::open(read, artifact)?;
    let length = source.length();
    let artifact = Artifact::read_if(source, length, limits, crate::runtime::may_be_known)?;
    let mut kept = Vec::new();
    BlobReader::open(read, prepared)?.read_to_end(&mut kept).map_err(Error::internal)?;
    if crate::runtime::agrees(format, artifact, &kept)? { Ok(()) } else { Err(Error::invalid("it has other bytes")) }
}

fn damaged(what: &str) -> Error {
    Error::new(Kind::Internal, format!("the database is damaged: {what}; restore a backup"))
}

fn digest(read: &Read<'_>, blob: BlobId) -> Result<(Version, u64)> {
    let mut reader = BlobReader::open(read, blob)?;
    let (mut hash, mut place, mut total) = (Sha256::new(), vec![0; 1 << 16], 0);
    loop {
        let count = reader.read(&mut place).map_err(Error::internal)?;
        if count == 0 {
            return Ok((Version(hash.finalize().into()), total));
        }
        hash.update(place.get(..count).unwrap_or_default());
        total += count as u64;
    }
}
