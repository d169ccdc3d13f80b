//! Pure pricing: (tariffs, journey so far, tap) → a quote that explains itself.
//!
//! Invariants: integers only; the same inputs give the same quote on a bus and in the depot; the
//! steps of a quote sum to its charge; an unknown fare is never free; pricing one tap costs the
//! same whatever the number of stops and rules. Nothing here reads a clock, a file or a card.
//!
//! Words: a *tariff* is one version of all rules, written as TOML; a *gate* place is paid by
//! tap-in and tap-out, a *flat* route by one tap; a *run* is the rides tied by one transfer right.
#![no_std]
extern crate alloc;

mod at_gate;
mod compile;
mod diagnostic;
mod document;
mod exchange;
mod journey;
mod parse;
mod price;
mod products;
mod progress;
pub mod rules;
mod step;
mod tariff;
mod tariff_set;
mod terms;
mod write;

pub use at_gate::{NotPassed, UnknownFare};
pub use diagnostic::{Diagnostic, Layer, Severity};
pub use document::micro as parse_degrees;
pub use exchange::{DatedRate, ExamplePurse, Exchange, ExchangeError, Exchanged, Rate, RateError};
pub use journey::{FareTap, Journey, LastTap};
pub use price::{FareRefusal, Quote, companions, price};
pub use products::ProductStep;
pub use progress::CapProgress;
pub use step::{Param, Step, StepKind};
pub use tariff::{
    Class, Example, ExampleRide, Gate, GroupIx, MODES, Mode, Operator, Place, PlaceKind, Product,
    ProductIx, Route, SameStation, Tariff, TariffParts, TariffRules, Transfer, TransferPrice,
};
pub use tariff_set::{TariffSet, TariffSetError};
pub use terms::{
    Adjustment, Calendar, Cap, CapLevel, CapPeriod, Change, CompanionTerms, Days, HOLIDAY,
    Interchange, PassTerms, ROUNDINGS, Rounding, Scope, Terms, TimeBand, TimeIx,
};

#[cfg(test)]
mod tests;
