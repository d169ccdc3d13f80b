//! `tests/run day`: a day of a million taps, everything that goes wrong in one, and the books.

use std::process::ExitCode;

use clap::Parser;
use tapline_tests::day::{Plan, run};

/// Live a day of a city with clones, lost validators, torn cards and wrong clocks, and compare what
/// the books found with what was injected.
#[derive(Debug, Parser)]
#[command(name = "day", after_help = "Examples:\n  day\n  day 20000 --seed 4711")]
struct Arguments {
    /// Taps
    #[arg(default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1000..))]
    taps: u32,
    /// Which day: the same seed is the same day
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

#[expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool")]
fn main() -> ExitCode {
    let Arguments { taps, seed } = Arguments::parse();
    let lived = tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/../target"))
        .map_err(anyhow::Error::from)
        .and_then(|folder| run(Plan { seed, taps }, folder.path()));
    match lived {
        Ok(report) => {
            println!("seed {seed}: {report}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("seed {seed}: {error:#}");
            ExitCode::FAILURE
        }
    }
}
