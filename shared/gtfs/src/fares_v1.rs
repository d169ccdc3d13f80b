//! `fare_attributes.txt` and `fare_rules.txt`, read and checked. Whatever the native tariff
//! cannot hold exactly is an error that names its row.

use std::collections::BTreeMap;

use model::{Currency, Money};

use crate::{
    Feed,
    csv_table::{Column, Row, read, unknown_columns},
    diagnostic::{At, Findings},
    network::Tables,
};

pub(crate) const ATTRIBUTES: &str = "fare_attributes.txt";
pub(crate) const RULES: &str = "fare_rules.txt";

/// One fare of Fares v1.
pub(crate) struct FareV1 {
    pub(crate) id: String,
    pub(crate) price: Money,
    /// Rides allowed on one fare beyond the first; `None` = unlimited.
    pub(crate) transfers: Option<u8>,
    pub(crate) duration_s: Option<u32>,
    /// Only set when the feed has several agencies.
    pub(crate) agency: Option<u16>,
    pub(crate) row: u64,
    pub(crate) reach: Reach,
}

/// Where a fare holds.
pub(crate) enum Reach {
    /// It has no rule: everywhere.
    Everywhere,
    /// One boarding of these routes.
    Routes(Vec<u16>),
    /// Between these zones; an empty zone is any zone. With the row of each pair.
    Zones(Vec<(String, String, u64)>),
}

struct Rule {
    route: Option<u16>,
    origin: String,
    destination: String,
    row: u64,
}

