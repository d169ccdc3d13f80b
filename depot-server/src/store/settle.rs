//! Settled days, and what they are made of.

use std::collections::BTreeSet;

use clearing::{Account, TapRef, transaction};
use ledger::{AccountId, Transfer};
use model::{CardId, Currency, IssuerId, Money, ServiceDate};
use rusqlite::{OptionalExtension, params};
use settlement::{OperatorRow, Ride};

use super::{
    ClosedDay, Store, StoreError,
    codes::{card_of, sql_purse, sql_time, unsigned},
    group::{Group, journal_records},
};

/// Taps read from the journal at once: each brings its whole batch along.
const RIDES_AT_ONCE: usize = 20_000;

/// One operator's row of a settled day, as it was given out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledRow {
    /// The operator's id, or `unattributed`.
    pub operator: String,
    /// The currency of its amounts, when it is not the tariff's.
    pub purse: Option<Currency>,
    /// Who owes it, when it is not the issuer that the books began with.
    pub issuer: Option<IssuerId>,
    /// Its figures.
    pub row: OperatorRow,
}

/// An amount that waits for a late record or for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suspense {
    /// Which account, without a whole card number.
    pub account: String,
    /// The day on which something came to stand on it.
    pub since: ServiceDate,
    /// What stands on it.
    pub amount: Money,
}

