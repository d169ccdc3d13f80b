//! Both ends over a network that loses, repeats, delays and reorders, while both crash.
//!
//! After every step: the books are a prefix of what was appended, each entry once and verbatim;
//! no mark of the validator passes the books' durable mark. After healing: nothing is left.

use alloc::{collections::VecDeque, vec, vec::Vec};
use core::time::Duration;

use proptest::prelude::*;
use wire::Ack;

use super::*;
use crate::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    Tap,
    /// The message at this place of the queue arrives; up first, then down.
    Deliver(usize),
    Lose(usize),
    Repeat(usize),
    Commit,
    DepotCrash,
    ValidatorCrash,
    Link(Link),
    Tick(u8),
    Prune(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Tap),
        12 => (0..6_usize).prop_map(Step::Deliver),
        2 => (0..6_usize).prop_map(Step::Lose),
        2 => (0..6_usize).prop_map(Step::Repeat),
        6 => Just(Step::Commit),
        1 => Just(Step::DepotCrash),
        1 => Just(Step::ValidatorCrash),
        1 => any::<bool>().prop_map(|session_present| Step::Link(Link::Up { session_present })),
        1 => Just(Step::Link(Link::Down)),
        4 => any::<u8>().prop_map(Step::Tick),
        2 => any::<u8>().prop_map(Step::Prune),
    ]
}

#[derive(Clone)]
enum Message {
    Up(Vec<u8>),
    Down(Ack),
}

struct World {
    now: Timestamp,
    log: ModelLog,
    /// What the validator's log holds durably of the depot's word, and what it removed.
    lane: Lane,
    uplink: Uplink,
    network: VecDeque<Message>,
    intake: Intake,
    staged: Vec<NewEntry>,
    /// The books: durable.
    books: Vec<NewEntry>,
    mark: Option<EpochMark>,
}

impl World {
    fn new() -> Self {
        let zero = TapSeq(0);
        let (epoch, acked_at) = (Epoch(7), Timestamp(0));
        let lane = Lane { epoch, pruned_through: zero, acked: zero, acked_at, head: zero };
        Self {
            now: Timestamp(0),
            log: ModelLog::new(7),
            lane,
            uplink: Uplink::resume(Self::config(), [lane]),
            network: VecDeque::new(),
            intake: Intake::resume(validator(), []),
            staged: vec![],
            books: vec![],
            mark: None,
        }
    }

