//! `depot-server fares …`: check feeds and tariffs, compile them, and price journeys with them.

mod diff;
mod explain;
mod findings;
mod journeys;
mod keys;
mod line;
mod publish;
mod purse;
mod rides;
mod source;
mod stream;
mod taps;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Subcommand;
use model::Currency;
use serde::Serialize;

use self::{
    diff::Difference,
    explain::OneJourney,
    findings::{Finding, count, warn_in_short},
    journeys::{Priced, price_journey},
    keys::Spelling,
    line::Object,
    publish::Publication,
    purse::currency_of,
    source::{FareSource, FeedTable, open_feed},
    stream::answer_lines,
    taps::{TapPricer, Tapped},
};
use super::{say, warn};

type Done = anyhow::Result<ExitCode>;

const CHECK_HELP: &str = "\
With --json, stdout holds one JSON array of objects {severity, code, file, row, field, message}: \
severity is error or warning, row counts the lines of the file from 1, row and field are null \
when the whole file is meant.

Examples:
  depot-server fares check --gtfs city.zip
  depot-server fares check --gtfs city.zip --json | jq '.[] | select(.severity == \"error\")'
  depot-server fares check --tariff city.toml

Exit codes: 0 no errors · 1 errors were found";

const PRICE_HELP: &str = "\
One JSON object a line on stdin, one a line on stdout, in the same order. Ids are those of the \
feed, times are GTFS clock times of the service day `date` and may pass 24:00:00. rider null is \
the default category, medium null is any. unknown_legs counts from 0: legs without a known fare, \
which is not the same as free; total is the sum of what is known. A line that is wrong is \
answered by {\"id\", \"error\"} in its place. Keys that are not read are said once on stderr. \
docs/fares.md has all of it.

Examples:
  echo '{\"id\":1,\"date\":\"20261126\",\"rider\":null,\"medium\":null,\"legs\":[{\"route\":\"Red\",
    \"from\":\"place-pktrm\",\"to\":\"place-harsq\",\"dep\":\"08:05:00\",\"arr\":\"08:17:00\"}]}' |
    tr -d '\\n' | depot-server fares price --gtfs mbta.zip
  echo '{\"id\":1,\"card\":{\"balance\":\"10.00\"},\"taps\":[{\"kind\":\"board\",
    \"place\":\"s1\",\"route\":\"7\",\"at\":\"2026-11-26T07:05:00\"}]}' | tr -d '\\n' |
    depot-server fares price --tariff city.toml
  depot-server fares price --gtfs city.zip --strict < journeys.jsonl > prices.jsonl

Exit codes: 0 every line was answered · 1 a line was wrong, or the feed cannot be priced";

const EXPLAIN_HELP: &str = "\
Example:
  depot-server fares explain --gtfs mbta.zip --date 20241010 --medium charlieticket \\
    --leg Red,70075,70067,08:05:00,08:17:00 --leg 1,110,75,08:20:00,08:30:00";

const PUBLISH_HELP: &str = "\
The tariff is checked with its golden examples, signed by the depot's key, and kept in the books \
under its version, which must be above all before. To roll back, publish the older text under a \
new version.

Example:
  depot-server fares publish --tariff city.toml --valid-from 20270101 -o city-7.json";

const DIFF_HELP: &str = "\
Without --config, stdin holds journeys or taps as `fares price` takes them. With --config, the \
taps in the depot's books are priced again, card by card, under both tariffs; no card is named, \
and no difference that fewer than five cards share.

Examples:
  depot-server fares diff --from city-6.toml --to city-7.toml < journeys.jsonl
  depot-server fares diff --from city-6.toml --to city-7.toml --config depot.toml --json

Exit codes: 0 compared · 1 nothing could be compared";

