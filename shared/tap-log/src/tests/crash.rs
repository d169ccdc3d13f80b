//! Power cuts after every write, lost stores and guards: numbers are never used twice, and no tap
//! that a card may have committed is forgotten.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone, Copy)]
enum Step {
    Tap,
    Refuse,
    InDoubt,
    Decide,
    /// Power fails before this many of the next durable writes are done.
    Cut(u8),
    Ack(u8),
    Prune,
    /// Someone copies the store.
    Copy,
    /// While off: the store is lost, or the guard, or both, or both are lost and the store is put
    /// back from the copy.
    LoseStore,
    LoseGuard,
    LoseBoth,
    RollBackStore,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        20 => Just(Step::Tap),
        6 => Just(Step::Refuse),
        3 => Just(Step::InDoubt),
        3 => Just(Step::Decide),
        6 => (0..4_u8).prop_map(Step::Cut),
        3 => any::<u8>().prop_map(Step::Ack),
        3 => Just(Step::Prune),
        1 => Just(Step::Copy),
        1 => Just(Step::LoseStore),
        1 => Just(Step::LoseGuard),
        1 => Just(Step::LoseBoth),
        1 => Just(Step::RollBackStore),
    ]
}

struct World {
    disk: Disk,
    log: TapLog,
    now_s: u32,
    /// Durable writes until the power fails.
    power: Option<u8>,
    copy: Disk,
    /// Every entry that was durable before someone saw it, by its number.
    seen: BTreeMap<(Epoch, TapSeq), Vec<u8>>,
    /// Entries that the depot must still get: neither acked nor destroyed with the store.
    owed: BTreeMap<(Epoch, TapSeq), Vec<u8>>,
    /// Card commits that were ordered after a durable intent, and have no durable entry yet.
    open: Option<CardTransaction>,
}

impl World {
    fn new() -> Self {
        let mut disk = Disk::new();
        let (log, _) = disk.recover(1000);
        let copy = disk.clone();
        let (seen, owed) = (BTreeMap::new(), BTreeMap::new());
        Self { disk, log, now_s: 0, power: None, copy, seen, owed, open: None }
    }

    /// One durable, atomic write. `false` when the power failed before it.
    fn write(&mut self, write: impl FnOnce(&mut Disk)) -> bool {
        match self.power.as_mut() {
            Some(0) => return false,
            Some(left) => *left -= 1,
            None => {}
        }
        write(&mut self.disk);
        true
    }

    fn lease(&mut self) -> bool {
        let Some(guard) = self.log.lease_due() else { return true };
        let written = self.write(|disk| disk.write_guard(&guard));
        if written {
            self.log.handle_leased(guard);
        }
        written
    }

    /// The entry is durable, so someone may have seen it: it must be the only one of its number.
    fn show(&mut self, seq: TapSeq) {
        let epoch = self.log.epoch();
        let row = self.disk.entries(epoch, seq).swap_remove(0);
        let bytes = StoredEntry::read(&row).unwrap().bytes.to_vec();
        let other = self.seen.insert((epoch, seq), bytes.clone());
        assert_eq!(other, None, "number {seq} of epoch {epoch} was used before");
        self.owed.insert((epoch, seq), bytes);
    }

    fn tap(&mut self, in_doubt: bool) -> bool {
        let transaction = transaction(self.now_s);
        let (seq, ops) = self.log.intent(draft(self.now_s), transaction).unwrap();
        if !self.write(|disk| disk.apply(&ops)) {
            return false;
        }
        // From here on the card may have committed.
        self.open = Some(transaction);
        let event =
            if in_doubt { TapEvent::InDoubt { transaction } } else { committed(self.now_s) };
        let ops = self.log.outcome(seq, 180, event).unwrap();
        let written = self.write(|disk| disk.apply(&ops));
        if written {
            self.open = None;
            self.show(seq);
        }
        written
    }

    fn record(&mut self, event: TapEvent) -> bool {
        let (seq, ops) = self.log.record(draft(self.now_s), 90, event).unwrap();
        let written = self.write(|disk| disk.apply(&ops));
        if written {
            self.show(seq);
        }
        written
    }

