//! Carving: what can be read of a store that no longer opens.
//!
//! A store's file still holds the rows' values, byte for byte, wherever its pages put them. An
//! entry's value is recognised by its version bytes and its CBOR; its number is the count in its
//! registers; its epoch follows from the checksum, which covers the key; and the chain says which
//! of the values found belong together. Nothing else is believed: a run of entries is taken only
//! when each one's `prev` is the hash over the one before it.
//!
//! | value | length | recognised by |
//! |---|---|---|
//! | entry | 57 + entry + 4 | version, entry version at 57, a map at 58, count below 2^40 |
//! | intent | 1 + entry + 4 | two versions, a map, event *in doubt*; the checksum for head + 1 |
//! | acked mark | 21 | version, number below 2^40, a time of this century; the checksum |

use alloc::{
    collections::{BTreeMap, BTreeSet},
    vec::Vec,
};
use model::{Epoch, Registers, TapEvent, TapSeq, TicketToken, Timestamp, ValidatorId};
use wire::ChainHash;

use crate::{
    StoreOp, StoredEntry, TapLog,
    crc::{crc32c, four_before},
    log::Life,
    row::{Mark, acked_key, entry_key, put_acked},
};

/// Longest value that is looked for.
const WINDOW: usize = 57 + wire::limits::ENTRY + 4;
/// Where an entry's bytes begin in its value.
const ENTRY_AT: usize = 57;
const ACKED_LEN: usize = 21;
/// 2020 and 2100, in ms: a depot's time lies between.
const CENTURY: core::ops::Range<u64> = 1_577_836_800_000..4_102_444_800_000;

/// Reads the bytes of a store's files, piece by piece.
#[derive(Debug)]
pub struct Carver {
    validator: ValidatorId,
    tail: Vec<u8>,
    entries: BTreeMap<(Epoch, TapSeq), BTreeSet<Value>>,
    intents: BTreeSet<(Vec<u8>, u32)>,
    acked: BTreeSet<([u8; 17], u32)>,
}

/// An entry's value, taken apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Value {
    prev: [u8; 32],
    registers: [u8; 24],
    bytes: Vec<u8>,
}

/// A run of entries that hang together, of one life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carved {
    /// Which life.
    pub epoch: Epoch,
    /// The newest mark of the depot that was found; 0 when none was.
    pub acked: TapSeq,
    /// When the depot said so.
    pub acked_at: Timestamp,
    /// The first entry.
    pub first: TapSeq,
    /// The last entry.
    pub last: TapSeq,
    /// Entries that were found and do not hang together with these: behind a hole.
    pub unreachable: u64,
    /// Whether the tap behind the last entry was about to be committed on its card.
    pub has_intent: bool,
    /// The tickets that were used in these entries.
    pub tickets: Vec<TicketToken>,
    base: Mark,
    head: Mark,
    rows: Vec<StoreOp>,
    intent: Option<Vec<u8>>,
}

impl Carver {
    /// For the store of `validator`.
    pub const fn new(validator: ValidatorId) -> Self {
        Self {
            validator,
            tail: Vec::new(),
            entries: BTreeMap::new(),
            intents: BTreeSet::new(),
            acked: BTreeSet::new(),
        }
    }

    /// The next bytes of a file.
    pub fn feed(&mut self, piece: &[u8]) {
        self.tail.extend_from_slice(piece);
        let whole = self.tail.len().saturating_sub(WINDOW - 1);
        self.search(whole);
        self.tail.drain(..whole);
    }

    /// The file ends here; what comes next is another one.
    pub fn end_file(&mut self) {
        self.search(self.tail.len());
        self.tail.clear();
    }

    /// The lives that were found, oldest first: of each the run that goes on from what the depot
    /// has, or else the newest.
    pub fn finish(mut self) -> Vec<Carved> {
        self.end_file();
        let epochs: BTreeSet<Epoch> = self.entries.keys().map(|key| key.0).collect();
        epochs.into_iter().filter_map(|epoch| self.life(epoch)).collect()
    }

    /// Looks for values that begin before `end`.
    fn search(&mut self, end: usize) {
        let bytes = core::mem::take(&mut self.tail);
        for at in 0..end {
            if bytes[at] == 1 {
                self.look(&bytes[at..]);
            }
        }
        self.tail = bytes;
    }

    fn look(&mut self, from: &[u8]) {
        if let Some((key, value)) = entry(self.validator, from) {
            self.entries.entry(key).or_default().insert(value);
        }
        self.intents.extend(intent(self.validator, from));
        self.acked.extend(acked(from));
    }

