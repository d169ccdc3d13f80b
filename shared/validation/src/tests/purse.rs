//! A card whose purse is in another currency, at the machine: what is refused, what is loaded, what
//! the rider is told (ADR-0019).

use alloc::{format, vec::Vec};
use core::time::Duration;

use card::{CardKeys, KeyRole, Opening, SealedOrder, VirtualCard, proof_holds};
use fare::{Tariff, TariffSet, rules::ZoneOffsets};
use model::{
    CardId, CardLayout, CardTransaction, Companions, Currency, LoadOrder, LoadSeq, Money, OrderId,
    Refusal, RiderClass, TapEvent, TapRole, Timestamp,
};

use super::{Bench, CITY, Cut, LogPace, NEVER, START, card, context, keys, tearing::in_doubt};
use crate::{Loaded, Note, Passage, Rules, ValidatorContext, Verdict};

/// From the day before [`START`], and another from two days after it.
const RATES: &str = r#"
class = [{ id = "adult", name = "Adult" }, { id = "child", name = "Child" }]
product = [
  { id = "bus", name = "Bus single", price = "1.50", prices = { child = "0.80" } },
  { id = "near", price = "2.00" },
  { id = "far", price = "3.00" },
]

[companions]
riders_max = 4

[[exchange]]
currency = "CHF"
rates = [{ from = 2027-01-14, rate = "0.9432" }, { from = 2027-01-17, rate = "2" }]
rounding = "half-up"
"#;

fn priced(role: TapRole, place: &str) -> ValidatorContext {
    let tariff = Tariff::parse_in(CITY, Some(RATES), &|_| Some(ZoneOffsets::fixed(0)));
    let tariffs = TariffSet::new(tariff.unwrap_or_else(|found| panic!("{found:#?}")));
    ValidatorContext { tariffs, ..context(role, place) }
}

fn bus() -> Bench {
    Bench::new(priced(TapRole::Board, "s1"))
}

fn settled(bench: &Bench) -> CardTransaction {
    match bench.log.last().unwrap().event {
        Some(TapEvent::Committed { transaction, .. } | TapEvent::Confirmed { transaction, .. }) => {
            transaction
        }
        other => panic!("{other:?}"),
    }
}

fn currency(letters: &str) -> Currency {
    Currency::parse(letters).unwrap()
}

fn francs(minor: i64) -> Money {
    Money::new(minor, currency("CHF"))
}

/// A card with so many minor units of the currency.
fn foreign(n: u8, letters: &str, balance: u32) -> VirtualCard {
    let uid = CardId([4, 1, 2, 3, 4, 5, n]);
    let opening = Opening {
        currency: letters.as_bytes().try_into().unwrap(),
        balance,
        layout: CardLayout::OtherCurrency,
        at_s: 1_700_000_000,
        ..Opening::default()
    };
    VirtualCard::issue(uid, [n; 16], &keys(), &opening).unwrap().0
}

#[test]
fn a_currency_without_a_rate_is_refused_by_name_and_nothing_is_written() {
    for role in [(TapRole::Board, "s1"), (TapRole::Entry, "A")] {
        let mut card = foreign(1, "CHF", 2_000);
        let before = card.clone();
        let mut bench = Bench::new(context(role.0, role.1));
        let passage = bench.tap(&mut card, NEVER).unwrap();
        assert_eq!(passage.verdict, Verdict::Refused(Refusal::CurrencyNotTaken));
        assert_eq!(passage.balance, Some(francs(2_000)), "in the currency that the card says");
        assert_eq!(passage.assist_code(), Some(48));
        assert!(card.same_contents(&before));
        assert_eq!(bench.exchanges, 5, "found, and let go");
        let TapEvent::Refused { reason, seen } = bench.log[0].event.unwrap() else { panic!() };
        assert_eq!(reason, Refusal::CurrencyNotTaken);
        assert_eq!(seen, card.contents().unwrap().records.last().copied());
    }
}

fn sealed(purse: Option<Currency>, card: CardId) -> SealedOrder {
    let order = LoadOrder {
        id: OrderId(1),
        load_seq: LoadSeq(1),
        amount: 1_000,
        product: None,
        purse,
        not_after_s: u32::try_from(START.secs()).unwrap() + 86_400,
    };
    let debit = keys().debit_key(&card).unwrap();
    let load = keys().current_key(KeyRole::Load, &card).unwrap();
    SealedOrder::seal(order, card, &debit, &load).unwrap()
}

