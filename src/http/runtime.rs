//! Predictions in SageMaker's dialect: its path, headers, statuses and error shapes, with any kind of credential.
//!
//! Next: `service/invoke.rs`, which does the work.

use std::cell::Cell;
use std::time::Instant;

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{Bytes, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::{State, caller, reply};
use crate::error::{Error, Result};
use crate::service::invoke::{Answered, Call};

const TARGET_MODEL: HeaderName = HeaderName::from_static("x-amzn-sagemaker-target-model");
const TARGET_VARIANT: HeaderName = HeaderName::from_static("x-amzn-sagemaker-target-variant");
const CUSTOM_ATTRIBUTES: HeaderName = HeaderName::from_static("x-amzn-sagemaker-custom-attributes");
/// What AWS has and this server does not; answering as if it were not asked would be wrong.
const UNSUPPORTED: [HeaderName; 3] = [
    HeaderName::from_static("x-amzn-sagemaker-target-container-hostname"),
    HeaderName::from_static("x-amzn-sagemaker-inference-component"),
    HeaderName::from_static("x-amzn-sagemaker-enable-explanations"),
];
/// A body that takes longer than this has its sender identified again.
const SLOW_MICROS: u64 = 100_000;
/// The longest custom attributes, as AWS has it.
const ATTRIBUTES_MAX: usize = 1024;

/// `POST /endpoints/{endpoint}/invocations`
pub(super) async fn invoke(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let started = Instant::now();
    match answer(&request, &mut payload, &state).await {
        Ok((answered, before)) => success(answered, before, started),
        Err(error) => reply::runtime_error(&error, request_id()),
    }
}

/// The answer, and the microseconds spent on who asks.
async fn answer(request: &HttpRequest, payload: &mut Payload, state: &State) -> Result<(Answered, u64)> {
    let started = Instant::now();
    let caller = caller::caller(request, state)?;
    let identified = micros(started);
    let headers = request.headers();
    let header = |name: &HeaderName| caller::text(headers, name);
    if let Some(unsupported) = UNSUPPORTED.iter().find(|name| headers.contains_key(*name)) {
        return Err(Error::invalid(format!("header `{unsupported}` asks for something this server does not have; leave it out")));
    }
    if header(&CUSTOM_ATTRIBUTES)?.is_some_and(|attributes| attributes.len() > ATTRIBUTES_MAX) {
        return Err(Error::invalid(format!("the custom attributes are longer than {ATTRIBUTES_MAX} bytes")));
    }
    let body: Bytes = caller::body(request, payload, state.body).await?;
    // A body that took its time may have outlived its sender's rights.
    let caller = if micros(started) > SLOW_MICROS { state.service.renew(&caller)? } else { caller };
    let call = Call {
        endpoint: request.match_info().get("endpoint").unwrap_or_default(),
        target_model: header(&TARGET_MODEL)?,
        target_variant: header(&TARGET_VARIANT)?,
        content_type: header(&header::CONTENT_TYPE)?,
        accept: header(&header::ACCEPT)?,
        body: &body,
    };
    Ok((state.service.invoke(&caller, call).await?, identified))
}

fn micros(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)
}

fn success(answered: Answered, auth: u64, started: Instant) -> HttpResponse {
    let mut versions = String::with_capacity(answered.versions.len() * 66);
    for (at, version) in answered.versions.iter().enumerate() {
        if at > 0 {
            versions.push_str(", ");
        }
        versions.push_str(version);
    }
    let queue = micros(started).saturating_sub(auth + answered.load_micros + answered.predict_micros);
    let mut timing = String::with_capacity(80);
    for (name, micros) in [("auth", auth), ("queue", queue), ("load", answered.load_micros), ("predict", answered.predict_micros)] {
        push_timing(&mut timing, name, micros);
    }
    let mut response = HttpResponse::Ok();
    let mut add = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.insert_header((HeaderName::from_static(name), value));
        }
    };
    add("x-amzn-invoked-production-variant", &answered.variant);
    add("x-rookery-model-version", &versions);
    add("server-timing", &timing);
    response.insert_header((HeaderName::from_static("x-amzn-requestid"), request_id()));
    response.insert_header((HeaderName::from_static("content-type"), HeaderValue::from_static(answered.content_type)));
    response.body(answered.body)
}

/// `name;dur=0.123`, in milliseconds as the header has it.
fn push_timing(out: &mut String, name: &str, micros: u64) {
    if !out.is_empty() {
        out.push_str(", ");
    }
    out.push_str(name);
    out.push_str(";dur=");
    let whole = micros / 1000;
    if whole == 0 {
        out.push('0');
    } else {
        out.push_str(&whole.to_string());
    }
    out.push('.');
    for digit in [micros / 100 % 10, micros / 10 % 10, micros % 10] {
        #[expect(clippy::cast_possible_truncation, reason = "one decimal digit")]
        out.push(char::from(b'0' + digit as u8));
    }
}

/// A random identifier shaped like a UUID. It identifies, it does not protect: a fast generator seeded once by thread.
fn request_id() -> HeaderValue {
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
    let bytes = (u128::from(step()) << 64 | u128::from(step())).to_be_bytes();
    let digits = crate::names::hex(&bytes);
    let mut id = String::with_capacity(36);
    for (at, part) in [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)].into_iter().enumerate() {
        if at > 0 {
            id.push('-');
        }
        id.push_str(digits.get(part.0..part.1).unwrap_or_default());
    }
    HeaderValue::from_str(&id).unwrap_or(HeaderValue::from_static("-"))
}
