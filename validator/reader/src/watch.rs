//! Watching a field by looking at it again and again: until something is there, until it is gone.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{Presence, ReaderError};

/// A card at the edge of the field answers now and then: gone means twice not there.
const GONE_LOOKS: u32 = 2;

/// When to look, and what was found last.
pub(crate) struct Watch {
    looks: Interval,
    gone_looks: Interval,
    found: Option<Presence>,
}

impl Watch {
    /// With the time between two looks at an empty field, and at a card left lying.
    pub(crate) fn new(look: Duration, gone: Duration) -> Self {
        let period = |period| {
            let mut looks = interval(period);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            looks
        };
        Self { looks: period(look), gone_looks: period(gone), found: None }
    }

    /// What was found last, unless it has gone.
    pub(crate) const fn found(&self) -> Option<Presence> {
        self.found
    }
}

/// A reader that cannot tell by itself when something comes or goes.
pub(crate) trait Looking: Send {
    /// Its watch.
    fn watch(&mut self) -> &mut Watch;

    /// One look at the field.
    fn look(&mut self) -> impl Future<Output = Result<Option<Presence>, ReaderError>> + Send;

    /// Looks until something is there.
    fn until_found(&mut self) -> impl Future<Output = Result<Presence, ReaderError>> + Send {
        async {
            loop {
                self.watch().looks.tick().await;
                if let Some(found) = self.look().await? {
                    self.watch().found = Some(found);
                    return Ok(found);
                }
            }
        }
    }

    /// Looks until what was found last has gone, or something else has taken its place.
    fn until_gone(&mut self) -> impl Future<Output = Result<(), ReaderError>> + Send {
        async {
            let mut absences = 0;
            while absences < GONE_LOOKS && self.watch().found.is_some() {
                self.watch().gone_looks.tick().await;
                match self.look().await? {
                    None => absences += 1,
                    present if present == self.watch().found => absences = 0,
                    Some(_) => break,
                }
            }
            self.watch().found = None;
            Ok(())
        }
    }
}
