//! Value of cards that ended, over a real database (ADR-0023).

use clearing::{Account, Issue};
use model::{IssuerId, ValidUntil};

use super::*;
use crate::{claims::end_claims, workload::OPENING};

const DAY_S: u64 = 86_400;

#[test]
fn rec_15_value_of_an_ended_card_is_kept_and_after_its_time_to_claim_it_is_its_issuers_once() {
    let mut rig = Rig::new();
    let (card, issuer) = (Cards::id(77), Some(IssuerId(7)));
    // Valid to the end of January 2027.
    let record = rig.cards.issues()[0].record;
    let record = model::CardRecord { valid_until: ValidUntil::Month(24), ..record };
    register_cards(&rig.place, &[Issue { card, record, purse: None, issuer }]).unwrap();
    rig.board(0, 0, NOON);
    let batch = rig.buses[0].batch();
    rig.submit(&[batch]);
    let stands = |rig: &Rig, account: Account| {
        rig.place.store.account(&account.id(rig.place.rules.currency())).unwrap().posted()
    };
    // 2027-02-01, and 90 days.
    let end = 1_801_440_000;
    let over = Timestamp::from_secs(end + 90 * DAY_S);
    rig.place.clock.set(Timestamp(over.0 - 1));
    assert_eq!(end_claims(&rig.place, 90).unwrap(), 0, "its holder may come until then");
    rig.place.clock.set(over);
    assert_eq!(end_claims(&rig.place, 0).unwrap(), 0, "kept for ever");
    assert_eq!(end_claims(&rig.place, 90).unwrap(), 1, "cards without an end are never over");
    assert_eq!(end_claims(&rig.place, 90).unwrap(), 0, "once");
    let value = i64::from(OPENING);
    assert_eq!(stands(&rig, Account::Card(card)), value, "what the card shows");
    assert_eq!(stands(&rig, Account::Replaced(card)), -value, "nothing is due for it");
    assert_eq!(stands(&rig, Account::Unclaimed(issuer)), value);
    let is_over =
        |card| crate::claims::is_over(&rig.place.store, rig.place.rules.currency(), card).unwrap();
    assert!(is_over(card) && !is_over(Cards::id(0)));
    rig.assert_sound();
}
