//! Networks of routes: `networks.txt` with `route_networks.txt`, or `routes.network_id`.

use std::collections::BTreeMap;

use fare::rules::NetworkIx;

use super::{NETWORKS, ROUTE_NETWORKS};
use crate::{
    Feed,
    base::Base,
    csv_table::{Column, read_optional},
    diagnostic::{At, Findings},
    ids::Ids,
};

/// Which routes make a network.
pub(super) struct Networks {
    pub(super) ids: Ids,
    /// Where each is named first: file, row.
    pub(super) rows: Vec<(&'static str, u64)>,
    pub(super) of_route: Vec<Option<NetworkIx>>,
}

pub(super) fn read_networks(feed: &Feed, base: &Base, found: &mut Findings) -> Networks {
    let mut networks =
        Networks { ids: Ids::default(), rows: Vec::new(), of_route: vec![None; base.routes.len()] };
    read_optional(feed, NETWORKS, &[("network_id", true)], found, |row, found| {
        if networks.ids.define(row.text(0), row.of("network_id"), found).is_some() {
            networks.rows.push((NETWORKS, row.line));
        }
    });
    let by_route = base.routes.iter().find(|route| !route.network.is_empty());
    if let Some(route) = by_route {
        let other = [ROUTE_NETWORKS, NETWORKS].into_iter().find(|file| feed.has(file));
        if let Some(other) = other {
            let message = format!(
                "networks of routes stand here and in {other}: keep one of them; {}",
                if other == ROUTE_NETWORKS { "that file is used" } else { "both are used" }
            );
            let at = At::field("routes.txt", route.row, "network_id");
            found.error("route_networks_specified_in_more_than_one_file", at, message);
        }
    }
    if feed.has(ROUTE_NETWORKS) {
        read_route_networks(feed, base, &mut networks, found);
    } else {
        for (i, route) in base.routes.iter().enumerate() {
            if route.network.is_empty() {
                continue;
            }
            let at = At::field("routes.txt", route.row, "network_id");
            let network = networks.ids.add(&route.network, at, found);
            if networks.rows.len() < networks.ids.list().len() {
                networks.rows.push(("routes.txt", route.row));
            }
            networks.of_route[i] = network.map(NetworkIx);
        }
    }
    networks
}

fn read_route_networks(feed: &Feed, base: &Base, networks: &mut Networks, found: &mut Findings) {
    const COLUMNS: [Column; 2] = [("network_id", true), ("route_id", true)];
    // Without the file that defines them, the networks are those that routes are said to be in.
    let defined = feed.has(NETWORKS);
    if !defined {
        let message = "networks.txt is missing: networks are those named here";
        found.error("missing_required_file", At::file(ROUTE_NETWORKS), message);
    }
    let mut seen: BTreeMap<String, String> = BTreeMap::new();
    read_optional(feed, ROUTE_NETWORKS, &COLUMNS, found, |row, found| {
        let [network, route] = row.fields();
        let ix = if defined {
            networks.ids.get(network)
        } else {
            networks.ids.add(network, row.of("network_id"), found)
        };
        if networks.rows.len() < networks.ids.list().len() {
            networks.rows.push((ROUTE_NETWORKS, row.line));
        }
        if ix.is_none() {
            let message = format!("there is no network {network:?}");
            found.error("foreign_key_violation", row.of("network_id"), message);
        }
        let Some(route_ix) = base.route_of.get(route) else {
            let message = format!("there is no route {route:?}");
            return found.error("foreign_key_violation", row.of("route_id"), message);
        };
        if let Some(first) = seen.get(route) {
            let message = format!(
                "route {route:?} is in network {first:?} already, and a route is in one network"
            );
            return found.error("duplicate_key", row.of("route_id"), message);
        }
        seen.insert(route.to_owned(), network.to_owned());
        networks.of_route[usize::from(route_ix.0)] = ix.map(NetworkIx);
    });
}
