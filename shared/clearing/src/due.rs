//! What a card's holder is owed: all of its rides priced again in the order of the card's counter.
//!
//! A validator charges by what it finds on the card, which is never less than the right fare: a
//! card without the counters file knows no cap, a tap-out may be missing. The depot knows all
//! rides, prices them with the same function as if the counters had always been on the card, and
//! owes the difference, service day by service day. It never claims one.
//!
//! Invariants: the outcome depends on the set of entries alone, whatever their order, delay or
//! repetition (REC-1, REC-17); what is owed for a day is never below zero; what a work item pays
//! back (a charge without passage, ADR-0012; a fare mismatch) is not paid back here. `booked.rs`
//! is what becomes of it in the ledger (ADR-0014).

mod booked;
mod pattern;
mod replay;

use alloc::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    vec::Vec,
};
use core::fmt;

use fare::{Exchanged, NotPassed, Step, Tariff, TariffSet};
use model::{
    CardCounters, CardRecord, Companions, Ctr, Currency, GateWord, ProductsFound, RecordKind,
    RouteIx, ServiceDate, TapEvent, TapRecord,
};

use crate::{KnownRecord, Source, TapRef, known::transaction, purse};

pub use booked::{DayBooked, DueChange, DueOrder, DueRow};

/// When a missed tap-out is taken to have been where the rider usually taps out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RepairRule {
    /// So many service days before the journey are looked at.
    pub days: u32,
    /// So many of its journeys must have ended at the one station.
    pub journeys_min: u32,
    /// And they must be this share of all that began where this one began.
    pub percent_min: u32,
    /// Repairs of one card in one calendar month.
    pub per_month: u32,
}

impl Default for RepairRule {
    fn default() -> Self {
        Self { days: 30, journeys_min: 3, percent_min: 60, per_month: 3 }
    }
}

/// Everything that is known of one card's transactions. What is added twice, or in another order,
/// gives the same.
#[derive(Debug, Clone, Default)]
pub struct CardHistory {
    /// As [`crate::CardState::purse`]: all that is owed is in that currency (ADR-0019).
    purse: Option<Currency>,
    rides: BTreeMap<Ctr, Past>,
    /// Entries in doubt with the records that they found: believed only where the card's own record
    /// says the same.
    doubts: BTreeMap<TapRef, (Past, CardRecord)>,
    /// Charges whose riders were not let through, and what the work items of these repay.
    unserved: BTreeMap<Ctr, i64>,
    /// What entries wrote, by their places in the logs.
    wrote: BTreeMap<TapRef, CardRecord>,
    /// Riders of entries whom their gates say to have passed, or not to have.
    gates: BTreeMap<TapRef, AtGate>,
}

/// What a gate has said of one rider, in whatever order it was learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct AtGate {
    passed: bool,
    timed_out: bool,
}

/// One transaction, as well as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Past {
    record: CardRecord,
    /// From an entry of its own, so that what was found on the card is known, and the route.
    told: bool,
    /// The record that its transaction found.
    found: Option<CardRecord>,
    route: Option<RouteIx>,
    products: Option<ProductsFound>,
    counters: Option<CardCounters>,
    companions: Companions,
}

/// What is owed to the holder of one card.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Due {
    /// By service day; a tariff without a calendar has one day for all.
    pub days: BTreeMap<ServiceDate, DayDue>,
}

/// One service day of one card.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DayDue {
    /// What the card's taps of that day committed, less what work items repay of it, minor units of
    /// the card's purse, as everything here.
    pub charged: i64,
    /// What they should have.
    pub fare: i64,
    /// The taps whose price is another, in the order of the card's counter.
    pub why: Vec<Repriced>,
}

/// One tap whose price is another when everything is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repriced {
    /// The card's counter after it.
    pub ctr: Ctr,
    /// What the card committed, less what a work item repays of it, minor units.
    pub charged: i64,
    /// What it should have cost.
    pub fare: i64,
    /// The steps of the price that it should have had; they sum to it in the tariff's currency.
    pub steps: Vec<Step>,
    /// How that became `fare`, of a purse in another currency: one conversion for each tap.
    pub exchanged: Vec<Exchanged>,
    /// The tap-out that was put in before it.
    pub repaired: Option<Repaired>,
    /// The gate says that the rider did not pass, and the tariff gives back (ADR-0027).
    pub not_passed: bool,
}

/// A missed tap-out that was repaired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// The tap-in without a tap-out.
    pub entry: Ctr,
    /// Where it was; for people.
    pub from: Arc<str>,
    /// Where the journey is taken to have ended; for people.
    pub to: Arc<str>,
    /// So many of the rider's journeys from there ended so.
    pub ended: u32,
    /// Of so many.
    pub of: u32,
    /// In so many service days.
    pub days: u32,
}

impl Due {
    /// What is owed in all, minor units: never below zero.
    pub fn amount(&self) -> i64 {
        self.days.values().map(DayDue::amount).sum()
    }
}

impl DayDue {
    /// What is owed for the day, minor units. A day that was charged too little is forgiven.
    pub fn amount(&self) -> i64 {
        (self.charged - self.fare).max(0)
    }
}

impl fmt::Display for Repaired {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { entry, from, to, ended, of, days } = self;
        write!(
            f,
            "no tap-out after the tap-in {entry} at {from}: {ended} of {of} journeys of this card \
             from there in {days} days ended at {to}, so this one is priced as if it had too"
        )
    }
}

impl CardHistory {
    /// Nothing yet of a card whose purse is this, by the books.
    pub fn of_purse(purse: Option<Currency>) -> Self {
        Self { purse, ..Self::default() }
    }

