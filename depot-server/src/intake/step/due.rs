//! What cards are owed: which cards are worth asking about, and what their due journals come to
//! say (ADR-0014).
//!
//! Pricing all of a card's rides again costs as much as its history is long, so it is done for
//! cards only of which something is known that their validators did not know. `verify` prices all
//! cards again, and so proves that the others are owed nothing.

use std::collections::BTreeMap;

use clearing::{
    Cleared, DayBooked, DueChange, DueOrder, DueRow, Outcome, RepairRule, Rules, transaction,
};
use model::{
    CardId, CardTransaction, GateWord, RecordKind, ServiceDate, TapEvent, TapRecord, Timestamp,
};

use super::{Desk, StepError};
use crate::intake::stored::{Booking, Stored};

/// Whether the card's validators knew, at every tap so far as this entry is about it, all that the
/// depot knows now. Then they charged what the depot would.
pub(super) fn is_plain(
    rules: &Rules,
    tap: Option<&TapRecord>,
    is_own_record: bool,
    cleared: &Cleared,
) -> bool {
    let state = &cleared.state;
    let in_order = state.gaps().is_empty()
        && state.differences().is_empty()
        && state.forks().is_empty()
        && state.unserved().is_empty()
        && state.miscounts().is_empty()
        && state.doubts().next().is_none();
    let Some(tap) = tap else {
        return in_order && cleared.outcome == Outcome::Booked && cleared.records.len() == 1;
    };
    let Some(done) = transaction(tap) else { return !is_given_back(rules, tap) };
    let counts = rules.tariffs().get(tap.tariff).is_none_or(fare::Tariff::needs_counters);
    let could_count = !is_ride(done) || done.counters.is_some() || !counts;
    in_order && is_own_record && could_count && !misses_tap_out(done)
}

/// Whether a gate says of a rider what a tariff may give back for.
fn is_given_back(rules: &Rules, tap: &TapRecord) -> bool {
    let TapEvent::Gate { said, of: Some(_) } = tap.event else { return false };
    let gives_back = |tariff: &fare::Tariff| {
        tariff.gate().is_some_and(|gate| gate.not_passed == fare::NotPassed::GiveBack)
    };
    said == GateWord::TimedOut && rules.tariffs().iter().any(gives_back)
}

/// Whether a tap-in was followed by another tap than its tap-out.
const fn misses_tap_out(done: &CardTransaction) -> bool {
    let was_open = done.before.kind.is_in_journey();
    was_open && matches!(done.after.kind, RecordKind::Entry | RecordKind::Board)
}

const fn is_ride(done: &CardTransaction) -> bool {
    matches!(done.after.kind, RecordKind::Board | RecordKind::Entry | RecordKind::Exit)
}

/// Works out what these cards are owed by all that is known, and books what differs from their due
/// journals. Called a second time it finds nothing to book.
pub fn settle_due<S: Stored>(
    stored: &S,
    rules: &Rules,
    cards: &[CardId],
    now: Timestamp,
) -> Result<Booking, StepError<S::Error>> {
    let mut desk = Desk::new(stored, rules, now);
    for card in cards {
        let history = stored.history(*card).map_err(StepError::Stored)?;
        let due = history.due(rules.tariffs(), &RepairRule::default());
        let mut amounts: BTreeMap<_, _> =
            due.days.iter().map(|(day, due)| (*day, due.amount())).collect();
        for (day, granted) in stored.granted(*card).map_err(StepError::Stored)? {
            *amounts.entry(day).or_insert(0) += granted;
        }
        let booked = desk.due_days(*card)?;
        for day in booked.keys() {
            amounts.entry(*day).or_insert(0);
        }
        for (day, amount) in amounts {
            let DayBooked { owed, revision, .. } = booked.get(&day).copied().unwrap_or_default();
            if owed != amount {
                let change = DueChange::Owed { amount, revision: revision.saturating_add(1) };
                desk.due_row(DueRow { card: *card, day, change })?;
            }
        }
        desk.booking.due_done.push(*card);
    }
    Ok(desk.finish().0)
}

impl<S: Stored> Desk<'_, S> {
    /// What was set apart for this order has reached its card: it is paid. The transfer out of
    /// `rider-due` is part of the booking of the load itself.
    pub(super) fn pay_due(
        &mut self,
        card: CardId,
        by: DueOrder,
    ) -> Result<(), StepError<S::Error>> {
        for (day, amount) in self.stored.due_held(by).map_err(StepError::Stored)? {
            self.due_row(DueRow { card, day, change: DueChange::Paid { amount, by } })?;
        }
        Ok(())
    }

    fn due_days(
        &self,
        card: CardId,
    ) -> Result<BTreeMap<ServiceDate, DayBooked>, StepError<S::Error>> {
        let mut days = self.stored.due_days(card).map_err(StepError::Stored)?;
        for row in self.booking.due.iter().filter(|row| row.card == card) {
            let day = days.entry(row.day).or_default();
            *day = day.then(row.change);
        }
        Ok(days)
    }

    fn due_row(&mut self, row: DueRow) -> Result<(), StepError<S::Error>> {
        let before = self.due_days(row.card)?.get(&row.day).copied().unwrap_or_default();
        let currency = self.card(row.card)?.currency(self.rules.currency());
        let transfers = row.transfers(before, currency, self.booking.at);
        self.post(Some(row.card), None, &transfers)?;
        self.booking.due.push(row);
        Ok(())
    }
}
