//! Auto top-up: standing instructions of cards, and the orders that they make.
//!
//! An order is made by the running server, under the books' lock, as a row of the order journal,
//! so that the journal alone makes the same books again. It is on its way at once; the channel
//! collects the money afterwards, and what it cannot collect is given back and stops the
//! instruction.

use clearing::{AutoStop, AutoTopUp};
use model::{CardId, CardRecord};

use super::{ChannelError, book_under, tell};
use crate::{
    intake::{Workplace, stored::OrderEvent},
    orders::{OrderError, usable},
};

/// What references of instructions' orders begin with.
pub const PREFIX: &str = "auto-";
/// What is ordered in 24 hours counts against an instruction's bound.
const DAY_MS: u64 = 86_400_000;

/// Sets a card's instruction, or sets it anew.
pub fn set(place: &Workplace, auto: &AutoTopUp) -> Result<(), OrderError> {
    let tariffs = place.rules.currency();
    if let Some(purse) = usable(&place.store, auto.card)?.purse() {
        return Err(OrderError::Currency { card: auto.card, paid: tariffs, purse });
    }
    if let Some(account) = place.store.credit_of(auto.card)? {
        return Err(OrderError::OfAccount(auto.card, account));
    }
    let fits = |amount: u32| (1..=CardRecord::AMOUNT_MAX).contains(&amount);
    if !(fits(auto.amount) && fits(auto.below)) || auto.per_day_max < auto.amount {
        return Err(OrderError::Instruction);
    }
    let event = OrderEvent::AutoSet {
        card: auto.card.0,
        below: auto.below,
        amount: auto.amount,
        channel: auto.channel.0,
        per_day_max: auto.per_day_max,
    };
    tell(place, &[event]).map_err(|error| OrderError::Channel(Box::new(error)))
}

/// Stops a card's instruction; answers whether one was active.
pub fn stop(place: &Workplace, card: CardId, why: AutoStop) -> Result<bool, ChannelError> {
    let known = place.store.auto_top_up(card)?;
    if known.is_none_or(|auto| auto.stopped == Some(why)) {
        return Ok(false);
    }
    tell(place, &[OrderEvent::AutoStopped { card: card.0, why: why.word().to_owned() }])?;
    Ok(true)
}

/// Orders for every card that fell below its threshold. Answers how many.
pub fn tick(place: &Workplace) -> Result<u64, ChannelError> {
    for card in place.store.autos_given_back()? {
        stop(place, card, AutoStop::GivenBack)?;
    }
    let now = place.clock.now();
    let day_ago = model::Timestamp(now.0.saturating_sub(DAY_MS));
    if !place.store.autos_below(day_ago)?.iter().any(|(auto, seen)| auto.orders(*seen)) {
        return Ok(0);
    }
    let group = place.store.begin()?;
    let first = group.next_order()?.0;
    // Asked again: what was booked meanwhile may have been the order, or the load.
    let below = place.store.autos_below(day_ago)?;
    let mut events = Vec::new();
    for (auto, seen) in below {
        if !auto.orders(seen)
            || usable(&place.store, auto.card).map_or(true, |card| card.purse().is_some())
        {
            continue;
        }
        let order = first + events.len() as u64;
        events.push(OrderEvent::Paid {
            order,
            card: auto.card.0,
            amount: auto.amount,
            channel: auto.channel.0,
            reference: format!("{PREFIX}{order}"),
            paid_at: now.0,
            purse: None,
            product: None,
            account: None,
        });
    }
    let ordered = events.len() as u64;
    if ordered > 0 {
        book_under(place, group, &events)?;
    }
    Ok(ordered)
}
