//! One line of input, read leniently in its form and strictly in what it says.

use std::{borrow::Cow, collections::BTreeMap};

use jiff::civil::Date;
use model::ServiceDate;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::keys::{Keys, LINE, Spelling};

/// A JSON object whose values are not read yet. Keys that nobody asks for are left alone, because a
/// file of journeys may carry notes or expected prices beside them, but they are said.
pub(super) struct Object<'a> {
    values: BTreeMap<String, &'a RawValue>,
    spelling: &'a Spelling,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'a> Object<'a> {
    pub(super) fn parse(text: &'a str, spelling: &'a Spelling) -> Result<Self, String> {
        let values = serde_json::from_str(text);
        let values = values.map_err(|why| format!("not a JSON object: {why}"))?;
        Ok(Self { values, spelling })
    }

    /// Says which keys of a whole line are not read.
    pub(super) fn check_line(&self) -> Result<(), String> {
        self.check(&LINE)
    }

    fn check(&self, keys: &Keys) -> Result<(), String> {
        let has = |name: &str| self.values.contains_key(name);
        self.spelling.check(keys, self.values.keys().map(String::as_str), &has)
    }

    /// A value as it stands; `null` counts as absent.
    pub(super) fn raw(&self, key: &str) -> Option<&'a RawValue> {
        self.values.get(key).copied().filter(|raw| raw.get() != "null")
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.values.keys().map(String::as_str)
    }

    pub(super) fn text(&self, key: &str) -> Result<Option<Cow<'a, str>>, String> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        let text: Result<Text<'a>, _> = serde_json::from_str(raw.get());
        let text = text.map_err(|_| format!("{key}: {raw} must be text in quotes"))?;
        Ok(Some(text.0))
    }

    /// An amount: decimal text, or a number as it is written.
    pub(super) fn decimal(&self, key: &str) -> Result<Option<Cow<'a, str>>, String> {
        match self.raw(key) {
            Some(raw) if !raw.get().starts_with('"') => Ok(Some(Cow::Borrowed(raw.get()))),
            Some(_) | None => self.text(key),
        }
    }

    /// A text that must be there; `like` shows what is meant.
    pub(super) fn required(&self, key: &str, like: &str) -> Result<Cow<'a, str>, String> {
        self.text(key)?.ok_or_else(|| format!("{key} is missing: write {like}"))
    }

    pub(super) fn number(&self, key: &str) -> Result<Option<u32>, String> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        let number = raw.get().parse().map(Some);
        number.map_err(|_| format!("{key}: {raw} must be a whole number"))
    }

    pub(super) fn object(&self, key: &str) -> Result<Option<Self>, String> {
        let Some(raw) = self.raw(key) else { return Ok(None) };
        let object = Self::parse(raw.get(), self.spelling).and_then(|object| {
            Keys::under(key).map_or(Ok(()), |keys| object.check(keys))?;
            Ok(object)
        });
        object.map(Some).map_err(|why| format!("{key}: {why}"))
    }

    /// The objects of a list.
    pub(super) fn list(&self, key: &str) -> Result<Vec<Self>, String> {
        let Some(raw) = self.raw(key) else { return Ok(Vec::new()) };
        let list: Result<Vec<BTreeMap<String, &'a RawValue>>, _> = serde_json::from_str(raw.get());
        let list = list.map_err(|_| format!("{key} must be a list of JSON objects"))?;
        let mut objects = Vec::with_capacity(list.len());
        for (i, values) in list.into_iter().enumerate() {
            let object = Self { values, spelling: self.spelling };
            if let Some(keys) = Keys::under(key) {
                object.check(keys).map_err(|why| format!("{key}[{i}]: {why}"))?;
            }
            objects.push(object);
        }
        Ok(objects)
    }
}

/// `20261126` or `2026-11-26`.
pub(super) fn parse_date(text: &str) -> Result<ServiceDate, String> {
    let advice = || format!("date {text:?}: write a date such as 20261126 or 2026-11-26");
    let digits: Vec<u8> = match text.as_bytes() {
        [y @ .., b'-', m1, m2, b'-', d1, d2] if y.len() == 4 => {
            y.iter().chain([m1, m2, d1, d2]).copied().collect()
        }
        other => other.to_vec(),
    };
    let number = |range: std::ops::Range<usize>| {
        let part = std::str::from_utf8(digits.get(range)?).ok()?;
        part.bytes().all(|b| b.is_ascii_digit()).then(|| part.parse::<i16>().ok())?
    };
    let parts = (digits.len() == 8).then(|| Some((number(0..4)?, number(4..6)?, number(6..8)?)));
    let (year, month, day) = parts.flatten().ok_or_else(advice)?;
    let part = |n: i16| i8::try_from(n).unwrap_or(0);
    let date = Date::new(year, part(month), part(day)).map_err(|_| advice())?;
    days_since_1970(date).map(ServiceDate).ok_or_else(advice)
}

fn days_since_1970(date: Date) -> Option<u32> {
    let since = date.since((jiff::Unit::Day, Date::constant(1970, 1, 1))).ok()?;
    u32::try_from(since.get_days()).ok()
}

/// Seconds of a GTFS clock time: `7:05:00`, `07:05:00`, and past midnight `25:05:00`.
pub(super) fn parse_clock(key: &str, text: &str) -> Result<u32, String> {
    let read = || {
        let mut parts = text.split(':');
        let mut next = |digits: std::ops::RangeInclusive<usize>| {
            let part = parts.next()?;
            let fits = digits.contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit());
            fits.then(|| part.parse::<u32>().ok())?
        };
        let (hours, minutes, seconds) = (next(1..=3)?, next(2..=2)?, next(2..=2)?);
        let fits = parts.next().is_none() && minutes < 60 && seconds < 60;
        fits.then_some(hours * 3600 + minutes * 60 + seconds)
    };
    let advice = "write a time such as 07:05:00, and 25:05:00 for 01:05:00 of the next day";
    read().ok_or_else(|| format!("{key} {text:?}: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_in_both_spellings_and_impossible_ones_are_refused() {
        for text in ["20240229", "2024-02-29"] {
            assert_eq!(parse_date(text), Ok(ServiceDate(19_782)), "{text}");
        }
        for text in ["20230229", "2024-2-29", "240229", "", "2024/02/29", "19691231", "+0240229"] {
            let why = parse_date(text).expect_err(text);
            assert!(why.contains("write a date such as 20261126"), "{text}: {why}");
        }
    }

    #[test]
    fn clock_times_may_pass_midnight_and_nothing_else_is_taken_for_one() {
        for (text, secs) in [("7:05:00", 25_500), ("07:05:00", 25_500), ("25:05:09", 90_309)] {
            assert_eq!(parse_clock("dep", text), Ok(secs), "{text}");
        }
        for text in ["7:05", "07:60:00", "07:05:60", "-1:00:00", "7:5:00", "07:05:00:00", "", "x"] {
            let why = parse_clock("dep", text).expect_err(text);
            assert!(why.starts_with("dep ") && why.contains("25:05:00"), "{text}: {why}");
        }
    }
}
