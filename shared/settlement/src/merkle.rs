//! A Merkle tree over a day's taps: one hash stands for all of them, and a short path proves that
//! one tap is among them without showing any other.
//!
//! The tree is that of RFC 6962, section 2.1: a leaf is SHA-256(0 ‖ content), a node is
//! SHA-256(1 ‖ left ‖ right), and the left part of n leaves is the largest power of two below n.

use alloc::vec::Vec;

use sha2::{Digest, Sha256};

/// A hash.
pub(crate) type Hash = [u8; 32];

/// The hash of a leaf.
pub(crate) fn leaf(content: &[u8]) -> Hash {
    Sha256::new().chain_update([0]).chain_update(content).finalize().into()
}

fn node(left: &Hash, right: &Hash) -> Hash {
    Sha256::new().chain_update([1]).chain_update(left).chain_update(right).finalize().into()
}

/// Leaves in their order.
#[derive(Debug, Clone, Default)]
pub struct MerkleTree(Vec<Hash>);

impl MerkleTree {
    /// A tree over the hashes of leaves.
    pub const fn new(leaves: Vec<Hash>) -> Self {
        Self(leaves)
    }

    /// The hash of all; of none, SHA-256 of nothing.
    pub fn root(&self) -> Hash {
        if self.0.is_empty() { Sha256::digest([]).into() } else { root(&self.0) }
    }

    /// What proves leaf `index`: the other half's hash at each level, the lowest first; `None` when
    /// there is no such leaf.
    pub fn path(&self, index: usize) -> Option<Vec<Hash>> {
        (index < self.0.len()).then(|| path(&self.0, index))
    }
}

const fn split(count: usize) -> usize {
    count.next_power_of_two() / 2
}

fn root(leaves: &[Hash]) -> Hash {
    match leaves {
        [one] => *one,
        many => {
            let (left, right) = many.split_at(split(many.len()));
            node(&root(left), &root(right))
        }
    }
}

fn path(leaves: &[Hash], index: usize) -> Vec<Hash> {
    if leaves.len() < 2 {
        return Vec::new();
    }
    let (left, right) = leaves.split_at(split(leaves.len()));
    let (mut below, other) = match index.checked_sub(left.len()) {
        None => (path(left, index), root(right)),
        Some(index) => (path(right, index), root(left)),
    };
    below.push(other);
    below
}

/// The root that this leaf and path lead to in a tree of `count` leaves; `None` when the path does
/// not have the length that the place asks for.
pub fn root_from_path(leaf: Hash, index: u64, count: u64, path: &[Hash]) -> Option<Hash> {
    if index >= count {
        return None;
    }
    if count == 1 {
        return path.is_empty().then_some(leaf);
    }
    let left = count.checked_next_power_of_two()? / 2;
    let (other, below) = path.split_last()?;
    match index.checked_sub(left) {
        None => Some(node(&root_from_path(leaf, index, left, below)?, other)),
        Some(index) => Some(node(other, &root_from_path(leaf, index, count - left, below)?)),
    }
}
