//! A card: found by its number without leaving it in an address, shown by handle, every look
//! written down first.

use std::{fmt::Write as _, time::Duration};

use askama::Template;
use axum::{
    Form,
    extract::{Path, Query as UrlQuery},
    http::StatusCode,
    response::{Html, IntoResponse, Redirect, Response},
};
use fare::{Exchanged, Step};
use model::{CardId, Money, RecordKind, ValidUntil};
use texts::Language;

use super::{
    Problem, adjustments, assets, exceptions,
    frame::{self, Frame, Viewer},
    language::Languages,
    parts::{Age, Cash, State as Sign, When, count, span},
    query::{Params, Query},
    taps,
    views::{CardAccess, CardEntry, CardFacts, CardHandle, Gap, Outcome, Page},
};

/// Transactions of one page.
const ROWS: u32 = 60;
/// Width of the waterfall in its own units.
const WIDTH: i64 = 1000;

#[derive(Template)]
#[template(path = "card_find.html")]
struct FindPage {
    frame: Frame,
    /// Why the last look-up found nothing.
    problem: &'static str,
}

async fn find_form(
    viewer: &Viewer,
    status: StatusCode,
    problem: &'static str,
) -> Result<Response, Problem> {
    let tally = viewer.site.ask(frame::tally).await?;
    let frame = Frame::new(viewer, "cards", "Find a card", &tally);
    Ok((status, frame::html(&FindPage { frame, problem })?).into_response())
}

/// `GET /cards`.
pub(super) async fn find_page(viewer: Viewer) -> Result<Response, Problem> {
    find_form(&viewer, StatusCode::OK, "").await
}

/// `POST /cards`: the number travels in the body, the answer leads to the handle.
pub(super) async fn find(viewer: Viewer, Form(form): Form<Params>) -> Result<Response, Problem> {
    let typed = form.text("number").unwrap_or_default().to_lowercase();
    let number: String = typed.chars().filter(|c| !matches!(c, ' ' | ':' | '-')).collect();
    let Ok(number) = number.parse::<CardId>() else {
        let problem = "A card number has 14 digits or letters from a to f.";
        return find_form(&viewer, StatusCode::BAD_REQUEST, problem).await;
    };
    let (who, at) = (viewer.who.user.clone(), viewer.times.now());
    let found = viewer
        .site
        .ask(move |books| {
            let found = books.find_card(number)?;
            if let Some(card) = found {
                books.record_access(&CardAccess { who, card, at, how: "looked up by number" })?;
            }
            Ok(found)
        })
        .await?;
    if let Some(handle) = found {
        return Ok(Redirect::to(&format!("/cards/{handle}")).into_response());
    }
    let problem = "No tap of a card with this number has reached the depot.";
    find_form(&viewer, StatusCode::NOT_FOUND, problem).await
}

/// One step of an explained charge, as a bar that begins where the one before it ended.
struct Bar {
    label: String,
    detail: String,
    rule: String,
    amount: Cash,
    x: i64,
    width: i64,
    /// Takes something off.
    off: bool,
}

/// One ride, or whatever else the card did.
struct Journey {
    title: String,
    about: String,
    when: When,
    outcome: Sign,
    charged: Option<Cash>,
    /// By which rates the steps' sum became the charge.
    exchanged: Vec<String>,
    balance: Option<Cash>,
    why: String,
    /// `why` is the explained charge, in the reader's language.
    explained: bool,
    bars: Vec<Bar>,
    /// How far the caps have come with it, in the reader's language.
    caps: Vec<String>,
    /// Do the steps sum to the charge?
    sums: bool,
    taps: Vec<taps::Line>,
    ctr: String,
    gap: Option<Missing>,
    /// Shown unfolded.
    open: bool,
}

/// Lost records before a journey.
struct Missing {
    range: String,
    net: Cash,
}

