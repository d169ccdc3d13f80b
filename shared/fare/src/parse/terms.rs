//! The sections that say what GTFS cannot: times, adjustments, caps, interchanges, passes.

use alloc::{format, vec::Vec};

use model::{Companions, Currency, Money, PlaceIx, RiderClass, RouteIx, ServiceDate};

use crate::{
    Adjustment, Calendar, Cap, CapLevel, CapPeriod, Change, CompanionTerms, Days, GroupIx, HOLIDAY,
    Interchange, PassTerms, ROUNDINGS, Rounding, Scope, Terms, TimeBand, TimeIx,
    document::{Findings, Section},
    rules::ZoneOffsets,
};

use super::{Names, Top, list};

/// Words of the days in the order of their bits.
pub(crate) const DAY_WORDS: [&str; 8] =
    ["mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday"];

/// What the entries of these sections refer to.
pub(super) struct Known<'n> {
    pub(super) groups: &'n Names,
    pub(super) routes: &'n Names,
    pub(super) places: &'n Names,
    pub(super) classes: &'n Names,
    pub(super) times: &'n Names,
    pub(super) currency: Currency,
}

pub(super) fn terms(
    top: &Top<'_>,
    found: &mut Findings,
    known: &Known<'_>,
    zone: Option<ZoneOffsets>,
) -> Terms {
    let times = list(top, found, "time", &["id", "days", "from", "to", "first", "last"], band);
    let keys = [
        "id",
        "name",
        "classes",
        "groups",
        "routes",
        "places",
        "time",
        "percent",
        "amount",
        "rounding",
        "unit",
        "counts_to_caps",
    ];
    let adjustments = list(top, found, "adjust", &keys, |at, found| adjustment(at, found, known));
    let keys = ["number", "id", "name", "period", "days", "week_starts", "classes", "levels"];
    let caps = list(top, found, "cap", &keys, |at, found| cap(at, found, known));
    let keys = ["id", "from", "to", "within_s"];
    let interchanges = list(top, found, "interchange", &keys, |at, found| {
        let id = at.text(found, "id");
        let [from, to] = ["from", "to"].map(|key| places(at, found, key, known));
        let within_s = at.uint(found, "within_s", 86_400);
        Some(Interchange { id: id?.into(), from: from?, to: to?, within_s: within_s? })
    });
    let keys = ["number", "name", "routes", "time"];
    let passes = list(top, found, "pass", &keys, |at, found| {
        let number = at.uint(found, "number", u16::MAX.into());
        let name = at.text(found, "name");
        let routes = indexes(at, found, "routes", known.routes, RouteIx);
        let time = time(at, found, known);
        let number = u16::try_from(number?).ok()?;
        Some(PassTerms { number, name: name?.into(), routes: routes?, time: time? })
    });
    Terms {
        calendar: calendar(top, found, zone),
        times,
        adjustments,
        caps,
        interchanges,
        passes,
        dip: top.with("dip").opt_money(found, "dip", known.currency),
        companions: companions(top, found, known),
        exchanges: Vec::new(),
    }
}

fn companions(top: &Top<'_>, found: &mut Findings, known: &Known<'_>) -> Option<CompanionTerms> {
    let at = top.with("companions").sub(found, "companions", "companions")?;
    at.check_keys(&["riders_max", "classes"], found);
    let riders_max = at.uint(found, "riders_max", Companions::RIDERS_MAX.into());
    let classes = classes(&at, found, known);
    Some(CompanionTerms { riders_max: u8::try_from(riders_max?).ok()?, classes: classes? })
}

fn calendar(top: &Top<'_>, found: &mut Findings, zone: Option<ZoneOffsets>) -> Calendar {
    let clock = top.with("clock").sub(found, "clock", "clock");
    let clock = clock.and_then(|at| {
        at.check_keys(&["first_s", "changes"], found);
        let first_s = at.signed(found, "first_s")?;
        let changes = at.pairs(found, "changes")?;
        let small = |(at, east): (i64, i64)| i32::try_from(east).ok().map(|east| (at, east));
        let changes = changes.into_iter().map(small).collect::<Option<Vec<_>>>()?;
        Some(ZoneOffsets { first_s: i32::try_from(first_s).ok()?, changes })
    });
    let at = top.with("holidays");
    let mut holidays: Vec<ServiceDate> = at
        .opt_texts(found, "holidays")
        .unwrap_or_default()
        .into_iter()
        .filter_map(|text| date(at, found, "holidays", text))
        .collect();
    holidays.sort_unstable();
    holidays.dedup();
    let at = top.with("day_starts");
    let day_starts_s = at.opt_text(found, "day_starts");
    let day_starts_s = day_starts_s.and_then(|text| clock_time(at, found, "day_starts", text));
    Calendar { clock: clock.or(zone), day_starts_s: day_starts_s.unwrap_or(0), holidays }
}

