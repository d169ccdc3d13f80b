//! Tickets that are shown as a code: their text, who signed them, and what is believed.
//!
//! Invariants: any text is a ticket or refused by name, never a panic; nothing of a ticket is
//! looked at before its signature held; whoever holds public keys only can believe tickets and
//! never make one.
//!
//! What a ticket grants stands in `model::Ticket`; whether it may be used here and now is
//! `validation`'s to decide. `docs/tickets.md` describes every byte (ADR-0010).
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod keys;
#[cfg(test)]
mod tests;
mod text;

pub use keys::{Disbelief, TicketKeys, issue, key_id};
pub use text::{PREFIX, TEXT_LEN, TextError, from_text, to_text};

pub use ed25519_dalek::{SigningKey, VerifyingKey};
