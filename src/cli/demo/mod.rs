//! `rookery demo`: the whole walk on a temporary database, then it keeps serving.
//!
//! It starts the real server on a free port and speaks to it as any client would. Next: `housing.rs`, the models of the
//! walk; `city.rs`, tree models of the same columns for tests and benchmarks.
#![expect(clippy::indexing_slicing, reason = "reading a member of a JSON value never panics: an absent one is null")]

pub mod city;
mod housing;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::{Value, json};

use super::client::{Answer, Body, Server};
use super::{output, serve};
use crate::authn::random;
use crate::config::Listen;
use crate::error::{Error, Kind, Result};
use crate::http;
use crate::names::hex;
use crate::service::principals::NewOne;
use crate::service::{Options, Service};

const CITIES: [(&str, f32); 4] =
    [("NewYork_NY", 620_000.0), ("Chicago_IL", 340_000.0), ("Houston_TX", 280_000.0), ("LosAngeles_CA", 710_000.0)];
/// What the caller may do: call one city's model.
const CALLER_POLICY: &str = r#"{
  "Version": "2012-10-17",
  "Statement": [{
    "Sid": "OneCity",
    "Effect": "Allow",
    "Action": "sagemaker:InvokeEndpoint",
    "Resource": "arn:aws:sagemaker:*:*:endpoint/housing",
    "Condition": {"StringLike": {"sagemaker:TargetModel": ["NewYork_NY/*"]}}
  }]
}"#;

/// Show all of it in one go.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: std::net::SocketAddr,
    /// Stop after the walk.
    #[arg(long, value_parser = FalseyValueParser::new())]
    once: bool,
}

/// A folder that goes with the demo.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("rookery-demo-{}", hex(&random::<8>()?)));
        fs::create_dir(&path).map_err(|error| Error::new(Kind::Unavailable, format!("cannot make `{}`: {error}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Demo {
    pub(super) fn run(self) -> Result<ExitCode> {
        serve::start_log("warn");
        let folder = Folder::new()?;
        let service = Service::open(Options::new(folder.0.join("demo.db"), 256 << 20))?;
        let password = hex(&random::<8>()?);
        let new = NewOne { password: Some(&password), administrator: true, ..NewOne::default() };
        service.create_principal(&service.file_caller(), crate::names::Noun::User, "admin", &new)?;
        service.start_housekeeping()?;
        let listen = Listen::new(self.listen, serve::cores());
        listen.check(false)?;
        let (tell, told) = mpsc::channel();
        let server = thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let running = http::start(service, &listen);
                match running {
                    Ok(running) => {
                        let _ = tell.send(Ok((running.address, running.handle())));
                        running.run().await
                    }
                    Err(error) => {
                        let _ = tell.send(Err(error.clone()));
                        Err(error)
                    }
                }
            })
        });
        let (address, handle) = told.recv().map_err(Error::internal)??;
        let url = format!("http://{address}");
        let walked = walk(&url, &password);
        if self.once || walked.is_err() {
            actix_web::rt::System::new().block_on(handle.stop(true));
        }
        walked?;
        if !self.once {
            output::line("\nServing until Ctrl-C.");
        }
        match server.join() {
            Ok(result) => result.map(|()| ExitCode::SUCCESS),
            Err(_) => Err(Error::new(Kind::Internal, "the demo's server ended in a panic")),
        }
    }
}

