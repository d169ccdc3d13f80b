//! What a transaction reads behind the newest record: the currency of the purse, products, rides
//! and counters, each only where the record says that it is there (ADR-0009, ADR-0013, ADR-0019).
//!
//! Every read counts for the Transaction MAC, so `proof` has the same order.

use model::{CardCounters, CardProducts, ProductsFound};

use super::{CardFound, CardOutput, State, ValueTransaction, transmit};
use crate::answers::{purse, read};
use crate::apdu::{cmd, span};
use crate::duty::Duty;
use crate::failure::{CardFailure, CardStep, ExchangeError};
use crate::layout::{
    self, COUNTERS_LEN, FILE_COUNTERS, FILE_MODE, FILE_PRODUCTS, FILE_RIDES, PRODUCTS_LEN,
};
use crate::session::Session;

/// What the newest record says is there besides.
#[derive(Debug, Clone, Copy)]
pub(super) enum More {
    Purse,
    Products,
    Rides(CardProducts),
    Counters,
}

impl<D: Duty> ValueTransaction<D> {
    /// Asks for the next thing that the record says is there and nobody has read yet.
    pub(super) fn read_purse(&mut self, session: Session, found: CardFound) -> CardOutput {
        if !found.record.layout.profile_names_currency() {
            return self.read_products(session, found);
        }
        self.read_more(session, found, More::Purse, cmd::READ_DATA, &layout::purse_span())
    }

    fn read_products(&mut self, session: Session, found: CardFound) -> CardOutput {
        if found.record.products.is_none() {
            return self.read_counters(session, found);
        }
        let header = span(FILE_PRODUCTS, 0, PRODUCTS_LEN);
        self.read_more(session, found, More::Products, cmd::READ_DATA, &header)
    }

    fn read_rides(&mut self, session: Session, found: CardFound, file: CardProducts) -> CardOutput {
        if file.with_rides().is_none() {
            let products = Some(ProductsFound { file, rides: None });
            return self.read_counters(session, CardFound { products, ..found });
        }
        self.read_more(session, found, More::Rides(file), cmd::GET_VALUE, &[FILE_RIDES])
    }

    fn read_counters(&mut self, session: Session, found: CardFound) -> CardOutput {
        if !(found.record.layout.has_counters() && self.wants_counters) {
            return self.found(session, found);
        }
        let header = span(FILE_COUNTERS, 0, COUNTERS_LEN);
        self.read_more(session, found, More::Counters, cmd::READ_DATA, &header)
    }

    fn read_more(
        &mut self,
        session: Session,
        found: CardFound,
        what: More,
        cmd: u8,
        header: &[u8],
    ) -> CardOutput {
        let data = session.seal_command(FILE_MODE, cmd, header, &[]);
        self.state = State::ReadingMore { session, found, what };
        transmit(cmd, &data)
    }

    /// The answer to what was asked last.
    pub(super) fn has_read(
        &mut self,
        mut session: Session,
        found: CardFound,
        what: More,
        response: Result<&[u8], ExchangeError>,
    ) -> Result<CardOutput, CardFailure> {
        match what {
            More::Purse => {
                let purse = purse(read(&mut session, CardStep::ReadPurse, response)?)?;
                Ok(self.read_products(session, CardFound { purse: Some(purse), ..found }))
            }
            More::Products => {
                let bytes = read(&mut session, CardStep::ReadProducts, response)?;
                let file = CardProducts::from_bytes(bytes);
                Ok(self.read_rides(session, found, file))
            }
            More::Rides(file) => {
                let step = CardStep::ReadProducts;
                let rides = i32::from_le_bytes(read(&mut session, step, response)?);
                let rides = u32::try_from(rides).map_err(|_| CardFailure::Malformed(step))?;
                let products = Some(ProductsFound { file, rides: Some(rides) });
                Ok(self.read_counters(session, CardFound { products, ..found }))
            }
            More::Counters => {
                let bytes = read(&mut session, CardStep::ReadCounters, response)?;
                let counters = CardCounters::from_bytes(&bytes).map_err(CardFailure::Counters)?;
                Ok(self.found(session, CardFound { counters: Some(counters), ..found }))
            }
        }
    }

    fn found(&mut self, session: Session, found: CardFound) -> CardOutput {
        self.state = State::Found { session, found };
        CardOutput::Found(found)
    }
}
