//! EV2 secure messaging, both ends: authentication, session keys, MAC and full mode, `ChangeKey`.
//!
//! Invariants: the reader uses no byte of an answer before its MAC was verified; the command
//! counter moves once per command on both ends; it never wraps.

use alloc::{boxed::Box, vec::Vec};

use zeroize::Zeroizing;

use crate::crypto::{Cipher, cbc_decrypt, jamcrc, same_mac};
use crate::keys::Key;

/// How a command or an answer is protected within a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommMode {
    /// Not at all; it still counts.
    Plain,
    /// In the clear with a MAC.
    Mac,
    /// Enciphered with a MAC; the header stays in the clear.
    Full,
}

/// Why a message was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// Shorter than its MAC, or no whole number of blocks.
    #[error("the message has a wrong length")]
    Length,
    /// Not made by the other end of this session, or changed on the way.
    #[error("the message's MAC is wrong")]
    Mac,
    /// The MAC holds but the padding does not.
    #[error("the message's padding is wrong")]
    Padding,
    /// 65,535 commands were sent.
    #[error("the session's command counter is used up")]
    Exhausted,
}

/// Reader end of an authentication; made anew for each.
#[derive(Debug)]
pub struct Authentication {
    key: Key,
    cipher: Box<Cipher>,
    rnd_a: [u8; 16],
    rnd_b: [u8; 16],
}

impl Authentication {
    /// With the key to prove and 16 random bytes from the shell.
    pub fn new(key: Key, rnd_a: [u8; 16]) -> Self {
        let cipher = Box::new(Cipher::new(&key));
        Self { key, cipher, rnd_a, rnd_b: [0; 16] }
    }

    /// What to send after the card's challenge.
    pub fn answer_challenge(&mut self, challenge: &[u8; 16]) -> [u8; 32] {
        self.rnd_b = *challenge;
        cbc_decrypt(&self.key, [0; 16], &mut self.rnd_b);
        let mut answer = [0; 32];
        answer[..16].copy_from_slice(&self.rnd_a);
        answer[16..].copy_from_slice(&rotate(self.rnd_b));
        self.cipher.cbc_encrypt([0; 16], &mut answer);
        answer
    }

    /// The session of `AuthenticateEV2First`; `None` when the card does not know the key.
    pub fn finish_first(self, answer: &[u8; 32]) -> Option<Session> {
        let mut plain = *answer;
        cbc_decrypt(&self.key, [0; 16], &mut plain);
        let (ti, rest) = plain.split_first_chunk::<4>()?;
        same_mac(&rest[..16], &rotate(self.rnd_a))
            .then(|| Session::derive(&self.cipher, &self.rnd_a, &self.rnd_b, *ti, 0))
    }

    /// The session of `AuthenticateEV2NonFirst` within `running`: new keys, same TI and counter.
    pub fn finish_non_first(self, answer: &[u8; 16], running: &Session) -> Option<Session> {
        let mut plain = *answer;
        cbc_decrypt(&self.key, [0; 16], &mut plain);
        same_mac(&plain, &rotate(self.rnd_a)).then(|| {
            Session::derive(&self.cipher, &self.rnd_a, &self.rnd_b, running.ti, running.counter)
        })
    }
}

/// Card end of an authentication.
#[derive(Debug, Clone)]
pub struct CardAuthentication {
    key: Key,
    cipher: Box<Cipher>,
    rnd_b: [u8; 16],
}

impl CardAuthentication {
    /// With the card's key and its 16 random bytes.
    pub fn new(key: Key, rnd_b: [u8; 16]) -> Self {
        let cipher = Box::new(Cipher::new(&key));
        Self { key, cipher, rnd_b }
    }

    /// The first answer.
    pub fn challenge(&self) -> [u8; 16] {
        self.cipher.ecb(self.rnd_b)
    }

