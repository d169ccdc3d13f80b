//! What survives on the card without power: applications, keys, files.

use alloc::{collections::VecDeque, vec::Vec};

use model::CardId;

use crate::keys::Key;
use crate::session::CommMode;

#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub(super) uid: CardId,
    /// Key settings of the card level; from the factory anybody may create applications.
    pub(super) settings: u8,
    pub(super) apps: Vec<App>,
    pub(super) random_key: Key,
    /// Random blocks drawn so far.
    pub(super) drawn: u64,
    /// Blocks to use before the stream; no part of an image.
    pub(super) dictated: VecDeque<[u8; 16]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct App {
    pub(super) aid: [u8; 3],
    pub(super) settings: u8,
    pub(super) keys: Vec<StoredKey>,
    pub(super) files: Vec<File>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredKey {
    pub(super) key: Key,
    pub(super) version: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) no: u8,
    pub(super) mode: CommMode,
    /// As sent: `RW<<4 | Change`, `Read<<4 | Write`.
    pub(super) rights: [u8; 2],
    pub(super) body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    Standard(Vec<u8>),
    Backup(Vec<u8>),
    Value {
        lower: i32,
        upper: i32,
        value: i32,
        /// What `LimitedCredit` may still give back.
        limited: i32,
        /// Bit 0 limited credit allowed, bit 1 `GetValue` free.
        options: u8,
    },
    Records {
        cyclic: bool,
        size: usize,
        /// As created; a cyclic file holds one committed record less.
        max: usize,
        /// Committed records, oldest first.
        data: Vec<u8>,
    },
    Tmac {
        key: Key,
        version: u8,
        ctr: u32,
        proof: [u8; 8],
        reader_id: [u8; 16],
    },
}

/// Bytes for users on an 8K card.
pub(super) const CAPACITY: usize = 8192;
pub(super) const APPS_MAX: usize = 28;
pub(super) const FILE_NO_MAX: u8 = 31;

impl Memory {
    pub(super) fn factory(uid: CardId, random_key: Key) -> Self {
        Self {
            uid,
            settings: 0x0F,
            apps: Vec::new(),
            random_key,
            drawn: 0,
            dictated: VecDeque::new(),
        }
    }

    pub(super) fn same_contents(&self, other: &Self) -> bool {
        self.uid == other.uid && self.settings == other.settings && self.apps == other.apps
    }

    pub(super) fn free(&self) -> usize {
        let used: usize = self.apps.iter().map(App::footprint).sum();
        CAPACITY.saturating_sub(used)
    }
}

impl App {
    pub(super) fn file(&self, no: u8) -> Option<&File> {
        self.files.iter().find(|file| file.no == no)
    }

    pub(super) fn file_mut(&mut self, no: u8) -> Option<&mut File> {
        self.files.iter_mut().find(|file| file.no == no)
    }

    pub(super) fn tmac(&self) -> Option<&File> {
        self.files.iter().find(|file| matches!(file.body, Body::Tmac { .. }))
    }

    fn footprint(&self) -> usize {
        32 + self.keys.len() * 32 + self.files.iter().map(|f| f.body.footprint()).sum::<usize>()
    }
}

impl File {
    pub(super) const fn read_key(&self) -> u8 {
        self.rights[1] >> 4
    }

    pub(super) const fn write_key(&self) -> u8 {
        self.rights[1] & 0x0F
    }

    pub(super) const fn read_write_key(&self) -> u8 {
        self.rights[0] >> 4
    }

    pub(super) const fn change_key(&self) -> u8 {
        self.rights[0] & 0x0F
    }
}

impl Body {
    /// Bytes it takes, in blocks of 32.
    pub(super) fn footprint(&self) -> usize {
        let bytes = match self {
            Self::Standard(data) => data.len(),
            Self::Backup(data) => data.len() * 2,
            Self::Value { .. } => 16,
            Self::Records { size, max, .. } => size.saturating_mul(*max),
            Self::Tmac { .. } => 64,
        };
        bytes.div_ceil(32).saturating_add(1).saturating_mul(32)
    }

    pub(super) const fn type_code(&self) -> u8 {
        match self {
            Self::Standard(_) => 0x00,
            Self::Backup(_) => 0x01,
            Self::Value { .. } => 0x02,
            Self::Records { cyclic: false, .. } => 0x03,
            Self::Records { cyclic: true, .. } => 0x04,
            Self::Tmac { .. } => 0x05,
        }
    }
}
