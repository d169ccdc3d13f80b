//! What survives on the card without power: applications, keys, files.

use alloc::{collections::VecDeque, vec, vec::Vec};

use model::CardId;

use crate::keys::Key;
use crate::legacy::{AnyKey, KeyKind};
use crate::session::CommMode;

#[derive(Debug, Clone)]
pub(super) struct Memory {
    pub(super) uid: CardId,
    /// Key settings of the card level; from the factory anybody may create applications.
    pub(super) settings: u8,
    /// The card's master key; DES and zero from the factory.
    pub(super) master: StoredKey,
    pub(super) configuration: Configuration,
    pub(super) apps: Vec<App>,
    pub(super) random_key: Key,
    /// Random blocks drawn so far.
    pub(super) drawn: u64,
    /// Blocks to use before the stream; no part of an image.
    pub(super) dictated: VecDeque<[u8; 16]>,
}

/// What `SetConfiguration` sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configuration {
    /// `FormatPICC` is switched off.
    pub(super) unformattable: bool,
    /// Each activation shows another four-byte number instead of the UID.
    pub(super) random_uid: bool,
    /// What every key of a new application is: 24 bytes, of which its kind uses the first, and the
    /// version.
    pub(super) default_key: ([u8; 24], u8),
    /// Answer to select, from its length byte on.
    pub(super) ats: Vec<u8>,
}

impl Default for Configuration {
    fn default() -> Self {
        Self {
            unformattable: false,
            random_uid: false,
            default_key: ([0; 24], 0),
            ats: vec![0x06, 0x75, 0x77, 0x81, 0x02, 0x80],
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct App {
    pub(super) aid: [u8; 3],
    pub(super) settings: u8,
    /// The kind of all its keys.
    pub(super) kind: KeyKind,
    pub(super) iso: IsoNames,
    pub(super) keys: Vec<StoredKey>,
    pub(super) files: Vec<File>,
}

/// By what ISO 7816-4 commands find an application.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct IsoNames {
    /// Whether its files may have ISO identifiers, too.
    pub(super) files: bool,
    pub(super) id: Option<u16>,
    /// DF name, at most 16 bytes; empty without one.
    pub(super) name: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct StoredKey {
    pub(super) key: AnyKey,
    pub(super) version: u8,
}

impl StoredKey {
    /// DES keys carry their version in themselves.
    pub(super) fn new(key: AnyKey, version: u8) -> Self {
        let version = match key.kind() {
            KeyKind::Des | KeyKind::Tdes3 => key.parity_version(),
            KeyKind::Aes => version,
        };
        Self { key, version }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    pub(super) no: u8,
    pub(super) iso_id: Option<u16>,
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
        /// At this count the application serves no more transactions.
        limit: Option<u32>,
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
            master: StoredKey::new(AnyKey::zero(KeyKind::Des), 0),
            configuration: Configuration::default(),
            apps: Vec::new(),
            random_key,
            drawn: 0,
            dictated: VecDeque::new(),
        }
    }

    pub(super) fn same_contents(&self, other: &Self) -> bool {
        (self.uid, self.settings) == (other.uid, other.settings)
            && self.master == other.master
            && self.configuration == other.configuration
            && self.apps == other.apps
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

    /// The kind and number of its keys, as `KeySet2` says them.
    pub(super) fn key_bits(&self) -> u8 {
        self.kind.bits() | u8::try_from(self.keys.len()).unwrap_or(14)
    }

    pub(super) fn tmac(&self) -> Option<&File> {
        self.files.iter().find(|file| matches!(file.body, Body::Tmac { .. }))
    }

    /// Whether it has made all the transactions that its Transaction MAC file allows.
    pub(super) fn is_exhausted(&self) -> bool {
        self.tmac().is_some_and(
            |file| matches!(file.body, Body::Tmac { limit: Some(limit), ctr, .. } if ctr >= limit),
        )
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
