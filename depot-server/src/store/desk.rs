//! Operations of a desk: intents before the card, outcomes after it, and what a station may still
//! put on cards.
//!
//! Invariants: an operation that makes value is begun only within its station's quota, checked in
//! the very transaction that keeps the intent; one whose outcome is not known counts as used; an
//! outcome is written once, by whoever learns of it first, and told by one command of a desk.

use clearing::{DeskDeed, DeskEntry, DueOrder, Taken};
use model::{CardId, CardRecord, IssuerId, StationId, Timestamp};
use rusqlite::{Connection, Row, params};
use sha2::{Digest, Sha256};

use super::{
    Store, StoreError,
    codes::{card_of, purse_of, sql_card, sql_purse, sql_time, time, unsigned},
    due::{hold_due, release_due},
    group::Group,
    quota::{Quota, quota},
};
use crate::intake::stored::{BookedDesk, Booking};

const ISSUE: i64 = 1;
const LOAD: i64 = 2;
const RETIRE: i64 = 3;
/// Columns that make an entry, in the order of `entry_of`.
const ENTRY: &str = "station, kind, card, before, after, other, taken, adjusted, purse, issuer";

/// An operation whose outcome may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardOp {
    /// What it is, with its number.
    pub entry: DeskEntry,
    /// When it was begun.
    pub begun_at: Timestamp,
    /// Whether it happened; `None` while nobody knows.
    pub happened: Option<bool>,
}

/// What became of a wish to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Begun {
    /// The intent is durable under this number.
    Yes(u64),
    /// The station's quota does not cover it. Nothing was written.
    OverQuota(Quota),
    /// The card is not owed so much any more. Nothing was written.
    NotOwed,
}

