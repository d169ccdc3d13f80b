//! What validators are to be, as people and rules decide it (ADR-0028).
//!
//! Invariants: the journal alone says what is wanted, and whoever books it again gets the same
//! lists, byte by byte; every decision names somebody; a list's version rises with every change and
//! is never below the seconds of its time, so that books restored from a backup go on above what
//! they forgot.

mod event;
pub mod releases;
pub mod settings;
mod span;
mod verify;

use std::{collections::BTreeMap, time::Duration};

use model::{Timestamp, ValidatorId};
use sha2::{Digest, Sha256};
use wire::{Desired, DesiredStates, DesiredWord, ListKind, WireError, limits};

pub use event::SteeringEvent;
pub use releases::{ImageFact, PlanFact, ReleaseStates};
pub use settings::SettingsFact;
pub use span::{SpanError, span};
pub use verify::verify;

use crate::{
    config::to_hex,
    store::{Store, StoreError},
};

/// The longest that a desired state may hold: whoever wants more says it again.
pub const HOLDS_MAX: Duration = Duration::from_secs(92 * 86_400);

/// Why something cannot be wanted of validators.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// Nobody says so.
    #[error("{0} is empty: say it in words, for whoever is asked")]
    Empty(&'static str),
    /// Too many words.
    #[error(
        "the reason has {0} bytes: use at most {max}, riders read it on a small display",
        max = limits::WHY
    )]
    Long(usize),
    /// Over before it begins.
    #[error("it would end before it begins")]
    Over,
    /// Longer than anybody remembers.
    #[error(
        "it would hold for more than {} days: say it again when they are over",
        HOLDS_MAX.as_secs() / 86_400
    )]
    TooLong,
    /// Nothing is wanted of it.
    #[error("nothing is wanted of {0}: see `depot-server desired list`")]
    Nothing(String),
    /// Not enrolled.
    #[error("{0} is not enrolled: see `depot-server validator enrol`")]
    Unknown(ValidatorId),
    /// A row of the journal does not read.
    #[error("{0} does not read")]
    Unreadable(&'static str),
    /// It is there.
    #[error("there is {0} already: a release has one content for ever; give it a new version")]
    Known(String),
    /// Nothing to plan.
    #[error("there is no release {0} in the books: see `depot-server release add`")]
    NoImage(String),
    /// A share that cannot be.
    #[error("the percent of a plan only rises, from {0} to 100 at most: to stop it, halt it")]
    Percent(u8),
    /// A plan that cannot be decided about so.
    #[error("plan {0} {1}: see `depot-server release status`")]
    Plan(u64, &'static str),
    /// Neither an id nor a name.
    #[error("{0:?} is neither a validator such as v000042 nor a group of the newest settings")]
    NoGroup(String),
    /// Settings that no validator is given.
    #[error("settings {0} are given to nobody any more: see `depot-server settings history`")]
    NoSettings(u64),
    /// Too many versions beside each other.
    #[error(
        "{} versions of settings are under way: give one of them to all first",
        limits::SETTINGS_VERSIONS
    )]
    ManySettings,
    /// A text of settings, line by line.
    #[error("{0}")]
    Settings(String),
    /// Too many validators.
    #[error("the list cannot be written")]
    Wire(#[from] WireError),
    /// The books.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Everything that is wanted of validators now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steering {
    /// Desired states, also those that have ended since the list was made.
    pub desired: DesiredStates,
    /// Who said each of them; `None` is all.
    pub said_by: BTreeMap<Option<ValidatorId>, String>,
    /// Releases in the books, by the versions of their lists.
    pub images: BTreeMap<u64, ImageFact>,
    /// Plans, also those that are over.
    pub plans: BTreeMap<u64, PlanFact>,
    /// Every version of the settings.
    pub settings: BTreeMap<u64, SettingsFact>,
    /// The lists that follow, by kind.
    pub lists: BTreeMap<ListKind, MadeList>,
}

