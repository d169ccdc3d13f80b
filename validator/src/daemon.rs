//! Wiring: opens everything, starts the loops, stops them in order.
//!
//! Order of start: log (recovered before anything else), then link and loops. Order of stop: no
//! more taps, then the link's goodbye, then the log, whose keeper ends with its last asker.

mod context;
mod start;
mod start_error;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use fare::TariffSet;
use model::CardId;
use tap_log::{InDoubtTap, RecoveryReport};
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
};
use validation::{Doubt, Hotlist, TapMachine, Tickets, ValidatorContext};

pub(crate) use context::rules;
pub use context::{context, load_tariffs};
pub use start_error::StartError;

use crate::{
    attendant::Attended,
    clock::Clock,
    config::Config,
    console,
    keys::DeviceKeys,
    lists::{self, Blocked, Lists},
    log_keeper::{LogKeeper, LogStatus, OpenError, Opened},
    metrics::{self, Metrics},
    reader_task,
    releases::Releases,
    screen::RiderScreen,
    store::{Durability, OpenReport, StoreOptions},
    sync_loop::Identity,
    tap_loop::{Event, Outage, Service, TapLoop, Underway, Whereabouts, ordered_out},
};
use reader::Reader;

/// How long closing the store may take.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// Everything a validator is made of. The program takes it from files; demo and tests build it.
pub struct Parts {
    /// Checked configuration.
    pub config: Config,
    /// Its keys.
    pub keys: DeviceKeys,
    /// The tariffs it prices with; the newest is in force.
    pub tariffs: TariffSet,
    /// What reads the cards.
    pub reader: Reader,
    /// What the rider sees.
    pub screen: Box<dyn RiderScreen>,
    /// Its time.
    pub clock: Clock,
    /// Always `Synced` but in simulations.
    pub durability: Durability,
}

impl Parts {
    /// With the clock that satellites correct, where they are to.
    fn timed(self) -> Self {
        let corrected = self.config.gnss.as_ref().is_some_and(|gnss| gnss.clock);
        let clock = if corrected { self.clock.with_satellites() } else { self.clock };
        Self { clock, ..self }
    }
}

/// A running validator.
pub struct Daemon {
    events: mpsc::UnboundedSender<Event>,
    stop: watch::Sender<bool>,
    metrics: Metrics,
    log: watch::Receiver<LogStatus>,
    service: watch::Receiver<Service>,
    recovery: RecoveryReport,
    store: OpenReport,
    taps: JoinHandle<()>,
    reader: JoinHandle<()>,
    sync: JoinHandle<()>,
    lists: std::thread::JoinHandle<()>,
    follow: JoinHandle<()>,
    sensors: [JoinHandle<()>; 3],
    console: JoinHandle<()>,
    doctor: JoinHandle<()>,
    software: Option<JoinHandle<()>>,
    leave: watch::Receiver<bool>,
    page: Option<(SocketAddr, JoinHandle<()>)>,
}

