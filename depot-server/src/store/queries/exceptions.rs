//! Work items, and the accounts of the ledger.

use clearing::Account;
use ledger::{AccountCode, AccountId, Balance};
use model::{CardId, Currency, Money};
use rusqlite::{OptionalExtension, Row, params, params_from_iter};

use super::{
    ReadModel,
    taps::{Condition, LIMIT_MAX},
};
use crate::{
    http::views::{
        AccountRow, Closed, Evidence, ExceptionFacts, ExceptionFilter, ExceptionKind, ExceptionRow,
        KindTally, Owner, Page,
    },
    store::{
        StoreError,
        codes::{balance_at, card_of, sql_card, sql_seq, time, unsigned, validator},
        evidence,
    },
};

const COLUMNS: &str = "id, kind, amount, currency, opened_at, closed_at, close_reason, card, \
    validator, finding, evidence, owner";

/// Accounts of which there is one per card: shown as one row.
const PER_CARD: [u16; 5] = [1, 3, 4, 5, 14];

impl ReadModel {
    pub(super) fn list_exceptions(
        &self,
        filter: &ExceptionFilter,
        page: Page,
    ) -> Result<Vec<ExceptionRow>, StoreError> {
        self.exceptions_of_card(filter, None, page)
    }

    pub(super) fn exceptions_of_card(
        &self,
        filter: &ExceptionFilter,
        card: Option<CardId>,
        page: Page,
    ) -> Result<Vec<ExceptionRow>, StoreError> {
        let failed = || StoreError::read("exceptions");
        let mut c = Condition::default();
        if let Some(card) = card {
            c.and("card = ?", sql_card(card));
        }
        if let Some(kind) = filter.kind {
            c.and("kind = ?", kind.word());
        }
        match filter.open {
            None => {}
            Some(true) => c.and_also("closed_at IS NULL"),
            Some(false) => c.and_also("closed_at IS NOT NULL"),
        }
        if let Some(validator) = filter.validator {
            c.and("validator = ?", validator.number());
        }
        match &filter.owner {
            None => {}
            Some(Owner::Nobody) => c.and_also("owner IS NULL"),
            Some(Owner::Person(name)) => c.and("owner = ?", name.clone()),
        }
        if let Some(before) = page.before {
            c.and("id < ?", i64::try_from(before).unwrap_or(i64::MAX));
        }
        let limit = page.limit.min(LIMIT_MAX);
        let sql =
            format!("SELECT {COLUMNS} FROM exceptions{} ORDER BY id DESC LIMIT {limit}", c.sql);
        let reader = self.store.reader()?;
        let mut statement = reader.prepare_cached(&sql).map_err(failed())?;
        let rows = statement
            .query_map(params_from_iter(&c.values), |row| Ok(self.exception_row(row)))
            .map_err(failed())?;
        rows.map(|row| row.map_err(failed())?).collect()
    }

    fn exception_row(&self, row: &Row<'_>) -> Result<ExceptionRow, StoreError> {
        let failed = || StoreError::read("an exception");
        let word: String = row.get(1).map_err(failed())?;
        let kind = ExceptionKind::from_word(&word)
            .ok_or_else(|| StoreError::damaged(format!("exception of kind {word:?}")))?;
        let by: Option<u32> = row.get(8).map_err(failed())?;
        let by = by.map(validator).transpose()?;
        let read = || -> rusqlite::Result<_> {
            let closed_at: Option<i64> = row.get(5)?;
            let reason: Option<String> = row.get(6)?;
            let card: Option<i64> = row.get(7)?;
            Ok(ExceptionRow {
                id: unsigned(row.get(0)?),
                kind,
                amount: money(row.get(2)?, row.get(3)?),
                opened_at: time(row.get(4)?),
                closed: closed_at
                    .map(|at| Closed { at: time(at), reason: reason.unwrap_or_default() }),
                card: card.map(|card| self.store.handles.card_ref(card_of(card))),
                validator: by,
                owner: row.get(11)?,
            })
        };
        read().map_err(failed())
    }

