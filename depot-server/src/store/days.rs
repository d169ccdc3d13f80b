//! Service days: into which a booking goes, what a closed day holds, and the closing itself.
//!
//! Invariant: a row of `transfers` or `taps` is never written with a day that is closed. The open
//! day is read when a group begins, under the same lock under which a day is closed.

use std::collections::BTreeMap;

use clearing::{Account, TapRef};
use ledger::{AccountId, Balance, Transfer};
use model::{Currency, Money, PlaceIx, RouteIx, ServiceDate, TapSeq, TariffVersion, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use settlement::{AccountDay, Salt, TapFacts};
use sha2::{Digest, Sha256};

use super::{
    Store, StoreError,
    codes::{
        balance_at, card_of, epoch, purse_of, role_of, seq, sql_seq, sql_time, time, unsigned,
        validator,
    },
    group::{Group, read_transfer},
};
use crate::intake::stored::Booking;

/// A day that is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClosedDay {
    /// Which.
    pub day: ServiceDate,
    /// The row of the journal that holds its document.
    pub batch: i64,
    /// When.
    pub closed_at: Timestamp,
    /// SHA-256 of its document.
    pub root: [u8; 32],
    /// The newest transfer when it was closed: none above it is of this day.
    pub through: i64,
    /// Where its bookings, or those of later days, begin.
    pub from: i64,
    /// The document with its signature, as text.
    pub document: String,
}

/// One row of a closed day's accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayAccount {
    /// Which account; of cards, the one without a card.
    pub account: AccountId,
    /// How many accounts the row stands for.
    pub accounts: u64,
    /// Before the day and after it.
    pub sums: AccountDay,
}

/// Which new rows began a day.
#[derive(Debug, Default)]
pub(super) struct Begun(BTreeMap<ServiceDate, (Option<i64>, Option<i64>)>);

impl Begun {
    pub(super) fn transfer(&mut self, day: ServiceDate, id: i64) {
        self.0.entry(day).or_default().0.get_or_insert(id);
    }

    pub(super) fn tap(&mut self, day: ServiceDate, id: i64) {
        self.0.entry(day).or_default().1.get_or_insert(id);
    }
}

/// The oldest open day; `None` in books without any.
pub(super) fn open_day(connection: &Connection) -> Result<Option<ServiceDate>, StoreError> {
    connection
        .prepare_cached(
            "SELECT coalesce((SELECT max(day) + 1 FROM days), (SELECT min(day) FROM periods))",
        )
        .and_then(|mut statement| statement.query_row([], |row| row.get::<_, Option<u32>>(0)))
        .map(|day| day.map(ServiceDate))
        .map_err(StoreError::read("the open day"))
}

impl Store {
    /// The oldest day that is open; `None` in books without any.
    pub fn open_day(&self) -> Result<Option<ServiceDate>, StoreError> {
        open_day(&*self.reader()?)
    }

    /// The newest closed days, newest first.
    pub fn closed_days(&self, limit: u32) -> Result<Vec<ClosedDay>, StoreError> {
        let reader = self.reader()?;
        closed(&reader, "WHERE days.day >= ?1 ORDER BY days.day DESC LIMIT ?2", 0, limit)
    }

    /// One closed day.
    pub fn closed_day(&self, day: ServiceDate) -> Result<Option<ClosedDay>, StoreError> {
        let reader = self.reader()?;
        Ok(closed(&reader, "WHERE days.day = ?1 LIMIT ?2", day.0, 1)?.pop())
    }

