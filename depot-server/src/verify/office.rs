//! Decisions about money while the journal is booked again, each at its place.

use std::collections::VecDeque;

use clearing::Rules;

use super::Stop;
use crate::{
    intake::{memory::MemoryBooks, step::book_office},
    store::{OfficeRow, Store},
};

/// The rows of the journal of decisions that are not booked again yet.
pub(super) struct Office(VecDeque<OfficeRow>);

impl Office {
    pub(super) fn open(store: &Store) -> Result<Self, Stop> {
        Ok(Self(store.office_journal()?.into()))
    }

    /// Books the next row if it came before the journal's row after `batch` and after no more than
    /// `desk` operations of desks. Answers whether it did.
    pub(super) fn book_next(
        &mut self,
        batch: i64,
        desk: i64,
        rules: &Rules,
        books: &mut MemoryBooks,
    ) -> bool {
        let is_next = |row: &OfficeRow| row.after_batch <= batch && row.after_desk <= desk;
        if !self.0.front().is_some_and(is_next) {
            return false;
        }
        let Some(row) = self.0.pop_front() else { return false };
        let Ok(booking) = book_office(books, rules, &[row.event], row.at);
        books.apply(booking);
        true
    }
}
