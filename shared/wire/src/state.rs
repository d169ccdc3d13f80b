//! Birth, will and state of a validator, and the depot's own presence.

use alloc::{string::String, vec::Vec};

use model::{ClockQuality, Epoch, TapSeq, TariffVersion, Timestamp, ValidatorId};
use serde::{Deserialize, Serialize};

use crate::{
    ListKind, MessageVersion, Versions, WireError, cbor,
    entry::{clock, clock_code},
    limits,
    steered::{DesiredStateV1, ReleaseStateV1, Steered},
};

/// What a validator says of itself, in the order of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum StateWord {
    /// Connected, still recovering its store or waiting for its reader.
    Starting,
    /// Takes taps.
    Ready,
    /// Connected, but takes no taps (OPS-6).
    OutOfService,
    /// Stopped in order; its log is safe, and may not be drained.
    Asleep,
    /// The broker's last word for it: the connection broke.
    Lost,
}

/// The retained state message; with [`StateWord::Lost`] it is the will.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValidatorState {
    /// Who.
    pub validator: ValidatorId,
    /// What it says.
    pub word: StateWord,
    /// Counts its connections within the epoch; a will carries the one it belongs to.
    pub connection: u64,
    /// The life of its log.
    pub epoch: Epoch,
    /// Its software version, at most 64 bytes.
    pub software: String,
    /// The tariff it prices with, when it has one.
    pub tariff: Option<TariffVersion>,
    /// The newest entry of its log.
    pub head: TapSeq,
    /// The mark that the depot acknowledged, as far as it knows.
    pub acked: TapSeq,
    /// Taps whose commit is still unknown.
    pub in_doubt: u32,
    /// How far its clock can be believed.
    pub clock: ClockQuality,
    /// Its clock when it said so; in a will: when it connected.
    pub at: Timestamp,
    /// Entries of earlier lives of its log that the depot has not acknowledged.
    pub undrained_before: u64,
    /// What it knows of the depot's lists; `None` before its first manifest, and from validators
    /// that are older than lists.
    pub lists: Option<ListsState>,
    /// Why it takes no taps, in words; empty when it does, and from older validators. At most 200
    /// bytes.
    pub reason: String,
    /// How the device is; `None` before it was looked at, and from older validators.
    pub health: Option<Health>,
    /// What it makes of what the depot wants it to be.
    pub steered: Steered,
    /// Which versions of messages it speaks; `None` from validators that know only the first.
    pub speech: Option<Speech>,
}

/// Which versions of messages a validator speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Speech {
    /// Those that it reads.
    pub reads: Versions,
    /// The one that its batches are in; `None` while it sends none, because it has to seal them and
    /// has not heard a depot that opens them.
    pub writes: Option<MessageVersion>,
}

/// How a validator's device is, by its own word.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// When the program started.
    pub started: Timestamp,
    /// What is wrong although taps are taken, in words; empty when nothing is. At most 200 bytes.
    pub fault: String,
    /// When it last made a tap of its own, through the rules, the keys and the disk.
    pub self_tested: Option<Timestamp>,
    /// How long that took, milliseconds.
    pub self_test_ms: u32,
    /// When its reader last read a card.
    pub last_read: Option<Timestamp>,
    /// Free on the device of the tap log, MiB.
    pub free_mib: Option<u32>,
    /// The tap log, MiB.
    pub store_mib: Option<u32>,
    /// Stores that were damaged and put aside.
    pub set_aside: u32,
    /// Of the processor, degrees Celsius.
    pub temperature: Option<i16>,
    /// Whether its supply is too weak, where the device can tell.
    pub undervoltage: Option<bool>,
    /// How much of its storage's life is used, percent, where the device can tell.
    pub wear: Option<u8>,
    /// When the machine was asked for all of this but self-test and reader; older programs do not
    /// say it.
    pub looked: Option<Timestamp>,
}

