//! The overview: first what needs somebody, gravest first, then the figures, each a link to the
//! list that it counts.

use askama::Template;
use axum::{extract::Query as UrlQuery, response::Html};
use model::{Money, Timestamp};

use super::{
    Names, Problem, assets, exceptions,
    fleet_filter::FleetFilter,
    frame::{self, Frame, Viewer},
    needs::{self, Need},
    parts::{Age, Cash, State as Sign, Times, count},
    query::Params,
    taps::{self, Within},
    views::{
        AccountRow, FleetRow, FleetWork, HotlistFacts, KindTally, Minute, Outcome, TapFilter,
        TapSums,
    },
    words::{Shown, Tone},
};

/// Above this the whole fleet is slow.
pub(super) const SLOW_MS: u32 = 500;
/// Fewer taps than this say nothing about a rate.
const RATE_FROM: u64 = 50;
/// Needs in sight at once; on a bad day the rest is one click away.
const NEEDS_SHOWN: usize = 8;
/// Minutes in the chart.
const MINUTES: u32 = 60;
/// Height of the chart in its own units.
const CHART: u64 = 100;

/// What the overview is made from: all of it asked at one moment.
pub(super) struct Facts {
    pub(super) fleet: Vec<FleetRow>,
    pub(super) work: FleetWork,
    pub(super) tally: Vec<KindTally>,
    pub(super) accounts: Vec<AccountRow>,
    pub(super) recent: TapSums,
    pub(super) week_ago: TapSums,
    pub(super) today: TapSums,
    pub(super) minutes: Vec<Minute>,
    pub(super) hotlist: HotlistFacts,
}

/// One figure: the list behind its link has exactly this much in it.
struct Figure {
    label: &'static str,
    value: String,
    unit: String,
    note: String,
    href: String,
    sign: Option<Sign>,
}

/// One of the three facts about the fleet, as shares.
struct Bar {
    title: &'static str,
    parts: Vec<Part>,
}

struct Part {
    sign: Sign,
    count: String,
    href: String,
    x: u64,
    width: u64,
}

/// One minute of the chart.
struct Column {
    x: usize,
    accepted: u64,
    refused: u64,
    /// Where the refused part begins, from the top.
    top: u64,
    label: String,
}

#[derive(Template)]
#[template(path = "overview.html", blocks = ["live"])]
struct OverviewPage {
    frame: Frame,
    as_of: Age,
    needs: Vec<Need>,
    /// The rest, less urgent, folded away so that the figures stay in sight.
    more_needs: Vec<Need>,
    needs_total: usize,
    taps: Vec<Figure>,
    money: Vec<Figure>,
    bars: Vec<Bar>,
    fleet_total: String,
    columns: Vec<Column>,
    chart_from: String,
    chart_to: String,
    chart_peak: String,
    accounts: Vec<(String, String, Cash)>,
    balanced: bool,
    sums: Vec<Cash>,
}

fn window(times: &Times, within: Within, day_starts: i8) -> TapFilter {
    TapFilter { received_from: within.from(times, day_starts), ..TapFilter::default() }
}

/// `GET /`.
pub(super) async fn page(
    viewer: Viewer,
    UrlQuery(params): UrlQuery<Params>,
) -> Result<Html<String>, Problem> {
    const WEEK_MS: u64 = 7 * 24 * 3_600_000;
    let (site, times) = (&viewer.site, &viewer.times);
    let recent = window(times, Within::FiveMinutes, site.day_starts);
    let today = window(times, Within::Day, site.day_starts);
    let earlier = |at: Timestamp| Timestamp(at.0.saturating_sub(WEEK_MS));
    let week_ago = TapFilter {
        received_from: recent.received_from.map(earlier),
        received_before: Some(earlier(times.now())),
        ..TapFilter::default()
    };
    let minute = times.now().0 / 60_000 + 1;
    let chart_from = Timestamp(minute.saturating_sub(u64::from(MINUTES)) * 60_000);
    let facts = site
        .ask(move |books| {
            Ok(Facts {
                fleet: books.fleet()?,
                work: books.fleet_work()?,
                tally: frame::tally(books)?,
                accounts: books.trial_balance()?,
                recent: books.tap_sums(&recent)?,
                week_ago: books.tap_sums(&week_ago)?,
                today: books.tap_sums(&today)?,
                minutes: books.taps_by_minute(chart_from, MINUTES)?,
                hotlist: books.hotlist(0)?,
            })
        })
        .await?;
    let sums = balance(&facts.accounts);
    let mut needs = needs::find(&facts, &site.names, times);
    let needs_total = needs.len();
    let more_needs = needs.split_off(needs_total.min(NEEDS_SHOWN));
    let peak = facts.minutes.iter().map(|m| m.accepted + m.refused).max().unwrap_or(0);
    let page = OverviewPage {
        frame: Frame::new(&viewer, "overview", "Overview", &facts.tally),
        as_of: times.age(times.now()),
        needs,
        more_needs,
        needs_total,
        taps: tap_figures(&facts),
        money: money_figures(&facts, &sums),
        bars: bars(&facts.fleet, &site.names),
        fleet_total: count(facts.fleet.len() as u64),
        columns: columns(&facts.minutes, peak, chart_from, times),
        chart_from: times.at(chart_from).text.chars().take(5).collect(),
        chart_to: times.at(times.now()).text.chars().take(5).collect(),
        chart_peak: count(peak),
        accounts: facts
            .accounts
            .iter()
            .map(|a| (a.name.clone(), count(a.accounts), Cash(a.balance)))
            .collect(),
        balanced: sums.iter().all(|sum| sum.minor() == 0),
        sums: sums.into_iter().map(Cash).collect(),
    };
    match params.text("part") {
        Some("live") => frame::html(&page.as_live()),
        _ => frame::html(&page),
    }
}

