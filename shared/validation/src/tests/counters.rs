//! Fare caps at the validator: what is read and counted on the card, what the log says, and what a
//! card that is pulled away keeps.

use alloc::{format, vec::Vec};
use core::time::Duration;

use card::VirtualCard;
use fare::{Tariff, TariffSet, rules::ZoneOffsets};
use model::{CardCounters, CounterUse, TapEvent, TapRole};

use super::{Bench, CITY, Cut, LogPace, NEVER, START, card, context, tearing::in_doubt};

const DAY_CAP: &str = r#"
day_starts = "04:00"

[[cap]]
number = 1
id = "day"
period = "day"
levels = [{ price = "4.00" }]
"#;

/// A bus whose tariff caps a day at 4.00.
fn capped() -> Bench {
    let zone = |_: &str| Some(ZoneOffsets::fixed(3600));
    let tariff = Tariff::parse_in(CITY, Some(DAY_CAP), &zone);
    let tariffs = TariffSet::new(tariff.unwrap_or_else(|found| panic!("{found:#?}")));
    let mut context = context(TapRole::Board, "s1");
    context.tariffs = tariffs;
    Bench::new(context)
}

fn counted(card: &VirtualCard) -> u32 {
    let counters = card.contents().unwrap().counters.unwrap();
    counters.0.iter().flatten().map(|counter| counter.counted).sum()
}

/// What the newest settled entry of the log says about the counters.
fn logged(bench: &Bench) -> Option<CounterUse> {
    match bench.log.last().unwrap().event {
        Some(TapEvent::Committed { transaction, .. } | TapEvent::Confirmed { transaction, .. }) => {
            transaction.counters
        }
        other => panic!("{other:?}"),
    }
}

/// Rides on an hourly bus until the day's cap is reached.
#[test]
fn a_day_is_counted_on_the_card_until_its_cap_is_reached() {
    let (mut bench, mut card) = (capped(), card(1, 2000));
    let mut seen = Vec::new();
    let mut left = CardCounters::EMPTY;
    for _ in 0..4 {
        let passage = bench.tap(&mut card, NEVER).unwrap();
        assert!(passage.is_granted(), "{passage:?}");
        let used = logged(&bench).expect("a tariff with caps reads the counters");
        assert_eq!(used.found, left, "they go on where they were left");
        left = used.left();
        assert_eq!(card.contents().unwrap().counters, Some(left));
        seen.push((passage.charge.minor(), counted(&card), used.written.is_some()));
        let shown: Vec<_> =
            passage.caps.iter().map(|cap| (cap.counted.minor(), cap.limit.minor())).collect();
        assert_eq!(shown, [(i64::from(counted(&card)), 400)], "the rider sees what is counted");
        bench.now = bench.now.plus(Duration::from_secs(3 * 3600));
    }
    assert_eq!(
        seen,
        [(150, 150, true), (150, 300, true), (100, 400, true), (0, 400, false)],
        "written only when they change"
    );
    bench.now = START.plus(Duration::from_secs(86_400));
    assert_eq!(bench.tap(&mut card, NEVER).unwrap().charge.minor(), 150, "another day");
    assert_eq!(counted(&card), 150);
}

#[test]
fn where_nothing_is_capped_the_counters_are_neither_read_nor_written() {
    let (mut bench, mut card) = (Bench::boarding(), card(1, 2000));
    assert_eq!(bench.tap(&mut card, NEVER).unwrap().charge.minor(), 150);
    assert_eq!((logged(&bench), counted(&card)), (None, 0));
}

#[test]
fn a_card_that_is_pulled_away_anywhere_is_counted_once_and_its_log_entry_proves_it() {
    let exchanges = 9;
    for at in 0..exchanges {
        for (heard, pace) in [
            (false, LogPace::Fast),
            (false, LogPace::Slow),
            (true, LogPace::Fast),
            (true, LogPace::Slow),
        ] {
            let why = format!("exchange {at}, heard {heard}, {pace:?}");
            let (mut bench, mut card) = (capped(), card(1, 2000));
            bench.pace = pace;
            assert!(!bench.tap(&mut card, Cut { at, heard }).unwrap().is_granted(), "{why}");
            bench.now = bench.now.plus(Duration::from_secs(2));
            let again = bench.tap(&mut card, NEVER).unwrap();
            assert!(again.is_granted(), "{why}: {again:?}");
            assert_eq!(again.caps.len(), 1, "{why}: {again:?}");
            let contents = card.contents().unwrap();
            assert_eq!((contents.balance, contents.records.len()), (1850, 2), "{why}");
            assert_eq!((counted(&card), in_doubt(&bench)), (150, 0), "{why}");
            let used = logged(&bench).unwrap();
            assert_eq!(used.found, CardCounters::EMPTY, "{why}");
            assert_eq!(Some(used.left()), contents.counters, "{why}");
        }
    }
    let past_the_end = Cut { at: exchanges, heard: false };
    assert!(capped().tap(&mut card(1, 2000), past_the_end).unwrap().is_granted(), "nine in all");
}