#[derive(Debug, Subcommand)]
pub(super) enum Fares {
    /// Say what is wrong with a tariff or a feed.
    #[command(after_help = CHECK_HELP)]
    Check {
        #[command(flatten)]
        source: FareSource,
        /// As a JSON array on stdout.
        #[arg(long)]
        json: bool,
    },
    /// Write the tariff that validators and depot load.
    Compile {
        #[command(flatten)]
        source: FareSource,
        /// Where to; stdout without it.
        #[arg(short, long)]
        output: Option<PathBuf>,
    },
    /// Price journeys: JSON lines on stdin, JSON lines on stdout.
    #[command(after_help = PRICE_HELP)]
    Price {
        #[command(flatten)]
        source: FareSource,
        /// Price nothing when the check has errors or a column that changes a price, and no line
        /// with a misspelt key.
        #[arg(long)]
        strict: bool,
    },
    /// Price one journey and say why, and what it would cost with another medium or rider.
    #[command(after_help = EXPLAIN_HELP)]
    Explain(OneJourney),
    /// Say who would pay more and who less under other fares.
    #[command(after_help = DIFF_HELP)]
    Diff(Difference),
    /// Sign a tariff for the day from which it holds, and keep it in the books.
    #[command(after_help = PUBLISH_HELP)]
    Publish(Publication),
}

pub(super) fn run(command: Fares) -> Done {
    match command {
        Fares::Explain(journey) => explain(&journey),
        Fares::Diff(difference) => difference.run(),
        Fares::Publish(publication) => publication.publish(),
        Fares::Check { source, json } => check(&source, json),
        Fares::Compile { source, output } => compile(&source, output.as_deref()),
        Fares::Price { source, strict } => price(&source, strict),
    }
}

