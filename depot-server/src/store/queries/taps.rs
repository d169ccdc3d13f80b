//! Lists of taps and their sums.

use std::collections::BTreeMap;

use model::{Currency, Epoch, Money, PlaceIx, Refusal, RouteIx, TariffVersion, Timestamp};
use rusqlite::{Connection, Row, ToSql, params_from_iter};

use super::ReadModel;
use crate::{
    http::views::{Minute, Outcome, Page, TapFilter, TapRow, TapSums},
    store::{
        Store, StoreError,
        codes::{
            card_of, clock_of, gate_of, outcome_code, outcome_of, purse_of, role_of, seq, sql_time,
            time, unsigned, validator,
        },
    },
};

/// The columns that [`Store::tap_row`] reads, in its order.
pub(super) const COLUMNS: &str = "taps.id, taps.validator, taps.epoch, taps.seq, taps.tapped_at, \
    taps.clock, taps.received_at, taps.card, taps.role, taps.place, taps.route, taps.outcome, \
    taps.detail, taps.amount, taps.balance, taps.duration_ms, taps.tariff, taps.purse";

/// Rows read for one list at most.
pub(super) const LIMIT_MAX: u32 = 1000;

/// A condition in SQL with its values.
#[derive(Default)]
pub(super) struct Condition {
    pub(super) sql: String,
    pub(super) values: Vec<Box<dyn ToSql>>,
}

impl Condition {
    pub(super) fn and(&mut self, sql: &str, value: impl ToSql + 'static) {
        self.values.push(Box::new(value));
        self.and_also(&sql.replace('?', &format!("?{}", self.values.len())));
    }

    pub(super) fn and_also(&mut self, sql: &str) {
        self.sql.push_str(if self.sql.is_empty() { " WHERE " } else { " AND " });
        self.sql.push_str(sql);
    }
}

/// The one condition of the list and of its sums.
fn condition(filter: &TapFilter) -> Condition {
    let TapFilter { validator, route, outcome, reason, received_from, received_before } = filter;
    let mut c = Condition::default();
    if let Some(validator) = validator {
        c.and("taps.validator = ?", validator.number());
    }
    if let Some(route) = route {
        c.and("taps.route = ?", route.0);
    }
    if let Some(outcome) = outcome {
        c.and("taps.outcome = ?", outcome_code(*outcome));
        if *outcome != Outcome::Committed {
            // Tells SQLite that the index of what is not committed serves.
            c.and_also("taps.outcome <> 0");
        }
    }
    if let Some(reason) = reason {
        c.and_also("taps.outcome = 2 AND taps.outcome <> 0");
        c.and("taps.detail = ?", reason.assist_code());
    }
    if let Some(from) = received_from {
        c.and("taps.received_at >= ?", sql_time(*from));
    }
    if let Some(before) = received_before {
        c.and("taps.received_at < ?", sql_time(*before));
    }
    c
}

impl ReadModel {
    pub(super) fn list_taps(
        &self,
        filter: &TapFilter,
        page: Page,
    ) -> Result<Vec<TapRow>, StoreError> {
        let mut c = condition(filter);
        if let Some(before) = page.before {
            c.and("taps.id < ?", i64::try_from(before).unwrap_or(i64::MAX));
        }
        let limit = page.limit.min(LIMIT_MAX);
        let sql =
            format!("SELECT {COLUMNS} FROM taps{} ORDER BY taps.id DESC LIMIT {limit}", c.sql);
        self.store.tap_rows(&sql, &c.values, self.currency())
    }

    pub(super) fn sum_taps(&self, filter: &TapFilter) -> Result<TapSums, StoreError> {
        let c = condition(filter);
        let reader = self.store.reader()?;
        let failed = || StoreError::read("sums of taps");
        let mut sums = TapSums::default();
        // The tariff's currency first, and always.
        let mut charged = vec![self.money(0)];
        let sql = format!(
            "SELECT outcome, CASE WHEN outcome IN (2, 6) THEN detail END, count(*),
                    sum(amount), purse
             FROM taps{} GROUP BY 1, 2, 5",
            c.sql
        );
        let mut statement = reader.prepare_cached(&sql).map_err(failed())?;
        let mut rows = statement.query(params_from_iter(&c.values)).map_err(failed())?;
        while let Some(row) = rows.next().map_err(failed())? {
            let read = || -> rusqlite::Result<(i64, Option<i64>, i64, i64)> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            };
            let (outcome, detail, count, amount) = read().map_err(failed())?;
            let purse = row.get(4).map_err(failed())?;
            let outcome = outcome_of(outcome)?;
            *sums.outcomes.entry(outcome).or_default() += unsigned(count);
            if outcome == Outcome::Refused {
                *sums.reasons.entry(refusal(detail)?).or_default() += unsigned(count);
            }
            if outcome == Outcome::Gate {
                *sums.gate.entry(gate_of(detail)?).or_default() += unsigned(count);
            }
            let amount = Money::new(amount, purse_of(purse)?.unwrap_or(self.currency()));
            let same = charged.iter_mut().find(|sum| sum.currency() == amount.currency());
            match same {
                Some(sum) => *sum = sum.checked_add(amount).unwrap_or(*sum),
                None => charged.push(amount),
            }
        }
        let tariffs = self.currency();
        charged.retain(|sum| sum.currency() == tariffs || sum.minor() != 0);
        charged[1..].sort_by_key(|sum| sum.currency());
        sums.charged = charged;
        sums.duration_p95_ms = duration_p95(&c, &reader)?;
        Ok(sums)
    }

    pub(super) fn count_minutes(
        &self,
        from: Timestamp,
        minutes: u32,
    ) -> Result<Vec<Minute>, StoreError> {
        let failed = || StoreError::read("taps by minute");
        let first = sql_time(from) / 60_000;
        let mut all = vec![Minute::default(); minutes as usize];
        let reader = self.store.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT minute - ?1, accepted, refused FROM minutes
                 WHERE minute >= ?1 AND minute < ?1 + ?2",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([first, i64::from(minutes)], |row| {
                let (accepted, refused) = (unsigned(row.get(1)?), unsigned(row.get(2)?));
                Ok((row.get::<_, u32>(0)?, Minute { accepted, refused }))
            })
            .map_err(failed())?;
        for row in rows {
            let (ix, minute) = row.map_err(failed())?;
            if let Some(slot) = all.get_mut(ix as usize) {
                *slot = minute;
            }
        }
        Ok(all)
    }
}

