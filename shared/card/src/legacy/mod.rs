//! What DESFire spoke before EV2, both ends: D40 (`0A`), ISO (`1A`) and EV1 AES (`AA`).
//!
//! A factory card has a DES master key, and tools that are not ours log in with it. Tapline's own
//! application never uses any of this; an issuing station does, to take over the card level.
//!
//! Invariants: nothing here asks for randomness; a message is used only after its MAC or CRC was
//! verified. Single DES, 2TDEA and 3TDEA are one cipher with equal or different key thirds.

mod auth;
mod messages;

pub use auth::{Authentication, CardAuthentication};
pub use messages::{MessageError, Session, change_key_data};

use alloc::boxed::Box;
use core::fmt;

use aes::{Aes128, cipher::KeyInit};
use des::TdesEde3;
use des::cipher::{BlockCipherDecrypt, BlockCipherEncrypt};
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::keys::Key;

/// What a key is for; an application's keys are all of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Zeroize)]
pub enum KeyKind {
    /// Single DES when both halves are equal, else 2TDEA.
    Des,
    /// 3TDEA, three independent thirds.
    Tdes3,
    /// AES-128.
    Aes,
}

impl KeyKind {
    /// Bits 7 and 6 of `KeySet2`, and of the key number that changes the card's master key.
    pub const fn bits(self) -> u8 {
        match self {
            Self::Des => 0x00,
            Self::Tdes3 => 0x40,
            Self::Aes => 0x80,
        }
    }

    /// The kind that those bits mean; `None` for both set.
    pub const fn from_bits(byte: u8) -> Option<Self> {
        match byte & 0xC0 {
            0x00 => Some(Self::Des),
            0x40 => Some(Self::Tdes3),
            0x80 => Some(Self::Aes),
            _ => None,
        }
    }

    /// Bytes of a key.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Des | Self::Aes => 16,
            Self::Tdes3 => 24,
        }
    }
}

/// The protocol of an authentication, which is also that of the session it opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// `AuthenticateLegacy`, DES and 2TDEA: four-byte MACs and CRC-16 on data only.
    D40,
    /// `AuthenticateISO`, DES to 3TDEA: one chained CMAC over everything, CRC-32.
    Iso,
    /// `AuthenticateAES` of EV1: as ISO, with AES.
    Aes,
}

impl Scheme {
    /// Whether it can prove a key of this kind.
    pub const fn takes(self, kind: KeyKind) -> bool {
        match self {
            Self::D40 => matches!(kind, KeyKind::Des),
            Self::Iso => matches!(kind, KeyKind::Des | KeyKind::Tdes3),
            Self::Aes => matches!(kind, KeyKind::Aes),
        }
    }
}

/// A key of any kind. Wiped when dropped, never formatted.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct AnyKey {
    kind: KeyKind,
    /// The first `kind.key_len()` bytes count, the rest is zero.
    bytes: [u8; 24],
}

impl AnyKey {
    /// From the first bytes of `bytes`; `None` when they are too few.
    pub fn new(kind: KeyKind, bytes: &[u8]) -> Option<Self> {
        let mut key = Self { kind, bytes: [0; 24] };
        key.bytes[..kind.key_len()].copy_from_slice(bytes.get(..kind.key_len())?);
        Some(key)
    }

    /// All zero, as from the factory.
    pub const fn zero(kind: KeyKind) -> Self {
        Self { kind, bytes: [0; 24] }
    }

