//! Timeframes with the dates of their services, and the time zones of stops.

use std::collections::{BTreeMap, BTreeSet};

use fare::rules::{Service, StopIx, TimeRow, Timeframe, ZoneOffsets};

use super::TIMEFRAMES;
use crate::{
    Feed,
    base::Base,
    csv_table::{Column, Row, read_optional},
    dates::{clock, read_services, zone_offsets},
    diagnostic::{At, Findings},
    ids::Ids,
};

const DAY_S: u32 = 86_400;

/// Timeframe groups and the services that they name.
pub(super) struct Times {
    pub(super) ids: Ids,
    pub(super) timeframes: Vec<Timeframe>,
    pub(super) services: Vec<Service>,
}

struct Raw {
    group: u16,
    start_s: u32,
    end_s: u32,
    service: String,
    /// Its times cannot be read: it never holds.
    dead: bool,
    row: u64,
}

pub(super) fn read_times(feed: &Feed, found: &mut Findings) -> Times {
    const COLUMNS: [Column; 4] = [
        ("timeframe_group_id", true),
        ("service_id", true),
        ("start_time", false),
        ("end_time", false),
    ];
    let mut ids = Ids::default();
    let mut rows: Vec<Raw> = Vec::new();
    read_optional(feed, TIMEFRAMES, &COLUMNS, found, |row, found| {
        rows.extend(raw(row, &mut ids, found));
    });
    let asked: BTreeSet<String> = rows.iter().map(|row| row.service.clone()).collect();
    let (mut services, mut service_of) = (Vec::new(), BTreeMap::new());
    for (id, service) in read_services(feed, &asked, found) {
        if let Ok(ix) = u16::try_from(services.len()) {
            service_of.insert(id, ix);
            services.push(service);
        }
    }
    check_overlaps(&rows, ids.list(), found);
    let mut timeframes: Vec<Timeframe> =
        ids.list().iter().map(|id| Timeframe { id: id.clone(), rows: Vec::new() }).collect();
    for row in rows {
        let service = service_of.get(&row.service).copied();
        if service.is_none() {
            let at = At::field(TIMEFRAMES, row.row, "service_id");
            let message = format!("there is no service {:?}: the row never holds", row.service);
            found.error("foreign_key_violation", at, message);
        }
        let service = service.filter(|_| !row.dead);
        let time = TimeRow { start_s: row.start_s, end_s: row.end_s, service };
        timeframes[usize::from(row.group)].rows.push(time);
    }
    Times { ids, timeframes, services }
}

fn raw(row: &Row<'_>, ids: &mut Ids, found: &mut Findings) -> Option<Raw> {
    let [group, service, start, end] = row.fields();
    let at = row.of("timeframe_group_id");
    if group.is_empty() {
        found.error("missing_required_field", at, "is empty: give the timeframe an id");
        return None;
    }
    let group = ids.add(group, at, found)?;
    if start.is_empty() != end.is_empty() {
        let (field, edge) =
            if start.is_empty() { ("start_time", "start") } else { ("end_time", "end") };
        let message = format!("give both times or neither; it is read as the {edge} of the day");
        found.error("timeframe_only_start_or_end_time_specified", row.of(field), message);
    }
    let mut dead = false;
    let start_s = time(row, "start_time", start, 0, &mut dead, found);
    let end_s = time(row, "end_time", end, DAY_S, &mut dead, found);
    if !dead && start_s >= end_s {
        let message = format!(
            "{start} to {end} is no time at all: the end is exclusive, and a time over midnight \
             needs two rows"
        );
        found.error("start_and_end_range_out_of_order", row.of("end_time"), message);
    }
    Some(Raw { group, start_s, end_s, service: service.to_owned(), dead, row: row.line })
}

fn time(
    row: &Row<'_>,
    field: &'static str,
    text: &str,
    empty: u32,
    dead: &mut bool,
    found: &mut Findings,
) -> u32 {
    if text.is_empty() {
        return empty;
    }
    let Some(seconds) = clock(text) else {
        *dead = true;
        let message = format!("{text:?} is no time: write HH:MM:SS");
        found.error("invalid_time", row.of(field), message);
        return empty;
    };
    if seconds > DAY_S {
        let message = "is after 24:00:00: a timeframe ends with its day; write the rest as a row \
                       of the next one";
        let code = "timeframe_start_or_end_time_greater_than_twenty_four_hours";
        found.error(code, row.of(field), message);
    }
    // No time of a day is later: what is beyond can never hold.
    seconds.min(DAY_S)
}

fn check_overlaps(rows: &[Raw], groups: &[std::sync::Arc<str>], found: &mut Findings) {
    let mut sorted: Vec<&Raw> = rows.iter().filter(|row| !row.dead).collect();
    sorted.sort_by_key(|row| (row.group, &row.service, row.start_s, row.end_s));
    // The row of the same group and service that ends last so far.
    let mut last: Option<&Raw> = None;
    for row in sorted {
        let before = last.filter(|last| last.group == row.group && last.service == row.service);
        if let Some(before) = before.filter(|before| row.start_s < before.end_s) {
            let at = At::field(TIMEFRAMES, row.row, "start_time");
            let message = format!(
                "timeframe {:?} holds here and in row {} at the same time of service {:?}",
                groups[usize::from(row.group)],
                before.row,
                row.service
            );
            found.error("timeframe_overlap", at, message);
        }
        last = Some(before.filter(|before| before.end_s >= row.end_s).unwrap_or(row));
    }
}

/// The time zones of a feed, the agency's first, and per stop which is its own: that of the
/// stop, else of its station, else of the agency.
pub(super) fn stop_zones(base: &Base, found: &mut Findings) -> (Vec<ZoneOffsets>, Vec<u16>) {
    let mut zones = vec![base.zone.clone()];
    let mut zone_of: BTreeMap<&str, u16> = BTreeMap::from([("", 0)]);
    for stop in &base.stops {
        if zone_of.contains_key(stop.timezone.as_str()) {
            continue;
        }
        let Some(zone) = zone_offsets(&stop.timezone) else {
            let at = At::field("stops.txt", stop.row, "stop_timezone");
            let message = format!("{:?} is no time zone: the agency's is used", stop.timezone);
            found.error("invalid_timezone", at, message);
            zone_of.insert(&stop.timezone, 0);
            continue;
        };
        let known = zones.iter().position(|other| *other == zone);
        let ix = known.unwrap_or(zones.len());
        if known.is_none() {
            zones.push(zone);
        }
        zone_of.insert(&stop.timezone, u16::try_from(ix).unwrap_or(0));
    }
    let own = |i: usize| {
        let stop = &base.stops[i];
        let station = base.station(StopIx(u32::try_from(i).unwrap_or(u32::MAX)));
        let station = &base.stops[station.0 as usize];
        let timezone = if stop.timezone.is_empty() { &station.timezone } else { &stop.timezone };
        zone_of[timezone.as_str()]
    };
    let of_stop = (0..base.stops.len()).map(own).collect();
    (zones, of_stop)
}
