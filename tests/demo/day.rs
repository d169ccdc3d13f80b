//! The day: riders go their ways, buses their rounds, and every tap is answered by a validator.
//!
//! One task and one queue of things to come, in city time. What a rider does next hangs only on
//! the answer to the tap before.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use model::{Refusal, TapRole, Timestamp};
use reader::Cut;
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use validation::{Passage, Verdict};
use validator::clock::Clock;

use super::{
    audit::{Audit, Ride},
    lines::Lines,
    post::{Done, Job, Tap},
    riders::{Leg, Rider},
};
use crate::sim::dice::Dice;

/// Per mille of tap-outs that are forgotten.
const FORGOTTEN: u32 = 20;
/// Per mille of tap-ins that are repeated by mistake.
const REPEATED: u32 = 10;
/// Per mille of taps from which the card is pulled away, when things go wrong.
const TORN: u32 = 30;
/// The commit is the last of a tap's exchanges; two of the nine are for counters.
const EXCHANGES: u64 = 9;
/// A rider whose tap nobody answers tries again so often.
const TRIES: u8 = 3;
const DAY_S: u64 = 86_400;
/// When a service day begins, and its ways are planned.
const DAWN_S: u64 = 3 * 3_600;

/// A part of a rider's way.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    rider: usize,
    homeward: bool,
    leg: usize,
    tries: u8,
}

/// Why a card is tapped.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    /// Pays a boarding or opens a journey.
    Begin(Step),
    /// Ends a journey.
    End(Step),
    /// By mistake, again.
    Again(Step),
    /// A card that the demo taps itself, to show something.
    Shown,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Way(Step),
    Exit(Step),
    Bus(usize),
    Dawn,
}

/// What happened so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Presentations answered.
    pub taps: u64,
    /// Granted.
    pub granted: u64,
    /// Refused.
    pub refused: u64,
    /// Not answered.
    pub unanswered: u64,
    /// Refused for want of value.
    pub low_value: u64,
    /// Sum of all charges shown, minor units.
    pub charged: i64,
}

/// What the day needs.
pub struct Day {
    clock: Clock,
    speed: u32,
    /// Midnight before the day began.
    midnight: Timestamp,
    lines: Lines,
    riders: Vec<Rider>,
    posts: Vec<mpsc::UnboundedSender<Job<Purpose>>>,
    faults: bool,
    dice: Dice,
    queue: BinaryHeap<Reverse<(Timestamp, u64)>>,
    events: BTreeMap<u64, Event>,
    number: u64,
    cursors: Vec<(usize, Timestamp)>,
    waiting: BTreeMap<(usize, usize), Vec<Step>>,
    tally: Tally,
    tell: watch::Sender<Tally>,
    /// The fare check.
    pub audit: Audit,
}

/// Everything a day begins with.
pub struct Cast {
    /// The city's time.
    pub clock: Clock,
    /// City seconds in one second.
    pub speed: u32,
    /// Midnight before the day began.
    pub midnight: Timestamp,
    /// The network.
    pub lines: Lines,
    /// Who rides.
    pub riders: Vec<Rider>,
    /// The validators, by post.
    pub posts: Vec<mpsc::UnboundedSender<Job<Purpose>>>,
    /// Whether cards are pulled away.
    pub faults: bool,
    /// The riders' dice.
    pub dice: Dice,
    /// The fare check.
    pub audit: Audit,
}

impl Day {
    /// Plans the first day. The receiver follows what happens.
    pub fn new(cast: Cast) -> (Self, watch::Receiver<Tally>) {
        let Cast { clock, speed, midnight, lines, riders, posts, faults, dice, audit } = cast;
        let (tell, told) = watch::channel(Tally::default());
        let now = clock.now();
        let mut this = Self {
            cursors: vec![(0, now); lines.buses.len()],
            clock,
            speed,
            midnight,
            lines,
            riders,
            posts,
            faults,
            dice,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            number: 0,
            waiting: BTreeMap::new(),
            tally: Tally::default(),
            tell,
            audit,
        };
        for bus in 0..this.lines.buses.len() {
            this.depart(bus, now);
        }
        this.plan(now);
        (this, told)
    }

    /// Lives until told to stop; then nobody taps any more.
    pub async fn live(
        mut self,
        mut answers: mpsc::UnboundedReceiver<Done<Purpose>>,
        mut stop: watch::Receiver<bool>,
    ) -> Audit {
        loop {
            let now = self.clock.now();
            while let Some(event) = self.due(now) {
                self.handle(now, event);
            }
            let next = self.queue.peek().map_or(now, |Reverse((at, _))| *at);
            let wait = next.since(now) / self.speed + Duration::from_millis(1);
            tokio::select! {
                answer = answers.recv() => match answer {
                    Some(done) => self.answered(&done),
                    None => break,
                },
                () = sleep(wait) => {}
                _ = stop.wait_for(|stop| *stop) => break,
            }
        }
        // The posts end when nobody can ask them any more; their last answers are heard.
        self.posts.clear();
        while let Some(done) = answers.recv().await {
            self.answered(&done);
        }
        self.audit
    }

