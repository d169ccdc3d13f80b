//! What both fare models stand on: agencies, stops as fares see them, routes, the agency's zone.

use std::collections::{BTreeMap, BTreeSet};

use fare::rules::{StopIx, ZoneOffsets};
use model::RouteIx;

use crate::{
    Feed,
    csv_table::{Column, Row, read},
    dates::zone_offsets,
    diagnostic::{At, Findings},
};

/// The part of a feed that fares refer to.
pub(crate) struct Base {
    pub(crate) agencies: Vec<String>,
    /// Of the first agency; all of a feed share one.
    pub(crate) zone: ZoneOffsets,
    pub(crate) stops: Vec<BaseStop>,
    pub(crate) stop_of: BTreeMap<String, StopIx>,
    /// Entrances, nodes and boarding areas: in the feed, but no places to tap.
    pub(crate) not_places: BTreeSet<String>,
    pub(crate) routes: Vec<BaseRoute>,
    pub(crate) route_of: BTreeMap<String, RouteIx>,
}

/// A stop, platform or station.
pub(crate) struct BaseStop {
    pub(crate) id: String,
    pub(crate) name: String,
    /// A stop has its station, if any.
    pub(crate) station: Option<StopIx>,
    pub(crate) is_station: bool,
    /// Fares v1; empty for none.
    pub(crate) zone_id: String,
    /// Empty for that of its station or agency.
    pub(crate) timezone: String,
    pub(crate) row: u64,
    parent: String,
}

/// A route.
pub(crate) struct BaseRoute {
    pub(crate) id: String,
    pub(crate) name: String,
    /// `u16::MAX` when the feed does not say of which of its agencies.
    pub(crate) agency: u16,
    /// Empty for none.
    pub(crate) network: String,
    pub(crate) row: u64,
}

impl Base {
    /// The stop or station that a field names. An id that names none is noted.
    pub(crate) fn refer_stop(&self, id: &str, at: At<'_>, found: &mut Findings) -> Option<StopIx> {
        let stop = self.stop_of.get(id).copied();
        if stop.is_none() && self.not_places.contains(id) {
            let message =
                format!("{id:?} is neither a stop nor a station: fares are between those");
            found.error("stop_is_no_place", at, message);
        } else if stop.is_none() {
            found.error("foreign_key_violation", at, format!("there is no stop {id:?}"));
        }
        stop
    }

    /// Station of a stop, or the stop itself.
    pub(crate) fn station(&self, stop: StopIx) -> StopIx {
        self.stops[stop.0 as usize].station.unwrap_or(stop)
    }
}

/// Reads agency.txt, stops.txt and routes.txt; `None` when one of them cannot be read.
pub(crate) fn read_base(feed: &Feed, found: &mut Findings) -> Option<Base> {
    let agencies = read_agencies(feed, found);
    let stops = read_stops(feed, found);
    let routes = read_routes(feed, agencies.as_ref().map_or(&[], |(ids, _)| ids), found);
    let (agencies, zone) = agencies?;
    let (stops, stop_of, not_places) = stops?;
    let (routes, route_of) = routes?;
    Some(Base { agencies, zone, stops, stop_of, not_places, routes, route_of })
}

fn read_agencies(feed: &Feed, found: &mut Findings) -> Option<(Vec<String>, ZoneOffsets)> {
    const FILE: &str = "agency.txt";
    const COLUMNS: [Column; 2] = [("agency_timezone", true), ("agency_id", false)];
    let mut agencies: Vec<String> = Vec::new();
    let mut zone: Option<(String, u64)> = None;
    let complete = read(feed, FILE, &COLUMNS, found, |row, found| {
        let [timezone, id] = row.fields();
        if agencies.iter().any(|other| other == id) {
            let message = format!("agency {id:?} stands twice");
            return found.error("duplicate_key", row.of("agency_id"), message);
        }
        agencies.push(id.to_owned());
        let (first, _) = zone.get_or_insert_with(|| (timezone.to_owned(), row.line));
        if first != timezone {
            let message = format!(
                "{timezone:?} and {first:?}: all agencies of a feed share one time zone; \
                 {first} is used"
            );
            found.error("inconsistent_agency_timezone", row.of("agency_timezone"), message);
        }
    });
    if complete && agencies.is_empty() {
        found.error("no_agency", At::file(FILE), "a feed needs at least one agency");
    }
    let (name, line) = zone?;
    let zone = zone_offsets(&name);
    if zone.is_none() {
        let message = format!("{name:?} is no time zone: write one such as Europe/Berlin");
        found.error("invalid_timezone", At::field(FILE, line, "agency_timezone"), message);
    }
    Some((agencies, zone?))
}

type Stops = (Vec<BaseStop>, BTreeMap<String, StopIx>, BTreeSet<String>);

