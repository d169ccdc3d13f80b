//! One card on its way: each tap from the card's bytes, then again from the tap's wire entry.

use std::convert::Infallible;

use card::CardFound;
use clearing::{
    CardState, Issue, Known, KnownRecord, Priced, Rules, TapRef, clear, register_issue,
};
use fare::{ProductStep, Quote, Step, StepKind};
use model::{
    CardCounters, CardId, CardLayout, CardProduct, CardProducts, CardProof, CardRecord,
    CardTransaction, ClockQuality, Companions, CounterUse, Ctr, Currency, Epoch, LoadSeq, PlaceIx,
    ProductKind, ProductScope, ProductUse, ProductsFound, RecordKind, Refusal, RiderClass, RouteIx,
    TapEvent, TapRecord, TapRole, TapSeq, TariffVersion, Timestamp, ValidUntil, ValidatorId,
};
use tapline_tests::sim::dice::Dice;
use validation::{Decision, Hotlist, ValidatorContext, decide};

use super::{
    bounds::{Bounds, local},
    city::{City, DAY_STARTS},
    purse::{pays_by_the_rate, purse},
};

const CARD: CardId = CardId([4, 0x51, 1, 2, 3, 4, 0x80]);
/// Two nights of a clock change, and a week without one.
const ANCHORS: [u64; 3] = [1_792_890_000, 1_806_195_600, 1_795_392_000];

/// What the journeys met.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    granted: u64,
    refused: u64,
    discounts: u64,
    surcharges: u64,
    capped: u64,
    transfers: u64,
    interchanges: u64,
    same_station: u64,
    missing_tap_outs: u64,
    over_time: u64,
    passes: u64,
    rides: u64,
    dips: u64,
    other_version: u64,
    bounded: u64,
    clock_change_nights: [u64; 2],
    after_midnight: u64,
    groups: u64,
    groups_refused: u64,
    other_currencies: u64,
    rounded: u64,
    not_taken: u64,
}

/// What is on the card, as its files hold it.
struct Card {
    record: [u8; 32],
    products: Option<([u8; CardProducts::LEN], Option<u32>)>,
    counters: [u8; CardCounters::LEN],
    /// What the profile names, when it is not the tariff's currency.
    purse: Option<Currency>,
}

/// The depot's memory of the card.
struct Depot {
    state: Vec<u8>,
    known: Records,
    rules: Rules,
}

/// The card's records that the depot knows.
struct Records(Vec<KnownRecord>);

/// Somebody with a card.
pub(crate) struct Rider<'c> {
    city: &'c City,
    context: ValidatorContext,
    card: Card,
    depot: Depot,
    now: u64,
    /// One version, and clocks that only go forward: what a cap promises can be checked.
    steady: bool,
    bounds: Bounds<'c>,
}

impl Known for Records {
    type Error = Infallible;

    fn record(&self, _: CardId, ctr: Ctr) -> Result<Option<KnownRecord>, Infallible> {
        Ok(self.0.iter().find(|known| known.record.ctr == ctr).copied())
    }

    fn cleared(&self, _: TapRef) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn transactions(&self, _: CardId, _: Ctr) -> Result<Vec<TapRecord>, Infallible> {
        Ok(vec![])
    }
}

