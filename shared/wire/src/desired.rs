//! The content of a list of kind [`ListKind::DESIRED`](crate::ListKind::DESIRED): which validators
//! are to take taps, why not, and until when (ADR-0028).

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use model::{Timestamp, ValidatorId};
use serde::{Deserialize, Serialize};

use crate::{WireError, cbor, limits};

const WHAT: &str = "desired states";

/// What a validator is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DesiredWord {
    /// Takes taps, whatever is said to all.
    InService,
    /// Takes none.
    OutOfService,
}

/// What one validator, or every one, is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Desired {
    /// What.
    pub word: DesiredWord,
    /// Why, for riders and the depot; not empty. At most 160 bytes.
    pub reason: String,
    /// From this moment on it holds no more, by itself.
    pub until: Timestamp,
}

/// Everybody's desired states.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DesiredStates {
    /// Of every validator that has none of its own.
    pub all: Option<Desired>,
    /// Of single ones.
    pub each: BTreeMap<ValidatorId, Desired>,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct StatesV1 {
    states: Vec<DesiredV1>,
}

/// The fields, by CBOR index. Validator 0 is every one that has no entry of its own.
#[derive(Serialize, Deserialize)]
struct DesiredV1 {
    validator: u32,
    word: u8,
    reason: String,
    until: u64,
}

impl DesiredWord {
    /// Both.
    pub const ALL: [Self; 2] = [Self::InService, Self::OutOfService];

    /// The word used in commands, the journal and logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::InService => "in-service",
            Self::OutOfService => "out-of-service",
        }
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::InService => 0,
            Self::OutOfService => 1,
        }
    }

    pub(crate) fn from_code(code: u8) -> Result<Self, WireError> {
        let found = Self::ALL.into_iter().find(|word| word.code() == code);
        found.ok_or(WireError::UnknownCode { what: "desired state", code })
    }
}

impl DesiredStates {
    /// The list's content.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let entry = |validator: u32, desired: &Desired| -> Result<DesiredV1, WireError> {
            checked(&desired.reason)?;
            Ok(DesiredV1 {
                validator,
                word: desired.word.code(),
                reason: desired.reason.clone(),
                until: desired.until.0,
            })
        };
        let all = self.all.iter().map(|desired| entry(0, desired));
        let each = self.each.iter().map(|(id, desired)| entry(id.number(), desired));
        Ok(cbor::to_vec(&StatesV1 { states: all.chain(each).collect::<Result<_, _>>()? }))
    }

    /// Reads a list's content: ascending by validator, each once.
    pub fn decode(content: &[u8]) -> Result<Self, WireError> {
        cbor::bounded(WHAT, content, limits::CONTENT)?;
        let StatesV1 { states } = cbor::from_slice(WHAT, content)?;
        if !states.is_sorted_by(|a, b| a.validator < b.validator) {
            return Err(WireError::OutOfRange("order of desired states"));
        }
        let mut read = Self::default();
        for DesiredV1 { validator, word, reason, until } in states {
            checked(&reason)?;
            let word = DesiredWord::from_code(word)?;
            let desired = Desired { word, reason, until: Timestamp(until) };
            if validator == 0 {
                read.all = Some(desired);
            } else {
                let id = ValidatorId::new(validator);
                let id = id.ok_or(WireError::OutOfRange("validator number"))?;
                read.each.insert(id, desired);
            }
        }
        Ok(read)
    }
}

fn checked(reason: &str) -> Result<(), WireError> {
    if reason.is_empty() {
        return Err(WireError::Missing("reason of a desired state"));
    }
    if reason.len() > limits::WHY {
        return Err(WireError::TooLarge { what: "reason of a desired state", limit: limits::WHY });
    }
    Ok(())
}
