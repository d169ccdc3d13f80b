//! The one integration binary: real sled, SQLite, serial ports, broker, processes and browser.

mod broker;
mod fares;
mod readers;
mod tidy;
mod validator;
