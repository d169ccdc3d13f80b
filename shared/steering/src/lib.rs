//! What validators are to be: taking taps or not, under which settings, running which software.
//!
//! Invariants: whatever is said to one validator outranks what is said to all; what has an end ends
//! by itself at both ends alike; nothing here speaks of money, keys or the link (ADR-0028).
//!
//! Knows no store, no clock and no network: what is decided here is written down by the caller.
#![no_std]
extern crate alloc;

mod desired;
mod rollout;
mod settings;
mod standing;

pub use desired::{desired, next_end};
pub use rollout::{FailureBound, Tally, chooses, plan_of};
pub use settings::{
    Applies, OwnSettings, SETTINGS, SaidTo, Setting, SettingsProblem, Takes, check_setting,
    own_settings, setting, settings_choose, settings_of,
};
pub use standing::{Next, Outcome, STARTS_MAX, Standing, Trial};
