//! The books of one ticket: sold by the depot, used at a validator, in whatever order both are
//! heard of (ADR-0010).
//!
//! A sale puts the price on the liability of its key and day of ending; the use that ranks first
//! moves it to whoever gave the ride. A use that no sale explains is taken from an account of its
//! own until the sale is known. Further uses move nothing: they are a work item. What is never used
//! stays on the liability.

use alloc::{format, string::String, vec::Vec};

use ledger::{Cause, Kind, Transfer};
use model::{OperatorId, TapRecord, TapRole, Ticket, Timestamp};

use crate::{
    Account, Known, Rules, TapRef,
    account::CauseCode,
    exception::{Evidence, Exception, ExceptionChange, ExceptionId, ExceptionKind, difference},
};

/// Uses kept of one ticket; more are only counted.
const KEPT_MAX: usize = 8;
/// Bytes of a use in the stored form.
const USE_LEN: usize = TapRef::LEN + 11;
const HEAD_LEN: usize = 10;

/// What the books know of one ticket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TicketState {
    sold: bool,
    rides: u32,
    exits: u32,
    /// The uses that rank first.
    kept: Vec<TicketUse>,
}

/// One use of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TicketUse {
    /// On the way out, where it pays nothing. Rides rank before exits.
    pub exit: bool,
    /// By the validator's clock; the earlier ranks first. Nothing here depends on arrival.
    pub at: Timestamp,
    /// The log entry.
    pub tap: TapRef,
    /// Who gave the ride.
    pub operator: Option<OperatorId>,
}

/// What clearing a sale or a use changes. The shell writes all of it in one commit, or none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClearedTicket {
    /// The ticket's state from here on.
    pub state: TicketState,
    /// To apply to the ledger in this order. None may be refused.
    pub transfers: Vec<Transfer>,
    /// Work items that open, change and resolve.
    pub exceptions: Vec<ExceptionChange>,
}

/// Books the sale of a ticket. Selling it again changes nothing.
pub fn clear_sale(
    state: &TicketState,
    ticket: &Ticket,
    sold_at: Timestamp,
    now: Timestamp,
) -> ClearedTicket {
    let mut step = Step::new(state, ticket, now);
    if !core::mem::replace(&mut step.state.sold, true) {
        let liability = step.liability();
        let mut event = (Cause::new(CauseCode::TicketSale.number(), &[&step.key]), 0, sold_at);
        step.shift(&mut event, liability, Account::TicketCash);
        if !step.state.kept.is_empty() {
            // The ride was given before the sale was known.
            step.shift(&mut event, Account::TicketUnissued(ticket.id.key), liability);
        }
    }
    step.finish(state)
}

/// Books the use of a ticket whose signature held. The same entry again changes nothing.
pub fn clear_use<K: Known>(
    state: &TicketState,
    ticket: &Ticket,
    tap: &TapRecord,
    now: Timestamp,
    rules: &Rules,
    known: &K,
) -> Result<ClearedTicket, K::Error> {
    let mut step = Step::new(state, ticket, now);
    let entry = TapRef::of(tap);
    if known.cleared(entry)? {
        return Ok(step.finish(state));
    }
    let operator = rules.ticket_operator(tap);
    let exit = tap.role == TapRole::Exit;
    let new = TicketUse { exit, at: tap.tapped_at, tap: entry, operator };
    let count = if exit { &mut step.state.exits } else { &mut step.state.rides };
    *count = count.saturating_add(1);
    let first = step.state.kept.first().copied();
    let at = step.state.kept.partition_point(|kept| *kept < new);
    step.state.kept.insert(at, new);
    step.state.kept.truncate(KEPT_MAX);
    match first {
        None => {
            // By the ticket alone, so that a second booking is the ledger's alarm (LED-3).
            let cause = Cause::new(CauseCode::TicketUse.number(), &[&step.key]);
            let payer =
                if state.sold { step.liability() } else { Account::TicketUnissued(ticket.id.key) };
            let mut event = (cause, 0, tap.tapped_at);
            step.shift(&mut event, Account::FareRevenue(operator), payer);
        }
        Some(first) if new < first => {
            let parts: [&[u8]; 2] = [&step.key, &entry.to_bytes()];
            let cause = Cause::new(CauseCode::Attribution.number(), &parts);
            let mut event = (cause, 0, tap.tapped_at);
            let (to, from) = (Account::FareRevenue(operator), Account::FareRevenue(first.operator));
            step.shift(&mut event, to, from);
        }
        Some(_) => {}
    }
    Ok(step.finish(state))
}

struct Step<'a> {
    state: TicketState,
    ticket: &'a Ticket,
    /// The signed form: two tickets under one number are two tickets.
    key: [u8; Ticket::LEN],
    now: Timestamp,
    transfers: Vec<Transfer>,
}

impl<'a> Step<'a> {
    fn new(state: &TicketState, ticket: &'a Ticket, now: Timestamp) -> Self {
        let key = ticket.to_bytes().expect("a ticket that was read can be written");
        Self { state: state.clone(), ticket, key, now, transfers: Vec::new() }
    }

