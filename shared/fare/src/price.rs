//! The one pricing function of validator and depot.
//!
//! Order of work: unfinished journey, fare of this ride, transfer right; of each, what the products
//! on the card pay. Limits are inclusive.
//! Every rider category pays the default price. The record written after a tap names the version
//! in force at the validator (`FareTap::tariff`), and the quote's run is numbered by it, although
//! a journey's fare comes from the version of its tap-in.

use alloc::{sync::Arc, vec::Vec};

use model::{
    CardCounters, CardRecord, Money, PlaceIx, ProductUse, RecordKind, Refusal, TapRole,
    TariffVersion, Timestamp, TransferRun,
};

use crate::{
    FareTap, GroupIx, Journey, LastTap, Product, ProductStep, Step, StepKind, Tariff, TariffSet,
    Transfer, TransferPrice, UnknownFare,
    journey::seconds,
    products::Wallet,
    tariff_set::{group_in, place_in},
};

/// What a tap costs and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// To debit now.
    pub charge: Money,
    /// Why; the amounts sum to `charge`.
    pub steps: Vec<Step>,
    /// What of the card's products pays besides.
    pub used: ProductUse,
    /// The transfer right to write to the card, numbered by the tap's tariff.
    pub run_after: Option<TransferRun>,
    /// The counters to leave on the card; `None` when they were not read.
    pub counters_after: Option<CardCounters>,
    /// Stored value that the card must hold before this tap.
    pub min_balance: Money,
    /// The version whose tables priced this ride: that of the tap-in for an exit.
    pub priced_under: TariffVersion,
    /// The journey as the card's new record will tell it.
    pub journey_after: Journey,
}

/// Why a tap has no price. Variants stand in order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FareRefusal {
    /// The tap, or the open journey, is under a version that is not in the set.
    #[error("tariff version {0} is not known here")]
    UnknownTariff(TariffVersion),
    /// The place of the tap or of the open journey is not in its tariff, or has no gates.
    #[error("no fare is known from place {0}")]
    UnknownPlace(PlaceIx),
    /// A boarding without a route, or on a route that is paid at gates.
    #[error("no flat fare is known for this route")]
    UnknownRoute,
    /// The table has no fare for this pair.
    #[error("no fare is known from place {from} to place {to}")]
    UnknownPair {
        /// Tap-in, in the numbering of its tariff.
        from: PlaceIx,
        /// Tap-out, in the numbering of the tap's tariff.
        to: PlaceIx,
    },
    /// The same card again within the pass-back window.
    #[error("the card was taken here a moment ago")]
    PassBack,
    /// A tap-out without a tap-in.
    #[error("no journey is open")]
    NoEntry,
}

impl FareRefusal {
    /// What the rider is told.
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::UnknownTariff(_)
            | Self::UnknownPlace(_)
            | Self::UnknownRoute
            | Self::UnknownPair { .. } => Refusal::NotValidHere,
            Self::PassBack => Refusal::DoubleEntry,
            Self::NoEntry => Refusal::NoEntry,
        }
    }
}

impl From<FareRefusal> for Refusal {
    fn from(refusal: FareRefusal) -> Self {
        refusal.refusal()
    }
}

