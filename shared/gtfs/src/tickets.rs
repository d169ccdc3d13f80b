//! Fares v1, all of it, as tickets that cover runs of rides.
//!
//! A row of `fare_rules.txt` that names a route or zone which does not exist can hold nowhere and
//! is left out; its fare keeps its other rows, and never becomes one without rules, which would
//! hold everywhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr,
};

use fare::rules::{Ticket, TicketRoute, TicketRow, TicketSet, TicketStop};
use model::{Currency, RouteIx};

use crate::{
    Feed,
    amount::{amount, currency},
    base::Base,
    csv_table::{Column, Row, read, read_optional},
    diagnostic::{At, Findings},
    fares_v1::{ATTRIBUTES, RULES},
    ids::Ids,
    rides::read_stop_orders,
};

const ATTRIBUTE_COLUMNS: [Column; 7] = [
    ("fare_id", true),
    ("price", true),
    ("currency_type", true),
    ("transfers", true),
    ("payment_method", false),
    ("agency_id", false),
    ("transfer_duration", false),
];

const RULE_COLUMNS: [Column; 5] = [
    ("fare_id", true),
    ("route_id", false),
    ("origin_id", false),
    ("destination_id", false),
    ("contains_id", false),
];

/// Reads all of it; `None` when `fare_attributes.txt` cannot be read or has no currency.
pub(crate) fn read_tickets(feed: &Feed, base: &Base, found: &mut Findings) -> Option<TicketSet> {
    let mut ids = Ids::default();
    let mut of_feed = None;
    // Per fare id; `None` where a row cannot be priced.
    let mut tickets: Vec<(Option<Ticket>, u64)> = Vec::new();
    let complete = read(feed, ATTRIBUTES, &ATTRIBUTE_COLUMNS, found, |row, found| {
        if ids.define(row.text(0), row.of("fare_id"), found).is_some() {
            tickets.push((ticket(row, base, &mut of_feed, found), row.line));
        }
    });
    if !complete {
        return None;
    }
    let Some(currency) = of_feed else {
        let message = "no fare has a known currency: nothing can be priced";
        found.error("no_currency", At::file(ATTRIBUTES), message);
        return None;
    };
    let (zones, zones_of_stop) = zones(base, found);
    let rows = read_rows(feed, base, &ids, &zones, found);
    let any_rule = !rows.is_empty();
    for (i, (ticket, row)) in tickets.iter_mut().enumerate() {
        let Some(ticket) = ticket else { continue };
        let own = u16::try_from(i).ok().and_then(|ix| rows.get(&ix));
        ticket.rows = own.cloned();
        note_reach(ticket, *row, any_rule, found);
    }
    let patterns = read_stop_orders(feed, base, found);
    let stop = |(stop, zones): (&crate::base::BaseStop, BTreeSet<u16>)| TicketStop {
        id: stop.id.as_str().into(),
        name: stop.name.as_str().into(),
        zones: zones.into_iter().collect(),
    };
    let route = |(route, patterns): (&crate::base::BaseRoute, _)| TicketRoute {
        id: route.id.as_str().into(),
        name: route.name.as_str().into(),
        agency: route.agency,
        patterns,
    };
    Some(TicketSet {
        currency,
        zone: base.zone.clone(),
        zones: zones.into_list(),
        stops: base.stops.iter().zip(zones_of_stop).map(stop).collect(),
        routes: base.routes.iter().zip(patterns).map(route).collect(),
        tickets: tickets.into_iter().filter_map(|(ticket, _)| ticket).collect(),
    })
}

fn note_reach(ticket: &Ticket, row: u64, any_rule: bool, found: &mut Findings) {
    let at = At::field(ATTRIBUTES, row, "fare_id");
    if ticket.rows.as_ref().is_some_and(Vec::is_empty) {
        let message = format!("none of the rules of fare {:?} can hold: nobody pays it", ticket.id);
        found.warning("unreachable_fare", at, message);
    } else if ticket.rows.is_some() {
        // It holds where its rules do.
    } else if ticket.price.minor() == 0 {
        let message = format!("fare {:?} costs nothing and has no rule: all is free", ticket.id);
        found.warning("free_everywhere", at, message);
    } else if any_rule {
        let message = format!("fare {:?} has no rule and so holds everywhere", ticket.id);
        found.warning("fare_everywhere", at, message);
    }
}

fn ticket(
    row: &Row<'_>,
    base: &Base,
    of_feed: &mut Option<Currency>,
    found: &mut Findings,
) -> Option<Ticket> {
    let [id, price, currency_text, transfers, payment, agency, duration] = row.fields();
    let own = currency(row, "currency_type", currency_text, of_feed, found)?;
    // A price of Fares v1 is a float: `.5` and `2.` are numbers too.
    let whole = if price.starts_with('.') { format!("0{price}") } else { price.to_owned() };
    let price = amount(whole.strip_suffix('.').unwrap_or(&whole), own, row.of("price"), found)?;
    if price.minor() < 0 {
        let message = "is below 0: a price of Fares v1 never is; the fare is left out";
        found.error("number_out_of_range", row.of("price"), message);
        return None;
    }
    if !["0", "1"].contains(&payment) {
        let message = format!("{payment:?}: use 0 for on board or 1 for before boarding");
        found.warning("unexpected_enum_value", row.of("payment_method"), message);
    }
    let Ok(duration_s) = empty_or::<u32>(duration) else {
        let message = format!("{duration:?} is no number of seconds: the fare is left out");
        found.error("invalid_integer", row.of("transfer_duration"), message);
        return None;
    };
    let transfers = transfers_of(row, transfers, found).ok()?;
    Some(Ticket {
        id: id.into(),
        price,
        transfers,
        duration_s,
        agency: agency_of(row, agency, base, found).ok()?,
        rows: None,
    })
}

