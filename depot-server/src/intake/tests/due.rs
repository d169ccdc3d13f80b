//! What cards are owed, over a real database: worked out after the commit, in whatever order the
//! entries come, and found again after a crash.

use card::KeySet;
use clearing::{Account, DeskDeed, DeskEntry, Priced, Rules};
use fare::{Tariff, TariffSet, rules::ZoneOffsets};
use model::{
    CardCounters, CardLayout, CardRecord, CardTransaction, ClockQuality, CounterUse, Ctr, Currency,
    Epoch, GateWord, PlaceIx, RecordKind, RouteIx, ServiceDate, StationId, TapRecord, TapRole,
    TariffVersion,
};
use proptest::{collection::vec, prelude::*, sample::Index};

use super::*;
use crate::{
    intake::stored::BookedDesk,
    store::{Begun, OwedDay},
    workload::card_proof,
};

/// Gates with a maximum fare, a bus, and a day cap of 4.00.
pub(super) const TOWN: &str = r#"
format = 1
version = 1
network = "Town"
timezone = "Etc/UTC"
currency = "EUR"
groups = ["bus", "metro"]
day_starts = "04:00"
operator = [{ id = "b", name = "Buses" }, { id = "m", name = "Metro" }]
product = [
  { id = "bus", name = "Bus", price = "1.50" },
  { id = "near", name = "Near", price = "2.00" },
  { id = "far", name = "Far", price = "3.00" },
]
place = [
  { id = "A", name = "Alpha", lat = 1, lon = 2, kind = "station" },
  { id = "B", name = "Beta", lat = 1, lon = 2, kind = "station" },
  { id = "s", name = "Stop", lat = 0, lon = 0, kind = "stop" },
]
route = [
  { id = "7", name = "Bus 7", mode = "bus", operator = "b", group = "bus", product = "bus" },
  { id = "M", name = "Metro", mode = "subway", operator = "m", group = "metro" },
]
cap = [{ number = 1, id = "day", name = "Day cap", period = "day", levels = [{ price = "4.00" }] }]

[gate]
group = "metro"
journey_limit_s = 7200

[matrix]
to = ["A", "B"]
[matrix.from]
A = ["far", "near"]
B = ["far", "near"]

[[exchange]]
currency = "CHF"
rates = [{ from = 2020-01-01, rate = "0.9432" }]
rounding = "half-up"
"#;

const STOP: PlaceIx = PlaceIx(2);

pub(super) fn town() -> Rules {
    let utc = |_: &str| Some(ZoneOffsets::fixed(0));
    let tariff = Tariff::parse_in(TOWN, None, &utc).unwrap_or_else(|found| panic!("{found:#?}"));
    Rules::new(TariffSet::new(tariff))
}

/// How an entry reaches the depot.
#[derive(Debug, Clone, Copy)]
enum Told {
    Committed,
    /// In doubt; the card did commit.
    Doubted,
    /// Its log is lost.
    Lost,
}

/// A card, as honest validators charge it.
pub(super) struct Rider {
    keys: KeySet,
    card: u32,
    newest: CardRecord,
    counters: Option<CardCounters>,
    purse: Option<Currency>,
    /// What its next tap charges beyond the tariff.
    surcharge: u32,
}

impl Rider {
    /// Card `card` of the rig; it has counters when it is odd.
    pub(super) fn new(rig: &Rig, card: u32) -> Self {
        let purse = rig.cards.purse(card);
        let counters = (card % 2 == 1 || purse.is_some()).then_some(CardCounters::EMPTY);
        let layout = match (purse, counters) {
            (Some(_), _) => CardLayout::OtherCurrency,
            (None, Some(_)) => CardLayout::Counters,
            (None, None) => CardLayout::Plain,
        };
        let newest = CardRecord { layout, ..*rig.cards.newest(card) };
        Self { keys: card_keys(), card, newest, counters, purse, surcharge: 0 }
    }

    fn proof(&self, transaction: &CardTransaction) -> CardProof {
        card_proof(&self.keys, Cards::id(self.card), transaction)
    }

