//! Books in memory: the same answers as the database gives, for `verify` and the simulator.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
};

use clearing::{
    AutoTopUp, BookedOrder, CardHistory, CardState, ClockGap, ClockPair, CreditAccount, CreditId,
    DayBooked, DeskEntry, DueOrder, DueRow, Exception, ExceptionChange, ExceptionId, Known,
    KnownRecord, ListTold, Source, Stated, TapRef, TicketState,
};
use fleet_sync::EpochMark;
use ledger::{AccountId, Balance, PendingState, Recorded, TransferId};
use model::{
    CardId, ChannelId, Ctr, Epoch, OrderId, ServiceDate, TapEvent, TapRecord, TapSeq, Ticket,
    Timestamp, ValidatorId,
};
use wire::{Batch, ChainHash, Envelope, Message, ValidatorState};

use super::{
    credit_event::CreditEvent,
    stored::{Attribution, BookedTap, Booking, OrderEvent, Stored},
};

/// Everything that the database would hold, without the journal's bytes.
#[derive(Debug, Clone, Default)]
pub struct MemoryBooks {
    /// Reconciliation's states.
    pub cards: BTreeMap<CardId, CardState>,
    /// Ledger accounts.
    pub accounts: BTreeMap<AccountId, Balance>,
    /// Transfers, in the order of booking; what became of pending ones is in `pending`.
    pub transfers: Vec<Recorded>,
    /// Work items that are open.
    pub open: BTreeMap<ExceptionId, Exception>,
    /// Every work item that was ever opened.
    pub opened: BTreeSet<ExceptionId>,
    /// Booked entries.
    pub taps: BTreeMap<TapRef, BookedTap>,
    /// Tickets, by their signed form.
    pub tickets: BTreeMap<[u8; Ticket::LEN], TicketState>,
    /// How far each life is booked.
    pub marks: BTreeMap<(ValidatorId, Epoch), EpochMark>,
    /// What validators last reported.
    pub states: BTreeMap<ValidatorId, ValidatorState>,
    /// What cards are owed, by service day.
    pub due: BTreeMap<CardId, BTreeMap<ServiceDate, DayBooked>>,
    /// What people decided that cards are owed, by service day.
    pub grants: BTreeMap<CardId, BTreeMap<ServiceDate, i64>>,
    /// Load orders.
    pub orders: BTreeMap<OrderId, BookedOrder>,
    /// Payments of channels.
    pub stated: BTreeMap<(ChannelId, String), Stated>,
    /// Standing instructions.
    pub autos: BTreeMap<CardId, AutoTopUp>,
    /// Credit accounts.
    pub credits: BTreeMap<CreditId, CreditAccount>,
    /// Whose cards are that are a credit account's.
    pub members: BTreeMap<CardId, CreditId>,
    /// Payments of credit accounts.
    pub credit_payments: BTreeMap<(ChannelId, String), (CreditId, i64)>,
    /// What validators have told of their lists of orders.
    pub orders_told: BTreeMap<ValidatorId, ListTold>,
    /// When each version of the hotlist was made.
    pub hotlists: BTreeMap<u64, Timestamp>,
    /// Which versions refuse a card: from the first to the one before the last, if it has left.
    pub blocked: BTreeMap<CardId, Vec<(u64, Option<u64>)>>,
    /// Clocks that disagree.
    pub clock_gaps: BTreeMap<ClockPair, ClockGap>,
    /// Messages set aside.
    pub set_aside: u64,
    /// The oldest open day, once there is one.
    pub open_day: Option<ServiceDate>,
    /// The day of each transfer, in the order of `transfers`.
    pub transfer_days: Vec<ServiceDate>,
    /// The taps of each day, in the order of booking.
    pub day_taps: BTreeMap<ServiceDate, Vec<TapRef>>,
    /// The first transfer of each day, by its place in `transfers`.
    pub day_starts: BTreeMap<ServiceDate, usize>,
    /// Bookings before this moment belong to no day.
    pub days_since: Timestamp,
    references: BTreeMap<OrderId, String>,
    records: BTreeMap<(CardId, Ctr), KnownRecord>,
    transactions: BTreeSet<(CardId, Ctr, TapRef)>,
    /// What gates told of its riders.
    at_gates: BTreeSet<(CardId, TapRef)>,
    pending: BTreeMap<TransferId, Recorded>,
    hashes: BTreeMap<(ValidatorId, Epoch, TapSeq), ChainHash>,
}

