//! Which tickets are believed, which were taken here, and what was scanned last.
//!
//! A ticket taken is remembered until its own end, so memory is bounded by how long tickets live
//! and how fast riders come, with a hard bound above both. What cannot be remembered any more is
//! refused, never forgotten. The tap log is the durable copy; this one is rebuilt from it.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
};
use core::time::Duration;

use model::{
    ClockQuality, Refusal, TapEvent, TapRecord, TapRole, Ticket, TicketId, TicketScope,
    TicketToken, Timestamp,
};
use ticket::{TextError, TicketKeys, from_text};

use crate::ValidatorContext;

/// Tickets remembered at most: some megabytes. A gate that takes a ticket a second fills it within
/// 18 hours of tickets that all live that long.
pub(crate) const REMEMBERED_MAX: usize = 65_536;
/// The clock of whoever sold the ticket may run ahead of this one.
const EARLY: Duration = Duration::from_secs(120);
/// Who rode in time is let out later.
const WAY_OUT: Duration = Duration::from_secs(3 * 3600);

/// See the module's documentation.
#[derive(Debug, Clone, Default)]
pub struct Tickets {
    keys: TicketKeys,
    /// The same code again within this time is the scanner repeating itself.
    repeat_window: Duration,
    /// Tickets taken, with the time from which they need no memory.
    taken: BTreeMap<TicketId, Timestamp>,
    /// Every ticket that ends by then may have been taken and forgotten: a clock that was set back
    /// must not bring it to life again.
    forgotten_through: Timestamp,
    /// Taken last before the power went: its rider may have seen nothing (ADR-0003).
    unshown: Option<(TicketId, Timestamp)>,
    /// The code read last, and when it was last in sight.
    in_sight: Option<(String, Timestamp)>,
}

/// What a code is worth here and now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// The scanner reads the same code again: nobody is told anything.
    Repeated,
    /// Taken just before the power went; its rider passes on that.
    Finished,
    /// May be taken; remember it until then.
    Valid { token: TicketToken, until: Timestamp },
    /// The reason not to.
    Refused(Refusal),
}

impl Tickets {
    /// Believes these keys' tickets.
    pub fn new(keys: TicketKeys, repeat_window: Duration) -> Self {
        Self { keys, repeat_window, ..Self::default() }
    }

    /// Brings in tickets that the log says were taken.
    #[must_use]
    pub fn with_taken(mut self, tokens: impl IntoIterator<Item = TicketToken>) -> Self {
        for token in tokens {
            // Our own log: it was believed then.
            if let Ok(ticket) = token.ticket() {
                let until = ticket.valid_until().plus(WAY_OUT);
                self.taken.insert(ticket.id, until);
            }
        }
        while self.taken.len() > REMEMBERED_MAX {
            let first = self.taken.iter().min_by_key(|(_, until)| **until);
            let Some((id, until)) = first.map(|(id, until)| (*id, *until)) else { break };
            self.forgotten_through = self.forgotten_through.max(until);
            self.taken.remove(&id);
        }
        self
    }

    /// From the log's newest entry after a power loss: when it took a ticket, the power may have
    /// gone between the sync and the green light.
    #[must_use]
    pub fn with_unshown(mut self, newest: Option<&TapRecord>) -> Self {
        let taken = newest.and_then(|record| match &record.event {
            TapEvent::Ticket { token } => Some((token.id(), record.tapped_at)),
            TapEvent::Committed { .. }
            | TapEvent::Gate { .. }
            | TapEvent::InDoubt { .. }
            | TapEvent::Refused { .. }
            | TapEvent::Confirmed { .. }
            | TapEvent::Voided { .. } => None,
        });
        self.unshown = taken;
        self
    }

    /// How many tickets are remembered.
    pub fn remembered(&self) -> usize {
        self.taken.len()
    }

    /// Judges a code; each is judged once while it stays in sight.
    pub(crate) fn judge(
        &mut self,
        text: &str,
        context: &ValidatorContext,
        now: Timestamp,
    ) -> Judgement {
        let before = self.in_sight.replace((text.to_string(), now));
        if before.is_some_and(|(last, seen)| last == text && self.is_repeat(seen, now)) {
            return Judgement::Repeated;
        }
        match self.valid(text, context, now) {
            Ok((token, until)) => Judgement::Valid { token, until },
            Err((Refusal::TicketUsed, id)) if self.finishes(id, context, now) => {
                Judgement::Finished
            }
            Err((reason, _)) => Judgement::Refused(reason),
        }
    }

    /// Whether this is the rider whose light the power took, within the window; only once.
    fn finishes(
        &mut self,
        id: Option<TicketId>,
        context: &ValidatorContext,
        now: Timestamp,
    ) -> bool {
        let window = context.rules.retry_window;
        let found = self.unshown.take_if(|(taken, _)| Some(*taken) == id);
        found.is_some_and(|(_, at)| within(at, now, window))
    }

