//! Key custody: who may derive which key of a card, and the software keystore.
//!
//! Custody is an SPI, so that a hardware module can replace the software. A validator's keystore
//! holds the debit master key only; the issuer, load and TMAC master keys stay with the depot
//! (SEC-7, SEC-8).

use alloc::string::String;
use core::fmt;

use model::CardId;
use zeroize::{Zeroize, ZeroizeOnDrop};

use crate::{crypto, layout};

/// An AES-128 key. Wiped when dropped; its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Key(pub [u8; 16]);

impl Key {
    /// What a new application's keys are.
    pub const ZERO: Self = Self([0; 16]);

    /// From 32 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut key = Self([0; 16]);
        for (i, byte) in key.0.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * i..2 * i + 2], 16).ok()?;
        }
        Some(key)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// What a key of a card is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyRole {
    /// Key 0, the application's master key: changes keys and files.
    Issuer,
    /// Key 1: reads the card, debits it and appends to its log.
    Debit,
    /// Key 2: tops it up.
    Load,
    /// The key of the Transaction MAC: proves what the card committed.
    Tmac,
}

impl KeyRole {
    /// The last byte of the diversification input.
    pub const fn label(self) -> u8 {
        match self {
            Self::Issuer => 0x00,
            Self::Debit => 0x01,
            Self::Load => 0x02,
            Self::Tmac => 0xF0,
        }
    }

    /// The word used in messages.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Issuer => "issuer",
            Self::Debit => "debit",
            Self::Load => "load",
            Self::Tmac => "tmac",
        }
    }
}

/// Why no key came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// This keystore was never given that master key.
    #[error("this keystore does not hold the {} key", .0.word())]
    NotHeld(KeyRole),
    /// The module that keeps the keys failed.
    #[error("the key module failed: {0}")]
    Module(String),
}

/// Derives the keys of one card. Implemented by the software keystore and by hardware modules.
pub trait CardKeys {
    /// The card's key for `role`.
    fn card_key(&self, role: KeyRole, uid: &CardId) -> Result<Key, KeyError>;

    /// The one key that a validator needs.
    fn debit_key(&self, uid: &CardId) -> Result<Key, KeyError> {
        self.card_key(KeyRole::Debit, uid)
    }

    /// The key that verifies the card's proofs; the depot's only.
    fn tmac_key(&self, uid: &CardId) -> Result<Key, KeyError> {
        self.card_key(KeyRole::Tmac, uid)
    }
}

/// Master keys in memory; each may be absent.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    /// Master of every card's key 0.
    pub issuer: Option<Key>,
    /// Master of every card's key 1.
    pub debit: Option<Key>,
    /// Master of every card's key 2.
    pub load: Option<Key>,
    /// Master of every card's Transaction MAC key.
    pub tmac: Option<Key>,
}

impl KeySet {
    /// What a validator holds.
    pub const fn validator(debit: Key) -> Self {
        Self { issuer: None, debit: Some(debit), load: None, tmac: None }
    }

    /// All four master keys from one root, for demo, simulation and tests.
    pub fn from_root(root: &Key) -> Self {
        let derive = |role: KeyRole| {
            Some(crypto::diversify(
                root,
                &[b"tapline-masterkey".as_slice(), &[role.label()]].concat(),
            ))
        };
        Self {
            issuer: derive(KeyRole::Issuer),
            debit: derive(KeyRole::Debit),
            load: derive(KeyRole::Load),
            tmac: derive(KeyRole::Tmac),
        }
    }

    /// This set without what a validator must not hold.
    #[must_use]
    pub fn for_validator(&self) -> Self {
        Self { debit: self.debit.clone(), ..Self::default() }
    }
}

impl CardKeys for KeySet {
    fn card_key(&self, role: KeyRole, uid: &CardId) -> Result<Key, KeyError> {
        let master = match role {
            KeyRole::Issuer => &self.issuer,
            KeyRole::Debit => &self.debit,
            KeyRole::Load => &self.load,
            KeyRole::Tmac => &self.tmac,
        };
        let master = master.as_ref().ok_or(KeyError::NotHeld(role))?;
        Ok(crypto::diversify(master, &layout::diversification_input(uid, role)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_validators_keystore_yields_the_debit_key_only() {
        let uid = CardId([4, 1, 2, 3, 4, 5, 6]);
        let depot = KeySet::from_root(&Key([7; 16]));
        let bus = depot.for_validator();
        assert_eq!(bus.debit_key(&uid), depot.debit_key(&uid));
        for role in [KeyRole::Issuer, KeyRole::Load, KeyRole::Tmac] {
            assert_eq!(bus.card_key(role, &uid), Err(KeyError::NotHeld(role)));
        }
    }

    #[test]
    fn keys_differ_by_role_and_by_card_and_never_show() {
        let keys = KeySet::from_root(&Key([7; 16]));
        let (a, b) = (CardId([4; 7]), CardId([5; 7]));
        assert_ne!(keys.debit_key(&a), keys.debit_key(&b));
        assert_ne!(keys.debit_key(&a), keys.tmac_key(&a));
        assert_eq!(alloc::format!("{:?}", keys.debit_key(&a)), "Ok(Key(…))");
    }

    #[test]
    fn keys_are_written_as_32_hexadecimal_digits() {
        assert_eq!(Key::from_hex("000102030405060708090a0B0C0D0E0F").unwrap().0[15], 15);
        for bad in
            ["", "00", "+00102030405060708090a0b0c0d0e0f", "zz0102030405060708090a0b0c0d0e0f"]
        {
            assert_eq!(Key::from_hex(bad), None, "{bad}");
        }
    }
}
