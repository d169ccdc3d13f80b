//! Frames: DESFire commands wrapped in ISO 7816-4, and the status words that come back.
//!
//! Wrapped: `90 Cmd 00 00 [Lc data] 00`, answered by `data 91 status`. The wrapping is never part
//! of a MAC.

use alloc::vec::Vec;
use core::fmt;

/// Command codes, by NXP's names.
pub mod cmd {
    #![expect(missing_docs, reason = "the names are NXP's; card-layout.md lists the used ones")]
    pub const AUTHENTICATE_LEGACY: u8 = 0x0A;
    pub const AUTHENTICATE_ISO: u8 = 0x1A;
    pub const AUTHENTICATE_AES: u8 = 0xAA;
    pub const AUTHENTICATE_EV2_FIRST: u8 = 0x71;
    pub const AUTHENTICATE_EV2_NON_FIRST: u8 = 0x77;
    pub const ADDITIONAL_FRAME: u8 = 0xAF;
    pub const GET_VERSION: u8 = 0x60;
    pub const SELECT_APPLICATION: u8 = 0x5A;
    pub const GET_APPLICATION_IDS: u8 = 0x6A;
    pub const CREATE_APPLICATION: u8 = 0xCA;
    pub const DELETE_APPLICATION: u8 = 0xDA;
    pub const GET_KEY_SETTINGS: u8 = 0x45;
    pub const CHANGE_KEY_SETTINGS: u8 = 0x54;
    pub const GET_KEY_VERSION: u8 = 0x64;
    pub const CHANGE_KEY: u8 = 0xC4;
    pub const CHANGE_KEY_EV2: u8 = 0xC6;
    pub const SET_CONFIGURATION: u8 = 0x5C;
    pub const FORMAT_PICC: u8 = 0xFC;
    pub const FREE_MEM: u8 = 0x6E;
    pub const GET_CARD_UID: u8 = 0x51;
    pub const GET_DF_NAMES: u8 = 0x6D;
    pub const GET_FILE_IDS: u8 = 0x6F;
    pub const GET_ISO_FILE_IDS: u8 = 0x61;
    pub const GET_FILE_SETTINGS: u8 = 0xF5;
    pub const CHANGE_FILE_SETTINGS: u8 = 0x5F;
    pub const CREATE_STD_DATA_FILE: u8 = 0xCD;
    pub const CREATE_BACKUP_DATA_FILE: u8 = 0xCB;
    pub const CREATE_VALUE_FILE: u8 = 0xCC;
    pub const CREATE_LINEAR_RECORD_FILE: u8 = 0xC1;
    pub const CREATE_CYCLIC_RECORD_FILE: u8 = 0xC0;
    pub const CREATE_TRANSACTION_MAC_FILE: u8 = 0xCE;
    pub const DELETE_FILE: u8 = 0xDF;
    pub const READ_DATA: u8 = 0xBD;
    pub const READ_DATA_ISO: u8 = 0xAD;
    pub const WRITE_DATA: u8 = 0x3D;
    pub const WRITE_DATA_ISO: u8 = 0x8D;
    pub const GET_VALUE: u8 = 0x6C;
    pub const CREDIT: u8 = 0x0C;
    pub const LIMITED_CREDIT: u8 = 0x1C;
    pub const DEBIT: u8 = 0xDC;
    pub const READ_RECORDS: u8 = 0xBB;
    pub const READ_RECORDS_ISO: u8 = 0xAB;
    pub const WRITE_RECORD: u8 = 0x3B;
    pub const WRITE_RECORD_ISO: u8 = 0x8B;
    pub const UPDATE_RECORD: u8 = 0xDB;
    pub const UPDATE_RECORD_ISO: u8 = 0xBA;
    pub const CLEAR_RECORD_FILE: u8 = 0xEB;
    pub const COMMIT_TRANSACTION: u8 = 0xC7;
    pub const ABORT_TRANSACTION: u8 = 0xA7;
    pub const COMMIT_READER_ID: u8 = 0xC8;
}

/// The two bytes that end every answer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StatusWord(pub u16);

macro_rules! status_words {
    ($($name:ident = $value:literal, $text:literal;)*) => {
        impl StatusWord {
            $(#[doc = $text] pub const $name: Self = Self($value);)*

            /// What the status means, in words.
            pub const fn meaning(self) -> &'static str {
                match self.0 {
                    $($value => $text,)*
                    _ => "unknown status",
                }
            }
        }
    };
}

