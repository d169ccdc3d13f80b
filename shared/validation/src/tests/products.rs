//! Passes and rides at the validator: what the rider is shown, what the log says, and what a card
//! that is pulled away keeps.

use alloc::{format, string::String, vec, vec::Vec};
use core::time::Duration;

use card::VirtualCard;
use model::{
    CardProduct, CardProducts, CardTransaction, ProductKind, ProductLoad, ProductScope, ProductUse,
    TapEvent, TapRole,
};

use super::{Bench, Cut, LogPace, NEVER, START, card_with, context, tearing::in_doubt};
use crate::{Note, Passage, PassageClass};

const DAY: u32 = 86_400;

fn now() -> u32 {
    u32::try_from(START.secs()).unwrap()
}

fn pass(from_s: u32, until_s: u32) -> CardProduct {
    let scope = ProductScope::EVERYTHING;
    CardProduct { id: 31, kind: ProductKind::Pass, scope, serial: 1, from_s, until_s }
}

fn rider(product: CardProduct, rides: u32) -> VirtualCard {
    let file = CardProducts::new([Some(product), None]).unwrap();
    card_with(1, 900, Some(ProductLoad::new(file, rides).unwrap()))
}

fn with_pass() -> VirtualCard {
    rider(pass(now() - DAY, now() + DAY), 0)
}

fn with_rides(rides: u32) -> VirtualCard {
    rider(CardProduct { kind: ProductKind::Rides, ..pass(0, 0) }, rides)
}

fn held(card: &VirtualCard) -> (i32, u32) {
    let contents = card.contents().unwrap();
    (contents.balance, contents.products.unwrap().rides.unwrap())
}

/// The transaction of the newest entry of the log.
fn logged(bench: &Bench) -> CardTransaction {
    match bench.log.last().unwrap().event {
        Some(TapEvent::Committed { transaction, .. } | TapEvent::Confirmed { transaction, .. }) => {
            transaction
        }
        other => panic!("{other:?}"),
    }
}

fn told(passage: &Passage) -> Vec<String> {
    passage.steps.iter().map(|step| format!("{} {}", step.amount.decimal(), step.text())).collect()
}

#[test]
fn a_pass_lets_its_rider_pass_for_nothing_and_says_so() {
    let (mut bench, mut card) = (Bench::boarding(), with_pass());
    let passage = bench.tap(&mut card, NEVER).unwrap();
    assert_eq!((passage.class(), passage.charge.minor()), (PassageClass::B, 0));
    assert_eq!(told(&passage)[1..], ["-1.50 Paid by your pass (product 31)"]);
    assert_eq!(held(&card), (900, 0));
    let transaction = logged(&bench);
    let found = transaction.products.unwrap();
    assert_eq!(
        found.file.slot(model::ProductSlot::First),
        Ok(Some(pass(now() - DAY, now() + DAY)))
    );
    let used = ProductUse { pass: Some(model::ProductSlot::First), rides: 0 };
    assert_eq!((transaction.after.amount, transaction.after.products), (0, Some(used)));
}

#[test]
fn rides_are_taken_one_by_one_and_then_stored_value() {
    let (mut bench, mut card) = (Bench::boarding(), with_rides(2));
    let mut seen = Vec::new();
    for _ in 0..3 {
        let passage = bench.tap(&mut card, NEVER).unwrap();
        assert!(passage.is_granted());
        seen.push((passage.charge.minor(), held(&card), passage.notes.clone()));
        bench.now = bench.now.plus(Duration::from_secs(2 * 3600));
    }
    assert_eq!(
        seen,
        [
            (0, (900, 1), vec![]),
            (0, (900, 0), vec![Note::LastRide]),
            (150, (750, 0), vec![Note::RidesUsedUp]),
        ]
    );
}

