//! Card and application level: version, applications, key settings, keys.

use alloc::vec::Vec;

use crate::apdu::StatusWord;
use crate::crypto::jamcrc;
use crate::keys::Key;

use super::memory::{APPS_MAX, App, StoredKey};
use super::{Outcome, VirtualCard};

const MASTER_CHANGEABLE: u8 = 0x01;
const FREE_DIRECTORY: u8 = 0x02;
const FREE_CREATE: u8 = 0x04;
const SETTINGS_CHANGEABLE: u8 = 0x08;
const AES: u8 = 0x80;

impl VirtualCard {
    pub(super) fn version(&self, data: &[u8]) -> Outcome {
        empty(data)?;
        let mut version = Vec::with_capacity(28);
        version.extend_from_slice(&[0x04, 0x01, 0x01, 0x33, 0x00, 0x1A, 0x05]);
        version.extend_from_slice(&[0x04, 0x01, 0x01, 0x03, 0x00, 0x1A, 0x05]);
        version.extend_from_slice(&self.memory.uid.0);
        version.extend_from_slice(&[0xCF, 0x12, 0x34, 0x56, 0x78, 0x30, 0x21]);
        Ok(version)
    }

    pub(super) fn card_uid(&self, data: &[u8]) -> Outcome {
        empty(data)?;
        self.logged_in()?;
        Ok(self.memory.uid.0.to_vec())
    }

    pub(super) fn free_mem(&self, data: &[u8]) -> Outcome {
        empty(data)?;
        Ok(self.memory.free().to_le_bytes()[..3].to_vec())
    }

    pub(super) fn application_ids(&self, data: &[u8]) -> Outcome {
        empty(data)?;
        if self.volatile.app.is_some() {
            return Err(StatusWord::PERMISSION_DENIED);
        }
        self.may(FREE_DIRECTORY)?;
        Ok(self.memory.apps.iter().flat_map(|app| app.aid).collect())
    }

    pub(super) fn create_application(&mut self, data: &[u8]) -> Outcome {
        if self.volatile.app.is_some() {
            return Err(StatusWord::PERMISSION_DENIED);
        }
        self.may(FREE_CREATE)?;
        let &[a, b, c, settings, kind] = data else { return Err(StatusWord::LENGTH) };
        let (aid, count) = ([a, b, c], usize::from(kind & 0x0F));
        if aid == [0; 3] || kind & 0xF0 != AES || !(1..=14).contains(&count) {
            return Err(StatusWord::PARAMETER);
        }
        if self.memory.apps.iter().any(|app| app.aid == aid) {
            return Err(StatusWord::DUPLICATE);
        }
        if self.memory.apps.len() >= APPS_MAX {
            return Err(StatusWord::COUNT);
        }
        if self.memory.free() < 32 + 32 * count {
            return Err(StatusWord::OUT_OF_EEPROM);
        }
        let keys = alloc::vec![StoredKey { key: Key::ZERO, version: 0 }; count];
        self.memory.apps.push(App { aid, settings, keys, files: Vec::new() });
        Ok(Vec::new())
    }

    /// From the card level when creating is free there, or from within by its master key.
    pub(super) fn delete_application(&mut self, data: &[u8]) -> Outcome {
        let aid: [u8; 3] = data.try_into().map_err(|_| StatusWord::LENGTH)?;
        let found = self.memory.apps.iter().position(|app| app.aid == aid);
        let index = found.ok_or(StatusWord::NO_SUCH_APPLICATION)?;
        match self.volatile.app {
            // The card's master key may; it is DES and cannot log in here.
            None => Err(StatusWord::AUTHENTICATION),
            Some(selected) if selected == index => {
                self.master()?;
                self.memory.apps.remove(index);
                self.power_off();
                Ok(Vec::new())
            }
            Some(_) => Err(StatusWord::PERMISSION_DENIED),
        }
    }

