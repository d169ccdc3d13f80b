//! What is inside lists: cards to refuse, and what waits for a card. How lists travel is
//! `fleet-sync`'s (ADR-0016).
//!
//! Invariants: one set of entries has exactly one encoding, so that its hash stands for the set;
//! any bytes give a list or a [`ListError`], never a panic; a delta applied to its base gives the
//! very bytes of the newer list.
#![no_std]
extern crate alloc;

mod actions;
mod bits;
mod hotlist;

pub use actions::ActionList;
pub use hotlist::{Grade, Hotlist};

/// Why bytes are no list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// Written by a newer version.
    #[error("format {0} of a list is not known here: update this software")]
    Version(u8),
    /// Shorter or longer than it says.
    #[error("the list does not have the length that it says")]
    Length,
    /// Entries out of order, or twice.
    #[error("entries of the list are not in order")]
    Order,
    /// A code that is not known.
    #[error("code {0} in a list is not known here")]
    Code(u8),
}

/// A card's key: its seven bytes.
const KEY: usize = 7;
/// The format of lists and deltas.
const VERSION: u8 = 1;

/// Takes the next `N` bytes.
fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], ListError> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(ListError::Length)?;
    *bytes = rest;
    Ok(*head)
}

/// The head of a list or delta: its version and a count.
fn head(bytes: &mut &[u8]) -> Result<u32, ListError> {
    match take::<1>(bytes)? {
        [VERSION] => take(bytes).map(u32::from_le_bytes),
        [other] => Err(ListError::Version(other)),
    }
}
