//! Blocking cards: what the page shows.

use blocking::{Cause, Standing};
use lists::Grade;
use model::{Timestamp, ValidatorId};

use super::CardRef;

/// The hotlist, as far as its page shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HotlistFacts {
    /// Since when the breaker is open, and why; `None` while it is closed.
    pub breaker: Option<(Timestamp, String)>,
    /// The newest list: version, when it was made, how many cards.
    pub list: Option<(u64, Timestamp, u64)>,
    /// Open cases by standing, cause and validator.
    pub groups: Vec<HotlistGroup>,
    /// Cases that need a decision, the oldest first.
    pub waiting: Vec<HotlistCase>,
    /// Cases in force, the oldest first.
    pub in_force: Vec<HotlistCase>,
}

impl HotlistFacts {
    /// Cases that nobody has decided about, or that wait to go into force.
    pub fn undecided(&self) -> u64 {
        let waits = |group: &&HotlistGroup| group.standing != Standing::InForce;
        self.groups.iter().filter(waits).map(|group| group.cases).sum()
    }
}

/// Cases that stand alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotlistGroup {
    /// Where they stand.
    pub standing: Standing,
    /// Why.
    pub cause: Cause,
    /// Whose records say so.
    pub validator: Option<ValidatorId>,
    /// How many.
    pub cases: u64,
    /// The oldest proposal.
    pub since: Timestamp,
}

/// One case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HotlistCase {
    /// Its number.
    pub id: u64,
    /// Whose.
    pub card: CardRef,
    /// Where it stands.
    pub standing: Standing,
    /// Why.
    pub cause: Cause,
    /// Grey or black.
    pub grade: Grade,
    /// In words.
    pub reason: String,
    /// Numbers of exceptions.
    pub evidence: Vec<u64>,
    /// Whose records say so.
    pub validator: Option<ValidatorId>,
    /// Who proposed it.
    pub proposer: String,
    /// Who approved it.
    pub approved_by: Option<String>,
    /// When it was proposed.
    pub proposed_at: Timestamp,
    /// When it ends.
    pub expires: Option<Timestamp>,
}
