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
    /// A signed release for one kind of machine is in the books.
    Image {
        /// The version of its list.
        number: u64,
        /// Its release.
        version: String,
        /// For which machines.
        target: String,
        /// Bytes of the list.
        length: u64,
        /// SHA-256 of the list, hexadecimal.
        hash: String,
        /// Who added it.
        by: String,
    },
    /// A release goes to some.
    Planned {
        /// The plan.
        number: u64,
        /// The release.
        version: String,
        /// Who gets it first.
        canaries: Vec<u32>,
        /// Of the others.
        percent: u8,
        /// It may replace a newer one.
        downgrade: bool,
        /// How long it may take to confirm itself, seconds.
        confirm_s: u32,
        /// Why.
        reason: String,
        /// Who.
        by: String,
    },
    /// It goes to more.
    Widened {
        /// The plan.
        plan: u64,
        /// Besides those before.
        canaries: Vec<u32>,
        /// No fewer than before.
        percent: u8,
        /// Why.
        reason: String,
        /// Who.
        by: String,
    },
    /// Nobody begins, and who has not switched does not.
    Halted {
        /// The plan.
        plan: u64,
        /// Why.
        reason: String,
        /// A person, or `rule`.
        by: String,
    },
    /// It goes on.
    Resumed {
        /// The plan.
        plan: u64,
        /// Failures that were known.
        failures: u64,
        /// Why.
        reason: String,
        /// Who.
        by: String,
    },
    /// Nobody is given it any more.
    Ended {
        /// The plan.
        plan: u64,
        /// Why.
        reason: String,
        /// Who.
        by: String,
    },
    /// Somebody publishes settings.
    Settings {
        /// The version.
        number: u64,
        /// As it was written, TOML.
        text: String,
        /// Who gets it first.
        canaries: Vec<u32>,
        /// Of the others.
        percent: u8,
        /// Why.
        reason: String,
        /// Who.
        by: String,
    },
    /// They go to more.
    SettingsWidened {
        /// The version.
        number: u64,
        /// Besides those before.
        canaries: Vec<u32>,
        /// No fewer than before.
        percent: u8,
        /// Why.
        reason: String,
        /// Who.
        by: String,
    },
}
