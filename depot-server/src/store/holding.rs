//! What stands on cards and when each was last used; and a hash over everything in the books.

use std::path::Path;

use clearing::CardState;
use ledger::{AccountId, Balance};
use model::{CardId, Currency, IssuerId, Timestamp, ValidUntil};
use rusqlite::{Connection, OpenFlags, types::ValueRef};
use sha2::{Digest, Sha256};

use super::{
    Store, StoreError,
    codes::{balance_at, card_of, purse_of},
};
use crate::http::views::CardHandle;

/// A card's account and its last use.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HeldCard {
    pub(crate) card: CardId,
    /// The ledger that its account is in; `None` while nothing was booked on it.
    pub(crate) ledger: Option<Currency>,
    /// Who issued it, when that is not the issuer that the books began with.
    pub(crate) issuer: Option<IssuerId>,
    /// The end of its validity, by its newest known record.
    pub(crate) valid_until: ValidUntil,
    /// Whether every transaction of it is known and fits (REC-9).
    pub(crate) is_whole: bool,
    /// By its newest known record.
    pub(crate) used_at: Timestamp,
    /// Credits less debits.
    pub(crate) value: i64,
    /// What taps in doubt hold of it.
    pub(crate) pending: i64,
}

impl Store {
    /// Visits every card.
    pub(crate) fn each_card(&self, mut visit: impl FnMut(HeldCard)) -> Result<(), StoreError> {
        let failed = || StoreError::read("cards");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT card, state, debits_posted, credits_posted, debits_pending,
                 credits_pending, currency FROM cards ORDER BY card",
            )
            .map_err(failed())?;
        let mut rows = statement.query([]).map_err(failed())?;
        while let Some(row) = rows.next().map_err(failed())? {
            let card = card_of(row.get(0).map_err(failed())?);
            let bytes = row.get_ref(1).map_err(failed())?.as_blob().unwrap_or_default();
            let state = CardState::from_bytes(bytes)
                .map_err(|error| StoreError::damaged(format!("state of card {card}: {error}")))?;
            let balance = balance_at(row, 2).map_err(failed())?;
            let used_at = state.newest().map_or(Timestamp(0), |known| known.record.at());
            let pending = balance.debits_pending - balance.credits_pending;
            let (value, ledger) = (balance.posted(), purse_of(row.get(6).map_err(failed())?)?);
            let newest = state.newest().map(|known| known.record);
            visit(HeldCard {
                card,
                ledger,
                issuer: state.issuer(),
                valid_until: newest.map_or(ValidUntil::Always, |record| record.valid_until),
                is_whole: state.continuity().is_ok(),
                used_at,
                value,
                pending,
            });
        }
        Ok(())
    }

    /// Visits every account that is no card's.
    pub(crate) fn each_account(
        &self,
        mut visit: impl FnMut(&AccountId, Balance),
    ) -> Result<(), StoreError> {
        let failed = || StoreError::read("accounts");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT id, debits_posted, credits_posted, debits_pending, credits_pending
                 FROM accounts ORDER BY id",
            )
            .map_err(failed())?;
        let mut rows = statement.query([]).map_err(failed())?;
        while let Some(row) = rows.next().map_err(failed())? {
            let id = AccountId::from_bytes(row.get(0).map_err(failed())?)
                .map_err(|error| StoreError::damaged(error.to_string()))?;
            visit(&id, balance_at(row, 1).map_err(failed())?);
        }
        Ok(())
    }

    /// What stands for a card outside the depot.
    pub(crate) fn card_handle(&self, card: CardId) -> CardHandle {
        self.handles.handle(card)
    }

    /// Copies the books, as they stand at one moment, into a new file: beside a running server, in
    /// one read transaction, so that no booking is in it by half.
    pub(crate) fn copy_into(&self, path: &Path) -> Result<(), StoreError> {
        let name = path.to_string_lossy();
        self.reader()?
            .execute("VACUUM INTO ?1", [name.as_ref()])
            .map(|_| ())
            .map_err(StoreError::write("a copy"))
    }
}

/// SHA-256 over every row of every table but those of logins, in order of table and key.
pub(crate) fn state_hash(path: &Path) -> Result<[u8; 32], StoreError> {
    let failed = || StoreError::read("a copy of the books");
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(|source| StoreError::Open { path: path.to_owned(), source: Box::new(source) })?;
    let whole: String =
        connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed())?;
    if whole != "ok" {
        return Err(StoreError::damaged(whole));
    }
    connection.execute_batch("BEGIN").map_err(failed())?;
    let mut tables = connection
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'
             AND name NOT IN ('logins', 'sessions') ORDER BY name",
        )
        .map_err(failed())?;
    let tables: Vec<String> =
        tables.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(failed())?;
    let mut hash = Sha256::new();
    for table in tables {
        hash.update((table.len() as u64).to_be_bytes());
        hash.update(&table);
        hash_table(&connection, &table, &mut hash)?;
    }
    Ok(hash.finalize().into())
}

fn hash_table(connection: &Connection, table: &str, hash: &mut Sha256) -> Result<(), StoreError> {
    let failed = || StoreError::read("a table of a copy");
    let mut key = connection
        .prepare(&format!("SELECT name FROM pragma_table_info('{table}') WHERE pk > 0 ORDER BY pk"))
        .map_err(failed())?;
    let key: Vec<String> =
        key.query_map([], |row| row.get(0)).and_then(Iterator::collect).map_err(failed())?;
    let order = if key.is_empty() { "rowid".to_owned() } else { key.join(", ") };
    let mut rows =
        connection.prepare(&format!("SELECT * FROM {table} ORDER BY {order}")).map_err(failed())?;
    let width = rows.column_count();
    let mut rows = rows.query([]).map_err(failed())?;
    while let Some(row) = rows.next().map_err(failed())? {
        for column in 0..width {
            hash_value(row.get_ref(column).map_err(failed())?, hash);
        }
    }
    Ok(())
}

/// Kind and length before the bytes, so that no two rows are one.
fn hash_value(value: ValueRef<'_>, hash: &mut Sha256) {
    let mut put = |kind: u8, bytes: &[u8]| {
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    match value {
        ValueRef::Null => put(0, &[]),
        ValueRef::Integer(number) => put(1, &number.to_be_bytes()),
        ValueRef::Real(number) => put(2, &number.to_be_bytes()),
        ValueRef::Text(text) => put(3, text),
        ValueRef::Blob(bytes) => put(4, bytes),
    }
}
