//! kill -9 of validators, broker and depot at random points, while riders tap without a pause.
//!
//! Real processes, real sled and SQLite, Mosquitto with mutual TLS. The cards live in the test and
//! are the truth: what they committed is what the books must hold, once. `TAPLINE_KILLS` sets the
//! rounds and `TAPLINE_KILL_SEED` the order of the kills; the moments are the machine's own.

#![expect(clippy::panic, reason = "a run that cannot go on is a failed test")]

mod books;
mod drive;
mod power;
mod riders;

use std::{collections::BTreeMap, io::Write, sync::Arc, time::Duration};

use tapline_tests::sim::dice::Dice;
use tokio::{
    sync::watch,
    task::{JoinHandle, block_in_place},
    time::sleep,
};

use self::riders::{History, Platform, Rider, Tally};
use crate::{
    broker::{Make, now},
    processes::{POSTS, Process, Reader, Yard},
};

const ROUNDS: u64 = 50;
/// Over the other make of broker, whose own part is smaller: it keeps what it retained.
const ROUNDS_NATS: u64 = 12;
const CARDS: u8 = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn kill_nine_at_random_points_loses_no_acked_tap() {
    kill_nine(Make::Mosquitto, ROUNDS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn kill_nine_over_a_broker_that_speaks_only_mqtt_3_1_1_loses_no_acked_tap() {
    kill_nine(Make::Nats, ROUNDS_NATS).await;
}

async fn kill_nine(make: Make, rounds: u64) {
    let (rounds, seed) = (setting("TAPLINE_KILLS", rounds), setting("TAPLINE_KILL_SEED", 1));
    say(&format!("kills over {make:?}: {rounds} rounds, TAPLINE_KILL_SEED={seed}"));
    let began = now();
    let mut yard = block_in_place(|| Yard::install_over(make, &POSTS, CARDS));
    yard.start();
    let riding = Riding::begin(&mut yard, seed);
    let killed = kill(&mut yard, rounds, seed, &riding).await;
    let (history, ridden) = riding.end(&mut yard).await;
    say(&format!("killed {killed:?} in {:?}; {ridden:?}", now() - began));
    assert!(ridden.granted > rounds, "riders got through: {ridden:?}");
    let summary = books::check(&yard, &history).await;
    say(&format!("{summary}; {:?} in all", now() - began));
}

/// Riders at every validator, until they are told to stop.
struct Riding {
    platform: Arc<Platform>,
    riders: Vec<JoinHandle<(Reader, Tally)>>,
    stop: watch::Sender<bool>,
}

impl Riding {
    fn begin(yard: &mut Yard, seed: u64) -> Self {
        let platform = Arc::new(Platform::new(&yard.cards));
        let (stop, stopped) = watch::channel(false);
        let riders = (1..)
            .zip(yard.gates.iter_mut())
            .map(|(n, gate)| {
                let reader = gate.take_reader();
                let dice = Dice::new(seed.wrapping_mul(1_000) + n);
                let rider = Rider::new(gate.post.role, reader, Arc::clone(&platform), dice);
                tokio::spawn(rider.ride_until(stopped.clone()))
            })
            .collect();
        Self { platform, riders, stop }
    }

    fn assert_goes_on(&self) {
        assert!(self.riders.iter().all(|rider| !rider.is_finished()), "the riders go on");
    }

    /// The riders stop, whatever is in doubt is decided by the next tap of each card, the logs
    /// drain, and all programs end in order.
    async fn end(self, yard: &mut Yard) -> (History, Tally) {
        self.stop.send(true).unwrap();
        let mut ridden = Tally::default();
        let mut readers = Vec::new();
        for rider in self.riders {
            let (reader, tally) = rider.await.unwrap();
            ridden.add(&tally);
            readers.push(reader);
        }
        let bus = &mut readers[0];
        bus.emulator.chip().heal();
        for card in &yard.cards {
            let mut answer = String::new();
            for _ in 0..10 {
                answer = bus.tap(Arc::clone(card)).await;
                self.platform.history.lock().unwrap().observe(card);
                if answer.contains("accepted") {
                    break;
                }
                sleep(riders::AWAY).await;
            }
            assert!(answer.contains("accepted"), "each card can be used: {answer}");
        }
        yard.drained().await;
        block_in_place(|| {
            for gate in &mut yard.gates {
                assert!(gate.process.stop().success(), "{} stops in order", gate.post.id);
            }
            assert!(yard.depot.stop().success(), "the depot stops in order");
        });
        let history = self.platform.history.lock().unwrap().clone();
        (history, ridden)
    }
}

/// Kills at random; returns how often whom.
async fn kill(yard: &mut Yard, rounds: u64, seed: u64, riding: &Riding) -> BTreeMap<String, u32> {
    let mut dice = Dice::new(seed);
    let mut killed: BTreeMap<String, u32> = BTreeMap::new();
    for _ in 0..rounds {
        sleep(Duration::from_millis(dice.between(300, 1_500))).await;
        riding.assert_goes_on();
        // Sometimes two at once.
        let victims = 1 + u64::from(dice.chance(150));
        let down = Duration::from_millis(dice.below(300));
        let mut dead = Vec::new();
        for _ in 0..victims {
            let victim = dice.index(yard.gates.len() + 3);
            if dead.contains(&victim) {
                continue;
            }
            dead.push(victim);
            let name = block_in_place(|| yard.kill(victim));
            *killed.entry(name).or_default() += 1;
        }
        sleep(down).await;
        for victim in dead {
            yard.restart(victim);
        }
    }
    killed
}

impl Yard {
    /// Kills one of: each validator, the broker (which is started again at once), the depot.
    fn kill(&mut self, victim: usize) -> String {
        let Some(process) = self.process(victim) else {
            self.broker.kill_and_restart();
            return "broker".into();
        };
        if process.is_started() {
            process.kill();
        }
        process.name.clone()
    }

    /// Starts what [`Yard::kill`] left dead.
    fn restart(&mut self, victim: usize) {
        if let Some(process) = self.process(victim)
            && !process.is_started()
        {
            process.start();
        }
    }

    /// The depot has two numbers, so that it is killed more often than any other.
    fn process(&mut self, victim: usize) -> Option<&mut Process> {
        let broker = self.gates.len();
        match self.gates.get_mut(victim) {
            Some(gate) => Some(&mut gate.process),
            None if victim == broker => None,
            None => Some(&mut self.depot),
        }
    }
}

fn setting(name: &str, default: u64) -> u64 {
    let Ok(text) = std::env::var(name) else { return default };
    text.parse().unwrap_or_else(|_| panic!("{name}={text}: give a number"))
}

fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