fn band(at: &Section<'_>, found: &mut Findings) -> Option<TimeBand> {
    let id = at.text(found, "id");
    let days = match at.opt_texts(found, "days") {
        None => Some(0xff),
        Some(words) => days(at, found, &words),
    };
    let mut clock = |key: &str, missing| match at.opt_text(found, key) {
        None => Some(missing),
        Some(text) => clock_time(at, found, key, text),
    };
    let (from_s, to_s) = (clock("from", 0)?, clock("to", 86_400)?);
    if from_s >= to_s {
        let advice = "end a band after its start; write two bands for one over midnight";
        at.note(found, "to", "the band is empty", advice);
        return None;
    }
    let mut edge = |key: &str, missing| match at.opt_text(found, key) {
        None => Some(missing),
        Some(text) => date(at, found, key, text),
    };
    let (first, last) = (edge("first", ServiceDate(0))?, edge("last", ServiceDate(u32::MAX))?);
    let dates = (at.has("first") || at.has("last")).then_some((first, last));
    Some(TimeBand { id: id?.into(), days: days?, from_s, to_s, dates })
}

fn days(at: &Section<'_>, found: &mut Findings, words: &[&str]) -> Option<Days> {
    let mut days = 0;
    for word in words {
        let Some(bit) = DAY_WORDS.iter().position(|known| known == word) else {
            let message = format!("unknown day {word:?}");
            at.note(found, "days", message, format!("use {}", DAY_WORDS.join(", ")));
            return None;
        };
        days |= 1 << bit;
    }
    debug_assert_eq!(1_u8 << 7, HOLIDAY, "the last word is the holiday");
    Some(days)
}

fn adjustment(at: &Section<'_>, found: &mut Findings, known: &Known<'_>) -> Option<Adjustment> {
    let id = at.text(found, "id");
    let name = at.opt_text(found, "name").or(id);
    let scope = Scope {
        classes: classes(at, found, known)?,
        groups: groups(at, found, known)?,
        routes: indexes(at, found, "routes", known.routes, RouteIx)?,
        places: indexes(at, found, "places", known.places, PlaceIx)?,
        time: time(at, found, known)?,
    };
    let amount = at.opt_money(found, "amount", known.currency);
    let percent = if at.has("percent") { Some(at.signed(found, "percent")?) } else { None };
    let change = match (percent, amount) {
        (Some(percent), None) => {
            let word = at.opt_text(found, "rounding").unwrap_or("half-up");
            let rounding = rounding(at, found, word)?;
            let unit = at.opt_money(found, "unit", known.currency).map_or(1, Money::minor);
            let percent = i32::try_from(percent).ok().filter(|p| (-100..=1000).contains(p));
            if percent.is_none() || unit < 1 {
                let key = if percent.is_none() { "percent" } else { "unit" };
                let advice = "use a percentage from -100 to 1000 and a unit above nothing";
                at.note(found, key, "is out of range", advice);
            }
            Change::Percent { percent: percent?, rounding, unit: (unit >= 1).then_some(unit)? }
        }
        (None, Some(amount)) => Change::Amount(amount),
        _ => {
            let advice = "write percent, or amount";
            at.note(found, "percent", "the adjustment changes nothing or twice", advice);
            return None;
        }
    };
    let counts_to_caps = at.flag(found, "counts_to_caps", false)?;
    Some(Adjustment { id: id?.into(), name: name?.into(), scope, change, counts_to_caps })
}

pub(super) fn rounding(at: &Section<'_>, found: &mut Findings, word: &str) -> Option<Rounding> {
    let rounding = ROUNDINGS.iter().find(|(_, known)| *known == word).map(|(r, _)| *r);
    if rounding.is_none() {
        let words = ROUNDINGS.map(|(_, word)| word).join(", ");
        at.note(found, "rounding", format!("unknown rounding {word:?}"), format!("use {words}"));
    }
    rounding
}

