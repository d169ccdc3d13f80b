//! What a value transaction is for: which key it logs in with, which way it moves value, and
//! which records it may write.
//!
//! One machine runs them all (`ValueTransaction`), so that what is known after a torn tap is known
//! after a torn load for the same reasons.

use model::{
    CardCounters, CardRecord, ProductKind, ProductLoad, ProductUse, ProductsFound, RecordError,
    RecordKind,
};

use crate::apdu::cmd;
use crate::keys::KeyRole;
use crate::transaction::CardFound;

/// Why a record is not one that this transaction may write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It has no bytes.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A debit was given the record of something else.
    #[error("a debit writes Board, Entry or Exit records only")]
    NotADebit,
    /// A load was given the record of something else.
    #[error("a load writes Load records only")]
    NotALoad,
    /// A retirement was given the record of something else.
    #[error("a retirement writes a Retire record only")]
    NotARetirement,
    /// A load must not end a journey, nor make one.
    #[error("a load during an open journey writes LoadInJourney, any other writes Load")]
    Journey,
    /// A load of neither value nor a product.
    #[error("a load of 0 moves no value and brings no product")]
    NothingToLoad,
    /// A retirement must leave no value behind.
    #[error("a retirement takes the whole value that is left, and nothing that is owed")]
    ValueLeft,
    /// Its counter is not the one after the newest record's.
    #[error("the record's counter does not follow the newest record's")]
    CounterOutOfTurn,
    /// Its load counter is not the one after the newest record's.
    #[error("the record's load counter does not follow the newest record's")]
    LoadOutOfTurn,
    /// The newest balance and the amount do not make its balance.
    #[error("the record's balance does not follow from the newest record's")]
    BalanceMismatch,
    /// It uses a product or rides that the card does not carry, or says that the card carries
    /// products when the newest record does not, or the reverse.
    #[error("the record uses products that are not on the card")]
    ProductsMismatch,
    /// It says that the card has counters when the newest record does not, or the reverse; or
    /// counters are to be written that were not read.
    #[error("counters are written only where they were read, and stay on their card")]
    CountersMismatch,
}

/// See the module's documentation. Implemented here and nowhere else.
pub trait Duty: sealed::Sealed {
    /// The key to log in with.
    const ROLE: KeyRole;
    /// The command that moves the value.
    const MOVE: u8;

    /// Whether `after` is a record of this duty, which brings a product when `sells`; its counter
    /// and balance are checked elsewhere.
    fn check(before: &CardRecord, after: &CardRecord, sells: bool) -> Result<(), WriteError>;
}

/// A tap: takes value with the debit key.
#[derive(Debug)]
pub enum Debit {}

/// A top-up: adds value with the load key, and counts.
#[derive(Debug)]
pub enum Load {}

/// The end of a card: takes what is left with the debit key. No tap follows.
#[derive(Debug)]
pub enum Retire {}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Debit {}
    impl Sealed for super::Load {}
    impl Sealed for super::Retire {}
}

impl Duty for Debit {
    const ROLE: KeyRole = KeyRole::Debit;
    const MOVE: u8 = cmd::DEBIT;

    fn check(_: &CardRecord, after: &CardRecord, _: bool) -> Result<(), WriteError> {
        match after.kind {
            RecordKind::Board | RecordKind::Entry | RecordKind::Exit => Ok(()),
            RecordKind::Issue
            | RecordKind::Load
            | RecordKind::LoadInJourney
            | RecordKind::Retire => Err(WriteError::NotADebit),
        }
    }
}

impl Duty for Load {
    const ROLE: KeyRole = KeyRole::Load;
    const MOVE: u8 = cmd::CREDIT;

    fn check(before: &CardRecord, after: &CardRecord, sells: bool) -> Result<(), WriteError> {
        let open = before.kind.is_in_journey();
        match after.kind {
            RecordKind::Load if !open => {}
            RecordKind::LoadInJourney if open => {}
            RecordKind::Load | RecordKind::LoadInJourney => return Err(WriteError::Journey),
            RecordKind::Issue
            | RecordKind::Board
            | RecordKind::Entry
            | RecordKind::Exit
            | RecordKind::Retire => return Err(WriteError::NotALoad),
        }
        if after.amount == 0 && !sells {
            return Err(WriteError::NothingToLoad);
        }
        if Some(after.load_seq.0) != before.load_seq.0.checked_add(1) {
            return Err(WriteError::LoadOutOfTurn);
        }
        Ok(())
    }
}

impl Duty for Retire {
    const ROLE: KeyRole = KeyRole::Debit;
    const MOVE: u8 = cmd::DEBIT;

    fn check(before: &CardRecord, after: &CardRecord, _: bool) -> Result<(), WriteError> {
        if after.kind != RecordKind::Retire {
            return Err(WriteError::NotARetirement);
        }
        let left = i64::from(before.balance).max(0);
        if i64::from(after.amount) != left {
            return Err(WriteError::ValueLeft);
        }
        Ok(())
    }
}

/// The bytes of `after`, when it is what a card on which this was found may be given next.
pub(crate) fn checked_successor<D: Duty>(
    found: &CardFound,
    after: &CardRecord,
    counters: Option<&CardCounters>,
    load: Option<&ProductLoad>,
) -> Result<[u8; CardRecord::LEN], WriteError> {
    let before = &found.record;
    D::check(before, after, load.is_some())?;
    if Some(after.ctr.0) != before.ctr.0.checked_add(1) {
        return Err(WriteError::CounterOutOfTurn);
    }
    if after.balance_before() != i64::from(before.balance) {
        return Err(WriteError::BalanceMismatch);
    }
    // A product that is put on the card is used by a later transaction.
    let carried = if load.is_some() {
        after.products.is_some_and(ProductUse::is_none)
    } else {
        carries(found.products.as_ref(), after.products)
    };
    if !carried {
        return Err(WriteError::ProductsMismatch);
    }
    if after.layout != before.layout || (counters.is_some() && found.counters.is_none()) {
        return Err(WriteError::CountersMismatch);
    }
    Ok(after.to_bytes()?)
}

/// Whether what is to be used is on the card. Whether it may be used here is the tariff's matter.
fn carries(found: Option<&ProductsFound>, used: Option<ProductUse>) -> bool {
    let (Some(found), Some(used)) = (found, used) else {
        return found.is_none() && used.is_none();
    };
    let is_pass = |slot| {
        let product = found.file.slot(slot).ok().flatten();
        product.is_some_and(|product| product.kind == ProductKind::Pass)
    };
    used.pass.is_none_or(is_pass) && u32::from(used.rides) <= found.rides.unwrap_or(0)
}
