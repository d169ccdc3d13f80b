//! What keeps a card's value from being given out (REC-9).
//!
//! A refund, a closure and a transfer to another card pay what the books show for the card, and
//! only if the books can say where every unit of it came from: from its issue on every transaction
//! is known and follows from the one before, and every load is one that a desk made or that a
//! channel was paid for. A balance that somebody raised, however genuine its records look, pays
//! nothing (the `EasyCard` case of 2025).

use clearing::{Account, CardState, Taken};
use model::{CardId, Currency, Money};

use super::DeskError;
use crate::store::Store;

/// Whether the value of this card may be given out at all.
pub(crate) fn may_pay(
    store: &Store,
    currency: Currency,
    card: CardId,
    state: &CardState,
) -> Result<(), DeskError> {
    state.continuity().map_err(|why| DeskError::Continuity { card, why })?;
    let shown = store.history_of(card)?.loaded();
    let met = store.loads_met(card)?;
    if shown == met {
        return Ok(());
    }
    let amount = Money::new((shown - met).abs(), state.currency(currency));
    Err(DeskError::UnmetLoads { card, amount })
}

/// Whether a card that is there may be retired with its value going this way.
pub(crate) fn may_take(
    store: &Store,
    currency: Currency,
    card: CardId,
    state: &CardState,
    value: Taken,
) -> Result<(), DeskError> {
    if let Some(account) = store.credit_of(card)?.filter(|_| value == Taken::PaidOut) {
        return Err(DeskError::OfAccount { card, account });
    }
    may_pay(store, currency, card, state)?;
    let purse = state.currency(currency);
    let owes = owes(store, purse, card)?;
    if owes > 0 && value == Taken::PaidOut {
        return Err(DeskError::Owes { card, amount: Money::new(owes, purse) });
    }
    Ok(())
}

/// What the holder owes, in the currency of the card, for orders that were given back and are on
/// the card all the same.
pub(crate) fn owes(store: &Store, currency: Currency, card: CardId) -> Result<i64, DeskError> {
    let account = Account::OrderOwed(card).id(currency);
    Ok(-store.account(&account)?.posted())
}
