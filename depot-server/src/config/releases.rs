//! `[releases]`: whose software validators are given, and how much of a roll-out may go wrong.

use fleet_sync::VerifyingKey;
use serde::{Deserialize, Serialize};
use steering::FailureBound;

use super::{ConfigError, parse_hex};

/// Releases of validators' software. See `docs/releases.md`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Releases {
    /// The agency's public release key, 64 hexadecimal digits: what it did not sign is not even
    /// added. Validators check by their own configuration whatever stands here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// So many validators may fail before a roll-out halts by itself.
    pub failures_max: u32,
    /// Or so many of a thousand that are through with it, whichever is more (0 to 1000).
    pub share_max_permille: u16,
}

impl Default for Releases {
    fn default() -> Self {
        Self { key: None, failures_max: 0, share_max_permille: 10 }
    }
}

impl Releases {
    /// The agency's release key.
    pub fn public_key(&self) -> Option<VerifyingKey> {
        let bytes = parse_hex::<32>(self.key.as_deref()?.trim())?;
        VerifyingKey::from_bytes(&bytes).ok().filter(|key| !key.is_weak())
    }

    /// From which failure on a roll-out halts.
    pub fn bound(&self) -> FailureBound {
        FailureBound {
            count: u64::from(self.failures_max),
            share_permille: u64::from(self.share_max_permille),
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let value = |key, problem: &str| Err(ConfigError::Value { key, problem: problem.into() });
        if self.key.is_some() && self.public_key().is_none() {
            let problem = "is no public key: write what `release keygen` printed";
            return value("releases.key", problem);
        }
        if self.share_max_permille > 1000 {
            return value("releases.share_max_permille", "use 0 to 1000");
        }
        Ok(())
    }
}
