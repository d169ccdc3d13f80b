//! What the validator counts, and the page that shows it.
//!
//! No card number and no label with many values ever appears here (PRV-6). Each daemon has its own
//! registry, so that many can live in one process.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use model::Timestamp;
use prometheus::{
    Gauge, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
    core::{Collector, Desc},
    proto::MetricFamily,
};
use rider::DriverHealth;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};

use crate::tap_loop::Service;

const REQUEST_BYTES_MAX: usize = 8 * 1024;
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// All series of one validator.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Taps, by outcome: committed, in-doubt, refused, confirmed, voided, ticket.
    pub taps: IntCounterVec,
    /// Refusals, by reason.
    pub refusals: IntCounterVec,
    /// Card detected to feedback shown.
    pub tap_seconds: Histogram,
    /// The validator's own part of a tap: everything but waiting for the card.
    pub own_seconds: Histogram,
    /// One durable write of the tap log.
    pub log_write_seconds: Histogram,
    /// 1 while the validator takes taps.
    pub in_service: IntGauge,
    /// 1 while connected to the broker.
    pub link_up: IntGauge,
    /// Connections made to the broker.
    pub connections: IntCounter,
    /// Batches sent, again or not.
    pub batches: IntCounter,
    /// The version that batches are sent in; 0 = none are.
    pub message_version: IntGauge,
    /// The newest entry of the tap log.
    pub log_head: IntGauge,
    /// The newest entry that the depot acknowledged.
    pub log_acked: IntGauge,
    /// Taps whose commit is still unknown.
    pub in_doubt: IntGauge,
    /// Bytes of the store on disk.
    pub store_bytes: IntGauge,
    /// Failures of the reader itself.
    pub reader_errors: IntCounter,
    /// Answers later than an honest card's: before the commit, refused; at it, only counted.
    pub late_answers: IntCounterVec,
    /// 1 while the reader answers.
    pub reader_up: IntGauge,
    /// Cards whose debit key is not of the current version: held, or not-held and refused.
    pub other_key_versions: IntCounterVec,
    /// 1 while the satellite receiver tells a place.
    pub gnss_up: IntGauge,
    /// When it told one last.
    pub gnss_fix: IntGauge,
    /// What the machine's clock is off by satellites, milliseconds.
    pub clock_offset: IntGauge,
    /// 1 while the gate answers.
    pub gate_up: IntGauge,
    /// What the gate said of riders and of others.
    pub gate_words: IntCounterVec,
    /// Failures of the scanner itself.
    pub scanner_errors: IntCounter,
    /// Lines from the scanner that were no text.
    pub scanner_dropped: IntGauge,
    /// The newest version held of each kind of list.
    pub list_versions: IntGaugeVec,
    /// When the trusted manifest was signed.
    pub lists_manifest: IntGauge,
    /// When the newest manifest was signed whose lists were all here.
    pub lists_complete: IntGauge,
    /// Cards that are refused.
    pub hotlist_cards: IntGauge,
    /// Manifests and lists refused, and other troubles with them.
    pub list_troubles: IntCounter,
    /// Tickets remembered as taken.
    pub tickets_remembered: IntGauge,
    /// When the reader last read a card; 0 before the first.
    pub reader_last_card: IntGauge,
    /// 1 while neither self-test nor machine say that something is wrong.
    pub device_well: IntGauge,
    /// When that was looked at last.
    pub device_looked: IntGauge,
    /// When the last self-test passed; 0 before the first.
    pub self_tested: IntGauge,
    /// How long the last self-test took.
    pub self_test_seconds: Gauge,
}

