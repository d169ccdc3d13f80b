//! Taps of which nobody knows whether they happened: how long for, and when nobody waits any more
//! (LED-4, ADR-0023).
//!
//! An expired hold frees the rider's money. The tap stays in the card's state, so that a record of
//! the card which proves it books it all the same (REC-1).

use std::fmt::Write as _;

use model::{Money, Timestamp};

use crate::{
    intake::{IntakeError, Workplace, book_office_events, office::OfficeEvent},
    store::{OpenDoubt, StoreError},
};

const DAY_S: u64 = 86_400;
/// Holds that end in one commit.
const AT_ONCE: usize = 1_000;

/// Ends every hold that the books have known for `days`; 0 ends none. Answers how many.
pub fn expire_due(place: &Workplace, days: u32) -> Result<usize, IntakeError> {
    if days == 0 {
        return Ok(0);
    }
    let now = place.clock.now();
    let open = place.store.open_doubts()?;
    let over: Vec<_> = open
        .iter()
        .filter(|doubt| age_days(doubt, now) >= u64::from(days))
        .map(|doubt| OfficeEvent::expired(doubt.card, doubt.tap, days))
        .collect();
    for some in over.chunks(AT_ONCE) {
        book_office_events(place, some)?;
    }
    Ok(over.len())
}

/// Every tap in doubt with its age, the oldest first, as CSV; no whole card numbers.
pub fn ageing_csv(place: &Workplace) -> Result<String, StoreError> {
    let now = place.clock.now();
    let mut text = "days,validator,epoch,entry,card,currency,amount\n".to_owned();
    for doubt in place.store.open_doubts()? {
        let purse = place.store.card_state(doubt.card)?.and_then(|(state, _)| state.purse());
        let currency = purse.unwrap_or(place.rules.currency());
        let OpenDoubt { card, tap, amount, .. } = doubt;
        let _ = writeln!(
            text,
            "{},{},{},{},{},{},{}",
            age_days(&doubt, now),
            tap.validator,
            tap.epoch,
            tap.seq,
            place.store.card_handle(card),
            currency.letters(),
            Money::new(amount, currency).decimal(),
        );
    }
    Ok(text)
}

fn age_days(doubt: &OpenDoubt, now: Timestamp) -> u64 {
    now.since(doubt.since).as_secs() / DAY_S
}
