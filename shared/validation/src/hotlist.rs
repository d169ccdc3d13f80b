//! Cards to refuse.

use alloc::{sync::Arc, vec::Vec};

use model::CardId;

/// A set of cards, looked up by halving. Clones share it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hotlist {
    sorted: Arc<[CardId]>,
}

impl Hotlist {
    /// From cards in any order, with or without repetitions.
    pub fn new(cards: impl IntoIterator<Item = CardId>) -> Self {
        let mut sorted: Vec<CardId> = cards.into_iter().collect();
        sorted.sort_unstable();
        sorted.dedup();
        Self { sorted: sorted.into() }
    }

    /// Whether a card is to be refused.
    pub fn contains(&self, card: CardId) -> bool {
        self.sorted.binary_search(&card).is_ok()
    }

    /// How many cards.
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether no card is to be refused.
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}
