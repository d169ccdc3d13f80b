//! Lists at the validator: fetched from the broker, kept on the disk, in force at their time.
//!
//! A thread of its own drives the fetching core, because writes to the disk and the compiling of a
//! tariff must not hold up a tap. It does what the core says, in order, each thing before the next:
//! a manifest is durable before it is followed, a list before it is used (SEC-11). The tap loop is
//! told of tariffs when they come into force, and of lists that are too old to go on (OPS-6). When
//! the disk fails, nothing is fetched any more, and age does the rest.

mod disk;
mod tariffs;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use card::{SealedOrder, read_orders};
use fare::{Tariff, TariffSet};
use fleet_sync::{
    BlockId, DepotName, ListFetcher, ListOutput, ListTrouble, Topic, VerifyingKey, open_tariff,
};
use model::{CardId, TariffVersion, Timestamp};
use tokio::sync::{mpsc::UnboundedSender, watch};
use wire::{HeldList, ListKind, ListsState, limits};

pub use disk::DiskError;
use disk::ListDisk;
use tariffs::Tariffs;

use crate::{clock::Clock, link::Publisher, metrics::Metrics, tap_loop::Event};

/// What this validator makes use of.
const WANTED: [ListKind; 2] = [ListKind::TARIFF, ListKind::ACTIONS];
/// The clock is looked at this often: a wall clock may be set at any time.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What the sync loop passes on.
pub(crate) enum Input {
    /// Connected; this takes subscriptions.
    Up(Publisher),
    /// Not connected any more.
    Down,
    /// A message of `all/manifest`.
    Manifest(Vec<u8>),
    /// A message of `all/chunk/…`.
    Block(BlockId, Vec<u8>),
}

/// What others may know of the lists at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListsStatus {
    /// The tariff in force.
    pub(crate) tariff: TariffVersion,
    /// As the depot is told.
    pub(crate) state: ListsState,
}

/// What does not change while the validator runs.
pub(crate) struct Settings {
    pub(crate) state: PathBuf,
    pub(crate) depot: DepotName,
    pub(crate) depot_key: VerifyingKey,
    /// Every tariff has to have them.
    pub(crate) place: String,
    pub(crate) route: Option<String>,
    /// Lists that are complete may be this old; `None` = of any age.
    pub(crate) age_max: Option<Duration>,
    pub(crate) clock: Clock,
}

/// The lists of one validator.
pub(crate) struct Lists {
    settings: Settings,
    disk: ListDisk,
    fetcher: ListFetcher,
    tariffs: Tariffs,
    orders: Orders,
    /// The version of the orders that taps are made under.
    applied: Arc<AtomicU64>,
    link: Option<Publisher>,
    /// When the newest manifest was signed whose lists were all here; of the first one at least.
    complete: Option<Timestamp>,
    /// Complete lists that are of no use here, and why.
    unusable: BTreeMap<HeldList, String>,
    trouble: String,
    broken: Option<String>,
}

/// Load orders by card, as a list of one version has them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Orders {
    pub(crate) version: u64,
    pub(crate) by_card: Arc<BTreeMap<CardId, SealedOrder>>,
}

/// A running thread of lists.
pub(crate) struct ListsThread {
    pub(crate) inputs: Sender<Input>,
    pub(crate) status: watch::Receiver<ListsStatus>,
    /// The orders to begin with, and where the tap loop says which version it works by.
    pub(crate) orders: Orders,
    pub(crate) applied: Arc<AtomicU64>,
    pub(crate) thread: thread::JoinHandle<()>,
}

/// Where what changes is told.
struct Told {
    tell: UnboundedSender<Event>,
    status: watch::Sender<ListsStatus>,
    metrics: Metrics,
    in_force: TariffVersion,
    changes: u64,
    orders_said: u64,
    too_old: bool,
}

