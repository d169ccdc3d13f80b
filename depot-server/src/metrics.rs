//! What the depot server counts. One catalogue: name, kind, labels, meaning, what good looks like.
//!
//! Every metric is in the catalogue, so that docs/METRICS.md (checked by a test) cannot forget one.
//! No label ever holds a card, a validator or anything else without a small bound (PRV-6).

mod labels;
mod sealing;

use std::time::Duration;

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

pub use labels::{EXCEPTION_KINDS, LIST_WORDS, QUARANTINE_REASONS};

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

/// One metric of the catalogue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Full name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels and their values.
    pub label: Option<(&'static str, &'static [&'static str])>,
    /// What it counts.
    pub help: &'static str,
    /// What good looks like, and what to do otherwise.
    pub good: &'static str,
}

const BUILD_INFO: Entry = Entry {
    name: "tapline_build_info",
    kind: Kind::Gauge,
    label: Some(("version", &[env!("CARGO_PKG_VERSION")])),
    help: "Always 1; the label tells the version that runs.",
    good: "One version per fleet, but for the time of an upgrade.",
};
const INGEST_TAPS: Entry = Entry {
    name: "tapline_ingest_taps_total",
    kind: Kind::Counter,
    label: Some(("result", &["new", "duplicate", "rejected"])),
    help: "Log entries of validators by what became of them here.",
    good: "duplicate grows only after reconnects; rejected stays 0: see the exceptions.",
};
const INGEST_BATCHES: Entry = Entry {
    name: "tapline_ingest_batches_total",
    kind: Kind::Counter,
    label: Some(("result", &["booked", "duplicate", "gapped", "quarantined"])),
    help: "Batches by what became of them here.",
    good: "gapped grows for a moment after lost messages; quarantined stays 0: see the quarantine.",
};
const INGEST_LAG: Entry = Entry {
    name: "tapline_ingest_lag_seconds",
    kind: Kind::Histogram,
    label: None,
    help: "From the tap (validator's clock) to its durable booking (depot's clock).",
    good: "Seconds while validators are connected; days after an outage are normal.",
};
const INGEST_AHEAD: Entry = Entry {
    name: "tapline_ingest_taps_ahead_total",
    kind: Kind::Counter,
    label: None,
    help: "Entries that lie more than ten minutes after their arrival, by a clock that was set.",
    good: "0; else a validator's clock is ahead: sort the fleet by its clocks.",
};
const INGEST_STAGE: Entry = Entry {
    name: "tapline_ingest_stage_duration_seconds",
    kind: Kind::Histogram,
    label: Some(("stage", &["verify", "book", "commit"])),
    help: "Time that one group of batches spends in a stage.",
    good: "commit is the disk: above 0.1 s it is too slow or too full.",
};
const INGEST_QUEUE: Entry = Entry {
    name: "tapline_ingest_queue_messages",
    kind: Kind::Gauge,
    label: None,
    help: "Messages received from the broker that wait for their commit.",
    good: "Near 0; near mqtt.receive_max the depot is slower than its fleet.",
};
const LAST_COMMIT: Entry = Entry {
    name: "tapline_ingest_last_commit_timestamp_seconds",
    kind: Kind::Gauge,
    label: None,
    help: "When taps were last durably booked.",
    good: "Within minutes during service; otherwise look at the link, then at the fleet.",
};
const QUARANTINED: Entry = Entry {
    name: "tapline_quarantine_messages_total",
    kind: Kind::Counter,
    label: Some(("reason", QUARANTINE_REASONS)),
    help: "Messages that could not be believed, by reason; each is kept as received.",
    good: "0; bad-signature and chain-broken mean tampering until shown otherwise.",
};
const EXCEPTIONS_OPENED: Entry = Entry {
    name: "tapline_reconciliation_exceptions_opened_total",
    kind: Kind::Counter,
    label: Some(("kind", EXCEPTION_KINDS)),
    help: "Exceptions that reconciliation opened, by kind.",
    good: "in-doubt and card-gap close by themselves; fork, proof-invalid and \
           charged-without-passage (repay it) need a person.",
};
const EXCEPTIONS_OPEN: Entry = Entry {
    name: "tapline_reconciliation_exceptions",
    kind: Kind::Gauge,
    label: Some(("kind", EXCEPTION_KINDS)),
    help: "Exceptions open now, by kind.",
    good: "Falling or 0.",
};
const IMBALANCE: Entry = Entry {
    name: "tapline_ledger_imbalance_minor_units",
    kind: Kind::Gauge,
    label: None,
    help: "Sum of all ledger accounts.",
    good: "0 always; anything else is a fault of this program: stop and run verify.",
};
const PAYABLE_OLDEST: Entry = Entry {
    name: "tapline_operator_payable_oldest_days",
    kind: Kind::Gauge,
    label: None,
    help: "Days since the oldest settled day of which an operator is still owed something.",
    good: "Below what the issuers agreed with the operators.",
};
const FLEET: Entry = Entry {
    name: "tapline_fleet_validators",
    kind: Kind::Gauge,
    label: Some(("link", &["up", "down", "never-seen"])),
    help: "Enrolled validators by the state of their link.",
    good: "down is normal for parked vehicles, not for stations.",
};
const LIST_MANIFEST: Entry = Entry {
    name: "tapline_lists_manifest_version",
    kind: Kind::Gauge,
    label: None,
    help: "The newest manifest of lists that was signed; its number is at least the second of it.",
    good: "Rises every hour; if not, the log says why the lists cannot be read or signed.",
};
const LIST_VERSIONS: Entry = Entry {
    name: "tapline_list_version",
    kind: Kind::Gauge,
    label: Some(("kind", LIST_WORDS)),
    help: "The newest version of each kind of list that is given to validators; 0 without one.",
    good: "What was published last.",
};
const LISTS_BEHIND: Entry = Entry {
    name: "tapline_fleet_lists_behind",
    kind: Kind::Gauge,
    label: None,
    help: "Connected validators that do not hold every list of the newest manifest.",
    good: "0 within a minute of a publication, and while none is under way.",
};
const TOO_FEW: Entry = Entry {
    name: "tapline_fleet_too_few_taps",
    kind: Kind::Gauge,
    label: None,
    help: "Validators in service by their own word that see far fewer taps than is usual.",
    good: "0; else /fleet?service=too-few names them: send somebody, the reader may be frozen.",
};
const WORK_HOURS: Entry = Entry {
    name: "tapline_fleet_hours",
    kind: Kind::Gauge,
    label: Some(("of", &["expected", "worked"])),
    help: "Hours of single validators, of the last 24, in which many taps are usual; and those of \
           them with any tap.",
    good: "worked above 99 % of expected: the fleet's availability by work done.",
};
const HOTLIST_CASES: Entry = Entry {
    name: "tapline_hotlist_cases",
    kind: Kind::Gauge,
    label: Some(("standing", &["proposed", "approved", "confirmed", "in-force"])),
    help: "Open cases of cards to refuse, by where they stand.",
    good: "proposed falls: somebody decides daily; approved is 0 within a minute.",
};
const HOTLIST_BREAKER: Entry = Entry {
    name: "tapline_hotlist_breaker_open",
    kind: Kind::Gauge,
    label: None,
    help: "1 while the hotlist's circuit breaker is open: nobody is blocked any more.",
    good: "0; at 1 look at /hotlist before anybody confirms.",
};
const HOTLIST_LAG: Entry = Entry {
    name: "tapline_fleet_hotlist_lag_seconds",
    kind: Kind::Gauge,
    label: Some(("of", &["connected", "enrolled"])),
    help: "For how long the validator furthest behind has lacked a newer hotlist.",
    good: "connected below 60, the objective; enrolled below a day: find the ones in the fleet.",
};
const LINK_UP: Entry = Entry {
    name: "tapline_mqtt_connected",
    kind: Kind::Gauge,
    label: None,
    help: "1 while connected to the broker.",
    good: "1; at 0 the log says why.",
};
const LINK_CONNECTS: Entry = Entry {
    name: "tapline_mqtt_connects_total",
    kind: Kind::Counter,
    label: Some(("result", &["connected", "failed"])),
    help: "Attempts to connect to the broker.",
    good: "Rare; failed growing means wrong host, certificate or broker down.",
};
const LOGIN_FAILURES: Entry = Entry {
    name: "tapline_login_failures_total",
    kind: Kind::Counter,
    label: None,
    help: "Login links that were wrong, used or too old.",
    good: "Near 0; bursts mean guessing, which 256 bits make hopeless.",
};
const SSE_CLIENTS: Entry = Entry {
    name: "tapline_sse_clients",
    kind: Kind::Gauge,
    label: None,
    help: "Open live screens.",
    good: "As many as people look.",
};
const HTTP_REQUESTS: Entry = Entry {
    name: "tapline_http_requests_total",
    kind: Kind::Counter,
    label: Some(("class", &["1xx", "2xx", "3xx", "4xx", "5xx"])),
    help: "Answered requests by class of status.",
    good: "5xx stays 0: otherwise the log has the cause.",
};
const HTTP_DURATION: Entry = Entry {
    name: "tapline_http_request_duration_seconds",
    kind: Kind::Histogram,
    label: None,
    help: "Time to answer a request; live streams are not counted.",
    good: "Below 0.25 s.",
};

/// Everything that the depot server counts, in the order of docs/METRICS.md.
pub const CATALOGUE: &[Entry] = &[
    BUILD_INFO,
    INGEST_TAPS,
    INGEST_BATCHES,
    INGEST_LAG,
    INGEST_AHEAD,
    INGEST_STAGE,
    INGEST_QUEUE,
    LAST_COMMIT,
    QUARANTINED,
    EXCEPTIONS_OPENED,
    EXCEPTIONS_OPEN,
    IMBALANCE,
    PAYABLE_OLDEST,
    FLEET,
    LIST_MANIFEST,
    LIST_VERSIONS,
    LISTS_BEHIND,
    sealing::LIST_KEYS,
    TOO_FEW,
    WORK_HOURS,
    HOTLIST_CASES,
    HOTLIST_BREAKER,
    HOTLIST_LAG,
    LINK_UP,
    LINK_CONNECTS,
    LOGIN_FAILURES,
    SSE_CLIENTS,
    HTTP_REQUESTS,
    HTTP_DURATION,
];

/// One second to one week.
const LAG_BUCKETS: &[f64] = &[1., 2., 5., 10., 30., 60., 600., 3600., 21_600., 86_400., 604_800.];
const STAGE_BUCKETS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.];
const HTTP_BUCKETS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1., 2.5];

