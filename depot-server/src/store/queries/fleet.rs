//! The fleet: link, drain and service of each validator, from its row and its last state message.

use std::{collections::BTreeMap, time::Duration};

use model::{
    ClockQuality, PlaceIx, RouteIx, TapRole, TapSeq, TariffVersion, Timestamp, ValidatorId,
};
use rusqlite::{OptionalExtension, Row, params};
use wire::{HeldList, ListKind, ListsState, StateWord, ValidatorState};
use work::{Judgement, TooFew};

use super::{ReadModel, taps::percentile_95, work::FleetWorks};
use crate::{
    http::views::{
        DrainState, EpochFacts, FleetRow, LinkState, ListFacts, ServiceState, ValidatorFacts,
    },
    store::{
        StoreError,
        codes::{epoch, role_of, seq, time, unsigned, validator},
        group::read_state,
        lists::is_behind,
    },
};

/// A connected validator says something at least this often.
const HEARTBEAT: Duration = Duration::from_secs(15 * 60);
/// Disagreements of a clock that its page shows.
const CLOCK_GAPS_MAX: u32 = 20;
/// Behind, connected, and nothing arrived for this long: not getting nearer.
const STUCK_AFTER: Duration = Duration::from_secs(3 * 60);

const COLUMNS: &str = "validators.id, validators.link, validators.link_at, validators.heard_at,
    validators.state, validators.state_at, validators.durations, validators.enrolled_at,
    taps.role, taps.place, taps.route, taps.tapped_at,
    (SELECT max(epoch) FROM epochs WHERE epochs.validator = validators.id)";
const TABLES: &str = "validators LEFT JOIN taps ON taps.id = validators.last_tap";

/// What the row says, before it is judged.
struct Raw {
    id: ValidatorId,
    link: i64,
    link_since: Timestamp,
    heard_at: Option<Timestamp>,
    state: Option<ValidatorState>,
    state_at: Option<Timestamp>,
    durations: Vec<u8>,
    last: Option<LastTap>,
    newest_epoch: Option<u32>,
}

#[derive(Clone, Copy)]
struct LastTap {
    role: TapRole,
    place: PlaceIx,
    route: Option<RouteIx>,
    at: Timestamp,
}

