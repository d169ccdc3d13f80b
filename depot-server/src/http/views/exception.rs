//! What the pages ask about exceptions.

pub use clearing::ExceptionKind;
use model::{CardRecord, Money, Timestamp, ValidatorId};

use super::{CardRef, TapRow};

/// A work item in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionRow {
    /// Its number.
    pub id: u64,
    /// What kind.
    pub kind: ExceptionKind,
    /// Money at stake, as an absolute amount; `None` when none can be stated.
    pub amount: Option<Money>,
    /// Since when.
    pub opened_at: Timestamp,
    /// How it ended; `None` while open.
    pub closed: Option<Closed>,
    /// Whose card.
    pub card: Option<CardRef>,
    /// Which validator.
    pub validator: Option<ValidatorId>,
    /// Who has it in hand.
    pub owner: Option<String>,
}

/// How a work item ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// When.
    pub at: Timestamp,
    /// By what: "late records arrived", "decided by the next tap".
    pub reason: String,
}

/// Which work items. Empty means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExceptionFilter {
    /// Only of this kind.
    pub kind: Option<ExceptionKind>,
    /// Only open (`true`) or only closed ones (`false`).
    pub open: Option<bool>,
    /// Only of this validator.
    pub validator: Option<ValidatorId>,
    /// Only what this person has in hand, or nobody.
    pub owner: Option<Owner>,
}

/// Who has a work item in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// Nobody yet.
    Nobody,
    /// This person.
    Person(String),
}

/// How many of one kind; opened = resolved + open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindTally {
    /// Which kind.
    pub kind: ExceptionKind,
    /// Ever opened.
    pub opened: u64,
    /// Closed since.
    pub resolved: u64,
    /// Open.
    pub open: u64,
    /// Money at stake in the open ones, one sum per currency.
    pub open_amount: Vec<Money>,
    /// When the oldest open one was opened.
    pub oldest_open: Option<Timestamp>,
}

/// A work item with what is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExceptionFacts {
    /// The same facts as in the list.
    pub row: ExceptionRow,
    /// One sentence with the numbers: "ctr 17 to 19 are missing; together they paid 4.80 EUR".
    pub finding: String,
    /// What contradicts what, to be shown side by side; in the order of cause.
    pub evidence: Vec<Evidence>,
}

/// One piece of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What it is: "first record", "second record with the same counter".
    pub title: String,
    /// The log entry it comes from.
    pub tap: Option<TapRow>,
    /// The card's record, read or written.
    pub record: Option<CardRecord>,
    /// Anything else, as name and value.
    pub notes: Vec<(String, String)>,
}
