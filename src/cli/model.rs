//! `rookery model …`: the models of a running server, and what a model file is.
#![expect(clippy::indexing_slicing, reason = "reading a member of a JSON value never panics: an absent one is null")]

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Body, Server, encoded};
use super::{Onnxruntime, output};
use crate::artifact::{Artifact, Limits};
use crate::config;
use crate::error::{Error, Result};
use crate::names::{ModelPath, counted, shown};
use crate::runtime::{self, Answered, Schema};
use crate::tensor::Part;

/// Column names that `check` shows in a line, and the lines of inputs and outputs.
const NAMES_SHOWN: usize = 20;

/// Models of a running server.
#[derive(Debug, Subcommand)]
pub(super) enum ModelVerb {
    /// Upload a model file, or a new version of it.
    Put {
        /// Where: collection/key.
        path: String,
        /// The artifact.
        file: PathBuf,
        /// Only if the path is new.
        #[arg(long, value_parser = FalseyValueParser::new())]
        new: bool,
        #[command(flatten)]
        server: Server,
    },
    /// Say what a model file is and what it takes, or why it would be refused, without a server.
    Check {
        /// The artifact.
        file: PathBuf,
        #[command(flatten)]
        onnxruntime: Onnxruntime,
    },
    /// List models.
    List {
        /// Only those whose path begins so.
        #[arg(default_value = "")]
        prefix: String,
        #[command(flatten)]
        server: Server,
    },
    /// Show a model and what its path has pointed at.
    Show(One),
    /// Delete a model.
    Rm(One),
    /// Point a path back at its version before the current, or at the one named.
    Rollback {
        #[command(flatten)]
        one: One,
        /// The version: 64 hexadecimal digits.
        #[arg(long)]
        to: Option<String>,
    },
    /// Keep a model in memory whatever else needs the room.
    Pin(One),
    /// Let a model be evicted again.
    Unpin(One),
    /// Load a model ahead of its first call.
    Load(One),
    /// Show what is in memory and what went.
    Memory {
        #[command(flatten)]
        server: Server,
    },
}

/// One model.
#[derive(Debug, Args)]
pub(super) struct One {
    /// Its path.
    path: String,
    #[command(flatten)]
    server: Server,
}

