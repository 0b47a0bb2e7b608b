//! The command line: what may be typed, and which file does it.
//!
//! Verbs that administer open the database file (`--db`) and work beside a running server; verbs that use the service
//! speak to its address (`--url`) with the credential in `ROOKERY_TOKEN`. Next: `serve.rs`, `demo/mod.rs`.

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

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand};

use crate::error::Result;

/// Thousands of small models behind one endpoint, from one file, with access per model.
#[derive(Debug, Parser)]
#[command(name = "rookery", version, max_term_width = 100)]
struct Cli {
    /// Answer in JSON.
    #[arg(long, global = true, env = "ROOKERY_JSON", value_parser = FalseyValueParser::new())]
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
    #[arg(long, env = "ROOKERY_DB", default_value = "rookery.db", value_name = "FILE")]
    db: PathBuf,
}

/// Who runs graphs that are not run here.
#[derive(Debug, Clone, Args)]
struct Onnxruntime {
    /// onnxruntime's shared library, for ONNX graphs with operators that Rookery does not have. It is native code that
    /// reads what is uploaded. Needs a build with `--features onnxruntime`.
    #[arg(long, env = "ROOKERY_ONNXRUNTIME", value_name = "LIBRARY")]
    onnxruntime: Option<PathBuf>,
}

impl Onnxruntime {
    /// Loads the library where one was named; its arrays may take `memory` bytes.
    fn start(&self, memory: u64) -> Result<()> {
        self.onnxruntime.as_deref().map_or(Ok(()), |library| crate::runtime::start_onnxruntime(library, memory))
    }
}

/// Runs what was typed; the exit code is 0, 1 (failed) or 2 (usage).
pub fn main() -> ExitCode {
    let cli = Cli::parse();
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
    fn open(&self) -> Result<(std::sync::Arc<crate::service::Service>, crate::authn::Caller)> {
        let service = crate::service::Service::open(crate::service::Options::new(self.db.clone(), 0))?;
        let caller = service.file_caller();
        Ok((service, caller))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn without_environment(command: &clap::Command, path: &str, found: &mut Vec<String>) {
        for argument in command.get_arguments().filter(|argument| !matches!(argument.get_id().as_str(), "help" | "version")) {
            let Some(long) = argument.get_long() else { continue };
            let wanted = format!("ROOKERY_{}", long.replace('-', "_").to_uppercase());
            if argument.get_env().is_none_or(|name| name != wanted.as_str()) {
                found.push(format!("{path} --{long}: {:?}", argument.get_env()));
            }
        }
        for verb in command.get_subcommands() {
            without_environment(verb, &format!("{path} {}", verb.get_name()), found);
        }
    }

    #[test]
    fn every_flag_has_its_environment_variable() {
        let mut command = Cli::command();
        command.build();
        let mut found = Vec::new();
        without_environment(&command, "rookery", &mut found);
        assert!(found.is_empty(), "{found:#?}");
    }
}