    /// Adds an entry that was cleared. One that speaks of another purse is none of the card's.
    pub fn add_tap(&mut self, tap: &TapRecord) {
        if let TapEvent::Gate { said, of: Some(seq) } = tap.event {
            let rider = self.gates.entry(TapRef { seq, ..TapRef::of(tap) }).or_default();
            rider.passed |= said == GateWord::Passed;
            rider.timed_out |= said == GateWord::TimedOut;
        }
        let of_card = |transaction: &&_| purse::is_of(transaction, self.purse);
        let Some(transaction) = transaction(tap).filter(of_card) else { return };
        self.wrote.insert(TapRef::of(tap), transaction.after);
        let past = Past {
            record: transaction.after,
            told: true,
            found: Some(transaction.before),
            route: tap.route,
            products: transaction.products,
            counters: transaction.counters.map(|used| used.found),
            companions: transaction.companions,
        };
        match tap.event {
            TapEvent::InDoubt { .. } => {
                self.doubts.insert(TapRef::of(tap), (past, transaction.before));
                return;
            }
            // The route of a confirmation is that of another time.
            TapEvent::Confirmed { .. } => self.add(Past { route: None, ..past }),
            TapEvent::Committed { .. }
            | TapEvent::Refused { .. }
            | TapEvent::Voided { .. }
            | TapEvent::Gate { .. }
            | TapEvent::Ticket { .. } => self.add(past),
        }
        self.add(Past::alone(transaction.before, false));
    }

    /// Adds a record that the books know without an entry of its own.
    pub fn add_record(&mut self, known: &KnownRecord) {
        let past = Past::alone(known.record, known.source == Source::Issued);
        self.add(Past { counters: known.counters.map(|used| used.found), ..past });
    }

    /// The charge under this counter let nobody through, and a work item repays `amount` of it and
    /// of the tap that followed (ADR-0012). Nothing, when it repays nothing: then the charge is one
    /// like any other.
    pub fn add_unserved(&mut self, ctr: Ctr, amount: i64) {
        if amount > 0 {
            self.unserved.insert(ctr, amount);
        }
    }

    /// What was loaded by everything that is known, minor units.
    pub fn loaded(&self) -> i64 {
        let loads = self.rides.values().filter(|past| past.record.kind.is_load());
        loads.map(|past| i64::from(past.record.amount)).sum()
    }

    /// Prices all of it again.
    pub fn due(&self, tariffs: &TariffSet, rule: &RepairRule) -> Due {
        let settled = self.settled();
        let given_back = self.given_back(tariffs, &settled);
        replay::replay(tariffs, rule, self.purse, &settled, &self.unserved, &given_back)
    }

    /// Rides whose gates say that the rider did not pass, where their tariff gives back. A record
    /// that another took the counter of was none of the card's.
    fn given_back(&self, tariffs: &TariffSet, rides: &BTreeMap<Ctr, Past>) -> BTreeSet<Ctr> {
        let turned_back = self.gates.iter().filter(|(_, said)| said.timed_out && !said.passed);
        let records = turned_back.filter_map(|(entry, _)| self.wrote.get(entry));
        let gives_back = |record: &&CardRecord| {
            let gate = tariffs.get(record.tariff).and_then(Tariff::gate);
            let is_known = rides.get(&record.ctr).is_some_and(|past| past.record == **record);
            is_known && gate.is_some_and(|gate| gate.not_passed == NotPassed::GiveBack)
        };
        records.filter(gives_back).map(|record| record.ctr).collect()
    }

    fn add(&mut self, past: Past) {
        let kept = self.rides.entry(past.record.ctr).or_insert(past);
        if past.rank() < kept.rank() {
            *kept = past;
        }
    }

    /// The rides, with what proven in-doubt entries tell of them.
    fn settled(&self) -> BTreeMap<Ctr, Past> {
        let mut all = Self { rides: self.rides.clone(), ..Self::default() };
        let mut doubts: Vec<_> = self.doubts.iter().collect();
        // Newest first: what one found may prove the one before.
        doubts.sort_by_key(|(tap, (doubt, _))| (core::cmp::Reverse(doubt.record.ctr), *tap));
        for (_, (doubt, before)) in doubts {
            let is_proven = |known: &Past| known.record == doubt.record;
            if all.rides.get(&doubt.record.ctr).is_some_and(is_proven) {
                all.add(*doubt);
                all.add(Past::alone(*before, false));
            }
        }
        all.rides
    }
}

impl Past {
    const fn alone(record: CardRecord, told: bool) -> Self {
        let companions = Companions::NONE;
        Self { record, told, found: None, route: None, products: None, counters: None, companions }
    }

    /// The least is kept: an issue, then the earlier of two claims, as in the books; of one claim
    /// the one that tells most. Nothing here depends on arrival.
    fn rank(&self) -> impl Ord + use<> {
        let r = &self.record;
        let claim = (r.kind != RecordKind::Issue, r.at_s, r.to_bytes().unwrap_or([u8::MAX; 32]));
        let told = (!self.told, self.route.is_none(), self.counters.is_none());
        let counters = self.counters.map(|counters| counters.to_bytes());
        let found = self.found.map(|found| found.to_bytes().unwrap_or([u8::MAX; 32]));
        let companions = core::cmp::Reverse(self.companions);
        (claim, told, self.products.is_none(), self.route, counters, found, companions)
    }
}

/// Whether a card can have been charged too much under these tariffs. Where neither caps nor gates
/// are, a validator knows all that the depot does.
pub fn may_owe(tariffs: &TariffSet) -> bool {
    tariffs.iter().any(|tariff| {
        let terms = tariff.terms();
        tariff.gate().is_some() || !terms.caps.is_empty() || !terms.interchanges.is_empty()
    })
}
