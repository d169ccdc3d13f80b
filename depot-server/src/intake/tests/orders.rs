//! Load orders over a real database: paid once, on the card once, and the books follow (ADR-0015).

use card::{CardKeys, SealedOrder, load_record, read_orders};
use clearing::{Account, BookedOrder, DeskDeed, DeskEntry, OrderPhase, OrderRefused};
use model::{
    CardRecord, CardTransaction, ChannelId, ClockQuality, Epoch, OrderId, PlaceIx, RecordKind,
    StationId, TapRecord, TapRole, TariffVersion,
};

use super::{due::Rider, *};
use crate::{
    orders::{OrderError, OrderRules, Payment, give_back, make_list, pay, tick},
    store::Begun,
    workload::card_proof,
};

pub(super) const RULES: OrderRules =
    OrderRules { offered_s: 86_400, clock_bound_s: 300, adjusts: true, overdue_s: None };

pub(super) fn payment(card: u32, amount: u32, reference: &str) -> Payment {
    Payment {
        channel: ChannelId(7),
        reference: reference.to_owned(),
        card: Cards::id(card),
        amount,
        purse: None,
        product: None,
        paid_at: Timestamp::from_secs(u64::from(NOON)),
    }
}

/// What a validator's list holds for a card, as the validator opens it.
pub(super) fn on_the_list(rig: &Rig, card: u32) -> Option<SealedOrder> {
    make_list(&rig.place.store, &card_keys()).unwrap();
    let (_, content) = rig.place.store.orders_list().unwrap()?;
    read_orders(&content).unwrap().get(&Cards::id(card)).copied()
}

/// A bus puts the order that its list holds on the card, as `validation` does.
pub(super) fn load(rig: &Rig, bus: usize, card: u32, newest: &CardRecord, at_s: u32) -> TapRecord {
    let purse = rig.cards.purse(card);
    let sealed = on_the_list(rig, card).expect("an order is out");
    let uid = Cards::id(card);
    sealed.open(uid, &card_keys().debit_key(&uid).unwrap().key).unwrap();
    let at = Timestamp::from_secs(u64::from(NOON + at_s));
    assert_eq!(sealed.order.fits(newest, purse, at, ClockQuality::Ntp), Ok(()));
    let after = load_record(newest, sealed.order.amount, NOON + at_s).unwrap();
    let validator = rig.buses[bus].id;
    let is_plain = after.kind == RecordKind::Load;
    let after = if is_plain { CardRecord { validator, ..after } } else { after };
    let transaction = CardTransaction {
        before: *newest,
        after,
        products: None,
        loaded: None,
        counters: None,
        companions: model::Companions::NONE,
        purse,
    };
    let proof = card_proof(&card_keys(), uid, &transaction);
    TapRecord {
        validator,
        epoch: Epoch(1),
        seq: TapSeq(0),
        card: Some(uid),
        tapped_at: at,
        clock: ClockQuality::Ntp,
        role: TapRole::Board,
        place: PlaceIx(0),
        route: None,
        tariff: TariffVersion(1),
        order: Some(sealed.order.id),
        place_age_s: None,
        hotlist_version: None,
        duration_ms: 180,
        event: TapEvent::Committed { transaction, proof },
    }
}

fn stands(rig: &Rig, account: Account) -> i64 {
    let id = account.id(rig.place.rules.currency());
    rig.place.store.account(&id).unwrap().posted()
}

pub(super) fn order(rig: &Rig, id: OrderId) -> BookedOrder {
    rig.place.store.order(id).unwrap().unwrap()
}

/// A paid order that validators have.
fn ordered(rig: &Rig, card: u32, amount: u32) -> OrderId {
    let id = pay(&rig.place, &payment(card, amount, "a-1")).unwrap().id;
    tick(&rig.place, RULES).unwrap();
    assert!(matches!(order(rig, id).phase, OrderPhase::Out(_)));
    id
}

