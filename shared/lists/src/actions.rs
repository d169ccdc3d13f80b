//! What waits for cards: bytes by card, looked up at a tap. What the bytes mean is not known here.
//!
//! The content is a version byte, the number of cards, for each card in order its seven bytes and
//! the length of what waits for it, and then all of that in the same order.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use model::CardId;

use crate::{KEY, ListError, VERSION, head, take};

/// Bytes that say a card and a length.
const ENTRY: usize = KEY + 2;
/// A length that means: nothing waits any more.
const REMOVED: u16 = u16::MAX;

/// Bytes by card. Clones share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionList {
    content: Arc<[u8]>,
    /// Where each card's bytes begin, and where the last ends.
    begins: Arc<[u32]>,
}

impl Default for ActionList {
    fn default() -> Self {
        Self::build(&BTreeMap::new()).expect("nothing fits")
    }
}

impl ActionList {
    /// From what waits for each card: less than 64 KiB each.
    pub fn build(waiting: &BTreeMap<CardId, Vec<u8>>) -> Result<Self, ListError> {
        let count = u32::try_from(waiting.len()).map_err(|_| ListError::Length)?;
        let mut content = [&[VERSION], &count.to_le_bytes()[..]].concat();
        for (card, bytes) in waiting {
            let length = u16::try_from(bytes.len()).ok().filter(|n| *n != REMOVED);
            content.extend_from_slice(&card.0);
            content.extend_from_slice(&length.ok_or(ListError::Length)?.to_le_bytes());
        }
        for bytes in waiting.values() {
            content.extend_from_slice(bytes);
        }
        Self::parse(content)
    }

    /// Reads a list.
    pub fn parse(content: Vec<u8>) -> Result<Self, ListError> {
        let mut rest = content.as_slice();
        let count = head(&mut rest)? as usize;
        let keys = count.checked_mul(ENTRY).ok_or(ListError::Length)?;
        let mut at = content.len() - rest.len() + keys;
        let table = rest.get(..keys).ok_or(ListError::Length)?;
        let entries = || table.chunks_exact(ENTRY);
        if !entries().is_sorted_by(|a, b| a[..KEY] < b[..KEY]) {
            return Err(ListError::Order);
        }
        let mut begins = Vec::with_capacity(count + 1);
        for entry in entries() {
            begins.push(u32::try_from(at).map_err(|_| ListError::Length)?);
            let length = u16::from_le_bytes([entry[KEY], entry[KEY + 1]]);
            if length == REMOVED {
                return Err(ListError::Length);
            }
            at += usize::from(length);
        }
        begins.push(u32::try_from(at).map_err(|_| ListError::Length)?);
        if at != content.len() {
            return Err(ListError::Length);
        }
        Ok(Self { content: content.into(), begins: begins.into() })
    }

    /// The bytes that travel.
    pub fn content(&self) -> &[u8] {
        &self.content
    }

    /// What waits for a card.
    pub fn find(&self, card: CardId) -> Option<&[u8]> {
        let (mut from, mut to) = (0, self.len());
        while from < to {
            let middle = from.midpoint(to);
            match self.card(middle).cmp(&card) {
                core::cmp::Ordering::Less => from = middle + 1,
                core::cmp::Ordering::Greater => to = middle,
                core::cmp::Ordering::Equal => return Some(self.bytes(middle)),
            }
        }
        None
    }

