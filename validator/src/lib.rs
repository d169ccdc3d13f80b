//! The validator: the daemon that takes taps offline and brings them to the depot.
//!
//! `tap_loop` drives the validation core, `log_keeper` owns the tap log and its store,
//! `sync_loop` drives the uplink. They meet only in channels. This crate touches the world and
//! decides nothing about money.

pub mod clock;
pub mod config;
pub mod guard;
pub mod reader;
pub mod store;
