//! Holds of taps in doubt that nobody waits for any more, over a real database (ADR-0023).

use super::*;
use crate::doubts::{ageing_csv, expire_due};

const DAY_S: u64 = 86_400;

#[test]
fn led_4_a_hold_that_nothing_decided_expires_and_a_late_proof_is_booked_all_the_same() {
    let mut rig = Rig::new();
    let card = Some(Cards::id(0));
    let transaction = rig.cards.boarding(0, NOON, rig.buses[0].id);
    rig.buses[0].log(card, NOON, TapEvent::InDoubt { transaction });
    let doubt = rig.buses[0].batch();
    rig.submit(&[doubt]);
    let pending =
        |rig: &Rig| rig.place.store.card_state(Cards::id(0)).unwrap().unwrap().1.debits_pending;
    assert_eq!((pending(&rig), expire_due(&rig.place, 0).unwrap()), (150, 0));
    let begun = rig.place.clock.now();
    rig.place.clock.set(Timestamp(begun.0 + (30 * DAY_S - 1) * 1000));
    assert_eq!(expire_due(&rig.place, 30).unwrap(), 0, "not yet");
    let csv = ageing_csv(&rig.place).unwrap();
    assert!(csv.contains("\n29,v000001,1,1,") && csv.ends_with(",EUR,1.50\n"), "{csv}");
    assert!(!csv.contains(&Cards::id(0).to_hex()), "no whole card number");
    rig.place.clock.set(Timestamp(begun.0 + 30 * DAY_S * 1000));
    assert_eq!(expire_due(&rig.place, 30).unwrap(), 1);
    assert_eq!((pending(&rig), expire_due(&rig.place, 30).unwrap()), (0, 0), "once");
    assert_eq!(rig.open_kinds(), [""; 0]);
    assert_eq!(ageing_csv(&rig.place).unwrap().lines().count(), 1);
    rig.assert_sound();
    // The card had committed it after all: its next tap says so.
    let _ = rig.cards.commit(0, &transaction);
    rig.board(1, 0, 7_200);
    let late = rig.buses[1].batch();
    rig.submit(&[late]);
    let (_, balance) = rig.place.store.card_state(Cards::id(0)).unwrap().unwrap();
    assert_eq!(balance.posted(), i64::from(rig.cards.newest(0).balance), "the card is right");
    assert_eq!(pending(&rig), 0);
    rig.assert_sound();
}
