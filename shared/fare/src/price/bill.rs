//! One tap's charge while it is made up, step by step.

use alloc::{sync::Arc, vec::Vec};

use model::{CardCounters, Money, PlaceIx, RiderClass, RouteIx, Timestamp, TransferRun};

use crate::{
    FareRefusal, GroupIx, Journey, ProductStep, Step, StepKind, Tariff, TariffSet, TransferPrice,
    products::Wallet,
};

use super::{
    name,
    right::{Carried, Right, right, run_after},
};

/// What is known about the ride that is being priced.
#[derive(Clone, Copy)]
pub(crate) struct RideFacts<'t> {
    /// The version that prices it.
    pub(crate) tariff: &'t Tariff,
    pub(crate) group: GroupIx,
    pub(crate) class: RiderClass,
    pub(crate) route: Option<RouteIx>,
    /// Where it begins and ends, as far as it is known, numbered by `tariff`.
    pub(crate) places: [Option<PlaceIx>; 2],
    /// Its first tap.
    pub(crate) began: Timestamp,
}

/// One way to pay for a ride.
#[derive(Clone)]
pub(crate) struct Offer<'t> {
    /// The rule that a step names.
    pub(crate) id: &'t Arc<str>,
    pub(crate) kind: StepKind,
    pub(crate) group: GroupIx,
    pub(crate) amount: i64,
}

/// The steps so far and their sum.
pub(super) struct Bill {
    pub(super) charge: Money,
    pub(super) steps: Vec<Step>,
    pub(super) wallet: Wallet,
    pub(super) counters: Option<CardCounters>,
}

impl Bill {
    pub(super) fn add(&mut self, kind: StepKind, rule: &Arc<str>, amount: Money) {
        self.charge = super::add(self.charge, amount);
        self.steps.push(Step { kind, rule: Arc::clone(rule), amount });
    }

    pub(super) fn add_key(&mut self, kind: StepKind, key: &str, amount: Money) {
        self.add(kind, &Arc::from(key), amount);
    }

    pub(super) fn add_product(&mut self, step: ProductStep, amount: Money) {
        self.add(StepKind::Product(step), &step.rule(), amount);
    }

    pub(super) fn money(&self, minor: i64) -> Money {
        Money::new(minor, self.charge.currency())
    }

    /// What a product pays of `cost`, or why none does. Returns what is left to pay.
    pub(super) fn cover(&mut self, ride: &RideFacts<'_>, cost: i64) -> i64 {
        if cost == 0 {
            return 0;
        }
        let pass = self.wallet.use_pass(ride);
        if let Some(step) = pass.or_else(|| self.wallet.use_ride(ride)) {
            let off = self.money(-cost);
            self.add_product(step, off);
            return 0;
        }
        self.explain(ride);
        cost
    }

    /// Why each product on the card does not pay.
    pub(super) fn explain(&mut self, ride: &RideFacts<'_>) {
        let zero = self.money(0);
        for step in self.wallet.reasons(ride) {
            // A penalty and a ride in one tap may have the same to say.
            let said = |known: &Step| known.kind == StepKind::Product(step);
            if !self.steps.iter().any(said) {
                self.add_product(step, zero);
            }
        }
    }

    /// The fare of one ride and who pays it. Returns the transfer right after it: a pass leaves it
    /// as it was, only older; a ride counts as if its fare had been paid.
    pub(super) fn add_ride(
        &mut self,
        offer: Offer<'_>,
        ride: &RideFacts<'_>,
        ride_s: u64,
        carried: Option<Carried>,
    ) -> Option<TransferRun> {
        if offer.amount > 0 && self.wallet.has_pass(ride) {
            let full = self.money(offer.amount);
            self.add(offer.kind, offer.id, full);
            self.cover(ride, offer.amount);
            self.settle(ride, 0);
            return carried.map(|run| run.aged(ride_s));
        }
        let right = right(ride.tariff, carried, offer.group);
        let group = offer.group;
        let cost = self.add_fare(offer, &right);
        let left = self.cover(ride, cost);
        self.settle(ride, left);
        run_after(ride.tariff, &right, group, self.money(cost), ride_s)
    }

    /// The full fare, then what a transfer right takes off it. Returns what the ride costs.
    fn add_fare(&mut self, offer: Offer<'_>, right: &Right<'_>) -> i64 {
        let full = offer.amount;
        let zero = self.money(0);
        self.add(offer.kind, offer.id, self.money(full));
        match *right {
            Right::None => full,
            Right::Granted { rule, run } => {
                let cost = match rule.price {
                    TransferPrice::Free => 0,
                    TransferPrice::Difference => (full - i64::from(run.paid)).max(0),
                    TransferPrice::Fixed(price) => price.minor().min(full),
                };
                let limit_s = u64::from(rule.limit_s);
                let kind = StepKind::Transfer { after_s: run.after_s, limit_s };
                let off = self.money(cost - full);
                self.add(kind, &rule.id, off);
                cost
            }
            Right::TooLate { rule, after_s } => {
                let limit_s = u64::from(rule.limit_s);
                self.add(StepKind::TransferTooLate { after_s, limit_s }, &rule.id, zero);
                full
            }
            Right::RidesUsed { rule, legs_max } => {
                self.add(StepKind::TransferRidesUsed { legs_max }, &rule.id, zero);
                full
            }
        }
    }

    /// Charges the maximum fare of a journey that was never tapped out. A right that was running
    /// ends with it.
    pub(super) fn add_missing_tap_out(
        &mut self,
        set: &TariffSet,
        journey: &Journey,
        class: RiderClass,
    ) -> Result<bool, FareRefusal> {
        let Some(open) = journey.open() else { return Ok(false) };
        let under = set.get(open.tariff).ok_or(FareRefusal::UnknownTariff(open.tariff))?;
        let unknown = FareRefusal::UnknownPlace(open.place);
        let maximum = under.maximum_at(open.place, class, open.at).ok_or(unknown)?;
        let kind = StepKind::MissingTapOut { from: name(under, open.place) };
        self.add_key(kind, "gate.maximum_fare", maximum);
        let gate = under.gate().ok_or(unknown)?;
        let ride = RideFacts {
            tariff: under,
            group: gate.group,
            class,
            route: None,
            places: [Some(open.place), None],
            began: open.at,
        };
        self.cover(&ride, maximum.minor());
        self.forget_interchange();
        Ok(true)
    }
}
