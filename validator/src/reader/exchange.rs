//! Why an exchange brought no answer. Moves to `shared/card`.

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
    /// The reader itself failed.
    #[error("the reader failed: {0}")]
    Device(String),
}
