//! The sums of all accounts by kind, kept beside the accounts so that no screen adds them up.

use std::collections::BTreeMap;

use ledger::{AccountId, Balance};
use rusqlite::{Connection, OptionalExtension, params};

use super::{StoreError, codes::balance_at, group::Group};

/// Sums by kind of account, as they change with one booking.
#[derive(Default)]
pub(super) struct Groups(BTreeMap<(u16, u16), (i64, [i64; 4])>);

impl Groups {
    /// `before` is `None` for an account that nothing ever stood on. One that came back to zero is
    /// not counted again.
    pub(super) fn moved(&mut self, account: &AccountId, before: Option<Balance>, after: Balance) {
        let key = (account.code().0, account.currency().numeric());
        let (accounts, sums) = self.0.entry(key).or_default();
        if before.is_none() {
            *accounts += 1;
        }
        let before = before.unwrap_or_default();
        let parts =
            |b: Balance| [b.debits_posted, b.credits_posted, b.debits_pending, b.credits_pending];
        for (sum, (new, old)) in sums.iter_mut().zip(parts(after).into_iter().zip(parts(before))) {
            *sum += new - old;
        }
    }

    pub(super) fn write(self, group: &Group<'_>) -> Result<(), StoreError> {
        for ((code, currency), (accounts, sums)) in self.0 {
            let [debits, credits, debits_pending, credits_pending] = sums;
            group
                .writer
                .prepare_cached(
                    "INSERT INTO account_groups (code, currency, accounts, debits_posted,
                     credits_posted, debits_pending, credits_pending)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT (code, currency) DO UPDATE SET
                     accounts = accounts + excluded.accounts,
                     debits_posted = debits_posted + excluded.debits_posted,
                     credits_posted = credits_posted + excluded.credits_posted,
                     debits_pending = debits_pending + excluded.debits_pending,
                     credits_pending = credits_pending + excluded.credits_pending",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        code,
                        currency,
                        accounts,
                        debits,
                        credits,
                        debits_pending,
                        credits_pending
                    ])
                })
                .map_err(StoreError::write("the sums of accounts"))?;
        }
        Ok(())
    }
}

pub(super) fn account_balance(
    connection: &Connection,
    account: &AccountId,
) -> Result<Balance, StoreError> {
    find_account(connection, account).map(Option::unwrap_or_default)
}

/// `None` when nothing ever stood on it.
pub(super) fn find_account(
    connection: &Connection,
    account: &AccountId,
) -> Result<Option<Balance>, StoreError> {
    connection
        .prepare_cached(
            "SELECT debits_posted, credits_posted, debits_pending, credits_pending
             FROM accounts WHERE id = ?1",
        )
        .and_then(|mut statement| {
            statement.query_row([account.to_bytes()], |row| balance_at(row, 0)).optional()
        })
        .map_err(StoreError::read("an account"))
}
