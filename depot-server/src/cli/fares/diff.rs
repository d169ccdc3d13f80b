//! Two fares beside each other: who would pay more, who less.
//!
//! What is compared is journeys and taps of the caller's, or the taps in the books: what riders
//! pay, each in the currency of the own purse, and never a sum over two of them. Of the books only
//! sums come out: no card is named, and no amount that fewer than [`FEW`] cards share.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Args;
use fare::{FareTap, Journey, Tariff, TariffSet, price};
use model::{CardCounters, CardProducts, Currency, Money, PlaceIx, RecordKind, RouteIx, TapRole};
use serde::Serialize;
use texts::Language;

use super::{Answer, PriceSources, keys::Spelling, line::Object, source::FareSource};
use crate::{
    cli::{say, warn},
    config::Config,
    store::{CardHistory, Store},
};

/// An amount shared by fewer cards could point at one of them.
const FEW: u64 = 5;

#[derive(Debug, Args)]
pub(in crate::cli) struct Difference {
    /// The fares that hold: a feed (folder or zip) or a tariff text.
    #[arg(long)]
    from: PathBuf,
    /// The fares to compare with them.
    #[arg(long)]
    to: PathBuf,
    /// Replay the taps in the books of this depot, instead of lines on stdin.
    #[arg(long, value_name = "DEPOT.TOML")]
    config: Option<PathBuf>,
    /// As a JSON object on stdout.
    #[arg(long)]
    json: bool,
}

/// What two fares make of the same.
#[derive(Debug, Serialize)]
struct Report {
    /// Journeys, lines of taps, or cards.
    compared: u64,
    /// Of them, those that one of the two could not price.
    not_priced: u64,
    currency: &'static str,
    from_total: String,
    to_total: String,
    pay_more: u64,
    pay_less: u64,
    pay_the_same: u64,
    /// Difference → how many, dearest first.
    by_difference: Vec<Step>,
    /// The same of purses in other currencies.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    purses: Vec<Report>,
    /// Cards in currencies of which there are too few to say anything.
    #[serde(skip_serializing_if = "is_zero")]
    not_shown: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_zero(count: &u64) -> bool {
    *count == 0
}

#[derive(Debug, Serialize)]
struct Step {
    difference: String,
    count: u64,
}

/// What was compared, by the currency in which it is paid.
struct Tallies {
    tariffs: Currency,
    by: BTreeMap<Currency, Tally>,
}

struct Tally {
    currency: Currency,
    not_priced: u64,
    totals: (i64, i64),
    differences: BTreeMap<i64, u64>,
}

impl Difference {
    pub(super) fn run(&self) -> anyhow::Result<ExitCode> {
        let report = match &self.config {
            Some(config) => self.books(config)?,
            None => self.lines()?,
        };
        if self.json {
            say(&serde_json::to_string_pretty(&report)?);
        } else {
            report.print();
        }
        Ok(ExitCode::SUCCESS)
    }

    /// Compares lines as `fares price` takes them.
    fn lines(&self) -> anyhow::Result<Report> {
        let (from, to) = (FareSource::of(&self.from), FareSource::of(&self.to));
        let mut sources = [PriceSources::open(&from, false)?, PriceSources::open(&to, false)?];
        let spelling = Spelling::default();
        let mut tallies: Option<Tallies> = None;
        for line in io::stdin().lock().lines() {
            let line = line.context("cannot read stdin")?;
            if line.trim().is_empty() {
                continue;
            }
            let object = Object::parse(line.trim(), &spelling).map_err(anyhow::Error::msg)?;
            let [from, to] = sources.each_mut().map(|source| source.answer(&object));
            let tariffs = [&from, &to].into_iter().flatten().find_map(Answer::currency);
            let [from, to] = [from, to].map(|answer| answer.ok().and_then(|a| total(&a)));
            if let (None, Some(tariffs)) = (&tallies, tariffs) {
                tallies = Some(Tallies::new(tariffs));
            }
            let Some(tallies) = &mut tallies else { continue };
            let currency = [from, to].into_iter().flatten().next().map(Money::currency);
            tallies.of(currency).add(from.zip(to))?;
        }
        let tallies = tallies.context("no line could be priced by either")?;
        Ok(tallies.report(1))
    }

