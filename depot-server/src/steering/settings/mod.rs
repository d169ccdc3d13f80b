//! Settings that validators are given (ADR-0033).
//!
//! Invariants: every version is a text that a named person published, and it is checked before it
//! is in the books; a version's number is never used again; its share only rises. To take one back,
//! the text before is published anew.

mod text;

use std::collections::{BTreeMap, BTreeSet};

use model::{Timestamp, ValidatorId};
use steering::{OwnSettings, own_settings, settings_of};
use wire::{ListKind, SettingsList, SettingsVersion, ValidatorState, limits};

use super::{Steering, SteeringError, SteeringEvent, releases::named, replayed, said};
use crate::store::Store;

pub use text::{Text, TextProblem};

/// A version of the settings in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsFact {
    /// As validators are given it.
    pub version: SettingsVersion,
    /// As it was published.
    pub text: String,
    /// Who published it.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// What somebody wants to publish.
#[derive(Debug, Clone)]
pub struct Publication {
    /// The whole text.
    pub text: String,
    /// Who gets it first.
    pub canaries: Vec<ValidatorId>,
    /// Of the others.
    pub percent: u8,
    /// Why.
    pub reason: String,
    /// Who.
    pub by: String,
}

impl Steering {
    /// Books an event about settings.
    pub(super) fn apply_settings(
        &mut self,
        at: Timestamp,
        event: &SteeringEvent,
    ) -> Result<(), SteeringError> {
        if let SteeringEvent::Settings { number, text, canaries, percent, reason, by } = event {
            named(by, reason)?;
            if *number != self.next_settings() {
                return Err(SteeringError::Unreadable("the number of a version of settings"));
            }
            if *percent > 100 {
                return Err(SteeringError::Percent(0));
            }
            let layers = Text::read(text)
                .map_err(|problem| SteeringError::Settings(problem.to_string()))?
                .layers;
            let canaries = super::releases::validators(canaries)?;
            let version = SettingsVersion { number: *number, canaries, percent: *percent, layers };
            let (text, by, reason) = (text.clone(), by.clone(), reason.clone());
            self.settings.insert(*number, SettingsFact { version, text, by, at, reason });
        }
        if let SteeringEvent::SettingsWidened { number, canaries, percent, reason, by } = event {
            named(by, reason)?;
            let canaries = super::releases::validators(canaries)?;
            let given = self.settings_given().into_iter().any(|given| given.number == *number);
            let fact = self.settings.get_mut(number).filter(|_| given);
            let fact = fact.ok_or(SteeringError::NoSettings(*number))?;
            if *percent < fact.version.percent || *percent > 100 {
                return Err(SteeringError::Percent(fact.version.percent));
            }
            fact.version.percent = *percent;
            fact.version.canaries.extend(canaries);
        }
        let given: Vec<_> = self.settings_given().into_iter().cloned().collect();
        if given.len() > limits::SETTINGS_VERSIONS {
            return Err(SteeringError::ManySettings);
        }
        let content = SettingsList(given).encode()?;
        self.list(at, ListKind::CONFIG, content);
        Ok(())
    }

    /// The number of the next version.
    pub fn next_settings(&self) -> u64 {
        self.settings.keys().next_back().map_or(1, |last| last + 1)
    }

    /// Versions that some validator is to go by: the newest that is for all, and those after it.
    pub fn settings_given(&self) -> Vec<&SettingsVersion> {
        let whole = |fact: &&SettingsFact| fact.version.percent == 100;
        let from = self.settings.values().rev().find(whole);
        let from = from.map_or(0, |fact| fact.version.number);
        self.settings.range(from..).map(|(_, fact)| &fact.version).collect()
    }

    /// The version that a validator is to go by.
    pub fn settings_wanted(&self, validator: ValidatorId) -> Option<u64> {
        let chosen = |version: &&&SettingsVersion| steering::settings_choose(version, validator);
        self.settings_given().iter().rev().find(chosen).map(|version| version.number)
    }

