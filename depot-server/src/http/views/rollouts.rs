//! What is given to validators step by step: what the page shows.

use model::{Timestamp, ValidatorId};
use steering::Tally;

pub use crate::steering::{PlanFact, SettingsFact, SteeringEvent, releases::Bad};

/// Everything that is on its way to validators, and who is not there yet.
#[derive(Debug, Clone, Default)]
pub struct RolloutFacts {
    /// Plans of releases, the newest first.
    pub plans: Vec<PlanFacts>,
    /// Versions of settings that somebody is to go by, the newest first.
    pub settings: Vec<SettingsFacts>,
    /// How many validators have which version of what.
    pub versions: Vec<VersionCount>,
    /// Validators that do not have everything, whoever is longest behind first.
    pub behind: Vec<BehindFacts>,
    /// How many those are altogether.
    pub behind_count: u64,
    /// What people and rules decided, the newest first.
    pub decisions: Vec<(Timestamp, SteeringEvent)>,
}

/// A plan and what has become of it.
#[derive(Debug, Clone)]
pub struct PlanFacts {
    /// As it was decided.
    pub fact: PlanFact,
    /// By the word of validators.
    pub tally: Tally,
    /// Some that did not take it.
    pub bad: Vec<Bad>,
}

/// Settings and how many go by them.
#[derive(Debug, Clone)]
pub struct SettingsFacts {
    /// As they were published.
    pub fact: SettingsFact,
    /// Validators that are to go by them.
    pub chosen: u64,
    /// Those of them that do.
    pub arrived: u64,
}

/// Validators that have the same version of something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionCount {
    /// Of what.
    pub what: &'static str,
    /// Which; empty for none.
    pub version: String,
    /// Whether it is what they are to have.
    pub newest: bool,
    /// How many.
    pub validators: u64,
}

/// A validator that does not have everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BehindFacts {
    /// Which.
    pub id: ValidatorId,
    /// When the lists were signed that it goes by; `None` before it had any.
    pub since: Option<Timestamp>,
    /// When it was last heard.
    pub heard: Option<Timestamp>,
    /// What it lacks, in words.
    pub lacks: String,
    /// Why, by its own word; empty when it says nothing.
    pub why: String,
}