    pub(super) fn key_settings(&self, data: &[u8]) -> Outcome {
        empty(data)?;
        self.may(FREE_DIRECTORY)?;
        if self.volatile.app.is_none() {
            return Ok(alloc::vec![self.memory.settings, 0x01]);
        }
        let app = self.app()?;
        let count = u8::try_from(app.keys.len()).unwrap_or(14);
        Ok(alloc::vec![app.settings, AES | count])
    }

    pub(super) fn change_key_settings(&mut self, data: &[u8]) -> Outcome {
        let &[settings] = data else { return Err(StatusWord::LENGTH) };
        self.master()?;
        let app = self.app_mut()?;
        if app.settings & SETTINGS_CHANGEABLE == 0 {
            return Err(StatusWord::PERMISSION_DENIED);
        }
        app.settings = settings;
        Ok(Vec::new())
    }

    pub(super) fn key_version(&self, data: &[u8]) -> Outcome {
        let &[key_no] = data else { return Err(StatusWord::LENGTH) };
        if self.volatile.app.is_none() {
            return if key_no == 0 { Ok(alloc::vec![0]) } else { Err(StatusWord::NO_SUCH_KEY) };
        }
        let key = self.app()?.keys.get(usize::from(key_no)).ok_or(StatusWord::NO_SUCH_KEY)?;
        Ok(alloc::vec![key.version])
    }

    pub(super) fn change_key(&mut self, data: &[u8]) -> Outcome {
        let logged_in = self.logged_in()?;
        let (&key_no, data) = data.split_first().ok_or(StatusWord::LENGTH)?;
        let app = self.app_mut()?;
        let settings = app.settings;
        let stored = app.keys.get_mut(usize::from(key_no)).ok_or(StatusWord::NO_SUCH_KEY)?;
        let allowed = match (key_no, settings >> 4) {
            (0, _) => settings & MASTER_CHANGEABLE != 0 && logged_in == 0,
            (_, 0xE) => logged_in == key_no,
            (_, 0xF) => false,
            (_, changer) => logged_in == changer,
        };
        if !allowed {
            return Err(StatusWord::PERMISSION_DENIED);
        }
        let (new, rest) = data.split_first_chunk::<16>().ok_or(StatusWord::LENGTH)?;
        if key_no == logged_in {
            let &[version] = rest else { return Err(StatusWord::LENGTH) };
            *stored = StoredKey { key: Key(*new), version };
            self.volatile.login = None;
        } else {
            let &[version, a, b, c, d] = rest else { return Err(StatusWord::LENGTH) };
            let key = Key(core::array::from_fn(|i| new[i] ^ stored.key.0[i]));
            if jamcrc(&key.0).to_le_bytes() != [a, b, c, d] {
                return Err(StatusWord::INTEGRITY);
            }
            *stored = StoredKey { key, version };
        }
        Ok(Vec::new())
    }

    pub(super) fn logged_in(&self) -> Result<u8, StatusWord> {
        self.volatile.login.as_ref().map(|login| login.key_no).ok_or(StatusWord::AUTHENTICATION)
    }

    /// Somebody logged in with the application's master key.
    pub(super) fn master(&self) -> Result<(), StatusWord> {
        self.app()?;
        if self.logged_in()? == 0 { Ok(()) } else { Err(StatusWord::AUTHENTICATION) }
    }

    /// Free by the settings of the selected level, or by its master key.
    fn may(&self, free: u8) -> Result<(), StatusWord> {
        let settings = match self.volatile.app {
            None => self.memory.settings,
            Some(_) => self.app()?.settings,
        };
        if settings & free != 0 { Ok(()) } else { self.master() }
    }

    pub(super) fn may_list(&self) -> Result<(), StatusWord> {
        self.may(FREE_DIRECTORY)
    }

    pub(super) fn may_create(&self) -> Result<(), StatusWord> {
        self.may(FREE_CREATE)
    }
}

pub(super) const fn empty(data: &[u8]) -> Result<(), StatusWord> {
    if data.is_empty() { Ok(()) } else { Err(StatusWord::LENGTH) }
}