/// The live counters. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    registry: Registry,
    /// Entries by result.
    pub ingest_taps: IntCounterVec,
    /// Batches by result.
    pub ingest_batches: IntCounterVec,
    /// Tap to booking.
    pub ingest_lag: Histogram,
    /// See the catalogue.
    pub ingest_ahead: prometheus::IntCounter,
    ingest_stage: prometheus::HistogramVec,
    /// Messages that wait.
    pub ingest_queue: IntGauge,
    /// Last durable booking, seconds since 1970.
    pub last_commit: IntGauge,
    /// Set-aside messages by reason.
    pub quarantined: IntCounterVec,
    /// Opened exceptions by kind.
    pub exceptions_opened: IntCounterVec,
    /// Open exceptions by kind.
    pub exceptions_open: IntGaugeVec,
    /// Sum of all accounts.
    pub imbalance: IntGauge,
    /// See the catalogue.
    pub payable_oldest: IntGauge,
    /// Validators by link.
    pub fleet: IntGaugeVec,
    /// See the catalogue.
    pub list_manifest: IntGauge,
    /// See the catalogue.
    pub list_versions: IntGaugeVec,
    /// See the catalogue.
    pub lists_behind: IntGauge,
    /// See the catalogue.
    pub list_keys: IntGaugeVec,
    /// See the catalogue.
    pub too_few: IntGauge,
    /// See the catalogue.
    pub work_hours: IntGaugeVec,
    /// See the catalogue.
    pub hotlist_cases: IntGaugeVec,
    /// See the catalogue.
    pub hotlist_breaker: IntGauge,
    /// See the catalogue.
    pub hotlist_lag: IntGaugeVec,
    /// 1 while connected.
    pub link_up: IntGauge,
    /// Attempts to connect.
    pub link_connects: IntCounterVec,
    login_failures: prometheus::IntCounter,
    /// Open live screens.
    pub sse_clients: IntGauge,
    /// Answered requests by class of status.
    pub http_requests: IntCounterVec,
    /// Time to answer.
    pub http_duration: Histogram,
}

