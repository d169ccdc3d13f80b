//! A product that is put on a card with a load, or in the place of one (ADR-0024).

use model::{CardRecord, ProductLoad};

use super::{LoadTransaction, State, ValueTransaction, Writes};
use crate::apdu::span;
use crate::duty::{Duty, WriteError};
use crate::layout::{FILE_PRODUCTS, PRODUCTS_LEN};
use crate::session::Session;

impl LoadTransaction {
    /// Writes `after`, moving its amount, and puts a product on the card besides: `load` is what
    /// the card carries from then on, and the rides that are added.
    ///
    /// # Panics
    /// When no card is found: a mistake of the caller.
    pub fn write_selling(
        &mut self,
        after: &CardRecord,
        load: ProductLoad,
    ) -> Result<(), WriteError> {
        self.write_with(after, None, Some(load))
    }
}

impl<D: Duty> ValueTransaction<D> {
    pub(super) fn sell(&mut self, session: Session, next: Writes) {
        let Some(load) = next.load else { return self.change_rides(session, next) };
        let header = span(FILE_PRODUCTS, 0, PRODUCTS_LEN);
        self.write_data(&session, &header, &load.file().to_bytes());
        self.state = State::Selling { session, next };
    }
}
