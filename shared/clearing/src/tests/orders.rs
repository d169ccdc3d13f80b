//! Load orders, model-checked: every interleaving of taps, tears, lists, logs, time, a lost
//! validator and a refund in a small fleet (REC-5), over the code that validators and depot run.

use alloc::{borrow::ToOwned, string::String, vec, vec::Vec};

use ledger::{Outcome, Touched, Transfer, apply};
use model::{
    CardId, CardRecord, ChannelId, ClockQuality, Ctr, Currency, Epoch, LoadOrder, LoadSeq, OrderId,
    PlaceIx, RecordKind, RiderClass, TapSeq, TariffVersion, Timestamp, ValidUntil, ValidatorId,
};
use stateright::{Checker, Model, Property};

use crate::{Account, BookedOrder, CardSeen, ListTold, ListVersion, OrderPhase, OrderRefused};

const CARD: CardId = CardId([4, 1, 2, 3, 4, 5, 6]);
const AMOUNT: u32 = 1_000;
const FIRST: OrderId = OrderId(1);
const SECOND: OrderId = OrderId(2);
/// One step of the model's time is so many seconds; the clocks' bound is one step.
const STEP_S: u64 = 100;
const BOUND_S: u32 = 100;
const NOON_S: u64 = 1_800_000_000;
const EPOCH: Epoch = Epoch(1);

fn euro() -> Currency {
    Currency::parse("EUR").unwrap()
}

