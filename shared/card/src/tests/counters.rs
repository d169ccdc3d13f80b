//! Counters of fare caps: what is read, what is written, what is proven, and what a torn card
//! keeps (ADR-0013).

use alloc::{format, string::String, vec::Vec};
use core::fmt::Write as _;

use model::{
    CardCounters, CardLayout, CardProduct, CardProducts, CardProof, CardRecord, CardTransaction,
    Companions, Counter, CounterError, CounterUse, ProductKind, ProductLoad, ProductScope,
    ProductUse,
};

use super::virtual_card::Terminal;
use super::{
    Link, UID, charge, debit, hex, issued_card, keys, run, start, start_load, start_retire,
    transact,
};
use crate::apdu::{StatusWord, cmd, span};
use crate::session::CommMode;
use crate::{
    CardFailure, CardFound, CardKeys, CardOutput, CardStep, DebitTransaction, ExchangeError,
    IssueTransaction, KeyRole, Opening, Settlement, Tmi, VirtualCard, WriteError,
    issue_proof_holds, layout, load_record, proof_holds, retire_record, transaction_proof,
};

pub(super) const NOW: u32 = 1_795_000_000;
pub(super) const FARE: u32 = 275;

pub(super) const fn opening(products: Option<ProductLoad>) -> Opening {
    Opening {
        issuer: 1,
        currency: *b"EUR",
        class: model::RiderClass(0),
        valid_until: model::ValidUntil::Always,
        balance: 1000,
        negative_limit: 0,
        deposit: 0,
        at_s: NOW,
        tariff: model::TariffVersion(0),
        products,
        layout: CardLayout::Counters,
    }
}

pub(super) fn issued(opening: &Opening) -> VirtualCard {
    VirtualCard::issue(UID, [1; 16], &keys(), opening).expect("a blank card can be issued").0
}

/// A card of layout 2 with 10.00.
fn card() -> VirtualCard {
    issued(&opening(None))
}

/// The same with ten rides.
fn card_with_rides() -> VirtualCard {
    issued(&opening(Some(ten_rides())))
}

pub(super) fn ten_rides() -> ProductLoad {
    let carnet = CardProduct {
        id: 20,
        kind: ProductKind::Rides,
        scope: ProductScope::EVERYTHING,
        serial: 1,
        from_s: 0,
        until_s: 0,
    };
    let file = CardProducts::new([Some(carnet), None]).unwrap();
    ProductLoad::new(file, 10).unwrap()
}

pub(super) fn counted(minor: u32) -> CardCounters {
    let day = Counter { cap: 1, level: 2, start: 2519, counted: minor };
    let week = Counter { cap: 9, level: 0, start: 2513, counted: 2 * minor };
    CardCounters([Some(day), None, Some(week), None])
}

fn wanting(card: &VirtualCard) -> DebitTransaction {
    start(card).wanting_counters(true)
}

pub(super) fn find(card: &mut VirtualCard) -> (DebitTransaction, CardFound) {
    card.power_off();
    let mut machine = wanting(card);
    let output = run(&mut machine, &mut |a| Ok(card.handle_apdu(a)));
    let CardOutput::Found(found) = output else { panic!("{output:?}") };
    (machine, found)
}

/// What one tap does: charges, takes rides, and leaves these counters where it is to write them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deed {
    pub(super) amount: u32,
    pub(super) rides: u8,
    pub(super) written: Option<CardCounters>,
}

impl Deed {
    fn after(&self, before: &CardRecord) -> CardRecord {
        let used = ProductUse { pass: None, rides: self.rides };
        CardRecord { products: before.products.map(|_| used), ..charge(before, self.amount) }
    }
}

/// A whole tap over `link`; what the depot gets of it.
fn tap_over(
    machine: &mut DebitTransaction,
    deed: Deed,
    link: Link<'_>,
) -> (Settlement, Option<CardTransaction>) {
    let mut done = None;
    loop {
        match run(machine, link) {
            CardOutput::Found(CardFound { record: before, purse, products, counters }) => {
                let after = deed.after(&before);
                machine.write_counting(&after, deed.written).unwrap();
                let counters = counters.map(|found| CounterUse { found, written: deed.written });
                done = Some(CardTransaction {
                    before,
                    after,
                    products,
                    loaded: None,
                    counters,
                    companions: Companions::NONE,
                    purse,
                });
            }
            CardOutput::ReadyToCommit => machine.commit(),
            CardOutput::Settled(settlement) => return (settlement, done),
            CardOutput::NeedKey { .. } | CardOutput::Transmit(_) => unreachable!("run() does it"),
        }
    }
}

