//! Key settings, key versions, and changing keys on both levels.

use alloc::vec::Vec;

use crate::apdu::StatusWord;
use crate::crypto::jamcrc;
use crate::legacy::{AnyKey, KeyKind, crc_a};

use super::admin::{FREE_DIRECTORY, empty};
use super::memory::StoredKey;
use super::{Outcome, VirtualCard};

const MASTER_CHANGEABLE: u8 = 0x01;
const SETTINGS_CHANGEABLE: u8 = 0x08;

impl VirtualCard {
    pub(super) fn key_settings(&self, data: &[u8]) -> Outcome {
        empty(data)?;
        self.may(FREE_DIRECTORY)?;
        if self.volatile.app.is_none() {
            return Ok(alloc::vec![self.memory.settings, self.memory.master.key.kind().bits() | 1]);
        }
        let app = self.app()?;
        Ok(alloc::vec![app.settings, app.key_bits()])
    }

    pub(super) fn change_key_settings(&mut self, data: &[u8]) -> Outcome {
        let &[settings] = data else { return Err(StatusWord::LENGTH) };
        self.master()?;
        let current = match self.volatile.app {
            None => &mut self.memory.settings,
            Some(_) => &mut self.app_mut()?.settings,
        };
        if *current & SETTINGS_CHANGEABLE == 0 {
            return Err(StatusWord::PERMISSION_DENIED);
        }
        *current = settings;
        Ok(Vec::new())
    }

    pub(super) fn key_version(&self, data: &[u8]) -> Outcome {
        let &[key_no] = data else { return Err(StatusWord::LENGTH) };
        Ok(alloc::vec![self.key(key_no)?.version])
    }

    /// The kind that the key of this number will be of: on the card level the number says it.
    pub(super) fn key_kind(&self, key_no: u8) -> Result<KeyKind, StatusWord> {
        match self.volatile.app {
            None => KeyKind::from_bits(key_no).ok_or(StatusWord::PARAMETER),
            Some(_) => Ok(self.app()?.kind),
        }
    }

    /// `ChangeKeyEV2`: key set 0 is the only one there is, and always the active one.
    pub(super) fn change_key_of_set(&mut self, data: &[u8]) -> Outcome {
        let (&set, data) = data.split_first().ok_or(StatusWord::LENGTH)?;
        self.app()?;
        if set == 0 { self.change_key(data) } else { Err(StatusWord::PARAMETER) }
    }

    pub(super) fn change_key(&mut self, data: &[u8]) -> Outcome {
        let logged_in = self.logged_in()?;
        let (&number, data) = data.split_first().ok_or(StatusWord::LENGTH)?;
        let kind = self.key_kind(number)?;
        let key_no = if self.volatile.app.is_none() { number & 0x3F } else { number };
        let old = self.key(key_no)?.key.clone();
        let settings = match self.volatile.app {
            None => self.memory.settings,
            Some(_) => self.app()?.settings,
        };
        let allowed = match (key_no, settings >> 4) {
            (0, _) => settings & MASTER_CHANGEABLE != 0 && logged_in == 0,
            (_, 0xE) => logged_in == key_no,
            (_, 0xF) => false,
            (_, changer) => logged_in == changer,
        };
        if !allowed {
            return Err(StatusWord::PERMISSION_DENIED);
        }
        let own = key_no == logged_in;
        let new = new_key(kind, data, (!own).then_some(&old))?;
        if self.volatile.app.is_none() {
            self.memory.master = new;
        } else {
            let keys = &mut self.app_mut()?.keys;
            *keys.get_mut(usize::from(key_no)).ok_or(StatusWord::NO_SUCH_KEY)? = new;
        }
        if own {
            self.volatile.login = None;
        }
        Ok(Vec::new())
    }
}

/// The key that the plain data of a change brings. Another key than that of the session travels
/// added to the old one, and with a sum of its own.
fn new_key(kind: KeyKind, data: &[u8], old: Option<&AnyKey>) -> Result<StoredKey, StatusWord> {
    let key = AnyKey::new(kind, data).ok_or(StatusWord::LENGTH)?;
    let rest = data.get(kind.key_len()..).unwrap_or_default();
    let (version, sum) = match (kind, rest) {
        (KeyKind::Aes, [version, sum @ ..]) => (*version, sum),
        (KeyKind::Aes, []) => return Err(StatusWord::LENGTH),
        (KeyKind::Des | KeyKind::Tdes3, sum) => (0, sum),
    };
    let Some(old) = old else {
        return if sum.is_empty() {
            Ok(StoredKey::new(key, version))
        } else {
            Err(StatusWord::LENGTH)
        };
    };
    let added: Vec<u8> = key.bytes().iter().zip(old.bytes()).map(|(n, o)| n ^ o).collect();
    let key = AnyKey::new(kind, &added).ok_or(StatusWord::PARAMETER)?;
    let intact = match sum.len() {
        2 => sum == crc_a(key.bytes()).to_le_bytes(),
        4 => sum == jamcrc(key.bytes()).to_le_bytes(),
        _ => return Err(StatusWord::LENGTH),
    };
    if intact { Ok(StoredKey::new(key, version)) } else { Err(StatusWord::INTEGRITY) }
}