/// A fleet to be checked.
#[derive(Debug, Clone)]
struct Town {
    /// By how many steps each validator's clock may be off.
    clocks: Vec<i64>,
    taps: u8,
    steps: u64,
    /// One of them may be destroyed, with what its log had not sent.
    may_be_lost: bool,
    /// The depot is given a broken rule, to show that the check finds it.
    broken: Option<Broken>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// A list is believed settled when a validator names it, whatever its log still holds.
    ForgetsTheLog,
    /// An order that is over is given back, whoever may have carried it out.
    HearsNobody,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct World {
    step: u64,
    taps: u8,
    /// Every record that the card really has, in order; the truth.
    card: Vec<Written>,
    validators: Vec<Bus>,
    depot: Depot,
}

/// One record of the card and the order that wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Written {
    load: Option<OrderId>,
    load_seq: u16,
    at_s: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Bus {
    clock: i64,
    alive: bool,
    list: ListVersion,
    order: Option<(OrderId, u16, u32)>,
    log: Vec<Entry>,
    /// The state message that the broker holds: a list and the log's head when it was taken up.
    /// A later one could only name a later head.
    told: Option<(ListVersion, u64)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Entry {
    /// Counter of the record it wrote, or may have written.
    ctr: usize,
    before: Option<Written>,
    after: Written,
    in_doubt: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Depot {
    list: ListVersion,
    orders: Vec<BookedOrder>,
    acks: Vec<ListTold>,
    marks: Vec<u64>,
    known: Vec<Option<Written>>,
    doubts: Vec<Entry>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Tick,
    Tap { bus: usize, end: End },
    GetList(usize),
    HearState(usize, ListVersion, u64),
    HearLog(usize),
    Lose(usize),
    Withdraw,
    Refund,
    OrderAgain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Answered,
    /// The card committed, and nobody heard it.
    Unheard,
    /// The card did not hear the commit.
    Torn,
}

impl Written {
    /// As a record of the card, under the counter of its place.
    fn record(self, ctr: usize) -> CardRecord {
        CardRecord {
            kind: if self.load.is_some() { RecordKind::Load } else { RecordKind::Board },
            ctr: Ctr(u32::try_from(ctr).unwrap()),
            balance: 0,
            amount: if self.load.is_some() { AMOUNT } else { 0 },
            at_s: self.at_s,
            validator: ValidatorId::new(1).unwrap(),
            place: PlaceIx::NONE,
            load_seq: LoadSeq(self.load_seq),
            tariff: TariffVersion(1),
            valid_until: ValidUntil::Always,
            class: RiderClass(0),
            run: None,
            products: None,
            layout: model::CardLayout::Plain,
        }
    }
}

impl Town {
    fn first_order() -> BookedOrder {
        let noon = Timestamp::from_secs(NOON_S);
        let paid = BookedOrder::paid(
            FIRST,
            (CARD, AMOUNT, None),
            None,
            ChannelId(1),
            (noon, noon),
            euro(),
        );
        paid.order.offered(LoadSeq(0), end_s(2)).unwrap()
    }

    fn refunded(&self, world: &World) -> Result<BookedOrder, OrderRefused> {
        let depot = &world.depot;
        let fleet = depot.acks.iter().map(ListTold::settled).min().unwrap();
        let fleet = if self.broken == Some(Broken::HearsNobody) { ListVersion(9) } else { fleet };
        let order = depot.orders[0];
        let now = Timestamp::from_secs(NOON_S + world.step * STEP_S);
        let seen = depot.seen(order);
        order.over(now, BOUND_S, fleet, seen)?;
        order.given_back(now, euro()).map(|cleared| cleared.order)
    }
}

fn end_s(step: u64) -> u32 {
    u32::try_from(NOON_S + step * STEP_S).unwrap()
}

impl Depot {
    fn learn(&mut self, ctr: usize, record: Written) {
        if self.known.len() <= ctr {
            self.known.resize(ctr + 1, None);
        }
        self.doubts.retain(|doubt| doubt.ctr != ctr);
        if self.known[ctr].replace(record).is_some() {
            return;
        }
        let card = record.record(ctr);
        if let Some(at) = BookedOrder::carried_out_by(&self.orders, &card) {
            let done = self.orders[at].carried_out(&card, Timestamp(0), euro());
            self.orders[at] = done.expect("it was out").order;
        }
    }

    fn seen(&self, order: BookedOrder) -> CardSeen {
        let mut newest = self.known.iter().enumerate().rev();
        let newest = newest.find_map(|(ctr, known)| known.map(|w| w.record(ctr)));
        let offered = order.phase.offer().map(|offer| offer.load_seq);
        let is_seq = |seq: u16| offered == Some(LoadSeq(seq));
        let load = self.known.iter().flatten().find(|w| w.load.is_some() && is_seq(w.load_seq));
        let doubts = self.doubts.iter().any(|d| d.after.load.is_some() && is_seq(d.after.load_seq));
        CardSeen { newest, other_load: load.is_some(), load_in_doubt: doubts }
    }
}

impl World {
    fn tap(&mut self, bus: usize, end: End) -> bool {
        let validator = &self.validators[bus];
        let steps = i64::try_from(self.step).unwrap() + validator.clock;
        let clock_s = NOON_S.checked_add_signed(steps * 100).unwrap();
        let now = Timestamp::from_secs(clock_s);
        let before = self.card.last().copied();
        let blank = Written { load: None, load_seq: 0, at_s: end_s(0) - 1_000 };
        let found = before.unwrap_or(blank);
        let fits = |order: LoadOrder| {
            let newest = found.record(self.card.len());
            order.fits(&newest, None, now, ClockQuality::Ntp).is_ok().then_some(order)
        };
        let order = validator.order.map(|(id, load_seq, not_after_s)| LoadOrder {
            id,
            load_seq: LoadSeq(load_seq),
            amount: AMOUNT,
            product: None,
            purse: None,
            not_after_s,
        });
        let load = order.and_then(fits);
        let after = Written {
            load: load.map(|order| order.id),
            load_seq: load.map_or(found.load_seq, |order| order.load_seq.0),
            at_s: u32::try_from(clock_s).unwrap().max(found.at_s),
        };
        let ctr = self.card.len();
        let in_doubt = end != End::Answered;
        self.validators[bus].log.push(Entry { ctr, before, after, in_doubt });
        if end != End::Torn {
            self.card.push(after);
        }
        self.taps += 1;
        true
    }

    fn hear_log(&mut self, bus: usize) -> bool {
        let depot = &mut self.depot;
        let at = usize::try_from(depot.marks[bus]).unwrap();
        let Some(entry) = self.validators[bus].log.get(at).copied() else { return false };
        depot.marks[bus] += 1;
        if let (Some(before), Some(ctr)) = (entry.before, entry.ctr.checked_sub(1)) {
            depot.learn(ctr, before);
        }
        if entry.in_doubt {
            if depot.known.get(entry.ctr).copied().flatten().is_none() {
                depot.doubts.push(entry);
            }
        } else {
            depot.learn(entry.ctr, entry.after);
        }
        depot.acks[bus].booked(EPOCH, TapSeq(depot.marks[bus]));
        true
    }

    fn really_loaded(&self, order: OrderId) -> usize {
        self.card.iter().filter(|written| written.load == Some(order)).count()
    }
}

impl Model for Town {
    type State = World;
    type Action = Act;

    fn init_states(&self) -> Vec<World> {
        let order = Self::first_order();
        let out = order.to_readers().unwrap();
        let bus = |clock| Bus {
            clock,
            alive: true,
            list: ListVersion(1),
            order: Some((out.id, out.load_seq.0, out.not_after_s)),
            log: vec![],
            told: None,
        };
        let n = self.clocks.len();
        let depot = Depot {
            list: ListVersion(1),
            orders: vec![order],
            acks: vec![ListTold::default(); n],
            marks: vec![0; n],
            known: vec![],
            doubts: vec![],
        };
        let validators = self.clocks.iter().map(|clock| bus(*clock)).collect();
        vec![World { step: 0, taps: 0, card: vec![], validators, depot }]
    }

    fn actions(&self, world: &World, acts: &mut Vec<Act>) {
        if world.step < self.steps {
            acts.push(Act::Tick);
        }
        for (bus, validator) in world.validators.iter().enumerate() {
            if validator.alive {
                if world.taps < self.taps {
                    let ends = [End::Answered, End::Unheard, End::Torn];
                    acts.extend(ends.map(|end| Act::Tap { bus, end }));
                }
                acts.extend([Act::GetList(bus), Act::HearLog(bus)]);
                acts.extend(self.may_be_lost.then_some(Act::Lose(bus)));
            }
            acts.extend(
                validator.told.iter().map(|(list, head)| Act::HearState(bus, *list, *head)),
            );
        }
        acts.extend([Act::Withdraw, Act::Refund, Act::OrderAgain]);
    }

    fn next_state(&self, from: &World, act: Act) -> Option<World> {
        let mut world = from.clone();
        let happened = match act {
            Act::Tick => {
                world.step += 1;
                true
            }
            Act::Tap { bus, end } => world.tap(bus, end),
            Act::GetList(bus) => {
                let newest = world.depot.list;
                let out = world.depot.orders.iter().find_map(BookedOrder::to_readers);
                let bus = &mut world.validators[bus];
                bus.order = out.map(|order| (order.id, order.load_seq.0, order.not_after_s));
                bus.told = Some((newest, bus.log.len() as u64));
                core::mem::replace(&mut bus.list, newest) != newest
            }
            Act::HearState(bus, list, head) => {
                world.validators[bus].told = None;
                let ack = &mut world.depot.acks[bus];
                ack.tells(list, EPOCH, TapSeq(head), true);
                let mark = TapSeq(world.depot.marks[bus]);
                let mark =
                    if self.broken == Some(Broken::ForgetsTheLog) { TapSeq(99) } else { mark };
                ack.booked(EPOCH, mark);
                true
            }
            Act::HearLog(bus) => world.hear_log(bus),
            Act::Lose(bus) => {
                let others = world.validators.iter().filter(|other| other.alive).count();
                world.validators[bus].alive = false;
                others == self.clocks.len()
            }
            Act::Withdraw => {
                let without = ListVersion(world.depot.list.0 + 1);
                let withdrawn = world.depot.orders[0].withdrawn(without);
                withdrawn.is_ok_and(|order| {
                    world.depot.orders[0] = order;
                    world.depot.list = without;
                    true
                })
            }
            Act::Refund => self.refunded(&world).is_ok_and(|order| {
                world.depot.orders[0] = order;
                true
            }),
            Act::OrderAgain => world.order_again(),
        };
        happened.then_some(world)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("an order is on the card at most once", |_, world: &World| {
                world.really_loaded(FIRST) <= 1 && world.really_loaded(SECOND) <= 1
            }),
            Property::always("what was given back is not on the card", |_, world: &World| {
                let refunded = matches!(world.depot.orders[0].phase, OrderPhase::Refunded(_));
                !(refunded && world.really_loaded(FIRST) > 0)
                    && world.depot.orders[0].phase != OrderPhase::Owed
            }),
            Property::always("the books say loaded of what is on the card", |_, world: &World| {
                let said = |order: &BookedOrder| order.phase == OrderPhase::Loaded;
                world.depot.orders.iter().all(|o| !said(o) || world.really_loaded(o.id) == 1)
            }),
            Property::sometimes("it is loaded", |_, world: &World| {
                world.depot.orders[0].phase == OrderPhase::Loaded
            }),
            Property::sometimes(
                "it is given back, and ordered and loaded again",
                |_, world: &World| {
                    matches!(world.depot.orders[..], [first, second]
                    if matches!(first.phase, OrderPhase::Refunded(_))
                        && second.phase == OrderPhase::Loaded)
                },
            ),
            Property::sometimes(
                "it is given back though a validator is lost",
                |_, world: &World| {
                    let lost = world.validators.iter().any(|bus| !bus.alive);
                    lost && matches!(world.depot.orders[0].phase, OrderPhase::Refunded(_))
                },
            ),
        ]
    }
}

impl World {
    /// The same money again, for the same load number.
    fn order_again(&mut self) -> bool {
        let refunded = matches!(self.depot.orders[0].phase, OrderPhase::Refunded(_));
        if !refunded || self.depot.orders.len() > 1 {
            return false;
        }
        let noon = Timestamp::from_secs(NOON_S);
        let again = BookedOrder::paid(
            SECOND,
            (CARD, AMOUNT, None),
            None,
            ChannelId(1),
            (noon, noon),
            euro(),
        );
        let newest = self.depot.known.iter().rev().flatten().next();
        let seq = LoadSeq(newest.map_or(0, |written| written.load_seq));
        self.depot.orders.push(again.order.offered(seq, end_s(self.step + 2)).unwrap());
        self.depot.list = ListVersion(self.depot.list.0 + 1);
        true
    }
}

fn town(clocks: [i64; 2]) -> Town {
    Town { clocks: clocks.to_vec(), taps: 2, steps: 4, may_be_lost: false, broken: None }
}

#[test]
fn rec_5_no_interleaving_of_two_validators_loads_an_order_twice_or_after_its_refund() {
    for clocks in [[0, 0], [-1, 1]] {
        let checker = town(clocks).checker().threads(2).spawn_dfs().join();
        std::println!("{clocks:?}: {} states", checker.unique_state_count());
        checker.assert_no_discovery("an order is on the card at most once");
        checker.assert_no_discovery("what was given back is not on the card");
        checker.assert_no_discovery("the books say loaded of what is on the card");
        checker.assert_any_discovery("it is loaded");
        checker.assert_any_discovery("it is given back, and ordered and loaded again");
    }
}

#[test]
fn rec_5_a_validator_that_is_lost_with_its_log_changes_nothing_of_that() {
    let town = Town { may_be_lost: true, ..town([-1, 0]) };
    let checker = town.checker().threads(2).spawn_dfs().join();
    std::println!("lost: {} states", checker.unique_state_count());
    checker.assert_no_discovery("an order is on the card at most once");
    checker.assert_no_discovery("what was given back is not on the card");
    checker.assert_any_discovery("it is given back though a validator is lost");
}

#[test]
fn the_check_finds_a_depot_that_forgets_logs_or_hears_nobody() {
    for broken in [Broken::ForgetsTheLog, Broken::HearsNobody] {
        let town = Town { broken: Some(broken), ..town([-1, 0]) };
        let checker = town.checker().threads(2).spawn_bfs().join();
        checker.assert_any_discovery("what was given back is not on the card");
    }
}

/// The books after these transfers, as (account, credits less debits).
fn balances(transfers: &[Transfer]) -> Vec<(String, i64)> {
    let mut books = Touched::default();
    for transfer in transfers {
        apply(&mut books, transfer).unwrap();
        // Booked again, it is the same transfer (LED-3).
        assert_eq!(apply(&mut books, transfer), Ok(Outcome::Exists));
    }
    let named = |id| alloc::format!("{}", Account::parse(id).unwrap());
    books.balances().map(|(id, balance)| (named(id), balance.posted())).collect()
}

#[test]
fn rec_5_an_order_that_is_carried_out_after_its_refund_is_owed_and_credited_once() {
    let noon = Timestamp::from_secs(NOON_S);
    let late = Timestamp::from_secs(NOON_S + 10 * STEP_S);
    let unseen = CardSeen { newest: None, other_load: false, load_in_doubt: false };
    let paid =
        BookedOrder::paid(FIRST, (CARD, AMOUNT, None), None, ChannelId(7), (noon, noon), euro());
    let mut transfers = paid.transfers;
    let out = paid.order.offered(LoadSeq(0), end_s(2)).unwrap();
    let refund = |order: BookedOrder, fleet| {
        order.over(late, BOUND_S, fleet, unseen)?;
        order.given_back(late, euro())
    };
    assert_eq!(refund(out, ListVersion(2)), Err(OrderRefused::StillOut));
    let off = out.withdrawn(ListVersion(2)).unwrap();
    assert_eq!(refund(off, ListVersion(1)), Err(OrderRefused::NotHeard));
    let back = refund(off, ListVersion(2)).unwrap();
    transfers.extend(back.transfers);
    assert_eq!(refund(back.order, ListVersion(2)), Err(OrderRefused::GivenBack));

    let load = Written { load: Some(FIRST), load_seq: 1, at_s: end_s(1) }.record(3);
    assert_eq!(BookedOrder::carried_out_by(&[back.order], &load), Some(0));
    let owed = back.order.carried_out(&load, late, euro()).unwrap();
    transfers.extend(owed.transfers);
    assert_eq!(owed.order.phase, OrderPhase::Owed);
    assert_eq!(owed.order.carried_out(&load, late, euro()), None, "no second credit");
    let expected = [
        ("load-clearing", i64::from(AMOUNT)),
        ("load-channel(7)", 0),
        ("load-orders", 0),
        ("order-owed(…0506)", -i64::from(AMOUNT)),
    ];
    let mut found = balances(&transfers);
    found.sort();
    let mut expected: Vec<_> = expected.map(|(name, sum)| (name.to_owned(), sum)).into();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn an_order_whose_number_another_load_took_waits_for_a_new_one() {
    let order = Town::first_order();
    let desk = Written { load: Some(SECOND), load_seq: 1, at_s: end_s(1) }.record(1);
    let desk = CardRecord { amount: 777, ..desk };
    assert_eq!(BookedOrder::carried_out_by(&[order], &desk), None, "another amount");
    let waits = order.passed_over(&desk).unwrap();
    assert_eq!(waits.phase, OrderPhase::Waiting);
    let again = waits.offered(desk.load_seq, end_s(9)).unwrap().to_readers().unwrap();
    assert_eq!(again.load_seq, LoadSeq(2));
    assert_eq!(order.passed_over(&CardRecord { kind: RecordKind::Board, ..desk }), None);
}

#[test]
fn a_list_is_settled_when_all_that_was_logged_before_it_is_booked() {
    let mut told = ListTold::default();
    told.tells(ListVersion(3), EPOCH, TapSeq(10), true);
    told.booked(EPOCH, TapSeq(9));
    assert_eq!(told.settled(), ListVersion(0));
    // A later state of the same list asks for no more.
    told.tells(ListVersion(3), EPOCH, TapSeq(50), true);
    told.booked(EPOCH, TapSeq(10));
    assert_eq!(told.settled(), ListVersion(3));
    // A new life of the log, and one whose older lives are not drained.
    told.tells(ListVersion(4), EPOCH, TapSeq(60), true);
    told.tells(ListVersion(4), Epoch(2), TapSeq(0), false);
    told.booked(Epoch(2), TapSeq(5));
    assert_eq!(told.settled(), ListVersion(3));
    told.tells(ListVersion(4), Epoch(2), TapSeq(6), true);
    told.booked(Epoch(2), TapSeq(6));
    assert_eq!(told.settled(), ListVersion(4));
}
