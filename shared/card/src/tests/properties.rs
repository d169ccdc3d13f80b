//! Whatever arrives, at the card or at the reader: no panic, no value out of nothing.

use alloc::{vec, vec::Vec};

use proptest::prelude::*;

use super::virtual_card::Terminal;
use super::{UID, charge, issued_card, keys, start};
use crate::apdu::StatusWord;
use crate::session::CommMode;
use crate::{
    CardKeys, CardOutput, ExchangeError, KeyRole, Opening, Settlement, VirtualCard, layout,
};

/// Command codes that the card knows, so that garbage gets past the first test.
fn known_command() -> impl Strategy<Value = u8> {
    prop::sample::select(vec![
        0x71, 0x77, 0xAF, 0x60, 0x5A, 0x6A, 0xCA, 0xDA, 0x45, 0x54, 0x64, 0xC4, 0x6E, 0x51, 0x6F,
        0xF5, 0x5F, 0xCD, 0xCB, 0xCC, 0xC1, 0xC0, 0xCE, 0xDF, 0xBD, 0xAD, 0x3D, 0x8D, 0x6C, 0x0C,
        0x1C, 0xDC, 0xBB, 0xAB, 0x3B, 0x8B, 0xC7, 0xA7, 0xC8, 0x0A, 0x1A, 0xAA, 0x6D, 0x61, 0xC6,
        0x5C, 0xFC, 0xDB, 0xBA, 0xEB, 0x3C,
    ])
}

/// Data with small numbers in front, so that it often names a file, an offset and a length.
fn data() -> impl Strategy<Value = Vec<u8>> {
    (prop::collection::vec(0_u8..17, 0..12), prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(head, tail)| [head, tail].concat())
}

/// Wrapped answers end with two bytes of status, native ones begin with one.
fn status_of(response: &[u8]) -> bool {
    let wrapped = response.len() >= 2
        && matches!(response[response.len() - 2], 0x91 | 0x90 | 0x62 | 0x67 | 0x69..=0x6E);
    let status = |byte: u8| StatusWord(u16::from_be_bytes([0x91, byte])).meaning();
    wrapped || response.first().is_some_and(|byte| status(*byte) != "unknown status")
}

