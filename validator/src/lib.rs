//! The validator: the daemon that takes taps offline and brings them to the depot.
//!
//! `tap_loop` drives the validation core, `log_keeper` owns the tap log and its store,
//! `sync_loop` drives the uplink, `daemon` wires them. They meet only in channels. This crate
//! touches the world and decides nothing about money.

pub mod attendant;
pub mod card_show;
pub mod cli;
pub mod clock;
pub mod config;
pub mod console;
pub mod daemon;
pub mod doctor;
mod gate_task;
mod gnss_task;
mod guard;
mod health;
pub mod journal;
pub mod keys;
pub mod lists;
pub mod log_keeper;
pub mod metrics;
mod reader_task;
pub mod releases;
pub mod riders;
mod room;
pub mod salvage;
mod scanner_task;
pub mod selftest;
mod simulate;
mod speech;
pub mod store;
mod supervision;
mod sync_loop;
mod tap_loop;
mod terminal;

pub use daemon::{Daemon, Parts, StartError};
pub use rider as screen;
pub use speech::Payloads;
pub use tap_loop::Service;

/// An error and everything below it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        text = format!("{text}: {error}");
        below = error.source();
    }
    text
}

/// Spreads retries; nothing secret hangs on it.
fn random_u32() -> u32 {
    getrandom::u32().unwrap_or(0)
}
