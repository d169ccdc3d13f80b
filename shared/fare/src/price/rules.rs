//! Rides that leg and transfer rules price, tap by tap.
//!
//! A card cannot see what follows: of all ways to pay for a ride, the one that is cheapest now is
//! taken. The cheapest choice over the whole journey may be cheaper; the depot prices it and owes
//! the difference.

use alloc::sync::Arc;

use model::{CardRecord, PlaceIx, RouteIx, Timestamp, TransferRun};

use crate::{
    FareRefusal, GroupIx, StepKind, Tariff,
    compile::CompiledRules,
    rules::{Candidate, DurationSpan, Ride, StopIx, TransferRule},
};

use super::{
    bill::{Bill, RideFacts},
    right::Carried,
};

/// How old a run is, in seconds, at the two ends of the ride that is priced.
#[derive(Clone, Copy)]
pub(super) struct Ages {
    pub(super) departs_s: u64,
    pub(super) arrives_s: u64,
}

/// One way to pay for a ride.
struct Way<'t> {
    offer: Candidate,
    moved: Option<(&'t TransferRule, i64)>,
    cost: i64,
}

struct Missed<'t> {
    rule: &'t TransferRule,
    after_s: u64,
    limit_s: u32,
}

impl CompiledRules {
    /// What one boarding may cost.
    pub(super) fn board(
        &self,
        route: RouteIx,
        place: PlaceIx,
        ride: &RideFacts<'_>,
    ) -> Option<&[Candidate]> {
        let who = self.who(ride.class);
        self.table.board_offers(route, StopIx(place.0.into()), ride.began, who)
    }

    /// What a ride between two taps may cost.
    pub(super) fn between_taps(
        &self,
        route: RouteIx,
        (from, to): (PlaceIx, PlaceIx),
        arrives: Timestamp,
        ride: &RideFacts<'_>,
    ) -> &[Candidate] {
        let stop = |place: PlaceIx| StopIx(place.0.into());
        let (departs, who) = (ride.began, self.who(ride.class));
        let ride = Ride { route, from: stop(from), to: stop(to), departs, arrives };
        self.table.ride_offers(&ride, who)
    }

    fn ways<'t>(
        &'t self,
        ride: &RideFacts<'_>,
        offers: &[Candidate],
        carried: Option<Carried>,
        ages: Ages,
    ) -> (Option<Way<'t>>, Option<Missed<'t>>) {
        let mut best: Option<Way<'t>> = None;
        let mut missed = None;
        for offer in offers {
            let (moved, late) = self.transfers(ride, offer, carried, ages);
            missed = missed.or(late);
            let way = match moved {
                Some((rule, ab)) => {
                    let paid = carried.map_or(0, |run| i64::from(run.paid));
                    let alone = carried.is_some_and(|run| run.legs == 1).then_some(paid);
                    let cost = rule.kind.cost(alone, ab, offer.amount);
                    Way { offer: *offer, moved: Some((rule, ab)), cost }
                }
                None if offer.transfer_only => continue,
                None => Way { offer: *offer, moved: None, cost: offer.amount },
            };
            if best.as_ref().is_none_or(|best| way.cost < best.cost) {
                best = Some(way);
            }
        }
        (best, missed)
    }

    /// The cheapest transfer onto an offer; and one that only time forbids.
    fn transfers<'t>(
        &'t self,
        ride: &RideFacts<'_>,
        offer: &Candidate,
        carried: Option<Carried>,
        ages: Ages,
    ) -> (Option<(&'t TransferRule, i64)>, Option<Missed<'t>>) {
        let state = carried.and_then(|run| {
            let (group, product) = *self.states.get(usize::from(run.group.0))?;
            Some((run, group, product))
        });
        let (Some((run, from, held)), Some(to)) = (state, offer.group) else {
            return (None, None);
        };
        let who = self.who(ride.class);
        let set = self.table.rules();
        let mut found: Option<(u32, &TransferRule, i64)> = None;
        let mut missed = None;
        for ix in self.table.between(from, to) {
            let rule = &set.transfer_rules[*ix as usize];
            let ab = rule.product.map_or(Some(0), |product| self.table.amount_for(product, who));
            let in_hand = rule.holding.is_none_or(|product| held == Some(product));
            let count = rule.count.unwrap_or(u32::MAX);
            let counted = from != to || count >= u32::from(run.legs);
            let Some(ab) = ab.filter(|_| in_hand && counted) else { continue };
            let late = rule.limit.filter(|(limit_s, span)| age(ages, *span) > u64::from(*limit_s));
            if let Some((limit_s, span)) = late {
                missed = missed.or(Some(Missed { rule, after_s: age(ages, span), limit_s }));
            } else if found.is_none_or(|(least, _, cost)| (count, ab) < (least, cost)) {
                found = Some((count, rule, ab));
            }
        }
        let missed = missed.filter(|_| found.is_none());
        (found.map(|(_, rule, ab)| (rule, ab)), missed)
    }

    fn run_after(
        &self,
        way: &Way<'_>,
        carried: Option<Carried>,
        paid: i64,
        ride_s: u64,
    ) -> Option<TransferRun> {
        let group = way.offer.group?;
        let state = GroupIx(self.state(group, way.offer.product)?);
        let paid = u32::try_from(paid).unwrap_or(0);
        if let (Some(_), Some(run)) = (way.moved, carried) {
            let longer = Carried {
                legs: run.legs.saturating_add(1).min(15),
                paid: run.paid.saturating_add(paid).min(CardRecord::AMOUNT_MAX),
                group: state,
                ..run
            };
            return Some(longer.aged(ride_s));
        }
        let set = self.table.rules();
        let groups = u16::try_from(set.leg_groups.len()).unwrap_or(u16::MAX);
        let grants = (0..groups).any(|to| !self.table.between(group, to).is_empty());
        // Counted from an arrival, the run begins where the ride ends.
        let after_s = if self.from_arrival { 0 } else { ride_s };
        grants.then(|| Carried { legs: 1, paid, after_s, group: state }.aged(0))
    }
}

