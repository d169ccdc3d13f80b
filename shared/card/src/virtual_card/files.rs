//! Files as objects: creating, deleting, settings, and who may do what with them.

use alloc::{vec, vec::Vec};

use crate::apdu::{StatusWord, cmd};
use crate::keys::Key;
use crate::session::CommMode;

use super::admin::empty;
use super::channel::le24;
use super::memory::{Body, FILE_NO_MAX, File};
use super::{Channel, Login, Outcome, VirtualCard};

pub(super) const FREE: u8 = 0xE;
const NEVER: u8 = 0xF;
const GET_VALUE_FREE: u8 = 0x02;
/// File option: the Transaction MAC file has a limit.
const LIMITED: u8 = 0x20;

impl VirtualCard {
    /// The protection with which this command may work on the file it names, if it may.
    pub(super) fn file_access(&self, command: u8, payload: &[u8]) -> Result<CommMode, StatusWord> {
        let file = self.file(*payload.first().ok_or(StatusWord::LENGTH)?)?;
        let proof = matches!(file.body, Body::Tmac { .. });
        if self.app()?.is_exhausted() && !proof {
            return Err(StatusWord::PERMISSION_DENIED);
        }
        let (read, write, both) = (file.read_key(), file.write_key(), file.read_write_key());
        let keys = match command {
            cmd::READ_DATA | cmd::READ_DATA_ISO | cmd::READ_RECORDS | cmd::READ_RECORDS_ISO => {
                [read, NEVER, both]
            }
            cmd::GET_VALUE if value_free(&file.body) => [FREE; 3],
            cmd::GET_VALUE | cmd::DEBIT => [read, write, both],
            cmd::CREDIT | cmd::CLEAR_RECORD_FILE => [NEVER, NEVER, both],
            _ => [NEVER, write, both],
        };
        match &self.volatile.login {
            Some(login) if keys.contains(&login.key_no) => Ok(file.mode),
            _ if keys.contains(&FREE) => Ok(CommMode::Plain),
            _ if keys == [NEVER; 3] => Err(StatusWord::PERMISSION_DENIED),
            _ => Err(StatusWord::AUTHENTICATION),
        }
    }

    /// The protection with which the settings of a file may be changed, if they may.
    pub(super) fn settings_access(&self, payload: &[u8]) -> Result<CommMode, StatusWord> {
        let file = self.file(*payload.first().ok_or(StatusWord::LENGTH)?)?;
        match (file.change_key(), &self.volatile.login) {
            (FREE, _) => Ok(CommMode::Plain),
            (NEVER, _) => Err(StatusWord::PERMISSION_DENIED),
            (key_no, Some(login)) if login.key_no == key_no => Ok(CommMode::Full),
            _ => Err(StatusWord::AUTHENTICATION),
        }
    }

    pub(super) fn file(&self, no: u8) -> Result<&File, StatusWord> {
        self.app()?.file(no).ok_or(StatusWord::NO_SUCH_FILE)
    }

    pub(super) fn file_ids(&self, data: &[u8]) -> Outcome {
        empty(data)?;
        let app = self.app()?;
        self.may_list()?;
        Ok(app.files.iter().map(|file| file.no).collect())
    }

    pub(super) fn iso_file_ids(&self, data: &[u8]) -> Outcome {
        empty(data)?;
        let app = self.app()?;
        self.may_list()?;
        if !app.iso.files {
            return Err(StatusWord::PERMISSION_DENIED);
        }
        Ok(app.files.iter().filter_map(|file| file.iso_id).flat_map(u16::to_le_bytes).collect())
    }