impl Metrics {
    /// All series at zero.
    pub fn new() -> Self {
        let registry = Registry::new();
        let metrics = Self {
            taps: counters("tapline_taps_total", "Taps recorded", "outcome"),
            refusals: counters("tapline_tap_refusals_total", "Taps refused", "reason"),
            tap_seconds: seconds(
                "tapline_tap_duration_seconds",
                "Card detected to feedback shown",
                &[0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.75, 1.0, 2.0],
            ),
            own_seconds: seconds(
                "tapline_tap_own_duration_seconds",
                "The validator's own part of a tap, without the card",
                &[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5],
            ),
            log_write_seconds: seconds(
                "tapline_log_write_duration_seconds",
                "One durable write of the tap log",
                &[0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5],
            ),
            in_service: gauge("tapline_in_service", "1 while taps are taken"),
            link_up: gauge("tapline_link_up", "1 while connected to the broker"),
            connections: counter("tapline_link_connections_total", "Connections to the broker"),
            batches: counter("tapline_batches_sent_total", "Batches sent, again or not"),
            message_version: gauge("tapline_message_version", "Version of batches; 0 = none"),
            log_head: gauge("tapline_log_head", "Newest entry of the tap log"),
            log_acked: gauge("tapline_log_acked", "Newest entry acknowledged by the depot"),
            in_doubt: gauge("tapline_taps_in_doubt", "Taps whose commit is still unknown"),
            store_bytes: gauge("tapline_store_bytes", "Bytes of the store on disk"),
            reader_errors: counter("tapline_reader_errors_total", "Failures of the reader"),
            late_answers: counters("tapline_late_answers_total", "Answers too late", "at"),
            reader_up: gauge("tapline_reader_up", "1 while the reader answers"),
            other_key_versions: counters(
                "tapline_other_key_versions_total",
                "Cards whose debit key is not of the current version",
                "key",
            ),
            gnss_up: gauge("tapline_gnss_up", "1 while satellites tell the place"),
            gnss_fix: gauge("tapline_gnss_fix_timestamp_seconds", "When they told it last"),
            clock_offset: gauge("tapline_clock_offset_milliseconds", "Satellites less machine"),
            gate_up: gauge("tapline_gate_up", "1 while the gate answers"),
            gate_words: counters("tapline_gate_words_total", "What the gate said", "said"),
            scanner_errors: counter("tapline_scanner_errors_total", "Failures of the scanner"),
            scanner_dropped: gauge("tapline_scanner_lines_dropped", "Lines that were no text"),
            list_versions: gauges("tapline_list_version", "Newest version held", "kind"),
            lists_manifest: gauge(
                "tapline_lists_manifest_timestamp_seconds",
                "When the trusted manifest of lists was signed",
            ),
            lists_complete: gauge(
                "tapline_lists_complete_timestamp_seconds",
                "When the newest manifest was signed whose lists are all here",
            ),
            hotlist_cards: gauge("tapline_hotlist_cards", "Cards on the hotlist held"),
            list_troubles: counter("tapline_list_troubles_total", "Refused manifests and lists"),
            tickets_remembered: gauge("tapline_tickets_remembered", "Tickets taken, remembered"),
            reader_last_card: gauge(
                "tapline_reader_last_card_timestamp_seconds",
                "When the reader last read a card",
            ),
            device_well: gauge("tapline_device_well", "1 while nothing is wrong with the device"),
            device_looked: gauge("tapline_device_looked_timestamp_seconds", "Last look at it"),
            self_tested: gauge("tapline_self_test_timestamp_seconds", "Last self-test passed"),
            self_test_seconds: real("tapline_self_test_duration_seconds", "Last self-test"),
            registry,
        };
        metrics.register();
        metrics
    }

    fn register(&self) {
        let all: Vec<Box<dyn Collector>> = vec![
            Box::new(self.taps.clone()),
            Box::new(self.refusals.clone()),
            Box::new(self.tap_seconds.clone()),
            Box::new(self.own_seconds.clone()),
            Box::new(self.log_write_seconds.clone()),
            Box::new(self.in_service.clone()),
            Box::new(self.link_up.clone()),
            Box::new(self.connections.clone()),
            Box::new(self.batches.clone()),
            Box::new(self.message_version.clone()),
            Box::new(self.log_head.clone()),
            Box::new(self.log_acked.clone()),
            Box::new(self.in_doubt.clone()),
            Box::new(self.store_bytes.clone()),
            Box::new(self.reader_errors.clone()),
            Box::new(self.late_answers.clone()),
            Box::new(self.list_versions.clone()),
            Box::new(self.lists_manifest.clone()),
            Box::new(self.lists_complete.clone()),
            Box::new(self.hotlist_cards.clone()),
            Box::new(self.list_troubles.clone()),
            Box::new(self.reader_up.clone()),
            Box::new(self.other_key_versions.clone()),
            Box::new(self.gnss_up.clone()),
            Box::new(self.gnss_fix.clone()),
            Box::new(self.clock_offset.clone()),
            Box::new(self.gate_up.clone()),
            Box::new(self.gate_words.clone()),
            Box::new(self.scanner_errors.clone()),
            Box::new(self.scanner_dropped.clone()),
            Box::new(self.tickets_remembered.clone()),
            Box::new(self.reader_last_card.clone()),
            Box::new(self.device_well.clone()),
            Box::new(self.device_looked.clone()),
            Box::new(self.self_tested.clone()),
            Box::new(self.self_test_seconds.clone()),
        ];
        for collector in all {
            self.registry.register(collector).expect("each name is used once");
        }
    }

    /// When the reader last read a card.
    pub fn last_read(&self) -> Option<Timestamp> {
        let at = u64::try_from(self.reader_last_card.get()).ok().filter(|at| *at > 0)?;
        Some(Timestamp::from_secs(at))
    }