#[test]
fn rec_5_a_payment_is_one_order_however_often_it_is_told() {
    let rig = Rig::new();
    let paid = pay(&rig.place, &payment(0, 2_000, "a-1")).unwrap();
    assert_eq!(paid.phase, OrderPhase::Waiting);
    assert_eq!(pay(&rig.place, &payment(0, 2_000, "a-1")).unwrap().id, paid.id);
    for other in [payment(0, 2_001, "a-1"), payment(1, 2_000, "a-1")] {
        let refused = pay(&rig.place, &other).unwrap_err();
        assert!(matches!(refused, OrderError::OtherContent { .. }), "{refused}");
    }
    assert_ne!(pay(&rig.place, &payment(0, 2_000, "a-2")).unwrap().id, paid.id);
    let stranger = Payment { card: CardId([9; 7]), ..payment(0, 100, "a-3") };
    assert!(matches!(pay(&rig.place, &stranger), Err(OrderError::UnknownCard(_))));
    assert!(matches!(pay(&rig.place, &payment(0, 0, "a-4")), Err(OrderError::Amount)));
    assert_eq!(stands(&rig, Account::LoadOrders), 4_000);
    assert_eq!(stands(&rig, Account::LoadChannel(ChannelId(7))), -4_000);
    rig.assert_sound();
}

#[test]
fn a_payment_that_no_record_of_a_visitors_card_can_hold_is_not_taken() {
    let rig = Rig::new();
    let card = Cards::id(77);
    let until = "2026-12-24".parse().unwrap();
    let opening = rig.cards.issues()[0].record;
    let record = CardRecord { valid_until: until, balance: 500, amount: 500, ..opening };
    let issue = clearing::Issue { card, record, purse: None, issuer: None };
    register_cards(&rig.place, &[issue]).unwrap();
    let paid = |amount, reference: &str| {
        pay(&rig.place, &Payment { card, ..payment(0, amount, reference) })
    };
    let refused = paid(524_288, "a-1").unwrap_err().to_string();
    assert!(refused.contains("at most 524287 minor units: it ends with a day"), "{refused}");
    assert_eq!(paid(524_287, "a-1").unwrap().amount, 524_287, "the reference is still free");
    rig.assert_sound();
}

#[test]
fn rec_5_a_load_at_a_validator_ends_its_order_and_the_next_one_of_the_card_goes_out() {
    let mut rig = Rig::new();
    let first = ordered(&rig, 0, 2_000);
    let second = pay(&rig.place, &payment(0, 500, "a-2")).unwrap().id;
    tick(&rig.place, RULES).unwrap();
    assert_eq!(order(&rig, second).phase, OrderPhase::Waiting, "one of a card is out at a time");

    let newest = *rig.cards.newest(0);
    let entry = load(&rig, 0, 0, &newest, 5);
    rig.buses[0].log_entry(entry);
    let batch = rig.buses[0].batch();
    rig.submit(&[batch.clone(), batch]);
    assert_eq!(order(&rig, first).phase, OrderPhase::Loaded);
    assert_eq!(stands(&rig, Account::LoadOrders), 500);
    assert_eq!(stands(&rig, Account::LoadClearing), 0);
    assert_eq!(stands(&rig, Account::Card(Cards::id(0))), i64::from(OPENING) + 2_000);
    assert_eq!(rig.open_kinds(), [""; 0]);
    rig.assert_sound();

    tick(&rig.place, RULES).unwrap();
    assert_eq!(on_the_list(&rig, 0).unwrap().order.id, second);
    assert_eq!(on_the_list(&rig, 0).unwrap().order.load_seq.0, 2);
    assert_eq!(rig.place.store.orders_list().unwrap().unwrap().0, 2, "each list has its number");
    rig.assert_sound();
}

