//! Cards in another currency than the tariff's, from the wire to books that verify (ADR-0019).

use std::collections::BTreeMap;

use clearing::{Account, OrderPhase, Rules};
use fare::{Tariff, TariffSet, rules::ZoneOffsets};
use model::{CardTransaction, ChannelId, Currency};

use super::{
    due::{Rider, town},
    orders::{RULES, load, on_the_list, order, payment},
    *,
};
use crate::{
    http::views::CardEntry,
    orders::{OrderError, Payment, pay, tick},
    workload::CITY,
};

const DAY_S: u32 = 86_400;

const EXCHANGE: &str = r#"
[[exchange]]
currency = "CHF"
rates = [{ from = 2020-01-01, rate = "0.9432" }]
rounding = "half-up"

[[exchange]]
currency = "DKK"
rates = [{ from = 2020-01-01, rate = "7.46" }]
rounding = "half-up"
"#;

fn currency(letters: &str) -> Currency {
    Currency::parse(letters).unwrap()
}

fn city() -> Rules {
    let text = format!("{CITY}{EXCHANGE}");
    let utc = |_: &str| Some(ZoneOffsets::fixed(0));
    let tariff = Tariff::parse_in(&text, None, &utc).unwrap_or_else(|found| panic!("{found:#?}"));
    Rules::new(TariffSet::new(tariff))
}

/// Card 0 is in euros, card 1 in francs, card 2 in euros.
fn rig() -> Rig {
    let mut cards = Cards::in_city(city(), 3, NOON - 1000);
    cards.set_purse(1, currency("CHF"));
    Rig::of(city(), cards, |_| false)
}

fn on(rig: &Rig, letters: &str, account: Account) -> i64 {
    rig.place.store.account(&account.id(currency(letters))).unwrap().posted()
}

/// What stands on accounts of each currency, one row a kind of account.
fn ledgers(rig: &Rig) -> BTreeMap<&'static str, BTreeMap<String, i64>> {
    let mut all = BTreeMap::<_, BTreeMap<String, i64>>::new();
    for row in rig.books().trial_balance().unwrap() {
        let ledger = all.entry(row.balance.currency().letters()).or_default();
        *ledger.entry(row.name).or_default() -= row.balance.minor();
    }
    for ledger in all.values_mut() {
        ledger.retain(|_, sum| *sum != 0);
    }
    all
}

fn deliver(rig: &mut Rig, bus: usize) {
    let batch = rig.buses[bus].batch();
    rig.submit(&[batch]);
}

#[test]
fn i8_each_currency_adds_up_to_zero_and_lost_records_wait_in_the_cards_own_rec_2() {
    let mut rig = rig();
    rig.board(0, 0, 0);
    rig.board(0, 1, 5);
    // Two are lost: the card's next tap brings one of them along.
    rig.board(1, 1, 600);
    rig.board(1, 1, 1_200);
    rig.board(0, 1, 1_800);
    deliver(&mut rig, 0);
    // 1.50 at 0.9432 are 1.4148.
    let card = Account::Card(Cards::id(1));
    let gap = Account::GapSuspense(Cards::id(1), model::Ctr(3));
    let opening = i64::from(OPENING);
    assert_eq!((on(&rig, "CHF", card), on(&rig, "EUR", card)), (opening - 4 * 141, 0));
    assert_eq!((on(&rig, "CHF", gap), on(&rig, "EUR", gap)), (141, 0));
    assert_eq!(rig.open_kinds(), ["card-gap"]);
    rig.assert_sound();
    let of_francs = &ledgers(&rig)["CHF"];
    assert_eq!(of_francs.values().sum::<i64>(), 0, "{of_francs:?}");

    deliver(&mut rig, 1);
    assert_eq!(on(&rig, "CHF", gap), 0);
    assert_eq!(rig.open_kinds(), [""; 0]);
    let [euros, francs] = ["EUR", "CHF"].map(|letters| ledgers(&rig)[letters].clone());
    assert_eq!(euros.values().sum::<i64>() + francs.values().sum::<i64>(), 0);
    assert_eq!(francs["card"], opening - 4 * 141);
    let earned = francs.iter().filter(|(name, _)| name.starts_with("fare-revenue"));
    assert_eq!(earned.map(|(_, sum)| sum).sum::<i64>(), 4 * 141, "{francs:?}");
    rig.assert_sound();
}

