//! What can be checked without booking anything again: the journal's hash chain, the signatures and
//! roots of closed days against the rows that are kept, and the accounts against the transfers.
//!
//! One pass over the journal and one over the transfers; memory for the accounts and for the
//! transfers of the days that are open at one time.

use std::collections::{BTreeMap, VecDeque};

use clearing::Rules;
use ledger::{AccountId, Balance, Touched};
use model::ValidatorId;
use settlement::{DayLedger, Salt};

use super::{Report, Stop, chained, reported};
use crate::{
    days::{Contents, SignedDay, check_head, first_difference, take},
    intake::Checker,
    store::{ClosedDay, Store, StoreError},
};

/// Compares the books with their own roots.
pub fn roots(store: &Store, checker: &Checker, rules: &Rules) -> Result<Report, StoreError> {
    reported(|report| compare(store, checker, rules, report))
}

fn compare(
    store: &Store,
    checker: &Checker,
    rules: &Rules,
    report: &mut Report,
) -> Result<(), Stop> {
    let days = journal(store, checker, report)?;
    let mut walk = Walk {
        store,
        rules,
        salt: store.receipt_salt()?,
        books: Touched::default(),
        waiting: days.into(),
        open: VecDeque::new(),
    };
    let mut passed = 0;
    let mut found = None;
    store
        .each_transfer_day(0, |id, day, transfer| {
            let step = walk.finish_before(id).and_then(|()| {
                walk.begin(id);
                walk.open.iter_mut().for_each(|(_, ledger)| take(ledger, rules, day, &transfer));
                let applied = ledger::apply(&mut walk.books, &transfer);
                applied.map(|_| ()).map_err(|refusal| {
                    Stop::Differs(format!("transfer {id} ({}): {refusal}", transfer.id))
                })
            });
            passed += 1;
            step.map_err(|stop| {
                let damaged = StoreError::damaged("a difference stopped the walk");
                found = Some(stop);
                damaged
            })
        })
        .or_else(|error| found.take().map_or(Err(Stop::Store(error)), Err))?;
    walk.finish_before(i64::MAX)?;
    report.transfers = passed;
    accounts(store, &walk.books)?;
    ledger::trial_balance(walk.books.balances())
        .map(|_| ())
        .map_err(|error| Stop::Differs(error.to_string()))
}

/// The chain, and each closed day's document as far as it stands alone.
fn journal(
    store: &Store,
    checker: &Checker,
    report: &mut Report,
) -> Result<Vec<(ClosedDay, SignedDay)>, Stop> {
    let (mut hash, mut after, mut previous) = ([0; 32], 0, [0; 32]);
    let mut days = Vec::new();
    while let Some(row) = store.journal_after(after)? {
        let before = (u64::try_from(after).unwrap_or(0), hash);
        hash = chained(hash, &row)?;
        after = row.id;
        report.batches += 1;
        if row.validator != ValidatorId::DEPOT {
            continue;
        }
        let differs =
            |what: String| Stop::Differs(format!("journal row {} (a closed day): {what}", row.id));
        let signed = SignedDay::parse(&String::from_utf8_lossy(&row.payload))
            .map_err(|error| differs(error.to_string()))?;
        check_head(&signed, checker.depot(), previous, before, row.received_at).map_err(differs)?;
        let day = signed.document.head.day;
        previous = signed.document.root();
        let kept = store.closed_day(day)?.filter(|kept| kept.root == previous);
        let kept = kept.ok_or_else(|| differs(format!("the books do not keep {day} as closed")))?;
        days.push((kept, signed));
    }
    report.days = days.len() as u64;
    Ok(days)
}

/// Transfers in the order of booking, with the closed days that they are of.
struct Walk<'a> {
    store: &'a Store,
    rules: &'a Rules,
    salt: Salt,
    books: Touched,
    /// Closed days whose first transfer was not seen yet.
    waiting: VecDeque<(ClosedDay, SignedDay)>,
    open: VecDeque<((ClosedDay, SignedDay), DayLedger)>,
}

impl Walk<'_> {
    /// Days whose bookings begin here.
    fn begin(&mut self, transfer: i64) {
        while self.waiting.front().is_some_and(|(day, _)| day.from <= transfer)
            && let Some(day) = self.waiting.pop_front()
        {
            let ledger = DayLedger::new(day.0.day);
            self.open.push_back((day, ledger));
        }
    }

    /// Days that were closed before this transfer was booked.
    fn finish_before(&mut self, transfer: i64) -> Result<(), Stop> {
        loop {
            let done = self.open.front().is_some_and(|((day, _), _)| day.through < transfer);
            // A day without bookings of its own or later ones never began.
            let empty = self.open.is_empty()
                && self.waiting.front().is_some_and(|(day, _)| day.through < transfer);
            if empty && let Some(day) = self.waiting.pop_front() {
                let ledger = DayLedger::new(day.0.day);
                self.open.push_back((day, ledger));
                continue;
            }
            if !done {
                return Ok(());
            }
            let Some((day, ledger)) = self.open.pop_front() else { return Ok(()) };
            self.finish(&day, ledger)?;
        }
    }

    fn finish(
        &self,
        (kept, signed): &(ClosedDay, SignedDay),
        ledger: DayLedger,
    ) -> Result<(), Stop> {
        let balances: BTreeMap<AccountId, Balance> =
            self.books.balances().map(|(account, balance)| (*account, *balance)).collect();
        let taps = self.store.day_taps(kept.day, self.rules.currency())?;
        let contents = Contents { ledger, balances: &balances, taps };
        let (made, rows) = contents.compose(signed.document.head.clone(), &self.salt);
        let day = kept.day;
        if let Some(line) = first_difference(&signed.document, &made) {
            return Err(Stop::Differs(format!(
                "the bookings kept of {day} are not those that were closed, first in {line:?}"
            )));
        }
        if self.store.day_accounts(day)? != rows {
            return Err(Stop::Differs(format!("the accounts kept of {day} are others")));
        }
        Ok(())
    }
}

fn accounts(store: &Store, books: &Touched) -> Result<(), Stop> {
    let kept = store.begin()?.balances()?;
    let made: BTreeMap<_, _> = books.balances().map(|(account, sum)| (*account, *sum)).collect();
    let ids = kept.keys().chain(made.keys());
    for account in ids {
        let of = |all: &BTreeMap<AccountId, Balance>| all.get(account).copied().unwrap_or_default();
        let (kept, made) = (of(&kept), of(&made));
        if kept != made {
            return Err(Stop::Differs(format!(
                "account {account} should stand at {}, the books say {}",
                made.posted(),
                kept.posted()
            )));
        }
    }
    Ok(())
}
