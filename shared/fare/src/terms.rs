//! What GTFS cannot say: discounts and surcharges, caps, interchanges, terms of passes, rates of
//! other currencies, and the times at which they hold. Plain tables; `price/terms.rs` reads them.

use alloc::{sync::Arc, vec::Vec};

use model::{Companions, Money, PlaceIx, RiderClass, RouteIx, ServiceDate, Timestamp};

use crate::{Exchange, GroupIx, rules::ZoneOffsets};

/// A time band, by its index in the tariff's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeIx(pub u16);

/// The days of a band: bits 0 to 6 are Monday to Sunday, bit 7 is a holiday.
pub type Days = u8;

/// The bit of [`Days`] that means a holiday, which is no other day then.
pub const HOLIDAY: Days = 0x80;

/// Hours on some days of the service calendar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeBand {
    /// Unique in the tariff.
    pub id: Arc<str>,
    /// On which days.
    pub days: Days,
    /// Seconds since local midnight, inclusive.
    pub from_s: u32,
    /// Exclusive; 86 400 is the end of the day.
    pub to_s: u32,
    /// First and last date, inclusive; `None` = without end.
    pub dates: Option<(ServiceDate, ServiceDate)>,
}

/// When days begin, and which are holidays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Calendar {
    /// The agency's clock; a tariff that asks for times cannot do without.
    pub clock: Option<ZoneOffsets>,
    /// Seconds after midnight at which a service day begins.
    pub day_starts_s: u32,
    /// Dates that are no ordinary weekday, ascending.
    pub holidays: Vec<ServiceDate>,
}

/// Which rides a rule is for. An empty list is everything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Scope {
    /// Rider categories.
    pub classes: Vec<RiderClass>,
    /// Fare groups.
    pub groups: Vec<GroupIx>,
    /// Routes boarded.
    pub routes: Vec<RouteIx>,
    /// Places: the ride begins or ends at one of them.
    pub places: Vec<PlaceIx>,
    /// Time of its first tap.
    pub time: Option<TimeIx>,
}

/// Which way an amount between two units goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounding {
    /// To the dearer one.
    Up,
    /// To the cheaper one.
    Down,
    /// To the nearer one, the half up.
    HalfUp,
    /// To the nearer one, the half to the even one.
    HalfEven,
}

/// All ways of rounding with their words in tariff files.
pub const ROUNDINGS: [(Rounding, &str); 4] = [
    (Rounding::Up, "up"),
    (Rounding::Down, "down"),
    (Rounding::HalfUp, "half-up"),
    (Rounding::HalfEven, "half-even"),
];

/// What an adjustment does to the fare of a ride.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// So many percent more or, when negative, less; the new fare is rounded.
    Percent {
        /// From −100.
        percent: i32,
        /// Which way.
        rounding: Rounding,
        /// To whole multiples of this, minor units, at least 1.
        unit: i64,
    },
    /// This amount more or, when negative, less; never below nothing.
    Amount(Money),
}

/// A discount or a surcharge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// Unique in the tariff.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// For which rides.
    pub scope: Scope,
    /// What it does.
    pub change: Change,
    /// Whether what a surcharge adds counts towards caps; a discount lowers what counts anyway.
    pub counts_to_caps: bool,
}

/// The time over which a cap counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CapPeriod {
    /// One service day.
    Day,
    /// Seven service days from this weekday, 0 = Monday.
    Week(u8),
    /// A calendar month of service days.
    Month,
    /// So many service days from the first ride that counts.
    Rolling(u16),
}

/// One width of a cap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CapLevel {
    /// Rides of these groups; empty = all.
    pub groups: Vec<GroupIx>,
    /// Rides that stay among these places; empty = all.
    pub places: Vec<PlaceIx>,
    /// The most that is charged in a period that went no wider.
    pub price: Money,
}

/// A fare cap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cap {
    /// What the card's counter names it by: 1 to 250, for ever.
    pub number: u8,
    /// Unique in the tariff.
    pub id: Arc<str>,
    /// For people.
    pub name: Arc<str>,
    /// How long it counts.
    pub period: CapPeriod,
    /// For these rider categories; empty = all.
    pub classes: Vec<RiderClass>,
    /// Narrowest first. A ride is of the first level that holds it; the widest ride of a period
    /// sets its cap. Widening lifts the cap for the rest of the period and refunds nothing.
    pub levels: Vec<CapLevel>,
}

/// Leaving the gates at one place and entering at another goes on with the same journey.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interchange {
    /// Unique in the tariff.
    pub id: Arc<str>,
    /// Tapped out here.
    pub from: Vec<PlaceIx>,
    /// Tapped in there.
    pub to: Vec<PlaceIx>,
    /// Seconds between the two, inclusive.
    pub within_s: u32,
}

/// What a pass or a multi-ride product asks for besides what its slot on the card says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassTerms {
    /// The product's number on cards.
    pub number: u16,
    /// For people.
    pub name: Arc<str>,
    /// Only on these routes; empty = all. A ride through gates has no route.
    pub routes: Vec<RouteIx>,
    /// Only when the ride begins in this band.
    pub time: Option<TimeIx>,
}

