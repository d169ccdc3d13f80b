//! The virtual card's rules: transactions, rights, secure messaging, settings, images.

use alloc::{vec, vec::Vec};

use super::{UID, bytes, debit, hex, issued_card, key, keys, newest, start};
use crate::apdu::{StatusWord, answer, cmd, parse_answer, span, wrap};
use crate::session::{Authentication, CommMode, Session, change_key_data};
use crate::{CardKeys, Key, KeyRole, Opening, Settlement, VirtualCard, layout};

/// A terminal with every key, for commands that the production machines do not send.
pub(crate) struct Terminal<'a> {
    card: &'a mut VirtualCard,
    session: Option<Session>,
}

type Reply = Result<Vec<u8>, StatusWord>;

impl<'a> Terminal<'a> {
    pub(crate) fn new(card: &'a mut VirtualCard) -> Self {
        Self { card, session: None }
    }

    /// One frame and its answer, as they are.
    pub(crate) fn raw(&mut self, apdu: &[u8]) -> Vec<u8> {
        self.card.handle_apdu(apdu)
    }

    /// Sends one command outside any session, fetching all frames.
    pub(crate) fn plain(&mut self, cmd: u8, data: &[u8]) -> Reply {
        let mut all = Vec::new();
        let mut apdu = wrap(cmd, data);
        loop {
            let response = self.card.handle_apdu(&apdu);
            let part = parse_answer(&response).expect("the card always answers with a status");
            all.extend_from_slice(part.data);
            match part.status {
                StatusWord::OK => return Ok(all),
                StatusWord::ADDITIONAL_FRAME => apdu = wrap(cmd::ADDITIONAL_FRAME, &[]),
                status => return Err(status),
            }
        }
    }

    pub(crate) fn select(&mut self, aid: [u8; 3]) -> Reply {
        self.session = None;
        self.plain(cmd::SELECT_APPLICATION, &aid)
    }

    pub(crate) fn create_app(&mut self, aid: [u8; 3], settings: u8, keys: u8) {
        let data = [&aid[..], &[settings, 0x80 | keys]].concat();
        self.plain(cmd::CREATE_APPLICATION, &data).unwrap();
        self.select(aid).unwrap();
    }

    pub(crate) fn try_login(&mut self, key_no: u8, key: &Key) -> Reply {
        let mut authentication = Authentication::new(key.clone(), [0x33; 16]);
        let response = self.card.handle_apdu(&wrap(cmd::AUTHENTICATE_EV2_FIRST, &[key_no, 0]));
        let part1 = parse_answer(&response).unwrap();
        let challenge: [u8; 16] = part1.data.try_into().map_err(|_| part1.status)?;
        let part2 = authentication.answer_challenge(&challenge);
        let reply = self.plain(cmd::ADDITIONAL_FRAME, &part2)?;
        self.session = authentication.finish_first(reply.as_slice().try_into().unwrap());
        assert!(self.session.is_some());
        Ok(reply)
    }

    pub(crate) fn login(&mut self, key_no: u8, key: &Key) {
        self.try_login(key_no, key).expect("the key is right");
    }

    pub(crate) fn sealed(
        &mut self,
        modes: [CommMode; 2],
        cmd: u8,
        head: &[u8],
        data: &[u8],
    ) -> Reply {
        let mut session = self.session.take().expect("logged in");
        let reply = self.plain(cmd, &session.seal_command(modes[0], cmd, head, data))?;
        let opened = session.open_answer(modes[1], &reply).expect("the card seals its answers");
        self.session = Some(session);
        Ok(opened)
    }

    /// What a terminal would send that does not care whether the card wants it so.
    pub(crate) fn seal(&self, mode: CommMode, cmd: u8, head: &[u8], data: &[u8]) -> Vec<u8> {
        self.session.as_ref().expect("logged in").seal_command(mode, cmd, head, data)
    }

