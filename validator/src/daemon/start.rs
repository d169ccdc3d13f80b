//! The parts of a start that need many settings.

use std::{path::PathBuf, sync::Arc, time::Duration};

use fleet_sync::{SigningKey, Topic, VerifyingKey};
use link::{Arrival, LinkSettings, Room};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use wire::{Health, ReleaseState, StateWord};

use crate::{
    clock::Clock,
    config::Config,
    gate_task, gnss_task,
    health::Doctor,
    lists::{ConfigList, Input, ListsStatus},
    log_keeper::LogKeeper,
    metrics::Metrics,
    releases::{self, Releases, Watched, Watcher},
    scanner_task,
    screen::RiderScreen,
    sync_loop::{Identity, Said, SyncLoop},
    tap_loop::{AtGate, Event, Service, Tuned},
};

use super::StartError;

const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));
/// More than the uplink's window, so that packet numbers are never used up.
const ROOM: Room = Room { inflight: 256, requests: 256, events: 256 };

/// The file's configuration, what holds with the kept settings of the depot, and the screen as
/// those want it.
pub(super) fn set(
    own: Config,
    mut screen: Box<dyn RiderScreen>,
) -> (Arc<Config>, Arc<Config>, Box<dyn RiderScreen>) {
    let (own, kept) = ConfigList::kept(own);
    if let Some(number) = kept.number {
        tracing::info!(number, "the depot's settings hold");
        screen.adjust(&Tuned::of(&kept).manner);
    }
    (own, kept.config, screen)
}

/// Who signs and checks the messages.
pub(super) fn identity(
    config: &Config,
    (signing, depot_keys): (SigningKey, Vec<VerifyingKey>),
    clock: Clock,
) -> Identity {
    let (validator, depot) = (config.validator.id, config.validator.depot.clone());
    let keep = Duration::from_secs(config.state.keep_days * 86_400);
    let payloads = config.broker.payloads;
    Identity { validator, depot, signing, depot_keys, payloads, keep, clock }
}

/// What the parts around the tap loop share.
pub(super) struct Around<'a> {
    pub(super) config: &'a Config,
    pub(super) clock: Clock,
    pub(super) keeper: &'a LogKeeper,
    pub(super) metrics: &'a Metrics,
}

/// What tells the depot, and what it tells of.
pub(super) struct Line {
    pub(super) doctor: JoinHandle<()>,
    pub(super) software: Software,
    pub(super) sync: JoinHandle<()>,
}

/// Starts the link, what looks after device and software, and the loop that tells the depot.
pub(super) fn line(
    around: &Around<'_>,
    identity: Identity,
    (events, service, inputs, lists): (
        &mpsc::UnboundedSender<Event>,
        &watch::Receiver<Service>,
        std::sync::mpsc::Sender<Input>,
        watch::Receiver<ListsStatus>,
    ),
    releases: Option<Arc<Releases>>,
    (first_connection, stopped): (u64, watch::Receiver<bool>),
) -> Line {
    let Around { config, clock, keeper, metrics } = *around;
    let link = link(config, &identity, keeper, lists.clone(), first_connection);
    let (doctor, health) = doctor(config, clock, keeper, events, metrics);
    let software = software(releases, (&health, service, &lists), metrics, clock);
    let told = (service.clone(), health, software.state.clone());
    let (keeper, metrics) = (keeper.clone(), metrics.clone());
    let sync = SyncLoop::new(identity, keeper, told, (inputs, lists), link, stopped, metrics);
    Line { doctor, software, sync: tokio::spawn(sync.run()) }
}

