//! `validator selftest`: what a tap needs of this machine, done once, without a rider.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::{Context, bail};
use gate::{Gate, GateConfig};
use model::{ClockQuality, Money, Refusal};
use reader::Reader;
use rider::{Device, RiderScreen};
use tap_log::{StoreOp, Tree};
use tokio::time::{sleep, timeout};
use validation::{Passage, Verdict};

use super::say;
use crate::{
    clock::Clock,
    config::Config,
    daemon::{context, load_tariffs},
    riders, selftest,
    store::{Store, StoreOptions},
};

/// Writes as long as an entry, each synced.
const WRITES: u32 = 50;
const ENTRY_BYTES: usize = 240;
/// Taps of nobody's card.
const TAPS: u32 = 20;
const READER_MAX: Duration = Duration::from_secs(10);
const GATE_MAX: Duration = Duration::from_secs(5);
/// The longest that an answer is shown.
const ANSWER: Duration = Duration::from_millis(2_500);
const LOOK: &str = "accepted, try again, refused; were they seen, lit and heard?";

pub(super) fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::load(path)?;
    let clock = Clock::system();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut done = vec![
        ("rules", rules(&config, clock)),
        ("disk", disk(&config, clock)),
        ("reader", runtime.block_on(reader(&config))),
    ];
    if let Some(gate) = &config.gate {
        done.push(("gate", runtime.block_on(shut(gate))));
    }
    done.extend(runtime.block_on(devices(&config, clock)));
    let mut well = true;
    for (what, found) in done {
        match found {
            Ok(words) => say(&format!("ok   {what:<7} {words}"))?,
            Err(e) => {
                well = false;
                say(&format!("BAD  {what:<7} {e:#}"))?
            }
        };
    }
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn rules(config: &Config, clock: Clock) -> anyhow::Result<String> {
    let tariffs = load_tariffs(&config.tariff.files)?;
    let known = (&tariffs, tariffs.newest().version());
    let context = context(config, known, ClockQuality::Unknown)?;
    let mut times = Vec::new();
    for _ in 0..TAPS {
        times.push(selftest::tap(context.clone(), clock.now(), clock)?);
    }
    Ok(format!("{TAPS} taps of nobody's card, without disk and radio: {}", spread(times)))
}

/// In a store of its own beside the log's, so that a validator may be running.
fn disk(config: &Config, clock: Clock) -> anyhow::Result<String> {
    let folder = &config.state.folder;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let scratch = tempfile::Builder::new().prefix("selftest-").tempdir_in(folder)?;
    let (store, _) = Store::open(scratch.path(), StoreOptions::default())?;
    let mut times = Vec::new();
    for n in 0..WRITES {
        let (key, value) = (n.to_be_bytes().to_vec(), vec![7; ENTRY_BYTES]);
        let before = clock.elapsed();
        store.apply(&[StoreOp::Put { tree: Tree::Entries, key, value }])?;
        store.sync()?;
        times.push(clock.elapsed().saturating_sub(before));
    }
    Ok(format!("{WRITES} durable writes in {}: {}", folder.display(), spread(times)))
}

async fn reader(config: &Config) -> anyhow::Result<String> {
    let opened = timeout(READER_MAX, Reader::open(&config.reader)).await;
    let reader = opened
        .with_context(|| format!("does not answer within {} s", READER_MAX.as_secs()))?
        .context("a validator that is running holds it: stop it first")?;
    let words = reader.describe();
    reader.close().await;
    Ok(words)
}

/// It is never opened: nobody stands there.
async fn shut(gate: &GateConfig) -> anyhow::Result<String> {
    let probed = timeout(GATE_MAX, Gate::probe(gate)).await;
    probed.with_context(|| format!("does not answer within {} s", GATE_MAX.as_secs()))??;
    Ok("does as it is told, and is shut".into())
}

/// Has display, lamps and sounder tell a rider one answer of each class, as they would at taps.
async fn devices(config: &Config, clock: Clock) -> Vec<(&'static str, anyhow::Result<String>)> {
    let devices = rider::devices(&config.rider);
    let Some(first) = devices.first() else { return Vec::new() };
    let panel = load_tariffs(&config.tariff.files).map_err(anyhow::Error::from).and_then(|set| {
        let mut panel = riders::panel(config, set.newest(), clock);
        panel.attach(&config.rider)?;
        Ok((panel, Money::zero(set.newest().currency())))
    });
    let (mut panel, nothing) = match panel {
        Ok(panel) => panel,
        Err(e) => return vec![(first.name, Err(e))],
    };
    panel.in_service();
    for verdict in [
        Verdict::Granted,
        Verdict::TryAgain(Refusal::Unreadable),
        Verdict::Refused(Refusal::Hotlisted),
    ] {
        panel.show(&answer(verdict, nothing));
        sleep(ANSWER).await;
    }
    let drivers = panel.drivers();
    let told = |device: &Device| {
        let driver = drivers.iter().find(|driver| driver.name == device.name);
        let Some(driver) = driver else { bail!("was not started") };
        match (driver.is_up(), driver.why()) {
            (Some(true), None) => Ok(format!("{} did as it was told: {LOOK}", device.place)),
            (_, Some(e)) => bail!("{}: {e}: {}", device.place, device.advice),
            (_, None) => bail!("{} hangs: {}", device.place, device.advice),
        }
    };
    devices.iter().map(|device| (device.name, told(device))).collect()
}

/// To nobody's tap.
fn answer(verdict: Verdict, nothing: Money) -> Passage {
    Passage {
        verdict,
        charge: nothing,
        balance: None,
        steps: Vec::new(),
        exchanged: None,
        caps: Vec::new(),
        notes: Vec::new(),
        loaded: None,
        missing: None,
        class: None,
    }
}

/// The middle one and the slowest.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |n: usize| times.get(n).copied().unwrap_or_default();
    format!("p50 {:?}, slowest {:?}", at(times.len() / 2), at(times.len().saturating_sub(1)))
}
