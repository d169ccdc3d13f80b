//! The fare check: every charge that a rider is shown against the feed's table, the tariff text
//! and the rider's own memory of where the journey began and what was paid before.
//!
//! The base of a charge must be the table's price to the unit. What GTFS cannot say (transfers, a
//! missing tap-out) must be a step of its own, within its bounds; discounts, surcharges and caps
//! must be those that `fare_terms` works out by itself, to the unit; the steps must sum to the
//! charge, and the caps on the screen must have come as far as the rider has counted.

use std::sync::Arc;

use fare::{CapProgress, ProductStep, Step, StepKind, Tariff};
use model::{PlaceIx, RiderClass, RouteIx, TapRole, Timestamp};
use validation::{Note, Passage, Verdict};

use super::{
    fare_table::FareTable,
    fare_terms::{Counted, FareTerms, Shown, Trip},
};

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
    /// When the card was held there first, and when the answer came. Between them a rule may begin
    /// or end; the charge must be right for one of the two.
    pub at: [Timestamp; 2],
}

/// What a rider believes.
#[derive(Debug, Clone, Default)]
struct Memory {
    class: RiderClass,
    /// Where the journey began, and when.
    open: Option<(PlaceIx, [Timestamp; 2])>,
    /// Since when a tap was not answered, so that the memory may be wrong.
    unsure: Option<Timestamp>,
    counted: Counted,
}

/// What was compared.
#[derive(Debug)]
pub struct Audit {
    table: FareTable,
    terms: FareTerms,
    tariff: Arc<Tariff>,
    riders: Vec<Memory>,
    /// Charges compared.
    pub compared: u64,
    /// Of them, those that a cap made less.
    pub capped: u64,
    /// Of them, those with a discount or surcharge.
    pub adjusted: u64,
    /// Charges that differ.
    pub mismatched: u64,
    /// Charges after a tap whose answer nobody saw.
    pub skipped: u64,
    /// The first differences, in words.
    pub differences: Vec<String>,
}

impl Audit {
    /// Nobody has ridden yet. `riders` are of these categories.
    pub fn new(
        (table, terms): (FareTable, FareTerms),
        tariff: Arc<Tariff>,
        riders: impl IntoIterator<Item = RiderClass>,
    ) -> Self {
        let memory = |class| Memory { class, ..Memory::default() };
        Self {
            table,
            terms,
            tariff,
            riders: riders.into_iter().map(memory).collect(),
            compared: 0,
            capped: 0,
            adjusted: 0,
            mismatched: 0,
            skipped: 0,
            differences: Vec::new(),
        }
    }

    /// Compares what a rider was shown.
    pub fn judge(&mut self, mut ride: Ride, passage: Option<&Passage>) {
        let before = self.riders[ride.rider].clone();
        let passage = passage.filter(|p| !matches!(p.verdict, Verdict::TryAgain(_)));
        let Some(passage) = passage else {
            self.riders[ride.rider].unsure.get_or_insert(ride.at[0]);
            return;
        };
        if !passage.is_granted() {
            return;
        }
        let finished = passage.notes.contains(&Note::EarlierTapFinished);
        if let Some(since) = before.unsure.filter(|_| finished) {
            ride.at[0] = since;
        }
        let open = (ride.role == TapRole::Entry).then_some((ride.place, ride.at));
        let memory = Memory { open, unsure: None, ..before.clone() };
        self.riders[ride.rider] = memory;
        if (before.unsure.is_some() && !finished) || (finished && passage.steps.is_empty()) {
            self.skipped += 1;
            self.believe(ride, &before, passage);
            return;
        }
        if ride.role == TapRole::Entry && passage.charge.minor() == 0 && before.open.is_none() {
            return;
        }
        self.compared += 1;
        let is = |wanted: fn(&StepKind) -> bool| passage.steps.iter().any(|s| wanted(&s.kind));
        self.capped += u64::from(is(|kind| matches!(kind, StepKind::Capped { .. })));
        self.adjusted += u64::from(is(|kind| matches!(kind, StepKind::Adjusted { .. })));
        match self.compare(ride, &before, passage) {
            Ok(counted) => self.riders[ride.rider].counted = counted,
            Err(difference) => {
                self.believe(ride, &before, passage);
                self.differs(ride, passage, &difference);
            }
        }
    }

