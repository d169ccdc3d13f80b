//! The link to the broker. No other file names rumqttc.
//!
//! Nothing whose loss matters lives here: a batch handed to a connection is a hint, and the uplink
//! offers it again until the depot acknowledged it. So every connection is a new client with a
//! clean session, which leaves none of rumqttc's queues behind (it drops pending publishes when a
//! broker forgets a session, and livelocks on a collision it carried over). Its event loop has a
//! task of its own, because dropping a half-done poll is not safe.

use std::{fs, io, path::PathBuf, time::Duration};

use rumqttc::{
    Outgoing, Transport,
    v5::{
        AsyncClient, Event, EventLoop, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{LastWill, Packet, PubAckReason},
        },
    },
};
use tokio::{sync::mpsc, time::sleep};

/// Both directions; a batch message is at most 64 KiB.
const PACKET_BYTES_MAX: u32 = 256 * 1024;
/// More than the uplink's window, so that packet numbers are never used up.
const INFLIGHT: u16 = 256;
/// Requests that wait for the event loop.
const REQUESTS: usize = 256;
/// Messages that wait for the sync loop.
const EVENTS: usize = 256;
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(60);

/// Where to connect and as whom.
#[derive(Debug, Clone)]
pub(crate) struct LinkSettings {
    /// The client's name at the broker; one connection per name.
    pub(crate) client: String,
    /// Host name or address.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
    /// Time between pings.
    pub(crate) keep_alive: Duration,
    /// Certificates, read anew for every connection so that they can be renewed in place.
    pub(crate) tls: Option<TlsFiles>,
    /// Subscribed at every connection.
    pub(crate) subscriptions: Vec<String>,
    /// Topic of the will.
    pub(crate) will_topic: String,
    /// The counter of the first connection; each one after it has the next.
    pub(crate) first_connection: u64,
}

/// PEM files.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    /// The authority of the broker's certificate.
    pub(crate) ca: PathBuf,
    /// Our certificate.
    pub(crate) certificate: PathBuf,
    /// Its key.
    pub(crate) key: PathBuf,
}

/// What happened on the link.
#[derive(Debug)]
pub(crate) enum LinkEvent {
    /// Connected and subscribed.
    Up {
        /// This connection's counter.
        connection: u64,
        /// Takes what is to be sent, as long as this connection lasts.
        publisher: Publisher,
    },
    /// A message came.
    Message {
        /// Its topic.
        topic: String,
        /// Its bytes.
        payload: Vec<u8>,
    },
    /// The broker took a message and delivers it to nobody.
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

/// The sending side of one connection.
#[derive(Debug, Clone)]
pub(crate) struct Publisher(AsyncClient);

impl Publisher {
    /// Hands a message to the connection. `false` when it takes no more; the protocol resends.
    pub(crate) fn publish(&self, topic: &str, payload: Vec<u8>, retain: bool) -> bool {
        self.0.try_publish(topic, QoS::AtLeastOnce, retain, payload).is_ok()
    }

    /// Subscribes; what is retained under the topic comes at once. `false` as above.
    pub(crate) fn subscribe(&self, topic: &str) -> bool {
        self.0.try_subscribe(topic, QoS::AtLeastOnce).is_ok()
    }

    /// Ends a subscription. `false` as above.
    pub(crate) fn unsubscribe(&self, topic: &str) -> bool {
        self.0.try_unsubscribe(topic).is_ok()
    }

    /// Ends the connection in order: the broker then does not publish the will.
    pub(crate) fn disconnect(&self) {
        // A full queue or an ended connection: either way the link is going down.
        let _ = self.0.try_disconnect();
    }
}

/// Starts the link. It ends when the receiver is dropped. `will` signs the broker's last word for
/// a connection; `jitter` gives a number of which each is as likely as the others.
pub(crate) fn start(
    settings: LinkSettings,
    will: impl Fn(u64) -> Vec<u8> + Send + Sync + 'static,
    jitter: impl Fn() -> u32 + Send + Sync + 'static,
) -> mpsc::Receiver<LinkEvent> {
    // Another part of the process may have chosen its provider already; either one will do.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (tell, events) = mpsc::channel(EVENTS);
    tokio::spawn(async move {
        let mut retry = RETRY_FIRST;
        for connection in settings.first_connection.. {
            let ended = match options(&settings, connection, will(connection)) {
                Ok(options) => {
                    let ended = run_connection(&settings, options, connection, &tell).await;
                    if ended.was_up {
                        retry = RETRY_FIRST;
                    }
                    ended
                }
                Err(e) => Ended { was_up: false, reason: format!("cannot read certificates: {e}") },
            };
            if tell.send(LinkEvent::Down { reason: ended.reason }).await.is_err() {
                return;
            }
            // Half of the pause is random, so that a fleet does not come back as one.
            let half_ms = u64::try_from(retry.as_millis() / 2).unwrap_or(u64::MAX);
            let spread = Duration::from_millis((half_ms * u64::from(jitter())) >> 32);
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

fn options(settings: &LinkSettings, connection: u64, will: Vec<u8>) -> io::Result<MqttOptions> {
    tracing::debug!(connection, "connecting to the broker");
    let mut options =
        MqttOptions::new(settings.client.as_str(), settings.host.as_str(), settings.port);
    options
        .set_clean_start(true)
        .set_keep_alive(settings.keep_alive)
        .set_max_packet_size(Some(PACKET_BYTES_MAX))
        .set_outgoing_inflight_upper_limit(INFLIGHT)
        .set_last_will(LastWill::new(
            settings.will_topic.as_str(),
            will,
            QoS::AtLeastOnce,
            true,
            None,
        ));
    if let Some(tls) = &settings.tls {
        let certificate = (fs::read(&tls.certificate)?, fs::read(&tls.key)?);
        options.set_transport(Transport::tls(fs::read(&tls.ca)?, Some(certificate), None));
    }
    Ok(options)
}

async fn run_connection(
    settings: &LinkSettings,
    options: MqttOptions,
    connection: u64,
    tell: &mpsc::Sender<LinkEvent>,
) -> Ended {
    let (client, mut event_loop) = AsyncClient::new(options, REQUESTS);
    let publisher = Publisher(client);
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
                    if publisher.0.try_subscribe(topic.as_str(), QoS::AtLeastOnce).is_err() {
                        return Ended { was_up, reason: "cannot subscribe".into() };
                    }
                }
                let publisher = publisher.clone();
                tell.send(LinkEvent::Up { connection, publisher }).await
            }
            Event::Incoming(Packet::Publish(message)) => {
                let topic = String::from_utf8_lossy(&message.topic).into_owned();
                tell.send(LinkEvent::Message { topic, payload: message.payload.to_vec() }).await
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

/// The message reaches no subscriber, for a reason that may be a fault.
fn is_failure(reason: PubAckReason) -> bool {
    !matches!(reason, PubAckReason::Success | PubAckReason::NoMatchingSubscribers)
}
