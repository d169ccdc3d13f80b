//! The broker that an agency runs: Mosquitto with exactly the files of `deploy/`, its mutual TLS
//! and its per-validator rules, spoken to with the MQTT client of both shells.

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use rumqttc::{
    TlsConfiguration, Transport,
    v5::{
        AsyncClient, Event, EventLoop, MqttOptions,
        mqttbytes::{
            QoS,
            v5::{Packet, PubAckReason, SubscribeReasonCode},
        },
    },
};
use tempfile::TempDir;

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Make {
    /// MQTT 5; what an agency runs.
    Mosquitto,
    /// NATS: MQTT 3.1.1, and can be a cluster.
    Nats,
}

/// A running broker with a certificate for the depot and for each validator named.
pub(crate) struct Broker {
    make: Make,
    child: Child,
    /// Port on 127.0.0.1.
    pub(crate) port: u16,
    folder: TempDir,
}

impl Broker {
    /// Makes a fleet's certificates, installs the shipped configuration and starts the broker.
    pub(crate) fn start(clients: &[&str]) -> Self {
        Self::start_a(Make::Mosquitto, clients)
    }

    /// The same of the other make. NATS knows each client by name: `depot` is one of them.
    pub(crate) fn start_a(make: Make, clients: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a scratch folder");
        let conf = folder.path().join("conf");
        let conf_text = conf.to_str().expect("scratch paths are UTF-8");
        deploy("pki/make-pki", &[conf_text, "broker", "localhost", "127.0.0.1"]);
        let names: Vec<&str> =
            [conf_text, "client"].into_iter().chain(clients.iter().copied()).collect();
        deploy("pki/make-pki", &names);
        let port = free_port();
        let state = folder.path().join("state");
        let state_text = state.to_str().expect("scratch paths are UTF-8");
        let bind = [conf_text, state_text, &port.to_string(), "127.0.0.1"];
        let install = match make {
            Make::Mosquitto => "mosquitto/install",
            Make::Nats => "nats/install",
        };
        deploy(install, &bind);
        let mut broker = Self { make, child: spawn(make, &conf), port, folder };
        broker.wait_ready();
        broker
    }

    /// Which broker it is.
    pub(crate) const fn make(&self) -> Make {
        self.make
    }

