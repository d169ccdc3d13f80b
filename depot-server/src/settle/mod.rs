//! Settling closed days: what each operator earned and is paid, made from rows that never change.
//!
//! The first settling of a day keeps its rows and the rules that were used; settling it again makes
//! them again from the closed day and compares, so that a statement once given out stays true. With
//! them it posts what each issuer owes each operator (ADR-0023), in the same commit.

mod csv;
mod owed;
mod products;
mod rules;
#[cfg(test)]
mod tests;

use clearing::{OperatorShare, Rules};
use model::{OperatorId, ServiceDate};
use settlement::{NoFee, OperatorRow, Revenue, Statement, runs};

pub use csv::{lines_csv, statement_csv, suspense_csv};
pub(crate) use owed::owed_at;
pub use owed::{Owed, PayError, owed, owed_csv, pay};
pub use products::{ProductLine, SharedProduct, product_lines_csv, products_csv, share_products};
pub use rules::{ShareBook, ShareRulesError};

use crate::{
    days::{CloseError, closed_again},
    intake::{IntakeError, Workplace, office::OfficeEvent, step::book_office},
    store::{SettledRow, StoreError, Suspense},
};

/// Why a day cannot be settled.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The day is open, or its bookings changed since it was closed.
    #[error(transparent)]
    Day(#[from] CloseError),
    /// Nothing says how.
    #[error("no share rules are valid on {0}: add a [[rules]] with an earlier valid_from")]
    NoRules(ServiceDate),
    /// Products are shared by the rules that a day was settled with.
    #[error("{0} is not settled: run `settle --day {0}` first")]
    NotSettled(ServiceDate),
    /// Nothing says how products are shared.
    #[error("the rules of {0} do not say how products are shared: add `products` to them")]
    NoProducts(ServiceDate),
    /// Nothing says what is kept of each ride in another currency.
    #[error("the day cannot be settled: add `fees_in` with that currency to the rules, such as 0")]
    NoFee(#[from] NoFee),
    /// The rules.
    #[error(transparent)]
    Rules(#[from] ShareRulesError),
    /// What was given out says otherwise.
    #[error(
        "{day} was settled otherwise than its bookings make now, first for {operator}: run \
             `depot-server verify --from-journal`"
    )]
    Changed {
        /// Which day.
        day: ServiceDate,
        /// Whose row differs first.
        operator: String,
    },
    /// The books.
    #[error("the books could not settle a day")]
    Store(#[from] StoreError),
    /// The ledger.
    #[error("a settled day could not be posted")]
    Post(#[from] IntakeError),
}

/// A settled day.
#[derive(Debug, Clone)]
pub struct Settled {
    /// Its statements with every line, one an issuer and currency: those of the issuer that the
    /// books began with first, and the tariff's first.
    pub statements: Vec<Statement>,
    /// Amounts in suspense at its end, oldest first.
    pub suspense: Vec<Suspense>,
}

/// Settles a closed day by the rules in `text`, or again by the rules that it was settled with.
pub fn settle(
    place: &Workplace,
    text: Option<&str>,
    day: ServiceDate,
) -> Result<Settled, SettleError> {
    let closed = closed_again(place, day)?;
    let kept = place.store.settlement(day)?;
    let text = kept.as_ref().map(|(text, _)| text.as_str()).or(text).unwrap_or_default();
    let book = match text {
        "" => ShareBook::plain(),
        text => ShareBook::parse(text, &place.rules)?,
    };
    let rules = book.on(day).ok_or(SettleError::NoRules(day))?;
    let mut revenue = Revenue::default();
    place.store.closed_transfers(&closed, |transfer| {
        let happened = place.rules.service_day(transfer.event_at, transfer.booked_at);
        revenue.take(&transfer, happened);
    })?;
    let runs = runs(place.store.day_rides(&closed)?, &place.rules);
    let found = place.store.cards_found(&closed)?;
    let tariffs = place.rules.currency();
    let statements = Statement::of_day(day, tariffs, &revenue, &runs, &found, rules)?;
    let suspense = place.store.suspense(day)?;
    let rows: Vec<_> = statements.iter().flat_map(|statement| rows(place, statement)).collect();
    if let Some((_, kept)) = &kept {
        let differs = kept.iter().zip(&rows).find(|(kept, made)| kept != made);
        let differs = differs.map(|(kept, _)| kept.operator.clone());
        let differs = differs.or((kept.len() != rows.len()).then(|| "an operator".to_owned()));
        if let Some(operator) = differs {
            return Err(SettleError::Changed { day, operator });
        }
    }
    if !place.store.is_posted(day)? {
        let shares: Vec<_> = statements.iter().flat_map(shares).collect();
        let events: Vec<_> = shares.iter().map(OfficeEvent::settled).collect();
        let group = place.store.begin()?;
        let booking = book_office(&group, &place.rules, &events, place.clock.now());
        group.settle_day(day, text, &rows, &booking.map_err(IntakeError::from)?)?;
    }
    Ok(Settled { statements, suspense })
}

/// The operator's id in the newest tariff, for people and files.
pub fn operator_name(place: &Workplace, operator: Option<OperatorId>) -> String {
    operator_of(&place.rules, operator)
}

/// The same, for who has no more than the rules.
pub(crate) fn operator_of(rules: &Rules, operator: Option<OperatorId>) -> String {
    let Some(OperatorId(number)) = operator else { return "unattributed".to_owned() };
    let operators = rules.tariffs().newest().operators();
    let known = operators.get(usize::from(number)).map(|operator| operator.id.clone());
    known.unwrap_or_else(|| number.to_string())
}

/// What a statement says is owed, row by row; rows without money are none.
fn shares(statement: &Statement) -> impl Iterator<Item = OperatorShare> {
    let Statement { day, currency, issuer, .. } = *statement;
    let rows = statement.rows.iter();
    rows.map(move |(operator, row)| {
        let (gross, shared, fee) = (row.gross, row.shared, row.fee);
        OperatorShare { day, issuer, operator: *operator, currency, gross, shared, fee }
    })
    .filter(|share| (share.gross, share.shared, share.fee) != (0, 0, 0))
}

fn rows(place: &Workplace, statement: &Statement) -> Vec<SettledRow> {
    let purse = (statement.currency != place.rules.currency()).then_some(statement.currency);
    let row = |(operator, row): (&Option<OperatorId>, &OperatorRow)| SettledRow {
        operator: operator_name(place, *operator),
        purse,
        issuer: statement.issuer,
        row: *row,
    };
    statement.rows.iter().map(row).collect()
}
