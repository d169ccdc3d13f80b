//! Golden conversations, byte for byte at both ends: the reference debit in full mode and the
//! issue and debit of layout 1. The files in `tests/vectors/card` are added to, never edited.

use alloc::{format, vec, vec::Vec};

use model::CardId;

use super::virtual_card::Terminal;
use super::{UID, bytes, charge, debit, hex, key, run, start};
use crate::apdu::{cmd, span, wrap};
use crate::crypto::diversify;
use crate::session::{Authentication, CommMode, Session};
use crate::{CardOutput, Key, Settlement, Tmi, VirtualCard, transaction_proof};

const GOLDEN: &str = include_str!("../../../../tests/vectors/card/golden-full-mode.hex");

fn lines(prefix: &str) -> Vec<&str> {
    GOLDEN.lines().filter_map(|line| line.strip_prefix(prefix)?.strip_prefix(' ')).collect()
}

fn value<const N: usize>(name: &str) -> [u8; N] {
    bytes(lines(name)[0])
}

const READ_HEADER: [u8; 7] = [1, 0, 0, 0, 32, 0, 0];

/// (mode, command, header, data) of the golden debit's commands within the session.
fn golden_commands() -> Vec<(CommMode, u8, Vec<u8>, Vec<u8>)> {
    use CommMode::{Full, Mac};
    vec![
        (Full, cmd::READ_DATA, READ_HEADER.to_vec(), vec![]),
        (Full, cmd::GET_VALUE, vec![3], vec![]),
        (Full, cmd::DEBIT, vec![3], 275_u32.to_le_bytes().to_vec()),
        (Full, cmd::WRITE_RECORD, span(4, 0, 16).to_vec(), (1..=16).collect()),
        (Mac, cmd::COMMIT_READER_ID, b"READER0000000001".to_vec(), vec![]),
        (Mac, cmd::COMMIT_TRANSACTION, vec![1], vec![]),
    ]
}

fn golden_session() -> (Authentication, Key) {
    let key_1 = Key(value("key_1"));
    (Authentication::new(key_1.clone(), value("rnd_a")), key_1)
}

#[test]
fn the_golden_keys_come_from_their_masters() {
    let input = |label: &str| hex(&format!("04A1B2C3D4E5F6 01F554 464152453031 {label}"));
    assert_eq!(diversify(&Key([0xA1; 16]), &input("01")), Key(value("key_1")));
    assert_eq!(diversify(&Key([0xAF; 16]), &input("F0")), Key(value("key_tmac")));
}

#[test]
fn the_reader_speaks_the_golden_debit() {
    let (commands, responses) = (lines("C"), lines("R"));
    let (mut authentication, _) = golden_session();
    assert_eq!(wrap(cmd::SELECT_APPLICATION, &crate::layout::AID), hex(commands[0]));
    assert_eq!(wrap(cmd::AUTHENTICATE_EV2_FIRST, &[1, 0]), hex(commands[1]));
    let challenge: [u8; 16] = hex(responses[1])[..16].try_into().unwrap();
    let part2 = authentication.answer_challenge(&challenge);
    assert_eq!(wrap(cmd::ADDITIONAL_FRAME, &part2), hex(commands[2]));
    let mut session: Session =
        authentication.finish_first(hex(responses[2])[..32].try_into().unwrap()).unwrap();
    assert_eq!(session.keys().0, &key("6D9396F14D24185A6B6D9D637F1CA5AC"));
    assert_eq!(session.keys().1, &key("E6E393257DC1C563A4EA1A2061CB824A"));
    assert_eq!(session.ti(), value("ti"));

    let plain = [
        (0x30..0x50).collect(),
        2350_u32.to_le_bytes().to_vec(),
        vec![],
        vec![],
        hex("59A98BC5EF05237D6CC1103076441174"),
        hex("07000000 09017E406B342133"),
    ];
    for (i, (mode, cmd, header, data)) in golden_commands().into_iter().enumerate() {
        let sealed = session.seal_command(mode, cmd, &header, &data);
        assert_eq!(wrap(cmd, &sealed), hex(commands[3 + i]), "command {i}");
        let response = hex(responses[3 + i]);
        let (payload, status) = response.split_at(response.len() - 2);
        assert_eq!(status, [0x91, 0x00]);
        assert_eq!(session.open_answer(mode, payload).as_ref(), Ok(&plain[i]), "answer {i}");
    }
}

#[test]
fn the_golden_transaction_mac_follows_from_its_steps() {
    let mut tmi = Tmi::new();
    tmi.step(cmd::READ_DATA, &READ_HEADER, &(0x30..0x50).collect::<Vec<_>>());
    tmi.step(cmd::GET_VALUE, &hex("03 2E090000"), &[]);
    tmi.step(cmd::DEBIT, &hex("03 13010000"), &[]);
    tmi.step(cmd::WRITE_RECORD, &span(4, 0, 16), &(1..=16).collect::<Vec<_>>());
    let previous = hex("59A98BC5EF05237D6CC1103076441174");
    tmi.step(cmd::COMMIT_READER_ID, &[&b"READER0000000001"[..], &previous].concat(), &[]);
    let published = "BD010000002000000000000000000000303132333435363738393A3B3C3D3E3F\
                     404142434445464748494A4B4C4D4E4F6C032E09000000000000000000000000\
                     DC0313010000000000000000000000003B040000001000000000000000000000\
                     0102030405060708090A0B0C0D0E0F10C8524541444552303030303030303030\
                     3159A98BC5EF05237D6CC1103076441174000000000000000000000000000000";
    assert_eq!(tmi.as_bytes(), hex(published));
    let proof = transaction_proof(&Key(value("key_tmac")), &CardId(value("uid")), 7, &tmi);
    assert_eq!(proof.0, bytes("09017E406B342133"));
}

