//! Whether a validator does the work that is expected of it.

use model::Timestamp;

use crate::HOUR_MS;

/// Hours that are looked at: the one under way, which is the last, and a day before it.
pub const HOURS: usize = 25;
/// Where so many taps were expected, to see none by chance happens less than once in a million
/// times: e^-14. With fewer expected, nothing is said.
pub const MANY: u32 = 14;
/// Whole hours, besides the one under way, over which few taps are counted.
const FEW_OVER: usize = 3;
/// Chance sees `seen` or fewer where `expected` are due less often than
/// e^(-(expected - seen)² / (2 expected)): once in a million times at this bound (Chernoff).
const FEW_BOUND: u128 = 28;
/// Expectations are counted in thousandths of a tap.
const MILLI: u64 = 1_000;
const MANY_MILLI: u64 = MANY as u64 * MILLI;

/// One hour of one validator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hour {
    /// What it usually sees in this hour; `None` when too little is known.
    pub usual: Option<u32>,
    /// What it saw, as far as its taps are here.
    pub seen: u32,
}

/// What one validator did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workload {
    /// The last day by hours; the last is the hour under way.
    pub hours: [Hour; HOURS],
    /// It has run since then; hours that began before are not its own.
    pub since: Timestamp,
    /// Its newest tap.
    pub last: Option<Timestamp>,
}

/// What all together usually see and saw, hour by hour.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    hours: [(u64, u64); HOURS],
}

/// Far fewer taps than expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooFew {
    /// About so many were expected.
    pub expected: u64,
    /// So many came.
    pub seen: u64,
    /// Since then.
    pub since: Timestamp,
}

/// What can be said of a validator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing: too little is known of what is usual.
    Unknown,
    /// Nothing speaks against it.
    Enough,
    /// It sees far fewer taps than it should.
    TooFew(TooFew),
}

/// When the hour at `index` of the hours that are looked at begins.
pub const fn hour_start(now: Timestamp, index: usize) -> Timestamp {
    let back = (HOURS - 1).saturating_sub(index) as u64;
    Timestamp((now.0 / HOUR_MS).saturating_sub(back) * HOUR_MS)
}

/// How much of the hour at `index` is over.
const fn over(now: Timestamp, index: usize) -> u64 {
    if index + 1 < HOURS { HOUR_MS } else { now.0 % HOUR_MS }
}

impl Demand {
    /// Takes in one validator.
    pub fn add(&mut self, hours: &[Hour; HOURS]) {
        for ((usual, seen), hour) in self.hours.iter_mut().zip(hours) {
            // Who is new has no usual to be compared with.
            if let Some(known) = hour.usual {
                *usual += u64::from(known);
                *seen += u64::from(hour.seen);
            }
        }
    }

    /// Whether all together see far fewer taps than usual: then nobody is named, and this has to be
    /// said instead. Looks at whole hours.
    pub fn too_few(&self, now: Timestamp) -> Option<TooFew> {
        let from = HOURS - 1 - FEW_OVER;
        let (usual, seen) = self.hours[from..HOURS - 1]
            .iter()
            .fold((0, 0), |(usual, seen), hour| (usual + hour.0, seen + hour.1));
        far_fewer(usual * MILLI, seen).then(|| TooFew {
            expected: usual,
            seen,
            since: hour_start(now, from),
        })
    }

    /// What is expected of a validator in an hour so far, in thousandths: what it usually sees, as
    /// far as the others see what they usually see. `None`: it cannot be said yet, because an hour
    /// under way may begin or end with nothing, and nobody else shows how it goes.
    fn expected(&self, now: Timestamp, index: usize, own: Hour) -> Option<u64> {
        let part = |taps: u64| taps * MILLI * over(now, index) / HOUR_MS;
        let known = u64::from(own.usual?);
        let (usual, seen) = self.hours[index];
        let usual = part(usual.saturating_sub(known));
        let seen = seen.saturating_sub(u64::from(own.seen)) * MILLI;
        if usual < MANY_MILLI {
            return (index + 1 < HOURS).then(|| part(known));
        }
        let share = u128::from(part(known)) * u128::from(seen.min(usual)) / u128::from(usual);
        u64::try_from(share).ok()
    }
}