    /// One tap at validator `bus`, `at_s` after noon; one that is refused leaves nothing. Answers
    /// what was charged.
    fn tap(
        &mut self,
        rig: &mut Rig,
        bus: usize,
        at_s: u32,
        (role, place): (TapRole, PlaceIx),
        told: Told,
    ) -> Option<u32> {
        let before = self.newest;
        let route = (role == TapRole::Board).then_some(RouteIx(0));
        let found = self.counters.map(|found| CounterUse { found, written: None });
        let kind = match role {
            TapRole::Board => RecordKind::Board,
            TapRole::Entry => RecordKind::Entry,
            TapRole::Exit => RecordKind::Exit,
        };
        let (ctr, at_s) = (Ctr(before.ctr.0 + 1), NOON + at_s);
        let validator = rig.buses[bus].id;
        let run = None;
        let after = CardRecord { kind, ctr, amount: 0, at_s, validator, place, run, ..before };
        let mut done = CardTransaction {
            before,
            after,
            products: None,
            loaded: None,
            counters: found,
            companions: model::Companions::NONE,
            purse: self.purse,
        };
        let Priced::Quote(quote) = town().price(&done, route) else { return None };
        let charge = u32::try_from(quote.debit.minor()).unwrap();
        done.after.amount = charge + std::mem::take(&mut self.surcharge);
        done.after.balance -= i32::try_from(done.after.amount).unwrap();
        done.after.run = quote.run_after;
        if let (Some(used), Some(found)) = (&mut done.counters, self.counters) {
            used.written = quote.counters_after.filter(|written| *written != found);
            self.counters = used.written.or(self.counters);
        }
        self.newest = done.after;
        let event = match told {
            Told::Committed => TapEvent::Committed { transaction: done, proof: self.proof(&done) },
            Told::Doubted => TapEvent::InDoubt { transaction: done },
            Told::Lost => return Some(done.after.amount),
        };
        rig.buses[bus].log_entry(TapRecord {
            validator,
            epoch: Epoch(1),
            seq: TapSeq(0),
            card: Some(Cards::id(self.card)),
            tapped_at: Timestamp::from_secs(u64::from(at_s)),
            clock: ClockQuality::Ntp,
            role,
            place,
            route,
            tariff: TariffVersion(1),
            duration_ms: 180,
            order: None,
            place_age_s: None,
            hotlist_version: None,
            event,
        });
        Some(done.after.amount)
    }

    /// What the gate said of the rider of entry `of`.
    pub(super) fn at_gate(&self, rig: &mut Rig, bus: usize, said: GateWord, of: TapSeq) -> TapSeq {
        let event = TapEvent::Gate { said, of: Some(of) };
        rig.buses[bus].log(Some(Cards::id(self.card)), self.newest.at_s + 8, event)
    }

    pub(super) const fn newest(&self) -> CardRecord {
        self.newest
    }

    /// In at a station, and out at another when one is given.
    pub(super) fn metro(&mut self, rig: &mut Rig, at_s: u32, from: u16, to: Option<u16>) {
        self.tap(rig, 0, at_s, (TapRole::Entry, PlaceIx(from)), Told::Committed).unwrap();
        if let Some(to) = to {
            self.tap(rig, 0, at_s + 900, (TapRole::Exit, PlaceIx(to)), Told::Committed).unwrap();
        }
    }

    pub(super) fn board(&mut self, rig: &mut Rig, bus: usize, at_s: u32) -> Option<u32> {
        self.tap(rig, bus, at_s, (TapRole::Board, STOP), Told::Committed)
    }
}

impl Rig {
    /// Odd cards have counters.
    pub(super) fn town() -> Self {
        Self::with(town(), |card| card % 2 == 1)
    }

    pub(super) fn owed(&self, card: u32) -> Vec<(ServiceDate, i64)> {
        let days = self.place.store.owed(Cards::id(card)).unwrap();
        days.iter().map(|day| (day.day, day.booked.owed)).filter(|(_, owed)| *owed != 0).collect()
    }

