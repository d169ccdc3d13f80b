//! The page of money: closed days with what operators get of them, and what is held for riders.

use model::{Currency, Money, ServiceDate, Timestamp};
use settlement::OperatorRow;

/// What the page shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoneyFacts {
    /// What is held, line by line: what, how many, how much.
    pub held: Vec<(String, u64, Money)>,
    /// Credit accounts, line by line: what, how many, how much. Empty without any.
    pub credit: Vec<(String, u64, Money)>,
    /// When it was counted.
    pub held_at: Timestamp,
    /// What is owed to operators for settled days, row by row.
    pub owed: Vec<OwedFact>,
    /// The oldest open day.
    pub open: Option<ServiceDate>,
    /// The newest closed days, newest first.
    pub days: Vec<DayFacts>,
}

/// What one issuer owes one operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwedFact {
    /// Who, when it is not the issuer that the books began with.
    pub issuer: Option<String>,
    /// Whom.
    pub operator: String,
    /// How much.
    pub amount: Money,
    /// The oldest settled day that is not paid in full.
    pub oldest: Option<ServiceDate>,
}

/// Issuer and currency, the operator, its figures.
pub type FactRow = ((Option<String>, Currency), String, OperatorRow);

/// A closed day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayFacts {
    /// Which.
    pub day: ServiceDate,
    /// When.
    pub closed_at: Timestamp,
    /// Its root.
    pub root: [u8; 32],
    /// Operators with their figures, one issuer and currency after the other, the issuer named when
    /// it is not the one that the books began with; empty while it is not settled.
    pub rows: Vec<FactRow>,
}
