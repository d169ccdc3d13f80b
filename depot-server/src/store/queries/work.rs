//! The work of validators beside what is usual: who sees far fewer taps than he should.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
    time::Duration,
};

use model::{Timestamp, ValidatorId};
use work::{
    DAYS, Demand, HOUR_MS, HOURS, HOURS_OF_DAY, Hour, WEEKS, Workload, availability, usual,
};

use super::ReadModel;
use crate::{
    http::views::{FleetWork, WorkFacts},
    store::{
        StoreError,
        work::{DAY_MS, Taps},
    },
};

/// What all together see may be so old when a single validator is judged.
const DEMAND_HOLDS: Duration = Duration::from_secs(60);
/// Days over which availability is told.
const AVAILABILITY_DAYS: u64 = 7;

/// What each validator usually does on one day.
type UsualDay = BTreeMap<ValidatorId, Taps>;

/// What is usual, kept for an hour: it moves slowly, and asking the books is dear.
#[derive(Debug)]
pub(super) struct Usual {
    /// The hour since 1970 in which it was asked.
    hour: u64,
    yesterday: UsualDay,
    today: UsualDay,
}

/// What is kept between questions.
#[derive(Debug, Default)]
pub(super) struct KeptWork {
    usual: Option<Arc<Usual>>,
    demand: Option<(Timestamp, Demand)>,
}

/// What was done yesterday and today.
type Done = [Option<Taps>; 2];

/// Everything needed to judge any validator at one moment.
pub(super) struct FleetWorks {
    now: Timestamp,
    usual: Arc<Usual>,
    done: BTreeMap<ValidatorId, Done>,
    demand: Demand,
}

impl FleetWorks {
    fn hours(&self, id: ValidatorId) -> [Hour; HOURS] {
        hours(self.now, &self.usual, id, self.done.get(&id).copied().unwrap_or_default())
    }

    /// What a validator did, with all of the others to compare with.
    pub(super) fn judge(
        &self,
        id: ValidatorId,
        since: Timestamp,
        last: Option<Timestamp>,
    ) -> work::Judgement {
        let workload = Workload { hours: self.hours(id), since, last };
        work::judge(self.now, &workload, &self.demand)
    }
}

/// The hours that are looked at, of one validator.
fn hours(now: Timestamp, usual: &Usual, id: ValidatorId, done: Done) -> [Hour; HOURS] {
    let [yesterday, today] =
        [(&usual.yesterday, done[0]), (&usual.today, done[1])].map(|(usual, done)| {
            let usual = usual.get(&id);
            core::array::from_fn::<_, HOURS_OF_DAY, _>(|hour| Hour {
                usual: usual.map(|day| day[hour]),
                seen: done.map_or(0, |day| day[hour]),
            })
        });
    let of_day = usize::try_from(now.0 % DAY_MS / HOUR_MS).unwrap_or(0);
    let mut window = yesterday.into_iter().chain(today).skip(of_day);
    core::array::from_fn(|_| window.next().unwrap_or_default())
}

impl ReadModel {
    /// What is needed to judge the whole fleet.
    pub(super) fn fleet_works(&self) -> Result<FleetWorks, StoreError> {
        let now = self.clock.now();
        let today = now.0 / DAY_MS;
        let mut works = FleetWorks {
            now,
            usual: self.usual(now)?,
            done: BTreeMap::new(),
            demand: Demand::default(),
        };
        for (place, day) in [today.saturating_sub(1), today].into_iter().enumerate() {
            for (id, taps) in self.store.work_on(day)? {
                works.done.entry(id).or_default()[place] = Some(taps);
            }
        }
        for id in self.store.connected()? {
            let hours = works.hours(id);
            works.demand.add(&hours);
        }
        let mut kept = self.kept_work.lock().unwrap_or_else(PoisonError::into_inner);
        kept.demand = Some((now, works.demand));
        Ok(works)
    }

    /// What is needed to judge one validator.
    pub(super) fn works_of(&self, id: ValidatorId) -> Result<FleetWorks, StoreError> {
        let now = self.clock.now();
        let kept = self.kept_work.lock().unwrap_or_else(PoisonError::into_inner).demand;
        let fresh = kept.filter(|(at, _)| {
            at.0 / HOUR_MS == now.0 / HOUR_MS && now.since(*at) <= self.clock.paced(DEMAND_HOLDS)
        });
        let Some((_, demand)) = fresh else { return self.fleet_works() };
        let today = now.0 / DAY_MS;
        let done =
            [self.store.work_of(id, today.saturating_sub(1))?, self.store.work_of(id, today)?];
        Ok(FleetWorks { now, usual: self.usual(now)?, done: [(id, done)].into(), demand })
    }