#[test]
fn an_order_goes_onto_a_purse_in_its_own_currency_and_onto_no_other() {
    let [swiss, yen] = ["CHF", "JPY"].map(|letters| Some(currency(letters)));
    for (mut card, ordered, goes_on) in [
        (foreign(1, "CHF", 100), swiss, true),
        (foreign(1, "CHF", 100), yen, false),
        (foreign(1, "CHF", 100), None, false),
        (card(1, 100), None, true),
        (card(1, 100), swiss, false),
        // The tariff's own currency by name, on a card whose profile nobody reads.
        (card(1, 100), Some(currency("EUR")), false),
    ] {
        let mut bench = Bench::boarding();
        bench.orders.insert(card.uid(), sealed(ordered, card.uid()));
        let loaded = bench.tap(&mut card, NEVER).unwrap().loaded;
        let records = card.contents().unwrap().records;
        let loads = records.iter().filter(|record| record.kind.is_load()).count();
        assert_eq!((loads, loaded.is_some()), (usize::from(goes_on), goes_on), "{ordered:?}");
        let amount = Money::new(1_000, ordered.unwrap_or(currency("EUR")));
        let named = loaded.is_none_or(|loaded| loaded == Loaded::Value(amount));
        assert!(named, "the rider is told in the purse's currency: {loaded:?}");
    }
}

#[test]
fn a_ride_takes_francs_off_a_purse_in_francs_and_the_rider_is_told_by_which_rate() {
    let (mut bench, mut card) = (bus(), foreign(1, "CHF", 2_000));
    let passage = bench.tap(&mut card, NEVER).unwrap();
    // 1.50 x 0.9432 = 1.4148
    assert_eq!((passage.verdict, passage.charge), (Verdict::Granted, francs(141)));
    assert_eq!((passage.balance, card.contents().unwrap().balance), (Some(francs(1_859)), 1_859));
    let told = passage.exchanged.unwrap();
    assert_eq!(told.charge, Money::new(150, currency("EUR")));
    assert_eq!((told.debit, format!("{}", told.rate).as_str()), (francs(141), "0.9432"));
    assert_eq!(bench.exchanges, 8, "the currency is one exchange more");
    let done = settled(&bench);
    assert_eq!((done.purse, done.after.amount), (Some(currency("CHF")), 141));
    let TapEvent::Committed { transaction, proof } = bench.log[0].event.unwrap() else { panic!() };
    let tmac = keys().tmac_key(&card.uid()).unwrap();
    assert!(proof_holds(&tmac, &card.uid(), &transaction, proof));
    let other = CardTransaction { purse: Some(currency("EUR")), ..transaction };
    assert!(!proof_holds(&tmac, &card.uid(), &other, proof), "another currency is not the card's");
}

#[test]
fn a_purse_that_lacks_a_few_rappen_is_told_how_many_and_keeps_what_it_has() {
    let (mut bench, mut card) = (bus(), foreign(1, "CHF", 100));
    let passage = bench.tap(&mut card, NEVER).unwrap();
    assert_eq!(passage.verdict, Verdict::Refused(Refusal::InsufficientValue));
    assert_eq!((passage.balance, passage.missing), (Some(francs(100)), Some(francs(41))));
    assert_eq!(card.contents().unwrap().balance, 100);
    // As many minor units of the tariff's currency would not have been enough either way round.
    let mut enough = foreign(2, "CHF", 141);
    assert!(bus().tap(&mut enough, NEVER).unwrap().is_granted(), "141 rappen for 150 cents");
}

#[test]
fn a_day_before_the_first_rate_refuses_the_currency_and_not_the_card() {
    let (mut bench, mut card) = (bus(), foreign(1, "CHF", 2_000));
    bench.now = Timestamp::from_secs(START.secs() - 2 * 86_400);
    let passage = bench.tap(&mut card, NEVER).unwrap();
    assert_eq!(passage.verdict, Verdict::Refused(Refusal::CurrencyNotTaken));
    bench.now = START;
    assert!(bench.tap(&mut card, NEVER).unwrap().is_granted());
}

