//! `depot-server account …`: credit accounts, whose cards ride first and are paid for afterwards.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use clearing::{CreditId, CreditKind, CreditTerms};
use model::{CardId, ChannelId, Currency, Money, Timestamp};

use super::{ConfigPath, account_lists, commands::workplace, say, warn};
use crate::{
    config::Config,
    credit::{self, Opening, bill_of},
    intake::Workplace,
};

const AFTER: &str = "\
Examples:
  depot-server account open --kind post-paid --holder C-4711 --channel 9 --limit 100.00 \
--allowance 20.00 --below 5.00
  depot-server account link 1 04a1b2c3d4e5f6
  depot-server account show 1
  depot-server account collect --channel 9 > collect.csv
  depot-server account paid 1 --amount 37.50 --channel 9 --reference account-1-4
  depot-server account failed account-1-4 --why 'no cover'
  depot-server account dunning

Exit codes: 0 done · 1 failed · 2 usage · 69 the books are unavailable · 78 configuration";

#[derive(Debug, Subcommand)]
#[command(after_help = AFTER)]
pub(super) enum Accounts {
    /// Open an account; prints its number.
    Open(Open),
    /// Agree on other terms; what is not named stays.
    Agree(Agree),
    /// Give an account cards. What is on them counts as paid to it.
    Link(Members),
    /// Take cards from an account. What is left on them becomes its debt.
    Unlink(Members),
    /// End a period now, and make its bill.
    Bill {
        #[command(flatten)]
        config: ConfigPath,
        /// Which account.
        account: u32,
    },
    /// List what a channel has to collect as CSV: bills that are not paid.
    Collect {
        #[command(flatten)]
        config: ConfigPath,
        /// Which channel.
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
        channel: u16,
        /// Those that could not be collected before, instead of the others.
        #[arg(long)]
        failed: bool,
    },
    /// Take a payment. Told again, it is the same payment.
    Paid(Payment),
    /// Say that a bill cannot be collected: it is past due at once.
    Failed {
        #[command(flatten)]
        config: ConfigPath,
        /// Its reference, as `account collect` gave it.
        reference: String,
        /// The channel's word for it.
        #[arg(long, default_value = "")]
        why: String,
    },
    /// List the accounts, with what is on their cards and what is owed.
    List(Listed),
    /// List accounts that have not paid in time, with what comes next and when.
    Dunning(Listed),
    /// Show one account: cards, bills, payments, and every charge with its taps.
    Show {
        #[command(flatten)]
        config: ConfigPath,
        /// Which account.
        account: u32,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(super) struct Listed {
    #[command(flatten)]
    pub(super) config: ConfigPath,
    /// As JSON; else CSV.
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Open {
    #[command(flatten)]
    config: ConfigPath,
    /// linked (collected each day) or post-paid (billed each period).
    #[arg(long)]
    kind: String,
    /// The holder's number in your customers' file: no name.
    #[arg(long)]
    holder: String,
    /// Who collects, or takes payments: 1 to 65535.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    channel: u16,
    /// The currency of its cards, such as CHF; the tariff's without it.
    #[arg(long)]
    currency: Option<String>,
    /// No refill takes what the account can cost above this, such as 100.00.
    #[arg(long)]
    limit: String,
    /// A card is filled up to this, such as 20.00.
    #[arg(long)]
    allowance: String,
    /// Whenever the books see less than this on it, such as 5.00.
    #[arg(long)]
    below: String,
    #[command(flatten)]
    days: Days,
}

#[derive(Debug, Args)]
#[expect(clippy::struct_field_names, reason = "they are the options' names")]
struct Days {
    /// A bill covers so many days; linked 1, post-paid 30 without it.
    #[arg(long)]
    period_days: Option<u16>,
    /// It is due so many days after it was made; linked 3, post-paid 14 without it.
    #[arg(long)]
    due_days: Option<u16>,
    /// Refills stop so many days after the warning; 7 without it.
    #[arg(long)]
    stop_days: Option<u16>,
    /// Cards are proposed for the hotlist as grey so many days after it; 14 without it.
    #[arg(long)]
    grey_days: Option<u16>,
    /// Cards are proposed as black so many days after it; 90 without it.
    #[arg(long)]
    black_days: Option<u16>,
}

#[derive(Debug, Args)]
pub(super) struct Agree {
    #[command(flatten)]
    config: ConfigPath,
    /// Which account.
    account: u32,
    /// No refill takes what the account can cost above this.
    #[arg(long)]
    limit: Option<String>,
    /// A card is filled up to this.
    #[arg(long)]
    allowance: Option<String>,
    /// Whenever the books see less than this on it.
    #[arg(long)]
    below: Option<String>,
    #[command(flatten)]
    days: Days,
}

#[derive(Debug, Args)]
pub(super) struct Members {
    #[command(flatten)]
    config: ConfigPath,
    /// Which account.
    account: u32,
    /// The cards' numbers.
    #[arg(required = true)]
    cards: Vec<CardId>,
}

#[derive(Debug, Args)]
pub(super) struct Payment {
    #[command(flatten)]
    config: ConfigPath,
    /// Which account.
    account: u32,
    /// How much, such as 37.50; below zero: taken back.
    #[arg(long, allow_hyphen_values = true)]
    amount: String,
    /// Who took it: 1 to 65535.
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..))]
    channel: u16,
    /// The channel's own number of the payment; of a bill, what `account collect` gave.
    #[arg(long)]
    reference: String,
    /// When it was paid, RFC 3339; now without it.
    #[arg(long)]
    paid_at: Option<jiff::Timestamp>,
}

