//! Looking at a log: what recovery would find, and nothing is decided or written.

use alloc::vec::Vec;

use model::{Epoch, Registers, TapRecord, TapSeq, ValidatorId};
use wire::ChainHash;

use crate::{
    LifeSpan, RecoveryError, Row, Scan, Tree,
    recover::Recovery,
    row::{MetaRow, read_meta},
};

/// What a store holds, checked as recovery checks it: checksums, chain, registers, numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// Whose log it is.
    pub validator: ValidatorId,
    /// The lives with their first fault, oldest first.
    pub lives: Vec<AuditedLife>,
    /// Taps whose card was about to be told to commit, and whose outcome is missing.
    pub intents: Vec<TapRecord>,
    /// Rows that do not read or do not fit the chain.
    pub damaged: Vec<(Tree, Vec<u8>)>,
    /// Entries behind a damaged one: readable one by one, but not sendable in a chain.
    pub stranded: u64,
}

/// One life of a log, as it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditedLife {
    /// What is whole of it.
    pub span: LifeSpan,
    /// The chain's value after its last whole entry.
    pub hash: ChainHash,
    /// The registers after that entry.
    pub registers: Registers,
    /// The first entry that is missing or does not fit.
    pub broken_at: Option<TapSeq>,
}

/// Why there is nothing to check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditError {
    /// The store does not say whose log it is: nobody ever opened it as one.
    #[error("the store does not say which validator's log it is: no validator has used it")]
    NoOwner,
    /// It was written by newer software.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
}

/// Whose log these rows of [`Tree::Meta`] belong to.
pub fn owner(meta: &[Row]) -> Option<ValidatorId> {
    meta.iter().find_map(|row| match read_meta(row) {
        Ok(MetaRow::Owner(owner)) => owner,
        Ok(MetaRow::Base(..) | MetaRow::Acked(..) | MetaRow::Evidence) | Err(_) => None,
    })
}

/// Checks everything that `scan` holds.
pub fn audit(scan: Scan<impl IntoIterator<Item = Row>>) -> Result<Audit, AuditError> {
    let validator = owner(&scan.meta).ok_or(AuditError::NoOwner)?;
    let mut found = Recovery::begin(validator, Epoch(0));
    let intents = found.read(scan)?;
    let intents = intents
        .iter()
        .filter_map(|i| wire::decode_entry(&i.bytes, (validator, i.epoch, i.seq)).ok())
        .collect();
    let (lives, report) = found.into_found();
    Ok(Audit { validator, lives, intents, damaged: report.damaged, stranded: report.stranded })
}