fn check(source: &FareSource, json: bool) -> Done {
    let (findings, is_sound) = match &source.gtfs {
        Some(path) if source.overlay.is_none() => {
            let read = gtfs::read_feed_fares(&open_feed(path)?);
            let is_sound = read.fares.is_some() && !read.has_errors();
            (read.diagnostics.iter().map(Finding::from).collect(), is_sound)
        }
        Some(_) | None => {
            let read = source.read_tariff()?;
            (read.findings, read.tariff.is_some())
        }
    };
    if json {
        say(&serde_json::to_string_pretty(&findings)?);
    } else {
        for finding in &findings {
            warn(&finding.to_string());
        }
        warn(&count(&findings));
    }
    if !is_sound {
        warn("correct what is called an error above");
    }
    Ok(if is_sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn compile(source: &FareSource, output: Option<&Path>) -> Done {
    let read = source.read_tariff()?;
    for finding in &read.findings {
        warn(&finding.to_string());
    }
    let Some(tariff) = read.tariff else {
        warn("no tariff: correct what is called an error above");
        return Ok(ExitCode::FAILURE);
    };
    match output {
        None => say(tariff.to_toml().trim_end()),
        Some(path) => fs::write(path, tariff.to_toml())
            .with_context(|| format!("cannot write {}", path.display()))?,
    }
    warn(&format!(
        "{}, version {}: {} places, {} routes, {}",
        tariff.network(),
        tariff.version(),
        tariff.places().len(),
        tariff.routes().len(),
        tariff.currency()
    ));
    Ok(ExitCode::SUCCESS)
}

/// The answer to one line.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    Journey(Priced),
    Taps(Tapped),
}

fn price(source: &FareSource, strict: bool) -> Done {
    let mut sources = PriceSources::open(source, strict)?;
    if io::stdin().is_terminal() {
        warn("reading journeys from the terminal, one JSON object a line; Ctrl-D ends");
    }
    let answer = |line: &Object<'_>| sources.answer(line);
    let spelling = Spelling::new(strict);
    let answered = answer_lines(io::stdin().lock(), io::stdout().lock(), &spelling, answer)
        .context("cannot read stdin or write stdout")?;
    if answered.wrong > 0 {
        warn(&format!(
            "{} of {} lines could not be priced: look for \"error\"",
            answered.wrong,
            answered.good + answered.wrong
        ));
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn explain(journey: &OneJourney) -> Done {
    let mut sources = PriceSources::open(&journey.source, false)?;
    let (media, riders) = sources.others();
    journey.explain(&media, &riders, |line| match sources.answer(line)? {
        Answer::Journey(priced) => Ok(priced),
        Answer::Taps(_) => Err("a journey has legs".to_owned()),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The fares of a feed, compiled. What was found in it is said in short.
fn journey_table(feed: &Path, strict: bool) -> anyhow::Result<(FeedTable, Vec<Finding>)> {
    let read = gtfs::read_feed_fares(&open_feed(feed)?);
    let findings: Vec<Finding> = read.diagnostics.iter().map(Finding::from).collect();
    warn_in_short(&findings);
    if strict && findings.iter().any(Finding::puts_prices_in_doubt) {
        bail!(
            "--strict: the feed has {} that put its prices in doubt: see `fares check`",
            count(&findings)
        );
    }
    let table = FeedTable::compile(read)
        .context("the feed has no fares that can be read: correct what is called an error above")?;
    Ok((table, findings))
}

/// What lines are priced by: the table of a feed for legs, and a tariff for taps.
struct PriceSources<'a> {
    source: &'a FareSource,
    feed: Option<FeedTable>,
    /// Errors of the feed that are known and said.
    accept: Vec<String>,
    /// By the medium that the card is; made when a line asks for it, because no validator can
    /// charge by some feeds.
    tariffs: BTreeMap<Option<String>, Result<TapPricer, String>>,
}

impl<'a> PriceSources<'a> {
    fn open(source: &'a FareSource, strict: bool) -> anyhow::Result<Self> {
        let mut sources =
            Self { source, feed: None, accept: source.accept.clone(), tariffs: BTreeMap::new() };
        if let Some(feed) = &source.gtfs {
            let (table, findings) = journey_table(feed, strict)?;
            sources.feed = Some(table);
            let errors = findings.iter().filter(|finding| finding.is_error());
            sources.accept.extend(errors.map(|finding| finding.code.to_owned()));
        } else {
            let pricer = sources.tariff(None)?;
            sources.tariffs.insert(None, Ok(pricer.map_err(anyhow::Error::msg)?));
        }
        Ok(sources)
    }

    fn answer(&mut self, line: &Object<'_>) -> Result<Answer, String> {
        line.check_line()?;
        let legs = line.raw("legs").is_some();
        if legs == line.raw("taps").is_some() {
            let message = "give legs, the rides of a journey, or taps, the taps of a card";
            return Err(message.to_owned());
        }
        if let (Some(table), true) = (&self.feed, legs) {
            let priced = price_journey(table, line, self.source.language)?;
            let tariffs = Currency::parse(priced.currency).map_err(|why| why.to_string())?;
            let purse = currency_of(line, tariffs)?;
            if purse != tariffs {
                let advice = "write them into a tariff and price with --tariff";
                return Err(format!("card.currency: a feed has no rates for {purse}: {advice}"));
            }
            return Ok(Answer::Journey(priced));
        }
        let medium = line.text("medium")?.map(Cow::into_owned);
        match (&medium, &self.feed) {
            (None, _) => {}
            (Some(id), Some(table)) => table.medium(id).map(|_| ())?,
            (Some(id), None) => {
                return Err(format!("medium {id:?}: a tariff is for its own cards; write null"));
            }
        }
        let medium = medium.or_else(|| self.source.card_medium.clone());
        if !self.tariffs.contains_key(&medium) {
            let pricer = self.tariff(medium.clone()).unwrap_or_else(|why| Err(format!("{why:#}")));
            self.tariffs.insert(medium.clone(), pricer);
        }
        let pricer = self.tariffs[&medium].as_ref().map_err(Clone::clone)?;
        if legs {
            pricer.journey(line).map(Answer::Journey)
        } else {
            pricer.answer(line).map(Answer::Taps)
        }
    }

    /// The media and riders that a journey may be priced for.
    fn others(&self) -> (Vec<String>, Vec<String>) {
        let Some(table) = &self.feed else { return (Vec::new(), Vec::new()) };
        (table.media().map(str::to_owned).collect(), table.riders().map(str::to_owned).collect())
    }

    /// The inner error is what the answer to a line says.
    fn tariff(&self, medium: Option<String>) -> anyhow::Result<Result<TapPricer, String>> {
        let read = self.source.read_tariff_for(medium, self.accept.clone())?;
        let Some(tariff) = read.tariff else {
            let first = read.findings.iter().find(|finding| finding.is_error());
            let first = first.map(ToString::to_string).unwrap_or_default();
            return Ok(Err(format!("taps need a tariff and there is none: {first}")));
        };
        Ok(TapPricer::new(tariff, read.network.as_ref(), self.source.language))
    }
}
