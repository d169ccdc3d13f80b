//! Tickets at a validator: when they hold, that each is taken once, and what a power cut leaves.

use alloc::{string::String, vec::Vec};
use core::{fmt::Write as _, time::Duration};

use expect_test::expect;
use model::{
    ClockQuality, Currency, Money, PlaceIx, Refusal, RiderClass, RouteIx, TapEvent, TapRecord,
    TapRole, TapSeq, TariffVersion, Ticket, TicketId, TicketScope, TicketToken, Timestamp,
    ValidatorId,
};
use ticket::{SigningKey, TicketKeys, issue, key_id, to_text};

use super::{Bench, NEVER, START, card, context};
use crate::{Note, Output, Tickets, ValidatorContext, Verdict, tickets::REMEMBERED_MAX};

const REPEAT: Duration = Duration::from_secs(3);

fn signer() -> SigningKey {
    SigningKey::from_bytes(&[3; 32])
}

fn terms(serial: u64, scope: TicketScope) -> Ticket {
    Ticket {
        id: TicketId { key: key_id(&signer().verifying_key()), serial: serial.to_be_bytes() },
        price: Money::new(240, Currency::parse("EUR").unwrap()),
        valid_from: START,
        minutes: 90,
        scope,
        tariff: TariffVersion(1),
        class: RiderClass(0),
    }
}

fn token(serial: u64) -> TicketToken {
    issue(&terms(serial, TicketScope::Network), &signer()).unwrap()
}

fn text(serial: u64) -> String {
    to_text(&token(serial))
}

fn tickets() -> Tickets {
    Tickets::new(TicketKeys::new([signer().verifying_key()]), REPEAT)
}

fn bench(context: ValidatorContext) -> Bench {
    let mut bench = Bench::new(context);
    bench.machine = bench.machine.with_tickets(tickets());
    bench
}

fn later(seconds: i64) -> Timestamp {
    Timestamp(START.0.checked_add_signed(seconds * 1000).unwrap())
}

fn word(bench: &mut Bench, text: &str) -> &'static str {
    match bench.scan(text).map(|passage| passage.verdict) {
        None => "nothing",
        Some(Verdict::Granted) => "granted",
        Some(Verdict::TryAgain(reason) | Verdict::Refused(reason)) => reason.word(),
        Some(Verdict::OutOfService) => "out-of-service",
    }
}

