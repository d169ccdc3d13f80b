//! Walks along the taps of a card: there is no index by card (docs/schema.md).

use clearing::KnownRecord;
use model::{CardId, CardTransaction, Ctr, OperatorId, TapEvent};
use rusqlite::{Connection, OptionalExtension, params};

use super::{StoreError, codes::sql_card, group::journal_record};

/// One tap of a card, as far as a walk along its taps needs it.
pub(super) struct CardLink {
    pub(super) id: i64,
    pub(super) outcome: i64,
    pub(super) ctr: Option<u32>,
    pub(super) operator: Option<u16>,
    pub(super) cleared: bool,
}

/// Visits the taps of a card, the newest booked first, until `visit` says `false`.
pub(super) fn walk(
    connection: &Connection,
    card: CardId,
    mut visit: impl FnMut(&CardLink) -> Result<bool, StoreError>,
) -> Result<(), StoreError> {
    let failed = || StoreError::read("the taps of a card");
    let mut next: Option<i64> = connection
        .prepare_cached("SELECT last_tap FROM cards WHERE card = ?1")
        .and_then(|mut s| s.query_row([sql_card(card)], |row| row.get(0)).optional())
        .map_err(failed())?
        .flatten();
    while let Some(id) = next {
        let link = connection
            .prepare_cached("SELECT outcome, ctr, operator, prev, cleared FROM taps WHERE id = ?1")
            .and_then(|mut statement| {
                statement.query_row([id], |row| {
                    next = row.get(3)?;
                    Ok(CardLink {
                        id,
                        outcome: row.get(0)?,
                        ctr: row.get(1)?,
                        operator: row.get(2)?,
                        cleared: row.get(4)?,
                    })
                })
            })
            .map_err(failed())?;
        if !visit(&link)? {
            break;
        }
    }
    Ok(())
}

/// The record kept for a counter: a row of its own, or the tap that stands for it.
pub(super) fn known_record(
    connection: &Connection,
    card: CardId,
    ctr: Ctr,
) -> Result<Option<KnownRecord>, StoreError> {
    let body: Option<Vec<u8>> = connection
        .prepare_cached("SELECT body FROM records WHERE card = ?1 AND ctr = ?2")
        .and_then(|mut statement| {
            statement.query_row(params![sql_card(card), ctr.0], |row| row.get(0)).optional()
        })
        .map_err(StoreError::read("a card record"))?;
    if let Some(body) = body {
        let known = KnownRecord::from_bytes(&body);
        return known.map(Some).ok_or_else(|| StoreError::damaged("a card record"));
    }
    let mut found = None;
    walk(connection, card, |link| {
        if let (Some(operator), Some(of)) = (link.operator, link.ctr)
            && of == ctr.0
        {
            found = Some((link.id, operator));
        }
        Ok(found.is_none())
    })?;
    let Some((id, operator)) = found else { return Ok(None) };
    let TapEvent::Committed { transaction: CardTransaction { after, counters, .. }, .. } =
        journal_record(connection, id)?.event
    else {
        return Err(StoreError::damaged(format!("tap {id} stands for a record it did not write")));
    };
    Ok(Some(KnownRecord {
        record: after,
        source: clearing::Source::Tap,
        operator: (operator != u16::MAX).then_some(OperatorId(operator)),
        mispriced: false,
        counters,
    }))
}
