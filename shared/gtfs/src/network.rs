//! Agencies, places and routes of a feed.

use std::collections::{BTreeMap, BTreeSet};

use fare::{Mode, PlaceKind};
use model::{PlaceIx, RouteIx};

use crate::{
    Feed,
    csv_table::{Column, Row, read},
    diagnostic::{At, Findings},
};

/// The network as the demo and the screens see it. Places and routes are numbered as in the
/// tariff of the same import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// Name of the first agency.
    pub name: String,
    /// IANA time zone of the first agency.
    pub timezone: String,
    /// All routes, in the order of `RouteIx`.
    pub routes: Vec<NetworkRoute>,
    /// Per place of the tariff: the stops of the feed that it stands for, itself included.
    pub stop_ids: Vec<Vec<String>>,
}

/// One route of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkRoute {
    /// Its index in the tariff.
    pub ix: RouteIx,
    /// As in the feed.
    pub id: String,
    /// Short name, or the long one when there is no short one.
    pub name: String,
    /// Long name; may be empty.
    pub long_name: String,
    /// How it runs.
    pub mode: Mode,
    /// Six hexadecimal digits, when the feed gives them.
    pub color: Option<String>,
    /// Its orders of places, most trips first.
    pub patterns: Vec<Pattern>,
}

/// One order of places, and when its trips run on the service with the most of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// Direction as in the feed: 0 or 1.
    pub direction: u8,
    /// As on the vehicle; may be empty.
    pub headsign: String,
    /// In order of travel.
    pub places: Vec<PlaceIx>,
    /// Per place: seconds from the first departure to the departure there.
    pub offsets_s: Vec<u32>,
    /// Trips on the service with the most.
    pub trips: u32,
    /// First departure, seconds since the service day's start; may pass 24 h.
    pub first_s: u32,
    /// Last departure.
    pub last_s: u32,
    /// The median time between departures; 0 when there is one trip only.
    pub headway_s: u32,
}

/// Tables read from the feed, before fares.
pub(crate) struct Tables {
    pub(crate) agencies: Vec<Agency>,
    pub(crate) places: Vec<FeedPlace>,
    /// Stop, station or platform → place.
    pub(crate) place_of: BTreeMap<String, u16>,
    pub(crate) routes: Vec<FeedRoute>,
    pub(crate) route_of: BTreeMap<String, u16>,
}

pub(crate) struct Agency {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) timezone: String,
}

pub(crate) struct FeedPlace {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) lat_e6: i32,
    pub(crate) lon_e6: i32,
    pub(crate) kind: PlaceKind,
    pub(crate) stop_ids: Vec<String>,
    /// Zones of its platforms. A station's own zone is ignored, as the specification says.
    pub(crate) zones: BTreeSet<String>,
    /// Where its stops stand in stops.txt.
    pub(crate) row: u64,
}

pub(crate) struct FeedRoute {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) long_name: String,
    pub(crate) agency: u16,
    pub(crate) mode: Mode,
    pub(crate) color: Option<String>,
    pub(crate) row: u64,
}

/// Reads agency.txt, stops.txt and routes.txt.
pub(crate) fn read_tables(feed: &Feed, found: &mut Findings) -> Tables {
    let agencies = read_agencies(feed, found);
    let (places, place_of) = read_places(feed, found);
    let (routes, route_of) = read_routes(feed, &agencies, found);
    Tables { agencies, places, place_of, routes, route_of }
}

fn read_agencies(feed: &Feed, found: &mut Findings) -> Vec<Agency> {
    const COLUMNS: [Column; 3] =
        [("agency_id", false), ("agency_name", true), ("agency_timezone", true)];
    let mut agencies: Vec<Agency> = Vec::new();
    let complete = read(feed, "agency.txt", &COLUMNS, found, |row, _| {
        let name = row.text(1).to_owned();
        let id = if row.text(0).is_empty() { name.clone() } else { row.text(0).to_owned() };
        agencies.push(Agency { id, name, timezone: row.text(2).to_owned() });
    });
    if complete && agencies.is_empty() {
        found.error("no_agency", At::file("agency.txt"), "a feed needs at least one agency");
    }
    agencies
}

struct Stop {
    id: String,
    name: String,
    position: Option<(i32, i32)>,
    zone: String,
    parent: String,
    station: bool,
    row: u64,
}