/// The sum of all accounts per currency; zero unless the ledger is broken.
pub(super) fn balance(accounts: &[AccountRow]) -> Vec<Money> {
    let mut sums: Vec<Money> = Vec::new();
    for account in accounts {
        let same = sums.iter_mut().find(|sum| sum.currency() == account.balance.currency());
        match same {
            // An overflow is shown as an imbalance: the sum stays where it was.
            Some(sum) => *sum = sum.checked_add(account.balance).unwrap_or(*sum),
            None => sums.push(account.balance),
        }
    }
    sums
}

/// Accepted taps in whole percent; none when there are too few to say.
pub(super) fn accept_rate(sums: &TapSums) -> Option<u64> {
    let passed = [Outcome::Committed, Outcome::InDoubt, Outcome::Ticket];
    let accepted: u64 = passed.into_iter().map(|outcome| sums.of(outcome)).sum();
    let all = accepted + sums.of(Outcome::Refused);
    (all >= RATE_FROM).then(|| accepted * 100 / all)
}

fn tap_figures(facts: &Facts) -> Vec<Figure> {
    let Facts { recent, week_ago, today, .. } = facts;
    let list =
        |outcome, within| taps::address(&TapFilter { outcome, ..TapFilter::default() }, within);
    let five = Within::FiveMinutes;
    let doubt = today.of(Outcome::InDoubt);
    let refused = recent.of(Outcome::Refused);
    vec![
        figure(
            "Entries, last 5 min",
            count(recent.total()),
            match week_ago.total() {
                0 => "nothing to compare a week ago".to_owned(),
                then => format!("{} a week ago", count(then)),
            },
            list(None, five),
        ),
        figure(
            "Refused, last 5 min",
            count(refused),
            accept_rate(recent).map_or(String::new(), |rate| format!("{rate} % accepted")),
            list(Some(Outcome::Refused), five),
        ),
        Figure {
            unit: "ms".to_owned(),
            ..figure(
                "Tap time p95, last 5 min",
                recent.duration_p95_ms.map_or("–".to_owned(), |ms| ms.to_string()),
                format!("limit {SLOW_MS} ms"),
                list(None, five),
            )
        },
        figure(
            "In doubt, this service day",
            count(doubt),
            "decided by the card's next tap".to_owned(),
            list(Some(Outcome::InDoubt), Within::Day),
        ),
    ]
}

fn figure(label: &'static str, value: String, note: String, href: String) -> Figure {
    Figure { label, value, unit: String::new(), note, href, sign: None }
}

/// An amount as a figure: the number and, apart, its currency; amounts in other currencies go into
/// the note, because no two currencies are added up.
fn money_figure(label: &'static str, sums: &[Money], note: String, href: String) -> Figure {
    let text = sums.first().map_or("0".to_owned(), |sum| Cash(*sum).text());
    let (value, unit) = match text.rsplit_once('\u{a0}') {
        Some((number, currency)) => (number.to_owned(), currency.to_owned()),
        None => (text, String::new()),
    };
    let others = sums.iter().skip(1).map(|sum| format!("and {}", Cash(*sum).text()));
    let note = others.chain([note]).collect::<Vec<_>>().join(" · ");
    Figure { unit, ..figure(label, value, note, href) }
}

