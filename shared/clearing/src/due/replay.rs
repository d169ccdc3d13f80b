//! The rides of one card priced again, each from the state that the one before leaves.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};

use fare::{Exchanged, FareTap, Journey, LastTap, Quote, TariffSet, price};
use model::{
    CardCounters, CardRecord, Companions, Ctr, Currency, Money, RecordKind, ServiceDate, TapRole,
    Timestamp, ValidatorId,
};

use super::{Due, Past, RepairRule, Repaired, Repriced, pattern::Pattern};

pub(super) fn replay(
    set: &TariffSet,
    rule: &RepairRule,
    purse: Option<Currency>,
    rides: &BTreeMap<Ctr, Past>,
    unserved: &BTreeMap<Ctr, i64>,
    given_back: &BTreeSet<Ctr>,
) -> Due {
    let mut replay = Replay {
        set,
        rule,
        purse,
        before: None,
        last: None,
        counters: CardCounters::EMPTY,
        is_sure: false,
        carried: 0,
        pattern: Pattern::default(),
        due: Due::default(),
    };
    for past in rides.values() {
        let of_ride = if given_back.contains(&past.record.ctr) {
            Of::GivenBack
        } else {
            unserved.get(&past.record.ctr).map_or(Of::Ridden, |repaid| Of::Repaid(*repaid))
        };
        replay.step(past, of_ride);
    }
    replay.due
}

/// What became of a ride besides its price.
#[derive(Clone, Copy)]
enum Of {
    Ridden,
    /// A work item repays so much of it: nobody was let through.
    Repaid(i64),
    /// Its gate says that nobody passed, and the tariff gives back.
    GivenBack,
}

/// The card as it would be, had everything been known at every tap.
struct Replay<'a> {
    set: &'a TariffSet,
    rule: &'a RepairRule,
    /// Every price is converted into its currency tap by tap, as validators do it (ADR-0019).
    purse: Option<Currency>,
    /// The record before, when it is the direct predecessor of the next one.
    before: Option<CardRecord>,
    /// What pricing sees of it: another thing than `before` once a tap-out was put in.
    last: Option<LastTap>,
    counters: CardCounters,
    /// Whether `counters` stand for all rides so far.
    is_sure: bool,
    /// What is left of charges that let nobody through once their work items have repaid them: a
    /// part of what the next ride cost.
    carried: i64,
    pattern: Pattern,
    due: Due,
}

/// The price that a tap should have had.
struct Priced {
    quote: Quote,
    exchanged: Vec<Exchanged>,
    repaired: Option<(ServiceDate, Repaired)>,
    fare: i64,
}