impl Store {
    /// Keeps an intent, if the station's quota covers what it puts on the card. `entry.op` is not
    /// looked at: the number is given here.
    pub fn begin_op(&self, entry: &DeskEntry, now: Timestamp) -> Result<Begun, StoreError> {
        let failed = || StoreError::write("the intent of a card operation");
        let mut writer = self.writer();
        let transaction = writer
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed())?;
        let wanted = new_value(entry);
        if wanted > 0 {
            let quota = quota(&transaction, entry.station, entry.purse)?;
            if wanted > quota.left() {
                return Ok(Begun::OverQuota(quota));
            }
        }
        let row = Columns::of(entry)?;
        transaction
            .execute(
                &format!(
                    "INSERT INTO card_ops ({ENTRY}, begun_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, \
                     ?8, ?9, ?10, ?11)"
                ),
                params![
                    row.station,
                    row.kind,
                    row.card,
                    row.before,
                    row.after,
                    row.other,
                    row.taken,
                    row.adjusted,
                    row.purse,
                    row.issuer,
                    sql_time(now)
                ],
            )
            .map_err(failed())?;
        let op = unsigned(transaction.last_insert_rowid());
        let adjusted = i64::from(row.adjusted);
        if adjusted > 0 && !hold_due(&transaction, entry.card, DueOrder::Desk(op), adjusted)? {
            return Ok(Begun::NotOwed);
        }
        transaction.commit().map_err(failed())?;
        Ok(Begun::Yes(op))
    }

    /// Operations of a card whose outcome nobody knows yet, oldest first.
    pub fn open_ops(&self, card: CardId) -> Result<Vec<CardOp>, StoreError> {
        let reader = self.reader()?;
        ops(&reader, "WHERE card = ?1 AND outcome IS NULL ORDER BY id", sql_card(card))
    }

    /// The newest record of a card that the books know; `None` for a card never seen.
    pub fn shadow(&self, card: CardId) -> Result<Option<CardRecord>, StoreError> {
        let state = self.card_state(card)?;
        Ok(state.and_then(|(state, _)| state.newest().map(|known| known.record)))
    }

    /// Every operation whose outcome nobody knows yet.
    pub fn all_open_ops(&self) -> Result<Vec<CardOp>, StoreError> {
        let reader = self.reader()?;
        ops(&reader, "WHERE outcome IS NULL AND id > ?1 ORDER BY id", 0)
    }

    /// An operation that was begun in place of this card and did not fail.
    pub fn op_in_place_of(&self, card: CardId) -> Result<Option<CardOp>, StoreError> {
        let reader = self.reader()?;
        let of = "WHERE other = ?1 AND outcome IS NOT 2 ORDER BY id DESC LIMIT 1";
        Ok(ops(&reader, of, sql_card(card))?.pop())
    }

    /// An operation by its number.
    pub fn op(&self, op: u64) -> Result<Option<CardOp>, StoreError> {
        let reader = self.reader()?;
        Ok(ops(&reader, "WHERE id = ?1", i64::try_from(op).unwrap_or(i64::MAX))?.pop())
    }

    /// The operation did not happen. One whose outcome is known keeps it.
    pub fn void_op(&self, op: u64, how: &str, now: Timestamp) -> Result<(), StoreError> {
        void(&self.writer(), op, how, now)
    }

    /// Operations of a card that happened and of which no clerk was told so, oldest first.
    pub fn untold_ops(&self, card: CardId) -> Result<Vec<CardOp>, StoreError> {
        let reader = self.reader()?;
        let of = "WHERE card = ?1 AND outcome = 1 AND told_at IS NULL ORDER BY id";
        ops(&reader, of, sql_card(card))
    }

    /// A clerk is told that the operation happened.
    pub fn tell_op(&self, op: u64, now: Timestamp) -> Result<(), StoreError> {
        let op = i64::try_from(op).unwrap_or(i64::MAX);
        self.writer()
            .execute(
                "UPDATE card_ops SET told_at = ?2 WHERE id = ?1 AND told_at IS NULL",
                params![op, sql_time(now)],
            )
            .map(|_| ())
            .map_err(StoreError::write("what a clerk was told"))
    }

    /// Since when a card is reported as lost; reports it now if it was not.
    pub fn report_lost(&self, card: CardId, now: Timestamp) -> Result<Timestamp, StoreError> {
        let failed = || StoreError::write("a lost card");
        let writer = self.writer();
        writer
            .execute(
                "INSERT INTO lost_cards (card, at) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
                params![sql_card(card), sql_time(now)],
            )
            .map_err(failed())?;
        writer
            .query_row("SELECT at FROM lost_cards WHERE card = ?1", [sql_card(card)], |row| {
                row.get(0).map(time)
            })
            .map_err(failed())
    }

    /// The desk's part of the journal, with each row's place and time. A row that is not what was
    /// booked is named.
    pub(crate) fn desk_journal(&self) -> Result<Vec<(i64, Timestamp, DeskEntry)>, StoreError> {
        let failed = || StoreError::read("the desk's journal");
        let reader = self.reader()?;
        let sql =
            format!("SELECT {ENTRY}, op, at, after_batch, hash FROM desk_journal ORDER BY id");
        let mut statement = reader.prepare(&sql).map_err(failed())?;
        let mut rows = statement.query([]).map_err(failed())?;
        let mut hash = [0_u8; 32];
        let mut entries = Vec::new();
        while let Some(row) = rows.next().map_err(failed())? {
            let columns = Columns::read(row).map_err(failed())?;
            let read = || -> rusqlite::Result<(i64, i64, i64, [u8; 32])> {
                Ok((row.get(10)?, row.get(11)?, row.get(12)?, row.get(13)?))
            };
            let (op, at, after_batch, stored) = read().map_err(failed())?;
            hash = columns.chained(hash, op, at);
            if hash != stored {
                let what = format!("row of operation {op} in the desk's journal was altered");
                return Err(StoreError::damaged(what));
            }
            entries.push((after_batch, time(at), columns.entry(unsigned(op))?));
        }
        Ok(entries)
    }
}

