//! The second stage: believed messages against what is stored, to what is to be written. Pure: the
//! same messages, store and time give the same booking.
//!
//! Here the cores are put in a row: `fleet_sync::Intake` says which entries are new, `clearing`
//! what they mean, `ledger` what they move. A fault of one entry costs that entry, never the group.

mod by_hand;
mod channels;
mod clocks;
mod credit;
mod due;
mod findings;
mod office;
mod orders;
mod products;
mod ticket;
mod transfers;

use std::collections::BTreeMap;

use clearing::{
    ClearError, Cleared, DeskEntry, ExceptionKind, Known, KnownRecord, ListTold, Outcome, Overlay,
    Rules, Source, ValidatorFinding, clear,
};
use fleet_sync::{Accepted, Intake, Presence, RegistersCheck, Verdict};
use ledger::Touched;
use model::{CardId, Epoch, Money, TapEvent, TapRecord, TapSeq, Timestamp, ValidatorId};
use wire::ValidatorState;

pub use by_hand::{book_desk, register};
pub use credit::uncharged;
pub use due::settle_due;
pub use office::book_office;
pub use orders::book_orders;
pub use ticket::sell;

use super::{
    Reason,
    agree::disagreement,
    check::{Checked, CheckedBatch},
    stored::{Attribution, BookedBatch, BookedTap, Booking, Progress, StateReport, Stored},
};

/// What the second stage remembers of a validator between groups; rebuilt from the store.
#[derive(Debug)]
struct Seat {
    intake: Intake,
    presence: Presence,
    /// Of its list of orders.
    told: ListTold,
}

/// What the second stage remembers between groups.
#[derive(Debug, Default)]
pub struct Seats(BTreeMap<ValidatorId, Seat>);

/// Why a group could not be booked. Nothing of it was.
#[derive(Debug, thiserror::Error)]
pub enum StepError<E> {
    /// The store could not answer.
    #[error("the store could not answer")]
    Stored(#[source] E),
}

/// What a group was, for metrics and acks.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// New entries.
    pub new: u64,
    /// Entries that the books held.
    pub duplicate: u64,
    /// New entries that were not cleared.
    pub rejected: u64,
    /// Batches that brought something new.
    pub booked: u64,
    /// Batches that brought nothing new.
    pub known: u64,
    /// Batches above a gap, dropped to come again.
    pub gapped: u64,
    /// Batches that contradict the books.
    pub incidents: u64,
    /// To ack once this is committed.
    pub answer: Vec<(ValidatorId, Epoch)>,
}

/// One group on its way.
struct Desk<'a, S: Stored> {
    stored: &'a S,
    known: Overlay<'a, S>,
    rules: &'a Rules,
    touched: Touched,
    /// Operations of desks that something in this group decides, and whether they happened.
    decided: BTreeMap<u64, (DeskEntry, bool)>,
    clocks: clocks::Clocks,
    booking: Booking,
    tally: Tally,
}

/// Books a group. On an error, or when the booking could not be committed, call
/// [`Seats::roll_back`]; after the commit [`Seats::commit`].
pub fn step<S: Stored>(
    seats: &mut Seats,
    stored: &S,
    rules: &Rules,
    group: Vec<Checked>,
    now: Timestamp,
) -> Result<(Booking, Tally), StepError<S::Error>> {
    let mut desk = Desk::new(stored, rules, now);
    for message in group {
        match message {
            Checked::Batch(batch) => desk.batch(seats, batch)?,
            Checked::State { state, payload } => desk.state(seats, state, payload)?,
            Checked::SetAside(set_aside) => desk.booking.quarantine.push(set_aside),
            Checked::Ours => {}
        }
    }
    desk.close_ops()?;
    Ok(desk.finish())
}

impl Seats {
    /// What was booked since the last call is durable.
    pub fn commit(&mut self) {
        self.0.values_mut().for_each(|seat| seat.intake.handle_committed());
    }

    /// What was booked since the last call is not durable, and must come again.
    pub fn roll_back(&mut self) {
        // Presence and intake are read from the store again.
        self.0.clear();
    }

