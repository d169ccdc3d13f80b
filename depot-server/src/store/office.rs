//! Decisions about money, and what follows from them: what is owed to operators, and which holds
//! nobody waits for any more (ADR-0023).
//!
//! Invariant: the journal is only added to, and each row's hash covers the row before.

use std::collections::BTreeMap;

use clearing::{ExceptionId, ExceptionKind, TapRef, in_doubt_item};
use model::{CardId, Ctr, Currency, ServiceDate, Timestamp};
use rusqlite::{OptionalExtension, params};

use super::{
    SettledRow, Store, StoreError,
    codes::{card_of, purse_of, sql_card, sql_time, time, unsigned},
    event_journal::{EventJournal, EventRow},
    evidence,
    group::Group,
};
use crate::intake::{
    office::OfficeEvent,
    stored::{Booking, Decided},
};

/// The journal of decisions.
const JOURNAL: EventJournal =
    EventJournal { table: "office_journal", name: "the journal of decisions" };

/// A tap of which nobody knows whether it happened, and since when that is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenDoubt {
    /// Whose.
    pub card: CardId,
    /// Which entry.
    pub tap: TapRef,
    /// Since when the books know of it, by the depot's clock.
    pub since: Timestamp,
    /// What it holds, minor units of the card's purse.
    pub amount: i64,
}

impl Store {
    /// The journal of decisions from its first row. A row that is not what was booked is named.
    pub(crate) fn office_journal(&self) -> Result<Vec<EventRow<OfficeEvent>>, StoreError> {
        JOURNAL.read(&*self.reader()?)
    }

    /// Taps that nothing has decided, the longest known first.
    pub fn open_doubts(&self) -> Result<Vec<OpenDoubt>, StoreError> {
        let failed = || StoreError::read("taps in doubt");
        let items: BTreeMap<[u8; 16], (CardId, Timestamp)> = self
            .reader()?
            .prepare_cached(
                "SELECT ref, card, opened_at FROM exceptions
                 WHERE kind = 'in-doubt' AND closed_at IS NULL AND card IS NOT NULL",
            )
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| {
                    Ok((row.get(0)?, (card_of(row.get(1)?), time(row.get(2)?))))
                };
                statement.query_map([], read)?.collect()
            })
            .map_err(failed())?;
        let cards: std::collections::BTreeSet<_> = items.values().map(|(card, _)| *card).collect();
        let mut open = Vec::new();
        for card in cards {
            let Some((state, _)) = self.card_state(card)? else { continue };
            for doubt in state.doubts() {
                let ExceptionId(item) = in_doubt_item(card, doubt.tap);
                if let Some((_, since)) = items.get(&item) {
                    let amount = doubt.after.delta().abs();
                    open.push(OpenDoubt { card, tap: doubt.tap, since: *since, amount });
                }
            }
        }
        open.sort_by_key(|doubt| (doubt.since, doubt.tap));
        Ok(open)
    }

    /// Whether what a settled day says is in the ledger.
    pub(crate) fn is_posted(&self, day: ServiceDate) -> Result<bool, StoreError> {
        self.reader()?
            .prepare_cached("SELECT posted FROM settlements WHERE day = ?1")
            .and_then(|mut statement| statement.query_row([day.0], |row| row.get(0)).optional())
            .map(|posted| posted.unwrap_or(false))
            .map_err(StoreError::read("whether a settled day is posted"))
    }
}

impl Group<'_> {
    /// Keeps what a day is settled with, posts it, and commits. Once: who settled it first stays.
    pub(crate) fn settle_day(
        self,
        day: ServiceDate,
        rules: &str,
        rows: &[SettledRow],
        booking: &Booking,
    ) -> Result<(), StoreError> {
        let failed = || StoreError::write("a settled day");
        let known: Option<bool> = self
            .writer
            .query_row("SELECT posted FROM settlements WHERE day = ?1", [day.0], |row| row.get(0))
            .optional()
            .map_err(failed())?;
        if known == Some(true) {
            return Ok(());
        }
        self.writer
            .execute(
                "INSERT INTO settlements (day, rules, settled_at, posted) VALUES (?1, ?2, ?3, 1)
                 ON CONFLICT (day) DO UPDATE SET posted = 1",
                params![day.0, rules, sql_time(booking.at)],
            )
            .map_err(failed())?;
        if known.is_none() {
            self.settled_rows(day, rows)?;
        }
        self.commit(booking).map(|_| ())
    }

    /// The journal's part for decisions. Written after the batches and the desk's journal of the
    /// same group.
    pub(super) fn office(&self, booking: &Booking) -> Result<(), StoreError> {
        self.decisions(booking)?;
        self.append_events(JOURNAL, &booking.office, booking.at)
    }
}

