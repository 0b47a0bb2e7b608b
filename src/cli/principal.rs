//! `rookery user|group|role …`: who exists in a database.

use std::io::Read as _;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{Database, output};
use crate::authn::directory::Principal;
use crate::error::{Error, Result};
use crate::names::Noun;
use crate::service::principals::{Change, NewOne};

/// Users of a database.
#[derive(Debug, Subcommand)]
pub(super) enum UserVerb {
    /// Make a user. Without --password-stdin the password is asked for on the terminal.
    Create {
        /// The user's name.
        name: String,
        /// Allow everything.
        #[arg(long, env = "ROOKERY_ADMIN", value_parser = FalseyValueParser::new())]
        admin: bool,
        /// Read the password from standard input.
        #[arg(long, env = "ROOKERY_PASSWORD_STDIN", value_parser = FalseyValueParser::new())]
        password_stdin: bool,
        /// Make a user who signs in with keys only.
        #[arg(long, env = "ROOKERY_NO_PASSWORD", conflicts_with = "password_stdin", value_parser = FalseyValueParser::new())]
        no_password: bool,
        /// The managed policy that bounds what the user may ever do.
        #[arg(long, env = "ROOKERY_BOUNDARY")]
        boundary: Option<String>,
        #[command(flatten)]
        database: Database,
    },
    /// List users.
    List(Database),
    /// Show a user.
    Show(One),
    /// Delete a user with their keys and sessions.
    Delete(One),
    /// Set a new password; every token and session of the user ends.
    Password {
        #[command(flatten)]
        one: One,
        /// Read the password from standard input.
        #[arg(long, env = "ROOKERY_PASSWORD_STDIN", value_parser = FalseyValueParser::new())]
        password_stdin: bool,
    },
    /// Keep a user from signing in; every token and session of theirs ends.
    Disable(One),
    /// Let a user sign in again.
    Enable(One),
}

/// One of them.
#[derive(Debug, Args)]
pub(super) struct One {
    /// The name.
    name: String,
    #[command(flatten)]
    database: Database,
}

/// Groups of a database.
#[derive(Debug, Subcommand)]
pub(super) enum GroupVerb {
    /// Make a group.
    Create(One),
    /// List groups.
    List(Database),
    /// Show a group.
    Show(One),
    /// Delete a group; its users stay.
    Delete(One),
    /// Put a user into a group.
    Add(Member),
    /// Take a user out of a group.
    Remove(Member),
}

/// A group and a user.
#[derive(Debug, Args)]
pub(super) struct Member {
    /// The group.
    group: String,
    /// The user.
    user: String,
    #[command(flatten)]
    database: Database,
}

/// Roles of a database.
#[derive(Debug, Subcommand)]
pub(super) enum RoleVerb {
    /// Make a role.
    Create {
        #[command(flatten)]
        one: One,
        /// The trust policy's file: who may assume the role.
        #[arg(long, env = "ROOKERY_TRUST", value_name = "FILE")]
        trust: PathBuf,
    },
    /// List roles.
    List(Database),
    /// Show a role.
    Show(One),
    /// Delete a role.
    Delete(One),
}

fn shown(principal: &Principal) -> Value {
    json!({
        "name": principal.name, "arn": principal.arn, "disabled": principal.disabled, "attachedPolicies": principal.attached,
        "inlinePolicies": principal.inline.iter().map(|(name, _)| name).collect::<Vec<_>>(), "permissionsBoundary": principal.boundary,
        "groupsOrMembers": principal.groups,
    })
}

fn list(noun: Noun, database: &Database, as_json: bool) -> Result<()> {
    let (service, caller) = database.open()?;
    let all = service.principals(&caller, noun, "", usize::MAX)?.items;
    if as_json {
        output::value(&Value::Array(all.iter().map(|one| shown(one)).collect()));
        return Ok(());
    }
    let rows: Vec<Vec<String>> = all
        .iter()
        .map(|one| {
            let inline = one.inline.iter().map(|(name, _)| name.clone());
            let policies: Vec<String> = one.attached.iter().cloned().chain(inline).collect();
            vec![
                one.name.clone(),
                if one.disabled { "disabled".to_owned() } else { String::new() },
                policies.join(", "),
                one.groups.join(", "),
            ]
        })
        .collect();
    let related = if noun == Noun::Group { "MEMBERS" } else { "GROUPS" };
    output::table(&["NAME", "STATE", "POLICIES", related], &rows);
    Ok(())
}

