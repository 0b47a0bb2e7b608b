//! A small HTTP client for the verbs that use a running server.
#![expect(clippy::indexing_slicing, reason = "reading a member of a JSON value never panics: an absent one is null")]

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rustls::{CertificateError, RootCertStore};
use serde_json::Value;
use ureq::http::request::Builder;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, SendBody};

use crate::error::{Error, Kind, Result};
use crate::names::shown;

/// Which server, and who one is there.
#[derive(Debug, Clone, Args)]
pub(super) struct Server {
    /// The server's address.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub(super) url: String,
    /// A token or API key. Give it in the environment: arguments can be seen by other users.
    #[arg(long, hide_env_values = true, default_value = "")]
    pub(super) token: String,
    /// A PEM file of the certificate authorities to trust instead of the public ones, for a server whose certificate is
    /// of one's own making.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
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
    /// Streamed, with its length where that is known.
    Reader(&'a mut dyn Read, Option<u64>),
}

impl Server {
    pub(super) fn new(url: &str, token: &str) -> Self {
        Self { url: url.to_owned(), token: token.to_owned(), ca: None }
    }

    fn agent(&self) -> Result<Agent> {
        let config = Agent::config_builder().http_status_as_error(false).timeout_connect(Some(Duration::from_secs(10))).max_redirects(0);
        let config = match &self.ca {
            Some(file) => config.tls_config(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&authorities(file)?)).build()),
            None => config,
        };
        Ok(config.build().into())
    }

    fn request(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Builder> {
        let begins = |scheme: &str| self.url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
        if !begins("http://") && !begins("https://") {
            return Err(Error::invalid(format!("--url is an address with http:// or https:// in front, not `{}`", shown(&self.url))));
        }
        let mut request = ureq::http::Request::builder().method(method).uri(format!("{}{path}", self.url.trim_end_matches('/')));
        if !self.token.is_empty() {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Ok(request)
    }

    /// Sends a request and reads the whole answer, whatever its status.
    pub(super) fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Body<'_>) -> Result<Answer> {
        let (agent, mut request) = (self.agent()?, self.request(method, path, headers)?);
        let bad = |error: ureq::http::Error| Error::invalid(format!("the request cannot be sent: {error}")).because(error);
        let answered = match body {
            Body::None => agent.run(request.body(()).map_err(bad)?),
            Body::Bytes(bytes) => agent.run(request.body(bytes).map_err(bad)?),
            Body::Reader(reader, length) => {
                if let Some(length) = length {
                    request = request.header("content-length", length.to_string());
                }
                match agent.run(request.body(SendBody::from_reader(reader)).map_err(bad)?) {
                    Err(error) if broke_off(&error) => return self.refusal(method, path, headers, error),
                    answered => answered,
                }
            }
        };
        let mut answer = answered.map_err(|error| self.unanswered(error))?;
        let headers = answer.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())).collect();
        let body = answer.body_mut().with_config().limit(256 << 20).read_to_vec().map_err(|error| self.unanswered(error))?;
        Ok(Answer { status: answer.status().as_u16(), headers, body })
    }

    /// Why a streamed body was not taken to its end. A server that refuses by the head alone may hang up before its answer
    /// can be read, so it is asked once more with an empty body, of which nothing is ever made.
    fn refusal(&self, method: &str, path: &str, headers: &[(&str, &str)], broken: ureq::Error) -> Result<Answer> {
        match self.send(method, path, headers, Body::Bytes(b"")) {
            // 400 is what an empty body alone is answered.
            Ok(answer) if (401..500).contains(&answer.status) => Ok(answer),
            _ => Err(Error::new(
                Kind::Unavailable,
                format!(
                    "the connection to {} broke while the file was sent; the server may have refused it, for its size for instance",
                    self.url
                ),
            )
            .because(broken)),
        }
    }

    /// What is told of a request without an answer.
    fn unanswered(&self, error: ureq::Error) -> Error {
        let url = &self.url;
        let message = match certificate_error(&error) {
            Some(CertificateError::UnknownIssuer) => match &self.ca {
                Some(file) => format!("the certificate of {url} is of no authority in `{}`; name another with --ca", file.display()),
                None => format!("the certificate of {url} is of an unknown authority; name that with --ca FILE (or ROOKERY_CA)"),
            },
            // Among them one that is its own authority, which has no case of its own.
            Some(CertificateError::Other(_)) => format!(
                "the certificate of {url} cannot be used: {error}; one that signs itself must say that it is no authority (openssl: -addext basicConstraints=CA:FALSE)"
            ),
            Some(_) => format!("the certificate of {url} does not hold: {error}"),
            None if not_reached(&error) => format!("no answer from {url}: {error}; is the server running? (--url or ROOKERY_URL)"),
            None => format!("no answer from {url}: {error}"),
        };
        Error::new(Kind::Unavailable, message).because(error)
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

/// The certificates in a PEM file.
fn authorities(file: &Path) -> Result<Vec<Certificate<'static>>> {
    let refused = |what: &str| Error::invalid(format!("`{}` {what}; check --ca", file.display()));
    let text = std::fs::read(file).map_err(|error| refused(&format!("cannot be read: {error}")).because(error))?;
    let mut found = Vec::new();
    for item in parse_pem(&text) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| refused("is no PEM file").because(error))? {
            found.push(certificate);
        }
    }
    if found.is_empty() {
        return Err(refused("holds no certificate in PEM"));
    }
    let mut known = RootCertStore::empty();
    for certificate in &found {
        known.add(certificate.der().into()).map_err(|error| refused("holds a certificate that cannot be read").because(error))?;
    }
    Ok(found)
}

/// Whether the server, once it was reached, hung up.
fn broke_off(error: &ureq::Error) -> bool {
    let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset, ErrorKind::ConnectionAborted, ErrorKind::UnexpectedEof];
    matches!(error, ureq::Error::Io(error) if kinds.contains(&error.kind()))
}

/// Whether nobody is there to answer, as far as can be told.
fn not_reached(error: &ureq::Error) -> bool {
    let kinds = [ErrorKind::ConnectionRefused, ErrorKind::TimedOut, ErrorKind::HostUnreachable, ErrorKind::NetworkUnreachable];
    match error {
        ureq::Error::Io(error) => kinds.contains(&error.kind()),
        ureq::Error::Timeout(_) | ureq::Error::HostNotFound | ureq::Error::ConnectionFailed => true,
        _ => false,
    }
}

/// What is wrong with the server's certificate, if that is what is wrong.
fn certificate_error(error: &ureq::Error) -> Option<&CertificateError> {
    let error = match error {
        ureq::Error::Rustls(error) => error,
        // From within the handshake.
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref::<rustls::Error>()?,
        _ => return None,
    };
    match error {
        rustls::Error::InvalidCertificate(error) => Some(error),
        _ => None,
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