impl Lists {
    /// Reads what is on the disk; `files` are the tariffs of the configuration.
    pub(crate) fn open(settings: Settings, files: TariffSet) -> Result<Self, DiskError> {
        let (disk, found) = ListDisk::open(&settings.state)?;
        let mut tariffs = Tariffs::new(files);
        let mut orders = Orders::default();
        let mut held = Vec::new();
        for (list, pin) in found.lists {
            let content = disk.read_list(list)?.unwrap_or_default();
            match usable(&settings, &tariffs, list, &content) {
                Ok(Usable::Tariffs(with)) => tariffs = with,
                Ok(Usable::Orders(with)) if with.version >= orders.version => orders = with,
                Ok(Usable::Orders(_)) => {}
                Err(problem) => {
                    tracing::warn!(version = list.version, problem, "a kept list is not used");
                    continue;
                }
            }
            held.push((list, pin));
        }
        let manifest = found.manifest.as_deref();
        let key = settings.depot_key;
        let fetcher = ListFetcher::resume(key, &WANTED, manifest, held, found.blocks);
        let complete = found.complete.or_else(|| fetcher.manifest().map(|m| m.issued));
        Ok(Self {
            settings,
            disk,
            fetcher,
            tariffs,
            applied: Arc::new(AtomicU64::new(orders.version)),
            orders,
            link: None,
            complete,
            unusable: BTreeMap::new(),
            trouble: String::new(),
            broken: None,
        })
    }

    /// Every tariff known.
    pub(crate) const fn tariffs(&self) -> &TariffSet {
        self.tariffs.set()
    }

    /// The tariff in force now.
    pub(crate) fn in_force(&self) -> TariffVersion {
        self.tariffs.in_force(self.settings.clock.now())
    }

    /// Starts the thread. It ends with the last sender of its inputs.
    pub(crate) fn start(
        mut self,
        tell: UnboundedSender<Event>,
        metrics: Metrics,
    ) -> std::io::Result<ListsThread> {
        let (inputs, received) = channel();
        let in_force = self.in_force();
        let (status, watched) = watch::channel(self.status(in_force));
        let changes = self.tariffs.changes();
        let (orders, applied) = (self.orders.clone(), Arc::clone(&self.applied));
        let orders_said = orders.version;
        let too_old = false;
        let mut told = Told { tell, status, metrics, in_force, changes, orders_said, too_old };
        let thread = thread::Builder::new().name("lists".into()).spawn(move || {
            self.run(&received, &mut told);
        })?;
        Ok(ListsThread { inputs, status: watched, orders, applied, thread })
    }