/// Prices one tap.
///
/// # Panics
/// When the steps do not sum to the charge, which construction excludes.
pub fn price(set: &TariffSet, journey: &Journey, tap: &FareTap) -> Result<Quote, FareRefusal> {
    let tariff = set.get(tap.tariff).ok_or(FareRefusal::UnknownTariff(tap.tariff))?;
    let charge = Money::zero(tariff.currency());
    let mut bill = Bill { charge, steps: Vec::new(), wallet: Wallet::new(journey.held) };
    let ride = match tap.role {
        TapRole::Board => board(&mut bill, set, journey, tap)?,
        TapRole::Entry => entry(&mut bill, set, journey, tap)?,
        TapRole::Exit => exit(&mut bill, set, journey, tap)?,
    };
    let Bill { charge, steps, wallet } = bill;
    let sum = steps.iter().map(|step| step.amount.minor()).sum::<i64>();
    assert!(sum == charge.minor() && sum >= 0, "the steps sum to the charge, never negative");
    let last = LastTap {
        kind: match tap.role {
            TapRole::Board => RecordKind::Board,
            TapRole::Entry => RecordKind::Entry,
            TapRole::Exit => RecordKind::Exit,
        },
        place: tap.place,
        validator: tap.validator,
        at: tap.at,
        tariff: tap.tariff,
        run: ride.run,
    };
    Ok(Quote {
        min_balance: add(charge, ride.reserve),
        charge,
        steps,
        used: wallet.used,
        run_after: ride.run,
        counters_after: journey.counters,
        priced_under: ride.priced_under,
        journey_after: Journey {
            last: Some(last),
            held: wallet.left(),
            counters: journey.counters,
        },
    })
}

/// What a ride leaves behind besides its steps.
struct Ride {
    run: Option<TransferRun>,
    /// Value that must stay on the card beyond the charge.
    reserve: Money,
    priced_under: TariffVersion,
}

/// The steps so far and their sum.
struct Bill {
    charge: Money,
    steps: Vec<Step>,
    wallet: Wallet,
}

impl Bill {
    fn add(&mut self, kind: StepKind, rule: &Arc<str>, amount: Money) {
        self.charge = add(self.charge, amount);
        self.steps.push(Step { kind, rule: Arc::clone(rule), amount });
    }

    fn add_key(&mut self, kind: StepKind, key: &str, amount: Money) {
        self.add(kind, &Arc::from(key), amount);
    }

    fn add_product(&mut self, step: ProductStep, amount: Money) {
        self.add(StepKind::Product(step), &step.rule(), amount);
    }

    /// What a product pays of `cost`, or why none does.
    fn cover(&mut self, tariff: &Tariff, group: GroupIx, began: Timestamp, cost: Money) {
        if cost.minor() == 0 {
            return;
        }
        let wallet = &mut self.wallet;
        let pass = wallet.use_pass(tariff, group, began);
        match pass.or_else(|| wallet.use_ride(tariff, group, began)) {
            Some(step) => self.add_product(step, Money::new(-cost.minor(), cost.currency())),
            None => self.explain(tariff, group, began),
        }
    }

    fn explain(&mut self, tariff: &Tariff, group: GroupIx, began: Timestamp) {
        for step in self.wallet.reasons(tariff, group, began) {
            // A penalty and a ride in one tap may have the same to say.
            let said = |known: &Step| known.kind == StepKind::Product(step);
            if !self.steps.iter().any(said) {
                self.add_product(step, Money::zero(tariff.currency()));
            }
        }
    }

    /// The fare of one ride and who pays it. Returns the transfer right after it: a pass leaves it
    /// as it was, only older; a ride counts as if its fare had been paid.
    fn add_ride(
        &mut self,
        (kind, product): (StepKind, &Product),
        tariff: &Tariff,
        group: GroupIx,
        (began, ride_s): (Timestamp, u64),
        carried: Option<Carried>,
    ) -> Option<TransferRun> {
        let full = product.price;
        if full.minor() > 0 && self.wallet.has_pass(tariff, group, began) {
            self.add(kind, &product.id, full);
            self.cover(tariff, group, began, full);
            return carried.map(|run| run.aged(ride_s));
        }
        let right = right(tariff, carried, group);
        let cost = self.add_fare(kind, product, &right);
        self.cover(tariff, group, began, cost);
        run_after(tariff, &right, group, cost, ride_s)
    }

