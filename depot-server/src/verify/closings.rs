//! Closed days while the journal is booked again: each must be what the books then make.

use clearing::Rules;
use model::ServiceDate;
use settlement::{DayLedger, Salt};

use super::Stop;
use crate::{
    days::{Contents, SignedDay, check_head, first_difference, take},
    intake::{Checker, memory::MemoryBooks},
    store::{JournalRow, Store, facts},
};

/// The days closed so far.
pub(super) struct Closings {
    salt: Salt,
    previous: [u8; 32],
    /// The journal's row before, with the chain's value.
    journal: (u64, [u8; 32]),
    pub(super) days: u64,
}

impl Closings {
    pub(super) fn open(store: &Store) -> Result<Self, Stop> {
        Ok(Self { salt: store.receipt_salt()?, previous: [0; 32], journal: (0, [0; 32]), days: 0 })
    }

    /// A row of the journal was passed.
    pub(super) fn passed(&mut self, row: &JournalRow) {
        self.journal = (u64::try_from(row.id).unwrap_or(0), row.hash);
    }

    /// The row closes a day: the books made so far must close it alike.
    pub(super) fn book(
        &mut self,
        store: &Store,
        checker: &Checker,
        rules: &Rules,
        books: &mut MemoryBooks,
        row: &JournalRow,
    ) -> Result<(), Stop> {
        let differs =
            |what: String| Stop::Differs(format!("journal row {} (a closed day): {what}", row.id));
        let signed = std::str::from_utf8(&row.payload)
            .map_err(|error| differs(error.to_string()))
            .and_then(|text| SignedDay::parse(text).map_err(|error| differs(error.to_string())))?;
        let head = &signed.document.head;
        let day = head.day;
        if books.open_day != Some(day) {
            return Err(differs(format!("{day} is not the day that was to be closed next")));
        }
        check_head(&signed, checker.depot(), self.previous, self.journal, row.received_at)
            .map_err(differs)?;
        let contents = contents(books, rules, day);
        let (document, rows) = contents.compose(head.clone(), &self.salt);
        if let Some(line) = first_difference(&signed.document, &document) {
            return Err(differs(format!("{day} was closed as another day, first in {line:?}")));
        }
        let kept = store.closed_day(day)?;
        let root = document.root();
        if kept.is_none_or(|kept| (kept.root, kept.batch) != (root, row.id)) {
            return Err(differs(format!("the books do not keep {day} as closed by it")));
        }
        if store.day_accounts(day)? != rows {
            return Err(differs(format!("the accounts kept of {day} are others")));
        }
        self.previous = root;
        self.days += 1;
        books.open_day = Some(ServiceDate(day.0 + 1));
        Ok(())
    }
}

fn contents<'a>(books: &'a MemoryBooks, rules: &Rules, day: ServiceDate) -> Contents<'a> {
    let mut ledger = DayLedger::new(day);
    let from = books.day_starts.range(day..).map(|(_, at)| *at).min();
    let from = from.unwrap_or(books.transfers.len());
    let days = &books.transfer_days[from..];
    for (recorded, booked) in books.transfers[from..].iter().zip(days) {
        take(&mut ledger, rules, *booked, &recorded.transfer);
    }
    let mut taps: Vec<_> = books
        .day_taps
        .get(&day)
        .into_iter()
        .flatten()
        .filter_map(|tap| facts(books.taps.get(tap)?, rules.currency()))
        .collect();
    taps.sort_unstable_by_key(|tap| tap.tap);
    Contents { ledger, balances: &books.accounts, taps }
}
