//! Load orders: where each stands, and the journal's part for them (ADR-0015).
//!
//! Invariants: one payment of a channel is one order, however often it is told; the journal is only
//! added to, and each row's hash covers the row before; that a card shows an order is in no row of
//! it, because it follows from the taps.

use clearing::{BookedOrder, CreditId, DueOrder, ListTold, ListVersion, Offer, OrderPhase};
use model::{CardId, ChannelId, Epoch, LoadSeq, OrderId, ProductSale, TapSeq, ValidatorId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    Store, StoreError,
    codes::{card_of, purse_of, sql_card, sql_seq, sql_time, time, unsigned},
    due::{hold_due, release_due},
    event_journal::{EventJournal, EventRow},
    group::Group,
};
use crate::intake::stored::{Booking, BoughtProduct, OrderEvent};

/// Columns that make an order, in the order of `order_of`.
const ORDER: &str =
    "id, card, amount, channel, paid_at, phase, load_seq, not_after_s, without, purse,
     account, product, aged";

/// The journal's part for orders.
const JOURNAL: EventJournal = EventJournal { table: "order_journal", name: "the order journal" };

impl Store {
    /// An order by its number.
    pub fn order(&self, id: OrderId) -> Result<Option<BookedOrder>, StoreError> {
        Ok(orders(&*self.reader()?, "WHERE id = ?1", sql_order(id))?.pop())
    }

    /// The order that this payment of a channel became.
    pub fn order_of_payment(
        &self,
        channel: ChannelId,
        reference: &str,
    ) -> Result<Option<BookedOrder>, StoreError> {
        self.reader()?
            .prepare_cached(&format!(
                "SELECT {ORDER} FROM orders WHERE channel = ?1 AND reference = ?2"
            ))
            .and_then(|mut statement| {
                statement.query_row(params![channel.0, reference], order_of).optional()
            })
            .map_err(StoreError::read("a load order"))?
            .transpose()
    }

    /// Orders of a card, oldest first.
    pub fn orders_of(&self, card: CardId) -> Result<Vec<BookedOrder>, StoreError> {
        orders(&*self.reader()?, "WHERE card = ?1 ORDER BY id", sql_card(card))
    }

    /// Orders that are neither on their cards nor given back, oldest first.
    pub fn unfinished_orders(&self) -> Result<Vec<BookedOrder>, StoreError> {
        orders(&*self.reader()?, "WHERE phase < 4 AND id > ?1 ORDER BY id", 0)
    }

    /// The newest orders, newest first.
    pub fn newest_orders(&self, limit: u32) -> Result<Vec<BookedOrder>, StoreError> {
        orders(&*self.reader()?, "ORDER BY id DESC LIMIT ?1", limit.into())
    }

    /// The order journal from its first row. A row that is not what was booked is named.
    pub(crate) fn order_journal(&self) -> Result<Vec<EventRow<OrderEvent>>, StoreError> {
        JOURNAL.read(&*self.reader()?)
    }

    /// The list of orders that validators were given last, with its version; `None` before the
    /// first.
    pub fn orders_list(&self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        orders_list(&*self.reader()?)
    }

    /// Makes the list of orders from those that are out, under a new version when it is another.
    /// What is out cannot change meanwhile, so whoever withdraws an order knows which list is
    /// the first without it. Answers the newest version; 0 while there never was an order.
    pub fn make_orders_list<E: From<StoreError>>(
        &self,
        content: impl FnOnce(&[BookedOrder]) -> Result<Vec<u8>, E>,
    ) -> Result<u64, E> {
        let failed = || StoreError::write("the list of load orders");
        let mut writer = self.writer();
        let transaction = writer
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(failed())?;
        let out = orders(&transaction, "WHERE phase = 2 AND id > ?1 ORDER BY card", 0)?;
        let newest = orders_list(&transaction)?;
        if newest.is_none() && out.is_empty() {
            return Ok(0);
        }
        let content = content(&out)?;
        let version = match newest {
            Some((version, known)) if known == content => return Ok(version),
            newest => newest.map_or(0, |(version, _)| version) + 1,
        };
        transaction
            .execute(
                "INSERT INTO order_list (id, version, content) VALUES (1, ?1, ?2)
                 ON CONFLICT (id) DO UPDATE SET version = excluded.version,
                 content = excluded.content",
                params![i64::try_from(version).unwrap_or(i64::MAX), content],
            )
            .map_err(failed())?;
        transaction.commit().map_err(failed())?;
        Ok(version)
    }

