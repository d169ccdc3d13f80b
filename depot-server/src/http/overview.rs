//! The overview: first what needs somebody, gravest first, then the figures, each a link to the
//! list that it counts.

use askama::Template;
use axum::{extract::Query as UrlQuery, response::Html};
use model::{Money, Timestamp};

use super::{
    Names, Problem, assets, exceptions,
    fleet::{Flaw, FleetFilter},
    frame::{self, Frame, Viewer},
    parts::{Age, Cash, State as Sign, Times, Urgency, count},
    query::Params,
    taps::{self, Within},
    views::{
        AccountRow, DrainState, ExceptionKind, FleetRow, KindTally, LinkState, Minute, Outcome,
        ServiceState, TapFilter, TapSums,
    },
    words::{Shown, Tone},
};

/// Above this the whole fleet is slow.
const SLOW_MS: u32 = 500;
/// Fewer taps than this say nothing about a rate.
const RATE_FROM: u64 = 50;
/// A rate that fell by more points than this.
const RATE_FELL: u64 = 10;
/// An in-doubt tap older than this should have been decided.
const DOUBT_OLD_MS: u64 = 24 * 3_600_000;
/// Minutes in the chart.
const MINUTES: u32 = 60;
/// Height of the chart in its own units.
const CHART: u64 = 100;

/// What the overview is made from: all of it asked at one moment.
struct Facts {
    fleet: Vec<FleetRow>,
    tally: Vec<KindTally>,
    accounts: Vec<AccountRow>,
    recent: TapSums,
    week_ago: TapSums,
    today: TapSums,
    minutes: Vec<Minute>,
}