impl<'c> Rider<'c> {
    pub(crate) fn new(city: &'c City, dice: &mut Dice) -> Self {
        let now = ANCHORS[dice.index(3)] - dice.below(36 * 3600);
        let (products, purse) = (products(now, dice), purse(dice));
        let class = u8::try_from(dice.below(3)).unwrap();
        let issue = CardRecord {
            kind: RecordKind::Issue,
            ctr: Ctr(1),
            balance: if dice.chance(100) { 500 } else { 100_000 },
            amount: 0,
            at_s: u32::try_from(now - 3600).unwrap(),
            validator: ValidatorId::DEPOT,
            place: PlaceIx::NONE,
            load_seq: LoadSeq(0),
            tariff: TariffVersion(1),
            valid_until: ValidUntil::Always,
            class: RiderClass(class),
            run: None,
            products: products.map(|_| ProductUse::default()),
            layout: match (purse, dice.chance(900)) {
                (Some(_), _) => CardLayout::OtherCurrency,
                (None, true) => CardLayout::Counters,
                (None, false) => CardLayout::Plain,
            },
        };
        let issue = CardRecord { amount: u32::try_from(issue.balance).unwrap(), ..issue };
        let rules = Rules::new(city.set.clone());
        let at = Timestamp::from_secs(now);
        let (empty, mut known) = (CardState::default(), Records(vec![]));
        let opening = Issue { card: CARD, record: issue, purse, issuer: None };
        let issued = register_issue(&empty, &opening, at, &rules, &known).unwrap();
        known.0.extend(issued.records);
        let state = issued.state.to_bytes().unwrap();
        let context = ValidatorContext {
            id: ValidatorId::new(1).unwrap(),
            role: TapRole::Board,
            place: PlaceIx(0),
            route: None,
            tariff: TariffVersion(1),
            tariffs: city.set.clone(),
            hotlist: Hotlist::default(),
            place_age_s: None,
            hotlist_version: None,
            clock: ClockQuality::Ntp,
            rules: validation::Rules::default(),
        };
        let card = Card {
            record: issue.to_bytes().unwrap(),
            products: products.map(|found| (found.file.to_bytes(), found.rides)),
            counters: CardCounters::EMPTY.to_bytes(),
            purse,
        };
        let steady = city.sketches.len() == 1 && dice.chance(800);
        let bounds = Bounds::new(&city.sketches[0], class, issue.layout.has_counters());
        let depot = Depot { state, known, rules };
        Self { city, context, card, depot, now, steady, bounds }
    }

    /// Up to twelve taps.
    pub(crate) fn ride(mut self, dice: &mut Dice, seen: &mut Seen) -> Result<(), String> {
        for seq in 1..=dice.between(2, 12) {
            self.travel(dice);
            let now = Timestamp::from_secs(self.now);
            let found = self.card.read(&self.context);
            let companions = self.companions(dice);
            let decision = match decide(&self.context, CARD, &found, companions, now) {
                Ok(decision) => decision,
                Err(denied) => {
                    seen.refused += 1;
                    seen.groups_refused += u64::from(!companions.is_empty());
                    seen.not_taken += u64::from(denied.reason == Refusal::CurrencyNotTaken);
                    continue;
                }
            };
            seen.count(&self.context, &found.record, &decision);
            let tap = self.tap(&found, &decision, TapSeq(seq));
            let alone = decide(&self.context, CARD, &found, Companions::NONE, now);
            let told = |why: String| {
                let told = format!("{why}\ntap {seq}: {tap:#?}\ndecided: {decision:#?}");
                Err(told)
            };
            if !rides_as_if_alone(&decision.quote, alone.as_ref().map(|alone| &alone.quote).ok()) {
                return told(format!("companions change the holder's own ride: {alone:#?}"));
            }
            let paid = pays_by_the_rate(self.city, found.purse, &decision.quote);
            if let Err(why) = paid.and_then(|()| self.depot.agrees(&tap, &decision)) {
                return told(why);
            }
            if self.steady {
                seen.bounded += 1;
                let hold = self.bounds.hold(&found.record, &self.context, &decision.quote);
                if let Err(why) = hold {
                    return told(why);
                }
            }
            self.card.write(&found, &decision);
        }
        Ok(())
    }

    /// Sometimes others ride along, most often as many as the tariff takes.
    fn companions(&self, dice: &mut Dice) -> Companions {
        if self.context.role != TapRole::Board && !dice.chance(20) || !dice.chance(300) {
            return Companions::NONE;
        }
        let class = |dice: &mut Dice| RiderClass(u8::try_from(dice.below(3)).unwrap());
        let riders: Vec<_> = (0..dice.between(1, 4)).map(|_| (class(dice), 1)).collect();
        Companions::new(riders).unwrap()
    }

    /// Some time passes, and the rider stands at some validator.
    fn travel(&mut self, dice: &mut Dice) {
        let record = CardRecord::from_bytes(&self.card.record).unwrap();
        self.now += match dice.below(5) {
            0 | 1 => dice.below(900),
            2 => dice.below(3600),
            3 => dice.below(6 * 3600),
            _ => dice.below(30 * 3600),
        };
        let versions = u64::try_from(self.city.sketches.len()).unwrap();
        self.context.tariff = TariffVersion(u16::try_from(dice.between(1, versions)).unwrap());
        self.context.clock = ClockQuality::Ntp;
        if !self.steady && dice.chance(100) {
            self.now -= dice.below(20 * 3600);
            self.context.clock = [ClockQuality::Unknown, ClockQuality::Rtc][dice.index(2)];
        }
        self.context.id = ValidatorId::new(u32::try_from(dice.between(1, 4)).unwrap()).unwrap();
        let inside = record.kind == RecordKind::Entry;
        self.context.role = match dice.below(10) {
            0..7 if inside => TapRole::Exit,
            0..5 => TapRole::Board,
            _ => TapRole::Entry,
        };
        let on_board = self.context.role == TapRole::Board;
        self.context.route = on_board.then(|| RouteIx(u16::try_from(dice.below(3)).unwrap()));
        let place = if on_board { 3 + dice.below(2) } else { dice.below(3) };
        self.context.place = PlaceIx(u16::try_from(place).unwrap());
    }

