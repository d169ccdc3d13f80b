//! The hotlist's cases, its journal, its breaker and its lists.
//!
//! Invariants: the journal is only added to, and each row's hash covers the row before; a case
//! stands where the journal brings it; a list is made in the transaction that puts its cases into
//! force, under a version above every one before it.

use std::sync::MutexGuard;

use blocking::{Case, CaseId, Cause, Decided, Trip};
use lists::Hotlist;
use model::{CardId, Timestamp, ValidatorId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Store, StoreError,
    cases::{CASE, CaseFilter, CaseGroup, cases, grade_code, group_of, read_cases, standing_code},
    codes::{card_of, sql_card, sql_time, time, unsigned},
    decision_journal::DecisionJournal,
};
use crate::hotlist::{HotlistError, HotlistEvent};

const JOURNAL: DecisionJournal =
    DecisionJournal { table: "hotlist_journal", name: "the hotlist's journal" };

/// Versions that are kept with their content: what a validator that missed some is brought up from.
const CONTENTS_KEPT: i64 = 8;

/// The breaker, while it is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenBreaker {
    /// Since when.
    pub since: Timestamp,
    /// Why.
    pub trip: Trip,
}

/// A version of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListMade {
    /// Which.
    pub version: u64,
    /// When.
    pub made_at: Timestamp,
    /// Cards in it.
    pub cards: u64,
}

/// An open transaction on the hotlist. Rolled back unless committed.
pub struct HotlistBook<'a> {
    writer: MutexGuard<'a, Connection>,
    at: Timestamp,
    done: bool,
}

impl Store {
    /// Begins a change of the hotlist.
    pub fn begin_hotlist(&self, at: Timestamp) -> Result<HotlistBook<'_>, StoreError> {
        let writer = self.writer();
        writer.execute_batch("BEGIN IMMEDIATE").map_err(StoreError::write("the hotlist"))?;
        Ok(HotlistBook { writer, at, done: false })
    }

    /// Cases in the order of their numbers, at most `limit`.
    pub fn hotlist_cases(&self, of: &CaseFilter, limit: u32) -> Result<Vec<Case>, StoreError> {
        cases(&*self.reader()?, of, limit)
    }

    /// How many cases stand where, by cause and validator.
    pub fn hotlist_groups(&self) -> Result<Vec<CaseGroup>, StoreError> {
        let failed = || StoreError::read("the hotlist");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT standing, cause, validator, count(*), min(proposed_at)
                 FROM hotlist_cases WHERE standing <= 4 GROUP BY standing, cause, validator",
            )
            .map_err(failed())?;
        let rows = statement.query_map([], |row| Ok(group_of(row))).map_err(failed())?;
        rows.map(|row| row.map_err(failed())?).collect()
    }

    /// The breaker; `None` while it is closed.
    pub fn hotlist_breaker(&self) -> Result<Option<OpenBreaker>, StoreError> {
        breaker(&*self.reader()?)
    }

    /// The newest version of the list.
    pub fn newest_hotlist(&self) -> Result<Option<ListMade>, StoreError> {
        newest(&*self.reader()?)
    }

    /// When the first list after `version` was made: since when who has that one is behind.
    pub fn hotlist_after(&self, version: u64) -> Result<Option<Timestamp>, StoreError> {
        self.reader()?
            .prepare_cached("SELECT made_at FROM hotlists WHERE version > ?1 ORDER BY version")
            .and_then(|mut statement| {
                let version = sql(version);
                statement.query_row([version], |row| row.get(0).map(time)).optional()
            })
            .map_err(StoreError::read("the hotlist's versions"))
    }

    /// The lists that are kept with their content, newest first.
    pub fn kept_hotlists(&self) -> Result<Vec<(u64, Vec<u8>)>, StoreError> {
        let failed = || StoreError::read("the hotlist");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT version, content FROM hotlists WHERE content IS NOT NULL
                 ORDER BY version DESC",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| Ok((unsigned(row.get(0)?), row.get(1)?)))
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// The journal from its first row. A row that is not what was written is named.
    pub fn hotlist_journal(&self) -> Result<Vec<(Timestamp, HotlistEvent)>, StoreError> {
        JOURNAL.read(&*self.reader()?)
    }
}

