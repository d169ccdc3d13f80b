//! A card's counters go on where they were left, whatever arrives when.

use alloc::{collections::BTreeSet, string::String, vec::Vec};

use model::{CardCounters, CardTransaction, Counter, CounterUse, Ctr, TapRecord};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::{Depot, History, committed, confirmed, entry_of, history, in_doubt, rules};
use crate::{ExceptionKind, KnownRecord, Rules};

fn counters(counted: u32) -> CardCounters {
    let day = Counter { cap: 1, level: 0, start: 2519, counted };
    CardCounters([Some(day), None, None, None])
}

/// What a record did with the counters.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Nothing,
    /// Found this, and left it.
    Found(u32),
    /// Found the first, and wrote the second.
    Counted(u32, u32),
}

use Deed::{Counted, Found, Nothing};

/// A card of layout 2 with this history, and what its transactions did with the counters.
struct Card {
    history: History,
    deeds: Vec<Deed>,
}

impl Card {
    fn new(rules: &Rules, text: &str, deeds: &[Deed]) -> Self {
        let mut history = history(rules, text);
        for record in &mut history.records {
            record.layout = model::CardLayout::Counters;
        }
        assert_eq!(history.records.len(), deeds.len() + 1);
        Self { history, deeds: deeds.to_vec() }
    }

    fn transaction(&self, ctr: u32) -> CardTransaction {
        let file = |counted| if counted == 0 { CardCounters::EMPTY } else { counters(counted) };
        let counters = match self.deeds[ctr as usize - 2] {
            Nothing => None,
            Found(found) => Some(CounterUse { found: file(found), written: None }),
            Counted(found, left) => {
                Some(CounterUse { found: file(found), written: Some(file(left)) })
            }
        };
        CardTransaction { counters, ..self.history.transaction(ctr) }
    }

    fn tap(&self, ctr: u32, seq: u64, event: fn(CardTransaction) -> model::TapEvent) -> TapRecord {
        let t = self.transaction(ctr);
        entry_of(&t, self.history.committed(ctr).route, seq, event(t))
    }
}

/// Counters at which a mismatch is open, as the items say it and as the state says it.
fn mismatches(depot: &Depot) -> Vec<u32> {
    let said: Vec<u32> = depot.state.miscounts().iter().map(|ctr| ctr.0).collect();
    let items = depot.open.values().filter(|i| i.kind == ExceptionKind::CountersMismatch);
    let items: BTreeSet<&str> = items.map(|item| item.finding.as_str()).collect();
    assert_eq!(items.len(), said.len());
    for ctr in &said {
        let begin = alloc::format!("record {ctr} found other counters");
        assert!(items.iter().any(|finding| finding.starts_with(&begin)), "{items:?}");
    }
    said
}

/// Delivers these records in this order; 1 is the issue.
fn delivered(rules: &Rules, card: &Card, order: &[u32]) -> Depot {
    let mut depot = Depot::default();
    for ctr in order {
        match ctr {
            1 => depot.issue(rules, &card.history.records[0]),
            ctr => depot.clear(rules, &card.tap(*ctr, 1, committed)),
        };
    }
    depot
}

#[test]
fn counters_that_go_on_where_they_were_left_say_nothing() {
    let rules = rules();
    let text = "50.00, ferry F, load 5.00, ferry F, ferry F, bus 7";
    let deeds = [Counted(0, 275), Nothing, Counted(275, 550), Found(550), Found(550)];
    let card = Card::new(&rules, text, &deeds);
    for order in [[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1], [4, 6, 1, 5, 2, 3]] {
        let depot = delivered(&rules, &card, &order);
        assert_eq!(mismatches(&depot), Vec::<u32>::new(), "{order:?}");
        assert!(depot.opened.iter().all(|id| {
            depot.open.get(id).is_none_or(|i| i.kind != ExceptionKind::CountersMismatch)
        }));
    }
}

#[test]
fn other_counters_than_were_left_are_a_work_item_in_whatever_order() {
    let rules = rules();
    let text = "50.00, ferry F, load 5.00, ferry F, ferry F, bus 7";
    // A new card that has counted; counters that went back across a load; ones that jumped.
    let deeds = [Counted(100, 275), Nothing, Counted(0, 275), Counted(275, 550), Found(999)];
    let card = Card::new(&rules, text, &deeds);
    for order in [[1, 2, 3, 4, 5, 6], [6, 5, 4, 3, 2, 1], [4, 6, 1, 5, 2, 3], [3, 1, 6, 4, 2, 5]] {
        let depot = delivered(&rules, &card, &order);
        assert_eq!(mismatches(&depot), [2, 4, 6], "{order:?}");
    }
}

#[test]
fn nothing_is_said_over_a_record_known_from_evidence_alone_until_its_own_entry_comes() {
    let rules = rules();
    let deeds = [Counted(0, 275), Counted(275, 550), Counted(999, 1274)];
    let card = Card::new(&rules, "50.00, ferry F, ferry F, ferry F", &deeds);
    let mut depot = delivered(&rules, &card, &[1, 2, 4]);
    assert_eq!(depot.state.gaps(), [], "record 3 is recovered from what record 4 found");
    assert_eq!(mismatches(&depot), Vec::<u32>::new(), "it may have counted up to 9.99");
    depot.clear(&rules, &card.tap(3, 1, committed));
    assert_eq!(mismatches(&depot), [4]);
}

