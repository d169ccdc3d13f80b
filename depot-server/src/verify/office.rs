//! Decisions about money while the journal is booked again, each at its place.

use clearing::Rules;

use super::{Stop, later::Later};
use crate::{
    intake::{memory::MemoryBooks, office::OfficeEvent, step::book_office},
    store::Store,
};

/// The rows of the journal of decisions that are not booked again yet.
pub(super) struct Office(Later<OfficeEvent>);

impl Office {
    pub(super) fn open(store: &Store) -> Result<Self, Stop> {
        Ok(Self(Later::new(store.office_journal()?)))
    }

    /// Books the next row if it has its place there ([`Later::next`]). Answers whether it did.
    pub(super) fn book_next(
        &mut self,
        place: (i64, i64),
        rules: &Rules,
        books: &mut MemoryBooks,
    ) -> bool {
        let Some(row) = self.0.next(place) else { return false };
        let Ok(booking) = book_office(books, rules, &[row.event], row.at);
        books.apply(booking);
        true
    }
}
