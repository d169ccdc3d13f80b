//! Which version of messages this validator speaks: as much as the depot reads, never less than its
//! configuration demands (ADR-0029).
//!
//! The depot says what it reads in its signed host message, so nobody between can talk a validator
//! into less. One that has to seal and has not heard a depot that opens what is sealed sends no
//! taps: they wait in its log.

use fleet_sync::{Codec, VerifyingKey};
use serde::{Deserialize, Serialize};
use wire::{HostState, MessageVersion, Speech, Versions};

/// How taps are sent at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Payloads {
    /// Signed; the broker can read them.
    #[default]
    Signed,
    /// Sealed for the depot.
    Sealed,
}

/// The depot, as it last said who it is and what it reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Depot {
    /// What it reads.
    pub(crate) versions: Versions,
    /// The key that it signed that with: what is for the depot is for this key.
    pub(crate) key: VerifyingKey,
}

impl Depot {
    pub(crate) const fn new(host: &HostState, key: VerifyingKey) -> Self {
        Self { versions: host.versions, key }
    }
}

impl Payloads {
    /// The version of batches; `None` while none may be sent.
    pub(crate) fn version(self, depot: Option<&Depot>) -> Option<MessageVersion> {
        let reads = |version| depot.is_some_and(|depot| depot.versions.has(version));
        match self {
            Self::Sealed => Some(MessageVersion::V3).filter(|version| reads(*version)),
            Self::Signed if reads(MessageVersion::V2) => Some(MessageVersion::V2),
            // Also before the depot was heard: whoever is older never says what it reads.
            Self::Signed => Some(MessageVersion::V1),
        }
    }

    /// What the depot is told of it.
    pub(crate) fn speech(self, depot: Option<&Depot>) -> Speech {
        Speech { reads: Versions::ALL, writes: self.version(depot) }
    }

    /// Why no taps are sent.
    pub(crate) fn mute(self, depot: Option<&Depot>) -> Option<&'static str> {
        if self.version(depot).is_some() {
            return None;
        }
        Some(match depot {
            None => "taps wait here: they must be sealed, and the depot was not heard yet",
            Some(_) => {
                "taps wait here: they must be sealed, and the depot does not open what is sealed: \
                 update it, or set broker.payloads"
            }
        })
    }
}

/// How states are written: they hold nothing of riders, and a will is written before the depot was
/// heard.
pub(crate) fn of_states(depot: Option<&Depot>) -> Codec<'_> {
    match depot {
        Some(depot) if depot.versions.has(MessageVersion::V2) => Codec::V2(&depot.key),
        Some(_) | None => Codec::V1,
    }
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::SigningKey;
    use model::Timestamp;

    use super::*;
    use MessageVersion::{V1, V2, V3};
    use Payloads::{Sealed, Signed};

    #[test]
    fn as_much_is_spoken_as_the_depot_reads_and_never_less_than_is_demanded() {
        let key = SigningKey::from_bytes(&[2; 32]).verifying_key();
        let host = |versions| HostState { online: true, connection: 1, at: Timestamp(0), versions };
        let old = Depot::new(&host(Versions::FIRST), key);
        let new = Depot::new(&host(Versions::ALL), key);
        for (payloads, depot, version, words) in [
            (Signed, None, Some(V1), ""),
            (Signed, Some(&old), Some(V1), ""),
            (Signed, Some(&new), Some(V2), ""),
            (Sealed, None, None, "was not heard"),
            (Sealed, Some(&old), None, "update it"),
            (Sealed, Some(&new), Some(V3), ""),
        ] {
            assert_eq!(payloads.version(depot), version, "{payloads:?} {depot:?}");
            let why = payloads.mute(depot).unwrap_or_default();
            assert_eq!(why.is_empty(), words.is_empty());
            assert!(why.contains(words), "{why}");
        }
    }
}
