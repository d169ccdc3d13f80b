//! Passes and rides: what is read, what is taken, what is proven, and what a torn card keeps.

use alloc::{format, string::String};
use core::fmt::Write as _;

use model::{
    CardProduct, CardProducts, CardProof, CardRecord, CardTransaction, Companions, ProductKind,
    ProductLoad, ProductScope, ProductSlot, ProductUse, ProductsFound,
};

use super::virtual_card::Terminal;
use super::{Link, UID, charge, hex, issued_card, keys, run, start};
use crate::apdu::{StatusWord, cmd, span};
use crate::session::CommMode;
use crate::{
    CardFailure, CardFound, CardKeys, CardOutput, CardStep, DebitTransaction, ExchangeError,
    KeyRole, Opening, Settlement, Tmi, VirtualCard, WriteError, issue_proof_holds, layout,
    proof_holds, transaction_proof,
};

const NOW: u32 = 1_795_000_000;
const FARE: u32 = 275;

fn pass() -> CardProduct {
    CardProduct {
        id: 301,
        kind: ProductKind::Pass,
        scope: ProductScope::EVERYTHING,
        serial: 1,
        from_s: NOW,
        until_s: NOW + 30 * 86_400,
    }
}

fn carnet() -> CardProduct {
    CardProduct { id: 20, kind: ProductKind::Rides, serial: 2, from_s: 0, until_s: 0, ..pass() }
}

fn load(rides: u32) -> ProductLoad {
    let slots = match rides {
        0 => [Some(pass()), None],
        _ => [Some(pass()), Some(carnet())],
    };
    ProductLoad::new(CardProducts::new(slots).unwrap(), rides).unwrap()
}

/// A card with 10.00, a pass and, when there are any, rides.
fn card_with(rides: u32) -> VirtualCard {
    let products = Some(load(rides));
    let opening = Opening { balance: 1000, at_s: NOW, products, ..Opening::default() };
    VirtualCard::issue(UID, [1; 16], &keys(), &opening).expect("a blank card can be issued").0
}

fn with_pass() -> ProductUse {
    ProductUse { pass: Some(ProductSlot::First), rides: 0 }
}

fn with_rides(rides: u8) -> ProductUse {
    ProductUse { pass: None, rides }
}

fn using(before: &CardRecord, amount: u32, used: ProductUse) -> CardRecord {
    CardRecord { products: Some(used), ..charge(before, amount) }
}

fn find(card: &mut VirtualCard) -> (DebitTransaction, CardFound) {
    card.power_off();
    let mut machine = start(card);
    let output = run(&mut machine, &mut |a| Ok(card.handle_apdu(a)));
    let CardOutput::Found(found) = output else { panic!("{output:?}") };
    (machine, found)
}

/// A whole tap that uses `used` and charges `amount`; what the depot gets of it.
fn tap(
    card: &mut VirtualCard,
    amount: u32,
    used: ProductUse,
    exchange: &mut dyn FnMut(&[u8], &[u8]),
) -> (Settlement, Option<CardTransaction>) {
    card.power_off();
    let mut machine = start(card);
    let mut link = |apdu: &[u8]| {
        let response = card.handle_apdu(apdu);
        exchange(apdu, &response);
        Ok(response)
    };
    tap_over(&mut machine, amount, used, &mut link)
}

fn tap_over(
    machine: &mut DebitTransaction,
    amount: u32,
    used: ProductUse,
    link: Link<'_>,
) -> (Settlement, Option<CardTransaction>) {
    let mut done = None;
    loop {
        match run(machine, link) {
            CardOutput::Found(CardFound { record, products, counters, .. }) => {
                let after = using(&record, amount, used);
                machine.write(&after).unwrap();
                assert_eq!(counters, None, "a card of layout 1");
                done = Some(CardTransaction {
                    before: record,
                    after,
                    products,
                    loaded: None,
                    counters: None,
                    companions: Companions::NONE,
                    purse: None,
                });
            }
            CardOutput::ReadyToCommit => machine.commit(),
            CardOutput::Settled(settlement) => return (settlement, done),
            CardOutput::NeedKey { .. } | CardOutput::Transmit(_) => unreachable!("run() does it"),
        }
    }
}

fn committed(
    card: &mut VirtualCard,
    amount: u32,
    used: ProductUse,
) -> (CardTransaction, CardProof) {
    match tap(card, amount, used, &mut |_, _| ()) {
        (Settlement::Committed { proof, .. }, Some(transaction)) => (transaction, proof),
        other => panic!("{other:?}"),
    }
}

