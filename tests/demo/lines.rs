//! The network as riders use it: which validators stand where, how long a ride takes, where buses
//! are when.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, BinaryHeap},
};

use fare::Tariff;
use gtfs::{Network, Pattern};
use model::{PlaceIx, RouteIx, TapRole};

/// Buses run by default.
const BUSES: u32 = 22;
/// Validators by default, at most.
const VALIDATORS_MAX: u32 = 120;
/// A stop takes at least this long.
const STEP_S: u32 = 30;
/// A bus waits this long at the end of its line.
const LAYOVER_S: u32 = 300;
/// Places nearer than this, in millionths of a degree north plus east, are walked between.
const WALK_E6: u32 = 4_500;

/// One direction of a bus line.
#[derive(Debug, Clone)]
pub struct Line {
    /// Its route.
    pub route: RouteIx,
    /// Stops in order.
    pub places: Vec<PlaceIx>,
    /// Seconds from the first stop.
    pub offsets_s: Vec<u32>,
    /// The other direction.
    pub back: usize,
}

/// One call of a bus at a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// Seconds since the round began.
    pub at_s: u32,
    /// Which line.
    pub line: usize,
    /// Which of its stops.
    pub stop: usize,
}

/// A bus: its round, and how far into it the day begins.
#[derive(Debug, Clone)]
pub struct Bus {
    /// Its validator.
    pub post: usize,
    /// Calls of one round, in order.
    pub calls: Vec<Call>,
    /// One round.
    pub round_s: u32,
    /// Where in its round it is when the day begins.
    pub phase_s: u32,
}

/// Where a validator stands and what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Post {
    /// What it does.
    pub role: TapRole,
    /// Where, at first.
    pub place: PlaceIx,
    /// On a bus.
    pub route: Option<RouteIx>,
}

/// Everything that is served.
#[derive(Debug, Clone, Default)]
pub struct Lines {
    /// Validators.
    pub posts: Vec<Post>,
    /// Stations with gates here, and their posts: entry, exit.
    pub gates: BTreeMap<PlaceIx, [usize; 2]>,
    /// Seconds between stations with a known fare.
    pub rides_s: BTreeMap<(PlaceIx, PlaceIx), u32>,
    /// Bus lines.
    pub lines: Vec<Line>,
    /// Buses.
    pub buses: Vec<Bus>,
    /// (line, stop) ↔ station within a walk.
    pub walks: Vec<(usize, usize, PlaceIx)>,
}

/// Plans which parts of the network so many validators serve.
pub fn plan(network: &Network, tariff: &Tariff, validators: Option<u32>) -> Lines {
    let all = stations(network, tariff);
    let routes = flat_routes(network, tariff);
    let gates_wanted = 2 * u32::try_from(all.len()).unwrap_or(u32::MAX / 4);
    let buses_wanted = if routes.is_empty() { 0 } else { BUSES };
    let total = validators.unwrap_or((gates_wanted + buses_wanted).clamp(2, VALIDATORS_MAX));
    let buses = match (all.len(), routes.len()) {
        (_, 0) => 0,
        (0, _) => total,
        _ => total.saturating_sub(gates_wanted).max(total.min(BUSES + 2) / 3).min(total),
    };
    let mut this = Lines::default();
    this.open_gates(&all, usize::try_from((total - buses) / 2).unwrap_or(0));
    this.measure(network, tariff);
    this.run_buses(&routes, usize::try_from(buses).unwrap_or(0));
    this.find_walks(tariff);
    this
}

/// Stations from which some other one can be paid.
fn stations(network: &Network, tariff: &Tariff) -> Vec<PlaceIx> {
    let Some(gate) = tariff.gate() else { return Vec::new() };
    let flat = |route: &&gtfs::NetworkRoute| tariff.flat_product(route.ix).is_none();
    let served: BTreeSet<PlaceIx> = network
        .routes
        .iter()
        .filter(flat)
        .flat_map(|route| route.patterns.iter().flat_map(|p| p.places.iter().copied()))
        .collect();
    let pays = |from: &PlaceIx| {
        gate.places.iter().any(|to| to != from && tariff.gate_product(*from, *to).is_some())
    };
    gate.places.iter().copied().filter(|place| served.contains(place) && pays(place)).collect()
}

/// Routes paid by boarding, with their directions.
fn flat_routes(network: &Network, tariff: &Tariff) -> Vec<(RouteIx, Vec<Pattern>)> {
    let directions = |route: &gtfs::NetworkRoute| {
        let mut seen = BTreeSet::new();
        let busiest = route.patterns.iter().filter(|p| p.places.len() > 1);
        let busiest: Vec<Pattern> = busiest.filter(|p| seen.insert(p.direction)).cloned().collect();
        (route.ix, busiest)
    };
    network
        .routes
        .iter()
        .filter(|route| tariff.flat_product(route.ix).is_some())
        .map(directions)
        .filter(|(_, patterns)| !patterns.is_empty())
        .collect()
}

impl Lines {
    /// Opens so many stations, spread over all.
    fn open_gates(&mut self, all: &[PlaceIx], count: usize) {
        let count = count.min(all.len());
        for i in 0..count {
            let place = all[i * all.len() / count];
            let first = self.posts.len();
            let post = |role| Post { role, place, route: None };
            self.posts.extend([post(TapRole::Entry), post(TapRole::Exit)]);
            self.gates.insert(place, [first, first + 1]);
        }
    }