fn cap(at: &Section<'_>, found: &mut Findings, known: &Known<'_>) -> Option<Cap> {
    let number = at.uint(found, "number", 250);
    let id = at.text(found, "id");
    let name = at.opt_text(found, "name").or(id);
    let period = match at.text(found, "period")? {
        "day" => CapPeriod::Day,
        "week" => {
            let word = at.opt_text(found, "week_starts").unwrap_or("mon");
            let first = DAY_WORDS[..7].iter().position(|known| *known == word);
            if first.is_none() {
                let message = format!("unknown day {word:?}");
                at.note(
                    found,
                    "week_starts",
                    message,
                    format!("use {}", DAY_WORDS[..7].join(", ")),
                );
            }
            CapPeriod::Week(u8::try_from(first?).ok()?)
        }
        "month" => CapPeriod::Month,
        "rolling" => {
            let days = at.uint(found, "days", 366)?;
            CapPeriod::Rolling(u16::try_from(days).ok()?)
        }
        other => {
            let message = format!("unknown period {other:?}");
            at.note(found, "period", message, "use day, week, month or rolling");
            return None;
        }
    };
    let classes = classes(at, found, known)?;
    let mut levels = Vec::new();
    for level in at.list(found, "levels") {
        level.check_keys(&["groups", "places", "price"], found);
        levels.push(CapLevel {
            groups: groups(&level, found, known)?,
            places: indexes(&level, found, "places", known.places, PlaceIx)?,
            price: level.money(found, "price", known.currency)?,
        });
    }
    let number = u8::try_from(number?).ok()?;
    Some(Cap { number, id: id?.into(), name: name?.into(), period, classes, levels })
}

/// The entries that a list names; an absent list is empty.
fn indexes<T>(
    at: &Section<'_>,
    found: &mut Findings,
    key: &str,
    names: &Names,
    of: fn(u16) -> T,
) -> Option<Vec<T>> {
    let ids = at.opt_texts(found, key).unwrap_or_default();
    ids.iter().map(|id| names.find(found, at, key, id).map(of)).collect()
}

fn places(
    at: &Section<'_>,
    found: &mut Findings,
    key: &str,
    known: &Known<'_>,
) -> Option<Vec<PlaceIx>> {
    at.texts(found, key)?;
    indexes(at, found, key, known.places, PlaceIx)
}

fn groups(at: &Section<'_>, found: &mut Findings, known: &Known<'_>) -> Option<Vec<GroupIx>> {
    let ids = at.opt_texts(found, "groups").unwrap_or_default();
    let ix = |id: &&str| known.groups.find(found, at, "groups", id);
    let list: Option<Vec<u16>> = ids.iter().map(ix).collect();
    list?.into_iter().map(|ix| u8::try_from(ix).ok().map(GroupIx)).collect()
}

fn classes(at: &Section<'_>, found: &mut Findings, known: &Known<'_>) -> Option<Vec<RiderClass>> {
    let list = indexes(at, found, "classes", known.classes, |ix| ix)?;
    list.into_iter().map(|ix| u8::try_from(ix).ok().map(RiderClass)).collect()
}

/// `Some(None)` = any time; `None` = a band that does not exist.
#[expect(clippy::option_option, reason = "absent and wrong are two answers")]
fn time(at: &Section<'_>, found: &mut Findings, known: &Known<'_>) -> Option<Option<TimeIx>> {
    match at.opt_text(found, "time") {
        None => Some(None),
        Some(id) => known.times.find(found, at, "time", id).map(TimeIx).map(Some),
    }
}

/// `HH:MM` or `HH:MM:SS`, up to 24:00.
fn clock_time(at: &Section<'_>, found: &mut Findings, key: &str, text: &str) -> Option<u32> {
    let parts: Option<Vec<u32>> = text.split(':').map(|part| part.parse().ok()).collect();
    let secs = match parts.as_deref() {
        Some([h, m]) if *m < 60 => Some(h * 3600 + m * 60),
        Some([h, m, s]) if *m < 60 && *s < 60 => Some(h * 3600 + m * 60 + s),
        Some(_) | None => None,
    };
    let secs = secs.filter(|secs| *secs <= 86_400);
    if secs.is_none() {
        let message = format!("{text:?} is no time of day");
        at.note(found, key, message, "write HH:MM from 00:00 to 24:00");
    }
    secs
}

/// `YYYY-MM-DD`.
pub(super) fn date(
    at: &Section<'_>,
    found: &mut Findings,
    key: &str,
    text: &str,
) -> Option<ServiceDate> {
    let date = ServiceDate::parse(text);
    if date.is_none() {
        at.note(found, key, format!("{text:?} is no date"), "write YYYY-MM-DD");
    }
    date
}
