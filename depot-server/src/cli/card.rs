//! `depot-server card …`: the desk on the command line. `docs/card-desk.md` is its manual.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Args, Subcommand, ValueEnum};
use clearing::Taken;
use model::{CardId, Currency, Money, RiderClass, StationId, ValidUntil};
use reader::FileCard;

use super::{ConfigPath, commands, done, inspect, inspect::record_word, quota, rekey, say, warn};
use crate::{
    claims::visitor_end,
    clock::Clock,
    config::{Config, open_card_keys},
    desk::{Cash, Done, Hand, ReaderName, Station, WantedIssue, written},
    server::load_rules,
    store::Store,
};

pub(super) type Exit = anyhow::Result<ExitCode>;

/// What can be done with cards.
#[derive(Debug, Subcommand)]
pub(super) enum Cards {
    /// Make a card of ours out of a blank one, or finish one that was pulled away.
    Issue {
        #[command(flatten)]
        desk: Desk,
        /// Opening value, paid in cash.
        #[arg(long, default_value = "0")]
        balance: String,
        /// The currency of the card's value for its life, and of all amounts here, such as CHF: one
        /// for which the tariff has a rate. The tariff's own without it.
        #[arg(long)]
        currency: Option<String>,
        /// Who issues it: one of the [[issuer]] of the configuration; `desk.issuer` without it.
        #[arg(long)]
        issuer: Option<u16>,
        /// A card for a visitor: category, deposit and end as `[visitor]` says.
        #[arg(long, conflicts_with_all = ["class", "valid_until", "deposit"])]
        visitor: bool,
        #[command(flatten)]
        form: Form,
    },
    /// Put value on a card, against cash and within the station's quota, with what its holder is
    /// owed.
    Load {
        #[command(flatten)]
        desk: Desk,
        /// How much cash, such as 20.00, in the currency of the card.
        #[arg(long, required_unless_present = "adjustments_only")]
        amount: Option<String>,
        /// Which cash was taken: a card in another currency is refused.
        #[arg(long, requires = "amount")]
        currency: Option<String>,
        /// Take no cash: only what the holder is owed for fares that were charged too high.
        #[arg(long, conflicts_with = "amount")]
        adjustments_only: bool,
    },
    /// Print what is on a card, and what does not fit together. Changes nothing.
    Inspect {
        #[command(flatten)]
        desk: Desk,
    },
    /// Give a card the current versions of its keys, when it has older ones.
    #[command(after_help = rekey::EXAMPLE)]
    Rekey {
        #[command(flatten)]
        desk: Desk,
    },
    /// Take a card out of use, with the value that is left on it.
    Retire {
        #[command(flatten)]
        desk: Desk,
        /// Where the value goes.
        #[arg(long, value_enum, default_value_t = ValueTo::Cash)]
        value: ValueTo,
        /// Retire it although a journey is open, which is then not charged.
        #[arg(long)]
        despite_journey: bool,
    },
    /// Issue a blank card with the value due for a retired or lost one.
    Replace {
        #[command(flatten)]
        desk: Desk,
        /// The old card: the UID's 7 bytes as 14 hexadecimal digits.
        old: CardId,
        /// The old card is gone: report it lost now, or give its value out once the hold is over.
        #[arg(long)]
        lost: bool,
        #[command(flatten)]
        form: Form,
    },
    /// What stations may put on cards.
    #[command(subcommand)]
    Quota(quota::Quota),
    /// List operations of which nobody knows yet whether they happened.
    InDoubt {
        #[command(flatten)]
        config: ConfigPath,
        /// Show whole card numbers.
        #[arg(long)]
        number: bool,
    },
    /// Make the image of a blank virtual card, to practise with.
    Blank {
        /// The file to make.
        file: PathBuf,
        /// Its number: 14 hexadecimal digits; random without it.
        #[arg(long)]
        uid: Option<CardId>,
    },
    /// Open the books of a card that was issued elsewhere.
    Register {
        #[command(flatten)]
        config: ConfigPath,
        /// Its number: the UID's 7 bytes as 14 hexadecimal digits.
        card: CardId,
        /// Its opening record, 64 hexadecimal digits, as the issuing tool prints it.
        record: String,
        /// The currency of its purse, such as CHF, where its profile names another than the
        /// tariff's.
        #[arg(long)]
        purse: Option<String>,
        /// Who issued it, when that is not the first [[issuer]].
        #[arg(long)]
        issuer: Option<u16>,
    },
}

/// What every command at a reader takes.
#[derive(Debug, Args)]
pub(super) struct Desk {
    #[command(flatten)]
    pub(super) config: ConfigPath,
    /// The reader: `pn532:/dev/ttyUSB0[:BAUD]`, `libnfc:CONNSTRING` or `virtual:FILE`.
    #[arg(long)]
    pub(super) reader: ReaderName,
    /// Seconds to wait for a card.
    #[arg(long, default_value_t = 30)]
    pub(super) wait: u64,
    /// As JSON.
    #[arg(long)]
    pub(super) json: bool,
    /// Show the whole card number; without it only the last two bytes are shown.
    #[arg(long)]
    pub(super) number: bool,
}

