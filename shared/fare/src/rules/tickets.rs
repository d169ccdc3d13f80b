//! Fares v1: a journey is covered by tickets, each over rides that follow each other.
//!
//! The cheapest cover is exact: fewest rides without a ticket first, then the least price, then
//! the fewest tickets. Rows of one fare are alternatives; within a row everything must hold. The
//! zones of `contains_id` must all be visited; other zones may be, too.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec,
    vec::Vec,
};
use core::mem::size_of;

use model::Money;

use crate::{Step, StepKind};

use super::{JourneyPrice, Ride, StopIx, Ticket, TicketRow, TicketSet};

/// Tickets by the zones where they begin and end.
#[derive(Debug, Clone)]
pub struct TicketTable {
    set: TicketSet,
    /// Stop → class of stops with the same zones.
    class_of: Vec<u16>,
    classes: usize,
    /// Class × class: where its tickets are in `lists`.
    cells: Vec<u32>,
    /// Tickets, cheapest first.
    lists: Vec<Vec<u32>>,
}

/// The best cover of the first rides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Cover {
    unknown: usize,
    price: i64,
    tickets: usize,
    /// Where the last piece begins, and its ticket.
    begins: usize,
    ticket: Option<u32>,
}

impl TicketSet {
    /// What a journey costs, every fare looked at.
    pub fn price(&self, rides: &[Ride]) -> JourneyPrice {
        let all: Vec<u32> =
            (0..self.tickets.len()).filter_map(|ix| u32::try_from(ix).ok()).collect();
        self.cover(rides, |_, _| &all)
    }

    /// The cheapest cover, where `of` lists the tickets that may hold from a stop to a stop.
    fn cover<'l>(&self, rides: &[Ride], of: impl Fn(StopIx, StopIx) -> &'l [u32]) -> JourneyPrice {
        let start = Cover { unknown: 0, price: 0, tickets: 0, begins: 0, ticket: None };
        let mut covers = vec![start];
        for end in 1..=rides.len() {
            let before = covers[end - 1];
            let alone =
                Cover { unknown: before.unknown + 1, begins: end - 1, ticket: None, ..before };
            let with_ticket = (0..end).filter_map(|begins| {
                let run = &rides[begins..end];
                let listed = of(run[0].from, run[run.len() - 1].to).iter().copied();
                let fitting = listed.filter(|ix| self.fits(&self.tickets[*ix as usize], run));
                let price = |ix: &u32| self.tickets[*ix as usize].price.minor();
                let cheapest = fitting.min_by_key(|ix| (price(ix), *ix))?;
                let before = covers[begins];
                Some(Cover {
                    unknown: before.unknown,
                    price: before.price + price(&cheapest),
                    tickets: before.tickets + 1,
                    begins,
                    ticket: Some(cheapest),
                })
            });
            let best = with_ticket.min().map_or(alone, |best| best.min(alone));
            covers.push(best);
        }
        self.explain(rides, &covers)
    }

    /// Whether one ticket holds for these rides.
    fn fits(&self, ticket: &Ticket, run: &[Ride]) -> bool {
        let changes = run.len() - 1;
        let (first, last) = (run[0], run[run.len() - 1]);
        let elapsed_s = last.departs.secs().saturating_sub(first.departs.secs());
        let route = |ride: &Ride| &self.routes[usize::from(ride.route.0)];
        ticket.transfers.is_none_or(|most| changes <= usize::from(most))
            // Without a change, transfer_duration says nothing about the ride.
            && (changes == 0 || ticket.duration_s.is_none_or(|most| elapsed_s <= u64::from(most)))
            && ticket.agency.is_none_or(|agency| run.iter().all(|r| route(r).agency == agency))
            && match &ticket.rows {
                None => true,
                Some(rows) => self.rows_hold(rows, run),
            }
    }

    fn rows_hold(&self, rows: &[TicketRow], run: &[Ride]) -> bool {
        let origin = &self.stops[run[0].from.0 as usize].zones;
        let destination = &self.stops[run[run.len() - 1].to.0 as usize].zones;
        let mut visited = None;
        let mut holds = |row: &TicketRow| {
            row.origin.is_none_or(|zone| origin.contains(&zone))
                && row.destination.is_none_or(|zone| destination.contains(&zone))
                && (row.contains.is_empty() || {
                    let visited = visited.get_or_insert_with(|| self.visited(run));
                    row.contains.iter().all(|zone| visited.contains(zone))
                })
        };
        let holding: Vec<&TicketRow> = rows.iter().filter(|row| holds(row)).collect();
        let on = |ride: &Ride| {
            holding.iter().any(|row| row.route.is_none_or(|route| route == ride.route))
        };
        run.iter().all(on)
    }

    /// The zones that rides pass through, ends included.
    fn visited(&self, run: &[Ride]) -> BTreeSet<u16> {
        let mut zones = BTreeSet::new();
        for ride in run {
            for stop in self.stops_of(ride) {
                zones.extend(self.stops[stop.0 as usize].zones.iter().copied());
            }
        }
        zones
    }

    /// The stops of a ride by the shortest order of stops that has it; its two ends when the
    /// feed has no timetable.
    fn stops_of(&self, ride: &Ride) -> Vec<StopIx> {
        let patterns = &self.routes[usize::from(ride.route.0)].patterns;
        let between = patterns.iter().filter_map(|stops| {
            let from = stops.iter().position(|stop| *stop == ride.from)?;
            let len = stops[from..].iter().position(|stop| *stop == ride.to)?;
            Some(&stops[from..=from + len])
        });
        let shortest = between.min_by_key(|stops| stops.len());
        shortest.map_or_else(|| vec![ride.from, ride.to], <[StopIx]>::to_vec)
    }

    fn explain(&self, rides: &[Ride], covers: &[Cover]) -> JourneyPrice {
        let mut pieces = Vec::new();
        let mut end = rides.len();
        while end > 0 {
            let cover = covers[end];
            pieces.push((cover.begins, end, cover.ticket));
            end = cover.begins;
        }
        pieces.reverse();
        let mut price = JourneyPrice {
            total: Money::new(covers[rides.len()].price, self.currency),
            unknown: Vec::new(),
            products: Vec::new(),
            steps: Vec::new(),
        };
        for (begins, end, ticket) in pieces {
            let name = |stop: StopIx| Arc::clone(&self.stops[stop.0 as usize].name);
            let (from, to) = (name(rides[begins].from), name(rides[end - 1].to));
            let Some(ticket) = ticket.map(|ix| &self.tickets[ix as usize]) else {
                price.unknown.push(begins);
                let kind = StepKind::NoFareKnown { from, to };
                let amount = Money::zero(self.currency);
                price.steps.push(Step { kind, rule: "fare_rules".into(), amount });
                continue;
            };
            price.products.push(Arc::clone(&ticket.id));
            let kind = StepKind::Leg { from, to, product: Arc::clone(&ticket.id) };
            price.steps.push(Step { kind, rule: Arc::clone(&ticket.id), amount: ticket.price });
        }
        price
    }
}

