//! `rookery policy …` and `rookery simulate`: what is allowed, and why.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::{Database, output};
use crate::error::{Error, Result};
use crate::names::Noun;
use crate::service::principals::Change;
use crate::service::simulate::{Asked, Told, by_documents};

/// Managed policies of a database, and whom they are attached to.
#[derive(Debug, Subcommand)]
pub(super) enum PolicyVerb {
    /// Make a managed policy from a file, or give it a new document. With --user, --group or --role the policy is put inline
    /// there instead.
    Put {
        /// The policy's name.
        name: String,
        /// The document.
        file: PathBuf,
        #[command(flatten)]
        holder: Holder,
        #[command(flatten)]
        database: Database,
    },
    /// List managed policies.
    List(Database),
    /// Show a managed policy's document, or an inline one's with --user, --group or --role.
    Show {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        holder: Holder,
    },
    /// Delete a managed policy nobody has, or an inline one with --user, --group or --role.
    Delete {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        holder: Holder,
    },
    /// Attach a managed policy.
    #[command(group = whom())]
    Attach {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        holder: Holder,
    },
    /// Detach a managed policy.
    #[command(group = whom())]
    Detach {
        #[command(flatten)]
        named: Named,
        #[command(flatten)]
        holder: Holder,
    },
}

/// A policy of a database.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// The policy's name.
    name: String,
    #[command(flatten)]
    database: Database,
}

/// Whom it is about.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct Holder {
    /// A user.
    #[arg(long)]
    user: Option<String>,
    /// A group.
    #[arg(long)]
    group: Option<String>,
    /// A role.
    #[arg(long)]
    role: Option<String>,
}

impl Holder {
    fn named(&self) -> Option<(Noun, &str)> {
        let user = self.user.as_deref().map(|name| (Noun::User, name));
        let group = self.group.as_deref().map(|name| (Noun::Group, name));
        user.or(group).or(self.role.as_deref().map(|name| (Noun::Role, name)))
    }

    /// As [`Holder::named`], where the command line takes none without.
    fn required(&self) -> Result<(Noun, &str)> {
        self.named().ok_or_else(|| Error::invalid("say to whom: --user, --group or --role"))
    }
}

/// Somebody must be named.
fn whom() -> ArgGroup {
    ArgGroup::new("whom").args(["user", "group", "role"]).required(true)
}

/// A text file.
pub(super) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| Error::invalid(format!("cannot read `{}`: {error}", path.display())).because(error))
}

impl PolicyVerb {
    pub(super) fn run(self, as_json: bool) -> Result<()> {
        match self {
            Self::Put { name, file, holder, database } => {
                let document = read(&file)?;
                let (service, caller) = database.open()?;
                match holder.named() {
                    Some((noun, holder)) => service.change_principal(&caller, noun, holder, Change::PutInline(&name, &document))?,
                    None => service.put_policy(&caller, &name, &document).map(drop)?,
                }
                output::done(as_json);
                Ok(())
            }
            Self::List(database) => {
                let (service, caller) = database.open()?;
                let all = service.policies(&caller, "", usize::MAX)?.items;
                if as_json {
                    let shown = all.iter().map(|one| json!({ "name": one.record.name, "version": one.record.version }));
                    output::value(&Value::Array(shown.collect()));
                } else {
                    let rows: Vec<_> = all.iter().map(|one| vec![one.record.name.clone(), one.record.version.to_string()]).collect();
                    output::table(&["NAME", "VERSION"], &rows);
                }
                Ok(())
            }
            Self::Show { named, holder } => {
                let (service, caller) = named.database.open()?;
                match holder.named() {
                    Some((noun, holder)) => output::line(service.inline_policy(&caller, noun, holder, &named.name)?.document),
                    None => output::line(&service.policy(&caller, &named.name)?.record.document),
                }
                Ok(())
            }
            Self::Delete { named, holder } => {
                let (service, caller) = named.database.open()?;
                match holder.named() {
                    Some((noun, holder)) => service.change_principal(&caller, noun, holder, Change::DeleteInline(&named.name))?,
                    None => service.delete_policy(&caller, &named.name)?,
                }
                output::done(as_json);
                Ok(())
            }
            Self::Attach { named, holder } => {
                let (service, caller) = named.database.open()?;
                let (noun, holder) = holder.required()?;
                service.change_principal(&caller, noun, holder, Change::Attach(&named.name))?;
                output::done(as_json);
                Ok(())
            }
            Self::Detach { named, holder } => {
                let (service, caller) = named.database.open()?;
                let (noun, holder) = holder.required()?;
                service.change_principal(&caller, noun, holder, Change::Detach(&named.name))?;
                output::done(as_json);
                Ok(())
            }
        }
    }
}

/// Decide a request without making it. Exits 0 when it is decided, whatever the decision.
#[derive(Debug, Args)]
pub(super) struct Simulate {
    /// Policy documents to decide by; no database is opened then.
    #[arg(long, num_args = 1.., value_name = "FILE")]
    policy: Vec<PathBuf>,
    /// The request, as JSON: principal, action, resource, and context, an object of values or lists of values by key.
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    #[command(flatten)]
    database: Database,
}

impl Simulate {
    pub(super) fn run(self, as_json: bool) -> Result<ExitCode> {
        let asked: Asked = serde_json::from_str(&read(&self.request)?)
            .map_err(|error| Error::invalid(format!("`{}` is not the request expected: {error}", self.request.display())).because(error))?;
        let told: Told = if self.policy.is_empty() {
            let (service, caller) = self.database.open()?;
            service.simulate(&caller, &asked)?
        } else {
            let documents = self.policy.iter().map(|path| Ok((path.display().to_string(), read(path)?)));
            by_documents(&documents.collect::<Result<Vec<_>>>()?, &asked)?
        };
        if as_json {
            output::value(&serde_json::to_value(&told).map_err(Error::internal)?);
            return Ok(ExitCode::SUCCESS);
        }
        output::line(told.decision);
        for one in &told.statements {
            let sid = one.sid.as_ref().map(|sid| format!(" (Sid {sid})")).unwrap_or_default();
            output::line(format_args!("  statement {} of {}{sid}, {}", one.statement, one.policy, one.set));
        }
        if let Some(missing) = told.missing {
            output::line(format_args!("  no {missing} allows it"));
        }
        Ok(ExitCode::SUCCESS)
    }
}