/// At most half, and further off than chance goes.
fn far_fewer(expected_milli: u64, seen: u64) -> bool {
    let seen_milli = seen * MILLI;
    let short = u128::from(expected_milli.saturating_sub(seen_milli));
    expected_milli >= 2 * seen_milli
        && expected_milli > 0
        && short * short >= FEW_BOUND * u128::from(MILLI) * u128::from(expected_milli)
}

/// Judges a validator that says it is in service and whose taps are all here; `demand` is of all
/// who are connected, itself among them.
pub fn judge(now: Timestamp, work: &Workload, demand: &Demand) -> Judgement {
    let mut known = false;
    let (mut silent, mut silent_from, mut heard) = (0, now, false);
    let (mut few, mut seen, mut few_from) = (0, 0, now);
    for (index, hour) in work.hours.iter().copied().enumerate().rev() {
        let start = hour_start(now, index);
        if start < work.since {
            break;
        }
        let expected = demand.expected(now, index, hour);
        known |= hour.usual.is_some();
        heard |= hour.seen > 0;
        if !heard {
            (silent, silent_from) = (silent + expected.unwrap_or(0), start);
        }
        if let Some(expected) = expected.filter(|_| index + 1 + FEW_OVER >= HOURS) {
            (few, few_from) = (few + expected, start);
            seen += u64::from(hour.seen);
        }
    }
    if silent >= MANY_MILLI {
        // What a gate tells may be newer than the newest card.
        let last = work.last.filter(|at| *at < silent_from).unwrap_or(silent_from);
        let since = last.max(work.since).max(hour_start(now, 0));
        return Judgement::TooFew(TooFew { expected: rounded(silent), seen: 0, since });
    }
    if far_fewer(few, seen) {
        let expected = rounded(few);
        return Judgement::TooFew(TooFew { expected, seen, since: few_from });
    }
    if known { Judgement::Enough } else { Judgement::Unknown }
}

const fn rounded(milli: u64) -> u64 {
    (milli + MILLI / 2) / MILLI
}