    /// Compares what the cards in the books would have paid.
    fn books(&self, config: &Path) -> anyhow::Result<Report> {
        let config = Config::load(config)?;
        let store = Store::open_existing(&config.database)?;
        let sets = [&self.from, &self.to].map(|path| tariff(path).map(TariffSet::new));
        let [from, to] = sets;
        let (from, to) = (from?, to?);
        let known = known_tariffs(&store)?;
        let mut tallies = Tallies::new(from.newest().currency());
        for history in store.card_histories()?.values() {
            let paid = [&from, &to].map(|set| replay(set, &known, history));
            let [from, to] = paid;
            tallies.of(purse(history)).add(from.zip(to))?;
        }
        Ok(tallies.report(FEW))
    }
}

impl FareSource {
    /// A feed when it is a folder or a zip, otherwise a tariff text.
    fn of(path: &Path) -> Self {
        let zip = path.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("zip"));
        let is_feed = path.is_dir() || zip;
        Self {
            gtfs: is_feed.then(|| path.to_owned()),
            tariff: (!is_feed).then(|| path.to_owned()),
            overlay: None,
            tariff_version: 1,
            card_medium: None,
            accept: Vec::new(),
            language: Language::English,
        }
    }
}

fn tariff(path: &Path) -> anyhow::Result<Tariff> {
    let read = FareSource::of(path).read_tariff()?;
    read.tariff.with_context(|| {
        let first = read.findings.first().map(ToString::to_string).unwrap_or_default();
        format!("{} is no tariff: {first}", path.display())
    })
}

/// The tariffs by which places and routes in the books are numbered.
fn known_tariffs(store: &Store) -> anyhow::Result<Vec<Tariff>> {
    let mut known = Vec::new();
    for (version, text) in store.tariffs()? {
        let tariff = Tariff::parse(&text);
        known.push(
            tariff.map_err(|_| anyhow::anyhow!("version {version} of the books is damaged"))?,
        );
    }
    if known.is_empty() {
        bail!("the books hold no tariff, and so no taps to compare");
    }
    Ok(known)
}

/// The currency of a card's purse; `None` = the tariff's.
fn purse(history: &CardHistory) -> Option<Currency> {
    history.values().find_map(|(transaction, _)| transaction.purse)
}

/// What a card would have paid out of its purse; `None` when one of its taps has no price. Tickets
/// and products that paid are left as they were: only what was charged is compared.
fn replay(set: &TariffSet, known: &[Tariff], history: &CardHistory) -> Option<Money> {
    let tariff = set.newest();
    let mut journey = Journey::default().counting(Some(CardCounters::EMPTY));
    let mut total = Money::zero(purse(history).unwrap_or(tariff.currency()));
    for (transaction, route) in history.values() {
        let after = &transaction.after;
        let role = match after.kind {
            RecordKind::Board => TapRole::Board,
            RecordKind::Entry => TapRole::Entry,
            RecordKind::Exit => TapRole::Exit,
            RecordKind::Issue
            | RecordKind::Load
            | RecordKind::LoadInJourney
            | RecordKind::Retire => continue,
        };
        let of = known.iter().find(|known| known.version() == after.tariff)?;
        let tap = FareTap {
            at: after.at(),
            role,
            place: same_place(of, after.place, tariff)?,
            route: match route {
                None => None,
                Some(ix) => Some(same_route(of, *ix, tariff)?),
            },
            class: after.class,
            companions: transaction.companions,
            purse: transaction.purse,
            validator: after.validator,
            tariff: tariff.version(),
        };
        let held = transaction.products.filter(|held| held.file != CardProducts::EMPTY);
        let quote = price(set, &journey.holding(held), &tap).ok()?;
        total = total.checked_add(quote.debit).ok()?;
        journey = quote.journey_after;
    }
    Some(total)
}

fn same_place(of: &Tariff, place: PlaceIx, to: &Tariff) -> Option<PlaceIx> {
    to.place_ix(&of.place(place)?.id)
}

fn same_route(of: &Tariff, route: RouteIx, to: &Tariff) -> Option<RouteIx> {
    to.route_ix(&of.route(route)?.id)
}

/// The sum of an answer; `None` when a part of it has no price.
fn total(answer: &Answer) -> Option<Money> {
    match answer {
        Answer::Journey(priced) if priced.unknown_legs.is_empty() => {
            let own = (&priced.total, priced.currency);
            let purse = priced.purse.as_ref().map(|purse| (&purse.total, purse.currency));
            let (total, letters) = purse.unwrap_or(own);
            Money::parse(total, Currency::parse(letters).ok()?).ok()
        }
        Answer::Journey(_) => None,
        Answer::Taps(tapped) => tapped.charged(),
    }
}