#[derive(Template)]
#[template(path = "card.html")]
struct CardPage {
    frame: Frame,
    masked: String,
    standing: Sign,
    class: String,
    valid: String,
    on_card: Cash,
    in_ledger: Cash,
    suspense: Cash,
    in_doubt: Cash,
    /// What differs between card and ledger; `None` when they agree.
    differs: Option<Cash>,
    /// The difference is just what is in doubt.
    explained: bool,
    seen: Age,
    ctr: String,
    entries: String,
    /// The credit account that it belongs to.
    account: Option<String>,
    journeys: Vec<Journey>,
    /// In which the charges are explained, and the others.
    languages: Languages,
    /// What the card is owed beside what is on it.
    adjustments: Vec<adjustments::Line>,
    exceptions: Vec<exceptions::Line>,
    older: Option<String>,
    newest: Option<String>,
    as_of: Age,
}

/// `GET /cards/{handle}`.
pub(super) async fn page(
    viewer: Viewer,
    Path(handle): Path<String>,
    UrlQuery(params): UrlQuery<Params>,
) -> Result<Html<String>, Problem> {
    const NONE: Problem = Problem::NotFound("No card has this handle. Look it up by its number.");
    let handle: CardHandle = handle.parse().map_err(|_| NONE)?;
    let (site, times) = (&viewer.site, &viewer.times);
    let before = params.parsed::<u64>("before")?;
    let part = Page { before, limit: ROWS };
    let access =
        CardAccess { who: viewer.who.user.clone(), card: handle, at: times.now(), how: "opened" };
    let found = site
        .ask(move |books| {
            let Some(facts) = books.card(handle)? else { return Ok(None) };
            books.record_access(&access)?;
            let owed = books.adjustments(handle)?;
            Ok(Some((facts, books.card_history(handle, part)?, owed, frame::tally(books)?)))
        })
        .await?;
    let (facts, history, owed, tally) = found.ok_or(NONE)?;
    let CardFacts { on_card, in_ledger, in_doubt, suspense, .. } = facts;
    let difference = on_card.checked_sub(in_ledger).ok().filter(|d| d.minor() != 0);
    let full = history.len() == ROWS as usize;
    let oldest = history.last().and_then(counter).filter(|_| full);
    let here = format!("/cards/{handle}");
    let title = format!("Card {}", facts.card.masked);
    frame::html(&CardPage {
        frame: Frame::new(&viewer, "cards", title, &tally),
        standing: Sign::of(facts.standing),
        class: site.names.class(facts.class),
        valid: valid(facts.valid_until),
        on_card: Cash(on_card),
        in_ledger: Cash(in_ledger),
        suspense: Cash(suspense),
        in_doubt: Cash(in_doubt),
        differs: difference.map(Cash),
        explained: difference.is_some_and(|d| d.minor().abs() == in_doubt.minor().abs()),
        seen: times.age(facts.seen_at),
        ctr: facts.ctr.to_string(),
        entries: count(facts.entries),
        account: facts
            .account
            .map(|(number, allowance)| format!("account {number}, filled up to {allowance}")),
        journeys: journeys(&history, &viewer),
        languages: Languages::new(viewer.language, &here),
        adjustments: owed.iter().map(|of| adjustments::Line::new(of, viewer.language)).collect(),
        exceptions: facts.exceptions.iter().map(|row| exceptions::Line::new(row, times)).collect(),
        older: oldest.map(|ctr| Query::default().with("before", Some(ctr)).on(&here)),
        newest: before.map(|_| here),
        as_of: times.age(times.now()),
        masked: facts.card.masked,
    })
}

/// The counter by which a history is paged.
fn counter(entry: &CardEntry) -> Option<u32> {
    entry.after.or(entry.before).map(|record| record.ctr.0)
}

fn valid(until: ValidUntil) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let Some((year, month, day)) = until.civil() else { return "no end".to_owned() };
    let month = MONTHS[month as usize - 1];
    match day {
        None => format!("to the end of {month} {year}"),
        Some(day) => format!("to {day} {month} {year}"),
    }
}

fn settled(entry: &CardEntry) -> bool {
    match entry.tap.outcome {
        Outcome::Committed | Outcome::Confirmed => true,
        Outcome::InDoubt | Outcome::Refused | Outcome::Voided | Outcome::Ticket | Outcome::Gate => {
            false
        }
    }
}

fn kind(entry: &CardEntry) -> Option<RecordKind> {
    entry.after.filter(|_| settled(entry)).map(|record| record.kind)
}

