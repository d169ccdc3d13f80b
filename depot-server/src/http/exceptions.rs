//! Exceptions: the work items of reconciliation. None can vanish: opened = resolved + open, shown.

use askama::Template;
use axum::{
    extract::{Path, Query as UrlQuery},
    response::Html,
};
use model::{CardRecord, Money, RecordKind};

use super::{
    Names, Problem, assets,
    frame::{Frame, Viewer},
    parts::{Age, CardLink, Cash, State as Sign, Times, Urgency, ValidatorLink, count},
    query::{Params, Query},
    taps,
    views::{Evidence, ExceptionFilter, ExceptionKind, ExceptionRow, KindTally, Owner, Page},
    words::{self, Shown},
};

/// Rows of one page.
const ROWS: u32 = 100;

/// How an address says that nobody has an item in hand.
const NOBODY: &str = "-";

/// One work item as lists show it.
pub(super) struct Line {
    pub(super) id: u64,
    pub(super) kind: Sign,
    pub(super) urgency: Urgency,
    pub(super) amount: Option<Cash>,
    pub(super) opened: Age,
    pub(super) closed: Option<(Age, String)>,
    pub(super) card: Option<CardLink>,
    pub(super) validator: Option<ValidatorLink>,
    /// Who has it in hand, and the address of all open items of that person.
    pub(super) owner: Option<(String, String)>,
}

impl Line {
    pub(super) fn new(row: &ExceptionRow, times: &Times) -> Self {
        let kind = row.kind.sign();
        // What is closed is normal again: no colour.
        let shown = match row.closed {
            Some(_) => words::Sign { icon: "check", tone: words::Tone::Calm, ..kind },
            None => kind,
        };
        Self {
            id: row.id,
            kind: Sign(shown),
            urgency: Urgency(kind.tone),
            amount: row.amount.map(Cash),
            opened: times.age(row.opened_at),
            closed: row.closed.as_ref().map(|c| (times.age(c.at), c.reason.clone())),
            card: row.card.clone().map(CardLink),
            validator: row.validator.map(ValidatorLink),
            owner: row.owner.clone().map(|name| (name.clone(), open_in_hands_of(name))),
        }
    }
}

fn parse(params: &Params) -> Result<ExceptionFilter, Problem> {
    let open = match params.text("state") {
        None | Some("open") => Some(true),
        Some("closed") => Some(false),
        Some("all") => None,
        Some(other) => {
            let text = format!("The address says state={other}: use open, closed or all.");
            return Err(Problem::BadRequest(text));
        }
    };
    let owner = params.text("owner").map(|name| match name {
        NOBODY => Owner::Nobody,
        name => Owner::Person(name.to_owned()),
    });
    Ok(ExceptionFilter {
        kind: params.state("kind")?,
        open,
        validator: params.parsed("validator")?,
        owner,
    })
}

fn query(filter: &ExceptionFilter) -> Query {
    let state = match filter.open {
        Some(true) => None,
        Some(false) => Some("closed"),
        None => Some("all"),
    };
    Query::default()
        .state("kind", filter.kind)
        .with("state", state)
        .with("validator", filter.validator)
        .with("owner", filter.owner.as_ref().map(Owner::in_address))
}

impl Owner {
    fn in_address(&self) -> &str {
        match self {
            Self::Nobody => NOBODY,
            Self::Person(name) => name,
        }
    }

    fn shown(&self) -> &str {
        match self {
            Self::Nobody => "in nobody's hands",
            Self::Person(name) => name,
        }
    }
}

/// The address of the list that `filter` describes.
pub(super) fn address(filter: &ExceptionFilter) -> String {
    query(filter).on("/exceptions")
}

/// The address of the open items of a kind.
pub(super) fn open_of(kind: Option<ExceptionKind>) -> String {
    address(&ExceptionFilter { kind, open: Some(true), ..Default::default() })
}

fn open_in_hands_of(name: String) -> String {
    let owner = Some(Owner::Person(name));
    address(&ExceptionFilter { owner, open: Some(true), ..Default::default() })
}

/// Sums per currency, joined.
pub(super) fn amounts(sums: &[Money]) -> Vec<Cash> {
    sums.iter().copied().filter(|sum| sum.minor() != 0).map(Cash).collect()
}

/// One row of the tally.
struct Tally {
    kind: Sign,
    opened: String,
    resolved: String,
    open: String,
    any_open: bool,
    amount: Vec<Cash>,
    oldest: Option<Age>,
    href: String,
    on: bool,
}

/// The last row of the tally.
struct Totals {
    opened: String,
    resolved: String,
    open: String,
    /// opened = resolved + open?
    holds: bool,
}

