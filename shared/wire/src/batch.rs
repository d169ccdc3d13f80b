//! A batch: a contiguous run of one validator's entries, verbatim, with what ties it to the rest.

use alloc::vec::Vec;
use core::fmt;

use model::{Epoch, Registers, TapSeq, ValidatorId};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{Error as _, SeqAccess, Visitor},
};
use serde_bytes::{ByteBuf, Bytes};

use crate::{ChainHash, WireError, cbor, limits};

const WHAT: &str = "batch";

/// More than any header, envelope and length prefix add to the entries of a batch.
const OVERHEAD_MAX: usize = 320;

/// Whose entries these are and where they begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHead {
    /// Who recorded them.
    pub validator: ValidatorId,
    /// Which life of its log.
    pub epoch: Epoch,
    /// The number of the first entry.
    pub first: TapSeq,
    /// The chain's value before the first entry.
    pub prev_hash: ChainHash,
}

/// A run of entries. Entry `i` has the number `head.first + i`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Whose, and from where.
    pub head: BatchHead,
    /// The chain's value after the last entry, as the validator says.
    pub last_hash: ChainHash,
    /// The registers after the last entry, as the validator says.
    pub registers: Registers,
    /// The entries' bytes, verbatim; at least one.
    pub entries: Vec<Vec<u8>>,
}

#[derive(Serialize)]
struct BodyOut<'a> {
    validator: u32,
    epoch: u32,
    first: u64,
    count: u64,
    prev_hash: &'a Bytes,
    last_hash: &'a Bytes,
    registers: (u64, i64, i64),
    entries: Vec<&'a Bytes>,
}

/// The fields, by CBOR index; the same order as in [`BodyOut`].
#[derive(Deserialize)]
struct BodyIn {
    validator: u32,
    epoch: u32,
    first: u64,
    count: u64,
    #[serde(with = "serde_bytes")]
    prev_hash: [u8; 32],
    #[serde(with = "serde_bytes")]
    last_hash: [u8; 32],
    registers: (u64, i64, i64),
    entries: Entries,
}

impl Batch {
    /// The longest batch that the rows give: at most `limit` entries, at most the size limit.
    /// A row is an entry's bytes and the registers after it. `None` without any row.
    pub fn assemble<'a>(
        head: BatchHead,
        limit: u16,
        rows: impl Iterator<Item = (&'a [u8], Registers)>,
    ) -> Option<Self> {
        let mut room = limits::BATCH - OVERHEAD_MAX;
        let mut entries = Vec::new();
        let (mut last_hash, mut registers) = (head.prev_hash, Registers::default());
        for (bytes, after) in rows.take(usize::from(limit).min(limits::COUNT)) {
            let Some(rest) = room.checked_sub(bytes.len() + 3) else { break };
            room = rest;
            last_hash = last_hash.then(bytes);
            registers = after;
            entries.push(bytes.to_vec());
        }
        (!entries.is_empty()).then_some(Self { head, last_hash, registers, entries })
    }

    /// The number of the last entry.
    pub fn last(&self) -> TapSeq {
        TapSeq(self.head.first.0 + (self.entries.len() as u64).saturating_sub(1))
    }

    /// The chain's value after the entry with this number; `None` when it is not among them.
    pub fn hash_through(&self, seq: TapSeq) -> Option<ChainHash> {
        let index = usize::try_from(seq.0.checked_sub(self.head.first.0)?).ok()?;
        let entries = self.entries.get(..=index)?;
        Some(entries.iter().fold(self.head.prev_hash, |hash, entry| hash.then(entry)))
    }

    /// The body's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let Registers { count, debit_sum, load_sum } = self.registers;
        cbor::to_vec(&BodyOut {
            validator: self.head.validator.number(),
            epoch: self.head.epoch.0,
            first: self.head.first.0,
            count: self.entries.len() as u64,
            prev_hash: Bytes::new(&self.head.prev_hash.0),
            last_hash: Bytes::new(&self.last_hash.0),
            registers: (count, debit_sum, load_sum),
            entries: self.entries.iter().map(|e| Bytes::new(e)).collect(),
        })
    }

    /// Reads a body. The entries inside stay bytes: one that cannot be read must not cost the
    /// others.
    pub fn decode(body: &[u8]) -> Result<Self, WireError> {
        cbor::bounded(WHAT, body, limits::BATCH)?;
        let b: BodyIn = cbor::from_slice(WHAT, body)?;
        let validator =
            ValidatorId::new(b.validator).ok_or(WireError::OutOfRange("validator number"))?;
        let entries = b.entries.0;
        if b.count != entries.len() as u64 {
            return Err(WireError::OutOfRange("count of a batch"));
        }
        if b.first == 0 || entries.is_empty() || b.first.checked_add(b.count).is_none() {
            return Err(WireError::OutOfRange("numbers of a batch"));
        }
        let (count, debit_sum, load_sum) = b.registers;
        Ok(Self {
            head: BatchHead {
                validator,
                epoch: Epoch(b.epoch),
                first: TapSeq(b.first),
                prev_hash: ChainHash(b.prev_hash),
            },
            last_hash: ChainHash(b.last_hash),
            registers: Registers { count, debit_sum, load_sum },
            entries,
        })
    }
}

/// Entries, read with both bounds in force while reading.
struct Entries(Vec<Vec<u8>>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bounded;
        impl<'de> Visitor<'de> for Bounded {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("at most 1000 byte strings of at most 512 bytes")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = seq.next_element::<ByteBuf>()? {
                    if entries.len() == limits::COUNT || entry.len() > limits::ENTRY {
                        return Err(A::Error::custom("more or longer entries than allowed"));
                    }
                    entries.push(entry.into_vec());
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_seq(Bounded)
    }
}