/// Puts an exit together with the entry just before it; everything else stands alone.
fn journeys(history: &[CardEntry], viewer: &Viewer) -> Vec<Journey> {
    let mut journeys = Vec::new();
    let mut any_open = false;
    let mut rest = history;
    while let Some((newest, older)) = rest.split_first() {
        let entry = older.first().filter(|entry| {
            kind(newest) == Some(RecordKind::Exit)
                && kind(entry) == Some(RecordKind::Entry)
                && newest.gap.is_none()
        });
        let is_newest = journeys.is_empty();
        let mut journey = journey(newest, entry, is_newest, viewer);
        // The newest that cost something is the one that is asked about.
        let costs = journey.charged.is_some_and(|cash| cash.0.minor() != 0);
        journey.open = costs && !any_open;
        any_open |= journey.open;
        journeys.push(journey);
        rest = if entry.is_some() { &older[1..] } else { older };
    }
    journeys
}

fn journey(
    last: &CardEntry,
    entry: Option<&CardEntry>,
    is_newest: bool,
    viewer: &Viewer,
) -> Journey {
    let Viewer { site, times, language, .. } = viewer;
    let place = |entry: &CardEntry| site.names.place(entry.tap.place);
    let route = last.tap.route.map(|route| site.names.route(route));
    let (title, about) = match (entry, kind(last)) {
        (Some(entry), _) => (format!("{} \u{2192} {}", place(entry), place(last)), "Journey"),
        (None, Some(RecordKind::Board)) => (place(last), "Ride"),
        (None, Some(RecordKind::Entry)) if is_newest => (place(last), "Journey open"),
        (None, Some(RecordKind::Entry)) => (place(last), "Entry without exit"),
        (None, Some(RecordKind::Exit)) => (place(last), "Exit, entry not here yet"),
        (None, Some(RecordKind::Load | RecordKind::LoadInJourney)) => (place(last), "Top-up"),
        (None, Some(RecordKind::Retire)) => ("Retired".to_owned(), "Taken out of use"),
        (None, Some(RecordKind::Issue)) => ("Issued".to_owned(), "Opening balance"),
        (None, None) => (place(last), super::words::Shown::sign(last.tap.outcome).label),
    };
    let steps: Vec<&Step> =
        entry.iter().flat_map(|entry| &entry.steps).chain(&last.steps).collect();
    let charged =
        entry.map_or(Ok(last.tap.charged), |entry| entry.tap.charged.checked_add(last.tap.charged));
    let line = taps::Line::new(&last.tap, site, times);
    let charged = charged.ok().filter(|_| line.charged.is_some());
    let (bars, total) = waterfall(&steps, *language);
    let exchanged = entry.iter().filter_map(|entry| entry.exchanged.as_ref());
    let exchanged: Vec<&Exchanged> = exchanged.chain(&last.exchanged).collect();
    // A step of nothing explains nothing, unless it is all there is.
    let telling = |step: &&&Step| steps.len() == 1 || step.amount.minor() != 0;
    let labels: Vec<_> =
        steps.iter().filter(telling).map(|step| texts::step_label(*language, step)).collect();
    let why = match line.reason {
        Some(reason) => reason.0.label.to_owned(),
        None => labels.join(" \u{b7} "),
    };
    let gap = last.gap.or_else(|| entry.and_then(|entry| entry.gap));
    Journey {
        title,
        about: route.map_or(about.to_owned(), |route| format!("{about} \u{b7} {route}")),
        when: line.when.clone(),
        outcome: line.outcome,
        balance: line.balance,
        why,
        explained: line.reason.is_none(),
        sums: paid(total, &exchanged) == charged,
        exchanged: exchanged.iter().map(|done| texts::exchange_text(*language, done)).collect(),
        charged: charged.map(Cash),
        bars,
        caps: last.caps.iter().map(|cap| texts::past_cap_text(*language, cap)).collect(),
        ctr: counter(last).map(|ctr| ctr.to_string()).unwrap_or_default(),
        gap: gap.map(missing),
        open: false,
        taps: entry
            .into_iter()
            .chain([last])
            .map(|entry| with_age(taps::Line::new(&entry.tap, site, times), entry.place_age_s))
            .collect(),
    }
}

