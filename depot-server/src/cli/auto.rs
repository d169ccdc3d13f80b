//! `depot-server order auto …`: cards that are topped up by themselves.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use clearing::{AutoStop, AutoTopUp};
use model::{CardId, ChannelId, Money};

use super::{ConfigPath, channels::time, commands::workplace, say, warn};
use crate::{channels::auto, config::Config, export::quoted};

const AFTER: &str = "\
Examples:
  depot-server order auto set --card 04a1b2c3d4e5f6 --below 5.00 --amount 20.00 --channel 9
  depot-server order auto stop --card 04a1b2c3d4e5f6
  depot-server order auto collect --channel 9 > collect.csv";

#[derive(Debug, Subcommand)]
#[command(after_help = AFTER)]
pub(super) enum Auto {
    /// Top a card up whenever the books see it below a threshold; set anew, it goes on.
    Set(Set),
    /// Stop it.
    Stop {
        #[command(flatten)]
        config: ConfigPath,
        /// The card's number.
        #[arg(long)]
        card: CardId,
    },
    /// List the instructions as CSV.
    List(ConfigPath),
    /// List what a channel has to collect as CSV: orders that none of its statements has.
    Collect {
        #[command(flatten)]
        config: ConfigPath,
        /// Which channel.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        channel: u16,
    },
}

#[derive(Debug, Args)]
pub(super) struct Set {
    #[command(flatten)]
    config: ConfigPath,
    /// The card's number, 14 hexadecimal digits.
    #[arg(long)]
    card: CardId,
    /// Below this, such as 5.00.
    #[arg(long)]
    below: String,
    /// So much, such as 20.00.
    #[arg(long)]
    amount: String,
    /// Who collects the money: 1 to 65535.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    channel: u16,
    /// At most so much in 24 hours; three times the amount without it.
    #[arg(long)]
    per_day_max: Option<String>,
}

pub(super) fn run(command: Auto) -> anyhow::Result<ExitCode> {
    match command {
        Auto::Set(command) => set(&command),
        Auto::Stop { config, card } => {
            let place = workplace(&Config::load(&config.config)?)?;
            if auto::stop(&place, card, AutoStop::Asked)? {
                say("stopped");
            } else {
                warn("the card has no instruction, or it was stopped before");
            }
            Ok(ExitCode::SUCCESS)
        }
        Auto::List(config) => list(&Config::load(&config.config)?),
        Auto::Collect { config, channel } => {
            collect(&Config::load(&config.config)?, ChannelId(channel))
        }
    }
}

fn set(command: &Set) -> anyhow::Result<ExitCode> {
    let config = Config::load(&command.config.config)?;
    let place = workplace(&config)?;
    let minor = |text: &str| -> anyhow::Result<u32> {
        let amount = Money::parse(text, place.rules.currency())?;
        Ok(u32::try_from(amount.minor()).unwrap_or(0))
    };
    let amount = minor(&command.amount)?;
    let per_day_max = command.per_day_max.as_deref().map(minor).transpose()?;
    auto::set(
        &place,
        &AutoTopUp {
            card: command.card,
            below: minor(&command.below)?,
            amount,
            channel: ChannelId(command.channel),
            per_day_max: per_day_max.unwrap_or(amount.saturating_mul(3)),
            stopped: None,
        },
    )?;
    say("set: the running server orders whenever the books see the card below the threshold");
    Ok(ExitCode::SUCCESS)
}

fn list(config: &Config) -> anyhow::Result<ExitCode> {
    let place = workplace(config)?;
    let currency = place.rules.currency();
    let money = |minor: u32| Money::new(minor.into(), currency).decimal();
    say("card,currency,below,amount,per day max,channel,stopped");
    for auto in place.store.auto_top_ups()? {
        say(&format!(
            "{},{currency},{},{},{},{},{}",
            auto.card.to_hex(),
            money(auto.below),
            money(auto.amount),
            money(auto.per_day_max),
            auto.channel,
            auto.stopped.map_or("", AutoStop::word),
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn collect(config: &Config, channel: ChannelId) -> anyhow::Result<ExitCode> {
    let place = workplace(config)?;
    let currency = place.rules.currency();
    say("reference,card,currency,amount,ordered at");
    for order in place.store.to_collect(channel)? {
        let amount = Money::new(order.amount.into(), currency).decimal();
        let (reference, card) = (quoted(&order.reference), order.card.to_hex());
        say(&format!("{reference},{card},{currency},{amount},{}", time(order.ordered_at)?));
    }
    Ok(ExitCode::SUCCESS)
}
