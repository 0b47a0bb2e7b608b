//! A small HTTP client for the verbs that use a running server.
#![expect(clippy::indexing_slicing, reason = "reading a member of a JSON value never panics: an absent one is null")]

use std::io::Read;
use std::time::Duration;

use clap::Args;
use serde_json::Value;
use ureq::{Agent, SendBody};

use crate::error::{Error, Kind, Result};

/// Which server, and who one is there.
#[derive(Debug, Clone, Args)]
pub(super) struct Server {
    /// The server's address.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub(super) url: String,
    /// A token or API key. Give it in the environment: arguments can be seen by other users.
    #[arg(long, hide_env_values = true, default_value = "")]
    pub(super) token: String,
}

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; an empty one is null.
    pub(super) fn json(&self) -> Result<Value> {
        if self.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&self.body).map_err(|error| Error::invalid("the server did not answer in JSON; check --url").because(error))
    }

    /// The answer, or the server's own refusal.
    pub(super) fn good(self) -> Result<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let message = body["error"]["message"].as_str().or(body["Message"].as_str());
        let message = message.map_or_else(|| format!("the server answered {}", self.status), str::to_owned);
        Err(Error::new(if self.status >= 500 { Kind::Unavailable } else { Kind::Validation }, message))
    }
}

/// A body to send.
pub(super) enum Body<'a> {
    None,
    Bytes(&'a [u8]),
    /// Streamed, with its length.
    Reader(&'a mut dyn Read, u64),
}

impl Server {
    pub(super) fn new(url: &str, token: &str) -> Self {
        Self { url: url.to_owned(), token: token.to_owned() }
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub(super) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Body<'_>) -> Result<Answer> {
        let agent: Agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(Duration::from_secs(10)))
            .max_redirects(0)
            .build()
            .into();
        let unreachable = |error: ureq::Error| {
            Error::new(Kind::Unavailable, format!("no answer from {}: {error}; is the server running? (--url or ROOKERY_URL)", self.url))
                .because(error)
        };
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url.trim_end_matches('/')));
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let bad = |error: ureq::http::Error| Error::invalid(format!("the request cannot be sent: {error}")).because(error);
        let mut answer = match body {
            Body::None => agent.run(request.body(()).map_err(bad)?).map_err(unreachable)?,
            Body::Bytes(bytes) => agent.run(request.body(bytes).map_err(bad)?).map_err(unreachable)?,
            Body::Reader(reader, length) => {
                let request = request.header("content-length", length.to_string());
                agent.run(request.body(SendBody::from_reader(reader)).map_err(bad)?).map_err(unreachable)?
            }
        };
        let headers = answer.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect();
        let body = answer.body_mut().with_config().limit(256 << 20).read_to_vec().map_err(unreachable)?;
        Ok(Answer { status: answer.status().as_u16(), headers, body })
    }

    /// A whole list, page by page; `path` may have a query.
    pub(super) fn list(&self, path: &str, noun: &str) -> Result<Vec<Value>> {
        let (mut all, mut after) = (Vec::new(), String::new());
        let joint = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = self.call("GET", &format!("{path}{joint}after={}&limit=1000", encoded(&after)), None)?;
            all.extend(page[noun].as_array().cloned().unwrap_or_default());
            match page["next"].as_str() {
                Some(next) => after = next.to_owned(),
                None => return Ok(all),
            }
        }
    }

    /// A JSON request and its JSON answer.
    pub(super) fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let text = body.map(Value::to_string);
        let body = text.as_deref().map_or(Body::None, |text| Body::Bytes(text.as_bytes()));
        self.send(method, path, &[("content-type", "application/json")], body)?.good()?.json()
    }
}

/// A model path for a URL: what is not plain is percent-encoded, slashes stay.
pub(super) fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}
