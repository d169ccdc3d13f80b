//! Why the open log refuses.

use model::{Epoch, TapSeq};
use wire::WireError;

use crate::RowError;

/// Why the log refuses. Nothing has changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// One tap at a time: the outcome of an earlier intent is still missing.
    #[error("tap {0} has no outcome yet")]
    IntentOpen(TapSeq),
    /// The outcome of a tap that has no intent, or already has its outcome.
    #[error("tap {0} has no open intent")]
    NoIntent(TapSeq),
    /// A card may only be told to commit after an intent; such events need one.
    #[error("this event needs an intent before it")]
    NeedsIntent,
    /// The outcome does not belong to what the intent said would be written.
    #[error("outcome of tap {0} is about another card transaction than its intent")]
    OtherTransaction(TapSeq),
    /// Decides a tap that is not in doubt in this life of the log.
    #[error("tap {0} is not in doubt")]
    NotInDoubt(TapSeq),
    /// Every leased number is used: write the guard first ([`crate::TapLog::lease_due`]).
    #[error("no leased number is left: the sequence guard must be written first")]
    LeaseExhausted,
    /// The depot acknowledged more than this log holds: the log was rolled back. Begin a new life.
    #[error("depot has committed through {acked}, the log ends at {head}: it was rolled back")]
    AckAheadOfHead {
        /// What the depot says.
        acked: TapSeq,
        /// The end of the log.
        head: TapSeq,
    },
    /// Not a life of this log, or none that is still kept.
    #[error("epoch {0} is not in this log")]
    UnknownEpoch(Epoch),
    /// The rows handed in are not the contiguous run that was asked for.
    #[error("rows do not begin at the expected entry")]
    RowsOutOfPlace,
    /// A row does not read.
    #[error("entry {seq} cannot be read back")]
    Row {
        /// Which.
        seq: TapSeq,
        /// Why.
        source: RowError,
    },
    /// The record has no bytes.
    #[error("tap record cannot be encoded")]
    Encode(#[from] WireError),
}
