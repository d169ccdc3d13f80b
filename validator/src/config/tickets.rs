//! `[tickets]` of the configuration file: whose tickets are taken, and when a code is a repetition.
//!
//! The keys are public, so they stand here: a validator can believe tickets and never make one.

use std::time::Duration;

use fleet_sync::VerifyingKey;
use model::Ticket;
use serde::{Deserialize, Serialize};
use ticket::TicketKeys;

use super::Config;
use crate::keys::parse_public;

/// `[tickets]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tickets {
    /// Public keys of the depot's ticket keys, 64 hexadecimal digits each: the one in use and,
    /// while tickets of an earlier one are out, that one too.
    pub keys: Vec<String>,
    /// The same code again within this many milliseconds of being in sight is the scanner
    /// repeating itself, and nobody is told anything.
    pub repeat_ms: u32,
}

impl Default for Tickets {
    fn default() -> Self {
        Self { keys: Vec::new(), repeat_ms: 3_000 }
    }
}

impl Tickets {
    /// Whose tickets are believed.
    pub fn public_keys(&self) -> TicketKeys {
        TicketKeys::new(self.keys.iter().filter_map(|text| parse_public(text)))
    }

    /// For the core that passes over repetitions.
    pub fn repeat_window(&self) -> Duration {
        Duration::from_millis(u64::from(self.repeat_ms))
    }

    /// The first key that cannot be right, and why.
    pub(super) fn problem(&self, config: &Config) -> Option<(&'static str, String)> {
        let weak = |key: VerifyingKey| key.is_weak();
        if let Some(text) = self.keys.iter().find(|text| parse_public(text).is_none_or(weak)) {
            let problem = format!(
                "holds {text:?}, which is no public key: write the 64 hexadecimal digits that \
                 `depot-server ticket key` prints"
            );
            return Some(("tickets.keys", problem));
        }
        if !(500..=30_000).contains(&self.repeat_ms) {
            return Some(("tickets.repeat_ms", "must lie between 500 and 30000".into()));
        }
        config.scanner.as_ref()?;
        if self.keys.is_empty() {
            let problem = "is empty: with a scanner, name the key that `depot-server ticket key` \
                           prints";
            return Some(("tickets.keys", problem.into()));
        }
        // The log is the memory of used tickets: it must outlive each of them, and the way out.
        let days = u64::from(Ticket::MINUTES_MAX).div_ceil(24 * 60) + 1;
        let problem = format!("must be at least {days} with a scanner: used tickets are in there");
        (config.state.keep_days < days).then_some(("state.keep_days", problem))
    }
}