    pub(super) fn file_settings(&self, data: &[u8]) -> Outcome {
        let &[no] = data else { return Err(StatusWord::LENGTH) };
        let file = self.file(no)?;
        self.may_list()?;
        let mode = match file.mode {
            CommMode::Plain => 0x00,
            CommMode::Mac => 0x01,
            CommMode::Full => 0x03,
        };
        let mut out = vec![file.body.type_code(), mode, file.rights[0], file.rights[1]];
        match &file.body {
            Body::Standard(data) | Body::Backup(data) => out.extend(le(data.len())),
            Body::Value { lower, upper, limited, options, .. } => {
                for number in [lower, upper, limited] {
                    out.extend(number.to_le_bytes());
                }
                out.push(*options);
            }
            Body::Records { size, max, data, .. } => {
                for number in [*size, *max, data.len() / size] {
                    out.extend(le(number));
                }
            }
            Body::Tmac { version, limit, .. } => {
                out.extend([0x02, *version]);
                if let Some(limit) = limit {
                    out[1] |= LIMITED;
                    out.extend(limit.to_le_bytes());
                }
            }
        }
        Ok(out)
    }

    /// Who may was asked when the command arrived.
    pub(super) fn change_file_settings(&mut self, data: &[u8]) -> Outcome {
        let (&[no, option, r0, r1], rest) =
            data.split_first_chunk::<4>().ok_or(StatusWord::LENGTH)?;
        let mode = comm_mode(option & !LIMITED)?;
        let file = self.app_mut()?.file_mut(no).ok_or(StatusWord::NO_SUCH_FILE)?;
        let new_limit = match (option & LIMITED, rest) {
            (0, []) => None,
            (LIMITED, &[a, b, c, d]) => Some(u32::from_le_bytes([a, b, c, d])),
            _ => return Err(StatusWord::LENGTH),
        };
        if let Body::Tmac { limit, .. } = &mut file.body {
            *limit = new_limit;
        } else if new_limit.is_some() {
            return Err(StatusWord::PARAMETER);
        }
        file.mode = mode;
        file.rights = [r0, r1];
        Ok(Vec::new())
    }

    pub(super) fn delete_file(&mut self, data: &[u8]) -> Outcome {
        let &[no] = data else { return Err(StatusWord::LENGTH) };
        self.may_create()?;
        self.file(no)?;
        self.volatile.pending.clear();
        self.app_mut()?.files.retain(|file| file.no != no);
        Ok(Vec::new())
    }

    pub(super) fn create_file(&mut self, command: u8, data: &[u8]) -> Outcome {
        let app = self.app()?;
        self.may_create()?;
        let (&no, data) = data.split_first().ok_or(StatusWord::LENGTH)?;
        let (iso_id, data) = iso_id(command, app.iso.files, data);
        let (&[mode, r0, r1], rest) = data.split_first_chunk::<3>().ok_or(StatusWord::LENGTH)?;
        let mode = comm_mode(mode)?;
        if no > FILE_NO_MAX {
            return Err(StatusWord::PARAMETER);
        }
        let same_id = |file: &File| iso_id.is_some() && file.iso_id == iso_id;
        if app.file(no).is_some() || app.files.iter().any(same_id) {
            return Err(StatusWord::DUPLICATE);
        }
        let body = match command {
            cmd::CREATE_STD_DATA_FILE => Body::Standard(self.new_data(rest)?),
            cmd::CREATE_BACKUP_DATA_FILE => Body::Backup(self.new_data(rest)?),
            cmd::CREATE_VALUE_FILE => new_value(rest)?,
            cmd::CREATE_LINEAR_RECORD_FILE => new_records(rest, false)?,
            cmd::CREATE_CYCLIC_RECORD_FILE => new_records(rest, true)?,
            _ => self.new_proof(rest)?,
        };
        if body.footprint() > self.memory.free() {
            return Err(StatusWord::OUT_OF_EEPROM);
        }
        self.app_mut()?.files.push(File { no, iso_id, mode, rights: [r0, r1], body });
        Ok(Vec::new())
    }

