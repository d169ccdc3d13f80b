//! What a validator usually sees in each hour of a day.

use alloc::vec::Vec;

/// Hours of a day.
pub const HOURS_OF_DAY: usize = 24;
/// Earlier days of the same weekday that are looked at.
pub const WEEKS: usize = 6;
/// So many of them with work say what is usual.
pub const WEEKS_MIN: usize = 3;
/// Days right before that are looked at while there are fewer.
pub const DAYS: usize = 7;
/// So many of those with work say what may be expected at least.
pub const DAYS_MIN: usize = 3;

/// Taps in each hour of a day.
type Taps = [u32; HOURS_OF_DAY];

/// What is usual in each hour of a day: `weeks` are the days of the same weekday, `days` those
/// right before it, each only where the validator recorded anything at all. A day in the workshop,
/// or one on which it was frozen from morning to night, says nothing of what is usual.
///
/// With three weeks it is the lower median; before that, with three days, the least of them,
/// because a Sunday may be among them. `None`: too little is known.
pub fn usual(weeks: &[Taps], days: &[Taps]) -> Option<Taps> {
    if weeks.len() >= WEEKS_MIN {
        return Some(each_hour(weeks, |sorted| sorted[(sorted.len() - 1) / 2]));
    }
    (days.len() >= DAYS_MIN).then(|| each_hour(days, |sorted| sorted[0]))
}

fn each_hour(days: &[Taps], pick: impl Fn(&[u32]) -> u32) -> Taps {
    core::array::from_fn(|hour| {
        let mut taps: Vec<u32> = days.iter().map(|day| day[hour]).collect();
        taps.sort_unstable();
        pick(&taps)
    })
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;

    fn at_seven(taps: &[u32]) -> Vec<Taps> {
        taps.iter()
            .map(|n| {
                let mut day = [0; HOURS_OF_DAY];
                day[7] = *n;
                day
            })
            .collect()
    }

    #[test]
    fn three_weeks_give_the_median_three_days_the_least_and_less_gives_nothing() {
        let check = |weeks: &[u32], days: &[u32], expected: Option<u32>| {
            let found = usual(&at_seven(weeks), &at_seven(days));
            assert_eq!(found.map(|day| day[7]), expected, "{weeks:?} {days:?}");
            assert!(found.is_none_or(|day| day[8] == 0));
        };
        check(&[], &[], None);
        check(&[40, 40], &[40, 40], None);
        check(&[40, 40], &[40, 9, 44], Some(9));
        check(&[40, 10, 50], &[1, 2, 3], Some(40));
        // One strike and one match do not move it; of an even number it is the lower of the two.
        check(&[40, 0, 41, 400], &[0; DAYS], Some(40));
        check(&[40, 42, 0, 41, 400, 43], &[], Some(41));
    }
}
