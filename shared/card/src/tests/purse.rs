//! A purse in another currency than the tariff's: what is read, what is proven, what a torn card
//! keeps, and what a debit key cannot do to it (ADR-0019).

use alloc::{format, string::String, vec::Vec};
use core::fmt::Write as _;

use model::{CardLayout, CardRecord, CardTransaction, Companions, Currency};
use proptest::prelude::*;

use super::counters::{
    Deed, FARE, NOW, counted, find, issue, issued, opening, paying, quietly, tap, ten_rides,
    torn_everywhere,
};
use super::virtual_card::Terminal;
use super::{
    Link, UID, charge, debit, hex, issued_card, keys, run, start, start_load, start_retire,
    transact,
};
use crate::apdu::{StatusWord, cmd, span};
use crate::session::CommMode;
use crate::{
    CardFailure, CardKeys, CardOutput, CardStep, Duty, IssueError, IssueTransaction, KeyRole,
    Opening, Settlement, Tmi, ValueTransaction, VirtualCard, WriteError, issue_proof_holds, layout,
    load_record, proof_holds, retire_record, transaction_proof,
};

fn in_currency(letters: [u8; 3]) -> Opening {
    Opening { currency: letters, layout: CardLayout::OtherCurrency, ..opening(None) }
}

fn francs() -> Option<Currency> {
    Currency::parse("CHF").ok()
}

/// A card with 10.00 CHF.
fn card() -> VirtualCard {
    issued(&in_currency(*b"CHF"))
}

/// The same with ten rides.
fn card_with_rides() -> VirtualCard {
    issued(&Opening { products: Some(ten_rides()), ..in_currency(*b"CHF") })
}

/// Logged in with this key.
fn terminal(card: &mut VirtualCard, role: KeyRole, no: u8) -> Terminal<'_> {
    let mut t = Terminal::new(card);
    t.select(layout::AID).unwrap();
    t.login(no, &keys().current_key(role, &UID).unwrap().key);
    t
}

/// Writes into the profile what no station ever writes.
fn rename(card: &mut VirtualCard, letters: [u8; 3]) {
    let write = [&layout::purse_span()[..], &letters].concat();
    terminal(card, KeyRole::Issuer, layout::KEY_ISSUER).mac(cmd::WRITE_DATA, &write).unwrap();
    card.power_off();
}

#[test]
fn the_currency_costs_one_exchange_and_only_on_a_card_that_has_another() {
    let count = |card: &mut VirtualCard| {
        let mut n = 0;
        let settlement = debit(&mut start(card), FARE, &mut |apdu| {
            n += 1;
            let response = card.handle_apdu(apdu);
            assert!(apdu.len() <= 61 && response.len() <= 61, "one radio block each");
            Ok(response)
        });
        assert!(matches!(settlement, Settlement::Committed { .. }));
        n
    };
    assert_eq!(count(&mut issued_card()), 7, "layout 1");
    assert_eq!(count(&mut issued(&opening(None))), 7, "layout 2");
    assert_eq!(count(&mut card()), 8, "layout 3");
    let counting = |card: &mut VirtualCard, deed| {
        let mut n = 0;
        tap(card, deed, &mut |_, _| n += 1);
        n
    };
    assert_eq!(counting(&mut card(), paying(Some(counted(FARE)))), 10, "and counters");
    let all = Deed { rides: 2, ..paying(Some(counted(FARE))) };
    assert_eq!(counting(&mut card_with_rides(), all), 13, "and rides");
}

#[test]
fn every_record_of_a_card_keeps_its_layout_and_every_tap_says_its_currency() {
    let mut card = card_with_rides();
    for deed in [paying(None), Deed { rides: 1, ..paying(Some(counted(1))) }] {
        let (transaction, _) = quietly(&mut card, deed);
        assert_eq!(transaction.purse, francs());
        assert_eq!(transaction.after.layout, CardLayout::OtherCurrency);
    }
    assert_eq!(find(&mut card).1.purse, francs());
    for other in [issued_card(), issued(&opening(None))] {
        assert_eq!(find(&mut other.clone()).1.purse, None, "its profile is not asked");
    }
    let (mut machine, found) = find(&mut card);
    for layout in [CardLayout::Plain, CardLayout::Counters] {
        let after = CardRecord { layout, ..charge(&found.record, 0) };
        assert_eq!(machine.write(&after), Err(WriteError::CountersMismatch));
    }
}

