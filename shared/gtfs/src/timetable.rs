//! Trips and stop times, summarised: one pattern per route, direction and order of places.

use std::collections::BTreeMap;

use model::PlaceIx;

use crate::{
    Feed, Pattern,
    csv_table::{Column, read},
    dates::clock,
    diagnostic::Findings,
    network::Tables,
};

struct Trip {
    route: u16,
    service: u32,
    direction: u8,
    headsign: String,
    /// (`stop_sequence`, place, departure).
    times: Vec<(u32, u16, Option<u32>)>,
    /// Departures that frequencies.txt gives instead of the trip's own.
    departures: Vec<u32>,
}

/// Per route: its patterns, most trips first.
pub(crate) fn read_patterns(
    feed: &Feed,
    tables: &Tables,
    found: &mut Findings,
) -> Vec<Vec<Pattern>> {
    let (mut trips, trip_of) = read_trips(feed, tables, found);
    read_stop_times(feed, tables, &mut trips, &trip_of, found);
    if feed.has("frequencies.txt") {
        read_frequencies(feed, &mut trips, &trip_of, found);
    }
    summarise(trips, tables.routes.len())
}

fn read_trips(
    feed: &Feed,
    tables: &Tables,
    found: &mut Findings,
) -> (Vec<Trip>, BTreeMap<String, u32>) {
    const COLUMNS: [Column; 5] = [
        ("trip_id", true),
        ("route_id", true),
        ("service_id", true),
        ("direction_id", false),
        ("trip_headsign", false),
    ];
    let mut trips = Vec::new();
    let mut trip_of = BTreeMap::new();
    let mut services: BTreeMap<String, u32> = BTreeMap::new();
    read(feed, "trips.txt", &COLUMNS, found, |row, found| {
        let Some(route) = tables.route_of.get(row.text(1)).copied() else {
            let message = format!("there is no route {:?}", row.text(1));
            return found.error("foreign_key_violation", row.at(1), message);
        };
        if trip_of.contains_key(row.text(0)) {
            let message = format!("trip {:?} stands twice", row.text(0));
            return found.error("duplicate_key", row.at(0), message);
        }
        let next = u32::try_from(services.len()).unwrap_or(u32::MAX);
        let service = *services.entry(row.text(2).to_owned()).or_insert(next);
        let ix = u32::try_from(trips.len()).unwrap_or(u32::MAX);
        trip_of.insert(row.text(0).to_owned(), ix);
        trips.push(Trip {
            route,
            service,
            direction: u8::from(row.text(3) == "1"),
            headsign: row.text(4).to_owned(),
            times: Vec::new(),
            departures: Vec::new(),
        });
    });
    (trips, trip_of)
}

fn read_stop_times(
    feed: &Feed,
    tables: &Tables,
    trips: &mut [Trip],
    trip_of: &BTreeMap<String, u32>,
    found: &mut Findings,
) {
    const COLUMNS: [Column; 4] =
        [("trip_id", true), ("stop_sequence", true), ("stop_id", true), ("departure_time", false)];
    // Rows of a trip stand together in nearly every feed: one look-up per trip, not per row.
    let mut latest: (String, Option<u32>) = (String::new(), None);
    read(feed, "stop_times.txt", &COLUMNS, found, |row, found| {
        if latest.1.is_none() || latest.0 != row.text(0) {
            latest = (row.text(0).to_owned(), trip_of.get(row.text(0)).copied());
        }
        let Some(trip) = latest.1.and_then(|ix| trips.get_mut(ix as usize)) else {
            let message = format!("there is no trip {:?}", row.text(0));
            return found.error("foreign_key_violation", row.at(0), message);
        };
        let Some(place) = tables.place_of.get(row.text(2)).copied() else {
            let message = format!("there is no stop {:?}", row.text(2));
            return found.error("foreign_key_violation", row.at(2), message);
        };
        let Ok(sequence) = row.text(1).parse() else {
            let message = format!("{:?} is no whole number", row.text(1));
            return found.error("invalid_value", row.at(1), message);
        };
        let departure = clock(row.text(3));
        if departure.is_none() && !row.text(3).is_empty() {
            let message = format!("{:?} is no time: write HH:MM:SS", row.text(3));
            return found.error("invalid_value", row.at(3), message);
        }
        trip.times.push((sequence, place, departure));
    });
}