impl Group<'_> {
    /// Open operations of a card, as entries: read once for all cards, since they are few.
    pub(super) fn open_entries(&self, card: CardId) -> Result<Vec<DeskEntry>, StoreError> {
        let mut kept = self.open_ops.borrow_mut();
        if kept.is_none() {
            let of = "WHERE outcome IS NULL AND id > ?1 ORDER BY id";
            *kept = Some(ops(&self.writer, of, 0)?.into_iter().map(|op| op.entry).collect());
        }
        let open = kept.iter().flatten().filter(|entry| entry.card == card);
        Ok(open.copied().collect())
    }

    /// Outcomes, and the desk's part of the journal. Written after the batches of the same group.
    pub(super) fn desk(&self, booking: &Booking) -> Result<(), StoreError> {
        for (op, how) in &booking.void_ops {
            void(&self.writer, *op, how, booking.at)?;
        }
        if booking.desk.is_empty() {
            return Ok(());
        }
        let failed = || StoreError::write("the desk's journal");
        let (after_batch, _) = self.end_of("batches")?;
        let (_, mut hash) = self.end_of("desk_journal")?;
        for BookedDesk { entry, how, proof } in &booking.desk {
            let at = sql_time(booking.at);
            let op = i64::try_from(entry.op).unwrap_or(i64::MAX);
            let closed = self
                .writer
                .execute(
                    "UPDATE card_ops SET outcome = 1, closed_at = ?2, how = ?3, proof = ?4
                     WHERE id = ?1 AND outcome IS NULL",
                    params![op, at, how, proof.map(|proof| proof.0)],
                )
                .map_err(failed())?;
            if closed != 1 {
                return Err(StoreError::damaged(format!("operation {op} has an outcome already")));
            }
            let row = Columns::of(entry)?;
            hash = row.chained(hash, op, at);
            self.writer
                .execute(
                    &format!(
                        "INSERT INTO desk_journal ({ENTRY}, op, at, after_batch, hash)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13,
                         ?14)"
                    ),
                    params![
                        row.station,
                        row.kind,
                        row.card,
                        row.before,
                        row.after,
                        row.other,
                        row.taken,
                        row.adjusted,
                        row.purse,
                        row.issuer,
                        op,
                        at,
                        after_batch,
                        hash
                    ],
                )
                .map_err(failed())?;
        }
        Ok(())
    }
}

/// New value that an operation makes. What stands in place of another card, and what a load gives
/// back of fares, is bounded by what the books owe.
fn new_value(entry: &DeskEntry) -> i64 {
    match &entry.deed {
        DeskDeed::Issued { record, in_place_of: None, .. } => i64::from(record.amount),
        DeskDeed::Loaded { after, adjusted, .. } => i64::from(after.amount) - i64::from(*adjusted),
        DeskDeed::Issued { in_place_of: Some(_), .. } | DeskDeed::Retired { .. } => 0,
    }
}

fn void(connection: &Connection, op: u64, how: &str, now: Timestamp) -> Result<(), StoreError> {
    let sql_op = i64::try_from(op).unwrap_or(i64::MAX);
    connection
        .execute(
            "UPDATE card_ops SET outcome = 2, closed_at = ?2, how = ?3
             WHERE id = ?1 AND outcome IS NULL",
            params![sql_op, sql_time(now), how],
        )
        .map_err(StoreError::write("the outcome of a card operation"))?;
    release_due(connection, DueOrder::Desk(op))
}

fn ops(connection: &Connection, of: &str, key: i64) -> Result<Vec<CardOp>, StoreError> {
    let failed = || StoreError::read("card operations");
    let sql = format!("SELECT {ENTRY}, id, begun_at, outcome FROM card_ops {of}");
    let mut statement = connection.prepare_cached(&sql).map_err(failed())?;
    let mut rows = statement.query([key]).map_err(failed())?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed())? {
        let columns = Columns::read(row).map_err(failed())?;
        let read = || -> rusqlite::Result<(i64, i64, Option<i64>)> {
            Ok((row.get(10)?, row.get(11)?, row.get(12)?))
        };
        let (id, begun_at, outcome) = read().map_err(failed())?;
        found.push(CardOp {
            entry: columns.entry(unsigned(id))?,
            begun_at: time(begun_at),
            happened: outcome.map(|outcome| outcome == 1),
        });
    }
    Ok(found)
}

/// An entry as the columns of both tables hold it.
struct Columns {
    station: u16,
    kind: i64,
    card: i64,
    before: Option<[u8; 32]>,
    after: [u8; 32],
    other: Option<i64>,
    taken: Option<i64>,
    adjusted: u32,
    purse: Option<u16>,
    issuer: Option<u16>,
}

