//! The trial balance: per currency, everything debited equals everything credited (I8).

use alloc::collections::BTreeMap;

use model::Currency;

use crate::{AccountId, Balance};

/// Sums over all accounts of one currency. Wide, because a sum over accounts may pass 63 bits
/// while each account does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Accounts seen.
    pub accounts: u64,
    /// Debited for good, all accounts.
    pub debits_posted: i128,
    /// Credited for good, all accounts.
    pub credits_posted: i128,
    /// Debits held, all accounts.
    pub debits_pending: i128,
    /// Credits held, all accounts.
    pub credits_pending: i128,
}

/// The books do not balance: a fault of ours or of the store, never of a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TrialError {
    /// Posted sides differ.
    #[error("{currency}: debits {debits} but credits {credits}")]
    Posted {
        /// In which ledger.
        currency: Currency,
        /// All debits.
        debits: i128,
        /// All credits.
        credits: i128,
    },
    /// Held sides differ.
    #[error("{currency}: held debits {debits} but held credits {credits}")]
    Pending {
        /// In which ledger.
        currency: Currency,
        /// All held debits.
        debits: i128,
        /// All held credits.
        credits: i128,
    },
}

/// Sums every account per currency, and says the first currency that does not balance.
pub fn trial_balance<'a>(
    accounts: impl Iterator<Item = (&'a AccountId, &'a Balance)>,
) -> Result<BTreeMap<Currency, Totals>, TrialError> {
    let mut ledgers = BTreeMap::<Currency, Totals>::new();
    for (account, balance) in accounts {
        let totals = ledgers.entry(account.currency()).or_default();
        totals.accounts += 1;
        // 2^64 accounts of 2^63 each fit into 127 bits.
        totals.debits_posted += i128::from(balance.debits_posted);
        totals.credits_posted += i128::from(balance.credits_posted);
        totals.debits_pending += i128::from(balance.debits_pending);
        totals.credits_pending += i128::from(balance.credits_pending);
    }
    for (&currency, totals) in &ledgers {
        let (debits, credits) = (totals.debits_posted, totals.credits_posted);
        if debits != credits {
            return Err(TrialError::Posted { currency, debits, credits });
        }
        let (debits, credits) = (totals.debits_pending, totals.credits_pending);
        if debits != credits {
            return Err(TrialError::Pending { currency, debits, credits });
        }
    }
    Ok(ledgers)
}
