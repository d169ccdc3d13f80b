//! Fares v2 → tariff: the rules as they are, with stations for platforms.
//!
//! A validator knows its station, not the platform: a station is in all areas of its platforms.
//! Route and place keep their order, so that the tariff's numbers are the rules' own.

use std::{collections::BTreeMap, sync::Arc};

use fare::{
    Class, Gate, GroupIx, Route, TariffParts, TariffRules, Terms, UnknownFare,
    rules::{AreaIx, JoinRule, NetworkIx, RuleRider, RuleRoute, RuleSet, RuleStop, StopIx},
};
use model::OperatorId;

use crate::{
    FaresRead, FeedFares, ImportOptions,
    diagnostic::{At, Findings},
    import::{operators, place},
    network::Tables,
};

/// The tables of a tariff; `None` when the feed's fares could not be read or something in them
/// cannot be held by a card.
pub(crate) fn parts(
    tables: &Tables,
    read: &FaresRead,
    options: &ImportOptions,
    found: &mut Findings,
) -> Option<TariffParts> {
    let Some(FeedFares::Rules(rules)) = &read.fares else { return None };
    if rules.stops.iter().any(|stop| stop.zone != 0) {
        let message = "stops lie in several time zones: one tariff keeps one clock";
        found.error("several_time_zones", At::file("stops.txt"), message);
        return None;
    }
    let medium = card_medium(read, options, found)?;
    let set = rule_set(tables, read, rules);
    let class = |r: &RuleRider| Class { id: r.id.to_string(), name: r.name.to_string() };
    let classes = set.riders.iter().map(class).collect();
    let mut groups: Vec<String> = set.leg_groups.iter().map(ToString::to_string).collect();
    let free = |name: &&&str| !groups.iter().any(|group| group == **name);
    let gates = ["gate", "gates", "gate-journeys"].iter().find(free).copied();
    groups.push(gates.unwrap_or("all-gates").to_owned());
    let gate_group = GroupIx(u8::try_from(groups.len() - 1).unwrap_or(u8::MAX));
    let route = |route: &crate::network::FeedRoute| Route {
        id: route.id.as_str().into(),
        name: route.name.as_str().into(),
        mode: route.mode,
        operator: OperatorId(route.agency),
        group: gate_group,
        product: None,
    };
    let mut terms = Terms::default();
    terms.calendar.clock = rules.zones.first().cloned();
    Some(TariffParts {
        version: options.version,
        network: tables.agencies[0].name.clone(),
        timezone: tables.agencies[0].timezone.clone(),
        currency: rules.currency,
        pass_back_s: 0,
        operators: operators(tables),
        classes,
        products: Vec::new(),
        places: tables.places.iter().map(place).collect(),
        routes: tables.routes.iter().map(route).collect(),
        gate: Some(Gate {
            group: gate_group,
            journey_limit_s: None,
            maximum_fare: None,
            minimum_balance: None,
            unknown: UnknownFare::Refuse,
            not_passed: fare::NotPassed::Charge,
            same_station: Vec::new(),
            places: Vec::new(),
            cells: Vec::new(),
        }),
        transfers: Vec::new(),
        groups,
        examples: Vec::new(),
        terms,
        rules: Some(TariffRules { set: Arc::new(set), medium }),
    })
}

/// `None` when the feed has no such medium.
#[expect(clippy::option_option, reason = "not stated and wrong are two answers")]
fn card_medium(
    read: &FaresRead,
    options: &ImportOptions,
    found: &mut Findings,
) -> Option<Option<u16>> {
    let Some(id) = &options.card_medium else { return Some(None) };
    let medium = read.medium_of.get(id).copied();
    if medium.is_none() {
        let known: Vec<&str> = read.medium_of.keys().map(String::as_str).collect();
        let message =
            format!("there is no fare medium {id:?} for the card to be: use {}", known.join(", "));
        found.error("card_medium", At::file("fare_media.txt"), message);
    }
    medium.map(Some)
}

