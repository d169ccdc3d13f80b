//! One run: virtual time, one queue of events, riders who want to get somewhere.

mod blocked;
mod cards;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use card::{Key, KeySet, VersionedKey, VirtualCard};
use clearing::Rules;
use fleet_sync::SigningKey;
use model::{CardRecord, Companions, RiderClass, TapRole, Timestamp};

use super::{
    blocking::Blocking,
    checkers::{self, Truth, Violation},
    city,
    depot::{Crash, SimDepot},
    dice::Dice,
    scenario::{Faults, Scenario},
    validator::{Reach, SimValidator, TapEnd, TapPlan, Tear, wants_another_try},
};

/// When every run begins: 2026-11-02T05:00:00Z.
const START: Timestamp = Timestamp::from_secs(1_793_595_600);
/// How often a rider holds the card again before giving up.
const TRIES_MAX: u32 = 12;
/// How long the healed fleet may take to deliver everything.
const HEAL_MAX: Duration = Duration::from_secs(6 * 3600);

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Report {
    /// Cards held to a reader.
    pub presentations: u64,
    /// Green lights.
    pub granted: u64,
    /// Presentations that were torn or went dark.
    pub disturbed: u64,
    /// Batches that reached the depot.
    pub batches: u64,
    /// Entries in the books at the end.
    pub booked: u64,
    /// Work items that were opened and resolved on the way.
    pub resolved: u64,
    /// Days and weeks of a card that reached their cap.
    pub capped: u64,
    /// Taps of several riders on one card.
    pub groups: u64,
    /// Presentations of blocked cards that were refused.
    pub blocked: u64,
    /// Green lights of cards that had been blocked and were served again.
    pub unblocked: u64,
}

impl Report {
    /// Sums two runs.
    pub fn add(&mut self, other: &Self) {
        self.presentations += other.presentations;
        self.granted += other.granted;
        self.disturbed += other.disturbed;
        self.batches += other.batches;
        self.booked += other.booked;
        self.resolved += other.resolved;
        self.capped += other.capped;
        self.groups += other.groups;
        self.blocked += other.blocked;
        self.unblocked += other.unblocked;
    }
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Ride { card: usize },
    TapOut { card: usize, ride: u32 },
    Boot { validator: usize },
    LinkUp { validator: usize },
    Wake { validator: usize },
    ToDepot { validator: usize, payload: Vec<u8> },
    ToValidator { validator: usize, payload: Vec<u8> },
    Hotlist { validator: usize, version: u64 },
}

struct SimCard {
    card: VirtualCard,
    key: VersionedKey,
    rides_left: u32,
    /// It was refused because it was blocked.
    was_blocked: bool,
}

struct World {
    now: Timestamp,
    dice: Dice,
    faults: Faults,
    queue: BinaryHeap<Reverse<(Timestamp, u64, Event)>>,
    events: u64,
    cards: Vec<SimCard>,
    validators: Vec<SimValidator>,
    retained_acks: BTreeMap<usize, Vec<u8>>,
    depot: SimDepot,
    blocking: Blocking,
    truth: Truth,
    report: Report,
}

/// One run of `scenario` on `seed`.
pub fn run(seed: u64, scenario: &Scenario) -> Result<Report, Box<Violation>> {
    let mut world = World::new(seed, *scenario);
    let outcome = world.live().and_then(|()| world.heal()).and_then(|()| world.judge());
    outcome.map_err(|what| {
        Box::new(Violation { seed, scenario: *scenario, at: world.now.since(START), what })
    })?;
    Ok(world.report)
}

