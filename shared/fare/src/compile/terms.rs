//! Checks of what GTFS cannot say.

use alloc::{collections::BTreeSet, format, vec::Vec};

use model::{CardCounters, RiderClass};

use crate::{CapPeriod, TariffParts};

use super::{Flaw, flaw};

pub(super) fn check_terms(parts: &TariffParts, flaws: &mut Vec<Flaw>) {
    let terms = &parts.terms;
    let asks = [
        ("time", "id", !terms.times.is_empty()),
        ("cap", "id", !terms.caps.is_empty()),
        ("exchange", "currency", !terms.exchanges.is_empty()),
    ];
    let no_clock = terms.calendar.clock.is_none();
    for (section, key, _) in asks.iter().filter(|(_, _, asks)| *asks && no_clock) {
        let advice = "name a time zone that is known, or write [clock]; `depot-server fares \
                      compile` writes it";
        flaw(flaws, (section, 0, key), "the tariff asks for the time and has no clock", advice);
    }
    let mut seen = BTreeSet::new();
    for (i, cap) in terms.caps.iter().enumerate() {
        if !(1..=250).contains(&cap.number) || !seen.insert(cap.number) {
            let advice = "give each cap its own number from 1 to 250, and keep it";
            flaw(flaws, ("cap", i, "number"), format!("{} is taken", cap.number), advice);
        }
        if cap.levels.is_empty() || cap.levels.len() > 250 {
            flaw(flaws, ("cap", i, "levels"), "no level", "add one with a price");
        }
        let falls = |pair: &[crate::CapLevel]| pair[0].price.minor() > pair[1].price.minor();
        if cap.levels.windows(2).any(falls) {
            let advice = "list the narrowest level first; a wider one never costs less";
            flaw(flaws, ("cap", i, "levels"), "prices fall", advice);
        }
        if cap.levels.iter().any(|level| !(0..1 << 31).contains(&level.price.minor())) {
            flaw(flaws, ("cap", i, "levels"), "a price is out of range", "use a smaller one");
        }
        if matches!(cap.period, CapPeriod::Rolling(0)) {
            flaw(flaws, ("cap", i, "days"), "no day", "use 1 to 366");
        }
    }
    let slots = CardCounters::SLOTS - usize::from(!terms.interchanges.is_empty());
    for (class, known) in (0..=u8::MAX).map(RiderClass).zip(&parts.classes) {
        let mine = |cap: &&crate::Cap| cap.classes.is_empty() || cap.classes.contains(&class);
        let caps = terms.caps.iter().filter(mine).count();
        if caps > slots {
            let message = format!("{caps} caps for {:?}", known.id);
            let advice = format!("a card counts {slots} of them");
            flaw(flaws, ("cap", 0, "classes"), message, advice);
        }
    }
    if terms.companions.as_ref().is_some_and(|companions| companions.riders_max == 0) {
        let advice = "use 1 to 15, or leave the section out";
        flaw(flaws, ("companions", 0, "riders_max"), "nobody may come along", advice);
    }
    check_ids(parts, flaws);
    if terms.dip.is_some_and(|dip| dip.minor() < 0) {
        flaw(flaws, ("", 0, "dip"), "is below nothing", "write how far below zero a charge may go");
    }
}

fn check_ids(parts: &TariffParts, flaws: &mut Vec<Flaw>) {
    let terms = &parts.terms;
    let lists: [(&'static str, Vec<&str>); 4] = [
        ("time", terms.times.iter().map(|time| &*time.id).collect()),
        ("adjust", terms.adjustments.iter().map(|adjustment| &*adjustment.id).collect()),
        ("cap", terms.caps.iter().map(|cap| &*cap.id).collect()),
        ("interchange", terms.interchanges.iter().map(|rule| &*rule.id).collect()),
    ];
    for (section, ids) in lists {
        let mut seen = BTreeSet::new();
        for (index, id) in ids.iter().enumerate() {
            if !seen.insert(*id) {
                let message = format!("{id:?} stands here a second time");
                flaw(flaws, (section, index, "id"), message, "give each its own id");
            }
        }
    }
    let mut seen = BTreeSet::new();
    for (index, pass) in terms.passes.iter().enumerate() {
        if !seen.insert(pass.number) {
            let message = format!("{} stands here a second time", pass.number);
            flaw(flaws, ("pass", index, "number"), message, "give each its own number");
        }
    }
}
