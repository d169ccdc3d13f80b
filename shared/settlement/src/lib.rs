//! What happens to a day of cleared taps: it is closed, its fares are shared, its taps are proven.
//!
//! Invariants: a closed day is a function of the transfers and taps booked into it, whatever their
//! order (REC-11); shares add up to the fare, to the unit (REC-12); nothing in here that leaves the
//! depot names a card (PRV-6).
//!
//! A crate of its own beside `clearing`, which takes one tap into the books: here whole days are
//! looked at afterwards, and nothing moves that `clearing` decided (ADR-0018).
#![no_std]
extern crate alloc;

mod day;
mod hex;
mod holding;
mod merkle;
mod products;
mod receipt;
mod runs;
mod share;
mod statement;
#[cfg(test)]
mod tests;

pub use day::{AccountDay, AccountsHash, DayDocument, DayHead, DayLedger, DocumentError, Total};
pub use holding::{Dormancy, DormancyPolicy, Held};
pub use merkle::{MerkleTree, root_from_path};
pub use products::{ProductRide, ProductRides, ProductRules, ProductSplit, by_sale, product_rides};
pub use receipt::{Receipt, ReceiptError, Salt, TapFacts};
pub use runs::{Ride, Run, runs};
pub use share::{Leg, NoFee, ShareRules, Split, WHOLE, largest_remainder};
pub use statement::{Line, OperatorRow, Revenue, Statement, Why};
