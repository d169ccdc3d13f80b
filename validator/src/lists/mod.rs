//! Lists at the validator: fetched from the broker, kept on the disk, in force at their time.
//!
//! A thread of its own drives the fetching core, because writes to the disk and the compiling of a
//! tariff must not hold up a tap. It does what the core says, in order, each thing before the next:
//! a manifest is durable before it is followed, a list before it is used (SEC-11). The tap loop is
//! told of tariffs when they come into force, and of lists that are too old to go on (OPS-6). When
//! the disk fails, nothing is fetched any more, and age does the rest.

mod config;
mod contents;
mod disk;
mod sealed;
mod tariffs;
mod telling;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    },
    thread,
    time::Duration,
};

use fare::TariffSet;
use fleet_sync::{
    BlockId, DepotName, ListFetcher, ListOutput, ListTrouble, SigningKey, Topic, VerifyingKey,
    verify_manifest, with_any,
};
use link::Publisher;
use model::{TariffVersion, Timestamp, ValidatorId};
use tokio::sync::{mpsc::UnboundedSender, watch};
use validation::Hotlist;
use wire::{Desired, DesiredState, HeldList, ListKind, ListsState};

pub(crate) use config::{ConfigList, kept_settings};
pub(crate) use contents::{Applied, Blocked, Orders};
use contents::{DesiredList, Usable, count, tariff_version, usable};
pub use disk::DiskError;
use disk::ListDisk;
use sealed::Keys;
use tariffs::Tariffs;
use telling::Told;

use crate::{clock::Clock, config::Config, metrics::Metrics, releases::Releases, tap_loop::Event};

/// What this validator makes use of.
const WANTED: [ListKind; 6] = [
    ListKind::TARIFF,
    ListKind::HOTLIST,
    ListKind::ACTIONS,
    ListKind::CONFIG,
    ListKind::PLAN,
    ListKind::DESIRED,
];
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
    /// A message of this validator's `down/keys`.
    Keys(Vec<u8>),
}

/// What others may know of the lists at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ListsStatus {
    /// The tariff in force.
    pub(crate) tariff: TariffVersion,
    /// As the depot is told.
    pub(crate) state: ListsState,
    /// What this validator is to be, and is.
    pub(crate) desired: Option<DesiredState>,
    /// The version of the settings that it goes by in everything.
    pub(crate) settings: Option<u64>,
    /// Whether the depot was heard since the start.
    pub(crate) heard: bool,
}

/// What does not change while the validator runs.
pub(crate) struct Settings {
    pub(crate) validator: ValidatorId,
    pub(crate) state: PathBuf,
    pub(crate) depot: DepotName,
    pub(crate) depot_keys: Vec<VerifyingKey>,
    /// This validator's own key, which opens what is sealed for it.
    pub(crate) signing: SigningKey,
    /// Every tariff has to have them.
    pub(crate) place: String,
    pub(crate) route: Option<String>,
    /// The file's configuration, and the one that this start went by.
    pub(crate) own: Arc<Config>,
    pub(crate) started: Arc<Config>,
    pub(crate) clock: Clock,
    /// `None` where no releases are taken.
    pub(crate) releases: Option<Arc<Releases>>,
}

/// The lists of one validator.
pub(crate) struct Lists {
    settings: Settings,
    disk: ListDisk,
    fetcher: ListFetcher,
    keys: Keys,
    tariffs: Tariffs,
    orders: Orders,
    hotlist: Blocked,
    desired: DesiredList,
    config: ConfigList,
    /// The version of the settings that this validator went by last in everything.
    settled: Option<u64>,
    applied: Applied,
    link: Option<Publisher>,
    /// When the newest manifest was signed whose lists were all here; of the first one at least.
    complete: Option<Timestamp>,
    /// Complete lists that are of no use here, and why.
    unusable: BTreeMap<HeldList, String>,
    trouble: String,
    broken: Option<String>,
    heard: bool,
}

/// A running thread of lists.
pub(crate) struct ListsThread {
    pub(crate) inputs: Sender<Input>,
    pub(crate) status: watch::Receiver<ListsStatus>,
    /// What to begin with, and where the tap loop says which versions it works by.
    pub(crate) orders: Orders,
    pub(crate) hotlist: Blocked,
    pub(crate) desired: Option<Desired>,
    pub(crate) applied: Applied,
    pub(crate) thread: thread::JoinHandle<()>,
}

impl Lists {
    /// Reads what is on the disk; `files` are the tariffs of the configuration.
    pub(crate) fn open(settings: Settings, files: TariffSet) -> Result<Self, DiskError> {
        let (disk, found) = ListDisk::open(&settings.state)?;
        let mut tariffs = Tariffs::new(files);
        let (mut orders, mut hotlist) = (Orders::default(), Blocked::default());
        let (mut desired, mut held) = (DesiredList::default(), Vec::new());
        let mut config = ConfigList::none(Arc::clone(&settings.own));
        for (list, pin) in found.lists {
            if list.kind == ListKind::IMAGE {
                // Its program is kept elsewhere, or comes again.
                disk.remove_list(list)?;
                continue;
            }
            let content = disk.read_list(list)?.unwrap_or_default();
            match usable(&settings, &tariffs, list, &content) {
                Ok(Usable::Tariffs(with)) => tariffs = with,
                Ok(Usable::Orders(with)) if with.version >= orders.version => orders = with,
                Ok(Usable::Hotlist(with)) if with.version >= hotlist.version => hotlist = with,
                Ok(Usable::Desired(with)) if with.version >= desired.version => desired = with,
                Ok(Usable::Config(with)) if with.version >= config.version => config = with,
                Ok(Usable::Plans(plans)) => settings.take_plans(plans),
                Ok(
                    Usable::Orders(_)
                    | Usable::Hotlist(_)
                    | Usable::Desired(_)
                    | Usable::Config(_)
                    | Usable::Image,
                ) => {}
                Err(problem) => {
                    tracing::warn!(version = list.version, problem, "a kept list is not used");
                    continue;
                }
            }
            held.push((list, pin));
        }
        let manifest = found.manifest.as_deref();
        let keys = Keys::open(&settings, found.keys.as_deref());
        let (depot, here) = (&settings.depot_keys, keys.ring.numbers());
        let fetcher = ListFetcher::resume(depot, &WANTED, manifest, held, here, found.blocks);
        let complete = found.complete.or_else(|| fetcher.manifest().map(|m| m.issued));
        Ok(Self {
            settings,
            disk,
            fetcher,
            keys,
            tariffs,
            applied: Applied::new(orders.version, hotlist.version, config.version),
            orders,
            hotlist,
            desired,
            settled: config.number,
            config,
            link: None,
            complete,
            unusable: BTreeMap::new(),
            trouble: String::new(),
            broken: None,
            heard: false,
        })
    }

