//! What SQLite alone does with the rows that the depot wrote: prepared statements, the depot's
//! schema and settings, as many commits, and not one decision. The limit for anything that keeps
//! these books in SQLite.

use std::{fs, path::Path, time::Duration};

use depot_server::clock::Stopwatch;
use rusqlite::{Connection, OpenFlags, params, params_from_iter, types::Value};

use crate::{depot::peer_path, measure::Samples};

type Row = Vec<Value>;

/// How far the depot's books were written.
pub(crate) struct Marks {
    tap: i64,
    batch: i64,
    transfer: i64,
    /// Taps that moved what they said.
    pub(crate) cleared: u64,
    /// Work items.
    pub(crate) exceptions: u64,
}

/// What SQLite took.
pub(crate) struct Plain {
    pub(crate) took: Duration,
    pub(crate) commits: Samples,
}

impl Marks {
    pub(crate) fn of(path: &Path) -> anyhow::Result<Self> {
        let books = read_only(path)?;
        let number = |sql| books.query_row(sql, [], |row| row.get::<_, i64>(0));
        Ok(Self {
            tap: number("SELECT coalesce(max(id), 0) FROM taps")?,
            batch: number("SELECT coalesce(max(id), 0) FROM batches")?,
            transfer: number("SELECT coalesce(max(id), 0) FROM transfers")?,
            cleared: number("SELECT count(*) FROM taps WHERE cleared = 1")?.unsigned_abs(),
            exceptions: number("SELECT count(*) FROM exceptions")?.unsigned_abs(),
        })
    }
}

/// Writes again, into an empty database beside it, what was written since the marks.
pub(crate) fn insert(
    path: &Path,
    folder: &Path,
    since: &Marks,
    commits: usize,
) -> anyhow::Result<Plain> {
    let books = read_only(path)?;
    let taps = rows(&books, "taps", &format!("id > {} ORDER BY id", since.tap))?;
    let batches = rows(&books, "batches", &format!("id > {} ORDER BY id", since.batch))?;
    let transfers = rows(&books, "transfers", &format!("id > {} ORDER BY id", since.transfer))?;
    let cards = rows(&books, "cards", "true ORDER BY card")?;
    let peer = empty_copy(&books, folder)?;
    fill(&peer, "cards", &cards)?;
    peer.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;

    let mut samples = Samples::default();
    let watch = Stopwatch::start();
    let share = |all: &[Row]| all.len().div_ceil(commits).max(1);
    let mut taps = taps.chunks(share(&taps));
    let mut batches = batches.chunks(share(&batches));
    let mut transfers = transfers.chunks(share(&transfers));
    for _ in 0..commits {
        samples.time(|| -> anyhow::Result<()> {
            peer.execute_batch("BEGIN IMMEDIATE")?;
            fill(&peer, "batches", batches.next().unwrap_or_default())?;
            let taps = taps.next().unwrap_or_default();
            fill(&peer, "taps", taps)?;
            fill(&peer, "transfers", transfers.next().unwrap_or_default())?;
            touch_cards(&peer, taps, &cards)?;
            peer.execute_batch("COMMIT")?;
            Ok(())
        })?;
    }
    Ok(Plain { took: watch.elapsed(), commits: samples })
}

fn read_only(path: &Path) -> anyhow::Result<Connection> {
    Ok(Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?)
}

fn rows(books: &Connection, table: &str, which: &str) -> anyhow::Result<Vec<Row>> {
    let mut statement = books.prepare(&format!("SELECT * FROM {table} WHERE {which}"))?;
    let width = statement.column_count();
    let read = |row: &rusqlite::Row<'_>| (0..width).map(|column| row.get(column)).collect();
    Ok(statement.query_map([], read)?.collect::<Result<_, _>>()?)
}

/// The same tables and indexes, with the depot's settings.
fn empty_copy(books: &Connection, folder: &Path) -> anyhow::Result<Connection> {
    let path = peer_path(folder);
    for ending in ["", "-wal", "-shm"] {
        let mut file = path.clone().into_os_string();
        file.push(ending);
        if Path::new(&file).exists() {
            fs::remove_file(file)?;
        }
    }
    let peer = Connection::open(path)?;
    peer.execute_batch(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -262144;
         PRAGMA wal_autocheckpoint = 65536;",
    )?;
    let sql = "SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL
               AND tbl_name IN ('taps', 'batches', 'transfers', 'cards') ORDER BY type DESC";
    let mut statement = books.prepare(sql)?;
    for sql in statement.query_map([], |row| row.get::<_, String>(0))? {
        peer.execute_batch(&sql?)?;
    }
    Ok(peer)
}

fn fill(peer: &Connection, table: &str, rows: &[Row]) -> anyhow::Result<()> {
    let Some(first) = rows.first() else { return Ok(()) };
    let places = vec!["?"; first.len()].join(", ");
    let mut insert = peer.prepare_cached(&format!("INSERT INTO {table} VALUES ({places})"))?;
    for row in rows {
        insert.execute(params_from_iter(row))?;
    }
    Ok(())
}

/// Each card of these taps, once, in the order of the key.
fn touch_cards(peer: &Connection, taps: &[Row], cards: &[Row]) -> anyhow::Result<()> {
    /// The column `card` of `taps`.
    const CARD: usize = 5;
    let number = |value: &Value| if let Value::Integer(number) = value { *number } else { 0 };
    let mut touched: Vec<i64> = taps.iter().map(|tap| number(&tap[CARD])).collect();
    touched.sort_unstable();
    touched.dedup();
    let mut update = peer.prepare_cached(
        "UPDATE cards SET state = ?2, debits_posted = ?3, last_tap = ?4 WHERE card = ?1",
    )?;
    for card in touched {
        let found = cards.binary_search_by_key(&card, |row| number(&row[0]));
        let row = &cards[found.map_err(|_| anyhow::anyhow!("a tap of no card"))?];
        let changed = update.execute(params![card, row[1], row[2], row[6]])?;
        anyhow::ensure!(changed == 1, "the card is not there");
    }
    Ok(())
}
