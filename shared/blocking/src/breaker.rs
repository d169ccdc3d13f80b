//! The circuit breaker: many additions at once are more often one mistake than many frauds (REC-8).
//!
//! In June 2019 a settlement file that was processed by half made about 250,000 good devices
//! declined in one city. Here additions are counted over a window; above a bound nothing more goes
//! into force, whatever was approved, until another person than those who approved has looked.

use alloc::{collections::BTreeSet, vec::Vec};
use core::time::Duration;

use crate::{Case, CaseId, Standing};

/// What an operator sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Additions are counted over this long.
    pub window: Duration,
    /// This many additions in a window, at most.
    pub additions_max: u32,
    /// This many of a thousand active cards in a window, at most; never fewer than
    /// [`Limits::FLOOR`] cards.
    pub share_permille: u16,
}

/// How many may go into force within a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound(pub u64);

impl Limits {
    /// A share of few cards would stop the first lost one.
    pub const FLOOR: u64 = 10;

    /// The tighter of the two bounds.
    pub fn bound(&self, active_cards: u64) -> Bound {
        let share = active_cards.saturating_mul(u64::from(self.share_permille)) / 1000;
        Bound(share.max(Self::FLOOR).min(u64::from(self.additions_max)))
    }
}

/// Why the breaker opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trip {
    /// Cards that waited.
    pub waiting: u64,
    /// Cards added within the window before them.
    pub recent: u64,
    /// How many may be.
    pub bound: Bound,
}

/// What may go into force now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pass {
    /// These; the breaker is as it was.
    These(Vec<CaseId>),
    /// The breaker opens; only what a second person has confirmed goes into force.
    Tripped(Trip, Vec<CaseId>),
    /// Nothing waits that nobody confirmed: the breaker closes.
    Closes(Vec<CaseId>),
}

/// What of the approved and confirmed cases may go into force, when `recent` additions that no
/// second person confirmed are within the window.
pub fn pass<'a>(
    waiting: impl IntoIterator<Item = &'a Case>,
    recent: u64,
    bound: Bound,
    is_open: bool,
) -> Pass {
    let (mut confirmed, mut approved) = (Vec::new(), Vec::new());
    let mut cards = BTreeSet::new();
    for case in waiting {
        match case.standing {
            Standing::Confirmed => confirmed.push(case.id),
            Standing::Approved => {
                approved.push(case.id);
                cards.insert(case.card);
            }
            Standing::Proposed
            | Standing::InForce
            | Standing::Rejected
            | Standing::Withdrawn
            | Standing::Expired
            | Standing::Unblocked => {}
        }
    }
    let cards = cards.len() as u64;
    if is_open {
        return if approved.is_empty() { Pass::Closes(confirmed) } else { Pass::These(confirmed) };
    }
    if cards > 0 && recent.saturating_add(cards) > bound.0 {
        return Pass::Tripped(Trip { waiting: cards, recent, bound }, confirmed);
    }
    confirmed.extend(approved);
    Pass::These(confirmed)
}

#[cfg(test)]
mod tests {
    use alloc::{string::String, vec, vec::Vec};

    use lists::Grade;
    use model::{CardId, Timestamp};
    use proptest::prelude::*;

    use super::*;
    use crate::{Cause, Decided, grade_of};

    const LIMITS: Limits =
        Limits { window: Duration::from_secs(86_400), additions_max: 500, share_permille: 2 };

    fn proposed(n: u64) -> Case {
        let [.., a, b, c] = n.to_be_bytes();
        Case {
            id: CaseId(n),
            card: CardId([4, 0, 0, 0, a, b, c]),
            grade: Grade::Black,
            cause: Cause::Fork,
            validator: None,
            proposer: String::from("fork"),
            proposed_at: Timestamp(1),
            reason: String::from("two histories"),
            evidence: vec![n],
            expires: None,
            standing: Standing::Proposed,
            approved: None,
            confirmed: None,
            in_force: None,
            ended: None,
        }
    }

