//! The native JSON dialect, `/api/v1/…`: one file per noun.
//!
//! A handler parses, calls one verb of the service on the blocking pool, replies. Next: `models.rs` as the example.

pub(super) mod endpoints;
pub(super) mod keys;
pub(super) mod login;
pub(super) mod memory;
pub(super) mod models;
pub(super) mod policies;
pub(super) mod principals;

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::web::{Data, Payload};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{State, body, caller};
use crate::authn::Caller;
use crate::error::{Error, Result};
use crate::names::{ModelPath, shown};
use crate::service::invoke::blocking;
use crate::service::models::PAGE_MAX;
use crate::service::{PageOf, Service};

/// The longest JSON body; a policy document is the longest thing in one.
const JSON_MAX: usize = 1 << 20;

/// Identifies the sender and runs `work` as them where it may block.
async fn run<T: Send + 'static>(
    request: &HttpRequest,
    state: &Data<State>,
    work: impl FnOnce(&Arc<Service>, &Caller) -> Result<T> + Send + 'static,
) -> Result<T> {
    let caller = caller::caller(request.head(), state)?;
    let service = state.service.clone();
    blocking(move || work(&service, &caller)).await
}

/// The body as text. Whoever has no credential is refused before it is read.
async fn text(request: &HttpRequest, state: &Data<State>, payload: &mut Payload) -> Result<String> {
    let _known = caller::caller(request.head(), state)?;
    let body = body::whole(request.head(), payload, state.documents(JSON_MAX), || Ok(())).await?;
    String::from_utf8(body.bytes.to_vec()).map_err(|_| Error::invalid("the body is not UTF-8"))
}

/// The body as JSON of a shape.
async fn read_json<T: DeserializeOwned>(request: &HttpRequest, state: &Data<State>, payload: &mut Payload) -> Result<T> {
    parse(&text(request, state, payload).await?)
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| Error::invalid(format!("the body is not the JSON expected: {error}")))
}

/// A part of the path, decoded by the router.
fn part(request: &HttpRequest, name: &str) -> String {
    let found = request.match_info().get(name).unwrap_or_default();
    // The router leaves `%2B` and `%25` as they are; a name that is no percent-encoding is refused as a name.
    decoded(found).unwrap_or_else(|_| found.to_owned())
}

/// The model path after `prefix`, decoded once from the path as it was sent.
fn model_path(request: &HttpRequest, prefix: &str) -> Result<ModelPath> {
    let raw = request.uri().path().strip_prefix(prefix).ok_or_else(|| Error::invalid("the path is not spelled plainly"))?;
    ModelPath::parse(&decoded(raw)?)
}

fn decoded(raw: &str) -> Result<String> {
    let bad = || Error::invalid(format!("`{}` is not percent-encoded UTF-8", shown(raw)));
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok());
        let (high, low) = (digit(bytes.next()), digit(bytes.next()));
        out.push(high.ok_or_else(bad)? << 4 | low.ok_or_else(bad)?);
    }
    String::from_utf8(out).map_err(|_| bad())
}

/// Which page of a list: up to `limit` after the key `after`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PageQuery {
    #[serde(default)]
    after: String,
    #[serde(default = "page")]
    limit: usize,
}

/// The usual length of a page.
fn page() -> usize {
    100
}

/// A page's length as it was asked for.
fn checked(limit: usize) -> Result<usize> {
    if (1..=PAGE_MAX).contains(&limit) { Ok(limit) } else { Err(Error::invalid(format!("limit is 1 to {PAGE_MAX}"))) }
}

/// A page as `{"<noun>":[…],"next":…}`.
fn listed<T>(noun: &str, page: &PageOf<T>, shown: impl Fn(&T) -> Value) -> Value {
    json!({ noun: page.items.iter().map(shown).collect::<Vec<_>>(), "next": page.next })
}

/// The query's parameters.
fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T> {
    let query = actix_web::web::Query::<T>::from_query(request.query_string());
    query.map(actix_web::web::Query::into_inner).map_err(|error| Error::invalid(format!("the query is not as expected: {error}")))
}
