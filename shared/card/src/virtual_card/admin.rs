//! Applications: listing, creating, deleting, and who may.

use alloc::vec::Vec;

use crate::apdu::StatusWord;
use crate::legacy::{AnyKey, KeyKind};

use super::memory::{APPS_MAX, App, IsoNames, StoredKey};
use super::{Outcome, VirtualCard};

pub(super) const FREE_DIRECTORY: u8 = 0x02;
const FREE_CREATE: u8 = 0x04;
/// `KeySet2`: files may have ISO identifiers.
const ISO_FILES: u8 = 0x20;
/// `KeySet2`: more settings follow, for key sets, which are not modelled.
const MORE_SETTINGS: u8 = 0x10;
const DF_NAME_LEN_MAX: usize = 16;

impl VirtualCard {
    pub(super) fn application_ids(&self, data: &[u8]) -> Outcome {
        empty(data)?;
        self.card_level()?;
        self.may(FREE_DIRECTORY)?;
        Ok(self.memory.apps.iter().flat_map(|app| app.aid).collect())
    }

    /// Number, ISO identifier and name of each application that has a name, one to a frame.
    pub(super) fn df_names(&self, data: &[u8]) -> Outcome {
        empty(data)?;
        self.card_level()?;
        self.may(FREE_DIRECTORY)?;
        Ok(self.named_apps().flatten().collect())
    }

    /// Where the frames of that answer end, but for the last.
    pub(super) fn df_name_lens(&self) -> Vec<usize> {
        let mut lens: Vec<usize> = self.named_apps().map(|entry| entry.len()).collect();
        lens.pop();
        lens
    }

    fn named_apps(&self) -> impl Iterator<Item = Vec<u8>> {
        let named = self.memory.apps.iter().filter(|app| !app.iso.name.is_empty());
        named.map(|app| {
            let id = app.iso.id.unwrap_or(0).to_le_bytes();
            [&app.aid, &id[..], &app.iso.name].concat()
        })
    }

    pub(super) fn create_application(&mut self, data: &[u8]) -> Outcome {
        self.card_level()?;
        self.may(FREE_CREATE)?;
        let (&[a, b, c, settings, bits], rest) =
            data.split_first_chunk().ok_or(StatusWord::LENGTH)?;
        let (aid, count) = ([a, b, c], bits & 0x0F);
        let kind = KeyKind::from_bits(bits).ok_or(StatusWord::PARAMETER)?;
        if aid == [0; 3] || bits & MORE_SETTINGS != 0 || !(1..=14).contains(&count) {
            return Err(StatusWord::PARAMETER);
        }
        let iso = iso_names(bits & ISO_FILES != 0, rest)?;
        let known = |app: &App| {
            app.aid == aid
                || iso.id.is_some() && app.iso.id == iso.id
                || !iso.name.is_empty() && app.iso.name == iso.name
        };
        if self.memory.apps.iter().any(known) {
            return Err(StatusWord::DUPLICATE);
        }
        if self.memory.apps.len() >= APPS_MAX {
            return Err(StatusWord::COUNT);
        }
        if self.memory.free() < 32 + 32 * usize::from(count) {
            return Err(StatusWord::OUT_OF_EEPROM);
        }
        let (key, version) = self.memory.configuration.default_key;
        let key = AnyKey::new(kind, &key).ok_or(StatusWord::PARAMETER)?;
        let keys = alloc::vec![StoredKey::new(key, version); usize::from(count)];
        self.memory.apps.push(App { aid, settings, kind, iso, keys, files: Vec::new() });
        Ok(Vec::new())
    }

    /// From the card level by its master key, or from within by the application's, where the card
    /// lets applications be created freely.
    pub(super) fn delete_application(&mut self, data: &[u8]) -> Outcome {
        let aid: [u8; 3] = data.try_into().map_err(|_| StatusWord::LENGTH)?;
        let found = self.memory.apps.iter().position(|app| app.aid == aid);
        let index = found.ok_or(StatusWord::NO_SUCH_APPLICATION)?;
        self.master()?;
        match self.volatile.app {
            None => drop(self.memory.apps.remove(index)),
            Some(selected) if selected == index && self.memory.settings & FREE_CREATE != 0 => {
                self.memory.apps.remove(index);
                self.enter(None);
            }
            Some(_) => return Err(StatusWord::PERMISSION_DENIED),
        }
        Ok(Vec::new())
    }

    pub(super) const fn card_level(&self) -> Result<(), StatusWord> {
        if self.volatile.app.is_none() { Ok(()) } else { Err(StatusWord::PERMISSION_DENIED) }
    }

    pub(super) fn logged_in(&self) -> Result<u8, StatusWord> {
        self.volatile.login.as_ref().map(|login| login.key_no).ok_or(StatusWord::AUTHENTICATION)
    }

    /// Somebody logged in with the master key of the selected level.
    pub(super) fn master(&self) -> Result<(), StatusWord> {
        if self.logged_in()? == 0 { Ok(()) } else { Err(StatusWord::AUTHENTICATION) }
    }

    /// Free by the settings of the selected level, or by its master key.
    pub(super) fn may(&self, free: u8) -> Result<(), StatusWord> {
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

fn iso_names(files: bool, rest: &[u8]) -> Result<IsoNames, StatusWord> {
    let Some((id, name)) = rest.split_first_chunk() else {
        let none = IsoNames { files, ..IsoNames::default() };
        return if rest.is_empty() { Ok(none) } else { Err(StatusWord::LENGTH) };
    };
    if name.len() > DF_NAME_LEN_MAX {
        return Err(StatusWord::LENGTH);
    }
    Ok(IsoNames { files, id: Some(u16::from_le_bytes(*id)), name: name.to_vec() })
}

pub(super) const fn empty(data: &[u8]) -> Result<(), StatusWord> {
    if data.is_empty() { Ok(()) } else { Err(StatusWord::LENGTH) }
}