impl MemoryBooks {
    /// Writes a booking.
    pub fn apply(&mut self, booking: Booking) {
        self.days(&booking);
        for batch in booking.batches {
            self.keep_hashes(&batch.payload);
            for tap in batch.taps {
                self.tap(tap);
            }
        }
        self.cards.extend(booking.cards);
        self.tickets.extend(booking.tickets);
        self.orders.extend(booking.orders);
        let of_orders = booking.stated.iter();
        self.references.extend(
            of_orders
                .filter_map(|((_, reference), stated)| Some((stated.order?, reference.clone()))),
        );
        self.stated.extend(booking.stated);
        self.autos.extend(booking.autos);
        self.orders_told.extend(booking.orders_told);
        self.clock_gaps.extend(booking.clock_gaps);
        self.credits(booking.credits, booking.members, &booking.order_events);
        let records = booking.records.into_iter();
        self.records.extend(records.map(|(card, known)| ((card, known.record.ctr), known)));
        self.accounts.extend(booking.ledger.balances);
        for recorded in &booking.ledger.inserted {
            if recorded.pending.is_some() {
                self.pending.insert(recorded.transfer.id, *recorded);
            }
        }
        self.transfers.extend(booking.ledger.inserted);
        for (id, state) in booking.ledger.settled {
            if let Some(recorded) = self.pending.get_mut(&id) {
                recorded.pending = Some(state);
            }
        }
        for change in booking.exceptions {
            match change {
                ExceptionChange::Opened(exception) => {
                    self.opened.insert(exception.id);
                    self.open.insert(exception.id, exception);
                }
                // What a person closed stays closed.
                ExceptionChange::Changed(exception) => {
                    if let Some(open) = self.open.get_mut(&exception.id) {
                        *open = exception;
                    }
                }
                ExceptionChange::Resolved { id, .. } => {
                    self.open.remove(&id);
                }
            }
        }
        for decided in booking.decided.into_iter().filter(|decided| decided.closed.is_some()) {
            self.open.remove(&decided.item);
        }
        for (card, day, amount) in booking.grants {
            *self.grants.entry(card).or_default().entry(day).or_default() += amount;
        }
        let progress = booking.progress.into_iter();
        self.marks.extend(progress.map(|(key, progress)| (key, progress.mark)));
        let states = booking.states.into_iter();
        self.states.extend(states.map(|(validator, report)| (validator, report.state)));
        self.set_aside += booking.quarantine.len() as u64;
        booking.due.iter().for_each(|row| self.due_row(row));
    }

    /// What has become of a transfer that was booked as pending.
    pub fn pending_state(&self, id: &TransferId) -> Option<PendingState> {
        self.pending.get(id).and_then(|recorded| recorded.pending)
    }

    fn days(&mut self, booking: &Booking) {
        let kept = booking.at >= self.days_since;
        let day = |event_at| if kept { booking.period.day(event_at) } else { ServiceDate(0) };
        let transfers = booking.ledger.inserted.iter();
        let days: Vec<_> = transfers.map(|new| day(new.transfer.event_at)).collect();
        let taps = booking.batches.iter().flat_map(|batch| &batch.taps);
        let taps: Vec<_> =
            taps.map(|tap| (TapRef::of(&tap.record), tap.record.tapped_at)).collect();
        if kept && !(days.is_empty() && taps.is_empty()) {
            self.open_day.get_or_insert(booking.period.open());
        }
        for (at, day) in (self.transfer_days.len()..).zip(&days) {
            self.day_starts.entry(*day).or_insert(at);
        }
        self.transfer_days.extend(days);
        for (tap, at) in taps {
            self.day_taps.entry(day(at)).or_default().push(tap);
        }
    }

    fn credits(
        &mut self,
        credits: BTreeMap<CreditId, CreditAccount>,
        members: BTreeMap<CardId, Option<CreditId>>,
        events: &[OrderEvent],
    ) {
        self.credits.extend(credits);
        for (card, account) in members {
            match account {
                Some(account) => self.members.insert(card, account),
                None => self.members.remove(&card),
            };
        }
        for event in events {
            if let OrderEvent::Credit {
                did: CreditEvent::Paid { account, channel, reference, amount, .. },
            } = event
            {
                let key = (ChannelId(*channel), reference.clone());
                self.credit_payments.insert(key, (CreditId(*account), *amount));
            }
        }
    }

