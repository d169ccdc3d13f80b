//! The wire format (`docs/wire.md`): bytes ⇄ nouns of `model`, and nothing else.
//!
//! Invariants:
//! - every decode is total: any bytes give a value or a [`WireError`], never a panic, and nothing
//!   is allocated that the size limits of [`limits`] do not cover;
//! - a tap entry is encoded once. What is stored, hashed, signed and sent are those bytes, never
//!   a re-encoding; a reader keeps the bytes it received;
//! - a field is never renamed, moved or removed, only appended; a reader skips what it does not
//!   know;
//! - a higher format version is [`WireError::UnknownVersion`], so that a shell can set the message
//!   aside whole and decode it after an update.
//!
//! This crate signs nothing and reads no key: `fleet-sync` does.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod ack;
mod batch;
mod cbor;
mod chain;
mod desired;
mod entry;
mod envelope;
mod error;
pub mod journal;
mod keys;
mod manifest;
mod release;
mod settings;
mod state;
mod steered;
mod version;

pub use ack::Ack;
pub use batch::{Batch, BatchHead};
pub use chain::ChainHash;
pub use desired::{Desired, DesiredStates, DesiredWord};
pub use entry::{decode_entry, encode_entry, entry_len};
pub use envelope::{Address, Envelope, KeyId, Message, Sealed};
pub use error::WireError;
pub use keys::{ListKey, ListKeys};
pub use manifest::{
    ContentPin, DeltaPin, LIST_KINDS, ListKind, ListPin, Manifest, PublishedTariff,
};
pub use release::{Image, ImageLabel, PlannedImage, ReleasePlan, ReleasePlans};
pub use settings::{SettingValue, SettingsFor, SettingsLayer, SettingsList, SettingsVersion};
pub use state::{Health, HeldList, HostState, ListsState, Speech, StateWord, ValidatorState};
pub use steered::{DesiredState, ReleaseStage, ReleaseState, Steered};
pub use version::{MessageVersion, Versions};

/// The format version of an entry.
pub const VERSION: u8 = 1;

/// Bounds that are checked before anything is decoded.
pub mod limits {
    /// Bytes of a whole batch message.
    pub const BATCH: usize = 64 * 1024;
    /// Bytes of any other message.
    pub const SMALL: usize = 4 * 1024;
    /// Bytes of one entry.
    pub const ENTRY: usize = 512;
    /// Entries of one batch.
    pub const COUNT: usize = 1000;
    /// Missing ranges named by one ack.
    pub const MISSING: usize = 16;
    /// Bytes of a manifest message.
    pub const MANIFEST: usize = 8 * 1024;
    /// Lists of one manifest, and lists that a state names.
    pub const LISTS: usize = 64;
    /// Deltas to one list.
    pub const DELTAS: usize = 16;
    /// List keys that one validator is given at once.
    pub const LIST_KEYS: usize = 8;
    /// Bytes of one list.
    pub const CONTENT: usize = 16 * 1024 * 1024;
    /// Bytes of what is wrong with a list, in a state message.
    pub const TROUBLE: usize = 200;
    /// Bytes of a setting's name or word, or of a group's name.
    pub const SETTING: usize = 64;
    /// Versions of settings that stand side by side.
    pub const SETTINGS_VERSIONS: usize = 8;
    /// Bytes of why a validator is to take no taps.
    pub const WHY: usize = 160;
    /// Plans of releases that are not over.
    pub const PLANS: usize = 16;
    /// Bytes of a release's program, unpacked.
    pub const PROGRAM: usize = 64 * 1024 * 1024;
    /// Bytes of the software version in a state message.
    pub const SOFTWARE: usize = 64;
}

#[cfg(test)]
mod tests;