    /// A Transaction MAC file, of which there is one, and whose key only EV2 messaging brings.
    fn new_proof(&self, rest: &[u8]) -> Result<Body, StatusWord> {
        if !matches!(self.volatile.login, Some(Login { channel: Channel::Ev2(_), .. })) {
            return Err(StatusWord::AUTHENTICATION);
        }
        if self.app()?.tmac().is_some() {
            return Err(StatusWord::DUPLICATE);
        }
        new_tmac(rest)
    }

    fn new_data(&self, rest: &[u8]) -> Result<Vec<u8>, StatusWord> {
        let size = le24(rest.try_into().map_err(|_| StatusWord::LENGTH)?);
        if size == 0 {
            return Err(StatusWord::PARAMETER);
        }
        if size > self.memory.free() {
            return Err(StatusWord::OUT_OF_EEPROM);
        }
        Ok(vec![0; size])
    }
}

/// Data and record files may have an ISO identifier where the application has them; only the
/// length says whether this one does.
fn iso_id(command: u8, allowed: bool, data: &[u8]) -> (Option<u16>, &[u8]) {
    let with_id = match command {
        cmd::CREATE_STD_DATA_FILE | cmd::CREATE_BACKUP_DATA_FILE => 8,
        cmd::CREATE_LINEAR_RECORD_FILE | cmd::CREATE_CYCLIC_RECORD_FILE => 11,
        _ => return (None, data),
    };
    match data.split_first_chunk() {
        Some((id, rest)) if data.len() == with_id && allowed => {
            (Some(u16::from_le_bytes(*id)), rest)
        }
        _ => (None, data),
    }
}

/// Bytes of new file settings behind the file's number, by their first.
pub(super) const fn settings_len(option: u8) -> usize {
    if option & LIMITED == 0 { 3 } else { 7 }
}

const fn value_free(body: &Body) -> bool {
    matches!(body, Body::Value { options, .. } if *options & GET_VALUE_FREE != 0)
}

fn new_value(rest: &[u8]) -> Result<Body, StatusWord> {
    let (numbers, &[options]) = rest.split_last_chunk::<1>().ok_or(StatusWord::LENGTH)?;
    let (&[lower, upper, value], []) = numbers.as_chunks::<4>() else {
        return Err(StatusWord::LENGTH);
    };
    let [lower, upper, value] = [lower, upper, value].map(i32::from_le_bytes);
    if lower > value || value > upper {
        return Err(StatusWord::PARAMETER);
    }
    Ok(Body::Value { lower, upper, value, limited: 0, options })
}

fn new_records(rest: &[u8], cyclic: bool) -> Result<Body, StatusWord> {
    let (&[size, max], []) = rest.as_chunks::<3>() else { return Err(StatusWord::LENGTH) };
    let (size, max) = (le24(size), le24(max));
    if size == 0 || max == 0 || (cyclic && max < 2) {
        return Err(StatusWord::PARAMETER);
    }
    Ok(Body::Records { cyclic, size, max, data: Vec::new() })
}

fn new_tmac(rest: &[u8]) -> Result<Body, StatusWord> {
    let (&option, rest) = rest.split_first().ok_or(StatusWord::LENGTH)?;
    let (key, rest) = rest.split_first_chunk::<16>().ok_or(StatusWord::LENGTH)?;
    let &[version] = rest else { return Err(StatusWord::LENGTH) };
    if option != 0x02 {
        return Err(StatusWord::PARAMETER);
    }
    Ok(Body::Tmac {
        key: Key(*key),
        version,
        limit: None,
        ctr: 0,
        proof: [0; 8],
        reader_id: [0; 16],
    })
}

const fn comm_mode(byte: u8) -> Result<CommMode, StatusWord> {
    match byte {
        0x00 | 0x02 => Ok(CommMode::Plain),
        0x01 => Ok(CommMode::Mac),
        0x03 => Ok(CommMode::Full),
        _ => Err(StatusWord::PARAMETER),
    }
}

/// A size as the card reports it: three bytes, LSB first.
fn le(number: usize) -> [u8; 3] {
    let [a, b, c, ..] = number.to_le_bytes();
    [a, b, c]
}