const ATTRIBUTE_COLUMNS: [Column; 7] = [
    ("fare_id", true),
    ("price", true),
    ("currency_type", true),
    ("payment_method", false),
    ("transfers", true),
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

/// All fares, in the order of the file; `None` when there are none to read.
pub(crate) fn read_fares(
    feed: &Feed,
    tables: &Tables,
    found: &mut Findings,
) -> Option<(Currency, Vec<FareV1>)> {
    let mut fares: Vec<FareV1> = Vec::new();
    let mut currency = None;
    read(feed, ATTRIBUTES, &ATTRIBUTE_COLUMNS, found, |row, found| {
        if let Some(fare) = attribute(row, tables, &mut currency, found) {
            if fares.iter().any(|other| other.id == fare.id) {
                let message = format!("fare {:?} stands twice", fare.id);
                return found.error("duplicate_key", row.at(0), message);
            }
            fares.push(fare);
        }
    });
    let fare_of: BTreeMap<_, _> =
        fares.iter().enumerate().map(|(i, fare)| (fare.id.clone(), i)).collect();
    let mut rules: Vec<Vec<Rule>> = fares.iter().map(|_| Vec::new()).collect();
    if feed.has(RULES) {
        read(feed, RULES, &RULE_COLUMNS, found, |row, found| {
            let Some(fare) = fare_of.get(row.text(0)) else {
                let message = format!("there is no fare {:?}", row.text(0));
                return found.error("foreign_key_violation", row.at(0), message);
            };
            rules[*fare].extend(rule(row, tables, found));
        });
        note_unknown_columns(feed, RULES, &RULE_COLUMNS, found);
    }
    note_unknown_columns(feed, ATTRIBUTES, &ATTRIBUTE_COLUMNS, found);
    let any_rule = rules.iter().any(|rules| !rules.is_empty());
    for (fare, rules) in fares.iter_mut().zip(rules) {
        if rules.is_empty() && any_rule {
            let at = At::field(ATTRIBUTES, fare.row, "fare_id");
            let message = format!("fare {:?} has no rule and so holds on every route", fare.id);
            found.warning("fare_everywhere", at, message);
        }
        fare.reach = reach(fare, rules, found);
    }
    Some((currency?, fares))
}

fn note_unknown_columns(feed: &Feed, file: &str, known: &[Column], found: &mut Findings) {
    for column in unknown_columns(feed, file, known) {
        let at = At::field(file, 1, &column);
        let message = "is not a column of Fares v1 and is ignored: check that it changes no price";
        found.warning("unknown_column", at, message);
    }
}

fn attribute(
    row: &Row<'_>,
    tables: &Tables,
    currency: &mut Option<Currency>,
    found: &mut Findings,
) -> Option<FareV1> {
    let own = Currency::parse(row.text(2));
    let own =
        own.map_err(|why| found.error("unknown_currency", row.at(2), why.to_string())).ok()?;
    if *currency.get_or_insert(own) != own {
        let message = "a second currency: one tariff holds one currency";
        found.error("several_currencies", row.at(2), message);
        return None;
    }
    let price = Money::parse(row.text(1), own);
    let price =
        price.map_err(|why| found.error("invalid_price", row.at(1), why.to_string())).ok()?;
    if price.minor() < 0 {
        found.error("invalid_price", row.at(1), "a price of Fares v1 is never negative");
        return None;
    }
    let transfers = match row.text(4) {
        "" => None,
        "0" => Some(0),
        "1" => Some(1),
        "2" => Some(2),
        other => {
            let message = format!("{other:?}: use 0, 1, 2 or leave it empty for unlimited");
            found.error("invalid_value", row.at(4), message);
            return None;
        }
    };
    let duration_s = row.text(6).parse().ok();
    if duration_s.is_none() && !row.text(6).is_empty() {
        let message = format!("{:?} is no number of seconds", row.text(6));
        found.error("invalid_value", row.at(6), message);
    }
    let several = tables.agencies.len() > 1;
    let agency = tables.agencies.iter().position(|agency| agency.id == row.text(5));
    if several && agency.is_none() {
        let message = "is required in a feed of several agencies: name one of them";
        found.error("foreign_key_violation", row.at(5), message);
    }
    Some(FareV1 {
        id: row.text(0).to_owned(),
        price,
        transfers,
        duration_s,
        agency: agency.filter(|_| several).and_then(|i| u16::try_from(i).ok()),
        row: row.line,
        reach: Reach::Everywhere,
    })
}

fn rule(row: &Row<'_>, tables: &Tables, found: &mut Findings) -> Option<Rule> {
    if !row.text(4).is_empty() {
        let message = "fares by zones passed through (contains_id) cannot be held exactly by \
                       tap-in and tap-out: write the pairs as origin_id and destination_id";
        found.error("contains_id", row.at(4), message);
        return None;
    }
    let route = tables.route_of.get(row.text(1)).copied();
    if route.is_none() && !row.text(1).is_empty() {
        let message = format!("there is no route {:?}", row.text(1));
        found.error("foreign_key_violation", row.at(1), message);
        return None;
    }
    for zone in [2, 3] {
        let id = row.text(zone);
        if !id.is_empty() && tables.places.iter().all(|place| !place.zones.contains(id)) {
            let message = format!("no stop is in zone {id:?}: the row prices nothing");
            found.warning("unused_zone", row.at(zone), message);
        }
    }
    let (origin, destination) = (row.text(2).to_owned(), row.text(3).to_owned());
    if route.is_some() && !(origin.is_empty() && destination.is_empty()) {
        let message = "a route and zones in one row cannot be held exactly: gates do not know \
                       the route; use one of them";
        found.error("route_and_zones", row.at(1), message);
        return None;
    }
    Some(Rule { route, origin, destination, row: row.line })
}

fn reach(fare: &FareV1, rules: Vec<Rule>, found: &mut Findings) -> Reach {
    let routes: Vec<u16> = rules.iter().filter_map(|rule| rule.route).collect();
    if rules.is_empty() {
        if fare.price.minor() == 0 {
            let at = At::field(ATTRIBUTES, fare.row, "fare_id");
            let message = format!("fare {:?} costs nothing and has no rule: all is free", fare.id);
            found.warning("free_everywhere", at, message);
        }
        return Reach::Everywhere;
    }
    if routes.len() == rules.len() {
        return Reach::Routes(routes);
    }
    if !routes.is_empty() {
        let row = rules.iter().find(|rule| rule.route.is_some()).map_or(0, |rule| rule.row);
        let at = At::field(RULES, row, "route_id");
        let message = format!(
            "fare {:?} has rows with routes and rows with zones: split it into two fares",
            fare.id
        );
        found.error("route_and_zones", at, message);
    }
    let zones = rules.into_iter().map(|rule| (rule.origin, rule.destination, rule.row));
    Reach::Zones(zones.collect())
}