    /// What all together did.
    pub(super) fn sum_fleet_work(&self) -> Result<FleetWork, StoreError> {
        let works = self.fleet_works()?;
        let whole = works.usual.today.keys().chain(works.usual.yesterday.keys());
        let known: std::collections::BTreeSet<_> = whole.copied().collect();
        let hours = known.into_iter().flat_map(|id| {
            let hours = works.hours(id);
            hours.into_iter().take(HOURS - 1)
        });
        let (expected_hours, worked_hours) = availability(hours);
        Ok(FleetWork { too_few: works.demand.too_few(works.now), expected_hours, worked_hours })
    }

    /// What the page of a validator tells of its work.
    pub(super) fn work_facts(
        &self,
        id: ValidatorId,
        works: &FleetWorks,
    ) -> Result<WorkFacts, StoreError> {
        let now = works.now;
        let (today, hour) = (now.0 / DAY_MS, now.0 % DAY_MS / HOUR_MS);
        let first = today.saturating_sub(AVAILABILITY_DAYS);
        let reach = 7 * WEEKS as u64;
        let mut days = BTreeMap::new();
        for day in first.saturating_sub(reach)..=today {
            if let Some(taps) = self.store.work_of(id, day)? {
                days.insert(day, taps);
            }
        }
        let mut looked_at = Vec::new();
        for day in first..=today {
            let usual = usual_of(day, |day| days.get(&day).copied());
            let seen = days.get(&day).copied().unwrap_or_default();
            let of_day = (0..HOURS_OF_DAY).map(|h| (day * 24 + h as u64, h));
            let whole =
                of_day.filter(|(at, _)| (first * 24 + hour..today * 24 + hour).contains(at));
            looked_at
                .extend(whole.map(|(_, h)| Hour { usual: usual.map(|day| day[h]), seen: seen[h] }));
        }
        let last_day = works.hours(id);
        let whole = || last_day[..HOURS - 1].iter();
        let usual: u64 = whole().filter_map(|hour| hour.usual).map(u64::from).sum();
        let seen = whole().map(|hour| u64::from(hour.seen)).sum();
        let known = whole().any(|hour| hour.usual.is_some());
        let (expected_hours, worked_hours) = availability(looked_at);
        Ok(WorkFacts { usual: known.then_some(usual), seen, expected_hours, worked_hours })
    }

    fn usual(&self, now: Timestamp) -> Result<Arc<Usual>, StoreError> {
        let hour = now.0 / HOUR_MS;
        let kept = self.kept_work.lock().unwrap_or_else(PoisonError::into_inner).usual.clone();
        if let Some(usual) = kept.filter(|usual| usual.hour == hour) {
            return Ok(usual);
        }
        let today = now.0 / DAY_MS;
        let usual = Arc::new(Usual {
            hour,
            yesterday: self.usual_on(today.saturating_sub(1))?,
            today: self.usual_on(today)?,
        });
        let mut kept = self.kept_work.lock().unwrap_or_else(PoisonError::into_inner);
        kept.usual = Some(Arc::clone(&usual));
        Ok(usual)
    }

    /// What is usual on a day, for every validator of which enough is known.
    fn usual_on(&self, day: u64) -> Result<UsualDay, StoreError> {
        let mut done = BTreeMap::<ValidatorId, BTreeMap<u64, Taps>>::new();
        for earlier in looked_at(day) {
            for (id, taps) in self.store.work_on(earlier)? {
                done.entry(id).or_default().insert(earlier, taps);
            }
        }
        let usual = done.into_iter().filter_map(|(id, days)| {
            usual_of(day, |day| days.get(&day).copied()).map(|usual| (id, usual))
        });
        Ok(usual.collect())
    }
}

/// The days by which a day is judged.
fn looked_at(day: u64) -> impl Iterator<Item = u64> {
    let (weeks, days) = ((2..=WEEKS as u64).map(|n| 7 * n), 1..=DAYS as u64);
    weeks.chain(days).filter_map(move |back| day.checked_sub(back))
}

/// What is usual on a day, when `done` says what was done on another.
fn usual_of(day: u64, done: impl Fn(u64) -> Option<Taps>) -> Option<Taps> {
    let at = |back: u64| day.checked_sub(back).and_then(&done);
    let weeks: Vec<Taps> = (1..=WEEKS as u64).filter_map(|n| at(7 * n)).collect();
    let days: Vec<Taps> = (1..=DAYS as u64).filter_map(at).collect();
    usual(&weeks, &days)
}
