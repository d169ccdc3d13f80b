//! Dates and clocks of a feed as plain tables: services, time zones, times of the day.

use std::collections::{BTreeMap, BTreeSet};

use fare::rules::{Service, ZoneOffsets};
use jiff::{
    civil::{Date, date},
    tz::TimeZoneDatabase,
};
use model::ServiceDate;

use crate::{
    Feed,
    csv_table::{Column, Row, read_optional},
    diagnostic::Findings,
};

/// Before this year no fare is asked for, and after the other none: tables hold what is between.
const FIRST_YEAR: i16 = 1990;
const LAST_YEAR: i16 = 2100;

/// The offsets of an IANA time zone by the bundled database; `None` when there is no such zone.
pub fn zone_offsets(name: &str) -> Option<ZoneOffsets> {
    let zone = TimeZoneDatabase::bundled().get(name).ok()?;
    let first = date(FIRST_YEAR, 1, 1).to_zoned(zone.clone()).ok()?.timestamp();
    let last = date(LAST_YEAR, 1, 1).to_zoned(zone.clone()).ok()?.timestamp();
    let first_s = zone.to_offset(first).seconds();
    let mut offset_s = first_s;
    let mut changes = Vec::new();
    for change in zone.following(first).take_while(|change| change.timestamp() < last) {
        // A change of the zone's abbreviation alone is none of its clock.
        if change.offset().seconds() != offset_s {
            offset_s = change.offset().seconds();
            changes.push((change.timestamp().as_second(), offset_s));
        }
    }
    Some(ZoneOffsets { first_s, changes })
}

/// `H:MM:SS` or `HH:MM:SS`, in seconds; hours may pass 24.
pub(crate) fn clock(text: &str) -> Option<u32> {
    let mut parts = text.split(':').map(|part| part.parse::<u32>().ok());
    let (h, m, s) = (parts.next()??, parts.next()??, parts.next()??);
    (h < 240 && m < 60 && s < 60 && parts.next().is_none()).then_some(h * 3600 + m * 60 + s)
}

/// `YYYYMMDD`, not before 1970.
fn day(text: &str) -> Option<ServiceDate> {
    if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let (y, m, d) = (text[..4].parse().ok()?, text[4..6].parse().ok()?, text[6..].parse().ok()?);
    let days = (Date::new(y, m, d).ok()? - date(1970, 1, 1)).get_days();
    u32::try_from(days).ok().map(ServiceDate)
}

fn field_day(
    row: &Row<'_>,
    field: &'static str,
    text: &str,
    found: &mut Findings,
) -> Option<ServiceDate> {
    let day = day(text);
    if day.is_none() {
        let message = format!("{text:?} is no date: write YYYYMMDD");
        found.error("invalid_date", row.of(field), message);
    }
    day
}

const WEEKDAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The dates of those services that are asked for; a service in neither file is not there.
pub(crate) fn read_services(
    feed: &Feed,
    asked: &BTreeSet<String>,
    found: &mut Findings,
) -> BTreeMap<String, Service> {
    const CALENDAR: [Column; 10] = [
        ("service_id", true),
        ("monday", true),
        ("tuesday", true),
        ("wednesday", true),
        ("thursday", true),
        ("friday", true),
        ("saturday", true),
        ("sunday", true),
        ("start_date", true),
        ("end_date", true),
    ];
    const DATES: [Column; 3] = [("service_id", true), ("date", true), ("exception_type", true)];
    let mut services: BTreeMap<String, Service> = BTreeMap::new();
    read_optional(feed, "calendar.txt", &CALENDAR, found, |row, found| {
        let id = row.text(0);
        if !asked.contains(id) {
            return;
        }
        if services.contains_key(id) {
            let message = format!("service {id:?} stands twice");
            return found.error("duplicate_key", row.of("service_id"), message);
        }
        services.insert(id.to_owned(), weekly(row, found));
    });
    read_optional(feed, "calendar_dates.txt", &DATES, found, |row, found| {
        let [id, day, exception] = row.fields();
        if !asked.contains(id) {
            return;
        }
        let service = services.entry(id.to_owned()).or_default();
        let Some(day) = field_day(row, "date", day, found) else { return };
        let fresh = match exception {
            "1" => !service.removed.contains(&day) && service.added.insert(day),
            "2" => !service.added.contains(&day) && service.removed.insert(day),
            other => {
                let message = format!("{other:?}: use 1 for added or 2 for removed");
                return found.error("unexpected_enum_value", row.of("exception_type"), message);
            }
        };
        if !fresh {
            let message = format!("service {id:?} has this date twice");
            found.error("duplicate_key", row.of("date"), message);
        }
    });
    services
}

fn weekly(row: &Row<'_>, found: &mut Findings) -> Service {
    let mut service = Service::default();
    for (i, name) in WEEKDAYS.into_iter().enumerate() {
        match row.text(i + 1) {
            "1" => service.weekdays[i] = true,
            "0" => {}
            other => {
                let message = format!("{other:?}: use 1 when it runs on this weekday, else 0");
                found.error("unexpected_enum_value", row.of(name), message);
            }
        }
    }
    let first = field_day(row, "start_date", row.text(8), found);
    let last = field_day(row, "end_date", row.text(9), found);
    service.period = first.zip(last);
    if service.period.is_some_and(|(first, last)| first > last) {
        let message = "ends before it starts: the weekdays never hold";
        found.error("start_and_end_range_out_of_order", row.of("end_date"), message);
    }
    service
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_days_since_1970() {
        for (text, days) in [
            ("19700101", Some(0)),
            ("20240229", Some(19_782)),
            ("20230229", None),
            ("2024-2-9", None),
            ("19691231", None),
            ("2024022９", None),
            ("", None),
        ] {
            assert_eq!(day(text), days.map(ServiceDate), "{text}");
        }
    }

    #[test]
    fn a_zone_has_its_changes_up_to_the_last_year_and_no_others() {
        let berlin = zone_offsets("Europe/Berlin").unwrap();
        assert_eq!(berlin.first_s, 3600);
        // Summer time began at 01:00 UTC on 25 March 1990 and 29 March 2026.
        assert_eq!(berlin.changes[0], (638_326_800, 7200));
        assert!(berlin.changes.contains(&(1_774_746_000, 7200)));
        assert_eq!(berlin.changes.len(), 2 * 110);
        assert_eq!(zone_offsets("Asia/Seoul").unwrap(), ZoneOffsets::fixed(32_400));
        assert_eq!(zone_offsets("Europe/Nowhere"), None);
    }
}
