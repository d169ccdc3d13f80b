//! The one pricing function of validator and depot.
//!
//! Order of work: unfinished journey, fare of this ride, transfer right; of each, what the products
//! on the card pay; then discounts and surcharges, then caps; then the companions of a boarding;
//! last the purse, when it is in another currency. Limits are inclusive.
//! The record written after a tap names the version
//! in force at the validator (`FareTap::tariff`), and the quote's run is numbered by it, although
//! a journey's fare comes from the version of its tap-in.

mod bill;
mod companions;
mod right;
mod rules;
mod terms;

use alloc::{sync::Arc, vec::Vec};

use model::{
    CardCounters, Currency, Money, PlaceIx, ProductUse, RecordKind, Refusal, RiderClass, TapRole,
    TariffVersion, Timestamp, TransferRun,
};

use crate::{
    Exchanged, FareTap, GroupIx, Journey, LastTap, Step, StepKind, Tariff, TariffSet, UnknownFare,
    exchange,
    journey::seconds,
    products::Wallet,
    tariff_set::{place_in, route_in},
};

use bill::{Bill, Offer};
use right::{Carried, Right, renumbered, right};
use rules::Ages;

pub(crate) use bill::RideFacts;
pub use companions::companions;

/// What a tap costs and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// The fare of this tap, in the tariff's currency.
    pub charge: Money,
    /// To debit now, in the purse's currency: `charge` itself where that is the tariff's.
    pub debit: Money,
    /// How `charge` became `debit`; `None` where the purse's currency is the tariff's.
    pub exchanged: Option<Exchanged>,
    /// Why; the amounts sum to `charge`.
    pub steps: Vec<Step>,
    /// What of the card's products pays besides.
    pub used: ProductUse,
    /// The transfer right to write to the card, numbered by the tap's tariff.
    pub run_after: Option<TransferRun>,
    /// The counters to leave on the card; `None` when they were not read.
    pub counters_after: Option<CardCounters>,
    /// Stored value that the card must hold before this tap, in the purse's currency.
    pub min_balance: Money,
    /// The version whose tables priced this ride: that of the tap-in for an exit.
    pub priced_under: TariffVersion,
    /// The ride's first tap, whose service day caps count in.
    pub began: Timestamp,
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
    /// The tariff takes no companions with this tap, not so many, or none of a category.
    #[error("not so many companions, or none of a category, may ride here on one card")]
    Companions,
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
    /// The tariff gives no rate for the currency of the card's purse on this day.
    #[error("{0} is not taken here on this day")]
    NoRate(Currency),
    /// In the currency of the purse it is more than a card's record can hold.
    #[error("in {0} this is more than a card's record can hold")]
    TooMuch(Currency),
}

