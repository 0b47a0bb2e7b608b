//! For the operator and their tools: is it alive, is it ready, what does it count.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};

use super::{State, caller, reply};

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok\n")
}

/// `GET /readyz`: requests can be answered.
pub(super) async fn readyz(state: Data<State>) -> HttpResponse {
    let service = state.service.clone();
    match crate::service::invoke::blocking(move || service.ready()).await {
        Ok(()) => HttpResponse::Ok().content_type("text/plain").body("ready\n"),
        Err(error) => reply::error(&error),
    }
}

/// `GET /metrics`: Prometheus text. Names of models and principals are in it, so it asks for a credential.
pub(super) async fn metrics(request: HttpRequest, state: Data<State>) -> HttpResponse {
    match caller::caller(request.head(), &state).and_then(|caller| state.service.metrics_text(&caller)) {
        Ok(text) => HttpResponse::Ok().content_type("text/plain; version=0.0.4").body(text),
        Err(error) => reply::error(&error),
    }
}
