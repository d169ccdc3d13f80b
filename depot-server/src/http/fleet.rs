//! The live fleet: every validator with its link, drain and service state, filtered and sorted.
//!
//! The page works without script as a paged table; with script the same rows come as columns and
//! are kept up by events.

use askama::Template;
use axum::{Json, extract::Query as UrlQuery, response::Html};
use model::{TapRole, Timestamp};
use serde_json::{Value, json};
use work::TooFew;

use super::{
    Names, Problem, assets,
    fleet_filter::{CLOCK_OFF_MS, Flaw, FleetFilter, Order},
    frame::{self, Frame, Viewer},
    parts::{Age, State as Sign, Times, ValidatorLink, count},
    query::{Choice, Params, Select, choices},
    views::{Books, DrainState, FleetRow, LinkState, ServiceState},
    words::{Shown, Tone},
};

/// Rows of one page of the table without script.
const ROWS: usize = 50;
/// One validator as it is shown in the table without script.
pub(super) struct Line {
    pub(super) validator: ValidatorLink,
    pub(super) place: String,
    pub(super) route: String,
    pub(super) role: Option<Sign>,
    pub(super) link: Sign,
    pub(super) link_since: Age,
    pub(super) drain: Sign,
    pub(super) unsent: String,
    pub(super) service: Sign,
    pub(super) reason: String,
    pub(super) last_tap: Option<Age>,
    pub(super) p95: String,
    pub(super) tariff: String,
    pub(super) clock: String,
    pub(super) software: String,
}

impl Line {
    pub(super) fn new(row: &FleetRow, names: &Names, times: &Times) -> Self {
        Self {
            validator: ValidatorLink(row.id),
            place: row.place.map(|p| names.place(p)).unwrap_or_default(),
            route: row.route.map(|r| names.route(r)).unwrap_or_default(),
            role: row.role.map(Sign::of),
            link: Sign::of(row.link),
            link_since: times.age(row.link_since),
            drain: Sign::of(row.drain),
            unsent: if row.unsent == 0 { String::new() } else { count(row.unsent) },
            service: Sign::of(row.service),
            reason: reason(row, times),
            last_tap: row.last_tap.map(|at| times.age(at)),
            p95: row.tap_p95_ms.map_or("–".to_owned(), |ms| format!("{ms} ms")),
            tariff: row.tariff.map_or("–".to_owned(), |version| version.to_string()),
            clock: clock_offset(row.clock_offset_ms),
            software: row.software.clone(),
        }
    }
}

/// What is wrong with its service: in its own words, and what it should have seen.
pub(super) fn reason(row: &FleetRow, times: &Times) -> String {
    let own = row.service_reason.as_str();
    let Some(TooFew { expected, seen, since }) = row.too_few else { return own.to_owned() };
    let since = times.at(since).text;
    let seen = if seen == 0 { "none".to_owned() } else { count(seen) };
    let between = if own.is_empty() { "" } else { "; " };
    format!("{own}{between}expected about {}, saw {seen}, since {since}", count(expected))
}

/// A clock's offset, with its sign as a character.
pub(super) fn clock_offset(offset_ms: Option<i64>) -> String {
    let Some(ms) = offset_ms else { return "–".to_owned() };
    let sign = if ms < 0 { '\u{2212}' } else { '+' };
    let ms = ms.unsigned_abs();
    if ms < 1_000 { format!("{sign}{ms} ms") } else { format!("{sign}{} s", ms / 1_000) }
}

/// A filter that one click sets, with how many it would show.
struct Chip {
    sign: Sign,
    group: &'static str,
    count: String,
    href: String,
    on: bool,
}

#[derive(Template)]
#[template(path = "fleet.html", blocks = ["live"])]
struct FleetPage {
    frame: Frame,
    lines: Vec<Line>,
    shown: String,
    total: String,
    as_of: Age,
    filter: FleetFilter,
    chips: Vec<Chip>,
    selects: [Select; 6],
    orders: Vec<Choice>,
    filtered: bool,
    page: usize,
    pages: usize,
    previous: Option<String>,
    following: Option<String>,
}

