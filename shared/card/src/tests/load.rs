//! Loads and retirements: what they prove, what is refused, and a card pulled away at every
//! boundary and at every byte of every answer: value moves once or not at all, and the next
//! presentation tells which.

use model::{CardRecord, CardTransaction, Companions, LoadSeq, RecordKind};

use super::virtual_card::Terminal;
use super::{
    UID, charge, issued_card, issued_with, keys, newest, run, start, start_load, start_retire,
    transact,
};
use crate::apdu::cmd;
use crate::{
    CardFailure, CardKeys, CardOutput, Duty, ExchangeError, KeyRole, Settlement, ValueTransaction,
    VirtualCard, WriteError, layout, load_record, proof_holds, retire_record,
};

const AMOUNT: u32 = 2_000;
const LATER: u32 = 1_795_000_600;

fn loaded(before: &CardRecord) -> CardRecord {
    load_record(before, AMOUNT, LATER).unwrap()
}

fn retired(before: &CardRecord) -> CardRecord {
    retire_record(before, LATER).unwrap()
}

fn proven(before: CardRecord, after: CardRecord, settlement: &Settlement) -> bool {
    let Settlement::Committed { ctr, proof } = settlement else { panic!("{settlement:?}") };
    assert_eq!(*ctr, after.ctr);
    let tmac = keys().tmac_key(&UID).unwrap();
    proof_holds(
        &tmac,
        &UID,
        &CardTransaction {
            before,
            after,
            products: None,
            loaded: None,
            counters: None,
            companions: Companions::NONE,
            purse: None,
        },
        *proof,
    )
}

#[test]
fn a_load_adds_value_in_seven_exchanges_and_the_depot_can_verify_it() {
    let mut card = issued_card();
    let before = newest(&mut card);
    let mut exchanges = 0;
    let settlement = transact(&mut start_load(&card), &loaded, &mut |apdu| {
        exchanges += 1;
        let response = card.handle_apdu(apdu);
        assert!(apdu.len() <= 61 && response.len() <= 61, "one radio block each");
        Ok(response)
    });
    let after = newest(&mut card);
    assert_eq!((exchanges, after), (7, loaded(&before)));
    assert_eq!(card.contents().unwrap().balance, 3_000);
    assert!(proven(before, after, &settlement));
    let altered = CardRecord { amount: 1_000, balance: 2_000, ..after };
    assert!(!proven(before, altered, &settlement), "another amount is another proof");
    let taken = CardRecord { kind: RecordKind::Board, ..after };
    assert!(!proven(before, taken, &settlement), "a load is no debit");
}

#[test]
fn a_load_during_a_journey_is_proven_as_one() {
    let mut card = issued_card();
    let entry = |before: &CardRecord| CardRecord { kind: RecordKind::Entry, ..charge(before, 0) };
    transact(&mut start(&card), &entry, &mut |apdu| Ok(card.handle_apdu(apdu)));
    let before = newest(&mut card);
    let settlement =
        transact(&mut start_load(&card), &loaded, &mut |apdu| Ok(card.handle_apdu(apdu)));
    let after = newest(&mut card);
    assert_eq!((after.kind, after.place), (RecordKind::LoadInJourney, before.place));
    assert!(proven(before, after, &settlement));
}

#[test]
fn a_retired_card_holds_nothing_and_the_depot_can_verify_it() {
    for balance in [1_000, 0] {
        let mut card = issued_with(balance);
        let before = newest(&mut card);
        let settlement =
            transact(&mut start_retire(&card), &retired, &mut |apdu| Ok(card.handle_apdu(apdu)));
        let after = newest(&mut card);
        assert_eq!((after.kind, after.amount), (RecordKind::Retire, balance));
        assert_eq!(card.contents().unwrap().balance, 0);
        assert!(proven(before, after, &settlement));
    }
}

