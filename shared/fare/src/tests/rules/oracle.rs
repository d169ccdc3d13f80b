//! A second reading of the GTFS reference, written without the first: every leg rule is matched
//! anew, and every choice of rule, product and transfer is tried.

use alloc::{vec, vec::Vec};

use model::Timestamp;

use crate::rules::{
    AreaIx, DurationSpan, LegRule, NetworkIx, Ride, RuleSet, StopIx, TransferKind, Who,
};

/// (rides without a fare, cents) of the best choice.
pub(super) fn oracle(set: &RuleSet, rides: &[Ride], who: Who) -> (usize, i64) {
    let mut legs: Vec<Vec<Ride>> = Vec::new();
    for ride in rides {
        match legs.last_mut() {
            Some(leg) if joined(set, leg[leg.len() - 1], *ride) => leg.push(*ride),
            _ => legs.push(vec![*ride]),
        }
    }
    best(set, &legs, who, 0, None)
}

fn network(set: &RuleSet, ride: Ride) -> Option<NetworkIx> {
    set.routes[usize::from(ride.route.0)].network
}

fn joined(set: &RuleSet, a: Ride, b: Ride) -> bool {
    let station = |stop: StopIx| set.stops[stop.0 as usize].station;
    let (Some(before), Some(after)) = (network(set, a), network(set, b)) else { return false };
    set.join_rules.iter().any(|join| {
        join.from == Some(before)
            && join.to == Some(after)
            && join.stops.is_none()
            && station(a.to) == station(b.from)
    })
}

struct Held {
    first: usize,
    group: Option<u16>,
    product: u16,
    in_a_row: u32,
    paid: Option<i64>,
}

fn best(
    set: &RuleSet,
    legs: &[Vec<Ride>],
    who: Who,
    at: usize,
    held: Option<&Held>,
) -> (usize, i64) {
    let Some(leg) = legs.get(at) else { return (0, 0) };
    let mut ways: Vec<(usize, i64)> = Vec::new();
    for rule in matching(set, leg) {
        for own in prices(set, rule.product, who) {
            let transfers = transfers(set, legs, at, held, rule, who);
            for (kind, ab, in_a_row) in &transfers {
                let held = held.unwrap();
                let cost = match kind {
                    TransferKind::InsteadOfNext => *ab,
                    TransferKind::BesidesNext => ab + own,
                    TransferKind::InsteadOfBoth => ab - held.paid.unwrap_or(0),
                };
                let next = Held {
                    first: held.first,
                    group: rule.group,
                    product: rule.product,
                    in_a_row: *in_a_row,
                    paid: None,
                };
                let (unknown, rest) = best(set, legs, who, at + 1, Some(&next));
                ways.push((unknown, cost + rest));
            }
            if transfers.is_empty() && !rule.transfer_only {
                let next = Held {
                    first: at,
                    group: rule.group,
                    product: rule.product,
                    in_a_row: 0,
                    paid: Some(own),
                };
                let (unknown, rest) = best(set, legs, who, at + 1, Some(&next));
                ways.push((unknown, own + rest));
            }
        }
    }
    ways.into_iter().min().unwrap_or_else(|| {
        let (unknown, rest) = best(set, legs, who, at + 1, None);
        (unknown + leg.len(), rest)
    })
}

