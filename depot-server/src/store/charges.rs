//! What credit accounts spent, opened to the taps of their cards.

use std::collections::BTreeMap;

use clearing::CreditId;
use model::{CardId, ServiceDate, Timestamp};
use rusqlite::Connection;

use super::{
    Store, StoreError,
    codes::{card_of, time},
    walk::walk,
};

/// What was spent and became debt at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditCharge {
    /// Which of the account's, from 1.
    pub number: u32,
    /// When.
    pub day: ServiceDate,
    /// Minor units; below zero: came back.
    pub amount: i64,
    /// The taps in it.
    pub taps: Vec<CreditTap>,
}

/// A tap of an account's card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreditTap {
    /// Which card.
    pub card: CardId,
    /// When.
    pub tapped_at: Timestamp,
    /// By which validator.
    pub validator: u32,
    /// Its number there.
    pub entry: (u32, i64),
    /// What it charged, minor units.
    pub amount: i64,
}

impl Store {
    /// What became debt, oldest first, with the taps of each time.
    pub fn credit_charges(&self, id: CreditId) -> Result<Vec<CreditCharge>, StoreError> {
        let failed = || StoreError::read("what a credit account spent");
        let reader = self.reader()?;
        let mut statement = reader
            .prepare_cached(
                "SELECT number, day, amount, through FROM credit_charges
                 WHERE account = ?1 ORDER BY number",
            )
            .map_err(failed())?;
        let rows = statement
            .query_map([id.0], |row| {
                let day = ServiceDate(row.get(1)?);
                let (number, amount) = (row.get(0)?, row.get(2)?);
                let charge = CreditCharge { number, day, amount, taps: Vec::new() };
                Ok((charge, row.get::<_, i64>(3)?))
            })
            .map_err(failed())?;
        let mut charges: Vec<(CreditCharge, i64)> =
            rows.collect::<Result<_, _>>().map_err(failed())?;
        for (tap, place) in taps(&reader, id)? {
            if let Some((charge, _)) = charges.iter_mut().find(|(_, through)| place <= *through) {
                charge.taps.push(tap);
            }
        }
        Ok(charges.into_iter().map(|(charge, _)| charge).collect())
    }
}

/// Taps that charged something while their cards were the account's, in the order of booking, each
/// with its place.
fn taps(connection: &Connection, id: CreditId) -> Result<Vec<(CreditTap, i64)>, StoreError> {
    let failed = || StoreError::read("the taps of a credit account");
    let mut spans = connection
        .prepare_cached("SELECT card, since, until FROM credit_cards WHERE account = ?1")
        .map_err(failed())?;
    let spans = spans
        .query_map([id.0], |row| {
            let until = row.get::<_, Option<i64>>(2)?.unwrap_or(i64::MAX);
            Ok((card_of(row.get(0)?), row.get::<_, i64>(1)?, until))
        })
        .map_err(failed())?;
    let mut found = BTreeMap::new();
    for span in spans {
        let (card, since, until) = span.map_err(failed())?;
        let mut places = Vec::new();
        walk(connection, card, |link| {
            // Committed, or confirmed after a doubt.
            let counts = link.cleared && matches!(link.outcome, 0 | 3) && link.id <= until;
            if counts && link.id > since {
                places.push(link.id);
            }
            Ok(link.id > since)
        })?;
        for place in places {
            let tap = connection
                .prepare_cached(
                    "SELECT tapped_at, validator, epoch, seq, amount FROM taps WHERE id = ?1",
                )
                .and_then(|mut statement| {
                    statement.query_row([place], |row| {
                        Ok(CreditTap {
                            card,
                            tapped_at: time(row.get(0)?),
                            validator: row.get(1)?,
                            entry: (row.get(2)?, row.get(3)?),
                            amount: row.get::<_, Option<i64>>(4)?.unwrap_or(0),
                        })
                    })
                })
                .map_err(failed())?;
            if tap.amount > 0 {
                found.insert(place, tap);
            }
        }
    }
    Ok(found.into_iter().map(|(place, tap)| (tap, place)).collect())
}
