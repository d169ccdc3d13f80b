//! Examples derived by hand from the GTFS reference, one rule of it each.

use alloc::{string::ToString, vec, vec::Vec};

use model::{Money, ServiceDate, Timestamp};

use super::{DAY, cents, city, price, product, ride, rule, transfer, usd};
use crate::{
    Step,
    rules::{
        AreaIx, DurationSpan, JoinRule, LegRule, NetworkIx, Ride, RuleMedium, RuleRider, RuleSet,
        Service, StopIx, TimeRow, Timeframe, TransferKind, TransferRule, Variant, Who, ZoneOffsets,
    },
};

#[test]
fn an_empty_field_is_everything_that_its_column_does_not_name() {
    let mut set = city();
    set.products = vec![product("here", 100), product("else", 250)];
    set.leg_rules =
        vec![LegRule { from: Some(AreaIx(0)), ..rule(0) }, LegRule { from: None, ..rule(1) }];
    assert_eq!(cents(&set, &[ride(0, 0, 1, 0, 9)]), (100, vec![]), "the named area");
    assert_eq!(cents(&set, &[ride(0, 1, 0, 0, 9)]), (250, vec![]), "any other area");
    assert_eq!(cents(&set, &[ride(0, 3, 0, 0, 9)]), (250, vec![]), "a stop in no area");
    set.stops[0].areas = vec![AreaIx(0), AreaIx(1)];
    assert_eq!(cents(&set, &[ride(0, 0, 2, 0, 9)]), (100, vec![]), "a named area decides");
}

#[test]
fn with_the_priority_column_an_empty_field_is_anything_and_the_highest_wins() {
    let mut set = city();
    set.products = vec![product("here", 300), product("else", 250)];
    set.leg_rules = vec![LegRule { from: Some(AreaIx(0)), ..rule(0) }, rule(1)];
    set.has_priority = true;
    assert_eq!(cents(&set, &[ride(0, 0, 1, 0, 9)]).0, 250, "both match: the cheaper");
    set.leg_rules[0].priority = 1;
    assert_eq!(cents(&set, &[ride(0, 0, 1, 0, 9)]).0, 300, "the higher priority alone");
    set.products[0].variants[0].medium = Some(0);
    set.media = ["app", "card"].map(|id| RuleMedium { id: id.into(), name: id.into() }).into();
    let card = Who { medium: Some(1), ..Who::default() };
    let hidden = price(&set, &[ride(0, 0, 1, 0, 9)], card);
    assert_eq!(hidden.unknown, vec![0], "priority is looked at before the medium");
}

#[test]
fn a_leg_that_no_rule_matches_is_unknown_and_not_free() {
    let mut set = city();
    set.products = vec![product("n0", 100)];
    set.leg_rules = vec![LegRule { network: Some(NetworkIx(0)), ..rule(0) }];
    assert_eq!(cents(&set, &[ride(2, 0, 1, 0, 9), ride(0, 0, 1, 10, 19)]), (100, vec![0]));
    set.leg_rules[0].dead = true;
    set.leg_rules.push(rule(0));
    assert_eq!(cents(&set, &[ride(0, 0, 1, 0, 9)]), (0, vec![0]), "a dead row still names n0");
    assert_eq!(cents(&set, &[ride(1, 0, 1, 0, 9)]), (100, vec![]));
}

#[test]
fn each_type_of_transfer_makes_up_its_cost_as_the_reference_says() {
    // A = 200, B = 300, C = 500, AB = 40, BC = 7.
    let cases = [
        (TransferKind::InsteadOfNext, 200 + 40, 240 + 7),
        (TransferKind::BesidesNext, 200 + 40 + 300, 540 + 7 + 500),
        (TransferKind::InsteadOfBoth, 40, 40 + 7),
    ];
    for (kind, two, three) in cases {
        let mut set = city();
        set.products = [("a", 200), ("b", 300), ("c", 500), ("ab", 40), ("bc", 7)]
            .map(|(n, c)| product(n, c))
            .into();
        set.leg_groups = vec!["A".into(), "B".into(), "C".into()];
        let leg = |n: u16, from| LegRule { group: Some(n), from, ..rule(n) };
        set.leg_rules =
            vec![leg(0, Some(AreaIx(0))), leg(1, Some(AreaIx(1))), leg(2, Some(AreaIx(2)))];
        set.transfer_rules = vec![
            TransferRule { kind, product: Some(3), ..transfer(0, 1) },
            TransferRule { kind, product: Some(4), ..transfer(1, 2) },
        ];
        let rides = [ride(0, 0, 1, 0, 9), ride(0, 1, 2, 10, 19), ride(0, 2, 3, 20, 29)];
        assert_eq!(cents(&set, &rides[..2]).0, two, "{kind:?}");
        assert_eq!(cents(&set, &rides).0, three, "{kind:?}");
        assert_eq!(cents(&set, &[rides[1], rides[0]]).0, 500, "not in the other direction");
    }
}

