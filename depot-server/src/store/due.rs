//! What cards are owed: the due journal, what is set apart of it, and which cards are to be worked
//! out again (ADR-0014).
//!
//! Invariants: a card is queued in the commit that brings something new of it, and leaves the queue
//! in the commit of the rows that follow from it, so no crash loses one; the journal is only added
//! to, and each row's hash covers the row before; what is set apart for a load is neither open nor
//! paid until the load's outcome is known.

use std::collections::BTreeMap;

use clearing::{
    Account, CardHistory, CardState, DayBooked, DueChange, DueOrder, DueRow, KnownRecord,
};
use ledger::AccountId;
use model::{CardId, ServiceDate, TariffVersion, Timestamp};
use rusqlite::{Connection, Row, params};
use sha2::{Digest, Sha256};

use super::{
    Store, StoreError,
    codes::{card_of, sql_card, sql_time, time, unsigned},
    group::{Group, journal_records, read_card_row},
    walk::walk,
};
use crate::intake::stored::Booking;

/// What a card is owed for one service day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwedDay {
    /// Which.
    pub day: ServiceDate,
    /// What the due journal says of it.
    pub booked: DayBooked,
    /// Set apart for loads whose outcome is not known yet, minor units.
    pub held: i64,
}

impl OwedDay {
    /// What can be put on the card now.
    pub const fn open(&self) -> i64 {
        let open = self.booked.open() - self.held;
        if open < 0 { 0 } else { open }
    }
}

impl Store {
    /// **What a card is owed now**, by service day, oldest first. The sum of [`OwedDay::open`] is
    /// what a load may put on it; a load sets it apart with `hold_due` in the transaction that
    /// keeps its intent, and `pay_due` of the intake's step pays it once the load is known to have
    /// happened.
    pub fn owed(&self, card: CardId) -> Result<Vec<OwedDay>, StoreError> {
        owed(&*self.reader()?, card)
    }

    /// Cards whose holders have something open, or set apart.
    pub fn owed_cards(&self) -> Result<Vec<CardId>, StoreError> {
        let failed = || StoreError::read("cards that are owed something");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT id FROM accounts WHERE id >= x'000E' AND id < x'000F'
                 AND credits_posted > debits_posted",
            )
            .map_err(failed())?;
        let rows = statement.query_map([], |row| row.get::<_, [u8; 16]>(0)).map_err(failed())?;
        let mut cards = Vec::new();
        for id in rows {
            let account = AccountId::from_bytes(id.map_err(failed())?);
            if let Some(Account::RiderDue(card)) = account.ok().and_then(|id| Account::parse(&id)) {
                cards.push(card);
            }
        }
        Ok(cards)
    }

    /// Cards of which something is new since their due was worked out.
    pub fn due_queue(&self, limit: usize) -> Result<Vec<CardId>, StoreError> {
        let failed = || StoreError::read("cards to be worked out");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT card FROM due_cards WHERE queued = 1 LIMIT ?1")
            .map_err(failed())?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let rows = statement.query_map([limit], |row| row.get(0).map(card_of)).map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Queues every card that was ever looked at, when other tariffs are in force than last time:
    /// a tap whose tariff was not known then has a price now.
    pub fn note_due_tariffs(
        &self,
        tariffs: impl Iterator<Item = TariffVersion>,
    ) -> Result<(), StoreError> {
        let failed = || StoreError::write("the tariffs that dues were worked out by");
        let versions: Vec<u8> = tariffs.flat_map(|version| version.0.to_be_bytes()).collect();
        let mut writer = self.writer();
        let transaction = writer.transaction().map_err(failed())?;
        let changed = transaction
            .execute(
                "INSERT INTO singles (name, value) VALUES ('due-tariffs', ?1)
                 ON CONFLICT (name) DO UPDATE SET value = excluded.value
                 WHERE value <> excluded.value",
                [versions],
            )
            .map_err(failed())?;
        if changed > 0 {
            transaction.execute("UPDATE due_cards SET queued = 1", []).map_err(failed())?;
        }
        transaction.commit().map_err(failed())
    }

    /// The due journal from the first row on, with each row's place and time. A row that is not
    /// what was booked is named.
    pub(crate) fn due_journal(&self) -> Result<Vec<(i64, Timestamp, DueRow)>, StoreError> {
        let failed = || StoreError::read("the due journal");
        let reader = self.reader()?;
        let sql = format!("SELECT {ROW}, after_batch, at, id, hash FROM due_journal ORDER BY id");
        let mut statement = reader.prepare(&sql).map_err(failed())?;
        let mut rows = statement.query([]).map_err(failed())?;
        let mut hash = [0; 32];
        let mut journal = Vec::new();
        while let Some(row) = rows.next().map_err(failed())? {
            let columns = Columns::read(row).map_err(failed())?;
            let (after_batch, at, id) = row
                .get(6)
                .and_then(|after| Ok((after, row.get(7)?, row.get::<_, i64>(8)?)))
                .map_err(failed())?;
            hash = columns.chained(hash, after_batch, at);
            if hash != row.get::<_, [u8; 32]>(9).map_err(failed())? {
                let what = format!("row {id} of the due journal was altered");
                return Err(StoreError::damaged(what));
            }
            journal.push((after_batch, time(at), columns.row()?));
        }
        Ok(journal)
    }
}

