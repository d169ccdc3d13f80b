//! The whole command set against a card: which command is protected how, who may, and what is
//! answered; native frames, ISO commands, record files, limits, images of older versions.

use alloc::{format, string::String, vec, vec::Vec};
use core::fmt::Write;

use expect_test::expect;

use super::old_schemes::{OldTerminal, SCHEMES, blank, some_key};
use super::virtual_card::Terminal;
use super::{UID, hex, keys};
use crate::apdu::{StatusWord, cmd, span, wrap};
use crate::legacy::{AnyKey, KeyKind, Scheme};
use crate::session::CommMode;
use crate::{Key, Opening, VirtualCard};

const APP: [u8; 3] = [1, 2, 3];
/// Key 1 reads and writes, key 0 changes, in files of each kind and mode.
const RIGHTS: &str = "10 11";

/// A file of each kind, number 1 to 5, in this mode.
fn furnish(create: &mut dyn FnMut(u8, &[u8]), mode: u8) {
    let file = |no: u8, rest: &str| [&[no, mode][..], &hex(RIGHTS), &hex(rest)].concat();
    create(cmd::CREATE_STD_DATA_FILE, &file(1, "460000"));
    create(cmd::CREATE_BACKUP_DATA_FILE, &file(2, "100000"));
    create(cmd::CREATE_VALUE_FILE, &file(3, "00000000 E8030000 64000000 01"));
    create(cmd::CREATE_LINEAR_RECORD_FILE, &file(4, "040000 020000"));
    create(cmd::CREATE_CYCLIC_RECORD_FILE, &file(5, "040000 030000"));
}

/// A card with an application of this kind of keys and its files.
fn furnished(kind: KeyKind, mode: u8) -> VirtualCard {
    let mut card = blank();
    let mut t = Terminal::new(&mut card);
    t.plain(cmd::CREATE_APPLICATION, &[1, 2, 3, 0x0F, kind.bits() | 3]).unwrap();
    t.select(APP).unwrap();
    furnish(&mut |cmd, data| drop(t.plain(cmd, data).unwrap()), mode);
    card
}

#[test]
fn every_old_scheme_reads_and_writes_files_of_every_kind_and_mode() {
    let modes = [(0, CommMode::Plain), (1, CommMode::Mac), (3, CommMode::Full)];
    for ((scheme, kind), (byte, mode)) in
        SCHEMES.into_iter().flat_map(|scheme| modes.map(|mode| (scheme, mode)))
    {
        let at = format!("{scheme:?} {kind:?} {mode:?}");
        let mut card = furnished(kind, byte);
        let mut t = OldTerminal::new(&mut card, scheme);
        t.plain.select(APP).unwrap();
        t.login(1, &AnyKey::zero(kind));
        let write = [mode, CommMode::Plain];
        let read = [CommMode::Plain, mode];
        for file in [1, 2] {
            let data: Vec<u8> = (1..=16).collect();
            t.call(write, cmd::WRITE_DATA, &span(file, 0, 16), &data, 0).expect(&at);
        }
        t.call(write, cmd::DEBIT, &[3], &30_u32.to_le_bytes(), 0).expect(&at);
        for file in [4, 5] {
            t.call(write, cmd::WRITE_RECORD, &span(file, 0, 4), &[file; 4], 0).expect(&at);
        }
        t.ask(cmd::COMMIT_TRANSACTION, &[]).expect(&at);
        // A read of unknown length is padded so that its end is seen.
        let all = t.call(read, cmd::READ_DATA, &span(1, 0, 0), &[], 70).expect(&at);
        assert_eq!((all.len(), &all[..3]), (70, &[1, 2, 3][..]), "{at}");
        let some = t.call(read, cmd::READ_DATA, &span(2, 4, 5), &[], 5);
        assert_eq!(some, Ok(vec![5, 6, 7, 8, 9]), "{at}");
        let value = t.call(read, cmd::GET_VALUE, &[3], &[], 4);
        assert_eq!(value, Ok(70_u32.to_le_bytes().to_vec()), "{at}");
        for file in [4, 5] {
            let record = t.call(read, cmd::READ_RECORDS, &span(file, 0, 1), &[], 4);
            assert_eq!(record, Ok(vec![file; 4]), "{at}");
        }
        t.set(cmd::CHANGE_FILE_SETTINGS, &[1], &hex("00 EE EE")).expect_err("key 1 may not");
        t.login(0, &AnyKey::zero(kind));
        t.set(cmd::CHANGE_FILE_SETTINGS, &[1], &hex("00 EE EE")).expect(&at);
        t.change_key(2, &some_key(kind), Some(&AnyKey::zero(kind))).expect(&at);
        t.set(cmd::CHANGE_KEY_SETTINGS, &[], &[0x0B]).expect(&at);
        assert_eq!(t.ask(cmd::GET_KEY_SETTINGS, &[]), Ok(vec![0x0B, kind.bits() | 3]), "{at}");
        t.change_key(0, &some_key(kind), None).expect(&at);
        for key_no in [0, 2] {
            t.login(key_no, &some_key(kind));
        }
        assert_eq!(t.try_login(1, &some_key(kind)), Err(StatusWord::AUTHENTICATION), "{at}");
    }
}