/// One group, one product of 200, and this transfer rule within the group.
fn one_group(transfers: Vec<TransferRule>) -> RuleSet {
    let mut set = city();
    set.products = vec![product("single", 200)];
    set.leg_groups = vec!["G".into()];
    set.leg_rules = vec![LegRule { group: Some(0), ..rule(0) }];
    set.transfer_rules = transfers;
    set
}

fn rides<const N: usize>(departures: [u32; N]) -> [Ride; N] {
    departures.map(|at| ride(0, 0, 1, at, at + 10))
}

#[test]
fn a_count_limits_transfers_in_a_row_and_the_smallest_that_suffices_is_taken() {
    let limited = TransferRule { count: Some(1), ..transfer(0, 0) };
    let set = one_group(vec![limited]);
    assert_eq!(cents(&set, &rides([0, 20, 40])).0, 400, "the third ride begins anew");
    assert_eq!(cents(&set, &rides([0, 20, 40, 60])).0, 400, "and has its own transfer");
    let mut set = one_group(vec![limited, TransferRule { product: Some(1), ..transfer(0, 0) }]);
    set.products.push(product("more", 50));
    assert_eq!(cents(&set, &rides([0, 20, 40])).0, 250, "first free, then 50");
}

#[test]
fn a_duration_is_measured_from_the_first_leg_and_the_limit_is_inclusive() {
    let spans = [
        (DurationSpan::DepartureToArrival, 50),
        (DurationSpan::DepartureToDeparture, 40),
        (DurationSpan::ArrivalToDeparture, 30),
        (DurationSpan::ArrivalToArrival, 40),
    ];
    for (span, minutes) in spans {
        let with =
            |secs| one_group(vec![TransferRule { limit: Some((secs, span)), ..transfer(0, 0) }]);
        // Departures 0, 20 and 40, ten minutes each.
        assert_eq!(cents(&with(minutes * 60), &rides([0, 20, 40])).0, 200, "{span:?}");
        assert_eq!(cents(&with(minutes * 60 - 1), &rides([0, 20, 40])).0, 400, "{span:?}");
    }
}

#[test]
fn a_transfer_that_came_too_late_is_told() {
    let limit = Some((600, DurationSpan::DepartureToDeparture));
    let set = one_group(vec![TransferRule { limit, ..transfer(0, 0) }]);
    let late = price(&set, &rides([0, 20]), Who::default());
    let texts: Vec<_> = late.steps.iter().map(Step::text).collect();
    assert_eq!(
        texts,
        [
            "Stop 0 to Stop 1: single",
            "Stop 0 to Stop 1: single",
            "No transfer: 20 min after, 10 min allowed"
        ]
    );
}

#[test]
fn an_empty_group_is_every_group_that_its_column_does_not_name() {
    let mut set = city();
    set.products = ["a", "b", "c"].map(|id| product(id, 100)).into();
    set.leg_groups = vec!["A".into(), "B".into(), "C".into()];
    let leg = |n: u16| LegRule { group: Some(n), from: Some(AreaIx(n)), ..rule(n) };
    set.leg_rules = vec![leg(0), leg(1), leg(2)];
    let any = TransferRule { to: None, ..transfer(0, 0) };
    set.transfer_rules = vec![any, TransferRule { product: Some(0), ..transfer(1, 2) }];
    let from_a = |to| [ride(0, 0, 1, 0, 9), ride(0, to, 3, 10, 19)];
    assert_eq!(cents(&set, &from_a(1)).0, 100, "B is not named as a group after");
    assert_eq!(cents(&set, &from_a(2)).0, 200, "C is named: the empty field is not C");
}

#[test]
fn a_matching_transfer_is_applied_even_where_it_is_dearer() {
    let mut set = one_group(vec![TransferRule { product: Some(1), ..transfer(0, 0) }]);
    set.products.push(product("dear", 900));
    assert_eq!(cents(&set, &rides([0, 20])).0, 1100);
}