#[test]
fn letters_that_are_no_currency_refuse_the_card_by_name_and_nothing_more_is_sent() {
    for letters in [*b"QQQ", *b"chf", [0; 3], [0xFF; 3], *b"XTS"] {
        let mut card = card_with_rides();
        rename(&mut card, letters);
        let before = card.clone();
        let mut n = 0;
        let mut machine = start(&card).wanting_counters(true);
        let output = run(&mut machine, &mut |apdu| {
            n += 1;
            Ok(card.handle_apdu(apdu))
        });
        let failure = CardFailure::Purse(letters);
        assert_eq!(output, CardOutput::Settled(Settlement::Refused(failure.clone())));
        assert_eq!((n, machine.poll()), (5, None), "the read of the profile is the last");
        let said = (failure.refusal(), failure.word());
        assert_eq!(said, (model::Refusal::CardDataInvalid, "purse-invalid"));
        card.power_off();
        assert!(card.same_contents(&before));
    }
    let said = format!("{}", CardFailure::Purse([b'C', 0, 0xE9]));
    assert_eq!(said, r"the card's profile names no currency of its purse: C\x00\xe9");
}

#[test]
fn a_purse_that_no_reader_could_name_is_not_issued() {
    let opening = in_currency(*b"QQQ");
    let refused = VirtualCard::issue(UID, [1; 16], &keys(), &opening).map(|_| ());
    assert_eq!(refused, Err(IssueError::Purse(*b"QQQ")));
}

#[test]
fn the_proof_holds_for_the_currency_on_the_card_and_for_no_other() {
    let tmac = keys().tmac_key(&UID).unwrap();
    let mut card = card();
    let (t, proof) = quietly(&mut card, paying(None));
    assert!(proof_holds(&tmac, &UID, &t, proof));
    for other in [None, Currency::parse("EUR").ok(), Currency::parse("KRW").ok()] {
        assert!(!proof_holds(&tmac, &UID, &CardTransaction { purse: other, ..t }, proof));
    }
    let (plain, proof) = quietly(&mut issued(&opening(None)), paying(None));
    assert!(proof_holds(&tmac, &UID, &plain, proof));
    let named = CardTransaction { purse: Currency::parse("EUR").ok(), ..plain };
    assert!(!proof_holds(&tmac, &UID, &named, proof), "a currency that nobody read");
}

/// A reader in a thief's hand leaves the profile unread. The card commits and proves that; the
/// depot takes it for no proof of any currency, nor of the tariff's.
#[test]
fn a_transaction_that_left_out_the_currency_is_proven_in_none() {
    let tmac = keys().tmac_key(&UID).unwrap();
    let mut card = card();
    let before = card.contents().unwrap().records[0];
    let after = charge(&before, FARE);
    let mut t = terminal(&mut card, KeyRole::Debit, layout::KEY_DEBIT);
    t.mac(cmd::READ_RECORDS, &span(layout::FILE_LOG, 0, 1)).unwrap();
    let amount = FARE.to_le_bytes();
    t.mac(cmd::DEBIT, &[&[layout::FILE_VALUE_OTHER][..], &amount].concat()).unwrap();
    let record = after.to_bytes().unwrap();
    let header = span(layout::FILE_LOG, 0, layout::RECORD_LEN);
    t.call(CommMode::Mac, cmd::WRITE_RECORD, &header, &record).unwrap();
    let answer = t.mac(cmd::COMMIT_TRANSACTION, &[1]).unwrap();
    let proof = model::CardProof(answer[4..].try_into().unwrap());
    for purse in [None, francs(), Currency::parse("EUR").ok()] {
        let transaction = CardTransaction {
            before,
            after,
            products: None,
            loaded: None,
            counters: None,
            companions: Companions::NONE,
            purse,
        };
        assert!(!proof_holds(&tmac, &UID, &transaction, proof), "{purse:?}");
    }
}

#[test]
fn the_proof_is_over_the_read_of_the_currency_right_behind_the_record() {
    let mut card = card_with_rides();
    let (t, proof) = quietly(&mut card, Deed { rides: 2, ..paying(Some(counted(FARE))) });
    let mut input = Tmi::new();
    input.step(0xBB, &hex("05 000000 010000"), &t.before.to_bytes().unwrap());
    input.step(0xBD, &hex("01 040000 030000"), b"CHF");
    input.step(0xBD, &hex("03 000000 200000"), &t.products.unwrap().file.to_bytes());
    input.step(0x6C, &hex("04 0A000000"), &[]);
    input.step(0xBD, &hex("06 000000 200000"), &[0; 32]);
    input.step(0xDC, &hex("07 13010000"), &[]);
    input.step(0xDC, &hex("04 02000000"), &[]);
    input.step(0x3D, &hex("06 000000 200000"), &counted(FARE).to_bytes());
    input.step(0x3B, &hex("05 000000 200000"), &t.after.to_bytes().unwrap());
    let tmac = keys().tmac_key(&UID).unwrap();
    assert_eq!(transaction_proof(&tmac, &UID, 2, &input), proof);
}