fn read_places(feed: &Feed, found: &mut Findings) -> (Vec<FeedPlace>, BTreeMap<String, u16>) {
    const COLUMNS: [Column; 7] = [
        ("stop_id", true),
        ("stop_name", false),
        ("stop_lat", true),
        ("stop_lon", true),
        ("zone_id", false),
        ("location_type", false),
        ("parent_station", false),
    ];
    let mut stops = Vec::new();
    read(feed, "stops.txt", &COLUMNS, found, |row, found| stops.extend(read_stop(row, found)));
    let mut places: Vec<FeedPlace> = Vec::new();
    let mut place_of = BTreeMap::new();
    for stop in stops.iter().filter(|stop| stop.station || stop.parent.is_empty()) {
        let Some((lat_e6, lon_e6)) = stop.position else {
            let at = At::field("stops.txt", stop.row, "stop_lat");
            let message = "is no position: write decimal degrees such as 17.4965452";
            found.error("invalid_position", at, message);
            continue;
        };
        let ix = u16::try_from(places.len()).unwrap_or(u16::MAX);
        if place_of.contains_key(&stop.id) {
            duplicate(stop, found);
            continue;
        }
        place_of.insert(stop.id.clone(), ix);
        let kind = if stop.station { PlaceKind::Station } else { PlaceKind::Stop };
        places.push(FeedPlace {
            id: stop.id.clone(),
            name: stop.name.clone(),
            lat_e6,
            lon_e6,
            kind,
            stop_ids: vec![stop.id.clone()],
            zones: BTreeSet::new(),
            row: stop.row,
        });
        if !stop.station && !stop.zone.is_empty() {
            places[usize::from(ix)].zones.insert(stop.zone.clone());
        }
    }
    for stop in stops.iter().filter(|stop| !stop.station && !stop.parent.is_empty()) {
        let Some(ix) = place_of.get(&stop.parent).copied() else {
            let at = At::field("stops.txt", stop.row, "parent_station");
            let message = format!("there is no station {:?}", stop.parent);
            found.error("foreign_key_violation", at, message);
            continue;
        };
        if place_of.contains_key(&stop.id) {
            duplicate(stop, found);
            continue;
        }
        let place = &mut places[usize::from(ix)];
        place.stop_ids.push(stop.id.clone());
        if !stop.zone.is_empty() {
            place.zones.insert(stop.zone.clone());
        }
        place_of.insert(stop.id.clone(), ix);
    }
    (places, place_of)
}

fn duplicate(stop: &Stop, found: &mut Findings) {
    let at = At::field("stops.txt", stop.row, "stop_id");
    found.error("duplicate_key", at, format!("stop {:?} stands twice", stop.id));
}

/// A stop, platform or station; entrances, nodes and boarding areas are no places to tap.
fn read_stop(row: &Row<'_>, found: &mut Findings) -> Option<Stop> {
    let station = match row.text(5) {
        "" | "0" => false,
        "1" => true,
        "2" | "3" | "4" => return None,
        other => {
            let message = format!("location_type {other:?} is unknown: use 0 to 4");
            found.error("invalid_value", row.at(5), message);
            return None;
        }
    };
    let position = degrees(row.text(2), 90).zip(degrees(row.text(3), 180));
    let name = if row.text(1).is_empty() { row.text(0) } else { row.text(1) };
    Some(Stop {
        id: row.text(0).to_owned(),
        name: name.to_owned(),
        position,
        zone: row.text(4).to_owned(),
        parent: if station { String::new() } else { row.text(6).to_owned() },
        station,
        row: row.line,
    })
}

fn degrees(text: &str, most: i32) -> Option<i32> {
    fare::parse_degrees(text).filter(|micro| micro.abs() <= most * 1_000_000)
}

fn read_routes(
    feed: &Feed,
    agencies: &[Agency],
    found: &mut Findings,
) -> (Vec<FeedRoute>, BTreeMap<String, u16>) {
    const COLUMNS: [Column; 6] = [
        ("route_id", true),
        ("agency_id", false),
        ("route_short_name", false),
        ("route_long_name", false),
        ("route_type", true),
        ("route_color", false),
    ];
    let mut routes: Vec<FeedRoute> = Vec::new();
    let mut route_of = BTreeMap::new();
    read(feed, "routes.txt", &COLUMNS, found, |row, found| {
        let ix = u16::try_from(routes.len()).unwrap_or(u16::MAX);
        let id = row.text(0);
        if route_of.contains_key(id) {
            found.error("duplicate_key", row.at(0), format!("route {id:?} stands twice"));
            return;
        }
        let agency = agencies.iter().position(|agency| agency.id == row.text(1));
        if agency.is_none() && !row.text(1).is_empty() {
            let message = format!("there is no agency {:?}", row.text(1));
            found.error("foreign_key_violation", row.at(1), message);
        }
        let Some(mode) = mode(row.text(4)) else {
            let message = format!("route_type {:?} is unknown: use 0 to 12", row.text(4));
            found.error("invalid_value", row.at(4), message);
            return;
        };
        route_of.insert(id.to_owned(), ix);
        let names = [row.text(2), row.text(3), id];
        let color = row.text(5);
        let hex = color.len() == 6 && color.bytes().all(|b| b.is_ascii_hexdigit());
        routes.push(FeedRoute {
            id: id.to_owned(),
            name: names.iter().find(|name| !name.is_empty()).map_or(id, |name| name).to_owned(),
            long_name: row.text(3).to_owned(),
            agency: agency.and_then(|i| u16::try_from(i).ok()).unwrap_or(0),
            mode,
            color: hex.then(|| color.to_owned()),
            row: row.line,
        });
    });
    (routes, route_of)
}

/// Basic route types, and the extended ones by their hundreds.
fn mode(route_type: &str) -> Option<Mode> {
    Some(match route_type.parse::<u16>().ok()? {
        0 | 5 | 900..=999 => Mode::Tram,
        1 | 12 | 400..=405 => Mode::Subway,
        2 | 100..=199 => Mode::Rail,
        3 | 11 | 200..=299 | 700..=899 => Mode::Bus,
        4 | 1000..=1099 | 1200..=1299 => Mode::Ferry,
        6 | 7 | 1100..=1199 | 1300..=1799 => Mode::Other,
        _ => return None,
    })
}
