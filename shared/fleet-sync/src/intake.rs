//! The depot's end, for one validator: what is new, what is known, what is missing, what is wrong.
//!
//! Invariants: entries are taken in the order of their numbers without a hole; a mark moves only
//! over bytes whose chain begins at the mark before; the mark that is acked moves only when the
//! shell reports the commit ([`Intake::handle_committed`]); every batch gets a verdict.
//!
//! A batch may begin anywhere. Because the chain's value stands for all bytes before it, the known
//! part of a batch is compared with the books by one hash, not entry by entry.

use alloc::{collections::BTreeMap, vec, vec::Vec};

use model::{Epoch, Registers, TapRecord, TapSeq, Timestamp, ValidatorId};
use wire::{Ack, Batch, ChainHash, WireError};

/// Lives of one validator's log that are followed; more is an incident, not a need.
const LIVES_MAX: usize = 256;

/// A point of a validator's log: everything through `through` is in the books. The store keeps it
/// with the entries, in the same commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochMark {
    /// Which life.
    pub epoch: Epoch,
    /// The last entry.
    pub through: TapSeq,
    /// The chain's value after it.
    pub hash: ChainHash,
    /// The registers after it.
    pub registers: Registers,
    /// The hotlist that the validator went by then; `None` before the first.
    pub hotlist: Option<u64>,
}

/// An entry that the books do not hold yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEntry {
    /// Its number.
    pub seq: TapSeq,
    /// The bytes as received: what the chain and the signature cover, and what is stored.
    pub bytes: Vec<u8>,
    /// The chain's value after it; the store keeps it beside the bytes.
    pub hash: ChainHash,
    /// What it says. One that does not read is stored all the same, as an exception: it must not
    /// cost the entries behind it.
    pub record: Result<TapRecord, WireError>,
}

/// Whether the registers of a batch are what its entries give (REC-4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistersCheck {
    /// They are.
    Agree,
    /// They are not: entries were removed, added or altered inside the validator. The claimed ones
    /// count from here on, so that one fault is one exception.
    Differ {
        /// What the validator says.
        claimed: Registers,
        /// What the entries give.
        computed: Registers,
    },
    /// An entry does not read, so the claimed ones could not be checked.
    Unreadable,
}

/// The new part of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// The mark after it; to be stored with the entries.
    pub mark: EpochMark,
    /// The entries, contiguous.
    pub entries: Vec<NewEntry>,
    /// Entries at the beginning of the batch that the books held already.
    pub known: u64,
    /// Whether the registers agree.
    pub registers: RegistersCheck,
    /// The first entries of this life: a first start, or a log that was lost.
    pub life_began: bool,
}

/// What contradicts the books. The payload is kept and someone looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Incident {
    /// Numbers that the books hold, with other bytes: a re-imaged, copied or edited validator.
    #[error(
        "epoch {epoch}: entries {first} to {last} differ from the books under the same numbers"
    )]
    OtherBytes {
        /// Which life.
        epoch: Epoch,
        /// The first entry of the batch.
        first: TapSeq,
        /// The last known entry of the batch.
        last: TapSeq,
    },
    /// The batch continues a history other than the one in the books.
    #[error("epoch {epoch}: entry {at} continues another history than the books")]
    OtherHistory {
        /// Which life.
        epoch: Epoch,
        /// The first entry of the batch.
        at: TapSeq,
    },
    /// The batch's own last hash is not that of its entries.
    #[error("epoch {epoch}: the batch from {first} contradicts its own hash")]
    OwnHash {
        /// Which life.
        epoch: Epoch,
        /// The first entry of the batch.
        first: TapSeq,
    },
    /// The batch is another validator's.
    #[error("batch of validator {0}")]
    OtherValidator(ValidatorId),
    /// So many lives that something begins them on purpose.
    #[error("epoch {0} is one life of the log too many")]
    TooManyLives(Epoch),
}

