//! The books against the cards and against the validators' own logs.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "books that cannot be read are a failed test"
)]

use std::collections::BTreeMap;

use clearing::{KnownRecord, Source};
use model::{CardId, Ctr, RecordKind, TapSeq};
use rusqlite::{Connection, OpenFlags};
use validator::{
    clock::Clock,
    log_keeper::{LogKeeper, Opened},
    metrics::Metrics,
    store::StoreOptions,
};

use super::riders::History;
use crate::processes::{Gate, Yard, said};

/// Amount (debits positive, the opening value as it is) and balance after it.
type Line = (i64, i64);

/// Everything that must hold when all is healed and drained; says what was compared.
pub(super) async fn check(yard: &Yard, history: &History) -> String {
    let verdict = said(&yard.depot_server(&["verify", "--from-journal"], &[]));
    assert!(verdict.contains("the books are what the journal says"), "{verdict}");
    let books =
        Connection::open_with_flags(yard.database(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let mut entries = 0;
    for gate in &yard.gates {
        entries += log_is_booked(gate, &books).await;
    }
    let booked: i64 = number(&books, "SELECT count(*) FROM taps");
    assert_eq!(booked, entries, "as many taps as the validators have written");
    let records = cards_are_booked(&books, history);
    for (what, sql) in [
        ("open exceptions", "SELECT count(*) FROM exceptions WHERE closed_at IS NULL"),
        ("messages set aside", "SELECT count(*) FROM quarantine"),
        ("transfers that still pend", "SELECT count(*) FROM transfers WHERE pending = 0"),
        (
            "a trial balance other than zero",
            "SELECT count(*) FROM (SELECT 1 FROM account_groups GROUP BY currency HAVING
             sum(debits_posted) <> sum(credits_posted)
             OR sum(debits_pending) <> sum(credits_pending))",
        ),
    ] {
        assert_eq!(number(&books, sql), 0, "{what}: {}", findings(&books));
    }
    let in_doubt = number(&books, "SELECT count(*) FROM taps WHERE outcome = 1");
    let closed = number(&books, "SELECT count(*) FROM exceptions");
    format!(
        "{entries} entries and {records} card records agree, {in_doubt} taps were in doubt, \
         {closed} exceptions were opened and resolved"
    )
}

/// The validator's own log, read from its store: one life, and the books have followed the same
/// chain of bytes to the same place. Returns its length.
async fn log_is_booked(gate: &Gate, books: &Connection) -> i64 {
    let (id, state) = (gate.id(), gate.state().to_owned());
    let options = StoreOptions::default();
    let open = move || LogKeeper::open(&state, options, id, Clock::system(), Metrics::new());
    let opened = tokio::task::spawn_blocking(open).await.unwrap();
    let Opened { keeper, store, .. } = opened.unwrap_or_else(|e| panic!("{id}: {e}"));
    assert_eq!(store.quarantined, None, "{id}: a kill damages no store");
    let status = keeper.status().borrow().clone();
    let [life] = status.lives[..] else { panic!("{id}: a kill ends no life: {status:?}") };
    // The mark itself is not synced: losing one costs a resend.
    assert!(life.acked <= life.head, "{id}: {life:?}");
    let (mut through, mut hash) = (TapSeq(0), None);
    while through < life.head {
        let batch = keeper.batch(life.epoch, through.next(), 500).await.unwrap();
        (through, hash) = (batch.last(), Some(batch.last_hash.0));
    }
    let sql = "SELECT through, hash FROM epochs WHERE validator = ?1";
    let marks: Vec<(i64, [u8; 32])> = books
        .prepare(sql)
        .unwrap()
        .query_map([id.number()], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let head = i64::try_from(life.head.0).unwrap();
    assert_eq!(marks, [(head, hash.unwrap())], "{id}: the chain of its log and of the books");
    let sql = "SELECT count(*) FROM taps WHERE validator = ?1 AND seq BETWEEN 1 AND ?2";
    let taps: i64 = books.query_row(sql, (id.number(), head), |row| row.get(0)).unwrap();
    assert_eq!(taps, head, "{id}: each entry stands in the books");
    head
}

/// Every record of every card stands in the books once, with its amount and balance, and the
/// card's account holds what the card holds.
fn cards_are_booked(books: &Connection, history: &History) -> usize {
    let booked = booked_lines(books);
    let mut count = 0;
    for (card, records) in &history.0 {
        let expected: BTreeMap<Ctr, Line> = records
            .values()
            .map(|record| {
                let amount = match record.kind {
                    RecordKind::Issue | RecordKind::Load | RecordKind::LoadInJourney => {
                        record.delta()
                    }
                    RecordKind::Board
                    | RecordKind::Entry
                    | RecordKind::Exit
                    | RecordKind::Retire => -record.delta(),
                };
                (record.ctr, (amount, i64::from(record.balance)))
            })
            .collect();
        let newest = records.values().next_back().unwrap();
        assert_eq!(records.len(), newest.ctr.0 as usize, "{card}: no record was overlooked");
        assert_eq!(booked.get(card), Some(&expected), "{card}: counter, amount and balance");
        let sql = "SELECT credits_posted - debits_posted, credits_pending + debits_pending
             FROM cards WHERE card = ?1";
        let account: (i64, i64) =
            books.query_row(sql, [sql_card(*card)], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        assert_eq!(account, (i64::from(newest.balance), 0), "{card}: its account");
        count += records.len();
    }
    assert_eq!(booked.len(), history.0.len(), "no card but those");
    count
}

/// What stands in the books for each counter of each card.
fn booked_lines(books: &Connection) -> BTreeMap<CardId, BTreeMap<Ctr, Line>> {
    let mut lines: BTreeMap<CardId, BTreeMap<Ctr, Line>> = BTreeMap::new();
    let sql = "SELECT card, ctr, amount, balance FROM taps WHERE operator IS NOT NULL";
    let mut statement = books.prepare(sql).unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (card, ctr) = (card(row.get(0).unwrap()), Ctr(row.get(1).unwrap()));
        let line = (row.get(2).unwrap(), row.get(3).unwrap());
        let twice = lines.entry(card).or_default().insert(ctr, line);
        assert_eq!(twice, None, "{card} {ctr:?} is booked twice");
    }
    let mut statement = books.prepare("SELECT card, body FROM records").unwrap();
    let mut rows = statement.query([]).unwrap();
    while let Some(row) = rows.next().unwrap() {
        let (card, body): (CardId, Vec<u8>) = (card(row.get(0).unwrap()), row.get(1).unwrap());
        let known = KnownRecord::from_bytes(&body).unwrap();
        let record = known.record;
        assert!(!known.mispriced, "{card}: {record:?}");
        assert!(
            matches!(known.source, Source::Tap | Source::Issued),
            "{card}: its own entry is there: {known:?}"
        );
        let line = (record.delta().abs(), i64::from(record.balance));
        let other = lines.entry(card).or_default().insert(record.ctr, line);
        assert!(other.is_none_or(|other| other == line), "{card} {:?}: two lines", record.ctr);
    }
    lines
}

fn findings(books: &Connection) -> String {
    let sql = "SELECT kind || ': ' || finding FROM exceptions WHERE closed_at IS NULL
         UNION ALL SELECT reason || ': ' || detail FROM quarantine";
    let mut statement = books.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get::<_, String>(0)).unwrap();
    rows.map(Result::unwrap).collect::<Vec<_>>().join("\n")
}

fn number(books: &Connection, sql: &str) -> i64 {
    books.query_row(sql, [], |row| row.get(0)).unwrap()
}

/// The UID's seven bytes as one big-endian integer.
fn sql_card(card: CardId) -> i64 {
    card.0.iter().fold(0, |number, byte| (number << 8) | i64::from(*byte))
}

fn card(number: i64) -> CardId {
    let mut uid = [0; 7];
    uid.copy_from_slice(&number.to_be_bytes()[1..]);
    CardId(uid)
}
