//! Recovery: from what the store and the guard hold to an open log.
//!
//! Every kept entry is read and checked: checksum, chain, registers, contiguous numbers. The order
//! of work for the shell: write and sync `report.guard`, apply and sync `report.ops`, then serve.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use model::{Epoch, GateWord, TapEvent, TapRecord, TapSeq, TicketToken, ValidatorId};
use wire::WireError;

use crate::{
    AuditedLife, GuardState, Row, RowError, StoreOp, StoredEntry, TapLog, Tree,
    log::{InDoubtTap, LEASE, Life, NewLife, track_in_doubt},
    row::{Mark, MetaRow, put_acked, put_owner, read_intent, read_key, read_meta},
};

/// Everything the store holds, as it was found.
#[derive(Debug)]
pub struct Scan<E> {
    /// All rows of [`Tree::Meta`].
    pub meta: Vec<Row>,
    /// All rows of [`Tree::Intents`].
    pub intents: Vec<Row>,
    /// All rows of [`Tree::Entries`], in key order.
    pub entries: E,
}

/// Why the store must not be used as it is; the shell sets it aside whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecoveryError {
    /// Written by newer software: install that again, or set the store aside.
    #[error("the tap log was written by newer software (format {0}): install that version again")]
    NewerFormat(u8),
    /// The store of another validator: its taps must not be sent under this name.
    #[error("the tap log belongs to validator {found}, this is {expected}")]
    ForeignLog {
        /// Whose it is.
        found: ValidatorId,
        /// Who we are.
        expected: ValidatorId,
    },
}

/// Whether numbering goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// At head + 1 of the same life.
    Continue,
    /// First start: no log and no guard.
    FirstStart,
    /// A new life: the guard is missing or unreadable, so numbers may have been used.
    GuardMissing,
    /// A new life: the log ends below the guard's floor, or has vanished.
    EntriesLost {
        /// Every number up to here had been in the log.
        floor: TapSeq,
        /// Where the log ends.
        head: TapSeq,
    },
    /// A new life: the log goes beyond the guard, which therefore is an old copy.
    GuardBehind,
    /// A new life: an entry of the present one is damaged or missing in the middle.
    Damaged {
        /// The first entry that does not read.
        at: TapSeq,
    },
}

/// What recovery found and what must be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Whether numbering goes on, and if not, why.
    pub decision: Decision,
    /// To be written and synced before anything else.
    pub guard: GuardState,
    /// To be applied atomically and synced before service.
    pub ops: Vec<StoreOp>,
    /// Taps that had an intent and no outcome: recorded as in doubt, under these numbers.
    pub became_in_doubt: Vec<TapSeq>,
    /// The newest settled tap or used ticket, when only refusals follow it: the power may have gone
    /// after it was durable and before its rider saw it.
    pub unshown: Option<TapRecord>,
    /// Its rider saw it: the gate says that nobody passed.
    pub turned_back: bool,
    /// Tickets that were used here, over all lives that are kept: none of them is taken again.
    pub tickets: Vec<TicketToken>,
    /// Rows that do not read or do not fit the chain; they are kept as they are.
    pub damaged: Vec<(Tree, Vec<u8>)>,
    /// Entries behind a damaged one: kept, readable one by one, but not sendable in a chain.
    pub stranded: u64,
}

/// A life as the scan finds it.
struct Found {
    life: Life,
    has_base: bool,
    broken_at: Option<TapSeq>,
    in_doubt: Vec<InDoubtTap>,
    newest: Option<TapRecord>,
    turned_back: bool,
}

impl Found {
    /// Whose rider may still wait for the light, after one more entry.
    fn follow(&mut self, record: TapRecord) {
        match record.event {
            TapEvent::Committed { .. } | TapEvent::Confirmed { .. } | TapEvent::Ticket { .. } => {
                self.newest = Some(record);
                self.turned_back = false;
            }
            // Its rider may have been refused a reading, or waits while others are refused.
            TapEvent::Refused { .. } | TapEvent::Voided { .. } => {}
            TapEvent::InDoubt { .. } => self.newest = None,
            TapEvent::Gate { said, of } => {
                let is_its = self.newest.as_ref().zip(of).is_some_and(|(newest, of)| {
                    let decided =
                        matches!(newest.event, TapEvent::Confirmed { of: its, .. } if its == of);
                    newest.seq == of || decided
                });
                match said {
                    // Who passed was shown the way, or needed none.
                    GateWord::Passed if is_its => self.newest = None,
                    GateWord::TimedOut if is_its => self.turned_back = true,
                    GateWord::Passed
                    | GateWord::TimedOut
                    | GateWord::Unseen
                    | GateWord::Tailgate
                    | GateWord::Forced
                    | GateWord::Blocked
                    | GateWord::Fault
                    | GateWord::Emergency
                    | GateWord::EmergencyOver => {}
                }
            }
        }
    }
}