    /// What a validator is to go by, each with who said it.
    pub fn settings_for(&self, validator: ValidatorId) -> Option<OwnSettings> {
        let list = SettingsList(self.settings_given().into_iter().cloned().collect());
        own_settings(settings_of(&list, validator)?, validator).ok()
    }

    /// The groups that the newest settings name.
    pub fn groups(&self) -> BTreeMap<String, BTreeSet<ValidatorId>> {
        let newest = self.settings.values().next_back();
        newest.map_or_else(BTreeMap::new, |fact| text::members(&fact.version.layers))
    }
}

/// Publishes a text that has been checked against what is enrolled; answers its number.
pub fn publish(
    store: &Store,
    publication: &Publication,
    now: Timestamp,
) -> Result<u64, SteeringError> {
    let known = store.validators()?;
    let problems = match Text::read(&publication.text) {
        Ok(text) => text.check(&known),
        Err(problem) => vec![problem],
    };
    if !problems.is_empty() {
        let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
        return Err(SteeringError::Settings(lines.join("\n")));
    }
    if let Some(id) = publication.canaries.iter().find(|id| !known.contains(id)) {
        return Err(SteeringError::Unknown(*id));
    }
    said("the name", &publication.by)?;
    let book = store.begin_steering(now)?;
    let mut steering = replayed(&book.journal()?)?;
    let number = steering.next_settings();
    let event = SteeringEvent::Settings {
        number,
        text: publication.text.clone(),
        canaries: publication.canaries.iter().map(|id| id.number()).collect(),
        percent: publication.percent,
        reason: publication.reason.trim().to_owned(),
        by: publication.by.trim().to_owned(),
    };
    steering.apply(now, &event)?;
    book.add(&event, &steering.lists)?;
    book.commit()?;
    Ok(number)
}

/// Why a validator does not go by the settings that it is to, as far as its state tells. `newest`
/// is the version of their list.
pub fn why_behind(state: Option<&ValidatorState>, newest: Option<u64>) -> String {
    let Some(state) = state else { return "it has said nothing yet".to_owned() };
    let lists = state.lists.clone().unwrap_or_default();
    let held = lists.held.iter().filter(|held| held.kind == ListKind::CONFIG);
    if held.map(|held| held.version).max() == newest {
        return "it has them, and goes by some of them from its next start on".to_owned();
    }
    if lists.trouble.is_empty() { "they are on their way".to_owned() } else { lists.trouble }
}

/// What changes from one version to another, a line each: `-` is gone, `+` is new.
pub fn difference(before: Option<&SettingsFact>, after: &SettingsFact) -> Vec<String> {
    let lines = |fact: &SettingsFact| -> BTreeSet<(String, String)> {
        let mut lines = BTreeSet::new();
        for layer in &fact.version.layers {
            let whom = match &layer.whom {
                wire::SettingsFor::All => "all".to_owned(),
                wire::SettingsFor::Group { name, members } => {
                    let ids: Vec<String> = members.iter().map(ToString::to_string).collect();
                    lines.insert((format!("group {name}"), format!("is {}", ids.join(" "))));
                    format!("group {name}")
                }
                wire::SettingsFor::One(id) => id.to_string(),
            };
            let values = layer.values.iter();
            lines.extend(values.map(|(key, value)| (whom.clone(), format!("{key} = {value}"))));
        }
        lines
    };
    let (before, after) = (before.map(&lines).unwrap_or_default(), lines(after));
    let gone = before.difference(&after).map(|line| (line, '-'));
    let new = after.difference(&before).map(|line| (line, '+'));
    let mut changes: Vec<_> = gone.chain(new).collect();
    // A value that is another stands beside what it was.
    changes.sort_by_key(|((whom, line), sign)| {
        let key = line.split(' ').next().unwrap_or_default().to_owned();
        (whom.clone(), key, *sign == '+')
    });
    changes.into_iter().map(|((whom, line), sign)| format!("{sign} {whom}: {line}")).collect()
}
