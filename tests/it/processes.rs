//! A small depot as it stands in the field: the real programs as processes, Mosquitto with mutual
//! TLS, key files, an enrolled fleet and issued cards. Only the cards and the readers' chips are
//! software, and those live in the test, so that it can look at them whatever it kills.
//!
//! Everything is done through the programs' own commands. The scratch folder with all logs is kept
//! when a test fails, and named.

#![expect(clippy::unwrap_used, reason = "a depot that cannot be set up is a failed test")]

mod books;
mod configs;
mod process;

use std::{
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use card::{Key, KeyRole, KeySet, KeyVersion, Opening, VirtualCard};
use model::{CardId, CardLayout, TapRole, TariffVersion, ValidatorId};
use reader::Picc;
use tapline_tests::pn532::Emulator;
use tempfile::TempDir;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

use self::configs::{depot_config, validator_config};
pub(crate) use self::process::Process;
use crate::broker::{Broker, Make, free_port, now};

pub(crate) const DEPOT: &str = env!("CARGO_BIN_EXE_depot-server-under-test");
pub(crate) const VALIDATOR: &str = env!("CARGO_BIN_EXE_validator-under-test");
/// The depot's database in a yard's folder: in a folder of its own, which can be a device.
pub(crate) const DATABASE: &str = "books/depot.sqlite";
/// The depot's level in the topics.
pub(crate) const NAME: &str = "north";
/// Longer than anything here takes, so that a hang is a failure and not a stuck run.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Flat buses, two stations with gates, one free transfer.
pub(crate) const CITY: &str = r#"
format = 1
version = 1
network = "Test city"
timezone = "Europe/Berlin"
currency = "EUR"
groups = ["bus", "metro"]
operator = [{ id = "bus", name = "Bus" }, { id = "metro", name = "Metro" }]
product = [
  { id = "bus", name = "Bus single", price = "1.50" },
  { id = "near", name = "Near", price = "2.00" },
  { id = "far", name = "Far", price = "3.00" },
]
place = [
  { id = "A", name = "Alpha", lat = 1.5, lon = 2, kind = "station" },
  { id = "B", name = "Beta", lat = 1.6, lon = 2, kind = "station" },
  { id = "s1", name = "Stop 1", lat = 0, lon = 0, kind = "stop" },
]
route = [
  { id = "7", name = "Bus 7", mode = "bus", operator = "bus", group = "bus", product = "bus" },
  { id = "M", name = "Metro", mode = "subway", operator = "metro", group = "metro" },
]

[[transfer]]
id = "change"
from = ["bus", "metro"]
to = ["bus", "metro"]
limit_s = 3600
legs_max = 2
price = "free"

[gate]
group = "metro"
journey_limit_s = 7200

[matrix]
to = ["A", "B"]
[matrix.from]
A = ["near", "far"]
B = ["far", "near"]
"#;

pub(crate) type SharedCard = Arc<Mutex<VirtualCard>>;

/// Where a validator stands and what it does.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Post {
    pub(crate) id: &'static str,
    pub(crate) role: TapRole,
    pub(crate) place: &'static str,
    pub(crate) route: Option<&'static str>,
}

/// A bus and two gates.
pub(crate) const POSTS: [Post; 3] = [
    Post { id: "v000001", role: TapRole::Board, place: "s1", route: Some("7") },
    Post { id: "v000002", role: TapRole::Entry, place: "A", route: None },
    Post { id: "v000003", role: TapRole::Exit, place: "B", route: None },
];

/// A validator's process, its chip, and what its riders see.
pub(crate) struct Gate {
    pub(crate) post: Post,
    pub(crate) process: Process,
    reader: Option<Reader>,
    metrics: u16,
    state: PathBuf,
}

/// The end that a rider stands at. It outlives the process.
pub(crate) struct Reader {
    pub(crate) emulator: Emulator,
    screen: mpsc::UnboundedReceiver<String>,
}

/// See the module's documentation.
pub(crate) struct Yard {
    pub(crate) broker: Broker,
    pub(crate) depot: Process,
    pub(crate) gates: Vec<Gate>,
    pub(crate) cards: Vec<SharedCard>,
    pub(crate) pages: u16,
    folder: TempDir,
}

impl Yard {
    /// Everything made, enrolled, issued and started. Call within a tokio runtime.
    /// `guests` get certificates and nothing else.
    pub(crate) fn open(posts: &[Post], cards: u8, guests: &[&str]) -> Self {
        Self::open_under(CITY, posts, cards, guests)
    }

    /// The same under another tariff. Cards get a counters file where it has caps.
    pub(crate) fn open_under(tariff: &str, posts: &[Post], cards: u8, guests: &[&str]) -> Self {
        let mut yard = Self::install_under(tariff, posts, cards, guests);
        yard.start();
        yard
    }

    /// Everything but the start of depot and validators.
    pub(crate) fn install(posts: &[Post], cards: u8) -> Self {
        Self::install_under(CITY, posts, cards, &[])
    }