impl Replay<'_> {
    fn step(&mut self, past: &Past, of_ride: Of) {
        let record = &past.record;
        if self.before.is_none_or(|before| before.ctr.0 + 1 != record.ctr.0) {
            self.before = None;
            self.last = None;
            self.is_sure = false;
            self.carried = 0;
        }
        if !self.is_sure
            && let Some(found) = past.counters
        {
            // Rides are missing: the card knows better what they counted.
            self.counters = found;
            self.is_sure = true;
        }
        match record.kind {
            RecordKind::Issue => {
                self.counters = CardCounters::EMPTY;
                self.is_sure = true;
                self.go_on(record);
            }
            RecordKind::Load | RecordKind::LoadInJourney | RecordKind::Retire => {
                self.load(record);
            }
            RecordKind::Board | RecordKind::Entry | RecordKind::Exit => {
                match of_ride {
                    // As if it had not been: the rider did not ride.
                    Of::Repaid(repaid) => self.carried += i64::from(record.amount) - repaid,
                    Of::GivenBack => self.give_back(record),
                    Of::Ridden => self.ride(past),
                }
            }
        }
        self.before = Some(*record);
    }

    /// As if it had not been, and what it cost is owed on the day of the tap. The state of the
    /// journeys stays as it was, so a tap-in that led nowhere misses no tap-out.
    fn give_back(&mut self, record: &CardRecord) {
        let charged = i64::from(record.amount) + core::mem::take(&mut self.carried);
        let why = (charged != 0).then(|| Repriced {
            ctr: record.ctr,
            charged,
            fare: 0,
            steps: Vec::new(),
            exchanged: Vec::new(),
            repaired: None,
            not_passed: true,
        });
        self.add(self.day(record.tariff, record.at()), charged, 0, why);
    }

    fn ride(&mut self, past: &Past) {
        let record = &past.record;
        let committed = i64::from(record.amount) + core::mem::take(&mut self.carried);
        let day = self.day(record.tariff, record.at());
        let open = self.before.and(self.last).filter(|l| l.kind == RecordKind::Entry);
        let priced = self.priced(past, open.as_ref());
        let repaid_by_item = self.mismatch(past);
        let (Some(Priced { quote, exchanged, repaired, fare }), Some(repaid)) =
            (priced, repaid_by_item)
        else {
            // Nobody can say better than the validator could.
            self.is_sure = false;
            self.add(day, committed, committed, None);
            self.go_on(record);
            return;
        };
        let charged = committed - repaid;
        if let (Some(entry), RecordKind::Exit) = (&open, record.kind) {
            let began = self.day(entry.tariff, entry.at);
            self.pattern.ended(self.set, began, entry, past);
        }
        let repaired = repaired.map(|(day, repaired)| {
            self.pattern.repaired(day);
            repaired
        });
        let why = (fare != charged || repaired.is_some()).then_some(Repriced {
            ctr: record.ctr,
            charged,
            fare,
            steps: quote.steps,
            exchanged,
            repaired,
            not_passed: false,
        });
        self.add(day, charged, fare, why);
        self.last = quote.journey_after.last;
        self.counters = quote.counters_after.unwrap_or(self.counters);
    }

    /// What was charged above the price that the validator itself should have found, from what was
    /// on the card. A fare mismatch says so and is settled as a work item. `None` when its tariff
    /// gives no price.
    fn mismatch(&self, past: &Past) -> Option<i64> {
        let Some(found) = past.found.filter(|_| past.told) else { return Some(0) };
        let tap = self.fare_tap(past)?;
        let journey = Journey::from_record(&found).holding(past.products).counting(past.counters);
        let expected = price(self.set, &journey, &tap).ok()?.debit.minor();
        Some((i64::from(past.record.amount) - expected).max(0))
    }

    /// The right price of a ride; `None` when too little is known for one.
    fn priced(&self, past: &Past, open: Option<&LastTap>) -> Option<Priced> {
        let record = &past.record;
        let before = self.before?;
        if !past.told && (record.products.is_some() || record.kind == RecordKind::Board) {
            return None;
        }
        let tap = self.fare_tap(past)?;
        let counters = Some(self.counters);
        let journey = Journey { last: self.last, held: past.products, counters };
        let plain = price(self.set, &journey, &tap).ok()?;
        let fare = plain.debit.minor();
        if let (Some(entry), TapRole::Entry | TapRole::Board) = (open, tap.role)
            && let Some(priced) = self.repaired(before.ctr, entry, &journey, &tap, &plain)
        {
            return Some(priced);
        }
        let exchanged = plain.exchanged.into_iter().collect();
        Some(Priced { quote: plain, exchanged, repaired: None, fare })
    }

    /// The same with the tap-out that is missing before it, where the rider's pattern says which.
    fn repaired(
        &self,
        entry_ctr: Ctr,
        entry: &LastTap,
        journey: &Journey,
        tap: &FareTap,
        plain: &Quote,
    ) -> Option<Priced> {
        let day = self.day(entry.tariff, entry.at);
        if !self.pattern.may_repair(self.rule, day) {
            return None;
        }
        let usual = self.pattern.usual(self.set, self.rule, day, entry)?;
        let tariff = self.set.get(entry.tariff)?;
        let limit_s = tariff.gate()?.journey_limit_s.unwrap_or(u32::MAX);
        let until_s = tap.at.secs().saturating_sub(entry.at.secs());
        let inside_s = u64::from(usual.inside_s.min(limit_s)).min(until_s);
        let out = FareTap {
            at: Timestamp::from_secs(entry.at.secs() + inside_s),
            role: TapRole::Exit,
            place: usual.place,
            route: usual.route,
            class: tap.class,
            companions: Companions::NONE,
            purse: tap.purse,
            // No reader took it, so nothing can be a pass-back to it.
            validator: ValidatorId::DEPOT,
            tariff: entry.tariff,
        };
        let left = price(self.set, journey, &out).ok()?;
        let went_on = price(self.set, &left.journey_after, tap).ok()?;
        // Two taps: each is converted, and rounded, by itself.
        let fare = left.debit.minor() + went_on.debit.minor();
        let rides = left.used.rides.saturating_add(went_on.used.rides);
        if fare > plain.debit.minor() || rides > plain.used.rides {
            return None;
        }
        let name = |place| tariff.place(place).map(|place| Arc::clone(&place.name));
        let repaired = Repaired {
            entry: entry_ctr,
            from: name(entry.place)?,
            to: name(usual.place)?,
            ended: usual.ended,
            of: usual.of,
            days: self.rule.days,
        };
        let exchanged = left.exchanged.into_iter().chain(went_on.exchanged).collect();
        let mut steps = left.steps;
        steps.extend(went_on.steps.iter().cloned());
        let charge = left.charge.checked_add(went_on.charge).ok()?;
        let debit = Money::new(fare, went_on.debit.currency());
        let quote = Quote { steps, charge, debit, ..went_on };
        Some(Priced { quote, exchanged, repaired: Some((day, repaired)), fare })
    }

    /// A load moves the state on as the card does, but for a tap-out that was put in.
    fn load(&mut self, record: &CardRecord) {
        let fresh = Journey::from_record(record).last;
        let is_as_card =
            self.before.is_some_and(|before| Journey::from_record(&before).last == self.last);
        self.last = match (self.last, is_as_card) {
            (Some(last), false) => Some(last),
            (None, _) | (Some(_), true) => fresh,
        };
    }

    fn go_on(&mut self, record: &CardRecord) {
        self.last = Journey::from_record(record).last;
    }

    fn add(&mut self, day: ServiceDate, charged: i64, fare: i64, why: Option<Repriced>) {
        let kept = self.due.days.entry(day).or_default();
        kept.charged += charged;
        kept.fare += fare;
        kept.why.extend(why);
    }

    fn day(&self, version: model::TariffVersion, at: Timestamp) -> ServiceDate {
        let tariff = self.set.get(version).unwrap_or_else(|| self.set.newest());
        tariff.terms().calendar.service_day(at)
    }

    /// The tap that wrote a record; `None` when it is no ride.
    fn fare_tap(&self, past: &Past) -> Option<FareTap> {
        let record = &past.record;
        Some(FareTap {
            at: record.at(),
            role: match record.kind {
                RecordKind::Entry => TapRole::Entry,
                RecordKind::Exit => TapRole::Exit,
                RecordKind::Board => TapRole::Board,
                RecordKind::Issue
                | RecordKind::Load
                | RecordKind::LoadInJourney
                | RecordKind::Retire => return None,
            },
            place: record.place,
            route: past.route,
            class: record.class,
            companions: past.companions,
            purse: self.purse,
            validator: record.validator,
            tariff: record.tariff,
        })
    }
}
