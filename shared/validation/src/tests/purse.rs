//! A card whose purse is in another currency, at the machine: what is refused, what is loaded, what
//! the rider is told (ADR-0019).

use card::{CardKeys, KeyRole, Opening, SealedOrder, VirtualCard};
use model::{
    CardId, CardLayout, Currency, LoadOrder, LoadSeq, Money, OrderId, Refusal, TapEvent, TapRole,
};

use super::{Bench, NEVER, START, card, context, keys};
use crate::Verdict;

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
        let named =
            loaded.is_none_or(|amount| amount.currency() == ordered.unwrap_or(currency("EUR")));
        assert!(named, "the rider is told in the purse's currency: {loaded:?}");
    }
}
