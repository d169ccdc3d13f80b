//! The fare check: every charge that a rider is shown against the feed's table and the rider's own
//! memory of where the journey began.
//!
//! The base of a charge must be the table's price to the unit. What GTFS cannot say (transfers, a
//! missing tap-out) must be a step of its own, within its bounds; the steps must sum to the charge.

use std::sync::Arc;

use fare::{ProductStep, Step, StepKind, Tariff};
use model::{PlaceIx, RouteIx, TapRole};
use validation::{Note, Passage, Verdict};

use super::fare_table::FareTable;

/// Differences that are told in words.
const TOLD_MAX: usize = 5;

/// One answered tap, as the rider knows it.
#[derive(Debug, Clone, Copy)]
pub struct Ride {
    /// Which rider.
    pub rider: usize,
    /// At what kind of validator.
    pub role: TapRole,
    /// Where.
    pub place: PlaceIx,
    /// On which route.
    pub route: Option<RouteIx>,
}

/// Where a rider believes to be.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    open: Option<PlaceIx>,
    /// The last tap was not answered, so the memory may be wrong.
    unsure: bool,
}

/// What was compared.
#[derive(Debug)]
pub struct Audit {
    table: FareTable,
    tariff: Arc<Tariff>,
    riders: Vec<Memory>,
    /// Charges compared.
    pub compared: u64,
    /// Charges that differ.
    pub mismatched: u64,
    /// Charges after a tap whose answer nobody saw.
    pub skipped: u64,
    /// The first differences, in words.
    pub differences: Vec<String>,
}

impl Audit {
    /// Nobody has ridden yet.
    pub fn new(table: FareTable, tariff: Arc<Tariff>, riders: usize) -> Self {
        Self {
            table,
            tariff,
            riders: vec![Memory::default(); riders],
            compared: 0,
            mismatched: 0,
            skipped: 0,
            differences: Vec::new(),
        }
    }

    /// Compares what a rider was shown.
    pub fn judge(&mut self, ride: Ride, passage: Option<&Passage>) {
        let memory = self.riders[ride.rider];
        let passage = passage.filter(|p| !matches!(p.verdict, Verdict::TryAgain(_)));
        let Some(passage) = passage else {
            self.riders[ride.rider].unsure = true;
            return;
        };
        if !passage.is_granted() {
            return;
        }
        let finished = passage.notes.contains(&Note::EarlierTapFinished);
        let open = (ride.role == TapRole::Entry).then_some(ride.place);
        self.riders[ride.rider] = Memory { open, unsure: false };
        if (memory.unsure && !finished) || (finished && passage.steps.is_empty()) {
            self.skipped += 1;
            return;
        }
        if ride.role == TapRole::Entry && passage.charge.minor() == 0 && memory.open.is_none() {
            return;
        }
        self.compared += 1;
        if let Err(difference) = self.compare(ride, memory.open, passage) {
            self.mismatched += 1;
            if self.differences.len() < TOLD_MAX {
                let steps: Vec<&str> = passage.steps.iter().map(Step::key).collect();
                self.differences.push(format!(
                    "{} at {}: {difference} (charged {}: {})",
                    ride.role,
                    self.name(ride.place),
                    passage.charge,
                    steps.join(", ")
                ));
            }
        }
    }

    fn compare(&self, ride: Ride, open: Option<PlaceIx>, passage: &Passage) -> Result<(), String> {
        let sum: i64 = passage.steps.iter().map(|step| step.amount.minor()).sum();
        if sum != passage.charge.minor() {
            return Err(format!("the steps sum to {sum}"));
        }
        let (mut bases, mut penalties) = (0, 0);
        for step in &passage.steps {
            match self.expected(step, ride, open)? {
                Part::Base => bases += 1,
                Part::Penalty => penalties += 1,
                Part::Other => {}
            }
        }
        let bases_due = usize::from(ride.role != TapRole::Entry);
        let penalties_due = usize::from(ride.role != TapRole::Exit && open.is_some());
        if (bases, penalties) != (bases_due, penalties_due) {
            return Err(format!("{bases} fares and {penalties} missing tap-outs in one charge"));
        }
        Ok(())
    }