impl Store {
    /// The rules and rows that a day was settled with.
    pub fn settlement(
        &self,
        day: ServiceDate,
    ) -> Result<Option<(String, Vec<SettledRow>)>, StoreError> {
        let failed = || StoreError::read("a settled day");
        let reader = self.reader()?;
        let rules: Option<String> = reader
            .prepare_cached("SELECT rules FROM settlements WHERE day = ?1")
            .and_then(|mut statement| statement.query_row([day.0], |row| row.get(0)).optional())
            .map_err(failed())?;
        let Some(rules) = rules else { return Ok(None) };
        let known = |number| Currency::from_numeric(number).ok();
        let mut statement = reader
            .prepare_cached(
                "SELECT operator, rides, gross, shared, fee, late, late_amount, disputed,
                 disputed_amount, purse, issuer FROM settlement_rows WHERE day = ?1 ORDER BY place",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([day.0], |row| {
                Ok(SettledRow {
                    operator: row.get(0)?,
                    purse: row.get::<_, Option<u16>>(9)?.and_then(known),
                    issuer: row.get::<_, Option<u16>>(10)?.map(IssuerId),
                    row: OperatorRow {
                        rides: unsigned(row.get(1)?),
                        gross: row.get(2)?,
                        shared: row.get(3)?,
                        fee: row.get(4)?,
                        late: (unsigned(row.get(5)?), row.get(6)?),
                        disputed: (unsigned(row.get(7)?), row.get(8)?),
                    },
                })
            })
            .map_err(failed())?;
        Ok(Some((rules, rows.collect::<Result<_, _>>().map_err(failed())?)))
    }

    /// Visits the transfers of a closed day.
    pub(crate) fn closed_transfers(
        &self,
        closed: &ClosedDay,
        mut visit: impl FnMut(Transfer),
    ) -> Result<(), StoreError> {
        self.each_transfer_day(closed.from, |_, day, transfer| {
            if day == closed.day {
                visit(transfer);
            }
            Ok(())
        })
    }

    /// The committed and confirmed taps of a day, with their transactions.
    pub(crate) fn day_rides(&self, closed: &ClosedDay) -> Result<Vec<Ride>, StoreError> {
        let issuers = self.issuers_of_cards(closed)?;
        let failed = || StoreError::read("the rides of a day");
        let reader = self.reader()?;
        let ids: Vec<i64> = reader
            .prepare_cached(
                "SELECT id FROM taps
                 WHERE id >= (SELECT first_tap FROM periods WHERE day = ?1) AND day = ?1
                 AND cleared = 1 AND outcome IN (0, 3) AND card IS NOT NULL",
            )
            .and_then(|mut statement| {
                statement.query_map([closed.day.0], |row| row.get(0))?.collect::<Result<_, _>>()
            })
            .map_err(failed())?;
        let mut rides = Vec::with_capacity(ids.len());
        for some in ids.chunks(RIDES_AT_ONCE) {
            for record in journal_records(&reader, some)?.into_values() {
                if let (Some(card), Some(transaction)) = (record.card, transaction(&record)) {
                    let (tap, transaction) = (TapRef::of(&record), *transaction);
                    let issuer = issuers.get(&card).copied();
                    rides.push(Ride { tap, card, issuer, transaction, route: record.route });
                }
            }
        }
        Ok(rides)
    }

    /// Cards about which something was found between the closing before and this one: a row of
    /// exceptions is never deleted and keeps the time at which it was opened.
    pub(crate) fn cards_found(&self, closed: &ClosedDay) -> Result<BTreeSet<CardId>, StoreError> {
        let failed = || StoreError::read("what was found in a day");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT DISTINCT card FROM exceptions
                 WHERE card IS NOT NULL AND opened_at <= ?1
                 AND opened_at > coalesce((SELECT max(closed_at) FROM days WHERE day < ?2), -1)
                 AND kind IN ('fork', 'balance-mismatch', 'counters-mismatch', 'fare-mismatch',
                 'charged-without-passage', 'contradiction', 'proof-invalid')",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map(params![sql_time(closed.closed_at), closed.day.0], |row| {
                row.get(0).map(card_of)
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// What stood in suspense when a day was closed, the oldest first.
    pub(crate) fn suspense(&self, day: ServiceDate) -> Result<Vec<Suspense>, StoreError> {
        let failed = || StoreError::read("amounts in suspense");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT account, day, credits - debits FROM day_accounts
                 WHERE day <= ?1 ORDER BY account, day",
            )
            .map_err(failed())?;
        let mut rows = statement.query([day.0]).map_err(failed())?;
        let mut found: Vec<(AccountId, ServiceDate, i64)> = Vec::new();
        while let Some(row) = rows.next().map_err(failed())? {
            let read = || -> rusqlite::Result<([u8; 16], u32, i64)> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            };
            let (bytes, of, amount) = read().map_err(failed())?;
            let account = AccountId::from_bytes(bytes)
                .map_err(|error| StoreError::damaged(format!("an account of a day: {error}")))?;
            let waits = matches!(
                Account::parse(&account).map(|account| account.pooled().1),
                Some(
                    Account::GapSuspense(..)
                        | Account::Difference(..)
                        | Account::UnknownOrigin(_)
                        | Account::FareRevenue(None)
                        | Account::OperatorPayable(_, None)
                )
            );
            if !waits {
                continue;
            }
            match found.last_mut() {
                // It stands there since the day on which it last came from zero.
                Some(last) if last.0 == account && last.2 != 0 => last.2 = amount,
                Some(last) if last.0 == account => *last = (account, ServiceDate(of), amount),
                Some(_) | None => found.push((account, ServiceDate(of), amount)),
            }
        }
        found.retain(|(.., amount)| *amount != 0);
        found.sort_by_key(|(account, since, _)| (*since, *account));
        Ok(found
            .into_iter()
            .filter_map(|(account, since, amount)| {
                let name = Account::parse(&account)?.to_string();
                let amount = Money::new(amount, account.currency());
                Some(Suspense { account: name, since, amount })
            })
            .collect())
    }
}

impl Group<'_> {
    /// The rows of a day that is settled for the first time.
    pub(super) fn settled_rows(
        &self,
        day: ServiceDate,
        rows: &[SettledRow],
    ) -> Result<(), StoreError> {
        let count = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        for (place, SettledRow { operator, purse, issuer, row }) in (0_i64..).zip(rows) {
            self.writer
                .execute(
                    "INSERT INTO settlement_rows (day, place, operator, rides, gross, shared, fee,
                     late, late_amount, disputed, disputed_amount, purse, issuer)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
                    params![
                        day.0,
                        place,
                        operator,
                        count(row.rides),
                        row.gross,
                        row.shared,
                        row.fee,
                        count(row.late.0),
                        row.late.1,
                        count(row.disputed.0),
                        row.disputed.1,
                        sql_purse(*purse),
                        issuer.map(|issuer| issuer.0),
                    ],
                )
                .map_err(StoreError::write("a settled day"))?;
        }
        Ok(())
    }
}
