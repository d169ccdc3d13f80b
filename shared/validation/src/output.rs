//! What goes into the tap machine and what comes out of it.

use alloc::vec::Vec;

use card::{KeyVersion, VersionedKey};
use fare::Step;
use model::{CardId, CardTransaction, LoadOrder, TapDraft, TapEvent, TapSeq};

use crate::{LateAnswer, Passage};

/// What came into the field.
#[derive(Debug)]
pub enum Presented {
    /// One card, with the key it must know and 16 fresh random bytes.
    Card {
        /// Its number.
        card: CardId,
        /// Its debit key under the current version.
        key: VersionedKey,
        /// Randomness of the authentication.
        rnd_a: [u8; 16],
        /// The load order that waits for it, if one does.
        order: Option<OpenedOrder>,
    },
    /// Something that cannot be a card of ours.
    Foreign,
    /// More than one.
    Several,
}

/// A load order whose seal was opened with the card's debit key (ADR-0015).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenedOrder {
    /// What it says.
    pub order: LoadOrder,
    /// The card's load key, which came with it.
    pub key: VersionedKey,
}

/// What the shell is to do, in this order. The tap log keeps the order it is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this to the card, then call `handle_response`.
    Transmit(Vec<u8>),
    /// The card's debit key has this version: call `handle_key` with it.
    NeedKey {
        /// The card.
        card: CardId,
        /// The version that the card says it holds.
        version: KeyVersion,
    },
    /// Give it a number and make it durable, then call `handle_intent_durable`. Do not wait for
    /// it before the next `Transmit`.
    LogIntent {
        /// When, where, which card.
        draft: TapDraft,
        /// What was read and what is to be written.
        transaction: CardTransaction,
    },
    /// Make it durable, then call `handle_outcome_durable`. Without a number it gets one.
    LogOutcome {
        /// The number of the intent it ends.
        seq: Option<TapSeq>,
        /// When, where, which card.
        draft: TapDraft,
        /// What became of the tap.
        event: TapEvent,
    },
    /// Append it; it is durable with whatever is appended next, and nobody waits for it.
    LogResolution {
        /// When, where, which card.
        draft: TapDraft,
        /// What became of an earlier tap.
        event: TapEvent,
    },
    /// Count it and log it: an exchange took longer than an honest card's (SEC-5).
    Late(LateAnswer),
    /// Show who will ride on the next card: these steps; nobody when there is none, because the
    /// choice was taken back or is over.
    Companions(Vec<Step>),
    /// Tell the rider and the gate.
    Show(Passage),
    /// Present the same card again with fresh randomness: an earlier tap is settled, this one is
    /// still to be made.
    PresentAgain,
    /// The tap is over; the card may go.
    Done,
}
