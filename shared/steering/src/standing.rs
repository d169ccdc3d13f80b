//! Which program a validator runs: the package's, or a release that is on trial or confirmed.
//!
//! Invariants: whoever runs a release on trial has counted its start before; a release that failed
//! or was refused under a plan is not begun again under that plan; there is always a way back, to
//! what ran before.

use alloc::{format, string::String, vec::Vec};

use semver::Version;
use wire::{ReleasePlan, ReleaseStage};

/// A release on trial is started this often before it is given up.
pub const STARTS_MAX: u32 = 3;
/// Outcomes that are remembered.
const OUTCOMES_MAX: usize = 16;

/// What runs here; written down whole with every change.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// The release that is to run; `None` is the package's program.
    pub running: Option<String>,
    /// It has not confirmed itself.
    pub trial: Option<Trial>,
    /// What became of plans, oldest first.
    pub outcomes: Vec<Outcome>,
}

/// A release on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// By which plan.
    pub plan: u64,
    /// What ran before.
    pub before: Option<String>,
    /// How often it was started.
    pub starts: u32,
    /// How long it may take to confirm itself, seconds.
    pub confirm_s: u32,
    /// Whether what ran before took taps, so that this one has to.
    pub served: bool,
}

/// What became of a plan here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Which plan.
    pub plan: u64,
    /// Of which release.
    pub version: String,
    /// Applied, failed or refused.
    pub stage: ReleaseStage,
    /// Why, unless it is applied.
    pub why: String,
}

/// What is to be done for a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: it is over, or may not begin.
    Stay(ReleaseStage),
    /// It runs already.
    Applied,
    /// It cannot be taken.
    Refuse(String),
    /// Its image has to come first.
    Fetch,
    /// At a quiet moment.
    Switch,
}

impl Standing {
    /// What is to be done for the plan that chooses this validator, whose package has the version
    /// `package`.
    pub fn next(&self, plan: &ReleasePlan, package: &str, is_here: bool) -> Next {
        if self.trial.is_some() {
            return Next::Stay(ReleaseStage::Trying);
        }
        if let Some(outcome) = self.outcome(plan.number) {
            return Next::Stay(outcome.stage);
        }
        if self.running.as_ref() == Some(&plan.version) {
            return Next::Applied;
        }
        let Ok(wanted) = Version::parse(&plan.version) else {
            return Next::Refuse(format!("{:?} is no version", plan.version));
        };
        let runs = self.running.as_deref().unwrap_or(package);
        if let Ok(runs) = Version::parse(runs)
            && wanted < runs
            && !plan.downgrade
        {
            return Next::Refuse(format!("{wanted} is older than {runs}, which runs"));
        }
        match (plan.halted, is_here) {
            (true, _) => Next::Stay(ReleaseStage::Pending),
            (false, false) => Next::Fetch,
            (false, true) => Next::Switch,
        }
    }

    /// What became of a plan.
    pub fn outcome(&self, plan: u64) -> Option<&Outcome> {
        self.outcomes.iter().find(|outcome| outcome.plan == plan)
    }

    /// The release of a plan is to run from the next start on.
    pub fn begin(&mut self, plan: &ReleasePlan, served: bool) {
        let before = self.running.replace(plan.version.clone());
        let (plan, confirm_s) = (plan.number, plan.confirm_s);
        self.trial = Some(Trial { plan, before, starts: 0, confirm_s, served });
    }

    /// A start: counts one of a release on trial, or goes back. Answers why it went back.
    pub fn start(&mut self) -> Option<String> {
        let trial = self.trial.as_mut()?;
        if trial.starts < STARTS_MAX {
            trial.starts += 1;
            return None;
        }
        let why = format!("it was started {} times and did not confirm itself", trial.starts);
        self.go_back(&why);
        Some(why)
    }

    /// The release on trial has confirmed itself.
    pub fn confirm(&mut self) {
        if let Some(trial) = self.trial.take() {
            let version = self.running.clone().unwrap_or_default();
            self.conclude(trial.plan, version, ReleaseStage::Applied, "");
        }
    }

    /// The release on trial is given up: what ran before runs from the next start on.
    pub fn go_back(&mut self, why: &str) {
        if let Some(trial) = self.trial.take() {
            let version = self.running.take().unwrap_or_default();
            self.running = trial.before;
            self.conclude(trial.plan, version, ReleaseStage::Failed, why);
        }
    }

    /// A plan is over without a switch.
    pub fn conclude(&mut self, plan: u64, version: String, stage: ReleaseStage, why: &str) {
        self.outcomes.retain(|outcome| outcome.plan != plan);
        self.outcomes.push(Outcome { plan, version, stage, why: why.into() });
        let surplus = self.outcomes.len().saturating_sub(OUTCOMES_MAX);
        self.outcomes.drain(..surplus);
    }

