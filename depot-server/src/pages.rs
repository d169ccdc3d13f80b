//! The pages for one depot: names and time zone from its newest tariff.

use axum::{Router, routing::get};
use clearing::Rules;

use crate::app::AppState;

/// Everything that is answered over HTTP.
pub(crate) fn router(app: &AppState, _rules: &Rules) -> Router {
    let app = app.clone();
    Router::new().route("/metrics", get(move || async move { app.metrics.render() }))
}