/// What becomes of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Book the entries, store the mark, commit, then ack.
    Accepted(Accepted),
    /// The books hold all of it, byte for byte: ack again.
    Known {
        /// How many entries.
        count: u64,
    },
    /// Entries before it are missing: drop it and ack, which asks for them.
    Gap {
        /// The first missing entry.
        from: TapSeq,
        /// The last missing entry.
        through: TapSeq,
    },
    /// All of it lies below the mark: call again with the chain's value that the store holds for
    /// this entry.
    NeedsStoredHash {
        /// Which life.
        epoch: Epoch,
        /// The batch's last entry.
        seq: TapSeq,
    },
    /// Keep the payload, open an exception, do not ack beyond the mark.
    Incident(Incident),
}

#[derive(Debug, Clone)]
struct Life {
    committed: EpochMark,
    staged: EpochMark,
    /// A batch began here although entries before it were missing; told once.
    seen_above: Option<TapSeq>,
}

/// The depot's end for one validator.
#[derive(Debug, Clone)]
pub struct Intake {
    validator: ValidatorId,
    lives: BTreeMap<Epoch, Life>,
}

impl EpochMark {
    /// Before the first entry of a life.
    pub fn start(validator: ValidatorId, epoch: Epoch) -> Self {
        let hash = ChainHash::start(validator, epoch);
        Self { epoch, through: TapSeq(0), hash, registers: Registers::default(), hotlist: None }
    }
}

impl Intake {
    /// Rebuilt from the stored marks, one for each life.
    pub fn resume(validator: ValidatorId, marks: impl IntoIterator<Item = EpochMark>) -> Self {
        let lives = marks.into_iter().map(|mark| (mark.epoch, Life::at(mark))).collect();
        Self { validator, lives }
    }

    /// A batch has arrived and its signature holds. `stored` is the answer to
    /// [`Verdict::NeedsStoredHash`], else `None`.
    pub fn handle_batch(&mut self, batch: &Batch, stored: Option<ChainHash>) -> Verdict {
        let epoch = batch.head.epoch;
        if batch.head.validator != self.validator {
            return Verdict::Incident(Incident::OtherValidator(batch.head.validator));
        }
        if !self.lives.contains_key(&epoch) && self.lives.len() >= LIVES_MAX {
            return Verdict::Incident(Incident::TooManyLives(epoch));
        }
        let start = EpochMark::start(self.validator, epoch);
        let mark = self.lives.get(&epoch).map_or(start, |life| life.staged);
        let verdict = judge(batch, &mark, stored);
        match &verdict {
            Verdict::Accepted(accepted) => {
                let life = self.lives.entry(epoch).or_insert_with(|| Life::at(start));
                life.staged = accepted.mark;
            }
            Verdict::Gap { .. } => {
                let life = self.lives.entry(epoch).or_insert_with(|| Life::at(start));
                life.seen_above = Some(batch.head.first);
            }
            Verdict::Known { .. } | Verdict::NeedsStoredHash { .. } | Verdict::Incident(_) => {}
        }
        verdict
    }

    /// Everything accepted so far is durably committed.
    pub fn handle_committed(&mut self) {
        for life in self.lives.values_mut() {
            life.committed = life.staged;
        }
    }

    /// What was accepted since the last commit has not been committed and must come again.
    pub fn handle_rolled_back(&mut self) {
        for life in self.lives.values_mut() {
            life.staged = life.committed;
        }
    }

    /// What to tell the validator about a life: never more than is committed. Names a gap once, so
    /// that one gap is one resend.
    pub fn ack(&mut self, epoch: Epoch, depot_time: Timestamp) -> Ack {
        let life = self.lives.get_mut(&epoch);
        let seen_above = life.as_ref().and_then(|life| life.seen_above);
        let acked_through = life.map_or(TapSeq(0), |life| {
            life.seen_above = None;
            life.committed.through
        });
        let missing = seen_above
            .filter(|above| *above > acked_through.next())
            .map_or(vec![], |above| vec![(acked_through.next(), TapSeq(above.0 - 1))]);
        Ack { validator: self.validator, epoch, acked_through, missing, depot_time }
    }