    /// The intake of a validator that was heard of since the start.
    pub fn intake(&mut self, validator: ValidatorId) -> Option<&mut Intake> {
        self.0.get_mut(&validator).map(|seat| &mut seat.intake)
    }

    fn of<S: Stored>(
        &mut self,
        validator: ValidatorId,
        stored: &S,
    ) -> Result<&mut Seat, StepError<S::Error>> {
        match self.0.entry(validator) {
            std::collections::btree_map::Entry::Occupied(seat) => Ok(seat.into_mut()),
            std::collections::btree_map::Entry::Vacant(empty) => {
                let marks = stored.marks(validator).map_err(StepError::Stored)?;
                let intake = Intake::resume(validator, marks);
                let mut presence = Presence::default();
                if let Some(state) = stored.state(validator).map_err(StepError::Stored)? {
                    presence.handle_state(state);
                }
                let told = stored.orders_told(validator).map_err(StepError::Stored)?;
                Ok(empty.insert(Seat { intake, presence, told }))
            }
        }
    }
}

impl<'a, S: Stored> Desk<'a, S> {
    fn new(stored: &'a S, rules: &'a Rules, now: Timestamp) -> Self {
        Self {
            stored,
            known: Overlay::new(stored),
            rules,
            touched: Touched::default(),
            decided: BTreeMap::new(),
            clocks: BTreeMap::new(),
            booking: Booking {
                at: now,
                period: rules.period(stored.open_day(), now),
                ..Booking::default()
            },
            tally: Tally::default(),
        }
    }

    fn finish(mut self) -> (Booking, Tally) {
        self.booking.ledger = self.touched.take_changes();
        self.tell_of_clocks();
        self.tally.answer.sort_unstable();
        self.tally.answer.dedup();
        (self.booking, self.tally)
    }

    fn state(
        &mut self,
        seats: &mut Seats,
        state: ValidatorState,
        payload: Vec<u8>,
    ) -> Result<(), StepError<S::Error>> {
        let validator = state.validator;
        let seat = seats.of(validator, self.stored)?;
        if seat.presence.handle_state(state.clone()) {
            let linked = seat.presence.is_linked();
            self.told_of_orders(seat, &state);
            self.booking.states.insert(validator, StateReport { state, payload, linked });
        }
        Ok(())
    }

    fn batch(
        &mut self,
        seats: &mut Seats,
        checked: CheckedBatch,
    ) -> Result<(), StepError<S::Error>> {
        let CheckedBatch { batch, .. } = &checked;
        let (validator, epoch) = (batch.head.validator, batch.head.epoch);
        let intake = &mut seats.of(validator, self.stored)?.intake;
        let mut verdict = intake.handle_batch(batch, None);
        if let Verdict::NeedsStoredHash { epoch, seq } = verdict {
            // What is sent again may stand beside the batch that brought it, in this very group.
            let mut booked = self.booking.batches.iter();
            let hash = match booked.find_map(|b| b.hash_through(validator, epoch, seq)) {
                None => self.stored.chain_hash(validator, epoch, seq).map_err(StepError::Stored)?,
                beside => beside,
            };
            if hash.is_some() {
                verdict = intake.handle_batch(batch, hash);
            }
        }
        match verdict {
            Verdict::Accepted(accepted) => {
                self.accepted(checked, accepted)?;
                self.settle_told(seats.of(validator, self.stored)?, validator);
            }
            Verdict::Known { count } => {
                self.tally.known += 1;
                self.tally.duplicate += count;
                if let Some(mark) = intake.committed(epoch) {
                    self.progress(mark, validator, count);
                }
                self.tally.answer.push((validator, epoch));
            }
            Verdict::Gap { .. } => {
                self.tally.gapped += 1;
                self.tally.answer.push((validator, epoch));
            }
            Verdict::NeedsStoredHash { .. } => {
                // The journal holds every booked entry, so this is damage that `verify` explains.
                self.tally.incidents += 1;
                let detail = "the journal lacks the entries that this batch repeats".to_owned();
                self.set_aside(checked, Reason::Conflicting, detail);
            }
            Verdict::Incident(incident) => self.incident(checked, incident),
        }
        Ok(())
    }

