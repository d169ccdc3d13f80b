//! Made cities with every kind of rule in them: the table equals the interpreter, and the walk
//! finds what trying every choice finds.

use alloc::{vec, vec::Vec};

use model::{Money, ServiceDate};
use proptest::prelude::*;

use super::{DAY, city, oracle::oracle, ride, usd};
use crate::rules::{
    AreaIx, DurationSpan, Interpreter, JoinRule, LegRule, NetworkIx, Ride, RuleMedium, RuleProduct,
    RuleRider, RuleSet, RuleTable, Service, TimeRow, Timeframe, TransferKind, TransferRule,
    Variant, Who,
};

fn maybe(most: u16) -> impl Strategy<Value = Option<u16>> {
    prop_oneof![2 => Just(None), 3 => (0..most).prop_map(Some)]
}

prop_compose! {
    fn leg_rule()(
        group in maybe(3), network in maybe(2), from in maybe(3), to in maybe(3),
        from_time in maybe(2), to_time in maybe(2), product in 0u16..5, priority in 0u32..3,
        transfer_only in prop::bool::weighted(0.15), dead in prop::bool::weighted(0.1),
    ) -> LegRule {
        LegRule {
            group, network: network.map(NetworkIx), from: from.map(AreaIx), to: to.map(AreaIx),
            from_time, to_time, product, priority, transfer_only, dead, row: 2,
        }
    }
}

prop_compose! {
    fn transfer_rule()(
        from in maybe(3), to in maybe(3), count in prop::option::of(1u32..3),
        limit in prop::option::of((600u32..7200, 0usize..4)), kind in 0usize..3,
        product in maybe(5), holding in prop::option::weighted(0.2, 0u16..5),
        dead in prop::bool::weighted(0.1),
    ) -> TransferRule {
        let spans = [
            DurationSpan::DepartureToArrival, DurationSpan::DepartureToDeparture,
            DurationSpan::ArrivalToDeparture, DurationSpan::ArrivalToArrival,
        ];
        let kinds =
            [TransferKind::InsteadOfNext, TransferKind::BesidesNext, TransferKind::InsteadOfBoth];
        TransferRule {
            from, to, count: count.filter(|_| from == to),
            limit: limit.map(|(secs, span)| (secs, spans[span])),
            kind: kinds[kind], product, holding, dead, row: 2,
        }
    }
}

prop_compose! {
    pub(super) fn made()(
        variants in prop::collection::vec(
            prop::collection::vec((maybe(2), maybe(2), -50i64..500), 1..4), 5),
        areas in prop::collection::vec(prop::collection::vec(0u16..3, 0..3), 4),
        frames in prop::collection::vec((0u32..80_000, 1u32..40_000, 0u16..2), 2),
        has_priority in any::<bool>(),
        leg_rules in prop::collection::vec(leg_rule(), 1..14),
        transfer_rules in prop::collection::vec(transfer_rule(), 0..8),
        joins in prop::collection::vec((0u16..2, 0u16..2), 0..2),
    ) -> RuleSet {
        let mut set = city();
        let name = |id: &str| id.into();
        set.riders = vec![
            RuleRider { id: name("a"), name: name("a"), is_default: true },
            RuleRider { id: name("b"), name: name("b"), is_default: false },
        ];
        set.media = vec![
            RuleMedium { id: name("m"), name: name("m") },
            RuleMedium { id: name("n"), name: name("n") },
        ];
        let variant = |(rider, medium, cents)| {
            Variant { rider, medium, amount: Money::new(cents, usd()) }
        };
        set.products = variants.into_iter().map(|rows| RuleProduct {
            id: name("p"), name: name("p"), variants: rows.into_iter().map(variant).collect(),
        }).collect();
        for (stop, areas) in set.stops.iter_mut().zip(areas) {
            stop.areas = areas.into_iter().map(AreaIx).collect();
        }
        let period = Some((ServiceDate(DAY.0 - 1), ServiceDate(DAY.0 + 1)));
        let weekday = [true, true, true, false, false, false, false];
        set.services = vec![
            Service { weekdays: weekday, period, ..Service::default() },
            Service { weekdays: [true; 7], period, ..Service::default() },
        ];
        set.timeframes = frames.into_iter().map(|(start_s, len, service)| Timeframe {
            id: name("t"),
            rows: vec![TimeRow {
                start_s, end_s: (start_s + len).min(86_400), service: Some(service),
            }],
        }).collect();
        set.leg_groups = ["A", "B", "C"].map(name).into();
        set.has_priority = has_priority;
        set.leg_rules = leg_rules;
        set.transfer_rules = transfer_rules;
        set.join_rules = joins.into_iter().map(|(from, to)| JoinRule {
            from: Some(NetworkIx(from)), to: Some(NetworkIx(to)), stops: None,
        }).collect();
        set
    }
}

prop_compose! {
    pub(super) fn journey()(
        legs in prop::collection::vec((0u16..3, 0u32..4, 0u32..4, 1u32..90, 0u32..90), 1..5),
    ) -> Vec<Ride> {
        let mut clock = 7 * 60 + 30;
        let mut rides = Vec::new();
        for (route, from, to, takes, waits) in legs {
            rides.push(ride(route, from, to, clock, clock + takes));
            clock += takes + waits;
        }
        rides
    }
}

fn who() -> impl Strategy<Value = Who> {
    (prop::option::of(0u16..2), prop::option::of(0u16..2))
        .prop_map(|(rider, medium)| Who { rider, medium })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_compiled_table_equals_the_interpreter(
        set in made(), journeys in prop::collection::vec((journey(), who()), 8),
    ) {
        let table = RuleTable::compile(set.clone());
        let plain = Interpreter::new(&set);
        for (rides, who) in journeys {
            let price = plain.price(&rides, who);
            prop_assert_eq!(table.price(&rides, who), price.clone());
            let sum: i64 = price.steps.iter().map(|step| step.amount.minor()).sum();
            prop_assert_eq!(sum, price.total.minor());
        }
    }

    #[test]
    fn the_walk_finds_what_trying_every_choice_finds(
        set in made(), rides in journey(), who in who(),
    ) {
        let price = Interpreter::new(&set).price(&rides, who);
        prop_assert_eq!((price.unknown.len(), price.total.minor()), oracle(&set, &rides, who));
    }

    /// One ride has no transfer: nothing is cheaper together than the cheapest choice is alone,
    /// unless a transfer rule or a join says so.
    #[test]
    fn without_transfers_and_joins_a_journey_costs_the_sum_of_its_rides(
        set in made(), rides in journey(), who in who(),
    ) {
        let mut set = set;
        set.transfer_rules.clear();
        set.join_rules.clear();
        let plain = Interpreter::new(&set);
        let whole = plain.price(&rides, who);
        let singles: Vec<_> = rides.iter().map(|ride| plain.price(&[*ride], who)).collect();
        let sum: i64 = singles.iter().map(|price| price.total.minor()).sum();
        prop_assert_eq!(whole.total.minor(), sum);
        let unknown: usize = singles.iter().map(|price| price.unknown.len()).sum();
        prop_assert_eq!(whole.unknown.len(), unknown);
    }
}