/// 10.00 CHF must not become 10.00 EUR by a record that a debit key can write, nor the reverse:
/// the value of each is in a file that readers of the other do not touch.
#[test]
fn a_record_that_claims_another_layout_makes_no_value_of_another_currency() {
    for (mut card, claims) in [
        (card(), CardLayout::Counters),
        (card(), CardLayout::Plain),
        (issued(&opening(None)), CardLayout::OtherCurrency),
        (issued_card(), CardLayout::OtherCurrency),
    ] {
        let before = card.contents().unwrap().records[0];
        let forged = CardRecord { layout: claims, ..charge(&before, 0) };
        let mut t = terminal(&mut card, KeyRole::Debit, layout::KEY_DEBIT);
        let header = span(layout::FILE_LOG, 0, layout::RECORD_LEN);
        let record = forged.to_bytes().unwrap();
        t.call(CommMode::Mac, cmd::WRITE_RECORD, &header, &record).unwrap();
        t.mac(cmd::COMMIT_TRANSACTION, &[1]).unwrap();
        card.power_off();
        let settlement = debit(&mut start(&card), FARE, &mut |a| Ok(card.handle_apdu(a)));
        let refused =
            CardFailure::Refused { step: CardStep::Value, status: StatusWord::NO_SUCH_FILE };
        assert_eq!(settlement, Settlement::Refused(refused), "{claims:?}");
        assert_eq!(card.contents().unwrap().balance, 1000, "{claims:?}");
    }
}

#[test]
fn the_debit_key_reads_the_currency_and_the_load_key_too_and_only_who_can_credit_may_write_it() {
    let mut card = card();
    let write = [&layout::purse_span()[..], b"EUR"].concat();
    for (role, no, may) in [
        (KeyRole::Debit, layout::KEY_DEBIT, false),
        (KeyRole::Load, layout::KEY_LOAD, true),
        (KeyRole::Issuer, layout::KEY_ISSUER, true),
    ] {
        let mut t = terminal(&mut card, role, no);
        if role != KeyRole::Issuer {
            assert_eq!(t.mac(cmd::READ_DATA, &layout::purse_span()).unwrap(), b"CHF", "{role:?}");
        }
        assert_eq!(t.mac(cmd::WRITE_DATA, &write).is_ok(), may, "{role:?}");
        card.power_off();
        rename(&mut card, *b"CHF");
    }
    // Whoever wrote it: what the next tap proves is what the card then said.
    rename(&mut card, *b"EUR");
    let (t, _) = quietly(&mut card, paying(None));
    assert_eq!(t.purse, Currency::parse("EUR").ok());
}

/// A whole load or retirement of the card over `link`, and what the depot gets of it.
fn desk_over<D: Duty>(
    machine: &mut ValueTransaction<D>,
    after: &dyn Fn(&CardRecord) -> CardRecord,
    link: Link<'_>,
) -> (Settlement, Option<CardTransaction>) {
    let mut done = None;
    loop {
        match run(machine, link) {
            CardOutput::Found(found) => {
                let before = found.record;
                let after = after(&before);
                machine.write(&after).unwrap();
                done = Some(CardTransaction {
                    before,
                    after,
                    products: found.products,
                    loaded: None,
                    counters: None,
                    companions: Companions::NONE,
                    purse: found.purse,
                });
            }
            CardOutput::ReadyToCommit => machine.commit(),
            CardOutput::Settled(settlement) => return (settlement, done),
            CardOutput::NeedKey { .. } | CardOutput::Transmit(_) => unreachable!("run() does it"),
        }
    }
}

