//! Dates and times of day, as classes that timeframes cannot tell apart.

use alloc::{collections::BTreeSet, vec, vec::Vec};
use core::mem::size_of;

use model::{ServiceDate, Timestamp};

use super::{RuleSet, ZoneOffsets};

const DAY_S: u32 = 86_400;

/// Moments → classes of timeframes that hold then.
#[derive(Debug, Clone, Default)]
pub(super) struct TimeTable {
    /// The date of the first entry of `days`.
    first: u32,
    /// Per date: the class of the day.
    days: Vec<u16>,
    /// The class of every other date: no service runs.
    otherwise: u16,
    /// Per class of day: (from second of the day, time class), ascending.
    classes: Vec<Vec<(u32, u16)>>,
    /// Per time class: the timeframes that hold.
    pub(super) holds: Vec<Vec<bool>>,
}

impl TimeTable {
    pub(super) fn new(set: &RuleSet) -> Self {
        let (first, days, sets) = day_classes(set);
        let mut holds: Vec<Vec<bool>> = Vec::new();
        let mut classes = Vec::with_capacity(sets.len());
        for services in &sets {
            let rows = || {
                let all = set.timeframes.iter().enumerate();
                let rows =
                    all.flat_map(|(group, frame)| frame.rows.iter().map(move |r| (group, r)));
                rows.filter(|(_, row)| row.service.is_some_and(|s| services[usize::from(s)]))
            };
            let mut edges: BTreeSet<u32> = BTreeSet::from([0]);
            edges.extend(rows().flat_map(|(_, row)| [row.start_s, row.end_s]));
            edges.retain(|edge| *edge < DAY_S);
            let class = |at: u32, holds: &mut Vec<Vec<bool>>| {
                let mut held = vec![false; set.timeframes.len()];
                for (group, row) in rows() {
                    held[group] |= (row.start_s..row.end_s).contains(&at);
                }
                let known = holds.iter().position(|other| *other == held);
                u16::try_from(known.unwrap_or_else(|| {
                    holds.push(held);
                    holds.len() - 1
                }))
                .unwrap_or(u16::MAX)
            };
            classes.push(edges.into_iter().map(|edge| (edge, class(edge, &mut holds))).collect());
        }
        let otherwise = sets.iter().position(|services| !services.contains(&true));
        let otherwise = u16::try_from(otherwise.unwrap_or(0)).unwrap_or(0);
        Self { first, days, otherwise, classes, holds }
    }

    /// Bytes that it takes.
    pub(super) fn bytes(&self) -> usize {
        let classes = self.classes.iter().map(|day| day.len() * size_of::<(u32, u16)>());
        classes.sum::<usize>() + self.days.len() * size_of::<u16>()
    }

    pub(super) fn class_at(&self, zone: &ZoneOffsets, at: Timestamp) -> u16 {
        let local = zone.local(at);
        let day = local.date.0.checked_sub(self.first).and_then(|i| self.days.get(i as usize));
        let edges = &self.classes[usize::from(*day.unwrap_or(&self.otherwise))];
        let after = edges.partition_point(|(from, _)| *from <= local.secs);
        edges[after - 1].1
    }
}

/// First date, class per date, and per class which services run. Class 0 is "none runs".
fn day_classes(set: &RuleSet) -> (u32, Vec<u16>, Vec<Vec<bool>>) {
    let mut sets = vec![vec![false; set.services.len()]];
    let dates = set.services.iter().flat_map(|service| {
        let period = service.period.into_iter().flat_map(|(first, last)| [first, last]);
        period.chain(service.added.iter().copied())
    });
    let (mut first, mut last) = (u32::MAX, 0);
    for date in dates {
        first = first.min(date.0);
        last = last.max(date.0);
    }
    let mut days = Vec::new();
    for date in first..=last {
        let runs: Vec<bool> =
            set.services.iter().map(|service| service.runs_on(ServiceDate(date))).collect();
        let known = sets.iter().position(|other| *other == runs);
        let class = known.unwrap_or_else(|| {
            sets.push(runs);
            sets.len() - 1
        });
        days.push(u16::try_from(class).unwrap_or(u16::MAX));
    }
    (first, days, sets)
}
