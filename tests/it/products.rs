//! Passes and rides the whole way: cards in a reader, the validator daemon, its log, the broker,
//! the proof of each tap and the books; and both ends' prices for products of any kind.

use std::{convert::Infallible, time::Duration};

use card::{CardKeys, KeySet, Opening, VirtualCard, proof_holds};
use clearing::{CardState, Known, KnownRecord, Outcome, Priced, Rules, TapRef, clear};
use fare::{Tariff, TariffSet};
use model::{
    CardId, CardProduct, CardProducts, CardRecord, CardTransaction, ClockQuality, Companions, Ctr,
    ProductKind, ProductLoad, ProductScope, ProductUse, ProductsFound, Refusal, TapEvent,
    TapRecord, TapRole, TapSeq, Timestamp, ValidatorId,
};
use proptest::prelude::*;
use reader::Cut;
use validation::{
    Hotlist, Note, Output, Passage, PassageClass, Presented, TapMachine, ValidatorContext,
};

use crate::validator::rig::{Depot, Rig, TARIFF, charge, issued_with, keys};

fn product(kind: ProductKind) -> CardProduct {
    let scope = ProductScope::EVERYTHING;
    CardProduct { id: 31, kind, scope, serial: 1, from_s: 0, until_s: 0 }
}

fn sold(slots: [Option<CardProduct>; 2], rides: u32) -> ProductLoad {
    ProductLoad::new(CardProducts::new(slots).unwrap(), rides).unwrap()
}

fn rules() -> Rules {
    Rules::new(TariffSet::new(Tariff::parse(TARIFF).unwrap()))
}

/// Books that know nothing of earlier taps.
struct Nothing;

impl Known for Nothing {
    type Error = Infallible;

    fn record(&self, _: CardId, _: Ctr) -> Result<Option<KnownRecord>, Infallible> {
        Ok(None)
    }

    fn cleared(&self, _: TapRef) -> Result<bool, Infallible> {
        Ok(false)
    }

    fn transactions(&self, _: CardId, _: Ctr) -> Result<Vec<TapRecord>, Infallible> {
        Ok(Vec::new())
    }
}

fn proven(tap: &TapRecord) -> CardTransaction {
    let (transaction, proof) = tap.settled().expect("a settled tap");
    let (keys, card) = (keys(), tap.card.unwrap());
    let tmac = keys.current_key(card::KeyRole::Tmac, &card).unwrap().key;
    assert!(proof_holds(&tmac, &card, transaction, proof), "{tap:?}");
    *transaction
}

#[tokio::test]
async fn a_pass_and_a_ride_travel_from_the_card_to_the_books() {
    let mut rig = Rig::new();
    let mut depot = Depot::start(&mut rig).await;
    let daemon = rig.start().await.unwrap();
    let pass = issued_with(1, 0, Some(sold([Some(product(ProductKind::Pass)), None], 0)));
    let rides = issued_with(2, 900, Some(sold([None, Some(product(ProductKind::Rides))], 1)));
    let over = CardProduct { until_s: 1, ..product(ProductKind::Pass) };
    let expired = issued_with(3, 900, Some(sold([Some(over), None], 0)));

    let passage = rig.tap(&pass).await;
    assert_eq!((passage.class(), charge(&passage)), (PassageClass::B, 0), "no value is needed");
    let passage = rig.tap(&rides).await;
    assert_eq!((passage.notes.as_slice(), charge(&passage)), (&[Note::LastRide][..], 0));
    let passage = rig.tap(&expired).await;
    assert_eq!((passage.notes.as_slice(), charge(&passage)), (&[Note::ProductEnded][..], 150));

    depot.until(3).await;
    let rules = rules();
    let mut revenue = Vec::new();
    for tap in &depot.taps {
        let transaction = proven(tap);
        assert!(transaction.products.is_some(), "what was found travels along");
        let now = Timestamp::from_secs(1_800_000_000);
        let cleared = clear(&CardState::default(), tap, now, &rules, &Nothing).unwrap();
        assert_eq!(cleared.outcome, Outcome::Booked);
        let mispriced = |known: &KnownRecord| known.mispriced;
        assert!(!cleared.records.iter().any(mispriced), "{:?}", cleared.exceptions);
        revenue.push(transaction.after.amount);
        let Some(Priced::Quote(quote)) = cleared.priced else { panic!("priced") };
        assert!(quote.steps.len() > 1, "explained: {:?}", quote.steps);
    }
    assert_eq!(revenue, [0, 0, 150]);
    daemon.stop().await;
}

