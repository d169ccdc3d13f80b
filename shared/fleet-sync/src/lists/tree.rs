//! Content as a tree of hashes: any block can be checked by itself, and the root pins them all.
//!
//! Content is cut into blocks of 8 KiB; while there is more than one, their SHA-256 values in order
//! are content again, of the level above. The root is the hash of the last one. A content of one
//! block is its own root. How many levels there are follows from the length, which the manifest
//! pins too, so that hashes are never taken for content.

use alloc::{collections::BTreeMap, vec::Vec};
use core::fmt;

use sha2::{Digest, Sha256};
use wire::ContentPin;

/// Bytes of a block at most: with its topic below the 10 KiB that the smallest client takes.
pub const BLOCK_BYTES: usize = 8 * 1024;
const HASH_BYTES: usize = 32;

/// A block's SHA-256, which is also its topic level.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockId(pub [u8; HASH_BYTES]);

impl BlockId {
    /// Of these bytes.
    pub fn of(block: &[u8]) -> Self {
        Self(Sha256::digest(block).into())
    }

    /// From 64 lower-case hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let digit = |b: u8| match b {
            b'0'..=b'9' => Some(b - b'0'),
            b'a'..=b'f' => Some(b - b'a' + 10),
            _ => None,
        };
        let bytes = text.as_bytes();
        if bytes.len() != 2 * HASH_BYTES {
            return None;
        }
        let mut id = [0; HASH_BYTES];
        for (byte, pair) in id.iter_mut().zip(bytes.chunks_exact(2)) {
            *byte = digit(pair[0])? << 4 | digit(pair[1])?;
        }
        Some(Self(id))
    }
}

impl fmt::Display for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlockId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a manifest says of these bytes.
pub fn content_pin(content: &[u8]) -> ContentPin {
    let root = split(content, |_, _| {});
    let length = u32::try_from(content.len()).unwrap_or(u32::MAX);
    ContentPin { length, root: root.0 }
}

/// Cuts `content` into blocks, hands out each, and returns the root.
pub(super) fn split(content: &[u8], mut block: impl FnMut(BlockId, &[u8])) -> BlockId {
    let mut level = content.to_vec();
    loop {
        let mut above = Vec::new();
        // Nothing at all is one empty block.
        let mut pieces: Vec<&[u8]> = level.chunks(BLOCK_BYTES).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        let mut id = BlockId([0; HASH_BYTES]);
        for piece in &pieces {
            id = BlockId::of(piece);
            block(id, piece);
            above.extend_from_slice(&id.0);
        }
        if pieces.len() == 1 {
            return id;
        }
        level = above;
    }
}

/// Content that is being put together.
#[derive(Debug, Clone)]
pub(super) struct Assembly {
    pin: ContentPin,
    blocks: BTreeMap<BlockId, Vec<u8>>,
}

/// Blocks that the signer pinned do not have the sizes that the length asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed;

/// The bytes of a level above the content, from the level below it.
const fn above(bytes: usize) -> usize {
    bytes.div_ceil(BLOCK_BYTES) * HASH_BYTES
}

impl Assembly {
    pub(super) const fn new(pin: ContentPin) -> Self {
        Self { pin, blocks: BTreeMap::new() }
    }

    /// Takes a block whose hash was checked.
    pub(super) fn insert(&mut self, id: BlockId, block: Vec<u8>) {
        self.blocks.insert(id, block);
    }

    pub(super) fn has(&self, id: &BlockId) -> bool {
        self.blocks.contains_key(id)
    }

    /// At most `limit` blocks that are known to be missing, from the front.
    pub(super) fn missing(&self, limit: usize) -> Result<Vec<BlockId>, Malformed> {
        let mut missing = Vec::new();
        self.walk(|id, block| {
            if block.is_none() && !missing.contains(&id) {
                missing.push(id);
            }
            missing.len() < limit
        })?;
        Ok(missing)
    }

    /// The content, when nothing of it is missing.
    pub(super) fn content(&self) -> Result<Option<Vec<u8>>, Malformed> {
        let mut level = self.level(self.sizes().len() - 1)?;
        for depth in (0..self.sizes().len() - 1).rev() {
            let Some(hashes) = level else { return Ok(None) };
            level = self.join(&hashes, self.sizes()[depth])?;
        }
        Ok(level)
    }

    /// Bytes of each level, the content's first.
    fn sizes(&self) -> Vec<usize> {
        let mut sizes = alloc::vec![self.pin.length as usize];
        while let Some(&top) = sizes.last()
            && top > BLOCK_BYTES
        {
            sizes.push(above(top));
        }
        sizes
    }

