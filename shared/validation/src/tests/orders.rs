//! Load orders at the validator: put on once, before the tap, whatever is cut off (REC-5, USR-2).

use alloc::{boxed::Box, vec::Vec};

use card::{CardKeys, KeyRole, SealedOrder, VirtualCard, proof_holds};
use model::{
    CardId, CardProduct, CardProducts, ClockQuality, LoadOrder, LoadSeq, Money, OrderId,
    ProductKind, ProductLoad, ProductSale, ProductScope, RecordKind, Refusal, TapEvent, TapRole,
    Timestamp, ValidatorId,
};

use super::{Bench, Cut, LogPace, NEVER, START, card, card_with, context, keys};
use crate::{Hotlist, Loaded, Passage, Rules, Verdict};

const AMOUNT: u32 = 1_000;

fn order(id: u64, load_seq: u16) -> LoadOrder {
    let not_after_s = u32::try_from(START.secs()).unwrap() + 86_400;
    LoadOrder {
        id: OrderId(id),
        load_seq: LoadSeq(load_seq),
        amount: AMOUNT,
        product: None,
        purse: None,
        not_after_s,
    }
}

fn sealed(order: LoadOrder, card: CardId) -> SealedOrder {
    let debit = keys().debit_key(&card).unwrap();
    let load = keys().current_key(KeyRole::Load, &card).unwrap();
    SealedOrder::seal(order, card, &debit, &load).unwrap()
}

/// A validator whose list holds the first load of the card.
fn bench_with_order(role: TapRole, place: &str, card: &VirtualCard) -> Bench {
    let mut bench = Bench::new(context(role, place));
    bench.orders.insert(card.uid(), sealed(order(1, 1), card.uid()));
    bench
}

/// Another validator with the same list.
fn elsewhere(card: &VirtualCard) -> Bench {
    let mut bench = bench_with_order(TapRole::Board, "s1", card);
    let mut context = bench.machine.context().clone();
    context.id = ValidatorId::new(43).unwrap();
    bench.machine.replace_context(context);
    bench
}

/// Beyond the pass-back window of the place.
fn later(bench: &mut Bench) {
    bench.now = Timestamp::from_secs(bench.now.secs() + 120);
}

fn balance(card: &VirtualCard) -> i32 {
    card.contents().unwrap().balance
}

fn loads(card: &VirtualCard) -> usize {
    let records = card.contents().unwrap().records;
    records.iter().filter(|record| record.kind.is_load()).count()
}

fn euros(minor: i64) -> Money {
    Money::new(minor, super::tariffs().newest().currency())
}

#[test]
fn usr_2_one_tap_loads_the_order_and_pays_the_ride_from_it() {
    let mut card = card(1, 0);
    let mut bench = bench_with_order(TapRole::Board, "s1", &card);
    let passage = bench.tap(&mut card, NEVER).unwrap();
    assert_eq!(passage.verdict, Verdict::Granted);
    assert_eq!(passage.loaded, Some(Loaded::Value(euros(1_000))));
    assert_eq!(passage.balance, Some(euros(850)));
    assert_eq!(balance(&card), 850);
    assert_eq!(bench.exchanges, 14, "a load and a plain debit");
    assert_eq!(bench.outcomes(), ["committed", "committed"]);
    let orders: Vec<_> = bench.log.iter().map(|tap| tap.draft.order).collect();
    assert_eq!(orders, [Some(OrderId(1)), None]);

    // The card proves the load as it proves a tap.
    let Some(TapEvent::Committed { transaction, proof }) = bench.log[0].event else { panic!() };
    assert_eq!(transaction.after.kind, RecordKind::Load);
    assert!(proof_holds(&keys().tmac_key(&card.uid()).unwrap(), &card.uid(), &transaction, proof));

    // The list still holds it: it is not even tried again.
    later(&mut bench);
    let passage = bench.tap(&mut card, NEVER).unwrap();
    assert_eq!((passage.verdict, passage.loaded), (Verdict::Granted, None));
    assert_eq!(bench.exchanges, 7);
    assert_eq!(loads(&card), 1);
}

#[test]
fn rec_5_another_validator_with_the_same_list_finds_the_order_carried_out() {
    let mut card = card(1, 0);
    bench_with_order(TapRole::Board, "s1", &card).tap(&mut card, NEVER).unwrap();
    let mut other = elsewhere(&card);
    let passage = other.tap(&mut card, NEVER).unwrap();
    assert_eq!((passage.verdict, passage.loaded), (Verdict::Granted, None));
    assert_eq!(loads(&card), 1);
    assert_eq!(other.exchanges, 11, "four to see that it is done, seven for the tap");
    later(&mut other);
    other.tap(&mut card, NEVER).unwrap();
    assert_eq!(other.exchanges, 7);
}