impl Columns {
    fn of(entry: &DeskEntry) -> Result<Self, StoreError> {
        let bytes = |record: &CardRecord| {
            record
                .to_bytes()
                .map_err(|error| StoreError::damaged(format!("an operation's record: {error}")))
        };
        let plain = |kind, after| {
            let (station, card) = (entry.station.0, sql_card(entry.card));
            let (before, other, taken, purse) = (None, None, None, sql_purse(entry.purse));
            let (adjusted, issuer) = (0, None);
            Self { station, kind, card, before, after, other, taken, adjusted, purse, issuer }
        };
        Ok(match &entry.deed {
            DeskDeed::Issued { record, in_place_of, issuer } => Self {
                other: in_place_of.map(sql_card),
                issuer: issuer.map(|issuer| issuer.0),
                ..plain(ISSUE, bytes(record)?)
            },
            DeskDeed::Loaded { before, after, adjusted } => Self {
                before: Some(bytes(before)?),
                adjusted: *adjusted,
                ..plain(LOAD, bytes(after)?)
            },
            DeskDeed::Retired { before, after, value } => Self {
                before: Some(bytes(before)?),
                taken: Some(match value {
                    Taken::PaidOut => 1,
                    Taken::ForAnotherCard => 2,
                    Taken::Held => 3,
                }),
                ..plain(RETIRE, bytes(after)?)
            },
        })
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            station: row.get(0)?,
            kind: row.get(1)?,
            card: row.get(2)?,
            before: row.get(3)?,
            after: row.get(4)?,
            other: row.get(5)?,
            taken: row.get(6)?,
            adjusted: row.get(7)?,
            purse: row.get(8)?,
            issuer: row.get(9)?,
        })
    }

    fn entry(&self, op: u64) -> Result<DeskEntry, StoreError> {
        let after = record(&self.after)?;
        let before = self.before.as_ref().map(record).transpose()?;
        let deed = match (self.kind, before) {
            (ISSUE, None) => {
                let (in_place_of, issuer) = (self.other.map(card_of), self.issuer.map(IssuerId));
                DeskDeed::Issued { record: after, in_place_of, issuer }
            }
            (LOAD, Some(before)) => DeskDeed::Loaded { before, after, adjusted: self.adjusted },
            (RETIRE, Some(before)) => {
                let value = match self.taken {
                    Some(1) => Taken::PaidOut,
                    Some(2) => Taken::ForAnotherCard,
                    _ => Taken::Held,
                };
                DeskDeed::Retired { before, after, value }
            }
            _ => return Err(StoreError::damaged(format!("operation {op} of no known kind"))),
        };
        let station = StationId(self.station);
        let (card, purse) = (card_of(self.card), purse_of(self.purse)?);
        Ok(DeskEntry { op, station, card, purse, deed })
    }

    fn chained(&self, before: [u8; 32], op: i64, at: i64) -> [u8; 32] {
        // Rows that are older than adjustments, purses or issuers keep the hash that they have.
        let adjusted = self.adjusted.to_be_bytes();
        let adjusted: &[u8] = if self.adjusted == 0 { &[] } else { &adjusted };
        let purse = self.purse.map(u16::to_be_bytes);
        let issuer = self.issuer.map(u16::to_be_bytes).map(|[a, b]| [b'i', a, b]);
        Sha256::new()
            .chain_update(before)
            .chain_update(self.station.to_be_bytes())
            .chain_update(self.kind.to_be_bytes())
            .chain_update(self.card.to_be_bytes())
            .chain_update(self.before.unwrap_or_default())
            .chain_update(self.after)
            .chain_update(self.other.unwrap_or(-1).to_be_bytes())
            .chain_update(self.taken.unwrap_or(-1).to_be_bytes())
            .chain_update(op.to_be_bytes())
            .chain_update(at.to_be_bytes())
            .chain_update(adjusted)
            .chain_update(purse.as_ref().map_or(&[][..], |purse| purse))
            .chain_update(issuer.as_ref().map_or(&[][..], |issuer| issuer))
            .finalize()
            .into()
    }
}

pub(super) fn record(bytes: &[u8; 32]) -> Result<CardRecord, StoreError> {
    CardRecord::from_bytes(bytes)
        .map_err(|error| StoreError::damaged(format!("the record of an operation: {error}")))
}
