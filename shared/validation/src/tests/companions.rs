//! Who rides on the next card: chosen, taken by one tap, carried through tears, and gone.

use alloc::{format, vec::Vec};
use core::time::Duration;

use card::CardKeys;
use fare::{FareRefusal, Tariff, TariffSet};
use model::{CardTransaction, Companions, RiderClass, TapEvent, TapRole};

use super::{Bench, CITY, Cut, NEVER, card, context, tearing::every_cut};
use crate::{ArmError, Passage, PassageClass, Presented, ValidatorContext, Verdict};

const FAMILY: &str = r#"
class = [{ id = "adult", name = "Adult" }, { id = "child", name = "Child" }]
product = [
  { id = "bus", name = "Bus single", price = "1.50", prices = { child = "0.80" } },
  { id = "near", name = "Near", price = "2.00" },
  { id = "far", name = "Far", price = "3.00" },
]
[companions]
riders_max = 4
"#;

fn family(role: TapRole, place: &str) -> ValidatorContext {
    let tariff = Tariff::parse_with_overlay(CITY, FAMILY);
    let tariffs = TariffSet::new(tariff.unwrap_or_else(|found| panic!("{found:#?}")));
    ValidatorContext { tariffs, ..context(role, place) }
}

fn bus() -> Bench {
    Bench::new(family(TapRole::Board, "s1"))
}

fn children(n: u8) -> Companions {
    Companions::new([(RiderClass(1), n)]).unwrap()
}

fn arm(bench: &mut Bench, riders: Companions) {
    bench.machine.arm(bench.now, riders).unwrap();
}

fn wait(bench: &mut Bench, s: u64) {
    bench.now = bench.now.plus(Duration::from_secs(s));
}

/// Charge and riders.
fn told(passage: &Passage) -> (i64, u32) {
    (passage.charge.minor(), passage.riders())
}

fn written(bench: &Bench) -> Vec<Companions> {
    let of = |t: CardTransaction| t.companions;
    bench.log.iter().filter_map(|tap| tap.intent.map(of)).collect()
}

#[test]
fn one_tap_takes_the_companions_and_the_next_card_rides_alone() {
    let mut bench = bus();
    arm(&mut bench, children(2));
    let (mut first, mut second) = (card(1, 900), card(2, 900));
    let passage = bench.tap(&mut first, NEVER).unwrap();
    assert_eq!((told(&passage), passage.class()), ((150 + 160, 3), PassageClass::A));
    assert_eq!(passage.steps[1].text(), "2 × Child, 0.80 EUR each");
    assert_eq!(first.contents().unwrap().balance, 900 - 310);
    assert!(bench.machine.armed().is_none());
    assert_eq!(told(&bench.tap(&mut second, NEVER).unwrap()), (150, 1));
    assert_eq!(written(&bench), [children(2), Companions::NONE]);
    assert_eq!(bench.chosen, [1], "shown when chosen; what was charged is in the answer");
}

#[test]
fn a_group_torn_at_any_exchange_and_held_again_is_charged_once_as_a_group() {
    for (cut, pace) in every_cut() {
        let mut bench = Bench { pace, ..bus() };
        let mut card = card(1, 900);
        arm(&mut bench, children(2));
        let first = bench.tap(&mut card, cut).unwrap();
        assert_eq!(first.class(), PassageClass::C, "{cut:?}");
        wait(&mut bench, 2);
        let second = bench.tap(&mut card, NEVER).unwrap();
        assert_eq!((second.verdict, told(&second)), (Verdict::Granted, (310, 3)), "{cut:?}");
        assert_eq!(card.contents().unwrap().balance, 590, "{cut:?}");
        assert!(bench.machine.armed().is_none(), "{cut:?}");
    }
}

#[test]
fn a_group_in_doubt_over_a_power_loss_is_finished_as_a_group() {
    for (cut, pace) in every_cut() {
        let mut bench = Bench { pace, ..bus() };
        let mut card = card(1, 900);
        arm(&mut bench, children(2));
        bench.tap(&mut card, cut).unwrap();
        let happened = card.contents().unwrap().balance == 590;
        bench.restart();
        wait(&mut bench, 2);
        let second = bench.tap(&mut card, NEVER).unwrap();
        // What was chosen is gone with the power; what the card paid for is not.
        let expected = if happened { (310, 3) } else { (150, 1) };
        assert_eq!((second.verdict, told(&second)), (Verdict::Granted, expected), "{cut:?}");
        assert_eq!(card.contents().unwrap().balance, if happened { 590 } else { 750 });
    }
}

#[test]
fn a_card_that_comes_between_rides_alone_and_the_torn_one_keeps_its_companions() {
    let mut bench = bus();
    let (mut mine, mut other) = (card(1, 900), card(2, 900));
    arm(&mut bench, children(1));
    assert_eq!(bench.tap(&mut mine, Cut { at: 2, heard: false }).unwrap().class(), PassageClass::C);
    assert_eq!(told(&bench.tap(&mut other, NEVER).unwrap()), (150, 1));
    assert_eq!(told(&bench.tap(&mut mine, NEVER).unwrap()), (230, 2));
}

