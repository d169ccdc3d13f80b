//! The pages for one depot: names and time zone from its newest tariff.

use std::sync::Arc;

use axum::Router;
use clearing::Rules;
use jiff::tz::TimeZone;

use crate::{
    app::AppState,
    http::{self, Names, Site},
};

/// Everything that is answered over HTTP; also starts what keeps the pages live.
pub(crate) fn router(app: &AppState, rules: &Rules) -> Router {
    let tariffs = rules.tariffs();
    let name = tariffs.newest().timezone();
    let zone = TimeZone::get(name).unwrap_or_else(|error| {
        tracing::warn!(%error, zone = name, "the tariff's time zone is not known: using UTC");
        TimeZone::UTC
    });
    let site = Arc::new(Site::new(app.clone(), Names::of(tariffs), zone));
    tokio::spawn(http::pump(Arc::clone(&site)));
    http::router(site)
}
