//! `validator journal` and `depot-server validator drain`, the real programs: a log is looked at
//! while it is written, read where its store no longer opens, carried to the depot as a file, and
//! sent by the validator that put it aside; whatever comes twice adds nothing.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use model::{
    ClockQuality, PlaceIx, Refusal, RouteIx, TapDraft, TapEvent, TapRole, TapSeq, TariffVersion,
    Timestamp,
};
use rusqlite::Connection;
use validator::{
    clock::Clock,
    log_keeper::{LogKeeper, Reply, Request},
    metrics::Metrics,
    store::StoreOptions,
};

use crate::{
    broker::{now, pause},
    processes::{Gate, PATIENCE, POSTS, Process, Reader, VALIDATOR, Yard, said},
};

const TAPS: usize = 12;
/// Entries before them, so that the store has more than one page and one segment.
const REFUSALS: u64 = 3_000;

fn journal(yard: &Yard, words: &[&str]) -> Output {
    let config = yard.folder().join(format!("{}.toml", POSTS[0].id));
    Command::new(VALIDATOR).arg("journal").args(words).arg("--config").arg(config).output().unwrap()
}

fn complaint(output: &Output) -> String {
    assert!(!output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Writes so many refusals into the log of a validator that has not started yet.
pub(crate) async fn fill(gate: &Gate, refusals: u64) {
    let (clock, metrics) = (Clock::system(), Metrics::new());
    let opened =
        LogKeeper::open(gate.state(), StoreOptions::default(), gate.id(), clock, metrics).unwrap();
    let mut status = opened.keeper.status();
    for n in 0..refusals {
        let draft = TapDraft {
            card: None,
            tapped_at: Timestamp(clock.now().0 + n),
            clock: ClockQuality::Ntp,
            role: TapRole::Board,
            place: PlaceIx(2),
            route: Some(RouteIx(0)),
            tariff: TariffVersion(1),
            order: None,
            place_age_s: None,
            hotlist_version: None,
        };
        let event = TapEvent::Refused { reason: Refusal::Unreadable, seen: None };
        let reply = Reply::new(|done| assert!(done.is_ok()));
        opened.keeper.ask(Request::Record { draft, duration_ms: 90, event, reply });
    }
    drop(opened);
    while status.changed().await.is_ok() {}
    assert_eq!(status.borrow().live().head, TapSeq(refusals));
}

/// A bus whose depot is away, with refusals before its riders, and what these have paid.
async fn bus(refusals: u64) -> (Yard, Reader, u64) {
    let mut yard = Yard::install(&POSTS[..1], 2);
    fill(&yard.gates[0], refusals).await;
    yard.gates[0].process.start();
    let mut reader = yard.gates[0].take_reader();
    for n in 0..TAPS {
        let card = yard.cards[n % 2].clone();
        let answer = reader.tap(card).await;
        assert!(answer.starts_with('A') || answer.starts_with('B'), "{answer}");
    }
    let paid: u64 = yard
        .cards
        .iter()
        .map(|card| {
            50_000 - u64::try_from(card.lock().unwrap().contents().unwrap().balance).unwrap()
        })
        .sum();
    (yard, reader, paid)
}

/// Taps in the books; `which` narrows them.
fn booked(yard: &Yard, which: &str) -> usize {
    let books = Connection::open(yard.database()).unwrap();
    let sql = format!("SELECT count(*) FROM taps {which}");
    let count: i64 = books.query_row(&sql, [], |row| row.get(0)).unwrap_or(0);
    usize::try_from(count).unwrap()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = now() + PATIENCE;
    while !done() {
        assert!(now() < deadline, "{what}");
        pause(Duration::from_millis(100));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_read_and_checked_beside_the_validator_that_writes_it() {
    let (mut yard, _reader, _) = bus(0).await;
    let listed = said(&journal(&yard, &["list"]));
    assert_eq!(
        listed.lines().filter(|line| line.contains("  committed")).count(),
        TAPS,
        "{listed}"
    );
    assert!(listed.contains("…") && !listed.contains("0451"), "no whole card number: {listed}");
    let last = said(&journal(&yard, &["list", "--last", "1", "--json", "--number"]));
    let line: serde_json::Value = serde_json::from_str(last.trim()).unwrap();
    assert_eq!(
        (line["seq"].as_u64(), line["event"].as_str()),
        (Some(TAPS as u64), Some("committed"))
    );
    assert!(line["card"].as_str().unwrap().starts_with("0451"), "{last}");
    let whole = said(&journal(&yard, &["verify"]));
    assert!(whole.contains("every entry is whole"), "{whole}");
    yard.gates[0].process.assert_running();
    let nothing = complaint(&journal(&yard, &["list", "--store", "/nowhere"]));
    assert!(nothing.contains("holds no store"), "{nothing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_carried_as_a_file_is_booked_once_however_often_it_comes() {
    let (mut yard, _reader, paid) = bus(0).await;
    yard.gates[0].process.kill();
    let out = yard.folder().join("v000001.taps");
    let file = out.to_str().unwrap();
    said(&journal(&yard, &["export", "--out", file]));
    let again = complaint(&journal(&yard, &["export", "--out", file]));
    assert!(again.contains("choose a new file"), "{again}");

    yard.depot.start();
    until("the books are there", || yard.database().exists());
    let told = said(&yard.depot_server(&["validator", "drain"], &[file]));
    assert!(told.contains(&format!("the books have all through {TAPS}")), "{told}");
    assert_eq!(booked(&yard, ""), TAPS);
    said(&yard.depot_server(&["validator", "drain"], &[file]));
    // The validator comes home after all, and sends what the depot has.
    yard.gates[0].process.start();
    yard.drained().await;
    assert_eq!(booked(&yard, ""), TAPS);
    let float = said(&yard.depot_server(&["float"], &[]));
    let held = 100_000 - paid;
    assert!(float.contains(&format!("{}.{:02}", held / 100, held % 100)), "{float}");

    let wrong = yard.folder().join("depot.toml");
    let not_one =
        complaint(&yard.depot_server(&["validator", "drain"], &[wrong.to_str().unwrap()]));
    assert!(not_one.contains("this is no journal"), "{not_one}");
}

/// What happens to a store's folder.
type Damage = fn(&Path);

fn other_format(store: &Path) {
    fs::write(store.join("conf"), "not sled's").unwrap();
}

/// The file, and where what was written to it ends: the engine makes files longer than it fills.
fn written(store: &Path) -> (File, u64) {
    let path = store.join("db");
    let bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    (File::options().write(true).open(path).unwrap(), end as u64)
}

fn the_last_64_kib_zeroed(store: &Path) {
    let (db, end) = written(store);
    db.write_all_at(&vec![0; 64 * 1024], end - 64 * 1024).unwrap();
}

fn shortened_by_64_kib(store: &Path) {
    let (db, end) = written(store);
    db.set_len(end - 64 * 1024).unwrap();
}

fn four_bytes_flipped(store: &Path) {
    let (db, end) = written(store);
    db.write_all_at(&[0xff, 0, 0xff, 0], end / 2).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_damaged_store_held_reaches_the_books_and_the_bus_serves_on() {
    let all = usize::try_from(REFUSALS).unwrap() + TAPS;
    // What is lost of entries that the device itself has lost is bounded by what it has lost.
    let damages: [(&str, Damage, usize); 4] = [
        ("another format", other_format, all),
        ("the last 64 KiB zeroed", the_last_64_kib_zeroed, 1_000),
        ("shortened by 64 KiB", shortened_by_64_kib, 1_000),
        ("four bytes flipped", four_bytes_flipped, 1_000),
    ];
    for (what, damage, at_least) in damages {
        let (mut yard, mut reader, _) = bus(REFUSALS).await;
        let gate = &mut yard.gates[0];
        gate.process.kill();
        damage(&gate.state().join("store"));
        serve_again(&mut gate.process);
        yard.depot.start();
        // The bus serves, under numbers that were never used.
        let answer = reader.tap(yard.cards[0].clone()).await;
        assert!(answer.starts_with('A') || answer.starts_with('B'), "{what}: {answer}");
        yard.drained().await;
        until(what, || booked(&yard, "") > at_least);
        assert!(booked(&yard, "WHERE outcome = 0") > usize::from(at_least == all) * TAPS, "{what}");
        let verdict = said(&yard.depot_server(&["verify", "--from-journal"], &[]));
        assert!(verdict.contains("the books are what the journal says"), "{what}: {verdict}");
        let aside = yard.gates[0].state().join("quarantine/store-1");
        if at_least == all {
            let carved = ["verify", "--carve", "--store", aside.to_str().unwrap()];
            let report = said(&journal(&yard, &carved));
            assert!(report.contains(&format!("entries 1 to {all}")), "{what}: {report}");
        }
    }
}

/// As a supervisor does it: started again when it ends, until it serves.
fn serve_again(process: &mut Process) {
    process.start();
    until("it serves", || {
        if process.logged().matches("tap log recovered").count() > 1 {
            return true;
        }
        if process.has_ended() {
            process.start();
        }
        false
    });
}
