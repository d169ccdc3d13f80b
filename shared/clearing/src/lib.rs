//! One tap, arrival → postings: the depot's half of what `validation` does on the bus.
//!
//! Invariants: the books are a function of the *set* of records cleared, whatever their order,
//! delay or repetition (REC-1); a card's account equals the balance on its newest known record, to
//! the unit, however many records are lost (I4, REC-2); every unit stands on an account that says
//! why it is there (I8); open work items are derived from the card's state, so opened = resolved +
//! open always (REC-14); all of a card stands in the one ledger of its purse's currency (ADR-0019).
//!
//! What arrives here is already verified: signature, hash chain and card proof are the intake's
//! work. Nothing in here stores, counts time, or knows CBOR, MQTT or SQL. The specification with
//! a worked example is `docs/reconciliation.md`.
#![no_std]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod account;
mod auto;
mod chain;
mod clear;
mod clocks;
mod correct;
mod counted;
mod credit;
mod desk;
mod due;
mod exception;
mod issuer;
mod known;
mod load;
mod operator;
mod order;
mod period;
mod postings;
mod products;
mod purse;
mod reprice;
mod state;
mod state_bytes;
mod stated;
#[cfg(test)]
mod tests;
mod ticket;
mod told;
mod unserved;

pub use account::{Account, CauseCode};
pub use auto::{AutoSeen, AutoStop, AutoTopUp};
pub use clear::{ClearError, Cleared, Issue, Outcome, clear, expire, register_issue};
pub use clocks::{CLOCKS_APART_S, ClockDay, ClockGap, ClockPair};
pub use correct::{WriteOff, attribute_record, unclaimed};
pub use credit::{
    Bill, CreditAccount, CreditId, CreditKind, CreditTerms, Dunning, MovedCredit, PastDue,
    RefillSeen, TermsError, met_load, returned_to_account, unmet_load, worth,
};
pub use desk::{DeskDeed, DeskEntry, Discontinuity, Taken, clear_desk};
pub use due::{
    CardHistory, DayBooked, DayDue, Due, DueChange, DueOrder, DueRow, RepairRule, Repaired,
    Repriced, may_owe,
};
pub use exception::{
    Evidence, Exception, ExceptionChange, ExceptionId, ExceptionKind, ValidatorFinding,
    in_doubt_item,
};
pub use issuer::{IssuerAccount, IssuerMisfit};
pub use known::{Known, KnownRecord, Overlay, Source, TapRef, transaction};
pub use load::LoadItem;
pub use operator::{OperatorPayment, OperatorShare, ProductShare};
pub use order::{
    BookedOrder, CardSeen, ClearedOrder, ListVersion, Offer, OrderPhase, OrderRefused,
};
pub use period::Period;
pub use postings::record_digest;
pub use products::{unexplained_sale, unsold};
pub use purse::PurseMisfit;
pub use reprice::{Priced, Rules};
pub use state::{CardState, Difference, Doubt, Fork, Gap, Unserved};
pub use state_bytes::StateError;
pub use stated::{ChannelPayment, Restated, Stated, StatedLine, Verdict};
pub use ticket::{ClearedTicket, TicketState, TicketUse, clear_sale, clear_use};
pub use told::ListTold;
