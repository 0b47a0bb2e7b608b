//! The master key: 32 random bytes in a 0600 file beside the database, never inside it.
//!
//! Token secrets and AWS secret keys are derived from it, so the database alone gives nobody a credential. The database
//! keeps a check value by which a lost or foreign key file is noticed at start. Next: `token.rs`.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::random;
use crate::error::{Error, Kind, Result};
use crate::names::{Version, hex};
use crate::store::Store;

const CHECK: &str = "master_key_check";

/// The key. Never shown, never logged.
#[derive(Clone)]
pub struct MasterKey([u8; 32]);

impl std::fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MasterKey")
    }
}

impl MasterKey {
    /// Where the key of the database at `path` is.
    pub fn path(database: &Path) -> PathBuf {
        let mut name = database.as_os_str().to_owned();
        name.push(".key");
        PathBuf::from(name)
    }

    /// Reads the key of `store`, or makes one for a new database.
    ///
    /// # Errors
    /// A sentence for the operator when the file is lost, foreign, malformed or readable by others.
    pub fn open(store: &Store) -> Result<Self> {
        let path = Self::path(store.path());
        let check = store.snapshot(|read| read.meta(CHECK))?;
        let key = match (Self::read(&path)?, &check) {
            (Some(key), _) => key,
            (None, None) => Self::create(&path, false)?,
            (None, Some(_)) => {
                return Err(Error::new(
                    Kind::Conflict,
                    format!(
                        "the key file `{}` is missing; put it back from where it is kept, or run `rookery key reset-master` to make a new one (tokens and AWS keys made before end)",
                        path.display()
                    ),
                ));
            }
        };
        match check {
            Some(check) if bool::from(check.as_slice().ct_eq(&key.derive("check"))) => Ok(key),
            Some(_) => Err(Error::new(
                Kind::Conflict,
                format!("the key file `{}` belongs to another database; put back the right one", path.display()),
            )),
            None => {
                store.housekeeping(|tx| tx.set_meta(CHECK, &key.derive("check")))?;
                Ok(key)
            }
        }
    }

    /// Makes a new key for `store`; everything derived from the old one ends.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn reset(store: &Store) -> Result<()> {
        let key = Self::create(&Self::path(store.path()), true)?;
        store.housekeeping(|tx| tx.set_meta(CHECK, &key.derive("check")))
    }

    fn read(path: &Path) -> Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(cannot("read", path, error)),
        };
        let mode = fs::metadata(path).map_err(|error| cannot("read", path, error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(Error::new(
                Kind::Conflict,
                format!("the key file `{}` may be read by others; run `chmod 600` on it", path.display()),
            ));
        }
        let key = Version::parse(text.trim())
            .map_err(|_| Error::new(Kind::Conflict, format!("`{}` is no key file; put back the right one", path.display())))?;
        Ok(Some(Self(key.0)))
    }

    /// Puts a new key in place: whole or not at all, whenever the process ends. Of two processes that start on a new
    /// database at once, the second takes the first one's.
    fn create(path: &Path, replace: bool) -> Result<Self> {
        let key = Self(random()?);
        let mut partial = path.as_os_str().to_owned();
        partial.push(format!(".{}", std::process::id()));
        let partial = PathBuf::from(partial);
        let _ = fs::remove_file(&partial);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial).and_then(|mut file| {
            writeln!(file, "{}", hex(&key.0))?;
            file.sync_all()?;
            match fs::hard_link(&partial, path) {
                // Where there are no such links, the next best.
                Err(error) if replace || error.kind() != std::io::ErrorKind::AlreadyExists => fs::rename(&partial, path)?,
                linked => linked?,
            }
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            fs::File::open(folder)?.sync_all()
        });
        let _ = fs::remove_file(&partial);
        match made {
            Ok(()) => Ok(key),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Self::read(path)?.ok_or_else(|| cannot("read", path, std::io::ErrorKind::NotFound.into()))
            }
            Err(error) => Err(cannot("write", path, error)),
        }
    }

    /// A key for one purpose: HMAC-SHA256 of its name under the master key.
    pub fn derive(&self, purpose: &str) -> [u8; 32] {
        // HMAC takes keys of any length.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return [0; 32] };
        mac.update(b"rookery v1 ");
        mac.update(purpose.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

fn cannot(what: &str, path: &Path, error: std::io::Error) -> Error {
    Error::new(Kind::Unavailable, format!("cannot {what} the key file `{}`: {error}", path.display())).because(error)
}
