//! The fleet in a box: cards, validators, network and depot in one thread on one seed.
//!
//! Everything that decides is production code: card, tap machine, tap log, uplink, intake,
//! clearing, ledger. What is simulated is the world: radio field, disks, power, network, clocks
//! and riders. A reference stands beside it: what the cards themselves committed. Checkers compare
//! after every ride (safety), and after everything is healed (liveness, conservation).
//!
//! A failing seed prints one command that runs it again.

pub mod blocking;
pub mod checkers;
pub mod city;
pub mod depot;
pub mod dice;
pub mod disk;
pub mod scenario;
pub mod validator;
pub mod world;

pub use checkers::Violation;
pub use scenario::{Faults, PlantedBug, Scenario};
pub use world::{Report, run};

/// Runs the seeds one after the other, until one finds something.
pub fn run_seeds(
    scenario: &Scenario,
    seeds: impl IntoIterator<Item = u64>,
) -> Result<Report, Box<Violation>> {
    let mut total = Report::default();
    for seed in seeds {
        total.add(&run(seed, scenario)?);
    }
    Ok(total)
}
