//! The stream of taps: the newest log entries, filtered by the address, live.

use askama::Template;
use axum::{Json, extract::Query as UrlQuery, response::Html};
use model::{RouteIx, Timestamp, ValidatorId};
use serde_json::{Value, json};

use super::{
    Problem, Site, assets,
    frame::{self, Frame, Viewer},
    parts::{Age, CardLink, Cash, State as Sign, Times, ValidatorLink, When, count, span},
    query::{Choice, Params, Query, Select, choices},
    views::{Outcome, Page, TapFilter, TapRow, TapSums},
};

/// Rows of one page.
const ROWS: u32 = 100;
/// A tap that took longer than this to arrive says so.
const LATE_FROM_MS: u64 = 60_000;

/// How far back a list goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Within {
    /// Five minutes.
    FiveMinutes,
    /// An hour.
    Hour,
    /// Since the service day began.
    Day,
    /// Everything kept.
    All,
}

impl Within {
    const ALL: [Self; 4] = [Self::FiveMinutes, Self::Hour, Self::Day, Self::All];

    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::FiveMinutes => "5m",
            Self::Hour => "1h",
            Self::Day => "day",
            Self::All => "all",
        }
    }

    const fn label(self) -> &'static str {
        match self {
            Self::FiveMinutes => "Last 5 minutes",
            Self::Hour => "Last hour",
            Self::Day => "This service day",
            Self::All => "All",
        }
    }

    /// When it begins.
    pub(super) fn from(self, times: &Times, day_starts: i8) -> Option<Timestamp> {
        // From a whole minute on, so that the books may answer from counts kept by the minute.
        let minute = |ms: u64| ms - ms % 60_000;
        let back = |ms: u64| Some(Timestamp(minute(times.now().0.saturating_sub(ms))));
        match self {
            Self::FiveMinutes => back(300_000),
            Self::Hour => back(3_600_000),
            Self::Day => Some(times.day_start(day_starts)),
            Self::All => None,
        }
    }
}

/// The filter that an address asks for, and its window in time.
pub(super) fn filter(
    params: &Params,
    times: &Times,
    day_starts: i8,
) -> Result<(TapFilter, Within), Problem> {
    let within = match params.text("within") {
        None => Within::Hour,
        Some(word) => Within::ALL.into_iter().find(|w| w.word() == word).ok_or_else(|| {
            Problem::BadRequest(format!("The address says within={word}: use 5m, 1h, day or all."))
        })?,
    };
    let filter = TapFilter {
        validator: params.parsed::<ValidatorId>("validator")?,
        route: params.parsed::<u16>("route")?.map(RouteIx),
        outcome: params.state("outcome")?,
        reason: params.state("reason")?,
        received_from: within.from(times, day_starts),
        received_before: None,
    };
    Ok((filter, within))
}

/// The address of the list that `filter` describes.
pub(super) fn address(filter: &TapFilter, within: Within) -> String {
    query(filter, within).on("/taps")
}

fn query(filter: &TapFilter, within: Within) -> Query {
    Query::default()
        .with("validator", filter.validator)
        .with("route", filter.route)
        .state("outcome", filter.outcome)
        .state("reason", filter.reason)
        .with("within", (within != Within::Hour).then_some(within.word()))
}

/// One entry as it is shown, on the page and by the API alike.
pub(super) struct Line {
    pub(super) no: u64,
    pub(super) when: When,
    pub(super) validator: ValidatorLink,
    pub(super) place: String,
    pub(super) route: String,
    pub(super) role: Sign,
    pub(super) card: Option<CardLink>,
    pub(super) outcome: Sign,
    pub(super) reason: Option<Sign>,
    pub(super) charged: Option<Cash>,
    pub(super) balance: Option<Cash>,
    pub(super) duration_ms: u16,
    /// How long after the tap it arrived, when that was long.
    pub(super) late: Option<String>,
    /// Epoch and number in the validator's log.
    pub(super) entry: String,
}

impl Line {
    pub(super) fn new(row: &TapRow, site: &Site, times: &Times) -> Self {
        let late = row.received_at.since(row.tapped_at);
        let paid = match row.outcome {
            Outcome::Committed | Outcome::InDoubt | Outcome::Confirmed => true,
            Outcome::Refused | Outcome::Voided | Outcome::Ticket | Outcome::Gate => false,
        };
        Self {
            no: row.no,
            when: times.at(row.tapped_at),
            validator: ValidatorLink(row.validator),
            place: site.names.place(row.place),
            route: row.route.map(|route| site.names.route(route)).unwrap_or_default(),
            role: Sign::of(row.role),
            card: row.card.clone().map(CardLink),
            outcome: Sign::of(row.outcome),
            reason: row.reason.map(Sign::of).or(row.gate.map(Sign::of)),
            charged: paid.then_some(Cash(row.charged)),
            balance: row.balance.map(Cash),
            duration_ms: row.duration_ms,
            late: (late.as_millis() > u128::from(LATE_FROM_MS)).then(|| span(late)),
            entry: format!("{}.{}", row.epoch, row.seq),
        }
    }

    /// For the page's script, which fills the same row as the template.
    pub(super) fn json(&self) -> Value {
        let sign = |state: &Sign| {
            let sign = state.0;
            json!({ "label": sign.label, "icon": sign.icon, "tone": sign.tone.class() })
        };
        json!({
            "no": self.no,
            "time": { "text": self.when.text, "iso": self.when.iso },
            "validator": self.validator.0.to_string(),
            "place": self.place,
            "route": self.route,
            "role": sign(&self.role),
            "card": self.card.as_ref().map(|link| json!({
                "handle": link.0.handle.to_string(), "masked": link.0.masked,
            })),
            "outcome": sign(&self.outcome),
            "reason": self.reason.as_ref().map(sign),
            "charged": self.charged.map(Cash::text),
            "balance": self.balance.map(Cash::text),
            "duration_ms": self.duration_ms,
            "late": self.late,
            "entry": self.entry,
        })
    }
}

