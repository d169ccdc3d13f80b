//! The power goes at random writes, of validators and of the depot, while riders tap.
//!
//! As `kill -9`, and besides everything is lost that was not synced to the device. Needs root, for
//! loop devices. `TAPLINE_CUTS` sets how often, `TAPLINE_CUT_SEED` whose and after which write.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tapline_tests::sim::dice::Dice;
use tokio::{sync::watch, task::block_in_place, time::sleep};

use super::{Riding, books, drive::Drive, riders, say, setting};
use crate::{
    broker::now,
    processes::{Gate, PATIENCE, POSTS, Reader, SharedCard, Yard},
};

/// Cuts in one run of all tests; `tests/run long` makes many more.
const CUTS: u64 = 40;
/// Writes of a device, within which its power goes: some ten taps.
const WRITES: u64 = 60;
const CARDS: u8 = 24;
/// Tells the validator under test to leave out what makes its log durable.
const UNSYNCED: &str = "TAPLINE_TEST_UNSYNCED";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_power_cut_at_any_write_loses_no_tap_that_was_granted() {
    let (cuts, seed) = (setting("TAPLINE_CUTS", CUTS), setting("TAPLINE_CUT_SEED", 1));
    say(&format!("power: {cuts} cuts, TAPLINE_CUT_SEED={seed}"));
    let began = now();
    let mut drives = Vec::new();
    let mut yard = block_in_place(|| {
        let mut yard = Yard::install(&POSTS, CARDS);
        drives.extend(yard.gates.iter().map(|gate| Drive::mount(gate.state())));
        drives.push(Drive::mount(yard.database().parent().expect("it is in a folder")));
        yard.start();
        yard
    });
    let riding = Riding::begin(&mut yard, seed);
    let mut dice = Dice::new(seed);
    let mut cut: BTreeMap<String, u64> = BTreeMap::new();
    for _ in 0..cuts {
        let victim = dice.index(drives.len());
        let promised = match yard.gates.get_mut(victim) {
            Some(gate) => running(gate).await,
            None => 0,
        };
        block_in_place(|| drives[victim].await_writes(1 + dice.below(WRITES)));
        riding.assert_goes_on();
        let process = yard.gates.get_mut(victim).map_or(&mut yard.depot, |gate| &mut gate.process);
        block_in_place(|| drives[victim].cut(process));
        *cut.entry(process.name.clone()).or_default() += 1;
        sleep(Duration::from_millis(dice.below(100))).await;
        process.start();
        if let Some(gate) = yard.gates.get_mut(victim) {
            let kept = running(gate).await;
            assert!(kept >= promised, "{}: of {promised} entries it has {kept}", gate.post.id);
        }
    }
    let (history, ridden) = riding.end(&mut yard).await;
    say(&format!("cut {cut:?} in {:?}; {ridden:?}", now() - began));
    assert!(ridden.granted > cuts, "riders got through: {ridden:?}");
    let summary = books::check(&yard, &history).await;
    say(&format!("{summary}; {:?} in all", now() - began));
}

/// sled's `flush()` is no `fdatasync`. Were it left out, the test above would have to fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_log_that_is_flushed_and_not_synced_is_caught_losing_taps() {
    let mut drive = None;
    let mut yard = block_in_place(|| {
        let mut yard = Yard::install(&POSTS[..1], 4);
        let bus = &mut yard.gates[0];
        drive = Some(Drive::mount(bus.state()));
        bus.process.set_variable(UNSYNCED, std::path::Path::new("1"));
        yard.start();
        yard
    });
    let mut drive = drive.expect("it was mounted");
    let (stop, stopped) = watch::channel(false);
    let reader = yard.gates[0].take_reader();
    let riders = tokio::spawn(tap_until(reader, yard.cards.clone(), stopped));
    let bus = &mut yard.gates[0];
    let mut lost = None;
    for _ in 0..20 {
        sleep(Duration::from_secs(1)).await;
        let promised = running(bus).await;
        block_in_place(|| drive.cut(&mut bus.process));
        bus.process.start();
        let kept = running(bus).await;
        if kept < promised {
            lost = Some((promised, kept));
            break;
        }
    }
    stop.send(true).expect("the riders ride");
    riders.await.expect("they ride to the end");
    let (promised, kept) = lost.expect("a cut loses what was not synced");
    say(&format!("without fdatasync {promised} entries became {kept}"));
}

/// Waits until a validator runs; the newest entry of its log, as it says.
async fn running(gate: &mut Gate) -> u64 {
    let deadline = now() + PATIENCE;
    loop {
        if let Some((head, _)) = gate.marks() {
            return head;
        }
        assert!(now() < deadline, "{} is up in time", gate.post.id);
        sleep(Duration::from_millis(10)).await;
    }
}

/// Holds one card after the other to the reader, whatever it says.
async fn tap_until(mut reader: Reader, cards: Vec<SharedCard>, stop: watch::Receiver<bool>) {
    for card in cards.iter().cycle() {
        if *stop.borrow() {
            return;
        }
        reader.emulator.place(Arc::clone(card));
        let _ = reader.answer(Duration::from_millis(500)).await;
        reader.emulator.chip().clear();
        sleep(riders::AWAY).await;
    }
}
