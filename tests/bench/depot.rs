//! Taps reconciled per second: payloads as the broker hands them over, through signature, hash
//! chain, card proofs, pricing, clearing and ledger into SQLite, until the commit is durable.
//!
//! Only the broker is left out. The pipeline is the server's own, driven as `intake::run` drives
//! it: the first stage works on a group while the second books the one before.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc::sync_channel},
    thread,
    time::Duration,
};

use depot_server::{
    clock::{Clock, Stopwatch},
    events::Events,
    intake::{Checker, Message, Pipeline, Workplace, register_cards},
    metrics::Metrics,
    store::Store,
    workload::{Bus, Cards, card_keys, rules},
};
use fleet_sync::{DepotName, SigningKey};
use model::Timestamp;

use crate::{
    measure::{Samples, each, grouped, headline, line, process_cpu, rate, ratio, short},
    peer,
};

/// The first tap, seconds since 1970.
pub(crate) const NOON: u32 = 1_800_000_000;
/// Validators that send.
const BUSES: u32 = 200;
/// Cards registered by one commit.
const REGISTERED_AT_ONCE: usize = 5_000;

/// One way of arriving.
#[derive(Debug, Clone, Copy)]
struct Arrival {
    /// Taps of a batch.
    batch: u32,
    /// Batches of a commit.
    group: usize,
    /// Commits.
    commits: usize,
}

/// From one batch a commit, as on a quiet night, to full groups, as when a depot catches up.
const ARRIVALS: [Arrival; 6] = [
    Arrival { batch: 500, group: 64, commits: 4 },
    Arrival { batch: 500, group: 1, commits: 100 },
    Arrival { batch: 50, group: 64, commits: 15 },
    Arrival { batch: 50, group: 1, commits: 200 },
    Arrival { batch: 1, group: 64, commits: 100 },
    Arrival { batch: 1, group: 1, commits: 300 },
];

/// The level of the topics.
pub(crate) fn depot_name() -> DepotName {
    "bench".parse().expect("one topic level")
}

struct Rig {
    place: Workplace,
    pipeline: Pipeline,
    cards: Cards,
    buses: Vec<Bus>,
    card_count: u32,
    taps: u32,
}

/// What one run found.
struct Measured {
    taps: u64,
    /// First byte to last commit.
    took: Duration,
    cpu: Duration,
    /// Bytes to durable commit without a queue, or the second stage alone with one.
    commits: Samples,
}

/// Prints it.
pub(crate) fn run(scratch: &Path, cards: u32, quick: bool) -> anyhow::Result<()> {
    let folder = tempfile::tempdir_in(scratch)?;
    let path = folder.path().join("depot.sqlite");
    headline(&format!(
        "depot: taps reconciled, MQTT bytes to durable commit ({} cards, {BUSES} validators)",
        grouped(u64::from(cards))
    ));
    let mut rig = Rig::new(&path, cards)?;
    for arrival in ARRIVALS {
        let commits = if quick { 2 } else { arrival.commits };
        rig.measure(Arrival { commits, ..arrival }, &path, folder.path())?;
    }
    rig.stages();
    Ok(())
}

impl Rig {
    fn new(path: &Path, card_count: u32) -> anyhow::Result<Self> {
        let place = Workplace {
            depot: depot_name(),
            store: Arc::new(Store::open(path)?),
            rules: rules().into(),
            events: Events::default(),
            metrics: Metrics::default(),
            clock: Clock::scaled(Timestamp::from_secs(u64::from(NOON) + 86_400), 1),
        };
        let cards = Cards::new(card_count, NOON - 1000);
        let watch = Stopwatch::start();
        for some in cards.issues().chunks(REGISTERED_AT_ONCE) {
            register_cards(&place, some)?;
        }
        let took = rate(u64::from(card_count), watch.elapsed());
        line("cards registered", &format!("{}/s", grouped(took)));
        let buses: Vec<_> = (1..=BUSES).map(|number| Bus::new(number, &depot_name())).collect();
        for bus in &buses {
            let key = bus.signing.verifying_key();
            place.store.enrol(bus.id, &key, "bus", false, Timestamp(0))?;
        }
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let checker = Checker::new(depot_name(), card_keys());
        let signing = SigningKey::from_bytes(&[9; 32]);
        let pipeline = Pipeline::new(place.clone(), checker, signing, threads);
        Ok(Self { place, pipeline, cards, buses, card_count, taps: 0 })
    }