    /// The committed mark of a life.
    pub fn committed(&self, epoch: Epoch) -> Option<EpochMark> {
        self.lives.get(&epoch).map(|life| life.committed)
    }

    /// Whose entries these are.
    pub const fn validator(&self) -> ValidatorId {
        self.validator
    }
}

impl Life {
    const fn at(mark: EpochMark) -> Self {
        Self { committed: mark, staged: mark, seen_above: None }
    }
}

/// The verdict on `batch` when the books stand at `mark`.
fn judge(batch: &Batch, mark: &EpochMark, stored: Option<ChainHash>) -> Verdict {
    let (epoch, first, last) = (batch.head.epoch, batch.head.first, batch.last());
    let next = mark.through.next();
    if first > next {
        return Verdict::Gap { from: next, through: TapSeq(first.0 - 1) };
    }
    let count = batch.entries.len() as u64;
    let known = count.min(next.0 - first.0);
    let (old, new) = batch.entries.split_at(usize::try_from(known).unwrap_or(usize::MAX));
    let at_known = old.iter().fold(batch.head.prev_hash, |hash, entry| hash.then(entry));
    if new.is_empty() && at_known != batch.last_hash {
        return Verdict::Incident(Incident::OwnHash { epoch, first });
    }
    if last < mark.through {
        return match stored {
            None => Verdict::NeedsStoredHash { epoch, seq: last },
            Some(stored) if stored == at_known => Verdict::Known { count },
            Some(_) => Verdict::Incident(Incident::OtherBytes { epoch, first, last }),
        };
    }
    if at_known != mark.hash {
        return Verdict::Incident(if known == 0 {
            Incident::OtherHistory { epoch, at: first }
        } else {
            Incident::OtherBytes { epoch, first, last: mark.through }
        });
    }
    if new.is_empty() {
        return Verdict::Known { count };
    }
    let (entries, hash, hotlist) = read_entries(batch, mark, new);
    if hash != batch.last_hash {
        return Verdict::Incident(Incident::OwnHash { epoch, first });
    }
    let claimed = batch.registers;
    let registers = check_registers(mark.registers, &entries, claimed);
    Verdict::Accepted(Accepted {
        mark: EpochMark { epoch, through: last, hash, registers: claimed, hotlist },
        entries,
        known,
        registers,
        life_began: mark.through == TapSeq(0),
    })
}

/// With the chain's value and the hotlist after them. An entry names the hotlist only when it is
/// another than that of the entry before it; here each is given its own.
fn read_entries(
    batch: &Batch,
    mark: &EpochMark,
    new: &[Vec<u8>],
) -> (Vec<NewEntry>, ChainHash, Option<u64>) {
    let (mut seq, mut hash, mut hotlist) = (mark.through, mark.hash, mark.hotlist);
    let mut entries = Vec::with_capacity(new.len());
    for bytes in new {
        seq = seq.next();
        hash = hash.then(bytes);
        let place = (batch.head.validator, batch.head.epoch, seq);
        let record = wire::decode_entry(bytes, place).map(|mut record| {
            hotlist = record.hotlist_version.or(hotlist);
            record.hotlist_version = hotlist;
            record
        });
        entries.push(NewEntry { seq, bytes: bytes.clone(), hash, record });
    }
    (entries, hash, hotlist)
}

fn check_registers(before: Registers, entries: &[NewEntry], claimed: Registers) -> RegistersCheck {
    let computed = entries
        .iter()
        .try_fold(before, |registers, entry| registers.checked_after(entry.record.as_ref().ok()?));
    match computed {
        None => RegistersCheck::Unreadable,
        Some(computed) if computed == claimed => RegistersCheck::Agree,
        Some(computed) => RegistersCheck::Differ { claimed, computed },
    }
}