/// What a new card is.
#[derive(Debug, Args)]
pub(super) struct Form {
    /// Rider category, by its number in the tariff (0 is adult).
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=15))]
    class: u8,
    /// Last month or day of validity, such as 2031-12 or 2026-12-24; without it there is no end.
    #[arg(long)]
    valid_until: Option<String>,
    /// How far the value may fall below zero, such as 3.00.
    #[arg(long, default_value = "0")]
    negative_limit: String,
    /// Deposit paid for the card, such as 5.00.
    #[arg(long, default_value = "0")]
    deposit: String,
    /// Leave out the file that counts towards fare caps: for validators that do not know it yet.
    #[arg(long)]
    no_counters: bool,
}

/// Where the value of a retired card goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ValueTo {
    /// Paid out in cash.
    Cash,
    /// Onto another card, with `card replace`.
    AnotherCard,
    /// Nowhere: kept by the issuer until it is claimed.
    Keep,
}

/// Runs a command.
pub(super) fn run(command: Cards) -> Exit {
    match command {
        Cards::Issue { desk, balance, currency, issuer, visitor, form } => {
            let config = Config::load(&desk.config.config)?;
            let station = station_of(&config, issuer)?;
            let purse = match currency {
                None => None,
                Some(letters) => station.purse_for(named(&letters)?)?,
            };
            let balance = amount(station.currency(purse), "--balance", &balance)?;
            let wanted = form.wanted(station.currency(purse), balance)?;
            let wanted = WantedIssue { purse, ..wanted };
            let wanted = if visitor { for_visitor(&config, &station, wanted)? } else { wanted };
            at_reader(&desk, &station, async |station, hand| {
                Ok(station.issue(hand, &wanted, None).await?)
            })
        }
        Cards::Load { desk, amount, currency, adjustments_only: _ } => {
            let station = station(&desk.config.config)?;
            let currency = currency.as_deref().map(named).transpose()?;
            let cash = match &amount {
                None => Cash::Minor(0),
                Some(text) if text.bytes().all(|byte| matches!(byte, b'0' | b'.')) => {
                    bail!("--amount {text} loads nothing: say how much, or --adjustments-only")
                }
                Some(text) => {
                    might_be_cash(&station, text, currency)?;
                    Cash::Written { text, currency }
                }
            };
            at_reader(&desk, &station, async |station, hand| Ok(station.load(hand, cash).await?))
        }
        Cards::Retire { desk, value, despite_journey } => {
            let station = station(&desk.config.config)?;
            let value = match value {
                ValueTo::Cash => Taken::PaidOut,
                ValueTo::AnotherCard => Taken::ForAnotherCard,
                ValueTo::Keep => Taken::Held,
            };
            at_reader(&desk, &station, async |station, hand| {
                Ok(station.retire(hand, value, despite_journey).await?)
            })
        }
        Cards::Replace { desk, old, lost, form } => {
            let config = Config::load(&desk.config.config)?;
            let station = station_of(&config, None)?;
            // What the old card holds is owed by whoever issued it.
            let issuer = config.issuer_number(station.issuer_of(old)?);
            let station = station_of(&config, Some(issuer))?;
            let purse = station.purse_of(old)?;
            let wanted = form.wanted(station.currency(purse), 0)?;
            let wanted = WantedIssue { purse, ..wanted };
            // A card that is due nothing may still have one begun for it: the card will tell.
            let begun = station.store.op_in_place_of(old)?.is_some_and(|op| op.happened.is_none());
            if !begun {
                let due = station.check_due(old, lost)?;
                warn(&format!("{due} is due for card {old}: it goes onto the blank card"));
            }
            at_reader(&desk, &station, async |station, hand| {
                Ok(station.issue(hand, &wanted, Some(old)).await?)
            })
        }
        Cards::Inspect { desk } => inspect::inspect(&desk),
        Cards::Rekey { desk } => rekey::rekey(&desk),
        Cards::Quota(command) => quota::run(command),
        Cards::InDoubt { config, number } => in_doubt(&config.config, number),
        Cards::Blank { file, uid } => blank(&file, uid),
        Cards::Register { config, card, record, purse, issuer } => {
            commands::register(&config.config, card, &record, (purse.as_deref(), issuer))
        }
    }
}

pub(super) fn station(path: &Path) -> anyhow::Result<Station> {
    station_of(&Config::load(path)?, None)
}

/// A desk that issues for this issuer; for `desk.issuer` without one.
fn station_of(config: &Config, issuer: Option<u16>) -> anyhow::Result<Station> {
    let issuer = issuer.unwrap_or(config.desk.issuer);
    let issuer_id = config.issuer(issuer)?;
    let keys = open_card_keys(&config.keys)?;
    let clock = Clock::system();
    let store = Arc::new(Store::open(&config.database)?);
    store.note_issuers(&config.issuers)?;
    let rules = Arc::new(load_rules(config, &store, &clock)?);
    let balance_max = match config.desk.balance_max.as_str() {
        "" => None,
        text => Some(
            Money::parse(text, rules.currency())
                .with_context(|| format!("desk.balance_max = {text:?} is no amount"))?,
        ),
    };
    Ok(Station {
        id: StationId(config.desk.station),
        store,
        rules,
        keys,
        clock,
        issuer,
        issuer_id,
        balance_max,
        hold: Duration::from_secs(u64::from(config.desk.lost_hold_hours) * 3600),
    })
}

