//! Standing instructions of cards. The journal's part for them is the order journal's.

use clearing::{AutoSeen, AutoStop, AutoTopUp};
use model::{CardId, ChannelId, Timestamp};
use rusqlite::{Connection, Row, params};

use super::{
    Store, StoreError,
    codes::{card_of, sql_card, sql_time},
    group::Group,
};
use crate::{channels::auto::PREFIX, intake::stored::Booking};

const AUTO: &str = "card, below, amount, channel, per_day_max, stopped";

/// What a channel has to collect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToCollect {
    /// Under which it tells of the payment.
    pub reference: String,
    /// From whose holder.
    pub card: CardId,
    /// Minor units.
    pub amount: u32,
    /// When it was ordered.
    pub ordered_at: Timestamp,
}

impl Store {
    /// Every instruction, in the order of cards.
    pub fn auto_top_ups(&self) -> Result<Vec<AutoTopUp>, StoreError> {
        autos(&*self.reader()?, "WHERE card >= ?1 ORDER BY card", 0)
    }

    /// The instruction of a card.
    pub fn auto_top_up(&self, card: CardId) -> Result<Option<AutoTopUp>, StoreError> {
        Ok(autos(&*self.reader()?, "WHERE card = ?1", sql_card(card))?.pop())
    }

    /// Instructions whose cards are below their thresholds, with what the books know of each.
    pub(crate) fn autos_below(
        &self,
        day_ago: Timestamp,
    ) -> Result<Vec<(AutoTopUp, AutoSeen)>, StoreError> {
        let failed = || StoreError::read("cards to be topped up");
        let reader = self.reader()?;
        let sql = format!(
            "SELECT a.card, below, a.amount, a.channel, per_day_max, stopped,
                    c.credits_posted - c.debits_posted,
                    EXISTS (SELECT 1 FROM orders o WHERE o.card = a.card AND phase < 4),
                    (SELECT coalesce(sum(o.amount), 0) FROM orders o
                     WHERE o.card = a.card AND o.paid_at > ?1 AND o.reference LIKE '{PREFIX}%'
                       AND phase NOT IN (5, 6))
             FROM auto_top_ups a JOIN cards c ON c.card = a.card
             WHERE stopped IS NULL AND c.credits_posted - c.debits_posted < below
             ORDER BY a.card"
        );
        let mut statement = reader.prepare_cached(&sql).map_err(failed())?;
        let rows = statement
            .query_map([sql_time(day_ago)], |row| {
                let seen = AutoSeen {
                    balance: row.get(6)?,
                    is_awaited: row.get(7)?,
                    ordered_in_a_day: row.get(8)?,
                };
                Ok(auto_of(row)?.map(|auto| (auto, seen)))
            })
            .map_err(failed())?;
        rows.map(|row| row.map_err(failed())?).collect()
    }

    /// Instructions of which the last order was given back.
    pub(crate) fn autos_given_back(&self) -> Result<Vec<CardId>, StoreError> {
        let failed = || StoreError::read("top-ups that were given back");
        let reader = self.reader()?;
        let sql = format!(
            "SELECT card FROM auto_top_ups a WHERE stopped IS NULL AND
             (SELECT phase FROM orders o WHERE o.card = a.card AND o.id >= a.since
              AND o.reference LIKE '{PREFIX}%' ORDER BY id DESC LIMIT 1) IN (5, 6)"
        );
        let mut statement = reader.prepare_cached(&sql).map_err(failed())?;
        let rows = statement.query_map([], |row| Ok(card_of(row.get(0)?))).map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }

    /// Orders of instructions that no statement of their channel has yet.
    pub fn to_collect(&self, channel: ChannelId) -> Result<Vec<ToCollect>, StoreError> {
        let failed = || StoreError::read("what a channel is to collect");
        let reader = self.reader()?;
        let sql = format!(
            "SELECT o.reference, o.card, o.amount, o.paid_at FROM orders o
             JOIN payments p ON p.order_id = o.id
             WHERE o.channel = ?1 AND o.reference LIKE '{PREFIX}%' AND p.lines = '[]'
               AND p.refund = 0 AND o.phase NOT IN (5, 6) ORDER BY o.id"
        );
        let mut statement = reader.prepare_cached(&sql).map_err(failed())?;
        let rows = statement
            .query_map([channel.0], |row| {
                Ok(ToCollect {
                    reference: row.get(0)?,
                    card: card_of(row.get(1)?),
                    amount: row.get(2)?,
                    ordered_at: super::codes::time(row.get(3)?),
                })
            })
            .map_err(failed())?;
        rows.collect::<Result<_, _>>().map_err(failed())
    }
}

impl Group<'_> {
    pub(super) fn auto_of(&self, card: CardId) -> Result<Option<AutoTopUp>, StoreError> {
        Ok(autos(&self.writer, "WHERE card = ?1", sql_card(card))?.pop())
    }

    /// Instructions that were set or stopped.
    pub(super) fn autos(&self, booking: &Booking) -> Result<(), StoreError> {
        for auto in booking.autos.values() {
            self.writer
                .prepare_cached(
                    "INSERT INTO auto_top_ups
                     (card, below, amount, channel, per_day_max, stopped, since)
                     SELECT ?1, ?2, ?3, ?4, ?5, ?6, coalesce(max(id), 0) + 1 FROM orders WHERE true
                     ON CONFLICT (card) DO UPDATE SET below = excluded.below,
                     amount = excluded.amount, channel = excluded.channel,
                     per_day_max = excluded.per_day_max, stopped = excluded.stopped,
                     since = CASE WHEN excluded.stopped IS NULL THEN excluded.since
                             ELSE since END",
                )
                .and_then(|mut statement| {
                    statement.execute(params![
                        sql_card(auto.card),
                        auto.below,
                        auto.amount,
                        auto.channel.0,
                        auto.per_day_max,
                        auto.stopped.map(AutoStop::word),
                    ])
                })
                .map_err(StoreError::write("a standing instruction"))?;
        }
        Ok(())
    }
}

fn autos(connection: &Connection, of: &str, key: i64) -> Result<Vec<AutoTopUp>, StoreError> {
    let failed = || StoreError::read("standing instructions");
    let sql = format!("SELECT {AUTO} FROM auto_top_ups {of}");
    let mut statement = connection.prepare_cached(&sql).map_err(failed())?;
    let rows = statement.query_map([key], auto_of).map_err(failed())?;
    rows.map(|row| row.map_err(failed())?).collect()
}

fn auto_of(row: &Row<'_>) -> rusqlite::Result<Result<AutoTopUp, StoreError>> {
    let stopped: Option<String> = row.get(5)?;
    let stopped = match stopped.as_deref().map(AutoStop::from_word) {
        None => None,
        Some(Some(stop)) => Some(stop),
        Some(None) => {
            let what = format!("a standing instruction is stopped by {stopped:?}");
            return Ok(Err(StoreError::damaged(what)));
        }
    };
    Ok(Ok(AutoTopUp {
        card: card_of(row.get(0)?),
        below: row.get(1)?,
        amount: row.get(2)?,
        channel: ChannelId(row.get(3)?),
        per_day_max: row.get(4)?,
        stopped,
    }))
}
