//! A load order, put on its card before the tap (REC-5, ADR-0015).
//!
//! It is a card transaction and a log entry of its own, so whatever is cut off, what is known of it
//! is known for the same reasons as of a tap. The rider holds the card once: the tap follows at
//! once, and finds the value.

use alloc::boxed::Box;

use card::{CardFailure, CardFound, LoadTransaction, load_record, sale_record};
use model::{
    CardId, CardRecord, Companions, LoadOrder, ProductLoad, RecordKind, Refusal, TapDraft,
    TapEvent, TapSeq,
};

use super::{State, TapMachine};
use crate::{
    Loaded, OpenedOrder, Output,
    state::{Decided, Seen, Tap, Writes},
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
        let Some((after, sold)) = self.order_record(&tap.draft, order, found) else {
            load.release();
            return self.pass_over(order);
        };
        let written = match sold {
            Some(sold) => load.write_selling(&after, sold),
            None => load.write(&after),
        };
        if written.is_err() {
            load.release();
            return self.pass_over(order);
        }
        let decided = Decided { found: *found, writes: Writes::Order(after, sold) };
        self.intend(tap, Work::Order(order, load), decided)
    }

    /// The record to write, and the product that it stands for; `None` when the order does not fit.
    fn order_record(
        &self,
        draft: &TapDraft,
        order: LoadOrder,
        found: &CardFound,
    ) -> Option<(CardRecord, Option<ProductLoad>)> {
        let before = &found.record;
        // An order over another currency never goes on: its amount would be another.
        order.fits(before, found.purse, draft.tapped_at, draft.clock).ok()?;
        if !self.context.is_valid(before, draft.tapped_at) {
            return None;
        }
        let at_s = u32::try_from(draft.tapped_at.secs()).ok()?;
        let sold = match order.product {
            Some(sale) => Some(sale.onto(found.products.as_ref(), draft.tapped_at).ok()?),
            None => None,
        };
        let after = match sold {
            Some(_) => sale_record(before, at_s),
            None => load_record(before, order.amount, at_s),
        };
        let after = after.ok()?;
        let after = match after.kind {
            // The record of an open journey stays its entry's.
            RecordKind::LoadInJourney => after,
            RecordKind::Issue
            | RecordKind::Board
            | RecordKind::Entry
            | RecordKind::Exit
            | RecordKind::Load
            | RecordKind::Retire => CardRecord { validator: self.context.id, ..after },
        };
        Some((after, sold))
    }

    /// The card is another's to judge: the tap itself, which follows.
    pub(super) fn pass_over(&mut self, order: LoadOrder) -> State {
        self.tried.insert(order.id);
        self.outbox.push_back(Output::PresentAgain);
        State::Idle
    }

    /// A card that says no to an order, such as one without a file for products, is not asked again
    /// and rides as if there were none. One that was pulled away is.
    pub(super) fn card_refused_order(&mut self, work: &Work, failure: &CardFailure) {
        if let Work::Order(order, _) = work
            && !matches!(failure, CardFailure::Link { .. })
        {
            self.tried.insert(order.id);
        }
    }

    /// Closes the number of a transaction that the card did not take. Of an order the tap follows.
    pub(super) fn refuse_written(
        &mut self,
        draft: TapDraft,
        seq: TapSeq,
        reason: Refusal,
        seen: Seen,
    ) -> State {
        if !draft.order.is_some_and(|order| self.tried.contains(order)) {
            return self.refuse(draft, Some(seq), reason, Some(seen));
        }
        let event = TapEvent::Refused { reason, seen: Some(seen.record) };
        self.outbox.push_back(Output::LogOutcome { seq: Some(seq), draft, event });
        State::ClosingOrder
    }

    pub(super) fn order_loaded(
        &mut self,
        tap: Tap,
        seq: TapSeq,
        event: TapEvent,
        work: &Work,
    ) -> State {
        if let Work::Order(order, _) = work {
            let loaded = match order.product {
                Some(sale) => Loaded::Product(sale),
                None => Loaded::Value(self.money_in(order.purse, order.amount.into())),
            };
            self.tried.insert(order.id);
            self.loaded = Some((tap.card, loaded));
        }
        self.outbox.push_back(Output::LogOutcome { seq: Some(seq), draft: tap.draft, event });
        State::ClosingOrder
    }
}
