//! Load orders while the journal is booked again: what was done with them at its place, and what
//! they have come to.

use std::collections::VecDeque;

use clearing::Rules;

use super::Stop;
use crate::{
    intake::{memory::MemoryBooks, step::book_orders},
    store::{OrderRow, Store},
};

/// The rows of the order journal that are not booked again yet.
pub(super) struct Orders(VecDeque<OrderRow>);

impl Orders {
    pub(super) fn open(store: &Store) -> Result<Self, Stop> {
        Ok(Self(store.order_journal()?.into()))
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
        let is_next = |row: &OrderRow| row.after_batch <= batch && row.after_desk <= desk;
        if !self.0.front().is_some_and(is_next) {
            return false;
        }
        let Some(row) = self.0.pop_front() else { return false };
        let Ok(booking) = book_orders(books, rules, &[row.event], row.at);
        books.apply(booking);
        true
    }
}

/// Every order stands where the journal brings it.
pub(super) fn compare(store: &Store, books: &MemoryBooks) -> Result<(), Stop> {
    super::count(store, "orders", books.orders.len() as u64)?;
    for (id, order) in &books.orders {
        let stored = store.order(*id)?;
        if stored.as_ref() != Some(order) {
            return Err(Stop::Differs(format!(
                "load order {id} should be {}, the books say {}",
                order.phase.word(),
                stored.map_or("nothing of it", |stored| stored.phase.word())
            )));
        }
    }
    Ok(())
}
