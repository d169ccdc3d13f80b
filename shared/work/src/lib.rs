//! What work is expected of a validator, and whether it does it (OPS-1, ADR-0030).
//!
//! A frozen reader says nothing of itself: its program runs, its link is up, it counts as in
//! service. But riders come at the same hours every week. So what a validator sees is compared with
//! what it usually sees at that hour of that weekday, as far as the other validators see what they
//! usually see: a holiday or a storm is nobody's fault.
//!
//! Invariants: nobody is named where little is expected; a validator that sees more is never judged
//! worse; where all others see nothing either, nobody is named. It says what is so, and moves
//! nothing. Days and hours are UTC: the weekday's hours shift by one when clocks change, and the
//! comparison with the others carries that.
#![no_std]
extern crate alloc;

mod judge;
mod usual;

pub use judge::{
    Demand, HOURS, Hour, Judgement, MANY, TooFew, Workload, availability, hour_start, judge,
};
pub use usual::{DAYS, DAYS_MIN, HOURS_OF_DAY, WEEKS, WEEKS_MIN, usual};

/// One hour in milliseconds.
pub const HOUR_MS: u64 = 3_600_000;