    fn by(name: &str) -> Decided {
        Decided { by: String::from(name), at: Timestamp(5) }
    }

    fn enforce(cases: &mut [Case], verdict: Pass) -> (u64, Option<Trip>) {
        let (ids, trip) = match verdict {
            Pass::These(ids) | Pass::Closes(ids) => (ids, None),
            Pass::Tripped(trip, ids) => (ids, Some(trip)),
        };
        for id in &ids {
            let case = cases.iter_mut().find(|case| case.id == *id).unwrap();
            case.enforce(9, Timestamp(6)).unwrap();
        }
        (ids.len() as u64, trip)
    }

    #[test]
    fn the_bound_is_the_tighter_of_number_and_share_and_never_stops_the_first_lost_card() {
        for (active, bound) in [(0, 10), (500, 10), (50_000, 100), (250_000, 500), (1 << 40, 500)] {
            assert_eq!(LIMITS.bound(active), Bound(bound), "{active}");
        }
        let strict = Limits { additions_max: 3, ..LIMITS };
        assert_eq!(strict.bound(1_000_000), Bound(3));
    }

    #[test]
    fn rec_8_the_case_of_london_2019_blocks_nobody() {
        const DECLINES: u64 = 250_000;
        let bound = LIMITS.bound(12_000_000);
        let mut cases: Vec<Case> = (1..=DECLINES).map(proposed).collect();
        // Proposals alone are nothing that could go into force.
        assert_eq!(pass(&cases, 0, bound, false), Pass::These(vec![]));
        // Somebody approves them all in one stroke.
        for case in &mut cases {
            case.approve(by("ana")).unwrap();
        }
        let trip = Trip { waiting: DECLINES, recent: 0, bound: Bound(500) };
        assert_eq!(pass(&cases, 0, bound, false), Pass::Tripped(trip, vec![]));
        assert_eq!(pass(&cases, 0, bound, true), Pass::These(vec![]));
        assert_eq!(grade_of(&cases), None);
        for case in &mut cases {
            case.reject(by("ben"), "the settlement file was processed by half").unwrap();
        }
        assert_eq!(pass(&cases, 0, bound, true), Pass::Closes(vec![]));
        assert_eq!(pass(&cases, 0, bound, false), Pass::These(vec![]));
        assert_eq!(grade_of(&cases), None);
    }

    proptest! {
        #[test]
        fn no_more_than_the_bound_goes_into_force_without_a_second_person(
            batches in proptest::collection::vec((0_u64..40, any::<bool>()), 1..12),
            additions_max in 1_u32..60,
        ) {
            let bound = Limits { additions_max, ..LIMITS }.bound(1_000_000);
            let (mut cases, mut recent, mut is_open) = (Vec::<Case>::new(), 0, false);
            for (more, second) in batches {
                let from = cases.len() as u64;
                for n in from..from + more {
                    let mut case = proposed(n);
                    case.approve(by("ana")).unwrap();
                    cases.push(case);
                }
                if second && is_open {
                    let waiting = |case: &&mut Case| case.standing == Standing::Approved;
                    for case in cases.iter_mut().filter(waiting) {
                        case.confirm(by("ben")).unwrap();
                    }
                }
                let verdict = pass(&cases, recent, bound, is_open);
                is_open = match &verdict {
                    Pass::Tripped(..) => true,
                    Pass::Closes(_) => false,
                    Pass::These(_) => is_open,
                };
                enforce(&mut cases, verdict);
                let alone = |case: &&Case| {
                    case.standing == Standing::InForce && case.confirmed.is_none()
                };
                recent = cases.iter().filter(alone).count() as u64;
                prop_assert!(recent <= bound.0, "{recent} of {bound:?}");
                if !is_open {
                    prop_assert!(cases.iter().all(|case| case.standing == Standing::InForce));
                }
            }
        }
    }
}