    fn progress(&mut self, mark: fleet_sync::EpochMark, validator: ValidatorId, duplicates: u64) {
        let entry = self.booking.progress.entry((validator, mark.epoch));
        let progress = entry.or_insert(Progress { mark, duplicates: 0 });
        if mark.through >= progress.mark.through {
            progress.mark = mark;
        }
        progress.duplicates += duplicates;
    }

    fn accepted(
        &mut self,
        checked: CheckedBatch,
        accepted: Accepted,
    ) -> Result<(), StepError<S::Error>> {
        let CheckedBatch { batch, proofs, payload, .. } = checked;
        let (validator, epoch) = (batch.head.validator, batch.head.epoch);
        let Accepted { mark, entries, known, registers, .. } = accepted;
        let mut taps = Vec::with_capacity(entries.len());
        let known_count = usize::try_from(known).unwrap_or(usize::MAX);
        for (entry, proven) in entries.into_iter().zip(proofs.into_iter().skip(known_count)) {
            self.tally.new += 1;
            match entry.record {
                Ok(record) => taps.push(self.tap(record, proven)?),
                Err(error) => {
                    self.tally.rejected += 1;
                    self.open(ValidatorFinding {
                        kind: ExceptionKind::Quarantined,
                        validator,
                        key: number_key(epoch, entry.seq),
                        card: None,
                        amount: None,
                        finding: format!("entry {} of epoch {epoch}: {error}", entry.seq),
                        evidence: Vec::new(),
                    });
                }
            }
        }
        if let RegistersCheck::Differ { claimed, computed } = registers {
            let differs = claimed.debit_sum.saturating_sub(computed.debit_sum);
            self.open(ValidatorFinding {
                kind: ExceptionKind::RegisterMismatch,
                validator,
                key: number_key(epoch, mark.through),
                card: None,
                // Registers add up units of every purse: with others than the tariff's among them
                // nobody can say what the rest is worth.
                amount: self.one_currency().then(|| self.money(differs.saturating_abs())),
                finding: format!(
                    "through entry {} the registers say {} entries and {} debited, the entries \
                     give {} and {}",
                    mark.through,
                    claimed.count,
                    self.money(claimed.debit_sum),
                    computed.count,
                    self.money(computed.debit_sum)
                ),
                evidence: Vec::new(),
            });
        }
        self.progress(mark, validator, known);
        self.tally.booked += 1;
        self.tally.duplicate += known;
        self.tally.answer.push((validator, epoch));
        self.booking.batches.push(BookedBatch {
            validator,
            epoch,
            first: batch.head.first,
            last: batch.last(),
            last_hash: batch.last_hash,
            payload,
            taps,
        });
        Ok(())
    }

    fn tap(&mut self, record: TapRecord, proven: bool) -> Result<BookedTap, StepError<S::Error>> {
        let refused = BookedTap { record, cleared: false, operator: None };
        if !proven {
            self.tally.rejected += 1;
            let of_ticket = matches!(record.event, TapEvent::Ticket { .. });
            let whose = if of_ticket { "ticket's signature" } else { "card's proof" };
            let finding = format!("the {whose} does not hold");
            self.not_cleared(&record, ExceptionKind::ProofInvalid, &finding);
            return Ok(refused);
        }
        if let TapEvent::Ticket { token } = &record.event {
            return self.ticket(&record, token);
        }
        if let Some(finding) = disagreement(&record) {
            self.tally.rejected += 1;
            self.not_cleared(&record, ExceptionKind::Contradiction, &finding);
            return Ok(refused);
        }
        let Some(card) = record.card else {
            return Ok(BookedTap { cleared: true, ..refused });
        };
        self.clock_of(&record)?;
        self.charged_though_blocked(card, &record)?;
        let state = self.card(card)?;
        match clear(&state, &record, self.booking.at, self.rules, &self.known) {
            Ok(Cleared { outcome: Outcome::Replayed, .. }) if self.is_copied(card, &record)? => {
                self.tally.rejected += 1;
                let finding = "another entry has brought this transaction of the card before";
                self.not_cleared(&record, ExceptionKind::Contradiction, finding);
                Ok(refused)
            }
            Ok(cleared) => {
                let operator = own_record(&record, &cleared);
                // The card's proof holds, and it speaks of another purse than the card's.
                let misfits = cleared.outcome == Outcome::Noted && record.settled().is_some();
                self.tally.rejected += u64::from(misfits);
                self.absorb(card, Some(&record), cleared)?;
                self.products_of(card, &record)?;
                Ok(BookedTap { record, cleared: !misfits, operator })
            }
            Err(ClearError::Known(source)) => Err(StepError::Stored(source)),
            Err(error) => {
                self.tally.rejected += 1;
                self.not_cleared(&record, ExceptionKind::Quarantined, &error.to_string());
                Ok(refused)
            }
        }
    }

