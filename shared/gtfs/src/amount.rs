//! Amounts of money as feeds write them.

use model::{Currency, Money};

use crate::{
    csv_table::Row,
    diagnostic::{At, Findings},
};

/// The currency of a row; `None` when it is unknown or not that of the feed.
pub(crate) fn currency(
    row: &Row<'_>,
    field: &'static str,
    text: &str,
    of_feed: &mut Option<Currency>,
    found: &mut Findings,
) -> Option<Currency> {
    let own = match Currency::parse(text) {
        Ok(own) => own,
        Err(why) => {
            found.error("invalid_currency", row.of(field), why.to_string());
            return None;
        }
    };
    let first = *of_feed.get_or_insert(own);
    if first != own {
        let message = format!("{own} beside {first}: the fares of a feed are in one currency");
        found.error("several_currencies", row.of(field), message);
        return None;
    }
    Some(own)
}

/// A decimal amount. One that is exact but has not the decimals of ISO 4217 is taken, and noted.
pub(crate) fn amount(
    text: &str,
    currency: Currency,
    at: At<'_>,
    found: &mut Findings,
) -> Option<Money> {
    let money = match Money::parse(text, currency) {
        Ok(money) => money,
        Err(why) => {
            found.error("invalid_currency_amount", at, why.to_string());
            return None;
        }
    };
    let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    if decimals != usize::from(currency.exponent()) {
        let message = format!("{text:?} is read as {money}: write it as {}", money.decimal());
        found.warning("invalid_currency_amount", at, message);
    }
    Some(money)
}