/// Says how old the place of a tap was.
fn with_age(mut line: taps::Line, age_s: Option<u16>) -> taps::Line {
    match age_s {
        None => {}
        Some(u16::MAX) => line.place.push_str(" (where it really stood, no satellite said)"),
        Some(s) => {
            let age = span(Duration::from_secs(u64::from(s)));
            let _ = write!(line.place, " (told by satellites {age} before)");
        }
    }
    line
}

/// What the card pays for what the steps sum to; `None` when they are not what was exchanged.
fn paid(total: Option<Money>, exchanged: &[&Exchanged]) -> Option<Money> {
    let sum = |of: fn(&Exchanged) -> Money| {
        let mut amounts = exchanged.iter().map(|done| of(done));
        let first = amounts.next()?;
        amounts.try_fold(first, |sum, amount| sum.checked_add(amount).ok())
    };
    if exchanged.is_empty() {
        return total;
    }
    sum(|done| done.debit).filter(|_| sum(|done| done.charge) == total)
}

fn missing(gap: Gap) -> Missing {
    let Gap { from, through, net } = gap;
    let range = if from == through {
        format!("Record {from} is missing")
    } else {
        format!("Records {from} to {through} are missing")
    };
    Missing { range, net: Cash(net) }
}

/// Bars that begin where the last one ended, and their sum; `None` when there are no steps.
fn waterfall(steps: &[&Step], language: Language) -> (Vec<Bar>, Option<Money>) {
    let mut edges = vec![0_i64];
    for step in steps {
        edges.push(edges[edges.len() - 1].saturating_add(step.amount.minor()));
    }
    let low = edges.iter().copied().min().unwrap_or(0);
    let high = edges.iter().copied().max().unwrap_or(0);
    let range = i128::from(high) - i128::from(low);
    let x = |edge: i64| {
        let from_low = i128::from(edge) - i128::from(low);
        i64::try_from(from_low * i128::from(WIDTH) / range.max(1)).unwrap_or(0)
    };
    let bars = steps.iter().zip(edges.windows(2)).map(|(step, edge)| {
        let (from, to) = (x(edge[0].min(edge[1])), x(edge[0].max(edge[1])));
        Bar {
            label: texts::step_label(language, step),
            detail: texts::step_text(language, step),
            rule: step.rule.to_string(),
            amount: Cash(step.amount),
            // A step of nothing is still a step: a hairline where it stands.
            x: from.min(WIDTH - 3),
            width: (to - from).max(3),
            off: edge[1] < edge[0],
        }
    });
    let total = steps.split_first().and_then(|(first, more)| {
        more.iter().try_fold(first.amount, |sum, step| sum.checked_add(step.amount).ok())
    });
    (bars.collect(), total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Currency;

    fn step(minor: i64) -> Step {
        let amount = Money::new(minor, Currency::parse("EUR").unwrap());
        Step { kind: fare::StepKind::PaidBefore, rule: "".into(), amount }
    }

    fn check(amounts: &[i64], bars: &[(i64, i64, bool)], total: Option<i64>) {
        let steps: Vec<_> = amounts.iter().copied().map(step).collect();
        let (drawn, sum) = waterfall(&steps.iter().collect::<Vec<_>>(), Language::English);
        let drawn: Vec<_> = drawn.iter().map(|bar| (bar.x, bar.width, bar.off)).collect();
        assert_eq!(drawn, bars, "{amounts:?}");
        assert_eq!(sum.map(Money::minor), total, "{amounts:?}");
    }

    #[test]
    fn each_step_begins_where_the_one_before_it_ended() {
        check(&[300, -100], &[(0, 1000, false), (666, 334, true)], Some(200));
        check(&[100, 0, 100], &[(0, 500, false), (500, 3, false), (500, 500, false)], Some(200));
        check(&[0], &[(0, 3, false)], Some(0));
        check(&[100, -200], &[(500, 500, false), (0, 1000, true)], Some(-100));
        check(&[], &[], None);
    }

    #[test]
    fn validity_is_said_as_a_month_or_a_day() {
        assert_eq!(valid(ValidUntil::Month(0)), "to the end of Jan 2025");
        assert_eq!(valid(ValidUntil::Month(23)), "to the end of Dec 2026");
        assert_eq!(valid(ValidUntil::Day { month: 22, day: 30 }), "to 30 Nov 2026");
        assert_eq!(valid(ValidUntil::Always), "no end");
    }
}
