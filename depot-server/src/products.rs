//! What can be bought for a card besides value: passes, rides, and allowances in kind (ADR-0024).

use clearing::Rules;
use model::{
    CardProduct, CardRecord, Currency, Money, ProductError, ProductKind, ProductSale, ProductScope,
    ServiceDate, Timestamp,
};

use crate::config::Product;

/// A product as it is sold at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offered {
    /// What goes onto the card.
    pub sale: ProductSale,
    /// What it costs.
    pub price: Money,
}

/// Why a product cannot be sold.
#[derive(Debug, thiserror::Error)]
pub enum ProductRefused {
    /// Not in the configuration.
    #[error("there is no product {number}: {known}")]
    Unknown {
        /// What was asked for.
        number: u16,
        /// What there is.
        known: String,
    },
    /// A group that the tariff does not have: no validator would take it.
    #[error("product {number} is for the fare group {group:?}, which the tariff does not have")]
    Group {
        /// Which product.
        number: u16,
        /// Its group.
        group: String,
    },
    /// No amount of money.
    #[error("the price {price:?} of product {number} is no amount in {currency}")]
    Price {
        /// Which product.
        number: u16,
        /// As it stands in the configuration.
        price: String,
        /// The tariff's currency.
        currency: Currency,
    },
    /// No card can hold it.
    #[error("product {0} cannot stand on a card")]
    Product(u16, #[source] ProductError),
}

/// The product with this number, as it is sold at `paid_at`: valid from the beginning of that
/// service day on.
pub fn offered(
    products: &[Product],
    number: u16,
    rules: &Rules,
    (paid_at, now): (Timestamp, Timestamp),
) -> Result<Offered, ProductRefused> {
    let product = products.iter().find(|product| product.number == number).ok_or_else(|| {
        let known: Vec<_> = products.iter().map(|product| product.number.to_string()).collect();
        let known = match known.as_slice() {
            [] => "the configuration has no [[product]]".to_owned(),
            numbers => format!("the configuration has {}", numbers.join(", ")),
        };
        ProductRefused::Unknown { number, known }
    })?;
    let tariff = rules.tariffs().newest();
    let scope = match &product.group {
        None => ProductScope::EVERYTHING,
        Some(group) => tariff
            .scope_of(group)
            .ok_or_else(|| ProductRefused::Group { number, group: group.clone() })?,
    };
    let currency = rules.currency();
    let fits = |price: &Money| (0..=i64::from(CardRecord::AMOUNT_MAX)).contains(&price.minor());
    let price = Money::parse(&product.price, currency)
        .ok()
        .filter(fits)
        .ok_or_else(|| ProductRefused::Price { number, price: product.price.clone(), currency })?;
    let first = rules.service_day(paid_at, now);
    let secs = |at: Timestamp| u32::try_from(at.secs()).unwrap_or(u32::MAX);
    let (from_s, until_s) = match product.days {
        None => (0, 0),
        Some(days) => {
            let last = ServiceDate(first.0 + u32::from(days) - 1);
            let begins = secs(rules.end_of(ServiceDate(first.0.saturating_sub(1)), now));
            (begins, secs(rules.end_of(last, now)).saturating_sub(1))
        }
    };
    let kind = if product.rides.is_some() { ProductKind::Rides } else { ProductKind::Pass };
    let sold = CardProduct { id: number, kind, scope, serial: 0, from_s, until_s };
    let sale = ProductSale::new(sold, product.rides.unwrap_or(0));
    let sale = sale.map_err(|error| ProductRefused::Product(number, error))?;
    Ok(Offered { sale, price })
}
