//! Cards whose purse is in another currency than the tariff's (ADR-0019), by hand.
#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes its snapshots so")]

use expect_test::{Expect, expect};

use super::{CARD, Depot, History, deliver, francs, history, now, rules};
use crate::{Account, CardState, ClearError, Issue, PurseMisfit, register_issue};

fn check(history: &str, lines: &str, expected: &Expect) {
    expected.assert_eq(&deliver(history, lines));
}

#[test]
fn a_card_in_francs_is_booked_in_francs_and_its_lost_records_stand_there() {
    check(
        "CHF 20.00, bus 7, ferry F, load 5.00, ferry F, bus 7, bus 7",
        "issue
         7
         4
         2
         5",
        &expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            7 => booked, 1 recovered
                1.40 card(…cafe) -> fare-revenue(0)
                3.90 card(…cafe) -> gap-suspense(…cafe, 2)
                + card-gap 3.90: records 2 to 5 are missing; together they took 3.90 CHF
            4 => booked-late, 1 recovered
                3.75 gap-suspense(…cafe, 2) -> fare-revenue(unattributed)
                1.25 gap-suspense(…cafe, 4) -> gap-suspense(…cafe, 2)
                5.00 load-clearing -> gap-suspense(…cafe, 4)
                3.75 gap-suspense(…cafe, 4) -> gap-suspense(…cafe, 5)
                ~ card-gap 1.40: record 2 is missing; it took 1.40 CHF
                + card-gap 3.75: record 5 is missing; it took 3.75 CHF
            2 => booked-late
                1.40 gap-suspense(…cafe, 2) -> fare-revenue(0)
                - card-gap: the missing records are known
            5 => booked-late
                3.75 gap-suspense(…cafe, 5) -> fare-revenue(1)
                - card-gap: the missing records are known
            books:
              card(…cafe) 14.70
              fare-revenue(unattributed) 3.75
              fare-revenue(0) 2.80
              fare-revenue(1) 3.75
              issuer-cash -20.00
              load-clearing -5.00
        "#]],
    );
}

#[test]
fn a_card_of_unknown_origin_has_the_ledger_of_the_first_transaction_that_it_proves() {
    check(
        "CHF 20.00, bus 7, bus 7, ferry F",
        "4 doubt
         3",
        &expect![[r#"
            4 doubt => held
                + in-doubt 3.75: nobody knows yet whether the card committed record 4 over 3.75 CHF
            3 => booked, 1 recovered
                3.75 card(…cafe) -> fare-revenue(1) held
                1.40 card(…cafe) -> fare-revenue(0)
                20.00 unknown-origin(…cafe) -> card(…cafe)
                + unknown-card 20.00: never issued here; it brought 20.00 CHF along
            books:
              card(…cafe) 18.60 held -3.75 +0.00
              fare-revenue(0) 1.40
              fare-revenue(1) 0.00 held -0.00 +3.75
              unknown-origin(…cafe) -20.00
        "#]],
    );
}

#[test]
fn what_is_in_doubt_opens_no_ledger_and_is_given_up_when_the_card_proves_another_purse() {
    check(
        "CHF 20.00, bus 7, ferry F",
        "3 doubt in kroner
         2
         2 in kroner
         3 purse not read
         3",
        &expect![[r#"
            3 doubt in kroner => held
                + in-doubt 3.75: nobody knows yet whether the card committed record 3 over 3.75 DKK
            2 => booked, 1 recovered
                20.00 unknown-origin(…cafe) -> card(…cafe)
                1.40 card(…cafe) -> fare-revenue(0)
                - in-doubt: the purse that it speaks of is not the card's
                + unknown-card 20.00: never issued here; it brought 20.00 CHF along
                + contradiction : record 3: a purse in DKK, and the card's is in CHF
            2 in kroner => noted
                + contradiction : record 2: a purse in DKK, and the card's is in CHF
            3 purse not read => noted
                + contradiction : record 3: the profile names the purse's currency, and was not read
            3 => booked
                3.75 card(…cafe) -> fare-revenue(1)
            books:
              card(…cafe) 14.85
              fare-revenue(0) 1.40
              fare-revenue(1) 3.75
              unknown-origin(…cafe) -20.00
        "#]],
    );
}

#[test]
fn a_fare_that_was_not_converted_as_the_tariff_says_is_a_mismatch_in_the_cards_currency() {
    check(
        "CHF 20.00, ferry F",
        "issue
         2 overcharged",
        &expect![[r#"
            issue => booked
                20.00 issuer-cash -> card(…cafe)
            2 overcharged => booked
                4.75 card(…cafe) -> fare-revenue(1)
                + fare-mismatch 1.00: record 2 charged 4.75 CHF; tariff 1 says: 3.75 CHF
            books:
              card(…cafe) 15.25
              fare-revenue(1) 4.75
              issuer-cash -20.00
        "#]],
    );
}

#[test]
fn an_issue_that_speaks_of_another_purse_than_the_card_opens_nothing() {
    let rules = rules();
    let known = history(&rules, "CHF 20.00, bus 7");
    let mut depot = Depot::default();
    depot.clear(&rules, &known.committed(2));
    let plain =
        Issue { card: CARD, record: History::issued(2_000).records[0], purse: None, issuer: None };
    let foreign = known.records[0];
    let unread = Issue { card: CARD, record: foreign, purse: None, issuer: None };
    let needless = Issue { purse: Some(francs()), ..plain };
    let (card, books) = (depot.state.clone(), Depot::default());
    let new = CardState::default();
    let other = PurseMisfit::Other { said: None, known: Some(francs()) };
    for (state, issue, why) in [
        (&card, plain, other),
        (&new, unread, PurseMisfit::Unread),
        (&new, needless, PurseMisfit::Needless(francs())),
    ] {
        let refused = register_issue(state, &issue, now(), &rules, &books);
        assert_eq!(refused, Err(ClearError::Purse(why)));
    }
    depot.issue(&rules, &foreign);
    assert!(depot.open.is_empty(), "{:?}", depot.open);
    assert_eq!(depot.balance(Account::IssuerCash), -2_000);
}
