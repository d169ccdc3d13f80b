//! Releases of validators' software: which images there are, how far each goes, and when a roll-out
//! halts by itself (ADR-0028).
//!
//! Invariants: a plan's percent only rises and its number is never used again; every halt and every
//! resumption is a row of the journal with a name; whoever resumes accepts the failures known then.

use std::collections::BTreeSet;

use model::{Timestamp, ValidatorId};
use steering::{FailureBound, Tally, chooses};
use wire::{ListKind, PlannedImage, ReleasePlan, ReleasePlans, ReleaseStage, ReleaseState};

use super::{Steering, SteeringError, SteeringEvent, replayed, said};
use crate::store::Store;

/// Who decides what no person did.
const RULE: &str = "rule";

/// An image in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFact {
    /// Its release.
    pub version: String,
    /// For which machines.
    pub target: String,
    /// Bytes of the list.
    pub length: u64,
    /// SHA-256 of the list, hexadecimal.
    pub hash: String,
    /// Who added it.
    pub by: String,
}

/// A plan and what people decided about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanFact {
    /// As validators are given it.
    pub plan: ReleasePlan,
    /// Who planned it, when, and why.
    pub by: String,
    /// When.
    pub at: Timestamp,
    /// Why.
    pub reason: String,
    /// Failures that whoever resumed it knew of.
    pub accepted: u64,
    /// Who halted it, why and when, while it is.
    pub halted: Option<(String, String, Timestamp)>,
    /// It is over: nobody is given it any more.
    pub ended: bool,
}

/// A validator that did not take a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// Which.
    pub validator: ValidatorId,
    /// Failed or refused.
    pub stage: ReleaseStage,
    /// By its own word.
    pub why: String,
}

/// What validators say of their releases.
pub type ReleaseStates = Vec<(ValidatorId, Option<ReleaseState>)>;

impl Steering {
    /// Books an event about releases.
    pub(super) fn apply_release(
        &mut self,
        at: Timestamp,
        event: &SteeringEvent,
    ) -> Result<(), SteeringError> {
        match event {
            SteeringEvent::Image { number, version, target, length, hash, by } => {
                said("the name", by)?;
                let known =
                    |image: &ImageFact| image.version == *version && image.target == *target;
                if self.images.values().any(known) || self.images.contains_key(number) {
                    return Err(SteeringError::Known(format!("{version} for {target}")));
                }
                let (version, target) = (version.clone(), target.clone());
                let (length, hash, by) = (*length, hash.clone(), by.clone());
                self.images.insert(*number, ImageFact { version, target, length, hash, by });
                return Ok(());
            }
            SteeringEvent::Planned { number, version, .. } => {
                self.plan(at, *number, version, event)?;
            }
            SteeringEvent::Widened { plan, canaries, percent, by, reason } => {
                named(by, reason)?;
                let canaries = validators(canaries)?;
                let fact = self.open(*plan)?;
                if *percent < fact.plan.percent || *percent > 100 {
                    return Err(SteeringError::Percent(fact.plan.percent));
                }
                fact.plan.percent = *percent;
                fact.plan.canaries.extend(canaries);
            }
            SteeringEvent::Halted { plan, by, reason } => {
                named(by, reason)?;
                let fact = self.open(*plan)?;
                if fact.halted.is_some() {
                    return Err(SteeringError::Plan(*plan, "is halted already"));
                }
                fact.plan.halted = true;
                fact.halted = Some((by.clone(), reason.clone(), at));
            }
            SteeringEvent::Resumed { plan, failures, by, reason } => {
                named(by, reason)?;
                let fact = self.open(*plan)?;
                if fact.halted.take().is_none() {
                    return Err(SteeringError::Plan(*plan, "is not halted"));
                }
                fact.plan.halted = false;
                fact.accepted = *failures;
            }
            SteeringEvent::Ended { plan, by, reason } => {
                named(by, reason)?;
                self.open(*plan)?.ended = true;
            }
            SteeringEvent::Desired { .. }
            | SteeringEvent::Lifted { .. }
            | SteeringEvent::Settings { .. }
            | SteeringEvent::SettingsWidened { .. } => {}
        }
        self.list_plans(at)
    }

