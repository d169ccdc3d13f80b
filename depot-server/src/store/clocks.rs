//! Clocks that disagree, each pair of a day by what shows it best (REC-17).

use clearing::ClockGap;
use model::{ServiceDate, ValidatorId};
use rusqlite::{Connection, Row, params};

use super::{Store, StoreError, group::Group};
use crate::intake::stored::Booking;

const WHAT: &str = "clocks that disagree";

impl Store {
    /// The newest disagreements of a validator's clock with others.
    pub(crate) fn clock_gaps_of(
        &self,
        validator: ValidatorId,
        limit: u32,
    ) -> Result<Vec<ClockGap>, StoreError> {
        let number = validator.number();
        gaps(
            &*self.reader()?,
            "SELECT gap FROM clock_gaps WHERE ahead = ?1 OR behind = ?1
             ORDER BY day DESC, ahead, behind LIMIT ?2",
            (number, limit),
        )
    }
}

impl Group<'_> {
    /// What is known of a day.
    pub(super) fn clock_gaps_on(&self, day: ServiceDate) -> Result<Vec<ClockGap>, StoreError> {
        gaps(&self.writer, "SELECT gap FROM clock_gaps WHERE day = ?1", [day.0])
    }

    pub(super) fn clocks(&self, booking: &Booking) -> Result<(), StoreError> {
        for (pair, gap) in &booking.clock_gaps {
            // A record that no card could hold is proven by none.
            let Some(bytes) = gap.to_bytes() else { continue };
            self.writer
                .prepare_cached(
                    "INSERT INTO clock_gaps (day, ahead, behind, gap) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT (day, ahead, behind) DO UPDATE SET gap = excluded.gap",
                )
                .and_then(|mut statement| {
                    let (ahead, behind) = (pair.ahead.number(), pair.behind.number());
                    statement.execute(params![pair.day.0, ahead, behind, bytes])
                })
                .map_err(StoreError::write(WHAT))?;
        }
        Ok(())
    }
}

fn gaps(
    connection: &Connection,
    sql: &'static str,
    of: impl rusqlite::Params,
) -> Result<Vec<ClockGap>, StoreError> {
    let failed = || StoreError::read(WHAT);
    let mut statement = connection.prepare_cached(sql).map_err(failed())?;
    let rows = statement
        .query_map(of, |row: &Row<'_>| row.get::<_, [u8; ClockGap::LEN]>(0))
        .map_err(failed())?;
    rows.map(|bytes| {
        ClockGap::from_bytes(&bytes.map_err(failed())?).ok_or_else(|| StoreError::damaged(WHAT))
    })
    .collect()
}
