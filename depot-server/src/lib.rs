//! The depot server: takes taps from the fleet, books them, and shows the books.
//!
//! A shell: it touches the broker, the disk, the clock and browsers, and decides nothing about
//! money. The cores in `shared/` do (`clearing`, `ledger`, `fare`, `fleet-sync`).

pub mod app;
pub mod auth;
pub mod backup;
pub mod channels;
pub mod claims;
pub mod cli;
pub mod clock;
pub mod config;
pub mod corrections;
pub mod credit;
pub mod days;
pub mod desk;
pub mod doubts;
pub mod events;
pub mod export;
pub mod float;
pub mod hotlist;
pub mod http;
pub mod inbox;
pub mod intake;
pub mod list_keys;
pub mod lists;
pub mod metrics;
pub mod orders;
mod pages;
pub mod products;
pub mod receipts;
pub mod rules;
pub mod server;
pub mod settle;
pub mod steering;
pub mod store;
pub mod ticketing;
mod upkeep;
pub mod verify;
pub mod workload;
