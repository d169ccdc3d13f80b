//! Blocking cards: the breaker, what needs a decision, what is in force, and the command for each.

use askama::Template;
use axum::response::Html;
use blocking::Standing;

use super::{
    Problem, assets,
    frame::{Frame, Viewer, html, tally},
    parts::{Age, CardLink, ValidatorLink, When, count},
    views::{HotlistCase, HotlistFacts, HotlistGroup},
};
use crate::hotlist::event::grade_word;

/// Cases of each list on the page.
const CASES: u32 = 100;

/// Cases that stand alike.
struct Group {
    standing: &'static str,
    cause: &'static str,
    validator: Option<ValidatorLink>,
    cases: String,
    oldest: Age,
    command: Option<String>,
}

/// One case.
struct Line {
    id: u64,
    card: CardLink,
    standing: &'static str,
    cause: &'static str,
    grade: &'static str,
    reason: String,
    evidence: Vec<u64>,
    validator: Option<ValidatorLink>,
    who: String,
    age: Age,
    until: Option<When>,
    command: String,
}

#[derive(Template)]
#[template(path = "hotlist.html")]
struct HotlistPage {
    frame: Frame,
    breaker: Option<(Age, String)>,
    list: Option<(u64, Age, String)>,
    groups: Vec<Group>,
    undecided: String,
    /// Its word, its title, its cases.
    sections: Vec<(&'static str, &'static str, Vec<Line>)>,
    shown: u32,
    as_of: Age,
}

/// `GET /hotlist`.
pub(super) async fn page(viewer: Viewer) -> Result<Html<String>, Problem> {
    let (site, times) = (&viewer.site, &viewer.times);
    let (facts, tally) = site.ask(|books| Ok((books.hotlist(CASES)?, tally(books)?))).await?;
    let undecided = count(facts.undecided());
    let HotlistFacts { breaker, list, groups, waiting, in_force } = facts;
    let line = |case: &HotlistCase| Line {
        id: case.id,
        card: CardLink(case.card.clone()),
        standing: case.standing.word(),
        cause: case.cause.word(),
        grade: grade_word(case.grade),
        reason: case.reason.clone(),
        evidence: case.evidence.clone(),
        validator: case.validator.map(ValidatorLink),
        who: match &case.approved_by {
            None => format!("proposed by {}", case.proposer),
            Some(by) => format!("proposed by {}, approved by {by}", case.proposer),
        },
        age: times.age(case.proposed_at),
        until: case.expires.map(|at| times.at(at)),
        command: command(case.standing, &case.id.to_string()),
    };
    html(&HotlistPage {
        frame: Frame::new(&viewer, "hotlist", "Hotlist", &tally),
        breaker: breaker.map(|(since, why)| (times.age(since), why)),
        list: list.map(|(version, at, cards)| (version, times.age(at), count(cards))),
        groups: groups
            .iter()
            .map(|group| Group {
                standing: group.standing.word(),
                cause: group.cause.word(),
                validator: group.validator.map(ValidatorLink),
                cases: count(group.cases),
                oldest: times.age(group.since),
                command: (group.standing != Standing::InForce).then(|| of_group(group)),
            })
            .collect(),
        undecided,
        sections: vec![
            ("waiting", "Needs a decision", waiting.iter().map(line).collect()),
            ("in-force", "In force", in_force.iter().map(line).collect()),
        ],
        shown: CASES,
        as_of: times.age(times.now()),
    })
}

/// The command that decides about these cases.
fn command(standing: Standing, which: &str) -> String {
    let (word, why) = match standing {
        Standing::Proposed => ("approve", ""),
        Standing::Approved => ("confirm", ""),
        Standing::InForce => ("unblock", " --reason WHY"),
        Standing::Confirmed
        | Standing::Rejected
        | Standing::Withdrawn
        | Standing::Expired
        | Standing::Unblocked => ("reject", " --reason WHY"),
    };
    format!("depot-server hotlist {word} {which} --by NAME{why}")
}

/// A group is rejected in one stroke: what comes in a flood is a fault more often than fraud.
fn of_group(group: &HotlistGroup) -> String {
    let cause = group.cause.word();
    let validator = group.validator.map(|id| format!(" --validator {id}")).unwrap_or_default();
    format!("depot-server hotlist reject --cause {cause}{validator} --by NAME --reason WHY")
}