    /// The root block, whose level is the top one.
    fn level(&self, top: usize) -> Result<Option<Vec<u8>>, Malformed> {
        self.join(&self.pin.root, self.sizes()[top])
    }

    /// The bytes of a level, from the hashes of its blocks; `None` when one is not here.
    fn join(&self, hashes: &[u8], bytes: usize) -> Result<Option<Vec<u8>>, Malformed> {
        let mut level = Vec::with_capacity(bytes);
        for hash in hashes.chunks_exact(HASH_BYTES) {
            let id = BlockId(hash.try_into().expect("chunks are exact"));
            let Some(block) = self.blocks.get(&id) else { return Ok(None) };
            if block.len() != BLOCK_BYTES.min(bytes - level.len()) {
                return Err(Malformed);
            }
            level.extend_from_slice(block);
        }
        if level.len() == bytes { Ok(Some(level)) } else { Err(Malformed) }
    }

    /// Visits the blocks whose hashes are known, level by level from the root, until told to stop.
    fn walk(
        &self,
        mut visit: impl FnMut(BlockId, Option<&Vec<u8>>) -> bool,
    ) -> Result<(), Malformed> {
        let sizes = self.sizes();
        let mut hashes = self.pin.root.to_vec();
        for (depth, size) in sizes.iter().enumerate().rev() {
            let (mut below, mut whole) = (Vec::new(), true);
            for (i, hash) in hashes.chunks_exact(HASH_BYTES).enumerate() {
                let id = BlockId(hash.try_into().expect("chunks are exact"));
                let block = self.blocks.get(&id);
                if !visit(id, block) {
                    return Ok(());
                }
                match block {
                    None => whole = false,
                    Some(block) if block.len() != BLOCK_BYTES.min(size - i * BLOCK_BYTES) => {
                        return Err(Malformed);
                    }
                    Some(block) if depth > 0 => below.extend_from_slice(block),
                    Some(_) => {}
                }
            }
            // A level is completed first: what hangs below a hole is not known yet.
            if !whole {
                return Ok(());
            }
            hashes = below;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(length: usize) -> Vec<u8> {
        (0..length).map(|i| u8::try_from((i * 31 + i / 251) % 256).unwrap()).collect()
    }

    #[test]
    fn content_of_any_length_is_put_together_from_what_is_missing_and_from_nothing_else() {
        let edge = BLOCK_BYTES;
        for length in [0, 1, edge - 1, edge, edge + 1, 3 * edge, 256 * edge, 256 * edge + 1] {
            let content = bytes(length);
            let mut all = BTreeMap::new();
            let root = split(&content, |id, block| drop(all.insert(id, block.to_vec())));
            let pin = content_pin(&content);
            assert_eq!(pin, ContentPin { length: u32::try_from(length).unwrap(), root: root.0 });
            let mut assembly = Assembly::new(pin);
            let mut taken = 0;
            loop {
                let missing = assembly.missing(7).unwrap();
                let Some(id) = missing.last() else { break };
                assert_eq!(assembly.content(), Ok(None));
                assembly.insert(*id, all[id].clone());
                taken += 1;
            }
            assert_eq!(taken, all.len(), "{length}: each different block once");
            assert_eq!(assembly.content(), Ok(Some(content)), "{length}");
        }
    }

    #[test]
    fn one_block_is_its_own_root_and_ids_read_back() {
        let pin = content_pin(b"abc");
        let id = BlockId(pin.root);
        assert_eq!(id, BlockId::of(b"abc"));
        let text = alloc::format!("{id}");
        assert!(text.starts_with("ba7816bf8f01cfea"), "{text}");
        assert_eq!(BlockId::parse(&text), Some(id));
        for bad in ["", "ba78", &text.to_uppercase(), &text.replace('b', "g")] {
            assert_eq!(BlockId::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn blocks_that_do_not_fit_the_length_are_malformed_and_never_content() {
        let content = bytes(3 * BLOCK_BYTES);
        let mut all = BTreeMap::new();
        split(&content, |id, block| drop(all.insert(id, block.to_vec())));
        let right = content_pin(&content);
        for length in [right.length - 1, right.length + 1, 2 * right.length, 5] {
            let mut assembly = Assembly::new(ContentPin { length, ..right });
            for (id, block) in &all {
                assembly.insert(*id, block.clone());
            }
            assert_eq!(assembly.content(), Err(Malformed), "{length}");
            assert_eq!(assembly.missing(usize::MAX), Err(Malformed), "{length}");
        }
    }
}
