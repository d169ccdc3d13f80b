//! From frames to commands: which protection a command needs, applying it both ways, and which
//! function answers it.

use alloc::{collections::VecDeque, vec, vec::Vec};

use crate::apdu::{StatusWord, cmd};
use crate::legacy::{MessageError, Scheme};
use crate::session::{CommMode, SessionError};

use super::memory::CAPACITY;
use super::{Chain, Channel, Framed, Login, Outcome, VirtualCard};

/// Data bytes that an answer frame carries when it is split.
const FRAME: usize = 59;

/// How a command is protected once somebody is logged in.
enum Protection {
    /// The same for every file and application.
    Fixed { command: CommMode, answer: CommMode },
    /// As the file that the command names was created.
    File,
    /// Full, or in the clear where the file lets everybody change its settings.
    Settings,
}

struct Spec {
    /// Bytes that stay in the clear in full mode.
    header: usize,
    protection: Protection,
}

const fn fixed(header: usize, command: CommMode, answer: CommMode) -> Spec {
    Spec { header, protection: Protection::Fixed { command, answer } }
}

const fn of_file(header: usize) -> Spec {
    Spec { header, protection: Protection::File }
}

const fn spec(command: u8) -> Option<Spec> {
    use CommMode::{Full, Mac};
    Some(match command {
        cmd::GET_VERSION
        | cmd::GET_APPLICATION_IDS
        | cmd::GET_DF_NAMES
        | cmd::CREATE_APPLICATION
        | cmd::DELETE_APPLICATION
        | cmd::FORMAT_PICC
        | cmd::GET_KEY_SETTINGS
        | cmd::GET_KEY_VERSION
        | cmd::FREE_MEM
        | cmd::GET_FILE_IDS
        | cmd::GET_ISO_FILE_IDS
        | cmd::GET_FILE_SETTINGS
        | cmd::CREATE_STD_DATA_FILE
        | cmd::CREATE_BACKUP_DATA_FILE
        | cmd::CREATE_VALUE_FILE
        | cmd::CREATE_LINEAR_RECORD_FILE
        | cmd::CREATE_CYCLIC_RECORD_FILE
        | cmd::DELETE_FILE
        | cmd::CLEAR_RECORD_FILE
        | cmd::COMMIT_TRANSACTION
        | cmd::ABORT_TRANSACTION
        | cmd::COMMIT_READER_ID => fixed(0, Mac, Mac),
        cmd::GET_CARD_UID => fixed(0, Mac, Full),
        cmd::CHANGE_KEY_SETTINGS => fixed(0, Full, Full),
        cmd::CHANGE_KEY | cmd::SET_CONFIGURATION => fixed(1, Full, Full),
        cmd::CHANGE_KEY_EV2 => fixed(2, Full, Full),
        cmd::CHANGE_FILE_SETTINGS => Spec { header: 1, protection: Protection::Settings },
        cmd::CREATE_TRANSACTION_MAC_FILE => fixed(5, Full, Full),
        cmd::READ_DATA
        | cmd::READ_DATA_ISO
        | cmd::WRITE_DATA
        | cmd::WRITE_DATA_ISO
        | cmd::READ_RECORDS
        | cmd::READ_RECORDS_ISO
        | cmd::WRITE_RECORD
        | cmd::WRITE_RECORD_ISO => of_file(7),
        cmd::UPDATE_RECORD | cmd::UPDATE_RECORD_ISO => of_file(10),
        cmd::GET_VALUE | cmd::CREDIT | cmd::LIMITED_CREDIT | cmd::DEBIT => of_file(1),
        _ => return None,
    })
}

/// Whether a native frame may begin with this.
pub(super) const fn is_known(command: u8) -> bool {
    spec(command).is_some()
        || matches!(
            command,
            cmd::SELECT_APPLICATION
                | cmd::AUTHENTICATE_LEGACY
                | cmd::AUTHENTICATE_ISO
                | cmd::AUTHENTICATE_AES
                | cmd::AUTHENTICATE_EV2_FIRST
                | cmd::AUTHENTICATE_EV2_NON_FIRST
                | cmd::ADDITIONAL_FRAME
        )
}

/// Commands whose answer, not whose command carries the data of a file.
const fn reads(command: u8) -> bool {
    matches!(
        command,
        cmd::READ_DATA
            | cmd::READ_DATA_ISO
            | cmd::READ_RECORDS
            | cmd::READ_RECORDS_ISO
            | cmd::GET_VALUE
    )
}

/// What a command turned out to need.
struct Sealing {
    header: usize,
    command: CommMode,
    answer: CommMode,
}

