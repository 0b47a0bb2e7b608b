//! Signing in and out, and the page that makes the first administrator.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{Data, Payload, Query};
use actix_web::{HttpRequest, HttpResponse};
use maud::{Markup, html};
use serde::Deserialize;
use subtle::ConstantTimeEq as _;

use super::super::reply;
use super::{COOKIE, State, caller, cookie, form, own_form, page, refused, same_origin, see, status, visitor};
use crate::error::{Error, Kind, Result};
use crate::service::invoke::blocking;

#[derive(Deserialize)]
pub(in super::super) struct SignIn {
    name: String,
    password: String,
}

fn fields(action: &str, button: &str, complaint: Option<&str>, autocomplete: &str) -> Markup {
    html! {
        @if let Some(complaint) = complaint { p.notice.bad role="alert" { (complaint) } }
        form.card method="post" action=(action) {
            label { "User name" input name="name" required autofocus autocomplete="username" maxlength="64"; }
            label { "Password" input name="password" type="password" required autocomplete=(autocomplete) minlength="8"; }
            button type="submit" { (button) }
        }
    }
}

/// `GET /ui/sign-in`
pub(in super::super) async fn page() -> HttpResponse {
    page::send(StatusCode::OK, &page::frame("Sign in", None, &fields("/ui/sign-in", "Sign in", None, "current-password")))
}

/// `POST /ui/sign-in`
pub(in super::super) async fn sign_in(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let result = async {
        same_origin(&request, &state)?;
        let SignIn { name, password } = form(&request, &mut payload, &state).await?;
        let (service, address) = (state.service.clone(), caller::address(request.head(), &state));
        blocking(move || service.sign_in(&name, &password, address)).await
    };
    match result.await {
        Ok(signed) => {
            let secure = if caller::secure(request.head(), &state) { "; Secure" } else { "" };
            let cookie = format!("{COOKIE}={}; Path=/ui; HttpOnly; SameSite=Strict; Max-Age={}{secure}", signed.cookie, signed.seconds);
            HttpResponse::SeeOther().insert_header((header::LOCATION, "/ui/models")).insert_header((header::SET_COOKIE, cookie)).finish()
        }
        Err(error) => {
            let body = fields("/ui/sign-in", "Sign in", Some(error.message()), "current-password");
            let mut page = page::send(status(&error), &page::frame("Sign in", None, &body));
            if let Some(seconds) = reply::retry_after(error.kind()) {
                page.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(seconds));
            }
            page
        }
    }
}

#[derive(Deserialize)]
pub(in super::super) struct SignOut {
    csrf: String,
}

/// `POST /ui/sign-out`
pub(in super::super) async fn sign_out(request: HttpRequest, mut payload: Payload, state: Data<State>) -> HttpResponse {
    let result = async {
        same_origin(&request, &state)?;
        let visitor = visitor(&request, &state).await?;
        let SignOut { csrf } = form(&request, &mut payload, &state).await?;
        own_form(&visitor, &csrf)?;
        let (service, cookie) = (state.service.clone(), cookie(&request).unwrap_or_default());
        blocking(move || service.sign_out(&cookie)).await
    };
    match result.await {
        Ok(()) => {
            let gone = format!("{COOKIE}=; Path=/ui; HttpOnly; SameSite=Strict; Max-Age=0");
            HttpResponse::SeeOther().insert_header((header::LOCATION, "/ui/sign-in")).insert_header((header::SET_COOKIE, gone)).finish()
        }
        Err(error) => refused(&error),
    }
}

#[derive(Deserialize)]
pub(in super::super) struct Token {
    #[serde(default)]
    token: String,
}

/// The link is printed on the server's terminal once, and holds only while nobody can sign in.
fn claimable(state: &State, token: &str) -> Result<()> {
    if state.service.is_unclaimed() && bool::from(state.setup.as_bytes().ct_eq(token.as_bytes())) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Denied,
        "this link does not hold; take the one the server printed when it started, or sign in if there is an administrator",
    ))
}

fn setup_form(token: &str, complaint: Option<&str>) -> Markup {
    let action = format!("/ui/setup?token={token}");
    let body = html! {
        p { "Nobody can sign in yet. Choose the name and password of the first administrator." }
        (fields(&action, "Create administrator", complaint, "new-password"))
    };
    page::frame("Set up Rookery", None, &body)
}

/// `GET /ui/setup?token=`
pub(in super::super) async fn setup_page(query: Query<Token>, state: Data<State>) -> HttpResponse {
    match claimable(&state, &query.token) {
        Ok(()) => page::send(StatusCode::OK, &setup_form(&query.token, None)),
        Err(error) => refused(&error),
    }
}

/// `POST /ui/setup?token=`
pub(in super::super) async fn setup(request: HttpRequest, mut payload: Payload, query: Query<Token>, state: Data<State>) -> HttpResponse {
    if let Err(error) = claimable(&state, &query.token).and_then(|()| same_origin(&request, &state)) {
        return refused(&error);
    }
    let SignIn { name, password } = match form(&request, &mut payload, &state).await {
        Ok(sent) => sent,
        Err(error) => return refused(&error),
    };
    let service = state.service.clone();
    match blocking(move || service.claim(&name, &password)).await {
        Ok(()) => see("/ui/sign-in"),
        Err(error) => page::send(status(&error), &setup_form(&query.token, Some(error.message()))),
    }
}
