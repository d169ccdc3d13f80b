//! Rows of a journal of events that wait for their place while the journal is booked again.

use std::collections::VecDeque;

use crate::store::EventRow;

/// Rows that are not booked again yet.
pub(super) struct Later<E>(VecDeque<EventRow<E>>);

impl<E> Later<E> {
    pub(super) fn new(rows: Vec<EventRow<E>>) -> Self {
        Self(rows.into())
    }

    /// Takes the next row if it came before the journal's row after `batch` and after no more than
    /// `desk` operations of desks.
    pub(super) fn next(&mut self, (batch, desk): (i64, i64)) -> Option<EventRow<E>> {
        let next = self.0.front()?;
        let is_there = next.after_batch <= batch && next.after_desk <= desk;
        if is_there { self.0.pop_front() } else { None }
    }
}
