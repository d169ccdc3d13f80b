//! What lamps and sounders do over time, as plain tables that a test can print.

use std::time::Duration;

/// One state after the other, each for its time; then again from the start, or the last for ever.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline<T> {
    steps: Vec<(Duration, T)>,
    end: End<T>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End<T> {
    Stays(T),
    Repeats,
}

/// A state, and how long it still lasts; `None` = it stays.
pub type Now<T> = (T, Option<Duration>);

impl<T: Copy + PartialEq> Timeline<T> {
    /// The same for ever.
    pub const fn steady(state: T) -> Self {
        Self { steps: Vec::new(), end: End::Stays(state) }
    }

    /// These once, then `rest` for ever.
    pub fn once(steps: Vec<(Duration, T)>, rest: T) -> Self {
        Self { steps, end: End::Stays(rest) }
    }

    /// These over and over. Steps that take no time at all would never end: then the last stays.
    pub fn repeating(steps: Vec<(Duration, T)>) -> Option<Self> {
        let takes_time = steps.iter().any(|(lasts, _)| !lasts.is_zero());
        takes_time.then_some(Self { steps, end: End::Repeats })
    }

    /// The state so long after the start.
    pub fn at(&self, since: Duration) -> Now<T> {
        let round: Duration = self.steps.iter().map(|(lasts, _)| *lasts).sum();
        let mut within = match self.end {
            End::Repeats => modulo(since, round),
            End::Stays(_) => since,
        };
        for (lasts, state) in &self.steps {
            let left = lasts.saturating_sub(within);
            if !left.is_zero() {
                return (*state, Some(left));
            }
            within = within.saturating_sub(*lasts);
        }
        match self.end {
            End::Stays(state) => (state, None),
            End::Repeats => unreachable!("what is left of a round is within its steps"),
        }
    }

    /// Every state with the time at which it begins, for as long as `until`.
    pub fn changes(&self, until: Duration) -> Vec<(Duration, T)> {
        let mut changes: Vec<(Duration, T)> = Vec::new();
        let mut at = Duration::ZERO;
        while at < until {
            let (state, lasts) = self.at(at);
            if changes.last().is_none_or(|(_, before)| *before != state) {
                changes.push((at, state));
            }
            let Some(lasts) = lasts else { break };
            at += lasts;
        }
        changes
    }
}

fn modulo(since: Duration, round: Duration) -> Duration {
    let nanos = since.as_nanos() % round.as_nanos().max(1);
    // A round is a few seconds, so what is left of it fits.
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_timeline_ends_in_its_rest_or_goes_round() {
        let once = Timeline::once(vec![(ms(100), 1), (ms(50), 2)], 0);
        assert_eq!(once.at(ms(0)), (1, Some(ms(100))));
        assert_eq!(once.at(ms(120)), (2, Some(ms(30))));
        assert_eq!(once.at(ms(150)), (0, None));
        let round = Timeline::repeating(vec![(ms(100), 1), (ms(50), 2)]).unwrap();
        assert_eq!(round.at(ms(150)), (1, Some(ms(100))));
        assert_eq!(round.at(ms(15_000_000_149)), (2, Some(ms(1))));
        assert_eq!(round.changes(ms(300)), [(ms(0), 1), (ms(100), 2), (ms(150), 1), (ms(250), 2)]);
        assert_eq!(Timeline::repeating(vec![(ms(0), 1)]), None);
        assert_eq!(Timeline::steady(7).at(ms(9)), (7, None));
    }
}
