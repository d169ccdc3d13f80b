//! What no rider pays: more than the fares ridden, their penalties and surcharges; and in no
//! period of a cap more than the cap, besides penalties and surcharges that do not count.
//!
//! An independent reading: prices and caps from the sketch, days from another library's calendar.

use std::collections::BTreeMap;

use fare::{ProductStep, Quote, StepKind};
use jiff::{ToSpan as _, civil::DateTime, tz::TimeZone};
use model::{CardRecord, RecordKind, TapRole, Timestamp};
use validation::ValidatorContext;

use super::city::{BUS, CLASSES, Cap, DAY_STARTS, FERRY, METRO, Period, Sketch};

/// One card's sums.
pub(crate) struct Bounds<'c> {
    sketch: &'c Sketch,
    class: u8,
    /// Whether the card counts.
    counts: bool,
    /// By cap and the period's first day: paid, and the widest level.
    periods: BTreeMap<(usize, i64), (i64, usize)>,
    /// The day on which each rolling cap's running period began.
    rolling: BTreeMap<usize, i64>,
}

/// Berlin's clock.
pub(crate) fn local(at: Timestamp) -> DateTime {
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    let at = jiff::Timestamp::from_second(i64::try_from(at.secs()).unwrap()).unwrap();
    at.to_zoned(zone).datetime()
}

/// The service day, as days since 1970, and its month.
pub(crate) fn service_day(at: Timestamp) -> (i64, i64) {
    let local = local(at);
    let date = if local.hour() < DAY_STARTS {
        local.date().checked_sub(1.day()).unwrap()
    } else {
        local.date()
    };
    let days = date.since(jiff::civil::date(1970, 1, 1)).unwrap().get_days();
    (days.into(), i64::from(date.year()) * 12 + i64::from(date.month()))
}

impl<'c> Bounds<'c> {
    pub(crate) fn new(sketch: &'c Sketch, class: u8, counts: bool) -> Self {
        Self { sketch, class, counts, periods: BTreeMap::new(), rolling: BTreeMap::new() }
    }

    /// Checks one more tap of the card.
    pub(crate) fn hold(
        &mut self,
        before: &CardRecord,
        context: &ValidatorContext,
        quote: &Quote,
    ) -> Result<(), String> {
        self.singles(before, context, quote)?;
        if !self.counts || context.role == TapRole::Entry {
            return Ok(());
        }
        let exit = context.role == TapRole::Exit;
        let began = if exit { before.at() } else { Timestamp::from_secs(quote_time(quote)) };
        let group = match (exit, context.route.map(|route| route.0)) {
            (true, _) => METRO,
            (false, Some(2)) => FERRY,
            (false, _) => BUS,
        };
        let mut places = vec![context.place.0];
        places.extend(exit.then_some(before.place.0));
        let Some(paid) = self.counting(quote) else { return Ok(()) };
        let (day, month) = service_day(began);
        for (index, cap) in self.sketch.caps.iter().enumerate() {
            if !cap.classes.is_empty() && !cap.classes.contains(&self.class) {
                continue;
            }
            let Some(level) = cap.level(group, &places) else { continue };
            let start = match cap.period {
                Period::Day => day,
                // 1 January 1970 was a Thursday.
                Period::Week(first) => (day + 3 - first).div_euclid(7),
                Period::Month => month,
                Period::Rolling(days) => {
                    let start = self.rolling.entry(index).or_insert(day);
                    if day >= *start + days {
                        *start = day;
                    }
                    *start
                }
            };
            let (sum, widest) = self.periods.entry((index, start)).or_default();
            *sum += paid;
            *widest = level.max(*widest);
            let limit = cap.levels[*widest].price;
            if *sum > limit {
                return Err(format!(
                    "{sum} in the period of cap {index} ({:?}) from {start}, which allows {limit}",
                    cap.period
                ));
            }
        }
        Ok(())
    }

