//! `validator simulate`: a validator in a terminal. The tap loop, the store, the card transactions
//! and the tariff are those of a real one; the reader and the cards are in memory, and the rider's
//! display is drawn with half blocks. Nothing leaves this machine, and nothing of it stays.

mod cards;
mod seen;
mod view;

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use card::{Key, KeySet};
use clap::Args;
use ed25519_dalek::SigningKey;
use fare::{Tariff, TariffSet};
use gate::{GateConfig, GateKind};
use reader::{Reader, ReaderConfig, VirtualField};
use rider::Remote;
use texts::Language;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    clock::Clock,
    config::{self, Config},
    daemon::{Daemon, Parts, load_tariffs},
    keys::DeviceKeys,
    riders,
    store::Durability,
    terminal::{Key as Pressed, Terminal},
};
use cards::{Deck, Hand};
use seen::Watched;
use view::View;

/// The invented city of `cargo demo`, imported: tests/it/simulate.rs holds it to its feed.
const CITY: &str = include_str!("city.toml");

/// How long a card lies on the reader.
const HELD: Duration = Duration::from_millis(700);
/// How long the reader is empty before the next card, so that it is noticed.
const EMPTY: Duration = Duration::from_millis(200);
/// The terminal may have changed its size.
const LOOK: Duration = Duration::from_millis(100);

/// What the command line says.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Simulate the validator of this configuration: its tariff, place, route and language; not
    /// its state, keys, reader, broker and devices. Without it: bus 11 of an invented city.
    #[arg(long)]
    config: Option<PathBuf>,
    /// The riders' language, en or ko; the key l changes it.
    #[arg(long)]
    language: Option<Language>,
    /// The display that is simulated; the key s changes it.
    #[arg(long, value_enum, default_value = "320x240")]
    display: Display,
    /// How much faster than the real one the clock runs: at 60 a minute passes in a second, so
    /// that transfers and pass-back windows end while one looks.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3600))]
    speed: u32,
}

/// The displays that have golden images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Display {
    /// An OLED of one colour.
    #[value(name = "128x64")]
    Small,
    /// A small colour display.
    #[value(name = "320x240")]
    Middle,
    /// A display of seven inches.
    #[value(name = "800x480")]
    Large,
}

impl Display {
    const fn size(self) -> (u32, u32) {
        match self {
            Self::Small => (128, 64),
            Self::Middle => (320, 240),
            Self::Large => (800, 480),
        }
    }

    const fn next(self) -> Self {
        match self {
            Self::Small => Self::Middle,
            Self::Middle => Self::Large,
            Self::Large => Self::Small,
        }
    }
}

/// The program.
pub(crate) fn run(options: &Options) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        io::stdout().is_terminal() && io::stdin().is_terminal(),
        "validator simulate draws the rider's display on a terminal and reads keys from it; \
         standard input or output is none: run it in a terminal, without a pipe or a redirection"
    );
    let folder = tempfile::tempdir().context("cannot make a folder for the state")?;
    let (config, tariffs) = setting(options, folder.path())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(simulate(options, config, tariffs))?;
    Ok(ExitCode::SUCCESS)
}

/// The configuration and the tariffs that are simulated, with everything taken out of them that
/// touches the world.
fn setting(options: &Options, folder: &Path) -> anyhow::Result<(Config, TariffSet)> {
    let (mut config, tariffs) = if let Some(path) = &options.config {
        let config = Config::load(path)?;
        let tariffs = load_tariffs(&config.tariff.files)?;
        (config, tariffs)
    } else {
        let text = include_str!("sample.toml");
        let config = Config::parse(Path::new("the built-in configuration"), text)?;
        let tariff = Tariff::parse(CITY).map_err(|found| {
            let found: Vec<String> = found.iter().map(ToString::to_string).collect();
            anyhow::anyhow!("the built-in tariff: {}", found.join("\n"))
        })?;
        (config, TariffSet::new(tariff))
    };
    config.state = config::State::in_folder(folder.join("state"));
    config.reader = ReaderConfig::virtual_cards();
    // Nobody listens on the port of the discard service: the validator stays offline.
    config.broker.host = "127.0.0.1".into();
    (config.broker.port, config.broker.keep_alive_s, config.broker.tls) = (9, 1_200, None);
    config.scanner = None;
    // A real gate would open, and a real receiver move the stop.
    config.gate = config.gate.map(|gate| GateConfig {
        timeout_s: gate.timeout_s,
        ..GateConfig::of(GateKind::Simulated)
    });
    config.gnss = None;
    config.tickets = config::Tickets::default();
    config.release = config::Release::default();
    config.console = config::Console::default();
    config.metrics = config::Metrics::default();
    config.rider = rider::Settings { private: config.rider.private, ..Default::default() };
    if let Some(language) = options.language {
        config.validator.language = language;
    }
    // So that the card with little on it is told.
    config.rules.low_balance = config.rules.low_balance.max(cards::low_of(tariffs.newest()));
    Ok((config, tariffs))
}

