//! The schemes before EV2, at both ends and on the whole card: published vectors, and every
//! command that a tool of others sends to the card level.

use alloc::vec::Vec;

use super::virtual_card::Terminal;
use super::{UID, bytes, hex};
use crate::VirtualCard;
use crate::apdu::{StatusWord, cmd, parse_answer, wrap};
use crate::legacy::{AnyKey, Authentication, KeyKind, Scheme, Session, change_key_data};
use crate::session::CommMode;

type Reply = Result<Vec<u8>, StatusWord>;

pub(super) const SCHEMES: [(Scheme, KeyKind); 4] = [
    (Scheme::D40, KeyKind::Des),
    (Scheme::Iso, KeyKind::Des),
    (Scheme::Iso, KeyKind::Tdes3),
    (Scheme::Aes, KeyKind::Aes),
];

/// A terminal of the time before EV2.
pub(super) struct OldTerminal<'a> {
    pub(super) plain: Terminal<'a>,
    scheme: Scheme,
    session: Option<Session>,
}

impl<'a> OldTerminal<'a> {
    pub(super) fn new(card: &'a mut VirtualCard, scheme: Scheme) -> Self {
        Self { plain: Terminal::new(card), scheme, session: None }
    }

    pub(super) fn try_login(&mut self, key_no: u8, key: &AnyKey) -> Reply {
        let mut authentication = Authentication::new(self.scheme, key.clone(), [0x31; 16]);
        let code = match self.scheme {
            Scheme::D40 => cmd::AUTHENTICATE_LEGACY,
            Scheme::Iso => cmd::AUTHENTICATE_ISO,
            Scheme::Aes => cmd::AUTHENTICATE_AES,
        };
        let response = self.plain.raw(&wrap(code, &[key_no]));
        let part1 = parse_answer(&response).expect("the card answers with a status");
        if part1.status != StatusWord::ADDITIONAL_FRAME {
            return Err(part1.status);
        }
        let part2 = authentication.answer_challenge(part1.data).expect("of the key's length");
        let reply = self.plain.plain(cmd::ADDITIONAL_FRAME, &part2)?;
        self.session = Some(authentication.finish(&reply).expect("the card proves the key"));
        Ok(reply)
    }

    pub(super) fn login(&mut self, key_no: u8, key: &AnyKey) {
        self.try_login(key_no, key).expect("the key is right");
    }

    /// A command whose data is sealed by `modes[0]` and whose answer, `len` bytes of it, by
    /// `modes[1]`.
    pub(super) fn call(
        &mut self,
        modes: [CommMode; 2],
        cmd: u8,
        head: &[u8],
        data: &[u8],
        len: usize,
    ) -> Reply {
        let mut session = self.session.take().expect("logged in");
        let sealed = session.seal_command(modes[0], cmd, head, data, &[]);
        let reply = self.plain.plain(cmd, &sealed)?;
        let opened = session.open_answer(modes[1], &reply, len).expect("sealed by the card");
        self.session = Some(session);
        Ok(opened)
    }

    /// What would be sent, for a test that changes it on the way.
    pub(super) fn seal(&mut self, mode: CommMode, cmd: u8, head: &[u8], data: &[u8]) -> Vec<u8> {
        self.session.as_mut().expect("logged in").seal_command(mode, cmd, head, data, &[])
    }

    /// A command of administration without secret data.
    pub(super) fn ask(&mut self, cmd: u8, data: &[u8]) -> Reply {
        self.call([CommMode::Plain; 2], cmd, data, &[], 0)
    }

    pub(super) fn set(&mut self, cmd: u8, head: &[u8], data: &[u8]) -> Reply {
        self.call([CommMode::Full, CommMode::Plain], cmd, head, data, 0)
    }

    /// `old` is the key being replaced, or `None` for the key of the session, which then ends.
    pub(super) fn change_key(&mut self, number: u8, new: &AnyKey, old: Option<&AnyKey>) -> Reply {
        let (data, tail) = change_key_data(self.scheme, new, 7, old);
        let mut session = self.session.take().expect("logged in");
        let full = CommMode::Full;
        let sealed = session.seal_command(full, cmd::CHANGE_KEY, &[number], &data, &tail);
        let reply = self.plain.plain(cmd::CHANGE_KEY, &sealed)?;
        if old.is_some() {
            let opened = session.open_answer(CommMode::Plain, &reply, 0).expect("sealed");
            self.session = Some(session);
            return Ok(opened);
        }
        assert!(reply.is_empty(), "the session ended with its key");
        Ok(reply)
    }
}

pub(super) fn blank() -> VirtualCard {
    VirtualCard::blank(UID, [0; 16])
}

/// A key that is not zero, of this kind; both halves differ.
pub(super) fn some_key(kind: KeyKind) -> AnyKey {
    let text = "00112233445566778899AABBCCDDEEFF0123456789ABCDEF";
    AnyKey::new(kind, &hex(text)).unwrap()
}