#[tokio::test]
async fn a_ride_in_doubt_is_finished_after_a_kill_and_takes_no_second_ride() {
    let mut rig = Rig::new();
    let card = issued_with(1, 0, Some(sold([Some(product(ProductKind::Rides)), None], 5)));
    let daemon = rig.start().await.unwrap();
    // The commit is the last of nine exchanges.
    rig.field.cut(Cut { after: 8, heard: true });
    assert_eq!(rig.tap(&card).await.class(), PassageClass::C);
    daemon.kill().await;

    let mut depot = Depot::start(&mut rig).await;
    let daemon = rig.start().await.unwrap();
    assert_eq!(daemon.log().borrow().in_doubt, 1);
    let passage = rig.tap(&card).await;
    assert!(passage.is_granted() && passage.notes.contains(&Note::EarlierTapFinished));
    let left = card.lock().unwrap().contents().unwrap().products.unwrap().rides;
    assert_eq!((left, daemon.log().borrow().in_doubt), (Some(4), 0));
    depot.until(2).await;
    let TapEvent::Confirmed { transaction, .. } = depot.taps[1].event else {
        panic!("{:?}", depot.taps)
    };
    assert_eq!(proven(&depot.taps[1]), transaction);
    assert_eq!(transaction.after.products, Some(ProductUse { pass: None, rides: 1 }));
    assert_eq!(transaction.products.unwrap().rides, Some(5));
    daemon.stop().await;
}

/// Stations and a bus, so that every way of paying is met.
const CITY: &str = r#"
format = 1
version = 1
network = "Test"
timezone = "Europe/Berlin"
currency = "EUR"
pass_back_s = 0
groups = ["bus", "metro"]
operator = [{ id = "op", name = "Operator" }]
product = [
  { id = "bus", name = "Bus single", price = "1.50" },
  { id = "near", price = "2.00" },
  { id = "far", price = "3.00" },
]
place = [
  { id = "A", name = "Alpha", lat = 1.5, lon = 2, kind = "station" },
  { id = "B", name = "Beta", lat = 1.6, lon = 2, kind = "station" },
  { id = "s1", name = "Stop 1", lat = 0, lon = 0, kind = "stop" },
]
route = [
  { id = "7", name = "Bus 7", mode = "bus", operator = "op", group = "bus", product = "bus" },
  { id = "M", name = "Metro", mode = "subway", operator = "op", group = "metro" },
]

[[transfer]]
id = "change"
from = ["bus"]
to = ["bus", "metro"]
limit_s = 3600
legs_max = 3
price = "difference"

[gate]
group = "metro"
journey_limit_s = 7200

[matrix]
to = ["A", "B"]
[matrix.from]
A = ["near", "far"]
B = ["far", "near"]
"#;

const START_S: u64 = 1_800_000_000;

fn machine(set: &TariffSet, role: TapRole, place: &str) -> TapMachine {
    let tariff = set.newest();
    let context = ValidatorContext {
        id: ValidatorId::new(7).unwrap(),
        role,
        place: tariff.place_ix(place).unwrap(),
        route: (role == TapRole::Board).then(|| tariff.route_ix("7").unwrap()),
        tariff: tariff.version(),
        tariffs: set.clone(),
        hotlist: Hotlist::default(),
        place_age_s: None,
        hotlist_version: None,
        clock: ClockQuality::Ntp,
        rules: validation::Rules::default(),
    };
    TapMachine::new(context, [])
}

