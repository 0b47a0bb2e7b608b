//! `rookery endpoint …` and `rookery invoke`: the endpoints of a running server.
#![expect(clippy::indexing_slicing, reason = "reading a member of a JSON value never panics: an absent one is null")]

use std::io::Read as _;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{ArgMatches, Args, FromArgMatches, Subcommand};
use serde_json::{Value, json};

use super::client::{Body, Server, encoded};
use super::output;
use crate::error::{Error, Result};

/// Endpoints of a running server.
#[derive(Debug, Subcommand)]
pub(super) enum EndpointVerb {
    /// Make an endpoint: of one variant whose stages run in the order given, or of all that a file says.
    Create {
        /// The endpoint's name.
        name: String,
        #[command(flatten)]
        pipeline: Pipeline,
        #[command(flatten)]
        server: Server,
    },
    /// List endpoints.
    List {
        #[command(flatten)]
        server: Server,
    },
    /// Show an endpoint.
    Show(One),
    /// Delete an endpoint; its models stay.
    Rm(One),
}

/// One endpoint.
#[derive(Debug, Args)]
pub(super) struct One {
    /// Its name.
    name: String,
    #[command(flatten)]
    server: Server,
}

/// What an endpoint runs.
#[derive(Debug)]
pub(super) enum Pipeline {
    /// `--stage` and `--prefix` in the order they were typed, which derived flags do not keep.
    Stages(Vec<Value>),
    /// `--file`: all that the API takes.
    File(PathBuf),
}

impl Args for Pipeline {
    fn augment_args(command: clap::Command) -> clap::Command {
        command
            .arg(
                clap::Arg::new("stage")
                    .long("stage")
                    .value_name("MODEL")
                    .action(clap::ArgAction::Append)
                    .help("A stage that always runs this model"),
            )
            .arg(
                clap::Arg::new("prefix")
                    .long("prefix")
                    .value_name("PREFIX")
                    .action(clap::ArgAction::Append)
                    .help("A stage that runs the model the caller names under this prefix"),
            )
            .arg(
                clap::Arg::new("postprocess")
                    .long("postprocess")
                    .value_name("JSON")
                    .action(clap::ArgAction::Append)
                    .help("A stage that works on the scores before it, such as {\"labels\":[\"no\",\"yes\"],\"round\":3}"),
            )
            .arg(
                clap::Arg::new("output")
                    .long("output")
                    .value_name("WORDS")
                    .action(clap::ArgAction::Append)
                    .help("What the stage before it shows, such as predicted_label,probability"),
            )
            .arg(
                clap::Arg::new("file")
                    .long("file")
                    .value_name("FILE")
                    .value_parser(clap::value_parser!(PathBuf))
                    .conflicts_with_all(["stage", "prefix", "postprocess", "output"])
                    .help("The endpoint as JSON, as POST /api/v1/endpoints takes it: `stages`, or `variants` with weights"),
            )
            .group(clap::ArgGroup::new("stages").args(["stage", "prefix", "file"]).multiple(true).required(true))
    }

