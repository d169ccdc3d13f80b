//! The compiled table: one look-up per leg, whatever the number of rules.
//!
//! Stops, dates and times of day fall into classes that the rules cannot tell apart. Per network
//! there is a table of from-class × to-class × time class at the start × time class at the end;
//! each cell names an offer, and each offer has its candidates by rider and medium ready.

use alloc::{borrow::Cow, collections::BTreeMap, sync::Arc, vec, vec::Vec};
use core::mem::size_of;

use model::{RouteIx, Timestamp};

use super::{
    AreaIx, Candidate, FareLeg, JourneyPrice, LegNetwork, NetworkIx, Ride, RuleSet, StopIx, Who,
    interpret::{named_groups, transfers_between},
    legs::Named,
    times::TimeTable,
    walk::{Source, walk},
};

/// Rules that tell no two things apart, as bits over the leg rules of one network.
type Bits = Vec<u64>;

/// The rules of a feed, compiled.
#[derive(Debug, Clone)]
pub struct RuleTable {
    set: Arc<RuleSet>,
    named: Named,
    times: TimeTable,
    /// Per stop: its class.
    stop_class: Vec<u16>,
    /// One per network, then: none, mixed and unnamed, mixed and named.
    networks: Vec<NetworkTable>,
    /// Offer × (rider, medium): where its candidates are in `candidates`.
    offers: Vec<(u32, u16)>,
    candidates: Vec<Candidate>,
    /// Leg group × leg group: the transfer rules.
    transfers: Vec<Vec<u32>>,
    /// Product × (rider, medium).
    amounts: Vec<Option<i64>>,
}

#[derive(Debug, Clone, Default)]
struct NetworkTable {
    /// Per stop class: its row and column.
    from_of: Vec<u16>,
    to_of: Vec<u16>,
    /// Per time class: its index at the start and at the end.
    starts_of: Vec<u16>,
    ends_of: Vec<u16>,
    to_len: usize,
    starts_len: usize,
    ends_len: usize,
    /// Index of the offer; 0 is "nothing".
    cells: Vec<u32>,
    /// Row × start: the offer of a boarding whose end is not known yet.
    boards: Vec<u32>,
    /// Row × start × (rider, medium): the dearest ride from there, each by its cheapest offer.
    dearest: Vec<Option<i64>>,
}

/// The offer of a boarding whose price depends on where or when it ends.
const DEPENDS: u32 = u32::MAX;

impl RuleTable {
    /// Compiles rules.
    pub fn compile(set: impl Into<Arc<RuleSet>>) -> Self {
        let set = set.into();
        let named = Named::of(&set);
        let times = TimeTable::new(&set);
        let (stop_class, classes) = stop_classes(&set);
        let mut offers: BTreeMap<Vec<usize>, u32> = BTreeMap::new();
        offers.insert(Vec::new(), 0);
        let keys = (0..set.networks.len())
            .map(|ix| LegNetwork::One(NetworkIx(u16::try_from(ix).unwrap_or(u16::MAX))))
            .chain([LegNetwork::None])
            .chain([false, true].map(|named| LegNetwork::Mixed { named }));
        let mut networks: Vec<NetworkTable> = keys
            .map(|key| network_table(&set, &named, &times, &classes, key, &mut offers))
            .collect();
        let (offers, candidates) = ready(&set, offers);
        for table in &mut networks {
            table.look_ahead(&offers, &candidates, people(&set));
        }
        let groups = u16::try_from(set.leg_groups.len()).unwrap_or(u16::MAX);
        let named_by_transfers = named_groups(&set);
        let pairs = (0..groups).flat_map(|from| (0..groups).map(move |to| (from, to)));
        let transfers = pairs
            .map(|(from, to)| transfers_between(&set, &named_by_transfers, from, to))
            .collect();
        let products = u16::try_from(set.products.len()).unwrap_or(u16::MAX);
        let amounts = (0..products)
            .flat_map(|product| everyone(&set).map(move |who| (product, who)))
            .map(|(product, who)| set.amount(product, who))
            .collect();
        Self { set, named, times, stop_class, networks, offers, candidates, transfers, amounts }
    }

    /// The rules it was compiled from.
    pub fn rules(&self) -> &RuleSet {
        &self.set
    }

    /// What a journey costs.
    pub fn price(&self, rides: &[Ride], who: Who) -> JourneyPrice {
        walk(self, &self.set.legs(&self.named, rides), who)
    }