    fn due_row(&mut self, row: &DueRow) {
        let day = self.due.entry(row.card).or_default().entry(row.day).or_default();
        *day = day.then(row.change);
    }

    fn tap(&mut self, tap: BookedTap) {
        if let (true, Some(card), Some(transaction)) =
            (tap.cleared, tap.record.card, clearing::transaction(&tap.record))
        {
            let entry = TapRef::of(&tap.record);
            self.transactions.insert((card, transaction.after.ctr, entry));
        }
        if let (true, Some(card), TapEvent::Gate { .. }) =
            (tap.cleared, tap.record.card, &tap.record.event)
        {
            self.at_gates.insert((card, TapRef::of(&tap.record)));
        }
        if let (Some(card), Some(Attribution(operator)), TapEvent::Committed { transaction, .. }) =
            (tap.record.card, tap.operator, &tap.record.event)
        {
            let record = transaction.after;
            let (source, counters) = (Source::Tap, transaction.counters);
            let known = KnownRecord { record, source, operator, mispriced: false, counters };
            self.records.insert((card, record.ctr), known);
        }
        self.taps.insert(TapRef::of(&tap.record), tap);
    }

    fn keep_hashes(&mut self, payload: &[u8]) {
        let batch = Envelope::decode(Message::Taps, payload)
            .and_then(|envelope| Batch::decode(envelope.body))
            .expect("a booked payload was decoded before");
        let (mut seq, mut hash) = (batch.head.first, batch.head.prev_hash);
        for entry in &batch.entries {
            hash = hash.then(entry);
            self.hashes.insert((batch.head.validator, batch.head.epoch, seq), hash);
            seq = seq.next();
        }
    }
}

impl Known for MemoryBooks {
    type Error = Infallible;

    fn record(&self, card: CardId, ctr: Ctr) -> Result<Option<KnownRecord>, Infallible> {
        Ok(self.records.get(&(card, ctr)).copied())
    }

    fn cleared(&self, tap: TapRef) -> Result<bool, Infallible> {
        Ok(self.taps.get(&tap).is_some_and(|tap| tap.cleared))
    }

    fn transactions(&self, card: CardId, ctr: Ctr) -> Result<Vec<TapRecord>, Infallible> {
        let lowest = TapRef { validator: ValidatorId::DEPOT, epoch: Epoch(0), seq: TapSeq(0) };
        let from_here = self.transactions.range((card, ctr, lowest)..);
        let entries = from_here.take_while(|(of, at, _)| (*of, *at) == (card, ctr));
        Ok(entries.filter_map(|(.., entry)| Some(self.taps.get(entry)?.record)).collect())
    }
}

impl Stored for MemoryBooks {
    fn open_day(&self) -> Option<ServiceDate> {
        self.open_day
    }

    fn marks(&self, validator: ValidatorId) -> Result<Vec<EpochMark>, Infallible> {
        let all = (validator, Epoch(0))..=(validator, Epoch(u32::MAX));
        Ok(self.marks.range(all).map(|(_, mark)| *mark).collect())
    }

    fn state(&self, validator: ValidatorId) -> Result<Option<ValidatorState>, Infallible> {
        Ok(self.states.get(&validator).cloned())
    }

    fn chain_hash(
        &self,
        validator: ValidatorId,
        epoch: Epoch,
        seq: TapSeq,
    ) -> Result<Option<ChainHash>, Infallible> {
        Ok(self.hashes.get(&(validator, epoch, seq)).copied())
    }

    fn card(&self, card: CardId) -> Result<Option<CardState>, Infallible> {
        Ok(self.cards.get(&card).cloned())
    }

    fn ticket(&self, signed: &[u8; Ticket::LEN]) -> Result<Option<TicketState>, Infallible> {
        Ok(self.tickets.get(signed).cloned())
    }

    fn balance(&self, account: &AccountId) -> Result<Balance, Infallible> {
        Ok(self.accounts.get(account).copied().unwrap_or_default())
    }

    /// Outcomes are in the journal that is booked again; nothing is open.
    fn open_ops(&self, _: CardId) -> Result<Vec<DeskEntry>, Infallible> {
        Ok(Vec::new())
    }

    fn pending(&self, id: &TransferId) -> Result<Option<Recorded>, Infallible> {
        Ok(self.pending.get(id).copied())
    }

