//! `[[product]]`: passes and rides that can be bought for a card, and go onto it by a load order.

use serde::{Deserialize, Serialize};

use super::ConfigError;

/// A product that can be bought. See `docs/orders.md`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Product {
    /// Its number, 1 to 65535: what cards carry and riders read.
    pub number: u16,
    /// What people call it.
    #[serde(default)]
    pub name: String,
    /// What it costs, in the tariff's currency, such as `12.50`; `0.00` of an allowance.
    pub price: String,
    /// The fare group that it is good for; absent: every ride.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Rides that come with it, 1 to 9999; absent: it is a pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rides: Option<u16>,
    /// Service days that it is valid for, the day of the payment the first, 1 to 3660. Rides may
    /// have no end, a pass has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub days: Option<u16>,
}

/// Whether these products can be sold.
pub(super) fn check(products: &[Product]) -> Result<(), ConfigError> {
    let value = |key, problem: String| Err(ConfigError::Value { key, problem });
    for (at, product) in products.iter().enumerate() {
        let number = product.number;
        if number == 0 {
            return value("product.number", "use 1 to 65535".into());
        }
        if products.iter().take(at).any(|other| other.number == number) {
            return value("product.number", format!("{number} stands twice"));
        }
        if product.rides.is_some_and(|rides| !(1..=9999).contains(&rides)) {
            return value("product.rides", format!("product {number}: use 1 to 9999 rides"));
        }
        if product.days.is_some_and(|days| !(1..=3660).contains(&days)) {
            return value("product.days", format!("product {number}: use 1 to 3660 days"));
        }
        if product.rides.is_none() && product.days.is_none() {
            let problem = format!("product {number} is a pass without an end: say its days");
            return value("product.days", problem);
        }
    }
    Ok(())
}