pub(super) fn run(command: Accounts) -> anyhow::Result<ExitCode> {
    match command {
        Accounts::Open(command) => open(&command),
        Accounts::Agree(command) => agree(&command),
        Accounts::Link(command) => link(&command),
        Accounts::Unlink(command) => unlink(&command),
        Accounts::Bill { config, account } => bill(&config, CreditId(account)),
        Accounts::Paid(command) => paid(&command),
        Accounts::Failed { config, reference, why } => failed(&config, &reference, &why),
        Accounts::Collect { config, channel, failed } => {
            account_lists::collect(&config, ChannelId(channel), failed)
        }
        Accounts::List(listed) => account_lists::list(&listed),
        Accounts::Dunning(listed) => account_lists::dunning(&listed),
        Accounts::Show { config, account, json } => {
            account_lists::show(&config, CreditId(account), json)
        }
    }
}

impl Days {
    fn onto(&self, of: CreditTerms) -> CreditTerms {
        CreditTerms {
            period_days: self.period_days.unwrap_or(of.period_days),
            due_days: self.due_days.unwrap_or(of.due_days),
            stop_days: self.stop_days.unwrap_or(of.stop_days),
            grey_days: self.grey_days.unwrap_or(of.grey_days),
            black_days: self.black_days.unwrap_or(of.black_days),
            ..of
        }
    }
}

fn minor(text: &str, currency: Currency) -> anyhow::Result<u32> {
    let amount = Money::parse(text, currency)?;
    u32::try_from(amount.minor()).with_context(|| format!("{text}: use an amount above zero"))
}

fn open(command: &Open) -> anyhow::Result<ExitCode> {
    let config = Config::load(&command.config.config)?;
    let place = workplace(&config)?;
    let Some(kind) = CreditKind::from_word(&command.kind) else {
        bail!("--kind {}: use linked or post-paid", command.kind);
    };
    let tariffs = place.rules.currency();
    let currency = command.currency.as_deref().map_or(Ok(tariffs), Currency::parse)?;
    let (period_days, due_days) = match kind {
        CreditKind::Linked => (1, 3),
        CreditKind::PostPaid => (30, 14),
    };
    let agreed = CreditTerms {
        limit: minor(&command.limit, currency)?,
        allowance: minor(&command.allowance, currency)?,
        below: minor(&command.below, currency)?,
        period_days,
        due_days,
        stop_days: 7,
        grey_days: 14,
        black_days: 90,
    };
    let id = credit::open(
        &place,
        &Opening {
            kind,
            holder: command.holder.clone(),
            channel: ChannelId(command.channel),
            purse: (currency != tariffs).then_some(currency),
            terms: command.days.onto(agreed),
        },
    )?;
    say(&format!("account {id}"));
    remind(&config);
    Ok(ExitCode::SUCCESS)
}

