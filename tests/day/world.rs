//! The day itself: riders, taps, batches on their way, and the depot that books them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    path::Path,
    time::Duration,
};

use clearing::{Issue, Rules};
use depot_server::{clock::Stopwatch, intake::Message, workload::card_keys};
use fare::TariffSet;
use model::{TapSeq, Timestamp};

use super::{
    Plan,
    cards::DayCard,
    city::{self, BEGINS, DAY_S, Kind},
    depot::{Depot, depot_name},
    fleet::{Device, Fate, Faults, fleet},
    log::Sent,
    oracle::Item,
};
use crate::sim::dice::Dice;

/// How often the network is looked at.
const SLICE_S: u32 = 300;
/// When the last rider taps.
const LAST_TAP_S: u32 = 21 * 3600;
/// When garages deliver, and nothing goes wrong on the way any more.
const GARAGE_S: u32 = LAST_TAP_S + 1800;
/// Messages of one commit.
const GROUP: usize = 64;

/// What somebody does with a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ride {
    /// On a bus.
    Bus,
    /// On the ferry.
    Ferry,
    /// In at a station, and out at another unless it is forgotten.
    Metro { from: u16, to: Option<u16> },
    /// Out.
    Out(u16),
    /// The card is copied; from here on there are two.
    Copied,
    /// An older image of the card is put back.
    RolledBack,
    /// The next tap finds more on the card than was left there.
    Given,
    /// Somebody with a stolen key loads it.
    Loaded,
}

/// Everything.
pub struct World {
    pub(super) plan: Plan,
    pub(super) faults: Faults,
    pub(super) dice: Dice,
    pub(super) keys: card::KeySet,
    pub(super) tariffs: TariffSet,
    pub(super) cards: Vec<DayCard>,
    pub(super) fleet: Vec<Device>,
    pub(super) by_kind: BTreeMap<Kind, Vec<usize>>,
    pub(super) depot: Depot,
    /// Work items that a fault of one entry or batch must open once that has arrived: of which
    /// device, which life, which entry.
    pub(super) marks: Vec<(usize, usize, TapSeq, Item)>,
    /// Work items of batches that contradict the books.
    pub(super) broken: Vec<Item>,
    /// Value to be found on a card with its next tap.
    pub(super) gifts: BTreeMap<usize, u32>,
    riders: BinaryHeap<Reverse<(u32, u32, Ride)>>,
    network: BTreeMap<(u32, u64), (usize, Sent, bool)>,
    sent: u64,
    /// Real time from handing over the group with the last needed record to the proposal.
    pub(super) proposals: Vec<Duration>,
    /// Counts of what was injected, for the report.
    pub(super) injected: BTreeMap<&'static str, u64>,
}

impl World {
    /// A city on the morning of the day.
    pub fn new(plan: Plan, folder: &Path) -> anyhow::Result<Self> {
        let mut dice = Dice::new(plan.seed);
        let faults = Faults::of(plan.taps);
        let tariffs = city::tariffs();
        let start = Timestamp::from_secs(u64::from(BEGINS));
        let depot = Depot::new(folder, Rules::new(tariffs.clone()), start)?;
        let fleet = fleet(plan.taps, faults, &depot_name(), &mut dice);
        let mut by_kind: BTreeMap<Kind, Vec<usize>> = BTreeMap::new();
        for (at, device) in fleet.iter().enumerate() {
            let key = device.log_key();
            depot.place.store.enrol(device.id, &key, "validator", false, Timestamp(0))?;
            by_kind.entry(device.kind).or_default().push(at);
        }
        let mut world = Self {
            plan,
            faults,
            dice,
            keys: card_keys(),
            tariffs,
            cards: Vec::new(),
            fleet,
            by_kind,
            depot,
            marks: Vec::new(),
            broken: Vec::new(),
            gifts: BTreeMap::new(),
            riders: BinaryHeap::new(),
            network: BTreeMap::new(),
            sent: 0,
            proposals: Vec::new(),
            injected: BTreeMap::new(),
        };
        world.issue()?;
        world.plan_rides();
        for at in 0..world.fleet.len() {
            for what in world.fleet[at].faults() {
                world.count(what);
            }
        }
        Ok(world)
    }