#[test]
fn each_ticket_holds_where_and_when_it_says_and_nowhere_else() {
    use ClockQuality::{Ntp, Saved, Unknown};
    use TicketScope::{Group, Network, Place, Route};
    let (a, b) = (PlaceIx(0), PlaceIx(1));
    let rows: [(&str, &str, ClockQuality, i64, TicketScope); 19] = [
        ("board", "s1", Ntp, 60, Network),
        ("board", "s1", Ntp, -120, Network),
        ("board", "s1", Ntp, -121, Network),
        ("board", "s1", Ntp, 5399, Network),
        ("board", "s1", Ntp, 5400, Network),
        ("exit", "A", Ntp, 5400, Network),
        ("exit", "A", Ntp, 5400 + 3 * 3600, Network),
        ("entry", "A", Ntp, 60, Place(a)),
        ("entry", "A", Ntp, 60, Place(b)),
        ("exit", "A", Ntp, 60, Place(b)),
        ("board", "s1", Ntp, 60, Route(RouteIx(0))),
        ("board", "s1", Ntp, 60, Route(RouteIx(1))),
        ("board", "s1", Ntp, 60, Group(0)),
        ("board", "s1", Ntp, 60, Group(1)),
        ("entry", "A", Ntp, 60, Group(1)),
        // A clock that nobody set neither accepts nor calls expired.
        ("board", "s1", Unknown, 60, Network),
        ("board", "s1", Unknown, 99_999, Network),
        ("board", "s1", Saved, 60, Network),
        ("board", "s1", Saved, 5400, Network),
    ];
    let mut out = String::new();
    for (serial, (role, place, clock, at, scope)) in (0..).zip(rows) {
        let mut bench = bench(context(role.parse().unwrap(), place));
        bench.machine.set_clock_quality(clock);
        bench.now = later(at);
        let text = to_text(&issue(&terms(serial, scope), &signer()).unwrap());
        let word = word(&mut bench, &text);
        writeln!(out, "{role} {place} {clock:?} {at} {scope:?} => {word}").unwrap();
    }
    expect![[r"
        board s1 Ntp 60 Network => granted
        board s1 Ntp -120 Network => granted
        board s1 Ntp -121 Network => ticket-not-valid
        board s1 Ntp 5399 Network => granted
        board s1 Ntp 5400 Network => ticket-not-valid
        exit A Ntp 5400 Network => granted
        exit A Ntp 16200 Network => ticket-not-valid
        entry A Ntp 60 Place(PlaceIx(0)) => granted
        entry A Ntp 60 Place(PlaceIx(1)) => ticket-not-valid
        exit A Ntp 60 Place(PlaceIx(1)) => granted
        board s1 Ntp 60 Route(RouteIx(0)) => granted
        board s1 Ntp 60 Route(RouteIx(1)) => ticket-not-valid
        board s1 Ntp 60 Group(0) => granted
        board s1 Ntp 60 Group(1) => ticket-not-valid
        entry A Ntp 60 Group(1) => granted
        board s1 Unknown 60 Network => out-of-service
        board s1 Unknown 99999 Network => out-of-service
        board s1 Saved 60 Network => out-of-service
        board s1 Saved 5400 Network => ticket-not-valid
    "]]
    .assert_eq(&out);
}

#[test]
fn what_is_no_ticket_of_ours_is_refused_by_its_own_reason() {
    let mut bench = bench(context(TapRole::Board, "s1"));
    bench.now = later(60);
    let stranger = SigningKey::from_bytes(&[4; 32]);
    let id = TicketId { key: key_id(&stranger.verifying_key()), serial: [0; 8] };
    let foreign = issue(&Ticket { id, ..terms(1, TicketScope::Network) }, &stranger).unwrap();
    let mut forged = token(1);
    forged.0[16] ^= 1; // The price.
    let yen = Money::new(240, Currency::parse("JPY").unwrap());
    let yen = issue(&Ticket { price: yen, ..terms(2, TicketScope::Network) }, &signer()).unwrap();
    let unknown = Ticket { tariff: TariffVersion(9), ..terms(3, TicketScope::Place(PlaceIx(0))) };
    let unknown = issue(&unknown, &signer()).unwrap();
    for (text, expected) in [
        ("https://example.org", "foreign-card"),
        ("TAPLINE1:ABC", "unreadable"),
        (&to_text(&foreign), "foreign-card"),
        (&to_text(&forged), "foreign-card"),
        (&to_text(&yen), "ticket-not-valid"),
        (&to_text(&unknown), "ticket-not-valid"),
    ] {
        assert_eq!(word(&mut bench, text), expected, "{text}");
    }
    assert_eq!(bench.log.len(), 6, "each is in the log");
    assert_eq!(bench.machine.tickets().remembered(), 0);
}

#[test]
fn a_ticket_is_taken_once_and_the_scanner_repeating_itself_is_no_second_time() {
    let mut bench = bench(context(TapRole::Board, "s1"));
    bench.now = later(60);
    assert_eq!(word(&mut bench, &text(1)), "granted");
    for _ in 0..10 {
        bench.now = bench.now.plus(REPEAT);
        assert_eq!(word(&mut bench, &text(1)), "nothing", "the phone is still there");
    }
    bench.now = bench.now.plus(REPEAT + Duration::from_millis(1));
    assert_eq!(word(&mut bench, &text(1)), "ticket-used");
    assert_eq!(word(&mut bench, &text(1)), "nothing", "a refusal is not repeated either");
    assert_eq!(word(&mut bench, &text(2)), "granted");
    assert_eq!(word(&mut bench, &text(1)), "ticket-used", "another came between");
    assert_eq!(bench.outcomes(), ["ticket", "ticket-used", "ticket", "ticket-used"]);
    // A clock that is set back makes no repetition of what lies ahead.
    bench.now = later(30);
    assert_eq!(word(&mut bench, &text(1)), "ticket-used");
}

#[test]
fn a_ticket_and_a_card_take_turns_at_one_machine() {
    let mut bench = bench(context(TapRole::Board, "s1"));
    bench.now = later(60);
    let mut card = card(1, 500);
    assert!(bench.tap(&mut card, NEVER).unwrap().is_granted());
    assert_eq!(word(&mut bench, &text(1)), "granted");
    bench.now = later(150);
    assert!(bench.tap(&mut card, NEVER).unwrap().is_granted());
    assert_eq!(bench.outcomes(), ["committed", "ticket", "committed"]);
}

#[test]
fn out_of_service_takes_no_ticket_and_the_green_light_waits_for_the_log() {
    let mut bench = bench(context(TapRole::Board, "s1"));
    bench.now = later(60);
    bench.machine.set_in_service(false);
    assert_eq!(word(&mut bench, &text(1)), "out-of-service");
    assert!(bench.log.is_empty());
    bench.machine.set_in_service(true);
    bench.machine.handle_scanned(bench.now, &text(2));
    let outcome = bench.machine.poll();
    assert!(matches!(outcome, Some(Output::LogOutcome { event: TapEvent::Ticket { .. }, .. })));
    assert_eq!(bench.machine.poll(), None, "nothing is shown before it is durable");
    bench.machine.handle_log_failed();
    let Some(Output::Show(passage)) = bench.machine.poll() else { panic!("the rider is told") };
    assert_eq!(passage.refusal(), Some(Refusal::OutOfService));
}

/// The machine after a power cut, with what the log holds.
fn restart(bench: &mut Bench) {
    let taken: Vec<TicketToken> = bench
        .log
        .iter()
        .filter_map(|tap| match tap.event {
            Some(TapEvent::Ticket { token }) => Some(token),
            _ => None,
        })
        .collect();
    let newest = bench.log.last().and_then(|tap| {
        let id = (ValidatorId::new(42).unwrap(), model::Epoch(1), TapSeq(1));
        Some(TapRecord::new(id, tap.draft, 1, tap.event?))
    });
    let tickets = tickets().with_taken(taken).with_unshown(newest.as_ref());
    bench.restart();
    let fresh = crate::TapMachine::new(bench.machine.context().clone(), []);
    bench.machine = fresh.with_tickets(tickets);
}

#[test]
fn a_power_cut_before_the_green_light_gives_the_passage_once_and_no_second_ride() {
    let mut bench = bench(context(TapRole::Entry, "A"));
    bench.now = later(60);
    bench.dies_after = 1;
    assert_eq!(bench.scan(&text(1)), None, "durable, and dark");
    restart(&mut bench);
    bench.now = later(90);
    let passage = bench.scan(&text(1)).unwrap();
    assert_eq!(
        (passage.verdict, &*passage.notes),
        (Verdict::Granted, &[Note::EarlierTapFinished][..])
    );
    assert_eq!(bench.outcomes(), ["ticket"], "one use");
    bench.now = later(100);
    assert_eq!(word(&mut bench, &text(1)), "ticket-used", "given once");
    // After the window it is a ticket that was used.
    restart(&mut bench);
    bench.now = later(400);
    assert_eq!(word(&mut bench, &text(1)), "ticket-used");
}

#[test]
fn memory_is_bounded_and_what_cannot_be_remembered_is_refused() {
    let mut full = bench(context(TapRole::Board, "s1"));
    let mut taken = terms(0, TicketScope::Network);
    let tokens = (1..=REMEMBERED_MAX as u64).map(|serial| {
        taken.id.serial = serial.to_be_bytes();
        // The signature of our own log is not asked for again.
        TicketToken::new(&taken.to_bytes().unwrap(), &[0; 64])
    });
    full.machine = full.machine.with_tickets(tickets().with_taken(tokens.collect::<Vec<_>>()));
    full.now = later(60);
    assert_eq!(word(&mut full, &text(70_000)), "out-of-service", "refused, not forgotten");
    assert_eq!(full.machine.tickets().remembered(), REMEMBERED_MAX);
    // When they have ended, there is room again.
    let ends = 5400 + 3 * 3600;
    full.now = later(ends);
    let young = Ticket { valid_from: later(ends), ..terms(70_001, TicketScope::Network) };
    let young = to_text(&issue(&young, &signer()).unwrap());
    assert_eq!(word(&mut full, &young), "granted");
    assert_eq!(full.machine.tickets().remembered(), 1);
    // A clock that is set back brings none of them to life.
    full.now = later(60);
    let words = [word(&mut full, &text(5)), word(&mut full, &text(70_000))];
    assert_eq!(words, ["ticket-not-valid", "ticket-not-valid"]);
}
