//! What becomes of the fare of a rider whom a gate did not let pass.

/// What it does to the fare when a gate says that the rider did not pass (ADR-0027).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotPassed {
    /// Nothing.
    #[default]
    Charge,
    /// The same card passes the same gate without a charge, within so many seconds.
    LetInAgain {
        /// Seconds, inclusive.
        within_s: u32,
    },
    /// The ride counts as if it had not been, and the depot owes what was charged for it.
    GiveBack,
}