impl Group<'_> {
    /// The number of the next decision.
    pub(crate) fn next_decision(&self) -> Result<u64, StoreError> {
        self.end_of("office_journal").map(|(id, _)| unsigned(id) + 1)
    }

    /// A work item by its number on the screens.
    pub(crate) fn work_item(&self, number: u64) -> Result<Option<WorkItem>, StoreError> {
        let failed = || StoreError::read("a work item");
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let found: Option<(String, Option<u16>, String, WorkItem)> = self
            .writer
            .prepare_cached(
                "SELECT ref, kind, card, amount, currency, opened_at, close_reason, evidence,
                 closed_at IS NOT NULL FROM exceptions WHERE id = ?1",
            )
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| {
                    let reason: Option<String> = row.get(6)?;
                    let item = WorkItem {
                        id: ExceptionId(row.get(0)?),
                        kind: ExceptionKind::CardGap,
                        card: row.get::<_, Option<i64>>(2)?.map(card_of),
                        amount: row.get(3)?,
                        currency: None,
                        opened_at: time(row.get(5)?),
                        closed: row.get::<_, bool>(8)?.then(|| reason.unwrap_or_default()),
                        ctr: None,
                    };
                    Ok((row.get(1)?, row.get(4)?, row.get(7)?, item))
                };
                statement.query_row([number], read).optional()
            })
            .map_err(failed())?;
        let Some((word, currency, pieces, item)) = found else { return Ok(None) };
        let kind = ExceptionKind::from_word(&word)
            .ok_or_else(|| StoreError::damaged(format!("exception of kind {word:?}")))?;
        let mut records =
            evidence::from_json(&pieces)?.into_iter().filter_map(|piece| piece.record);
        let ctr = records.next_back().map(|record| record.ctr);
        Ok(Some(WorkItem { kind, currency: purse_of(currency)?, ctr, ..item }))
    }

    /// Owners, closings and what is owed besides.
    fn decisions(&self, booking: &Booking) -> Result<(), StoreError> {
        let failed = || StoreError::write("what was decided about a work item");
        for Decided { item, owner, closed } in &booking.decided {
            if let Some(owner) = owner {
                self.writer
                    .execute(
                        "UPDATE exceptions SET owner = ?2 WHERE ref = ?1",
                        params![item.0, owner],
                    )
                    .map_err(failed())?;
            }
            if let Some(reason) = closed {
                self.writer
                    .execute(
                        "UPDATE exceptions SET closed_at = ?2, close_reason = ?3
                         WHERE ref = ?1 AND closed_at IS NULL",
                        params![item.0, sql_time(booking.at), reason],
                    )
                    .map_err(failed())?;
            }
        }
        for (card, day, amount) in &booking.grants {
            let card = sql_card(*card);
            self.writer
                .execute(
                    "INSERT INTO due_grants (card, day, amount) VALUES (?1, ?2, ?3)",
                    params![card, day.0, amount],
                )
                .and_then(|_| {
                    self.writer.execute(
                        "INSERT INTO due_cards (card, queued) VALUES (?1, 1)
                         ON CONFLICT (card) DO UPDATE SET queued = 1",
                        [card],
                    )
                })
                .map_err(failed())?;
        }
        Ok(())
    }

    pub(super) fn grants_of(&self, card: CardId) -> Result<BTreeMap<ServiceDate, i64>, StoreError> {
        self.writer
            .prepare_cached("SELECT day, sum(amount) FROM due_grants WHERE card = ?1 GROUP BY day")
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| Ok((ServiceDate(row.get(0)?), row.get(1)?));
                statement.query_map([sql_card(card)], read)?.collect()
            })
            .map_err(StoreError::read("what people decided that a card is owed"))
    }
}

impl Store {
    /// Whether people ever decided that a card is owed something.
    pub(crate) fn has_grants(&self) -> Result<bool, StoreError> {
        self.reader()?
            .query_row("SELECT EXISTS (SELECT 1 FROM due_grants)", [], |row| row.get(0))
            .map_err(StoreError::read("what people decided that cards are owed"))
    }
}

/// A work item, as far as a decision about it needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WorkItem {
    pub(crate) id: ExceptionId,
    pub(crate) kind: ExceptionKind,
    pub(crate) card: Option<CardId>,
    /// Minor units, absolute.
    pub(crate) amount: Option<i64>,
    pub(crate) currency: Option<Currency>,
    pub(crate) opened_at: Timestamp,
    /// How it ended; `None` while open.
    pub(crate) closed: Option<String>,
    /// Of the newest record among its evidence.
    pub(crate) ctr: Option<Ctr>,
}
