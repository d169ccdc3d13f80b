//! What a credit account's cards are worth to it, and value that comes back, or that nobody paid.

use alloc::vec::Vec;

use ledger::Transfer;
use model::{CardId, CardRecord, Currency, IssuerId, Timestamp};

use super::CreditId;
use crate::{
    Account, CardState,
    account::CauseCode,
    postings::{Event, Postings},
};

/// What a card is worth to its account: what is on it, as far as its known transactions explain
/// it, and what stands beside it for its holder. `stands` says what is on an account of the card's
/// ledger.
///
/// Lost records that took value are spent: the card proves that they were, and they may have taken
/// more, never less. Lost records that brought value, and value that nothing explains, count for
/// nothing: the order may still be counted as on its way, and a forged balance pays no debt.
pub fn worth<E>(
    card: CardId,
    state: &CardState,
    mut stands: impl FnMut(Account) -> Result<i64, E>,
) -> Result<i64, E> {
    let mut worth = 0;
    for beside in [
        Account::Card(card),
        Account::RiderDue(card),
        Account::Replaced(card),
        Account::OrderOwed(card),
    ] {
        worth += stands(beside)?;
    }
    // By what the records say, not by what stands on their accounts: what people write off there
    // is no payment.
    let brought = state.gaps().iter().map(crate::Gap::net).filter(|net| *net > 0);
    let unexplained = state.differences().iter().map(|difference| difference.net);
    worth -= brought.chain(unexplained).sum::<i64>();
    Ok(worth)
}

/// What was left on a card of an account that a desk retired: never cash, it goes back to the
/// credit line (REC-9).
pub fn returned_to_account(
    account: CreditId,
    op: u64,
    (card, amount): (CardId, u32),
    (currency, issuer): (Currency, Option<IssuerId>),
    (at, now): (Timestamp, Timestamp),
) -> Vec<Transfer> {
    let mut event = Event::new(CauseCode::AccountReturn, &[&op.to_be_bytes()], at);
    let mut postings = Postings::new(card, currency, now);
    let (to, from) = (Account::CreditLine(account), Account::RefundClearing.of(issuer));
    postings.shift(&mut event, to, from, amount.into());
    postings.transfers
}

/// A card of an account shows a load that no order and no desk put on it, however genuine it looks:
/// it is owed by whoever holds the card, so that it pays no debt (REC-9).
pub fn unmet_load(
    card: CardId,
    record: &CardRecord,
    currency: Currency,
    now: Timestamp,
) -> Vec<Transfer> {
    owed_for(b"unmet", card, record, currency, now, record.amount.into())
}

/// It was a desk's after all, or another record stands in its place.
pub fn met_load(
    card: CardId,
    record: &CardRecord,
    currency: Currency,
    now: Timestamp,
) -> Vec<Transfer> {
    owed_for(b"met", card, record, currency, now, -i64::from(record.amount))
}

fn owed_for(
    what: &[u8],
    card: CardId,
    record: &CardRecord,
    currency: Currency,
    now: Timestamp,
    amount: i64,
) -> Vec<Transfer> {
    let parts: [&[u8]; 4] =
        [what, &card.0, &record.ctr.0.to_be_bytes(), &record.amount.to_be_bytes()];
    let mut event = Event::new(CauseCode::UnmetLoad, &parts, record.at());
    let mut postings = Postings::new(card, currency, now);
    postings.shift(&mut event, Account::LoadClearing, Account::OrderOwed(card), amount);
    postings.transfers
}