/// The same on a card in the field; answers the lengths of its answers, too.
pub(super) fn tap(
    card: &mut VirtualCard,
    deed: Deed,
    exchange: &mut dyn FnMut(&[u8], &[u8]),
) -> (CardTransaction, CardProof) {
    card.power_off();
    let mut machine = wanting(card);
    let mut link = |apdu: &[u8]| {
        let response = card.handle_apdu(apdu);
        exchange(apdu, &response);
        Ok(response)
    };
    match tap_over(&mut machine, deed, &mut link) {
        (Settlement::Committed { proof, .. }, Some(transaction)) => (transaction, proof),
        other => panic!("{other:?}"),
    }
}

pub(super) fn quietly(card: &mut VirtualCard, deed: Deed) -> (CardTransaction, CardProof) {
    tap(card, deed, &mut |_, _| ())
}

pub(super) const fn paying(written: Option<CardCounters>) -> Deed {
    Deed { amount: FARE, rides: 0, written }
}

#[test]
fn counters_cost_exchanges_only_where_they_are_there_and_wanted() {
    let count = |card: &mut VirtualCard, deed| {
        let mut n = 0;
        tap(card, deed, &mut |apdu, response| {
            assert!(apdu.len() <= 61 && response.len() <= 61, "one radio block each");
            n += 1;
        });
        n
    };
    let mut n = 0;
    let mut unwanted = card();
    let settlement = debit(&mut start(&unwanted), FARE, &mut |apdu| {
        n += 1;
        Ok(unwanted.handle_apdu(apdu))
    });
    assert!(matches!(settlement, Settlement::Committed { .. }));
    assert_eq!(n, 7, "plain debit of a card with counters, where nobody wants them");
    assert_eq!(count(&mut issued_card(), paying(None)), 7, "wanted, on a card without");
    assert_eq!(count(&mut card(), paying(None)), 8, "read");
    assert_eq!(count(&mut card(), paying(Some(counted(FARE)))), 9, "read and written");
    let free = Deed { amount: 0, ..paying(Some(counted(0))) };
    assert_eq!(count(&mut card(), free), 8, "a ride above the cap is free");
    let all = Deed { rides: 2, ..paying(Some(counted(FARE))) };
    assert_eq!(count(&mut card_with_rides(), all), 12, "value, rides and counters");
}

#[test]
fn what_a_tap_counted_is_what_the_next_one_finds() {
    let mut card = card();
    assert_eq!(find(&mut card).1.counters, Some(CardCounters::EMPTY), "a new card");
    for n in 1..=3 {
        quietly(&mut card, paying(Some(counted(n * FARE))));
        assert_eq!(find(&mut card).1.counters, Some(counted(n * FARE)));
    }
    let (transaction, _) = quietly(&mut card, Deed { amount: 0, ..paying(None) });
    assert!(transaction.after.layout.has_counters(), "the next record is of layout 2, too");
    assert_eq!(card.contents().unwrap().counters, Some(counted(3 * FARE)));
}

#[test]
fn counters_are_written_only_where_they_were_read() {
    let refused = |card: &mut VirtualCard, wants: bool, counters, has: CardLayout| {
        card.power_off();
        let mut machine = start(card).wanting_counters(wants);
        let output = run(&mut machine, &mut |a| Ok(card.handle_apdu(a)));
        let CardOutput::Found(found) = output else { panic!("{output:?}") };
        let after = CardRecord { layout: has, ..charge(&found.record, FARE) };
        let written = machine.write_counting(&after, counters);
        assert_eq!(written, Err(WriteError::CountersMismatch));
        assert_eq!(machine.poll(), None, "nothing is sent");
        assert_eq!(machine.write(&charge(&found.record, FARE)), Ok(()), "the card is still found");
    };
    refused(&mut card(), false, Some(counted(1)), CardLayout::Counters);
    refused(&mut issued_card(), true, Some(counted(1)), CardLayout::Plain);
    refused(&mut card(), true, None, CardLayout::Plain);
    refused(&mut issued_card(), true, None, CardLayout::Counters);
}

