//! Cards that are blocked and served again while the fleet runs: production cores for cases and
//! lists, and beside them, for each version, a plain set of the cards that it refuses.
//!
//! Rolls dice of its own, so that the world of a seed is the same with and without it.

use std::collections::BTreeSet;

use blocking::{Case, CaseId, Cause, Decided, Limits, Pass, Standing, grade_of, pass};
use lists::Hotlist;
use model::{CardId, Timestamp};

use super::dice::Dice;

/// The breaker stays closed: what it does is tested where it is.
const LIMITS: Limits = Limits {
    window: std::time::Duration::from_secs(86_400),
    additions_max: 1_000_000,
    share_permille: 1000,
};
/// Versions that a delta is made from.
const DELTAS: usize = 3;

/// A list on its way, as the broker holds it.
#[derive(Debug, Clone)]
pub struct Edition {
    /// Its version.
    pub version: u64,
    /// All of it.
    pub content: Vec<u8>,
    /// Shorter ways to it, by the version that they begin at.
    pub deltas: Vec<(u64, Vec<u8>)>,
}

/// Everything about blocked cards.
#[derive(Debug)]
pub struct Blocking {
    dice: Dice,
    cases: Vec<Case>,
    editions: Vec<(Edition, Hotlist, BTreeSet<CardId>)>,
}

impl Blocking {
    /// Nobody is blocked.
    pub fn new(seed: u64) -> Self {
        Self { dice: Dice::new(!seed), cases: Vec::new(), editions: Vec::new() }
    }

    /// Whether something happens, so often of a thousand.
    pub fn chance(&mut self, per_mille: u32) -> bool {
        self.dice.chance(per_mille)
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        self.dice.between(low, high)
    }

    /// Somebody proposes a card, approves it, or takes a blocked one off the list.
    pub fn decide(&mut self, cards: &[CardId], now: Timestamp) {
        let card = cards[self.dice.index(cards.len())];
        let by = |name: &str| Decided { by: name.to_owned(), at: now };
        let open = self.cases.iter_mut().find(|case| case.card == card && case.standing.is_open());
        match open {
            None => {
                let mut case = proposed(self.cases.len() as u64 + 1, card, now);
                // Some proposals nobody decides about for a while: they block nobody.
                if self.dice.chance(700) {
                    case.approve(by("ana")).expect("a new proposal");
                }
                self.cases.push(case);
            }
            Some(case) if case.standing == Standing::InForce => {
                case.unblock(by("ben"), "found").expect("it is in force");
            }
            Some(case) if case.standing == Standing::Proposed => {
                case.approve(by("ana")).expect("it is proposed");
            }
            Some(_) => {}
        }
        self.publish(now);
    }

    /// Everybody is served again.
    pub fn unblock_all(&mut self, now: Timestamp) {
        for case in self.cases.iter_mut().filter(|case| case.standing == Standing::InForce) {
            let decided = Decided { by: "ben".to_owned(), at: now };
            case.unblock(decided, "it is over").expect("it is in force");
        }
        self.publish(now);
    }

    /// Makes the next version, when it would be another list.
    fn publish(&mut self, now: Timestamp) {
        let (newest, before) = self
            .editions
            .last()
            .map_or((0, Hotlist::default()), |newest| (newest.0.version, newest.1.clone()));
        let version = now.secs().max(newest + 1);
        let waiting = self.cases.iter().filter(|case| case.standing == Standing::Approved);
        let Pass::These(ids) = pass(waiting, 0, LIMITS.bound(1_000_000), false) else {
            unreachable!("the breaker stays closed")
        };
        for case in self.cases.iter_mut().filter(|case| ids.contains(&case.id)) {
            case.enforce(version, now).expect("it is approved");
        }
        let in_force = |case: &&Case| case.standing == Standing::InForce;
        let refused: BTreeSet<CardId> =
            self.cases.iter().filter(in_force).map(|case| case.card).collect();
        let touched = self.cases.iter().map(|case| case.card);
        let changes = touched
            .map(|card| (card, grade_of(self.cases.iter().filter(|case| case.card == card))))
            .collect();
        let list = before.with(&changes);
        if list == before {
            return;
        }
        let bases = self.editions.iter().rev().take(DELTAS);
        let deltas = bases.map(|(base, cards, _)| (base.version, cards.delta(&list))).collect();
        let edition = Edition { version, content: list.content().to_vec(), deltas };
        self.editions.push((edition, list, refused));
    }

    /// The newest list.
    pub fn newest(&self) -> Option<u64> {
        self.editions.last().map(|(edition, ..)| edition.version)
    }

    /// A list by its version.
    pub fn edition(&self, version: u64) -> &Edition {
        let found = self.editions.iter().find(|(edition, ..)| edition.version == version);
        &found.expect("only what was published travels").0
    }

    /// Whether a validator that works by this version has to refuse a card.
    pub fn refuses(&self, version: u64, card: CardId) -> bool {
        let found = self.editions.iter().find(|(edition, ..)| edition.version == version);
        found.is_some_and(|(.., refused)| refused.contains(&card))
    }
}

fn proposed(id: u64, card: CardId, now: Timestamp) -> Case {
    Case {
        id: CaseId(id),
        card,
        grade: Cause::Lost.grade(),
        cause: Cause::Lost,
        validator: None,
        proposer: "ana".to_owned(),
        proposed_at: now,
        reason: "reported lost".to_owned(),
        evidence: Vec::new(),
        expires: None,
        standing: Standing::Proposed,
        approved: None,
        confirmed: None,
        in_force: None,
        ended: None,
    }
}
