//! Products that cards prove to carry, held against what was sold (ADR-0024).

use clearing::{ExceptionChange, Known as _, TapRef};
use model::{CardId, Ctr, ProductsFound, TapRecord};

use super::{Desk, StepError};
use crate::intake::stored::Stored;

impl<S: Stored> Desk<'_, S> {
    /// After the entry is cleared. Only cards that carry products cost a question to the store.
    pub(super) fn products_of(
        &mut self,
        card: CardId,
        tap: &TapRecord,
    ) -> Result<(), StepError<S::Error>> {
        let Some((transaction, _)) = tap.settled() else { return Ok(()) };
        let found = transaction.products;
        let held = match (transaction.loaded, found) {
            (Some(load), found) => {
                let left = found.and_then(|found| found.rides).unwrap_or(0);
                ProductsFound { file: load.file(), rides: Some(left + load.rides()) }
            }
            (None, Some(found)) => found,
            (None, None) => return Ok(()),
        };
        let issue = self.known.record(card, Ctr(1)).map_err(StepError::Stored)?;
        // What a card was issued with, or by whom, no order says.
        if issue.is_none_or(|issue| issue.record.products.is_some()) {
            return Ok(());
        }
        let orders = self.card_orders(card)?;
        let item = clearing::unsold(card, TapRef::of(tap), &held, &orders, self.booking.at);
        self.booking.exceptions.extend(item.map(ExceptionChange::Opened));
        Ok(())
    }
}