    pub(super) fn open(&self, card: u32) -> i64 {
        self.place.store.owed(Cards::id(card)).unwrap().iter().map(OwedDay::open).sum()
    }

    pub(super) fn on(&self, account: Account) -> i64 {
        let id = account.id(self.place.rules.currency());
        self.place.store.account(&id).unwrap().posted()
    }

    fn due_rows(&self) -> usize {
        self.place.store.due_journal().unwrap().len()
    }

    /// Books as before a crash between the commit of a group and the due step.
    fn book_only(&mut self, messages: &[Message]) {
        let checked = self.pipeline.front.check(messages.to_vec()).unwrap();
        self.pipeline.back.book(checked).unwrap();
    }
}

/// Four boardings in one day on a card without counters: 6.00 charged where 4.00 is the cap.
fn capped(rig: &mut Rig) -> Message {
    let mut rider = Rider::new(rig, 0);
    for n in 0..4 {
        assert_eq!(rider.board(rig, 0, n * 900), Some(150), "no validator knows of the cap");
    }
    rig.buses[0].batch()
}

#[test]
fn what_was_charged_above_a_cap_is_booked_as_owed_and_verifies() {
    let mut rig = Rig::town();
    let batch = capped(&mut rig);
    rig.submit(std::slice::from_ref(&batch));
    let [(_, owed)] = rig.owed(0)[..] else { panic!("one day: {:?}", rig.owed(0)) };
    assert_eq!((owed, rig.open(0)), (200, 200));
    let due = Account::RiderDue(Cards::id(0));
    assert_eq!((rig.on(due), rig.on(Account::FareReduction)), (200, -200));
    rig.assert_sound();
    let rows = rig.due_rows();
    rig.submit(&[batch]);
    rig.pipeline.back.settle_due();
    assert_eq!(rig.due_rows(), rows, "a replay says nothing new");
}

#[test]
fn a_crash_between_the_commit_and_the_due_step_is_made_up_for_at_the_next_start() {
    let mut rig = Rig::town();
    let batch = capped(&mut rig);
    rig.book_only(&[batch]);
    assert_eq!((rig.owed(0), rig.place.store.due_queue(9).unwrap()), (vec![], vec![Cards::id(0)]));
    // The books are sound meanwhile; they say that a card waits.
    rig.assert_sound();
    rig.restart();
    while rig.pipeline.back.settle_due() {}
    assert_eq!((rig.open(0), rig.place.store.due_queue(9).unwrap()), (200, vec![]));
    rig.assert_sound();
    let rows = rig.due_rows();
    rig.restart();
    rig.pipeline.back.settle_due();
    assert_eq!(rig.due_rows(), rows, "the second start finds nothing to do");
}

#[test]
fn a_card_whose_validators_knew_all_is_never_priced_again() {
    let mut rig = Rig::town();
    let mut rider = Rider::new(&rig, 1);
    let paid: Vec<_> = (0..4).map(|n| rider.board(&mut rig, 0, n * 900).unwrap()).collect();
    assert_eq!(paid, [150, 150, 100, 0]);
    let batch = rig.buses[0].batch();
    rig.book_only(&[batch]);
    assert_eq!(rig.place.store.due_queue(9).unwrap(), []);
    assert_eq!(rig.owed(1), []);
    rig.assert_sound();
}

#[test]
fn what_a_work_item_repays_is_not_owed_a_second_time() {
    // A reader that let nobody through: 1.50 by the item, and three rides under the cap here.
    let mut rig = Rig::town();
    let mut rider = Rider::new(&rig, 0);
    rider.tap(&mut rig, 0, 0, (TapRole::Board, STOP), Told::Doubted);
    for n in 1..4 {
        rider.board(&mut rig, 1, n * 900);
    }
    let (doubted, others) = (rig.buses[0].batch(), rig.buses[1].batch());
    rig.submit(&[others]);
    assert_eq!(rig.open(0), 50, "the boarding's route is not known yet");
    rig.submit(&[doubted]);
    assert_eq!((rig.open_kinds(), rig.open(0)), (vec!["charged-without-passage"], 50));
    rig.assert_sound();
    // A validator that charged more than its tariff says: 0.50 by the item, the cap here.
    let mut rig = Rig::town();
    let mut rider = Rider::new(&rig, 0);
    rider.surcharge = 50;
    let paid: Vec<_> = (0..4).map(|n| rider.board(&mut rig, 0, n * 900).unwrap()).collect();
    assert_eq!(paid, [200, 150, 150, 150]);
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    assert_eq!((rig.open_kinds(), rig.open(0)), (vec!["fare-mismatch"], 200));
    rig.assert_sound();
}

