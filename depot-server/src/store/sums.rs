//! The sums of all accounts by kind, kept beside the accounts so that no screen adds them up.

use std::collections::BTreeMap;

use ledger::{AccountId, Balance};
use rusqlite::params;

use super::{StoreError, group::Group};

/// Sums by kind of account, as they change with one booking.
#[derive(Default)]
pub(super) struct Groups(BTreeMap<(u16, u16), (i64, [i64; 4])>);

impl Groups {
    pub(super) fn moved(&mut self, account: &AccountId, before: Balance, after: Balance) {
        let key = (account.code().0, account.currency().numeric());
        let (accounts, sums) = self.0.entry(key).or_default();
        if before == Balance::default() {
            *accounts += 1;
        }
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