/// The figures above the list, as they are shown.
pub(super) struct Sums {
    pub(super) total: String,
    pub(super) committed: String,
    pub(super) refused: String,
    pub(super) in_doubt: String,
    pub(super) charged: Vec<Cash>,
    pub(super) p95: String,
}

impl Sums {
    fn new(sums: &TapSums) -> Self {
        Self {
            total: count(sums.total()),
            committed: count(sums.of(Outcome::Committed)),
            refused: count(sums.of(Outcome::Refused)),
            in_doubt: count(sums.of(Outcome::InDoubt)),
            charged: sums.charged.iter().copied().map(Cash).collect(),
            p95: sums.duration_p95_ms.map_or("–".to_owned(), |ms| format!("{ms} ms")),
        }
    }

    fn json(&self) -> Value {
        let charged: Vec<_> = self.charged.iter().map(|cash| cash.text()).collect();
        json!({
            "total": self.total, "committed": self.committed, "refused": self.refused,
            "in_doubt": self.in_doubt, "p95": self.p95,
            "charged": if charged.is_empty() { "–".to_owned() } else { charged.join(" · ") },
        })
    }
}

#[derive(Template)]
#[template(path = "taps.html", blocks = ["live"])]
struct TapsPage {
    frame: Frame,
    lines: Vec<Line>,
    sums: Sums,
    as_of: Age,
    validator: String,
    selects: [Select; 3],
    windows: Vec<Choice>,
    /// Any filter set?
    filtered: bool,
    /// The query of this list, for the script.
    query: String,
    older: Option<String>,
    newest: Option<String>,
}

/// `GET /taps`.
pub(super) async fn page(
    viewer: Viewer,
    UrlQuery(params): UrlQuery<Params>,
) -> Result<Html<String>, Problem> {
    let (site, times) = (&viewer.site, &viewer.times);
    let (filter, within) = filter(&params, times, site.day_starts)?;
    let before = params.parsed::<u64>("before")?;
    let part = Page { before, limit: ROWS };
    let asked = filter.clone();
    let (rows, sums, tally) = site
        .ask(move |books| {
            Ok((books.taps(&asked, part)?, books.tap_sums(&asked)?, frame::tally(books)?))
        })
        .await?;
    let lines: Vec<_> = rows.iter().map(|row| Line::new(row, site, times)).collect();
    let here = query(&filter, within);
    let full = lines.len() == ROWS as usize;
    let older = lines
        .last()
        .filter(|_| full)
        .map(|last| here.clone().with("before", Some(last.no)).on("/taps"));
    let routes = site.names.routes().map(|(ix, name)| Choice {
        value: ix.to_string(),
        label: name.to_owned(),
        selected: filter.route == Some(ix),
    });
    let page = TapsPage {
        frame: Frame::new(&viewer, "taps", "Taps", &tally),
        sums: Sums::new(&sums),
        as_of: times.age(times.now()),
        validator: filter.validator.map(|id| id.to_string()).unwrap_or_default(),
        selects: [
            Select { name: "outcome", label: "Outcome", choices: choices(filter.outcome) },
            Select { name: "reason", label: "Reason", choices: choices(filter.reason) },
            Select { name: "route", label: "Route", choices: routes.collect() },
        ],
        windows: Within::ALL
            .iter()
            .map(|w| Choice {
                value: w.word().to_owned(),
                label: w.label().to_owned(),
                selected: *w == within,
            })
            .collect(),
        filtered: here.on("") != Query::default().on(""),
        newest: before.map(|_| here.on("/taps")),
        query: here.on(""),
        older,
        lines,
    };
    match params.text("part") {
        Some("live") => frame::html(&page.as_live()),
        _ => frame::html(&page),
    }
}

/// `GET /api/v1/taps`: the same list and figures for the page's script.
pub(super) async fn rows(
    viewer: Viewer,
    UrlQuery(params): UrlQuery<Params>,
) -> Result<Json<Value>, Problem> {
    let (site, times) = (&viewer.site, &viewer.times);
    let (filter, _) = filter(&params, times, site.day_starts)?;
    let part = Page {
        before: params.parsed("before")?,
        limit: params.parsed::<u32>("limit")?.unwrap_or(ROWS).min(ROWS),
    };
    let (rows, sums) =
        site.ask(move |books| Ok((books.taps(&filter, part)?, books.tap_sums(&filter)?))).await?;
    let rows: Vec<_> = rows.iter().map(|row| Line::new(row, site, times).json()).collect();
    Ok(Json(json!({
        "now": times.now().0, "seq": viewer.seq, "rows": rows, "sums": Sums::new(&sums).json(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_reads_back_as_its_filter() {
        let times = Times::new(jiff::tz::TimeZone::UTC, Timestamp::from_secs(1_000_000));
        let wanted = TapFilter {
            validator: ValidatorId::new(42),
            route: Some(RouteIx(3)),
            outcome: Some(Outcome::Refused),
            reason: Some(model::Refusal::NoEntry),
            received_from: Within::Day.from(&times, 3),
            received_before: None,
        };
        let address = address(&wanted, Within::Day);
        assert_eq!(
            address,
            "/taps?validator=v000042&route=3&outcome=refused&reason=no-entry&within=day"
        );
        let uri: axum::http::Uri = address.parse().unwrap();
        let UrlQuery(params) = UrlQuery::<Params>::try_from_uri(&uri).unwrap();
        let (read, within) = filter(&params, &times, 3).unwrap();
        assert_eq!((read, within), (wanted, Within::Day));
    }
}