/// Something that needs somebody.
struct Need {
    urgency: Urgency,
    title: String,
    detail: String,
    amount: Vec<Cash>,
    since: Option<Age>,
    href: String,
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
                tally: frame::tally(books)?,
                accounts: books.trial_balance()?,
                recent: books.tap_sums(&recent)?,
                week_ago: books.tap_sums(&week_ago)?,
                today: books.tap_sums(&today)?,
                minutes: books.taps_by_minute(chart_from, MINUTES)?,
            })
        })
        .await?;
    let sums = balance(&facts.accounts);
    let peak = facts.minutes.iter().map(|m| m.accepted + m.refused).max().unwrap_or(0);
    let page = OverviewPage {
        frame: Frame::new(&viewer, "overview", "Overview", &facts.tally),
        as_of: times.age(times.now()),
        needs: needs(&facts, &site.names, times),
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
fn balance(accounts: &[AccountRow]) -> Vec<Money> {
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

/// How urgent the open items of a kind are.
fn urgency(kind: &KindTally, times: &Times) -> Tone {
    let age = kind.oldest_open.map_or(0, |at| times.now().0.saturating_sub(at.0));
    match kind.kind {
        ExceptionKind::InDoubt if age > DOUBT_OLD_MS => Tone::Warn,
        other => other.sign().tone,
    }
}

/// Everything that needs somebody: gravest first, then most money, then oldest.
fn needs(facts: &Facts, names: &Names, times: &Times) -> Vec<Need> {
    let mut found: Vec<(Tone, i64, u64, Need)> = Vec::new();
    let mut add = |tone: Tone, at: Option<Timestamp>, amount: &[Money], words: [String; 3]| {
        let [title, detail, href] = words;
        let money = amount.iter().map(|sum| sum.minor().saturating_abs()).max().unwrap_or(0);
        let need = Need {
            urgency: Urgency(tone),
            title,
            detail,
            amount: exceptions::amounts(amount),
            since: at.map(|at| times.age(at)),
            href,
        };
        found.push((tone, -money, at.map_or(u64::MAX, |at| at.0), need));
    };
    let unbalanced: Vec<_> =
        balance(&facts.accounts).into_iter().filter(|sum| sum.minor() != 0).collect();
    if !unbalanced.is_empty() {
        let words = [
            "The ledger does not balance".to_owned(),
            "Debits and credits differ. Stop settlements and run depot-server verify.".to_owned(),
            "/#ledger".to_owned(),
        ];
        add(Tone::Bad, None, &unbalanced, words);
    }
    for kind in facts.tally.iter().filter(|kind| kind.open > 0) {
        let title = format!("{}: {}", kind.kind.sign().label, count(kind.open));
        let detail = consequence(kind.kind).to_owned();
        let words = [title, detail, exceptions::open_of(Some(kind.kind))];
        add(urgency(kind, times), kind.oldest_open, &kind.open_amount, words);
    }
    for (tone, at, words) in fleet_needs(&facts.fleet, names) {
        add(tone, at, &[], words);
    }
    for (tone, words) in tap_needs(facts) {
        add(tone, None, &[], words);
    }
    found.sort_by_key(|(tone, money, at, _)| (*tone, *money, *at));
    found.into_iter().map(|(.., need)| need).collect()
}

/// What it means that items of this kind are open, in half a line.
const fn consequence(kind: ExceptionKind) -> &'static str {
    match kind {
        ExceptionKind::Fork => "Copied or rolled back; each use takes value that nobody paid for.",
        ExceptionKind::ProofInvalid => "Altered or invented after the card; suspect the validator.",
        ExceptionKind::BalanceMismatch => "A record was altered or a value forged.",
        ExceptionKind::RegisterMismatch => "Entries were lost or removed on the device.",
        ExceptionKind::ChainBroken => "A log was edited or mixed with another.",
        ExceptionKind::FareMismatch => "Riders may have paid the wrong fare.",
        ExceptionKind::CardGap => "Their net amount is held in suspense until they arrive.",
        ExceptionKind::SequenceGap => "Asked for again; money may still be on a validator.",
        ExceptionKind::InDoubt => "Each card's next tap decides by itself.",
        ExceptionKind::Quarantined => "Kept as received; nothing of it was booked.",
    }
}

/// What the fleet needs: each is the length of the list it leads to.
fn fleet_needs(fleet: &[FleetRow], names: &Names) -> Vec<(Tone, Option<Timestamp>, [String; 3])> {
    type Oldest = fn(&FleetRow) -> Option<Timestamp>;
    let all = FleetFilter::default;
    let since: Oldest = |row| Some(row.link_since);
    let unsent: Oldest = |row| row.oldest_unsent;
    let never: Oldest = |_| None;
    let rules: [(Tone, FleetFilter, &str, &str, Oldest); 7] = [
        (
            Tone::Bad,
            FleetFilter { drain: Some(DrainState::Stuck), ..all() },
            "Taps not coming in",
            "Recorded, but not here and not getting nearer.",
            unsent,
        ),
        (
            Tone::Bad,
            FleetFilter { service: Some(ServiceState::Out), ..all() },
            "Out of service",
            "Riders are turned away or ride free.",
            never,
        ),
        (
            Tone::Bad,
            FleetFilter { link: Some(LinkState::Lost), ..all() },
            "Link lost",
            "They go on taking taps and keep them.",
            since,
        ),
        (
            Tone::Warn,
            FleetFilter { service: Some(ServiceState::Degraded), ..all() },
            "In service with a fault",
            "They take taps, but not as they should.",
            never,
        ),
        (
            Tone::Warn,
            FleetFilter { link: Some(LinkState::Late), ..all() },
            "Silent",
            "Connected by the broker's word, but not heard from in time.",
            since,
        ),
        (
            Tone::Warn,
            FleetFilter { flaw: Some(Flaw::OldTariff), ..all() },
            "Old tariff",
            "They price with an older tariff than the newest in the fleet.",
            never,
        ),
        (
            Tone::Info,
            FleetFilter { flaw: Some(Flaw::Clock), ..all() },
            "Clock off",
            "Taps are ordered by counters, so no money is at risk.",
            never,
        ),
    ];
    let needs = rules.into_iter().filter_map(|(tone, filter, title, detail, oldest)| {
        let rows = filter.of(fleet, names);
        let detail = match (rows.len(), rows.first()) {
            (0, _) | (_, None) => return None,
            (1, Some(row)) => format!("{}. {detail}", said(row, names)),
            (_, Some(_)) => detail.to_owned(),
        };
        let unsent: u64 = rows.iter().map(|row| row.unsent).sum();
        let title = if filter.drain.is_some() {
            format!("{title}: {} on {}", entries(unsent), validators(rows.len()))
        } else {
            format!("{title}: {}", validators(rows.len()))
        };
        let at = rows.iter().filter_map(|row| oldest(row)).min();
        Some((tone, at, [title, detail, filter.address()]))
    });
    needs.collect()
}

fn said(row: &FleetRow, names: &Names) -> String {
    let place = row.place.map(|place| names.place(place)).unwrap_or_default();
    let reason = if row.service_reason.is_empty() { "" } else { ": " };
    let at = if place.is_empty() { "" } else { " at " };
    format!("{}{at}{place}{reason}{}", row.id, row.service_reason)
}

fn validators(n: usize) -> String {
    if n == 1 { "1 validator".to_owned() } else { format!("{} validators", count(n as u64)) }
}

fn entries(n: u64) -> String {
    if n == 1 { "1 entry".to_owned() } else { format!("{} entries", count(n)) }
}

/// What the taps themselves need.
fn tap_needs(facts: &Facts) -> Vec<(Tone, [String; 3])> {
    let mut needs = Vec::new();
    let recent = |outcome| {
        let filter = TapFilter { outcome, ..TapFilter::default() };
        taps::address(&filter, Within::FiveMinutes)
    };
    if let Some(p95) = facts.recent.duration_p95_ms.filter(|p95| *p95 > SLOW_MS) {
        let title = format!("Taps are slow: p95 {p95} ms");
        let detail = "Queues form above 500 ms. Sort the fleet by its slowest.".to_owned();
        needs.push((Tone::Warn, [title, detail, "/fleet?order=p95".to_owned()]));
    }
    if let (Some(now), Some(then)) = (accept_rate(&facts.recent), accept_rate(&facts.week_ago))
        && now + RATE_FELL < then
    {
        let title = format!("Accept rate fell to {now} %");
        let detail = format!("{then} % a week ago at this time.");
        needs.push((Tone::Bad, [title, detail, recent(Some(Outcome::Refused))]));
    }
    needs
}

/// Accepted taps in whole percent; none when there are too few to say.
fn accept_rate(sums: &TapSums) -> Option<u64> {
    let accepted = sums.of(Outcome::Committed) + sums.of(Outcome::InDoubt);
    let all = accepted + sums.of(Outcome::Refused);
    (all >= RATE_FROM).then(|| accepted * 100 / all)
}

fn tap_figures(facts: &Facts) -> Vec<Figure> {
    let Facts { recent, week_ago, today, .. } = facts;
    let list = |outcome, within| {
        taps::address(&TapFilter { outcome, ..TapFilter::default() }, within)
    };
    let five = Within::FiveMinutes;
    let doubt = today.of(Outcome::InDoubt);
    let refused = recent.of(Outcome::Refused);
    vec![
        figure(
            "Entries, last 5 min",
            count(recent.total()),
            format!("{} a week ago", count(week_ago.total())),
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

/// An amount as a figure: the number and, apart, its currency.
fn split(cash: Option<&Cash>) -> (String, String) {
    let text = cash.map_or("0".to_owned(), |cash| cash.text());
    match text.rsplit_once('\u{a0}') {
        Some((number, currency)) => (number.to_owned(), currency.to_owned()),
        None => (text, String::new()),
    }
}

fn money_figures(facts: &Facts, sums: &[Money]) -> Vec<Figure> {
    let today: Vec<_> = facts.today.charged.iter().copied().map(Cash).collect();
    let (charged, currency) = split(today.first());
    let mut at_stake: Vec<Money> = Vec::new();
    for sum in facts.tally.iter().flat_map(|kind| &kind.open_amount) {
        match at_stake.iter_mut().find(|s| s.currency() == sum.currency()) {
            Some(total) => *total = total.checked_add(*sum).unwrap_or(*total),
            None => at_stake.push(*sum),
        }
    }
    let at_stake: Vec<_> = at_stake.into_iter().map(Cash).collect();
    let (stake, stake_currency) = split(at_stake.first());
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
        Figure {
            unit: currency,
            ..figure(
                "Charged, this service day",
                charged,
                format!("{} entries", count(facts.today.total())),
                all_today,
            )
        },
        figure("Open exceptions", count(open), note, exceptions::open_of(None)),
        Figure {
            unit: stake_currency,
            ..figure(
                "Money in open exceptions",
                stake,
                "sum of the list".to_owned(),
                exceptions::open_of(None),
            )
        },
    ]
}

/// The three facts about the fleet as shares of it.
fn bars(fleet: &[FleetRow], names: &Names) -> Vec<Bar> {
    fn bar<S: Shown>(
        title: &'static str,
        fleet: &[FleetRow],
        names: &Names,
        with: impl Fn(S) -> FleetFilter,
    ) -> Bar {
        let total = (fleet.len() as u64).max(1);
        let mut before = 0;
        let parts = S::ALL.iter().map(|state| {
            let filter = with(*state);
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
