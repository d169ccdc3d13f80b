//! From MQTT bytes to durable books: check, step, commit, then ack.
//!
//! Invariants: an ack leaves only after the commit that it tells of; every message has an outcome
//! (booked, known, asked for again, or set aside with a reason); a fault of one message costs that
//! message. A crash anywhere loses nothing, because the validator offers again what was not acked,
//! and harms nothing, because what is booked is known by its number and its bytes.
//!
//! [`Pipeline::submit`] is the whole way for tests and benchmarks, without MQTT; `run.rs` drives
//! the two stages side by side. The second stage is the pure [`step::step`], which the simulator
//! drives over [`memory::MemoryBooks`].

mod agree;
pub mod check;
pub mod credit_event;
pub mod memory;
pub mod office;
pub mod run;
pub mod step;
pub mod stored;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use clearing::{CLOCKS_APART_S, ExceptionChange, Issue, ListVersion, Rules, may_owe};
use fleet_sync::{Codec, DepotName, SigningKey, Topic, VerifyingKey, write_ack};
use model::{OrderId, TapRecord, TicketToken, Timestamp, ValidatorId};
use wire::MessageVersion;

use crate::{
    clock::{Clock, Stopwatch},
    events::Events,
    http::views::Live,
    metrics::{Metrics, Stage},
    rules::LiveRules,
    store::{Store, StoreError},
};

use check::CheckedBatch;
pub use check::{Checked, Checker, Message, PublicKeys};
pub use step::{Seats, StepError};
use stored::{Sale, SetAside};

/// Taps named one by one to live screens after one commit.
const LIVE_TAPS_MAX: u32 = 64;

/// Why a message was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// Not a topic of this depot.
    UnknownTopic,
    /// The validator is not enrolled.
    UnknownValidator,
    /// Does not decode.
    Unreadable,
    /// Written in a format newer than this program.
    UnknownVersion,
    /// Not signed by the validator's key.
    BadSignature,
    /// Signed well, but about another validator.
    WrongValidator,
    /// Does not follow from what the validator sent before.
    ChainBroken,
    /// Other bytes under numbers that are booked.
    Conflicting,
    /// Bigger or more than the format allows.
    Oversize,
}

impl Reason {
    /// The stable word in the store, in metrics and on screens.
    pub const fn word(self) -> &'static str {
        match self {
            Self::UnknownTopic => "unknown-topic",
            Self::UnknownValidator => "unknown-validator",
            Self::Unreadable => "unreadable",
            Self::UnknownVersion => "unknown-version",
            Self::BadSignature => "bad-signature",
            Self::WrongValidator => "wrong-validator",
            Self::ChainBroken => "chain-broken",
            Self::Conflicting => "conflicting",
            Self::Oversize => "oversize",
        }
    }
}

/// Why a group was not booked. Nothing of it was, and nothing of it is acked.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The books could not be read or written.
    #[error("the books failed; nothing of this group is booked or acked")]
    Store(#[from] StoreError),
    /// The step could not ask the books.
    #[error("the books could not answer; nothing of this group is booked or acked")]
    Step(#[from] StepError<StoreError>),
}

/// What is to be said after a commit.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Retained messages to publish: (topic, payload).
    pub acks: Vec<(String, Vec<u8>)>,
    /// New entries that were booked.
    pub new_taps: u64,
}

/// What both stages share.
#[derive(Debug, Clone)]
pub struct Workplace {
    /// The depot's level in the topics.
    pub depot: DepotName,
    /// The books.
    pub store: Arc<Store>,
    /// Tariffs, for pricing again.
    pub rules: LiveRules,
    /// Where live screens listen.
    pub events: Events,
    /// Counters.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
}

/// The first stage with its keys.
pub struct Front {
    place: Workplace,
    checker: Checker,
    keys: PublicKeys,
    threads: usize,
}

/// The second stage with its memory.
pub struct Back {
    place: Workplace,
    seats: Seats,
    signing: SigningKey,
}

/// Both stages, one after the other.
pub struct Pipeline {
    /// Check.
    pub front: Front,
    /// Step, commit, ack.
    pub back: Back,
}

impl Pipeline {
    /// Ready to take messages. `threads` check side by side.
    pub fn new(place: Workplace, checker: Checker, signing: SigningKey, threads: usize) -> Self {
        Self {
            front: Front {
                place: place.clone(),
                checker,
                keys: PublicKeys::new(),
                threads: threads.max(1),
            },
            back: Back { place, seats: Seats::default(), signing },
        }
    }

    /// Books a group in one durable commit.
    pub fn submit(&mut self, messages: Vec<Message>) -> Result<Output, IntakeError> {
        let checked = self.front.check(messages)?;
        let output = self.back.book(checked)?;
        self.back.settle_due();
        Ok(output)
    }
}