fn walk(url: &str, password: &str) -> Result<()> {
    let login = Server::new(url, "").call("POST", "/api/v1/login", Some(&json!({ "name": "admin", "password": password })))?;
    let token = login["token"].as_str().unwrap_or_default().to_owned();
    let admin = Server::new(url, &token);

    output::line("Uploading the preprocessor and four city models …");
    let upload = |path: &str, model: &[u8]| -> Result<()> {
        let done = admin.send("PUT", &format!("/api/v1/models/{path}"), &[], Body::Bytes(model))?.good()?.json()?;
        output::line(format_args!(
            "  {path}  {} {}, {} columns, {} bytes in memory",
            done["format"].as_str().unwrap_or_default(),
            done["kind"].as_str().unwrap_or_default(),
            done["features"],
            done["memoryBytes"]
        ));
        Ok(())
    };
    upload("housing/preprocess.onnx", housing::PREPROCESS)?;
    let preprocessor = housing::preprocessor()?;
    for (seed, (city, level)) in CITIES.iter().enumerate() {
        upload(&format!("housing/cities/{city}/model.tar.gz"), &housing::city(preprocessor.as_ref(), seed as u64, *level)?)?;
    }
    let stages = json!([{ "model": "housing/preprocess.onnx" }, { "prefix": "housing/cities/" }, { "postprocess": { "round": 2 } }]);
    admin.call("POST", "/api/v1/endpoints", Some(&json!({ "name": "housing", "stages": stages })))?;
    output::line("Made endpoint `housing`: preprocess.onnx, then the city's model, then rounding");
    admin.call("POST", "/api/v1/users", Some(&json!({ "name": "ana" })))?;
    admin.send("PUT", "/api/v1/users/ana/policies/one-city", &[], Body::Bytes(CALLER_POLICY.as_bytes()))?.good()?;
    let key = admin.call("POST", "/api/v1/keys", Some(&json!({ "user": "ana", "kind": "api" })))?;
    let key = key["ApiKey"].as_str().unwrap_or_default().to_owned();
    output::line("Made user `ana`, who may call the model of New York and no other\n");

    let ana = Server::new(url, &key);
    let predict = |city: &str| -> Result<(Answer, f64)> {
        let target = format!("{city}/model.tar.gz");
        let started = Instant::now();
        let headers = [("content-type", "text/csv"), ("x-amzn-sagemaker-target-model", target.as_str())];
        let answer = ana.send("POST", "/endpoints/housing/invocations", &headers, Body::Bytes(housing::HOUSE.as_bytes()))?;
        Ok((answer, started.elapsed().as_secs_f64() * 1000.0))
    };
    for kind in ["cold", "warm"] {
        let (answer, millis) = predict("NewYork_NY")?;
        let answer = answer.good()?;
        output::line(format_args!(
            "{kind}: {} in {millis:.2} ms with the connection; on the server {}",
            String::from_utf8_lossy(&answer.body),
            answer.header("server-timing").unwrap_or_default()
        ));
    }
    let (denied, _) = predict("Chicago_IL")?;
    let body: Value = denied.json()?;
    output::line(format_args!("denied: {} {}", denied.status, body["Message"].as_str().unwrap_or_default()));
    if denied.status != 403 {
        return Err(Error::new(Kind::Internal, "a caller reached a model that is not theirs"));
    }

    let replaced = housing::city(preprocessor.as_ref(), 77, 655_000.0)?;
    admin.send("PUT", "/api/v1/models/housing/cities/NewYork_NY/model.tar.gz", &[], Body::Bytes(&replaced))?.good()?;
    let (answer, _) = predict("NewYork_NY")?;
    let answer = answer.good()?;
    output::line(format_args!(
        "replaced: {} by version {}\n",
        String::from_utf8_lossy(&answer.body),
        answer
            .header("x-rookery-model-version")
            .and_then(|versions| versions.split(", ").nth(1))
            .and_then(|version| version.get(..12))
            .unwrap_or_default()
    ));

    output::line(format_args!("Server    {url}   (console: {url}/ui/models)"));
    output::line(format_args!("Admin     admin / {password}"));
    output::line(format_args!("Caller    ana, API key {key}\n"));
    output::line("Try it:");
    output::line(format_args!(
        "  curl -s {url}/endpoints/housing/invocations -H 'Authorization: Bearer {key}' -H 'Content-Type: text/csv' -H 'X-Amzn-SageMaker-Target-Model: NewYork_NY/model.tar.gz' -d '{}'",
        housing::HOUSE
    ));
    output::line(format_args!(
        "  curl -s {url}/endpoints/housing/invocations -H 'Authorization: Bearer {key}' -H 'Content-Type: text/csv' -H 'X-Amzn-SageMaker-Target-Model: Chicago_IL/model.tar.gz' -d '{}'",
        housing::HOUSE
    ));
    output::line(format_args!("  curl -s {url}/api/v1/models -H 'Authorization: Bearer {token}'"));
    Ok(())
}
