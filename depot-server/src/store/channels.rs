//! Payments of channels and their statements (ADR-0021). The journal's part for them is the order
//! journal's.

use std::collections::BTreeSet;

use clearing::{CardHistory, Stated, StatedLine};
use model::{CardId, CardRecord, ChannelId, Currency, Money, OrderId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::{
    Store, StoreError,
    codes::{card_of, sql_card, sql_time, time, unsigned},
    due::history,
    group::Group,
};
use crate::{
    channels::{bulk::BatchTotal, webhook::Answer},
    intake::stored::{Booking, OrderEvent},
};

/// A line as the database holds it.
#[derive(Serialize, Deserialize)]
struct Line {
    amount: i64,
    currency: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    card: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paid_at: Option<i64>,
    copy: u32,
    statement: u32,
    row: u32,
}

/// A statement that was handed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StatementRow {
    /// Its number.
    pub id: u32,
    /// Lines in it.
    pub lines: u32,
    /// Of them, stated before.
    pub known: u32,
    /// When it was handed in.
    pub at: Timestamp,
}

/// A payment with its key.
type PaymentRow = (ChannelId, String, Stated);

/// How much a channel has to do with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChannelTally {
    /// Which.
    pub channel: ChannelId,
    /// Payments that became orders.
    pub orders: u64,
    /// Lines of orders that have not come, and since when the oldest was paid.
    pub awaited: u64,
    /// When the oldest of them was paid.
    pub oldest: Option<Timestamp>,
}

impl Store {
    /// What is known of a payment beside its order.
    pub fn stated(
        &self,
        channel: ChannelId,
        reference: &str,
    ) -> Result<Option<Stated>, StoreError> {
        payment(&*self.reader()?, channel, reference)
    }

    /// The statement of this content, when it was handed in before.
    pub fn statement_of(
        &self,
        channel: ChannelId,
        sha256: &str,
    ) -> Result<Option<StatementRow>, StoreError> {
        statement_of(&*self.reader()?, channel, sha256)
    }

