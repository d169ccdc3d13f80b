//! Leg and transfer rules as a card can follow them: one run, one clock, one byte for where the
//! run is.

use alloc::{collections::BTreeSet, format, vec::Vec};

use model::RiderClass;

use crate::{
    TariffParts,
    rules::{DurationSpan, RuleSet, RuleTable, Who},
};

use super::{Flaw, flaw};

/// The compiled rules of a tariff, and what a card's run means under them.
#[derive(Debug, Clone)]
pub(crate) struct CompiledRules {
    pub(crate) table: RuleTable,
    medium: Option<u16>,
    /// What the group byte of a run stands for: leg group, and the product that paid its last
    /// leg where a transfer asks for it.
    pub(crate) states: Vec<(u16, Option<u16>)>,
    /// Whether transfer times count from the end of the run's first leg, not from its start.
    pub(crate) from_arrival: bool,
}

impl CompiledRules {
    /// The rider of a card of this category.
    pub(crate) fn who(&self, class: RiderClass) -> Who {
        let known = usize::from(class.0) < self.table.rules().riders.len();
        // The first category is the default one, which also has what any default one has.
        let rider = (class.0 > 0 && known).then_some(u16::from(class.0));
        Who { rider, medium: self.medium }
    }

    /// The state of a run whose last leg is of this group and was paid with this product.
    pub(crate) fn state(&self, group: u16, product: u16) -> Option<u8> {
        let is = |(g, p): &(u16, Option<u16>)| *g == group && p.is_none_or(|p| p == product);
        self.states.iter().position(is).and_then(|ix| u8::try_from(ix).ok())
    }
}

pub(super) fn compile_rules(parts: &TariffParts, flaws: &mut Vec<Flaw>) -> Option<CompiledRules> {
    let rules = parts.rules.as_ref()?;
    let set = &rules.set;
    check_shape(parts, set, flaws);
    let states = states(set);
    if states.len() > 255 {
        let message = format!("{} leg groups and products that transfers tell apart", states.len());
        flaw(flaws, ("leg", 0, "group"), message, "a card tells 255 apart: merge some groups");
    }
    let starts: BTreeSet<bool> = set
        .transfer_rules
        .iter()
        .filter_map(|rule| rule.limit.map(|(_, span)| from_arrival(span)))
        .collect();
    if starts.len() > 1 {
        let message = "some transfer times begin with a departure, some with an arrival";
        let advice = "a card keeps one clock for a run: let all begin with the same";
        flaw(flaws, ("leg_transfer", 0, "span"), message, advice);
    }
    for (i, rule) in set.transfer_rules.iter().enumerate() {
        let entered = |other: &crate::rules::TransferRule| {
            !other.dead && other.to == rule.to && other.from != rule.from
        };
        if rule.count.is_some() && set.transfer_rules.iter().any(entered) {
            let message = "a transfer that is counted is reached from another group";
            let advice = "a card counts all rides of a run: leave the count out, or the way in";
            flaw(flaws, ("leg_transfer", i, "count"), message, advice);
        }
    }
    if !flaws.is_empty() {
        return None;
    }
    Some(CompiledRules {
        table: RuleTable::compile(alloc::sync::Arc::clone(set)),
        medium: rules.medium,
        states,
        from_arrival: starts.contains(&true),
    })
}

const fn from_arrival(span: DurationSpan) -> bool {
    matches!(span, DurationSpan::ArrivalToDeparture | DurationSpan::ArrivalToArrival)
}

/// Leg groups in their order; where a transfer asks for the product held, with each product.
fn states(set: &RuleSet) -> Vec<(u16, Option<u16>)> {
    let asked = set.transfer_rules.iter().any(|rule| rule.holding.is_some());
    if !asked {
        let groups = u16::try_from(set.leg_groups.len()).unwrap_or(u16::MAX);
        return (0..groups).map(|group| (group, None)).collect();
    }
    let of = |rule: &crate::rules::LegRule| Some((rule.group?, Some(rule.product)));
    let states: BTreeSet<_> = set.leg_rules.iter().filter_map(of).collect();
    states.into_iter().collect()
}

/// Rules of a tariff speak of its own places, routes, categories and groups.
fn check_shape(parts: &TariffParts, set: &RuleSet, flaws: &mut Vec<Flaw>) {
    let sizes = [
        ("place", parts.places.len(), set.stops.len()),
        ("route", parts.routes.len(), set.routes.len()),
    ];
    for (section, has, needs) in sizes {
        if has != needs {
            let message = format!("{has} entries, and {needs} in the rules");
            flaw(flaws, (section, 0, "id"), message, "this is a fault of the importer: report it");
        }
    }
    let names = parts.groups.iter().map(alloc::string::String::as_str);
    if !names.zip(&set.leg_groups).all(|(a, b)| a == &**b)
        || parts.groups.len() < set.leg_groups.len()
    {
        let message = "the leg groups are not the first groups";
        flaw(flaws, ("groups", 0, "id"), message, "this is a fault of the importer: report it");
    }
    if set.riders.len() > parts.classes.len() || set.currency != parts.currency {
        let message = "riders or currency of the rules are not the tariff's";
        flaw(flaws, ("class", 0, "id"), message, "this is a fault of the importer: report it");
    }
    let asks_time = set.leg_rules.iter().any(|r| r.from_time.is_some() || r.to_time.is_some());
    if asks_time && parts.terms.calendar.clock.is_none() {
        let advice = "name a time zone that is known, or write [clock]; `depot-server fares \
                      compile` writes it";
        flaw(flaws, ("timeframe", 0, "id"), "the rules ask for the time and have no clock", advice);
    }
}
