//! From frames to commands: which protection a command needs, applying it both ways, and which
//! function answers it.

use crate::apdu::{StatusWord, answer, cmd};
use crate::session::{CommMode, SessionError};

use super::memory::CAPACITY;
use super::{Chain, FRAME, Outcome, VirtualCard};

/// How a command is protected once somebody is logged in.
enum Protection {
    /// The same for every file and application.
    Fixed { command: CommMode, answer: CommMode },
    /// As the file that the command names was created.
    File,
}

struct Spec {
    /// Bytes that stay in the clear in full mode.
    header: usize,
    protection: Protection,
}

const fn fixed(header: usize, command: CommMode, answer: CommMode) -> Spec {
    Spec { header, protection: Protection::Fixed { command, answer } }
}

const fn spec(command: u8) -> Option<Spec> {
    use CommMode::{Full, Mac};
    Some(match command {
        cmd::GET_VERSION
        | cmd::GET_APPLICATION_IDS
        | cmd::CREATE_APPLICATION
        | cmd::DELETE_APPLICATION
        | cmd::GET_KEY_SETTINGS
        | cmd::GET_KEY_VERSION
        | cmd::FREE_MEM
        | cmd::GET_FILE_IDS
        | cmd::GET_FILE_SETTINGS
        | cmd::CREATE_STD_DATA_FILE
        | cmd::CREATE_BACKUP_DATA_FILE
        | cmd::CREATE_VALUE_FILE
        | cmd::CREATE_LINEAR_RECORD_FILE
        | cmd::CREATE_CYCLIC_RECORD_FILE
        | cmd::DELETE_FILE
        | cmd::COMMIT_TRANSACTION
        | cmd::ABORT_TRANSACTION
        | cmd::COMMIT_READER_ID => fixed(0, Mac, Mac),
        cmd::GET_CARD_UID => fixed(0, Mac, Full),
        cmd::CHANGE_KEY_SETTINGS => fixed(0, Full, Full),
        cmd::CHANGE_KEY | cmd::CHANGE_FILE_SETTINGS => fixed(1, Full, Full),
        cmd::CREATE_TRANSACTION_MAC_FILE => fixed(5, Full, Full),
        cmd::READ_DATA
        | cmd::READ_DATA_ISO
        | cmd::WRITE_DATA
        | cmd::WRITE_DATA_ISO
        | cmd::READ_RECORDS
        | cmd::READ_RECORDS_ISO
        | cmd::WRITE_RECORD
        | cmd::WRITE_RECORD_ISO => Spec { header: 7, protection: Protection::File },
        cmd::GET_VALUE | cmd::CREDIT | cmd::LIMITED_CREDIT | cmd::DEBIT => {
            Spec { header: 1, protection: Protection::File }
        }
        _ => return None,
    })
}

impl VirtualCard {
    /// A command that belongs into the session, if there is one.
    pub(super) fn secured(&mut self, cmd: u8, payload: &[u8]) -> Outcome {
        let spec = spec(cmd).ok_or(StatusWord::ILLEGAL_COMMAND)?;
        let (mode, answer_mode) = match spec.protection {
            Protection::Fixed { command, answer } => (command, answer),
            Protection::File => {
                let mode = self.file_access(cmd, payload)?;
                (mode, mode)
            }
        };
        if payload.len() < self.announced_length(cmd, payload, mode)? {
            self.volatile.chain = Chain::Receiving { cmd, payload: payload.to_vec() };
            return Ok(answer(&[], StatusWord::ADDITIONAL_FRAME));
        }
        let reply = match &mut self.volatile.login {
            None => self.run(cmd, payload)?,
            Some(login) => {
                let header = if mode == CommMode::Full { spec.header } else { 0 };
                let data = login
                    .session
                    .open_command(mode, cmd, header, payload)
                    .map_err(session_status)?;
                let opened = [payload.get(..header).unwrap_or_default(), &data].concat();
                self.run(cmd, &opened)?
            }
        };
        // Changing the key of the session has ended it: that answer carries no MAC.
        let sealed = match &self.volatile.login {
            None => reply,
            Some(login) => login.session.seal_answer(answer_mode, &reply),
        };
        let (chunk, tail) = match cmd {
            cmd::GET_VERSION => (7, sealed.len() - 14),
            cmd::READ_DATA_ISO | cmd::READ_RECORDS_ISO => (usize::MAX, usize::MAX),
            _ => (FRAME, FRAME),
        };
        Ok(self.send(&sealed, chunk, tail))
    }

