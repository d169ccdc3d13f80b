//! Double entry and nothing else: typed accounts, transfers, refusals, the trial balance and the
//! hash chain over batches.
//!
//! Invariants: every transfer has two sides of one amount in one currency, so the sum of all
//! accounts is zero at every moment (I8); a transfer once accepted never changes, corrections are
//! further transfers (LED-2); a transfer id is accepted once, whatever is replayed (LED-3).
//!
//! Nothing in here knows that cards, taps or fares exist: an account is a code and opaque bytes, a
//! cause is a code and a digest. Nothing in here stores: the shell brings the part of the books
//! that a batch touches behind [`Books`], and writes back what changed.
#![no_std]
extern crate alloc;

mod account;
mod apply;
mod chain;
mod touched;
mod transfer;
mod trial;

#[cfg(test)]
mod tests;

pub use account::{AccountCode, AccountId, AccountIdError, Balance};
pub use apply::{Books, LedgerRefusal, Outcome, apply, apply_batch};
pub use chain::BatchRoot;
pub use touched::{Changes, Touched};
pub use transfer::{Cause, Kind, PendingState, Recorded, Transfer, TransferError, TransferId};
pub use trial::{Totals, TrialError, trial_balance};
