//! Cards that lie: at every exchange of a tap, every kind of wrong answer. The reader gives up
//! after a bounded number of exchanges, tells the rider something, and the same card held again
//! honestly is let through and charged once.

use card::VirtualCard;
use model::{CardId, Refusal};
use proptest::prelude::*;
use tapline_tests::sim::{
    dice::Dice,
    validator::{Medium, TapPlan},
};
use validation::Verdict;

use super::shown;
use crate::town::Town;

/// Exchanges of a tap that are ever made; whoever chains for ever is left after this many.
const EXCHANGES_MAX: usize = 10;
const BUS: usize = 0;

/// A wrong answer.
#[derive(Debug, Clone)]
enum Lie {
    /// None, ever.
    Silence,
    /// These bytes.
    Bytes(Vec<u8>),
    /// The right answer with another status.
    Status(u16),
    /// The right answer and one bit of it changed.
    Flip(usize),
    /// More of it.
    Longer(usize),
    /// Less of it.
    Shorter(usize),
    /// `91AF` and data, whatever is asked, for ever.
    Chain,
    /// What was answered to the command before.
    Again,
    /// The command is not passed on, and it is answered like a success.
    Swallowed,
}

struct Liar<'a> {
    card: &'a mut VirtualCard,
    at: usize,
    lie: Lie,
    heard: usize,
    last: Vec<u8>,
}

impl Medium for Liar<'_> {
    fn uid(&self) -> CardId {
        self.card.uid()
    }

    fn answer(&mut self, apdu: &[u8]) -> Option<Vec<u8>> {
        let here = self.heard;
        self.heard += 1;
        assert!(self.heard <= EXCHANGES_MAX, "the reader never ends");
        if here < self.at || here > self.at && !matches!(self.lie, Lie::Chain) {
            self.last = self.card.handle_apdu(apdu);
            return Some(self.last.clone());
        }
        if matches!(self.lie, Lie::Swallowed) {
            return Some(vec![0x91, 0x00]);
        }
        let mut right = self.card.handle_apdu(apdu);
        let data = right.len() - 2;
        match &self.lie {
            Lie::Silence => return None,
            Lie::Bytes(bytes) => return Some(bytes.clone()),
            Lie::Status(status) => right[data..].copy_from_slice(&status.to_be_bytes()),
            Lie::Flip(bit) => {
                let bit = bit % (right.len() * 8);
                right[bit / 8] ^= 1 << (bit % 8);
            }
            Lie::Longer(by) => {
                right.splice(data..data, (0..*by).map(|n| n.to_le_bytes()[0]));
            }
            Lie::Shorter(by) => {
                right.drain(data.saturating_sub(*by)..data);
            }
            Lie::Chain => return Some([vec![7; 59], vec![0x91, 0xaf]].concat()),
            Lie::Again => return Some(self.last.clone()),
            Lie::Swallowed => unreachable!("answered above"),
        }
        Some(right)
    }

    fn power_off(&mut self) {
        self.card.power_off();
    }
}

/// Tells the lie, then taps honestly, then lets another card board, and looks at the books.
fn check(at: usize, lie: &Lie) {
    let mut town = Town::new(7, 4, 2);
    let key = town.cards[1].key.clone();
    let mut card = town.cards[1].card.clone();
    let mut liar = Liar { card: &mut card, at, lie: lie.clone(), heard: 0, last: vec![] };
    let bus = &mut town.validators[BUS];
    let mut dice = Dice::new(1);
    let first = shown(bus.tap(town.now, &mut liar, &key, TapPlan::default(), &mut dice));
    let charged = 50_000 - card.contents().unwrap().balance;
    if first.is_granted() {
        assert_eq!(charged, 150, "{at} {lie:?}: a free ride");
    } else {
        // Charged and sent away: the reader must know that it does not know.
        let may_be_charged = first.verdict == Verdict::TryAgain(Refusal::Unreadable);
        assert!(charged == 0 || may_be_charged, "{at} {lie:?}: {first:?}");
        assert!(first.assist_code().is_some());
    }
    town.cards[1].card = card;
    town.now = town.now.plus(std::time::Duration::from_secs(2));
    if !first.is_granted() {
        let second = shown(town.tap(1, BUS, TapPlan::default()));
        assert_eq!(second.verdict, Verdict::Granted, "{at} {lie:?}: {second:?}");
    }
    assert_eq!(town.cards[1].card.contents().unwrap().balance, 50_000 - 150, "{at} {lie:?}");
    let next = shown(town.tap(0, BUS, TapPlan::default()));
    assert_eq!(next.verdict, Verdict::Granted, "{at} {lie:?}: the next honest card is served");
    town.deliver_all();
    assert_eq!(town.depot.findings, [""; 0], "{at} {lie:?}");
    assert_eq!(town.depot.books.open.len(), 0, "{at} {lie:?}: everything is resolved");
    assert_eq!(town.depot.books.cards[&town.uid(1)].shadow(), Some(50_000 - 150));
    town.assert_sound();
}

/// Select, authenticate twice, read, debit, write, commit.
const STEPS: usize = 7;

#[test]
fn every_kind_of_wrong_answer_at_every_exchange_costs_nobody_a_ride_or_a_coin() {
    let statuses = (0..=255).map(|code| Lie::Bytes(vec![0x91, code]));
    let iso = [0x9000, 0x6700, 0x6982, 0x6a82, 0x6d00, 0x6e00, 0x6f00].map(Lie::Status);
    let sizes = (0..=300).step_by(23).map(|size| Lie::Bytes(vec![0x5a; size]));
    let good_sizes = (0..=300).step_by(23).map(|size| {
        let mut bytes = vec![0x5a; size];
        bytes.extend([0x91, 0x00]);
        Lie::Bytes(bytes)
    });
    let edits = [1, 2, 8, 59, 250].into_iter().flat_map(|n| [Lie::Longer(n), Lie::Shorter(n)]);
    let plain = [Lie::Silence, Lie::Chain, Lie::Again, Lie::Swallowed, Lie::Status(0x91af)];
    let lies: Vec<Lie> =
        statuses.chain(iso).chain(sizes).chain(good_sizes).chain(edits).chain(plain).collect();
    let mut cases = 0;
    for at in 0..STEPS {
        for lie in &lies {
            // An answer that is the right one is no lie.
            let right = at == 0 && matches!(lie, Lie::Bytes(b) if b[..] == [0x91, 0x00]);
            if !(right || at == 0 && matches!(lie, Lie::Swallowed)) {
                check(at, lie);
                cases += 1;
            }
        }
    }
    println!("{cases} wrong answers");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_bytes_and_any_flipped_bit_at_any_exchange_cost_nobody_a_ride_or_a_coin(
        at in 0..STEPS,
        lie in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Lie::Bytes),
            prop::collection::vec(any::<u8>(), 0..60).prop_map(|mut data| {
                data.extend([0x91, 0x00]);
                Lie::Bytes(data)
            }),
            (0_usize..400).prop_map(Lie::Flip),
        ],
    ) {
        check(at, &lie);
    }
}