pub(crate) struct Recovery {
    validator: ValidatorId,
    lives: BTreeMap<Epoch, Found>,
    report: RecoveryReport,
}

impl TapLog {
    /// Opens the log. `fresh` is the epoch to use should a new life begin, such as the seconds
    /// since 1970; it is raised above every epoch known here.
    pub fn recover(
        validator: ValidatorId,
        guard: Option<GuardState>,
        fresh: Epoch,
        scan: Scan<impl IntoIterator<Item = Row>>,
    ) -> Result<(Self, RecoveryReport), RecoveryError> {
        let mut recovery = Recovery::begin(validator, fresh);
        let intents = recovery.read(scan)?;
        Ok(recovery.finish(guard, fresh, intents))
    }
}

/// An intent as it was found: where, and its bytes.
pub(crate) struct FoundIntent {
    key: Vec<u8>,
    pub(crate) epoch: Epoch,
    pub(crate) seq: TapSeq,
    pub(crate) bytes: Vec<u8>,
}

impl Recovery {
    /// Nothing is read yet; the report's guard stands for none until [`Self::finish`].
    pub(crate) const fn begin(validator: ValidatorId, fresh: Epoch) -> Self {
        let none = TapSeq(0);
        Self {
            validator,
            lives: BTreeMap::new(),
            report: RecoveryReport {
                decision: Decision::Continue,
                guard: GuardState { generation: 0, epoch: fresh, floor: none, leased_upper: none },
                ops: vec![],
                became_in_doubt: vec![],
                unshown: None,
                turned_back: false,
                tickets: vec![],
                damaged: vec![],
                stranded: 0,
            },
        }
    }

    /// Reads and checks every row; the intents are the caller's.
    pub(crate) fn read(
        &mut self,
        scan: Scan<impl IntoIterator<Item = Row>>,
    ) -> Result<Vec<FoundIntent>, RecoveryError> {
        self.read_meta(scan.meta)?;
        for row in scan.entries {
            self.read_entry(row)?;
        }
        self.read_intents(scan.intents)
    }

    /// What was read, when nothing is to be decided.
    pub(crate) fn into_found(self) -> (Vec<AuditedLife>, RecoveryReport) {
        let lives = self.lives.into_values().map(|found| AuditedLife {
            span: found.life.span(),
            hash: found.life.head.hash,
            registers: found.life.head.registers,
            broken_at: found.broken_at,
        });
        (lives.collect(), self.report)
    }

    fn found(&mut self, epoch: Epoch) -> &mut Found {
        let start = Mark::start(self.validator, epoch);
        self.lives.entry(epoch).or_insert_with(|| Found {
            life: Life::empty(epoch, start),
            has_base: false,
            broken_at: None,
            in_doubt: vec![],
            newest: None,
            turned_back: false,
        })
    }

    fn read_meta(&mut self, rows: Vec<Row>) -> Result<(), RecoveryError> {
        for row in rows {
            match read_meta(&row) {
                Ok(MetaRow::Owner(found)) => match found {
                    Some(found) if found != self.validator => {
                        let expected = self.validator;
                        return Err(RecoveryError::ForeignLog { found, expected });
                    }
                    Some(_) => {}
                    None => self.report.damaged.push((Tree::Meta, row.key)),
                },
                Ok(MetaRow::Base(epoch, mark)) => {
                    let found = self.found(epoch);
                    found.has_base = true;
                    found.life.base = mark;
                    found.life.head = mark;
                }
                Ok(MetaRow::Acked(epoch, through, depot_time)) => {
                    let life = &mut self.found(epoch).life;
                    (life.acked, life.acked_at) = (through, depot_time);
                }
                Ok(MetaRow::Evidence) => {}
                Err(RowError::NewerVersion(version)) => {
                    return Err(RecoveryError::NewerFormat(version));
                }
                Err(RowError::Damaged) => self.report.damaged.push((Tree::Meta, row.key)),
            }
        }
        Ok(())
    }

