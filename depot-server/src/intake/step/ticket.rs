//! Tickets in a booking: sales of our own, and uses that a validator recorded.

use clearing::{ClearedTicket, ExceptionKind, Rules, clear_sale, clear_use};
use model::{TapRecord, Ticket, TicketToken, Timestamp};

use super::{BookedTap, Booking, Desk, StepError, Stored};
use crate::intake::stored::Sale;

/// Books tickets that we sold. One that does not read, or is in another currency, is passed over:
/// whoever issues checks both.
pub fn sell<S: Stored>(
    stored: &S,
    rules: &Rules,
    sales: &[Sale],
    now: Timestamp,
) -> Result<Booking, StepError<S::Error>> {
    let mut desk = Desk::new(stored, rules, now);
    for sale in sales {
        let Ok(ticket) = sale.token.ticket() else { continue };
        let state = desk.ticket_state(&sale.token)?;
        if ticket.price.currency() != rules.currency() || state.is_sold() {
            tracing::warn!(ticket = %ticket.id, "the sale of a ticket is not booked");
            continue;
        }
        let cleared = clear_sale(&state, &ticket, sale.sold_at, now);
        desk.booking.sales.push(*sale);
        desk.absorb_ticket(&sale.token, None, cleared)?;
    }
    Ok(desk.finish().0)
}

impl<S: Stored> Desk<'_, S> {
    /// The use of a ticket whose signature held.
    pub(super) fn ticket(
        &mut self,
        record: &TapRecord,
        token: &TicketToken,
    ) -> Result<BookedTap, StepError<S::Error>> {
        let ticket = match token.ticket() {
            Ok(ticket) if ticket.price.currency() == self.rules.currency() => ticket,
            Ok(ticket) => {
                let currency = ticket.price.currency();
                return Ok(
                    self.ticket_refused(record, &format!("the ticket is paid in {currency}"))
                );
            }
            Err(error) => return Ok(self.ticket_refused(record, &error.to_string())),
        };
        let state = self.ticket_state(token)?;
        let cleared = clear_use(&state, &ticket, record, self.booking.at, self.rules, &self.known)
            .map_err(StepError::Stored)?;
        self.absorb_ticket(token, Some(record), cleared)?;
        Ok(BookedTap { record: *record, cleared: true, operator: None })
    }

    fn ticket_refused(&mut self, record: &TapRecord, finding: &str) -> BookedTap {
        self.tally.rejected += 1;
        self.not_cleared(record, ExceptionKind::Quarantined, finding);
        BookedTap { record: *record, cleared: false, operator: None }
    }

    fn ticket_state(
        &self,
        token: &TicketToken,
    ) -> Result<clearing::TicketState, StepError<S::Error>> {
        let signed: &[u8; Ticket::LEN] = token.signed();
        if let Some(state) = self.booking.tickets.get(signed) {
            return Ok(state.clone());
        }
        Ok(self.stored.ticket(signed).map_err(StepError::Stored)?.unwrap_or_default())
    }

    fn absorb_ticket(
        &mut self,
        token: &TicketToken,
        tap: Option<&TapRecord>,
        cleared: ClearedTicket,
    ) -> Result<(), StepError<S::Error>> {
        if let Some(tap) = tap {
            self.known.absorb_tap(tap);
        }
        self.post(None, tap, &cleared.transfers)?;
        self.booking.exceptions.extend(cleared.exceptions);
        self.booking.tickets.insert(*token.signed(), cleared.state);
        Ok(())
    }
}
