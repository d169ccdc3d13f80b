//! The sections of `parse/terms.rs`, written as they are read.

use alloc::{format, string::String, vec::Vec};
use core::fmt::{self, Write as _};

use crate::{CapPeriod, Change, Scope, Tariff, Terms, TimeIx, parse::terms::DAY_WORDS};

use super::{Amount, Text, group, list};

/// The keys that stand before the first section.
pub(super) fn write_head(terms: &Terms, out: &mut String) -> fmt::Result {
    if terms.calendar.day_starts_s != 0 {
        writeln!(out, "day_starts = \"{}\"", clock(terms.calendar.day_starts_s))?;
    }
    if !terms.calendar.holidays.is_empty() {
        let dates: Vec<String> =
            terms.calendar.holidays.iter().map(|date| format!("{date}")).collect();
        writeln!(out, "holidays = {}", list(dates.iter().map(String::as_str)))?;
    }
    if let Some(dip) = terms.dip {
        writeln!(out, "dip = {}", Amount(dip))?;
    }
    Ok(())
}

pub(super) fn write_terms(tariff: &Tariff, out: &mut String) -> fmt::Result {
    let terms = tariff.terms();
    write_times(terms, out)?;
    for adjustment in &terms.adjustments {
        let (id, name) = (Text(&adjustment.id), Text(&adjustment.name));
        writeln!(out, "\n[[adjust]]\nid = {id}\nname = {name}")?;
        write_scope(tariff, &adjustment.scope, out)?;
        match adjustment.change {
            Change::Percent { percent, rounding, unit } => {
                let word = rounding.word();
                let unit = Amount(model::Money::new(unit, tariff.currency()));
                writeln!(out, "percent = {percent}\nrounding = {}\nunit = {unit}", Text(word))?;
            }
            Change::Amount(amount) => writeln!(out, "amount = {}", Amount(amount))?,
        }
        if adjustment.counts_to_caps {
            writeln!(out, "counts_to_caps = true")?;
        }
    }
    write_caps(tariff, out)?;
    for rule in &terms.interchanges {
        writeln!(out, "\n[[interchange]]\nid = {}", Text(&rule.id))?;
        let places = |list: &[model::PlaceIx]| place_ids(tariff, list);
        writeln!(out, "from = {}\nto = {}", places(&rule.from), places(&rule.to))?;
        writeln!(out, "within_s = {}", rule.within_s)?;
    }
    for pass in &terms.passes {
        writeln!(out, "\n[[pass]]\nnumber = {}\nname = {}", pass.number, Text(&pass.name))?;
        let scope = Scope { routes: pass.routes.clone(), time: pass.time, ..Scope::default() };
        write_scope(tariff, &scope, out)?;
    }
    if let Some(companions) = &terms.companions {
        writeln!(out, "\n[companions]\nriders_max = {}", companions.riders_max)?;
        let scope = Scope { classes: companions.classes.clone(), ..Scope::default() };
        write_scope(tariff, &scope, out)?;
    }
    write_exchanges(terms, out)
}

fn write_exchanges(terms: &Terms, out: &mut String) -> fmt::Result {
    for exchange in &terms.exchanges {
        writeln!(out, "\n[[exchange]]\ncurrency = {}", Text(exchange.currency().letters()))?;
        let (rounding, unit) = (Text(exchange.rounding().word()), Amount(exchange.unit()));
        writeln!(out, "rounding = {rounding}\nunit = {unit}")?;
        for rate in exchange.rates() {
            writeln!(
                out,
                "[[exchange.rates]]\nfrom = \"{}\"\nrate = \"{}\"",
                rate.from, rate.rate
            )?;
        }
    }
    Ok(())
}

fn write_times(terms: &Terms, out: &mut String) -> fmt::Result {
    if let Some(zone) = &terms.calendar.clock {
        let changes: Vec<String> =
            zone.changes.iter().map(|(at, east)| format!("[{at}, {east}]")).collect();
        writeln!(
            out,
            "\n# Seconds since 1970 at which the clocks change, seconds east of UTC then."
        )?;
        let changes = changes.join(", ");
        writeln!(out, "[clock]\nfirst_s = {}\nchanges = [{changes}]", zone.first_s)?;
    }
    for band in &terms.times {
        writeln!(out, "\n[[time]]\nid = {}", Text(&band.id))?;
        let days = DAY_WORDS.iter().enumerate().filter(|(i, _)| band.days >> i & 1 == 1);
        writeln!(out, "days = {}", list(days.map(|(_, word)| *word)))?;
        writeln!(out, "from = \"{}\"\nto = \"{}\"", clock(band.from_s), clock(band.to_s))?;
        if let Some((first, last)) = band.dates {
            if first.0 != 0 {
                writeln!(out, "first = \"{first}\"")?;
            }
            if last.0 != u32::MAX {
                writeln!(out, "last = \"{last}\"")?;
            }
        }
    }
    Ok(())
}

fn write_caps(tariff: &Tariff, out: &mut String) -> fmt::Result {
    for cap in &tariff.terms().caps {
        writeln!(out, "\n[[cap]]\nnumber = {}\nid = {}", cap.number, Text(&cap.id))?;
        writeln!(out, "name = {}", Text(&cap.name))?;
        match cap.period {
            CapPeriod::Day => writeln!(out, "period = \"day\"")?,
            CapPeriod::Week(first) => {
                let word = Text(DAY_WORDS[usize::from(first)]);
                writeln!(out, "period = \"week\"\nweek_starts = {word}")?;
            }
            CapPeriod::Month => writeln!(out, "period = \"month\"")?,
            CapPeriod::Rolling(days) => writeln!(out, "period = \"rolling\"\ndays = {days}")?,
        }
        let scope = Scope { classes: cap.classes.clone(), ..Scope::default() };
        write_scope(tariff, &scope, out)?;
        for level in &cap.levels {
            writeln!(out, "[[cap.levels]]")?;
            let (groups, places) = (level.groups.clone(), level.places.clone());
            write_scope(tariff, &Scope { groups, places, ..Scope::default() }, out)?;
            writeln!(out, "price = {}", Amount(level.price))?;
        }
    }
    Ok(())
}

fn write_scope(tariff: &Tariff, scope: &Scope, out: &mut String) -> fmt::Result {
    if !scope.classes.is_empty() {
        let class = |ix: &model::RiderClass| tariff.classes()[usize::from(ix.0)].id.as_str();
        writeln!(out, "classes = {}", list(scope.classes.iter().map(class)))?;
    }
    if !scope.groups.is_empty() {
        writeln!(out, "groups = {}", list(scope.groups.iter().map(|ix| group(tariff, *ix))))?;
    }
    if !scope.routes.is_empty() {
        let id = |ix: &model::RouteIx| &*tariff.routes()[usize::from(ix.0)].id;
        writeln!(out, "routes = {}", list(scope.routes.iter().map(id)))?;
    }
    if !scope.places.is_empty() {
        writeln!(out, "places = {}", place_ids(tariff, &scope.places))?;
    }
    if let Some(TimeIx(ix)) = scope.time {
        writeln!(out, "time = {}", Text(&tariff.terms().times[usize::from(ix)].id))?;
    }
    Ok(())
}

fn place_ids(tariff: &Tariff, places: &[model::PlaceIx]) -> String {
    list(places.iter().map(|ix| &*tariff.places()[usize::from(ix.0)].id))
}

fn clock(secs: u32) -> String {
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (h, m, 0) => format!("{h:02}:{m:02}"),
        (h, m, s) => format!("{h:02}:{m:02}:{s:02}"),
    }
}
