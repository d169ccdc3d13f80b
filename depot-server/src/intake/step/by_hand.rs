//! What was done by hand: cards registered, and operations of desks, whoever decides them.

use clearing::{
    ClearError, DueOrder, Issue, KnownRecord, Outcome, Rules, clear_desk, register_issue,
};
use model::{CardId, Timestamp};

use super::{Desk, StepError};
use crate::intake::stored::{BookedDesk, Booking, Stored};

/// Books operations of desks that happened.
pub fn book_desk<S: Stored>(
    stored: &S,
    rules: &Rules,
    entries: &[BookedDesk],
    now: Timestamp,
) -> Result<Booking, StepError<S::Error>> {
    let mut desk = Desk::new(stored, rules, now);
    for booked in entries {
        desk.desk_entry(*booked)?;
    }
    desk.close_ops()?;
    Ok(desk.finish().0)
}

/// Books cards that we issued.
pub fn register<S: Stored>(
    stored: &S,
    rules: &Rules,
    issues: &[Issue],
    now: Timestamp,
) -> Result<Booking, StepError<S::Error>> {
    let mut desk = Desk::new(stored, rules, now);
    for issue in issues {
        let card = issue.card;
        let state = desk.card(card)?;
        let cleared = register_issue(&state, issue, now, rules, &desk.known);
        match cleared {
            Ok(cleared) if cleared.outcome == Outcome::Replayed && cleared.state == state => {}
            Ok(cleared) => {
                desk.booking.issues.push(*issue);
                desk.absorb(card, None, cleared)?;
            }
            Err(ClearError::Known(source)) => return Err(StepError::Stored(source)),
            Err(error) => {
                tracing::warn!(%card, %error, "the issue of a card is not booked");
            }
        }
    }
    Ok(desk.finish().0)
}

impl<S: Stored> Desk<'_, S> {
    /// A record of a card with an open operation shows whether that happened (ADR-0008).
    pub(super) fn decide_ops(
        &mut self,
        card: CardId,
        records: &[KnownRecord],
    ) -> Result<(), StepError<S::Error>> {
        for entry in self.stored.open_ops(card).map_err(StepError::Stored)? {
            let written = entry.written();
            let same_ctr = records.iter().find(|known| known.record.ctr == written.ctr);
            if let Some(known) = same_ctr {
                let happened = known.record == *written;
                self.decided.entry(entry.op).or_insert((entry, happened));
            }
        }
        Ok(())
    }

    /// Books what the group decided, after all its entries: `verify` books it in that order.
    pub(super) fn close_ops(&mut self) -> Result<(), StepError<S::Error>> {
        for (op, (entry, happened)) in std::mem::take(&mut self.decided) {
            let done = self.booking.desk.iter().any(|booked| booked.entry.op == op);
            if happened && !done {
                let how = "a later tap of the card shows its record";
                self.desk_entry(BookedDesk { entry, how, proof: None })?;
            } else if !happened {
                self.booking.void_ops.push((op, "another record of the card has its counter"));
            }
        }
        Ok(())
    }

    fn desk_entry(&mut self, booked: BookedDesk) -> Result<(), StepError<S::Error>> {
        let card = booked.entry.card;
        let state = self.card(card)?;
        match clear_desk(&state, &booked.entry, self.booking.at, self.rules, &self.known) {
            Ok(cleared) => {
                self.booking.desk.push(booked);
                let written = *booked.entry.written();
                let seen = written.kind.is_load() && self.was_known(card, &written)?;
                self.absorb(card, None, cleared)?;
                if seen {
                    self.load_is(card, &written, "the desk that loaded it is known")?;
                }
                self.credit_desk(&booked.entry)?;
                self.pay_due(card, DueOrder::Desk(booked.entry.op))
            }
            Err(ClearError::Known(source)) => Err(StepError::Stored(source)),
            Err(error) => {
                tracing::error!(%card, op = booked.entry.op, %error, "an operation is not booked");
                Ok(())
            }
        }
    }
}
