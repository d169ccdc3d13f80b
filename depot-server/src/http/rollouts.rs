//! What is on its way to validators: roll-outs of releases and settings, who has what, who is
//! behind since when, and who decided it. Who reads it can halt, go on, widen, take back.

use std::sync::Arc;

use askama::Template;
use axum::{
    Form,
    response::{Html, IntoResponse, Redirect, Response},
};
use model::{Timestamp, ValidatorId};
use tokio::task::{JoinError, spawn_blocking};
use wire::DesiredWord;

use super::{
    Problem, assets,
    frame::{Frame, Viewer, html, tally},
    parts::{Age, State, ValidatorLink, When, count},
    query::Params,
    views::{BehindFacts, PlanFacts, RolloutFacts, SettingsFacts, VersionCount},
    words::{Sign, Tone},
};
use crate::steering::{
    self, SteeringError, SteeringEvent, releases,
    settings::{self, Publication},
};

/// Validators that are behind, on the page.
const BEHIND: usize = 100;

/// A plan of a release, or a version of settings.
struct Rollout {
    kind: &'static str,
    number: u64,
    what: String,
    phase: State,
    percent: u8,
    canaries: usize,
    done: String,
    waiting: String,
    bad: String,
    halted: Option<String>,
    failures: Vec<(ValidatorLink, String)>,
    why: String,
    by: String,
    since: Age,
    acts: Vec<(&'static str, &'static str)>,
    can_widen: bool,
}

/// Validators of one version of something.
struct Count {
    what: &'static str,
    version: String,
    newest: bool,
    validators: String,
}

/// A validator that is behind.
struct Late {
    validator: ValidatorLink,
    since: Option<Age>,
    heard: Option<Age>,
    lacks: String,
    why: String,
}

/// A decision.
struct Decision {
    at: When,
    by: String,
    what: String,
    reason: String,
}

#[derive(Template)]
#[template(path = "rollouts.html")]
struct RolloutsPage {
    frame: Frame,
    rollouts: Vec<Rollout>,
    over: Vec<Rollout>,
    versions: Vec<Count>,
    behind: Vec<Late>,
    behind_count: String,
    decisions: Vec<Decision>,
    as_of: Age,
}

/// `GET /rollouts`.
pub(super) async fn page(viewer: Viewer) -> Result<Html<String>, Problem> {
    let (site, times) = (&viewer.site, &viewer.times);
    let (facts, tally) = site.ask(|books| Ok((books.rollouts(BEHIND)?, tally(books)?))).await?;
    let RolloutFacts { plans, settings, versions, behind, behind_count, decisions } = facts;
    let age = |at| times.age(at);
    let (over, open): (Vec<PlanFacts>, Vec<PlanFacts>) =
        plans.into_iter().partition(|plan| plan.fact.ended);
    let mut rollouts: Vec<Rollout> = open.iter().map(|plan| of_plan(plan, age)).collect();
    let newest = settings.first().map(|facts| facts.fact.version.number);
    rollouts.extend(settings.iter().map(|facts| of_settings(facts, newest, age)));
    html(&RolloutsPage {
        frame: Frame::new(&viewer, "rollouts", "Roll-outs", &tally),
        rollouts,
        over: over.iter().take(10).map(|plan| of_plan(plan, age)).collect(),
        versions: versions.into_iter().map(of_version).collect(),
        behind: behind
            .into_iter()
            .map(|BehindFacts { id, since, heard, lacks, why }| Late {
                validator: ValidatorLink(id),
                since: since.map(age),
                heard: heard.map(age),
                lacks,
                why,
            })
            .collect(),
        behind_count: count(behind_count),
        decisions: decisions
            .iter()
            .map(|(at, event)| {
                let (what, reason, by) = words(event);
                Decision { at: times.at(*at), by, what, reason }
            })
            .collect(),
        as_of: times.age(times.now()),
    })
}