    /// What each enrolled validator has told of its list of orders.
    pub fn lists_told(&self) -> Result<Vec<(ValidatorId, ListTold)>, StoreError> {
        let failed = || StoreError::read("which orders validators have");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT validators.id, settled, told, epoch, head FROM validators
                 LEFT JOIN orders_told ON orders_told.validator = validators.id",
            )
            .map_err(failed())?;
        let mut rows = statement.query([]).map_err(failed())?;
        let mut told = Vec::new();
        while let Some(row) = rows.next().map_err(failed())? {
            told.push(told_of(row).map_err(failed())??);
        }
        Ok(told)
    }
}

impl Group<'_> {
    pub(super) fn order_by_id(&self, id: OrderId) -> Result<Option<BookedOrder>, StoreError> {
        Ok(orders(&self.writer, "WHERE id = ?1", sql_order(id))?.pop())
    }

    pub(super) fn card_orders(&self, card: CardId) -> Result<Vec<BookedOrder>, StoreError> {
        orders(&self.writer, "WHERE card = ?1 ORDER BY id", sql_card(card))
    }

    /// The number of the next order.
    pub(crate) fn next_order(&self) -> Result<OrderId, StoreError> {
        self.writer
            .prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM orders")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map(|id| OrderId(unsigned(id)))
            .map_err(StoreError::read("the number of the next load order"))
    }

    /// The version of the next list of orders: the first without what is withdrawn now.
    pub(crate) fn next_orders_list(&self) -> Result<ListVersion, StoreError> {
        let newest = orders_list(&self.writer)?;
        Ok(ListVersion(newest.map_or(0, |(version, _)| version) + 1))
    }

    /// What became of orders, and the journal's part for them. Written after the batches and the
    /// desk's journal of the same group.
    pub(super) fn orders(&self, booking: &Booking) -> Result<(), StoreError> {
        self.order_rows(booking)?;
        self.payments(booking)?;
        self.autos(booking)?;
        for order in booking.orders.values() {
            let (phase, offer, without) = sql_phase(order.phase);
            let changed = self
                .writer
                .prepare_cached(
                    "UPDATE orders SET phase = ?2, load_seq = ?3, not_after_s = ?4, without = ?5,
                     aged = ?6 WHERE id = ?1",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        sql_order(order.id),
                        phase,
                        offer.map(|offer| offer.load_seq.0),
                        offer.map(|offer| offer.not_after_s),
                        without.map(|list| i64::try_from(list.0).unwrap_or(i64::MAX)),
                        order.overdue,
                    ])
                })
                .map_err(StoreError::write("a load order"))?;
            if changed != 1 {
                return Err(StoreError::damaged(format!("load order {} is gone", order.id)));
            }
        }
        Ok(())
    }

    fn order_rows(&self, booking: &Booking) -> Result<(), StoreError> {
        let at = sql_time(booking.at);
        for event in &booking.order_events {
            if let OrderEvent::Paid {
                order,
                card,
                amount,
                channel,
                reference,
                paid_at,
                purse,
                product,
                account,
            } = event
            {
                let sale = product.as_ref().and_then(BoughtProduct::sale);
                self.writer
                    .prepare_cached(
                        "INSERT INTO orders (id, card, amount, channel, reference, paid_at, purse,
                         product, account, phase) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, 1)",
                    )
                    .and_then(|mut statement| {
                        let card = sql_card(CardId(*card));
                        statement.execute(params![
                            i64::try_from(*order).unwrap_or(i64::MAX),
                            card,
                            amount,
                            channel,
                            reference,
                            i64::try_from(*paid_at).unwrap_or(i64::MAX),
                            purse,
                            sale.and_then(|sale| sale.to_bytes().ok()),
                            account,
                        ])
                    })
                    .map_err(StoreError::write("a load order"))?;
            }
            self.set_apart(event)?;
            self.statement(event, at)?;
        }
        self.append_events(JOURNAL, &booking.order_events, booking.at)
    }

    /// What a card is owed is set apart for the order that puts it on the card.
    fn set_apart(&self, event: &OrderEvent) -> Result<(), StoreError> {
        match event {
            OrderEvent::Paid { order, card, amount, channel, account: None, .. }
                if ChannelId(*channel) == ChannelId::ADJUSTMENT =>
            {
                let by = DueOrder::Load(*order);
                if hold_due(&self.writer, CardId(*card), by, i64::from(*amount))? {
                    return Ok(());
                }
                let what = format!("load order {order} is over more than its card is owed");
                Err(StoreError::damaged(what))
            }
            OrderEvent::GivenBack { order } => release_due(&self.writer, DueOrder::Load(*order)),
            OrderEvent::Paid { .. }
            | OrderEvent::Offered { .. }
            | OrderEvent::Withdrawn { .. }
            | OrderEvent::Renewed { .. }
            | OrderEvent::Credit { .. }
            | OrderEvent::Overdue { .. }
            | OrderEvent::Batch { .. }
            | OrderEvent::Statement { .. }
            | OrderEvent::Stated { .. }
            | OrderEvent::RefundAsked { .. }
            | OrderEvent::AutoSet { .. }
            | OrderEvent::AutoStopped { .. }
            | OrderEvent::Unstated { .. } => Ok(()),
        }
    }

    /// Keeps what validators told of their lists of orders.
    pub(super) fn told(&self, booking: &Booking) -> Result<(), StoreError> {
        for (validator, told) in &booking.orders_told {
            let pending = told.pending();
            self.writer
                .prepare_cached(
                    "INSERT INTO orders_told (validator, settled, told, epoch, head)
                     VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (validator) DO UPDATE SET settled = excluded.settled,
                     told = excluded.told, epoch = excluded.epoch, head = excluded.head",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        validator.number(),
                        i64::try_from(told.settled().0).unwrap_or(i64::MAX),
                        pending.map(|(list, ..)| i64::try_from(list.0).unwrap_or(i64::MAX)),
                        pending.map(|(_, epoch, _)| epoch.0),
                        pending.map(|(.., head)| sql_seq(head)),
                    ])
                })
                .map_err(StoreError::write("which orders a validator has"))?;
        }
        Ok(())
    }

    pub(super) fn told_by(&self, validator: ValidatorId) -> Result<ListTold, StoreError> {
        let failed = || StoreError::read("which orders a validator has");
        let told = self
            .writer
            .prepare_cached(
                "SELECT validator, settled, told, epoch, head FROM orders_told
                 WHERE validator = ?1",
            )
            .and_then(|mut statement| statement.query_row([validator.number()], told_of).optional())
            .map_err(failed())?;
        told.transpose().map(|told| told.map(|(_, told)| told).unwrap_or_default())
    }
}