    /// The second answer and the session; `None` when the reader does not know the key. With a
    /// running session it is `NonFirst`, and `ti` is ignored.
    pub fn finish(
        &self,
        part2: &[u8; 32],
        ti: [u8; 4],
        running: Option<&Session>,
    ) -> Option<(Vec<u8>, Session)> {
        let mut plain = *part2;
        cbc_decrypt(&self.key, [0; 16], &mut plain);
        let (rnd_a, rnd_b) = plain.split_first_chunk::<16>()?;
        if !same_mac(rnd_b, &rotate(self.rnd_b)) {
            return None;
        }
        let (mut answer, session) = if let Some(s) = running {
            let session = Session::derive(&self.cipher, rnd_a, &self.rnd_b, s.ti, s.counter);
            (rotate(*rnd_a).to_vec(), session)
        } else {
            let mut answer = Vec::with_capacity(32);
            answer.extend_from_slice(&ti);
            answer.extend_from_slice(&rotate(*rnd_a));
            answer.extend_from_slice(&[0; 12]); // PDcap2 and PCDcap2
            (answer, Session::derive(&self.cipher, rnd_a, &self.rnd_b, ti, 0))
        };
        self.cipher.cbc_encrypt([0; 16], &mut answer);
        Some((answer, session))
    }
}

/// A running session. Both ends hold the same values.
#[derive(Debug, Clone)]
pub struct Session {
    enc: Key,
    mac: Key,
    /// The MAC key expanded: every command and answer needs it.
    mac_cipher: Box<Cipher>,
    ti: [u8; 4],
    counter: u16,
}

pub(crate) const COMMAND: [u8; 2] = [0xA5, 0x5A];
pub(crate) const ANSWER: [u8; 2] = [0x5A, 0xA5];

impl Session {
    /// From its parts; used by tests against published sessions.
    pub fn from_parts(enc: Key, mac: Key, ti: [u8; 4], counter: u16) -> Self {
        let mac_cipher = Box::new(Cipher::new(&mac));
        Self { enc, mac, mac_cipher, ti, counter }
    }

    fn derive(key: &Cipher, a: &[u8; 16], b: &[u8; 16], ti: [u8; 4], counter: u16) -> Self {
        let mut sv = [0; 32];
        sv[..6].copy_from_slice(&[0xA5, 0x5A, 0x00, 0x01, 0x00, 0x80]);
        sv[6..8].copy_from_slice(&a[..2]);
        for i in 0..6 {
            sv[8 + i] = a[2 + i] ^ b[i];
        }
        sv[14..24].copy_from_slice(&b[6..]);
        sv[24..].copy_from_slice(&a[8..]);
        let enc = Key(key.cmac(&[&sv]));
        sv[..2].copy_from_slice(&[0x5A, 0xA5]);
        Self::from_parts(enc, Key(key.cmac(&[&sv])), ti, counter)
    }

    /// Commands exchanged so far.
    pub const fn counter(&self) -> u16 {
        self.counter
    }

    /// The transaction identifier of the session.
    pub const fn ti(&self) -> [u8; 4] {
        self.ti
    }

    /// The two session keys, encryption first; for tests against published values.
    pub const fn keys(&self) -> (&Key, &Key) {
        (&self.enc, &self.mac)
    }

    /// Reader: what follows `cmd` in the frame.
    pub fn seal_command(&self, mode: CommMode, cmd: u8, header: &[u8], data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(header.len() + data.len() + 24);
        out.extend_from_slice(header);
        self.append_body(mode, COMMAND, &mut out, data);
        if mode != CommMode::Plain {
            let mac = self.mac_cipher.mac_t(&[&[cmd], &self.counter.to_le_bytes(), &self.ti, &out]);
            out.extend_from_slice(&mac);
        }
        out
    }

    /// Card: the data that follows a header of `header_len` bytes. The counter moves.
    pub fn open_command(
        &mut self,
        mode: CommMode,
        cmd: u8,
        header_len: usize,
        payload: &[u8],
    ) -> Result<Vec<u8>, SessionError> {
        let next = self.counter.checked_add(1).ok_or(SessionError::Exhausted)?;
        let signed = self.verified(mode, cmd, payload)?;
        let body = signed.get(header_len..).ok_or(SessionError::Length)?;
        let data = self.plain_body(mode, COMMAND, body)?;
        self.counter = next;
        Ok(data)
    }

