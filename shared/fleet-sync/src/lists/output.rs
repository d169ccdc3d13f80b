//! What [`ListFetcher`](super::ListFetcher) asks of its shell.

use alloc::vec::Vec;

use wire::HeldList;

use super::{BlockId, ListTrouble};

/// What the shell is to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListOutput {
    /// Make these bytes durable as the trusted manifest, in place of the one before.
    KeepManifest(Vec<u8>),
    /// Subscribe to this block's topic; also when that was done before.
    Subscribe(BlockId),
    /// End that subscription.
    Unsubscribe(BlockId),
    /// Keep this block for the case of a cut; it need not be durable.
    KeepBlock {
        /// Its name.
        id: BlockId,
        /// Its bytes.
        block: Vec<u8>,
    },
    /// Blocks kept for the case of a cut are not needed any more.
    ForgetBlocks,
    /// A list that is here is pinned sealed with another key than it is known by: seal its content,
    /// then call [`handle_resealed`](super::ListFetcher::handle_resealed).
    Reseal {
        /// Which.
        list: HeldList,
        /// The number of the list key.
        key: u64,
    },
    /// A list is complete: keep and use it, then call
    /// [`handle_held`](super::ListFetcher::handle_held) or
    /// [`handle_unusable`](super::ListFetcher::handle_unusable).
    Complete {
        /// Which.
        list: HeldList,
        /// The version that these bytes change; `None` when they are the list itself.
        from: Option<u64>,
        /// The number of the list key that opens them; `None` when they are readable.
        key: Option<u64>,
        /// The bytes.
        content: Vec<u8>,
    },
    /// A list is not in the manifest any more, and its successor is held: it may be removed.
    Withdrawn(HeldList),
    /// Tell somebody.
    Report(ListTrouble),
}
