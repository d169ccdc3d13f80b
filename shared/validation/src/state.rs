//! Where a tap stands, with what is known of it there.

use alloc::boxed::Box;

use card::{CardFound, CardStep};
use model::{
    CardId, CardRecord, CardTransaction, Companions, CounterUse, Currency, ProductLoad, Refusal,
    TapDraft, TapSeq,
};

use crate::{Doubt, Passage, decide::Decision, work::Work};

#[derive(Debug)]
pub(crate) enum State {
    Idle,
    Finding {
        tap: Tap,
        card: Box<Work>,
    },
    Proving {
        tap: Tap,
        card: Box<Work>,
        doubt: Box<Doubt>,
    },
    Writing(Box<Writing>),
    /// The card was lost while the intent was being written; its number must still be closed.
    Abandoned {
        tap: Tap,
        seen: Seen,
        reason: Refusal,
    },
    Committing {
        tap: Tap,
        card: Box<Work>,
        decision: Box<Decided>,
        seq: TapSeq,
    },
    /// The outcome is being written; this is what the rider is told then.
    Closing(Box<Passage>),
    /// The outcome of a load order is being written; the tap is still to be made.
    ClosingOrder,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Tap {
    pub(crate) card: CardId,
    pub(crate) draft: TapDraft,
    /// Who was chosen to ride on it besides its holder.
    pub(crate) companions: Companions,
    /// A load order is still to be tried on the card.
    pub(crate) order_waits: bool,
}

/// Two things happen side by side: the card is written, and the intent is made durable.
#[derive(Debug)]
pub(crate) struct Writing {
    pub(crate) tap: Tap,
    pub(crate) card: Work,
    pub(crate) decision: Decided,
    pub(crate) intent: Option<TapSeq>,
    pub(crate) card_is_ready: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Decided {
    pub(crate) found: CardFound,
    pub(crate) writes: Writes,
}

/// The record that a refused card showed, and the currency of what it says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub(crate) record: CardRecord,
    pub(crate) purse: Option<Currency>,
}

impl Seen {
    pub(crate) const fn on(found: &CardFound) -> Self {
        Self { record: found.record, purse: found.purse }
    }

    pub(crate) const fn after(transaction: &CardTransaction) -> Self {
        Self { record: transaction.after, purse: transaction.purse }
    }
}

/// What is written, and for what.
#[derive(Debug, Clone)]
pub(crate) enum Writes {
    /// A tap.
    Tap(Box<Decision>),
    /// A load order's value, or its product.
    Order(CardRecord, Option<ProductLoad>),
}

impl State {
    /// The exchange under way; `None` when no answer is awaited.
    pub(crate) fn awaited(&self) -> Option<CardStep> {
        match self {
            Self::Finding { card, .. }
            | Self::Proving { card, .. }
            | Self::Committing { card, .. } => Some(card.step()),
            Self::Writing(writing) if !writing.card_is_ready => Some(writing.card.step()),
            Self::Writing(_)
            | Self::Idle
            | Self::Abandoned { .. }
            | Self::Closing(_)
            | Self::ClosingOrder => None,
        }
    }
}

impl Decided {
    pub(crate) fn transaction(&self) -> CardTransaction {
        let (after, written, companions) = match &self.writes {
            Writes::Tap(decision) => (decision.after, decision.counters, decision.companions),
            Writes::Order(after, _) => (*after, None, Companions::NONE),
        };
        let loaded = match self.writes {
            Writes::Tap(_) => None,
            Writes::Order(_, sold) => sold,
        };
        let CardFound { record: before, purse, products, counters } = self.found;
        let counters = counters.map(|found| CounterUse { found, written });
        CardTransaction { before, after, products, loaded, counters, companions, purse }
    }
}