#[test]
fn a_cards_page_speaks_its_currency_and_says_by_which_rate() {
    let mut rig = rig();
    rig.board(0, 0, 0);
    rig.board(0, 1, 5);
    deliver(&mut rig, 0);
    let books = rig.books();
    let handle = books.find_card(Cards::id(1)).unwrap().unwrap();
    let facts = books.card(handle).unwrap().unwrap();
    let left = i64::from(OPENING) - 141;
    let francs = |minor| model::Money::new(minor, currency("CHF"));
    assert_eq!((facts.on_card, facts.in_ledger), (francs(left), francs(left)));
    let history = books.card_history(handle, Page::first(10)).unwrap();
    let [CardEntry { tap, steps, exchanged: Some(done), .. }] = &history[..] else {
        panic!("one entry with its rate: {history:?}")
    };
    let explained: i64 = steps.iter().map(|step| step.amount.minor()).sum();
    assert_eq!((explained, done.charge.to_string()), (150, "1.50 EUR".to_owned()));
    assert_eq!((tap.charged, done.debit), (francs(141), francs(141)));
    let sums = books.tap_sums(&TapFilter::default()).unwrap();
    let charged: Vec<_> = sums.charged.iter().map(ToString::to_string).collect();
    assert_eq!(charged, ["1.50 EUR", "1.41 CHF"], "no two currencies are added up");
}

#[test]
fn a_proven_tap_that_speaks_of_another_purse_moves_nothing_and_is_named() {
    let mut rig = rig();
    rig.board(0, 1, 5);
    // A card whose profile was written anew, or a reader that lies: its proof holds.
    let mut kroner = Cards::in_city(city(), 3, NOON - 1000);
    kroner.set_purse(1, currency("DKK"));
    rig.buses[1].board(&mut kroner, 1, NOON + 600);
    deliver(&mut rig, 0);
    let before = ledgers(&rig);
    deliver(&mut rig, 1);
    assert_eq!(ledgers(&rig), before);
    assert_eq!(before.keys().copied().collect::<Vec<_>>(), ["CHF", "EUR"], "no third ledger");
    assert_eq!(rig.open_kinds(), ["contradiction"]);
    let rows = rig.books().exceptions(&ExceptionFilter::default(), Page::first(1)).unwrap();
    assert_eq!(rows[0].amount, None, "in which currency is the question");
    let sums = rig.books().tap_sums(&TapFilter::default()).unwrap();
    assert_eq!(sums.charged[1].minor(), 141, "what was not booked is not charged");
    rig.assert_sound();
}

#[test]
fn an_in_doubt_tap_of_an_unknown_card_is_given_up_when_the_card_proves_another_purse() {
    let mut strangers = Cards::in_city(city(), 5, NOON - 1000);
    strangers.set_purse(4, currency("CHF"));
    let proven = strangers.clone();
    for claimed in [None, Some(currency("DKK"))] {
        let mut rig = rig();
        let mut liar = Cards::in_city(city(), 5, NOON - 1000);
        if let Some(claimed) = claimed {
            liar.set_purse(4, claimed);
        }
        let transaction: CardTransaction = liar.boarding(4, NOON, rig.buses[1].id);
        rig.buses[1].log(Some(Cards::id(4)), NOON, TapEvent::InDoubt { transaction });
        deliver(&mut rig, 1);
        assert_eq!(rig.open_kinds(), ["in-doubt"]);
        rig.assert_sound();
        let mut cards = proven.clone();
        rig.buses[0].board(&mut cards, 4, NOON + 60);
        deliver(&mut rig, 0);
        assert_eq!(rig.open_kinds(), ["unknown-card", "contradiction"]);
        let card = Account::Card(Cards::id(4));
        let left = i64::from(OPENING) - 141;
        assert_eq!((on(&rig, "CHF", card), on(&rig, "EUR", card)), (left, 0));
        assert!(!ledgers(&rig).contains_key("DKK"));
        rig.assert_sound();
    }
}

