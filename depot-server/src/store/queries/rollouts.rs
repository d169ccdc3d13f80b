//! What is on its way to validators: one reading of all their last words, joined to the journal.

use std::collections::BTreeMap;

use model::{Timestamp, ValidatorId};
use wire::{HeldList, ListKind, ValidatorState};

use super::ReadModel;
use crate::{
    http::views::{BehindFacts, PlanFacts, RolloutFacts, SettingsFacts, VersionCount},
    steering::{self, Steering, SteeringError},
    store::{
        StoreError,
        codes::{time, validator},
        group::read_state,
    },
};

/// Validators that did not take a release, of each plan on the page.
const BAD_MAX: usize = 20;
/// Decisions on the page.
const DECISIONS_MAX: usize = 50;

/// A validator's last word.
struct Said {
    id: ValidatorId,
    state: Option<ValidatorState>,
    heard: Option<Timestamp>,
}

impl ReadModel {
    /// At most `limit` validators that are behind.
    pub(super) fn show_rollouts(&self, limit: usize) -> Result<RolloutFacts, StoreError> {
        let steering = steering::current(&self.store).map_err(|error| {
            if let SteeringError::Store(error) = error {
                return error;
            }
            StoreError::damaged(format!("the journal of steering: {error}"))
        })?;
        let fleet = self.last_words()?;
        // What everybody has: an image is only for whom a plan chooses.
        let newest = self.store.newest_lists()?;
        let newest: Vec<HeldList> =
            newest.into_iter().filter(|list| list.kind != ListKind::IMAGE).collect();
        let releases: Vec<_> = fleet
            .iter()
            .map(|said| {
                let state = said.state.as_ref();
                (said.id, state.and_then(|state| state.steered.release.clone()))
            })
            .collect();
        let plans = steering.plans.values().rev().map(|fact| {
            let (tally, mut bad) = steering.tally(&fact.plan, &releases);
            bad.truncate(BAD_MAX);
            PlanFacts { fact: fact.clone(), tally, bad }
        });
        let mut behind: Vec<BehindFacts> =
            fleet.iter().filter_map(|said| behind(said, &steering, &newest)).collect();
        behind.sort_by_key(|facts| (facts.since, facts.id));
        let behind_count = behind.len() as u64;
        behind.truncate(limit);
        let mut decisions = self.store.steering_journal()?;
        decisions.reverse();
        decisions.truncate(DECISIONS_MAX);
        Ok(RolloutFacts {
            plans: plans.collect(),
            settings: settings(&steering, &fleet),
            versions: versions(&fleet, &newest, &steering),
            behind,
            behind_count,
            decisions,
        })
    }

    fn last_words(&self) -> Result<Vec<Said>, StoreError> {
        let failed = || StoreError::read("the states of the fleet");
        let reader = self.store.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT id, state, heard_at FROM validators ORDER BY id")
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| {
                let payload: Option<Vec<u8>> = row.get(1)?;
                Ok((row.get(0)?, payload, row.get::<_, Option<i64>>(2)?))
            })
            .map_err(failed())?;
        rows.map(|row| {
            let (id, payload, heard) = row.map_err(failed())?;
            let state = payload.as_deref().and_then(read_state);
            Ok(Said { id: validator(id)?, state, heard: heard.map(time) })
        })
        .collect()
    }
}

fn settings(steering: &Steering, fleet: &[Said]) -> Vec<SettingsFacts> {
    let mut counts: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for said in fleet {
        let Some(wanted) = steering.settings_wanted(said.id) else { continue };
        let has = said.state.as_ref().and_then(|state| state.steered.settings);
        let (chosen, arrived) = counts.entry(wanted).or_default();
        *chosen += 1;
        *arrived += u64::from(has == Some(wanted));
    }
    let given = steering.settings_given().into_iter().rev();
    given
        .filter_map(|version| {
            let fact = steering.settings.get(&version.number)?.clone();
            let (chosen, arrived) = counts.get(&version.number).copied().unwrap_or_default();
            Some(SettingsFacts { fact, chosen, arrived })
        })
        .collect()
}

/// What somebody lacks, or `None` when nothing is missing.
fn behind(said: &Said, steering: &Steering, newest: &[HeldList]) -> Option<BehindFacts> {
    let wanted = steering.settings_wanted(said.id);
    let state = said.state.as_ref();
    let lists = state.and_then(|state| state.lists.clone()).unwrap_or_default();
    let missing = newest.iter().filter(|list| !lists.held.contains(list));
    let mut lacks: Vec<String> = missing
        .map(|list| {
            let word = list.kind.word().unwrap_or("list");
            let word = if list.kind == ListKind::CONFIG { "settings" } else { word };
            format!("{word} {}", list.version)
        })
        .collect();
    let waits = state.is_some_and(|state| state.steered.settings != wanted);
    if lacks.is_empty() && waits {
        let number = wanted.map_or("no settings".to_owned(), |n| format!("settings {n}"));
        lacks.push(format!("{number} from its next start on"));
    }
    if lacks.is_empty() && lists.trouble.is_empty() {
        return None;
    }
    let since = (lists.manifest != 0).then_some(lists.issued);
    let (id, heard) = (said.id, said.heard);
    Some(BehindFacts { id, since, heard, lacks: lacks.join(", "), why: lists.trouble })
}

fn versions(fleet: &[Said], newest: &[HeldList], steering: &Steering) -> Vec<VersionCount> {
    const KINDS: [(ListKind, &str); 4] = [
        (ListKind::TARIFF, "tariff"),
        (ListKind::HOTLIST, "hotlist"),
        (ListKind::DESIRED, "desired state"),
        (ListKind::PLAN, "plan of releases"),
    ];
    let mut counts: BTreeMap<(usize, &'static str, String), u64> = BTreeMap::new();
    for state in fleet.iter().filter_map(|said| said.state.as_ref()) {
        let settings = state.steered.settings.map(|n| n.to_string()).unwrap_or_default();
        *counts.entry((0, "software", state.software.clone())).or_default() += 1;
        *counts.entry((1, "settings", settings)).or_default() += 1;
        let held = state.lists.iter().flat_map(|lists| &lists.held);
        for (place, (kind, what)) in KINDS.iter().enumerate() {
            // Of tariffs several stand side by side: the newest tells how far somebody is.
            let version = held.clone().filter(|held| held.kind == *kind).map(|held| held.version);
            let version = version.max().map(|n| n.to_string()).unwrap_or_default();
            *counts.entry((place + 2, what, version)).or_default() += 1;
        }
    }
    let settings = steering.settings_given().iter().map(|version| version.number).max();
    let newest_of = |place: usize| match place.checked_sub(2).and_then(|place| KINDS.get(place)) {
        Some((kind, _)) => {
            newest.iter().filter(|list| list.kind == *kind).map(|list| list.version).max()
        }
        None => settings,
    };
    counts
        .into_iter()
        .map(|((place, what, version), validators)| {
            // Several kinds of machines run several programs: none of them is the newest.
            let is_newest = place == 0
                || newest_of(place).map(|n| n.to_string()).unwrap_or_default() == version;
            VersionCount { what, version, newest: is_newest, validators }
        })
        // What nobody was ever given is no row.
        .filter(|row| !(row.version.is_empty() && row.newest))
        .collect()
}