#[test]
fn the_proof_holds_for_the_counters_found_and_written_and_for_nothing_else() {
    let tmac = keys().tmac_key(&UID).unwrap();
    let mut card = card();
    for written in [Some(counted(FARE)), None, Some(CardCounters::EMPTY)] {
        let (t, proof) = quietly(&mut card, paying(written));
        assert!(proof_holds(&tmac, &UID, &t, proof));
        let used = t.counters.unwrap();
        let richer = CardCounters([used.left().0[0], None, None, counted(1).0[2]]);
        for counters in [
            None,
            Some(CounterUse { found: richer, ..used }),
            Some(CounterUse { written: Some(richer), ..used }),
            Some(match used.written {
                None => CounterUse { written: Some(used.found), ..used },
                Some(_) => CounterUse { written: None, ..used },
            }),
        ] {
            assert!(!proof_holds(&tmac, &UID, &CardTransaction { counters, ..t }, proof));
        }
        let after = CardRecord { layout: CardLayout::Plain, ..t.after };
        assert!(!proof_holds(&tmac, &UID, &CardTransaction { after, ..t }, proof));
    }
}

#[test]
fn the_proof_is_over_the_counter_commands_really_sent_in_their_order() {
    let mut card = card_with_rides();
    let (t, proof) = quietly(&mut card, Deed { rides: 2, ..paying(Some(counted(FARE))) });
    let mut input = Tmi::new();
    input.step(0xBB, &hex("05 000000 010000"), &t.before.to_bytes().unwrap());
    input.step(0xBD, &hex("03 000000 200000"), &t.products.unwrap().file.to_bytes());
    input.step(0x6C, &hex("04 0A000000"), &[]);
    input.step(0xBD, &hex("06 000000 200000"), &[0; 32]);
    input.step(0xDC, &hex("02 13010000"), &[]);
    input.step(0xDC, &hex("04 02000000"), &[]);
    input.step(0x3D, &hex("06 000000 200000"), &counted(FARE).to_bytes());
    input.step(0x3B, &hex("05 000000 200000"), &t.after.to_bytes().unwrap());
    let tmac = keys().tmac_key(&UID).unwrap();
    assert_eq!(transaction_proof(&tmac, &UID, 2, &input), proof);
}

#[test]
fn debit_and_load_key_read_and_write_counters_and_only_the_issuer_opens_them() {
    let mut card = card();
    let read = span(layout::FILE_COUNTERS, 0, 32);
    let write = [&span(layout::FILE_COUNTERS, 0, 1)[..], &[9]].concat();
    for (role, no) in [(KeyRole::Debit, layout::KEY_DEBIT), (KeyRole::Load, layout::KEY_LOAD)] {
        let mut t = Terminal::new(&mut card);
        t.select(layout::AID).unwrap();
        t.login(no, &keys().current_key(role, &UID).unwrap().key);
        assert!(t.mac(cmd::READ_DATA, &read).is_ok() && t.mac(cmd::WRITE_DATA, &write).is_ok());
        let got = t.mac(cmd::DELETE_FILE, &[layout::FILE_COUNTERS]);
        assert_eq!(got, Err(StatusWord::AUTHENTICATION), "{role:?}");
        t.select(layout::AID).unwrap();
        t.login(no, &keys().current_key(role, &UID).unwrap().key);
        let header = [layout::FILE_COUNTERS];
        let got = t.call(CommMode::Full, cmd::CHANGE_FILE_SETTINGS, &header, &hex("01 EE EE"));
        assert_eq!(got, Err(StatusWord::AUTHENTICATION), "{role:?}");
    }
    let mut t = Terminal::new(&mut card);
    t.select(layout::AID).unwrap();
    assert_eq!(t.plain(cmd::READ_DATA, &read), Err(StatusWord::AUTHENTICATION), "no key");
    card.power_off();
    assert_eq!(card.contents().unwrap().counters, Some(CardCounters::EMPTY), "nothing committed");
}

#[test]
fn loads_and_the_end_of_a_card_leave_its_counters_and_prove_without_them() {
    let tmac = keys().tmac_key(&UID).unwrap();
    let mut card = card();
    quietly(&mut card, paying(Some(counted(FARE))));
    for retires in [false, true] {
        card.power_off();
        let before = *card.contents().unwrap().records.last().unwrap();
        let after = if retires {
            retire_record(&before, NOW).unwrap()
        } else {
            load_record(&before, 500, NOW).unwrap()
        };
        let settlement = if retires {
            transact(&mut start_retire(&card), &|_| after, &mut |a| Ok(card.handle_apdu(a)))
        } else {
            transact(&mut start_load(&card), &|_| after, &mut |a| Ok(card.handle_apdu(a)))
        };
        let Settlement::Committed { proof, .. } = settlement else { panic!("{settlement:?}") };
        let transaction = CardTransaction {
            before,
            after,
            products: None,
            loaded: None,
            counters: None,
            companions: Companions::NONE,
            purse: None,
        };
        assert!(proof_holds(&tmac, &UID, &transaction, proof));
        assert!(after.layout.has_counters());
        assert_eq!(card.contents().unwrap().counters, Some(counted(FARE)));
    }
}

