//! The only place that asks the machine for the time.
//!
//! Two clocks: `now` is the wall clock that taps carry; `uptime` only ever runs forward and times
//! retries. A demo may run the wall clock faster; retries never do.

use std::{
    path::Path,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use model::{ClockQuality, Timestamp};
use serde::{Deserialize, Serialize};

/// What a daemon knows about time. Cheap to copy; copies agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    wall: Wall,
}

#[derive(Debug, Clone, Copy)]
enum Wall {
    System { kept_by: Option<ClockQuality> },
    Scaled { from: Timestamp, speed: u32 },
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self { started: instant(), wall: Wall::System { kept_by: None } }
    }

    /// The same, kept by something that the system does not know of.
    #[must_use]
    pub fn kept_by(self, keeper: Option<ClockKeeper>) -> Self {
        let kept_by = keeper.map(ClockKeeper::quality);
        Self { wall: Wall::System { kept_by }, ..self }
    }

    /// A wall clock that starts at `from` and runs `speed` times as fast, for demos and tests.
    pub fn scaled(from: Timestamp, speed: u32) -> Self {
        Self { started: instant(), wall: Wall::Scaled { from, speed } }
    }

    /// Wall time.
    pub fn now(&self) -> Timestamp {
        match self.wall {
            Wall::System { .. } => system_time(),
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
    /// synchronised, else a hardware clock when there is one, else what was said to keep it.
    pub fn quality(&self) -> ClockQuality {
        match self.wall {
            Wall::Scaled { .. } => ClockQuality::Ntp,
            Wall::System { .. } if Path::new("/run/systemd/timesync/synchronized").exists() => {
                ClockQuality::Ntp
            }
            Wall::System { .. } if Path::new("/sys/class/rtc/rtc0").exists() => ClockQuality::Rtc,
            Wall::System { kept_by } => kept_by.unwrap_or(ClockQuality::Unknown),
        }
    }
}

/// What may keep a clock without the system knowing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClockKeeper {
    /// Network time.
    Ntp,
    /// Satellites.
    Gnss,
    /// A clock chip.
    Rtc,
}

impl ClockKeeper {
    /// How far such a clock can be believed.
    pub const fn quality(self) -> ClockQuality {
        match self {
            Self::Ntp => ClockQuality::Ntp,
            Self::Gnss => ClockQuality::Gnss,
            Self::Rtc => ClockQuality::Rtc,
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
