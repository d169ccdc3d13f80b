//! The link to the broker. Nothing of this program outside this folder names rumqttc.
//!
//! MQTT 5 where the broker speaks it, because it says why it refuses; 3.1.1 where it does not, such
//! as a NATS cluster. The protocol needs nothing that 3.1.1 lacks.
//!
//! Nothing whose loss matters lives here. A message is acknowledged to the broker (PUBACK) only
//! after its commit, which makes the broker's window our flow control; what a lost connection
//! takes with it, the validators send again, because they wait for the depot's own signed ack.
//! So every connection is a new client with a clean session, which leaves none of rumqttc's queues
//! behind: it drops pending publishes when a broker forgets a session, and livelocks on a
//! `state.collision` that it carried over. Its event loop has a task of its own, because dropping
//! a half-done poll is not safe.

mod v3;
mod v5;

use std::{fs, io, time::Duration};

use rumqttc::Transport;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use crate::config::{Mqtt, Protocol, Tls};

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
    V5(rumqttc::v5::AsyncClient, Box<rumqttc::v5::mqttbytes::v5::Publish>),
    V3(rumqttc::AsyncClient, Box<rumqttc::Publish>),
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
        let told = match self.0 {
            Sender::V5(client, publish) => client.ack(&publish).await.is_ok(),
            Sender::V3(client, publish) => client.ack(&publish).await.is_ok(),
            Sender::Here(tell) => tell.send(()).is_ok(),
        };
        if !told {
            tracing::debug!("nobody waits any more for a booked message");
        }
    }
}

/// The sending side of one connection.
#[derive(Debug, Clone)]
pub enum Publisher {
    /// Over MQTT 5.
    V5(rumqttc::v5::AsyncClient),
    /// Over MQTT 3.1.1.
    V3(rumqttc::AsyncClient),
}

impl Publisher {
    /// Hands a message to the connection, waiting for room. `false` when the connection has ended.
    pub async fn publish(&self, topic: &str, payload: Vec<u8>, retain: bool) -> bool {
        match self {
            Self::V5(client) => client.publish(topic, v5::QOS, retain, payload).await.is_ok(),
            Self::V3(client) => client.publish(topic, v3::QOS, retain, payload).await.is_ok(),
        }
    }

    /// Ends the connection in order: the broker then does not publish the will.
    pub async fn disconnect(&self) {
        // An ended connection needs no ending.
        let _ = match self {
            Self::V5(client) => client.disconnect().await.is_ok(),
            Self::V3(client) => client.disconnect().await.is_ok(),
        };
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
            let ended = connect(&settings, connection, will(connection), &tell).await;
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

/// One connection, from its beginning to its end.
async fn connect(
    settings: &LinkSettings,
    connection: u64,
    will: Vec<u8>,
    tell: &mpsc::Sender<LinkEvent>,
) -> Ended {
    let transport = match settings.mqtt.tls.as_ref().map(transport).transpose() {
        Ok(transport) => transport,
        Err(e) => return Ended { was_up: false, reason: format!("cannot read TLS files: {e}") },
    };
    match settings.mqtt.protocol {
        Protocol::V5 => v5::run(settings, transport, connection, will, tell).await,
        Protocol::V3 => v3::run(settings, transport, connection, will, tell).await,
    }
}

/// Certificates are read anew for every connection, so that they can be renewed in place.
fn transport(tls: &Tls) -> Result<Transport, io::Error> {
    let certificate = (fs::read(&tls.certificate)?, fs::read(&tls.key)?);
    Ok(Transport::tls(fs::read(&tls.ca)?, Some(certificate), None))
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
