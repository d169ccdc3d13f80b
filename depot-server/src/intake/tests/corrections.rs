//! Corrections by people, over a real database (ADR-0023).

use clearing::Account;
use model::{Ctr, OperatorId, Served};

use super::*;
use crate::{
    corrections::{Decision, attribute, decide},
    http::views::{ExceptionKind, Owner},
    intake::{office::Who, settle_due},
    store::OwedDay,
};

fn ana() -> Who {
    Who { by: "ana".into(), agreed_by: None, reason: "receipt 4711".into() }
}

fn ana_and_ben() -> Who {
    Who { agreed_by: Some("ben".into()), ..ana() }
}

impl Rig {
    /// The number of the only open item of a kind.
    fn item(&self, kind: ExceptionKind) -> u64 {
        let filter = ExceptionFilter { open: Some(true), kind: Some(kind), ..Default::default() };
        let rows = self.books().exceptions(&filter, Page::first(10)).unwrap();
        let [row] = &rows[..] else { panic!("one item: {rows:?}") };
        row.id
    }

    fn stands(&self, account: Account) -> i64 {
        let currency = self.place.rules.currency();
        self.place.store.account(&account.id(currency)).unwrap().posted()
    }

    fn decide(&self, item: u64, decision: &Decision, who: Who) -> Result<String, String> {
        let done = decide(&self.place, "2.00", item, decision, who);
        done.map_err(|error| error.to_string())
    }

    /// A boarding that the card paid while its reader let nobody through.
    fn unserved(&mut self) -> u64 {
        let card = Some(Cards::id(0));
        let transaction = self.cards.boarding(0, NOON, self.buses[0].id);
        let of = self.buses[0].log(card, NOON, TapEvent::InDoubt { transaction });
        let (proof, served) = (self.cards.commit(0, &transaction), Served::No);
        self.buses[0].log(card, NOON + 300, TapEvent::Confirmed { of, transaction, proof, served });
        let own = self.buses[0].batch();
        self.submit(&[own]);
        self.item(ExceptionKind::ChargedWithoutPassage)
    }
}

#[test]
fn a_charge_without_passage_is_repaid_once_and_reaches_the_card_as_what_it_is_owed() {
    let mut rig = Rig::new();
    let item = rig.unserved();
    let repay = |amount: &str| Decision::Repay(amount.into());
    let other = rig.decide(item, &repay("1.60"), ana()).unwrap_err();
    assert!(other.contains("is about 1.50 EUR, and not about 1.60"), "{other}");
    rig.decide(item, &repay("1.50"), ana()).unwrap();
    assert_eq!(rig.open_kinds(), [""; 0]);
    assert_eq!(rig.stands(Account::RiderDue(Cards::id(0))), 150);
    let owed: i64 = rig.place.store.owed(Cards::id(0)).unwrap().iter().map(OwedDay::open).sum();
    assert_eq!(owed, 150, "a load or an order pays it (ADR-0014)");
    let again = rig.decide(item, &repay("1.50"), ana()).unwrap_err();
    assert!(again.contains("is closed: repaid by ana: receipt 4711"), "{again}");
    rig.assert_sound();
    // The card rides on: what was decided stays, once.
    rig.board(1, 0, NOON + 9_000);
    let next = rig.buses[1].batch();
    rig.submit(&[next]);
    while settle_due(&rig.place).unwrap() {}
    assert_eq!(rig.stands(Account::RiderDue(Cards::id(0))), 150);
    assert_eq!(rig.open_kinds(), [""; 0]);
    rig.assert_sound();
}