#[test]
fn rec_5_an_order_is_in_the_currency_of_its_card_or_refused_by_name() {
    let mut rig = rig();
    let euros = payment(1, 2_000, "a-1");
    let refused = pay(&rig.place, &euros).unwrap_err();
    assert!(matches!(refused, OrderError::Currency { .. }));
    let said = refused.to_string();
    assert!(said.ends_with("is in CHF, and EUR were paid: pay in CHF"), "{said}");
    let other_way = Payment { purse: Some(currency("CHF")), ..payment(0, 2_000, "a-2") };
    assert!(matches!(pay(&rig.place, &other_way), Err(OrderError::Currency { .. })));

    let paid = pay(&rig.place, &Payment { purse: Some(currency("CHF")), ..euros }).unwrap();
    tick(&rig.place, RULES).unwrap();
    assert_eq!(on_the_list(&rig, 1).unwrap().order.purse, Some(currency("CHF")));
    assert_eq!(on(&rig, "CHF", Account::LoadOrders), 2_000);
    rig.assert_sound();
    let newest = *rig.cards.newest(1);
    let entry = load(&rig, 0, 1, &newest, 5);
    rig.buses[0].log_entry(entry);
    deliver(&mut rig, 0);
    assert_eq!(order(&rig, paid.id).phase, OrderPhase::Loaded);
    for (account, stands) in [
        (Account::LoadOrders, 0),
        (Account::LoadClearing, 0),
        (Account::LoadChannel(ChannelId(7)), -2_000),
        (Account::Card(Cards::id(1)), i64::from(OPENING) + 2_000),
    ] {
        assert_eq!((on(&rig, "CHF", account), on(&rig, "EUR", account)), (stands, 0), "{account}");
    }
    rig.assert_sound();
}

#[test]
fn what_a_rider_in_francs_is_owed_is_owed_and_paid_in_francs() {
    let mut cards = Cards::new(3, NOON - 1000);
    cards.set_purse(1, currency("CHF"));
    let mut rig = Rig::of(town(), cards, |card| card % 2 == 1);
    let mut rider = Rider::new(&rig, 1);
    for day in 0..3 {
        rider.metro(&mut rig, day * DAY_S, 0, Some(1));
    }
    rider.metro(&mut rig, 4 * DAY_S, 0, None);
    // The maximum of 3.00 and a bus for 1.50, at 0.9432.
    assert_eq!(rider.board(&mut rig, 0, 5 * DAY_S), Some(424));
    rig.place.clock.set(Timestamp::from_secs(u64::from(NOON + 6 * DAY_S)));
    deliver(&mut rig, 0);
    // 2.00 to where the rider usually taps out, and 1.50: each by itself.
    let (due, owed) = (Account::RiderDue(Cards::id(1)), 424 - (189 + 141));
    assert_eq!((on(&rig, "CHF", due), on(&rig, "EUR", due)), (owed, 0));
    assert_eq!(on(&rig, "CHF", Account::FareReduction), -owed);
    rig.assert_sound();
    let handle = rig.books().find_card(Cards::id(1)).unwrap().unwrap();
    let told = rig.books().adjustments(handle).unwrap();
    assert_eq!(told[0].owed.to_string(), "0.94 CHF");
    assert_eq!(told[0].why[0].exchanged.len(), 2);

    (0..3).for_each(|_| tick(&rig.place, RULES).unwrap());
    let [adjustment] = rig.place.store.orders_of(Cards::id(1)).unwrap()[..] else {
        panic!("one order");
    };
    assert_eq!((adjustment.amount, adjustment.purse), (94, Some(currency("CHF"))));
    let entry = load(&rig, 1, 1, &rider.newest(), 6 * DAY_S - 900);
    rig.buses[1].log_entry(entry);
    deliver(&mut rig, 1);
    assert_eq!((on(&rig, "CHF", due), on(&rig, "CHF", Account::LoadClearing)), (0, 0));
    rig.assert_sound();
}

#[test]
fn rec_15_the_float_is_reported_in_each_currency_by_itself() {
    let mut rig = rig();
    rig.board(0, 1, 5);
    deliver(&mut rig, 0);
    let reports = crate::float::float(&rig.place, &crate::config::Float::default()).unwrap();
    let held: Vec<_> =
        reports.iter().map(|report| (report.currency.letters(), report.total())).collect();
    let opening = i64::from(OPENING);
    assert_eq!(held, [("EUR", 2 * opening), ("CHF", opening - 141)]);
}
