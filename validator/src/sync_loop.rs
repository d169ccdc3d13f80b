//! The sync loop: drives the uplink between the tap log and the link.
//!
//! It reads the log through its keeper, signs, publishes, and tells the log what the depot has
//! committed. Its clock is the uptime, which never steps; the states it publishes carry wall time.

use std::{collections::BTreeSet, sync::mpsc::Sender, time::Duration};

use ed25519_dalek::{SigningKey, VerifyingKey};
use fleet_sync::{
    Codec, DepotName, HostPresence, Lane, Link, Output, ProtocolError, Receiver, Topic, Uplink,
    UplinkConfig, read_ack, verify_host, with_any, write_batch, write_state,
};
use link::{LinkEvent, Publisher};
use model::{Epoch, TapSeq, Timestamp, ValidatorId};
use tap_log::LifeSpan;
use tokio::{
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, sleep},
};
use wire::{Batch, Health, MessageVersion, ReleaseState, StateWord, Steered, ValidatorState};

use crate::{
    clock::Clock,
    health::shortened,
    lists::{Input, ListsStatus},
    log_keeper::{KeeperError, LogKeeper, LogStatus, Request},
    metrics::Metrics,
    speech::{self, Depot, Payloads},
    tap_loop::Service,
};

/// A changed state is published at most this often, but for births and changes of service.
const STATE_EVERY: Duration = Duration::from_secs(15);
/// An unchanged state is published this often: the depot calls a validator late that is silent
/// for a quarter of an hour.
const HEARTBEAT: Duration = Duration::from_secs(300);
/// How often old entries are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(300);
/// How long the last words may take to leave.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// Retries are spread over this, so that a fleet does not retry in step.
const JITTER_MAX_MS: u32 = 1_000;

/// What stays the same while the daemon runs.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) validator: ValidatorId,
    pub(crate) depot: DepotName,
    pub(crate) signing: SigningKey,
    pub(crate) depot_keys: Vec<VerifyingKey>,
    pub(crate) payloads: Payloads,
    pub(crate) keep: Duration,
    pub(crate) clock: Clock,
}

pub(crate) struct SyncLoop {
    identity: Identity,
    uplink: Uplink,
    host: HostPresence,
    /// As its newest word says; `None` before it was heard.
    depot: Option<Depot>,
    keeper: LogKeeper,
    log: watch::Receiver<LogStatus>,
    service: watch::Receiver<Service>,
    lists: watch::Receiver<ListsStatus>,
    health: watch::Receiver<Option<Health>>,
    release: watch::Receiver<Option<ReleaseState>>,
    to_lists: Sender<Input>,
    link: mpsc::Receiver<LinkEvent>,
    stop: watch::Receiver<bool>,
    metrics: Metrics,
    connection: Option<(u64, Publisher)>,
    lives: BTreeSet<Epoch>,
    outage_said: bool,
}

enum Event {
    Link(LinkEvent),
    Log,
    Service,
    Lists,
    Release,
    Deadline,
    State,
    Prune,
    Stop,
}

/// What a state says besides who says it.
#[derive(Clone, Copy)]
pub(crate) struct Said<'a> {
    pub(crate) log: &'a LogStatus,
    pub(crate) lists: &'a ListsStatus,
    /// Why no taps are taken.
    pub(crate) reason: &'a str,
    pub(crate) health: Option<&'a Health>,
    /// The depot that it is said to, when it was heard.
    pub(crate) depot: Option<&'a Depot>,
    pub(crate) release: Option<&'a ReleaseState>,
}

impl Identity {
    /// The signed state.
    pub(crate) fn state(&self, word: StateWord, connection: u64, said: &Said<'_>) -> Vec<u8> {
        let Said { log, lists, reason, health, depot, release } = *said;
        let live = log.live();
        let state = ValidatorState {
            validator: self.validator,
            word,
            connection,
            epoch: live.epoch,
            software: env!("CARGO_PKG_VERSION").into(),
            tariff: Some(lists.tariff),
            head: live.head,
            acked: live.acked,
            in_doubt: u32::try_from(log.in_doubt).unwrap_or(u32::MAX),
            clock: self.clock.quality(),
            at: self.clock.now(),
            undrained_before: log.undrained_before(),
            lists: Some(lists.state.clone()),
            reason: shortened(reason.to_owned()),
            steered: Steered {
                desired: lists.desired,
                release: release.cloned(),
                settings: lists.settings,
            },
            health: health.map(|health| self.with_silence(health, depot)),
            speech: Some(self.payloads.speech(depot)),
        };
        let payload = write_state(&state, &self.signing, speech::of_states(depot));
        payload.expect("its texts were shortened").expect("nothing is sealed here")
    }

