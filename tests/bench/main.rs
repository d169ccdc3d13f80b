//! `cargo bench -p tapline-tests`: how much one machine reconciles, and what a tap costs.
//!
//! Every figure stands beside the machine's own limit, measured in the same run. What is asserted
//! is only that the work was really done: a benchmark that books nothing would be fast.
//! `docs/BENCHMARKS.md` says what the figures mean and how far they are from the targets.
//!
//! As part of `cargo test` it makes one short pass, to prove that it runs.

mod bytes;
mod cores;
mod debit;
mod depot;
mod device;
mod fares;
mod ledger;
mod lists;
mod machine;
mod measure;
mod peer;
mod program;
mod tap_time;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Measure Tapline on this machine.
#[derive(Debug, Parser)]
#[command(
    name = "cargo bench -p tapline-tests --",
    after_help = "Examples:\n  cargo bench -p tapline-tests\n  \
    cargo bench -p tapline-tests -- depot --cards 1000000\n  \
    cargo bench -p tapline-tests --features libnfc -- tap-time"
)]
struct Arguments {
    /// What to measure; everything when none is named
    sections: Vec<Section>,
    /// A short pass: figures without worth, to see that it runs
    #[arg(long)]
    quick: bool,
    /// Cards that the depot knows
    #[arg(long, default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..))]
    cards: u32,
    /// Where databases are written; a disk, not memory
    #[arg(long, value_name = "FOLDER", default_value = env!("CARGO_TARGET_TMPDIR"))]
    scratch: PathBuf,
    /// Passed by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// MQTT bytes to durable commit
    Depot,
    /// The validator's own share of a tap
    Validator,
    /// The validator's program: start, memory, idle
    Program,
    /// A tap's timeline against modelled line and air, and our driver against libnfc
    TapTime,
    /// Compiling feeds, and one price by table and by interpreter
    Fares,
    /// The ledger alone, in memory and durable (LED-8)
    Ledger,
    /// The hotlist: bytes, look-up, delta (REC-7)
    Lists,
    /// Pricing, clearing, ledger, bytes, card, simulator
    Cores,
}

fn main() -> anyhow::Result<()> {
    let asked_to_measure = std::env::args().any(|argument| argument == "--bench");
    let arguments = if asked_to_measure {
        Arguments::parse()
    } else if std::env::args().len() > 1 {
        // `cargo test` hands every program the name of the one test that is wanted: none of ours.
        return Ok(());
    } else {
        Arguments::parse_from(["bench", "--quick", "--cards", "500"])
    };
    std::fs::create_dir_all(&arguments.scratch)?;
    let wanted = |section| arguments.sections.is_empty() || arguments.sections.contains(&section);
    let quick = arguments.quick;
    if quick {
        measure::say("a short pass: these figures have no worth");
    }
    machine::describe(&arguments.scratch, quick)?;
    if wanted(Section::Depot) {
        depot::run(&arguments.scratch, arguments.cards, quick)?;
    }
    if wanted(Section::Validator) {
        device::run(&arguments.scratch, quick)?;
    }
    if wanted(Section::Program) {
        program::run(&arguments.scratch, quick)?;
    }
    if wanted(Section::TapTime) {
        tap_time::run(quick)?;
    }
    if wanted(Section::Fares) {
        fares::run(quick)?;
    }
    if wanted(Section::Ledger) {
        ledger::run(&arguments.scratch, quick)?;
    }
    if wanted(Section::Lists) {
        lists::run(quick);
    }
    if wanted(Section::Cores) {
        cores::run(quick);
        bytes::run();
        debit::run(quick)?;
        cores::simulator(quick);
    }
    Ok(())
}
