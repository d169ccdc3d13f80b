//! Where a rider usually taps out, from the journeys before the one in question.

use alloc::{collections::BTreeMap, sync::Arc, vec::Vec};

use fare::{LastTap, TariffSet};
use model::{PlaceIx, RouteIx, ServiceDate};

use super::{Past, RepairRule};

/// The journeys that were tapped out, oldest first, and what was repaired.
#[derive(Default)]
pub(super) struct Pattern {
    journeys: Vec<Ended>,
    repairs: BTreeMap<(u32, u32), u32>,
}

/// A journey with both taps. Places go by their ids, which outlive tariffs.
struct Ended {
    day: ServiceDate,
    from: Arc<str>,
    to: Arc<str>,
    inside_s: u32,
    route: Option<RouteIx>,
    tariff: model::TariffVersion,
}

/// The usual end of a journey from one station.
pub(super) struct Usual {
    /// In the numbering of the tap-in's tariff.
    pub(super) place: PlaceIx,
    /// The quickest of those journeys: never dearer for the rider.
    pub(super) inside_s: u32,
    /// Of the newest of those journeys, where its tariff is the same.
    pub(super) route: Option<RouteIx>,
    pub(super) ended: u32,
    pub(super) of: u32,
}

impl Pattern {
    /// A tap-out of the journey that `entry` began.
    pub(super) fn ended(
        &mut self,
        set: &TariffSet,
        day: ServiceDate,
        entry: &LastTap,
        exit: &Past,
    ) {
        let id = |version, place| {
            set.get(version).and_then(|tariff| Some(Arc::clone(&tariff.place(place)?.id)))
        };
        let (from, to) = (id(entry.tariff, entry.place), id(exit.record.tariff, exit.record.place));
        // Who turned around at the gates went nowhere.
        if let (Some(from), Some(to)) = (from, to)
            && from != to
        {
            let inside = exit.record.at().secs().saturating_sub(entry.at.secs());
            let inside_s = u32::try_from(inside).unwrap_or(u32::MAX);
            let (route, tariff) = (exit.route, exit.record.tariff);
            self.journeys.push(Ended { day, from, to, inside_s, route, tariff });
        }
    }

    /// Whether the month of `day` has a repair left.
    pub(super) fn may_repair(&self, rule: &RepairRule, day: ServiceDate) -> bool {
        self.repairs.get(&month(day)).copied().unwrap_or(0) < rule.per_month
    }

    /// Counts a repair.
    pub(super) fn repaired(&mut self, day: ServiceDate) {
        *self.repairs.entry(month(day)).or_default() += 1;
    }

    /// Where the rider usually ends a journey like the one that `entry` began on `day`.
    pub(super) fn usual(
        &self,
        set: &TariffSet,
        rule: &RepairRule,
        day: ServiceDate,
        entry: &LastTap,
    ) -> Option<Usual> {
        let tariff = set.get(entry.tariff)?;
        let from = &tariff.place(entry.place)?.id;
        let since = ServiceDate(day.0.saturating_sub(rule.days));
        let like = |ended: &&Ended| ended.from == *from && (since..=day).contains(&ended.day);
        let mut ends = BTreeMap::<&str, Vec<&Ended>>::new();
        let mut of = 0_u32;
        for ended in self.journeys.iter().filter(like) {
            ends.entry(&ended.to).or_default().push(ended);
            of += 1;
        }
        let (to, most) = ends.into_iter().max_by_key(|(_, journeys)| journeys.len())?;
        let ended = u32::try_from(most.len()).unwrap_or(u32::MAX);
        let share = u64::from(ended) * 100 >= u64::from(of) * u64::from(rule.percent_min);
        if ended < rule.journeys_min || !share {
            return None;
        }
        let newest = most.last().filter(|newest| newest.tariff == entry.tariff);
        Some(Usual {
            place: tariff.place_ix(to)?,
            inside_s: most.iter().map(|journey| journey.inside_s).min()?,
            route: newest.and_then(|newest| newest.route),
            ended,
            of,
        })
    }
}

fn month(day: ServiceDate) -> (u32, u32) {
    let (year, month, _) = day.civil();
    (year, month)
}
