//! The pipeline over a real database: honest taps, replays, crashes, lies and rubbish.

mod at_gate;
mod auto;
mod blocked;
mod bulk;
mod cash_outs;
mod channels;
mod claims;
mod clocks;
mod corrections;
mod credit;
mod due;
mod expiry;
mod forgeries;
mod orders;
mod products;
mod providers;
mod purses;
mod tickets;
mod unserved;
mod versions;
mod work;

use std::{collections::BTreeSet, sync::Arc};

use fleet_sync::{DepotName, SigningKey, verify_ack};
use model::{CardId, CardLayout, CardProof, Refusal, TapEvent, TapSeq, Timestamp};

use super::{Checker, Message, Output, Pipeline, Workplace, register_cards, step};
use crate::{
    clock::Clock,
    events::Events,
    http::views::{Books, ExceptionFilter, Outcome, Page, TapFilter},
    metrics::Metrics,
    store::{ReadModel, Store},
    workload::{Bus, Cards, OPENING, card_keys, rules},
};

const NOON: u32 = 1_800_000_000;

struct Rig {
    _folder: tempfile::TempDir,
    place: Workplace,
    pipeline: Pipeline,
    cards: Cards,
    buses: Vec<Bus>,
}

fn signing() -> SigningKey {
    SigningKey::from_bytes(&[9; 32])
}

fn depot() -> DepotName {
    "north".parse().unwrap()
}

fn pipeline(place: &Workplace) -> Pipeline {
    let checker = Checker::new(depot(), card_keys()).receiving(vec![signing()]);
    Pipeline::new(place.clone(), checker, signing(), 2)
}

impl Rig {
    fn new() -> Self {
        Self::with(rules(), |_| false)
    }

    /// The depot prices with these rules; the cards that are said so are of layout 2.
    fn with(rules: clearing::Rules, has_counters: fn(usize) -> bool) -> Self {
        Self::of(rules, Cards::new(3, NOON - 1000), has_counters)
    }

    fn of(rules: clearing::Rules, cards: Cards, has_counters: fn(usize) -> bool) -> Self {
        let (folder, store) = Store::for_test();
        let place = Workplace {
            depot: depot(),
            store: Arc::new(store),
            rules: rules.into(),
            events: Events::default(),
            metrics: Metrics::default(),
            clock: Clock::manual(Timestamp::from_secs(u64::from(NOON) + 60)),
        };
        let mut issues = cards.issues();
        for (card, issue) in issues.iter_mut().enumerate().filter(|(_, i)| i.purse.is_none()) {
            issue.record.layout =
                if has_counters(card) { CardLayout::Counters } else { CardLayout::Plain };
        }
        register_cards(&place, &issues).unwrap();
        let buses: Vec<_> = (1..=4).map(|number| Bus::new(number, &depot())).collect();
        for bus in &buses {
            let key = bus.signing.verifying_key();
            place.store.enrol(bus.id, &key, "bus", false, Timestamp(0)).unwrap();
        }
        let pipeline = pipeline(&place);
        Self { _folder: folder, place, pipeline, cards, buses }
    }

    fn submit(&mut self, messages: &[Message]) -> Output {
        self.pipeline.submit(messages.to_vec()).unwrap()
    }

    /// As after a crash: everything in memory is gone.
    fn restart(&mut self) {
        self.pipeline = pipeline(&self.place);
    }

    fn board(&mut self, bus: usize, card: u32, at: u32) -> TapSeq {
        self.buses[bus].board(&mut self.cards, card, NOON + at)
    }

    fn books(&self) -> ReadModel {
        let Workplace { store, rules, clock, .. } = &self.place;
        ReadModel::new(Arc::clone(store), rules.clone(), clock.clone())
    }

    /// (entries, minor units charged).
    fn sums(&self) -> (u64, i64) {
        let sums = self.books().tap_sums(&TapFilter::default()).unwrap();
        (sums.total(), sums.charged[0].minor())
    }

