//! Three days without a link: 200,000 taps on one validator drain in order and in bounded memory,
//! while riders are served. The real programs; `TAPLINE_OUTAGE` sets how many taps.

#![expect(clippy::panic, reason = "a run that cannot go on is a failed test")]

use std::{io::Write, path::Path, time::Duration};

use card::{Key, KeySet};
use depot_server::workload::{CITY, Cards, card_proof};
use model::{
    ClockQuality, PlaceIx, RouteIx, TapDraft, TapEvent, TapRole, TapSeq, TariffVersion, Timestamp,
};
use rusqlite::Connection;
use tokio::task::block_in_place;
use validator::{
    clock::Clock,
    log_keeper::{LogKeeper, Reply, Request},
    metrics::Metrics,
    store::{Durability, StoreOptions},
};

use crate::{
    broker::now,
    processes::{Gate, Post, Reader, Yard, said},
};

const BUS: Post = Post { id: "v000001", role: TapRole::Board, place: "a", route: Some("7") };
/// In every run of the tests; the long run has ten times as many.
const TAPS: u64 = 20_000;
const OUTAGE_S: u64 = 72 * 3_600;
const CARDS: u32 = 100;
/// For as many as 200,000: the store's engine keeps some 60 MiB of pages and 86 bytes an entry.
const MEMORY_KIB_MAX: u64 = 128 * 1024;

fn taps() -> u64 {
    let Ok(text) = std::env::var("TAPLINE_OUTAGE") else { return TAPS };
    text.parse().unwrap_or_else(|_| panic!("TAPLINE_OUTAGE={text}: give a number"))
}

/// Writes three days of honest taps into the log of a validator that is not running.
async fn live_three_days(gate: &Gate, cards: &mut Cards, taps: u64) {
    let options =
        StoreOptions { durability: Durability::VolatileForTests, ..StoreOptions::default() };
    let clock = Clock::system();
    let opened = LogKeeper::open(gate.state(), options, gate.id(), clock, Metrics::new()).unwrap();
    let keys = KeySet::from_root(&Key([7; 16]));
    let mut status = opened.keeper.status();
    let began = clock.now().secs() - OUTAGE_S;
    for n in 0..taps {
        let card = u32::try_from(n).unwrap() % CARDS;
        let at_s = began + n * OUTAGE_S / taps;
        let transaction = cards.boarding(card, u32::try_from(at_s).unwrap(), gate.id());
        cards.commit(card, &transaction);
        let id = Cards::id(card);
        let draft = TapDraft {
            card: Some(id),
            tapped_at: Timestamp::from_secs(at_s),
            clock: ClockQuality::Ntp,
            role: TapRole::Board,
            place: PlaceIx(0),
            route: Some(RouteIx(0)),
            tariff: TariffVersion(1),
            order: None,
            place_age_s: None,
            hotlist_version: None,
        };
        let reply = || Reply::new(|done| assert!(done.is_ok()));
        opened.keeper.ask(Request::Intent { draft, transaction, reply: reply() });
        let proof = card_proof(&keys, id, &transaction);
        let event = TapEvent::Committed { transaction, proof };
        let seq = TapSeq(n + 1);
        opened.keeper.ask(Request::Outcome { seq, duration_ms: 180, event, reply: reply() });
    }
    drop(opened);
    while status.changed().await.is_ok() {}
    assert_eq!(status.borrow().live().head, TapSeq(taps));
}

/// Times of answers to the riders of `cards`.
async fn ride(yard: &Yard, reader: &mut Reader) -> Vec<Duration> {
    let mut times = Vec::new();
    for card in &yard.cards {
        let began = now();
        let answer = reader.tap(card.clone()).await;
        assert!(answer.starts_with('A') || answer.starts_with('B'), "{answer}");
        times.push(now() - began);
    }
    times.sort();
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn three_days_of_taps_drain_in_order_and_in_bounded_memory_while_riders_are_served() {
    let taps = taps();
    let mut cards =
        Cards::new(CARDS, u32::try_from(Clock::system().now().secs() - OUTAGE_S - 60).unwrap());
    let mut yard = block_in_place(|| Yard::install_under(CITY, &[BUS], 4, &[]));
    for issue in cards.issues() {
        let record = depot_server::config::to_hex(&issue.record.to_bytes().unwrap());
        said(&yard.depot_server(&["card", "register"], &[&issue.card.to_hex(), &record]));
    }
    live_three_days(&yard.gates[0], &mut cards, taps).await;

    let began = now();
    // As the unit of deploy/ sets it.
    yard.gates[0].process.set_variable("MALLOC_ARENA_MAX", Path::new("2"));
    yard.gates[0].process.start();
    let mut reader = yard.gates[0].take_reader();
    let before = ride(&yard, &mut reader).await;
    yard.depot.start();
    let during = ride(&yard, &mut reader).await;
    let (head, acked) = yard.gates[0].marks().unwrap();
    yard.drained().await;
    let drained = now() - began;
    let after = ride(&yard, &mut reader).await;
    yard.drained().await;

    let memory = yard.gates[0].process.resident_max_kib();
    let books = Connection::open(yard.database()).unwrap();
    let count = |sql: &str| books.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM taps"), i64::try_from(taps).unwrap() + 12);
    let items = "SELECT count(*) FROM exceptions WHERE closed_at IS NULL";
    assert_eq!(count(items), 0, "nothing is wrong with three days of honest taps");
    let report = format!(
        "{taps} taps of three days drained {drained:?} after the start, most memory {memory} KiB; \
         the slowest of 4 answers before {:?}, while {} entries waited {:?}, after {:?}\n",
        before.last().unwrap(),
        head - acked,
        during.last().unwrap(),
        after.last().unwrap()
    );
    let _ = std::io::stderr().write_all(report.as_bytes());
    assert!(memory < MEMORY_KIB_MAX, "{report}");
}
