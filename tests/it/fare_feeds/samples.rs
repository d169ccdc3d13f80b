//! Journeys drawn from a feed's own classes of stops, routes, times, riders and media.

use std::collections::{BTreeMap, BTreeSet};

use fare::rules::{
    Interpreter, JourneyPrice, Ride, RuleSet, RuleTable, StopIx, TicketSet, TicketTable, Who,
    ZoneOffsets,
};
use gtfs::FeedFares;
use model::{RouteIx, ServiceDate, Timestamp};
use rand_chacha::{
    ChaCha8Rng,
    rand_core::{Rng, SeedableRng},
};
use serde_json::{Value, json};

/// A moment as input writes it: service day and clock time.
type Moment = (ServiceDate, u32);

/// A journey with its moments, and whose it is.
pub(super) struct Journey {
    rides: Vec<Ride>,
    who: Who,
}

/// What journeys are drawn from: one stop and one route per class.
pub(super) struct Samples {
    fares: FeedFares,
    stops: Vec<StopIx>,
    routes: Vec<RouteIx>,
    moments: Vec<Moment>,
}

impl Samples {
    pub(super) fn new(fares: FeedFares) -> Self {
        let (stops, routes, moments) = match &fares {
            FeedFares::Rules(set) => (rule_stops(set), rule_routes(set), moments(set)),
            FeedFares::Tickets(set) => {
                let classes: BTreeMap<_, _> =
                    (0..).zip(&set.stops).map(|(ix, stop)| (&stop.zones, StopIx(ix))).collect();
                let routes = (0..set.routes.len()).map(|ix| RouteIx(ix.try_into().unwrap()));
                let noon = (ServiceDate(20_000), 43_200);
                (classes.into_values().collect(), routes.collect(), vec![noon])
            }
        };
        Self { fares, stops, routes, moments }
    }

    pub(super) fn interpret(&self, journey: &Journey) -> JourneyPrice {
        match &self.fares {
            FeedFares::Rules(set) => Interpreter::new(set).price(&journey.rides, journey.who),
            FeedFares::Tickets(set) => set.price(&journey.rides),
        }
    }

    /// Journeys of one to three legs, as input lines and as the rules take them.
    pub(super) fn journeys(&self, count: usize) -> Vec<(Value, Journey)> {
        let mut dice = ChaCha8Rng::seed_from_u64(4);
        (0..count).map(|id| self.journey(id, &mut dice)).collect()
    }

    fn journey(&self, id: usize, dice: &mut ChaCha8Rng) -> (Value, Journey) {
        let (date, mut clock) = *pick(&self.moments, dice);
        let zone = self.zone();
        let who = self.who(dice);
        let mut rides = Vec::new();
        let mut legs = Vec::new();
        for _ in 0..=below(3, dice) {
            let (from, to) = (*pick(&self.stops, dice), *pick(&self.stops, dice));
            let route = *pick(&self.routes, dice);
            let arrives = clock + 60 * u32::try_from(below(90, dice)).unwrap();
            let at = |secs| zone.moment(date, secs);
            rides.push(Ride { route, from, to, departs: at(clock), arrives: at(arrives) });
            let (stop_ids, route_id) = (self.stop_ids(from, to), self.route_id(route));
            legs.push(json!({"route": route_id, "from": stop_ids.0, "to": stop_ids.1,
                             "dep": text(clock), "arr": text(arrives)}));
            clock = arrives + 60 * u32::try_from(below(60, dice)).unwrap();
        }
        let ids = self.who_ids(who);
        let line = json!({"id": id, "date": date.to_string(), "rider": ids.0, "medium": ids.1,
                          "legs": legs});
        (line, Journey { rides, who })
    }

    fn zone(&self) -> &ZoneOffsets {
        match &self.fares {
            FeedFares::Rules(set) => &set.zones[0],
            FeedFares::Tickets(set) => &set.zone,
        }
    }

    fn who(&self, dice: &mut ChaCha8Rng) -> Who {
        let (riders, media) = match &self.fares {
            FeedFares::Rules(set) => (set.riders.len(), set.media.len()),
            FeedFares::Tickets(_) => (0, 0),
        };
        let mut any = |count: usize| {
            let ix = below(count as u64 + 1, dice);
            ix.checked_sub(1).map(|ix| u16::try_from(ix).unwrap())
        };
        Who { rider: any(riders), medium: any(media) }
    }

    fn who_ids(&self, who: Who) -> (Option<&str>, Option<&str>) {
        match &self.fares {
            FeedFares::Rules(set) => (
                who.rider.map(|ix| &*set.riders[usize::from(ix)].id),
                who.medium.map(|ix| &*set.media[usize::from(ix)].id),
            ),
            FeedFares::Tickets(_) => (None, None),
        }
    }

    fn stop_ids(&self, from: StopIx, to: StopIx) -> (&str, &str) {
        let id = |ix: StopIx| match &self.fares {
            FeedFares::Rules(set) => &*set.stops[ix.0 as usize].id,
            FeedFares::Tickets(set) => &*set.stops[ix.0 as usize].id,
        };
        (id(from), id(to))
    }

    fn route_id(&self, route: RouteIx) -> &str {
        match &self.fares {
            FeedFares::Rules(set) => &set.routes[usize::from(route.0)].id,
            FeedFares::Tickets(set) => &set.routes[usize::from(route.0)].id,
        }
    }
}