    fn open_kinds(&self) -> Vec<&'static str> {
        let filter = ExceptionFilter { open: Some(true), ..ExceptionFilter::default() };
        let rows = self.books().exceptions(&filter, Page::first(100)).unwrap();
        rows.iter().rev().map(|row| row.kind.word()).collect()
    }

    fn quarantined(&self) -> BTreeSet<String> {
        self.place.store.quarantine_reasons().unwrap()
    }

    /// The trial balance is zero, and `verify` finds nothing.
    fn assert_sound(&self) {
        let mut sums = std::collections::BTreeMap::<_, i64>::new();
        for row in self.books().trial_balance().unwrap() {
            *sums.entry(row.balance.currency()).or_default() += row.balance.minor();
        }
        assert!(sums.values().all(|sum| *sum == 0), "trial balance of each currency: {sums:?}");
        let checker = Checker::new(depot(), card_keys());
        let report = crate::verify::verify(&self.place.store, &checker, &self.place.rules).unwrap();
        assert_eq!(report.first_difference, None);
    }
}

fn acked_through(rig: &Rig, output: &Output, bus: usize) -> TapSeq {
    let [(topic, payload)] = &output.acks[..] else { panic!("one ack: {output:?}") };
    let id = rig.buses[bus].id;
    assert!(topic.ends_with(&format!("/{id}/down/ack")), "{topic}");
    verify_ack(payload, id, &signing().verifying_key()).unwrap().acked_through
}

#[test]
fn an_honest_batch_is_booked_acked_and_explained() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    rig.board(0, 1, 5);
    let batch = rig.buses[0].batch();
    let output = rig.submit(&[batch]);
    assert_eq!((output.new_taps, acked_through(&rig, &output, 0)), (2, TapSeq(2)));
    assert_eq!(rig.sums(), (2, 300));
    assert_eq!(rig.open_kinds(), [""; 0]);
    let books = rig.books();
    let handle = books.find_card(Cards::id(0)).unwrap().unwrap();
    let facts = books.card(handle).unwrap().unwrap();
    assert_eq!(facts.on_card.minor(), i64::from(OPENING) - 150);
    assert_eq!(facts.in_ledger, facts.on_card);
    let history = books.card_history(handle, Page::first(10)).unwrap();
    let [entry] = &history[..] else { panic!("one entry: {history:?}") };
    let explained: i64 = entry.steps.iter().map(|step| step.amount.minor()).sum();
    assert_eq!((explained, entry.tap.charged.minor()), (150, 150));
    let fleet = books.fleet().unwrap();
    assert_eq!(fleet[0].tap_p95_ms, Some(180));
    rig.assert_sound();
}

#[test]
fn a_replay_is_acked_again_and_changes_nothing() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    let first = rig.buses[0].batch();
    rig.board(0, 0, 300);
    let second = rig.buses[0].batch();
    rig.submit(&[first.clone(), second.clone()]);
    let before = rig.sums();
    for replay in [&first, &second] {
        let output = rig.submit(std::slice::from_ref(replay));
        assert_eq!((output.new_taps, acked_through(&rig, &output, 0)), (0, TapSeq(2)));
        rig.restart();
    }
    rig.submit(&[second, first.clone(), first]);
    assert_eq!(rig.sums(), before);
    rig.assert_sound();
}

/// As after a restart of the validator, which cuts what is not acked into other batches.
#[test]
fn what_is_sent_again_beside_the_batch_that_brings_it_is_known() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    let first = rig.buses[0].clone().batch();
    rig.board(0, 1, 5);
    let part = rig.buses[0].clone().batch();
    rig.board(0, 2, 10);
    let whole = rig.buses[0].batch();
    let output = rig.submit(&[whole, part, first]);
    assert_eq!((output.new_taps, acked_through(&rig, &output, 0)), (3, TapSeq(3)));
    assert_eq!(rig.quarantined(), BTreeSet::new());
    rig.assert_sound();
}

#[test]
fn a_crash_between_commit_and_ack_is_harmless() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    let batch = rig.buses[0].batch();
    let lost_with_the_crash = rig.submit(std::slice::from_ref(&batch));
    assert_eq!(lost_with_the_crash.acks.len(), 1);
    rig.restart();
    let again = rig.submit(&[batch]);
    assert_eq!((again.new_taps, acked_through(&rig, &again, 0)), (0, TapSeq(1)));
    assert_eq!(rig.sums(), (1, 150));
    rig.assert_sound();
}