    fn run(&mut self, inputs: &Receiver<Input>, told: &mut Told) {
        loop {
            self.drain(told);
            self.tell(told);
            match inputs.recv_timeout(self.pause()) {
                Ok(input) => self.handle(input),
                Err(RecvTimeoutError::Timeout) => {
                    let clock = self.settings.clock;
                    self.fetcher.handle_timeout(clock.uptime(), clock.now());
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Until a tariff comes into force or a block is asked for anew, a second at most.
    fn pause(&self) -> Duration {
        let clock = self.settings.clock;
        let (now, uptime) = (clock.now(), clock.uptime());
        let change = self.tariffs.next_change(now).map(|at| at.since(now));
        let again = self.fetcher.wake_at().map(|at| at.since(uptime));
        let nearest = [change, again].into_iter().flatten().min().unwrap_or(LOOK_EVERY);
        nearest.clamp(Duration::from_millis(1), LOOK_EVERY)
    }

    fn handle(&mut self, input: Input) {
        let now = self.settings.clock.uptime();
        match input {
            Input::Up(publisher) => {
                self.link = Some(publisher);
                self.fetcher.handle_link(now, true);
            }
            Input::Down => {
                self.link = None;
                self.fetcher.handle_link(now, false);
            }
            Input::Manifest(payload) => self.fetcher.handle_manifest(now, &payload),
            Input::Block(id, block) => self.fetcher.handle_block(now, id, block),
        }
    }

    /// Does what the core says.
    fn drain(&mut self, told: &Told) {
        while let Some(output) = self.fetcher.poll() {
            if self.broken.is_some() {
                continue;
            }
            if let Err(error) = self.act(output, told) {
                let error = crate::chain(&error);
                tracing::error!(%error, "lists are not fetched any more");
                self.broken = Some(error);
            }
        }
        let issued = self.fetcher.manifest().map(|manifest| manifest.issued);
        let fresh = issued.filter(|_| self.fetcher.is_complete() || self.complete.is_none());
        if let Some(issued) = fresh
            && self.complete < Some(issued)
            && self.broken.is_none()
        {
            self.complete = Some(issued);
            if let Err(error) = self.disk.keep_complete(issued) {
                self.broken = Some(crate::chain(&error));
            }
        }
    }

    fn act(&mut self, output: ListOutput, told: &Told) -> Result<(), DiskError> {
        let name = |id| Topic::Chunk(id).name(&self.settings.depot);
        match output {
            ListOutput::KeepManifest(payload) => {
                self.disk.keep_manifest(&payload)?;
                self.trouble.clear();
                let version = self.fetcher.manifest().map_or(0, |manifest| manifest.version);
                tracing::info!(version, "a new manifest of lists is trusted");
            }
            ListOutput::Subscribe(id) => {
                // Not taken is as good as lost on the way: it is asked for again.
                let _ = self.link.as_ref().map(|link| link.subscribe(&name(id)));
            }
            ListOutput::Unsubscribe(id) => {
                let _ = self.link.as_ref().map(|link| link.unsubscribe(&name(id)));
            }
            ListOutput::KeepBlock { id, block } => self.disk.keep_block(id, &block)?,
            ListOutput::ForgetBlocks => self.disk.forget_blocks()?,
            ListOutput::Complete { list, from: _, content } => self.complete(list, &content)?,
            ListOutput::Withdrawn(list) => {
                if let Some(version) = tariff_version(list) {
                    self.tariffs.withdraw(version);
                }
                self.disk.remove_list(list)?;
                tracing::info!(kind = list.kind.0, version = list.version, "a list is withdrawn");
            }
            ListOutput::Report(trouble) => self.report(&trouble, told),
        }
        Ok(())
    }

    /// A list is whole: kept first, used then, or said to be of no use.
    fn complete(&mut self, list: HeldList, content: &[u8]) -> Result<(), DiskError> {
        let now = self.settings.clock.uptime();
        let result = if self.fetcher.is_content_of(list, content) {
            usable(&self.settings, &self.tariffs, list, content)
        } else {
            Err("it is not what the manifest says".to_owned())
        };
        match result {
            Ok(usable) => {
                self.disk.keep_list(list, content)?;
                match usable {
                    Usable::Tariffs(tariffs) => self.tariffs = tariffs,
                    Usable::Orders(orders) => self.orders = orders,
                }
                tracing::info!(kind = list.kind.0, version = list.version, "a list is complete");
                self.fetcher.handle_held(now, list);
            }
            Err(problem) => {
                let word = list.kind.word().unwrap_or("list");
                let problem = format!("{word} {} cannot be used: {problem}", list.version);
                tracing::error!(problem, "a list is not used");
                self.unusable.insert(list, problem);
                self.fetcher.handle_unusable(now, list);
            }
        }
        Ok(())
    }

    fn report(&mut self, trouble: &ListTrouble, told: &Told) {
        told.metrics.list_troubles.inc();
        tracing::error!(%trouble, "lists");
        // Its own words say more.
        if !matches!(trouble, ListTrouble::Unusable { .. }) {
            self.trouble = trouble.to_string();
        }
    }

    /// Tells the tap loop and the depot what changed.
    fn tell(&mut self, told: &mut Told) {
        let now = self.settings.clock.now();
        let in_force = self.tariffs.in_force(now);
        if in_force != told.in_force || self.tariffs.changes() != told.changes {
            (told.in_force, told.changes) = (in_force, self.tariffs.changes());
            // A loop that has ended needs no tariffs.
            let _ = told.tell.send(Event::Tariffs(self.tariffs.set().clone(), in_force));
        }
        if self.orders.version != told.orders_said {
            told.orders_said = self.orders.version;
            let _ = told.tell.send(Event::Orders(self.orders.clone()));
        }
        let too_old = self.too_old(now);
        if too_old.is_some() != told.too_old {
            told.too_old = too_old.is_some();
            let _ = told.tell.send(Event::ListsAge(too_old));
        }
        let status = self.status(in_force);
        told.metrics.lists_complete.set(secs(self.complete));
        told.metrics.lists_manifest.set(secs(Some(status.state.issued)));
        for held in &status.state.held {
            let word = held.kind.word().unwrap_or("other");
            let version = i64::try_from(held.version).unwrap_or(i64::MAX);
            told.metrics.list_versions.with_label_values(&[word]).set(version);
        }
        told.status.send_if_modified(|known| {
            let changed = *known != status;
            *known = status;
            changed
        });
    }

    /// Why this validator may not serve any more, if its lists are too old.
    fn too_old(&self, now: Timestamp) -> Option<String> {
        let (since, age_max) = (self.complete?, self.settings.age_max?);
        let hours = now.since(since).as_secs() / 3600;
        let said = format!("the lists are {hours} hours old: no word from the depot");
        (now.since(since) > age_max).then_some(said)
    }

    fn status(&self, tariff: TariffVersion) -> ListsStatus {
        let manifest = self.fetcher.manifest();
        // The depot gives an order back on the word that no tap is made under an older list: that
        // is so once the tap loop has taken the newer one up, between two taps (REC-5).
        let applied = self.applied.load(Ordering::Acquire);
        let worked_by = |list: &HeldList| list.kind != ListKind::ACTIONS || list.version <= applied;
        let trouble = self.broken.as_ref().or_else(|| self.unusable.values().next_back());
        let state = ListsState {
            manifest: manifest.map_or(0, |manifest| manifest.version),
            issued: manifest.map_or(Timestamp(0), |manifest| manifest.issued),
            held: self.fetcher.held().filter(worked_by).take(limits::LISTS).collect(),
            trouble: shortened(trouble.unwrap_or(&self.trouble)),
        };
        ListsStatus { tariff, state }
    }
}

/// What a list is good for here.
enum Usable {
    /// The tariffs, with this list among them.
    Tariffs(Tariffs),
    /// The orders.
    Orders(Orders),
}

/// What the list is good for, or why it is of no use here.
fn usable(
    settings: &Settings,
    tariffs: &Tariffs,
    list: HeldList,
    content: &[u8],
) -> Result<Usable, String> {
    if list.kind == ListKind::ACTIONS {
        let by_card = read_orders(content).map_err(|e| crate::chain(&e))?;
        return Ok(Usable::Orders(Orders { version: list.version, by_card: by_card.into() }));
    }
    let Some(version) = tariff_version(list) else {
        return Err("this version of the validator does not know its kind".to_owned());
    };
    let published = open_tariff(content, &settings.depot_key).map_err(|e| crate::chain(&e))?;
    let tariff = Tariff::parse(&published.text).map_err(|found| {
        found.first().map_or_else(|| "it does not read".to_owned(), ToString::to_string)
    })?;
    if published.version != version || tariff.version() != version {
        return Err("it is of another version than the manifest says".to_owned());
    }
    if tariff.place_ix(&settings.place).is_none() {
        return Err(format!("it has no place {:?}, where this validator stands", settings.place));
    }
    if let Some(route) = settings.route.as_ref().filter(|id| tariff.route_ix(id).is_none()) {
        return Err(format!("it has no route {route:?}, which this validator serves"));
    }
    let mut tariffs = tariffs.clone();
    tariffs.publish(published.starts_at, tariff).map_err(|e| e.to_string())?;
    Ok(Usable::Tariffs(tariffs))
}

fn tariff_version(list: HeldList) -> Option<TariffVersion> {
    let version = u16::try_from(list.version).ok()?;
    (list.kind == ListKind::TARIFF).then_some(TariffVersion(version))
}

/// At most as long as a state may say it, whole characters only.
fn shortened(text: &str) -> String {
    let end = text.len().min(limits::TROUBLE);
    let end = (0..=end).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text[..end].to_owned()
}

fn secs(at: Option<Timestamp>) -> i64 {
    at.map_or(0, |at| i64::try_from(at.secs()).unwrap_or(i64::MAX))
}
