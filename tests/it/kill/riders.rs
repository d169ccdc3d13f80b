//! Riders who tap whatever happens: they hold their card, pull it away too early now and then,
//! and hold it again when nothing came of it. They watch that nobody pays twice for one ride.

#![expect(clippy::unwrap_used, reason = "a poisoned lock is a failed test")]

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use model::{CardId, CardRecord, Ctr, RecordKind, TapRole};
use tapline_tests::{pn532::Fault, sim::dice::Dice};
use tokio::{sync::watch, time::sleep};

use crate::processes::{Reader, SharedCard};

/// How long a rider looks at a screen that says nothing.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How often a rider holds the card again before giving up.
const TRIES: u32 = 8;
/// The reader must notice that the card was away.
pub(super) const AWAY: Duration = Duration::from_millis(350);
/// Exchanges of a debit, the commit being the last.
const EXCHANGES: u64 = 7;

/// Every record that every card has ever committed, as the cards themselves tell.
#[derive(Debug, Clone, Default)]
pub(super) struct History(pub(super) BTreeMap<CardId, BTreeMap<Ctr, CardRecord>>);

/// Where the riders stand, with their cards.
pub(super) struct Platform {
    outside: Mutex<VecDeque<SharedCard>>,
    /// Have tapped in.
    inside: Mutex<VecDeque<SharedCard>>,
    pub(super) history: Mutex<History>,
}

/// What came of the rides.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Cards held to the reader.
    pub(super) presented: u64,
    /// Rides that were granted.
    pub(super) granted: u64,
    /// Granted at a second or later try.
    pub(super) again: u64,
    /// Refused.
    pub(super) refused: u64,
    /// Given up without an answer.
    pub(super) left: u64,
}

pub(super) struct Rider {
    role: TapRole,
    reader: Reader,
    platform: Arc<Platform>,
    dice: Dice,
    tally: Tally,
}

impl History {
    /// Writes down what the card holds. Its log keeps the last twelve records, and a card is looked
    /// at more often than that.
    pub(super) fn observe(&mut self, card: &SharedCard) -> Ctr {
        let (uid, contents) = {
            let card = card.lock().unwrap();
            (card.uid(), card.contents().unwrap())
        };
        let known = self.0.entry(uid).or_default();
        for record in contents.records {
            let before = known.insert(record.ctr, record);
            assert!(before.is_none_or(|before| before == record), "a card never rewrites");
        }
        contents.ctr
    }
}

impl Platform {
    pub(super) fn new(cards: &[SharedCard]) -> Self {
        let mut history = History::default();
        for card in cards {
            history.observe(card);
        }
        Self {
            outside: Mutex::new(cards.iter().cloned().collect()),
            inside: Mutex::default(),
            history: Mutex::new(history),
        }
    }
}

impl Tally {
    pub(super) fn add(&mut self, other: &Self) {
        self.presented += other.presented;
        self.granted += other.granted;
        self.again += other.again;
        self.refused += other.refused;
        self.left += other.left;
    }
}

impl Rider {
    pub(super) fn new(role: TapRole, reader: Reader, platform: Arc<Platform>, dice: Dice) -> Self {
        Self { role, reader, platform, dice, tally: Tally::default() }
    }

    /// Rides until told to stop; gives back the reader.
    pub(super) async fn ride_until(mut self, stop: watch::Receiver<bool>) -> (Reader, Tally) {
        while !*stop.borrow() {
            let from = match self.role {
                TapRole::Exit => &self.platform.inside,
                TapRole::Board | TapRole::Entry => &self.platform.outside,
            };
            let card = from.lock().unwrap().pop_front();
            let Some(card) = card else {
                sleep(Duration::from_millis(20)).await;
                continue;
            };
            let granted = self.ride(&card).await;
            let to = match self.role {
                TapRole::Entry if granted => &self.platform.inside,
                TapRole::Board | TapRole::Entry | TapRole::Exit => &self.platform.outside,
            };
            to.lock().unwrap().push_back(card);
        }
        (self.reader, self.tally)
    }

    /// One ride; whether it was granted.
    async fn ride(&mut self, card: &SharedCard) -> bool {
        let began = self.observe(card);
        self.reader.forget();
        let mut granted = false;
        for attempt in 0..TRIES {
            if attempt > 0 {
                sleep(AWAY).await;
            }
            if self.dice.chance(60) {
                let after = u32::try_from(self.dice.below(EXCHANGES)).unwrap();
                let heard = self.dice.chance(500);
                let fault = if heard { Fault::PullHeard(after) } else { Fault::Pull(after) };
                self.reader.emulator.fault(fault);
            }
            self.tally.presented += 1;
            self.reader.emulator.place(Arc::clone(card));
            let answer = self.reader.answer(PATIENCE).await;
            self.reader.emulator.chip().clear();
            self.observe(card);
            match answer.as_deref() {
                Some(line) if line.contains("accepted") => {
                    granted = true;
                    self.tally.granted += 1;
                    self.tally.again += u64::from(attempt > 0);
                    break;
                }
                Some(line) if line.starts_with('D') => {
                    self.tally.refused += 1;
                    break;
                }
                Some(_) | None => {}
            }
        }
        self.tally.left += u64::from(!granted);
        self.assert_paid_once(card, began);
        granted
    }

    fn observe(&self, card: &SharedCard) -> Ctr {
        self.platform.history.lock().unwrap().observe(card)
    }

    /// However often the card was held: the ride stands on it once at most.
    fn assert_paid_once(&self, card: &SharedCard, began: Ctr) {
        let kind = match self.role {
            TapRole::Board => RecordKind::Board,
            TapRole::Entry => RecordKind::Entry,
            TapRole::Exit => RecordKind::Exit,
        };
        let uid = card.lock().unwrap().uid();
        let history = self.platform.history.lock().unwrap();
        let fresh: Vec<CardRecord> =
            history.0[&uid].iter().filter(|(ctr, _)| **ctr > began).map(|(_, r)| *r).collect();
        let rides = fresh.iter().filter(|record| record.kind == kind).count();
        assert!(rides <= 1, "a rider paid {rides} times for one ride: {fresh:#?}");
    }
}
