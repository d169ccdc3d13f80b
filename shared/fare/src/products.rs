//! Which product on the card pays for a ride: a pass first, then a ride of a multi-ride product,
//! then stored value (ADR-0009).
//!
//! A product pays when it is valid at the journey's first tap and its scope covers the ride's fare
//! group. It then pays whatever the ride costs: its fare, what a transfer right leaves of it, or
//! the maximum fare of a missing tap-out. A product that does not pay is named with the reason.

use alloc::{format, string::String, sync::Arc, vec, vec::Vec};

use model::{CardProduct, ProductKind, ProductSlot, ProductUse, ProductValidity, ProductsFound};

use crate::{Param, price::RideFacts};

/// What a product had to do with a charge. The number is the product's id, as its seller knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProductStep {
    /// A pass pays.
    PassPays(u16),
    /// A ride pays; so many are left.
    RidePays {
        /// The product.
        product: u16,
        /// Rides left after this one.
        left: u32,
    },
    /// The journey that opens is paid by it; no stored value is needed to enter.
    Covers(u16),
    /// Its validity is over.
    Ended {
        /// The product.
        product: u16,
        /// Seconds since its last one.
        ago_s: u64,
    },
    /// Its validity is still to come.
    NotYetValid {
        /// The product.
        product: u16,
        /// Seconds to its first one.
        in_s: u64,
    },
    /// It is valid, for other rides.
    NotHere(u16),
    /// No ride is left of it.
    UsedUp(u16),
    /// A slot that a later release wrote.
    Unknown(ProductSlot),
}

impl ProductStep {
    /// The key of its message; stable, because translations hang on it.
    pub const fn key(&self) -> &'static str {
        match self {
            Self::PassPays(_) => "pass-pays",
            Self::RidePays { .. } => "ride-pays",
            Self::Covers(_) => "product-covers",
            Self::Ended { .. } => "product-ended",
            Self::NotYetValid { .. } => "product-not-yet-valid",
            Self::NotHere(_) => "product-not-here",
            Self::UsedUp(_) => "product-used-up",
            Self::Unknown(_) => "product-unknown",
        }
    }

    /// The facts of its message, by name.
    pub fn params(&self) -> Vec<(&'static str, Param)> {
        let product = |id: u16| ("product", Param::Count(id.into()));
        match *self {
            Self::PassPays(id) | Self::Covers(id) | Self::NotHere(id) | Self::UsedUp(id) => {
                vec![product(id)]
            }
            Self::RidePays { product: id, left } => {
                vec![product(id), ("left", Param::Count(left.into()))]
            }
            Self::Ended { product: id, ago_s } => vec![product(id), ("ago", Param::Seconds(ago_s))],
            Self::NotYetValid { product: id, in_s } => {
                vec![product(id), ("in", Param::Seconds(in_s))]
            }
            Self::Unknown(slot) => vec![("slot", Param::Count(slot.number().into()))],
        }
    }

    /// One line of English.
    pub fn text(&self) -> String {
        match *self {
            Self::PassPays(id) => format!("Paid by your pass (product {id})"),
            Self::RidePays { product, left } => {
                format!("Paid by one of your rides (product {product}), {left} left")
            }
            Self::Covers(id) => format!("Product {id} pays this journey"),
            Self::Ended { product, ago_s } => {
                format!("Product {product} ended {} ago", span(ago_s))
            }
            Self::NotYetValid { product, in_s } => {
                format!("Product {product} is valid only in {}", span(in_s))
            }
            Self::NotHere(id) => format!("Product {id} is not valid for this ride"),
            Self::UsedUp(id) => format!("No ride is left of product {id}"),
            Self::Unknown(slot) => {
                format!("The product in place {} is not known here", slot.number())
            }
        }
    }

    /// The rule that a step names.
    pub(crate) fn rule(&self) -> Arc<str> {
        match *self {
            Self::PassPays(id)
            | Self::RidePays { product: id, .. }
            | Self::Covers(id)
            | Self::Ended { product: id, .. }
            | Self::NotYetValid { product: id, .. }
            | Self::NotHere(id)
            | Self::UsedUp(id) => format!("product {id}").into(),
            Self::Unknown(slot) => format!("product slot {}", slot.number()).into(),
        }
    }
}

