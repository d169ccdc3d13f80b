//! Checks of the rates at which purses in other currencies are charged.

use alloc::{collections::BTreeSet, format, vec::Vec};

use model::Money;

use crate::{Exchange, TariffParts};

use super::{Flaw, PRICE_MAX, flaw};

pub(super) fn check_exchanges(parts: &TariffParts, flaws: &mut Vec<Flaw>) {
    let mut seen = BTreeSet::new();
    for (i, exchange) in parts.terms.exchanges.iter().enumerate() {
        let purse = exchange.currency();
        if purse == parts.currency {
            let advice = "leave the entry out: a purse in it needs no rate";
            flaw(flaws, ("exchange", i, "currency"), "is the tariff's own currency", advice);
        } else if !seen.insert(purse) {
            let advice = "put all rates of a currency into one entry";
            let message = format!("{purse} stands here a second time");
            flaw(flaws, ("exchange", i, "currency"), message, advice);
        } else {
            check_rates(parts, (i, exchange), flaws);
        }
    }
    for (i, example) in parts.examples.iter().enumerate() {
        if let Some(purse) = example.purse
            && purse.debit.currency() == parts.currency
        {
            let advice = "leave it out, or name another currency";
            flaw(flaws, ("example", i, "purse"), "is in the tariff's own currency", advice);
        }
    }
}

/// A rate that is mistyped by some zeros would let riders in and not out again, or let all of them
/// ride for nothing. Both show on the dearest amount of the tariff.
fn check_rates(parts: &TariffParts, (i, exchange): (usize, &Exchange), flaws: &mut Vec<Flaw>) {
    let dearest = Money::new(dearest(parts), parts.currency);
    for rate in exchange.rates() {
        let debit = exchange.convert(rate.rate, dearest);
        let shown = debit.map_or_else(|| "beyond counting".into(), |debit| format!("{debit}"));
        let message = format!("{dearest} is {shown} at the rate of {}", rate.from);
        if debit.is_none_or(|debit| debit.minor() > PRICE_MAX) {
            let most = Money::new(PRICE_MAX, exchange.currency());
            let advice = format!("correct the rate: a card's record holds up to {most} of a ride");
            flaw(flaws, ("exchange", i, "rates"), message, advice);
        } else if dearest.minor() > 0 && debit.is_some_and(|debit| debit.minor() == 0) {
            let advice = "correct the rate or the unit: nobody would pay anything";
            flaw(flaws, ("exchange", i, "rates"), message, advice);
        }
    }
}

/// The dearest amount that one ride can cost before surcharges.
fn dearest(parts: &TariffParts) -> i64 {
    let products = parts.products.iter().flat_map(|product| {
        let own = product.prices.iter().map(|(_, price)| *price);
        core::iter::once(product.price).chain(own)
    });
    let gate = parts.gate.iter().flat_map(|gate| {
        let bands = gate.same_station.iter().filter_map(|band| band.price);
        gate.maximum_fare.into_iter().chain(gate.minimum_balance).chain(bands)
    });
    let rules = parts.rules.iter().flat_map(|rules| &rules.set.products);
    let rules = rules.flat_map(|product| product.variants.iter().map(|variant| variant.amount));
    products.chain(gate).chain(rules).map(Money::minor).max().unwrap_or(0)
}
