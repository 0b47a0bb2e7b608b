//! The console, `/ui/…`: pages made on the server that work without script.
//!
//! Every page goes out with a strict Content-Security-Policy; every form carries the session's token and its Origin is
//! checked. Next: `page.rs` for the frame, `sign_in.rs`, `models.rs`.

pub(super) mod models;
mod page;
pub(super) mod reference;
pub(super) mod sign_in;

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::de::DeserializeOwned;

use super::{State, body, caller, reply};
use crate::authn::{Caller, Evidence, fingerprint};
use crate::error::{Error, Kind, Result};
use crate::names::shown;
use crate::service::invoke::blocking;
use crate::store::sessions::Session;

/// The session's cookie. `__Host-` would need TLS, which a loopback console does not have.
const COOKIE: &str = "rookery_session";

/// Someone who is signed in.
struct Visitor {
    caller: Caller,
    session: Session,
}

fn cookie(request: &HttpRequest) -> Option<String> {
    let header = request.headers().get(header::COOKIE)?.to_str().ok()?;
    let mut pairs = header.split(';').filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.to_owned())
}

/// Who is signed in.
///
/// # Errors
/// [`Kind::Unauthenticated`] when nobody is, or no longer; what [`caller::transport`] refuses.
async fn visitor(request: &HttpRequest, state: &Data<State>) -> Result<Visitor> {
    let nobody = || Error::new(Kind::Unauthenticated, "sign in first");
    let cookie = cookie(request).ok_or_else(nobody)?;
    let (service, hash) = (state.service.clone(), fingerprint(&cookie));
    let session = blocking(move || service.session(&cookie)).await?.ok_or_else(nobody)?;
    let authorization: Vec<&str> = request.headers().get_all(header::AUTHORIZATION).filter_map(|value| value.to_str().ok()).collect();
    let evidence = Evidence { authorization: &authorization, session: Some((&session, hash)) };
    let caller = state.service.identify(&evidence, caller::transport(request.head(), state)?)?;
    Ok(Visitor { caller, session })
}

/// Whether a form was sent from one of our own pages.
///
/// # Errors
/// [`Kind::Denied`] when it came from elsewhere.
fn same_origin(request: &HttpRequest, state: &State) -> Result<()> {
    let host = caller::host(request.head(), state).unwrap_or_default();
    let origin = request.headers().get(header::ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
    match origin.split_once("://") {
        Some((_, origin)) if origin == host => Ok(()),
        _ => Err(Error::new(
            Kind::Denied,
            format!(
                "the form was sent from `{}`, not from this console at `{}`; open the page again and send it from there (a proxy in \
                 between must pass the Host header on, or be named with --trusted-proxy and send X-Forwarded-Host)",
                shown(origin),
                shown(host)
            ),
        )),
    }
}

/// Whether a form carries the session's own token.
///
/// # Errors
/// [`Kind::Denied`] when it does not.
fn own_form(visitor: &Visitor, token: &str) -> Result<()> {
    use subtle::ConstantTimeEq as _;
    if bool::from(visitor.session.csrf.as_bytes().ct_eq(token.as_bytes())) {
        return Ok(());
    }
    Err(Error::new(Kind::Denied, "the form is out of date; open the page again and send it from there"))
}

/// The status of a refusal; what is our own failure is logged.
fn status(error: &Error) -> StatusCode {
    reply::log(error);
    reply::status(error.kind())
}

const MALFORMED: &str = "the form is not as this console's pages send it; open the page again and send it from there";

/// What a query that cannot be read is answered.
pub(super) fn bad_query(error: actix_web::error::QueryPayloadError, _request: &HttpRequest) -> actix_web::Error {
    let page = page::send(StatusCode::BAD_REQUEST, &page::message("That did not work", MALFORMED));
    actix_web::error::InternalError::from_response(error, page).into()
}

/// A form's fields, read as any short body is.
///
/// # Errors
/// When it does not come in time or is not the form expected.
async fn form<T: DeserializeOwned>(request: &HttpRequest, payload: &mut Payload, state: &State) -> Result<T> {
    let body = body::short(request.head(), payload, state).await?;
    let text = std::str::from_utf8(&body.bytes).map_err(|_| Error::invalid(MALFORMED))?;
    // A form is written as a query is.
    let form = actix_web::web::Query::<T>::from_query(text).map_err(|_| Error::invalid(MALFORMED))?;
    Ok(form.into_inner())
}

/// Sends the browser elsewhere, so that a reload does not send the form again.
fn see(place: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header((header::LOCATION, place)).finish()
}

/// What a page that needs a session answers to whoever has none, and to other errors.
fn refused(error: &Error) -> HttpResponse {
    if error.kind() == Kind::Unauthenticated {
        return see("/ui/sign-in");
    }
    page::send(status(error), &page::message("That did not work", error.message()))
}

/// `GET /`
pub(super) async fn home() -> HttpResponse {
    see("/ui/models")
}

/// `GET /ui/static/{file}`
pub(super) async fn file(request: HttpRequest) -> HttpResponse {
    let (kind, content): (&str, &'static [u8]) = match request.match_info().get("file") {
        Some("console.css") => ("text/css; charset=utf-8", include_bytes!("../../../static/console.css")),
        Some("console.js") => ("text/javascript; charset=utf-8", include_bytes!("../../../static/console.js")),
        Some("rookery.svg") => ("image/svg+xml", include_bytes!("../../../static/rookery.svg")),
        _ => return reply::no_route(request).await,
    };
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CACHE_CONTROL, "max-age=300"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(content)
}
