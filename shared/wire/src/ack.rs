//! The depot's word: what it has committed, and what it misses.

use alloc::vec::Vec;

use model::{Epoch, TapSeq, Timestamp, ValidatorId};
use serde::{Deserialize, Serialize};

use crate::{WireError, cbor, limits};

const WHAT: &str = "ack";

/// Everything up to and including `acked_through` is committed in the depot's books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// To whom.
    pub validator: ValidatorId,
    /// Which life of its log.
    pub epoch: Epoch,
    /// The contiguous committed mark; 0 before the first entry.
    pub acked_through: TapSeq,
    /// Ranges (first, last) above the mark that the depot noticed it lacks, lowest first.
    pub missing: Vec<(TapSeq, TapSeq)>,
    /// The depot's clock when it said so.
    pub depot_time: Timestamp,
}

/// The fields, by CBOR index.
#[derive(Serialize, Deserialize)]
struct AckV1 {
    validator: u32,
    epoch: u32,
    acked_through: u64,
    missing: Vec<(u64, u64)>,
    depot_time: u64,
}

impl Ack {
    /// The body's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let missing = self.missing.iter().take(limits::MISSING);
        cbor::to_vec(&AckV1 {
            validator: self.validator.number(),
            epoch: self.epoch.0,
            acked_through: self.acked_through.0,
            missing: missing.map(|(first, last)| (first.0, last.0)).collect(),
            depot_time: self.depot_time.0,
        })
    }

    /// Reads a body.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        cbor::bounded(WHAT, body, limits::SMALL)?;
        let a: AckV1 = cbor::from_slice(WHAT, body)?;
        if a.missing.len() > limits::MISSING {
            return Err(WireError::TooLarge { what: "missing", limit: limits::MISSING });
        }
        let in_order = a.missing.iter().try_fold(a.acked_through, |below, &(first, last)| {
            (below < first && first <= last).then_some(last)
        });
        if in_order.is_none() {
            return Err(WireError::OutOfRange("missing"));
        }
        Ok(Self {
            validator: ValidatorId::new(a.validator)
                .ok_or(WireError::OutOfRange("validator number"))?,
            epoch: Epoch(a.epoch),
            acked_through: TapSeq(a.acked_through),
            missing: a.missing.iter().map(|&(f, l)| (TapSeq(f), TapSeq(l))).collect(),
            depot_time: Timestamp(a.depot_time),
        })
    }
}
