//! What gates do where the usual does not happen: no fare is known, or nobody passed.

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

/// What an exit does when the table holds no fare for its pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownFare {
    /// Refuse the tap: staff help.
    Refuse,
    /// Charge the maximum fare from the entry.
    MaximumFare,
}