/// Why the machine does not write `after`.
fn refused<D: Duty>(
    mut machine: ValueTransaction<D>,
    card: &mut VirtualCard,
    after: &CardRecord,
) -> WriteError {
    assert!(matches!(run(&mut machine, &mut |a| Ok(card.handle_apdu(a))), CardOutput::Found(_)));
    machine.write(after).unwrap_err()
}

#[test]
fn each_transaction_writes_its_own_kind_of_record_and_no_other() {
    let mut card = issued_card();
    let before = newest(&mut card);
    let (ride, load, end) = (charge(&before, 275), loaded(&before), retired(&before));
    assert_eq!(refused(start(&card), &mut card, &load), WriteError::NotADebit);
    assert_eq!(refused(start(&card), &mut card, &end), WriteError::NotADebit);
    assert_eq!(refused(start_load(&card), &mut card, &ride), WriteError::NotALoad);
    assert_eq!(refused(start_retire(&card), &mut card, &load), WriteError::NotARetirement);
    for (wrong, error) in [
        (CardRecord { load_seq: LoadSeq(7), ..load }, WriteError::LoadOutOfTurn),
        (CardRecord { amount: 0, balance: before.balance, ..load }, WriteError::NothingToLoad),
        (CardRecord { balance: 1, ..load }, WriteError::BalanceMismatch),
        (CardRecord { ctr: model::Ctr(9), ..load }, WriteError::CounterOutOfTurn),
        (CardRecord { kind: RecordKind::LoadInJourney, ..load }, WriteError::Journey),
    ] {
        assert_eq!(refused(start_load(&card), &mut card, &wrong), error);
    }
    let less = CardRecord { amount: 1, balance: before.balance - 1, ..end };
    assert_eq!(refused(start_retire(&card), &mut card, &less), WriteError::ValueLeft);
    assert_eq!(newest(&mut card), before);
}

#[test]
fn a_load_above_the_value_files_limit_is_refused_by_name_and_changes_nothing() {
    let mut card = issued_card();
    let before = newest(&mut card);
    // The record says little, the value file much: what the file says counts.
    let load = keys().current_key(KeyRole::Load, &UID).unwrap().key;
    let mut terminal = Terminal::new(&mut card);
    terminal.select(layout::AID).unwrap();
    terminal.login(layout::KEY_LOAD, &load);
    let credit = [&[layout::FILE_VALUE][..], &(i32::MAX - 1_010).to_le_bytes()].concat();
    terminal.mac(cmd::CREDIT, &credit).unwrap();
    terminal.mac(cmd::COMMIT_TRANSACTION, &[]).unwrap();
    let settlement =
        transact(&mut start_load(&card), &loaded, &mut |apdu| Ok(card.handle_apdu(apdu)));
    assert_eq!(settlement, Settlement::Refused(CardFailure::ValueCeiling));
    assert_eq!(newest(&mut card), before);
}

#[test]
fn the_load_key_takes_nothing_and_the_debit_key_adds_nothing() {
    // The keys themselves are tested in `virtual_card`; here that the machines use the right one.
    let card = issued_card();
    let debit = keys().debit_key(&card.uid()).unwrap();
    let mut impostor = crate::LoadTransaction::new(card.uid(), debit, [0x14; 16]);
    let mut card = card;
    let output = run(&mut impostor, &mut |a| Ok(card.handle_apdu(a)));
    assert_eq!(output, CardOutput::Settled(Settlement::Refused(CardFailure::NotAuthentic)));
}

/// Where the card leaves the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Before(usize),
    Answer(usize),
    Byte(usize, usize),
}

fn torn<D: Duty>(
    card: &mut VirtualCard,
    mut machine: ValueTransaction<D>,
    after: &dyn Fn(&CardRecord) -> CardRecord,
    cut: Cut,
) -> (Settlement, usize) {
    let (mut n, mut length) = (0, 0);
    let settlement = transact(&mut machine, after, &mut |apdu| {
        let this = n;
        n += 1;
        if cut == Cut::Before(this) {
            return Err(ExchangeError::Absent);
        }
        let response = card.handle_apdu(apdu);
        match cut {
            Cut::Answer(at) if at == this => {
                length = response.len();
                Err(ExchangeError::Absent)
            }
            Cut::Byte(at, bytes) if at == this => Ok(response[..bytes].to_vec()),
            Cut::Before(_) | Cut::Answer(_) | Cut::Byte(..) => Ok(response),
        }
    });
    card.power_off();
    (settlement, length)
}