/// A field that says nothing which could be followed: its fare is left out.
struct Unreadable;

/// `None` for an empty field.
fn empty_or<T: FromStr>(text: &str) -> Result<Option<T>, Unreadable> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|_| Unreadable) }
}

fn transfers_of(row: &Row<'_>, text: &str, found: &mut Findings) -> Result<Option<u8>, Unreadable> {
    let transfers = empty_or::<u8>(text);
    let at = row.of("transfers");
    match transfers {
        Err(Unreadable) => {
            let message = format!(
                "{text:?}: use 0, 1, 2 or leave it empty for unlimited; the fare is left out"
            );
            found.error("unexpected_enum_value", at, message);
        }
        Ok(Some(count @ 3..)) => {
            let message = format!("{count} is read as {count} transfers: the format knows 0 to 2");
            found.warning("unexpected_enum_value", at, message);
        }
        Ok(_) => {}
    }
    transfers
}

/// The agency that a fare is of, if it says so.
fn agency_of(
    row: &Row<'_>,
    id: &str,
    base: &Base,
    found: &mut Findings,
) -> Result<Option<u16>, Unreadable> {
    if id.is_empty() {
        if base.agencies.len() > 1 {
            let message = "is required in a feed of several agencies: the fare is read as one of \
                           all of them";
            found.error("missing_required_field", row.of("agency_id"), message);
        }
        return Ok(None);
    }
    let agency = base.agencies.iter().position(|agency| agency == id);
    if agency.is_none() {
        let message = format!("there is no agency {id:?}: the fare is left out");
        found.error("foreign_key_violation", row.of("agency_id"), message);
    }
    agency.map(|i| u16::try_from(i).ok()).ok_or(Unreadable)
}

/// The zones of a feed, and per stop its own: a station has those of its platforms.
fn zones(base: &Base, found: &mut Findings) -> (Ids, Vec<BTreeSet<u16>>) {
    let mut ids = Ids::default();
    let mut of_stop = vec![BTreeSet::new(); base.stops.len()];
    for (i, stop) in base.stops.iter().enumerate() {
        // The zone of a station is ignored, as the specification says.
        if stop.is_station || stop.zone_id.is_empty() {
            continue;
        }
        let at = At::field("stops.txt", stop.row, "zone_id");
        let Some(zone) = ids.add(&stop.zone_id, at, found) else { continue };
        of_stop[i].insert(zone);
        if let Some(station) = stop.station {
            of_stop[station.0 as usize].insert(zone);
        }
    }
    (ids, of_stop)
}

/// Route, origin and destination of a row.
type Key = (Option<RouteIx>, Option<u16>, Option<u16>);

/// Per fare that has rules: those that can hold, merged by route, origin and destination.
fn read_rows(
    feed: &Feed,
    base: &Base,
    fares: &Ids,
    zones: &Ids,
    found: &mut Findings,
) -> BTreeMap<u16, Vec<TicketRow>> {
    let mut merged: BTreeMap<u16, BTreeMap<Key, BTreeSet<u16>>> = BTreeMap::new();
    // What must contain a zone that does not exist never holds, whatever else it contains.
    let mut never: BTreeSet<(u16, Key)> = BTreeSet::new();
    read_optional(feed, RULES, &RULE_COLUMNS, found, |row, found| {
        let [fare, route, origin, destination, contains] = row.fields();
        let Some(fare_ix) = fares.get(fare) else {
            let message = format!("there is no fare {fare:?}");
            return found.error("foreign_key_violation", row.of("fare_id"), message);
        };
        let own = merged.entry(fare_ix).or_default();
        let mut dead = false;
        let route_ix = base.route_of.get(route).copied();
        if route_ix.is_none() && !route.is_empty() {
            dead = true;
            let message = format!("there is no route {route:?}: the row holds nowhere");
            found.error("foreign_key_violation", row.of("route_id"), message);
        }
        let mut zone = |id: &str, field, dead: &mut bool| {
            zones.refer(id, row.of(field), "zone of stops", dead, found)
        };
        let origin = zone(origin, "origin_id", &mut dead);
        let destination = zone(destination, "destination_id", &mut dead);
        let mut contains_nothing = false;
        let contains = zone(contains, "contains_id", &mut contains_nothing);
        if dead {
            return;
        }
        let key = (route_ix, origin, destination);
        if contains_nothing {
            never.insert((fare_ix, key));
        }
        own.entry(key).or_default().extend(contains);
    });
    let row = |(key, contains): (Key, BTreeSet<u16>)| TicketRow {
        route: key.0,
        origin: key.1,
        destination: key.2,
        contains: contains.into_iter().collect(),
    };
    let rows = |(fare, own): (u16, BTreeMap<Key, BTreeSet<u16>>)| {
        let holds = own.into_iter().filter(|(key, _)| !never.contains(&(fare, *key)));
        (fare, holds.map(row).collect())
    };
    merged.into_iter().map(rows).collect()
}