/// Days, hours or minutes, rounded down.
fn span(secs: u64) -> String {
    let (n, unit) = match secs {
        0..60 => (secs, "second"),
        60..3_600 => (secs / 60, "minute"),
        3_600..86_400 => (secs / 3_600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    format!("{n} {unit}{}", if n == 1 { "" } else { "s" })
}

/// The products on a card while one tap is priced.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wallet {
    held: Option<ProductsFound>,
    pub(crate) used: ProductUse,
}

impl Wallet {
    pub(crate) fn new(held: Option<ProductsFound>) -> Self {
        Self { held, used: ProductUse::default() }
    }

    /// What the next tap will find.
    pub(crate) fn left(&self) -> Option<ProductsFound> {
        let held = self.held?;
        let rides = held.rides.map(|rides| rides.saturating_sub(self.used.rides.into()));
        Some(ProductsFound { rides, ..held })
    }

    /// Whether a pass pays a ride of this group that began at `at`; it is used then.
    pub(crate) fn use_pass(&mut self, ride: &RideFacts<'_>) -> Option<ProductStep> {
        let (slot, pass) = self.pass(ride)?;
        self.used.pass = Some(slot);
        Some(ProductStep::PassPays(pass.id))
    }

    /// Whether a ride pays; it is taken then.
    pub(crate) fn use_ride(&mut self, ride: &RideFacts<'_>) -> Option<ProductStep> {
        let (product, left) = self.ride(ride)?;
        self.used.rides += 1;
        Some(ProductStep::RidePays { product: product.id, left: left - 1 })
    }

    /// The product that would pay for a journey that opens here.
    pub(crate) fn covering(&self, ride: &RideFacts<'_>) -> Option<ProductStep> {
        let pass = self.pass(ride).map(|(_, pass)| pass);
        let product = pass.or_else(|| self.ride(ride).map(|(product, _)| product))?;
        Some(ProductStep::Covers(product.id))
    }

    /// Whether it is a pass that would pay.
    pub(crate) fn has_pass(&self, ride: &RideFacts<'_>) -> bool {
        self.pass(ride).is_some()
    }

    /// Why each product on the card does not pay.
    pub(crate) fn reasons(&self, ride: &RideFacts<'_>) -> Vec<ProductStep> {
        let Some(held) = self.held else { return Vec::new() };
        let reason = |slot| match held.file.slot(slot) {
            Ok(product) => reason(&product?, ride),
            Err(_) => Some(ProductStep::Unknown(slot)),
        };
        ProductSlot::ALL.into_iter().filter_map(reason).collect()
    }

    fn pass(&self, ride: &RideFacts<'_>) -> Option<(ProductSlot, CardProduct)> {
        let held = self.held?;
        ProductSlot::ALL.into_iter().find_map(|slot| {
            let product = held.file.slot(slot).ok().flatten()?;
            let pays = product.kind == ProductKind::Pass && valid(&product, ride);
            pays.then_some((slot, product))
        })
    }

    /// The product with rides and how many are left, at least one.
    fn ride(&self, ride: &RideFacts<'_>) -> Option<(CardProduct, u32)> {
        let product = self.held?.file.with_rides()?;
        let left = self.left()?.rides.filter(|left| *left > 0)?;
        let more = self.used.rides < ProductUse::RIDES_MAX;
        (more && valid(&product, ride)).then_some((product, left))
    }
}

fn valid(product: &CardProduct, ride: &RideFacts<'_>) -> bool {
    product.validity(ride.began) == ProductValidity::Valid && is_for(product, ride)
}

/// Whether the scope on the card and the tariff's terms hold this ride.
fn is_for(product: &CardProduct, ride: &RideFacts<'_>) -> bool {
    let terms = ride.tariff.terms().passes.iter().find(|terms| terms.number == product.id);
    product.scope.covers(ride.tariff.group_name(ride.group))
        && terms.is_none_or(|terms| {
            let here = |route| terms.routes.contains(&route);
            (terms.routes.is_empty() || ride.route.is_some_and(here))
                && terms.time.is_none_or(|band| ride.tariff.in_time(band, ride.began))
        })
}

fn reason(product: &CardProduct, ride: &RideFacts<'_>) -> Option<ProductStep> {
    let id = product.id;
    match product.validity(ride.began) {
        ProductValidity::Over(ago_s) => Some(ProductStep::Ended { product: id, ago_s }),
        ProductValidity::NotYet(in_s) => Some(ProductStep::NotYetValid { product: id, in_s }),
        ProductValidity::Valid if !is_for(product, ride) => Some(ProductStep::NotHere(id)),
        ProductValidity::Valid => match product.kind {
            ProductKind::Rides => Some(ProductStep::UsedUp(id)),
            ProductKind::Pass => None,
        },
    }
}