#[test]
fn too_little_value_for_all_refuses_the_tap_as_a_whole_and_says_what_is_missing() {
    let mut bench = bus();
    let mut card = card(1, 200);
    arm(&mut bench, children(2));
    let passage = bench.tap(&mut card, NEVER).unwrap();
    assert_eq!((passage.class(), passage.assist_code()), (PassageClass::D, Some(24)));
    assert_eq!(passage.missing.unwrap().minor(), 110);
    assert_eq!(card.contents().unwrap().balance, 200);
    assert!(bench.machine.armed().is_none(), "a refusal ends the choice");
    assert_eq!(told(&bench.tap(&mut card, NEVER).unwrap()), (150, 1), "alone it is enough");
}

#[test]
fn a_choice_ends_after_a_minute_and_when_the_clock_is_set_back() {
    for (later, earlier, left) in [(60, 0, true), (61, 0, false), (0, 1, false)] {
        let mut bench = bus();
        let mut card = card(1, 900);
        arm(&mut bench, children(1));
        assert_eq!(bench.machine.armed().unwrap().until, bench.now.plus(Duration::from_secs(60)));
        wait(&mut bench, later);
        bench.now.0 -= earlier * 1000;
        bench.machine.handle_timeout(bench.now);
        assert_eq!(bench.machine.armed().is_some(), left, "{later} {earlier}");
        let expected = if left { (230, 2) } else { (150, 1) };
        assert_eq!(told(&bench.tap(&mut card, NEVER).unwrap()), expected);
        assert_eq!(bench.chosen, if left { alloc::vec![1] } else { alloc::vec![1, 0] });
    }
}

#[test]
fn choosing_again_replaces_the_choice_and_choosing_nobody_takes_it_back() {
    let mut bench = bus();
    let mut card = card(1, 900);
    arm(&mut bench, children(2));
    arm(&mut bench, children(1));
    assert_eq!(told(&bench.tap(&mut card, NEVER).unwrap()), (230, 2));
    arm(&mut bench, children(2));
    arm(&mut bench, Companions::NONE);
    wait(&mut bench, 61);
    assert_eq!(told(&bench.tap(&mut card, NEVER).unwrap()), (150, 1));
    assert_eq!(bench.chosen, [1, 1, 1, 0]);
}

#[test]
fn companions_are_chosen_only_where_and_when_a_tap_could_take_them() {
    let refused = |bench: &mut Bench, riders| bench.machine.arm(bench.now, riders).unwrap_err();
    let fare = ArmError::Fare(FareRefusal::Companions);
    assert_eq!(refused(&mut bus(), children(5)), fare, "more than four");
    assert_eq!(refused(&mut Bench::boarding(), children(1)), fare, "a tariff without them");
    let mut gate = Bench::new(family(TapRole::Entry, "A"));
    assert_eq!(refused(&mut gate, children(1)), fare, "at gates each passes alone");
    let mut closed = bus();
    closed.machine.set_in_service(false);
    assert_eq!(refused(&mut closed, children(1)), ArmError::OutOfService);
    let mut busy = bus();
    let key = busy.keys.debit_key(&card(1, 900).uid()).unwrap();
    let presented = Presented::Card { card: card(1, 900).uid(), key, rnd_a: [1; 16], order: None };
    busy.machine.handle_presented(busy.now, presented);
    assert_eq!(refused(&mut busy, children(1)), ArmError::Busy);
    assert!(busy.machine.armed().is_none());
}

#[test]
fn another_place_or_tariff_ends_a_choice_and_other_rules_do_not() {
    let mut bench = bus();
    arm(&mut bench, children(1));
    let same = bench.machine.context().clone();
    bench.machine.replace_context(same.clone());
    assert!(bench.machine.armed().is_some());
    let elsewhere = ValidatorContext { route: None, ..same };
    bench.machine.replace_context(elsewhere);
    assert!(bench.machine.armed().is_none());
}

#[test]
fn an_earlier_tap_that_is_finished_ends_a_choice() {
    let mut bench = bus();
    let mut card = card(1, 900);
    let commit = every_cut().map(|(cut, _)| cut).filter(|cut| cut.heard).last().unwrap();
    assert_eq!(bench.tap(&mut card, commit).unwrap().class(), PassageClass::C);
    assert_eq!(card.contents().unwrap().balance, 750, "the commit was heard");
    arm(&mut bench, children(2));
    let passage = bench.tap(&mut card, NEVER).unwrap();
    assert_eq!(told(&passage), (150, 1), "one passage, as it was paid");
    assert!(bench.machine.armed().is_none());
    let last = bench.log.last().unwrap().event;
    assert!(matches!(last, Some(TapEvent::Confirmed { .. })), "{}", format!("{last:?}"));
}