#[test]
fn an_open_journey_goes_on_through_the_load() {
    let mut card = card(1, 300);
    Bench::new(context(TapRole::Entry, "A")).tap(&mut card, NEVER).unwrap();
    let mut out = bench_with_order(TapRole::Exit, "B", &card);
    out.now = Timestamp::from_secs(START.secs() + 600);
    let passage = out.tap(&mut card, NEVER).unwrap();
    assert_eq!(passage.charge, euros(300), "Alpha to Beta");
    assert_eq!(balance(&card), 1_000);
}

type Change = Box<dyn Fn(&mut Bench)>;

#[test]
fn an_order_that_does_not_fit_is_passed_over_and_the_tap_is_made() {
    let late = Timestamp::from_secs(START.secs() + 86_400);
    let unset = |clock| move |bench: &mut Bench| bench.machine.set_clock_quality(clock);
    let table: [(&str, LoadOrder, Change); 6] = [
        ("a load that the card has had", order(1, 0), Box::new(|_| ())),
        ("a load that is not its turn", order(1, 2), Box::new(|_| ())),
        ("over", order(1, 1), Box::new(move |bench| bench.now = late)),
        ("saved", order(1, 1), Box::new(unset(ClockQuality::Saved))),
        ("unknown", order(1, 1), Box::new(unset(ClockQuality::Unknown))),
        (
            "before the card's own last tap",
            order(1, 1),
            Box::new(|bench| bench.now = Timestamp::from_secs(1_600_000_000)),
        ),
    ];
    for (case, order, change) in table {
        let mut card = card(1, 500);
        let mut bench = Bench::boarding();
        bench.orders.insert(card.uid(), sealed(order, card.uid()));
        change(&mut bench);
        let passage = bench.tap(&mut card, NEVER).unwrap();
        assert_eq!((passage.verdict, passage.loaded), (Verdict::Granted, None), "{case}");
        assert_eq!((balance(&card), loads(&card)), (350, 0), "{case}");
        assert_eq!(bench.outcomes(), ["committed"], "{case}");
    }
}

#[test]
fn a_hotlisted_card_is_refused_and_not_loaded() {
    let mut card = card(1, 500);
    let mut bench = bench_with_order(TapRole::Board, "s1", &card);
    let mut context = bench.machine.context().clone();
    context.hotlist = Hotlist::new([card.uid()]);
    bench.machine.replace_context(context);
    let passage = bench.tap(&mut card, NEVER).unwrap();
    assert_eq!(passage.verdict, Verdict::Refused(Refusal::Hotlisted));
    assert_eq!(loads(&card), 0);
}

fn ten_rides(serial: u16) -> ProductSale {
    let scope = ProductScope::EVERYTHING;
    let kind = ProductKind::Rides;
    let product = CardProduct { id: 20, kind, scope, serial, from_s: 0, until_s: 0 };
    ProductSale::new(product, 10).unwrap()
}

fn order_of_rides() -> LoadOrder {
    LoadOrder { amount: 0, product: Some(ten_rides(1)), ..order(1, 1) }
}

fn bench_with_rides(card: &VirtualCard) -> Bench {
    let mut bench = Bench::boarding();
    bench.orders.insert(card.uid(), sealed(order_of_rides(), card.uid()));
    bench
}

fn rides(card: &VirtualCard) -> u32 {
    card.contents().unwrap().products.and_then(|found| found.rides).unwrap_or(0)
}

#[test]
fn one_tap_puts_ordered_rides_on_the_card_and_uses_the_first_of_them() {
    let mut card = card(1, 0);
    let mut bench = bench_with_rides(&card);
    let passage = bench.tap(&mut card, NEVER).unwrap();
    assert_eq!((passage.verdict, passage.charge), (Verdict::Granted, euros(0)));
    assert_eq!(passage.loaded, Some(Loaded::Product(ten_rides(1))));
    assert_eq!((rides(&card), balance(&card), loads(&card)), (9, 0, 1));
    assert_eq!(bench.exchanges, 17, "eight for the rides, nine for the one that is taken");
    let Some(TapEvent::Committed { transaction, proof }) = bench.log[0].event else { panic!() };
    assert_eq!(transaction.loaded.map(|load| load.rides()), Some(10));
    assert!(proof_holds(&keys().tmac_key(&card.uid()).unwrap(), &card.uid(), &transaction, proof));
    later(&mut bench);
    bench.tap(&mut card, NEVER).unwrap();
    assert_eq!((rides(&card), loads(&card)), (8, 1));
}

#[test]
fn rec_5_a_tap_with_ordered_rides_cut_anywhere_brings_them_once() {
    for pace in [LogPace::Fast, LogPace::Slow] {
        for at in 0..17 {
            for heard in [false, true] {
                let case = alloc::format!("{pace:?} cut at {at}, heard {heard}");
                let mut card = card(1, 0);
                let mut bench = bench_with_rides(&card);
                bench.pace = pace;
                let first = bench.tap(&mut card, Cut { at, heard }).unwrap();
                if !first.is_granted() {
                    bench.now = Timestamp::from_secs(START.secs() + 5);
                    let second = bench.tap(&mut card, NEVER).unwrap();
                    assert_eq!(second.verdict, Verdict::Granted, "{case}");
                }
                assert_eq!((loads(&card), rides(&card)), (1, 9), "{case}");
            }
        }
    }
}