impl HotlistBook<'_> {
    /// When this is.
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Cases in the order of their numbers.
    pub fn cases(&self, of: &CaseFilter) -> Result<Vec<Case>, StoreError> {
        cases(&self.writer, of, u32::MAX)
    }

    /// The number of the next case.
    pub fn next_case(&self) -> Result<u64, StoreError> {
        self.number("SELECT coalesce(max(id), 0) + 1 FROM hotlist_cases", [])
    }

    /// Whether something may still come of a case of this card and cause.
    pub fn is_open(&self, card: CardId, cause: Cause) -> Result<bool, StoreError> {
        let sql = "SELECT id FROM hotlist_cases WHERE card = ?1 AND cause = ?2 AND standing <= 4";
        Ok(!self.ids(sql, params![sql_card(card), cause.word()])?.is_empty())
    }

    /// Open cases whose time is over.
    pub fn over(&self) -> Result<Vec<CaseId>, StoreError> {
        self.ids(
            "SELECT id FROM hotlist_cases WHERE expires <= ?1 AND standing <= 4 ORDER BY id",
            [sql_time(self.at)],
        )
    }

    /// Cases that went into force since then and that no second person has confirmed.
    pub fn additions_since(&self, since: Timestamp) -> Result<u64, StoreError> {
        self.number(
            "SELECT count(DISTINCT card) FROM hotlist_cases
             WHERE in_force_at > ?1 AND confirmed_by IS NULL",
            [sql_time(since)],
        )
    }

    /// Cards of which a tap has arrived since then.
    pub fn active_cards(&self, since: Timestamp) -> Result<u64, StoreError> {
        // Taps are numbered in the order of receipt.
        self.number(
            "SELECT count(*) FROM cards WHERE last_tap >= (
                 SELECT id FROM taps WHERE received_at >= ?1 ORDER BY received_at LIMIT 1)",
            [sql_time(since)],
        )
    }

    /// The breaker; `None` while it is closed.
    pub fn breaker(&self) -> Result<Option<OpenBreaker>, StoreError> {
        breaker(&self.writer)
    }

    /// Cards whose cases ended since the newest list was made.
    pub fn leaving(&self) -> Result<Vec<CardId>, StoreError> {
        let sql = "SELECT DISTINCT card FROM hotlist_cases
                   WHERE version IS NOT NULL AND standing >= 7 AND gone IS NULL";
        let failed = || StoreError::read("the hotlist");
        let mut statement = self.writer.prepare_cached(sql).map_err(failed())?;
        let rows = statement.query_map([], |row| row.get(0).map(card_of)).map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// The newest version of the list.
    pub fn newest_made(&self) -> Result<Option<ListMade>, StoreError> {
        newest(&self.writer)
    }

    /// What is in the newest list; nothing before the first.
    pub fn newest(&self, made: Option<ListMade>) -> Result<Hotlist, StoreError> {
        let Some(made) = made else { return Ok(Hotlist::default()) };
        let content: Vec<u8> = self
            .writer
            .query_row("SELECT content FROM hotlists ORDER BY version DESC LIMIT 1", [], |row| {
                row.get(0)
            })
            .map_err(StoreError::read("the hotlist"))?;
        Hotlist::parse(content)
            .map_err(|error| StoreError::damaged(format!("hotlist {}: {error}", made.version)))
    }

    /// Keeps a list; whatever ended before it is gone from it.
    pub fn keep(&self, version: u64, list: &Hotlist) -> Result<(), StoreError> {
        let write = || -> Result<(), rusqlite::Error> {
            let version = sql(version);
            self.writer.execute(
                "INSERT INTO hotlists (version, made_at, cards, content) VALUES (?1, ?2, ?3, ?4)",
                params![version, sql_time(self.at), sql(list.len() as u64), list.content()],
            )?;
            self.writer.execute(
                "UPDATE hotlist_cases SET gone = ?1
                 WHERE version IS NOT NULL AND standing >= 7 AND gone IS NULL",
                [version],
            )?;
            self.writer.execute(
                "UPDATE hotlists SET content = NULL WHERE content IS NOT NULL AND version <= (
                     SELECT version FROM hotlists ORDER BY version DESC LIMIT 1 OFFSET ?1)",
                [CONTENTS_KEPT],
            )?;
            Ok(())
        };
        write().map_err(StoreError::write("a hotlist"))
    }

    /// Writes an event into the journal and moves what it moves.
    pub fn book(&self, event: &HotlistEvent) -> Result<(), HotlistError> {
        let begun = event.begun(self.at).ok_or_else(|| {
            StoreError::damaged("a proposal of blocking that does not read".to_owned())
        })?;
        for case in &begun {
            self.insert(case)?;
        }
        for (first, last) in event.cases() {
            for mut case in self.range(*first, *last)? {
                event.apply(&mut case, self.at)?;
                self.update(&case)?;
            }
        }
        match event {
            HotlistEvent::Tripped { waiting, recent, bound } => self.write(
                "INSERT INTO hotlist_breaker (id, since, waiting, recent, bound)
                 VALUES (1, ?1, ?2, ?3, ?4)",
                params![sql_time(self.at), sql(*waiting), sql(*recent), sql(*bound)],
            )?,
            HotlistEvent::Closed {} => self.write("DELETE FROM hotlist_breaker", [])?,
            HotlistEvent::Proposed { .. }
            | HotlistEvent::Approved { .. }
            | HotlistEvent::Confirmed { .. }
            | HotlistEvent::Rejected { .. }
            | HotlistEvent::Withdrawn { .. }
            | HotlistEvent::Expired { .. }
            | HotlistEvent::Unblocked { .. }
            | HotlistEvent::Listed { .. } => {}
        }
        Ok(JOURNAL.add(&self.writer, self.at, event)?)
    }

    /// Makes it all durable.
    pub fn commit(mut self) -> Result<(), StoreError> {
        self.writer.execute_batch("COMMIT").map_err(StoreError::write("the hotlist"))?;
        self.done = true;
        Ok(())
    }

    /// Asks for numbers of cases.
    pub(crate) fn ids(
        &self,
        sql: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Vec<CaseId>, StoreError> {
        let failed = || StoreError::read("the hotlist");
        let mut statement = self.writer.prepare_cached(sql).map_err(failed())?;
        let rows = statement
            .query_map(parameters, |row| row.get(0).map(|id| CaseId(unsigned(id))))
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    fn number(&self, query: &str, parameters: impl rusqlite::Params) -> Result<u64, StoreError> {
        self.writer
            .prepare_cached(query)
            .and_then(|mut statement| statement.query_row(parameters, |row| row.get(0)))
            .map(unsigned)
            .map_err(StoreError::read("the hotlist"))
    }

    fn write(&self, sql: &str, parameters: impl rusqlite::Params) -> Result<(), StoreError> {
        self.writer
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(parameters))
            .map(|_| ())
            .map_err(StoreError::write("the hotlist"))
    }

    fn range(&self, first: u64, last: u64) -> Result<Vec<Case>, StoreError> {
        let ends = [first, last].map(sql);
        let sql = format!("SELECT {CASE} FROM hotlist_cases WHERE id BETWEEN ?1 AND ?2");
        read_cases(&self.writer, &sql, &ends)
    }

    fn insert(&self, case: &Case) -> Result<(), StoreError> {
        self.write(
            "INSERT INTO hotlist_cases (id, card, grade, cause, validator, proposer, proposed_at,
                 reason, evidence, expires, standing)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, 1)",
            params![
                sql(case.id.0),
                sql_card(case.card),
                grade_code(case.grade),
                case.cause.word(),
                case.validator.map(ValidatorId::number),
                case.proposer,
                sql_time(case.proposed_at),
                case.reason,
                serde_json::to_string(&case.evidence).expect("numbers become JSON"),
                case.expires.map(sql_time),
            ],
        )
    }

    fn update(&self, case: &Case) -> Result<(), StoreError> {
        let (approved_by, approved_at) = columns(case.approved.as_ref());
        let (confirmed_by, confirmed_at) = columns(case.confirmed.as_ref());
        let (ended_by, ended_at) = columns(case.ended.as_ref().map(|(decided, _)| decided));
        self.write(
            "UPDATE hotlist_cases SET standing = ?2, approved_by = ?3, approved_at = ?4,
                 confirmed_by = ?5, confirmed_at = ?6, version = ?7, in_force_at = ?8,
                 ended_by = ?9, ended_at = ?10, ended_why = ?11
             WHERE id = ?1",
            params![
                sql(case.id.0),
                standing_code(case.standing),
                approved_by,
                approved_at,
                confirmed_by,
                confirmed_at,
                case.in_force.map(|(version, _)| sql(version)),
                case.in_force.map(|(_, at)| sql_time(at)),
                ended_by,
                ended_at,
                case.ended.as_ref().map(|(_, why)| why),
            ],
        )
    }

    /// The connection, for what the rules look through.
    pub(super) fn connection(&self) -> &Connection {
        &self.writer
    }
}