/// Which lists a validator goes by.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListsState {
    /// The version of its manifest; 0 before the first.
    pub manifest: u64,
    /// When that manifest was signed.
    pub issued: Timestamp,
    /// The lists that are complete and in use or waiting for their day, ascending.
    pub held: Vec<HeldList>,
    /// What is wrong with a list or a manifest, in words; empty when nothing is.
    pub trouble: String,
    /// The number of the newest list key that it was given, 0 before the first; `None` from a
    /// validator that cannot read sealed lists (ADR-0032).
    pub key: Option<u64>,
}

/// A list that a validator holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldList {
    /// What it is for.
    pub kind: ListKind,
    /// Which.
    pub version: u64,
}

/// The depot's retained presence; with `online` false it is the will.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostState {
    /// Whether batches are being taken.
    pub online: bool,
    /// Counts the depot's connections; a will carries the one it belongs to.
    pub connection: u64,
    /// The depot's clock when it said so.
    pub at: Timestamp,
    /// The versions of messages that it reads.
    pub versions: Versions,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct StateV1 {
    validator: u32,
    word: u8,
    connection: u64,
    epoch: u32,
    software: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tariff: Option<u16>,
    head: u64,
    acked: u64,
    in_doubt: u32,
    clock: u8,
    at: u64,
    #[serde(default)]
    undrained_before: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    manifest: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued: Option<u64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    held: Vec<(u8, u64)>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    trouble: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    reason: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    health: Option<HealthV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    desired: Option<DesiredStateV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    release: Option<ReleaseStateV1>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    settings: Option<u64>,
    /// 21.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reads: Vec<u8>,
    /// 22: 0 = none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    writes: Option<u8>,
    /// 23.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    list_key: Option<u64>,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct HealthV1 {
    started: u64,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    fault: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    self_tested: Option<u64>,
    #[serde(default)]
    self_test_ms: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_read: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    free_mib: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    store_mib: Option<u32>,
    #[serde(default)]
    set_aside: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    temperature: Option<i16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    undervoltage: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wear: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    looked: Option<u64>,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct HostV1 {
    online: bool,
    connection: u64,
    at: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    versions: Vec<u8>,
}

impl StateWord {
    /// The word used in metrics, the API and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::OutOfService => "out-of-service",
            Self::Asleep => "asleep",
            Self::Lost => "lost",
        }
    }
}

