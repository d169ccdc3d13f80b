//! The books read from end to end, for `verify`.

use std::collections::BTreeMap;

use clearing::{Account, CardState, ExceptionId, Issue};
use fleet_sync::EpochMark;
use ledger::{AccountId, Balance, PendingState, Recorded};
use model::{CardId, CardRecord, IssuerId, ServiceDate, TapSeq, Timestamp, ValidatorId};
use rusqlite::{OptionalExtension, params};

use super::{
    Store, StoreError,
    codes::{
        balance_at, card_of, outcome_code, purse_of, seq, sql_card, sql_purse, sql_seq, time,
        unsigned, validator,
    },
    group::{marks, read_card_row, read_transfer},
    shown::{Shown, shown},
    sums::account_balance,
};
use crate::intake::stored::BookedTap;

/// One row of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRow {
    /// In the order of booking.
    pub id: i64,
    /// Whose.
    pub validator: ValidatorId,
    /// Its first entry.
    pub first: TapSeq,
    /// Its last entry.
    pub last: TapSeq,
    /// When it was booked.
    pub received_at: Timestamp,
    /// Of this row and all before it.
    pub hash: [u8; 32],
    /// As received.
    pub payload: Vec<u8>,
}

/// A card whose opening record was handed in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registered {
    pub(crate) issue: Issue,
    pub(crate) at: Timestamp,
    /// The row of the journal that it was booked after.
    pub(crate) after_batch: i64,
}

/// By code and currency: how many accounts, and what stands on them together.
pub(crate) type AccountGroups = BTreeMap<(u16, u16), (u64, Balance)>;

/// What a row of `taps` says, as far as the journal determines it.
type TapFacts =
    (i64, Option<i64>, i64, Option<i64>, bool, i64, Option<i32>, Option<u32>, Option<u16>);