/// Availability by work done: of the whole hours in which many taps are usual, how many, and in how
/// many of them any came.
pub fn availability(hours: impl IntoIterator<Item = Hour>) -> (u64, u64) {
    hours
        .into_iter()
        .filter(|hour| hour.usual.is_some_and(|usual| usual >= MANY))
        .fold((0, 0), |(expected, worked), hour| (expected + 1, worked + u64::from(hour.seen > 0)))
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    /// 10:30 of some day.
    const NOW: Timestamp = Timestamp(20_000 * 24 * HOUR_MS + 10 * HOUR_MS + HOUR_MS / 2);

    const fn minutes_ago(minutes: u64) -> Timestamp {
        Timestamp(NOW.0 - minutes * 60_000)
    }

    /// The last hours of one validator as `usual/seen`, the newest last; before them it sees what
    /// is usual. `-` is not known.
    fn hours(text: &str) -> [Hour; HOURS] {
        let told: Vec<Hour> = text
            .split_whitespace()
            .map(|word| {
                let (usual, seen) = word.split_once('/').unwrap();
                Hour { usual: usual.parse().ok(), seen: seen.parse().unwrap() }
            })
            .collect();
        let mut hours = [Hour { usual: Some(20), seen: 20 }; HOURS];
        hours[HOURS - told.len()..].copy_from_slice(&told);
        hours
    }

    fn demand(of: &[[Hour; HOURS]]) -> Demand {
        let mut demand = Demand::default();
        for hours in of {
            demand.add(hours);
        }
        demand
    }

    fn found(own: &str, others: &str, runs_since: Timestamp) -> Judgement {
        let own = hours(own);
        let last = Some(minutes_ago(200));
        let demand = demand(&[own, hours(others)]);
        judge(NOW, &Workload { hours: own, since: runs_since, last }, &demand)
    }

    #[test]
    fn who_is_named_and_who_is_not() {
        const DAY: u64 = 24 * 60;
        type Found = Option<(u64, u64, u64)>;
        let check = |own: &str, others: &str, runs_for: u64, expected: Found| {
            let found = match found(own, others, minutes_ago(runs_for)) {
                Judgement::TooFew(TooFew { expected, seen, since }) => {
                    Some((expected, seen, (NOW.0 - since.0) / 60_000))
                }
                Judgement::Unknown | Judgement::Enough => None,
            };
            assert_eq!(found, expected, "{own} beside {others}");
        };
        let usual = "100/100 100/100 100/100 100/50";
        // Frozen in the hour from 7 on: since its newest tap, 200 minutes ago.
        check("40/7 40/0 40/0 40/0", usual, DAY, Some((100, 0, 200)));
        check("40/40 40/40 40/0 40/0", usual, DAY, Some((60, 0, 200)));
        // The hour under way alone: half of 40.
        check("40/40 40/40 40/40 40/0", usual, DAY, Some((20, 0, 200)));
        check("40/40 40/40 27/27 27/0", usual, DAY, None);
        // Little is expected: nothing is said, until enough of it has come together.
        check("3/3 3/0 3/0 3/0", usual, DAY, None);
        check("6/0 6/0 6/0 6/0", usual, DAY, Some((21, 0, 210)));
        // Too quiet: at most half, over three hours and the one under way.
        check("40/10 40/9 40/11 40/4", usual, DAY, Some((140, 34, 210)));
        check("40/20 40/20 40/20 40/11", usual, DAY, None);
        check("8/3 8/3 8/3 8/1", usual, DAY, None);
        // Everybody sees less: a holiday, or the hours after the clocks changed.
        check("40/0 40/0 40/0 40/0", "100/0 100/0 100/0 100/0", DAY, None);
        check("39/0 39/0 39/0 39/0", "100/9 100/10 100/11 100/5", DAY, None);
        check("40/0 40/0 40/0 40/0", "100/9 100/10 100/11 100/5", DAY, Some((14, 0, 210)));
        check("40/10 40/9 40/11 40/4", "100/30 100/30 100/30 100/15", DAY, None);
        // Nobody to compare with: whole hours count, the one under way does not.
        check("40/40 40/40 40/40 40/0", "1/1 1/1 1/1 1/0", DAY, None);
        check("40/40 40/40 40/0 40/0", "1/1 1/1 1/1 1/0", DAY, Some((40, 0, 200)));
        // New, just started, or more than usual.
        check("-/0 -/0 -/0 -/0", usual, 200, None);
        check("40/0 40/0 40/0 40/0", usual, 25, None);
        check("40/0 40/0 40/0 40/0", usual, 95, Some((60, 0, 95)));
        check("40/90 40/90 40/90 40/90", usual, DAY, None);
    }

    #[test]
    fn who_is_new_is_unknown_and_who_works_does_enough() {
        let usual = "100/100 100/100 100/100 100/50";
        assert_eq!(found("-/0 -/0", usual, minutes_ago(80)), Judgement::Unknown);
        assert_eq!(found("40/40 40/20", usual, minutes_ago(2_000)), Judgement::Enough);
    }

    #[test]
    fn a_silence_of_days_is_told_as_that_of_the_last_day() {
        let hours = [Hour { usual: Some(10), seen: 0 }; HOURS];
        let work = Workload { hours, since: Timestamp(0), last: Some(Timestamp(5)) };
        let Judgement::TooFew(found) = judge(NOW, &work, &demand(&[hours])) else {
            panic!("not found")
        };
        assert_eq!((found.expected, found.since), (240, hour_start(NOW, 0)));
    }

    #[test]
    fn a_whole_fleet_that_sees_little_is_told_as_one() {
        let quiet = demand(&[hours("100/30 100/20 100/10 100/0"), hours("9/9 9/9 9/9 9/0")]);
        let found = quiet.too_few(NOW).unwrap();
        assert_eq!((found.expected, found.seen), (327, 87));
        assert_eq!(found.since, hour_start(NOW, HOURS - 4));
        assert_eq!(demand(&[hours("100/90 100/80 100/70 100/0")]).too_few(NOW), None);
        assert_eq!(Demand::default().too_few(NOW), None);
    }

    #[test]
    fn availability_counts_the_hours_in_which_much_was_expected() {
        let hours = hours("-/0 13/0 14/0 40/1 40/0").into_iter().skip(HOURS - 5);
        assert_eq!(availability(hours), (3, 1));
    }

    /// Chance, the same in every run: one in `of`.
    fn chance(state: &mut u64, of: u64) -> bool {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*state >> 33).is_multiple_of(of)
    }

    #[test]
    fn chance_alone_names_nobody_in_twenty_thousand_days() {
        let mut state = 7;
        for day in 0..20_000 {
            // In each minute somebody comes with a chance of 1 in 5: 12 an hour.
            let hours = core::array::from_fn::<_, HOURS, _>(|index| {
                let minutes = 0..over(NOW, index) / 60_000;
                let seen = minutes.map(|_| u32::from(chance(&mut state, 5))).sum();
                Hour { usual: Some(12), seen }
            });
            let work = Workload { hours, since: Timestamp(0), last: None };
            let found = judge(NOW, &work, &demand(&[hours]));
            assert_eq!(found, Judgement::Enough, "day {day}: {hours:?}");
        }
    }

    fn any_hours() -> impl Strategy<Value = [Hour; HOURS]> {
        let hour = (proptest::option::weighted(0.9, 0..200_u32), 0..200_u32);
        proptest::collection::vec(hour, HOURS).prop_map(|hours| {
            core::array::from_fn(|i| Hour { usual: hours[i].0, seen: hours[i].1 / 4 })
        })
    }

    fn badness(judgement: Judgement) -> u64 {
        match judgement {
            Judgement::Unknown | Judgement::Enough => 0,
            Judgement::TooFew(_) => 1,
        }
    }

    proptest! {
        #[test]
        fn more_taps_are_never_judged_worse(
            own in any_hours(), others in any_hours(), at in 0..HOURS, more in 1..200_u32,
        ) {
            let of = |own: [Hour; HOURS]| {
                let work = Workload { hours: own, since: Timestamp(0), last: None };
                badness(judge(NOW, &work, &demand(&[own, others])))
            };
            let mut better = own;
            better[at].seen += more;
            prop_assert!(of(better) <= of(own));
        }

        #[test]
        fn who_sees_what_is_usual_is_not_named(usual in any_hours(), others in any_hours()) {
            let own = usual.map(|hour| Hour { seen: hour.usual.unwrap_or(0), ..hour });
            let work = Workload { hours: own, since: Timestamp(0), last: None };
            prop_assert_eq!(badness(judge(NOW, &work, &demand(&[own, others]))), 0);
        }

        #[test]
        fn where_nobody_sees_anything_nobody_is_named(own in any_hours(), others in any_hours()) {
            let own = own.map(|hour| Hour { seen: 0, ..hour });
            let others = others.map(|_| Hour { usual: Some(14 * 60), seen: 0 });
            let work = Workload { hours: own, since: Timestamp(0), last: None };
            prop_assert_eq!(badness(judge(NOW, &work, &demand(&[own, others]))), 0);
        }

        #[test]
        fn who_is_named_was_expected_to_see_many_and_saw_at_most_half(
            own in any_hours(), others in any_hours(),
        ) {
            let work = Workload { hours: own, since: Timestamp(0), last: None };
            if let Judgement::TooFew(found) = judge(NOW, &work, &demand(&[own, others])) {
                prop_assert!(found.expected >= u64::from(MANY));
                prop_assert!(2 * found.seen <= found.expected);
            }
        }
    }
}