    /// Checks one step against the table.
    fn expected(&self, step: &Step, ride: Ride, open: Option<PlaceIx>) -> Result<Part, String> {
        let id = |place: PlaceIx| self.tariff.place(place).map_or("", |place| &*place.id);
        let maximum = |from: PlaceIx| {
            let said = self.tariff.gate().and_then(|gate| gate.maximum_fare);
            said.map(model::Money::minor).or_else(|| self.table.maximum(id(from)))
        };
        let table = |from| self.table.pair(id(from), id(ride.place));
        let amount = step.amount.minor();
        let exactly = |part, expected: Option<i64>| match expected {
            Some(expected) if expected == amount => Ok(part),
            expected => Err(format!("{} is {amount}, the table says {expected:?}", step.key())),
        };
        match step.kind {
            StepKind::MissingTapOut { .. } => exactly(Part::Penalty, open.and_then(maximum)),
            // Who pays is the products' matter; what is to be paid, the other steps'.
            StepKind::Product(ProductStep::PassPays(_) | ProductStep::RidePays { .. })
                if amount < 0 =>
            {
                Ok(Part::Other)
            }
            StepKind::JourneyOpened { .. }
            | StepKind::TransferTooLate { .. }
            | StepKind::TransferRidesUsed { .. }
            | StepKind::Product(_) => exactly(Part::Other, Some(0)),
            StepKind::OriginDestination { .. } => exactly(Part::Base, open.and_then(table)),
            StepKind::OverTime { .. } => exactly(Part::Base, open.and_then(maximum)),
            StepKind::Flat { .. } => {
                let route = ride.route.and_then(|route| self.tariff.route(route));
                exactly(Part::Base, route.and_then(|route| self.table.route(&route.id)))
            }
            StepKind::Transfer { .. } if self.tariff.parts().transfers.is_empty() => {
                Err("a transfer that no rule grants".into())
            }
            StepKind::Transfer { .. } if amount > 0 => Err("a transfer makes it dearer".into()),
            StepKind::Transfer { .. } => Ok(Part::Other),
            StepKind::SameStation { .. } if open == Some(ride.place) => {
                let rule = self.tariff.gate().and_then(|gate| gate.same_station.first());
                exactly(Part::Base, rule.and_then(|rule| rule.price).map(model::Money::minor))
            }
            // The city has no such rules, and a validator prices one tap, not a whole journey.
            StepKind::SameStation { .. }
            | StepKind::UnknownFare { .. }
            | StepKind::Adjusted { .. }
            | StepKind::Capped { .. }
            | StepKind::Interchange { .. }
            | StepKind::PaidBefore
            | StepKind::NoRefund
            | StepKind::Leg { .. }
            | StepKind::LegTransfer
            | StepKind::NoFareKnown { .. } => Err(format!("{} does not fit this ride", step.key())),
        }
    }

    fn name(&self, place: PlaceIx) -> String {
        self.tariff.place(place).map_or_else(String::new, |place| place.name.to_string())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Base,
    Penalty,
    Other,
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use model::Money;

    use super::*;
    use crate::demo::{Options, feed};

    fn audit() -> Audit {
        let city = feed::load(&Options::parse_from(["demo"])).unwrap();
        let exponent = city.tariff.currency().exponent();
        let table = FareTable::read(&city.texts, exponent, &[]);
        Audit::new(table, Arc::new(city.tariff), 1)
    }

    fn shown(audit: &Audit, steps: &[(StepKind, i64)], charge: i64) -> Passage {
        let money = |minor| Money::new(minor, audit.tariff.currency());
        let step = |(kind, amount): &(StepKind, i64)| Step {
            kind: kind.clone(),
            rule: "rule".into(),
            amount: money(*amount),
        };
        Passage {
            verdict: Verdict::Granted,
            charge: money(charge),
            balance: None,
            steps: steps.iter().map(step).collect(),
            notes: Vec::new(),
            loaded: None,
        }
    }

    #[test]
    fn a_charge_that_is_off_by_one_or_unexplained_is_found() {
        let base = || StepKind::OriginDestination { from: "a".into(), to: "b".into() };
        let opened = |audit: &Audit| StepKind::JourneyOpened {
            from: "a".into(),
            maximum: Money::new(1900, audit.tariff.currency()),
        };
        for (steps, charge, differs) in [
            (vec![(base(), 1400)], 1400, 0),
            (vec![(base(), 1401)], 1401, 1),
            (vec![(base(), 1400)], 1399, 1),
            (vec![], 0, 1),
            (vec![(base(), 1400), (StepKind::Transfer { after_s: 1, limit_s: 2 }, 1)], 1401, 1),
        ] {
            let mut audit = audit();
            let place = |id| audit.tariff.place_ix(id).unwrap();
            let (from, to) = (place("S101"), place("S102"));
            let entry = shown(&audit, &[(opened(&audit), 0)], 0);
            let at = |role, place| Ride { rider: 0, role, place, route: None };
            audit.judge(at(TapRole::Entry, from), Some(&entry));
            let exit = shown(&audit, &steps, charge);
            audit.judge(at(TapRole::Exit, to), Some(&exit));
            assert_eq!((audit.compared, audit.mismatched), (1, differs), "{steps:?} {charge}");
        }
    }
}
