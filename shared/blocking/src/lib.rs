//! Whether a card is refused everywhere: who says so, on what evidence, who agreed, until when.
//!
//! Invariants: no card is blocked by a proposal alone, whoever makes it and however many there are;
//! a case moves forward through its standings and never back; what goes into force within a window
//! is bounded, and above the bound nothing does before a second person has agreed (ADR-0020, REC-7,
//! REC-8).
//!
//! Knows no store, no clock and no network: what is decided here is written down by the caller.
#![no_std]
extern crate alloc;

mod breaker;
mod case;

pub use breaker::{Bound, Limits, Pass, Trip, pass};
pub use case::{Case, CaseId, Cause, Decided, Refused, Standing, grade_of};
