//! The sections of `parse/rules.rs`, written as they are read.

use alloc::{format, string::String, vec::Vec};
use core::fmt::{self, Write as _};

use model::ServiceDate;

use crate::{
    Tariff,
    parse::{
        rules::{KINDS, SPANS},
        terms::DAY_WORDS,
    },
    rules::{LegRule, RuleSet, Service, TransferRule},
};

use super::{Amount, Text, list};

/// The keys that stand before the first section.
pub(super) fn write_head(tariff: &Tariff, out: &mut String) -> fmt::Result {
    let Some(rules) = &tariff.parts.rules else { return Ok(()) };
    writeln!(out, "leg_groups = {}", rules.set.leg_groups.len())?;
    if rules.set.has_priority {
        writeln!(out, "leg_priority = true")?;
    }
    if let Some(medium) = rules.medium {
        writeln!(out, "card_medium = {}", Text(&rules.set.media[usize::from(medium)].id))?;
    }
    Ok(())
}

pub(super) fn write_rules(tariff: &Tariff, out: &mut String) -> fmt::Result {
    let Some(rules) = &tariff.parts.rules else { return Ok(()) };
    let set = &*rules.set;
    for medium in &set.media {
        writeln!(out, "\n[[medium]]\nid = {}\nname = {}", Text(&medium.id), Text(&medium.name))?;
    }
    for product in &set.products {
        writeln!(out, "\n[[fare]]\nid = {}\nname = {}", Text(&product.id), Text(&product.name))?;
        let rows = product.variants.iter().map(|row| {
            let class = row.rider.map_or_else(String::new, |ix| {
                format!("class = {}, ", Text(&set.riders[usize::from(ix)].id))
            });
            let medium = row.medium.map_or_else(String::new, |ix| {
                format!("medium = {}, ", Text(&set.media[usize::from(ix)].id))
            });
            format!("  {{ {class}{medium}price = {} }},\n", Amount(row.amount))
        });
        writeln!(out, "prices = [\n{}]", rows.collect::<String>())?;
    }
    write_places(set, out)?;
    for (ix, service) in set.services.iter().enumerate() {
        write_service(ix, service, out)?;
    }
    for frame in &set.timeframes {
        let rows = frame.rows.iter().map(|row| {
            let service =
                row.service.map_or_else(String::new, |ix| format!(", service = \"{ix}\""));
            format!("{{ from_s = {}, to_s = {}{service} }}", row.start_s, row.end_s)
        });
        let rows: Vec<String> = rows.collect();
        writeln!(out, "\n[[timeframe]]\nid = {}\nrows = [{}]", Text(&frame.id), rows.join(", "))?;
    }
    for rule in &set.leg_rules {
        writeln!(out, "\n[[leg]]")?;
        write_leg(set, rule, out)?;
    }
    for rule in &set.join_rules {
        writeln!(out, "\n[[join]]")?;
        let network = |ix: crate::rules::NetworkIx| &*set.networks[usize::from(ix.0)];
        key(out, "from", rule.from.map(network))?;
        key(out, "to", rule.to.map(network))?;
        if let Some((from, to)) = rule.stops {
            let ids = [from, to].map(|ix| &*set.stops[ix.0 as usize].id);
            writeln!(out, "at = {}", list(ids.into_iter()))?;
        }
    }
    for rule in &set.transfer_rules {
        writeln!(out, "\n[[leg_transfer]]")?;
        write_transfer(set, rule, out)?;
    }
    Ok(())
}

fn write_places(set: &RuleSet, out: &mut String) -> fmt::Result {
    for (ix, area) in (0..).zip(&set.areas) {
        let inside = set.stops.iter().filter(|stop| stop.areas.iter().any(|a| a.0 == ix));
        let places = list(inside.map(|stop| &*stop.id));
        writeln!(out, "\n[[area]]\nid = {}\nplaces = {places}", Text(area))?;
    }
    for (ix, network) in (0..).zip(&set.networks) {
        let inside = set.routes.iter().filter(|route| route.network.is_some_and(|n| n.0 == ix));
        let routes = list(inside.map(|route| &*route.id));
        writeln!(out, "\n[[route_network]]\nid = {}\nroutes = {routes}", Text(network))?;
    }
    Ok(())
}