/// Cuts it at every exchange and every byte of every answer and does it again.
fn torn_desk<D: Duty>(
    start: fn(&VirtualCard) -> ValueTransaction<D>,
    after: fn(&CardRecord) -> CardRecord,
    left: i32,
) {
    let tmac = keys().tmac_key(&UID).unwrap();
    let mut lengths = Vec::new();
    let mut whole = card();
    let (settlement, done) = desk_over(&mut start(&whole), &after, &mut |apdu| {
        let response = whole.handle_apdu(apdu);
        lengths.push(response.len());
        Ok(response)
    });
    let (Settlement::Committed { proof, .. }, Some(done)) = (&settlement, done) else {
        panic!("{settlement:?}");
    };
    assert_eq!((lengths.len(), done.purse), (8, francs()));
    assert!(proof_holds(&tmac, &UID, &done, *proof));
    let wrong = CardTransaction { purse: Currency::parse("EUR").ok(), ..done };
    assert!(!proof_holds(&tmac, &UID, &wrong, *proof));
    for (n, length) in lengths.iter().enumerate() {
        for bytes in core::iter::once(None).chain((0..*length).map(Some)) {
            let why = format!("exchange {n}, {bytes:?}");
            let mut card = card();
            let mut at = 0;
            let (first, _) = desk_over(&mut start(&card), &after, &mut |apdu| {
                at += 1;
                match bytes.filter(|_| at - 1 == n) {
                    _ if at - 1 < n => Ok(card.handle_apdu(apdu)),
                    Some(bytes) => Ok(card.handle_apdu(apdu)[..bytes].to_vec()),
                    None => Err(crate::ExchangeError::Absent),
                }
            });
            card.power_off();
            let happened = n == 7 && bytes.is_some();
            assert_eq!(first == Settlement::InDoubt, n == 7, "{why}: {first:?}");
            assert_eq!(find(&mut card).1.record == done.after, happened, "{why}");
            card.power_off();
            if !happened {
                desk_over(&mut start(&card), &after, &mut |a| Ok(card.handle_apdu(a)));
            }
            let contents = card.contents().unwrap();
            assert_eq!((contents.balance, contents.records.len()), (left, 2), "{why}");
        }
    }
}

#[test]
fn a_load_torn_at_any_byte_of_any_answer_loads_once_in_the_currency_of_the_purse() {
    torn_desk(start_load, |before| load_record(before, 500, NOW).unwrap(), 1500);
}

#[test]
fn a_retirement_torn_at_any_byte_of_any_answer_takes_the_value_once_in_its_currency() {
    torn_desk(start_retire, |before| retire_record(before, NOW).unwrap(), 0);
}

#[test]
fn a_card_pulled_away_anywhere_in_a_ride_in_another_currency_is_charged_once() {
    torn_everywhere(&card, paying(None), 9);
    torn_everywhere(&card, paying(Some(counted(FARE))), 10);
    torn_everywhere(&card, Deed { amount: 0, ..paying(None) }, 8);
    let all = Deed { rides: 2, ..paying(Some(counted(FARE))) };
    torn_everywhere(&card_with_rides, all, 13);
}

#[test]
fn an_issue_torn_at_any_byte_ends_in_whichever_currency_is_asked_for_next() {
    let tmac = keys().tmac_key(&UID).unwrap();
    let openings = [in_currency(*b"CHF"), in_currency(*b"KRW"), opening(None)];
    let (_, lengths) = issue(&mut VirtualCard::blank(UID, [1; 16]), &openings[0], None);
    assert_eq!(lengths.len(), 21, "as many as with counters alone");
    for (begun, next) in [(0, 0), (0, 1), (0, 2), (2, 0)] {
        let (begun, next) = (openings[begun], openings[next]);
        for (n, length) in lengths.iter().enumerate() {
            for bytes in 0..*length {
                let why = format!("exchange {n}, {bytes} bytes");
                let mut card = VirtualCard::blank(UID, [1; 16]);
                let (first, _) = issue(&mut card, &begun, Some((n, bytes)));
                let (settlement, _) = issue(&mut card, &next, None);
                let opened = if settlement == Settlement::Refused(CardFailure::AlreadyIssued) {
                    assert_eq!(first, Settlement::InDoubt, "{why}");
                    begun
                } else {
                    let Settlement::Committed { proof, .. } = settlement else {
                        panic!("{why}: {settlement:?}");
                    };
                    assert!(issue_proof_holds(&tmac, &UID, &next.record(), None, proof), "{why}");
                    next
                };
                let said = Currency::parse(core::str::from_utf8(&opened.currency).unwrap());
                let other = opened.layout.profile_names_currency();
                let (machine, found) = find(&mut card);
                assert_eq!((found.record, machine.uid()), (opened.record(), UID), "{why}");
                assert_eq!(found.purse, said.ok().filter(|_| other), "{why}");
                card.power_off();
                quietly(&mut card, paying(None));
                assert_eq!(card.contents().unwrap().balance, 725, "{why}");
            }
        }
    }
}