#[derive(Template)]
#[template(path = "exceptions.html", blocks = ["live"])]
struct ExceptionsPage {
    frame: Frame,
    tally: Vec<Tally>,
    totals: Totals,
    lines: Vec<Line>,
    /// Items of the list, all pages.
    listed: String,
    /// What the list is of, in words.
    heading: String,
    kind: Option<String>,
    validator: Option<ValidatorLink>,
    owner: Option<String>,
    states: Vec<(&'static str, String, bool)>,
    /// The same list whoever has its items.
    anyones: Option<String>,
    /// Those of it that nobody has.
    nobodys: Option<String>,
    all_kinds: Option<String>,
    older: Option<String>,
    newest: Option<String>,
    as_of: Age,
}

fn totals(tally: &[KindTally]) -> Totals {
    let sum = |of: fn(&KindTally) -> u64| tally.iter().map(of).sum::<u64>();
    let (opened, resolved, open) = (sum(|k| k.opened), sum(|k| k.resolved), sum(|k| k.open));
    Totals {
        opened: count(opened),
        resolved: count(resolved),
        open: count(open),
        holds: tally.iter().all(|k| k.opened == k.resolved + k.open),
    }
}

/// How many items the list has, from the tally: that of one validator or person is counted by its
/// rows.
fn listed(filter: &ExceptionFilter, tally: &[KindTally], rows: usize) -> String {
    if filter.validator.is_some() || filter.owner.is_some() {
        return count(rows as u64);
    }
    let kinds = tally.iter().filter(|k| filter.kind.is_none_or(|kind| kind == k.kind));
    count(
        kinds
            .map(|k| match filter.open {
                Some(true) => k.open,
                Some(false) => k.resolved,
                None => k.opened,
            })
            .sum(),
    )
}

/// `GET /exceptions`.
pub(super) async fn page(
    viewer: Viewer,
    UrlQuery(params): UrlQuery<Params>,
) -> Result<Html<String>, Problem> {
    let (site, times) = (&viewer.site, &viewer.times);
    let filter = parse(&params)?;
    let before = params.parsed::<u64>("before")?;
    let (asked, part) = (filter.clone(), Page { before, limit: ROWS });
    let (rows, tally) = site
        .ask(move |books| Ok((books.exceptions(&asked, part)?, books.exception_tally()?)))
        .await?;
    let with = |open| address(&ExceptionFilter { open, ..filter.clone() });
    let full = rows.len() == ROWS as usize;
    let older = rows.last().filter(|_| full);
    let heading = match filter.open {
        Some(true) => "Open",
        Some(false) => "Closed",
        None => "All",
    };
    let page = ExceptionsPage {
        frame: Frame::new(&viewer, "exceptions", "Exceptions", &tally),
        lines: rows.iter().map(|row| Line::new(row, times)).collect(),
        listed: listed(&filter, &tally, rows.len()),
        heading: heading.to_owned(),
        kind: filter.kind.map(|kind| kind.sign().label.to_owned()),
        validator: filter.validator.map(ValidatorLink),
        owner: filter.owner.as_ref().map(|owner| owner.shown().to_owned()),
        states: vec![
            ("Open", with(Some(true)), filter.open == Some(true)),
            ("Closed", with(Some(false)), filter.open == Some(false)),
            ("All", with(None), filter.open.is_none()),
        ],
        anyones: filter
            .owner
            .as_ref()
            .map(|_| address(&ExceptionFilter { owner: None, ..filter.clone() })),
        nobodys: filter
            .owner
            .is_none()
            .then(|| address(&ExceptionFilter { owner: Some(Owner::Nobody), ..filter.clone() })),
        all_kinds: filter.kind.map(|_| address(&ExceptionFilter { kind: None, ..filter.clone() })),
        older: older.map(|row| query(&filter).with("before", Some(row.id)).on("/exceptions")),
        newest: before.map(|_| address(&filter)),
        totals: totals(&tally),
        as_of: times.age(times.now()),
        tally: tally
            .iter()
            .map(|k| Tally {
                kind: Sign(k.kind.sign()),
                opened: count(k.opened),
                resolved: count(k.resolved),
                open: count(k.open),
                any_open: k.open > 0,
                amount: amounts(&k.open_amount),
                oldest: k.oldest_open.map(|at| times.age(at)),
                href: open_of(Some(k.kind)),
                on: filter.kind == Some(k.kind),
            })
            .collect(),
    };
    match params.text("part") {
        Some("live") => super::frame::html(&page.as_live()),
        _ => super::frame::html(&page),
    }
}

/// One line of the evidence, a value per piece.
struct Field {
    name: String,
    values: Vec<String>,
    /// Not all pieces say the same.
    differs: bool,
}

#[derive(Template)]
#[template(path = "exception.html")]
struct ExceptionPage {
    frame: Frame,
    line: Line,
    opened: super::parts::When,
    finding: String,
    advice: &'static str,
    titles: Vec<String>,
    fields: Vec<Field>,
    lines: Vec<taps::Line>,
    as_of: Age,
}

/// `GET /exceptions/{id}`.
pub(super) async fn detail(
    viewer: Viewer,
    Path(id): Path<String>,
) -> Result<Html<String>, Problem> {
    const NONE: Problem = Problem::NotFound("No exception has this number.");
    let id: u64 = id.parse().map_err(|_| NONE)?;
    let (site, times) = (&viewer.site, &viewer.times);
    let (facts, tally) =
        site.ask(move |books| Ok((books.exception(id)?, books.exception_tally()?))).await?;
    let facts = facts.ok_or(NONE)?;
    let taps = facts.evidence.iter().filter_map(|piece| piece.tap.as_ref());
    super::frame::html(&ExceptionPage {
        frame: Frame::new(&viewer, "exceptions", format!("Exception {id}"), &tally),
        opened: times.at(facts.row.opened_at),
        line: Line::new(&facts.row, times),
        finding: facts.finding,
        advice: words::advice(facts.row.kind),
        titles: facts.evidence.iter().map(|piece| piece.title.clone()).collect(),
        fields: side_by_side(&facts.evidence, &site.names, times),
        lines: taps.map(|row| taps::Line::new(row, site, times)).collect(),
        as_of: times.age(times.now()),
    })
}

/// What each piece of evidence says about each field, in the order of first mention.
fn side_by_side(evidence: &[Evidence], names: &Names, times: &Times) -> Vec<Field> {
    let said: Vec<Vec<(String, String)>> =
        evidence.iter().map(|piece| says(piece, names, times)).collect();
    let mut order: Vec<&str> = Vec::new();
    for (name, _) in said.iter().flatten() {
        if !order.contains(&name.as_str()) {
            order.push(name);
        }
    }
    order
        .iter()
        .map(|name| {
            let values: Vec<String> = said
                .iter()
                .map(|piece| {
                    let found = piece.iter().find(|(n, _)| n == name);
                    found.map(|(_, value)| value.clone()).unwrap_or_default()
                })
                .collect();
            let mut given = values.iter().filter(|value| !value.is_empty());
            let first = given.next();
            let differs = given.any(|value| Some(value) != first);
            Field { name: (*name).to_owned(), values, differs }
        })
        .collect()
}

fn says(piece: &Evidence, names: &Names, times: &Times) -> Vec<(String, String)> {
    let mut out = Vec::new();
    let mut say = |name: &str, value: String| out.push((name.to_owned(), value));
    if let Some(record) = &piece.record {
        let currency = piece.tap.as_ref().map(|tap| tap.charged.currency());
        let money = |minor: i64| match currency {
            Some(currency) => Cash(Money::new(minor, currency)).text(),
            None => minor.to_string(),
        };
        say("Card counter", record.ctr.to_string());
        say("Record", kind_label(record).to_owned());
        say("Balance before", money(record.balance_before()));
        say("Amount", money(i64::from(record.amount)));
        say("Balance after", money(i64::from(record.balance)));
        say("Written at", times.at(record.at()).text);
        say("Written by", record.validator.to_string());
        say("Place", names.place(record.place));
        say("Top-ups", record.load_seq.to_string());
        say("Tariff", record.tariff.to_string());
        say("Rider class", names.class(record.class));
    }
    if let Some(tap) = &piece.tap {
        say("Log entry", format!("{} {}.{}", tap.validator, tap.epoch, tap.seq));
        say("Outcome", tap.outcome.sign().label.to_owned());
        say("Received at", times.at(tap.received_at).text);
        say("Clock", words::clock_label(tap.clock).to_owned());
    }
    for (name, value) in &piece.notes {
        say(name, value.clone());
    }
    out
}

const fn kind_label(record: &CardRecord) -> &'static str {
    match record.kind {
        RecordKind::Issue => "Issue",
        RecordKind::Board => "Board",
        RecordKind::Entry => "Entry",
        RecordKind::Exit => "Exit",
        RecordKind::Load | RecordKind::LoadInJourney => "Top-up",
        RecordKind::Retire => "Retired",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_marked_and_what_is_not_said_is_no_difference() {
        let piece = |notes: &[(&str, &str)]| Evidence {
            title: String::new(),
            tap: None,
            record: None,
            notes: notes.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        };
        let evidence = [
            piece(&[("hash", "aa"), ("seq", "7")]),
            piece(&[("seq", "7"), ("hash", "bb"), ("x", "1")]),
        ];
        let times = Times::new(jiff::tz::TimeZone::UTC, model::Timestamp(0));
        let fields = side_by_side(&evidence, &Names::default(), &times);
        let shown: Vec<_> =
            fields.iter().map(|f| (f.name.as_str(), f.values.join("|"), f.differs)).collect();
        assert_eq!(
            shown,
            [
                ("hash", "aa|bb".to_owned(), true),
                ("seq", "7|7".to_owned(), false),
                ("x", "|1".to_owned(), false),
            ]
        );
    }
}
