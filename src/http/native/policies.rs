//! `/api/v1/policies` and `/api/v1/simulate`.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{State, reply};
use super::{PageQuery, checked, listed, part, query, read_json, run, text};
use crate::authn::directory::Managed;
use crate::error::{Error, Result};
use crate::names::Noun;
use crate::service::principals::Change;
use crate::service::simulate::Asked;

/// In a list: all but the document, which may be long.
fn named(managed: &Managed) -> Value {
    let record = &managed.record;
    json!({ "name": record.name, "arn": Noun::Policy.arn(&record.name), "version": record.version, "updatedAt": record.updated_at })
}

fn shown(managed: &Managed) -> Value {
    let mut shown = named(managed);
    if let Some(shown) = shown.as_object_mut() {
        shown.insert("document".to_owned(), serde_json::from_str(&managed.record.document).unwrap_or(Value::Null));
    }
    shown
}

/// `PUT /api/v1/policies/{name}` with the document as the body
pub(in super::super) async fn put(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let result = async {
        let document = text(&request, &state, &mut payload).await?;
        let name = part(&request, "name");
        run(&request, &state, move |service, caller| service.put_policy(caller, &name, &document)).await
    };
    match result.await {
        Ok(true) => HttpResponse::Created().finish(),
        Ok(false) => HttpResponse::NoContent().finish(),
        Err(error) => reply::error(&error),
    }
}

/// `GET /api/v1/policies?after=&limit=`: without the documents
pub(in super::super) async fn list(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let result = async {
        let PageQuery { after, limit } = query(&request)?;
        let limit = checked(limit)?;
        let page = run(&request, &state, move |service, caller| service.policies(caller, &after, limit)).await?;
        Ok(listed("policies", &page, |one| named(one)))
    };
    reply::json(StatusCode::OK, &result.await)
}

/// `GET /api/v1/policies/{name}`
pub(in super::super) async fn show(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let name = part(&request, "name");
    let result = run(&request, &state, move |service, caller| service.policy(caller, &name)).await;
    reply::json(StatusCode::OK, &result.map(|one| shown(&one)))
}

/// `DELETE /api/v1/policies/{name}`
pub(in super::super) async fn delete(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let name = part(&request, "name");
    reply::empty(&run(&request, &state, move |service, caller| service.delete_policy(caller, &name)).await)
}

/// Whom a policy is attached to: exactly one of the three.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
enum Holder {
    User(String),
    Group(String),
    Role(String),
}

impl Holder {
    fn parts(&self) -> (Noun, &str) {
        match self {
            Self::User(name) => (Noun::User, name),
            Self::Group(name) => (Noun::Group, name),
            Self::Role(name) => (Noun::Role, name),
        }
    }
}

async fn attachment(request: &HttpRequest, payload: &mut Payload, state: &Data<State>, attach: bool) -> Result<()> {
    let holder: Holder = read_json(request, state, payload).await?;
    let policy = part(request, "name");
    run(request, state, move |service, caller| {
        let (noun, name) = holder.parts();
        service.change_principal(caller, noun, name, if attach { Change::Attach(&policy) } else { Change::Detach(&policy) })
    })
    .await
}

/// `POST /api/v1/policies/{name}/attachments` with `{"user":"…"}`, `{"group":"…"}` or `{"role":"…"}`
pub(in super::super) async fn attach(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    reply::empty(&attachment(&request, &mut payload, &state, true).await)
}

/// `DELETE /api/v1/policies/{name}/attachments` with the same body
pub(in super::super) async fn detach(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    reply::empty(&attachment(&request, &mut payload, &state, false).await)
}

/// `POST /api/v1/simulate` with `{"principal","action","resource","context"}`
pub(in super::super) async fn simulate(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let result = async {
        let asked: Asked = read_json(&request, &state, &mut payload).await?;
        if asked.principal.is_empty() {
            return Err(Error::invalid("`principal` is missing; name a user or role"));
        }
        run(&request, &state, move |service, caller| service.simulate(caller, &asked)).await
    };
    reply::json(StatusCode::OK, &result.await)
}
