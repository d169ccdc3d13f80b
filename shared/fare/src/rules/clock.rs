//! Local time and the days of a service, from plain tables: a validator has no tz database.

use alloc::{collections::BTreeSet, vec::Vec};

use model::{ServiceDate, Timestamp};

const DAY_S: i64 = 86_400;

/// The UTC offsets of one time zone, by the moments at which they change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ZoneOffsets {
    /// Seconds east of UTC before the first change.
    pub first_s: i32,
    /// (Seconds since 1970 UTC, seconds east of UTC from then on), ascending.
    pub changes: Vec<(i64, i32)>,
}

/// A moment on the clocks of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalTime {
    /// Calendar date, not the service day.
    pub date: ServiceDate,
    /// Seconds since local midnight by the wall clock, below 86 400.
    pub secs: u32,
}

/// The dates of one service: weekdays within a period, and single dates on which it runs or not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Service {
    /// Monday first.
    pub weekdays: [bool; 7],
    /// First and last date of the weekdays; `None` when only single dates are given.
    pub period: Option<(ServiceDate, ServiceDate)>,
    /// Runs besides.
    pub added: BTreeSet<ServiceDate>,
    /// Does not run.
    pub removed: BTreeSet<ServiceDate>,
}

impl ZoneOffsets {
    /// One offset for ever.
    pub const fn fixed(east_s: i32) -> Self {
        Self { first_s: east_s, changes: Vec::new() }
    }

    /// Seconds east of UTC at a moment.
    pub fn offset_at(&self, utc_s: i64) -> i32 {
        let after = self.changes.partition_point(|(from, _)| *from <= utc_s);
        after.checked_sub(1).map_or(self.first_s, |i| self.changes[i].1)
    }

    /// The wall clock at a moment.
    pub fn local(&self, at: Timestamp) -> LocalTime {
        let utc_s = i64::try_from(at.secs()).unwrap_or(i64::MAX / 2);
        let local_s = utc_s + i64::from(self.offset_at(utc_s));
        let date = u32::try_from(local_s.div_euclid(DAY_S)).unwrap_or(0);
        let secs = u32::try_from(local_s.rem_euclid(DAY_S)).unwrap_or(0);
        LocalTime { date: ServiceDate(date), secs }
    }

    /// The moment of a GTFS clock time of a service day: seconds after noon minus twelve hours,
    /// which on the two days of a clock change is not midnight. Source: GTFS reference, "Time".
    pub fn moment(&self, day: ServiceDate, secs: u32) -> Timestamp {
        let noon_local_s = i64::from(day.0) * DAY_S + DAY_S / 2;
        let guess = noon_local_s - i64::from(self.offset_at(noon_local_s));
        let noon_s = noon_local_s - i64::from(self.offset_at(guess));
        let at_s = noon_s - DAY_S / 2 + i64::from(secs);
        Timestamp::from_secs(u64::try_from(at_s).unwrap_or(0))
    }
}

impl Service {
    /// Whether the service runs on this date.
    pub fn runs_on(&self, date: ServiceDate) -> bool {
        if self.removed.contains(&date) {
            return false;
        }
        let within = self.period.is_some_and(|(first, last)| (first..=last).contains(&date));
        self.added.contains(&date) || within && self.weekdays[usize::from(date.weekday())]
    }
}
