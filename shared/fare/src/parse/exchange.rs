//! `[[exchange]]`: which other currencies a purse may be in, by which rates, and who gets the rest.

use alloc::{format, vec::Vec};

use model::{Currency, Money};

use crate::{
    DatedRate, Exchange, Rate,
    document::{Findings, Section},
};

use super::{
    Top, currency, list,
    terms::{date, rounding},
};

pub(super) fn exchanges(top: &Top<'_>, found: &mut Findings) -> Vec<Exchange> {
    let keys = ["currency", "rates", "rounding", "unit"];
    list(top, found, "exchange", &keys, |at, found| {
        let purse = currency(at, found);
        let rates = rates(at, found);
        let word = at.text(found, "rounding");
        let rounding = word.and_then(|word| rounding(at, found, word));
        let (purse, rates) = (purse?, rates?);
        let entry = Exchange::new(purse, rates, rounding?, unit(at, found, purse)?);
        if let Err(why) = &entry {
            at.note(found, "rates", format!("{why}"), "correct the entry");
        }
        entry.ok()
    })
}

fn unit(at: &Section<'_>, found: &mut Findings, purse: Currency) -> Option<i64> {
    if !at.has("unit") {
        return Some(1);
    }
    let unit = at.opt_money(found, "unit", purse)?.minor();
    if unit < 1 {
        let cent = Money::new(1, purse);
        let message = format!("{} is no unit", Money::new(unit, purse));
        at.note(found, "unit", message, format!("write an amount from {cent}"));
    }
    (unit >= 1).then_some(unit)
}

/// The dated rates of one entry. `None` when one of them has a finding.
fn rates(at: &Section<'_>, found: &mut Findings) -> Option<Vec<DatedRate>> {
    let before = found.list.len();
    let sections = at.list(found, "rates");
    if sections.is_empty() && found.list.len() == before {
        let advice = "add `rates = [{ from = 2026-01-01, rate = \"0.9432\" }]`";
        at.note(found, "rates", "no rate", advice);
    }
    let mut rates: Vec<DatedRate> = Vec::new();
    for section in sections {
        section.check_keys(&["from", "rate"], found);
        let from = section.date_text(found, "from");
        let from = from.and_then(|text| date(&section, found, "from", &text));
        let rate = section.scalar(found, "rate").and_then(|text| {
            let rate = Rate::parse(&text);
            if let Err(why) = &rate {
                let advice = "write how much of that currency one unit of the tariff's is";
                section.note(found, "rate", format!("{why}"), advice);
            }
            rate.ok()
        });
        let (Some(from), Some(rate)) = (from, rate) else { continue };
        if let Some(earlier) = rates.last().filter(|earlier| earlier.from >= from) {
            let message = if earlier.from == from {
                format!("{from} stands here a second time")
            } else {
                format!("{from} stands after {}", earlier.from)
            };
            section.note(found, "from", message, "list each day once, oldest first");
        }
        rates.push(DatedRate { from, rate });
    }
    (found.list.len() == before).then_some(rates)
}
