//! The link to the broker. Nothing outside this folder names rumqttc.
//!
//! MQTT 5 where the broker speaks it, because it says why it refuses; 3.1.1 where it does not, such
//! as a NATS cluster. The protocol needs nothing that 3.1.1 lacks.
//!
//! Nothing whose loss matters lives here: a batch handed to a connection is a hint, and the uplink
//! offers it again until the depot acknowledged it. So every connection is a new client with a
//! clean session, which leaves none of rumqttc's queues behind (it drops pending publishes when a
//! broker forgets a session, and livelocks on a collision it carried over). Its event loop has a
//! task of its own, because dropping a half-done poll is not safe.

mod v3;
mod v5;

use std::{fs, io, path::PathBuf, time::Duration};

use rumqttc::Transport;
use serde::{Deserialize, Serialize};
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

/// Which MQTT is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Protocol {
    /// MQTT 5.
    #[default]
    #[serde(rename = "5")]
    V5,
    /// MQTT 3.1.1.
    #[serde(rename = "3.1.1")]
    V3,
}

/// Where to connect and as whom.
#[derive(Debug, Clone)]
pub(crate) struct LinkSettings {
    /// What the broker speaks.
    pub(crate) protocol: Protocol,
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
pub(crate) enum Publisher {
    /// Over MQTT 5.
    V5(rumqttc::v5::AsyncClient),
    /// Over MQTT 3.1.1.
    V3(rumqttc::AsyncClient),
}

impl Publisher {
    /// Hands a message to the connection. `false` when it takes no more; the protocol resends.
    pub(crate) fn publish(&self, topic: &str, payload: Vec<u8>, retain: bool) -> bool {
        match self {
            Self::V5(client) => client.try_publish(topic, v5::QOS, retain, payload).is_ok(),
            Self::V3(client) => client.try_publish(topic, v3::QOS, retain, payload).is_ok(),
        }
    }

    /// Subscribes; what is retained under the topic comes at once. `false` as above.
    pub(crate) fn subscribe(&self, topic: &str) -> bool {
        match self {
            Self::V5(client) => client.try_subscribe(topic, v5::QOS).is_ok(),
            Self::V3(client) => client.try_subscribe(topic, v3::QOS).is_ok(),
        }
    }

    /// Ends a subscription. `false` as above.
    pub(crate) fn unsubscribe(&self, topic: &str) -> bool {
        match self {
            Self::V5(client) => client.try_unsubscribe(topic).is_ok(),
            Self::V3(client) => client.try_unsubscribe(topic).is_ok(),
        }
    }

    /// Ends the connection in order: the broker then does not publish the will.
    pub(crate) fn disconnect(&self) {
        // A full queue or an ended connection: either way the link is going down.
        let _ = match self {
            Self::V5(client) => client.try_disconnect().is_ok(),
            Self::V3(client) => client.try_disconnect().is_ok(),
        };
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
            tracing::debug!(connection, "connecting to the broker");
            let ended = connect(&settings, connection, will(connection), &tell).await;
            if ended.was_up {
                retry = RETRY_FIRST;
            }
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

/// One connection, from its beginning to its end.
async fn connect(
    settings: &LinkSettings,
    connection: u64,
    will: Vec<u8>,
    tell: &mpsc::Sender<LinkEvent>,
) -> Ended {
    let transport = match settings.tls.as_ref().map(transport).transpose() {
        Ok(transport) => transport,
        Err(e) => {
            return Ended { was_up: false, reason: format!("cannot read certificates: {e}") };
        }
    };
    match settings.protocol {
        Protocol::V5 => v5::run(settings, transport, connection, will, tell).await,
        Protocol::V3 => v3::run(settings, transport, connection, will, tell).await,
    }
}

fn transport(tls: &TlsFiles) -> io::Result<Transport> {
    let certificate = (fs::read(&tls.certificate)?, fs::read(&tls.key)?);
    Ok(Transport::tls(fs::read(&tls.ca)?, Some(certificate), None))
}

impl LinkSettings {
    /// Subscribes to everything that is to be heard, and says that the connection stands.
    async fn begin(
        &self,
        connection: u64,
        publisher: Publisher,
        tell: &mpsc::Sender<LinkEvent>,
    ) -> Result<(), &'static str> {
        if !self.subscriptions.iter().all(|topic| publisher.subscribe(topic)) {
            return Err("cannot subscribe");
        }
        tell.send(LinkEvent::Up { connection, publisher }).await.map_err(|_| "stopped")
    }
}

/// One step of a connection's event loop; `None` when nobody listens any more.
async fn step<T, E: ToString>(
    polled: impl Future<Output = Result<T, E>>,
    tell: &mpsc::Sender<LinkEvent>,
) -> Option<Result<T, String>> {
    tokio::select! {
        event = polled => Some(event.map_err(|e| e.to_string())),
        // The whole connection is dropped after this, so a half-done poll harms nothing.
        () = tell.closed() => None,
    }
}
