//! What people decide, and what a card proves after it (ADR-0023).

use model::{CardId, Ctr, OperatorId, RouteIx};

use super::{CARD, Depot, History, Ride, now, rules};
use crate::{Account, ExceptionKind, WriteOff, attribute_record};

fn revenue(operator: Option<u16>) -> Account {
    Account::FareRevenue(operator.map(OperatorId))
}

#[test]
fn a_person_attributes_what_nobody_could_and_the_taps_own_entry_outweighs_it() {
    let rules = rules();
    let mut history = History::issued(2_000);
    for route in [0, 1, 0] {
        history.ride(&rules, Ride::Board(RouteIx(route)));
        history.wait(7_200);
    }
    let mut depot = Depot::default();
    depot.issue(&rules, &history.records[0]);
    depot.clear(&rules, &history.committed(4));
    let stands = |depot: &Depot| [None, Some(0), Some(1)].map(|of| depot.balance(revenue(of)));
    // The record of the ferry has no route, and the stop is served by both.
    assert_eq!(stands(&depot), [400, 150, 0]);
    let say = |depot: &Depot, ctr, operator| {
        let of = (CARD, Ctr(ctr));
        attribute_record(&depot.state, of, OperatorId(operator), now(), &rules, depot).unwrap()
    };
    for no_such in [1, 2, 4, 9] {
        assert_eq!(say(&depot, no_such, 0), None, "an issue, a gap, somebody's, unknown");
    }
    let said = say(&depot, 3, 0).unwrap();
    depot.take(&said);
    assert_eq!(stands(&depot), [0, 550, 0]);
    assert_eq!(say(&depot, 3, 1), None, "it is somebody's now");
    depot.clear(&rules, &history.committed(3));
    // And brings the bus before it.
    assert_eq!(stands(&depot), [0, 300, 400], "the entry names the route");
}

#[test]
fn what_is_written_off_is_found_by_its_item_and_leaves_zero_behind() {
    let rules = rules();
    let mut history = History::issued(2_000);
    for _ in 0..3 {
        history.ride(&rules, Ride::Board(RouteIx(0)));
        history.wait(7_200);
    }
    let mut depot = Depot::default();
    depot.issue(&rules, &history.records[0]);
    depot.clear(&rules, &history.committed(4));
    let item = depot.open.values().find(|item| item.kind == ExceptionKind::CardGap).unwrap();
    let account = depot.state.suspense_of(CARD, item.id).unwrap();
    assert_eq!(account, Account::GapSuspense(CARD, Ctr(2)));
    assert_eq!(depot.state.suspense_of(CardId([9; 7]), item.id), None, "another card's");
    let currency = rules.currency();
    let off = WriteOff { number: 7, account, currency, amount: 150, to: 3 };
    let [transfer] = off.transfers(now())[..] else { panic!("one transfer") };
    assert_eq!((transfer.debit, transfer.amount), (account.id(currency), 150));
    let [back] = WriteOff { number: 8, amount: -150, ..off }.transfers(now())[..] else {
        panic!("one transfer")
    };
    assert_eq!((back.credit, back.debit), (transfer.debit, transfer.credit), "LED-2");
    assert_ne!(back.id, transfer.id);
}