impl Drop for HotlistBook<'_> {
    fn drop(&mut self) {
        // A transaction that the database has ended by itself needs no end.
        if !self.done && !self.writer.is_autocommit() {
            let _ = self.writer.execute_batch("ROLLBACK");
        }
    }
}

fn columns(decided: Option<&Decided>) -> (Option<&str>, Option<i64>) {
    (decided.map(|decided| decided.by.as_str()), decided.map(|decided| sql_time(decided.at)))
}

fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn breaker(connection: &Connection) -> Result<Option<OpenBreaker>, StoreError> {
    connection
        .prepare_cached("SELECT since, waiting, recent, bound FROM hotlist_breaker")
        .and_then(|mut statement| {
            let open = |row: &Row<'_>| {
                Ok(OpenBreaker {
                    since: time(row.get(0)?),
                    trip: Trip {
                        waiting: unsigned(row.get(1)?),
                        recent: unsigned(row.get(2)?),
                        bound: blocking::Bound(unsigned(row.get(3)?)),
                    },
                })
            };
            statement.query_row([], open).optional()
        })
        .map_err(StoreError::read("the breaker of the hotlist"))
}

fn newest(connection: &Connection) -> Result<Option<ListMade>, StoreError> {
    connection
        .prepare_cached(
            "SELECT version, made_at, cards FROM hotlists ORDER BY version DESC LIMIT 1",
        )
        .and_then(|mut statement| {
            let made = |row: &Row<'_>| {
                Ok(ListMade {
                    version: unsigned(row.get(0)?),
                    made_at: time(row.get(1)?),
                    cards: unsigned(row.get(2)?),
                })
            };
            statement.query_row([], made).optional()
        })
        .map_err(StoreError::read("the hotlist's versions"))
}
