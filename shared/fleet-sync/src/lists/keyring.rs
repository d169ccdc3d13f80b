//! The list keys that a validator was given, and which message about them counts (ADR-0032).
//!
//! Invariants: only what the depot signed, sealed for this validator's key, changes anything; a
//! message never gives way to an older one, so that nobody brings an old key back; what is refused
//! is said ([`KeysRefused`]).

use alloc::collections::BTreeSet;

use ed25519_dalek::{SigningKey, VerifyingKey};
use model::ValidatorId;
use wire::{ListKey, ListKeys};

use crate::{SignatureError, read_keys};

/// Who reads messages about list keys, and whom it believes.
#[derive(Clone)]
pub struct KeyReader {
    /// For whom they are.
    pub validator: ValidatorId,
    /// What opens them.
    pub own: SigningKey,
    /// The depot's keys.
    pub depot: alloc::vec::Vec<VerifyingKey>,
}

/// Why a message about list keys changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeysRefused {
    /// It is not the depot's word to this validator.
    #[error("list keys were refused")]
    NotBelieved(#[from] SignatureError),
    /// Somebody plays back an old day.
    #[error("list keys of version {offered} were refused: {known} is known already")]
    Older {
        /// Its version.
        offered: u64,
        /// That of the message that counts.
        known: u64,
    },
    /// Other keys under the version that is known.
    #[error("other list keys of version {0} than the known ones were refused")]
    Conflicting(u64),
}

/// See the module's documentation.
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    newest: Option<ListKeys>,
}

impl KeyRing {
    /// A message has arrived, or was kept from before. `Ok(true)`: it counts from now on, and is to
    /// be kept as it is; `Ok(false)`: nothing new.
    pub fn handle_keys(&mut self, payload: &[u8], reader: &KeyReader) -> Result<bool, KeysRefused> {
        let new = read_keys(payload, reader.validator, &reader.depot, &reader.own)?;
        match &self.newest {
            Some(known) if new.version < known.version => {
                Err(KeysRefused::Older { offered: new.version, known: known.version })
            }
            Some(known) if new.version == known.version => {
                if new == *known {
                    Ok(false)
                } else {
                    Err(KeysRefused::Conflicting(new.version))
                }
            }
            Some(_) | None => {
                self.newest = Some(new);
                Ok(true)
            }
        }
    }

    /// The key of this number.
    pub fn find(&self, number: u64) -> Option<&ListKey> {
        self.newest.as_ref()?.find(number)
    }

    /// The numbers of all keys.
    pub fn numbers(&self) -> BTreeSet<u64> {
        let keys = self.newest.iter().flat_map(|known| &known.keys);
        keys.map(|key| key.number).collect()
    }

    /// The number of the newest key; 0 before the first.
    pub fn newest(&self) -> u64 {
        self.numbers().last().copied().unwrap_or(0)
    }
}