    fn due(&mut self, now: Timestamp) -> Option<Event> {
        let Reverse((at, number)) = *self.queue.peek()?;
        if at > now {
            return None;
        }
        self.queue.pop();
        self.events.remove(&number)
    }

    fn at(&mut self, at: Timestamp, event: Event) {
        self.number += 1;
        self.events.insert(self.number, event);
        self.queue.push(Reverse((at, self.number)));
    }

    fn after(&mut self, seconds: u64, event: Event) {
        let at = self.clock.now().plus(Duration::from_secs(seconds));
        self.at(at, event);
    }

    /// Everybody's ways of one service day.
    fn plan(&mut self, now: Timestamp) {
        let now_s = now.secs().saturating_sub(self.midnight.secs());
        let today_s = now_s / DAY_S * DAY_S;
        for rider in 0..self.riders.len() {
            let ways = self.riders[rider].day(now_s % DAY_S, &mut self.dice);
            for (homeward, begins_s) in ways {
                let begins = Timestamp::from_secs(self.midnight.secs() + today_s + begins_s);
                let jitter = Duration::from_millis(self.dice.below(60_000));
                let step = Step { rider, homeward, leg: 0, tries: 0 };
                self.at(begins.plus(jitter), Event::Way(step));
            }
        }
        let dawn_s = (now_s + DAY_S - DAWN_S) / DAY_S * DAY_S + DAWN_S;
        self.at(Timestamp::from_secs(self.midnight.secs() + dawn_s), Event::Dawn);
    }

    fn handle(&mut self, now: Timestamp, event: Event) {
        match event {
            Event::Way(step) => self.begin(step),
            Event::Exit(step) => {
                if let Some(Leg::Rail { to, .. }) = self.leg(step) {
                    let post = self.lines.gates[&to][1];
                    self.tap(step.rider, post, Purpose::End(step));
                }
            }
            Event::Bus(bus) => self.call(bus),
            Event::Dawn => self.plan(now),
        }
    }

    fn leg(&self, step: Step) -> Option<Leg> {
        let rider = &self.riders[step.rider];
        let legs = if step.homeward { &rider.back } else { &rider.out };
        legs.get(step.leg).copied()
    }

    fn begin(&mut self, step: Step) {
        match self.leg(step) {
            Some(Leg::Rail { from, .. }) => {
                let post = self.lines.gates[&from][0];
                self.tap(step.rider, post, Purpose::Begin(step));
            }
            Some(Leg::Bus { line, from, .. }) => {
                self.waiting.entry((line, from)).or_default().push(step);
            }
            None => {}
        }
    }

    fn tap(&mut self, rider: usize, post: usize, purpose: Purpose) {
        let torn = self.faults && self.dice.chance(TORN);
        let cut = torn.then(|| Cut {
            after: u32::try_from(self.dice.below(EXCHANGES)).unwrap_or(0),
            heard: self.dice.chance(500),
        });
        let card = self.riders[rider].card.clone();
        self.ask(post, Job::Tap(Tap { post, card, cut, purpose }));
    }

    /// At the end of the day the posts are gone, and nobody is asked any more.
    fn ask(&self, post: usize, job: Job<Purpose>) {
        if let Some(post) = self.posts.get(post) {
            // A post that has ended answers nobody.
            let _ = post.send(job);
        }
    }

    /// Sets a bus on its round.
    fn depart(&mut self, bus: usize, now: Timestamp) {
        let round = &self.lines.buses[bus];
        let ahead = round.calls.iter().position(|call| call.at_s >= round.phase_s);
        let behind = Duration::from_secs(u64::from(round.phase_s));
        let began = Timestamp(now.0.saturating_sub(u64::try_from(behind.as_millis()).unwrap_or(0)));
        self.cursors[bus] = match ahead {
            Some(call) => (call, began),
            None => (0, began.plus(Duration::from_secs(u64::from(round.round_s)))),
        };
        self.expect_bus(bus);
    }

    fn expect_bus(&mut self, bus: usize) {
        let (call, began) = self.cursors[bus];
        let at_s = self.lines.buses[bus].calls[call].at_s;
        self.at(began.plus(Duration::from_secs(u64::from(at_s))), Event::Bus(bus));
    }

