//! Issuing that is torn, once and twice, at every boundary and at every byte; cards that somebody
//! prepared; and what is refused by name (ADR-0008).

use alloc::{vec, vec::Vec};

use super::virtual_card::Terminal;
use super::{UID, debit, hex, issued_card, keys, start};
use crate::apdu::{StatusWord, answer, cmd, span};
use crate::session::{CommMode, change_key_data};
use crate::{
    CardFailure, CardKeys, CardOutput, ExchangeError, IssueTransaction, Key, KeyRole, KeySet,
    KeyVersion, Opening, Settlement, VirtualCard, issue_proof_holds, layout,
};

const OPENING: Opening = Opening {
    issuer: 7,
    currency: *b"EUR",
    class: model::RiderClass(2),
    valid_until: model::ValidUntil::Month(60),
    balance: 1_000,
    negative_limit: 300,
    deposit: 500,
    at_s: 1_795_000_000,
    tariff: model::TariffVersion(3),
    products: None,
    layout: model::CardLayout::Plain,
};

/// Where the card leaves the field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Never,
    Before(usize),
    Answer(usize),
    Byte(usize, usize),
}

/// Runs an issue with `keys`; answers how it settled and the lengths of all answers.
fn issue_with(keys: &KeySet, card: &mut VirtualCard, cut: Cut) -> (Settlement, Vec<usize>) {
    let rnd = [[0x21; 16], [0x22; 16], [0x23; 16]];
    let mut machine = IssueTransaction::new(UID, keys, &OPENING, rnd).unwrap();
    let mut lengths = Vec::new();
    let settlement = loop {
        match machine.poll().expect("the machine wants something") {
            CardOutput::Transmit(apdu) => {
                let this = lengths.len();
                if cut == Cut::Before(this) {
                    lengths.push(0);
                    machine.handle_response(Err(ExchangeError::Absent));
                    continue;
                }
                let response = card.handle_apdu(&apdu);
                lengths.push(response.len());
                match cut {
                    Cut::Answer(at) if at == this => {
                        machine.handle_response(Err(ExchangeError::Absent));
                    }
                    Cut::Byte(at, bytes) if at == this => {
                        machine.handle_response(Ok(&response[..bytes]));
                    }
                    Cut::Never | Cut::Before(_) | Cut::Answer(_) | Cut::Byte(..) => {
                        machine.handle_response(Ok(&response));
                    }
                }
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

fn issue(card: &mut VirtualCard, cut: Cut) -> Settlement {
    issue_with(&keys(), card, cut).0
}

fn blank() -> VirtualCard {
    VirtualCard::blank(UID, [9; 16])
}

/// A card that is no card yet: no validator takes anything from it.
fn takes_no_debit(card: &VirtualCard) -> bool {
    let mut card = card.clone();
    let settlement = debit(&mut start(&card), 100, &mut |a| Ok(card.handle_apdu(a)));
    matches!(settlement, Settlement::Refused(_))
}

/// The card is whole: what the opening says, one record, its proof, and it can be ridden with.
fn check_issued(card: &VirtualCard, settlement: &Settlement, why: &str) {
    let Settlement::Committed { ctr, proof } = settlement else { panic!("{why}: {settlement:?}") };
    let tmac = keys().tmac_key(&UID).unwrap();
    assert_eq!(ctr.0, 1, "{why}");
    assert!(issue_proof_holds(&tmac, &UID, &OPENING.record(), None, *proof), "{why}");
    check_whole(card, why);
}

fn check_whole(card: &VirtualCard, why: &str) {
    let contents = card.contents().unwrap();
    assert_eq!(contents.records, [OPENING.record()], "{why}");
    assert_eq!((contents.balance, contents.ctr.0), (1_000, 1), "{why}");
    let profile = profile(&mut card.clone());
    assert_eq!(profile, OPENING.profile().to_bytes(), "{why}");
    assert!(!takes_no_debit(card), "{why}");
}

fn profile(card: &mut VirtualCard) -> Vec<u8> {
    let debit = keys().current_key(KeyRole::Debit, &UID).unwrap().key;
    let mut terminal = Terminal::new(card);
    terminal.select(layout::AID).unwrap();
    terminal.login(layout::KEY_DEBIT, &debit);
    terminal.mac(cmd::READ_DATA, &span(layout::FILE_PROFILE, 0, 32)).unwrap()
}

/// Shown again after a torn issue: finished, or known to be finished.
fn finish(card: &mut VirtualCard, first: &Settlement, why: &str) {
    let settlement = issue(card, Cut::Never);
    if settlement == Settlement::Refused(CardFailure::AlreadyIssued) {
        assert!(matches!(first, Settlement::InDoubt), "{why}: {first:?}");
        check_whole(card, why);
    } else {
        check_issued(card, &settlement, why);
    }
}

/// Every cut of an issue whose answers had these lengths.
fn cuts(lengths: &[usize], bytes: bool) -> Vec<Cut> {
    let mut cuts = Vec::new();
    for (n, length) in lengths.iter().enumerate() {
        cuts.extend([Cut::Before(n), Cut::Answer(n)]);
        if bytes {
            cuts.extend((0..*length).map(|byte| Cut::Byte(n, byte)));
        }
    }
    cuts
}

#[test]
fn a_blank_card_is_issued_whole() {
    let mut card = blank();
    let settlement = issue(&mut card, Cut::Never);
    check_issued(&card, &settlement, "untorn");
}

#[test]
fn an_issue_torn_at_any_byte_of_any_answer_is_finished_by_showing_the_card_again() {
    let (_, lengths) = issue_with(&keys(), &mut blank(), Cut::Never);
    let cuts = cuts(&lengths, true);
    for cut in &cuts {
        let mut card = blank();
        let first = issue(&mut card, *cut);
        let committed = card.contents().is_some_and(|c| !c.records.is_empty());
        assert_eq!(takes_no_debit(&card), !committed, "{cut:?}: half usable");
        if committed {
            assert!(matches!(first, Settlement::InDoubt), "{cut:?}: {first:?}");
        }
        finish(&mut card, &first, &alloc::format!("{cut:?}"));
    }
    assert_eq!((lengths.len(), cuts.len()), (20, 284), "exchanges of an issue, and cuts of it");
}

#[test]
fn an_issue_torn_twice_at_any_two_exchanges_is_finished_by_the_third() {
    let (_, lengths) = issue_with(&keys(), &mut blank(), Cut::Never);
    let mut cases = 0;
    for first_cut in cuts(&lengths, false) {
        let mut torn = blank();
        issue(&mut torn, first_cut);
        let (_, lengths) = issue_with(&keys(), &mut torn.clone(), Cut::Never);
        for second_cut in cuts(&lengths, false) {
            let mut card = torn.clone();
            let second = issue(&mut card, second_cut);
            let committed = card.contents().is_some_and(|c| !c.records.is_empty());
            assert_eq!(takes_no_debit(&card), !committed, "{first_cut:?}, {second_cut:?}");
            // What the second saw counts only while the card is not whole.
            let done = if committed { Settlement::InDoubt } else { second };
            finish(&mut card, &done, &alloc::format!("{first_cut:?}, {second_cut:?}"));
            cases += 1;
        }
    }
    assert_eq!(cases, 2_088, "two cuts");
}

#[test]
fn an_issued_card_is_refused_by_name_and_stays_as_it_is() {
    let mut card = issued_card();
    let before = card.clone();
    let refused = Settlement::Refused(CardFailure::AlreadyIssued);
    assert_eq!(issue(&mut card, Cut::Never), refused);
    assert!(card.same_contents(&before));
}

#[test]
fn an_issue_begun_under_an_older_key_is_finished_under_the_current_one() {
    let old = keys();
    let newer = KeyRole::ALL.into_iter().fold(old.clone(), |set, role| {
        set.with(role, KeyVersion(2), Key([0x60 ^ role.label(); 16]))
    });
    let (_, lengths) = issue_with(&old, &mut blank(), Cut::Never);
    for n in 0..lengths.len() - 1 {
        let mut card = blank();
        issue_with(&old, &mut card, Cut::Answer(n));
        let (settlement, _) = issue_with(&newer, &mut card, Cut::Never);
        let Settlement::Committed { proof, .. } = settlement else { panic!("{n}: {settlement:?}") };
        let tmac = newer.tmac_key(&UID).unwrap();
        assert!(issue_proof_holds(&tmac, &UID, &OPENING.record(), None, proof), "{n}");
        for (no, role) in [(0, KeyRole::Issuer), (1, KeyRole::Debit), (2, KeyRole::Load)] {
            let mut terminal = Terminal::new(&mut card);
            terminal.select(layout::AID).unwrap();
            terminal.login(no, &newer.current_key(role, &UID).unwrap().key);
            let version = terminal.sealed([CommMode::Mac; 2], cmd::GET_KEY_VERSION, &[no], &[]);
            assert_eq!(version, Ok(vec![2]));
        }
    }
}

/// An application as we would have made it, by somebody who holds the blank card.
fn prepared(prepare: impl FnOnce(&mut Terminal<'_>)) -> VirtualCard {
    let mut card = blank();
    let mut terminal = Terminal::new(&mut card);
    terminal.create_app(layout::AID, layout::KEY_SETTINGS, layout::KEY_COUNT);
    terminal.login(0, &Key::ZERO);
    prepare(&mut terminal);
    card.power_off();
    card
}

fn refused(mut card: VirtualCard, words: &str) {
    let before = card.clone();
    let Settlement::Refused(failure) = issue(&mut card, Cut::Never) else { panic!("{words}") };
    let text = alloc::string::ToString::to_string(&failure);
    assert!(text.contains(words), "{text}\nwants {words}");
    assert!(card.same_contents(&before), "{words}: the card was changed");
}

#[test]
fn value_rights_and_proof_keys_that_somebody_prepared_do_not_survive_the_issue() {
    let card = prepared(|terminal| {
        // 99.99 in the value file, credited by the debit key; a log free for all; a known TMAC key.
        terminal
            .mac(cmd::CREATE_VALUE_FILE, &hex("02 01 101F D4FEFFFF FFFFFF7F 0F270000 00"))
            .unwrap();
        terminal.mac(cmd::CREATE_CYCLIC_RECORD_FILE, &hex("05 01 EEEE 200000 0D0000")).unwrap();
        terminal.mac(cmd::CREATE_STD_DATA_FILE, &hex("09 01 EEEE 100000")).unwrap();
        let tmac = [&[0x66; 16][..], &[1]].concat();
        let head = hex("0F 01 F01F 02");
        terminal.call(CommMode::Full, cmd::CREATE_TRANSACTION_MAC_FILE, &head, &tmac).unwrap();
    });
    let mut card = card;
    let settlement = issue(&mut card, Cut::Never);
    check_issued(&card, &settlement, "prepared");
    let mut terminal = Terminal::new(&mut card);
    terminal.select(layout::AID).unwrap();
    assert_eq!(terminal.plain(cmd::GET_FILE_IDS, &[]).unwrap().len(), 6, "no file of theirs");
    let log = terminal.plain(cmd::GET_FILE_SETTINGS, &[layout::FILE_LOG]).unwrap();
    assert_eq!(log[2..4], layout::RIGHTS_LOG);
    let debit = keys().current_key(KeyRole::Debit, &UID).unwrap().key;
    terminal.login(layout::KEY_DEBIT, &debit);
    let credit = hex("02 01000000");
    assert_eq!(terminal.mac(cmd::CREDIT, &credit), Err(StatusWord::AUTHENTICATION));
}

#[test]
fn applications_under_our_number_that_are_not_ours_are_refused_by_name() {
    let mut other_settings = blank();
    Terminal::new(&mut other_settings).create_app(layout::AID, 0x0F, 3);
    refused(other_settings, "its key settings are not ours");

    let issuer = prepared(|t| {
        let data = change_key_data(&Key([1; 16]), 1, None);
        let sealed = t.seal(CommMode::Full, cmd::CHANGE_KEY, &[0], &data);
        t.plain(cmd::CHANGE_KEY, &sealed).unwrap();
    });
    refused(issuer, "its issuer key is not ours");

    let records = prepared(|t| {
        t.mac(cmd::CREATE_CYCLIC_RECORD_FILE, &hex("05 01 0010 200000 0D0000")).unwrap();
        let header = span(layout::FILE_LOG, 0, 32);
        t.call(CommMode::Mac, cmd::WRITE_RECORD, &header, &[0x10; 32]).unwrap();
        t.mac(cmd::COMMIT_TRANSACTION, &[]).unwrap();
    });
    refused(records, "records under the key of a new application");
}

#[test]
fn a_debit_key_that_somebody_set_is_found_out_before_the_card_is_worth_anything() {
    let mut card =
        prepared(|t| drop(t.change_key(layout::KEY_DEBIT, &Key([1; 16]), Some(&Key::ZERO))));
    let settlement = issue(&mut card, Cut::Never);
    let why = "its debit or load key is not ours";
    assert_eq!(settlement, Settlement::Refused(CardFailure::ForeignApplication(why)));
    assert!(takes_no_debit(&card));
}

#[test]
fn a_locked_card_level_and_a_full_card_are_refused_by_name() {
    let say = |which: u8, status: StatusWord| {
        let mut card = blank();
        let rnd = [[0x21; 16], [0x22; 16], [0x23; 16]];
        let mut machine = IssueTransaction::new(UID, &keys(), &OPENING, rnd).unwrap();
        loop {
            match machine.poll().unwrap() {
                CardOutput::Transmit(apdu) if apdu[1] == which => {
                    machine.handle_response(Ok(&answer(&[], status)));
                }
                CardOutput::Transmit(apdu) => machine.handle_response(Ok(&card.handle_apdu(&apdu))),
                CardOutput::Settled(Settlement::Refused(failure)) => return failure,
                other @ (CardOutput::Found(_)
                | CardOutput::NeedKey { .. }
                | CardOutput::ReadyToCommit
                | CardOutput::Settled(_)) => panic!("{other:?}"),
            }
        }
    };
    let create = cmd::CREATE_APPLICATION;
    assert_eq!(say(create, StatusWord::AUTHENTICATION), CardFailure::CardLevelLocked);
    assert_eq!(say(create, StatusWord::OUT_OF_EEPROM), CardFailure::CardFull);
    let log = cmd::CREATE_CYCLIC_RECORD_FILE;
    assert_eq!(say(log, StatusWord::OUT_OF_EEPROM), CardFailure::CardFull);
}
