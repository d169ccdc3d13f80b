//! What the lists show of a log entry: its outcome, the amount that is certain, the balance.

use clearing::TapRef;
use model::{Currency, Money, TapEvent, TapRecord};
use settlement::TapFacts;

use super::codes::{gate_code, sql_seq};
use crate::{http::views::Outcome, intake::stored::BookedTap};

/// What the list of taps shows of an event.
pub(super) struct Shown {
    pub(super) outcome: Outcome,
    pub(super) detail: Option<i64>,
    pub(super) amount: i64,
    pub(super) balance: Option<i32>,
    pub(super) ctr: Option<u32>,
    /// Of amount and balance; `None` for the tariff's currency.
    pub(super) purse: Option<Currency>,
}

pub(super) fn shown(tap: &BookedTap) -> Shown {
    let certain = |written: &model::CardRecord| {
        // Debits are positive here: what the rider paid.
        let paid = if tap.cleared { -written.delta() } else { 0 };
        (paid, tap.cleared.then_some(written.balance), Some(written.ctr.0))
    };
    // Of a card that nobody tapped the profile was not read: nobody knows in which currency.
    let seen_balance =
        |seen: &model::CardRecord| (!seen.layout.profile_names_currency()).then_some(seen.balance);
    let number = |seq: model::TapSeq| Some(sql_seq(seq));
    let (outcome, detail, (amount, balance, ctr)) = match &tap.record.event {
        TapEvent::Committed { transaction, .. } => {
            (Outcome::Committed, None, certain(&transaction.after))
        }
        TapEvent::InDoubt { transaction } => {
            // Without a counter it decides nothing when two records claim one.
            let ctr = tap.cleared.then_some(transaction.after.ctr.0);
            (Outcome::InDoubt, None, (0, None, ctr))
        }
        TapEvent::Refused { reason, seen } => {
            let balance = seen.as_ref().and_then(seen_balance);
            let ctr = seen.as_ref().map(|seen| seen.ctr.0);
            (Outcome::Refused, Some(i64::from(reason.assist_code())), (0, balance, ctr))
        }
        TapEvent::Confirmed { of, transaction, .. } => {
            (Outcome::Confirmed, number(*of), certain(&transaction.after))
        }
        TapEvent::Voided { of, seen } => {
            (Outcome::Voided, number(*of), (0, seen_balance(seen), Some(seen.ctr.0)))
        }
        TapEvent::Gate { said, .. } => {
            (Outcome::Gate, Some(i64::from(gate_code(*said))), (0, None, None))
        }
        // It was paid for when it was sold.
        TapEvent::Ticket { .. } => (Outcome::Ticket, None, (0, None, None)),
    };
    let purse = clearing::transaction(&tap.record).and_then(|transaction| transaction.purse);
    Shown { outcome, detail, amount, balance, ctr, purse }
}

/// What a receipt says of an entry, where the tariff's currency is `tariffs`; `None` when it let
/// nobody ride for certain.
pub(crate) fn facts(tap: &BookedTap, tariffs: Currency) -> Option<TapFacts> {
    let Shown { outcome, amount, balance, purse, .. } = shown(tap);
    let counts = matches!(outcome, Outcome::Committed | Outcome::Confirmed | Outcome::Ticket);
    let TapRecord { tapped_at, role, place, route, tariff, card, .. } = tap.record;
    (counts && tap.cleared).then(|| TapFacts {
        tap: TapRef::of(&tap.record),
        tapped_at,
        role,
        place,
        route,
        tariff,
        paid: Money::new(amount, purse.unwrap_or(tariffs)),
        balance: balance.map(i64::from),
        card,
    })
}

/// The newest record that an entry shows of its card, for certain or not.
pub(super) fn written(record: &TapRecord) -> Option<&model::CardRecord> {
    match &record.event {
        TapEvent::Committed { transaction, .. }
        | TapEvent::InDoubt { transaction }
        | TapEvent::Confirmed { transaction, .. } => Some(&transaction.after),
        TapEvent::Refused { .. }
        | TapEvent::Voided { .. }
        | TapEvent::Gate { .. }
        | TapEvent::Ticket { .. } => None,
    }
}