    /// What stood on the accounts that moved in a closed day.
    pub fn day_accounts(&self, day: ServiceDate) -> Result<Vec<DayAccount>, StoreError> {
        let failed = || StoreError::read("the accounts of a day");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT account, accounts, opening_debits, opening_credits, debits, credits,
                 debits_pending, credits_pending FROM day_accounts WHERE day = ?1 ORDER BY account",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([day.0], |row| {
                let opening = Balance {
                    debits_posted: row.get(2)?,
                    credits_posted: row.get(3)?,
                    ..Balance::default()
                };
                Ok((
                    row.get::<_, [u8; 16]>(0)?,
                    unsigned(row.get(1)?),
                    opening,
                    balance_at(row, 4)?,
                ))
            })
            .map_err(failed())?;
        rows.map(|row| {
            let (bytes, accounts, opening, closing) = row.map_err(failed())?;
            let account = AccountId::from_bytes(bytes)
                .map_err(|error| StoreError::damaged(format!("an account of a day: {error}")))?;
            Ok(DayAccount { account, accounts, sums: AccountDay { account, opening, closing } })
        })
        .collect()
    }

    /// Taps of a day that count, in order of their numbers.
    pub(crate) fn day_taps(
        &self,
        day: ServiceDate,
        currency: Currency,
    ) -> Result<Vec<TapFacts>, StoreError> {
        day_taps(&*self.reader()?, day, currency)
    }

    /// What stands for an account in exports, where its own bytes may hold a card number.
    pub(crate) fn account_handle(&self, account: &AccountId) -> String {
        self.handles.name(&account.to_bytes())
    }

    /// The first day that anything was booked into.
    pub(crate) fn first_day(&self) -> Result<Option<ServiceDate>, StoreError> {
        self.reader()?
            .query_row("SELECT min(day) FROM periods", [], |row| row.get::<_, Option<u32>>(0))
            .map(|day| day.map(ServiceDate))
            .map_err(StoreError::read("where days begin"))
    }

    /// The day that a tap was booked into; `None` when the books do not hold it.
    pub(crate) fn tap_day(&self, tap: TapRef) -> Result<Option<ServiceDate>, StoreError> {
        self.reader()?
            .prepare_cached("SELECT day FROM taps WHERE validator = ?1 AND epoch = ?2 AND seq = ?3")
            .and_then(|mut statement| {
                let key = params![tap.validator.number(), tap.epoch.0, sql_seq(tap.seq)];
                statement.query_row(key, |row| row.get(0).map(ServiceDate)).optional()
            })
            .map_err(StoreError::read("the day of a tap"))
    }

    /// Bookings before this moment belong to no day.
    pub(crate) fn days_since(&self) -> Result<Timestamp, StoreError> {
        self.reader()?
            .query_row("SELECT value FROM counters WHERE name = 'days-since'", [], |row| row.get(0))
            .map(time)
            .map_err(StoreError::read("since when days are kept"))
    }

    /// The secret behind receipts; made when it is missing.
    pub(crate) fn receipt_salt(&self) -> Result<Salt, StoreError> {
        let mut fresh = [0_u8; 32];
        getrandom::fill(&mut fresh).map_err(|error| StoreError::Write {
            what: "the salt of receipts",
            source: error.to_string().into(),
        })?;
        let writer = self.writer();
        let known = "SELECT value FROM singles WHERE name = 'receipt-salt'";
        let salt = |connection: &Connection| {
            connection
                .query_row(known, [], |row| row.get(0))
                .optional()
                .map_err(StoreError::read("the salt of receipts"))
        };
        if let Some(salt) = salt(&writer)? {
            return Ok(Salt(salt));
        }
        writer
            .execute("INSERT INTO singles (name, value) VALUES ('receipt-salt', ?1)", [fresh])
            .map_err(StoreError::write("the salt of receipts"))?;
        Ok(Salt(fresh))
    }

    /// Visits every transfer with its row number and the day that it was booked into.
    pub(crate) fn each_transfer_day(
        &self,
        from: i64,
        visit: impl FnMut(i64, ServiceDate, Transfer) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        each_transfer(&*self.reader()?, from, visit)
    }
}

