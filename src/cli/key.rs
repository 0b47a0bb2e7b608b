//! `rookery key …`: API keys and AWS access keys of a database.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Database, output};
use crate::authn::MasterKey;
use crate::error::Result;
use crate::service::keys::{Made, listed, state, whole};
use crate::store::keys::KeyKind;
use crate::store::{Store, now};

/// API keys and AWS access keys of a database.
#[derive(Debug, Subcommand)]
pub(super) enum KeyVerb {
    /// Make a key. It is shown once.
    Create {
        /// The user it is for.
        user: String,
        /// An API key, for `Authorization: Bearer` (the default).
        #[arg(long, conflicts_with = "aws", value_parser = FalseyValueParser::new())]
        api: bool,
        /// An AWS access key.
        #[arg(long, value_parser = FalseyValueParser::new())]
        aws: bool,
        /// A policy that narrows what the user may do with this key.
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
        /// Days until it expires.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        days: Option<u32>,
        #[command(flatten)]
        database: Database,
    },
    /// List keys.
    List(Database),
    /// Show a key and the policy that narrows it; never its secret.
    Show(One),
    /// Keep a key from being used.
    Disable(One),
    /// Let a key be used again.
    Enable(One),
    /// Delete a key.
    Delete(One),
    /// Make a new master key after the key file was lost. Tokens and AWS keys made before end; API keys stay.
    ResetMaster(Database),
}

/// One key.
#[derive(Debug, Args)]
pub(super) struct One {
    /// Its public part.
    id: String,
    #[command(flatten)]
    database: Database,
}

impl KeyVerb {
    pub(super) fn run(self, as_json: bool) -> Result<()> {
        match self {
            Self::Create { user, api: _, aws, policy, days, database } => {
                let document = policy.as_deref().map(super::policy::read).transpose()?;
                let (service, caller) = database.open()?;
                let kind = if aws { KeyKind::Aws } else { KeyKind::Api };
                let expires_at = days.map(|days| now() + i64::from(days) * 86_400);
                let made = service.create_key(&caller, &user, kind, document.as_deref(), expires_at)?;
                match &made {
                    _ if as_json => output::value(&made.shown()),
                    Made::Api { key, .. } => output::line(key),
                    Made::Aws { id, secret } => output::line(format_args!("{id} {secret}")),
                }
                Ok(())
            }
            Self::List(database) => {
                let (service, caller) = database.open()?;
                let mut keys = service.keys(&caller, None, "", usize::MAX)?.items;
                keys.sort_by(|a, b| (&a.user.name, a.record.created_at).cmp(&(&b.user.name, b.record.created_at)));
                if as_json {
                    output::value(&Value::Array(keys.iter().map(|key| listed(key)).collect()));
                } else {
                    let rows: Vec<_> = keys
                        .iter()
                        .map(|key| {
                            let kind = key.record.kind.word().to_owned();
                            vec![key.record.id.clone(), key.user.name.clone(), kind, state(key).to_owned()]
                        })
                        .collect();
                    output::table(&["ID", "USER", "KIND", "STATE"], &rows);
                }
                Ok(())
            }
            Self::Show(One { id, database }) => {
                let (service, caller) = database.open()?;
                output::value(&whole(&*service.key(&caller, &id)?));
                Ok(())
            }
            Self::Disable(One { id, database }) => {
                let (service, caller) = database.open()?;
                service.set_key_disabled(&caller, &id, true)?;
                output::done(as_json);
                Ok(())
            }
            Self::Enable(One { id, database }) => {
                let (service, caller) = database.open()?;
                service.set_key_disabled(&caller, &id, false)?;
                output::done(as_json);
                Ok(())
            }
            Self::Delete(One { id, database }) => {
                let (service, caller) = database.open()?;
                service.delete_key(&caller, &id)?;
                output::done(as_json);
                Ok(())
            }
            Self::ResetMaster(database) => {
                database.must_exist()?;
                MasterKey::reset(&Store::open(&database.db)?)?;
                output::done(as_json);
                // A server reads the key once, at its start, so it would go on signing with the old one.
                output::note("restart the server of this database if one is running: until then it keeps using the old key");
                Ok(())
            }
        }
    }
}
