//! One journey in, its price out, under the fares of a feed.

use fare::{
    Step,
    rules::{JourneyPrice, Ride, Who},
};
use model::Timestamp;
use serde::Serialize;
use texts::Language;

use super::{
    line::{Object, parse_clock, parse_date},
    purse::PurseTotal,
    source::FeedTable,
};

/// What a journey costs, as it is written out.
#[derive(Debug, Serialize)]
pub(super) struct Priced {
    pub(super) total: String,
    pub(super) currency: &'static str,
    /// From 0.
    pub(super) unknown_legs: Vec<usize>,
    pub(super) products: Vec<String>,
    pub(super) steps: Vec<StepLine>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) purse: Option<PurseTotal>,
}

/// One step of an explained charge.
#[derive(Debug, Serialize)]
pub(super) struct StepLine {
    pub(super) key: &'static str,
    pub(super) text: String,
    pub(super) rule: String,
    pub(super) amount: String,
}

impl StepLine {
    pub(super) fn new(language: Language, step: &Step) -> Self {
        Self {
            key: step.key(),
            text: texts::step_text(language, step),
            rule: step.rule.to_string(),
            amount: step.amount.decimal(),
        }
    }
}

impl Priced {
    fn new(language: Language, price: JourneyPrice) -> Self {
        Self {
            total: price.total.decimal(),
            currency: price.total.currency().letters(),
            unknown_legs: price.unknown,
            products: price.products.iter().map(ToString::to_string).collect(),
            steps: price.steps.iter().map(|step| StepLine::new(language, step)).collect(),
            purse: None,
        }
    }
}

/// Prices a line with `legs`.
pub(super) fn price_journey(
    table: &FeedTable,
    line: &Object<'_>,
    language: Language,
) -> Result<Priced, String> {
    let (rides, who) = read_journey(table, line)?;
    Ok(Priced::new(language, table.price(&rides, who)))
}

/// A journey as the rules take it.
pub(super) fn read_journey(
    table: &FeedTable,
    line: &Object<'_>,
) -> Result<(Vec<Ride>, Who), String> {
    let date = parse_date(&line.required("date", "the service day, such as 20261126")?)?;
    let who = Who {
        rider: line.text("rider")?.map(|id| table.rider(&id)).transpose()?,
        medium: line.text("medium")?.map(|id| table.medium(&id)).transpose()?,
    };
    let mut rides: Vec<Ride> = Vec::new();
    for (ix, leg) in line.list("legs")?.iter().enumerate() {
        let clock = |secs| table.zone().moment(date, secs);
        let ride = read_ride(table, leg, clock).map_err(|why| format!("legs[{ix}]: {why}"))?;
        if rides.last().is_some_and(|before| ride.departs < before.departs) {
            return Err(format!("legs[{ix}] departs before the leg ahead of it: order the legs"));
        }
        rides.push(ride);
    }
    if rides.is_empty() {
        return Err("legs is empty: a journey has at least one leg".to_owned());
    }
    Ok((rides, who))
}

fn read_ride(
    table: &FeedTable,
    leg: &Object<'_>,
    clock: impl Fn(u32) -> Timestamp,
) -> Result<Ride, String> {
    let name = |key, why| format!("{key}: {why}");
    let stop = |key| {
        let id = leg.required(key, "a stop_id of the feed")?;
        table.stop(&id).map_err(|why| name(key, why))
    };
    let route = leg.required("route", "a route_id of the feed")?;
    let route = table.route(&route).map_err(|why| name("route", why))?;
    let (from, to) = (stop("from")?, stop("to")?);
    let time = |key| parse_clock(key, &leg.required(key, "a time such as 07:05:00")?);
    let (departs, arrives) = (time("dep")?, time("arr")?);
    if arrives < departs {
        let why = "arr lies before dep: times past midnight count on, as 25:05:00";
        return Err(why.to_owned());
    }
    Ok(Ride { route, from, to, departs: clock(departs), arrives: clock(arrives) })
}
