//! The open log: numbers, intents, outcomes, acknowledgements, pruning.

use alloc::{vec, vec::Vec};

use model::{
    CardId, CardTransaction, ClockQuality, Epoch, OrderId, Registers, TapDraft, TapEvent,
    TapRecord, TapSeq, Timestamp, ValidatorId,
};
use wire::{Batch, BatchHead, ChainHash};

use crate::{
    GuardState, LogError, Row, RowError, StoreOp, StoredEntry, Tree,
    row::{Mark, entry_key, put_acked, put_intent, put_owner, read_key, remove_life},
};

/// Numbers that one lease covers.
pub(crate) const LEASE: u64 = 1000;
/// A new lease is asked for when fewer numbers are left, so that no tap ever waits for one.
const LEASE_MARGIN: u64 = 100;

/// A tap whose commit was sent and not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InDoubtTap {
    /// The card.
    pub card: Option<CardId>,
    /// Its number in the present life of the log.
    pub seq: TapSeq,
    /// When it was tapped.
    pub tapped_at: Timestamp,
    /// How far that can be believed.
    pub clock: ClockQuality,
    /// What was read, and what may have been written.
    pub transaction: CardTransaction,
    /// The load order that it carried out, when it was no tap.
    pub order: Option<OrderId>,
}

/// What one life of the log holds: entries `pruned_through + 1 ..= head`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LifeSpan {
    /// Which life.
    pub epoch: Epoch,
    /// Entries up to here have been removed.
    pub pruned_through: TapSeq,
    /// Entries up to here are committed at the depot.
    pub acked: TapSeq,
    /// When the depot said so, by its clock.
    pub acked_at: Timestamp,
    /// The last entry.
    pub head: TapSeq,
}

/// One life of the log, in memory.
#[derive(Debug, Clone)]
pub(crate) struct Life {
    pub(crate) epoch: Epoch,
    pub(crate) base: Mark,
    pub(crate) acked: TapSeq,
    pub(crate) acked_at: Timestamp,
    pub(crate) head: Mark,
}

/// The beginning of a life: the guard to write first, and the ops to apply then.
pub(crate) struct NewLife {
    pub(crate) life: Life,
    pub(crate) guard: GuardState,
    pub(crate) ops: Vec<StoreOp>,
}

#[derive(Debug, Clone)]
struct OpenIntent {
    draft: TapDraft,
    transaction: CardTransaction,
}

/// The open log.
#[derive(Debug, Clone)]
pub struct TapLog {
    validator: ValidatorId,
    live: Life,
    /// Earlier lives with entries that are still kept, oldest first.
    past: Vec<Life>,
    intent: Option<OpenIntent>,
    in_doubt: Vec<InDoubtTap>,
    guard: GuardState,
    /// The hotlist that the newest entry with one names, since the log was opened.
    hotlist: Option<u64>,
}

impl TapLog {
    pub(crate) const fn open(
        validator: ValidatorId,
        live: Life,
        past: Vec<Life>,
        in_doubt: Vec<InDoubtTap>,
        guard: GuardState,
    ) -> Self {
        Self { validator, live, past, intent: None, in_doubt, guard, hotlist: None }
    }

    /// The tap is about to be committed on the card. Durable before the card is told.
    pub fn intent(
        &mut self,
        draft: TapDraft,
        transaction: CardTransaction,
    ) -> Result<(TapSeq, Vec<StoreOp>), LogError> {
        let seq = self.next_seq()?;
        let record = self.record_at(seq, draft, 0, TapEvent::InDoubt { transaction });
        let op = put_intent(self.live.epoch, seq, &wire::encode_entry(&record)?);
        self.intent = Some(OpenIntent { draft, transaction });
        Ok((seq, vec![op]))
    }