fn show(noun: Noun, one: &One) -> Result<()> {
    let (service, caller) = one.database.open()?;
    output::value(&shown(&*service.principal(&caller, noun, &one.name)?));
    Ok(())
}

fn delete(noun: Noun, one: &One, as_json: bool) -> Result<()> {
    let (service, caller) = one.database.open()?;
    service.delete_principal(&caller, noun, &one.name)?;
    output::done(as_json);
    Ok(())
}

fn change(noun: Noun, one: &One, change: Change<'_>, as_json: bool) -> Result<()> {
    let (service, caller) = one.database.open()?;
    service.change_principal(&caller, noun, &one.name, change)?;
    output::done(as_json);
    Ok(())
}

fn create(noun: Noun, database: &Database, name: &str, new: &NewOne<'_>, as_json: bool) -> Result<()> {
    let (service, caller) = database.open()?;
    let made = service.create_principal(&caller, noun, name, new)?;
    if as_json {
        output::value(&shown(&made));
    } else {
        output::line(format_args!("created {}", made.arn));
    }
    Ok(())
}

fn password(from_stdin: bool) -> Result<String> {
    let unreadable = |error: std::io::Error| Error::invalid("the password could not be read").because(error);
    if from_stdin {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(unreadable)?;
        return Ok(text.trim_end_matches(['\r', '\n']).to_owned());
    }
    rpassword::prompt_password("Password: ")
        .map_err(|error| Error::invalid("there is no terminal to ask for the password; give it with --password-stdin").because(error))
}

impl UserVerb {
    pub(super) fn run(self, as_json: bool) -> Result<()> {
        match self {
            Self::Create { name, admin, password_stdin, no_password, boundary, database } => {
                let password = if no_password { None } else { Some(password(password_stdin)?) };
                let new =
                    NewOne { password: password.as_deref(), administrator: admin, boundary: boundary.as_deref(), ..NewOne::default() };
                create(Noun::User, &database, &name, &new, as_json)
            }
            Self::List(database) => list(Noun::User, &database, as_json),
            Self::Show(one) => show(Noun::User, &one),
            Self::Delete(one) => delete(Noun::User, &one, as_json),
            Self::Password { one, password_stdin } => change(Noun::User, &one, Change::Password(Some(&password(password_stdin)?)), as_json),
            Self::Disable(one) => change(Noun::User, &one, Change::Disabled(true), as_json),
            Self::Enable(one) => change(Noun::User, &one, Change::Disabled(false), as_json),
        }
    }
}

impl GroupVerb {
    pub(super) fn run(self, as_json: bool) -> Result<()> {
        match self {
            Self::Create(one) => create(Noun::Group, &one.database, &one.name, &NewOne::default(), as_json),
            Self::List(database) => list(Noun::Group, &database, as_json),
            Self::Show(one) => show(Noun::Group, &one),
            Self::Delete(one) => delete(Noun::Group, &one, as_json),
            Self::Add(Member { group, user, database }) => {
                change(Noun::Group, &One { name: group, database }, Change::AddMember(&user), as_json)
            }
            Self::Remove(Member { group, user, database }) => {
                change(Noun::Group, &One { name: group, database }, Change::RemoveMember(&user), as_json)
            }
        }
    }
}

impl RoleVerb {
    pub(super) fn run(self, as_json: bool) -> Result<()> {
        match self {
            Self::Create { one, trust } => {
                let trust = super::policy::read(&trust)?;
                create(Noun::Role, &one.database, &one.name, &NewOne { trust: Some(&trust), ..NewOne::default() }, as_json)
            }
            Self::List(database) => list(Noun::Role, &database, as_json),
            Self::Show(one) => show(Noun::Role, &one),
            Self::Delete(one) => delete(Noun::Role, &one, as_json),
        }
    }
}
