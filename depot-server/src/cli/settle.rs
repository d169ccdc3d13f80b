//! `depot-server settle`: what each operator gets of a closed day, what is owed, what was paid.

use std::{path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use model::{Currency, Money, ServiceDate};

use super::{ConfigPath, commands::workplace, days::parse_day, say, warn};
use crate::{
    clock::Clock,
    config::Config,
    server::Depot,
    settle::{
        lines_csv, owed, owed_csv, pay, product_lines_csv, products_csv, settle, share_products,
        statement_csv, suspense_csv,
    },
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(super) struct Settle {
    #[command(subcommand)]
    office: Option<Office>,
    #[command(flatten)]
    config: ConfigPath,
    /// A closed service day, such as 2026-11-22.
    #[arg(long, value_parser = parse_day, required = true)]
    day: Option<ServiceDate>,
    /// Share rules, for a day that was not settled before; `settlement.rules` when absent.
    #[arg(long)]
    rules: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value_t = Part::Statement)]
    print: Part,
    /// Lines of this operator only.
    #[arg(long)]
    operator: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Office {
    /// What issuers owe operators for settled days, by age.
    Owed {
        #[command(flatten)]
        config: ConfigPath,
    },
    /// Share what was paid for products that are over: used up, or ended long enough ago.
    Products {
        #[command(flatten)]
        config: ConfigPath,
        /// A settled service day, by whose rules.
        #[arg(long, value_parser = parse_day)]
        day: ServiceDate,
        /// Print every ride instead of every operator.
        #[arg(long)]
        lines: bool,
    },
    /// Book that an issuer paid an operator. The same reference again changes nothing.
    Pay {
        #[command(flatten)]
        config: ConfigPath,
        /// Whom, by its id in the tariff.
        #[arg(long)]
        operator: String,
        /// How much, such as 1250.00.
        #[arg(long)]
        amount: String,
        /// The payment's own number, such as the bank's.
        #[arg(long)]
        reference: String,
        /// Who says so.
        #[arg(long)]
        by: String,
        /// Who paid, when it is not the first [[issuer]].
        #[arg(long)]
        issuer: Option<u16>,
        /// In which currency; the tariff's without it.
        #[arg(long)]
        currency: Option<String>,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// One row an operator.
    Statement,
    /// Every line, each with its tap.
    Lines,
    /// What waits in suspense, and since when.
    Suspense,
}

pub(super) fn run(command: &Settle) -> anyhow::Result<ExitCode> {
    match (&command.office, command.day) {
        (Some(office), _) => run_office(office),
        (None, Some(day)) => settle_day(command, day),
        (None, None) => bail!("say which --day"),
    }
}

fn run_office(office: &Office) -> anyhow::Result<ExitCode> {
    match office {
        Office::Owed { config } => {
            let place = workplace(&Config::load(&config.config)?)?;
            say(owed_csv(&place, &owed(&place)?).trim_end());
        }
        Office::Products { config, day, lines } => {
            let place = workplace(&Config::load(&config.config)?)?;
            let shared = share_products(&place, *day)?;
            let text = if *lines {
                product_lines_csv(&place, *day, &shared)
            } else {
                products_csv(&place, *day, &shared)
            };
            say(text.trim_end());
        }
        Office::Pay { config, operator, amount, reference, by, issuer, currency } => {
            let config = Config::load(&config.config)?;
            let place = workplace(&config)?;
            let (reference, by) = (reference.trim(), by.trim());
            if reference.is_empty() || by.is_empty() {
                bail!("--reference and --by must say something");
            }
            let currency =
                currency.as_deref().map_or(Ok(place.rules.currency()), Currency::parse)?;
            let amount = Money::parse(amount, currency)
                .with_context(|| format!("--amount {amount:?} is no amount in {currency}"))?;
            let issuer = issuer.map_or(Ok(None), |number| config.issuer(number))?;
            let left = pay(&place, issuer, (operator, amount), (reference, by))?;
            say(&format!("{amount} paid to {operator}; {left} are owed to it"));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn settle_day(command: &Settle, day: ServiceDate) -> anyhow::Result<ExitCode> {
    let config = Config::load(&command.config.config)?;
    let file = command.rules.as_ref().or(config.settlement.rules.as_ref()).cloned();
    let text = file
        .map(|path| {
            std::fs::read_to_string(&path)
                .with_context(|| format!("cannot read the share rules {}", path.display()))
        })
        .transpose()?;
    let depot = Depot::open(config, Clock::system())?;
    let place = depot.workplace();
    let settled = settle(place, text.as_deref(), day)?;
    let statements = &settled.statements;
    let printed = match command.print {
        Part::Statement => statement_csv(place, statements),
        Part::Lines => lines_csv(place, statements, command.operator.as_deref()),
        Part::Suspense => suspense_csv(day, &settled.suspense),
    };
    say(printed.trim_end());
    for statement in statements {
        let (gross, payable, fees) = statement.totals();
        let rest = gross - payable - fees;
        warn(&format!("earned minus paid out minus fees, {}: {rest}", statement.currency));
    }
    Ok(ExitCode::SUCCESS)
}