    /// The same with a broker of this make.
    pub(crate) fn install_over(make: Make, posts: &[Post], cards: u8) -> Self {
        Self::install_on(make, CITY, posts, cards)
    }

    /// Everything made and started with a broker of this make, under this tariff.
    pub(crate) fn open_on(make: Make, tariff: &str, posts: &[Post], cards: u8) -> Self {
        let mut yard = Self::install_on(make, tariff, posts, cards);
        yard.start();
        yard
    }

    fn install_on(make: Make, tariff: &str, posts: &[Post], cards: u8) -> Self {
        let names = ["depot"].into_iter().chain(posts.iter().map(|post| post.id));
        let broker = Broker::start_a(make, &names.collect::<Vec<_>>());
        Self::install_at(broker, tariff, posts, cards)
    }

    /// The same under another tariff; see [`Self::open`] for `guests`.
    pub(crate) fn install_under(tariff: &str, posts: &[Post], cards: u8, guests: &[&str]) -> Self {
        let names = ["depot"].into_iter().chain(posts.iter().map(|post| post.id));
        let names: Vec<&str> = names.chain(guests.iter().copied()).collect();
        Self::install_at(Broker::start(&names), tariff, posts, cards)
    }

    fn install_at(broker: Broker, tariff: &str, posts: &[Post], cards: u8) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let pages = free_port();
        let keys = KeySet::from_root(&Key([7; 16]));
        write(&at.join("city.toml"), tariff);
        write(&at.join("depot.toml"), &depot_config(&broker, pages));
        fs::create_dir(at.join("keys")).unwrap();
        fs::create_dir(at.join("books")).unwrap();
        let master = |role| hex(&keys.master(role, KeyVersion::FIRST).unwrap().0);
        write_secret(&at.join("keys/tmac-master.hex"), &master(KeyRole::Tmac));
        let debit = format!("debit = \"{}\"\n", master(KeyRole::Debit));
        write_secret(&at.join("card.key"), &debit);
        let public = said(&depot_server(at, &["init"], &[]));
        write(&at.join("depot.pub"), &public);
        let gates = posts.iter().map(|post| Gate::install(at, &broker, *post)).collect();
        let capped = tariff.contains("[[cap]]");
        let layout = if capped { CardLayout::Counters } else { CardLayout::Plain };
        let cards = (1..=cards).map(|n| issue(at, &keys, n, layout)).collect();
        let config = at.join("depot.toml");
        let arguments = ["serve", "--config", config.to_str().unwrap()];
        let depot = Process::new("depot", DEPOT, &arguments, at, None);
        Self { broker, depot, gates, cards, pages, folder }
    }

    /// Starts the depot and the validators.
    pub(crate) fn start(&mut self) {
        self.depot.start();
        for gate in &mut self.gates {
            gate.process.start();
        }
    }

    /// Where everything is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The depot's database, in a folder of its own.
    pub(crate) fn database(&self) -> PathBuf {
        self.folder().join(DATABASE)
    }

    /// Runs a command of the depot's program with this depot's configuration.
    pub(crate) fn depot_server(&self, command: &[&str], more: &[&str]) -> Output {
        depot_server(self.folder(), command, more)
    }

    /// Gives the depot the keys of a desk, and more configuration; it starts anew with them.
    pub(crate) fn open_desk(&mut self, more: &str) {
        self.depot.kill();
        let keys = KeySet::from_root(&Key([7; 16]));
        let line = |role: KeyRole| {
            let master = keys.master(role, KeyVersion::FIRST).unwrap().0;
            format!("{} = \"{}\"\n", role.word(), custody::to_hex(&master))
        };
        let text = [KeyRole::Issuer, KeyRole::Debit, KeyRole::Load].map(line).concat();
        write_secret(&self.folder().join("desk.key"), &text);
        let config = self.folder().join("depot.toml");
        let text = fs::read_to_string(&config).unwrap();
        write(&config, &format!("{text}[keys]\ncard = \"desk.key\"\n{more}"));
        self.depot.start();
    }

    /// Waits until every validator says that the depot has all its entries.
    pub(crate) async fn drained(&mut self) {
        let deadline = now() + 2 * PATIENCE;
        loop {
            let marks: Vec<_> = self.gates.iter_mut().map(Gate::marks).collect();
            if marks.iter().all(|mark| mark.is_some_and(|(head, acked)| head == acked)) {
                return;
            }
            assert!(now() < deadline, "entries written and acknowledged by now: {marks:?}");
            sleep(Duration::from_millis(100)).await;
        }
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        if thread::panicking() {
            self.folder.disable_cleanup(true);
            let _ = writeln!(std::io::stderr(), "logs: {}", self.folder.path().display());
        }
    }
}

