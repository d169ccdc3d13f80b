//! Value of cards that have ended, after the time in which it can be claimed (ADR-0023).
//!
//! The default keeps it for ever (REC-15). With `[visitor] claim_days` it becomes the issuer's so
//! many days after the end of the card's last month: by a journalled step with a cause of its own,
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

/// The first service day on which a card is no longer valid; `None` for one without an end.
pub fn ended(valid_until: ValidUntil) -> Option<ServiceDate> {
    let ValidUntil::Month(month) = valid_until else { return None };
    let (year, month) = (2025 + (i16::from(month) + 1) / 12, (i16::from(month) + 1) % 12 + 1);
    let first = jiff::civil::Date::new(year, i8::try_from(month).ok()?, 1).ok()?;
    let days = (first - jiff::civil::date(1970, 1, 1)).get_days();
    u32::try_from(days).ok().map(ServiceDate)
}

/// The last month of a card that is issued on `today` and is to be good for so many days: with
/// today the first of them. Cards end with months, so a visitor may ride to the end of it.
pub fn visitor_end(today: ServiceDate, days: u32) -> Option<ValidUntil> {
    let last = today.0.checked_add(days.max(1) - 1)?;
    let months = 0..=254_u8;
    months.map(ValidUntil::Month).find(|until| ended(*until).is_some_and(|end| last < end.0))
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
        let end = ended(held.valid_until);
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
    fn a_card_ends_with_its_month_and_a_visitors_month_is_that_of_its_last_day() {
        let day = |text| ServiceDate::parse(text).unwrap();
        let end = |month| ended(ValidUntil::Month(month)).unwrap();
        assert_eq!(
            (end(0), end(11), end(13)),
            (day("2025-02-01"), day("2026-01-01"), day("2026-03-01"))
        );
        assert_eq!(ended(ValidUntil::Always), None);
        for (today, days, month) in [
            ("2026-11-30", 1, 22),
            ("2026-11-30", 2, 23),
            ("2026-12-01", 31, 23),
            ("2026-12-01", 32, 24),
            ("2028-02-01", 29, 37),
        ] {
            let until = visitor_end(day(today), days);
            assert_eq!(until, Some(ValidUntil::Month(month)), "{today} {days}");
        }
        assert_eq!(visitor_end(day("2026-01-01"), u32::MAX), None);
    }
}