    /// The tap as it comes out of its entry's bytes.
    fn tap(&self, found: &CardFound, decision: &Decision, seq: TapSeq) -> TapRecord {
        let counters = found.counters.map(|found| CounterUse { found, written: decision.counters });
        let transaction = CardTransaction {
            before: found.record,
            after: decision.after,
            products: found.products,
            loaded: None,
            counters,
            companions: decision.companions,
            purse: found.purse,
        };
        let context = &self.context;
        let tap = TapRecord {
            validator: context.id,
            epoch: Epoch(1),
            seq,
            card: Some(CARD),
            tapped_at: Timestamp::from_secs(self.now),
            clock: context.clock,
            role: context.role,
            place: context.place,
            route: context.route,
            tariff: context.tariff,
            order: None,
            place_age_s: None,
            hotlist_version: None,
            duration_ms: 200,
            event: TapEvent::Committed { transaction, proof: CardProof([0; 8]) },
        };
        let bytes = wire::encode_entry(&tap).unwrap();
        wire::decode_entry(&bytes, (tap.validator, tap.epoch, tap.seq)).unwrap()
    }
}

impl Card {
    fn read(&self, context: &ValidatorContext) -> CardFound {
        let record = CardRecord::from_bytes(&self.record).unwrap();
        let wanted = record.layout.has_counters() && context.tariffs.needs_counters(context.tariff);
        CardFound {
            record,
            purse: self.purse,
            products: self
                .products
                .map(|(file, rides)| ProductsFound { file: CardProducts::from_bytes(file), rides }),
            counters: wanted.then(|| CardCounters::from_bytes(&self.counters).unwrap()),
        }
    }

    fn write(&mut self, found: &CardFound, decision: &Decision) {
        self.record = decision.after.to_bytes().unwrap();
        if let Some(counters) = decision.counters {
            self.counters = counters.to_bytes();
        }
        if let Some((_, Some(rides))) = &mut self.products {
            *rides = found.products.unwrap().rides.unwrap();
            *rides -= u32::from(decision.quote.used.rides);
        }
    }
}

impl Depot {
    /// Clears the tap and compares its price with the validator's.
    fn agrees(&mut self, tap: &TapRecord, decision: &Decision) -> Result<(), String> {
        let state = CardState::from_bytes(&self.state).unwrap();
        let now = tap.tapped_at;
        let cleared = clear(&state, tap, now, &self.rules, &self.known).unwrap();
        let Some(Priced::Quote(quote)) = &cleared.priced else {
            return Err(format!("the depot has no price: {:?}", cleared.priced));
        };
        if **quote != decision.quote {
            return Err(format!("the depot priced {quote:#?}"));
        }
        if let Some(item) = cleared.exceptions.first() {
            return Err(format!("the depot opened {item:?}"));
        }
        self.known.0.extend(cleared.records);
        self.state = cleared.state.to_bytes().unwrap();
        Ok(())
    }
}

/// Whether price and card are those of riding alone, but for what the companions pay.
fn rides_as_if_alone(quote: &Quote, alone: Option<&Quote>) -> bool {
    let Some(alone) = alone else { return false };
    let own = |step: &&Step| !matches!(step.kind, StepKind::Companions { .. });
    let own: Vec<Step> = quote.steps.iter().filter(own).cloned().collect();
    let others = quote.charge.minor() - alone.charge.minor();
    // In another currency the sum is rounded, not its parts.
    let needs = quote.min_balance.minor() - alone.min_balance.minor();
    own == alone.steps
        && (needs == others || quote.exchanged.is_some() && needs >= 0)
        && (quote.run_after, quote.used, quote.counters_after, quote.journey_after)
            == (alone.run_after, alone.used, alone.counters_after, alone.journey_after)
}