status_words! {
    OK = 0x9100, "successful";
    NO_CHANGES = 0x910C, "no changes to commit";
    OUT_OF_EEPROM = 0x910E, "out of memory";
    ILLEGAL_COMMAND = 0x911C, "illegal command";
    INTEGRITY = 0x911E, "integrity error";
    NO_SUCH_KEY = 0x9140, "no such key";
    LENGTH = 0x917E, "wrong length";
    PERMISSION_DENIED = 0x919D, "permission denied";
    PARAMETER = 0x919E, "parameter error";
    NO_SUCH_APPLICATION = 0x91A0, "no such application";
    APPLICATION_INTEGRITY = 0x91A1, "application integrity error";
    AUTHENTICATION = 0x91AE, "authentication error";
    ADDITIONAL_FRAME = 0x91AF, "additional frame expected";
    BOUNDARY = 0x91BE, "boundary error";
    PICC_INTEGRITY = 0x91C1, "card integrity error";
    COMMAND_ABORTED = 0x91CA, "command aborted";
    PICC_DISABLED = 0x91CD, "card disabled";
    COUNT = 0x91CE, "count error";
    DUPLICATE = 0x91DE, "duplicate";
    EEPROM = 0x91EE, "memory error";
    NO_SUCH_FILE = 0x91F0, "no such file";
    FILE_INTEGRITY = 0x91F1, "file integrity error";
    ISO_OK = 0x9000, "successful (ISO)";
    ISO_END_OF_FILE = 0x6282, "end of file reached (ISO)";
    ISO_EXHAUSTED = 0x6283, "transaction limit reached (ISO)";
    ISO_WRONG_LENGTH = 0x6700, "wrong length (ISO)";
    ISO_INCOMPATIBLE = 0x6981, "command does not fit the file (ISO)";
    ISO_SECURITY = 0x6982, "security status not satisfied (ISO)";
    ISO_CONDITIONS = 0x6985, "conditions of use not satisfied (ISO)";
    ISO_NO_FILE_SELECTED = 0x6986, "no file selected (ISO)";
    ISO_NOT_FOUND = 0x6A82, "application or file not found (ISO)";
    ISO_WRONG_PARAMETERS = 0x6A86, "wrong parameters (ISO)";
    ISO_WRONG_OFFSET = 0x6B00, "wrong offset (ISO)";
    ISO_NO_INSTRUCTION = 0x6D00, "instruction not supported (ISO)";
    ISO_NO_CLASS = 0x6E00, "class not supported (ISO)";
}

impl StatusWord {
    /// Whether a DESFire card says that it did not do what it was asked.
    pub const fn is_card_error(self) -> bool {
        self.0 >> 8 == 0x91 && self.0 != Self::OK.0 && self.0 != Self::ADDITIONAL_FRAME.0
    }
}

impl fmt::Debug for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusWord({:04x})", self.0)
    }
}

impl fmt::Display for StatusWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:04x})", self.meaning(), self.0)
    }
}

/// One command, wrapped.
///
/// # Panics
/// When `data` is longer than one APDU carries (255 bytes): our own commands never are.
pub fn wrap(cmd: u8, data: &[u8]) -> Vec<u8> {
    let length = u8::try_from(data.len()).expect("our commands fit into one APDU");
    let mut apdu = Vec::with_capacity(data.len() + 6);
    apdu.extend_from_slice(&[0x90, cmd, 0, 0]);
    if length > 0 {
        apdu.push(length);
        apdu.extend_from_slice(data);
    }
    apdu.push(0);
    apdu
}

/// A command as the card finds it in an APDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command<'a> {
    /// `90 Cmd 00 00 …`.
    Wrapped {
        /// The command code.
        cmd: u8,
        /// What follows it.
        data: &'a [u8],
    },
    /// `00 A4 P1 P2 Lc data`.
    IsoSelect {
        /// P1: 04 selects by name, 00 to 02 by identifier.
        by: u8,
        /// The name, or the identifier, high byte first.
        data: &'a [u8],
    },
    /// `00 B0 P1 P2 Le`.
    IsoRead {
        /// An offset, or a short file identifier and an offset.
        place: [u8; 2],
        /// Bytes wanted, 0 for all there is.
        count: u8,
    },
    /// `00 D6 P1 P2 Lc data`.
    IsoUpdate {
        /// An offset, or a short file identifier and an offset.
        place: [u8; 2],
        /// What to write there.
        data: &'a [u8],
    },
}

