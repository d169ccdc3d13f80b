//! What the validator's end does, step by step.

use alloc::{format, string::String, vec};
use core::{fmt::Write, time::Duration};

use expect_test::{Expect, expect};
use wire::Ack;

use super::*;
use crate::*;

const E: Epoch = Epoch(7);

struct Bench {
    uplink: Uplink,
    seen: String,
}

fn lane(pruned: u64, acked: u64, head: u64) -> Lane {
    let [pruned_through, acked, head] = [pruned, acked, head].map(TapSeq);
    Lane { epoch: E, pruned_through, acked, acked_at: Timestamp(0), head }
}

fn ack(through: u64, depot_s: u64) -> Ack {
    Ack {
        validator: validator(),
        epoch: E,
        acked_through: TapSeq(through),
        missing: vec![],
        depot_time: Timestamp::from_secs(depot_s),
    }
}

impl Bench {
    fn new(lane: Lane) -> Self {
        let config = UplinkConfig { batch_first: 2, batch_max: 8, ..UplinkConfig::default() };
        Self { uplink: Uplink::resume(config, [lane]), seen: String::new() }
    }

    fn linked(lane: Lane) -> Self {
        let mut bench = Self::new(lane);
        bench.uplink.handle_link(Timestamp(0), Link::Up { session_present: false });
        bench
    }

    /// Carries out what the uplink wants at second `s` and notes it under `what`.
    fn drain(&mut self, s: u64, what: &str) {
        let mut line = format!("{s}s {what}:");
        while let Some(output) = self.uplink.poll() {
            match output {
                Output::SendBatch { epoch, from, limit } => {
                    let through = TapSeq(from.0 + u64::from(limit) - 1);
                    write!(line, " send {from}-{through}").unwrap();
                    self.uplink.handle_sent(Timestamp::from_secs(s), epoch, through);
                }
                Output::Acked { through, .. } => write!(line, " acked {through}").unwrap(),
            }
        }
        if let Some(at) = self.uplink.wake_at() {
            write!(line, " (wake {})", at.secs()).unwrap();
        }
        self.seen += &line;
        self.seen.push('\n');
    }

    fn append(&mut self, s: u64, seq: u64) {
        self.uplink.handle_appended(E, TapSeq(seq));
        self.drain(s, "tap");
    }

    fn ack(&mut self, s: u64, through: u64) {
        self.uplink.handle_ack(Timestamp::from_secs(s), &ack(through, s)).unwrap();
        self.drain(s, "ack");
    }

    fn timeout(&mut self, s: u64) {
        self.uplink.handle_timeout(Timestamp::from_secs(s), Duration::ZERO);
        self.drain(s, "timeout");
    }

    fn check(&self, expect: &Expect) {
        expect.assert_eq(&self.seen);
    }
}

