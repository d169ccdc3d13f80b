//! The depot's clock: the only file of this program that reads one.
//!
//! Everything else is told the time. A demo may let the depot live faster than the wall clock, and
//! a test sets the time by hand; nobody who is told the time can tell the difference.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use model::Timestamp;

/// Where the time comes from.
#[derive(Debug, Clone)]
pub struct Clock(Source);

#[derive(Debug, Clone)]
enum Source {
    System,
    Scaled { started: Instant, from: Timestamp, speed: u32 },
    Manual(Arc<AtomicU64>),
}

/// A running measurement of how long something takes, in real time.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Clock {
    /// The machine's clock.
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// Starts at `from` and runs `speed` times as fast as the machine's clock.
    pub fn scaled(from: Timestamp, speed: u32) -> Self {
        Self(Source::Scaled { started: instant(), from, speed })
    }

    /// Stands still at `at` until [`Clock::set`].
    pub fn manual(at: Timestamp) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(at.0))))
    }

    /// Moves a manual clock; the other kinds ignore it.
    pub fn set(&self, at: Timestamp) {
        if let Source::Manual(now) = &self.0 {
            now.store(at.0, Ordering::Relaxed);
        }
    }

    /// How long this clock takes for a real duration: what goes on in real time beside it, such
    /// as heartbeats, is measured by this.
    pub fn paced(&self, real: Duration) -> Duration {
        match &self.0 {
            Source::System | Source::Manual(_) => real,
            Source::Scaled { speed, .. } => real.saturating_mul(*speed),
        }
    }

    /// What time it is.
    pub fn now(&self) -> Timestamp {
        match &self.0 {
            Source::System => system_now(),
            Source::Scaled { started, from, speed } => {
                from.plus(instant().duration_since(*started).saturating_mul(*speed))
            }
            Source::Manual(now) => Timestamp(now.load(Ordering::Relaxed)),
        }
    }
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(instant())
    }

    /// Real time since the start.
    pub fn elapsed(self) -> Duration {
        instant().duration_since(self.0)
    }
}

#[expect(clippy::disallowed_methods, reason = "this file is the depot's clock")]
fn instant() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this file is the depot's clock")]
fn system_now() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(0).plus(since_1970.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_stands_still_until_it_is_set() {
        let clock = Clock::manual(Timestamp(7));
        assert_eq!(clock.now(), Timestamp(7));
        clock.set(Timestamp(9));
        assert_eq!(clock.clone().now(), Timestamp(9));
    }

    #[test]
    fn a_scaled_clock_starts_where_it_is_told_and_never_runs_backwards() {
        let clock = Clock::scaled(Timestamp::from_secs(100), 60);
        let (a, b) = (clock.now(), clock.now());
        assert!(Timestamp::from_secs(100) <= a && a <= b);
        assert_eq!(clock.paced(Duration::from_secs(2)), Duration::from_secs(120));
        assert_eq!(Clock::system().paced(Duration::from_secs(2)), Duration::from_secs(2));
    }
}