    /// The same, with how the rider's devices fare.
    pub fn watching(drivers: Vec<Arc<DriverHealth>>) -> Self {
        let metrics = Self::new();
        let drivers = Box::new(Drivers::new(drivers));
        metrics.registry.register(drivers).expect("each name is used once");
        metrics
    }

    /// The page.
    pub fn text(&self) -> String {
        TextEncoder::new()
            .encode_to_string(&self.registry.gather())
            .expect("counters and gauges always encode")
    }
}

/// Reads the health of the rider's devices when the page is asked for.
struct Drivers {
    watched: Vec<Arc<DriverHealth>>,
    up: IntGaugeVec,
    failures: IntGaugeVec,
}

impl Drivers {
    fn new(watched: Vec<Arc<DriverHealth>>) -> Self {
        let up = gauges("tapline_rider_driver_up", "1 while the device does as told", "driver");
        let failures = "Failures of the device since the start";
        let failures = gauges("tapline_rider_driver_failures", failures, "driver");
        Self { watched, up, failures }
    }
}

impl Collector for Drivers {
    fn desc(&self) -> Vec<&Desc> {
        self.up.desc().into_iter().chain(self.failures.desc()).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for driver in &self.watched {
            let name = [driver.name.as_str()];
            self.up.with_label_values(&name).set(i64::from(driver.is_up() == Some(true)));
            let failures = i64::try_from(driver.failures()).unwrap_or(i64::MAX);
            self.failures.with_label_values(&name).set(failures);
        }
        self.up.collect().into_iter().chain(self.failures.collect()).collect()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

const VALID: &str = "the name and help are constants that prometheus accepts";

fn counters(name: &str, help: &str, label: &str) -> IntCounterVec {
    IntCounterVec::new(Opts::new(name, help), &[label]).expect(VALID)
}

fn gauges(name: &str, help: &str, label: &str) -> IntGaugeVec {
    IntGaugeVec::new(Opts::new(name, help), &[label]).expect(VALID)
}

fn counter(name: &str, help: &str) -> IntCounter {
    IntCounter::new(name, help).expect(VALID)
}

fn real(name: &str, help: &str) -> Gauge {
    Gauge::new(name, help).expect(VALID)
}

fn gauge(name: &str, help: &str) -> IntGauge {
    IntGauge::new(name, help).expect(VALID)
}

fn seconds(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())).expect(VALID)
}

/// Serves `/metrics` and `/health` until the task is aborted. The address matters when the port
/// was 0.
pub(crate) async fn serve(
    listen: SocketAddr,
    metrics: Metrics,
    service: watch::Receiver<Service>,
) -> std::io::Result<(SocketAddr, JoinHandle<()>)> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let task = tokio::spawn(async move {
        loop {
            if let Ok((stream, _)) = listener.accept().await {
                let asked = (metrics.clone(), service.clone());
                tokio::spawn(timeout(REQUEST_TIME_MAX, answer(stream, asked)));
            }
        }
    });
    Ok((address, task))
}

async fn answer(
    mut stream: TcpStream,
    (metrics, service): (Metrics, watch::Receiver<Service>),
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|w| w == b"\r\n\r\n") {
        if request.len() > REQUEST_BYTES_MAX || stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
    }
    let (status, body) = if request.starts_with(b"GET /metrics ") {
        ("200 OK", metrics.text())
    } else if request.starts_with(b"GET /health ") && metrics.in_service.get() == 1 {
        ("200 OK", "in service\n".to_string())
    } else if request.starts_with(b"GET /health ") {
        let why = match &*service.borrow() {
            Service::Out(why) => format!("out of service: {why}\n"),
            // It starts, or stops.
            Service::In => "out of service\n".to_string(),
        };
        ("503 Service Unavailable", why)
    } else {
        ("404 Not Found", "this validator serves /metrics and /health\n".to_string())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\n\r\n").as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn the_page_shows_what_was_counted_and_health_follows_service() {
        let metrics = Metrics::new();
        metrics.taps.with_label_values(&["committed"]).inc();
        let (tell, service) = watch::channel(Service::In);
        let listen = "127.0.0.1:0".parse().unwrap();
        let (address, page) = serve(listen, metrics.clone(), service).await.unwrap();
        let text = get(address, "/metrics").await;
        assert!(text.contains("tapline_taps_total{outcome=\"committed\"} 1"), "{text}");
        assert!(get(address, "/health").await.starts_with("HTTP/1.1 503"));
        tell.send_replace(Service::Out("the reader is gone".into()));
        assert!(get(address, "/health").await.ends_with("out of service: the reader is gone\n"));
        metrics.in_service.set(1);
        assert!(get(address, "/health").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/other").await.starts_with("HTTP/1.1 404"));
        page.abort();
    }
}