fn money_figures(facts: &Facts, sums: &[Money]) -> Vec<Figure> {
    let mut at_stake: Vec<Money> = Vec::new();
    for sum in facts.tally.iter().flat_map(|kind| &kind.open_amount) {
        match at_stake.iter_mut().find(|s| s.currency() == sum.currency()) {
            Some(total) => *total = total.checked_add(*sum).unwrap_or(*total),
            None => at_stake.push(*sum),
        }
    }
    let open: u64 = facts.tally.iter().map(|kind| kind.open).sum();
    let oldest = facts.tally.iter().filter_map(|kind| kind.oldest_open).min();
    let balanced = sums.iter().all(|sum| sum.minor() == 0);
    let all_today = taps::address(&TapFilter::default(), Within::Day);
    let note = match oldest {
        Some(_) => "opened = resolved + open".to_owned(),
        None => "none is open".to_owned(),
    };
    vec![
        Figure {
            sign: Some(Sign(super::words::Sign {
                word: "",
                label: if balanced { "Balanced" } else { "Not balanced" },
                icon: if balanced { "check" } else { "octagon" },
                tone: if balanced { Tone::Calm } else { Tone::Bad },
            })),
            ..figure(
                "Ledger",
                String::new(),
                format!("{} accounts", count(facts.accounts.iter().map(|a| a.accounts).sum())),
                "/#ledger".to_owned(),
            )
        },
        money_figure(
            "Charged, this service day",
            &facts.today.charged,
            format!("{} entries", count(facts.today.total())),
            all_today,
        ),
        figure("Open exceptions", count(open), note, exceptions::open_of(None)),
        money_figure(
            "Money in open exceptions",
            &at_stake,
            "sum of the list".to_owned(),
            exceptions::open_of(None),
        ),
        money_figure(
            "Owed to riders",
            &owed(&facts.accounts),
            "for fares charged too high, not on cards yet".to_owned(),
            "/#ledger".to_owned(),
        ),
    ]
}

/// What riders are owed beside their cards: the ledger's own lines.
fn owed(accounts: &[AccountRow]) -> Vec<Money> {
    let rows = accounts.iter().filter(|row| row.name == "rider-due");
    rows.map(|row| Money::new(-row.balance.minor(), row.balance.currency())).collect()
}

/// The three facts about the fleet as shares of it.
fn bars(fleet: &[FleetRow], names: &Names) -> Vec<Bar> {
    fn bar<S: Shown>(
        title: &'static str,
        fleet: &[FleetRow],
        names: &Names,
        filter_for: impl Fn(S) -> FleetFilter,
    ) -> Bar {
        let total = (fleet.len() as u64).max(1);
        let mut before = 0;
        let parts = S::ALL.iter().map(|state| {
            let filter = filter_for(*state);
            let n = filter.of(fleet, names).len() as u64;
            let x = before * 1000 / total;
            before += n;
            // One lost validator among ten thousand must still be seen.
            let width = (before * 1000 / total - x).max(if n > 0 { 6 } else { 0 });
            Part {
                sign: Sign::of(*state),
                count: count(n),
                href: filter.address(),
                x: x.min(1000 - width),
                width,
            }
        });
        Bar { title, parts: parts.collect() }
    }
    let all = FleetFilter::default;
    vec![
        bar("Link", fleet, names, |link| FleetFilter { link: Some(link), ..all() }),
        bar("Drain", fleet, names, |drain| FleetFilter { drain: Some(drain), ..all() }),
        bar("Service", fleet, names, |service| FleetFilter { service: Some(service), ..all() }),
    ]
}

fn columns(minutes: &[Minute], peak: u64, from: Timestamp, times: &Times) -> Vec<Column> {
    let scale = |n: u64| n * CHART / peak.max(1);
    minutes
        .iter()
        .enumerate()
        .map(|(x, minute)| {
            let at = Timestamp(from.0 + x as u64 * 60_000);
            let (accepted, refused) = (scale(minute.accepted), scale(minute.refused));
            let time: String = times.at(at).text.chars().take(5).collect();
            Column {
                x: x * 10,
                accepted,
                refused,
                top: CHART - accepted - refused,
                label: format!(
                    "{time}: {} accepted, {} refused",
                    count(minute.accepted),
                    count(minute.refused)
                ),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn a_rate_needs_enough_taps_to_mean_something() {
        let check = |accepted, refused, rate| {
            let outcomes =
                BTreeMap::from([(Outcome::Committed, accepted), (Outcome::Refused, refused)]);
            let sums = TapSums { outcomes, ..TapSums::default() };
            assert_eq!(accept_rate(&sums), rate, "{accepted} {refused}");
        };
        check(0, 0, None);
        check(40, 9, None);
        check(45, 5, Some(90));
        check(0, 50, Some(0));
    }
}