#[test]
fn a_change_to_what_is_owed_or_a_lie_about_it_is_named_by_verify() {
    let verify = |rig: &Rig| {
        let checker = Checker::new(depot(), card_keys());
        let report = crate::verify::verify(&rig.place.store, &checker, &rig.place.rules).unwrap();
        report.first_difference.unwrap()
    };
    let mut rig = Rig::town();
    let batch = capped(&mut rig);
    rig.submit(&[batch]);
    rig.place.store.alter("UPDATE due_journal SET amount = amount + 1");
    let difference = verify(&rig);
    assert!(difference.contains("row 1 of the due journal was altered"), "{difference}");
    rig.place.store.alter("UPDATE due_journal SET amount = amount - 1");
    rig.assert_sound();
    // A whole row is gone: the journal itself is well, but the transfers and the taps say more.
    rig.place.store.alter("DELETE FROM due_journal");
    assert!(verify(&rig).contains("rows of transfers"), "{}", verify(&rig));
}

impl Rig {
    /// What a desk does once the card has written the load: it holds what is owed, and books.
    fn load(&self, rider: &mut Rider, cash: u32, adjusted: u32) -> Result<u64, Begun> {
        let before = rider.newest;
        let at_s = before.at_s + 60;
        let after = card::load_record(&before, cash + adjusted, at_s).unwrap();
        let (station, card) = (StationId(1), Cards::id(rider.card));
        let deed = DeskDeed::Loaded { before, after, adjusted };
        let entry = DeskEntry { op: 0, station, card, purse: None, deed };
        let begun = self.place.store.begin_op(&entry, self.place.clock.now()).unwrap();
        let Begun::Yes(op) = begun else { return Err(begun) };
        rider.newest = after;
        Ok(op)
    }

    fn loaded(&self, op: u64) {
        let entry = self.place.store.op(op).unwrap().unwrap().entry;
        let group = self.place.store.begin().unwrap();
        let booked = BookedDesk { entry, how: "the card answered", proof: None };
        let (rules, now) = (&self.place.rules, self.place.clock.now());
        let booking = step::book_desk(&group, rules, &[booked], now).unwrap();
        group.commit(&booking).unwrap();
    }

    fn cash(&self) -> i64 {
        -self.on(Account::DeskCash(StationId(1)))
    }
}

