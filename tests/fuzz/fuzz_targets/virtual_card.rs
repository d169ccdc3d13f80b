//! The virtual card on any sequence of commands: it answers each with a status, stays a card that
//! comes back from its image, and gives nobody value without the keys.
//!
//! The input is a list of APDUs, each behind its length; a length of 255 is the field going away,
//! 254 a login with the debit key, after which commands are sealed as a reader would.
#![no_main]

use std::sync::OnceLock;

use card::session::{Authentication, CommMode, Session};
use card::{CardKeys, Key, KeyRole, KeySet, Opening, VirtualCard, apdu, layout};
use libfuzzer_sys::fuzz_target;
use model::CardId;

const UID: CardId = CardId([4, 1, 2, 3, 4, 5, 6]);

fn keys() -> KeySet {
    KeySet::from_root(&Key([7; 16]))
}

fn issued() -> VirtualCard {
    static ISSUED: OnceLock<VirtualCard> = OnceLock::new();
    let issue = || {
        let opening = Opening { balance: 1_000, ..Opening::default() };
        VirtualCard::issue(UID, [1; 16], &keys(), &opening).expect("a blank card is issued").0
    };
    ISSUED.get_or_init(issue).clone()
}

fn login(card: &mut VirtualCard) -> Option<Session> {
    static DEBIT: OnceLock<Key> = OnceLock::new();
    let derive = || keys().current_key(KeyRole::Debit, &UID).expect("every role has a key").key;
    let key = DEBIT.get_or_init(derive).clone();
    let mut reader = Authentication::new(key, [3; 16]);
    card.handle_apdu(&apdu::wrap(apdu::cmd::SELECT_APPLICATION, &layout::AID));
    let first = apdu::wrap(apdu::cmd::AUTHENTICATE_EV2_FIRST, &[layout::KEY_DEBIT, 0]);
    let challenge = card.handle_apdu(&first);
    let part2 = reader.answer_challenge(challenge.first_chunk()?);
    let answer = card.handle_apdu(&apdu::wrap(apdu::cmd::ADDITIONAL_FRAME, &part2));
    reader.finish_first(answer.first_chunk()?)
}

fuzz_target!(|bytes: &[u8]| {
    let mut card = issued();
    let (mut rest, mut session) = (bytes, None);
    while let Some((&length, after)) = rest.split_first() {
        rest = after;
        match length {
            255 => {
                card.power_off();
                session = None;
            }
            254 => session = login(&mut card),
            _ => {
                let (command, after) = rest.split_at(usize::from(length).min(rest.len()));
                rest = after;
                let answer = match (&mut session, command) {
                    (Some(open), [mode, code, header, data @ ..]) if data.len() < 200 => {
                        let mode = [CommMode::Plain, CommMode::Mac, CommMode::Full]
                            [usize::from(*mode % 3)];
                        let header = usize::from(header % 11).min(data.len());
                        let (header, data) = data.split_at(header);
                        let sealed = open.seal_command(mode, *code, header, data);
                        let answer = card.handle_apdu(&apdu::wrap(*code, &sealed));
                        match answer.split_last_chunk::<2>() {
                            Some((data, [0x91, 0])) if open.open_answer(mode, data).is_ok() => {}
                            _ => session = None,
                        }
                        answer
                    }
                    _ => card.handle_apdu(command),
                };
                assert!(!answer.is_empty(), "a status, whatever was asked");
            }
        }
    }
    let image = card.to_bytes();
    let copy = VirtualCard::from_bytes(&image).expect("a card comes back from its own image");
    assert!(copy.same_contents(&card));
    if let Some(contents) = card.contents() {
        assert!(contents.balance <= 1_000, "the debit key and no key add nothing");
    }
});
