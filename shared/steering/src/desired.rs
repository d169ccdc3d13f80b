//! Which desired state holds for a validator.

use model::{Timestamp, ValidatorId};
use wire::{Desired, DesiredStates};

/// The desired state that holds for `validator` at `now`: its own before that of all. An own one
/// that has ended gives way to that of all.
pub fn desired(states: &DesiredStates, validator: ValidatorId, now: Timestamp) -> Option<&Desired> {
    of(states, validator).find(|desired| now < desired.until)
}

/// When [`desired`] has another answer after `now`, if nothing is said anew.
pub fn next_end(
    states: &DesiredStates,
    validator: ValidatorId,
    now: Timestamp,
) -> Option<Timestamp> {
    desired(states, validator, now).map(|desired| desired.until)
}

fn of(states: &DesiredStates, validator: ValidatorId) -> impl Iterator<Item = &Desired> {
    states.each.get(&validator).into_iter().chain(&states.all)
}

#[cfg(test)]
mod tests {
    use alloc::{collections::BTreeMap, string::ToString};

    use proptest::prelude::*;
    use wire::DesiredWord::{self, InService, OutOfService};

    use super::*;

    fn until(word: DesiredWord, at: u64) -> Desired {
        Desired { word, reason: "works".to_string(), until: Timestamp(at) }
    }

    fn v(n: u32) -> ValidatorId {
        ValidatorId::new(n).unwrap()
    }

    #[test]
    fn its_own_state_outranks_that_of_all_and_each_ends_by_itself() {
        let states = DesiredStates {
            all: Some(until(OutOfService, 100)),
            each: BTreeMap::from([(v(1), until(InService, 50)), (v(2), until(OutOfService, 200))]),
        };
        for (validator, now, expected, end) in [
            (1, 0, Some(InService), Some(50)),
            (1, 49, Some(InService), Some(50)),
            (1, 50, Some(OutOfService), Some(100)),
            (1, 100, None, None),
            (2, 99, Some(OutOfService), Some(200)),
            (2, 199, Some(OutOfService), Some(200)),
            (2, 200, None, None),
            (3, 99, Some(OutOfService), Some(100)),
            (3, 100, None, None),
        ] {
            let now = Timestamp(now);
            let found = desired(&states, v(validator), now).map(|desired| desired.word);
            assert_eq!(found, expected, "validator {validator} at {now:?}");
            assert_eq!(next_end(&states, v(validator), now), end.map(Timestamp));
        }
        assert_eq!(desired(&DesiredStates::default(), v(1), Timestamp(0)), None);
    }

    proptest! {
        #[test]
        fn nothing_holds_at_or_after_its_end_and_the_next_end_is_when_the_answer_changes(
            all in proptest::option::of(0_u64..100),
            own in proptest::option::of(0_u64..100),
            now in 0_u64..120,
        ) {
            let each = own.map(|at| (v(7), until(InService, at)));
            let states = DesiredStates {
                all: all.map(|at| until(OutOfService, at)),
                each: each.into_iter().collect(),
            };
            let at = |now| desired(&states, v(7), Timestamp(now)).cloned();
            let found = at(now);
            prop_assert!(found.as_ref().is_none_or(|desired| Timestamp(now) < desired.until));
            if let Some(Timestamp(end)) = next_end(&states, v(7), Timestamp(now)) {
                for between in now..end {
                    prop_assert_eq!(at(between), found.clone());
                }
                prop_assert_ne!(at(end), found);
            }
        }
    }
}
