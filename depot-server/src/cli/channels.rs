//! `depot-server channel …`: what channels hand in, against the orders that they took.

use std::{io::Read, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, Subcommand};
use model::{ChannelId, Money, Timestamp};

use super::{ConfigPath, commands::workplace, say, warn};
use crate::{
    channels::{self, Matched},
    config::Config,
    export::quoted,
};

const AFTER_MATCH: &str = "\
A statement is CSV with a line of column names: reference, amount, and where there are such card, \
paid_at and currency. `[[channel]] statement` in the configuration says what this channel calls \
them. The same file again, or a line that an earlier file had, changes nothing.

Examples:
  depot-server channel match --channel 7 2026-11-25.csv
  depot-server channel match --channel 7 - < 2026-11-25.csv

Exit codes: 0 everything agrees · 1 the file does not read, or something in it needs a person";

#[derive(Debug, Subcommand)]
pub(super) enum Channels {
    /// Take a channel's statement and match it against the orders, both ways.
    #[command(after_help = AFTER_MATCH)]
    Match(Match),
    /// List channels: orders, handed in, matched, still to hand in; of one, every payment that
    /// needs a person.
    #[command(after_help = "Examples:\n  depot-server channel list\n  \
                            depot-server channel list --channel 7 > open.csv")]
    List {
        #[command(flatten)]
        config: ConfigPath,
        /// Of this channel, every payment that needs a person, as CSV.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        channel: Option<u16>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Match {
    #[command(flatten)]
    config: ConfigPath,
    /// Whose statement it is.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    channel: u16,
    /// The file; `-` is standard input.
    file: PathBuf,
}

pub(super) fn run(command: Channels) -> anyhow::Result<ExitCode> {
    match command {
        Channels::Match(command) => take(&command),
        Channels::List { config, channel: None } => list(&Config::load(&config.config)?),
        Channels::List { config, channel: Some(channel) } => {
            open(&Config::load(&config.config)?, ChannelId(channel))
        }
    }
}

/// A file's bytes, or those of standard input.
pub(super) fn bytes_of(file: &PathBuf) -> anyhow::Result<Vec<u8>> {
    if file.as_os_str() == "-" {
        let mut bytes = Vec::new();
        std::io::stdin().read_to_end(&mut bytes).context("cannot read standard input")?;
        return Ok(bytes);
    }
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

fn take(command: &Match) -> anyhow::Result<ExitCode> {
    let config = Config::load(&command.config.config)?;
    let bytes = bytes_of(&command.file)?;
    let place = workplace(&config)?;
    let channel = config.channel(command.channel);
    let matched = channels::hand_in(&place, &channel, &bytes)
        .with_context(|| format!("{} of channel {}", command.file.display(), channel.number))?;
    channels::note_overdue(&place, std::slice::from_ref(&channel))?;
    let Matched { statement, again, lines } = &matched;
    if *again {
        warn(&format!(
            "this file is statement {}, handed in before: nothing changes",
            statement.id
        ));
    }
    let open = matched.open().count();
    say(&format!(
        "statement {} of channel {}: {} lines, {} of them stated before, {open} to look at",
        statement.id,
        channel.number,
        lines.len(),
        statement.known
    ));
    for line in matched.open() {
        let (row, reference) = (line.line.row, &line.line.reference);
        let (word, finding) = (line.verdict.word(), line.verdict.finding());
        say(&format!("line {row}, {reference}: {word}: {finding}"));
    }
    let missing = channels::open_payments(&place, ChannelId(channel.number))?;
    let missing = missing
        .iter()
        .filter(|payment| lines.iter().all(|line| line.line.reference != payment.reference));
    let others = missing.count();
    if others > 0 {
        let number = channel.number;
        say(&format!("{others} other payments need a person: channel list --channel {number}"));
    }
    Ok(if open + others == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn list(config: &Config) -> anyhow::Result<ExitCode> {
    let place = workplace(config)?;
    say("channel,name,orders,currency,handed in,matched,to hand in,unmatched,awaited,oldest");
    for state in channels::states(&place)? {
        let name = config.channel(state.channel.0).name;
        let oldest = state.oldest.map(time).transpose()?.unwrap_or_default();
        say(&format!(
            "{},{},{},{},{},{},{},{},{},{oldest}",
            state.channel,
            quoted(&name),
            state.orders,
            state.handed_in.currency().letters(),
            state.handed_in.decimal(),
            state.matched.decimal(),
            state.to_hand_in.decimal(),
            state.unmatched.decimal(),
            state.awaited,
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn open(config: &Config, channel: ChannelId) -> anyhow::Result<ExitCode> {
    let place = workplace(config)?;
    say("reference,verdict,currency,amount,paid at,finding");
    for payment in channels::open_payments(&place, channel)? {
        let amount = payment.verdict.item().map(|(_, amount)| amount);
        let (letters, decimal) = amount.map_or_else(Default::default, |amount: Money| {
            (amount.currency().letters(), amount.decimal())
        });
        let paid_at = payment.paid_at.map(time).transpose()?.unwrap_or_default();
        say(&format!(
            "{},{},{letters},{decimal},{paid_at},{}",
            quoted(&payment.reference),
            payment.verdict.word(),
            quoted(&payment.verdict.finding()),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// A time as commands print it.
pub(super) fn time(at: Timestamp) -> anyhow::Result<String> {
    let at = jiff::Timestamp::from_millisecond(i64::try_from(at.0).unwrap_or(i64::MAX))?;
    Ok(format!("{at:.0}"))
}
