//! A disk in memory, sample taps, and a validator that uses the log as a shell must.

mod auditing;
mod carving;
mod crash;
mod recovery;
mod rules;

use alloc::{collections::BTreeMap, vec::Vec};
use core::ops::Bound;

use model::{
    CardId, CardProof, CardRecord, CardTransaction, ClockQuality, Ctr, Epoch, LoadSeq, PlaceIx,
    RecordKind, Refusal, RiderClass, Served, TapDraft, TapEvent, TapRole, TapSeq, TariffVersion,
    TicketToken, Timestamp, ValidUntil, ValidatorId,
};

use crate::*;

fn validator() -> ValidatorId {
    ValidatorId::new(42).unwrap()
}

fn card_record(ctr: u32, at_s: u32) -> CardRecord {
    CardRecord {
        kind: RecordKind::Board,
        ctr: Ctr(ctr),
        balance: 2075,
        amount: 275,
        at_s,
        validator: validator(),
        place: PlaceIx(3),
        load_seq: LoadSeq(2),
        tariff: TariffVersion(9),
        valid_until: ValidUntil::Always,
        class: RiderClass(0),
        run: None,
        products: None,
        layout: model::CardLayout::Plain,
    }
}

fn transaction(at_s: u32) -> CardTransaction {
    CardTransaction {
        before: card_record(6, 0),
        after: card_record(7, at_s),
        products: None,
        loaded: None,
        counters: None,
        companions: model::Companions::NONE,
        purse: None,
    }
}

/// The tap at second `at_s`; distinct seconds make distinct taps.
fn draft(at_s: u32) -> TapDraft {
    TapDraft {
        card: Some(CardId([4, 1, 2, 3, 4, 5, 6])),
        tapped_at: Timestamp::from_secs(u64::from(at_s)),
        clock: ClockQuality::Ntp,
        role: TapRole::Board,
        place: PlaceIx(3),
        route: None,
        tariff: TariffVersion(9),
        order: None,
        place_age_s: None,
        hotlist_version: None,
    }
}

fn committed(at_s: u32) -> TapEvent {
    TapEvent::Committed { transaction: transaction(at_s), proof: CardProof([7; 8]) }
}

fn refused() -> TapEvent {
    TapEvent::Refused { reason: Refusal::InsufficientValue, seen: None }
}

/// What is durable: the store's rows and the guard file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Disk {
    rows: BTreeMap<(Tree, Vec<u8>), Vec<u8>>,
    guard: Vec<u8>,
}

impl Disk {
    fn new() -> Self {
        Self { rows: BTreeMap::new(), guard: alloc::vec![0; GUARD_FILE_LEN] }
    }

    fn apply(&mut self, ops: &[StoreOp]) {
        for op in ops {
            match op.clone() {
                StoreOp::Put { tree, key, value } => drop(self.rows.insert((tree, key), value)),
                StoreOp::Remove { tree, key } => drop(self.rows.remove(&(tree, key))),
            }
        }
    }

    fn write_guard(&mut self, state: &GuardState) {
        let (at, bytes) = state.slot();
        let at = usize::try_from(at).unwrap();
        self.guard[at..at + bytes.len()].copy_from_slice(&bytes);
    }

    fn tree(&self, tree: Tree) -> Vec<Row> {
        let rows = self.rows.iter().filter(|((t, _), _)| *t == tree);
        rows.map(|((_, key), value)| Row { key: key.clone(), value: value.clone() }).collect()
    }

    fn scan(&self) -> Scan<Vec<Row>> {
        let [meta, intents, entries] =
            [Tree::Meta, Tree::Intents, Tree::Entries].map(|tree| self.tree(tree));
        Scan { meta, intents, entries }
    }

    fn entries(&self, epoch: Epoch, from: TapSeq) -> Vec<Row> {
        let (start, end) = entry_range(epoch, from);
        let range =
            (Bound::Included((Tree::Entries, start)), Bound::Excluded((Tree::Entries, end)));
        let rows = self.rows.range(range);
        rows.map(|((_, key), value)| Row { key: key.clone(), value: value.clone() }).collect()
    }

    /// Recovery as a shell must do it: the guard first, then the ops.
    fn recover(&mut self, fresh: u32) -> (TapLog, RecoveryReport) {
        let guard = GuardState::read(&self.guard);
        let (log, report) = TapLog::recover(validator(), guard, Epoch(fresh), self.scan()).unwrap();
        self.write_guard(&report.guard);
        self.apply(&report.ops);
        (log, report)
    }

    /// A committed tap, each step durable.
    fn tap(&mut self, log: &mut TapLog, at_s: u32) -> TapSeq {
        if let Some(guard) = log.lease_due() {
            self.write_guard(&guard);
            log.handle_leased(guard);
        }
        let (seq, ops) = log.intent(draft(at_s), transaction(at_s)).unwrap();
        self.apply(&ops);
        self.apply(&log.outcome(seq, 180, committed(at_s)).unwrap());
        seq
    }

    fn with_taps(count: u32) -> (Self, TapLog) {
        let mut disk = Self::new();
        let (mut log, _) = disk.recover(1000);
        for at_s in 0..count {
            disk.tap(&mut log, at_s);
        }
        (disk, log)
    }
}
