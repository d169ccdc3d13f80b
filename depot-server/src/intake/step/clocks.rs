//! Clocks that the cards' counters contradict (REC-17). Moves nothing.
//!
//! What a group shows of a day is worked into items once, at its end: who is named follows from
//! everything known of that day.

use std::collections::BTreeMap;

use clearing::{ClockDay, ClockGap};
use model::{ServiceDate, TapRecord};

use super::{Desk, StepError};
use crate::intake::stored::Stored;

/// What is known of the clocks of each day that the group tells of: before it, and with it.
pub(super) type Clocks = BTreeMap<ServiceDate, (ClockDay, ClockDay)>;

impl<S: Stored> Desk<'_, S> {
    /// Of an entry that the card proves, whether it was cleared or not: a copy tells the same.
    pub(super) fn clock_of(&mut self, tap: &TapRecord) -> Result<(), StepError<S::Error>> {
        let Some(gap) = ClockGap::of(tap) else { return Ok(()) };
        let day = gap.pair().day;
        if !self.clocks.contains_key(&day) {
            let known = self.stored.clock_gaps(day).map_err(StepError::Stored)?;
            let known = ClockDay::new(known);
            self.clocks.insert(day, (known.clone(), known));
        }
        if let Some((_, known)) = self.clocks.get_mut(&day)
            && known.learn(gap)
        {
            self.booking.clock_gaps.insert(gap.pair(), gap);
        }
        Ok(())
    }

    /// The items that the group opens, changes and resolves.
    pub(super) fn tell_of_clocks(&mut self) {
        for (before, after) in self.clocks.values() {
            self.booking.exceptions.extend(before.changes(after, self.booking.at));
        }
    }
}
