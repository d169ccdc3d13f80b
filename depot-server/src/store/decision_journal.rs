//! Journals of decisions that move no money: of the hotlist, of steering. One JSON row each.
//!
//! Invariant: a journal is only added to, and each row's hash covers the row before.

use model::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

use super::{
    StoreError,
    codes::{sql_time, time},
};

/// Which journal: its table, and what errors call it.
#[derive(Debug, Clone, Copy)]
pub(super) struct DecisionJournal {
    pub(super) table: &'static str,
    pub(super) name: &'static str,
}

impl DecisionJournal {
    /// The journal from its first row. A row that is not what was written is named.
    pub(super) fn read<E: DeserializeOwned>(
        self,
        connection: &Connection,
    ) -> Result<Vec<(Timestamp, E)>, StoreError> {
        let Self { table, name } = self;
        let failed = || StoreError::read(name);
        let sql = format!("SELECT id, at, event, hash FROM {table} ORDER BY id");
        let mut statement = connection.prepare_cached(&sql).map_err(failed())?;
        let mut rows = statement.query([]).map_err(failed())?;
        let (mut hash, mut journal) = ([0; 32], Vec::new());
        while let Some(row) = rows.next().map_err(failed())? {
            let read = || -> rusqlite::Result<(i64, i64, String, [u8; 32])> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            };
            let (id, at, event, stored) = read().map_err(failed())?;
            hash = chained(hash, at, &event);
            if hash != stored {
                return Err(StoreError::damaged(format!("row {id} of {name} was altered")));
            }
            let event = serde_json::from_str(&event)
                .map_err(|error| StoreError::damaged(format!("row {id} of {name}: {error}")))?;
            journal.push((time(at), event));
        }
        Ok(journal)
    }

    /// Adds an event.
    pub(super) fn add<E: Serialize>(
        self,
        connection: &Connection,
        at: Timestamp,
        event: &E,
    ) -> Result<(), StoreError> {
        let Self { table, name } = self;
        let failed = || StoreError::write(name);
        let text = serde_json::to_string(event)
            .map_err(|error| StoreError::Write { what: name, source: error.to_string().into() })?;
        let newest = format!("SELECT hash FROM {table} ORDER BY id DESC LIMIT 1");
        let last: Option<[u8; 32]> = connection
            .prepare_cached(&newest)
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
            .map_err(failed())?;
        let at = sql_time(at);
        let hash = chained(last.unwrap_or_default(), at, &text);
        connection
            .prepare_cached(&format!("INSERT INTO {table} (at, event, hash) VALUES (?1, ?2, ?3)"))
            .and_then(|mut statement| statement.execute(params![at, text, hash]))
            .map(|_| ())
            .map_err(failed())
    }
}

fn chained(before: [u8; 32], at: i64, event: &str) -> [u8; 32] {
    let hash = Sha256::new().chain_update(before).chain_update(at.to_be_bytes());
    hash.chain_update(event).finalize().into()
}