async fn simulate(options: &Options, config: Config, tariffs: TariffSet) -> anyhow::Result<()> {
    let mut root = [0; 16];
    let mut signing = [0; 32];
    getrandom::fill(&mut root).and_then(|()| getrandom::fill(&mut signing))?;
    let (keys, signing) = (KeySet::from_root(&Key(root)), SigningKey::from_bytes(&signing));
    let clock = Clock::scaled(Clock::system().now(), options.speed);
    let tariff = tariffs.newest().clone();
    let deck = Deck::issue(&keys, &tariff, clock.now())?;
    let watched = Watched::new(config.validator.language);
    let view = View::new(&config, options.display.size());
    let mut panel = riders::panel(&config, &tariff, clock);
    watched.attach(&mut panel)?;
    let remote = panel.remote();
    let (reader, field) = Reader::virtual_cards();
    let daemon = Daemon::start(Parts {
        config,
        keys: DeviceKeys {
            depot: vec![signing.verifying_key()],
            signing,
            card: std::sync::Arc::new(keys.for_validator()),
        },
        tariffs,
        reader,
        screen: Box::new(watched.screens(panel)),
        clock,
        durability: Durability::Synced,
    })
    .await?;
    daemon.refuse_cards(deck.hotlist());
    let mut terminal = Terminal::open()?;
    let mut stand =
        Stand { deck, hand: Hand::new(field), remote, display: options.display, clock, view };
    let done = stand.serve(&mut terminal, &watched).await;
    stand.hand.field.clear();
    // Before the store is closed, which may take a moment.
    drop(terminal);
    daemon.stop().await;
    done
}

/// Who stands at the reader, and what they see.
struct Stand {
    deck: Deck,
    hand: Hand<VirtualField>,
    remote: Remote,
    display: Display,
    clock: Clock,
    view: View,
}

impl Stand {
    /// Until the key q, the end of the terminal, or a signal.
    async fn serve(&mut self, terminal: &mut Terminal, watched: &Watched) -> anyhow::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        loop {
            let now = self.clock.elapsed();
            self.hand.handle_time(now, &mut self.deck);
            let size = Terminal::size();
            let frame = self.view.frame(&watched.seen(), &self.deck, size);
            terminal.draw(frame)?;
            let wake = self.hand.wake_at().map_or(LOOK, |at| at.saturating_sub(now).min(LOOK));
            tokio::select! {
                key = terminal.key() => match key {
                    Pressed::Character('q' | 'Q') | Pressed::End => return Ok(()),
                    Pressed::Character(key) => self.pressed(key, watched),
                },
                () = watched.changed() => {}
                () = tokio::time::sleep(wake) => {}
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
            }
        }
    }

    fn pressed(&mut self, key: char, watched: &Watched) {
        match key {
            'l' | 'L' => {
                let language = match watched.seen().language {
                    Language::English => Language::Korean,
                    Language::Korean => Language::English,
                };
                watched.speak(language);
                self.remote.speak(language);
            }
            's' | 'S' => {
                self.display = self.display.next();
                self.view.resize(self.display.size());
            }
            key => {
                if let Some(place) = self.deck.find(key) {
                    self.hand.handle_press(self.clock.elapsed(), place);
                }
            }
        }
    }
}