    /// The charge against the fares themselves.
    fn singles(
        &self,
        before: &CardRecord,
        context: &ValidatorContext,
        quote: &Quote,
    ) -> Result<(), String> {
        let class = usize::from(self.class);
        let dearest = |from: usize| {
            let fares = self.sketch.gate[from].iter().flatten().map(|prices| prices[class]);
            self.sketch.maximum.unwrap_or_else(|| fares.max().unwrap_or(0))
        };
        let open = (before.kind == RecordKind::Entry).then_some(usize::from(before.place.0));
        let mut most = match (context.role, context.route.map(|route| route.0)) {
            (TapRole::Board, Some(2)) => self.sketch.flat[1][class],
            (TapRole::Board, _) => self.sketch.flat[0][class],
            (TapRole::Entry, _) => 0,
            (TapRole::Exit, _) => {
                let from = open.ok_or("a tap-out without a tap-in")?;
                let fare = self.sketch.gate[from][usize::from(context.place.0)];
                // Too long inside, no fare for the pair, or a stay at one station.
                let penal = quote.steps.iter().any(|step| {
                    matches!(
                        step.kind,
                        StepKind::OverTime { .. }
                            | StepKind::UnknownFare { .. }
                            | StepKind::SameStation { .. }
                    )
                });
                let fare = fare.map_or(0, |prices| prices[class]);
                if penal { dearest(from).max(300) } else { fare }
            }
        };
        if context.role != TapRole::Exit {
            most += open.map_or(0, dearest);
        }
        let whole_journey = quote.steps.iter().any(|step| step.kind == StepKind::PaidBefore);
        for step in &quote.steps {
            let amount = step.amount.minor();
            if matches!(step.kind, StepKind::Adjusted { .. }) {
                most += amount.max(0);
            }
            // The fare from where the journey began may exceed that of its last part.
            if whole_journey && matches!(step.kind, StepKind::OriginDestination { .. }) {
                most = most.max(amount);
            }
        }
        let others = self.companions(context, quote)?;
        let charge = quote.charge.minor() - others;
        if !(0..=most).contains(&charge) {
            return Err(format!("charged {charge}, and the ride costs {most} at most"));
        }
        Ok(())
    }

    /// What the companions pay, each the fare of the own category; without discounts and surcharges
    /// that is what the tariff's text says.
    fn companions(&self, context: &ValidatorContext, quote: &Quote) -> Result<i64, String> {
        let flat = usize::from(context.route.is_some_and(|route| route.0 == 2));
        let mut others = 0;
        for step in &quote.steps {
            let StepKind::Companions { class, riders, each } = &step.kind else { continue };
            let class = CLASSES.iter().position(|id| **id == **class).ok_or("no such category")?;
            let fare = self.sketch.flat[flat][class];
            if !self.sketch.adjusts && each.minor() != fare {
                return Err(format!("a companion pays {each} and not {fare}"));
            }
            if step.amount.minor() != each.minor() * i64::from(*riders) {
                return Err(format!("{riders} times {each} is not {}", step.amount));
            }
            others += step.amount.minor();
        }
        Ok(others)
    }

    /// What of a charge counts towards caps: neither a penalty that no product paid, nor a
    /// surcharge that does not count. `None` when the tap ends no ride that any cap could count.
    fn counting(&self, quote: &Quote) -> Option<i64> {
        let (mut paid, mut penal, mut rides) = (0, false, false);
        for step in &quote.steps {
            let amount = step.amount.minor();
            let uncounted = amount > 0 && self.sketch.uncounted.iter().any(|id| **id == *step.rule);
            match &step.kind {
                StepKind::MissingTapOut { .. }
                | StepKind::OverTime { .. }
                | StepKind::UnknownFare { .. } => penal = true,
                StepKind::SameStation { after_s, .. } if !self.stay_counts(*after_s) => {
                    penal = true;
                }
                StepKind::Product(ProductStep::PassPays(_) | ProductStep::RidePays { .. })
                    if penal =>
                {
                    penal = false;
                }
                StepKind::Adjusted { .. } if uncounted => {}
                // Others' rides count towards no cap of the holder.
                StepKind::Companions { .. } => {}
                StepKind::Flat { .. }
                | StepKind::OriginDestination { .. }
                | StepKind::SameStation { .. } => {
                    (penal, rides) = (false, true);
                    paid += amount;
                }
                StepKind::JourneyOpened { .. }
                | StepKind::Transfer { .. }
                | StepKind::TransferTooLate { .. }
                | StepKind::TransferRidesUsed { .. }
                | StepKind::Product(_)
                | StepKind::Adjusted { .. }
                | StepKind::Capped { .. }
                | StepKind::Interchange { .. }
                | StepKind::PaidBefore
                | StepKind::NoRefund
                | StepKind::Leg { .. }
                | StepKind::LegTransfer
                | StepKind::NoFareKnown { .. } => paid += amount,
            }
        }
        rides.then_some(paid.max(0))
    }

    fn stay_counts(&self, after_s: u64) -> bool {
        let band = self.sketch.stays.iter().find(|(within_s, _)| after_s <= *within_s);
        band.is_some_and(|(_, counts)| *counts)
    }
}

impl Cap {
    fn level(&self, group: u8, places: &[u16]) -> Option<usize> {
        self.levels.iter().position(|level| {
            (level.groups.is_empty() || level.groups.contains(&group))
                && (level.places.is_empty() || places.iter().all(|p| level.places.contains(p)))
        })
    }
}

fn quote_time(quote: &Quote) -> u64 {
    quote.journey_after.last.unwrap().at.secs()
}
