//! The command line: what may be typed, and which file does it.
//!
//! Verbs that administer open the database file (`--db`) and work beside a running server; verbs that use the service
//! speak to its address (`--url`) with the credential in `ROOKERY_TOKEN`. Every flag may come from the environment, by
//! the one rule in `variable`. Next: `serve.rs`, `demo/mod.rs`.

mod admin;
mod client;
pub mod demo;
mod endpoint;
mod key;
mod model;
mod output;
mod policy;
mod principal;
mod serve;
mod train;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::builder::FalseyValueParser;
use clap::{Args, Command, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::authn::Caller;
use crate::error::{Error, Result};
use crate::service::{Options, Service};

/// Thousands of small models behind one endpoint, from one file, with access per model.
#[derive(Debug, Parser)]
#[command(name = "rookery", version, max_term_width = 100)]
struct Cli {
    /// Answer in JSON.
    #[arg(long, global = true, value_parser = FalseyValueParser::new())]
    json: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Serve a database.
    Serve(serve::Serve),
    /// Show all of it in one go: a housing endpoint, four city models, a caller who may call one city.
    Demo(demo::Demo),
    /// Users of a database.
    #[command(subcommand)]
    User(principal::UserVerb),
    /// Groups of a database.
    #[command(subcommand)]
    Group(principal::GroupVerb),
    /// Roles of a database.
    #[command(subcommand)]
    Role(principal::RoleVerb),
    /// Managed policies of a database, and whom they are attached to.
    #[command(subcommand)]
    Policy(policy::PolicyVerb),
    /// API keys and AWS access keys of a database.
    #[command(subcommand)]
    Key(key::KeyVerb),
    /// Models of a running server.
    #[command(subcommand)]
    Model(model::ModelVerb),
    /// Endpoints of a running server.
    #[command(subcommand)]
    Endpoint(endpoint::EndpointVerb),
    /// Predict with an endpoint of a running server.
    Invoke(endpoint::Invoke),
    /// Train a small model from a CSV file.
    #[command(subcommand)]
    Train(train::TrainVerb),
    /// Decide a request without making it: by the policies of a database, or by files alone.
    Simulate(policy::Simulate),
    /// Copy a database while it serves.
    Backup(admin::Backup),
    /// Put a backup in place after verifying it.
    Restore(admin::Restore),
    /// Check every byte of a database.
    Verify(admin::Verify),
}

/// Where the database is.
#[derive(Debug, Clone, Args)]
struct Database {
    /// The database file.
    #[arg(long, default_value = "rookery.db", value_name = "FILE")]
    db: PathBuf,
}

/// Who runs graphs that are not run here.
#[derive(Debug, Clone, Args)]
struct Onnxruntime {
    /// onnxruntime's shared library, for ONNX graphs with operators that Rookery does not have. It is native code that
    /// reads what is uploaded. Needs a build with `--features onnxruntime`.
    #[arg(long, value_name = "LIBRARY")]
    onnxruntime: Option<PathBuf>,
}

impl Onnxruntime {
    /// Loads the library where one was named; its arrays may take `memory` bytes.
    fn start(&self, memory: u64) -> Result<()> {
        self.onnxruntime.as_deref().map_or(Ok(()), |library| crate::runtime::start_onnxruntime(library, memory))
    }
}

/// Flags that mean the same in every verb that has them: where things are, who one is there, how to answer.
const SHARED: [&str; 5] = ["ca", "db", "json", "token", "url"];

/// The environment variable of a flag: `ROOKERY_` and its name if it means the same wherever it is given or is one of
/// `serve`, which is set up by its environment. Every other flag has its verb in between: a variable set for one verb
/// must not make administrators, narrow keys or move the target of another.
fn variable(verb: &str, flag: &str) -> String {
    let verb = if verb == "serve" || SHARED.contains(&flag) { "" } else { verb };
    let words = verb.split(' ').chain([flag]).filter(|word| !word.is_empty());
    let words = words.map(|word| format!("_{}", word.replace('-', "_").to_uppercase()));
    format!("ROOKERY{}", words.collect::<String>())
}

/// The tree of `command`, which is called `verb`, with every flag's environment variable.
fn with_environment(command: Command, verb: &str) -> Command {
    let command = command.mut_args(|argument| match argument.get_long().map(|flag| variable(verb, flag)) {
        Some(name) => argument.env(name),
        None => argument,
    });
    command.mut_subcommands(|inner| {
        let verb = format!("{verb} {}", inner.get_name());
        with_environment(inner, verb.trim_start())
    })
}

/// Everything that may be typed.
fn command() -> Command {
    with_environment(Cli::command(), "")
}

/// Runs what was typed; the exit code is 0, 1 (failed) or 2 (usage).
pub fn main() -> ExitCode {
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.format(&mut command()).exit());
    let json = cli.json;
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            tracing::debug!(?error, "failed");
            output::fail(&error, json);
            ExitCode::from(1)
        }
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let json = cli.json;
    match cli.verb {
        Verb::Serve(serve) => return serve.run(),
        Verb::Demo(demo) => return demo.run(),
        Verb::User(verb) => verb.run(json),
        Verb::Group(verb) => verb.run(json),
        Verb::Role(verb) => verb.run(json),
        Verb::Policy(verb) => verb.run(json),
        Verb::Key(verb) => verb.run(json),
        Verb::Model(verb) => verb.run(json),
        Verb::Endpoint(verb) => verb.run(json),
        Verb::Invoke(invoke) => invoke.run(json),
        Verb::Train(verb) => verb.run(json),
        Verb::Simulate(simulate) => return simulate.run(json),
        Verb::Backup(backup) => backup.run(json),
        Verb::Restore(restore) => restore.run(json),
        Verb::Verify(verify) => verify.run(json),
    }
    .map(|()| ExitCode::SUCCESS)
}