#[test]
fn a_card_that_cannot_take_a_product_rides_as_if_none_were_ordered() {
    // Both slots are in use.
    let pass = |id| CardProduct {
        kind: ProductKind::Pass,
        scope: ProductScope::of_group("ferry"),
        until_s: u32::MAX,
        id,
        ..ten_rides(1).product
    };
    let file = CardProducts::new([Some(pass(1)), Some(pass(2))]).unwrap();
    let full = card_with(1, 500, Some(ProductLoad::new(file, 0).unwrap()));
    for (case, mut card, refused) in [("full", full, None), ("no file", card(2, 500), Some(4))] {
        let mut bench = bench_with_rides(&card);
        bench.answers = refused.map(|at| (at, alloc::vec![0x91, 0xF0]));
        let passage = bench.tap(&mut card, NEVER).unwrap();
        assert_eq!((passage.verdict, passage.charge), (Verdict::Granted, euros(150)), "{case}");
        assert_eq!((loads(&card), balance(&card)), (0, 350), "{case}");
        later(&mut bench);
        let passage = bench.tap(&mut card, NEVER).unwrap();
        assert_eq!((passage.verdict, loads(&card)), (Verdict::Granted, 0), "{case}");
        assert_eq!(bench.outcomes().last(), Some(&"committed"), "{case}: it is not tried again");
    }
}

/// What the rider does after the cut: again at the same validator, after a restart of it, or at
/// another validator with the same list.
#[derive(Debug, Clone, Copy)]
enum Then {
    Again,
    AfterRestart,
    Elsewhere,
}

#[test]
fn rec_5_a_tap_with_an_order_cut_anywhere_loads_once_and_charges_once() {
    let mut cases = 0;
    for pace in [LogPace::Fast, LogPace::Slow] {
        for then in [Then::Again, Then::AfterRestart, Then::Elsewhere] {
            for at in 0..14 {
                for heard in [false, true] {
                    let case = alloc::format!("{pace:?} {then:?} cut at {at}, heard {heard}");
                    cut_and_go_on(pace, then, Cut { at, heard }, &case);
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 168);
}

fn cut_and_go_on(pace: LogPace, then: Then, cut: Cut, case: &str) {
    let mut card = card(1, 0);
    let mut bench = bench_with_order(TapRole::Board, "s1", &card);
    bench.pace = pace;
    let first = bench.tap(&mut card, cut).unwrap();
    if !first.is_granted() {
        bench.now = Timestamp::from_secs(START.secs() + 5);
        let second: Passage = match then {
            Then::Again => bench.tap(&mut card, NEVER).unwrap(),
            Then::AfterRestart => {
                bench.restart();
                bench.tap(&mut card, NEVER).unwrap()
            }
            Then::Elsewhere => {
                let mut other = elsewhere(&card);
                other.now = bench.now;
                other.tap(&mut card, NEVER).unwrap()
            }
        };
        assert_eq!(second.verdict, Verdict::Granted, "{case}");
    }
    assert_eq!(loads(&card), 1, "{case}");
    let records = card.contents().unwrap().records;
    let rides = records.iter().filter(|record| record.kind == RecordKind::Board).count();
    // A boarding whose answer is lost is charged again by another reader (ADR-0012).
    let may_be_twice = matches!(then, Then::Elsewhere) && cut.at == 13 && cut.heard;
    assert_eq!(rides, 1 + usize::from(may_be_twice), "{case}");
    assert_eq!(balance(&card), 1_000 - 150 * i32::try_from(rides).unwrap(), "{case}");
}

#[test]
fn a_load_in_doubt_is_confirmed_at_the_next_tap_long_after_the_retry_window() {
    let mut card = card(1, 0);
    let mut bench = bench_with_order(TapRole::Board, "s1", &card);
    let first = bench.tap(&mut card, Cut { at: 6, heard: true }).unwrap();
    assert_eq!(first.verdict, Verdict::TryAgain(Refusal::Unreadable));
    assert_eq!(bench.outcomes(), ["in-doubt"]);
    let later = START.secs() + Rules::default().retry_window.as_secs() + 600;
    bench.now = Timestamp::from_secs(later);
    let second = bench.tap(&mut card, NEVER).unwrap();
    assert_eq!((second.verdict, second.charge), (Verdict::Granted, euros(150)));
    assert_eq!(bench.outcomes(), ["in-doubt", "confirmed", "committed"]);
    assert_eq!(bench.log[1].draft.order, Some(OrderId(1)), "the depot learns which order");
    assert_eq!((loads(&card), balance(&card)), (1, 850));
}