#[test]
fn ops_2_above_the_limit_two_people_decide_and_both_are_kept() {
    let mut rig = Rig::new();
    rig.board(0, 0, NOON);
    rig.board(0, 0, NOON + 9_000);
    let lost = rig.buses[0].batch();
    rig.board(1, 0, NOON + 18_000);
    let newest = rig.buses[1].batch();
    rig.submit(&[newest]);
    let item = rig.item(ExceptionKind::CardGap);
    let gap = Account::GapSuspense(Cards::id(0), Ctr(2));
    assert_eq!(rig.stands(gap), 150);
    let off = |amount: &str| Decision::WriteOff(amount.into(), 3);
    let give_up = |amount, above, who| {
        let done = decide(&rig.place, above, item, &off(amount), who);
        done.map_err(|error| error.to_string())
    };
    let one = give_up("1.50", "1.49", ana()).unwrap_err();
    assert!(one.contains("1.50 EUR need a second person"), "{one}");
    let same = Who { agreed_by: Some(" Ana ".into()), ..ana() };
    assert!(give_up("1.50", "1.50", same).unwrap_err().contains("second person"));
    give_up("1.50", "1.49", ana_and_ben()).unwrap();
    assert_eq!((rig.stands(gap), rig.stands(Account::WrittenOff(3))), (0, 150));
    let facts = rig.books().exception(item).unwrap().unwrap();
    let reason = facts.row.closed.unwrap().reason;
    assert_eq!(reason, "written off under 3 by ana, agreed by ben: receipt 4711");
    rig.assert_sound();
    // The records come after all: the amount is taken back by a further entry, and nothing else.
    rig.submit(&[lost]);
    assert_eq!(rig.stands(gap), -150);
    rig.assert_sound();
    rig.decide(item, &Decision::TakeBack("1.50".into(), 3), ana()).unwrap();
    assert_eq!((rig.stands(gap), rig.stands(Account::WrittenOff(3))), (0, 0));
    let twice = rig.decide(item, &Decision::TakeBack("1.50".into(), 3), ana()).unwrap_err();
    assert!(twice.contains("no amount in suspense"), "{twice}");
    rig.assert_sound();
}

#[test]
fn revenue_that_a_person_attributed_is_moved_once_and_the_taps_own_entry_outweighs_it() {
    let mut rig = Rig::new();
    rig.board(0, 0, NOON);
    let late = rig.buses[0].batch();
    rig.board(1, 0, NOON + 9_000);
    let newest = rig.buses[1].batch();
    rig.submit(&[newest]);
    let (card, bus) = (Cards::id(0), Account::FareRevenue(Some(OperatorId(0))));
    let unattributed = rig.stands(Account::FareRevenue(None));
    let operator = rig.place.rules.tariffs().newest().operators()[0].id.clone();
    let attributed = |who| {
        let of = (card, Ctr(2));
        attribute(&rig.place, "2.00", of, &operator, who).map_err(|error| error.to_string())
    };
    if unattributed == 0 {
        // One operator runs everything here, so nobody is in doubt whose it is.
        assert!(attributed(ana()).unwrap_err().contains("is no ride that nobody could attribute"));
    } else {
        attributed(ana()).unwrap();
        assert_eq!(rig.stands(Account::FareRevenue(None)), 0);
    }
    let before = rig.stands(bus);
    rig.assert_sound();
    rig.submit(&[late]);
    assert_eq!(rig.stands(bus), before, "the same operator: nothing moves twice");
    rig.assert_sound();
}

#[test]
fn rec_14_an_item_has_an_owner_and_is_closed_by_a_person_with_a_reason_once() {
    let mut rig = Rig::new();
    let item = rig.unserved();
    rig.decide(item, &Decision::Assign("carla".into()), ana()).unwrap();
    let facts = rig.books().exception(item).unwrap().unwrap();
    assert_eq!(facts.row.owner.as_deref(), Some("carla"));
    let listed = |owner| {
        let filter = ExceptionFilter { owner: Some(owner), ..Default::default() };
        let rows = rig.books().exceptions(&filter, Page::first(9)).unwrap();
        rows.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(Owner::Person("carla".into())), [item]);
    assert_eq!(listed(Owner::Person("ben".into())), [0; 0]);
    assert!(!listed(Owner::Nobody).contains(&item));
    let nobody = Who { reason: " ".into(), ..ana() };
    assert!(rig.decide(item, &Decision::Close, nobody).unwrap_err().contains("must say something"));
    let none = rig.decide(item, &Decision::WriteOff("1.50".into(), 1), ana()).unwrap_err();
    assert!(none.contains("(charged-without-passage) has no amount in suspense"), "{none}");
    rig.decide(item, &Decision::Close, ana()).unwrap();
    assert_eq!(rig.open_kinds(), [""; 0]);
    let closed = rig.decide(item, &Decision::Close, ana()).unwrap_err();
    assert!(closed.contains("is closed: closed by ana: receipt 4711"), "{closed}");
    assert!(rig.decide(9_999, &Decision::Close, ana()).unwrap_err().contains("no work item 9999"));
    rig.assert_sound();
    let tally = rig.books().exception_tally().unwrap();
    assert!(tally.iter().all(|kind| kind.opened == kind.resolved + kind.open), "REC-14");
}