    fn life(&self, epoch: Epoch) -> Option<Carved> {
        let (acked, acked_at) = self.mark(epoch);
        let mut runs = self.runs(epoch);
        runs.retain(|run| self.is_of(epoch, run));
        let goes_on = |run: &&Vec<(TapSeq, &Value)>| {
            run.first().is_some_and(|f| f.0 <= acked.next())
                && run.last().is_some_and(|l| l.0 >= acked)
        };
        let run = runs.iter().find(goes_on).or(runs.first())?;
        let (first, last) = (run.first()?.0, run.last()?.0);
        let base = base_of(self.validator, epoch, run)?;
        let mut head = base;
        let (mut rows, mut tickets) = (Vec::new(), Vec::new());
        for (seq, value) in run {
            let (entry, through) = (value.stored(), *seq);
            let hash = entry.prev.then(entry.bytes);
            head = Mark { through, hash, registers: entry.registers };
            let record = wire::decode_entry(entry.bytes, (self.validator, epoch, through)).ok()?;
            if let TapEvent::Ticket { token } = record.event {
                tickets.push(token);
            }
            rows.push(entry.put(epoch, through));
        }
        let found = self.of(epoch).count() as u64;
        let intent = self.intent_of(epoch, last.next());
        Some(Carved {
            epoch,
            acked,
            acked_at,
            first,
            last,
            unreachable: found - run.len() as u64,
            has_intent: intent.is_some(),
            tickets,
            base,
            head,
            rows,
            intent,
        })
    }

    fn of(&self, epoch: Epoch) -> impl DoubleEndedIterator<Item = (TapSeq, &BTreeSet<Value>)> {
        let range = (epoch, TapSeq(0))..=(epoch, TapSeq(u64::MAX));
        self.entries.range(range).map(|((_, seq), values)| (*seq, values))
    }

    /// Runs of entries that hang together, newest first. The value behind a later one is the one
    /// that its `prev` names; two different newest ones are nobody's.
    fn runs(&self, epoch: Epoch) -> Vec<Vec<(TapSeq, &Value)>> {
        let mut runs: Vec<Vec<(TapSeq, &Value)>> = Vec::new();
        for (seq, values) in self.of(epoch).rev() {
            let later = runs.last_mut().filter(|run| run.last().is_some_and(|l| l.0 == seq.next()));
            if let Some(run) = later
                && let Some((_, next)) = run.last().copied()
                && let Some(value) = values.iter().find(|v| v.after().0 == next.prev)
            {
                run.push((seq, value));
            } else if let (Some(only), 1) = (values.first(), values.len()) {
                runs.push(Vec::from([(seq, only)]));
            }
        }
        for run in &mut runs {
            run.reverse();
        }
        runs
    }

    /// A single value proves its life only where it begins one.
    fn is_of(&self, epoch: Epoch, run: &[(TapSeq, &Value)]) -> bool {
        run.len() > 1
            || run.first().is_some_and(|(seq, value)| {
                *seq == TapSeq(1) && value.prev == ChainHash::start(self.validator, epoch).0
            })
    }

    /// The newest mark of the depot, by the depot's clock.
    fn mark(&self, epoch: Epoch) -> (TapSeq, Timestamp) {
        let key = acked_key(epoch);
        let good = self.acked.iter().filter(|(body, crc)| crc32c(&[&key, body]) == *crc);
        let read = good.map(|(body, _)| (number(&body[9..]), number(&body[1..])));
        let (at, through) = read.max().unwrap_or_default();
        (TapSeq(through), Timestamp(at))
    }

    fn intent_of(&self, epoch: Epoch, seq: TapSeq) -> Option<Vec<u8>> {
        let key = entry_key(epoch, seq);
        let mut good = self.intents.iter().filter(|(body, crc)| crc32c(&[&key, body]) == *crc);
        let (body, _) = good.next()?;
        good.next().is_none().then(|| body[1..].to_vec())
    }
}

impl Value {
    fn stored(&self) -> StoredEntry<'_> {
        let eight = |at: usize| self.registers[at..at + 8].try_into().expect("8 of 24 bytes");
        let registers = Registers {
            count: u64::from_be_bytes(eight(0)),
            debit_sum: i64::from_be_bytes(eight(8)),
            load_sum: i64::from_be_bytes(eight(16)),
        };
        StoredEntry { prev: ChainHash(self.prev), registers, bytes: &self.bytes }
    }

    fn after(&self) -> ChainHash {
        ChainHash(self.prev).then(&self.bytes)
    }
}

