//! What is done with credit accounts: the order journal's part for them (ADR-0022).

use clearing::CreditTerms;
use serde::{Deserialize, Serialize};

/// One thing that was done. Days count from 1970, times are milliseconds since then, amounts minor
/// units.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "kebab-case", deny_unknown_fields)]
pub enum CreditEvent {
    /// An account was opened.
    Opened {
        /// Its number.
        account: u32,
        /// `linked` or `post-paid`.
        kind: String,
        /// The depot's customers' file's word for the holder: no name.
        holder: String,
        /// Who collects, or takes payments.
        channel: u16,
        /// ISO 4217 number of its currency, when it is not the tariff's.
        purse: Option<u16>,
        /// When.
        on: u32,
        /// What was agreed.
        terms: Terms,
    },
    /// Something else was agreed.
    Agreed {
        /// With which account.
        account: u32,
        /// What.
        terms: Terms,
    },
    /// A card is the account's from here on.
    Linked {
        /// Whose.
        account: u32,
        /// Which card.
        card: [u8; 7],
    },
    /// It is no longer.
    Unlinked {
        /// Whose it was.
        account: u32,
        /// Which card.
        card: [u8; 7],
    },
    /// What its cards spent became debt.
    Charged {
        /// Whose.
        account: u32,
        /// How much; below zero: came back.
        amount: i64,
        /// When.
        on: u32,
        /// Rows of the due journal before this one.
        dues: u64,
    },
    /// A period ended.
    Billed {
        /// Whose.
        account: u32,
        /// When.
        on: u32,
    },
    /// It was paid, or a payment was taken back.
    Paid {
        /// Who.
        account: u32,
        /// Through which channel.
        channel: u16,
        /// The channel's own number of the payment.
        reference: String,
        /// How much; below zero: taken back.
        amount: i64,
        /// When, by the channel's clock.
        paid_at: u64,
    },
    /// A channel could not collect a bill.
    Failed {
        /// Whose.
        account: u32,
        /// Which bill.
        bill: u32,
        /// When.
        on: u32,
        /// The channel's word for it.
        why: String,
    },
    /// A debt that is past due has come so far, or is paid.
    Dunned {
        /// Whose.
        account: u32,
        /// The word of a `Dunning`.
        level: String,
        /// When.
        on: u32,
    },
}

/// Terms as the journal has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Terms {
    limit: u32,
    allowance: u32,
    below: u32,
    period_days: u16,
    due_days: u16,
    stop_days: u16,
    grey_days: u16,
    black_days: u16,
}

impl From<CreditTerms> for Terms {
    fn from(of: CreditTerms) -> Self {
        Self {
            limit: of.limit,
            allowance: of.allowance,
            below: of.below,
            period_days: of.period_days,
            due_days: of.due_days,
            stop_days: of.stop_days,
            grey_days: of.grey_days,
            black_days: of.black_days,
        }
    }
}

impl From<Terms> for CreditTerms {
    fn from(of: Terms) -> Self {
        Self {
            limit: of.limit,
            allowance: of.allowance,
            below: of.below,
            period_days: of.period_days,
            due_days: of.due_days,
            stop_days: of.stop_days,
            grey_days: of.grey_days,
            black_days: of.black_days,
        }
    }
}

impl CreditEvent {
    /// Whose.
    pub const fn account(&self) -> u32 {
        match self {
            Self::Opened { account, .. }
            | Self::Agreed { account, .. }
            | Self::Linked { account, .. }
            | Self::Unlinked { account, .. }
            | Self::Charged { account, .. }
            | Self::Billed { account, .. }
            | Self::Paid { account, .. }
            | Self::Failed { account, .. }
            | Self::Dunned { account, .. } => *account,
        }
    }
}
