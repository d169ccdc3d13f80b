//! The same rules tap by tap, as a card follows them.

use alloc::{sync::Arc, vec, vec::Vec};

use model::{
    Companions, OperatorId, PlaceIx, RiderClass, RouteIx, TapRole, TariffVersion, Timestamp,
    ValidatorId,
};
use proptest::prelude::*;

use super::{
    city,
    made::{journey, made},
    product, ride, rule, transfer,
};
use crate::{
    Class, FareRefusal, FareTap, Gate, GroupIx, Journey, Mode, NotPassed, Operator, Place,
    PlaceKind, Quote, Route, StepKind, Tariff, TariffParts, TariffRules, TariffSet, Terms,
    UnknownFare, price,
    rules::{
        AreaIx, DurationSpan, Interpreter, LegRule, NetworkIx, Ride, RuleSet, TransferKind,
        TransferRule, Who, ZoneOffsets,
    },
};

/// A tariff whose rides are all priced by rules.
fn tariff(set: RuleSet) -> Result<Tariff, Vec<crate::Diagnostic>> {
    let mut groups: Vec<_> = set.leg_groups.iter().map(|id| id.as_ref().into()).collect();
    groups.push("gate".into());
    let group = GroupIx(u8::try_from(groups.len() - 1).unwrap());
    let class = |r: &crate::rules::RuleRider| Class {
        id: r.id.as_ref().into(),
        name: r.name.as_ref().into(),
    };
    let mut classes: Vec<_> = set.riders.iter().map(class).collect();
    if classes.is_empty() {
        classes.push(Class { id: "adult".into(), name: "Adult".into() });
    }
    let place = |stop: &crate::rules::RuleStop| Place {
        id: Arc::clone(&stop.id),
        name: Arc::clone(&stop.name),
        lat_e6: 0,
        lon_e6: 0,
        kind: PlaceKind::Station,
    };
    let route = |route: &crate::rules::RuleRoute| Route {
        id: Arc::clone(&route.id),
        name: Arc::clone(&route.name),
        mode: Mode::Bus,
        operator: OperatorId(0),
        group,
        product: None,
    };
    let mut terms = Terms::default();
    terms.calendar.clock = Some(ZoneOffsets::fixed(0));
    Tariff::compile(TariffParts {
        version: TariffVersion(1),
        network: "Made".into(),
        timezone: "Etc/UTC".into(),
        currency: set.currency,
        pass_back_s: 0,
        groups,
        operators: vec![Operator { id: "op".into(), name: "Op".into() }],
        classes,
        products: vec![],
        places: set.stops.iter().map(place).collect(),
        routes: set.routes.iter().map(route).collect(),
        gate: Some(Gate {
            group,
            journey_limit_s: None,
            maximum_fare: None,
            minimum_balance: None,
            unknown: UnknownFare::Refuse,
            not_passed: NotPassed::Charge,
            same_station: vec![],
            places: vec![],
            cells: vec![],
        }),
        transfers: vec![],
        examples: vec![],
        terms,
        rules: Some(TariffRules { set: Arc::new(set), medium: None }),
    })
}

struct Card {
    set: TariffSet,
    class: RiderClass,
    journey: Journey,
}

impl Card {
    fn new(set: RuleSet) -> Self {
        let set = TariffSet::new(tariff(set).unwrap_or_else(|found| panic!("{found:#?}")));
        Self { set, class: RiderClass(0), journey: Journey::default() }
    }

    fn tap(
        &mut self,
        role: TapRole,
        place: u32,
        route: RouteIx,
        at: Timestamp,
    ) -> Result<Quote, FareRefusal> {
        let tap = FareTap {
            at,
            role,
            place: PlaceIx(u16::try_from(place).unwrap()),
            route: Some(route),
            class: self.class,
            companions: Companions::NONE,
            purse: None,
            validator: ValidatorId::DEPOT,
            tariff: TariffVersion(1),
        };
        let quote = price(&self.set, &self.journey, &tap)?;
        let sum: i64 = quote.steps.iter().map(|step| step.amount.minor()).sum();
        assert_eq!(sum, quote.charge.minor(), "the steps sum to the charge");
        self.journey = quote.journey_after;
        Ok(quote)
    }