    /// What became of the intent `seq`: committed, in doubt, or refused after all.
    pub fn outcome(
        &mut self,
        seq: TapSeq,
        duration_ms: u16,
        event: TapEvent,
    ) -> Result<Vec<StoreOp>, LogError> {
        let Some(OpenIntent { draft, transaction }) = self.intent.clone() else {
            return Err(LogError::NoIntent(seq));
        };
        if seq != self.live.head.through.next() {
            return Err(LogError::NoIntent(seq));
        }
        match event {
            TapEvent::Committed { transaction: t, .. } | TapEvent::InDoubt { transaction: t } => {
                if t != transaction {
                    return Err(LogError::OtherTransaction(seq));
                }
            }
            TapEvent::Refused { .. } => {}
            TapEvent::Confirmed { .. }
            | TapEvent::Voided { .. }
            | TapEvent::Gate { .. }
            | TapEvent::Ticket { .. } => {
                return Err(LogError::OtherTransaction(seq));
            }
        }
        let record = self.record_at(seq, draft, duration_ms, event);
        let put = self.append(&record)?;
        self.intent = None;
        let key = entry_key(self.live.epoch, seq);
        Ok(vec![put, StoreOp::Remove { tree: Tree::Intents, key }])
    }

    /// An entry without a card commit of its own: a refusal, a ticket, or the decision of an
    /// in-doubt tap.
    pub fn record(
        &mut self,
        draft: TapDraft,
        duration_ms: u16,
        event: TapEvent,
    ) -> Result<(TapSeq, Vec<StoreOp>), LogError> {
        match event {
            TapEvent::Committed { .. } | TapEvent::InDoubt { .. } => {
                return Err(LogError::NeedsIntent);
            }
            TapEvent::Confirmed { of, .. } | TapEvent::Voided { of, .. } => {
                if !self.in_doubt.iter().any(|tap| tap.seq == of) {
                    return Err(LogError::NotInDoubt(of));
                }
            }
            TapEvent::Refused { .. } | TapEvent::Gate { .. } | TapEvent::Ticket { .. } => {}
        }
        let seq = self.next_seq()?;
        let record = self.record_at(seq, draft, duration_ms, event);
        Ok((seq, vec![self.append(&record)?]))
    }

    /// The guard that must be written and synced soon; then call [`Self::handle_leased`].
    pub fn lease_due(&self) -> Option<GuardState> {
        let head = self.live.head.through;
        let left = self.guard.leased_upper.0.saturating_sub(head.0);
        (left < LEASE_MARGIN).then(|| GuardState {
            generation: self.guard.generation + 1,
            floor: head,
            leased_upper: TapSeq(head.0 + LEASE),
            ..self.guard
        })
    }

    /// The guard is durable.
    pub fn handle_leased(&mut self, guard: GuardState) {
        if guard.epoch == self.live.epoch && guard.generation > self.guard.generation {
            self.guard = guard;
        }
    }

    /// The depot has committed `epoch` through `through`, as it said at `depot_time`. The op needs
    /// no sync of its own: losing it costs a resend.
    pub fn handle_acked(
        &mut self,
        epoch: Epoch,
        through: TapSeq,
        depot_time: Timestamp,
    ) -> Result<Vec<StoreOp>, LogError> {
        let life = self.life_mut(epoch).ok_or(LogError::UnknownEpoch(epoch))?;
        let head = life.head.through;
        if through > head {
            return Err(LogError::AckAheadOfHead { acked: through, head });
        }
        if through == life.acked {
            return Ok(vec![]);
        }
        // A depot that was restored from a backup asks again for what it lost.
        life.acked = through.max(life.base.through);
        life.acked_at = depot_time;
        Ok(vec![put_acked(epoch, life.acked, depot_time)])
    }

    /// Begins a new life, because numbers of the present one may have been used before. The guard
    /// is written and synced first, then the ops.
    pub fn begin_epoch(&mut self, fresh: Epoch) -> Result<(GuardState, Vec<StoreOp>), LogError> {
        if self.intent.is_some() {
            return Err(LogError::IntentOpen(self.live.head.through.next()));
        }
        let NewLife { life, guard, mut ops } =
            NewLife::after(self.validator, fresh, Some(self.live.epoch), Some(self.guard));
        let ended = core::mem::replace(&mut self.live, life);
        if ended.head.through > ended.base.through {
            self.past.push(ended);
        } else {
            ops.extend(remove_life(ended.epoch));
        }
        self.in_doubt.clear();
        self.guard = guard;
        self.hotlist = None;
        Ok((guard, ops))
    }