/// A card with the golden files, made by its own commands; six transactions behind it.
fn golden_card() -> VirtualCard {
    let mut card = VirtualCard::blank(CardId(value("uid")), [0; 16]);
    let key_1 = Key(value("key_1"));
    let mut terminal = Terminal::new(&mut card);
    terminal.create_app([0x01, 0xF5, 0x54], 0x0B, 2);
    terminal.login(0, &Key::ZERO);
    terminal.mac(cmd::CREATE_STD_DATA_FILE, &hex("01 03 0010 200000")).unwrap();
    let content: Vec<u8> = (0x30..0x50).collect();
    terminal.call(CommMode::Full, cmd::WRITE_DATA, &READ_HEADER, &content).unwrap();
    terminal.mac(cmd::CREATE_VALUE_FILE, &hex("03 03 101F 00000000 FFFFFF7F 2E090000 00")).unwrap();
    terminal.mac(cmd::CREATE_CYCLIC_RECORD_FILE, &hex("04 03 1011 100000 0A0000")).unwrap();
    let tmac = [value::<16>("key_tmac").as_slice(), &[0]].concat();
    terminal
        .call(CommMode::Full, cmd::CREATE_TRANSACTION_MAC_FILE, &hex("0F 00 101F 02"), &tmac)
        .unwrap();
    terminal.change_key(1, &key_1, Some(&Key::ZERO)).unwrap();
    terminal.login(1, &key_1);
    for _ in 0..6 {
        terminal.mac(cmd::COMMIT_READER_ID, b"READER0000000000").unwrap();
        terminal.mac(cmd::COMMIT_TRANSACTION, &[1]).unwrap();
    }
    card.power_off();
    let mut ti = [0; 16];
    ti[..4].copy_from_slice(&value::<4>("ti"));
    card.dictate_random(&[value("rnd_b"), ti]);
    card
}

#[test]
fn the_virtual_card_answers_the_golden_debit() {
    let mut card = golden_card();
    for (i, (command, response)) in lines("C").into_iter().zip(lines("R")).enumerate() {
        assert_eq!(card.handle_apdu(&hex(command)), hex(response), "exchange {i}");
    }
}

/// The cards that are out since before there were files for products: the virtual card issues them
/// as it did, and the debit machine speaks to them as it did.
#[test]
fn cards_issued_without_files_for_products_are_debited_as_ever() {
    const DEBIT: usize = 7;
    let golden = include_str!("../../../../tests/vectors/card/layout1-issue-and-debit.hex");
    let lines = |prefix| -> Vec<Vec<u8>> {
        golden.lines().filter_map(|line| line.strip_prefix(prefix)).map(hex).collect()
    };
    let exchanges: Vec<_> = lines("C ").into_iter().zip(lines("R ")).collect();
    let (issue, taps) = exchanges.split_at(exchanges.len() - DEBIT);
    let mut card = VirtualCard::blank(UID, [1; 16]);
    for (i, (command, response)) in issue.iter().enumerate() {
        assert_eq!(card.handle_apdu(command), *response, "exchange {i}");
    }
    card.power_off();
    assert_eq!(card.contents().unwrap().products, None, "no files for products");
    let mut expected = taps.iter();
    let settlement = debit(&mut start(&card), 275, &mut |apdu| {
        let (command, response) = expected.next().expect("seven exchanges");
        assert_eq!(apdu, command);
        assert_eq!(card.handle_apdu(apdu), *response);
        Ok(response.clone())
    });
    assert!(matches!(settlement, Settlement::Committed { .. }));
    assert_eq!(expected.next(), None);
}

#[test]
fn a_debit_takes_seven_exchanges_of_at_most_61_bytes() {
    let mut card = super::issued_card();
    for (amount, exchanges) in [(275, 7), (0, 6)] {
        card.power_off();
        let mut machine = start(&card);
        let mut count = 0;
        let settlement = debit(&mut machine, amount, &mut |apdu| {
            count += 1;
            let response = card.handle_apdu(apdu);
            assert!(apdu.len() <= 61 && response.len() <= 61, "one radio block each");
            Ok(response)
        });
        assert!(matches!(settlement, Settlement::Committed { .. }));
        assert_eq!(count, exchanges);
    }
}

#[test]
fn the_record_written_is_the_record_found_next() {
    let mut card = super::issued_card();
    let mut machine = start(&card);
    let CardOutput::Found(found) = run(&mut machine, &mut |a| Ok(card.handle_apdu(a))) else {
        panic!("found");
    };
    let after = charge(&found.record, 275);
    machine.write(&after).unwrap();
    assert_eq!(run(&mut machine, &mut |a| Ok(card.handle_apdu(a))), CardOutput::ReadyToCommit);
    machine.commit();
    run(&mut machine, &mut |a| Ok(card.handle_apdu(a)));
    assert_eq!(super::newest(&mut card), after);
}
