//! Which version of the hotlist refuses which card.

use std::collections::BTreeMap;

use model::{CardId, Timestamp};
use rusqlite::params;

use super::{
    Store, StoreError,
    codes::{card_of, sql_card, sql_time, time, unsigned},
    group::Group,
};

const WHAT: &str = "the hotlist's versions";

/// When each version was made, and from which version to before which one each card is in it.
type History = (BTreeMap<u64, Timestamp>, BTreeMap<CardId, Vec<(u64, Option<u64>)>>);

impl Group<'_> {
    /// Whether that version, if it was made by then, refuses the card.
    pub(super) fn is_blocked(
        &self,
        card: CardId,
        version: u64,
        by: Timestamp,
    ) -> Result<bool, StoreError> {
        let Ok(version) = i64::try_from(version) else { return Ok(false) };
        self.writer
            .prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM hotlist_cases WHERE card = ?1 AND version <= ?2
                                AND (gone IS NULL OR gone > ?2))
                    AND EXISTS (SELECT 1 FROM hotlists WHERE version = ?2 AND made_at <= ?3)",
            )
            .and_then(|mut statement| {
                let key = params![sql_card(card), version, sql_time(by)];
                statement.query_row(key, |row| row.get(0))
            })
            .map_err(StoreError::read(WHAT))
    }
}

impl Store {
    /// Every version and every card that was ever in one.
    pub(crate) fn hotlist_history(&self) -> Result<History, StoreError> {
        let failed = || StoreError::read(WHAT);
        let reader = self.reader()?;
        let mut statement =
            reader.prepare_cached("SELECT version, made_at FROM hotlists").map_err(failed())?;
        let made = statement
            .query_map([], |row| Ok((unsigned(row.get(0)?), time(row.get(1)?))))
            .and_then(Iterator::collect)
            .map_err(failed())?;
        let mut statement = reader
            .prepare_cached(
                "SELECT card, version, gone FROM hotlist_cases WHERE version IS NOT NULL",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| {
                let gone: Option<i64> = row.get(2)?;
                Ok((row.get(0)?, (unsigned(row.get(1)?), gone.map(unsigned))))
            })
            .map_err(failed())?;
        let mut blocked = BTreeMap::<_, Vec<_>>::new();
        for row in rows {
            let (card, span) = row.map_err(failed())?;
            blocked.entry(card_of(card)).or_default().push(span);
        }
        Ok((made, blocked))
    }
}