/// The card's answer to exchange `n` of a tap that wants counters, when it is this.
fn refused_at(card: &mut VirtualCard, n: usize, instead: Option<&[u8]>) -> CardFailure {
    let mut machine = wanting(card);
    let mut at = 0;
    let output = run(&mut machine, &mut |apdu| {
        at += 1;
        match instead {
            Some(bytes) if at == n => Ok(bytes.to_vec()),
            Some(_) | None => Ok(card.handle_apdu(apdu)),
        }
    });
    let CardOutput::Settled(Settlement::Refused(failure)) = output else { panic!("{output:?}") };
    failure
}

#[test]
fn counters_that_are_missing_or_cannot_be_read_refuse_the_card_by_name() {
    let step = CardStep::ReadCounters;
    let missing = refused_at(&mut card(), 5, Some(&hex("91F0")));
    assert_eq!(missing, CardFailure::Refused { step, status: StatusWord::NO_SUCH_FILE });
    assert_eq!(missing.refusal(), model::Refusal::CardDataInvalid);

    let mut edited = card();
    let mut t = Terminal::new(&mut edited);
    t.select(layout::AID).unwrap();
    t.login(layout::KEY_DEBIT, &keys().debit_key(&UID).unwrap().key);
    let write = [&span(layout::FILE_COUNTERS, 9, 1)[..], &[1]].concat();
    t.mac(cmd::WRITE_DATA, &write).unwrap();
    t.mac(cmd::COMMIT_TRANSACTION, &[]).unwrap();
    edited.power_off();
    let invalid = refused_at(&mut edited, 0, None);
    assert_eq!(invalid, CardFailure::Counters(CounterError::WithoutCap(2)));
    assert_eq!(
        (invalid.refusal(), invalid.word()),
        (model::Refusal::CardDataInvalid, "counters-invalid")
    );
    assert_eq!(edited.contents().unwrap().counters, None);
}

/// Cuts tap after tap at every exchange and at every byte of every answer, presents the card
/// again, and looks at what one ride took and counted.
pub(super) fn torn_everywhere(issued: &dyn Fn() -> VirtualCard, deed: Deed, exchanges: usize) {
    let tmac = keys().tmac_key(&UID).unwrap();
    let mut lengths = Vec::new();
    let mut whole = issued();
    quietly(&mut whole, paying(Some(counted(1))));
    let begun = whole.clone();
    tap(&mut whole, deed, &mut |_, response| lengths.push(response.len()));
    assert_eq!(lengths.len(), exchanges);
    let wanted = whole.contents().unwrap();
    let before = *begun.contents().unwrap().records.last().unwrap();
    for (n, length) in lengths.iter().enumerate() {
        // `None`: the command never arrives.
        for bytes in core::iter::once(None).chain((0..*length).map(Some)) {
            let why = format!("exchange {n}, {bytes:?}");
            let mut card = begun.clone();
            card.power_off();
            let mut at = 0;
            let mut machine = wanting(&card);
            let (first, done) = tap_over(&mut machine, deed, &mut |apdu| {
                at += 1;
                match bytes.filter(|_| at - 1 == n) {
                    _ if at - 1 < n => Ok(card.handle_apdu(apdu)),
                    Some(bytes) => Ok(card.handle_apdu(apdu)[..bytes].to_vec()),
                    None => Err(ExchangeError::Absent),
                }
            });
            let last = n + 1 == exchanges;
            assert_eq!(first == Settlement::InDoubt, last, "{why}: {first:?}");
            let (mut machine, found) = find(&mut card);
            let happened = found.record == deed.after(&before);
            assert_eq!(happened, last && bytes.is_some(), "{why}");
            if happened {
                let left = deed.written.unwrap_or(counted(1));
                assert_eq!(found.counters, Some(left), "{why}: torn with the record or not at all");
                machine.read_proof();
                let output = run(&mut machine, &mut |a| Ok(card.handle_apdu(a)));
                let CardOutput::Settled(Settlement::ProofRead { proof, .. }) = output else {
                    panic!("{output:?}");
                };
                assert!(proof_holds(&tmac, &UID, &done.unwrap(), proof), "{why}");
            } else {
                assert_eq!((found.record, found.counters), (before, Some(counted(1))), "{why}");
                quietly(&mut card, deed);
            }
            let contents = card.contents().unwrap();
            let of = |c: &crate::CardContents| (c.ctr, c.balance, c.products, c.counters);
            assert_eq!(of(&contents), of(&wanted), "{why}");
        }
    }
}