/// Starts the link to the broker.
fn link(
    config: &Config,
    identity: &Identity,
    keeper: &LogKeeper,
    lists: watch::Receiver<ListsStatus>,
    first_connection: u64,
) -> mpsc::Receiver<link::LinkEvent> {
    let name = |topic: Topic| topic.name(&identity.depot);
    let settings = LinkSettings {
        protocol: config.broker.protocol,
        client: identity.validator.to_string(),
        host: config.broker.host.clone(),
        port: config.broker.port,
        keep_alive: Duration::from_secs(config.broker.keep_alive_s),
        tls: config.broker.tls.clone(),
        subscriptions: vec![
            name(Topic::Ack(identity.validator)),
            // Before the manifest, which may need them.
            name(Topic::Keys(identity.validator)),
            name(Topic::Host),
            name(Topic::Manifest),
        ],
        will_topic: name(Topic::State(identity.validator)),
        first_connection,
        arrival: Arrival::AtOnce,
        room: ROOM,
        retry: RETRY,
    };
    let (log, signer) = (keeper.status(), identity.clone());
    let will = move |connection| {
        let (log, lists) = (&log.borrow(), &lists.borrow());
        let (health, depot, release) = (None, None, None);
        let said = Said { log, lists, reason: "", health, depot, release };
        signer.state(StateWord::Lost, connection, &said)
    };
    link::start(settings, will, crate::random_u32)
}

/// Scanner, gate and satellite receiver, where there are some.
pub(super) fn sensors(
    config: &Config,
    events: &mpsc::UnboundedSender<Event>,
    metrics: &Metrics,
) -> ([JoinHandle<()>; 3], AtGate) {
    let scanner = scanner_task::run(config.scanner.clone(), events.clone(), metrics.clone());
    let (gate, at_gate) = gate_task::start(config.gate.as_ref(), events);
    let gnss = gnss_task::start(config.gnss.as_ref(), events);
    ([tokio::spawn(scanner), gate, gnss], at_gate)
}

/// Starts looking after the device.
fn doctor(
    config: &Config,
    clock: Clock,
    keeper: &LogKeeper,
    events: &mpsc::UnboundedSender<Event>,
    metrics: &Metrics,
) -> (JoinHandle<()>, watch::Receiver<Option<Health>>) {
    let (well, health) = watch::channel(None);
    let doctor = Doctor {
        state: config.state.folder.clone(),
        system: PathBuf::from("/sys"),
        clock,
        keeper: keeper.clone(),
        events: events.clone(),
        metrics: metrics.clone(),
        health: well,
    };
    (tokio::spawn(doctor.run()), health)
}

/// What is on the disk of releases; `None` where none are taken.
pub(super) fn releases(config: &Config) -> Result<Option<Arc<Releases>>, StartError> {
    let Some(key) = config.release.public_key() else { return Ok(None) };
    if std::env::var_os(releases::VARIABLE).is_none() {
        tracing::warn!("releases are taken only by a program that `validator start` began");
        return Ok(None);
    }
    let opened = Releases::open(&config.state.folder, key, config.validator.id)?;
    Ok(Some(Arc::new(opened)))
}

/// What watches over the software.
pub(super) struct Software {
    pub(super) watcher: Option<JoinHandle<()>>,
    state: watch::Receiver<Option<ReleaseState>>,
    pub(super) leave: watch::Receiver<bool>,
}

/// Starts watching for the moment of a switch.
fn software(
    releases: Option<Arc<Releases>>,
    (health, service, lists): (
        &watch::Receiver<Option<Health>>,
        &watch::Receiver<Service>,
        &watch::Receiver<ListsStatus>,
    ),
    metrics: &Metrics,
    clock: Clock,
) -> Software {
    let (state_tell, state) = watch::channel(None);
    let (leave_tell, leave) = watch::channel(false);
    let watcher = releases.map(|releases| {
        let running = std::env::var(releases::VARIABLE).unwrap_or_default();
        let watcher = Watcher {
            releases,
            running,
            health: health.clone(),
            service: service.clone(),
            lists: lists.clone(),
            metrics: metrics.clone(),
            clock,
            told: Watched { state: state_tell, leave: leave_tell },
        };
        tokio::spawn(watcher.run())
    });
    Software { watcher, state, leave }
}