    fn liability(&self) -> Account {
        let day = u32::try_from(self.ticket.valid_until().secs() / 86_400).unwrap_or(u32::MAX);
        Account::TicketLiability(self.ticket.id.key, day)
    }

    /// Credits `to` with the price.
    fn shift(&mut self, event: &mut (Cause, u8, Timestamp), to: Account, from: Account) {
        let (cause, leg, at) = event;
        let price = self.ticket.price;
        let currency = price.currency();
        if price.minor() == 0 || to == from {
            return;
        }
        self.transfers.push(Transfer {
            id: cause.transfer_id(*leg),
            debit: from.id(currency),
            credit: to.id(currency),
            amount: price.minor(),
            currency,
            kind: Kind::Direct,
            event_at: *at,
            booked_at: self.now,
            cause: *cause,
        });
        *leg += 1;
    }

    fn finish(self, before: &TicketState) -> ClearedTicket {
        let (old, new) = (self.open(before), self.open(&self.state));
        let exceptions = difference(&old, new, self.now, |item| {
            let sale = item.kind == ExceptionKind::TicketNotIssued;
            if sale { "the sale is known" } else { "explained by later entries" }
        });
        ClearedTicket { state: self.state, transfers: self.transfers, exceptions }
    }

    /// Every item that this state keeps open.
    fn open(&self, state: &TicketState) -> Vec<Exception> {
        let mut items = Vec::new();
        let id = self.ticket.id;
        let price = self.ticket.price;
        if state.rides > 1 || state.exits > 1 {
            let unpaid = i64::from(state.rides.saturating_sub(1)).saturating_mul(price.minor());
            let finding = format!(
                "ticket {id} over {price}: {} rides and {} exits, one ride is paid",
                state.rides, state.exits
            );
            let item = self.item(ExceptionKind::TicketUsedTwice, unpaid, finding, state);
            let validator = state.kept.get(1).map(|second| second.tap.validator);
            items.push(Exception { validator, ..item });
        }
        if !state.sold && !state.kept.is_empty() {
            let finding = format!("ticket {id} over {price} has our signature and no known sale");
            items.push(self.item(ExceptionKind::TicketNotIssued, price.minor(), finding, state));
        }
        items
    }

    fn item(
        &self,
        kind: ExceptionKind,
        amount: i64,
        finding: String,
        state: &TicketState,
    ) -> Exception {
        let evidence = state.kept.iter().enumerate().map(|(i, used)| Evidence {
            title: if i == 0 { "first use" } else { "further use" },
            tap: Some(used.tap),
            record: None,
        });
        Exception {
            id: ExceptionId::new(kind, &self.key, &[]),
            kind,
            card: None,
            validator: state.kept.first().map(|first| first.tap.validator),
            amount: Some(model::Money::new(amount, self.ticket.price.currency())),
            opened_at: self.now,
            finding,
            evidence: evidence.collect(),
        }
    }
}

impl TicketState {
    /// Whether we sold it.
    pub const fn is_sold(&self) -> bool {
        self.sold
    }

    /// Rides taken with it.
    pub const fn rides(&self) -> u32 {
        self.rides
    }

    /// The uses that rank first; the first of them was paid for.
    pub fn uses(&self) -> &[TicketUse] {
        &self.kept
    }

    /// The stored form, MSB first: version 1, sold 1, rides 4, exits 4, then each kept use: exit 1,
    /// time 8, entry 16, operator 2 (FFFF = none).
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD_LEN + self.kept.len() * USE_LEN);
        out.extend([1, u8::from(self.sold)]);
        out.extend(self.rides.to_be_bytes());
        out.extend(self.exits.to_be_bytes());
        for used in &self.kept {
            out.push(u8::from(used.exit));
            out.extend(used.at.0.to_be_bytes());
            out.extend(used.tap.to_bytes());
            out.extend(used.operator.map_or(u16::MAX, |operator| operator.0).to_be_bytes());
        }
        out
    }

    /// Reads the stored form; `None` when these are not such bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, uses) = bytes.split_first_chunk::<HEAD_LEN>()?;
        let [1, sold @ (0 | 1), rest @ ..] = *head else { return None };
        if uses.len() % USE_LEN != 0 || uses.len() / USE_LEN > KEPT_MAX {
            return None;
        }
        let kept = uses.chunks_exact(USE_LEN).map(TicketUse::from_bytes).collect::<Option<_>>()?;
        let [rides, exits] = [rest[..4].first_chunk()?, rest[4..].first_chunk()?]
            .map(|count| u32::from_be_bytes(*count));
        Some(Self { sold: sold == 1, rides, exits, kept })
    }
}

impl TicketUse {
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (exit, rest) = bytes.split_first()?;
        let (at, rest) = rest.split_first_chunk()?;
        let (tap, rest) = rest.split_first_chunk()?;
        let operator = match u16::from_be_bytes(*rest.first_chunk()?) {
            u16::MAX => None,
            number => Some(OperatorId(number)),
        };
        let at = Timestamp(u64::from_be_bytes(*at));
        Some(Self { exit: *exit == 1, at, tap: TapRef::from_bytes(tap)?, operator })
    }
}