#[test]
fn products_cost_exchanges_only_on_cards_that_carry_them() {
    let count = |card: &mut VirtualCard, amount, used: Option<ProductUse>| {
        let mut n = 0;
        let mut sizes = |apdu: &[u8], response: &[u8]| {
            assert!(apdu.len() <= 61 && response.len() <= 61, "one radio block each");
            n += 1;
        };
        let settlement = if let Some(used) = used {
            tap(card, amount, used, &mut sizes).0
        } else {
            super::debit(&mut start(card), amount, &mut |apdu| {
                let response = card.handle_apdu(apdu);
                sizes(apdu, &response);
                Ok(response)
            })
        };
        assert!(matches!(settlement, Settlement::Committed { .. }));
        n
    };
    assert_eq!(count(&mut issued_card(), FARE, None), 7, "plain debit");
    assert_eq!(count(&mut card_with(0), 0, Some(with_pass())), 7, "pass");
    assert_eq!(count(&mut card_with(0), FARE, Some(with_rides(0))), 8, "debit beside a pass");
    assert_eq!(count(&mut card_with(10), 0, Some(with_pass())), 8, "pass beside rides");
    assert_eq!(count(&mut card_with(10), 0, Some(with_rides(1))), 9, "ride");
    assert_eq!(count(&mut card_with(10), FARE, Some(with_rides(1))), 10, "ride and debit");
}

#[test]
fn a_ride_is_taken_and_the_next_tap_finds_one_less() {
    let mut card = card_with(10);
    for left in (7..=10).rev() {
        let (_, found) = find(&mut card);
        assert_eq!(
            found.products,
            Some(ProductsFound { file: load(10).file(), rides: Some(left) })
        );
        committed(&mut card, 0, with_rides(1));
    }
    let contents = card.contents().unwrap();
    assert_eq!((contents.balance, contents.products.unwrap().rides), (1000, Some(6)));
    assert_eq!(contents.records.last().unwrap().products, Some(with_rides(1)));
}

#[test]
fn a_pass_takes_neither_value_nor_rides() {
    let mut card = card_with(10);
    committed(&mut card, 0, with_pass());
    let contents = card.contents().unwrap();
    assert_eq!((contents.balance, contents.products.unwrap().rides), (1000, Some(10)));
    assert_eq!(contents.records.last().unwrap().products, Some(with_pass()));
}

#[test]
fn only_what_the_card_carries_is_used() {
    let check = |card: &mut VirtualCard, after: &dyn Fn(&CardRecord) -> CardRecord| {
        let (mut machine, found) = find(card);
        let after = after(&found.record);
        assert_eq!(machine.write(&after), Err(WriteError::ProductsMismatch), "{after:?}");
        assert_eq!(machine.poll(), None, "nothing is sent");
    };
    let second = ProductUse { pass: Some(ProductSlot::Second), rides: 0 };
    check(&mut card_with(1), &|before| using(before, 0, with_rides(2)));
    check(&mut card_with(1), &|before| using(before, 0, second));
    check(&mut card_with(0), &|before| using(before, 0, with_rides(1)));
    check(&mut card_with(0), &|before| using(before, 0, second));
    check(&mut card_with(0), &|before| CardRecord { products: None, ..charge(before, FARE) });
    check(&mut issued_card(), &|before| using(before, 0, with_pass()));
}

#[test]
fn the_proof_holds_for_the_products_found_and_used_and_for_nothing_else() {
    let tmac = keys().tmac_key(&UID).unwrap();
    for (amount, used) in [(0, with_pass()), (0, with_rides(1)), (FARE, with_rides(2))] {
        let (t, proof) = committed(&mut card_with(10), amount, used);
        assert!(proof_holds(&tmac, &UID, &t, proof));
        let found = t.products.unwrap();
        let longer = CardProduct { until_s: pass().until_s + 1, ..pass() };
        let file = CardProducts::new([Some(longer), Some(carnet())]).unwrap();
        for products in [
            None,
            Some(ProductsFound { file, ..found }),
            Some(ProductsFound { rides: Some(11), ..found }),
            Some(ProductsFound { rides: None, ..found }),
        ] {
            assert!(!proof_holds(&tmac, &UID, &CardTransaction { products, ..t }, proof));
        }
        for other in [with_rides(0), with_rides(3)] {
            let after = CardRecord { products: Some(other), ..t.after };
            assert!(!proof_holds(&tmac, &UID, &CardTransaction { after, ..t }, proof));
        }
    }
}

