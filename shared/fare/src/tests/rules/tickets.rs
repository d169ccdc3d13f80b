//! Fares v1 by hand: covers by tickets.

use alloc::{vec, vec::Vec};

use model::{Money, RouteIx};

use super::{ride, usd};
use crate::rules::{
    Ride, StopIx, Ticket, TicketRoute, TicketRow, TicketSet, TicketStop, TicketTable, ZoneOffsets,
};

fn ticket(id: &str, cents: i64, rows: Option<Vec<TicketRow>>) -> Ticket {
    Ticket {
        id: id.into(),
        price: Money::new(cents, usd()),
        transfers: Some(0),
        duration_s: None,
        agency: None,
        rows,
    }
}

fn any() -> TicketRow {
    TicketRow { route: None, origin: None, destination: None, contains: vec![] }
}

/// Stops 0 to 3 in zones 0 to 3 along route 0; route 1 of another agency.
fn town(tickets: Vec<Ticket>) -> TicketSet {
    let stop = |n: u16| TicketStop { id: "s".into(), name: "Stop".into(), zones: vec![n] };
    let route =
        |agency, patterns| TicketRoute { id: "r".into(), name: "r".into(), agency, patterns };
    TicketSet {
        currency: usd(),
        zone: ZoneOffsets::fixed(0),
        zones: ["z0", "z1", "z2", "z3"].map(Into::into).into(),
        stops: (0..4).map(stop).collect(),
        routes: vec![route(0, vec![(0..4).map(StopIx).collect()]), route(1, vec![])],
        tickets,
    }
}

fn cents(set: &TicketSet, rides: &[Ride]) -> (i64, Vec<usize>) {
    let price = set.price(rides);
    assert_eq!(TicketTable::compile(set.clone()).price(rides), price);
    assert_eq!(
        price.steps.iter().map(|step| step.amount.minor()).sum::<i64>(),
        price.total.minor()
    );
    (price.total.minor(), price.unknown)
}

#[test]
fn a_fare_without_rules_holds_everywhere_and_one_with_none_that_can_hold_nowhere() {
    let set = town(vec![ticket("all", 250, None), ticket("never", 1, Some(vec![]))]);
    assert_eq!(cents(&set, &[ride(0, 0, 1, 0, 9)]), (250, vec![]));
    let set = town(vec![ticket("never", 1, Some(vec![]))]);
    assert_eq!(cents(&set, &[ride(0, 0, 1, 0, 9)]), (0, vec![0]));
}

#[test]
fn the_cheapest_of_several_fares_is_taken_and_a_row_must_hold_as_a_whole() {
    let od = |o, d| TicketRow { origin: Some(o), destination: Some(d), ..any() };
    let on = TicketRow { route: Some(RouteIx(1)), ..od(0, 1) };
    let set = town(vec![
        ticket("far", 400, Some(vec![od(0, 1), od(0, 3)])),
        ticket("near", 300, Some(vec![od(0, 1)])),
        ticket("route", 100, Some(vec![on])),
    ]);
    assert_eq!(cents(&set, &[ride(0, 0, 1, 0, 9)]), (300, vec![]));
    assert_eq!(cents(&set, &[ride(1, 0, 1, 0, 9)]), (100, vec![]));
    assert_eq!(cents(&set, &[ride(1, 0, 3, 0, 9)]), (400, vec![]));
    assert_eq!(cents(&set, &[ride(1, 1, 0, 0, 9)]), (0, vec![0]), "unknown is not free");
}

#[test]
fn all_zones_of_contains_must_be_visited_and_others_may_be() {
    let through = TicketRow { contains: vec![1, 2], ..any() };
    let set = town(vec![ticket("c", 300, Some(vec![through]))]);
    assert_eq!(cents(&set, &[ride(0, 0, 3, 0, 9)]), (300, vec![]), "passes through 1 and 2");
    assert_eq!(cents(&set, &[ride(0, 1, 2, 0, 9)]), (300, vec![]), "ends count");
    assert_eq!(cents(&set, &[ride(0, 0, 1, 0, 9)]), (0, vec![0]), "2 is not visited");
    assert_eq!(cents(&set, &[ride(1, 0, 3, 0, 9)]), (0, vec![0]), "no timetable: only the ends");
}

#[test]
fn transfers_and_their_time_bound_a_run_and_the_cover_is_the_cheapest() {
    let mut single = ticket("single", 200, None);
    let mut two = ticket("two", 300, None);
    two.transfers = Some(1);
    two.duration_s = Some(1800);
    let at = |minutes| ride(0, 0, 1, minutes, minutes + 10);
    let set = town(vec![single.clone(), two.clone()]);
    assert_eq!(cents(&set, &[at(0), at(30)]).0, 300, "boarding to boarding, inclusive");
    assert_eq!(cents(&set, &[at(0), at(31)]).0, 400);
    assert_eq!(cents(&set, &[at(0), at(10), at(20)]).0, 500, "one change only");
    single.transfers = None;
    single.price = Money::new(450, usd());
    let set = town(vec![single, two]);
    assert_eq!(cents(&set, &[at(0), at(10), at(20)]).0, 450, "any number of changes");
}

#[test]
fn an_origin_and_a_destination_are_those_of_the_whole_run() {
    let od = |o, d| TicketRow { origin: Some(o), destination: Some(d), ..any() };
    let mut through = ticket("through", 500, Some(vec![od(0, 3)]));
    through.transfers = Some(1);
    let set = town(vec![through, ticket("half", 200, Some(vec![od(0, 1)]))]);
    let halves = [ride(0, 0, 1, 0, 9), ride(0, 1, 3, 10, 19)];
    assert_eq!(cents(&set, &halves), (500, vec![]), "no ride stays unknown when it can be covered");
    assert_eq!(cents(&set, &[halves[0], ride(0, 1, 2, 10, 19)]), (200, vec![1]));
}

#[test]
fn a_fare_of_one_agency_is_for_its_routes() {
    let mut own = ticket("own", 100, None);
    own.agency = Some(0);
    let set = town(vec![own]);
    assert_eq!(cents(&set, &[ride(0, 0, 1, 0, 9)]), (100, vec![]));
    assert_eq!(cents(&set, &[ride(1, 0, 1, 0, 9)]), (0, vec![0]));
}