/// Where a group of batches is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Decoding and verifying.
    Verify,
    /// Clearing and writing.
    Book,
    /// Waiting for the disk.
    Commit,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        let build = gauges(&registry, &BUILD_INFO);
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        register(&registry, prometheus::process_collector::ProcessCollector::for_self());
        Self {
            ingest_taps: counters(&registry, &INGEST_TAPS),
            ingest_batches: counters(&registry, &INGEST_BATCHES),
            ingest_lag: histogram(&registry, &INGEST_LAG, LAG_BUCKETS),
            ingest_ahead: counter(&registry, &INGEST_AHEAD),
            ingest_stage: histograms(&registry, &INGEST_STAGE, STAGE_BUCKETS),
            ingest_queue: gauge(&registry, &INGEST_QUEUE),
            last_commit: gauge(&registry, &LAST_COMMIT),
            quarantined: counters(&registry, &QUARANTINED),
            exceptions_opened: counters(&registry, &EXCEPTIONS_OPENED),
            exceptions_open: gauges(&registry, &EXCEPTIONS_OPEN),
            imbalance: gauge(&registry, &IMBALANCE),
            payable_oldest: gauge(&registry, &PAYABLE_OLDEST),
            fleet: gauges(&registry, &FLEET),
            list_manifest: gauge(&registry, &LIST_MANIFEST),
            list_versions: gauges(&registry, &LIST_VERSIONS),
            lists_behind: gauge(&registry, &LISTS_BEHIND),
            list_keys: gauges(&registry, &sealing::LIST_KEYS),
            too_few: gauge(&registry, &TOO_FEW),
            work_hours: gauges(&registry, &WORK_HOURS),
            hotlist_cases: gauges(&registry, &HOTLIST_CASES),
            hotlist_breaker: gauge(&registry, &HOTLIST_BREAKER),
            hotlist_lag: gauges(&registry, &HOTLIST_LAG),
            link_up: gauge(&registry, &LINK_UP),
            link_connects: counters(&registry, &LINK_CONNECTS),
            login_failures: counter(&registry, &LOGIN_FAILURES),
            sse_clients: gauge(&registry, &SSE_CLIENTS),
            http_requests: counters(&registry, &HTTP_REQUESTS),
            http_duration: histogram(&registry, &HTTP_DURATION, HTTP_BUCKETS),
            registry,
        }
    }
}

