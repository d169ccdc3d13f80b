//! Signing in by a one-time token, and the session that every page but four needs.
//!
//! The cookie is `HttpOnly`, `SameSite=Strict` and, except on plain HTTP, bound to this host by its
//! name. A POST from another origin is refused before it is read.

use askama::Template;
use axum::{
    Form,
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::Next,
    response::{Html, IntoResponse, Redirect, Response},
};

use super::{Problem, Shared, Site, assets, query::Params};
use crate::auth::{LoginError, Session};

const NAME: &str = "__Host-tapline";
const NAME_PLAIN: &str = "tapline";

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    /// Set when a token was refused.
    refused: bool,
    /// Set when the sign-in succeeded.
    signed_in: bool,
}

fn page(status: StatusCode, refused: bool, signed_in: bool) -> Result<Response, Problem> {
    let html = LoginPage { refused, signed_in }.render()?;
    Ok((status, Html(html)).into_response())
}

/// The form; with `?token=` the sign-in itself, so that a printed link is enough.
pub(super) async fn login_page(
    State(site): State<Shared>,
    Query(params): Query<Params>,
) -> Result<Response, Problem> {
    match params.text("token") {
        Some(token) => redeem(&site, token.to_owned()).await,
        None => page(StatusCode::OK, false, false),
    }
}

/// The form, sent.
pub(super) async fn login(
    State(site): State<Shared>,
    Form(params): Form<Params>,
) -> Result<Response, Problem> {
    redeem(&site, params.text("token").unwrap_or_default().to_owned()).await
}

async fn redeem(site: &Site, token: String) -> Result<Response, Problem> {
    let (secret, _) = match site.app.redeem_login(token).await {
        Ok(session) => session,
        Err(LoginError::NotValid) => return page(StatusCode::FORBIDDEN, true, false),
        Err(error @ (LoginError::Store(_) | LoginError::Random(_))) => {
            tracing::error!(%error, "a login failed");
            return Err(Problem::Broken);
        }
    };
    // A page that moves on by itself, not a redirect: a strict cookie set on the way through a
    // redirect from another site would not be sent along.
    let mut response = page(StatusCode::OK, false, true)?;
    set_cookie(site, &mut response, secret.reveal(), "");
    Ok(response)
}

/// Ends the session.
pub(super) async fn logout(
    State(site): State<Shared>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    if let Some(secret) = cookie(&site, &headers)
        && let Err(error) = site.app.end_session(secret).await
    {
        tracing::error!(%error, "a session could not be ended");
        return Err(Problem::Broken);
    }
    let mut response = Redirect::to("/login").into_response();
    set_cookie(&site, &mut response, "", "; Max-Age=0");
    Ok(response)
}

/// Lets a request through with its [`Session`], or shows the way to sign in.
pub(super) async fn required(
    State(site): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    if request.method() == Method::POST && !same_origin(request.headers()) {
        return Problem::BadRequest("This form was sent from another site.".to_owned())
            .into_response();
    }
    let Some(secret) = cookie(&site, request.headers()) else {
        return sign_in(&request);
    };
    match still_valid(&site, secret).await {
        Ok(Some(session)) => {
            request.extensions_mut().insert(session);
            next.run(request).await
        }
        Ok(None) => sign_in(&request),
        Err(problem) => problem.into_response(),
    }
}

/// The session of a secret, if it is not over.
pub(super) async fn still_valid(site: &Site, secret: String) -> Result<Option<Session>, Problem> {
    site.app.session(secret).await.map_err(|error| {
        tracing::error!(%error, "a session could not be looked up");
        Problem::Broken
    })
}

/// Pages lead to the form; the API says 401, because a redirect would be read as an answer.
fn sign_in(request: &Request) -> Response {
    let path = request.uri().path();
    if path.starts_with("/api/") || path == "/events" {
        return (StatusCode::UNAUTHORIZED, "sign in at /login\n").into_response();
    }
    Redirect::to("/login").into_response()
}

/// The browser says where a form came from; a request that says nothing comes from no browser.
fn same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if let Some(site) = text("sec-fetch-site") {
        return site == "same-origin";
    }
    match (text("origin"), text("host")) {
        (Some(origin), Some(host)) => {
            origin.split_once("://").is_some_and(|(_, from)| from == host)
        }
        (Some(_), None) => false,
        (None, _) => true,
    }
}

/// The session's secret in a request.
pub(super) fn cookie(site: &Site, headers: &HeaderMap) -> Option<String> {
    let name = if plain_http(site) { NAME_PLAIN } else { NAME };
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split("; "))
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, value)| *key == name && !value.is_empty())
        .map(|(_, value)| value.to_owned())
}

/// A demo or a laboratory without TLS in front: the cookie must travel over plain HTTP.
pub(super) fn plain_http(site: &Site) -> bool {
    site.app.config.public_url().starts_with("http://")
}

fn set_cookie(site: &Site, response: &mut Response, value: &str, more: &str) {
    let (name, secure) = if plain_http(site) { (NAME_PLAIN, "") } else { (NAME, "; Secure") };
    let line = format!("{name}={value}; Path=/; HttpOnly; SameSite=Strict{secure}{more}");
    if let Ok(line) = HeaderValue::from_str(&line) {
        response.headers_mut().append(header::SET_COOKIE, line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_from_another_site_is_told_apart() {
        let check = |pairs: &[(&'static str, &'static str)], expected| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            assert_eq!(same_origin(&headers), expected, "{pairs:?}");
        };
        check(&[("sec-fetch-site", "same-origin")], true);
        check(&[("sec-fetch-site", "cross-site")], false);
        check(&[("sec-fetch-site", "same-site")], false);
        check(&[("origin", "http://depot:8080"), ("host", "depot:8080")], true);
        check(&[("origin", "http://evil"), ("host", "depot:8080")], false);
        check(&[("origin", "null"), ("host", "depot:8080")], false);
        check(&[("host", "depot:8080")], true);
    }
}
