//! ISO 7816-4 commands among wrapped ones: selecting, reading and writing plain data files.
//!
//! Only what everybody may do: nobody logs in by ISO commands here, and within an application
//! that proves its transactions files are left to DESFire's own commands, which are proved.

use alloc::vec::Vec;

use crate::apdu::{Command, StatusWord};

use super::data::patch;
use super::files::FREE;
use super::memory::{Body, File};
use super::transaction::Change;
use super::{Framed, VirtualCard};

const PICC_NAME: [u8; 7] = [0xD2, 0x76, 0x00, 0x00, 0x85, 0x01, 0x00];
/// The identifier of the card level.
const MASTER_FILE: u16 = 0x3F00;

impl VirtualCard {
    pub(super) fn iso(&mut self, command: Command<'_>) -> Framed {
        match command {
            Command::IsoSelect { by: 0x04, data } => self.iso_select_name(data),
            Command::IsoSelect { by: 0x00..=0x02, data } => self.iso_select_id(data),
            Command::IsoSelect { .. } => Err(StatusWord::ISO_WRONG_PARAMETERS),
            Command::IsoRead { place, count } => self.iso_read(place, count),
            Command::IsoUpdate { place, data } => self.iso_update(place, data),
            Command::Wrapped { .. } => Err(StatusWord::ILLEGAL_COMMAND),
        }
    }

    fn iso_select_name(&mut self, name: &[u8]) -> Framed {
        let app = if name == PICC_NAME {
            None
        } else {
            let named = self.memory.apps.iter().position(|app| app.iso.name == name);
            Some(named.filter(|_| !name.is_empty()).ok_or(StatusWord::ISO_NOT_FOUND)?)
        };
        Ok(self.iso_enter(app))
    }

    fn iso_select_id(&mut self, id: &[u8]) -> Framed {
        let id = match id {
            [] => MASTER_FILE,
            &[high, low] => u16::from_be_bytes([high, low]),
            _ => return Err(StatusWord::ISO_WRONG_LENGTH),
        };
        if id == MASTER_FILE {
            return Ok(self.iso_enter(None));
        }
        let selected = self.app().ok();
        let file = selected.and_then(|app| app.files.iter().find(|file| file.iso_id == Some(id)));
        if let Some(no) = file.map(|file| file.no) {
            self.volatile.iso_file = Some(no);
            return Ok((Vec::new(), StatusWord::ISO_OK));
        }
        let app = self.memory.apps.iter().position(|app| app.iso.id == Some(id));
        Ok(self.iso_enter(Some(app.ok_or(StatusWord::ISO_NOT_FOUND)?)))
    }

    fn iso_enter(&mut self, app: Option<usize>) -> (Vec<u8>, StatusWord) {
        self.enter(app);
        let exhausted = self.app().is_ok_and(super::memory::App::is_exhausted);
        let status = if exhausted { StatusWord::ISO_EXHAUSTED } else { StatusWord::ISO_OK };
        (Vec::new(), status)
    }

    fn iso_read(&mut self, place: [u8; 2], count: u8) -> Framed {
        let (no, from) = self.iso_place(place)?;
        let file = self.file(no).map_err(|_| StatusWord::ISO_NOT_FOUND)?;
        if ![file.read_key(), file.read_write_key()].contains(&FREE) {
            return Err(StatusWord::ISO_SECURITY);
        }
        let (Body::Standard(content) | Body::Backup(content)) = &file.body else {
            return Err(StatusWord::ISO_INCOMPATIBLE);
        };
        let rest = content.get(from..).filter(|rest| !rest.is_empty());
        let rest = rest.ok_or(StatusWord::ISO_WRONG_OFFSET)?;
        let wanted = if count == 0 { rest.len().min(256) } else { usize::from(count) };
        match rest.get(..wanted) {
            Some(read) => Ok((read.to_vec(), StatusWord::ISO_OK)),
            None => Ok((rest.to_vec(), StatusWord::ISO_END_OF_FILE)),
        }
    }

    fn iso_update(&mut self, place: [u8; 2], data: &[u8]) -> Framed {
        let (no, from) = self.iso_place(place)?;
        if data.is_empty() {
            return Err(StatusWord::ISO_WRONG_LENGTH);
        }
        let app = self.app_mut().map_err(|_| StatusWord::ISO_NO_FILE_SELECTED)?;
        let file = app.file_mut(no).ok_or(StatusWord::ISO_NOT_FOUND)?;
        if !may_write(file) {
            return Err(StatusWord::ISO_SECURITY);
        }
        let backup = match &mut file.body {
            Body::Standard(content) => {
                patch(content, from, data).map_err(|_| StatusWord::ISO_WRONG_OFFSET)?;
                return Ok((Vec::new(), StatusWord::ISO_OK));
            }
            Body::Backup(content) => content.clone(),
            Body::Value { .. } | Body::Records { .. } | Body::Tmac { .. } => {
                return Err(StatusWord::ISO_INCOMPATIBLE);
            }
        };
        if let Change::Data(content) = self.volatile.pending.change(no, || Change::Data(backup)) {
            patch(content, from, data).map_err(|_| StatusWord::ISO_WRONG_OFFSET)?;
        }
        Ok((Vec::new(), StatusWord::ISO_OK))
    }

    /// File and offset: bit 7 of the first byte says that it names the file.
    fn iso_place(&mut self, [p1, p2]: [u8; 2]) -> Result<(u8, usize), StatusWord> {
        let app = self.app().map_err(|_| StatusWord::ISO_NO_FILE_SELECTED)?;
        if app.tmac().is_some() {
            return Err(StatusWord::ISO_CONDITIONS);
        }
        if p1 & 0x80 != 0 {
            let no = p1 & 0x1F;
            app.file(no).ok_or(StatusWord::ISO_NOT_FOUND)?;
            self.volatile.iso_file = Some(no);
            return Ok((no, usize::from(p2)));
        }
        let no = self.volatile.iso_file.ok_or(StatusWord::ISO_NO_FILE_SELECTED)?;
        Ok((no, usize::from(u16::from_be_bytes([p1, p2]))))
    }
}

fn may_write(file: &File) -> bool {
    [file.write_key(), file.read_write_key()].contains(&FREE)
}
