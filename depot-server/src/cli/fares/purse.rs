//! A card whose purse is in another currency than the tariff's: how a charge became what it pays.

use fare::{Exchanged, Quote};
use model::{Currency, Money};
use serde::Serialize;
use texts::Language;

use super::line::Object;

/// One conversion, as it is written out.
#[derive(Debug, Serialize)]
pub(super) struct ExchangeLine {
    /// Purse units for one unit of the tariff's currency.
    rate: String,
    /// The service day from which it holds.
    since: String,
    rounding: &'static str,
    /// To whole multiples of this, in the purse's currency.
    unit: String,
    pub(super) text: String,
}

/// What a journey takes off a purse in another currency.
#[derive(Debug, Serialize)]
pub(super) struct PurseTotal {
    pub(super) currency: &'static str,
    pub(super) total: String,
    /// Of each tap that charges something.
    pub(super) exchange: Vec<ExchangeLine>,
}

impl ExchangeLine {
    pub(super) fn new(language: Language, exchanged: &Exchanged) -> Self {
        Self {
            rate: exchanged.rate.to_string(),
            since: exchanged.since.to_string(),
            rounding: exchanged.rounding.word(),
            unit: exchanged.unit.decimal(),
            text: texts::exchange_text(language, exchanged),
        }
    }
}

impl PurseTotal {
    pub(super) fn of(
        language: Language,
        debits: Money,
        quotes: &[Quote],
        tariffs: Currency,
    ) -> Option<Self> {
        let currency = debits.currency();
        let charged = quotes.iter().filter(|quote| quote.charge.minor() != 0);
        let exchanged = charged.filter_map(|quote| quote.exchanged.as_ref());
        (currency != tariffs).then(|| Self {
            currency: currency.letters(),
            total: debits.decimal(),
            exchange: exchanged.map(|one| ExchangeLine::new(language, one)).collect(),
        })
    }
}

/// The currency of the purse that a line names, or the tariff's.
pub(super) fn currency_of(line: &Object<'_>, tariffs: Currency) -> Result<Currency, String> {
    let Some(card) = line.object("card")? else { return Ok(tariffs) };
    let Some(letters) = card.text("currency").map_err(|why| format!("card.{why}"))? else {
        return Ok(tariffs);
    };
    Currency::parse(&letters).map_err(|why| format!("card.currency: {why}"))
}
