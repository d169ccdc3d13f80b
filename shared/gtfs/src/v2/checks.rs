//! What a feed states that no journey can meet.

use std::collections::BTreeSet;

use fare::rules::{AreaIx, NetworkIx, RuleSet};

use super::{PRODUCTS, areas::Areas, networks::Networks};
use crate::diagnostic::{At, Findings};

/// Where in the feed the things of a rule set stand.
pub(super) struct Origins<'a> {
    /// Per product, its first row.
    pub(super) products: &'a [u64],
    pub(super) networks: &'a Networks,
    pub(super) areas: &'a Areas,
}

/// Looks for what is stated and never used.
pub(super) fn check_use(set: &RuleSet, origins: &Origins<'_>, found: &mut Findings) {
    let of_legs = set.leg_rules.iter().map(|rule| rule.product);
    let of_transfers = set.transfer_rules.iter().flat_map(|rule| [rule.product, rule.holding]);
    let used: BTreeSet<u16> = of_legs.chain(of_transfers.flatten()).collect();
    for (ix, (product, row)) in (0_u16..).zip(set.products.iter().zip(origins.products)) {
        if !used.contains(&ix) {
            let at = At::field(PRODUCTS, *row, "fare_product_id");
            let message = format!("no rule uses product {:?}: nobody is charged it", product.id);
            found.warning("unused_product", at, message);
        }
    }
    let routed: BTreeSet<NetworkIx> = set.routes.iter().filter_map(|route| route.network).collect();
    for (ix, (id, (file, row))) in (0_u16..).zip(set.networks.iter().zip(&origins.networks.rows)) {
        if !routed.contains(&NetworkIx(ix)) {
            let message = format!("no route is in network {id:?}");
            found.warning("network_without_routes", At::field(file, *row, "network_id"), message);
        }
    }
    let stopped: BTreeSet<AreaIx> =
        set.stops.iter().flat_map(|stop| stop.areas.iter().copied()).collect();
    for (ix, (id, (file, row))) in (0_u16..).zip(set.areas.iter().zip(&origins.areas.rows)) {
        if !stopped.contains(&AreaIx(ix)) {
            let message = format!("no stop is in area {id:?}");
            found.warning("area_without_stops", At::field(file, *row, "area_id"), message);
        }
    }
}