impl Metrics {
    /// Time that a group spent in a stage.
    pub fn observe_stage(&self, stage: Stage, took: Duration) {
        let name = match stage {
            Stage::Verify => "verify",
            Stage::Book => "book",
            Stage::Commit => "commit",
        };
        self.ingest_stage.with_label_values(&[name]).observe(took.as_secs_f64());
    }

    /// A login link that was wrong, used or too old.
    pub fn login_failed(&self) {
        self.login_failures.inc();
    }

    /// All values in Prometheus' text format, version 0.0.4.
    pub fn render(&self) -> String {
        let mut text = Vec::new();
        TextEncoder::new()
            .encode(&self.registry.gather(), &mut text)
            .expect("writing to memory does not fail");
        String::from_utf8(text).expect("the text format is UTF-8")
    }
}

/// The body of docs/METRICS.md for this program.
pub fn catalogue_as_markdown() -> String {
    use std::fmt::Write as _;
    let mut text =
        String::from("| Metric | Kind | Labels | Meaning | Good |\n|---|---|---|---|---|\n");
    for entry in CATALOGUE {
        let kind = match entry.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let label = match entry.label {
            None => "–".to_owned(),
            Some(("version", _)) => "version".to_owned(),
            Some((name, values)) => format!("{name}: {}", values.join(", ")),
        };
        let Entry { name, help, good, .. } = entry;
        let _ = writeln!(text, "| `{name}` | {kind} | {label} | {help} | {good} |");
    }
    text
}