#[test]
fn the_proof_is_over_the_product_commands_really_sent_in_their_order() {
    let (t, proof) = committed(&mut card_with(10), FARE, with_rides(2));
    let mut input = Tmi::new();
    input.step(0xBB, &hex("05 000000 010000"), &t.before.to_bytes().unwrap());
    input.step(0xBD, &hex("03 000000 200000"), &load(10).file().to_bytes());
    input.step(0x6C, &hex("04 0A000000"), &[]);
    input.step(0xDC, &hex("02 13010000"), &[]);
    input.step(0xDC, &hex("04 02000000"), &[]);
    input.step(0x3B, &hex("05 000000 200000"), &t.after.to_bytes().unwrap());
    let tmac = keys().tmac_key(&UID).unwrap();
    assert_eq!(transaction_proof(&tmac, &UID, 2, &input), proof);
}

#[test]
fn the_products_that_a_card_is_issued_with_are_proven() {
    let tmac = keys().tmac_key(&UID).unwrap();
    for rides in [0, 10] {
        let opening = Opening { products: Some(load(rides)), ..Opening::default() };
        let (_, issued) = VirtualCard::issue(UID, [1; 16], &keys(), &opening).unwrap();
        let holds = |load: Option<ProductLoad>| {
            issue_proof_holds(&tmac, &UID, &issued.record, load.as_ref(), issued.proof)
        };
        assert!(holds(Some(load(rides))));
        assert!(!holds(Some(load(rides + 1))) && !holds(None));
    }
}

#[test]
fn no_key_but_the_load_key_makes_products_or_rides() {
    let mut card = card_with(10);
    let mut try_one = |role: KeyRole, no: u8, cmd: u8, data: &[u8]| {
        let mut t = Terminal::new(&mut card);
        t.select(layout::AID).unwrap();
        t.login(no, &keys().current_key(role, &UID).unwrap().key);
        t.mac(cmd, data)
    };
    let write = [&span(layout::FILE_PRODUCTS, 0, 1)[..], &[9]].concat();
    let one = [&[layout::FILE_RIDES][..], &1_u32.to_le_bytes()].concat();
    let read = span(layout::FILE_PRODUCTS, 0, 32);
    let denied = Err(StatusWord::AUTHENTICATION);
    for (command, data) in [
        (cmd::WRITE_DATA, &write[..]),
        (cmd::WRITE_DATA_ISO, &write),
        (cmd::CREDIT, &one),
        (cmd::LIMITED_CREDIT, &one),
        (cmd::DELETE_FILE, &[layout::FILE_PRODUCTS]),
    ] {
        let got = try_one(KeyRole::Debit, layout::KEY_DEBIT, command, data);
        assert_eq!(got, denied, "debit key, command {command:02x}");
    }
    for (command, data) in
        [(cmd::READ_DATA, &read[..]), (cmd::GET_VALUE, &[layout::FILE_RIDES]), (cmd::DEBIT, &one)]
    {
        assert!(try_one(KeyRole::Debit, layout::KEY_DEBIT, command, data).is_ok());
    }
    for (command, data) in
        [(cmd::READ_DATA, &read[..]), (cmd::WRITE_DATA, &write), (cmd::CREDIT, &one)]
    {
        assert!(try_one(KeyRole::Load, layout::KEY_LOAD, command, data).is_ok());
    }
    for (role, no) in [(KeyRole::Debit, layout::KEY_DEBIT), (KeyRole::Load, layout::KEY_LOAD)] {
        let mut t = Terminal::new(&mut card);
        t.select(layout::AID).unwrap();
        t.login(no, &keys().current_key(role, &UID).unwrap().key);
        let free = hex("01 EE EE");
        for file in [layout::FILE_PRODUCTS, layout::FILE_RIDES] {
            let got = t.call(CommMode::Full, cmd::CHANGE_FILE_SETTINGS, &[file], &free);
            assert_eq!(got, denied, "{role:?}");
            t.select(layout::AID).unwrap();
            t.login(no, &keys().current_key(role, &UID).unwrap().key);
        }
    }
}

#[test]
fn a_card_that_says_it_carries_products_and_has_no_file_for_them_is_refused_by_name() {
    let mut card = card_with(0);
    let mut machine = start(&card);
    let mut n = 0;
    let output = run(&mut machine, &mut |apdu| {
        n += 1;
        if n == 5 { Ok(hex("91F0")) } else { Ok(card.handle_apdu(apdu)) }
    });
    let failure =
        CardFailure::Refused { step: CardStep::ReadProducts, status: StatusWord::NO_SUCH_FILE };
    assert_eq!(failure.refusal(), model::Refusal::CardDataInvalid);
    assert_eq!(output, CardOutput::Settled(Settlement::Refused(failure)));
}