/// The keys of those whose newest batch is of a later version than the first.
fn voices(checked: &[Checked]) -> BTreeMap<ValidatorId, VerifyingKey> {
    let mut voices = BTreeMap::new();
    for answer in checked {
        let Checked::Batch(CheckedBatch { batch, version, from, .. }) = answer else { continue };
        match version {
            MessageVersion::V1 => voices.remove(&batch.head.validator),
            MessageVersion::V2 | MessageVersion::V3 => voices.insert(batch.head.validator, *from),
        };
    }
    voices
}

impl Front {
    /// Decodes and verifies.
    pub fn check(&mut self, messages: Vec<Message>) -> Result<Vec<Checked>, IntakeError> {
        let stage = Stopwatch::start();
        self.load_keys(&messages)?;
        self.checker.set_ticket_keys(self.place.store.ticket_keys(self.place.clock.now())?);
        let mut checked = self.checker.check_all(&self.keys, messages, self.threads);
        self.check_replaced(&mut checked)?;
        self.place.metrics.observe_stage(Stage::Verify, stage.elapsed());
        Ok(checked)
    }

    /// Keys are enrolled by a command beside the running server, so a sender without a key is
    /// looked up again; a replaced key is picked up when the old one stops working.
    fn load_keys(&mut self, messages: &[Message]) -> Result<(), IntakeError> {
        let senders: BTreeSet<ValidatorId> =
            messages.iter().filter_map(|message| self.checker.sender(message)).collect();
        let unknown = senders.into_iter().filter(|sender| !self.keys.contains_key(sender));
        for sender in unknown.collect::<Vec<_>>() {
            if let Some(newest) = self.place.store.public_keys(sender)?.pop() {
                self.keys.insert(sender, vec![newest]);
            }
        }
        Ok(())
    }

    /// Looks again at what is signed by no key known here: its validator may have a new one.
    fn check_replaced(&mut self, checked: &mut [Checked]) -> Result<(), IntakeError> {
        for answer in checked {
            let Checked::SetAside(aside) = &*answer else { continue };
            let SetAside { topic, payload, reason: Reason::BadSignature, .. } = aside else {
                continue;
            };
            let message = Message { topic: topic.clone(), payload: payload.clone() };
            let Some(sender) = self.checker.sender(&message) else { continue };
            let Some(newest) = self.place.store.public_keys(sender)?.pop() else { continue };
            if self.keys.get(&sender).is_none_or(|known| *known != [newest]) {
                self.keys.insert(sender, vec![newest]);
                *answer = self.checker.check(&self.keys, message);
            }
        }
        Ok(())
    }
}

impl Back {
    /// Books what was checked, in one durable commit, and says what to ack.
    pub fn book(&mut self, checked: Vec<Checked>) -> Result<Output, IntakeError> {
        let booked = self.try_book(checked);
        if booked.is_err() {
            self.seats.roll_back();
        }
        booked
    }

    /// Works out what cards are owed of which something is new, a round of them. Answers whether
    /// there may be more. What fails stays queued.
    pub fn settle_due(&mut self) -> bool {
        settle_due(&self.place).unwrap_or_else(|error| {
            tracing::error!(error = %run::chain(&error), "dues are not worked out; trying again");
            false
        })
    }

    fn try_book(&mut self, checked: Vec<Checked>) -> Result<Output, IntakeError> {
        let place = &self.place;
        let now = place.clock.now();
        let voices = voices(&checked);
        let stage = Stopwatch::start();
        let group = place.store.begin()?;
        let (booking, tally) = step::step(&mut self.seats, &group, &place.rules, checked, now)?;
        place.metrics.observe_stage(Stage::Book, stage.elapsed());
        let stage = Stopwatch::start();
        let first_tap = group.commit(&booking)?;
        place.metrics.observe_stage(Stage::Commit, stage.elapsed());
        self.seats.commit();
        self.count(&booking, &tally);
        self.tell(&booking, first_tap);
        let mut output = Output { acks: Vec::new(), new_taps: tally.new };
        for (validator, epoch) in tally.answer {
            if let Some(intake) = self.seats.intake(validator) {
                let ack = intake.ack(epoch, now);
                let topic = Topic::Ack(validator).name(&self.place.depot);
                // Who writes version 1 may read no other.
                let codec = voices.get(&validator).map_or(Codec::V1, Codec::V2);
                let payload = write_ack(&ack, &self.signing, codec);
                output.acks.push((topic, payload.expect("nothing is sealed here")));
            }
        }
        Ok(output)
    }