#[test]
fn ev1_authentication_speaks_the_published_bytes_at_both_ends() {
    // AN0945, table 22.
    let rnd_a = "2347C1557F80707ABDFF86BF9D965CA7";
    let rnd_b = "1EA0353A7D2947D8BBC6AD6FB52FCA84";
    let challenge = "C5537C8EFFFCC7E152C27831AFD383BA";
    let part2 = "1EF512D957973AED7E6E13991EB0FB431B373EA23400A3AC0B7749CD6FB1C328";
    let last = "FFC212245F03DB0EA0645A495190952A";
    let zero = AnyKey::zero(KeyKind::Aes);
    let mut reader = Authentication::new(Scheme::Aes, zero.clone(), bytes(rnd_a));
    assert_eq!(reader.answer_challenge(&hex(challenge)), Some(hex(part2)));
    let mut at_reader = reader.finish(&hex(last)).expect("the answer is the card's");

    let mut card = blank();
    Terminal::new(&mut card).create_app([1, 2, 3], 0x0F, 1);
    card.dictate_random(&[bytes(rnd_b)]);
    let ok = |data: &str, status: [u8; 2]| [hex(data), status.to_vec()].concat();
    assert_eq!(card.handle_apdu(&wrap(cmd::AUTHENTICATE_AES, &[0])), ok(challenge, [0x91, 0xAF]));
    assert_eq!(card.handle_apdu(&wrap(cmd::ADDITIONAL_FRAME, &hex(part2))), ok(last, [0x91, 0]));
    // The session key of the table, through what both ends make of it.
    let session_key = hex("2347C1551EA0353A9D965CA7B52FCA84");
    let key = AnyKey::new(KeyKind::Aes, &session_key).unwrap();
    let mut published = Session::new(Scheme::Aes, &key);
    let asked = at_reader.seal_command(CommMode::Mac, cmd::GET_KEY_SETTINGS, &[], &[], &[]);
    let same = published.seal_command(CommMode::Mac, cmd::GET_KEY_SETTINGS, &[], &[], &[]);
    assert_eq!(asked, same);
    let answer = card.handle_apdu(&wrap(cmd::GET_KEY_SETTINGS, &[]));
    let answer = parse_answer(&answer).unwrap();
    assert_eq!(at_reader.open_answer(CommMode::Plain, answer.data, 0), Ok(hex("0F81")));
    assert_eq!(published.open_answer(CommMode::Plain, answer.data, 0), Ok(hex("0F81")));
}

#[test]
fn a_factory_card_knows_the_zero_des_key_and_no_other() {
    for scheme in [Scheme::D40, Scheme::Iso] {
        let mut card = blank();
        let mut t = OldTerminal::new(&mut card, scheme);
        let wrong = t.try_login(0, &some_key(KeyKind::Des));
        assert_eq!(wrong, Err(StatusWord::AUTHENTICATION), "{scheme:?}");
        assert_eq!(t.try_login(1, &AnyKey::zero(KeyKind::Des)), Err(StatusWord::NO_SUCH_KEY));
        t.login(0, &AnyKey::zero(KeyKind::Des));
        let uid = t.call([CommMode::Plain, CommMode::Full], cmd::GET_CARD_UID, &[], &[], 7);
        assert_eq!(uid, Ok(UID.0.to_vec()), "{scheme:?}");
    }
    let mut card = blank();
    let mut t = OldTerminal::new(&mut card, Scheme::Aes);
    let aes = t.try_login(0, &AnyKey::zero(KeyKind::Aes));
    assert_eq!(aes, Err(StatusWord::AUTHENTICATION), "its key is DES");
}

#[test]
fn the_master_key_of_the_card_can_become_a_key_of_any_kind_and_go_back() {
    let mut card = blank();
    let mut known = AnyKey::zero(KeyKind::Des);
    for (scheme, kind) in SCHEMES.into_iter().chain([SCHEMES[0]]) {
        // The key so far logs in by its own scheme; the number of the new one tells its kind.
        let own = [Scheme::Iso, Scheme::Aes].into_iter().find(|s| s.takes(known.kind()));
        let mut t = OldTerminal::new(&mut card, own.unwrap());
        t.plain.select([0; 3]).unwrap();
        t.login(0, &known);
        t.change_key(kind.bits(), &some_key(kind), None).unwrap();
        known = some_key(kind);
        let mut t = OldTerminal::new(&mut card, scheme);
        t.login(0, &known);
        let settings = t.ask(cmd::GET_KEY_SETTINGS, &[]);
        assert_eq!(settings, Ok([0x0F, kind.bits() | 1].to_vec()), "{kind:?}");
        let version = if kind == KeyKind::Aes { 7 } else { known.parity_version() };
        assert_eq!(t.ask(cmd::GET_KEY_VERSION, &[0]), Ok([version].to_vec()));
        let copy = VirtualCard::from_bytes(&card.to_bytes()).unwrap();
        assert!(copy.same_contents(&card), "the image knows {kind:?}");
    }
}

#[test]
fn a_random_uid_changes_with_each_field_and_the_real_one_is_for_who_logs_in() {
    let mut card = blank();
    let mut t = OldTerminal::new(&mut card, Scheme::D40);
    t.login(0, &AnyKey::zero(KeyKind::Des));
    assert_eq!(t.set(cmd::SET_CONFIGURATION, &[0], &[2]), Ok(Vec::new()));
    let mut seen = Vec::new();
    for _ in 0..3 {
        card.power_off();
        let shown = card.shown_uid();
        assert_eq!((shown.len(), shown[0]), (4, 0x08));
        card.deselect();
        assert_eq!(card.shown_uid(), shown, "asleep it stays the same card");
        assert!(!seen.contains(&shown));
        seen.push(shown);
    }
    let mut t = OldTerminal::new(&mut card, Scheme::Iso);
    assert_eq!(t.plain.plain(cmd::GET_VERSION, &[]).unwrap()[14..21], [0; 7], "not told here");
    t.login(0, &AnyKey::zero(KeyKind::Des));
    let uid = t.call([CommMode::Plain, CommMode::Full], cmd::GET_CARD_UID, &[], &[], 7);
    assert_eq!(uid, Ok(UID.0.to_vec()));
    assert_eq!(t.set(cmd::SET_CONFIGURATION, &[0], &[0]), Ok(Vec::new()));
    let copy = VirtualCard::from_bytes(&card.to_bytes()).unwrap();
    assert_eq!(copy.shown_uid().len(), 4, "it cannot be switched off");
}
