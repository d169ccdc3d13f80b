//! `depot-server order bulk | batches`: files of employers and allowances.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::Args;
use model::Money;

use super::{ConfigPath, channels::bytes_of, commands::workplace, say, warn};
use crate::{
    channels::bulk::{self, BatchName, BulkReport, Judged},
    config::Config,
    export::quoted,
};

pub(super) const AFTER: &str = "\
The file is CSV with a line of column names: card, amount, reference, as `[[channel]] statement` \
names them, and product for passes and rides of `[[product]]`. Good lines are ordered in one \
commit; each other line is told with its reason. The same file again, or one with its bad lines \
corrected, orders nothing twice.

Examples:
  depot-server order bulk wages.csv --channel 12 --batch wages-2026-11 --dry-run
  depot-server order bulk wages.csv --channel 12 --batch wages-2026-11 > report.csv

Exit codes: 0 every line is an order · 1 the file does not read, or lines were refused";

#[derive(Debug, Args)]
pub(super) struct Bulk {
    #[command(flatten)]
    config: ConfigPath,
    /// The file; `-` is standard input.
    file: PathBuf,
    /// Who pays, such as the employer: 1 to 65535.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    channel: u16,
    /// A name for these orders; references need to differ within it only.
    #[arg(long)]
    batch: Option<BatchName>,
    /// Only say what would come of each line.
    #[arg(long)]
    dry_run: bool,
    /// The report as JSON, one line a line; else CSV.
    #[arg(long)]
    json: bool,
}

pub(super) fn order(command: &Bulk) -> anyhow::Result<ExitCode> {
    let config = Config::load(&command.config.config)?;
    let bytes = bytes_of(&command.file)?;
    let place = workplace(&config)?;
    let channel = config.channel(command.channel);
    let batch = command.batch.as_ref();
    let report = bulk::order(&place, (&channel, &config.products), batch, &bytes, command.dry_run)
        .with_context(|| format!("nothing of {} is ordered", command.file.display()))?;
    print(&report, command.json);
    let currency = place.rules.currency();
    let (lines, refused) = (report.lines.len(), report.refused());
    let amount = Money::new(report.new_amount, currency);
    let new = if command.dry_run {
        let good = report.lines.iter().filter(|line| line.judged == Judged::Good).count();
        format!("{good} would be ordered over {amount}")
    } else {
        format!("{} ordered over {amount}", report.new.len())
    };
    warn(&format!("{lines} lines: {new}, {refused} refused"));
    if !config.orders.enabled {
        warn("[orders] enabled = false: validators are given no orders");
    }
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(report: &BulkReport, json: bool) {
    if !json {
        say("line,state,order,reference,card,amount,reason");
    }
    for line in &report.lines {
        let (state, order, reason) = match &line.judged {
            Judged::Good => ("good", None, None),
            Judged::Ordered(id) => ("ordered", Some(id.0), None),
            Judged::Refused(word, why) => (*word, None, Some(why.as_str())),
        };
        let card = line.card.map(model::CardId::to_hex);
        let amount = line.amount.map(Money::decimal);
        if json {
            let reference = Some(&line.reference).filter(|reference| !reference.is_empty());
            say(&serde_json::json!({
                "line": line.row, "state": state, "order": order, "reference": reference,
                "card": card, "amount": amount, "reason": reason,
            })
            .to_string());
        } else {
            say(&format!(
                "{},{state},{},{},{},{},{}",
                line.row,
                order.map(|order| order.to_string()).unwrap_or_default(),
                quoted(&line.reference),
                card.unwrap_or_default(),
                amount.unwrap_or_default(),
                quoted(reason.unwrap_or_default()),
            ));
        }
    }
}

pub(super) fn batches(config: &ConfigPath) -> anyhow::Result<ExitCode> {
    let config = Config::load(&config.config)?;
    let place = workplace(&config)?;
    let money = |minor| Money::new(minor, place.rules.currency()).decimal();
    let letters = place.rules.currency();
    say("channel,batch,currency,orders,amount,loaded,amount loaded,given back,amount given back");
    for total in bulk::batches(&place.store)? {
        say(&format!(
            "{},{},{letters},{},{},{},{},{},{}",
            total.channel,
            quoted(&total.batch),
            total.orders.0,
            money(total.orders.1),
            total.loaded.0,
            money(total.loaded.1),
            total.given_back.0,
            money(total.given_back.1),
        ));
    }
    Ok(ExitCode::SUCCESS)
}
