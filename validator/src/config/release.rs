//! `[release]` of the configuration file: whose software this validator takes.
//!
//! The key is public, so it stands here. It is the agency's, never the depot's (ADR-0028).

use fleet_sync::VerifyingKey;
use serde::{Deserialize, Serialize};

use crate::keys::parse_public;

/// `[release]`
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// The agency's public release key, 64 hexadecimal digits; absent = no releases are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

impl Release {
    /// Whose software is taken.
    pub fn public_key(&self) -> Option<VerifyingKey> {
        parse_public(self.key.as_deref()?)
    }

    /// Why the key cannot be right.
    pub(super) fn problem(&self) -> Option<(&'static str, String)> {
        let text = self.key.as_ref()?;
        if self.public_key().is_some_and(|key| !key.is_weak()) {
            return None;
        }
        let problem = format!(
            "is {text:?}, which is no public key: write the 64 hexadecimal digits that \
             `depot-server release keygen` prints"
        );
        Some(("release.key", problem))
    }
}
