//! What opens sealed lists, as the depot gives it to one validator: `down/keys` (ADR-0032).

use alloc::vec::Vec;
use core::fmt;

use model::ValidatorId;
use serde::{Deserialize, Serialize};

use crate::{WireError, cbor, limits};

const WHAT: &str = "list keys";

/// A key that seals lists, with its number.
#[derive(Clone, PartialEq, Eq)]
pub struct ListKey {
    /// Never 0; a number has one secret for ever.
    pub number: u64,
    /// The secret.
    pub secret: [u8; 32],
}

/// The list keys that a validator is to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListKeys {
    /// For whom.
    pub validator: ValidatorId,
    /// Higher is newer; never the same number for other keys.
    pub version: u64,
    /// Ascending by number, each once; the last one seals what comes.
    pub keys: Vec<ListKey>,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct KeysV1 {
    validator: u32,
    version: u64,
    keys: Vec<KeyV1>,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct KeyV1 {
    number: u64,
    #[serde(with = "serde_bytes")]
    secret: [u8; 32],
}

impl fmt::Debug for ListKey {
    /// Its secret stays out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ListKey({})", self.number)
    }
}

impl ListKeys {
    /// The body's bytes.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        self.check()?;
        let key = |key: &ListKey| KeyV1 { number: key.number, secret: key.secret };
        Ok(cbor::to_vec(&KeysV1 {
            validator: self.validator.number(),
            version: self.version,
            keys: self.keys.iter().map(key).collect(),
        }))
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        cbor::bounded(WHAT, body, limits::SMALL)?;
        let KeysV1 { validator, version, keys } = cbor::from_slice(WHAT, body)?;
        let validator =
            ValidatorId::new(validator).ok_or(WireError::OutOfRange("validator number"))?;
        let key = |key: KeyV1| ListKey { number: key.number, secret: key.secret };
        let keys = Self { validator, version, keys: keys.into_iter().map(key).collect() };
        keys.check()?;
        Ok(keys)
    }

    /// The key of this number.
    pub fn find(&self, number: u64) -> Option<&ListKey> {
        self.keys.iter().find(|key| key.number == number)
    }

    fn check(&self) -> Result<(), WireError> {
        if self.keys.len() > limits::LIST_KEYS {
            let limit = limits::LIST_KEYS;
            return Err(WireError::TooLarge { what: "number of list keys", limit });
        }
        let rises = self.keys.is_sorted_by(|a, b| a.number < b.number);
        if !rises || self.keys.first().is_none_or(|key| key.number == 0) {
            return Err(WireError::OutOfRange("numbers of list keys"));
        }
        Ok(())
    }
}
