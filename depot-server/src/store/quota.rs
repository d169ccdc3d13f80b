//! What each station may put on cards: granted by two people, used up by its operations (SEC-7).
//!
//! Each currency has a quota of its own; sums of one never cover another (ADR-0019).

use model::{Currency, StationId, Timestamp};
use rusqlite::{Connection, params};

use super::{
    Store, StoreError,
    codes::{sql_purse, sql_time},
    desk::record,
};

/// What a station may put on cards of one currency, minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Granted so far.
    pub granted: i64,
    /// Put on cards for certain.
    pub used: i64,
    /// Perhaps put on cards: counts as used.
    pub in_doubt: i64,
}

impl Quota {
    /// What is left.
    pub const fn left(&self) -> i64 {
        self.granted - self.used - self.in_doubt
    }
}

impl Store {
    /// What a station may still put on cards in the tariff's currency.
    pub fn quota(&self, station: StationId) -> Result<Quota, StoreError> {
        self.quota_in(station, None)
    }

    /// The same on cards whose purse is in another: each currency has a quota of its own.
    pub fn quota_in(
        &self,
        station: StationId,
        purse: Option<Currency>,
    ) -> Result<Quota, StoreError> {
        let reader = self.reader()?;
        quota(&reader, station, purse)
    }

    /// Grants a station more, in the tariff's currency.
    pub fn grant(
        &self,
        station: StationId,
        amount: i64,
        who: [&str; 3],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.grant_in(station, None, amount, who, now)
    }

    /// The same for cards whose purse is in another.
    pub fn grant_in(
        &self,
        station: StationId,
        purse: Option<Currency>,
        amount: i64,
        [granted, agreed, reason]: [&str; 3],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let (at, purse) = (sql_time(now), sql_purse(purse));
        self.writer()
            .execute(
                "INSERT INTO desk_grants (station, amount, at, granted, agreed, reason, purse)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                params![station.0, amount, at, granted, agreed, reason, purse],
            )
            .map(|_| ())
            .map_err(StoreError::write("a grant"))
    }
}

pub(super) fn quota(
    connection: &Connection,
    station: StationId,
    purse: Option<Currency>,
) -> Result<Quota, StoreError> {
    let key = params![station.0, sql_purse(purse)];
    let failed = || StoreError::read("the quota of a station");
    let granted = connection
        .query_row(
            "SELECT coalesce(sum(amount), 0) FROM desk_grants
             WHERE station = ?1 AND purse IS ?2",
            key,
            |row| row.get(0),
        )
        .map_err(failed())?;
    let mut quota = Quota { granted, ..Quota::default() };
    let mut statement = connection
        .prepare_cached(
            "SELECT after, outcome, adjusted FROM card_ops
             WHERE station = ?1 AND purse IS ?2 AND (kind = 2 OR kind = 1 AND other IS NULL)
             AND outcome IS NOT 2",
        )
        .map_err(failed())?;
    let mut rows = statement.query(key).map_err(failed())?;
    while let Some(row) = rows.next().map_err(failed())? {
        let (bytes, outcome, adjusted): ([u8; 32], Option<i64>, i64) =
            row.get(0).and_then(|bytes| Ok((bytes, row.get(1)?, row.get(2)?))).map_err(failed())?;
        let amount = i64::from(record(&bytes)?.amount) - adjusted;
        match outcome {
            None => quota.in_doubt += amount,
            Some(_) => quota.used += amount,
        }
    }
    Ok(quota)
}
