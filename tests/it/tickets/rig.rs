//! A depot that serves, validators with a scanner on a pseudo-terminal, and a hand with a phone.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a rig that cannot be set up is a failed test"
)]

use std::{
    fs::{self, File},
    io::Write,
    net::{Ipv4Addr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    time::Duration,
};

use card::{KeySet, Opening, VirtualCard};
use clearing::Account;
use depot_server::{
    clock::Clock as DepotClock,
    http::views::{Books, ExceptionFacts, ExceptionFilter, Page, TapFilter, TapSums},
    intake::{Checker, Workplace},
    server::Depot,
    store::ReadModel,
    ticketing::{self, TicketOrder},
    verify::verify,
};
use ed25519_dalek::{SigningKey, VerifyingKey};
use fare::{Tariff, TariffSet};
use model::{CardId, Money, RiderClass, TapRole, TicketScope, TicketToken, Timestamp, ValidatorId};
use reader::{Reader, ReaderConfig, ScannerConfig, VirtualField};
use rustix::{
    fs::{Mode, OFlags},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{OptionalActions, tcgetattr, tcsetattr},
};
use tapline_tests::demo::{broker, depot};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::{sleep, timeout},
};
use validation::Passage;
use validator::{
    Daemon, Parts,
    clock::Clock,
    config::{self, Config},
    keys::DeviceKeys,
    screen::RiderScreen,
    store::Durability,
};

/// Longer than anything here takes, so that a hang is a failure and not a stuck run.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a validator needs to answer a code.
const A_WHILE: Duration = Duration::from_millis(400);
/// 2027-01-15T08:00:00Z.
pub(super) const MORNING: Timestamp = Timestamp::from_secs(1_800_000_000);

const TARIFF: &str = r#"
format = 1
version = 1
network = "Test"
timezone = "Europe/Berlin"
currency = "EUR"
groups = ["bus"]
operator = [{ id = "op", name = "Operator" }]
product = [{ id = "bus", name = "Bus single", price = "1.50" }]
place = [
  { id = "s1", name = "Stop 1", lat = 0, lon = 0, kind = "stop" },
  { id = "s2", name = "Stop 2", lat = 0, lon = 0, kind = "stop" },
]
route = [
  { id = "7", name = "Bus 7", mode = "bus", operator = "op", group = "bus", product = "bus" },
  { id = "8", name = "Bus 8", mode = "bus", operator = "op", group = "bus", product = "bus" },
]
"#;

/// The serial line that a scanner writes to.
pub(super) struct ScannerLine {
    path: PathBuf,
    ends: Option<(File, OwnedFd)>,
}

impl ScannerLine {
    fn at(path: PathBuf) -> Self {
        let mut line = Self { path, ends: None };
        line.plug();
        line
    }

    /// Makes a terminal, raw as a serial port is, under the path of the configuration.
    pub(super) fn plug(&mut self) {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(name.as_c_str(), flags, Mode::empty()).unwrap();
        let mut settings = tcgetattr(&slave).unwrap();
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings).unwrap();
        let _ = fs::remove_file(&self.path);
        std::os::unix::fs::symlink(name.to_string_lossy().as_ref(), &self.path).unwrap();
        self.ends = Some((File::from(master), slave));
    }

    pub(super) fn unplug(&mut self) {
        self.ends = None;
        let _ = fs::remove_file(&self.path);
    }

    pub(super) fn send(&mut self, bytes: &[u8]) {
        let (end, _) = self.ends.as_mut().expect("the scanner is plugged in");
        end.write_all(bytes).unwrap();
    }
}

struct Told(mpsc::UnboundedSender<Passage>);

impl RiderScreen for Told {
    fn show(&mut self, passage: &Passage) {
        // A test that no longer looks at the screen is over.
        let _ = self.0.send(passage.clone());
    }

    fn out_of_service(&mut self, _: &str) {}
}

/// The depot and the broker between it and its validators.
pub(super) struct Office {
    pub(super) place: Workplace,
    checker: Checker,
    pub(super) folder: TempDir,
    pub(super) ticket_key: SigningKey,
    public: VerifyingKey,
    cards: KeySet,
    mqtt: u16,
    stop: Option<oneshot::Sender<()>>,
    served: Option<JoinHandle<()>>,
}

/// Tests run side by side and a port is bound only later: none is tried twice. Below the demo's
/// ports and the ephemeral ones, so that nobody else takes it meanwhile.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 7_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