    /// How many cards.
    pub fn len(&self) -> usize {
        self.begins.len() - 1
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it, in the order of the cards.
    pub fn iter(&self) -> impl Iterator<Item = (CardId, &[u8])> {
        (0..self.len()).map(|i| (self.card(i), self.bytes(i)))
    }

    /// What leads from this list to `newer`.
    pub fn delta(&self, newer: &Self) -> Vec<u8> {
        let gone = self.iter().filter(|(card, _)| newer.find(*card).is_none());
        let fresh = newer.iter().filter(|(card, bytes)| self.find(*card) != Some(bytes));
        let changes: BTreeMap<CardId, Option<&[u8]>> = gone
            .map(|(card, _)| (card, None))
            .chain(fresh.map(|(card, bytes)| (card, Some(bytes))))
            .collect();
        let count = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        let mut delta = [&[VERSION], &count.to_le_bytes()[..]].concat();
        for (card, bytes) in &changes {
            let length = bytes.and_then(|bytes| u16::try_from(bytes.len()).ok());
            delta.extend_from_slice(&card.0);
            delta.extend_from_slice(&length.unwrap_or(REMOVED).to_le_bytes());
            delta.extend_from_slice(bytes.unwrap_or_default());
        }
        delta
    }

    /// The list that a delta leads to.
    pub fn apply(&self, delta: &[u8]) -> Result<Self, ListError> {
        let mut rest = delta;
        let count = head(&mut rest)?;
        let mut waiting: BTreeMap<CardId, Vec<u8>> =
            self.iter().map(|(card, bytes)| (card, bytes.to_vec())).collect();
        let mut before = None;
        for _ in 0..count {
            let card = CardId(take(&mut rest)?);
            if before >= Some(card) {
                return Err(ListError::Order);
            }
            before = Some(card);
            match u16::from_le_bytes(take(&mut rest)?) {
                REMOVED => drop(waiting.remove(&card)),
                length => {
                    let (bytes, behind) =
                        rest.split_at_checked(usize::from(length)).ok_or(ListError::Length)?;
                    waiting.insert(card, bytes.to_vec());
                    rest = behind;
                }
            }
        }
        if rest.is_empty() { Self::build(&waiting) } else { Err(ListError::Length) }
    }

    fn card(&self, index: usize) -> CardId {
        let at = 5 + index * ENTRY;
        CardId(self.content[at..at + KEY].try_into().expect("seven bytes"))
    }

    fn bytes(&self, index: usize) -> &[u8] {
        &self.content[self.begins[index] as usize..self.begins[index + 1] as usize]
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use proptest::{
        collection::{btree_map, vec as vec_of},
        prelude::*,
    };

    use super::*;

    fn waiting() -> impl Strategy<Value = BTreeMap<CardId, Vec<u8>>> {
        let card = (0..40_u8).prop_map(|n| CardId([4, 0, 0, 0, 0, 0, n]));
        btree_map(card, vec_of(any::<u8>(), 0..20), 0..30)
    }

    proptest! {
        #[test]
        fn what_waits_is_found_and_a_delta_leads_to_the_very_bytes(
            old in waiting(),
            new in waiting(),
        ) {
            let list = ActionList::build(&old).unwrap();
            for n in 0..40 {
                let card = CardId([4, 0, 0, 0, 0, 0, n]);
                prop_assert_eq!(list.find(card), old.get(&card).map(Vec::as_slice));
            }
            prop_assert_eq!(ActionList::parse(list.content().to_vec()), Ok(list.clone()));
            let newer = ActionList::build(&new).unwrap();
            prop_assert_eq!(list.apply(&list.delta(&newer)), Ok(newer));
        }

        #[test]
        fn no_bytes_make_an_action_list_panic(
            old in waiting(),
            at in any::<prop::sample::Index>(),
            with in any::<u8>(),
        ) {
            let list = ActionList::build(&old).unwrap();
            let mut bytes = list.content().to_vec();
            let at = at.index(bytes.len());
            bytes[at] = with;
            let _ = ActionList::parse(bytes.clone());
            let _ = list.apply(&bytes);
            bytes.truncate(at);
            prop_assert!(ActionList::parse(bytes).is_err());
        }
    }

    #[test]
    fn too_much_for_a_card_is_refused() {
        let card = CardId([4; 7]);
        let large = BTreeMap::from([(card, vec![0; 65_535])]);
        assert_eq!(ActionList::build(&large), Err(ListError::Length));
        assert!(ActionList::default().is_empty());
    }
}
