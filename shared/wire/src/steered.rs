//! What a validator says in its state of what the depot wants it to be: fields 18 to 20 (ADR-0028).

use alloc::string::String;

use model::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{WireError, desired::DesiredWord, limits};

/// What a validator obeys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Steered {
    /// The desired state that holds for it now.
    pub desired: Option<DesiredState>,
    /// Its software; `None` from one that takes no releases.
    pub release: Option<ReleaseState>,
    /// The version of the settings that it goes by.
    pub settings: Option<u64>,
}

/// A desired state that is obeyed. Why stands in the state's own reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DesiredState {
    /// What.
    pub word: DesiredWord,
    /// Until when.
    pub until: Timestamp,
}

/// How far a validator is with a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleaseState {
    /// The release that runs; empty while it is the program of the device's own package.
    pub running: String,
    /// The number of the plan that it goes by; 0 without one.
    pub plan: u64,
    /// How far it is with that.
    pub stage: ReleaseStage,
    /// Why, where it failed or was refused. At most 200 bytes.
    pub why: String,
}

/// How far a validator is with a plan, in the order of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ReleaseStage {
    /// No plan chooses it.
    Idle,
    /// The release is being fetched, or the roll-out is halted.
    Pending,
    /// It is here and checked; the switch waits for a quiet moment.
    Ready,
    /// It runs and has not confirmed itself.
    Trying,
    /// It runs and has confirmed itself.
    Applied,
    /// It did not confirm itself; the one before runs.
    Failed,
    /// It is not taken: forged, for another machine, older.
    Refused,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
pub(crate) struct DesiredStateV1 {
    word: u8,
    until: u64,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
pub(crate) struct ReleaseStateV1 {
    running: String,
    plan: u64,
    stage: u8,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    why: String,
}

impl ReleaseStage {
    /// All, in the order of their codes.
    pub const ALL: [Self; 7] = [
        Self::Idle,
        Self::Pending,
        Self::Ready,
        Self::Trying,
        Self::Applied,
        Self::Failed,
        Self::Refused,
    ];

    /// The word used in commands, metrics, screens and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Pending => "pending",
            Self::Ready => "ready",
            Self::Trying => "trying",
            Self::Applied => "applied",
            Self::Failed => "failed",
            Self::Refused => "refused",
        }
    }
}

impl DesiredStateV1 {
    pub(crate) const fn of(desired: DesiredState) -> Self {
        Self { word: desired.word.code(), until: desired.until.0 }
    }

    pub(crate) fn read(self) -> Result<DesiredState, WireError> {
        let word = DesiredWord::from_code(self.word)?;
        Ok(DesiredState { word, until: Timestamp(self.until) })
    }
}

impl ReleaseStateV1 {
    pub(crate) fn of(release: &ReleaseState) -> Result<Self, WireError> {
        if release.why.len() > limits::TROUBLE {
            let limit = limits::TROUBLE;
            return Err(WireError::TooLarge { what: "trouble with a release", limit });
        }
        let stage = ReleaseStage::ALL.iter().position(|stage| *stage == release.stage);
        let stage = stage.and_then(|at| u8::try_from(at).ok()).expect("every stage is in the list");
        let ReleaseState { running, plan, why, .. } = release.clone();
        Ok(Self { running, plan, stage, why })
    }

    pub(crate) fn read(self) -> Result<ReleaseState, WireError> {
        let Self { running, plan, stage: code, why } = self;
        let stage = ReleaseStage::ALL.get(usize::from(code)).copied();
        let stage = stage.ok_or(WireError::UnknownCode { what: "stage of a release", code })?;
        Ok(ReleaseState { running, plan, stage, why })
    }
}
