//! The link to the broker, of validators and of the depot. Nothing else names rumqttc.
//!
//! MQTT 5 where the broker speaks it, because it says why it refuses; 3.1.1 where it does not, such
//! as a NATS cluster. The protocol needs nothing that 3.1.1 lacks.
//!
//! Nothing whose loss matters lives here: a message handed to a connection is a hint, and whoever
//! sent it sends it again until the other end's own signed ack came. So every connection is a new
//! client with a clean session, which leaves none of rumqttc's queues behind: it drops pending
//! publishes when a broker forgets a session, and livelocks on a `state.collision` that it carried
//! over. Its event loop has a task of its own, because dropping a half-done poll is not safe.

mod connection;
mod v3;
mod v5;

use std::{path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

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
pub struct LinkSettings {
    /// What the broker speaks.
    pub protocol: Protocol,
    /// The client's name at the broker; one connection per name.
    pub client: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Time between pings.
    pub keep_alive: Duration,
    /// Certificates, read anew for every connection so that they can be renewed in place.
    pub tls: Option<Tls>,
    /// Subscribed at every connection.
    pub subscriptions: Vec<String>,
    /// Topic of the retained state of this client, and of its will.
    pub will_topic: String,
    /// The counter of the first connection; each one after it has the next.
    pub first_connection: u64,
    /// When the broker hears that a message arrived.
    pub arrival: Arrival,
    /// How much may wait.
    pub room: Room,
    /// The pause after a connection that could not be made; doubled each time up to the second.
    pub retry: (Duration, Duration),
}

/// When the broker hears that a message arrived (PUBACK).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// At once: what is lost behind it is asked for again.
    AtOnce,
    /// By [`Receipt::acknowledge`], which makes the broker's window our flow control.
    ByReceipt {
        /// How many messages may be without. MQTT 3.1.1 cannot say it: there it is the broker's own
        /// setting.
        at_most: u16,
    },
}

/// How much may wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Messages of ours that the broker has not acknowledged.
    pub inflight: u16,
    /// Requests that wait for the event loop.
    pub requests: usize,
    /// Events that wait for whoever listens. Less than the broker may send, and the loop waits.
    pub events: usize,
}

/// Mutual TLS with the broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The authority that signed the broker's certificate, PEM.
    pub ca: PathBuf,
    /// Our certificate, PEM; a validator's has its id as common name.
    pub certificate: PathBuf,
    /// The key of that certificate, PEM; mode 0600.
    pub key: PathBuf,
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

/// A message that came.
#[derive(Debug)]
pub struct Incoming {
    /// Its topic. What is not UTF-8 becomes one that nobody knows.
    pub topic: String,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// For [`Receipt::acknowledge`].
    pub receipt: Receipt,
}

/// The right to say of one message that it arrived.
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

    /// Says that the message arrived, for good. On a connection that ended this does nothing: its
    /// sender sends again until it has the other end's ack.
    pub async fn acknowledge(self) {
        let told = match self.0 {
            Sender::V5(client, publish) => client.ack(&publish).await.is_ok(),
            Sender::V3(client, publish) => client.ack(&publish).await.is_ok(),
            Sender::Here(tell) => tell.send(()).is_ok(),
        };
        if !told {
            tracing::debug!("nobody waits any more for a message that arrived");
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

    /// Hands a message to the connection. `false` when it takes no more; the protocol resends.
    pub fn offer(&self, topic: &str, payload: Vec<u8>, retain: bool) -> bool {
        match self {
            Self::V5(client) => client.try_publish(topic, v5::QOS, retain, payload).is_ok(),
            Self::V3(client) => client.try_publish(topic, v3::QOS, retain, payload).is_ok(),
        }
    }

    /// Subscribes; what is retained under the topic comes at once. `false` when the connection
    /// takes no more.
    pub fn subscribe(&self, topic: &str) -> bool {
        match self {
            Self::V5(client) => client.try_subscribe(topic, v5::QOS).is_ok(),
            Self::V3(client) => client.try_subscribe(topic, v3::QOS).is_ok(),
        }
    }

    /// Ends a subscription. `false` when the connection takes no more.
    pub fn unsubscribe(&self, topic: &str) -> bool {
        match self {
            Self::V5(client) => client.try_unsubscribe(topic).is_ok(),
            Self::V3(client) => client.try_unsubscribe(topic).is_ok(),
        }
    }

    /// Ends the connection in order, after what waits: the broker then does not publish the will.
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
    let (tell, events) = mpsc::channel(settings.room.events);
    tokio::spawn(async move {
        let (first, last) = settings.retry;
        let mut retry = first;
        for connection in settings.first_connection.. {
            tracing::debug!(connection, "connecting to the broker");
            let ended = connection::run(&settings, connection, will(connection), &tell).await;
            if ended.was_up {
                retry = first;
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
            retry = (retry * 2).min(last);
        }
    });
    events
}
