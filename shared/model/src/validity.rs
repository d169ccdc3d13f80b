//! With what a card's validity ends: a month, a day, or nothing.

use crate::ServiceDate;

/// The first year that the months are counted from.
const FIRST_YEAR: u32 = 2025;
/// The byte of a card that has no end.
const NO_END: u8 = 255;

/// The last service day of a card. Days are service days of the tariff, so a card is good for the
/// last bus of its last night.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValidUntil {
    /// To the end of the month that lies this many months after January 2025 (0..=254).
    Month(u8),
    /// To the end of one day (ADR-0031).
    Day {
        /// Months after January 2025 (0..=254).
        month: u8,
        /// Day of that month, from 1.
        day: u8,
    },
    /// No end.
    Always,
}

impl ValidUntil {
    /// The latest month that a card can end with.
    pub const MONTH_MAX: u8 = NO_END - 1;

    /// The card that ends with this day; `None` before 2025 and after March 2046.
    pub fn day(last: ServiceDate) -> Option<Self> {
        let (year, month, day) = last.civil();
        let months = year.checked_sub(FIRST_YEAR)?.checked_mul(12)?.checked_add(month - 1)?;
        let month = u8::try_from(months).ok().filter(|month| *month <= Self::MONTH_MAX)?;
        Some(Self::Day { month, day: u8::try_from(day).ok()? })
    }

    /// Year, month and, of a card that ends with a day, the day; `None` for one without an end.
    pub const fn civil(self) -> Option<(u32, u32, Option<u32>)> {
        let (months, day) = match self {
            Self::Month(months) => (months as u32, None),
            Self::Day { month, day } => (month as u32, Some(day as u32)),
            Self::Always => return None,
        };
        Some((FIRST_YEAR + months / 12, months % 12 + 1, day))
    }

    /// Whether a card with this validity may still be used on this service day.
    pub fn allows(self, today: ServiceDate) -> bool {
        let Some((last_year, last_month, last_day)) = self.civil() else { return true };
        let (year, month, day) = today.civil();
        (year, month, day) <= (last_year, last_month, last_day.unwrap_or(u32::MAX))
    }

    /// The first service day on which the card is no longer valid; `None` without an end.
    pub fn ended(self) -> Option<ServiceDate> {
        let (year, month, day) = self.civil()?;
        let last = day.unwrap_or_else(|| days_in(year, month));
        Some(ServiceDate(ServiceDate::from_civil(year, month, last).0 + 1))
    }

    /// The byte of the months, and the day of a card that ends with one; `None` for an end that is
    /// not in the calendar.
    pub fn to_parts(self) -> Option<(u8, Option<u8>)> {
        match self {
            Self::Month(NO_END) => None,
            Self::Month(month) => Some((month, None)),
            Self::Day { month, day } => {
                let (year, month_of_year, _) = self.civil()?;
                let real =
                    month != NO_END && (1..=days_in(year, month_of_year)).contains(&u32::from(day));
                real.then_some((month, Some(day)))
            }
            Self::Always => Some((NO_END, None)),
        }
    }

    /// The reverse of [`ValidUntil::to_parts`]; `None` when the day is none of that month.
    pub fn from_parts(months: u8, day: Option<u8>) -> Option<Self> {
        let until = match day {
            None if months == NO_END => Self::Always,
            None => Self::Month(months),
            Some(day) => Self::Day { month: months, day },
        };
        until.to_parts().map(|_| until)
    }
}

/// As clerks write it: `2031-12`, `2031-12-24`, `no end`.
impl core::fmt::Display for ValidUntil {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self.civil() {
            None => write!(f, "no end"),
            Some((year, month, None)) => write!(f, "{year}-{month:02}"),
            Some((year, month, Some(day))) => write!(f, "{year}-{month:02}-{day:02}"),
        }
    }
}

/// A last month or a last day, as [`ValidUntil`] is displayed.
impl core::str::FromStr for ValidUntil {
    type Err = NoEnd;

    fn from_str(text: &str) -> Result<Self, NoEnd> {
        let is_day = match text.len() {
            7 => false,
            10 => true,
            _ => return Err(NoEnd),
        };
        let last = if is_day { text } else { &alloc::format!("{text}-01") };
        match ServiceDate::parse(last).and_then(Self::day) {
            Some(Self::Day { month, .. }) if !is_day => Ok(Self::Month(month)),
            until => until.ok_or(NoEnd),
        }
    }
}

/// A text that no card can end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no end of a card: write a month (2025-01 to 2046-03) or a day (2026-12-24)")]
pub struct NoEnd;

const fn days_in(year: u32, month: u32) -> u32 {
    let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    let next = ServiceDate::from_civil(next_year, next_month, 1);
    next.0 - ServiceDate::from_civil(year, month, 1).0
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use proptest::prelude::*;

    use super::*;

    fn day(text: &str) -> ServiceDate {
        ServiceDate::parse(text).unwrap()
    }

    #[test]
    fn a_card_is_good_on_its_last_day_and_no_longer() {
        for (until, last, next) in [
            ("2025-01", "2025-01-31", "2025-02-01"),
            ("2025-12", "2025-12-31", "2026-01-01"),
            ("2028-02", "2028-02-29", "2028-03-01"),
            ("2046-03", "2046-03-31", "2046-04-01"),
            ("2026-11-26", "2026-11-26", "2026-11-27"),
            ("2026-12-31", "2026-12-31", "2027-01-01"),
            ("2028-02-29", "2028-02-29", "2028-03-01"),
        ] {
            let parsed: ValidUntil = until.parse().unwrap();
            assert_eq!(parsed.to_string(), until);
            assert!(parsed.allows(day(last)), "{until}");
            assert!(!parsed.allows(day(next)), "{until}");
            assert_eq!(parsed.ended(), Some(day(next)), "{until}");
        }
        assert!(ValidUntil::Always.allows(ServiceDate(u32::MAX / 2)));
        assert_eq!(ValidUntil::Always.ended(), None);
    }

    #[test]
    fn what_no_calendar_has_is_no_end() {
        for text in [
            "",
            "2026",
            "2026-13",
            "2026-00",
            "26-11",
            "2026-1",
            "2026-11-31",
            "2026-02-29",
            "2026-11-00",
            "2026-11-1",
            "2026-11-26-1",
            "2024-12",
            "2024-12-31",
            "2046-04",
            "2046-04-01",
            "+026-11",
            "2026-11-",
            "no end",
        ] {
            assert_eq!(text.parse::<ValidUntil>(), Err(NoEnd), "{text}");
        }
        assert_eq!(ValidUntil::from_parts(255, Some(1)), None);
        assert_eq!(ValidUntil::Month(255).to_parts(), None);
        assert_eq!(ValidUntil::from_parts(13, Some(29)), None, "February 2026");
        assert_eq!(ValidUntil::from_parts(13, Some(0)), None);
    }

    proptest! {
        #[test]
        fn every_day_has_one_end_and_it_reads_back(days in 20_089_u32..27_848) {
            let last = ServiceDate(days);
            let until = ValidUntil::day(last).unwrap();
            let (months, of_month) = until.to_parts().unwrap();
            prop_assert_eq!(ValidUntil::from_parts(months, of_month), Some(until));
            prop_assert_eq!(until.to_string(), last.to_string());
            prop_assert_eq!(until.to_string().parse(), Ok(until));
            prop_assert!(until.allows(last));
            prop_assert!(!until.allows(ServiceDate(days + 1)));
            prop_assert_eq!(until.ended(), Some(ServiceDate(days + 1)));
        }
    }
}