    pub(crate) fn call(&mut self, mode: CommMode, cmd: u8, head: &[u8], data: &[u8]) -> Reply {
        self.sealed([mode, mode], cmd, head, data)
    }

    pub(crate) fn mac(&mut self, cmd: u8, data: &[u8]) -> Reply {
        self.call(CommMode::Mac, cmd, data, &[])
    }

    pub(crate) fn change_key(&mut self, no: u8, new: &Key, old: Option<&Key>) -> Reply {
        self.call(CommMode::Full, cmd::CHANGE_KEY, &[no], &change_key_data(new, 1, old))
    }
}

/// An application whose files are free to all, without Transaction MAC: plain commands suffice.
fn free_card() -> VirtualCard {
    let mut card = VirtualCard::blank(UID, [0; 16]);
    let mut t = Terminal::new(&mut card);
    t.create_app([1, 2, 3], 0x0F, 1);
    t.plain(cmd::CREATE_STD_DATA_FILE, &hex("01 00 EEEE 200000")).unwrap();
    t.plain(cmd::CREATE_VALUE_FILE, &hex("02 00 EEEE 00000000 E8030000 64000000 01")).unwrap();
    t.plain(cmd::CREATE_BACKUP_DATA_FILE, &hex("03 00 EEEE 100000")).unwrap();
    t.plain(cmd::CREATE_LINEAR_RECORD_FILE, &hex("04 00 EEEE 040000 020000")).unwrap();
    t.plain(cmd::CREATE_CYCLIC_RECORD_FILE, &hex("05 00 EEEE 040000 030000")).unwrap();
    card
}

fn le(amount: u32) -> [u8; 4] {
    amount.to_le_bytes()
}

fn value_of(t: &mut Terminal<'_>) -> u32 {
    u32::from_le_bytes(t.plain(cmd::GET_VALUE, &[2]).unwrap().try_into().unwrap())
}

#[test]
fn backed_up_files_change_together_at_commit_and_standard_files_at_once() {
    let mut card = free_card();
    let mut t = Terminal::new(&mut card);
    t.plain(cmd::WRITE_DATA, &[&span(1, 0, 2)[..], &[7, 8]].concat()).unwrap();
    t.plain(cmd::WRITE_DATA, &[&span(3, 0, 2)[..], &[7, 8]].concat()).unwrap();
    t.plain(cmd::DEBIT, &[&[2][..], &le(30)].concat()).unwrap();
    t.plain(cmd::WRITE_RECORD, &[&span(5, 0, 4)[..], &[1; 4]].concat()).unwrap();
    let mut aborted = t.card.clone();
    t.plain(cmd::COMMIT_TRANSACTION, &[]).unwrap();
    let read = |t: &mut Terminal<'_>, file| t.plain(cmd::READ_DATA, &span(file, 0, 2));
    assert_eq!(read(&mut t, 1), Ok(vec![7, 8]));
    assert_eq!(read(&mut t, 3), Ok(vec![7, 8]));
    assert_eq!(value_of(&mut t), 70);
    assert_eq!(t.plain(cmd::READ_RECORDS, &span(5, 0, 0)), Ok(vec![1; 4]));

    aborted.power_off();
    let mut t = Terminal::new(&mut aborted);
    t.select([1, 2, 3]).unwrap();
    assert_eq!(read(&mut t, 1), Ok(vec![7, 8]), "standard files do not wait");
    assert_eq!(read(&mut t, 3), Ok(vec![0, 0]));
    assert_eq!(value_of(&mut t), 100);
    assert_eq!(t.plain(cmd::READ_RECORDS, &span(5, 0, 0)), Err(StatusWord::BOUNDARY));
}

