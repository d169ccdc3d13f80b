//! A load order, put on its card before the tap (REC-5, ADR-0015).
//!
//! It is a card transaction and a log entry of its own, so whatever is cut off, what is known of it
//! is known for the same reasons as of a tap. The rider holds the card once: the tap follows at
//! once, and finds the value.

use alloc::boxed::Box;

use card::{CardFound, LoadTransaction, load_record};
use model::{
    CardId, CardRecord, Companions, LoadOrder, Money, RecordKind, TapDraft, TapEvent, TapSeq,
};

use super::{State, TapMachine};
use crate::{
    OpenedOrder, Output,
    state::{Decided, Tap, Writes},
    work::Work,
};

impl TapMachine {
    /// A card that is not served is not loaded, and no order is tried twice.
    pub(super) fn is_to_try(&self, card: CardId, opened: &OpenedOrder) -> bool {
        !self.tried.contains(opened.order.id) && !self.context.hotlist.contains(card)
    }

    pub(super) fn begin_order(
        &mut self,
        (card, companions): (CardId, Companions),
        draft: TapDraft,
        opened: OpenedOrder,
        rnd_a: [u8; 16],
    ) -> State {
        let OpenedOrder { order, key } = opened;
        let draft = TapDraft { order: Some(order.id), ..draft };
        let load = LoadTransaction::new(card, key, rnd_a);
        let tap = Tap { card, draft, companions, order_waits: false };
        self.find(tap, Box::new(Work::Order(order, load)))
    }

    pub(super) fn found_for_order(
        &mut self,
        tap: Tap,
        order: LoadOrder,
        mut load: LoadTransaction,
        found: &CardFound,
    ) -> State {
        let Some(after) = self.order_record(&tap.draft, order, found) else {
            load.release();
            return self.pass_over(order);
        };
        if load.write(&after).is_err() {
            load.release();
            return self.pass_over(order);
        }
        let decided = Decided { found: *found, writes: Writes::Order(after) };
        self.intend(tap, Work::Order(order, load), decided)
    }

    /// The record to write; `None` when the order does not fit.
    fn order_record(
        &self,
        draft: &TapDraft,
        order: LoadOrder,
        found: &CardFound,
    ) -> Option<CardRecord> {
        let before = &found.record;
        // An order over another currency never goes on: its amount would be another.
        order.fits(before, found.purse, draft.tapped_at, draft.clock).ok()?;
        if !before.valid_until.allows(draft.tapped_at) {
            return None;
        }
        let at_s = u32::try_from(draft.tapped_at.secs()).ok()?;
        let after = load_record(before, order.amount, at_s).ok()?;
        Some(match after.kind {
            // The record of an open journey stays its entry's.
            RecordKind::LoadInJourney => after,
            RecordKind::Issue
            | RecordKind::Board
            | RecordKind::Entry
            | RecordKind::Exit
            | RecordKind::Load
            | RecordKind::Retire => CardRecord { validator: self.context.id, ..after },
        })
    }

    /// The card is another's to judge: the tap itself, which follows.
    pub(super) fn pass_over(&mut self, order: LoadOrder) -> State {
        self.tried.insert(order.id);
        self.outbox.push_back(Output::PresentAgain);
        State::Idle
    }

    pub(super) fn order_loaded(
        &mut self,
        tap: Tap,
        seq: TapSeq,
        event: TapEvent,
        loaded: Money,
    ) -> State {
        if let Some(order) = tap.draft.order {
            self.tried.insert(order);
        }
        self.loaded = Some((tap.card, loaded));
        self.outbox.push_back(Output::LogOutcome { seq: Some(seq), draft: tap.draft, event });
        State::ClosingOrder
    }
}
