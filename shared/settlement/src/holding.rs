//! Float and dormancy: what is held for holders of cards, by how long nobody has used them, and
//! what an agency's own rule calls unclaimed (REC-15).

use alloc::{vec, vec::Vec};
use core::time::Duration;

use model::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);

/// Which cards count as dormant, and when their value is unclaimed: an agency's law, as data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DormancyPolicy {
    /// Days without use at which each bucket begins, ascending; before the first a card is active.
    pub buckets: Vec<u32>,
    /// Days without use after which value is unclaimed; `None` = never.
    pub unclaimed_after: Option<u32>,
    /// Values up to this are not looked for, minor units.
    pub small: i64,
}

/// Cards and what they hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Held {
    /// How many cards hold something, or owe it.
    pub cards: u64,
    /// What they hold together, minor units.
    pub value: i64,
    /// What some of them owe, as a negative part of `value`.
    pub owed: i64,
}

/// Cards by inactivity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dormancy {
    policy: DormancyPolicy,
    now: Timestamp,
    /// Active ones, then one entry a bucket.
    pub buckets: Vec<Held>,
    /// Unclaimed by the policy: a part of the buckets.
    pub unclaimed: Held,
}

impl Held {
    fn add(&mut self, value: i64) {
        if value != 0 {
            self.cards += 1;
            self.value += value;
            self.owed += value.min(0);
        }
    }
}

impl Dormancy {
    /// Nobody counted yet.
    pub fn new(policy: DormancyPolicy, now: Timestamp) -> Self {
        let buckets = vec![Held::default(); policy.buckets.len() + 1];
        Self { policy, now, buckets, unclaimed: Held::default() }
    }

    /// Counts a card that was last used at `used_at` and holds `value`; says whether the value is
    /// unclaimed. A clock that was ahead makes a card active, never dormant.
    pub fn take(&mut self, used_at: Timestamp, value: i64) -> bool {
        let days = self.now.since(used_at).as_secs() / DAY.as_secs();
        let bucket = self.policy.buckets.partition_point(|begins| u64::from(*begins) <= days);
        self.buckets[bucket].add(value);
        let after = self.policy.unclaimed_after;
        let unclaimed =
            value > self.policy.small && after.is_some_and(|after| u64::from(after) <= days);
        if unclaimed {
            self.unclaimed.add(value);
        }
        unclaimed
    }

    /// All buckets together.
    pub fn total(&self) -> Held {
        let mut total = Held::default();
        for held in &self.buckets {
            total.cards += held.cards;
            total.value += held.value;
            total.owed += held.owed;
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rec_15_cards_are_counted_by_days_without_use_and_the_policy_says_what_is_unclaimed() {
        let policy =
            DormancyPolicy { buckets: vec![365, 730], unclaimed_after: Some(700), small: 100 };
        let now = Timestamp::from_secs(3_000 * 86_400);
        let ago = |days: u64| Timestamp::from_secs((3_000 - days) * 86_400);
        let mut dormancy = Dormancy::new(policy, now);
        let future = Timestamp::from_secs(4_000 * 86_400);
        for (used_at, value, unclaimed) in [
            (ago(0), 500, false),
            (ago(364), 300, false),
            (future, 50, false),
            (ago(365), 1000, false),
            (ago(700), 2000, true),
            (ago(730), 100, false),
            (ago(730), 101, true),
            (ago(2_000), -40, false),
            (ago(2_000), 0, false),
        ] {
            assert_eq!(dormancy.take(used_at, value), unclaimed, "{value}");
        }
        let held = |cards, value, owed| Held { cards, value, owed };
        assert_eq!(dormancy.buckets, [held(3, 850, 0), held(2, 3000, 0), held(3, 161, -40)]);
        assert_eq!(dormancy.unclaimed, held(2, 2101, 0));
        assert_eq!(dormancy.total(), held(8, 4011, -40));
    }
}