#[test]
fn rec_14_an_order_whose_card_does_not_come_is_a_work_item_until_it_does() {
    let mut rig = Rig::new();
    let rules = OrderRules { overdue_s: Some(60), ..RULES };
    // The clock stands a minute behind the payment.
    let id = pay(&rig.place, &payment(0, 2_000, "a-1")).unwrap().id;
    let young =
        Payment { paid_at: Timestamp::from_secs(u64::from(NOON) + 1), ..payment(1, 5, "b") };
    let young = pay(&rig.place, &young).unwrap().id;
    for _ in 0..2 {
        tick(&rig.place, rules).unwrap();
        assert_eq!(rig.open_kinds(), ["order-overdue"], "once, and of the old one alone");
    }
    let newest = *rig.cards.newest(0);
    let entry = load(&rig, 0, 0, &newest, 5);
    rig.buses[0].log_entry(entry);
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    assert_eq!((order(&rig, id).phase, rig.open_kinds()), (OrderPhase::Loaded, vec![]));
    rig.assert_sound();

    let clock = &rig.place.clock;
    clock.set(clock.now().plus(std::time::Duration::from_secs(1)));
    tick(&rig.place, rules).unwrap();
    assert_eq!(rig.open_kinds(), ["order-overdue"]);
    give_back(&rig.place, RULES, young).unwrap_err();
    assert_eq!(rig.open_kinds(), ["order-overdue"], "a validator may still have it");
    rig.assert_sound();
}

#[test]
fn a_load_whose_own_entry_is_lost_ends_its_order_by_the_cards_next_tap() {
    let mut rig = Rig::new();
    let id = ordered(&rig, 0, 2_000);
    let newest = *rig.cards.newest(0);
    let TapEvent::Committed { transaction, .. } = load(&rig, 1, 0, &newest, 5).event else {
        panic!()
    };
    rig.cards.commit(0, &transaction);
    rig.board(0, 0, 60);
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    assert_eq!(order(&rig, id).phase, OrderPhase::Loaded);
    assert_eq!((stands(&rig, Account::LoadOrders), stands(&rig, Account::LoadClearing)), (0, 0));
    rig.assert_sound();
}

#[test]
fn rec_5_an_order_that_is_out_is_given_back_only_when_no_validator_can_have_it() {
    let rig = Rig::new();
    let id = ordered(&rig, 0, 2_000);
    let refusal = |error: OrderError| {
        let OrderError::Refused(_, refused) = error else { panic!("{error}") };
        refused
    };
    assert_eq!(refusal(give_back(&rig.place, RULES, id).unwrap_err()), OrderRefused::NotHeard);
    assert!(matches!(order(&rig, id).phase, OrderPhase::Withdrawn(..)), "but it is off the list");
    assert!(on_the_list(&rig, 0).is_none());
    let early = refusal(give_back(&rig.place, RULES, id).unwrap_err());
    assert!(matches!(early, OrderRefused::NotOver(_)), "{early}");
    assert_eq!(stands(&rig, Account::LoadOrders), 2_000);
    rig.assert_sound();

    // One that no reader ever had is given back at once.
    let other = pay(&rig.place, &payment(1, 300, "b-1")).unwrap().id;
    give_back(&rig.place, RULES, other).unwrap();
    assert_eq!(order(&rig, other).phase, OrderPhase::Refunded(None));
    assert_eq!(stands(&rig, Account::LoadOrders), 2_000);
    rig.assert_sound();
}

#[test]
fn usr_5_what_a_rider_is_owed_is_on_the_card_after_its_next_tap() {
    let mut rig = Rig::town();
    // Card 0 has no counters: its validators know of no cap.
    let mut rider = Rider::new(&rig, 0);
    for minute in 0..4 {
        rider.board(&mut rig, 0, minute * 600).unwrap();
    }
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    assert_eq!(stands(&rig, Account::RiderDue(Cards::id(0))), 200, "6.00 charged, 4.00 at most");
    tick(&rig.place, RULES).unwrap();
    tick(&rig.place, RULES).unwrap();
    tick(&rig.place, RULES).unwrap();
    let [adjustment] = rig.place.store.orders_of(Cards::id(0)).unwrap()[..] else {
        panic!("one order");
    };
    assert!(adjustment.is_adjustment() && adjustment.amount == 200);

    let entry = load(&rig, 1, 0, &rider.newest(), 4_000);
    rig.buses[1].log_entry(entry);
    let batch = rig.buses[1].batch();
    rig.submit(&[batch]);
    assert_eq!(order(&rig, adjustment.id).phase, OrderPhase::Loaded);
    assert_eq!(stands(&rig, Account::RiderDue(Cards::id(0))), 0);
    assert_eq!(stands(&rig, Account::LoadClearing), 0);
    tick(&rig.place, RULES).unwrap();
    assert_eq!(rig.place.store.orders_of(Cards::id(0)).unwrap().len(), 1, "it is paid once");
    rig.assert_sound();
}

