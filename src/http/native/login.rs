//! `/api/v1/login`, `/logout`, `/whoami`.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;

use super::super::{State, body, caller, reply};
use super::{parse, run};
use crate::error::Error;
use crate::service::invoke::blocking;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LogIn {
    name: String,
    password: String,
}

/// `POST /api/v1/login` with `{"name","password"}` → a token.
pub(in super::super) async fn log_in(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let result = async {
        // Nobody is known yet, so little is read.
        let body = body::short(request.head(), &mut payload, &state).await?;
        let text = std::str::from_utf8(&body.bytes).map_err(|_| Error::invalid("the body is not UTF-8"))?;
        let LogIn { name, password } = parse(text)?;
        let (service, address) = (state.service.clone(), caller::address(request.head(), &state));
        let issued = blocking(move || service.log_in(&name, &password, address)).await?;
        Ok(json!({ "token": issued.token, "tokenType": "Bearer", "expiresAt": issued.expires_at }))
    };
    reply::json(StatusCode::OK, &result.await)
}

/// `POST /api/v1/logout`: ends the token it is sent with.
pub(in super::super) async fn log_out(request: HttpRequest, state: Data<State>) -> HttpResponse {
    reply::empty(&run(&request, &state, |service, caller| service.log_out(caller)).await)
}

/// `GET /api/v1/whoami`: who the credential is.
pub(in super::super) async fn who_am_i(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let result = caller::caller(request.head(), &state).map(|caller| {
        let principal = caller.principal();
        json!({ "arn": principal.arn, "name": principal.name, "userId": principal.unique_id })
    });
    reply::json(StatusCode::OK, &result)
}
