//! Predictions in SageMaker's dialect: its path, headers, statuses and error shapes, with any kind of credential.
//!
//! Next: `service/invoke.rs`, which does the work.

use std::cell::Cell;
use std::time::{Duration, Instant};

use actix_web::body::BoxBody;
use actix_web::dev::{self, RequestHead};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::web::{Bytes, BytesMut, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::body::Limits;
use super::connection::Busy;
use super::{State, body, caller, reply, sent};
use crate::error::{Error, Result};
use crate::names::{MODEL_PATH_MAX, hex_digits, shown};
use crate::service::invoke::{Answered, Call};

const TARGET_MODEL: HeaderName = HeaderName::from_static("x-amzn-sagemaker-target-model");
const TARGET_VARIANT: HeaderName = HeaderName::from_static("x-amzn-sagemaker-target-variant");
const CUSTOM_ATTRIBUTES: HeaderName = HeaderName::from_static("x-amzn-sagemaker-custom-attributes");
const VARIANT: HeaderName = HeaderName::from_static("x-amzn-invoked-production-variant");
const VERSION: HeaderName = HeaderName::from_static("x-rookery-model-version");
const TIMING: HeaderName = HeaderName::from_static("server-timing");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
/// What AWS has and this server does not; answering as if it were not asked would be wrong.
const UNSUPPORTED: [HeaderName; 2] = [
    HeaderName::from_static("x-amzn-sagemaker-target-container-hostname"),
    HeaderName::from_static("x-amzn-sagemaker-inference-component"),
];
const EXPLANATIONS: HeaderName = HeaderName::from_static("x-amzn-sagemaker-enable-explanations");
/// A body that takes longer than this has its sender identified again.
const SLOW: Duration = Duration::from_millis(100);
/// The longest custom attributes, as AWS has it.
const ATTRIBUTES_MAX: usize = 1024;

/// `POST /endpoints/{endpoint}/invocations` as the router hands it over.
pub(super) async fn invoke(request: HttpRequest, payload: Payload, state: Data<State>) -> HttpResponse {
    let endpoint = request.match_info().get("endpoint").unwrap_or_default();
    let busy = Busy::of(request.conn_data());
    predict(request.head(), endpoint, &mut payload.into_inner(), &state, busy.as_ref()).await
}

/// A request for predictions of `endpoint`, on a connection that is `busy` with it.
pub(super) async fn predict(
    head: &RequestHead,
    endpoint: &str,
    payload: &mut dev::Payload,
    state: &State,
    busy: Option<&Busy>,
) -> HttpResponse {
    let started = Instant::now();
    let answered = answer(head, endpoint, payload, state, busy, started).await;
    match answered {
        Ok((answered, auth)) => success(answered, auth, started),
        Err(error) => reply::runtime_error(&error, HeaderValue::from_bytes(&request_id()).unwrap_or(HeaderValue::from_static("-"))),
    }
}

/// The answer, and the time spent on who asks.
async fn answer(
    head: &RequestHead,
    endpoint: &str,
    payload: &mut dev::Payload,
    state: &State,
    busy: Option<&Busy>,
    started: Instant,
) -> Result<(Answered<BoxBody>, Duration)> {
    let caller = caller::caller(head, state)?;
    let auth = started.elapsed();
    let asked = Asked::read(head.headers())?;
    let may = || state.service.may_invoke(&caller, endpoint, asked.target_model);
    let body = body::whole(head, payload, Limits { most: state.body, room: &state.room, idle: state.idle }, may).await?;
    let arrived = Instant::now();
    // A body that took its time may have outlived its sender's rights.
    let caller = if arrived.duration_since(started) > SLOW { state.service.renew(&caller)? } else { caller };
    let call = Call {
        endpoint,
        target_model: asked.target_model,
        target_variant: asked.target_variant,
        content_type: asked.content_type,
        accept: asked.accept,
        explain: explain(asked.explanations, head.uri.query().unwrap_or_default())?,
        body: &body.bytes,
        arrived,
    };
    let keep = |answer| sent::body(answer, &state.answers, state.idle, busy.cloned());
    Ok((state.service.invoke(&caller, call, keep).await?, auth))
}

/// The headers that say what is asked for.
#[derive(Default)]
struct Asked<'a> {
    target_model: Option<&'a str>,
    target_variant: Option<&'a str>,
    content_type: Option<&'a str>,
    accept: Option<&'a str>,
    explanations: Option<&'a str>,
}

