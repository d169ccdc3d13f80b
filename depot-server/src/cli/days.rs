//! `depot-server close`: service days, closed and made again; `in-doubt`: what nothing decided.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::Context;
use clap::Args;
use clearing::Account;
use model::{Money, ServiceDate};

use super::{ConfigPath, commands::workplace, say, warn};
use crate::{clock::Clock, config::Config, days, doubts, server::Depot, store::DayAccount};

#[derive(Debug, Args)]
pub(super) struct Close {
    #[command(flatten)]
    config: ConfigPath,
    /// The service day, such as 2026-11-22.
    #[arg(long, value_parser = parse_day)]
    day: ServiceDate,
    /// Print what stood on the accounts as CSV, instead of the signed document.
    #[arg(long)]
    accounts: bool,
}

#[derive(Debug, Args)]
pub(super) struct InDoubt {
    #[command(flatten)]
    config: ConfigPath,
    /// End the holds that the books have known for as many days, now, whatever
    /// `reconcile.in_doubt_expires_days` says.
    #[arg(long, value_parser = clap::value_parser!(u32).range(7..=3650))]
    expire_after: Option<u32>,
}

/// A service day on the command line.
pub(super) fn parse_day(text: &str) -> Result<ServiceDate, String> {
    ServiceDate::parse(text).ok_or_else(|| "a date looks like 2026-11-22".to_owned())
}

pub(super) fn in_doubt(command: &InDoubt) -> anyhow::Result<ExitCode> {
    let place = workplace(&Config::load(&command.config.config)?)?;
    if let Some(days) = command.expire_after {
        let ended = doubts::expire_due(&place, days)?;
        warn(&format!("{ended} holds have ended"));
    }
    say(doubts::ageing_csv(&place)?.trim_end());
    Ok(ExitCode::SUCCESS)
}

pub(super) fn close(command: &Close) -> anyhow::Result<ExitCode> {
    let config = Config::load(&command.config.config)?;
    let depot = Depot::open(config, Clock::system())?;
    let place = depot.workplace();
    for closed in days::close_through(place, depot.signing(), command.day)? {
        warn(&format!("{closed} is closed"));
    }
    // Whether it was closed just now or a year ago: what is printed was made again and compared.
    let day = days::closed_again(place, command.day)?;
    if command.accounts {
        let rows = place.store.day_accounts(command.day).context("the day's accounts")?;
        say(accounts_csv(&rows).trim_end());
    } else {
        say(day.document.trim_end());
    }
    Ok(ExitCode::SUCCESS)
}

/// Accounts of a day, one a line.
fn accounts_csv(rows: &[DayAccount]) -> String {
    let mut text = "account,currency,accounts,opening,debited,credited,closing,held\n".to_owned();
    for DayAccount { account, accounts, sums } in rows {
        let name = match Account::parse(account) {
            Some(Account::Card(_)) | None => {
                Account::word(account.code()).unwrap_or("unknown").to_owned()
            }
            Some(account) => account.to_string(),
        };
        let currency = account.currency();
        let money = |minor: i64| Money::new(minor, currency).decimal();
        let (opening, closing) = (&sums.opening, &sums.closing);
        let debited = closing.debits_posted - opening.debits_posted;
        let credited = closing.credits_posted - opening.credits_posted;
        let held = closing.credits_pending - closing.debits_pending;
        let _ = writeln!(
            text,
            "\"{name}\",{},{accounts},{},{},{},{},{}",
            currency.letters(),
            money(opening.posted()),
            money(debited),
            money(credited),
            money(closing.posted()),
            money(held),
        );
    }
    text
}
