//! The list of models and the upload form.

use std::time::Duration;

use actix_multipart::{Field, Multipart};
use actix_web::http::StatusCode;
use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::{Stream, StreamExt as _};
use maud::{Markup, html};
use serde::Deserialize;

use super::super::body::Pace;
use super::{State, Visitor, own_form, page, refused, same_origin, see, status, visitor};
use crate::error::{Error, Kind, Result};
use crate::names::ModelPath;
use crate::runtime::TAKEN;
use crate::service::invoke::blocking;
use crate::service::models::{Page, Published, Shown};
use crate::store::models::Precondition;

const PAGE: usize = 100;
/// The longest text field of the form.
const FIELD_MAX: usize = 2048;

#[derive(Deserialize)]
pub(in super::super) struct ListQuery {
    #[serde(default)]
    prefix: String,
    #[serde(default)]
    after: String,
    #[serde(default)]
    done: String,
}

fn signed_in(visitor: &Visitor) -> Option<(&str, &str)> {
    Some((&visitor.caller.principal().name, &visitor.session.csrf))
}

/// Bytes as people read them.
fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let bytes = bytes as f64;
    match bytes {
        b if b < 1_000.0 => format!("{b} B"),
        b if b < 1_000_000.0 => format!("{:.1} KiB", b / 1024.0),
        b if b < 1_000_000_000.0 => format!("{:.1} MiB", b / 1_048_576.0),
        b => format!("{:.1} GiB", b / 1_073_741_824.0),
    }
}

fn table(page: &Page, prefix: &str) -> Markup {
    let models: &[Shown] = &page.models;
    html! {
        table {
            thead { tr { th { "Path" } th.number { "Size" } th { "Format" } th.number { "Features" } th { "Version" } th.number { "In memory" } th { "Loaded" } } }
            tbody {
                @for model in models {
                    tr {
                        td { code { (model.path) } }
                        td.number { (size(model.bytes)) }
                        td { (model.summary.format) " " span.dim { (model.summary.kind) } }
                        td.number { (model.summary.features) }
                        td { code title=(model.version) { (model.version.to_string().get(..12).unwrap_or_default()) } }
                        td.number { (size(model.summary.weight as u64)) }
                        td { @if model.loaded { span.badge { "loaded" } } @else { span.dim { "on disk" } } }
                    }
                }
            }
        }
        @if let Some(next) = &page.next {
            p { a href={ "/ui/models?" (encode(&[("prefix", prefix), ("after", next)])) } { "Next page" } }
        }
    }
}

fn encode(pairs: &[(&str, &str)]) -> String {
    let mut out = String::new();
    for (name, value) in pairs {
        if !out.is_empty() {
            out.push('&');
        }
        out.push_str(name);
        out.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                out.push(char::from(byte));
            } else {
                out.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    out
}

/// `GET /ui/models`
pub(in super::super) async fn list(request: HttpRequest, query: Query<ListQuery>, state: Data<State>) -> HttpResponse {
    let visitor = match visitor(&request, &state).await {
        Ok(visitor) => visitor,
        Err(error) => return refused(&error),
    };
    let (service, caller) = (state.service.clone(), visitor.caller.clone());
    let (prefix, after) = (query.prefix.clone(), query.after.clone());
    let result = blocking(move || service.models(&caller, &prefix, &after, PAGE)).await;
    // Whoever may list one collection only is refused the whole list, and needs the filter to get to theirs.
    let body = html! {
        @if !query.done.is_empty() { p.notice.good role="status" { "Uploaded " code { (query.done) } "." } }
        form.filter method="get" action="/ui/models" role="search" {
            label { "Prefix" input name="prefix" value=(query.prefix) placeholder="housing/cities/"; }
            button.quiet type="submit" { "Filter" }
        }
        @match &result {
            Err(error) => { p.notice.bad role="alert" { (error.message()) } }
            Ok(page) if !page.models.is_empty() || page.next.is_some() => { (table(page, &query.prefix)) }
            Ok(_) if !query.prefix.is_empty() => { p.empty { "No models here begin with this prefix." } }
            Ok(_) => {
                p.empty { "No models here yet. " a href="/ui/upload" { "Upload one" } ", or send it with " code { "rookery model put" } "." }
            }
        }
    };
    let status = result.as_ref().err().map_or(StatusCode::OK, status);
    page::send(status, &page::frame("Models", signed_in(&visitor), &body))
}

fn upload_form(visitor: &Visitor, complaint: Option<&str>) -> Markup {
    let body = html! {
        @if let Some(complaint) = complaint { p.notice.bad role="alert" { (complaint) } }
        form.card #upload method="post" action="/ui/upload" enctype="multipart/form-data" {
            input type="hidden" name="csrf" value=(visitor.session.csrf);
            label { "Model path" input name="path" required maxlength="1024" placeholder="housing/cities/NewYork_NY.json"; }
            label { "File" input name="file" type="file" required; }
            p.dim { "Taken are " (TAKEN) "." }
            progress max="1" value="0" hidden {}
            p.notice.bad role="alert" hidden {}
            button type="submit" { "Upload" }
        }
        script src="/ui/static/console.js" defer {}
    };
    page::frame("Upload a model", signed_in(visitor), &body)
}