fn read_stops(feed: &Feed, found: &mut Findings) -> Option<Stops> {
    const COLUMNS: [Column; 6] = [
        ("stop_id", true),
        ("stop_name", false),
        ("location_type", false),
        ("parent_station", false),
        ("zone_id", false),
        ("stop_timezone", false),
    ];
    let mut stops: Vec<BaseStop> = Vec::new();
    let mut stop_of = BTreeMap::new();
    let mut not_places = BTreeSet::new();
    let complete = read(feed, "stops.txt", &COLUMNS, found, |row, found| {
        let id = row.text(0);
        if id.is_empty() {
            return found.error("missing_required_field", row.of("stop_id"), "is empty");
        }
        if stop_of.contains_key(id) || not_places.contains(id) {
            let message = format!("stop {id:?} stands twice");
            return found.error("duplicate_key", row.of("stop_id"), message);
        }
        let Some(stop) = stop(row, found) else {
            not_places.insert(id.to_owned());
            return;
        };
        let ix = u32::try_from(stops.len()).map_or(StopIx(u32::MAX), StopIx);
        stop_of.insert(id.to_owned(), ix);
        stops.push(stop);
    });
    for i in 0..stops.len() {
        let stop = &stops[i];
        if stop.parent.is_empty() {
            continue;
        }
        let parent = stop_of.get(&stop.parent).copied();
        let at = At::field("stops.txt", stop.row, "parent_station");
        let station = parent.filter(|ix: &StopIx| stops[ix.0 as usize].is_station);
        if parent.is_none() {
            let message = format!("there is no station {:?}", stop.parent);
            found.error("foreign_key_violation", at, message);
        } else if station.is_none() {
            let message = format!("{:?} is not a station: its location_type is not 1", stop.parent);
            found.error("wrong_parent_location_type", at, message);
        }
        stops[i].station = station;
    }
    complete.then_some((stops, stop_of, not_places))
}

/// A stop, platform or station; entrances, nodes and boarding areas are none.
fn stop(row: &Row<'_>, found: &mut Findings) -> Option<BaseStop> {
    let [id, name, location, parent, zone_id, timezone] = row.fields();
    let is_station = match location {
        "" | "0" => false,
        "1" => true,
        "2" | "3" | "4" => return None,
        other => {
            let message = format!("location_type {other:?} is unknown: use 0 to 4; read as 0");
            found.error("unexpected_enum_value", row.of("location_type"), message);
            false
        }
    };
    Some(BaseStop {
        id: id.to_owned(),
        name: if name.is_empty() { id } else { name }.to_owned(),
        station: None,
        is_station,
        zone_id: zone_id.to_owned(),
        timezone: timezone.to_owned(),
        row: row.line,
        parent: if is_station { String::new() } else { parent.to_owned() },
    })
}

fn read_routes(
    feed: &Feed,
    agencies: &[String],
    found: &mut Findings,
) -> Option<(Vec<BaseRoute>, BTreeMap<String, RouteIx>)> {
    const COLUMNS: [Column; 5] = [
        ("route_id", true),
        ("agency_id", false),
        ("route_short_name", false),
        ("route_long_name", false),
        ("network_id", false),
    ];
    let mut routes: Vec<BaseRoute> = Vec::new();
    let mut route_of = BTreeMap::new();
    let mut fits = true;
    let complete = read(feed, "routes.txt", &COLUMNS, found, |row, found| {
        let [id, agency, short, long, network] = row.fields();
        if id.is_empty() {
            return found.error("missing_required_field", row.of("route_id"), "is empty");
        }
        if route_of.contains_key(id) {
            let message = format!("route {id:?} stands twice");
            return found.error("duplicate_key", row.of("route_id"), message);
        }
        let Ok(ix) = u16::try_from(routes.len()) else {
            fits = false;
            return found.error("too_many", row.of("route_id"), "more than 65 536 routes");
        };
        route_of.insert(id.to_owned(), RouteIx(ix));
        let name = [short, long].into_iter().find(|name| !name.is_empty()).unwrap_or(id);
        routes.push(BaseRoute {
            id: id.to_owned(),
            name: name.to_owned(),
            agency: agency_of(row, agency, agencies, found),
            network: network.to_owned(),
            row: row.line,
        });
    });
    (complete && fits).then_some((routes, route_of))
}

fn agency_of(row: &Row<'_>, id: &str, agencies: &[String], found: &mut Findings) -> u16 {
    if id.is_empty() && agencies.len() == 1 {
        return 0;
    }
    let agency = agencies.iter().position(|agency| agency == id);
    if agency.is_none() && id.is_empty() && agencies.len() > 1 {
        let message = "is required in a feed of several agencies: name one of them";
        found.error("missing_required_field", row.of("agency_id"), message);
    } else if agency.is_none() && !agencies.is_empty() {
        let message = format!("there is no agency {id:?}");
        found.error("foreign_key_violation", row.of("agency_id"), message);
    }
    agency.and_then(|i| u16::try_from(i).ok()).unwrap_or(u16::MAX)
}