    fn read_entry(&mut self, row: Row) -> Result<(), RecoveryError> {
        let Some((epoch, seq)) = read_key(&row.key) else {
            self.report.damaged.push((Tree::Entries, row.key));
            return Ok(());
        };
        let validator = self.validator;
        let found = self.found(epoch);
        let head = found.life.head;
        if seq <= head.through || found.broken_at.is_some() {
            self.strand(&row, (validator, epoch, seq));
            return Ok(());
        }
        if seq != head.through.next() {
            found.broken_at = Some(head.through.next());
            self.strand(&row, (validator, epoch, seq));
            return Ok(());
        }
        match check(&row, head, (validator, epoch, seq)) {
            Ok((record, mark)) => {
                found.life.head = mark;
                track_in_doubt(&mut found.in_doubt, &record);
                if let TapEvent::Ticket { token } = record.event {
                    self.report.tickets.push(token);
                }
                self.found(epoch).follow(record);
            }
            Err(RowError::NewerVersion(version)) => {
                return Err(RecoveryError::NewerFormat(version));
            }
            Err(RowError::Damaged) => {
                found.broken_at = Some(seq);
                self.report.damaged.push((Tree::Entries, row.key));
            }
        }
        Ok(())
    }

    /// An entry out of the chain proves nothing to the depot, but its ticket was used.
    fn strand(&mut self, row: &Row, id: (ValidatorId, Epoch, TapSeq)) {
        self.report.stranded += 1;
        let read = StoredEntry::read(row).ok();
        let record = read.and_then(|entry| wire::decode_entry(entry.bytes, id).ok());
        if let Some(TapEvent::Ticket { token }) = record.map(|record| record.event) {
            self.report.tickets.push(token);
        }
    }

    fn read_intents(&mut self, rows: Vec<Row>) -> Result<Vec<FoundIntent>, RecoveryError> {
        let mut intents = vec![];
        for row in rows {
            if let Some(intent) = self.read_intent(&row)? {
                intents.push(intent);
                continue;
            }
            // Kept aside verbatim: it may speak of a tap that the card committed.
            let key = [b"damaged", row.key.as_slice()].concat();
            self.report.ops.extend([
                StoreOp::Put { tree: Tree::Meta, key, value: row.value },
                StoreOp::Remove { tree: Tree::Intents, key: row.key.clone() },
            ]);
            self.report.damaged.push((Tree::Intents, row.key));
        }
        Ok(intents)
    }

    fn read_intent(&self, row: &Row) -> Result<Option<FoundIntent>, RecoveryError> {
        let Some((epoch, seq)) = read_key(&row.key) else { return Ok(None) };
        let bytes = match read_intent(row) {
            Ok(bytes) => bytes.to_vec(),
            Err(RowError::NewerVersion(version)) => {
                return Err(RecoveryError::NewerFormat(version));
            }
            Err(RowError::Damaged) => return Ok(None),
        };
        let decodes = wire::decode_entry(&bytes, (self.validator, epoch, seq)).is_ok();
        Ok(decodes.then(|| FoundIntent { key: row.key.clone(), epoch, seq, bytes }))
    }

    fn decide(&self, guard: Option<GuardState>, intents: &[FoundIntent]) -> Decision {
        let newest = self.lives.last_key_value().map(|(epoch, _)| *epoch);
        let Some(guard) = guard else {
            let untouched = newest.is_none() && intents.is_empty();
            return if untouched { Decision::FirstStart } else { Decision::GuardMissing };
        };
        let floor = guard.floor;
        let lost = |head| Decision::EntriesLost { floor, head };
        if newest.is_some_and(|epoch| epoch > guard.epoch) {
            return Decision::GuardBehind;
        }
        // The base row is written when a life begins: without it, the store is not the one that
        // the guard stood beside.
        let Some(found) = self.lives.get(&guard.epoch).filter(|found| found.has_base) else {
            return lost(TapSeq(0));
        };
        let head = found.life.head.through;
        let beyond = intents.iter().any(|i| i.epoch == guard.epoch && i.seq > head.next());
        if let Some(at) = found.broken_at {
            Decision::Damaged { at }
        } else if head < floor || beyond {
            lost(head)
        } else if head > guard.leased_upper {
            Decision::GuardBehind
        } else {
            Decision::Continue
        }
    }