/// `GET /ui/upload`
pub(in super::super) async fn upload_page(request: HttpRequest, state: Data<State>) -> HttpResponse {
    match visitor(&request, &state).await {
        Ok(visitor) => page::send(StatusCode::OK, &upload_form(&visitor, None)),
        Err(error) => refused(&error),
    }
}

/// `POST /ui/upload`: fields `csrf` and `path`, then the file, as the form has them.
pub(in super::super) async fn upload(request: HttpRequest, mut parts: Multipart, state: Data<State>) -> HttpResponse {
    let visitor = match visitor(&request, &state).await.and_then(|visitor| same_origin(&request, &state).map(|()| visitor)) {
        Ok(visitor) => visitor,
        Err(error) => return refused(&error),
    };
    match receive(&visitor, &mut parts, &state).await {
        Ok(published) => see(&format!("/ui/models?{}", encode(&[("done", published.path.as_str())]))),
        Err(error) => page::send(status(&error), &upload_form(&visitor, Some(error.message()))),
    }
}

async fn receive(visitor: &Visitor, parts: &mut Multipart, state: &Data<State>) -> Result<Published> {
    let broken = || Error::invalid("the form broke off; send it again");
    let (mut trusted, mut path) = (false, None);
    while let Some(field) = next(parts, state.idle).await? {
        let mut field = field.map_err(|_| broken())?;
        match field.name() {
            Some("csrf") => {
                own_form(visitor, &text(&mut field, state.idle).await?)?;
                trusted = true;
            }
            Some("path") => path = Some(ModelPath::parse(&text(&mut field, state.idle).await?)?),
            Some("file") => {
                if !trusted {
                    return Err(Error::new(Kind::Denied, "the form is out of date; open the page again and send it from there"));
                }
                let path = path.take().ok_or_else(|| Error::invalid("the model path is missing"))?;
                let (mut pace, mut held) = (Pace::new(state.idle), state.room.share(0)?);
                let mut upload = state.service.upload(&visitor.caller, path, Precondition::None)?;
                while let Some(piece) = next(&mut field, state.idle).await? {
                    let piece = piece.map_err(|_| broken())?;
                    pace.keep(piece.len())?;
                    let full = upload.push(&piece)?;
                    held.reach(upload.buffered())?;
                    if full {
                        upload = blocking(move || upload.flush().map(|()| upload)).await?;
                    }
                }
                let published = upload.finish().await;
                drop(held);
                return published;
            }
            _ => return Err(Error::invalid("the form has a field that is not known")),
        }
    }
    Err(Error::invalid("the form carries no file; choose one"))
}

/// The next piece of a form, which may pause no longer than any body.
async fn next<S: Stream + Unpin>(stream: &mut S, idle: Duration) -> Result<Option<S::Item>> {
    let paused = |_| Error::invalid("the form paused for too long; send it again");
    tokio::time::timeout(idle, stream.next()).await.map_err(paused)
}

async fn text(field: &mut Field, idle: Duration) -> Result<String> {
    let mut bytes = Vec::new();
    while let Some(piece) = next(field, idle).await? {
        bytes.extend_from_slice(&piece.map_err(|_| Error::invalid("the form broke off; send it again"))?);
        if bytes.len() > FIELD_MAX {
            return Err(Error::new(Kind::TooLarge, format!("a field of the form is longer than {FIELD_MAX} bytes")));
        }
    }
    String::from_utf8(bytes).map_err(|_| Error::invalid("a field of the form is not UTF-8"))
}