#[test]
fn what_is_owed_is_paid_once_with_the_next_load_and_takes_no_cash_and_no_quota() {
    let mut rig = Rig::town();
    let mut rider = Rider::new(&rig, 0);
    (0..4).for_each(|n| assert_eq!(rider.board(&mut rig, 0, n * 900), Some(150)));
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    let who = ["ana", "ben", "the test"];
    rig.place.store.grant(StationId(1), 500, who, Timestamp(0)).unwrap();
    // In doubt: neither open for another load nor paid.
    let op = rig.load(&mut rider, 500, 200).unwrap();
    assert_eq!((rig.open(0), rig.on(Account::RiderDue(Cards::id(0)))), (0, 200));
    assert_eq!(rig.load(&mut rider, 0, 1), Err(Begun::NotOwed));
    // It did not happen: open again. The next one does.
    rig.place.store.void_op(op, "the card did not do it", rig.place.clock.now()).unwrap();
    assert_eq!(rig.open(0), 200);
    rider.newest = rig.place.store.shadow(Cards::id(0)).unwrap().unwrap();
    let op = rig.load(&mut rider, 500, 200).unwrap();
    rig.loaded(op);
    let due = Account::RiderDue(Cards::id(0));
    assert_eq!((rig.open(0), rig.on(due), rig.on(Account::FareReduction)), (0, 0, -200));
    assert_eq!((rig.cash(), rig.on(Account::LoadClearing)), (500, 0));
    let quota = rig.place.store.quota(StationId(1)).unwrap();
    assert_eq!((quota.used, quota.left()), (500, 0), "what is owed is no new value");
    assert_eq!(rig.load(&mut rider, 0, 1), Err(Begun::NotOwed), "paid is paid");
    rig.pipeline.back.settle_due();
    rig.assert_sound();
    // Another ride of the day is owed whole, and goes onto the card without cash.
    assert_eq!(rider.board(&mut rig, 0, 4500), Some(150));
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    assert_eq!(rig.open(0), 150);
    let op = rig.load(&mut rider, 0, 150).unwrap();
    rig.loaded(op);
    assert_eq!((rig.open(0), rig.cash(), rig.on(due)), (0, 500, 0));
    rig.pipeline.back.settle_due();
    rig.assert_sound();
    rig.place.store.alter("UPDATE desk_journal SET adjusted = 0 WHERE op = 3");
    let checker = Checker::new(depot(), card_keys());
    let report = crate::verify::verify(&rig.place.store, &checker, &rig.place.rules).unwrap();
    let difference = report.first_difference.unwrap();
    assert!(difference.contains("desk's journal was altered"), "{difference}");
}

#[test]
fn the_figure_of_all_that_riders_are_owed_is_the_sum_of_the_cards_own_lists() {
    let mut rig = Rig::town();
    for card in [0, 2] {
        let mut rider = Rider::new(&rig, card);
        (0..4 + card).for_each(|n| assert_eq!(rider.board(&mut rig, 0, n * 900), Some(150)));
    }
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    let books = rig.books();
    let accounts = books.trial_balance().unwrap();
    let row = accounts.iter().find(|row| row.name == "rider-due").unwrap();
    assert_eq!((row.accounts, row.balance.minor()), (2, -700));
    let mut listed = 0;
    for card in 0..3 {
        let handle = books.find_card(Cards::id(card)).unwrap().unwrap();
        for day in books.adjustments(handle).unwrap() {
            listed += day.open.minor() + day.held.minor();
            let why: i64 = day.why.iter().map(|w| w.charged.minor() - w.fare.minor()).sum();
            assert_eq!(why, day.owed.minor(), "the reasons explain the amount");
            for tap in &day.why {
                let steps: i64 = tap.steps.iter().map(|step| step.amount.minor()).sum();
                assert_eq!(steps, tap.fare.minor(), "the steps sum to the fare");
            }
        }
    }
    assert_eq!(listed, -row.balance.minor());
}

#[test]
fn what_was_paid_above_a_later_revision_is_forgiven_and_lessens_no_other_day() {
    let mut rig = Rig::town();
    let mut rider = Rider::new(&rig, 0);
    let (alpha, beta) = (PlaceIx(0), PlaceIx(1));
    rider.tap(&mut rig, 0, 0, (TapRole::Entry, alpha), Told::Committed);
    rider.surcharge = 50;
    let paid = rider.tap(&mut rig, 1, 900, (TapRole::Exit, beta), Told::Committed);
    assert_eq!(paid, Some(250));
    rider.board(&mut rig, 2, 1800);
    let messages: Vec<_> = [0, 2].map(|bus| rig.buses[bus].batch()).into();
    rig.submit(&messages);
    assert_eq!(rig.open(0), 50, "by the next tap's evidence, 2.50 was charged for 2.00");
    let op = rig.load(&mut rider, 0, 50).unwrap();
    rig.loaded(op);
    // The exit's own entry: its validator charged wrong, which is a work item's to settle.
    let late = rig.buses[1].batch();
    rig.submit(&[late]);
    assert_eq!(rig.open_kinds(), ["fare-mismatch"]);
    let [day] = rig.place.store.owed(Cards::id(0)).unwrap()[..] else { panic!("one day") };
    let booked = day.booked;
    assert_eq!((booked.owed, booked.paid, booked.forgiven(), day.open()), (0, 50, 50, 0));
    let due = Account::RiderDue(Cards::id(0));
    assert_eq!((rig.on(due), rig.on(Account::FareReduction)), (0, -50));
    rig.assert_sound();
    // The day after is owed in full.
    for n in 0..4 {
        rider.board(&mut rig, 3, 86_400 + n * 900);
    }
    let next = rig.buses[3].batch();
    rig.submit(&[next]);
    assert_eq!((rig.open(0), rig.on(due)), (200, 200));
    rig.assert_sound();
}