/// Who may ride on the holder's card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompanionTerms {
    /// So many at most, the holder not counted.
    pub riders_max: u8,
    /// Of these rider categories; empty = all.
    pub classes: Vec<RiderClass>,
}

/// The tables of all of these.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Terms {
    /// Days and their clock.
    pub calendar: Calendar,
    /// Hours that rules name.
    pub times: Vec<TimeBand>,
    /// Discounts and surcharges, in the order in which they are applied.
    pub adjustments: Vec<Adjustment>,
    /// Caps, in the order in which they are applied.
    pub caps: Vec<Cap>,
    /// Interchanges between gates.
    pub interchanges: Vec<Interchange>,
    /// Terms of products.
    pub passes: Vec<PassTerms>,
    /// How far below zero one charge may take the stored value.
    pub dip: Option<Money>,
    /// Who may ride on the holder's card; `None` = nobody.
    pub companions: Option<CompanionTerms>,
    /// Purses in other currencies; at most one entry for each.
    pub exchanges: Vec<Exchange>,
}

/// The number of the counter slot in which a journey through an interchange is kept.
pub(crate) const INTERCHANGE_COUNTER: u8 = 255;

impl Calendar {
    /// The service day of a moment: by the wall clock, so that the night of a clock change is as
    /// long as it is. Where a day would begin in the hour that comes twice, it begins twice, and
    /// what it has counted goes on (`CapPeriod::runs`).
    pub fn service_day(&self, at: Timestamp) -> ServiceDate {
        let Some(clock) = &self.clock else { return ServiceDate(0) };
        let local = clock.local(at);
        let before = u32::from(local.secs < self.day_starts_s);
        ServiceDate(local.date.0.saturating_sub(before))
    }

    /// The day by which a card's validity is judged: the service day, and in a tariff that names no
    /// clock the date in UTC.
    pub fn card_day(&self, at: Timestamp) -> ServiceDate {
        if self.clock.is_some() {
            return self.service_day(at);
        }
        ServiceDate(u32::try_from(at.secs() / 86_400).unwrap_or(u32::MAX / 2))
    }

    pub(crate) fn holds(&self, band: &TimeBand, at: Timestamp) -> bool {
        let Some(clock) = &self.clock else { return false };
        let local = clock.local(at);
        let date = local.date;
        let day =
            if self.holidays.binary_search(&date).is_ok() { HOLIDAY } else { 1 << date.weekday() };
        band.days & day != 0
            && (band.from_s..band.to_s).contains(&local.secs)
            && band.dates.is_none_or(|(first, last)| (first..=last).contains(&date))
    }
}

impl CompanionTerms {
    /// Whether these may ride on the holder's card.
    pub fn allow(&self, companions: Companions) -> bool {
        let known = |class| self.classes.is_empty() || self.classes.contains(&class);
        companions.riders() <= self.riders_max && companions.iter().all(|(class, _)| known(class))
    }
}

impl CapPeriod {
    /// The first service day of the period that `day` is in; of a rolling one, `day` itself.
    pub(crate) fn start(self, day: ServiceDate) -> ServiceDate {
        match self {
            Self::Day | Self::Rolling(_) => day,
            Self::Week(first) => {
                let into = (u32::from(day.weekday()) + 7 - u32::from(first)) % 7;
                ServiceDate(day.0.saturating_sub(into))
            }
            Self::Month => ServiceDate(day.0 - (day.civil().2 - 1)),
        }
    }

    /// Whether a period that began on `start` still runs on `day`. A clock that was set back does
    /// not begin a new one.
    pub(crate) fn runs(self, start: ServiceDate, day: ServiceDate) -> bool {
        match self {
            Self::Rolling(days) => day.0 < start.0.saturating_add(days.into()),
            Self::Day | Self::Week(_) | Self::Month => self.start(day) <= start,
        }
    }
}

/// `fare × (100 + percent) / 100`, rounded to whole units.
pub(crate) fn percent_of(fare: i64, percent: i32, rounding: Rounding, unit: i64) -> i64 {
    let exact = i128::from(fare) * (100 + i128::from(percent));
    let units = rounding.divide(exact, 100 * i128::from(unit.max(1)));
    i64::try_from(units * i128::from(unit.max(1))).unwrap_or(fare)
}

impl Rounding {
    /// The word in tariff files and the API.
    pub fn word(self) -> &'static str {
        ROUNDINGS.iter().find(|(known, _)| *known == self).expect("ROUNDINGS lists every one").1
    }

    /// So many whole steps as `exact` is, or is rounded to; `step` is above zero.
    pub(crate) const fn divide(self, exact: i128, step: i128) -> i128 {
        let (down, rest) = (exact.div_euclid(step), exact.rem_euclid(step));
        let up = match self {
            Self::Up => rest > 0,
            Self::Down => false,
            Self::HalfUp => rest >= step - rest,
            Self::HalfEven => rest > step - rest || rest == step - rest && down % 2 != 0,
        };
        if up { down + 1 } else { down }
    }
}
