//! The page that tells what every route does, takes and answers. Open to anyone, like the document it is made of.
//!
//! Next: `../reference/mod.rs`.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use maud::html;

use super::super::reference::{entries, shapes};
use super::page;

/// `GET /docs`
pub(in super::super) async fn page() -> HttpResponse {
    let body = html! {
        p { "For tools: " a href="/api/v1/openapi.json" { "OpenAPI" } ". A credential is an API key or a token from a login, sent as "
            code { "Authorization: Bearer" } ". A name with " code { "?" } " may be left out." }
        @for route in entries() {
            section {
                h2 { code { (route.method) " " (route.path) } }
                p { (route.summary) " " span.dim { (route.who) } }
                dl { @for (word, line) in route.parts { dt { (word) } dd { (line) } } }
            }
        }
        h2 { "Shapes" }
        dl { @for (name, about, line) in shapes() { dt id=(name) { (name) } dd { (about) " " code { (line) } } } }
    };
    page::send(StatusCode::OK, &page::frame("HTTP API", None, &body))
}
