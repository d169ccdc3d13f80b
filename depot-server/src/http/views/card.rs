//! What the pages ask about a card.

use std::{fmt, str::FromStr};

use clearing::Repaired;
use fare::{CapProgress, Exchanged, Step};
use model::{CardRecord, Ctr, Money, RiderClass, ServiceDate, Timestamp, ValidUntil};

use super::{ExceptionRow, TapRow};

/// The name of a card in URLs: opaque, of no use outside this depot, stable for one card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CardHandle(pub u64);

impl fmt::Display for CardHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not a card handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a card handle: look the card up by its number")]
pub struct NotAHandle;

impl FromStr for CardHandle {
    type Err = NotAHandle;
    fn from_str(text: &str) -> Result<Self, NotAHandle> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 16 || !text.bytes().all(hex) {
            return Err(NotAHandle);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| NotAHandle)
    }
}

/// A card as lists show it: how to get to it, and its masked number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardRef {
    /// For the URL.
    pub handle: CardHandle,
    /// `CardId`'s `Display`: the last two bytes only.
    pub masked: String,
}

/// May the card be used?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CardStanding {
    /// Nothing against it.
    Good,
    /// Two histories of it exist: a copy or a rollback (I2).
    Forked,
    /// Refused everywhere.
    Hotlisted,
    /// Its validity has ended.
    Expired,
}

/// One card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardFacts {
    /// How lists show it.
    pub card: CardRef,
    /// May it be used?
    pub standing: CardStanding,
    /// Rider category.
    pub class: RiderClass,
    /// End of validity.
    pub valid_until: ValidUntil,
    /// Counter of the newest record known.
    pub ctr: Ctr,
    /// When that record was written, by the validator's clock.
    pub seen_at: Timestamp,
    /// Balance that the newest record on the card shows.
    pub on_card: Money,
    /// Balance of the card's ledger account.
    pub in_ledger: Money,
    /// Net amount of lost records, held until they arrive (I4). Positive: paid somewhere unknown.
    pub suspense: Money,
    /// Amount of taps that are still in doubt.
    pub in_doubt: Money,
    /// The credit account that it belongs to, and what it is filled up to (ADR-0022).
    pub account: Option<(u32, Money)>,
    /// Transactions booked.
    pub entries: u64,
    /// Its open and closed work items, newest first.
    pub exceptions: Vec<ExceptionRow>,
}

/// One transaction of a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardEntry {
    /// The log entry.
    pub tap: TapRow,
    /// What was read from the card.
    pub before: Option<CardRecord>,
    /// What was written to it, for certain or in doubt.
    pub after: Option<CardRecord>,
    /// How old the place was by then, where satellites tell it and it was no longer fresh.
    pub place_age_s: Option<u16>,
    /// Why that amount: the steps sum to `tap.charged`, or to what was exchanged for it. Empty when
    /// nothing was priced.
    pub steps: Vec<Step>,
    /// How the steps' sum became the charge of a purse in another currency.
    pub exchanged: Option<Exchanged>,
    /// How far it brought the card towards each cap that counts.
    pub caps: Vec<CapProgress>,
    /// Records missing between this one and the one before it.
    pub gap: Option<Gap>,
}

/// What a card is owed for one service day, beside what is on it (ADR-0014).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// Which day.
    pub day: ServiceDate,
    /// Owed for it in all, by everything known.
    pub owed: Money,
    /// Of that, not on the card and free for the next load.
    pub open: Money,
    /// Set apart for loads whose outcome is not known.
    pub held: Money,
    /// Put on the card.
    pub paid: Money,
    /// Put on the card beyond what is owed by now.
    pub forgiven: Money,
    /// The taps whose price is another.
    pub why: Vec<AdjustedTap>,
}

/// One tap whose price is another now that everything is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdjustedTap {
    /// What was charged.
    pub charged: Money,
    /// What it should have been: the sum of the steps, or what that was exchanged for.
    pub fare: Money,
    /// Why.
    pub steps: Vec<Step>,
    /// How the steps' sum became the fare of a purse in another currency.
    pub exchanged: Vec<Exchanged>,
    /// The tap-out that was put in before it.
    pub repaired: Option<Repaired>,
    /// The gate says that the rider did not pass.
    pub not_passed: bool,
}

/// Lost records of a card, whose net amount is exactly known (I4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// First missing counter.
    pub from: Ctr,
    /// Last missing counter.
    pub through: Ctr,
    /// What they paid together.
    pub net: Money,
}

/// Who looked at a card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardAccess {
    /// The session's operator.
    pub who: String,
    /// Which card.
    pub card: CardHandle,
    /// When.
    pub at: Timestamp,
    /// By what: "looked up by number", "opened from a list".
    pub how: &'static str,
}
