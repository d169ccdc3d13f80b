//! What can go wrong between reader and card, named by what is then known.

use alloc::string::String;

use model::{CounterError, RecordError, Refusal};

use crate::apdu::StatusWord;
use crate::keys::KeyVersion;

/// Why an exchange brought no answer, as the reader reports it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExchangeError {
    /// The card is no longer in the field.
    #[error("the card left the field")]
    Absent,
    /// Noise on air: parity, CRC, framing.
    #[error("the radio link failed")]
    Rf,
    /// No answer in time.
    #[error("the card did not answer in time")]
    Timeout,
    /// The answer came later than an honest card's, and was not looked at.
    #[error("the card answered too late")]
    Late,
    /// The reader itself failed.
    #[error("the reader failed: {0}")]
    Device(String),
}

/// The exchange during which something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CardStep {
    /// Selecting the application.
    Select,
    /// Proving the keys to each other.
    Authenticate,
    /// Reading the newest record.
    Read,
    /// Reading which currency the card's purse is in.
    ReadPurse,
    /// Reading the products that the card carries.
    ReadProducts,
    /// Reading what the card has counted.
    ReadCounters,
    /// Reading back the proof of the last transaction.
    ReadProof,
    /// Taking or adding value, not yet committed.
    Value,
    /// Taking or adding rides of a product, not yet committed.
    Rides,
    /// Writing what products the card carries, not yet committed.
    Products,
    /// Writing what is counted, not yet committed.
    Counters,
    /// Appending the record, not yet committed.
    Write,
    /// Committing.
    Commit,
    /// Personalising: creating the application and its files, setting keys.
    Personalise,
}

/// Why a card transaction ended with nothing changed on the card.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CardFailure {
    /// No answer; nothing had been committed.
    #[error("no answer at {step:?}: {error}")]
    Link {
        /// When.
        step: CardStep,
        /// Why.
        error: ExchangeError,
    },
    /// The card does not carry this fare application.
    #[error("the card has no fare application: {0}")]
    NoApplication(StatusWord),
    /// The card does not know the key that a card with this number has.
    #[error("the card could not prove its key")]
    NotAuthentic,
    /// The card says that its key has a version that is not held here.
    #[error("the card's key has version {0}, which is not held here")]
    KeyVersionNotHeld(KeyVersion),
    /// An answer within the session was not made by the card that was authenticated.
    #[error("the answer at {0:?} is not authentic")]
    AnswerNotAuthentic(CardStep),
    /// An answer that no DESFire card gives: too short, too long or out of turn.
    #[error("the answer at {0:?} is malformed")]
    Malformed(CardStep),
    /// The card refused the command.
    #[error("the card refused at {step:?}: {status}")]
    Refused {
        /// When.
        step: CardStep,
        /// What it said.
        status: StatusWord,
    },
    /// The stored value does not cover the debit.
    #[error("the stored value does not cover the debit")]
    ValueLimit,
    /// The stored value would rise above what the value file may hold.
    #[error("the stored value would rise above the card's limit")]
    ValueCeiling,
    /// The application is there, but it was never issued: its log is empty.
    #[error("the card's log is empty")]
    NoRecord,
    /// The newest record cannot be read.
    #[error("the card's newest record is invalid")]
    Record(#[source] RecordError),
    /// The purse is in another currency than the tariff's, and the profile names none.
    #[error("the card's profile names no currency of its purse: {}", .0.escape_ascii())]
    Purse([u8; 3]),
    /// The counters file cannot be read.
    #[error("the card's counters are invalid")]
    Counters(#[source] CounterError),
    /// To be issued, but its log holds records: it is a card in use.
    #[error("the card is issued already")]
    AlreadyIssued,
    /// An application stands under our number that we did not make. It is left alone.
    #[error("the card carries an application under our number that is not ours: {0}")]
    ForeignApplication(&'static str),
    /// The card level asks for its master key before it creates applications.
    #[error("the card level is locked: applications can be created with its master key only")]
    CardLevelLocked,
    /// No room for the application.
    #[error("the card has no room for the application")]
    CardFull,
}

impl CardFailure {
    /// What the rider is told.
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::Link { error: ExchangeError::Late, .. } => Refusal::TooSlow,
            Self::Link { .. } | Self::Malformed(_) | Self::AnswerNotAuthentic(_) => {
                Refusal::Unreadable
            }
            Self::NoApplication(_)
            | Self::NotAuthentic
            | Self::KeyVersionNotHeld(_)
            | Self::ForeignApplication(_)
            | Self::CardLevelLocked
            | Self::CardFull
            | Self::Refused { step: CardStep::Authenticate, .. } => Refusal::ForeignCard,
            Self::ValueLimit => Refusal::InsufficientValue,
            Self::Refused { .. }
            | Self::ValueCeiling
            | Self::NoRecord
            | Self::AlreadyIssued
            | Self::Record(_)
            | Self::Purse(_)
            | Self::Counters(_) => Refusal::CardDataInvalid,
        }
    }

    /// The word used in logs and metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Link { error: ExchangeError::Absent, .. } => "card-absent",
            Self::Link { error: ExchangeError::Rf, .. } => "radio-failed",
            Self::Link { error: ExchangeError::Timeout, .. } => "card-timeout",
            Self::Link { error: ExchangeError::Late, .. } => "card-late",
            Self::Link { error: ExchangeError::Device(_), .. } => "reader-failed",
            Self::NoApplication(_) => "no-application",
            Self::NotAuthentic => "not-authentic",
            Self::KeyVersionNotHeld(_) => "key-version-not-held",
            Self::AnswerNotAuthentic(_) => "answer-not-authentic",
            Self::Malformed(_) => "malformed",
            Self::Refused { .. } => "card-refused",
            Self::ValueLimit => "value-limit",
            Self::ValueCeiling => "value-ceiling",
            Self::NoRecord => "no-record",
            Self::Record(_) => "record-invalid",
            Self::Purse(_) => "purse-invalid",
            Self::Counters(_) => "counters-invalid",
            Self::AlreadyIssued => "already-issued",
            Self::ForeignApplication(_) => "foreign-application",
            Self::CardLevelLocked => "card-level-locked",
            Self::CardFull => "card-full",
        }
    }
}
