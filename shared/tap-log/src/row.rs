//! The rows of the store: keys and values, each value with its version and checksum.
//!
//! The checksum covers key and value, so that a value found under another key is damaged too.
//! Integers are written MSB first.
//!
//! | tree | key | value |
//! |---|---|---|
//! | taps | epoch (4), number (8) | version, chain before (32), registers (24), entry, CRC-32C |
//! | intents | the same | version, entry (event in-doubt), CRC-32C |
//! | meta | `owner` | version, validator (4), CRC-32C |
//! | meta | `base`, epoch (4) | version, pruned through (8), chain (32), registers (24), CRC-32C |
//! | meta | `acked`, epoch (4) | version, number (8), depot's time in ms (8), CRC-32C |
//! | meta | `damaged`, old key | the intent's value that did not read, verbatim |

use alloc::vec::Vec;

use model::{Epoch, Registers, TapSeq, Timestamp, ValidatorId};
use wire::ChainHash;

use crate::{Row, StoreOp, Tree, crc::crc32c};

const VERSION: u8 = 1;
const REGISTERS_LEN: usize = 24;

/// Why a row does not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RowError {
    /// Written by a newer version of this software.
    #[error("row version {0} is not known here")]
    NewerVersion(u8),
    /// Checksum or length is wrong, or the key is none.
    #[error("row is damaged")]
    Damaged,
}

/// A stored entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry<'a> {
    /// The chain's value before this entry.
    pub prev: ChainHash,
    /// The registers after this entry.
    pub registers: Registers,
    /// The entry's bytes, verbatim.
    pub bytes: &'a [u8],
}

/// A point of a life: after entry `through`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) through: TapSeq,
    pub(crate) hash: ChainHash,
    pub(crate) registers: Registers,
}

/// The key of an entry and of its intent.
pub fn entry_key(epoch: Epoch, seq: TapSeq) -> Vec<u8> {
    [&epoch.0.to_be_bytes()[..], &seq.0.to_be_bytes()].concat()
}

/// The keys from entry `from` to the end of its life: inclusive start, exclusive end.
pub fn entry_range(epoch: Epoch, from: TapSeq) -> (Vec<u8>, Vec<u8>) {
    (entry_key(epoch, from), entry_key(epoch, TapSeq(u64::MAX)))
}

/// Reads an entry's key.
pub fn read_key(key: &[u8]) -> Option<(Epoch, TapSeq)> {
    let (epoch, seq) = key.split_first_chunk::<4>()?;
    Some((Epoch(u32::from_be_bytes(*epoch)), TapSeq(u64::from_be_bytes(seq.try_into().ok()?))))
}

impl<'a> StoredEntry<'a> {
    /// Reads a value of the tree `taps`.
    pub fn read(row: &'a Row) -> Result<Self, RowError> {
        let body = open(&row.key, &row.value)?;
        let (prev, rest) = body.split_first_chunk::<32>().ok_or(RowError::Damaged)?;
        let (registers, bytes) =
            rest.split_first_chunk::<REGISTERS_LEN>().ok_or(RowError::Damaged)?;
        Ok(Self { prev: ChainHash(*prev), registers: read_registers(registers), bytes })
    }

    pub(crate) fn put(&self, epoch: Epoch, seq: TapSeq) -> StoreOp {
        let key = entry_key(epoch, seq);
        let registers = write_registers(self.registers);
        let value = seal(&key, &[&self.prev.0, &registers, self.bytes]);
        StoreOp::Put { tree: Tree::Entries, key, value }
    }
}

impl Mark {
    pub(crate) fn start(validator: ValidatorId, epoch: Epoch) -> Self {
        let hash = ChainHash::start(validator, epoch);
        Self { through: TapSeq(0), hash, registers: Registers::default() }
    }

    pub(crate) fn put_base(&self, epoch: Epoch) -> StoreOp {
        let key = meta_key(b"base", epoch);
        let (through, registers) = (self.through.0.to_be_bytes(), write_registers(self.registers));
        let value = seal(&key, &[&through, &self.hash.0, &registers]);
        StoreOp::Put { tree: Tree::Meta, key, value }
    }
}

pub(crate) fn put_intent(epoch: Epoch, seq: TapSeq, bytes: &[u8]) -> StoreOp {
    let key = entry_key(epoch, seq);
    let value = seal(&key, &[bytes]);
    StoreOp::Put { tree: Tree::Intents, key, value }
}

pub(crate) fn read_intent(row: &Row) -> Result<&[u8], RowError> {
    open(&row.key, &row.value)
}

