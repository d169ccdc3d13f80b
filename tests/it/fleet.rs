//! The simulator as a test: a thousand seeds are clean, and planted bugs are found.

use tapline_tests::sim::{PlantedBug, Scenario, run, run_seeds};

#[test]
fn a_thousand_seeds_lose_no_tap_and_charge_nobody_twice() {
    let report = run_seeds(&Scenario::SMALL, 0..1000).unwrap_or_else(|found| panic!("{found}"));
    assert!(report.granted > 20_000, "riders got through: {report:?}");
    assert!(report.disturbed > 2_000, "the faults happened: {report:?}");
    assert!(report.capped > 500, "caps were reached: {report:?}");
    assert!(report.groups > 500, "several riders on one card: {report:?}");
    assert!(report.blocked > 500, "blocked cards were refused: {report:?}");
    assert!(report.unblocked > 200, "and served again: {report:?}");
    assert!(report.resolved > 100, "exceptions opened and resolved by themselves: {report:?}");
}

#[test]
fn a_seed_is_a_run() {
    assert_eq!(run(7, &Scenario::SMALL), run(7, &Scenario::SMALL));
}

/// The first violation that the bug leads to, within 300 seeds.
fn found(bug: PlantedBug) -> String {
    let scenario = Scenario { bug: Some(bug), ..Scenario::SMALL };
    let violation = run_seeds(&scenario, 0..300).expect_err("the simulator finds a planted bug");
    let text = violation.to_string();
    assert!(text.contains(&format!("--seed {}", violation.seed)), "says how to repeat: {text}");
    violation.what
}

#[test]
fn an_ack_before_the_commit_is_found() {
    let what = found(PlantedBug::AckBeforeCommit);
    assert!(what.contains("committed") || what.contains("delivered"), "{what}");
}

#[test]
fn a_green_light_before_the_outcome_is_durable_is_found() {
    let what = found(PlantedBug::ShowBeforeSync);
    assert!(what.contains("green before"), "{what}");
}

#[test]
fn a_list_that_is_played_back_is_found() {
    let what = found(PlantedBug::ListPlayedBack);
    assert!(what.contains("hotlist"), "{what}");
}

#[test]
fn a_commit_before_the_intent_is_durable_is_found() {
    let what = found(PlantedBug::CommitBeforeIntent);
    assert!(!what.contains("green before"), "{what}");
}
