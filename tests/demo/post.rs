//! One validator at its post: the production daemon over a field of virtual cards, and the hand
//! that holds cards to it, one at a time.

use std::{path::PathBuf, sync::PoisonError, time::Duration};

use ed25519_dalek::{SigningKey, VerifyingKey};
use fare::TariffSet;
use model::{CardId, ClockQuality, PlaceIx, Timestamp, ValidatorId};
use reader::{Cut, Reader, ReaderConfig, VirtualField};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use validation::{Passage, Verdict};
use validator::{
    Daemon, Parts, StartError,
    clock::Clock,
    config::{self, Config},
    daemon,
    keys::DeviceKeys,
    screen::RiderScreen,
    store::Durability,
};

use super::{lines, riders::SharedCard};

/// A rider waits no longer for an answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between taking a card away and holding it there again.
const AGAIN: Duration = Duration::from_millis(30);
/// A rider holds the card there so many times.
const TRIES: usize = 4;

/// What all validators of the demo share.
#[derive(Clone)]
pub struct Fleet {
    /// Name of the depot.
    pub depot: &'static str,
    /// Folder of all state folders.
    pub folder: PathBuf,
    /// The tariff file, as the configuration names it.
    pub tariff_file: PathBuf,
    /// The tariff.
    pub tariffs: TariffSet,
    /// What opens cards for debiting.
    pub card_keys: card::KeySet,
    /// The depot's word.
    pub depot_key: VerifyingKey,
    /// Where the broker is reached.
    pub port: u16,
    /// The city's time.
    pub clock: Clock,
}

/// One presentation.
pub struct Tap<T> {
    /// Where.
    pub post: usize,
    /// Of which card.
    pub card: SharedCard,
    /// Pulled away in mid-tap, at first.
    pub cut: Option<Cut>,
    /// What the one who asked wants to know again.
    pub purpose: T,
}

/// What a post is asked to do, in order.
pub enum Job<T> {
    /// Take a tap and say what came of it.
    Tap(Tap<T>),
    /// The bus is at another stop.
    Move(PlaceIx),
    /// Power cut; `wipe` loses the log as well.
    Crash {
        /// Lose the state folder.
        wipe: bool,
        /// How long it stays dark.
        dark: Duration,
    },
}

/// A tap that was answered, or not.
pub struct Done<T> {
    /// What was asked.
    pub tap: Tap<T>,
    /// What the rider saw last.
    pub passage: Option<Passage>,
    /// When the card was held there first, and when the answer came.
    pub at: [Timestamp; 2],
}

/// How a post ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ended {
    /// Entries that the depot never acknowledged.
    pub unacked: u64,
}

struct Screen(mpsc::UnboundedSender<Passage>);

impl RiderScreen for Screen {
    fn show(&mut self, passage: &Passage) {
        // A post that ends looks no more.
        let _ = self.0.send(passage.clone());
    }

    fn out_of_service(&mut self, reason: &str) {
        tracing::error!(reason, "a validator is out of service");
    }
}

/// See the module's documentation.
pub struct Post {
    fleet: Fleet,
    config: Config,
    signing: SigningKey,
    daemon: Option<Daemon>,
    field: VirtualField,
    shown: mpsc::UnboundedReceiver<Passage>,
    /// The card tapped last.
    before: Option<CardId>,
}

/// Who stands at the post with this index.
pub const fn id(post: usize) -> ValidatorId {
    // Posts are at most some thousand.
    #[expect(clippy::cast_possible_truncation, reason = "posts are at most some thousand")]
    let number = post as u32 + 1;
    ValidatorId::new(number).expect("posts are far fewer than 2^24")
}

impl Post {
    /// Starts the validator of a post.
    pub async fn start(
        fleet: Fleet,
        index: usize,
        post: lines::Post,
        signing: SigningKey,
    ) -> Result<Self, StartError> {
        let tariff = fleet.tariffs.newest();
        let name = |place: PlaceIx| tariff.place(place).map_or("", |p| &*p.id).to_owned();
        let route = post.route.and_then(|route| tariff.route(route)).map(|r| r.id.to_string());
        // Keys are given, not read: these files do not exist.
        let nowhere = PathBuf::from("/nonexistent");
        let config = Config {
            validator: config::Identity {
                id: id(index),
                role: post.role,
                place: name(post.place),
                route,
                depot: fleet.depot.parse().expect("the demo's depot has a proper name"),
                clock_kept_by: None,
                language: texts::Language::English,
            },
            state: config::State::in_folder(fleet.folder.join(id(index).to_string())),
            tariff: config::Tariffs { files: vec![fleet.tariff_file.clone()] },
            scanner: None,
            gate: None,
            gnss: None,
            tickets: config::Tickets::default(),
            console: config::Console::default(),
            keys: config::Keys {
                signing: nowhere.clone(),
                card: nowhere.clone().into(),
                depot: nowhere,
            },
            reader: ReaderConfig::virtual_cards(),
            broker: config::Broker {
                host: "127.0.0.1".into(),
                port: fleet.port,
                keep_alive_s: 20,
                protocol: link::Protocol::V5,
                payloads: validator::Payloads::Signed,
                tls: None,
            },
            lists: config::Lists::default(),
            rules: config::Rules::default(),
            rider: config::Rider::default(),
            release: config::Release::default(),
            metrics: config::Metrics::default(),
        };
        let (_, field) = Reader::virtual_cards();
        let (_, shown) = mpsc::unbounded_channel();
        let mut this = Self { fleet, config, signing, daemon: None, field, shown, before: None };
        this.power_on().await?;
        Ok(this)
    }

