//! A town for the tests of evidence and attacks: the simulator's validators and depot, riders who
//! go where the dice say, and beside the books every record that any copy of a card committed.

use std::{collections::BTreeMap, time::Duration};

use card::{CardKeys, Key, KeySet, Opening, VersionedKey, VirtualCard};
use clearing::{Account, ExceptionKind, Rules};
use fare::TariffSet;
use fleet_sync::SigningKey;
use model::{CardId, CardRecord, Ctr, TapRole, TariffVersion, Timestamp};
use tapline_tests::sim::{
    city,
    depot::SimDepot,
    dice::Dice,
    validator::{Reach, SimValidator, TapEnd, TapPlan, Tear, wants_another_try},
};

/// 2026-11-02T05:00:00Z.
const START: Timestamp = Timestamp::from_secs(1_793_595_600);
const TRIES_MAX: u32 = 12;

/// A card, or a copy of one.
pub(crate) struct TownCard {
    pub(crate) card: VirtualCard,
    pub(crate) key: VersionedKey,
    inside: bool,
}

/// See the module's documentation.
pub(crate) struct Town {
    pub(crate) now: Timestamp,
    pub(crate) dice: Dice,
    pub(crate) depot: SimDepot,
    pub(crate) validators: Vec<SimValidator>,
    pub(crate) cards: Vec<TownCard>,
    pub(crate) truth: BTreeMap<CardId, BTreeMap<Ctr, Vec<CardRecord>>>,
    /// Seconds that a validator's clock is ahead.
    pub(crate) skew: BTreeMap<usize, i64>,
    /// Per mille of presentations.
    pub(crate) tears: u32,
    pub(crate) presentations: u64,
    pub(crate) granted: u64,
    tariffs: TariffSet,
    depot_key: SigningKey,
}

pub(crate) fn granted(end: &TapEnd) -> bool {
    match end {
        TapEnd::Shown(passage) => passage.is_granted(),
        TapEnd::Dark(_) => false,
    }
}

pub(crate) fn keys() -> KeySet {
    KeySet::from_root(&Key([7; 16]))
}

impl Town {
    pub(crate) fn new(seed: u64, validators: u32, cards: u32) -> Self {
        let mut dice = Dice::new(seed);
        let tariffs = city::tariffs();
        let depot_key = SigningKey::from_bytes(&dice.bytes32());
        let mut make = |index| {
            let signing = SigningKey::from_bytes(&dice.bytes32());
            let context = city::context(index, &tariffs);
            let mut made = SimValidator::new(context, signing, depot_key.verifying_key(), None);
            made.boot(START);
            made
        };
        let validators: Vec<SimValidator> = (0..validators).map(&mut make).collect();
        let public = validators.iter().map(|v| (v.id, v.public_key())).collect();
        let rules = Rules::new(tariffs.clone());
        let mut town = Self {
            now: START,
            depot: SimDepot::new(depot_key.clone(), public, keys(), rules, None),
            dice,
            validators,
            cards: vec![],
            truth: BTreeMap::new(),
            skew: BTreeMap::new(),
            tears: 0,
            presentations: 0,
            granted: 0,
            tariffs,
            depot_key,
        };
        (0..cards).for_each(|index| town.issue(index));
        town
    }

    fn issue(&mut self, index: u32) {
        let [a, b, c, d] = index.to_be_bytes();
        let uid = CardId([4, 0x51, a, b, c, d, 0x80]);
        let opening = Opening {
            balance: 50_000,
            at_s: u32::try_from(START.secs()).unwrap(),
            tariff: TariffVersion(1),
            ..Opening::default()
        };
        let (card, issued) =
            VirtualCard::issue(uid, self.dice.bytes16(), &keys(), &opening).unwrap();
        self.depot.register(&issued, START);
        self.truth.entry(uid).or_default().insert(Ctr(1), vec![issued.record]);
        let key = keys().debit_key(&uid).unwrap();
        self.cards.push(TownCard { card, key, inside: false });
    }

    /// Another chip with everything that this one holds; answers its place in `cards`.
    pub(crate) fn copy(&mut self, card: usize) -> usize {
        let TownCard { card, key, inside } = &self.cards[card];
        let copy = TownCard { card: card.clone(), key: key.clone(), inside: *inside };
        self.cards.push(copy);
        self.cards.len() - 1
    }

    /// What an attacker writes down, to put the card back to it later.
    pub(crate) fn image(&self, card: usize) -> (Vec<u8>, bool) {
        (self.cards[card].card.to_bytes(), self.cards[card].inside)
    }

    /// The card is as it was when the image was taken, and so is its rider.
    pub(crate) fn put_back(&mut self, card: usize, (image, inside): &(Vec<u8>, bool)) {
        self.cards[card].card = VirtualCard::from_bytes(image).unwrap();
        self.cards[card].inside = *inside;
    }