impl Answer {
    /// The tariff's.
    fn currency(&self) -> Option<Currency> {
        let letters = match self {
            Self::Journey(priced) => priced.currency,
            Self::Taps(tapped) => tapped.currency(),
        };
        Currency::parse(letters).ok()
    }
}

impl Tallies {
    const fn new(tariffs: Currency) -> Self {
        Self { tariffs, by: BTreeMap::new() }
    }

    fn of(&mut self, purse: Option<Currency>) -> &mut Tally {
        let currency = purse.unwrap_or(self.tariffs);
        self.by.entry(currency).or_insert_with(|| Tally::new(currency))
    }

    /// Purses in the tariff's currency, and beside them those in others, of which there must be as
    /// many as share a difference: a sum over one card would be that card's.
    fn report(mut self, few: u64) -> Report {
        let own = self.by.remove(&self.tariffs).unwrap_or_else(|| Tally::new(self.tariffs));
        let mut report = own.report(few);
        for tally in self.by.into_values() {
            let other = tally.report(few);
            if other.compared < few {
                report.not_shown += other.compared;
            } else {
                report.purses.push(other);
            }
        }
        report
    }
}

impl Tally {
    fn new(currency: Currency) -> Self {
        Self { currency, not_priced: 0, totals: (0, 0), differences: BTreeMap::new() }
    }

    fn add(&mut self, both: Option<(Money, Money)>) -> anyhow::Result<()> {
        let Some((from, to)) = both else {
            self.not_priced += 1;
            return Ok(());
        };
        if from.currency() != self.currency || to.currency() != self.currency {
            bail!("{} and {} cannot be compared", from.currency(), to.currency());
        }
        self.totals.0 += from.minor();
        self.totals.1 += to.minor();
        *self.differences.entry(to.minor() - from.minor()).or_default() += 1;
        Ok(())
    }

    /// Differences that fewer than `few` share are counted above, and not listed.
    fn report(&self, few: u64) -> Report {
        let text = |minor: i64| Money::new(minor, self.currency).decimal();
        let count = |of: fn(i64) -> bool| {
            self.differences.iter().filter(|(by, _)| of(**by)).map(|(_, n)| n).sum::<u64>()
        };
        let listed = self.differences.iter().rev().filter(|(_, count)| **count >= few);
        Report {
            compared: self.differences.values().sum::<u64>() + self.not_priced,
            not_priced: self.not_priced,
            currency: self.currency.letters(),
            from_total: text(self.totals.0),
            to_total: text(self.totals.1),
            pay_more: count(|by| by > 0),
            pay_less: count(|by| by < 0),
            pay_the_same: count(|by| by == 0),
            by_difference: listed
                .map(|(by, count)| Step { difference: text(*by), count: *count })
                .collect(),
            purses: Vec::new(),
            not_shown: 0,
        }
    }
}

impl Report {
    fn print(&self) {
        say(&format!(
            "{} compared, {} not priced by one of the two: {} pay more, {} less, {} the same",
            self.compared, self.not_priced, self.pay_more, self.pay_less, self.pay_the_same
        ));
        say(&format!("{} {} before, {} after", self.from_total, self.currency, self.to_total));
        for step in &self.by_difference {
            say(&format!("{:>12}  {}", step.difference, step.count));
        }
        for purse in &self.purses {
            say(&format!("purses in {}:", purse.currency));
            purse.print();
        }
        if self.not_shown > 0 {
            warn(&format!("{} cards in other currencies are too few to say more", self.not_shown));
        }
        if self.not_priced > 0 {
            warn("what one of the two cannot price is in neither sum");
        }
    }
}

#[cfg(test)]
mod tests {
    use model::{
        CardRecord, CardTransaction, Companions, Ctr, LoadSeq, RiderClass, TariffVersion,
        ValidUntil, ValidatorId,
    };

    use super::*;
    use crate::workload::CITY;

