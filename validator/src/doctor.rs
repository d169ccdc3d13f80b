//! `validator doctor`: looks at everything the daemon will need and says what to do about it.

use std::{fmt, path::Path, time::Duration};

use custody::Source;
use fleet_sync::key_id;
use model::{ClockQuality, Timestamp};
use tokio::{net::TcpStream, time::timeout};

use crate::{
    clock::Clock,
    config::Config,
    daemon::{context, load_tariffs},
    keys::{load_card, load_depot, load_signing},
    room,
    speech::Payloads,
    store::{Store, StoreError, StoreOptions},
};
use gate::Gate;
use gnss::{Heard, Receiver};
use reader::{Reader, Scanner};
use rider::Device;

const CONNECT_MAX: Duration = Duration::from_secs(5);
const READER_MAX: Duration = Duration::from_secs(10);
/// A gate is told to shut, three times.
const GATE_MAX: Duration = Duration::from_secs(5);
/// A receiver tells its place every second.
const GNSS_MAX: Duration = Duration::from_secs(3);
/// 2026-01-01: a clock before it was never set.
const EPOCH_OF_SOFTWARE: Timestamp = Timestamp::from_secs(1_767_225_600);

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finding {
    /// Nothing to do.
    Good,
    /// It works, and someone should look.
    Warning,
    /// It will not work.
    Bad,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub what: &'static str,
    /// How it ended.
    pub finding: Finding,
    /// What was seen, and what to do.
    pub detail: String,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = match self.finding {
            Finding::Good => "ok  ",
            Finding::Warning => "warn",
            Finding::Bad => "BAD ",
        };
        write!(f, "{mark} {:<8} {}", self.what, self.detail)
    }
}

/// All checks, in the order of a start.
pub async fn examine(config: &Config) -> Vec<Check> {
    let state = config.state.folder.clone();
    let options = StoreOptions {
        cache_bytes: config.state.cache_mib << 20,
        open_deadline: Duration::from_secs(config.state.open_deadline_s),
        reserve_bytes: config.state.reserve_mib << 20,
        ..StoreOptions::default()
    };
    let store = tokio::task::spawn_blocking(move || check_store(&state, options)).await;
    let mut checks = vec![
        store.unwrap_or_else(|e| check("store", Finding::Bad, e.to_string())),
        check_keys(config),
        check_payloads(config),
        check_tariff(config),
        check_clock(Clock::system().kept_by(config.validator.clock_kept_by)),
        check_reader(config).await,
        check_scanner(config),
        check_gate(config).await,
        check_gnss(config).await,
    ];
    checks.extend(check_rider(config));
    checks.push(check_broker(config).await);
    checks
}

const fn check(what: &'static str, finding: Finding, detail: String) -> Check {
    Check { what, finding, detail }
}

fn check_store(state: &Path, options: StoreOptions) -> Check {
    if !state.join("store").exists() {
        let detail = format!("{} holds no store yet: the first start makes it", state.display());
        let writable = state.parent().is_some_and(Path::exists) || state.exists();
        return check("store", if writable { Finding::Good } else { Finding::Warning }, detail);
    }
    match Store::open(state, options) {
        Ok((store, report)) => match report.quarantined {
            None => match room::too_little(state, options.reserve_bytes) {
                None => check("store", Finding::Good, format!("{} KiB", store.size() / 1024)),
                Some(why) => check("store", Finding::Bad, why),
            },
            Some(folder) => check(
                "store",
                Finding::Warning,
                format!("was damaged; kept for the depot in {}", folder.display()),
            ),
        },
        Err(e @ StoreError::InUse(_)) => {
            check("store", Finding::Warning, format!("not looked at: {e}"))
        }
        Err(e) => check("store", Finding::Bad, crate::chain(&e)),
    }
}

fn check_keys(config: &Config) -> Check {
    let keys = &config.keys;
    let all = load_signing(&keys.signing)
        .and_then(|_| load_depot(&keys.depot))
        .and_then(|_| Ok(load_card(&keys.card)?.list()?));
    let held = match all {
        Ok(held) => held,
        Err(e) => return check("keys", Finding::Bad, crate::chain(&e)),
    };
    let words = held.iter().map(|key| {
        let tried = if key.current { ", tried first" } else { "" };
        format!("{} {} ({}{tried})", key.role.word(), key.version, key.check)
    });
    let detail = format!("{} in {}", words.collect::<Vec<_>>().join(", "), keys.card);
    match &keys.card {
        Source::Plain(_) => check(
            "keys",
            Finding::Warning,
            format!("{detail}: whoever copies that file has the key; see docs/keys.md"),
        ),
        Source::Store(_) | Source::Token(_) => check("keys", Finding::Good, detail),
    }
}

/// What is spoken to the depot is agreed with it; here stands what is demanded, and for whom it is.
fn check_payloads(config: &Config) -> Check {
    let keys = match load_depot(&config.keys.depot) {
        Ok(keys) => keys,
        Err(e) => return check("payloads", Finding::Bad, crate::chain(&e)),
    };
    let names: Vec<_> = keys.iter().map(|key| key_id(key).to_string()).collect();
    let names = names.join(" or ");
    let detail = match config.broker.payloads {
        Payloads::Signed => {
            format!("signed for key {names}: the broker can read taps; see broker.payloads")
        }
        Payloads::Sealed => {
            format!("sealed for key {names}: taps wait for a depot that opens them")
        }
    };
    check("payloads", Finding::Good, detail)
}