impl TicketTable {
    /// Compiles tickets.
    pub fn compile(set: TicketSet) -> Self {
        let mut known: BTreeMap<Vec<u16>, u16> = BTreeMap::new();
        let class_of = set.stops.iter().map(|stop| {
            let mut zones = stop.zones.clone();
            zones.sort_unstable();
            let next = u16::try_from(known.len()).unwrap_or(u16::MAX);
            *known.entry(zones).or_insert(next)
        });
        let class_of: Vec<u16> = class_of.collect();
        let mut classes = vec![Vec::new(); known.len()];
        for (zones, ix) in known {
            classes[usize::from(ix)] = zones;
        }
        let mut lists: Vec<Vec<u32>> = Vec::new();
        let mut index = BTreeMap::new();
        let mut cells = Vec::with_capacity(classes.len() * classes.len());
        for (from, to) in classes.iter().flat_map(|a| classes.iter().map(move |b| (a, b))) {
            let mut list = tickets_between(&set, from, to);
            list.sort_by_key(|ix| (set.tickets[*ix as usize].price.minor(), *ix));
            let ix = *index.entry(list).or_insert_with_key(|list: &Vec<u32>| {
                lists.push(list.clone());
                u32::try_from(lists.len() - 1).unwrap_or(u32::MAX)
            });
            cells.push(ix);
        }
        Self { classes: classes.len(), set, class_of, cells, lists }
    }

    /// The fares it was compiled from.
    pub const fn tickets(&self) -> &TicketSet {
        &self.set
    }

    /// What a journey costs.
    pub fn price(&self, rides: &[Ride]) -> JourneyPrice {
        self.set.cover(rides, |from, to| {
            let class = |stop: StopIx| usize::from(self.class_of[stop.0 as usize]);
            &self.lists[self.cells[class(from) * self.classes + class(to)] as usize]
        })
    }

    /// Bytes that the look-up tables take, without the names.
    pub fn bytes(&self) -> usize {
        let lists = self.lists.iter().map(|list| list.len() * size_of::<u32>());
        lists.sum::<usize>()
            + self.cells.len() * size_of::<u32>()
            + self.class_of.len() * size_of::<u16>()
    }

    /// Cells of the table.
    pub fn cells(&self) -> usize {
        self.cells.len()
    }
}

fn tickets_between(set: &TicketSet, from: &[u16], to: &[u16]) -> Vec<u32> {
    let may = |ticket: &Ticket| {
        ticket.rows.as_ref().is_none_or(|rows| {
            rows.iter().any(|row| {
                row.origin.is_none_or(|zone| from.contains(&zone))
                    && row.destination.is_none_or(|zone| to.contains(&zone))
            })
        })
    };
    let all = set.tickets.iter().enumerate().filter(|(_, ticket)| may(ticket));
    all.filter_map(|(ix, _)| u32::try_from(ix).ok()).collect()
}
