//! A GTFS feed → its network and its tariff, with findings that name file, row and field.
//!
//! Invariants: what a feed says is imported exactly or refused by name, never priced nearly; an
//! unknown fare stays unknown; nothing here decides a charge (that is `fare`). [`read_feed_fares`]
//! reads both fare models whole, as the feed states them; [`import`] makes a validator's tariff of
//! Fares v1, and names Fares v2 and refuses it.
//!
//! Words: a *place* is a station with all its platforms, or a stop that belongs to none; its
//! index is the tariff's `PlaceIx`. A *pattern* is one order of places that trips of a route run.

mod amount;
mod base;
mod columns;
mod csv_table;
mod dates;
mod diagnostic;
mod fares;
mod fares_v1;
mod feed;
mod ids;
mod import;
mod import_rules;
mod network;
mod rides;
mod tickets;
mod timetable;
mod v2;
mod zones;

pub use dates::zone_offsets;
pub use diagnostic::{Diagnostic, Severity};
pub use fares::{FaresRead, FeedFares, read_feed_fares};
pub use feed::{Feed, FeedError};
pub use import::{Import, ImportOptions, import};
pub use network::{Network, NetworkRoute, Pattern};

#[cfg(test)]
mod tests;