proptest! {
    /// Whatever three bytes stand there: a currency of the table, or the card is refused.
    #[test]
    fn any_three_bytes_are_a_currency_or_a_refusal(
        letters in prop_oneof![any::<[u8; 3]>(), prop::array::uniform3(b'A'..=b'Z')],
    ) {
        let mut card = card();
        rename(&mut card, letters);
        let known = core::str::from_utf8(&letters).ok().and_then(|s| Currency::parse(s).ok());
        let mut machine = start(&card);
        match (run(&mut machine, &mut |a| Ok(card.handle_apdu(a))), known) {
            (CardOutput::Found(found), Some(known)) => prop_assert_eq!(found.purse, Some(known)),
            (CardOutput::Settled(Settlement::Refused(CardFailure::Purse(said))), None) => {
                prop_assert_eq!(said, letters);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    /// Any series of taps, loads and cuts: value file, newest record and counter move together.
    #[test]
    fn value_record_and_counter_of_another_currency_always_agree(
        deeds in prop::collection::vec((any::<bool>(), 1_u32..400, 0_usize..10), 1..30),
    ) {
        let mut card = card();
        for (loads, amount, cut) in deeds {
            let mut n = 0;
            let mut cutting = |apdu: &[u8]| {
                n += 1;
                if n > cut { Err(crate::ExchangeError::Absent) } else { Ok(card.handle_apdu(apdu)) }
            };
            let uid = UID;
            let before_key = keys().debit_key(&uid).unwrap();
            let _ = if loads {
                let key = keys().current_key(KeyRole::Load, &uid).unwrap();
                let mut machine = crate::LoadTransaction::new(uid, key, [0x12; 16]);
                let load = |before: &CardRecord| load_record(before, amount, NOW).unwrap();
                transact(&mut machine, &load, &mut cutting)
            } else {
                let mut machine = crate::DebitTransaction::new(uid, before_key, [0x11; 16]);
                let ride = |before: &CardRecord| CardRecord {
                    load_seq: before.load_seq,
                    ..charge(before, amount)
                };
                transact(&mut machine, &ride, &mut cutting)
            };
            card.power_off();
            let contents = card.contents().unwrap();
            let newest = contents.records.last().unwrap();
            prop_assert_eq!(newest.balance, contents.balance);
            prop_assert_eq!(newest.ctr, contents.ctr);
            prop_assert_eq!(newest.layout, CardLayout::OtherCurrency);
        }
    }
}

/// Issue in another currency, a plain ride, one that counts, a load: a change of any byte shows.
#[test]
fn issue_in_another_currency_and_its_use_never_change() {
    let mut text = String::from(
        "# Layout 3: a blank card is issued with 10.00 CHF and the counters file; one plain tap, \
         one tap\n\
         # that counts, one load. Keys: all masters from root 16 x 5A. Files are added, never \
         edited.\n",
    );
    let mut say = |apdu: &[u8], response: &[u8]| {
        for (who, bytes) in [('C', apdu), ('R', response)] {
            let digits = bytes.iter().fold(String::new(), |s, b| format!("{s}{b:02X}"));
            let _ = writeln!(text, "{who} {digits}");
        }
    };
    let mut card = VirtualCard::blank(UID, [1; 16]);
    let rnd_a = [[0x21; 16], [0x22; 16], [0x23; 16]];
    let mut issue = IssueTransaction::new(UID, &keys(), &in_currency(*b"CHF"), rnd_a).unwrap();
    while let Some(CardOutput::Transmit(apdu)) = issue.poll() {
        let response = card.handle_apdu(&apdu);
        say(&apdu, &response);
        issue.handle_response(Ok(&response));
    }
    let mut talk = |apdu: &[u8]| {
        let response = card.handle_apdu(apdu);
        say(apdu, &response);
        Ok(response)
    };
    let key = || keys().debit_key(&UID).unwrap();
    let mut plain = crate::DebitTransaction::new(UID, key(), [0x11; 16]);
    debit(&mut plain, FARE, &mut talk);
    let mut counts = crate::DebitTransaction::new(UID, key(), [0x11; 16]).wanting_counters(true);
    let CardOutput::Found(found) = run(&mut counts, &mut talk) else { panic!() };
    counts.write_counting(&charge(&found.record, FARE), Some(counted(FARE))).unwrap();
    assert_eq!(run(&mut counts, &mut talk), CardOutput::ReadyToCommit);
    counts.commit();
    run(&mut counts, &mut talk);
    let load = keys().current_key(KeyRole::Load, &UID).unwrap();
    let mut load = crate::LoadTransaction::new(UID, load, [0x12; 16]);
    transact(&mut load, &|before| load_record(before, 500, NOW).unwrap(), &mut talk);
    let contents = card.contents().unwrap();
    assert_eq!((contents.balance, contents.records.len()), (1000 - 275 - 275 + 500, 4));
    expect_test::expect_file!["../../../../tests/vectors/card/layout3-purse.hex"].assert_eq(&text);
}
