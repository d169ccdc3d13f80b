//! A day of a city with everything that goes wrong in one, over the production books: what was
//! injected must be found, to the unit, and nothing else.
//!
//! Validators decide by `validation`, cards prove by their Transaction MAC, logs are numbered,
//! chained and signed as on a device, and the depot is the server's own pipeline over SQLite, with
//! the hotlist's rules, the closing of days, the settlement and `verify`. What is simulated is the
//! city, the radio field, the network and the devices' memory. Beside it stands the truth about
//! every card, from which an oracle of its own foretells every work item. One seed is one day.

pub mod cards;
pub mod city;
pub mod clocks;
pub mod depot;
pub mod fleet;
pub mod judge;
pub mod log;
pub mod oracle;
pub mod run;
pub mod taps;
pub mod world;

pub use judge::Judged;
pub use run::{Report, run};

/// Which day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Its seed.
    pub seed: u64,
    /// Taps.
    pub taps: u32,
}
