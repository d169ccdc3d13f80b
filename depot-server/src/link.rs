//! The link to the broker. No other file of this program names rumqttc.
//!
//! Nothing whose loss matters lives here. A message is acknowledged to the broker (PUBACK) only
//! after its commit, which makes the broker's window our flow control; what a lost connection
//! takes with it, the validators send again, because they wait for the depot's own signed ack.
//! So every connection is a new client with a clean session, which leaves none of rumqttc's queues
//! behind: it drops pending publishes when a broker forgets a session, and livelocks on a
//! `state.collision` that it carried over. Its event loop has a task of its own, because dropping
//! a half-done poll is not safe.

use std::{fs, io, time::Duration};

use rumqttc::{
    Outgoing, Transport,
    v5::{
        AsyncClient, Event, EventLoop, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{LastWill, Packet, PubAckReason, Publish, SubscribeReasonCode},
        },
    },
};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use crate::config::{Mqtt, Tls};

/// Both directions; a batch message is at most 64 KiB.
const PACKET_BYTES_MAX: u32 = 256 * 1024;
/// Acknowledgements on their way to the broker at once.
const INFLIGHT: u16 = 1000;
/// Requests that wait for the event loop.
const REQUESTS: usize = 4096;
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_LAST: Duration = Duration::from_secs(30);

/// Where to connect and as whom.
#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// The broker.
    pub mqtt: Mqtt,
    /// The client's name at the broker; one connection per name.
    pub client: String,
    /// Subscribed at every connection.
    pub subscriptions: Vec<String>,
    /// Topic of the retained presence and of the will.
    pub presence_topic: String,
    /// The counter of the first connection; each one after it has the next.
    pub first_connection: u64,
}

/// What happened on the link.
#[derive(Debug)]
pub enum LinkEvent {
    /// Connected and subscribed.
    Up {
        /// This connection's counter.
        connection: u64,
        /// Takes what is to be sent, as long as this connection lasts.
        publisher: Publisher,
    },
    /// A message came.
    Message(Box<Incoming>),
    /// The broker refused a subscription or a message.
    Refused {
        /// The broker's reason.
        reason: String,
    },
    /// The connection ended, or could not be made; it is tried again after a pause.
    Down {
        /// Why.
        reason: String,
    },
}

/// A message, to be acknowledged to its sender once it is booked.
#[derive(Debug)]
pub struct Incoming {
    /// Its topic.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// For [`Receipt::acknowledge`].
    pub receipt: Receipt,
}

/// The right to say of one message that it is booked.
#[derive(Debug)]
pub struct Receipt(Sender);

/// Who waits to hear it.
#[derive(Debug)]
enum Sender {
    Broker(AsyncClient, Box<Publish>),
    Here(oneshot::Sender<()>),
}

impl Receipt {
    /// For a message that did not come from a broker.
    pub const fn here(tell: oneshot::Sender<()>) -> Self {
        Self(Sender::Here(tell))
    }

    /// Says that the message is booked. On a connection that ended this does nothing: the validator
    /// sends again until it has the depot's ack.
    pub async fn acknowledge(self) {
        match self.0 {
            Sender::Broker(client, publish) => {
                if client.ack(&publish).await.is_err() {
                    tracing::debug!("the connection of a booked message has ended");
                }
            }
            // Who handed it in may have stopped to wait.
            Sender::Here(tell) => drop(tell.send(())),
        }
    }
}

/// The sending side of one connection.
#[derive(Debug, Clone)]
pub struct Publisher(AsyncClient);

impl Publisher {
    /// Hands a message to the connection, waiting for room. `false` when the connection has ended.
    pub async fn publish(&self, topic: &str, payload: Vec<u8>, retain: bool) -> bool {
        self.0.publish(topic, QoS::AtLeastOnce, retain, payload).await.is_ok()
    }

    /// Ends the connection in order: the broker then does not publish the will.
    pub async fn disconnect(&self) {
        // An ended connection needs no ending.
        let _ = self.0.disconnect().await;
    }
}

/// Starts the link. It ends when the receiver is dropped. `will` gives the broker's last word for
/// a connection; `jitter` gives a number of which each is as likely as the others.
pub fn start(
    settings: LinkSettings,
    will: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
    jitter: impl Fn() -> u32 + Send + Sync + 'static,
) -> mpsc::Receiver<LinkEvent> {
    // Another part of the process may have chosen its provider already; either one will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Room for all that the broker may send before a commit, so that the event loop never waits.
    let (tell, events) = mpsc::channel(usize::from(settings.mqtt.receive_max) + 64);
    tokio::spawn(async move {
        let mut retry = RETRY_FIRST;
        for connection in settings.first_connection.. {
            let ended = match options(&settings, will(connection)) {
                Ok(options) => run_connection(&settings, options, connection, &tell).await,
                Err(reason) => Ended { was_up: false, reason },
            };
            if ended.was_up {
                retry = RETRY_FIRST;
            }
            if tell.send(LinkEvent::Down { reason: ended.reason }).await.is_err() {
                return;
            }
            // Half of the pause is random, so that several depots do not come back as one.
            let half_ms = u64::try_from(retry.as_millis() / 2).unwrap_or(u64::MAX);
            let spread = Duration::from_millis(u64::from(jitter()) % half_ms.max(1));
            tokio::select! {
                () = sleep(retry / 2 + spread) => {}
                () = tell.closed() => return,
            }
            retry = (retry * 2).min(RETRY_LAST);
        }
    });
    events
}

