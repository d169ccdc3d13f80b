//! What channels tell of credit accounts' bills: in statements and by webhooks (ADR-0022).
//!
//! Invariant: a payment that is told by webhook, by statement and by a command is one payment,
//! because all of them know it by the bill's reference.

use std::collections::BTreeSet;

use clearing::CreditId;
use model::{ChannelId, Money, Timestamp};

use super::statement::FileLine;
use crate::{
    credit::{self, CreditError, bill_of},
    intake::{Workplace, credit_event::CreditEvent, stored::Stored as _},
    store::{Group, StoreError},
};

/// What a line of a statement says of an account's bill.
pub(super) enum BillLine {
    /// Nothing: it is about something else.
    Other,
    /// It was told before.
    Known,
    /// A payment, or one that was taken back.
    New(CreditEvent),
}

/// A line of a statement, as far as it is about a bill. `taken` are references of the lines before
/// it.
pub(super) fn line(
    group: &Group<'_>,
    place: &Workplace,
    channel: ChannelId,
    line: &FileLine,
    taken: &mut BTreeSet<String>,
) -> Result<BillLine, StoreError> {
    let Some(id) = account_of(place, &line.reference, line.amount)? else {
        return Ok(BillLine::Other);
    };
    let amount = line.amount.minor();
    let back = if amount < 0 { "/taken-back" } else { "" };
    let copy = if line.copy > 0 { format!("/{}", line.copy) } else { String::new() };
    let mut reference = format!("{}{back}{copy}", line.reference);
    let known = group.credit_payment(channel, &reference)?;
    if known == Some((id, amount)) {
        return Ok(BillLine::Known);
    }
    if known.is_some() || taken.contains(&reference) {
        // A part of the bill after another part.
        reference = format!("{reference}/{amount}");
        if group.credit_payment(channel, &reference)?.is_some() {
            return Ok(BillLine::Known);
        }
    }
    taken.insert(reference.clone());
    Ok(BillLine::New(CreditEvent::Paid {
        account: id.0,
        channel: channel.0,
        reference,
        amount,
        paid_at: line.paid_at.unwrap_or(place.clock.now()).0,
    }))
}

/// The account whose bill the reference names, when it is in that currency.
pub(super) fn account_of(
    place: &Workplace,
    reference: &str,
    amount: Money,
) -> Result<Option<CreditId>, StoreError> {
    let Some((id, number)) = bill_of(reference) else { return Ok(None) };
    let account = place.store.credit(id)?.filter(|account| {
        let in_currency = account.currency(place.rules.currency()) == amount.currency();
        in_currency && account.bills.iter().any(|bill| bill.number == number)
    });
    Ok(account.map(|account| account.id))
}

/// A provider says that a bill was paid.
pub(super) fn succeeded(
    place: &Workplace,
    (id, channel): (CreditId, ChannelId),
    reference: &str,
    amount: i64,
    paid_at: Timestamp,
) -> Result<(), CreditError> {
    credit::paid(place, id, (channel, reference), amount, paid_at)
}

/// A provider says that the payment of a bill was taken back: all that it had told under this
/// reference. Answers whether it had told any.
pub(super) fn refunded(
    place: &Workplace,
    id: CreditId,
    channel: ChannelId,
    reference: &str,
) -> Result<bool, CreditError> {
    let payments = place.store.credit_payments(id)?;
    let of = payments.iter().find(|of| of.channel == channel && of.reference == reference);
    let Some(amount) = of.map(|payment| payment.amount) else { return Ok(false) };
    let back = format!("{reference}/taken-back");
    credit::paid(place, id, (channel, &back), -amount, place.clock.now())?;
    Ok(true)
}
