//! One row, one rule: what the card and the place say, and what the rider is told.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes its snapshots so")]

use alloc::{format, string::String, vec, vec::Vec};
use core::fmt::Write as _;
use core::time::Duration;

use card::CardFound;
use expect_test::{Expect, expect};
use model::{CardId, CardRecord, Companions, Money, RecordKind, Timestamp, ValidUntil};

use super::{Bench, NEVER, START, card, context, keys};
use crate::{Hotlist, Note, Output, PassageClass, Presented, Rules, Verdict, decide::decide};

/// A card without products.
fn plain(record: CardRecord) -> CardFound {
    CardFound { record, purse: None, products: None, counters: None }
}

/// Rows of `role place | last kind at minute | balance | valid | hotlist`, decided at minute 0.
fn check(rows: &str, expected: &Expect) {
    let mut out = String::new();
    let newest = card(1, 0).contents().unwrap().records.pop().unwrap();
    for row in rows.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let words: Vec<&str> = row.split_whitespace().collect();
        let [role, place, last, minute, balance, valid, hotlist] = words[..] else {
            panic!("{row}")
        };
        let mut context = context(role.parse().unwrap(), place);
        let uid = CardId([4, 1, 2, 3, 4, 5, 1]);
        if hotlist == "hot" {
            context.hotlist = Hotlist::new([uid]);
        }
        let mut before = newest;
        before.kind = match last {
            "issue" | "full" => RecordKind::Issue,
            "board" => RecordKind::Board,
            "entry" => RecordKind::Entry,
            "exit" => RecordKind::Exit,
            "load" => RecordKind::Load,
            other => panic!("{other}"),
        };
        if last == "full" {
            before.ctr = model::Ctr((1 << 24) - 1);
        }
        let minutes: i64 = minute.parse().unwrap();
        before.at_s = u32::try_from(1_800_000_000 + minutes * 60).unwrap();
        before.validator = context.id;
        before.place = context.place;
        let eur = context.tariffs.newest().currency();
        before.balance = i32::try_from(Money::parse(balance, eur).unwrap().minor()).unwrap();
        before.valid_until =
            if valid == "ended" { ValidUntil::Month(20) } else { ValidUntil::Always };
        let answer = match decide(&context, uid, &plain(before), Companions::NONE, START) {
            Ok(decision) => {
                let after = decision.after;
                assert_eq!(after.ctr.0, before.ctr.0 + 1);
                assert_eq!(after.balance_before(), i64::from(before.balance));
                assert_eq!(i64::from(after.amount), decision.quote.charge.minor());
                format!("granted {} left {}", decision.quote.charge.decimal(), after.balance)
            }
            Err(denied) => format!("refused {}", denied.reason.word()),
        };
        writeln!(out, "{row} => {answer}").unwrap();
    }
    expected.assert_eq(&out);
}

