//! Evidence on the card, at the size of a fleet: five of fifty validators are destroyed with taps
//! that nobody has, and the cards travel on and bring the amounts.

use std::collections::{BTreeMap, BTreeSet};

use clearing::{Account, ExceptionKind, Source};
use model::{CardId, CardRecord, Ctr, ValidatorId};

use crate::town::Town;

const CARDS: usize = 400;
/// Two buses, a gate inwards and two outwards.
const DESTROYED: [usize; 5] = [0, 1, 2, 3, 7];
/// The last cards are never used again.
const LAST_SEEN: usize = 360;

/// Records that a destroyed validator wrote and never sent.
fn lost(town: &Town, gone: &BTreeSet<ValidatorId>) -> BTreeMap<(CardId, Ctr), CardRecord> {
    let sent: BTreeSet<(CardId, Ctr)> = (town.depot.books.taps.values())
        .filter_map(|(tap, _)| Some((tap.card?, tap.settled()?.0.after.ctr)))
        .collect();
    let all = town.truth.iter().flat_map(|(card, records)| {
        records.iter().map(move |(ctr, found)| ((*card, *ctr), found[0]))
    });
    all.filter(|(key, record)| !sent.contains(key) && gone.contains(&record.validator)).collect()
}

/// Rides until each of these cards has been let through somewhere.
fn travel(town: &mut Town, cards: std::ops::Range<usize>, rounds: usize) {
    for _ in 0..rounds {
        for card in cards.clone() {
            town.ride(card);
        }
        town.deliver_all();
    }
}

/// What became of the records that were lost.
#[derive(Debug, Default, PartialEq, Eq)]
struct Found {
    recovered: usize,
    in_gaps: usize,
    never_seen: usize,
    /// Minor units that no account explains, over all cards that travelled on.
    unexplained: i64,
    /// Minor units by which shadows are too high, of cards that are never seen again.
    outstanding: i64,
}

fn classify(town: &Town, lost: &BTreeMap<(CardId, Ctr), CardRecord>) -> Found {
    let books = &town.depot.books;
    let mut found = Found::default();
    for (key, record) in lost {
        let state = &books.cards[&key.0];
        let gap = state.gaps().iter().find(|gap| gap.first <= key.1 && key.1 <= gap.last);
        match (books.records.get(key), gap) {
            (Some(known), None) => {
                assert_eq!((known.record, known.source), (*record, Source::Evidence));
                found.recovered += 1;
            }
            (None, Some(_)) => found.in_gaps += 1,
            (None, None) if state.newest().unwrap().record.ctr < key.1 => found.never_seen += 1,
            other => panic!("{record:?}: {other:?}"),
        }
    }
    for (card, records) in &town.truth {
        let state = &books.cards[card];
        for gap in state.gaps() {
            let missing = records.range(gap.first..=gap.last);
            let missing: Vec<_> = missing.map(|(ctr, found)| (*ctr, found[0])).collect();
            assert!(missing.iter().all(|(ctr, _)| lost.contains_key(&(*card, *ctr))));
            let net: i64 = missing.iter().map(|(_, record)| record.delta()).sum();
            let held = -town.held_on(|a| a == Account::GapSuspense(*card, gap.first));
            found.unexplained += (gap.net() - net).abs() + (held - net).abs();
        }
        let holds = i64::from(records.last_key_value().unwrap().1[0].balance);
        let over = state.shadow().unwrap() - holds;
        let seen_last = state.newest().unwrap().record.ctr;
        if records.last_key_value().unwrap().0 == &seen_last {
            found.unexplained += over.abs();
        } else {
            assert!(over >= 0, "lost taps only ever took value");
            found.outstanding += over;
        }
    }
    found
}

/// Every operator has what its known records say, and what cannot be attributed says so.
fn assert_revenue_is_attributed(town: &Town) -> (i64, i64) {
    let mut by_operator = BTreeMap::<_, i64>::new();
    for known in town.depot.books.records.values() {
        if known.record.delta() < 0 {
            *by_operator.entry(known.operator).or_default() -= known.record.delta();
        }
    }
    for (operator, amount) in &by_operator {
        assert_eq!(town.held_on(|a| a == Account::FareRevenue(*operator)), *amount);
    }
    let unattributed = by_operator.get(&None).copied().unwrap_or(0);
    (by_operator.values().sum(), unattributed)
}