    /// What one ride by itself may cost, cheapest first; empty when no fare is known.
    pub fn ride_offers(&self, ride: &Ride, who: Who) -> &[Candidate] {
        let network = self.set.routes[usize::from(ride.route.0)].network;
        let network = network.map_or(LegNetwork::None, LegNetwork::One);
        let ends = (ride.from, ride.departs, ride.to, ride.arrives);
        self.look_up(network, ends, who)
    }

    /// What one boarding may cost when nobody knows yet where the ride ends, cheapest first;
    /// `None` when that depends on the end.
    pub fn board_offers(
        &self,
        route: RouteIx,
        from: StopIx,
        at: Timestamp,
        who: Who,
    ) -> Option<&[Candidate]> {
        let (table, row, start) = self.begins(route, from, at);
        let offer = table.boards[row * table.starts_len + start];
        (offer != DEPENDS).then(|| self.candidates_of(offer as usize, who))
    }

    /// What the dearest ride from a stop costs, each ride by its cheapest offer; `None` when no
    /// fare is known from there.
    pub fn dearest(&self, route: RouteIx, from: StopIx, at: Timestamp, who: Who) -> Option<i64> {
        let (table, row, start) = self.begins(route, from, at);
        let place = row * table.starts_len + start;
        table.dearest[place * people(&self.set) + who_ix(&self.set, who)]
    }

    /// The same over all networks: what a tap-in whose route nobody will know may cost.
    pub(crate) fn dearest_anywhere(&self, from: StopIx, at: Timestamp, who: Who) -> Option<i64> {
        let who = who_ix(&self.set, who);
        let of = |table: &NetworkTable| {
            let row = usize::from(table.from_of[usize::from(self.stop_class[from.0 as usize])]);
            let start = usize::from(table.starts_of[usize::from(self.time(from, at))]);
            table.dearest[(row * table.starts_len + start) * people(&self.set) + who]
        };
        // A ride by itself is never a joined leg.
        self.networks[..=self.set.networks.len()].iter().filter_map(of).max()
    }

    /// The living transfer rules between two leg groups, by their index.
    pub(crate) fn between(&self, from: u16, to: u16) -> &[u32] {
        let groups = self.set.leg_groups.len();
        &self.transfers[usize::from(from) * groups + usize::from(to)]
    }

    /// What a product costs this rider with this medium.
    pub(crate) fn amount_for(&self, product: u16, who: Who) -> Option<i64> {
        self.amounts[usize::from(product) * people(&self.set) + who_ix(&self.set, who)]
    }

    fn begins(&self, route: RouteIx, from: StopIx, at: Timestamp) -> (&NetworkTable, usize, usize) {
        let network = self.set.routes[usize::from(route.0)].network;
        let table = self.table(network.map_or(LegNetwork::None, LegNetwork::One));
        let row = usize::from(table.from_of[usize::from(self.stop_class[from.0 as usize])]);
        (table, row, usize::from(table.starts_of[usize::from(self.time(from, at))]))
    }

    /// Bytes that the look-up tables take, without the names.
    pub fn bytes(&self) -> usize {
        let networks = self.networks.iter().map(|table| {
            let maps = table.from_of.len() + table.to_of.len() + table.starts_of.len();
            (maps + table.ends_of.len()) * size_of::<u16>() + table.cells.len() * size_of::<u32>()
        });
        networks.sum::<usize>()
            + self.times.bytes()
            + self.stop_class.len() * size_of::<u16>()
            + self.offers.len() * size_of::<(u32, u16)>()
            + self.candidates.len() * size_of::<Candidate>()
            + self.amounts.len() * size_of::<Option<i64>>()
            + self.transfers.iter().map(|rules| rules.len() * size_of::<u32>()).sum::<usize>()
    }

    /// Cells of all networks together.
    pub fn cells(&self) -> usize {
        self.networks.iter().map(|table| table.cells.len()).sum()
    }

    fn look_up(
        &self,
        network: LegNetwork,
        (from, departs, to, arrives): (StopIx, Timestamp, StopIx, Timestamp),
        who: Who,
    ) -> &[Candidate] {
        let table = self.table(network);
        let from_class = usize::from(self.stop_class[from.0 as usize]);
        let to_class = usize::from(self.stop_class[to.0 as usize]);
        let (start, end) = (self.time(from, departs), self.time(to, arrives));
        self.candidates_of(table.cell(from_class, to_class, start, end), who)
    }

    fn table(&self, network: LegNetwork) -> &NetworkTable {
        let networks = self.set.networks.len();
        &self.networks[match network {
            LegNetwork::One(NetworkIx(ix)) => usize::from(ix),
            LegNetwork::None => networks,
            LegNetwork::Mixed { named: false } => networks + 1,
            LegNetwork::Mixed { named: true } => networks + 2,
        }]
    }