impl ValidatorState {
    /// The body's bytes.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        if self.software.len() > limits::SOFTWARE {
            let limit = limits::SOFTWARE;
            return Err(WireError::TooLarge { what: "software version", limit });
        }
        let lists = self.lists.clone().unwrap_or_default();
        if lists.trouble.len() > limits::TROUBLE {
            let limit = limits::TROUBLE;
            return Err(WireError::TooLarge { what: "trouble with lists", limit });
        }
        let fault = self.health.as_ref().map_or("", |health| &health.fault);
        if self.reason.len().max(fault.len()) > limits::TROUBLE {
            return Err(WireError::TooLarge { what: "reason", limit: limits::TROUBLE });
        }
        if lists.held.len() > limits::LISTS {
            return Err(WireError::TooLarge { what: "number of lists", limit: limits::LISTS });
        }
        Ok(cbor::to_vec(&StateV1 {
            validator: self.validator.number(),
            word: match self.word {
                StateWord::Starting => 0,
                StateWord::Ready => 1,
                StateWord::OutOfService => 2,
                StateWord::Asleep => 3,
                StateWord::Lost => 4,
            },
            connection: self.connection,
            epoch: self.epoch.0,
            software: self.software.clone(),
            tariff: self.tariff.map(|t| t.0),
            head: self.head.0,
            acked: self.acked.0,
            in_doubt: self.in_doubt,
            clock: clock_code(self.clock),
            at: self.at.0,
            undrained_before: self.undrained_before,
            manifest: self.lists.as_ref().map(|lists| lists.manifest),
            issued: self.lists.as_ref().map(|lists| lists.issued.0),
            held: lists.held.iter().map(|held| (held.kind.0, held.version)).collect(),
            trouble: lists.trouble,
            reason: self.reason.clone(),
            health: self.health.as_ref().map(HealthV1::of),
            desired: self.steered.desired.map(DesiredStateV1::of),
            release: self.steered.release.as_ref().map(ReleaseStateV1::of).transpose()?,
            settings: self.steered.settings,
            reads: self.speech.map_or_else(Vec::new, |speech| speech.reads.numbers()),
            writes: self.speech.map(|speech| speech.writes.map_or(0, MessageVersion::number)),
            list_key: lists.key,
        }))
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        cbor::bounded("state", body, limits::SMALL)?;
        let s: StateV1 = cbor::from_slice("state", body)?;
        if s.software.len() > limits::SOFTWARE {
            let limit = limits::SOFTWARE;
            return Err(WireError::TooLarge { what: "software version", limit });
        }
        Ok(Self {
            validator: ValidatorId::new(s.validator)
                .ok_or(WireError::OutOfRange("validator number"))?,
            word: match s.word {
                0 => StateWord::Starting,
                1 => StateWord::Ready,
                2 => StateWord::OutOfService,
                3 => StateWord::Asleep,
                4 => StateWord::Lost,
                code => return Err(WireError::UnknownCode { what: "state", code }),
            },
            connection: s.connection,
            epoch: Epoch(s.epoch),
            software: s.software,
            tariff: s.tariff.map(TariffVersion),
            head: TapSeq(s.head),
            acked: TapSeq(s.acked),
            in_doubt: s.in_doubt,
            clock: clock(s.clock)?,
            at: Timestamp(s.at),
            undrained_before: s.undrained_before,
            lists: s.manifest.map(|manifest| ListsState {
                manifest,
                issued: Timestamp(s.issued.unwrap_or(0)),
                held: s
                    .held
                    .into_iter()
                    .map(|(kind, version)| HeldList { kind: ListKind(kind), version })
                    .collect(),
                trouble: s.trouble,
                key: s.list_key,
            }),
            reason: s.reason,
            health: s.health.map(HealthV1::read),
            steered: Steered {
                desired: s.desired.map(DesiredStateV1::read).transpose()?,
                release: s.release.map(ReleaseStateV1::read).transpose()?,
                settings: s.settings,
            },
            speech: s.writes.map(|writes| Speech {
                reads: Versions::read(&s.reads),
                writes: MessageVersion::from_number(writes),
            }),
        })
    }
}

impl HealthV1 {
    fn of(health: &Health) -> Self {
        let Health { self_test_ms, free_mib, store_mib, set_aside, .. } = *health;
        let Health { temperature, undervoltage, wear, .. } = *health;
        Self {
            started: health.started.0,
            fault: health.fault.clone(),
            self_tested: health.self_tested.map(|at| at.0),
            self_test_ms,
            last_read: health.last_read.map(|at| at.0),
            free_mib,
            store_mib,
            set_aside,
            temperature,
            undervoltage,
            wear,
            looked: health.looked.map(|at| at.0),
        }
    }

    fn read(self) -> Health {
        let Self { self_test_ms, free_mib, store_mib, set_aside, .. } = self;
        let Self { temperature, undervoltage, wear, .. } = self;
        Health {
            started: Timestamp(self.started),
            fault: self.fault,
            self_tested: self.self_tested.map(Timestamp),
            self_test_ms,
            last_read: self.last_read.map(Timestamp),
            free_mib,
            store_mib,
            set_aside,
            temperature,
            undervoltage,
            wear,
            looked: self.looked.map(Timestamp),
        }
    }
}

impl HostState {
    /// The body's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Self { online, connection, at, versions } = *self;
        // As it was written before there were others.
        let versions = if versions.is_first() { Vec::new() } else { versions.numbers() };
        cbor::to_vec(&HostV1 { online, connection, at: at.0, versions })
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        cbor::bounded("host", body, limits::SMALL)?;
        let HostV1 { online, connection, at, versions } = cbor::from_slice("host", body)?;
        let versions = Versions::read(&versions);
        Ok(Self { online, connection, at: Timestamp(at), versions })
    }
}
