//! Every event and what it posts.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes its snapshots so")]

use alloc::format;

use expect_test::{Expect, expect};
use model::TapEvent;

use super::{CARD, Depot, deliver, error, history, now, rules};
use crate::{CardState, Issue, clear, register_issue};

#[expect(clippy::needless_pass_by_value, reason = "keeps `&` out of every table")]
fn check(history: &str, lines: &str, expected: Expect) {
    expected.assert_eq(&deliver(history, lines));
}

#[test]
fn an_issued_card_rides_and_loads() {
    check(
        "20.00, bus 7, in A, out C, load 5.00",
        "
        issue
        2
        3
        4
        5
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 => booked
                1.50 card(…cafe) -> fare-revenue(0)
            3 => booked
            4 => booked
            5 => booked
                5.00 load-clearing -> card(…cafe)
            books:
              card(…cafe) 23.50
              fare-revenue(0) 1.50
              issuer-cash -20.00
              load-clearing -5.00
        "#]],
    );
}

#[test]
fn i1_a_replay_changes_nothing() {
    check(
        "20.00, bus 7, ferry F",
        "
        issue
        issue
        2
        2
        3
        2
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            issue => replayed
            2 => booked
                1.50 card(…cafe) -> fare-revenue(0)
            2 => replayed
            3 => booked
                4.00 card(…cafe) -> fare-revenue(1)
            2 => replayed
            books:
              card(…cafe) 14.50
              fare-revenue(0) 1.50
              fare-revenue(1) 4.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn i4_a_lost_tap_is_recovered_from_the_evidence_of_the_next_and_its_late_entry_adds_nothing() {
    check(
        "20.00, ferry F, bus 7",
        "
        issue
        3
        2
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            3 => booked, 1 recovered
                4.00 card(…cafe) -> fare-revenue(unattributed)
                1.50 card(…cafe) -> fare-revenue(0)
            2 => attributed
                4.00 fare-revenue(unattributed) -> fare-revenue(1)
            books:
              card(…cafe) 14.50
              fare-revenue(0) 1.50
              fare-revenue(1) 4.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn i4_a_gap_holds_the_exact_net_amount_until_late_records_take_their_shares() {
    check(
        "20.00, bus 7, ferry F, load 5.00, ferry F, bus 7, bus 7",
        "
        issue
        7
        4
        2
        5
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            7 => booked, 1 recovered
                1.50 card(…cafe) -> fare-revenue(0)
                4.50 card(…cafe) -> gap-suspense(…cafe, 2)
                + card-gap 4.50: records 2 to 5 are missing; together they took 4.50 EUR
            4 => booked-late, 1 recovered
                4.00 gap-suspense(…cafe, 2) -> fare-revenue(unattributed)
                1.00 gap-suspense(…cafe, 4) -> gap-suspense(…cafe, 2)
                5.00 load-clearing -> gap-suspense(…cafe, 4)
                4.00 gap-suspense(…cafe, 4) -> gap-suspense(…cafe, 5)
                ~ card-gap 1.50: record 2 is missing; it took 1.50 EUR
                + card-gap 4.00: record 5 is missing; it took 4.00 EUR
            2 => booked-late
                1.50 gap-suspense(…cafe, 2) -> fare-revenue(0)
                - card-gap: the missing records are known
            5 => booked-late
                4.00 gap-suspense(…cafe, 5) -> fare-revenue(1)
                - card-gap: the missing records are known
            books:
              card(…cafe) 14.00
              fare-revenue(unattributed) 4.00
              fare-revenue(0) 3.00
              fare-revenue(1) 4.00
              issuer-cash -20.00
              load-clearing -5.00
        "#]],
    );
}

#[test]
fn a_card_never_issued_brings_its_value_from_an_unknown_origin() {
    check(
        "20.00, bus 7, ferry F, bus 7",
        "
        4
        2
        issue
        ",
        expect![[r#"
            4 => booked, 1 recovered
                4.00 card(…cafe) -> fare-revenue(unattributed)
                18.50 unknown-origin(…cafe) -> card(…cafe)
                1.50 card(…cafe) -> fare-revenue(0)
                + unknown-card 18.50: never issued here; it brought 18.50 EUR along
            2 => booked-late, 1 recovered
                1.50 unknown-origin(…cafe) -> gap-suspense(…cafe, 2)
                1.50 gap-suspense(…cafe, 2) -> fare-revenue(0)
                ~ unknown-card 20.00: never issued here; it brought 20.00 EUR along
            issue => attributed
                20.00 issuer-cash -> unknown-origin(…cafe)
                - unknown-card: the issue is known
            books:
              card(…cafe) 13.00
              fare-revenue(unattributed) 4.00
              fare-revenue(0) 3.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn an_in_doubt_tap_is_held_and_posted_when_the_next_tap_proves_it() {
    check(
        "20.00, ferry F, ferry F",
        "
        issue
        2 doubt
        3
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 doubt => held
                4.00 card(…cafe) -> fare-revenue(1) held
                + in-doubt 4.00: nobody knows yet whether the card committed record 2 over 4.00 EUR
            3 => booked
                4.00 card(…cafe) -> fare-revenue(1) posted
                4.00 card(…cafe) -> fare-revenue(1)
                - in-doubt: happened: a later record of the card proves it; its reader had said no
                + charged-without-passage 4.00: record 2 took 4.00 EUR and let nobody through;
                      with the next tap, record 3 over 4.00 EUR, 4.00 EUR are due back
            books:
              card(…cafe) 12.00
              fare-revenue(1) 8.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn an_in_doubt_tap_is_posted_when_the_same_validator_confirms_it() {
    check(
        "20.00, ferry F",
        "
        issue
        2 doubt
        2 confirmed
        2 doubt
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 doubt => held
                4.00 card(…cafe) -> fare-revenue(1) held
                + in-doubt 4.00: nobody knows yet whether the card committed record 2 over 4.00 EUR
            2 confirmed => booked
                4.00 card(…cafe) -> fare-revenue(1) posted
                - in-doubt: happened: its validator saw the card again
            2 doubt => replayed
            books:
              card(…cafe) 16.00
              fare-revenue(1) 4.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn a_boarding_charged_without_passage_is_weighed_against_the_next_tap() {
    // The ferry's fare is due at once; the bus after it does not change that.
    check(
        "20.00, ferry F, bus 7",
        "
        issue
        2 doubt
        2 unserved
        3
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 doubt => held
                4.00 card(…cafe) -> fare-revenue(1) held
                + in-doubt 4.00: nobody knows yet whether the card committed record 2 over 4.00 EUR
            2 unserved => booked
                4.00 card(…cafe) -> fare-revenue(1) posted
                - in-doubt: happened: its validator saw the card again
                + charged-without-passage 4.00: record 2 took 4.00 EUR and let nobody through;
                      4.00 EUR are due back, unless the next tap says otherwise
            3 => booked
                1.50 card(…cafe) -> fare-revenue(0)
                ~ charged-without-passage 4.00: record 2 took 4.00 EUR and let nobody through;
                      with the next tap, record 3 over 1.50 EUR, 4.00 EUR are due back
            books:
              card(…cafe) 14.50
              fare-revenue(0) 1.50
              fare-revenue(1) 4.00
              issuer-cash -20.00
        "#]],
    );
    // Within the hour the second bus is free: one fare for one passage.
    check(
        "20.00, bus 7, bus 7",
        "
        issue
        2 doubt
        2 unserved
        3
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 doubt => held
                1.50 card(…cafe) -> fare-revenue(0) held
                + in-doubt 1.50: nobody knows yet whether the card committed record 2 over 1.50 EUR
            2 unserved => booked
                1.50 card(…cafe) -> fare-revenue(0) posted
                - in-doubt: happened: its validator saw the card again
                + charged-without-passage 1.50: record 2 took 1.50 EUR and let nobody through;
                      1.50 EUR are due back, unless the next tap says otherwise
            3 => booked
                - charged-without-passage: with the card's next tap nothing was paid twice
            books:
              card(…cafe) 18.50
              fare-revenue(0) 1.50
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn a_gate_that_let_nobody_in_owes_the_missing_tap_out_unless_the_rider_tapped_out() {
    // It charged nothing, but the next bus a missing tap-out.
    check(
        "20.00, in A, bus 7",
        "
        issue
        2 doubt
        3
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 doubt => held
                + in-doubt 0.00: nobody knows yet whether the card committed record 2 over 0.00 EUR
            3 => booked
                4.50 card(…cafe) -> fare-revenue(0)
                - in-doubt: happened: a later record of the card proves it; its reader had said no
                + charged-without-passage 3.00: record 2 took 0.00 EUR and let nobody through;
                      with the next tap, record 3 over 4.50 EUR, 3.00 EUR are due back
            books:
              card(…cafe) 15.50
              fare-revenue(0) 4.50
              issuer-cash -20.00
        "#]],
    );
    // The other way out shows that the gate did let its rider in.
    check(
        "20.00, in A, out C",
        "
        issue
        2 doubt
        3
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 doubt => held
                + in-doubt 0.00: nobody knows yet whether the card committed record 2 over 0.00 EUR
            3 => booked
                3.00 card(…cafe) -> fare-revenue(1)
                - in-doubt: happened: a later record of the card proves it; its reader had said no
            books:
              card(…cafe) 17.00
              fare-revenue(1) 3.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn the_word_of_its_own_reader_closes_a_charge_without_passage_whenever_it_arrives() {
    for word in ["confirmed", "confirmed by an older"] {
        let late = deliver("20.00, ferry F, bus 7", &format!("issue\n2 doubt\n3\n2 {word}"));
        assert!(late.contains("+ charged-without-passage 4.00: "), "{late}");
        let reason = "- charged-without-passage: its reader let the rider through with this charge";
        assert!(late.contains(reason), "{late}");
        let early = deliver("20.00, ferry F, bus 7", &format!("issue\n2 {word}\n3\n2 doubt"));
        assert!(!early.contains("charged-without-passage"), "{early}");
    }
}

#[test]
fn an_in_doubt_tap_is_voided_when_another_record_holds_its_counter() {
    check(
        "20.00, ferry F",
        "
        issue
        2 doubt
        2 clone
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 doubt => held
                4.00 card(…cafe) -> fare-revenue(1) held
                + in-doubt 4.00: nobody knows yet whether the card committed record 2 over 4.00 EUR
            2 clone => booked
                4.00 card(…cafe) -> fare-revenue(1) voided
                5.00 card(…cafe) -> fare-revenue(1)
                - in-doubt: did not happen: another record holds its counter
                + fare-mismatch 1.00: record 2 charged 5.00 EUR; tariff 1 says: 4.00 EUR
            books:
              card(…cafe) 15.00
              fare-revenue(1) 5.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn an_in_doubt_tap_is_voided_by_its_validator_whichever_arrives_first() {
    check(
        "20.00, ferry F",
        "
        issue
        2 doubt
        2 voided
        2 voided
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 doubt => held
                4.00 card(…cafe) -> fare-revenue(1) held
                + in-doubt 4.00: nobody knows yet whether the card committed record 2 over 4.00 EUR
            2 voided => void
                4.00 card(…cafe) -> fare-revenue(1) voided
                - in-doubt: did not happen: the validator saw the card unchanged
            2 voided => replayed
            books:
              card(…cafe) 20.00
              issuer-cash -20.00
        "#]],
    );
    check(
        "20.00, ferry F",
        "
        issue
        2 voided
        2 doubt
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 voided => void
            2 doubt => void
            books:
              card(…cafe) 20.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn a_record_of_the_card_outweighs_the_word_of_a_validator() {
    check(
        "20.00, ferry F, bus 7",
        "
        issue
        2 doubt
        2 voided
        3
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 doubt => held
                4.00 card(…cafe) -> fare-revenue(1) held
                + in-doubt 4.00: nobody knows yet whether the card committed record 2 over 4.00 EUR
            2 voided => void
                4.00 card(…cafe) -> fare-revenue(1) voided
                - in-doubt: did not happen: the validator saw the card unchanged
            3 => booked
                4.00 card(…cafe) -> fare-revenue(1)
                1.50 card(…cafe) -> fare-revenue(0)
                + charged-without-passage 4.00: record 2 took 4.00 EUR and let nobody through;
                      with the next tap, record 3 over 1.50 EUR, 4.00 EUR are due back
            books:
              card(…cafe) 14.50
              fare-revenue(0) 1.50
              fare-revenue(1) 4.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn an_in_doubt_tap_inside_a_gap_waits_and_then_takes_its_share() {
    check(
        "20.00, ferry F, ferry F, ferry F, ferry F",
        "
        issue
        2 doubt
        5
        2 confirmed
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 doubt => held
                4.00 card(…cafe) -> fare-revenue(1) held
                + in-doubt 4.00: nobody knows yet whether the card committed record 2 over 4.00 EUR
            5 => booked, 1 recovered
                4.00 card(…cafe) -> fare-revenue(unattributed)
                8.00 card(…cafe) -> gap-suspense(…cafe, 2)
                4.00 card(…cafe) -> fare-revenue(1)
                + card-gap 8.00: records 2 to 3 are missing; together they took 8.00 EUR
            2 confirmed => booked-late
                4.00 card(…cafe) -> fare-revenue(1) voided
                4.00 gap-suspense(…cafe, 2) -> fare-revenue(1)
                4.00 gap-suspense(…cafe, 2) -> gap-suspense(…cafe, 3)
                - card-gap: the missing records are known
                - in-doubt: happened: its validator saw the card again
                + card-gap 4.00: record 3 is missing; it took 4.00 EUR
            books:
              card(…cafe) 4.00
              fare-revenue(unattributed) 4.00
              fare-revenue(1) 8.00
              gap-suspense(…cafe, 3) 4.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn what_is_held_says_nothing_about_the_origin_of_a_card() {
    check(
        "20.00, ferry F",
        "
        issue
        2 doubtful issue
        2 voided
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 doubtful issue => held
                4.00 unknown-origin(…cafe) -> card(…cafe) held
                + in-doubt 4.00: nobody knows yet whether the card committed record 2 over 4.00 EUR
            2 voided => void
                4.00 unknown-origin(…cafe) -> card(…cafe) voided
                - in-doubt: did not happen: the validator saw the card unchanged
            books:
              card(…cafe) 20.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn i2_two_records_under_one_counter_are_a_fork_and_one_of_them_is_booked() {
    check(
        "20.00, bus 7, ferry F",
        "
        issue
        2
        3
        2 clone
        2 clone
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 => booked
                1.50 card(…cafe) -> fare-revenue(0)
            3 => booked
                4.00 card(…cafe) -> fare-revenue(1)
            2 clone => forked
                + fork 2.50: 1 record claims a counter held by others, from 2 on: 2.50 EUR unbooked
                + fare-mismatch 1.00: record 2 charged 2.50 EUR; tariff 1 says: 1.50 EUR
            2 clone => replayed
            books:
              card(…cafe) 14.50
              fare-revenue(0) 1.50
              fare-revenue(1) 4.00
              issuer-cash -20.00
        "#]],
    );
    check(
        "20.00, bus 7, ferry F",
        "
        issue
        2
        3
        2 older clone
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 => booked
                1.50 card(…cafe) -> fare-revenue(0)
            3 => booked
                4.00 card(…cafe) -> fare-revenue(1)
            2 older clone => forked
                1.50 fare-revenue(0) -> card(…cafe)
                2.50 card(…cafe) -> fare-revenue(0)
                1.00 difference(…cafe, 3) -> card(…cafe)
                + fork 1.50: 1 record claims a counter held by others, from 2 on: 1.50 EUR unbooked
                + fare-mismatch 1.00: record 2 charged 2.50 EUR; tariff 1 says: 1.50 EUR
            books:
              card(…cafe) 14.50
              fare-revenue(0) 2.50
              fare-revenue(1) 4.00
              difference(…cafe, 3) -1.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn i3_records_that_do_not_fit_together_are_a_difference() {
    check(
        "20.00, ferry F, ferry F",
        "
        issue
        2
        3 forged
        2 clone
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 => booked
                4.00 card(…cafe) -> fare-revenue(1)
            3 forged => booked
                4.00 card(…cafe) -> fare-revenue(1)
                1.00 difference(…cafe, 3) -> card(…cafe)
                + balance-mismatch 1.00: record 3 begins 1.00 EUR above the end of the one before it
            2 clone => forked
                - balance-mismatch: explained by the fork
                + fork 5.00: 1 record claims a counter held by others, from 2 on: 5.00 EUR unbooked
                + fare-mismatch 1.00: record 2 charged 5.00 EUR; tariff 1 says: 4.00 EUR
            books:
              card(…cafe) 13.00
              fare-revenue(1) 8.00
              difference(…cafe, 3) -1.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn a_record_that_found_a_newer_one_is_a_contradiction() {
    check(
        "20.00, ferry F, ferry F",
        "
        issue
        3 backwards
        ",
        expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            3 backwards => booked
                4.00 card(…cafe) -> fare-revenue(1)
                + contradiction 0.00: record 2 says that it found record 3 on the card
            books:
              card(…cafe) 16.00
              fare-revenue(1) 4.00
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn a_refusal_books_nothing() {
    check(
        "20.00, ferry F",
        "2 refused",
        expect![[r#"
        2 refused => noted
        books:
    "#]],
    );
}

#[test]
fn what_cannot_be_cleared_is_refused_by_name() {
    let rules = rules();
    let history = history(&rules, "20.00, ferry F, ferry F");
    let mut depot = Depot::default();
    let issued = history.records[0];
    depot.issue(&rules, &issued);
    depot.clear(&rules, &history.committed(2));
    depot.clear(&rules, &history.committed(3));

    let mut no_card = history.committed(2);
    no_card.card = None;
    let mut too_dear = history.committed(2);
    if let TapEvent::Committed { transaction, .. } = &mut too_dear.event {
        transaction.after.amount = 1 << 24;
    }
    let empty = Depot::default();
    let new = CardState::default();
    let not_issue = Issue { card: CARD, record: history.records[1], purse: None, issuer: None };
    let rows = [
        error(clear(&new, &no_card, now(), &rules, &empty)),
        error(clear(&new, &too_dear, now(), &rules, &empty)),
        error(register_issue(&new, &not_issue, now(), &rules, &empty)),
        // The state says that record 2 is known, and this store has lost it.
        error(clear(&depot.state, &history.committed(2), now(), &rules, &empty)),
    ];
    expect![[r#"
        the entry settles a transaction but names no card
        the card record cannot exist
        the record to open the card's books with is not an issue
        record 1 of the card is known but not in the store"#]]
    .assert_eq(&rows.join("\n"));
}
