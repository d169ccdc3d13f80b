//! `[hotlist]`: who proposes cards to refuse, and how many at once.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// Cards to refuse: who proposes, and how many at once. See `docs/hotlist.md`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hotlist {
    /// What proposes by itself: fork, value, lost, replaced, debt. A proposal blocks nobody.
    pub rules: Vec<String>,
    /// Days after which a block that a rule proposed ends; 0 = never.
    pub expires_days: u32,
    /// Additions are counted over so many hours (1 to 720).
    pub window_hours: u32,
    /// More additions than this within them need a second person (1 or more).
    pub additions_max: u32,
    /// So do more than this many of a thousand active cards, but 10 cards never do.
    pub share_max_permille: u16,
}

impl Default for Hotlist {
    fn default() -> Self {
        Self {
            rules: ["fork", "value", "lost"].map(str::to_owned).to_vec(),
            expires_days: 1095,
            window_hours: 24,
            additions_max: 500,
            share_max_permille: 2,
        }
    }
}

impl Hotlist {
    pub(super) fn check(&self) -> Result<(), ConfigError> {
        const RULES: [&str; 6] = ["fork", "value", "lost", "replaced", "debt", "unpaid"];
        let value = |key, problem: &str| Err(ConfigError::Value { key, problem: problem.into() });
        if self.rules.iter().any(|rule| !RULES.contains(&rule.as_str())) {
            return value("hotlist.rules", "use any of fork, value, lost, replaced, debt, unpaid");
        }
        if !(1..=720).contains(&self.window_hours) {
            return value("hotlist.window_hours", "use 1 to 720 hours");
        }
        if self.additions_max == 0 {
            return value("hotlist.additions_max", "use 1 or more: 0 would block nobody ever");
        }
        Ok(())
    }
}
