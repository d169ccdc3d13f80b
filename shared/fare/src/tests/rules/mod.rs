//! Fares of whole journeys: small cities written by hand, and made ones.

mod examples;
mod made;
mod oracle;
mod taps;
mod tickets;

use alloc::{sync::Arc, vec, vec::Vec};

use model::{Currency, Money, RouteIx, ServiceDate, Timestamp};

use crate::rules::{
    AreaIx, Interpreter, JourneyPrice, LegRule, NetworkIx, Ride, RuleProduct, RuleRoute, RuleSet,
    RuleStop, RuleTable, StopIx, TransferKind, TransferRule, Variant, Who, ZoneOffsets,
};

/// Wednesday, 25 November 2026, by a clock of UTC.
pub(super) const DAY: ServiceDate = ServiceDate(20_782);

pub(super) fn usd() -> Currency {
    Currency::parse("USD").unwrap()
}

/// A city without rules: networks 0 and 1 with a route each, and a third route in none; four
/// stops, of which stop n is in area n except the last, which is in none.
pub(super) fn city() -> RuleSet {
    let text = |prefix: &str, n: u32| Arc::<str>::from(alloc::format!("{prefix}{n}"));
    let stop = |n: u16| RuleStop {
        id: text("s", n.into()),
        name: text("Stop ", n.into()),
        station: StopIx(n.into()),
        areas: if n < 3 { vec![AreaIx(n)] } else { vec![] },
        zone: 0,
    };
    let route = |n: u16| RuleRoute {
        id: text("r", n.into()),
        name: text("Route ", n.into()),
        network: (n < 2).then_some(NetworkIx(n)),
    };
    RuleSet {
        currency: usd(),
        zones: vec![ZoneOffsets::fixed(0)],
        riders: vec![],
        media: vec![],
        products: vec![],
        networks: vec![text("n", 0), text("n", 1)],
        areas: (0..3).map(|n| text("a", n)).collect(),
        stops: (0..4).map(stop).collect(),
        routes: (0..3).map(route).collect(),
        timeframes: vec![],
        services: vec![],
        leg_groups: vec![],
        has_priority: false,
        leg_rules: vec![],
        join_rules: vec![],
        transfer_rules: vec![],
    }
}

pub(super) fn product(id: &str, cents: i64) -> RuleProduct {
    let variant = Variant { rider: None, medium: None, amount: Money::new(cents, usd()) };
    RuleProduct { id: id.into(), name: id.into(), variants: vec![variant] }
}

/// A leg rule of a product that matches by empty fields.
pub(super) const fn rule(product: u16) -> LegRule {
    LegRule {
        group: None,
        network: None,
        from: None,
        to: None,
        from_time: None,
        to_time: None,
        product,
        priority: 0,
        transfer_only: false,
        dead: false,
        row: 2,
    }
}

/// A free transfer between two groups.
pub(super) const fn transfer(from: u16, to: u16) -> TransferRule {
    TransferRule {
        from: Some(from),
        to: Some(to),
        count: None,
        limit: None,
        kind: TransferKind::InsteadOfNext,
        product: None,
        holding: None,
        dead: false,
        row: 2,
    }
}

/// A ride that departs and arrives so many minutes into the day.
pub(super) fn ride(route: u16, from: u32, to: u32, departs: u32, arrives: u32) -> Ride {
    let at =
        |minutes: u32| Timestamp::from_secs(u64::from(DAY.0) * 86_400 + u64::from(minutes) * 60);
    Ride {
        route: RouteIx(route),
        from: StopIx(from),
        to: StopIx(to),
        departs: at(departs),
        arrives: at(arrives),
    }
}

/// The price by the interpreter, which the table must equal.
pub(super) fn price(set: &RuleSet, rides: &[Ride], who: Who) -> JourneyPrice {
    let plain = Interpreter::new(set).price(rides, who);
    let table = RuleTable::compile(set.clone());
    assert_eq!(table.price(rides, who), plain, "the table equals the interpreter");
    let sum: i64 = plain.steps.iter().map(|step| step.amount.minor()).sum();
    assert_eq!(sum, plain.total.minor(), "the steps sum to the total");
    plain
}

/// Total in cents and the rides without a fare.
pub(super) fn cents(set: &RuleSet, rides: &[Ride]) -> (i64, Vec<usize>) {
    let price = price(set, rides, Who::default());
    (price.total.minor(), price.unknown)
}
