//! Where a tap stands, with what is known of it there.

use alloc::boxed::Box;

use card::{CardStep, DebitTransaction};
use model::{
    CardCounters, CardId, CardRecord, CardTransaction, CounterUse, ProductsFound, Refusal,
    TapDraft, TapSeq,
};

use crate::{Doubt, Passage, decide::Decision};

#[derive(Debug)]
pub(crate) enum State {
    Idle,
    Finding {
        tap: Tap,
        card: Box<DebitTransaction>,
    },
    Proving {
        tap: Tap,
        card: Box<DebitTransaction>,
        doubt: Box<Doubt>,
    },
    Writing(Box<Writing>),
    /// The card was lost while the intent was being written; its number must still be closed.
    Abandoned {
        tap: Tap,
        before: CardRecord,
        reason: Refusal,
    },
    Committing {
        tap: Tap,
        card: Box<DebitTransaction>,
        decision: Box<Decided>,
        seq: TapSeq,
    },
    /// The outcome is being written; this is what the rider is told then.
    Closing(Box<Passage>),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Tap {
    pub(crate) card: CardId,
    pub(crate) draft: TapDraft,
}

/// Two things happen side by side: the card is written, and the intent is made durable.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) tap: Tap,
    pub(crate) card: DebitTransaction,
    pub(crate) decision: Decided,
    pub(crate) intent: Option<TapSeq>,
    pub(crate) card_is_ready: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Decided {
    pub(crate) before: CardRecord,
    pub(crate) products: Option<ProductsFound>,
    pub(crate) counters: Option<CardCounters>,
    pub(crate) decision: Decision,
}

impl State {
    /// The exchange under way; `None` when no answer is awaited.
    pub(crate) const fn awaited(&self) -> Option<CardStep> {
        match self {
            Self::Finding { card, .. }
            | Self::Proving { card, .. }
            | Self::Committing { card, .. } => Some(card.step()),
            Self::Writing(writing) if !writing.card_is_ready => Some(writing.card.step()),
            Self::Writing(_) | Self::Idle | Self::Abandoned { .. } | Self::Closing(_) => None,
        }
    }
}

impl Decided {
    pub(crate) fn transaction(&self) -> CardTransaction {
        let written = self.decision.counters;
        CardTransaction {
            before: self.before,
            after: self.decision.after,
            products: self.products,
            counters: self.counters.map(|found| CounterUse { found, written }),
        }
    }
}
