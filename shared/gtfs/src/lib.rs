//! A GTFS feed → its network and its tariff, with findings that name file, row and field.
//!
//! Invariants: what a feed says is imported exactly or refused by name, never priced nearly; an
//! unknown fare stays unknown; nothing here decides a charge (that is `fare`). Fares v1 is read;
//! Fares v2 is named and refused.
//!
//! Words: a *place* is a station with all its platforms, or a stop that belongs to none; its
//! index is the tariff's `PlaceIx`. A *pattern* is one order of places that trips of a route run.

mod csv_table;
mod diagnostic;
mod fares_v1;
mod feed;
mod import;
mod network;
mod timetable;
mod zones;

pub use diagnostic::{Diagnostic, Severity};
pub use feed::{Feed, FeedError};
pub use import::{Import, ImportOptions, import};
pub use network::{Network, NetworkRoute, Pattern};

#[cfg(test)]
mod tests;