#[test]
fn power_off_select_error_abort_and_login_end_the_transaction() {
    type Ending = fn(&mut Terminal<'_>);
    let endings: [(&str, Ending); 5] = [
        ("power off", |t| t.card.power_off()),
        ("select", |t| drop(t.select([1, 2, 3]))),
        ("error", |t| assert!(t.plain(cmd::GET_VALUE, &[9]).is_err())),
        ("abort", |t| drop(t.plain(cmd::ABORT_TRANSACTION, &[]).unwrap())),
        ("login", |t| t.login(0, &Key::ZERO)),
    ];
    for (name, end) in endings {
        let mut card = free_card();
        let mut t = Terminal::new(&mut card);
        t.plain(cmd::DEBIT, &[&[2][..], &le(30)].concat()).unwrap();
        end(&mut t);
        t.select([1, 2, 3]).unwrap();
        assert_eq!(t.plain(cmd::COMMIT_TRANSACTION, &[]), Err(StatusWord::NO_CHANGES), "{name}");
        assert_eq!(value_of(&mut t), 100, "{name}");
    }
}

#[test]
fn values_stay_within_their_limits_counting_what_is_pending() {
    let mut card = free_card();
    let mut t = Terminal::new(&mut card);
    let move_value =
        |t: &mut Terminal<'_>, cmd, amount| t.plain(cmd, &[&[2][..], &le(amount)].concat());
    move_value(&mut t, cmd::DEBIT, 60).unwrap();
    assert_eq!(move_value(&mut t, cmd::DEBIT, 41), Err(StatusWord::BOUNDARY));
    assert_eq!(move_value(&mut t, cmd::CREDIT, 901), Err(StatusWord::BOUNDARY));
    assert_eq!(move_value(&mut t, cmd::DEBIT, 1 << 31), Err(StatusWord::PARAMETER));
    move_value(&mut t, cmd::DEBIT, 60).unwrap();
    move_value(&mut t, cmd::DEBIT, 40).unwrap();
    t.plain(cmd::COMMIT_TRANSACTION, &[]).unwrap();
    assert_eq!(value_of(&mut t), 0);
    assert_eq!(move_value(&mut t, cmd::LIMITED_CREDIT, 101), Err(StatusWord::BOUNDARY));
    move_value(&mut t, cmd::LIMITED_CREDIT, 100).unwrap();
    t.plain(cmd::COMMIT_TRANSACTION, &[]).unwrap();
    assert_eq!(value_of(&mut t), 100);
    assert_eq!(move_value(&mut t, cmd::LIMITED_CREDIT, 1), Err(StatusWord::BOUNDARY), "once");
}

#[test]
fn record_files_keep_the_newest_or_say_that_they_are_full() {
    let mut card = free_card();
    let mut t = Terminal::new(&mut card);
    for i in 1..=3 {
        for file in [4, 5] {
            let written = t.plain(cmd::WRITE_RECORD, &[&span(file, 0, 4)[..], &[i; 4]].concat());
            let full = file == 4 && i == 3;
            assert_eq!(written.is_err(), full, "record {i} of file {file}");
            if !full {
                t.plain(cmd::COMMIT_TRANSACTION, &[]).unwrap();
            }
        }
    }
    let mut read = |file, from, count| t.plain(cmd::READ_RECORDS, &span(file, from, count));
    assert_eq!(read(5, 0, 0), Ok(vec![2, 2, 2, 2, 3, 3, 3, 3]), "two of three places are kept");
    assert_eq!(read(5, 0, 1), Ok(vec![3; 4]), "0 is the newest");
    assert_eq!(read(5, 1, 1), Ok(vec![2; 4]));
    assert_eq!(read(5, 1, 2), Err(StatusWord::BOUNDARY));
    assert_eq!(read(4, 0, 0), Ok(vec![1, 1, 1, 1, 2, 2, 2, 2]));
}

#[test]
fn several_writes_patch_one_record_and_commit_it_once() {
    let mut card = free_card();
    let mut t = Terminal::new(&mut card);
    t.plain(cmd::WRITE_RECORD, &[&span(5, 0, 2)[..], &[1, 1]].concat()).unwrap();
    t.plain(cmd::WRITE_RECORD_ISO, &[&span(5, 1, 2)[..], &[2, 2]].concat()).unwrap();
    t.plain(cmd::COMMIT_TRANSACTION, &[]).unwrap();
    assert_eq!(t.plain(cmd::READ_RECORDS_ISO, &span(5, 0, 0)), Ok(vec![1, 2, 2, 0]));
}

#[test]
fn long_reads_and_writes_are_chained_and_chains_are_not_interrupted() {
    let mut card = VirtualCard::blank(UID, [0; 16]);
    let mut t = Terminal::new(&mut card);
    t.create_app([1, 2, 3], 0x0F, 1);
    t.plain(cmd::CREATE_STD_DATA_FILE, &hex("01 00 EEEE C80000")).unwrap();
    let content: Vec<u8> = (0..200).collect();
    let start = [&span(1, 0, 200)[..], &content[..40]].concat();
    let more = answer(&[], StatusWord::ADDITIONAL_FRAME);
    let send = |t: &mut Terminal<'_>, cmd, data: &[u8]| t.card.handle_apdu(&wrap(cmd, data));
    assert_eq!(send(&mut t, cmd::WRITE_DATA, &start), more);
    assert_eq!(send(&mut t, cmd::ADDITIONAL_FRAME, &content[40..90]), more);
    assert_eq!(send(&mut t, cmd::ADDITIONAL_FRAME, &content[90..]), [0x91, 0x00]);
    assert_eq!(t.plain(cmd::READ_DATA, &span(1, 0, 0)), Ok(content.clone()));
    assert_eq!(send(&mut t, cmd::READ_DATA, &span(1, 0, 0)).len(), 61);
    assert_eq!(send(&mut t, cmd::GET_FILE_IDS, &[]), [0x91, 0xCA], "a chain is aborted");
    assert_eq!(send(&mut t, cmd::READ_DATA_ISO, &span(1, 0, 0)).len(), 202, "one answer");
}

#[test]
fn in_a_session_long_answers_carry_one_mac_at_their_end() {
    for mode in [CommMode::Mac, CommMode::Full] {
        let mut card = VirtualCard::blank(UID, [0; 16]);
        let mut t = Terminal::new(&mut card);
        t.create_app([1, 2, 3], 0x0B, 1);
        t.login(0, &Key::ZERO);
        let mode_byte = if mode == CommMode::Full { 3 } else { 1 };
        let create = [&[1, mode_byte][..], &hex("0000 C80000")].concat();
        t.mac(cmd::CREATE_STD_DATA_FILE, &create).unwrap();
        let content: Vec<u8> = (0..200).collect();
        t.call(mode, cmd::WRITE_DATA, &span(1, 0, 200), &content).unwrap();
        assert_eq!(t.call(mode, cmd::READ_DATA, &span(1, 0, 0), &[]), Ok(content));
        let version = t.mac(cmd::GET_VERSION, &[]).unwrap();
        assert_eq!(version[14..21], UID.0);
        let modes = [CommMode::Mac, CommMode::Full];
        assert_eq!(t.sealed(modes, cmd::GET_CARD_UID, &[], &[]), Ok(UID.0.to_vec()));
    }
}

#[test]
fn a_session_ends_with_the_first_wrong_mac() {
    let mut card = issued_card();
    let debit_key = keys().debit_key(&UID).unwrap();
    let mut t = Terminal::new(&mut card);
    t.select(layout::AID).unwrap();
    t.login(layout::KEY_DEBIT, &debit_key.key);
    let session = t.session.clone().unwrap();
    let mut tampered = session.seal_command(CommMode::Mac, cmd::GET_VALUE, &[2], &[]);
    tampered[0] ^= 4;
    assert!(t.plain(cmd::GET_VALUE, &tampered).is_err());
    let fine = session.seal_command(CommMode::Mac, cmd::GET_VALUE, &[2], &[]);
    assert_eq!(t.plain(cmd::GET_VALUE, &fine), Err(StatusWord::AUTHENTICATION));
}

#[test]
fn the_issued_card_gives_each_key_its_rights_and_no_more() {
    let mut card = issued_card();
    let logged_in = |card: &mut VirtualCard, role: KeyRole, no: u8| -> Session {
        let mut t = Terminal::new(card);
        t.select(layout::AID).unwrap();
        t.login(no, &keys().current_key(role, &UID).unwrap().key);
        t.session.unwrap()
    };
    let credit = [&[layout::FILE_VALUE][..], &le(1)].concat();
    let take = |card: &mut VirtualCard, role, no, cmd, data: &[u8]| {
        let session = logged_in(card, role, no);
        Terminal { card, session: Some(session) }.mac(cmd, data)
    };
    let (bus, load) = ((KeyRole::Debit, layout::KEY_DEBIT), (KeyRole::Load, layout::KEY_LOAD));
    let mut try_one =
        |who: (KeyRole, u8), cmd, data: &[u8]| take(&mut card, who.0, who.1, cmd, data);
    assert!(try_one(bus, cmd::DEBIT, &credit).is_ok());
    assert_eq!(try_one(bus, cmd::CREDIT, &credit), Err(StatusWord::AUTHENTICATION));
    assert_eq!(try_one(bus, cmd::LIMITED_CREDIT, &credit), Err(StatusWord::AUTHENTICATION));
    assert!(try_one(load, cmd::CREDIT, &credit).is_ok());
    assert!(try_one(bus, cmd::READ_DATA, &span(layout::FILE_PROFILE, 0, 0)).is_ok());
    let write = [&span(layout::FILE_PROFILE, 0, 1)[..], &[9]].concat();
    assert_eq!(try_one(bus, cmd::WRITE_DATA, &write), Err(StatusWord::AUTHENTICATION));
    let create = hex("06 01 0000 100000");
    assert_eq!(try_one(load, cmd::CREATE_STD_DATA_FILE, &create), Err(StatusWord::AUTHENTICATION));
    assert_eq!(try_one(bus, cmd::COMMIT_READER_ID, &[0; 16]), Err(StatusWord::PERMISSION_DENIED));
    let delete = try_one(bus, cmd::DELETE_APPLICATION, &layout::AID);
    assert_eq!(delete, Err(StatusWord::AUTHENTICATION));
    let mut t = Terminal::new(&mut card);
    t.select(layout::AID).unwrap();
    assert_eq!(t.plain(cmd::GET_VALUE, &[2]), Err(StatusWord::AUTHENTICATION), "nothing is free");
    assert_eq!(t.try_login(0, &Key::ZERO), Err(StatusWord::AUTHENTICATION), "no factory key left");
}

#[test]
fn the_profile_is_what_the_issuer_wrote() {
    let opening = Opening { deposit: 500, negative_limit: 100, issuer: 7, ..Opening::default() };
    let (mut card, _) = VirtualCard::issue(UID, [1; 16], &keys(), &opening).unwrap();
    let mut t = Terminal::new(&mut card);
    t.select(layout::AID).unwrap();
    t.login(layout::KEY_DEBIT, &keys().debit_key(&UID).unwrap().key);
    let read = t.mac(cmd::READ_DATA, &span(layout::FILE_PROFILE, 0, 0)).unwrap();
    let profile = layout::Profile::from_bytes(read.as_slice().try_into().unwrap()).unwrap();
    assert_eq!((profile.deposit, profile.negative_limit, profile.issuer), (500, 100, 7));
    assert_eq!((profile.currency, profile.to_bytes().to_vec()), (*b"EUR", read));
    let settings = |t: &mut Terminal<'_>, no| t.mac(cmd::GET_FILE_SETTINGS, &[no]).unwrap();
    assert_eq!(settings(&mut t, layout::FILE_PROFILE), hex("00 01 0010 200000"));
    let value = hex("02 01 201F 9CFFFFFF FFFFFF7F 00000000 00");
    assert_eq!(settings(&mut t, layout::FILE_VALUE), value);
    assert_eq!(settings(&mut t, layout::FILE_LOG), hex("04 01 2011 200000 0D0000 010000"));
    assert_eq!(settings(&mut t, layout::FILE_TMAC), hex("05 01 F01F 02 01"));
    assert_eq!(t.mac(cmd::GET_KEY_SETTINGS, &[]), Ok(vec![0x0B, 0x83]));
    assert_eq!(t.mac(cmd::GET_KEY_VERSION, &[1]), Ok(vec![1]));
    let mut files = t.mac(cmd::GET_FILE_IDS, &[]).unwrap();
    files.sort_unstable();
    assert_eq!(files, [1, 2, 3, 4, 5, 15]);
}

#[test]
fn a_blank_card_answers_what_card_tools_ask() {
    let mut card = VirtualCard::blank(UID, [0; 16]);
    assert_eq!(card.handle_apdu(&hex("00A4040007D2760000850100")), [0x90, 0x00]);
    assert_eq!(card.handle_apdu(&hex("00A4040007A000000003101000")), [0x6A, 0x82]);
    let mut t = Terminal::new(&mut card);
    let version = hex("04010133001A05 04010103001A05 04A1B2C3D4E5F6 CF12345678 3021");
    assert_eq!(t.plain(cmd::GET_VERSION, &[]), Ok(version));
    assert_eq!(t.plain(cmd::GET_KEY_SETTINGS, &[]), Ok(vec![0x0F, 0x01]));
    assert_eq!(t.plain(cmd::GET_KEY_VERSION, &[0]), Ok(vec![0]));
    assert_eq!(t.plain(cmd::FREE_MEM, &[]), Ok(hex("002000")));
    assert_eq!(t.plain(cmd::GET_APPLICATION_IDS, &[]), Ok(vec![]));
    t.create_app([1, 2, 3], 0x0F, 14);
    t.select([0; 3]).unwrap();
    assert_eq!(t.plain(cmd::GET_APPLICATION_IDS, &[]), Ok(vec![1, 2, 3]));
    let again = t.plain(cmd::CREATE_APPLICATION, &hex("010203 0F 81"));
    assert_eq!(again, Err(StatusWord::DUPLICATE));
    assert_eq!(t.plain(0xFF, &[]), Err(StatusWord::ILLEGAL_COMMAND));
    assert_eq!(t.select([9; 3]), Err(StatusWord::NO_SUCH_APPLICATION));
}

#[test]
fn memory_is_finite() {
    let mut card = VirtualCard::blank(UID, [0; 16]);
    let mut t = Terminal::new(&mut card);
    t.create_app([1, 2, 3], 0x0F, 1);
    let huge = t.plain(cmd::CREATE_STD_DATA_FILE, &hex("01 00 EEEE FFFFFF"));
    assert_eq!(huge, Err(StatusWord::OUT_OF_EEPROM));
    let huge = t.plain(cmd::CREATE_CYCLIC_RECORD_FILE, &hex("01 00 EEEE FFFFFF FFFFFF"));
    assert_eq!(huge, Err(StatusWord::OUT_OF_EEPROM));
}

#[test]
fn published_authentications_run_on_the_whole_card() {
    // AN12196 6.6 and, for key 3, table 19.
    for (first, rnd_b, ti, challenge, part2, last) in [
        (
            "9071000002000000",
            "B9E2FC789B64BF237CCCAA20EC7E6E48",
            "9D00C4DF",
            "A04C124213C186F22399D33AC2A30215 91AF",
            "35C3E05A752E0144BAC0DE51C1F22C56B34408A23D8AEA266CAB947EA8E0118D",
            "3FA64DB5446D1F34CD6EA311167F5E4985B89690C04A05F17FA7AB2F08120663 9100",
        ),
        (
            "9071000002030000",
            "91517975190DCEA6104948EFA3085C1B",
            "7614281A",
            "B875CEB0E66A6C5CD00898DC371F92D1 91AF",
            "FF0306E47DFBC50087C4D8A78E88E62DE1E8BE457AA477C707E2F0874916A8B1",
            "0CC9A8094A8EEA683ECAAC5C7BF20584206D0608D477110FC6B3D5D3F65C3A6A 9100",
        ),
    ] {
        let mut card = VirtualCard::blank(UID, [0; 16]);
        Terminal::new(&mut card).create_app([1, 2, 3], 0x0F, 5);
        let mut ti_block = [0; 16];
        ti_block[..4].copy_from_slice(&bytes::<4>(ti));
        card.dictate_random(&[bytes(rnd_b), ti_block]);
        assert_eq!(card.handle_apdu(&hex(first)), hex(challenge));
        assert_eq!(card.handle_apdu(&wrap(0xAF, &hex(part2))), hex(last));
    }
}

#[test]
fn changing_keys_follows_the_application_settings() {
    let mut card = VirtualCard::blank(UID, [0; 16]);
    let mut t = Terminal::new(&mut card);
    t.create_app([1, 2, 3], 0x0B, 3);
    let new = key("F3847D627727ED3BC9C4CC050489B966");
    t.login(1, &Key::ZERO);
    let denied = t.change_key(2, &new, Some(&Key::ZERO));
    assert_eq!(denied, Err(StatusWord::PERMISSION_DENIED), "key 0 changes keys here");
    t.login(0, &Key::ZERO);
    assert_eq!(
        t.change_key(2, &new, Some(&Key([1; 16]))),
        Err(StatusWord::INTEGRITY),
        "the old key must be known"
    );
    t.login(0, &Key::ZERO);
    t.change_key(2, &new, Some(&Key::ZERO)).unwrap();
    let session = t.session.take().unwrap();
    let own = change_key_data(&new, 1, None);
    let sealed = session.seal_command(CommMode::Full, cmd::CHANGE_KEY, &[0], &own);
    assert_eq!(t.plain(cmd::CHANGE_KEY, &sealed), Ok(vec![]), "no MAC: the session is over");
    for no in [0, 2] {
        t.login(no, &new);
    }
    assert_eq!(t.try_login(9, &new), Err(StatusWord::NO_SUCH_KEY));
}

#[test]
fn a_card_comes_back_from_its_image_and_goes_on_with_fresh_randomness() {
    let mut card = issued_card();
    let mut copy = VirtualCard::from_bytes(&card.to_bytes()).unwrap();
    assert!(copy.same_contents(&card));
    let debit_it = |card: &mut VirtualCard| {
        let settlement = debit(&mut start(card), 275, &mut |a| Ok(card.handle_apdu(a)));
        assert!(matches!(settlement, Settlement::Committed { .. }));
        card.power_off();
    };
    debit_it(&mut copy);
    assert!(!copy.same_contents(&card), "one was debited");
    debit_it(&mut card);
    assert!(copy.same_contents(&card), "the same was done to both");
    assert_eq!(newest(&mut copy).balance, 725);
    assert!(VirtualCard::from_bytes(&card.to_bytes()[1..]).is_err());
}

#[test]
fn randomness_follows_seed_and_number_and_does_not_repeat() {
    let challenge = |card: &mut VirtualCard| {
        card.power_off();
        card.handle_apdu(&wrap(cmd::SELECT_APPLICATION, &layout::AID));
        card.handle_apdu(&wrap(cmd::AUTHENTICATE_EV2_FIRST, &[1, 0]))
    };
    let (mut a, mut b) = (issued_card(), issued_card());
    assert_eq!(challenge(&mut a), challenge(&mut b));
    assert_ne!(challenge(&mut a), challenge(&mut a.clone()), "drawn once, gone");
}
