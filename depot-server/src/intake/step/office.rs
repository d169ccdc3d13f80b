//! Decisions about money in a booking: settled days, payments to operators, holds that end,
//! corrections (ADR-0023).

use clearing::{ClearError, Cleared, Rules, attribute_record, expire, unclaimed};
use ledger::Transfer;
use model::{CardId, Ctr, Currency, IssuerId, OperatorId, ServiceDate, Timestamp};

use super::{Desk, StepError};
use crate::intake::{
    office::OfficeEvent,
    stored::{Booking, Decided, Stored},
};

/// Books decisions. One that does not read, or changes nothing, is passed over: whoever writes it
/// looks first.
pub fn book_office<S: Stored>(
    stored: &S,
    rules: &Rules,
    events: &[OfficeEvent],
    now: Timestamp,
) -> Result<Booking, StepError<S::Error>> {
    let mut desk = Desk::new(stored, rules, now);
    for event in events {
        desk.office_event(event)?;
    }
    Ok(desk.finish().0)
}

impl<S: Stored> Desk<'_, S> {
    fn office_event(&mut self, event: &OfficeEvent) -> Result<(), StepError<S::Error>> {
        let now = self.booking.at;
        match event {
            OfficeEvent::Settled { .. }
            | OfficeEvent::OperatorPaid { .. }
            | OfficeEvent::ProductShared { .. } => {
                let Some(transfers) = with_operators(event, now) else {
                    unread(event);
                    return Ok(());
                };
                self.post(None, None, &transfers)?;
            }
            OfficeEvent::Expired { .. } => {
                let Some((card, tap)) = event.hold() else {
                    unread(event);
                    return Ok(());
                };
                let state = self.card(card)?;
                let expired = expire(&state, card, tap, now, self.rules, &self.known);
                if !self.take(card, expired)? {
                    return Ok(());
                }
            }
            OfficeEvent::Attributed { card, ctr, operator, .. } => {
                let (card, operator) = (CardId(*card), OperatorId(*operator));
                let state = self.card(card)?;
                let of = (card, Ctr(*ctr));
                let known = &self.known;
                let attributed = attribute_record(&state, of, operator, now, self.rules, known);
                if !self.take(card, attributed)? {
                    return Ok(());
                }
            }
            OfficeEvent::Unclaimed { card, issuer, currency, amount, day, .. } => {
                let Ok(currency) = Currency::from_numeric(*currency) else {
                    unread(event);
                    return Ok(());
                };
                let of = (CardId(*card), issuer.map(IssuerId));
                self.post(None, None, &unclaimed(of, ServiceDate(*day), (*amount, currency), now))?;
            }
            OfficeEvent::Repaid { card, day, amount, who, .. } => {
                self.booking.grants.push((CardId(*card), ServiceDate(*day), *amount));
                self.decided(event, None, Some(who.said("repaid")));
            }
            OfficeEvent::WrittenOff { to, who, .. } => {
                let Some(write_off) = event.write_off() else {
                    unread(event);
                    return Ok(());
                };
                self.post(None, None, &write_off.transfers(now))?;
                let what = format!("written off under {to}");
                self.decided(event, None, Some(who.said(&what)));
            }
            OfficeEvent::Closed { who, .. } => {
                self.decided(event, None, Some(who.said("closed")));
            }
            OfficeEvent::Assigned { owner, .. } => {
                self.decided(event, Some(owner.clone()), None);
            }
        }
        self.booking.office.push(event.clone());
        Ok(())
    }

    /// Takes over what a decision changes of a card; answers whether it changes anything.
    fn take(
        &mut self,
        card: CardId,
        cleared: Result<Option<Cleared>, ClearError<S::Error>>,
    ) -> Result<bool, StepError<S::Error>> {
        match cleared {
            Ok(Some(cleared)) => self.absorb(card, None, cleared).map(|()| true),
            // Decided meanwhile.
            Ok(None) => Ok(false),
            Err(ClearError::Known(source)) => Err(StepError::Stored(source)),
            Err(error) => {
                tracing::error!(%card, %error, "a decision about a card is not booked");
                Ok(false)
            }
        }
    }

    fn decided(&mut self, event: &OfficeEvent, owner: Option<String>, closed: Option<String>) {
        if let Some(item) = event.item() {
            self.booking.decided.push(Decided { item, owner, closed });
        }
    }
}

/// What an event moves between issuers and operators; `None` when it is another one, or does not
/// read.
fn with_operators(event: &OfficeEvent, now: Timestamp) -> Option<Vec<Transfer>> {
    let settled = || event.share().map(|share| share.transfers(now));
    let paid = || event.payment().map(|payment| payment.transfers(now));
    let shared = || event.product().map(|(_, share)| share.transfers(now));
    settled().or_else(paid).or_else(shared)
}

/// Only a currency that is none, or a validator's number that is none, gets here.
fn unread(event: &OfficeEvent) {
    tracing::error!(?event, "a decision is not booked: it does not read");
}