    /// Builds the batch that begins with the first of `rows` (from [`crate::entry_range`], in key
    /// order): at most `limit` entries and at most the size limit.
    pub fn batch(
        &self,
        epoch: Epoch,
        limit: u16,
        rows: impl IntoIterator<Item = Row>,
    ) -> Result<Batch, LogError> {
        let rows: Vec<Row> = rows.into_iter().take(usize::from(limit)).collect();
        let first = rows.first().and_then(|row| read_key(&row.key));
        let Some((_, first)) = first.filter(|key| key.0 == epoch) else {
            return Err(LogError::RowsOutOfPlace);
        };
        // A damaged row ends the batch before it; as the first row it is the caller's to report.
        let read: Vec<StoredEntry<'_>> = (first.0..)
            .zip(&rows)
            .take_while(|(seq, row)| read_key(&row.key) == Some((epoch, TapSeq(*seq))))
            .map_while(|(_, row)| StoredEntry::read(row).ok())
            .collect();
        let Some(entry) = read.first() else {
            let source = StoredEntry::read(&rows[0]).err().unwrap_or(RowError::Damaged);
            return Err(LogError::Row { seq: first, source });
        };
        let head = BatchHead { validator: self.validator, epoch, first, prev_hash: entry.prev };
        Batch::assemble(head, limit, read.iter().map(|e| (e.bytes, e.registers)))
            .ok_or(LogError::RowsOutOfPlace)
    }

    /// Removes the oldest rows of a life, as far as the depot has acknowledged them and they are
    /// older than `keep_since`. `rows` begin at `pruned_through + 1`.
    pub fn prune(
        &mut self,
        epoch: Epoch,
        keep_since: Timestamp,
        rows: impl IntoIterator<Item = Row>,
    ) -> Result<Vec<StoreOp>, LogError> {
        let validator = self.validator;
        let life = self.life_mut(epoch).ok_or(LogError::UnknownEpoch(epoch))?;
        let mut base = life.base;
        let mut ops = vec![];
        for row in rows {
            let seq = base.through.next();
            if seq > life.acked {
                break;
            }
            if read_key(&row.key) != Some((epoch, seq)) {
                return Err(LogError::RowsOutOfPlace);
            }
            let entry = StoredEntry::read(&row).map_err(|source| LogError::Row { seq, source })?;
            let record = wire::decode_entry(entry.bytes, (validator, epoch, seq))?;
            if record.tapped_at >= keep_since {
                break;
            }
            let (hash, registers) = (entry.prev.then(entry.bytes), entry.registers);
            base = Mark { through: seq, hash, registers };
            ops.push(StoreOp::Remove { tree: Tree::Entries, key: row.key });
        }
        if ops.is_empty() {
            return Ok(ops);
        }
        life.base = base;
        ops.push(base.put_base(epoch));
        if epoch == self.live.epoch {
            self.in_doubt.retain(|tap| tap.seq > base.through);
        } else if life_is_empty(&base, epoch, &self.past) {
            self.past.retain(|life| life.epoch != epoch);
            ops.pop();
            ops.extend(remove_life(epoch));
        }
        Ok(ops)
    }

    /// An earlier life that was found elsewhere.
    pub(crate) fn take_in(&mut self, life: Life) {
        let at = self.past.partition_point(|past| past.epoch < life.epoch);
        self.past.insert(at, life);
    }

    /// Whose log this is.
    pub const fn validator(&self) -> ValidatorId {
        self.validator
    }

    /// The present life.
    pub const fn epoch(&self) -> Epoch {
        self.live.epoch
    }

    /// The newest entry of the present life.
    pub const fn head(&self) -> TapSeq {
        self.live.head.through
    }

    /// The chain's value after the newest entry.
    pub const fn head_hash(&self) -> ChainHash {
        self.live.head.hash
    }

    /// The registers of the present life.
    pub const fn registers(&self) -> Registers {
        self.live.head.registers
    }

    /// Taps of the present life whose commit is still unknown, oldest first.
    pub fn in_doubt(&self) -> &[InDoubtTap] {
        &self.in_doubt
    }

    /// The lives that are kept, oldest first; the last is the present one.
    pub fn lives(&self) -> impl Iterator<Item = LifeSpan> {
        self.past.iter().chain([&self.live]).map(Life::span)
    }

