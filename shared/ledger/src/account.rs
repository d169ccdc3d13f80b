//! Accounts: a code, a currency and up to 12 opaque bytes, and what stands on them.

use core::fmt;

use model::Currency;

/// What kind of account it is. The meaning of a code belongs to whoever opens such accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountCode(pub u16);

/// An account, by 16 bytes: code (2, MSB first), currency (2, ISO 4217 number, MSB first), then
/// 12 opaque bytes, zero-filled. An account belongs to one currency for ever, so each currency is
/// a ledger of its own.
///
/// The opaque bytes may hold a card number, so `Debug` and `Display` show the last two only
/// (PRV-6).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(u128);

/// Why 16 bytes are no account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountIdError {
    /// The currency number is not in the ISO 4217 table.
    #[error("account names currency number {0}, which is not in ISO 4217")]
    UnknownCurrency(u16),
}

impl AccountId {
    /// Opaque bytes that fit.
    pub const OPAQUE_MAX: usize = 12;

    /// An account of `code` in `currency`, told apart by `opaque`.
    ///
    /// # Panics
    /// When `opaque` is longer than 12 bytes: who opens accounts fixes their form in code.
    pub fn new(code: AccountCode, currency: Currency, opaque: &[u8]) -> Self {
        assert!(opaque.len() <= Self::OPAQUE_MAX, "an account has at most 12 opaque bytes");
        let mut bytes = [0; 16];
        bytes[..2].copy_from_slice(&code.0.to_be_bytes());
        bytes[2..4].copy_from_slice(&currency.numeric().to_be_bytes());
        bytes[4..4 + opaque.len()].copy_from_slice(opaque);
        Self(u128::from_be_bytes(bytes))
    }

    /// Its kind.
    pub const fn code(&self) -> AccountCode {
        let [a, b, ..] = self.to_bytes();
        AccountCode(u16::from_be_bytes([a, b]))
    }

    /// Its currency.
    pub fn currency(&self) -> Currency {
        Currency::from_numeric(self.currency_number()).expect("checked when the id was made")
    }

    /// The 12 opaque bytes.
    pub const fn opaque(&self) -> [u8; 12] {
        let [_, _, _, _, rest @ ..] = self.to_bytes();
        rest
    }

    /// The 16 bytes, as stores keep them.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_be_bytes()
    }

    /// From the 16 bytes of a store.
    pub fn from_bytes(bytes: [u8; 16]) -> Result<Self, AccountIdError> {
        let id = Self(u128::from_be_bytes(bytes));
        Currency::from_numeric(id.currency_number())
            .map_err(|_| AccountIdError::UnknownCurrency(id.currency_number()))?;
        Ok(id)
    }

    const fn currency_number(&self) -> u16 {
        let [_, _, a, b, ..] = self.to_bytes();
        u16::from_be_bytes([a, b])
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = self.opaque().iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
        write!(f, "{}:{}", self.code().0, self.currency())?;
        match self.opaque()[..end] {
            [] => Ok(()),
            [.., a, b] => write!(f, ":…{a:02x}{b:02x}"),
            [a] => write!(f, ":{a:02x}"),
        }
    }
}

impl fmt::Debug for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AccountId({self})")
    }
}

/// What stands on one account, minor units. All four sums only ever grow, but pending ones shrink
/// when their transfer is posted or voided. None is ever negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balance {
    /// Debited for good.
    pub debits_posted: i64,
    /// Credited for good.
    pub credits_posted: i64,
    /// Debits that wait to be posted or voided.
    pub debits_pending: i64,
    /// Credits that wait to be posted or voided.
    pub credits_pending: i64,
}

impl Balance {
    /// Credits minus debits, posted only: what a liability or revenue account holds. An asset
    /// account shows the negative of what it holds.
    pub const fn posted(&self) -> i64 {
        // Both are in 0..=i64::MAX, so the difference cannot overflow.
        self.credits_posted - self.debits_posted
    }

    /// Whether nothing ever stood here, or all of it cancelled.
    pub const fn is_zero(&self) -> bool {
        self.posted() == 0 && self.debits_pending == 0 && self.credits_pending == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn an_account_reads_back_and_hides_most_of_its_opaque_bytes() {
        let eur = Currency::parse("EUR").unwrap();
        let id = AccountId::new(AccountCode(1), eur, &[4, 0xa1, 0xb2, 0xc3, 0xd4, 0xe5, 0xf6]);
        assert_eq!(AccountId::from_bytes(id.to_bytes()), Ok(id));
        assert_eq!((id.code(), id.currency()), (AccountCode(1), eur));
        assert_eq!(format!("{id} {id:?}"), "1:EUR:…e5f6 AccountId(1:EUR:…e5f6)");
        assert_eq!(format!("{}", AccountId::new(AccountCode(4), eur, &[])), "4:EUR");
        assert_eq!(AccountId::from_bytes([0; 16]), Err(AccountIdError::UnknownCurrency(0)));
    }
}
