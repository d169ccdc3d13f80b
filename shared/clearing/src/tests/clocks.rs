//! Clocks that disagree: who is named, in whatever order it becomes known.

use alloc::{format, string::String, vec::Vec};

use model::{
    CardId, CardRecord, ClockQuality, Ctr, RecordKind, RouteIx, ServiceDate, TapRecord, TapSeq,
    Timestamp, ValidatorId,
};
use proptest::{prelude::*, sample::Index};

use super::{History, Ride, committed, confirmed, in_doubt, rules};
use crate::{CLOCKS_APART_S, ClockDay, ClockGap, Exception};

const DAY_S: u32 = 86_400;
const NOON: u32 = 1_800_014_400;
const YEAR_S: i64 = 365 * 86_400;
const NOW: Timestamp = Timestamp(1);

fn validator(number: u32) -> ValidatorId {
    ValidatorId::new(number).unwrap()
}

/// A ride's entry: found on a card what `from` wrote at one time, and wrote at another.
fn entry(card: u8, from: (u32, u32), to: (u32, u32)) -> TapRecord {
    let rules = rules();
    let mut history = History::issued(2000);
    history.ride(&rules, Ride::Board(RouteIx(0)));
    history.ride(&rules, Ride::Board(RouteIx(0)));
    let written = |record: CardRecord, (number, at_s): (u32, u32)| CardRecord {
        validator: validator(number),
        at_s,
        ..record
    };
    for (at, by) in [(1, from), (2, to)] {
        history.records[at] = written(history.records[at], by);
    }
    let tap = history.committed(3);
    TapRecord { card: Some(CardId([card; 7])), validator: validator(to.0), ..tap }
}

fn shown(items: &[Exception]) -> Vec<String> {
    let line = |item: &Exception| {
        let named = item.validator.unwrap().number();
        let what = item.finding.split(": ").next().unwrap();
        format!("{named} {what}")
    };
    items.iter().map(line).collect()
}

/// The day of these gaps, each (card, from validator, to validator, seconds apart).
fn day(gaps: &[(u8, u32, u32, u32)]) -> ClockDay {
    ClockDay::new(gaps.iter().map(|(card, from, to, apart)| {
        ClockGap::of(&entry(*card, (*from, NOON + apart), (*to, NOON))).unwrap()
    }))
}

#[test]
fn rec_17_only_clocks_that_somebody_set_and_rides_by_two_validators_tell() {
    let late = NOON + CLOCKS_APART_S + 1;
    let tap = entry(1, (1, late), (2, NOON));
    let gap = ClockGap::of(&tap).unwrap();
    assert_eq!(gap.apart_s(), CLOCKS_APART_S + 1);
    let pair = gap.pair();
    assert_eq!(
        (pair.day, pair.ahead, pair.behind),
        (ServiceDate(NOON / DAY_S), validator(1), validator(2))
    );
    assert_eq!(ClockGap::from_bytes(&gap.to_bytes().unwrap()), Some(gap));

    assert_eq!(ClockGap::of(&entry(1, (1, late - 1), (2, NOON))), None, "within the bound");
    assert_eq!(ClockGap::of(&entry(1, (1, NOON), (2, late))), None, "in order");
    assert_eq!(ClockGap::of(&entry(1, (1, late), (1, NOON))), None, "one clock that was set");
    for clock in [ClockQuality::Unknown, ClockQuality::Saved] {
        assert_eq!(ClockGap::of(&TapRecord { clock, ..tap }), None, "nobody set it");
    }
    let transaction = *crate::transaction(&tap).unwrap();
    for event in [confirmed(transaction), in_doubt(transaction)] {
        assert_eq!(ClockGap::of(&TapRecord { event, ..tap }), None, "of another moment");
    }
    let kinds = [RecordKind::Issue, RecordKind::Load, RecordKind::LoadInJourney];
    for kind in kinds {
        let mut desk = transaction;
        desk.before.kind = kind;
        assert_eq!(ClockGap::of(&TapRecord { event: committed(desk), ..tap }), None, "{kind:?}");
        let mut desk = transaction;
        desk.after.kind = kind;
        assert_eq!(ClockGap::of(&TapRecord { event: committed(desk), ..tap }), None, "{kind:?}");
    }
}

#[test]
fn rec_17_the_clock_is_named_that_more_validators_contradict() {
    assert_eq!(
        shown(&day(&[(1, 1, 2, 1200)]).open(NOW)),
        ["2 its clock is 20 minutes behind that of v000001, and nobody else says which is right"]
    );
    let ahead = [(1, 1, 2, 1200), (2, 1, 3, 2 * DAY_S)];
    assert_eq!(
        shown(&day(&ahead).open(NOW)),
        ["1 its clock is 2 days ahead of that of 2 other validators"]
    );
    let behind = [(1, 2, 1, 8000), (2, 3, 1, 7300)];
    assert_eq!(
        shown(&day(&behind).open(NOW)),
        ["1 its clock is 2 hours behind that of 2 other validators"]
    );
    // 5 is right, and meets one that is ahead and one that is behind.
    let both =
        [(1, 1, 5, 1200), (2, 1, 6, 1200), (3, 5, 2, 1200), (4, 6, 2, 1200), (5, 1, 2, 2400)];
    assert_eq!(
        shown(&day(&both).open(NOW)),
        [
            "1 its clock is 40 minutes ahead of that of 3 other validators",
            "2 its clock is 20 minutes behind that of 2 other validators"
        ]
    );
}