    fn differs(&mut self, ride: Ride, passage: &Passage, difference: &str) {
        self.mismatched += 1;
        if self.differences.len() < TOLD_MAX {
            let step = |step: &Step| format!("{} {}", step.rule, step.amount.decimal());
            let steps: Vec<String> = passage.steps.iter().map(step).collect();
            self.differences.push(format!(
                "{} at {}: {difference} (charged {}: {})",
                ride.role,
                self.name(ride.place),
                passage.charge,
                steps.join(", ")
            ));
        }
    }

    /// Takes what the screen shows for what the card has counted.
    fn believe(&mut self, ride: Ride, before: &Memory, passage: &Passage) {
        let [trip, _] = self.trips(ride, before);
        let believed = self.terms.believed(&trip, &shown(&passage.caps));
        self.riders[ride.rider].counted = believed;
    }

    /// What the rider has counted after a charge that is right.
    fn compare(&self, ride: Ride, before: &Memory, passage: &Passage) -> Result<Counted, String> {
        let sum: i64 = passage.steps.iter().map(|step| step.amount.minor()).sum();
        if sum != passage.charge.minor() {
            return Err(format!("the steps sum to {sum}"));
        }
        let open = before.open.map(|(place, _)| place);
        let (mut bases, mut penalties, mut left) = (0, 0, 0);
        let mut terms = Vec::new();
        for step in &passage.steps {
            let part = self.expected(step, ride, open)?;
            bases += usize::from(part == Part::Base);
            penalties += usize::from(part == Part::Penalty);
            match part {
                Part::Term => terms.push((step.rule.to_string(), step.amount.minor())),
                // What a product pays of a penalty stands before the fare.
                Part::Base | Part::Other if bases > 0 && terms.is_empty() => {
                    left += step.amount.minor();
                }
                Part::Base | Part::Other if step.amount.minor() != 0 && bases > 0 => {
                    return Err(format!("{} stands after a discount", step.key()));
                }
                Part::Base | Part::Penalty | Part::Other => {}
            }
        }
        let bases_due = usize::from(ride.role != TapRole::Entry);
        let penalties_due = usize::from(ride.role != TapRole::Exit && open.is_some());
        if (bases, penalties) != (bases_due, penalties_due) {
            return Err(format!("{bases} fares and {penalties} missing tap-outs in one charge"));
        }
        self.compare_terms(ride, before, (left, terms), passage)
    }

    /// Discounts, surcharges, caps and what the screen says of them, at one of the two times.
    fn compare_terms(
        &self,
        ride: Ride,
        before: &Memory,
        (left, found): (i64, Vec<(String, i64)>),
        passage: &Passage,
    ) -> Result<Counted, String> {
        let screen = shown(&passage.caps);
        let mut first = None;
        for trip in self.trips(ride, before) {
            let counts =
                |wanted: fn(&StepKind) -> bool| passage.steps.iter().any(|step| wanted(&step.kind));
            let at_fare = counts(|kind| {
                matches!(kind, StepKind::Flat { .. } | StepKind::OriginDestination { .. })
            });
            let same_station = counts(|kind| matches!(kind, StepKind::SameStation { .. }));
            let (steps, counted) = if at_fare || same_station && self.same_station_counts() {
                let due = self.terms.settle(&trip, left, &before.counted, same_station);
                (due.steps, due.counted)
            } else {
                (Vec::new(), before.counted.clone())
            };
            let expected = self.terms.shown(&trip, &counted);
            if steps == found && screen == expected {
                return Ok(counted);
            }
            first.get_or_insert((steps, expected));
        }
        let (steps, expected) = first.unwrap_or_default();
        Err(format!("the tariff text says {steps:?} and caps {expected:?}, not {screen:?}"))
    }

    fn same_station_counts(&self) -> bool {
        let band = self.tariff.gate().and_then(|gate| gate.same_station.first());
        band.is_some_and(|band| band.counts_to_caps)
    }

