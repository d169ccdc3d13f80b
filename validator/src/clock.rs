//! The only place that asks the machine for the time.
//!
//! Two clocks: `now` is the wall clock that taps carry; `uptime` only ever runs forward and times
//! retries. A demo may run the wall clock faster; retries never do.

use std::{
    path::Path,
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use model::{ClockQuality, Timestamp};
use serde::{Deserialize, Serialize};

/// What a daemon knows about time. Cheap to copy; copies agree.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
    wall: Wall,
    /// Shared by all copies; one for each daemon, for its life.
    satellites: Option<&'static Satellites>,
}

/// What satellites correct a clock by that no network keeps.
#[derive(Debug, Default)]
struct Satellites {
    offset_ms: AtomicI64,
    /// Milliseconds of uptime when they said so last; 0 = never.
    believed_at: AtomicU64,
    /// The latest time that was told.
    told: AtomicU64,
}

/// A correction holds for so long without another: a quartz drifts by 20 millionths.
const HOLDS_MS: u64 = 7_200_000;
/// A step back by less is waited for, so that the log shows no time twice; a clock that was a year
/// ahead is put right at once, and the order of entries is that of their numbers.
const WAITED_FOR_MS: u64 = 60_000;

#[derive(Debug, Clone, Copy)]
enum Wall {
    System { kept_by: Option<ClockQuality> },
    Scaled { from: Timestamp, speed: u32 },
    Wrong { by_ms: i64 },
}

impl Clock {
    /// The machine's own clock.
    pub fn system() -> Self {
        Self { started: instant(), wall: Wall::System { kept_by: None }, satellites: None }
    }

    /// The same, kept by something that the system does not know of.
    #[must_use]
    pub fn kept_by(self, keeper: Option<ClockKeeper>) -> Self {
        let kept_by = keeper.map(ClockKeeper::quality);
        Self { wall: Wall::System { kept_by }, ..self }
    }

    /// A wall clock that starts at `from` and runs `speed` times as fast, for demos and tests.
    pub fn scaled(from: Timestamp, speed: u32) -> Self {
        Self { started: instant(), wall: Wall::Scaled { from, speed }, satellites: None }
    }

    /// The machine's clock as far off as this, which nobody keeps, for tests.
    pub fn wrong(by_ms: i64) -> Self {
        Self { started: instant(), wall: Wall::Wrong { by_ms }, satellites: None }
    }

    /// The same, which satellites may correct. Copies made from here on are corrected together.
    #[must_use]
    pub fn with_satellites(self) -> Self {
        Self { satellites: Some(Box::leak(Box::default())), ..self }
    }

    /// Satellites say that the machine's clock lacks so much.
    pub fn correct(&self, offset_ms: i64) {
        let Some(satellites) = self.satellites else { return };
        // Network time is as good, and keeps the machine's clock itself.
        let offset_ms = if self.machine_quality() == ClockQuality::Ntp { 0 } else { offset_ms };
        let before = satellites.offset_ms.swap(offset_ms, Ordering::Relaxed);
        satellites.believed_at.store(self.uptime().0.max(1), Ordering::Relaxed);
        if before.abs_diff(offset_ms) > WAITED_FOR_MS {
            tracing::warn!(offset_ms, before, "satellites put the clock right");
        }
    }

    /// Wall time.
    pub fn now(&self) -> Timestamp {
        let raw = self.uncorrected();
        let Some(satellites) = self.satellites else { return raw };
        let offset = satellites.offset_ms.load(Ordering::Relaxed);
        let at = raw.0.saturating_add_signed(offset);
        let told = satellites.told.load(Ordering::Relaxed);
        if at < told && told - at <= WAITED_FOR_MS {
            return Timestamp(told);
        }
        satellites.told.store(at, Ordering::Relaxed);
        Timestamp(at)
    }

    /// What the machine's clock says by itself.
    pub fn uncorrected(&self) -> Timestamp {
        match self.wall {
            Wall::System { .. } => system_time(),
            Wall::Wrong { by_ms } => Timestamp(system_time().0.saturating_add_signed(by_ms)),
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

    /// How long a span of this clock's time takes; at least a second, however fast the clock runs.
    pub(crate) fn lasting(&self, span: Duration) -> Duration {
        match self.wall {
            Wall::System { .. } | Wall::Wrong { .. } => span,
            Wall::Scaled { speed, .. } => (span / speed.max(1)).max(Duration::from_secs(1)),
        }
    }

    /// How far the wall clock can be believed: network time when the system says that it is
    /// synchronised, else a hardware clock when there is one, else what was said to keep it.
    pub fn quality(&self) -> ClockQuality {
        let machine = self.machine_quality();
        let believed = self.satellites.map_or(0, |s| s.believed_at.load(Ordering::Relaxed));
        let holds = believed != 0 && self.uptime().0.saturating_sub(believed) <= HOLDS_MS;
        // Network time is said first: it is what a system without a receiver says.
        if holds && machine != ClockQuality::Ntp { ClockQuality::Gnss } else { machine }
    }

    fn machine_quality(&self) -> ClockQuality {
        match self.wall {
            Wall::Wrong { .. } => ClockQuality::Unknown,
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
    fn satellites_put_a_clock_right_and_small_steps_back_are_waited_for() {
        const YEAR_MS: i64 = 31_556_952_000;
        let right = || system_time().0;
        for by_ms in [-YEAR_MS, YEAR_MS] {
            let clock = Clock::wrong(by_ms).with_satellites();
            let copy = clock;
            assert_eq!(clock.quality(), ClockQuality::Unknown);
            assert!(clock.now().0.abs_diff(right()) > 30_000_000_000);
            clock.correct(-by_ms);
            assert_eq!(copy.quality(), ClockQuality::Gnss, "copies agree");
            assert!(copy.now().0.abs_diff(right()) < 10_000, "at once, in either direction");
            let before = clock.now();
            clock.correct(-by_ms - 5_000);
            assert_eq!(copy.now(), before, "five seconds back: the clock stands meanwhile");
            clock.correct(-by_ms + 5_000);
            assert!(clock.now().0 >= before.0 + 5_000);
        }
    }

    #[test]
    fn what_is_done_every_minute_is_done_every_second_where_minutes_pass_in_seconds() {
        let minute = Duration::from_secs(60);
        assert_eq!(Clock::system().lasting(minute), minute);
        let clock = |speed| Clock::scaled(Timestamp(0), speed);
        assert_eq!(clock(20).lasting(minute), Duration::from_secs(3));
        assert_eq!(clock(3600).lasting(minute), Duration::from_secs(1));
    }

    #[test]
    fn a_scaled_clock_starts_where_it_was_told_and_copies_agree() {
        let clock = Clock::scaled(Timestamp::from_secs(1_000_000), 60);
        let copy = clock;
        let (a, b) = (clock.now(), copy.now());
        assert!(a >= Timestamp::from_secs(1_000_000) && b >= a);
        assert!(clock.uptime() < Timestamp::from_secs(60), "retries run in real time");
    }
}