/// Minutes waited, role, place, how it is told, at which validator, and whether a batch ends there.
type Step = (u32, (TapRole, PlaceIx), Told, usize, bool);

fn steps() -> impl Strategy<Value = Vec<(u32, Step)>> {
    let role = prop_oneof![
        2 => Just((TapRole::Board, STOP)),
        3 => (0..2_u16).prop_map(|place| (TapRole::Entry, PlaceIx(place))),
        3 => (0..2_u16).prop_map(|place| (TapRole::Exit, PlaceIx(place))),
    ];
    let told = prop_oneof![
        6 => Just(Told::Committed), 1 => Just(Told::Doubted), 1 => Just(Told::Lost),
    ];
    vec((0..3_u32, (2..400_u32, role, told, 0..4_usize, any::<bool>())), 1..50)
}

/// The batches of each validator, in its own order.
fn ride(rig: &mut Rig, steps: &[(u32, Step)]) -> Vec<Vec<Message>> {
    let mut riders: Vec<_> = (0..3).map(|card| Rider::new(rig, card)).collect();
    let mut queues = vec![Vec::new(); rig.buses.len()];
    let mut logged = vec![false; rig.buses.len()];
    let mut at_s = 0;
    for (card, (wait, where_, told, bus, ends)) in steps {
        at_s += wait * 60;
        let charged = riders[*card as usize].tap(rig, *bus, at_s, *where_, *told);
        logged[*bus] |= charged.is_some() && !matches!(told, Told::Lost);
        if *ends && std::mem::take(&mut logged[*bus]) {
            queues[*bus].push(rig.buses[*bus].batch());
        }
    }
    for (bus, queue) in queues.iter_mut().enumerate().filter(|(bus, _)| logged[*bus]) {
        queue.push(rig.buses[bus].batch());
    }
    queues
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// REC-1: whatever the order in which validators are heard, and however their batches fall into
    /// groups, each day's newest amount is the same, and what all taps make (which `verify` says).
    #[test]
    fn what_is_owed_at_last_depends_on_the_set_of_entries_alone(
        steps in steps(),
        picks in vec((any::<Index>(), 1..4_usize), 60),
    ) {
        let mut rig = Rig::town();
        let queues = ride(&mut rig, &steps);
        for batch in queues.iter().flatten() {
            rig.submit(std::slice::from_ref(batch));
        }
        rig.assert_sound();
        let mut other = Rig::town();
        let mut queues: Vec<_> = queues.into_iter().map(std::collections::VecDeque::from).collect();
        let mut picks = picks.iter().cycle();
        while queues.iter().any(|queue| !queue.is_empty()) {
            let (pick, many) = picks.next().unwrap();
            let mut group = Vec::new();
            for n in 0..*many {
                let at = (pick.index(queues.len()) + n) % queues.len();
                group.extend(queues[at].pop_front());
            }
            group.extend(group.first().cloned());
            other.submit(&group);
        }
        other.assert_sound();
        for card in 0..3 {
            prop_assert_eq!(rig.owed(card), other.owed(card), "card {}", card);
            let due = Account::RiderDue(Cards::id(card));
            prop_assert_eq!(rig.on(due), rig.open(card));
            prop_assert_eq!(other.on(due), rig.open(card));
        }
    }
}