#[test]
fn the_cheapest_choice_over_the_whole_journey_is_found_not_the_first_step() {
    // The dearer single grants the transfer.
    let mut set = one_group(vec![transfer(0, 0)]);
    set.products = vec![product("plus", 250), product("plain", 200)];
    set.leg_groups.push("H".into());
    set.leg_rules.push(LegRule { group: Some(1), ..rule(1) });
    assert_eq!(cents(&set, &rides([0])).0, 200);
    assert_eq!(cents(&set, &rides([0, 20])).0, 250);
}

#[test]
fn what_is_only_for_transfers_is_never_the_first_and_a_held_product_is_asked_for() {
    let mut set = one_group(vec![transfer(0, 1)]);
    set.products = vec![product("single", 240), product("free", 0)];
    set.leg_groups.push("H".into());
    let only = LegRule { group: Some(1), transfer_only: true, ..rule(1) };
    set.leg_rules = vec![
        LegRule { from: Some(AreaIx(0)), group: Some(0), ..rule(0) },
        LegRule { from: Some(AreaIx(1)), ..only },
    ];
    assert_eq!(cents(&set, &[ride(0, 1, 2, 0, 9)]), (0, vec![0]), "never by itself");
    let both = [ride(0, 0, 1, 0, 9), ride(0, 1, 2, 10, 19)];
    assert_eq!(cents(&set, &both), (240, vec![]));
    set.transfer_rules[0].holding = Some(1);
    assert_eq!(cents(&set, &both), (240, vec![1]), "another product is held");
    set.transfer_rules[0].holding = Some(0);
    assert_eq!(cents(&set, &both), (240, vec![]));
}

#[test]
fn joined_rides_are_one_leg_and_a_chain_of_joins_too() {
    let mut set = city();
    set.products = vec![product("od", 310), product("single", 200)];
    set.leg_rules = vec![
        LegRule {
            network: Some(NetworkIx(0)),
            from: Some(AreaIx(0)),
            to: Some(AreaIx(2)),
            ..rule(0)
        },
        LegRule { network: Some(NetworkIx(0)), ..rule(1) },
    ];
    let join = JoinRule { from: Some(NetworkIx(0)), to: Some(NetworkIx(0)), stops: None };
    let two = [ride(0, 0, 1, 0, 9), ride(0, 1, 2, 10, 19)];
    assert_eq!(cents(&set, &two), (0, vec![0, 1]), "areas named on one side only, apart");
    set.join_rules = vec![join];
    assert_eq!(cents(&set, &two), (310, vec![]));
    let three = [ride(0, 0, 1, 0, 9), ride(0, 1, 3, 10, 19), ride(0, 3, 2, 20, 29)];
    assert_eq!(cents(&set, &three), (310, vec![]), "a chain");
    let apart = [ride(0, 0, 1, 0, 9), ride(0, 3, 2, 20, 29)];
    assert_eq!(cents(&set, &apart).1.len(), 2, "not at the same station");
    set.join_rules[0].stops = Some((StopIx(1), StopIx(3)));
    assert_eq!(cents(&set, &apart), (310, vec![]), "an interchange that is named");
}

#[test]
fn a_joined_leg_over_two_networks_has_none_of_them() {
    let mut set = city();
    set.products = vec![product("n0", 100), product("any", 170)];
    set.leg_rules = vec![LegRule { network: Some(NetworkIx(0)), ..rule(0) }, rule(1)];
    set.join_rules =
        vec![JoinRule { from: Some(NetworkIx(0)), to: Some(NetworkIx(1)), stops: None }];
    let mixed = [ride(0, 0, 1, 0, 9), ride(1, 1, 2, 10, 19)];
    assert_eq!(cents(&set, &mixed), (0, vec![0, 1]), "n0 is named, so empty is not n0");
    set.has_priority = true;
    assert_eq!(cents(&set, &mixed), (170, vec![]));
}

#[test]
fn a_rider_pays_for_the_own_category_or_for_any_and_no_category_inherits() {
    let mut set = city();
    let rider = |id: &str, is_default| RuleRider { id: id.into(), name: id.into(), is_default };
    set.riders = vec![rider("adult", true), rider("child", false), rider("senior", false)];
    let variant = |rider, cents| Variant { rider, medium: None, amount: Money::new(cents, usd()) };
    set.products = vec![product("p", 0), product("q", 260)];
    set.products[0].variants = vec![variant(Some(0), 240), variant(Some(1), 0)];
    set.leg_rules = vec![rule(0)];
    let of = |set: &RuleSet, rider| {
        let paid = price(set, &rides([0]), Who { rider, medium: None });
        (paid.total.minor(), paid.unknown.len())
    };
    assert_eq!(of(&set, None), (240, 0), "nothing stated: the default category");
    assert_eq!(of(&set, Some(1)), (0, 0));
    assert_eq!(of(&set, Some(2)), (0, 1), "senior has no row");
    set.leg_rules.push(rule(1));
    assert_eq!(of(&set, Some(2)), (260, 0), "the row for any rider");
}

