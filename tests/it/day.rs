//! A day of the city with everything that goes wrong in one. `tests/run day` lives the same with a
//! million taps.

use std::collections::BTreeMap;

use tapline_tests::day::{Judged, Plan, Report, run, world::World};

fn day(seed: u64, taps: u32) -> Report {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    run(Plan { seed, taps }, folder.path()).unwrap_or_else(|error| panic!("seed {seed}: {error:#}"))
}

/// Each kind of fault is in the day, so that nothing is found for want of it.
fn injected(report: &Report) -> BTreeMap<&'static str, u64> {
    report.injected.iter().copied().collect()
}

#[test]
fn rec_6_rec_14_rec_17_a_day_finds_every_fault_that_was_injected_and_nothing_else() {
    let report = day(1, 20_000);
    let injected = injected(&report);
    for fault in [
        "cards copied",
        "cards rolled back",
        "cards given value",
        "cards loaded with a stolen key",
        "torn taps that happened",
        "torn taps that did not",
        "proof-invalid",
        "contradiction",
        "entries deleted",
        "batches under numbers that were taken",
        "batches duplicated",
        "batches overtaken",
        "batches lost on the way",
        "clocks a year off",
    ] {
        assert!(injected.get(fault).is_some_and(|count| *count > 0), "{fault}: {injected:?}");
    }
    let [closed, late, lost] = &report.judged;
    for kind in [
        "fork",
        "proof-invalid",
        "balance-mismatch",
        "contradiction",
        "register-mismatch",
        "chain-broken",
        "unknown-card",
        "fare-mismatch",
        "charged-without-passage",
        "clock-wrong",
        "card-gap",
        "in-doubt",
    ] {
        assert!(closed.open.contains_key(kind), "{kind}: {:?}", closed.open);
    }
    // What is late or was lost explains its own part of the suspense (REC-2).
    let gaps = |of: &Judged| of.open.get("card-gap").copied().unwrap_or(0);
    assert!(gaps(closed) > gaps(late) && gaps(late) >= gaps(lost), "{:?}", report.judged);
    assert!(!report.proposals.is_empty());
}

#[test]
fn a_day_whose_books_are_altered_is_not_believed() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut world = World::new(Plan { seed: 7, taps: 2_000 }, folder.path()).unwrap();
    world.live().unwrap();
    world.judge().unwrap();
    let books = rusqlite::Connection::open(folder.path().join("depot.sqlite")).unwrap();
    for (what, alter, back, told) in [
        (
            "an item closed",
            "UPDATE exceptions SET closed_at = -1 WHERE kind = 'fork'",
            "UPDATE exceptions SET closed_at = NULL WHERE closed_at = -1",
            "not found: Item { kind: \"fork\"",
        ),
        (
            "an item of nobody's",
            "INSERT INTO exceptions (ref, kind, opened_at, finding, evidence)
             VALUES (x'01', 'quarantined', 1, '', '[]')",
            "DELETE FROM exceptions WHERE ref = x'01'",
            "not expected: Item { kind: \"quarantined\"",
        ),
        (
            "an amount by one unit",
            "UPDATE exceptions SET amount = amount + 1 WHERE kind = 'unexplained-load'",
            "UPDATE exceptions SET amount = amount - 1 WHERE kind = 'unexplained-load'",
            "not found: Item { kind: \"unexplained-load\"",
        ),
        (
            "a clock of nobody's",
            "INSERT INTO exceptions (ref, kind, validator, opened_at, finding, evidence)
             VALUES (x'01', 'clock-wrong', 1, 1, '', '[]')",
            "DELETE FROM exceptions WHERE ref = x'01'",
            "not expected: Item { kind: \"clock-wrong\"",
        ),
        (
            "a card's account",
            "UPDATE cards SET credits_posted = credits_posted + 1
             WHERE card = (SELECT min(card) FROM cards)",
            "UPDATE cards SET credits_posted = credits_posted - 1
             WHERE card = (SELECT min(card) FROM cards)",
            "the books hold",
        ),
        (
            "a sum",
            "UPDATE account_groups SET debits_posted = debits_posted + 1 WHERE code = 2",
            "UPDATE account_groups SET debits_posted = debits_posted - 1 WHERE code = 2",
            "do not sum to zero",
        ),
        (
            "a proposal",
            "UPDATE hotlist_cases SET standing = 6 WHERE cause = 'fork'",
            "UPDATE hotlist_cases SET standing = 1 WHERE cause = 'fork'",
            "proposed for fork",
        ),
    ] {
        books.execute_batch(alter).unwrap();
        let found = world.judge().unwrap_err().to_string();
        assert!(found.contains(told), "{what}: {found}");
        books.execute_batch(back).unwrap();
    }
    world.judge().unwrap();
}