/// Sets `amount` of what the card is owed apart for a load that is about to begin, oldest day
/// first. Answers whether so much is open; without it nothing is written.
pub(super) fn hold_due(
    connection: &Connection,
    card: CardId,
    order: DueOrder,
    amount: i64,
) -> Result<bool, StoreError> {
    let days = owed(connection, card)?;
    if days.iter().map(OwedDay::open).sum::<i64>() < amount {
        return Ok(false);
    }
    let (payer, payment) = sql_order(order);
    let mut rest = amount;
    for day in &days {
        let part = day.open().min(rest);
        if part > 0 {
            connection
                .prepare_cached(
                    "INSERT INTO due_holds (payer, payment, card, day, amount)
                     VALUES (?1, ?2, ?3, ?4, ?5)",
                )
                .and_then(|mut s| {
                    s.execute(params![payer, payment, sql_card(card), day.day.0, part])
                })
                .map_err(StoreError::write("what is set apart for a load"))?;
            rest -= part;
        }
    }
    Ok(true)
}

/// The load did not happen: what was set apart for it is open again.
pub(super) fn release_due(connection: &Connection, order: DueOrder) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM due_holds WHERE payer = ?1 AND payment = ?2")
        .and_then(|mut statement| statement.execute(<[i64; 2]>::from(sql_order(order))))
        .map(|_| ())
        .map_err(StoreError::write("what is set apart for a load"))
}

pub(super) fn due_held(
    connection: &Connection,
    order: DueOrder,
) -> Result<Vec<(ServiceDate, i64)>, StoreError> {
    let failed = || StoreError::read("what is set apart for a load");
    let mut statement = connection
        .prepare_cached(
            "SELECT day, amount FROM due_holds WHERE payer = ?1 AND payment = ?2 ORDER BY day",
        )
        .map_err(failed())?;
    let rows = statement
        .query_map(<[i64; 2]>::from(sql_order(order)), |row| {
            Ok((ServiceDate(row.get(0)?), row.get(1)?))
        })
        .map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}

pub(super) fn due_days(
    connection: &Connection,
    card: CardId,
) -> Result<BTreeMap<ServiceDate, DayBooked>, StoreError> {
    let failed = || StoreError::read("what a card is owed");
    let sql = format!("SELECT {ROW} FROM due_journal WHERE card = ?1 ORDER BY id");
    let mut statement = connection.prepare_cached(&sql).map_err(failed())?;
    let mut rows = statement.query([sql_card(card)]).map_err(failed())?;
    let mut days = BTreeMap::<_, DayBooked>::new();
    while let Some(row) = rows.next().map_err(failed())? {
        let row = Columns::read(row).map_err(failed())?.row()?;
        let day = days.entry(row.day).or_default();
        *day = day.then(row.change);
    }
    Ok(days)
}

fn owed(connection: &Connection, card: CardId) -> Result<Vec<OwedDay>, StoreError> {
    let failed = || StoreError::read("what is set apart of a card's due");
    let mut held = BTreeMap::<ServiceDate, i64>::new();
    let mut statement = connection
        .prepare_cached("SELECT day, sum(amount) FROM due_holds WHERE card = ?1 GROUP BY day")
        .map_err(failed())?;
    let mut rows = statement.query([sql_card(card)]).map_err(failed())?;
    while let Some(row) = rows.next().map_err(failed())? {
        let (day, amount) =
            row.get(0).and_then(|day| Ok((ServiceDate(day), row.get(1)?))).map_err(failed())?;
        held.insert(day, amount);
    }
    let days = due_days(connection, card)?.into_iter();
    Ok(days
        .map(|(day, booked)| OwedDay { day, booked, held: held.get(&day).copied().unwrap_or(0) })
        .collect())
}

/// Everything known of a card's transactions. Walks all of its taps.
pub(super) fn history(connection: &Connection, card: CardId) -> Result<CardHistory, StoreError> {
    let failed = || StoreError::read("the records of a card");
    let row = read_card_row(connection, card)?;
    let state = row.as_ref().map(|row| &row.state);
    let mut history = CardHistory::of_purse(state.and_then(CardState::purse));
    let mut taps = Vec::new();
    walk(connection, card, |link| {
        // Committed, in doubt, confirmed, and what gates told of them: no others say anything of
        // the card's transactions.
        if link.cleared && matches!(link.outcome, 0 | 1 | 3 | 6) {
            taps.push(link.id);
        }
        Ok(true)
    })?;
    journal_records(connection, &taps)?.values().for_each(|tap| history.add_tap(tap));
    let mut statement =
        connection.prepare_cached("SELECT body FROM records WHERE card = ?1").map_err(failed())?;
    let mut rows = statement.query([sql_card(card)]).map_err(failed())?;
    while let Some(row) = rows.next().map_err(failed())? {
        let body: Vec<u8> = row.get(0).map_err(failed())?;
        let known = KnownRecord::from_bytes(&body);
        history.add_record(&known.ok_or_else(|| StoreError::damaged("a card record"))?);
    }
    for charge in state.iter().flat_map(|state| state.unserved()) {
        history.add_unserved(charge.doubt.after.ctr, charge.amount);
    }
    Ok(history)
}