    /// Taps in and out.
    fn ride(&mut self, ride: &Ride) -> Result<Quote, FareRefusal> {
        self.tap(TapRole::Entry, ride.from.0, ride.route, ride.departs)?;
        self.tap(TapRole::Exit, ride.to.0, ride.route, ride.arrives)
    }

    fn board(&mut self, ride: &Ride) -> Result<i64, FareRefusal> {
        let quote = self.tap(TapRole::Board, ride.from.0, ride.route, ride.departs)?;
        Ok(quote.charge.minor())
    }
}

#[test]
fn a_boarding_is_priced_when_every_end_costs_the_same_and_refused_when_not() {
    let mut set = city();
    set.products = vec![product("flat", 170), product("near", 100), product("far", 400)];
    let od = |to, p| LegRule { network: Some(NetworkIx(1)), to: Some(AreaIx(to)), ..rule(p) };
    set.leg_rules =
        vec![LegRule { network: Some(NetworkIx(0)), ..rule(0) }, od(0, 1), od(1, 2), od(2, 2)];
    let mut card = Card::new(set);
    // Areas are named by the rules of the other network, so a plain end is the one in no area.
    assert_eq!(card.board(&ride(0, 3, 3, 0, 9)), Ok(170));
    assert_eq!(card.board(&ride(1, 3, 0, 20, 29)), Err(FareRefusal::UnknownRoute));
    let far = card.ride(&ride(1, 3, 1, 30, 39)).unwrap();
    assert_eq!(far.charge.minor(), 400);
}

#[test]
fn transfers_of_each_type_are_charged_tap_by_tap() {
    // A = 200, B = 300, AB = 40; what A was paid with type 2 cannot be given back.
    for (kind, charges) in [
        (TransferKind::InsteadOfNext, [200, 40]),
        (TransferKind::BesidesNext, [200, 340]),
        (TransferKind::InsteadOfBoth, [200, 0]),
    ] {
        let mut set = city();
        set.products = vec![product("a", 200), product("b", 300), product("ab", 40)];
        set.leg_groups = vec!["A".into(), "B".into()];
        let leg = |n: u16| LegRule { group: Some(n), network: Some(NetworkIx(n)), ..rule(n) };
        set.leg_rules = vec![leg(0), leg(1)];
        let limit = Some((3600, DurationSpan::DepartureToDeparture));
        set.transfer_rules = vec![TransferRule { kind, limit, product: Some(2), ..transfer(0, 1) }];
        let mut card = Card::new(set.clone());
        let rides = [ride(0, 0, 1, 0, 9), ride(1, 1, 2, 60, 69)];
        assert_eq!(rides.map(|ride| card.board(&ride).unwrap()), charges, "{kind:?}");
        let mut gates = Card::new(set.clone());
        let quotes = rides.map(|ride| gates.ride(&ride).unwrap());
        assert_eq!(quotes.each_ref().map(|quote| quote.charge.minor()), charges, "{kind:?}");
        let kept = quotes[1].steps.iter().any(|step| step.kind == StepKind::NoRefund);
        assert_eq!(kept, kind == TransferKind::InsteadOfBoth);
        let mut late = Card::new(set);
        late.board(&rides[0]).unwrap();
        assert_eq!(late.board(&ride(1, 1, 2, 61, 70)), Ok(300), "a minute too late");
    }
}