impl Group<'_> {
    /// The oldest day that is open; `None` in books without any.
    pub fn oldest_open_day(&self) -> Option<ServiceDate> {
        self.open_day
    }

    /// Keeps where days begin.
    pub(super) fn periods(&self) -> Result<(), StoreError> {
        for (day, (transfer, tap)) in &self.begun.take().0 {
            self.writer
                .prepare_cached(
                    "INSERT INTO periods (day, first_transfer, first_tap) VALUES (?1, ?2, ?3)
                     ON CONFLICT (day) DO UPDATE SET
                     first_transfer = coalesce(first_transfer, excluded.first_transfer),
                     first_tap = coalesce(first_tap, excluded.first_tap)",
                )
                .and_then(|mut statement| statement.execute(params![day.0, transfer, tap]))
                .map_err(StoreError::write("where a day begins"))?;
        }
        Ok(())
    }

    /// The newest row of the journal, with the chain's value.
    pub(crate) fn journal_head(&self) -> Result<(u64, [u8; 32]), StoreError> {
        self.end_of("batches").map(|(id, hash)| (unsigned(id), hash))
    }

    /// The newest closed day's root; zeros when there is none.
    pub(crate) fn newest_root(&self) -> Result<[u8; 32], StoreError> {
        self.writer
            .prepare_cached("SELECT root FROM days ORDER BY day DESC LIMIT 1")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)).optional())
            .map(Option::unwrap_or_default)
            .map_err(StoreError::read("the newest closed day"))
    }

    /// Visits the transfers that were booked into this day or a later one, in no promised order,
    /// and perhaps some of earlier days.
    pub(crate) fn transfers_from(
        &self,
        day: ServiceDate,
        visit: impl FnMut(i64, ServiceDate, Transfer) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let first: Option<i64> = self
            .writer
            .prepare_cached("SELECT min(first_transfer) FROM periods WHERE day >= ?1")
            .and_then(|mut statement| statement.query_row([day.0], |row| row.get(0)))
            .map_err(StoreError::read("where a day begins"))?;
        first.map_or(Ok(()), |first| each_transfer(&self.writer, first, visit))
    }

    /// Taps of a day that count, in order of their numbers.
    pub(crate) fn taps_of(
        &self,
        day: ServiceDate,
        currency: Currency,
    ) -> Result<Vec<TapFacts>, StoreError> {
        day_taps(&self.writer, day, currency)
    }

    /// Every account with what stands on it now, in order of the id.
    pub(crate) fn balances(&self) -> Result<BTreeMap<AccountId, Balance>, StoreError> {
        all_balances(&self.writer)
    }

    /// Appends a closed day to the journal and commits.
    pub(crate) fn close_day(
        mut self,
        day: ServiceDate,
        root: [u8; 32],
        document: &str,
        accounts: &[DayAccount],
        at: Timestamp,
    ) -> Result<(), StoreError> {
        let failed = || StoreError::write("a closed day");
        let (_, before) = self.journal_head()?;
        let hash: [u8; 32] =
            Sha256::new().chain_update(before).chain_update(document.as_bytes()).finalize().into();
        self.writer
            .execute(
                "INSERT INTO batches
                 (validator, epoch, first, last, last_hash, received_at, hash, payload)
                 VALUES (0, 0, ?1, ?1, ?2, ?3, ?4, ?5)",
                params![day.0, root, sql_time(at), hash, document.as_bytes()],
            )
            .map_err(failed())?;
        let batch = self.writer.last_insert_rowid();
        self.writer
            .execute(
                "INSERT INTO days (day, batch, closed_at, root, through)
                 SELECT ?1, ?2, ?3, ?4, coalesce(max(id), 0) FROM transfers",
                params![day.0, batch, sql_time(at), root],
            )
            .map_err(failed())?;
        for row in accounts {
            let (o, c) = (&row.sums.opening, &row.sums.closing);
            self.writer
                .prepare_cached(
                    "INSERT INTO day_accounts (day, account, accounts, opening_debits,
                     opening_credits, debits, credits, debits_pending, credits_pending)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        day.0,
                        row.account.to_bytes(),
                        i64::try_from(row.accounts).unwrap_or(i64::MAX),
                        o.debits_posted,
                        o.credits_posted,
                        c.debits_posted,
                        c.credits_posted,
                        c.debits_pending,
                        c.credits_pending,
                    ])
                })
                .map_err(failed())?;
        }
        self.writer.execute_batch("COMMIT").map_err(failed())?;
        self.done = true;
        Ok(())
    }
}

/// The days of a booking's transfers and taps are noted while they are written.
pub(super) fn day_of(booking: &Booking, event_at: Timestamp) -> ServiceDate {
    booking.period.day(event_at)
}

fn closed(
    connection: &Connection,
    of: &str,
    key: u32,
    limit: u32,
) -> Result<Vec<ClosedDay>, StoreError> {
    let failed = || StoreError::read("closed days");
    let sql = format!(
        "SELECT days.day, days.batch, days.closed_at, days.root, batches.payload, days.through,
         (SELECT min(first_transfer) FROM periods WHERE periods.day >= days.day)
         FROM days JOIN batches ON batches.id = days.batch {of}"
    );
    let mut statement = connection.prepare_cached(&sql).map_err(failed())?;
    let rows = statement
        .query_map([key, limit], |row| {
            let payload: Vec<u8> = row.get(4)?;
            Ok(ClosedDay {
                day: ServiceDate(row.get(0)?),
                batch: row.get(1)?,
                closed_at: time(row.get(2)?),
                root: row.get(3)?,
                through: row.get(5)?,
                from: row.get::<_, Option<i64>>(6)?.unwrap_or(i64::MAX),
                document: String::from_utf8_lossy(&payload).into_owned(),
            })
        })
        .map_err(failed())?;
    rows.collect::<Result<_, _>>().map_err(failed())
}