    /// The time class of a moment at a stop.
    fn time(&self, stop: StopIx, at: Timestamp) -> u16 {
        if self.times.holds.len() <= 1 {
            return 0; // no timeframe tells two moments apart
        }
        let zone = &self.set.zones[usize::from(self.set.stops[stop.0 as usize].zone)];
        self.times.class_at(zone, at)
    }

    fn candidates_of(&self, offer: usize, who: Who) -> &[Candidate] {
        let (start, len) = self.offers[offer * people(&self.set) + who_ix(&self.set, who)];
        &self.candidates[start as usize..start as usize + usize::from(len)]
    }
}

impl Source for RuleTable {
    fn set(&self) -> &RuleSet {
        &self.set
    }

    fn offers(&self, leg: &FareLeg, who: Who) -> Cow<'_, [Candidate]> {
        let ends = (leg.from, leg.departs, leg.to, leg.arrives);
        Cow::Borrowed(self.look_up(leg.network, ends, who))
    }

    fn transfers(&self, from: u16, to: u16) -> Cow<'_, [u32]> {
        Cow::Borrowed(self.between(from, to))
    }

    fn amount(&self, product: u16, who: Who) -> Option<i64> {
        self.amount_for(product, who)
    }
}

impl NetworkTable {
    /// Fills in what a tap-in needs to know of all rides that may follow it.
    fn look_ahead(&mut self, offers: &[(u32, u16)], candidates: &[Candidate], people: usize) {
        let list = |offer: u32, who: usize| {
            let (start, len) = offers[offer as usize * people + who];
            &candidates[start as usize..start as usize + usize::from(len)]
        };
        // Which rule offers it changes no price.
        let alike = |a: u32, b: u32| {
            (0..people).all(|who| {
                let (a, b) = (list(a, who), list(b, who));
                a.len() == b.len()
                    && a.iter().zip(b).all(|(a, b)| Candidate { rule: b.rule, ..*a } == *b)
            })
        };
        let rows = self.cells.len() / (self.to_len * self.starts_len * self.ends_len).max(1);
        for (row, start) in (0..rows).flat_map(|r| (0..self.starts_len).map(move |s| (r, s))) {
            let ends = (0..self.to_len).flat_map(|to| {
                let place = (row * self.to_len + to) * self.starts_len + start;
                self.cells[place * self.ends_len..][..self.ends_len].iter().copied()
            });
            let mut priced: Vec<u32> = ends.filter(|offer| *offer != 0).collect();
            priced.sort_unstable();
            priced.dedup();
            let first = priced.first().copied().unwrap_or(0);
            let one = priced.iter().all(|offer| alike(first, *offer));
            self.boards.push(if one { first } else { DEPENDS });
            for who in 0..people {
                // What is only for transfers costs nobody who begins here anything.
                let cheapest = |offer: &u32| {
                    let alone = list(*offer, who).iter().filter(|c| !c.transfer_only);
                    alone.map(|c| c.amount).min()
                };
                self.dearest.push(priced.iter().filter_map(cheapest).max());
            }
        }
    }

    fn cell(&self, from: usize, to: usize, start: u16, end: u16) -> usize {
        let row = usize::from(self.from_of[from]);
        let column = usize::from(self.to_of[to]);
        let start = usize::from(self.starts_of[usize::from(start)]);
        let end = usize::from(self.ends_of[usize::from(end)]);
        let place = row * self.to_len + column;
        self.cells[(place * self.starts_len + start) * self.ends_len + end] as usize
    }
}

/// Per stop its class, and per class its areas.
fn stop_classes(set: &RuleSet) -> (Vec<u16>, Vec<Vec<AreaIx>>) {
    let mut classes: BTreeMap<Vec<AreaIx>, u16> = BTreeMap::new();
    let class_of = set.stops.iter().map(|stop| {
        let mut areas = stop.areas.clone();
        areas.sort_unstable();
        areas.dedup();
        let next = u16::try_from(classes.len()).unwrap_or(u16::MAX);
        *classes.entry(areas).or_insert(next)
    });
    let class_of: Vec<u16> = class_of.collect();
    let mut list = vec![Vec::new(); classes.len()];
    for (areas, ix) in classes {
        list[usize::from(ix)] = areas;
    }
    (class_of, list)
}

/// Things in the order of their index → the index of their bits among the distinct ones.
fn distinct(all: impl Iterator<Item = Bits>) -> (Vec<u16>, Vec<Bits>) {
    let mut known: BTreeMap<Bits, u16> = BTreeMap::new();
    let mut list: Vec<Bits> = Vec::new();
    let index = all.map(|bits| {
        *known.entry(bits).or_insert_with_key(|bits| {
            list.push(bits.clone());
            u16::try_from(list.len() - 1).unwrap_or(u16::MAX)
        })
    });
    let index = index.collect();
    (index, list)
}