/// Cuts tap after tap at every exchange and at every byte of every answer, presents the card
/// again, and looks at what one ride took.
fn torn_everywhere(amount: u32, used: ProductUse, exchanges: usize) {
    let value = i32::try_from(amount).unwrap();
    for n in 0..exchanges {
        let mut length = 0;
        let mut at = 0;
        tap(&mut card_with(10), amount, used, &mut |_, response| {
            length = if at == n { response.len() } else { length };
            at += 1;
        });
        // `None`: the command never arrives.
        for bytes in core::iter::once(None).chain((0..length).map(Some)) {
            let mut card = card_with(10);
            let mut machine = start(&card);
            let mut at = 0;
            let (first, _) = tap_over(&mut machine, amount, used, &mut |apdu| {
                at += 1;
                if at - 1 < n {
                    return Ok(card.handle_apdu(apdu));
                }
                let Some(bytes) = bytes.filter(|_| at - 1 == n) else {
                    return Err(ExchangeError::Absent);
                };
                Ok(card.handle_apdu(apdu)[..bytes].to_vec())
            });
            let last = n + 1 == exchanges;
            assert_eq!(first == Settlement::InDoubt, last, "exchange {n}, {bytes:?}: {first:?}");
            let before = card_with(10).contents().unwrap().records[0];
            let intent = using(&before, amount, used);
            let (mut machine, found) = find(&mut card);
            let happened = found.record == intent;
            assert_eq!(happened, last && bytes.is_some(), "exchange {n}, {bytes:?}");
            if happened {
                machine.read_proof();
                let output = run(&mut machine, &mut |a| Ok(card.handle_apdu(a)));
                let CardOutput::Settled(Settlement::ProofRead { proof, .. }) = output else {
                    panic!("{output:?}");
                };
                let products = Some(ProductsFound { file: load(10).file(), rides: Some(10) });
                let transaction = CardTransaction {
                    before,
                    after: intent,
                    products,
                    loaded: None,
                    counters: None,
                    companions: Companions::NONE,
                    purse: None,
                };
                let tmac = keys().tmac_key(&UID).unwrap();
                assert!(proof_holds(&tmac, &UID, &transaction, proof));
            } else {
                assert_eq!(found.record, before);
                committed(&mut card, amount, used);
            }
            let contents = card.contents().unwrap();
            let rides = contents.products.unwrap().rides;
            assert_eq!(rides, Some(10 - u32::from(used.rides)), "exchange {n}, {bytes:?}");
            assert_eq!((contents.balance, contents.records.len()), (1000 - value, 2));
        }
    }
}

#[test]
fn a_card_pulled_away_anywhere_in_a_pass_use_is_read_once() {
    torn_everywhere(0, with_pass(), 8);
}

#[test]
fn a_card_pulled_away_anywhere_in_a_ride_use_loses_one_ride() {
    torn_everywhere(0, with_rides(1), 9);
}

#[test]
fn value_rides_and_record_move_together_wherever_the_card_is_pulled_away() {
    torn_everywhere(FARE, with_rides(2), 10);
}

/// Issue with products, pass use and ride use as they are: a change of any byte shows.
#[test]
fn issue_with_products_and_their_use_never_change() {
    let mut text = String::from(
        "# Layout 1: a blank card is issued with 10.00, a pass and 10 rides; one tap with the \
         pass,\n\
         # one with a ride. Keys: all masters from root 16 x 5A. Files are added, never edited.\n",
    );
    let mut say = |apdu: &[u8], response: &[u8]| {
        for (who, bytes) in [('C', apdu), ('R', response)] {
            let digits = bytes.iter().fold(String::new(), |s, b| format!("{s}{b:02X}"));
            let _ = writeln!(text, "{who} {digits}");
        }
    };
    let mut card = VirtualCard::blank(UID, [1; 16]);
    let products = Some(load(10));
    let opening = Opening { balance: 1000, at_s: NOW, products, ..Opening::default() };
    let rnd_a = [[0x21; 16], [0x22; 16], [0x23; 16]];
    let mut issue = crate::IssueTransaction::new(UID, &keys(), &opening, rnd_a).unwrap();
    while let Some(CardOutput::Transmit(apdu)) = issue.poll() {
        let response = card.handle_apdu(&apdu);
        say(&apdu, &response);
        issue.handle_response(Ok(&response));
    }
    assert_eq!(card.contents().unwrap().records.len(), 1);
    for used in [with_pass(), with_rides(1)] {
        let (settlement, _) = tap(&mut card, 0, used, &mut say);
        assert!(matches!(settlement, Settlement::Committed { .. }));
    }
    expect_test::expect_file!["../../../../tests/vectors/card/layout1-products.hex"]
        .assert_eq(&text);
}