#[test]
fn a_card_pulled_away_anywhere_in_a_counted_ride_counts_it_once() {
    torn_everywhere(&card, paying(Some(counted(FARE))), 9);
}

#[test]
fn a_card_pulled_away_anywhere_in_a_ride_above_the_cap_keeps_its_counters() {
    torn_everywhere(&card, Deed { amount: 0, ..paying(None) }, 7);
    torn_everywhere(&card, paying(None), 8);
}

#[test]
fn value_rides_counters_and_record_move_together_wherever_the_card_is_pulled_away() {
    let deed = Deed { rides: 2, ..paying(Some(counted(FARE))) };
    torn_everywhere(&card_with_rides, deed, 12);
}

/// Runs an issue, cut after so many whole exchanges and so many bytes of the next answer.
pub(super) fn issue(
    card: &mut VirtualCard,
    opening: &Opening,
    cut: Option<(usize, usize)>,
) -> (Settlement, Vec<usize>) {
    let rnd_a = [[0x21; 16], [0x22; 16], [0x23; 16]];
    let mut machine = IssueTransaction::new(UID, &keys(), opening, rnd_a).unwrap();
    let mut lengths = Vec::new();
    let settlement = loop {
        match machine.poll().unwrap() {
            CardOutput::Transmit(apdu) => {
                let response = card.handle_apdu(&apdu);
                let heard =
                    cut.filter(|(n, _)| *n == lengths.len()).map_or(response.len(), |c| c.1);
                lengths.push(response.len());
                machine.handle_response(Ok(&response[..heard]));
            }
            CardOutput::Settled(settlement) => break settlement,
            other @ (CardOutput::Found(_)
            | CardOutput::NeedKey { .. }
            | CardOutput::ReadyToCommit) => panic!("{other:?}"),
        }
    };
    card.power_off();
    (settlement, lengths)
}

#[test]
fn an_issue_with_counters_torn_at_any_byte_ends_in_whichever_layout_is_asked_for_next() {
    let tmac = keys().tmac_key(&UID).unwrap();
    let with = opening(None);
    let without = Opening { layout: CardLayout::Plain, ..with };
    let (_, lengths) = issue(&mut VirtualCard::blank(UID, [1; 16]), &with, None);
    assert_eq!(lengths.len(), 21, "one exchange more than without counters");
    for (n, length) in lengths.iter().enumerate() {
        for bytes in 0..*length {
            for next in [with, without] {
                let mut card = VirtualCard::blank(UID, [1; 16]);
                let (first, _) = issue(&mut card, &with, Some((n, bytes)));
                let (settlement, _) = issue(&mut card, &next, None);
                let contents = card.contents().unwrap();
                let why = format!("exchange {n}, {bytes} bytes");
                let opened = if settlement == Settlement::Refused(CardFailure::AlreadyIssued) {
                    assert_eq!(first, Settlement::InDoubt, "{why}");
                    with
                } else {
                    let Settlement::Committed { proof, .. } = settlement else {
                        panic!("{why}: {settlement:?}");
                    };
                    assert!(issue_proof_holds(&tmac, &UID, &next.record(), None, proof), "{why}");
                    next
                };
                assert_eq!(contents.records, [opened.record()], "{why}");
                assert_eq!(contents.counters.is_some(), opened.layout.has_counters(), "{why}");
            }
        }
    }
}

/// Issue with counters, a ride that counts and one that does not: a change of any byte shows.
#[test]
fn issue_with_counters_and_their_use_never_change() {
    let mut text = String::from(
        "# Layout 2: a blank card is issued with 10.00 and the counters file; one tap that counts, \
         one that\n\
         # leaves the counters. Keys: all masters from root 16 x 5A. Files are added, never \
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
    let mut issue = IssueTransaction::new(UID, &keys(), &opening(None), rnd_a).unwrap();
    while let Some(CardOutput::Transmit(apdu)) = issue.poll() {
        let response = card.handle_apdu(&apdu);
        say(&apdu, &response);
        issue.handle_response(Ok(&response));
    }
    assert_eq!(card.contents().unwrap().records.len(), 1);
    for deed in [paying(Some(counted(FARE))), Deed { amount: 0, ..paying(None) }] {
        tap(&mut card, deed, &mut say);
    }
    expect_test::expect_file!["../../../../tests/vectors/card/layout2-counters.hex"]
        .assert_eq(&text);
}
