//! A validator in a scratch folder, the hand that holds cards to it, and what its rider sees.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a rig that cannot be set up is a failed test"
)]

use std::{
    collections::HashMap,
    net::TcpListener,
    path::PathBuf,
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::Duration,
};

use card::{Key, KeySet, Opening, VirtualCard};
use ed25519_dalek::SigningKey;
use fare::{Tariff, TariffSet};
use fleet_sync::{DepotName, Receiver, Topic, read_batch, sign_ack, sign_host, verify_state};
use model::{CardId, ProductLoad, TapRecord, TapSeq, Timestamp, ValidatorId};
use reader::{Reader, ReaderConfig, VirtualField};
use rumqttc::v5::{
    AsyncClient, Event, EventLoop, MqttOptions,
    mqttbytes::{QoS, v5::Packet},
};
use rumqttd::{Broker, Config as BrokerConfig, ConnectionSettings, RouterConfig, ServerSettings};
use tempfile::TempDir;
use tokio::{sync::mpsc, time::timeout};
use validation::Passage;
use validator::{
    Daemon, Parts, StartError,
    clock::Clock,
    config::{self, Config},
    keys::DeviceKeys,
    screen::{Here, RiderScreen},
    store::Durability,
};
use wire::{Ack, ChainHash, HostState, MessageVersion, Speech, StateWord, Versions};

/// Longer than anything here takes, so that a hang is a failure and not a stuck run.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) const TARIFF: &str = r#"
format = 1
version = 1
network = "Test"
timezone = "Europe/Berlin"
currency = "EUR"
pass_back_s = 60
groups = ["bus"]
operator = [{ id = "op", name = "Operator" }]
class = [{ id = "adult", name = "Adult" }, { id = "child", name = "Child" }]
product = [{ id = "bus", name = "Bus single", price = "1.50", prices = { child = "0.80" } }]
companions = { riders_max = 4 }
place = [
  { id = "s1", name = "Stop 1", lat = 0, lon = 0, kind = "stop" },
  { id = "s2", name = "Stop 2", lat = 0, lon = 0, kind = "stop" },
]
route = [
  { id = "7", name = "Bus 7", mode = "bus", operator = "op", group = "bus", product = "bus" },
]
"#;

pub(crate) type SharedCard = Arc<Mutex<VirtualCard>>;

pub(crate) fn keys() -> KeySet {
    KeySet::from_root(&Key([7; 16]))
}

fn signing() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn depot_key() -> SigningKey {
    SigningKey::from_bytes(&[2; 32])
}

/// A card with a balance in cents.
pub(crate) fn issued(n: u8, balance: u32) -> SharedCard {
    issued_with(n, balance, None)
}

/// The same, sold with products.
pub(crate) fn issued_with(n: u8, balance: u32, products: Option<ProductLoad>) -> SharedCard {
    let uid = CardId([4, 1, 2, 3, 4, 5, n]);
    let opening = Opening { balance, products, ..Opening::default() };
    let (card, _) = VirtualCard::issue(uid, [n; 16], &keys(), &opening).unwrap();
    Arc::new(Mutex::new(card))
}

pub(crate) fn charge(passage: &Passage) -> i64 {
    passage.charge.minor()
}

/// What stands on the rider's screen while no taps are taken.
type Sign = Arc<Mutex<Option<String>>>;

/// The stops that were shown, the newest last.
type Stops = Arc<Mutex<Vec<String>>>;

struct Told(mpsc::UnboundedSender<Passage>, Sign, Stops);

impl RiderScreen for Told {
    fn show(&mut self, passage: &Passage) {
        // A test that no longer looks at the screen is over.
        let _ = self.0.send(passage.clone());
    }

    fn here(&mut self, here: &Here) {
        self.2.lock().unwrap().push(here.place.clone());
    }

    fn out_of_service(&mut self, reason: &str) {
        *self.1.lock().unwrap() = Some(reason.to_string());
    }

    fn in_service(&mut self) {
        *self.1.lock().unwrap() = None;
    }
}

/// See the module's documentation.
pub(crate) struct Rig {
    pub(crate) config: Config,
    pub(crate) field: VirtualField,
    pub(crate) durability: Durability,
    pub(crate) sign: Sign,
    pub(crate) stops: Stops,
    /// What it prices with.
    pub(crate) tariff: String,
    pub(crate) clock: Clock,
    shown: mpsc::UnboundedReceiver<Passage>,
    folder: TempDir,
}