/// The abnormal states that occur, each as a chip that switches its filter on or off.
fn chips(fleet: &[FleetRow], filter: &FleetFilter, names: &Names) -> Vec<Chip> {
    fn states<S: Shown>(
        group: &'static str,
        with: impl Fn(Option<S>) -> FleetFilter,
        current: Option<S>,
        fleet: &[FleetRow],
        names: &Names,
    ) -> Vec<Chip> {
        let abnormal = S::ALL.iter().copied().filter(|state| state.sign().tone != Tone::Calm);
        abnormal
            .map(|state| {
                let on = current == Some(state);
                let count_of = with(Some(state)).of(fleet, names).len();
                Chip {
                    sign: Sign::of(state),
                    group,
                    count: count(count_of as u64),
                    href: with((!on).then_some(state)).address(),
                    on,
                }
            })
            .filter(|chip| chip.on || chip.count != "0")
            .collect()
    }
    let link = |link| FleetFilter { link, ..filter.clone() };
    let drain = |drain| FleetFilter { drain, ..filter.clone() };
    let service = |service| FleetFilter { service, ..filter.clone() };
    let mut all = states("Link", link, filter.link, fleet, names);
    all.extend(states("Drain", drain, filter.drain, fleet, names));
    all.extend(states("Service", service, filter.service, fleet, names));
    all
}

fn plain_choices<const N: usize>(
    all: [(&'static str, &'static str); N],
    current: Option<&str>,
) -> Vec<Choice> {
    all.into_iter()
        .map(|(value, label)| Choice {
            value: value.to_owned(),
            label: label.to_owned(),
            selected: current == Some(value),
        })
        .collect()
}

/// `GET /fleet`.
pub(super) async fn page(
    viewer: Viewer,
    UrlQuery(params): UrlQuery<Params>,
) -> Result<Html<String>, Problem> {
    let (site, times) = (&viewer.site, &viewer.times);
    let filter = FleetFilter::parse(&params)?;
    let (fleet, tally) = site.ask(|books| Ok((books.fleet()?, frame::tally(books)?))).await?;
    let rows = filter.of(&fleet, &site.names);
    let pages = rows.len().div_ceil(ROWS).max(1);
    let number = params.parsed::<usize>("page")?.unwrap_or(1).clamp(1, pages);
    let other = |page: usize| filter.query().with("page", (page > 1).then_some(page)).on("/fleet");
    let on_page = rows.iter().skip((number - 1) * ROWS).take(ROWS);
    let lines = on_page.map(|row| Line::new(row, &site.names, times)).collect();
    let routes = site.names.routes().map(|(ix, name)| Choice {
        value: ix.to_string(),
        label: name.to_owned(),
        selected: filter.route == Some(ix),
    });
    let page = FleetPage {
        frame: Frame::new(&viewer, "fleet", "Fleet", &tally),
        lines,
        shown: count(rows.len() as u64),
        total: count(fleet.len() as u64),
        as_of: times.age(times.now()),
        chips: chips(&fleet, &filter, &site.names),
        selects: [
            Select { name: "link", label: "Link", choices: choices(filter.link) },
            Select { name: "drain", label: "Drain", choices: choices(filter.drain) },
            Select { name: "service", label: "Service", choices: choices(filter.service) },
            Select { name: "role", label: "Role", choices: choices(filter.role) },
            Select { name: "route", label: "Route", choices: routes.collect() },
            Select {
                name: "flaw",
                label: "Flaw",
                choices: plain_choices(
                    Flaw::ALL.map(|flaw| (flaw.word(), flaw.label())),
                    filter.flaw.map(Flaw::word),
                ),
            },
        ],
        orders: plain_choices(
            Order::ALL.map(|order| (order.word(), order.label())),
            Some(filter.order.word()),
        ),
        filtered: filter != FleetFilter { order: filter.order, ..FleetFilter::default() },
        page: number,
        pages,
        previous: (number > 1).then(|| other(number - 1)),
        following: (number < pages).then(|| other(number + 1)),
        filter,
    };
    match params.text("part") {
        Some("live") => frame::html(&page.as_live()),
        _ => frame::html(&page),
    }
}

/// The columns of a row, for the page's script: snapshot and events use the same order.
const COLUMNS: [&str; 18] = [
    "id",
    "place",
    "route_ix",
    "route",
    "role",
    "link",
    "link_since",
    "drain",
    "unsent",
    "service",
    "reason",
    "last_tap",
    "p95",
    "tariff",
    "clock",
    "software",
    "oldest",
    "behind",
];