    /// Visits every payment of a channel, or of all.
    pub fn each_payment(
        &self,
        channel: Option<ChannelId>,
        mut visit: impl FnMut(PaymentRow) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let failed = || StoreError::read("payments");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT channel, reference, order_id, lines, overdue, refund, revision FROM payments
                 WHERE ?1 IS NULL OR channel = ?1 ORDER BY channel, reference",
            )
            .map_err(failed())?;
        let mut rows = statement.query([channel.map(|channel| channel.0)]).map_err(failed())?;
        while let Some(row) = rows.next().map_err(failed())? {
            let key = || -> rusqlite::Result<_> {
                Ok((ChannelId(row.get(0)?), row.get::<_, String>(1)?))
            };
            let (channel, reference) = key().map_err(failed())?;
            visit((channel, reference, stated_at(row, 2).map_err(failed())??))?;
        }
        Ok(())
    }

    /// Channels that took payments, with what is awaited of them.
    pub fn channel_tallies(&self) -> Result<Vec<ChannelTally>, StoreError> {
        let failed = || StoreError::read("the payments of channels");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT payments.channel, count(order_id),
                        count(*) FILTER (WHERE lines = '[]' AND phase NOT IN (5, 6)),
                        min(paid_at) FILTER (WHERE lines = '[]' AND phase NOT IN (5, 6))
                 FROM payments LEFT JOIN orders ON orders.id = payments.order_id
                 GROUP BY payments.channel ORDER BY payments.channel",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| {
                Ok(ChannelTally {
                    channel: ChannelId(row.get(0)?),
                    orders: unsigned(row.get(1)?),
                    awaited: unsigned(row.get(2)?),
                    oldest: row.get::<_, Option<i64>>(3)?.map(time),
                })
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Orders that are to be given back and are neither that nor on their cards.
    pub(crate) fn refunds_asked(&self) -> Result<BTreeSet<OrderId>, StoreError> {
        let failed = || StoreError::read("orders to be given back");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT order_id FROM payments JOIN orders ON orders.id = order_id
                 WHERE refund = 1 AND phase < 4",
            )
            .map_err(failed())?;
        let rows =
            statement.query_map([], |row| Ok(OrderId(unsigned(row.get(0)?)))).map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// What a provider was answered to this event, with the hash of its body.
    pub(crate) fn provider_event(
        &self,
        channel: ChannelId,
        id: &str,
    ) -> Result<Option<(String, Answer)>, StoreError> {
        let found: Option<(String, String)> = self
            .reader()?
            .prepare_cached(
                "SELECT sha256, answer FROM provider_events WHERE channel = ?1 AND event = ?2",
            )
            .and_then(|mut statement| {
                let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
                statement.query_row(params![channel.0, id], read).optional()
            })
            .map_err(StoreError::read("an event of a provider"))?;
        let Some((sha256, answer)) = found else { return Ok(None) };
        let answer = serde_json::from_str(&answer)
            .map_err(|error| StoreError::damaged(format!("the event {id:?}: {error}")))?;
        Ok(Some((sha256, answer)))
    }

    /// Keeps what a provider is answered to an event.
    pub(crate) fn keep_provider_event(
        &self,
        channel: ChannelId,
        id: &str,
        sha256: &str,
        answer: &Answer,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let failed = || StoreError::write("an event of a provider");
        let answer = serde_json::to_string(answer).map_err(|error| StoreError::Write {
            what: "an event of a provider",
            source: error.to_string().into(),
        })?;
        self.writer()
            .prepare_cached(
                "INSERT INTO provider_events (channel, event, sha256, answer, at)
                 VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",
            )
            .and_then(|mut s| s.execute(params![channel.0, id, sha256, answer, sql_time(now)]))
            .map(|_| ())
            .map_err(failed())
    }

    /// Every batch of orders, with what became of it.
    pub fn batch_totals(&self) -> Result<Vec<BatchTotal>, StoreError> {
        let failed = || StoreError::read("batches of load orders");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT of.channel, of.batch, count(*), sum(o.amount),
                        count(*) FILTER (WHERE o.phase = 4),
                        coalesce(sum(o.amount) FILTER (WHERE o.phase = 4), 0),
                        count(*) FILTER (WHERE o.phase >= 5),
                        coalesce(sum(o.amount) FILTER (WHERE o.phase >= 5), 0)
                 FROM order_batches of
                 JOIN orders o ON o.id >= of.first AND o.id < of.first + of.orders
                 GROUP BY of.channel, of.batch ORDER BY max(of.first)",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([], |row| {
                let pair = |at: usize| -> rusqlite::Result<(u64, i64)> {
                    Ok((unsigned(row.get(at)?), row.get(at + 1)?))
                };
                Ok(BatchTotal {
                    channel: ChannelId(row.get(0)?),
                    batch: row.get(1)?,
                    orders: pair(2)?,
                    loaded: pair(4)?,
                    given_back: pair(6)?,
                })
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// What of a card's loads a desk made, or a channel was paid for (or is owed for by the
    /// holder), minor units.
    pub(crate) fn loads_met(&self, card: CardId) -> Result<i64, StoreError> {
        let failed = || StoreError::read("the loads of a card");
        let reader = self.reader()?;
        let orders: i64 = reader
            .prepare_cached(
                "SELECT coalesce(sum(amount), 0) FROM orders WHERE card = ?1 AND phase IN (4, 6)",
            )
            .and_then(|mut s| s.query_row([sql_card(card)], |row| row.get(0)))
            .map_err(failed())?;
        let mut statement = reader
            .prepare_cached("SELECT after FROM desk_journal WHERE card = ?1 AND kind = 2")
            .map_err(failed())?;
        let mut rows = statement.query([sql_card(card)]).map_err(failed())?;
        let mut met = orders;
        while let Some(row) = rows.next().map_err(failed())? {
            let bytes: [u8; CardRecord::LEN] = row.get(0).map_err(failed())?;
            let record = CardRecord::from_bytes(&bytes)
                .map_err(|error| StoreError::damaged(format!("a load at a desk: {error}")))?;
            met += i64::from(record.amount);
        }
        Ok(met)
    }

    /// Everything known of a card's transactions.
    pub(crate) fn history_of(&self, card: CardId) -> Result<CardHistory, StoreError> {
        history(&*self.reader()?, card)
    }

    /// Whether a card is reported as lost.
    pub(crate) fn is_lost(&self, card: CardId) -> Result<bool, StoreError> {
        self.reader()?
            .prepare_cached("SELECT 1 FROM lost_cards WHERE card = ?1")
            .and_then(|mut statement| statement.exists([sql_card(card)]))
            .map_err(StoreError::read("a lost card"))
    }

    /// References of orders of a channel that were paid before then, and of which no statement
    /// says anything and nobody was told yet.
    pub fn unstated_payments(
        &self,
        channel: ChannelId,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let failed = || StoreError::read("payments that no statement has");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT payments.reference FROM payments JOIN orders ON orders.id = order_id
                 WHERE payments.channel = ?1 AND lines = '[]' AND overdue = 0
                   AND paid_at < ?2 AND phase NOT IN (5, 6)
                 ORDER BY order_id LIMIT ?3",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map(params![channel.0, sql_time(before), limit], |row| row.get(0))
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }
}

impl Group<'_> {
    pub(super) fn stated_by(
        &self,
        channel: ChannelId,
        reference: &str,
    ) -> Result<Option<Stated>, StoreError> {
        payment(&self.writer, channel, reference)
    }

    pub(super) fn order_reference(&self, id: OrderId) -> Result<Option<String>, StoreError> {
        self.writer
            .prepare_cached("SELECT reference FROM orders WHERE id = ?1")
            .and_then(|mut statement| {
                let id = i64::try_from(id.0).unwrap_or(i64::MAX);
                statement.query_row([id], |row| row.get(0)).optional()
            })
            .map_err(StoreError::read("the reference of a load order"))
    }

    /// The same under the lock: two programs may hand one statement in.
    pub(crate) fn statement_of(
        &self,
        channel: ChannelId,
        sha256: &str,
    ) -> Result<Option<StatementRow>, StoreError> {
        statement_of(&self.writer, channel, sha256)
    }

    /// The number of the next statement.
    pub(crate) fn next_statement(&self) -> Result<u32, StoreError> {
        self.writer
            .query_row("SELECT coalesce(max(id), 0) + 1 FROM statements", [], |row| row.get(0))
            .map_err(StoreError::read("the number of the next statement"))
    }

    /// A batch of orders among the events.
    fn batch(&self, event: &OrderEvent, at: i64) -> Result<(), StoreError> {
        let OrderEvent::Batch { channel, batch, sha256, first, orders } = event else {
            return Ok(());
        };
        let first = i64::try_from(*first).unwrap_or(i64::MAX);
        self.writer
            .prepare_cached(
                "INSERT INTO order_batches (first, orders, channel, batch, sha256, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .and_then(|mut s| s.execute(params![first, orders, channel, batch, sha256, at]))
            .map(|_| ())
            .map_err(StoreError::write("a batch of load orders"))
    }

    /// A statement or a batch among the events.
    pub(super) fn statement(&self, event: &OrderEvent, at: i64) -> Result<(), StoreError> {
        self.batch(event, at)?;
        let OrderEvent::Statement { statement, channel, sha256, lines, known } = event else {
            return Ok(());
        };
        self.writer
            .prepare_cached(
                "INSERT INTO statements (id, channel, sha256, lines, known, at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )
            .and_then(|mut s| s.execute(params![statement, channel, sha256, lines, known, at]))
            .map(|_| ())
            .map_err(StoreError::write("a statement"))
    }

    /// Payments that were touched.
    pub(super) fn payments(&self, booking: &Booking) -> Result<(), StoreError> {
        let failed = || StoreError::write("a payment");
        for ((channel, reference), stated) in &booking.stated {
            let lines: Vec<_> = stated.lines.iter().map(line_row).collect();
            let lines = serde_json::to_string(&lines).map_err(|error| StoreError::Write {
                what: "a payment",
                source: error.to_string().into(),
            })?;
            self.writer
                .prepare_cached(
                    "INSERT INTO payments
                     (channel, reference, order_id, lines, overdue, refund, revision)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                     ON CONFLICT (channel, reference) DO UPDATE SET order_id = excluded.order_id,
                     lines = excluded.lines, overdue = excluded.overdue,
                     refund = excluded.refund,
                     revision = excluded.revision",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        channel.0,
                        reference,
                        stated.order.map(|id| i64::try_from(id.0).unwrap_or(i64::MAX)),
                        lines,
                        stated.overdue,
                        stated.refund,
                        stated.revision,
                    ])
                })
                .map_err(failed())?;
        }
        Ok(())
    }
}