    /// Natively chained writes say how long they are; the rest comes in further frames.
    fn announced_length(
        &self,
        cmd: u8,
        payload: &[u8],
        mode: CommMode,
    ) -> Result<usize, StatusWord> {
        let (cmd::WRITE_DATA | cmd::WRITE_RECORD, Some(&[_, _, _, _, a, b, c])) =
            (cmd, payload.first_chunk::<7>())
        else {
            return Ok(0);
        };
        let data = le24([a, b, c]);
        if data > CAPACITY {
            return Err(StatusWord::BOUNDARY);
        }
        let mode = if self.volatile.login.is_some() { mode } else { CommMode::Plain };
        Ok(7 + match mode {
            CommMode::Plain => data,
            CommMode::Mac => data + 8,
            CommMode::Full => (data / 16 + 1) * 16 + 8,
        })
    }

    /// Header and plain data of a command that arrived whole and unharmed.
    fn run(&mut self, command: u8, data: &[u8]) -> Outcome {
        match command {
            cmd::GET_VERSION => self.version(data),
            cmd::GET_APPLICATION_IDS => self.application_ids(data),
            cmd::CREATE_APPLICATION => self.create_application(data),
            cmd::DELETE_APPLICATION => self.delete_application(data),
            cmd::GET_KEY_SETTINGS => self.key_settings(data),
            cmd::CHANGE_KEY_SETTINGS => self.change_key_settings(data),
            cmd::GET_KEY_VERSION => self.key_version(data),
            cmd::CHANGE_KEY => self.change_key(data),
            cmd::FREE_MEM => self.free_mem(data),
            cmd::GET_CARD_UID => self.card_uid(data),
            cmd::GET_FILE_IDS => self.file_ids(data),
            cmd::GET_FILE_SETTINGS => self.file_settings(data),
            cmd::CHANGE_FILE_SETTINGS => self.change_file_settings(data),
            cmd::CREATE_STD_DATA_FILE
            | cmd::CREATE_BACKUP_DATA_FILE
            | cmd::CREATE_VALUE_FILE
            | cmd::CREATE_LINEAR_RECORD_FILE
            | cmd::CREATE_CYCLIC_RECORD_FILE
            | cmd::CREATE_TRANSACTION_MAC_FILE => self.create_file(command, data),
            cmd::DELETE_FILE => self.delete_file(data),
            cmd::READ_DATA | cmd::READ_DATA_ISO => self.read_data(command, data),
            cmd::WRITE_DATA | cmd::WRITE_DATA_ISO => self.write_data(command, data),
            cmd::GET_VALUE => self.value(data),
            cmd::CREDIT | cmd::LIMITED_CREDIT | cmd::DEBIT => self.change_value(command, data),
            cmd::READ_RECORDS | cmd::READ_RECORDS_ISO => self.read_records(command, data),
            cmd::WRITE_RECORD | cmd::WRITE_RECORD_ISO => self.write_record(command, data),
            cmd::COMMIT_TRANSACTION => self.commit_transaction(data),
            cmd::ABORT_TRANSACTION => self.abort_transaction(data),
            cmd::COMMIT_READER_ID => self.commit_reader_id(data),
            _ => Err(StatusWord::ILLEGAL_COMMAND),
        }
    }
}

const fn session_status(error: SessionError) -> StatusWord {
    match error {
        SessionError::Length | SessionError::Mac | SessionError::Padding => StatusWord::INTEGRITY,
        SessionError::Exhausted => StatusWord::AUTHENTICATION,
    }
}

/// Three bytes, LSB first.
pub(super) fn le24([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16
}