    /// Boardings of the first route, a minute apart, at the first place.
    fn history(boardings: u32) -> CardHistory {
        let record = |ctr: u32, kind| CardRecord {
            kind,
            ctr: Ctr(ctr),
            balance: 0,
            amount: 0,
            at_s: 1_795_000_000 + ctr * 60,
            validator: ValidatorId::DEPOT,
            place: PlaceIx(0),
            load_seq: LoadSeq(0),
            tariff: TariffVersion(1),
            valid_until: ValidUntil::Always,
            class: RiderClass(0),
            run: None,
            products: None,
            layout: model::CardLayout::Plain,
        };
        let entry = |ctr: u32| {
            let (before, after) =
                (record(ctr - 1, RecordKind::Issue), record(ctr, RecordKind::Board));
            let transaction = CardTransaction {
                before,
                after,
                products: None,
                loaded: None,
                counters: None,
                companions: Companions::NONE,
                purse: None,
            };
            (Ctr(ctr), (transaction, Some(RouteIx(0))))
        };
        (1..=boardings).map(entry).collect()
    }

    fn city(more: &str) -> TariffSet {
        let tariff = Tariff::parse_in(CITY, Some(more), &gtfs::zone_offsets);
        TariffSet::new(tariff.unwrap_or_else(|found| panic!("{found:#?}")))
    }

    #[test]
    fn a_card_is_replayed_under_a_tariff_that_it_never_rode_under() {
        let (plain, capped) = (
            city("transfer = []\nexample = []"),
            city(
                "transfer = []\nexample = []\ncap = [{ number = 1, id = \"day\", period = \"day\", \
                 levels = [{ price = \"2.00\" }] }]",
            ),
        );
        let known = [Tariff::parse(CITY).unwrap()];
        let of = |set: &TariffSet| replay(set, &known, &history(4)).unwrap().minor();
        let single = replay(&plain, &known, &history(1)).unwrap().minor();
        assert_eq!((of(&plain), of(&capped)), (4 * single, 200.min(4 * single)));
    }

    #[test]
    fn a_card_is_compared_in_the_currency_of_its_purse_and_few_of_one_are_not_shown() {
        let franc = Currency::parse("CHF").unwrap();
        let rates = |rate: &str| {
            let rates = format!("rates = [{{ from = 2026-01-01, rate = \"{rate}\" }}]");
            city(&format!("[[exchange]]\ncurrency = \"CHF\"\nrounding = \"down\"\n{rates}"))
        };
        let known = [Tariff::parse(CITY).unwrap()];
        let mut card = history(2);
        for (transaction, _) in card.values_mut() {
            transaction.purse = Some(franc);
        }
        let of = |set: &TariffSet| replay(set, &known, &card).unwrap();
        let (from, to) = (of(&rates("0.9432")), of(&rates("0.5")));
        assert_eq!((from, to), (Money::new(2 * 141, franc), Money::new(2 * 75, franc)));
        assert_eq!(replay(&city(""), &known, &card), None, "no rate is no price");
        let mut tallies = Tallies::new(Currency::parse("EUR").unwrap());
        let dirham = Money::new(100, Currency::parse("AED").unwrap());
        for n in 1..=FEW {
            tallies.of(purse(&card)).add(Some((from, to))).unwrap();
            if n > 1 {
                tallies.of(Some(dirham.currency())).add(Some((dirham, dirham))).unwrap();
            }
        }
        let report = tallies.report(FEW);
        assert_eq!((report.compared, report.not_shown), (0, FEW - 1));
        let [francs] = report.purses.as_slice() else { panic!("{report:?}") };
        assert_eq!((francs.currency, francs.compared), ("CHF", FEW));
        assert_eq!((&*francs.from_total, &*francs.to_total), ("14.10", "7.50"));
    }

    #[test]
    fn sums_count_everybody_and_a_list_no_few() {
        let currency = Currency::parse("EUR").unwrap();
        let euro = |cents| Money::new(cents, currency);
        let mut tally = Tally::new(currency);
        for _ in 0..5 {
            tally.add(Some((euro(200), euro(150)))).unwrap();
        }
        tally.add(Some((euro(200), euro(900)))).unwrap();
        tally.add(None).unwrap();
        let report = tally.report(FEW);
        assert_eq!((report.compared, report.not_priced), (7, 1));
        assert_eq!((report.pay_more, report.pay_less, report.pay_the_same), (1, 5, 0));
        assert_eq!((&*report.from_total, &*report.to_total), ("12.00", "16.50"));
        let listed: Vec<_> =
            report.by_difference.iter().map(|s| (&*s.difference, s.count)).collect();
        assert_eq!(listed, [("-0.50", 5)]);
    }
}
