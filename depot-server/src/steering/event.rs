//! What the journal of steering says.

use serde::{Deserialize, Serialize};

/// One row of the journal. Times are milliseconds since 1970, validators their numbers; no
/// validators are all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case", deny_unknown_fields)]
pub enum SteeringEvent {
    /// Somebody wants validators to take taps, or not to.
    Desired {
        /// Which.
        validators: Vec<u32>,
        /// `in-service` or `out-of-service`.
        word: String,
        /// For riders and the depot.
        reason: String,
        /// Until when.
        until: u64,
        /// Who.
        by: String,
    },
    /// Somebody wants nothing of them any more.
    Lifted {
        /// Which.
        validators: Vec<u32>,
        /// Why.
        why: String,
        /// Who.
        by: String,
    },
}