/// The columns that are times, as whole seconds since 1970; a snapshot has them as ages.
const TIMES: [&str; 3] = ["link_since", "last_tap", "oldest"];

/// One row, in the order of the columns.
pub(super) fn json_row(row: &FleetRow, names: &Names, times: &Times) -> Value {
    let at = |at: Option<Timestamp>| at.map(Timestamp::secs);
    json!([
        row.id.to_string(),
        row.place.map(|p| names.place(p)).unwrap_or_default(),
        row.route.map(|r| r.0),
        row.route.map(|r| names.route(r)).unwrap_or_default(),
        row.role.map(|role| role.sign().word),
        row.link.sign().word,
        row.link_since.secs(),
        row.drain.sign().word,
        row.unsent,
        row.service.sign().word,
        reason(row, times),
        at(row.last_tap),
        row.tap_p95_ms,
        row.tariff.map(|version| version.0),
        row.clock_offset_ms,
        row.software,
        at(row.oldest_unsent),
        row.lists_behind,
    ])
}

/// How each state looks, so that the script has no words of its own.
fn signs<S: Shown>() -> Value {
    S::ALL
        .iter()
        .map(|state| {
            let sign = state.sign();
            let look = json!({
                "label": sign.label, "icon": sign.icon, "tone": sign.tone.class(),
                "rank": sign.tone as u8,
            });
            (sign.word.to_owned(), look)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// `GET /api/v1/fleet/snapshot`: the whole fleet by columns. Text columns are numbers into a list
/// of the texts that occur, so that ten thousand rows stay small.
pub(super) async fn snapshot(viewer: Viewer) -> Result<Json<Value>, Problem> {
    let site = &viewer.site;
    let fleet = site.ask(Books::fleet).await?;
    let rows: Vec<Value> =
        fleet.iter().map(|row| json_row(row, &site.names, &viewer.times)).collect();
    let now_s = viewer.times.now().secs();
    let mut columns = serde_json::Map::new();
    for (i, name) in COLUMNS.iter().enumerate() {
        let values: Vec<Value> = rows.iter().map(|row| row[i].clone()).collect();
        let packed = if TIMES.contains(name) { ages(&values, now_s) } else { column(&values) };
        columns.insert((*name).to_owned(), packed);
    }
    Ok(Json(json!({
        "seq": viewer.seq,
        "now": viewer.times.now().0,
        "now_s": now_s,
        "rows": fleet.len(),
        "order": COLUMNS,
        "columns": columns,
        "clock_off_ms": CLOCK_OFF_MS,
        "signs": {
            "link": signs::<LinkState>(),
            "drain": signs::<DrainState>(),
            "service": signs::<ServiceState>(),
            "role": signs::<TapRole>(),
        },
    })))
}

/// Times as seconds before now: short numbers, which pack well.
fn ages(values: &[Value], now_s: u64) -> Value {
    let age = |at: &Value| at.as_u64().map(|at| i128::from(now_s) - i128::from(at));
    let ages: Vec<_> =
        values.iter().map(|at| age(at).and_then(|a| i64::try_from(a).ok())).collect();
    json!({ "ages": ages })
}

/// A column as `{values}` or, for text that repeats, as `{texts, index}`.
fn column(values: &[Value]) -> Value {
    if !values.iter().any(Value::is_string) {
        return json!({ "values": values });
    }
    let mut texts: Vec<&str> = values.iter().filter_map(Value::as_str).collect();
    texts.sort_unstable();
    texts.dedup();
    if texts.len() == values.len() {
        return json!({ "values": values });
    }
    let index: Vec<_> = values
        .iter()
        .map(|v| v.as_str().and_then(|text| texts.binary_search(&text).ok()))
        .collect();
    json!({ "texts": texts, "index": index })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_columns_are_numbers_into_a_list() {
        let packed = column(&[json!("b"), Value::Null, json!("a"), json!("b")]);
        assert_eq!(packed, json!({ "texts": ["a", "b"], "index": [1, null, 0, 1] }));
        assert_eq!(column(&[json!(1), Value::Null]), json!({ "values": [1, null] }));
    }

    #[test]
    fn clock_offsets_carry_their_sign_as_a_character() {
        for (ms, text) in [(None, "–"), (Some(12), "+12 ms"), (Some(-65_300), "\u{2212}65 s")] {
            assert_eq!(clock_offset(ms), text);
        }
    }
}