impl Gate {
    fn install(at: &Path, broker: &Broker, post: Post) -> Self {
        let metrics = free_port();
        let emulator = Emulator::start(&at.join(format!("{}.tty", post.id))).unwrap();
        let config = at.join(format!("{}.toml", post.id));
        let state = at.join(format!("{}.state", post.id));
        write(&config, &validator_config(at, broker, post, metrics));
        let signing = at.join(format!("{}.signing", post.id));
        let keygen = ["keygen", "--signing", signing.to_str().unwrap()];
        let public = said(&Command::new(VALIDATOR).args(keygen).output().unwrap());
        said(&depot_server(at, &["validator", "enrol"], &[post.id, public.trim()]));
        let (tell, screen) = mpsc::unbounded_channel();
        let arguments = ["run", "--config", config.to_str().unwrap()];
        let process = Process::new(post.id, VALIDATOR, &arguments, at, Some(tell));
        Self { post, process, reader: Some(Reader { emulator, screen }), metrics, state }
    }

    pub(crate) fn id(&self) -> ValidatorId {
        self.post.id.parse().unwrap()
    }

    /// The rider's end, to be used elsewhere.
    pub(crate) const fn take_reader(&mut self) -> Reader {
        self.reader.take().expect("it is taken once")
    }

    /// Its state folder.
    pub(crate) fn state(&self) -> &Path {
        &self.state
    }

    /// A page that it serves, with the head of the answer.
    pub(crate) fn page(&self, path: &str) -> Option<String> {
        get(self.metrics, path)
    }

    /// Its newest entry and the newest that the depot acknowledged, as its metrics tell.
    pub(crate) fn marks(&mut self) -> Option<(u64, u64)> {
        self.process.assert_running();
        let page = get(self.metrics, "/metrics")?;
        let value = |name: &str| -> Option<u64> {
            page.lines().find_map(|l| l.strip_prefix(name)?.trim().parse().ok())
        };
        Some((value("tapline_log_head ")?, value("tapline_log_acked ")?))
    }
}

impl Reader {
    /// What the rider's screen says next, but for its greeting; `None` when nothing comes in time.
    pub(crate) async fn answer(&mut self, within: Duration) -> Option<String> {
        let answer = async {
            let mut line = String::from("- ");
            while line.starts_with("- ") {
                line = self.screen.recv().await.expect("the screen outlives the process");
            }
            line
        };
        timeout(within, answer).await.ok()
    }

    /// Whatever was said to riders who have gone.
    pub(crate) fn forget(&mut self) {
        while self.screen.try_recv().is_ok() {}
    }

    /// Waits until the reader has seen that the last medium is gone: one that is back before lies
    /// there still, for any reader, and is not answered twice.
    async fn gone(&self) {
        const LOOKS: u32 = 4;
        let seen = async {
            while self.emulator.chip().empty_looks() < LOOKS {
                sleep(Duration::from_millis(10)).await;
            }
        };
        // A program that has just been killed looks no more.
        let _ = timeout(Duration::from_secs(3), seen).await;
    }

    /// Holds a medium to the reader until there is an answer to it.
    pub(crate) async fn tap(&mut self, medium: impl Picc + 'static) -> String {
        self.gone().await;
        self.forget();
        self.emulator.place(medium);
        let mut answer = self.answer(PATIENCE).await.expect("an answer in time");
        if answer.contains("code 45") {
            // A busy machine answered late for the card: one that lies there is tried again.
            answer = self.answer(PATIENCE).await.expect("another try");
        }
        self.emulator.chip().clear();
        answer
    }
}

fn depot_server(at: &Path, command: &[&str], more: &[&str]) -> Output {
    let mut program = Command::new(DEPOT);
    program.args(command).arg("--config").arg(at.join("depot.toml")).args(more);
    program.output().unwrap()
}

/// What a command that succeeded has printed.
pub(crate) fn said(output: &Output) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    let (printed, complaint) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}: {printed}{complaint}", output.status);
    printed
}

/// A page of a local server; `None` when nobody answers.
pub(crate) fn get(port: u16, path: &str) -> Option<String> {
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").ok()?;
    let mut page = String::new();
    stream.read_to_string(&mut page).ok()?;
    Some(page)
}

fn issue(at: &Path, keys: &KeySet, n: u8, layout: CardLayout) -> SharedCard {
    let uid = CardId([4, 0x51, 0x52, 0x53, 0x54, 0x55, n]);
    let now = validator::clock::Clock::system().now();
    let opening = Opening {
        balance: 50_000,
        at_s: u32::try_from(now.secs()).unwrap(),
        tariff: TariffVersion(1),
        layout,
        ..Opening::default()
    };
    let (card, issued) = VirtualCard::issue(uid, [n; 16], keys, &opening).unwrap();
    let record = hex(&issued.record.to_bytes().unwrap());
    said(&depot_server(at, &["card", "register"], &[&uid.to_hex(), &record]));
    Arc::new(Mutex::new(card))
}

fn hex(bytes: &[u8]) -> String {
    depot_server::config::to_hex(bytes)
}

fn write(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
}

fn write_secret(path: &Path, text: &str) {
    let mut file: File =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}
