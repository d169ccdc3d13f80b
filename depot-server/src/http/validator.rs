//! One validator: its three states in words, its log as a strip of numbers, its newest entries.

use std::time::Duration;

use askama::Template;
use axum::{extract::Path, response::Html};
use clearing::{ClockGap, ClockPair};
use model::{Timestamp, ValidatorId};
use wire::ReleaseStage;
use work::MANY;

use super::{
    Problem, assets, exceptions, fleet,
    fleet_filter::CLOCK_OFF_MS,
    frame::{self, Frame, Viewer},
    parts::{Age, Times, ValidatorLink, When, count, span},
    taps::{self, Within},
    views::{
        DrainState, EpochFacts, ExceptionFilter, FleetRow, LinkState, ListFacts, Outcome, Page,
        ServiceState, TapFilter, ValidatorFacts, WorkFacts,
    },
    words::{self, Shown},
};

/// Entries shown; the link leads to all.
const ROWS: u32 = 20;
const DAY_MS: u64 = 86_400_000;
/// Width of the strip in its own units.
const STRIP: u64 = 1000;

/// Part of the strip of one log life.
struct Piece {
    class: &'static str,
    x: u64,
    width: u64,
    label: String,
}

/// One log life.
struct Life {
    epoch: String,
    acked: String,
    recorded: String,
    missing: Vec<String>,
    duplicates: String,
    pieces: Vec<Piece>,
}

/// What is said of its lists.
struct Lists {
    issued: Option<Age>,
    held: String,
    missing: String,
    next: Option<(String, When)>,
    trouble: String,
}

/// A tap by which its clock and another one disagree.
struct Disagreement {
    ahead: ValidatorLink,
    found: When,
    behind: ValidatorLink,
    wrote: When,
    apart: String,
    entry: String,
}

