//! Validators that charge cards which their own hotlist refuses (SEC-8), by their entries alone.

use std::{collections::BTreeSet, time::Duration};

use blocking::{Cause, Limits};

use super::*;
use crate::{
    hotlist::{Decision, HotlistRules, Proposal, decide, propose, tick},
    store::CaseFilter,
};

fn second(n: u64) -> Timestamp {
    Timestamp::from_secs(u64::from(NOON) + n)
}

/// Makes the list anew; answers its version.
fn listed(rig: &Rig, at: Timestamp) -> u64 {
    let limits =
        Limits { window: Duration::from_secs(86_400), additions_max: 500, share_permille: 2 };
    let rules = HotlistRules { limits, on: BTreeSet::new(), expires_after: None };
    tick(&rig.place.store, &rules, at).unwrap();
    rig.place.store.newest_hotlist().unwrap().unwrap().version
}

/// Card 1 is refused by the second of three lists; the others refuse card 2 only.
fn lists(rig: &Rig) -> [u64; 3] {
    let store = &rig.place.store;
    let say = |card: u32| Proposal {
        cards: vec![Cards::id(card)],
        cause: Cause::Lost,
        grade: None,
        validator: None,
        proposer: "ana".to_owned(),
        reason: "reported".to_owned(),
        evidence: vec![],
        expires: None,
    };
    let of = |card: u32| CaseFilter { card: Some(Cards::id(card)), ..CaseFilter::default() };
    propose(store, &say(2), second(1)).unwrap();
    decide(store, &of(2), "ben", &Decision::Approve, second(2)).unwrap();
    let first = listed(rig, second(3));
    propose(store, &say(1), second(4)).unwrap();
    decide(store, &of(1), "ben", &Decision::Approve, second(5)).unwrap();
    let middle = listed(rig, second(6));
    decide(store, &of(1), "eve", &Decision::Unblock("found".to_owned()), second(7)).unwrap();
    [first, middle, listed(rig, second(8))]
}

/// Findings: validator and text, in any order of arrival the same.
fn found(rig: &Rig) -> Vec<(u32, String)> {
    let books = rig.books();
    let filter = ExceptionFilter { open: Some(true), ..ExceptionFilter::default() };
    let rows = books.exceptions(&filter, Page::first(100)).unwrap();
    let mut found: Vec<_> = rows
        .iter()
        .filter(|row| row.kind.word() == "charged-though-blocked")
        .map(|row| {
            let item = books.exception(row.id).unwrap().unwrap();
            assert_eq!(item.evidence.len(), 2, "the records found and written");
            (row.validator.unwrap().number(), item.finding)
        })
        .collect();
    found.sort();
    found
}

#[test]
fn a_validator_that_charges_a_card_which_its_list_refuses_is_named_in_whatever_order_taps_come() {
    let mut results = BTreeSet::new();
    for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
        for at_once in [true, false] {
            let mut rig = Rig::new();
            let [first, middle, last] = lists(&rig);
            rig.place.clock.set(second(900));
            // Before any list, by the list before it, and by the one after it: no offence.
            for (bus, version, at) in [
                (0, None, 10),
                (1, Some(first), 20),
                (2, Some(middle), 30),
                (0, Some(last), 40),
                (3, Some(middle), 50),
            ] {
                rig.buses[bus].hotlist_version = version;
                rig.board(bus, 1, at);
            }
            // Another card, by the same list; and a list that nobody made.
            rig.board(2, 0, 60);
            rig.buses[1].hotlist_version = Some(last + 1_000);
            rig.board(1, 2, 70);
            let messages: Vec<_> = rig.buses.iter_mut().map(Bus::batch).collect();
            let messages: Vec<_> = order.iter().chain([&0]).map(|n| messages[*n].clone()).collect();
            for group in messages.chunks(if at_once { messages.len() } else { 1 }) {
                rig.submit(group);
            }
            rig.assert_sound();
            assert_eq!(rig.sums(), (7, 7 * 150), "the charges stand");
            results.insert(found(&rig));
        }
    }
    let results: Vec<_> = results.into_iter().collect();
    let [found] = &results[..] else { panic!("several results: {results:#?}") };
    let named: Vec<_> = found.iter().map(|(validator, _)| *validator).collect();
    assert_eq!(named, [3, 4]);
    let said = &found[0].1;
    assert!(said.starts_with("entry 1 of epoch 1: it went by hotlist "), "{said}");
    assert!(said.ends_with(", which refuses this card"), "{said}");
}

#[test]
fn what_a_list_refuses_is_told_from_its_cases_when_its_content_is_no_longer_kept() {
    let mut rig = Rig::new();
    let [_, middle, _] = lists(&rig);
    rig.place.store.alter("UPDATE hotlists SET content = NULL");
    rig.place.clock.set(second(900));
    rig.buses[0].hotlist_version = Some(middle);
    let transaction = rig.cards.boarding(1, NOON + 10, rig.buses[0].id);
    rig.buses[0].log(Some(Cards::id(1)), NOON + 10, TapEvent::InDoubt { transaction });
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    assert_eq!(found(&rig).len(), 1, "a tap in doubt was let in as well");
}

#[test]
fn an_entry_that_names_no_list_went_by_that_of_the_entry_before_it_also_after_a_restart() {
    let mut rig = Rig::new();
    let [_, middle, _] = lists(&rig);
    rig.place.clock.set(second(900));
    rig.buses[0].hotlist_version = Some(middle);
    rig.board(0, 0, 10);
    let first = rig.buses[0].batch();
    rig.submit(&[first]);
    assert_eq!(found(&rig).len(), 0, "another card");
    rig.restart();
    rig.buses[0].hotlist_version = None;
    rig.board(0, 1, 20);
    let second = rig.buses[0].batch();
    rig.submit(&[second]);
    assert_eq!(found(&rig).len(), 1);
    rig.assert_sound();
}