fn each_transfer(
    connection: &Connection,
    from: i64,
    mut visit: impl FnMut(i64, ServiceDate, Transfer) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let failed = || StoreError::read("transfers");
    let mut statement = connection
        .prepare_cached("SELECT id, day, body FROM transfers WHERE id >= ?1 ORDER BY id")
        .map_err(failed())?;
    let mut rows = statement.query([from]).map_err(failed())?;
    while let Some(row) = rows.next().map_err(failed())? {
        let read = || -> rusqlite::Result<(i64, u32)> { Ok((row.get(0)?, row.get(1)?)) };
        let (id, day) = read().map_err(failed())?;
        let body = row.get_ref(2).map_err(failed())?.as_blob().unwrap_or_default();
        let transfer = read_transfer(body)
            .map_err(|_| StoreError::damaged(format!("transfer {id} cannot be read")))?;
        visit(id, ServiceDate(day), transfer)?;
    }
    Ok(())
}

fn all_balances(connection: &Connection) -> Result<BTreeMap<AccountId, Balance>, StoreError> {
    let failed = || StoreError::read("accounts");
    let mut all = BTreeMap::new();
    let mut cards = connection
        .prepare_cached(
            "SELECT debits_posted, credits_posted, debits_pending, credits_pending, card, currency
             FROM cards ORDER BY card",
        )
        .map_err(failed())?;
    let mut rows = cards.query([]).map_err(failed())?;
    while let Some(row) = rows.next().map_err(failed())? {
        let card = card_of(row.get(4).map_err(failed())?);
        if let Some(ledger) = purse_of(row.get(5).map_err(failed())?)? {
            all.insert(Account::Card(card).id(ledger), balance_at(row, 0).map_err(failed())?);
        }
    }
    let mut accounts = connection
        .prepare_cached(
            "SELECT debits_posted, credits_posted, debits_pending, credits_pending, id
             FROM accounts ORDER BY id",
        )
        .map_err(failed())?;
    let mut rows = accounts.query([]).map_err(failed())?;
    while let Some(row) = rows.next().map_err(failed())? {
        let id = AccountId::from_bytes(row.get(4).map_err(failed())?)
            .map_err(|error| StoreError::damaged(format!("an account: {error}")))?;
        all.insert(id, balance_at(row, 0).map_err(failed())?);
    }
    Ok(all)
}

/// Committed, confirmed and ticket entries that were cleared.
fn day_taps(
    connection: &Connection,
    day: ServiceDate,
    currency: Currency,
) -> Result<Vec<TapFacts>, StoreError> {
    let failed = || StoreError::read("the taps of a day");
    let mut statement = connection
        .prepare_cached(
            "SELECT validator, epoch, seq, tapped_at, role, place, route, tariff, amount, balance,
             card, purse FROM taps
             WHERE id >= (SELECT first_tap FROM periods WHERE day = ?1) AND day = ?1
             AND cleared = 1 AND outcome IN (0, 3, 5)",
        )
        .map_err(failed())?;
    let mut rows = statement.query([day.0]).map_err(failed())?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed())? {
        found.push(day_tap(row, currency).map_err(failed())??);
    }
    found.sort_unstable_by_key(|facts| facts.tap);
    Ok(found)
}

fn day_tap(row: &Row<'_>, currency: Currency) -> rusqlite::Result<Result<TapFacts, StoreError>> {
    let (validator_no, role): (u32, i64) = (row.get(0)?, row.get(4)?);
    let (validator, role) = match (validator(validator_no), role_of(role)) {
        (Ok(validator), Ok(role)) => (validator, role),
        (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
    };
    let purse = match purse_of(row.get(11)?) {
        Ok(purse) => purse,
        Err(error) => return Ok(Err(error)),
    };
    let number: TapSeq = seq(row.get(2)?);
    let facts = TapFacts {
        tap: TapRef { validator, epoch: epoch(row.get(1)?), seq: number },
        tapped_at: time(row.get(3)?),
        role,
        place: PlaceIx(row.get(5)?),
        route: row.get::<_, Option<u16>>(6)?.map(RouteIx),
        tariff: TariffVersion(row.get(7)?),
        paid: Money::new(row.get(8)?, purse.unwrap_or(currency)),
        balance: row.get(9)?,
        card: row.get::<_, Option<i64>>(10)?.map(card_of),
    };
    Ok(Ok(facts))
}
