//! `/api/v1/cache` and `/api/v1/audit`: what is in memory, and who changed what.

use actix_web::http::StatusCode;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{State, reply};
use super::{checked, listed, model_path, page, query, run};
use crate::service::memory::Memory;

fn shown(memory: &Memory) -> Value {
    let entry = |(entry, paths): &(crate::cache::Inspected<crate::names::Version>, Vec<String>)| {
        json!({
            "version": entry.key.to_string(), "paths": paths, "bytes": entry.weight, "hits": entry.hits,
            "idleSeconds": entry.idle.as_secs_f64(), "pinned": entry.pinned, "inUse": entry.in_use,
        })
    };
    let evicted = |one: &crate::cache::Evicted<crate::names::Version>| json!({ "version": one.key.to_string(), "bytes": one.weight, "why": one.why.word(), "secondsAgo": one.ago.as_secs_f64() });
    json!({
        "budgetBytes": memory.budget, "usedBytes": memory.used, "loads": memory.loads, "evictions": memory.evictions,
        "loaded": memory.entries.iter().map(entry).collect::<Vec<_>>(), "pins": memory.pins,
        "latestEvictions": memory.evicted.iter().map(evicted).collect::<Vec<_>>(),
    })
}

/// `GET /api/v1/cache`
pub(in super::super) async fn show(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let result = run(&request, &state, |service, caller| service.memory(caller)).await;
    reply::json(StatusCode::OK, &result.map(|memory| shown(&memory)))
}

/// `PUT /api/v1/cache/pins/{path}`: keeps the model in memory, and loads it
pub(in super::super) async fn pin(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let result = async {
        let path = model_path(&request, "/api/v1/cache/pins/")?;
        run(&request, &state, move |service, caller| service.pin(caller, &path)).await
    };
    reply::empty(&result.await)
}

/// `DELETE /api/v1/cache/pins/{path}`
pub(in super::super) async fn unpin(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let result = async {
        let path = model_path(&request, "/api/v1/cache/pins/")?;
        run(&request, &state, move |service, caller| service.unpin(caller, &path)).await
    };
    reply::empty(&result.await)
}

/// `POST /api/v1/cache/load/{path}`: loads the model ahead of its first call
pub(in super::super) async fn load(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let result = async {
        let path = model_path(&request, "/api/v1/cache/load/")?;
        let already = run(&request, &state, move |service, caller| service.load_model(caller, &path)).await?;
        Ok(json!({ "wasLoaded": already }))
    };
    reply::json(StatusCode::OK, &result.await)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AuditQuery {
    /// What `after` was called before this list was read like the others.
    #[serde(alias = "before", default)]
    after: String,
    #[serde(default = "page")]
    limit: usize,
}

/// `GET /api/v1/audit?after=&limit=`: changes, latest first
pub(in super::super) async fn audit(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let result = async {
        let AuditQuery { after, limit } = query(&request)?;
        let limit = checked(limit)?;
        let page = run(&request, &state, move |service, caller| service.audit(caller, &after, limit)).await?;
        let one = |change: &crate::store::audit::Change| json!({ "id": change.id, "at": change.at, "principal": change.principal, "action": change.action, "resource": change.resource });
        Ok(listed("changes", &page, one))
    };
    reply::json(StatusCode::OK, &result.await)
}
