//! Times at which a network has no fare, because each of its rules is bound to a timeframe and
//! no timeframe holds then: a leg at that time is unknown. Real feeds end a timeframe at 08:59:00
//! and begin the next at 09:00:00; the end is exclusive, so the minute between has no fare.

use std::collections::{BTreeMap, BTreeSet};

use fare::rules::{LegRule, NetworkIx, RuleSet, Service};
use model::ServiceDate;

use super::LEGS;
use crate::diagnostic::{At, Findings};

const DAY_S: u32 = 86_400;
/// Ten years: a service without end is looked at this far.
const DAYS_MAX: u32 = 3660;
const WEEKDAYS: [&str; 7] =
    ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// Which end of a leg is looked at.
type End = (&'static str, fn(&LegRule) -> Option<u16>);

const ENDS: [End; 2] = [
    ("from_timeframe_group_id", |rule| rule.from_time),
    ("to_timeframe_group_id", |rule| rule.to_time),
];

pub(super) fn check_coverage(set: &RuleSet, found: &mut Findings) {
    for (network, id) in (0_u16..).zip(&set.networks) {
        let network = NetworkIx(network);
        let named = set.leg_rules.iter().any(|rule| rule.network == Some(network));
        let holds = |rule: &&LegRule| match rule.network {
            Some(own) => own == network,
            None => set.has_priority || !named,
        };
        let rules: Vec<&LegRule> =
            set.leg_rules.iter().filter(|rule| !rule.dead).filter(holds).collect();
        let Some(first) = rules.first() else { continue };
        for (field, timeframe) in ENDS {
            let groups: Option<BTreeSet<u16>> = rules.iter().map(|rule| timeframe(rule)).collect();
            // A rule without timeframe holds at any time.
            let Some(groups) = groups else { continue };
            for gap in gaps(set, &groups) {
                let at = At::field(LEGS, u64::from(first.row), field);
                found.warning("times_not_covered", at, gap.message(id));
            }
        }
    }
}

/// Times of the day without a timeframe, and on which dates.
struct Gap {
    from_s: u32,
    to_s: u32,
    dates: u32,
    first: ServiceDate,
    weekdays: BTreeSet<usize>,
}

impl Gap {
    fn message(&self, network: &str) -> String {
        let days: Vec<&str> = self.weekdays.iter().map(|day| WEEKDAYS[*day]).collect();
        format!(
            "no timeframe of network {network:?} holds from {} to {} on {} {}, first on {} \
             ({}): a leg then has no fare. The end of a timeframe is exclusive",
            clock(self.from_s),
            clock(self.to_s),
            self.dates,
            if self.dates == 1 { "date" } else { "dates" },
            self.first,
            days.join(", ")
        )
    }
}

fn clock(secs: u32) -> String {
    format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
}

fn gaps(set: &RuleSet, groups: &BTreeSet<u16>) -> Vec<Gap> {
    let rows: Vec<_> = groups
        .iter()
        .flat_map(|group| &set.timeframes[usize::from(*group)].rows)
        .filter_map(|row| Some((row.service?, row.start_s, row.end_s)))
        .collect();
    let services: BTreeSet<u16> = rows.iter().map(|(service, ..)| *service).collect();
    let services: BTreeMap<u16, &Service> =
        services.into_iter().map(|ix| (ix, &set.services[usize::from(ix)])).collect();
    let Some((first, last)) = period(services.values().copied()) else { return Vec::new() };
    let mut found: BTreeMap<(u32, u32), Gap> = BTreeMap::new();
    for date in first.0..=last.0.min(first.0.saturating_add(DAYS_MAX)) {
        let date = ServiceDate(date);
        let mut held: Vec<(u32, u32)> = rows
            .iter()
            .filter(|(service, ..)| services[service].runs_on(date))
            .map(|(_, start_s, end_s)| (*start_s, *end_s))
            .collect();
        held.sort_unstable();
        held.push((DAY_S, DAY_S));
        let mut covered_s = 0;
        for (start_s, end_s) in held {
            if start_s > covered_s {
                let gap = found.entry((covered_s, start_s)).or_insert_with(|| Gap {
                    from_s: covered_s,
                    to_s: start_s,
                    dates: 0,
                    first: date,
                    weekdays: BTreeSet::new(),
                });
                gap.dates += 1;
                // 1 January 1970 was a Thursday.
                gap.weekdays.insert((date.0 as usize + 3) % 7);
            }
            covered_s = covered_s.max(end_s);
        }
    }
    found.into_values().collect()
}

/// The first and last date on which any of the services may run.
fn period<'a>(
    services: impl Iterator<Item = &'a Service> + Clone,
) -> Option<(ServiceDate, ServiceDate)> {
    let dates = services.flat_map(|service| {
        let weekly = service.period.filter(|_| service.weekdays.contains(&true));
        let weekly = weekly.into_iter().flat_map(|(first, last)| [first, last]);
        weekly.chain(service.added.iter().copied())
    });
    Some((dates.clone().min()?, dates.max()?))
}