fn matching<'s>(set: &'s RuleSet, leg: &[Ride]) -> Vec<&'s LegRule> {
    let (first, last) = (leg[0], leg[leg.len() - 1]);
    let networks: Vec<_> = leg.iter().map(|ride| network(set, *ride)).collect();
    let one = networks.iter().all(|network| *network == networks[0]).then_some(networks[0]);
    let area = |wanted: Option<AreaIx>, stop: StopIx, column: fn(&LegRule) -> Option<AreaIx>| {
        let areas = &set.stops[stop.0 as usize].areas;
        match wanted {
            Some(wanted) => areas.contains(&wanted),
            None if set.has_priority => true,
            None => !set.leg_rules.iter().filter_map(column).any(|named| areas.contains(&named)),
        }
    };
    let time = |wanted: Option<u16>, stop: StopIx, at: Timestamp| {
        let Some(wanted) = wanted else { return true };
        let stop = &set.stops[stop.0 as usize];
        let local = set.zones[usize::from(stop.zone)].local(at);
        set.timeframes[usize::from(wanted)].rows.iter().any(|row| {
            row.start_s <= local.secs
                && local.secs < row.end_s
                && row.service.is_some_and(|s| set.services[usize::from(s)].runs_on(local.date))
        })
    };
    let matches = |rule: &&LegRule| {
        let by_network = match rule.network {
            Some(wanted) => one == Some(Some(wanted)),
            None if set.has_priority => true,
            None => !set
                .leg_rules
                .iter()
                .filter_map(|rule| rule.network)
                .any(|named| networks.contains(&Some(named))),
        };
        !rule.dead
            && by_network
            && area(rule.from, first.from, |rule| rule.from)
            && area(rule.to, last.to, |rule| rule.to)
            && time(rule.from_time, first.from, first.departs)
            && time(rule.to_time, last.to, last.arrives)
    };
    let all: Vec<&LegRule> = set.leg_rules.iter().filter(matches).collect();
    let most = all.iter().map(|rule| rule.priority).max();
    all.into_iter().filter(|rule| !set.has_priority || Some(rule.priority) == most).collect()
}

fn prices(set: &RuleSet, product: u16, who: Who) -> Vec<i64> {
    let rows = set.products[usize::from(product)].variants.iter().filter(|row| {
        let rider = match (row.rider, who.rider) {
            (None, _) => true,
            (Some(row), None) => set.riders[usize::from(row)].is_default,
            (Some(row), Some(is)) => row == is,
        };
        rider && (row.medium.is_none() || who.medium.is_none() || row.medium == who.medium)
    });
    rows.map(|row| row.amount.minor()).collect()
}

/// The transfers that must be taken onto a leg paid by `rule`: kind, product's price, how many
/// in a row.
fn transfers(
    set: &RuleSet,
    legs: &[Vec<Ride>],
    at: usize,
    held: Option<&Held>,
    rule: &LegRule,
    who: Who,
) -> Vec<(TransferKind, i64, u32)> {
    let Some(held) = held else { return Vec::new() };
    let (Some(from), Some(to)) = (held.group, rule.group) else { return Vec::new() };
    let in_a_row = if from == to { held.in_a_row + 1 } else { 0 };
    let (first, last) = (&legs[held.first], &legs[at]);
    let departs = |leg: &[Ride]| leg[0].departs.secs();
    let arrives = |leg: &[Ride]| leg[leg.len() - 1].arrives.secs();
    let mut found = Vec::new();
    for t in set.transfer_rules.iter().filter(|t| !t.dead) {
        let names_from = set.transfer_rules.iter().any(|other| other.from == Some(from));
        let names_to = set.transfer_rules.iter().any(|other| other.to == Some(to));
        let groups = t.from.map_or(!names_from, |group| group == from)
            && t.to.map_or(!names_to, |group| group == to);
        let in_time = t.limit.is_none_or(|(limit_s, span)| {
            let (a, b) = match span {
                DurationSpan::DepartureToArrival => (departs(first), arrives(last)),
                DurationSpan::DepartureToDeparture => (departs(first), departs(last)),
                DurationSpan::ArrivalToDeparture => (arrives(first), departs(last)),
                DurationSpan::ArrivalToArrival => (arrives(first), arrives(last)),
            };
            b.saturating_sub(a) <= u64::from(limit_s)
        });
        let held_it = t.holding.is_none_or(|product| product == held.product);
        let counted = t.count.is_none_or(|most| in_a_row <= most);
        if !(groups && in_time && held_it && counted) {
            continue;
        }
        let ab = t.product.map_or(vec![0], |product| prices(set, product, who));
        if let Some(ab) = ab.into_iter().min() {
            found.push((t.count.unwrap_or(u32::MAX), (t.kind, ab, in_a_row)));
        }
    }
    let smallest = found.iter().map(|(count, _)| *count).min();
    found.into_iter().filter(|(count, _)| Some(*count) == smallest).map(|(_, way)| way).collect()
}