    /// The ride as it was at the earliest and at the latest.
    fn trips(&self, ride: Ride, before: &Memory) -> [Trip<'_>; 2] {
        let id = |place: PlaceIx| self.tariff.place(place).map(|place| &*place.id);
        let class = self.tariff.classes().get(usize::from(before.class.0));
        let class = class.map_or("", |class| &*class.id);
        let route = ride.route.and_then(|route| self.tariff.route(route));
        let gates = self.tariff.gate().map(|gate| gate.group);
        let group = route.map(|route| route.group).or(gates);
        let groups = &self.tariff.parts().groups;
        let group = group.and_then(|group| groups.get(usize::from(group.0)));
        let group = group.map_or("", String::as_str);
        let opened = before.open.filter(|_| ride.role == TapRole::Exit);
        let (from, at) = opened.unwrap_or((ride.place, ride.at));
        let to = opened.map(|_| ride.place);
        let route = route.map(|route| &*route.id);
        at.map(|began| Trip { class, group, route, places: [id(from), to.and_then(id)], began })
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
            StepKind::Adjusted { .. } => Ok(Part::Term),
            StepKind::Capped { .. } if amount < 0 => Ok(Part::Term),
            StepKind::Capped { .. }
            | StepKind::SameStation { .. }
            | StepKind::UnknownFare { .. }
            | StepKind::Companions { .. }
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
    /// A discount, surcharge or cap.
    Term,
    Other,
}

fn shown(caps: &[CapProgress]) -> Vec<Shown> {
    let line = |cap: &CapProgress| (cap.name.to_string(), cap.counted.minor(), cap.limit.minor());
    caps.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use fare::CapPeriod;
    use model::Money;

    use super::*;
    use crate::demo::{Options, feed};

    fn audit(class: u8) -> Audit {
        let city = feed::load(&Options::parse_from(["demo"])).unwrap();
        let exponent = city.tariff.currency().exponent();
        let table = FareTable::read(&city.texts, exponent, &[]);
        Audit::new((table, city.terms), Arc::new(city.tariff), [RiderClass(class)])
    }

    fn shown(audit: &Audit, steps: &[(StepKind, i64)], charge: i64, caps: [i64; 2]) -> Passage {
        let money = |minor| Money::new(minor, audit.tariff.currency());
        let rule = |kind: &StepKind| {
            let term = if let StepKind::Adjusted { name } | StepKind::Capped { name, .. } = kind {
                Some(Arc::clone(name))
            } else {
                None
            };
            term.unwrap_or_else(|| "rule".into())
        };
        let step = |(kind, amount): &(StepKind, i64)| Step {
            kind: kind.clone(),
            rule: rule(kind),
            amount: money(*amount),
        };
        let limits = if audit.riders[0].class.0 == 0 { [3_500, 15_000] } else { [2_000, 9_000] };
        let names = [("Day cap", CapPeriod::Day), ("Week cap", CapPeriod::Week(0))];
        let cap = |(((name, period), counted), limit): (((&str, _), _), _)| CapProgress {
            name: name.into(),
            period,
            counted: money(counted),
            limit: money(limit),
        };
        let caps = names.into_iter().zip(caps).zip(limits).map(cap);
        Passage {
            verdict: Verdict::Granted,
            charge: money(charge),
            balance: None,
            steps: steps.iter().map(step).collect(),
            exchanged: None,
            caps: caps.filter(|cap| cap.counted.minor() > 0).collect(),
            notes: Vec::new(),
            loaded: None,
            missing: None,
            class: None,
        }
    }

    /// One ride from Saebyeok Port to Moraenae, for 1,400, begun at this hour of a Monday; how many
    /// of its charges differ.
    fn differing(audit: &mut Audit, hour: u64, exit: &Passage) -> u64 {
        let place = |audit: &Audit, id| audit.tariff.place_ix(id).unwrap();
        // Monday, 23 November 2026, in Seoul.
        let time = Timestamp::from_secs(20_780 * 86_400 + hour * 3_600 - 9 * 3_600);
        let at = |role, place| Ride { rider: 0, role, place, route: None, at: [time; 2] };
        let opened = StepKind::JourneyOpened { from: "a".into(), maximum: exit.charge };
        let entry = shown(audit, &[(opened, 0)], 0, [0, 0]);
        let (from, to) = (place(audit, "S101"), place(audit, "S102"));
        audit.judge(at(TapRole::Entry, from), Some(&entry));
        let before = audit.mismatched;
        audit.judge(at(TapRole::Exit, to), Some(exit));
        audit.mismatched - before
    }

    fn base() -> StepKind {
        StepKind::OriginDestination { from: "a".into(), to: "b".into() }
    }

    fn adjusted(id: &str) -> StepKind {
        StepKind::Adjusted { name: id.into() }
    }

    #[test]
    fn a_charge_that_is_off_by_one_or_unexplained_is_found() {
        let transfer = StepKind::Transfer { after_s: 1, limit_s: 2 };
        for (steps, charge, counted, differs) in [
            (vec![(base(), 1400)], 1400, 1400, 0),
            (vec![(base(), 1401)], 1401, 1401, 1),
            (vec![(base(), 1400)], 1399, 1399, 1),
            (vec![(base(), 1400)], 1400, 1399, 1),
            (vec![], 0, 0, 1),
            (vec![(base(), 1400), (transfer, 1)], 1401, 1401, 1),
        ] {
            let mut audit = audit(0);
            let exit = shown(&audit, &steps, charge, [counted; 2]);
            assert_eq!(differing(&mut audit, 8, &exit), differs, "{steps:?} {charge}");
            assert_eq!(audit.compared, 1);
        }
    }

    #[test]
    fn a_discount_that_is_missing_unasked_for_or_another_is_found() {
        // A student before seven: 1,400 less a fifth is 1,120, less a fifth 896, to ten won 900.
        let both = || vec![(base(), 1400), (adjusted("student"), -280), (adjusted("early"), -220)];
        let student = || vec![(base(), 1400), (adjusted("student"), -280)];
        for (class, hour, steps, charge, differs) in [
            (2, 6, both(), 900, 0),
            (2, 8, both(), 900, 1),
            (2, 8, student(), 1_120, 0),
            (2, 6, student(), 1_120, 1),
            (0, 8, student(), 1_120, 1),
            (2, 8, vec![(base(), 1400)], 1_400, 1),
            (2, 8, vec![(base(), 1400), (adjusted("student"), -281)], 1_119, 1),
            (2, 8, vec![(base(), 1400), (adjusted("child"), -280)], 1_120, 1),
        ] {
            let mut audit = audit(class);
            let exit = shown(&audit, &steps, charge, [charge; 2]);
            assert_eq!(differing(&mut audit, hour, &exit), differs, "{class} {hour} {steps:?}");
        }
    }

    #[test]
    fn a_cap_is_reached_when_the_rider_has_counted_to_it_and_not_before() {
        let capped = |limit| {
            let limit = Money::new(limit, audit(0).tariff.currency());
            StepKind::Capped { name: "day".into(), limit }
        };
        let mut audit = audit(0);
        let whole = |audit: &Audit, sum| shown(audit, &[(base(), 1400)], 1400, [sum; 2]);
        let off = |audit: &Audit, off: i64| {
            let steps = [(base(), 1400), (capped(3_500), -off)];
            shown(audit, &steps, 1400 - off, [3_500; 2])
        };
        let too_soon = off(&audit, 700);
        assert_eq!(differing(&mut audit, 8, &too_soon), 1);
        let mut audit = Audit { riders: vec![Memory::default()], ..audit };
        for sum in [1_400, 2_800] {
            let exit = whole(&audit, sum);
            assert_eq!(differing(&mut audit, 8, &exit), 0, "{:?}", audit.differences);
        }
        let exit = off(&audit, 700);
        assert_eq!(differing(&mut audit, 9, &exit), 0, "{:?}", audit.differences);
        assert_eq!(audit.capped, 2);
        let exit = whole(&audit, 3_500);
        assert_eq!(differing(&mut audit, 9, &exit), 1, "the day is free");
    }
}
