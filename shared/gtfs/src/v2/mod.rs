//! Fares v2: every file of it, read into a [`RuleSet`].
//!
//! A row that refers to nothing, or says what the specification forbids, is noted and never
//! matches; what it names besides still counts as named.

mod areas;
mod checks;
mod coverage;
mod legs;
mod networks;
mod products;
mod reach;
mod times;
mod transfers;

use std::sync::Arc;

use fare::rules::{RuleRoute, RuleSet, RuleStop, StopIx};

use crate::{Feed, base::Base, diagnostic::Findings, rides::read_stop_orders};

pub(crate) const PRODUCTS: &str = "fare_products.txt";
pub(crate) const MEDIA: &str = "fare_media.txt";
pub(crate) const RIDERS: &str = "rider_categories.txt";
pub(crate) const LEGS: &str = "fare_leg_rules.txt";
pub(crate) const JOINS: &str = "fare_leg_join_rules.txt";
pub(crate) const TRANSFERS: &str = "fare_transfer_rules.txt";
pub(crate) const TIMEFRAMES: &str = "timeframes.txt";
pub(crate) const AREAS: &str = "areas.txt";
pub(crate) const STOP_AREAS: &str = "stop_areas.txt";
pub(crate) const NETWORKS: &str = "networks.txt";
pub(crate) const ROUTE_NETWORKS: &str = "route_networks.txt";

/// Reads all of it; `None` when products or leg rules cannot be read at all.
pub(crate) fn read_rules(feed: &Feed, base: &Base, found: &mut Findings) -> Option<RuleSet> {
    let products = products::read_products(feed, found);
    let networks = networks::read_networks(feed, base, found);
    let areas = areas::read_areas(feed, base, found);
    let times = times::read_times(feed, found);
    let products = products?;
    let names = legs::Names {
        products: &products.ids,
        networks: &networks.ids,
        areas: &areas.ids,
        timeframes: &times.ids,
    };
    let legs = legs::read_legs(feed, &names, found)?;
    let join_rules = legs::read_joins(feed, base, &networks.ids, found);
    let transfer_rules = transfers::read_transfers(feed, &products.ids, &legs.groups, found);
    let (zones, zone_of_stop) = times::stop_zones(base, found);
    let stop = |(i, zone): (usize, u16)| {
        let stop = &base.stops[i];
        let ix = StopIx(u32::try_from(i).unwrap_or(u32::MAX));
        RuleStop {
            id: stop.id.as_str().into(),
            name: stop.name.as_str().into(),
            station: base.station(ix),
            areas: areas.of_stop(base, ix),
            zone,
        }
    };
    let route = |(route, network): (&crate::base::BaseRoute, &Option<_>)| RuleRoute {
        id: route.id.as_str().into(),
        name: route.name.as_str().into(),
        network: *network,
    };
    let set = RuleSet {
        currency: products.currency,
        zones,
        riders: products.riders,
        media: products.media,
        products: products.list,
        stops: zone_of_stop.into_iter().enumerate().map(stop).collect(),
        routes: base.routes.iter().zip(&networks.of_route).map(route).collect(),
        networks: networks.ids.list().to_vec(),
        areas: areas.ids.list().to_vec(),
        timeframes: times.timeframes,
        services: times.services,
        leg_groups: legs.groups.into_list(),
        has_priority: legs.has_priority,
        leg_rules: legs.rules,
        join_rules,
        transfer_rules,
    };
    let origins = checks::Origins { products: &products.rows, networks: &networks, areas: &areas };
    checks::check_use(&set, &origins, found);
    coverage::check_coverage(&set, found);
    reach::check_reach(&set, &read_stop_orders(feed, base, found), found);
    Some(set)
}

/// A name for people: the id when there is none.
fn name(name: &str, id: &str) -> Arc<str> {
    if name.is_empty() { id } else { name }.into()
}
