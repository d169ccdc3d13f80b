//! `depot-server settle`: what each operator gets of a closed day.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Args, ValueEnum};
use model::ServiceDate;

use super::{ConfigPath, days::parse_day, say, warn};
use crate::{
    clock::Clock,
    config::Config,
    server::Depot,
    settle::{lines_csv, settle, statement_csv, suspense_csv},
};

#[derive(Debug, Args)]
pub(super) struct Settle {
    #[command(flatten)]
    config: ConfigPath,
    /// A closed service day, such as 2026-11-22.
    #[arg(long, value_parser = parse_day)]
    day: ServiceDate,
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
    let settled = settle(place, text.as_deref(), command.day)?;
    let statements = &settled.statements;
    let printed = match command.print {
        Part::Statement => statement_csv(place, statements),
        Part::Lines => lines_csv(place, statements, command.operator.as_deref()),
        Part::Suspense => suspense_csv(command.day, &settled.suspense),
    };
    say(printed.trim_end());
    for statement in statements {
        let (gross, payable, fees) = statement.totals();
        let rest = gross - payable - fees;
        warn(&format!("earned minus paid out minus fees, {}: {rest}", statement.currency));
    }
    Ok(ExitCode::SUCCESS)
}
