//! Gates behind the reader: who did not pass, and what the tariff makes of it.

use core::time::Duration;

use fare::{Tariff, TariffSet};
use model::{GateWord, Note, TapEvent, TapRole, TapSeq};

use super::{Bench, CITY, LogPace, NEVER, card, context};
use crate::{Output, Passage, Verdict};

fn bench(role: TapRole, place: &str, not_passed: &str) -> Bench {
    let city = CITY.replace("pass_back_s = 60\n", "");
    let city = city.replace("[gate]\n", &alloc::format!("[gate]\n{not_passed}\n"));
    let tariffs = TariffSet::new(Tariff::parse(&city).unwrap_or_else(|f| panic!("{f:#?}")));
    Bench::new(crate::ValidatorContext { tariffs, ..context(role, place) })
}

/// Without paying for it, that is.
fn is_let_in_again(passage: &Passage) -> bool {
    passage.is_granted() && passage.notes.contains(&Note::EarlierTapFinished)
}

const AGAIN: &str = "not_passed = \"let-in-again\"\nagain_within_s = 300";

/// The gate speaks between taps; what it says is in the log at once.
fn said(bench: &mut Bench, said: GateWord, of: Option<TapSeq>) {
    bench.machine.handle_gate(bench.now, said, of);
    while let Some(output) = bench.machine.poll() {
        let Output::LogResolution { draft, event } = output else { panic!("{output:?}") };
        bench.append(draft, Some(event), None);
    }
}

#[test]
fn a_card_whose_rider_did_not_pass_passes_again_without_a_charge() {
    for (role, charge) in [(TapRole::Entry, 0), (TapRole::Exit, 300)] {
        let mut card = card(1, 900);
        let mut inwards = bench(TapRole::Entry, "A", AGAIN);
        assert!(inwards.tap(&mut card, NEVER).unwrap().is_granted());
        let mut outwards = bench(TapRole::Exit, "B", AGAIN);
        let bench = if role == TapRole::Exit {
            assert!(outwards.tap(&mut card, NEVER).unwrap().is_granted());
            &mut outwards
        } else {
            &mut inwards
        };
        let of = bench.machine.let_in();
        assert_eq!(of, Some(TapSeq(1)));
        let balance = card.contents().unwrap().balance;
        // Twice: who turns back a second time is let in a third time.
        for _ in 0..2 {
            said(bench, GateWord::TimedOut, of);
            bench.now = bench.now.plus(Duration::from_secs(60));
            let again = bench.tap(&mut card, NEVER).unwrap();
            assert_eq!(again.verdict, Verdict::Granted, "{role}");
            assert_eq!(again.notes, [Note::EarlierTapFinished]);
            assert_eq!(again.charge.minor(), charge, "it says what was paid for it");
            assert_eq!(card.contents().unwrap().balance, balance, "and takes nothing");
            assert_eq!(bench.machine.let_in(), of, "the gate's next word is about the same tap");
        }
        said(bench, GateWord::Passed, of);
        let after = bench.tap(&mut card, NEVER).unwrap();
        assert!(!is_let_in_again(&after), "who has passed pays for another ride: {after:?}");
        let outcomes = bench.outcomes();
        assert_eq!(outcomes[..4], ["committed", "timed-out", "timed-out", "passed"]);
        assert_eq!(bench.log[1].draft.card, bench.log[0].draft.card);
        assert_eq!(bench.log[1].draft.role, role);
    }
}

#[test]
fn after_the_time_of_the_tariff_or_with_another_card_nobody_is_let_in_again() {
    let mut bench = bench(TapRole::Entry, "A", AGAIN);
    let (mut first, mut other) = (card(1, 900), card(2, 900));
    bench.tap(&mut first, NEVER).unwrap();
    let of = bench.machine.let_in();
    said(&mut bench, GateWord::TimedOut, of);
    let passage = bench.tap(&mut other, NEVER).unwrap();
    assert!(passage.is_granted() && passage.notes.is_empty(), "a tap of its own");
    bench.now = bench.now.plus(Duration::from_secs(301));
    let late = bench.tap(&mut first, NEVER).unwrap();
    assert!(!is_let_in_again(&late), "{late:?}");
}

#[test]
fn other_tariffs_let_nobody_in_again() {
    for rule in ["", "not_passed = \"charge\"", "not_passed = \"give-back\""] {
        let mut bench = bench(TapRole::Entry, "A", rule);
        let mut card = card(1, 900);
        bench.tap(&mut card, NEVER).unwrap();
        let of = bench.machine.let_in();
        said(&mut bench, GateWord::TimedOut, of);
        let again = bench.tap(&mut card, NEVER).unwrap();
        assert!(!is_let_in_again(&again), "{rule} {again:?}");
    }
    let mut bench = bench(TapRole::Entry, "A", AGAIN);
    let mut card = card(1, 900);
    bench.tap(&mut card, NEVER).unwrap();
    let of = bench.machine.let_in();
    said(&mut bench, GateWord::Unseen, of);
    let again = bench.tap(&mut card, NEVER).unwrap();
    assert!(!is_let_in_again(&again), "what nobody saw proves nothing: {again:?}");
}

#[test]
fn what_the_gate_says_during_a_tap_stands_behind_the_entry_of_the_tap() {
    for pace in [LogPace::Fast, LogPace::Slow] {
        let mut bench = Bench { pace, ..bench(TapRole::Entry, "A", AGAIN) };
        let (mut first, mut second) = (card(1, 900), card(2, 900));
        bench.tap(&mut first, NEVER).unwrap();
        let of = bench.machine.let_in();
        // The second card's tap dies in the middle of what it does with the card.
        bench.dies_after = 3;
        assert!(bench.tap(&mut second, NEVER).is_none());
        bench.machine.handle_gate(bench.now, GateWord::Passed, of);
        bench.machine.handle_gate(bench.now, GateWord::Tailgate, None);
        assert!(bench.machine.poll().is_none_or(|o| !matches!(o, Output::LogResolution { .. })));
        bench.machine.handle_log_failed();
        let rest: alloc::vec::Vec<_> = core::iter::from_fn(|| bench.machine.poll()).collect();
        let words = rest.iter().filter_map(|output| {
            let Output::LogResolution { event: TapEvent::Gate { said, .. }, .. } = output else {
                return None;
            };
            Some(*said)
        });
        assert!(words.eq([GateWord::Passed, GateWord::Tailgate]), "{rest:?}");
        let done = rest.iter().position(|output| *output == Output::Done);
        let word = rest.iter().position(|o| matches!(o, Output::LogResolution { .. }));
        assert!(done < word);
    }
}
