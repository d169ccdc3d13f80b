//! `[mqtt]`: the broker, and how much may wait on the way to it and from it.

use std::time::Duration;

use link::{Arrival, LinkSettings, Protocol, Room, Tls};
use serde::{Deserialize, Serialize};

/// Acknowledgements on their way to the broker at once.
const INFLIGHT: u16 = 1000;
/// Requests that wait for the event loop.
const REQUESTS: usize = 4096;
/// What may come beside messages: connections and refusals.
const EVENTS_BESIDE: usize = 64;
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(30));

/// The broker.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mqtt {
    /// Host name; with TLS it must stand in the broker's certificate.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Client id; `tapline-depot-` and the depot's name when empty.
    pub client_id: String,
    /// Keep-alive, seconds (5 to 3600).
    pub keep_alive_s: u16,
    /// Messages that may wait for their commit: the broker sends no more before.
    pub receive_max: u16,
    /// Which MQTT the broker speaks: `5`, or `3.1.1` where it speaks only that.
    pub protocol: Protocol,
    /// Whether lists that name cards are sealed for the fleet: `sealed`, once all of it reads that,
    /// or `signed`.
    pub lists: ListPayloads,
    /// Mutual TLS; plain TCP without it (demo only).
    pub tls: Option<Tls>,
}

/// How lists that name cards go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ListPayloads {
    /// Whoever listens at the broker can read them.
    Signed,
    /// Sealed for the fleet, from when every validator that was heard reads that (ADR-0032).
    #[default]
    Sealed,
}

impl Default for Mqtt {
    fn default() -> Self {
        Self {
            host: "localhost".into(),
            port: 1883,
            client_id: String::new(),
            keep_alive_s: 20,
            receive_max: 1000,
            protocol: Protocol::V5,
            lists: ListPayloads::default(),
            tls: None,
        }
    }
}

impl Mqtt {
    /// The link as this table describes it; the caller says who connects, and what is heard.
    pub(crate) fn link(&self) -> LinkSettings {
        LinkSettings {
            protocol: self.protocol,
            client: self.client_id.clone(),
            host: self.host.clone(),
            port: self.port,
            keep_alive: Duration::from_secs(u64::from(self.keep_alive_s)),
            tls: self.tls.clone(),
            subscriptions: Vec::new(),
            will_topic: String::new(),
            first_connection: 0,
            arrival: Arrival::ByReceipt { at_most: self.receive_max },
            // All that the broker may send before a commit, so that the event loop never waits.
            room: Room {
                inflight: INFLIGHT,
                requests: REQUESTS,
                events: usize::from(self.receive_max) + EVENTS_BESIDE,
            },
            retry: RETRY,
        }
    }
}