    /// It was taken.
    pub(crate) fn take(&mut self, id: TicketId, until: Timestamp) {
        self.taken.insert(id, until);
    }

    /// A clock that was set back makes no repetition of what lies ahead.
    fn is_repeat(&self, seen: Timestamp, now: Timestamp) -> bool {
        within(seen, now, self.repeat_window)
    }

    /// One `if` per refusal, in the order of `model::Refusal`.
    fn valid(
        &mut self,
        text: &str,
        context: &ValidatorContext,
        now: Timestamp,
    ) -> Result<(TicketToken, Timestamp), (Refusal, Option<TicketId>)> {
        let token = from_text(text).map_err(|error| match error {
            TextError::Garbled => (Refusal::Unreadable, None),
            TextError::NotATicket | TextError::NewerFormat => (Refusal::ForeignCard, None),
        })?;
        let ticket = self.keys.believe(&token).map_err(|_| (Refusal::ForeignCard, None))?;
        let refuse = |reason| Err((reason, Some(ticket.id)));
        let until = ticket.valid_until().plus(WAY_OUT);
        let ends = match context.role {
            TapRole::Exit => until,
            TapRole::Board | TapRole::Entry => ticket.valid_until(),
        };
        let time = judge_time(&ticket, ends, context.clock, now);
        let forgotten = until <= self.forgotten_through && !self.taken.contains_key(&ticket.id);
        if !holds_here(&ticket, context) || time == Time::Outside || forgotten {
            return refuse(Refusal::TicketNotValid);
        }
        if self.taken.contains_key(&ticket.id) {
            return refuse(Refusal::TicketUsed);
        }
        // Neither accepted nor called expired: this device cannot tell.
        if time == Time::Unknown {
            return refuse(Refusal::OutOfService);
        }
        if !self.make_room(now) {
            return refuse(Refusal::OutOfService);
        }
        Ok((token, until))
    }

    /// Forgets tickets that have ended, only when the room is needed. `now` can be believed.
    fn make_room(&mut self, now: Timestamp) -> bool {
        if self.taken.len() >= REMEMBERED_MAX {
            let ended = self.taken.values().filter(|until| **until <= now).max().copied();
            if let Some(ended) = ended {
                self.forgotten_through = self.forgotten_through.max(ended);
                self.taken.retain(|_, until| *until > now);
            }
        }
        self.taken.len() < REMEMBERED_MAX
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Time {
    Inside,
    Outside,
    Unknown,
}

/// A clock that nobody set decides nothing; one that stood still since it was saved can only be
/// late, so what has ended by it has ended.
fn judge_time(ticket: &Ticket, ends: Timestamp, clock: ClockQuality, now: Timestamp) -> Time {
    let begun = now.plus(EARLY) >= ticket.valid_from;
    let ended = now >= ends;
    match clock {
        ClockQuality::Saved if ended => Time::Outside,
        ClockQuality::Unknown | ClockQuality::Saved => Time::Unknown,
        ClockQuality::Rtc | ClockQuality::Ntp | ClockQuality::Gnss if begun && !ended => {
            Time::Inside
        }
        ClockQuality::Rtc | ClockQuality::Ntp | ClockQuality::Gnss => Time::Outside,
    }
}

/// Whether the ticket holds at this validator. Its numbers are those of its own tariff; a tariff
/// that is not here cannot be read, and such a ticket is not valid here.
fn holds_here(ticket: &Ticket, context: &ValidatorContext) -> bool {
    let tariffs = &context.tariffs;
    if ticket.price.currency() != tariffs.newest().currency() {
        return false;
    }
    let (Some(theirs), Some(ours)) = (tariffs.get(ticket.tariff), tariffs.get(context.tariff))
    else {
        return ticket.scope == TicketScope::Network;
    };
    let route = context.route.and_then(|ix| ours.route(ix));
    match ticket.scope {
        TicketScope::Network => true,
        // Where the ride began was asked on the way in.
        TicketScope::Place(_) if context.role == TapRole::Exit => true,
        TicketScope::Place(ix) => {
            let (there, here) = (theirs.place(ix), ours.place(context.place));
            there.zip(here).is_some_and(|(there, here)| there.id == here.id)
        }
        TicketScope::Route(ix) => {
            theirs.route(ix).zip(route).is_some_and(|(there, here)| there.id == here.id)
        }
        TicketScope::Group(ix) => {
            let here = match route {
                Some(route) => Some(route.group),
                None => ours.gate().map(|gate| gate.group),
            };
            let name =
                |tariff: &fare::Tariff, ix: u8| tariff.parts().groups.get(usize::from(ix)).cloned();
            let here = here.and_then(|group| name(ours, group.0));
            here.is_some() && name(theirs, ix) == here
        }
    }
}

/// Whether `now` is at most `window` after `then`; never when it lies before it.
fn within(then: Timestamp, now: Timestamp, window: Duration) -> bool {
    now >= then && now.since(then) <= window
}
