//! `POST /channel/{number}/payments`: what payment providers tell, each event signed (ADR-0021).
//!
//! No session and no cookie is looked at here: the signature alone says who speaks. Bodies are
//! small and must come soon, so that nobody can hold many of them open.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::{Body, to_bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use model::ChannelId;
use serde_json::json;

use crate::{
    channels::webhook::{HookError, Secrets, take},
    config::Channel,
    intake::{Workplace, run::chain},
    orders::OrderRules,
};

/// Bytes of an event.
const BODY_MAX: usize = 16 * 1024;
/// How long an event may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// What the events of channels are taken with.
#[derive(Clone)]
pub struct Hooks {
    place: Workplace,
    rules: OrderRules,
    channels: Arc<BTreeMap<u16, (Secrets, u32)>>,
}

impl Hooks {
    /// Of those channels that have secrets.
    pub fn new(place: Workplace, rules: OrderRules, channels: Vec<(Channel, Secrets)>) -> Self {
        let by_number = channels
            .into_iter()
            .map(|(channel, secrets)| (channel.number, (secrets, channel.signature_tolerance_s)));
        Self { place, rules, channels: Arc::new(by_number.collect()) }
    }
}

/// The one address.
pub fn router(hooks: Hooks) -> Router {
    Router::new().route("/channel/{number}/payments", post(event)).with_state(hooks)
}

/// Answers on a socket of its own.
#[cfg(test)]
pub(crate) async fn serve(listener: tokio::net::TcpListener, hooks: Hooks) -> std::io::Result<()> {
    axum::serve(listener, router(hooks)).await
}

async fn event(
    State(hooks): State<Hooks>,
    Path(number): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let channel = number.parse::<u16>().ok();
    let hook = channel.and_then(|number| Some((number, hooks.channels.get(&number)?.clone())));
    let Some((number, (secrets, tolerance_s))) = hook else {
        let text = "no such channel, or `[[channel]] secret_file` is not set for it";
        return refused(404, "unknown-channel", text);
    };
    let body = match tokio::time::timeout(BODY_WITHIN, to_bytes(body, BODY_MAX)).await {
        Err(_) => return refused(408, "slow", "the body did not arrive within 10 seconds"),
        Ok(Err(_)) => {
            return refused(413, "too-large", "an event has up to 16384 bytes, and arrives whole");
        }
        Ok(Ok(body)) => body,
    };
    let header = headers.get("tapline-signature").and_then(|value| value.to_str().ok());
    let header = header.unwrap_or_default().to_owned();
    let done = tokio::task::spawn_blocking(move || {
        let now = hooks.place.clock.now();
        secrets.verify(&header, &body, now, tolerance_s)?;
        take(&hooks.place, hooks.rules, ChannelId(number), &body)
    });
    match done.await {
        Ok(Ok(answer)) => {
            tracing::info!(channel = number, result = answer.result, "event of a channel");
            Json(answer).into_response()
        }
        Ok(Err(error)) => problem(number, &error),
        Err(_) => refused(500, "broken", "the depot could not answer: try again"),
    }
}

fn problem(channel: u16, error: &HookError) -> Response {
    let (status, word) = error.status();
    if status >= 500 {
        tracing::error!(channel, error = %chain(error), "an event of a channel is not taken");
    } else {
        tracing::warn!(channel, reason = word, "an event of a channel is refused");
    }
    refused(status, word, &error.to_string())
}

fn refused(status: u16, word: &str, text: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    (status, Json(json!({ "error": word, "message": text }))).into_response()
}
