//! `depot-server ticket …`: the key of tickets, and tickets of an order.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use fare::Tariff;
use model::{Money, RiderClass, TicketScope};

use super::{ConfigPath, commands::workplace, say, warn};
use crate::{
    clock::Clock,
    config::{Config, to_hex},
    ticketing::{self, TicketOrder},
};

#[derive(Debug, Subcommand)]
pub(super) enum Tickets {
    /// Print the public key of tickets, for `tickets.keys` of the validators.
    Key(ConfigPath),
    /// Sell tickets: book the sale, then print their texts, one a line.
    Issue {
        #[command(flatten)]
        config: ConfigPath,
        #[command(flatten)]
        scope: Scope,
        /// What each costs, in the tariff's currency, such as 2.40.
        #[arg(long)]
        price: String,
        /// How long each holds, at most 4320 (three days).
        #[arg(long, default_value_t = 90)]
        valid_minutes: u16,
        /// Whom it is for, a class of the tariff; the tariff's first one without it.
        #[arg(long)]
        class: Option<String>,
        /// How many.
        #[arg(long, default_value_t = 1)]
        count: u32,
        /// Also as a QR code: `terminal`, or a file that ends in .svg (numbered when several).
        #[arg(long)]
        qr: Option<PathBuf>,
    },
}

/// Where the tickets hold.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(super) struct Scope {
    /// Everywhere.
    #[arg(long)]
    network: bool,
    /// Rides that begin at this place of the tariff.
    #[arg(long)]
    place: Option<String>,
    /// Rides on this route of the tariff.
    #[arg(long)]
    route: Option<String>,
    /// Rides on the routes of this transfer group of the tariff.
    #[arg(long)]
    group: Option<String>,
}

pub(super) fn run(command: Tickets) -> anyhow::Result<ExitCode> {
    match command {
        Tickets::Key(ConfigPath { config }) => {
            let config = Config::load(&config)?;
            let key = ticketing::load_key(&config.keys.tickets)?;
            say(&to_hex(key.verifying_key().as_bytes()));
            warn("this is the public key of tickets: put it into tickets.keys of every validator");
            Ok(ExitCode::SUCCESS)
        }
        Tickets::Issue { config, scope, price, valid_minutes, class, count, qr } => {
            let config = Config::load(&config.config)?;
            let key = ticketing::load_key(&config.keys.tickets)?;
            let place = workplace(&config)?;
            let tariff = place.rules.tariffs().newest();
            let order = TicketOrder {
                scope: scope.of(tariff)?,
                price: Money::parse(&price, tariff.currency())?,
                valid_from: Clock::system().now(),
                minutes: valid_minutes,
                class: class_of(tariff, class.as_deref())?,
                count,
            };
            if let Some(path) = qr.as_deref().filter(|path| *path != Path::new("terminal"))
                && path.extension().is_none_or(|extension| extension != "svg")
            {
                bail!("--qr {}: write terminal, or a file that ends in .svg", path.display());
            }
            let tokens = ticketing::issue(&place, &key, &order)?;
            for (token, no) in tokens.iter().zip(1..) {
                say(&ticket::to_text(token));
                if let Some(path) = &qr {
                    draw(token, path, (count > 1).then_some(no))?;
                }
            }
            let until = order.valid_from.secs() + 60 * u64::from(valid_minutes);
            let until = jiff::Timestamp::from_second(i64::try_from(until)?)?;
            warn(&format!("sold {count} at {} each, valid until {until}", order.price));
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn draw(token: &model::TicketToken, path: &Path, no: Option<u32>) -> anyhow::Result<()> {
    if path == Path::new("terminal") {
        say(&ticketing::terminal(token));
        return Ok(());
    }
    let path = match no {
        None => path.to_owned(),
        Some(no) => path.with_extension(format!("{no}.svg")),
    };
    fs::write(&path, ticketing::svg(token))
        .with_context(|| format!("cannot write {}; its ticket is sold", path.display()))
}

impl Scope {
    fn of(&self, tariff: &Tariff) -> anyhow::Result<TicketScope> {
        if let Some(id) = &self.place {
            let ix = tariff.place_ix(id).with_context(|| {
                format!("--place {id}: no place of tariff version {}", tariff.version())
            })?;
            return Ok(TicketScope::Place(ix));
        }
        if let Some(id) = &self.route {
            let ix = tariff.route_ix(id).with_context(|| {
                format!("--route {id}: no route of tariff version {}", tariff.version())
            })?;
            return Ok(TicketScope::Route(ix));
        }
        if let Some(name) = &self.group {
            let groups = &tariff.parts().groups;
            let ix = groups.iter().position(|group| group == name);
            let ix = ix
                .and_then(|ix| u8::try_from(ix).ok())
                .with_context(|| format!("--group {name}: the tariff has {}", groups.join(", ")))?;
            return Ok(TicketScope::Group(ix));
        }
        Ok(TicketScope::Network)
    }
}

fn class_of(tariff: &Tariff, id: Option<&str>) -> anyhow::Result<RiderClass> {
    let Some(id) = id else { return Ok(RiderClass(0)) };
    tariff.class(id).with_context(|| {
        let known: Vec<_> = tariff.classes().iter().map(|class| &*class.id).collect();
        format!("--class {id}: the tariff has {}", known.join(", "))
    })
}
