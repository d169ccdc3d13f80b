//! Products that are on their cards, and the rides that they paid.

use clearing::{BookedOrder, TapRef, transaction};
use model::{CardId, IssuerId, TapRecord};
use settlement::Ride;

use super::{ClosedDay, Store, StoreError, group::journal_records, orders::orders, walk::walk};

impl Store {
    /// Orders of products that cost something and are on their cards, oldest first.
    pub(crate) fn sold_products(&self) -> Result<Vec<BookedOrder>, StoreError> {
        let of = "WHERE phase = 4 AND product IS NOT NULL AND amount > 0 AND id > ?1 ORDER BY id";
        orders(&*self.reader()?, of, 0)
    }

    /// A card's committed and confirmed taps that were booked into days through this one.
    pub(crate) fn card_rides(
        &self,
        (card, issuer): (CardId, Option<IssuerId>),
        closed: &ClosedDay,
    ) -> Result<Vec<Ride>, StoreError> {
        let reader = self.reader()?;
        let mut ids = Vec::new();
        walk(&reader, card, |link| {
            let day: u32 = reader
                .prepare_cached("SELECT day FROM taps WHERE id = ?1")
                .and_then(|mut statement| statement.query_row([link.id], |row| row.get(0)))
                .map_err(StoreError::read("the day of a tap"))?;
            if link.cleared && matches!(link.outcome, 0 | 3) && day <= closed.day.0 {
                ids.push(link.id);
            }
            Ok(true)
        })?;
        let ride = |record: TapRecord| {
            let transaction = *transaction(&record)?;
            Some(Ride { tap: TapRef::of(&record), card, issuer, transaction, route: record.route })
        };
        Ok(journal_records(&reader, &ids)?.into_values().filter_map(ride).collect())
    }
}