    fn history(&self, card: CardId) -> Result<CardHistory, Infallible> {
        let state = self.cards.get(&card);
        let mut history = CardHistory::of_purse(state.and_then(CardState::purse));
        let lowest = TapRef { validator: ValidatorId::DEPOT, epoch: Epoch(0), seq: TapSeq(0) };
        let from_here = self.transactions.range((card, Ctr(0), lowest)..);
        for (.., entry) in from_here.take_while(|(of, ..)| *of == card) {
            if let Some(tap) = self.taps.get(entry) {
                history.add_tap(&tap.record);
            }
        }
        let told = self.at_gates.range((card, lowest)..).take_while(|(of, _)| *of == card);
        for tap in told.filter_map(|(_, entry)| self.taps.get(entry)) {
            history.add_tap(&tap.record);
        }
        let records = self.records.range((card, Ctr(0))..=(card, Ctr(u32::MAX)));
        records.for_each(|(_, known)| history.add_record(known));
        for charge in state.iter().flat_map(|state| state.unserved()) {
            history.add_unserved(charge.doubt.after.ctr, charge.amount);
        }
        Ok(history)
    }

    fn due_days(&self, card: CardId) -> Result<BTreeMap<ServiceDate, DayBooked>, Infallible> {
        Ok(self.due.get(&card).cloned().unwrap_or_default())
    }

    fn granted(&self, card: CardId) -> Result<BTreeMap<ServiceDate, i64>, Infallible> {
        Ok(self.grants.get(&card).cloned().unwrap_or_default())
    }

    fn order(&self, id: OrderId) -> Result<Option<BookedOrder>, Infallible> {
        Ok(self.orders.get(&id).copied())
    }

    fn orders_of(&self, card: CardId) -> Result<Vec<BookedOrder>, Infallible> {
        Ok(self.orders.values().filter(|order| order.card == card).copied().collect())
    }

    fn orders_told(&self, validator: ValidatorId) -> Result<ListTold, Infallible> {
        Ok(self.orders_told.get(&validator).copied().unwrap_or_default())
    }

    fn stated(&self, channel: ChannelId, reference: &str) -> Result<Option<Stated>, Infallible> {
        Ok(self.stated.get(&(channel, reference.to_owned())).cloned())
    }

    fn reference_of(&self, id: OrderId) -> Result<Option<String>, Infallible> {
        Ok(self.references.get(&id).cloned())
    }

    fn auto(&self, card: CardId) -> Result<Option<AutoTopUp>, Infallible> {
        Ok(self.autos.get(&card).copied())
    }

    fn credit(&self, id: CreditId) -> Result<Option<CreditAccount>, Infallible> {
        Ok(self.credits.get(&id).cloned())
    }

    fn credit_of(&self, card: CardId) -> Result<Option<CreditId>, Infallible> {
        Ok(self.members.get(&card).copied())
    }

    fn credit_cards(&self, id: CreditId) -> Result<Vec<CardId>, Infallible> {
        let members = self.members.iter().filter(|(_, account)| **account == id);
        Ok(members.map(|(card, _)| *card).collect())
    }

    fn credit_under_way(&self, id: CreditId) -> Result<i64, Infallible> {
        let of = self.orders.values().filter(|order| order.account == Some(id));
        Ok(of.filter(|order| order.is_under_way()).map(|order| i64::from(order.amount)).sum())
    }

    fn credit_payment(
        &self,
        channel: ChannelId,
        reference: &str,
    ) -> Result<Option<(CreditId, i64)>, Infallible> {
        Ok(self.credit_payments.get(&(channel, reference.to_owned())).copied())
    }

    fn blocked(&self, card: CardId, version: u64, by: Timestamp) -> Result<bool, Infallible> {
        let made = self.hotlists.get(&version).is_some_and(|made| *made <= by);
        let mut spans = self.blocked.get(&card).into_iter().flatten();
        let has = |span: &(u64, Option<u64>)| {
            span.0 <= version && span.1.is_none_or(|gone| version < gone)
        };
        Ok(made && spans.any(has))
    }

    fn clock_gaps(&self, day: ServiceDate) -> Result<Vec<ClockGap>, Infallible> {
        let gaps = self.clock_gaps.iter().filter(|(pair, _)| pair.day == day);
        Ok(gaps.map(|(_, gap)| *gap).collect())
    }

    /// Payments are in the journal that is booked again; nothing is set apart.
    fn due_held(&self, _: DueOrder) -> Result<Vec<(ServiceDate, i64)>, Infallible> {
        Ok(Vec::new())
    }
}
