//! `[orders]`: whether and how load orders reach cards.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Load orders: top-ups that validators put on cards. See `docs/orders.md`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Orders {
    /// Whether the running server gives orders to validators. It then needs `keys.card`.
    pub enabled: bool,
    /// Days for which validators may carry an order out before it is offered anew (1 to 365).
    pub offered_days: u16,
    /// How far clocks that somebody set may be off, seconds (0 to 86400).
    pub clock_bound_s: u32,
    /// Whether what riders are owed is put on their cards at their next tap.
    pub adjust: bool,
    /// Days after its payment from which on an order that is not on its card is a work item, 1 to
    /// 3660; 0 = never.
    pub overdue_days: u16,
}

impl Default for Orders {
    fn default() -> Self {
        Self {
            enabled: false,
            offered_days: 30,
            clock_bound_s: 300,
            adjust: true,
            overdue_days: 60,
        }
    }
}

impl Orders {
    /// Whether this can be followed by a depot that has the cards' keys or has not.
    pub(super) fn check(&self, has_card_keys: bool) -> Result<(), ConfigError> {
        let value = |key, problem: &str| Err(ConfigError::Value { key, problem: problem.into() });
        if !(1..=365).contains(&self.offered_days) {
            return value("orders.offered_days", "use 1 to 365 days");
        }
        if self.overdue_days > 3660 {
            return value("orders.overdue_days", "use 1 to 3660 days, or 0 for never");
        }
        if self.clock_bound_s > 86_400 {
            return value("orders.clock_bound_s", "use 0 to 86400 seconds");
        }
        if self.enabled && !has_card_keys {
            return value("orders.enabled", "orders are sealed with card keys: set keys.card");
        }
        Ok(())
    }
}
