//! `/api/v1/models`: upload, list, show, delete; history and rollback.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::body::{self, Pace};
use super::super::{State, caller, reply};
use super::{checked, model_path, page, parse, query, run, text};
use crate::error::{Error, Kind, Result};
use crate::names::Version;
use crate::service::invoke::blocking;
use crate::service::models::{Published, Shown, Upload};
use crate::store::models::Precondition;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    after: String,
    #[serde(default = "page")]
    limit: usize,
}

fn shown(model: &Shown) -> Value {
    let summary = &model.summary;
    json!({
        "path": model.path, "version": model.version.to_string(), "bytes": model.bytes, "format": summary.format, "kind": summary.kind,
        "library": summary.library, "features": summary.features, "featureNames": summary.names, "inputs": summary.inputs, "outputs": summary.outputs,
        "answers": summary.answers, "trees": summary.trees, "memoryBytes": summary.weight, "coreBytes": summary.core, "loaded": model.loaded,
        "createdAt": model.created_at, "updatedAt": model.updated_at,
    })
}

fn published(published: &Published) -> HttpResponse {
    let status = if published.created { StatusCode::CREATED } else { StatusCode::OK };
    let summary = &published.summary;
    HttpResponse::build(status).insert_header((header::ETAG, format!("\"{}\"", published.version))).json(json!({
        "path": published.path.as_str(), "version": published.version.to_string(), "created": published.created, "format": summary.format,
        "kind": summary.kind, "features": summary.features, "outputs": summary.outputs, "memoryBytes": summary.weight,
    }))
}

/// `If-Match` and `If-None-Match` as a precondition.
fn precondition(request: &HttpRequest) -> Result<Precondition> {
    let read = |name| caller::text(request.headers(), &name);
    match (read(header::IF_MATCH)?, read(header::IF_NONE_MATCH)?) {
        (None, None) => Ok(Precondition::None),
        (Some("*"), None) => Ok(Precondition::Present),
        (Some(tag), None) => Ok(Precondition::Is(Version::parse(tag.trim().trim_matches('"'))?)),
        (None, Some("*")) => Ok(Precondition::Absent),
        (None, Some(_)) => Err(Error::invalid("If-None-Match takes `*` alone: upload only if the path is new")),
        (Some(_), Some(_)) => Err(Error::invalid("send If-Match or If-None-Match, not both")),
    }
}

/// `GET /api/v1/models?prefix=&after=&limit=`
pub(in super::super) async fn list(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let result = async {
        let ListQuery { prefix, after, limit } = query(&request)?;
        let limit = checked(limit)?;
        let page = run(&request, &state, move |service, caller| service.models(caller, &prefix, &after, limit)).await?;
        Ok(json!({ "models": page.models.iter().map(shown).collect::<Vec<_>>(), "next": page.next }))
    };
    reply::json(StatusCode::OK, &result.await)
}

/// `GET /api/v1/models/{path}`
pub(in super::super) async fn show(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let result = async {
        let path = model_path(&request, "/api/v1/models/")?;
        run(&request, &state, move |service, caller| service.model_shown(caller, &path)).await
    };
    match result.await {
        Ok(model) => {
            let mut told = shown(&model);
            if let Some(told) = told.as_object_mut().filter(|_| !model.summary.categories.is_empty()) {
                told.insert(
                    "categories".to_owned(),
                    model.summary.categories.iter().map(|(name, texts)| (name.clone(), json!(texts))).collect(),
                );
            }
            HttpResponse::Ok().insert_header((header::ETAG, format!("\"{}\"", model.version))).json(told)
        }
        Err(error) => reply::error(&error),
    }
}

/// `PUT /api/v1/models/{path}`: the artifact's bytes as the body.
pub(in super::super) async fn put(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let result = async {
        let path = model_path(&request, "/api/v1/models/")?;
        let precondition = precondition(&request)?;
        let limit = state.service.options().upload;
        let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        let upload = run(&request, &state, move |service, caller| service.upload(caller, path, precondition)).await?;
        if announced.is_some_and(|announced| announced > limit) {
            return Err(Error::new(Kind::TooLarge, format!("the artifact is larger than {limit} bytes, the most that can be uploaded")));
        }
        receive(upload, &mut payload, &state).await
    };
    match result.await {
        Ok(done) => published(&done),
        Err(error) => reply::error(&error),
    }
}

/// Streams the body into the upload; no more than a few pieces are in memory.
async fn receive(mut upload: Upload, payload: &mut Payload, state: &State) -> Result<Published> {
    let (mut pace, mut held) = (Pace::new(state.idle), state.room.share(0)?);
    while let Some(piece) = body::next(payload, state.idle).await? {
        pace.keep(piece.len())?;
        let full = upload.push(&piece)?;
        held.reach(upload.buffered())?;
        if full {
            upload = blocking(move || upload.flush().map(|()| upload)).await?;
        }
    }
    let published = upload.finish().await;
    drop(held);
    published
}

/// `DELETE /api/v1/models/{path}`
pub(in super::super) async fn delete(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let result = async {
        let path = model_path(&request, "/api/v1/models/")?;
        let precondition = precondition(&request)?;
        run(&request, &state, move |service, caller| service.delete_model(caller, &path, precondition)).await
    };
    reply::empty(&result.await)
}

/// `GET /api/v1/versions/{path}`
pub(in super::super) async fn versions(request: HttpRequest, state: Data<State>) -> HttpResponse {
    let result = async {
        let path = model_path(&request, "/api/v1/versions/")?;
        let entries = run(&request, &state, move |service, caller| service.model_history(caller, &path)).await?;
        let entry = |entry: &crate::store::models::Entry| {
            json!({
                "sequence": entry.seq, "version": entry.version.to_string(), "publishedAt": entry.published_at,
                "publishedBy": entry.published_by, "current": entry.current,
            })
        };
        Ok(json!({ "versions": entries.iter().map(entry).collect::<Vec<_>>() }))
    };
    reply::json(StatusCode::OK, &result.await)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RollBack {
    #[serde(default)]
    version: Option<String>,
}

/// `POST /api/v1/rollback/{path}`: to the version before the current, or `{"version":"…"}`.
pub(in super::super) async fn roll_back(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let result = async {
        let path = model_path(&request, "/api/v1/rollback/")?;
        let text = text(&request, &state, &mut payload).await?;
        let asked: RollBack = if text.trim().is_empty() { RollBack::default() } else { parse(&text)? };
        let version = asked.version.as_deref().map(Version::parse).transpose()?;
        let precondition = precondition(&request)?;
        run(&request, &state, move |service, caller| service.roll_back(caller, &path, version, precondition)).await
    };
    match result.await {
        Ok(done) => published(&done),
        Err(error) => reply::error(&error),
    }
}
