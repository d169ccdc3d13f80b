//! `validator selftest`: what a tap needs of this machine, done once, without a rider.

use std::{path::Path, process::ExitCode, time::Duration};

use anyhow::Context;
use model::ClockQuality;
use reader::Reader;
use tap_log::{StoreOp, Tree};

use super::say;
use crate::{
    clock::Clock,
    config::Config,
    daemon::{context, load_tariffs},
    selftest,
    store::{Store, StoreOptions},
};

/// Writes as long as an entry, each synced.
const WRITES: u32 = 50;
const ENTRY_BYTES: usize = 240;
/// Taps of nobody's card.
const TAPS: u32 = 20;
const READER_MAX: Duration = Duration::from_secs(10);

pub(super) fn run(path: &Path) -> anyhow::Result<ExitCode> {
    let config = Config::load(path)?;
    let clock = Clock::system();
    let done = [
        ("rules", rules(&config, clock)),
        ("disk", disk(&config, clock)),
        ("reader", reader(&config)),
    ];
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

fn reader(config: &Config) -> anyhow::Result<String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let opened = tokio::time::timeout(READER_MAX, Reader::open(&config.reader)).await;
        let reader = opened
            .with_context(|| format!("does not answer within {} s", READER_MAX.as_secs()))?
            .context("a validator that is running holds it: stop it first")?;
        let words = reader.describe();
        reader.close().await;
        Ok(words)
    })
}

/// The middle one and the slowest.
fn spread(mut times: Vec<Duration>) -> String {
    times.sort();
    let at = |n: usize| times.get(n).copied().unwrap_or_default();
    format!("p50 {:?}, slowest {:?}", at(times.len() / 2), at(times.len().saturating_sub(1)))
}