fn read_frequencies(
    feed: &Feed,
    trips: &mut [Trip],
    trip_of: &BTreeMap<String, u32>,
    found: &mut Findings,
) {
    const COLUMNS: [Column; 4] =
        [("trip_id", true), ("start_time", true), ("end_time", true), ("headway_secs", true)];
    read(feed, "frequencies.txt", &COLUMNS, found, |row, found| {
        let Some(trip) = trip_of.get(row.text(0)).and_then(|ix| trips.get_mut(*ix as usize)) else {
            let message = format!("there is no trip {:?}", row.text(0));
            return found.error("foreign_key_violation", row.at(0), message);
        };
        let headway_s = row.text(3).parse::<u32>().ok().filter(|s| *s > 0);
        let (start, end) = (clock(row.text(1)), clock(row.text(2)));
        let (Some(start), Some(end), Some(headway_s)) = (start, end, headway_s) else {
            let message = "write HH:MM:SS for the times and seconds above 0 for the headway";
            return found.error("invalid_value", row.at(3), message);
        };
        let step = usize::try_from(headway_s).unwrap_or(usize::MAX);
        trip.departures.extend((start..end).step_by(step));
    });
}

/// Departures of one order of places, by service.
#[derive(Default)]
struct Runs {
    headsign: String,
    offsets_s: Vec<u32>,
    departures: BTreeMap<u32, Vec<u32>>,
}

fn summarise(trips: Vec<Trip>, routes: usize) -> Vec<Vec<Pattern>> {
    let mut runs: BTreeMap<(u16, u8, Vec<u16>), Runs> = BTreeMap::new();
    for mut trip in trips {
        trip.times.sort_by_key(|(sequence, ..)| *sequence);
        let Some(start) = trip.times.first().and_then(|(.., departure)| *departure) else {
            continue;
        };
        let places = trip.times.iter().map(|(_, place, _)| *place).collect();
        let run = runs.entry((trip.route, trip.direction, places)).or_default();
        if run.offsets_s.is_empty() {
            run.headsign = trip.headsign;
            run.offsets_s = offsets(&trip.times, start);
        }
        let departures = run.departures.entry(trip.service).or_default();
        if trip.departures.is_empty() {
            departures.push(start);
        } else {
            departures.extend(trip.departures);
        }
    }
    let mut patterns = vec![Vec::new(); routes];
    for ((route, direction, places), run) in runs {
        let busiest = run.departures.into_values().max_by_key(Vec::len);
        let mut departures = busiest.expect("a run has at least one departure");
        departures.sort_unstable();
        let mut gaps: Vec<_> = departures.windows(2).map(|pair| pair[1] - pair[0]).collect();
        gaps.sort_unstable();
        patterns[usize::from(route)].push(Pattern {
            direction,
            headsign: run.headsign,
            places: places.into_iter().map(PlaceIx).collect(),
            offsets_s: run.offsets_s,
            trips: u32::try_from(departures.len()).unwrap_or(u32::MAX),
            first_s: departures[0],
            last_s: departures[departures.len() - 1],
            headway_s: gaps.get(gaps.len() / 2).copied().unwrap_or(0),
        });
    }
    for list in &mut patterns {
        list.sort_by_key(|pattern| std::cmp::Reverse(pattern.trips));
    }
    patterns
}

/// Seconds from the first departure; a stop without a time takes that of the stop before.
fn offsets(times: &[(u32, u16, Option<u32>)], start: u32) -> Vec<u32> {
    let mut latest = start;
    let offset = |(_, _, departure): &(u32, u16, Option<u32>)| {
        latest = departure.unwrap_or(latest).max(latest);
        latest - start
    };
    times.iter().map(offset).collect()
}