    fn finish(
        mut self,
        guard: Option<GuardState>,
        fresh: Epoch,
        intents: Vec<FoundIntent>,
    ) -> (TapLog, RecoveryReport) {
        let decision = self.decide(guard, &intents);
        let newest = self.lives.last_key_value().map(|(epoch, _)| *epoch);
        let continued = guard
            .filter(|_| decision == Decision::Continue)
            .and_then(|guard| self.lives.remove(&guard.epoch).map(|found| (guard, found)));
        let (mut life, mut in_doubt, lease) =
            if let Some((guard, Found { life, in_doubt, newest, turned_back, .. })) = continued {
                self.report.unshown = newest;
                self.report.turned_back = turned_back;
                let lease = GuardState { generation: guard.generation + 1, ..guard };
                (life, in_doubt, lease)
            } else {
                let new = NewLife::after(self.validator, fresh, newest, guard);
                self.report.ops.extend(new.ops);
                (new.life, vec![], new.guard)
            };
        self.report.ops.push(put_owner(self.validator));
        for intent in intents {
            self.settle(intent, &mut life, &mut in_doubt);
        }
        life.acked = life.acked.clamp(life.base.through, life.head.through);
        let head = life.head.through;
        let floor = if decision == Decision::Continue { head } else { TapSeq(0) };
        let guard = GuardState { floor, leased_upper: TapSeq(head.0 + LEASE), ..lease };
        let past = self.lives.into_values().map(|found| found.life);
        let past = past
            .filter(|life| life.head.through > life.base.through)
            .map(|mut life| {
                life.acked = life.acked.clamp(life.base.through, life.head.through);
                life
            })
            .collect();
        self.report.decision = decision;
        self.report.guard = guard;
        self.report.ops.push(put_acked(life.epoch, life.acked, life.acked_at));
        (TapLog::open(self.validator, life, past, in_doubt, guard), self.report)
    }

    /// An intent without outcome becomes an in-doubt entry: in its own place where numbering goes
    /// on, else as the next entry of the present life. Its bytes do not name number or life.
    fn settle(&mut self, intent: FoundIntent, life: &mut Life, in_doubt: &mut Vec<InDoubtTap>) {
        let head = match self.lives.get(&intent.epoch) {
            Some(found) => found.life.head.through,
            None if intent.epoch == life.epoch => life.head.through,
            None => TapSeq(0),
        };
        if intent.seq > head {
            let seq = life.head.through.next();
            let id = (self.validator, life.epoch, seq);
            let record = wire::decode_entry(&intent.bytes, id).expect("it decoded in read_intents");
            self.report.ops.push(life.append(&record, &intent.bytes));
            self.report.became_in_doubt.push(seq);
            // A later tap began, so the one before it had ended.
            self.report.unshown = None;
            track_in_doubt(in_doubt, &record);
        }
        self.report.ops.push(StoreOp::Remove { tree: Tree::Intents, key: intent.key });
    }
}

/// Whether the row is the entry that follows `head`, and the mark after it.
fn check(
    row: &Row,
    head: Mark,
    id: (ValidatorId, Epoch, TapSeq),
) -> Result<(TapRecord, Mark), RowError> {
    let entry = StoredEntry::read(row)?;
    let record = wire::decode_entry(entry.bytes, id).map_err(|e| match e {
        WireError::UnknownVersion(version) => RowError::NewerVersion(version),
        WireError::TooLarge { .. }
        | WireError::Malformed { .. }
        | WireError::UnknownCode { .. }
        | WireError::Missing(_)
        | WireError::OutOfRange(_)
        | WireError::Record(_)
        | WireError::Counters(_)
        | WireError::Sealed => RowError::Damaged,
    })?;
    if entry.prev != head.hash || entry.registers != head.registers.after(&record) {
        return Err(RowError::Damaged);
    }
    let hash = head.hash.then(entry.bytes);
    Ok((record, Mark { through: id.2, hash, registers: entry.registers }))
}
