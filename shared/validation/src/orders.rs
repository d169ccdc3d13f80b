//! Load orders that this validator has tried: each is tried on its card once.
//!
//! An order stays on the list for a while after it was carried out. To know that it was costs four
//! exchanges with the card; remembering it here costs none.

use alloc::collections::{BTreeSet, VecDeque};

use model::OrderId;

/// More orders than one validator tries between two versions of the list.
const TRIED_MAX: usize = 4096;

/// The newest are remembered; one that is forgotten is tried again, which is harmless.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tried {
    orders: BTreeSet<OrderId>,
    oldest_first: VecDeque<OrderId>,
}

impl Tried {
    pub(crate) fn contains(&self, order: OrderId) -> bool {
        self.orders.contains(&order)
    }

    pub(crate) fn insert(&mut self, order: OrderId) {
        if self.orders.insert(order) {
            self.oldest_first.push_back(order);
        }
        if self.oldest_first.len() > TRIED_MAX {
            let oldest = self.oldest_first.pop_front();
            oldest.map(|order| self.orders.remove(&order));
        }
    }
}