    fn issue(&mut self) -> anyhow::Result<()> {
        let count = (self.plan.taps / 3).max(self.faults.cards * 6);
        let brought = self.faults.cards * 2..self.faults.cards * 3;
        for number in 0..count {
            let opening = if self.dice.chance(20) { 150 } else { self.dice.between(1500, 6000) };
            let opening = u32::try_from(opening).expect("small");
            let opening = if number < self.faults.cards * 5 { 6000 } else { opening };
            self.cards.push(DayCard::new(number, opening, !brought.contains(&number)));
        }
        let ours = self.cards.iter().filter(|card| card.issued);
        let issue = |card: &DayCard| Issue {
            card: card.id,
            record: card.nodes[0].record,
            purse: None,
            issuer: None,
        };
        self.depot.register(&ours.map(issue).collect::<Vec<_>>())
    }

    /// Enough rides that the taps come to what was asked for.
    fn plan_rides(&mut self) {
        let count = u32::try_from(self.cards.len()).expect("cards have 32 bit numbers");
        let mut planned = 0;
        for card in 0..self.faults.cards * 5 {
            // Long enough before and after the fault, and long enough apart to be rides.
            for hour in [4, 6, 8, 13, 15, 17] {
                planned += self.plan_ride(card, hour * 3600, 3000);
            }
            let what = match card / self.faults.cards {
                0 => Some(Ride::Copied),
                1 => Some(Ride::RolledBack),
                3 => Some(Ride::Given),
                4 => Some(Ride::Loaded),
                _ => None,
            };
            if let Some(what) = what {
                let at = 10 * 3600 + u32::try_from(self.dice.below(7200)).expect("small");
                self.riders.push(Reverse((at, card, what)));
            }
        }
        while planned < self.plan.taps + self.plan.taps / 40 + 50 {
            let card = u32::try_from(self.dice.below(u64::from(count))).expect("a card");
            let (from, for_s) = match self.dice.below(10) {
                0..=3 => (3 * 3600, 9000),
                4..=7 => (12 * 3600 + 1800, 9000),
                8 => (3600, 18 * 3600),
                _ => (6 * 3600, 6 * 3600),
            };
            planned += self.plan_ride(card, from, for_s);
        }
    }

    /// A ride, and perhaps another behind it. Answers how many taps.
    fn plan_ride(&mut self, card: u32, from: u32, for_s: u32) -> u32 {
        let mut at = from + u32::try_from(self.dice.below(u64::from(for_s))).expect("small");
        let mut taps = 0;
        loop {
            let ride = match self.dice.below(100) {
                0..=59 => Ride::Bus,
                60..=65 => Ride::Ferry,
                _ => {
                    let mut station =
                        || u16::try_from(self.dice.below(u64::from(city::STATIONS))).expect("few");
                    let (from, to) = (station(), station());
                    Ride::Metro { from, to: (!self.dice.chance(15)).then_some(to) }
                }
            };
            taps += if matches!(ride, Ride::Metro { to: Some(_), .. }) { 2 } else { 1 };
            self.riders.push(Reverse((at.min(LAST_TAP_S - 3600), card, ride)));
            if !self.dice.chance(350) {
                return taps;
            }
            at += u32::try_from(self.dice.between(600, 3000)).expect("small");
        }
    }

    /// Seconds since the day began, as the depot's clock tells it.
    pub(super) fn set_clock(&self, at: u32) {
        self.depot.place.clock.set(Timestamp::from_secs(u64::from(BEGINS + at)));
    }

    /// Until the day is over and everything has arrived that can arrive by itself.
    pub fn live(&mut self) -> anyhow::Result<()> {
        for slice in 0..(DAY_S / SLICE_S) {
            let end = (slice + 1) * SLICE_S;
            self.ride_until(end)?;
            self.meet_fates(end);
            self.send(end);
            self.deliver(end)?;
        }
        let left: Vec<_> = self.fleet.iter().filter(|device| device.owes()).collect();
        anyhow::ensure!(
            left.is_empty() && self.network.is_empty(),
            "not delivered by four in the morning: {:?}",
            left.iter().map(|device| device.id).collect::<Vec<_>>()
        );
        Ok(())
    }