/// A torn transaction, then the card shown again: it is done exactly once.
fn check<D: Duty>(
    start: fn(&VirtualCard) -> ValueTransaction<D>,
    after: &dyn Fn(&CardRecord) -> CardRecord,
    cut: Cut,
) -> usize {
    let mut card = issued_card();
    let before = newest(&mut card);
    let intent = after(&before);
    let machine = start(&card);
    let (settlement, length) = torn(&mut card, machine, after, cut);
    let found = newest(&mut card);
    let happened = found == intent;
    assert!(happened || found == before, "{cut:?}: {found:?}");
    match settlement {
        Settlement::Committed { .. } => assert!(happened, "{cut:?}"),
        Settlement::Refused(_) => assert!(!happened, "{cut:?}"),
        Settlement::InDoubt => {}
        other @ (Settlement::ProofRead { .. } | Settlement::Released) => panic!("{other:?}"),
    }
    if !happened {
        let machine = start(&card);
        let (again, _) = torn(&mut card, machine, after, Cut::Before(usize::MAX));
        assert!(proven(before, intent, &again), "{cut:?}");
    }
    let contents = card.contents().unwrap();
    assert_eq!(contents.balance, intent.balance, "{cut:?}");
    assert_eq!(contents.records, [before, intent], "{cut:?}");
    length
}

fn every_cut<D: Duty>(
    start: fn(&VirtualCard) -> ValueTransaction<D>,
    after: &dyn Fn(&CardRecord) -> CardRecord,
) -> usize {
    let mut cases = 0;
    for n in 0..7 {
        check(start, after, Cut::Before(n));
        let length = check(start, after, Cut::Answer(n));
        assert!(length >= 2);
        for bytes in 0..length {
            check(start, after, Cut::Byte(n, bytes));
        }
        cases += 2 + length;
    }
    cases
}

#[test]
fn a_load_torn_at_any_byte_of_any_answer_loads_once() {
    assert_eq!(every_cut(start_load, &loaded), 152);
}

#[test]
fn a_retirement_torn_at_any_byte_of_any_answer_takes_the_value_once() {
    assert_eq!(every_cut(start_retire, &retired), 152);
}

#[test]
fn the_proof_of_a_load_in_doubt_is_read_back_with_the_debit_key() {
    let mut card = issued_card();
    let before = newest(&mut card);
    let machine = start_load(&card);
    let (first, _) = torn(&mut card, machine, &loaded, Cut::Answer(6));
    assert_eq!(first, Settlement::InDoubt);
    let mut again = start(&card);
    let CardOutput::Found(found) = run(&mut again, &mut |a| Ok(card.handle_apdu(a))) else {
        panic!("an issued card is found");
    };
    assert_eq!(found.record, loaded(&before));
    again.read_proof();
    let output = run(&mut again, &mut |a| Ok(card.handle_apdu(a)));
    let CardOutput::Settled(Settlement::ProofRead { ctr, proof }) = output else {
        panic!("{output:?}")
    };
    assert!(proven(before, found.record, &Settlement::Committed { ctr, proof }));
}

#[test]
fn an_answer_cut_short_that_ends_like_an_error_is_in_doubt_and_no_refusal() {
    let mut card = issued_card();
    let mut n = 0;
    let settlement = transact(&mut start(&card), &|before| charge(before, 1), &mut |apdu| {
        n += 1;
        let response = card.handle_apdu(apdu);
        if n < 7 {
            return Ok(response);
        }
        Ok([&response[..5], &[0x91, 0x1E]].concat())
    });
    assert_eq!((n, settlement), (7, Settlement::InDoubt));
}