    fn measure(&mut self, arrival: Arrival, path: &Path, folder: &Path) -> anyhow::Result<()> {
        let Arrival { batch, group, .. } = arrival;
        let before = peer::Marks::of(path)?;
        let groups = self.load(arrival);
        let alone = group == 1;
        let found = if alone { self.one_by_one(groups)? } else { self.side_by_side(groups)? };
        let booked = peer::Marks::of(path)?;
        anyhow::ensure!(booked.cleared - before.cleared == found.taps, "not every tap was cleared");
        anyhow::ensure!(booked.exceptions == 0, "an honest fleet leaves no exceptions");
        let plain = peer::insert(path, folder, &before, arrival.commits)?;
        let here = rate(found.taps, found.took);
        line(
            &format!("batches of {batch}, {group} a commit"),
            &format!(
                "{} taps/s ({} processor a tap), {} of SQLite's {} taps/s",
                grouped(here),
                short(each(found.cpu, found.taps)),
                ratio(u128::from(here), u128::from(rate(found.taps, plain.took))),
                grouped(rate(found.taps, plain.took)),
            ),
        );
        let what = if alone { "  bytes to durable" } else { "  booked and durable, a group" };
        line(what, &found.commits.to_string());
        line("  SQLite alone, the same rows a commit", &plain.commits.to_string());
        Ok(())
    }

    /// Where the time went, by the server's own metrics.
    fn stages(&self) {
        let page = self.place.metrics.render();
        let sum = |row: &str| {
            let (stage, seconds) = row.split_once("_sum{")?.1.split_once("} ")?;
            Some(format!("{stage}: {}", seconds.get(..6).unwrap_or(seconds)))
        };
        for stage in page.lines().filter(|row| row.contains("stage")).filter_map(sum) {
            line("seconds in", &stage);
        }
    }

    /// Signed batches, each validator in turn, cards in no order.
    fn load(&mut self, arrival: Arrival) -> Vec<Vec<Message>> {
        let mut turn = 0;
        let mut batch = || {
            let bus = &mut self.buses[turn % BUSES as usize];
            turn += 1;
            for _ in 0..arrival.batch {
                self.taps += 1;
                let mixed = u64::from(self.taps).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                let card = u32::try_from(mixed % u64::from(self.card_count)).expect("a card");
                bus.board(&mut self.cards, card, NOON + self.taps / 100);
            }
            bus.batch()
        };
        (0..arrival.commits).map(|_| (0..arrival.group).map(|_| batch()).collect()).collect()
    }

    /// A quiet depot: nothing waits.
    fn one_by_one(&mut self, groups: Vec<Vec<Message>>) -> anyhow::Result<Measured> {
        let (mut taps, mut commits) = (0, Samples::default());
        let (watch, cpu) = (Stopwatch::start(), process_cpu());
        for group in groups {
            taps += commits.time(|| self.pipeline.submit(group))?.new_taps;
        }
        Ok(Measured {
            taps,
            took: watch.elapsed(),
            cpu: process_cpu().saturating_sub(cpu),
            commits,
        })
    }

    /// A busy depot: both stages always have work.
    fn side_by_side(&mut self, groups: Vec<Vec<Message>>) -> anyhow::Result<Measured> {
        let (mut taps, mut commits) = (0, Samples::default());
        let Pipeline { front, back } = &mut self.pipeline;
        let (watch, cpu) = (Stopwatch::start(), process_cpu());
        let (to_back, at_back) = sync_channel(1);
        thread::scope(|scope| {
            scope.spawn(move || {
                for group in groups {
                    if to_back.send(front.check(group)).is_err() {
                        break;
                    }
                }
            });
            for checked in at_back {
                let checked = checked?;
                taps += commits.time(|| back.book(checked))?.new_taps;
            }
            anyhow::Ok(())
        })?;
        Ok(Measured {
            taps,
            took: watch.elapsed(),
            cpu: process_cpu().saturating_sub(cpu),
            commits,
        })
    }
}

/// Where the peer's database stands.
pub(crate) fn peer_path(folder: &Path) -> PathBuf {
    folder.join("peer.sqlite")
}