    fn ride_until(&mut self, end: u32) -> anyhow::Result<()> {
        while let Some(Reverse((at, _, _))) = self.riders.peek()
            && *at < end
        {
            let Reverse((at, card, ride)) = self.riders.pop().expect("there is one");
            self.ride(at, card, ride)?;
        }
        Ok(())
    }

    fn ride(&mut self, at: u32, number: u32, ride: Ride) -> anyhow::Result<()> {
        let card = number as usize;
        if self.cards[card].twin.is_some() && !matches!(ride, Ride::Out(_)) && self.dice.chance(500)
        {
            self.cards[card].swap();
        }
        match ride {
            Ride::Bus => {
                self.tap(card, Kind::Bus, at)?;
            }
            Ride::Ferry => {
                self.tap(card, Kind::Ferry, at)?;
            }
            Ride::Metro { from, to } => {
                let inside = self.tap(card, Kind::In(from), at)?;
                if let (true, Some(to)) = (inside, to) {
                    let out = at + u32::try_from(self.dice.between(180, 2400)).expect("small");
                    self.riders.push(Reverse((out, number, Ride::Out(to))));
                }
            }
            Ride::Out(station) => {
                self.tap(card, Kind::Out(station), at)?;
            }
            Ride::Copied => self.copy(card),
            Ride::RolledBack => self.roll_back(card),
            Ride::Given => self.give(card),
            Ride::Loaded => self.load(card),
        }
        Ok(())
    }

    /// What becomes of validators by now.
    fn meet_fates(&mut self, now: u32) {
        for device in &mut self.fleet {
            match device.fate {
                Fate::Destroyed(at) if device.is_on && now >= at => device.is_on = false,
                Fate::Reimaged(at) if device.lives.len() == 1 && now >= at => {
                    device.begin_life(&depot_name());
                }
                Fate::Restored(at) if device.lives.len() == 1 && !device.is_restored => {
                    let life = device.lives.len() - 1;
                    let handed = device.handed(life);
                    if now >= at
                        && let Some(image) = device.image.take_if(|image| image.sent() < handed)
                    {
                        device.lives[life] = image;
                        device.is_restored = true;
                    }
                }
                Fate::Sound
                | Fate::Garage
                | Fate::Late
                | Fate::Destroyed(_)
                | Fate::Reimaged(_)
                | Fate::Restored(_) => {}
            }
        }
    }

    /// What is due is signed and sent.
    fn send(&mut self, now: u32) {
        for at in 0..self.fleet.len() {
            let device = &mut self.fleet[at];
            let has_network = match device.fate {
                Fate::Garage => now >= GARAGE_S,
                Fate::Late => false,
                Fate::Sound | Fate::Destroyed(_) | Fate::Reimaged(_) | Fate::Restored(_) => true,
            };
            if !device.is_on || !has_network || (now < device.next_s && now < GARAGE_S) {
                continue;
            }
            device.next_s = now + device.every_s;
            let again: Vec<Sent> = device.log().waiting.iter().cloned().collect();
            let new = device.log().seal();
            let is_restored = device.is_restored;
            if is_restored {
                // The depot says that these numbers are taken; the operator begins a new life.
                device.begin_life(&depot_name());
            } else if device.image.is_none() && matches!(device.fate, Fate::Restored(_)) {
                device.image = Some(device.lives[0].clone());
            }
            for sent in if is_restored { Vec::new() } else { again } {
                self.post(at, &sent, now, is_restored);
            }
            for sent in new {
                self.post(at, &sent, now, is_restored);
            }
        }
    }

    /// A message on its way: perhaps late, behind a later one, twice or not at all.
    fn post(&mut self, device: usize, sent: &Sent, now: u32, contradicts: bool) {
        let calm = now >= GARAGE_S || contradicts;
        let mut copies = 1;
        if !calm && self.dice.chance(20) {
            self.count("batches lost on the way");
            return;
        }
        if !calm && self.dice.chance(30) {
            self.count("batches duplicated");
            copies = 2;
        }
        for _ in 0..copies {
            let late = !calm && self.dice.chance(40);
            let after = if late { self.dice.between(600, 3000) } else { self.dice.between(2, 40) };
            if late {
                self.count("batches overtaken");
            }
            self.sent += 1;
            let at = now + u32::try_from(after).expect("small");
            self.network.insert((at, self.sent), (device, sent.clone(), contradicts));
        }
    }