    /// That taps wait is said when nothing worse is.
    fn with_silence(&self, health: &Health, depot: Option<&Depot>) -> Health {
        let mut health = health.clone();
        if health.fault.is_empty() {
            self.payloads.mute(depot).unwrap_or_default().clone_into(&mut health.fault);
        }
        health
    }

    /// The bytes of a batch; `None` when it may not be sent, or cannot be sealed.
    fn payload(&self, batch: &Batch, depot: Option<&Depot>) -> Option<Vec<u8>> {
        let codec = match (self.payloads.version(depot)?, depot) {
            (MessageVersion::V1, _) | (_, None) => Codec::V1,
            (MessageVersion::V2, Some(depot)) => Codec::V2(&depot.key),
            (MessageVersion::V3, Some(depot)) => {
                let mut random = [0; 32];
                if let Err(error) = getrandom::fill(&mut random) {
                    tracing::error!(%error, "nothing is sealed: the system gives no random");
                    return None;
                }
                Codec::V3(&depot.key, random)
            }
        };
        write_batch(batch, &self.signing, codec)
    }
}

impl SyncLoop {
    pub(crate) fn new(
        identity: Identity,
        keeper: LogKeeper,
        (service, health, release): (
            watch::Receiver<Service>,
            watch::Receiver<Option<Health>>,
            watch::Receiver<Option<ReleaseState>>,
        ),
        (to_lists, lists): (Sender<Input>, watch::Receiver<ListsStatus>),
        link: mpsc::Receiver<LinkEvent>,
        stop: watch::Receiver<bool>,
        metrics: Metrics,
    ) -> Self {
        let log = keeper.status();
        let lane = |life: &LifeSpan| {
            let LifeSpan { epoch, pruned_through, acked, acked_at, head } = *life;
            Lane { epoch, pruned_through, acked, acked_at, head }
        };
        let lanes: Vec<Lane> = log.borrow().lives.iter().map(lane).collect();
        Self {
            lives: lanes.iter().map(|lane| lane.epoch).collect(),
            uplink: Uplink::resume(UplinkConfig::default(), lanes),
            host: HostPresence::default(),
            depot: None,
            connection: None,
            outage_said: false,
            identity,
            keeper,
            log,
            service,
            lists,
            health,
            release,
            to_lists,
            link,
            stop,
            metrics,
        }
    }