#[test]
fn five_of_fifty_validators_are_destroyed_and_the_cards_bring_every_amount() {
    let mut town = Town::new(1, 50, u32::try_from(CARDS).unwrap());
    travel(&mut town, 0..CARDS, 4);
    // Out of coverage for four more rounds, then under the wheels.
    for validator in DESTROYED {
        town.validators[validator].set_link(town.now, false, false);
    }
    travel(&mut town, 0..CARDS, 4);
    let gone: BTreeSet<ValidatorId> = DESTROYED.map(|v| town.validators[v].id).into();
    let wrecks: Vec<_> = DESTROYED.map(|validator| (validator, town.destroy(validator))).into();
    let lost = lost(&town, &gone);
    let amount: i64 = lost.values().map(|record| -record.delta()).sum();
    assert!(lost.len() > 100 && amount > 10_000, "{} lost, {amount}", lost.len());

    travel(&mut town, 0..LAST_SEEN, 4);
    assert_eq!(town.depot.findings, [""; 0]);
    town.assert_sound();
    let found = classify(&town, &lost);
    let (revenue, unattributed) = assert_revenue_is_attributed(&town);
    println!(
        "{} presentations, {} records lost over {amount}; {found:?}; revenue {revenue}, \
         unattributed {unattributed}",
        town.presentations,
        lost.len()
    );
    assert_eq!(found.unexplained, 0, "to the unit");
    assert_eq!(found.recovered + found.in_gaps + found.never_seen, lost.len());
    assert!(found.recovered > 80 && found.in_gaps > 0 && found.never_seen > 0, "{found:?}");
    let never: Vec<_> = lost
        .keys()
        .filter(|(card, ctr)| town.depot.books.cards[card].newest().unwrap().record.ctr < *ctr)
        .collect();
    assert!(never.iter().all(|(card, _)| (LAST_SEEN..CARDS).any(|i| town.uid(i) == *card)));
    // Only runs of lost records are left open, one item for each.
    let gaps: usize = town.depot.books.cards.values().map(|state| state.gaps().len()).sum();
    assert_eq!(town.open(ExceptionKind::CardGap).len(), gaps);
    assert_eq!(town.depot.books.open.len(), gaps);
    // The new validators have taken taps under lives of their own.
    let lives: BTreeSet<_> =
        town.depot.books.taps.keys().map(|tap| (tap.validator, tap.epoch)).collect();
    assert_eq!(lives.len(), 55, "fifty, and five in their second life");

    the_wrecks_are_found(town, wrecks, &lost);
}

/// Their disks still read: what arrives late takes its share, and nothing is left in suspense.
fn the_wrecks_are_found(
    mut town: Town,
    wrecks: Vec<(usize, tapline_tests::sim::validator::SimValidator)>,
    lost: &BTreeMap<(CardId, Ctr), CardRecord>,
) {
    for (validator, mut wreck) in wrecks {
        let key = town.validators[validator].public_key();
        town.depot.enrol(wreck.id, wreck.public_key());
        wreck.set_link(town.now, true, false);
        let replacement = std::mem::replace(&mut town.validators[validator], wreck);
        town.deliver(validator, |_| {});
        town.depot.enrol(replacement.id, key);
        town.validators[validator] = replacement;
    }
    town.assert_sound();
    assert_eq!(town.depot.books.open.len(), 0, "every item has resolved by itself");
    assert_eq!(town.held_on(|account| matches!(account, Account::GapSuspense(..))), 0);
    assert_eq!(town.held_on(|account| account == Account::FareRevenue(None)), 0);
    for (key, record) in lost {
        let known = town.depot.books.records[key];
        assert_eq!((known.record, known.source), (*record, Source::Tap));
    }
    for (card, records) in &town.truth {
        let holds = i64::from(records.last_key_value().unwrap().1[0].balance);
        assert_eq!(town.depot.books.cards[card].shadow(), Some(holds));
    }
}