fn duration_p95(c: &Condition, reader: &Connection) -> Result<Option<u32>, StoreError> {
    let failed = || StoreError::read("durations of taps");
    // What a gate tells takes no time.
    let sql = format!(
        "SELECT duration_ms, count(*) FROM taps{} {} taps.outcome <> 6 GROUP BY 1 ORDER BY 1",
        c.sql,
        if c.sql.is_empty() { "WHERE" } else { "AND" }
    );
    let mut statement = reader.prepare_cached(&sql).map_err(failed())?;
    let rows = statement
        .query_map(params_from_iter(&c.values), |row| {
            Ok((row.get::<_, u32>(0)?, unsigned(row.get(1)?)))
        })
        .map_err(failed())?;
    let counts = rows.collect::<Result<BTreeMap<_, _>, _>>().map_err(failed())?;
    Ok(percentile_95(&counts))
}

impl Store {
    /// The newest taps from a number on, oldest first.
    pub(crate) fn taps_from(
        &self,
        first: i64,
        limit: u32,
        currency: Currency,
    ) -> Result<Vec<TapRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM taps WHERE taps.id >= ?1 ORDER BY taps.id DESC LIMIT {limit}"
        );
        let mut rows = self.tap_rows(&sql, &[Box::new(first)], currency)?;
        rows.reverse();
        Ok(rows)
    }

    /// A query whose rows begin with [`COLUMNS`].
    pub(super) fn tap_rows(
        &self,
        sql: &str,
        values: &[Box<dyn ToSql>],
        currency: Currency,
    ) -> Result<Vec<TapRow>, StoreError> {
        let failed = || StoreError::read("taps");
        let reader = self.reader()?;
        let mut statement = reader.prepare_cached(sql).map_err(failed())?;
        let rows = statement
            .query_map(params_from_iter(values), |row| Ok(self.tap_row(row, currency)))
            .map_err(failed())?;
        rows.map(|row| row.map_err(failed())?).collect()
    }

    fn tap_row(&self, row: &Row<'_>, currency: Currency) -> Result<TapRow, StoreError> {
        let failed = || StoreError::read("a tap");
        let outcome = outcome_of(row.get(11).map_err(failed())?)?;
        let detail: Option<i64> = row.get(12).map_err(failed())?;
        let reason = (outcome == Outcome::Refused).then(|| refusal(detail)).transpose()?;
        let gate = (outcome == Outcome::Gate).then(|| gate_of(detail)).transpose()?;
        let by = validator(row.get(1).map_err(failed())?)?;
        let clock = clock_of(row.get(5).map_err(failed())?)?;
        let role = role_of(row.get(8).map_err(failed())?)?;
        let purse = purse_of(row.get(17).map_err(failed())?)?;
        let money = |minor| Money::new(minor, purse.unwrap_or(currency));
        let read = || -> rusqlite::Result<TapRow> {
            let card: Option<i64> = row.get(7)?;
            Ok(TapRow {
                no: unsigned(row.get(0)?),
                validator: by,
                epoch: Epoch(row.get(2)?),
                seq: seq(row.get(3)?),
                tapped_at: time(row.get(4)?),
                clock,
                received_at: time(row.get(6)?),
                card: card.map(|card| self.handles.card_ref(card_of(card))),
                role,
                place: PlaceIx(row.get(9)?),
                route: row.get::<_, Option<u16>>(10)?.map(RouteIx),
                outcome,
                reason,
                gate,
                charged: money(row.get(13)?),
                balance: row.get::<_, Option<i64>>(14)?.map(money),
                duration_ms: row.get(15)?,
                tariff: TariffVersion(row.get(16)?),
            })
        };
        read().map_err(failed())
    }
}

fn refusal(detail: Option<i64>) -> Result<Refusal, StoreError> {
    detail
        .and_then(|code| u8::try_from(code).ok())
        .and_then(Refusal::from_assist_code)
        .ok_or_else(|| StoreError::damaged("a refused tap without a known reason"))
}

/// The smallest value that at least 95 of 100 do not exceed.
pub(super) fn percentile_95(counts: &BTreeMap<u32, u64>) -> Option<u32> {
    let total: u64 = counts.values().sum();
    let mut below = 0;
    counts.iter().find_map(|(value, count)| {
        below += count;
        (below * 100 >= total * 95).then_some(*value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_95th_percentile_is_a_value_that_occurred() {
        let of = |values: &[u32]| {
            let mut counts = BTreeMap::new();
            for value in values {
                *counts.entry(*value).or_default() += 1;
            }
            percentile_95(&counts)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[7]), Some(7));
        assert_eq!(of(&(1..=100).collect::<Vec<_>>()), Some(95));
        assert_eq!(of(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 900]), Some(900));
    }
}