impl TapLog {
    /// Takes a carved life in as an earlier one, to be sent like any other; apply and sync the ops.
    /// An intent without outcome becomes an in-doubt entry behind the last one. `None` when the log
    /// knows that life, or a newer one.
    pub fn adopt(&mut self, carved: &Carved) -> Option<Vec<StoreOp>> {
        let (epoch, acked_at) = (carved.epoch, carved.acked_at);
        let (base, head) = (carved.base, carved.head);
        let acked = carved.acked.clamp(base.through, head.through);
        let mut life = Life { epoch, base, acked, acked_at, head };
        if self.lives().any(|known| known.epoch == epoch) || epoch > self.epoch() {
            return None;
        }
        let mut ops = Vec::from([base.put_base(epoch), put_acked(epoch, acked, acked_at)]);
        ops.extend_from_slice(&carved.rows);
        if let Some(bytes) = &carved.intent {
            let id = (self.validator(), life.epoch, life.head.through.next());
            let record = wire::decode_entry(bytes, id).ok()?;
            ops.push(life.append(&record, bytes));
        }
        self.take_in(life);
        Some(ops)
    }
}

/// The entry whose value `from` begins with, and the key that its checksum covers.
fn entry(validator: ValidatorId, from: &[u8]) -> Option<((Epoch, TapSeq), Value)> {
    let bytes = from.get(ENTRY_AT..)?;
    // No log has 2^40 entries: five of the eight bytes of a count say anything.
    if !(from[33..36] == [0; 3] && is_entry(bytes)) {
        return None;
    }
    let seq = number(&from[33..41]);
    let bytes = &bytes[..wire::entry_len(bytes)?];
    let value = &from[..ENTRY_AT + bytes.len()];
    let crc = checksum(&from[value.len()..])?;
    let epoch = four_before(&[&seq.to_be_bytes(), value], crc);
    let key = (Epoch(u32::from_be_bytes(epoch)), TapSeq(seq));
    let record = wire::decode_entry(bytes, (validator, key.0, key.1)).ok()?;
    // Records name their writer: the log of another validator is not taken for this one's.
    if record.settled().is_some_and(|(written, _)| written.after.validator != validator) {
        return None;
    }
    let (prev, registers) = from[1..ENTRY_AT].split_first_chunk::<32>()?;
    let registers = registers.try_into().ok()?;
    Some((key, Value { prev: *prev, registers, bytes: bytes.to_vec() }))
}

/// The intent whose value `from` may be; whether it is one, the checksum says for its number.
fn intent(validator: ValidatorId, from: &[u8]) -> Option<(Vec<u8>, u32)> {
    let bytes = from.get(1..).filter(|bytes| is_entry(bytes))?;
    let len = wire::entry_len(bytes)?;
    let nowhere = (validator, Epoch(0), TapSeq(0));
    let record = wire::decode_entry(&bytes[..len], nowhere).ok()?;
    let crc = checksum(&bytes[len..])?;
    matches!(record.event, TapEvent::InDoubt { .. }).then(|| (from[..=len].to_vec(), crc))
}

/// The acked mark whose value `from` may be.
fn acked(from: &[u8]) -> Option<([u8; 17], u32)> {
    let body: [u8; 17] = from.get(..ACKED_LEN - 4)?.try_into().ok()?;
    let plausible = body[1..4] == [0; 3] && CENTURY.contains(&number(&body[9..]));
    Some((body, checksum(&from[17..])?)).filter(|_| plausible)
}

/// Whether these may be the first bytes of an entry: its version, and a map of 1 to 23 or more.
fn is_entry(bytes: &[u8]) -> bool {
    matches!(bytes, [1, 0xa1..=0xb8, ..])
}

fn checksum(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|crc| u32::from_be_bytes(*crc))
}

/// The first eight bytes as a number, MSB first; 0 when there are fewer.
fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |eight| u64::from_be_bytes(*eight))
}

/// The point of the life before the run.
fn base_of(validator: ValidatorId, epoch: Epoch, run: &[(TapSeq, &Value)]) -> Option<Mark> {
    let (first, value) = run.first()?;
    let record = wire::decode_entry(&value.bytes, (validator, epoch, *first)).ok()?;
    let (after, alone) = (value.stored().registers, Registers::default().after(&record));
    let registers = Registers {
        count: after.count - alone.count,
        debit_sum: after.debit_sum.checked_sub(alone.debit_sum)?,
        load_sum: after.load_sum.checked_sub(alone.load_sum)?,
    };
    Some(Mark { through: TapSeq(first.0 - 1), hash: ChainHash(value.prev), registers })
}
