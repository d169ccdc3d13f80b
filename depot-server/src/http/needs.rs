//! What needs somebody: gravest first, then most money, then oldest.
//!
//! Each need is counted by the very filter that its link opens, so it cannot say another number.

use model::{Money, Timestamp};
use work::TooFew;

use super::{
    Names, exceptions, fleet,
    fleet_filter::{Flaw, FleetFilter},
    overview::{Facts, SLOW_MS, accept_rate, balance},
    parts::{Age, Cash, Times, Urgency, count},
    taps::{self, Within},
    views::{
        DrainState, ExceptionKind, FleetRow, HotlistFacts, KindTally, LinkState, Outcome,
        ServiceState, TapFilter,
    },
    words::{Shown, Tone},
};

/// A rate that fell by more points than this.
const RATE_FELL: u64 = 10;
/// An in-doubt tap older than this should have been decided.
const DOUBT_OLD_MS: u64 = 24 * 3_600_000;

/// Something that needs somebody.
pub(super) struct Need {
    pub(super) urgency: Urgency,
    pub(super) title: String,
    pub(super) detail: String,
    pub(super) amount: Vec<Cash>,
    pub(super) since: Option<Age>,
    pub(super) href: String,
}

/// How urgent the open items of a kind are.
fn urgency(kind: &KindTally, times: &Times) -> Tone {
    let age = kind.oldest_open.map_or(0, |at| times.now().0.saturating_sub(at.0));
    if kind.kind == ExceptionKind::InDoubt && age > DOUBT_OLD_MS {
        return Tone::Warn;
    }
    kind.kind.sign().tone
}

/// Everything that needs somebody: gravest first, then most money, then oldest.
pub(super) fn find(facts: &Facts, names: &Names, times: &Times) -> Vec<Need> {
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
    if let Some((tone, at, words)) = hotlist_need(&facts.hotlist) {
        add(tone, at, &[], words);
    }
    for (tone, at, words) in fleet_needs(&facts.fleet, names, times) {
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
        ExceptionKind::CountersMismatch => "Copied, or a transaction of it was hidden.",
        ExceptionKind::ProductWithoutOrder => "Rides that nobody paid for; suspect a validator.",
        ExceptionKind::UnexplainedLoad => "Value that nobody paid in here: a stolen load key?",
        ExceptionKind::Contradiction => "No honest card does that; suspect the validator.",
        ExceptionKind::RegisterMismatch => "Entries were lost or removed on the device.",
        ExceptionKind::ChainBroken => "A log was edited or mixed with another.",
        ExceptionKind::ChargedThoughBlocked => "Blocked cards ride there; inspect the validator.",
        ExceptionKind::TicketUsedTwice => "One ticket gave several rides; one of them is paid.",
        ExceptionKind::TicketNotIssued => "Rides given on a ticket that nobody sold.",
        ExceptionKind::UnknownCard => "Value without an origin; register the card.",
        ExceptionKind::FareMismatch => "Riders may have paid the wrong fare.",
        ExceptionKind::PaymentWithoutOrder => "Riders paid at a channel and got nothing.",
        ExceptionKind::OrderWithoutPayment => "Value was ordered that a channel did not hand in.",
        ExceptionKind::PaymentDiffers => "A channel's statement and its order do not agree.",
        ExceptionKind::AccountPastDue => "Holders have not paid what their cards rode.",
        ExceptionKind::OrderOverdue => "Paid for and not collected; their holders may not know.",
        ExceptionKind::TopUpStopped => "Riders rely on a top-up that no longer comes.",
        ExceptionKind::ChargedWithoutPassage => "Riders paid twice or for nothing: repay them.",
        ExceptionKind::ClockWrong => "A validator's time is wrong; no money is at risk.",
        ExceptionKind::CardGap => "Their net amount is held in suspense until they arrive.",
        ExceptionKind::SequenceGap => "Asked for again; money may still be on a validator.",
        ExceptionKind::InDoubt => "Each card's next tap decides by itself.",
        ExceptionKind::Quarantined => "Kept as received; nothing of it was booked.",
    }
}

/// Cards that somebody has to decide about; above all when the breaker is open.
fn hotlist_need(hotlist: &HotlistFacts) -> Option<(Tone, Option<Timestamp>, [String; 3])> {
    let undecided = hotlist.undecided();
    let title = format!("Hotlist, to decide: {}", count(undecided));
    let address = "/hotlist".to_owned();
    if let Some((since, why)) = &hotlist.breaker {
        return Some((Tone::Bad, Some(*since), [title, format!("Breaker open: {why}."), address]));
    }
    let since = hotlist.groups.iter().map(|group| group.since).min();
    let detail = "Proposed cards ride on until somebody approves.".to_owned();
    (undecided > 0).then_some((Tone::Warn, since, [title, detail, address]))
}

/// Since when a validator is in a state, as far as that can be said.
type Oldest = fn(&FleetRow) -> Option<Timestamp>;

/// What may be wrong with validators: tone, list, title, consequence, since when.
fn fleet_rules() -> [(Tone, FleetFilter, &'static str, &'static str, Oldest); 9] {
    let all = FleetFilter::default;
    let since: Oldest = |row| Some(row.link_since);
    let unsent: Oldest = |row| row.oldest_unsent;
    let never: Oldest = |_| None;
    let silent: Oldest = |row| row.too_few.map(|too_few| too_few.since);
    [
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
            FleetFilter { service: Some(ServiceState::TooFew), ..all() },
            "Too few taps",
            "In service by their own word, but riders come and nothing is recorded.",
            silent,
        ),
        (
            Tone::Warn,
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
            Tone::Warn,
            FleetFilter { flaw: Some(Flaw::Lists), ..all() },
            "Lists behind",
            "Something published has not reached them, or they refuse it: see their pages.",
            never,
        ),
        (
            Tone::Info,
            FleetFilter { flaw: Some(Flaw::Clock), ..all() },
            "Clock off",
            "Taps are ordered by counters, so no money is at risk.",
            never,
        ),
    ]
}

/// What the fleet needs: each is the length of the list it leads to.
fn fleet_needs(
    fleet: &[FleetRow],
    names: &Names,
    times: &Times,
) -> Vec<(Tone, Option<Timestamp>, [String; 3])> {
    let needs = fleet_rules().into_iter().filter_map(|(tone, filter, title, detail, oldest)| {
        let rows = filter.of(fleet, names);
        let detail = match (rows.len(), rows.first()) {
            (0, _) | (_, None) => return None,
            (1, Some(row)) => format!("{}. {detail}", said(row, names, times)),
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

fn said(row: &FleetRow, names: &Names, times: &Times) -> String {
    let place = row.place.map(|place| names.place(place)).unwrap_or_default();
    let reason = fleet::reason(row, times);
    let because = if reason.is_empty() { "" } else { ": " };
    let at = if place.is_empty() { "" } else { " at " };
    format!("{}{at}{place}{because}{reason}", row.id)
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
    if let Some(TooFew { expected, seen, .. }) = facts.work.too_few {
        let title = format!("The whole fleet sees few taps: {} in three hours", count(seen));
        let detail = format!(
            "About {} are usual. On a plain day look at what all of them share: tariff, release.",
            count(expected)
        );
        needs.push((Tone::Warn, [title, detail, "/fleet".to_owned()]));
    }
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
