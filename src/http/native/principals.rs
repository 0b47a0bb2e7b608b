//! `/api/v1/users`, `/groups`, `/roles`: the same routes for the three nouns.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{State, reply};
use super::{PageQuery, checked, listed, part, query, read_json, run, text};
use crate::error::{Error, Result};
use crate::names::Noun;
use crate::service::principals::{Change, NewOne, shown};

fn noun(request: &HttpRequest) -> Noun {
    match request.match_info().get("noun") {
        Some("groups") => Noun::Group,
        Some("roles") => Noun::Role,
        _ => Noun::User,
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Create {
    name: String,
    password: Option<String>,
    #[serde(default)]
    admin: bool,
    #[serde(default)]
    tags: HashMap<String, String>,
    permissions_boundary: Option<String>,
    /// Kept as written, so that it is read as strictly as a document alone.
    trust_policy: Option<Box<RawValue>>,
}

/// `POST /api/v1/users` with `{"name","password"}`
pub(in super::super) async fn create(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let result = async {
        let asked: Create = read_json(&request, &state, &mut payload).await?;
        let noun = noun(&request);
        let made = run(&request, &state, move |service, caller| {
            let trust = asked.trust_policy.as_deref().map(RawValue::get);
            let new = NewOne {
                password: asked.password.as_deref(),
                administrator: asked.admin,
                tags: asked.tags,
                boundary: asked.permissions_boundary.as_deref(),
                trust,
            };
            service.create_principal(caller, noun, &asked.name, &new)
        });
        made.await.map(|made| shown(&made))
    };
    reply::json(StatusCode::CREATED, &result.await)
}

/// `GET /api/v1/users?after=&limit=`
pub(in super::super) async fn list(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let noun = noun(&request);
    let result = async {
        let PageQuery { after, limit } = query(&request)?;
        let limit = checked(limit)?;
        let page = run(&request, &state, move |service, caller| service.principals(caller, noun, &after, limit)).await?;
        Ok(listed(&format!("{}s", noun.word()), &page, |one| shown(one)))
    };
    reply::json(StatusCode::OK, &result.await)
}

/// `GET /api/v1/users/{name}`
pub(in super::super) async fn show(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let (noun, name) = (noun(&request), part(&request, "name"));
    let result = run(&request, &state, move |service, caller| service.principal(caller, noun, &name)).await;
    reply::json(StatusCode::OK, &result.map(|one| shown(&one)))
}

/// `DELETE /api/v1/users/{name}`
pub(in super::super) async fn delete(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let (noun, name) = (noun(&request), part(&request, "name"));
    reply::empty(&run(&request, &state, move |service, caller| service.delete_principal(caller, noun, &name)).await)
}

/// What PATCH changes: exactly one member at a time, so that a change is wholly done or not at all.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
enum Patch {
    Password(Option<String>),
    Disabled(bool),
    Tags(HashMap<String, String>),
    PermissionsBoundary(Option<String>),
    /// Kept as written, as in [`Create`].
    TrustPolicy(Box<RawValue>),
}

/// `PATCH /api/v1/users/{name}` with one of `{"password"}`, `{"disabled"}`, `{"tags"}`, `{"permissionsBoundary"}`, and of a
/// role `{"trustPolicy"}`
pub(in super::super) async fn change(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let result = async {
        let patch: Patch = read_json(&request, &state, &mut payload).await?;
        let (noun, name) = (noun(&request), part(&request, "name"));
        run(&request, &state, move |service, caller| {
            let change = match &patch {
                Patch::Password(password) => Change::Password(password.as_deref()),
                Patch::Disabled(disabled) => Change::Disabled(*disabled),
                Patch::Tags(tags) => Change::Tags(tags),
                Patch::PermissionsBoundary(boundary) => Change::Boundary(boundary.as_deref()),
                Patch::TrustPolicy(document) => Change::Trust(document.get()),
            };
            service.change_principal(caller, noun, &name, change)
        })
        .await
    };
    reply::empty(&result.await)
}

/// `PUT /api/v1/users/{name}/policies/{policy}` with the document as the body
pub(in super::super) async fn put_inline(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let result: Result<()> = async {
        let document = text(&request, &state, &mut payload).await?;
        if document.trim().is_empty() {
            return Err(Error::invalid("the body is empty; send the policy document"));
        }
        let (noun, name, policy) = (noun(&request), part(&request, "name"), part(&request, "policy"));
        run(&request, &state, move |service, caller| service.change_principal(caller, noun, &name, Change::PutInline(&policy, &document)))
            .await
    }
    .await;
    reply::empty(&result)
}

/// `GET /api/v1/users/{name}/policies/{policy}`
pub(in super::super) async fn show_inline(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let (noun, name, policy) = (noun(&request), part(&request, "name"), part(&request, "policy"));
    let result = run(&request, &state, move |service, caller| service.inline_policy(caller, noun, &name, &policy)).await;
    reply::json(StatusCode::OK, &result.map(|one| one.shown()))
}

/// `DELETE /api/v1/users/{name}/policies/{policy}`
pub(in super::super) async fn delete_inline(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let (noun, name, policy) = (noun(&request), part(&request, "name"), part(&request, "policy"));
    reply::empty(
        &run(&request, &state, move |service, caller| service.change_principal(caller, noun, &name, Change::DeleteInline(&policy))).await,
    )
}

/// `PUT /api/v1/groups/{name}/members/{user}`
pub(in super::super) async fn add_member(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let (name, user) = (part(&request, "name"), part(&request, "user"));
    reply::empty(
        &run(&request, &state, move |service, caller| service.change_principal(caller, Noun::Group, &name, Change::AddMember(&user))).await,
    )
}

/// `DELETE /api/v1/groups/{name}/members/{user}`
pub(in super::super) async fn remove_member(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let (name, user) = (part(&request, "name"), part(&request, "user"));
    reply::empty(
        &run(&request, &state, move |service, caller| service.change_principal(caller, Noun::Group, &name, Change::RemoveMember(&user)))
            .await,
    )
}
