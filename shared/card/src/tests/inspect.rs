//! What an inspection says of each kind of card, and that it changes none.

use alloc::vec;

use model::{CardLayout, Currency};

use super::virtual_card::Terminal;
use super::{UID, charge, debit, issued_card, keys, start};
use crate::apdu::cmd;
use crate::{
    CardFailure, CardKeys, CardOutput, CardReport, Contradiction, InspectTransaction, Key, KeyRole,
    KeySet, Opening, Settlement, VirtualCard, layout,
};

fn inspect_with(keys: &KeySet, card: &mut VirtualCard) -> CardReport {
    let before = card.clone();
    let key = keys.debit_key(&UID).unwrap();
    let mut machine = InspectTransaction::new(UID, key, [0x31; 16]);
    loop {
        match machine.poll().expect("the machine wants something") {
            CardOutput::Transmit(apdu) => {
                let response = card.handle_apdu(&apdu);
                machine.handle_response(Ok(&response));
            }
            CardOutput::NeedKey { role, version } => {
                machine.handle_key(keys.card_key(role, version, &UID).ok(), [0x32; 16]);
            }
            CardOutput::Settled(Settlement::Released) => break,
            other @ (CardOutput::Found(_) | CardOutput::ReadyToCommit | CardOutput::Settled(_)) => {
                panic!("{other:?}")
            }
        }
    }
    card.power_off();
    assert!(card.same_contents(&before), "inspecting changed the card");
    machine.into_report()
}

fn inspect(card: &mut VirtualCard) -> CardReport {
    inspect_with(&keys(), card)
}

#[test]
fn an_issued_card_is_read_whole_and_fits_together() {
    let mut card = issued_card();
    for _ in 0..20 {
        debit(&mut start(&card), 10, &mut |apdu| Ok(card.handle_apdu(apdu)));
        card.power_off();
    }
    let report = inspect(&mut card);
    assert_eq!((report.version.len(), report.applications), (28, Some(vec![layout::AID])));
    assert!(report.free.unwrap() > 1_000);
    let app = report.application.unwrap();
    assert_eq!(app.key_versions, [1, 1, 1]);
    let contents = app.contents.unwrap().unwrap();
    assert_eq!((contents.value, contents.ctr.0, contents.records.len()), (800, 21, 12));
    assert_eq!(contents.profile.unwrap().currency, *b"EUR");
    assert_eq!(contents.newest().unwrap().ctr.0, 21);
    assert_eq!(contents.record(model::Ctr(15)).unwrap().balance, 860);
    assert_eq!(contents.record(model::Ctr(2)), None, "no longer in the log");
    assert_eq!(contents.contradictions(), []);
}

#[test]
fn a_blank_card_and_a_torn_issue_and_a_foreign_key_are_named() {
    assert_eq!(inspect(&mut VirtualCard::blank(UID, [1; 16])).application, None);

    let mut begun = VirtualCard::blank(UID, [1; 16]);
    Terminal::new(&mut begun).create_app(layout::AID, layout::KEY_SETTINGS, layout::KEY_COUNT);
    let app = inspect(&mut begun).application.unwrap();
    assert_eq!((app.key_versions, app.files.len()), (vec![0, 0, 0], 0));
    let not_held = CardFailure::KeyVersionNotHeld(crate::KeyVersion(0));
    assert_eq!(app.contents, Some(Err(not_held)));

    let others = KeySet::from_root(&Key([9; 16]));
    let app = inspect_with(&others, &mut issued_card()).application.unwrap();
    assert_eq!(app.contents, Some(Err(CardFailure::NotAuthentic)));
}

#[test]
fn contradictions_on_a_card_are_named() {
    let mut card = issued_card();
    let debit_key = keys().current_key(KeyRole::Debit, &UID).unwrap().key;
    let newest = super::newest(&mut card);
    let mut terminal = Terminal::new(&mut card);
    terminal.select(layout::AID).unwrap();
    terminal.login(layout::KEY_DEBIT, &debit_key);
    // A record that skips a counter, and value taken that no record tells of.
    let skips = model::CardRecord { ctr: model::Ctr(9), ..charge(&newest, 100) };
    let header = crate::apdu::span(layout::FILE_LOG, 0, 32);
    let record = skips.to_bytes().unwrap();
    terminal.call(layout::FILE_MODE, cmd::WRITE_RECORD, &header, &record).unwrap();
    terminal.mac(cmd::DEBIT, &[layout::FILE_VALUE, 50, 0, 0, 0]).unwrap();
    terminal.mac(cmd::COMMIT_TRANSACTION, &[]).unwrap();
    card.power_off();
    let contents = inspect(&mut card).application.unwrap().contents.unwrap().unwrap();
    assert_eq!(
        contents.contradictions(),
        [
            Contradiction::Order(9),
            Contradiction::Value { value: 950, record: 900 },
            Contradiction::Counter { counter: 2, record: 9 },
        ]
    );
}

