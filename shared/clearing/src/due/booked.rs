//! What a card is owed, day by day, as the due journal says it and the ledger books it (ADR-0014).
//!
//! Invariants: a row's transfers depend on the row and on what the rows of its day before it add up
//! to, on nothing else; what stands on `rider-due` is what the days have open, so never below zero;
//! nobody is asked for what was paid too much: it is forgiven, by a transfer that says so.

use alloc::vec::Vec;

use ledger::Transfer;
use model::{CardId, Currency, ServiceDate, Timestamp};

use crate::{
    account::{Account, CauseCode},
    postings::{Event, Postings},
};

const DAY_S: u64 = 86_400;
/// Noon: within the service day in nearly every time zone, so that the books keep it in that day.
const NOON_S: u64 = DAY_S / 2;

/// By what something owed was put on a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DueOrder {
    /// By this operation of a desk.
    Desk(u64),
    /// By this load order, at a validator.
    Load(u64),
}

impl DueOrder {
    /// Kind and number, as stores keep it: 1 a desk's, 2 a load order.
    pub const fn to_numbers(self) -> (u8, u64) {
        match self {
            Self::Desk(number) => (1, number),
            Self::Load(number) => (2, number),
        }
    }

    /// From kind and number.
    pub const fn from_numbers(kind: u8, number: u64) -> Option<Self> {
        match kind {
            1 => Some(Self::Desk(number)),
            2 => Some(Self::Load(number)),
            _ => None,
        }
    }
}

/// One row of the due journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueRow {
    /// Whose holder.
    pub card: CardId,
    /// For which service day.
    pub day: ServiceDate,
    /// What changed.
    pub change: DueChange,
}

/// What a row of the due journal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DueChange {
    /// By everything known, the day is owed so much in all, whatever was paid of it.
    Owed {
        /// Minor units.
        amount: i64,
        /// How often that was said of this day: 1 for the first time.
        revision: u32,
    },
    /// So much of it was put on the card.
    Paid {
        /// Minor units.
        amount: i64,
        /// By what.
        by: DueOrder,
    },
}

/// What the rows of one service day of a card add up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DayBooked {
    /// Owed in all, by the newest revision, minor units.
    pub owed: i64,
    /// Put on the card so far.
    pub paid: i64,
    /// The newest revision; 0 when nothing was ever owed.
    pub revision: u32,
}

impl DayBooked {
    /// Owed and not paid yet.
    pub const fn open(&self) -> i64 {
        let open = self.owed.saturating_sub(self.paid);
        if open < 0 { 0 } else { open }
    }

    /// Paid beyond what is owed by now. The rider keeps it, and no other day is lessened by it.
    pub const fn forgiven(&self) -> i64 {
        let beyond = self.paid.saturating_sub(self.owed);
        if beyond < 0 { 0 } else { beyond }
    }

    /// With one more row.
    #[must_use]
    pub const fn then(self, change: DueChange) -> Self {
        match change {
            DueChange::Owed { amount, revision } => Self { owed: amount, revision, ..self },
            DueChange::Paid { amount, .. } => {
                Self { paid: self.paid.saturating_add(amount), ..self }
            }
        }
    }
}

impl DueRow {
    /// What it moves, where the rows of its day before it add up to `before`. That a payment
    /// reaches the card is no part of it: whoever loads the card books that.
    pub fn transfers(
        &self,
        before: DayBooked,
        currency: Currency,
        booked_at: Timestamp,
    ) -> Vec<Transfer> {
        let after = before.then(self.change);
        let mut postings = Postings::new(self.card, currency, booked_at);
        let (to, from) = (Account::RiderDue(self.card), Account::FareReduction);
        let at = Timestamp::from_secs(u64::from(self.day.0) * DAY_S + NOON_S);
        let (card, day) = (self.card.0, self.day.0.to_be_bytes());
        let forgiven = after.forgiven() - before.forgiven();
        match self.change {
            DueChange::Owed { revision, .. } => {
                let parts = [&card[..], &day, &revision.to_be_bytes()];
                let mut event = Event::new(CauseCode::Due, &parts, at);
                postings.shift(&mut event, to, from, after.owed - before.owed);
                let mut event = Event::new(CauseCode::Forgiven, &parts, at);
                postings.shift(&mut event, to, from, forgiven);
            }
            DueChange::Paid { by, .. } => {
                let (kind, number) = by.to_numbers();
                let parts = [&card[..], &day, &[kind], &number.to_be_bytes()];
                let mut event = Event::new(CauseCode::Forgiven, &parts, at);
                postings.shift(&mut event, to, from, forgiven);
            }
        }
        postings.transfers
    }
}
