//! The broker in this process, and a lossy wire before it.
//!
//! The broker (rumqttd) has no stop call: it ends with the process. So faults cut the wire: a
//! plain TCP relay that knows clients by the id in their first packet.

use std::{
    collections::{BTreeSet, HashMap},
    io,
    net::{Ipv4Addr, TcpListener as StdListener},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Below the range from which the system takes ports for outgoing connections.
const PORTS: std::ops::Range<u16> = 18_000..32_000;
const READY_MAX: u32 = 500;

/// A port that was free a moment ago, from `start` on.
pub fn free_port(start: u16) -> io::Result<u16> {
    let from = start.clamp(PORTS.start, PORTS.end - 1);
    (from..PORTS.end)
        .chain(PORTS.start..from)
        .find(|port| StdListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or_else(|| io::Error::other("no port is free on this machine"))
}

/// Starts the broker and waits until it listens.
pub async fn start(port: u16) -> io::Result<()> {
    let connections = ConnectionSettings {
        connection_timeout_ms: 5_000,
        max_payload_size: 256 * 1024,
        max_inflight_count: 500,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server = ServerSettings {
        name: "demo".into(),
        listen: (Ipv4Addr::LOCALHOST, port).into(),
        tls: None,
        next_connection_delay_ms: 1,
        connections,
    };
    let router = RouterConfig {
        max_connections: 2_000,
        max_outgoing_packet_count: 500,
        max_segment_size: 1 << 20,
        max_segment_count: 10,
        ..RouterConfig::default()
    };
    let config = Config {
        router,
        v5: Some(HashMap::from([("demo".to_owned(), server)])),
        ..Config::default()
    };
    thread::Builder::new().name("broker".into()).spawn(move || {
        if let Err(error) = Broker::new(config).start() {
            tracing::error!(error = error.to_string(), "the broker ended");
        }
    })?;
    for _ in 0..READY_MAX {
        if TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Err(io::Error::other(format!("the broker does not listen on port {port}")))
}

/// What the relay lets through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Cut {
    all: bool,
    clients: BTreeSet<String>,
}

/// The wire to the broker, which can be cut.
#[derive(Debug, Clone)]
pub struct Wire {
    cut: Arc<Mutex<watch::Sender<Cut>>>,
}

impl Wire {
    /// Relays `port` to the broker.
    pub async fn start(port: u16, broker: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let (tell, told) = watch::channel(Cut::default());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let cut = told.clone();
                tokio::spawn(async move {
                    // An end of a relayed connection is no error of ours.
                    let _ = relay(stream, broker, cut).await;
                });
            }
        });
        Ok(Self { cut: Arc::new(Mutex::new(tell)) })
    }

    /// Cuts everybody off, or lets everybody in again.
    pub fn cut_all(&self, cut: bool) {
        self.lock().send_modify(|now| now.all = cut);
    }

    /// Cuts one client off, or lets it in again.
    pub fn cut(&self, client: &str, cut: bool) {
        self.lock().send_modify(|now| {
            if cut {
                now.clients.insert(client.to_owned());
            } else {
                now.clients.remove(client);
            }
        });
    }

    /// Lets everybody in.
    pub fn heal(&self) {
        self.lock().send_replace(Cut::default());
    }

    fn lock(&self) -> MutexGuard<'_, watch::Sender<Cut>> {
        self.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn relay(
    mut client: TcpStream,
    broker: u16,
    mut cut: watch::Receiver<Cut>,
) -> io::Result<()> {
    if cut.borrow().all {
        return Ok(());
    }
    let mut first = vec![0; 4096];
    let length = client.read(&mut first).await?;
    first.truncate(length);
    let id = client_id(&first).unwrap_or_default();
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, broker)).await?;
    let is_cut = |cut: &Cut| cut.all || cut.clients.contains(&id);
    if is_cut(&cut.borrow()) {
        return Ok(());
    }
    server.write_all(&first).await?;
    tokio::select! {
        copied = copy_bidirectional(&mut client, &mut server) => copied.map(drop),
        // A wire that nobody holds any more cannot be cut.
        Ok(_) = cut.wait_for(is_cut) => Ok(()),
    }
}

/// The client id of an MQTT 5 CONNECT packet.
fn client_id(packet: &[u8]) -> Option<String> {
    // Fixed header: type, then a length whose bytes go on while their top bit is set.
    let length = packet.get(1..)?.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
    // "MQTT" with its length (6), version, flags, keep alive (2), then properties with a length.
    let properties = 1 + length + 10;
    let after = properties + 1 + usize::from(*packet.get(properties)?);
    let size = usize::from(u16::from_be_bytes([*packet.get(after)?, *packet.get(after + 1)?]));
    let id = packet.get(after + 2..after + 2 + size)?;
    String::from_utf8(id.to_vec()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_known_by_its_first_packet() {
        let mut packet = vec![0x10, 24, 0, 4];
        packet.extend(b"MQTT\x05\x02\x00\x05\x03\x21\x00\x20\x00\x07v000042");
        assert_eq!(client_id(&packet).as_deref(), Some("v000042"));
        assert_eq!(client_id(&packet[..9]), None);
        assert_eq!(client_id(b""), None);
    }
}
