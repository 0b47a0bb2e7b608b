//! Results and errors as each dialect writes them. The only place that knows statuses and AWS codes.
//!
//! Errors of our own making are logged here with their cause; the caller reads the sentence alone. Next: the dialects.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use serde::Serialize;
use serde_json::json;

use crate::error::{Error, Kind};

/// The HTTP status of a kind.
pub(super) fn status(kind: Kind) -> StatusCode {
    match kind {
        Kind::Validation => StatusCode::BAD_REQUEST,
        Kind::Unauthenticated => StatusCode::UNAUTHORIZED,
        Kind::Denied => StatusCode::FORBIDDEN,
        Kind::NotFound => StatusCode::NOT_FOUND,
        Kind::Conflict => StatusCode::CONFLICT,
        Kind::Precondition => StatusCode::PRECONDITION_FAILED,
        Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Kind::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        Kind::Model => StatusCode::FAILED_DEPENDENCY,
        Kind::Throttled => StatusCode::TOO_MANY_REQUESTS,
        Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The kind's name in the native dialect.
fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Validation => "Validation",
        Kind::Unauthenticated => "Unauthenticated",
        Kind::Denied => "AccessDenied",
        Kind::NotFound => "NotFound",
        Kind::Conflict => "Conflict",
        Kind::Precondition => "PreconditionFailed",
        Kind::TooLarge => "TooLarge",
        Kind::Unsupported => "UnsupportedMediaType",
        Kind::Model => "ModelError",
        Kind::Throttled => "Throttled",
        Kind::Unavailable => "Unavailable",
        Kind::Internal => "Internal",
    }
}

/// SageMaker runtime's code, the value of `x-amzn-ErrorType`.
fn runtime_code(kind: Kind) -> &'static str {
    match kind {
        Kind::Unauthenticated => "MissingAuthenticationTokenException",
        Kind::Denied => "AccessDeniedException",
        Kind::Model => "ModelError",
        Kind::Throttled => "ThrottlingException",
        Kind::Unavailable => "ServiceUnavailable",
        Kind::Internal => "InternalFailure",
        Kind::Validation | Kind::NotFound | Kind::Conflict | Kind::Precondition | Kind::TooLarge | Kind::Unsupported => "ValidationError",
    }
}

/// Logs what is our own failure, with its cause.
pub(super) fn log(error: &Error) {
    if error.kind() == Kind::Internal {
        tracing::error!(?error, "a request failed");
    }
}

/// When to come again, in seconds.
pub(super) fn retry_after(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::Unavailable => Some("1"),
        Kind::Throttled => Some("60"),
        _ => None,
    }
}

fn begin(error: &Error) -> HttpResponseBuilder {
    log(error);
    let mut response = HttpResponse::build(status(error.kind()));
    response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    if let Some(seconds) = retry_after(error.kind()) {
        response.insert_header((header::RETRY_AFTER, seconds));
    }
    match error.kind() {
        Kind::Unauthenticated => drop(response.insert_header((header::WWW_AUTHENTICATE, "Bearer"))),
        // The rest of a body that is too large is not read; `front.rs` sees to that.
        Kind::TooLarge => drop(response.force_close()),
        _ => {}
    }
    response
}

/// An error in the native dialect.
pub(super) fn error(error: &Error) -> HttpResponse {
    let body = json!({ "error": { "kind": word(error.kind()), "message": error.message() } });
    begin(error).json(body)
}

/// An error as SageMaker's runtime writes it.
pub(super) fn runtime_error(error: &Error, request_id: HeaderValue) -> HttpResponse {
    // AWS clients know no 401: a missing credential is a 403 with its own code.
    let mut response = begin(error);
    if error.kind() == Kind::Unauthenticated {
        response.status(StatusCode::FORBIDDEN);
    }
    response.insert_header(("x-amzn-ErrorType", runtime_code(error.kind())));
    response.insert_header(("x-amzn-RequestId", request_id));
    let code = error.code().or((error.kind() == Kind::Model).then_some("CLIENT_ERROR_FROM_MODEL"));
    let mut body = json!({ "Message": error.message() });
    if let Some(body) = body.as_object_mut() {
        if let Some(code) = code {
            body.insert("ErrorCode".to_owned(), json!(code));
        }
        if error.kind() == Kind::Model {
            body.insert("OriginalStatusCode".to_owned(), json!(400));
            body.insert("OriginalMessage".to_owned(), json!(error.message()));
        }
    }
    response.json(body)
}

/// A result in the native dialect.
pub(super) fn json<T: Serialize>(status: StatusCode, result: &Result<T, Error>) -> HttpResponse {
    match result {
        Ok(value) => HttpResponse::build(status)
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
            .json(value),
        Err(failure) => error(failure),
    }
}

/// A result without content.
pub(super) fn empty(result: &Result<(), Error>) -> HttpResponse {
    match result {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(failure) => error(failure),
    }
}

/// Nothing is at this path.
pub(super) async fn no_route(request: HttpRequest) -> HttpResponse {
    error(&Error::not_found(format!(
        "there is nothing at `{}`; the API is under /api/v1, predictions at /endpoints/NAME/invocations",
        crate::names::shown(request.path())
    )))
}

/// Something is at this path, but not for this method; `methods` are those it takes.
pub(super) fn wrong_method(request: &HttpRequest, methods: &str) -> HttpResponse {
    let (path, method) = (crate::names::shown(request.path()), crate::names::shown(request.method().as_str()));
    let message = format!("`{path}` does not take {method}; it takes {methods}");
    HttpResponse::MethodNotAllowed()
        .insert_header((header::ALLOW, methods))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .json(json!({ "error": { "kind": "MethodNotAllowed", "message": message } }))
}
