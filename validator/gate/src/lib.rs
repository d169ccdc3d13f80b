//! Gates: let one rider through, and tell what became of it.
//!
//! A gate comes and goes like a reader; while it is away, that is told once, and it is opened
//! anew. Which tap a passage belongs to is said by its token; what it means for a fare is not
//! known here (ADR-0027). The gate's own fire input opens it in hardware: what is told of an
//! emergency is only told.

mod config;
mod driver;
mod frames;
mod passages;
mod run;
#[cfg(test)]
mod tests;
#[cfg(any(test, feature = "simulator"))]
mod turnstile;

use std::time::Duration;

pub use config::{GateConfig, GateConfigError, GateKind, PinNumbers, Registers};
pub use run::{Gate, Told};
#[cfg(any(test, feature = "simulator"))]
pub use turnstile::{Trouble, Turnstile};

/// Which way through: each gate has two, and which is which is a matter of how it was mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The first of the gate's own directions.
    A,
    /// The other one.
    B,
}

/// The tap that a passage belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Token(pub u64);

/// One rider may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authorize {
    /// By which tap.
    pub token: Token,
    /// For how long.
    pub timeout: Duration,
}

/// What the gate tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GateEvent {
    /// The rider of this tap has passed.
    Passed(Token),
    /// The rider of this tap has not passed, and the gate is shut.
    TimedOut(Token),
    /// Whether the rider of this tap has passed nobody knows.
    Unseen(Token),
    /// Somebody passed right behind a rider.
    Tailgate,
    /// Somebody passed without a right.
    Forced,
    /// Something stands in the gate.
    Blocked,
    /// The gate says that it is out of order, with a code of its own.
    Fault(u16),
    /// The gate stands open because of an emergency, or does not any more.
    Emergency(bool),
}

impl GateEvent {
    /// The tap that it is about.
    pub const fn token(&self) -> Option<Token> {
        match self {
            Self::Passed(token) | Self::TimedOut(token) | Self::Unseen(token) => Some(*token),
            Self::Tailgate | Self::Forced | Self::Blocked | Self::Fault(_) | Self::Emergency(_) => {
                None
            }
        }
    }
}

/// What a gate says by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    Completed(Way),
    Tailgate,
    Forced,
    Blocked,
    Fault(u16),
    Emergency(bool),
}

/// Why a gate does not serve.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The line.
    #[error(transparent)]
    Line(#[from] line::LineError),
    /// The line is there, and nobody answers.
    #[error("the gate on {place} does not answer: is it powered, and is this the right line?")]
    Silent {
        /// Where.
        place: String,
    },
    /// It answers that it does not do what it was told.
    #[error("the gate on {place} refuses to {what}")]
    Refused {
        /// Where.
        place: String,
        /// What it was told.
        what: String,
    },
    /// Pins of this machine.
    #[error("cannot use the pins of {chip}: is the chip there, and are the lines free?")]
    Pins {
        /// Which chip.
        chip: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}
