//! Key check values: three bytes by which people compare keys that they must not see.
//!
//! The first three bytes of the AES-CMAC over sixteen zero bytes. CMAC, so that a token computes it
//! with a key that may do nothing but sign; and no card's key is derived from zeros.

use std::fmt;

use card::{Key, crypto::cmac};

/// Of one master key; not secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CheckValue(pub [u8; 3]);

/// What the check value is computed over.
pub(crate) const OVER: [u8; 16] = [0; 16];

impl CheckValue {
    pub(crate) const fn of(mac: &[u8; 16]) -> Self {
        Self([mac[0], mac[1], mac[2]])
    }
}

impl fmt::Display for CheckValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c] = self.0;
        write!(f, "{a:02X}{b:02X}{c:02X}")
    }
}

/// The check value of a key.
pub fn check_value(key: &Key) -> CheckValue {
    CheckValue::of(&cmac(key, &[&OVER]))
}