#[test]
fn a_timeframe_is_tested_on_the_calendar_date_of_the_stops_own_clock() {
    let mut set = city();
    set.products = vec![product("peak", 300), product("night", 150)];
    let mut weekdays = [true; 7];
    weekdays[5] = false;
    weekdays[6] = false;
    let period = Some((ServiceDate(DAY.0 - 100), ServiceDate(DAY.0 + 100)));
    let service = |weekdays| Service { weekdays, period, ..Service::default() };
    let weekend = weekdays.map(|runs| !runs);
    set.services = vec![service(weekdays), service(weekend)];
    let row = |start_s, end_s, s| TimeRow { start_s, end_s, service: Some(s) };
    let frame = |id: &str, rows| Timeframe { id: id.into(), rows };
    set.timeframes =
        vec![frame("week", vec![row(0, 86_400, 0)]), frame("weekend", vec![row(0, 86_400, 1)])];
    set.leg_rules =
        vec![LegRule { from_time: Some(0), ..rule(0) }, LegRule { from_time: Some(1), ..rule(1) }];
    // Friday of the service day, 25:30 on its clock: Saturday, half past one.
    let friday = ServiceDate(DAY.0 + 2);
    let at = |zone: &ZoneOffsets, secs| Ride {
        departs: zone.moment(friday, secs),
        arrives: zone.moment(friday, secs + 600),
        ..ride(0, 0, 1, 0, 0)
    };
    let utc = ZoneOffsets::fixed(0);
    assert_eq!(cents(&set, &[at(&utc, 86_399)]).0, 300);
    assert_eq!(cents(&set, &[at(&utc, 86_400)]).0, 150, "24:00:00 is the next date");
    set.zones.push(ZoneOffsets::fixed(-3 * 3600));
    set.stops[0].zone = 1;
    assert_eq!(cents(&set, &[at(&utc, 86_400 + 5400)]).0, 300, "three hours west it is Friday");
}

#[test]
fn both_nights_of_a_clock_change_are_priced_by_the_wall_clock() {
    // Berlin: forward on 29 March 2026 at 01:00 UTC, back on 25 October 2026 at 01:00 UTC.
    let berlin =
        ZoneOffsets { first_s: 3600, changes: vec![(1_774_746_000, 7200), (1_792_890_000, 3600)] };
    let mut set = city();
    set.zones = vec![berlin.clone()];
    set.products = vec![product("night", 100), product("day", 200)];
    set.services = vec![Service {
        weekdays: [true; 7],
        period: Some((ServiceDate(20_000), ServiceDate(21_000))),
        ..Service::default()
    }];
    let row = |start_s, end_s| TimeRow { start_s, end_s, service: Some(0) };
    set.timeframes = vec![
        Timeframe { id: "night".into(), rows: vec![row(0, 3 * 3600)] },
        Timeframe { id: "day".into(), rows: vec![row(3 * 3600, 86_400)] },
    ];
    set.leg_rules =
        vec![LegRule { from_time: Some(0), ..rule(0) }, LegRule { from_time: Some(1), ..rule(1) }];
    let at = |utc_s: u64| {
        let at = Timestamp::from_secs(utc_s);
        Ride { departs: at, arrives: at, ..ride(0, 0, 1, 0, 0) }
    };
    let spring = 1_774_746_000;
    assert_eq!(cents(&set, &[at(spring - 1)]).0, 100, "01:59:59");
    assert_eq!(cents(&set, &[at(spring)]).0, 200, "02:00 does not exist, it is 03:00");
    let autumn = 1_792_890_000;
    assert_eq!(cents(&set, &[at(autumn - 1)]).0, 100, "02:59:59 for the first time");
    assert_eq!(cents(&set, &[at(autumn + 3599)]).0, 100, "02:59:59 for the second time");
    assert_eq!(cents(&set, &[at(autumn + 3600)]).0, 200);
    // A service day's clock counts from noon minus twelve hours.
    let sunday = ServiceDate(20_541);
    assert_eq!(sunday.to_string(), "2026-03-29");
    let local = |secs| berlin.local(berlin.moment(sunday, secs)).secs;
    assert_eq!((local(12 * 3600), local(4 * 3600), local(3600)), (12 * 3600, 4 * 3600, 0));
}