impl VirtualCard {
    /// A command that belongs into the session, if there is one.
    pub(super) fn secured(&mut self, cmd: u8, payload: &[u8]) -> Framed {
        let sealing = self.sealing(cmd, payload)?;
        if payload.len() < self.announced_length(cmd, payload, sealing.command)? {
            self.volatile.chain = Chain::Receiving { cmd, payload: payload.to_vec() };
            return Ok((Vec::new(), StatusWord::ADDITIONAL_FRAME));
        }
        let opened = self.open(cmd, payload, &sealing)?;
        let reply = self.run(cmd, &opened)?;
        // Changing the key of the session has ended it: that answer carries no MAC.
        let sealed = match &mut self.volatile.login {
            None => reply,
            Some(Login { channel: Channel::Ev2(session), .. }) => {
                session.seal_answer(sealing.answer, &reply)
            }
            Some(Login { channel: Channel::Old(_, session), .. }) => {
                let marked = reads(cmd) && opened.get(4..7) == Some(&[0; 3]);
                session.seal_answer(sealing.answer, &reply, marked)
            }
        };
        let frames = self.frames(cmd, &sealed);
        Ok(self.send(frames))
    }

    fn sealing(&self, cmd: u8, payload: &[u8]) -> Result<Sealing, StatusWord> {
        let Spec { header, protection } = spec(cmd).ok_or(StatusWord::ILLEGAL_COMMAND)?;
        let (command, answer) = match protection {
            Protection::Fixed { command, answer } => (command, answer),
            Protection::File => {
                let mode = self.file_access(cmd, payload)?;
                (mode, mode)
            }
            Protection::Settings => {
                let mode = self.settings_access(payload)?;
                (mode, mode)
            }
        };
        let old = matches!(self.volatile.login, Some(Login { channel: Channel::Old(..), .. }));
        if !old {
            return Ok(Sealing { header, command, answer });
        }
        // Before EV2 only data is protected, and administration sends none that needs a MAC.
        let file = matches!(protection, Protection::File);
        Ok(Sealing {
            header,
            command: match command {
                CommMode::Mac if !file => CommMode::Plain,
                CommMode::Mac | CommMode::Full if reads(cmd) => CommMode::Plain,
                CommMode::Plain | CommMode::Mac | CommMode::Full => command,
            },
            answer: if reads(cmd) || cmd == cmd::GET_CARD_UID { answer } else { CommMode::Plain },
        })
    }

    /// Header and plain data of a command that arrived whole, once they are known to be unharmed.
    fn open(&mut self, cmd: u8, payload: &[u8], sealing: &Sealing) -> Outcome {
        let Sealing { header, command: mode, .. } = *sealing;
        let lens = self.old_lens(cmd, payload);
        match &mut self.volatile.login {
            None => Ok(payload.to_vec()),
            Some(Login { channel: Channel::Ev2(session), .. }) => {
                let header = if mode == CommMode::Full { header } else { 0 };
                let data =
                    session.open_command(mode, cmd, header, payload).map_err(session_status)?;
                Ok([payload.get(..header).unwrap_or_default(), &data].concat())
            }
            Some(Login { channel: Channel::Old(_, session), .. }) => session
                .open_command(mode, cmd, header, payload, |plain| lens.of(plain))
                .map_err(message_status),
        }
    }

    /// How long the data of an enciphered command is before EV2, where nothing in it says so.
    fn old_lens(&self, cmd: u8, payload: &[u8]) -> OldLens {
        let fixed = |data| OldLens::Fixed { data, tail: 0 };
        match cmd {
            cmd::CHANGE_KEY_SETTINGS => fixed(1),
            cmd::CHANGE_FILE_SETTINGS => OldLens::FileOption,
            cmd::CREATE_TRANSACTION_MAC_FILE => fixed(17),
            cmd::CREDIT | cmd::DEBIT | cmd::LIMITED_CREDIT => fixed(4),
            cmd::CHANGE_KEY => self.key_change_lens(payload.first().copied().unwrap_or(0)),
            cmd::SET_CONFIGURATION => match payload.first() {
                Some(0) => fixed(1),
                Some(1) => fixed(25),
                _ => OldLens::LengthByte,
            },
            _ => written(cmd, payload).map_or(OldLens::Unknown, |(_, data)| fixed(data)),
        }
    }

    fn key_change_lens(&self, key_no: u8) -> OldLens {
        let Some(login) = &self.volatile.login else { return OldLens::Unknown };
        let Ok(kind) = self.key_kind(key_no) else { return OldLens::Unknown };
        let version = usize::from(kind == crate::legacy::KeyKind::Aes);
        let tail = match login.channel {
            _ if key_no & 0x3F == login.key_no => 0,
            Channel::Old(Scheme::D40, _) => 2,
            Channel::Old(..) | Channel::Ev2(_) => 4,
        };
        OldLens::Fixed { data: kind.key_len() + version, tail }
    }

    /// Natively chained writes say how long they are; the rest comes in further frames.
    fn announced_length(
        &self,
        cmd: u8,
        payload: &[u8],
        mode: CommMode,
    ) -> Result<usize, StatusWord> {
        if !matches!(cmd, cmd::WRITE_DATA | cmd::WRITE_RECORD | cmd::UPDATE_RECORD) {
            return Ok(0);
        }
        let Some((header, data)) = written(cmd, payload) else { return Ok(0) };
        if data > CAPACITY {
            return Err(StatusWord::BOUNDARY);
        }
        let sealed = match &self.volatile.login {
            None => data,
            Some(Login { channel: Channel::Old(_, session), .. }) => session.sealed_len(mode, data),
            Some(Login { channel: Channel::Ev2(_), .. }) => match mode {
                CommMode::Plain => data,
                CommMode::Mac => data + 8,
                CommMode::Full => (data / 16 + 1) * 16 + 8,
            },
        };
        Ok(header + sealed)
    }

