//! The command line: what can be asked of the program, and how it answers.
//!
//! Data goes to stdout, messages to stderr. Exit codes: 0 done, 1 failed or something was found,
//! 2 usage, 69 a service or a reader is unavailable, 75 a card operation is in doubt or
//! not all keys of a card are changed, 78 configuration.

mod account;
mod account_lists;
mod auto;
mod bulk;
mod card;
mod channels;
mod commands;
mod correct;
mod days;
mod desired;
mod done;
mod drain;
mod export;
mod fares;
mod hotlist;
mod inspect;
mod keys;
mod list_keys;
mod orders;
mod quarantine;
mod quota;
mod receipt;
mod rekey;
mod release;
mod settings;
mod settle;
mod tickets;

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
    process::ExitCode,
};

use crate::{
    config::{ConfigError, KeyError},
    desk::DeskError,
    server::{OpenError, RunError},
    store::StoreError,
};
use clap::{Args, Parser, Subcommand};
use model::ValidatorId;
use tracing_subscriber::EnvFilter;

const EX_UNAVAILABLE: u8 = 69;
const EX_TEMPFAIL: u8 = 75;
const EX_CONFIG: u8 = 78;

const AFTER: &str = "\
Examples:
  depot-server init                          make the key files that are missing
  depot-server fares check --tariff city.toml
  depot-server fares price --gtfs city.zip < journeys.jsonl
  depot-server validator enrol v000042 5f3a… --name 'Line 7, bus 3'
  depot-server serve
  depot-server user add ana                  print a one-time login link
  depot-server card load --reader pn532:/dev/ttyUSB0 --amount 20.00
  depot-server order pay --card 04a1b2c3d4e5f6 --amount 20.00 --channel 7 --reference R-1
  depot-server hotlist approve 17 --by ana   refuse a card that was proposed
  depot-server desired out v000042 --for 2h --by ana --reason 'Being repaired'
  depot-server channel match --channel 7 2026-11-25.csv
  depot-server ticket issue --network --price 2.40 --qr terminal
  depot-server close --day 2026-11-22        close a service day; again: the same document
  depot-server settle --day 2026-11-22       what each operator gets of it
  depot-server verify --from-journal         book everything again and compare

Exit codes: 0 done · 1 failed, or something was found · 2 usage · 69 a service or reader is \
unavailable · 75 a card operation is in doubt · 78 configuration";

/// Takes the taps of a transit fleet, books them, and shows the books.
#[derive(Debug, Parser)]
#[command(name = "depot-server", version, after_help = AFTER)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Args)]
struct ConfigPath {
    /// The configuration file.
    #[arg(long, default_value = "/etc/tapline/depot.toml")]
    config: PathBuf,
}

#[derive(Debug, Args)]
struct Who {
    /// Who decides.
    #[arg(long)]
    by: String,
    /// Why, for whoever is asked.
    #[arg(long)]
    reason: String,
}

/// To whom else a roll-out goes.
#[derive(Debug, Args)]
struct More {
    /// One more validator that gets it whatever the percent; may be given again.
    #[arg(long = "canary")]
    canaries: Vec<ValidatorId>,
    /// How many of the others, in percent; never fewer than before.
    #[arg(long, value_parser = clap::value_parser!(u8).range(0..=100))]
    percent: Option<u8>,
}

