//! The only place that asks the machine for the time.
//!
//! Two clocks: `now` is the wall clock that taps carry; `uptime` only ever runs forward and times
//! retries. A demo may run the wall clock faster; retries never do.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use model::{ClockQuality, Timestamp};

/// What a daemon knows about time. Cheap to copy; copies agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    wall: Wall,
}

#[derive(Debug, Clone, Copy)]
enum Wall {
    System,
    Scaled { from: Timestamp, speed: u32 },
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self { started: instant(), wall: Wall::System }
    }

    /// A wall clock that starts at `from` and runs `speed` times as fast, for demos and tests.
    pub fn scaled(from: Timestamp, speed: u32) -> Self {
        Self { started: instant(), wall: Wall::Scaled { from, speed } }
    }

    /// Wall time.
    pub fn now(&self) -> Timestamp {
        match self.wall {
            Wall::System => system_time(),
            Wall::Scaled { from, speed } => {
                from.plus(instant().duration_since(self.started).saturating_mul(speed))
            }
        }
    }

    /// Time since this clock was made, never stepping back.
    pub fn uptime(&self) -> Timestamp {
        Timestamp::default().plus(instant().duration_since(self.started))
    }

    /// For measuring a stretch of work, finer than milliseconds.
    pub fn elapsed(&self) -> Duration {
        instant().duration_since(self.started)
    }

    /// How far the wall clock can be believed: network time when the system says that it is
    /// synchronised, else a hardware clock when there is one.
    pub fn quality(&self) -> ClockQuality {
        match self.wall {
            Wall::Scaled { .. } => ClockQuality::Ntp,
            Wall::System if Path::new("/run/systemd/timesync/synchronized").exists() => {
                ClockQuality::Ntp
            }
            Wall::System if Path::new("/sys/class/rtc/rtc0").exists() => ClockQuality::Rtc,
            Wall::System => ClockQuality::Unknown,
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this file is the shell's clock")]
fn instant() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this file is the shell's clock")]
fn system_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().plus(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaled_clock_starts_where_it_was_told_and_copies_agree() {
        let clock = Clock::scaled(Timestamp::from_secs(1_000_000), 60);
        let copy = clock;
        let (a, b) = (clock.now(), copy.now());
        assert!(a >= Timestamp::from_secs(1_000_000) && b >= a);
        assert!(clock.uptime() < Timestamp::from_secs(60), "retries run in real time");
    }
}