#[test]
fn refusals_in_order_of_precedence() {
    // From the top, each row has one reason fewer; the last has none.
    check(
        "exit  A full  -1  0.00 ended hot
         exit  A full  -1  0.00 ended -
         exit  A full  -1  0.00 valid -
         exit  A issue -1  0.00 valid -
         entry A entry -1  0.00 valid -
         entry A exit  -1  2.99 valid -
         entry A exit  -1  3.00 valid -",
        &expect![[r#"
            exit  A full  -1  0.00 ended hot => refused hotlisted
            exit  A full  -1  0.00 ended - => refused card-expired
            exit  A full  -1  0.00 valid - => refused card-data-invalid
            exit  A issue -1  0.00 valid - => refused no-entry
            entry A entry -1  0.00 valid - => refused double-entry
            entry A exit  -1  2.99 valid - => refused insufficient-value
            entry A exit  -1  3.00 valid - => granted 0.00 left 300
        "#]],
    );
}

#[test]
fn a_card_is_good_for_its_last_day_where_the_bus_runs_and_for_the_way_out_of_it() {
    // The service day of 15 January ends at four in the morning, in Berlin.
    let over = Timestamp::from_secs(1_800_068_400);
    let zone = |_: &str| Some(fare::rules::ZoneOffsets::fixed(3600));
    let tariff = fare::Tariff::parse_in(super::CITY, Some("day_starts = \"04:00\""), &zone);
    let tariffs = fare::TariffSet::new(tariff.unwrap());
    let newest = card(1, 900).contents().unwrap().records.pop().unwrap();
    let decided = |role: &str, kind, until: &str, at: Timestamp| {
        let mut context = context(role.parse().unwrap(), "A");
        context.tariffs = tariffs.clone();
        let at_s = u32::try_from(over.secs() - 600).unwrap();
        let valid_until = until.parse().unwrap();
        let before = CardRecord { kind, at_s, valid_until, place: context.place, ..newest };
        let uid = CardId([4, 1, 2, 3, 4, 5, 1]);
        match decide(&context, uid, &plain(before), Companions::NONE, at) {
            Ok(decision) => {
                assert_eq!(decision.after.valid_until, valid_until, "every record carries it");
                "granted"
            }
            Err(denied) => denied.reason.word(),
        }
    };
    let before = Timestamp(over.0 - 1);
    for (role, kind, until, at, answer) in [
        ("entry", RecordKind::Exit, "2027-01-15", before, "granted"),
        ("entry", RecordKind::Exit, "2027-01-15", over, "card-expired"),
        ("entry", RecordKind::Exit, "2027-01-16", over, "granted"),
        ("entry", RecordKind::Exit, "2027-01", over, "granted"),
        ("entry", RecordKind::Exit, "2026-12", over, "card-expired"),
        ("exit", RecordKind::Entry, "2027-01-15", over, "granted"),
        ("exit", RecordKind::LoadInJourney, "2027-01-15", over, "granted"),
        ("exit", RecordKind::Exit, "2027-01-15", over, "card-expired"),
        ("exit", RecordKind::Entry, "2027-01-14", over, "card-expired"),
        ("entry", RecordKind::Entry, "2027-01-15", over, "card-expired"),
    ] {
        assert_eq!(decided(role, kind, until, at), answer, "{role} {kind:?} {until} {at:?}");
    }
}

#[test]
fn each_role_charges_what_its_tariff_says() {
    check(
        "board s1 issue   -1 1.50 valid -
         board s1 issue   -1 1.49 valid -
         board s1 board   -1 9.00 valid -
         board s1 board   -2 9.00 valid -
         entry A  load    -1 9.00 valid -
         entry A  entry -100 9.00 valid -
         exit  A  entry   -9 9.00 valid -
         exit  A  entry -121 9.00 valid -
         entry s1 issue   -1 9.00 valid -",
        &expect![[r#"
            board s1 issue   -1 1.50 valid - => granted 1.50 left 0
            board s1 issue   -1 1.49 valid - => refused insufficient-value
            board s1 board   -1 9.00 valid - => refused double-entry
            board s1 board   -2 9.00 valid - => granted 1.50 left 750
            entry A  load    -1 9.00 valid - => granted 0.00 left 900
            entry A  entry -100 9.00 valid - => granted 3.00 left 600
            exit  A  entry   -9 9.00 valid - => granted 2.00 left 700
            exit  A  entry -121 9.00 valid - => granted 3.00 left 600
            entry s1 issue   -1 9.00 valid - => refused not-valid-here
        "#]],
    );
}

#[test]
fn a_clock_that_nobody_set_neither_expires_a_journey_nor_goes_backwards_on_the_card() {
    let mut context = context(model::TapRole::Exit, "B");
    context.clock = model::ClockQuality::Unknown;
    let mut before = card(1, 900).contents().unwrap().records.pop().unwrap();
    before.kind = RecordKind::Entry;
    before.place = context.tariffs.newest().place_ix("A").unwrap();
    before.at_s = 1_800_000_000;
    let lost = Timestamp::from_secs(86_400);
    let decision =
        decide(&context, CardId([4; 7]), &plain(before), Companions::NONE, lost).unwrap();
    assert_eq!(decision.after.at_s, before.at_s);
    assert_eq!(decision.quote.charge.minor(), 300, "A to B, not the maximum for years inside");
    context.clock = model::ClockQuality::Ntp;
    let decision =
        decide(&context, CardId([4; 7]), &plain(before), Companions::NONE, lost).unwrap();
    assert_eq!(decision.after.at_s, 86_400, "a good clock is believed");
}

#[test]
fn the_rider_is_told_what_it_cost_and_why() {
    let mut bench = Bench::boarding();
    let mut context = bench.machine.context().clone();
    context.rules = Rules { low_balance: 100, ..context.rules };
    bench.machine.replace_context(context);
    let mut card = card(1, 240);
    let passage = bench.tap(&mut card, NEVER).unwrap();
    assert_eq!((passage.verdict, passage.class()), (Verdict::Granted, PassageClass::B));
    assert_eq!(passage.notes, [Note::LowBalance]);
    assert_eq!((passage.charge.minor(), passage.balance.unwrap().minor()), (150, 90));
    assert_eq!(passage.steps[0].text(), "Bus 7: Bus single");
    bench.now = bench.now.plus(Duration::from_secs(61));
    let passage = bench.tap(&mut card, NEVER).unwrap();
    assert_eq!((passage.class(), passage.assist_code()), (PassageClass::D, Some(24)));
    assert_eq!(passage.balance.unwrap().minor(), 90);
    assert_eq!(card.contents().unwrap().balance, 90);
    assert_eq!(bench.outcomes(), ["committed", "insufficient-value"]);
}

/// Drives the machine without a card to its answer.
fn without_card(bench: &mut Bench, presented: Presented) -> Vec<Output> {
    bench.machine.handle_presented(START, presented);
    let mut outputs = vec![];
    while let Some(output) = bench.machine.poll() {
        if matches!(output, Output::LogOutcome { .. }) {
            bench.machine.handle_outcome_durable();
        }
        outputs.push(output);
    }
    outputs
}

#[test]
fn two_cards_or_a_foreign_one_are_answered_without_a_word_to_them() {
    let mut bench = Bench::boarding();
    for (presented, class) in
        [(Presented::Several, PassageClass::C), (Presented::Foreign, PassageClass::D)]
    {
        let outputs = without_card(&mut bench, presented);
        let [Output::LogOutcome { draft, .. }, Output::Show(passage), Output::Done] = &outputs[..]
        else {
            panic!("{outputs:?}")
        };
        assert_eq!((passage.class(), draft.card), (class, None));
    }
}

#[test]
fn a_card_of_another_issuer_is_foreign_and_a_blank_one_too() {
    let mut bench = Bench::boarding();
    let mut blank = card::VirtualCard::blank(CardId([4; 7]), [1; 16]);
    assert_eq!(bench.tap(&mut blank, NEVER).unwrap().assist_code(), Some(10));
    let uid = CardId([4, 9, 9, 9, 9, 9, 9]);
    let other = card::KeySet::from_root(&card::Key([8; 16]));
    let opening = card::Opening {
        issuer: 2,
        currency: *b"EUR",
        class: model::RiderClass(0),
        valid_until: ValidUntil::Always,
        balance: 900,
        negative_limit: 0,
        deposit: 0,
        at_s: 0,
        tariff: model::TariffVersion(1),
        products: None,
        layout: model::CardLayout::Plain,
    };
    let (mut foreign, _) = card::VirtualCard::issue(uid, [2; 16], &other, &opening).unwrap();
    assert_eq!(bench.tap(&mut foreign, NEVER).unwrap().assist_code(), Some(10));
    assert_eq!(bench.outcomes(), ["foreign-card", "foreign-card"]);
}

#[test]
fn after_a_failed_write_no_card_is_touched_and_no_passage_granted() {
    let mut bench = Bench::boarding();
    let mut card = card(1, 900);
    // The intent is asked for; the log answers that it cannot.
    let key = card::CardKeys::debit_key(&keys(), &card.uid()).unwrap();
    let presented = Presented::Card { card: card.uid(), key, rnd_a: [1; 16], order: None };
    bench.machine.handle_presented(START, presented);
    while let Some(output) = bench.machine.poll() {
        match output {
            Output::Transmit(apdu) => {
                let answer = card.handle_apdu(&apdu);
                bench.machine.handle_response(Ok(&answer), Duration::ZERO);
            }
            Output::LogIntent { .. } => {}
            Output::NeedKey { .. }
            | Output::LogOutcome { .. }
            | Output::LogResolution { .. }
            | Output::Late(_)
            | Output::Show(_)
            | Output::PresentAgain
            | Output::Companions(_)
            | Output::Done => panic!("nothing else before the log has answered"),
        }
    }
    bench.machine.handle_log_failed();
    let shown = bench.machine.poll();
    let Some(Output::Show(passage)) = shown else { panic!("{shown:?}") };
    assert_eq!((passage.class(), passage.assist_code()), (PassageClass::E, Some(90)));
    assert_eq!(bench.machine.poll(), Some(Output::Done));
    assert_eq!(card.contents().unwrap().balance, 900, "written, never committed");
    let next = bench.tap(&mut card, NEVER).unwrap();
    assert_eq!(next.verdict, Verdict::OutOfService);
    assert!(bench.log.is_empty(), "nothing is promised, nothing is recorded");
}