fn bits(len: usize, mut at: impl FnMut(usize) -> bool) -> Bits {
    let mut bits = vec![0; len.div_ceil(64)];
    for i in (0..len).filter(|i| at(*i)) {
        bits[i / 64] |= 1 << (i % 64);
    }
    bits
}

fn network_table(
    set: &RuleSet,
    named: &Named,
    times: &TimeTable,
    classes: &[Vec<AreaIx>],
    network: LegNetwork,
    offers: &mut BTreeMap<Vec<usize>, u32>,
) -> NetworkTable {
    let rules: Vec<usize> = (0..set.leg_rules.len())
        .filter(|ix| {
            let rule = &set.leg_rules[*ix];
            !rule.dead && named.network_matches(set, rule, network)
        })
        .collect();
    let of = |i: usize| &set.leg_rules[rules[i]];
    let n = rules.len();
    let (from_of, from) =
        distinct(classes.iter().map(|areas| bits(n, |i| named.start_matches(set, of(i), areas))));
    let (to_of, to) =
        distinct(classes.iter().map(|areas| bits(n, |i| named.end_matches(set, of(i), areas))));
    let holds = |held: &[bool], group: Option<u16>| group.is_none_or(|g| held[usize::from(g)]);
    let (starts_of, starts) =
        distinct(times.holds.iter().map(|held| bits(n, |i| holds(held, of(i).from_time))));
    let (ends_of, ends) =
        distinct(times.holds.iter().map(|held| bits(n, |i| holds(held, of(i).to_time))));
    let mut cells = Vec::with_capacity(from.len() * to.len() * starts.len() * ends.len());
    for (a, b) in from.iter().flat_map(|a| to.iter().map(move |b| (a, b))) {
        for (c, d) in starts.iter().flat_map(|c| ends.iter().map(move |d| (c, d))) {
            let all =
                |i: usize| (a[i / 64] & b[i / 64] & c[i / 64] & d[i / 64]) >> (i % 64) & 1 == 1;
            let matching = (0..n).filter(|i| all(*i)).map(|i| rules[i]);
            let best: Vec<usize> = set.best(matching).collect();
            let next = u32::try_from(offers.len()).unwrap_or(u32::MAX);
            cells.push(*offers.entry(best).or_insert(next));
        }
    }
    NetworkTable {
        from_of,
        to_of,
        starts_of,
        ends_of,
        to_len: to.len(),
        starts_len: starts.len(),
        ends_len: ends.len(),
        cells,
        ..NetworkTable::default()
    }
}

/// The candidates of every offer for every rider and medium, in one list.
fn ready(set: &RuleSet, offers: BTreeMap<Vec<usize>, u32>) -> (Vec<(u32, u16)>, Vec<Candidate>) {
    let mut by_index = vec![Vec::new(); offers.len()];
    for (rules, ix) in offers {
        by_index[ix as usize] = rules;
    }
    let mut places = Vec::with_capacity(by_index.len() * people(set));
    let mut candidates = Vec::new();
    let mut known: BTreeMap<Vec<Candidate>, u32> = BTreeMap::new();
    for rules in by_index {
        for who in everyone(set) {
            let offered = set.offers(rules.iter().copied(), who);
            let len = u16::try_from(offered.len()).unwrap_or(u16::MAX);
            let start = *known.entry(offered).or_insert_with_key(|offered| {
                let start = u32::try_from(candidates.len()).unwrap_or(u32::MAX);
                candidates.extend_from_slice(offered);
                start
            });
            places.push((start, len));
        }
    }
    (places, candidates)
}

/// Riders and media with "not stated" beside them.
fn people(set: &RuleSet) -> usize {
    (set.riders.len() + 1) * (set.media.len() + 1)
}

fn everyone(set: &RuleSet) -> impl Iterator<Item = Who> {
    let all = |len: usize| {
        let len = u16::try_from(len).unwrap_or(u16::MAX);
        core::iter::once(None).chain((0..len).map(Some))
    };
    let media = set.media.len();
    all(set.riders.len()).flat_map(move |rider| all(media).map(move |medium| Who { rider, medium }))
}

fn who_ix(set: &RuleSet, who: Who) -> usize {
    let ix = |of: Option<u16>| of.map_or(0, |ix| usize::from(ix) + 1);
    ix(who.rider) * (set.media.len() + 1) + ix(who.medium)
}
