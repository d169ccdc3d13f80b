//! Leg rules that no journey can meet, each with the reason.

use std::collections::BTreeSet;

use fare::rules::{AreaIx, LegRule, NetworkIx, RuleSet, StopIx};

use super::LEGS;
use crate::diagnostic::{At, Findings};

/// The orders of stops of each route; empty without a timetable.
type Orders<'a> = &'a [Vec<Vec<StopIx>>];

pub(super) fn check_reach(set: &RuleSet, orders: Orders<'_>, found: &mut Findings) {
    let facts = Facts::new(set, orders);
    let mut times: BTreeSet<u16> = BTreeSet::new();
    for (ix, frame) in (0_u16..).zip(&set.timeframes) {
        let ever = |service: u16| {
            let service = &set.services[usize::from(service)];
            let weekly = service.period.is_some_and(|(first, last)| first <= last)
                && service.weekdays.contains(&true);
            weekly || !service.added.is_empty()
        };
        let holds =
            frame.rows.iter().any(|row| row.start_s < row.end_s && row.service.is_some_and(ever));
        if holds {
            times.insert(ix);
        }
    }
    for rule in set.leg_rules.iter().filter(|rule| !rule.dead) {
        let timely = |time: Option<u16>| time.is_none_or(|time| times.contains(&time));
        let reason = if !facts.some_network(rule) {
            Some(("network_id", "no route is in a network that it is for".to_owned()))
        } else if !facts.some_area(rule.from, &facts.from_named) {
            Some(("from_area_id", "no stop is in an area that it starts from".to_owned()))
        } else if !facts.some_area(rule.to, &facts.to_named) {
            Some(("to_area_id", "no stop is in an area that it ends in".to_owned()))
        } else if !timely(rule.from_time) {
            Some(("from_timeframe_group_id", "its timeframe never holds".to_owned()))
        } else if !timely(rule.to_time) {
            Some(("to_timeframe_group_id", "its timeframe never holds".to_owned()))
        } else if let Some(other) = shadow(set, rule) {
            let message =
                format!("row {} holds wherever it does, with a higher priority", other.row);
            Some(("rule_priority", message))
        } else if !facts.some_trip(rule) {
            let message = "no trip of its network goes from a stop of the one area to a stop of \
                           the other";
            Some(("from_area_id", message.to_owned()))
        } else {
            None
        };
        if let Some((field, why)) = reason {
            let at = At::field(LEGS, u64::from(rule.row), field);
            found.warning("unreachable_rule", at, format!("no journey can meet this rule: {why}"));
        }
    }
}

/// A rule that always outranks this one.
fn shadow<'a>(set: &'a RuleSet, rule: &LegRule) -> Option<&'a LegRule> {
    fn covers<T: Copy + PartialEq>(wide: Option<T>, narrow: Option<T>) -> bool {
        wide.is_none() || wide == narrow
    }
    let outranks = |other: &&LegRule| {
        other.priority > rule.priority
            && !other.dead
            && (!other.transfer_only || rule.transfer_only)
            && covers(other.network, rule.network)
            && covers(other.from, rule.from)
            && covers(other.to, rule.to)
            && covers(other.from_time, rule.from_time)
            && covers(other.to_time, rule.to_time)
    };
    set.leg_rules.iter().filter(|_| set.has_priority).find(outranks)
}

struct Facts<'a> {
    set: &'a RuleSet,
    orders: Orders<'a>,
    networks_named: BTreeSet<NetworkIx>,
    from_named: BTreeSet<AreaIx>,
    to_named: BTreeSet<AreaIx>,
}

impl<'a> Facts<'a> {
    fn new(set: &'a RuleSet, orders: Orders<'a>) -> Self {
        Self {
            set,
            orders,
            networks_named: set.leg_rules.iter().filter_map(|rule| rule.network).collect(),
            from_named: set.leg_rules.iter().filter_map(|rule| rule.from).collect(),
            to_named: set.leg_rules.iter().filter_map(|rule| rule.to).collect(),
        }
    }

    fn in_network(&self, rule: &LegRule, route: usize) -> bool {
        let own = self.set.routes[route].network;
        match rule.network {
            Some(network) => own == Some(network),
            None => {
                self.set.has_priority || own.is_none_or(|own| !self.networks_named.contains(&own))
            }
        }
    }

    fn some_network(&self, rule: &LegRule) -> bool {
        (0..self.set.routes.len()).any(|route| self.in_network(rule, route))
    }

    /// Whether a stop is where a rule begins or ends. An empty area is any that is not named: a
    /// stop that is in one that is named is out, and one that is in none is in.
    fn in_area(&self, stop: StopIx, area: Option<AreaIx>, named: &BTreeSet<AreaIx>) -> bool {
        let areas = &self.set.stops[stop.0 as usize].areas;
        match area {
            Some(area) => areas.contains(&area),
            None => self.set.has_priority || areas.iter().all(|area| !named.contains(area)),
        }
    }

    fn some_area(&self, area: Option<AreaIx>, named: &BTreeSet<AreaIx>) -> bool {
        let stops = 0..u32::try_from(self.set.stops.len()).unwrap_or(u32::MAX);
        stops.map(StopIx).any(|stop| self.in_area(stop, area, named))
    }

    /// Whether a trip goes from the one area to the other. True where that cannot be told: joined
    /// legs begin and end elsewhere, and routes may run on demand.
    fn some_trip(&self, rule: &LegRule) -> bool {
        if !self.set.join_rules.is_empty() || rule.from.is_none() && rule.to.is_none() {
            return true;
        }
        let goes = |order: &Vec<StopIx>| {
            let mut stops = order.iter();
            let starts = stops.any(|stop| self.in_area(*stop, rule.from, &self.from_named));
            starts && stops.any(|stop| self.in_area(*stop, rule.to, &self.to_named))
        };
        let own = |route: &usize| self.in_network(rule, *route);
        (0..self.set.routes.len())
            .filter(own)
            .any(|route| self.orders[route].is_empty() || self.orders[route].iter().any(goes))
    }
}
