//! Charges without passage: in-doubt taps that the card committed and whose reader let nobody
//! through, and what their riders are to be repaid (ADR-0012).
//!
//! Everything here is worked out again from the entries known, so it depends on their set alone.

use model::{
    CardRecord, CardTransaction, CounterUse, Ctr, ProductsFound, RecordKind, RouteIx, Served,
    TapEvent, TapRecord,
};

use crate::{
    ClearError, Known, Priced, Rules, TapRef,
    chain::Step,
    exception::ExceptionKind,
    known::transaction,
    state::{Doubt, Position, Unserved},
};

/// The transaction of the card's next tap, and its route.
type Next = (CardTransaction, Option<RouteIx>);

impl<K: Known> Step<'_, K> {
    /// The card committed an in-doubt tap. Nobody has said yet that its rider was let through.
    pub(crate) fn charged(&mut self, doubt: &Doubt) {
        let is_ride = match doubt.after.kind {
            RecordKind::Board | RecordKind::Entry | RecordKind::Exit => true,
            RecordKind::Issue
            | RecordKind::Load
            | RecordKind::LoadInJourney
            | RecordKind::Retire => false,
        };
        let place = self.state.unserved.binary_search_by_key(&doubt.tap, |known| known.doubt.tap);
        if let (true, Err(at)) = (is_ride, place) {
            // A Voided entry that the card refuted may have come before or after.
            let doubt = Doubt { voided: false, ..*doubt };
            let charge = Unserved { doubt, next: None, amount: 0, rides: 0 };
            self.state.unserved.insert(at, charge);
            self.happened.push(doubt.tap);
        }
    }

    /// Says anew of the charges that this step is about whether they were served, and what is due.
    pub(crate) fn weigh(&mut self, tap: Option<&TapRecord>) -> Result<(), ClearError<K::Error>> {
        let of_tap = tap.and_then(transaction).map(|t| t.after.ctr);
        for charge in self.state.unserved.clone() {
            let Unserved { doubt, .. } = charge;
            let (ctr, next) = (doubt.after.ctr, following(&doubt));
            let is_new = self.happened.contains(&doubt.tap);
            if (is_new || of_tap == Some(ctr)) && self.is_served(&doubt, tap)? {
                self.state.unserved.retain(|other| other.doubt.tap != doubt.tap);
                let id = self.items.id(ExceptionKind::ChargedWithoutPassage, &key(&doubt));
                self.reasons.push((id, "its reader let the rider through with this charge"));
                continue;
            }
            let next_learned = self.records.iter().any(|known| known.record.ctr == next);
            if is_new || of_tap == Some(next) || next_learned {
                let weighed = self.weighed(&doubt, tap)?;
                let mut known = self.state.unserved.iter_mut();
                if let Some(place) = known.find(|known| known.doubt.tap == doubt.tap) {
                    *place = weighed;
                }
            }
        }
        Ok(())
    }

    /// Whether its own reader says that the rider was let through with the record, by whichever of
    /// its taps wrote it: taps within one second write the same one, and the card holds it once.
    fn is_served(
        &self,
        doubt: &Doubt,
        tap: Option<&TapRecord>,
    ) -> Result<bool, ClearError<K::Error>> {
        let known = self.entries(doubt.after.ctr)?;
        Ok(known.iter().chain(tap).any(|entry| {
            let same_log = (entry.validator, entry.epoch) == (doubt.tap.validator, doubt.tap.epoch);
            let same_record = transaction(entry).is_some_and(|t| t.after == doubt.after);
            let says_so = match entry.event {
                // Who does not know the word mostly let the rider through.
                TapEvent::Committed { .. }
                | TapEvent::Confirmed { served: Served::Yes | Served::Unsaid, .. } => true,
                TapEvent::Confirmed { served: Served::No, .. }
                | TapEvent::InDoubt { .. }
                | TapEvent::Refused { .. }
                | TapEvent::Voided { .. }
                | TapEvent::Gate { .. }
                | TapEvent::Ticket { .. } => false,
            };
            same_log && same_record && says_so
        }))
    }

    fn weighed(
        &self,
        doubt: &Doubt,
        tap: Option<&TapRecord>,
    ) -> Result<Unserved, ClearError<K::Error>> {
        let next = self.next(doubt, tap)?;
        let (amount, rides) = due(self.rules, doubt, next.as_ref());
        Ok(Unserved { doubt: *doubt, next: next.map(|(t, _)| t.after), amount, rides })
    }

    /// The card's next tap: the transaction that found the record, and its route.
    fn next(
        &self,
        doubt: &Doubt,
        tap: Option<&TapRecord>,
    ) -> Result<Option<Next>, ClearError<K::Error>> {
        let ctr = following(doubt);
        if self.state.position(ctr) != Position::Known {
            return Ok(None);
        }
        let (kept, others) = self.contents(ctr)?;
        let mut entries = self.entries(ctr)?;
        entries.extend(tap);
        // The route of a confirmation is that of another time.
        entries.retain(|entry| !matches!(entry.event, TapEvent::Confirmed { .. }));
        entries.sort_by_key(TapRef::of);
        let found_it = |record: CardRecord| {
            let same = |entry: &TapRecord| {
                let transaction = transaction(entry)?;
                let is_next = transaction.after == record && transaction.before == doubt.after;
                is_next.then_some((*transaction, entry.route))
            };
            entries.iter().find_map(same)
        };
        let mut records = [kept].into_iter().chain(others);
        Ok(records.find_map(|known| found_it(known.record)))
    }
}

/// What ends up paid twice: the charge and the next tap's, less what the next tap would have cost
/// had there been no charge. So a transfer, a cap or a missing tap-out is not repaid that the rider
/// would have paid for, or saved, all the same.
fn due(rules: &Rules, doubt: &Doubt, next: Option<&Next>) -> (i64, u8) {
    let charge = &doubt.after;
    let (charged, taken) = (i64::from(charge.amount), charge.products.map_or(0, |used| used.rides));
    // A gate owes the passage for as long as nothing followed.
    let alone = if charge.kind == RecordKind::Board { (charged, taken) } else { (0, 0) };
    let Some((next, route)) = next else { return alone };
    let products = next.products.map(|found| {
        let rides = found.rides.map(|left| left.saturating_add(u32::from(taken)));
        ProductsFound { rides, ..found }
    });
    let counters = match (next.counters, doubt.counters) {
        (Some(_), Some(CounterUse { found, .. })) => Some(CounterUse { found, written: None }),
        (counters, _) => counters,
    };
    let without = CardTransaction { before: doubt.before, products, counters, ..*next };
    // A wrong price of the next tap has an item of its own.
    match (rules.price(next, *route), rules.price(&without, *route)) {
        (Priced::Quote(with), Priced::Quote(without)) => {
            let amount = charged + with.debit.minor() - without.debit.minor();
            let rides = (taken + with.used.rides).saturating_sub(without.used.rides);
            (amount.max(0), rides)
        }
        // A journey that was tapped out was let begin.
        _ if next.after.kind == RecordKind::Exit => (0, 0),
        _ => alone,
    }
}

/// The counter of the card's next transaction.
const fn following(doubt: &Doubt) -> Ctr {
    Ctr(doubt.after.ctr.0.saturating_add(1))
}

/// What tells the charge's work item from others of the card.
pub(crate) fn key(doubt: &Doubt) -> [u8; TapRef::LEN] {
    doubt.tap.to_bytes()
}