impl More {
    fn numbers(&self) -> Vec<u32> {
        self.canaries.iter().map(|id| id.number()).collect()
    }
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until told to stop (SIGINT or SIGTERM).
    Serve(ConfigPath),
    /// Make the key files that are missing; print the public key for the validators.
    Init(ConfigPath),
    /// Check the configuration and print every setting with its origin.
    CheckConfig(ConfigPath),
    /// Look at keys, tariffs, books, address and broker, and say what to do.
    Doctor(ConfigPath),
    /// Recompute hash chain, roots, signatures and balances, and say the first difference.
    Verify {
        #[command(flatten)]
        config: ConfigPath,
        /// Book everything again from the journal alone, and compare.
        #[arg(long)]
        from_journal: bool,
        /// Other books than the configuration's, such as a backup.
        #[arg(long)]
        db: Option<PathBuf>,
    },
    /// Close a service day, and every open one before it; of a closed one, make it again.
    Close(days::Close),
    /// Say what each operator earned, shares and gets of a closed day.
    Settle(settle::Settle),
    /// List taps of which nobody knows whether they happened, by age; end holds that are too old.
    InDoubt(days::InDoubt),
    /// Decide about money that nothing else decides: repay, attribute, write off, close, assign.
    #[command(subcommand)]
    Correct(correct::Correct),
    /// Print the ledger, or a closed day's taps and transfers, for other programs.
    #[command(subcommand)]
    Export(export::Export),
    /// Say what is held for holders of cards, and how long nobody has moved it.
    Float(receipt::FloatReport),
    /// Print the signed receipt of one tap of a closed day.
    Receipt(receipt::ReceiptOf),
    /// Copy the books into a new file, beside a running server.
    Backup(receipt::Backup),
    /// Put a copy in the place of the books.
    Restore(receipt::Restore),
    /// Check, compile and price fares of feeds and tariffs.
    #[command(subcommand)]
    Fares(fares::Fares),
    /// Validators that may hand in taps.
    #[command(subcommand)]
    Validator(Validators),
    /// The cards' master keys.
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// The keys that seal lists for the fleet.
    #[command(subcommand)]
    ListKeys(list_keys::ListKeys),
    /// Messages that could not be believed, and what is in them.
    #[command(subcommand)]
    Quarantine(quarantine::Quarantine),
    /// People who may look.
    #[command(subcommand)]
    User(Users),
    /// Issue, load, inspect, re-key, retire and replace cards at a reader.
    #[command(subcommand)]
    Card(card::Cards),
    /// Top-ups that were paid elsewhere, on their way to cards.
    #[command(subcommand)]
    Order(orders::Orders),
    /// Cards to refuse: proposals, decisions, the breaker.
    #[command(subcommand)]
    Hotlist(hotlist::Hotlist),
    /// Which validators are to take taps, and until when.
    #[command(subcommand)]
    Desired(desired::Desired),
    /// Software of validators: sign, add, plan, halt, look.
    #[command(subcommand)]
    Release(release::Release),
    /// What is set at validators from here, for all, for groups and for single ones.
    #[command(subcommand)]
    Settings(settings::Settings),
    /// Credit accounts: cards that ride first and are paid for afterwards.
    #[command(subcommand)]
    Account(account::Accounts),
    /// What channels hand in for the top-ups that they took.
    #[command(subcommand)]
    Channel(channels::Channels),
    /// Tickets that are shown as codes.
    #[command(subcommand)]
    Ticket(tickets::Tickets),
    /// Print the version.
    Version {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum Validators {
    /// Register a validator's public key.
    Enrol {
        #[command(flatten)]
        config: ConfigPath,
        /// Its id, such as v000042.
        id: ValidatorId,
        /// Its Ed25519 public key, 64 hexadecimal digits, as `validator keygen` prints it.
        public_key: String,
        /// What people call it.
        #[arg(long, default_value = "")]
        name: String,
        /// Replace the key of a validator that is enrolled.
        #[arg(long)]
        replace: bool,
    },
    /// Book the tap log of a validator that comes as a file of `validator journal export`.
    Drain {
        #[command(flatten)]
        config: ConfigPath,
        /// The file.
        file: PathBuf,
        /// Seconds to wait for the running server.
        #[arg(long, default_value_t = 60)]
        wait: u64,
    },
}

#[derive(Debug, Subcommand)]
enum Users {
    /// Print a login link that works once, for 15 minutes.
    Add {
        #[command(flatten)]
        config: ConfigPath,
        /// Who.
        name: String,
    },
}

/// Runs the program.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().init();
    }
    let done = match cli.command {
        Command::Serve(ConfigPath { config }) => commands::serve(&config),
        Command::Init(ConfigPath { config }) => commands::init(&config),
        Command::CheckConfig(ConfigPath { config }) => commands::check_config(&config),
        Command::Doctor(ConfigPath { config }) => commands::doctor(&config),
        Command::Verify { config, from_journal, db } => {
            commands::verify(&config.config, from_journal, db)
        }
        Command::Close(command) => days::close(&command),
        Command::Settle(command) => settle::run(&command),
        Command::InDoubt(command) => days::in_doubt(&command),
        Command::Correct(command) => correct::run(command),
        Command::Export(command) => export::run(&command),
        Command::Float(command) => receipt::held(&command),
        Command::Receipt(command) => receipt::print(&command),
        Command::Backup(command) => receipt::back_up(&command),
        Command::Restore(command) => receipt::restore(&command),
        Command::Fares(command) => fares::run(command),
        Command::Validator(Validators::Enrol { config, id, public_key, name, replace }) => {
            commands::enrol(&config.config, id, &public_key, &name, replace)
        }
        Command::Validator(Validators::Drain { config, file, wait }) => {
            drain::run(&config.config, &file, wait)
        }
        Command::Keys(command) => keys::run(command),
        Command::ListKeys(command) => list_keys::run(command),
        Command::Quarantine(command) => quarantine::run(command),
        Command::User(Users::Add { config, name }) => commands::add_user(&config.config, &name),
        Command::Card(command) => card::run(command),
        Command::Order(command) => orders::run(command),
        Command::Hotlist(command) => hotlist::run(command),
        Command::Desired(command) => desired::run(command),
        Command::Release(command) => release::run(command),
        Command::Settings(command) => settings::run(command),
        Command::Account(command) => account::run(command),
        Command::Channel(command) => channels::run(command),
        Command::Ticket(command) => tickets::run(command),
        Command::Version { json } => Ok(commands::version(json)),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            warn(&format!("error: {error:#}"));
            ExitCode::from(code_of(&error))
        }
    }
}

fn code_of(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<DeskError>() {
        Some(desk) if desk.try_again() => return EX_TEMPFAIL,
        Some(DeskError::Reader(_) | DeskError::Store(_)) => return EX_UNAVAILABLE,
        Some(DeskError::Keys(_)) => return EX_CONFIG,
        Some(_) | None => {}
    }
    let open = match error.downcast_ref::<RunError>() {
        Some(RunError::Open(open)) => Some(open),
        Some(RunError::Serve(_)) => return EX_UNAVAILABLE,
        None => error.downcast_ref::<OpenError>(),
    };
    match open {
        Some(OpenError::Store(_)) => EX_UNAVAILABLE,
        Some(_) => EX_CONFIG,
        None if error.is::<ConfigError>() || error.is::<KeyError>() => EX_CONFIG,
        None if error.is::<StoreError>() => EX_UNAVAILABLE,
        None => 1,
    }
}

/// Data, to stdout. A reader that has gone away is not our failure.
fn say(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A message, to stderr.
fn warn(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
