//! Why bytes are no message, or a value has no bytes.

use alloc::string::String;

/// What a peer or an old file sent is parsed, never asserted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Written by a newer version: keep the bytes, decode them after an update.
    #[error("format version {0} is not known here: keep the message and update this software")]
    UnknownVersion(u8),
    /// A message of version 3 where a readable one is needed.
    #[error("the message is sealed: only its receiver's key opens it")]
    Sealed,
    /// Bigger than the format allows.
    #[error("{what} is larger than {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The limit, in bytes or in elements.
        limit: usize,
    },
    /// Not the CBOR that the format describes.
    #[error("{what} is malformed: {detail}")]
    Malformed {
        /// Which message.
        what: &'static str,
        /// What the decoder saw, and where.
        detail: String,
    },
    /// A code from a table that this version does not know.
    #[error("{what} {code} is not known here")]
    UnknownCode {
        /// Which table.
        what: &'static str,
        /// The code.
        code: u8,
    },
    /// A field that this kind of message needs is absent.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A value is outside the range of its field.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
    /// The card record inside does not read or does not fit.
    #[error("card record does not convert")]
    Record(#[from] model::RecordError),
    /// The counters inside do not read.
    #[error("card counters do not convert")]
    Counters(#[from] model::CounterError),
}