/// No product, or a pass, or some rides, or both.
fn products(now: u64, dice: &mut Dice) -> Option<ProductsFound> {
    if dice.chance(600) {
        return None;
    }
    let start = u32::try_from(now).unwrap();
    let group = ["bus", "metro"][dice.index(2)];
    let scope =
        if dice.chance(500) { ProductScope::EVERYTHING } else { ProductScope::of_group(group) };
    let pass = CardProduct {
        id: 12,
        kind: ProductKind::Pass,
        scope,
        serial: 1,
        from_s: start - 100,
        until_s: start + u32::try_from(dice.below(60 * 3600)).unwrap(),
    };
    let rides = CardProduct { id: 20, kind: ProductKind::Rides, from_s: 0, until_s: 0, ..pass };
    let (slots, left) = match dice.below(3) {
        0 => ([Some(pass), None], None),
        1 => ([None, Some(rides)], Some(4)),
        _ => ([Some(rides), Some(pass)], Some(2)),
    };
    Some(ProductsFound { file: CardProducts::new(slots).unwrap(), rides: left })
}

impl Seen {
    fn count(&mut self, context: &ValidatorContext, before: &CardRecord, decision: &Decision) {
        let Quote { steps, .. } = &decision.quote;
        let count = |wanted: &dyn Fn(&Step) -> bool| {
            u64::try_from(steps.iter().filter(|step| wanted(step)).count()).unwrap()
        };
        let changed = |step: &Step| matches!(step.kind, StepKind::Adjusted { .. });
        self.granted += 1;
        self.discounts += count(&|step| changed(step) && step.amount.minor() < 0);
        self.surcharges += count(&|step| changed(step) && step.amount.minor() > 0);
        self.capped += count(&|step| matches!(step.kind, StepKind::Capped { .. }));
        self.transfers += count(&|step| matches!(step.kind, StepKind::Transfer { .. }));
        self.interchanges += count(&|step| matches!(step.kind, StepKind::PaidBefore));
        self.same_station += count(&|step| matches!(step.kind, StepKind::SameStation { .. }));
        self.missing_tap_outs += count(&|step| matches!(step.kind, StepKind::MissingTapOut { .. }));
        self.over_time += count(&|step| matches!(step.kind, StepKind::OverTime { .. }));
        let product = |step: &Step, wanted: fn(&ProductStep) -> bool| {
            if let StepKind::Product(product) = &step.kind { wanted(product) } else { false }
        };
        self.passes += count(&|step| product(step, |p| matches!(p, ProductStep::PassPays(_))));
        self.rides += count(&|step| product(step, |p| matches!(p, ProductStep::RidePays { .. })));
        self.groups += count(&|step| matches!(step.kind, StepKind::Companions { .. }));
        if let Some(exchanged) = decision.quote.exchanged {
            self.other_currencies += 1;
            self.rounded += u64::from(exchanged.debit.minor() > 0);
        }
        self.dips += u64::from(decision.after.balance < 0);
        self.other_version += u64::from(before.tariff != context.tariff);
        for (nights, anchor) in self.clock_change_nights.iter_mut().zip(ANCHORS) {
            let at = decision.after.at().secs();
            *nights += u64::from(at.abs_diff(anchor) < 3 * 3600);
        }
        self.after_midnight += u64::from(local(decision.after.at()).hour() < DAY_STARTS);
    }

    /// A run that never met a rule has not tested it.
    pub(crate) fn assert_everything_happened(&self) {
        let [autumn, spring] = self.clock_change_nights;
        for (what, count) in [
            ("granted", self.granted),
            ("refused", self.refused),
            ("discounts", self.discounts),
            ("surcharges", self.surcharges),
            ("caps", self.capped),
            ("transfers", self.transfers),
            ("interchanges", self.interchanges),
            ("same station", self.same_station),
            ("missing tap-outs", self.missing_tap_outs),
            ("too long inside", self.over_time),
            ("passes", self.passes),
            ("rides", self.rides),
            ("dips", self.dips),
            ("another version", self.other_version),
            ("bounds", self.bounded),
            ("autumn's night", autumn),
            ("spring's night", spring),
            ("after midnight", self.after_midnight),
            ("groups", self.groups),
            ("groups refused", self.groups_refused),
            ("other currencies", self.other_currencies),
            ("debits in other currencies", self.rounded),
            ("currencies not taken", self.not_taken),
        ] {
            assert!(count >= 100, "{what} only {count} times: {self:?}");
        }
    }
}