impl Group<'_> {
    /// Rows of the due journal, and what becomes of the queue. Written after the batches of the
    /// same group.
    pub(super) fn due(&self, booking: &Booking) -> Result<(), StoreError> {
        self.due_rows(booking)?;
        let failed = || StoreError::write("the queue of cards to be worked out");
        for card in &booking.due_done {
            self.writer
                .prepare_cached("UPDATE due_cards SET queued = 0 WHERE card = ?1")
                .and_then(|mut statement| statement.execute([sql_card(*card)]))
                .map_err(failed())?;
        }
        for card in booking.cards.keys() {
            let sql = if booking.unusual.contains(card) {
                "INSERT INTO due_cards (card, queued) VALUES (?1, 1)
                 ON CONFLICT (card) DO UPDATE SET queued = 1"
            } else {
                "UPDATE due_cards SET queued = 1 WHERE card = ?1"
            };
            self.writer
                .prepare_cached(sql)
                .and_then(|mut statement| statement.execute([sql_card(*card)]))
                .map_err(failed())?;
        }
        Ok(())
    }

    fn due_rows(&self, booking: &Booking) -> Result<(), StoreError> {
        if booking.due.is_empty() {
            return Ok(());
        }
        let failed = || StoreError::write("the due journal");
        let (after_batch, _) = self.end_of("batches")?;
        let (_, mut hash) = self.end_of("due_journal")?;
        let at = sql_time(booking.at);
        for row in &booking.due {
            let columns = Columns::of(row);
            hash = columns.chained(hash, after_batch, at);
            let Columns { card, day, amount, revision, payer, payment } = columns;
            self.writer
                .prepare_cached(&format!(
                    "INSERT INTO due_journal ({ROW}, after_batch, at, hash)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)"
                ))
                .and_then(|mut statement| {
                    statement.execute(params![
                        card,
                        day,
                        amount,
                        revision,
                        payer,
                        payment,
                        after_batch,
                        at,
                        hash
                    ])
                })
                .map_err(failed())?;
            if let DueChange::Paid { by, .. } = row.change {
                release_due(&self.writer, by)?;
            }
        }
        Ok(())
    }
}

/// Columns that make a row, in the order of [`Columns`].
const ROW: &str = "card, day, amount, revision, payer, payment";

/// A row as the table holds it.
struct Columns {
    card: i64,
    day: u32,
    amount: i64,
    revision: Option<u32>,
    payer: Option<u8>,
    payment: Option<i64>,
}

impl Columns {
    fn of(row: &DueRow) -> Self {
        let (card, day) = (sql_card(row.card), row.day.0);
        match row.change {
            DueChange::Owed { amount, revision } => {
                let revision = Some(revision);
                Self { card, day, amount, revision, payer: None, payment: None }
            }
            DueChange::Paid { amount, by } => {
                let (payer, number) = by.to_numbers();
                let payment = Some(i64::try_from(number).unwrap_or(i64::MAX));
                Self { card, day, amount, revision: None, payer: Some(payer), payment }
            }
        }
    }

    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            card: row.get(0)?,
            day: row.get(1)?,
            amount: row.get(2)?,
            revision: row.get(3)?,
            payer: row.get(4)?,
            payment: row.get(5)?,
        })
    }

    fn row(&self) -> Result<DueRow, StoreError> {
        let amount = self.amount;
        let order = self.payer.zip(self.payment.map(unsigned));
        let order = order.and_then(|(kind, number)| DueOrder::from_numbers(kind, number));
        let change = match (self.revision, order) {
            (Some(revision), None) => DueChange::Owed { amount, revision },
            (None, Some(by)) => DueChange::Paid { amount, by },
            _ => return Err(StoreError::damaged("a row of the due journal of no known kind")),
        };
        Ok(DueRow { card: card_of(self.card), day: ServiceDate(self.day), change })
    }

    fn chained(&self, before: [u8; 32], after_batch: i64, at: i64) -> [u8; 32] {
        let or_none = |number: Option<i64>| number.unwrap_or(-1).to_be_bytes();
        Sha256::new()
            .chain_update(before)
            .chain_update(after_batch.to_be_bytes())
            .chain_update(at.to_be_bytes())
            .chain_update(self.card.to_be_bytes())
            .chain_update(self.day.to_be_bytes())
            .chain_update(self.amount.to_be_bytes())
            .chain_update(or_none(self.revision.map(i64::from)))
            .chain_update(or_none(self.payer.map(i64::from)))
            .chain_update(or_none(self.payment))
            .finalize()
            .into()
    }
}

fn sql_order(order: DueOrder) -> (i64, i64) {
    let (kind, number) = order.to_numbers();
    (i64::from(kind), i64::try_from(number).unwrap_or(i64::MAX))
}
