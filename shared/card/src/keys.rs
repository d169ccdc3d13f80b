//! Key custody: who may derive which key of a card, and the software keystore.
//!
//! Custody is an SPI, so that a hardware module can replace the software. A validator's keystore
//! holds debit master keys only; the issuer, load and TMAC master keys stay with the depot
//! (SEC-7, SEC-8). Master keys have versions, so that a key can be replaced while cards that know
//! only the old one are out (ADR-0007).

use alloc::{collections::BTreeMap, string::String, vec::Vec};
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
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Issuer, Self::Debit, Self::Load, Self::Tmac];

    /// The last byte of the diversification input.
    pub const fn label(self) -> u8 {
        match self {
            Self::Issuer => 0x00,
            Self::Debit => 0x01,
            Self::Load => 0x02,
            Self::Tmac => 0xF0,
        }
    }

    /// The number of the application's key; the TMAC key has none.
    pub const fn number(self) -> Option<u8> {
        match self {
            Self::Issuer => Some(layout::KEY_ISSUER),
            Self::Debit => Some(layout::KEY_DEBIT),
            Self::Load => Some(layout::KEY_LOAD),
            Self::Tmac => None,
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

impl KeyRole {
    /// From its word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.word() == word)
    }
}

/// Why no key came.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// This keystore was never given that master key.
    #[error("this keystore does not hold the {} key", .0.word())]
    NotHeld(KeyRole),
    /// It holds other versions of it.
    #[error("this keystore does not hold version {version} of the {} key", .role.word())]
    VersionNotHeld {
        /// Which key.
        role: KeyRole,
        /// Which version was asked for.
        version: KeyVersion,
    },
    /// The module that keeps the keys failed.
    #[error("the key module failed: {0}")]
    Module(String),
}

/// The number that a card keeps beside each of its keys: which master key it came from.
///
/// Versions count up. 0 is what a factory or a new application sets and is never ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyVersion(pub u8);

impl KeyVersion {
    /// What a system begins with.
    pub const FIRST: Self = Self(1);

    /// The version that replaces this one; `None` after 255.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

impl fmt::Display for KeyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A card's key and the version of the master key that it was derived from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionedKey {
    /// Which of the role's master keys.
    pub version: KeyVersion,
    /// The card's own key.
    pub key: Key,
}

/// Derives the keys of one card. Implemented by the software keystore and by hardware modules.
///
/// Each role has its master keys by version, of which one is current: what cards are given from
/// now on and what a reader tries first. Older versions open the cards that are still out.
pub trait CardKeys {
    /// The version that new cards get and that a reader tries first.
    fn current(&self, role: KeyRole) -> Result<KeyVersion, KeyError>;

    /// Every version held, newest first; empty when the role's keys are kept elsewhere.
    fn versions(&self, role: KeyRole) -> Vec<KeyVersion>;

    /// The card's key for `role` under one version of its master key.
    fn card_key(&self, role: KeyRole, version: KeyVersion, uid: &CardId) -> Result<Key, KeyError>;

    /// The card's key under the current version.
    fn current_key(&self, role: KeyRole, uid: &CardId) -> Result<VersionedKey, KeyError> {
        let version = self.current(role)?;
        Ok(VersionedKey { version, key: self.card_key(role, version, uid)? })
    }

    /// The one key that a validator needs, unless the card is older.
    fn debit_key(&self, uid: &CardId) -> Result<VersionedKey, KeyError> {
        self.current_key(KeyRole::Debit, uid)
    }

    /// The key that verifies the proofs of cards issued now; the depot's only.
    fn tmac_key(&self, uid: &CardId) -> Result<Key, KeyError> {
        self.card_key(KeyRole::Tmac, self.current(KeyRole::Tmac)?, uid)
    }
}

/// Master keys in memory, by role and version. A role that was given none is not held.
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    roles: BTreeMap<KeyRole, Masters>,
}

#[derive(Debug, Clone)]
struct Masters {
    current: KeyVersion,
    by_version: BTreeMap<KeyVersion, Key>,
}

impl KeySet {
    /// What a validator of a system with one version holds.
    pub fn validator(debit: Key) -> Self {
        Self::default().with(KeyRole::Debit, KeyVersion::FIRST, debit)
    }

    /// All four master keys of version 1 from one root, for demo, simulation and tests.
    pub fn from_root(root: &Key) -> Self {
        KeyRole::ALL.into_iter().fold(Self::default(), |set, role| {
            let input = [b"tapline-masterkey".as_slice(), &[role.label()]].concat();
            set.with(role, KeyVersion::FIRST, crypto::diversify(root, &input))
        })
    }

    /// With one more master key, which becomes its role's current one.
    #[must_use]
    pub fn with(mut self, role: KeyRole, version: KeyVersion, master: Key) -> Self {
        let masters = self
            .roles
            .entry(role)
            .or_insert_with(|| Masters { current: version, by_version: BTreeMap::new() });
        masters.by_version.insert(version, master);
        masters.current = version;
        self
    }

    /// Makes a version that is held the current one.
    pub fn set_current(&mut self, role: KeyRole, version: KeyVersion) -> Result<(), KeyError> {
        let masters = self.roles.get_mut(&role).ok_or(KeyError::NotHeld(role))?;
        if !masters.by_version.contains_key(&version) {
            return Err(KeyError::VersionNotHeld { role, version });
        }
        masters.current = version;
        Ok(())
    }

