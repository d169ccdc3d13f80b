//! `verify-receipt`: checks a rider's receipt with the depot's public key and a day's root. It
//! needs no books, no configuration and no network.

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser;
use depot_server::{config::parse_hex, receipts::prove};
use model::CardId;

/// Check a rider's receipt.
#[derive(Debug, Parser)]
#[command(
    name = "verify-receipt",
    version,
    after_help = "Exit codes: 0 the receipt holds · 1 it does not, or a file cannot be read"
)]
struct Arguments {
    /// The receipt, as `depot-server receipt` printed it.
    receipt: PathBuf,
    /// The day's document, as `depot-server close` prints it.
    #[arg(long)]
    day: PathBuf,
    /// The depot's public key, 64 hexadecimal digits.
    #[arg(long)]
    key: String,
    /// The card's number, 14 hexadecimal digits: whether the tap was made with it.
    #[arg(long)]
    card: Option<String>,
}

fn main() -> ExitCode {
    let (text, code) = match check(&Arguments::parse()) {
        Ok(text) => (text, ExitCode::SUCCESS),
        Err(error) => (format!("not proven: {error:#}"), ExitCode::FAILURE),
    };
    // A reader that has gone away is not our failure.
    let _ = writeln!(io::stdout(), "{text}");
    code
}

fn check(arguments: &Arguments) -> anyhow::Result<String> {
    let read = |path: &PathBuf| {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let key = parse_hex(&arguments.key).context("--key: 64 hexadecimal digits")?;
    let receipt = prove(&read(&arguments.receipt)?, &read(&arguments.day)?, &key)?;
    if let Some(digits) = &arguments.card {
        let card = parse_hex(digits).map(CardId).context("--card: 14 hexadecimal digits")?;
        anyhow::ensure!(receipt.is_of(card), "the tap was made with another card");
    }
    let value = |key| receipt.value(key).unwrap_or("-");
    let (index, count) = receipt.place;
    Ok(format!(
        "proven: tap {}, {} paid, is tap {} of {count} of {}",
        value("tap"),
        value("paid"),
        index + 1,
        value("day"),
    ))
}
