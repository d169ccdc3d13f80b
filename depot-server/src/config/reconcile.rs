//! `[reconcile]` and `[visitor]`: what becomes of what nothing decides, who may decide, and cards
//! that end (ADR-0023).

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

/// Cards for visitors, and value of cards that have ended.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Visitor {
    /// For how many days `card issue --visitor` makes a card (1 to 366): it ends with the month of
    /// the last of them.
    pub days: u32,
    /// Their rider category, by its number in the tariff.
    pub class: u8,
    /// What is paid for the card, such as "2.00".
    pub deposit: String,
    /// Days after its end in which the value of any card that ends can be claimed (30 to 36500);
    /// after that it is its issuer's. 0 = it is kept for ever.
    pub claim_days: u32,
}

impl Default for Visitor {
    fn default() -> Self {
        Self { days: 28, class: 0, deposit: "0".into(), claim_days: 0 }
    }
}

impl Visitor {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let value = |key, problem: &str| Err(ConfigError::Value { key, problem: problem.into() });
        if !(1..=366).contains(&self.days) {
            return value("visitor.days", "use 1 to 366 days");
        }
        if self.class > 15 {
            return value("visitor.class", "use 0 to 15: a rider category of the tariff");
        }
        if !matches!(self.claim_days, 0 | 30..=36_500) {
            return value("visitor.claim_days", "use 30 to 36500 days, or 0 for ever");
        }
        Ok(())
    }
}