impl Office {
    pub(super) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mqtt = port();
        broker::start(mqtt).await.unwrap();
        let http = port();
        let clock = DepotClock::scaled(MORNING, 1);
        let (depot, _, cards) =
            depot::open(folder.path(), TARIFF, (http, mqtt), (clock, 1), [7; 16]).unwrap();
        let depot: Depot = depot;
        let (place, checker) = (depot.workplace().clone(), depot.checker().clone());
        let public = depot.public_key();
        let ticket_key = ticketing::load_key(&depot.app().config.keys.tickets).unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let served = tokio::spawn(async move {
            let shutdown = async {
                let _ = stopped.await;
            };
            depot.serve(shutdown).await.unwrap();
        });
        Self {
            place,
            checker,
            folder,
            ticket_key,
            public,
            cards,
            mqtt,
            stop: Some(stop),
            served: Some(served),
        }
    }

    /// Network tickets at 2.40 that hold now.
    pub(super) fn sell(&self, count: u32) -> Vec<TicketToken> {
        let currency = self.place.rules.currency();
        let order = TicketOrder {
            scope: TicketScope::Network,
            price: Money::parse("2.40", currency).unwrap(),
            valid_from: self.place.clock.now(),
            minutes: 90,
            class: RiderClass(0),
            count,
        };
        ticketing::issue(&self.place, &self.ticket_key, &order).unwrap()
    }

    /// Waits until so many entries are booked.
    pub(super) async fn booked(&self, count: u64) {
        let booked = || self.place.metrics.ingest_taps.with_label_values(&["new"]).get();
        let all = async {
            while booked() < count {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let waited = timeout(PATIENCE, all).await;
        assert!(waited.is_ok(), "{} of {count} entries are booked", booked());
    }

    fn books(&self) -> ReadModel {
        let Workplace { store, rules, clock, .. } = &self.place;
        ReadModel::new(Arc::clone(store), rules.clone(), clock.clone())
    }

    pub(super) fn sums(&self) -> TapSums {
        self.books().tap_sums(&TapFilter::default()).unwrap()
    }

    /// Open work items, oldest first.
    pub(super) fn open(&self) -> Vec<ExceptionFacts> {
        let filter = ExceptionFilter { open: Some(true), ..ExceptionFilter::default() };
        let rows = self.books().exceptions(&filter, Page::first(100)).unwrap();
        rows.iter().rev().map(|row| self.books().exception(row.id).unwrap().unwrap()).collect()
    }

    /// What stands on the accounts of a kind, by its word; debits are positive.
    pub(super) fn standing(&self, word: &str) -> i64 {
        let rows = self.books().trial_balance().unwrap();
        let all: i64 = rows.iter().map(|row| row.balance.minor()).sum();
        assert_eq!(all, 0, "trial balance");
        let of_kind = rows.iter().filter(|row| row.name.contains(word));
        of_kind.map(|row| row.balance.minor()).sum()
    }

    pub(super) fn assert_sound(&self) {
        let report = verify(&self.place.store, &self.checker, &self.place.rules).unwrap();
        assert_eq!(report.first_difference, None);
        assert!(Account::word(ledger::AccountCode(12)).is_some());
    }

    pub(super) async fn close(mut self) {
        drop(self.stop.take());
        timeout(PATIENCE, self.served.take().unwrap()).await.unwrap().unwrap();
    }
}

/// A validator with reader and scanner.
pub(super) struct Post {
    pub(super) config: Config,
    pub(super) line: ScannerLine,
    pub(super) field: VirtualField,
    pub(super) daemon: Option<Daemon>,
    signing: SigningKey,
    depot: VerifyingKey,
    cards: KeySet,
    shown: mpsc::UnboundedReceiver<Passage>,
    clock: Clock,
}

impl Post {
    /// Enrolled and running, on bus 7 at stop 1.
    pub(super) async fn start(office: &Office, number: u8) -> Self {
        let id = ValidatorId::new(u32::from(number)).unwrap();
        let folder = office.folder.path().join(id.to_string());
        fs::create_dir_all(&folder).unwrap();
        let signing = SigningKey::from_bytes(&[number; 32]);
        let now = office.place.clock.now();
        office.place.store.enrol(id, &signing.verifying_key(), "bus", false, now).unwrap();
        let line = ScannerLine::at(folder.join("scanner"));
        let config = config(id, &folder, &line.path, office);
        let (_, field) = Reader::virtual_cards();
        let (_, shown) = mpsc::unbounded_channel();
        let mut post = Self {
            config,
            line,
            field,
            daemon: None,
            signing,
            depot: office.public,
            cards: office.cards.clone(),
            shown,
            clock: Clock::scaled(office.place.clock.now(), 1),
        };
        post.power_on().await;
        post
    }

    pub(super) async fn power_on(&mut self) {
        let (reader, field) = Reader::virtual_cards();
        let (tell, shown) = mpsc::unbounded_channel();
        (self.field, self.shown) = (field, shown);
        let daemon = Daemon::start(Parts {
            config: self.config.clone(),
            keys: DeviceKeys {
                signing: self.signing.clone(),
                card: Arc::new(self.cards.clone().for_validator()),
                depot: vec![self.depot],
            },
            tariffs: TariffSet::new(Tariff::parse(TARIFF).unwrap()),
            reader,
            screen: Box::new(Told(tell)),
            clock: self.clock,
            durability: Durability::Synced,
        });
        self.daemon = Some(daemon.await.unwrap());
    }

    /// As a power cut: nothing is said, nothing more is written.
    pub(super) async fn power_cut(&mut self) {
        self.daemon.take().expect("it runs").kill().await;
    }

    pub(super) async fn stop(mut self) {
        self.daemon.take().expect("it runs").stop().await;
    }

    /// What the rider is told of a code sent so.
    pub(super) async fn told(&mut self, bytes: &[u8]) -> Passage {
        self.line.send(bytes);
        self.answer().await
    }

    pub(super) async fn scan(&mut self, token: &TicketToken) -> Passage {
        self.told(format!("{}\r", ticket::to_text(token)).as_bytes()).await
    }

    pub(super) async fn answer(&mut self) -> Passage {
        let passage = timeout(PATIENCE, self.shown.recv()).await.expect("an answer in time");
        passage.expect("the daemon runs")
    }

    /// What is shown already.
    pub(super) fn try_answer(&mut self) -> Option<Passage> {
        self.shown.try_recv().ok()
    }

    /// Nothing is shown for a while.
    pub(super) async fn silent(&mut self) {
        if let Ok(passage) = timeout(A_WHILE, self.shown.recv()).await {
            panic!("nobody is to be told anything: {passage:?}");
        }
    }

    /// A card of ours on the reader.
    pub(super) fn card(&self, number: u8) -> Arc<Mutex<VirtualCard>> {
        let uid = CardId([4, 1, 2, 3, 4, 5, number]);
        let opening = Opening { balance: 900, ..Opening::default() };
        let (card, _) = VirtualCard::issue(uid, [number; 16], &self.cards, &opening).unwrap();
        Arc::new(Mutex::new(card))
    }
}

fn config(id: ValidatorId, folder: &Path, scanner: &Path, office: &Office) -> Config {
    let nowhere = PathBuf::from("/nonexistent");
    let key = depot_server::config::to_hex(office.ticket_key.verifying_key().as_bytes());
    Config {
        validator: config::Identity {
            id,
            role: TapRole::Board,
            place: "s1".into(),
            route: Some("7".into()),
            depot: depot::NAME.parse().unwrap(),
            clock_kept_by: None,
            language: texts::Language::English,
        },
        state: config::State::in_folder(folder.join("state")),
        tariff: config::Tariffs { files: vec![nowhere.clone()] },
        keys: config::Keys {
            signing: nowhere.clone(),
            card: nowhere.clone().into(),
            depot: nowhere,
        },
        reader: ReaderConfig::virtual_cards(),
        scanner: Some(ScannerConfig::at(scanner)),
        gate: None,
        gnss: None,
        tickets: config::Tickets { keys: vec![key], repeat_ms: 1_000 },
        console: config::Console::default(),
        broker: config::Broker {
            host: Ipv4Addr::LOCALHOST.to_string(),
            port: office.mqtt,
            keep_alive_s: 5,
            protocol: link::Protocol::V5,
            payloads: validator::Payloads::Signed,
            tls: None,
        },
        lists: config::Lists::default(),
        rules: config::Rules::default(),
        rider: config::Rider::default(),
        release: config::Release::default(),
        metrics: config::Metrics::default(),
    }
}
