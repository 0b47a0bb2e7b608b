//! From a request to a `Caller`: what it shows of its sender, and where it came from.
//!
//! It must not read the body: bearer credentials are checked before that, so whoever has none cannot make the server hold
//! megabytes. Next: `authn/mod.rs`, which decides; `body.rs`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use actix_web::dev::RequestHead;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::State;
use crate::authn::{Caller, Evidence, Transport};
use crate::error::{Error, Kind, Result};

/// The longest user agent, in bytes.
const AGENT_MAX: usize = 2048;
/// Where a proxy says a request came from, nearest last.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// How it came to the proxy.
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// For which host.
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

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
///
/// # Errors
/// [`Kind::Validation`] for a user agent of kilobytes: policies may ask about it, at a time that its length says.
pub(super) fn transport(head: &RequestHead, state: &State) -> Result<Transport> {
    let agent = head.headers().get(header::USER_AGENT);
    if let Some(agent) = agent.filter(|agent| agent.len() > AGENT_MAX) {
        return Err(Error::invalid(format!("header `user-agent` is {} bytes long; at most {AGENT_MAX} are taken", agent.len())));
    }
    let agent = agent.and_then(|agent| agent.to_str().ok()).map(str::to_owned);
    Ok(Transport { address: address(head, state), secure: secure(head, state), agent })
}

fn peer(head: &RequestHead) -> IpAddr {
    head.peer_addr.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |peer| peer.ip())
}

/// Whether the request comes from a proxy that the operator trusts. Anyone else can write forwarding headers too.
fn forwarded(head: &RequestHead, state: &State) -> bool {
    !state.proxies.is_empty() && trusted(peer(head), state)
}

fn trusted(address: IpAddr, state: &State) -> bool {
    state.proxies.iter().any(|block| block.holds(address))
}

/// From where: the peer, or behind trusted proxies the nearest address that is none of theirs.
pub(super) fn address(head: &RequestHead, state: &State) -> IpAddr {
    let peer = peer(head);
    if !forwarded(head, state) {
        return peer;
    }
    let values: Vec<&HeaderValue> = head.headers().get_all(FORWARDED_FOR).collect();
    let mut nearest = peer;
    // By bytes: what a caller writes before the proxy's part may be no text.
    for hop in values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|&byte| byte == b',')) {
        let hop = hop.trim_ascii();
        if hop.is_empty() {
            continue;
        }
        // Somebody is there who cannot be told; least of all are they the proxy itself.
        let Some(hop) = hop_address(hop) else { return IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
        nearest = hop;
        if !trusted(nearest, state) {
            break;
        }
    }
    nearest
}

/// An address as proxies write it, some with the port.
fn hop_address(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?;
    let bare = hop.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(hop);
    bare.parse().ok().or_else(|| hop.parse().ok().map(|socket: SocketAddr| socket.ip()))
}

/// Whether it came over TLS, here or to a trusted proxy.
pub(super) fn secure(head: &RequestHead, state: &State) -> bool {
    let https = || head.headers().get(FORWARDED_PROTO).is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https"));
    state.secure || (forwarded(head, state) && https())
}

/// The host that was asked for, here or of a trusted proxy.
pub(super) fn host<'a>(head: &'a RequestHead, state: &State) -> Option<&'a str> {
    let there = head.headers().get(FORWARDED_HOST).filter(|_| forwarded(head, state));
    there.or_else(|| head.headers().get(header::HOST))?.to_str().ok()
}

/// Who sent the request.
///
/// # Errors
/// [`Kind::Unauthenticated`]; what [`transport`] refuses.
pub(super) fn caller(head: &RequestHead, state: &State) -> Result<Caller> {
    let mut found = [""; 2];
    let mut count = 0;
    for value in head.headers().get_all(header::AUTHORIZATION) {
        // A token is hundreds of bytes; what is not ASCII in it matches nothing later, so only the encoding is checked.
        let value = std::str::from_utf8(value.as_bytes());
        let value = value.map_err(|_| Error::new(Kind::Unauthenticated, "the Authorization header is not text"))?;
        if let Some(place) = found.get_mut(count) {
            *place = value;
            count += 1;
        }
    }
    let evidence = Evidence { authorization: found.get(..count).unwrap_or_default(), session: None };
    state.service.identify(&evidence, transport(head, state)?)
}
