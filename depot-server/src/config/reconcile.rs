//! `[reconcile]`: what becomes of what nothing decides, and who may decide (ADR-0023).

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// What becomes of what nothing decides.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reconcile {
    /// Days after which a tap in doubt that nothing decided holds its amount no longer (7 to 3650);
    /// 0 = it does for ever. A record of the card that proves it is booked all the same.
    pub in_doubt_expires_days: u32,
    /// A correction over more than this needs a second person (OPS-2), such as "20.00"; every one
    /// that is over money when "0".
    pub second_person_above: String,
}

impl Default for Reconcile {
    fn default() -> Self {
        Self { in_doubt_expires_days: 0, second_person_above: "20.00".into() }
    }
}

impl Reconcile {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if matches!(self.in_doubt_expires_days, 0 | 7..=3650) {
            return Ok(());
        }
        Err(ConfigError::Value {
            key: "reconcile.in_doubt_expires_days",
            problem: "use 7 to 3650 days, or 0 for never: taps may arrive late".into(),
        })
    }
}