    fn config() -> UplinkConfig {
        UplinkConfig { batch_first: 2, batch_max: 5, ..UplinkConfig::default() }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Tap => {
                self.lane.head = self.log.append(0);
                self.uplink.handle_appended(Epoch(7), self.lane.head);
            }
            Step::Deliver(at) => {
                let at = at % self.network.len().max(1);
                if let Some(message) = self.network.remove(at) {
                    self.deliver(&message);
                }
            }
            Step::Lose(at) => drop(self.network.remove(at)),
            Step::Repeat(at) => {
                if let Some(message) = self.network.get(at).cloned() {
                    self.network.push_back(message);
                }
            }
            Step::Commit => self.commit(),
            Step::DepotCrash => {
                self.staged.clear();
                self.intake = Intake::resume(validator(), self.mark);
            }
            Step::ValidatorCrash => self.uplink = Uplink::resume(Self::config(), [self.lane]),
            Step::Link(link) => self.uplink.handle_link(self.now, link),
            Step::Tick(s) => {
                self.now = self.now.plus(Duration::from_secs(u64::from(s)));
                if self.uplink.wake_at().is_some_and(|at| at <= self.now) {
                    self.uplink.handle_timeout(self.now, Duration::from_millis(u64::from(s)));
                }
            }
            Step::Prune(keep) => {
                let through = TapSeq(self.lane.acked.0.saturating_sub(u64::from(keep % 8)));
                self.lane.pruned_through = self.lane.pruned_through.max(through);
                self.uplink.handle_pruned(Epoch(7), through);
            }
        }
        self.drain();
        self.check();
    }

    fn drain(&mut self) {
        while let Some(output) = self.uplink.poll() {
            match output {
                Output::SendBatch { epoch, from, limit } => {
                    assert!(from > self.lane.pruned_through, "{from} is pruned");
                    let batch = self.log.batch(from.0, limit);
                    self.network.push_back(Message::Up(batch.encode()));
                    self.uplink.handle_sent(self.now, epoch, batch.last());
                }
                Output::Acked { through, depot_time, .. } => {
                    (self.lane.acked, self.lane.acked_at) = (through, depot_time);
                }
            }
        }
    }

    fn deliver(&mut self, message: &Message) {
        match message {
            Message::Up(body) => {
                let batch = Batch::decode(body).unwrap();
                let mut verdict = self.intake.handle_batch(&batch, None);
                if let Verdict::NeedsStoredHash { seq, .. } = verdict {
                    let at = usize::try_from(seq.0 - 1).unwrap();
                    let stored = self.books.iter().chain(&self.staged).nth(at).unwrap().hash;
                    verdict = self.intake.handle_batch(&batch, Some(stored));
                }
                match verdict {
                    Verdict::Accepted(accepted) => {
                        assert_eq!(accepted.registers, RegistersCheck::Agree);
                        self.staged.extend(accepted.entries);
                    }
                    Verdict::Known { .. } | Verdict::Gap { .. } => self.ack(),
                    Verdict::NeedsStoredHash { .. } | Verdict::Incident(_) => {
                        panic!("an honest validator got {verdict:?}")
                    }
                }
            }
            Message::Down(ack) => self.uplink.handle_ack(self.now, ack).unwrap(),
        }
    }

    fn commit(&mut self) {
        self.intake.handle_committed();
        self.books.append(&mut self.staged);
        self.mark = self.intake.committed(Epoch(7));
        self.ack();
    }

    fn ack(&mut self) {
        let ack = self.intake.ack(Epoch(7), self.now);
        self.network.push_back(Message::Down(ack));
    }

    fn check(&self) {
        for (i, entry) in self.books.iter().enumerate() {
            assert_eq!(entry.seq, TapSeq(i as u64 + 1));
            assert_eq!(entry.bytes, self.log.entries[i].0);
        }
        let durable = TapSeq(self.books.len() as u64);
        assert_eq!(self.mark.map_or(TapSeq(0), |mark| mark.through), durable);
        assert!(self.lane.acked <= durable);
        assert!(self.lane.pruned_through <= self.lane.acked);
    }

    /// A perfect network from here on.
    fn heal(&mut self) {
        self.uplink.handle_link(self.now, Link::Up { session_present: false });
        self.drain();
        for _ in 0..1000 {
            if self.uplink.backlog() == 0 {
                return;
            }
            while !self.network.is_empty() {
                self.step(Step::Deliver(0));
                self.step(Step::Commit);
                if self.uplink.backlog() == 0 {
                    return;
                }
            }
            self.step(Step::Tick(60));
        }
        panic!("{} entries are still not acked", self.uplink.backlog());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_entry_reaches_the_books_exactly_once(
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
        world.heal();
        prop_assert_eq!(world.books.len(), world.log.entries.len());
    }
}

#[test]
fn a_depot_that_acks_before_its_commit_is_caught() {
    // The checks above must be able to fail: this depot acks what it only staged.
    let mut world = World::new();
    world.step(Step::Link(Link::Up { session_present: false }));
    world.step(Step::Tap);
    world.step(Step::Deliver(0));
    world.intake.handle_committed();
    world.ack();
    let Some(Message::Down(ack)) = world.network.pop_back() else { panic!("no ack") };
    world.uplink.handle_ack(world.now, &ack).unwrap();
    world.drain();
    assert!(world.lane.acked > TapSeq(world.books.len() as u64));
}
