//! Taking many validators out of service, or back: those that a filter of the fleet shows, or a
//! group, through the desired states of ADR-0028.

use std::{collections::BTreeSet, sync::Arc};

use askama::Template;
use axum::{
    Form,
    extract::Query as UrlQuery,
    response::{Html, Response},
};
use model::ValidatorId;
use tokio::task::spawn_blocking;
use wire::limits;

use super::{
    Problem, assets,
    fleet_filter::FleetFilter,
    frame::{Frame, Viewer, html, tally},
    parts::count,
    query::Params,
    rollouts::done,
};
use crate::steering::{self, Steering, SteeringError, SteeringEvent, span};

#[derive(Debug)]
struct Group {
    name: String,
    validators: String,
}

#[derive(Template)]
#[template(path = "service.html")]
struct ServicePage {
    frame: Frame,
    chosen: String,
    ids: String,
    groups: Vec<Group>,
    reason_max: usize,
}

/// `GET /fleet/service`: the form, with the validators that a filter of the fleet shows.
pub(super) async fn page(
    viewer: Viewer,
    UrlQuery(params): UrlQuery<Params>,
) -> Result<Html<String>, Problem> {
    let site = &viewer.site;
    let filter = FleetFilter::parse(&params)?;
    let store = Arc::clone(&site.app.store);
    let groups = spawn_blocking(move || steering::current(&store).map(|now| now.groups())).await;
    let groups = groups.map_err(|_| Problem::Broken)?.map_err(|error| {
        tracing::error!(%error, "the groups cannot be read");
        Problem::Broken
    })?;
    let (fleet, tally) = site.ask(|books| Ok((books.fleet()?, tally(books)?))).await?;
    // Without a filter nobody is chosen: a page that opens on "all" is one slip from an outage.
    let nothing = FleetFilter { order: filter.order, ..FleetFilter::default() };
    let rows = if filter == nothing { Vec::new() } else { filter.of(&fleet, &site.names) };
    let mut ids: Vec<String> = rows.iter().map(|row| row.id.to_string()).collect();
    ids.sort();
    html(&ServicePage {
        frame: Frame::new(&viewer, "fleet", "Service of validators", &tally),
        chosen: count(ids.len() as u64),
        ids: ids.join(" "),
        groups: groups
            .into_iter()
            .map(|(name, members)| Group { name, validators: count(members.len() as u64) })
            .collect(),
        reason_max: limits::WHY,
    })
}

/// `POST /fleet/service`: books what is wanted, in the name of who is signed in.
pub(super) async fn decide(viewer: Viewer, Form(form): Form<Params>) -> Result<Response, Problem> {
    let by = viewer.who.user.clone();
    let needed = |name: &'static str| {
        let said = form.text(name).map(ToOwned::to_owned);
        said.ok_or_else(|| Problem::BadRequest(format!("The form says no {name}.")))
    };
    let (named, word, reason) = (needed("validators")?, needed("word")?, needed("reason")?);
    let now = viewer.site.now();
    let until = if word == "lift" {
        None
    } else {
        let lasting = span(&needed("for")?);
        let lasting = lasting.map_err(|why| Problem::BadRequest(format!("for: {why}.")))?;
        Some(now.plus(lasting).0)
    };
    let store = Arc::clone(&viewer.site.app.store);
    let decided = spawn_blocking(move || -> Result<(), SteeringError> {
        let known = store.validators()?;
        let validators = chosen(&named, &steering::current(&store)?, &known)?;
        let event = match until {
            None => SteeringEvent::Lifted { validators, why: reason, by },
            Some(until) => SteeringEvent::Desired { validators, word, reason, until, by },
        };
        steering::decide(&store, &event, now).map(drop)
    });
    done(decided.await, "/rollouts#decisions-title")
}

/// Numbers of the validators that are named, by ids and by groups. None of them would be all, and
/// that is what only the command line says.
fn chosen(
    named: &str,
    steering: &Steering,
    known: &[ValidatorId],
) -> Result<Vec<u32>, SteeringError> {
    let groups = steering.groups();
    let mut chosen = BTreeSet::new();
    for word in named.split([' ', ',', ';', '\n', '\r', '\t']).filter(|word| !word.is_empty()) {
        if let Some(members) = groups.get(word) {
            chosen.extend(members.iter().copied());
            continue;
        }
        let unknown = || SteeringError::NoGroup(word.to_owned());
        chosen.insert(word.parse::<ValidatorId>().map_err(|_| unknown())?);
    }
    if let Some(id) = chosen.iter().find(|id| !known.contains(id)) {
        return Err(SteeringError::Unknown(*id));
    }
    if chosen.is_empty() {
        return Err(SteeringError::Empty("the list of validators"));
    }
    Ok(chosen.iter().map(|id| id.number()).collect())
}
