//! Auto top-up: one fall is one order, within a bound, and what cannot be collected stops it.

use clearing::{AutoStop, AutoTopUp, OrderPhase};
use model::ChannelId;

use super::*;
use crate::{
    channels::{
        auto::{set, stop, tick},
        webhook::take,
    },
    orders::{OrderError, OrderRules, give_back},
};

const RULES: OrderRules =
    OrderRules { offered_s: 86_400, clock_bound_s: 300, adjusts: true, overdue_s: None };

/// Cards of the rig begin with `OPENING` and pay 1.50 a ride.
fn instruction(rig: &Rig, per_day_max: u32) {
    let auto = AutoTopUp {
        card: Cards::id(0),
        below: u32::try_from(OPENING).unwrap(),
        amount: 500,
        channel: ChannelId(9),
        per_day_max,
        stopped: None,
    };
    set(&rig.place, &auto).unwrap();
}

fn ride(rig: &mut Rig, after_s: u32) {
    rig.board(0, 0, after_s);
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
}

fn orders(rig: &Rig) -> Vec<OrderPhase> {
    let orders = rig.place.store.orders_of(Cards::id(0)).unwrap();
    orders.iter().map(|order| order.phase).collect()
}

fn failed(rig: &Rig, reference: &str) {
    let body = format!(
        r#"{{"id":"f-{reference}","type":"payment.failed",
        "payment":{{"reference":"{reference}"}}}}"#
    );
    take(&rig.place, RULES, ChannelId(9), body.as_bytes()).unwrap();
}

#[test]
fn a_fall_below_the_threshold_is_one_order_however_often_the_books_are_asked() {
    let mut rig = Rig::new();
    instruction(&rig, 1_000);
    assert_eq!(tick(&rig.place).unwrap(), 0, "it is not below");
    ride(&mut rig, 0);
    assert_eq!(tick(&rig.place).unwrap(), 1);
    assert_eq!(tick(&rig.place).unwrap(), 0);
    ride(&mut rig, 60);
    rig.restart();
    assert_eq!(tick(&rig.place).unwrap(), 0, "one is on its way");
    assert_eq!(orders(&rig), [OrderPhase::Waiting]);
    let [due] = &rig.place.store.to_collect(ChannelId(9)).unwrap()[..] else { panic!("one") };
    assert_eq!((due.reference.as_str(), due.amount), ("auto-1", 500));
    assert_eq!(rig.open_kinds(), [""; 0]);
    rig.assert_sound();
}

#[test]
fn a_top_up_that_cannot_be_collected_is_given_back_and_stops_the_instruction() {
    let mut rig = Rig::new();
    instruction(&rig, 1_000);
    ride(&mut rig, 0);
    tick(&rig.place).unwrap();
    failed(&rig, "auto-1");
    failed(&rig, "auto-1");
    assert_eq!(orders(&rig), [OrderPhase::Refunded(None)]);
    assert_eq!(rig.open_kinds(), ["top-up-stopped"]);
    ride(&mut rig, 60);
    assert_eq!(tick(&rig.place).unwrap(), 0);
    rig.assert_sound();

    // The holder's new card is good: set again, it goes on, and the item closes.
    instruction(&rig, 1_000);
    assert_eq!(rig.open_kinds(), [""; 0]);
    assert_eq!(tick(&rig.place).unwrap(), 1);
    rig.assert_sound();
    // Given back by hand it stops as well, and the holder may end it.
    let last = rig.place.store.orders_of(Cards::id(0)).unwrap().pop().unwrap();
    give_back(&rig.place, RULES, last.id).unwrap();
    assert_eq!(tick(&rig.place).unwrap(), 0);
    assert_eq!(rig.open_kinds(), ["top-up-stopped"]);
    assert!(stop(&rig.place, Cards::id(0), AutoStop::Asked).unwrap());
    assert!(!stop(&rig.place, Cards::id(0), AutoStop::Asked).unwrap());
    assert_eq!(rig.open_kinds(), [""; 0]);
    rig.assert_sound();
}

#[test]
fn an_instruction_that_cannot_be_right_is_refused_and_a_lost_card_is_not_topped_up() {
    let mut rig = Rig::new();
    let good = AutoTopUp {
        card: Cards::id(0),
        below: u32::try_from(OPENING).unwrap(),
        amount: 500,
        channel: ChannelId(9),
        per_day_max: 500,
        stopped: None,
    };
    for wrong in [
        AutoTopUp { per_day_max: 499, ..good },
        AutoTopUp { amount: 0, ..good },
        AutoTopUp { below: 0, ..good },
    ] {
        assert!(matches!(set(&rig.place, &wrong), Err(OrderError::Instruction)));
    }
    let stranger = AutoTopUp { card: CardId([9; 7]), ..good };
    assert!(matches!(set(&rig.place, &stranger), Err(OrderError::UnknownCard(_))));
    set(&rig.place, &good).unwrap();
    ride(&mut rig, 0);
    rig.place.store.report_lost(Cards::id(0), rig.place.clock.now()).unwrap();
    assert_eq!(tick(&rig.place).unwrap(), 0);
    assert_eq!(orders(&rig), []);
    rig.assert_sound();
}