fn of_plan(facts: &PlanFacts, age: impl Fn(Timestamp) -> Age) -> Rollout {
    let PlanFacts { fact, tally, bad } = facts;
    let halted = fact.halted.as_ref();
    let (phase, acts) = match (fact.ended, halted) {
        (true, _) => (phase("over", "Over", "check", Tone::Calm), vec![]),
        (false, Some(_)) => (phase("halted", "Halted", "octagon", Tone::Bad), vec![RESUME, END]),
        (false, None) => (phase("running", "Running", "check", Tone::Calm), vec![HALT, END]),
    };
    Rollout {
        kind: "release",
        number: fact.plan.number,
        what: format!("Release {}", fact.plan.version),
        phase,
        percent: fact.plan.percent,
        canaries: fact.plan.canaries.len(),
        done: count(tally.applied),
        waiting: count(tally.pending),
        bad: if tally.bad() == 0 { String::new() } else { count(tally.bad()) },
        halted: halted.map(|(by, why, _)| format!("{why} ({by})")),
        failures: bad
            .iter()
            .map(|bad| (ValidatorLink(bad.validator), format!("{}: {}", bad.stage.word(), bad.why)))
            .collect(),
        why: fact.reason.clone(),
        by: fact.by.clone(),
        since: age(fact.at),
        can_widen: !fact.ended && halted.is_none() && fact.plan.percent < 100,
        acts,
    }
}

fn of_settings(
    facts: &SettingsFacts,
    newest: Option<u64>,
    age: impl Fn(Timestamp) -> Age,
) -> Rollout {
    let SettingsFacts { fact, chosen, arrived } = facts;
    let (number, percent) = (fact.version.number, fact.version.percent);
    let phase = if percent == 100 {
        phase("given", "Given to all", "check", Tone::Calm)
    } else {
        phase("running", "Running", "check", Tone::Calm)
    };
    Rollout {
        kind: "settings",
        number,
        what: format!("Settings {number}"),
        phase,
        percent,
        canaries: fact.version.canaries.len(),
        done: count(*arrived),
        waiting: count(chosen - arrived),
        bad: String::new(),
        halted: None,
        failures: Vec::new(),
        why: fact.reason.clone(),
        by: fact.by.clone(),
        since: age(fact.at),
        acts: if newest == Some(number) && number > 1 { vec![BACK] } else { vec![] },
        can_widen: percent < 100,
    }
}

fn phase(word: &'static str, label: &'static str, icon: &'static str, tone: Tone) -> State {
    State(Sign { word, label, icon, tone })
}

const HALT: (&str, &str) = ("halt", "Halt");
const RESUME: (&str, &str) = ("resume", "Go on");
const END: (&str, &str) = ("end", "End");
const BACK: (&str, &str) = ("back", "Take back");

fn of_version(row: VersionCount) -> Count {
    let VersionCount { what, version, newest, validators } = row;
    let version = if version.is_empty() { "none".to_owned() } else { version };
    Count { what, version, newest, validators: count(validators) }
}

/// What was decided, why, and by whom.
fn words(event: &SteeringEvent) -> (String, String, String) {
    let share = |percent: u8, canaries: &[u32]| format!("{percent} %, {} canaries", canaries.len());
    let (what, reason, by) = match event {
        SteeringEvent::Desired { validators, word, reason, by, .. } => {
            let word = DesiredWord::ALL.into_iter().find(|known| known.word() == word);
            let word = word.map_or("", |word| match word {
                DesiredWord::InService => "in service",
                DesiredWord::OutOfService => "out of service",
            });
            (format!("{} {word}", whom(validators)), reason, by)
        }
        SteeringEvent::Lifted { validators, why, by } => {
            (format!("{}: nothing wanted any more", whom(validators)), why, by)
        }
        SteeringEvent::Image { version, target, by, .. } => {
            return (format!("release {version} added for {target}"), String::new(), by.clone());
        }
        SteeringEvent::Planned { number, version, canaries, percent, reason, by, .. } => {
            let share = share(*percent, canaries);
            (format!("plan {number}: release {version} to {share}"), reason, by)
        }
        SteeringEvent::Widened { plan, canaries, percent, reason, by } => {
            let share = share(*percent, canaries);
            (format!("plan {plan} widened to {share} more"), reason, by)
        }
        SteeringEvent::Halted { plan, reason, by } => (format!("plan {plan} halted"), reason, by),
        SteeringEvent::Resumed { plan, failures, reason, by } => {
            (format!("plan {plan} goes on, {failures} failures accepted"), reason, by)
        }
        SteeringEvent::Ended { plan, reason, by } => (format!("plan {plan} ended"), reason, by),
        SteeringEvent::Settings { number, canaries, percent, reason, by, .. } => {
            (format!("settings {number} to {}", share(*percent, canaries)), reason, by)
        }
        SteeringEvent::SettingsWidened { number, canaries, percent, reason, by } => {
            let share = share(*percent, canaries);
            (format!("settings {number} widened to {share} more"), reason, by)
        }
    };
    (what, reason.clone(), by.clone())
}

