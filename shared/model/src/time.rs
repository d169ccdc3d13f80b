//! Time as plain values: cores are told the time, they never ask for it.

use core::{fmt, time::Duration};

/// Milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// From whole seconds.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Whole seconds, rounded down.
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// Later by `d`, saturating.
    #[must_use]
    pub fn plus(self, d: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(d.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Time from `earlier` to here; zero when it lies ahead.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

/// The last day that is written with four digits of a year, and its days since 1970.
const DAYS_MAX: u64 = 2_932_896;

impl Timestamp {
    /// On the clocks of UTC, to the minute, as people read it: `2026-11-26 20:05 UTC`.
    pub const fn utc(self) -> Utc {
        Utc(self)
    }

    /// The same for programs, to the millisecond: `2026-11-26T20:05:41.118Z`.
    pub const fn rfc3339(self) -> Rfc3339 {
        Rfc3339(self)
    }

    /// Year, month and day, and the seconds since their midnight; `None` after the year 9999.
    fn civil(self) -> Option<((u32, u32, u32), u64)> {
        let (days, secs) = (self.secs() / 86_400, self.secs() % 86_400);
        let days = u32::try_from(days).ok().filter(|_| days <= DAYS_MAX)?;
        Some((ServiceDate(days).civil(), secs))
    }
}

/// See [`Timestamp::utc`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utc(Timestamp);

/// See [`Timestamp::rfc3339`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rfc3339(Timestamp);

const END: &str = "the end of time";

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(((year, month, day), secs)) = self.0.civil() else { return f.write_str(END) };
        let (hour, minute) = (secs / 3_600, secs % 3_600 / 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02} UTC")
    }
}

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(((year, month, day), secs)) = self.0.civil() else { return f.write_str(END) };
        let (hour, minute, second, ms) =
            (secs / 3_600, secs % 3_600 / 60, secs % 60, self.0.0 % 1_000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

/// Where a device's clock got its time from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ClockQuality {
    /// Nothing is known; the date may be years off.
    #[default]
    Unknown,
    /// The last time saved before power-off.
    Saved,
    /// A battery-backed clock.
    Rtc,
    /// Network time.
    Ntp,
    /// Satellite time.
    Gnss,
}

impl ClockQuality {
    /// The word used in logs and by programs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Saved => "saved",
            Self::Rtc => "rtc",
            Self::Ntp => "ntp",
            Self::Gnss => "gnss",
        }
    }

    /// Whether somebody or something set it: its date can be believed.
    pub const fn is_set(self) -> bool {
        match self {
            Self::Unknown | Self::Saved => false,
            Self::Rtc | Self::Ntp | Self::Gnss => true,
        }
    }
}

/// A calendar date of the operating day, which runs past midnight. Days since 1970-01-01.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ServiceDate(pub u32);

impl ServiceDate {
    /// From `YYYY-MM-DD`, or `YYYYMMDD` as in GTFS; from 1970.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |part: &str| {
            let all = part.bytes().all(|b| b.is_ascii_digit());
            all.then(|| part.parse::<u32>().ok()).flatten()
        };
        let (year, month, day) = match text.len() {
            8 if text.is_ascii() => (&text[..4], &text[4..6], &text[6..]),
            10 if text.is_ascii() && [&text[4..5], &text[7..8]] == ["-", "-"] => {
                (&text[..4], &text[5..7], &text[8..])
            }
            _ => return None,
        };
        let (year, month, day) = (digits(year)?, digits(month)?, digits(day)?);
        if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || day == 0 {
            return None;
        }
        let date = Self::from_civil(year, month, day);
        (date.civil() == (year, month, day)).then_some(date)
    }

    /// 0 = Monday. 1 January 1970 was a Thursday.
    pub const fn weekday(self) -> u8 {
        ((self.0 + 3) % 7) as u8
    }

    /// From (year, month, day), from 1970.
    /// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
    pub(crate) const fn from_civil(year: u32, month: u32, day: u32) -> Self {
        let y = if month <= 2 { year - 1 } else { year };
        let era = y / 400;
        let yoe = y - era * 400;
        let mp = if month > 2 { month - 3 } else { month + 9 };
        let doy = (153 * mp + 2) / 5 + day - 1;
        let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
        Self(era * 146_097 + doe - 719_468)
    }

    /// (year, month, day) in the proleptic Gregorian calendar.
    /// Source: H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    pub const fn civil(self) -> (u32, u32, u32) {
        let z = self.0 + 719_468;
        let era = z / 146_097;
        let doe = z % 146_097;
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + if month <= 2 { 1 } else { 0 };
        (year, month, day)
    }
}

impl fmt::Display for ServiceDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_alike_for_people_and_for_programs_up_to_the_year_9999() {
        use alloc::string::ToString;
        for (at, utc, rfc3339) in [
            (0, "1970-01-01 00:00 UTC", "1970-01-01T00:00:00.000Z"),
            (1_795_682_159_250, "2026-11-26 08:35 UTC", "2026-11-26T08:35:59.250Z"),
            (253_402_300_799_999, "9999-12-31 23:59 UTC", "9999-12-31T23:59:59.999Z"),
            (253_402_300_800_000, END, END),
            (u64::MAX, END, END),
        ] {
            let at = Timestamp(at);
            assert_eq!([at.utc().to_string(), at.rfc3339().to_string()], [utc, rfc3339]);
        }
    }

    #[test]
    fn service_dates_are_written_as_calendar_dates() {
        for (days, text) in [(0, "1970-01-01"), (19_782, "2024-02-29"), (20_779, "2026-11-22")] {
            assert_eq!(alloc::format!("{}", ServiceDate(days)), text);
            assert_eq!(ServiceDate::parse(text), Some(ServiceDate(days)));
        }
        assert_eq!(ServiceDate::parse("20261122"), Some(ServiceDate(20_779)));
        for wrong in
            ["2026-02-29", "2026-13-01", "2026-1-1", "1969-12-31", "", "2026-11-2x", "á026112"]
        {
            assert_eq!(ServiceDate::parse(wrong), None, "{wrong}");
        }
    }
}
