//! The hash chain of a tap log: one definition for both ends.
//!
//! h(0) = SHA-256("tapline-log" ‖ validator ‖ epoch), both as 4 bytes MSB first;
//! h(n) = SHA-256(h(n-1) ‖ bytes of entry n). So h(n) stands for every byte of entries 1..=n and
//! for whose they are, although an entry does not repeat validator, epoch and number.

use core::fmt;

use model::{Epoch, ValidatorId};
use sha2::{Digest, Sha256};

/// The chain's value after some entry.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainHash(pub [u8; 32]);

impl ChainHash {
    /// h(0), before the first entry of a log's life.
    pub fn start(validator: ValidatorId, epoch: Epoch) -> Self {
        let mut sha = Sha256::new();
        sha.update(b"tapline-log");
        sha.update(validator.number().to_be_bytes());
        sha.update(epoch.0.to_be_bytes());
        Self(sha.finalize().into())
    }

    /// The chain's value after one more entry.
    #[must_use]
    pub fn then(self, entry: &[u8]) -> Self {
        let mut sha = Sha256::new();
        sha.update(self.0);
        sha.update(entry);
        Self(sha.finalize().into())
    }
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|b| write!(f, "{b:02x}"))?;
        f.write_str("…")
    }
}

impl fmt::Debug for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChainHash({self})")
    }
}
