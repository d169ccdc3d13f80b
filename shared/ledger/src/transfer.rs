//! Transfers: one amount from one account to another, for one cause, with an id from that cause.

use core::fmt;

use model::{Currency, Timestamp};
use sha2::{Digest, Sha256};

use crate::{AccountId, AccountIdError};

/// A transfer's identity: a digest of its cause, so that a replay meets itself (LED-3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransferId(pub [u8; 32]);

impl fmt::Display for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..8].iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for TransferId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransferId({self})")
    }
}

/// Why a transfer exists: a code whose meaning belongs to the caller, and the digest of the event
/// that caused it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause {
    /// What kind of event.
    pub code: u16,
    /// Which event.
    pub reference: [u8; 32],
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cause({}, {})", self.code, TransferId(self.reference))
    }
}

impl Cause {
    /// The cause of kind `code` that these parts tell apart. Parts are hashed with their lengths,
    /// so that no two lists of parts are one.
    pub fn new(code: u16, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self { code, reference: hash.finalize().into() }
    }

    /// The id of this cause's transfer number `leg`: one cause may need several transfers.
    pub fn transfer_id(&self, leg: u8) -> TransferId {
        let mut hash = Sha256::new();
        hash.update(b"tapline-transfer");
        hash.update(self.code.to_be_bytes());
        hash.update(self.reference);
        hash.update([leg]);
        TransferId(hash.finalize().into())
    }
}

/// How a transfer moves money.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// At once and for good.
    Direct,
    /// Held until a later transfer posts or voids it.
    Pending,
    /// Makes this pending transfer final, whole.
    Post(TransferId),
    /// Drops this pending transfer, whole. An expiry is a void with its own cause.
    Void(TransferId),
}

/// One transfer. Everything but `booked_at` is its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// From the cause, see [`Cause::transfer_id`].
    pub id: TransferId,
    /// The account that is debited.
    pub debit: AccountId,
    /// The account that is credited.
    pub credit: AccountId,
    /// Minor units, above zero.
    pub amount: i64,
    /// The currency of both accounts.
    pub currency: Currency,
    /// At once, held, posting or voiding.
    pub kind: Kind,
    /// When the event happened, by the clock of whoever saw it (LED-5).
    pub event_at: Timestamp,
    /// When it was booked, by the depot's clock (LED-5).
    pub booked_at: Timestamp,
    /// Why.
    pub cause: Cause,
}

/// What has become of a transfer of kind Pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PendingState {
    /// Neither posted nor voided.
    Held,
    /// Made final.
    Posted,
    /// Dropped.
    Voided,
}

/// A transfer as the books hold it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recorded {
    /// The transfer.
    pub transfer: Transfer,
    /// What has become of it; `None` unless its kind is Pending.
    pub pending: Option<PendingState>,
}

/// Why bytes are no transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// The kind byte is unassigned.
    #[error("transfer kind {0} is not known here")]
    UnknownKind(u8),
    /// The currency number is not in the ISO 4217 table.
    #[error("transfer names currency number {0}, which is not in ISO 4217")]
    UnknownCurrency(u16),
    /// One of the two accounts is malformed.
    #[error("transfer names a malformed account")]
    Account(#[from] AccountIdError),
}

impl Transfer {
    /// Bytes of the journal form.
    pub const LEN: usize = 157;

    /// Whether both are the same but for the time of booking.
    pub fn same_content(&self, other: &Self) -> bool {
        Self { booked_at: other.booked_at, ..*self } == *other
    }

    /// The journal form, which the hash chain covers. Integers MSB first: id 32, debit 16, credit
    /// 16, amount 8, currency 2, kind 1 (0 direct, 1 pending, 2 post, 3 void), pending id 32 (or
    /// zeros), event time 8, booking time 8, cause code 2, cause reference 32.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let (kind, of) = match self.kind {
            Kind::Direct => (0, TransferId([0; 32])),
            Kind::Pending => (1, TransferId([0; 32])),
            Kind::Post(of) => (2, of),
            Kind::Void(of) => (3, of),
        };
        let mut out = [0; Self::LEN];
        let mut at = 0;
        for part in [
            self.id.0.as_slice(),
            &self.debit.to_bytes(),
            &self.credit.to_bytes(),
            &self.amount.to_be_bytes(),
            &self.currency.numeric().to_be_bytes(),
            &[kind],
            &of.0,
            &self.event_at.0.to_be_bytes(),
            &self.booked_at.0.to_be_bytes(),
            &self.cause.code.to_be_bytes(),
            &self.cause.reference,
        ] {
            out[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        out
    }

    /// Reads the journal form.
    pub fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, TransferError> {
        let mut rest = bytes.as_slice();
        let id = TransferId(take(&mut rest));
        let debit = AccountId::from_bytes(take(&mut rest))?;
        let credit = AccountId::from_bytes(take(&mut rest))?;
        let amount = i64::from_be_bytes(take(&mut rest));
        let number = u16::from_be_bytes(take(&mut rest));
        let currency =
            Currency::from_numeric(number).map_err(|_| TransferError::UnknownCurrency(number))?;
        let [kind] = take(&mut rest);
        let of = TransferId(take(&mut rest));
        let kind = match kind {
            0 => Kind::Direct,
            1 => Kind::Pending,
            2 => Kind::Post(of),
            3 => Kind::Void(of),
            other => return Err(TransferError::UnknownKind(other)),
        };
        let event_at = Timestamp(u64::from_be_bytes(take(&mut rest)));
        let booked_at = Timestamp(u64::from_be_bytes(take(&mut rest)));
        let code = u16::from_be_bytes(take(&mut rest));
        let cause = Cause { code, reference: take(&mut rest) };
        Ok(Self { id, debit, credit, amount, currency, kind, event_at, booked_at, cause })
    }
}

/// The next `N` bytes; the caller's array is long enough by its type.
fn take<const N: usize>(rest: &mut &[u8]) -> [u8; N] {
    let (head, tail) = rest.split_first_chunk().expect("the journal form has its length by type");
    *rest = tail;
    *head
}