#[test]
fn a_product_that_is_not_valid_now_is_named_and_stored_value_pays() {
    for (product, note) in [
        (pass(now() - 9 * DAY, now() - DAY), Note::ProductEnded),
        (pass(now() + DAY, now() + 9 * DAY), Note::ProductNotYetValid),
        (
            CardProduct { scope: ProductScope::of_group("elsewhere"), ..pass(0, 0) },
            Note::ProductNotHere,
        ),
    ] {
        let (mut bench, mut card) = (Bench::boarding(), rider(product, 0));
        let passage = bench.tap(&mut card, NEVER).unwrap();
        assert_eq!((passage.class(), passage.charge.minor()), (PassageClass::B, 150));
        assert_eq!(passage.notes, [note]);
        assert_eq!(held(&card).0, 750);
    }
}

#[test]
fn a_rider_with_a_product_enters_a_gate_without_stored_value() {
    for mut card in [with_pass(), with_rides(1)] {
        let contents = card.contents().unwrap();
        let rides = contents.products.unwrap().rides.unwrap();
        let product = contents.products.unwrap().file.slot(model::ProductSlot::First).unwrap();
        let file = CardProducts::new([product, None]).unwrap();
        card = card_with(2, 0, Some(ProductLoad::new(file, rides).unwrap()));
        let mut gate = Bench::new(context(TapRole::Entry, "A"));
        assert!(gate.tap(&mut card, NEVER).unwrap().is_granted());
        let mut out = Bench::new(context(TapRole::Exit, "B"));
        out.now = START.plus(Duration::from_secs(900));
        let passage = out.tap(&mut card, NEVER).unwrap();
        assert!(passage.is_granted(), "{passage:?}");
        assert_eq!((passage.charge.minor(), held(&card)), (0, (0, 0)));
    }
}

/// Cuts a tap at every exchange, with the command heard and not, and holds the card again.
fn cut_everywhere(fresh: fn() -> VirtualCard, exchanges: usize, left: (i32, u32)) {
    for at in 0..exchanges {
        for (heard, pace) in [
            (false, LogPace::Fast),
            (false, LogPace::Slow),
            (true, LogPace::Fast),
            (true, LogPace::Slow),
        ] {
            let mut bench = Bench { pace, ..Bench::boarding() };
            let mut card = fresh();
            let first = bench.tap(&mut card, Cut { at, heard }).unwrap();
            assert_eq!(first.class(), PassageClass::C, "{at} {heard}");
            bench.now = bench.now.plus(Duration::from_secs(2));
            let second = bench.tap(&mut card, NEVER).unwrap();
            assert!(second.is_granted(), "{at} {heard} {:?}", bench.outcomes());
            assert_eq!(second.steps.len(), 2, "explained also when it was an earlier tap");
            assert_eq!(held(&card), left, "{at} {heard}");
            assert_eq!((in_doubt(&bench), bench.machine.in_doubt()), (0, 0), "{at} {heard}");
            let unheard = at + 1 == exchanges && heard;
            assert_eq!(second.notes.contains(&Note::EarlierTapFinished), unheard);
            assert!(logged(&bench).products.is_some());
        }
    }
    // One exchange more and there is nothing left to cut.
    let mut bench = Bench::boarding();
    assert!(bench.tap(&mut fresh(), Cut { at: exchanges, heard: false }).unwrap().is_granted());
}

#[test]
fn a_pass_cut_off_at_any_exchange_grants_once() {
    cut_everywhere(with_pass, 7, (900, 0));
}

#[test]
fn a_ride_cut_off_at_any_exchange_is_taken_once() {
    cut_everywhere(|| with_rides(5), 9, (900, 4));
}

#[test]
fn power_lost_during_a_ride_takes_one_ride_for_one_passage() {
    let mut died = 0;
    for dies_after in 0..16 {
        let mut bench = Bench { dies_after, ..Bench::boarding() };
        let mut card = with_rides(5);
        if bench.tap(&mut card, NEVER).is_some() {
            continue;
        }
        died += 1;
        bench.restart();
        bench.now = bench.now.plus(Duration::from_secs(20));
        let second = bench.tap(&mut card, NEVER).unwrap();
        let unshown = bench.outcomes()[0] == "committed";
        assert!(second.is_granted() || unshown && second.assist_code() == Some(21));
        assert_eq!((held(&card), in_doubt(&bench)), ((900, 4), 0), "{dies_after}");
    }
    assert!(died > 11, "the steps were reached");
}