#[test]
fn counters_are_shown_and_what_the_record_says_of_them_is_compared_with_the_files() {
    let write = |card: &mut VirtualCard, file: u8, data: &[u8], command: u8| {
        let debit_key = keys().current_key(KeyRole::Debit, &UID).unwrap().key;
        let mut terminal = Terminal::new(card);
        terminal.select(layout::AID).unwrap();
        terminal.login(layout::KEY_DEBIT, &debit_key);
        let len = u32::try_from(data.len()).unwrap();
        let header = crate::apdu::span(file, 0, len);
        terminal.call(layout::FILE_MODE, command, &header, data).unwrap();
        terminal.mac(cmd::COMMIT_TRANSACTION, &[]).unwrap();
        card.power_off();
    };
    let contents =
        |card: &mut VirtualCard| inspect(card).application.unwrap().contents.unwrap().unwrap();
    let layout = CardLayout::Counters;
    let opening = Opening { balance: 1000, layout, ..Opening::default() };
    let (issued, _) = VirtualCard::issue(UID, [1; 16], &keys(), &opening).unwrap();
    let mut card = issued.clone();
    let whole = contents(&mut card);
    assert_eq!(whole.counters, Some(Ok(model::CardCounters::EMPTY)));
    assert_eq!(whole.contradictions(), []);

    let mut garbled = issued.clone();
    write(&mut garbled, layout::FILE_COUNTERS, &[0, 1], cmd::WRITE_DATA);
    let said = contents(&mut garbled).contradictions();
    assert!(said.contains(&Contradiction::CountersUnreadable), "{said:?}");

    let other = Opening { currency: *b"CHF", layout: CardLayout::OtherCurrency, ..opening };
    let (other, _) = VirtualCard::issue(UID, [1; 16], &keys(), &other).unwrap();
    for (mut card, claims, named) in [
        (issued.clone(), CardLayout::Plain, Contradiction::CountersUnknown),
        (issued_card(), CardLayout::Counters, Contradiction::CountersMissing),
        (issued, CardLayout::OtherCurrency, Contradiction::PurseMissing),
        (other, CardLayout::Counters, Contradiction::PurseUnknown),
    ] {
        let newest = super::newest(&mut card);
        let record = model::CardRecord { layout: claims, ..charge(&newest, 0) };
        write(&mut card, layout::FILE_LOG, &record.to_bytes().unwrap(), cmd::WRITE_RECORD);
        assert_eq!(contents(&mut card).contradictions(), [named]);
    }
}

#[test]
fn a_purse_in_another_currency_is_shown_with_it_and_one_without_a_currency_is_named() {
    let contents =
        |card: &mut VirtualCard| inspect(card).application.unwrap().contents.unwrap().unwrap();
    let [euro, francs] = ["EUR", "CHF"].map(|letters| Currency::parse(letters).unwrap());
    let layout = CardLayout::OtherCurrency;
    let opening = Opening { balance: 1000, currency: *b"CHF", layout, ..Opening::default() };
    let (mut card, _) = VirtualCard::issue(UID, [1; 16], &keys(), &opening).unwrap();
    let found = contents(&mut card);
    assert_eq!((found.value, found.other_value, found.purse(euro)), (1000, true, Some(francs)));
    assert_eq!(found.contradictions(), []);

    let found = contents(&mut issued_card());
    assert_eq!((found.currency(), found.purse(euro)), (Some(euro), Some(euro)));
    assert_eq!(found.purse(francs), Some(francs), "a profile that no tap reads decides nothing");

    let issuer = keys().current_key(KeyRole::Issuer, &UID).unwrap().key;
    let mut terminal = Terminal::new(&mut card);
    terminal.select(layout::AID).unwrap();
    terminal.login(layout::KEY_ISSUER, &issuer);
    let write = [&layout::purse_span()[..], b"EU?"].concat();
    terminal.mac(cmd::WRITE_DATA, &write).unwrap();
    card.power_off();
    let found = contents(&mut card);
    assert_eq!((found.currency(), found.purse(euro)), (None, None));
    assert_eq!(found.contradictions(), [Contradiction::Currency]);
}