impl Rig {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let nowhere = PathBuf::from("/nonexistent");
        let config = Config {
            validator: config::Identity {
                id: ValidatorId::new(42).unwrap(),
                role: model::TapRole::Board,
                place: "s1".into(),
                route: Some("7".into()),
                depot: "north".parse().unwrap(),
                clock_kept_by: None,
                language: texts::Language::English,
            },
            state: config::State::in_folder(folder.path().join("state")),
            tariff: config::Tariffs { files: vec![nowhere.clone()] },
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
                port: free_port(),
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
        };
        let (_, shown) = mpsc::unbounded_channel();
        let (_, field) = Reader::virtual_cards();
        Self {
            config,
            field,
            durability: Durability::Synced,
            sign: Sign::default(),
            stops: Stops::default(),
            tariff: TARIFF.to_owned(),
            clock: Clock::system(),
            shown,
            folder,
        }
    }

    /// A scratch file's path.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Starts the daemon over cards in memory.
    pub(crate) async fn start(&mut self) -> Result<Daemon, StartError> {
        let (reader, field) = Reader::virtual_cards();
        self.field = field;
        self.start_with(reader).await
    }

    /// Starts the daemon over this reader.
    pub(crate) async fn start_with(&mut self, reader: Reader) -> Result<Daemon, StartError> {
        let (tell, shown) = mpsc::unbounded_channel();
        self.shown = shown;
        Daemon::start(Parts {
            config: self.config.clone(),
            keys: DeviceKeys {
                signing: signing(),
                card: Arc::new(keys().for_validator()),
                depot: vec![depot_key().verifying_key()],
            },
            tariffs: TariffSet::new(Tariff::parse(&self.tariff).unwrap()),
            reader,
            screen: Box::new(Told(tell, Arc::clone(&self.sign), Arc::clone(&self.stops))),
            clock: self.clock,
            durability: self.durability,
        })
        .await
    }

    /// Holds the card until the rider is told something.
    pub(crate) async fn tap(&mut self, card: &SharedCard) -> Passage {
        self.field.place(Arc::clone(card));
        let passage = self.told().await;
        self.field.clear();
        passage
    }

    /// What the rider is told next.
    pub(crate) async fn told(&mut self) -> Passage {
        let passage = timeout(PATIENCE, self.shown.recv()).await.expect("an answer in time");
        passage.expect("the daemon runs")
    }
}

