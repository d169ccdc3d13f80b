//! Style sheet, scripts and icon, compiled in; and the squeezing of whatever is sent.
//!
//! All files share one address prefix made of the hash of all of them: modules import each other
//! by relative names, so they must change address together. The address never changes its
//! contents, and may be kept for ever.

use std::{io::Write as _, sync::LazyLock};

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{Path, Request},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use flate2::{Compression, write::GzEncoder};
use sha2::{Digest, Sha256};

use crate::config::to_hex;

struct Asset {
    name: &'static str,
    kind: &'static str,
    bytes: &'static [u8],
}

macro_rules! asset {
    ($name:literal, $kind:literal) => {
        Asset { name: $name, kind: $kind, bytes: include_bytes!(concat!("../../static/", $name)) }
    };
}

const ASSETS: &[Asset] = &[
    asset!("app.css", "text/css; charset=utf-8"),
    asset!("app.js", "text/javascript; charset=utf-8"),
    asset!("fleet.js", "text/javascript; charset=utf-8"),
    asset!("live.js", "text/javascript; charset=utf-8"),
    asset!("taps.js", "text/javascript; charset=utf-8"),
    asset!("theme.js", "text/javascript; charset=utf-8"),
    asset!("icon.svg", "image/svg+xml"),
];

/// Hash of all files, in the order of the list.
static SET: LazyLock<String> = LazyLock::new(|| {
    let mut hash = Sha256::new();
    for asset in ASSETS {
        hash.update(asset.name);
        hash.update([0]);
        hash.update(asset.bytes);
    }
    to_hex(&hash.finalize()[..8])
});

/// The address of a file, for templates.
pub(super) fn url(name: &str) -> String {
    format!("/static/{}/{name}", *SET)
}

/// A file; under a hash that is not this program's, none.
pub(super) async fn serve(
    Path((set, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response {
    let found = ASSETS.iter().find(|asset| set == *SET && asset.name == name);
    let Some(asset) = found else {
        return (StatusCode::NOT_FOUND, "no such file\n").into_response();
    };
    let tag = format!("\"{set}\"");
    if headers.get(header::IF_NONE_MATCH).is_some_and(|seen| seen.as_bytes() == tag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let mut response = asset.bytes.into_response();
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.kind));
    out.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static("public, max-age=31536000, immutable"),
    );
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        out.insert(header::ETAG, tag);
    }
    response
}

/// Below this, squeezing costs more than it saves.
const SQUEEZE_FROM: usize = 1024;
/// Nothing but a stream is larger, and streams are not squeezed.
const SQUEEZE_MAX: usize = 16 << 20;

/// Compresses text for browsers that take it; event streams pass as they are.
pub(super) async fn squeeze(request: Request, next: Next) -> Response {
    let accepts = request
        .headers()
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("gzip"));
    let response = next.run(request).await;
    let is_text = response
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| {
            let whole = ["text/html", "text/css", "text/javascript", "application/json"];
            whole.iter().any(|prefix| kind.starts_with(prefix)) || kind == "image/svg+xml"
        });
    if !accepts || !is_text {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let Ok(plain) = to_bytes(body, SQUEEZE_MAX).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    head.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    match gzip(&plain) {
        Some(small) => {
            head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            head.headers.remove(header::CONTENT_LENGTH);
            Response::from_parts(head, Body::from(small))
        }
        None => Response::from_parts(head, Body::from(plain)),
    }
}

/// Smaller bytes, or none when it is not worth it.
fn gzip(plain: &Bytes) -> Option<Vec<u8>> {
    if plain.len() < SQUEEZE_FROM {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 3), Compression::new(6));
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}