    /// Card: the data of a successful answer.
    pub fn seal_answer(&self, mode: CommMode, data: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(data.len() + 26);
        self.append_body(mode, ANSWER, &mut out, data);
        if mode != CommMode::Plain {
            let mac = self.mac_cipher.mac_t(&[&[0], &self.counter.to_le_bytes(), &self.ti, &out]);
            out.extend_from_slice(&mac);
        }
        out
    }

    /// Reader: the data of a successful answer. The counter moves.
    pub fn open_answer(&mut self, mode: CommMode, payload: &[u8]) -> Result<Vec<u8>, SessionError> {
        self.counter = self.counter.checked_add(1).ok_or(SessionError::Exhausted)?;
        let body = self.verified(mode, 0, payload)?;
        self.plain_body(mode, ANSWER, body)
    }

    /// The payload without its MAC, once that is known to be right.
    fn verified<'a>(
        &self,
        mode: CommMode,
        first: u8,
        payload: &'a [u8],
    ) -> Result<&'a [u8], SessionError> {
        if mode == CommMode::Plain {
            return Ok(payload);
        }
        let (signed, mac) = payload.split_last_chunk::<8>().ok_or(SessionError::Length)?;
        let expected =
            self.mac_cipher.mac_t(&[&[first], &self.counter.to_le_bytes(), &self.ti, signed]);
        if same_mac(mac, &expected) { Ok(signed) } else { Err(SessionError::Mac) }
    }

    fn append_body(&self, mode: CommMode, direction: [u8; 2], out: &mut Vec<u8>, data: &[u8]) {
        let start = out.len();
        out.extend_from_slice(data);
        if mode == CommMode::Full && !data.is_empty() {
            out.push(0x80);
            out.resize(start + (data.len() / 16 + 1) * 16, 0);
            let cipher = Cipher::new(&self.enc);
            cipher.cbc_encrypt(self.iv(&cipher, direction), &mut out[start..]);
        }
    }

    fn plain_body(
        &self,
        mode: CommMode,
        direction: [u8; 2],
        body: &[u8],
    ) -> Result<Vec<u8>, SessionError> {
        let mut data = body.to_vec();
        if mode != CommMode::Full || data.is_empty() {
            return Ok(data);
        }
        if !data.len().is_multiple_of(16) {
            return Err(SessionError::Length);
        }
        cbc_decrypt(&self.enc, self.iv(&Cipher::new(&self.enc), direction), &mut data);
        let end = data.iter().rposition(|b| *b != 0).ok_or(SessionError::Padding)?;
        if data[end] != 0x80 || data.len() - end > 16 {
            return Err(SessionError::Padding);
        }
        data.truncate(end);
        Ok(data)
    }

    pub(crate) fn iv(&self, enc: &Cipher, direction: [u8; 2]) -> [u8; 16] {
        let mut block = [0; 16];
        block[..2].copy_from_slice(&direction);
        block[2..6].copy_from_slice(&self.ti);
        block[6..8].copy_from_slice(&self.counter.to_le_bytes());
        enc.ecb(block)
    }
}

/// Plain data of `ChangeKey`. `old` is the key being replaced, or `None` when it is the very key
/// of the session.
pub fn change_key_data(new: &Key, version: u8, old: Option<&Key>) -> Zeroizing<Vec<u8>> {
    let mut data = Zeroizing::new(Vec::with_capacity(21));
    match old {
        None => {
            data.extend_from_slice(&new.0);
            data.push(version);
        }
        Some(old) => {
            data.extend(new.0.iter().zip(old.0).map(|(n, o)| n ^ o));
            data.push(version);
            data.extend_from_slice(&jamcrc(&new.0).to_le_bytes());
        }
    }
    data
}

const fn rotate(block: [u8; 16]) -> [u8; 16] {
    u128::from_be_bytes(block).rotate_left(8).to_be_bytes()
}