#[test]
fn taps_in_doubt_count_once_they_are_proven() {
    let rules = rules();
    let deeds = [Counted(0, 275), Counted(0, 275), Counted(275, 550)];
    let card = Card::new(&rules, "50.00, ferry F, ferry F, ferry F", &deeds);
    for confirms in [true, false] {
        let mut depot = delivered(&rules, &card, &[1, 2]);
        depot.clear(&rules, &card.tap(3, 1, in_doubt));
        assert_eq!(mismatches(&depot), Vec::<u32>::new(), "nobody knows whether it happened");
        if confirms {
            depot.clear(&rules, &card.tap(3, 2, confirmed));
        } else {
            depot.clear(&rules, &card.tap(4, 1, committed));
        }
        assert_eq!(mismatches(&depot), [3], "it found what was there before record 2");
    }
}

#[test]
fn what_comes_after_a_fork_says_nothing_new() {
    let rules = rules();
    let deeds = [Counted(0, 275), Counted(275, 550), Counted(0, 275)];
    let card = Card::new(&rules, "50.00, ferry F, ferry F, ferry F", &deeds);
    let mut depot = delivered(&rules, &card, &[1, 2, 3, 4]);
    assert_eq!(mismatches(&depot), [4]);
    let copy = super::forked(card.transaction(3), 500);
    depot.clear(&rules, &entry_of(&copy, card.history.committed(3).route, 7, committed(copy)));
    let open = depot.open.values().map(|item| item.kind);
    let kinds: BTreeSet<_> = open.collect();
    assert!(kinds.contains(&ExceptionKind::Fork));
    assert!(!kinds.contains(&ExceptionKind::CountersMismatch), "explained by the fork");
}

#[test]
fn the_stored_form_of_a_record_keeps_what_it_counted() {
    let rules = rules();
    let deeds = [Counted(0, 275), Found(275), Nothing];
    let card = Card::new(&rules, "50.00, ferry F, ferry F, load 1.00", &deeds);
    let depot = delivered(&rules, &card, &[1, 2, 3, 4]);
    for (ctr, length) in [(1, 35), (2, 99), (3, 67), (4, 35)] {
        let known = depot.records[&Ctr(ctr)];
        let bytes = known.to_bytes().unwrap();
        assert_eq!((bytes.len(), KnownRecord::from_bytes(&bytes)), (length, Some(known)));
        for cut in 0..bytes.len() {
            assert_eq!(KnownRecord::from_bytes(&bytes[..cut]), None, "{ctr}, cut at {cut}");
        }
        let longer = [&bytes[..], &[0]].concat();
        assert_eq!(KnownRecord::from_bytes(&longer), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// REC-1 for counters: the items are a function of the set of entries, and with every entry
    /// there they name exactly the taps whose counters were tampered with.
    #[test]
    fn rec_1_holds_for_counters_and_every_tampering_is_named(
        turns in vec((0..4_u8, any::<bool>()), 1..12),
        lost in vec(0..100_u8, 12),
        draws in vec(any::<Index>(), 24),
    ) {
        let rules = rules();
        let mut text = String::from("900.00");
        let (mut deeds, mut tampered, mut stands) = (Vec::new(), Vec::new(), 0);
        for (n, (what, tampers)) in (2_u32..).zip(&turns) {
            let found = stands + u32::from(*tampers);
            let (ride, deed) = match what {
                0 => (", load 1.00", Nothing),
                1 => (", ferry F", Found(found)),
                _ => (", ferry F", Counted(found, stands + 275)),
            };
            text.push_str(ride);
            match deed {
                Nothing => {}
                Found(left) | Counted(_, left) => {
                    stands = left;
                    if *tampers {
                        tampered.push(n);
                    }
                }
            }
            deeds.push(deed);
        }
        let card = Card::new(&rules, &text, &deeds);
        let last = u32::try_from(deeds.len()).unwrap() + 1;
        let mut rest: Vec<u32> = (1..=last).collect();
        let mut order = Vec::new();
        for draw in draws.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            order.push(rest.swap_remove(draw.index(rest.len())));
        }
        let depot = delivered(&rules, &card, &order);
        prop_assert_eq!(mismatches(&depot), tampered.clone());

        let heard = |ctr: &&u32| lost[(**ctr as usize) % lost.len()] >= 25;
        let some: Vec<u32> = order.iter().filter(heard).copied().collect();
        let mut sorted = some.clone();
        sorted.sort_unstable();
        let (shuffled, in_order) =
            (delivered(&rules, &card, &some), delivered(&rules, &card, &sorted));
        prop_assert_eq!(mismatches(&shuffled), mismatches(&in_order));
        prop_assert!(mismatches(&shuffled).iter().all(|ctr| tampered.contains(ctr)));
        prop_assert_eq!(&shuffled.state, &in_order.state);
    }
}