#[derive(Template)]
#[template(path = "validator.html")]
struct ValidatorPage {
    frame: Frame,
    line: fleet::Line,
    link_words: String,
    drain_words: String,
    service_words: String,
    /// What it did, and in what share of its hours it worked.
    work: [String; 2],
    last_heard: Option<Age>,
    oldest: Option<Age>,
    clock_source: &'static str,
    clock_off: bool,
    clocks: Vec<Disagreement>,
    lists: Option<Lists>,
    /// When it said all of this.
    said: Option<Age>,
    device: Vec<DeviceFact>,
    lives: Vec<Life>,
    /// What its gate told in the last day, and how often.
    gate: Vec<(&'static str, String)>,
    all_gate: String,
    lines: Vec<taps::Line>,
    all_taps: String,
    exceptions: Vec<exceptions::Line>,
    all_exceptions: String,
    as_of: Age,
}

/// `GET /fleet/{id}`.
pub(super) async fn page(viewer: Viewer, Path(id): Path<String>) -> Result<Html<String>, Problem> {
    const NONE: Problem =
        Problem::NotFound("No validator of this name is registered or was ever heard from.");
    let id: ValidatorId = id.parse().map_err(|_| NONE)?;
    let (site, times) = (&viewer.site, &viewer.times);
    let filter = TapFilter { validator: Some(id), ..TapFilter::default() };
    let open = ExceptionFilter { validator: Some(id), open: Some(true), ..Default::default() };
    let (wanted, items) = (filter.clone(), open.clone());
    let of_gate = TapFilter { outcome: Some(Outcome::Gate), ..filter.clone() };
    let today = TapFilter {
        received_from: Some(Timestamp(times.now().0.saturating_sub(DAY_MS))),
        ..of_gate.clone()
    };
    let (facts, rows, exceptions, tally, told) = site
        .ask(move |books| {
            let rows = books.taps(&wanted, Page::first(ROWS))?;
            let exceptions = books.exceptions(&items, Page::first(ROWS))?;
            let told = books.tap_sums(&today)?.gate;
            Ok((books.validator(id)?, rows, exceptions, frame::tally(books)?, told))
        })
        .await?;
    let facts = facts.ok_or(NONE)?;
    let device = own_words(&facts, times);
    let ValidatorFacts { row, clock, lists, said_at, work, epochs, clock_gaps, .. } = facts;
    frame::html(&ValidatorPage {
        frame: Frame::new(&viewer, "fleet", id.to_string(), &tally),
        line: fleet::Line::new(&row, &site.names, times),
        link_words: link_words(&row, times),
        drain_words: drain_words(&row, times),
        service_words: service_words(&row, times),
        work: shown_work(&work),
        last_heard: row.last_heard.map(|at| times.age(at)),
        oldest: row.oldest_unsent.map(|at| times.age(at)),
        clock_source: words::clock_label(clock),
        clock_off: row.clock_offset_ms.is_some_and(|off| off.abs() > CLOCK_OFF_MS),
        clocks: clock_gaps.iter().map(|gap| disagreement(gap, times)).collect(),
        lists: lists.map(|facts| shown_lists(&facts, times)),
        said: said_at.map(|at| times.age(at)),
        device,
        lives: epochs.iter().map(life).collect(),
        gate: told.iter().map(|(said, n)| (said.sign().label, count(*n))).collect(),
        all_gate: taps::address(&of_gate, Within::All),
        lines: rows.iter().map(|row| taps::Line::new(row, site, times)).collect(),
        all_taps: taps::address(&filter, Within::All),
        exceptions: exceptions.iter().map(|row| exceptions::Line::new(row, times)).collect(),
        all_exceptions: exceptions::address(&open),
        as_of: times.age(times.now()),
    })
}

fn disagreement(gap: &ClockGap, times: &Times) -> Disagreement {
    let ClockPair { ahead, behind, .. } = gap.pair();
    Disagreement {
        ahead: ValidatorLink(ahead),
        found: times.at(gap.found.at()),
        behind: ValidatorLink(behind),
        wrote: times.at(gap.wrote.at()),
        apart: span(Duration::from_secs(u64::from(gap.apart_s()))),
        entry: format!("{} of life {}", gap.tap.seq, gap.tap.epoch),
    }
}

fn link_words(row: &FleetRow, times: &Times) -> String {
    let since = span(times.now().since(row.link_since));
    match row.link {
        LinkState::Connected => format!("Connected for {since}."),
        LinkState::Late => {
            format!("The broker still counts it as connected, but it has said nothing for {since}.")
        }
        LinkState::Lost => format!(
            "Not connected for {since}. It goes on taking taps and keeps them until it is back."
        ),
        LinkState::NeverSeen => "Registered, but never heard from.".to_owned(),
    }
}

fn drain_words(row: &FleetRow, times: &Times) -> String {
    let unsent = count(row.unsent);
    let oldest = row
        .oldest_unsent
        .map(|at| format!(", the oldest {} old", span(times.now().since(at))))
        .unwrap_or_default();
    match row.drain {
        DrainState::Empty => "Everything it recorded is in the books.".to_owned(),
        DrainState::Draining => format!("{unsent} entries are on their way{oldest}."),
        DrainState::Stuck if row.link == LinkState::Connected => format!(
            "{unsent} entries are not here{oldest}, though it is connected: see its exceptions."
        ),
        DrainState::Stuck => format!("{unsent} entries are not here{oldest}; they wait on it."),
        DrainState::Unknown => "It has not said how much it recorded.".to_owned(),
    }
}

fn service_words(row: &FleetRow, times: &Times) -> String {
    let reason = fleet::reason(row, times);
    let because = if reason.is_empty() { ".".to_owned() } else { format!(": {reason}.") };
    match row.service {
        ServiceState::InService => "Takes taps.".to_owned(),
        ServiceState::Degraded => format!("Takes taps, with a fault{because}"),
        ServiceState::TooFew => format!("Says that it takes taps, but sees too few{because}"),
        ServiceState::Out => format!("Takes no taps{because}"),
        ServiceState::Unknown => "It has not said whether it takes taps.".to_owned(),
    }
}

/// Its work in words: of the last day, and of the last week.
fn shown_work(work: &WorkFacts) -> [String; 2] {
    let seen = count(work.seen);
    let day = match work.usual {
        None => format!("{seen} taps; what is usual is known after three days of work"),
        Some(usual) => format!("{seen} taps; about {} are usual", count(usual)),
    };
    let week = match work.expected_hours {
        0 => "no hour yet in which many taps are usual".to_owned(),
        hours => format!(
            "{} % of its hours: taps in {} of {} in which at least {MANY} are usual",
            work.worked_hours * 100 / hours,
            work.worked_hours,
            hours
        ),
    };
    [day, week]
}

/// Its lists in words.
fn shown_lists(facts: &ListFacts, times: &Times) -> Lists {
    let named = |lists: &[(String, u64)]| {
        let named: Vec<String> =
            lists.iter().map(|(kind, version)| format!("{kind} {version}")).collect();
        named.join(", ")
    };
    Lists {
        issued: facts.issued.map(|at| times.age(at)),
        held: named(&facts.held),
        missing: named(&facts.missing),
        next: facts.next.map(|(version, at)| (version.to_string(), times.at(at))),
        trouble: facts.trouble.clone(),
    }
}

/// One thing that a device says of itself.
struct DeviceFact {
    name: &'static str,
    value: String,
    /// Somebody should look at it.
    warn: bool,
}

/// What it says of itself.
fn own_words(facts: &ValidatorFacts, times: &Times) -> Vec<DeviceFact> {
    let said = facts.said_at;
    let device = facts.device.iter().flat_map(|health| shown_device(health, said, times));
    let steered = shown_steered(&facts.steered, times);
    device.chain(steered).chain(facts.speech.map(shown_speech)).collect()
}

/// What the depot wants it to be, as far as it obeys (ADR-0028).
fn shown_steered(steered: &wire::Steered, times: &Times) -> Vec<DeviceFact> {
    let desired = steered.desired.map(|desired| DeviceFact {
        name: "By order",
        value: format!("{} until {}", desired.word.word(), times.at(desired.until).text),
        warn: desired.word == wire::DesiredWord::OutOfService,
    });
    let release = steered.release.as_ref().map(|said| {
        let running = if said.running.is_empty() { "of its package" } else { &said.running };
        let why = if said.why.is_empty() { String::new() } else { format!(": {}", said.why) };
        let plan = match said.plan {
            0 => String::new(),
            plan => format!(", plan {plan} {}{why}", said.stage.word()),
        };
        let warn = matches!(said.stage, ReleaseStage::Failed | ReleaseStage::Refused);
        DeviceFact { name: "Release", value: format!("{running}{plan}"), warn }
    });
    desired.into_iter().chain(release).collect()
}

/// In which version of messages its taps come (docs/wire.md, section 2.2).
fn shown_speech(speech: wire::Speech) -> DeviceFact {
    let written = match speech.writes {
        Some(wire::MessageVersion::V3) => "sealed for this depot (version 3)".to_owned(),
        Some(version) => format!("signed, readable for the broker (version {version})"),
        None => "no taps come: they must be sealed, and it heard no depot that opens".to_owned(),
    };
    let value = format!("{written}; it reads versions {}", speech.reads);
    DeviceFact { name: "Messages", value, warn: speech.writes.is_none() }
}

/// A device is looked at every minute and says it every few: what is older says nothing of now.
const STALE: Duration = Duration::from_secs(900);

/// What the device says of itself, as far as it can tell, and how old that is.
fn shown_device(health: &wire::Health, said: Option<Timestamp>, times: &Times) -> Vec<DeviceFact> {
    let since = |at: Timestamp| times.now().since(at);
    let ago = |at| format!("{} ago", span(since(at)));
    let fact = |name, value, warn| Some(DeviceFact { name, value, warn });
    // Programs that do not say when they looked did it before they said it.
    let looked = health.looked.or(said);
    let is_stale = looked.is_some_and(|at| since(at) > STALE);
    let found = |name, value: String, warn| {
        let age = looked.map(|at| format!(", {}", ago(at))).unwrap_or_default();
        fact(name, format!("{value}{age}"), warn || is_stale)
    };
    let tested = health.self_tested.map_or_else(
        || "none passed yet".to_owned(),
        |at| format!("passed {}, {} ms", ago(at), health.self_test_ms),
    );
    let facts = [
        fact("Started", ago(health.started), false),
        fact("Self-test", tested, health.fault.starts_with("self-test")),
        fact("Last card read", health.last_read.map_or_else(|| "none yet".to_owned(), ago), false),
        health.free_mib.and_then(|mib| found("Free", format!("{mib} MiB"), mib < 64)),
        health.store_mib.and_then(|mib| found("Tap log on disk", format!("{mib} MiB"), false)),
        (health.set_aside > 0)
            .then(|| fact("Damaged stores put aside", health.set_aside.to_string(), true))
            .flatten(),
        health.temperature.and_then(|t| found("Processor", format!("{t} °C"), t >= 80)),
        health.undervoltage.and_then(|weak| {
            found("Supply", if weak { "too weak" } else { "good" }.to_owned(), weak)
        }),
        health.wear.and_then(|used| found("Storage used up", format!("{used} %"), used >= 90)),
    ];
    facts.into_iter().flatten().collect()
}

/// The log as a strip: here, missing, not yet sent, each in its true share, at least visible.
fn life(facts: &EpochFacts) -> Life {
    let EpochFacts { epoch, acked_through, booked_through, recorded_through, missing, duplicates } =
        facts;
    let end = recorded_through.0.max(acked_through.0).max(1);
    let x = |seq: u64| {
        u64::try_from(u128::from(seq) * u128::from(STRIP) / u128::from(end)).unwrap_or(STRIP)
    };
    let piece = |class, from: u64, through: u64, label| {
        let start = x(from.saturating_sub(1)).min(STRIP - 4);
        Piece { class, x: start, width: (x(through).saturating_sub(start)).max(4), label }
    };
    let mut pieces = vec![piece("here", 1, end, format!("1–{end} recorded"))];
    let received = booked_through.0.max(acked_through.0);
    if recorded_through.0 > received {
        let label = format!("{}–{} not yet sent", received + 1, recorded_through.0);
        pieces.push(piece("unsent", received + 1, recorded_through.0, label));
    }
    for (first, last) in missing {
        pieces.push(piece("missing", first.0, last.0, format!("{first}–{last} missing")));
    }
    let range = |first: u64, last: u64| {
        if first == last { count(first) } else { format!("{}–{}", count(first), count(last)) }
    };
    Life {
        epoch: epoch.to_string(),
        acked: count(acked_through.0),
        recorded: count(recorded_through.0),
        missing: missing.iter().map(|(first, last)| range(first.0, last.0)).collect(),
        duplicates: count(*duplicates),
        pieces,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Epoch, TapSeq};

    #[test]
    fn the_page_says_in_which_version_taps_come_and_when_none_may() {
        use wire::{MessageVersion, Speech, Versions};
        let shown = |writes| shown_speech(Speech { reads: Versions::ALL, writes });
        for (writes, words, warn) in [
            (Some(MessageVersion::V1), "readable for the broker (version 1)", false),
            (Some(MessageVersion::V3), "sealed for this depot", false),
            (None, "no taps come", true),
        ] {
            let fact = shown(writes);
            assert!(
                fact.value.contains(words) && fact.value.ends_with("1, 2, 3"),
                "{}",
                fact.value
            );
            assert_eq!(fact.warn, warn);
        }
    }

    #[test]
    fn each_fact_of_a_device_says_how_old_it_is_and_an_old_one_is_not_shown_as_fresh() {
        let at = |minutes: u64| Timestamp(minutes * 60_000);
        let times = Times::new(jiff::tz::TimeZone::UTC, at(100));
        let health = |looked: Option<u64>| wire::Health {
            started: at(1),
            self_tested: Some(at(95)),
            temperature: Some(51),
            undervoltage: Some(false),
            wear: Some(30),
            looked: looked.map(at),
            ..wire::Health::default()
        };
        let shown = |looked, said: u64| {
            let facts = shown_device(&health(looked), Some(at(said)), &times);
            let of = |name: &str| facts.iter().find(|fact| fact.name == name).unwrap();
            let [heat, supply] = [of("Processor"), of("Supply")];
            assert_eq!(of("Self-test").value, "passed 5 min ago, 0 ms");
            (heat.value.clone(), supply.value.clone(), heat.warn)
        };
        // What it says by now, of a look that hung since: its word is fresh, the fact is not.
        let old = ("51 °C, 40 min ago".to_owned(), "good, 40 min ago".to_owned(), true);
        assert_eq!(shown(Some(60), 100), old);
        assert_eq!(shown(None, 60), old, "a program that does not say it, unheard since");
        let fresh = shown(Some(98), 99);
        assert_eq!(fresh, ("51 °C, 2 min ago".to_owned(), "good, 2 min ago".to_owned(), false));
    }

    #[test]
    fn the_page_says_what_it_was_told_to_be_and_which_release_runs() {
        let times = Times::new(jiff::tz::TimeZone::UTC, Timestamp(0));
        let said = |running: &str, plan, stage, why: &str| wire::Steered {
            release: Some(wire::ReleaseState {
                running: running.to_owned(),
                plan,
                stage,
                why: why.to_owned(),
            }),
            ..wire::Steered::default()
        };
        for (steered, expected, warn) in [
            (said("", 0, ReleaseStage::Idle, ""), "of its package", false),
            (said("1.2", 3, ReleaseStage::Applied, ""), "1.2, plan 3 applied", false),
            (
                said("", 3, ReleaseStage::Failed, "no link"),
                "of its package, plan 3 failed: no link",
                true,
            ),
        ] {
            let [fact] = &shown_steered(&steered, &times)[..] else { panic!("one fact") };
            assert_eq!((fact.name, fact.value.as_str(), fact.warn), ("Release", expected, warn));
        }
        let word = wire::DesiredWord::OutOfService;
        let desired = Some(wire::DesiredState { word, until: Timestamp(3_600_000) });
        let told = shown_steered(&wire::Steered { desired, ..wire::Steered::default() }, &times);
        assert_eq!(told[0].value, "out-of-service until 01:00:00");
        assert!(told[0].warn);
        assert!(shown_steered(&wire::Steered::default(), &times).is_empty());
    }

    #[test]
    fn the_strip_shows_a_gap_exactly_where_it_is() {
        let life = life(&EpochFacts {
            epoch: Epoch(2),
            acked_through: TapSeq(400),
            booked_through: TapSeq(600),
            recorded_through: TapSeq(1000),
            missing: vec![(TapSeq(401), TapSeq(500))],
            duplicates: 3,
        });
        let drawn: Vec<_> =
            life.pieces.iter().map(|p| (p.class, p.x, p.width, p.label.as_str())).collect();
        assert_eq!(
            drawn,
            [
                ("here", 0, 1000, "1–1000 recorded"),
                ("unsent", 600, 400, "601–1000 not yet sent"),
                ("missing", 400, 100, "401–500 missing"),
            ]
        );
        assert_eq!(life.missing, ["401–500"]);
    }

    #[test]
    fn a_single_missing_entry_among_millions_is_still_visible() {
        let life = life(&EpochFacts {
            epoch: Epoch(1),
            acked_through: TapSeq(4_999_998),
            booked_through: TapSeq(5_000_000),
            recorded_through: TapSeq(5_000_000),
            missing: vec![(TapSeq(4_999_999), TapSeq(4_999_999))],
            duplicates: 0,
        });
        let gap = life.pieces.iter().find(|p| p.class == "missing").unwrap();
        assert_eq!((gap.x, gap.width), (996, 4));
    }
}