impl<'a> Asked<'a> {
    /// In one pass: there are fewer headers than names to look up. Of a header sent twice the first counts.
    fn read(headers: &'a HeaderMap) -> Result<Self> {
        let mut asked = Self::default();
        for (name, value) in headers {
            let place = match name {
                name if *name == TARGET_MODEL => &mut asked.target_model,
                name if *name == TARGET_VARIANT => &mut asked.target_variant,
                name if *name == header::CONTENT_TYPE => &mut asked.content_type,
                name if *name == header::ACCEPT => &mut asked.accept,
                name if *name == EXPLANATIONS => &mut asked.explanations,
                name if *name == CUSTOM_ATTRIBUTES => {
                    if caller::visible(name, value)?.len() > ATTRIBUTES_MAX {
                        return Err(Error::invalid(format!("the custom attributes are longer than {ATTRIBUTES_MAX} bytes")));
                    }
                    continue;
                }
                name if UNSUPPORTED.contains(name) => {
                    return Err(Error::invalid(format!("header `{name}` asks for something this server does not have; leave it out")));
                }
                _ => continue,
            };
            if place.is_none() {
                *place = Some(caller::visible(name, value)?);
            }
        }
        // Nothing is there by a longer name, and policies are asked before it is looked for.
        if let Some(target) = asked.target_model.filter(|target| target.len() > MODEL_PATH_MAX) {
            let text = format!("the target model is {} bytes long; at most {MODEL_PATH_MAX} fit", target.len());
            return Err(Error::invalid(text));
        }
        Ok(asked)
    }
}

/// Whether an explanation is asked for: by AWS's header, a JMESPath literal, or by `?explain=true`.
fn explain(header: Option<&str>, query: &str) -> Result<bool> {
    let asked = match header.map(|value| value.trim().trim_matches('`')) {
        None => None,
        Some(value) if value.eq_ignore_ascii_case("true") => Some(true),
        Some(value) if value.eq_ignore_ascii_case("false") => Some(false),
        Some(value) => {
            let text = format!("header `{EXPLANATIONS}` is `{}`; only `true` and `false` are taken, no expression", shown(value));
            return Err(Error::invalid(text));
        }
    };
    let in_query = || query.split('&').any(|pair| matches!(pair, "explain=true" | "explain=1"));
    Ok(asked.unwrap_or_else(in_query))
}

fn success(answered: Answered<BoxBody>, auth: Duration, started: Instant) -> HttpResponse {
    // All values in one allocation, cut apart as they are done.
    let mut text = BytesMut::with_capacity(256);
    for version in answered.versions() {
        if !text.is_empty() {
            text.extend_from_slice(b", ");
        }
        text.extend_from_slice(version.as_bytes());
    }
    let versions = text.split().freeze();
    let queue = answered.done.duration_since(started).saturating_sub(auth + answered.load + answered.predict);
    for (name, time) in [("auth;dur=", auth), (", queue;dur=", queue), (", load;dur=", answered.load), (", predict;dur=", answered.predict)]
    {
        text.extend_from_slice(name.as_bytes());
        push_millis(&mut text, time);
    }
    let timing = text.split().freeze();
    text.extend_from_slice(answered.variant().as_bytes());
    let variant = text.split().freeze();
    text.extend_from_slice(&request_id());
    let id = text.freeze();
    let mut response = HttpResponse::with_body(StatusCode::OK, answered.body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(answered.content_type));
    for (name, text) in [(VARIANT, variant), (VERSION, versions), (TIMING, timing), (REQUEST_ID, id)] {
        headers.insert(name, header_value(text));
    }
    response
}

/// A header's value of text made here: hexadecimal digits, decimal ones, a variant's name. Looking at every byte again
/// would be a fifth of the time an answer's head takes.
#[expect(unsafe_code, reason = "the bytes are known to be visible ASCII")]
fn header_value(text: Bytes) -> HeaderValue {
    debug_assert!(text.iter().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}");
    // SAFETY: a value must hold no byte but visible ASCII, spaces and tabs. Versions are written by `Version`'s `Display`,
    // times and request ids below, and a variant's name was parsed as letters, digits and hyphens when it was made.
    unsafe { HeaderValue::from_maybe_shared_unchecked(text) }
}

/// Milliseconds with three decimals, as `Server-Timing` has them.
fn push_millis(out: &mut BytesMut, time: Duration) {
    let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    let whole = micros / 1000;
    if whole >= 10 {
        out.extend_from_slice((whole / 10).to_string().as_bytes());
    }
    let digit = |number: u64| b'0' + (number % 10) as u8;
    out.extend_from_slice(&[digit(whole), b'.', digit(micros / 100), digit(micros / 10), digit(micros)]);
}

/// A random identifier shaped like a UUID. It identifies, it does not protect: a fast generator seeded once by thread.
fn request_id() -> [u8; 36] {
    thread_local! {
        static STATE: Cell<u64> = Cell::new(u64::from_le_bytes(crate::authn::random().unwrap_or([7; 8])));
    }
    let step = || {
        // SplitMix64 (Steele et al., 2014).
        let mut z = STATE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        STATE.set(z);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    let mut id = [b'-'; 36];
    let mut bytes = step().to_le_bytes().into_iter().chain(step().to_le_bytes());
    for part in [0..8, 9..13, 14..18, 19..23, 24..36] {
        let (pairs, _) = id.get_mut(part).unwrap_or_default().as_chunks_mut();
        for (pair, byte) in pairs.iter_mut().zip(&mut bytes) {
            *pair = hex_digits(byte);
        }
    }
    id
}
