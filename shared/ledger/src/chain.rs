//! The hash chain over batches: whoever holds the last root can tell whether any transfer of any
//! batch was changed, left out or added (LED-6).

use core::fmt;

use sha2::{Digest, Sha256};

use crate::Transfer;

/// The root after a batch: SHA-256 of the root before it, the number of transfers (8 bytes, MSB
/// first) and each transfer's journal form, in booking order.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct BatchRoot(pub [u8; 32]);

impl BatchRoot {
    /// The root of empty books.
    pub fn genesis() -> Self {
        Self(Sha256::digest(b"tapline-ledger-1").into())
    }

    /// The root after `batch`.
    #[must_use]
    pub fn after<'a>(self, batch: impl ExactSizeIterator<Item = &'a Transfer>) -> Self {
        let mut hash = Sha256::new();
        hash.update(self.0);
        hash.update((batch.len() as u64).to_be_bytes());
        for transfer in batch {
            hash.update(transfer.to_bytes());
        }
        Self(hash.finalize().into())
    }
}

impl fmt::Display for BatchRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for BatchRoot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchRoot({self})")
    }
}