    /// Entries that the depot has not acknowledged, over all lives.
    pub fn unacked(&self) -> u64 {
        self.lives().map(|life| life.head.0 - life.acked.0).sum()
    }

    fn next_seq(&self) -> Result<TapSeq, LogError> {
        let seq = self.live.head.through.next();
        if self.intent.is_some() {
            return Err(LogError::IntentOpen(seq));
        }
        if seq > self.guard.leased_upper {
            return Err(LogError::LeaseExhausted);
        }
        Ok(seq)
    }

    fn record_at(&self, seq: TapSeq, draft: TapDraft, ms: u16, event: TapEvent) -> TapRecord {
        // Seven bytes less for each tap: what the entry before it says, it need not say again.
        let hotlist_version = draft.hotlist_version.filter(|named| self.hotlist != Some(*named));
        let draft = TapDraft { hotlist_version, ..draft };
        TapRecord::new((self.validator, self.live.epoch, seq), draft, ms, event)
    }

    fn append(&mut self, record: &TapRecord) -> Result<StoreOp, LogError> {
        let bytes = wire::encode_entry(record)?;
        let put = self.live.append(record, &bytes);
        track_in_doubt(&mut self.in_doubt, record);
        self.hotlist = record.hotlist_version.or(self.hotlist);
        Ok(put)
    }

    fn life_mut(&mut self, epoch: Epoch) -> Option<&mut Life> {
        self.past.iter_mut().chain([&mut self.live]).find(|life| life.epoch == epoch)
    }
}

impl Life {
    pub(crate) const fn empty(epoch: Epoch, start: Mark) -> Self {
        Self { epoch, base: start, acked: TapSeq(0), acked_at: Timestamp(0), head: start }
    }

    /// Puts the record, whose bytes these are, behind the head.
    pub(crate) fn append(&mut self, record: &TapRecord, bytes: &[u8]) -> StoreOp {
        assert_eq!(record.seq, self.head.through.next(), "numbers are contiguous");
        let registers = self.head.registers.after(record);
        let put =
            StoredEntry { prev: self.head.hash, registers, bytes }.put(self.epoch, record.seq);
        let hash = self.head.hash.then(bytes);
        self.head = Mark { through: record.seq, hash, registers };
        put
    }

    pub(crate) fn span(&self) -> LifeSpan {
        LifeSpan {
            epoch: self.epoch,
            pruned_through: self.base.through,
            acked: self.acked,
            acked_at: self.acked_at,
            head: self.head.through,
        }
    }
}

impl NewLife {
    /// A life that no earlier one can be taken for.
    pub(crate) fn after(
        validator: ValidatorId,
        fresh: Epoch,
        newest: Option<Epoch>,
        guard: Option<GuardState>,
    ) -> Self {
        let above = newest.max(guard.map(|g| g.epoch)).map_or(0, |e| e.0.saturating_add(1));
        let epoch = Epoch(fresh.0.max(above));
        let start = Mark::start(validator, epoch);
        let life = Life::empty(epoch, start);
        let guard = GuardState {
            generation: guard.map_or(1, |g| g.generation + 1),
            epoch,
            floor: TapSeq(0),
            leased_upper: TapSeq(LEASE),
        };
        Self { life, guard, ops: vec![put_owner(validator), start.put_base(epoch)] }
    }
}

/// Whether the life has nothing left once pruned to `base`.
fn life_is_empty(base: &Mark, epoch: Epoch, lives: &[Life]) -> bool {
    lives.iter().any(|life| life.epoch == epoch && life.head.through == base.through)
}

/// Follows which taps are in doubt, entry by entry.
pub(crate) fn track_in_doubt(in_doubt: &mut Vec<InDoubtTap>, record: &TapRecord) {
    match record.event {
        TapEvent::InDoubt { transaction } => in_doubt.push(InDoubtTap {
            card: record.card,
            seq: record.seq,
            tapped_at: record.tapped_at,
            clock: record.clock,
            transaction,
            order: record.order,
        }),
        TapEvent::Confirmed { of, .. } | TapEvent::Voided { of, .. } => {
            in_doubt.retain(|tap| tap.seq != of);
        }
        TapEvent::Committed { .. }
        | TapEvent::Refused { .. }
        | TapEvent::Gate { .. }
        | TapEvent::Ticket { .. } => {}
    }
}