    /// A sealed answer in the frames in which it leaves.
    fn frames(&self, cmd: u8, sealed: &[u8]) -> VecDeque<Vec<u8>> {
        let cuts = match cmd {
            cmd::READ_DATA_ISO | cmd::READ_RECORDS_ISO => vec![],
            cmd::GET_VERSION => vec![7, 7],
            cmd::GET_DF_NAMES => self.df_name_lens(),
            cmd::GET_APPLICATION_IDS => vec![57; sealed.len().saturating_sub(1) / 57],
            _ => vec![FRAME; sealed.len().saturating_sub(1) / FRAME],
        };
        let mut rest = sealed;
        let mut frames = VecDeque::new();
        for cut in cuts {
            let (frame, after) = rest.split_at(cut.min(rest.len()));
            frames.push_back(frame.to_vec());
            rest = after;
        }
        frames.push_back(rest.to_vec());
        frames
    }

    /// Header and plain data of a command that arrived whole and unharmed.
    fn run(&mut self, command: u8, data: &[u8]) -> Outcome {
        match command {
            cmd::GET_VERSION => self.version(data),
            cmd::GET_APPLICATION_IDS => self.application_ids(data),
            cmd::GET_DF_NAMES => self.df_names(data),
            cmd::CREATE_APPLICATION => self.create_application(data),
            cmd::DELETE_APPLICATION => self.delete_application(data),
            cmd::FORMAT_PICC => self.format(data),
            cmd::SET_CONFIGURATION => self.set_configuration(data),
            cmd::GET_KEY_SETTINGS => self.key_settings(data),
            cmd::CHANGE_KEY_SETTINGS => self.change_key_settings(data),
            cmd::GET_KEY_VERSION => self.key_version(data),
            cmd::CHANGE_KEY => self.change_key(data),
            cmd::CHANGE_KEY_EV2 => self.change_key_of_set(data),
            cmd::FREE_MEM => self.free_mem(data),
            cmd::GET_CARD_UID => self.card_uid(data),
            cmd::GET_FILE_IDS => self.file_ids(data),
            cmd::GET_ISO_FILE_IDS => self.iso_file_ids(data),
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
            cmd::UPDATE_RECORD | cmd::UPDATE_RECORD_ISO => self.update_record(command, data),
            cmd::CLEAR_RECORD_FILE => self.clear_record_file(data),
            cmd::COMMIT_TRANSACTION => self.commit_transaction(data),
            cmd::ABORT_TRANSACTION => self.abort_transaction(data),
            cmd::COMMIT_READER_ID => self.commit_reader_id(data),
            _ => Err(StatusWord::ILLEGAL_COMMAND),
        }
    }
}

/// Bytes of plain data in an enciphered command, and what follows its CRC.
enum OldLens {
    Fixed {
        data: usize,
        tail: usize,
    },
    /// The first byte is the length.
    LengthByte,
    /// New file settings, with a transaction limit where they announce one.
    FileOption,
    Unknown,
}

impl OldLens {
    fn of(&self, plain: &[u8]) -> Option<(usize, usize)> {
        match *self {
            Self::Fixed { data, tail } => Some((data, tail)),
            Self::LengthByte => Some((usize::from(*plain.first()?), 0)),
            Self::FileOption => Some((super::files::settings_len(*plain.first()?), 0)),
            Self::Unknown => None,
        }
    }
}

/// Length of a write's header, and of the data that it announces.
fn written(cmd: u8, payload: &[u8]) -> Option<(usize, usize)> {
    let header = match cmd {
        cmd::WRITE_DATA | cmd::WRITE_DATA_ISO | cmd::WRITE_RECORD | cmd::WRITE_RECORD_ISO => 7,
        cmd::UPDATE_RECORD | cmd::UPDATE_RECORD_ISO => 10,
        _ => return None,
    };
    let length = payload.get(header - 3..)?.first_chunk::<3>()?;
    Some((header, le24(*length)))
}

const fn session_status(error: SessionError) -> StatusWord {
    match error {
        SessionError::Length | SessionError::Mac | SessionError::Padding => StatusWord::INTEGRITY,
        SessionError::Exhausted => StatusWord::AUTHENTICATION,
    }
}

const fn message_status(error: MessageError) -> StatusWord {
    match error {
        MessageError::Length => StatusWord::LENGTH,
        MessageError::Integrity => StatusWord::INTEGRITY,
    }
}

/// Three bytes, LSB first.
pub(super) fn le24([a, b, c]: [u8; 3]) -> usize {
    usize::from(a) | usize::from(b) << 8 | usize::from(c) << 16
}
