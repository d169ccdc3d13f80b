//! What each validator recorded, hour by hour (OPS-1). All of it follows from the taps.

use std::{collections::BTreeMap, fmt::Write as _, sync::LazyLock};

use model::{TapEvent, TapRecord, Timestamp, ValidatorId};
use rusqlite::{OptionalExtension, Row, params, params_from_iter};
use work::HOURS_OF_DAY;

use super::{
    Store, StoreError,
    codes::{sql_time, unsigned, validator},
    group::Group,
};
use crate::intake::{is_ahead, stored::Booking};

const WHAT: &str = "the work of validators";
pub(super) const DAY_MS: u64 = 86_400_000;
const HOUR_MS: u64 = work::HOUR_MS;

/// Taps in each hour of a day (UTC).
pub(crate) type Taps = [u32; HOURS_OF_DAY];

static HOURS: LazyLock<String> = LazyLock::new(|| each(|hour| format!("h{hour}")));
static ADD: LazyLock<String> = LazyLock::new(|| {
    let values = each(|hour| format!("?{}", hour + 3));
    let added = each(|hour| format!("h{hour} = h{hour} + excluded.h{hour}"));
    format!(
        "INSERT INTO work (day, validator, {}) VALUES (?1, ?2, {values})
         ON CONFLICT (day, validator) DO UPDATE SET {added}",
        *HOURS
    )
});
/// The first day of a validator of which the taps say something else than what is kept.
static OTHER: LazyLock<String> = LazyLock::new(|| {
    let sums = each(|hour| format!("sum(at / {HOUR_MS} % 24 = {hour})"));
    format!(
        "WITH kept AS (SELECT day, validator, {hours} FROM work),
              made AS (
                  SELECT at / {DAY_MS}, validator, {sums} FROM (
                      SELECT validator, CASE WHEN clock >= 2 AND tapped_at <= received_at + 600000
                                             THEN tapped_at ELSE received_at END AS at
                      FROM taps WHERE outcome IN (0, 1, 2, 5))
                  GROUP BY 1, 2)
         SELECT day, validator FROM (
             SELECT * FROM (SELECT * FROM kept EXCEPT SELECT * FROM made)
             UNION ALL SELECT * FROM (SELECT * FROM made EXCEPT SELECT * FROM kept))
         LIMIT 1",
        hours = *HOURS
    )
});

fn each(part: impl Fn(usize) -> String) -> String {
    let mut text = String::new();
    for hour in 0..HOURS_OF_DAY {
        let comma = if hour == 0 { "" } else { ", " };
        let _ = write!(text, "{comma}{}", part(hour));
    }
    text
}

/// In which hour an entry counts, when it is the presentation of a card or a ticket.
fn counted(tap: &TapRecord, arrived: Timestamp) -> Option<Timestamp> {
    match tap.event {
        TapEvent::Committed { .. }
        | TapEvent::InDoubt { .. }
        | TapEvent::Refused { .. }
        | TapEvent::Ticket { .. } => {}
        TapEvent::Confirmed { .. } | TapEvent::Voided { .. } | TapEvent::Gate { .. } => {
            return None;
        }
    }
    let believed = tap.clock.is_set() && !is_ahead(tap, arrived);
    Some(if believed { tap.tapped_at } else { arrived })
}

const fn day_and_hour(at: Timestamp) -> (u64, usize) {
    (at.0 / DAY_MS, (at.0 % DAY_MS / HOUR_MS) as usize)
}

impl Group<'_> {
    /// Counts the entries of a booking.
    pub(super) fn work(&self, booking: &Booking) -> Result<(), StoreError> {
        let mut counts = BTreeMap::<(u64, ValidatorId), Taps>::new();
        for tap in booking.batches.iter().flat_map(|batch| &batch.taps) {
            let Some(at) = counted(&tap.record, booking.at) else { continue };
            let (day, hour) = day_and_hour(at);
            counts.entry((day, tap.record.validator)).or_default()[hour] += 1;
        }
        for ((day, validator), taps) in counts {
            let key = [sql_time(Timestamp(day)), i64::from(validator.number())];
            let values = key.into_iter().chain(taps.into_iter().map(i64::from));
            self.writer
                .prepare_cached(&ADD)
                .and_then(|mut statement| statement.execute(params_from_iter(values)))
                .map_err(StoreError::write(WHAT))?;
        }
        Ok(())
    }
}

impl Store {
    /// What every validator recorded on a day (since 1970, UTC), as far as it recorded anything.
    pub(super) fn work_on(&self, day: u64) -> Result<Vec<(ValidatorId, Taps)>, StoreError> {
        let failed = || StoreError::read(WHAT);
        let sql = format!("SELECT validator, {} FROM work WHERE day = ?1", *HOURS);
        let reader = self.reader()?;
        let mut statement = reader.prepare_cached(&sql).map_err(failed())?;
        let rows = statement
            .query_map([sql_time(Timestamp(day))], |row| Ok((row.get(0)?, taps(row, 1)?)))
            .map_err(failed())?;
        rows.map(|row| {
            let (number, taps) = row.map_err(failed())?;
            Ok((validator(number)?, taps))
        })
        .collect()
    }

    /// What one validator recorded on a day; `None` when it recorded nothing.
    pub(crate) fn work_of(&self, id: ValidatorId, day: u64) -> Result<Option<Taps>, StoreError> {
        let sql = format!("SELECT {} FROM work WHERE day = ?1 AND validator = ?2", *HOURS);
        self.reader()?
            .prepare_cached(&sql)
            .and_then(|mut statement| {
                let key = params![sql_time(Timestamp(day)), id.number()];
                statement.query_row(key, |row| taps(row, 0)).optional()
            })
            .map_err(StoreError::read(WHAT))
    }

    /// Who counts as connected.
    pub(super) fn connected(&self) -> Result<Vec<ValidatorId>, StoreError> {
        let failed = || StoreError::read("the links of the fleet");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT id FROM validators WHERE link = 2 ORDER BY id")
            .map_err(failed())?;
        let rows = statement.query_map([], |row| row.get(0)).map_err(failed())?;
        rows.map(|number| validator(number.map_err(failed())?)).collect()
    }

    /// A day and a validator whose taps make other counts than those that are kept.
    pub(crate) fn other_work(&self) -> Result<Option<(u64, ValidatorId)>, StoreError> {
        let found: Option<(i64, u32)> = self
            .reader()?
            .prepare_cached(&OTHER)
            .and_then(|mut statement| {
                statement.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })
            .map_err(StoreError::read(WHAT))?;
        found.map(|(day, number)| Ok((unsigned(day), validator(number)?))).transpose()
    }
}

fn taps(row: &Row<'_>, from: usize) -> rusqlite::Result<Taps> {
    let mut taps = [0; HOURS_OF_DAY];
    for (hour, taps) in taps.iter_mut().enumerate() {
        *taps = row.get(from + hour)?;
    }
    Ok(taps)
}