impl ReadModel {
    pub(super) fn list_fleet(&self) -> Result<Vec<FleetRow>, StoreError> {
        let failed = || StoreError::read("the fleet");
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} ORDER BY validators.id");
        let reader = self.store.reader()?;
        let mut statement = reader.prepare_cached(&sql).map_err(failed())?;
        let rows = statement.query_map([], |row| Ok(raw(row))).map_err(failed())?;
        let rows = rows.collect::<Result<Vec<_>, _>>().map_err(failed())?;
        let newest = self.store.newest_lists()?;
        let works = self.fleet_works()?;
        rows.into_iter().map(|row| self.fleet_row(&row?, &newest, &works)).collect()
    }

    pub(super) fn find_fleet_row(&self, id: ValidatorId) -> Result<Option<FleetRow>, StoreError> {
        let newest = self.store.newest_lists()?;
        let works = self.works_of(id)?;
        self.raw_row(id)?.map(|row| self.fleet_row(&row, &newest, &works)).transpose()
    }

    pub(super) fn find_validator(
        &self,
        id: ValidatorId,
    ) -> Result<Option<ValidatorFacts>, StoreError> {
        let Some(raw) = self.raw_row(id)? else { return Ok(None) };
        let clock = raw.state.as_ref().map_or(ClockQuality::Unknown, |state| state.clock);
        let newest = self.store.newest_lists()?;
        let works = self.works_of(id)?;
        let row = self.fleet_row(&raw, &newest, &works)?;
        let work = self.work_facts(id, &works)?;
        let lists = raw.state.as_ref().and_then(|state| state.lists.as_ref());
        let lists = lists.map(|lists| self.list_facts(lists, row.tariff, &newest)).transpose()?;
        let mut epochs = self.epochs(id)?;
        for facts in &mut epochs {
            let said = raw.state.as_ref().filter(|state| state.epoch == facts.epoch);
            facts.recorded_through =
                facts.booked_through.max(said.map_or(TapSeq(0), |state| state.head));
        }
        let clock_gaps = self.store.clock_gaps_of(id, CLOCK_GAPS_MAX)?;
        let speech = raw.state.as_ref().and_then(|state| state.speech);
        let steered = raw.state.as_ref().map(|state| state.steered.clone()).unwrap_or_default();
        let said_at = raw.state_at;
        let device = raw.state.and_then(|state| state.health);
        Ok(Some(ValidatorFacts {
            row,
            clock,
            lists,
            said_at,
            device,
            speech,
            steered,
            work,
            epochs,
            clock_gaps,
        }))
    }

    fn raw_row(&self, id: ValidatorId) -> Result<Option<Raw>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM {TABLES} WHERE validators.id = ?1");
        let found = self.store.reader()?.prepare_cached(&sql).and_then(|mut statement| {
            statement.query_row([id.number()], |row| Ok(raw(row))).optional()
        });
        found.map_err(StoreError::read("a validator"))?.transpose()
    }

    fn fleet_row(
        &self,
        raw: &Raw,
        newest: &[HeldList],
        works: &FleetWorks,
    ) -> Result<FleetRow, StoreError> {
        let now = self.clock.now();
        let state = raw.state.as_ref();
        let unsent = state.map(|state| self.unsent(raw, state)).transpose()?;
        let heard_within =
            |bound| raw.heard_at.is_some_and(|at| now.since(at) <= self.clock.paced(bound));
        let link = match raw.link {
            0 => LinkState::NeverSeen,
            2 if heard_within(HEARTBEAT) => LinkState::Connected,
            2 => LinkState::Late,
            _ => LinkState::Lost,
        };
        let drain = match unsent {
            None => DrainState::Unknown,
            Some(0) => DrainState::Empty,
            Some(_) if raw.link == 2 && !heard_within(STUCK_AFTER) => DrainState::Stuck,
            Some(_) => DrainState::Draining,
        };
        let (service, reason) = service(state);
        let whole = (link, drain) == (LinkState::Connected, DrainState::Empty);
        let too_few = state.filter(|_| whole).and_then(|state| too_few(raw, state, works));
        let service = if too_few.is_some() { ServiceState::TooFew } else { service };
        Ok(FleetRow {
            id: raw.id,
            role: raw.last.map(|last| last.role),
            place: raw.last.map(|last| last.place),
            route: raw.last.and_then(|last| last.route),
            link,
            link_since: raw.link_since,
            drain,
            unsent: unsent.unwrap_or(0),
            oldest_unsent: None,
            service,
            service_reason: reason,
            too_few,
            last_tap: raw.last.map(|last| last.at),
            last_heard: raw.heard_at,
            tap_p95_ms: p95(&raw.durations),
            tariff: state.and_then(|state| state.tariff),
            lists_behind: state.is_some_and(|state| is_behind(state.lists.as_ref(), newest)),
            clock_offset_ms: state.zip(raw.state_at).map(|(state, at)| offset(state.at, at)),
            software: state.map_or_else(String::new, |state| state.software.clone()),
        })
    }

    fn list_facts(
        &self,
        lists: &ListsState,
        in_force: Option<TariffVersion>,
        newest: &[HeldList],
    ) -> Result<ListFacts, StoreError> {
        let named = |list: &HeldList| {
            let word = list.kind.word().map_or_else(|| format!("kind {}", list.kind.0), Into::into);
            (word, list.version)
        };
        let holds = |version: TariffVersion| {
            let kind = ListKind::TARIFF;
            lists.held.contains(&HeldList { kind, version: u64::from(version.0) })
        };
        let begins = self.store.tariff_begins()?;
        let coming = begins.into_iter().filter(|(version, _)| Some(*version) > in_force);
        let next = coming.filter(|(version, _)| holds(*version)).min_by_key(|(_, at)| *at);
        Ok(ListFacts {
            issued: (lists.manifest != 0).then_some(lists.issued),
            held: lists.held.iter().map(named).collect(),
            missing: newest.iter().filter(|list| !lists.held.contains(list)).map(named).collect(),
            next,
            trouble: lists.trouble.clone(),
        })
    }

    /// Entries that the validator recorded and the books do not have.
    fn unsent(&self, raw: &Raw, state: &ValidatorState) -> Result<u64, StoreError> {
        // A later life that is here already proves the state message old.
        if raw.newest_epoch.is_some_and(|newest| newest > state.epoch.0) {
            return Ok(0);
        }
        let booked: Option<i64> = self
            .store
            .reader()?
            .prepare_cached("SELECT through FROM epochs WHERE validator = ?1 AND epoch = ?2")
            .and_then(|mut statement| {
                let key = params![raw.id.number(), state.epoch.0];
                statement.query_row(key, |row| row.get(0)).optional()
            })
            .map_err(StoreError::read("what a validator handed in"))?;
        let missing = state.head.0.saturating_sub(unsigned(booked.unwrap_or(0)));
        Ok(missing.saturating_add(state.undrained_before))
    }

    fn epochs(&self, id: ValidatorId) -> Result<Vec<EpochFacts>, StoreError> {
        let failed = || StoreError::read("the lives of a validator's log");
        let reader = self.store.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT epoch, through, duplicates FROM epochs
                 WHERE validator = ?1 ORDER BY epoch DESC",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([id.number()], |row| {
                // Entries are booked without a hole, so the mark is the highest booked one too.
                let through = seq(row.get(1)?);
                Ok(EpochFacts {
                    epoch: epoch(row.get(0)?),
                    acked_through: through,
                    booked_through: through,
                    recorded_through: through,
                    missing: Vec::new(),
                    duplicates: unsigned(row.get(2)?),
                })
            })
            .map_err(failed())?;
        rows.collect::<Result<Vec<_>, _>>().map_err(failed())
    }
}