proptest! {
    #[test]
    fn the_card_answers_any_apdu_with_a_status(
        apdus in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..20),
    ) {
        let mut card = issued_card();
        for apdu in apdus {
            prop_assert!(status_of(&card.handle_apdu(&apdu)));
        }
    }

    #[test]
    fn the_card_answers_any_plain_command_with_a_status(
        commands in prop::collection::vec((known_command(), data()), 1..40),
    ) {
        let mut card = issued_card();
        card.handle_apdu(&crate::apdu::wrap(0x5A, &layout::AID));
        let before = card.clone();
        for (cmd, data) in commands {
            prop_assert!(status_of(&card.handle_apdu(&crate::apdu::wrap(cmd, &data))));
        }
        let contents = |card: &VirtualCard| card.contents().unwrap();
        prop_assert_eq!(contents(&card), contents(&before), "nothing is free on an issued card");
    }

    /// Sealed with a real session, so that the garbage reaches the commands themselves.
    #[test]
    fn the_card_answers_any_command_within_a_session(
        key_no in 0_u8..3,
        commands in prop::collection::vec((known_command(), data(), 0_usize..3), 1..40),
    ) {
        let mut card = issued_card();
        let roles = [KeyRole::Issuer, KeyRole::Debit, KeyRole::Load];
        let key = keys().current_key(roles[usize::from(key_no)], &UID).unwrap().key;
        let mut terminal = Terminal::new(&mut card);
        terminal.select(layout::AID).unwrap();
        for (cmd, data, mode) in commands {
            let _ = terminal.select(layout::AID);
            if terminal.try_login(key_no, &key).is_err() {
                break; // it changed or deleted its own key
            }
            let mode = [CommMode::Plain, CommMode::Mac, CommMode::Full][mode];
            let header = data.len().min(7);
            let sealed = terminal.seal(mode, cmd, &data[..header], &data[header..]);
            let _ = terminal.plain(cmd, &sealed);
        }
        let image = card.to_bytes();
        prop_assert!(VirtualCard::from_bytes(&image).unwrap().same_contents(&card));
    }

    #[test]
    fn any_bytes_are_an_image_or_none(mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = VirtualCard::from_bytes(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = 1;
        }
        let _ = VirtualCard::from_bytes(&bytes);
    }

    #[test]
    fn a_changed_image_never_makes_the_card_panic(at in 0_usize..700, to in any::<u8>()) {
        let mut bytes = issued_card().to_bytes();
        let at = at % bytes.len();
        bytes[at] = to;
        if let Ok(mut card) = VirtualCard::from_bytes(&bytes) {
            let mut machine = start(&card);
            let _ = super::debit(&mut machine, 1, &mut |a| Ok(card.handle_apdu(a)));
        }
    }

    /// Every answer is the card's, or garbage, or none, as `script` says.
    #[test]
    fn a_debit_never_panics_and_commits_only_what_the_card_committed(
        script in prop::collection::vec(
            prop_oneof![
                6 => Just(None),
                1 => prop::collection::vec(any::<u8>(), 0..70).prop_map(|b| Some(Ok(b))),
                1 => Just(Some(Err(ExchangeError::Timeout))),
                1 => Just(Some(Ok(vec![0x91, 0x00]))),
            ],
            8,
        ),
        amount in 0_u32..1200,
    ) {
        let mut card = issued_card();
        let mut machine = start(&card);
        let mut answers = script.into_iter();
        let settlement = super::debit(&mut machine, amount, &mut |apdu| {
            let real = card.handle_apdu(apdu);
            answers.next().flatten().unwrap_or(Ok(real))
        });
        let taken = 1000 - card.contents().unwrap().balance;
        match settlement {
            Settlement::Committed { .. } => prop_assert_eq!(taken, i32::try_from(amount).unwrap()),
            Settlement::InDoubt => {}
            Settlement::Refused(_) => prop_assert_eq!(taken, 0),
            Settlement::ProofRead { .. } | Settlement::Released => prop_assert!(false),
        }
        machine.handle_response(Ok(&[1, 2, 3]));
        prop_assert_eq!(machine.poll(), None);
    }

    /// Any series of debits and cuts: value file, newest record and counter move together.
    #[test]
    fn value_record_and_counter_always_agree(
        taps in prop::collection::vec((0_u32..400, 0_usize..9), 1..30),
    ) {
        let opening = Opening { balance: 3000, ..Opening::default() };
        let (mut card, _) = VirtualCard::issue(UID, [3; 16], &keys(), &opening).unwrap();
        for (amount, cut) in taps {
            let mut machine = start(&card);
            let mut n = 0;
            let _ = super::debit(&mut machine, amount, &mut |apdu| {
                n += 1;
                if n > cut { Err(ExchangeError::Absent) } else { Ok(card.handle_apdu(apdu)) }
            });
            card.power_off();
            let contents = card.contents().unwrap();
            let newest = contents.records.last().unwrap();
            prop_assert_eq!(newest.balance, contents.balance);
            prop_assert_eq!(newest.ctr, contents.ctr);
            prop_assert!(contents.records.len() <= 12);
            prop_assert!(contents.records.windows(2).all(|w| w[1] == charge(&w[0], w[1].amount)));
        }
    }
}

#[test]
fn the_machine_ends_settled_whatever_the_first_answer() {
    let card = issued_card();
    let mut machine = start(&card);
    assert!(matches!(machine.poll(), Some(CardOutput::Transmit(_))));
    machine.handle_response(Ok(&[]));
    assert!(matches!(machine.poll(), Some(CardOutput::Settled(Settlement::Refused(_)))));
}