#[test]
fn rec_17_an_item_names_the_taps_and_both_times() {
    let items = day(&[(1, 1, 2, 366 * DAY_S), (2, 1, 3, 365 * DAY_S)]).open(NOW);
    assert_eq!(
        items[0].finding,
        "its clock is 366 days ahead of that of 2 other validators: record 2 says 2028-01-16 \
         12:00:00 UTC and was on a card when record 3 was written at 2027-01-15 12:00:00 UTC"
    );
    assert_eq!((items[0].card, items[0].amount), (None, None));
    let times: Vec<u32> = items[0].evidence.iter().map(|e| e.record.unwrap().at_s).collect();
    assert_eq!(times, [NOON + 366 * DAY_S, NOON, NOON + 365 * DAY_S, NOON]);
}

/// A city: validators of which some are off, and cards that ride on them one after the other.
fn city() -> impl Strategy<Value = (Vec<i64>, Vec<(u8, usize)>)> {
    let offset = prop_oneof![
        6 => Just(0_i64),
        1 => prop_oneof![Just(YEAR_S), Just(-YEAR_S), Just(1000), Just(-1000)],
    ];
    proptest::collection::vec(offset, 3..9).prop_flat_map(|offsets| {
        let rides = (0..4_u8, 0..offsets.len());
        (Just(offsets), proptest::collection::vec(rides, 0..60))
    })
}

/// What the rides show, in the order of riding.
fn taps(offsets: &[i64], rides: &[(u8, usize)]) -> Vec<ClockGap> {
    let mut newest = alloc::collections::BTreeMap::new();
    let mut gaps = Vec::new();
    for (n, (card, on)) in rides.iter().enumerate() {
        let at = i64::from(NOON) + 60 * i64::try_from(n).unwrap() + offsets[*on];
        let here = (u32::try_from(*on).unwrap() + 1, u32::try_from(at).unwrap());
        if let Some((from, ctr)) = newest.insert(*card, (here, n)) {
            let mut tap = entry(*card, from, here);
            if let model::TapEvent::Committed { transaction, .. } = &mut tap.event {
                transaction.before.ctr = Ctr(u32::try_from(ctr).unwrap());
                transaction.after.ctr = Ctr(u32::try_from(n).unwrap());
            }
            tap.seq = TapSeq(n as u64 + 1);
            gaps.extend(ClockGap::of(&tap));
        }
    }
    gaps
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn rec_17_in_whatever_order_and_however_often_taps_come_the_same_items_are_open(
        (offsets, rides) in city(),
        draws in proptest::collection::vec(any::<Index>(), 0..200),
    ) {
        let gaps = taps(&offsets, &rides);
        let by_day = |gaps: &[ClockGap]| {
            let mut days = alloc::collections::BTreeMap::<_, Vec<ClockGap>>::new();
            for gap in gaps {
                days.entry(gap.pair().day).or_default().push(*gap);
            }
            days
        };
        let mut order = gaps.clone();
        if !gaps.is_empty() {
            order.extend(draws.iter().map(|draw| *draw.get(&gaps)));
        }
        for (at, draw) in (0..order.len()).zip(&draws) {
            order.swap(at, draw.index(gaps.len().max(1)).min(gaps.len().saturating_sub(1)));
        }
        for (day, once) in by_day(&gaps) {
            let expected = ClockDay::new(once.iter().copied());
            // One by one, with the changes of each step.
            let (mut now, mut open) = (ClockDay::default(), Vec::new());
            for gap in by_day(&order).remove(&day).unwrap_or_default() {
                let mut next = now.clone();
                next.learn(gap);
                for change in now.changes(&next, NOW) {
                    let id = change.id();
                    let known = open.iter().position(|item: &Exception| item.id == id);
                    match (change, known) {
                        (crate::ExceptionChange::Opened(item), None) => open.push(item),
                        (crate::ExceptionChange::Changed(item), Some(at)) => open[at] = item,
                        (crate::ExceptionChange::Resolved { .. }, Some(at)) => {
                            open.remove(at);
                        }
                        (change, known) => prop_assert!(false, "{change:?} of {known:?}"),
                    }
                }
                now = next;
            }
            open.sort_by_key(|item| item.id);
            let mut right = expected.open(NOW);
            right.sort_by_key(|item| item.id);
            prop_assert_eq!(&open, &right);
            prop_assert_eq!(&now, &expected);
        }
    }

    #[test]
    fn rec_17_clocks_that_agree_open_nothing_and_every_disagreement_is_in_an_item(
        (offsets, rides) in city(),
    ) {
        prop_assert!(taps(&alloc::vec![0; offsets.len()], &rides).is_empty());
        let gaps = taps(&offsets, &rides);
        for gap in &gaps {
            let pair = gap.pair();
            let off = |id: ValidatorId| offsets[id.number() as usize - 1];
            prop_assert!(off(pair.ahead) > off(pair.behind), "of two, one is off");
        }
        for gap in &gaps {
            let same = gaps.iter().filter(|other| other.pair().day == gap.pair().day);
            let open = ClockDay::new(same.copied()).open(NOW);
            let pair = gap.pair();
            let told = open.iter().any(|item| {
                item.validator == Some(pair.ahead) || item.validator == Some(pair.behind)
            });
            prop_assert!(told, "{:?} is in no item", pair);
        }
    }
}
