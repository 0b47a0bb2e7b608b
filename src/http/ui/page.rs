//! The frame of every page: head, navigation, policy headers.

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use maud::{DOCTYPE, Markup, html};

/// No script or style but our own files, no frames, forms only to ourselves.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; \
    frame-ancestors 'none'; base-uri 'none'";

/// Sends a page.
pub(super) fn send(status: StatusCode, page: &Markup) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(page.0.clone())
}

/// A page; `user` is the name and form token of whoever is signed in.
pub(super) fn frame(title: &str, user: Option<(&str, &str)>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – Rookery" }
                link rel="icon" href="/ui/static/rookery.svg";
                link rel="stylesheet" href="/ui/static/console.css";
            }
            body {
                header {
                    a.brand href="/ui/models" { img src="/ui/static/rookery.svg" alt="" width="28" height="28"; "Rookery" }
                    @if let Some((name, csrf)) = user {
                        nav aria-label="Console" {
                            a href="/ui/models" { "Models" }
                            a href="/ui/upload" { "Upload" }
                        }
                        form.sign-out method="post" action="/ui/sign-out" {
                            input type="hidden" name="csrf" value=(csrf);
                            span { (name) }
                            button.quiet type="submit" { "Sign out" }
                        }
                    }
                }
                main { h1 { (title) } (body) }
            }
        }
    }
}

/// A page with one sentence.
pub(super) fn message(title: &str, text: &str) -> Markup {
    frame(title, None, &html! { p.notice.bad role="alert" { (text) } p { a href="/ui/models" { "Back to the models" } } })
}