    /// A committed transaction has one entry, ever: a second one under another number is copied.
    /// But a rider who holds the card again within the second of a tap that never happened writes
    /// the very record that was in doubt.
    fn is_copied(&self, card: CardId, tap: &TapRecord) -> Result<bool, StepError<S::Error>> {
        let TapEvent::Committed { transaction, .. } = &tap.event else { return Ok(false) };
        let doubts = self.known.transactions(card, transaction.after.ctr);
        let doubts = doubts.map_err(StepError::Stored)?;
        let same = |doubt: &TapRecord| {
            let TapEvent::InDoubt { transaction: of } = &doubt.event else { return false };
            (doubt.validator, doubt.epoch) == (tap.validator, tap.epoch)
                && of.after == transaction.after
        };
        Ok(!doubts.iter().any(same))
    }

    fn card(&self, card: CardId) -> Result<clearing::CardState, StepError<S::Error>> {
        if let Some(state) = self.booking.cards.get(&card) {
            return Ok(state.clone());
        }
        Ok(self.stored.card(card).map_err(StepError::Stored)?.unwrap_or_default())
    }

    /// Takes over what clearing one entry changed.
    fn absorb(
        &mut self,
        card: CardId,
        tap: Option<&TapRecord>,
        cleared: Cleared,
    ) -> Result<(), StepError<S::Error>> {
        let own = tap.and_then(|tap| own_record(tap, &cleared));
        if !due::is_plain(self.rules, tap, own.is_some(), &cleared) {
            self.booking.unusual.insert(card);
        }
        self.decide_ops(card, &cleared.records)?;
        let loads = self.new_loads(card, &cleared.records)?;
        let outranked = self.outranked_loads(card, &cleared)?;
        self.known.absorb(card, tap, &cleared.records);
        self.post(Some(card), tap, &cleared.transfers)?;
        if own.is_none() {
            self.booking.records.extend(cleared.records.iter().map(|known| (card, *known)));
        }
        self.booking.exceptions.extend(cleared.exceptions);
        self.booking.cards.insert(card, cleared.state);
        self.carry_out(card, &loads, &outranked)
    }

    /// Whether every purse is in the tariff's currency.
    fn one_currency(&self) -> bool {
        self.rules.tariffs().iter().all(|tariff| tariff.terms().exchanges.is_empty())
    }

    fn money(&self, minor: i64) -> Money {
        Money::new(minor, self.rules.currency())
    }
}

/// The plain case: the entry's own record became the card's newest and nothing else was learned.
/// Then the entry itself is the books' record, and no other row is written for it.
fn own_record(tap: &TapRecord, cleared: &Cleared) -> Option<Attribution> {
    let TapEvent::Committed { transaction, .. } = &tap.event else { return None };
    let [KnownRecord { record, source: Source::Tap, operator, mispriced: false, .. }] =
        cleared.records[..]
    else {
        return None;
    };
    let plain = cleared.outcome == Outcome::Booked && record == transaction.after;
    plain.then_some(Attribution(operator))
}

fn number_key(epoch: Epoch, seq: TapSeq) -> Vec<u8> {
    [epoch.0.to_be_bytes().as_slice(), &seq.0.to_be_bytes()].concat()
}
