//! A validator's disk: what was written and what a power cut leaves are two things.
//!
//! Each `apply` is atomic, as sled's batches are; between two syncs a power cut keeps any prefix
//! of the writes made since the last one.

use std::collections::BTreeMap;

use tap_log::{GuardState, Row, Scan, StoreOp, Tree};

use super::dice::Dice;

type Key = (Tree, Vec<u8>);

/// Live and durable contents.
#[derive(Debug, Default)]
pub struct Disk {
    live: BTreeMap<Key, Vec<u8>>,
    durable: BTreeMap<Key, Vec<u8>>,
    unsynced: Vec<Vec<StoreOp>>,
    guard: Option<GuardState>,
}

impl Disk {
    /// Writes all ops or, after a power cut, none of them.
    pub fn apply(&mut self, ops: Vec<StoreOp>) {
        if ops.is_empty() {
            return;
        }
        apply(&mut self.live, &ops);
        self.unsynced.push(ops);
    }

    /// What was written so far survives from here on.
    pub fn sync(&mut self) {
        for ops in self.unsynced.drain(..) {
            apply(&mut self.durable, &ops);
        }
    }

    /// The power goes: some prefix of what was not synced is there, the rest is not.
    pub fn power_cut(&mut self, dice: &mut Dice) {
        let kept = dice.index(self.unsynced.len() + 1);
        for ops in self.unsynced.drain(..).take(kept) {
            apply(&mut self.durable, &ops);
        }
        self.live = self.durable.clone();
    }

    /// The power goes, and what was not synced is there whole, or not at all.
    pub fn power_cut_with(&mut self, kept: bool) {
        if kept {
            self.sync();
        }
        self.unsynced.clear();
        self.live = self.durable.clone();
    }

    /// The sequence guard, in a file of its own that is synced at every write.
    pub fn write_guard(&mut self, guard: GuardState) {
        self.guard = Some(guard);
    }

    /// The sequence guard as found at start.
    pub const fn guard(&self) -> Option<GuardState> {
        self.guard
    }

    /// Everything, as a recovery reads it.
    pub fn scan(&self) -> Scan<Vec<Row>> {
        Scan {
            meta: self.rows(Tree::Meta),
            intents: self.rows(Tree::Intents),
            entries: self.rows(Tree::Entries),
        }
    }

    /// Rows of a tree from key `first` to key `last`, at most `limit`.
    pub fn range(&self, tree: Tree, first: &[u8], last: &[u8], limit: usize) -> Vec<Row> {
        self.live
            .range((tree, first.to_vec())..=(tree, last.to_vec()))
            .take(limit)
            .map(|((_, key), value)| Row { key: key.clone(), value: value.clone() })
            .collect()
    }

    /// Whether a power cut would keep this row.
    pub fn is_durable(&self, tree: Tree, key: &[u8]) -> bool {
        self.durable.contains_key(&(tree, key.to_vec()))
    }

    fn rows(&self, tree: Tree) -> Vec<Row> {
        let of_tree = self.live.iter().filter(|((t, _), _)| *t == tree);
        of_tree.map(|((_, key), value)| Row { key: key.clone(), value: value.clone() }).collect()
    }
}

fn apply(map: &mut BTreeMap<Key, Vec<u8>>, ops: &[StoreOp]) {
    for op in ops {
        match op {
            StoreOp::Put { tree, key, value } => {
                map.insert((*tree, key.clone()), value.clone());
            }
            StoreOp::Remove { tree, key } => {
                map.remove(&(*tree, key.clone()));
            }
        }
    }
}
