//! `rookery user|group|role …`: who exists in a database.

use std::collections::HashMap;
use std::io::Read as _;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgGroup, Args, Subcommand};
use serde_json::Value;

use super::{Database, output};
use crate::authn::hash_password;
use crate::error::{Error, Result};
use crate::names::{Name, Noun};
use crate::service::principals::{Change, NewOne, shown};

/// Users of a database.
#[derive(Debug, Subcommand)]
pub(super) enum UserVerb {
    /// Make a user. Without --password-stdin the password is asked for on the terminal.
    Create {
        /// The user's name.
        name: String,
        /// Allow everything.
        #[arg(long, value_parser = FalseyValueParser::new())]
        admin: bool,
        /// Read the password from standard input.
        #[arg(long, value_parser = FalseyValueParser::new())]
        password_stdin: bool,
        /// Make a user who signs in with keys only.
        #[arg(long, conflicts_with = "password_stdin", value_parser = FalseyValueParser::new())]
        no_password: bool,
        /// The managed policy that bounds what the user may ever do.
        #[arg(long)]
        boundary: Option<String>,
        #[command(flatten)]
        database: Database,
    },
    /// Change a user's tags or boundary, one of them at a time.
    #[command(group = setting(&[]))]
    Set {
        #[command(flatten)]
        one: One,
        #[command(flatten)]
        settings: Settings,
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
        #[arg(long, value_parser = FalseyValueParser::new())]
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

/// What users and roles have alike and may be given anew.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// A tag, in place of all there were; give it several times for several.
    #[arg(long = "tag", value_name = "NAME=VALUE", value_parser = tag)]
    tags: Vec<(String, String)>,
    /// Take all tags away.
    #[arg(long, value_parser = FalseyValueParser::new())]
    no_tags: bool,
    /// The managed policy that bounds what they may ever do.
    #[arg(long, value_name = "POLICY")]
    boundary: Option<String>,
    /// Take the boundary away.
    #[arg(long, value_parser = FalseyValueParser::new())]
    no_boundary: bool,
}

/// One of the settings: each is a write of its own, so two at once could be half done.
fn setting(more: &[&'static str]) -> ArgGroup {
    ArgGroup::new("setting").args(["tags", "no_tags", "boundary", "no_boundary"]).args(more).required(true)
}

fn tag(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("a tag is written NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

impl Settings {
    fn apply(self, noun: Noun, one: &One, as_json: bool) -> Result<()> {
        if let Some(boundary) = &self.boundary {
            return change(noun, one, Change::Boundary(Some(boundary)), as_json);
        }
        if self.no_boundary {
            return change(noun, one, Change::Boundary(None), as_json);
        }
        // A flag that its variable says no to counts as given on the command line, and changes nothing.
        if self.tags.is_empty() && !self.no_tags {
            return Err(Error::invalid("there is nothing to change; give --tag, --no-tags, --boundary or --no-boundary"));
        }
        let mut tags = HashMap::new();
        for (name, value) in self.tags {
            if let Some(other) = tags.insert(name.clone(), value) {
                return Err(Error::invalid(format!("tag `{name}` is given twice, once as `{other}`")));
            }
        }
        change(noun, one, Change::Tags(&tags), as_json)
    }
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
        #[arg(long, value_name = "FILE")]
        trust: PathBuf,
    },
    /// Change a role's trust policy, tags or boundary, one of them at a time.
    #[command(group = setting(&["trust"]))]
    Set {
        #[command(flatten)]
        one: One,
        /// The new trust policy's file: who may assume the role.
        #[arg(long, value_name = "FILE")]
        trust: Option<PathBuf>,
        #[command(flatten)]
        settings: Settings,
    },
    /// List roles.
    List(Database),
    /// Show a role.
    Show(One),
    /// Delete a role.
    Delete(One),
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
    if noun == Noun::User && database.must_exist().is_err() {
        // The first administrator makes the file, but not when they will be refused. Hashing is what checks a password.
        Name::parse(name)?;
        new.password.map(hash_password).transpose()?;
    }
    let (service, caller) = if noun == Noun::User { database.open_or_make()? } else { database.open()? };
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
    typed_twice(|prompt| rpassword::prompt_password(prompt))
}

/// A password as `ask` reads it from a terminal, which shows nothing of it: twice, so that a slip of the finger does not
/// lock out the one administrator there is.
fn typed_twice(mut ask: impl FnMut(&str) -> std::io::Result<String>) -> Result<String> {
    let mut ask = |prompt: &str| {
        ask(prompt)
            .map_err(|error| Error::invalid("there is no terminal to ask for the password; give it with --password-stdin").because(error))
    };
    let password = ask("Password: ")?;
    if ask("The same again: ")? != password {
        return Err(Error::invalid("the two passwords differ and nothing was changed; try again"));
    }
    Ok(password)
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
            Self::Set { one, settings } => settings.apply(Noun::User, &one, as_json),
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
            Self::Set { one, trust: Some(trust), .. } => change(Noun::Role, &one, Change::Trust(&super::policy::read(&trust)?), as_json),
            Self::Set { one, trust: None, settings } => settings.apply(Noun::Role, &one, as_json),
            Self::List(database) => list(Noun::Role, &database, as_json),
            Self::Show(one) => show(Noun::Role, &one),
            Self::Delete(one) => delete(Noun::Role, &one, as_json),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_typed_on_a_terminal_is_typed_twice_alike() {
        let typed = |lines: &[&str]| {
            let mut lines = lines.iter();
            typed_twice(|_| lines.next().map(|line| (*line).to_owned()).ok_or_else(|| std::io::Error::other("no more was typed")))
        };
        assert_eq!(typed(&["a long one", "a long one"]).unwrap(), "a long one");
        assert!(typed(&["a long one", "a lomg one"]).unwrap_err().message().contains("differ"));
        assert!(typed(&["a long one"]).unwrap_err().message().contains("--password-stdin"));
    }
}
