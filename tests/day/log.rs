//! A validator's log without a disk: entries are numbered, chained, summed into registers, signed
//! and kept until they are acked, as the production log and uplink do it.

use std::collections::VecDeque;

use depot_server::intake::Message;
use fleet_sync::{DepotName, SigningKey, Topic, sign_batch};
use model::{Epoch, Registers, TapRecord, TapSeq, ValidatorId};
use wire::{Batch, BatchHead, ChainHash, encode_entry};

/// One life of a validator's log.
#[derive(Debug, Clone)]
pub struct Log {
    id: ValidatorId,
    epoch: Epoch,
    signing: SigningKey,
    topic: String,
    head: TapSeq,
    sent: (TapSeq, ChainHash),
    registers: Registers,
    rows: Vec<Row>,
    /// Minor units that were deleted, and not out of the registers, before the next entry.
    deleted: Option<i64>,
    /// Signed and not acked.
    pub waiting: VecDeque<Sent>,
}

/// An entry in the log.
#[derive(Debug, Clone)]
struct Row {
    bytes: Vec<u8>,
    /// After it.
    registers: Registers,
    /// Minor units of entries that were deleted before it.
    deleted: Option<i64>,
}

/// A batch on its way.
#[derive(Debug, Clone)]
pub struct Sent {
    /// Which life.
    pub epoch: Epoch,
    /// Its first entry.
    pub first: TapSeq,
    /// Its last.
    pub last: TapSeq,
    /// What the registers in it are off by.
    pub hidden: Option<i64>,
    /// Its bytes.
    pub message: Message,
}

impl Log {
    /// An empty log.
    pub fn new(id: ValidatorId, epoch: Epoch, signing: SigningKey, depot: &DepotName) -> Self {
        Self {
            id,
            epoch,
            signing,
            topic: Topic::Taps(id).name(depot),
            head: TapSeq(0),
            sent: (TapSeq(0), ChainHash::start(id, epoch)),
            registers: Registers::default(),
            rows: Vec::new(),
            deleted: None,
            waiting: VecDeque::new(),
        }
    }

    /// Which life.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Everything through this entry was signed and sent.
    pub const fn sent(&self) -> TapSeq {
        self.sent.0
    }

    /// Writes an entry down under the next number.
    pub fn append(&mut self, record: TapRecord) -> TapSeq {
        self.head = self.head.next();
        let (validator, epoch) = (self.id, self.epoch);
        let record = TapRecord { validator, epoch, seq: self.head, ..record };
        self.registers = self.registers.after(&record);
        let bytes = encode_entry(&record).expect("an entry has bytes");
        let (registers, deleted) = (self.registers, self.deleted.take());
        self.rows.push(Row { bytes, registers, deleted });
        self.head
    }

    /// Somebody deletes the newest entry from the device, and cannot turn back its registers.
    pub fn delete_newest(&mut self, amount: i64) {
        let row = self.rows.pop().expect("an entry was written");
        self.head = TapSeq(self.head.0 - 1);
        self.deleted = Some(row.deleted.unwrap_or(0) + amount);
    }

    /// Signs what was written since the last time, in as many batches as it takes.
    pub fn seal(&mut self) -> Vec<Sent> {
        let mut sealed = Vec::new();
        while !self.rows.is_empty() {
            let (through, prev_hash) = self.sent;
            let first = through.next();
            let head = BatchHead { validator: self.id, epoch: self.epoch, first, prev_hash };
            let rows = self.rows.iter().map(|row| (row.bytes.as_slice(), row.registers));
            let batch = Batch::assemble(head, 500, rows).expect("there is a row");
            let written = self.rows.drain(..batch.entries.len());
            let hidden = written.filter_map(|row| row.deleted).reduce(|a, b| a + b);
            self.sent = (batch.last(), batch.last_hash);
            let payload = sign_batch(&batch, &self.signing);
            let message = Message { topic: self.topic.clone(), payload };
            sealed.push(Sent { epoch: self.epoch, first, last: batch.last(), hidden, message });
        }
        self.waiting.extend(sealed.iter().cloned());
        sealed
    }

    /// The depot says that it has committed everything through this entry.
    pub fn acked(&mut self, through: TapSeq) {
        while self.waiting.front().is_some_and(|sent| sent.last <= through) {
            self.waiting.pop_front();
        }
    }
}
