//! One transfer against the books: accepted, met again, or refused for one reason.

use alloc::vec::Vec;

use crate::{AccountId, Balance, Kind, PendingState, Recorded, Transfer, TransferId};

/// The part of the books that a batch touches. The shell loads it, [`apply`] works on it, the
/// shell writes it back in one commit.
pub trait Books {
    /// The transfer with this id, if the books hold it.
    fn transfer(&self, id: &TransferId) -> Option<Recorded>;
    /// What stands on an account; zero when nothing ever did.
    fn balance(&self, account: &AccountId) -> Balance;
    /// Replaces what stands on an account.
    fn set_balance(&mut self, account: AccountId, balance: Balance);
    /// Adds a transfer whose id the books do not hold.
    fn insert(&mut self, recorded: Recorded);
    /// Changes what has become of a pending transfer that the books hold.
    fn settle(&mut self, id: &TransferId, state: PendingState);
}

/// What an accepted transfer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the books now.
    Applied,
    /// It was in the books before, with the same content: a replay, harmless.
    Exists,
}

/// Why a transfer was refused. Variants stand in order of precedence: when several hold, the
/// first is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum LedgerRefusal {
    /// An alarm: one event, two contents. A clone, or a fault of whoever computed the transfer.
    #[error("the books hold this transfer id with another content")]
    ExistsWithOtherContent,
    /// Money moves by amounts above zero; the direction is in the accounts.
    #[error("the amount is not above zero")]
    AmountNotPositive,
    /// Both sides are one account.
    #[error("debit and credit are the same account")]
    AccountsMustDiffer,
    /// The debited account belongs to another currency.
    #[error("the debited account is of another currency")]
    DebitOfOtherCurrency,
    /// The credited account belongs to another currency.
    #[error("the credited account is of another currency")]
    CreditOfOtherCurrency,
    /// Posts or voids what the books do not hold.
    #[error("the pending transfer is not in the books")]
    PendingNotFound,
    /// Posts or voids a transfer that never was pending.
    #[error("the transfer to settle is not a pending one")]
    NotPending,
    /// Posted before.
    #[error("the pending transfer is already posted")]
    AlreadyPosted,
    /// Voided before.
    #[error("the pending transfer is already voided")]
    AlreadyVoided,
    /// Settles with other accounts than were held.
    #[error("the pending transfer has other accounts")]
    PendingOfOtherAccounts,
    /// Settles another amount than was held.
    #[error("the pending transfer has another amount")]
    PendingOfOtherAmount,
    /// A sum on the debited account would leave 63 bits.
    #[error("the debited account would overflow")]
    DebitOverflow,
    /// A sum on the credited account would leave 63 bits.
    #[error("the credited account would overflow")]
    CreditOverflow,
}

/// Applies one transfer: idempotency first, then one early return per refusal in the order of
/// [`LedgerRefusal`], then only writes. A refused transfer leaves the books as they were.
pub fn apply<B: Books>(books: &mut B, transfer: &Transfer) -> Result<Outcome, LedgerRefusal> {
    if let Some(existing) = books.transfer(&transfer.id) {
        return if existing.transfer.same_content(transfer) {
            Ok(Outcome::Exists)
        } else {
            Err(LedgerRefusal::ExistsWithOtherContent)
        };
    }
    if transfer.amount <= 0 {
        return Err(LedgerRefusal::AmountNotPositive);
    }
    if transfer.debit == transfer.credit {
        return Err(LedgerRefusal::AccountsMustDiffer);
    }
    if transfer.debit.currency() != transfer.currency {
        return Err(LedgerRefusal::DebitOfOtherCurrency);
    }
    if transfer.credit.currency() != transfer.currency {
        return Err(LedgerRefusal::CreditOfOtherCurrency);
    }
    let settles = match transfer.kind {
        Kind::Direct | Kind::Pending => None,
        Kind::Post(of) => Some((of, PendingState::Posted)),
        Kind::Void(of) => Some((of, PendingState::Voided)),
    };
    if let Some((of, _)) = settles {
        may_settle(books.transfer(&of), transfer)?;
    }
    let debit =
        debited(books.balance(&transfer.debit), transfer).ok_or(LedgerRefusal::DebitOverflow)?;
    let credit =
        credited(books.balance(&transfer.credit), transfer).ok_or(LedgerRefusal::CreditOverflow)?;

    // From here on the transfer must succeed.
    books.set_balance(transfer.debit, debit);
    books.set_balance(transfer.credit, credit);
    if let Some((of, state)) = settles {
        books.settle(&of, state);
    }
    let pending = (transfer.kind == Kind::Pending).then_some(PendingState::Held);
    books.insert(Recorded { transfer: *transfer, pending });
    Ok(Outcome::Applied)
}

/// Applies transfers in order. Each stands alone: a refused one does not stop the next.
pub fn apply_batch<B: Books>(
    books: &mut B,
    batch: &[Transfer],
) -> Vec<Result<Outcome, LedgerRefusal>> {
    batch.iter().map(|transfer| apply(books, transfer)).collect()
}

fn may_settle(pending: Option<Recorded>, transfer: &Transfer) -> Result<(), LedgerRefusal> {
    let Some(Recorded { transfer: held, pending }) = pending else {
        return Err(LedgerRefusal::PendingNotFound);
    };
    match pending {
        None => return Err(LedgerRefusal::NotPending),
        Some(PendingState::Posted) => return Err(LedgerRefusal::AlreadyPosted),
        Some(PendingState::Voided) => return Err(LedgerRefusal::AlreadyVoided),
        Some(PendingState::Held) => {}
    }
    if (held.debit, held.credit) != (transfer.debit, transfer.credit) {
        return Err(LedgerRefusal::PendingOfOtherAccounts);
    }
    if held.amount != transfer.amount {
        return Err(LedgerRefusal::PendingOfOtherAmount);
    }
    Ok(())
}

fn debited(b: Balance, transfer: &Transfer) -> Option<Balance> {
    let (posted, pending) = moved(b.debits_posted, b.debits_pending, transfer)?;
    Some(Balance { debits_posted: posted, debits_pending: pending, ..b })
}

fn credited(b: Balance, transfer: &Transfer) -> Option<Balance> {
    let (posted, pending) = moved(b.credits_posted, b.credits_pending, transfer)?;
    Some(Balance { credits_posted: posted, credits_pending: pending, ..b })
}

/// One side's (posted, pending) after the transfer.
fn moved(posted: i64, pending: i64, transfer: &Transfer) -> Option<(i64, i64)> {
    let amount = transfer.amount;
    // Posted and pending together must fit, so that posting what is held never overflows.
    let grown = posted.checked_add(pending)?.checked_add(amount);
    match transfer.kind {
        Kind::Direct => grown.map(|_| (posted + amount, pending)),
        Kind::Pending => grown.map(|_| (posted, pending + amount)),
        Kind::Post(_) => Some((posted.checked_add(amount)?, pending.checked_sub(amount)?)),
        Kind::Void(_) => Some((posted, pending.checked_sub(amount)?)),
    }
}
