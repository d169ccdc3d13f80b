//! Taps reconciled per second, from MQTT bytes to the durable commit.
//!
//! `cargo run --release -p depot-server --example intake_rate -- [cards] [taps] [folder]`
//! Batches of 500 taps, 16 of them in one commit, both stages side by side as in the server.

use std::{io::Write, path::PathBuf, sync::Arc, thread};

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

const BUSES: u32 = 16;
const BATCH: u32 = 500;
const START_S: u32 = 1_800_000_000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let mut number = |default: u32| args.next().map_or(Ok(default), |text| text.parse());
    let (card_count, taps) = (number(1_000_000)?, number(400_000)?);
    let folder = args.next().map_or_else(|| PathBuf::from("."), PathBuf::from);
    let path = folder.join("intake-rate.sqlite");
    let _ = std::fs::remove_file(&path);
    let depot: DepotName = "bench".parse()?;
    let place = Workplace {
        depot: depot.clone(),
        store: Arc::new(Store::open(&path)?),
        rules: Arc::new(rules()),
        events: Events::default(),
        metrics: Metrics::default(),
        clock: Clock::manual(Timestamp::from_secs(u64::from(START_S))),
    };
    let mut out = std::io::stdout();
    let mut cards = Cards::new(card_count, START_S - 1);
    let watch = Stopwatch::start();
    for part in cards.issues().chunks(20_000) {
        register_cards(&place, part)?;
    }
    writeln!(out, "{card_count} cards registered in {:?}", watch.elapsed())?;
    let mut buses: Vec<_> = (1..=BUSES).map(|n| Bus::new(n, &depot)).collect();
    for bus in &buses {
        let key = bus.signing.verifying_key();
        place.store.enrol(bus.id, &key, "", false, Timestamp(0))?;
    }
    let groups = groups(&mut cards, &mut buses, card_count, taps);
    let bytes: usize = groups.iter().flatten().map(|message| message.payload.len()).sum();
    let checker = Checker::new(depot, card_keys());
    let pipeline = Pipeline::new(place.clone(), checker, SigningKey::from_bytes(&[9; 32]), 2);
    let Pipeline { mut front, mut back } = pipeline;
    let (send, receive) = std::sync::mpsc::sync_channel(1);
    let watch = Stopwatch::start();
    let checking = thread::spawn(move || {
        for group in groups {
            let group = front.check(group).expect("the store answers");
            if send.send(group).is_err() {
                return;
            }
        }
    });
    let mut booked = 0;
    for group in receive {
        booked += back.book(group)?.new_taps;
    }
    let took = watch.elapsed();
    checking.join().expect("the first stage ends");
    let rate = u128::from(booked) * 1_000_000 / took.as_micros().max(1);
    writeln!(out, "{booked} taps ({bytes} bytes) booked in {took:?}: {rate} taps/s")?;
    for line in place.metrics.render().lines().filter(|line| line.contains("stage_duration")) {
        if line.contains("_sum") || line.contains("_count") {
            writeln!(out, "{line}")?;
        }
    }
    Ok(())
}

/// Riders picked at random (xorshift), one boarding each.
fn groups(cards: &mut Cards, buses: &mut [Bus], count: u32, taps: u32) -> Vec<Vec<Message>> {
    let mut x = 0x2545_f491_u32;
    let mut at = START_S;
    let rounds = taps / (BATCH * BUSES);
    (0..rounds)
        .map(|_| {
            at += 120;
            buses
                .iter_mut()
                .map(|bus| {
                    for _ in 0..BATCH {
                        x ^= x << 13;
                        x ^= x >> 17;
                        x ^= x << 5;
                        bus.board(cards, x % count, at);
                    }
                    bus.batch()
                })
                .collect()
        })
        .collect()
}