/// One presentation to an honest validator; what its log says.
fn tap(
    machine: &mut TapMachine,
    keys: &KeySet,
    card: &mut VirtualCard,
    now: Timestamp,
) -> (Passage, TapEvent) {
    let (mut shown, mut event) = (None, None);
    let key = keys.debit_key(&card.uid()).unwrap();
    let presented = Presented::Card { card: card.uid(), key, rnd_a: [9; 16], order: None };
    machine.handle_presented(now, presented);
    while let Some(output) = machine.poll() {
        match output {
            Output::Transmit(apdu) => {
                let answer = card.handle_apdu(&apdu);
                machine.handle_response(Ok(&answer), Duration::from_millis(1));
            }
            Output::LogIntent { .. } => machine.handle_intent_durable(TapSeq(1)),
            Output::LogOutcome { event: outcome, .. } => {
                event = Some(outcome);
                machine.handle_outcome_durable();
            }
            Output::Show(passage) => shown = Some(passage),
            Output::Done => card.power_off(),
            other @ (Output::NeedKey { .. }
            | Output::LogResolution { .. }
            | Output::PresentAgain
            | Output::Companions(_)
            | Output::Late(_)) => panic!("{other:?}"),
        }
    }
    (shown.unwrap(), event.unwrap())
}

fn any_products() -> impl Strategy<Value = Option<ProductLoad>> {
    let from = u32::try_from(START_S).unwrap() - 8000;
    let bound = move || prop_oneof![Just(0), from..from + 40_000];
    let scope = prop::sample::select(vec![
        ProductScope::EVERYTHING,
        ProductScope::of_group("bus"),
        ProductScope::of_group("metro"),
    ]);
    let product = (0_u8..3, scope, bound(), bound()).prop_map(|(kind, scope, a, b)| {
        let kind = [None, Some(ProductKind::Pass), Some(ProductKind::Rides)][usize::from(kind)]?;
        let (from_s, until_s) = if b == 0 { (a, 0) } else { (a.min(b), a.max(b)) };
        Some(CardProduct { id: 5, kind, scope, serial: 1, from_s, until_s })
    });
    (product.clone(), product, 0_u32..4).prop_map(|(first, second, rides)| {
        let file = CardProducts::new([first, second]).ok()?;
        let rides = file.with_rides().map_or(0, |_| rides);
        ProductLoad::new(file, rides).ok()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    /// The differential property: for products of any kind, and rides of any kind, what the
    /// validator took is what the depot says that it costs, and card and books agree.
    #[test]
    fn validator_and_depot_never_differ_over_products(
        products in any_products(),
        rides in prop::collection::vec((0_usize..5, 1_u64..5000), 1..12),
    ) {
        let set = TariffSet::new(Tariff::parse(CITY).unwrap());
        let (rules, keys) = (Rules::new(set.clone()), keys());
        let opening = Opening { balance: 700, products, ..Opening::default() };
        let uid = CardId([4, 9, 8, 7, 6, 5, 4]);
        let (mut card, _) = VirtualCard::issue(uid, [3; 16], &keys, &opening).unwrap();
        let tmac = keys.current_key(card::KeyRole::Tmac, &uid).unwrap().key;
        let sold = products.map_or(0, |load| load.rides());
        let (mut at_s, mut paid, mut taken) = (START_S, 0, 0);
        for (place, wait_s) in rides {
            at_s += wait_s;
            let (role, place) = [
                (TapRole::Board, "s1"),
                (TapRole::Entry, "A"),
                (TapRole::Entry, "B"),
                (TapRole::Exit, "A"),
                (TapRole::Exit, "B"),
            ][place];
            let mut machine = machine(&set, role, place);
            let route = machine.context().route;
            let (passage, event) = tap(&mut machine, &keys, &mut card, Timestamp::from_secs(at_s));
            let (transaction, proof) = match event {
                TapEvent::Committed { transaction, proof } => (transaction, proof),
                TapEvent::Refused { reason, .. } => {
                    let expected = [Refusal::NoEntry, Refusal::InsufficientValue];
                    prop_assert!(expected.contains(&reason), "{reason:?}");
                    continue;
                }
                other @ (TapEvent::InDoubt { .. }
                | TapEvent::Confirmed { .. }
                | TapEvent::Voided { .. }
                | TapEvent::Gate { .. }
                | TapEvent::Ticket { .. }) => panic!("{other:?}"),
            };
            prop_assert!(proof_holds(&tmac, &uid, &transaction, proof));
            let Priced::Quote(quote) = rules.price(&transaction, route) else { panic!("a fare") };
            let CardRecord { amount, products: used, .. } = transaction.after;
            prop_assert_eq!(quote.charge.minor(), i64::from(amount));
            prop_assert_eq!(transaction.before.products.map(|_| quote.used), used);
            prop_assert_eq!(&quote.steps, &passage.steps);
            let sum: i64 = passage.steps.iter().map(|step| step.amount.minor()).sum();
            prop_assert_eq!(sum, passage.charge.minor());
            paid += amount;
            taken += u32::from(used.unwrap_or_default().rides);
            let contents = card.contents().unwrap();
            prop_assert_eq!(contents.balance, 700 - i32::try_from(paid).unwrap());
            prop_assert_eq!(contents.products.unwrap().rides, Some(sold - taken));
        }
    }
}

/// A validator that has the debit key and no scruples: what it can write is what the card lets it
/// write, and the depot's own price of that tap differs.
fn plain(
    before: CardRecord,
    after: CardRecord,
    products: Option<ProductsFound>,
) -> CardTransaction {
    let companions = Companions::NONE;
    CardTransaction {
        before,
        after,
        products,
        loaded: None,
        counters: None,
        companions,
        purse: None,
    }
}

#[test]
fn a_ride_given_away_without_a_product_is_a_work_item() {
    let (rules, keys) = (rules(), keys());
    let uid = CardId([4, 9, 8, 7, 6, 5, 5]);
    let over = CardProduct { until_s: 1, ..product(ProductKind::Pass) };
    let opening =
        Opening { balance: 700, products: Some(sold([Some(over), None], 0)), ..Opening::default() };
    let mut card = VirtualCard::issue(uid, [3; 16], &keys, &opening).unwrap().0;
    let mut machine = card::DebitTransaction::new(uid, keys.debit_key(&uid).unwrap(), [1; 16]);
    let mut transaction = None;
    let proof = loop {
        match machine.poll().unwrap() {
            card::CardOutput::Transmit(apdu) => {
                let answer = card.handle_apdu(&apdu);
                machine.handle_response(Ok(&answer));
            }
            card::CardOutput::Found(found) => {
                let used = ProductUse { pass: Some(model::ProductSlot::First), rides: 0 };
                let after = CardRecord {
                    kind: model::RecordKind::Board,
                    ctr: Ctr(2),
                    amount: 0,
                    at_s: u32::try_from(START_S).unwrap(),
                    validator: ValidatorId::new(7).unwrap(),
                    place: model::PlaceIx(0),
                    tariff: model::TariffVersion(1),
                    products: Some(used),
                    ..found.record
                };
                machine.write(&after).unwrap();
                transaction = Some(plain(found.record, after, found.products));
            }
            card::CardOutput::ReadyToCommit => machine.commit(),
            card::CardOutput::Settled(card::Settlement::Committed { proof, .. }) => break proof,
            other @ (card::CardOutput::NeedKey { .. } | card::CardOutput::Settled(_)) => {
                panic!("{other:?}")
            }
        }
    };
    let transaction = transaction.unwrap();
    let tap = TapRecord {
        validator: transaction.after.validator,
        epoch: model::Epoch(1),
        seq: TapSeq(1),
        card: Some(uid),
        tapped_at: transaction.after.at(),
        clock: ClockQuality::Ntp,
        role: TapRole::Board,
        place: transaction.after.place,
        route: Some(model::RouteIx(0)),
        tariff: transaction.after.tariff,
        order: None,
        place_age_s: None,
        hotlist_version: None,
        duration_ms: 1,
        event: TapEvent::Committed { transaction, proof },
    };
    assert_eq!(proven(&tap), transaction, "the card did it");
    let (card, now) = (CardState::default(), Timestamp::from_secs(START_S));
    let cleared = clear(&card, &tap, now, &rules, &Nothing).unwrap();
    let told = cleared.exceptions.iter().find_map(|change| {
        let clearing::ExceptionChange::Opened(item) = change else { return None };
        (item.kind == clearing::ExceptionKind::FareMismatch).then(|| item.finding.clone())
    });
    let told = told.expect("a fare mismatch");
    assert!(told.contains("charged 0.00 EUR; tariff 1 says: 1.50 EUR"), "{told}");
    // And a log that claims another pass than the card holds does not fit the card's proof.
    let file = CardProducts::new([Some(product(ProductKind::Pass)), None]).unwrap();
    let products = Some(ProductsFound { file, rides: None });
    let lie = CardTransaction { products, ..transaction };
    let tmac = keys.current_key(card::KeyRole::Tmac, &uid).unwrap().key;
    assert!(!proof_holds(&tmac, &uid, &lie, proof));
}
