//! Load orders while the journal is booked again: what was done with them at its place, and what
//! they have come to.

use clearing::Rules;

use super::{Stop, due::Dues, later::Later};
use crate::{
    intake::{
        credit_event::CreditEvent, memory::MemoryBooks, step::book_orders, stored::OrderEvent,
    },
    store::Store,
};

/// The rows of the order journal that are not booked again yet.
pub(super) struct Orders(Later<OrderEvent>);

impl Orders {
    pub(super) fn open(store: &Store) -> Result<Self, Stop> {
        Ok(Self(Later::new(store.order_journal()?)))
    }

    /// Books the next row if it has its place there ([`Later::next`]). Answers whether it did.
    pub(super) fn book_next(
        &mut self,
        place: (i64, i64),
        rules: &Rules,
        books: &mut MemoryBooks,
        dues: &mut Dues,
    ) -> Result<bool, Stop> {
        let Some(row) = self.0.next(place) else { return Ok(false) };
        // What a card's account owes depends on what the card was owed at that moment.
        if let OrderEvent::Credit { did: CreditEvent::Charged { dues: before, .. } } = &row.event {
            dues.book_first(*before, rules, books)?;
        }
        let Ok(booking) = book_orders(books, rules, &[row.event], row.at);
        books.apply(booking);
        Ok(true)
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
    payments(store, books)
}

/// Every payment of a channel stands as its order and its lines in the journal make it.
fn payments(store: &Store, books: &MemoryBooks) -> Result<(), Stop> {
    let autos: Vec<_> = books.autos.values().copied().collect();
    if store.auto_top_ups()? != autos {
        let what = "the standing instructions are others than the journal's";
        return Err(Stop::Differs(what.to_owned()));
    }
    super::count(store, "payments", books.stated.len() as u64)?;
    for ((channel, reference), stated) in &books.stated {
        if store.stated(*channel, reference)?.as_ref() != Some(stated) {
            return Err(Stop::Differs(format!(
                "the payment {reference:?} of channel {channel} stands otherwise in the journal"
            )));
        }
    }
    Ok(())
}
