//! Tariff versions, kept for ever: old taps are explained and verified by them.

use model::{TariffVersion, Timestamp};
use rusqlite::params;

use super::{
    Store, StoreError,
    codes::{sql_time, time},
};

impl Store {
    /// Every tariff ever used: version and text, oldest version first.
    pub fn tariffs(&self) -> Result<Vec<(TariffVersion, String)>, StoreError> {
        let failed = || StoreError::read("tariffs");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT version, text FROM tariffs ORDER BY version")
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| Ok((TariffVersion(row.get(0)?), row.get(1)?)))
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Since when the books hold each tariff.
    pub fn tariffs_since(&self) -> Result<Vec<(TariffVersion, Timestamp)>, StoreError> {
        let failed = || StoreError::read("tariffs");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT version, loaded_at FROM tariffs ORDER BY version")
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| Ok((TariffVersion(row.get(0)?), time(row.get(1)?))))
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Keeps a tariff. The first text of a version stays; who adds another one compares first.
    pub fn keep_tariff(
        &self,
        version: TariffVersion,
        text: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.writer()
            .execute(
                "INSERT INTO tariffs (version, text, loaded_at) VALUES (?1, ?2, ?3)
                 ON CONFLICT (version) DO NOTHING",
                params![version.0, text, sql_time(now)],
            )
            .map(|_| ())
            .map_err(StoreError::write("a tariff"))
    }
}