/// Prices one ride for every pair of classes of stops, every network or route, every class of
/// times, every rider and medium, and journeys of several legs, by table and by interpreter.
pub(super) fn compare_all(name: &str, fares: FeedFares) -> usize {
    let samples = Samples::new(fares);
    let mut compared = match &samples.fares {
        FeedFares::Rules(set) => compare_rules(name, set, &samples),
        FeedFares::Tickets(set) => compare_tickets(name, set, &samples),
    };
    let table = Table::of(&samples.fares);
    for (line, journey) in samples.journeys(5000) {
        let expected = samples.interpret(&journey);
        assert_eq!(table.price(&journey), expected, "{name} {line}");
        compared += 1;
    }
    compared
}

enum Table {
    Rules(Box<RuleTable>),
    Tickets(Box<TicketTable>),
}

impl Table {
    fn of(fares: &FeedFares) -> Self {
        match fares {
            FeedFares::Rules(set) => Self::Rules(Box::new(RuleTable::compile(set.clone()))),
            FeedFares::Tickets(set) => Self::Tickets(Box::new(TicketTable::compile(set.clone()))),
        }
    }

    fn price(&self, journey: &Journey) -> JourneyPrice {
        match self {
            Self::Rules(table) => table.price(&journey.rides, journey.who),
            Self::Tickets(table) => table.price(&journey.rides),
        }
    }
}

fn compare_rules(name: &str, set: &RuleSet, samples: &Samples) -> usize {
    let table = RuleTable::compile(set.clone());
    let interpreter = Interpreter::new(set);
    let all = |count: usize| {
        std::iter::once(None).chain((0..count).map(|ix| Some(u16::try_from(ix).unwrap())))
    };
    let people: Vec<Who> = all(set.riders.len())
        .flat_map(|rider| all(set.media.len()).map(move |medium| Who { rider, medium }))
        .collect();
    let mut compared = 0;
    for (day, secs) in &samples.moments {
        let departs = set.zones[0].moment(*day, *secs);
        let arrives = Timestamp::from_secs(departs.secs() + 1200);
        for (from, to) in pairs(&samples.stops) {
            for route in &samples.routes {
                let ride = [Ride { route: *route, from, to, departs, arrives }];
                for who in &people {
                    let expected = interpreter.price(&ride, *who);
                    assert_eq!(table.price(&ride, *who), expected, "{name} {ride:?} {who:?}");
                    compared += 1;
                }
            }
        }
    }
    compared
}

fn compare_tickets(name: &str, set: &TicketSet, samples: &Samples) -> usize {
    let table = TicketTable::compile(set.clone());
    let departs = Timestamp::from_secs(1_700_000_000);
    let arrives = Timestamp::from_secs(1_700_001_200);
    let mut compared = 0;
    for (from, to) in pairs(&samples.stops) {
        for route in &samples.routes {
            let ride = [Ride { route: *route, from, to, departs, arrives }];
            assert_eq!(table.price(&ride), set.price(&ride), "{name} {ride:?}");
            compared += 1;
        }
    }
    compared
}

fn pairs(stops: &[StopIx]) -> impl Iterator<Item = (StopIx, StopIx)> {
    stops.iter().flat_map(|from| stops.iter().map(move |to| (*from, *to)))
}

/// One stop per set of areas.
fn rule_stops(set: &RuleSet) -> Vec<StopIx> {
    let class = |stop: &fare::rules::RuleStop| -> (BTreeSet<_>, u16) {
        (stop.areas.iter().copied().collect(), stop.zone)
    };
    let classes: BTreeMap<_, _> =
        (0..).zip(&set.stops).map(|(ix, stop)| (class(stop), StopIx(ix))).collect();
    classes.into_values().collect()
}

/// One route per network, and one of none.
fn rule_routes(set: &RuleSet) -> Vec<RouteIx> {
    let classes: BTreeMap<_, _> =
        (0..).zip(&set.routes).map(|(ix, route)| (route.network, RouteIx(ix))).collect();
    classes.into_values().collect()
}

/// One moment per class of times: on one date for each set of services that run together, the
/// first and last second of every timeframe and the ones beside them.
fn moments(set: &RuleSet) -> Vec<Moment> {
    let dates = set.services.iter().flat_map(|service| {
        let period = service.period.into_iter().flat_map(|(first, last)| [first.0, last.0]);
        period.chain(service.added.iter().map(|date| date.0))
    });
    let dates: BTreeSet<u32> = dates.collect();
    let first = dates.first().copied().unwrap_or(20_000);
    // A day on which nothing runs any more, too.
    let last = dates.last().copied().unwrap_or(first) + 1;
    let mut classes: BTreeMap<Vec<bool>, ServiceDate> = BTreeMap::new();
    for date in (first..=last).map(ServiceDate) {
        let runs = set.services.iter().map(|service| service.runs_on(date)).collect();
        classes.entry(runs).or_insert(date);
    }
    let mut clocks = BTreeSet::from([43_200]);
    for row in set.timeframes.iter().flat_map(|frame| &frame.rows) {
        let edges = [row.start_s, row.end_s].into_iter();
        clocks.extend(edges.flat_map(|edge| [edge.saturating_sub(1), edge]));
    }
    let days = classes.into_values();
    days.flat_map(|day| clocks.iter().map(move |clock| (day, *clock))).collect()
}

fn pick<'a, T>(from: &'a [T], dice: &mut ChaCha8Rng) -> &'a T {
    &from[usize::try_from(below(from.len() as u64, dice)).unwrap()]
}

fn below(count: u64, dice: &mut ChaCha8Rng) -> u64 {
    dice.next_u64() % count
}

fn text(secs: u32) -> String {
    format!("{:02}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
}
