//! Messages that were set aside, as people look at them.

use model::Timestamp;
use rusqlite::{OptionalExtension, Row};

use super::{
    Store, StoreError,
    codes::{time, unsigned},
};

const NAME: &str = "the quarantine";

/// A message that could not be believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Its number.
    pub id: u64,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Where.
    pub topic: String,
    /// Why it is here: a stable word.
    pub reason: String,
    /// The same in words.
    pub detail: String,
    /// As received.
    pub payload: Vec<u8>,
}

fn message(row: &Row<'_>) -> Result<Quarantined, rusqlite::Error> {
    Ok(Quarantined {
        id: unsigned(row.get(0)?),
        received_at: time(row.get(1)?),
        topic: row.get(2)?,
        reason: row.get(3)?,
        detail: row.get(4)?,
        payload: row.get(5)?,
    })
}

impl Store {
    /// The newest messages that were set aside, newest first.
    pub fn quarantined(&self, count: u32) -> Result<Vec<Quarantined>, StoreError> {
        let failed = || StoreError::read(NAME);
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT id, received_at, topic, reason, detail, payload FROM quarantine
                 ORDER BY id DESC LIMIT ?1",
            )
            .map_err(failed())?;
        let rows = statement.query_map([count], message).map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// One of them.
    pub fn quarantined_message(&self, id: u64) -> Result<Option<Quarantined>, StoreError> {
        self.reader()?
            .prepare_cached(
                "SELECT id, received_at, topic, reason, detail, payload FROM quarantine
                 WHERE id = ?1",
            )
            .and_then(|mut statement| {
                statement.query_row([i64::try_from(id).unwrap_or(i64::MAX)], message).optional()
            })
            .map_err(StoreError::read(NAME))
    }
}