    fn augment_args_for_update(command: clap::Command) -> clap::Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Pipeline {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        if let Some(file) = matches.get_one::<PathBuf>("file") {
            return Ok(Self::File(file.clone()));
        }
        let usage = |text: &str| clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{text}\n"));
        let mut found: Vec<(usize, &str, Value)> = Vec::new();
        for (flag, key) in [("stage", "model"), ("prefix", "prefix"), ("postprocess", "postprocess"), ("output", "output")] {
            let values = matches.get_many::<String>(flag).into_iter().flatten();
            for (at, value) in matches.indices_of(flag).into_iter().flatten().zip(values) {
                let value = match flag {
                    "postprocess" => serde_json::from_str(value).map_err(|error| usage(&format!("--postprocess is no JSON: {error}")))?,
                    "output" => value.split(',').map(str::trim).collect(),
                    _ => Value::from(value.as_str()),
                };
                found.push((at, key, value));
            }
        }
        found.sort_by_key(|(at, ..)| *at);
        let mut stages: Vec<Value> = Vec::new();
        for (_, key, value) in found {
            if key == "output" {
                let stage = stages.last_mut().and_then(Value::as_object_mut);
                stage.ok_or_else(|| usage("--output comes after the --stage or --prefix it belongs to"))?.insert(key.to_owned(), value);
            } else {
                stages.push(json!({ key: value }));
            }
        }
        Ok(Self::Stages(stages))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Pipeline {
    /// The endpoint called `name` as the API takes it.
    fn body(self, name: &str) -> Result<Value> {
        let path = match self {
            Self::Stages(stages) => return Ok(json!({ "name": name, "stages": stages })),
            Self::File(path) => path,
        };
        let bad = |what: String| Error::invalid(format!("`{}` {what}", path.display()));
        let text = super::policy::read(&path)?;
        let mut body: Value = serde_json::from_str(&text).map_err(|error| bad(format!("is no JSON: {error}")).because(error))?;
        let members = body.as_object_mut().ok_or_else(|| bad("is no JSON object with `stages` or `variants`".to_owned()))?;
        // A file that was written for another endpoint is not put under this name unnoticed.
        match members.insert("name".to_owned(), Value::from(name)) {
            Some(other) if other != *name => {
                Err(bad(format!("names the endpoint {other}, and you `{name}`; give the same name or leave it out there")))
            }
            _ => Ok(body),
        }
    }
}

impl EndpointVerb {
    pub(super) fn run(self, as_json: bool) -> Result<()> {
        match self {
            Self::Create { name, pipeline, server } => {
                let made = server.call("POST", "/api/v1/endpoints", Some(&pipeline.body(&name)?))?;
                if as_json {
                    output::value(&made);
                } else {
                    output::line(format_args!(
                        "created {}; predict at {}/endpoints/{name}/invocations",
                        made["arn"].as_str().unwrap_or_default(),
                        server.url
                    ));
                }
                Ok(())
            }
            Self::List { server } => {
                let all = server.list("/api/v1/endpoints", "endpoints")?;
                if as_json {
                    output::value(&Value::Array(all));
                    return Ok(());
                }
                let row = |endpoint: &Value| {
                    let variants = endpoint["variants"].as_array().map_or(0, Vec::len);
                    vec![endpoint["name"].as_str().unwrap_or_default().to_owned(), variants.to_string()]
                };
                output::table(&["NAME", "VARIANTS"], &all.iter().map(row).collect::<Vec<_>>());
                Ok(())
            }
            Self::Show(One { name, server }) => {
                output::value(&server.call("GET", &format!("/api/v1/endpoints/{}", encoded(&name)), None)?);
                Ok(())
            }
            Self::Rm(One { name, server }) => {
                server.call("DELETE", &format!("/api/v1/endpoints/{}", encoded(&name)), None)?;
                output::done(as_json);
                Ok(())
            }
        }
    }
}

/// Predict with an endpoint of a running server.
#[derive(Debug, Args)]
pub(super) struct Invoke {
    /// The endpoint.
    endpoint: String,
    /// The rows; `-` or nothing reads standard input.
    file: Option<PathBuf>,
    /// The model under the multi-model stage's prefix.
    #[arg(long)]
    target_model: Option<String>,
    /// The variant, instead of one by weight.
    #[arg(long)]
    target_variant: Option<String>,
    /// What the rows are.
    #[arg(long, default_value = "text/csv")]
    content_type: String,
    /// What the answer is to be.
    #[arg(long, default_value = "application/json")]
    accept: String,
    /// Say beside each answer what every column adds to it (tree models).
    #[arg(long, value_parser = FalseyValueParser::new())]
    explain: bool,
    #[command(flatten)]
    server: Server,
}

impl Invoke {
    pub(super) fn run(self, as_json: bool) -> Result<()> {
        let unreadable = |error: std::io::Error| Error::invalid(format!("the rows cannot be read: {error}")).because(error);
        let rows = match &self.file {
            Some(path) if path.as_os_str() != "-" => std::fs::read(path).map_err(unreadable)?,
            _ => {
                let mut rows = Vec::new();
                std::io::stdin().read_to_end(&mut rows).map_err(unreadable)?;
                rows
            }
        };
        let mut headers = vec![("content-type", self.content_type.as_str()), ("accept", self.accept.as_str())];
        if let Some(target) = &self.target_model {
            headers.push(("x-amzn-sagemaker-target-model", target));
        }
        if let Some(variant) = &self.target_variant {
            headers.push(("x-amzn-sagemaker-target-variant", variant));
        }
        if self.explain {
            headers.push(("x-amzn-sagemaker-enable-explanations", "`true`"));
        }
        let answer = self
            .server
            .send("POST", &format!("/endpoints/{}/invocations", encoded(&self.endpoint)), &headers, Body::Bytes(&rows))?
            .good()?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if as_json {
            let header = |name: &str| answer.header(name).map(str::to_owned);
            output::value(&json!({
                "variant": header("x-amzn-invoked-production-variant"), "version": header("x-rookery-model-version"),
                "timing": header("server-timing"), "body": serde_json::from_str::<Value>(&text).unwrap_or(Value::String(text)),
            }));
        } else {
            output::line(text.trim_end());
        }
        Ok(())
    }
}
