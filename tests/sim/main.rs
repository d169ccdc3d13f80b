//! Runs the simulator: many seeds, or one again.

use std::process::ExitCode;

use clap::Parser;
use tapline_tests::sim::{Faults, Scenario, run_seeds};

/// Simulate whole fleets: cards, validators, network and depot in one thread on one seed.
///
/// A seed is a run: the same seed and the same sizes give the same taps, faults and books.
/// The first violation ends the search and prints the command that repeats it.
#[derive(Debug, Parser)]
#[command(
    name = "sim",
    after_help = "Examples:\n  sim --seeds 1000\n  sim --seed 4711\n  sim \
    --city --seeds 3"
)]
struct Arguments {
    /// Run this seed only
    #[arg(long)]
    seed: Option<u64>,
    /// Run the seeds 0, 1, 2 … below this number
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// A day of a small city instead of a small fleet
    #[arg(long)]
    city: bool,
    /// Validators
    #[arg(long)]
    validators: Option<u32>,
    /// Cards
    #[arg(long)]
    cards: Option<u32>,
    /// Rides of each card
    #[arg(long)]
    rides: Option<u32>,
    /// Nothing goes wrong
    #[arg(long)]
    calm: bool,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]
#[expect(clippy::disallowed_methods, reason = "says how long it took")]
fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let base = if arguments.city { Scenario::CITY } else { Scenario::SMALL };
    let scenario = Scenario {
        validators: arguments.validators.unwrap_or(base.validators),
        cards: arguments.cards.unwrap_or(base.cards),
        rides: arguments.rides.unwrap_or(base.rides),
        faults: if arguments.calm { Faults::NONE } else { base.faults },
        ..base
    };
    if scenario.validators < 4 {
        eprintln!("sim: at least 4 validators: a bus, a gate in, a bus, a gate out");
        return ExitCode::from(2);
    }
    let seeds = arguments.seed.map_or(0..arguments.seeds, |seed| seed..seed + 1);
    let (count, started) = (seeds.end - seeds.start, std::time::Instant::now());
    match run_seeds(&scenario, seeds) {
        Ok(report) => {
            println!("{count} seeds clean in {:.1?}: {report:?}", started.elapsed());
            ExitCode::SUCCESS
        }
        Err(violation) => {
            eprintln!("{violation}");
            ExitCode::FAILURE
        }
    }
}
