//! Tickets: keys that sign them, sales, and what the books know of each.

use clearing::TicketState;
use fleet_sync::VerifyingKey;
use model::{Ticket, TicketId, TicketToken, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use ticket::TicketKeys;

use super::{
    Store, StoreError,
    codes::{sql_time, time},
    group::Group,
};
use crate::intake::stored::{Booking, Sale};

/// A ticket in the books: what was signed, what is known of it, when it was sold.
pub type KnownTicket = (Ticket, TicketState, Option<Timestamp>);

impl Store {
    /// Keys whose tickets are believed at that time, and later.
    pub fn ticket_keys(&self, at: Timestamp) -> Result<TicketKeys, StoreError> {
        let failed = || StoreError::read("the keys of tickets");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT public_key FROM ticket_keys WHERE since <= ?1 ORDER BY since")
            .map_err(failed())?;
        let rows = statement
            .query_map([sql_time(at)], |row| row.get::<_, [u8; 32]>(0))
            .map_err(failed())?;
        let keys: Vec<VerifyingKey> = rows
            .map(|bytes| {
                VerifyingKey::from_bytes(&bytes.map_err(failed())?)
                    .map_err(|_| StoreError::damaged("a public key of tickets".to_owned()))
            })
            .collect::<Result<_, _>>()?;
        Ok(TicketKeys::new(keys))
    }

    /// Believes tickets of this key from now on. Before the first of them is given away.
    pub fn add_ticket_key(&self, key: &VerifyingKey, now: Timestamp) -> Result<(), StoreError> {
        self.writer()
            .execute(
                "INSERT INTO ticket_keys (public_key, since) VALUES (?1, ?2)
                 ON CONFLICT DO NOTHING",
                params![key.as_bytes(), sql_time(now)],
            )
            .map(|_| ())
            .map_err(StoreError::write("a public key of tickets"))
    }

    /// Every sale in the order of booking, with the journal row that it came after.
    pub(crate) fn ticket_sales(&self) -> Result<Vec<(i64, Sale)>, StoreError> {
        let failed = || StoreError::read("sold tickets");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT after_batch, token, sold_at FROM ticket_sales ORDER BY id")
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| {
                let token = TicketToken(row.get::<_, [u8; TicketToken::LEN]>(1)?);
                Ok((row.get(0)?, Sale { token, sold_at: time(row.get(2)?) }))
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// What the books know of a ticket.
    pub fn ticket_state(
        &self,
        signed: &[u8; Ticket::LEN],
    ) -> Result<Option<TicketState>, StoreError> {
        read_state(&*self.reader()?, signed)
    }

    /// The tickets under one number: one, unless our key was stolen.
    pub fn tickets(&self, id: TicketId) -> Result<Vec<KnownTicket>, StoreError> {
        let failed = || StoreError::read("a ticket");
        let prefix = [&[1][..], &id.to_bytes()].concat();
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached("SELECT ticket, state FROM tickets WHERE ticket >= ?1 AND ticket < ?2")
            .map_err(failed())?;
        let rows = statement
            .query_map(params![prefix, end_of(&prefix)], |row| {
                Ok((row.get::<_, [u8; Ticket::LEN]>(0)?, row.get::<_, Vec<u8>>(1)?))
            })
            .map_err(failed())?;
        rows.map(|row| {
            let (signed, state) = row.map_err(failed())?;
            let ticket = Ticket::from_bytes(&signed)
                .map_err(|error| StoreError::damaged(format!("a ticket: {error}")))?;
            let sold_at: Option<i64> = reader
                .prepare_cached(
                    "SELECT min(sold_at) FROM ticket_sales WHERE token >= ?1 AND token < ?2",
                )
                .and_then(|mut s| s.query_row(params![signed, end_of(&signed)], |row| row.get(0)))
                .map_err(failed())?;
            Ok((ticket, parse(&state)?, sold_at.map(time)))
        })
        .collect()
    }
}

/// Above everything that begins with `prefix`.
fn end_of(prefix: &[u8]) -> Vec<u8> {
    [prefix, &[0xff; TicketToken::LEN]].concat()
}

impl Group<'_> {
    pub(super) fn ticket_state(
        &self,
        signed: &[u8; Ticket::LEN],
    ) -> Result<Option<TicketState>, StoreError> {
        read_state(&self.writer, signed)
    }

    pub(super) fn tickets(&self, booking: &Booking) -> Result<(), StoreError> {
        for sale in &booking.sales {
            self.writer
                .prepare_cached(
                    "INSERT INTO ticket_sales (token, sold_at, after_batch)
                     SELECT ?1, ?2, coalesce(max(id), 0) FROM batches",
                )
                .and_then(|mut s| s.execute(params![sale.token.0, sql_time(sale.sold_at)]))
                .map_err(StoreError::write("the sale of a ticket"))?;
        }
        for (signed, state) in &booking.tickets {
            self.writer
                .prepare_cached(
                    "INSERT INTO tickets (ticket, state) VALUES (?1, ?2)
                     ON CONFLICT (ticket) DO UPDATE SET state = excluded.state",
                )
                .and_then(|mut s| s.execute(params![signed, state.to_bytes()]))
                .map_err(StoreError::write("a ticket"))?;
        }
        Ok(())
    }
}

fn read_state(
    connection: &Connection,
    signed: &[u8; Ticket::LEN],
) -> Result<Option<TicketState>, StoreError> {
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached("SELECT state FROM tickets WHERE ticket = ?1")
        .and_then(|mut s| s.query_row([signed], |row| row.get(0)).optional())
        .map_err(StoreError::read("a ticket"))?;
    bytes.map(|bytes| parse(&bytes)).transpose()
}

fn parse(bytes: &[u8]) -> Result<TicketState, StoreError> {
    TicketState::from_bytes(bytes).ok_or_else(|| StoreError::damaged("the state of a ticket"))
}