fn write_service(ix: usize, service: &Service, out: &mut String) -> fmt::Result {
    let days = DAY_WORDS[..7].iter().zip(service.weekdays).filter(|(_, runs)| *runs);
    writeln!(out, "\n[[service]]\nid = \"{ix}\"\ndays = {}", list(days.map(|(word, _)| *word)))?;
    if let Some((first, last)) = service.period {
        writeln!(out, "first = \"{first}\"\nlast = \"{last}\"")?;
    }
    let texts = |dates: &alloc::collections::BTreeSet<ServiceDate>| {
        let texts: Vec<String> = dates.iter().map(|date| format!("{date}")).collect();
        list(texts.iter().map(String::as_str))
    };
    if !service.added.is_empty() {
        writeln!(out, "added = {}", texts(&service.added))?;
    }
    if !service.removed.is_empty() {
        writeln!(out, "removed = {}", texts(&service.removed))?;
    }
    Ok(())
}

fn write_leg(set: &RuleSet, rule: &LegRule, out: &mut String) -> fmt::Result {
    let group = |ix: u16| &*set.leg_groups[usize::from(ix)];
    let area = |ix: crate::rules::AreaIx| &*set.areas[usize::from(ix.0)];
    let frame = |ix: u16| &*set.timeframes[usize::from(ix)].id;
    key(out, "group", rule.group.map(group))?;
    key(out, "network", rule.network.map(|ix| &*set.networks[usize::from(ix.0)]))?;
    key(out, "from", rule.from.map(area))?;
    key(out, "to", rule.to.map(area))?;
    key(out, "from_time", rule.from_time.map(frame))?;
    key(out, "to_time", rule.to_time.map(frame))?;
    key(out, "fare", Some(&*set.products[usize::from(rule.product)].id))?;
    if rule.priority != 0 {
        writeln!(out, "priority = {}", rule.priority)?;
    }
    flags(out, [("transfer_only", rule.transfer_only), ("dead", rule.dead)])?;
    writeln!(out, "row = {}", rule.row)
}

fn write_transfer(set: &RuleSet, rule: &TransferRule, out: &mut String) -> fmt::Result {
    let group = |ix: u16| &*set.leg_groups[usize::from(ix)];
    let fare = |ix: u16| &*set.products[usize::from(ix)].id;
    key(out, "from", rule.from.map(group))?;
    key(out, "to", rule.to.map(group))?;
    if let Some(count) = rule.count {
        writeln!(out, "count = {count}")?;
    }
    if let Some((limit_s, span)) = rule.limit {
        let word = SPANS.iter().find(|(known, _)| *known == span).map(|(_, word)| *word);
        writeln!(out, "limit_s = {limit_s}")?;
        key(out, "span", word)?;
    }
    key(out, "kind", KINDS.iter().find(|(kind, _)| *kind == rule.kind).map(|(_, word)| *word))?;
    key(out, "fare", rule.product.map(fare))?;
    key(out, "holding", rule.holding.map(fare))?;
    flags(out, [("dead", rule.dead)])?;
    writeln!(out, "row = {}", rule.row)
}

fn key(out: &mut String, key: &str, value: Option<&str>) -> fmt::Result {
    value.map_or(Ok(()), |value| writeln!(out, "{key} = {}", Text(value)))
}

fn flags<const N: usize>(out: &mut String, flags: [(&str, bool); N]) -> fmt::Result {
    for (key, _) in flags.iter().filter(|(_, set)| *set) {
        writeln!(out, "{key} = true")?;
    }
    Ok(())
}