/// The rules, over the tariff's own places, routes and categories.
fn rule_set(tables: &Tables, read: &FaresRead, rules: &RuleSet) -> RuleSet {
    let stop = |(ix, place): (u32, &crate::network::FeedPlace)| {
        let known = place.stop_ids.iter().filter_map(|id| read.stop_of.get(id));
        let mut areas: Vec<AreaIx> =
            known.flat_map(|ix| rules.stops[ix.0 as usize].areas.iter().copied()).collect();
        areas.sort_unstable();
        areas.dedup();
        RuleStop {
            id: place.id.as_str().into(),
            name: place.name.as_str().into(),
            station: StopIx(ix),
            areas,
            zone: 0,
        }
    };
    let route = |route: &crate::network::FeedRoute| RuleRoute {
        id: route.id.as_str().into(),
        name: route.name.as_str().into(),
        network: read
            .route_of
            .get(&route.id)
            .and_then(|ix| rules.routes[usize::from(ix.0)].network),
    };
    let order = rider_order(&rules.riders);
    let rider_of: BTreeMap<u16, u16> = order.iter().copied().zip(0..).collect();
    let mut set = RuleSet {
        stops: (0..).zip(&tables.places).map(stop).collect(),
        routes: tables.routes.iter().map(route).collect(),
        riders: order.iter().map(|ix| rules.riders[usize::from(*ix)].clone()).collect(),
        join_rules: rules.join_rules.iter().filter_map(|r| join(tables, rules, r)).collect(),
        ..rules.clone()
    };
    if set.riders.is_empty() {
        set.riders.push(RuleRider { id: "adult".into(), name: "Adult".into(), is_default: true });
    }
    for (ix, rider) in set.riders.iter_mut().enumerate() {
        rider.is_default = ix == 0;
    }
    let default = |rider: u16| rules.riders[usize::from(rider)].is_default;
    for variant in set.products.iter_mut().flat_map(|product| &mut product.variants) {
        // Several categories may be the default one, each of its products: they are one here.
        variant.rider =
            variant.rider.map(|rider| if default(rider) { 0 } else { rider_of[&rider] });
    }
    set
}

/// The default category first, the others in their order.
fn rider_order(riders: &[RuleRider]) -> Vec<u16> {
    let mut order: Vec<u16> = (0..).take(riders.len()).collect();
    order.sort_by_key(|ix| !riders[usize::from(*ix)].is_default);
    order
}

fn join(tables: &Tables, rules: &RuleSet, rule: &JoinRule) -> Option<JoinRule> {
    let place = |stop: StopIx| {
        let id = &*rules.stops[stop.0 as usize].id;
        tables.place_of.get(id).map(|ix| StopIx(u32::from(*ix)))
    };
    let stops = match rule.stops {
        None => None,
        Some((from, to)) => Some((place(from)?, place(to)?)),
    };
    Some(JoinRule { stops, ..*rule })
}

/// Routes whose boarding costs more or less by where the rider alights.
pub(crate) fn note_tap_outs(tables: &Tables, set: &Arc<RuleSet>, found: &mut Findings) {
    let table = fare::rules::RuleTable::compile(Arc::clone(set));
    let mut networks: BTreeMap<Option<NetworkIx>, Vec<usize>> = BTreeMap::new();
    for (ix, route) in set.routes.iter().enumerate() {
        networks.entry(route.network).or_default().push(ix);
    }
    for routes in networks.values() {
        let ix = model::RouteIx(u16::try_from(routes[0]).unwrap_or(0));
        let stops = (0..).take(set.stops.len()).map(StopIx);
        let at = model::Timestamp::from_secs(0);
        let depends = |stop: &StopIx| {
            table.board_offers(ix, *stop, at, fare::rules::Who::default()).is_none()
        };
        if stops.into_iter().any(|stop| depends(&stop)) {
            let route = &tables.routes[routes[0]];
            let at = At::field("routes.txt", route.row, "route_id");
            let message = format!(
                "route {:?} and {} others of its network cost by where the rider alights: their \
                 riders tap in and out",
                route.id,
                routes.len() - 1
            );
            found.warning("tap_out_needed", at, message);
        }
    }
}
