//! The hotlist: its bytes, a look-up beside a plain sorted list, a delta on the wire and applied.
//! Ends with the row that the requirement asks for (REC-7), as docs/BENCHMARKS.md has it.

use std::{hint::black_box, time::Duration};

use fleet_sync::{content_pin, open_list, seal_list};
use lists::Hotlist;
use model::CardId;
use wire::{HeldList, ListKey, ListKind};

use crate::measure::{
    each, grouped, headline, line, middle_of_five, ratio, say, short, thread_cpu,
};

/// Cards of one maker, as far apart as the numbers of real ones.
fn cards(count: u64) -> Vec<CardId> {
    let mut state = 1_u64;
    (0..count)
        .map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let mut card = [4; 7];
            card[1..].copy_from_slice(&(state ^ state >> 29).to_be_bytes()[2..]);
            CardId(card)
        })
        .collect()
}

/// The bytes of a hotlist of so many cards.
pub(crate) fn of(count: u64) -> Vec<u8> {
    Hotlist::new(cards(count)).content().to_vec()
}

pub(crate) fn run(quick: bool) {
    let count = if quick { 10_000 } else { 1_000_000 };
    headline(&format!("hotlist of {} cards", grouped(count)));
    let all = cards(count + 500);
    let list = Hotlist::new(all.iter().skip(500).copied());
    let mut sorted: Vec<CardId> = all.iter().skip(500).copied().collect();
    sorted.sort_unstable();
    let share = ratio(list.resident() as u128, 7 * sorted.len() as u128);
    let bytes = format!("{} in memory, {share} of a sorted list", grouped(list.resident() as u64));
    line("bytes", &bytes);

    // Cards that are listed and cards that are not, by turns, in no order.
    let asked: Vec<CardId> =
        all.iter().rev().step_by(2).copied().chain(cards(count / 2)).take(200_000).collect();
    let look_ups = asked.len() as u64;
    let found = |hit: &dyn Fn(&CardId) -> bool| {
        middle_of_five(|| thread_cpu(|| asked.iter().filter(|c| hit(black_box(c))).count()).1)
    };
    let by_list = each(found(&|card| list.contains(*card)), look_ups);
    let by_halving = each(found(&|card| sorted.binary_search(card).is_ok()), look_ups);
    let same = asked.iter().all(|c| list.contains(*c) == sorted.binary_search(c).is_ok());
    assert!(same, "both know the same cards");
    let times = ratio(by_list.as_nanos(), by_halving.as_nanos());
    line("one look-up", &format!("{}, {times} of halving a list", short(by_list)));

    let newer = Hotlist::new(all.iter().take(usize::try_from(count).unwrap_or(0)).copied());
    let delta = list.delta(&newer);
    line("delta of 500 new and 500 gone", &format!("{} bytes", grouped(delta.len() as u64)));
    let applied = middle_of_five(|| {
        let (applied, took) = thread_cpu(|| list.apply(&delta));
        assert_eq!(applied.as_ref(), Ok(&newer), "a delta leads to the newer list");
        took
    });
    let (anew, coded) = thread_cpu(|| Hotlist::build(newer.iter()));
    assert_eq!(anew, newer);
    let times = ratio(applied.as_nanos(), coded.as_nanos());
    line("applied", &format!("{}, {times} of coding it anew", short(applied)));
    let (read, parsed) = thread_cpu(|| Hotlist::parse(newer.content().to_vec()));
    assert_eq!(read.as_ref(), Ok(&newer));
    line("read from the disk and checked", &short(parsed));
    let (pin, took) = thread_cpu(|| content_pin(newer.content()));
    line("hashed", &format!("{}, {} bytes", short(took), grouped(u64::from(pin.length))));
    sealed(&list, &newer, &delta);
    row(count, &list, delta.len(), by_list, applied);
}

/// The same delta sealed for the fleet: opened, applied, and the result sealed to be compared with
/// what the manifest pins (ADR-0032), beside what a readable one takes.
fn sealed(list: &Hotlist, newer: &Hotlist, delta: &[u8]) {
    let key = ListKey { number: 1, secret: [5; 32] };
    let of = HeldList { kind: ListKind::HOTLIST, version: 2 };
    let on_the_wire = seal_list(&key, of, Some(1), delta);
    let longer = on_the_wire.len() - delta.len();
    line("the delta sealed", &format!("{longer} bytes more on the wire"));
    let pinned = content_pin(&seal_list(&key, of, None, newer.content()));
    let readable = middle_of_five(|| {
        let (found, took) =
            thread_cpu(|| list.apply(delta).map(|list| content_pin(list.content())));
        assert_eq!(found, Ok(content_pin(newer.content())));
        took
    });
    let opened = middle_of_five(|| {
        let came = on_the_wire.clone();
        let (found, took) = thread_cpu(|| {
            let delta = open_list(&key, of, Some(1), came).unwrap_or_default();
            let newer = list.apply(&delta);
            newer.map(|newer| content_pin(&seal_list(&key, of, None, newer.content())))
        });
        assert_eq!(found, Ok(pinned), "its sealed form is the one that is pinned");
        took
    });
    let times = ratio(opened.as_nanos(), readable.as_nanos());
    line("opened, applied, compared", &format!("{}, {times} of a readable one", short(opened)));
}

/// The four figures of REC-7 as one row of a table.
fn row(count: u64, list: &Hotlist, delta: usize, look_up: Duration, applied: Duration) {
    let columns = ["bytes (≤ 4 MB)", "look-up (< 1 µs)", "delta of 1,000 (≤ 20 KB)"];
    say(&format!("| cards | {} | applied (< 100 ms) |", columns.join(" | ")));
    say("|---|---|---|---|---|");
    let (bytes, delta) = (grouped(list.resident() as u64), grouped(delta as u64));
    let (look_up, applied) = (short(look_up), short(applied));
    say(&format!("| {} | {bytes} | {look_up} | {delta} | {applied} |", grouped(count)));
}