    /// What has arrived by now is booked, in groups.
    pub(super) fn deliver(&mut self, now: u32) -> anyhow::Result<()> {
        let later = self.network.split_off(&(now, 0));
        let due = std::mem::replace(&mut self.network, later);
        let mut due: Vec<_> = due.into_iter().collect();
        while !due.is_empty() {
            let rest = due.split_off(due.len().min(GROUP));
            let group = std::mem::replace(&mut due, rest);
            let at = group.last().map_or(now, |((at, _), _)| *at);
            let sent: Vec<_> = group.into_iter().map(|(_, sent)| sent).collect();
            self.book(at, &sent)?;
        }
        Ok(())
    }

    /// Books one group, and lets the hotlist's rules look.
    pub(super) fn book(&mut self, at: u32, group: &[(usize, Sent, bool)]) -> anyhow::Result<()> {
        self.set_clock(at);
        let messages: Vec<Message> =
            group.iter().map(|(_, sent, _)| sent.message.clone()).collect();
        for (device, sent, contradicts) in group {
            self.arrives(*device, sent, *contradicts, at);
        }
        let before = self.depot.cases()?;
        let watch = Stopwatch::start();
        let acks = self.depot.submit(messages)?;
        self.depot.tick()?;
        let took = watch.elapsed();
        let proposed = self.depot.cases()? - before;
        self.proposals.extend((0..proposed).map(|_| took));
        for (validator, epoch, through) in acks {
            let device = &mut self.fleet[validator.number() as usize - 1];
            let life = epoch.0 as usize - 1;
            anyhow::ensure!(
                device.handed(life) == through,
                "{validator} has handed in {} of epoch {epoch}, the depot acks {through}",
                device.handed(life)
            );
            device.lives[life].acked(through);
        }
        Ok(())
    }

    /// What the network knows of a message that reached the depot.
    fn arrives(&mut self, at: usize, sent: &Sent, contradicts: bool, now: u32) {
        let device = &mut self.fleet[at];
        let validator = Some(device.id.number());
        if contradicts {
            let kind = "chain-broken".to_owned();
            self.broken.push(Item { kind, card: None, validator, amount: None });
            return self.count("batches under numbers that were taken");
        }
        let life = sent.epoch.0 as usize - 1;
        let handed = device.handed(life);
        if sent.first > handed.next() || sent.last <= handed {
            return;
        }
        device.arrivals[life].push((sent.last, now));
        if let Some(hidden) = sent.hidden {
            let (kind, amount) = ("register-mismatch".to_owned(), Some(hidden.abs()));
            self.marks.push((at, life, sent.last, Item { kind, card: None, validator, amount }));
        }
    }

    /// Late validators come back, and what burnt is read out of its memory.
    pub(super) fn bring_in(&mut self, now: u32, which: fn(&Fate) -> bool) -> anyhow::Result<()> {
        let mut group = Vec::new();
        for (at, device) in self.fleet.iter_mut().enumerate() {
            if which(&device.fate) {
                for log in &mut device.lives {
                    log.seal();
                    group.extend(log.waiting.iter().cloned().map(|sent| (at, sent, false)));
                }
            }
        }
        for some in group.chunks(GROUP) {
            self.book(now, some)?;
        }
        Ok(())
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.injected.entry(what).or_default() += 1;
    }
}

impl Device {
    fn log_key(&self) -> fleet_sync::VerifyingKey {
        super::fleet::signing(self.id).verifying_key()
    }

    /// Whether something is left that should have arrived by itself.
    fn owes(&self) -> bool {
        let by_itself = match self.fate {
            Fate::Sound | Fate::Garage | Fate::Reimaged(_) | Fate::Restored(_) => true,
            Fate::Late | Fate::Destroyed(_) => false,
        };
        by_itself && self.lives.last().is_some_and(|log| !log.waiting.is_empty())
    }
}
