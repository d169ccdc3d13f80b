//! Journals of events that people and rules make, one JSON row each, in the order of booking: of
//! load orders, and of decisions about money.
//!
//! Invariant: a journal is only added to, and each row's hash covers the row before.

use model::Timestamp;
use rusqlite::{Connection, params};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{
    StoreError,
    codes::{sql_time, time},
    group::Group,
};

/// Which journal: its table, and what errors call it.
#[derive(Debug, Clone, Copy)]
pub(super) struct EventJournal {
    pub(super) table: &'static str,
    pub(super) name: &'static str,
}

/// A row of a journal of events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EventRow<E> {
    /// The row of `batches` that it came after.
    pub(crate) after_batch: i64,
    /// Rows of the desk's journal before it.
    pub(crate) after_desk: i64,
    /// When.
    pub(crate) at: Timestamp,
    /// What happened.
    pub(crate) event: E,
}

impl EventJournal {
    /// The journal from its first row. A row that is not what was booked is named.
    pub(super) fn read<E: DeserializeOwned>(
        self,
        connection: &Connection,
    ) -> Result<Vec<EventRow<E>>, StoreError> {
        let Self { table, name } = self;
        let failed = || StoreError::read(name);
        let sql =
            format!("SELECT after_batch, after_desk, at, event, hash, id FROM {table} ORDER BY id");
        let mut statement = connection.prepare(&sql).map_err(failed())?;
        let mut rows = statement.query([]).map_err(failed())?;
        let mut hash = [0; 32];
        let mut journal = Vec::new();
        while let Some(row) = rows.next().map_err(failed())? {
            let read = || -> rusqlite::Result<(i64, i64, i64, String, [u8; 32], i64)> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
            };
            let (after_batch, after_desk, at, event, stored, id) = read().map_err(failed())?;
            hash = chained(hash, (after_batch, after_desk, at), &event);
            if hash != stored {
                return Err(StoreError::damaged(format!("row {id} of {name} was altered")));
            }
            let event = serde_json::from_str(&event)
                .map_err(|error| StoreError::damaged(format!("row {id} of {name}: {error}")))?;
            journal.push(EventRow { after_batch, after_desk, at: time(at), event });
        }
        Ok(journal)
    }
}

impl Group<'_> {
    /// Adds to a journal. After the batches and the desk's journal of the same group, whose ends
    /// say where the rows stand.
    pub(super) fn append_events<E: Serialize>(
        &self,
        journal: EventJournal,
        events: &[E],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        if events.is_empty() {
            return Ok(());
        }
        let EventJournal { table, name } = journal;
        let failed = || StoreError::write(name);
        let (after_batch, _) = self.end_of("batches")?;
        let after_desk: i64 = self
            .writer
            .query_row("SELECT count(*) FROM desk_journal", [], |row| row.get(0))
            .map_err(failed())?;
        let (_, mut hash) = self.end_of(table)?;
        let at = sql_time(at);
        let sql = format!(
            "INSERT INTO {table} (after_batch, after_desk, at, event, hash)
             VALUES (?1, ?2, ?3, ?4, ?5)"
        );
        for event in events {
            let text = serde_json::to_string(event).map_err(|error| StoreError::Write {
                what: name,
                source: error.to_string().into(),
            })?;
            hash = chained(hash, (after_batch, after_desk, at), &text);
            self.writer
                .prepare_cached(&sql)
                .and_then(|mut s| s.execute(params![after_batch, after_desk, at, text, hash]))
                .map_err(failed())?;
        }
        Ok(())
    }
}

fn chained(
    before: [u8; 32],
    (after_batch, after_desk, at): (i64, i64, i64),
    event: &str,
) -> [u8; 32] {
    let hash = Sha256::new().chain_update(before);
    let hash = [after_batch, after_desk, at]
        .into_iter()
        .fold(hash, |hash, number| hash.chain_update(number.to_be_bytes()));
    hash.chain_update(event).finalize().into()
}