    pub(crate) async fn run(mut self) {
        let clock = self.identity.clock;
        let heartbeat = clock.lasting(HEARTBEAT);
        let mut reports = interval(clock.lasting(STATE_EVERY));
        let mut prunes = interval(PRUNE_EVERY);
        reports.set_missed_tick_behavior(MissedTickBehavior::Delay);
        prunes.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut published, mut published_at) = (None, self.now());
        loop {
            self.send().await;
            let deadline = self.uplink.wake_at().map(|at| at.since(self.now()));
            let event = tokio::select! {
                Some(event) = self.link.recv() => Event::Link(event),
                Ok(()) = self.log.changed() => Event::Log,
                Ok(()) = self.service.changed() => Event::Service,
                Ok(()) = self.lists.changed() => Event::Lists,
                Ok(()) = self.release.changed() => Event::Release,
                () = sleep(deadline.unwrap_or_default()), if deadline.is_some() => Event::Deadline,
                // A fault is told at once, not with the next look at the clock.
                Ok(()) = self.health.changed() => Event::State,
                _ = reports.tick() => Event::State,
                _ = prunes.tick() => Event::Prune,
                _ = self.stop.changed() => Event::Stop,
            };
            match event {
                Event::Link(event) => self.handle_link(event),
                Event::Log => self.handle_log(),
                Event::Service | Event::Lists | Event::Release => {
                    self.publish_state(self.word());
                }
                Event::Deadline => {
                    let jitter = u64::from(crate::random_u32() % JITTER_MAX_MS);
                    self.uplink.handle_timeout(self.now(), Duration::from_millis(jitter));
                }
                Event::State => {
                    let status = self.log.borrow().clone();
                    // Of the device only a fault is news; the rest comes with the heartbeat.
                    let fault = self.fault();
                    let due = self.now().since(published_at) >= heartbeat;
                    let news = (status, fault);
                    if due || published.as_ref() != Some(&news) {
                        self.publish_state(self.word());
                        (published, published_at) = (Some(news), self.now());
                    }
                }
                Event::Prune => {
                    let keep_ms = u64::try_from(self.identity.keep.as_millis()).unwrap_or(u64::MAX);
                    let keep_since = Timestamp(self.identity.clock.now().0.saturating_sub(keep_ms));
                    self.keeper.ask(Request::Prune { keep_since });
                }
                Event::Stop => return self.say_goodbye().await,
            }
        }
    }

    fn now(&self) -> Timestamp {
        self.identity.clock.uptime()
    }

    fn word(&self) -> StateWord {
        match *self.service.borrow() {
            Service::In => StateWord::Ready,
            Service::Out(_) => StateWord::OutOfService,
        }
    }

    /// What is wrong with the device; `None` before it was looked at.
    fn fault(&self) -> Option<String> {
        let health = self.health.borrow();
        let said = |health| self.identity.with_silence(health, self.depot.as_ref()).fault;
        health.as_ref().map(said)
    }

    async fn send(&mut self) {
        while let Some(output) = self.uplink.poll() {
            match output {
                Output::SendBatch { epoch, from, limit } => {
                    self.send_batch(epoch, from, limit).await;
                }
                Output::Acked { epoch, through, depot_time } => {
                    self.keeper.ask(Request::Acked { epoch, through, depot_time });
                }
            }
        }
    }

    async fn send_batch(&mut self, epoch: Epoch, from: TapSeq, limit: u16) {
        let batch = match self.keeper.batch(epoch, from, limit).await {
            Ok(batch) => batch,
            Err(e @ (KeeperError::Refused(_) | KeeperError::Broken(_))) => {
                let error = crate::chain(&e);
                tracing::error!(%epoch, %from, %error, "entries cannot be read back");
                return self.uplink.handle_unreadable(epoch);
            }
        };
        if let Some((_, publisher)) = &self.connection {
            let topic = Topic::Taps(self.identity.validator).name(&self.identity.depot);
            // Not taken is as good as lost on the way: it is sent again after the ack timeout.
            if let Some(payload) = self.identity.payload(&batch, self.depot.as_ref()) {
                publisher.offer(&topic, payload, false);
                self.metrics.batches.inc();
            }
        }
        self.uplink.handle_sent(self.now(), epoch, batch.last());
    }

    fn handle_link(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Up { connection, publisher } => {
                tracing::info!(connection, "connected to the broker");
                self.outage_said = false;
                self.metrics.link_up.set(1);
                self.metrics.connections.inc();
                self.tell_lists(Input::Up(publisher.clone()));
                self.connection = Some((connection, publisher));
                self.open_uplink();
                self.publish_state(self.word());
            }
            LinkEvent::Down { reason } => {
                // Said once per outage, not once per attempt.
                if self.connection.is_some() || !self.outage_said {
                    tracing::warn!(%reason, "not connected to the broker: taps are kept here");
                }
                self.outage_said = true;
                self.metrics.link_up.set(0);
                self.connection = None;
                self.tell_lists(Input::Down);
                self.uplink.handle_link(self.now(), Link::Down);
            }
            LinkEvent::Refused { reason } => {
                tracing::error!(%reason, "the broker refuses our messages: check its access rules");
            }
            LinkEvent::Message(message) => self.handle_message(&message.topic, &message.payload),
        }
    }

    /// Whatever a peer sends is checked before it is believed.
    fn handle_message(&mut self, topic: &str, payload: &[u8]) {
        let validator = self.identity.validator;
        match Topic::parse(&self.identity.depot, topic) {
            Ok(Topic::Ack(of)) if of == validator => {
                let own = std::slice::from_ref(&self.identity.signing);
                let keys = &self.identity.depot_keys;
                match read_ack(payload, validator, keys, Receiver::Keys(own)) {
                    Ok(letter) => self.handle_ack(&letter.says),
                    Err(e) => tracing::warn!(error = %crate::chain(&e), "ack not believed"),
                }
            }
            Ok(Topic::Host) => {
                match with_any(&self.identity.depot_keys, |key| verify_host(payload, key)) {
                    Ok((state, key)) => {
                        if self.host.handle_host(state) {
                            self.handle_depot(Depot::new(&state, key));
                        }
                        self.uplink.handle_host(self.host.is_online());
                    }
                    Err(e) => tracing::warn!(error = %crate::chain(&e), "presence not believed"),
                }
            }
            Ok(Topic::Manifest) => self.tell_lists(Input::Manifest(payload.to_vec())),
            Ok(Topic::Chunk(id)) => self.tell_lists(Input::Block(id, payload.to_vec())),
            Ok(Topic::Keys(of)) if of == validator => {
                self.tell_lists(Input::Keys(payload.to_vec()));
            }
            Ok(Topic::Taps(_) | Topic::State(_) | Topic::Ack(_) | Topic::Keys(_)) | Err(_) => {
                tracing::warn!(topic, "message on a topic that is not ours");
            }
        }
    }

    /// The depot says what it reads; taps that had to wait for that go.
    fn handle_depot(&mut self, depot: Depot) {
        if self.depot == Some(depot) {
            return;
        }
        let payloads = self.identity.payloads;
        let was_mute = payloads.version(self.depot.as_ref()).is_none();
        self.depot = Some(depot);
        let known = self.depot.as_ref();
        let version = payloads.version(known).map_or(0, MessageVersion::number);
        tracing::info!(reads = %depot.versions, writes = version, "the depot was heard");
        if let Some(why) = payloads.mute(known) {
            tracing::error!("{why}");
        }
        self.metrics.message_version.set(i64::from(version));
        // What is on its way in another version arrives as well.
        if was_mute != payloads.version(self.depot.as_ref()).is_none() {
            self.open_uplink();
        }
        self.publish_state(self.word());
    }

    /// Nothing is sent while nothing may be: the log is read for nothing otherwise.
    fn open_uplink(&mut self) {
        let version = self.identity.payloads.version(self.depot.as_ref());
        self.metrics.message_version.set(i64::from(version.map_or(0, MessageVersion::number)));
        let link = match (&self.connection, version) {
            (Some(_), Some(_)) => Link::Up { session_present: false },
            (None, _) | (_, None) => Link::Down,
        };
        self.uplink.handle_link(self.now(), link);
    }

    fn tell_lists(&self, input: Input) {
        // Its thread ends only after this loop, or because it cannot go on.
        let _ = self.to_lists.send(input);
    }

    fn handle_ack(&mut self, ack: &wire::Ack) {
        match self.uplink.handle_ack(self.now(), ack) {
            Ok(()) => {}
            Err(ProtocolError::AckAheadOfHead { epoch, acked, .. }) => {
                // The log decides: it begins a new life, and its status tells us.
                let depot_time = ack.depot_time;
                self.keeper.ask(Request::Acked { epoch, through: acked, depot_time });
            }
            Err(e @ ProtocolError::AlreadyPruned { .. }) => {
                tracing::error!(error = %e, "the depot lost entries that are gone here too");
            }
        }
    }

    fn handle_log(&mut self) {
        let status = self.log.borrow_and_update().clone();
        for life in &status.lives {
            if self.lives.insert(life.epoch) {
                self.uplink.handle_new_life(life.epoch);
            }
            self.uplink.handle_appended(life.epoch, life.head);
            self.uplink.handle_pruned(life.epoch, life.pruned_through);
        }
    }

    fn publish_state(&self, word: StateWord) {
        if let Some((connection, publisher)) = &self.connection {
            let topic = Topic::State(self.identity.validator).name(&self.identity.depot);
            let (log, lists) = (self.log.borrow(), self.lists.borrow());
            let (service, health) = (self.service.borrow(), self.health.borrow());
            let reason = match &*service {
                Service::In => "",
                Service::Out(why) => why,
            };
            let (health, depot) = (health.as_ref(), self.depot.as_ref());
            let release = self.release.borrow();
            let release = release.as_ref();
            let said = Said { log: &log, lists: &lists, reason, health, depot, release };
            let state = self.identity.state(word, *connection, &said);
            publisher.offer(&topic, state, true);
        }
    }

    async fn say_goodbye(mut self) {
        self.publish_state(StateWord::Asleep);
        if let Some((_, publisher)) = self.connection.take() {
            let down = async {
                publisher.disconnect().await;
                while let Some(event) = self.link.recv().await {
                    if matches!(event, LinkEvent::Down { .. }) {
                        return;
                    }
                }
            };
            // Whatever does not leave in time is sent after the next start.
            let _ = tokio::time::timeout(GOODBYE_MAX, down).await;
        }
    }
}