fn register<C: prometheus::core::Collector + 'static>(registry: &Registry, collector: C) {
    registry.register(Box::new(collector)).expect("names in the catalogue are valid and unique");
}

fn labels(entry: &Entry) -> (&'static str, &'static [&'static str]) {
    entry.label.expect("a metric with labels lists them")
}

fn counter(registry: &Registry, entry: &Entry) -> prometheus::IntCounter {
    let made = prometheus::IntCounter::new(entry.name, entry.help).expect("valid name");
    register(registry, made.clone());
    made
}

fn counters(registry: &Registry, entry: &Entry) -> IntCounterVec {
    let (label, values) = labels(entry);
    let made = IntCounterVec::new(Opts::new(entry.name, entry.help), &[label]).expect("valid name");
    for value in values {
        made.with_label_values(&[value]).reset();
    }
    register(registry, made.clone());
    made
}

fn gauge(registry: &Registry, entry: &Entry) -> IntGauge {
    let made = IntGauge::new(entry.name, entry.help).expect("valid name");
    register(registry, made.clone());
    made
}

fn gauges(registry: &Registry, entry: &Entry) -> IntGaugeVec {
    let (label, values) = labels(entry);
    let made = IntGaugeVec::new(Opts::new(entry.name, entry.help), &[label]).expect("valid name");
    for value in values {
        made.with_label_values(&[value]).set(0);
    }
    register(registry, made.clone());
    made
}

fn histogram(registry: &Registry, entry: &Entry, buckets: &[f64]) -> Histogram {
    let opts = HistogramOpts::new(entry.name, entry.help).buckets(buckets.to_vec());
    let made = Histogram::with_opts(opts).expect("valid name");
    register(registry, made.clone());
    made
}

fn histograms(registry: &Registry, entry: &Entry, buckets: &[f64]) -> prometheus::HistogramVec {
    let (label, values) = labels(entry);
    let opts = HistogramOpts::new(entry.name, entry.help).buckets(buckets.to_vec());
    let made = prometheus::HistogramVec::new(opts, &[label]).expect("valid name");
    for value in values {
        let _ = made.with_label_values(&[value]);
    }
    register(registry, made.clone());
    made
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_the_catalogue_is_in_the_answer_with_its_help() {
        let text = Metrics::default().render();
        for entry in CATALOGUE {
            assert!(text.contains(&format!("# HELP {} ", entry.name)), "{}", entry.name);
        }
        for line in text.lines().filter(|l| l.starts_with("# TYPE tapline_")) {
            let name = line.split(' ').nth(2).unwrap();
            assert!(CATALOGUE.iter().any(|e| e.name == name), "{name} is not in the catalogue");
        }
    }

    #[test]
    fn the_document_lists_every_metric() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/METRICS.md");
        let document = std::fs::read_to_string(path).unwrap();
        let expected = catalogue_as_markdown();
        assert!(document.contains(&expected), "docs/METRICS.md must contain:\n{expected}");
    }
}