    fn plan(
        &mut self,
        at: Timestamp,
        number: u64,
        version: &str,
        event: &SteeringEvent,
    ) -> Result<(), SteeringError> {
        let SteeringEvent::Planned { canaries, percent, downgrade, confirm_s, by, reason, .. } =
            event
        else {
            return Ok(());
        };
        named(by, reason)?;
        if number != self.next_plan() {
            return Err(SteeringError::Unreadable("the number of a plan"));
        }
        if *percent > 100 {
            return Err(SteeringError::Percent(0));
        }
        let of_version = |fact: &&PlanFact| !fact.ended && fact.plan.version == version;
        if let Some(fact) = self.plans.values().find(of_version) {
            return Err(SteeringError::Plan(fact.plan.number, "is of the same release: widen it"));
        }
        let mut images: Vec<PlannedImage> = self
            .images
            .iter()
            .filter(|(_, image)| image.version == version)
            .map(|(list, image)| PlannedImage { target: image.target.clone(), list: *list })
            .collect();
        images.sort();
        if images.is_empty() {
            return Err(SteeringError::NoImage(version.to_owned()));
        }
        let plan = ReleasePlan {
            number,
            version: version.to_owned(),
            images,
            canaries: validators(canaries)?,
            percent: *percent,
            halted: false,
            downgrade: *downgrade,
            confirm_s: *confirm_s,
        };
        let (by, reason) = (by.clone(), reason.clone());
        let fact = PlanFact { plan, by, at, reason, accepted: 0, halted: None, ended: false };
        self.plans.insert(number, fact);
        Ok(())
    }

    /// The number of the next plan.
    pub fn next_plan(&self) -> u64 {
        self.plans.keys().next_back().map_or(1, |last| last + 1)
    }

    /// The number of the next image: above what books restored from a backup have forgotten.
    pub fn next_image(&self, now: Timestamp) -> u64 {
        now.secs().max(self.images.keys().next_back().map_or(1, |last| last + 1))
    }

    fn open(&mut self, plan: u64) -> Result<&mut PlanFact, SteeringError> {
        match self.plans.get_mut(&plan) {
            None => Err(SteeringError::Plan(plan, "is not known")),
            Some(fact) if fact.ended => Err(SteeringError::Plan(plan, "is over")),
            Some(fact) => Ok(fact),
        }
    }

    fn list_plans(&mut self, at: Timestamp) -> Result<(), SteeringError> {
        let open = self.plans.values().filter(|fact| !fact.ended).map(|fact| fact.plan.clone());
        let content = ReleasePlans(open.collect()).encode()?;
        self.list(at, ListKind::PLAN, content);
        Ok(())
    }

    /// Numbers of the images that validators may ask for. The newest is always among them, so that
    /// its kind never leaves the manifest.
    pub fn images_out(&self) -> BTreeSet<u64> {
        let open = self.plans.values().filter(|fact| !fact.ended);
        let planned = open.flat_map(|fact| fact.plan.images.iter().map(|image| image.list));
        planned.chain(self.images.keys().next_back().copied()).collect()
    }

    /// What has become of a plan by the word of validators, and who did not take it.
    pub fn tally(&self, plan: &ReleasePlan, states: &ReleaseStates) -> (Tally, Vec<Bad>) {
        let (mut tally, mut bad) = (Tally::default(), Vec::new());
        for (validator, state) in states.iter().filter(|(id, _)| chooses(plan, *id)) {
            let said = state.as_ref().filter(|state| state.plan == plan.number);
            match said.map(|said| said.stage) {
                Some(ReleaseStage::Applied) => tally.applied += 1,
                Some(ReleaseStage::Failed) => tally.failed += 1,
                Some(ReleaseStage::Refused) => tally.refused += 1,
                Some(
                    ReleaseStage::Idle
                    | ReleaseStage::Pending
                    | ReleaseStage::Ready
                    | ReleaseStage::Trying,
                )
                | None => tally.pending += 1,
            }
            if let Some(said) = said
                && matches!(said.stage, ReleaseStage::Failed | ReleaseStage::Refused)
            {
                let (validator, stage, why) = (*validator, said.stage, said.why.clone());
                bad.push(Bad { validator, stage, why });
            }
        }
        (tally, bad)
    }
}