fn statement_of(
    connection: &Connection,
    channel: ChannelId,
    sha256: &str,
) -> Result<Option<StatementRow>, StoreError> {
    connection
        .prepare_cached(
            "SELECT id, lines, known, at FROM statements WHERE channel = ?1 AND sha256 = ?2",
        )
        .and_then(|mut statement| {
            let read = |row: &Row<'_>| {
                let (id, lines, known) = (row.get(0)?, row.get(1)?, row.get(2)?);
                Ok(StatementRow { id, lines, known, at: time(row.get(3)?) })
            };
            statement.query_row(params![channel.0, sha256], read).optional()
        })
        .map_err(StoreError::read("a statement"))
}

fn payment(
    connection: &Connection,
    channel: ChannelId,
    reference: &str,
) -> Result<Option<Stated>, StoreError> {
    connection
        .prepare_cached(
            "SELECT order_id, lines, overdue, refund, revision FROM payments
             WHERE channel = ?1 AND reference = ?2",
        )
        .and_then(|mut statement| {
            statement.query_row(params![channel.0, reference], |row| stated_at(row, 0)).optional()
        })
        .map_err(StoreError::read("a payment"))?
        .transpose()
}

fn stated_at(row: &Row<'_>, at: usize) -> rusqlite::Result<Result<Stated, StoreError>> {
    let order = row.get::<_, Option<i64>>(at)?.map(|id| OrderId(unsigned(id)));
    let lines: String = row.get(at + 1)?;
    let (overdue, refund, revision) = (row.get(at + 2)?, row.get(at + 3)?, row.get(at + 4)?);
    let read = || -> Option<Vec<StatedLine>> {
        let lines: Vec<Line> = serde_json::from_str(&lines).ok()?;
        lines.into_iter().map(|line| line_at(&line)).collect()
    };
    let damaged = || StoreError::damaged(format!("the lines of the payment of order {order:?}"));
    Ok(read().ok_or_else(damaged).map(|lines| Stated { order, lines, overdue, refund, revision }))
}

fn line_row(line: &StatedLine) -> Line {
    Line {
        amount: line.amount.minor(),
        currency: line.amount.currency().numeric(),
        card: line.card.map(sql_card),
        paid_at: line.paid_at.map(sql_time),
        copy: line.copy,
        statement: line.statement,
        row: line.row,
    }
}

fn line_at(line: &Line) -> Option<StatedLine> {
    Some(StatedLine {
        amount: Money::new(line.amount, Currency::from_numeric(line.currency).ok()?),
        card: line.card.map(|card| -> CardId { card_of(card) }),
        paid_at: line.paid_at.map(time),
        copy: line.copy,
        statement: line.statement,
        row: line.row,
    })
}