/// What an account does not work without.
fn remind(config: &Config) {
    if !config.orders.enabled {
        warn("[orders] enabled = false: validators are given no orders, so nothing is refilled");
    }
    if !config.hotlist.rules.iter().any(|rule| rule == "debt") {
        warn("[hotlist] rules: without \"debt\" no card is proposed when its account does not pay");
    }
}

fn agree(command: &Agree) -> anyhow::Result<ExitCode> {
    let place = workplace(&Config::load(&command.config.config)?)?;
    let id = CreditId(command.account);
    let known = credit::state(&place, id)?.account;
    let currency = known.currency(place.rules.currency());
    let amount = |text: &Option<String>, was: u32| {
        text.as_deref().map_or(Ok(was), |text| minor(text, currency))
    };
    let terms = CreditTerms {
        limit: amount(&command.limit, known.terms.limit)?,
        allowance: amount(&command.allowance, known.terms.allowance)?,
        below: amount(&command.below, known.terms.below)?,
        ..command.days.onto(known.terms)
    };
    credit::agree(&place, id, terms)?;
    say("agreed");
    Ok(ExitCode::SUCCESS)
}

fn link(command: &Members) -> anyhow::Result<ExitCode> {
    let config = Config::load(&command.config.config)?;
    let place = workplace(&config)?;
    let id = CreditId(command.account);
    for card in &command.cards {
        credit::link(&place, id, *card)?;
        say(&format!("card {} belongs to account {id}", card.to_hex()));
    }
    remind(&config);
    Ok(ExitCode::SUCCESS)
}

fn unlink(command: &Members) -> anyhow::Result<ExitCode> {
    let place = workplace(&Config::load(&command.config.config)?)?;
    let id = CreditId(command.account);
    let state = credit::state(&place, id)?;
    for card in &command.cards {
        let left = state.money(credit::unlink(&place, id, *card)?);
        let card = card.to_hex();
        say(&format!("card {card} is its holder's; {left} on it became the account's debt"));
    }
    Ok(ExitCode::SUCCESS)
}

fn bill(config: &ConfigPath, id: CreditId) -> anyhow::Result<ExitCode> {
    let place = workplace(&Config::load(&config.config)?)?;
    let state = credit::state(&place, id)?;
    match credit::bill(&place, id)? {
        Some(bill) => say(&format!(
            "bill {} over {}, to be paid by {}: {}",
            bill.number,
            state.money(bill.amount),
            bill.due_on,
            credit::bill_reference(id, bill.number),
        )),
        None => say("nothing to bill"),
    }
    Ok(ExitCode::SUCCESS)
}

fn paid(command: &Payment) -> anyhow::Result<ExitCode> {
    let place = workplace(&Config::load(&command.config.config)?)?;
    let id = CreditId(command.account);
    let before = credit::state(&place, id)?;
    let amount = Money::parse(&command.amount, before.line.currency())?;
    let paid_at = match command.paid_at {
        Some(at) => Timestamp(u64::try_from(at.as_millisecond())?),
        None => place.clock.now(),
    };
    let of = (ChannelId(command.channel), command.reference.trim());
    credit::paid(&place, id, of, amount.minor(), paid_at)?;
    told(&place, id)
}

fn failed(config: &ConfigPath, reference: &str, why: &str) -> anyhow::Result<ExitCode> {
    let place = workplace(&Config::load(&config.config)?)?;
    let Some((id, number)) = bill_of(reference) else {
        bail!("{reference:?} is no bill: they are called account-1-4, see `account collect`");
    };
    credit::failed(&place, id, number, why)?;
    told(&place, id)
}

/// How the account stands now.
fn told(place: &Workplace, id: CreditId) -> anyhow::Result<ExitCode> {
    let state = credit::state(place, id)?;
    let (owed, level) = (state.money(state.account.debt()), state.account.dunning.word());
    let past_due = state.past_due.map_or(0, |past| past.amount);
    let past_due = state.money(past_due);
    say(&format!("account {id} owes {owed}, {past_due} of it past due: {level}"));
    Ok(ExitCode::SUCCESS)
}