impl Store {
    /// The journal's next row after `id`.
    pub fn journal_after(&self, id: i64) -> Result<Option<JournalRow>, StoreError> {
        let failed = || StoreError::read("the journal");
        let row = self
            .reader()?
            .prepare_cached(
                "SELECT id, validator, first, last, received_at, hash, payload FROM batches
                 WHERE id > ?1 ORDER BY id LIMIT 1",
            )
            .and_then(|mut statement| {
                let read = |row: &rusqlite::Row<'_>| {
                    let found = JournalRow {
                        id: row.get(0)?,
                        validator: ValidatorId::DEPOT,
                        first: seq(row.get(2)?),
                        last: seq(row.get(3)?),
                        received_at: time(row.get(4)?),
                        hash: row.get(5)?,
                        payload: row.get(6)?,
                    };
                    Ok((row.get::<_, u32>(1)?, found))
                };
                statement.query_row([id], read).optional()
            })
            .map_err(failed())?;
        row.map(|(number, found)| Ok(JournalRow { validator: validator(number)?, ..found }))
            .transpose()
    }

    /// Opening records of cards that we issued, with the row of the journal that they were booked
    /// after and the time, in that order.
    pub(crate) fn issues(&self) -> Result<Vec<Registered>, StoreError> {
        let failed = || StoreError::read("issued cards");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT card, record, registered_at, after_batch, purse, issuer FROM issues
                 ORDER BY after_batch, registered_at",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| {
                let bytes: [u8; CardRecord::LEN] = row.get(1)?;
                let (card, at) = (card_of(row.get(0)?), time(row.get(2)?));
                let issuer: Option<u16> = row.get(5)?;
                Ok((card, bytes, at, row.get(3)?, row.get(4)?, issuer))
            })
            .map_err(failed())?;
        rows.map(|row| {
            let (card, bytes, at, after_batch, purse, issuer) = row.map_err(failed())?;
            let record = CardRecord::from_bytes(&bytes)
                .map_err(|error| StoreError::damaged(format!("issue of card {card}: {error}")))?;
            let (purse, issuer) = (purse_of(purse)?, issuer.map(IssuerId));
            let issue = Issue { card, record, purse, issuer };
            Ok(Registered { issue, at, after_batch })
        })
        .collect()
    }

    /// Compares the rows of a journal row's entries with what the entries say.
    pub(crate) fn compare_taps(&self, batch: i64, taps: &[BookedTap]) -> Result<(), StoreError> {
        let failed = || StoreError::read("taps");
        let reader = self.reader()?;
        for tap in taps {
            let record = &tap.record;
            let number = params![record.validator.number(), record.epoch.0, sql_seq(record.seq)];
            let found: Option<(i64, TapFacts)> = reader
                .prepare_cached(
                    "SELECT id, batch, card, outcome, detail, cleared, amount, balance, ctr, purse
                     FROM taps WHERE validator = ?1 AND epoch = ?2 AND seq = ?3",
                )
                .and_then(|mut statement| {
                    let read = |row: &rusqlite::Row<'_>| {
                        let facts = (
                            row.get(1)?,
                            row.get(2)?,
                            row.get(3)?,
                            row.get(4)?,
                            row.get(5)?,
                            row.get(6)?,
                            row.get(7)?,
                            row.get(8)?,
                            row.get(9)?,
                        );
                        Ok((row.get(0)?, facts))
                    };
                    statement.query_row(number, read).optional()
                })
                .map_err(failed())?;
            let Shown { outcome, detail, amount, balance, ctr, purse } = shown(tap);
            let (card, code) = (record.card.map(sql_card), outcome_code(outcome));
            let (cleared, purse) = (tap.cleared, sql_purse(purse));
            let expected: TapFacts =
                (batch, card, code, detail, cleared, amount, balance, ctr, purse);
            let entry = format!(
                "entry {} of validator {}, epoch {}",
                record.seq, record.validator, record.epoch
            );
            match found {
                Some((_, facts)) if facts == expected => {}
                Some((id, facts)) => {
                    return Err(StoreError::damaged(format!(
                        "tap {id} ({entry}): the journal says amount {amount}, the books say {}, \
                         or another of its facts differs",
                        facts.5
                    )));
                }
                None => return Err(StoreError::damaged(format!("the tap of {entry} is gone"))),
            }
        }
        Ok(())
    }

    /// Rows of a table.
    pub(crate) fn count(&self, table: &'static str) -> Result<u64, StoreError> {
        self.reader()?
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))
            .map(unsigned)
            .map_err(StoreError::read(table))
    }

    /// How far each life of a validator's log is booked.
    pub(crate) fn marks_of(&self, validator: ValidatorId) -> Result<Vec<EpochMark>, StoreError> {
        let reader = self.reader()?;
        marks(&reader, validator)
    }

    /// A card's state and account.
    pub fn card_state(&self, card: CardId) -> Result<Option<(CardState, Balance)>, StoreError> {
        let reader = self.reader()?;
        Ok(read_card_row(&reader, card)?.map(|row| (row.state, row.balance)))
    }

    /// What stands on an account.
    pub fn account(&self, id: &AccountId) -> Result<Balance, StoreError> {
        if let Some(Account::Card(card)) = Account::parse(id) {
            let row = read_card_row(&*self.reader()?, card)?;
            return Ok(row.map_or_else(Balance::default, |row| row.balance_in(id.currency())));
        }
        let reader = self.reader()?;
        account_balance(&reader, id)
    }

    /// Sums by kind of account and currency, with the number of accounts.
    pub(crate) fn account_groups(&self) -> Result<AccountGroups, StoreError> {
        let failed = || StoreError::read("the sums of accounts");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT code, currency, accounts, debits_posted, credits_posted, debits_pending,
                        credits_pending FROM account_groups",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| {
                let key = (row.get(0)?, row.get(1)?);
                Ok((key, (unsigned(row.get(2)?), balance_at(row, 3)?)))
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Visits every transfer in the order of booking, with its row number.
    pub(crate) fn each_transfer(
        &self,
        mut visit: impl FnMut(i64, ServiceDate, Recorded) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let failed = || StoreError::read("transfers");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT id, body, pending, day FROM transfers ORDER BY id")
            .map_err(failed())?;
        let mut rows = statement.query([]).map_err(failed())?;
        while let Some(row) = rows.next().map_err(failed())? {
            let read = || -> rusqlite::Result<(i64, Vec<u8>, Option<i64>, u32)> {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            };
            let (id, body, pending, day) = read().map_err(failed())?;
            let pending = pending.map(|code| match code {
                0 => PendingState::Held,
                1 => PendingState::Posted,
                _ => PendingState::Voided,
            });
            let transfer = read_transfer(&body)
                .map_err(|_| StoreError::damaged(format!("transfer {id} cannot be read")))?;
            visit(id, ServiceDate(day), Recorded { transfer, pending })?;
        }
        Ok(())
    }

    /// Whether a work item is open; `None` when it is not in the books.
    pub(crate) fn is_open(&self, id: &ExceptionId) -> Result<Option<bool>, StoreError> {
        self.reader()?
            .prepare_cached("SELECT closed_at IS NULL FROM exceptions WHERE ref = ?1")
            .and_then(|mut s| s.query_row([id.0], |row| row.get(0)).optional())
            .map_err(StoreError::read("an exception"))
    }

    /// Why messages are in quarantine: every reason that occurs.
    pub fn quarantine_reasons(&self) -> Result<std::collections::BTreeSet<String>, StoreError> {
        let failed = || StoreError::read("the quarantine");
        let reader = self.reader()?;
        let mut statement =
            reader.prepare_cached("SELECT DISTINCT reason FROM quarantine").map_err(failed())?;
        let rows = statement.query_map([], |row| row.get(0)).map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Reason, detail and bytes of what was set aside last.
    #[cfg(test)]
    pub(crate) fn newest_quarantined(&self) -> (String, String, Vec<u8>) {
        let sql = "SELECT reason, detail, payload FROM quarantine ORDER BY id DESC LIMIT 1";
        let row =
            self.writer().query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        row.expect("something was set aside")
    }

    /// Does to the books what only an intruder would.
    #[cfg(test)]
    pub(crate) fn alter(&self, sql: &str) {
        let changed = self.writer().execute(sql, []).expect("valid SQL");
        assert!(changed > 0, "nothing was altered: {sql}");
    }
}