struct Ended {
    was_up: bool,
    reason: String,
}

fn options(settings: &LinkSettings, will: Vec<u8>) -> Result<MqttOptions, String> {
    let Mqtt { host, port, keep_alive_s, receive_max, tls, .. } = &settings.mqtt;
    let mut options = MqttOptions::new(settings.client.as_str(), host.as_str(), *port);
    let topic = settings.presence_topic.as_str();
    options
        .set_clean_start(true)
        .set_keep_alive(Duration::from_secs(u64::from(*keep_alive_s)))
        .set_max_packet_size(Some(PACKET_BYTES_MAX))
        .set_receive_maximum(Some(*receive_max))
        .set_outgoing_inflight_upper_limit(INFLIGHT)
        .set_manual_acks(true)
        .set_last_will(LastWill::new(topic, will, QoS::AtLeastOnce, true, None));
    if let Some(tls) = tls {
        options.set_transport(transport(tls).map_err(|e| format!("cannot read TLS files: {e}"))?);
    }
    Ok(options)
}

/// Certificates are read anew for every connection, so that they can be renewed in place.
fn transport(tls: &Tls) -> Result<Transport, io::Error> {
    let certificate = (fs::read(&tls.certificate)?, fs::read(&tls.key)?);
    Ok(Transport::tls(fs::read(&tls.ca)?, Some(certificate), None))
}

async fn run_connection(
    settings: &LinkSettings,
    options: MqttOptions,
    connection: u64,
    tell: &mpsc::Sender<LinkEvent>,
) -> Ended {
    let (client, mut event_loop) = AsyncClient::new(options, REQUESTS);
    let mut was_up = false;
    loop {
        let event = match poll(&mut event_loop, tell).await {
            Some(Ok(event)) => event,
            Some(Err(reason)) => return Ended { was_up, reason },
            None => return Ended { was_up, reason: "stopped".into() },
        };
        let told = match event {
            Event::Incoming(Packet::ConnAck(_)) => {
                was_up = true;
                for topic in &settings.subscriptions {
                    if client.try_subscribe(topic.as_str(), QoS::AtLeastOnce).is_err() {
                        return Ended { was_up, reason: "cannot subscribe".into() };
                    }
                }
                let publisher = Publisher(client.clone());
                tell.send(LinkEvent::Up { connection, publisher }).await
            }
            Event::Incoming(Packet::Publish(publish)) => {
                tell.send(LinkEvent::Message(Box::new(incoming(&client, publish)))).await
            }
            Event::Incoming(Packet::SubAck(ack))
                if !ack.return_codes.iter().all(|code| granted(*code)) =>
            {
                let reason = format!("subscription refused: {:?}", ack.return_codes);
                tell.send(LinkEvent::Refused { reason }).await
            }
            Event::Incoming(Packet::PubAck(ack)) if is_failure(ack.reason) => {
                tell.send(LinkEvent::Refused { reason: format!("{:?}", ack.reason) }).await
            }
            Event::Outgoing(Outgoing::Disconnect) => {
                return Ended { was_up, reason: "stopped in order".into() };
            }
            Event::Incoming(_) | Event::Outgoing(_) => Ok(()),
        };
        if told.is_err() {
            return Ended { was_up, reason: "stopped".into() };
        }
    }
}

/// One step of the event loop; `None` when nobody listens any more.
async fn poll(
    event_loop: &mut EventLoop,
    tell: &mpsc::Sender<LinkEvent>,
) -> Option<Result<Event, String>> {
    tokio::select! {
        event = event_loop.poll() => Some(event.map_err(|e| e.to_string())),
        // The whole connection is dropped after this, so a half-done poll harms nothing.
        () = tell.closed() => None,
    }
}

fn incoming(client: &AsyncClient, mut publish: Publish) -> Incoming {
    // What is not UTF-8 becomes an unknown topic, which intake quarantines by that name.
    let topic = String::from_utf8_lossy(&publish.topic).into_owned();
    let payload = publish.payload.to_vec();
    // The packet number is all that the acknowledgement needs.
    publish.payload.clear();
    Incoming { topic, payload, receipt: Receipt(Sender::Broker(client.clone(), Box::new(publish))) }
}

const fn granted(code: SubscribeReasonCode) -> bool {
    matches!(code, SubscribeReasonCode::Success(_))
}

/// The message reaches no subscriber, for a reason that may be a fault.
fn is_failure(reason: PubAckReason) -> bool {
    !matches!(reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers)
}
