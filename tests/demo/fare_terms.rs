//! Discounts, surcharges and caps, read straight from the tariff text and worked out a second time,
//! independently of `shared/fare`: what is added to a ride's fare, and what a card has counted.
//!
//! A key that is not known here is refused: a rule that the fare check cannot follow must not look
//! checked.

use std::collections::BTreeMap;

use jiff::{
    civil::{Date, Time, Weekday},
    tz::TimeZone,
};
use model::Timestamp;
use serde::Deserialize;

use super::fare_table::minor;

const SECTIONS: [&str; 5] = ["day_starts", "holidays", "time", "adjust", "cap"];

/// The rules of one tariff text.
#[derive(Debug, Default)]
pub struct FareTerms {
    text: Text,
    zone: Option<TimeZone>,
    exponent: u8,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Text {
    day_starts: Option<String>,
    holidays: Vec<String>,
    time: Vec<Band>,
    adjust: Vec<Adjust>,
    cap: Vec<Cap>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Band {
    id: String,
    days: Option<Vec<String>>,
    from: Option<String>,
    to: Option<String>,
    first: Option<String>,
    last: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Adjust {
    id: String,
    #[serde(rename = "name")]
    _name: Option<String>,
    classes: Vec<String>,
    groups: Vec<String>,
    routes: Vec<String>,
    places: Vec<String>,
    time: Option<String>,
    percent: Option<i64>,
    rounding: Option<String>,
    unit: Option<String>,
    amount: Option<String>,
    counts_to_caps: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cap {
    number: u8,
    id: String,
    name: Option<String>,
    period: String,
    days: Option<i64>,
    week_starts: Option<String>,
    #[serde(default)]
    classes: Vec<String>,
    levels: Vec<Level>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    places: Vec<String>,
    price: String,
}

/// A ride as its rider knows it.
#[derive(Debug, Clone, Copy)]
pub struct Trip<'a> {
    /// Category of the rider.
    pub class: &'a str,
    /// Fare group.
    pub group: &'a str,
    /// Route boarded; none through gates.
    pub route: Option<&'a str>,
    /// Where it begins and ends, as far as it is known.
    pub places: [Option<&'a str>; 2],
    /// Its first tap.
    pub began: Timestamp,
}

/// What one cap has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Count {
    start: Date,
    level: usize,
    minor: i64,
}

/// What a card has counted, by the numbers of the caps.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counted(BTreeMap<u8, Count>);

/// How far a cap has come, as a screen shows it: name, counted, limit.
pub type Shown = (String, i64, i64);

/// What the rules make of a ride.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Due {
    /// Rule and amount of each step, in order.
    pub steps: Vec<(String, i64)>,
    /// What the card has counted then.
    pub counted: Counted,
}

impl FareTerms {
    /// Reads the sections of a tariff text that hold such rules; `zone` is the agency's.
    pub fn read(text: &str, zone: &str, exponent: u8) -> Result<Self, String> {
        let mut table: toml::Table = text.parse().map_err(|e| format!("no TOML: {e}"))?;
        table.retain(|key, _| SECTIONS.contains(&key));
        let text: Text = table.try_into().map_err(|e| format!("{e}"))?;
        let zone = TimeZone::get(zone).ok();
        let this = Self { text, zone, exponent };
        let periods = ["day", "week", "month", "rolling"];
        if let Some(cap) = this.text.cap.iter().find(|cap| !periods.contains(&&*cap.period)) {
            return Err(format!("cap {}: unknown period {}", cap.id, cap.period));
        }
        Ok(this)
    }

    /// What is added to and taken off a ride that `left` is still to be paid of. `counts_only`:
    /// no discount or surcharge is for it.
    pub fn settle(&self, trip: &Trip<'_>, left: i64, card: &Counted, counts_only: bool) -> Due {
        let mut due = Due { steps: Vec::new(), counted: card.clone() };
        let (mut fare, mut uncounted) = (left, 0);
        let rules = self.text.adjust.iter().filter(|rule| !counts_only && self.is_for(rule, trip));
        for rule in rules {
            let change = match (rule.percent, &rule.amount) {
                (Some(percent), _) if fare > 0 => {
                    self.percent_of(rule, fare, percent).max(0) - fare
                }
                (None, Some(amount)) => (-fare).max(minor(amount, self.exponent)),
                (Some(_) | None, _) => 0,
            };
            if change != 0 {
                due.steps.push((rule.id.clone(), change));
            }
            fare += change;
            uncounted += if rule.counts_to_caps { 0 } else { change.max(0) };
        }
        self.count(trip, (fare - uncounted).max(0), &mut due);
        due
    }

    /// Adds what counts of a ride to every cap, less what the caps take off it.
    fn count(&self, trip: &Trip<'_>, counting: i64, due: &mut Due) {
        let mut paid = counting;
        let mut held = Vec::new();
        for cap in self.text.cap.iter().filter(|cap| among(&cap.classes, trip.class)) {
            let Some(level) = cap.levels.iter().position(|level| level.holds(trip)) else {
                continue;
            };
            let running =
                due.counted.0.get(&cap.number).filter(|count| self.runs(cap, count, trip));
            let count = match running {
                Some(count) => Count { level: count.level.max(level), ..*count },
                None => Count { start: self.start(cap, trip), level, minor: 0 },
            };
            let above = paid - (self.limit(cap, &count) - count.minor).max(0);
            if above > 0 {
                due.steps.push((cap.id.clone(), -above));
                paid -= above;
            }
            held.push((cap.number, count));
        }
        let added = held.into_iter().map(|(cap, count)| (cap, count.plus(paid)));
        due.counted.0.extend(added);
    }

    /// What a screen shows of a card after a ride.
    pub fn shown(&self, trip: &Trip<'_>, card: &Counted) -> Vec<Shown> {
        let caps = self.text.cap.iter().filter(|cap| among(&cap.classes, trip.class));
        caps.filter_map(|cap| {
            let count = card.0.get(&cap.number)?;
            let counts = count.minor > 0 && self.runs(cap, count, trip);
            counts.then(|| (cap.name().to_owned(), count.minor, self.limit(cap, count)))
        })
        .collect()
    }

    /// What a rider believes who did not see a tap, but has seen the screen of the next one.
    pub fn believed(&self, trip: &Trip<'_>, shown: &[Shown]) -> Counted {
        let of = |cap: &Cap| {
            let (_, minor, limit) = shown.iter().find(|(name, ..)| name == cap.name())?;
            let level = cap.levels.iter().position(|l| self.amount(&l.price) == *limit)?;
            Some((cap.number, Count { start: self.start(cap, trip), level, minor: *minor }))
        };
        Counted(self.text.cap.iter().filter_map(of).collect())
    }

    fn is_for(&self, rule: &Adjust, trip: &Trip<'_>) -> bool {
        let ends = || trip.places.iter().flatten().any(|place| among(&rule.places, place));
        let route = || trip.route.is_some_and(|route| among(&rule.routes, route));
        among(&rule.classes, trip.class)
            && among(&rule.groups, trip.group)
            && (rule.routes.is_empty() || route())
            && (rule.places.is_empty() || ends())
            && rule.time.as_ref().is_none_or(|id| self.is_in_time(id, trip.began))
    }

    fn is_in_time(&self, id: &str, at: Timestamp) -> bool {
        const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        let Some(band) = self.text.time.iter().find(|band| band.id == id) else { return false };
        let (date, time) = self.local(at);
        let weekday = usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0);
        let iso = date.to_string();
        let day = if self.text.holidays.contains(&iso) { "holiday" } else { DAYS[weekday] };
        band.days.as_ref().is_none_or(|days| days.iter().any(|known| known == day))
            && band.from.as_deref().is_none_or(|from| time >= clock(from))
            && band.to.as_deref().is_none_or(|to| to.starts_with("24") || time < clock(to))
            && band.first.as_ref().is_none_or(|first| iso >= *first)
            && band.last.as_ref().is_none_or(|last| iso <= *last)
    }

    fn local(&self, at: Timestamp) -> (Date, Time) {
        let second = i64::try_from(at.secs()).unwrap_or(i64::MAX);
        let moment = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let local = moment.to_zoned(self.zone.clone().unwrap_or(TimeZone::UTC));
        (local.date(), local.time())
    }

    /// The first service day of the period that the ride is in.
    fn start(&self, cap: &Cap, trip: &Trip<'_>) -> Date {
        let (date, time) = self.local(trip.began);
        let begins = self.text.day_starts.as_deref().map_or(Time::midnight(), clock);
        let day = if time < begins { date.saturating_sub(jiff::Span::new().days(1)) } else { date };
        match &*cap.period {
            "week" => {
                let mut first = day;
                while first.weekday() != cap.week_starts() {
                    first = first.saturating_sub(jiff::Span::new().days(1));
                }
                first
            }
            "month" => day.first_of_month(),
            _ => day,
        }
    }

    fn runs(&self, cap: &Cap, count: &Count, trip: &Trip<'_>) -> bool {
        let now = self.start(cap, trip);
        match cap.days {
            Some(days) => i64::from((now - count.start).get_days()) < days,
            None => now == count.start,
        }
    }

    fn limit(&self, cap: &Cap, count: &Count) -> i64 {
        cap.levels.get(count.level).map_or(i64::MAX, |level| self.amount(&level.price))
    }

    fn amount(&self, text: &str) -> i64 {
        minor(text, self.exponent)
    }

    fn percent_of(&self, rule: &Adjust, fare: i64, percent: i64) -> i64 {
        let unit = rule.unit.as_deref().map_or(1, |unit| self.amount(unit)).max(1);
        let hundredfold = fare * (100 + percent);
        let lower = hundredfold / (100 * unit) * unit;
        let rest = hundredfold - 100 * lower;
        let half = 50 * unit;
        let up = match rule.rounding.as_deref().unwrap_or("half-up") {
            "up" => rest > 0,
            "down" => false,
            "half-even" => rest > half || rest == half && lower / unit % 2 == 1,
            _ => rest >= half,
        };
        lower + if up { unit } else { 0 }
    }
}

impl Cap {
    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }

