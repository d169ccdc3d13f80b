//! The real programs over bad links: partitions in which no end is told anything, a line that is
//! cut again and again, and 2G. Riders are served all the while, and every tap is booked once.

mod line;

use std::{fs, time::Duration};

use rusqlite::Connection;
use tokio::{task::block_in_place, time::sleep};

use self::line::{Line, Mode, RADIO_2G};
use crate::{
    broker::now,
    journal::fill,
    processes::{POSTS, Reader, Yard, said},
};

/// Longer than twice the keep-alive of 5 s: both ends have given the connection up by then.
const PARTITION: Duration = Duration::from_secs(12);

/// Puts a line between the program with this configuration and the broker.
fn lay(yard: &Yard, configuration: &str) -> Line {
    let line = Line::to(yard.broker.port);
    let path = yard.folder().join(configuration);
    let text = fs::read_to_string(&path).unwrap();
    let (old, new) = (format!("port = {}", yard.broker.port), format!("port = {}", line.port));
    assert_eq!(text.matches(&old).count(), 1, "{text}");
    fs::write(path, text.replace(&old, &new)).unwrap();
    line
}

/// Each card rides once; nobody is turned away for want of a link.
async fn ride(yard: &Yard, reader: &mut Reader) {
    for card in &yard.cards {
        let answer = reader.tap(card.clone()).await;
        assert!(answer.starts_with('A') || answer.starts_with('B'), "{answer}");
    }
}

fn booked(yard: &Yard) -> i64 {
    let books = Connection::open(yard.database()).unwrap();
    books.query_row("SELECT count(*) FROM taps", [], |row| row.get(0)).unwrap()
}

fn verified(yard: &Yard) {
    let verdict = said(&yard.depot_server(&["verify", "--from-journal"], &[]));
    assert!(verdict.contains("the books are what the journal says"), "{verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_of_either_end_costs_riders_nothing_and_books_every_tap_once() {
    let mut yard = block_in_place(|| Yard::install(&POSTS[..1], 3));
    let lines = [lay(&yard, "v000001.toml"), lay(&yard, "depot.toml")];
    yard.start();
    let mut reader = yard.gates[0].take_reader();
    ride(&yard, &mut reader).await;
    yard.drained().await;
    let mut taps = 3;
    for line in &lines {
        line.set(Mode::Silent);
        ride(&yard, &mut reader).await;
        sleep(PARTITION).await;
        ride(&yard, &mut reader).await;
        line.set(Mode::Open);
        taps += 6;
        yard.drained().await;
        assert_eq!(booked(&yard), taps);
    }
    verified(&yard);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_is_cut_again_and_again_loses_and_doubles_nothing() {
    let mut yard = block_in_place(|| Yard::install(&POSTS[..1], 3));
    fill(&yard.gates[0], 2_000).await;
    let line = lay(&yard, "v000001.toml");
    yard.start();
    let mut reader = yard.gates[0].take_reader();
    for n in 1..=8 {
        sleep(Duration::from_millis(150 * n)).await;
        line.set(Mode::Cut);
        ride(&yard, &mut reader).await;
        line.set(Mode::Open);
    }
    yard.drained().await;
    assert_eq!(booked(&yard), 2_000 + 8 * 3);
    verified(&yard);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backlog_drains_over_2g_while_riders_are_served() {
    let mut yard = block_in_place(|| Yard::install(&POSTS[..1], 3));
    let backlog: u32 = 400;
    fill(&yard.gates[0], u64::from(backlog)).await;
    let line = lay(&yard, "v000001.toml");
    line.set(RADIO_2G);
    yard.start();
    let mut reader = yard.gates[0].take_reader();
    ride(&yard, &mut reader).await;
    let before = now();
    yard.drained().await;
    ride(&yard, &mut reader).await;
    yard.drained().await;
    assert_eq!(booked(&yard), i64::from(backlog) + 6);
    verified(&yard);
    let report = format!(
        "{} bytes over 2G for {} entries, handshakes, lists and acknowledgements included, in {:?}",
        line.passed(),
        backlog + 6,
        now() - before
    );
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{report}\n").as_bytes());
}