    /// Which MQTT it speaks, as configurations say it.
    pub(crate) const fn protocol(&self) -> &'static str {
        match self.make {
            Make::Mosquitto => "5",
            Make::Nats => "3.1.1",
        }
    }

    /// Folder with `ca.crt` and each client's `NAME.crt`, `NAME.key`.
    pub(crate) fn certificates(&self) -> PathBuf {
        self.folder.path().join("conf")
    }

    /// SIGKILL, and a new process on the same port and state.
    pub(crate) fn kill_and_restart(&mut self) {
        self.child.kill().expect("the broker runs");
        self.child.wait().expect("the broker is reaped");
        self.child = spawn(self.make, &self.certificates());
        self.wait_ready();
    }

    /// The same without anything that it retained, as after the loss of its disk.
    pub(crate) fn lose_everything_and_restart(&mut self) {
        self.child.kill().expect("the broker runs");
        self.child.wait().expect("the broker is reaped");
        let state = self.folder.path().join("state");
        std::fs::remove_dir_all(&state).expect("its store is ours");
        std::fs::create_dir(&state).expect("the scratch folder is ours");
        self.child = spawn(self.make, &self.certificates());
        self.wait_ready();
    }

    fn wait_ready(&mut self) {
        let deadline = now() + Duration::from_secs(20);
        while std::net::TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let ended = self.child.try_wait().expect("the broker can be asked");
            assert!(ended.is_none(), "the broker ended at once: {ended:?}");
            assert!(now() < deadline, "the broker does not listen on {}", self.port);
            pause(Duration::from_millis(20));
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[expect(clippy::disallowed_methods, reason = "a real process is waited for in real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "a real process is waited for in real time")]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// A free port below those that outgoing connections take: nobody gets it while its server is being
/// started again.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 9_000).expect("below 9000");
    loop {
        let port = 10_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 9_900;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

fn deploy(script: &str, arguments: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(script);
    let output = Command::new(path).args(arguments).output().expect("deploy scripts run");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{script} {arguments:?}: {said}");
}

fn spawn(make: Make, conf: &Path) -> Child {
    if make == Make::Nats {
        let mut command = Command::new("/usr/sbin/nats-server");
        command.arg("-c").arg(conf.join("nats.conf")).stdout(Stdio::null()).stderr(Stdio::null());
        return command.spawn().expect("nats-server is installed: tests/run installs it");
    }
    // Started as root, Mosquitto becomes the user "mosquitto", who must read these scratch files.
    let mut command = Command::new("/usr/sbin/mosquitto");
    let mut file = std::fs::read_to_string(conf.join("tapline.conf")).expect("it was installed");
    file.push_str("\nuser root\n");
    std::fs::write(conf.join("test.conf"), file).expect("the scratch folder is ours");
    command.arg("-c").arg(conf.join("test.conf"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("mosquitto is installed: tests/run installs it")
}

/// Connects as `name` with its certificate, or without one.
pub(crate) fn connect(
    broker: &Broker,
    name: &str,
    with_certificate: bool,
) -> (AsyncClient, EventLoop) {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let read = |file: String| std::fs::read(broker.certificates().join(file)).expect("is made");
    let client_auth =
        with_certificate.then(|| (read(format!("{name}.crt")), read(format!("{name}.key"))));
    let mut options = MqttOptions::new(format!("{name}-test"), "localhost", broker.port);
    options.set_keep_alive(Duration::from_secs(5));
    options.set_transport(Transport::Tls(TlsConfiguration::Simple {
        ca: read("ca.crt".into()),
        alpn: None,
        client_auth,
    }));
    AsyncClient::new(options, 16)
}

/// Runs the loop until `wanted` finds its answer in a packet from the broker.
pub(crate) async fn until<T>(
    events: &mut EventLoop,
    mut wanted: impl FnMut(&Packet) -> Option<T>,
) -> Result<T, rumqttc::v5::ConnectionError> {
    loop {
        let event = tokio::time::timeout(Duration::from_secs(10), events.poll())
            .await
            .expect("the broker answers within ten seconds")?;
        if let Event::Incoming(packet) = event
            && let Some(found) = wanted(&packet)
        {
            return Ok(found);
        }
    }
}

/// What the broker says to a publish; Mosquitto 2.0 sometimes hangs up instead of refusing.
async fn published(client: &AsyncClient, events: &mut EventLoop, topic: &str) -> PubAckReason {
    client.publish(topic, QoS::AtLeastOnce, false, "x").await.expect("the queue takes it");
    let answer = |packet: &Packet| {
        if let Packet::PubAck(ack) = packet { Some(ack.reason) } else { None }
    };
    until(events, answer).await.unwrap_or(PubAckReason::NotAuthorized)
}

#[tokio::test]
async fn a_validator_writes_its_own_branch_and_no_other() {
    let broker = Broker::start(&["depot", "v000001", "v000002"]);
    for (topic, allowed) in [
        ("tapline/1/central/07/v000001/up/taps", true),
        ("tapline/1/central/07/v000001/up/state", true),
        ("tapline/1/central/07/v000002/up/taps", false),
        ("tapline/1/central/07/v000001/down/ack", false),
        ("tapline/1/central/all/manifest", false),
        ("tapline/1/central/all/chunk/abab", false),
        ("tapline/1/central/all/host", false),
    ] {
        let (client, mut events) = connect(&broker, "v000001", true);
        let reason = published(&client, &mut events, topic).await;
        let denied = reason == PubAckReason::NotAuthorized;
        assert_eq!(denied, !allowed, "{topic}: {reason:?}");
    }
}

#[tokio::test]
async fn the_depot_hears_every_validator_and_may_answer_each() {
    let broker = Broker::start(&["depot", "v000001"]);
    let (depot, mut depot_events) = connect(&broker, "depot", true);
    depot.subscribe("tapline/1/central/+/+/up/#", QoS::AtLeastOnce).await.expect("is queued");
    let granted = until(&mut depot_events, |packet| {
        if let Packet::SubAck(ack) = packet { Some(ack.return_codes.clone()) } else { None }
    });
    let codes = granted.await.expect("the connection holds");
    assert!(matches!(codes[..], [SubscribeReasonCode::Success(QoS::AtLeastOnce)]), "{codes:?}");

    let (client, mut events) = connect(&broker, "v000001", true);
    let topic = "tapline/1/central/07/v000001/up/taps";
    assert_eq!(published(&client, &mut events, topic).await, PubAckReason::Success);
    let heard = until(&mut depot_events, |packet| {
        if let Packet::Publish(publish) = packet { Some(publish.topic.clone()) } else { None }
    });
    assert_eq!(heard.await.expect("the connection holds"), topic.as_bytes());
    let ack = "tapline/1/central/07/v000001/down/ack";
    let reason = published(&depot, &mut depot_events, ack).await;
    assert_ne!(reason, PubAckReason::NotAuthorized);
}

#[tokio::test]
async fn nobody_comes_in_without_a_certificate_of_the_fleet() {
    let broker = Broker::start(&["v000001"]);
    let (_client, mut events) = connect(&broker, "v000001", false);
    let refused = until(&mut events, |packet| matches!(packet, Packet::ConnAck(_)).then_some(()));
    assert!(refused.await.is_err(), "a connection without a certificate was let in");
}
