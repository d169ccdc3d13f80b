//! Drives the pipeline from the link: the first stage of one group runs while the second stage of
//! the group before it waits for the disk. Whatever arrived meanwhile becomes the next group.

use std::thread;

use fleet_sync::{DepotName, SigningKey, Topic, sign_host};
use link::{Incoming, LinkEvent, LinkSettings, Publisher, Receipt};
use model::Timestamp;
use tokio::sync::{
    mpsc::{self, error::TryRecvError},
    watch,
};
use wire::{HostState, Versions};

use super::{Back, Checked, Front, IntakeError, Message, Output, Pipeline};
use crate::{clock::Clock, metrics::Metrics};

/// A group of messages with the right to acknowledge them.
struct Group<T> {
    work: T,
    receipts: Vec<Receipt>,
}

/// The connection that stands.
struct Connected {
    connection: u64,
    publisher: Publisher,
}

/// What the loop needs besides the pipeline.
pub struct Surroundings {
    /// The link's settings; its presence topic is ours.
    pub link: LinkSettings,
    /// The depot's level in the topics.
    pub depot: DepotName,
    /// Signs presence.
    pub signing: SigningKey,
    /// Batches of one commit at most.
    pub group_max: usize,
    /// Counters.
    pub metrics: Metrics,
    /// The time.
    pub clock: Clock,
    /// Told of the connection that stands, for whoever else sends.
    pub sending: watch::Sender<Option<Publisher>>,
    /// Messages that come another way than over the link.
    pub inbox: mpsc::Receiver<Incoming>,
}

/// Takes messages until `stop` says so, then finishes what it has begun.
pub async fn run(pipeline: Pipeline, mut around: Surroundings, mut stop: watch::Receiver<bool>) {
    let Pipeline { front, back } = pipeline;
    let (to_front, at_front) = mpsc::channel::<Group<Vec<Message>>>(1);
    let (to_back, at_back) = mpsc::channel::<Group<Vec<Checked>>>(1);
    let (done, mut booked) = mpsc::channel::<Group<Result<Output, IntakeError>>>(4);
    let first = spawn("intake-check", move || check_loop(front, at_front, &to_back));
    let second = spawn("intake-book", move || book_loop(back, at_back, &done));

    let will = will(&around);
    let mut events = link::start(around.link.clone(), will, jitter);
    let mut connected: Option<Connected> = None;
    let mut waiting: Vec<Incoming> = Vec::new();
    let mut to_front = Some(to_front);
    loop {
        around.metrics.ingest_queue.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
        let front = to_front.clone().filter(|_| !waiting.is_empty());
        tokio::select! {
            Some(event) = events.recv(), if to_front.is_some() => {
                on_link(event, &around, &mut connected, &mut waiting).await;
            }
            Some(message) = around.inbox.recv(), if to_front.is_some() => waiting.push(message),
            // Room at the first stage: everything that waits becomes one group.
            permit = reserve(front.clone()), if front.is_some() => {
                let Some(permit) = permit else { break };
                let _ = permit.send(group(&mut waiting, around.group_max));
            }
            group = booked.recv() => match group {
                Some(group) => on_booked(group, connected.as_ref(), &around).await,
                None => break,
            },
            () = told_to(&mut stop), if to_front.is_some() => {
                // No new groups; the stages end when their queues are empty.
                to_front = None;
            }
        }
    }
    say_goodbye(&around, connected).await;
    for stage in [first, second] {
        if stage.join().is_err() {
            tracing::error!("a stage of the intake stopped by a fault of its own");
        }
    }
}

/// Resolves when the flag is set, or when nobody is left to set it.
pub(crate) async fn told_to(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|set| *set).await;
}

async fn reserve<T>(sender: Option<mpsc::Sender<T>>) -> Option<mpsc::OwnedPermit<T>> {
    sender?.reserve_owned().await.ok()
}

fn group(waiting: &mut Vec<Incoming>, group_max: usize) -> Group<Vec<Message>> {
    let take = waiting.len().min(group_max);
    let (work, receipts) = waiting
        .drain(..take)
        .map(|Incoming { topic, payload, receipt }| (Message { topic, payload }, receipt))
        .unzip();
    Group { work, receipts }
}