pub(crate) fn put_acked(epoch: Epoch, through: TapSeq, depot_time: Timestamp) -> StoreOp {
    let key = acked_key(epoch);
    let value = seal(&key, &[&through.0.to_be_bytes(), &depot_time.0.to_be_bytes()]);
    StoreOp::Put { tree: Tree::Meta, key, value }
}

/// The key of a life's acked mark.
pub(crate) fn acked_key(epoch: Epoch) -> Vec<u8> {
    meta_key(b"acked", epoch)
}

pub(crate) fn put_owner(validator: ValidatorId) -> StoreOp {
    let key = b"owner".to_vec();
    let value = seal(&key, &[&validator.number().to_be_bytes()]);
    StoreOp::Put { tree: Tree::Meta, key, value }
}

/// The meta rows of a life that has nothing left.
pub(crate) fn remove_life(epoch: Epoch) -> [StoreOp; 2] {
    [b"base".as_slice(), b"acked"]
        .map(|word| StoreOp::Remove { tree: Tree::Meta, key: meta_key(word, epoch) })
}

/// What a meta row says.
pub(crate) enum MetaRow {
    Owner(Option<ValidatorId>),
    Base(Epoch, Mark),
    Acked(Epoch, TapSeq, Timestamp),
    /// Kept for a person to look at.
    Evidence,
}

pub(crate) fn read_meta(row: &Row) -> Result<MetaRow, RowError> {
    if row.key.starts_with(b"damaged") {
        return Ok(MetaRow::Evidence);
    }
    let body = open(&row.key, &row.value)?;
    let number = |b: &[u8]| Some(u64::from_be_bytes(b.try_into().ok()?));
    let epoch = |b: &[u8]| Some(Epoch(u32::from_be_bytes(b.try_into().ok()?)));
    let read = || -> Option<MetaRow> {
        if row.key == b"owner" {
            let owner = u32::from_be_bytes(body.try_into().ok()?);
            return Some(MetaRow::Owner(ValidatorId::new(owner)));
        }
        if let Some(rest) = row.key.strip_prefix(b"base") {
            let (through, rest_of_body) = body.split_at_checked(8)?;
            let (hash, registers) = rest_of_body.split_first_chunk::<32>()?;
            let registers = read_registers(registers.try_into().ok()?);
            let mark =
                Mark { through: TapSeq(number(through)?), hash: ChainHash(*hash), registers };
            return Some(MetaRow::Base(epoch(rest)?, mark));
        }
        let rest = row.key.strip_prefix(b"acked")?;
        let (through, depot_time) = body.split_at_checked(8)?;
        let (through, depot_time) = (TapSeq(number(through)?), Timestamp(number(depot_time)?));
        Some(MetaRow::Acked(epoch(rest)?, through, depot_time))
    };
    read().ok_or(RowError::Damaged)
}

fn meta_key(word: &[u8], epoch: Epoch) -> Vec<u8> {
    [word, &epoch.0.to_be_bytes()].concat()
}

fn write_registers(r: Registers) -> [u8; REGISTERS_LEN] {
    let mut bytes = [0; REGISTERS_LEN];
    bytes[..8].copy_from_slice(&r.count.to_be_bytes());
    bytes[8..16].copy_from_slice(&r.debit_sum.to_be_bytes());
    bytes[16..].copy_from_slice(&r.load_sum.to_be_bytes());
    bytes
}

fn read_registers(b: &[u8; REGISTERS_LEN]) -> Registers {
    let eight = |i: usize| b[i..i + 8].try_into().expect("8 of 24 bytes");
    Registers {
        count: u64::from_be_bytes(eight(0)),
        debit_sum: i64::from_be_bytes(eight(8)),
        load_sum: i64::from_be_bytes(eight(16)),
    }
}

fn seal(key: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut value = Vec::with_capacity(1 + parts.iter().map(|p| p.len()).sum::<usize>() + 4);
    value.push(VERSION);
    for part in parts {
        value.extend_from_slice(part);
    }
    let crc = crc32c(&[key, &value]);
    value.extend(crc.to_be_bytes());
    value
}

fn open<'a>(key: &[u8], value: &'a [u8]) -> Result<&'a [u8], RowError> {
    let (sealed, crc) = value.split_last_chunk::<4>().ok_or(RowError::Damaged)?;
    if *crc != crc32c(&[key, sealed]).to_be_bytes() {
        return Err(RowError::Damaged);
    }
    match sealed {
        [VERSION, body @ ..] => Ok(body),
        [version, ..] => Err(RowError::NewerVersion(*version)),
        [] => Err(RowError::Damaged),
    }
}