    /// Its kind.
    pub const fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.kind.key_len()]
    }

    /// As the key of EV2 messaging, which only AES keys are.
    pub fn aes(&self) -> Option<Key> {
        let key = self.bytes.first_chunk::<16>().map(|bytes| Key(*bytes));
        key.filter(|_| self.kind == KeyKind::Aes)
    }

    /// The version that DES keys carry in the parity bits of their first eight bytes.
    pub fn parity_version(&self) -> u8 {
        self.bytes[..8].iter().fold(0, |version, byte| version << 1 | byte & 1)
    }

    /// Bytes of the random numbers with which it is proved.
    const fn challenge_len(&self) -> usize {
        match self.kind {
            KeyKind::Des => 8,
            KeyKind::Tdes3 | KeyKind::Aes => 16,
        }
    }

    fn cipher(&self) -> Cipher {
        let b = &self.bytes;
        let thirds: [&[u8]; 3] = match self.kind {
            KeyKind::Des => [&b[..8], &b[8..16], &b[..8]],
            KeyKind::Tdes3 => [&b[..8], &b[8..16], &b[16..]],
            KeyKind::Aes => {
                let (key, _) = b.split_first_chunk::<16>().expect("24 bytes hold 16");
                return Cipher::Aes(Box::new(Aes128::new(&(*key).into())));
            }
        };
        let mut key = [0; 24];
        for (third, from) in key.chunks_exact_mut(8).zip(thirds) {
            third.copy_from_slice(from);
        }
        let cipher = TdesEde3::new(&key.into());
        key.zeroize();
        Cipher::Tdes(Box::new(cipher))
    }

    /// The session key that both random numbers give.
    fn session(&self, a: &[u8], b: &[u8]) -> Self {
        let single = self.kind == KeyKind::Des && self.bytes[..8] == self.bytes[8..16];
        let parts: &[&[u8]] = match self.kind {
            KeyKind::Des if single => &[&a[..4], &b[..4], &a[..4], &b[..4]],
            KeyKind::Des => &[&a[..4], &b[..4], &a[4..8], &b[4..8]],
            KeyKind::Tdes3 => &[&a[..4], &b[..4], &a[6..10], &b[6..10], &a[12..], &b[12..]],
            KeyKind::Aes => &[&a[..4], &b[..4], &a[12..], &b[12..]],
        };
        let mut key = Self::zero(self.kind);
        for (to, from) in key.bytes.chunks_exact_mut(4).zip(parts) {
            to.copy_from_slice(from);
        }
        key
    }
}

impl fmt::Debug for AnyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AnyKey({:?}, …)", self.kind)
    }
}

/// An expanded key, and the modes of operation that the card interface builds from it. Whole
/// blocks only; every chain starts from the block that the caller keeps.
#[derive(Clone)]
enum Cipher {
    Tdes(Box<TdesEde3>),
    Aes(Box<Aes128>),
}

/// The running end of a CBC chain; DES uses the first eight bytes.
type Chain = [u8; 16];

impl Cipher {
    const fn block_len(&self) -> usize {
        match self {
            Self::Tdes(_) => 8,
            Self::Aes(_) => 16,
        }
    }

    fn encrypt(&self, block: &mut [u8]) {
        match self {
            Self::Tdes(des) => des.encrypt_block(block.try_into().expect("a block of eight")),
            Self::Aes(aes) => aes.encrypt_block(block.try_into().expect("a block of sixteen")),
        }
    }

    fn decrypt(&self, block: &mut [u8]) {
        match self {
            Self::Tdes(des) => des.decrypt_block(block.try_into().expect("a block of eight")),
            Self::Aes(aes) => aes.decrypt_block(block.try_into().expect("a block of sixteen")),
        }
    }

    /// CBC: each block is added to the chain, then enciphered.
    fn seal(&self, chain: &mut Chain, data: &mut [u8]) {
        self.sending(chain, data, Self::encrypt);
    }

    /// What a D40 terminal does instead, so that it needs no enciphering: it deciphers.
    fn seal_backwards(&self, chain: &mut Chain, data: &mut [u8]) {
        self.sending(chain, data, Self::decrypt);
    }

    fn sending(&self, chain: &mut Chain, data: &mut [u8], step: fn(&Self, &mut [u8])) {
        for block in data.chunks_exact_mut(self.block_len()) {
            add(block, chain);
            step(self, block);
            chain[..block.len()].copy_from_slice(block);
        }
    }

    /// The inverse of `seal`.
    fn open(&self, chain: &mut Chain, data: &mut [u8]) {
        self.receiving(chain, data, Self::decrypt);
    }

    /// The inverse of `seal_backwards`.
    fn open_backwards(&self, chain: &mut Chain, data: &mut [u8]) {
        self.receiving(chain, data, Self::encrypt);
    }

    fn receiving(&self, chain: &mut Chain, data: &mut [u8], step: fn(&Self, &mut [u8])) {
        for block in data.chunks_exact_mut(self.block_len()) {
            let mut received = [0; 16];
            received[..block.len()].copy_from_slice(block);
            step(self, block);
            add(block, chain);
            *chain = received;
        }
    }

