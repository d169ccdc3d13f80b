//! The parts of a start that need many settings.

use std::{path::PathBuf, time::Duration};

use fleet_sync::{SigningKey, Topic, VerifyingKey};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};
use wire::{Health, StateWord};

use crate::{
    clock::Clock,
    config::Config,
    gate_task, gnss_task,
    health::Doctor,
    link::{self, LinkSettings, TlsFiles},
    lists::ListsStatus,
    log_keeper::LogKeeper,
    metrics::Metrics,
    scanner_task,
    sync_loop::{Identity, Said},
    tap_loop::{AtGate, Event},
};

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

/// Starts the link to the broker.
pub(super) fn link(
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
        tls: config.broker.tls.as_ref().map(|tls| TlsFiles {
            ca: tls.ca.clone(),
            certificate: tls.certificate.clone(),
            key: tls.key.clone(),
        }),
        subscriptions: vec![
            name(Topic::Ack(identity.validator)),
            name(Topic::Host),
            name(Topic::Manifest),
        ],
        will_topic: name(Topic::State(identity.validator)),
        first_connection,
    };
    let (log, signer) = (keeper.status(), identity.clone());
    let will = move |connection| {
        let (log, lists) = (&log.borrow(), &lists.borrow());
        let said = Said { log, lists, reason: "", health: None, depot: None };
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
pub(super) fn doctor(
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