impl FareRefusal {
    /// What the rider is told.
    pub const fn refusal(self) -> Refusal {
        match self {
            Self::UnknownTariff(_)
            | Self::UnknownPlace(_)
            | Self::UnknownRoute
            | Self::Companions
            | Self::UnknownPair { .. } => Refusal::NotValidHere,
            Self::PassBack => Refusal::DoubleEntry,
            Self::NoEntry => Refusal::NoEntry,
            Self::NoRate(_) | Self::TooMuch(_) => Refusal::CurrencyNotTaken,
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
    let mut bill = Bill {
        charge,
        steps: Vec::new(),
        wallet: Wallet::new(journey.held),
        counters: journey.counters,
    };
    let shared = companions::priced(set, tariff, tap)?;
    let ride = match tap.role {
        TapRole::Board => board(&mut bill, set, journey, tap)?,
        TapRole::Entry => entry(&mut bill, set, journey, tap)?,
        TapRole::Exit => exit(&mut bill, set, journey, tap)?,
    };
    let own = bill.charge;
    bill.add_companions(shared)?;
    let Bill { charge, steps, wallet, counters } = bill;
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
    let needs = add(add(tariff.after_dip(own), less(charge, own)), ride.reserve);
    let priced_under = set.get(ride.priced_under).unwrap_or(tariff);
    let paid = exchange::pay(priced_under, ride.began, tap.purse, (charge, needs))?;
    Ok(Quote {
        debit: paid.debit,
        exchanged: paid.exchanged,
        min_balance: paid.min_balance,
        charge,
        steps,
        used: wallet.used,
        run_after: ride.run,
        counters_after: counters,
        priced_under: ride.priced_under,
        began: ride.began,
        journey_after: Journey { last: Some(last), held: wallet.left(), counters },
    })
}

/// What a ride leaves behind besides its steps.
struct Ride {
    run: Option<TransferRun>,
    /// Value that must stay on the card beyond the charge.
    reserve: Money,
    priced_under: TariffVersion,
    began: Timestamp,
}

fn board(
    bill: &mut Bill,
    set: &TariffSet,
    journey: &Journey,
    tap: &FareTap,
) -> Result<Ride, FareRefusal> {
    let tariff = tariff_of(set, tap)?;
    let route = tap.route.and_then(|ix| tariff.route(ix)).ok_or(FareRefusal::UnknownRoute)?;
    if let Some(last) = &journey.last
        && (last.kind, last.validator) == (RecordKind::Board, tap.validator)
        && passes_back(tariff, last, tap)
    {
        return Err(FareRefusal::PassBack);
    }
    let penalised = bill.add_missing_tap_out(set, journey, tap.class)?;
    bill.forget_interchange();
    let carried = if penalised { None } else { Carried::of(set, journey, tariff, tap) };
    let ride = RideFacts {
        tariff,
        group: route.group,
        class: tap.class,
        route: tap.route,
        places: [Some(tap.place), None],
        began: tap.at,
    };
    let run = match (route.product, &tariff.table) {
        (Some(ix), _) => {
            let product = tariff.product(ix);
            let names = (Arc::clone(&route.name), Arc::clone(&product.name));
            let kind = StepKind::Flat { route: names.0, product: names.1 };
            let amount = product.price_for(tap.class).minor();
            let offer = Offer { id: &product.id, kind, group: route.group, amount };
            bill.add_ride(offer, &ride, 0, carried)
        }
        (None, Some(rules)) => {
            let offers = tap.route.and_then(|ix| rules.board(ix, tap.place, &ride));
            let offers = offers.ok_or(FareRefusal::UnknownRoute)?;
            // Where a boarding has no tap-out, a ride ends when it begins.
            let after_s = carried.map_or(0, |run| run.after_s);
            let ages = Ages { departs_s: after_s, arrives_s: after_s };
            let step = |product| StepKind::Flat { route: Arc::clone(&route.name), product };
            let unknown = FareRefusal::UnknownRoute;
            bill.add_rule_ride(rules, offers, &ride, (step, 0), (carried, ages), unknown)?
        }
        (None, None) => return Err(FareRefusal::UnknownRoute),
    };
    Ok(Ride { run, reserve: bill.money(0), priced_under: tariff.version(), began: tap.at })
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
    let maximum = tariff.maximum_at(tap.place, tap.class, tap.at).ok_or(unknown)?;
    let reserve = gate.minimum_balance.unwrap_or(maximum);
    if let Some(last) = &journey.last
        && last.kind == RecordKind::Entry
        && same_place(set, last, tap)
        && passes_back(tariff, last, tap)
    {
        return Err(FareRefusal::PassBack);
    }
    let penalised = bill.add_missing_tap_out(set, journey, tap.class)?;
    let carried = if penalised { None } else { Carried::of(set, journey, tariff, tap) };
    let kind = StepKind::JourneyOpened { from: name(tariff, tap.place), maximum };
    let zero = bill.money(0);
    bill.add_key(kind, "gate", zero);
    let goes_on = bill.enter(tariff, journey, tap);
    let ride = gate_ride(tariff, gate.group, tap.class, [Some(tap.place), None], tap.at);
    let covering = bill.wallet.covering(&ride);
    let reserve = if let Some(step) = covering {
        bill.add_product(step, zero);
        zero
    } else {
        bill.explain(&ride);
        reserve
    };
    // Rules price the whole ride at its end.
    let by_rules = tariff.row(tap.place).is_none();
    if goes_on || by_rules || bill.wallet.has_pass(&ride) {
        let run = carried.map(|run| run.aged(0));
        return Ok(Ride { run, reserve, priced_under: tariff.version(), began: tap.at });
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
    Ok(Ride { run, reserve, priced_under: tariff.version(), began: tap.at })
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
    let maximum = under.maximum_at(open.place, tap.class, open.at).ok_or(unknown)?;
    let from = name(under, open.place);
    let inside_s = seconds(open.at, tap.at);
    let to = place_in(current, tap.place, under);
    let ride = gate_ride(under, gate.group, tap.class, [Some(open.place), to], open.at);
    let done = |run| Ride {
        run,
        reserve: Money::zero(under.currency()),
        priced_under: under.version(),
        began: open.at,
    };
    if let Some(limit_s) = gate.journey_limit_s
        && inside_s > u64::from(limit_s)
    {
        let kind = StepKind::OverTime { from, after_s: inside_s, limit_s: u64::from(limit_s) };
        bill.add_key(kind, "gate.journey_limit_s", maximum);
        bill.cover(&ride, maximum.minor());
        bill.forget_interchange();
        return Ok(done(None));
    }
    let carried = open.run.map(|run| Carried::new(run, GroupIx(run.group), 0));
    let band = gate.same_station.iter().find(|band| inside_s <= u64::from(band.within_s));
    if let Some(band) = band.filter(|_| to == Some(open.place)) {
        let price = band.price.unwrap_or(maximum);
        let kind = StepKind::SameStation { place: from, after_s: inside_s };
        bill.add_key(kind, "gate.same_station", price);
        let left = bill.cover(&ride, price.minor());
        if band.counts_to_caps {
            bill.cap(&ride, left);
        }
        bill.forget_interchange();
        let kept = carried.map(|run| run.aged(inside_s));
        return Ok(done(renumbered(kept, under, current)));
    }
    if let Some(to) = to
        && bill.leave_interchange(&ride, to)
    {
        let kept = carried.map(|run| run.aged(inside_s));
        return Ok(done(renumbered(kept, under, current)));
    }
    if under.table.is_some() && under.row(open.place).is_none() {
        let run = exit_by_rules(bill, (current, tap), &ride, carried, inside_s)?;
        return Ok(done(renumbered(run, under, current)));
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
                bill.cover(&ride, maximum.minor());
                bill.forget_interchange();
                Ok(done(None))
            }
        };
    };
    let kind = StepKind::OriginDestination { from, to: name(current, tap.place) };
    let amount = product.price_for(tap.class).minor();
    let offer = Offer { id: &product.id, kind, group: gate.group, amount };
    let run = bill.add_ride(offer, &ride, inside_s, carried);
    bill.remember_interchange(&ride, amount);
    Ok(done(renumbered(run, under, current)))
}

/// The fare between two taps by leg rules.
fn exit_by_rules(
    bill: &mut Bill,
    (current, tap): (&Tariff, &FareTap),
    ride: &RideFacts<'_>,
    carried: Option<Carried>,
    inside_s: u64,
) -> Result<Option<TransferRun>, FareRefusal> {
    let under = ride.tariff;
    let rules = under.table.as_ref().ok_or(FareRefusal::UnknownRoute)?;
    let [Some(from), to] = ride.places else { return Err(FareRefusal::NoEntry) };
    let pair = FareRefusal::UnknownPair { from, to: tap.place };
    let route = tap.route.and_then(|ix| route_in(current, ix, under));
    let (route, to) = (route.ok_or(FareRefusal::UnknownRoute)?, to.ok_or(pair)?);
    let offers = rules.between_taps(route, (from, to), tap.at, ride);
    let after_s = carried.map_or(0, |run| run.after_s);
    let ages = Ages { departs_s: after_s, arrives_s: after_s.saturating_add(inside_s) };
    let (from, to) = (name(under, from), name(under, to));
    let step = |product| StepKind::Leg { from, to, product };
    bill.add_rule_ride(rules, offers, ride, (step, inside_s), (carried, ages), pair)
}

fn gate_ride(
    tariff: &Tariff,
    group: GroupIx,
    class: RiderClass,
    places: [Option<PlaceIx>; 2],
    began: Timestamp,
) -> RideFacts<'_> {
    RideFacts { tariff, group, class, route: None, places, began }
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

fn less(a: Money, b: Money) -> Money {
    a.checked_sub(b).expect("one currency in a set, and amounts fit the card's record")
}

fn add(a: Money, b: Money) -> Money {
    a.checked_add(b).expect("one currency in a set, and amounts fit the card's record")
}