impl One {
    /// A change whose result, if it has one, only scripts read.
    fn change(&self, method: &str, what: &str, as_json: bool) -> Result<()> {
        let done = self.server.call(method, &format!("/api/v1/{what}/{}", encoded(&self.path)), None)?;
        match done {
            Value::Null => output::done(as_json),
            done if as_json => output::value(&done),
            _ => {}
        }
        Ok(())
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// Opens an artifact. What is no regular file, as a pipe, has no length.
fn opened(file: &Path) -> Result<(File, Option<u64>)> {
    let unreadable = |error: std::io::Error| Error::invalid(format!("cannot read `{}`: {error}", file.display())).because(error);
    let open = File::open(file).map_err(unreadable)?;
    let about = open.metadata().map_err(unreadable)?;
    if about.is_dir() {
        return Err(Error::invalid(format!("`{}` is a folder; give the model's file, or an archive of the folder", file.display())));
    }
    Ok((open, about.is_file().then_some(about.len())))
}

fn put(path: &str, file: &Path, new: bool, server: &Server, as_json: bool) -> Result<()> {
    // What no server takes is told before all of a file is sent.
    ModelPath::parse(path)?;
    let (open, length) = opened(file)?;
    let bar = output::progress(length.unwrap_or_default(), "uploading");
    let mut reader = bar.wrap_read(open);
    let headers: &[(&str, &str)] = if new { &[("if-none-match", "*")] } else { &[] };
    let answer = server.send("PUT", &format!("/api/v1/models/{}", encoded(path)), headers, Body::Reader(&mut reader, length));
    bar.finish_and_clear();
    let done = answer?.good()?.json()?;
    if as_json {
        output::value(&done);
    } else {
        let features = done["features"].as_u64().and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
        output::line(format_args!(
            "{path}: {} {}, {}, {} bytes in memory, version {}",
            text(&done["format"]),
            text(&done["kind"]),
            counted(features, "feature"),
            done["memoryBytes"],
            text(&done["version"])
        ));
    }
    Ok(())
}

/// A line for each of the first few.
fn listed<'a, T>(all: &'a [T], line: impl Fn(&'a T) -> String) -> impl Iterator<Item = Vec<String>> {
    let more = (all.len() > NAMES_SHOWN).then(|| format!("and {} more; --json lists all", all.len() - NAMES_SHOWN));
    all.iter().take(NAMES_SHOWN).map(line).chain(more).map(|line| vec![String::new(), line])
}

/// The categories' texts of every column that has some.
fn categories(schema: &Schema) -> Value {
    schema.names.categories_by_name().map(|(name, texts)| (name, json!(&**texts))).collect::<serde_json::Map<_, _>>().into()
}

/// Prepares and loads the file as an upload and a first call would, and says what came of it.
fn check(file: &Path, as_json: bool) -> Result<()> {
    let (open, length) = opened(file)?;
    let started = Instant::now();
    let artifact = Artifact::read_if(BufReader::new(open), length.unwrap_or_default(), Limits::default(), |_| true)?;
    let prepared = runtime::prepare(artifact)?;
    let prepare = started.elapsed();
    let length = prepared.bytes.len() as u64;
    let started = Instant::now();
    let model = runtime::load(&prepared.summary.format, &mut prepared.bytes.as_slice(), length)?;
    let load = started.elapsed();
    let (summary, schema) = (&prepared.summary, model.schema());
    let millis = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    if as_json {
        output::value(&json!({
            "format": summary.format, "kind": summary.kind, "library": summary.library, "features": summary.features,
            "featureNames": summary.names, "inputs": schema.parts.as_slice(), "outputs": summary.outputs, "answers": summary.answers,
            "categories": categories(schema), "missingValues": schema.missing,
            "trees": summary.trees, "memoryBytes": model.weight(), "preparedBytes": length, "prepareMillis": millis(prepare),
            "loadMillis": millis(load),
        }));
        return Ok(());
    }
    let mut rows = vec![
        vec!["format".to_owned(), format!("{} {}", summary.format, summary.kind)],
        vec!["written by".to_owned(), summary.library.clone().unwrap_or_else(|| "not said".to_owned())],
        vec![
            "takes".to_owned(),
            format!("{} per row{}", counted(schema.features, "value"), if schema.missing { ", missing ones too" } else { "" }),
        ],
    ];
    rows.extend(listed(&summary.inputs, |Part { name, kind, columns }| format!("`{}`: {columns} of {}", shown(name), kind.exact())));
    if schema.parts.len() == 1 && !schema.names.is_empty() {
        let names: Vec<String> = schema.names.iter().take(NAMES_SHOWN).map(|name| shown(name)).collect();
        let more = if schema.names.len() > NAMES_SHOWN { ", …" } else { "" };
        rows.push(vec!["columns".to_owned(), format!("{}{more}", names.join(", "))]);
    }
    for (column, texts) in schema.names.categorical() {
        let name = schema.names.get(column).map_or_else(|| format!("column {}", column + 1), |name| shown(name));
        let some: Vec<String> = texts.iter().take(NAMES_SHOWN).map(|text| format!("`{}`", shown(text))).collect();
        let more = if texts.len() > NAMES_SHOWN { ", …" } else { "" };
        rows.push(vec![format!("{name}: a code or one of"), format!("{}{more}", some.join(", "))]);
    }
    rows.push(vec!["answers".to_owned(), format!("{} per row", counted(summary.outputs, "value"))]);
    rows.extend(listed(&summary.answers, |Answered { name, answered, kind, columns }| {
        format!("`{}`: {columns} of {}, as `{}`", shown(name), kind.exact(), shown(answered))
    }));
    rows.extend(summary.trees.map(|trees| vec!["trees".to_owned(), trees.to_string()]));
    rows.push(vec!["memory".to_owned(), format!("{} bytes", model.weight())]);
    rows.push(vec!["prepared in".to_owned(), format!("{} ms, once, at upload", millis(prepare))]);
    rows.push(vec!["loaded in".to_owned(), format!("{} ms, when first called", millis(load))]);
    output::table(&["", ""], &rows);
    Ok(())
}

fn list(prefix: &str, server: &Server, as_json: bool) -> Result<()> {
    let all = server.list(&format!("/api/v1/models?prefix={}", encoded(prefix)), "models")?;
    if as_json {
        output::value(&Value::Array(all));
        return Ok(());
    }
    let row = |model: &Value| {
        let loaded = if model["loaded"] == true { "loaded" } else { "" };
        vec![
            text(&model["path"]),
            text(&model["bytes"]),
            text(&model["format"]),
            text(&model["features"]),
            text(&model["version"]).chars().take(12).collect(),
            loaded.to_owned(),
        ]
    };
    output::table(&["PATH", "BYTES", "FORMAT", "FEATURES", "VERSION", ""], &all.iter().map(row).collect::<Vec<_>>());
    Ok(())
}

impl ModelVerb {
    pub(super) fn run(self, as_json: bool) -> Result<()> {
        match self {
            Self::Put { path, file, new, server } => put(&path, &file, new, &server, as_json),
            Self::Check { file, onnxruntime } => onnxruntime.start(config::half_of_memory()).and_then(|()| check(&file, as_json)),
            Self::List { prefix, server } => list(&prefix, &server, as_json),
            Self::Show(One { path, server }) => {
                let mut shown = server.call("GET", &format!("/api/v1/models/{}", encoded(&path)), None)?;
                let versions = server.call("GET", &format!("/api/v1/versions/{}", encoded(&path)), None)?;
                if let Some(shown) = shown.as_object_mut() {
                    shown.insert("versions".to_owned(), versions["versions"].clone());
                }
                output::value(&shown);
                Ok(())
            }
            Self::Rm(one) => one.change("DELETE", "models", as_json),
            Self::Rollback { one, to } => {
                let body = to.map_or(json!({}), |version| json!({ "version": version }));
                let done = one.server.call("POST", &format!("/api/v1/rollback/{}", encoded(&one.path)), Some(&body))?;
                if as_json {
                    output::value(&done);
                } else {
                    output::line(format_args!("{} is at version {}", one.path, text(&done["version"])));
                }
                Ok(())
            }
            Self::Pin(one) => one.change("PUT", "cache/pins", as_json),
            Self::Unpin(one) => one.change("DELETE", "cache/pins", as_json),
            Self::Load(one) => one.change("POST", "cache/load", as_json),
            Self::Memory { server } => {
                output::value(&server.call("GET", "/api/v1/cache", None)?);
                Ok(())
            }
        }
    }
}
