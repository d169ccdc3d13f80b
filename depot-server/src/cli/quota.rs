//! `depot-server card quota …`: what stations may put on cards.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Subcommand;
use model::{Money, StationId};
use serde_json::json;

use super::{
    ConfigPath,
    card::{Exit, books, named},
    say,
};
use crate::clock::Clock;

/// What stations may put on cards.
#[derive(Debug, Subcommand)]
pub(super) enum Quota {
    /// What was granted, what is used, what is left.
    Show {
        #[command(flatten)]
        config: ConfigPath,
        /// Which station; this configuration's without it.
        #[arg(long)]
        station: Option<u16>,
        /// On cards in which currency: each has a quota of its own. The tariff's without it.
        #[arg(long)]
        currency: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Grant a station more. Two people are named, and why.
    Grant {
        #[command(flatten)]
        config: ConfigPath,
        /// Which station; this configuration's without it.
        #[arg(long)]
        station: Option<u16>,
        /// How much more, such as 500.00.
        #[arg(long)]
        amount: String,
        /// On cards in which currency: each has a quota of its own. The tariff's without it.
        #[arg(long)]
        currency: Option<String>,
        /// Who grants it.
        #[arg(long)]
        by: String,
        /// Who agrees: somebody else.
        #[arg(long)]
        agreed_by: String,
        /// Why, such as "cash of Monday paid in, receipt 4711".
        #[arg(long)]
        reason: String,
    },
}

pub(super) fn run(command: Quota) -> Exit {
    match command {
        Quota::Show { config, station, currency, json } => {
            let (config, store, tariffs) = books(&config.config)?;
            let station = StationId(station.unwrap_or(config.desk.station));
            let currency = currency.as_deref().map_or(Ok(tariffs), named)?;
            let quota = store.quota_in(station, Some(currency).filter(|c| *c != tariffs))?;
            let money = |minor| Money::new(minor, currency);
            if json {
                say(&json!({
                    "station": station.0,
                    "granted": money(quota.granted).decimal(),
                    "used": money(quota.used).decimal(),
                    "in_doubt": money(quota.in_doubt).decimal(),
                    "left": money(quota.left()).decimal(),
                    "currency": currency.letters(),
                })
                .to_string());
            } else {
                say(&format!(
                    "station {station}: {} granted, {} used, {} in doubt, {} left",
                    money(quota.granted),
                    money(quota.used),
                    money(quota.in_doubt),
                    money(quota.left())
                ));
            }
        }
        Quota::Grant { config, station, amount, currency, by, agreed_by, reason } => {
            let (config, store, tariffs) = books(&config.config)?;
            let currency = currency.as_deref().map_or(Ok(tariffs), named)?;
            let purse = Some(currency).filter(|currency| *currency != tariffs);
            let station = StationId(station.unwrap_or(config.desk.station));
            let (by, agreed, reason) = (by.trim(), agreed_by.trim(), reason.trim());
            if by.is_empty() || agreed.is_empty() || reason.is_empty() {
                bail!("--by, --agreed-by and --reason must say something");
            }
            if by.to_lowercase() == agreed.to_lowercase() {
                bail!("{by} cannot agree to what {by} grants: two people decide about money");
            }
            let amount = Money::parse(&amount, currency)
                .with_context(|| format!("--amount {amount:?} is no amount in {currency}"))?;
            if amount.minor() <= 0 {
                bail!("--amount {amount}: grant more than 0");
            }
            let (who, now) = ([by, agreed, reason], Clock::system().now());
            store.grant_in(station, purse, amount.minor(), who, now)?;
            let left = Money::new(store.quota_in(station, purse)?.left(), currency);
            say(&format!("station {station} may put {left} on cards"));
        }
    }
    Ok(ExitCode::SUCCESS)
}
