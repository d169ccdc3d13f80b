//! Attacks on cards and with cards: what the rider is told, that nobody is charged who is not let
//! through, that the next honest card is served, and what the depot finds and when.

mod copies;
mod liars;

use card::{CardKeys, Key, KeySet, Opening, VirtualCard};
use model::{CardId, CardRecord, Ctr};
use reader::{Activation, Picc};
use tapline_tests::sim::validator::{Medium, TapEnd, TapPlan};
use validation::{Passage, Verdict};

use crate::{
    town::Town,
    validator::rig::{Rig, issued},
};

const HONEST: usize = 0;
/// A bus of the town.
const BUS: usize = 0;

fn shown(end: TapEnd) -> Passage {
    match end {
        TapEnd::Shown(passage) => *passage,
        TapEnd::Dark(_) => panic!("the power stayed"),
    }
}

/// Something is held to the town's bus; then an honest card is.
fn present(town: &mut Town, medium: &mut dyn Medium) -> Passage {
    let key = crate::town::keys().debit_key(&medium.uid()).unwrap();
    let bus = &mut town.validators[BUS];
    let passage = shown(bus.tap(town.now, medium, &key, TapPlan::default(), &mut town.dice));
    let honest = shown(town.tap(HONEST, BUS, TapPlan::default()));
    assert_eq!(honest.verdict, Verdict::Granted, "the next honest card is served");
    passage
}

fn stranger(keys: &KeySet, n: u8) -> VirtualCard {
    let opening = Opening { balance: 5_000, at_s: 1_793_000_000, ..Opening::default() };
    VirtualCard::issue(CardId([4, 9, 9, 9, 9, 9, n]), [n; 16], keys, &opening).unwrap().0
}

/// Puts other bytes in the place of a card's newest record: what somebody with the debit key, or
/// with a chip of his own, could do.
fn edited(card: &VirtualCard, edit: impl FnOnce(&mut CardRecord)) -> VirtualCard {
    let mut record = *card.contents().unwrap().records.last().unwrap();
    let old = record.to_bytes().unwrap();
    edit(&mut record);
    let mut image = card.to_bytes();
    let places: Vec<_> = (0..image.len() - 32).filter(|i| image[*i..][..32] == old).collect();
    let [place] = places[..] else { panic!("the record stands in the image once: {places:?}") };
    image[place..][..32].copy_from_slice(&record.to_bytes().unwrap());
    VirtualCard::from_bytes(&image).unwrap()
}

#[test]
fn a_card_that_is_not_ours_is_refused_by_name_and_nothing_of_it_changes() {
    let mut town = Town::new(3, 4, 1);
    let other_keys = KeySet::from_root(&Key([8; 16]));
    let blank = VirtualCard::blank(CardId([4, 8, 8, 8, 8, 8, 8]), [1; 16]);
    for (what, mut card) in
        [("keys of another issuer", stranger(&other_keys, 1)), ("no application of ours", blank)]
    {
        let before = card.clone();
        let passage = present(&mut town, &mut card);
        assert_eq!(passage.assist_code(), Some(10), "{what}");
        assert!(card.same_contents(&before), "{what}");
    }
    town.deliver_all();
    assert_eq!(town.depot.books.open.len(), 0);
}

#[test]
fn a_record_that_promises_more_than_the_value_file_holds_buys_nothing() {
    let mut town = Town::new(4, 4, 1);
    let opening = Opening { balance: 100, at_s: 1_793_000_000, ..Opening::default() };
    let uid = CardId([4, 7, 7, 7, 7, 7, 7]);
    let (poor, _) = VirtualCard::issue(uid, [5; 16], &crate::town::keys(), &opening).unwrap();
    let mut rich = edited(&poor, |record| record.balance += 5_000);
    let passage = present(&mut town, &mut rich);
    assert_eq!(passage.assist_code(), Some(24), "the chip refuses the debit");
    assert_eq!(rich.contents().unwrap().balance, 100, "nothing was charged");
}

#[test]
fn an_edited_balance_is_charged_once_and_is_a_fork_at_the_depot_with_its_first_tap() {
    let mut town = Town::new(5, 4, 2);
    town.cards[1].card = edited(&town.cards[1].card, |record| record.balance += 700);
    let passage = shown(town.tap(1, BUS, TapPlan::default()));
    assert_eq!((passage.verdict, passage.charge.minor()), (Verdict::Granted, 150));
    assert_eq!(town.cards[1].card.contents().unwrap().balance, 50_000 - 150, "the chip counts");
    town.deliver_all();
    assert_eq!(town.open(clearing::ExceptionKind::Fork), [town.uid(1)]);
    town.assert_sound();
}

#[test]
fn a_counter_that_is_not_the_chips_own_is_found_by_the_first_proof() {
    let mut town = Town::new(6, 4, 2);
    let ahead = |record: &mut CardRecord| record.ctr = Ctr(record.ctr.0 + 5);
    town.cards[1].card = edited(&town.cards[1].card, ahead);
    let passage = shown(town.tap(1, BUS, TapPlan::default()));
    assert_eq!(passage.verdict, Verdict::Refused(model::Refusal::CardDataInvalid));
    town.deliver_all();
    let [finding] = &town.depot.findings[..] else { panic!("{:?}", town.depot.findings) };
    assert!(finding.contains("the proof does not hold"), "{finding}");
    assert_eq!(town.depot.books.cards[&town.uid(1)].shadow(), Some(50_000), "no coin has moved");
}

/// A phone or a privacy card: another number at every look.
struct RandomNumber(VirtualCard);

impl Picc for RandomNumber {
    fn activation(&self) -> Activation {
        Activation { uid: vec![8, 1, 2, 3], ..Activation::desfire(self.0.uid()) }
    }

    fn transceive(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        Some(self.0.handle_apdu(apdu))
    }

    fn field_off(&mut self) {
        self.0.power_off();
    }
}

#[tokio::test]
async fn two_cards_a_classic_and_a_random_number_are_refused_by_the_daemon_and_none_is_charged() {
    let mut rig = Rig::new();
    let daemon = rig.start().await.unwrap();
    let (ours, other) = (issued(1, 900), issued(2, 900));
    // The daemon runs on this thread: it sees both at once or neither.
    rig.field.place(ours.clone());
    rig.field.place(other.clone());
    let told = rig.told().await;
    assert_eq!(told.verdict, Verdict::TryAgain(model::Refusal::SeveralCards));
    rig.field.clear();
    for card in [&ours, &other] {
        assert_eq!(card.lock().unwrap().contents().unwrap().balance, 900);
    }
    assert!(rig.tap(&ours).await.is_granted(), "either alone is served");

    rig.field.place(crate::readers::bench::Classic);
    assert_eq!(rig.told().await.assist_code(), Some(10), "SEC-1: no value on a Classic");
    rig.field.clear();
    assert!(rig.tap(&other).await.is_granted());

    let hidden = issued(3, 900).lock().unwrap().clone();
    rig.field.place(RandomNumber(hidden));
    assert_eq!(rig.told().await.assist_code(), Some(10), "no key can be derived");
    rig.field.clear();
    assert!(rig.tap(&issued(4, 900)).await.is_granted());
    daemon.stop().await;
}