/// A list as validators are given it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeList {
    /// Higher is newer.
    pub version: u64,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl Steering {
    /// Books one event, or says why it cannot be.
    pub fn apply(&mut self, at: Timestamp, event: &SteeringEvent) -> Result<(), SteeringError> {
        match event {
            SteeringEvent::Desired { validators, word, reason, until, by } => {
                said("the name", by)?;
                let desired = wanted(at, word, reason, Timestamp(*until))?;
                for who in whom(validators)? {
                    self.said_by.insert(who, by.clone());
                    match who {
                        None => self.desired.all = Some(desired.clone()),
                        Some(id) => drop(self.desired.each.insert(id, desired.clone())),
                    }
                }
            }
            SteeringEvent::Lifted { validators, why, by } => {
                said("the name", by)?;
                said("the reason", why)?;
                for who in whom(validators)? {
                    let lifted = match who {
                        None => self.desired.all.take(),
                        Some(id) => self.desired.each.remove(&id),
                    };
                    self.said_by.remove(&who);
                    if lifted.is_none_or(|desired| desired.until <= at) {
                        let all = "all validators".to_owned();
                        let who = who.map_or(all, |id| id.to_string());
                        return Err(SteeringError::Nothing(who));
                    }
                }
            }
            SteeringEvent::Image { .. }
            | SteeringEvent::Planned { .. }
            | SteeringEvent::Widened { .. }
            | SteeringEvent::Halted { .. }
            | SteeringEvent::Resumed { .. }
            | SteeringEvent::Ended { .. } => return self.apply_release(at, event),
            SteeringEvent::Settings { .. } | SteeringEvent::SettingsWidened { .. } => {
                return self.apply_settings(at, event);
            }
        }
        self.list_desired(at)
    }

    /// What has ended by now is in no list any more.
    fn list_desired(&mut self, at: Timestamp) -> Result<(), SteeringError> {
        self.desired.all.take_if(|desired| desired.until <= at);
        self.desired.each.retain(|_, desired| desired.until > at);
        let Self { desired, said_by, .. } = self;
        said_by.retain(|who, _| match who {
            None => desired.all.is_some(),
            Some(id) => desired.each.contains_key(id),
        });
        let content = self.desired.encode()?;
        self.list(at, ListKind::DESIRED, content);
        Ok(())
    }

    fn list(&mut self, at: Timestamp, kind: ListKind, content: Vec<u8>) {
        let known = self.lists.get(&kind);
        if known.is_some_and(|known| known.content == content) {
            return;
        }
        let version = at.secs().max(known.map_or(1, |known| known.version + 1));
        self.lists.insert(kind, MadeList { version, content });
    }
}

/// Books a decision.
pub fn decide(
    store: &Store,
    event: &SteeringEvent,
    now: Timestamp,
) -> Result<Steering, SteeringError> {
    let book = store.begin_steering(now)?;
    let mut steering = replayed(&book.journal()?)?;
    steering.apply(now, event)?;
    book.add(event, &steering.lists)?;
    book.commit()?;
    Ok(steering)
}

/// What is wanted now.
pub fn current(store: &Store) -> Result<Steering, SteeringError> {
    replayed(&store.steering_journal()?)
}

fn replayed(journal: &[(Timestamp, SteeringEvent)]) -> Result<Steering, SteeringError> {
    let mut steering = Steering::default();
    for (at, event) in journal {
        steering.apply(*at, event)?;
    }
    Ok(steering)
}

fn said(what: &'static str, text: &str) -> Result<(), SteeringError> {
    if text.trim().is_empty() { Err(SteeringError::Empty(what)) } else { Ok(()) }
}

fn wanted(
    at: Timestamp,
    word: &str,
    reason: &str,
    until: Timestamp,
) -> Result<Desired, SteeringError> {
    said("the reason", reason)?;
    if reason.len() > limits::WHY {
        return Err(SteeringError::Long(reason.len()));
    }
    if until <= at {
        return Err(SteeringError::Over);
    }
    if until.since(at) > HOLDS_MAX {
        return Err(SteeringError::TooLong);
    }
    let word = DesiredWord::ALL.into_iter().find(|known| known.word() == word);
    let word = word.ok_or(SteeringError::Unreadable("a desired state"))?;
    Ok(Desired { word, reason: reason.to_owned(), until })
}

fn hash_of(content: &[u8]) -> String {
    to_hex(&Sha256::digest(content))
}

/// `None` is all.
fn whom(validators: &[u32]) -> Result<Vec<Option<ValidatorId>>, SteeringError> {
    if validators.is_empty() {
        return Ok(vec![None]);
    }
    let id = |number: &u32| {
        let known = ValidatorId::new(*number).filter(|id| *id != ValidatorId::DEPOT);
        known.map(Some).ok_or(SteeringError::Unreadable("a validator's number"))
    };
    validators.iter().map(id).collect()
}

#[cfg(test)]
mod tests;