#[test]
fn a_journey_over_a_change_of_the_rate_has_the_rate_of_its_tap_in_and_the_next_ride_the_new_one() {
    let mut card = foreign(1, "CHF", 2_000);
    let midnight = START.secs() - 8 * 3_600 + 2 * 86_400;
    let mut entry = Bench::new(priced(TapRole::Entry, "A"));
    entry.now = Timestamp::from_secs(midnight - 1_800);
    assert_eq!(entry.tap(&mut card, NEVER).unwrap().charge, francs(0));
    let mut exit = Bench::new(priced(TapRole::Exit, "B"));
    exit.now = Timestamp::from_secs(midnight + 1_800);
    let passage = exit.tap(&mut card, NEVER).unwrap();
    assert_eq!((passage.verdict, passage.charge), (Verdict::Granted, francs(283)), "3.00 x 0.9432");
    let mut bus = bus();
    bus.now = Timestamp::from_secs(midnight + 3_600);
    assert_eq!(bus.tap(&mut card, NEVER).unwrap().charge, francs(300), "1.50 x 2");
}

#[test]
fn a_low_balance_is_low_by_the_same_rate_and_not_by_the_number_of_its_units() {
    // 10.00 EUR are 9.43 CHF.
    for (left, low) in [(942, true), (943, false), (999, false), (1_001, false)] {
        let mut bench = bus();
        let mut context = bench.machine.context().clone();
        context.rules = Rules { low_balance: 1_000, ..context.rules };
        bench.machine.replace_context(context);
        let passage = bench.tap(&mut foreign(1, "CHF", left + 141), NEVER).unwrap();
        assert_eq!(passage.notes == [Note::LowBalance], low, "{left}: {:?}", passage.notes);
    }
}

#[test]
fn companions_are_paid_from_the_same_purse_at_the_same_rate_and_rounded_once() {
    let (mut bench, mut card) = (bus(), foreign(1, "CHF", 2_000));
    let two = Companions::new([(RiderClass(1), 2)]).unwrap();
    bench.machine.arm(bench.now, two).unwrap();
    let passage = bench.tap(&mut card, NEVER).unwrap();
    // (1.50 + 2 x 0.80) x 0.9432 = 2.92392
    assert_eq!((passage.charge, passage.riders()), (francs(292), 3));
}

/// The passage that a torn tap ends in, at the same reader or after its power came back.
fn torn(cut: Cut, pace: LogPace, restarts: bool) -> (Passage, Bench, VirtualCard) {
    let (mut bench, mut card) = (bus(), foreign(1, "CHF", 2_000));
    bench.pace = pace;
    assert!(!bench.tap(&mut card, cut).unwrap().is_granted(), "{cut:?}");
    if restarts {
        bench.restart();
    }
    bench.now = bench.now.plus(Duration::from_secs(2));
    let passage = bench.tap(&mut card, NEVER).unwrap();
    (passage, bench, card)
}

#[test]
fn a_tap_in_another_currency_torn_anywhere_is_charged_once_and_explained_in_it() {
    let mut confirmed = Vec::new();
    for at in 0..8 {
        for heard in [false, true] {
            for pace in [LogPace::Fast, LogPace::Slow] {
                for restarts in [false, true] {
                    let why = format!("exchange {at}, heard {heard}, {pace:?}, {restarts}");
                    let (passage, bench, card) = torn(Cut { at, heard }, pace, restarts);
                    assert!(passage.is_granted(), "{why}: {passage:?}");
                    assert_eq!(passage.charge, francs(141), "{why}");
                    assert_eq!(passage.balance, Some(francs(1_859)), "{why}");
                    assert_eq!(passage.exchanged.unwrap().debit, francs(141), "{why}");
                    let contents = card.contents().unwrap();
                    assert_eq!((contents.balance, contents.records.len()), (1_859, 2), "{why}");
                    assert_eq!(settled(&bench).purse, Some(currency("CHF")), "{why}");
                    assert_eq!(in_doubt(&bench), 0, "{why}");
                    if passage.notes.contains(&Note::EarlierTapFinished) {
                        confirmed.push((at, heard));
                    }
                }
            }
        }
    }
    assert_eq!(confirmed, [(7, true); 4], "the commit alone leaves a doubt that was a charge");
}
