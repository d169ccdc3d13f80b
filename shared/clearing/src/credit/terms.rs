//! What is agreed with the holder of a credit account, and how far a debt comes.

use model::CardRecord;

/// How an account is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CreditKind {
    /// A channel collects each day's charges from an account at a bank or a wallet.
    Linked,
    /// The holder pays a bill each period.
    PostPaid,
}

impl CreditKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Linked, Self::PostPaid];

    /// The word in commands, the store and the journal.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Linked => "linked",
            Self::PostPaid => "post-paid",
        }
    }

    /// From its word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }
}

/// What was agreed with the holder. Amounts in minor units of the account's currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CreditTerms {
    /// The exposure that no refill exceeds.
    pub limit: u32,
    /// A refill fills a card up to this.
    pub allowance: u32,
    /// A card is refilled when the books see less on it.
    pub below: u32,
    /// A bill covers so many days.
    pub period_days: u16,
    /// A bill is due so many days after it was made.
    pub due_days: u16,
    /// Days from the warning until cards are refilled no more.
    pub stop_days: u16,
    /// Days from the warning until the cards are proposed for the hotlist as grey.
    pub grey_days: u16,
    /// Days from the warning until they are proposed as black.
    pub black_days: u16,
}

/// Why terms cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// An amount.
    #[error(
        "limit, allowance and threshold are 1 to {max} minor units, the threshold not above the \
         allowance, the allowance not above the limit",
        max = CardRecord::AMOUNT_MAX
    )]
    Amounts,
    /// A period.
    #[error("a bill covers 1 to 366 days")]
    Period,
    /// An order of days.
    #[error("refills stop not later than cards turn grey, and cards turn black after that")]
    Days,
}

impl CreditTerms {
    /// Whether they can be.
    pub const fn check(&self) -> Result<(), TermsError> {
        let Self { limit, allowance, below, .. } = *self;
        let rising = 1 <= below && below <= allowance && allowance <= limit;
        if !rising || allowance > CardRecord::AMOUNT_MAX || limit > i32::MAX as u32 {
            return Err(TermsError::Amounts);
        }
        if self.period_days == 0 || self.period_days > 366 {
            return Err(TermsError::Period);
        }
        if self.stop_days > self.grey_days || self.grey_days >= self.black_days {
            return Err(TermsError::Days);
        }
        Ok(())
    }
}

/// How far a debt that is past due has come. Declared in the order in which it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dunning {
    /// Nothing is past due.
    Good,
    /// The holder is told. Cards are refilled all the same.
    Warned,
    /// Cards are refilled no more: what is on them can be ridden.
    Stopped,
    /// Cards are proposed for the hotlist, for the time being.
    Grey,
    /// Cards are proposed for the hotlist, for good.
    Black,
}

impl Dunning {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Good, Self::Warned, Self::Stopped, Self::Grey, Self::Black];

    /// The word in commands, the store and the journal.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warned => "warned",
            Self::Stopped => "stopped",
            Self::Grey => "grey",
            Self::Black => "black",
        }
    }

    /// From its word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.word() == word)
    }
}