    /// CMAC whose chain goes on from the message before.
    fn cmac(&self, chain: &mut Chain, parts: &[&[u8]]) -> [u8; 8] {
        let len = self.block_len();
        let mut message = parts.concat();
        let whole = !message.is_empty() && message.len().is_multiple_of(len);
        if !whole {
            message.push(0x80);
            message.resize(message.len().next_multiple_of(len), 0);
        }
        let mut subkey = [0; 16];
        self.encrypt(&mut subkey[..len]);
        for _ in 0..if whole { 1 } else { 2 } {
            double(&mut subkey[..len]);
        }
        let last = message.len() - len;
        add(&mut message[last..], &subkey);
        self.seal(chain, &mut message);
        let (mac, _) = chain.split_first_chunk().expect("a chain holds eight bytes");
        *mac
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cipher(…)")
    }
}

fn add(block: &mut [u8], other: &[u8]) {
    for (byte, x) in block.iter_mut().zip(other) {
        *byte ^= x;
    }
}

/// Times x in the field of NIST SP 800-38B, for blocks of eight and sixteen bytes.
fn double(block: &mut [u8]) {
    let reduction = if block.len() == 8 { 0x1B } else { 0x87 };
    let carry = block[0] & 0x80 != 0;
    for i in 0..block.len() {
        let next = block.get(i + 1).map_or(0, |byte| byte >> 7);
        block[i] = block[i] << 1 | next;
    }
    if carry && let Some(last) = block.last_mut() {
        *last ^= reduction;
    }
}

fn rotated(random: &[u8]) -> alloc::vec::Vec<u8> {
    let mut rotated = random.to_vec();
    rotated.rotate_left(1);
    rotated
}

/// CRC-16 of ISO 14443-A, which D40 messaging uses.
pub fn crc_a(data: &[u8]) -> u16 {
    data.iter().fold(0x6363, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            if crc & 1 == 0 { crc >> 1 } else { (crc >> 1) ^ 0x8408 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::hex;

    fn cmac_of(kind: KeyKind, key: &str, message: &str) -> [u8; 8] {
        let key = AnyKey::new(kind, &hex(key)).expect("the test writes whole keys");
        key.cipher().cmac(&mut [0; 16], &[&hex(message)])
    }

    #[test]
    fn macs_over_des_are_those_of_the_standard() {
        // NIST, examples of TDES CMAC; the last one is single DES in both halves.
        let message = "6BC1BEE22E409F96E93D7E117393172AAE2D8A571E03AC9C9EB76FAC45AF8E51";
        let two = "0123456789ABCDEF23456789ABCDEF01";
        let three = "0123456789ABCDEF23456789ABCDEF01456789ABCDEF0123";
        let one = "0123456789ABCDEF0123456789ABCDEF";
        for (kind, key, macs) in [
            (
                KeyKind::Des,
                two,
                ["79CE52A7F786A960", "CC18A0B79AF2413B", "C06D377ECD101969", "9CD33580F9B64DFB"],
            ),
            (
                KeyKind::Tdes3,
                three,
                ["7DB0D37DF936C550", "30239CF1F52E6609", "6C9F3EE4923F6BE2", "99429BD0BF7904E5"],
            ),
            (
                KeyKind::Des,
                one,
                ["86F79C13FD306E67", "BEA4212292462A85", "3E2F8310C569275E", "9D1FC4D4C0259132"],
            ),
        ] {
            for (len, mac) in [0, 16, 20, 32].into_iter().zip(macs) {
                assert_eq!(cmac_of(kind, key, &message[..2 * len]).to_vec(), hex(mac), "{len}");
            }
        }
    }

    #[test]
    fn the_sum_of_iso_14443_is_the_published_one() {
        // ISO 14443-3, annex B.
        assert_eq!(crc_a(&[0, 0]), 0x1EA0);
        assert_eq!(crc_a(&[0x12, 0x34]), 0xCF26);
    }

    #[test]
    fn des_keys_carry_their_version_in_their_parity_bits() {
        let key = AnyKey::new(KeyKind::Des, &hex("0001000100010001 0000000000000000"));
        assert_eq!(key.expect("16 bytes").parity_version(), 0x55);
    }
}
