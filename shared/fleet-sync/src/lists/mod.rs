//! Lists: what the depot says to all validators at once, both ends (ADR-0016).
//!
//! A *list* is bytes with a kind and a version. A signed *manifest* pins which lists are in force:
//! version, length and root hash of each. A list's bytes travel as *blocks* of at most 8 KiB, each
//! a retained message under its own SHA-256, so that the broker serves them and a validator takes
//! up where it was cut off. A list may be sealed with a *list key* that validators are given one by
//! one (ADR-0032). Nothing here knows what is inside a list.
//!
//! Invariants, whatever the network drops, repeats, reorders, alters or plays back, and whenever
//! power goes (SEC-11):
//! - the trusted manifest's version only rises; so does the newest version of each kind, and a
//!   version has one content for ever;
//! - content leaves [`ListFetcher`] only when every byte of it hangs by hashes from the trusted
//!   manifest: no block of another list or day can be mixed in;
//! - what is refused is said ([`ListTrouble`]), never dropped silently;
//! - once the network heals, the lists held are those of the newest manifest.

mod fetch;
mod keyring;
mod output;
mod sealed;
mod shelf;
mod tree;
mod trust;

pub use fetch::ListFetcher;
pub use keyring::{KeyReader, KeyRing, KeysRefused};
pub use output::ListOutput;
pub use sealed::{open_list, seal_list};
pub use shelf::{ListSource, Shelf, ShelfError};
pub use tree::{BLOCK_BYTES, BlockId, content_pin};
pub use trust::ListTrouble;