    /// Forgets one version; the newest that is left becomes current if this one was.
    pub fn remove(&mut self, role: KeyRole, version: KeyVersion) -> Result<(), KeyError> {
        let masters = self.roles.get_mut(&role).ok_or(KeyError::NotHeld(role))?;
        if masters.by_version.remove(&version).is_none() {
            return Err(KeyError::VersionNotHeld { role, version });
        }
        match masters.by_version.last_key_value() {
            None => drop(self.roles.remove(&role)),
            Some((newest, _)) if masters.current == version => masters.current = *newest,
            Some(_) => {}
        }
        Ok(())
    }

    /// A master key itself: for whoever stores or exports them.
    pub fn master(&self, role: KeyRole, version: KeyVersion) -> Option<&Key> {
        self.roles.get(&role)?.by_version.get(&version)
    }

    /// This set without what a validator must not hold.
    #[must_use]
    pub fn for_validator(&self) -> Self {
        self.only(&[KeyRole::Debit])
    }

    /// This set with the keys of these roles and no others.
    #[must_use]
    pub fn only(&self, roles: &[KeyRole]) -> Self {
        let mut kept = self.clone();
        kept.roles.retain(|role, _| roles.contains(role));
        kept
    }
}

impl CardKeys for KeySet {
    fn current(&self, role: KeyRole) -> Result<KeyVersion, KeyError> {
        self.roles.get(&role).map(|masters| masters.current).ok_or(KeyError::NotHeld(role))
    }

    fn versions(&self, role: KeyRole) -> Vec<KeyVersion> {
        let held = self.roles.get(&role);
        held.into_iter().flat_map(|m| m.by_version.keys().rev().copied()).collect()
    }

    fn card_key(&self, role: KeyRole, version: KeyVersion, uid: &CardId) -> Result<Key, KeyError> {
        let masters = self.roles.get(&role).ok_or(KeyError::NotHeld(role))?;
        let master =
            masters.by_version.get(&version).ok_or(KeyError::VersionNotHeld { role, version })?;
        Ok(crypto::diversify(master, &layout::diversification_input(uid, role)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: CardId = CardId([4, 1, 2, 3, 4, 5, 6]);
    const SECOND: KeyVersion = KeyVersion(2);

    #[test]
    fn a_validators_keystore_yields_the_debit_key_only() {
        let depot = KeySet::from_root(&Key([7; 16]));
        let bus = depot.for_validator();
        assert_eq!(bus.debit_key(&CARD), depot.debit_key(&CARD));
        for role in [KeyRole::Issuer, KeyRole::Load, KeyRole::Tmac] {
            assert_eq!(bus.current_key(role, &CARD), Err(KeyError::NotHeld(role)));
            assert_eq!(bus.versions(role), []);
        }
    }

    #[test]
    fn keys_differ_by_role_by_card_and_by_version_and_never_show() {
        let keys = KeySet::from_root(&Key([7; 16]));
        let (a, b) = (CardId([4; 7]), CardId([5; 7]));
        assert_ne!(keys.debit_key(&a), keys.debit_key(&b));
        assert_ne!(keys.debit_key(&a).unwrap().key, keys.tmac_key(&a).unwrap());
        let newer = keys.clone().with(KeyRole::Debit, SECOND, Key([9; 16]));
        assert_ne!(newer.debit_key(&a).unwrap().key, keys.debit_key(&a).unwrap().key);
        let shown = alloc::format!("{:?} {keys:?}", keys.debit_key(&a));
        assert!(shown.contains("Key(…)") && !shown.contains('['), "{shown}");
    }

    #[test]
    fn a_new_version_is_current_and_the_old_one_still_opens_old_cards() {
        let old = KeySet::from_root(&Key([7; 16]));
        let mut keys = old.clone().with(KeyRole::Debit, SECOND, Key([9; 16]));
        assert_eq!(keys.current(KeyRole::Debit), Ok(SECOND));
        assert_eq!(keys.current(KeyRole::Load), Ok(KeyVersion::FIRST));
        assert_eq!(keys.versions(KeyRole::Debit), [SECOND, KeyVersion::FIRST]);
        let first = keys.card_key(KeyRole::Debit, KeyVersion::FIRST, &CARD).unwrap();
        assert_eq!(first, old.debit_key(&CARD).unwrap().key);
        keys.set_current(KeyRole::Debit, KeyVersion::FIRST).unwrap();
        assert_eq!(keys.debit_key(&CARD), old.debit_key(&CARD));
        assert_eq!(
            keys.set_current(KeyRole::Debit, KeyVersion(3)),
            Err(KeyError::VersionNotHeld { role: KeyRole::Debit, version: KeyVersion(3) })
        );
    }

    #[test]
    fn a_removed_version_is_gone_and_the_newest_that_is_left_is_current() {
        let mut keys = KeySet::validator(Key([7; 16])).with(KeyRole::Debit, SECOND, Key([9; 16]));
        keys.remove(KeyRole::Debit, SECOND).unwrap();
        assert_eq!(keys.current(KeyRole::Debit), Ok(KeyVersion::FIRST));
        let gone = KeyError::VersionNotHeld { role: KeyRole::Debit, version: SECOND };
        assert_eq!(keys.card_key(KeyRole::Debit, SECOND, &CARD), Err(gone.clone()));
        assert_eq!(keys.remove(KeyRole::Debit, SECOND), Err(gone));
        keys.remove(KeyRole::Debit, KeyVersion::FIRST).unwrap();
        assert_eq!(keys.debit_key(&CARD), Err(KeyError::NotHeld(KeyRole::Debit)));
    }

    #[test]
    fn versions_end_at_255() {
        assert_eq!(KeyVersion::FIRST.next(), Some(SECOND));
        assert_eq!(KeyVersion(255).next(), None);
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
