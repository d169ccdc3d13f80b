//! Copies and images put back (REC-6): a town in which everything else goes wrong, too, and the
//! depot finds every copied card, no other, and none later than it can be known.
//!
//! A validator cannot know: it keeps no history of cards. The depot knows once two records under
//! one counter have reached it, by their own entries or as another tap's evidence.

use std::collections::{BTreeMap, BTreeSet};

use clearing::ExceptionKind;
use model::{CardId, CardRecord, Ctr};
use tapline_tests::sim::depot::SimDepot;

use crate::town::Town;

const CARDS: usize = 200;
const VALIDATORS: u32 = 50;

/// What the depot was told of each card, entry by entry.
#[derive(Default)]
struct Told {
    records: BTreeMap<(CardId, Ctr), BTreeSet<[u8; 32]>>,
    entries: usize,
    /// Entries heard between the one that completes a pair and the exception.
    late: usize,
}

impl Told {
    /// After a batch: whoever has shown two histories by now must be an open fork.
    fn hear(&mut self, depot: &SimDepot) {
        let books = &depot.books;
        for (tap, _) in books.taps.values() {
            let (Some(card), Some((transaction, _))) = (tap.card, tap.settled()) else { continue };
            for record in [&transaction.before, &transaction.after] {
                let of = self.records.entry((card, record.ctr)).or_default();
                of.insert(record.to_bytes().unwrap());
            }
        }
        let entries = books.taps.len() - self.entries;
        self.entries = books.taps.len();
        let shown: BTreeSet<CardId> = self
            .records
            .iter()
            .filter(|(_, of)| of.len() > 1)
            .map(|((card, _), _)| *card)
            .collect();
        let open: BTreeSet<CardId> = (books.open.values())
            .filter(|item| item.kind == ExceptionKind::Fork)
            .filter_map(|item| item.card)
            .collect();
        if !shown.is_subset(&open) {
            self.late += entries;
        }
    }
}

/// A town with wrong clocks, torn taps and lost validators.
fn troubled(seed: u64) -> Town {
    let mut town = Town::new(seed, VALIDATORS, u32::try_from(CARDS).unwrap());
    town.tears = 100;
    let year = 365 * 86_400;
    town.skew = BTreeMap::from([(4, year), (9, -year), (14, 7 * 3600), (23, -600)]);
    town
}

fn round(town: &mut Town, told: &mut Told, cards: usize) {
    for card in 0..cards {
        town.ride(card);
    }
    for validator in 0..town.validators.len() {
        town.deliver(validator, |depot| told.hear(depot));
    }
}

/// Two validators vanish with what they had not sent.
fn lose_two(town: &mut Town) {
    for card in 0..town.cards.len() {
        town.ride(card);
    }
    for validator in [6, 11] {
        town.destroy(validator);
    }
}

#[test]
fn clean_towns_with_tears_wrong_clocks_and_lost_records_have_no_false_alarm() {
    let mut presentations = 0;
    for seed in 0..4 {
        let (mut town, mut told) = (troubled(seed), Told::default());
        for n in 0..6 {
            if n == 3 {
                lose_two(&mut town);
            }
            round(&mut town, &mut told, CARDS);
        }
        assert_eq!(town.depot.findings, [""; 0]);
        for kind in
            [ExceptionKind::Fork, ExceptionKind::BalanceMismatch, ExceptionKind::FareMismatch]
        {
            assert_eq!(town.open(kind), [], "seed {seed}: {kind:?}");
        }
        let clocks = town.depot.books.open.values();
        let clocks = clocks.filter(|item| item.kind == ExceptionKind::ClockWrong);
        let named: BTreeSet<_> = clocks.filter_map(|item| item.validator).collect();
        // Ten minutes behind is within the bound.
        let off: BTreeSet<_> = [4, 9, 14].map(|at: usize| town.validators[at].id).into();
        assert_eq!(named, off, "seed {seed}: clocks");
        town.assert_sound();
        presentations += town.presentations;
    }
    println!("{presentations} presentations, no false alarm");
    assert!(presentations > 4_000);
}

#[test]
fn every_copied_and_every_rolled_back_card_is_found_at_once_and_no_other() {
    let (mut attacked, mut presentations, mut entries) = (0, 0, 0);
    for seed in 10..13 {
        let (mut town, mut told) = (troubled(seed), Told::default());
        round(&mut town, &mut told, CARDS);
        round(&mut town, &mut told, CARDS);
        let mut guilty = BTreeSet::new();
        // Ten cards are copied; the copies are used in turn with the originals from now on.
        for card in 0..10 {
            let copy = town.copy(card);
            guilty.insert(town.uid(copy));
        }
        // Ten more are remembered, used, put back to what they were, and used again.
        let images: Vec<_> = (10..20).map(|card| (card, town.image(card))).collect();
        let all = town.cards.len();
        round(&mut town, &mut told, all);
        lose_two(&mut town);
        round(&mut town, &mut told, all);
        for (card, image) in images {
            town.put_back(card, &image);
            guilty.insert(town.uid(card));
        }
        for _ in 0..3 {
            round(&mut town, &mut told, all);
        }
        assert_eq!(town.depot.findings, [""; 0]);
        let open: BTreeSet<CardId> = town.open(ExceptionKind::Fork).into_iter().collect();
        assert_eq!(open, guilty, "seed {seed}: recall 100 %, false hits 0");
        assert_eq!(told.late, 0, "seed {seed}: found with the batch that completes the evidence");
        for card in &guilty {
            assert_has_both_records(&town, *card);
        }
        town.assert_sound();
        attacked += guilty.len();
        presentations += town.presentations;
        entries += told.entries;
    }
    println!("{attacked} attacked cards, {presentations} presentations, {entries} entries");
}

/// The item holds both histories as evidence, records that chips really committed.
fn assert_has_both_records(town: &Town, card: CardId) {
    let items = town.depot.books.open.values();
    let of_card = items.filter(|i| (i.kind, i.card) == (ExceptionKind::Fork, Some(card)));
    let [item] = &of_card.collect::<Vec<_>>()[..] else { panic!("one item for {card}") };
    let records: Vec<CardRecord> = item.evidence.iter().filter_map(|e| e.record).collect();
    assert!(records.len() >= 2 && records[0].ctr == records[1].ctr, "{item:?}");
    for record in records {
        assert!(town.truth[&card][&record.ctr].contains(&record), "{record:?}");
    }
}
