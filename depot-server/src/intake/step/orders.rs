//! Load orders in a booking: what people and lists did with them, and loads that cards show
//! (ADR-0015).

use clearing::{
    BookedOrder, Cleared, ClearedOrder, CreditId, DueOrder, ExceptionChange, KnownRecord,
    ListVersion, LoadItem, OrderRefused, Rules, Source,
};
use model::{
    CardId, CardRecord, ChannelId, Ctr, Currency, LoadSeq, OrderId, Timestamp, ValidatorId,
};
use wire::{ListKind, ValidatorState};

use super::{Desk, Seat, StepError};
use crate::intake::stored::{Booking, BoughtProduct, OrderEvent, Stored};

/// Books what was done with orders. One that does not fit is passed over: whoever does it looks
/// first.
pub fn book_orders<S: Stored>(
    stored: &S,
    rules: &Rules,
    events: &[OrderEvent],
    now: Timestamp,
) -> Result<Booking, StepError<S::Error>> {
    let mut desk = Desk::new(stored, rules, now);
    for event in events {
        desk.order_event(event)?;
    }
    Ok(desk.finish().0)
}

impl<S: Stored> Desk<'_, S> {
    fn order_event(&mut self, event: &OrderEvent) -> Result<(), StepError<S::Error>> {
        let now = self.booking.at;
        let currency = self.rules.currency();
        let still = |order: Result<BookedOrder, OrderRefused>| {
            order.map(|order| ClearedOrder { order, transfers: Vec::new() })
        };
        let cleared = match event {
            OrderEvent::Paid {
                order,
                card,
                amount,
                channel,
                paid_at,
                purse,
                product,
                account,
                ..
            } => {
                let times = (Timestamp(*paid_at), now);
                let card = CardId(*card);
                // An order in another currency than its card's would open a second ledger.
                let purse = purse.and_then(|number| Currency::from_numeric(number).ok());
                let fits = self.card(card)?.purse() == purse;
                let (id, channel) = (OrderId(*order), ChannelId(*channel));
                let sale = product.as_ref().and_then(BoughtProduct::sale);
                let what = (card, *amount, purse);
                let paid = match account {
                    Some(account) => {
                        BookedOrder::on_credit(id, what, CreditId(*account), times, currency)
                    }
                    None => BookedOrder::paid(id, what, sale, channel, times, currency),
                };
                Some(if fits { Ok(paid) } else { Err(OrderRefused::OtherCurrency) })
            }
            OrderEvent::Offered { order, after, not_after_s } => {
                let offered = |order: BookedOrder| order.offered(LoadSeq(*after), *not_after_s);
                self.order(*order)?.map(|order| still(offered(order)))
            }
            OrderEvent::Withdrawn { order, without } => {
                self.order(*order)?.map(|order| still(order.withdrawn(ListVersion(*without))))
            }
            OrderEvent::Renewed { order } => {
                self.order(*order)?.map(|order| still(order.renewed()))
            }
            OrderEvent::Overdue { order } => {
                let overdue = |order: BookedOrder| BookedOrder { overdue: true, ..order };
                self.order(*order)?.map(|order| still(Ok(overdue(order))))
            }
            OrderEvent::GivenBack { order } => {
                self.order(*order)?.map(|order| order.given_back(now, currency))
            }
            OrderEvent::Credit { did } => return self.credit_event(event, did),
            OrderEvent::Batch { .. }
            | OrderEvent::Statement { .. }
            | OrderEvent::Stated { .. }
            | OrderEvent::RefundAsked { .. }
            | OrderEvent::AutoSet { .. }
            | OrderEvent::AutoStopped { .. }
            | OrderEvent::Unstated { .. } => return self.channel_event(event),
        };
        match cleared {
            Some(Ok(cleared)) => self.order_becomes(event, &cleared)?,
            Some(Err(refused)) => tracing::warn!(?event, %refused, "an order stays as it is"),
            None => tracing::warn!(?event, "no such load order"),
        }
        Ok(())
    }

    fn order_becomes(
        &mut self,
        event: &OrderEvent,
        cleared: &ClearedOrder,
    ) -> Result<(), StepError<S::Error>> {
        let ClearedOrder { order, transfers } = cleared;
        let before = self.order(order.id.0)?;
        self.post(Some(order.card), None, transfers)?;
        self.order_is(before.as_ref(), *order);
        self.booking.order_events.push(event.clone());
        self.payment_of(event, before, order)
    }

    fn order_is(&mut self, before: Option<&BookedOrder>, order: BookedOrder) {
        let items = order.items_since(before, self.rules.currency(), self.booking.at);
        self.booking.exceptions.extend(items);
        self.booking.orders.insert(order.id, order);
    }

    /// Loads among these records that the books did not know. To be asked before they do.
    pub(super) fn new_loads(
        &self,
        card: CardId,
        records: &[KnownRecord],
    ) -> Result<Vec<KnownRecord>, StepError<S::Error>> {
        let mut new = Vec::new();
        for known in records.iter().filter(|known| known.record.kind.is_load()) {
            if !self.was_known(card, &known.record)? {
                new.push(*known);
            }
        }
        Ok(new)
    }

    /// Loads that a card shows for the first time: they carry an order out, or take its number, and
    /// what neither a desk nor an order did is an item (I7).
    pub(super) fn carry_out(
        &mut self,
        card: CardId,
        loads: &[KnownRecord],
        outranked: &[CardRecord],
    ) -> Result<(), StepError<S::Error>> {
        let now = self.booking.at;
        for load in outranked {
            self.load_is(card, load, "another record holds its counter")?;
        }
        for known in loads {
            let record = &known.record;
            let orders = self.card_orders(card)?;
            let by_desk = known.source == Source::Issued
                || self.decided.values().any(|(op, happened)| *happened && op.written() == record);
            let carried =
                (!by_desk).then(|| BookedOrder::carried_out_by(&orders, record)).flatten();
            if let Some(at) = carried {
                let done = orders[at].carried_out(record, now, self.rules.currency());
                if let Some(ClearedOrder { order, transfers }) = done {
                    self.post(Some(card), None, &transfers)?;
                    self.order_is(Some(&orders[at]), order);
                    self.pay_due(card, DueOrder::Load(order.id.0))?;
                }
            } else if !by_desk && record.amount == 0 {
                let item = clearing::unexplained_sale(card, record, now);
                self.booking.exceptions.push(ExceptionChange::Opened(item));
            } else if !by_desk {
                let item = LoadItem::new((card, &self.card(card)?), record, now, self.rules);
                self.booking.exceptions.push(item.unexplained());
                self.credit_unmet(card, record)?;
            }
            for order in self.card_orders(card)? {
                if let Some(waits) = order.passed_over(record) {
                    self.booking.orders.insert(waits.id, waits);
                }
            }
        }
        Ok(())
    }

    /// The item about a load ends when its desk is known, or another record holds its counter.
    pub(super) fn load_is(
        &mut self,
        card: CardId,
        record: &CardRecord,
        reason: &'static str,
    ) -> Result<(), StepError<S::Error>> {
        let state = self.card(card)?;
        let item = LoadItem::new((card, &state), record, self.booking.at, self.rules);
        self.booking.exceptions.push(item.explained(reason));
        self.credit_met(card, record)
    }

    /// Loads that were kept under counters which other records hold from here on. To be asked
    /// before the books know these.
    pub(super) fn outranked_loads(
        &self,
        card: CardId,
        cleared: &Cleared,
    ) -> Result<Vec<CardRecord>, StepError<S::Error>> {
        let mut outranked = Vec::new();
        // Only a fork puts one record in another's place: no other card costs a question.
        let forked = !cleared.state.forks().is_empty();
        for known in cleared.records.iter().filter(|_| forked) {
            let kept = self.kept(card, known.record.ctr)?.map(|kept| kept.record);
            let load = kept.filter(|kept| kept.kind.is_load() && *kept != known.record);
            outranked.extend(load);
        }
        Ok(outranked)
    }

    /// What a validator says of its lists.
    pub(super) fn told_of_orders(&mut self, seat: &mut Seat, state: &ValidatorState) {
        let lists = state.lists.iter().flat_map(|lists| &lists.held);
        let newest = lists.filter(|list| list.kind == ListKind::ACTIONS).map(|list| list.version);
        if let Some(list) = newest.max() {
            let drained_before = state.undrained_before == 0;
            seat.told.tells(ListVersion(list), state.epoch, state.head, drained_before);
            self.settle_told(seat, state.validator);
        }
    }

    /// After the validator said something, or entries of it were booked.
    pub(super) fn settle_told(&mut self, seat: &mut Seat, validator: ValidatorId) {
        let Some((_, epoch, _)) = seat.told.pending() else { return };
        let here = self.booking.progress.get(&(validator, epoch)).map(|progress| progress.mark);
        let booked = [here, seat.intake.committed(epoch)].into_iter().flatten();
        if let Some(through) = booked.map(|mark| mark.through).max() {
            seat.told.booked(epoch, through);
        }
        self.booking.orders_told.insert(validator, seat.told);
    }

    pub(super) fn was_known(
        &self,
        card: CardId,
        record: &CardRecord,
    ) -> Result<bool, StepError<S::Error>> {
        let kept = self.kept(card, record.ctr)?;
        Ok(kept.is_some_and(|known| known.record == *record))
    }

    fn kept(&self, card: CardId, ctr: Ctr) -> Result<Option<KnownRecord>, StepError<S::Error>> {
        use clearing::Known as _;
        self.known.record(card, ctr).map_err(StepError::Stored)
    }

    pub(super) fn order(&self, id: u64) -> Result<Option<BookedOrder>, StepError<S::Error>> {
        let id = OrderId(id);
        if let Some(order) = self.booking.orders.get(&id) {
            return Ok(Some(*order));
        }
        self.stored.order(id).map_err(StepError::Stored)
    }

    pub(super) fn card_orders(
        &self,
        card: CardId,
    ) -> Result<Vec<BookedOrder>, StepError<S::Error>> {
        let stored = self.stored.orders_of(card).map_err(StepError::Stored)?;
        let newest =
            |order: BookedOrder| self.booking.orders.get(&order.id).copied().unwrap_or(order);
        Ok(stored.into_iter().map(newest).collect())
    }
}
