//! Areas of stops. A platform's own rows replace those of its station.

use std::collections::BTreeSet;

use fare::rules::{AreaIx, StopIx};

use super::{AREAS, STOP_AREAS};
use crate::{
    Feed,
    base::Base,
    csv_table::{Column, read_optional},
    diagnostic::{At, Findings},
    ids::Ids,
};

/// Which stops are in which areas.
pub(super) struct Areas {
    pub(super) ids: Ids,
    /// Where each area stands: file, row.
    pub(super) rows: Vec<(&'static str, u64)>,
    /// Per stop, the areas of its own rows.
    own: Vec<BTreeSet<AreaIx>>,
    /// Per station, the areas of its platforms' rows.
    of_platforms: Vec<BTreeSet<AreaIx>>,
}

impl Areas {
    /// The areas of a stop: its own, else its station's, else (of a station) its platforms'.
    pub(super) fn of_stop(&self, base: &Base, stop: StopIx) -> Vec<AreaIx> {
        let own = &self.own[stop.0 as usize];
        let station = base.station(stop);
        let areas = if !own.is_empty() {
            own
        } else if station == stop {
            &self.of_platforms[stop.0 as usize]
        } else {
            &self.own[station.0 as usize]
        };
        areas.iter().copied().collect()
    }
}

pub(super) fn read_areas(feed: &Feed, base: &Base, found: &mut Findings) -> Areas {
    const COLUMNS: [Column; 2] = [("area_id", true), ("stop_id", true)];
    let stops = base.stops.len();
    let mut areas = Areas {
        ids: Ids::default(),
        rows: Vec::new(),
        own: vec![BTreeSet::new(); stops],
        of_platforms: vec![BTreeSet::new(); stops],
    };
    read_optional(feed, AREAS, &[("area_id", true)], found, |row, found| {
        if areas.ids.define(row.text(0), row.of("area_id"), found).is_some() {
            areas.rows.push((AREAS, row.line));
        }
    });
    // Without the file that defines them, the areas are those that stops are said to be in.
    let defined = feed.has(AREAS);
    if feed.has(STOP_AREAS) && !defined {
        let message = "areas.txt is missing: areas are those named here";
        found.error("missing_required_file", At::file(STOP_AREAS), message);
    }
    read_optional(feed, STOP_AREAS, &COLUMNS, found, |row, found| {
        let [area, stop] = row.fields();
        let ix = if defined {
            areas.ids.get(area)
        } else {
            areas.ids.add(area, row.of("area_id"), found)
        };
        if areas.rows.len() < areas.ids.list().len() {
            areas.rows.push((STOP_AREAS, row.line));
        }
        if ix.is_none() {
            let message = format!("there is no area {area:?}");
            found.error("foreign_key_violation", row.of("area_id"), message);
        }
        let stop = base.refer_stop(stop, row.of("stop_id"), found);
        let Some((ix, stop)) = ix.zip(stop) else { return };
        if !areas.own[stop.0 as usize].insert(AreaIx(ix)) {
            found.warning("duplicate_key", row.of("stop_id"), "the row stands twice");
        }
        let station = base.station(stop);
        if station != stop {
            areas.of_platforms[station.0 as usize].insert(AreaIx(ix));
        }
    });
    areas
}