fn told_of(row: &Row<'_>) -> rusqlite::Result<Result<(ValidatorId, ListTold), StoreError>> {
    let validator = super::codes::validator(row.get(0)?);
    let list = |number: i64| ListVersion(unsigned(number));
    let settled = list(row.get::<_, Option<i64>>(1)?.unwrap_or(0));
    let pending = match (row.get::<_, Option<i64>>(2)?, row.get::<_, Option<u32>>(3)?) {
        (Some(told), Some(epoch)) => {
            let head = row.get::<_, Option<i64>>(4)?.unwrap_or(0);
            Some((list(told), Epoch(epoch), TapSeq(unsigned(head))))
        }
        _ => None,
    };
    Ok(validator.map(|validator| (validator, ListTold::restored(settled, pending))))
}

fn orders_list(connection: &Connection) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
    connection
        .prepare_cached("SELECT version, content FROM order_list")
        .and_then(|mut statement| {
            statement.query_row([], |row| Ok((unsigned(row.get(0)?), row.get(1)?))).optional()
        })
        .map_err(StoreError::read("the list of load orders"))
}

fn sql_order(id: OrderId) -> i64 {
    i64::try_from(id.0).unwrap_or(i64::MAX)
}

const fn sql_phase(phase: OrderPhase) -> (i64, Option<Offer>, Option<ListVersion>) {
    match phase {
        OrderPhase::Waiting => (1, None, None),
        OrderPhase::Out(offer) => (2, Some(offer), None),
        OrderPhase::Withdrawn(offer, without) => (3, Some(offer), Some(without)),
        OrderPhase::Loaded => (4, None, None),
        OrderPhase::Refunded(offer) => (5, offer, None),
        OrderPhase::Owed => (6, None, None),
    }
}