impl Database {
    /// Opens the file as its owner. No memory is set aside for models.
    ///
    /// # Errors
    /// When there is none: a mistyped path must not become a new, empty database that then looks like a lost one.
    fn open(&self) -> Result<(Arc<Service>, Caller)> {
        self.must_exist()?;
        self.open_or_make()
    }

    /// Refuses a path at which there is no database yet.
    fn must_exist(&self) -> Result<()> {
        // What cannot be looked at for another reason is told by who opens it.
        let absent = match std::fs::metadata(&self.db) {
            Ok(file) => file.len() == 0,
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if absent {
            return Err(Error::not_found(format!("there is no database `{}`; check --db", self.db.display())));
        }
        Ok(())
    }

    /// As [`Database::open`], but a file that is not there is made: for the first start.
    fn open_or_make(&self) -> Result<(Arc<Service>, Caller)> {
        let service = Service::open(Options::new(self.db.clone(), 0))?;
        let caller = service.file_caller();
        Ok((service, caller))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Every flag below `command`: its variable, and the verbs that have it with what each says of it.
    fn flags(command: &Command, verb: &str, found: &mut BTreeMap<String, Vec<(String, String, String)>>) {
        for argument in command.get_arguments().filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version")) {
            let Some(long) = argument.get_long() else { continue };
            let name = argument.get_env().map(|name| name.to_string_lossy().into_owned());
            let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
            found.entry(name.unwrap_or_default()).or_default().push((verb.to_owned(), long.to_owned(), help));
        }
        for inner in command.get_subcommands() {
            flags(inner, format!("{verb} {}", inner.get_name()).trim_start(), found);
        }
    }

    #[test]
    fn every_flag_has_an_environment_variable_and_no_variable_two_meanings() {
        let mut command = command();
        command.build();
        let mut found = BTreeMap::new();
        flags(&command, "", &mut found);
        assert_eq!(found.get(""), None, "without a variable");
        for (name, users) in &found {
            let (verb, flag, help) = &users[0];
            assert!(users.iter().all(|user| user.1 == *flag && user.2 == *help), "{name} means several things: {users:#?}");
            assert!(users.len() == 1 || SHARED.contains(&flag.as_str()), "{name} is read by several verbs: {users:#?}");
            let plain = format!("ROOKERY_{}", flag.replace('-', "_").to_uppercase());
            let may_be_plain = verb == "serve" || SHARED.contains(&flag.as_str());
            assert_eq!(*name == plain, may_be_plain, "{verb} --{flag} has {name}");
        }
        for name in ["ROOKERY_DB", "ROOKERY_MEMORY", "ROOKERY_USER_CREATE_ADMIN", "ROOKERY_TRAIN_RANDOM_CUT_FOREST_LABEL"] {
            assert!(found.contains_key(name), "{name} is gone");
        }
        assert!(found.len() > 60, "only {} variables were found", found.len());
    }
}