    /// A bus is at a stop: whoever waits there boards.
    fn call(&mut self, bus: usize) {
        let (cursor, began) = self.cursors[bus];
        let round = &self.lines.buses[bus];
        let (call, post) = (round.calls[cursor], round.post);
        let place = self.lines.lines[call.line].places[call.stop];
        self.ask(post, Job::Move(place));
        for step in self.waiting.remove(&(call.line, call.stop)).unwrap_or_default() {
            self.tap(step.rider, post, Purpose::Begin(step));
        }
        let round = &self.lines.buses[bus];
        self.cursors[bus] = if cursor + 1 < round.calls.len() {
            (cursor + 1, began)
        } else {
            (0, began.plus(Duration::from_secs(u64::from(round.round_s))))
        };
        self.expect_bus(bus);
    }

    fn answered(&mut self, done: &Done<Purpose>) {
        let passage = done.passage.as_ref();
        self.count(passage);
        let purpose = done.tap.purpose;
        let (Purpose::Begin(step) | Purpose::End(step) | Purpose::Again(step)) = purpose else {
            return;
        };
        let ride = self.ride(step, done);
        self.audit.judge(ride, passage);
        let granted = match passage.map(|passage| passage.verdict) {
            Some(Verdict::Granted) => true,
            Some(Verdict::Refused(_)) => false,
            Some(Verdict::TryAgain(_) | Verdict::OutOfService) | None => {
                return self.try_later(step, purpose);
            }
        };
        match purpose {
            Purpose::Begin(_) if granted => self.on_the_way(step),
            Purpose::End(_) if granted => self.next_leg(step, 60),
            // Refused: goes home on foot. A mistake, or a card of ours: nothing follows.
            Purpose::Begin(_) | Purpose::End(_) | Purpose::Again(_) | Purpose::Shown => {}
        }
    }

    fn count(&mut self, passage: Option<&Passage>) {
        let tally = &mut self.tally;
        tally.taps += 1;
        match passage.map(|passage| passage.verdict) {
            Some(Verdict::Granted) => tally.granted += 1,
            Some(Verdict::Refused(reason)) => {
                tally.refused += 1;
                tally.low_value += u64::from(reason == Refusal::InsufficientValue);
            }
            Some(Verdict::TryAgain(_) | Verdict::OutOfService) | None => tally.unanswered += 1,
        }
        tally.charged += passage.map_or(0, |passage| passage.charge.minor());
        self.tell.send_replace(*tally);
    }

    fn ride(&self, step: Step, done: &Done<Purpose>) -> Ride {
        let (purpose, stands) = (done.tap.purpose, self.lines.posts[done.tap.post]);
        let place = match self.leg(step) {
            Some(Leg::Rail { from, .. }) if !matches!(purpose, Purpose::End(_)) => from,
            Some(Leg::Rail { to, .. }) => to,
            Some(Leg::Bus { line, from, .. }) => self.lines.lines[line].places[from],
            None => stands.place,
        };
        Ride { rider: step.rider, role: stands.role, place, route: stands.route, at: done.at }
    }

    fn try_later(&mut self, step: Step, purpose: Purpose) {
        if step.tries >= TRIES {
            return;
        }
        let again = Step { tries: step.tries + 1, ..step };
        match purpose {
            Purpose::Begin(_) => self.after(60, Event::Way(again)),
            Purpose::End(_) => self.after(60, Event::Exit(again)),
            Purpose::Again(_) | Purpose::Shown => {}
        }
    }

    fn on_the_way(&mut self, step: Step) {
        let step = Step { tries: 0, ..step };
        match self.leg(step) {
            Some(Leg::Rail { from, to }) => {
                let takes = u64::from(self.lines.rides_s[&(from, to)]) + self.dice.between(60, 240);
                if self.dice.chance(REPEATED) {
                    let post = self.lines.gates[&from][0];
                    self.tap(step.rider, post, Purpose::Again(step));
                }
                if self.dice.chance(FORGOTTEN) {
                    self.next_leg(step, takes);
                } else {
                    self.after(takes, Event::Exit(step));
                }
            }
            Some(Leg::Bus { line, from, to }) => {
                let offsets = &self.lines.lines[line].offsets_s;
                let takes = u64::from(offsets[to].saturating_sub(offsets[from]));
                self.next_leg(step, takes);
            }
            None => {}
        }
    }

    fn next_leg(&mut self, step: Step, after_s: u64) {
        let next = Step { leg: step.leg + 1, tries: 0, ..step };
        if self.leg(next).is_some() {
            let walk = self.dice.between(60, 180);
            self.after(after_s + walk, Event::Way(next));
        }
    }
}

/// Where a role stands; for texts.
pub const fn doing(role: TapRole) -> &'static str {
    match role {
        TapRole::Board => "boarded",
        TapRole::Entry => "tapped in",
        TapRole::Exit => "tapped out",
    }
}