    fn count(&self, booking: &stored::Booking, tally: &step::Tally) {
        let metrics = &self.place.metrics;
        let taps = |result, count| metrics.ingest_taps.with_label_values(&[result]).inc_by(count);
        taps("new", tally.new - tally.rejected);
        taps("duplicate", tally.duplicate);
        taps("rejected", tally.rejected);
        let batches =
            |result, count| metrics.ingest_batches.with_label_values(&[result]).inc_by(count);
        batches("booked", tally.booked);
        batches("duplicate", tally.known);
        batches("gapped", tally.gapped);
        batches("quarantined", booking.quarantine.len() as u64);
        for message in &booking.quarantine {
            metrics.quarantined.with_label_values(&[message.reason.word()]).inc();
            tracing::warn!(
                topic = message.topic,
                reason = message.reason.word(),
                detail = message.detail,
                "message set aside"
            );
        }
        for change in &booking.exceptions {
            if let ExceptionChange::Opened(exception) = change {
                metrics.exceptions_opened.with_label_values(&[exception.kind.word()]).inc();
            }
        }
        for tap in booking.batches.iter().flat_map(|batch| &batch.taps) {
            let lag = booking.at.since(tap.record.tapped_at);
            metrics.ingest_lag.observe(lag.as_secs_f64());
            metrics.ingest_ahead.inc_by(u64::from(is_ahead(&tap.record, booking.at)));
        }
        if !booking.batches.is_empty() {
            let secs = i64::try_from(booking.at.secs()).unwrap_or(i64::MAX);
            metrics.last_commit.set(secs);
        }
    }

    /// After the commit, so that a screen never shows what a crash could undo.
    fn tell(&self, booking: &stored::Booking, first_tap: i64) {
        let Workplace { events, store, rules, .. } = &self.place;
        if !events.is_heard() {
            return;
        }
        let currency = rules.currency();
        if !booking.batches.is_empty() {
            match store.taps_from(first_tap, LIVE_TAPS_MAX, currency) {
                Ok(rows) => rows.into_iter().for_each(|row| events.send(Live::Tap(row))),
                Err(error) => tracing::warn!(%error, "live screens miss some taps"),
            }
        }
        let heard = booking.progress.keys().map(|(validator, _)| *validator);
        let heard: BTreeSet<_> = heard.chain(booking.states.keys().copied()).collect();
        for validator in heard {
            events.send(Live::Validator(validator));
        }
        if !booking.exceptions.is_empty() {
            events.send(Live::Exceptions);
        }
    }
}

/// Cards whose due is worked out in one commit: the intake waits for it.
const DUE_AT_ONCE: usize = 200;

/// Works out what queued cards are owed, a round of them, in a commit of its own. Answers whether
/// there may be more.
pub fn settle_due(place: &Workplace) -> Result<bool, IntakeError> {
    let Workplace { store, rules, clock, .. } = place;
    settle_due_of(store, rules, clock)
}

/// The same without an intake around it, for a desk.
pub(crate) fn settle_due_of(
    store: &Store,
    rules: &Rules,
    clock: &Clock,
) -> Result<bool, IntakeError> {
    let may_owe = may_owe(rules.tariffs()) || store.has_grants()?;
    if !may_owe || store.due_queue(1)?.is_empty() {
        return Ok(false);
    }
    let group = store.begin()?;
    // Asked again: nobody else can book a card's news between the question and the commit.
    let cards = store.due_queue(DUE_AT_ONCE)?;
    let booking = step::settle_due(&group, rules, &cards, clock.now())?;
    group.commit(&booking)?;
    Ok(cards.len() == DUE_AT_ONCE)
}

/// Books cards that we issued, so that their value has an origin.
pub fn register_cards(place: &Workplace, issues: &[Issue]) -> Result<(), IntakeError> {
    let group = place.store.begin()?;
    let booking = step::register(&group, &place.rules, issues, place.clock.now())?;
    group.commit(&booking)?;
    Ok(())
}

/// Books tickets that we sold, before anybody gets them.
pub fn sell_tickets(place: &Workplace, tokens: &[TicketToken]) -> Result<(), IntakeError> {
    let now = place.clock.now();
    let sales: Vec<_> = tokens.iter().map(|token| Sale { token: *token, sold_at: now }).collect();
    let group = place.store.begin()?;
    let booking = step::sell(&group, &place.rules, &sales, now)?;
    group.commit(&booking)?;
    Ok(())
}

/// Books what is done with load orders. The events are made under the lock, from the number of the
/// next order, which is answered, and the version of the next list of orders.
pub fn book_order_events(
    place: &Workplace,
    events: impl FnOnce(OrderId, ListVersion) -> Vec<stored::OrderEvent>,
) -> Result<OrderId, IntakeError> {
    let group = place.store.begin()?;
    let next = group.next_order()?;
    let events = events(next, group.next_orders_list()?);
    let booking = step::book_orders(&group, &place.rules, &events, place.clock.now())?;
    group.commit(&booking)?;
    Ok(next)
}

/// Books what people and rules decided about money.
pub fn book_office_events(
    place: &Workplace,
    events: &[office::OfficeEvent],
) -> Result<(), IntakeError> {
    let group = place.store.begin()?;
    let booking = step::book_office(&group, &place.rules, events, place.clock.now())?;
    group.commit(&booking)?;
    Ok(())
}

/// Whether an entry lies after its own arrival, by a clock that somebody set. When it arrived is no
/// part of the set of records, so this is counted and books nothing (REC-1).
pub(crate) fn is_ahead(tap: &TapRecord, arrived: Timestamp) -> bool {
    let bound = Duration::from_secs(u64::from(CLOCKS_APART_S));
    tap.clock.is_set() && tap.tapped_at > arrived.plus(bound)
}