    async fn power_on(&mut self) -> Result<(), StartError> {
        let (reader, field) = Reader::virtual_cards();
        let (tell, shown) = mpsc::unbounded_channel();
        let started = Daemon::start(Parts {
            config: self.config.clone(),
            keys: DeviceKeys {
                signing: self.signing.clone(),
                card: std::sync::Arc::new(self.fleet.card_keys.for_validator()),
                depot: vec![self.fleet.depot_key],
            },
            tariffs: self.fleet.tariffs.clone(),
            reader,
            screen: Box::new(Screen(tell)),
            clock: self.fleet.clock,
            durability: Durability::Synced,
        });
        (self.daemon, self.field, self.shown) = (Some(started.await?), field, shown);
        Ok(())
    }

    /// Works until nobody asks any more, then waits until the depot has everything.
    pub async fn run<T>(
        mut self,
        mut jobs: mpsc::UnboundedReceiver<Job<T>>,
        done: mpsc::UnboundedSender<Done<T>>,
        drain: Duration,
    ) -> Ended {
        while let Some(job) = jobs.recv().await {
            match job {
                Job::Tap(tap) => {
                    let began = self.fleet.clock.now();
                    let passage = self.take(&tap.card, tap.cut).await;
                    let at = [began, self.fleet.clock.now()];
                    // Who asked may have gone home.
                    let _ = done.send(Done { tap, passage, at });
                }
                Job::Move(place) => self.stand_at(place),
                Job::Crash { wipe, dark } => self.crash(wipe, dark).await,
            }
        }
        self.end(drain).await
    }

    async fn take(&mut self, card: &SharedCard, mut cut: Option<Cut>) -> Option<Passage> {
        let mut last = None;
        let uid = card.lock().unwrap_or_else(PoisonError::into_inner).uid();
        if self.before.replace(uid) == Some(uid) {
            // A reader takes a card that comes back at once for one that never left.
            sleep(AGAIN).await;
        }
        for _ in 0..TRIES {
            while self.shown.try_recv().is_ok() {}
            if let Some(cut) = cut.take() {
                self.field.cut(cut);
            }
            self.field.place(SharedCard::clone(card));
            let answer = timeout(PATIENCE, self.shown.recv()).await;
            self.field.clear();
            last = Some(answer.ok()??);
            match last.as_ref().map(|passage| passage.verdict) {
                Some(Verdict::TryAgain(_)) => sleep(AGAIN).await,
                Some(Verdict::Granted | Verdict::Refused(_) | Verdict::OutOfService) | None => {
                    break;
                }
            }
        }
        last
    }

    fn stand_at(&mut self, place: PlaceIx) {
        let Some(named) = self.fleet.tariffs.newest().place(place) else { return };
        self.config.validator.place = named.id.to_string();
        let clock = ClockQuality::Ntp;
        let tariffs = &self.fleet.tariffs;
        let context = daemon::context(&self.config, (tariffs, tariffs.newest().version()), clock);
        if let (Some(daemon), Ok(context)) = (&self.daemon, context) {
            daemon.replace_context(context);
        }
    }

    async fn crash(&mut self, wipe: bool, dark: Duration) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill().await;
        }
        if wipe && let Err(error) = std::fs::remove_dir_all(&self.config.state.folder) {
            tracing::error!(%error, "a log that should be lost is still there");
        }
        sleep(dark).await;
        if let Err(error) = self.power_on().await {
            tracing::error!(error = validator::chain(&error), "a validator does not start again");
        }
    }

    async fn end(mut self, drain: Duration) -> Ended {
        let Some(daemon) = self.daemon.take() else { return Ended { unacked: 1 } };
        let mut log = daemon.log();
        let unacked = |status: &validator::log_keeper::LogStatus| {
            let live = status.live();
            live.head.0 - live.acked.0 + status.undrained_before()
        };
        let drained = log.wait_for(|status| unacked(status) == 0);
        let ended = match timeout(drain, drained).await {
            Ok(Ok(_)) => Ended { unacked: 0 },
            Ok(Err(_)) | Err(_) => Ended { unacked: unacked(&daemon.log().borrow()) },
        };
        if ended.unacked > 0 {
            let lives = daemon.log().borrow().lives.clone();
            let validator = self.config.validator.id;
            tracing::error!(%validator, ?lives, "the depot does not acknowledge everything");
        }
        daemon.stop().await;
        ended
    }
}