/// Validators in words.
fn whom(numbers: &[u32]) -> String {
    match numbers {
        [] => "all validators".to_owned(),
        [one] => ValidatorId::new(*one).map_or_else(String::new, |id| id.to_string()),
        many => format!("{} validators", count(many.len() as u64)),
    }
}

/// `POST /rollouts`: a decision about a plan or about settings, in the name of who is signed in.
pub(super) async fn decide(viewer: Viewer, Form(form): Form<Params>) -> Result<Response, Problem> {
    let by = viewer.who.user.clone();
    let needed = |name: &'static str| {
        let said = form.text(name).map(ToOwned::to_owned);
        said.ok_or_else(|| Problem::BadRequest(format!("The form says no {name}.")))
    };
    let (act, reason) = (needed("act")?, needed("reason")?);
    let number: u64 = form
        .parsed("number")?
        .ok_or_else(|| Problem::BadRequest("The form says no number.".to_owned()))?;
    let percent = form.parsed::<u8>("percent")?;
    let of_release = form.text("kind") == Some("release");
    let (store, now) = (Arc::clone(&viewer.site.app.store), viewer.site.now());
    let decided = spawn_blocking(move || -> Result<(), SteeringError> {
        let event = match (&*act, of_release, percent) {
            ("halt", true, _) => SteeringEvent::Halted { plan: number, reason, by },
            ("end", true, _) => SteeringEvent::Ended { plan: number, reason, by },
            ("resume", true, _) => {
                return releases::resume(&store, number, &reason, &by, now).map(drop);
            }
            ("widen", true, Some(percent)) => {
                SteeringEvent::Widened { plan: number, canaries: vec![], percent, reason, by }
            }
            ("widen", false, Some(percent)) => {
                SteeringEvent::SettingsWidened { number, canaries: vec![], percent, reason, by }
            }
            ("back", false, _) => {
                let steering = steering::current(&store)?;
                let before = steering.settings.range(..number).next_back();
                let (_, before) = before.ok_or(SteeringError::NoSettings(number))?;
                let (text, canaries, percent) = (before.text.clone(), vec![], 100);
                let publication = Publication { text, canaries, percent, reason, by };
                return settings::publish(&store, &publication, now).map(drop);
            }
            _ => return Err(SteeringError::Unreadable("what is to be done")),
        };
        steering::decide(&store, &event, now).map(drop)
    });
    done(decided.await, "/rollouts")
}

/// Leads on, or says why it could not be.
pub(super) fn done(
    decided: Result<Result<(), SteeringError>, JoinError>,
    to: &str,
) -> Result<Response, Problem> {
    match decided {
        Ok(Ok(())) => Ok(Redirect::to(to).into_response()),
        Ok(Err(SteeringError::Store(error))) => {
            tracing::error!(%error, "a decision could not be booked");
            Err(Problem::Broken)
        }
        Ok(Err(refused)) => Err(Problem::BadRequest(format!("Nothing was decided: {refused}."))),
        Err(_) => Err(Problem::Broken),
    }
}