#[test]
fn a_transfer_that_asks_for_the_product_held_is_followed_by_the_card() {
    let mut set = city();
    set.products = vec![product("ticket", 240), product("cash", 240)];
    set.leg_groups = vec!["A".into(), "B".into()];
    let leg = |n: u16, p| LegRule { group: Some(n), network: Some(NetworkIx(n)), ..rule(p) };
    set.leg_rules = vec![leg(0, 0), leg(1, 0)];
    set.transfer_rules = vec![TransferRule { holding: Some(0), ..transfer(0, 1) }];
    let rides = [ride(0, 0, 1, 0, 9), ride(1, 1, 2, 60, 69)];
    let mut card = Card::new(set.clone());
    assert_eq!(rides.map(|ride| card.board(&ride).unwrap()), [240, 0]);
    set.transfer_rules[0].holding = Some(1);
    let mut card = Card::new(set);
    assert_eq!(rides.map(|ride| card.board(&ride).unwrap()), [240, 240]);
}

#[test]
fn rules_that_a_card_cannot_follow_are_refused_with_the_reason() {
    let mut set = city();
    set.products = vec![product("p", 200)];
    set.leg_groups = vec!["A".into(), "B".into()];
    set.leg_rules = vec![LegRule { group: Some(0), ..rule(0) }];
    let limit = |span| Some((600, span));
    set.transfer_rules = vec![
        TransferRule { limit: limit(DurationSpan::DepartureToDeparture), ..transfer(0, 1) },
        TransferRule { limit: limit(DurationSpan::ArrivalToDeparture), ..transfer(1, 0) },
    ];
    let message = |set: &RuleSet| tariff(set.clone()).unwrap_err()[0].message.clone();
    assert_eq!(message(&set), "some transfer times begin with a departure, some with an arrival");
    set.transfer_rules = vec![TransferRule { count: Some(1), ..transfer(0, 0) }, transfer(1, 0)];
    assert_eq!(message(&set), "a transfer that is counted is reached from another group");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_tariff_of_rules_is_written_and_read_again(set in made()) {
        let Ok(tariff) = tariff(named_apart(set)) else { return Ok(()) };
        let text = tariff.to_toml();
        let again = Tariff::parse(&text);
        prop_assert_eq!(again.as_ref(), Ok(&tariff), "{}", text);
    }

    /// One ride by itself costs by taps what the rules say; a journey never costs less than the
    /// cheapest choice over all of it.
    #[test]
    fn taps_cost_what_the_rules_say(
        set in made(), rides in journey(), class in 0_u8..2,
    ) {
        let set = named_apart(set);
        if tariff(set.clone()).is_err() {
            return Ok(());
        }
        let who = Who { rider: (class > 0).then_some(1), medium: None };
        let plain = Interpreter::new(&set);
        for ride in &rides {
            let exact = plain.price(&[*ride], who);
            let mut card = Card { class: RiderClass(class), ..Card::new(set.clone()) };
            match card.ride(ride) {
                Ok(quote) => {
                    prop_assert!(exact.unknown.is_empty());
                    prop_assert_eq!(quote.charge.minor(), exact.total.minor().max(0));
                }
                Err(_) => prop_assert!(!exact.unknown.is_empty()),
            }
        }
        let mut set = set;
        set.join_rules.clear(); // a tap-out ends a leg
        let exact = Interpreter::new(&set).price(&rides, who);
        let mut card = Card { class: RiderClass(class), ..Card::new(set) };
        let paid: Result<Vec<i64>, _> =
            rides.iter().map(|ride| card.ride(ride).map(|quote| quote.charge.minor())).collect();
        if let (Ok(paid), true) = (paid, exact.unknown.is_empty()) {
            prop_assert!(paid.iter().sum::<i64>() >= exact.total.minor().max(0));
        }
    }
}

/// Made cities give one name to many things; a tariff text wants them apart.
fn named_apart(mut set: RuleSet) -> RuleSet {
    for (i, product) in set.products.iter_mut().enumerate() {
        product.id = alloc::format!("p{i}").into();
    }
    for (i, frame) in set.timeframes.iter_mut().enumerate() {
        frame.id = alloc::format!("t{i}").into();
    }
    for stop in &mut set.stops {
        stop.areas.sort_unstable();
        stop.areas.dedup();
    }
    set.transfer_rules.iter_mut().for_each(|rule| {
        rule.limit = rule.limit.map(|(limit_s, _)| (limit_s, DurationSpan::DepartureToDeparture));
    });
    set
}
