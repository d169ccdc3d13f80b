//! A tap with a ticket: read, judged, recorded; the green light last, as with a card.

use model::{TapEvent, Timestamp};

use super::{State, TapMachine};
use crate::{Output, Passage, Tickets, tickets::Judgement};

impl TapMachine {
    /// The same machine, which also takes tickets.
    #[must_use]
    pub fn with_tickets(self, tickets: Tickets) -> Self {
        Self { tickets, ..self }
    }

    /// Tickets taken here.
    pub const fn tickets(&self) -> &Tickets {
        &self.tickets
    }

    /// The scanner read a code.
    ///
    /// # Panics
    /// In the middle of a tap: one rider at a time.
    pub fn handle_scanned(&mut self, now: Timestamp, text: &str) {
        assert!(self.is_idle(), "one rider at a time");
        self.at_gate.begin();
        let draft = self.context.draft(None, now);
        self.state = match self.tickets.judge(text, &self.context, now) {
            Judgement::Repeated => {
                self.outbox.push_back(Output::Done);
                State::Idle
            }
            _ if !self.in_service => return self.show_out_of_service(),
            Judgement::Finished => {
                self.outbox.push_back(Output::Show(Passage::ticket(self.money(0), true)));
                self.outbox.push_back(Output::Done);
                State::Idle
            }
            Judgement::Valid { token, until } => {
                // Before it is durable: should the log fail, nothing more is taken here anyway.
                self.tickets.take(token.id(), until);
                let event = TapEvent::Ticket { token };
                self.outbox.push_back(Output::LogOutcome { seq: None, draft, event });
                State::Closing(Passage::ticket(self.money(0), false).into())
            }
            Judgement::Refused(reason) => self.refuse(draft, None, reason, None),
        };
    }
}
