//! `depot-server export`: the ledger and closed days, for other programs.

use std::{io::Write as _, process::ExitCode};

use clap::{Args, Subcommand};
use model::ServiceDate;

use super::{ConfigPath, commands::workplace, days::parse_day, say, warn};
use crate::{
    config::Config,
    export::{journal, taps_csv, transfers_csv},
};

#[derive(Debug, Subcommand)]
pub(super) enum Export {
    /// All transfers as a plain-text journal, which hledger and beancount read.
    Journal {
        #[command(flatten)]
        config: ConfigPath,
        /// Through this service day; all when absent.
        #[arg(long, value_parser = parse_day)]
        through: Option<ServiceDate>,
    },
    /// The taps of a closed day as CSV: no cards, times to a quarter of an hour.
    Taps(OfDay),
    /// The transfers of a closed day as CSV.
    Transfers(OfDay),
}

#[derive(Debug, Args)]
pub(super) struct OfDay {
    #[command(flatten)]
    config: ConfigPath,
    /// The service day, such as 2026-11-22.
    #[arg(long, value_parser = parse_day)]
    day: ServiceDate,
}

pub(super) fn run(command: &Export) -> anyhow::Result<ExitCode> {
    match command {
        Export::Journal { config, through } => {
            let place = workplace(&Config::load(&config.config)?)?;
            let mut out = std::io::BufWriter::new(std::io::stdout().lock());
            let count = journal(&place.store, *through, |text| out.write_all(text.as_bytes()))?;
            out.flush()?;
            warn(&format!("{count} transfers"));
        }
        Export::Taps(of) => {
            let place = workplace(&Config::load(&of.config.config)?)?;
            say(taps_csv(&place, of.day)?.trim_end());
        }
        Export::Transfers(of) => {
            let place = workplace(&Config::load(&of.config.config)?)?;
            say(transfers_csv(&place, of.day)?.trim_end());
        }
    }
    Ok(ExitCode::SUCCESS)
}