fn check_tariff(config: &Config) -> Check {
    let loaded = load_tariffs(&config.tariff.files).and_then(|tariffs| {
        let version = tariffs.newest().version();
        let known = (&tariffs, tariffs.newest().version());
        context(config, known, ClockQuality::Unknown)?;
        Ok(format!("version {version} in force"))
    });
    match loaded {
        Ok(detail) => check("tariff", Finding::Good, detail),
        Err(e) => check("tariff", Finding::Bad, crate::chain(&e)),
    }
}

fn check_clock(clock: Clock) -> Check {
    if clock.now() < EPOCH_OF_SOFTWARE {
        let detail = "the date lies before this software was made: set the clock".into();
        return check("clock", Finding::Bad, detail);
    }
    match clock.quality() {
        ClockQuality::Ntp | ClockQuality::Gnss => {
            check("clock", Finding::Good, "synchronised".into())
        }
        ClockQuality::Rtc => check("clock", Finding::Good, "from the hardware clock".into()),
        ClockQuality::Unknown | ClockQuality::Saved => check(
            "clock",
            Finding::Warning,
            "neither network time nor a hardware clock: taps will be marked so".into(),
        ),
    }
}

async fn check_reader(config: &Config) -> Check {
    match timeout(READER_MAX, Reader::open(&config.reader)).await {
        Ok(Ok(reader)) => {
            let detail = reader.describe();
            reader.close().await;
            check("reader", Finding::Good, detail)
        }
        Ok(Err(e)) => check("reader", Finding::Bad, crate::chain(&e)),
        Err(_) => check("reader", Finding::Bad, "does not answer within 10 s".into()),
    }
}

fn check_scanner(config: &Config) -> Check {
    let Some(scanner) = &config.scanner else {
        return check("scanner", Finding::Good, "none: no tickets are taken here".into());
    };
    match Scanner::probe(scanner) {
        Ok(()) => {
            let (port, keys) = (scanner.port.display(), config.tickets.keys.len());
            check("scanner", Finding::Good, format!("{port} opens; tickets of {keys} keys"))
        }
        Err(e) => check("scanner", Finding::Bad, crate::chain(&e)),
    }
}

async fn check_gnss(config: &Config) -> Check {
    let Some(gnss) = &config.gnss else {
        return check("gnss", Finding::Good, "none: taps are made at validator.place".into());
    };
    let port = gnss.port.display();
    let until = "until then taps are made at validator.place";
    let (finding, words) = match Receiver::probe(gnss, GNSS_MAX).await {
        Err(e) => (Finding::Bad, crate::chain(&e)),
        Ok(Heard::Nothing) => (
            Finding::Warning,
            format!("{port} says nothing in {} s: is it wired?", GNSS_MAX.as_secs()),
        ),
        Ok(Heard::Noise) => {
            let baud = gnss.baud;
            (
                Finding::Warning,
                format!(
                    "{port} sends nothing readable at {baud} baud: set gnss.baud by its manual"
                ),
            )
        }
        Ok(Heard::NoPlace) => (
            Finding::Warning,
            format!("{port} knows no place yet: give its antenna the sky; {until}"),
        ),
        Ok(Heard::Place(_)) => (Finding::Good, format!("{port} tells a place")),
    };
    check("gnss", finding, words)
}

/// Opens what tells riders; `validator selftest` has it do something.
fn check_rider(config: &Config) -> Vec<Check> {
    let devices = rider::devices(&config.rider);
    if devices.is_empty() {
        let detail = "no devices: riders are told by lines on standard output".into();
        return vec![check("rider", Finding::Good, detail)];
    }
    let one = |device: &Device| match rider::probe(&config.rider, device) {
        Ok(()) => check(device.name, Finding::Good, format!("{} opens", device.place)),
        Err(e) => {
            let Device { place, advice, .. } = device;
            check(device.name, Finding::Bad, format!("{place}: {e}: {advice}"))
        }
    };
    devices.iter().map(one).collect()
}

async fn check_gate(config: &Config) -> Check {
    let Some(gate) = &config.gate else {
        return check("gate", Finding::Good, "none: taps open nothing here".into());
    };
    match timeout(GATE_MAX, Gate::probe(gate)).await {
        Ok(Ok(())) => {
            let place = gate.port.as_ref().map_or("it".into(), |port| port.display().to_string());
            check("gate", Finding::Good, format!("{place} answers, and is shut"))
        }
        Ok(Err(e)) => check("gate", Finding::Bad, crate::chain(&e)),
        Err(_) => check("gate", Finding::Bad, "does not answer within 5 s".into()),
    }
}

async fn check_broker(config: &Config) -> Check {
    let (host, port) = (&config.broker.host, config.broker.port);
    if let Some(tls) = &config.broker.tls {
        for path in [&tls.ca, &tls.certificate, &tls.key] {
            if let Err(e) = std::fs::read(path) {
                return check("broker", Finding::Bad, format!("{}: {e}", path.display()));
            }
        }
    }
    let away = "taps are kept until it is back; check network, host and port";
    match timeout(CONNECT_MAX, TcpStream::connect((host.as_str(), port))).await {
        Ok(Ok(_)) => check("broker", Finding::Good, format!("{host}:{port} answers")),
        Ok(Err(e)) => check("broker", Finding::Warning, format!("{host}:{port}: {e}; {away}")),
        Err(_) => check("broker", Finding::Warning, format!("{host}:{port} is silent; {away}")),
    }
}
