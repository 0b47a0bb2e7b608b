//! From a request to a `Caller`, and to its body under the cap.
//!
//! Bearer credentials are checked before the body is read: whoever has none cannot make the server hold megabytes. Next:
//! `authn/mod.rs`, which decides.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::task::Poll;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt as _;

use super::State;
use crate::authn::{Caller, Evidence, Transport};
use crate::error::{Error, Kind, Result};

/// The body of a sign-in: a name and a password.
const SHORT: usize = 16 << 10;
/// How long it may take in all.
const PATIENCE: Duration = Duration::from_secs(10);

/// The text of a header; `None` when it is absent.
///
/// # Errors
/// When it holds other than visible ASCII.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    headers.get(name).map(|value| visible(name, value)).transpose()
}

/// The text of a header's value.
///
/// # Errors
/// When it holds other than visible ASCII.
pub(super) fn visible<'a>(name: &HeaderName, value: &'a HeaderValue) -> Result<&'a str> {
    value.to_str().map_err(|_| Error::invalid(format!("header `{name}` holds characters that are not visible ASCII")))
}

/// How the request came.
pub(super) fn transport(request: &HttpRequest, state: &State) -> Transport {
    let agent = request.headers().get(header::USER_AGENT).and_then(|agent| agent.to_str().ok()).map(str::to_owned);
    Transport { address: address(request), secure: state.secure, agent }
}

/// From where. A proxy's forwarding headers are not believed: anyone can write them.
pub(super) fn address(request: &HttpRequest) -> IpAddr {
    request.peer_addr().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip())
}

/// Who sent the request.
///
/// # Errors
/// [`Kind::Unauthenticated`].
pub(super) fn caller(request: &HttpRequest, state: &State) -> Result<Caller> {
    let mut found = [""; 2];
    let mut count = 0;
    for value in request.headers().get_all(header::AUTHORIZATION) {
        // A token is hundreds of bytes; what is not ASCII in it matches nothing later, so only the encoding is checked.
        let value = std::str::from_utf8(value.as_bytes());
        let value = value.map_err(|_| Error::new(Kind::Unauthenticated, "the Authorization header is not text"))?;
        if let Some(place) = found.get_mut(count) {
            *place = value;
            count += 1;
        }
    }
    let evidence = Evidence { authorization: found.get(..count).unwrap_or_default(), session: None };
    state.service.identify(&evidence, transport(request, state))
}

/// The whole body, at most `limit` bytes, with no pause longer than `idle`.
///
/// # Errors
/// [`Kind::TooLarge`]; [`Kind::Validation`] when it breaks off or pauses too long.
pub(super) async fn body(request: &HttpRequest, payload: &mut Payload, limit: usize, idle: Duration) -> Result<Bytes> {
    let too_large = || Error::new(Kind::TooLarge, format!("the body is larger than {limit} bytes; send fewer rows at once"));
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if announced.is_some_and(|announced| announced > limit) {
        return Err(too_large());
    }
    let Some(first) = next(payload, idle).await? else { return Ok(Bytes::new()) };
    // The usual body comes in one piece and is not copied.
    if announced == Some(first.len()) {
        return Ok(first);
    }
    let Some(second) = next(payload, idle).await? else { return if first.len() > limit { Err(too_large()) } else { Ok(first) } };
    let mut whole = BytesMut::with_capacity(announced.unwrap_or(first.len() + second.len()).min(limit));
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&second);
    while whole.len() <= limit {
        match next(payload, idle).await? {
            Some(piece) => whole.extend_from_slice(&piece),
            None => return Ok(whole.freeze()),
        }
    }
    Err(too_large())
}

/// A short body of someone who is not known yet: all of it within [`PATIENCE`].
///
/// # Errors
/// As [`body`].
pub(super) async fn short_body(request: &HttpRequest, payload: &mut Payload) -> Result<Bytes> {
    match tokio::time::timeout(PATIENCE, body(request, payload, SHORT, PATIENCE)).await {
        Ok(body) => body,
        Err(_) => Err(Error::invalid(format!("the body did not come within {} seconds; send it again", PATIENCE.as_secs()))),
    }
}

/// The next piece of a body, waited for no longer than `idle`.
///
/// # Errors
/// When it breaks off or pauses too long.
pub(super) async fn next(payload: &mut Payload, idle: Duration) -> Result<Option<Bytes>> {
    // What came with the head is there after one more turn of the connection, and needs no timer.
    let mut turned = false;
    let arrived = poll_fn(|context| match payload.poll_next_unpin(context) {
        Poll::Ready(piece) => Poll::Ready(Some(piece)),
        Poll::Pending if turned => Poll::Ready(None),
        Poll::Pending => {
            turned = true;
            context.waker().wake_by_ref();
            Poll::Pending
        }
    });
    let piece = match arrived.await {
        Some(piece) => Ok(piece),
        None => tokio::time::timeout(idle, payload.next()).await,
    };
    match piece {
        Ok(None) => Ok(None),
        Ok(Some(Ok(piece))) => Ok(Some(piece)),
        Ok(Some(Err(error))) => {
            Err(Error::invalid("the body broke off before its end; send it again").because(BrokenOff(error.to_string())))
        }
        Err(_) => Err(Error::invalid(format!("the body paused for more than {} seconds; send it again", idle.as_secs()))),
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct BrokenOff(String);