    fn week_starts(&self) -> Weekday {
        match self.week_starts.as_deref() {
            Some("tue") => Weekday::Tuesday,
            Some("wed") => Weekday::Wednesday,
            Some("thu") => Weekday::Thursday,
            Some("fri") => Weekday::Friday,
            Some("sat") => Weekday::Saturday,
            Some("sun") => Weekday::Sunday,
            Some(_) | None => Weekday::Monday,
        }
    }
}

impl Level {
    fn holds(&self, trip: &Trip<'_>) -> bool {
        let stays = |place: &str| self.places.iter().any(|known| known == place);
        among(&self.groups, trip.group)
            && (self.places.is_empty() || trip.places.iter().flatten().all(|place| stays(place)))
    }
}

impl Count {
    fn plus(self, paid: i64) -> Self {
        Self { minor: self.minor + paid, ..self }
    }
}

/// An empty list is everything.
fn among(list: &[String], item: &str) -> bool {
    list.is_empty() || list.iter().any(|known| known == item)
}

/// `HH:MM` or `HH:MM:SS`.
fn clock(text: &str) -> Time {
    text.parse().unwrap_or(Time::midnight())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"
        version = 1
        day_starts = "04:00"
        time = [{ id = "early", days = ["mon", "tue"], to = "07:00" }]
        adjust = [
          { id = "child", classes = ["child"], percent = -50, rounding = "up", unit = "10" },
          { id = "early", time = "early", percent = -20, unit = "10" },
          { id = "night", routes = ["N"], amount = "300" },
        ]
        cap = [
          { number = 1, id = "day", name = "Day cap", period = "day",
            levels = [{ price = "3500" }] },
          { number = 2, id = "week", period = "week", levels = [{ price = "5000" }] },
        ]
    "#;

    /// Monday, 23 November 2026, in Seoul.
    fn at(day: u64, hour: u64, minute: u64) -> Timestamp {
        Timestamp::from_secs((20_780 + day) * 86_400 + hour * 3_600 + minute * 60 - 9 * 3_600)
    }

    fn trip(class: &'static str, began: Timestamp) -> Trip<'static> {
        Trip { class, group: "bus", route: Some("7"), places: [Some("a"), None], began }
    }

    #[test]
    fn rides_are_adjusted_and_capped_as_worked_out_by_hand() {
        let terms = FareTerms::read(TEXT, "Asia/Seoul", 0).unwrap();
        let mut card = Counted::default();
        let mut ride = |trip: &Trip<'_>, fare: i64| {
            let due = terms.settle(trip, fare, &card, false);
            card = due.counted;
            let steps: Vec<_> = due.steps.iter().map(|(id, by)| format!("{id} {by}")).collect();
            let shown = terms.shown(trip, &card);
            (steps.join(", "), shown.iter().map(|(_, counted, _)| *counted).collect::<Vec<_>>())
        };
        let adult = |day, hour, minute| trip("adult", at(day, hour, minute));
        for (trip, fare, steps, counted) in [
            // 80 % of 1,900 is 1,520.
            (adult(0, 6, 59), 1_900, "early -380", vec![1_520, 1_520]),
            (adult(0, 7, 0), 1_900, "", vec![3_420, 3_420]),
            (adult(0, 9, 0), 1_900, "day -1820", vec![3_500, 3_500]),
            (adult(1, 3, 59), 1_900, "early -380, day -1520", vec![3_500, 3_500]),
            (adult(1, 4, 0), 1_000, "early -200", vec![800, 4_300]),
            // Within the day there is room, within the week for 700 more.
            (adult(1, 8, 0), 1_900, "week -1200", vec![1_500, 5_000]),
            (adult(7, 8, 0), 1_000, "", vec![1_000, 1_000]),
        ] {
            assert_eq!(ride(&trip, fare), (steps.to_owned(), counted), "{trip:?}");
        }
        // Half of 1,410 is 705, up to 710; the surcharge is paid and not counted.
        let night = Trip { route: Some("N"), ..trip("child", at(2, 12, 0)) };
        let due = terms.settle(&night, 1_410, &Counted::default(), false);
        assert_eq!(due.steps, [("child".to_owned(), -700), ("night".to_owned(), 300)]);
        assert_eq!(terms.shown(&night, &due.counted)[0], ("Day cap".to_owned(), 710, 3_500));
        let screen = terms.shown(&night, &due.counted);
        assert_eq!(terms.believed(&night, &screen), due.counted);
    }

    #[test]
    fn a_rule_that_cannot_be_followed_is_refused() {
        for text in [
            "adjust = [{ id = \"a\", percent = 5, weather = \"rain\" }]",
            "cap = [{ number = 1, id = \"y\", period = \"year\", levels = [] }]",
        ] {
            assert!(FareTerms::read(text, "Asia/Seoul", 0).is_err(), "{text}");
        }
    }
}
