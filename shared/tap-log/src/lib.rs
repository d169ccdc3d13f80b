//! The rules of a validator's durable tap log: numbers, intents, outcomes, recovery, pruning.
//!
//! Words: a *life* (epoch) of the log begins empty with number 1; an *intent* says that a card is
//! about to be told to commit; an *entry* is final. A *row* is a key and a value in the store.
//!
//! Invariants:
//! - numbers are contiguous within a life, each entry is written once, and a number that may have
//!   been seen outside is never given to another tap: what contradicts the sequence guard begins
//!   a new life;
//! - an intent without an outcome becomes an in-doubt entry, never nothing and never a guess;
//! - an entry's bytes are encoded once; the chain is computed over these bytes;
//! - a row is removed only when the depot has acknowledged it and its retention has passed;
//! - nothing that cannot be read is deleted: it is reported.
//!
//! The crate does no I/O. It returns [`StoreOp`]s; the shell applies all ops of one call atomically
//! and syncs before it acts on the result. When that fails the shell stops: the state here is then
//! ahead of the disk, and recovery is a tested path.
#![no_std]
extern crate alloc;

mod audit;
mod carve;
mod crc;
mod guard;
mod log;
mod log_error;
mod recover;
mod row;

use alloc::vec::Vec;

pub use audit::{Audit, AuditError, AuditedLife, audit, owner};
pub use carve::{Carved, Carver};
pub use guard::{GUARD_FILE_LEN, GuardState};
pub use log::{InDoubtTap, LifeSpan, TapLog};
pub use log_error::LogError;
pub use recover::{Decision, RecoveryError, RecoveryReport, Scan};
pub use row::{RowError, StoredEntry, entry_key, entry_range, read_key};

/// The store's trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tree {
    /// Final entries, by (epoch, number).
    Entries,
    /// Intents without outcome, by (epoch, number); at most one in normal service.
    Intents,
    /// Owner, base and acknowledged marks.
    Meta,
}

/// One change of the store. All ops of one call belong into one atomic write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreOp {
    /// Insert or overwrite.
    Put {
        /// In which tree.
        tree: Tree,
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
    },
    /// Remove.
    Remove {
        /// From which tree.
        tree: Tree,
        /// The key.
        key: Vec<u8>,
    },
}

/// A key and its value, as the store returns them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
}

impl Tree {
    /// The tree's name in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Entries => "taps",
            Self::Intents => "intents",
            Self::Meta => "meta",
        }
    }
}

#[cfg(test)]
mod tests;