    /// Shortest rides between open stations whose fare is known.
    fn measure(&mut self, network: &Network, tariff: &Tariff) {
        let mut edges: BTreeMap<PlaceIx, BTreeMap<PlaceIx, u32>> = BTreeMap::new();
        for pattern in network.routes.iter().flat_map(|route| &route.patterns) {
            for (places, times) in pattern.places.windows(2).zip(pattern.offsets_s.windows(2)) {
                let takes = times[1].saturating_sub(times[0]).max(STEP_S);
                let known = edges.entry(places[0]).or_default().entry(places[1]).or_insert(takes);
                *known = takes.min(*known);
            }
        }
        for from in self.gates.keys() {
            for (to, takes) in shortest(&edges, *from) {
                let paid = tariff.gate_product(*from, to).is_some();
                if to != *from && paid && self.gates.contains_key(&to) {
                    self.rides_s.insert((*from, to), takes);
                }
            }
        }
    }

    fn run_buses(&mut self, routes: &[(RouteIx, Vec<Pattern>)], count: usize) {
        let routes = &routes[..routes.len().min(count)];
        for (n, (route, patterns)) in routes.iter().enumerate() {
            let first = self.lines.len();
            for (i, pattern) in patterns.iter().enumerate() {
                let mut offsets_s = vec![0];
                for times in pattern.offsets_s.windows(2) {
                    let step = times[1].saturating_sub(times[0]).max(STEP_S);
                    offsets_s.push(offsets_s[offsets_s.len() - 1] + step);
                }
                let back = first + (i + 1) % patterns.len();
                let places = pattern.places.clone();
                self.lines.push(Line { route: *route, places, offsets_s, back });
            }
            let (calls, round_s) = self.round(first, patterns.len());
            let fleet = count / routes.len() + usize::from(n < count % routes.len());
            for bus in 0..fleet {
                let phase = u64::from(round_s) * bus as u64 / fleet as u64;
                let (place, post) = (self.lines[first].places[0], self.posts.len());
                self.posts.push(Post { role: TapRole::Board, place, route: Some(*route) });
                let phase_s = u32::try_from(phase).unwrap_or(0);
                self.buses.push(Bus { post, calls: calls.clone(), round_s, phase_s });
            }
        }
    }

    fn round(&self, first: usize, lines: usize) -> (Vec<Call>, u32) {
        let (mut calls, mut begins_s) = (Vec::new(), 0);
        for line in first..first + lines {
            let offsets = &self.lines[line].offsets_s;
            let call = |(stop, offset)| Call { at_s: begins_s + offset, line, stop };
            calls.extend(offsets.iter().copied().enumerate().map(call));
            begins_s += offsets[offsets.len() - 1] + LAYOVER_S;
        }
        (calls, begins_s)
    }

    fn find_walks(&mut self, tariff: &Tariff) {
        let position = |place: PlaceIx| tariff.place(place).map(|p| (p.lat_e6, p.lon_e6));
        for (i, line) in self.lines.iter().enumerate() {
            for (stop, place) in line.places.iter().enumerate() {
                for station in self.gates.keys() {
                    let (Some(a), Some(b)) = (position(*place), position(*station)) else {
                        continue;
                    };
                    if a.0.abs_diff(b.0) + a.1.abs_diff(b.1) < WALK_E6 {
                        self.walks.push((i, stop, *station));
                    }
                }
            }
        }
    }

    /// The stops of the way back: from where the ride ended to where it began.
    pub fn back(&self, line: usize, from: usize, to: usize) -> Option<(usize, usize, usize)> {
        let there = &self.lines[line];
        let back = &self.lines[there.back].places;
        let start = back.iter().position(|place| *place == there.places[to])?;
        let end = back.iter().rposition(|place| *place == there.places[from])?;
        (start < end).then_some((there.back, start, end))
    }
}

/// Dijkstra's shortest paths.
fn shortest(
    edges: &BTreeMap<PlaceIx, BTreeMap<PlaceIx, u32>>,
    from: PlaceIx,
) -> BTreeMap<PlaceIx, u32> {
    let mut known = BTreeMap::new();
    let mut open = BinaryHeap::from([Reverse((0, from))]);
    while let Some(Reverse((takes, place))) = open.pop() {
        if known.contains_key(&place) {
            continue;
        }
        known.insert(place, takes);
        for (next, step) in edges.get(&place).into_iter().flatten() {
            open.push(Reverse((takes + step, *next)));
        }
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::{Options, feed};
    use clap::Parser;

    fn lines(validators: Option<u32>) -> Lines {
        let city = feed::load(&Options::parse_from(["demo"])).unwrap();
        plan(&city.network, &city.tariff, validators)
    }

    #[test]
    fn the_shipped_city_has_fifty_validators_and_every_station_is_reached() {
        let lines = lines(None);
        assert_eq!((lines.posts.len(), lines.gates.len(), lines.buses.len()), (50, 14, 22));
        assert_eq!(lines.rides_s.len(), 14 * 13);
        assert!(lines.walks.len() > 10);
        for bus in &lines.buses {
            assert_eq!(lines.posts[bus.post].role, TapRole::Board);
            assert!(bus.calls.is_sorted_by_key(|call| call.at_s) && bus.phase_s < bus.round_s);
        }
    }

    #[test]
    fn fewer_validators_serve_less_and_no_more_are_made_than_asked_for() {
        for count in [2, 3, 9, 20, 49, 200] {
            let lines = lines(Some(count));
            assert!(lines.posts.len() <= usize::try_from(count).unwrap());
            assert!(!lines.posts.is_empty(), "{count}");
        }
    }
}
