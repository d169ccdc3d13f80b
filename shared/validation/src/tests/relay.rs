//! Cards that answer too late: refused while nothing has moved, believed once it has (SEC-5).

use alloc::{vec, vec::Vec};
use core::time::Duration;

use card::CardStep;
use model::{Refusal, TapEvent, TapRole};

use super::{Bench, Cut, LogPace, NEVER, card, context};
use crate::{PassageClass, RelayGuard, Verdict};

/// Select, authenticate (2), read, debit, write, commit.
const EXCHANGES: usize = 7;
const COMMIT: usize = EXCHANGES - 1;
/// What the longest answer takes on the way, and more.
const FAR: Duration = Duration::from_millis(140);
/// A slow card, in the field of a loaded validator, within what is allowed.
const NEAR: Duration = Duration::from_millis(35);

fn refused() -> Verdict {
    Verdict::TryAgain(Refusal::TooSlow)
}

#[test]
fn a_late_answer_before_the_commit_is_refused_and_nothing_is_written() {
    for (at, pace) in
        (0..COMMIT).flat_map(|at| [LogPace::Fast, LogPace::Slow].map(move |pace| (at, pace)))
    {
        let mut bench = Bench { pace, ..Bench::boarding() };
        bench.took = vec![Duration::ZERO; at];
        bench.took.push(FAR);
        let mut card = card(1, 900);
        let passage = bench.tap(&mut card, NEVER).unwrap();
        assert_eq!(passage.verdict, refused(), "exchange {at}");
        assert_eq!((passage.class(), passage.assist_code()), (PassageClass::C, Some(45)));
        assert_eq!(bench.late.len(), 1, "exchange {at}");
        assert!(bench.late[0].took > bench.late[0].allowed);
        assert_eq!(bench.debited(), 0, "exchange {at}");
        assert!(bench.machine.is_idle());

        // The same card by itself, a moment later: nothing was left on it.
        bench.took.clear();
        bench.now = bench.now.plus(Duration::from_secs(2));
        assert!(bench.tap(&mut card, NEVER).unwrap().is_granted(), "exchange {at}");
        assert_eq!(card.contents().unwrap().balance, 750, "exchange {at}: charged once");
        assert_eq!(bench.debited(), 150, "exchange {at}");
    }
}

#[test]
fn a_relay_that_adds_little_to_every_exchange_is_refused_by_their_sum() {
    let mut bench = Bench::boarding();
    bench.took = vec![Duration::from_millis(60); EXCHANGES];
    let mut card = card(1, 900);
    assert_eq!(bench.tap(&mut card, NEVER).unwrap().verdict, refused());
    assert_eq!(card.contents().unwrap().balance, 900);
    assert!(bench.late[0].took < FAR, "no single one would have been late: {:?}", bench.late);
}

#[test]
fn a_slow_but_honest_card_passes() {
    let mut bench = Bench::boarding();
    bench.took = vec![NEAR; EXCHANGES];
    let mut card = card(1, 900);
    assert!(bench.tap(&mut card, NEVER).unwrap().is_granted());
    assert!(bench.late.is_empty(), "{:?}", bench.late);
    // One hiccup of the host, just within the slack.
    let guard = RelayGuard::at_baud(115_200, RelayGuard::SLACK);
    bench.took[3] = guard.honest(CardStep::Read, 0) + RelayGuard::SLACK;
    bench.now = bench.now.plus(Duration::from_secs(600));
    assert!(bench.tap(&mut card, NEVER).unwrap().is_granted());
    assert!(bench.late.is_empty(), "{:?}", bench.late);
}

#[test]
fn a_late_answer_to_the_commit_counts_and_is_told_of() {
    let mut bench = Bench::boarding();
    bench.took = vec![Duration::ZERO; COMMIT];
    bench.took.push(FAR);
    let mut card = card(1, 900);
    assert!(bench.tap(&mut card, NEVER).unwrap().is_granted());
    let steps: Vec<CardStep> = bench.late.iter().map(|late| late.step).collect();
    assert_eq!(steps, [CardStep::Commit]);
    assert_eq!(card.contents().unwrap().balance, 750);
    assert!(matches!(bench.log[0].event, Some(TapEvent::Committed { .. })));
}

#[test]
fn a_relayed_card_cannot_finish_a_tap_in_doubt_and_the_card_itself_can() {
    let mut bench = Bench::boarding();
    let mut card = card(1, 900);
    bench.tap(&mut card, Cut { at: COMMIT, heard: true }).unwrap();
    // Select, authenticate (2), read: then the proof.
    bench.took = vec![Duration::ZERO, Duration::ZERO, Duration::ZERO, Duration::ZERO, FAR];
    bench.now = bench.now.plus(Duration::from_secs(2));
    assert_eq!(bench.tap(&mut card, NEVER).unwrap().verdict, refused());
    assert_eq!(bench.machine.in_doubt(), 1);
    bench.took.clear();
    assert!(bench.tap(&mut card, NEVER).unwrap().is_granted());
    assert_eq!((bench.machine.in_doubt(), card.contents().unwrap().balance), (0, 750));
}

#[test]
fn a_guard_that_is_off_takes_any_time() {
    let mut context = context(TapRole::Board, "s1");
    context.rules.relay = None;
    let mut bench = Bench::new(context);
    bench.took = vec![Duration::from_secs(5); EXCHANGES];
    assert!(bench.tap(&mut card(1, 900), NEVER).unwrap().is_granted());
}
