//! `rookery backup|restore|verify`: the file as a whole.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::json;

use super::{Database, output};
use crate::authn::MasterKey;
use crate::error::Result;
use crate::names::counted;
use crate::store::{self, Verified};

/// Copy a database while it serves.
#[derive(Debug, Args)]
pub(super) struct Backup {
    /// The copy; must not exist.
    target: PathBuf,
    #[command(flatten)]
    database: Database,
}

/// Put a backup in place after verifying it.
#[derive(Debug, Args)]
pub(super) struct Restore {
    /// The backup.
    source: PathBuf,
    /// Replace the database if it exists.
    #[arg(long, value_parser = FalseyValueParser::new())]
    force: bool,
    #[command(flatten)]
    database: Database,
}

/// Check every byte of a database.
#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    database: Database,
}

fn tell(verified: Verified, as_json: bool) {
    let Verified { models, artifacts, bytes, staged, schema } = verified;
    if as_json {
        output::value(&json!({
            "ok": true, "models": models, "artifacts": artifacts, "bytes": bytes, "uploadsUnderWay": staged, "schema": schema,
        }));
    } else {
        if verified.is_older() {
            output::line(format_args!(
                "schema {schema} is older than this Rookery's {}; serving the file brings it up to date",
                store::SCHEMA_VERSION
            ));
        }
        let count = |count: u64, one: &str| counted(usize::try_from(count).unwrap_or(usize::MAX), one);
        output::line(format_args!(
            "ok: {}, {} of {bytes} bytes in all have their SHA-256, {} under way",
            count(models, "model"),
            count(artifacts, "artifact"),
            count(staged, "upload")
        ));
    }
}

impl Backup {
    pub(super) fn run(self, as_json: bool) -> Result<()> {
        self.database.must_exist()?;
        output::with_progress("copying", |progress| store::backup(&self.database.db, &self.target, progress))?;
        let key = MasterKey::path(&self.database.db);
        if as_json {
            output::value(&json!({ "backup": self.target }));
        } else {
            output::line(format_args!("wrote {}", self.target.display()));
        }
        if !key.exists() {
            output::note(format_args!("the key file {} is missing, and what is restored cannot be served without it", key.display()));
        } else if !as_json {
            output::note(format_args!("keep the key file {} with it, in a safe place: it is not inside", key.display()));
        }
        Ok(())
    }
}

impl Restore {
    pub(super) fn run(self, as_json: bool) -> Result<()> {
        let verified =
            output::with_progress("restoring", |progress| store::restore(&self.source, &self.database.db, self.force, progress))?;
        tell(verified, as_json);
        let key = MasterKey::path(&self.database.db);
        if !key.exists() {
            output::note(format_args!("put the key file of that database back at {}", key.display()));
        }
        Ok(())
    }
}

impl Verify {
    pub(super) fn run(self, as_json: bool) -> Result<()> {
        self.database.must_exist()?;
        tell(output::with_progress("verifying", |progress| store::verify(&self.database.db, progress))?, as_json);
        Ok(())
    }
}