    /// The depot gets the oldest life in batches and acks it, as far as `share` of 256.
    fn ack(&mut self, share: u8) -> bool {
        let life = self.log.lives().next().unwrap();
        let most = life.head.0 - life.acked.0;
        let through = TapSeq(life.acked.0 + most * u64::from(share) / 256);
        let (validator, epoch) = (validator(), life.epoch);
        let mut at = life.acked;
        while at < through {
            let rows = self.disk.entries(epoch, at.next());
            let limit = u16::try_from(through.0 - at.0).unwrap().min(7);
            let batch = self.log.batch(epoch, limit, rows).unwrap();
            assert_eq!((batch.head.validator, batch.head.first), (validator, at.next()));
            for entry in &batch.entries {
                at = at.next();
                let owed = self.owed.remove(&(epoch, at));
                assert!(owed.is_none_or(|owed| owed == *entry), "entry {at} changed");
            }
        }
        let ops = self.log.handle_acked(epoch, through, Timestamp(0)).unwrap();
        self.write(|disk| disk.apply(&ops))
    }

    fn prune(&mut self) -> bool {
        let life = self.log.lives().next().unwrap();
        let rows = self.disk.entries(life.epoch, life.pruned_through.next());
        let keep_since = Timestamp::from_secs(u64::from(self.now_s.saturating_sub(5)));
        let ops = self.log.prune(life.epoch, keep_since, rows).unwrap();
        self.write(|disk| disk.apply(&ops))
    }

    fn restart(&mut self) {
        self.power = None;
        // The shell offers the seconds of its clock, which has moved on since any earlier start.
        let (log, report) = self.disk.recover(1000 + self.now_s);
        self.log = log;
        for seq in report.became_in_doubt {
            self.show(seq);
        }
        if let Some(transaction) = self.open.take() {
            let listed = self.log.in_doubt().iter().any(|tap| tap.transaction == transaction);
            assert!(listed, "a tap that the card may have committed was forgotten");
        }
    }

    fn step(&mut self, step: Step) {
        self.now_s += 1;
        let powered = match step {
            Step::Tap => self.lease() && self.tap(false),
            Step::InDoubt => self.lease() && self.tap(true),
            Step::Refuse => self.lease() && self.record(refused()),
            Step::Decide => {
                let tap = self.log.in_doubt().first().copied();
                tap.is_none_or(|tap| {
                    let seen = tap.transaction.before;
                    self.lease() && self.record(TapEvent::Voided { of: tap.seq, seen })
                })
            }
            Step::Cut(after) => {
                self.power = Some(after);
                true
            }
            Step::Ack(share) => self.ack(share),
            Step::Prune => self.prune(),
            Step::Copy => {
                self.copy = self.disk.clone();
                true
            }
            Step::LoseStore => {
                self.disk.rows.clear();
                self.owed.clear();
                false
            }
            Step::LoseBoth => {
                self.disk = Disk::new();
                self.owed.clear();
                false
            }
            Step::RollBackStore => {
                // Only with its guard can an old copy go unnoticed within one lease; then the
                // depot's ack tells. Here the guard is lost with it.
                self.disk.rows.clone_from(&self.copy.rows);
                self.disk.guard.fill(0);
                let rows = &self.disk.rows;
                self.owed.retain(|(epoch, seq), _| {
                    rows.contains_key(&(Tree::Entries, entry_key(*epoch, *seq)))
                });
                false
            }
            Step::LoseGuard => {
                self.disk.guard.fill(0);
                false
            }
        };
        if !powered {
            self.restart();
        }
        self.check();
    }

    fn check(&self) {
        for ((epoch, seq), bytes) in &self.owed {
            let row = self.disk.entries(*epoch, *seq).swap_remove(0);
            assert_eq!(StoredEntry::read(&row).unwrap().bytes, bytes);
            assert!(self.log.lives().any(|life| {
                life.epoch == *epoch && life.pruned_through < *seq && *seq <= life.head
            }));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn numbers_are_used_once_and_no_tap_is_forgotten(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut world = World::new();
        for step in steps {
            world.step(step);
        }
    }
}
