//! What the API is, told from the route table: the OpenAPI document, and what the page to read is made of.
//!
//! A route is in it because it is in `../routes.rs`; `table.rs` says what each does. Must not know the verbs. Next:
//! `table.rs`, `../ui/reference.rs` for the page.

mod shape;
mod table;

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use self::shape::{Member, Shape};
use self::table::{About, Body, NAMED, ROUTES};
use super::reply;
use super::routes::{Access, Line, TABLE};

/// `GET /api/v1/openapi.json`
pub(super) async fn openapi() -> HttpResponse {
    /// The table does not change while the server runs, and anyone may ask.
    static DOCUMENT: LazyLock<Box<RawValue>> = LazyLock::new(|| to_raw_value(&document()).unwrap_or_default());
    reply::json(StatusCode::OK, &Ok(&*DOCUMENT))
}

/// The lines of the route table with what is told of each.
fn told() -> impl Iterator<Item = (&'static Line, &'static About)> {
    TABLE.iter().filter_map(|line| Some((line, ROUTES.iter().find(|about| about.route == (line.method, line.path))?)))
}

/// A part of a path that varies: its name, and the words it may be where not every one is taken.
type Part = (&'static str, Option<Vec<&'static str>>);

/// The router's pattern as OpenAPI writes it, and its parts.
fn plain(pattern: &'static str) -> (String, Vec<Part>) {
    let (mut path, mut parts) = (String::new(), Vec::new());
    let mut rest = pattern;
    while let Some((before, (inside, after))) = rest.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        let (name, words) = inside.split_once(':').unwrap_or((inside, ""));
        path.push_str(&format!("{before}{{{name}}}"));
        parts.push((name, words.contains('|').then(|| words.split('|').collect())));
        rest = after;
    }
    path.push_str(rest);
    (path, parts)
}

fn parameters(line: &'static Line, about: &About) -> Vec<Value> {
    let in_path = plain(line.path).1.into_iter().map(|(name, words)| {
        let mut schema = json!({ "type": "string" });
        if let (Some(words), Some(schema)) = (words, schema.as_object_mut()) {
            schema.insert("enum".to_owned(), json!(words));
        }
        json!({ "name": name, "in": "path", "required": true, "schema": schema })
    });
    let of = |place: &'static str| move |member: &Member| json!({ "name": member.name, "in": place, "required": member.required, "description": member.about, "schema": member.shape.schema() });
    in_path.chain(about.query.iter().map(of("query"))).chain(about.headers.iter().map(of("header"))).collect()
}

fn content(body: Body) -> Option<Value> {
    match body {
        Body::None => None,
        Body::Json(shape) => Some(json!({ "application/json": { "schema": shape.schema() } })),
        Body::Bytes(types) => {
            let all: Map<String, Value> = types.iter().map(|one| ((*one).to_owned(), json!({}))).collect();
            Some(Value::Object(all))
        }
    }
}

fn with_content(mut object: Value, body: Body) -> Value {
    if let (Some(content), Some(object)) = (content(body), object.as_object_mut()) {
        object.insert("content".to_owned(), content);
    }
    object
}

fn operation(line: &'static Line, about: &About) -> Value {
    let mut answers = Map::new();
    for (status, body) in about.answers {
        let meaning = StatusCode::from_u16(*status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
        answers.insert(status.to_string(), with_content(json!({ "description": meaning }), *body));
    }
    let refusal = if line.path.starts_with("/endpoints/") { "RuntimeError" } else { "Error" };
    let refused = if line.path.starts_with("/ui") { Body::Bytes(&["text/html"]) } else { Body::Json(Shape::Named(refusal)) };
    answers.insert("default".to_owned(), with_content(json!({ "description": "A refusal." }), refused));
    let id = format!("{}{}", line.method, plain(line.path).0.replace('/', "_").replace(['{', '}'], ""));
    let security = match line.access {
        Access::Open => json!([]),
        Access::Credential => json!([{ "bearer": [] }]),
        Access::Session => json!([{ "session": [] }]),
    };
    let asks = if about.action.is_empty() { "Asks no policy.".to_owned() } else { format!("Asks the policies for {}.", about.action) };
    let mut operation = json!({
        "operationId": id, "summary": about.summary, "description": asks, "security": security,
        "parameters": parameters(line, about), "responses": answers,
    });
    if let (Some(content), Some(operation)) = (content(about.body), operation.as_object_mut()) {
        // Where every member may be left out, so may the body.
        let required = !matches!(about.body, Body::Json(Shape::Object(members)) if members.iter().all(|member| !member.required));
        operation.insert("requestBody".to_owned(), json!({ "required": required, "content": content }));
    }
    operation
}

/// The OpenAPI document.
fn document() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for (line, about) in told() {
        let path = paths.entry(plain(line.path).0).or_insert_with(|| json!({}));
        if let Some(path) = path.as_object_mut() {
            path.insert(line.method.to_owned(), operation(line, about));
        }
    }
    let named = NAMED.iter().map(|(name, about, shape)| {
        let mut schema = shape.schema();
        if let Some(schema) = schema.as_object_mut() {
            schema.insert("description".to_owned(), json!(about));
        }
        ((*name).to_owned(), schema)
    });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Rookery", "version": env!("CARGO_PKG_VERSION"), "description": env!("CARGO_PKG_DESCRIPTION") },
        "paths": paths,
        "components": {
            "schemas": named.collect::<Map<String, Value>>(),
            "securitySchemes": {
                "bearer": { "type": "http", "scheme": "bearer", "description": "An API key, or a token from POST /api/v1/login." },
                "session": { "type": "apiKey", "in": "cookie", "name": "rookery_session", "description": "The console's." },
            },
        },
    })
}

/// What the page shows of a route.
pub(super) struct Entry {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) summary: &'static str,
    /// Who may call it, and what policies are asked for.
    pub(super) who: String,
    /// What is sent and answered: a word and a line for each.
    pub(super) parts: Vec<(String, String)>,
}

fn listed(members: &[Member]) -> String {
    let one = |member: &Member| match member.about {
        "" => format!("{}: {}", member.name, member.shape),
        about => format!("{}: {} ({about})", member.name, member.shape),
    };
    members.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn body_line(body: Body) -> Option<String> {
    match body {
        Body::None => None,
        Body::Json(shape) => Some(shape.to_string()),
        Body::Bytes(types) => Some(types.join(", ")),
    }
}

/// Every route, in the order of the table.
pub(super) fn entries() -> Vec<Entry> {
    let one = |(line, about): (&'static Line, &'static About)| {
        let who = match (line.access, about.action) {
            (Access::Open, _) => "Open to anyone.".to_owned(),
            (_, "") => "Takes a credential.".to_owned(),
            (_, action) => format!("Takes a credential that may {action}."),
        };
        let mut parts = Vec::new();
        for (word, members) in [("Query", about.query), ("Headers", about.headers)] {
            if !members.is_empty() {
                parts.push((word.to_owned(), listed(members)));
            }
        }
        parts.extend(body_line(about.body).map(|line| ("Body".to_owned(), line)));
        for (status, body) in about.answers {
            parts.push((status.to_string(), body_line(*body).unwrap_or_else(|| "no content".to_owned())));
        }
        Entry { method: line.method.to_uppercase(), path: plain(line.path).0, summary: about.summary, who, parts }
    };
    told().map(one).collect()
}

/// The shapes that have a name: it, what it is, what it looks like.
pub(super) fn shapes() -> impl Iterator<Item = (&'static str, &'static str, String)> {
    NAMED.iter().map(|(name, about, shape)| (*name, *about, shape.to_string()))
}