#[test]
fn a_crash_before_the_commit_leaves_nothing_and_the_batch_comes_again() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    let batch = rig.buses[0].batch();
    let checked = rig.pipeline.front.check(vec![batch.clone()]).unwrap();
    let group = rig.place.store.begin().unwrap();
    let now = rig.place.clock.now();
    let mut seats = step::Seats::default();
    let (booking, _) = step::step(&mut seats, &group, &rig.place.rules, checked, now).unwrap();
    assert_eq!(booking.batches.len(), 1);
    drop((booking, group));
    assert_eq!(rig.sums(), (0, 0));
    rig.restart();
    rig.submit(&[batch]);
    assert_eq!(rig.sums(), (1, 150));
    rig.assert_sound();
}

#[test]
fn a_hole_is_asked_for_and_nothing_above_it_is_booked() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    let first = rig.buses[0].batch();
    rig.board(0, 1, 5);
    let second = rig.buses[0].batch();
    let output = rig.submit(std::slice::from_ref(&second));
    let ack = verify_ack(&output.acks[0].1, rig.buses[0].id, &signing().verifying_key()).unwrap();
    assert_eq!((ack.acked_through, &ack.missing[..]), (TapSeq(0), &[(TapSeq(1), TapSeq(1))][..]));
    assert_eq!(rig.sums(), (0, 0));
    rig.submit(&[first, second]);
    assert_eq!(rig.sums(), (2, 300));
    rig.assert_sound();
}

#[test]
fn records_that_arrive_out_of_order_over_two_validators_end_in_the_same_books() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    rig.board(1, 0, 600);
    let (first, second) = (rig.buses[0].batch(), rig.buses[1].batch());
    // The second tap carries the first as evidence, so nothing is missing meanwhile.
    rig.submit(&[second]);
    let books = rig.books();
    let handle = books.find_card(Cards::id(0)).unwrap().unwrap();
    let on_card = i64::from(OPENING) - 300;
    assert_eq!(books.card(handle).unwrap().unwrap().in_ledger.minor(), on_card);
    rig.submit(&[first]);
    assert_eq!(books.card(handle).unwrap().unwrap().in_ledger.minor(), on_card);
    assert_eq!(rig.open_kinds(), [""; 0]);
    rig.assert_sound();
}

#[test]
fn a_lost_record_stands_in_suspense_until_it_arrives() {
    let mut rig = Rig::new();
    for at in [0, 600] {
        rig.board(0, 0, at);
    }
    rig.board(1, 0, 1200);
    let (late, early) = (rig.buses[0].batch(), rig.buses[1].batch());
    rig.submit(&[early]);
    assert_eq!(rig.open_kinds(), ["card-gap"]);
    let books = rig.books();
    let handle = books.find_card(Cards::id(0)).unwrap().unwrap();
    let facts = books.card(handle).unwrap().unwrap();
    assert_eq!((facts.suspense.minor(), facts.in_ledger), (150, facts.on_card));
    rig.assert_sound();
    rig.submit(&[late]);
    assert_eq!(rig.open_kinds(), [""; 0]);
    assert_eq!(books.card(handle).unwrap().unwrap().suspense.minor(), 0);
    rig.assert_sound();
}

#[test]
fn a_tap_in_doubt_is_held_until_the_card_decides() {
    let mut rig = Rig::new();
    let transaction = rig.cards.boarding(0, NOON, rig.buses[0].id);
    let doubt = TapEvent::InDoubt { transaction };
    rig.buses[0].log(Some(Cards::id(0)), NOON, doubt);
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    assert_eq!(rig.open_kinds(), ["in-doubt"]);
    rig.assert_sound();
    // It had committed: the next tap anywhere shows it, and that its rider paid twice.
    rig.cards.commit(0, &transaction);
    rig.board(1, 0, 900);
    let batch = rig.buses[1].batch();
    rig.submit(&[batch]);
    assert_eq!(rig.open_kinds(), ["charged-without-passage"]);
    let books = rig.books();
    let handle = books.find_card(Cards::id(0)).unwrap().unwrap();
    assert_eq!(books.card(handle).unwrap().unwrap().in_ledger.minor(), i64::from(OPENING) - 300);
    rig.assert_sound();
}

