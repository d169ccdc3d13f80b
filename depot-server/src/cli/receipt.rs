//! `depot-server receipt`, `float`, `backup`, `restore`: for riders, auditors and bad days.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::Args;
use clearing::TapRef;
use model::{Epoch, TapSeq, ValidatorId};

use super::{ConfigPath, commands::workplace, say, warn};
use crate::{
    backup, claims,
    clock::Clock,
    config::{Config, to_hex},
    float::{float, to_csv, unclaimed_csv},
    receipts::receipt,
    server::Depot,
    store::Store,
};

#[derive(Debug, Args)]
pub(super) struct ReceiptOf {
    #[command(flatten)]
    config: ConfigPath,
    /// The tap: validator, life of its log and entry, such as v000042/1/17.
    #[arg(value_parser = parse_tap)]
    tap: TapRef,
}

#[derive(Debug, Args)]
pub(super) struct FloatReport {
    #[command(flatten)]
    config: ConfigPath,
    /// List the cards whose value is unclaimed, without names and numbers.
    #[arg(long)]
    unclaimed: bool,
    /// First make the value of cards whose time to claim is over their issuers', as
    /// `visitor.claim_days` says.
    #[arg(long)]
    end_claims: bool,
}

#[derive(Debug, Args)]
pub(super) struct Backup {
    #[command(flatten)]
    config: ConfigPath,
    /// The file to write; it must not exist.
    to: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    #[command(flatten)]
    config: ConfigPath,
    /// A file that `backup` wrote.
    from: PathBuf,
    /// Books are there already: keep them beside, and put the copy in their place.
    #[arg(long)]
    replace: bool,
}

fn parse_tap(text: &str) -> Result<TapRef, String> {
    let read = || {
        let mut parts = text.split('/');
        let validator: ValidatorId = parts.next()?.parse().ok()?;
        let epoch = Epoch(parts.next()?.parse().ok()?);
        let seq = TapSeq(parts.next()?.parse().ok()?);
        parts.next().is_none().then_some(TapRef { validator, epoch, seq })
    };
    read().ok_or_else(|| "a tap looks like v000042/1/17".to_owned())
}

pub(super) fn print(command: &ReceiptOf) -> anyhow::Result<ExitCode> {
    let depot = Depot::open(Config::load(&command.config.config)?, Clock::system())?;
    say(receipt(depot.workplace(), depot.signing(), command.tap)?.trim_end());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn held(command: &FloatReport) -> anyhow::Result<ExitCode> {
    let config = Config::load(&command.config.config)?;
    let place = workplace(&config)?;
    if command.end_claims {
        let cards = claims::end_claims(&place, config.visitor.claim_days)?;
        warn(&format!("the value of {cards} cards is their issuers' now"));
    }
    let reports = float(&place, &config.float)?;
    let csv = if command.unclaimed { unclaimed_csv(&reports) } else { to_csv(&reports) };
    say(csv.trim_end());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn back_up(command: &Backup) -> anyhow::Result<ExitCode> {
    let config = Config::load(&command.config.config)?;
    let store = Store::open_existing(&config.database)?;
    let hash = backup::backup(&store, &command.to)?;
    say(&to_hex(&hash));
    warn(
        "this is the copy's hash: `restore` must say the same. Keys are not in it: keep them apart",
    );
    Ok(ExitCode::SUCCESS)
}

pub(super) fn restore(command: &Restore) -> anyhow::Result<ExitCode> {
    let config = Config::load(&command.config.config)?;
    let restored = backup::restore(&command.from, &config.database, command.replace);
    let (hash, kept) = restored.context("nothing was changed")?;
    if let Some(kept) = kept {
        warn(&format!("the books that were there are kept as {}", kept.display()));
    }
    say(&to_hex(&hash));
    warn("run `depot-server verify --from-journal` before you start the server");
    Ok(ExitCode::SUCCESS)
}