/// Somebody loads a card with a stolen key, at `at_s`; no log tells of it.
fn stolen(rig: &mut Rig, card: u32, amount: u32, at_s: u32) -> CardTransaction {
    let newest = *rig.cards.newest(card);
    let after = load_record(&newest, amount, NOON + at_s).unwrap();
    let nobody = model::ValidatorId::new(0x00ff_fff0).unwrap();
    let transaction = CardTransaction {
        before: newest,
        after: CardRecord { validator: nobody, ..after },
        products: None,
        counters: None,
        companions: model::Companions::NONE,
        purse: None,
        loaded: None,
    };
    rig.cards.commit(card, &transaction);
    transaction
}

#[test]
fn i7_a_load_that_no_desk_and_no_order_made_is_an_item_over_its_amount() {
    let mut rig = Rig::new();
    stolen(&mut rig, 0, 700, 5);
    rig.board(0, 0, 60);
    rig.board(0, 0, 900);
    let batch = rig.buses[0].batch();
    rig.submit(&[batch.clone(), batch]);
    assert_eq!(rig.open_kinds(), ["unexplained-load"]);
    assert_eq!(stands(&rig, Account::LoadClearing), -700, "nobody has to hand it in");
    rig.assert_sound();
}

#[test]
fn i7_a_load_of_a_desk_that_a_tap_shows_before_the_desk_could_is_no_item() {
    let mut rig = Rig::new();
    let newest = *rig.cards.newest(0);
    let who = ["ana", "ben", "the test"];
    rig.place.store.grant(StationId(1), 5_000, who, Timestamp(0)).unwrap();
    let after = load_record(&newest, 700, NOON + 5).unwrap();
    let deed = DeskDeed::Loaded { before: newest, after, adjusted: 0 };
    let entry = DeskEntry { op: 0, station: StationId(1), card: Cards::id(0), purse: None, deed };
    let begun = rig.place.store.begin_op(&entry, rig.place.clock.now()).unwrap();
    assert!(matches!(begun, Begun::Yes(_)), "{begun:?}");
    let transaction = CardTransaction {
        before: newest,
        after,
        products: None,
        counters: None,
        companions: model::Companions::NONE,
        purse: None,
        loaded: None,
    };
    rig.cards.commit(0, &transaction);
    rig.board(0, 0, 60);
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    assert_eq!(rig.open_kinds(), [""; 0]);
    assert_eq!(stands(&rig, Account::LoadClearing), 0);
    rig.assert_sound();
}

#[test]
fn i7_rec_1_a_load_under_a_counter_that_another_record_holds_is_the_forks_in_any_order() {
    for load_first in [true, false] {
        let mut rig = Rig::new();
        let copy = rig.cards.clone();
        rig.board(1, 0, 10);
        rig.cards = copy;
        stolen(&mut rig, 0, 700, 50);
        rig.board(0, 0, 60);
        let mut batches = [rig.buses[0].batch(), rig.buses[1].batch()];
        if !load_first {
            batches.reverse();
        }
        for batch in batches {
            rig.submit(&[batch]);
        }
        assert_eq!(rig.open_kinds(), ["fork"], "load first: {load_first}");
        rig.assert_sound();
    }
}