/// Found by killing validators: the card is held again within the second of a tap that it never
/// committed, and so gets the very record that was in doubt.
#[test]
fn a_tap_made_again_within_the_second_of_one_that_never_happened_is_no_copy() {
    let mut rig = Rig::new();
    let card = Some(Cards::id(0));
    let transaction = rig.cards.boarding(0, NOON, rig.buses[0].id);
    let of = rig.buses[0].log(card, NOON, TapEvent::InDoubt { transaction });
    rig.buses[0].log(card, NOON, TapEvent::Voided { of, seen: transaction.before });
    let proof = rig.cards.commit(0, &transaction);
    rig.buses[0].log(card, NOON, TapEvent::Committed { transaction, proof });
    rig.board(1, 0, 900);
    let (late, early) = (rig.buses[0].batch(), rig.buses[1].batch());
    // The later tap comes first and brings the record as evidence.
    rig.submit(&[early]);
    rig.submit(&[late]);
    assert_eq!(rig.open_kinds(), [""; 0]);
    assert_eq!(rig.sums(), (4, 300));
    rig.assert_sound();
}

#[test]
fn a_refusal_is_counted_and_moves_nothing() {
    let mut rig = Rig::new();
    let reason = Refusal::InsufficientValue;
    let seen = Some(*rig.cards.newest(1));
    rig.buses[0].log(Some(Cards::id(1)), NOON, TapEvent::Refused { reason, seen });
    rig.buses[0].log(None, NOON, TapEvent::Refused { reason: Refusal::Unreadable, seen: None });
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    let books = rig.books();
    let sums = books.tap_sums(&TapFilter::default()).unwrap();
    assert_eq!((sums.of(Outcome::Refused), sums.charged[0].minor()), (2, 0));
    let filter = TapFilter { reason: Some(reason), ..TapFilter::default() };
    assert_eq!(books.taps(&filter, Page::first(10)).unwrap().len(), 1);
    rig.assert_sound();
}

#[test]
fn a_proof_that_does_not_hold_moves_nothing_and_is_shown() {
    let mut rig = Rig::new();
    let transaction = rig.cards.boarding(0, NOON, rig.buses[0].id);
    let forged = TapEvent::Committed { transaction, proof: CardProof([1; 8]) };
    rig.buses[0].log(Some(Cards::id(0)), NOON, forged);
    rig.board(0, 1, 5);
    let batch = rig.buses[0].batch();
    let output = rig.submit(&[batch]);
    assert_eq!(acked_through(&rig, &output, 0), TapSeq(2), "kept, so it is acked");
    assert_eq!(rig.open_kinds(), ["proof-invalid"]);
    assert_eq!(rig.sums(), (2, 150));
    rig.assert_sound();
}

#[test]
fn rubbish_of_each_kind_is_set_aside_by_name_and_costs_nobody_else() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    let good = rig.buses[0].batch();
    let with = |edit: &dyn Fn(&mut Message)| {
        let mut message = good.clone();
        edit(&mut message);
        message
    };
    let stranger = {
        let mut bus = Bus::new(77, &depot());
        bus.board(&mut rig.cards, 2, NOON);
        bus.batch()
    };
    let rubbish = [
        with(&|m| m.topic = "weather/today".to_owned()),
        stranger,
        with(&|m| m.payload.truncate(40)),
        with(&|m| m.payload[1] = 9),
        with(&|m| *m.payload.last_mut().unwrap() ^= 1),
        with(&|m| m.payload.resize(200_000, 0)),
        with(&|m| m.payload.clear()),
    ];
    let mut group = rubbish.to_vec();
    group.push(good);
    let output = rig.submit(&group);
    assert_eq!(output.new_taps, 1);
    let reasons = rig.quarantined();
    let reasons: Vec<_> = reasons.iter().map(String::as_str).collect();
    let expected = [
        "bad-signature",
        "oversize",
        "unknown-topic",
        "unknown-validator",
        "unknown-version",
        "unreadable",
    ];
    assert_eq!(reasons, expected);
    rig.assert_sound();
}

