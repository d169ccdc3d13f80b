//! Currencies at the desk: a card is served in that of its purse, and in no other (ADR-0019).

use card::CardFound;
use clearing::CardState;
use fare::Exchange;
use model::{CardId, CardRecord, Currency, Money, MoneyError};

use super::{DeskError, Station};

/// Cash that is put on a card. How much that is may be known only once the card is.
#[derive(Debug, Clone, Copy)]
pub enum Cash<'a> {
    /// Minor units of the card's own currency.
    Minor(u32),
    /// As the clerk wrote it, in the card's own currency; where `currency` is named, in that one,
    /// which then must be the card's.
    Written {
        /// Such as `20.00`.
        text: &'a str,
        /// Which money the clerk has taken.
        currency: Option<Currency>,
    },
}

impl From<u32> for Cash<'_> {
    fn from(minor: u32) -> Self {
        Self::Minor(minor)
    }
}

impl Cash<'_> {
    /// How much of a purse in `purse` it is.
    pub(super) fn in_purse(self, card: CardId, purse: Currency) -> Result<u32, DeskError> {
        match self {
            Self::Minor(minor) => Ok(minor),
            Self::Written { currency: Some(currency), .. } if currency != purse => {
                Err(DeskError::OtherCurrency { card, purse, wanted: currency })
            }
            Self::Written { text, .. } => written(text, purse),
        }
    }
}

/// An amount as clerks write it. One with decimals that the currency does not have was meant in
/// another, even when they are zeros.
pub fn written(text: &str, currency: Currency) -> Result<u32, DeskError> {
    let wrong = |source| DeskError::Amount { text: text.to_owned(), currency, source };
    let money = Money::parse(text, currency).map_err(wrong)?;
    let decimals = text.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    if decimals > usize::from(currency.exponent()) {
        let (text, exponent) = (text.to_owned(), currency.exponent());
        return Err(wrong(MoneyError::TooManyDecimals { text, currency, exponent }));
    }
    let fits = u32::try_from(money.minor()).ok().filter(|minor| *minor <= CardRecord::AMOUNT_MAX);
    fits.ok_or_else(|| DeskError::AmountRange {
        text: text.to_owned(),
        most: Money::new(CardRecord::AMOUNT_MAX.into(), currency),
    })
}

impl Station {
    /// The currency of a purse that the card says to be in `purse`.
    pub fn currency(&self, purse: Option<Currency>) -> Currency {
        purse.unwrap_or_else(|| self.rules.currency())
    }

    /// An amount in that currency.
    pub fn money_in(&self, purse: Option<Currency>, minor: i64) -> Money {
        Money::new(minor, self.currency(purse))
    }

    /// How a card is to be issued whose purse is in `currency`: `None` for the tariff's own.
    /// Refused where no validator would take it.
    pub fn purse_for(&self, currency: Currency) -> Result<Option<Currency>, DeskError> {
        if currency == self.rules.currency() {
            return Ok(None);
        }
        self.rate(currency)?;
        Ok(Some(currency))
    }

    /// By which rate the newest tariff takes a currency today.
    fn rate(&self, purse: Currency) -> Result<(&Exchange, fare::Rate), DeskError> {
        let tariff = self.rules.tariffs().newest();
        let no_rate = || DeskError::NoRate { purse, tariff: tariff.version() };
        let exchange = tariff.exchange(purse).ok_or_else(no_rate)?;
        let today = tariff.terms().calendar.service_day(self.clock.now());
        let rate = exchange.rate_on(today).ok_or_else(no_rate)?;
        Ok((exchange, rate.rate))
    }

    /// That no more stands on a card than `desk.balance_max` allows, which is an amount in the
    /// tariff's currency.
    pub(super) fn check_max(&self, purse: Option<Currency>, balance: i64) -> Result<(), DeskError> {
        let balance = self.money_in(purse, balance);
        match self.balance_max_in(purse)? {
            Some(most) if balance.minor() > most.minor() => Err(DeskError::AboveMax(balance, most)),
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn balance_max_in(
        &self,
        purse: Option<Currency>,
    ) -> Result<Option<Money>, DeskError> {
        let (Some(most), Some(purse)) = (self.balance_max, purse) else {
            return Ok(self.balance_max);
        };
        let (exchange, rate) = self.rate(purse)?;
        // More than 64 bits of minor units are more than any card holds.
        Ok(exchange.convert(rate, most))
    }

    /// That the books and the card mean the same purse.
    pub(super) fn check_purse(
        &self,
        card: CardId,
        state: &CardState,
        found: &CardFound,
    ) -> Result<(), DeskError> {
        if state.purse() == found.purse {
            return Ok(());
        }
        let (said, known) = (self.currency(found.purse), self.currency(state.purse()));
        Err(DeskError::Purse { card, said, known })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_with_the_decimals_of_their_currency_and_no_more() {
        let read = |text, letters| {
            let currency = Currency::parse(letters).unwrap();
            written(text, currency).map_err(|error| error.to_string())
        };
        for (text, letters, minor) in [
            ("20.00", "CHF", 2_000),
            ("20", "CHF", 2_000),
            ("20.5", "CHF", 2_050),
            ("20", "JPY", 20),
            ("1.250", "KWD", 1_250),
            ("0", "CHF", 0),
        ] {
            assert_eq!(read(text, letters), Ok(minor), "{text} {letters}");
        }
        for (text, letters, names) in [
            ("20.00", "JPY", "20.00"),
            ("20.005", "CHF", "CHF"),
            ("20,00", "CHF", "20,00"),
            ("-1", "CHF", "-1"),
            ("20000000", "JPY", "16777215 JPY"),
        ] {
            let refused = read(text, letters).unwrap_err();
            assert!(refused.contains(names), "{text} {letters}: {refused}");
        }
    }

    #[test]
    fn cash_in_another_currency_than_the_purse_is_refused() {
        let [francs, euros] = ["CHF", "EUR"].map(|letters| Currency::parse(letters).unwrap());
        let card = CardId([4, 1, 2, 3, 4, 5, 6]);
        let cash = |currency| Cash::Written { text: "20.00", currency };
        assert_eq!(cash(None).in_purse(card, francs).unwrap(), 2_000);
        assert_eq!(cash(Some(francs)).in_purse(card, francs).unwrap(), 2_000);
        let refused = cash(Some(euros)).in_purse(card, francs).unwrap_err().to_string();
        assert!(refused.contains("CHF") && refused.contains("EUR"), "{refused}");
    }
}
