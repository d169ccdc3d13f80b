//! The orders of stops that trips of each route run, platform by platform.
//!
//! A feed without a timetable has fares all the same: nothing here is required.

use std::collections::{BTreeMap, BTreeSet};

use fare::rules::StopIx;

use crate::{
    Feed,
    base::Base,
    csv_table::{Column, read_optional},
    diagnostic::Findings,
};

struct Trip {
    route: u16,
    /// (`stop_sequence`, stop).
    stops: Vec<(u32, StopIx)>,
}

/// Per route, its different orders of stops.
pub(crate) fn read_stop_orders(
    feed: &Feed,
    base: &Base,
    found: &mut Findings,
) -> Vec<Vec<Vec<StopIx>>> {
    const TRIPS: [Column; 2] = [("trip_id", true), ("route_id", true)];
    const TIMES: [Column; 3] = [("trip_id", true), ("stop_sequence", true), ("stop_id", true)];
    let mut trips: Vec<Trip> = Vec::new();
    let mut trip_of: BTreeMap<String, usize> = BTreeMap::new();
    read_optional(feed, "trips.txt", &TRIPS, found, |row, found| {
        let [id, route] = row.fields();
        let Some(route_ix) = base.route_of.get(route) else {
            let message = format!("there is no route {route:?}");
            return found.error("foreign_key_violation", row.of("route_id"), message);
        };
        if trip_of.contains_key(id) {
            let message = format!("trip {id:?} stands twice");
            return found.error("duplicate_key", row.of("trip_id"), message);
        }
        trip_of.insert(id.to_owned(), trips.len());
        trips.push(Trip { route: route_ix.0, stops: Vec::new() });
    });
    // Rows of a trip stand together in nearly every feed: one look-up per trip, not per row.
    let mut latest: (String, Option<usize>) = (String::new(), None);
    read_optional(feed, "stop_times.txt", &TIMES, found, |row, found| {
        let [trip, sequence, stop] = row.fields();
        if latest.1.is_none() || latest.0 != trip {
            latest = (trip.to_owned(), trip_of.get(trip).copied());
        }
        let Some(trip) = latest.1.and_then(|ix| trips.get_mut(ix)) else {
            let message = format!("there is no trip {trip:?}");
            return found.error("foreign_key_violation", row.of("trip_id"), message);
        };
        // A trip on demand stops in an area or a group of places instead.
        if stop.is_empty() {
            return;
        }
        let Some(stop) = base.refer_stop(stop, row.of("stop_id"), found) else { return };
        let Ok(sequence) = sequence.parse() else {
            let message = format!("{sequence:?} is no whole number");
            return found.error("invalid_integer", row.of("stop_sequence"), message);
        };
        trip.stops.push((sequence, stop));
    });
    let mut orders: Vec<BTreeSet<Vec<StopIx>>> = vec![BTreeSet::new(); base.routes.len()];
    for mut trip in trips {
        trip.stops.sort_by_key(|(sequence, _)| *sequence);
        if trip.stops.len() > 1 {
            let order = trip.stops.into_iter().map(|(_, stop)| stop).collect();
            orders[usize::from(trip.route)].insert(order);
        }
    }
    orders.into_iter().map(|orders| orders.into_iter().collect()).collect()
}