#[test]
fn other_bytes_under_a_booked_number_are_an_incident_and_the_books_stand() {
    let mut rig = Rig::new();
    let mut copy = rig.buses[0].clone();
    let mut other_cards = rig.cards.clone();
    rig.board(0, 0, 0);
    copy.board(&mut other_cards, 1, NOON);
    let (booked, conflicting) = (rig.buses[0].batch(), copy.batch());
    rig.submit(&[booked]);
    rig.restart();
    let output = rig.submit(&[conflicting]);
    assert_eq!(output.acks, []);
    assert_eq!(rig.open_kinds(), ["chain-broken"]);
    assert_eq!(rig.quarantined(), BTreeSet::from(["conflicting".to_owned()]));
    assert_eq!(rig.sums(), (1, 150));
    rig.assert_sound();
}

#[test]
fn registers_that_contradict_the_entries_are_an_exception_with_the_amount() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    let mut batch = rig.buses[0].assemble();
    batch.registers.debit_sum += 500;
    let message = rig.buses[0].seal(&batch);
    rig.submit(&[message]);
    assert_eq!(rig.open_kinds(), ["register-mismatch"]);
    let rows = rig.books().exceptions(&ExceptionFilter::default(), Page::first(1)).unwrap();
    assert_eq!(rows[0].amount.unwrap().minor(), 500);
}

#[test]
fn verify_names_the_first_thing_that_was_altered() {
    for (what, sql, finding) in [
        ("an amount", "UPDATE taps SET amount = 0 WHERE id = 2", "tap 2"),
        ("a tap is gone", "DELETE FROM taps WHERE id = 1", "tap"),
        ("a balance", "UPDATE cards SET credits_posted = credits_posted + 1", "account"),
        (
            "a card's state",
            "UPDATE cards SET state = CAST(x'0100' || substr(state, 3) AS BLOB)",
            "card",
        ),
        ("a transfer", "UPDATE transfers SET body = zeroblob(157) WHERE id = 4", "transfer"),
        ("a transfer is gone", "DELETE FROM transfers WHERE id = 4", "transfer"),
        ("an account", "UPDATE accounts SET credits_posted = credits_posted + 1", "account"),
        ("a sum", "UPDATE account_groups SET debits_posted = debits_posted + 1", "sums"),
        ("a mark", "UPDATE epochs SET through = through + 1", "mark"),
        ("an exception", "DELETE FROM exceptions", "exception"),
        (
            "one byte of the journal",
            "UPDATE batches SET payload = CAST(substr(payload, 1, 150) ||
             x'55' || substr(payload, 152) AS BLOB) WHERE id = 1",
            "journal row 1",
        ),
        ("the end of the journal", "DELETE FROM batches WHERE id = 2", "journal"),
    ] {
        let mut rig = Rig::new();
        let transaction = rig.cards.boarding(2, NOON, rig.buses[0].id);
        rig.board(0, 0, 0);
        rig.board(0, 1, 5);
        let first = rig.buses[0].batch();
        rig.buses[1].log(Some(Cards::id(2)), NOON, TapEvent::InDoubt { transaction });
        let second = rig.buses[1].batch();
        rig.submit(&[first]);
        rig.submit(&[second]);
        rig.assert_sound();
        rig.place.store.alter(sql);
        let checker = Checker::new(depot(), card_keys());
        let report = crate::verify::verify(&rig.place.store, &checker, &rig.place.rules).unwrap();
        let difference = report.first_difference.unwrap_or_default();
        assert!(difference.contains(finding), "{what}: {difference:?}");
    }
}

#[test]
fn cards_are_registered_once() {
    let rig = Rig::new();
    register_cards(&rig.place, &rig.cards.issues()).unwrap();
    let books = rig.books();
    let cash = books.trial_balance().unwrap();
    let cards = cash.iter().find(|row| row.name == "card").unwrap();
    assert_eq!((cards.accounts, cards.balance.minor()), (3, -3 * i64::from(OPENING)));
    assert_eq!(books.find_card(CardId([1; 7])).unwrap(), None);
    rig.assert_sound();
}