impl Daemon {
    /// Starts a validator on the current runtime.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let Parts { config, keys, tariffs, reader, screen, clock, durability } = parts.timed();
        let (own, config, screen) = start::set(config, screen);
        let metrics = Metrics::watching(screen.drivers());
        let opened = open_log(&config, clock, metrics.clone(), durability).await?;
        let Opened { keeper, recovery, store, in_doubt, first_connection, .. } = opened;
        // After the log, whose lock says that the folder is ours.
        let releases = start::releases(&config)?;
        let identity = start::identity(&config, (keys.signing, keys.depot), clock);
        let (lists, context) =
            informed((&own, &config), &identity, tariffs, clock, releases.as_ref()).await?;
        let whereabouts = Whereabouts::of(&config, &context);
        let (service_tell, service) = watch::channel(Service::In);
        let console = console_socket(&config)?;
        let page = metrics_page(&config, &metrics, &service).await?;
        let log = keeper.status();
        let (stop, stopped) = watch::channel(false);
        let (events, tap_events) = mpsc::unbounded_channel();
        let lists = lists.start(events.clone(), metrics.clone()).map_err(OpenError::Thread)?;
        let around = start::Around { config: &config, clock, keeper: &keeper, metrics: &metrics };
        let says = (&events, &service, lists.inputs, lists.status);
        let line = start::line(&around, identity, says, releases, (first_connection, stopped));
        let (ask, asks) = mpsc::unbounded_channel();
        let (sensors, gate) = start::sensors(&config, &events, &metrics);
        let taps = TapLoop {
            machine: machine(&config, context, &recovery, &in_doubt),
            keeper,
            keys: keys.card,
            clock,
            metrics: metrics.clone(),
            screen: Attended::new(screen),
            language: config.validator.language,
            reader: ask,
            tell: events.clone(),
            service: service_tell,
            keys_lost: None,
            lists_old: None,
            cramped: None,
            ordered_out: lists.desired.as_ref().and_then(ordered_out),
            orders: lists.orders,
            hotlist: lists.hotlist,
            applied: lists.applied,
            whereabouts,
            gate,
            tap: Underway::default(),
            outage: Outage::default(),
        };
        Ok(Self {
            follow: tokio::spawn(follow_log(log.clone(), events.clone())),
            sensors,
            console: tokio::spawn(console::run(console, events.clone())),
            doctor: line.doctor,
            software: line.software.watcher,
            leave: line.software.leave,
            reader: tokio::spawn(reader_task::run(reader, asks, events.clone(), clock)),
            taps: tokio::spawn(taps.run(tap_events)),
            sync: line.sync,
            lists: lists.thread,
            events,
            stop,
            metrics,
            log,
            service,
            recovery,
            store,
            page,
        })
    }

    /// Returns when this program is to end, for another release to be started.
    pub(crate) async fn left(&self) {
        let mut leave = self.leave.clone();
        if leave.wait_for(|leave| *leave).await.is_err() {
            // No releases are taken.
            std::future::pending::<()>().await;
        }
    }

    /// Its series.
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Where `/metrics` is served, if it is.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.page.as_ref().map(|(address, _)| *address)
    }

    /// Follows its log: head, acknowledged mark, taps in doubt.
    pub fn log(&self) -> watch::Receiver<LogStatus> {
        self.log.clone()
    }

    /// Follows whether it takes taps.
    pub fn service(&self) -> watch::Receiver<Service> {
        self.service.clone()
    }

    /// What recovery found at start.
    pub const fn recovery(&self) -> &RecoveryReport {
        &self.recovery
    }

    /// What opening the store had to do at start.
    pub const fn store(&self) -> &OpenReport {
        &self.store
    }

    /// Returns when the tap loop and the tap log have both answered.
    pub(crate) async fn pulse(&self) {
        let (tell, told) = oneshot::channel();
        // A loop that has ended drops what it is asked, and so does a log that is broken.
        let _ = self.events.send(Event::Pulse(tell));
        if told.await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// New tariffs or place, from the next tap on.
    pub fn replace_context(&self, context: ValidatorContext) {
        // A daemon that is stopping needs none.
        let _ = self.events.send(Event::Context(Box::new(context)));
    }

    /// Refuses these cards, as a list from a depot would; the simulator has no depot.
    pub(crate) fn refuse_cards(&self, cards: Hotlist) {
        // A daemon that is stopping refuses none.
        let _ = self.events.send(Event::Hotlist(Blocked { version: 1, cards }));
    }

    /// Ends the tap under way, says goodbye to the broker, and closes the log.
    pub async fn stop(mut self) {
        let _ = self.events.send(Event::Shutdown);
        // A task that panicked has said so itself; the others are still stopped in order.
        let _ = (&mut self.taps).await;
        let _ = (&mut self.reader).await;
        let _ = self.stop.send(true);
        let _ = (&mut self.sync).await;
        self.kill().await;
    }

    /// Ends at once, as a power cut would end it: nothing is said, nothing more is written.
    /// Returns when the store may be opened again.
    pub async fn kill(mut self) {
        if let Some((_, page)) = &self.page {
            page.abort();
        }
        let Self { taps, reader, sync, follow, console, doctor, sensors, software, .. } = self;
        let tasks = [taps, reader, sync, follow, console, doctor];
        let tasks: Vec<_> = tasks.into_iter().chain(sensors).chain(software).collect();
        tasks.iter().for_each(JoinHandle::abort);
        for task in tasks {
            // One that has ended was waited for before, perhaps, and cannot be again.
            if !task.is_finished() {
                let _ = task.await;
            }
        }
        // The thread of the lists ends with the sync loop, and writes to its folder until then.
        let lists = tokio::task::spawn_blocking(move || self.lists.join());
        let _ = tokio::time::timeout(CLOSE_MAX, lists).await;
        // The log keeper ends with its last asker, and closes the store before this channel.
        let closed = async { while self.log.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(CLOSE_MAX, closed).await;
    }
}

async fn open_log(
    config: &Config,
    clock: Clock,
    metrics: Metrics,
    durability: Durability,
) -> Result<Opened, StartError> {
    let folder = config.state.folder.clone();
    let options = StoreOptions {
        cache_bytes: config.state.cache_mib << 20,
        reserve_bytes: config.state.reserve_mib << 20,
        open_deadline: Duration::from_secs(config.state.open_deadline_s),
        durability,
    };
    let validator = config.validator.id;
    let open = move || LogKeeper::open(&folder, options, validator, clock, metrics);
    let opened = tokio::task::spawn_blocking(open)
        .await
        .map_err(|e| OpenError::Thread(std::io::Error::other(e)))??;
    let recovery = &opened.recovery;
    tracing::info!(
        decision = ?recovery.decision,
        epoch = %recovery.guard.epoch,
        became_in_doubt = recovery.became_in_doubt.len(),
        tickets_taken = recovery.tickets.len(),
        damaged = recovery.damaged.len(),
        stranded = recovery.stranded,
        quarantined = ?opened.store.quarantined,
        "tap log recovered"
    );
    let salvage = &opened.salvage;
    if salvage.entries + salvage.unreachable > 0 {
        let (entries, unreachable) = (salvage.entries, salvage.unreachable);
        tracing::warn!(entries, unreachable, "entries of a damaged store go to the depot");
    }
    for (folder, error) in &salvage.unread {
        let folder = folder.display();
        tracing::error!(%folder, error, "a damaged store cannot be read: look at its device");
    }
    Ok(opened)
}

/// The lists that are on the disk, which may hold newer tariffs than the files, and what is known
/// with them.
async fn informed(
    (own, config): (&Arc<Config>, &Arc<Config>),
    identity: &Identity,
    files: TariffSet,
    clock: Clock,
    releases: Option<&Arc<Releases>>,
) -> Result<(Lists, ValidatorContext), StartError> {
    let settings = lists::Settings {
        validator: config.validator.id,
        state: config.state.folder.clone(),
        depot: config.validator.depot.clone(),
        depot_keys: identity.depot_keys.clone(),
        signing: identity.signing.clone(),
        place: config.validator.place.clone(),
        route: config.validator.route.clone(),
        own: Arc::clone(own),
        started: Arc::clone(config),
        clock,
        releases: releases.cloned(),
    };
    let opened = tokio::task::spawn_blocking(move || Lists::open(settings, files))
        .await
        .map_err(|e| OpenError::Thread(std::io::Error::other(e)))?;
    let lists = opened?;
    let known = (lists.tariffs(), lists.in_force());
    let mut context = context(config, known, clock.quality())?;
    (context.hotlist, context.hotlist_version) = lists.hotlist();
    Ok((lists, context))
}

fn console_socket(config: &Config) -> Result<Option<UnixListener>, StartError> {
    let Some(path) = &config.console.socket else { return Ok(None) };
    let listener = console::listen(path);
    listener.map(Some).map_err(|source| StartError::Console { path: path.clone(), source })
}

/// Serves the metrics, where that is wanted.
async fn metrics_page(
    config: &Config,
    metrics: &Metrics,
    service: &watch::Receiver<Service>,
) -> Result<Option<(SocketAddr, JoinHandle<()>)>, StartError> {
    let Some(address) = config.metrics.listen else { return Ok(None) };
    let served = metrics::serve(address, metrics.clone(), service.clone()).await;
    served.map(Some).map_err(|source| StartError::Metrics { address, source })
}

/// The rules, with what the log knows of taps that its riders may come back for.
fn machine(
    config: &Config,
    context: ValidatorContext,
    recovery: &RecoveryReport,
    in_doubt: &[InDoubtTap],
) -> TapMachine {
    let doubts = in_doubt.iter().filter_map(doubt).chain(unshown(recovery, &context));
    TapMachine::new(context, doubts).with_tickets(tickets(config, recovery))
}

/// Whose tickets are taken, and which were taken before.
fn tickets(config: &Config, recovery: &RecoveryReport) -> Tickets {
    Tickets::new(config.tickets.public_keys(), config.tickets.repeat_window())
        .with_taken(recovery.tickets.iter().copied())
        .with_unshown(recovery.unshown.as_ref())
}

/// The last rider before a power loss, who may stand there without having passed.
fn unshown(recovery: &RecoveryReport, context: &ValidatorContext) -> Option<(CardId, Doubt)> {
    let (card, doubt) = recovery.unshown.as_ref().and_then(Doubt::unshown)?;
    if !recovery.turned_back {
        return Some((card, doubt));
    }
    doubt.turned_back(&context.tariffs).map(|again| (card, again))
}

fn doubt(tap: &InDoubtTap) -> Option<(CardId, Doubt)> {
    let InDoubtTap { card, seq, tapped_at, clock, transaction, order } = *tap;
    Some((
        card?,
        Doubt { seq, tapped_at, clock, transaction, order, settled: false, again_within: None },
    ))
}

/// Tells the tap loop when the log begins a new life.
/// Tells the tap loop of a new life of the log, and whether there is room for more taps.
async fn follow_log(mut log: watch::Receiver<LogStatus>, tell: mpsc::UnboundedSender<Event>) {
    let mut epoch = log.borrow().live().epoch;
    let mut cramped = None;
    log.mark_changed();
    while log.changed().await.is_ok() {
        let (now, too_little) = {
            let status = log.borrow_and_update();
            (status.live().epoch, status.cramped.clone())
        };
        let mut news = Vec::new();
        if now != epoch {
            epoch = now;
            news.push(Event::NewLife);
        }
        if too_little != cramped {
            cramped.clone_from(&too_little);
            news.push(Event::Room(too_little));
        }
        if news.into_iter().any(|event| tell.send(event).is_err()) {
            return;
        }
    }
}
