//! The operators' dashboard: pages, server-sent events and the API behind the pages.
//!
//! Everything is asked of [`views::Books`] off the async threads and shown by templates; nothing
//! here decides anything about money. Every answer carries a policy that forbids inline script and
//! style, and only `/login`, `/healthz`, `/metrics` and `/static` are open without a session.

mod adjustments;
mod assets;
mod cards;
mod exceptions;
#[cfg(test)]
mod fixture;
mod fleet;
mod fleet_filter;
mod frame;
mod hotlist;
mod language;
mod live;
mod money;
mod names;
mod needs;
mod overview;
mod parts;
pub mod payments;
mod query;
mod rollouts;
mod service;
mod session;
mod taps;
#[cfg(test)]
mod tests;
mod validator;
pub mod views;
pub mod words;

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use jiff::tz::TimeZone;
use model::Timestamp;

pub use live::{Hub, pump};
pub use names::Names;

use crate::{app::AppState, clock::Stopwatch};
use views::{Books, BooksError};

/// What one dashboard shows, and how.
pub struct Site {
    /// What the whole server shares.
    pub app: AppState,
    /// Names of places, routes and rider classes.
    pub names: Names,
    /// The agency's zone: all times are shown in it.
    pub zone: TimeZone,
    /// The hour at which a service day starts.
    pub day_starts: i8,
    /// Where pages hear of changes.
    pub hub: Hub,
}

type Shared = Arc<Site>;

impl Site {
    /// A dashboard whose service day starts at three in the morning.
    pub fn new(app: AppState, names: Names, zone: TimeZone) -> Self {
        Self { app, names, zone, day_starts: 3, hub: Hub::default() }
    }

    /// Puts a question to the books without holding up the other requests.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn Books) -> Result<T, BooksError> + Send + 'static,
    ) -> Result<T, Problem> {
        self.app.ask(question).await.map_err(Problem::from)
    }

    fn now(&self) -> Timestamp {
        self.app.clock.now()
    }

    fn times(&self) -> parts::Times {
        parts::Times::new(self.zone.clone(), self.now())
    }
}

/// Everything the dashboard answers.
pub fn router(site: Shared) -> Router {
    let inside = Router::new()
        .route("/", get(overview::page))
        .route("/fleet", get(fleet::page))
        .route("/api/v1/fleet/snapshot", get(fleet::snapshot))
        .route("/fleet/service", get(service::page).post(service::decide))
        .route("/fleet/{id}", get(validator::page))
        .route("/taps", get(taps::page))
        .route("/api/v1/taps", get(taps::rows))
        .route("/cards", get(cards::find_page).post(cards::find))
        .route("/cards/{handle}", get(cards::page))
        .route("/exceptions", get(exceptions::page))
        .route("/exceptions/{id}", get(exceptions::detail))
        .route("/hotlist", get(hotlist::page))
        .route("/rollouts", get(rollouts::page).post(rollouts::decide))
        .route("/money", get(money::page))
        .route("/events", get(live::events))
        .route("/language", post(language::choose))
        .route("/logout", post(session::logout))
        .fallback(async || Problem::NotFound("There is no such page."))
        .layer(middleware::from_fn_with_state(Arc::clone(&site), session::required));
    Router::new()
        .route("/login", get(session::login_page).post(session::login))
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .route("/static/{set}/{name}", get(assets::serve))
        .merge(inside)
        .layer(middleware::from_fn(assets::squeeze))
        .layer(middleware::from_fn_with_state(Arc::clone(&site), guard))
        .with_state(site)
}

/// Alive when the books answer.
async fn healthz(State(site): State<Shared>) -> Response {
    match site.ask(|books| books.taps_by_minute(Timestamp(0), 0)).await {
        Ok(_) => (StatusCode::OK, "ok\n").into_response(),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "the books do not answer\n").into_response(),
    }
}

async fn metrics(State(site): State<Shared>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, site.app.metrics.render()).into_response()
}

/// What a browser may do with any of these pages.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' data:; font-src 'self'; connect-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
    trusted-types tapline";

async fn guard(State(site): State<Shared>, request: Request, next: Next) -> Response {
    let watch = Stopwatch::start();
    let mut response = next.run(request).await;
    let metrics = &site.app.metrics;
    metrics.http_duration.observe(watch.elapsed().as_secs_f64());
    let class = match response.status().as_u16() {
        100..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    };
    metrics.http_requests.with_label_values(&[class]).inc();
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-security-policy", POLICY),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("permissions-policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
    ] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Why a page cannot be shown.
#[derive(Debug)]
enum Problem {
    /// No such thing, in words.
    NotFound(&'static str),
    /// The request cannot be understood, in words.
    BadRequest(String),
    /// Something of ours is broken; the log has the cause.
    Broken,
}

impl From<BooksError> for Problem {
    fn from(error: BooksError) -> Self {
        tracing::error!(question = error.question, error = %error.source, "the books failed");
        Self::Broken
    }
}

impl From<askama::Error> for Problem {
    fn from(error: askama::Error) -> Self {
        tracing::error!(%error, "a page could not be rendered");
        Self::Broken
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, title, text) = match self {
            Self::NotFound(text) => (StatusCode::NOT_FOUND, "Not found", text.to_owned()),
            Self::BadRequest(text) => (StatusCode::BAD_REQUEST, "Not understood", text),
            Self::Broken => (
                StatusCode::INTERNAL_SERVER_ERROR,
                "The depot could not answer",
                "Nothing is lost: what was booked stays booked. The cause is in the depot \
                 server's log; see the runbook in docs/OPERATING.md. Try again in a moment."
                    .to_owned(),
            ),
        };
        (status, frame::problem(title, &text)).into_response()
    }
}
