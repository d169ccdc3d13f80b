//! The depot's end: from the lists in its books to the retained messages on the broker.
//!
//! Blocks go out before the manifest that needs them, and are cleared after the manifest that does
//! not: at no moment does the broker's manifest point at nothing. Publishing all of it again is
//! always right, so a broker that lost its store is healed by the next connection.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};

use ed25519_dalek::SigningKey;
use model::Timestamp;
use wire::{
    ContentPin, DeltaPin, HeldList, ListKey, ListKind, ListPin, Manifest, WireError, limits,
};

use super::{BlockId, seal_list, tree::split};
use crate::sign_manifest;

/// A list as the books have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListSource {
    /// What it is for.
    pub kind: ListKind,
    /// Higher is newer.
    pub version: u64,
    /// All of it.
    pub content: Vec<u8>,
    /// Shorter ways to it: the version that is changed, and the bytes that change it.
    pub deltas: Vec<(u64, Vec<u8>)>,
    /// The number of the list key with which content and deltas are sealed already.
    pub key: Option<u64>,
}

/// Lists that cannot go out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShelfError {
    /// Too much for the format.
    #[error("the lists do not fit a manifest")]
    Wire(#[from] WireError),
    /// Two contents under one version.
    #[error("list {kind} {version} is there twice: a version has one content")]
    Twice {
        /// Which kind, by its code.
        kind: u8,
        /// Which version.
        version: u64,
    },
}

/// What the broker is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shelf {
    lists: Vec<ListPin>,
    blocks: BTreeMap<BlockId, Vec<u8>>,
}

impl ListSource {
    /// The same for whoever has `key` and nobody else (ADR-0032).
    #[must_use]
    pub fn sealed(self, key: &ListKey) -> Self {
        let Self { kind, version, content, deltas, .. } = self;
        let list = HeldList { kind, version };
        let delta =
            |(from, delta): (u64, Vec<u8>)| (from, seal_list(key, list, Some(from), &delta));
        Self {
            kind,
            version,
            content: seal_list(key, list, None, &content),
            deltas: deltas.into_iter().map(delta).collect(),
            key: Some(key.number),
        }
    }
}

impl Shelf {
    /// Cuts the lists into blocks.
    pub fn new(sources: &[ListSource]) -> Result<Self, ShelfError> {
        let mut shelf = Self::default();
        for source in sources {
            let content = shelf.add(&source.content)?;
            let mut deltas = Vec::new();
            for (from, delta) in &source.deltas {
                deltas.push(DeltaPin { from: *from, content: shelf.add(delta)? });
            }
            let ListSource { kind, version, key, .. } = *source;
            shelf.lists.push(ListPin { kind, version, content, deltas, key });
        }
        shelf.lists.sort_by_key(|pin| (pin.kind, pin.version));
        for pair in shelf.lists.windows(2) {
            if (pair[0].kind, pair[0].version) == (pair[1].kind, pair[1].version) {
                let (kind, version) = (pair[0].kind.0, pair[0].version);
                return Err(ShelfError::Twice { kind, version });
            }
        }
        // Said here, before anything is signed.
        shelf.manifest(0, Timestamp::default(), Timestamp::default()).encode()?;
        Ok(shelf)
    }

    /// The signed manifest over these lists.
    pub fn sign(
        &self,
        version: u64,
        issued: Timestamp,
        expires: Timestamp,
        key: &SigningKey,
    ) -> Result<Vec<u8>, WireError> {
        sign_manifest(&self.manifest(version, issued, expires), key)
    }

    /// Every block with its name.
    pub fn blocks(&self) -> impl Iterator<Item = (BlockId, &[u8])> {
        self.blocks.iter().map(|(id, block)| (*id, block.as_slice()))
    }

    /// Those of `published` that nobody needs once this shelf's manifest is out.
    pub fn retired(&self, published: &BTreeSet<BlockId>) -> Vec<BlockId> {
        published.iter().copied().filter(|id| !self.blocks.contains_key(id)).collect()
    }

    /// The lists, ascending by kind and version.
    pub fn lists(&self) -> &[ListPin] {
        &self.lists
    }

    fn add(&mut self, content: &[u8]) -> Result<ContentPin, WireError> {
        let too_large = WireError::TooLarge { what: "list", limit: limits::CONTENT };
        let length = u32::try_from(content.len()).map_err(|_| too_large)?;
        let blocks = &mut self.blocks;
        let root = split(content, |id, block| drop(blocks.insert(id, block.to_vec())));
        Ok(ContentPin { length, root: root.0 })
    }

    fn manifest(&self, version: u64, issued: Timestamp, expires: Timestamp) -> Manifest {
        Manifest { version, issued, expires, lists: self.lists.clone() }
    }
}