    /// Releases that something may still come of: what runs, and the way back.
    pub fn needed(&self) -> impl Iterator<Item = &str> {
        let before = self.trial.as_ref().and_then(|trial| trial.before.as_deref());
        self.running.as_deref().into_iter().chain(before)
    }
}

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned, collections::BTreeSet, vec};

    use proptest::prelude::*;
    use wire::PlannedImage;

    use super::*;

    fn plan(number: u64, version: &str) -> ReleasePlan {
        ReleasePlan {
            number,
            version: version.to_owned(),
            images: vec![PlannedImage { target: "pi".to_owned(), list: number }],
            canaries: BTreeSet::new(),
            percent: 100,
            halted: false,
            downgrade: false,
            confirm_s: 600,
        }
    }

    #[test]
    fn what_is_done_for_a_plan_by_what_runs_and_what_became_of_it() {
        let runs = |version: Option<&str>| Standing {
            running: version.map(ToOwned::to_owned),
            ..Standing::default()
        };
        let refused = |words: &str| Next::Refuse(words.to_owned());
        let (halted, down) = (
            ReleasePlan { halted: true, ..plan(1, "1.1.0") },
            ReleasePlan { downgrade: true, ..plan(1, "0.9.0") },
        );
        for (standing, plan, is_here, expected) in [
            (runs(None), plan(1, "1.1.0"), false, Next::Fetch),
            (runs(None), plan(1, "1.1.0"), true, Next::Switch),
            (runs(None), halted, true, Next::Stay(ReleaseStage::Pending)),
            (runs(Some("1.1.0")), plan(1, "1.1.0"), false, Next::Applied),
            (runs(None), plan(1, "0.9.0"), true, refused("0.9.0 is older than 1.0.0, which runs")),
            (
                runs(Some("1.10.0")),
                plan(1, "1.9.0"),
                true,
                refused("1.9.0 is older than 1.10.0, which runs"),
            ),
            (runs(None), down, true, Next::Switch),
            (runs(None), plan(1, "../x"), true, refused("\"../x\" is no version")),
        ] {
            assert_eq!(standing.next(&plan, "1.0.0", is_here), expected, "{plan:?}");
        }
    }

    #[test]
    fn a_release_that_does_not_confirm_itself_gives_way_and_is_not_tried_again_under_its_plan() {
        let mut standing = Standing::default();
        standing.begin(&plan(4, "1.1.0"), true);
        for start in 1..=STARTS_MAX {
            assert_eq!(standing.start(), None);
            assert_eq!(standing.trial.as_ref().unwrap().starts, start);
            assert_eq!(standing.running.as_deref(), Some("1.1.0"));
        }
        assert!(standing.start().unwrap().contains("3 times"));
        assert_eq!((standing.running.as_deref(), standing.trial.as_ref()), (None, None));
        let next = standing.next(&plan(4, "1.1.0"), "1.0.0", true);
        assert_eq!(next, Next::Stay(ReleaseStage::Failed));
        assert_eq!(standing.next(&plan(5, "1.1.0"), "1.0.0", true), Next::Switch, "a new plan");
        standing.begin(&plan(5, "1.1.0"), true);
        assert_eq!(standing.start(), None);
        standing.confirm();
        assert_eq!(standing.start(), None);
        assert_eq!(standing.outcome(5).unwrap().stage, ReleaseStage::Applied);
        assert_eq!(standing.outcome(4).unwrap().stage, ReleaseStage::Failed);
    }

    proptest! {
        #[test]
        fn whatever_happens_a_bad_release_is_left_after_its_starts_and_there_is_a_way_back(
            steps in proptest::collection::vec(0_u8..5, 0..60),
        ) {
            let (mut standing, mut number) = (Standing::default(), 0);
            let mut good: Option<String> = None;
            for step in steps {
                match step {
                    0 if standing.trial.is_none() => {
                        number += 1;
                        standing.begin(&plan(number, &format!("1.{number}.0")), true);
                    }
                    1 => {
                        standing.confirm();
                        good.clone_from(&standing.running);
                    }
                    2 => standing.go_back("no link"),
                    _ => drop(standing.start()),
                }
                let trial = standing.trial.as_ref();
                prop_assert!(trial.is_none_or(|trial| trial.starts <= STARTS_MAX));
                prop_assert!(trial.is_none_or(|trial| trial.before == good));
                prop_assert!(trial.is_some() || standing.running == good);
                prop_assert!(standing.outcomes.len() <= 16);
            }
            for _ in 0..=STARTS_MAX {
                standing.start();
            }
            prop_assert_eq!(standing.running, good);
        }
    }
}
