//! Value of cards that have ended, after the time in which it can be claimed (ADR-0023).
//!
//! The default keeps it for ever (REC-15). With `[visitor] claim_days` it becomes the issuer's so
//! many days after the card's end: by a journalled step with a cause of its own,
//! and only for cards of which every transaction is known (REC-9). The card's account stays what
//! the card shows; `replaced(card)` offsets it, so a desk gives nothing out twice.

use clearing::Account;
use model::{CardId, Currency, Money, ServiceDate, ValidUntil};

use crate::{
    intake::{IntakeError, Workplace, book_office_events, office::OfficeEvent},
    store::{HeldCard, Store, StoreError},
};

/// Cards in one commit.
const AT_ONCE: usize = 1_000;

/// The last day of a card that is issued on `today` and is to be good for so many days: with today
/// the first of them.
pub fn visitor_end(today: ServiceDate, days: u32) -> Option<ValidUntil> {
    ValidUntil::day(ServiceDate(today.0.checked_add(days.max(1) - 1)?))
}

/// Makes the value of every card whose time to claim is over its issuer's; 0 days keeps it for
/// ever. Answers how many cards.
pub fn end_claims(place: &Workplace, claim_days: u32) -> Result<usize, IntakeError> {
    if claim_days == 0 {
        return Ok(0);
    }
    let now = place.clock.now();
    let today = place.rules.service_day(now, now);
    let over = |held: &HeldCard| {
        let end = held.valid_until.ended();
        held.is_whole && end.is_some_and(|end| end.0.saturating_add(claim_days) <= today.0)
    };
    let mut cards = Vec::new();
    place.store.each_card(|held| cards.extend(over(&held).then_some(held)))?;
    let mut events = Vec::new();
    for held in cards {
        let value = left(place, &held)?;
        if value.minor() > 0 {
            let of = (held.card, held.issuer);
            events.push(OfficeEvent::unclaimed(of, value, (today, claim_days)));
        }
    }
    for some in events.chunks(AT_ONCE) {
        book_office_events(place, some)?;
    }
    Ok(events.len())
}

/// What is still its holder's.
fn left(place: &Workplace, held: &HeldCard) -> Result<Money, StoreError> {
    let currency = held.ledger.unwrap_or_else(|| place.rules.currency());
    let replaced = place.store.account(&Account::Replaced(held.card).id(currency))?.posted();
    let owes = place.store.account(&Account::OrderOwed(held.card).id(currency))?.posted();
    Ok(Money::new(held.value + replaced + owes.min(0), currency))
}

/// Whether what a card shows is its issuer's: another card stands in place of it, or nobody
/// claimed it in time.
pub(crate) fn is_over(store: &Store, tariffs: Currency, card: CardId) -> Result<bool, StoreError> {
    let state = store.card_state(card)?;
    let currency = state.map_or(tariffs, |(state, _)| state.currency(tariffs));
    Ok(store.account(&Account::Replaced(card).id(currency))?.posted() < 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_visitors_card_is_good_for_its_days_the_day_of_issue_among_them() {
        let day = |text| ServiceDate::parse(text).unwrap();
        for (today, days, last) in [
            ("2026-11-30", 0, "2026-11-30"),
            ("2026-11-30", 1, "2026-11-30"),
            ("2026-11-30", 2, "2026-12-01"),
            ("2026-12-01", 32, "2027-01-01"),
            ("2028-02-01", 29, "2028-02-29"),
        ] {
            let until = visitor_end(day(today), days).unwrap();
            assert_eq!(until.to_string(), last, "{today} {days}");
        }
        assert_eq!(visitor_end(day("2026-01-01"), u32::MAX), None);
    }
}