/// A visitor's card: it ends with its last day.
fn for_visitor(
    config: &Config,
    station: &Station,
    wanted: WantedIssue,
) -> anyhow::Result<WantedIssue> {
    let visitor = &config.visitor;
    let now = station.clock.now();
    let end = visitor_end(station.rules.tariffs().card_day(now), visitor.days);
    let valid_until = end.context("visitor.days: the card would end after 2046-03")?;
    warn(&format!("the card is valid to the end of {valid_until}"));
    let deposit = amount(station.currency(wanted.purse), "visitor.deposit", &visitor.deposit)?;
    Ok(WantedIssue { class: RiderClass(visitor.class), valid_until, deposit, ..wanted })
}

fn amount(currency: Currency, option: &str, text: &str) -> anyhow::Result<u32> {
    written(text, currency).with_context(|| {
        let such = Money::new(20 * 10_i64.pow(currency.exponent().into()), currency).decimal();
        format!("{option} {text:?} is no amount in {currency}: write such as {such}")
    })
}

/// The card will tell its currency. What is an amount in none that is taken is refused before.
fn might_be_cash(station: &Station, text: &str, currency: Option<Currency>) -> anyhow::Result<()> {
    let tariff = station.rules.tariffs().newest();
    let others = tariff.terms().exchanges.iter().map(fare::Exchange::currency);
    let mut taken = [tariff.currency()].into_iter().chain(others);
    match currency {
        None if taken.any(|currency| written(text, currency).is_ok()) => Ok(()),
        currency => amount(currency.unwrap_or(tariff.currency()), "--amount", text).map(|_| ()),
    }
}

pub(super) fn named(letters: &str) -> anyhow::Result<Currency> {
    Currency::parse(letters).with_context(|| format!("--currency {letters} cannot be used"))
}

impl Form {
    fn wanted(&self, currency: Currency, balance: u32) -> anyhow::Result<WantedIssue> {
        Ok(WantedIssue {
            balance,
            class: RiderClass(self.class),
            valid_until: match &self.valid_until {
                None => ValidUntil::Always,
                Some(text) => text.parse().with_context(|| format!("--valid-until {text:?}"))?,
            },
            negative_limit: amount(currency, "--negative-limit", &self.negative_limit)?,
            deposit: amount(currency, "--deposit", &self.deposit)?,
            counters: !self.no_counters,
            purse: None,
        })
    }
}

pub(super) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")
}

/// Does something with the card on the reader and says what was done.
fn at_reader(
    desk: &Desk,
    station: &Station,
    work: impl AsyncFnOnce(&Station, &mut Hand) -> anyhow::Result<Done>,
) -> Exit {
    let done = runtime()?.block_on(async {
        let patience = Duration::from_secs(desk.wait);
        let mut hand = Hand::open(&desk.reader, patience, warn).await?;
        let done = work(station, &mut hand).await;
        hand.close().await;
        done
    })?;
    done::tell(&done, &number(done.card, desk.number), desk.json);
    if done.begun_before {
        warn("it was begun by an earlier command; nothing more was done now");
    }
    Ok(ExitCode::SUCCESS)
}

pub(super) fn number(card: CardId, whole: bool) -> String {
    if whole { card.to_hex() } else { card.to_string() }
}

pub(super) fn books(path: &Path) -> anyhow::Result<(Config, Store, Currency)> {
    let config = Config::load(path)?;
    let store = Store::open(&config.database)?;
    let currency = load_rules(&config, &store, &Clock::system())?.currency();
    Ok((config, store, currency))
}

fn in_doubt(path: &Path, whole: bool) -> Exit {
    let (_, store, currency) = books(path)?;
    for op in store.all_open_ops()? {
        let written = op.entry.written();
        say(&format!(
            "operation {}: {} of {} on card {}, begun at station {}",
            op.entry.op,
            record_word(written.kind),
            Money::new(i64::from(written.amount), op.entry.purse.unwrap_or(currency)),
            number(op.entry.card, whole),
            op.entry.station
        ));
    }
    Ok(ExitCode::SUCCESS)
}

fn blank(file: &Path, uid: Option<CardId>) -> Exit {
    let mut random = [0; 23];
    getrandom::fill(&mut random).context("the operating system gives no random bytes")?;
    let (seed, tail) = random.split_first_chunk::<16>().expect("23 bytes hold 16");
    let drawn = CardId([4, tail[0], tail[1], tail[2], tail[3], tail[4], tail[5]]);
    let uid = uid.unwrap_or(drawn);
    FileCard::create(file, uid, *seed)
        .with_context(|| format!("cannot make {}: it must not exist yet", file.display()))?;
    say(&format!("{} is a blank virtual card, number {}", file.display(), uid.to_hex()));
    Ok(ExitCode::SUCCESS)
}
