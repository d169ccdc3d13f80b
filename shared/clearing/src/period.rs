//! Which service day a booking belongs to (REC-11, LED-5).
//!
//! The day is the event's own service day while that is open. Of a day that is closed, or that no
//! booking can belong to because its clock was wrong, the nearest open one takes it; the transfer
//! still says when its event was. Days are open from the one after the newest closed one through
//! today's: so the small hours of a new day can be booked before the old one is closed.

use alloc::{sync::Arc, vec::Vec};

use fare::{Calendar, TariffSet, rules::ZoneOffsets};
use model::{ServiceDate, TariffVersion, Timestamp};

/// The open days at the moment of one booking.
#[derive(Debug, Clone, Default)]
pub struct Period {
    calendar: Arc<Calendar>,
    open: ServiceDate,
    booked: ServiceDate,
}

impl Period {
    /// The day of an event that is booked at this moment.
    pub fn day(&self, event_at: Timestamp) -> ServiceDate {
        // A depot's clock that was set back leaves the oldest open day as the only one.
        self.calendar.service_day(event_at).min(self.booked).max(self.open)
    }

    /// The oldest open day.
    pub const fn open(&self) -> ServiceDate {
        self.open
    }

    /// The service day of the booking itself.
    pub const fn booked(&self) -> ServiceDate {
        self.booked
    }
}

/// When days begin, by each tariff that was ever in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calendars(Vec<(TariffVersion, Timestamp, Arc<Calendar>)>);

impl Calendars {
    /// A tariff that names no clock lives by UTC until [`Self::set`] says otherwise.
    pub(crate) fn of(tariffs: &TariffSet) -> Self {
        let rows = tariffs.iter().map(|tariff| {
            let calendar = &tariff.terms().calendar;
            let clock = calendar.clock.clone().unwrap_or_else(|| ZoneOffsets::fixed(0));
            let calendar = Calendar { clock: Some(clock), ..calendar.clone() };
            (tariff.version(), Timestamp(0), Arc::new(calendar))
        });
        let mut rows: Vec<_> = rows.collect();
        rows.sort_by_key(|(version, ..)| *version);
        Self(rows)
    }

    pub(crate) fn set(&mut self, version: TariffVersion, since: Timestamp, zone: &ZoneOffsets) {
        for (of, from, calendar) in self.0.iter_mut().filter(|(of, ..)| *of == version) {
            debug_assert_eq!(*of, version);
            *from = since;
            *calendar = Arc::new(Calendar { clock: Some(zone.clone()), ..(**calendar).clone() });
        }
    }

    /// By the newest tariff that the books held at `now`.
    fn at(&self, now: Timestamp) -> Arc<Calendar> {
        let held = self.0.iter().rev().find(|(_, since, _)| *since <= now).or(self.0.first());
        held.map(|(.., calendar)| Arc::clone(calendar)).unwrap_or_default()
    }

    pub(crate) fn period(&self, open: Option<ServiceDate>, now: Timestamp) -> Period {
        let calendar = self.at(now);
        let booked = calendar.service_day(now);
        Period { open: open.unwrap_or(booked), booked, calendar }
    }

    pub(crate) fn service_day(&self, of: Timestamp, now: Timestamp) -> ServiceDate {
        self.at(now).service_day(of)
    }

    /// When a service day is over.
    pub(crate) fn end_of(&self, day: ServiceDate, now: Timestamp) -> Timestamp {
        let calendar = self.at(now);
        let next = ServiceDate(day.0.saturating_add(1));
        let clock = calendar.clock.as_ref();
        clock.map_or(Timestamp(u64::MAX), |clock| clock.moment(next, calendar.day_starts_s))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(open: u32, booked: u32) -> Period {
        let calendar = Calendar {
            clock: Some(ZoneOffsets::fixed(0)),
            day_starts_s: 4 * 3600,
            holidays: Vec::new(),
        };
        let (open, booked) = (ServiceDate(open), ServiceDate(booked));
        Period { calendar: Arc::new(calendar), open, booked }
    }

    #[test]
    fn rec_11_an_event_is_booked_into_its_own_day_or_the_nearest_open_one() {
        let at = |day: u64, hour: u64| Timestamp::from_secs(day * 86_400 + hour * 3600);
        for (open, booked, event, day, why) in [
            (10, 11, at(10, 12), 10, "its own day, still open"),
            (10, 11, at(11, 3), 10, "before four in the morning it is still the day before"),
            (10, 11, at(11, 4), 11, "the new day, while the old one is open"),
            (10, 11, at(7, 12), 10, "late: its day is closed"),
            (10, 11, at(400, 12), 11, "a clock a year ahead"),
            (10, 11, Timestamp(0), 10, "a clock that lost its date"),
            (10, 8, at(8, 12), 10, "the depot's own clock was set back"),
        ] {
            assert_eq!(period(open, booked).day(event), ServiceDate(day), "{why}");
        }
    }
}
