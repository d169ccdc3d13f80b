//! The command line: what can be asked of the program, and how it answers.
//!
//! Data goes to stdout, messages to stderr. Exit codes: 0 done, 1 failed or something was found,
//! 2 usage, 75 another release is to be started, 78 configuration.

mod journal;
mod papers;
mod selftest;
mod software;

use std::{
    collections::BTreeMap,
    fs,
    io::{IsTerminal, Write, stderr, stdout},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use crate::{
    attendant, card_show,
    clock::Clock,
    config::{Config, ConfigError},
    console,
    daemon::{Daemon, Parts, StartError, load_tariffs},
    doctor::{Finding, examine},
    keys::{self, DeviceKeys},
    lists::kept_settings,
    riders, simulate,
    store::Durability,
    supervision::{stopping, supervise},
};
use anyhow::Context;
use clap::{Parser, Subcommand};
use custody::CustodyError;
use reader::Reader;
use texts::Language;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// sysexits: the configuration is wrong.
const EX_CONFIG: u8 = 78;
/// Another release is to be started: systemd does it (ADR-0028).
const EX_ANOTHER: u8 = 75;
const DEFAULT_CONFIG: &str = "/etc/tapline/validator.toml";

const AFTER: &str = "\
Examples:
  validator keygen --signing /etc/tapline/signing.key
  validator doctor
  validator run --config validator.toml
  validator journal list --last 20
  validator journal verify --store /mnt/card/var/lib/tapline-validator
  validator journal export --store quarantine/store-1 --carve --out v000042.taps

Exit codes: 0 done · 1 failed, or something was found · 2 usage · 75 another release is to be \
started · 78 configuration";

/// Takes fares offline from smart cards and brings every tap to the depot.
#[derive(Debug, Parser)]
#[command(
    name = "validator",
    version,
    after_help = AFTER
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const SIMULATE_HELP: &str = concat!(
    "Nothing is needed: no reader, no card, no configuration, no network. The tap loop, the tap\n",
    "log, the card transactions and the fares are those of a real validator; its state is thrown\n",
    "away at the end.\n\n",
    "Keys:\n",
    "  1-9  hold a card to the reader: with credit, with little, a concession, a pass, blocked,\n",
    "       expired, pulled away too early, two at once, somebody else's\n",
    "  l    change the riders' language\n",
    "  s    change the display\n",
    "  q    quit\n\n",
    "Examples:\n",
    "  validator simulate\n",
    "  validator simulate --language ko --display 800x480\n",
    "  validator simulate --config /etc/tapline/validator.toml",
);

#[derive(Debug, Subcommand)]
enum Command {
    /// Take taps until told to stop.
    Run {
        /// The configuration file.
        #[arg(long, default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// What systemd runs: the release that is in force, or else this program.
    #[command(
        after_help = "Counts a start of a release on trial, and goes back to what ran before \
                            when it does not confirm itself."
    )]
    Start {
        /// The configuration file.
        #[arg(long, default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// Print which release runs, what became of plans, and the kind of this machine, as JSON.
    Release {
        /// The configuration file.
        #[arg(long, default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// Check the configuration and print it, defaults included.
    CheckConfig {
        /// The configuration file.
        #[arg(long, default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// Look at store, keys, tariff, clock, reader and broker, and say what to do.
    Doctor {
        /// The configuration file.
        #[arg(long, default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// Make taps of nobody's card through rules and tariff, and durable writes on the real disk;
    /// ask the reader; say how long each took.
    Selftest {
        /// The configuration file.
        #[arg(long, default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// Make key files; files that exist are never overwritten.
    Keygen {
        /// Where to write this validator's signing key; its public key is printed for the depot.
        #[arg(long)]
        signing: PathBuf,
        /// Where to write a random card key: only for trials, a fleet's comes from the depot.
        #[arg(long)]
        trial_card_key: Option<PathBuf>,
    },
    /// Choose who rides on the next card besides its holder, or ask who is chosen.
    #[command(after_help = "Examples:\n  validator companions child=2 adult=1\n  \
                            validator companions --clear")]
    Companions {
        /// So many riders of each category of the tariff, such as child=2; without any, ask.
        riders: Vec<String>,
        /// Take the choice back.
        #[arg(long, conflicts_with = "riders")]
        clear: bool,
        /// The configuration file that names the socket.
        #[arg(long, default_value = DEFAULT_CONFIG)]
        config: PathBuf,
        /// The socket, for those who may not read the configuration.
        #[arg(long)]
        socket: Option<PathBuf>,
    },
    /// Show the last result and how many were let through, live; never a card's number.
    Attendant {
        /// Print the view once, as JSON; so it does without a terminal too.
        #[arg(long)]
        once: bool,
        /// Count passengers from here.
        #[arg(long)]
        reset: bool,
        /// The language of the view, en or ko.
        #[arg(long, default_value = "en")]
        language: Language,
        /// The configuration file that names the socket.
        #[arg(long, default_value = DEFAULT_CONFIG)]
        config: PathBuf,
        /// The socket, for those who may not read the configuration.
        #[arg(long)]
        socket: Option<PathBuf>,
    },
    /// What a card says of itself, for the rider who holds it.
    #[command(subcommand)]
    Card(Cards),
    /// What the tap log says, read from a copy: looking changes nothing.
    #[command(subcommand)]
    Journal(journal::Command),
    /// Print the completions of a shell, or write the manual pages.
    #[command(subcommand)]
    Papers(papers::Papers),
    /// Try a validator in this terminal: tap virtual cards by key and see what riders see.
    #[command(after_help = SIMULATE_HELP)]
    Simulate(simulate::Options),
    /// Print the version.
    Version,
}

#[derive(Debug, Subcommand)]
enum Cards {
    /// Print the balance, the last taps and the validity of the card on the reader.
    Show {
        /// The configuration file.
        #[arg(long, default_value = DEFAULT_CONFIG)]
        config: PathBuf,
        /// Seconds to wait for a card.
        #[arg(long, default_value_t = 30)]
        wait: u64,
        /// Show the whole card number; without it only the last two bytes are shown.
        #[arg(long)]
        number: bool,
    },
}

/// Runs the program.
pub fn main() -> ExitCode {
    main_with(Durability::Synced)
}

/// The same with another choice than the program offers, for tests of real programs.
pub fn main_with(durability: Durability) -> ExitCode {
    let done = match Cli::parse().command {
        Command::Run { config } => run(&config, durability),
        Command::Start { config } => software::start(&config, durability),
        Command::Release { config } => software::show(&config),
        Command::CheckConfig { config } => check_config(&config),
        Command::Doctor { config } => doctor(&config),
        Command::Selftest { config } => selftest::run(&config),
        Command::Keygen { signing, trial_card_key } => keygen(&signing, trial_card_key.as_deref()),
        Command::Card(Cards::Show { config, wait, number }) => card_show(&config, wait, number),
        Command::Companions { riders, clear, config, socket } => {
            companions(&riders, clear, socket, &config)
        }
        Command::Journal(command) => journal::run(command),
        Command::Papers(command) => papers::run(command),
        Command::Attendant { once, reset, language, config, socket } => {
            attendant_view((once, reset), language, socket, &config)
        }
        Command::Simulate(options) => simulate::run(&options),
        Command::Version => say(&format!("validator {}", env!("CARGO_PKG_VERSION"))),
    };
    match done {
        Ok(code) => code,
        Err(e) => {
            let _ = writeln!(stderr(), "error: {e:#}");
            if is_configuration(&e) { ExitCode::from(EX_CONFIG) } else { ExitCode::FAILURE }
        }
    }
}

/// Whether the operator must correct a file before another start can help.
fn is_configuration(error: &anyhow::Error) -> bool {
    let start = matches!(
        error.downcast_ref(),
        Some(
            StartError::TariffFile { .. }
                | StartError::Tariff { .. }
                | StartError::Unknown { .. }
                | StartError::RouteMissing { .. }
        )
    );
    start || error.is::<ConfigError>() || error.is::<CustodyError>()
}

fn log() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_writer(stderr)
        .init();
}

fn run(path: &Path, durability: Durability) -> anyhow::Result<ExitCode> {
    log();
    serve(path, durability)
}

fn serve(path: &Path, durability: Durability) -> anyhow::Result<ExitCode> {
    let config = Config::load(path)?;
    let keys = DeviceKeys::load(&config.keys)?;
    let tariffs = load_tariffs(&config.tariff.files)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let done = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let reader = Reader::open_or_wait(&config.reader).await?;
        tracing::info!(validator = %config.validator.id, reader = reader.describe(), "starting");
        let clock = Clock::system().kept_by(config.validator.clock_kept_by);
        let screen = riders::screens(&config, tariffs.newest(), clock)?;
        let daemon = Daemon::start(Parts {
            config,
            keys,
            tariffs,
            reader,
            screen: Box::new(screen),
            clock,
            durability,
        })
        .await?;
        let done = tokio::select! {
            _ = interrupt.recv() => ExitCode::SUCCESS,
            _ = terminate.recv() => ExitCode::SUCCESS,
            () = daemon.left() => ExitCode::from(EX_ANOTHER),
            () = supervise(&daemon) => ExitCode::SUCCESS,
        };
        tracing::info!("stopping");
        stopping();
        tokio::select! {
            () = daemon.stop() => {}
            // A second signal does not wait; recovery is a tested path.
            _ = interrupt.recv() => {}
        }
        anyhow::Ok(done)
    })?;
    Ok(done)
}

fn check_config(path: &Path) -> anyhow::Result<ExitCode> {
    let own = Config::load(path)?;
    let text = fs::read_to_string(path)?;
    let kept = kept_settings(&own.state.folder, own.validator.id);
    let set = kept.and_then(|kept| {
        let set = kept.as_ref().map(|kept| own.set(kept)).transpose();
        Ok((set.map_err(|e| crate::chain(&e))?, kept))
    });
    let (config, kept, more) = match set {
        Err(problem) => (own, None, format!("; the depot's settings are not used: {problem}")),
        Ok((Some(config), Some(kept))) => {
            let more = format!("; the depot's settings {} outrank it", kept.number);
            (config, Some(kept), more)
        }
        Ok(_) => (own, None, String::new()),
    };
    let head = format!("# {}: what it does not say has a default{more}", path.display());
    say(format!("{head}\n{}", config.annotated(&text, kept.as_ref())).trim_end())
}

fn doctor(path: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::load(path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let checks = runtime.block_on(examine(&config));
    for check in &checks {
        say(&check.to_string())?;
    }
    let bad = checks.iter().any(|check| check.finding == Finding::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn card_show(path: &Path, wait: u64, number: bool) -> anyhow::Result<ExitCode> {
    let config = Config::load(path)?;
    let keys = keys::load_card(&config.keys.card)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(async {
        let mut reader = Reader::open(&config.reader).await.context(
            "the reader cannot be used; a validator that is running holds it: stop it first",
        )?;
        let read = card_show::read(&mut reader, keys.keys(), Duration::from_secs(wait)).await;
        reader.close().await;
        let (card, report) = read?;
        card_show::statement(card, &report, number)
    })?;
    say(text.trim_end())
}

fn console_socket(named: Option<PathBuf>, config: &Path) -> anyhow::Result<PathBuf> {
    let configured = || -> anyhow::Result<PathBuf> {
        let socket = Config::load(config)?.console.socket;
        socket.context("the configuration has no console.socket: add it and restart")
    };
    named.map_or_else(configured, Ok)
}

fn attendant_view(
    how: (bool, bool),
    language: Language,
    socket: Option<PathBuf>,
    config: &Path,
) -> anyhow::Result<ExitCode> {
    attendant::run(&console_socket(socket, config)?, how, language)?;
    Ok(ExitCode::SUCCESS)
}

fn companions(
    riders: &[String],
    clear: bool,
    socket: Option<PathBuf>,
    config: &Path,
) -> anyhow::Result<ExitCode> {
    let socket = console_socket(socket, config)?;
    let mut chosen = BTreeMap::new();
    for rider in riders {
        let pair = rider.split_once('=').and_then(|(id, n)| Some((id, n.parse::<u8>().ok()?)));
        let (id, n) =
            pair.with_context(|| format!("{rider:?}: write a category such as child=2"))?;
        let again = chosen.insert(id.to_owned(), n).is_some();
        anyhow::ensure!(!again, "{id} stands twice: write each category once");
    }
    let companions = (clear || !riders.is_empty()).then_some(chosen);
    let answer = console::request(&socket, &console::Line { companions, attendant: None })
        .with_context(|| {
            format!("no validator answers at {}: is it running, and may you?", socket.display())
        })?;
    match answer {
        console::Answer::Error { error } => anyhow::bail!(error),
        console::Answer::Attendant(_) => anyhow::bail!("the validator answered something else"),
        console::Answer::Chosen(chosen) => say(&serde_json::to_string(&chosen)?),
    }
}

fn keygen(signing: &Path, card: Option<&Path>) -> anyhow::Result<ExitCode> {
    let public = keys::generate_signing(signing)?;
    if let Some(card) = card {
        keys::generate_card(card)?;
    }
    say(&public)
}

fn say(text: &str) -> anyhow::Result<ExitCode> {
    writeln!(stdout(), "{text}")?;
    Ok(ExitCode::SUCCESS)
}
