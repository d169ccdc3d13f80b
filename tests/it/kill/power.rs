//! The power goes at random writes, of validators and of the depot, while riders tap.
//!
//! As `kill -9`, and besides everything is lost that was not synced to the device. Needs root, for
//! loop devices. `TAPLINE_CUTS` sets how often, `TAPLINE_CUT_SEED` whose and after which write.

use std::{
    collections::BTreeMap, os::unix::net::UnixDatagram, path::Path, sync::Arc, time::Duration,
};

use tapline_tests::sim::dice::Dice;
use tokio::{sync::watch, task::block_in_place, time::sleep};

use super::{
    Riding, books,
    drive::{BYTES, Drive},
    riders, say, setting,
};
use crate::{
    broker::now,
    processes::{Gate, PATIENCE, POSTS, Process, Reader, SharedCard, Yard},
};

/// Cuts in one run of all tests; `tests/run long` makes many more.
const CUTS: u64 = 40;
/// Writes of a device, within which its power goes: some ten taps.
const WRITES: u64 = 60;
const CARDS: u8 = 24;
/// So many more of them in a long run, or the riders' money comes to its end.
const CUTS_PER_CARD: u64 = 10;
/// What the books grow by until the next cut. Their log of writes alone takes 256 MiB before it
/// is emptied, and on a device that is full the depot rightly books nothing.
const BYTES_PER_CUT: u64 = 1 << 20;
/// Tells the validator under test to leave out what makes its log durable.
const UNSYNCED: &str = "TAPLINE_TEST_UNSYNCED";

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_power_cut_at_any_write_loses_no_tap_that_was_granted() {
    let (cuts, seed) = (setting("TAPLINE_CUTS", CUTS), setting("TAPLINE_CUT_SEED", 1));
    say(&format!("power: {cuts} cuts, TAPLINE_CUT_SEED={seed}"));
    let began = now();
    let mut drives = Vec::new();
    let mut yard = block_in_place(|| {
        let more = u8::try_from(cuts / CUTS_PER_CARD).unwrap_or(u8::MAX);
        let mut yard = Yard::install(&POSTS, CARDS.saturating_add(more));
        drives.extend(yard.gates.iter().map(|gate| Drive::mount(gate.state(), BYTES)));
        let books = yard.database().parent().expect("it is in a folder").to_owned();
        drives.push(Drive::mount(&books, BYTES + cuts * BYTES_PER_CUT));
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
        drive = Some(Drive::mount(bus.state(), BYTES));
        bus.process.set_variable(UNSYNCED, Path::new("1"));
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

/// What the validator keeps back by default, and less.
const LITTLE: u64 = 10 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_validator_leaves_service_before_its_device_is_full_and_comes_back_with_the_room() {
    let mut drive = None;
    let mut yard = block_in_place(|| {
        let mut yard = Yard::install(&POSTS[..1], 1);
        drive = Some(Drive::mount(yard.gates[0].state(), BYTES));
        yard.start();
        yard
    });
    let drive = drive.expect("it was mounted");
    let card = Arc::clone(&yard.cards[0]);
    let records = || card.lock().expect("nobody panics with it").contents().expect("sound").ctr;
    let mut reader = yard.gates[0].take_reader();
    let answer = reader.tap(Arc::clone(&card)).await;
    assert!(answer.contains("accepted"), "{answer}");
    let charged = records();

    block_in_place(|| drive.fill_up_to(LITTLE));
    let why = health(&mut yard.gates[0], "out of service").await;
    assert!(why.contains("of 16 MiB that must be free are left where taps are kept"), "{why}");
    reader.emulator.place(Arc::clone(&card));
    let answer = reader.answer(PATIENCE).await.expect("the rider is told");
    reader.emulator.chip().clear();
    assert!(!answer.contains("accepted"), "{answer}");
    assert_eq!(records(), charged, "and not charged");

    drive.make_room();
    health(&mut yard.gates[0], "in service").await;
    let answer = reader.tap(Arc::clone(&card)).await;
    assert!(answer.contains("accepted"), "{answer}");
    yard.drained().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_device_that_is_full_at_once_loses_no_tap_that_was_granted() {
    let mut drives = Vec::new();
    let mut yard = block_in_place(|| {
        let mut yard = Yard::install(&POSTS, CARDS);
        drives.extend(yard.gates.iter().map(|gate| Drive::mount(gate.state(), BYTES)));
        yard.start();
        yard
    });
    let riding = Riding::begin(&mut yard, 3);
    let mut dice = Dice::new(3);
    for _ in 0..6 {
        let victim = dice.index(drives.len());
        running(&mut yard.gates[victim]).await;
        block_in_place(|| drives[victim].fill_up_to(0));
        sleep(Duration::from_millis(dice.between(500, 2_000))).await;
        riding.assert_goes_on();
        drives[victim].make_room();
        let process = &mut yard.gates[victim].process;
        process.kill();
        process.start();
    }
    let (history, ridden) = riding.end(&mut yard).await;
    say(&format!("full six times: {ridden:?}"));
    say(&books::check(&yard, &history).await);
}

/// systemd's end of the line, with a watchdog of three seconds.
struct Systemd(UnixDatagram);

impl Systemd {
    fn listen(at: &Path, process: &mut Process) -> Self {
        let path = at.join("notify.socket");
        let socket = UnixDatagram::bind(&path).expect("a socket in a folder of ours");
        process.set_variable("NOTIFY_SOCKET", &path);
        process.set_variable("WATCHDOG_USEC", Path::new("3000000"));
        Self(socket)
    }

    /// Whether it hears this within a while.
    fn hears(&self, wanted: &str, within: Duration) -> bool {
        let deadline = now() + within;
        let mut message = [0; 1024];
        while let Some(left) = deadline.checked_duration_since(now()).filter(|left| !left.is_zero())
        {
            self.0.set_read_timeout(Some(left)).expect("a time that is not zero");
            let Ok(read) = self.0.recv(&mut message) else { return false };
            if String::from_utf8_lossy(&message[..read]).contains(wanted) {
                return true;
            }
        }
        false
    }

    /// Throws away what was said before now.
    fn forget(&self) {
        while self.hears("", Duration::from_millis(1)) {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_log_that_hangs_is_no_longer_vouched_for_and_a_validator_that_works_is() {
    let mut drive = None;
    let mut systemd = None;
    let mut yard = block_in_place(|| {
        let mut yard = Yard::install(&POSTS[..1], 1);
        let at = yard.folder().to_owned();
        drive = Some(Drive::mount(yard.gates[0].state(), BYTES));
        systemd = Some(Systemd::listen(&at, &mut yard.gates[0].process));
        yard.start();
        yard
    });
    let (drive, systemd) = (drive.expect("it was mounted"), systemd.expect("it listens"));
    let mut reader = yard.gates[0].take_reader();
    block_in_place(|| assert!(systemd.hears("READY=1", PATIENCE)));
    block_in_place(|| assert!(systemd.hears("STATUS=in service", PATIENCE)));
    block_in_place(|| assert!(systemd.hears("WATCHDOG=1", PATIENCE)));

    drive.hang();
    reader.emulator.place(Arc::clone(&yard.cards[0]));
    let answer = reader.answer(Duration::from_secs(2)).await;
    assert_eq!(answer, None, "no light before its intent is durable");
    systemd.forget();
    let vouched = block_in_place(|| systemd.hears("WATCHDOG=1", Duration::from_secs(4)));
    assert!(!vouched, "systemd would start it anew");

    drive.hang_no_more();
    block_in_place(|| assert!(systemd.hears("WATCHDOG=1", PATIENCE)));
    let answer = reader.answer(PATIENCE).await.expect("the card still lies there");
    reader.emulator.chip().clear();
    assert!(answer.contains("accepted"), "{answer}");
    let stopped = block_in_place(|| yard.gates[0].process.stop());
    assert!(stopped.success());
    block_in_place(|| assert!(systemd.hears("STOPPING=1", PATIENCE)));
}

/// Waits until a validator's health page says so; what it says.
async fn health(gate: &mut Gate, wanted: &str) -> String {
    let deadline = now() + PATIENCE;
    loop {
        let page = gate.page("/health").unwrap_or_default();
        if page.contains(wanted) {
            return page;
        }
        assert!(now() < deadline, "{} says: {page}", gate.post.id);
        sleep(Duration::from_millis(100)).await;
    }
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