async fn on_link(
    event: LinkEvent,
    around: &Surroundings,
    connected: &mut Option<Connected>,
    waiting: &mut Vec<Incoming>,
) {
    let attempts = &around.metrics.link_connects;
    match event {
        LinkEvent::Up { connection, publisher: fresh } => {
            tracing::info!(connection, broker = around.link.host, "connected to the broker");
            attempts.with_label_values(&["connected"]).inc();
            around.metrics.link_up.set(1);
            let host = presence(around, true, connection, around.clock.now());
            fresh.publish(&around.link.will_topic, host, true).await;
            around.sending.send_replace(Some(fresh.clone()));
            *connected = Some(Connected { connection, publisher: fresh });
        }
        LinkEvent::Message(message) => waiting.push(*message),
        LinkEvent::Refused { reason } => {
            tracing::warn!(reason, "the broker refuses: look at its access rules for this depot");
        }
        LinkEvent::Down { reason } => {
            let broker = format!("{}:{}", around.link.host, around.link.port);
            if connected.take().is_none() {
                attempts.with_label_values(&["failed"]).inc();
            }
            around.metrics.link_up.set(0);
            around.sending.send_replace(None);
            tracing::warn!(reason, broker, "not connected to the broker; trying again");
        }
    }
}

async fn on_booked(
    group: Group<Result<Output, IntakeError>>,
    connected: Option<&Connected>,
    around: &Surroundings,
) {
    let output = match group.work {
        Ok(output) => output,
        Err(error) => {
            // Not acked: the validators send it again.
            tracing::error!(error = %chain(&error), "a group was not booked");
            return;
        }
    };
    if let Some(Connected { publisher, .. }) = connected {
        for (topic, ack) in output.acks {
            if !publisher.publish(&topic, ack, true).await {
                break;
            }
        }
    }
    for receipt in group.receipts {
        receipt.acknowledge().await;
    }
    tracing::debug!(taps = output.new_taps, depot = %around.depot, "booked a group");
}

/// An error with its causes, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

async fn say_goodbye(around: &Surroundings, connected: Option<Connected>) {
    let Some(Connected { connection, publisher }) = connected else { return };
    let host = presence(around, false, connection, around.clock.now());
    publisher.publish(&around.link.will_topic, host, true).await;
    publisher.disconnect().await;
}

fn presence(around: &Surroundings, online: bool, connection: u64, at: Timestamp) -> Vec<u8> {
    sign_host(&host(online, connection, at), &around.signing)
}

fn will(around: &Surroundings) -> impl Fn(u64) -> Vec<u8> + Send + Sync + 'static {
    let (signing, clock) = (around.signing.clone(), around.clock.clone());
    move |connection| sign_host(&host(false, connection, clock.now()), &signing)
}

const fn host(online: bool, connection: u64, at: Timestamp) -> HostState {
    HostState { online, connection, at, versions: Versions::ALL }
}

/// Without random bytes every pause is the shortest, which harms a single depot nothing.
fn jitter() -> u32 {
    getrandom::u32().unwrap_or_default()
}

/// Where this depot's presence stands.
pub fn presence_topic(depot: &DepotName) -> String {
    Topic::Host.name(depot)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    thread::Builder::new().name(name.to_owned()).spawn(work).expect("the system starts two threads")
}

fn check_loop(
    mut front: Front,
    mut groups: mpsc::Receiver<Group<Vec<Message>>>,
    next: &mpsc::Sender<Group<Vec<Checked>>>,
) {
    while let Some(Group { work, receipts }) = groups.blocking_recv() {
        match front.check(work) {
            Ok(work) => {
                if next.blocking_send(Group { work, receipts }).is_err() {
                    return;
                }
            }
            Err(error) => tracing::error!(error = %chain(&error), "a group was not checked"),
        }
    }
}

fn book_loop(
    mut back: Back,
    mut groups: mpsc::Receiver<Group<Vec<Checked>>>,
    next: &mpsc::Sender<Group<Result<Output, IntakeError>>>,
) {
    // What a crash left undone is the first thing to do.
    let mut has_more = true;
    loop {
        let group = if has_more { groups.try_recv() } else { Err(TryRecvError::Empty) };
        let group = match group {
            Err(TryRecvError::Empty) if has_more => {
                has_more = back.settle_due();
                continue;
            }
            Err(TryRecvError::Empty) => groups.blocking_recv(),
            group => group.ok(),
        };
        let Some(Group { work, receipts }) = group else { return };
        if next.blocking_send(Group { work: back.book(work), receipts }).is_err() {
            return;
        }
        // After the answer: validators do not wait for it.
        has_more = true;
    }
}