fn raw(row: &Row<'_>) -> Result<Raw, StoreError> {
    let failed = || StoreError::read("a validator");
    let state: Option<Vec<u8>> = row.get(4).map_err(failed())?;
    let role: Option<i64> = row.get(8).map_err(failed())?;
    let role = role.map(role_of).transpose()?;
    let id = validator(row.get(0).map_err(failed())?)?;
    let read = || -> rusqlite::Result<Raw> {
        let maybe_time = |ix| row.get::<_, Option<i64>>(ix).map(|at| at.map(time));
        let last = match role {
            None => None,
            Some(role) => Some(LastTap {
                role,
                place: PlaceIx(row.get(9)?),
                route: row.get::<_, Option<u16>>(10)?.map(RouteIx),
                at: time(row.get(11)?),
            }),
        };
        Ok(Raw {
            id,
            link: row.get(1)?,
            link_since: maybe_time(2)?.unwrap_or(time(row.get(7)?)),
            heard_at: maybe_time(3)?,
            state: state.as_deref().and_then(read_state),
            state_at: maybe_time(5)?,
            durations: row.get::<_, Option<Vec<u8>>>(6)?.unwrap_or_default(),
            last,
            newest_epoch: row.get(12)?,
        })
    };
    read().map_err(failed())
}

/// Whether it serves, and what is wrong in its own words.
fn service(state: Option<&ValidatorState>) -> (ServiceState, String) {
    let Some(state) = state else { return (ServiceState::Unknown, String::new()) };
    let fault = state.health.as_ref().map_or("", |health| &health.fault);
    let (service, why) = match state.word {
        StateWord::Lost => (ServiceState::Unknown, ""),
        StateWord::Ready if fault.is_empty() => (ServiceState::InService, ""),
        StateWord::Ready => (ServiceState::Degraded, fault),
        StateWord::Starting => (ServiceState::Degraded, "starting"),
        // Validators from before the field say it only in their own log.
        StateWord::OutOfService if state.reason.is_empty() => {
            (ServiceState::Out, "see its own log")
        }
        StateWord::OutOfService => (ServiceState::Out, state.reason.as_str()),
        StateWord::Asleep => (ServiceState::Out, "stopped in order"),
    };
    (service, why.to_owned())
}

/// Whether it serves by its own word and does far less than it should.
fn too_few(raw: &Raw, state: &ValidatorState, works: &FleetWorks) -> Option<TooFew> {
    if state.word != StateWord::Ready {
        return None;
    }
    // The hours of a vehicle that was parked are none of its own. Only a clock that is set can say
    // since when the program runs.
    let started = state.health.as_ref().map(|health| health.started);
    let since = started.filter(|_| state.clock.is_set()).unwrap_or(raw.link_since);
    match works.judge(raw.id, since, raw.last.map(|last| last.at)) {
        Judgement::TooFew(too_few) => Some(too_few),
        Judgement::Unknown | Judgement::Enough => None,
    }
}

/// Its clock minus ours, with the way here counted in.
fn offset(theirs: Timestamp, ours: Timestamp) -> i64 {
    let signed = |at: Timestamp| i64::try_from(at.0).unwrap_or(i64::MAX);
    signed(theirs).saturating_sub(signed(ours))
}

fn p95(durations: &[u8]) -> Option<u32> {
    let mut counts = BTreeMap::new();
    for pair in durations.chunks_exact(2) {
        *counts.entry(u32::from(u16::from_le_bytes([pair[0], pair[1]]))).or_default() += 1;
    }
    percentile_95(&counts)
}
