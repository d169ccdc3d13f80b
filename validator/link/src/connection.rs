//! One connection, from its beginning to its end, whichever MQTT it speaks.

use std::{fs, io};

use rumqttc::Transport;
use tokio::sync::mpsc;

use crate::{Incoming, LinkEvent, LinkSettings, Protocol, Publisher, Tls, v3, v5};

/// Both directions; a batch message is at most 64 KiB.
pub(crate) const PACKET_BYTES_MAX: u32 = 256 * 1024;

/// How a connection ended.
pub(crate) struct Ended {
    /// Whether it stood at all.
    pub(crate) was_up: bool,
    /// Why it does no more.
    pub(crate) reason: String,
}

/// What one step of an event loop brought.
pub(crate) enum Heard {
    /// The broker took us.
    Connected,
    /// A message came.
    Message(Incoming),
    /// The broker refused a subscription or a message.
    Refused(String),
    /// Our own goodbye has been said.
    Goodbye,
    /// What only the client itself needs.
    Nothing,
}

enum EventLoop {
    V5(Box<v5::EventLoop>),
    V3(Box<v3::EventLoop>),
}

impl EventLoop {
    fn open(
        settings: &LinkSettings,
        transport: Option<Transport>,
        will: Vec<u8>,
    ) -> (Publisher, Self) {
        match settings.protocol {
            Protocol::V5 => {
                let (client, polled) = v5::EventLoop::open(settings, transport, will);
                (Publisher::V5(client), Self::V5(Box::new(polled)))
            }
            Protocol::V3 => {
                let (client, polled) = v3::EventLoop::open(settings, transport, will);
                (Publisher::V3(client), Self::V3(Box::new(polled)))
            }
        }
    }

    async fn hear(&mut self) -> Result<Heard, String> {
        match self {
            Self::V5(polled) => polled.hear().await,
            Self::V3(polled) => polled.hear().await,
        }
    }
}

pub(crate) async fn run(
    settings: &LinkSettings,
    connection: u64,
    will: Vec<u8>,
    tell: &mpsc::Sender<LinkEvent>,
) -> Ended {
    let end = |was_up, reason: &str| Ended { was_up, reason: reason.to_owned() };
    let transport = match settings.tls.as_ref().map(transport).transpose() {
        Ok(transport) => transport,
        Err(e) => return end(false, &format!("cannot read certificates: {e}")),
    };
    let (publisher, mut event_loop) = EventLoop::open(settings, transport, will);
    let mut was_up = false;
    loop {
        let heard = tokio::select! {
            heard = event_loop.hear() => heard,
            // The whole connection is dropped after this, so a half-done poll harms nothing.
            () = tell.closed() => return end(was_up, "stopped"),
        };
        let event = match heard {
            Ok(Heard::Connected) => {
                was_up = true;
                if !settings.subscriptions.iter().all(|topic| publisher.subscribe(topic)) {
                    return end(was_up, "cannot subscribe");
                }
                LinkEvent::Up { connection, publisher: publisher.clone() }
            }
            Ok(Heard::Message(message)) => LinkEvent::Message(Box::new(message)),
            Ok(Heard::Refused(reason)) => LinkEvent::Refused { reason },
            Ok(Heard::Goodbye) => return end(was_up, "stopped in order"),
            Ok(Heard::Nothing) => continue,
            Err(reason) => return Ended { was_up, reason },
        };
        if tell.send(event).await.is_err() {
            return end(was_up, "stopped");
        }
    }
}

fn transport(tls: &Tls) -> io::Result<Transport> {
    let certificate = (fs::read(&tls.certificate)?, fs::read(&tls.key)?);
    Ok(Transport::tls(fs::read(&tls.ca)?, Some(certificate), None))
}