pub(super) fn orders(
    connection: &Connection,
    of: &str,
    key: i64,
) -> Result<Vec<BookedOrder>, StoreError> {
    let failed = || StoreError::read("load orders");
    let sql = format!("SELECT {ORDER} FROM orders {of}");
    let mut statement = connection.prepare_cached(&sql).map_err(failed())?;
    let rows = statement.query_map([key], order_of).map_err(failed())?;
    rows.map(|row| row.map_err(failed())?).collect()
}

fn order_of(row: &Row<'_>) -> rusqlite::Result<Result<BookedOrder, StoreError>> {
    let id = OrderId(unsigned(row.get(0)?));
    let offer = match (row.get::<_, Option<u16>>(6)?, row.get::<_, Option<u32>>(7)?) {
        (Some(load_seq), Some(not_after_s)) => {
            Some(Offer { load_seq: LoadSeq(load_seq), not_after_s })
        }
        _ => None,
    };
    let without = row.get::<_, Option<i64>>(8)?.map(|list| ListVersion(unsigned(list)));
    let phase = match (row.get::<_, i64>(5)?, offer, without) {
        (1, None, None) => OrderPhase::Waiting,
        (2, Some(offer), None) => OrderPhase::Out(offer),
        (3, Some(offer), Some(without)) => OrderPhase::Withdrawn(offer, without),
        (4, None, None) => OrderPhase::Loaded,
        (5, offer, None) => OrderPhase::Refunded(offer),
        (6, None, None) => OrderPhase::Owed,
        _ => return Ok(Err(StoreError::damaged(format!("load order {id} stands nowhere")))),
    };
    let purse = match purse_of(row.get(9)?) {
        Ok(purse) => purse,
        Err(error) => return Ok(Err(error)),
    };
    let product = match row.get::<_, Option<[u8; ProductSale::LEN]>>(11)? {
        None => None,
        Some(bytes) => match ProductSale::from_bytes(&bytes) {
            Ok(sale) => Some(sale),
            Err(error) => {
                let what = format!("the product of load order {id}: {error}");
                return Ok(Err(StoreError::damaged(what)));
            }
        },
    };
    Ok(Ok(BookedOrder {
        id,
        card: card_of(row.get(1)?),
        amount: row.get(2)?,
        product,
        purse,
        channel: ChannelId(row.get(3)?),
        account: row.get::<_, Option<u32>>(10)?.map(CreditId),
        paid_at: time(row.get(4)?),
        phase,
        overdue: row.get(12)?,
    }))
}
