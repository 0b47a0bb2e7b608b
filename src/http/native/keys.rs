//! `/api/v1/keys`: make, list, show, disable, delete.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{State, reply};
use super::{checked, listed, page, part, query, read_json, run};
use crate::service::keys;
use crate::store::keys::KeyKind;

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Api,
    Aws,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Create {
    user: String,
    kind: Kind,
    policy: Option<Box<RawValue>>,
    expires_at: Option<i64>,
}

/// `POST /api/v1/keys` with `{"user","kind":"api"}`
pub(in super::super) async fn create(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let result = async {
        let asked: Create = read_json(&request, &state, &mut payload).await?;
        let key = run(&request, &state, move |service, caller| {
            let kind = match asked.kind {
                Kind::Api => KeyKind::Api,
                Kind::Aws => KeyKind::Aws,
            };
            let document = asked.policy.as_deref().map(RawValue::get);
            service.create_key(caller, &asked.user, kind, document, asked.expires_at)
        });
        key.await.map(|key| key.shown())
    };
    reply::json(StatusCode::CREATED, &result.await)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    user: Option<String>,
    #[serde(default)]
    after: String,
    #[serde(default = "page")]
    limit: usize,
}

/// `GET /api/v1/keys?user=&after=&limit=`
pub(in super::super) async fn list(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let result = async {
        let ListQuery { user, after, limit } = query(&request)?;
        let limit = checked(limit)?;
        let page = run(&request, &state, move |service, caller| service.keys(caller, user.as_deref(), &after, limit)).await?;
        Ok(listed("keys", &page, |key| keys::listed(key)))
    };
    reply::json(StatusCode::OK, &result.await)
}

/// `GET /api/v1/keys/{id}`
pub(in super::super) async fn show(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let id = part(&request, "id");
    let result = run(&request, &state, move |service, caller| service.key(caller, &id)).await;
    reply::json(StatusCode::OK, &result.map(|key| keys::whole(&key)))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    disabled: bool,
}

/// `PATCH /api/v1/keys/{id}` with `{"disabled"}`
pub(in super::super) async fn change(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let result = async {
        let Patch { disabled } = read_json(&request, &state, &mut payload).await?;
        let id = part(&request, "id");
        run(&request, &state, move |service, caller| service.set_key_disabled(caller, &id, disabled)).await
    };
    reply::empty(&result.await)
}

/// `DELETE /api/v1/keys/{id}`
pub(in super::super) async fn delete(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let id = part(&request, "id");
    reply::empty(&run(&request, &state, move |service, caller| service.delete_key(caller, &id)).await)
}