impl World {
    fn new(seed: u64, scenario: Scenario) -> Self {
        let mut dice = Dice::new(seed);
        let keys = KeySet::from_root(&Key(dice.bytes16()));
        let depot_key = SigningKey::from_bytes(&dice.bytes32());
        let tariffs = city::tariffs();
        let validators: Vec<SimValidator> = (0..scenario.validators)
            .map(|index| {
                let signing = SigningKey::from_bytes(&dice.bytes32());
                let context = city::context(index, &tariffs);
                SimValidator::new(context, signing, depot_key.verifying_key(), scenario.bug)
            })
            .collect();
        let public = validators.iter().map(|v| (v.id, v.public_key())).collect();
        let rules = Rules::new(tariffs);
        let mut depot = SimDepot::new(depot_key, public, keys.clone(), rules, scenario.bug);
        let mut truth = Truth::default();
        let cards = (0..scenario.cards)
            .map(|index| {
                cards::issue(index, &mut dice, &keys, &mut depot, &mut truth, scenario.rides)
            })
            .collect();
        let mut world = Self {
            now: START,
            dice,
            faults: scenario.faults,
            queue: BinaryHeap::new(),
            events: 0,
            cards,
            validators,
            retained_acks: BTreeMap::new(),
            depot,
            blocking: Blocking::new(seed),
            truth,
            report: Report::default(),
        };
        for validator in &mut world.validators {
            validator.boot(START);
        }
        for card in 0..world.cards.len() {
            let after = world.dice.between(1, 4 * 3600);
            world.at(Duration::from_secs(after), Event::Ride { card });
        }
        world
    }

    fn at(&mut self, after: Duration, event: Event) {
        self.events += 1;
        self.queue.push(Reverse((self.now.plus(after), self.events, event)));
    }

    /// Until the last rider is home.
    fn live(&mut self) -> Result<(), String> {
        while self.cards.iter().any(|card| card.rides_left > 0) {
            self.step()?;
        }
        Ok(())
    }

    /// Nothing goes wrong any more: everything must arrive.
    fn heal(&mut self) -> Result<(), String> {
        self.faults = Faults::NONE;
        for validator in 0..self.validators.len() {
            if !self.validators[validator].is_on() {
                self.handle(Event::Boot { validator })?;
            }
            if !self.validators[validator].linked {
                self.handle(Event::LinkUp { validator })?;
            }
        }
        self.blocking.unblock_all(self.now);
        self.publish_hotlist();
        let deadline = self.now.plus(HEAL_MAX);
        let newest = self.blocking.newest().unwrap_or(0);
        let is_behind = |v: &SimValidator| v.backlog() > 0 || v.hotlist != newest;
        while self.validators.iter().any(is_behind) {
            if self.now > deadline {
                let stuck: Vec<String> = (self.validators.iter())
                    .filter(|v| is_behind(v))
                    .map(|v| format!("{} ({}, hotlist {})", v.id, v.backlog(), v.hotlist))
                    .collect();
                return Err(format!("not delivered six hours after healing: {}", stuck.join(", ")));
            }
            self.step()?;
        }
        Ok(())
    }

    fn judge(&mut self) -> Result<(), String> {
        self.report.booked = self.depot.books.taps.len() as u64;
        self.report.resolved = self.depot.books.resolved;
        self.report.capped = checkers::caps(&self.truth)?;
        self.report.groups = self.truth.groups();
        let newest = self.blocking.newest().unwrap_or(0);
        if let Some(behind) = self.validators.iter().find(|v| v.hotlist != newest) {
            return Err(format!("{} works by hotlist {}", behind.id, behind.hotlist));
        }
        checkers::books(&self.depot, &self.truth)
    }

    fn step(&mut self) -> Result<(), String> {
        let Some(Reverse((at, _, event))) = self.queue.pop() else {
            return Err("nothing is due, and entries are not delivered".into());
        };
        self.now = at;
        self.handle(event)
    }