impl Bill {
    /// The fare of one ride by rules and who pays it; the run after it, or `unknown` when no rule
    /// has a fare for it.
    pub(super) fn add_rule_ride(
        &mut self,
        rules: &CompiledRules,
        offers: &[Candidate],
        ride: &RideFacts<'_>,
        (step, ride_s): (impl FnOnce(Arc<str>) -> StepKind, u64),
        (carried, ages): (Option<Carried>, Ages),
        unknown: FareRefusal,
    ) -> Result<Option<TransferRun>, FareRefusal> {
        let (way, missed) = rules.ways(ride, offers, carried, ages);
        let way = way.ok_or(unknown)?;
        let ride = RideFacts { group: way.offer.group.map_or(ride.group, narrow), ..*ride };
        let set = rules.table.rules();
        let product = &set.products[usize::from(way.offer.product)];
        let kind = step(Arc::clone(&product.name));
        let full = self.money(way.offer.amount);
        self.add(kind, &product.id, full);
        if way.cost > 0 && self.wallet.has_pass(&ride) {
            let rest = self.money(way.cost - way.offer.amount);
            if rest.minor() != 0 {
                self.add_key(StepKind::LegTransfer, "transfer", rest);
            }
            self.cover(&ride, way.cost);
            self.settle(&ride, 0);
            return Ok(carried.map(|run| run.aged(ride_s)));
        }
        if let Some((rule, _)) = way.moved {
            let off = self.money(way.cost - way.offer.amount);
            self.add_key(StepKind::LegTransfer, &rule.id(), off);
        } else if let Some(missed) = missed {
            let (after_s, limit_s) = (missed.after_s, missed.limit_s.into());
            let zero = self.money(0);
            let kind = StepKind::TransferTooLate { after_s, limit_s };
            self.add_key(kind, &missed.rule.id(), zero);
        }
        if way.cost < 0 {
            let kept = self.money(-way.cost);
            self.add_key(StepKind::NoRefund, "no-refund", kept);
        }
        let cost = way.cost.max(0);
        let left = self.cover(&ride, cost);
        self.settle(&ride, left);
        Ok(rules.run_after(&way, carried, cost, ride_s))
    }
}

impl Tariff {
    /// What the group byte of a card's run means: the group's name, and the product held where
    /// the rules ask for it.
    pub(crate) fn run_state(&self, state: GroupIx) -> Option<(&str, Option<&str>)> {
        let Some(rules) = &self.table else {
            let name = self.parts.groups.get(usize::from(state.0))?;
            return Some((name.as_str(), None));
        };
        let (group, product) = *rules.states.get(usize::from(state.0))?;
        let set = rules.table.rules();
        let product = product.map(|ix| &*set.products[usize::from(ix)].id);
        Some((&*set.leg_groups[usize::from(group)], product))
    }

    /// How many of them there are.
    pub(crate) fn run_states(&self) -> usize {
        self.table.as_ref().map_or(self.parts.groups.len(), |rules| rules.states.len())
    }
}

const fn age(ages: Ages, span: DurationSpan) -> u64 {
    match span {
        DurationSpan::DepartureToArrival | DurationSpan::ArrivalToArrival => ages.arrives_s,
        DurationSpan::DepartureToDeparture | DurationSpan::ArrivalToDeparture => ages.departs_s,
    }
}

fn narrow(group: u16) -> GroupIx {
    GroupIx(u8::try_from(group).unwrap_or(u8::MAX))
}
