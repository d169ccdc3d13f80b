//! The three passes of the old authentications. In ISO and EV1 AES the chaining block is carried
//! across all of them; in D40 each message starts from zero, and the terminal only deciphers.

use alloc::vec::Vec;

use super::{AnyKey, Chain, Cipher, Scheme, Session, rotated};
use crate::crypto::same_mac;

/// Reader end; made anew for each authentication.
#[derive(Debug)]
pub struct Authentication {
    scheme: Scheme,
    key: AnyKey,
    cipher: Cipher,
    chain: Chain,
    rnd_a: [u8; 16],
    rnd_b: Vec<u8>,
}

impl Authentication {
    /// With the key to prove and 16 random bytes from the shell.
    pub fn new(scheme: Scheme, key: AnyKey, rnd_a: [u8; 16]) -> Self {
        let cipher = key.cipher();
        Self { scheme, key, cipher, chain: [0; 16], rnd_a, rnd_b: Vec::new() }
    }

    fn rnd_a(&self) -> &[u8] {
        &self.rnd_a[..self.key.challenge_len()]
    }

    fn restart(&mut self) {
        if self.scheme == Scheme::D40 {
            self.chain = [0; 16];
        }
    }

    /// What to send after the card's challenge; `None` when that has another length than the key
    /// asks for.
    pub fn answer_challenge(&mut self, challenge: &[u8]) -> Option<Vec<u8>> {
        if challenge.len() != self.key.challenge_len() {
            return None;
        }
        self.rnd_b = challenge.to_vec();
        self.cipher.open(&mut self.chain, &mut self.rnd_b);
        let mut answer = [self.rnd_a(), &rotated(&self.rnd_b)].concat();
        self.restart();
        match self.scheme {
            Scheme::D40 => self.cipher.seal_backwards(&mut self.chain, &mut answer),
            Scheme::Iso | Scheme::Aes => self.cipher.seal(&mut self.chain, &mut answer),
        }
        Some(answer)
    }

    /// The session; `None` when the card does not know the key.
    pub fn finish(mut self, answer: &[u8]) -> Option<Session> {
        let mut plain = answer.to_vec();
        self.restart();
        self.cipher.open(&mut self.chain, &mut plain);
        same_mac(&plain, &rotated(self.rnd_a()))
            .then(|| Session::new(self.scheme, &self.key.session(self.rnd_a(), &self.rnd_b)))
    }
}

/// Card end of an authentication.
#[derive(Debug, Clone)]
pub struct CardAuthentication {
    scheme: Scheme,
    key: AnyKey,
    rnd_b: [u8; 16],
}

impl CardAuthentication {
    /// With the card's key and 16 random bytes, of which a DES key uses eight.
    pub const fn new(scheme: Scheme, key: AnyKey, rnd_b: [u8; 16]) -> Self {
        Self { scheme, key, rnd_b }
    }

    fn rnd_b(&self) -> &[u8] {
        &self.rnd_b[..self.key.challenge_len()]
    }

    /// The first answer.
    pub fn challenge(&self) -> Vec<u8> {
        let mut challenge = self.rnd_b().to_vec();
        self.key.cipher().seal(&mut [0; 16], &mut challenge);
        challenge
    }

    /// The second answer and the session; `None` when the reader does not know the key.
    pub fn finish(&self, part2: &[u8]) -> Option<(Vec<u8>, Session)> {
        let len = self.key.challenge_len();
        if part2.len() != 2 * len {
            return None;
        }
        let cipher = self.key.cipher();
        let mut plain = part2.to_vec();
        let mut chain = [0; 16];
        if self.scheme == Scheme::D40 {
            cipher.open_backwards(&mut chain, &mut plain);
            chain = [0; 16];
        } else {
            let challenge = self.challenge();
            chain[..cipher.block_len()].copy_from_slice(&challenge[len - cipher.block_len()..]);
            cipher.open(&mut chain, &mut plain);
        }
        let (rnd_a, rnd_b) = plain.split_at(len);
        if !same_mac(rnd_b, &rotated(self.rnd_b())) {
            return None;
        }
        let mut answer = rotated(rnd_a);
        cipher.seal(&mut chain, &mut answer);
        Some((answer, Session::new(self.scheme, &self.key.session(rnd_a, self.rnd_b()))))
    }
}