    fn handle(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Ride { card } => self.ride(card),
            Event::TapOut { card, ride } => self.tap_out(card, ride),
            Event::Boot { validator } => {
                if !self.validators[validator].is_on() {
                    self.validators[validator].boot(self.now);
                    self.deliver_retained(validator)?;
                    self.ask_for_hotlist(validator);
                }
                self.pump(validator);
                Ok(())
            }
            Event::LinkUp { validator } => {
                let session = self.dice.chance(500);
                self.validators[validator].set_link(self.now, true, session);
                self.deliver_retained(validator)?;
                self.ask_for_hotlist(validator);
                self.pump(validator);
                Ok(())
            }
            Event::Wake { validator } => {
                let jitter = Duration::from_millis(self.dice.below(2000));
                self.validators[validator].handle_timeout(self.now, jitter);
                self.pump(validator);
                Ok(())
            }
            Event::ToDepot { validator, payload } => self.receive(validator, &payload),
            Event::Hotlist { validator, version } => self.take_hotlist(validator, version),
            Event::ToValidator { validator, payload } => {
                self.validators[validator].handle_ack(self.now, &payload)?;
                self.pump(validator);
                Ok(())
            }
        }
    }

    /// A rider sets out: on a bus, or through a gate and out of another.
    fn ride(&mut self, card: usize) -> Result<(), String> {
        self.perhaps_block();
        let ride = self.cards[card].rides_left;
        let role = if self.dice.chance(500) { TapRole::Board } else { TapRole::Entry };
        let granted = self.attempt(card, role)?;
        if role == TapRole::Entry && granted && !self.dice.chance(80) {
            let minutes = self.dice.between(3, 40);
            self.at(Duration::from_secs(60 * minutes), Event::TapOut { card, ride });
        } else {
            self.ride_over(card);
        }
        Ok(())
    }

    fn tap_out(&mut self, card: usize, ride: u32) -> Result<(), String> {
        if self.cards[card].rides_left == ride {
            self.attempt(card, TapRole::Exit)?;
            self.ride_over(card);
        }
        Ok(())
    }

    fn ride_over(&mut self, card: usize) {
        self.cards[card].rides_left -= 1;
        if self.cards[card].rides_left > 0 {
            // Who comes back to the same validator within its retry window, after a power loss,
            // is given the passage that nobody can say was seen (ADR-0003): not a ride of its own.
            let after = self.dice.between(121, 3 * 3600);
            self.at(Duration::from_secs(after), Event::Ride { card });
        }
    }

    /// Holds the card to one validator until it says yes or no. One wish for passage is charged
    /// once or not at all, and never granted for nothing.
    fn attempt(&mut self, card: usize, role: TapRole) -> Result<bool, String> {
        let fitting: Vec<usize> = (0..self.validators.len())
            .filter(|i| city::role(u32::try_from(*i).expect("few")) == role)
            .collect();
        let validator = fitting[self.dice.index(fitting.len())];
        if self.dice.chance(self.faults.outage) && self.validators[validator].linked {
            self.validators[validator].set_link(self.now, false, false);
            let after = self.dice.between(10, 3600);
            self.at(Duration::from_secs(after), Event::LinkUp { validator });
        }
        if role == TapRole::Board && self.report.presentations.is_multiple_of(5) {
            self.choose_companions(validator);
        }
        let committed_before = self.truth.count(self.cards[card].card.uid());
        let mut granted = false;
        for _ in 0..TRIES_MAX {
            let end = self.present(card, validator)?;
            granted = match &end {
                TapEnd::Shown(passage) => passage.is_granted(),
                TapEnd::Dark(shown) => shown.as_ref().is_some_and(|passage| passage.is_granted()),
            };
            if granted || !wants_another_try(&end) {
                break;
            }
            self.now = self.now.plus(Duration::from_secs(2));
        }
        let committed = self.truth.count(self.cards[card].card.uid()) - committed_before;
        match (granted, committed) {
            (true, 1) | (false, 0) => Ok(granted),
            (true, 0) => Err("a free ride: granted, and the card committed nothing".into()),
            (true, n) => Err(format!("a double charge: one passage, {n} commits on the card")),
            (false, n) => Err(format!("charged without passage: {n} commits on the card")),
        }
    }

    /// Somebody chooses who rides on the next card. Not by the dice: seeds go on as they were.
    fn choose_companions(&mut self, validator: usize) {
        let n = self.report.presentations / 5;
        let class = |n: u64| RiderClass(u8::try_from(n % 3).expect("below 3"));
        let riders = [(class(n), 1), (class(n / 3), u8::try_from(n % 2).expect("below 2"))];
        let riders = Companions::new(riders).expect("two at most");
        self.validators[validator].choose(self.now, riders);
    }

    fn present(&mut self, card: usize, validator: usize) -> Result<TapEnd, String> {
        if !self.validators[validator].is_on() {
            // The rider waits at the dark reader until it is back.
            self.now = self.now.plus(Duration::from_secs(15));
            self.handle(Event::Boot { validator })?;
        }
        let plan = TapPlan {
            tear: (self.dice.chance(self.faults.tear)).then(|| Tear {
                at: u32::try_from(self.dice.below(12)).expect("small"),
                reach: if self.dice.chance(500) { Reach::Unanswered } else { Reach::Unheard },
            }),
            power_cut: (self.dice.chance(self.faults.power_cut))
                .then(|| u32::try_from(self.dice.between(1, 14)).expect("small")),
            ..TapPlan::default()
        };
        let before = self.truth.count(self.cards[card].card.uid());
        let index = card;
        let SimCard { card, key, .. } = &mut self.cards[card];
        let on = &mut self.validators[validator];
        let end = on.tap(self.now, card, key, plan, &mut self.dice);
        self.report.presentations += 1;
        self.report.disturbed += u64::from(wants_another_try(&end));
        self.truth.look(card, key, &mut self.dice)?;
        if let TapEnd::Shown(passage) = &end {
            self.report.granted += u64::from(passage.is_granted());
        }
        if let TapEnd::Shown(passage) | TapEnd::Dark(Some(passage)) = &end
            && passage.is_granted()
        {
            self.truth.let_through(card.uid(), passage);
        }
        if let Some(seq) = on.unsafe_greens.first() {
            return Err(format!("green before its entry {seq} was durable"));
        }
        if !on.is_on() {
            self.at(Duration::from_secs(20), Event::Boot { validator });
        }
        self.judge_blocking(index, validator, &end, before)?;
        self.pump(validator);
        Ok(end)
    }

    /// Sends what the validator wants to send and remembers when it wants to be woken.
    fn pump(&mut self, validator: usize) {
        for payload in self.validators[validator].drain(self.now) {
            self.send(validator, |payload| Event::ToDepot { validator, payload }, &payload);
        }
        if let Some(at) = self.validators[validator].wake_at() {
            let after = at.since(self.now).max(Duration::from_millis(1));
            self.at(after, Event::Wake { validator });
        }
    }

    fn send(&mut self, validator: usize, event: impl Fn(Vec<u8>) -> Event, payload: &[u8]) {
        if !self.validators[validator].linked || self.dice.chance(self.faults.drop) {
            return;
        }
        let copies = if self.dice.chance(self.faults.duplicate) { 2 } else { 1 };
        for _ in 0..copies {
            let late = self.dice.chance(self.faults.delay);
            let ms =
                if late { self.dice.between(1000, 600_000) } else { self.dice.between(20, 200) };
            self.at(Duration::from_millis(ms), event(payload.to_vec()));
        }
    }

    fn receive(&mut self, validator: usize, payload: &[u8]) -> Result<(), String> {
        self.report.batches += 1;
        let crash = self
            .dice
            .chance(self.faults.depot_crash)
            .then(|| if self.dice.chance(500) { Crash::BeforeCommit } else { Crash::BeforeAck });
        let from = self.validators[validator].id;
        let ack = self.depot.handle_taps(self.now, from, payload, crash);
        if let Some(finding) = self.depot.findings.first() {
            return Err(finding.clone());
        }
        if let Some(ack) = ack {
            self.retained_acks.insert(validator, ack.clone());
            self.send(validator, |payload| Event::ToValidator { validator, payload }, &ack);
        }
        Ok(())
    }

    /// The broker hands out the retained ack at every subscription.
    fn deliver_retained(&mut self, validator: usize) -> Result<(), String> {
        match self.retained_acks.get(&validator).cloned() {
            Some(payload) => self.validators[validator].handle_ack(self.now, &payload),
            None => Ok(()),
        }
    }
}

/// The newest record of a card, as any reader finds it.
pub(crate) fn newest_record(
    card: &mut VirtualCard,
    key: &VersionedKey,
    dice: &mut Dice,
) -> CardRecord {
    use card::{CardOutput, DebitTransaction};
    let mut reader = DebitTransaction::new(card.uid(), key.clone(), dice.bytes16());
    loop {
        match reader.poll() {
            Some(CardOutput::Transmit(apdu)) => {
                let answer = card.handle_apdu(&apdu);
                reader.handle_response(Ok(&answer));
            }
            Some(CardOutput::Found(found)) => {
                card.power_off();
                return found.record;
            }
            other => unreachable!("an issued card reads: {other:?}"),
        }
    }
}