/// Reads a command APDU, or says with which status to refuse it.
pub fn parse_command(apdu: &[u8]) -> Result<Command<'_>, StatusWord> {
    let (&[class, cmd, p1, p2], rest) =
        apdu.split_first_chunk::<4>().ok_or(StatusWord::ISO_WRONG_LENGTH)?;
    if let (0x00, 0xB0, &[] | &[_]) = (class, cmd, rest) {
        let count = rest.first().copied().unwrap_or(0);
        return Ok(Command::IsoRead { place: [p1, p2], count });
    }
    let data = match rest {
        [] | [0] => &[][..],
        [length, data @ ..] if data.len() == usize::from(*length) => data,
        [length, data @ .., 0] if data.len() == usize::from(*length) => data,
        _ => return Err(StatusWord::ISO_WRONG_LENGTH),
    };
    match (class, cmd, p1, p2) {
        (0x90, cmd, 0, 0) => Ok(Command::Wrapped { cmd, data }),
        (0x90, ..) => Err(StatusWord::PARAMETER),
        (0x00, 0xA4, by, _) => Ok(Command::IsoSelect { by, data }),
        (0x00, 0xD6, ..) => Ok(Command::IsoUpdate { place: [p1, p2], data }),
        (0x00, ..) => Err(StatusWord::ISO_NO_INSTRUCTION),
        _ => Err(StatusWord::ISO_NO_CLASS),
    }
}

/// An answer, split into its data and its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// What precedes the status.
    pub data: &'a [u8],
    /// How it went.
    pub status: StatusWord,
}

/// Reads an answer; `None` when it is too short to carry a status.
pub fn parse_answer(bytes: &[u8]) -> Option<Answer<'_>> {
    let (data, status) = bytes.split_last_chunk::<2>()?;
    Some(Answer { data, status: StatusWord(u16::from_be_bytes(*status)) })
}

/// An answer's bytes.
pub fn answer(data: &[u8], status: StatusWord) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(data.len() + 2);
    bytes.extend_from_slice(data);
    bytes.extend_from_slice(&status.0.to_be_bytes());
    bytes
}

/// Header of the file commands that name a span: `FileNo Offset(3) Length(3)`, which is also
/// `FileNo RecNo(3) RecCount(3)`.
///
/// # Panics
/// When a number does not fit into 24 bits: the layout's numbers do.
pub fn span(file: u8, from: u32, count: u32) -> [u8; 7] {
    let [f0, f1, f2, f3] = from.to_le_bytes();
    let [c0, c1, c2, c3] = count.to_le_bytes();
    assert!(f3 == 0 && c3 == 0, "spans on the card fit into 24 bits");
    [file, f0, f1, f2, c0, c1, c2]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_back_as_wrapped() {
        for data in [&[][..], &[1], &[0], &[7; 255]] {
            let apdu = wrap(0x5A, data);
            assert_eq!(parse_command(&apdu), Ok(Command::Wrapped { cmd: 0x5A, data }));
        }
    }

    #[test]
    fn broken_frames_are_refused_with_their_own_status() {
        for (apdu, status) in [
            (&[][..], StatusWord::ISO_WRONG_LENGTH),
            (&[0x90, 0x60, 0], StatusWord::ISO_WRONG_LENGTH),
            (&[0x90, 0x60, 0, 0, 5, 1, 2, 0], StatusWord::ISO_WRONG_LENGTH),
            (&[0x90, 0x60, 1, 0, 0], StatusWord::PARAMETER),
            (&[0x00, 0xB2, 0, 0, 0], StatusWord::ISO_NO_INSTRUCTION),
            (&[0x80, 0x60, 0, 0, 0], StatusWord::ISO_NO_CLASS),
        ] {
            assert_eq!(parse_command(apdu), Err(status), "{apdu:02x?}");
        }
    }

    #[test]
    fn only_the_cards_own_refusals_count_as_card_errors() {
        assert!(StatusWord::BOUNDARY.is_card_error());
        for not in [StatusWord::OK, StatusWord::ADDITIONAL_FRAME, StatusWord::ISO_NOT_FOUND] {
            assert!(!not.is_card_error(), "{not}");
        }
    }
}
