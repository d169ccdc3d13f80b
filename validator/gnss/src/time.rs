//! What satellites say of the time, and how far the clock is off.
//!
//! Never from one fix: three that agree. A date before this software was made, or more than twenty
//! years after, is a week counter that has run over (every 1024 weeks) or a fault, and is refused.

use std::time::Duration;

use model::Timestamp;

/// Fixes that must agree before they are believed.
const AGREE: u8 = 3;
/// By how much they may differ: a line at 4,800 baud comes late.
const WITHIN_MS: u64 = 500;
/// 2026-11-01T00:00Z: no fix is older than this software.
pub(crate) const MADE: Timestamp = Timestamp::from_secs(1_793_491_200);
/// Twenty years, by when a receiver's week counter has run over.
const YEARS_20_S: u64 = 20 * 31_556_952;
/// A clock without fixes drifts by 20 millionths: after this long by a seventh of a second.
pub(crate) const HOLDS: Duration = Duration::from_secs(7_200);

/// What the clock must be corrected by to be right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Correction {
    /// Milliseconds to add to the machine's clock.
    pub offset_ms: i64,
}

/// See the module's documentation. `uptime` never steps; `wall` is the machine's own clock.
#[derive(Debug, Clone, Default)]
pub struct TimeKeeper {
    /// What the newest fixes made of the machine's clock, and how many agree.
    claimed: Option<(i64, u8)>,
    /// When they were last believed.
    believed_at: Option<Duration>,
    /// Dates refused, so far.
    refused: u64,
}

impl TimeKeeper {
    /// A fix came at `uptime`, when the machine's clock said `wall`. Tells the correction whenever
    /// enough fixes agree.
    pub fn handle_fix(
        &mut self,
        uptime: Duration,
        wall: Timestamp,
        at: Timestamp,
    ) -> Option<Correction> {
        if at < MADE || at.secs() > MADE.secs() + YEARS_20_S {
            self.refused += 1;
            return None;
        }
        let offset_ms = i64::try_from(at.0).ok()?.checked_sub(i64::try_from(wall.0).ok()?)?;
        let agreed = match self.claimed {
            Some((before, n)) if before.abs_diff(offset_ms) <= WITHIN_MS => n.saturating_add(1),
            Some(_) | None => 1,
        };
        self.claimed = Some((offset_ms, agreed));
        if agreed < AGREE {
            return None;
        }
        self.believed_at = Some(uptime);
        Some(Correction { offset_ms })
    }

    /// Whether the last correction still holds.
    pub fn holds(&self, uptime: Duration) -> bool {
        self.believed_at.is_some_and(|at| uptime.saturating_sub(at) <= HOLDS)
    }

    /// Dates that cannot be, so far.
    pub const fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_795_682_159_000;
    const YEAR_MS: u64 = 31_556_952_000;

    fn run(keeper: &mut TimeKeeper, wall: u64, fixes: &[u64]) -> Vec<Option<i64>> {
        let told = fixes.iter().enumerate().map(|(n, at)| {
            let second = n as u64;
            let wall = Timestamp(wall + 1000 * second);
            let told = keeper.handle_fix(Duration::from_secs(second), wall, Timestamp(*at));
            told.map(|correction| correction.offset_ms)
        });
        told.collect()
    }

    #[test]
    fn a_clock_a_year_off_is_corrected_by_three_fixes_that_agree_and_by_no_two() {
        for (wall, offset) in [(NOW - YEAR_MS, 1), (NOW + YEAR_MS, -1)] {
            let offset = offset * i64::try_from(YEAR_MS).unwrap();
            let fixes = [NOW, NOW + 1000, NOW + 2000];
            let told = run(&mut TimeKeeper::default(), wall, &fixes);
            assert_eq!(told, [None, None, Some(offset)]);
        }
        // One that says something else begins anew.
        let jumpy = [NOW, NOW + 1000, NOW + 60_000, NOW + 3000, NOW + 4000, NOW + 5000];
        let told = run(&mut TimeKeeper::default(), NOW, &jumpy);
        assert_eq!(told, [None, None, None, None, None, Some(0)]);
    }

    #[test]
    fn a_date_of_a_counter_that_ran_over_is_refused() {
        let weeks_1024 = 1024 * 7 * 86_400_000;
        let mut keeper = TimeKeeper::default();
        let told = run(&mut keeper, NOW, &[NOW - weeks_1024; 5]);
        assert_eq!((told, keeper.refused()), (vec![None; 5], 5));
        let far = NOW + 21 * YEAR_MS;
        assert_eq!(run(&mut keeper, NOW, &[far; 4]), [None; 4]);
        assert_eq!(keeper.refused(), 9);
    }

    #[test]
    fn a_correction_holds_for_a_while_without_fixes() {
        let mut keeper = TimeKeeper::default();
        assert!(!keeper.holds(Duration::ZERO));
        run(&mut keeper, NOW, &[NOW, NOW + 1000, NOW + 2000]);
        assert!(keeper.holds(Duration::from_secs(7_000)));
        assert!(!keeper.holds(Duration::from_secs(8_000)));
    }
}