    pub(super) fn tally_exceptions(&self) -> Result<Vec<KindTally>, StoreError> {
        let failed = || StoreError::read("exceptions by kind");
        let reader = self.store.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT count(*), count(closed_at), min(opened_at) FILTER (WHERE closed_at IS NULL)
                 FROM exceptions WHERE kind = ?1",
            )
            .map_err(failed())?;
        // No two currencies are added up.
        let mut at_stake = reader
            .prepare_cached(
                "SELECT sum(amount), currency FROM exceptions
                 WHERE kind = ?1 AND closed_at IS NULL AND amount <> 0
                 GROUP BY currency ORDER BY currency",
            )
            .map_err(failed())?;
        let kinds = ExceptionKind::ALL.into_iter();
        kinds
            .map(|kind| {
                let open_amount: Vec<Money> = at_stake
                    .query_map([kind.word()], |row| Ok(money(row.get(0)?, row.get(1)?)))
                    .and_then(|rows| rows.filter_map(Result::transpose).collect())
                    .map_err(failed())?;
                statement
                    .query_row([kind.word()], |row| {
                        let (opened, resolved) = (unsigned(row.get(0)?), unsigned(row.get(1)?));
                        let open = opened - resolved;
                        let oldest_open = row.get::<_, Option<i64>>(2)?.map(time);
                        Ok(KindTally { kind, opened, resolved, open, open_amount, oldest_open })
                    })
                    .map_err(failed())
            })
            .collect()
    }

    pub(super) fn find_exception(&self, id: u64) -> Result<Option<ExceptionFacts>, StoreError> {
        let failed = || StoreError::read("an exception");
        let sql = format!("SELECT {COLUMNS} FROM exceptions WHERE id = ?1");
        let reader = self.store.reader()?;
        let mut statement = reader.prepare_cached(&sql).map_err(failed())?;
        let found = statement
            .query_row([i64::try_from(id).unwrap_or(i64::MAX)], |row| {
                let (finding, pieces): (String, String) = (row.get(9)?, row.get(10)?);
                Ok((self.exception_row(row), finding, pieces))
            })
            .optional()
            .map_err(failed())?;
        let Some((row, finding, pieces)) = found else { return Ok(None) };
        let evidence = evidence::from_json(&pieces)?
            .into_iter()
            .map(|piece| {
                let tap = match piece.tap {
                    None => None,
                    Some(tap) => self.tap_numbered(tap)?,
                };
                Ok(Evidence { title: piece.title, tap, record: piece.record, notes: Vec::new() })
            })
            .collect::<Result<_, StoreError>>()?;
        Ok(Some(ExceptionFacts { row: row?, finding, evidence }))
    }

    fn tap_numbered(
        &self,
        tap: clearing::TapRef,
    ) -> Result<Option<crate::http::views::TapRow>, StoreError> {
        let id: Option<i64> = self
            .store
            .reader()?
            .prepare_cached("SELECT id FROM taps WHERE validator = ?1 AND epoch = ?2 AND seq = ?3")
            .and_then(|mut statement| {
                let key = params![tap.validator.number(), tap.epoch.0, sql_seq(tap.seq)];
                statement.query_row(key, |row| row.get(0)).optional()
            })
            .map_err(StoreError::read("a tap"))?;
        let Some(id) = id else { return Ok(None) };
        Ok(self.rows_of(&[id])?.pop())
    }

    /// One row per kind of account of which each card has one, then every other account.
    pub(super) fn list_accounts(&self) -> Result<Vec<AccountRow>, StoreError> {
        let failed = || StoreError::read("the accounts");
        let reader = self.store.reader()?;
        let mut groups = reader
            .prepare_cached(
                "SELECT code, currency, accounts, debits_posted, credits_posted, debits_pending,
                        credits_pending FROM account_groups ORDER BY code, currency",
            )
            .map_err(failed())?;
        let rows = groups
            .query_map([], |row| {
                let key: (u16, u16) = (row.get(0)?, row.get(1)?);
                Ok((key, unsigned(row.get(2)?), balance_at(row, 3)?))
            })
            .map_err(failed())?;
        let mut all = Vec::new();
        for row in rows {
            let ((code, currency), accounts, balance) = row.map_err(failed())?;
            if PER_CARD.contains(&code) {
                let name = Account::word(AccountCode(code)).unwrap_or("unknown").to_owned();
                all.push(AccountRow { name, accounts, balance: shown(currency, &balance)? });
            }
        }
        let mut single = reader
            .prepare_cached(
                "SELECT id, debits_posted, credits_posted, debits_pending, credits_pending
                 FROM accounts WHERE substr(id, 1, 2) NOT IN (x'0003', x'0004', x'0005', x'000e')",
            )
            .map_err(failed())?;
        let rows = single
            .query_map([], |row| Ok((row.get::<_, [u8; 16]>(0)?, balance_at(row, 1)?)))
            .map_err(failed())?;
        for row in rows {
            let (id, balance) = row.map_err(failed())?;
            let id = AccountId::from_bytes(id).map_err(|e| StoreError::damaged(e.to_string()))?;
            let name = self.account_name(&id);
            let balance = shown(id.currency().numeric(), &balance)?;
            all.push(AccountRow { name, accounts: 1, balance });
        }
        Ok(all)
    }

    fn account_name(&self, id: &AccountId) -> String {
        let word = Account::word(id.code()).unwrap_or("unknown");
        let operators = self.rules.tariffs().newest().operators();
        let Some(account) = Account::parse(id) else { return word.to_owned() };
        let name = if let Account::FareRevenue(operator) | Account::OperatorPayable(_, operator) =
            account.pooled().1
        {
            let named = operator.map(|operator| {
                let named = operators.get(usize::from(operator.0));
                named.map_or_else(|| operator.to_string(), |named| named.name.clone())
            });
            named.map_or(format!("{word}, not attributed"), |named| format!("{word} {named}"))
        } else {
            word.to_owned()
        };
        account.issuer().map_or(name.clone(), |issuer| format!("{name} (issuer {issuer})"))
    }
}

/// Debits minus credits.
fn shown(currency: u16, balance: &Balance) -> Result<Money, StoreError> {
    let currency =
        Currency::from_numeric(currency).map_err(|e| StoreError::damaged(e.to_string()))?;
    Ok(Money::new(-balance.posted(), currency))
}

fn money(minor: Option<i64>, currency: Option<u16>) -> Option<Money> {
    Some(Money::new(minor?, Currency::from_numeric(currency?).ok()?))
}
