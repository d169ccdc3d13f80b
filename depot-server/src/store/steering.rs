//! The journal of steering, and the lists that follow from it (ADR-0028).
//!
//! Invariant: the journal is only added to, each row's hash covers the row before, and the lists
//! change in the transaction of the row that changes them.

use std::{collections::BTreeMap, sync::MutexGuard};

use model::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use sha2::{Digest, Sha256};
use wire::ListKind;

use super::{
    Store, StoreError,
    codes::{sql_time, time, unsigned, validator},
    group::read_state,
};
use crate::steering::{MadeList, ReleaseStates, SteeringEvent};

const NAME: &str = "the journal of steering";

/// An open transaction on what is wanted of validators. Rolled back unless committed.
pub struct SteeringBook<'a> {
    writer: MutexGuard<'a, Connection>,
    at: Timestamp,
    done: bool,
}

impl Store {
    /// Begins a decision.
    pub fn begin_steering(&self, at: Timestamp) -> Result<SteeringBook<'_>, StoreError> {
        let writer = self.writer();
        writer.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::write(NAME))?;
        Ok(SteeringBook { writer, at, done: false })
    }

    /// The journal from its first row. A row that is not what was written is named.
    pub fn steering_journal(&self) -> Result<Vec<(Timestamp, SteeringEvent)>, StoreError> {
        journal(&*self.reader()?)
    }

    /// How many rows the journal has: whether something was decided anew.
    pub fn steering_rows(&self) -> Result<u64, StoreError> {
        self.reader()?
            .prepare_cached("SELECT coalesce(max(id), 0) FROM steering_journal")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map(unsigned)
            .map_err(StoreError::read(NAME))
    }

    /// The lists as validators are given them.
    pub fn steering_lists(&self) -> Result<BTreeMap<ListKind, MadeList>, StoreError> {
        let failed = || StoreError::read("the lists of steering");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT kind, version, content FROM steering_lists")
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| {
                let list = MadeList { version: unsigned(row.get(1)?), content: row.get(2)? };
                Ok((ListKind(row.get(0)?), list))
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// A release as the agency signed it.
    pub fn release_image(&self, number: u64) -> Result<Option<Vec<u8>>, StoreError> {
        self.reader()?
            .prepare_cached("SELECT content FROM release_images WHERE number = ?1")
            .and_then(|mut statement| {
                let number = i64::try_from(number).unwrap_or(i64::MAX);
                statement.query_row([number], |row| row.get(0)).optional()
            })
            .map_err(StoreError::read("a release"))
    }

    /// What every enrolled validator last said of its software.
    pub fn release_states(&self) -> Result<ReleaseStates, StoreError> {
        let failed = || StoreError::read("the software of the fleet");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT id, state FROM validators ORDER BY id")
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| Ok((row.get(0)?, row.get::<_, Option<Vec<u8>>>(1)?)))
            .map_err(failed())?;
        rows.map(|row| {
            let (id, payload) = row.map_err(failed())?;
            let state = payload.as_deref().and_then(read_state);
            Ok((validator(id)?, state.and_then(|state| state.steered.release)))
        })
        .collect()
    }

    /// Kind and version of each of those lists.
    pub(super) fn steering_versions(&self) -> Result<Vec<(ListKind, u64)>, StoreError> {
        let failed = || StoreError::read("the lists of steering");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT kind, version FROM steering_lists ORDER BY kind")
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| Ok((ListKind(row.get(0)?), unsigned(row.get(1)?))))
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }
}

impl SteeringBook<'_> {
    /// The journal as it stands while the writer is ours.
    pub fn journal(&self) -> Result<Vec<(Timestamp, SteeringEvent)>, StoreError> {
        journal(&self.writer)
    }

    /// Adds an event, and the lists that follow from all of them.
    pub fn add(
        &self,
        event: &SteeringEvent,
        lists: &BTreeMap<ListKind, MadeList>,
    ) -> Result<(), StoreError> {
        let failed = || StoreError::write(NAME);
        let text = serde_json::to_string(event)
            .map_err(|error| StoreError::Write { what: NAME, source: error.to_string().into() })?;
        let last: Option<[u8; 32]> = self
            .writer
            .prepare_cached("SELECT hash FROM steering_journal ORDER BY id DESC LIMIT 1")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
            .map_err(failed())?;
        let at = sql_time(self.at);
        let hash = chained(last.unwrap_or_default(), at, &text);
        self.writer
            .execute(
                "INSERT INTO steering_journal (at, event, hash) VALUES (?1, ?2, ?3)",
                params![at, text, hash],
            )
            .map_err(failed())?;
        for (kind, list) in lists {
            let version = i64::try_from(list.version).unwrap_or(i64::MAX);
            self.writer
                .execute(
                    "INSERT INTO steering_lists (kind, version, content) VALUES (?1, ?2, ?3)
                     ON CONFLICT (kind) DO UPDATE SET version = ?2, content = ?3
                     WHERE version < ?2",
                    params![kind.0, version, list.content],
                )
                .map_err(failed())?;
        }
        Ok(())
    }

    /// Keeps a release as the agency signed it.
    pub fn keep_image(&self, number: u64, content: &[u8]) -> Result<(), StoreError> {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        self.writer
            .execute(
                "INSERT INTO release_images (number, content) VALUES (?1, ?2)",
                params![number, content],
            )
            .map(|_| ())
            .map_err(StoreError::write("a release"))
    }

    /// Makes it all durable.
    pub fn commit(mut self) -> Result<(), StoreError> {
        self.writer.execute_batch("COMMIT").map_err(StoreError::write(NAME))?;
        self.done = true;
        Ok(())
    }
}

impl Drop for SteeringBook<'_> {
    fn drop(&mut self) {
        // A transaction that the database has ended by itself needs no end.
        if !self.done && !self.writer.is_autocommit() {
            let _ = self.writer.execute_batch("ROLLBACK");
        }
    }
}

fn journal(connection: &Connection) -> Result<Vec<(Timestamp, SteeringEvent)>, StoreError> {
    let failed = || StoreError::read(NAME);
    let mut statement = connection
        .prepare_cached("SELECT id, at, event, hash FROM steering_journal ORDER BY id")
        .map_err(failed())?;
    let mut rows = statement.query([]).map_err(failed())?;
    let (mut hash, mut journal) = ([0; 32], Vec::new());
    while let Some(row) = rows.next().map_err(failed())? {
        let read = || -> rusqlite::Result<(i64, i64, String, [u8; 32])> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
        };
        let (id, at, event, stored) = read().map_err(failed())?;
        hash = chained(hash, at, &event);
        if hash != stored {
            return Err(StoreError::damaged(format!("row {id} of {NAME} was altered")));
        }
        let event = serde_json::from_str(&event)
            .map_err(|error| StoreError::damaged(format!("row {id} of {NAME}: {error}")))?;
        journal.push((time(at), event));
    }
    Ok(journal)
}

fn chained(before: [u8; 32], at: i64, event: &str) -> [u8; 32] {
    let hash = Sha256::new().chain_update(before).chain_update(at.to_be_bytes());
    hash.chain_update(event).finalize().into()
}