#[test]
fn an_old_session_ends_with_the_first_byte_that_is_wrong() {
    for (scheme, kind) in SCHEMES {
        for (byte, mode) in [(1, CommMode::Mac), (3, CommMode::Full)] {
            let mut card = furnished(kind, byte);
            let mut t = OldTerminal::new(&mut card, scheme);
            t.plain.select(APP).unwrap();
            t.login(1, &AnyKey::zero(kind));
            let mut sealed = t.seal(mode, cmd::DEBIT, &[3], &30_u32.to_le_bytes());
            *sealed.last_mut().unwrap() ^= 1;
            let refused = t.plain.plain(cmd::DEBIT, &sealed);
            assert_eq!(refused, Err(StatusWord::INTEGRITY), "{scheme:?} {mode:?}");
            let refused = t.plain.plain(cmd::GET_VALUE, &[3]);
            assert_eq!(refused, Err(StatusWord::AUTHENTICATION), "{scheme:?} {mode:?}");
        }
    }
}

/// What each command answers: outside a session, after the right key and after another one, in
/// each file mode where that matters. Sealed as the mode asks, by EV2.
#[test]
fn each_command_answers_by_key_and_mode() {
    let rows: [(&str, u8, &str, &str); 16] = [
        ("GetKeySettings", cmd::GET_KEY_SETTINGS, "", ""),
        ("GetFileIDs", cmd::GET_FILE_IDS, "", ""),
        ("GetFileSettings", cmd::GET_FILE_SETTINGS, "01", ""),
        ("ReadData", cmd::READ_DATA, "01 000000 040000", ""),
        ("WriteData", cmd::WRITE_DATA, "01 000000 020000", "0708"),
        ("GetValue", cmd::GET_VALUE, "03", ""),
        ("Credit", cmd::CREDIT, "03", "01000000"),
        ("LimitedCredit", cmd::LIMITED_CREDIT, "03", "00000000"),
        ("Debit", cmd::DEBIT, "03", "01000000"),
        ("ReadRecords", cmd::READ_RECORDS, "05 000000 000000", ""),
        ("WriteRecord", cmd::WRITE_RECORD, "05 000000 020000", "0102"),
        ("UpdateRecord", cmd::UPDATE_RECORD, "05 000000 000000 020000", "0102"),
        ("ClearRecordFile", cmd::CLEAR_RECORD_FILE, "05", ""),
        ("no such file", cmd::READ_DATA, "09 000000 040000", ""),
        ("too far", cmd::READ_DATA, "01 460000 010000", ""),
        ("no command", 0x01, "", ""),
    ];
    let mut table = String::new();
    for (name, code, head, data) in rows {
        write!(table, "{name:16}").unwrap();
        for (byte, mode) in [(0, CommMode::Plain), (1, CommMode::Mac), (3, CommMode::Full)] {
            let fixed = matches!(
                code,
                cmd::GET_KEY_SETTINGS
                    | cmd::GET_FILE_IDS
                    | cmd::GET_FILE_SETTINGS
                    | cmd::CLEAR_RECORD_FILE
            );
            let mode = if fixed { CommMode::Mac } else { mode };
            for key_no in [None, Some(1), Some(2)] {
                let mut card = furnished(KeyKind::Aes, byte);
                let mut t = Terminal::new(&mut card);
                t.select(APP).unwrap();
                let answer = if let Some(key_no) = key_no {
                    t.login(key_no, &Key::ZERO);
                    t.call(mode, code, &hex(head), &hex(data))
                } else {
                    t.plain(code, &[hex(head), hex(data)].concat())
                };
                let status = answer.map_or_else(|status| status, |_| StatusWord::OK);
                write!(table, " {:02x}", status.0 & 0xFF).unwrap();
            }
            table += " |";
        }
        table += "\n";
    }
    // none, key 1, key 2 in files of plain mode | of MAC mode | of full mode.
    expect![[r"
        GetKeySettings   00 00 00 | 00 00 00 | 00 00 00 |
        GetFileIDs       00 00 00 | 00 00 00 | 00 00 00 |
        GetFileSettings  00 00 00 | 00 00 00 | 00 00 00 |
        ReadData         ae 00 ae | ae 00 ae | ae 00 ae |
        WriteData        ae 00 ae | ae 00 ae | ae 00 ae |
        GetValue         ae 00 ae | ae 00 ae | ae 00 ae |
        Credit           ae 00 ae | ae 00 ae | ae 00 ae |
        LimitedCredit    ae 00 ae | ae 00 ae | ae 00 ae |
        Debit            ae 00 ae | ae 00 ae | ae 00 ae |
        ReadRecords      ae be ae | ae be ae | ae be ae |
        WriteRecord      ae 00 ae | ae 00 ae | ae 00 ae |
        UpdateRecord     ae be ae | ae be ae | ae be ae |
        ClearRecordFile  ae 00 ae | ae 00 ae | ae 00 ae |
        no such file     f0 f0 f0 | f0 f0 f0 | f0 f0 f0 |
        too far          ae be ae | ae be ae | ae be ae |
        no command       1c 1c 1c | 1c 1c 1c | 1c 1c 1c |
    "]]
    .assert_eq(&table);
}

#[test]
fn native_frames_are_answered_in_kind_and_kept_to() {
    let mut card = blank();
    assert_eq!(card.handle_apdu(&[0x60]), hex("AF 04010133001A05"));
    assert_eq!(card.handle_apdu(&[0xAF]), hex("AF 04010103001A05"));
    assert_eq!(card.handle_apdu(&[0xAF]), hex("00 04A1B2C3D4E5F6 CF12345678 3021"));
    assert_eq!(card.handle_apdu(&hex("CA 010203 0F 81")), [0x00]);
    assert_eq!(card.handle_apdu(&hex("5A 010203")), [0x00]);
    assert_eq!(card.handle_apdu(&hex("5A 090909")), [0xA0]);
    assert_eq!(card.handle_apdu(&hex("CD 01 00 EEEE 640000")), [0x00]);
    // A write of 100 bytes comes in frames, and so does their reading.
    let written: Vec<u8> = (0..100).collect();
    let first = [&hex("3D 01 000000 640000")[..], &written[..47]].concat();
    assert_eq!(card.handle_apdu(&first), [0xAF]);
    assert_eq!(card.handle_apdu(&[&[0xAF], &written[47..]].concat()), [0x00]);
    let read = card.handle_apdu(&hex("BD 01 000000 000000"));
    assert_eq!(read, [&[0xAF], &written[..59]].concat());
    assert_eq!(card.handle_apdu(&[0xAF]), [&[0x00], &written[59..]].concat());
    // Another command in the middle aborts; wrapped ones are none until the field was off.
    card.handle_apdu(&hex("BD 01 000000 000000"));
    assert_eq!(card.handle_apdu(&hex("64 00")), [0xCA]);
    assert_eq!(card.handle_apdu(&wrap(cmd::GET_VERSION, &[])), [0x1C]);
    assert_eq!(card.handle_apdu(&[]), [0x7E]);
    card.power_off();
    assert_eq!(card.handle_apdu(&wrap(cmd::GET_KEY_VERSION, &[0])), [0x00, 0x91, 0x00]);
    assert_eq!(card.handle_apdu(&[0x60]), [0x67, 0x00], "and now native ones are none");
}

#[test]
fn records_are_corrected_and_cleared_at_the_commit() {
    let mut card = furnished(KeyKind::Aes, 0);
    let mut t = Terminal::new(&mut card);
    let append = |t: &mut Terminal<'_>, byte: u8| {
        t.call(CommMode::Plain, cmd::WRITE_RECORD, &span(5, 0, 4), &[byte; 4]).unwrap();
        t.mac(cmd::COMMIT_TRANSACTION, &[]).unwrap();
    };
    t.select(APP).unwrap();
    t.login(1, &Key::ZERO);
    append(&mut t, 1);
    append(&mut t, 2);
    let read =
        |t: &mut Terminal<'_>| t.call(CommMode::Plain, cmd::READ_RECORDS, &span(5, 0, 0), &[]);
    // The older one, its last two bytes.
    let older = hex("05 010000 020000 020000");
    t.call(CommMode::Plain, cmd::UPDATE_RECORD, &older, &[9, 9]).unwrap();
    assert_eq!(read(&mut t), Ok(hex("01010101 02020202")), "not yet");
    t.mac(cmd::COMMIT_TRANSACTION, &[]).unwrap();
    assert_eq!(read(&mut t), Ok(hex("01010909 02020202")));
    // One that is not there.
    let beyond = hex("05 020000 000000 010000");
    let refused = t.call(CommMode::Plain, cmd::UPDATE_RECORD, &beyond, &[9]);
    assert_eq!(refused, Err(StatusWord::BOUNDARY));
    t.login(1, &Key::ZERO);
    t.mac(cmd::CLEAR_RECORD_FILE, &[5]).unwrap();
    assert_eq!(read(&mut t), Ok(hex("01010909 02020202")), "not yet");
    t.mac(cmd::ABORT_TRANSACTION, &[]).unwrap();
    t.mac(cmd::CLEAR_RECORD_FILE, &[5]).unwrap();
    let early = t.call(CommMode::Plain, cmd::WRITE_RECORD, &span(5, 0, 4), &[3; 4]);
    assert_eq!(early, Err(StatusWord::PERMISSION_DENIED), "cleared first, then written");
    t.login(1, &Key::ZERO);
    t.mac(cmd::CLEAR_RECORD_FILE, &[5]).unwrap();
    t.mac(cmd::COMMIT_TRANSACTION, &[]).unwrap();
    append(&mut t, 3);
    assert_eq!(read(&mut t), Ok(hex("03030303")));
}

#[test]
fn applications_and_files_are_found_by_iso_names() {
    let mut card = blank();
    let mut t = Terminal::new(&mut card);
    let first = hex("010203 0F 21 10E1 D2760000850101");
    t.plain(cmd::CREATE_APPLICATION, &first).unwrap();
    let same_name = hex("040506 0F 21 11E1 D2760000850101");
    assert_eq!(t.plain(cmd::CREATE_APPLICATION, &same_name), Err(StatusWord::DUPLICATE));
    t.plain(cmd::CREATE_APPLICATION, &hex("040506 0F 81 12E1 4142")).unwrap();
    // One application to a frame.
    let names = [t.raw(&wrap(cmd::GET_DF_NAMES, &[])), t.raw(&wrap(cmd::ADDITIONAL_FRAME, &[]))];
    assert_eq!(names[0], hex("010203 10E1 D2760000850101 91AF"));
    assert_eq!(names[1], hex("040506 12E1 4142 9100"));
    t.select(APP).unwrap();
    t.plain(cmd::CREATE_STD_DATA_FILE, &hex("01 03E1 00 EEEE 200000")).unwrap();
    t.plain(cmd::CREATE_BACKUP_DATA_FILE, &hex("02 04E1 00 EEEE 040000")).unwrap();
    t.plain(cmd::CREATE_STD_DATA_FILE, &hex("03 00 0000 040000")).unwrap();
    assert_eq!(t.plain(cmd::GET_ISO_FILE_IDS, &[]), Ok(hex("03E1 04E1")));
    for (command, answer) in [
        ("00A4040007D2760000850101", "9000"),
        ("00B0000004", "6986"),         // no file yet
        ("00A4000002E105", "6A82"),     // none of that identifier
        ("00A4000002E103", "9000"),     // the file
        ("00D600000401020304", "9000"), // written at once
        ("00B0000102", "02039000"),
        ("00B0001E04", "00006282"), // two bytes before its end
        ("00B0002001", "6B00"),
        ("00B0830002", "6982"), // by short identifier: not free
        ("00A4000002E110", "9000"),
        ("00B0820004", "000000009000"),
        ("00D682000107", "9000"), // a backup file waits for the commit
        ("00B0000004", "000000009000"),
        ("90C7000000", "9100"),
        ("00B0000004", "070000009000"),
        ("00A4000C023F00", "9000"), // the card level
        ("00B0820004", "6986"),
    ] {
        assert_eq!(t.raw(&hex(command)), hex(answer), "{command}");
    }
}

#[test]
fn the_card_level_is_configured_and_formatted_by_its_master_key_alone() {
    let mut card = blank();
    let zero = AnyKey::zero(KeyKind::Des);
    let mut t = OldTerminal::new(&mut card, Scheme::Iso);
    let anybody = t.plain.plain(cmd::FORMAT_PICC, &[]);
    assert_eq!(anybody, Err(StatusWord::AUTHENTICATION));
    t.login(0, &zero);
    let default = [[7; 24].as_slice(), &[9]].concat();
    t.set(cmd::SET_CONFIGURATION, &[1], &default).unwrap();
    let ats = hex("06 75 77 81 02 90");
    t.set(cmd::SET_CONFIGURATION, &[2], &ats).unwrap();
    t.ask(cmd::CREATE_APPLICATION, &hex("010203 0F 82")).unwrap();
    t.plain.select(APP).unwrap();
    assert_eq!(t.plain.plain(cmd::GET_KEY_VERSION, &[1]), Ok(vec![9]));
    t.plain.login(1, &Key([7; 16]));
    t.plain.select([0; 3]).unwrap();
    t.login(0, &zero);
    t.ask(cmd::DELETE_APPLICATION, &APP).unwrap();
    t.set(cmd::SET_CONFIGURATION, &[0], &[1]).unwrap();
    assert_eq!(t.ask(cmd::FORMAT_PICC, &[]), Err(StatusWord::PERMISSION_DENIED));
    t.login(0, &zero);
    let unknown = t.set(cmd::SET_CONFIGURATION, &[0], &[4]);
    assert_eq!(unknown, Err(StatusWord::PARAMETER));
    assert_eq!(card.ats(), ats);
}

#[test]
fn a_transaction_limit_ends_the_service_of_the_application() {
    let mut card = furnished(KeyKind::Aes, 0);
    let mut t = Terminal::new(&mut card);
    t.select(APP).unwrap();
    t.login(0, &Key::ZERO);
    let key = [&[8; 16][..], &[1]].concat();
    let proof = hex("0F 00 F01F 02");
    t.call(CommMode::Full, cmd::CREATE_TRANSACTION_MAC_FILE, &proof, &key).unwrap();
    let mut settings = hex("20 F01F 02000000");
    t.call(CommMode::Full, cmd::CHANGE_FILE_SETTINGS, &[0x0F], &settings).unwrap();
    settings = t.mac(cmd::GET_FILE_SETTINGS, &[0x0F]).unwrap();
    assert_eq!(settings, hex("05 20 F01F 02 01 02000000"));
    t.login(1, &Key::ZERO);
    for _ in 0..2 {
        t.call(CommMode::Plain, cmd::DEBIT, &[3], &[1, 0, 0, 0]).unwrap();
        t.mac(cmd::COMMIT_TRANSACTION, &[1]).unwrap();
    }
    let proof = t.call(CommMode::Plain, cmd::READ_DATA, &span(0x0F, 0, 4), &[]);
    assert_eq!(proof, Ok(vec![2, 0, 0, 0]), "the proof can be read to the end");
    let refused = t.call(CommMode::Plain, cmd::DEBIT, &[3], &[1, 0, 0, 0]);
    assert_eq!(refused, Err(StatusWord::PERMISSION_DENIED));
}

#[test]
fn a_key_set_other_than_the_only_one_is_refused_and_a_signature_is_not_invented() {
    let mut card = furnished(KeyKind::Aes, 0);
    let mut t = Terminal::new(&mut card);
    t.select(APP).unwrap();
    t.login(0, &Key::ZERO);
    let new = Key([5; 16]);
    let data = crate::session::change_key_data(&new, 3, Some(&Key::ZERO));
    let full = CommMode::Full;
    let other = t.call(full, cmd::CHANGE_KEY_EV2, &[1, 2], &data);
    assert_eq!(other, Err(StatusWord::PARAMETER));
    t.login(0, &Key::ZERO);
    t.call(full, cmd::CHANGE_KEY_EV2, &[0, 2], &data).unwrap();
    assert_eq!(t.mac(cmd::GET_KEY_VERSION, &[2]), Ok(vec![3]));
    t.login(2, &new);
    assert_eq!(t.plain(0x3C, &[0]), Err(StatusWord::ILLEGAL_COMMAND), "ReadSig");
}

/// An image as version 1 wrote it: an AES application with one file, and no card master key.
#[test]
fn an_image_of_version_1_is_a_card_with_its_factory_master_key() {
    let mut image = vec![1];
    image.extend(UID.0);
    image.push(0x0F);
    image.extend([3; 16]); // random key
    image.extend(5_u64.to_le_bytes());
    image.extend(1_u32.to_le_bytes());
    image.extend(hex("010203 0F"));
    image.extend(1_u32.to_le_bytes());
    image.extend([6; 16]);
    image.push(2);
    image.extend(1_u32.to_le_bytes());
    image.extend(hex("01 00 EEEE 00 02000000 AABB"));
    let mut card = VirtualCard::from_bytes(&image).expect("version 1 is still read");
    let mut t = OldTerminal::new(&mut card, Scheme::D40);
    t.login(0, &AnyKey::zero(KeyKind::Des));
    t.plain.select(APP).unwrap();
    assert_eq!(t.plain.plain(cmd::READ_DATA, &span(1, 0, 0)), Ok(hex("AABB")));
    t.plain.login(0, &Key([6; 16]));
    let again = VirtualCard::from_bytes(&card.to_bytes()).expect("and written as the newest");
    assert!(again.same_contents(&card));
    assert_eq!(card.to_bytes()[0], 2);
}

#[test]
fn the_issued_card_stays_closed_to_the_old_schemes() {
    let (mut card, _) =
        VirtualCard::issue(UID, [1; 16], &keys(), &Opening::default()).expect("it is issued");
    for scheme in [Scheme::D40, Scheme::Iso, Scheme::Aes] {
        let mut t = OldTerminal::new(&mut card, scheme);
        t.plain.select(crate::layout::AID).unwrap();
        let kind = if scheme == Scheme::Aes { KeyKind::Aes } else { KeyKind::Des };
        let login = t.try_login(0, &AnyKey::zero(kind));
        assert_eq!(login, Err(StatusWord::AUTHENTICATION), "{scheme:?}");
    }
}
