//! Value that nobody paid for is not given out, however genuine it looks (REC-9).

use card::load_record;
use clearing::Discontinuity;
use model::{
    CardRecord, CardTransaction, ChannelId, ClockQuality, Companions, Epoch, PlaceIx, TapRecord,
    TapRole, TariffVersion,
};

use super::*;
use crate::{
    desk::{DeskError, gate::may_pay},
    orders::{OrderRules, Payment, pay, tick},
    workload::card_proof,
};

/// A load with the card's genuine proof: whoever holds a load key of the card can make it, and name
/// any order.
fn load(rig: &mut Rig, card: u32, amount: u32, at_s: u32) {
    let newest = *rig.cards.newest(card);
    let after = load_record(&newest, amount, NOON + at_s).unwrap();
    let after = CardRecord { validator: rig.buses[0].id, ..after };
    let (products, counters, purse) = (None, None, None);
    let companions = Companions::NONE;
    let transaction = CardTransaction {
        before: newest,
        after,
        products,
        loaded: None,
        counters,
        companions,
        purse,
    };
    let uid = Cards::id(card);
    let proof = card_proof(&card_keys(), uid, &transaction);
    let validator = rig.buses[0].id;
    rig.buses[0].log_entry(TapRecord {
        validator,
        epoch: Epoch(1),
        seq: TapSeq(0),
        card: Some(uid),
        tapped_at: Timestamp::from_secs(u64::from(NOON + at_s)),
        clock: ClockQuality::Ntp,
        role: TapRole::Board,
        place: PlaceIx(0),
        route: None,
        tariff: TariffVersion(1),
        order: Some(model::OrderId(1)),
        place_age_s: None,
        hotlist_version: None,
        duration_ms: 180,
        event: TapEvent::Committed { transaction, proof },
    });
    rig.cards.commit(card, &transaction);
}

fn deliver(rig: &mut Rig) {
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
}

/// What a desk would pay for this card.
fn payable(rig: &Rig, card: u32) -> Result<i64, DeskError> {
    let uid = Cards::id(card);
    let store = &rig.place.store;
    let (state, account) = store.card_state(uid)?.unwrap();
    may_pay(store, rig.place.rules.currency(), uid, &state)?;
    Ok(account.posted())
}

#[test]
fn rec_9_the_easycard_2025_pattern_pays_nothing_and_an_honest_card_is_paid_out() {
    let mut rig = Rig::new();
    // An honest top-up of card 1, paid at a kiosk.
    let order = Payment {
        channel: ChannelId(7),
        reference: "k1".into(),
        card: Cards::id(1),
        amount: 2_000,
        purse: None,
        product: None,
        paid_at: rig.place.clock.now(),
    };
    pay(&rig.place, &order).unwrap();
    let rules =
        OrderRules { offered_s: 86_400, clock_bound_s: 300, adjusts: true, overdue_s: None };
    tick(&rig.place, rules).unwrap();
    rig.board(0, 0, 1);
    load(&mut rig, 1, 2_000, 2);
    deliver(&mut rig);
    assert_eq!(payable(&rig, 1).unwrap(), i64::from(OPENING) + 2_000);
    assert_eq!(payable(&rig, 0).unwrap(), i64::from(OPENING) - 150);

    // Forty times somebody raises a card and has it paid out: nothing, each time.
    let mut paid = 0;
    for cash_out in 0..40_u32 {
        load(&mut rig, 0, 1_000, 10 + cash_out * 2);
        deliver(&mut rig);
        let refused = payable(&rig, 0);
        paid += refused.as_ref().copied().unwrap_or(0);
        let Err(DeskError::UnmetLoads { amount, .. }) = refused else { panic!("{refused:?}") };
        assert_eq!(amount.minor(), i64::from(cash_out + 1) * 1_000);
    }
    assert_eq!(paid, 0);
    assert!(payable(&rig, 1).is_ok(), "nobody else is held up");
    // Riding between the raise and the cash-out changes nothing.
    rig.board(0, 0, 200);
    deliver(&mut rig);
    assert!(matches!(payable(&rig, 0), Err(DeskError::UnmetLoads { .. })));
    rig.assert_sound();
}

#[test]
fn rec_9_a_card_whose_taps_are_not_all_here_is_not_paid_out_until_they_are() {
    let mut rig = Rig::new();
    rig.board(0, 0, 0);
    deliver(&mut rig);
    // On another bus that comes home late.
    rig.board(1, 0, 60);
    rig.board(1, 0, 120);
    rig.board(0, 0, 180);
    deliver(&mut rig);
    let Err(DeskError::Continuity { why, .. }) = payable(&rig, 0) else { panic!("held") };
    assert!(matches!(why, Discontinuity::Missing(_)), "{why}");
    let late = rig.buses[1].batch();
    rig.submit(&[late]);
    assert_eq!(payable(&rig, 0).unwrap(), i64::from(OPENING) - 600);
}