fn free_port() -> u16 {
    // Tests run side by side and a port is bound only later: none is tried twice.
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Below the ephemeral range, so that no outgoing connection takes it meanwhile.
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = first + NEXT.fetch_add(1, Ordering::Relaxed);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn start_broker(port: u16) {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: 256 * 1024,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "test".into(),
        listen: ([127, 0, 0, 1], port).into(),
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let router = RouterConfig {
        max_connections: 100,
        max_outgoing_packet_count: 200,
        max_segment_size: 1 << 20,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let config = BrokerConfig {
        router,
        v5: Some(HashMap::from([("test".to_string(), server)])),
        ..BrokerConfig::default()
    };
    // The broker has no stop; it ends with the test process.
    thread::spawn(move || drop(Broker::new(config).start().map_err(|e| e.to_string())));
}

/// Takes batches in order, checks chain and signature, and acknowledges. Nothing else.
pub(crate) struct Depot {
    pub(crate) taps: Vec<TapRecord>,
    name: DepotName,
    client: AsyncClient,
    events: EventLoop,
    hash: Option<ChainHash>,
    states: Vec<StateWord>,
    /// The versions that batches came in.
    pub(crate) versions: Vec<MessageVersion>,
    /// What the newest state says of versions.
    pub(crate) speech: Option<Speech>,
    /// What the newest state says is wrong.
    pub(crate) fault: String,
}

impl Depot {
    pub(crate) async fn start(rig: &mut Rig) -> Self {
        rig.config.broker.port = free_port();
        let port = rig.config.broker.port;
        start_broker(port);
        let mut options = MqttOptions::new("depot", "127.0.0.1", port);
        options.set_max_packet_size(Some(256 * 1024));
        let (client, events) = AsyncClient::new(options, 100);
        let name = rig.config.validator.depot.clone();
        let mut depot = Self {
            taps: vec![],
            name,
            client,
            events,
            hash: None,
            states: vec![],
            versions: vec![],
            speech: None,
            fault: String::new(),
        };
        timeout(PATIENCE, depot.connect()).await.expect("the broker starts");
        depot
    }

    async fn connect(&mut self) {
        loop {
            match self.events.poll().await {
                Ok(Event::Incoming(Packet::ConnAck(_))) => break,
                Ok(_) => {}
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
        for filter in self.name.uplink_filters() {
            self.client.try_subscribe(filter, QoS::AtLeastOnce).unwrap();
        }
        while !matches!(self.events.poll().await, Ok(Event::Incoming(Packet::SubAck(_)))) {}
    }

    /// Waits until so many taps have come.
    pub(crate) async fn until(&mut self, count: usize) {
        timeout(PATIENCE, async {
            while self.taps.len() < count {
                self.step().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("{} of {count} taps came", self.taps.len()));
    }

    /// Goes on until something else has happened.
    pub(crate) async fn serve_until(&mut self, done: impl Future<Output = ()>) {
        let mut done = pin!(done);
        timeout(PATIENCE, async {
            loop {
                tokio::select! {
                    () = &mut done => return,
                    () = self.step() => {}
                }
            }
        })
        .await
        .expect("it happens in time");
    }

    /// Waits for the orderly goodbye.
    pub(crate) async fn until_asleep(&mut self) {
        self.until_state(StateWord::Asleep).await;
    }

    /// Waits until the validator says this of itself.
    pub(crate) async fn until_state(&mut self, word: StateWord) {
        timeout(PATIENCE, async {
            while self.states.last() != Some(&word) {
                self.step().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("states: {:?}", self.states));
    }

    /// Says that it is there, in its `connection`th connection, and what it reads.
    pub(crate) fn says(&self, connection: u64, versions: Versions) {
        let host = HostState { online: true, connection, at: Timestamp(connection), versions };
        let (topic, payload) = (Topic::Host.name(&self.name), sign_host(&host, &depot_key()));
        self.client.try_publish(topic, QoS::AtLeastOnce, true, payload).unwrap();
    }

    /// Waits until the newest state says this of versions.
    pub(crate) async fn until_writes(&mut self, version: Option<MessageVersion>) {
        timeout(PATIENCE, async {
            while self.speech.is_none_or(|speech| speech.writes != version) {
                self.step().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("spoken: {:?}", self.speech));
    }

    /// Waits until the newest state says that this is wrong.
    pub(crate) async fn until_fault(&mut self, words: &str) {
        timeout(PATIENCE, async {
            while !self.fault.contains(words) {
                self.step().await;
            }
        })
        .await
        .unwrap_or_else(|_| panic!("fault: {:?}", self.fault));
    }

    async fn step(&mut self) {
        let event = self.events.poll().await.expect("the broker stays");
        let Event::Incoming(Packet::Publish(message)) = event else { return };
        let topic = String::from_utf8(message.topic.to_vec()).unwrap();
        let key = signing().verifying_key();
        match Topic::parse(&self.name, &topic).unwrap() {
            Topic::Taps(validator) => {
                let own = [depot_key()];
                let receiver = Receiver::Keys(&own);
                let letter = read_batch(&message.payload, validator, &[key], receiver).unwrap();
                self.versions.push(letter.version);
                let batch = letter.says;
                let epoch = batch.head.epoch;
                for (seq, entry) in (batch.head.first.0..).zip(&batch.entries) {
                    if seq != self.taps.len() as u64 + 1 {
                        continue;
                    }
                    let start = ChainHash::start(validator, epoch);
                    self.hash = Some(self.hash.unwrap_or(start).then(entry));
                    let id = (validator, epoch, TapSeq(seq));
                    self.taps.push(wire::decode_entry(entry, id).unwrap());
                }
                // A batch that came again ends before what is known.
                if batch.last().0 == self.taps.len() as u64 {
                    assert_eq!(self.hash, Some(batch.last_hash), "one unbroken chain");
                }
                let ack = Ack {
                    validator,
                    epoch,
                    acked_through: TapSeq(self.taps.len() as u64),
                    missing: vec![],
                    depot_time: Timestamp(self.taps.len() as u64),
                };
                let payload = sign_ack(&ack, &depot_key());
                let topic = Topic::Ack(validator).name(&self.name);
                self.client.try_publish(topic, QoS::AtLeastOnce, true, payload).unwrap();
            }
            Topic::State(validator) => {
                let state = verify_state(&message.payload, validator, &key).unwrap();
                self.states.push(state.word);
                self.speech = state.speech;
                self.fault = state.health.map(|health| health.fault).unwrap_or_default();
            }
            Topic::Ack(_) | Topic::Keys(_) | Topic::Host | Topic::Manifest | Topic::Chunk(_) => {}
        }
    }
}