/// Halts what goes wrong. Answers the plans that it halted.
pub fn tick(store: &Store, bound: FailureBound, now: Timestamp) -> Result<Vec<u64>, SteeringError> {
    // Asked every second: most depots have no plans.
    if !store.steering_lists()?.contains_key(&ListKind::PLAN) {
        return Ok(Vec::new());
    }
    let steering = super::current(store)?;
    let running = |fact: &&PlanFact| !fact.ended && fact.halted.is_none();
    if !steering.plans.values().any(|fact| running(&fact)) {
        return Ok(Vec::new());
    }
    let states = store.release_states()?;
    let mut halted = Vec::new();
    for fact in steering.plans.values().filter(running) {
        let (tally, bad) = steering.tally(&fact.plan, &states);
        if !tally.must_halt(fact.accepted, bound) {
            continue;
        }
        let first =
            bad.first().map_or_else(String::new, |bad| format!("; {}: {}", bad.validator, bad.why));
        let (failed, through) = (tally.bad(), tally.bad() + tally.applied);
        let reason = format!("{failed} of {through} validators did not take it{first}");
        let plan = fact.plan.number;
        tracing::error!(plan, version = fact.plan.version, reason, "a roll-out is halted");
        let event = SteeringEvent::Halted { plan, reason, by: RULE.to_owned() };
        // Somebody may have decided meanwhile: then there is nothing to halt.
        match super::decide(store, &event, now) {
            Ok(_) => halted.push(plan),
            Err(SteeringError::Plan(..)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(halted)
}

/// A roll-out goes on. Answers how many failures are accepted by that: those known now.
pub fn resume(
    store: &Store,
    plan: u64,
    reason: &str,
    by: &str,
    now: Timestamp,
) -> Result<u64, SteeringError> {
    let steering = super::current(store)?;
    let fact = steering.plans.get(&plan).ok_or(SteeringError::Plan(plan, "is not known"))?;
    let failures = steering.tally(&fact.plan, &store.release_states()?).0.bad();
    let (reason, by) = (reason.to_owned(), by.to_owned());
    super::decide(store, &SteeringEvent::Resumed { plan, failures, reason, by }, now)?;
    Ok(failures)
}

/// Adds a signed image to the books; answers its number.
pub fn add_image(
    store: &Store,
    label: &wire::ImageLabel,
    content: &[u8],
    by: &str,
    now: Timestamp,
) -> Result<u64, SteeringError> {
    let book = store.begin_steering(now)?;
    let mut steering = replayed(&book.journal()?)?;
    let number = steering.next_image(now);
    let event = SteeringEvent::Image {
        number,
        version: label.version.clone(),
        target: label.target.clone(),
        length: content.len() as u64,
        hash: super::hash_of(content),
        by: by.trim().to_owned(),
    };
    steering.apply(now, &event)?;
    book.add(&event, &steering.lists)?;
    book.keep_image(number, content)?;
    book.commit()?;
    Ok(number)
}

pub(super) fn named(by: &str, reason: &str) -> Result<(), SteeringError> {
    said("the name", by)?;
    said("the reason", reason)
}

pub(super) fn validators(numbers: &[u32]) -> Result<BTreeSet<ValidatorId>, SteeringError> {
    let id = |number: &u32| {
        ValidatorId::new(*number).ok_or(SteeringError::Unreadable("a validator's number"))
    };
    numbers.iter().map(id).collect()
}
