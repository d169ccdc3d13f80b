//! The interpreter: every rule is looked at, one by one. Slow and plain; what the table must
//! equal.

use alloc::{borrow::Cow, vec::Vec};

use super::{
    Candidate, FareLeg, JourneyPrice, Ride, RuleSet, TransferRule, Who,
    legs::Named,
    walk::{Source, walk},
};

/// The rules of a feed, read one by one.
#[derive(Debug)]
pub struct Interpreter<'a> {
    set: &'a RuleSet,
    named: Named,
    /// Per leg group: whether the transfer rules name it as the group before, and after.
    named_groups: Vec<(bool, bool)>,
}

impl<'a> Interpreter<'a> {
    /// For these rules.
    pub fn new(set: &'a RuleSet) -> Self {
        Self { set, named: Named::of(set), named_groups: named_groups(set) }
    }

    /// What a journey costs.
    pub fn price(&self, rides: &[Ride], who: Who) -> JourneyPrice {
        walk(self, &self.set.legs(&self.named, rides), who)
    }
}

impl Source for Interpreter<'_> {
    fn set(&self) -> &RuleSet {
        self.set
    }

    fn offers(&self, leg: &FareLeg, who: Who) -> Cow<'_, [Candidate]> {
        let set = self.set;
        let areas = |stop: super::StopIx| set.stops[stop.0 as usize].areas.as_slice();
        let matching = set.leg_rules.iter().enumerate().filter(|(_, rule)| {
            !rule.dead
                && self.named.network_matches(set, rule, leg.network)
                && self.named.start_matches(set, rule, areas(leg.from))
                && self.named.end_matches(set, rule, areas(leg.to))
                && set.time_matches(rule.from_time, leg.from, leg.departs)
                && set.time_matches(rule.to_time, leg.to, leg.arrives)
        });
        let matching: Vec<usize> = matching.map(|(ix, _)| ix).collect();
        let best: Vec<usize> = set.best(matching.iter().copied()).collect();
        Cow::Owned(set.offers(best.into_iter(), who))
    }

    fn transfers(&self, from: u16, to: u16) -> Cow<'_, [u32]> {
        Cow::Owned(transfers_between(self.set, &self.named_groups, from, to))
    }

    fn amount(&self, product: u16, who: Who) -> Option<i64> {
        self.set.amount(product, who)
    }
}

/// What the two group columns of the transfer rules name.
pub(super) fn named_groups(set: &RuleSet) -> Vec<(bool, bool)> {
    let mut named = alloc::vec![(false, false); set.leg_groups.len()];
    for rule in &set.transfer_rules {
        if let Some(group) = rule.from {
            named[usize::from(group)].0 = true;
        }
        if let Some(group) = rule.to {
            named[usize::from(group)].1 = true;
        }
    }
    named
}

/// The living transfer rules from one leg group to another. An empty field is every group that
/// its column does not name, whatever `rule_priority` says.
pub(super) fn transfers_between(
    set: &RuleSet,
    named: &[(bool, bool)],
    from: u16,
    to: u16,
) -> Vec<u32> {
    let matches = |rule: &TransferRule| {
        let before = rule.from.map_or(!named[usize::from(from)].0, |group| group == from);
        let after = rule.to.map_or(!named[usize::from(to)].1, |group| group == to);
        !rule.dead && before && after
    };
    let rules = set.transfer_rules.iter().enumerate().filter(|(_, rule)| matches(rule));
    rules.filter_map(|(ix, _)| u32::try_from(ix).ok()).collect()
}
