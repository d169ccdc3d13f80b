//! The one integration binary: real sled, SQLite, serial ports, broker, processes and browser.
#![allow(clippy::panic, clippy::unwrap_used, reason = "every function here is part of a test")]

mod accounts;
mod attacks;
mod broker;
mod browser;
mod caps;
mod custody;
mod day;
mod demo;
mod deploy;
mod evidence;
mod exports;
mod fare_commands;
mod fare_feeds;
mod fare_purses;
mod fares;
mod fleet;
mod foreign_programs;
mod gates;
mod gnss;
mod health;
mod hotlist;
mod issuing;
mod journal;
mod journeys;
mod kill;
mod lists;
#[cfg(feature = "libnfc")]
mod nfc_helper;
mod office;
mod orders;
mod outage;
mod processes;
mod products;
mod purse;
mod radio;
mod readers;
mod relay;
mod simulate;
mod steering;
mod tearing;
mod tickets;
mod tidy;
mod town;
mod validator;
mod wrong_input;