    /// Every tariff known.
    pub(crate) const fn tariffs(&self) -> &TariffSet {
        self.tariffs.set()
    }

    /// The cards to refuse, and the version that entries name.
    pub(crate) fn hotlist(&self) -> (Hotlist, Option<u64>) {
        (self.hotlist.cards.clone(), self.hotlist.named())
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
        let (orders, hotlist) = (self.orders.clone(), self.hotlist.clone());
        let applied = self.applied.clone();
        let desired = self.desired.of(&self.settings).cloned();
        let mut told = Told {
            tell,
            status,
            metrics,
            in_force,
            changes,
            orders_said: orders.version,
            hotlist_said: hotlist.version,
            config_said: self.config.version,
            desired: desired.clone(),
            too_old: false,
        };
        told.metrics.hotlist_cards.set(count(hotlist.cards.len()));
        let thread = thread::Builder::new().name("lists".into()).spawn(move || {
            self.run(&received, &mut told);
        })?;
        Ok(ListsThread { inputs, status: watched, orders, hotlist, desired, applied, thread })
    }

    fn run(&mut self, inputs: &Receiver<Input>, told: &mut Told) {
        loop {
            self.select_images();
            self.drain(told);
            self.tell(told);
            match inputs.recv_timeout(self.pause()) {
                Ok(input) => self.handle(input, told),
                Err(RecvTimeoutError::Timeout) => {
                    let clock = self.settings.clock;
                    self.fetcher.handle_timeout(clock.uptime(), clock.now());
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    /// Until a tariff comes into force, a block is asked for anew or a desired state ends, a second
    /// at most.
    fn pause(&self) -> Duration {
        let clock = self.settings.clock;
        let (now, uptime) = (clock.now(), clock.uptime());
        let change = self.tariffs.next_change(now).map(|at| at.since(now));
        let ends = self.desired.next_end(&self.settings).map(|at| at.since(now));
        let again = self.fetcher.wake_at().map(|at| at.since(uptime));
        let nearest = [change, again, ends].into_iter().flatten().min().unwrap_or(LOOK_EVERY);
        nearest.clamp(Duration::from_millis(1), LOOK_EVERY)
    }

    fn handle(&mut self, input: Input, told: &Told) {
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
            Input::Manifest(payload) => {
                let keys = &self.settings.depot_keys;
                self.heard |= with_any(keys, |key| verify_manifest(&payload, key)).is_ok();
                self.fetcher.handle_manifest(now, &payload);
            }
            Input::Block(id, block) => self.fetcher.handle_block(now, id, block),
            Input::Keys(payload) => self.take_keys(&payload, told),
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
            ListOutput::Complete { list, from, key, content } => {
                let whole = self.content_of(list, from, key, content)?;
                self.complete(list, whole)?;
            }
            ListOutput::Reseal { list, key } => self.reseal(list, key)?,
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
    fn complete(
        &mut self,
        list: HeldList,
        whole: Result<Vec<u8>, String>,
    ) -> Result<(), DiskError> {
        let now = self.settings.clock.uptime();
        let use_it = |content: Vec<u8>| {
            Ok((usable(&self.settings, &self.tariffs, list, &content)?, content))
        };
        let result = whole.and_then(use_it);
        match result {
            Ok((usable, content)) => {
                // A release's program is kept already, and nothing else of it is needed.
                if !matches!(usable, Usable::Image) {
                    self.disk.keep_list(list, &content)?;
                }
                // A list that no delta led to may have come whole.
                self.unusable.remove(&list);
                match usable {
                    Usable::Hotlist(hotlist) => self.hotlist = hotlist,
                    Usable::Tariffs(tariffs) => self.tariffs = tariffs,
                    Usable::Orders(orders) => self.orders = orders,
                    Usable::Desired(desired) => self.desired = desired,
                    Usable::Config(config) => self.config = config,
                    Usable::Plans(plans) => self.settings.take_plans(plans),
                    Usable::Image => {}
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

    /// Which images are fetched follows from the plans and from what became of them.
    fn select_images(&mut self) {
        if let Some(releases) = &self.settings.releases {
            let now = self.settings.clock.uptime();
            self.fetcher.handle_selected(now, releases.wanted());
        }
    }

    fn report(&mut self, trouble: &ListTrouble, told: &Told) {
        told.metrics.list_troubles.inc();
        tracing::error!(%trouble, "lists");
        // Its own words say more.
        if !matches!(trouble, ListTrouble::Unusable { .. }) {
            self.trouble = trouble.to_string();
        }
    }
}