    /// The full fare, then what a transfer right takes off it. Returns what the ride costs.
    fn add_fare(&mut self, kind: StepKind, product: &Product, right: &Right<'_>) -> Money {
        let full = product.price;
        self.add(kind, &product.id, full);
        let zero = Money::zero(full.currency());
        match *right {
            Right::None => full,
            Right::Granted { rule, run } => {
                let minor = match rule.price {
                    TransferPrice::Free => 0,
                    TransferPrice::Difference => (full.minor() - i64::from(run.paid)).max(0),
                    TransferPrice::Fixed(price) => price.minor().min(full.minor()),
                };
                let limit_s = u64::from(rule.limit_s);
                let kind = StepKind::Transfer { after_s: run.after_s, limit_s };
                self.add(kind, &rule.id, Money::new(minor - full.minor(), full.currency()));
                Money::new(minor, full.currency())
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
    fn add_missing_tap_out(
        &mut self,
        set: &TariffSet,
        journey: &Journey,
    ) -> Result<bool, FareRefusal> {
        let Some(open) = journey.open() else { return Ok(false) };
        let under = set.get(open.tariff).ok_or(FareRefusal::UnknownTariff(open.tariff))?;
        let unknown = FareRefusal::UnknownPlace(open.place);
        let maximum = under.maximum_fare(open.place).ok_or(unknown)?;
        let kind = StepKind::MissingTapOut { from: name(under, open.place) };
        self.add_key(kind, "gate.maximum_fare", maximum);
        let gate = under.gate().ok_or(unknown)?;
        self.cover(under, gate.group, open.at, maximum);
        Ok(true)
    }
}

fn board(
    bill: &mut Bill,
    set: &TariffSet,
    journey: &Journey,
    tap: &FareTap,
) -> Result<Ride, FareRefusal> {
    let tariff = tariff_of(set, tap)?;
    let route = tap.route.and_then(|ix| tariff.route(ix)).ok_or(FareRefusal::UnknownRoute)?;
    let product = tariff.product(route.product.ok_or(FareRefusal::UnknownRoute)?);
    if let Some(last) = &journey.last
        && (last.kind, last.validator) == (RecordKind::Board, tap.validator)
        && passes_back(tariff, last, tap)
    {
        return Err(FareRefusal::PassBack);
    }
    let penalised = bill.add_missing_tap_out(set, journey)?;
    let carried = if penalised { None } else { Carried::of(set, journey, tariff, tap) };
    let kind =
        StepKind::Flat { route: Arc::clone(&route.name), product: Arc::clone(&product.name) };
    Ok(Ride {
        run: bill.add_ride((kind, product), tariff, route.group, (tap.at, 0), carried),
        reserve: Money::zero(tariff.currency()),
        priced_under: tariff.version(),
    })
}

fn entry(
    bill: &mut Bill,
    set: &TariffSet,
    journey: &Journey,
    tap: &FareTap,
) -> Result<Ride, FareRefusal> {
    let tariff = tariff_of(set, tap)?;
    let unknown = FareRefusal::UnknownPlace(tap.place);
    let gate = tariff.gate().ok_or(unknown)?;
    let maximum = tariff.maximum_fare(tap.place).ok_or(unknown)?;
    let reserve = tariff.minimum_balance(tap.place).ok_or(unknown)?;
    if let Some(last) = &journey.last
        && last.kind == RecordKind::Entry
        && same_place(set, last, tap)
        && passes_back(tariff, last, tap)
    {
        return Err(FareRefusal::PassBack);
    }
    let penalised = bill.add_missing_tap_out(set, journey)?;
    let carried = if penalised { None } else { Carried::of(set, journey, tariff, tap) };
    let kind = StepKind::JourneyOpened { from: name(tariff, tap.place), maximum };
    let zero = Money::zero(tariff.currency());
    bill.add_key(kind, "gate", zero);
    let covering = bill.wallet.covering(tariff, gate.group, tap.at);
    let reserve = if let Some(step) = covering {
        bill.add_product(step, zero);
        zero
    } else {
        bill.explain(tariff, gate.group, tap.at);
        reserve
    };
    if bill.wallet.has_pass(tariff, gate.group, tap.at) {
        let run = carried.map(|run| run.aged(0));
        return Ok(Ride { run, reserve, priced_under: tariff.version() });
    }
    // The clock of a transfer is read at the tap-in; the exit reads the verdict from the card.
    let run = match right(tariff, carried, gate.group) {
        Right::Granted { run, .. } => Some(run.aged(0)),
        Right::TooLate { rule, after_s } => {
            let limit_s = u64::from(rule.limit_s);
            bill.add(StepKind::TransferTooLate { after_s, limit_s }, &rule.id, zero);
            None
        }
        Right::RidesUsed { rule, legs_max } => {
            bill.add(StepKind::TransferRidesUsed { legs_max }, &rule.id, zero);
            None
        }
        Right::None => None,
    };
    Ok(Ride { run, reserve, priced_under: tariff.version() })
}

fn exit(
    bill: &mut Bill,
    set: &TariffSet,
    journey: &Journey,
    tap: &FareTap,
) -> Result<Ride, FareRefusal> {
    let current = tariff_of(set, tap)?;
    let open = journey.open().ok_or(FareRefusal::NoEntry)?;
    let under = set.get(open.tariff).ok_or(FareRefusal::UnknownTariff(open.tariff))?;
    let unknown = FareRefusal::UnknownPlace(open.place);
    let gate = under.gate().ok_or(unknown)?;
    let maximum = under.maximum_fare(open.place).ok_or(unknown)?;
    let from = name(under, open.place);
    let inside_s = seconds(open.at, tap.at);
    let done =
        |run| Ride { run, reserve: Money::zero(under.currency()), priced_under: under.version() };
    if let Some(limit_s) = gate.journey_limit_s
        && inside_s > u64::from(limit_s)
    {
        let kind = StepKind::OverTime { from, after_s: inside_s, limit_s: u64::from(limit_s) };
        bill.add_key(kind, "gate.journey_limit_s", maximum);
        bill.cover(under, gate.group, open.at, maximum);
        return Ok(done(None));
    }
    let to = place_in(current, tap.place, under);
    let carried = open.run.map(|run| Carried::new(run, GroupIx(run.group), 0));
    if let Some(same) = &gate.same_station
        && to == Some(open.place)
        && inside_s <= u64::from(same.within_s)
    {
        let kind = StepKind::SameStation { place: from, after_s: inside_s };
        bill.add_key(kind, "gate.same_station", same.price);
        bill.cover(under, gate.group, open.at, same.price);
        let kept = carried.map(|run| run.aged(inside_s));
        return Ok(done(renumbered(kept, under, current)));
    }
    let Some(product) = to.and_then(|to| under.gate_product(open.place, to)) else {
        let to = name(current, tap.place);
        return match gate.unknown {
            UnknownFare::Refuse => {
                Err(FareRefusal::UnknownPair { from: open.place, to: tap.place })
            }
            UnknownFare::MaximumFare => {
                let kind = StepKind::UnknownFare { from, to };
                bill.add_key(kind, "gate.unknown", maximum);
                bill.cover(under, gate.group, open.at, maximum);
                Ok(done(None))
            }
        };
    };
    let kind = StepKind::OriginDestination { from, to: name(current, tap.place) };
    let when = (open.at, inside_s);
    let run = bill.add_ride((kind, product), under, gate.group, when, carried);
    Ok(done(renumbered(run, under, current)))
}

/// A transfer right as the card carries it, at the moment of the next ride's first tap.
#[derive(Clone, Copy)]
struct Carried {
    legs: u8,
    paid: u32,
    after_s: u64,
    group: GroupIx,
}

impl Carried {
    const fn new(run: TransferRun, group: GroupIx, since_s: u64) -> Self {
        let after_s = (run.age_s as u64).saturating_add(since_s);
        Self { legs: run.legs, paid: run.paid, after_s, group }
    }

    fn of(set: &TariffSet, journey: &Journey, tariff: &Tariff, tap: &FareTap) -> Option<Self> {
        let last = journey.last.as_ref()?;
        let run = last.run?;
        let group = group_in(set.get(last.tariff)?, GroupIx(run.group), tariff)?;
        Some(Self::new(run, group, seconds(last.at, tap.at)))
    }

    fn aged(self, more_s: u64) -> TransferRun {
        TransferRun {
            legs: self.legs,
            paid: self.paid,
            age_s: u16::try_from(self.after_s.saturating_add(more_s)).unwrap_or(u16::MAX),
            group: self.group.0,
        }
    }
}

/// The transfer right of a ride, or why there is none.
enum Right<'t> {
    None,
    Granted { rule: &'t Transfer, run: Carried },
    TooLate { rule: &'t Transfer, after_s: u64 },
    RidesUsed { rule: &'t Transfer, legs_max: u8 },
}

fn right(tariff: &Tariff, carried: Option<Carried>, to: GroupIx) -> Right<'_> {
    let Some(run) = carried else { return Right::None };
    let Some(rule) = tariff.transfer(run.group, to) else { return Right::None };
    if run.after_s > u64::from(rule.limit_s) {
        return Right::TooLate { rule, after_s: run.after_s };
    }
    match rule.legs_max {
        Some(legs_max) if run.legs >= legs_max => Right::RidesUsed { rule, legs_max },
        Some(_) | None => Right::Granted { rule, run },
    }
}

/// The run after a ride: one leg longer, or a new one when this ride begins a right.
fn run_after(
    tariff: &Tariff,
    right: &Right<'_>,
    group: GroupIx,
    paid: Money,
    ride_s: u64,
) -> Option<TransferRun> {
    let paid = u32::try_from(paid.minor()).unwrap_or(u32::MAX);
    if let Right::Granted { run, .. } = right {
        let longer = Carried {
            legs: run.legs.saturating_add(1).min(15),
            paid: run.paid.saturating_add(paid).min(CardRecord::AMOUNT_MAX),
            group,
            ..*run
        };
        return Some(longer.aged(ride_s));
    }
    let fresh = Carried { legs: 1, paid, after_s: ride_s, group };
    tariff.grants_transfer(group).then(|| fresh.aged(0))
}

/// A run numbered by one version, numbered by another; lost when the group is gone there.
fn renumbered(run: Option<TransferRun>, from: &Tariff, to: &Tariff) -> Option<TransferRun> {
    let run = run?;
    let group = group_in(from, GroupIx(run.group), to)?;
    Some(TransferRun { group: group.0, ..run })
}

/// The tap's own version, with the tap's place in it.
fn tariff_of<'t>(set: &'t TariffSet, tap: &FareTap) -> Result<&'t Tariff, FareRefusal> {
    let tariff = set.get(tap.tariff).ok_or(FareRefusal::UnknownTariff(tap.tariff))?;
    tariff.place(tap.place).map(|_| tariff).ok_or(FareRefusal::UnknownPlace(tap.place))
}

/// Within the pass-back window. A tap that lies before the last one is not: clocks jump.
fn passes_back(tariff: &Tariff, last: &LastTap, tap: &FareTap) -> bool {
    let window_s = u64::from(tariff.parts.pass_back_s);
    window_s > 0 && tap.at >= last.at && seconds(last.at, tap.at) <= window_s
}

fn same_place(set: &TariffSet, last: &LastTap, tap: &FareTap) -> bool {
    let (Some(of), Some(tariff)) = (set.get(last.tariff), set.get(tap.tariff)) else {
        return false;
    };
    place_in(of, last.place, tariff) == Some(tap.place)
}

fn name(tariff: &Tariff, place: PlaceIx) -> Arc<str> {
    tariff.place(place).map_or_else(|| Arc::from("?"), |place| Arc::clone(&place.name))
}

fn add(a: Money, b: Money) -> Money {
    a.checked_add(b).expect("one currency in a set, and amounts fit the card's record")
}
