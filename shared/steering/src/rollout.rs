//! Who gets a release, and when a roll-out halts by itself.

use model::ValidatorId;
use sha2::{Digest, Sha256};
use wire::{ReleasePlan, ReleasePlans};

/// The plan that a validator of this kind of machine goes by: the newest that chooses it.
pub fn plan_of<'a>(
    plans: &'a ReleasePlans,
    validator: ValidatorId,
    target: &str,
) -> Option<&'a ReleasePlan> {
    let has_image = |plan: &&ReleasePlan| plan.images.iter().any(|image| image.target == target);
    plans.0.iter().rev().filter(has_image).find(|plan| chooses(plan, validator))
}

/// Whether a plan is for this validator, whatever its machine. Raising the percent only ever adds
/// validators: each has its place, which does not depend on it.
pub fn chooses(plan: &ReleasePlan, validator: ValidatorId) -> bool {
    plan.canaries.contains(&validator) || place(&plan.version, validator) < u64::from(plan.percent)
}

/// From 0 to 99, another order of the fleet for every release.
pub(crate) fn place(version: &str, validator: ValidatorId) -> u64 {
    let hash = Sha256::new()
        .chain_update(b"tapline-rollout")
        .chain_update(version.as_bytes())
        .chain_update(validator.number().to_be_bytes())
        .finalize();
    let first = hash.first_chunk().expect("a hash has 32 bytes");
    u64::from_be_bytes(*first) % 100
}

/// What has become of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Chosen, and not through.
    pub pending: u64,
    /// Runs and has confirmed itself.
    pub applied: u64,
    /// Did not confirm itself.
    pub failed: u64,
    /// Not taken.
    pub refused: u64,
}

/// How much may go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureBound {
    /// So many validators at least.
    pub count: u64,
    /// Of those that are through, in thousandths.
    pub share_permille: u64,
}

impl Tally {
    /// What went wrong.
    pub const fn bad(self) -> u64 {
        self.failed + self.refused
    }

    /// Whether more went wrong than is allowed, of what nobody has accepted yet.
    pub fn must_halt(self, accepted: u64, bound: FailureBound) -> bool {
        let through = self.applied + self.bad();
        let share = through.saturating_mul(bound.share_permille) / 1000;
        self.bad().saturating_sub(accepted) > bound.count.max(share)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeSet, string::ToString, vec, vec::Vec};

    use proptest::prelude::*;
    use wire::PlannedImage;

    use super::*;

    fn plan(number: u64, version: &str, percent: u8) -> ReleasePlan {
        let image = PlannedImage { target: "pi".to_string(), list: 1 };
        ReleasePlan {
            number,
            version: version.to_string(),
            images: vec![image],
            canaries: BTreeSet::new(),
            percent,
            halted: false,
            downgrade: false,
            confirm_s: 600,
        }
    }

    fn v(n: u32) -> ValidatorId {
        ValidatorId::new(n).unwrap()
    }

    #[test]
    fn the_newest_plan_that_chooses_a_validator_counts_and_only_for_its_machine() {
        let canary = ReleasePlan { canaries: BTreeSet::from([v(7)]), ..plan(3, "1.2.0", 0) };
        let plans = ReleasePlans(vec![plan(2, "1.1.0", 100), canary]);
        let number = |validator, target| plan_of(&plans, v(validator), target).map(|p| p.number);
        assert_eq!(number(7, "pi"), Some(3));
        assert_eq!(number(8, "pi"), Some(2));
        assert_eq!(number(7, "pc"), None);
    }

    #[test]
    fn a_percentage_chooses_about_so_many_and_another_release_others() {
        let chosen = |version: &str| -> Vec<u32> {
            let plan = plan(1, version, 10);
            (1..=10_000).filter(|n| chooses(&plan, v(*n))).collect()
        };
        let (first, second) = (chosen("1.1.0"), chosen("1.2.0"));
        assert!((900..1_100).contains(&first.len()), "{}", first.len());
        assert_ne!(first, second);
        assert!((1..=1000).all(|n| chooses(&plan(1, "1.1.0", 100), v(n))));
        assert!(!(1..=1000).any(|n| chooses(&plan(1, "1.1.0", 0), v(n))));
    }

    #[test]
    fn a_rollout_halts_when_more_goes_wrong_than_is_allowed_and_nobody_accepted_it() {
        let bound = FailureBound { count: 0, share_permille: 10 };
        for (applied, failed, refused, accepted, halts) in [
            (0, 0, 0, 0, false),
            (0, 1, 0, 0, true),
            (0, 0, 1, 0, true),
            (98, 1, 0, 0, true),
            (99, 1, 0, 0, false),
            (99, 1, 1, 0, true),
            (5, 1, 1, 2, false),
            (5, 2, 1, 2, true),
        ] {
            let tally = Tally { pending: 9, applied, failed, refused };
            assert_eq!(tally.must_halt(accepted, bound), halts, "{tally:?} {accepted}");
        }
    }

    proptest! {
        #[test]
        fn raising_the_percent_only_adds_validators(
            number in 1_u32..1 << 24,
            version in "[0-9]\\.[0-9]\\.[0-9]",
            (low, high) in (0_u8..=100, 0_u8..=100),
        ) {
            let (low, high) = (low.min(high), low.max(high));
            let chosen = |percent| chooses(&plan(1, &version, percent), v(number));
            prop_assert!(!chosen(low) || chosen(high));
        }
    }
}