    pub(crate) fn uid(&self, card: usize) -> CardId {
        self.cards[card].card.uid()
    }

    /// One ride, or one end of it, somewhere. Whether the rider was let through.
    pub(crate) fn ride(&mut self, card: usize) -> bool {
        let role = if self.cards[card].inside {
            TapRole::Exit
        } else if self.dice.chance(500) {
            TapRole::Board
        } else {
            TapRole::Entry
        };
        let fitting: Vec<usize> = (0..self.validators.len())
            .filter(|i| city::role(u32::try_from(*i).unwrap()) == role)
            .collect();
        let validator = fitting[self.dice.index(fitting.len())];
        let through = self.attempt(card, validator);
        if through {
            self.granted += 1;
            self.cards[card].inside = role == TapRole::Entry;
        }
        self.now = self.now.plus(Duration::from_secs(self.dice.between(2, 8)));
        through
    }

    fn attempt(&mut self, card: usize, validator: usize) -> bool {
        for _ in 0..TRIES_MAX {
            let tear = self.dice.chance(self.tears).then(|| Tear {
                at: u32::try_from(self.dice.below(9)).unwrap(),
                reach: if self.dice.chance(500) { Reach::Unanswered } else { Reach::Unheard },
            });
            let end = self.tap(card, validator, TapPlan { tear, ..TapPlan::default() });
            if granted(&end) || !wants_another_try(&end) {
                return granted(&end);
            }
            self.now = self.now.plus(Duration::from_secs(2));
        }
        false
    }

    /// One presentation.
    pub(crate) fn tap(&mut self, card: usize, validator: usize, plan: TapPlan) -> TapEnd {
        self.presentations += 1;
        let skew = self.skew.get(&validator).copied().unwrap_or(0);
        let clock = Timestamp(self.now.0.checked_add_signed(skew * 1000).unwrap());
        let TownCard { card, key, .. } = &mut self.cards[card];
        let end = self.validators[validator].tap(clock, card, key, plan, &mut self.dice);
        let contents = card.contents().expect("a card of ours");
        let newest = *contents.records.last().expect("every card has its issue");
        let uid = card.uid();
        let known = self.truth.get_mut(&uid).unwrap().entry(newest.ctr).or_default();
        if !known.contains(&newest) {
            known.push(newest);
        }
        end
    }

    /// What the validator has logged reaches the depot, if there is a link. `heard` looks at the
    /// depot after each batch.
    pub(crate) fn deliver(&mut self, validator: usize, mut heard: impl FnMut(&SimDepot)) {
        let from = &mut self.validators[validator];
        if !from.linked {
            return;
        }
        while from.backlog() > 0 {
            let batches = from.drain(self.now);
            assert!(!batches.is_empty(), "{} has something to send", from.id);
            for payload in batches {
                let ack = self.depot.handle_taps(self.now, from.id, &payload, None);
                heard(&self.depot);
                from.handle_ack(self.now, &ack.expect("the depot believes it"))
                    .expect("a clean ack");
            }
        }
    }

    pub(crate) fn deliver_all(&mut self) {
        for validator in 0..self.validators.len() {
            self.deliver(validator, |_| {});
        }
    }

    /// The validator is gone with all that it held; another stands in its place, with its number
    /// and a key of its own. Returns the one that is gone.
    pub(crate) fn destroy(&mut self, validator: usize) -> SimValidator {
        let context = city::context(u32::try_from(validator).unwrap(), &self.tariffs);
        let signing = SigningKey::from_bytes(&self.dice.bytes32());
        let mut new = SimValidator::new(context, signing, self.depot_key.verifying_key(), None);
        new.boot(self.now);
        self.depot.enrol(new.id, new.public_key());
        std::mem::replace(&mut self.validators[validator], new)
    }

    /// Cards with an open item of this kind.
    pub(crate) fn open(&self, kind: ExceptionKind) -> Vec<CardId> {
        let open = self.depot.books.open.values().filter(|item| item.kind == kind);
        open.filter_map(|item| item.card).collect()
    }

    pub(crate) fn held_on(&self, wanted: impl Fn(Account) -> bool) -> i64 {
        let balances = self.depot.books.ledger.balances();
        let fitting = balances.filter(|(id, _)| wanted(Account::parse(id).expect("clearing's")));
        fitting.map(|(_, balance)| balance.posted()).sum()
    }

    pub(crate) fn assert_sound(&self) {
        let books = &self.depot.books;
        ledger::trial_balance(books.ledger.balances()).expect("the trial balance is zero");
        assert_eq!(books.opened, books.resolved + books.open.len() as u64);
    }
}