#[test]
fn an_idle_line_sends_each_tap_at_once_and_a_busy_one_gathers_them() {
    let mut bench = Bench::linked(lane(0, 0, 0));
    for seq in 1..=7 {
        bench.append(1, seq);
    }
    bench.ack(2, 1);
    bench.ack(2, 4);
    bench.ack(3, 7);
    bench.check(&expect![[r"
        1s tap: send 1-1 (wake 6)
        1s tap: send 2-2 (wake 6)
        1s tap: send 3-3 (wake 6)
        1s tap: send 4-4 (wake 6)
        1s tap: (wake 6)
        1s tap: (wake 6)
        1s tap: (wake 6)
        2s ack: acked 1 send 5-7 (wake 7)
        2s ack: acked 4 (wake 7)
        3s ack: acked 7
    "]]);
}

#[test]
fn a_backlog_goes_out_in_growing_batches_within_the_window() {
    let mut bench = Bench::linked(lane(0, 0, 100));
    bench.drain(0, "start");
    bench.ack(1, 2);
    bench.ack(2, 8);
    bench.ack(3, 20);
    bench.check(&expect![[r"
        0s start: send 1-2 send 3-4 send 5-6 send 7-8 (wake 5)
        1s ack: acked 2 send 9-12 (wake 6)
        2s ack: acked 8 send 13-20 send 21-28 send 29-36 (wake 7)
        3s ack: acked 20 send 37-44 send 45-52 (wake 8)
    "]]);
}

#[test]
fn a_lost_ack_is_retried_with_patience_and_one_batch_at_a_time() {
    let mut bench = Bench::linked(lane(0, 0, 9));
    bench.drain(0, "start");
    bench.timeout(4);
    bench.timeout(5);
    bench.timeout(15);
    bench.timeout(35);
    bench.timeout(75);
    bench.timeout(135);
    bench.ack(140, 2);
    bench.check(&expect![[r"
        0s start: send 1-2 send 3-4 send 5-6 send 7-8 (wake 5)
        4s timeout: (wake 5)
        5s timeout: send 1-2 (wake 15)
        15s timeout: send 1-2 (wake 35)
        35s timeout: send 1-2 (wake 75)
        75s timeout: send 1-2 (wake 135)
        135s timeout: send 1-2 (wake 195)
        140s ack: acked 2 send 3-6 send 7-9 (wake 145)
    "]]);
}

#[test]
fn nothing_is_sent_while_the_link_is_down_and_a_lost_session_is_sent_again() {
    let mut bench = Bench::new(lane(0, 0, 3));
    bench.drain(0, "not linked");
    for (s, link, what) in [
        (1, Link::Up { session_present: true }, "up"),
        (2, Link::Down, "down"),
        (3, Link::Up { session_present: true }, "up with session"),
        (4, Link::Down, "down"),
        (5, Link::Up { session_present: false }, "up without session"),
    ] {
        bench.uplink.handle_link(Timestamp::from_secs(s), link);
        bench.drain(s, what);
    }
    bench.check(&expect![[r"
        0s not linked:
        1s up: send 1-2 send 3-3 (wake 6)
        2s down:
        3s up with session: (wake 8)
        4s down:
        5s up without session: send 1-2 send 3-3 (wake 10)
    "]]);
}

#[test]
fn a_gap_that_the_depot_names_is_sent_again_once() {
    let mut bench = Bench::linked(lane(0, 0, 8));
    bench.drain(0, "start");
    let gap = Ack { missing: vec![(TapSeq(1), TapSeq(2))], ..ack(0, 1) };
    for s in 1..=3 {
        bench.uplink.handle_ack(Timestamp::from_secs(s), &gap).unwrap();
        bench.drain(s, "gap");
    }
    bench.ack(4, 8);
    bench.check(&expect![[r"
        0s start: send 1-2 send 3-4 send 5-6 send 7-8 (wake 5)
        1s gap: send 1-2 send 3-4 send 5-6 send 7-8 (wake 6)
        2s gap: (wake 6)
        3s gap: (wake 6)
        4s ack: acked 8
    "]]);
}

#[test]
fn a_late_ack_changes_nothing_and_a_restored_depot_gets_its_entries_again() {
    let mut bench = Bench::linked(lane(4, 4, 10));
    bench.ack(10, 10);
    bench.uplink.handle_ack(Timestamp::from_secs(11), &ack(6, 9)).unwrap();
    bench.drain(11, "late ack");
    bench.ack(12, 7);
    bench.check(&expect![[r"
        10s ack: acked 10
        11s late ack:
        12s ack: acked 7 send 8-10 (wake 17)
    "]]);
    let error = bench.uplink.handle_ack(Timestamp::from_secs(13), &ack(2, 13));
    let [acked, pruned_through] = [2, 4].map(TapSeq);
    assert_eq!(error, Err(ProtocolError::AlreadyPruned { epoch: E, acked, pruned_through }));
    bench.drain(13, "lost more than is kept");
    assert!(bench.seen.ends_with("acked 4 send 5-8 send 9-10 (wake 18)\n"), "{}", bench.seen);
}

#[test]
fn an_ack_above_the_head_says_that_the_log_was_rolled_back() {
    let mut bench = Bench::linked(lane(0, 0, 3));
    let error = bench.uplink.handle_ack(Timestamp(0), &ack(4, 1));
    let [acked, head] = [4, 3].map(TapSeq);
    assert_eq!(error, Err(ProtocolError::AckAheadOfHead { epoch: E, acked, head }));
    // A retained ack of a life that is gone says nothing.
    let gone = Ack { epoch: Epoch(6), ..ack(400, 1) };
    assert_eq!(bench.uplink.handle_ack(Timestamp(0), &gone), Ok(()));
}

#[test]
fn while_the_depot_is_away_one_batch_probes() {
    let mut bench = Bench::linked(lane(0, 0, 8));
    bench.uplink.handle_host(false);
    bench.drain(0, "away");
    bench.uplink.handle_host(true);
    bench.drain(1, "back");
    bench.check(&expect![[r"
        0s away: send 1-2 (wake 60)
        1s back: send 3-4 send 5-6 send 7-8 (wake 60)
    "]]);
}

#[test]
fn the_rest_of_an_old_life_and_the_present_one_do_not_wait_for_each_other() {
    let old = Lane { epoch: Epoch(3), ..lane(0, 0, 2) };
    let mut uplink = Uplink::resume(UplinkConfig::default(), [old, lane(0, 0, 0)]);
    uplink.handle_link(Timestamp(0), Link::Up { session_present: false });
    uplink.handle_appended(E, TapSeq(1));
    let mut sent = vec![];
    while let Some(output) = uplink.poll() {
        sent.push(output);
    }
    let batch = |epoch, limit| Output::SendBatch { epoch, from: TapSeq(1), limit };
    assert_eq!(sent, [batch(E, 1), batch(Epoch(3), 2)]);
    assert_eq!(uplink.backlog(), 3);
    let done = Ack { epoch: Epoch(3), ..ack(2, 1) };
    uplink.handle_ack(Timestamp(0), &done).unwrap();
    assert_eq!(uplink.backlog(), 1);
    assert_eq!(uplink.acked(), TapSeq(0));
}

#[test]
fn a_batch_cut_short_by_its_size_is_followed_by_the_rest() {
    let mut bench = Bench::linked(lane(0, 0, 2));
    let first = bench.uplink.poll();
    assert_eq!(first, Some(Output::SendBatch { epoch: E, from: TapSeq(1), limit: 2 }));
    bench.uplink.handle_sent(Timestamp(0), E, TapSeq(1));
    bench.drain(0, "rest");
    bench.uplink.handle_unreadable(E);
    bench.drain(1, "unreadable");
    bench.check(&expect![[r"
        0s rest: send 2-2 (wake 5)
        1s unreadable:
    "]]);
}
